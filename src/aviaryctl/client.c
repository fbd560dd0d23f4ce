#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "net/fetch.h"
#include "net/loop.h"

#define BODY_MAX (256u << 20)
#define REOPEN_MS 1000
#define HEADERS_MAX 8
#define EVENT_LINE_MAX (1u << 20)

struct stream {
	struct fetch *fetch; /* NULL: waits for the timer, or refused */
	struct loop_timer *reopen;
	char *query;
	char last_id[32], id[32], kind[64];
	struct buf line, data;
	int status;
	struct reply refusal;
	void (*on_event)(void *ctx, const struct event *e);
	void *ctx;
};

struct client {
	struct ctl *c;
	struct loop *loop;
	struct fetch_pool *pool;
	bool is_done;
	struct stream stream;
};

static struct client *client_of(struct ctl *c)
{
	if (c->client == NULL) {
		struct client *cl = calloc(1, sizeof *cl);
		if (cl == NULL)
			abort();
		cl->c = c;
		cl->loop = loop_new();
		cl->pool = fetch_pool_new(cl->loop, 4);
		c->client = cl;
	}
	return c->client;
}

void client_free(struct client *cl)
{
	if (cl == NULL)
		return;
	loop_timer_free(cl->stream.reopen);
	fetch_pool_free(cl->pool);
	loop_free(cl->loop);
	buf_done(&cl->stream.line);
	buf_done(&cl->stream.data);
	reply_done(&cl->stream.refusal);
	free(cl->stream.query);
	free(cl);
}

void reply_done(struct reply *r)
{
	buf_done(&r->text);
	json_free(r->json);
	*r = (struct reply)REPLY_INIT;
}

/* ---- one request ---- */

struct headers {
	const char *row[HEADERS_MAX];
	char *owned[HEADERS_MAX];
	size_t count;
};

static void add_header(struct headers *h, const char *name, const char *value)
{
	if (value == NULL)
		return;
	struct buf b = BUF_INIT;
	buf_printf(&b, "%s: %s", name, value);
	h->owned[h->count] = buf_take(&b);
	h->row[h->count] = h->owned[h->count];
	h->count++;
}

static void headers_done(struct headers *h)
{
	while (h->count > 0)
		free(h->owned[--h->count]);
}

static void add_token(struct headers *h, const struct ctl *c)
{
	struct buf b = BUF_INIT;
	if (c->settings.token == NULL)
		return;
	buf_printf(&b, "Bearer %s", c->settings.token);
	add_header(h, "Authorization", b.data);
	buf_done(&b);
}

static char *url_of(const struct ctl *c, const char *path)
{
	struct buf b = BUF_INIT;
	bool is_root = str_starts(path, "//");
	buf_printf(&b, "%s%s%s", c->settings.url, is_root ? "" : "/api/v1", is_root ? path + 1 : path);
	return buf_take(&b);
}

struct waiting {
	struct client *cl;
	const struct request *q;
	struct reply *r;
	int status;
	bool is_done;
};

static bool on_head(void *ctx, const struct fetch *f, int status)
{
	struct waiting *w = ctx;
	(void)f;
	w->status = status;
	return true;
}

static bool on_chunk(void *ctx, const void *data, size_t len)
{
	struct waiting *w = ctx;
	if (w->status == 200 || w->status == 206)
		return w->q->on_chunk(w->q->ctx, data, len);
	buf_append(&w->r->text, data, len); /* a problem */
	return w->r->text.len < BODY_MAX;
}

static void on_progress(void *ctx, uint64_t sent, uint64_t total)
{
	struct waiting *w = ctx;
	w->q->on_progress(w->q->ctx, sent, total);
}

static void on_done(void *ctx, const struct fetch_result *result)
{
	struct waiting *w = ctx;
	struct reply *r = w->r;
	const char *type = fetch_header(result->fetch, "Content-Type"), *etag = fetch_header(result->fetch, "ETag");
	w->is_done = true;
	if (result->error != NULL && result->status < 400) {
		(void)!str_copy(r->error, sizeof r->error, result->error);
		return;
	}
	r->status = result->status;
	buf_append(&r->text, result->body, result->body_len);
	(void)!str_copy(r->etag, sizeof r->etag, etag != NULL ? etag : "");
	if (r->text.len > 0 && type != NULL && strstr(type, "json") != NULL) {
		struct fault f;
		if (json_parse(r->text.data, r->text.len, &r->json, &f) != ERR_OK)
			r->json = NULL;
	}
}

