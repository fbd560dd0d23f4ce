/* Replies: bytes, static data, files with ranges; holding and releasing them. */
#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http_private.h"

#define BOUNDARY "THIS_STRING_SEPARATES" /* never looked for in the bytes: parts have lengths */
#define LAST_BOUNDARY "\r\n--" BOUNDARY "--\r\n"

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
struct span {
	uint64_t first, len;
};

/* One of a list of ranges (RFC 9110 section 14.1.2): "a-b", "a-", "-n". *text behind it. */
static enum range take_range(const char **text, uint64_t size, struct span *out)
{
	uint64_t last;
	if (**text == '-') {
		(*text)++;
		if (!take_digits(text, &out->len)) return RANGE_NONE;
		if (out->len == 0 || size == 0) return RANGE_BAD;
		if (out->len > size) out->len = size;
		out->first = size - out->len;
		return RANGE_PART;
	}
	if (!take_digits(text, &out->first) || *(*text)++ != '-') return RANGE_NONE;
	if (!take_digits(text, &last)) last = UINT64_MAX;
	if (last < out->first) return RANGE_NONE;
	if (out->first >= size) return RANGE_BAD;
	if (last >= size) last = size - 1;
	out->len = last - out->first + 1;
	return RANGE_PART;
}

/* What is malformed is ignored, as the RFC has it, and so are several where only one is answered, or more than PARTS_MAX. RANGE_BAD: none of
 * them is in the file. */
static enum range parse_ranges(const char *text, uint64_t size, bool has_many, struct span spans[PARTS_MAX], size_t *count)
{
	*count = 0;
	size_t asked = 0;
	if (text == NULL || strncmp(text, "bytes=", 6) != 0) return RANGE_NONE;
	for (text += 6; *text; asked++) {
		struct span one;
		text += strspn(text, " \t");
		enum range range = take_range(&text, size, &one);
		text += strspn(text, " \t");
		if (range == RANGE_NONE || (*text && *text != ',') || asked >= (has_many ? PARTS_MAX : 1)) return RANGE_NONE;
		if (range == RANGE_PART) spans[(*count)++] = one;
		if (*text == ',') text++;
	}
	return asked == 0 ? RANGE_NONE : *count > 0 ? RANGE_PART : RANGE_BAD;
}

static const char *http_date(struct http_request *req, int64_t at_s)
{
	char text[40];
	struct tm tm;
	time_t at = (time_t)at_s;
	gmtime_r(&at, &tm);
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * (ptrdiff_t)tm.tm_wday, tm.tm_mday,
	         months + 3 * (ptrdiff_t)tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	return arena_strdup(req->arena, text);
}

static bool is_range_wanted(struct http_request *req, const struct http_file *how)
{
	const char *condition = http_header(req, MHD_HTTP_HEADER_IF_RANGE);
	if (strcmp(req->method, "GET") != 0 && strcmp(req->method, "HEAD") != 0) return false;
	if (condition == NULL) return true;
	if (condition[0] == '"') return how->etag != NULL && names_etag(condition, how->etag, false);
	return how->modified_s > 0 && strcmp(condition, http_date(req, how->modified_s)) == 0;
}

/* Nothing of the file is sent. */
static void reply_without_file(struct http_request *req, int fd, int status)
{
	close(fd);
	decide(req, REPLY_STATIC, status, NULL);
	req->static_data = "";
	leave(req);
}

/* Each part with a head of its own, and an end. */
static void reply_parts(struct http_request *req, int fd, uint64_t size, const char *content_type, const struct span *spans, size_t count)
{
	struct http_parts *parts = arena_alloc(req->arena, sizeof *parts);
	parts->count = count;
	req->reply_len = 0;
	for (size_t i = 0; i < count; i++) {
		struct http_part *p = &parts->items[i];
		p->head = arena_printf(req->arena, "%s--" BOUNDARY "\r\nContent-Type: %s\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64
		                       "\r\n\r\n", i > 0 ? "\r\n" : "", content_type, spans[i].first, spans[i].first + spans[i].len - 1, size);
		p->head_len = strlen(p->head);
		p->first = spans[i].first;
		p->len = spans[i].len;
		req->reply_len += p->head_len + p->len;
	}
	req->reply_len += sizeof LAST_BOUNDARY - 1;
	decide(req, REPLY_PARTS, 206, "multipart/byteranges; boundary=" BOUNDARY);
	req->file_fd = fd;
	req->parts = parts;
	leave(req);
}

