/* Buffered input and output for one socket that a library reads and writes in small pieces.
 *
 * libmosquitto reads a message in four system calls and writes each acknowledgement of four bytes with one; that is
 * most of what a message costs. While the loop's thread is inside a call of that library (between sockbuf_enter and
 * sockbuf_leave), its read and write of the one descriptor are served from memory, by functions named read and write in
 * sockbuf.c that take the place of libc's: the program's own definitions come first in symbol search. For every other
 * descriptor, thread and time they are the bare system calls. Its one-byte writes to another descriptor, the pipe that
 * would wake up its own thread (which is not used), are dropped.
 *
 * It can be turned off for a client: mqtt_config.is_unbuffered.
 */
#ifndef AVIARY_NET_SOCKBUF_H
#define AVIARY_NET_SOCKBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockbuf;

struct sockbuf *sockbuf_new(void);
void sockbuf_free(struct sockbuf *b); /* NULL is allowed, here and everywhere: then nothing is buffered */
void sockbuf_reset(struct sockbuf *b, int fd); /* for a new socket, or -1; forgets what is buffered */
struct sockbuf *sockbuf_enter(struct sockbuf *b); /* makes it the thread's active one and returns the one before */
void sockbuf_leave(struct sockbuf *before);
/* The socket may have more: the next read asks it. Without this, a short read is taken for a drained socket. */
void sockbuf_look_again(struct sockbuf *b);
bool sockbuf_has_input(const struct sockbuf *b);
bool sockbuf_has_output(const struct sockbuf *b);
int sockbuf_flush(struct sockbuf *b); /* writes what the socket takes; 0 or errno */

#endif
