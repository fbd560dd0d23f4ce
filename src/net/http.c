/* The server: libmicrohttpd with its epoll descriptor inside the loop, and the life of a request.
 *
 * How libmicrohttpd 0.9.75 is used, because its states decide what is possible:
 * - The access handler is called once with the head, then with body bytes, then for the reply. A reply that is queued
 *   at the first call makes it close the connection, so even an early one waits for the last call where no long body is
 *   to come.
 * - A reply that waits for the tick is not suspended (that would be four system calls): the handler says nothing, and
 *   is asked again by the MHD_run that http_release_held makes. Only what waits longer is suspended.
 * - After MHD_resume_connection nothing but MHD_run goes on.
 */
#include "net/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http_private.h"

void http_suspend(struct http_request *req)
{
	if (req->is_suspended) return;
	req->is_suspended = true;
	MHD_suspend_connection(req->connection);
}

void http_resume(struct http_request *req)
{
	if (!req->is_suspended) return;
	req->is_suspended = false;
	MHD_resume_connection(req->connection);
	http_kick(req->listener);
}

/* ---- running ---- */

static void on_timer(void *ctx)
{
	http_run(ctx);
}

void http_kick(struct http_listener *listener)
{
	loop_timer_start(listener->timer, 0, 0);
}

/* When to run again without an event. A wait of 0 that leads to nothing is what libmicrohttpd says while the other side
 * of a TLS handshake is silent: believing it would be a busy loop. Where replies are held it says so too, and the tick
 * goes on. */
static void schedule(struct http_listener *listener, bool has_wait, int64_t wait_ms, bool has_progress)
{
	if (wait_ms > 0 || has_progress) listener->backoff_ms = 0;
	if (has_wait && wait_ms == 0 && (!has_progress || listener->server->held)) {
		listener->backoff_ms = listener->backoff_ms ? 2 * listener->backoff_ms : 1;
		if (listener->backoff_ms > BACKOFF_MS) listener->backoff_ms = BACKOFF_MS;
		wait_ms = listener->backoff_ms;
	}
	if (has_wait) loop_timer_start(listener->timer, wait_ms, 0);
	else loop_timer_stop(listener->timer);
}

/* libmicrohttpd works in steps and says by a timeout of 0 that there is another. */
void http_run(struct http_listener *listener)
{
	struct http_server *s = listener->server;
	MHD_UNSIGNED_LONG_LONG wait_ms = 0;
	bool has_wait = true;
	uint64_t before = s->progress, last, end_ns = clock_mono_ns() + RUN_NS;
	assert(!listener->is_running);
	listener->is_running = true;
	for (int round = 0, quiet = 0; round < RUN_ROUNDS && quiet < QUIET_ROUNDS && has_wait && wait_ms == 0; round++) {
		last = s->progress;
		MHD_run(listener->daemon);
		if (listener->sendfiles > 0) s->progress++;
		has_wait = MHD_get_timeout(listener->daemon, &wait_ms) == MHD_YES;
		quiet = s->progress == last ? quiet + 1 : 0;
		if (s->held || clock_mono_ns() > end_ns) break;
	}
	listener->is_running = false;
	if (s->held) loop_request_tick(s->loop);
	schedule(listener, has_wait, (int64_t)wait_ms, s->progress != before);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct http_listener *listener = poll->data;
	(void)status;
	(void)events;
	listener->backoff_ms = 0;
	http_run(listener);
}

/* ---- the life of a request ---- */

static bool is_sendfile(const struct http_request *req)
{
	return req->reply == REPLY_FILE && !req->listener->is_tls;
}

enum MHD_Result http_deliver(struct http_request *req)
{
	struct MHD_Response *response = http_build_response(req);
	req->is_queued = true;
	if (is_sendfile(req)) req->listener->sendfiles++;
	enum MHD_Result queued = MHD_queue_response(req->connection, (unsigned)req->status, response);
	MHD_destroy_response(response);
	return queued;
}

