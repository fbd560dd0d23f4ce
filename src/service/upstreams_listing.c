/* What the kinds of upstreams say, into versions and records. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "core/semver.h"
#include "service/upstreams_inside.h"

#define PAGES_MAX 20
#define RECORD_FILE "version.json"

static const char *model_there(const struct upstream_row *row)
{
	return row->prefix[0] != '\0' && strcmp(row->kind, "s3") != 0 ? row->prefix : row->model;
}

static void put_encoded(struct buf *b, const char *text, const char *keep)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || strchr("-._~", *p) != NULL ||
			strchr(keep, *p) != NULL;
		buf_printf(b, plain ? "%c" : "%%%02X", *p);
	}
}

static const char *take_text(struct call *c, struct buf *b)
{
	const char *text = arena_strdup(c->arena, buf_cstr(b));
	buf_done(b);
	return text;
}

static int base_len(const char *url) /* without query and the slashes at its end */
{
	size_t len = strcspn(url, "?");
	while (len > 0 && url[len - 1] == '/')
		len--;
	return (int)len;
}

static const char *query_of(const char *url)
{
	const char *q = strchr(url, '?');
	return q != NULL && q[1] != '\0' ? q + 1 : NULL;
}

/* ---- where the list is ---- */

static const char *bucket_list_url(struct call *c, const struct upstream_row *row, const char *token)
{
	struct buf b = BUF_INIT;
	buf_printf(&b, "%.*s/?list-type=2&max-keys=1000&prefix=", base_len(row->url), row->url);
	put_encoded(&b, row->prefix, "");
	if (token != NULL) {
		buf_str(&b, "&continuation-token=");
		put_encoded(&b, token, "");
	}
	if (query_of(row->url) != NULL)
		buf_printf(&b, "&%s", query_of(row->url));
	return take_text(c, &b);
}

static const char *bucket_url(struct call *c, const struct upstream_row *row, const char *version, const char *file)
{
	struct buf b = BUF_INIT;
	buf_printf(&b, "%.*s/", base_len(row->url), row->url);
	put_encoded(&b, row->prefix, "/");
	put_encoded(&b, version, "");
	buf_char(&b, '/');
	put_encoded(&b, file, "");
	return take_text(c, &b);
}

const char *upstreams_list_url(struct call *c, const struct upstream_row *row, const char *token)
{
	struct buf b = BUF_INIT;
	if (strcmp(row->kind, "s3") == 0)
		return bucket_list_url(c, row, token);
	if (strcmp(row->kind, "hawkbit") == 0) {
		buf_printf(&b, "%.*s/rest/v1/softwaremodules?limit=500&sort=id:DESC&q=name%%3D%%3D", base_len(row->url), row->url);
		put_encoded(&b, model_there(row), "");
	} else if (strcmp(row->kind, "aviary") == 0) {
		buf_printf(&b, "%.*s/api/v1/models/", base_len(row->url), row->url);
		put_encoded(&b, model_there(row), "");
		buf_str(&b, "/versions?limit=1000");
		if (token != NULL) {
			buf_str(&b, "&cursor=");
			put_encoded(&b, token, "");
		}
	} else {
		buf_str(&b, row->url);
	}
	return take_text(c, &b);
}

/* ---- index ---- */

struct index_reading {
	struct call *c;
	const struct upstream_row *row;
	struct upstream_poll *p;
	const uint8_t *key; /* NULL: records need no signature of their own */
	enum err e;
};

/* The signed bytes of an envelope; those of `in` where it is none and need not be. To be freed where *copy is set. */
static enum err open_document(struct call *c, struct slice in, const uint8_t *key, const char *domain, bool must, struct slice *out, char **copy)
{
	const char *why = "it is not signed";
	*copy = NULL;
	*out = in;
	if (!upstream_is_signed(in))
		return key != NULL && must ? fault_set(c->fault, ERR_FORBIDDEN, "", "%s", why) : ERR_OK;
	char *text = malloc(in.len + 1);
	if (text == NULL)
		abort();
	size_t len = 0;
	if (!upstream_open_signed(in, key, domain, text, &len, &why)) {
		free(text);
		return fault_set(c->fault, ERR_FORBIDDEN, "", "%s", why);
	}
	text[len] = '\0';
	*out = (struct slice){text, len};
	*copy = text;
	return ERR_OK;
}

