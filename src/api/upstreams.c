/* /api/v1/upstreams */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "service/access.h"
#include "service/unit.h"
#include "service/upstreams.h"

struct upstream_body {
	bool none;
	bool has_kind, has_url, has_prefix, has_key, has_auth, has_user, has_secret, has_ca, has_interval, has_alert, has_enabled, has_policy, enabled,
		has_any_secret;
	int64_t interval_ms, alert_after, revision, created_at, updated_at, published, failures, checked_at, succeeded_at, next_at;
	const char *name, *model, *kind, *url, *prefix, *public_key, *auth, *user, *secret, *ca_file, *state, *fault, *reason, *stopped_version;
	struct upstream_policy policy;
};

#define AT(member) .offset = offsetof(struct upstream_body, member)
#define SEEN(member) .present_offset = offsetof(struct upstream_body, member)
#define UPSTREAM_FIELDS(required)                                                                                                            \
	{.name = "name", .type = FIELD_STR, AT(name), .min = 1, .max = 64, .flags = required, .doc = "name of the upstream"},                     \
	{.name = "model", .type = FIELD_STR, AT(model), .min = 1, .max = 64, .flags = required,                                                  \
	 .doc = "model that follows it; made with its first version where there is none; it stays"},                                             \
	{.name = "kind", .type = FIELD_ENUM, AT(kind), SEEN(has_kind), .choices = "index directory s3 hawkbit aviary", .flags = required,         \
	 .doc = "index: a JSON document; directory: of this machine; s3: a bucket's listing; hawkbit, aviary: another server; it stays"},         \
	{.name = "url", .type = FIELD_STR, AT(url), SEEN(has_url), .min = 1, .max = 1024, .flags = required,                                     \
	 .doc = "https://..., of a directory its path, below one of [upstreams] directories"},                                                  \
	{.name = "prefix", .type = FIELD_STR, AT(prefix), SEEN(has_prefix), .max = 512,                                                          \
	 .doc = "of a bucket: what its keys begin with, as kws/; of others: name of the model there, where it is another one"},                  \
	{.name = "public_key", .type = FIELD_STR, AT(public_key), SEEN(has_key), .max = 512,                                                     \
	 .doc = "Ed25519 key that its documents are signed with, PEM or base64; empty: none is asked for"},                                      \
	{.name = "auth", .type = FIELD_ENUM, AT(auth), SEEN(has_auth), .choices = "none basic bearer header", .doc = "how the secret is sent"},    \
	{.name = "user", .type = FIELD_STR, AT(user), SEEN(has_user), .max = 128, .doc = "of basic: who; of header: the header's name"},          \
	{.name = "secret", .type = FIELD_STR, AT(secret), SEEN(has_secret), .max = 512, .flags = FIELD_WRITEONLY,                                \
	 .doc = "password, token, or value of the header; stored sealed, sent to this origin only, never shown"},                                \
	{.name = "has_secret", .type = FIELD_BOOL, AT(has_any_secret), .flags = FIELD_READONLY, .doc = "whether there is one"},                   \
	{.name = "ca_file", .type = FIELD_STR, AT(ca_file), SEEN(has_ca), .max = 512,                                                            \
	 .doc = "PEM file of the server with the certificates that sign the upstream's; empty: that of [upstreams], or the system's"},           \
	{.name = "interval_ms", .type = FIELD_INT, AT(interval_ms), SEEN(has_interval), .min = UPSTREAM_INTERVAL_MIN_MS, .max = 2592000000,       \
	 .doc = "time between two looks, a tenth of it more or less; 3600000 when absent"},                                                      \
	{.name = "alert_after", .type = FIELD_INT, AT(alert_after), SEEN(has_alert), .min = 1, .max = 1000,                                      \
	 .doc = "looks in a row that get no answer before there is an alert; 3 when absent"},                                                    \
	{.name = "enabled", .type = FIELD_BOOL, AT(enabled), SEEN(has_enabled), .doc = "true when absent; else nothing is looked at or gone on with"}, \
	{.name = "policy", .type = FIELD_OBJECT, AT(policy), SEEN(has_policy), .fields = upstream_policy_fields,                                 \
	 .doc = "what is done with a new version; in a change the whole of it"},                                                                \
	{.name = "state", .type = FIELD_ENUM, AT(state), .choices = "new ok failing stopped disabled", .flags = FIELD_READONLY,                  \
	 .doc = "failing: the last look ended with a fault; stopped: a version was reverted, a newer one is waited for"},                        \
	{.name = "fault", .type = FIELD_STR, AT(fault), .flags = FIELD_READONLY, .doc = "of a failing one: which (docs/upstreams.md)"},           \
	{.name = "reason", .type = FIELD_STR, AT(reason), .flags = FIELD_READONLY, .doc = "the same in words"},                                 \
	{.name = "stopped_version", .type = FIELD_STR, AT(stopped_version), .flags = FIELD_READONLY, .doc = "the version that was reverted"},      \
	{.name = "published", .type = FIELD_INT, AT(published), .flags = FIELD_READONLY, .doc = "number of the newest index that was seen"},      \
	{.name = "failures", .type = FIELD_INT, AT(failures), .flags = FIELD_READONLY, .doc = "looks in a row that ended with a fault"},          \
	{.name = "checked_at", .type = FIELD_INT, AT(checked_at), .flags = FIELD_READONLY | FIELD_OMIT_ZERO, .doc = "last look"},                 \
	{.name = "succeeded_at", .type = FIELD_INT, AT(succeeded_at), .flags = FIELD_READONLY | FIELD_OMIT_ZERO, .doc = "last one without a fault"}, \
	{.name = "next_at", .type = FIELD_INT, AT(next_at), .flags = FIELD_READONLY, .doc = "next look"},                                        \
	{.name = "revision", .type = FIELD_INT, AT(revision), .flags = FIELD_READONLY, .doc = "grows with each change; the ETag"},                \
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .flags = FIELD_READONLY, .doc = "when it was made"},                           \
	{.name = "updated_at", .type = FIELD_INT, AT(updated_at), .flags = FIELD_READONLY, .doc = "when it was changed last"},                   \
	{.name = NULL}
