/* Endless replies with a bounded queue for each client. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http_private.h"

struct http_stream *http_reply_stream(struct http_request *req, const char *content_type, size_t max_queued_bytes,
                                      void (*on_close)(void *ctx), void *ctx)
{
	struct http_stream *stream = calloc(1, sizeof *stream);
	if (stream == NULL) abort();
	assert(req->reply == REPLY_NONE && !req->is_aborted);
	*stream = (struct http_stream){.req = req, .max_queued_bytes = max_queued_bytes, .on_close = on_close, .ctx = ctx};
	req->stream = stream;
	req->reply = REPLY_STREAM;
	req->status = 200;
	req->content_type = content_type ? arena_strdup(req->arena, content_type) : NULL;
	if (req->server->handler.prepare) req->server->handler.prepare(req, 200);
	req->server->stats.streams++;
	if (!req->is_in_callback) http_resume(req);
	return stream;
}

/* Called by libmicrohttpd when the socket can take more. */
ssize_t http_stream_read(void *ctx, uint64_t at, char *out, size_t max)
{
	struct http_stream *stream = ctx;
	(void)at;
	stream->req->server->progress++;
	size_t left = stream->queue.len - stream->sent;
	if (stream->is_dropped) return MHD_CONTENT_READER_END_WITH_ERROR;
	if (left == 0) {
		if (stream->is_closing) return MHD_CONTENT_READER_END_OF_STREAM;
		http_suspend(stream->req);
		return 0;
	}
	size_t n = left < max ? left : max;
	memcpy(out, stream->queue.data + stream->sent, n);
	stream->sent += n;
	stream->req->reply_len += n;
	if (n == left) {
		buf_done(&stream->queue); /* an idle client holds no memory */
		stream->sent = 0;
	}
	return (ssize_t)n;
}

/* A client that does not read keeps its connection blocked in a write, where our reader is not asked: its socket is
 * shut down. */
static void drop(struct http_stream *stream)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(stream->req->connection,
	                                                               MHD_CONNECTION_INFO_CONNECTION_FD);
	stream->is_dropped = true;
	stream->req->server->stats.streams_dropped++;
	if (info) shutdown(info->connect_fd, SHUT_RDWR);
	http_resume(stream->req);
}

bool http_stream_send(struct http_stream *stream, const void *data, size_t len)
{
	if (stream->is_dropped || stream->is_closing) return false;
	if (stream->queue.len - stream->sent + len > stream->max_queued_bytes) {
		drop(stream);
		return false;
	}
	if (stream->sent > stream->queue.len / 2) { /* what is left moves to the front */
		memmove(stream->queue.data, stream->queue.data + stream->sent, stream->queue.len - stream->sent);
		stream->queue.len -= stream->sent;
		stream->sent = 0;
	}
	buf_append(&stream->queue, data, len);
	http_resume(stream->req);
	return true;
}

void http_stream_close(struct http_stream *stream)
{
	stream->is_closing = true;
	http_resume(stream->req);
}

void http_stream_gone(struct http_request *req)
{
	struct http_stream *stream = req->stream;
	req->stream = NULL;
	req->server->stats.streams--;
	if (stream->on_close) stream->on_close(stream->ctx);
	buf_done(&stream->queue);
	free(stream);
}
