/* Upstreams as operators see them, and their memory. */
#include "service/upstreams.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "core/semver.h"
#include "service/access.h"
#include "service/alerts.h"
#include "service/catalog.h"
#include "service/metrics.h"
#include "service/registry.h"
#include "service/rollout_spec.h"
#include "service/rollouts.h"
#include "service/signing.h"
#include "service/unit.h"
#include "service/upstreams_inside.h"

#define SECRET_MAX 512
#define FIRST_LOOK_MS 1000
#define AGAIN_MS 1000
#define CONTENT_ATTEMPTS 12 /* half a day, at an interval of an hour */

/* ---- open and close ---- */

static void on_lost(void *ctx)
{
	struct upstreams *u = ctx;
	u->next_ms = 0;
}

enum err upstreams_open(struct services *s, const struct upstream_options *options, struct upstreams **out, struct fault *f)
{
	struct upstreams *u = calloc(1, sizeof *u);
	if (u == NULL)
		abort();
	u->s = s;
	u->options = *options;
	u->last_wanted = &u->wanted;
	u->record = malloc(sizeof *u->record);
	if (u->record == NULL)
		abort();
	enum err e = upstream_store_open(s->db, &u->store, f);
	if (e != ERR_OK) {
		upstreams_close(u);
		return e;
	}
	units_listen(s->units, (struct unit_listener){.lost = on_lost, .ctx = u});
	*out = u;
	return ERR_OK;
}

static void free_wanted(struct upstream_wanted *w)
{
	arena_free(w->arena);
	free(w);
}

static void free_run(struct upstream_run *r)
{
	upstreams_free_poll(r);
	upstreams_free_planning(r);
	free(r);
}

void upstreams_close(struct upstreams *u)
{
	if (u == NULL)
		return;
	while (u->wanted != NULL) {
		struct upstream_wanted *w = u->wanted;
		u->wanted = w->next;
		free_wanted(w);
	}
	while (u->runs != NULL) {
		struct upstream_run *r = u->runs;
		u->runs = r->next;
		free_run(r);
	}
	upstream_store_close(u->store);
	free(u->record);
	free(u);
}

struct upstream_run *upstreams_run(struct upstreams *u, int64_t id)
{
	struct upstream_run *r = u->runs;
	while (r != NULL && r->id != id)
		r = r->next;
	if (r != NULL)
		return r;
	r = calloc(1, sizeof *r);
	if (r == NULL)
		abort();
	r->id = id;
	r->next = u->runs;
	u->runs = r;
	return r;
}

/* ---- policy ---- */

#define COMPONENT(member) .offset = offsetof(struct upstream_component, member)
static const struct field component_fields[] = {
	{.name = "model", .type = FIELD_STR, COMPONENT(model), .min = 1, .max = 64, .flags = FIELD_REQUIRED, .doc = "another model of the release"},
	{.name = "version", .type = FIELD_STR, COMPONENT(version), .min = 1, .max = 64, .flags = FIELD_REQUIRED, .doc = "its version"},
	{.name = NULL},
};
#define FILE_AT(member) .offset = offsetof(struct upstream_file, member)
static const struct field file_fields[] = {
	{.name = "file", .type = FIELD_STR, FILE_AT(file), .min = 1, .max = 128, .flags = FIELD_REQUIRED, .doc = "name of a file there"},
	{.name = "hardware", .type = FIELD_STR, FILE_AT(hardware), .min = 1, .max = 64, .flags = FIELD_REQUIRED, .doc = "hardware class that it is for, * for any"},
	{.name = "variant", .type = FIELD_STR, FILE_AT(variant), .max = 64, .doc = "which of several that do the same job"},
	{.name = NULL},
};
#define AT(member) .offset = offsetof(struct upstream_policy, member)
const struct field upstream_policy_fields[] = {
	{.name = "action", .type = FIELD_ENUM, AT(action), .choices = "none release rollout",
	 .doc = "what is made of a new version: nothing but the version, a release, or a release and its rollout; release when absent"},
	{.name = "prereleases", .type = FIELD_BOOL, AT(prereleases), .doc = "versions as 2.0.0-rc.1 are taken, too"},
	{.name = "quality", .type = FIELD_ENUM, AT(quality), .choices = "compare ignore",
	 .doc = "compare (when absent): a version that declares worse figures than what runs is refused"},
	{.name = "margin", .type = FIELD_NUM, AT(margin), .min = 0, .max = 1e9, .doc = "how much worse a figure may be"},
	{.name = "lower_is_better", .type = FIELD_STRS, AT(lower_is_better), .max = 16, .flags = FIELD_OMIT_ZERO,
	 .doc = "figures that are better when smaller, besides loss*, error*, latency*, energy*, *_ms, *_uj, *_bytes"},
	{.name = "components", .type = FIELD_OBJECTS, AT(components), .max = UPSTREAM_COMPONENTS_MAX, .fields = component_fields,
	 .item_bytes = sizeof(struct upstream_component), .flags = FIELD_OMIT_ZERO, .doc = "what else is in the release"},
	{.name = "config", .type = FIELD_DOC, AT(config), .max = 8192, .doc = "configuration of the release"},
	{.name = "files", .type = FIELD_OBJECTS, AT(files), .max = UPSTREAM_FILES_MAX, .fields = file_fields, .item_bytes = sizeof(struct upstream_file),
	 .flags = FIELD_OMIT_ZERO, .doc = "of hawkBit: which hardware a file is for; without, a module has one file, for any"},
	{.name = "rollout", .type = FIELD_DOC, AT(rollout), .max = 32768,
	 .doc = "as POST /rollouts takes it, without release; started at once unless it says start: false"},
	{.name = NULL},
};
#undef AT

