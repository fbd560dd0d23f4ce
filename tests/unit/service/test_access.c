/* service/access and service/unit on a real database: tokens, roll-back of mirrors, audit, events, kept replies,
 * retention. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/access.h"
#include "service/outbox.h"
#include "service/unit.h"
#include "store/db.h"

struct world {
	struct services s;
	struct arena *arena;
	struct fault fault;
	struct principal who;
	struct call c;
	struct access_limits limits;
	char dir[64], path[96], token_path[96];
};

static void open_world(struct world *w)
{
	if (db_open(w->path, migrations_fleet, false, &w->s.db, &w->fault) != ERR_OK)
		fail_msg("%s", w->fault.detail);
	w->s.units = units_new();
	w->s.outbox = outbox_new();
}

static void close_world(struct world *w)
{
	access_close(w->s.access);
	w->s.access = NULL;
	outbox_free(w->s.outbox);
	units_free(w->s.units);
	db_close(w->s.db);
}

static void open_access(struct world *w)
{
	if (access_open(&w->s, &w->limits, &w->s.access, &w->fault) != ERR_OK)
		fail_msg("%s", w->fault.detail);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	strcpy(w->dir, "/tmp/aviary-access-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/fleet.db", w->dir);
	snprintf(w->token_path, sizeof w->token_path, "%s/admin.token", w->dir);
	w->s.state_dir = w->dir;
	w->limits = (struct access_limits){.events_max = 10, .audit_age_ms = 1000, .audit_max = 1000000};
	w->arena = arena_new(1 << 20);
	w->who = (struct principal){"tester", ROLE_ADMIN, 42};
	w->c = (struct call){&w->s, w->arena, &w->fault, &w->who, 1000000};
	open_world(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char path[128];
	close_world(w);
	arena_free(w->arena);
	static const char *const names[] = {"fleet.db", "fleet.db-wal", "fleet.db-shm", "admin.token"};
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
		unlink(path);
	}
	rmdir(w->dir);
	free(w);
	return 0;
}

static void begin(struct world *w)
{
	assert_int_equal(unit_begin(&w->s, &w->fault), ERR_OK);
}

static void keep(struct world *w)
{
	assert_int_equal(unit_end(&w->s, ERR_OK, &w->fault), ERR_OK);
	assert_int_equal(units_commit(&w->s, &w->fault), ERR_OK);
}

static bool admits(struct world *w, const char *text, int64_t now_ms)
{
	struct principal p;
	return access_authenticate(w->s.access, text, strlen(text), now_ms, &p);
}

static void read_token(struct world *w, char out[160])
{
	FILE *f = fopen(w->token_path, "r");
	assert_non_null(f);
	assert_non_null(fgets(out, 160, f));
	fclose(f);
	out[strcspn(out, "\n")] = '\0';
}

static void the_first_start_makes_an_admin(void **state)
{
	struct world *w = *state;
	char text[160];
	struct stat st;
	struct principal p;
	open_access(w);
	read_token(w, text);
	assert_int_equal(stat(w->token_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(access_authenticate(w->s.access, text, strlen(text), 1, &p));
	assert_int_equal(p.role, ROLE_ADMIN);
	assert_string_equal(p.name, "admin");
	text[10] ^= 1;
	assert_false(admits(w, text, 1));
	assert_false(admits(w, "", 1));
	text[10] ^= 1;
	close_world(w); /* the next start makes no other one */
	open_world(w);
	open_access(w);
	assert_true(admits(w, text, 1));
	struct token_row *rows;
	size_t count;
	assert_int_equal(access_list_tokens(&w->c, 0, 10, &rows, &count), ERR_OK);
	assert_int_equal(count, 1);
}

static void write_token(struct world *w, const char *text, mode_t mode)
{
	FILE *f = fopen(w->token_path, "w");
	fputs(text, f);
	fclose(f);
	chmod(w->token_path, mode);
}

static void a_prepared_file_gives_the_text(void **state)
{
	struct world *w = *state;
	write_token(w, "prepared-by-the-operator-0123456789abcdef\n", 0600);
	open_access(w);
	assert_true(admits(w, "prepared-by-the-operator-0123456789abcdef", 1));
}

