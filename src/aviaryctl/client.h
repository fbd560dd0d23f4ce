/* The server's REST API as calls that wait: one loop, one request at a time, and at most one stream of events beside
 * it. */
#ifndef AVIARYCTL_CLIENT_H
#define AVIARYCTL_CLIENT_H

#include "base/buf.h"
#include "base/json.h"
#include "command.h"

struct client;

void client_free(struct client *cl); /* NULL is allowed */

struct reply {
	int status;        /* 0: no whole answer */
	struct buf text;
	struct json *json; /* of an answer that is JSON, else NULL */
	char etag[80];
	char error[256];   /* why there was no answer */
};
#define REPLY_INIT {0, BUF_INIT, NULL, "", ""}
void reply_done(struct reply *r); /* back to the initial state */

struct request {
	const char *method; /* NULL: GET */
	const char *path;   /* "/devices" below /api/v1, or from the root when it begins with "//" ("//healthz") */
	const char *body;   /* JSON; NULL: none */
	const char *if_match, *content_type, *content_range;
		/* NULL: none; the content type of a body is application/json */
	bool has_upload;    /* instead of body */
	int upload_fd;
	uint64_t upload_bytes;
	void (*on_progress)(void *ctx, uint64_t sent_bytes, uint64_t total_bytes);
	/* of a download: chunks of a 200 or 206, from `range_from` */
	bool (*on_chunk)(void *ctx, const void *data, size_t len);
	bool has_range;
	uint64_t range_from;
	void *ctx;
	bool no_timeout;    /* large transfers: only a stall ends them */
};

/* Sends and waits; never prints. */
void client_send(struct ctl *c, const struct request *q, struct reply *r);
/* Sends, and on failure says why (title, detail, pointer) and gives the exit code; r is filled in either case. */
enum result client_call(struct ctl *c, const struct request *q, struct reply *r);
enum result client_get(struct ctl *c, const char *path, struct reply *r);
/* What an answer that client_send got means; says it where it is a failure. */
enum result client_judge(struct ctl *c, const struct reply *r);

/* Each item of a list, over all pages when `all` (or until `limit` items, 0: one page). False from on_item ends it.
 * *more (may be NULL) tells whether the server has more. */
enum result client_each(struct ctl *c, const char *path, bool all, int64_t limit,
	bool (*on_item)(void *ctx, const struct json *item), void *ctx,
	bool *more);

/* "/models/{}/versions/{}" with words percent-encoded; free() it. */
char *path_format(const char *format, const char *const *words, size_t count);

/* Server-sent events. on_event gets the data of one event; it is called from within client_send and client_wait. The
 * stream opens itself again after a cut, from the last event seen. */
struct event {
	const char *id, *kind, *data;
};
void client_listen(struct ctl *c, const char *query, const char *after,
	void (*on_event)(void *ctx, const struct event *e), void *ctx);
/* Waits until done(ctx) or the time is over; true when done. */
bool client_wait(struct ctl *c, bool (*done)(void *ctx), void *ctx, int64_t timeout_ms);
/* Why the stream was refused for good (a status below 500): its reply, else NULL. */
const struct reply *client_stream_refusal(const struct ctl *c);

#endif
