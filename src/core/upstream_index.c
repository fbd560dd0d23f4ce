/* Documents of upstreams: index, version, envelope. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "core/semver.h"
#include "core/upstream.h"

/* ---- walking an object ---- */

static enum err bad_json(const struct jp *p, struct fault *f)
{
	return fault_set(f, ERR_BAD_REQUEST, "", "byte %zu: %s", p->at, p->error != NULL ? p->error : "ended too early");
}

/* The value that begins with `event`, as it stands in the text. */
static bool take_raw(struct jp *p, enum jp_event event, struct slice *out)
{
	bool is_string = event == JP_STRING;
	const char *begin = event == JP_OBJECT || event == JP_ARRAY ? p->text + p->at - 1 : p->token - is_string;
	if (!jp_skip(p, event))
		return false;
	*out = (struct slice){begin, (size_t)(p->text + p->at - begin)};
	return true;
}

static enum err take_text(struct jp *p, enum jp_event event, char *out, size_t size, const char *what, struct fault *f)
{
	if (event == JP_ERROR)
		return bad_json(p, f);
	if (event != JP_STRING || jp_unescape(p, out, size) < 0)
		return fault_set(f, ERR_INVALID, "", "%s: a text of at most %zu bytes is expected", what, size - 1);
	return ERR_OK;
}

static enum err take_int(struct jp *p, enum jp_event event, int64_t *out, const char *what, struct fault *f)
{
	if (event == JP_ERROR)
		return bad_json(p, f);
	if (event != JP_NUMBER || !jp_int(p, out) || *out < 0)
		return fault_set(f, ERR_INVALID, "", "%s: a number without sign and fraction is expected", what);
	return ERR_OK;
}

static enum err take_object(struct jp *p, enum jp_event event, struct slice *out, const char *what, struct fault *f)
{
	if (event != JP_OBJECT && event != JP_ERROR)
		return fault_set(f, ERR_INVALID, "", "%s: an object is expected", what);
	return take_raw(p, event, out) ? ERR_OK : bad_json(p, f);
}

/* A member of an object: false at its end. Twice the same one is refused by who reads it, with a bit of `seen`. */
static enum err next_member(struct jp *p, bool *has, enum jp_event *value, char name[32], struct fault *f)
{
	enum jp_event e = jp_next(p);
	*has = e == JP_KEY;
	if (e == JP_OBJECT_END)
		return ERR_OK;
	if (e != JP_KEY)
		return bad_json(p, f);
	name[0] = '\0';
	if (p->token_len < 32 && memchr(p->token, '\\', p->token_len) == NULL) {
		memcpy(name, p->token, p->token_len);
		name[p->token_len] = '\0';
	}
	*value = jp_next(p);
	return *value == JP_ERROR ? bad_json(p, f) : ERR_OK;
}