static void a_prepared_file_that_is_not_safe_is_refused(void **state)
{
	struct world *w = *state;
	write_token(w, "prepared-by-the-operator-0123456789abcdef\n", 0644);
	assert_int_equal(access_open(&w->s, &w->limits, &w->s.access, &w->fault), ERR_FORBIDDEN);
	write_token(w, "short\n", 0600);
	assert_int_equal(access_open(&w->s, &w->limits, &w->s.access, &w->fault), ERR_INVALID);
}

static struct token_row api_token(const char *name, const char *role)
{
	return (struct token_row){.name = name, .kind = "api", .role = role, .uses_left = -1};
}

static void a_token_that_was_rolled_back_is_unknown(void **state)
{
	struct world *w = *state;
	char text[ACCESS_TOKEN_SIZE];
	struct token_row row = api_token("x", "viewer");
	open_access(w);
	begin(w);
	assert_int_equal(access_create_token(&w->c, &row, text), ERR_OK);
	assert_true(admits(w, text, w->c.now_ms));
	assert_int_equal(unit_end(&w->s, ERR_CONFLICT, &w->fault), ERR_CONFLICT);
	assert_false(admits(w, text, w->c.now_ms));
	assert_int_equal(units_commit(&w->s, &w->fault), ERR_OK);
}

static void tokens_expire_and_are_revoked(void **state)
{
	struct world *w = *state;
	char text[ACCESS_TOKEN_SIZE];
	struct token_row row = api_token("x", "operator");
	open_access(w);
	row.expires_at = 2000000;
	begin(w);
	assert_int_equal(access_create_token(&w->c, &row, text), ERR_OK);
	keep(w);
	assert_true(admits(w, text, 1999999));
	assert_false(admits(w, text, 2000000));
	begin(w);
	assert_int_equal(access_revoke_token(&w->c, row.id), ERR_OK);
	assert_int_equal(access_revoke_token(&w->c, row.id), ERR_OK); /* again: no change */
	keep(w);
	assert_false(admits(w, text, 1));
	begin(w);
	assert_int_equal(access_revoke_token(&w->c, 1), ERR_CONFLICT); /* the last admin */
	assert_int_equal(access_revoke_token(&w->c, 77), ERR_NOT_FOUND);
	keep(w);
}

static void what_a_token_may_be(void **state)
{
	struct world *w = *state;
	static const struct {
		struct token_row row;
		const char *pointer;
	} cases[] = {
		{{.name = "", .kind = "api", .role = "viewer", .uses_left = -1}, "/name"},
		{{.name = "x", .kind = "api", .role = "enrol", .uses_left = -1}, "/role"},
		{{.name = "x", .kind = "enrolment", .role = "admin", .uses_left = -1}, "/role"},
		{{.name = "x", .kind = "api", .role = "viewer", .uses_left = 3}, "/uses_left"},
		{{.name = "x", .kind = "enrolment", .role = "enrol", .uses_left = 0}, "/uses_left"},
		{{.name = "x", .kind = "api", .role = "viewer", .uses_left = -1, .expires_at = 5}, "/expires_at"},
	};
	char text[ACCESS_TOKEN_SIZE];
	open_access(w);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct token_row row = cases[i].row;
		assert_int_equal(access_create_token(&w->c, &row, text), ERR_INVALID);
		assert_string_equal(w->fault.pointer, cases[i].pointer);
	}
}

static void enrolment_tokens_are_used_up(void **state)
{
	struct world *w = *state;
	char text[ACCESS_TOKEN_SIZE];
	struct token_row row = {.name = "line", .kind = "enrolment", .role = "enrol", .uses_left = 2};
	open_access(w);
	begin(w);
	assert_int_equal(access_create_token(&w->c, &row, text), ERR_OK);
	keep(w);
	assert_false(admits(w, text, 1)); /* no API token */
	begin(w);
	assert_int_equal(access_take_enrolment(&w->c, text), ERR_OK);
	assert_int_equal(unit_end(&w->s, ERR_INVALID, &w->fault), ERR_INVALID); /* given back */
	for (int i = 0; i < 2; i++) {
		begin(w);
		assert_int_equal(access_take_enrolment(&w->c, text), ERR_OK);
		keep(w);
	}
	begin(w);
	assert_int_equal(access_take_enrolment(&w->c, text), ERR_UNAUTHORIZED);
	assert_int_equal(access_take_enrolment(&w->c, "no such token"), ERR_UNAUTHORIZED);
	keep(w);
}

