/* An HTTP/1.1 server on the loop: bytes and callbacks. It knows no routes, no permissions and no JSON.
 *
 * The life of a request:
 *   begin(req)          the head has been read. The handler chooses what happens to the body (http_take_body), or
 *                       replies at once (401, 413, 404): then the body is not read and `complete` is not called.
 *   chunk(req, ...)     only in streaming mode, as bytes come. The handler may http_pause_body.
 *   complete(req)       the body is there. The handler replies now, or later (from the `done` of a job).
 *   abort(req)          instead of `complete`, or after a `complete` that has not replied yet: the client is gone or
 *                       the server closes. The handler forgets the request; replying is no longer possible.
 *   finish(req)         always last, exactly once: for the log, metrics and what `http_set_user` holds. Also for a
 *                       request that this module refused by itself, without `begin`: then the user pointer is NULL.
 *
 * Held replies: http_reply in `complete` or later keeps the answer until http_release_held (after COMMIT), or until
 * http_fail_held replaces all of them (COMMIT failed). http_reply_now, replies in `begin`, files and streams are not
 * held. After http_reply the request must not be touched but in `again` and finish.
 *   again(req)          the COMMIT failed that the reply was held for, and the reply is dropped. True: the handler has
 *                       replied anew, or will; false: http_fail_held's reply takes its place.
 */
#ifndef AVIARY_NET_HTTP_H
#define AVIARY_NET_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"

struct http_server;
struct http_request;
struct http_stream;

struct http_handler {
	void (*begin)(struct http_request *req);
	void (*chunk)(struct http_request *req, const void *data, size_t len); /* NULL: no streaming */
	void (*complete)(struct http_request *req);
	void (*abort)(struct http_request *req);               /* may be NULL */
	void (*finish)(struct http_request *req);              /* may be NULL */
	bool (*again)(struct http_request *req);               /* may be NULL */
	void (*prepare)(struct http_request *req, int status); /* before any reply leaves: default headers; may be NULL */
	/* Body and type of a refusal by this module's own limits (400, 413, 414, 431, 503); a constant. NULL: plain
	 * text. */
	const char *(*refusal)(int status, const char **content_type);
};

struct http_address {
	const char *host; /* numeric: "127.0.0.1", "::1", "0.0.0.0" */
	uint16_t port;    /* 0: any free port; http_port tells which */
	bool is_tls;
};

/* 0 in a limit takes the default. */
struct http_config {
	const struct http_address *addresses; /* copied */
	size_t address_count;                 /* at most 8 */
	const char *tls_cert_pem, *tls_key_pem; /* contents, copied; needed where an address is_tls */
	const char *tls_client_ca_pem;        /* clients may show a certificate that one of these signed; NULL or "": none is asked for */
	unsigned max_connections;             /* for each address; 4096 */
	unsigned max_connections_per_ip;      /* no limit */
	unsigned idle_timeout_s;              /* of a connection without any traffic; 60 */
	size_t max_target_bytes;              /* path and query as sent; 4096, over: 414 */
	size_t max_header_bytes;              /* all header fields; 8192, over: 431 */
	size_t max_buffered_bytes;            /* bodies of all requests together; 64 MiB, over: 503 */
	size_t arena_bytes;                   /* soft cap of a request's arena; 1 MiB */
	size_t connection_bytes;              /* libmicrohttpd's pool for one connection; 24 KiB */
};

/* ERR_UNAVAILABLE when an address cannot be bound, ERR_INVALID when an address or the certificate is none; f says
 * which. */
AVIARY_MUST_CHECK enum err http_server_open(struct loop *l, const struct http_config *config,
                                            const struct http_handler *handler, void *ctx, struct http_server **server,
                                                struct fault *f);
/* No new connections from now on (the listening sockets close); keep-alive ends with the running requests. */
void http_server_quiesce(struct http_server *s);
/* Aborts what still runs, gives a moment to answers that are on their way, closes. Not from within a handler. NULL is
 * allowed. */
void http_server_close(struct http_server *s);
uint16_t http_port(const struct http_server *s, size_t address_index);

struct http_stats {
	uint64_t requests, aborted, refused; /* refused: by this module's own limits */
	unsigned connections, streams, held, waiting; /* now; waiting: completed and not yet replied */
	size_t buffered_bytes;
	uint64_t streams_dropped; /* clients that were too slow */
};
void http_stats_read(const struct http_server *s, struct http_stats *stats);

