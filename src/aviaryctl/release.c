/* aviaryctl release: what is deployed together, and its signed manifest, which can be checked without the server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/str.h"
#include "file.h"
#include "release.h"
#include "rest.h"

#define DOMAIN "aviary-manifest-v1"
#define FILE_MAX (1u << 20)

static enum result manifest(struct ctl *c);
static enum result verify(struct ctl *c);

static const struct column columns[] = {
	{"NAME", "name", CELL_TEXT, false},
	{"COMPONENTS", "components", CELL_TEXT, false},
	{"COUNTER", "counter", CELL_NUMBER, false},
	{"DESCRIPTION", "description", CELL_TEXT, true},
	{"CREATED", "created_at", CELL_AGO, false},
	{NULL, NULL, CELL_TEXT, false},
};

/* kws=1.4.2 */
static bool put_component(struct buf *out, const char *text, struct fault *f)
{
	const char *eq = strchr(text, '=');
	if (eq == NULL || eq == text || eq[1] == '\0')
		return fault_set(f, ERR_INVALID, "", "MODEL=VERSION is wanted") == ERR_OK;
	json_open_object(out);
	json_key(out, "model");
	json_put_strn(out, text, (size_t)(eq - text));
	json_str(out, "version", eq + 1);
	json_close_object(out);
	return true;
}