static void replies_are_kept_for_their_request_and_caller(void **state)
{
	struct world *w = *state;
	static const uint8_t one[32] = {1}, other[32] = {2};
	struct kept_reply r;
	bool found;
	open_access(w);
	begin(w);
	assert_int_equal(idempotency_find(&w->c, "k", one, &r, &found), ERR_OK);
	assert_false(found);
	assert_int_equal(idempotency_keep(&w->c, "k", one, 201, "{}", 2), ERR_OK);
	assert_int_equal(idempotency_find(&w->c, "k", one, &r, &found), ERR_OK);
	assert_true(found && r.status == 201 && r.len == 2);
	assert_int_equal(idempotency_find(&w->c, "k", other, &r, &found), ERR_CONFLICT);
	w->who.token_id = 43; /* somebody else's key of the same text */
	assert_int_equal(idempotency_find(&w->c, "k", other, &r, &found), ERR_OK);
	assert_false(found);
	w->who.token_id = 42;
	w->c.now_ms += ACCESS_IDEMPOTENCY_MS;
	assert_int_equal(idempotency_find(&w->c, "k", other, &r, &found), ERR_OK);
	assert_false(found);
	keep(w);
}

static void events_are_bounded_and_numbered_for_ever(void **state)
{
	struct world *w = *state;
	struct event_row *rows;
	size_t count;
	int64_t oldest, newest;
	bool more = true;
	open_access(w);
	begin(w);
	for (int i = 0; i < 25; i++)
		assert_int_equal(event_append(&w->c, "test", i % 2 ? "a/1" : "a/2", "{}"), ERR_OK);
	assert_int_equal(outbox_last_event(w->s.outbox), 25);
	while (more)
		assert_int_equal(access_retain(&w->c, 4, &more), ERR_OK);
	keep(w);
	assert_int_equal(event_bounds(&w->c, &oldest, &newest), ERR_OK);
	assert_int_equal(oldest, 16);
	assert_int_equal(newest, 25);
	assert_int_equal(event_list(&w->c, "a/1", 17, 100, &rows, &count), ERR_OK);
	assert_int_equal(count, 4); /* 18 20 22 24 */
	assert_int_equal(rows[0].id, 18);
}

static void the_audit_log_is_filtered_and_ages(void **state)
{
	struct world *w = *state;
	struct audit_row *rows;
	size_t count;
	bool more = true;
	open_access(w);
	begin(w);
	assert_int_equal(audit_append(&w->c, "x.create", "xs/1", NULL, "{}"), ERR_OK);
	w->c.now_ms += 500;
	assert_int_equal(audit_append(&w->c, "x.update", "xs/1", "{}", "{\"a\":1}"), ERR_OK);
	assert_int_equal(audit_append(&w->c, "x.update", "xs/2", "{}", "{}"), ERR_OK);
	keep(w);
	struct audit_filter by_resource = {.resource = "xs/1"}, by_action = {.action = "x.update", .who = "tester"};
	assert_int_equal(audit_list(&w->c, &by_resource, 0, 10, &rows, &count), ERR_OK);
	assert_int_equal(count, 2);
	assert_string_equal(rows[0].after, "{\"a\":1}");
	assert_null(rows[1].before);
	assert_int_equal(audit_list(&w->c, &by_action, 0, 1, &rows, &count), ERR_OK);
	assert_string_equal(rows[0].resource, "xs/2");
	int64_t last = rows[0].id;
	assert_int_equal(audit_list(&w->c, &by_action, last, 10, &rows, &count), ERR_OK);
	assert_int_equal(count, 1);
	w->c.now_ms = 1000000 + 1001; /* the first is older than 1000 ms, the others are not */
	begin(w);
	while (more)
		assert_int_equal(access_retain(&w->c, 100, &more), ERR_OK);
	keep(w);
	assert_int_equal(audit_list(&w->c, &by_resource, 0, 10, &rows, &count), ERR_OK);
	assert_int_equal(count, 1);
}

