/* What is fetched from upstreams: documents and contents over HTTPS with redirects looked at one by one, or from directories. Joins
 * service/upstreams.h with net/fetch.h and the catalog's uploads. */
#ifndef AVIARY_API_UPSTREAM_IN_H
#define AVIARY_API_UPSTREAM_IN_H

#include <stdbool.h>

#include "service/call.h"

struct upstream_in;
struct jobs;
struct loop;

struct upstream_in *upstream_in_open(struct services *s, struct loop *loop, struct jobs *jobs);
/* What is under way is cut and goes on after the next start; before the loop's last tick, as a cut upload notes by a job how far it came. */
void upstream_in_stop(struct upstream_in *x);
void upstream_in_close(struct upstream_in *x); /* NULL is allowed */
/* From a timer. *more: call again soon. */
AVIARY_MUST_CHECK enum err upstream_in_step(struct upstream_in *x, struct call *c, bool *more);

#endif