void http_reply_file(struct http_request *req, int fd, uint64_t size_bytes, const char *etag, const char *content_type)
{
	const struct http_file how = {.etag = etag, .content_type = content_type};
	http_reply_file_as(req, fd, size_bytes, &how);
}

void http_reply_file_as(struct http_request *req, int fd, uint64_t size_bytes, const struct http_file *how)
{
	char text[128];
	struct span spans[PARTS_MAX] = {{0, size_bytes}};
	size_t count;
	const char *known = http_header(req, MHD_HTTP_HEADER_IF_NONE_MATCH);
	if (how->etag) {
		snprintf(text, sizeof text, "\"%s\"", how->etag);
		http_set_header(req, MHD_HTTP_HEADER_ETAG, text);
	}
	if (how->modified_s > 0) http_set_header(req, MHD_HTTP_HEADER_LAST_MODIFIED, http_date(req, how->modified_s));
	if (how->etag && known && names_etag(known, how->etag, true)) {
		reply_without_file(req, fd, 304);
		return;
	}
	const char *wanted = is_range_wanted(req, how) ? http_header(req, MHD_HTTP_HEADER_RANGE) : NULL;
	enum range range = parse_ranges(wanted, size_bytes, how->has_many, spans, &count);
	http_set_header(req, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
	if (range == RANGE_BAD) {
		snprintf(text, sizeof text, "bytes */%" PRIu64, size_bytes);
		http_set_header(req, MHD_HTTP_HEADER_CONTENT_RANGE, text);
		reply_without_file(req, fd, 416);
		return;
	}
	if (range == RANGE_PART && count > 1) {
		reply_parts(req, fd, size_bytes, how->content_type, spans, count);
		return;
	}
	if (range == RANGE_PART) {
		snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, spans[0].first, spans[0].first + spans[0].len - 1, size_bytes);
		http_set_header(req, MHD_HTTP_HEADER_CONTENT_RANGE, text);
	} else {
		spans[0] = (struct span){0, size_bytes};
	}
	decide(req, spans[0].len > 0 ? REPLY_FILE : REPLY_STATIC, range == RANGE_PART ? 206 : 200, how->content_type);
	req->file_fd = fd;
	req->file_offset = spans[0].first;
	req->reply_len = spans[0].len;
	req->static_data = "";
	leave(req);
}

/* Several parts: heads from memory, the rest from the file. The request outlives its response. */
static ssize_t read_parts(void *ctx, uint64_t at, char *out, size_t max)
{
	struct http_request *req = ctx;
	req->server->progress++;
	for (size_t i = 0; i < req->parts->count; i++) {
		const struct http_part *p = &req->parts->items[i];
		if (at < p->head_len) {
			size_t n = p->head_len - (size_t)at < max ? p->head_len - (size_t)at : max;
			memcpy(out, p->head + at, n);
			return (ssize_t)n;
		}
		at -= p->head_len;
		if (at < p->len) {
			size_t n = p->len - at < max ? (size_t)(p->len - at) : max;
			ssize_t got = pread(req->file_fd, out, n, (off_t)(p->first + at));
			return got > 0 ? got : MHD_CONTENT_READER_END_WITH_ERROR;
		}
		at -= p->len;
	}
	size_t left = sizeof LAST_BOUNDARY - 1;
	if (at >= left) return MHD_CONTENT_READER_END_OF_STREAM;
	size_t n = left - (size_t)at < max ? left - (size_t)at : max;
	memcpy(out, LAST_BOUNDARY + at, n);
	return (ssize_t)n;
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
	case REPLY_PARTS:
		response = MHD_create_response_from_callback(req->reply_len, FILE_BLOCK, read_parts, req, NULL);
		break;
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
