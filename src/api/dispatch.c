/* From a request to its handler and back. One request is one unit of work; its reply is held until the tick's COMMIT.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/ddi.h"
#include "api/mgmt.h"
#include "api/state.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "net/http.h"
#include "net/jobs.h"
#include "net/loop.h"
#include "service/access.h"
#include "service/metrics.h"
#include "service/unit.h"

#define REQUEST_ARENA_BYTES (4u << 20) /* what one handler may gather: a page of 1000 devices of 2 KiB */
#define BODY_LIMIT_DEFAULT 65536
#define STREAM_LIMIT ((int64_t)8 << 30) /* the resource's own limits are far below */
#define EMPTY_BODY_LIMIT 1024            /* a POST without fields: nothing, or {} */
#define KEY_MAX 128
#define SPARE_MAX 64                     /* requests kept for their next use */
#define SLOW_MS 1000                     /* logged */

static const char problem_type[] = "application/problem+json";

/* ---- requests ---- */

static struct request *request_new(struct api *api)
{
	struct request *r = api->spare;
	if (r != NULL) {
		api->spare = r->next;
		api->spare_count--;
	} else {
		r = calloc(1, sizeof *r);
		if (r == NULL)
			abort();
		r->arena = arena_new(REQUEST_ARENA_BYTES);
	}
	r->rq.api = api;
	r->rq.call = (struct call){.s = api->s, .arena = r->arena, .fault = &r->fault, .who = &r->who,
		.now_ms = clock_wall_ms()};
	return r;
}

static void request_destroy(struct request *r)
{
	buf_done(&r->rq.out);
	arena_free(r->arena);
	free(r);
}

static void request_free(struct request *r)
{
	struct api *api = r->rq.api;
	json_free(r->document);
	buf_done(&r->rq.out);
	struct arena *arena = r->arena;
	memset(r, 0, sizeof *r);
	r->arena = arena;
	arena_reset(arena);
	if (api->spare_count >= SPARE_MAX) {
		request_destroy(r);
		return;
	}
	r->next = api->spare;
	api->spare = r;
	api->spare_count++;
}

static struct request *request_of(struct api_request *rq)
{
	return (struct request *)rq;
}

struct jobs *api_jobs(const struct api_request *rq)
{
	return rq->api->jobs;
}

void api_call_init(struct api *api, struct call *c, struct arena *arena, struct fault *f)
{
	*c = (struct call){.s = api->s, .arena = arena, .fault = f, .who = &principal_server, .now_ms = clock_wall_ms()};
	*f = (struct fault){"", ""};
}

/* ---- replies ---- */

static void set_etag(struct http_request *http, int64_t revision)
{
	char tag[32];
	snprintf(tag, sizeof tag, "\"%lld\"", (long long)revision);
	http_set_header(http, "ETag", tag);
}

static void reply_problem(struct request *r, enum err e)
{
	struct buf out = BUF_INIT;
	bool is_mgmt = mgmt_is_path(http_path(r->rq.http));
	int status = err_http_status(e);
	if (is_mgmt)
		status = mgmt_problem(&r->rq, e, &out);
	else
		api_problem(&out, e, &r->fault);
	if (e == ERR_UNAUTHORIZED && !is_mgmt)
		http_set_header(r->rq.http, "WWW-Authenticate", "Bearer");
	if (e == ERR_UNAVAILABLE || e == ERR_FULL || e == ERR_TOO_MANY)
		http_set_header(r->rq.http, "Retry-After", "1");
	if (e == ERR_INTERNAL)
		log_event(LOG_ERROR, "http.internal", "method=%s path=%s detail=%s", http_method(r->rq.http),
			log_quote(http_path(r->rq.http)),
		          log_quote(r->fault.detail));
	http_reply(r->rq.http, status, is_mgmt ? out.len > 0 ? "application/json" : NULL : problem_type, &out);
	buf_done(&out);
}

static int success_status(const struct api_request *rq)
{
	if (rq->status != 0)
		return rq->status;
	return rq->route->flags & ROUTE_CREATED ? 201 : rq->route->flags & ROUTE_NO_CONTENT ? 204 : 200;
}