static enum err check_model(struct call *c, const struct upstream_row *row, const struct upstream_record *r, bool must)
{
	if ((r->model[0] != '\0' || must) && strcmp(r->model, model_there(row)) != 0)
		return fault_set(c->fault, ERR_INVALID, "", "version %s is of model '%s', not of %s", r->version, r->model, model_there(row));
	return ERR_OK;
}

static enum err read_index_record(struct index_reading *x, struct slice raw)
{
	struct call *c = x->c;
	struct upstream_record *r = c->s->upstreams->record;
	struct slice text;
	char *copy = NULL;
	const char *json = NULL;
	enum err e = open_document(c, raw, x->key, UPSTREAM_RECORD_DOMAIN, true, &text, &copy);
	if (e == ERR_OK)
		e = upstream_record_parse(r, text.data, text.len, c->fault);
	if (e == ERR_OK)
		e = check_model(c, x->row, r, x->key != NULL);
	for (size_t i = 0; i < x->p->count && e == ERR_OK; i++)
		if (strcmp(x->p->told[i].version, r->version) == 0)
			e = fault_set(c->fault, ERR_INVALID, "", "version %s comes twice", r->version);
	if (e == ERR_OK)
		e = upstreams_write_record(c, x->row, r, x->row->url, &json);
	if (e == ERR_OK) {
		struct upstream_told *t = upstreams_tell(x->p);
		snprintf(t->version, sizeof t->version, "%s", r->version);
		t->is_withdrawn = r->is_withdrawn;
		if (r->artifact_count > 0)
			upstream_record_digest(r, t->digest);
		t->record = strdup(json);
	}
	free(copy);
	return e;
}

static bool on_record(void *ctx, struct slice raw)
{
	struct index_reading *x = ctx;
	x->e = read_index_record(x, raw);
	return x->e == ERR_OK;
}

static enum err read_index(struct call *c, const struct upstream_row *row, struct upstream_poll *p, const char *body, size_t len)
{
	uint8_t key[ED25519_KEY_BYTES];
	bool has_key = row->public_key[0] != '\0' && upstream_key_parse(row->public_key, key);
	struct index_reading x = {.c = c, .row = row, .p = p};
	struct upstream_index index;
	struct slice text;
	char *copy = NULL;
	if (row->public_key[0] != '\0' && !has_key)
		return fault_set(c->fault, ERR_INTERNAL, "", "the key of upstream %s cannot be read", row->name);
	enum err e = open_document(c, (struct slice){body, len}, has_key ? key : NULL, UPSTREAM_INDEX_DOMAIN, false, &text, &copy);
	bool is_signed = copy != NULL;
	if (has_key && !is_signed)
		x.key = key; /* then each record has to be */
	if (e == ERR_OK)
		e = upstream_index_parse(&index, text.data, text.len, c->fault);
	if (e == ERR_OK && strcmp(index.model, model_there(row)) != 0)
		e = fault_set(c->fault, ERR_INVALID, "", "it is of model %s, not of %s", index.model, model_there(row));
	if (e == ERR_OK && has_key && is_signed && index.published == 0)
		e = fault_set(c->fault, ERR_INVALID, "", "published: a signed index needs it, or an old one could be played again");
	if (e == ERR_OK) {
		p->published = x.key == NULL ? index.published : row->published; /* nobody signed that one */
		e = upstream_index_each(&index, on_record, &x, c->fault);
	}
	free(copy);
	return e == ERR_OK ? x.e : e;
}

/* ---- bucket ---- */

static void end_group(struct call *c, const struct upstream_row *row, struct upstream_poll *p)
{
	uint8_t digest[SHA256_BYTES];
	if (p->group == NULL)
		return;
	sha256_final(p->group, digest);
	sha256_free(p->group);
	p->group = NULL;
	if (!p->group_has_record)
		return; /* it is still being put there */
	struct upstream_told *t = upstreams_tell(p);
	snprintf(t->version, sizeof t->version, "%s", p->group_version);
	hex_encode(digest, sizeof digest, t->digest);
	t->place = strdup(bucket_url(c, row, p->group_version, RECORD_FILE));
}