static const struct field upstream_fields[] = {UPSTREAM_FIELDS(FIELD_REQUIRED)};
static const struct field upstream_changes[] = {UPSTREAM_FIELDS(0)};
#undef AT
#undef SEEN

struct version_body {
	bool withdrawn;
	const char *version, *digest, *status, *fault, *reason, *table;
	int64_t attempts, next_at, release, rollout, seen_at, updated_at;
};
#define AT(member) .offset = offsetof(struct version_body, member)
static const struct field version_fields[] = {
	{.name = "version", .type = FIELD_STR, AT(version), .doc = "as published"},
	{.name = "status", .type = FIELD_ENUM, AT(status), .choices = "seen fetching fetched released rolling done refused reverted",
	 .doc = "seen: published, and not taken"},
	{.name = "withdrawn", .type = FIELD_BOOL, AT(withdrawn), .doc = "its publisher says that it is not to be taken"},
	{.name = "fault", .type = FIELD_STR, AT(fault), .flags = FIELD_OMIT_ZERO, .doc = "of a refused one: why (docs/upstreams.md); else of the last attempt"},
	{.name = "reason", .type = FIELD_STR, AT(reason), .flags = FIELD_OMIT_ZERO, .doc = "the same in words"},
	{.name = "digest", .type = FIELD_STR, AT(digest), .doc = "of what is published under it"},
	{.name = "attempts", .type = FIELD_INT, AT(attempts), .flags = FIELD_OMIT_ZERO, .doc = "of this step, in a row"},
	{.name = "next_at", .type = FIELD_INT, AT(next_at), .flags = FIELD_OMIT_ZERO, .doc = "next attempt"},
	{.name = "release", .type = FIELD_INT, AT(release), .flags = FIELD_OMIT_ZERO, .doc = "number of its release"},
	{.name = "rollout", .type = FIELD_INT, AT(rollout), .flags = FIELD_OMIT_ZERO, .doc = "its rollout"},
	{.name = "fleet", .type = FIELD_ANY, AT(table),
	 .doc = "array: hardware, verdict, devices, reasons: who could run it when the release was made"},
	{.name = "seen_at", .type = FIELD_INT, AT(seen_at), .doc = "when it was seen first"},
	{.name = "updated_at", .type = FIELD_INT, AT(updated_at), .doc = "when its status changed last"},
	{.name = NULL},
};
#undef AT

/* What service/upstreams_poll.c writes. */
static const struct field check_fields[] = {
	{.name = "upstream", .type = FIELD_STR, .doc = "which"},
	{.name = "dry_run", .type = FIELD_BOOL, .doc = "nothing was changed"},
	{.name = "published", .type = FIELD_INT, .doc = "versions in what it told; 0 where that has not changed"},
	{.name = "would", .type = FIELD_ENUM, .choices = "nothing refuse import release rollout", .doc = "what follows of it; import: the version alone"},
	{.name = "version", .type = FIELD_STR, .doc = "the version that is taken or refused"},
	{.name = "fault", .type = FIELD_STR, .doc = "why the upstream is refused (docs/upstreams.md)"},
	{.name = "reasons", .type = FIELD_STRS, .doc = "in words"},
	{.name = "fleet", .type = FIELD_ANY, .doc = "array: hardware, devices, able, reason: who could run it by what its publisher declares"},
	{.name = NULL},
};