static void call(struct http_request *req, void (*fn)(struct http_request *req))
{
	req->is_in_callback = true;
	if (fn) fn(req);
	req->is_in_callback = false;
}

/* A refusal while a body is on its way: a short body is read and dropped, so that the client sees the answer (closing a
 * socket with unread bytes resets it) and the connection lives. One that is long, or that the client has not begun to
 * send, is not. */
static enum MHD_Result refuse_body(struct http_request *req)
{
	if (req->content_length == 0) return MHD_YES;
	if (req->content_length <= DISCARD_MAX && http_header(req, MHD_HTTP_HEADER_EXPECT) == NULL) return MHD_YES;
	return http_deliver(req);
}

static void choose_body(struct http_request *req)
{
	struct http_server *s = req->server;
	if (req->reply != REPLY_NONE || req->content_length == 0) return;
	if (req->body_mode == BODY_REFUSED || (req->content_length > 0 && (uint64_t)req->content_length > req->body_max)) {
		http_refuse(req, 413, "the body is too large\n");
		return;
	}
	if (req->body_mode != BODY_BUFFERED || req->content_length < 0) return;
	if (s->stats.buffered_bytes + (uint64_t)req->content_length > s->config.max_buffered_bytes) {
		http_refuse(req, 503, "too many bodies at once\n");
		return;
	}
	/* Only the first part at once: an announced length costs the client nothing. */
	size_t first = req->content_length < 16384 ? (size_t)req->content_length : 16384;
	buf_reserve(&req->body, first);
	s->stats.buffered_bytes += req->body.cap;
}

static enum MHD_Result take_head(struct http_request *req, struct MHD_Connection *connection, const char *method)
{
	struct http_server *s = req->server;
	req->connection = connection;
	req->method = arena_strdup(req->arena, method);
	req->is_begun = true;
	s->stats.requests++;
	if (s->is_closing) return MHD_NO;
	int refusal = http_parse_head(req);
	if (refusal != 0) http_refuse(req, refusal, "malformed or too long\n");
	else call(req, s->handler.begin);
	choose_body(req);
	return req->reply == REPLY_NONE ? MHD_YES : refuse_body(req);
}

static void buffer_body(struct http_request *req, const char *data, size_t len)
{
	struct http_server *s = req->server;
	size_t before = req->body.cap;
	if (req->received > req->body_max) {
		http_refuse(req, 413, "the body is too large\n");
	} else if (s->stats.buffered_bytes + len > s->config.max_buffered_bytes) {
		http_refuse(req, 503, "too many bodies at once\n");
	} else {
		buf_append(&req->body, data, len);
		s->stats.buffered_bytes += req->body.cap - before;
	}
}

static enum MHD_Result take_body(struct http_request *req, const char *data, size_t *len)
{
	struct http_server *s = req->server;
	if (req->is_aborted) return MHD_NO;
	if (req->is_paused) return MHD_YES; /* between two chunks of the transfer encoding: nothing is taken */
	if (req->is_discarding) {
		req->discarded += *len;
		*len = 0;
		return req->discarded > DISCARD_MAX ? MHD_NO : MHD_YES;
	}
	req->received += *len;
	if (req->body_mode == BODY_BUFFERED) {
		buffer_body(req, data, *len);
	} else if (req->received > req->body_max) {
		http_refuse(req, 413, "the body is too large\n");
	} else {
		req->is_in_callback = true;
		s->handler.chunk(req, data, *len);
		req->is_in_callback = false;
	}
	*len = 0;
	if (req->is_paused) http_suspend(req);
	return MHD_YES;
}

