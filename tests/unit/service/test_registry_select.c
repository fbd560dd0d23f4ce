/* Filters in SQL against the evaluator of core/rsql, pages while devices come and go, groups. */
#include "registry_world.h"

#include "core/rsql.h"
#include "service/timebox.h"
#include "store/filter_sql.h"

#define DEVICES 60

static const char *const hardwares[] = {"esp32", "esp32s3", "nrf52", "*star*"};
static const char *const regions[] = {"eu", "us", "eu-west", "e[u]?"};
static const char *const tag_names[] = {"alpha", "beta", "gamma"};

/* What the reference evaluator sees of device n; the same is in the store. */
struct model {
	char id[16];
	const char *hardware, *region, *release, *version; /* NULL: none */
	unsigned tags;                                     /* bits */
	int64_t seen;                                      /* 0: never */
	bool online;
};

static unsigned next_random(unsigned *random)
{
	*random = *random * 1664525u + 1013904223u;
	return *random >> 10;
}

static struct model model_of(unsigned n)
{
	unsigned r = n * 2654435761u + 17;
	struct model m = {.tags = next_random(&r) % 8};
	snprintf(m.id, sizeof m.id, "d%02u", n);
	m.hardware = hardwares[next_random(&r) % 4];
	unsigned region = next_random(&r) % 5, release = next_random(&r) % 3;
	m.region = region < 4 ? regions[region] : NULL;
	m.release = release == 0 ? NULL : release == 1 ? "kws-1" : "kws-2";
	m.version = release == 0 ? NULL : release == 1 ? "1.0.0" : "2.0.0";
	m.seen = next_random(&r) % 3 == 0 ? 0 : NOW - 1000 * (int64_t)(next_random(&r) % 5);
	m.online = m.seen != 0 && next_random(&r) % 2 == 0;
	return m;
}

static bool one_text(const char *text, unsigned index, struct rsql_operand *out)
{
	if (text == NULL || index > 0)
		return false;
	out->text = (struct slice){text, strlen(text)};
	return true;
}

static bool model_get(const void *context, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	const struct model *m = context;
	if (strcmp(field->name, "id") == 0)
		return one_text(m->id, index, out);
	if (strcmp(field->name, "hardware") == 0)
		return one_text(m->hardware, index, out);
	if (strcmp(field->name, "release") == 0)
		return one_text(m->release, index, out);
	if (strcmp(field->name, "attribute.") == 0)
		return slice_equals(key, "region") && one_text(m->region, index, out);
	if (strcmp(field->name, "model.") == 0)
		return slice_equals(key, "kws") && one_text(m->version, index, out);
	if (strcmp(field->name, "tag") == 0) {
		for (unsigned i = 0; i < 3; i++) {
			if (m->tags >> i & 1 && index-- == 0)
				return one_text(tag_names[i], 0, out);
		}
		return false;
	}
	if (strcmp(field->name, "lastSeen") == 0) {
		out->time_ms = m->seen;
		return m->seen != 0 && index == 0;
	}
	assert_string_equal(field->name, "online");
	out->boolean = m->online;
	return index == 0;
}

static void register_model(struct world *w, unsigned n)
{
	struct model m = model_of(n);
	struct device_attribute region = {"region", m.region};
	const char *tags[3];
	size_t tag_count = 0;
	struct device_state *d;
	for (unsigned i = 0; i < 3; i++) {
		if (m.tags >> i & 1)
			tags[tag_count++] = tag_names[i];
	}
	/* "*star*" is no name that operators may give: it is put into the store under the registry, for the patterns' sake */
	struct device_spec spec = {.id = m.id, .hardware = m.hardware[0] == '*' ? "star" : m.hardware, .attributes = &region,
	                           .attribute_count = m.region != NULL, .tags = tags, .tag_count = tag_count};
	DO(w, registry_create(&w->c, &spec, &d));
	struct stmt *q;
	assert_int_equal(db_prepare_text(w->s.db, "UPDATE device SET hardware = ?2, running_release = ?3 WHERE id = ?1", &q, &w->fault), ERR_OK);
	stmt_bind_int(q, 1, d->row);
	stmt_bind_text(q, 2, m.hardware);
	stmt_bind_text(q, 3, m.release);
	assert_int_equal(stmt_run(q, &w->fault), ERR_OK);
	if (m.version != NULL) {
		assert_int_equal(db_prepare_text(w->s.db, "INSERT INTO device_model (device, model, version) VALUES (?1, 'kws', ?2)", &q, &w->fault), ERR_OK);
		stmt_bind_int(q, 1, d->row);
		stmt_bind_text(q, 2, m.version);
		assert_int_equal(stmt_run(q, &w->fault), ERR_OK);
	}
	if (m.seen != 0)
		registry_seen(w->s.registry, d, m.seen);
	registry_set_online(w->s.registry, d, m.online, m.seen);
}