static void init_body(void *body)
{
	struct upstream_body *b = body;
	upstream_policy_init(&b->policy);
}

static enum err encode_upstream(struct api_request *rq, const struct upstream_row *r)
{
	struct upstream_body b = {.enabled = r->is_enabled, .has_any_secret = r->secret != NULL, .interval_ms = r->interval_ms, .alert_after = r->alert_after,
		.revision = r->revision, .created_at = r->created_at, .updated_at = r->updated_at, .published = r->published, .failures = r->failures,
		.checked_at = r->checked_at, .succeeded_at = r->succeeded_at, .next_at = r->next_at, .name = r->name, .model = r->model, .kind = r->kind,
		.url = r->url, .prefix = r->prefix, .public_key = r->public_key, .auth = r->auth, .user = r->user, .ca_file = r->ca_file,
		.state = upstreams_state(r), .fault = r->fault, .reason = r->reason, .stopped_version = r->stopped_version};
	struct json *root = NULL;
	upstream_policy_init(&b.policy);
	enum err e = json_parse(r->policy, strlen(r->policy), &root, rq->call.fault);
	if (e == ERR_OK)
		e = json_bind(upstream_policy_fields, root, &b.policy, rq->call.arena, rq->call.fault);
	json_free(root);
	if (e == ERR_OK)
		json_encode(upstream_fields, &b, &rq->out);
	return e;
}

static void merge(struct api_request *rq, struct upstream_row *r, const struct upstream_body *b)
{
	r->name = b->name != NULL ? b->name : r->name;
	r->model = b->model != NULL ? b->model : r->model;
	r->kind = b->has_kind ? b->kind : r->kind;
	r->url = b->has_url ? b->url : r->url;
	r->prefix = b->has_prefix ? b->prefix : r->prefix;
	r->public_key = b->has_key ? b->public_key : r->public_key;
	r->auth = b->has_auth ? b->auth : r->auth;
	r->user = b->has_user ? b->user : r->user;
	r->ca_file = b->has_ca ? b->ca_file : r->ca_file;
	r->interval_ms = b->has_interval ? b->interval_ms : r->interval_ms;
	r->alert_after = b->has_alert ? b->alert_after : r->alert_after;
	r->is_enabled = b->has_enabled ? b->enabled : r->is_enabled;
	if (b->has_policy || r->policy == NULL) {
		struct buf text = BUF_INIT;
		json_encode(upstream_policy_fields, &b->policy, &text);
		r->policy = arena_strdup(rq->call.arena, buf_cstr(&text));
		buf_done(&text);
	}
}

static enum err answer(struct api_request *rq, const char *name)
{
	struct upstream_row r;
	enum err e = upstreams_find(&rq->call, name, &r);
	if (e == ERR_OK)
		e = encode_upstream(rq, &r);
	if (e == ERR_OK)
		rq->etag_revision = r.revision;
	return e;
}

static enum err create(struct api_request *rq)
{
	const struct upstream_body *b = rq->body;
	struct upstream_row r = {.prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "", .interval_ms = 3600000, .alert_after = 3,
		.is_enabled = true};
	merge(rq, &r, b);
	if (b->has_secret && !b->has_auth && b->secret[0] != '\0')
		r.auth = b->has_user && b->user[0] != '\0' ? "basic" : "bearer";
	enum err e = upstreams_create(&rq->call, &r, b->has_secret ? b->secret : NULL);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/upstreams/%s", r.name);
	return answer(rq, r.name);
}

static enum err show(struct api_request *rq)
{
	return answer(rq, rq->param[0]);
}

static enum err change(struct api_request *rq)
{
	const struct upstream_body *b = rq->body;
	struct upstream_row r;
	enum err e = upstreams_find(&rq->call, rq->param[0], &r);
	if (e == ERR_OK)
		e = api_if_match(rq, r.revision);
	if (e != ERR_OK)
		return e;
	merge(rq, &r, b);
	e = upstreams_change(&rq->call, &r, b->has_secret ? b->secret : NULL);
	return e == ERR_OK ? answer(rq, r.name) : e;
}

static enum err delete(struct api_request *rq)
{
	struct upstream_row r;
	enum err e = upstreams_find(&rq->call, rq->param[0], &r);
	return e == ERR_OK ? upstreams_remove(&rq->call, &r) : e;
}

static enum err list(struct api_request *rq)
{
	struct upstream_row *rows;
	size_t count;
	int64_t limit, after;
	enum err e = api_query_page(rq, &limit, &after);
	if (e == ERR_OK)
		e = upstreams_list(&rq->call, after, limit + 1, &rows, &count);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	api_list_open(rq);
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		e = encode_upstream(rq, &rows[i]);
	api_list_close(rq, more ? api_cursor_of(rq, rows[count - 1].id) : NULL, -1);
	return e;
}