void upstream_policy_init(struct upstream_policy *p)
{
	*p = (struct upstream_policy){.action = "release", .quality = "compare"};
}

enum err upstream_policy_read(const char *json, struct upstream_policy *p, struct arena *a, struct fault *f)
{
	struct json *root = NULL;
	enum err e = json_parse(json, strlen(json), &root, f);
	upstream_policy_init(p);
	if (e == ERR_OK)
		e = json_bind(upstream_policy_fields, root, p, a, f);
	json_free(root);
	return e;
}

/* The request of a rollout that a policy asks for. */
static enum err check_rollout(struct call *c, const char *text)
{
	struct json *root = NULL;
	struct buf b = BUF_INIT;
	struct rollout_request *q = arena_alloc(c->arena, sizeof *q);
	enum err e = json_parse(text, strlen(text), &root, c->fault);
	if (e == ERR_OK && (json_get(root, "release") != NULL || json_get(root, "devices") != NULL))
		e = fault_set(c->fault, ERR_INVALID, "", "release and devices are not for a policy");
	if (e == ERR_OK) {
		json_open_object(&b);
		json_str(&b, "release", "checked");
		for (const struct json *m = json_first(root); m != NULL; m = json_next(m)) {
			struct buf value = BUF_INIT;
			json_print(m, &value);
			json_raw(&b, json_name(m), value.data);
			buf_done(&value);
		}
		if (json_get(root, "name") == NULL)
			json_str(&b, "name", "checked");
		json_close_object(&b);
		e = rollout_request_read(b.data, q, c->arena, c->fault);
	}
	if (e != ERR_OK)
		fault_prefix(c->fault, "/policy/rollout");
	json_free(root);
	buf_done(&b);
	return e;
}

static enum err check_policy(struct call *c, struct upstream_row *row)
{
	struct upstream_policy p;
	struct buf b = BUF_INIT;
	enum err e = upstream_policy_read(row->policy, &p, c->arena, c->fault);
	if (e != ERR_OK) {
		fault_prefix(c->fault, "/policy");
		return e;
	}
	const struct upstream_component *components = p.components.items;
	const struct upstream_file *files = p.files.items;
	for (size_t i = 0; i < p.components.count; i++)
		if (strcmp(components[i].model, row->model) == 0)
			return fault_set(c->fault, ERR_INVALID, "/policy/components", "model %s is the one that is followed", row->model);
	for (size_t i = 0; i < p.files.count; i++)
		if ((strcmp(files[i].hardware, "*") != 0 && !str_is_name(files[i].hardware)) ||
		    (files[i].variant != NULL && files[i].variant[0] != '\0' && !str_is_name(files[i].variant)))
			return fault_set(c->fault, ERR_INVALID, "/policy/files", "hardware and variant are names");
	if (p.rollout != NULL)
		e = check_rollout(c, p.rollout);
	json_encode(upstream_policy_fields, &p, &b);
	row->policy = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return e;
}

