#include "net/fetch.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum {
	DEFAULT_CONNECTIONS = 64,
	DEFAULT_CONNECT_MS = 10000,
	DEFAULT_STALL_MS = 60000,
	DEFAULT_BODY = 1 << 20,
	SPARE_EASY = 64
};

struct fetch_pool {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer;
	struct fetch *running;
	unsigned count;
	CURL *spare[SPARE_EASY]; /* handles are 5 KB to build and 10 us: reused */
	unsigned spare_count;
	bool is_closing;
	unsigned open_polls;
	unsigned depth;         /* within a callback of libcurl's, where it can neither begin nor end a transfer */
	bool has_cancelled;     /* some of `running` is to be released */
	struct fetch *starting; /* in order; not yet libcurl's */
	struct fetch **last_starting;
};

/* One socket of libcurl's in the loop. */
struct watch {
	uv_poll_t poll;
	struct fetch_pool *pool;
	curl_socket_t fd;
};

struct fetch {
	struct fetch_pool *pool;
	struct fetch *prev, *next;
	CURL *easy;
	struct fetch_request request; /* texts in it are not ours but for the callbacks and numbers */
	struct curl_slist *headers, *recipients;
	char *upload_body;
	struct buf body;
	uint64_t sent, received;
	char error[CURL_ERROR_SIZE];
	bool is_head_seen, is_cancelled, is_in_done, is_stopped, is_too_long, is_forbidden;
};

/* ---- libcurl's events ---- */

static void settle(struct fetch_pool *p);

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct fetch_pool *p = w->pool; /* w may be gone after */
	int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;
	if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(p->multi, w->fd, flags, &running);
	settle(p);
}

static void free_pool(struct fetch_pool *p)
{
	if (p->is_closing && p->open_polls == 0) free(p);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;
	struct fetch_pool *p = w->pool;
	free(w);
	p->open_polls--;
	free_pool(p);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *slot)
{
	struct fetch_pool *p = ctx;
	struct watch *w = slot;
	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w == NULL) return 0;
		uv_poll_stop(&w->poll);
		uv_close((uv_handle_t *)&w->poll, on_poll_closed);
		curl_multi_assign(p->multi, fd, NULL);
		return 0;
	}
	if (w == NULL) {
		w = calloc(1, sizeof *w);
		if (w == NULL) abort();
		w->pool = p;
		w->fd = fd;
		w->poll.data = w;
		if (uv_poll_init_socket(loop_uv(p->loop), &w->poll, fd) != 0) {
			free(w);
			return -1;
		}
		p->open_polls++;
		curl_multi_assign(p->multi, fd, w);
	}
	int events = (what != CURL_POLL_OUT ? UV_READABLE : 0) | (what != CURL_POLL_IN ? UV_WRITABLE : 0);
	return uv_poll_start(&w->poll, events, on_socket) == 0 ? 0 : -1;
}

static void on_timer(void *ctx)
{
	struct fetch_pool *p = ctx;
	int running;
	curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	settle(p);
}

static int want_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct fetch_pool *p = ctx;
	(void)multi;
	if (p->starting) timeout_ms = 0;
	if (timeout_ms < 0) loop_timer_stop(p->timer);
	else loop_timer_start(p->timer, timeout_ms, 0);
	return 0;
}

/* ---- a transfer's callbacks ---- */

/* The status line of an interim answer (100 Continue) and its fields come first: only the last head counts. */
static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct fetch *f = ctx;
	size_t len = size * count;
	long status = 0;
	if (len > 2 || f->is_head_seen) return len; /* not the blank line at the end */
	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)data;
	if (status < 200) return len;
	f->is_head_seen = true;
	if (f->request.on_head == NULL) return len;
	f->pool->depth++;
	bool go_on = f->request.on_head(f->request.ctx, f, (int)status);
	f->pool->depth--;
	if (!go_on) f->is_stopped = true;
	return go_on && !f->is_cancelled ? len : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct fetch *f = ctx;
	size_t len = size * count;
	f->received += len;
	if (f->request.on_chunk) {
		f->pool->depth++;
		bool go_on = f->request.on_chunk(f->request.ctx, data, len);
		f->pool->depth--;
		if (!go_on) f->is_stopped = true;
		return go_on && !f->is_cancelled ? len : 0;
	}
	if (f->body.len + len > f->request.max_body_bytes) {
		f->is_too_long = true;
		return 0;
	}
	buf_append(&f->body, data, len);
	return len;
}

