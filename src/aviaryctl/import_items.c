/* How one tag, module, set, filter or target of a hawkBit server is moved. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/str.h"
#include "import.h"
#include "net/fetch.h"
#include "net/loop.h"
#include "rest.h"

#define OURS "//rest/v1/"
#define PAUSE_MS 300
#define WAIT_MS 3600000
#define BODY_MAX ((size_t)64 << 20)
#define TARGETS_AT_ONCE 100 /* as many errors as a bulk reply shows */
#define BOUNDARY "aviary-import-7c1e0b5a94d2"

/* ---- the source ---- */

struct asking {
	bool is_done, was_cut;
	int status;
	char error[200];
	struct buf body;
	int fd;              /* of a download; -1: none */
	uint64_t at;         /* where the next byte of the content goes, from `offset` on */
	uint64_t offset, size;
	int failed;          /* errno of the file */
};

static bool is_over(void *ctx)
{
	return ((struct asking *)ctx)->is_done;
}

static void on_done(void *ctx, const struct fetch_result *result)
{
	struct asking *a = ctx;
	a->is_done = true;
	a->status = result->status;
	a->was_cut = result->error != NULL;
	(void)!str_copy(a->error, sizeof a->error, result->error != NULL ? result->error : "");
	if (a->fd < 0 && result->error == NULL)
		buf_append(&a->body, result->body, result->body_len);
}

/* A server that ignores the range begins anew. */
static bool on_head(void *ctx, const struct fetch *fetch, int status)
{
	struct asking *a = ctx;
	(void)fetch;
	a->status = status;
	if (status == 200)
		a->at = 0;
	return true;
}