/* The client has this revision already. */
static bool is_not_modified(const struct api_request *rq)
{
	bool has_tag = rq->etag_revision > 0 && !(rq->route->flags & ROUTE_LIVE) && success_status(rq) == 200;
	const char *list = has_tag ? http_header(rq->http, "If-None-Match") : NULL;
	if (list == NULL || (strcmp(http_method(rq->http), "GET") != 0 && strcmp(http_method(rq->http), "HEAD") != 0))
		return false;
	return strstr(list, arena_printf(rq->call.arena, "\"%lld\"", (long long)rq->etag_revision)) != NULL;
}

static void reply_success(struct request *r)
{
	struct api_request *rq = &r->rq;
	int status = is_not_modified(rq) ? 304 : success_status(rq);
	if (rq->etag_revision > 0)
		set_etag(rq->http, rq->etag_revision);
	if (rq->location != NULL)
		http_set_header(rq->http, "Location", rq->location);
	if (status == 204 || status == 304)
		buf_clear(&rq->out);
	http_set_header(rq->http, "Cache-Control", rq->etag_revision > 0 ? "no-cache" : "no-store");
	const char *type = rq->out.len == 0 ? NULL : rq->content_type != NULL ? rq->content_type : "application/json";
	/* A read that cannot have seen what is not committed yet need not wait for the tick. */
	bool is_settled = !(rq->route->flags & ROUTE_WRITE) && !unit_is_pending(rq->call.s);
	(is_settled ? http_reply_now : http_reply)(rq->http, status, type, &rq->out);
}

/* ---- Idempotency-Key: the first answer, given again. Kept as "<etag>\n<location>\n<body>". ---- */

static void digest_request(struct request *r)
{
	struct sha256 *h = sha256_new();
	const char *parts[] = {http_method(r->rq.http), http_path(r->rq.http), http_query_text(r->rq.http)};
	for (int i = 0; i < 3; i++)
		sha256_update(h, parts[i], strlen(parts[i]) + 1);
	sha256_update(h, r->rq.raw, r->rq.raw_len);
	sha256_final(h, r->digest);
	sha256_free(h);
}

static enum err read_key(struct request *r)
{
	const struct route *route = r->rq.route;
	const char *key = http_header(r->rq.http, "Idempotency-Key");
	if (key == NULL || !(route->flags & ROUTE_WRITE) || strcmp(route->method, "POST") != 0 || route->stream != NULL)
		return ERR_OK;
	size_t len = strlen(key);
	bool ok = len >= 1 && len <= KEY_MAX;
	for (size_t i = 0; i < len; i++)
		ok = ok && key[i] >= ' ' && key[i] < 0x7f;
	if (!ok)
		return fault_set(&r->fault, ERR_BAD_REQUEST, "", "Idempotency-Key: 1 to %d visible ASCII characters are wanted",
			KEY_MAX);
	r->key = arena_strdup(r->arena, key);
	digest_request(r);
	return ERR_OK;
}

static enum err answer_again(struct request *r, bool *answered)
{
	struct kept_reply kept;
	bool found = false;
	*answered = false;
	enum err e = r->key != NULL ? idempotency_find(&r->rq.call, r->key, r->digest, &kept, &found) : ERR_OK;
	if (e != ERR_OK || !found)
		return e;
	const char *kept_body = kept.reply ? memchr(kept.reply, '\n', kept.len) : NULL;
	kept_body = kept_body ? strchr(kept_body + 1, '\n') : NULL;
	bool was_secret = kept_body && kept_body[1] == '\0' && kept.status == 201; /* nothing else answers so */
	if ((r->rq.route->flags & ROUTE_SECRET) || was_secret)
		return fault_set(&r->fault, ERR_CONFLICT, "",
			"this request was carried out already, and its secret is shown only once");
	const char *text = kept.reply;
	char *location;
	r->rq.etag_revision = strtoll(text, &location, 10);
	const char *body = strchr(++location, '\n') + 1;
	if (body - location > 1)
		r->rq.location = arena_strndup(r->arena, location, (size_t)(body - location) - 1);
	buf_clear(&r->rq.out);
	buf_append(&r->rq.out, body, kept.len - (size_t)(body - text));
	r->rq.status = kept.status;
	*answered = true;
	return ERR_OK;
}

