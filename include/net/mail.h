/* E-mail: a text of Unicode as a MIME message (RFC 5322, 2045, 2047), and its way to an SMTP server on the loop (net/fetch.h). Whatever a
 * header is made of, it stays one header: control characters do not get through. */
#ifndef AVIARY_NET_MAIL_H
#define AVIARY_NET_MAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/fetch.h"

struct mail {
	const char *from;       /* address, checked by mail_is_address */
	const char *const *to;  /* ends with NULL */
	const char *subject;    /* UTF-8 */
	const char *message_id; /* letters, digits, . and -: the same for the same message sent again; the domain is that of `from` */
	const char *text;       /* UTF-8, any line ends */
	int64_t at_ms;          /* wall clock: Date */
};

/* local@domain, ASCII without blanks, quotes, control characters or commas, at most 254 bytes. */
bool mail_is_address(const char *text);
/* The whole message, CRLF line ends, lines of at most 78 bytes. */
void mail_write(const struct mail *m, struct buf *out);

#endif