static enum err add_object(struct call *c, const struct upstream_row *row, struct upstream_poll *p, const struct upstream_object *o)
{
	char version[NAME_BYTES], file[UPSTREAM_FILE_BYTES];
	if (!upstream_split_key(row->prefix, o->key, version, file))
		return ERR_OK;
	if (p->group != NULL && strcmp(p->group_version, version) != 0)
		end_group(c, row, p);
	if (p->group == NULL) {
		for (size_t i = 0; i < p->count; i++)
			if (strcmp(p->told[i].version, version) == 0)
				return fault_set(c->fault, ERR_INVALID, "", "the listing is not in order: version %s comes again", version);
		if (p->count >= UPSTREAM_VERSIONS_MAX)
			return fault_set(c->fault, ERR_TOO_LARGE, "", "more than %d versions", UPSTREAM_VERSIONS_MAX);
		p->group = sha256_new();
		p->group_has_record = false;
		memcpy(p->group_version, version, sizeof version);
	}
	/* A version is published with its record: what is put beside it later is not part of it. */
	if (strcmp(file, RECORD_FILE) != 0)
		return ERR_OK;
	const char *line = arena_printf(c->arena, "%s %s %lld\n", file, o->etag, (long long)o->size_bytes);
	p->group_has_record = true;
	sha256_update(p->group, line, strlen(line));
	return ERR_OK;
}

static enum err read_bucket(struct call *c, const struct upstream_row *row, struct upstream_poll *p, const char *body, size_t len, const char **next)
{
	struct upstream_listing l;
	struct upstream_object *o = arena_alloc(c->arena, sizeof *o);
	bool found;
	upstream_listing_init(&l, body, len);
	for (;;) {
		enum err e = upstream_listing_next(&l, o, &found, c->fault);
		if (e == ERR_OK && found)
			e = add_object(c, row, p, o);
		if (e != ERR_OK)
			return e;
		if (!found)
			break;
	}
	if (l.is_truncated && l.token[0] == '\0')
		return fault_set(c->fault, ERR_INVALID, "", "the listing is cut and does not say where it goes on");
	if (l.is_truncated)
		*next = upstreams_list_url(c, row, l.token);
	else
		end_group(c, row, p);
	return ERR_OK;
}

/* ---- other servers ---- */

static int64_t int_at(const struct json *j, const char *name)
{
	int64_t v = 0;
	const struct json *m = json_get(j, name);
	return m != NULL && json_is_integer(m, &v) ? v : 0;
}

static const char *text_at(const struct json *j, const char *name)
{
	const struct json *m = json_get(j, name);
	const char *text = m != NULL ? json_text(m) : NULL;
	return text != NULL ? text : "";
}

/* A version of another server is made once: its number and time stand for it. */
static enum err add_item(struct call *c, struct upstream_poll *p, const char *version, int64_t id, int64_t created_at, const char *place)
{
	struct semver v;
	if (strlen(version) >= NAME_BYTES || !semver_parse(version, strlen(version), &v))
		return ERR_OK; /* hawkBit's may be anything */
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->told[i].version, version) == 0)
			return ERR_OK; /* another type of module; newest first */
	if (p->count >= UPSTREAM_VERSIONS_MAX)
		return fault_set(c->fault, ERR_TOO_LARGE, "", "more than %d versions", UPSTREAM_VERSIONS_MAX);
	struct upstream_told *t = upstreams_tell(p);
	const char *line = arena_printf(c->arena, "%s %lld %lld", version, (long long)id, (long long)created_at);
	snprintf(t->version, sizeof t->version, "%s", version);
	crypto_sha256_hex(line, strlen(line), t->digest);
	t->place = strdup(place);
	return ERR_OK;
}

static enum err read_hawkbit(struct call *c, const struct upstream_row *row, struct upstream_poll *p, const struct json *root)
{
	const struct json *content = json_get(root, "content");
	enum err e = ERR_OK;
	if (content == NULL || json_type(content) != JSON_ARRAY)
		return fault_set(c->fault, ERR_INVALID, "", "a list of software modules is expected");
	for (const struct json *j = json_first(content); j != NULL && e == ERR_OK; j = json_next(j)) {
		const struct json *deleted = json_get(j, "deleted");
		if (strcmp(text_at(j, "name"), model_there(row)) != 0 || (deleted != NULL && json_is_true(deleted)))
			continue;
		e = add_item(c, p, text_at(j, "version"), int_at(j, "id"), int_at(j, "createdAt"),
			arena_printf(c->arena, "%.*s/rest/v1/softwaremodules/%lld/artifacts", base_len(row->url), row->url, (long long)int_at(j, "id")));
	}
	p->is_partial = int_at(root, "total") > (int64_t)json_count(content);
	return e;
}