static enum err keep_answer(struct request *r)
{
	struct api_request *rq = &r->rq;
	if (r->key == NULL)
		return ERR_OK;
	struct buf b = BUF_INIT;
	bool is_secret = (rq->route->flags & ROUTE_SECRET) != 0 || rq->is_secret;
	buf_printf(&b, "%lld\n%s\n", (long long)rq->etag_revision, rq->location != NULL ? rq->location : "");
	if (!is_secret && rq->out.len > 0)
		buf_append(&b, rq->out.data, rq->out.len);
	enum err e = idempotency_keep(&rq->call, r->key, r->digest, success_status(rq), b.data, b.len);
	buf_done(&b);
	return e;
}

/* ---- units ---- */

static enum err unit_of(struct request *r, enum err (*work)(struct request *r))
{
	struct services *s = r->rq.call.s;
	if (!(r->rq.route->flags & ROUTE_WRITE))
		return work(r);
	enum err e = unit_begin(s, &r->fault);
	return e == ERR_OK ? unit_end(s, work(r), &r->fault) : e;
}

static enum err check_size(struct request *r, enum err e)
{
	if (e == ERR_OK && arena_is_over(r->arena))
		return fault_set(&r->fault, ERR_TOO_LARGE, "", "the request needs more memory than one request may have");
	return e;
}

static enum err work_handle(struct request *r)
{
	bool answered;
	enum err e = answer_again(r, &answered);
	if (e != ERR_OK || answered)
		return e;
	loop_mark(r->rq.api->loop, r->rq.route->path);
	e = check_size(r, r->rq.route->handle(&r->rq));
	if (e == ERR_OK && !r->rq.deferred && !r->rq.taken)
		e = keep_answer(r);
	return e;
}

static enum err work_finish_stream(struct request *r)
{
	return check_size(r, r->rq.route->stream->finish(&r->rq, r->stream_state));
}

/* After the handler: answers, unless it was answered or will be. */
static void settle(struct request *r, enum err e)
{
	if (e == ERR_OK && (r->rq.deferred || r->rq.taken))
		return;
	r->rq.deferred = false;
	assert(!r->rq.taken); /* who has answered may not fail */
	if (e == ERR_OK)
		reply_success(r);
	else
		reply_problem(r, e);
}

static void finish_deferred(struct request *r, enum err e)
{
	r->rq.deferred = false;
	if (r->rq.gone) {
		if (r->is_finished) /* else net/ calls finish next, which frees it */
			request_free(r);
	} else if (!r->rq.taken) {
		settle(r, e);
	}
}

void api_finish(struct api_request *rq, enum err e)
{
	struct request *r = request_of(rq);
	assert(rq->deferred);
	if (e == ERR_OK && r->key != NULL)
		e = unit_of(r, keep_answer);
	finish_deferred(r, e);
}

void api_finish_work(struct api_request *rq, enum err (*work)(struct api_request *rq, void *state), void *state)
{
	struct request *r = request_of(rq);
	struct services *s = rq->call.s;
	bool answered = false, is_write = (rq->route->flags & ROUTE_WRITE) != 0;
	assert(rq->deferred);
	enum err e = is_write ? unit_begin(s, &r->fault) : ERR_OK;
	if (e == ERR_OK) {
		e = answer_again(r, &answered);
		if (e == ERR_OK && !answered)
			e = check_size(r, work(rq, state));
		if (e == ERR_OK && !answered)
			e = keep_answer(r);
		if (is_write)
			e = unit_end(s, e, &r->fault);
	}
	finish_deferred(r, e);
}

/* ---- begin: the head is there ---- */

static enum err check_query(struct request *r)
{
	const char *name, *value;
	if (mgmt_is_path(r->rq.route->path))
		return ERR_OK; /* hawkBit ignores what it does not know */
	for (size_t i = 0; http_query_at(r->rq.http, i, &name, &value); i++) {
		const struct route_query *q = r->rq.route->query;
		while (q != NULL && q->name != NULL && strcmp(q->name, name) != 0)
			q++;
		if (q == NULL || q->name == NULL)
			return fault_set(&r->fault, ERR_BAD_REQUEST, "", "there is no query parameter %.60s", name);
	}
	return ERR_OK;
}

