/* Replies: bytes, static data, files with ranges; holding and releasing them. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_private.h"

void http_set_header(struct http_request *req, const char *name, const char *value)
{
	assert(strpbrk(name, "\r\n:") == NULL && strpbrk(value, "\r\n") == NULL);
	struct header *header = arena_alloc(req->arena, sizeof *header), **last = &req->headers;
	header->name = arena_strdup(req->arena, name);
	header->value = arena_strdup(req->arena, value);
	while (*last) last = &(*last)->next;
	*last = header;
}

/* Every reply passes here once: the default header fields are added and what it is made of is fixed. */
static void decide(struct http_request *req, enum reply_kind kind, int status, const char *content_type)
{
	assert(req->reply == REPLY_NONE && !req->is_aborted);
	req->reply = kind;
	req->status = status;
	if (!req->is_completed) { /* what still comes of the body is dropped */
		req->is_discarding = true;
		req->is_paused = false;
	}
	req->content_type = content_type ? arena_strdup(req->arena, content_type) : NULL;
	if (req->server->handler.prepare) req->server->handler.prepare(req, status);
	if (req->server->is_quiet) http_set_header(req, MHD_HTTP_HEADER_CONNECTION, "close");
}

/* Outside of a callback the connection is suspended and must be woken. */
static void leave(struct http_request *req)
{
	if (!req->is_in_callback) http_resume(req);
}

static void hold(struct http_request *req)
{
	struct http_server *s = req->server;
	if (req->is_held) return; /* given anew */
	req->is_held = true;
	req->held_prev = NULL;
	req->held_next = s->held;
	if (s->held) s->held->held_prev = req;
	s->held = req;
	s->stats.held++;
	loop_request_tick(s->loop);
}

void http_unhold(struct http_request *req)
{
	struct http_server *s = req->server;
	if (!req->is_held) return;
	req->is_held = false;
	if (req->held_prev) req->held_prev->held_next = req->held_next;
	else s->held = req->held_next;
	if (req->held_next) req->held_next->held_prev = req->held_prev;
	s->stats.held--;
}

static void take_bytes(struct http_request *req, struct buf *body)
{
	if (body == NULL) return;
	req->reply_len = body->len;
	req->reply_body = *body;
	*body = (struct buf)BUF_INIT;
}

void http_drop_reply(struct http_request *req)
{
	buf_done(&req->reply_body);
	if (req->file_fd >= 0) close(req->file_fd);
	req->file_fd = -1;
	req->headers = NULL;
}

void http_reply(struct http_request *req, int status, const char *content_type, struct buf *body)
{
	bool is_early = !req->is_completed; /* in begin or chunk: it has changed nothing */
	decide(req, REPLY_BYTES, status, content_type);
	take_bytes(req, body);
	if (!is_early) hold(req);
	else leave(req);
}

void http_reply_now(struct http_request *req, int status, const char *content_type, struct buf *body)
{
	decide(req, REPLY_BYTES, status, content_type);
	take_bytes(req, body);
	leave(req);
}

void http_reply_static(struct http_request *req, int status, const char *content_type, const void *data, size_t len)
{
	decide(req, REPLY_STATIC, status, content_type);
	req->static_data = data;
	req->reply_len = len;
	leave(req);
}

void http_refuse(struct http_request *req, int status, const char *text)
{
	req->server->stats.refused++;
	req->reply = REPLY_STATIC;
	req->status = status;
	req->content_type = "text/plain; charset=utf-8";
	if (req->server->handler.refusal) text = req->server->handler.refusal(status, &req->content_type);
	req->static_data = text;
	req->reply_len = strlen(text);
	req->is_discarding = true;
	if (req->server->handler.prepare) req->server->handler.prepare(req, status);
}

/* ---- files ---- */