static int fleet_setup(void **state)
{
	world_setup(state);
	for (unsigned n = 0; n < DEVICES; n++)
		register_model(*state, n);
	return 0;
}

static enum err collect(void *ctx, struct device_state *d)
{
	bool *seen = ctx;
	unsigned n = (unsigned)strtoul(d->id + 1, NULL, 10);
	assert_false(seen[n]);
	seen[n] = true;
	return ERR_OK;
}

/* The same in the smallest pieces there are. Returns how many. */
static int scan(struct world *w, const char *filter, int64_t group, bool *seen)
{
	struct registry_scan *s;
	const struct timebox over = {0};
	bool is_done = false;
	int steps = 0;
	if (registry_scan_new(&w->c, filter, group, &s) != ERR_OK)
		fail_msg("%s: %s", filter, w->fault.detail);
	while (!is_done) {
		if (registry_scan_step(&w->c, s, &over, collect, seen, &is_done) != ERR_OK)
			fail_msg("%s: %s", filter, w->fault.detail);
		steps++;
	}
	registry_scan_free(s);
	return steps;
}

static int compare(struct world *w, const char *filter)
{
	bool scanned[DEVICES] = {false};
	scan(w, filter, 0, scanned); /* first: nobody else has written what it asks for */
	static struct rsql q;
	bool seen[DEVICES] = {false};
	int matches = 0;
	struct rsql_error why;
	if (rsql_parse(&q, filter, device_fields, device_field_count, NOW, &why) != ERR_OK)
		fail_msg("%s: at %zu: %s", filter, why.at, why.message);
	if (registry_select(&w->c, filter, 0, collect, seen) != ERR_OK)
		fail_msg("%s: %s", filter, w->fault.detail);
	for (unsigned n = 0; n < DEVICES; n++) {
		struct model m = model_of(n);
		bool expected = rsql_matches(&q, &(struct rsql_subject){model_get, &m}), one;
		if (expected != seen[n])
			fail_msg("%s: device %s (%s, %s, %s, seen %lld): expected %d", filter, m.id, m.hardware, m.region ? m.region : "-",
			         m.release ? m.release : "-", (long long)m.seen, expected);
		if (expected != scanned[n])
			fail_msg("%s: device %s, in pieces: expected %d", filter, m.id, expected);
		if (registry_matches(&w->c, registry_find(w->s.registry, m.id), filter, 0, &one) != ERR_OK)
			fail_msg("%s: %s", filter, w->fault.detail);
		assert_int_equal(one, expected);
		matches += expected;
	}
	assert_int_equal(world_count(w, filter), matches);
	arena_reset(w->c.arena);
	return matches;
}