static bool on_chunk(void *ctx, const void *data, size_t len)
{
	struct asking *a = ctx;
	if (a->status != 200 && a->status != 206)
		return true;
	if (len > a->size - a->at)
		return false; /* more than the artifact was declared with */
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(a->fd, (const char *)data + done, len - done, (off_t)(a->offset + a->at + done));
		if (n < 0 && errno != EINTR) {
			a->failed = errno;
			return false;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	a->at += len;
	return true;
}

static void write_login(const struct import *m, struct buf *out)
{
	struct buf pair = BUF_INIT;
	buf_printf(&pair, "%s:%s", m->user, m->password);
	buf_str(out, "Authorization: Basic ");
	buf_reserve(out, base64_encoded_len(pair.len) + 1);
	base64_encode(pair.data, pair.len, out->data + out->len);
	out->len += strlen(out->data + out->len);
	buf_done(&pair);
}

static void ask(struct import *m, const char *path, struct asking *a)
{
	struct buf url = BUF_INIT, login = BUF_INIT;
	size_t len = strlen(m->source);
	while (len > 0 && m->source[len - 1] == '/')
		len--;
	if (m->pool == NULL) {
		m->loop = loop_new();
		m->pool = fetch_pool_new(m->loop, 2);
	}
	buf_printf(&url, "%.*s/rest/v1/%s", (int)len, m->source, path);
	write_login(m, &login);
	const char *headers[] = {login.data, "Accept: application/hal+json, application/json, */*", NULL};
	struct fetch_request q = {.url = url.data, .headers = headers, .max_body_bytes = BODY_MAX, .on_done = on_done, .ctx = a,
		.stall_timeout_ms = 30000, .ca_file = m->c->settings.ca_file, .has_range = a->fd >= 0 && a->at > 0, .range_from = a->at};
	if (a->fd >= 0) {
		q.on_head = on_head;
		q.on_chunk = on_chunk;
	}
	a->is_done = false;
	fetch_start(m->pool, &q);
	(void)!loop_run_until(m->loop, is_over, a, WAIT_MS);
	buf_done(&url);
	buf_done(&login);
}

static void pause_before(struct import *m, int64_t attempt)
{
	struct asking never = {.fd = -1};
	(void)!loop_run_until(m->loop, is_over, &never, PAUSE_MS << (attempt < 6 ? attempt : 6));
}

/* What an answer that is no success means; RESULT_CONNECTION: it may be tried again. */
static enum result judge(const struct asking *a)
{
	if (a->was_cut || a->status == 0 || a->status == 429 || a->status >= 500)
		return RESULT_CONNECTION;
	return a->status == 404 ? RESULT_NOT_FOUND : a->status >= 200 && a->status < 300 ? RESULT_OK : RESULT_REFUSED;
}

static enum result tell(const struct import *m, const char *path, const struct asking *a, enum result r)
{
	if (r == RESULT_CONNECTION && a->status == 0)
		return complain(r, "%s/rest/v1/%s: %s", m->source, path, a->error[0] != '\0' ? a->error : "no answer");
	return complain(r, "%s/rest/v1/%s: status %d%s%s", m->source, path, a->status, a->error[0] != '\0' ? ", " : "", a->error);
}

enum result import_get(struct import *m, const char *path, struct json **out)
{
	enum result r = RESULT_CONNECTION;
	struct asking a = {.fd = -1};
	*out = NULL;
	for (int64_t i = 0; i < m->attempts && r == RESULT_CONNECTION; i++) {
		struct fault f;
		if (i > 0)
			pause_before(m, i);
		buf_clear(&a.body);
		ask(m, path, &a);
		r = judge(&a);
		if (r == RESULT_OK && json_parse(buf_cstr(&a.body), a.body.len, out, &f) != ERR_OK) {
			(void)!str_copy(a.error, sizeof a.error, "the answer is no JSON");
			r = RESULT_CONNECTION; /* a proxy's page, or one that was cut: it may be better next time */
		}
	}
	buf_done(&a.body);
	return r == RESULT_OK || r == RESULT_NOT_FOUND ? r : tell(m, path, &a, r);
}

enum result import_download(struct import *m, const char *path, int fd, uint64_t offset, uint64_t size)
{
	struct asking a = {.fd = fd, .offset = offset, .size = size};
	enum result r = RESULT_CONNECTION;
	for (int64_t i = 0; i < m->attempts && r == RESULT_CONNECTION; i++) {
		uint64_t before = a.at;
		if (i > 0)
			pause_before(m, i);
		ask(m, path, &a);
		r = a.failed != 0 ? RESULT_LOCAL : judge(&a);
		if (r == RESULT_OK && a.at < size)
			r = RESULT_CONNECTION;
		if (a.at > before)
			i = -1; /* it goes on: patience counts from the last byte */
	}
	if (r == RESULT_LOCAL)
		return complain(r, "cannot write a temporary file: %s", strerror(a.failed));
	return r == RESULT_OK ? r : tell(m, path, &a, r);
}

void import_done(struct import *m)
{
	fetch_pool_free(m->pool);
	loop_free(m->loop);
	if (m->state != NULL)
		fclose(m->state);
	buf_done(&m->lines);
	free(m->waiting);
	free(m->done);
}

/* ---- our side ---- */

static const char *text_at(const struct json *item, const char *name)
{
	const struct json *j = json_get(item, name);
	const char *text = j != NULL ? json_text(j) : NULL;
	return text != NULL ? text : "";
}

static int64_t number_at(const struct json *item, const char *name)
{
	int64_t n = 0;
	const struct json *j = json_get(item, name);
	return j != NULL && json_is_integer(j, &n) ? n : 0;
}

/* A text in quotes for RSQL: a star is no wildcard. */
static void quote(struct buf *out, const char *text)
{
	buf_char(out, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'' || *text == '\\' || *text == '*')
			buf_char(out, '\\');
		buf_char(out, *text);
	}
	buf_char(out, '\'');
}