/* A list of entity tags, or "*"; weak comparison (RFC 9110 section 8.8.3.2) ignores the W/ of the client's. */
static bool names_etag(const char *list, const char *etag, bool weak)
{
	size_t etag_len = strlen(etag);
	while (*list) {
		list += strspn(list, " \t,");
		bool is_weak = strncmp(list, "W/", 2) == 0;
		if (is_weak) list += 2;
		if (*list == '*') return true;
		if (*list != '"') return false;
		size_t len = strcspn(list + 1, "\"");
		if (list[1 + len] != '"') return false;
		if (len == etag_len && memcmp(list + 1, etag, len) == 0 && (weak || !is_weak)) return true;
		list += len + 2;
	}
	return false;
}

static bool take_digits(const char **s, uint64_t *value)
{
	const char *start = *s;
	*value = 0;
	for (; **s >= '0' && **s <= '9'; (*s)++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(**s - '0'), value))
			*value = UINT64_MAX / 16;
	return *s > start;
}

enum range { RANGE_NONE, RANGE_PART, RANGE_BAD };

/* One range of bytes (RFC 9110 section 14.1.2); what is malformed or several is ignored, as the RFC has it. */
static enum range parse_range(const char *text, uint64_t size, uint64_t *first, uint64_t *len)
{
	uint64_t last;
	if (text == NULL || strncmp(text, "bytes=", 6) != 0) return RANGE_NONE;
	text += 6;
	if (*text == '-') {
		text++;
		if (!take_digits(&text, len) || *text) return RANGE_NONE;
		if (*len == 0 || size == 0) return RANGE_BAD;
		if (*len > size) *len = size;
		*first = size - *len;
		return RANGE_PART;
	}
	if (!take_digits(&text, first) || *text++ != '-') return RANGE_NONE;
	if (!take_digits(&text, &last)) last = UINT64_MAX;
	if (*text || last < *first) return RANGE_NONE;
	if (*first >= size) return RANGE_BAD;
	if (last >= size) last = size - 1;
	*len = last - *first + 1;
	return RANGE_PART;
}

static bool is_range_wanted(struct http_request *req, const char *etag)
{
	const char *condition = http_header(req, MHD_HTTP_HEADER_IF_RANGE);
	if (strcmp(req->method, "GET") != 0 && strcmp(req->method, "HEAD") != 0) return false;
	return condition == NULL || (etag != NULL && condition[0] == '"' && names_etag(condition, etag, false));
}

/* Nothing of the file is sent. */
static void reply_without_file(struct http_request *req, int fd, int status)
{
	close(fd);
	decide(req, REPLY_STATIC, status, NULL);
	req->static_data = "";
	leave(req);
}

void http_reply_file(struct http_request *req, int fd, uint64_t size_bytes, const char *etag, const char *content_type)
{
	char text[128];
	uint64_t first = 0, len = size_bytes;
	const char *known = http_header(req, MHD_HTTP_HEADER_IF_NONE_MATCH);
	if (etag) {
		snprintf(text, sizeof text, "\"%s\"", etag);
		http_set_header(req, MHD_HTTP_HEADER_ETAG, text);
	}
	if (etag && known && names_etag(known, etag, true)) {
		reply_without_file(req, fd, 304);
		return;
	}
	const char *wanted = is_range_wanted(req, etag) ? http_header(req, MHD_HTTP_HEADER_RANGE) : NULL;
	enum range range = parse_range(wanted, size_bytes, &first, &len);
	http_set_header(req, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
	if (range == RANGE_BAD) {
		snprintf(text, sizeof text, "bytes */%" PRIu64, size_bytes);
		http_set_header(req, MHD_HTTP_HEADER_CONTENT_RANGE, text);
		reply_without_file(req, fd, 416);
		return;
	}
	if (range == RANGE_PART) {
		snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, first + len - 1, size_bytes);
		http_set_header(req, MHD_HTTP_HEADER_CONTENT_RANGE, text);
	} else {
		first = 0;
		len = size_bytes;
	}
	decide(req, len > 0 ? REPLY_FILE : REPLY_STATIC, range == RANGE_PART ? 206 : 200, content_type);
	req->file_fd = fd;
	req->file_offset = first;
	req->reply_len = len;
	req->static_data = "";
	leave(req);
}