/* The request is whole: hand it over once, then see whether there is an answer that may leave. */
static enum MHD_Result take_end(struct http_request *req)
{
	if (req->is_aborted && req->reply == REPLY_NONE) return MHD_NO;
	if (!req->is_completed) {
		req->is_completed = true;
		if (req->reply == REPLY_NONE) call(req, req->server->handler.complete);
	}
	if (req->reply == REPLY_NONE) {
		http_suspend(req); /* until a job is done */
		return MHD_YES;
	}
	if (!req->is_held) return http_deliver(req);
	if (++req->recalls > RECALLS) http_suspend(req);
	return MHD_YES;
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *data, size_t *len, void **slot)
{
	struct http_request *req = *slot;
	(void)ctx;
	(void)url;
	(void)version;
	assert(req != NULL);
	req->server->progress++;
	if (!req->is_begun) return take_head(req, connection, method);
	if (*len > 0) return take_body(req, data, len);
	return take_end(req);
}

/* The first sight of a request: the target as it was sent, before libmicrohttpd cuts and decodes it in place. */
static void *on_target(void *ctx, const char *target, struct MHD_Connection *connection)
{
	struct http_listener *listener = ctx;
	struct http_request *req = http_request_new(listener);
	size_t max = listener->server->config.max_target_bytes, len = strnlen(target, max + 1);
	listener->server->progress++;
	req->connection = connection;
	req->is_target_too_long = len > max;
	req->target = arena_strndup(req->arena, target, req->is_target_too_long ? 0 : len);
	return req;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode code)
{
	struct http_request *req = *slot;
	(void)ctx;
	(void)connection;
	if (req == NULL) return;
	struct http_server *s = req->server;
	*slot = NULL;
	s->progress++;
	if (req->is_queued && is_sendfile(req)) req->listener->sendfiles--;
	http_unhold(req);
	if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK && !req->stream) s->stats.aborted++;
	if (req->is_begun && req->reply == REPLY_NONE && !req->is_aborted) {
		req->is_aborted = true;
		if (s->handler.abort) s->handler.abort(req);
	}
	if (req->stream) http_stream_gone(req);
	if (req->is_begun && s->handler.finish) s->handler.finish(req);
	http_request_free(req);
}

void http_pause_body(struct http_request *req)
{
	if (!req->is_discarding && !req->is_completed) req->is_paused = true;
}

void http_resume_body(struct http_request *req)
{
	if (!req->is_paused) return;
	req->is_paused = false;
	http_resume(req);
}

/* ---- opening and closing ---- */

static void on_log(void *ctx, const char *fmt, va_list args)
{
	char text[256];
	(void)ctx;
	vsnprintf(text, sizeof text, fmt, args);
	log_event(LOG_DEBUG, "http.library", "text=%s", log_quote(text));
}

/* Our own parsing decodes; the library's copy stays as it was sent. */
static size_t keep_escapes(void *ctx, struct MHD_Connection *connection, char *text)
{
	(void)ctx;
	(void)connection;
	return strlen(text);
}

static enum err open_socket(const struct http_address *address, int *fd, uint16_t *port, struct fault *f)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&storage;
	socklen_t len = sizeof *v4;
	int on = 1;
	if (inet_pton(AF_INET, address->host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(address->port);
	} else if (inet_pton(AF_INET6, address->host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(address->port);
		len = sizeof *v6;
	} else {
		return fault_set(f, ERR_INVALID, "", "%s is not a numeric address", log_quote(address->host));
	}
	*fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0) return fault_set(f, ERR_UNAVAILABLE, "", "socket for %s: %s", address->host, strerror(errno));
	setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (storage.ss_family == AF_INET6) setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(*fd, (struct sockaddr *)&storage, len) != 0 || listen(*fd, 1024) != 0 ||
	    getsockname(*fd, (struct sockaddr *)&storage, &len) != 0) {
		int error = errno;
		close(*fd);
		return fault_set(f, ERR_UNAVAILABLE, "", "listen on %s port %u: %s", address->host, address->port,
		                 strerror(error));
	}
	*port = ntohs(storage.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
	return ERR_OK;
}

