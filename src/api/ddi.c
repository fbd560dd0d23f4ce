/* Paths, the life of a request, errors as hawkBit writes them. */
#include "api/ddi.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/ddi_inside.h"
#include "api/state.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "net/http.h"
#include "net/loop.h"
#include "service/metrics.h"
#include "service/unit.h"

#define BODY_MAX 65536
#define SLOW_MS 1000
#define ROOT "/controller/v1/"

/* ---- paths ---- */

/* Where "/controller/v1/" begins, or NULL. */
static const char *root_of(const char *path)
{
	const char *slash = path[0] == '/' && path[1] != '/' ? strchr(path + 1, '/') : NULL;
	return slash != NULL && strncmp(slash, ROOT, sizeof ROOT - 1) == 0 ? slash : NULL;
}

bool ddi_is_path(const char *path)
{
	return root_of(path) != NULL;
}

/* Tenant and id of the path, and `rest`, what follows the id ("" or a path without its first slash). false: none of ours. */
struct place {
	char tenant[DDI_ID_MAX + 1], id[DDI_ID_MAX + 1];
	const char *rest;
};
static bool split(const struct ddi *x, const char *path, struct place *out)
{
	const char *root = root_of(path), *begin = root + sizeof ROOT - 1;
	size_t len = strcspn(begin, "/"), tenant = (size_t)(root - path) - 1;
	if (len > DDI_ID_MAX || tenant > DDI_ID_MAX)
		return false;
	memcpy(out->tenant, path + 1, tenant);
	out->tenant[tenant] = '\0';
	memcpy(out->id, begin, len);
	out->id[len] = '\0';
	out->rest = begin[len] == '/' ? begin + len + 1 : "";
	return strcasecmp(out->tenant, x->api->options->ddi.tenant) == 0 && str_is_device_id(out->id);
}

static bool matches(const char *pattern, const char *path, struct arena *a, const char *param[DDI_PARAMS])
{
	size_t n = 0;
	for (;;) {
		size_t want = strcspn(pattern, "/"), have = strcspn(path, "/");
		if (want == 2 && pattern[0] == '{') {
			if (have == 0)
				return false;
			param[n++] = arena_strndup(a, path, have);
		} else if (want != have || memcmp(pattern, path, want) != 0) {
			return false;
		}
		pattern += want;
		path += have;
		if (*pattern == '\0' || *path == '\0')
			return *pattern == *path;
		pattern++;
		path++;
	}
}

static const struct ddi_route poll_routes[] = {
	{"GET", "", ddi_poll, false},
	{NULL, NULL, NULL, false},
};
static const struct ddi_route *const tables[] = {poll_routes, ddi_action_routes, ddi_device_routes, ddi_file_routes, NULL};

static enum err find_route(struct ddi_request *rq, const char *rest)
{
	const char *method = http_method(rq->http), *allowed = NULL;
	bool is_head = strcmp(method, "HEAD") == 0;
	for (const struct ddi_route *const *table = tables; *table != NULL; table++) {
		for (const struct ddi_route *row = *table; row->method != NULL; row++) {
			if (!matches(row->path, rest, rq->call.arena, rq->param))
				continue;
			if (strcmp(row->method, is_head ? "GET" : method) == 0) {
				rq->route = row;
				return ERR_OK;
			}
			allowed = allowed != NULL ? arena_printf(rq->call.arena, "%s, %s", allowed, row->method) : row->method;
		}
	}
	if (allowed == NULL)
		return fault_set(&rq->fault, ERR_NOT_FOUND, "", "there is nothing at this path");
	http_set_header(rq->http, "Allow", allowed);
	return fault_set(&rq->fault, ERR_METHOD, "", "allowed here: %s", allowed);
}

enum err ddi_number(struct ddi_request *rq, size_t param, int64_t *out)
{
	const char *text = rq->param[param];
	*out = 0;
	for (size_t i = 0; text[i] != '\0'; i++) {
		if (text[i] < '0' || text[i] > '9' || i > 15)
			return fault_set(&rq->fault, ERR_NOT_FOUND, "", "there is no such id");
		*out = *out * 10 + text[i] - '0';
	}
	return ERR_OK;
}

/* ---- errors ---- */

