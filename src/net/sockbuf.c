#include "sockbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { IN_BYTES = 65536, OUT_BYTES = 16384 };

struct sockbuf {
	int fd;
	bool is_drained;
	size_t in_at, in_len, out_len;
	unsigned char in[IN_BYTES], out[OUT_BYTES];
};

static _Thread_local struct sockbuf *active;

struct sockbuf *sockbuf_new(void)
{
	struct sockbuf *b = malloc(sizeof *b);
	if (b == NULL) abort();
	sockbuf_reset(b, -1);
	return b;
}

void sockbuf_free(struct sockbuf *b)
{
	free(b);
}

void sockbuf_reset(struct sockbuf *b, int fd)
{
	if (b == NULL) return;
	b->fd = fd;
	b->is_drained = false;
	b->in_at = b->in_len = b->out_len = 0;
}

struct sockbuf *sockbuf_enter(struct sockbuf *b)
{
	struct sockbuf *before = active;
	active = b;
	return before;
}

void sockbuf_leave(struct sockbuf *before)
{
	active = before;
}

void sockbuf_look_again(struct sockbuf *b)
{
	if (b) b->is_drained = false;
}

bool sockbuf_has_input(const struct sockbuf *b)
{
	return b && b->in_at < b->in_len;
}

bool sockbuf_has_output(const struct sockbuf *b)
{
	return b && b->out_len > 0;
}

int sockbuf_flush(struct sockbuf *b)
{
	size_t done = 0;
	int error = 0;
	if (b == NULL) return 0;
	while (done < b->out_len && error == 0) {
		ssize_t n = send(b->fd, b->out + done, b->out_len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) done += (size_t)n;
		else if (errno != EINTR) error = errno;
	}
	b->out_len -= done;
	if (b->out_len > 0) memmove(b->out, b->out + done, b->out_len);
	return error == EAGAIN ? 0 : error;
}

static ssize_t buffered_read(struct sockbuf *b, void *out, size_t size)
{
	if (b->in_at == b->in_len) {
		if (b->is_drained) {
			errno = EAGAIN;
			return -1;
		}
		ssize_t n = recv(b->fd, b->in, sizeof b->in, MSG_DONTWAIT);
		if (n <= 0) return n;
		b->in_at = 0;
		b->in_len = (size_t)n;
		b->is_drained = b->in_len < sizeof b->in;
	}
	size_t n = b->in_len - b->in_at < size ? b->in_len - b->in_at : size;
	memcpy(out, b->in + b->in_at, n);
	b->in_at += n;
	return (ssize_t)n;
}

/* Takes what fits; the caller comes again with the rest, as for a socket that is full. */
static ssize_t buffered_write(struct sockbuf *b, const void *data, size_t size)
{
	if (size > sizeof b->out - b->out_len) {
		int error = sockbuf_flush(b);
		if (error == 0 && b->out_len == sizeof b->out) error = EAGAIN;
		if (error != 0) {
			errno = error;
			return -1;
		}
	}
	size_t room = sizeof b->out - b->out_len, n = size < room ? size : room;
	memcpy(b->out + b->out_len, data, n);
	b->out_len += n;
	return (ssize_t)n;
}

/* In the place of libc's. */
ssize_t read(int fd, void *out, size_t size)
{
	struct sockbuf *b = active;
	if (b && b->fd == fd) return buffered_read(b, out, size);
	return syscall(SYS_read, fd, out, size);
}

ssize_t write(int fd, const void *data, size_t size)
{
	struct sockbuf *b = active;
	if (b && b->fd == fd) return buffered_write(b, data, size);
	if (b && size == 1) return 1; /* the wake-up pipe */
	return syscall(SYS_write, fd, data, size);
}
