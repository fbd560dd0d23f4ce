/* The route table: one row an endpoint. It routes, authorises, binds the body, documents (openapi.json). Each resource has its own
 * file with its rows and handlers; routes.c only lists those tables.
 *
 * A handler is straight-line code: it gets a bound body, calls one service, encodes into rq->out and returns ERR_OK, or returns an error with
 * rq->call.fault filled; the dispatcher turns that into problem+json and rolls the savepoint back.
 */
#ifndef AVIARY_API_ROUTE_H
#define AVIARY_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "service/call.h"

struct api;
struct http_request;
struct jobs;
struct route;

#define ROUTE_MAX_PARAMS 4

struct api_request {
	struct call call;
	const struct route *route;
	struct http_request *http;   /* headers, query; for the few handlers that need more than the table gives */
	const char *param[ROUTE_MAX_PARAMS]; /* path parameters in order, percent-decoded, arena */
	void *body;                  /* struct bound by route->body, or NULL */
	const struct json *json;     /* the parsed body, or NULL */
	const char *raw;             /* body bytes */
	size_t raw_len;
	/* the reply */
	struct buf out;
	int status;                  /* 0: 200, or 201 for POST rows with `created` */
	const char *content_type;    /* NULL: application/json */
	const char *location;        /* Location header, arena */
	int64_t etag_revision;       /* > 0: ETag: "<n>" */
	bool deferred;               /* the handler answers later, by api_finish() */
	bool taken;                  /* the handler has answered through rq->http by itself (a file, a stream) */
	bool is_secret;              /* the reply shows a secret once: it is not kept for Idempotency-Key (as ROUTE_SECRET, by the handler) */
	bool gone;                   /* deferred, and the client is gone: api_finish() is still to be called */
	int mgmt_error;              /* of a refused request of hawkBit's Management API: a row of api/mgmt.h; 0: by the error */
	void *state;                 /* a deferred or streaming handler's own */
	struct api *api;
};

enum route_flags {
	ROUTE_READ = 0,
	ROUTE_WRITE = 1,       /* runs in a savepoint; audit and Idempotency-Key apply */
	ROUTE_CREATED = 2,     /* success is 201 */
	ROUTE_IF_MATCH = 4,    /* If-Match required (428 without), compared by the service with api_if_match() */
	ROUTE_STREAM = 8,      /* body arrives in chunks: `stream` functions instead of a bound body */
	ROUTE_NO_CONTENT = 16, /* success is 204 */
	ROUTE_SECRET = 32,     /* the reply shows a secret once: it is never kept for Idempotency-Key */
	ROUTE_LIVE = 128,      /* the reply shows more than its revision covers (presence): If-None-Match never gives 304 */
	ROUTE_METRICS = 64     /* open to everybody where the configuration says so ([http] open_metrics) */
};

/* A streamed body. With ROUTE_WRITE each of begin, chunk and finish is a unit of work of its own; finish may defer. begin may refuse before the first byte is read; chunk runs on the loop in constant memory; finish answers. */
struct route_stream {
	enum err (*begin)(struct api_request *rq, void **state);
	enum err (*chunk)(struct api_request *rq, void *state, const void *data, size_t len);
	enum err (*finish)(struct api_request *rq, void *state);
	void (*abort)(struct api_request *rq, void *state); /* client gone, or an error was returned; frees the state */
};

struct route_query { /* a documented query parameter */
	const char *name;
	const char *doc;
};

struct route {
	const char *method;
	const char *path;            /* "/api/v1/devices/{device}" */
	enum role role;              /* least role; ROLE_NONE: no authentication */
	unsigned flags;
	const char *summary;         /* one line */
	const char *tag;             /* resource name */
	const struct field *body;    /* NULL: no body */
	size_t body_bytes;           /* sizeof the bound struct */
	void (*body_init)(void *body); /* sets defaults before the binding; NULL: zeros */
	size_t body_limit;           /* 0: 64 KiB; set without `body` and `stream`: any JSON object is taken */
	const struct field *reply;   /* one object; NULL: none or free */
	bool reply_is_list;          /* {"items":[reply...],"next":cursor} */
	const char *reply_type;      /* media type of a reply that is no JSON; NULL: application/json */
	const struct field *shown;   /* of a ROUTE_CREATED row: the 200 that is given where nothing is made (dryRun); NULL: never */
	const struct route_query *query; /* ends with a row without name; unknown query parameters are refused */
	enum err (*handle)(struct api_request *rq);
	const struct route_stream *stream;
};

/* Query parameters: NULL when absent. */
const char *api_query(const struct api_request *rq, const char *name);
AVIARY_MUST_CHECK enum err api_query_int(struct api_request *rq, const char *name, int64_t min, int64_t max, int64_t *value); /* untouched when absent */
AVIARY_MUST_CHECK enum err api_query_bool(struct api_request *rq, const char *name, bool *value);
/* A numeric path parameter; ERR_NOT_FOUND when it is not a number, as no such resource can exist. */
AVIARY_MUST_CHECK enum err api_param_id(struct api_request *rq, size_t at, int64_t *id);
/* If-Match against the current revision: ERR_PRECONDITION when it differs. "*" matches any. */
AVIARY_MUST_CHECK enum err api_if_match(struct api_request *rq, int64_t revision);

/* Pages: `limit` (1..1000, 100 when absent) and a cursor that carries one number, the last id of the page before (0: first page). A cursor
 * is opaque base64url text; one of another list is refused. */
AVIARY_MUST_CHECK enum err api_query_page(struct api_request *rq, int64_t *limit, int64_t *after);
const char *api_cursor_of(struct api_request *rq, int64_t last_id); /* 0: NULL */
/* The same with the service's own text inside: NULL when the parameter is absent. */
AVIARY_MUST_CHECK enum err api_query_cursor(struct api_request *rq, const char **text);
const char *api_cursor_of_text(struct api_request *rq, const char *text); /* NULL: NULL */

/* A list page: {"items":[ ... ],"next":"opaque"}; item writers put JSON objects between these. */
void api_list_open(struct api_request *rq);
void api_list_close(struct api_request *rq, const char *next_cursor, int64_t total); /* NULL: last page; total < 0: not told */

/* The pool for work off the loop. */
struct jobs *api_jobs(const struct api_request *rq);

/* Work that may be too long for one iteration of the loop. A handler returns api_in_steps(...), which takes `state`: a little is done at once,
 * and when that was all the answer is given as ever. Else the request is deferred, and goes on in the iterations to come: `step`
 * works until the timebox is over, outside of any unit of work, so it writes nothing that belongs to the request; `finish` comes after
 * the step that said is_done, as one unit where the route is ROUTE_WRITE. The same Idempotency-Key may have been answered
 * meanwhile: then that answer is given instead. ERR_TOO_MANY when too many are under way. A client that goes away, and the end of the
 * server, end the work; `free` is called in each case, last: the request may be gone by then. */
struct timebox; /* service/timebox.h */
struct api_steps {
	enum err (*step)(struct api_request *rq, void *state, const struct timebox *box, bool *is_done);
	enum err (*finish)(struct api_request *rq, void *state);
	void (*free)(void *state);
};
AVIARY_MUST_CHECK enum err api_in_steps(struct api_request *rq, const struct api_steps *how, void *state);

/* Answers a deferred request, later, from a job's completion on the loop. `e` ERR_OK: rq->out etc. are the reply. rq is
 * gone after. The request's memory and parameters live until then, also where the client is gone. */
void api_finish(struct api_request *rq, enum err e);

#endif