/* ---- settings ---- */

static enum err check_auth(struct call *c, const struct upstream_row *row, bool has_secret)
{
	struct fault *f = c->fault;
	bool is_header = strcmp(row->auth, "header") == 0, is_none = strcmp(row->auth, "none") == 0;
	if (is_none && has_secret)
		return fault_set(f, ERR_INVALID, "/auth", "a secret is given: say whether it is for basic, bearer or header");
	if (!is_none && !has_secret)
		return fault_set(f, ERR_INVALID, "/secret", "is needed for %s", row->auth);
	if ((is_header || strcmp(row->auth, "basic") == 0) && row->user[0] == '\0')
		return fault_set(f, ERR_INVALID, "/user", "is needed: %s", is_header ? "the header's name" : "who logs in");
	for (const char *p = row->user; *p != '\0'; p++) {
		bool is_plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '-';
		if (is_header ? !is_plain : (unsigned char)*p < ' ' || *p == ':' || *p == 0x7f)
			return fault_set(f, ERR_INVALID, "/user", "has a character that is not taken");
	}
	return ERR_OK;
}

static enum err check_key(struct call *c, struct upstream_row *row)
{
	uint8_t key[ED25519_KEY_BYTES];
	char text[64];
	if (row->public_key[0] == '\0')
		return ERR_OK;
	if (!upstream_key_parse(row->public_key, key))
		return fault_set(c->fault, ERR_INVALID, "/public_key", "an Ed25519 public key is expected: PEM, or base64 of its 32 bytes");
	if (strcmp(row->kind, "hawkbit") == 0 || strcmp(row->kind, "aviary") == 0)
		return fault_set(c->fault, ERR_INVALID, "/public_key", "answers of such servers are not signed: TLS says who they are");
	base64_encode(key, sizeof key, text);
	row->public_key = arena_strdup(c->arena, text);
	return ERR_OK;
}

static enum err check_settings(struct call *c, struct upstream_row *row, bool has_secret)
{
	struct fault *f = c->fault;
	const struct upstreams *u = c->s->upstreams;
	if (!str_is_name(row->name))
		return fault_set(f, ERR_INVALID, "/name", "a name has 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter or digit");
	if (!str_is_name(row->model))
		return fault_set(f, ERR_INVALID, "/model", "the name of a model is expected");
	if (upstreams_is_local(row)) {
		if (!upstreams_is_allowed_directory(u, row->url))
			return fault_set(f, ERR_INVALID, "/url", "is in none of the directories that [upstreams] directories allows");
	} else if (!upstream_url_is_good(row->url) || (strcmp(row->kind, "s3") != 0 && strchr(row->url, '?') != NULL && strcmp(row->kind, "index") != 0)) {
		return fault_set(f, ERR_INVALID, "/url", "https://host/... is expected, without user and blanks");
	}
	if (strlen(row->prefix) > 512 || !str_is_utf8(row->prefix, strlen(row->prefix)))
		return fault_set(f, ERR_INVALID, "/prefix", "at most 512 bytes of UTF-8 are expected");
	if (row->ca_file[0] != '\0' && row->ca_file[0] != '/')
		return fault_set(f, ERR_INVALID, "/ca_file", "an absolute path is expected");
	enum err e = check_auth(c, row, has_secret);
	if (e == ERR_OK)
		e = check_key(c, row);
	return e == ERR_OK ? check_policy(c, row) : e;
}

static enum err seal_secret(struct call *c, struct upstream_row *row, const char *secret)
{
	if (secret == NULL)
		return ERR_OK;
	size_t len = strlen(secret);
	row->secret = NULL;
	row->secret_len = 0;
	if (len == 0)
		return ERR_OK;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)secret[i] < ' ' || secret[i] == 0x7f)
			return fault_set(c->fault, ERR_INVALID, "/secret", "has a control character");
	if (len > SECRET_MAX)
		return fault_set(c->fault, ERR_INVALID, "/secret", "longer than %d bytes", SECRET_MAX);
	uint8_t *sealed = arena_alloc(c->arena, len + CRYPTO_SEAL_BYTES);
	crypto_seal(signing_target_key(catalog_signing(c->s->catalog)), secret, len, sealed);
	row->secret = sealed;
	row->secret_len = len + CRYPTO_SEAL_BYTES;
	return ERR_OK;
}

