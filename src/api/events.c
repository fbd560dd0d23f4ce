/* GET /api/v1/events: server-sent events from table `event`. A listener that comes back names the last id it saw; everything since then is
 * sent before what is new. What is sent is durable: it is read after the commit. */
#include <stdlib.h>
#include <string.h>

#include "api/state.h"
#include "base/log.h"
#include "base/str.h"
#include "net/http.h"
#include "net/loop.h"
#include "service/access.h"
#include "service/metrics.h"

#define PAGE 500            /* rows read at once for one listener that catches up */
#define HEARTBEAT_MS 15000  /* proxies close silent connections after 30 s or more */
#define FEED_ARENA_BYTES (16u << 20)

struct listener {
	struct listener *next;
	struct listeners *all;
	struct http_stream *stream;
	int64_t sent;           /* id of the last event that was sent, or skipped by the filter */
	char kind[64], resource[128]; /* filters; empty: any */
};

struct listeners {
	struct api *api;
	struct listener *first;
	size_t count;
	int64_t newest;         /* committed */
	struct loop_timer *heartbeat, *catch_up;
	struct arena *arena;
	bool is_ended;
};

static void on_close(void *ctx)
{
	struct listener *l = ctx;
	struct listener **at = &l->all->first;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	l->all->count--;
	metric_set(METER_SSE_CLIENTS, (int64_t)l->all->count);
	free(l);
}

/* "rollout." matches every kind that begins so; without the dot it must be equal. */
static bool matches(const char *filter, const char *text)
{
	size_t len = strlen(filter);
	return len == 0 || strcmp(filter, text) == 0 || (filter[len - 1] == '.' && strncmp(filter, text, len) == 0);
}

static void write_event(struct buf *out, const struct event_row *row)
{
	buf_printf(out, "id: %lld\nevent: %s\ndata: ", (long long)row->id, row->kind);
	json_open_object(out);
	json_int(out, "at", row->at);
	json_str(out, "kind", row->kind);
	json_str(out, "resource", row->resource);
	json_raw(out, "data", row->data);
	json_close_object(out);
	buf_str(out, "\n\n");
}

/* Sends one page to each listener that is behind. Listeners at the same place share one reading. */
static bool feed_once(struct listeners *all)
{
	struct call c;
	struct fault f;
	bool is_behind = false;
	struct event_row *rows = NULL;
	size_t count = 0;
	int64_t read_from = -1;
	arena_reset(all->arena);
	api_call_init(all->api, &c, all->arena, &f);
	struct buf text = BUF_INIT;
	for (struct listener *l = all->first, *next; l != NULL; l = next) {
		next = l->next;
		if (l->sent >= all->newest)
			continue;
		if (l->sent != read_from) {
			enum err e = event_list(&c, NULL, l->sent, PAGE, &rows, &count);
			if (e != ERR_OK) {
				log_event(LOG_ERROR, "events.read", "detail=%s", log_quote(f.detail));
				break;
			}
			read_from = l->sent;
		}
		buf_clear(&text);
		for (size_t i = 0; i < count && rows[i].id <= all->newest; i++) { /* what is beyond is not committed yet */
			l->sent = rows[i].id;
			if (matches(l->kind, rows[i].kind) && matches(l->resource, rows[i].resource))
				write_event(&text, &rows[i]);
		}
		if (count < PAGE)
			l->sent = l->sent > all->newest ? l->sent : all->newest;
		is_behind = is_behind || l->sent < all->newest;
		if (text.len > 0)
			(void)!http_stream_send(l->stream, text.data, text.len);
	}
	buf_done(&text);
	return is_behind;
}

static void catch_up(void *ctx)
{
	struct listeners *all = ctx;
	if (feed_once(all)) /* the others of the loop have their turn in between */
		loop_timer_start(all->catch_up, 1, 0);
}

static void beat(void *ctx)
{
	struct listeners *all = ctx;
	for (struct listener *l = all->first, *next; l != NULL; l = next) {
		next = l->next;
		(void)!http_stream_send(l->stream, ":\n\n", 3);
	}
}

