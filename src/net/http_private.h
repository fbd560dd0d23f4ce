/* What the files of the HTTP server share. Nobody else includes it. */
#ifndef AVIARY_NET_HTTP_PRIVATE_H
#define AVIARY_NET_HTTP_PRIVATE_H

#include <microhttpd.h>
#include <uv.h>

#include "net/http.h"

enum {
	MAX_ADDRESSES = 8,
	MAX_QUERY = 64,          /* parameters of one request; more is 400 */
	SPARE_REQUESTS = 256,    /* finished requests kept with their arenas */
	DISCARD_MAX = 4 << 20,   /* of a refused body so much is read and dropped, then the connection is cut */
	FILE_BLOCK = 65536,      /* of a file over TLS */
	PARTS_MAX = 16,          /* ranges of one request; more are answered with everything */
	RUN_ROUNDS = 16,         /* of MHD_run in a row, while it says that there is more */
	RUN_NS = 2000000,        /* after which none of them begins: the rest has its turn in the next iteration */
	QUIET_ROUNDS = 3,        /* of them without anything that we see happen */
	BACKOFF_MS = 16,         /* then it is asked less and less often, but for events */
	RECALLS = 3,             /* a held request that libmicrohttpd asks about more often is suspended */
	CLOSE_MS = 500           /* for answers that are on their way when the server closes */
};

struct http_listener {
	struct http_server *server;
	struct MHD_Daemon *daemon;
	bool is_tls, is_running; /* within MHD_run */
	uint16_t port;
	uv_poll_t poll;
	struct loop_timer *timer;
	int64_t backoff_ms;
	/* replies that the kernel sends, on their way: libmicrohttpd goes on with them without calling us */
	unsigned sendfiles;
};

struct header {
	struct header *next;
	const char *name, *value;
};

struct parameter {
	const char *name, *value;
};

enum body_mode { BODY_REFUSED, BODY_BUFFERED, BODY_STREAMED };

/* What the reply is made of. */
enum reply_kind { REPLY_NONE, REPLY_BYTES, REPLY_STATIC, REPLY_FILE, REPLY_PARTS, REPLY_STREAM };

struct http_part {
	const char *head;
	size_t head_len;
	uint64_t first, len;
};
struct http_parts {
	struct http_part items[PARTS_MAX];
	size_t count;
};

struct http_request {
	struct http_server *server;
	struct http_listener *listener;
	struct MHD_Connection *connection;
	struct http_request *prev, *next;           /* all live requests */
	struct http_request *held_prev, *held_next; /* held replies */
	struct arena *arena;
	void *user;

	/* the head */
	const char *target; /* as sent */
	const char *method, *path, *query_text;
	struct parameter *query;
	size_t query_count;
	char remote[48];
	int64_t content_length;
	uint64_t started_ns;
	bool is_target_too_long;

	/* the body */
	enum body_mode body_mode;
	uint64_t body_max, received, discarded;
	struct buf body;

	/* how far it is */
	bool is_begun, is_completed, is_aborted;
	bool is_discarding; /* what comes of the body is dropped */
	bool is_paused, is_suspended, is_held, is_queued;
	bool is_in_callback; /* the handler is being called: a reply is queued when it returns */
	unsigned recalls;

	/* the reply */
	enum reply_kind reply;
	int status;
	struct header *headers;
	const char *content_type;
	struct buf reply_body;
	const void *static_data;
	uint64_t reply_len, file_offset;
	int file_fd;
	struct http_parts *parts;
	struct http_stream *stream;
};

struct http_stream {
	struct http_request *req; /* NULL when the connection is gone */
	struct buf queue;
	size_t sent, max_queued_bytes;
	bool is_closing, is_dropped;
	void (*on_close)(void *ctx);
	void *ctx;
};

struct http_server {
	struct loop *loop;
	struct http_handler handler;
	void *ctx;
	struct http_config config;
	struct http_listener listeners[MAX_ADDRESSES];
	size_t listener_count, open_handles;
	struct http_request *live, *held, *spare;
	unsigned spare_count;
	uint64_t progress; /* counts whatever libmicrohttpd calls us for */
	bool is_quiet, is_closing, has_client_ca;
	struct http_stats stats;
};

/* http.c */
void http_suspend(struct http_request *req);
void http_resume(struct http_request *req); /* does nothing when it is not suspended */
void http_kick(struct http_listener *listener); /* MHD_run in the next iteration */
void http_run(struct http_listener *listener);
enum MHD_Result http_deliver(struct http_request *req);

/* http_request.c */
int http_parse_head(struct http_request *req); /* 0 or the status of a refusal */
struct http_request *http_request_new(struct http_listener *listener);
void http_request_free(struct http_request *req);

/* http_reply.c */
/* plain text, by this module itself, not held */
void http_refuse(struct http_request *req, int status, const char *text);
struct MHD_Response *http_build_response(struct http_request *req);
void http_unhold(struct http_request *req);
void http_drop_reply(struct http_request *req); /* frees what an undelivered reply holds */

/* http_stream.c */
ssize_t http_stream_read(void *ctx, uint64_t at, char *out, size_t max);
void http_stream_gone(struct http_request *req);

#endif