const char *upstreams_resource(struct call *c, const struct upstream_row *row)
{
	return arena_printf(c->arena, "upstreams/%s", row->name);
}

/* For the books: what operators set, without the secret. */
static const char *row_json(struct call *c, const struct upstream_row *row)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", row->name);
	json_str(&b, "model", row->model);
	json_str(&b, "kind", row->kind);
	json_str(&b, "url", row->url);
	json_str(&b, "prefix", row->prefix);
	json_str(&b, "public_key", row->public_key);
	json_str(&b, "auth", row->auth);
	json_bool(&b, "has_secret", row->secret != NULL);
	json_str(&b, "ca_file", row->ca_file);
	json_int(&b, "interval_ms", row->interval_ms);
	json_int(&b, "alert_after", row->alert_after);
	json_bool(&b, "enabled", row->is_enabled);
	json_raw(&b, "policy", row->policy);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

enum err upstreams_create(struct call *c, struct upstream_row *row, const char *secret)
{
	struct upstreams *u = c->s->upstreams;
	struct upstream_row *there;
	size_t count = 0;
	enum err e = seal_secret(c, row, secret);
	if (e == ERR_OK)
		e = check_settings(c, row, row->secret != NULL);
	if (e == ERR_OK)
		e = upstream_store_list(u->store, 0, UPSTREAMS_MAX, c->arena, &there, &count, c->fault);
	if (e == ERR_OK && count >= UPSTREAMS_MAX)
		e = fault_set(c->fault, ERR_CONFLICT, "", "there are %d upstreams, which is as many as there can be", UPSTREAMS_MAX);
	if (e != ERR_OK)
		return e;
	row->revision = 1;
	row->created_at = row->updated_at = c->now_ms;
	row->next_at = c->now_ms + FIRST_LOOK_MS;
	row->state = "new";
	row->etag = row->fault = row->reason = row->stopped_version = "";
	e = upstream_store_insert(u->store, row, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "/name", "there is an upstream %s already", row->name);
	u->next_ms = 0;
	return e == ERR_OK ? audit_append(c, "upstream.create", upstreams_resource(c, row), NULL, row_json(c, row)) : e;
}

/* What was refused by rules or by a way that may be others now is looked at again. */
static enum err forgive(struct call *c, int64_t id)
{
	static const enum upstream_fault by_policy[] = {UPSTREAM_FAULT_QUALITY, UPSTREAM_FAULT_POLICY, UPSTREAM_FAULT_INCOMPATIBLE,
		UPSTREAM_FAULT_UNREACHABLE, UPSTREAM_FAULT_REDIRECT, UPSTREAM_FAULT_ADDRESS, UPSTREAM_FAULT_TOO_LARGE};
	enum err e = ERR_OK;
	for (size_t i = 0; i < sizeof by_policy / sizeof *by_policy && e == ERR_OK; i++)
		e = upstream_store_forgive(c->s->upstreams->store, id, upstream_fault_text(by_policy[i]), c->fault);
	return e;
}

enum err upstreams_change(struct call *c, struct upstream_row *row, const char *secret)
{
	struct upstreams *u = c->s->upstreams;
	struct upstream_row before;
	enum err e = upstream_store_get(u->store, row->id, c->arena, &before, c->fault);
	if (e == ERR_OK)
		e = seal_secret(c, row, secret);
	if (e == ERR_OK)
		e = check_settings(c, row, row->secret != NULL);
	if (e == ERR_OK && strcmp(before.model, row->model) != 0)
		e = fault_set(c->fault, ERR_INVALID, "/model", "stays what it is: its versions are known by it");
	if (e == ERR_OK && strcmp(before.kind, row->kind) != 0)
		e = fault_set(c->fault, ERR_INVALID, "/kind", "stays what it is");
	if (e != ERR_OK)
		return e;
	row->revision++;
	row->updated_at = c->now_ms;
	row->next_at = c->now_ms;
	e = upstream_store_update(u->store, row, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "/name", "there is an upstream %s already", row->name);
	if (e == ERR_OK)
		e = forgive(c, row->id);
	u->next_ms = 0;
	return e == ERR_OK ? audit_append(c, "upstream.update", upstreams_resource(c, row), row_json(c, &before), row_json(c, row)) : e;
}