/* A file over TLS cannot be sent by the kernel: blocks of it are read and encrypted. */
struct file_reader {
	struct http_server *server;
	int fd;
	uint64_t offset;
};

static ssize_t read_file_block(void *ctx, uint64_t at, char *out, size_t max)
{
	struct file_reader *reader = ctx;
	reader->server->progress++;
	ssize_t n = pread(reader->fd, out, max, (off_t)(reader->offset + at));
	return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_file_reader(void *ctx)
{
	struct file_reader *reader = ctx;
	close(reader->fd);
	free(reader);
}

static struct MHD_Response *build_file(struct http_request *req)
{
	int fd = req->file_fd;
	struct MHD_Response *response;
	req->file_fd = -1;
	if (!req->listener->is_tls) return MHD_create_response_from_fd_at_offset64(req->reply_len, fd, req->file_offset);
	struct file_reader *reader = malloc(sizeof *reader);
	if (reader == NULL) abort();
	*reader = (struct file_reader){req->server, fd, req->file_offset};
	response = MHD_create_response_from_callback(req->reply_len, FILE_BLOCK, read_file_block, reader, free_file_reader);
	return response;
}

/* ---- into libmicrohttpd's form ---- */

static struct MHD_Response *build_bytes(struct http_request *req)
{
	size_t len = req->reply_body.len;
	if (len == 0) return MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
	return MHD_create_response_from_buffer(len, buf_take(&req->reply_body), MHD_RESPMEM_MUST_FREE);
}

struct MHD_Response *http_build_response(struct http_request *req)
{
	struct MHD_Response *response = NULL;
	switch (req->reply) {
	case REPLY_BYTES: response = build_bytes(req); break;
	case REPLY_STATIC:
		response = MHD_create_response_from_buffer(req->reply_len, (void *)(uintptr_t)req->static_data,
		                                           MHD_RESPMEM_PERSISTENT);
		break;
	case REPLY_FILE: response = build_file(req); break;
	case REPLY_STREAM:
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, http_stream_read, req->stream, NULL);
		break;
	case REPLY_NONE: break;
	}
	if (response == NULL) abort();
	if (req->content_type) MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, req->content_type);
	for (const struct header *h = req->headers; h; h = h->next) MHD_add_response_header(response, h->name, h->value);
	return response;
}

/* ---- the tick's side ---- */

static void run_all(struct http_server *s)
{
	for (size_t i = 0; i < s->listener_count; i++) http_run(&s->listeners[i]);
}

void http_release_held(struct http_server *s)
{
	if (s->held == NULL) return;
	while (s->held) {
		struct http_request *req = s->held;
		http_unhold(req);
		http_resume(req);
	}
	run_all(s);
}

/* True: there is a reply that may leave. */
static bool fail_one(struct http_request *req, int status, const char *content_type, const char *body)
{
	struct http_server *s = req->server;
	struct buf text = BUF_INIT;
	http_drop_reply(req);
	req->reply = REPLY_NONE;
	req->status = 0;
	req->is_in_callback = true;
	bool is_taken = s->handler.again && s->handler.again(req);
	req->is_in_callback = false;
	if (is_taken) return req->reply != REPLY_NONE;
	buf_str(&text, body);
	decide(req, REPLY_BYTES, status, content_type);
	take_bytes(req, &text);
	return true;
}

void http_fail_held(struct http_server *s, int status, const char *content_type, const char *body)
{
	for (struct http_request *req = s->held, *next; req; req = next) {
		next = req->held_next;
		if (!fail_one(req, status, content_type, body)) http_unhold(req); /* until a job is done */
	}
	http_release_held(s);
}