static enum err authenticate(struct request *r)
{
	struct api *api = r->rq.api;
	const struct route *route = r->rq.route;
	if (route->role == ROLE_NONE || ((route->flags & ROUTE_METRICS) && api->options->open_metrics))
		return ERR_OK;
	if (mgmt_is_path(route->path))
		return mgmt_authenticate(&r->rq, &r->who);
	const char *header = http_header(r->rq.http, "Authorization");
	if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0)
		return fault_set(&r->fault, ERR_UNAUTHORIZED, "", "a header Authorization: Bearer <token> is wanted");
	const char *token = header + 7 + strspn(header + 7, " ");
	if (!access_authenticate(api->s->access, token, strlen(token), r->rq.call.now_ms, &r->who))
		return fault_set(&r->fault, ERR_UNAUTHORIZED, "", "this token is unknown, revoked or expired");
	if (r->who.role < route->role)
		return fault_set(&r->fault, ERR_FORBIDDEN, "", "the role %s is wanted, this token has %s",
			access_role_name(route->role),
		                 access_role_name(r->who.role));
	return ERR_OK;
}

static enum err find_route(struct request *r)
{
	struct http_request *http = r->rq.http;
	struct route_match m = router_match(r->rq.api->router, http_method(http), http_path(http), r->arena);
	if (m.route == NULL && m.allowed == NULL)
		return fault_set(&r->fault, ERR_NOT_FOUND, "", "there is nothing at this path");
	if (m.route == NULL) {
		http_set_header(http, "Allow", m.allowed);
		return fault_set(&r->fault, ERR_METHOD, "", "allowed here: %s", m.allowed);
	}
	r->rq.route = m.route;
	memcpy(r->rq.param, m.param, sizeof m.param);
	return ERR_OK;
}

static bool is_json_type(const char *type)
{
	size_t len = strcspn(type, "; \t");
	return (len == 16 && strncasecmp(type, "application/json", len) == 0) ||
		(len > 17 && strncasecmp(type + len - 5, "+json", 5) == 0);
}

static int64_t body_limit(const struct route *route)
{
	if (route->body_limit > 0)
		return (int64_t)route->body_limit;
	return route->stream != NULL ? STREAM_LIMIT : route->body != NULL ? BODY_LIMIT_DEFAULT : EMPTY_BODY_LIMIT;
}

static enum err check_head(struct request *r)
{
	const struct route *route = r->rq.route;
	struct http_request *http = r->rq.http;
	if ((route->flags & ROUTE_IF_MATCH) && http_header(http, "If-Match") == NULL)
		return fault_set(&r->fault, ERR_PRECONDITION_REQUIRED, "",
			"a header If-Match with the ETag that was read is wanted");
	const char *type = http_header(http, "Content-Type");
	bool has_body = http_content_length(http) != 0;
	if (route->stream == NULL && has_body && type != NULL && !is_json_type(type))
		return fault_set(&r->fault, ERR_MEDIA_TYPE, "", "Content-Type: application/json is wanted");
	int64_t limit = body_limit(route);
	if (http_content_length(http) > limit)
		return fault_set(&r->fault, ERR_TOO_LARGE, "", "at most %lld bytes", (long long)limit);
	return ERR_OK;
}

static enum err work_begin_stream(struct request *r)
{
	return r->rq.route->stream->begin(&r->rq, &r->stream_state);
}

static enum err take_body(struct request *r)
{
	const struct route *route = r->rq.route;
	if (route->stream == NULL) {
		http_take_body(r->rq.http, (size_t)body_limit(route));
		return ERR_OK;
	}
	http_stream_body(r->rq.http, (uint64_t)body_limit(route));
	enum err e = unit_of(r, work_begin_stream);
	r->is_streaming = e == ERR_OK;
	return e;
}

static void on_begin(struct http_request *http)
{
	if (ddi_is_path(http_path(http))) {
		ddi_on_begin(http);
		return;
	}
	struct request *r = request_new(http_server_ctx(http));
	r->rq.http = http;
	http_set_user(http, r);
	enum err e = find_route(r);
	if (e == ERR_OK)
		e = authenticate(r);
	if (e == ERR_OK)
		e = check_query(r);
	if (e == ERR_OK)
		e = check_head(r);
	if (e == ERR_OK)
		e = take_body(r);
	if (e != ERR_OK)
		reply_problem(r, e);
}