enum err upstreams_remove(struct call *c, const struct upstream_row *row)
{
	struct upstreams *u = c->s->upstreams;
	const char *resource = upstreams_resource(c, row);
	enum err e = upstream_store_delete(u->store, row->id, c->fault);
	for (int f = 1; f < UPSTREAM_FAULT_COUNT && e == ERR_OK; f++)
		e = alert_resolve(c, arena_printf(c->arena, UPSTREAM_ALERT_PREFIX "%s", upstream_fault_text((enum upstream_fault)f)), resource);
	u->next_ms = 0;
	return e == ERR_OK ? audit_append(c, "upstream.delete", resource, row_json(c, row), NULL) : e;
}

enum err upstreams_find(struct call *c, const char *name, struct upstream_row *out)
{
	enum err e = upstream_store_find(c->s->upstreams->store, name, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "there is no upstream %s", name) : e;
}

enum err upstreams_list(struct call *c, int64_t after, int64_t limit, struct upstream_row **rows, size_t *count)
{
	return upstream_store_list(c->s->upstreams->store, after, limit, c->arena, rows, count, c->fault);
}

static int newest_first(const void *a, const void *b)
{
	const struct upstream_version_row *x = a, *y = b;
	return semver_compare_texts(y->version, x->version);
}

enum err upstreams_versions(struct call *c, const struct upstream_row *row, struct upstream_version_row **rows, size_t *count)
{
	enum err e = upstream_store_versions(c->s->upstreams->store, row->id, c->arena, rows, count, c->fault);
	if (e == ERR_OK)
		qsort(*rows, *count, sizeof **rows, newest_first);
	return e;
}

const char *upstreams_state(const struct upstream_row *row)
{
	return row->is_enabled ? row->state : "disabled";
}

enum err upstreams_check(struct call *c, const struct upstream_row *row, bool dry_run, struct upstream_waiter waiter)
{
	struct upstreams *u = c->s->upstreams;
	struct upstream_run *run = upstreams_run(u, row->id);
	if (run->waiter.told != NULL)
		return fault_set(c->fault, ERR_CONFLICT, "", "upstream %s is being looked at already", row->name);
	run->waiter = waiter;
	run->is_wanted = true;
	run->is_dry = dry_run;
	u->next_ms = 0;
	return ERR_OK;
}

void upstreams_end_checks(struct upstreams *u)
{
	struct fault f = {"", "the server ends"};
	for (struct upstream_run *r = u->runs; r != NULL; r = r->next) {
		struct upstream_waiter w = r->waiter;
		r->waiter = (struct upstream_waiter){0};
		r->is_wanted = false;
		if (w.told != NULL)
			w.told(w.ctx, ERR_UNAVAILABLE, &f, NULL);
	}
}

/* ---- rows of versions ---- */

enum err upstreams_move(struct call *c, const struct upstream_row *row, struct upstream_version_row *v, enum upstream_status status, const char *reason)
{
	struct buf b = BUF_INIT;
	v->status = upstream_status_text(status);
	v->reason = reason;
	v->attempts = 0;
	v->next_at = 0;
	v->updated_at = c->now_ms;
	if (status != UPSTREAM_REFUSED && status != UPSTREAM_REVERTED)
		v->fault = "";
	enum err e = upstream_store_set_version(c->s->upstreams->store, v, c->fault);
	json_open_object(&b);
	json_str(&b, "upstream", row->name);
	json_str(&b, "model", row->model);
	json_str(&b, "version", v->version);
	json_str(&b, "status", v->status);
	json_str(&b, "reason", reason);
	if (v->rollout != 0)
		json_int(&b, "rollout", v->rollout);
	json_close_object(&b);
	if (e == ERR_OK)
		e = event_append(c, "upstream.version", upstreams_resource(c, row), b.data);
	buf_done(&b);
	log_event(LOG_INFO, "upstream.version", "upstream=%s version=%s status=%s reason=%s", row->name, v->version, v->status, log_quote(reason));
	return e;
}

