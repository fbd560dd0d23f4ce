/* What leaves for receivers of notifications: due deliveries, over HTTP and SMTP, each attempt bounded, none waited for. Joins service/notify.h
 * with net/fetch.h, and asks the addresses of [notify] allow before each connection. */
#ifndef AVIARY_API_NOTIFY_OUT_H
#define AVIARY_API_NOTIFY_OUT_H

#include <stdbool.h>

#include "service/call.h"

struct notify_out;
struct loop;

struct notify_out *notify_out_open(struct services *s, struct loop *loop);
void notify_out_close(struct notify_out *o); /* what is under way is cut and stays due; NULL is allowed */
/* Sends what is due, then lets time pass for groups (notify_tick). From a timer, where nothing waits for a commit. *more: call again soon. */
AVIARY_MUST_CHECK enum err notify_out_step(struct notify_out *o, struct call *c, bool *more);

#endif