static void test_fields_and_operators(void **state)
{
	struct world *w = *state;
	static const char *const filters[] = {
		"hardware==esp32s3", "hardware!=esp32s3", "hardware==esp*", "hardware!=esp*", "hardware=='\\*star\\*'", "hardware=='\\**'", "hardware==*3*",
		"hardware==*", "hardware=in=(esp32,nrf52)", "hardware=out=(esp32,nrf52)", "hardware=gt=esp32", "hardware<esp32s3",
		"attribute.region==eu", "attribute.region!=eu", "attribute.region==eu*", "attribute.region!=eu*", "attribute.region=in=(eu,us)",
		"attribute.region=out=(eu,us)", "attribute.region=='e[u]?'", "attribute.region==e*", "attribute.none==x", "attribute.none!=x",
		"attribute.region=ge=eu-west", "tag==alpha", "tag!=alpha", "tag=in=(alpha,beta)", "tag=out=(alpha,beta)", "tag==*a", "tag==alpha;tag==beta",
		"model.kws==1.0.0", "model.kws!=1.0.0", "model.none!=1", "model.kws==*", "model.kws!=*", "release==kws-1", "release!=kws-1", "release!=*",
		"release==kws-*", "online==true", "online!=true", "online==false", "lastSeen=gt=1699999998000", "lastSeen<=1699999998000", "lastSeen!=1699999998000",
		"lastSeen=ge=now-2s", "lastSeen=out=(1699999998000,1699999999000)", "lastSeen=lt=2099-01-01T00:00:00Z", "id==d0*", "id==d00,id==d59",
		"(hardware==esp32,hardware==nrf52);attribute.region==us", "hardware==esp32,(hardware==nrf52;attribute.region==us)",
		"name==''", "name!=''",
	};
	int useful = 0;
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
		if (strstr(filters[i], "name") != NULL)
			continue; /* the model has no names */
		int matches = compare(w, filters[i]);
		useful += matches > 0 && matches < DEVICES;
	}
	assert_true(useful > 30); /* the fleet is such that filters tell its devices apart */
	assert_int_equal(world_count(w, "name==''"), DEVICES);
	assert_int_equal(world_count(w, ""), DEVICES);
}

static void random_filter(unsigned *random, struct buf *out, int depth)
{
	static const char *const atoms[] = {
		"hardware==esp32", "hardware!=esp*", "hardware=in=(esp32s3,'*star*')", "attribute.region==eu", "attribute.region=out=(eu,us)", "attribute.region==e*",
		"tag==alpha", "tag!=beta", "tag=in=(beta,gamma)", "release==kws-1", "release!=kws-2", "model.kws=ge=2.0.0", "online==true", "lastSeen=gt=now-3s",
		"lastSeen!=1699999999000", "id=gt=d30",
	};
	if (depth == 0 || next_random(random) % 4 == 0) {
		buf_str(out, atoms[next_random(random) % (sizeof atoms / sizeof atoms[0])]);
		return;
	}
	unsigned children = 2 + next_random(random) % 2;
	const char *sign = next_random(random) % 2 ? ";" : ",";
	buf_str(out, "(");
	for (unsigned i = 0; i < children; i++) {
		if (i > 0)
			buf_str(out, sign);
		random_filter(random, out, depth - 1);
	}
	buf_str(out, ")");
}

static void test_random_filters(void **state)
{
	struct world *w = *state;
	unsigned random = 12345;
	for (int i = 0; i < 300; i++) {
		struct buf b = BUF_INIT;
		random_filter(&random, &b, 3);
		compare(w, buf_cstr(&b));
		buf_done(&b);
	}
}

static void test_broken_filters_are_refused_with_their_place(void **state)
{
	struct world *w = *state;
	static const char *const filters[] = {"hardware", "hardware=", "nothing==1", "hardware==a;", "(hardware==a", "lastSeen==yesterday", "online==maybe", "hardware==\xff"};
	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
		assert_int_equal(registry_check_filter(&w->c, filters[i]), ERR_BAD_REQUEST);
		assert_non_null(strstr(w->fault.detail, "byte"));
	}
	assert_int_equal(world_count(w, "name=='; DROP TABLE device; --'"), 0);
	assert_int_equal(world_count(w, "id==d*"), DEVICES);
}

/* ---- pages ---- */

static size_t read_page(struct world *w, const struct device_query *q, char ids[][16], const char **next, int64_t *total)
{
	struct buf b = BUF_INIT;
	size_t count = 0;
	json_open_array(&b);
	if (registry_list(&w->c, q, &b, next, total) != ERR_OK)
		fail_msg("%s", w->fault.detail);
	json_close_array(&b);
	for (const char *at = buf_cstr(&b); (at = strstr(at, "{\"id\":\"")) != NULL; count++) {
		at += 7;
		memcpy(ids[count], at, 3);
		ids[count][3] = '\0';
	}
	buf_done(&b);
	return count;
}

