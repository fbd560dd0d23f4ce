/* All routes of the daemon, and the way from a path to one of them. routes.c lists the resources' tables and nothing
 * else. */
#ifndef AVIARY_API_ROUTES_H
#define AVIARY_API_ROUTES_H

#include <stddef.h>

#include "api/route.h"

/* Ends with NULL; each table ends with a row without method. */
extern const struct route *const route_tables[];

struct router;

/* Compiles tables into a tree of path segments. Two rows with the same method and path are an assertion. */
struct router *router_new(const struct route *const *tables);
void router_free(struct router *r); /* NULL is allowed */

struct route_match {
	const struct route *route; /* NULL: no such path, or (allowed not empty) not with this method */
	const char *param[ROUTE_MAX_PARAMS]; /* in the arena */
	const char *allowed;       /* "GET, POST" when the path exists; else NULL */
};
/* `path` is decoded. A literal segment wins over a parameter; HEAD finds GET where it has no row of its own. */
struct route_match router_match(const struct router *r, const char *method, const char *path, struct arena *a);

#endif
