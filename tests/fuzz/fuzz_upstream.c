/* What upstreams send: the first byte says which document it is. What is taken keeps to its bounds, and addresses stay https. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/upstream.h"
#include "fuzz.h"

static struct upstream_record record;
static struct upstream_object object;

static void check_record(const char *text, size_t len)
{
	struct fault f = {"", ""};
	char digest[SHA256_HEX], url[UPSTREAM_URL_BYTES];
	enum err e = upstream_record_parse(&record, text, len, &f);
	assert(e == ERR_OK || f.detail[0] != '\0');
	if (e != ERR_OK)
		return;
	assert(record.artifact_count <= UPSTREAM_ARTIFACTS_MAX && record.version[0] != '\0');
	upstream_record_digest(&record, digest);
	for (unsigned i = 0; i < record.artifact_count; i++) {
		const struct upstream_artifact *a = &record.artifacts[i];
		assert(strchr(a->file, '/') == NULL && a->file[0] != '\0' && a->size_bytes > 0 && strlen(a->sha256) == 64);
		assert(a->requires.len == 0 || (a->requires.data >= text && a->requires.data + a->requires.len <= text + len));
		if (upstream_url_join("https://host/a/index.json", a->url, url))
			assert(upstream_url_is_good(url));
	}
}

static bool on_version(void *ctx, struct slice raw)
{
	(void)ctx;
	check_record(raw.data, raw.len);
	return true;
}

static void check_index(const char *text, size_t len)
{
	struct upstream_index x;
	struct fault f = {"", ""};
	if (upstream_index_parse(&x, text, len, &f) == ERR_OK)
		(void)!upstream_index_each(&x, on_version, NULL, &f);
	check_record(text, len);
}

static void check_listing(const char *text, size_t len)
{
	struct upstream_listing l;
	struct fault f = {"", ""};
	char version[NAME_BYTES], file[UPSTREAM_FILE_BYTES];
	bool found = true;
	upstream_listing_init(&l, text, len);
	while (found && upstream_listing_next(&l, &object, &found, &f) == ERR_OK && found) {
		assert(l.at <= len && object.key[0] != '\0' && object.size_bytes >= 0);
		if (upstream_split_key("kws/", object.key, version, file))
			assert(strchr(file, '/') == NULL && file[0] != '\0');
	}
}

static void check_envelope(const char *text, size_t len)
{
	static const uint8_t key[ED25519_KEY_BYTES] = {1};
	char *out = malloc(len + 1);
	size_t out_len = 0;
	const char *why;
	assert(out != NULL);
	if (upstream_open_signed((struct slice){text, len}, NULL, UPSTREAM_INDEX_DOMAIN, out, &out_len, &why)) {
		assert(out_len <= len);
		check_index(out, out_len);
	}
	(void)upstream_open_signed((struct slice){text, len}, key, UPSTREAM_INDEX_DOMAIN, out, &out_len, &why);
	free(out);
}

static void check_texts(const char *text, size_t len)
{
	struct upstream_quality_rule rule = {.margin = 0.1};
	char why[UPSTREAM_WHY_BYTES], url[UPSTREAM_URL_BYTES];
	uint8_t key[ED25519_KEY_BYTES];
	const char *end = memchr(text, '\0', len);
	size_t first = end != NULL ? (size_t)(end - text) : len, second = end != NULL ? len - first - 1 : 0;
	(void)upstream_quality_holds((struct slice){text, first}, (struct slice){text + len - second, second}, &rule, why);
	(void)upstream_key_parse(text, key);
	if (upstream_url_join("https://host:8443/x/y?z", text, url))
		assert(upstream_url_is_good(url));
	if (end != NULL && upstream_url_join(text, text + first + 1, url))
		assert(upstream_url_is_good(url));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(const char *text, size_t len) = {check_index, check_listing, check_envelope, check_texts};
	if (size == 0)
		return 0;
	char *text = malloc(size);
	assert(text != NULL);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	checks[data[0] % 4](text, size - 1);
	free(text);
	return 0;
}
