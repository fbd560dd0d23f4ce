/* An HTTP client on the loop (libcurl underneath): many transfers, connections reused, nothing blocks.
 *
 * A fetch is started with a description, calls back, and ends with exactly one on_done, or silently by fetch_cancel.
 * No redirects are followed, no proxy and no cookies are used, only http and https are spoken; with `mail` only smtp and smtps (net/mail.h
 * makes such requests).
 */
#ifndef AVIARY_NET_FETCH_H
#define AVIARY_NET_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/loop.h"

struct fetch_pool;
struct fetch;
struct sockaddr;

struct fetch_pool *fetch_pool_new(struct loop *l, unsigned max_connections); /* 0: 64; more transfers wait in line */
void fetch_pool_free(struct fetch_pool *p);                                  /* cancels what runs; NULL is allowed */
unsigned fetch_pool_running(const struct fetch_pool *p);

/* A mail to hand over by SMTP; request.body is its text with CRLF lines. result.status is the last reply code of the server. */
struct fetch_mail {
	const char *from, *const *to; /* addresses; `to` ends with NULL */
	const char *user, *password;  /* NULL: no authentication */
	bool is_tls_needed;           /* of smtp://: STARTTLS, or nothing is sent */
};

struct fetch_result {
	int status;         /* HTTP status; 0 when there was no answer */
	const char *error;  /* NULL when a whole answer came (whatever its status); else why not */
	const char *body;   /* NUL-terminated; "" when on_chunk took it */
	size_t body_len;
	uint64_t received_bytes, sent_bytes; /* of bodies */
	double total_ms;
	bool is_forbidden;     /* may_call said no */
	bool is_too_long;      /* max_body_bytes */
	int64_t retry_after_s; /* Retry-After, also where it is a date; 0: none */
	const struct fetch *fetch; /* for fetch_header */
};

struct fetch_request {
	const char *method; /* NULL: GET */
	const char *url;
	const char *const *headers; /* "Name: value", ends with NULL; NULL: none */
	const void *body;           /* copied; NULL: none */
	size_t body_len;
	/* where has_upload: read from its current offset, upload_bytes long; the caller closes it after on_done */
	int upload_fd;
	bool has_upload;
	uint64_t upload_bytes;
	bool has_range;             /* Range: bytes=range_from- */
	uint64_t range_from;
	const char *ca_file;        /* PEM; NULL: the system's */
	const char *certificate_file, *key_file; /* of this client, PEM; NULL: none */
	const struct fetch_mail *mail; /* NULL: HTTP; read by fetch_start only */
	/* Which addresses may be called, asked for each one before a socket is connected, so what a name resolves to counts and not the name;
	 * NULL: all. The context must live as long as the pool. A connection is reused without asking again. */
	bool (*may_call)(void *ctx, const struct sockaddr *address);
	void *may_call_ctx;
	unsigned timeout_ms;        /* of the whole; 0: none */
	unsigned connect_timeout_ms; /* 0: 10000 */
	unsigned stall_timeout_ms;  /* no byte for so long; whole seconds, rounded up; 0: 60000 */
	size_t max_body_bytes;      /* kept for result.body; 0: 1 MiB; longer ends with an error */
	/* All may be NULL. on_head: status and header fields are there, before the first chunk. false from on_head or
	 * on_chunk ends it with an error. */
	bool (*on_head)(void *ctx, const struct fetch *fetch, int status);
	bool (*on_chunk)(void *ctx, const void *data, size_t len); /* of an answer with any status: look at on_head's */
	void (*on_progress)(void *ctx, uint64_t sent_bytes, uint64_t total_bytes); /* of an upload */
	void (*on_done)(void *ctx, const struct fetch_result *result); /* the fetch is gone after it returns */
	void *ctx;
};

/* Never calls back from within. A URL that is none ends with on_done too. */
struct fetch *fetch_start(struct fetch_pool *p, const struct fetch_request *request);
void fetch_cancel(struct fetch *f); /* no callback after; allowed within any callback but its own on_done */
/* A field of the answer; NULL when absent. Valid until on_done returns. */
const char *fetch_header(const struct fetch *f, const char *name);

#endif