/* ---- the body ---- */


static void end_stream(struct request *r)
{
	if (r->is_streaming && r->rq.route->stream->abort != NULL)
		r->rq.route->stream->abort(&r->rq, r->stream_state);
	r->is_streaming = false;
}

static void on_chunk(struct http_request *http, const void *data, size_t len)
{
	struct request *r = http_user(http);
	struct services *s = r->rq.call.s;
	if (!r->is_streaming)
		return;
	bool is_write = (r->rq.route->flags & ROUTE_WRITE) != 0;
	loop_mark(r->rq.api->loop, r->rq.route->path);
	enum err e = is_write ? unit_begin(s, &r->fault) : ERR_OK;
	if (e == ERR_OK) {
		e = r->rq.route->stream->chunk(&r->rq, r->stream_state, data, len);
		if (is_write)
			e = unit_end(s, e, &r->fault);
	}
	if (e != ERR_OK) {
		end_stream(r);
		reply_problem(r, e);
	}
}

static enum err bind_body(struct request *r)
{
	struct api_request *rq = &r->rq;
	const struct route *route = rq->route;
	rq->raw = http_body(rq->http, &rq->raw_len);
	if (rq->raw_len == 0 && route->body == NULL)
		return ERR_OK;
	if (rq->raw_len == 0)
		return fault_set(&r->fault, ERR_BAD_REQUEST, "", "a JSON object is wanted as the body");
	enum err e = json_parse(rq->raw, rq->raw_len, &r->document, &r->fault);
	if (e != ERR_OK)
		return e;
	rq->json = r->document;
	bool takes_body = route->body != NULL || route->body_limit > 0;
	if (!takes_body && (json_type(rq->json) != JSON_OBJECT || json_count(rq->json) > 0))
		return fault_set(&r->fault, ERR_INVALID, "", "this request takes no body");
	if (route->body == NULL)
		return ERR_OK;
	if (json_type(rq->json) != JSON_OBJECT)
		return fault_set(&r->fault, ERR_INVALID, "", "a JSON object is wanted as the body");
	rq->body = arena_alloc(r->arena, route->body_bytes);
	if (route->body_init != NULL)
		route->body_init(rq->body);
	return json_bind(route->body, rq->json, rq->body, r->arena, &r->fault);
}

static void on_complete(struct http_request *http)
{
	if (ddi_is_path(http_path(http))) {
		ddi_on_complete(http);
		return;
	}
	struct request *r = http_user(http);
	if (r->rq.route->stream != NULL) {
		if (!r->is_streaming)
			return; /* refused in begin or chunk */
		r->is_streaming = false;
		enum err e = unit_of(r, work_finish_stream);
		settle(r, e);
		return;
	}
	enum err e = bind_body(r);
	if (e == ERR_OK)
		e = read_key(r);
	if (e == ERR_OK)
		e = unit_of(r, work_handle);
	settle(r, e);
}

/* The tick's changes are lost. A read may have seen them, so it is handled once more, from what is on disk. */
static bool on_again(struct http_request *http)
{
	if (ddi_is_path(http_path(http)))
		return false; /* its client asks again by itself */
	struct request *r = http_user(http);
	bool is_read = strcmp(http_method(http), "GET") == 0 || strcmp(http_method(http), "HEAD") == 0;
	if (r == NULL || r->rq.route == NULL || (r->rq.route->flags & ROUTE_WRITE) || !is_read)
		return false;
	http_set_user(http, NULL);
	request_free(r);
	on_begin(http);
	if (http_status(http) == 0)
		on_complete(http);
	return true;
}

/* ---- the end ---- */

static void on_abort(struct http_request *http)
{
	struct request *r = ddi_is_path(http_path(http)) ? NULL : http_user(http);
	if (r == NULL)
		return;
	end_stream(r);
	r->rq.gone = r->rq.deferred;
}