static void test_pages_hold_every_device_once_in_order(void **state)
{
	struct world *w = *state;
	static const char *const sorts[] = {NULL, "id", "-id", "name", "hardware", "-hardware", "lastSeen", "-lastSeen", "createdAt", "-createdAt"};
	for (size_t s = 0; s < sizeof sorts / sizeof sorts[0]; s++) {
		struct device_query q = {.filter = "attribute.region==*", .sort = sorts[s], .limit = 7};
		bool seen[DEVICES] = {false};
		int64_t total = 0;
		size_t all = 0, count;
		char ids[8][16], last[128] = "";
		do {
			const char *next;
			count = read_page(w, &q, ids, &next, &total);
			assert_true(count <= 7 && (count == 7 || next == NULL));
			for (size_t i = 0; i < count; i++) {
				unsigned n = (unsigned)strtoul(ids[i] + 1, NULL, 10);
				assert_false(seen[n]);
				seen[n] = true;
				const char *key = sorts[s] != NULL && strstr(sorts[s], "hardware") ? model_of(n).hardware : ids[i];
				bool is_ordered = sorts[s] == NULL || strstr(sorts[s], "id") || strstr(sorts[s], "hardware");
				if (is_ordered && last[0] != '\0')
					assert_true(sorts[s] != NULL && sorts[s][0] == '-' ? strcmp(last, key) >= 0 : strcmp(last, key) <= 0);
				snprintf(last, sizeof last, "%s", key);
			}
			all += count;
			q.cursor = next;
		} while (q.cursor != NULL);
		assert_int_equal(all, total);
		assert_true(all > 30);
	}
}

static void test_a_page_does_not_shift(void **state)
{
	struct world *w = *state;
	struct device_query q = {.sort = "id", .limit = 10};
	char ids[11][16];
	const char *next;
	assert_int_equal(read_page(w, &q, ids, &next, NULL), 10);
	assert_string_equal(ids[9], "d09");
	DO(w, registry_delete(&w->c, registry_find(w->s.registry, "d03"), false, 0, NULL)); /* before the cursor */
	DO(w, registry_delete(&w->c, registry_find(w->s.registry, "d09"), false, 0, NULL)); /* the cursor's own */
	q.cursor = next;
	assert_int_equal(read_page(w, &q, ids, &next, NULL), 10);
	assert_string_equal(ids[0], "d10");
	q.sort = "-id";
	struct buf b = BUF_INIT;
	assert_int_equal(registry_list(&w->c, &q, &b, &next, NULL), ERR_BAD_REQUEST); /* a cursor of another order */
	q.cursor = "-id;x";
	assert_int_equal(registry_list(&w->c, &q, &b, &next, NULL), ERR_BAD_REQUEST);
	q.sort = "secret_sha256";
	q.cursor = NULL;
	assert_int_equal(registry_list(&w->c, &q, &b, &next, NULL), ERR_BAD_REQUEST);
	buf_done(&b);
}

/* ---- groups ---- */

static int64_t group_count(struct world *w, const char *filter, int64_t group)
{
	int64_t count;
	assert_int_equal(registry_count(&w->c, filter, group, &count), ERR_OK);
	return count;
}