static bool is_done(void *ctx)
{
	const struct waiting *w = ctx;
	return w->is_done;
}

void client_send(struct ctl *c, const struct request *q, struct reply *r)
{
	struct client *cl = client_of(c);
	struct headers h = {.count = 0};
	struct waiting w = {.cl = cl, .q = q, .r = r};
	char *url = url_of(c, q->path);
	const char *key = option_text(c, "idempotency-key");
	bool has_body = q->body != NULL || q->has_upload;
	reply_done(r);
	add_token(&h, c);
	add_header(&h, "Content-Type", !has_body ? NULL : q->content_type != NULL ? q->content_type : "application/json");
	add_header(&h, "If-Match", q->if_match);
	add_header(&h, "Content-Range", q->content_range);
	add_header(&h, "Idempotency-Key", q->method != NULL && strcmp(q->method, "POST") == 0 ? key : NULL);
	struct fetch_request f = {.method = q->method, .url = url, .headers = h.row, .body = q->body,
		.body_len = q->body ? strlen(q->body) : 0,
		.upload_fd = q->upload_fd, .has_upload = q->has_upload, .upload_bytes = q->upload_bytes,
			.has_range = q->has_range,
		.range_from = q->range_from, .ca_file = c->settings.ca_file,
			.timeout_ms = q->no_timeout ? 0 : (unsigned)c->settings.timeout_ms,
		.max_body_bytes = BODY_MAX, .on_head = on_head, .on_chunk = q->on_chunk ? on_chunk : NULL,
		.on_progress = q->on_progress ? on_progress : NULL, .on_done = on_done, .ctx = &w};
	fetch_start(cl->pool, &f);
	while (!loop_run_until(cl->loop, is_done, &w, 3600000))
		;
	headers_done(&h);
	free(url);
}

/* ---- what an answer means ---- */

static const char *member(const struct json *j, const char *name)
{
	const char *text = json_text(json_get(j, name));
	return text != NULL ? text : "";
}

static enum result say_problem(const struct reply *r)
{
	const char *title = member(r->json, "title"), *detail = member(r->json, "detail"),
		*pointer = member(r->json, "pointer");
	enum result result = r->status == 404 ? RESULT_NOT_FOUND : RESULT_REFUSED;
	fprintf(stderr, "aviaryctl: %s (%d)%s%s\n", title[0] ? title : "the server answered with an error", r->status,
		detail[0] ? ": " : "", detail);
	if (pointer[0] != '\0')
		fprintf(stderr, "  at %s\n", pointer);
	if (r->status == 401)
		fputs("  a token is wanted: --token-file, AVIARY_TOKEN, or token in ~/.config/aviary/ctl.conf\n", stderr);
	return result;
}

enum result client_judge(struct ctl *c, const struct reply *r)
{
	if (r->status == 0)
		return complain(RESULT_CONNECTION, "%s: %s", c->settings.url, r->error);
	return r->status >= 400 ? say_problem(r) : RESULT_OK;
}

enum result client_call(struct ctl *c, const struct request *q, struct reply *r)
{
	client_send(c, q, r);
	return client_judge(c, r);
}

enum result client_get(struct ctl *c, const char *path, struct reply *r)
{
	struct request q = {.path = path};
	enum result result = client_call(c, &q, r);
	if (result == RESULT_OK && r->json == NULL)
		result = complain(RESULT_REFUSED, "%s%s answered something that is not JSON", c->settings.url, path);
	return result;
}

/* ---- lists ---- */

enum result client_each(struct ctl *c, const char *path, bool all, int64_t limit,
	bool (*on_item)(void *ctx, const struct json *item), void *ctx,
	bool *more)
{
	struct reply r = REPLY_INIT;
	struct buf url = BUF_INIT;
	char *cursor = NULL;
	int64_t count = 0;
	bool go_on = true;
	enum result result;
	do {
		buf_clear(&url);
		buf_str(&url, path);
		if (cursor != NULL) {
			buf_str(&url, strchr(path, '?') ? "&cursor=" : "?cursor=");
			percent_encode(&url, cursor);
		}
		result = client_get(c, url.data, &r);
		if (result != RESULT_OK)
			break;
		for (const struct json *i = json_first(json_get(r.json, "items")); i != NULL && go_on; i = json_next(i))
			go_on = on_item(ctx, i) && (++count < limit || limit == 0 || !all);
		free(cursor);
		const char *next = json_text(json_get(r.json, "next"));
		cursor = next != NULL ? strdup(next) : NULL;
	} while (all && cursor != NULL && go_on);
	if (more != NULL)
		*more = cursor != NULL;
	free(cursor);
	buf_done(&url);
	reply_done(&r);
	return result;
}