static const struct command_option list_options[] = {
	{.name = "sort", .kind = OPTION_TEXT, .value = "FIELD", .use = USE_QUERY,
	 .help = "created_at, -created_at (newest first; when absent), name or -name"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option create_options[] = {
	{.name = "component", .kind = OPTION_EACH, .value = "MODEL=VERSION", .use = USE_BODY, .member = "components",
	 .put = put_component,
	 .help = "model or firmware version that it is made of; may be repeated"},
	{.name = "description", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"},
	{.name = "with-config", .kind = OPTION_DOC, .value = "JSON", .use = USE_BODY, .member = "config",
	 .help = "configuration that devices activate with it; @FILE and - are read"},
	{.name = "objective", .kind = OPTION_DOC, .value = "JSON", .use = USE_BODY,
	 .help = "which of several variants a device gets: min_quality, order, weights, ... (docs/models.md)"},
	{.name = NULL},
};
static const struct command_option check_options[] = {
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_QUERY, .help = "of these devices; absent: of all"},
	{.name = "group", .kind = OPTION_TEXT, .value = "GROUP", .use = USE_QUERY, .help = "of this group"},
	{.name = NULL},
};
static const struct command_option manifest_options[] = {
	{.name = "output", .kind = OPTION_TEXT, .value = "FILE", .help = "write the answer, as release verify takes it"},
	{.name = "bytes", .kind = OPTION_TEXT, .value = "FILE", .help = "write the exact bytes that are signed"},
	{.name = NULL},
};
static const struct command_option verify_options[] = {
	{.name = "key", .kind = OPTION_TEXT, .value = "FILE",
	 .help = "public key: release.pub of the state directory, the answer of /device/v1/key, base64 or hex"},
	{.name = "artifact", .kind = OPTION_TEXTS, .value = "FILE",
	 .help = "a file that the manifest must name, by size and SHA-256; may be repeated"},
	{.name = "least-counter", .kind = OPTION_INT, .value = "N",
	 .help = "refuse a manifest with a lower counter, as a device does"},
	{.name = NULL},
};

#define RELEASE "/releases/{}"
static const struct command commands[] = {
	{.name = "list", .help = "list releases", .options = list_options, .run = rest_list, .path = "/releases",
	 .columns = columns},
	{.name = "show", .args = "RELEASE", .help = "show a release", .run = rest_show, .path = RELEASE},
	{.name = "create", .args = "RELEASE", .help = "make and sign a release; it never changes",
	 .options = create_options, .run = rest_send,
	 .method = "POST", .path = "/releases", .word_member = "name", .done = "release {} is made and signed"},
	{.name = "delete", .args = "RELEASE", .help = "delete a release that no rollout names and no device runs",
	 .run = rest_send, .method = "DELETE",
	 .path = RELEASE, .done = "release {} is deleted"},
	{.name = "check", .args = "RELEASE", .help = "which devices can run it, by hardware class, and why the others cannot",
	 .options = check_options, .run = release_check, .method = "GET", .path = RELEASE "/check"},
	{.name = "manifest", .args = "RELEASE", .help = "show or save the newest signed manifest",
	 .options = manifest_options, .run = manifest},
	{.name = "verify", .args = "FILE", .help = "check a saved manifest's signature and files, without the server",
	 .options = verify_options,
	 .run = verify},
	{.help = NULL},
};
extern const struct command_group group_release;
const struct command_group group_release = {"release",
	"releases: model versions, firmware and configuration deployed together", commands};

/* ---- manifest ---- */

static uint8_t *decode_base64(const char *text, size_t *len)
{
	size_t room = text != NULL ? strlen(text) + 1 : 1;
	uint8_t *out = malloc(room);
	if (out == NULL)
		abort();
	if (text != NULL && base64_decode(text, strlen(text), out, room, len))
		return out;
	free(out);
	return NULL;
}

static enum result save(struct ctl *c, const struct reply *r)
{
	const char *output = option_text(c, "output"), *bytes = option_text(c, "bytes");
	enum result result = output != NULL ? file_write(output, r->text.data, r->text.len) : RESULT_OK;
	if (result != RESULT_OK || bytes == NULL)
		return result;
	size_t len;
	uint8_t *data = decode_base64(json_text(json_get(r->json, "manifest")), &len);
	if (data == NULL)
		return complain(RESULT_REFUSED, "the server's manifest is not base64");
	result = file_write(bytes, data, len);
	free(data);
	return result;
}

static void show_manifest(struct ctl *c, const struct reply *r)
{
	size_t len;
	struct json *inside = NULL;
	struct fault f;
	uint8_t *data = decode_base64(json_text(json_get(r->json, "manifest")), &len);
	if (c->settings.json || data == NULL || json_parse((const char *)data, len, &inside, &f) != ERR_OK)
		rest_answer(c, r);
	else if (!c->settings.quiet)
		print_object(c, inside);
	json_free(inside);
	free(data);
}

static enum result manifest(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	char *path = path_format(RELEASE "/manifest", c->words, 1);
	enum result result = client_get(c, path, &r);
	if (result == RESULT_OK && (option_given(c, "output") || option_given(c, "bytes")))
		result = save(c, &r);
	else if (result == RESULT_OK)
		show_manifest(c, &r);
	reply_done(&r);
	free(path);
	return output_flush(result);
}

/* ---- verify ---- */

/* Base64 or hex text, or a JSON object with public_key. */
static enum result read_key(const char *path, uint8_t key[ED25519_KEY_BYTES])
{
	struct buf text = BUF_INIT;
	struct json *j = NULL;
	struct fault f;
	uint8_t data[128];
	size_t len = 0;
	enum result result = file_read(path, FILE_MAX, &text);
	const char *in = buf_cstr(&text);
	if (result == RESULT_OK && in[0] == '{' && json_parse(text.data, text.len, &j, &f) == ERR_OK)
		in = json_text(json_get(j, "public_key")) ? json_text(json_get(j, "public_key")) : "";
	size_t n = strcspn(in, "\r\n ");
	bool ok = (n == 64 && hex_decode(in, n, key, ED25519_KEY_BYTES)) ||
	          (n < 128 && base64_decode(in, n, data, sizeof data, &len) && len == ED25519_KEY_BYTES
	          	&& memcpy(key, data, len) != NULL);
	if (result == RESULT_OK && !ok)
		result = complain(RESULT_LOCAL, "%s: a public Ed25519 key of 32 bytes is wanted", path);
	json_free(j);
	buf_done(&text);
	return result;
}

static const struct json *find_artifact(const struct json *m, const char *sha256, uint64_t size)
{
	for (const struct json *p = json_first(json_get(m, "components")); p != NULL; p = json_next(p))
		for (const struct json *a = json_first(json_get(p, "artifacts")); a != NULL; a = json_next(a)) {
			const char *sha = json_text(json_get(a, "sha256"));
			if (sha != NULL && strcmp(sha, sha256) == 0 && (uint64_t)json_number(json_get(a, "size_bytes")) == size)
				return a;
		}
	return NULL;
}

static enum result check_artifacts(struct ctl *c, const struct json *m)
{
	const char *path;
	enum result result = RESULT_OK;
	for (size_t i = 0; result == RESULT_OK && (path = option_text_at(c, "artifact", i)) != NULL; i++) {
		char sha256[SHA256_HEX];
		int fd = -1;
		uint64_t size;
		result = file_open(path, &fd, &size);
		if (result == RESULT_OK)
			result = file_hash(fd, path, sha256);
		if (result == RESULT_OK && find_artifact(m, sha256, size) == NULL)
			result = complain(RESULT_LOCAL, "%s: the manifest names no artifact of %llu bytes with sha256 %s", path,
				(unsigned long long)size, sha256);
		else if (result == RESULT_OK && !c->settings.quiet && !c->settings.json)
			printf("%s is named by it\n", path);
		if (fd >= 0)
			close(fd);
	}
	return result;
}

struct signed_manifest {
	uint8_t *bytes, *signature;
	size_t len, signature_len;
	const char *key_id;
};

static enum result check_signature(struct ctl *c, const struct signed_manifest *s)
{
	uint8_t key[ED25519_KEY_BYTES];
	char id[SHA256_HEX];
	if (option_text(c, "key") == NULL)
		return complain(RESULT_USAGE, "--key FILE is wanted: the public key that devices pin");
	enum result result = read_key(option_text(c, "key"), key);
	if (result != RESULT_OK)
		return result;
	crypto_sha256_hex(key, sizeof key, id);
	id[16] = '\0';
	if (s->key_id != NULL && strcmp(s->key_id, id) != 0)
		return complain(RESULT_LOCAL, "signed by key %s, but this key is %s", s->key_id, id);
	if (s->signature_len != ED25519_SIGNATURE_BYTES || !ed25519_verify(key, DOMAIN, s->bytes, s->len, s->signature))
		return complain(RESULT_LOCAL, "the signature is WRONG: a device refuses this manifest");
	return RESULT_OK;
}

static enum result check_content(struct ctl *c, const struct signed_manifest *s)
{
	struct json *m = NULL;
	struct fault f;
	if (json_parse((const char *)s->bytes, s->len, &m, &f) != ERR_OK)
		return complain(RESULT_LOCAL, "signed, but not JSON: %s", f.detail);
	const char *format = json_text(json_get(m, "format")), *name = json_text(json_get(m, "release"));
	int64_t counter = 0;
	(void)json_is_integer(json_get(m, "counter"), &counter);
	enum result result = RESULT_OK;
	if (format == NULL || strcmp(format, "aviary-manifest-1") != 0 || name == NULL)
		result = complain(RESULT_LOCAL, "signed, but not a manifest of format aviary-manifest-1");
	else if (counter < option_int(c, "least-counter", 0))
		result = complain(RESULT_LOCAL, "counter %lld is below %lld: an old manifest, sent again", (long long)counter,
		                  (long long)option_int(c, "least-counter", 0));
	if (result == RESULT_OK && c->settings.json)
		print_json(m);
	else if (result == RESULT_OK && !c->settings.quiet)
		printf("the signature is right: release %s, counter %lld, key %s\n", name, (long long)counter,
			s->key_id ? s->key_id : "as given");
	if (result == RESULT_OK)
		result = check_artifacts(c, m);
	json_free(m);
	return result;
}

static enum result verify(struct ctl *c)
{
	struct buf text = BUF_INIT;
	struct json *j = NULL;
	struct fault f;
	struct signed_manifest s = {0};
	const char *path = command_word(c, 0);
	enum result result = file_read(path, FILE_MAX, &text);
	if (result == RESULT_OK && json_parse(text.data, text.len, &j, &f) != ERR_OK)
		result = complain(RESULT_LOCAL, "%s: %s", path, f.detail);
	if (result == RESULT_OK) {
		s.bytes = decode_base64(json_text(json_get(j, "manifest")), &s.len);
		s.signature = decode_base64(json_text(json_get(j, "signature")), &s.signature_len);
		s.key_id = json_text(json_get(j, "key_id"));
		if (s.bytes == NULL || s.signature == NULL)
			result = complain(RESULT_LOCAL, "%s: not the answer of release manifest (manifest and signature in "
				"base64)", path);
	}
	if (result == RESULT_OK)
		result = check_signature(c, &s);
	if (result == RESULT_OK)
		result = check_content(c, &s);
	free(s.bytes);
	free(s.signature);
	json_free(j);
	buf_done(&text);
	return output_flush(result);
}