static int member_at(const char *const *names, const char *name)
{
	for (int i = 0; names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static enum err note_seen(unsigned *seen, int member, const char *name, struct fault *f)
{
	if (*seen & 1u << member)
		return fault_set(f, ERR_INVALID, "", "%s comes twice", name);
	*seen |= 1u << member;
	return ERR_OK;
}

/* ---- a version ---- */

static bool is_file_name(const char *s)
{
	if (s[0] == '\0' || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return false;
	for (const unsigned char *p = (const unsigned char *)s; *p != '\0'; p++)
		if (*p < ' ' || *p == 0x7f || *p == '/' || *p == '\\')
			return false;
	return true;
}

/* The last part of the address, without its query. */
static void file_of_url(const char *url, char out[UPSTREAM_FILE_BYTES])
{
	size_t len = strcspn(url, "?#"), from = len;
	while (from > 0 && url[from - 1] != '/')
		from--;
	if (len - from >= UPSTREAM_FILE_BYTES)
		return;
	memcpy(out, url + from, len - from);
	out[len - from] = '\0';
}

static enum err check_artifact(struct upstream_artifact *a, struct fault *f)
{
	if (!str_is_name(a->hardware) && strcmp(a->hardware, "*") != 0)
		return fault_set(f, ERR_INVALID, "", "hardware: a name or * is expected");
	if (a->variant[0] != '\0' && !str_is_name(a->variant))
		return fault_set(f, ERR_INVALID, "", "variant: a name is expected");
	if (a->url[0] == '\0')
		return fault_set(f, ERR_INVALID, "", "url: is missing");
	if (a->file[0] == '\0')
		file_of_url(a->url, a->file);
	if (!is_file_name(a->file))
		return fault_set(f, ERR_INVALID, "", "file: a name of at most %d bytes without path is expected", UPSTREAM_FILE_BYTES - 1);
	if (!str_is_hex(a->sha256, SHA256_HEX - 1))
		return fault_set(f, ERR_INVALID, "", "sha256: 64 lower-case hex digits are expected");
	if (a->size_bytes < 1)
		return fault_set(f, ERR_INVALID, "", "size_bytes: 1 or more is expected");
	return ERR_OK;
}

static enum err parse_artifact(struct jp *p, struct upstream_artifact *a, struct fault *f)
{
	static const char *const names[] = {"hardware", "variant", "file", "url", "sha256", "size_bytes", "format", "requires", "quality", NULL};
	unsigned seen = 0;
	memset(a, 0, sizeof *a);
	snprintf(a->hardware, sizeof a->hardware, "*");
	for (;;) {
		enum jp_event v = JP_ERROR;
		char name[32];
		bool has;
		struct slice passed;
		enum err e = next_member(p, &has, &v, name, f);
		if (e != ERR_OK || !has)
			return e != ERR_OK ? e : check_artifact(a, f);
		int m = member_at(names, name);
		e = m >= 0 ? note_seen(&seen, m, name, f) : ERR_OK;
		if (e != ERR_OK)
			return e;
		switch (m) {
		case 0: e = take_text(p, v, a->hardware, sizeof a->hardware, name, f); break;
		case 1: e = take_text(p, v, a->variant, sizeof a->variant, name, f); break;
		case 2: e = take_text(p, v, a->file, sizeof a->file, name, f); break;
		case 3: e = take_text(p, v, a->url, sizeof a->url, name, f); break;
		case 4: e = take_text(p, v, a->sha256, sizeof a->sha256, name, f); break;
		case 5: e = take_int(p, v, &a->size_bytes, name, f); break;
		case 6:
			if (v != JP_STRING)
				e = fault_set(f, ERR_INVALID, "", "format: a text is expected");
			else if (!take_raw(p, v, &a->format))
				e = bad_json(p, f);
			break;
		case 7: e = take_object(p, v, &a->requires, name, f); break;
		case 8: e = take_object(p, v, &a->quality, name, f); break;
		default: e = take_raw(p, v, &passed) ? ERR_OK : bad_json(p, f);
		}
		if (e != ERR_OK)
			return e;
	}
}

static int compare_artifacts(const void *a, const void *b)
{
	const struct upstream_artifact *x = a, *y = b;
	int order = strcmp(x->hardware, y->hardware);
	return order != 0 ? order : strcmp(x->variant, y->variant);
}

static enum err parse_artifacts(struct jp *p, enum jp_event v, struct upstream_record *r, struct fault *f)
{
	if (v != JP_ARRAY)
		return fault_set(f, ERR_INVALID, "", "artifacts: an array is expected");
	for (;;) {
		v = jp_next(p);
		if (v == JP_ARRAY_END)
			break;
		if (v == JP_ERROR)
			return bad_json(p, f);
		if (v != JP_OBJECT)
			return fault_set(f, ERR_INVALID, "", "artifacts: objects are expected");
		if (r->artifact_count == UPSTREAM_ARTIFACTS_MAX)
			return fault_set(f, ERR_TOO_LARGE, "", "more than %d artifacts", UPSTREAM_ARTIFACTS_MAX);
		enum err e = parse_artifact(p, &r->artifacts[r->artifact_count], f);
		if (e != ERR_OK)
			return e;
		r->artifact_count++;
	}
	return ERR_OK;
}

static enum err check_record(struct upstream_record *r, struct fault *f)
{
	struct semver v;
	if (!semver_parse(r->version, strlen(r->version), &v))
		return fault_set(f, ERR_INVALID, "", "version: a Semantic Version is expected");
	if (r->model[0] != '\0' && !str_is_name(r->model))
		return fault_set(f, ERR_INVALID, "", "model: a name is expected");
	if (r->artifact_count == 0 && !r->is_withdrawn)
		return fault_set(f, ERR_INVALID, "", "version %s has no artifacts", r->version);
	qsort(r->artifacts, r->artifact_count, sizeof *r->artifacts, compare_artifacts);
	for (unsigned i = 1; i < r->artifact_count; i++)
		if (compare_artifacts(&r->artifacts[i - 1], &r->artifacts[i]) == 0)
			return fault_set(f, ERR_INVALID, "", "version %s: hardware %s has variant '%s' twice", r->version, r->artifacts[i].hardware,
				r->artifacts[i].variant);
	return ERR_OK;
}

enum err upstream_record_parse(struct upstream_record *r, const char *text, size_t len, struct fault *f)
{
	static const char *const names[] = {"model", "version", "notes", "quality", "withdrawn", "artifacts", NULL};
	struct jp p;
	unsigned seen = 0;
	memset(r, 0, sizeof *r);
	jp_init(&p, text, len);
	enum jp_event v = jp_next(&p);
	if (v == JP_ERROR)
		return bad_json(&p, f);
	if (v != JP_OBJECT)
		return fault_set(f, ERR_INVALID, "", "a version is an object");
	for (;;) {
		char name[32];
		bool has;
		struct slice passed;
		enum err e = next_member(&p, &has, &v, name, f);
		if (e != ERR_OK)
			return e;
		if (!has)
			break;
		int m = member_at(names, name);
		e = m >= 0 ? note_seen(&seen, m, name, f) : ERR_OK;
		if (e != ERR_OK)
			return e;
		switch (m) {
		case 0: e = take_text(&p, v, r->model, sizeof r->model, name, f); break;
		case 1: e = take_text(&p, v, r->version, sizeof r->version, name, f); break;
		case 2: e = take_text(&p, v, r->notes, sizeof r->notes, name, f); break;
		case 3: e = take_object(&p, v, &r->quality, name, f); break;
		case 4:
			r->is_withdrawn = v == JP_TRUE;
			e = v == JP_TRUE || v == JP_FALSE ? ERR_OK : fault_set(f, ERR_INVALID, "", "withdrawn: true or false is expected");
			break;
		case 5: e = parse_artifacts(&p, v, r, f); break;
		default: e = take_raw(&p, v, &passed) ? ERR_OK : bad_json(&p, f);
		}
		if (e != ERR_OK)
			return e;
	}
	if (jp_next(&p) != JP_END)
		return bad_json(&p, f);
	return check_record(r, f);
}

void upstream_record_digest(const struct upstream_record *r, char out[SHA256_HEX])
{
	struct sha256 *h = sha256_new();
	uint8_t digest[SHA256_BYTES];
	char size[32];
	for (unsigned i = 0; i < r->artifact_count; i++) {
		const struct upstream_artifact *a = &r->artifacts[i];
		sha256_update(h, a->hardware, strlen(a->hardware) + 1);
		sha256_update(h, a->variant, strlen(a->variant) + 1);
		sha256_update(h, a->sha256, strlen(a->sha256) + 1);
		snprintf(size, sizeof size, "%lld", (long long)a->size_bytes);
		sha256_update(h, size, strlen(size) + 1);
	}
	sha256_final(h, digest);
	sha256_free(h);
	hex_encode(digest, sizeof digest, out);
}

/* ---- an index ---- */

static enum err check_index(const struct upstream_index *x, const char *format, struct fault *f)
{
	if (strcmp(format, UPSTREAM_INDEX_FORMAT) != 0)
		return fault_set(f, ERR_INVALID, "", "format: %s is expected", UPSTREAM_INDEX_FORMAT);
	if (!str_is_name(x->model))
		return fault_set(f, ERR_INVALID, "", "model: a name is expected");
	if (x->versions.len == 0)
		return fault_set(f, ERR_INVALID, "", "versions: is missing");
	return ERR_OK;
}

enum err upstream_index_parse(struct upstream_index *x, const char *text, size_t len, struct fault *f)
{
	static const char *const names[] = {"format", "model", "published", "versions", NULL};
	struct jp p;
	unsigned seen = 0;
	char format[32] = "";
	memset(x, 0, sizeof *x);
	x->text = text;
	jp_init(&p, text, len);
	enum jp_event v = jp_next(&p);
	if (v == JP_ERROR)
		return bad_json(&p, f);
	if (v != JP_OBJECT)
		return fault_set(f, ERR_INVALID, "", "an index is an object");
	for (;;) {
		char name[32];
		bool has;
		struct slice passed;
		enum err e = next_member(&p, &has, &v, name, f);
		if (e != ERR_OK)
			return e;
		if (!has)
			break;
		int m = member_at(names, name);
		e = m >= 0 ? note_seen(&seen, m, name, f) : ERR_OK;
		if (e != ERR_OK)
			return e;
		switch (m) {
		case 0: e = take_text(&p, v, format, sizeof format, name, f); break;
		case 1: e = take_text(&p, v, x->model, sizeof x->model, name, f); break;
		case 2: e = take_int(&p, v, &x->published, name, f); break;
		case 3:
			if (v != JP_ARRAY)
				e = fault_set(f, ERR_INVALID, "", "versions: an array is expected");
			else if (!take_raw(&p, v, &x->versions))
				e = bad_json(&p, f);
			break;
		default: e = take_raw(&p, v, &passed) ? ERR_OK : bad_json(&p, f);
		}
		if (e != ERR_OK)
			return e;
	}
	if (jp_next(&p) != JP_END)
		return bad_json(&p, f);
	return check_index(x, format, f);
}

enum err upstream_index_each(const struct upstream_index *x, bool (*fn)(void *ctx, struct slice record), void *ctx, struct fault *f)
{
	struct jp p;
	unsigned count = 0;
	jp_init(&p, x->versions.data, x->versions.len);
	enum jp_event v = jp_next(&p);
	for (v = jp_next(&p); v != JP_ARRAY_END; v = jp_next(&p)) {
		struct slice record = {NULL, 0};
		if (v == JP_ERROR || v == JP_END || !take_raw(&p, v, &record))
			return bad_json(&p, f);
		if (++count > UPSTREAM_VERSIONS_MAX)
			return fault_set(f, ERR_TOO_LARGE, "", "more than %d versions", UPSTREAM_VERSIONS_MAX);
		if (!fn(ctx, record))
			return ERR_OK;
	}
	return ERR_OK;
}

/* ---- signatures ---- */

struct envelope {
	struct slice payload, signature; /* base64 */
	bool has_format;
};

static bool read_envelope(struct slice document, struct envelope *out)
{
	struct jp p;
	*out = (struct envelope){0};
	jp_init(&p, document.data, document.len);
	if (jp_next(&p) != JP_OBJECT)
		return false;
	for (;;) {
		struct slice *text = NULL;
		enum jp_event v = jp_next(&p);
		if (v == JP_OBJECT_END)
			return true;
		if (v != JP_KEY)
			return false;
		bool is_format = jp_is(&p, "format");
		if (jp_is(&p, "payload"))
			text = &out->payload;
		else if (jp_is(&p, "signature"))
			text = &out->signature;
		v = jp_next(&p);
		if (text != NULL && (v != JP_STRING || text->data != NULL))
			return false; /* no text, or twice: which one was signed? */
		if (text != NULL)
			*text = (struct slice){p.token, p.token_len};
		out->has_format = out->has_format || (is_format && v == JP_STRING && jp_is(&p, UPSTREAM_SIGNED_FORMAT));
		if (!jp_skip(&p, v))
			return false;
	}
}

bool upstream_is_signed(struct slice document)
{
	struct envelope e;
	return read_envelope(document, &e) && e.has_format;
}

bool upstream_open_signed(struct slice document, const uint8_t key[ED25519_KEY_BYTES], const char *domain, char *out, size_t *out_len,
	const char **why)
{
	struct envelope e;
	uint8_t signature[ED25519_SIGNATURE_BYTES + 2];
	size_t len = 0;
	*why = "it is not signed";
	if (!read_envelope(document, &e) || !e.has_format || e.payload.data == NULL)
		return false;
	*why = "its payload is no base64";
	if (!base64_decode(e.payload.data, e.payload.len, (uint8_t *)out, document.len, out_len))
		return false;
	if (key == NULL)
		return true;
	*why = "its signature is none";
	if (e.signature.data == NULL || !base64_decode(e.signature.data, e.signature.len, signature, sizeof signature, &len) ||
	    len != ED25519_SIGNATURE_BYTES)
		return false;
	*why = "its signature is not by the key of this upstream";
	return ed25519_verify(key, domain, out, *out_len, signature);
}

bool upstream_key_parse(const char *text, uint8_t key[ED25519_KEY_BYTES])
{
	static const uint8_t spki[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00}; /* RFC 8410, section 4 */
	static const char head[] = "-----BEGIN PUBLIC KEY-----";
	char packed[128];
	uint8_t bytes[96];
	size_t n = 0, len = 0;
	const char *end = text + strlen(text), *begin = strstr(text, head);
	if (begin != NULL) {
		text = begin + sizeof head - 1;
		end = strstr(text, "-----END");
		if (end == NULL)
			return false;
	}
	for (; text < end; text++) {
		if (strchr(" \r\n\t", *text) != NULL)
			continue;
		if (n == sizeof packed)
			return false;
		packed[n++] = *text;
	}
	if (!base64_decode(packed, n, bytes, sizeof bytes, &len))
		return false;
	if (len == sizeof spki + ED25519_KEY_BYTES && memcmp(bytes, spki, sizeof spki) == 0)
		memcpy(key, bytes + sizeof spki, ED25519_KEY_BYTES);
	else if (len == ED25519_KEY_BYTES && begin == NULL)
		memcpy(key, bytes, ED25519_KEY_BYTES);
	else
		return false;
	return true;
}
