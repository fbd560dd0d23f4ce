/* The head of a request: target, query, header fields. */
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "http_private.h"

struct http_request *http_request_new(struct http_listener *listener)
{
	struct http_server *s = listener->server;
	struct http_request *req = s->spare;
	struct arena *arena;
	if (req) {
		s->spare = req->next;
		s->spare_count--;
		arena = req->arena;
	} else {
		req = malloc(sizeof *req);
		if (req == NULL) abort();
		arena = arena_new(s->config.arena_bytes);
	}
	*req = (struct http_request){.server = s, .listener = listener, .arena = arena, .file_fd = -1, .path = "",
	                             .query_text = "", .method = ""};
	req->next = s->live;
	if (s->live) s->live->prev = req;
	s->live = req;
	return req;
}

void http_request_free(struct http_request *req)
{
	struct http_server *s = req->server;
	if (req->prev) req->prev->next = req->next;
	else s->live = req->next;
	if (req->next) req->next->prev = req->prev;
	s->stats.buffered_bytes -= req->body.cap;
	buf_done(&req->body);
	http_drop_reply(req);
	if (s->spare_count >= SPARE_REQUESTS || s->is_closing) {
		arena_free(req->arena);
		free(req);
		return;
	}
	arena_reset(req->arena);
	req->next = s->spare;
	s->spare = req;
	s->spare_count++;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

/* Decoded text in the arena, or NULL: bad escape, NUL, no UTF-8, or (in a path) a slash that was hidden in an
 * escape. */
static const char *percent_decode(struct http_request *req, const char *in, size_t len, bool is_path)
{
	char *out = arena_alloc(req->arena, len + 1);
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		char c = in[i];
		if (c == '+' && !is_path) c = ' ';
		if (c == '%') {
			int high = i + 2 < len ? hex_value(in[i + 1]) : -1, low = i + 2 < len ? hex_value(in[i + 2]) : -1;
			if (high < 0 || low < 0) return NULL;
			c = (char)(high << 4 | low);
			i += 2;
			if (c == '\0' || (is_path && c == '/')) return NULL;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return str_is_utf8(out, n) ? out : NULL;
}

static bool parse_query(struct http_request *req)
{
	const char *at = req->query_text;
	size_t count = *at ? 1 : 0;
	for (const char *c = at; *c; c++) count += *c == '&';
	if (count > MAX_QUERY) return false;
	req->query = arena_array(req->arena, count, sizeof *req->query);
	while (*at) {
		size_t len = strcspn(at, "&"), name_len = strcspn(at, "=&");
		struct parameter *p = &req->query[req->query_count];
		p->name = percent_decode(req, at, name_len, false);
		p->value = name_len < len ? percent_decode(req, at + name_len + 1, len - name_len - 1, false) : "";
		if (p->name == NULL || p->value == NULL) return false;
		if (len > 0) req->query_count++;
		at += len + (at[len] == '&');
	}
	return true;
}

static bool parse_target(struct http_request *req)
{
	const char *question = strchr(req->target, '?');
	size_t path_len = question ? (size_t)(question - req->target) : strlen(req->target);
	if (req->target[0] != '/' && strcmp(req->target, "*") != 0) return false;
	req->path = percent_decode(req, req->target, path_len, true);
	req->query_text = question ? question + 1 : "";
	return req->path != NULL && parse_query(req);
}

static bool parse_length(struct http_request *req)
{
	const char *text = http_header(req, MHD_HTTP_HEADER_CONTENT_LENGTH);
	req->content_length = http_header(req, MHD_HTTP_HEADER_TRANSFER_ENCODING) ? -1 : 0;
	if (req->content_length < 0 || text == NULL) return true;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(req->content_length, 10, &req->content_length) ||
		    __builtin_add_overflow(req->content_length, *text - '0', &req->content_length))
			return false;
	return *text == '\0';
}

/* Written where it is asked for first. */
static void format_remote(struct http_request *req)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (info == NULL || info->client_addr == NULL) return;
	const struct sockaddr *address = info->client_addr;
	if (address->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, req->remote,
		          sizeof req->remote);
	else if (address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, req->remote,
		          sizeof req->remote);
}

int http_parse_head(struct http_request *req)
{
	const struct http_config *limits = &req->server->config;
	const union MHD_ConnectionInfo *size =
	    MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	req->started_ns = clock_mono_ns();
	bool is_length_good = parse_length(req);
	if (req->is_target_too_long) return 414;
	if (size && size->header_size > limits->max_header_bytes + limits->max_target_bytes) return 431;
	return is_length_good && parse_target(req) ? 0 : 400;
}

void *http_server_ctx(const struct http_request *req)
{
	return req->server->ctx;
}

const char *http_method(const struct http_request *req)
{
	return req->method;
}

const char *http_path(const struct http_request *req)
{
	return req->path ? req->path : "";
}

const char *http_query_text(const struct http_request *req)
{
	return req->query_text;
}

const char *http_query(const struct http_request *req, const char *name)
{
	for (size_t i = 0; i < req->query_count; i++)
		if (strcmp(req->query[i].name, name) == 0) return req->query[i].value;
	return NULL;
}

bool http_query_at(const struct http_request *req, size_t index, const char **name, const char **value)
{
	if (index >= req->query_count) return false;
	*name = req->query[index].name;
	*value = req->query[index].value;
	return true;
}

const char *http_header(const struct http_request *req, const char *name)
{
	return MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, name);
}

int64_t http_content_length(const struct http_request *req)
{
	return req->content_length;
}

const char *http_remote(const struct http_request *req)
{
	if (req->remote[0] == '\0') format_remote((struct http_request *)(uintptr_t)req); /* most are never asked */
	return req->remote;
}

bool http_is_tls(const struct http_request *req)
{
	return req->listener->is_tls;
}

bool http_is_hung_up(const struct http_request *req)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct pollfd p = {.fd = info != NULL ? info->connect_fd : -1, .events = POLLRDHUP};
	return poll(&p, 1, 0) > 0 && p.revents != 0;
}

struct arena *http_arena(struct http_request *req)
{
	return req->arena;
}

uint64_t http_started_ns(const struct http_request *req)
{
	return req->started_ns;
}

int http_status(const struct http_request *req)
{
	return req->status;
}

uint64_t http_reply_bytes(const struct http_request *req)
{
	return req->reply_len;
}

void http_set_user(struct http_request *req, void *user)
{
	req->user = user;
}

void *http_user(const struct http_request *req)
{
	return req->user;
}

void http_take_body(struct http_request *req, size_t max_bytes)
{
	req->body_mode = BODY_BUFFERED;
	req->body_max = max_bytes;
}

void http_stream_body(struct http_request *req, uint64_t max_bytes)
{
	assert(req->server->handler.chunk != NULL);
	req->body_mode = BODY_STREAMED;
	req->body_max = max_bytes;
}

const char *http_body(const struct http_request *req, size_t *len)
{
	if (len) *len = req->body.len;
	return buf_cstr(&req->body);
}