static void counters_only_grow(void **state)
{
	struct world *w = *state;
	int64_t n;
	open_access(w);
	begin(w);
	assert_int_equal(counter_get(&w->c, "c", &n), ERR_OK);
	assert_int_equal(n, 0);
	assert_int_equal(counter_next(&w->c, "c", &n), ERR_OK);
	assert_int_equal(n, 1);
	assert_int_equal(counter_raise(&w->c, "c", 10), ERR_OK);
	assert_int_equal(counter_raise(&w->c, "c", 5), ERR_OK);
	assert_int_equal(counter_next(&w->c, "c", &n), ERR_OK);
	assert_int_equal(n, 11);
	keep(w);
}

struct heard {
	int committed, undone, lost;
};
static void on_committed(void *ctx)
{
	((struct heard *)ctx)->committed++;
}
static void on_undone(void *ctx)
{
	((struct heard *)ctx)->undone++;
}
static void on_lost(void *ctx)
{
	((struct heard *)ctx)->lost++;
}

static void listeners_hear_how_units_end(void **state)
{
	struct world *w = *state;
	struct heard h = {0};
	int64_t n;
	open_access(w);
	units_listen(w->s.units, (struct unit_listener){on_committed, on_undone, on_lost, &h});
	begin(w);
	assert_int_equal(counter_next(&w->c, "c", &n), ERR_OK);
	assert_int_equal(unit_end(&w->s, ERR_INVALID, &w->fault), ERR_INVALID);
	assert_int_equal(h.undone, 1);
	begin(w);
	keep(w);
	assert_int_equal(h.committed, 1);
	assert_int_equal(units_commit(&w->s, &w->fault), ERR_OK); /* nothing to commit: nobody hears */
	assert_int_equal(h.committed, 1);
	/* A transaction that SQLite ends by itself: the tick is lost as a whole. */
	struct stmt *s;
	begin(w);
	outbox_tell_device(w->s.outbox, 3);
	assert_int_equal(counter_next(&w->c, "c", &n), ERR_OK);
	assert_int_equal(db_prepare_text(w->s.db, "INSERT OR ROLLBACK INTO counter (name, value) VALUES ('c', 1)", &s,
		NULL), ERR_OK);
	assert_int_equal(stmt_run(s, NULL), ERR_CONFLICT);
	assert_int_equal(unit_end(&w->s, ERR_OK, &w->fault), ERR_CONFLICT);
	assert_int_equal(units_commit(&w->s, &w->fault), ERR_CONFLICT);
	assert_int_equal(h.lost, 1);
	assert_true(outbox_is_empty(w->s.outbox));
	assert_int_equal(counter_get(&w->c, "c", &n), ERR_OK);
	assert_int_equal(n, 0);
}

static void no_statement_scans(void *ctx, const struct statement *statement, const char *line)
{
	(void)ctx;
	if (strncmp(line, "SCAN", 4) == 0 && !statement->scans && strstr(line, "SCAN (") == NULL &&
		strstr(line, "CONSTANT ROW") == NULL)
		fail_msg("%s: %s", statement->sql, line);
}

static void plans_use_indexes(void **state)
{
	struct world *w = *state;
	open_access(w);
	db_each_plan(w->s.db, no_statement_scans, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_first_start_makes_an_admin), T(a_prepared_file_gives_the_text),
			T(a_prepared_file_that_is_not_safe_is_refused),
		T(a_token_that_was_rolled_back_is_unknown), T(tokens_expire_and_are_revoked), T(what_a_token_may_be),
			T(enrolment_tokens_are_used_up),
		T(replies_are_kept_for_their_request_and_caller), T(events_are_bounded_and_numbered_for_ever),
			T(the_audit_log_is_filtered_and_ages),
		T(counters_only_grow), T(listeners_hear_how_units_end), T(plans_use_indexes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