static void test_static_group(void **state)
{
	struct world *w = *state;
	struct group_row row = {.name = "canaries", .description = "by hand"}, found;
	static const char *const add[] = {"d01", "d02", "d03", "d02"}, *const remove[] = {"d03", "d04"}, *const unknown[] = {"d05", "nobody"};
	int64_t added, removed;
	DO(w, groups_create(&w->c, &row));
	REFUSED(w, ERR_CONFLICT, groups_create(&w->c, &(struct group_row){.name = "canaries"}));
	DO(w, groups_change_members(&w->c, &row, add, 4, remove, 2, &added, &removed));
	assert_int_equal(added, 3);
	assert_int_equal(removed, 1);
	REFUSED(w, ERR_INVALID, groups_change_members(&w->c, &row, unknown, 2, NULL, 0, &added, &removed));
	assert_string_equal(w->fault.pointer, "/add/1");
	assert_int_equal(groups_find(&w->c, "canaries", &found), ERR_OK);
	assert_int_equal(found.members, 2);
	struct group_row by_name, by_id;
	assert_int_equal(groups_look_up(&w->c, 0, "canaries", &by_name), ERR_OK);
	assert_int_equal(groups_look_up(&w->c, by_name.id, NULL, &by_id), ERR_OK);
	assert_true(by_name.id == found.id && by_id.id == found.id && by_id.members == -1);
	assert_int_equal(groups_look_up(&w->c, 0, "nobody", &by_name), ERR_NOT_FOUND);
	assert_int_equal(found.revision, 2);
	assert_int_equal(group_count(w, NULL, row.id), 2);
	assert_int_equal(group_count(w, "id==d01", row.id), 1);
	bool matches;
	assert_int_equal(registry_matches(&w->c, registry_find(w->s.registry, "d02"), NULL, row.id, &matches), ERR_OK);
	assert_true(matches);
	assert_int_equal(registry_matches(&w->c, registry_find(w->s.registry, "d03"), NULL, row.id, &matches), ERR_OK);
	assert_false(matches);
	DO(w, registry_delete(&w->c, registry_find(w->s.registry, "d01"), false, 0, NULL));
	assert_int_equal(group_count(w, NULL, row.id), 1);
	REFUSED(w, ERR_CONFLICT, groups_update(&w->c, &found, NULL, "hardware==esp32"));
	DO(w, groups_delete(&w->c, &found));
	assert_int_equal(groups_find(&w->c, "canaries", &found), ERR_NOT_FOUND);
}

static void test_dynamic_group(void **state)
{
	struct world *w = *state;
	struct group_row row = {.name = "europe", .filter = "attribute.region==eu*"};
	int64_t added, removed;
	static const char *const add[] = {"d01"};
	DO(w, groups_create(&w->c, &row));
	assert_int_equal(group_count(w, NULL, row.id), world_count(w, "attribute.region==eu*"));
	assert_int_equal(group_count(w, "hardware==nrf52", row.id), world_count(w, "attribute.region==eu*;hardware==nrf52"));
	REFUSED(w, ERR_CONFLICT, groups_change_members(&w->c, &row, add, 1, NULL, 0, &added, &removed));
	REFUSED(w, ERR_INVALID, groups_create(&w->c, &(struct group_row){.name = "bad", .filter = "nothing==1"}));
	assert_string_equal(w->fault.pointer, "/filter");
	DO(w, groups_update(&w->c, &row, "new", "attribute.region==us"));
	assert_int_equal(group_count(w, NULL, row.id), world_count(w, "attribute.region==us"));
}

static int64_t scan_count(struct world *w, const char *filter, int64_t group)
{
	bool seen[DEVICES] = {false};
	int64_t count = 0;
	scan(w, filter, group, seen);
	for (unsigned n = 0; n < DEVICES; n++)
		count += seen[n];
	return count;
}

static void test_groups_in_pieces(void **state)
{
	struct world *w = *state;
	struct group_row fixed = {.name = "canaries"}, dynamic = {.name = "europe", .filter = "attribute.region==eu*"};
	static const char *const add[] = {"d01", "d02", "d03", "d59"};
	int64_t added, removed;
	DO(w, groups_create(&w->c, &fixed));
	DO(w, groups_create(&w->c, &dynamic));
	DO(w, groups_change_members(&w->c, &fixed, add, 4, NULL, 0, &added, &removed));
	assert_int_equal(scan_count(w, NULL, fixed.id), 4);
	assert_int_equal(scan_count(w, "id==d59", fixed.id), 1);
	assert_int_equal(scan_count(w, "id==d58", fixed.id), 0);
	assert_int_equal(scan_count(w, "", dynamic.id), world_count(w, "attribute.region==eu*"));
	assert_int_equal(scan_count(w, "hardware==nrf52", dynamic.id), world_count(w, "attribute.region==eu*;hardware==nrf52"));
	struct registry_scan *s;
	assert_int_equal(registry_scan_new(&w->c, "nothing==1", 0, &s), ERR_BAD_REQUEST);
	assert_null(s);
}