/* ---- the request ---- valid from begin to finish; texts live as long */
void *http_server_ctx(const struct http_request *req); /* as given to http_server_open */
const char *http_method(const struct http_request *req); /* "GET"; a HEAD is "HEAD" */
/* Percent-decoded UTF-8. A path with a bad escape, %00 or an encoded slash was refused with 400 before begin. */
const char *http_path(const struct http_request *req);
const char *http_query_text(const struct http_request *req); /* as sent, without '?'; "" when there is none */
/* decoded value of the first; NULL when absent */
const char *http_query(const struct http_request *req, const char *name);
/* false past the last */
bool http_query_at(const struct http_request *req, size_t index, const char **name, const char **value);
const char *http_header(const struct http_request *req, const char *name); /* NULL when absent; name in any case */
int64_t http_content_length(const struct http_request *req);               /* -1: not announced (chunked), 0: no body */
const char *http_remote(const struct http_request *req);                   /* numeric address without port */
bool http_is_tls(const struct http_request *req);
/* Of a TLS client that showed a certificate which tls_client_ca_pem has signed: false for all others. */
struct http_peer {
	char name[128];         /* the subject's common name */
	char issuer_hash[9];    /* OpenSSL's hash of the issuer's name (openssl x509 -issuer_hash), 8 hex digits */
	char issuer_sha256[65]; /* SHA-256 of the issuer's name in DER */
};
bool http_peer(const struct http_request *req, struct http_peer *out);
/* Whether the client has closed its end. Nobody tells who waits for a reply (`abort` comes with the next attempt to write): who works for long
 * asks now and then. It costs a system call. */
bool http_is_hung_up(const struct http_request *req);
struct arena *http_arena(struct http_request *req);
uint64_t http_started_ns(const struct http_request *req); /* clock_mono_ns when the head was complete */
int http_status(const struct http_request *req);          /* of the reply; 0 before */
uint64_t http_reply_bytes(const struct http_request *req); /* body bytes of the reply, as far as known */
void http_set_user(struct http_request *req, void *user);
void *http_user(const struct http_request *req);

/* ---- the body ---- in begin; without a call a body of any length is refused with 413 */
void http_take_body(struct http_request *req, size_t max_bytes); /* buffered; more is 413 */
void http_stream_body(struct http_request *req, uint64_t max_bytes); /* to `chunk`; more is 413 */
const char *http_body(const struct http_request *req, size_t *len); /* NUL-terminated; "" when empty or streamed */
/* In chunk: no more chunks until http_resume_body; the client is slowed down by TCP. */
void http_pause_body(struct http_request *req);
void http_resume_body(struct http_request *req);

/* ---- the reply ---- one for each request */
/* before the reply; CR and LF are refused by assert */
void http_set_header(struct http_request *req, const char *name, const char *value);
/* content_type NULL: none. body NULL: empty; else its content is taken over and *body is empty after. Replying in
 * `chunk` is allowed: what still comes of the body is dropped. */
void http_reply(struct http_request *req, int status, const char *content_type, struct buf *body);
void http_reply_now(struct http_request *req, int status, const char *content_type, struct buf *body);
/* Text that lives for the whole program (static files of the dashboard); not copied, not held. */
void http_reply_static(struct http_request *req, int status, const char *content_type, const void *data, size_t len);
/* A file, not held: 200, 206, 304 or 416 by Range, If-Range and If-None-Match; HEAD without body. fd is taken over and
 * must be open for reading. etag without quotes, strong; NULL: none. One range; several are answered with 200. */
void http_reply_file(struct http_request *req, int fd, uint64_t size_bytes, const char *etag, const char *content_type);

/* After COMMIT: all held replies leave. For the tick. */
void http_release_held(struct http_server *s);
/* COMMIT failed: all held replies become this one, but those that `again` gives anew. They leave at once. */
void http_fail_held(struct http_server *s, int status, const char *content_type, const char *body);

/* The same with more to say. */
struct http_file {
	const char *etag;         /* as above */
	const char *content_type;
	int64_t modified_s;       /* Last-Modified, and If-Range by a date; 0: none */
	bool has_many;            /* several ranges are answered as multipart/byteranges (RFC 9110 section 14.6) */
};
void http_reply_file_as(struct http_request *req, int fd, uint64_t size_bytes, const struct http_file *how);

/* ---- streams ---- server-sent events and other endless answers */
/* Status 200. A client for which more than max_queued_bytes wait is dropped. on_close is called exactly once, whoever
 * closes; the handle is invalid after. on_close may be called before http_reply_stream's caller sends anything, never
 * before it returns. */
struct http_stream *http_reply_stream(struct http_request *req, const char *content_type, size_t max_queued_bytes,
                                      void (*on_close)(void *ctx), void *ctx);
/* False when the client has just been dropped (on_close follows from the loop, not from within). */
bool http_stream_send(struct http_stream *stream, const void *data, size_t len);
void http_stream_close(struct http_stream *stream); /* after what is queued */

#endif