/* The first of a list of ours that has these values; *id 0: there is none. */
static enum result find_ours(struct import *m, const char *path, const char *const *names, const char *const *values, size_t count, int64_t *id)
{
	struct buf query = BUF_INIT, url = BUF_INIT;
	struct reply r = REPLY_INIT;
	for (size_t i = 0; i < count; i++) {
		buf_printf(&query, "%s%s==", i > 0 ? ";" : "", names[i]);
		quote(&query, values[i]);
	}
	buf_printf(&url, OURS "%s?limit=1&q=", path);
	percent_encode(&url, query.data);
	enum result result = client_get(m->c, url.data, &r);
	*id = result == RESULT_OK ? number_at(json_first(json_get(r.json, "content")), "id") : 0;
	reply_done(&r);
	buf_done(&query);
	buf_done(&url);
	return result;
}

/* POST of one, whose answer has its number, alone or in an array. *id 0: there is one of this name already (409). */
static enum result make_ours(struct import *m, const char *path, const char *body, const char *what, int64_t *id)
{
	struct reply r = REPLY_INIT;
	struct buf url = BUF_INIT;
	buf_printf(&url, OURS "%s", path);
	struct request q = {.method = "POST", .path = url.data, .body = body};
	client_send(m->c, &q, &r);
	enum result result = RESULT_OK;
	*id = 0;
	if (r.status >= 400 && r.status < 500 && r.status != 409 && r.status != 401 && r.status != 403)
		result = complain(RESULT_REFUSED, "%s: %s", what, text_at(r.json, "message"));
	else if (r.status != 409)
		result = client_judge(m->c, &r);
	if (result == RESULT_OK && r.status != 409) {
		const struct json *item = json_type(r.json) == JSON_ARRAY ? json_first(r.json) : r.json;
		*id = number_at(item, "id");
	}
	reply_done(&r);
	buf_done(&url);
	/* 401 and 403 are about all of them: the run ends */
	return result == RESULT_REFUSED && (r.status == 401 || r.status == 403) ? RESULT_USAGE : result;
}

/* Makes it, or finds the one that is there; notes its number. */
static enum result make_or_find(struct import *m, const char *kind, const char *key, const char *path, const struct buf *body,
	const char *const *names, const char *const *values, size_t count, int64_t *id, bool *is_new)
{
	enum result r = make_ours(m, path, body->data, values[0], id);
	*is_new = r == RESULT_OK && *id != 0;
	if (r == RESULT_OK && *id == 0)
		r = find_ours(m, path, names, values, count, id);
	if (r == RESULT_OK && *id == 0)
		r = complain(RESULT_REFUSED, "%s %s: one of this name was deleted here, and its name is still taken", kind, values[0]);
	char to[24];
	snprintf(to, sizeof to, "%lld", (long long)*id);
	return r == RESULT_OK && strcmp(kind, "modules") != 0 ? import_note(m, kind, key, to) : r; /* a module is done with its files */
}

static void copy_text(struct buf *b, const struct json *item, const char *name)
{
	if (text_at(item, name)[0] != '\0')
		json_str(b, name, text_at(item, name));
}

enum result import_tag(struct import *m, const char *key, const struct json *item, bool *is_new)
{
	static const char *const names[] = {"name"};
	const char *values[] = {text_at(item, "name")};
	struct buf body = BUF_INIT;
	int64_t id;
	json_open_array(&body);
	json_open_object(&body);
	copy_text(&body, item, "name");
	copy_text(&body, item, "description");
	copy_text(&body, item, "colour");
	json_close_object(&body);
	json_close_array(&body);
	enum result r = make_or_find(m, "tags", key, "targettags", &body, names, values, 1, &id, is_new);
	buf_done(&body);
	return r;
}

enum result import_filter(struct import *m, const char *key, const struct json *item, bool *is_new)
{
	static const char *const names[] = {"name"};
	const char *values[] = {text_at(item, "name")};
	struct buf body = BUF_INIT;
	int64_t id;
	json_open_object(&body);
	copy_text(&body, item, "name");
	copy_text(&body, item, "query");
	json_close_object(&body);
	enum result r = make_or_find(m, "filters", key, "targetfilters", &body, names, values, 1, &id, is_new);
	buf_done(&body);
	return r;
}