static struct MHD_Daemon *start_daemon(struct http_listener *listener, const struct http_config *c, int fd, bool is_v6)
{
	bool has_ca = c->tls_client_ca_pem != NULL && c->tls_client_ca_pem[0] != '\0';
	struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)c->tls_key_pem},
	                               {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)c->tls_cert_pem},
	                               {MHD_OPTION_HTTPS_PRIORITIES, 0,
	                                (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
	                               {has_ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, (void *)(uintptr_t)c->tls_client_ca_pem},
	                               {MHD_OPTION_END, 0, NULL}};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	unsigned flags = MHD_USE_EPOLL | MHD_USE_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (is_v6 ? MHD_USE_IPv6 : 0) |
	                 (listener->is_tls ? MHD_USE_TLS : 0);
	return MHD_start_daemon(flags, 0, NULL, NULL, on_access, listener,
	                        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, /* first, so that it hears of the others */
	                        MHD_OPTION_LISTEN_SOCKET, fd,
	                        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, /* else no sendfile */
	                        MHD_OPTION_CONNECTION_LIMIT, c->max_connections,
	                        MHD_OPTION_PER_IP_CONNECTION_LIMIT, c->max_connections_per_ip,
	                        MHD_OPTION_CONNECTION_TIMEOUT, c->idle_timeout_s,
	                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, c->connection_bytes,
	                        MHD_OPTION_URI_LOG_CALLBACK, on_target, listener,
	                        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
	                        MHD_OPTION_NOTIFY_COMPLETED, on_completed, listener,
	                        MHD_OPTION_ARRAY, listener->is_tls ? tls : none, MHD_OPTION_END);
}

