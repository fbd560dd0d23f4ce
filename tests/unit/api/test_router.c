/* api/router on tables of its own, and on the daemon's: every route finds itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "api/routes.h"
#include "api/state.h"

static const struct route first[] = {
	{.method = "GET", .path = "/a"},
	{.method = "POST", .path = "/a"},
	{.method = "GET", .path = "/a/{x}"},
	{.method = "DELETE", .path = "/a/{x}"},
	{.method = "GET", .path = "/a/{x}/b/{y}"},
	{.method = NULL},
};
static const struct route second[] = {
	{.method = "GET", .path = "/a/fixed"},
	{.method = "POST", .path = "/a:bulk"},
	{.method = "GET", .path = "/a/fixed/only"},
	{.method = "HEAD", .path = "/head"},
	{.method = "GET", .path = "/head"},
	{.method = NULL},
};
static const struct route *const tables[] = {first, second, NULL};

struct fix {
	struct router *router;
	struct arena *arena;
};

static int setup(void **state)
{
	static struct fix x;
	x.router = router_new(tables);
	x.arena = arena_new(65536);
	*state = &x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;
	router_free(x->router);
	arena_free(x->arena);
	return 0;
}

static struct route_match match(void **state, const char *method, const char *path)
{
	struct fix *x = *state;
	return router_match(x->router, method, path, x->arena);
}

static void literals_and_parameters(void **state)
{
	assert_ptr_equal(match(state, "GET", "/a").route, &first[0]);
	assert_ptr_equal(match(state, "POST", "/a").route, &first[1]);
	assert_ptr_equal(match(state, "POST", "/a:bulk").route, &second[1]);
	struct route_match m = match(state, "DELETE", "/a/dev-1");
	assert_ptr_equal(m.route, &first[3]);
	assert_string_equal(m.param[0], "dev-1");
	m = match(state, "GET", "/a/one/b/two words");
	assert_ptr_equal(m.route, &first[4]);
	assert_string_equal(m.param[0], "one");
	assert_string_equal(m.param[1], "two words");
}

static void a_literal_wins_and_does_not_hide(void **state)
{
	assert_ptr_equal(match(state, "GET", "/a/fixed").route, &second[0]);
	assert_ptr_equal(match(state, "GET", "/a/fixed/only").route, &second[2]);
	struct route_match m = match(state, "GET", "/a/fixed/b/y"); /* the literal leads nowhere, the parameter does */
	assert_ptr_equal(m.route, &first[4]);
	assert_string_equal(m.param[0], "fixed");
}

static void what_is_not_there(void **state)
{
	static const char *const paths[] = {"/", "", "a", "/b", "/a/", "/a//b/y", "/a/x/b", "/a/x/b/", "/a/x/b/y/z", "/A",
		"//a", "/aa", "/a:bul", "*"};
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		struct route_match m = match(state, "GET", paths[i]);
		assert_null(m.route);
		assert_null(m.allowed);
	}
}

static void another_method_is_told(void **state)
{
	struct route_match m = match(state, "PUT", "/a");
	assert_null(m.route);
	assert_string_equal(m.allowed, "GET, POST");
	assert_string_equal(match(state, "GET", "/a:bulk").allowed, "POST");
}

static void head_finds_get(void **state)
{
	assert_ptr_equal(match(state, "HEAD", "/a").route, &first[0]);
	assert_ptr_equal(match(state, "HEAD", "/head").route, &second[3]);
	assert_null(match(state, "HEAD", "/a:bulk").route);
}

/* Fills the parameters of a path: "/a/{x}" -> "/a/v". */
static void concrete(const char *path, char *out)
{
	for (; *path != '\0'; path++) {
		if (*path == '{') {
			*out++ = 'v';
			path = strchr(path, '}');
		} else {
			*out++ = *path;
		}
	}
	*out = '\0';
}

static void check_row(const struct route *row, struct router *router, struct arena *arena)
{
	char path[256];
	concrete(row->path, path);
	assert_ptr_equal(router_match(router, row->method, path, arena).route, row);
	assert_true(row->handle != NULL || row->stream != NULL);
	assert_true(row->summary != NULL && row->summary[0] != '\0' && row->tag != NULL);
	assert_true(row->body == NULL || row->body_bytes > 0);
	bool is_change = strcmp(row->method, "GET") != 0 && strcmp(row->method, "HEAD") != 0;
	assert_true(!is_change || row->role >= ROLE_OPERATOR || row->role == ROLE_NONE);
	assert_true(strncmp(row->path, "/api/", 5) != 0 || row->role >= ROLE_VIEWER); /* nothing of the API is open */
	if (row->flags & ROUTE_IF_MATCH)
		assert_true(strcmp(row->method, "PATCH") == 0 || strcmp(row->method, "PUT") == 0);
}

static void the_shipped_tables_are_sound(void **state)
{
	(void)state;
	struct router *router = router_new(route_tables);
	struct arena *arena = arena_new(1 << 20);
	size_t rows = 0;
	for (const struct route *const *t = route_tables; *t != NULL; t++) {
		for (const struct route *row = *t; row->method != NULL; row++, rows++)
			check_row(row, router, arena);
	}
	assert_true(rows > 60);
	router_free(router);
	arena_free(arena);
}

static void openapi_is_json(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct json *root;
	struct fault f = {"", ""};
	openapi_write(route_tables, &b);
	if (json_parse(b.data, b.len, &root, &f) != ERR_OK)
		fail_msg("%s", f.detail);
	const struct json *paths = json_get(root, "paths");
	const struct json *tokens = json_get(json_get(paths, "/api/v1/tokens"), "post");
	assert_string_equal(json_text(json_get(tokens, "operationId")), "post_tokens");
	assert_string_equal(json_text(json_get(tokens, "x-role")), "admin");
	assert_non_null(json_get(json_get(tokens, "responses"), "201"));
	assert_non_null(json_get(json_get(tokens, "requestBody"), "content"));
	json_free(root);
	buf_done(&b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(literals_and_parameters), T(a_literal_wins_and_does_not_hide), T(what_is_not_there),
			T(another_method_is_told), T(head_finds_get),
		T(the_shipped_tables_are_sound), T(openapi_is_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
