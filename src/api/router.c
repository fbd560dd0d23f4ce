#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/routes.h"

#define METHODS_MAX 8 /* of one path */

/* A node is a path up to one segment. Children are literals in the order of their text, and at most one parameter. */
struct node {
	const char *segment; /* slice of a row's path */
	size_t len;
	struct node **children;
	size_t count;
	struct node *parameter;
	const struct route *routes[METHODS_MAX];
	size_t route_count;
};

struct router {
	struct node root;
};

static int compare_segment(const struct node *n, const char *segment, size_t len)
{
	int c = memcmp(n->segment, segment, n->len < len ? n->len : len);
	return c != 0 ? c : (n->len > len) - (n->len < len);
}

/* Where the literal stands among the children, or would. */
static size_t find_literal(const struct node *n, const char *segment, size_t len, bool *found)
{
	size_t low = 0, high = n->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int c = compare_segment(n->children[middle], segment, len);
		if (c == 0) {
			*found = true;
			return middle;
		}
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = false;
	return low;
}

static struct node *node_new(const char *segment, size_t len)
{
	struct node *n = calloc(1, sizeof *n);
	if (n == NULL)
		abort();
	n->segment = segment;
	n->len = len;
	return n;
}

static struct node *child_for(struct node *n, const char *segment, size_t len)
{
	if (segment[0] == '{') {
		if (n->parameter == NULL)
			n->parameter = node_new(segment, len);
		return n->parameter;
	}
	bool found;
	size_t at = find_literal(n, segment, len, &found);
	if (!found) {
		n->children = reallocarray(n->children, n->count + 1, sizeof(struct node *));
		if (n->children == NULL)
			abort();
		memmove(&n->children[at + 1], &n->children[at], (n->count - at) * sizeof(struct node *));
		n->children[at] = node_new(segment, len);
		n->count++;
	}
	return n->children[at];
}

/* The next segment of a path from *at (which stands at a '/'); false at the end. */
static bool next_segment(const char **at, const char **segment, size_t *len)
{
	if (**at != '/')
		return false;
	*segment = *at + 1;
	*len = strcspn(*segment, "/");
	*at = *segment + *len;
	return true;
}

static void add_route(struct node *root, const struct route *route)
{
	struct node *n = root;
	const char *at = route->path, *segment;
	size_t len, params = 0;
	while (next_segment(&at, &segment, &len)) {
		params += segment[0] == '{';
		n = child_for(n, segment, len);
	}
	assert(*at == '\0' && params <= ROUTE_MAX_PARAMS && n->route_count < METHODS_MAX);
	for (size_t i = 0; i < n->route_count; i++)
		assert(strcmp(n->routes[i]->method, route->method) != 0);
	n->routes[n->route_count++] = route;
}

struct router *router_new(const struct route *const *tables)
{
	struct router *r = calloc(1, sizeof *r);
	if (r == NULL)
		abort();
	for (; *tables != NULL; tables++) {
		for (const struct route *row = *tables; row->method != NULL; row++)
			add_route(&r->root, row);
	}
	return r;
}

static void node_done(struct node *n)
{
	for (size_t i = 0; i < n->count; i++) {
		node_done(n->children[i]);
		free(n->children[i]);
	}
	if (n->parameter != NULL) {
		node_done(n->parameter);
		free(n->parameter);
	}
	free(n->children);
}

void router_free(struct router *r)
{
	if (r == NULL)
		return;
	node_done(&r->root);
	free(r);
}

/* Depth is bounded by the longest row: a path that goes on beyond the tree ends the walk. */
static const struct node *walk(const struct node *n, const char *at, size_t depth, struct route_match *m,
	struct arena *a)
{
	const char *segment;
	size_t len;
	if (!next_segment(&at, &segment, &len))
		return n->route_count > 0 ? n : NULL;
	bool found;
	size_t literal = find_literal(n, segment, len, &found);
	if (found) {
		const struct node *end = walk(n->children[literal], at, depth, m, a);
		if (end != NULL)
			return end;
	}
	if (n->parameter == NULL || len == 0)
		return NULL;
	const struct node *end = walk(n->parameter, at, depth + 1, m, a);
	if (end != NULL)
		m->param[depth] = arena_strndup(a, segment, len);
	return end;
}

static const struct route *find_method(const struct node *n, const char *method)
{
	for (size_t i = 0; i < n->route_count; i++) {
		if (strcmp(n->routes[i]->method, method) == 0)
			return n->routes[i];
	}
	return strcmp(method, "HEAD") == 0 ? find_method(n, "GET") : NULL;
}

struct route_match router_match(const struct router *r, const char *method, const char *path, struct arena *a)
{
	struct route_match m = {NULL, {NULL}, NULL};
	const struct node *n = walk(&r->root, path, 0, &m, a);
	if (n == NULL)
		return m;
	m.route = find_method(n, method);
	m.allowed = n->routes[0]->method;
	for (size_t i = 1; m.route == NULL && i < n->route_count; i++)
		m.allowed = arena_printf(a, "%s, %s", m.allowed, n->routes[i]->method);
	return m;
}