char *path_format(const char *format, const char *const *words, size_t count)
{
	struct buf b = BUF_INIT;
	size_t at = 0;
	for (const char *p = format; *p != '\0'; p++) {
		if (p[0] != '{' || p[1] != '}') {
			buf_char(&b, *p);
			continue;
		}
		percent_encode(&b, at < count ? words[at] : "");
		at++;
		p++;
	}
	return buf_take(&b);
}

/* ---- events ---- */

static void open_stream(void *ctx);

static void emit(struct stream *s)
{
	if (s->data.len > 0) {
		struct event e = {s->id, s->kind[0] ? s->kind : "message", buf_cstr(&s->data)};
		s->on_event(s->ctx, &e);
	}
	if (s->id[0] != '\0')
		(void)!str_copy(s->last_id, sizeof s->last_id, s->id);
	s->kind[0] = '\0';
	buf_clear(&s->data);
}

static void take_line(struct stream *s, const char *line)
{
	if (line[0] == '\0')
		emit(s);
	else if (str_starts(line, "id: "))
		(void)!str_copy(s->id, sizeof s->id, line + 4);
	else if (str_starts(line, "event: "))
		(void)!str_copy(s->kind, sizeof s->kind, line + 7);
	else if (str_starts(line, "data: "))
		buf_str(&s->data, line + 6);
}

static bool stream_head(void *ctx, const struct fetch *f, int status)
{
	struct client *cl = ctx;
	(void)f;
	cl->stream.status = status;
	return true;
}

static bool stream_chunk(void *ctx, const void *data, size_t len)
{
	struct client *cl = ctx;
	struct stream *s = &cl->stream;
	const char *p = data;
	if (s->status != 200) {
		buf_append(&s->line, data, len);
		return s->line.len < EVENT_LINE_MAX;
	}
	for (size_t i = 0; i < len; i++) {
		if (p[i] != '\n') {
			buf_char(&s->line, p[i]);
			continue;
		}
		take_line(s, buf_cstr(&s->line));
		buf_clear(&s->line);
	}
	return s->line.len < EVENT_LINE_MAX && s->data.len < EVENT_LINE_MAX;
}

static void stream_done(void *ctx, const struct fetch_result *result)
{
	struct client *cl = ctx;
	struct stream *s = &cl->stream;
	s->fetch = NULL;
	if (result->status >= 400 && result->status < 500) {
		struct fault f;
		s->refusal.status = result->status;
		if (s->line.len > 0 && json_parse(s->line.data, s->line.len, &s->refusal.json, &f) != ERR_OK)
			s->refusal.json = NULL;
		return;
	}
	buf_clear(&s->line);
	buf_clear(&s->data);
	loop_timer_start(s->reopen, REOPEN_MS, 0);
}

static void open_stream(void *ctx)
{
	struct client *cl = ctx;
	struct stream *s = &cl->stream;
	struct headers h = {.count = 0};
	char *url = url_of(cl->c, s->query);
	add_token(&h, cl->c);
	add_header(&h, "Last-Event-ID", s->last_id[0] ? s->last_id : NULL);
	struct fetch_request f = {.url = url, .headers = h.row, .ca_file = cl->c->settings.ca_file,
		.on_head = stream_head, .on_chunk = stream_chunk,
		.on_done = stream_done, .ctx = cl};
	s->fetch = fetch_start(cl->pool, &f);
	headers_done(&h);
	free(url);
}

void client_listen(struct ctl *c, const char *query, const char *after,
	void (*on_event)(void *ctx, const struct event *e), void *ctx)
{
	struct client *cl = client_of(c);
	struct stream *s = &cl->stream;
	struct buf path = BUF_INIT;
	buf_printf(&path, "/events%s", query);
	s->query = buf_take(&path);
	s->on_event = on_event;
	s->ctx = ctx;
	(void)!str_copy(s->last_id, sizeof s->last_id, after != NULL ? after : "");
	s->reopen = loop_timer_new(cl->loop, open_stream, cl);
	open_stream(cl);
}

bool client_wait(struct ctl *c, bool (*done)(void *ctx), void *ctx, int64_t timeout_ms)
{
	return loop_run_until(client_of(c)->loop, done, ctx, timeout_ms);
}

const struct reply *client_stream_refusal(const struct ctl *c)
{
	return c->client != NULL && c->client->stream.refusal.status != 0 ? &c->client->stream.refusal : NULL;
}
