/* The API as the program sees it: from HTTP requests to services and back. Routes are in api/route.h; nothing here
 * knows a resource. */
#ifndef AVIARY_API_SERVER_H
#define AVIARY_API_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/ddi.h"
#include "base/err.h"
#include "net/http.h"
#include "service/call.h"

struct api;
struct jobs;
struct loop;

/* What the configuration says; read at each use, so a reload may change it in place. */
struct api_options {
	bool log_requests;          /* every one; else only failures and slow ones */
	bool open_metrics;          /* /metrics without a token */
	const char *mgmt_basic;     /* [mgmt] of hawkBit's Management API: "user:sha256 of the password", or "" */
	const char *mgmt_role;      /* and what that user may do */
	int64_t listeners_max;      /* open streams of /events */
	int64_t listener_queue_bytes; /* a slower listener is dropped */
	struct ddi_options ddi;
};

struct api *api_open(struct services *s, struct loop *loop, struct jobs *jobs, const struct api_options *options);
void api_close(struct api *api); /* after the HTTP server; NULL is allowed */
const struct http_handler *api_handler(void); /* for http_server_open, with the api as ctx */

/* Called by the tick after a commit with the newest committed event (0: none): feeds the listeners of /events. */
void api_after_commit(struct api *api, int64_t newest_event);
void api_end_streams(struct api *api); /* shutdown: listeners are closed, requests worked on in pieces are refused, and new ones of both */
void api_set_ready(struct api *api, bool is_ready, const char *why_not); /* /readyz; why_not: a constant */
/* The state that a COMMIT left: the reason is shown by /readyz until one succeeds again. ERR_OK: all is well. */
void api_note_commit(struct api *api, enum err e);

/* The body of a problem (RFC 9457) for replies outside of a request. */
void api_problem(struct buf *out, enum err e, const struct fault *f);

#endif