/* ---- wants ---- */

static const char *auth_header(struct upstreams *u, const struct upstream_row *row, struct arena *a)
{
	if (row->secret == NULL || row->secret_len <= CRYPTO_SEAL_BYTES)
		return NULL;
	size_t len = row->secret_len - CRYPTO_SEAL_BYTES;
	char *secret = arena_alloc(a, len + 1);
	if (!crypto_open(signing_target_key(catalog_signing(u->s->catalog)), row->secret, row->secret_len, (uint8_t *)secret))
		return NULL; /* the key is another one: the upstream will say that it does not know us */
	if (strcmp(row->auth, "bearer") == 0)
		return arena_printf(a, "Authorization: Bearer %s", secret);
	if (strcmp(row->auth, "header") == 0)
		return arena_printf(a, "%s: %s", row->user, secret);
	const char *pair = arena_printf(a, "%s:%s", row->user, secret);
	char *encoded = arena_alloc(a, base64_encoded_len(strlen(pair)) + 1);
	base64_encode(pair, strlen(pair), encoded);
	return arena_printf(a, "Authorization: Basic %s", encoded);
}

void upstreams_want(struct upstreams *u, struct upstream_run *run, const struct upstream_row *row, const struct upstream_want *want)
{
	struct upstream_wanted *w = calloc(1, sizeof *w);
	if (w == NULL)
		abort();
	w->arena = arena_new(65536);
	w->run = run;
	w->want = *want;
	w->want.upstream = row->id;
	w->want.url = arena_strdup(w->arena, want->url);
	const char *query = strchr(row->url, '?'); /* of a bucket: who may read, for each of its objects */
	if (strcmp(row->kind, "s3") == 0 && query != NULL && strchr(want->url, '?') == NULL && upstream_url_same_origin(row->url, want->url))
		w->want.url = arena_printf(w->arena, "%s%s", want->url, query);
	w->want.etag = arena_strdup(w->arena, want->etag);
	w->want.is_local = upstreams_is_local(row);
	w->want.ca_file = arena_strdup(w->arena, upstreams_ca_file(u, row));
	w->want.header = upstream_url_same_origin(row->url, want->url) ? auth_header(u, row, w->arena) : NULL;
	run->out++;
	*u->last_wanted = w;
	u->last_wanted = &w->next;
}

bool upstreams_take(struct upstreams *u, const struct upstream_want **out)
{
	struct upstream_wanted *w = u->wanted;
	if (w == NULL)
		return false;
	u->wanted = w->next;
	if (u->wanted == NULL)
		u->last_wanted = &u->wanted;
	*out = &w->want;
	return true;
}

void upstreams_drop(const struct upstream_want *want)
{
	free_wanted((struct upstream_wanted *)(uintptr_t)want);
}

/* What was handed out is over: its run, unless its upstream is gone. */
static struct upstream_run *take_back(struct call *c, const struct upstream_want *want, struct upstream_row *row)
{
	struct upstream_wanted *w = (struct upstream_wanted *)(uintptr_t)want;
	struct upstream_run *run = w->run;
	enum err e = upstream_store_get(c->s->upstreams->store, run->id, c->arena, row, c->fault);
	run->out--;
	c->s->upstreams->next_ms = 0;
	if (want->is_content)
		run->is_fetching = false;
	if (e == ERR_OK)
		return run;
	if (!want->is_content)
		upstreams_free_poll(run); /* the next tick lets go of it */
	return NULL;
}