/* ---- modules and their files ---- */

static const char *const module_names[] = {"name", "version", "type"};

/* hawkBit has more types than ours: what is no operating system is an application. */
static const char *module_type(const struct json *item)
{
	return strcmp(text_at(item, "type"), "os") == 0 ? "os" : "application";
}

static bool is_same_file(const struct json *ours, const char *name, const char *sha256)
{
	return strcmp(text_at(ours, "providedFilename"), name) == 0 &&
		(sha256[0] == '\0' || strcmp(text_at(json_get(ours, "hashes"), "sha256"), sha256) == 0);
}

static enum result is_there(struct import *m, int64_t module, const char *name, const char *sha256, bool *is)
{
	struct reply r = REPLY_INIT;
	char path[80];
	snprintf(path, sizeof path, OURS "softwaremodules/%lld/artifacts", (long long)module);
	enum result result = client_get(m->c, path, &r);
	*is = false;
	for (const struct json *j = result == RESULT_OK ? json_first(r.json) : NULL; j != NULL; j = json_next(j))
		*is = *is || is_same_file(j, name, sha256);
	reply_done(&r);
	return result;
}

static enum result hash_part(int fd, uint64_t offset, uint64_t size, char hex[SHA256_HEX])
{
	uint8_t digest[SHA256_BYTES];
	char *block = malloc(1 << 20);
	struct sha256 *h = sha256_new();
	enum result r = RESULT_OK;
	for (uint64_t at = 0; at < size && r == RESULT_OK;) {
		size_t want = size - at < (1 << 20) ? (size_t)(size - at) : 1 << 20;
		ssize_t n = pread(fd, block, want, (off_t)(offset + at));
		if (n > 0) {
			sha256_update(h, block, (size_t)n);
			at += (uint64_t)n;
		} else if (n == 0 || errno != EINTR) {
			r = complain(RESULT_LOCAL, "cannot read a temporary file");
		}
	}
	sha256_final(h, digest);
	hex_encode(digest, sizeof digest, hex);
	sha256_free(h);
	free(block);
	return r;
}

/* The form around the file is in the temporary file with it, so that it is sent as it lies there. */
static enum result upload(struct import *m, int64_t module, int fd, uint64_t offset, uint64_t size, const char *sha256)
{
	static const char tail[] = "\r\n--" BOUNDARY "--\r\n";
	struct reply r = REPLY_INIT;
	char path[200];
	if (pwrite(fd, tail, sizeof tail - 1, (off_t)(offset + size)) != (ssize_t)(sizeof tail - 1) || lseek(fd, 0, SEEK_SET) < 0)
		return complain(RESULT_LOCAL, "cannot write a temporary file: %s", strerror(errno));
	snprintf(path, sizeof path, OURS "softwaremodules/%lld/artifacts?sha256sum=%s", (long long)module, sha256);
	struct request q = {.method = "POST", .path = path, .content_type = "multipart/form-data; boundary=" BOUNDARY, .has_upload = true,
		.upload_fd = fd, .upload_bytes = offset + size + sizeof tail - 1, .no_timeout = true};
	client_send(m->c, &q, &r);
	enum result result = r.status == 409 ? RESULT_OK : client_judge(m->c, &r);
	reply_done(&r);
	return result;
}