static enum err read_aviary(struct call *c, const struct upstream_row *row, struct upstream_poll *p, const struct json *root, const char **next)
{
	const struct json *items = json_get(root, "items");
	enum err e = ERR_OK;
	if (items == NULL || json_type(items) != JSON_ARRAY)
		return fault_set(c->fault, ERR_INVALID, "", "a list of versions is expected");
	for (const struct json *j = json_first(items); j != NULL && e == ERR_OK; j = json_next(j)) {
		struct buf b = BUF_INIT;
		buf_printf(&b, "%.*s/api/v1/models/", base_len(row->url), row->url);
		put_encoded(&b, model_there(row), "");
		buf_str(&b, "/versions/");
		put_encoded(&b, text_at(j, "version"), "");
		buf_str(&b, "/artifacts?limit=1000");
		e = add_item(c, p, text_at(j, "version"), 0, int_at(j, "created_at"), take_text(c, &b));
	}
	if (text_at(root, "next")[0] != '\0')
		*next = upstreams_list_url(c, row, text_at(root, "next"));
	return e;
}

enum err upstreams_read_list(struct call *c, const struct upstream_row *row, struct upstream_poll *p, const char *body, size_t len, const char **next)
{
	struct json *root = NULL;
	*next = NULL;
	if (++p->pages > PAGES_MAX)
		return fault_set(c->fault, ERR_TOO_LARGE, "", "the list has more than %d pages", PAGES_MAX);
	if (strcmp(row->kind, "index") == 0)
		return read_index(c, row, p, body, len);
	if (strcmp(row->kind, "s3") == 0)
		return read_bucket(c, row, p, body, len, next);
	enum err e = json_parse(body, len, &root, c->fault);
	if (e == ERR_OK)
		e = strcmp(row->kind, "hawkbit") == 0 ? read_hawkbit(c, row, p, root) : read_aviary(c, row, p, root, next);
	json_free(root);
	return e;
}

/* ---- records of theirs ---- */

static bool put(char *out, size_t size, const char *text)
{
	return str_copy(out, size, text);
}

static struct slice slice_of(struct call *c, const struct json *j)
{
	struct buf b = BUF_INIT;
	if (j == NULL)
		return (struct slice){NULL, 0};
	json_print(j, &b);
	const char *text = take_text(c, &b);
	return (struct slice){text, strlen(text)};
}

static enum err read_hawkbit_files(struct call *c, const struct upstream_row *row, const struct upstream_told *t, const struct json *root)
{
	struct upstream_record *r = c->s->upstreams->record;
	struct upstream_policy policy;
	enum err e = upstream_policy_read(row->policy, &policy, c->arena, c->fault);
	if (e != ERR_OK || json_type(root) != JSON_ARRAY)
		return e != ERR_OK ? e : fault_set(c->fault, ERR_INVALID, "", "a list of artifacts is expected");
	const struct upstream_file *files = policy.files.items;
	for (const struct json *j = json_first(root); j != NULL; j = json_next(j)) {
		const char *name = text_at(j, "providedFilename"), *hardware = "*", *variant = "";
		size_t k = 0;
		while (k < policy.files.count && strcmp(files[k].file, name) != 0)
			k++;
		if (policy.files.count > 0 && k == policy.files.count)
			continue; /* nobody said what it is for */
		if (policy.files.count > 0) {
			hardware = files[k].hardware;
			variant = files[k].variant != NULL ? files[k].variant : "";
		}
		if (r->artifact_count == UPSTREAM_ARTIFACTS_MAX || (policy.files.count == 0 && r->artifact_count == 1))
			return fault_set(c->fault, ERR_INVALID, "", "version %s has several files: files in the policy says which hardware each is for", t->version);
		struct upstream_artifact *a = &r->artifacts[r->artifact_count++];
		a->size_bytes = int_at(j, "size");
		bool ok = put(a->file, sizeof a->file, name) && put(a->hardware, sizeof a->hardware, hardware) && put(a->variant, sizeof a->variant, variant) &&
			put(a->sha256, sizeof a->sha256, text_at(json_get(j, "hashes"), "sha256")) && str_is_hex(a->sha256, SHA256_HEX - 1) && a->size_bytes > 0 &&
			put(a->url, sizeof a->url, arena_printf(c->arena, "%s/%lld/download", t->place, (long long)int_at(j, "id")));
		if (!ok)
			return fault_set(c->fault, ERR_INVALID, "", "version %s: an artifact without size or sha256, or with too long a name", t->version);
	}
	return ERR_OK;
}

