/* Devices: creating, changing, deleting; and the mirror in memory through undone units, lost commits and restarts. */
#include "registry_world.h"

#include "base/clock.h"

static const char *encoded(struct world *w, struct device_state *d)
{
	struct buf b = BUF_INIT;
	int64_t revision;
	assert_int_equal(registry_encode(&w->c, d, &b, &revision), ERR_OK);
	const char *text = arena_strdup(w->c.arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static size_t audit_entries(struct world *w, const char *action, const struct audit_row **first)
{
	struct audit_row *rows;
	size_t count;
	assert_int_equal(audit_list(&w->c, &(struct audit_filter){.action = action}, 0, 100, &rows, &count), ERR_OK);
	if (first != NULL && count > 0)
		*first = &rows[0];
	return count;
}

static void test_create_shows_what_was_said(void **state)
{
	struct world *w = *state;
	static const struct device_attribute attributes[] = {{"region", "eu"}, {"floor", "3"}};
	static const char *const tags[] = {"beta", "alpha"};
	struct device_spec spec = {.id = "dev-1", .name = "Door 7", .hardware = "esp32s3", .attributes = attributes, .attribute_count = 2, .tags = tags, .tag_count = 2};
	struct device_state *d;
	DO(w, registry_create(&w->c, &spec, &d));
	assert_ptr_equal(registry_find(w->s.registry, "dev-1"), d);
	assert_ptr_equal(registry_by_row(w->s.registry, d->row), d);
	assert_string_equal(registry_text(w->s.registry, d->hardware), "esp32s3");
	const char *text = encoded(w, d);
	assert_non_null(strstr(text, "\"name\":\"Door 7\""));
	assert_non_null(strstr(text, "\"attributes\":{\"floor\":\"3\",\"region\":\"eu\"},\"tags\":[\"alpha\",\"beta\"],\"online\":false"));
	assert_null(strstr(text, "last_seen_at"));
	const char *value;
	assert_int_equal(registry_attribute(&w->c, d, "region", &value), ERR_OK);
	assert_string_equal(value, "eu");
	assert_int_equal(registry_attribute(&w->c, d, "none", &value), ERR_OK);
	assert_null(value);
	const struct audit_row *row = NULL;
	assert_int_equal(audit_entries(w, "device.create", &row), 1);
	assert_string_equal(row->resource, "devices/dev-1");
	assert_null(row->before);
	assert_non_null(strstr(row->after, "\"region\":\"eu\""));
	assert_int_not_equal(outbox_last_event(w->s.outbox), 0);
}

static void test_create_refuses_and_names_the_member(void **state)
{
	struct world *w = *state;
	static const struct device_attribute long_name[] = {{"a b", "x"}}, control[] = {{"a", "x\ny"}};
	static const char *const bad_tags[] = {"fine", "not fine"};
	char long_text[300];
	memset(long_text, 'x', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = '\0';
	const struct {
		struct device_spec spec;
		const char *pointer;
	} bad[] = {
		{{.id = "../etc", .hardware = "h"}, "/id"},
		{{.id = NULL, .hardware = "h"}, "/id"},
		{{.id = "", .hardware = "h"}, "/id"},
		{{.id = "a", .hardware = NULL}, "/hardware"},
		{{.id = "a", .hardware = "x y"}, "/hardware"},
		{{.id = "a", .hardware = "h", .name = long_text}, "/name"},
		{{.id = "a", .hardware = "h", .name = "a\x07"}, "/name"},
		{{.id = "a", .hardware = "h", .attributes = long_name, .attribute_count = 1}, "/attributes"},
		{{.id = "a", .hardware = "h", .attributes = control, .attribute_count = 1}, "/attributes/a"},
		{{.id = "a", .hardware = "h", .tags = bad_tags, .tag_count = 2}, "/tags/1"},
	};
	struct device_state *d;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		REFUSED(w, ERR_INVALID, registry_create(&w->c, &bad[i].spec, &d));
		assert_string_equal(w->fault.pointer, bad[i].pointer);
	}
	assert_int_equal(registry_size(w->s.registry), 0);
	world_device(w, "a", "h");
	REFUSED(w, ERR_CONFLICT, registry_create(&w->c, &(struct device_spec){.id = "a", .hardware = "h"}, &d));
	assert_string_equal(w->fault.pointer, "/id");
}

static void test_update_merges_attributes_and_replaces_tags(void **state)
{
	struct world *w = *state;
	static const struct device_attribute first[] = {{"keep", "1"}, {"drop", "2"}, {"change", "3"}};
	static const struct device_attribute second[] = {{"drop", NULL}, {"change", "4"}, {"new", "5"}};
	static const char *const tags[] = {"old"}, *const next[] = {"new"};
	struct device_state *d;
	DO(w, registry_create(&w->c, &(struct device_spec){.id = "a", .hardware = "h", .attributes = first, .attribute_count = 3, .tags = tags, .tag_count = 1}, &d));
	DO(w, registry_update(&w->c, d, &(struct device_spec){.attributes = second, .attribute_count = 3, .tags = next, .tag_count = 1}, 1));
	assert_non_null(strstr(encoded(w, d), "\"attributes\":{\"change\":\"4\",\"keep\":\"1\",\"new\":\"5\"},\"tags\":[\"new\"]"));
	REFUSED(w, ERR_PRECONDITION, registry_update(&w->c, d, &(struct device_spec){.name = "x"}, 1));
	DO(w, registry_update(&w->c, d, &(struct device_spec){.name = "x"}, 2));
	assert_non_null(strstr(encoded(w, d), "\"tags\":[\"new\"]"));
	const struct audit_row *row = NULL;
	assert_int_equal(audit_entries(w, "device.update", &row), 2);
	assert_non_null(strstr(row->before, "\"name\":\"\""));
	assert_non_null(strstr(row->after, "\"name\":\"x\""));
}

static void test_merged_attributes_have_a_limit(void **state)
{
	struct world *w = *state;
	struct device_attribute many[DEVICE_ATTRIBUTES_MAX];
	char names[DEVICE_ATTRIBUTES_MAX][8];
	for (int i = 0; i < DEVICE_ATTRIBUTES_MAX; i++) {
		snprintf(names[i], sizeof names[i], "n%d", i);
		many[i] = (struct device_attribute){names[i], "v"};
	}
	static const struct device_attribute one[] = {{"more", "v"}};
	struct device_state *d;
	DO(w, registry_create(&w->c, &(struct device_spec){.id = "a", .hardware = "h", .attributes = many, .attribute_count = DEVICE_ATTRIBUTES_MAX}, &d));
	REFUSED(w, ERR_INVALID, registry_update(&w->c, d, &(struct device_spec){.attributes = one, .attribute_count = 1}, 0));
	const char *value;
	assert_int_equal(registry_attribute(&w->c, d, "more", &value), ERR_OK);
	assert_null(value);
}

/* ---- the mirror ---- */

static void test_an_undone_unit_leaves_no_trace_in_memory(void **state)
{
	struct world *w = *state;
	struct device_state *a = world_device(w, "a", "h"), *made;
	world_commit(w);
	assert_int_equal(unit_begin(&w->s, &w->fault), ERR_OK);
	assert_int_equal(registry_create(&w->c, &(struct device_spec){.id = "b", .hardware = "h"}, &made), ERR_OK);
	assert_int_equal(registry_bump_desired(&w->c, a), ERR_OK);
	assert_int_equal(a->desired_rev, 1);
	assert_int_equal(unit_end(&w->s, ERR_INVALID, &w->fault), ERR_INVALID);
	assert_null(registry_find(w->s.registry, "b"));
	assert_int_equal(a->desired_rev, 0);
	assert_int_equal(registry_size(w->s.registry), 1);
	DO(w, registry_create(&w->c, &(struct device_spec){.id = "b", .hardware = "h"}, &made)); /* and the id is free */
}

static int forgotten;

static void count_forgotten(void *ctx, struct device_state *d)
{
	(void)ctx;
	assert_non_null(d->ingest_state);
	forgotten++;
}

static void test_an_undone_deletion_brings_the_device_back(void **state)
{
	struct world *w = *state;
	struct device_state *a = world_device(w, "a", "h1");
	int mine;
	a->ingest_state = &mine;
	registry_seen(w->s.registry, a, NOW + 5);
	world_commit(w);
	registry_on_forget(w->s.registry, count_forgotten, NULL);
	forgotten = 0;
	int64_t row = a->row;
	assert_int_equal(unit_begin(&w->s, &w->fault), ERR_OK);
	assert_int_equal(registry_delete(&w->c, a, false, 0, NULL), ERR_OK);
	assert_null(registry_find(w->s.registry, "a"));
	struct device_state *again; /* the same id and another one take its place meanwhile */
	assert_int_equal(registry_create(&w->c, &(struct device_spec){.id = "z", .hardware = "h2"}, &again), ERR_OK);
	assert_int_not_equal(again->row, row); /* rows are never used twice */
	again->ingest_state = &mine;
	assert_int_equal(registry_create(&w->c, &(struct device_spec){.id = "a", .hardware = "h3"}, &again), ERR_OK);
	again->ingest_state = &mine;
	assert_int_equal(unit_end(&w->s, ERR_CONFLICT, &w->fault), ERR_CONFLICT);
	assert_int_equal(forgotten, 3);
	registry_on_forget(w->s.registry, NULL, NULL);
	assert_null(registry_find(w->s.registry, "z"));
	a = registry_find(w->s.registry, "a");
	assert_non_null(a);
	assert_int_equal(a->row, row);
	assert_string_equal(registry_text(w->s.registry, a->hardware), "h1");
	assert_ptr_equal(registry_by_row(w->s.registry, row), a);
	char cleared[65];
	assert_false(outbox_next_clear(w->s.outbox, cleared)); /* its retained messages stay */
}

static void test_a_lost_commit_loses_the_mirror_too(void **state)
{
	struct world *w = *state;
	struct device_state *a = world_device(w, "a", "h");
	world_commit(w);
	world_device(w, "b", "h");
	DO(w, registry_bump_desired(&w->c, a));
	registry_seen(w->s.registry, a, NOW + 1);
	assert_int_equal(registry_flush(&w->c, 0), ERR_OK);
	assert_int_equal(registry_waiting(w->s.registry), 0);
	db_rollback(w->s.db); /* what a failed COMMIT does */
	registry_resync(w->s.registry);
	assert_null(registry_find(w->s.registry, "b"));
	assert_int_equal(a->desired_rev, 0);
	assert_int_equal(a->last_seen_ms, NOW + 1); /* presence is kept */
	assert_int_equal(registry_waiting(w->s.registry), 1); /* and written again */
	assert_int_equal(registry_flush(&w->c, 0), ERR_OK);
	assert_int_equal(world_count(w, "lastSeen=ge=1970-01-02T00:00:00Z"), 1);
}

/* The disk is full: the statement fails, SQLite takes the whole tick back, and the commit says so. */
static void test_a_full_disk_is_told_to_work_over_several_ticks(void **state)
{
	struct world *w = *state;
	struct stmt *q;
	bool row;
	world_device(w, "a", "h");
	world_commit(w);
	assert_int_equal(registry_lost_commits(w->s.registry), 0);
	assert_int_equal(db_prepare_text(w->s.db, "PRAGMA max_page_count = 1", &q, &w->fault), ERR_OK);
	assert_int_equal(stmt_step(q, &row, &w->fault), ERR_OK);
	stmt_reset(q);
	enum err e = ERR_OK;
	char id[32];
	for (int i = 0; e == ERR_OK && i < 10000; i++) {
		enum upsert did;
		snprintf(id, sizeof id, "full-%d", i);
		assert_int_equal(unit_begin(&w->s, &w->fault), ERR_OK);
		e = unit_end(&w->s, registry_upsert(&w->c, &(struct device_spec){.id = id, .hardware = "h"}, &did), &w->fault);
		arena_reset(w->c.arena);
	}
	assert_int_equal(e, ERR_FULL);
	enum err committed = units_commit(&w->s, &w->fault);
	assert_null(registry_find(w->s.registry, id));
	assert_non_null(registry_find(w->s.registry, "a"));
	assert_int_equal(registry_lost_commits(w->s.registry), committed != ERR_OK);
	assert_int_equal(world_count(w, "id==*"), registry_size(w->s.registry)); /* the mirror says what the store says */
}

static void test_a_restart_finds_everything(void **state)
{
	struct world *w = *state;
	struct device_state *d = world_device(w, "a", "h");
	DO(w, registry_bump_desired(&w->c, d));
	DO(w, registry_bump_desired(&w->c, d));
	registry_mark_sent(w->s.registry, d, 1);
	registry_set_online(w->s.registry, d, true, NOW + 7);
	assert_int_equal(registry_online(w->s.registry), 1);
	char etag[DESIRED_ETAG_SIZE], after[DESIRED_ETAG_SIZE];
	registry_desired_etag(d, etag);
	assert_int_equal(registry_flush(&w->c, 0), ERR_OK);
	world_commit(w);
	world_stop(w);
	world_start(w);
	d = registry_find(w->s.registry, "a");
	assert_non_null(d);
	assert_int_equal(d->desired_rev, 2);
	assert_int_equal(d->sent_rev, 1);
	assert_int_equal(d->last_seen_ms, NOW + 7);
	assert_int_equal(d->created_at, NOW);
	assert_false(d->online); /* until its status says so */
	assert_int_equal(registry_online(w->s.registry), 0);
	registry_desired_etag(d, after);
	assert_string_equal(etag, after);
	int64_t row = 0;
	registry_tell_unsent(&w->c);
	outbox_committed(w->s.outbox);
	assert_true(outbox_next_device(w->s.outbox, &row));
	assert_int_equal(row, d->row);
	assert_int_equal(world_count(w, "online==true"), 0);
}

static void test_flush_goes_in_portions(void **state)
{
	struct world *w = *state;
	char id[16];
	for (int i = 0; i < 10; i++) {
		snprintf(id, sizeof id, "d%d", i);
		registry_seen(w->s.registry, world_device(w, id, "h"), NOW + i + 1);
	}
	registry_seen(w->s.registry, registry_find(w->s.registry, "d0"), NOW + 100);
	registry_seen(w->s.registry, registry_find(w->s.registry, "d0"), NOW); /* never backwards */
	assert_int_equal(registry_waiting(w->s.registry), 10);
	assert_int_equal(registry_flush(&w->c, 4), ERR_OK);
	assert_int_equal(registry_waiting(w->s.registry), 6);
	DO(w, registry_delete(&w->c, registry_find(w->s.registry, "d5"), false, 0, NULL));
	assert_int_equal(registry_flush(&w->c, 0), ERR_OK);
	assert_int_equal(registry_waiting(w->s.registry), 0);
	assert_int_equal(registry_find(w->s.registry, "d0")->last_seen_ms, NOW + 100);
	assert_int_equal(world_count(w, "lastSeen>1700000000004"), 6); /* 5 6 7 8 9 without d5, and d0, d4 */
}

/* ---- deleting ---- */

static void test_delete(void **state)
{
	struct world *w = *state;
	struct device_state *d = world_device(w, "a", "h");
	struct buf what = BUF_INIT;
	json_open_object(&what);
	REFUSED(w, ERR_PRECONDITION, registry_delete(&w->c, d, false, 9, NULL));
	DO(w, registry_delete(&w->c, d, false, 1, &what));
	json_close_object(&what);
	assert_string_equal(buf_cstr(&what), "{\"did\":\"took part in no rollout\"}");
	assert_null(registry_find(w->s.registry, "a"));
	outbox_committed(w->s.outbox);
	char cleared[65];
	assert_true(outbox_next_clear(w->s.outbox, cleared));
	assert_string_equal(cleared, "a");
	assert_int_equal(audit_entries(w, "device.delete", NULL), 1);
	buf_done(&what);
}

/* ---- bulk ---- */

static void test_upsert(void **state)
{
	struct world *w = *state;
	static const struct device_attribute one[] = {{"region", "eu"}}, other[] = {{"site", "x"}};
	static const char *const tags[] = {"t"};
	struct device_spec spec = {.id = "a", .hardware = "h", .name = "n", .attributes = one, .attribute_count = 1, .tags = tags, .tag_count = 1};
	enum upsert did;
	DO(w, registry_upsert(&w->c, &spec, &did));
	assert_int_equal(did, UPSERT_CREATED);
	DO(w, registry_upsert(&w->c, &spec, &did));
	assert_int_equal(did, UPSERT_UNCHANGED);
	DO(w, registry_upsert(&w->c, &(struct device_spec){.id = "a", .hardware = "h"}, &did)); /* what is absent is left */
	assert_int_equal(did, UPSERT_UNCHANGED);
	spec.attributes = other;
	DO(w, registry_upsert(&w->c, &spec, &did));
	assert_int_equal(did, UPSERT_UPDATED);
	struct device_state *d = registry_find(w->s.registry, "a");
	assert_non_null(strstr(encoded(w, d), "\"attributes\":{\"site\":\"x\"},\"tags\":[\"t\"]"));
	assert_int_equal(d->desired_rev, 0);
	spec.hardware = "h2";
	DO(w, registry_upsert(&w->c, &spec, &did));
	assert_string_equal(registry_text(w->s.registry, d->hardware), "h2");
	assert_int_equal(d->desired_rev, 1); /* another variant may be the right one */
	REFUSED(w, ERR_INVALID, registry_upsert(&w->c, &(struct device_spec){.id = "b c", .hardware = "h"}, &did));
	const struct audit_row *row = NULL;
	assert_int_equal(audit_entries(w, "device.create", NULL), 1);
	assert_int_equal(audit_entries(w, "device.update", &row), 2);
	assert_non_null(strstr(row->before, "\"hardware\":\"h\""));
	assert_non_null(strstr(row->after, "\"hardware\":\"h2\""));
}

static void test_too_many_hardware_classes(void **state)
{
	struct world *w = *state;
	char id[16];
	enum upsert did;
	assert_int_equal(unit_begin(&w->s, &w->fault), ERR_OK);
	for (int i = 0; i < 4096; i++) {
		snprintf(id, sizeof id, "h%d", i);
		assert_int_equal(registry_upsert(&w->c, &(struct device_spec){.id = id, .hardware = id}, &did), ERR_OK);
		arena_reset(w->c.arena);
	}
	assert_int_equal(registry_upsert(&w->c, &(struct device_spec){.id = "x", .hardware = "one-more"}, &did), ERR_TOO_MANY);
	assert_int_equal(unit_end(&w->s, ERR_OK, &w->fault), ERR_OK);
	assert_null(registry_find(w->s.registry, "x"));
	assert_int_equal(world_count(w, "id==x"), 0);
}

static void test_bulk_is_fast(void **state)
{
	struct world *w = *state;
	enum { DEVICES = 100000 };
	static const char *const regions[] = {"eu", "us", "ap"}, *const tags[] = {"factory"};
	uint64_t start = clock_mono_ns();
	for (int i = 0; i < DEVICES; i++) {
		char id[32];
		enum upsert did;
		struct device_attribute attribute = {"region", regions[i % 3]};
		if (i % 1000 == 0)
			assert_int_equal(unit_begin(&w->s, &w->fault), ERR_OK);
		snprintf(id, sizeof id, "bulk-%06d", i);
		struct device_spec spec = {.id = id, .hardware = "esp32s3", .name = id, .attributes = &attribute, .attribute_count = 1, .tags = tags, .tag_count = 1};
		assert_int_equal(registry_upsert(&w->c, &spec, &did), ERR_OK);
		arena_reset(w->c.arena);
		if (i % 1000 == 999) {
			assert_int_equal(unit_end(&w->s, ERR_OK, &w->fault), ERR_OK);
			world_commit(w);
		}
	}
	uint64_t written = clock_mono_ns();
	assert_int_equal(world_count(w, "attribute.region==eu;tag==factory"), 33334);
	uint64_t counted = clock_mono_ns();
	world_stop(w);
	world_start(w);
	uint64_t loaded = clock_mono_ns();
	assert_int_equal(registry_size(w->s.registry), DEVICES);
	print_message("100,000 devices written in %.2f s, counted by attribute and tag in %.0f ms, closed and loaded in %.0f ms\n",
	              (double)(written - start) / 1e9, (double)(counted - written) / 1e6, (double)(loaded - counted) / 1e6);
	assert_true(written - start < UINT64_C(30000000000));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_create_shows_what_was_said),
		T(test_create_refuses_and_names_the_member),
		T(test_update_merges_attributes_and_replaces_tags),
		T(test_merged_attributes_have_a_limit),
		T(test_an_undone_unit_leaves_no_trace_in_memory),
		T(test_an_undone_deletion_brings_the_device_back),
		T(test_a_lost_commit_loses_the_mirror_too),
		T(test_a_full_disk_is_told_to_work_over_several_ticks),
		T(test_a_restart_finds_everything),
		T(test_flush_goes_in_portions),
		T(test_delete),
		T(test_upsert),
		T(test_too_many_hardware_classes),
		T(test_bulk_is_fast),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