static void note_reply(const struct http_request *http, const struct request *r)
{
	static const enum meter by_class[] = {METER_HTTP_2XX, METER_HTTP_2XX, METER_HTTP_2XX, METER_HTTP_3XX,
		METER_HTTP_4XX, METER_HTTP_5XX};
	int status = http_status(http);
	uint64_t ns = clock_mono_ns() - http_started_ns(http);
	if (status >= 100 && status < 600)
		metric_add(by_class[status / 100], 1);
	if (!r->rq.taken)
		metric_observe_ns(HISTOGRAM_HTTP_SECONDS, ns);
	bool is_odd = status >= 500 || (ns / 1000000 > SLOW_MS && !r->rq.taken);
	if (!is_odd && !r->rq.api->options->log_requests)
		return;
	enum log_level level = is_odd ? LOG_WARN : LOG_INFO;
	log_event(level, "http.request", "method=%s path=%s status=%d ms=%llu who=%s from=%s", http_method(http),
		log_quote(http_path(http)), status,
	          (unsigned long long)(ns / 1000000), r->who.name[0] != '\0' ? log_quote(r->who.name) : "-",
		http_remote(http));
}

static void on_finish(struct http_request *http)
{
	if (ddi_is_path(http_path(http))) {
		ddi_on_finish(http);
		return;
	}
	struct request *r = http_user(http);
	if (r == NULL)
		return;
	http_set_user(http, NULL);
	note_reply(http, r);
	end_stream(r);
	if (r->rq.deferred) { /* its job still runs: api_finish lets go of it */
		r->rq.gone = true;
		r->is_finished = true;
		r->rq.http = NULL;
		r->rq.raw = NULL;
		return;
	}
	request_free(r);
}

static void on_prepare(struct http_request *http, int status)
{
	(void)status;
	http_set_header(http, "X-Content-Type-Options", "nosniff");
}

/* What net/ refuses by itself, before a request is known here. */
static const char *on_refusal(int status, const char **content_type)
{
#define PROBLEM(code, title) "{\"type\":\"about:blank\",\"title\":\"" title "\",\"status\":" #code "}"
	*content_type = problem_type;
	switch (status) {
	case 413:
		return PROBLEM(413, "too large");
	case 414:
		return PROBLEM(414, "the path and query are too long");
	case 431:
		return PROBLEM(431, "the header fields are too long");
	case 503:
		return PROBLEM(503, "temporarily unavailable");
	default:
		return "{\"type\":\"about:blank\",\"title\":\"malformed request\",\"status\":400,\"detail\":"
		       "\"the path or the query is not UTF-8, has an encoded slash or NUL, or Content-Length is no number\"}";
	}
#undef PROBLEM
}

const struct http_handler *api_handler(void)
{
	static const struct http_handler handler = {
		.begin = on_begin, .chunk = on_chunk, .complete = on_complete, .abort = on_abort, .finish = on_finish,
		.again = on_again, .prepare = on_prepare, .refusal = on_refusal};
	return &handler;
}

/* ---- the server ---- */

struct api *api_open(struct services *s, struct loop *loop, struct jobs *jobs, const struct api_options *options)
{
	struct api *api = calloc(1, sizeof *api);
	if (api == NULL)
		abort();
	api->s = s;
	api->loop = loop;
	api->jobs = jobs;
	api->options = options;
	api->router = router_new(route_tables);
	api->listeners = listeners_new(api);
	api->steps = steps_new(api);
	api->ddi = ddi_new(api);
	api->why_not_ready = "starting";
	openapi_write(route_tables, &api->openapi);
	return api;
}

void api_close(struct api *api)
{
	if (api == NULL)
		return;
	steps_free(api->steps);
	ddi_free(api->ddi);
	listeners_free(api->listeners);
	router_free(api->router);
	while (api->spare != NULL) {
		struct request *r = api->spare;
		api->spare = r->next;
		request_destroy(r);
	}
	buf_done(&api->openapi);
	free(api);
}

void api_after_commit(struct api *api, int64_t newest_event)
{
	listeners_feed(api->listeners, newest_event);
}

void api_end_streams(struct api *api)
{
	listeners_end(api->listeners);
	steps_end(api->steps);
}

void api_set_ready(struct api *api, bool is_ready, const char *why_not)
{
	api->is_ready = is_ready;
	api->why_not_ready = why_not;
}

void api_note_commit(struct api *api, enum err e)
{
	api->commit = e;
}