void upstreams_on_document(struct call *c, const struct upstream_want *want, const struct upstream_answer *a)
{
	struct upstream_row row;
	struct upstream_run *run = take_back(c, want, &row);
	const char *next = NULL;
	if (run == NULL || run->poll == NULL) {
		free_wanted((struct upstream_wanted *)(uintptr_t)want);
		return;
	}
	struct upstream_poll *p = run->poll;
	enum upstream_fault fault = a->fault;
	enum err e = ERR_OK;
	if (fault == UPSTREAM_FAULT_NONE && a->status == 304 && p->at < 0) {
		p->is_unchanged = true;
	} else if (fault == UPSTREAM_FAULT_NONE && p->at < 0) {
		if (p->etag == NULL && a->etag != NULL && p->pages == 0)
			p->etag = strdup(a->etag);
		e = upstreams_read_list(c, &row, p, a->body, a->body_len, &next);
	} else if (fault == UPSTREAM_FAULT_NONE) {
		const char *base = NULL, *json = NULL;
		struct upstream_told *t = &p->told[p->at];
		e = upstreams_read_record(c, &row, t, a->body, a->body_len, &base);
		if (e == ERR_OK)
			e = upstreams_write_record(c, &row, c->s->upstreams->record, base, &json);
		if (e == ERR_OK)
			t->record = strdup(json);
	}
	if (fault == UPSTREAM_FAULT_NONE && e != ERR_OK)
		fault = e == ERR_TOO_LARGE ? UPSTREAM_FAULT_TOO_LARGE : e == ERR_FORBIDDEN ? UPSTREAM_FAULT_SIGNATURE
			: e == ERR_CONFLICT ? UPSTREAM_FAULT_CHANGED : UPSTREAM_FAULT_DOCUMENT;
	if (fault != UPSTREAM_FAULT_NONE)
		upstreams_poll_fault(c, run, &row, fault, a->fault != UPSTREAM_FAULT_NONE ? a->detail : c->fault->detail, a->retry_after_ms);
	else if (next != NULL)
		upstreams_want(c->s->upstreams, run, &row, &(struct upstream_want){.url = next});
	else
		upstreams_list_done(c, run, &row);
	free_wanted((struct upstream_wanted *)(uintptr_t)want);
}

/* ---- contents ---- */

static enum err resolve(struct call *c, const struct upstream_row *row, const char *fault)
{
	if (strcmp(row->fault, fault) == 0)
		return ERR_OK; /* its documents have the same one */
	return alert_resolve(c, arena_printf(c->arena, UPSTREAM_ALERT_PREFIX "%s", fault), upstreams_resource(c, row));
}

static enum err note_content(struct call *c, const struct upstream_row *row, enum upstream_fault fault, const char *detail, int64_t retry_after_ms)
{
	struct upstream_version_row v;
	uint64_t random;
	enum err e = upstream_store_busy(c->s->upstreams->store, row->id, c->arena, &v, c->fault);
	if (e != ERR_OK || strcmp(v.status, upstream_status_text(UPSTREAM_FETCHING)) != 0)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	const char *text = upstream_fault_text(fault);
	/* once, it may have been the way: half of one file and half of another */
	bool is_final = fault == UPSTREAM_FAULT_FILE || (fault == UPSTREAM_FAULT_CONTENT && strcmp(v.fault, text) == 0) ||
		(fault != UPSTREAM_FAULT_NONE && v.attempts + 1 >= CONTENT_ATTEMPTS); /* it would keep newer ones waiting */
	if (is_final)
		return upstreams_refuse(c, row, &v, fault, detail);
	crypto_random(&random, sizeof random);
	if (fault == UPSTREAM_FAULT_NONE && v.fault[0] != '\0')
		e = resolve(c, row, v.fault);
	if (e != ERR_OK)
		return e;
	v.fault = text;
	v.reason = fault == UPSTREAM_FAULT_NONE ? "" : detail;
	v.attempts = fault == UPSTREAM_FAULT_NONE ? 0 : v.attempts + 1;
	v.next_at = fault == UPSTREAM_FAULT_NONE ? 0 : upstream_next_ms(c->now_ms, row->interval_ms, (unsigned)v.attempts, retry_after_ms, random);
	v.updated_at = c->now_ms;
	e = upstream_store_set_version(c->s->upstreams->store, &v, c->fault);
	if (e != ERR_OK || fault == UPSTREAM_FAULT_NONE)
		return e;
	if (fault == UPSTREAM_FAULT_UNREACHABLE && v.attempts < row->alert_after)
		return ERR_OK;
	return alert_raise(c, arena_printf(c->arena, UPSTREAM_ALERT_PREFIX "%s", text), upstreams_resource(c, row), ALERT_WARNING,
		arena_printf(c->arena, "upstream %s: contents of version %s cannot be fetched: %s", row->name, v.version, detail), NULL);
}