static enum result write_head(int fd, const char *name, uint64_t *offset)
{
	struct buf b = BUF_INIT;
	buf_str(&b, "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"");
	for (; *name != '\0'; name++) {
		if (*name == '"' || *name == '\\')
			buf_char(&b, '\\');
		if ((unsigned char)*name >= ' ' && *name != 0x7f)
			buf_char(&b, *name);
	}
	buf_str(&b, "\"\r\nContent-Type: application/octet-stream\r\n\r\n");
	bool ok = pwrite(fd, b.data, b.len, 0) == (ssize_t)b.len;
	*offset = b.len;
	buf_done(&b);
	return ok ? RESULT_OK : complain(RESULT_LOCAL, "cannot write a temporary file: %s", strerror(errno));
}

static enum result move_file(struct import *m, const char *from, int64_t to, const struct json *item)
{
	const char *name = text_at(item, "providedFilename"), *declared = text_at(json_get(item, "hashes"), "sha256");
	uint64_t size = (uint64_t)number_at(item, "size"), offset = 0;
	char path[400], hex[SHA256_HEX];
	FILE *f = tmpfile();
	if (f == NULL)
		return complain(RESULT_LOCAL, "cannot make a temporary file: %s", strerror(errno));
	snprintf(path, sizeof path, "softwaremodules/%s/artifacts/%lld/download", from, (long long)number_at(item, "id"));
	enum result r = write_head(fileno(f), name, &offset);
	if (r == RESULT_OK)
		r = import_download(m, path, fileno(f), offset, size);
	if (r == RESULT_OK)
		r = hash_part(fileno(f), offset, size, hex);
	if (r == RESULT_OK && declared[0] != '\0' && strcmp(declared, hex) != 0)
		r = complain(RESULT_REFUSED, "%s: other bytes came than the server declared", name);
	if (r == RESULT_OK)
		r = upload(m, to, fileno(f), offset, size, hex);
	fclose(f);
	m->artifacts += r == RESULT_OK;
	if (r == RESULT_OK && !m->c->settings.quiet)
		fprintf(stderr, "  %s, %llu bytes\n", name, (unsigned long long)size);
	return r;
}

static enum result move_files(struct import *m, const char *from, int64_t to)
{
	struct json *list = NULL;
	char path[IMPORT_KEY_MAX + 64];
	snprintf(path, sizeof path, "softwaremodules/%s/artifacts", from);
	enum result r = import_get(m, path, &list);
	const struct json *items = list != NULL && json_type(list) == JSON_OBJECT ? json_get(list, "content") : list;
	for (const struct json *j = r == RESULT_OK ? json_first(items) : NULL; j != NULL && r == RESULT_OK; j = json_next(j)) {
		bool there = false;
		r = is_there(m, to, text_at(j, "providedFilename"), text_at(json_get(j, "hashes"), "sha256"), &there);
		if (r == RESULT_OK && !there)
			r = move_file(m, from, to, j);
	}
	json_free(list);
	return r;
}

enum result import_module(struct import *m, const char *key, const struct json *item, bool *is_new)
{
	const char *values[] = {text_at(item, "name"), text_at(item, "version"), module_type(item)};
	struct buf body = BUF_INIT;
	int64_t id = 0;
	char to[24];
	json_open_array(&body);
	json_open_object(&body);
	copy_text(&body, item, "name");
	copy_text(&body, item, "version");
	json_str(&body, "type", values[2]);
	copy_text(&body, item, "vendor");
	copy_text(&body, item, "description");
	json_close_object(&body);
	json_close_array(&body);
	enum result r = make_or_find(m, "modules", key, "softwaremodules", &body, module_names, values, 3, &id, is_new);
	buf_done(&body);
	if (r == RESULT_OK)
		r = move_files(m, key, id);
	snprintf(to, sizeof to, "%lld", (long long)id);
	return r == RESULT_OK ? import_note(m, "modules", key, to) : r;
}

/* ---- sets ---- */

static enum result our_module(struct import *m, const struct json *item, int64_t *id)
{
	char key[24];
	snprintf(key, sizeof key, "%lld", (long long)number_at(item, "id"));
	const char *known = import_find_done(m, "modules", key);
	const char *values[] = {text_at(item, "name"), text_at(item, "version"), module_type(item)};
	*id = known != NULL ? strtoll(known, NULL, 10) : 0;
	return *id != 0 ? RESULT_OK : find_ours(m, "softwaremodules", module_names, values, 3, id);
}

enum result import_set(struct import *m, const char *key, const struct json *item, bool *is_new)
{
	static const char *const names[] = {"name", "version"};
	const char *values[] = {text_at(item, "name"), text_at(item, "version")}, *type = text_at(item, "type");
	struct buf body = BUF_INIT;
	enum result r = RESULT_OK;
	int64_t id;
	json_open_array(&body);
	json_open_object(&body);
	copy_text(&body, item, "name");
	copy_text(&body, item, "version");
	copy_text(&body, item, "description");
	if (strcmp(type, "os") == 0 || strcmp(type, "app") == 0 || strcmp(type, "os_app") == 0)
		json_str(&body, "type", type);
	json_key(&body, "modules");
	json_open_array(&body);
	for (const struct json *j = json_first(json_get(item, "modules")); j != NULL && r == RESULT_OK; j = json_next(j)) {
		r = our_module(m, j, &id);
		if (r == RESULT_OK && id == 0)
			r = complain(RESULT_REFUSED, "set %s: its module %s %s is not here: move modules first", values[0], text_at(j, "name"),
				text_at(j, "version"));
		json_open_object(&body);
		json_int(&body, "id", id);
		json_close_object(&body);
	}
	json_close_array(&body);
	json_close_object(&body);
	json_close_array(&body);
	if (r == RESULT_OK)
		r = make_or_find(m, "sets", key, "distributionsets", &body, names, values, 2, &id, is_new);
	buf_done(&body);
	return r;
}

/* ---- targets ---- */

static void wait_for(struct import *m, const char *key)
{
	if (m->waiting_count == m->waiting_room) {
		m->waiting_room = m->waiting_room > 0 ? 2 * m->waiting_room : 64;
		m->waiting = reallocarray(m->waiting, m->waiting_room, sizeof *m->waiting);
		if (m->waiting == NULL)
			abort();
	}
	struct import_done *d = &m->waiting[m->waiting_count++];
	snprintf(d->from, sizeof d->from, "%s", key);
}

static bool is_refused(const struct json *errors, int64_t line)
{
	for (const struct json *j = json_first(errors); j != NULL; j = json_next(j)) {
		if (number_at(j, "line") == line)
			return true;
	}
	return false;
}

static enum result register_waiting(struct import *m)
{
	struct reply r = REPLY_INIT;
	if (m->waiting_count == 0)
		return RESULT_OK;
	struct request q = {.method = "POST", .path = "/devices:bulk", .body = m->lines.data, .content_type = "application/x-ndjson"};
	enum result result = client_call(m->c, &q, &r);
	const struct json *errors = json_get(r.json, "errors");
	for (const struct json *j = result == RESULT_OK ? json_first(errors) : NULL; j != NULL; j = json_next(j)) {
		size_t line = (size_t)number_at(j, "line");
		(void)!complain(RESULT_REFUSED, "target %s: %s %s", line >= 1 && line <= m->waiting_count ? m->waiting[line - 1].from : "?",
			text_at(j, "pointer"), text_at(j, "detail"));
	}
	for (size_t i = 0; i < m->waiting_count && result == RESULT_OK; i++) {
		if (!is_refused(errors, (int64_t)i + 1))
			result = import_note(m, "targets", m->waiting[i].from, "-");
	}
	m->count->moved += number_at(r.json, "created");
	m->count->there += number_at(r.json, "updated") + number_at(r.json, "unchanged");
	m->count->refused += number_at(r.json, "refused");
	m->waiting_count = 0;
	buf_clear(&m->lines);
	reply_done(&r);
	return result;
}

static void write_target(struct import *m, const struct json *item, const struct json *attributes)
{
	const char *hardware = text_at(attributes, "hardware");
	struct buf line = BUF_INIT; /* the writer looks at what stands before it */
	json_open_object(&line);
	json_str(&line, "id", text_at(item, "controllerId"));
	json_str(&line, "name", text_at(item, "name"));
	json_str(&line, "hardware", m->hardware != NULL ? m->hardware : str_is_name(hardware) ? hardware : "ddi");
	json_str(&line, "protocol", "ddi");
	if (text_at(item, "securityToken")[0] != '\0')
		json_str(&line, "token", text_at(item, "securityToken"));
	json_key(&line, "attributes");
	json_open_object(&line);
	for (const struct json *j = json_first(attributes); j != NULL; j = json_next(j)) {
		if (json_text(j) != NULL)
			json_str(&line, json_name(j), json_text(j));
	}
	json_close_object(&line);
	json_close_object(&line);
	buf_char(&line, '\n');
	buf_append(&m->lines, line.data, line.len);
	buf_done(&line);
}

enum result import_target(struct import *m, const char *key, const struct json *item, bool *is_new)
{
	struct json *attributes = NULL, *whole = NULL;
	struct buf path = BUF_INIT;
	*is_new = false;
	buf_str(&path, "targets/");
	percent_encode(&path, key);
	enum result r = RESULT_OK;
	if (text_at(item, "securityToken")[0] == '\0') /* lists of older servers do not show it */
		r = import_get(m, path.data, &whole);
	buf_str(&path, "/attributes");
	if (r == RESULT_OK)
		r = import_get(m, path.data, &attributes);
	if (r == RESULT_OK) {
		write_target(m, whole != NULL ? whole : item, attributes);
		wait_for(m, key);
		if (m->waiting_count == TARGETS_AT_ONCE)
			r = register_waiting(m);
	} else if (r == RESULT_NOT_FOUND) {
		r = RESULT_OK; /* deleted meanwhile */
	}
	json_free(whole);
	json_free(attributes);
	buf_done(&path);
	return r;
}

/* Who has a tag is asked of the tag: one request for many targets. */
static enum result move_tag_page(struct import *m, const char *from, const char *to, int64_t offset, int64_t *size, int64_t *total)
{
	struct json *page = NULL;
	struct buf ids = BUF_INIT;
	struct reply r = REPLY_INIT;
	char path[IMPORT_KEY_MAX + 96], ours[96];
	snprintf(path, sizeof path, "targettags/%s/assigned?offset=%lld&limit=%lld", from, (long long)offset, (long long)m->page);
	enum result result = import_get(m, path, &page);
	const struct json *content = json_get(page, "content");
	*size = result == RESULT_OK ? (int64_t)json_count(content) : 0;
	*total = result == RESULT_OK ? number_at(page, "total") : 0;
	json_open_array(&ids);
	for (const struct json *j = *size > 0 ? json_first(content) : NULL; j != NULL; j = json_next(j)) {
		if (import_find_done(m, "targets", text_at(j, "controllerId")) != NULL)
			json_put_str(&ids, text_at(j, "controllerId"));
	}
	json_close_array(&ids);
	snprintf(ours, sizeof ours, OURS "targettags/%s/assigned", to);
	struct request q = {.method = "POST", .path = ours, .body = ids.data};
	if (*size > 0)
		result = client_call(m->c, &q, &r);
	json_free(page);
	buf_done(&ids);
	reply_done(&r);
	return result == RESULT_NOT_FOUND && *size == 0 ? RESULT_OK : result;
}

enum result import_targets_end(struct import *m)
{
	enum result r = register_waiting(m);
	for (size_t i = 0; i < m->done_count && r == RESULT_OK; i++) {
		struct import_done tag = m->done[i];
		int64_t offset = 0, size = 1, total = 1;
		if (strcmp(tag.kind, "tags") != 0 || import_find_done(m, "tagged", tag.from) != NULL)
			continue;
		for (; r == RESULT_OK && size > 0 && offset < total; offset += size)
			r = move_tag_page(m, tag.from, tag.to, offset, &size, &total);
		if (r == RESULT_OK)
			r = import_note(m, "tagged", tag.from, tag.to);
	}
	return r;
}