static const struct {
	enum err e;
	int status;
	const char *class, *code;
} errors[] = {
#define REPOSITORY "org.eclipse.hawkbit.repository.exception."
	{ERR_BAD_REQUEST, 400, "org.eclipse.hawkbit.rest.exception.MessageNotReadableException", "hawkbit.server.error.rest.body.notReadable"},
	{ERR_INVALID, 400, "jakarta.validation.ConstraintViolationException", "hawkbit.server.error.repo.constraintViolation"},
	{ERR_NOT_FOUND, 404, REPOSITORY "EntityNotFoundException", "hawkbit.server.error.repo.entityNotFound"},
	{ERR_METHOD, 405, REPOSITORY "CancelActionNotAllowedException", "hawkbit.server.error.action.notcancelable"},
	{ERR_CONFLICT, 409, REPOSITORY "AutoConfirmationAlreadyActiveException", "hawkbit.server.error.repo.autoConfAlreadyActive"},
	{ERR_TOO_LARGE, 413, REPOSITORY "FileSizeQuotaExceededException", "hawkbit.server.error.quota.fileSizeExceeded"},
	{ERR_MEDIA_TYPE, 415, "org.springframework.web.HttpMediaTypeNotSupportedException", "hawkbit.server.error.rest.mediaTypeNotSupported"},
	{ERR_TOO_MANY, 429, REPOSITORY "AssignmentQuotaExceededException", "hawkbit.server.error.quota.tooManyEntries"},
};

void ddi_put_error(struct buf *out, enum err e, const char *message)
{
	const char *class = "java.lang.RuntimeException", *code = "hawkbit.server.error.unknown";
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].e == e) {
			class = errors[i].class;
			code = errors[i].code;
		}
	json_open_object(out);
	json_str(out, "exceptionClass", class);
	json_str(out, "errorCode", code);
	json_str(out, "message", message);
	json_close_object(out);
}

static int status_of(enum err e)
{
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].e == e)
			return errors[i].status;
	return err_http_status(e);
}

static void reply_error(struct ddi_request *rq, enum err e)
{
	struct buf out = BUF_INIT;
	int status = status_of(e);
	if (e == ERR_UNAUTHORIZED)
		metric_add(METER_DDI_REFUSED, 1);
	else if (e != ERR_GONE) /* hawkBit's 401 and 410 are empty */
		ddi_put_error(&out, e, rq->fault.detail);
	if (e == ERR_INTERNAL)
		log_event(LOG_ERROR, "ddi.internal", "method=%s path=%s detail=%s", http_method(rq->http), log_quote(http_path(rq->http)),
			log_quote(rq->fault.detail));
	http_reply(rq->http, status, out.len > 0 ? "application/json" : NULL, &out);
	buf_done(&out);
}

/* ---- replies ---- */

/* application/hal+json unless the client asks for plain JSON. */
static const char *json_type_of(const struct http_request *http)
{
	const char *accept = http_header(http, "Accept");
	bool wants_plain = accept != NULL && strstr(accept, "application/json") != NULL && strstr(accept, "hal+json") == NULL;
	return wants_plain ? "application/json" : "application/hal+json";
}

static void reply(struct ddi_request *rq)
{
	if (rq->out.len == 0) { /* of success, too: exactly 200, Content-Length: 0 */
		http_reply(rq->http, rq->status != 0 ? rq->status : 200, NULL, &rq->out);
		return;
	}
	char etag[20];
	ddi_etag(rq->out.data, rq->out.len, etag);
	http_set_header(rq->http, "ETag", etag);
	const char *known = http_header(rq->http, "If-None-Match");
	if (known != NULL && strcmp(rq->route->method, "GET") == 0 && (strstr(known, etag) != NULL || strcmp(known, "*") == 0)) {
		buf_clear(&rq->out);
		http_reply(rq->http, 304, NULL, &rq->out);
		return;
	}
	http_reply(rq->http, rq->status != 0 ? rq->status : 200, rq->type != NULL ? rq->type : json_type_of(rq->http), &rq->out);
}

/* ---- the life of a request ---- */

static void call_init(struct ddi *x, struct http_request *http, struct call *c, struct fault *f)
{
	*c = (struct call){.s = x->api->s, .arena = http_arena(http), .fault = f, .who = &principal_server, .now_ms = clock_wall_ms()};
}

static void count_reply(const struct http_request *http)
{
	static const enum meter by_class[] = {METER_HTTP_2XX, METER_HTTP_2XX, METER_HTTP_2XX, METER_HTTP_3XX, METER_HTTP_4XX, METER_HTTP_5XX};
	int status = http_status(http);
	if (status >= 100 && status < 600)
		metric_add(by_class[status / 100], 1);
}

/* Everything is in memory: answered at once. */
static bool poll_at_once(struct ddi *x, struct http_request *http, const char *tenant, const char *id)
{
	struct call c;
	struct fault f;
	struct action_offer offer;
	char base[DDI_BASE_MAX], text[DDI_POLL_MAX], etag[20];
	bool is_https;
	struct device_state *d = registry_find(x->api->s->registry, id);
	if (d == NULL || unit_is_pending(x->api->s) || http_header(http, "If-None-Match") != NULL)
		return false;
	call_init(x, http, &c, &f);
	if (!actions_is_ready(&c, d) || !ddi_knows_token(x, http, &c, d) || !ddi_write_base(x, http, tenant, id, base, &is_https) ||
	    actions_poll(&c, d, &offer) != ERR_OK)
		return false;
	metric_add(METER_DDI_POLLS, 1);
	size_t len = ddi_write_poll(&offer, base, text);
	char *kept = arena_alloc(c.arena, len); /* as long as the request */
	memcpy(kept, text, len);
	ddi_etag(kept, len, etag);
	http_set_header(http, "ETag", etag);
	http_reply_static(http, 200, json_type_of(http), kept, len);
	return true;
}