static void test_a_step_visits_a_few(void **state)
{
	struct world *w = *state;
	bool seen[DEVICES] = {false};
	assert_true(scan(w, NULL, 0, seen) >= DEVICES / 16);
	bool again[DEVICES] = {false};
	assert_true(scan(w, "id==d*", 0, again) >= DEVICES / 16);
	assert_memory_equal(seen, again, sizeof seen);
}

/* ---- plans ---- */

/* Of a range of rows only these rows are read, whatever the filter has an index on. */
static void check_range(const struct statement *statement, const char *line, bool *bad)
{
	bool is_list = strstr(line, "device_attribute") || strstr(line, "device_tag") || strstr(line, "device_model");
	if (strstr(line, "SCAN ") == NULL && strstr(line, "TEMP B-TREE") == NULL && (!is_list || strstr(line, "(device=?") != NULL))
		return;
	print_message("%s\n    %s\n", statement->sql, line);
	*bad = true;
}

static void check_plan(void *ctx, const struct statement *statement, const char *line)
{
	bool *bad = ctx;
	if (strstr(statement->sql, "NOT INDEXED") != NULL)
		check_range(statement, line, bad);
	/* Lists may walk an index or the table in order; what they may not do is scan it where the filter has an index. */
	if (strstr(statement->sql, "d.hardware = ?") != NULL && strstr(line, "SCAN d") != NULL) {
		print_message("%s\n    %s\n", statement->sql, line);
		*bad = true;
	}
	if (!statement->scans && strstr(statement->sql, "FROM device d WHERE 1") == NULL && strstr(line, "SCAN ") != NULL && strstr(line, "USING") == NULL
	    && strstr(line, "SCAN (") == NULL) {
		print_message("%s\n    %s\n", statement->sql, line);
		*bad = true;
	}
}

static void test_plans_use_indexes(void **state)
{
	struct world *w = *state;
	bool bad = false;
	world_count(w, "hardware==esp32");
	compare(w, "hardware==esp32;attribute.region==eu");
	compare(w, "attribute.region==e*;model.kws=ge=2.0.0");
	compare(w, "tag!=alpha,tag==b*,tag=in=(beta,gamma)");
	compare(w, "lastSeen=gt=now-3s;id=gt=d30;hardware==esp*");
	struct group_row fixed = {.name = "canaries"};
	DO(w, groups_create(&w->c, &fixed));
	assert_int_equal(scan_count(w, "hardware==nrf52", fixed.id), 0);
	db_each_plan(w->s.db, check_plan, &bad);
	assert_false(bad);
}

/* Of many that wait only some are written before the answer: everybody's presence would hold the loop for seconds. */
static void test_presence_of_many_is_written_in_part(void **state)
{
	struct world *w = *state;
	char id[16];
	assert_int_equal(registry_flush(&w->c, 0), ERR_OK);
	for (int i = 0; i < 1500; i++) {
		snprintf(id, sizeof id, "seen-%d", i);
		registry_seen(w->s.registry, world_device(w, id, "h"), w->c.now_ms + 1);
	}
	world_commit(w);
	assert_int_equal(world_count(w, "id==seen-*"), 1500);
	assert_int_equal(registry_waiting(w->s.registry), 1500);
	assert_int_equal(world_count(w, "id==seen-*;lastSeen=gt=1970-01-02T00:00:00Z"), 1000);
	assert_int_equal(registry_waiting(w->s.registry), 500);
	assert_int_equal(world_count(w, "id==seen-*;lastSeen=gt=1970-01-02T00:00:00Z"), 1500);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fleet_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_fields_and_operators),
		T(test_random_filters),
		T(test_broken_filters_are_refused_with_their_place),
		T(test_pages_hold_every_device_once_in_order),
		T(test_a_page_does_not_shift),
		T(test_static_group),
		T(test_dynamic_group),
		T(test_groups_in_pieces),
		T(test_a_step_visits_a_few),
		T(test_presence_of_many_is_written_in_part),
		T(test_plans_use_indexes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