struct listeners *listeners_new(struct api *api)
{
	struct listeners *l = calloc(1, sizeof *l);
	if (l == NULL)
		abort();
	l->api = api;
	l->arena = arena_new(FEED_ARENA_BYTES);
	l->heartbeat = loop_timer_new(api->loop, beat, l);
	l->catch_up = loop_timer_new(api->loop, catch_up, l);
	loop_timer_start(l->heartbeat, HEARTBEAT_MS, HEARTBEAT_MS);
	struct call c;
	struct fault f;
	int64_t oldest;
	api_call_init(api, &c, l->arena, &f);
	if (event_bounds(&c, &oldest, &l->newest) != ERR_OK)
		log_event(LOG_ERROR, "events.read", "detail=%s", log_quote(f.detail));
	return l;
}

void listeners_free(struct listeners *l)
{
	loop_timer_free(l->heartbeat);
	loop_timer_free(l->catch_up);
	arena_free(l->arena);
	free(l);
}

void listeners_feed(struct listeners *l, int64_t newest_event)
{
	if (newest_event <= l->newest)
		return;
	l->newest = newest_event;
	if (l->first != NULL && !loop_timer_is_active(l->catch_up))
		catch_up(l);
}

void listeners_end(struct listeners *l)
{
	l->is_ended = true;
	for (struct listener *x = l->first, *next; x != NULL; x = next) {
		next = x->next;
		http_stream_close(x->stream);
	}
}

/* Where the listener stands: after Last-Event-ID, else at the newest committed event. */
static enum err read_position(struct api_request *rq, int64_t *sent, bool *has_gap)
{
	int64_t oldest, last_written, newest = rq->api->listeners->newest;
	enum err e = event_bounds(&rq->call, &oldest, &last_written);
	const char *last = http_header(rq->http, "Last-Event-ID");
	if (last == NULL)
		last = api_query(rq, "after");
	*sent = newest;
	*has_gap = false;
	if (e != ERR_OK || last == NULL)
		return e;
	char *end;
	long long id = strtoll(last, &end, 10);
	if (last[0] < '0' || last[0] > '9' || *end != '\0')
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "Last-Event-ID: the id of an event is wanted");
	*sent = id <= newest ? id : newest;
	*has_gap = *sent + 1 < oldest;
	return ERR_OK;
}

static enum err listen_events(struct api_request *rq)
{
	struct listeners *all = rq->api->listeners;
	int64_t sent;
	bool has_gap;
	if (all->is_ended || all->count >= (size_t)rq->api->options->listeners_max)
		return fault_set(rq->call.fault, ERR_UNAVAILABLE, "", "%s", all->is_ended ? "the server is stopping" : "there are too many listeners");
	enum err e = read_position(rq, &sent, &has_gap);
	if (e != ERR_OK)
		return e;
	struct listener *l = calloc(1, sizeof *l);
	if (l == NULL)
		abort();
	const char *kind = api_query(rq, "kind"), *resource = api_query(rq, "resource");
	if (!str_copy(l->kind, sizeof l->kind, kind != NULL ? kind : "") || !str_copy(l->resource, sizeof l->resource, resource != NULL ? resource : "")) {
		free(l);
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter kind or resource: too long");
	}
	l->all = all;
	l->sent = sent;
	l->next = all->first;
	all->first = l;
	all->count++;
	metric_set(METER_SSE_CLIENTS, (int64_t)all->count);
	http_set_header(rq->http, "Cache-Control", "no-store");
	rq->taken = true;
	l->stream = http_reply_stream(rq->http, "text/event-stream", (size_t)rq->api->options->listener_queue_bytes, on_close, l);
	/* A listener that was away for too long is told that something is missing, so that it can read everything anew. */
	const char *hello = has_gap ? "event: gap\ndata: {}\n\n" : ":\n\n";
	(void)!http_stream_send(l->stream, hello, strlen(hello));
	if (sent < all->newest)
		loop_timer_start(all->catch_up, 0, 0);
	return ERR_OK;
}

static const struct route_query query[] = {
	{"kind", "only events of this kind; `rollout.` for all that begin so"},
	{"resource", "only events of this resource, as `rollouts/7`"},
	{"after", "as the header Last-Event-ID, for clients that cannot set one"},
	{NULL, NULL},
};

extern const struct route routes_events[];
const struct route routes_events[] = {
	{.method = "GET", .path = "/api/v1/events", .role = ROLE_VIEWER, .summary = "what happens, as server-sent events", .tag = "events", .query = query,
	 .reply_type = "text/event-stream",
	 .handle = listen_events},
	{.method = NULL},
};