void upstreams_on_content(struct call *c, const struct upstream_want *want, enum upstream_fault fault, const char *detail, int64_t retry_after_ms)
{
	struct upstream_row row;
	struct upstream_run *run = take_back(c, want, &row);
	if (run != NULL) {
		enum err e = unit_begin(c->s, c->fault);
		if (e == ERR_OK)
			e = unit_end(c->s, note_content(c, &row, fault, detail, retry_after_ms), c->fault);
		if (e != ERR_OK)
			log_event(LOG_ERROR, "upstream.note", "upstream=%s error=%s detail=%s", row.name, err_name(e), log_quote(c->fault->detail));
		if (fault != UPSTREAM_FAULT_NONE)
			log_event(LOG_WARN, "upstream.fetch", "upstream=%s fault=%s detail=%s", row.name, upstream_fault_text(fault), log_quote(detail));
	}
	free_wanted((struct upstream_wanted *)(uintptr_t)want);
}

/* ---- time ---- */

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static enum err tick_one(struct call *c, const struct upstream_row *row, int64_t *next_ms)
{
	struct upstreams *u = c->s->upstreams;
	struct upstream_run *run = upstreams_run(u, row->id);
	struct upstream_version_row v;
	bool is_due = (row->is_enabled && c->now_ms >= row->next_at) || run->is_wanted;
	if (is_due && run->poll == NULL) {
		upstreams_begin_poll(c, run, row, run->is_wanted && run->is_dry);
		*next_ms = 0; /* what came of a local one is to be worked on */
		return ERR_OK;
	}
	if (row->is_enabled && run->poll == NULL)
		*next_ms = sooner(*next_ms, row->next_at);
	if (!row->is_enabled || run->is_fetching)
		return ERR_OK;
	enum err e = upstream_store_busy(u->store, row->id, c->arena, &v, c->fault);
	if (e != ERR_OK)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	int64_t again = c->now_ms + AGAIN_MS;
	e = upstreams_step(c, run, row, &v, &again);
	*next_ms = sooner(*next_ms, again);
	return e;
}

/* Those whose upstream is gone, once nothing of theirs is out. */
static void drop_runs(struct upstreams *u, const struct upstream_row *rows, size_t count)
{
	for (struct upstream_run **at = &u->runs; *at != NULL;) {
		struct upstream_run *r = *at;
		size_t i = 0;
		while (i < count && rows[i].id != r->id)
			i++;
		if (i < count || r->out > 0) {
			at = &r->next;
			continue;
		}
		struct fault f = {"", "the upstream was deleted"};
		if (r->waiter.told != NULL)
			r->waiter.told(r->waiter.ctx, ERR_NOT_FOUND, &f, NULL);
		*at = r->next;
		free_run(r);
	}
}

enum err upstreams_tick(struct call *c, bool *more)
{
	struct upstreams *u = c->s->upstreams;
	struct upstream_row *rows;
	size_t count = 0, failing = 0;
	*more = false;
	if (c->now_ms < u->next_ms)
		return ERR_OK;
	if (unit_has_changes(c->s)) { /* only what was committed leads to anything */
		*more = true;
		return ERR_OK;
	}
	enum err e = upstream_store_list(u->store, 0, UPSTREAMS_MAX, c->arena, &rows, &count, c->fault);
	if (e != ERR_OK)
		return e;
	drop_runs(u, rows, count);
	int64_t next_ms = INT64_MAX;
	u->next_ms = INT64_MAX; /* who learns of something new meanwhile sets it to 0 */
	for (size_t i = 0; i < count; i++) {
		enum err mine = tick_one(c, &rows[i], &next_ms);
		failing += strcmp(rows[i].state, "failing") == 0;
		if (mine != ERR_OK) {
			next_ms = sooner(next_ms, c->now_ms + AGAIN_MS);
			e = mine;
		}
	}
	metric_set(METER_UPSTREAMS_FAILING, (int64_t)failing);
	u->next_ms = sooner(u->next_ms, next_ms);
	*more = u->next_ms <= c->now_ms;
	return e;
}