static enum err open_listener(struct http_server *s, const struct http_address *address, struct fault *f)
{
	struct http_listener *listener = &s->listeners[s->listener_count];
	int fd = -1;
	listener->server = s;
	listener->is_tls = address->is_tls;
	enum err e = open_socket(address, &fd, &listener->port, f);
	if (e != ERR_OK) return e;
	listener->daemon = start_daemon(listener, &s->config, fd, strchr(address->host, ':') != NULL);
	if (listener->daemon == NULL) {
		close(fd);
		return fault_set(f, ERR_INVALID, "", "%s port %u: the server does not start%s", address->host, address->port,
		                 address->is_tls ? ": certificate or key are unusable" : "");
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	assert(info != NULL);
	listener->poll.data = listener;
	listener->timer = loop_timer_new(s->loop, on_timer, listener);
	if (uv_poll_init(loop_uv(s->loop), &listener->poll, info->epoll_fd) != 0 ||
	    uv_poll_start(&listener->poll, UV_READABLE, on_readable) != 0)
		abort();
	s->listener_count++;
	http_kick(listener); /* its first MHD_run begins to listen */
	return ERR_OK;
}

static void set_defaults(struct http_config *c)
{
	if (c->max_connections == 0) c->max_connections = 4096;
	if (c->idle_timeout_s == 0) c->idle_timeout_s = 60;
	if (c->max_target_bytes == 0) c->max_target_bytes = 4096;
	if (c->max_header_bytes == 0) c->max_header_bytes = 8192;
	if (c->max_buffered_bytes == 0) c->max_buffered_bytes = (size_t)64 << 20;
	if (c->arena_bytes == 0) c->arena_bytes = (size_t)1 << 20;
	if (c->connection_bytes == 0) c->connection_bytes = 24576;
}

enum err http_server_open(struct loop *l, const struct http_config *config, const struct http_handler *handler,
                          void *ctx, struct http_server **server, struct fault *f)
{
	enum err e = ERR_OK;
	struct http_server *s = calloc(1, sizeof *s);
	if (s == NULL) abort();
	assert(config->address_count <= MAX_ADDRESSES && handler->begin && handler->complete);
	s->loop = l;
	s->handler = *handler;
	s->ctx = ctx;
	s->config = *config;
	set_defaults(&s->config);
	for (size_t i = 0; i < config->address_count && e == ERR_OK; i++) e = open_listener(s, &config->addresses[i], f);
	/* Were copied by the library, or belong to the caller. */
	s->config.addresses = NULL;
	s->has_client_ca = config->tls_client_ca_pem != NULL && config->tls_client_ca_pem[0] != '\0';
	s->config.tls_cert_pem = s->config.tls_key_pem = s->config.tls_client_ca_pem = NULL;
	if (e != ERR_OK) {
		http_server_close(s);
		s = NULL;
	}
	*server = s;
	return e;
}

uint16_t http_port(const struct http_server *s, size_t address_index)
{
	assert(address_index < s->listener_count);
	return s->listeners[address_index].port;
}

void http_server_quiesce(struct http_server *s)
{
	if (s->is_quiet) return;
	s->is_quiet = true;
	for (size_t i = 0; i < s->listener_count; i++) {
		int fd = MHD_quiesce_daemon(s->listeners[i].daemon);
		if (fd >= 0) close(fd);
	}
}

/* Whatever waits for something gets its end: streams close, requests without an answer are aborted, and nothing stays
 * suspended (MHD_stop_daemon insists). */
static void end_requests(struct http_server *s)
{
	for (struct http_request *req = s->live, *next; req; req = next) {
		next = req->next;
		if (req->stream) req->stream->is_closing = true;
		if (req->is_held) {
			http_unhold(req);
			http_drop_reply(req);
			req->reply = REPLY_NONE;
			req->is_aborted = true; /* its handler has answered already */
		}
		if (req->is_begun && req->reply == REPLY_NONE) {
			bool was_aborted = req->is_aborted;
			req->is_aborted = true;
			if (!was_aborted && s->handler.abort) s->handler.abort(req);
			if (req->is_completed) http_refuse(req, 503, "the server is going down\n");
		}
		req->is_paused = false;
		http_resume(req);
	}
}

static bool has_answers(const struct http_server *s)
{
	for (const struct http_request *req = s->live; req; req = req->next)
		if (req->reply != REPLY_NONE) return true;
	return false;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct http_server *s = ((struct http_listener *)handle->data)->server;
	if (--s->open_handles == 0) free(s);
}

void http_server_close(struct http_server *s)
{
	if (s == NULL) return;
	http_server_quiesce(s);
	s->is_closing = true;
	end_requests(s);
	for (uint64_t until = clock_mono_ns() + (uint64_t)CLOSE_MS * 1000000; has_answers(s) && clock_mono_ns() < until;) {
		for (size_t i = 0; i < s->listener_count; i++) http_run(&s->listeners[i]);
		if (has_answers(s)) poll(NULL, 0, 1);
	}
	for (size_t i = 0; i < s->listener_count; i++) {
		http_run(&s->listeners[i]); /* what was resumed leaves the list of the suspended */
		uv_poll_stop(&s->listeners[i].poll);
		MHD_stop_daemon(s->listeners[i].daemon);
	}
	assert(s->live == NULL);
	for (struct http_request *req = s->spare, *next; req; req = next) {
		next = req->next;
		arena_free(req->arena);
		free(req);
	}
	s->open_handles = s->listener_count;
	for (size_t i = 0; i < s->listener_count; i++) {
		uv_close((uv_handle_t *)&s->listeners[i].poll, on_handle_closed);
		loop_timer_free(s->listeners[i].timer);
	}
	if (s->listener_count == 0) free(s);
}

void http_stats_read(const struct http_server *s, struct http_stats *stats)
{
	*stats = s->stats;
	stats->connections = 0;
	stats->waiting = 0;
	for (size_t i = 0; i < s->listener_count; i++) {
		const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->listeners[i].daemon,
		                                                       MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
		if (info) stats->connections += info->num_connections;
	}
	for (const struct http_request *req = s->live; req; req = req->next)
		stats->waiting += req->is_completed && req->reply == REPLY_NONE;
}