static enum err read_aviary_artifacts(struct call *c, const struct upstream_row *row, const struct upstream_told *t, const struct json *root)
{
	struct upstream_record *r = c->s->upstreams->record;
	const struct json *items = json_get(root, "items");
	if (items == NULL || json_type(items) != JSON_ARRAY)
		return fault_set(c->fault, ERR_INVALID, "", "a list of artifacts is expected");
	for (const struct json *j = json_first(items); j != NULL; j = json_next(j)) {
		const struct json *declared = json_get(j, "declared");
		if (strcmp(text_at(j, "state"), "ready") != 0)
			return fault_set(c->fault, ERR_INVALID, "", "version %s is not complete there", t->version);
		if (r->artifact_count == UPSTREAM_ARTIFACTS_MAX)
			return fault_set(c->fault, ERR_TOO_LARGE, "", "version %s has more than %d artifacts", t->version, UPSTREAM_ARTIFACTS_MAX);
		struct upstream_artifact *a = &r->artifacts[r->artifact_count++];
		a->size_bytes = int_at(j, "size_bytes");
		if (declared != NULL) {
			a->format = slice_of(c, json_get(declared, "format"));
			a->requires = slice_of(c, json_get(declared, "requires"));
			a->quality = slice_of(c, json_get(declared, "quality"));
		}
		bool ok = put(a->file, sizeof a->file, text_at(j, "file_name")) && put(a->hardware, sizeof a->hardware, text_at(j, "hardware")) &&
			put(a->variant, sizeof a->variant, text_at(j, "variant")) && put(a->sha256, sizeof a->sha256, text_at(j, "sha256")) &&
			str_is_hex(a->sha256, SHA256_HEX - 1) && a->size_bytes > 0 &&
			put(a->url, sizeof a->url, arena_printf(c->arena, "%.*s/api/v1/artifacts/%lld/content", base_len(row->url), row->url,
				(long long)int_at(j, "id")));
		if (!ok)
			return fault_set(c->fault, ERR_INVALID, "", "version %s: an artifact that is none", t->version);
	}
	return ERR_OK;
}

static enum err read_server_record(struct call *c, const struct upstream_row *row, const struct upstream_told *t, const char *body, size_t len)
{
	struct upstream_record *r = c->s->upstreams->record;
	struct json *root = NULL;
	memset(r, 0, sizeof *r);
	memcpy(r->version, t->version, sizeof r->version);
	enum err e = json_parse(body, len, &root, c->fault);
	if (e == ERR_OK)
		e = strcmp(row->kind, "hawkbit") == 0 ? read_hawkbit_files(c, row, t, root) : read_aviary_artifacts(c, row, t, root);
	if (e == ERR_OK && r->artifact_count == 0)
		e = fault_set(c->fault, ERR_INVALID, "", "version %s has no files", t->version);
	json_free(root);
	return e;
}

/* A record that stands by itself. Its slices are in `body`, or in the arena. */
static enum err read_own_record(struct call *c, const struct upstream_row *row, const struct upstream_told *t, const char *body, size_t len)
{
	struct upstream_record *r = c->s->upstreams->record;
	uint8_t key[ED25519_KEY_BYTES];
	bool has_key = row->public_key[0] != '\0' && upstream_key_parse(row->public_key, key);
	struct slice text;
	char *copy = NULL;
	enum err e = open_document(c, (struct slice){body, len}, has_key ? key : NULL, UPSTREAM_RECORD_DOMAIN, true, &text, &copy);
	if (copy != NULL) {
		text.data = arena_strndup(c->arena, copy, text.len);
		free(copy);
	}
	if (e == ERR_OK)
		e = upstream_record_parse(r, text.data, text.len, c->fault);
	if (e == ERR_OK)
		e = check_model(c, row, r, has_key);
	if (e == ERR_OK && strcmp(r->version, t->version) != 0)
		e = fault_set(c->fault, ERR_INVALID, "", "the record of version %s says that it is %s", t->version, r->version);
	return e;
}

enum err upstreams_read_record(struct call *c, const struct upstream_row *row, const struct upstream_told *t, const char *body, size_t len,
	const char **base)
{
	*base = t->place;
	if (strcmp(row->kind, "hawkbit") == 0 || strcmp(row->kind, "aviary") == 0)
		return read_server_record(c, row, t, body, len);
	if (upstreams_is_local(row))
		*base = arena_strndup(c->arena, t->place, strlen(t->place) - sizeof "/" RECORD_FILE + 1);
	return read_own_record(c, row, t, body, len);
}