static enum err versions(struct api_request *rq)
{
	struct upstream_row r;
	struct upstream_version_row *rows;
	size_t count;
	int64_t limit, after; /* of a few: a page is cut from all of them */
	enum err e = api_query_page(rq, &limit, &after);
	if (e == ERR_OK)
		e = upstreams_find(&rq->call, rq->param[0], &r);
	if (e == ERR_OK)
		e = upstreams_versions(&rq->call, &r, &rows, &count);
	if (e != ERR_OK)
		return e;
	size_t end = (size_t)(after + limit) < count ? (size_t)(after + limit) : count;
	api_list_open(rq);
	for (size_t i = (size_t)after; i < end; i++) {
		struct version_body b = {.withdrawn = rows[i].is_withdrawn, .version = rows[i].version, .digest = rows[i].digest, .status = rows[i].status,
			.fault = rows[i].fault, .reason = rows[i].reason, .table = rows[i].table_json, .attempts = rows[i].attempts,
			.next_at = rows[i].next_at, .release = rows[i].release, .rollout = rows[i].rollout, .seen_at = rows[i].seen_at, .updated_at = rows[i].updated_at};
		json_encode(version_fields, &b, &rq->out);
	}
	api_list_close(rq, end < count ? api_cursor_of(rq, (int64_t)end) : NULL, -1);
	return ERR_OK;
}

/* ---- a look now ---- */

static void told(void *ctx, enum err e, const struct fault *fault, const char *json)
{
	struct api_request *rq = ctx;
	if (e == ERR_OK)
		buf_str(&rq->out, json);
	else
		*rq->call.fault = *fault;
	api_finish(rq, e);
}

static enum err check(struct api_request *rq)
{
	struct upstream_row r;
	bool now = false;
	enum err e = api_query_bool(rq, "now", &now);
	if (e == ERR_OK)
		e = upstreams_find(&rq->call, rq->param[0], &r);
	if (e == ERR_OK && now)
		e = unit_begin(rq->call.s, rq->call.fault);
	if (e == ERR_OK && now)
		e = unit_end(rq->call.s, audit_append(&rq->call, "upstream.check", arena_printf(rq->call.arena, "upstreams/%s", r.name), NULL, NULL),
			rq->call.fault);
	if (e == ERR_OK)
		e = upstreams_check(&rq->call, &r, !now, (struct upstream_waiter){told, rq});
	rq->deferred = e == ERR_OK;
	return e;
}

static const struct route_query page_query[] = {{"limit", "1 to 1000, 100 when absent"}, {"cursor", "of the page before"}, {NULL, NULL}};
static const struct route_query check_query[] = {{"now", "true: not only to see what would be done"}, {NULL, NULL}};

#define BASE "/api/v1/upstreams"
extern const struct route routes_upstreams[];
const struct route routes_upstreams[] = {
	{.method = "GET", .path = BASE, .role = ROLE_VIEWER, .tag = "upstreams", .summary = "Where new versions of models come from", .query = page_query,
	 .reply = upstream_fields, .reply_is_list = true, .handle = list},
	{.method = "POST", .path = BASE, .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "upstreams",
	 .summary = "Let a model follow an upstream", .body = upstream_fields, .body_bytes = sizeof(struct upstream_body), .body_init = init_body,
	 .reply = upstream_fields, .handle = create},
	{.method = "GET", .path = BASE "/{upstream}", .role = ROLE_VIEWER, .tag = "upstreams", .summary = "Show an upstream, without its secret",
	 .reply = upstream_fields, .handle = show},
	{.method = "PATCH", .path = BASE "/{upstream}", .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_IF_MATCH, .tag = "upstreams",
	 .summary = "Change an upstream; versions that its policy refused are decided again", .body = upstream_changes,
	 .body_bytes = sizeof(struct upstream_body), .body_init = init_body, .reply = upstream_fields, .handle = change},
	{.method = "DELETE", .path = BASE "/{upstream}", .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "upstreams",
	 .summary = "Forget an upstream; what came from it stays", .handle = delete},
	{.method = "POST", .path = BASE "/{upstream}/check", .role = ROLE_OPERATOR, .tag = "upstreams",
	 .summary = "Look at it now, and say what would be done; with now=true, do it", .query = check_query, .reply = check_fields, .handle = check},
	{.method = "GET", .path = BASE "/{upstream}/versions", .role = ROLE_VIEWER, .tag = "upstreams", .summary = "What it publishes, and what became of it", .query = page_query,
	 .reply = version_fields, .reply_is_list = true, .handle = versions},
	{.method = NULL},
};
