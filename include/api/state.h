/* What the files of api/ that make up the server share: the server itself and a request with its memory. Resources do
 * not include it; they see api/route.h. */
#ifndef AVIARY_API_STATE_H
#define AVIARY_API_STATE_H

#include "api/route.h"
#include "api/routes.h"
#include "api/server.h"

struct ddi;
struct listeners;
struct steps;

struct api {
	struct services *s;
	struct loop *loop;
	struct jobs *jobs;
	const struct api_options *options;
	struct router *router;
	struct listeners *listeners; /* of /events */
	struct ddi *ddi;             /* hawkBit's device API */
	struct steps *steps;         /* requests that are worked on in pieces */
	struct request *spare;       /* requests that wait for their next use */
	size_t spare_count;
	struct buf openapi;          /* made once */
	bool is_ready;
	const char *why_not_ready;
	enum err commit;             /* how the last COMMIT ended */
	bool is_backing_up;          /* one backup at a time */
};

/* One request from begin to finish; for a deferred one until api_finish. */
struct request {
	struct api_request rq; /* first: api_finish goes back from it */
	struct request *next;
	struct arena *arena;
	struct fault fault;
	struct principal who;
	struct json *document;
	void *stream_state;
	bool is_streaming;    /* stream->begin succeeded, finish or abort is still to come */
	bool is_finished;     /* net/ has let go of it */
	const char *key;      /* Idempotency-Key, or NULL */
	uint8_t digest[32];   /* of the request, with a key */
};

struct listeners *listeners_new(struct api *api);
void listeners_free(struct listeners *l);
void listeners_feed(struct listeners *l, int64_t newest_event);
void listeners_end(struct listeners *l);

/* The end of a deferred request that writes: asks for an answer kept meanwhile, then does `work`, all in one unit; answers. rq is gone after. */
void api_finish_work(struct api_request *rq, enum err (*work)(struct api_request *rq, void *state), void *state);

struct steps *steps_new(struct api *api);
void steps_free(struct steps *s);
void steps_end(struct steps *s); /* shutdown: what is under way is refused, and what comes and is not done at once */

void openapi_write(const struct route *const *tables, struct buf *out);

/* A call outside of a request, by the server itself. */
void api_call_init(struct api *api, struct call *c, struct arena *arena, struct fault *f);

#endif
