/* Regrouping in many passes, broken off anywhere: chunks hold what the log held, each report once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/varint.h"
#include "store/chunk.h"
#include "store/db.h"
#include "store/regroup.h"
#include "store/telemetry_store.h"

#define BASE INT64_C(1700000000000)
#define DEVICES 50
#define BATCHES 40

struct world {
	char dir[40], path[64];
	struct telemetry_store *store;
	struct fault fault;
	uint64_t sum[DEVICES + 1]; /* of device, seq and value of every report in the log */
	int64_t reports[DEVICES + 1];
};

static struct telemetry_message message;

static uint64_t digest(const struct log_report *r, double value)
{
	return ((uint64_t)r->device * 1000003 + (uint64_t)r->seq) * 1000003 + (uint64_t)(r->received_ms - BASE) * 31 + (uint64_t)value;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	strcpy(w->dir, "/tmp/aviary-regroup-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/telemetry.db", w->dir);
	assert_int_equal(telemetry_store_open(w->path, &w->store, &w->fault), ERR_OK);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char command[80];
	telemetry_store_close(w->store);
	snprintf(command, sizeof command, "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

/* Every batch has some reports of some devices; device 1 reports far more than the others. */
static void write_log(struct world *w)
{
	for (int64_t b = 1; b <= BATCHES; b++) {
		struct buf data = BUF_INIT;
		int64_t base = BASE + b * 60000, names[TELEMETRY_METRICS] = {5};
		for (int64_t i = 0; i < 60; i++) {
			struct log_report as = {.device = i % 3 == 0 ? 1 : 1 + (b * 7 + i) % DEVICES, .seq = b * 100 + i, .received_ms = base + i * 100};
			char json[80];
			snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%d,\"metrics\":{\"x\":%d}}", (int)as.seq, (int)(i * b % 97));
			assert_true(telemetry_parse(&message, json, strlen(json)));
			(void)report_log_put(&data, base, as.device, as.received_ms, 0, names, &message.reports[0]);
			w->sum[as.device] += digest(&as, (double)(i * b % 97));
			w->reports[as.device]++;
		}
		struct stored_batch batch = {.id = b, .first_ms = base, .last_ms = base + 5900, .reports = 60, .data = data.data, .len = data.len};
		assert_int_equal(telemetry_store_write(w->store, &batch, &w->fault), ERR_OK);
		buf_done(&data);
	}
}

static void add_chunk(uint64_t sum[], int64_t reports[], const void *data, size_t len, int64_t base_ms)
{
	struct buf log = BUF_INIT;
	struct report_log_reader l;
	struct log_report r;
	struct log_metric m;
	assert_true(chunk_expand(data, len, base_ms, &log));
	report_log_open(&l, log.data, log.len, base_ms);
	while (report_log_next(&l, 0, &r)) {
		struct log_report copy = r;
		assert_true(report_log_metric(&r, &m) && m.name == 5);
		sum[copy.device] += digest(&copy, m.value);
		reports[copy.device]++;
	}
	buf_done(&log);
}

static void assert_chunks(struct world *w)
{
	uint64_t sum[DEVICES + 1] = {0};
	int64_t reports[DEVICES + 1] = {0};
	struct stmt *st;
	bool row = true;
	assert_int_equal(db_prepare_text(telemetry_store_db(w->store),
		"SELECT data, first_ms, length(data) FROM chunk JOIN period ON period.id = chunk.period", &st, &w->fault), ERR_OK);
	while (stmt_step(st, &row, &w->fault) == ERR_OK && row) {
		size_t len;
		const void *data = stmt_blob(st, 0, &len);
		assert_true(len < 960);
		add_chunk(sum, reports, data, len, stmt_int(st, 1));
	}
	for (int i = 1; i <= DEVICES; i++) {
		assert_int_equal(reports[i], w->reports[i]);
		assert_true(sum[i] == w->sum[i]);
	}
}

static int64_t count(struct world *w, const char *sql)
{
	struct stmt *st;
	int64_t n = 0;
	assert_int_equal(db_prepare_text(telemetry_store_db(w->store), sql, &st, &w->fault), ERR_OK);
	assert_int_equal(stmt_read_int(st, &n, &w->fault), ERR_OK);
	return n;
}

static void step_to_the_end(struct world *w, struct regroup *r, int64_t now_ms, bool hurry)
{
	for (bool did = true; did;)
		assert_int_equal(regroup_step(r, now_ms, hurry, &did, &w->fault), ERR_OK);
}

static void memory_of_any_size_gives_the_same(void **state)
{
	struct world *w = *state;
	struct regroup *r;
	write_log(w);
	assert_int_equal(regroup_open(telemetry_store_db(w->store), 3000, &r, &w->fault), ERR_OK); /* device 1 alone has more */
	step_to_the_end(w, r, BASE, false);
	assert_int_equal(regroup_upto(r), 0); /* the hour is not over */
	step_to_the_end(w, r, BASE, true);
	assert_int_equal(regroup_upto(r), BATCHES);
	assert_int_equal(count(w, "SELECT count(DISTINCT device) FROM chunk"), DEVICES);
	assert_chunks(w);
	regroup_free(r);
}

static void what_is_broken_off_is_done_again(void **state)
{
	struct world *w = *state;
	struct regroup *r;
	bool did = true;
	write_log(w);
	for (int kills = 1; did; kills++) { /* after one step, after two... */
		assert_int_equal(regroup_open(telemetry_store_db(w->store), 3000, &r, &w->fault), ERR_OK);
		for (int i = 0; i < kills && did; i++)
			assert_int_equal(regroup_step(r, BASE + 2 * REGROUP_PERIOD_MS, false, &did, &w->fault), ERR_OK);
		regroup_free(r);
	}
	assert_int_equal(count(w, "SELECT count(*) FROM period"), 1);
	assert_chunks(w);
}

static void oldest_chunks_are_dropped_in_pieces(void **state)
{
	struct world *w = *state;
	struct regroup *r;
	write_log(w);
	assert_int_equal(regroup_open(telemetry_store_db(w->store), 0, &r, &w->fault), ERR_OK);
	step_to_the_end(w, r, BASE, true);
	bool did = false;
	assert_int_equal(regroup_drop(r, BASE, &did, &w->fault), ERR_OK);
	assert_false(did); /* too young */
	assert_int_equal(regroup_drop(r, INT64_MAX, &did, &w->fault), ERR_OK);
	assert_true(did);
	assert_int_equal(db_commit(telemetry_store_db(w->store), &w->fault), ERR_OK);
	assert_int_equal(count(w, "SELECT (SELECT count(*) FROM chunk) + (SELECT count(*) FROM period)"), 0);
	regroup_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(memory_of_any_size_gives_the_same, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_broken_off_is_done_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(oldest_chunks_are_dropped_in_pieces, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