static struct ddi_request *request_new(struct ddi *x, struct http_request *http)
{
	struct ddi_request *rq = arena_alloc(http_arena(http), sizeof *rq);
	call_init(x, http, &rq->call, &rq->fault);
	rq->http = http;
	rq->ddi = x;
	http_set_user(http, rq);
	return rq;
}

void ddi_on_begin(struct http_request *http)
{
	struct ddi *x = ((struct api *)http_server_ctx(http))->ddi;
	struct place at;
	bool is_known = split(x, http_path(http), &at);
	loop_mark(x->api->loop, "ddi");
	if (is_known && at.rest[0] == '\0' && strcmp(http_method(http), "GET") == 0 && poll_at_once(x, http, at.tenant, at.id))
		return;
	struct ddi_request *rq = request_new(x, http);
	if (is_known) {
		rq->tenant = arena_strdup(rq->call.arena, at.tenant);
		rq->id = arena_strdup(rq->call.arena, at.id);
	}
	enum err e = is_known ? find_route(rq, at.rest) : fault_set(&rq->fault, ERR_UNAUTHORIZED, "", "no such tenant or device");
	if (e == ERR_OK && http_content_length(http) > BODY_MAX)
		e = fault_set(&rq->fault, ERR_TOO_LARGE, "", "at most %d bytes", BODY_MAX);
	if (e == ERR_OK)
		http_take_body(http, BODY_MAX);
	else
		reply_error(rq, e);
}

static enum err read_body(struct ddi_request *rq)
{
	size_t len;
	const char *text = http_body(rq->http, &len);
	const char *type = http_header(rq->http, "Content-Type");
	if (!rq->route->takes_body || len == 0)
		return ERR_OK;
	if (type != NULL && strstr(type, "json") == NULL)
		return fault_set(&rq->fault, ERR_MEDIA_TYPE, "", "Content-Type: application/json is wanted");
	return json_parse(text, len, &rq->json, &rq->fault);
}

static enum err work(struct ddi_request *rq)
{
	enum err e = ERR_OK;
	if (rq->registers)
		e = actions_register(&rq->call, rq->id, &rq->device);
	if (e == ERR_OK)
		e = read_body(rq);
	if (e == ERR_OK)
		registry_seen(rq->call.s->registry, rq->device, rq->call.now_ms);
	return e == ERR_OK ? rq->route->handle(rq) : e;
}

void ddi_on_complete(struct http_request *http)
{
	struct ddi_request *rq = http_user(http);
	if (rq == NULL)
		return;
	struct services *s = rq->call.s;
	loop_mark(rq->ddi->api->loop, "ddi");
	loop_request_tick(rq->ddi->api->loop); /* reads have taken a snapshot */
	enum err e = ddi_authenticate(rq);
	if (e == ERR_OK)
		e = unit_begin(s, &rq->fault);
	if (e == ERR_OK)
		e = unit_end(s, work(rq), &rq->fault);
	if (rq->taken)
		return;
	if (e == ERR_OK)
		reply(rq);
	else
		reply_error(rq, e);
}

void ddi_on_finish(struct http_request *http)
{
	struct ddi_request *rq = http_user(http);
	uint64_t ns = clock_mono_ns() - http_started_ns(http);
	count_reply(http);
	bool is_odd = http_status(http) >= 500 || (ns / 1000000 > SLOW_MS && (rq == NULL || !rq->taken));
	const struct api *api = http_server_ctx(http);
	if (rq == NULL || !rq->taken)
		metric_observe_ns(HISTOGRAM_HTTP_SECONDS, ns);
	if (is_odd || api->options->log_requests)
		log_event(is_odd ? LOG_WARN : LOG_INFO, "ddi.request", "method=%s path=%s status=%d ms=%llu from=%s", http_method(http),
			log_quote(http_path(http)), http_status(http), (unsigned long long)(ns / 1000000), http_remote(http));
	if (rq == NULL)
		return;
	http_set_user(http, NULL);
	json_free(rq->json);
	buf_done(&rq->out);
}

struct ddi *ddi_new(struct api *api)
{
	struct ddi *x = calloc(1, sizeof *x);
	if (x == NULL)
		abort();
	x->api = api;
	return x;
}

void ddi_free(struct ddi *x)
{
	if (x == NULL)
		return;
	free(x->trusted_text);
	free(x);
}