static size_t on_upload(char *out, size_t size, size_t count, void *ctx)
{
	struct fetch *f = ctx;
	uint64_t left = f->request.upload_bytes - f->sent;
	size_t max = size * count;
	ssize_t n = read(f->request.upload_fd, out, left < max ? (size_t)left : max);
	if (n < 0 || (n == 0 && left > 0)) return CURL_READFUNC_ABORT; /* the file is shorter than was said */
	f->sent += (uint64_t)n;
	if (f->request.on_progress) {
		f->pool->depth++;
		f->request.on_progress(f->request.ctx, f->sent, f->request.upload_bytes);
		f->pool->depth--;
	}
	return f->is_cancelled ? CURL_READFUNC_ABORT : (size_t)n;
}

static size_t on_mail(char *out, size_t size, size_t count, void *ctx)
{
	struct fetch *f = ctx;
	size_t left = f->request.body_len - (size_t)f->sent, n = size * count < left ? size * count : left;
	memcpy(out, f->upload_body + f->sent, n);
	f->sent += n;
	return n;
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct fetch *f = ctx;
	(void)purpose;
	if (!f->request.may_call(f->request.may_call_ctx, &a->addr)) {
		f->is_forbidden = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* libcurl sends again on a reused connection that turned out to be dead. */
static int on_rewind(void *ctx, curl_off_t offset, int origin)
{
	struct fetch *f = ctx;
	if (origin != SEEK_SET || f->sent > INT64_MAX) return CURL_SEEKFUNC_FAIL;
	if (lseek(f->request.upload_fd, (off_t)(offset - (curl_off_t)f->sent), SEEK_CUR) < 0)
		return CURL_SEEKFUNC_FAIL;
	f->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* ---- begin and end ---- */

static void release(struct fetch *f)
{
	struct fetch_pool *p = f->pool;
	curl_multi_remove_handle(p->multi, f->easy);
	if (p->spare_count < SPARE_EASY) {
		curl_easy_reset(f->easy);
		p->spare[p->spare_count++] = f->easy;
	} else {
		curl_easy_cleanup(f->easy);
	}
	if (f->prev) f->prev->next = f->next;
	else p->running = f->next;
	if (f->next) f->next->prev = f->prev;
	p->count--;
	curl_slist_free_all(f->headers);
	curl_slist_free_all(f->recipients);
	free(f->upload_body);
	buf_done(&f->body);
	free(f);
}

static const char *own_reason(const struct fetch *f)
{
	if (f->is_too_long) return "the answer is too long";
	if (f->is_stopped) return "stopped by the receiver";
	if (f->is_forbidden) return "the address may not be called";
	return NULL;
}

static void finish(struct fetch *f, const char *error)
{
	long status = 0;
	curl_off_t total_us = 0, retry_after_s = 0;
	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(f->easy, CURLINFO_TOTAL_TIME_T, &total_us);
	curl_easy_getinfo(f->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	struct fetch_result result = {.status = (int)status,
	                              .error = error && own_reason(f) ? own_reason(f) : error,
	                              .body = buf_cstr(&f->body),
	                              .body_len = f->body.len,
	                              .received_bytes = f->received,
	                              .sent_bytes = f->request.has_upload ? f->sent : f->request.body_len,
	                              .total_ms = (double)total_us / 1000,
	                              .is_forbidden = f->is_forbidden,
	                              .is_too_long = f->is_too_long,
	                              .retry_after_s = retry_after_s,
	                              .fetch = f};
	f->is_in_done = true;
	if (f->request.on_done && !f->is_cancelled) f->request.on_done(f->request.ctx, &result);
	release(f);
}

static void collect_ended(struct fetch_pool *p)
{
	CURLMsg *message;
	int left;
	while ((message = curl_multi_info_read(p->multi, &left)) != NULL) {
		if (message->msg != CURLMSG_DONE) continue;
		CURLcode code = message->data.result;
		struct fetch *f = NULL;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&f);
		finish(f, code == CURLE_OK ? NULL : f->error[0] ? f->error : curl_easy_strerror(code));
	}
}

/* Everything that had to wait for libcurl to return. A function called from here may start and cancel others. */
static void settle(struct fetch_pool *p)
{
	collect_ended(p);
	while (p->has_cancelled) {
		p->has_cancelled = false;
		for (struct fetch *f = p->running, *next; f; f = next) {
			next = f->next;
			if (f->is_cancelled) release(f);
		}
	}
	while (p->starting) {
		struct fetch *f = p->starting;
		p->starting = f->next;
		if (p->starting == NULL) p->last_starting = &p->starting;
		f->next = p->running;
		if (p->running) p->running->prev = f;
		p->running = f;
		if (f->is_cancelled) release(f);
		else if (curl_multi_add_handle(p->multi, f->easy) != CURLM_OK) finish(f, "the transfer could not be started");
	}
}

static void keep_body(struct fetch *f, const struct fetch_request *r)
{
	f->upload_body = malloc(r->body_len + 1);
	if (f->upload_body == NULL) abort();
	if (r->body_len > 0) memcpy(f->upload_body, r->body, r->body_len);
}

static void set_mail(struct fetch *f, const struct fetch_request *r)
{
	const struct fetch_mail *m = r->mail;
	keep_body(f, r);
	for (size_t i = 0; m->to[i]; i++) f->recipients = curl_slist_append(f->recipients, m->to[i]);
	curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(f->easy, CURLOPT_MAIL_FROM, m->from);
	curl_easy_setopt(f->easy, CURLOPT_MAIL_RCPT, f->recipients);
	curl_easy_setopt(f->easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(f->easy, CURLOPT_READFUNCTION, on_mail);
	curl_easy_setopt(f->easy, CURLOPT_READDATA, f);
	curl_easy_setopt(f->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_len);
	curl_easy_setopt(f->easy, CURLOPT_USE_SSL, (long)(m->is_tls_needed ? CURLUSESSL_ALL : CURLUSESSL_NONE));
	curl_easy_setopt(f->easy, CURLOPT_FORBID_REUSE, 1L);
	if (m->user == NULL) return;
	curl_easy_setopt(f->easy, CURLOPT_USERNAME, m->user);
	curl_easy_setopt(f->easy, CURLOPT_PASSWORD, m->password);
}

static void set_body(struct fetch *f, const struct fetch_request *r)
{
	const char *method = r->method ? r->method : "GET";
	if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(f->easy, CURLOPT_NOBODY, 1L);
	} else if (r->has_upload) {
		curl_easy_setopt(f->easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(f->easy, CURLOPT_READFUNCTION, on_upload);
		curl_easy_setopt(f->easy, CURLOPT_READDATA, f);
		curl_easy_setopt(f->easy, CURLOPT_SEEKFUNCTION, on_rewind);
		curl_easy_setopt(f->easy, CURLOPT_SEEKDATA, f);
		curl_easy_setopt(f->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->upload_bytes);
		curl_easy_setopt(f->easy, CURLOPT_UPLOAD_BUFFERSIZE, 65536L);
		curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method);
	} else if (r->body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0) {
		keep_body(f, r);
		curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
		curl_easy_setopt(f->easy, CURLOPT_POSTFIELDS, f->upload_body);
		curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method);
		/* Not libcurl's form type unless the caller says so. */
		f->headers = curl_slist_append(f->headers, "Content-Type:");
	} else if (strcmp(method, "GET") != 0) {
		curl_easy_setopt(f->easy, CURLOPT_CUSTOMREQUEST, method);
	}
}

static bool names_content_type(const struct fetch_request *r)
{
	for (const char *const *h = r->headers; h && *h; h++)
		if (strncasecmp(*h, "Content-Type:", 13) == 0) return true;
	return false;
}

static void set_limits(struct fetch *f, const struct fetch_request *r)
{
	unsigned stall_ms = r->stall_timeout_ms ? r->stall_timeout_ms : DEFAULT_STALL_MS;
	unsigned connect_ms = r->connect_timeout_ms ? r->connect_timeout_ms : DEFAULT_CONNECT_MS;
	char range[32];
	curl_easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
	curl_easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
	curl_easy_setopt(f->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(f->easy, CURLOPT_LOW_SPEED_TIME, (long)(stall_ms / 1000 + (stall_ms % 1000 != 0)));
	curl_easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(f->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(f->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	if (r->ca_file) curl_easy_setopt(f->easy, CURLOPT_CAINFO, r->ca_file);
	if (r->certificate_file) curl_easy_setopt(f->easy, CURLOPT_SSLCERT, r->certificate_file);
	if (r->key_file) curl_easy_setopt(f->easy, CURLOPT_SSLKEY, r->key_file);
	if (!r->has_range) return;
	snprintf(range, sizeof range, "%llu-", (unsigned long long)r->range_from);
	curl_easy_setopt(f->easy, CURLOPT_RANGE, range);
}

static void configure(struct fetch *f, const struct fetch_request *r)
{
	curl_easy_setopt(f->easy, CURLOPT_PRIVATE, f);
	curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->error);
	curl_easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(f->easy, CURLOPT_HEADERDATA, f);
	curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
	set_limits(f, r);
	if (r->may_call) {
		curl_easy_setopt(f->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
		curl_easy_setopt(f->easy, CURLOPT_OPENSOCKETDATA, f);
	}
	if (r->mail) set_mail(f, r);
	else set_body(f, r);
	if (f->headers && names_content_type(r)) {
		curl_slist_free_all(f->headers);
		f->headers = NULL;
	}
	for (const char *const *h = r->headers; h && *h; h++) f->headers = curl_slist_append(f->headers, *h);
	if (f->headers) curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
}

struct fetch *fetch_start(struct fetch_pool *p, const struct fetch_request *r)
{
	struct fetch *f = calloc(1, sizeof *f);
	if (f == NULL) abort();
	f->pool = p;
	f->request = *r;
	if (f->request.max_body_bytes == 0) f->request.max_body_bytes = DEFAULT_BODY;
	f->easy = p->spare_count > 0 ? p->spare[--p->spare_count] : curl_easy_init();
	if (f->easy == NULL) abort();
	configure(f, r);
	curl_easy_setopt(f->easy, CURLOPT_URL, r->url);
	p->count++;
	*p->last_starting = f;
	p->last_starting = &f->next;
	loop_timer_start(p->timer, 0, 0);
	return f;
}

void fetch_cancel(struct fetch *f)
{
	struct fetch_pool *p = f->pool;
	assert(!f->is_in_done);
	f->is_cancelled = true;
	p->has_cancelled = true;
	if (p->depth == 0) loop_timer_start(p->timer, 0, 0);
}

const char *fetch_header(const struct fetch *f, const char *name)
{
	struct curl_header *header;
	if (curl_easy_header(f->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) return NULL;
	return header->value;
}

struct fetch_pool *fetch_pool_new(struct loop *l, unsigned max_connections)
{
	static bool is_ready;
	struct fetch_pool *p = calloc(1, sizeof *p);
	if (p == NULL) abort();
	if (!is_ready && curl_global_init(CURL_GLOBAL_DEFAULT) != 0) abort();
	is_ready = true;
	long connections = (long)(max_connections ? max_connections : DEFAULT_CONNECTIONS);
	p->loop = l;
	p->multi = curl_multi_init();
	if (p->multi == NULL) abort();
	p->timer = loop_timer_new(l, on_timer, p);
	p->last_starting = &p->starting;
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
	curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, connections); /* kept for reuse */
	return p;
}

void fetch_pool_free(struct fetch_pool *p)
{
	if (p == NULL) return;
	assert(p->depth == 0);
	for (struct fetch *f = p->starting; f; f = f->next) f->is_cancelled = true;
	for (struct fetch *f = p->running; f; f = f->next) f->is_cancelled = true;
	p->has_cancelled = true;
	settle(p);
	while (p->spare_count > 0) curl_easy_cleanup(p->spare[--p->spare_count]);
	curl_multi_cleanup(p->multi);
	loop_timer_free(p->timer);
	p->is_closing = true;
	free_pool(p);
}

unsigned fetch_pool_running(const struct fetch_pool *p)
{
	return p->count;
}
