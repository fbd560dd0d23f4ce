/* What the field does to a device, one row a fault. Before each, kws-1 (counter 5) is confirmed; then kws-2 (counter 6) is offered with the
 * fault. In every case, within its deadline and without anybody's help: a whole, verified release runs, the floor moves only with
 * a confirmation, also as the medium knows it after a cut, and the next report tells why. Then the fault is over, and the next
 * attempt succeeds. */
#include "world.h"

#define HOUR 3600000
#define DAY (24 * (int64_t)HOUR)
#define YEAR_2100 INT64_C(4102444800000)

struct ordeal {
	const char *name;
	void (*arrange)(struct world *w);  /* before the offer; may be NULL */
	void (*during)(struct world *w);   /* in place of waiting; may be NULL */
	void (*mangle)(struct buf *manifest, uint8_t *signature);
	int release, counter;              /* of the world; counter 0: its own */
	int64_t expires;                   /* of the manifest; 0: never */
	size_t missing;                    /* bytes that the manifest promises and the server does not have */
	const char *state, *reason;        /* how it ends; reason NULL: it is installed all the same */
	int64_t deadline_ms;               /* from the offer until the old release runs confirmed again */
};

/* --- faults --- */

static void full_disk(struct world *w)
{
	w->fail_writes_from = w->writes + 3;
	w->fail_writes_to = w->fail_writes_from + 4;
}
static void corrupt(struct world *w) { w->corrupt_downloads = 1000; }
static void failing_self_test(struct world *w) { w->self_test_fails_on = "kws-2"; }
static void hanging_self_test(struct world *w) { w->self_test_hangs = true; }
static void failing_activation(struct world *w) { w->activation_fails = true; }
static void incompatible(struct world *w) { w->incompatible = "kws-2"; }
static void clock_at_1970(struct world *w) { w->wall_ms = 1; }
static void clock_at_2100(struct world *w) { w->wall_ms = YEAR_2100; }
static void needs_connection(struct world *w) { w->config.confirm_needs_connection = true; }
static void flip_signature(struct buf *m, uint8_t *signature)
{
	(void)m;
	signature[10] ^= 4;
}
static void flip_manifest(struct buf *m, uint8_t *signature)
{
	(void)signature;
	m->data[m->len / 2] ^= 1;
}

static void run_into_trial(struct world *w)
{
	while (w->agent.state != AGENT_TRIAL)
		assert_true(w_turn(w));
}

/* The clock jumps from 1970 to 2100 and back while the self-test hangs: deadlines do not. */
static void jumping_clock(struct world *w)
{
	run_into_trial(w);
	for (int i = 0; i < 40 && w->agent.state == AGENT_TRIAL; i++) {
		w->wall_ms = i % 2 ? 1 : YEAR_2100;
		w_run(w, 1000);
	}
}

/* The new release takes the device down ten seconds after each start. */
static void crash_loop(struct world *w)
{
	w->self_test_hangs = true;
	run_into_trial(w);
	for (int crashes = 0; w->agent.state == AGENT_TRIAL; crashes++) {
		assert_true(crashes <= 4);
		w_run(w, 10000);
		if (w->agent.state == AGENT_TRIAL)
			w_reboot_now(w);
	}
}

/* The server goes while the release is on trial; nobody is there to hear of the confirmation. */
static void away_in_the_trial(struct world *w)
{
	run_into_trial(w);
	w->server_is_down = true;
	agent_on_mqtt_disconnected(&w->agent);
	int64_t gone_ms = w->now_ms;
	while (w->events[AGENT_EVENT_FELL_BACK] == 0)
		w_run(w, 1000);
	assert_true(w->now_ms - gone_ms <= 31000); /* by itself, long before anybody comes back */
	w_run(w, 30 * DAY);
}

static void away_in_the_download(struct world *w)
{
	while (w->downloaded_bytes < 50000)
		assert_true(w_turn(w));
	w->server_is_down = true;
	agent_on_mqtt_disconnected(&w->agent);
	int64_t gone_ms = w->now_ms;
	while (w->agent.state != AGENT_IDLE)
		w_run(w, 1000);
	assert_true(w->now_ms - gone_ms <= 601000);
	w_run(w, 30 * DAY);
}

static const struct ordeal faults[] = {
	{.name = "full disk", .arrange = full_disk, .release = 1, .state = "failed", .reason = "storage is full", .deadline_ms = 601000},
	{.name = "corrupt download", .arrange = corrupt, .release = 1, .state = "failed", .reason = "wrong hash", .deadline_ms = 601000},
	{.name = "truncated download", .missing = 100, .release = 1, .state = "failed", .reason = "deadline", .deadline_ms = 601000},
	{.name = "wrong signature", .mangle = flip_signature, .release = 1, .state = "rejected", .reason = "signature is wrong", .deadline_ms = 1000},
	{.name = "changed manifest", .mangle = flip_manifest, .release = 1, .state = "rejected", .reason = "signature is wrong", .deadline_ms = 1000},
	{.name = "replayed older release", .release = 1, .counter = 4, .state = "rejected", .reason = "counter is lower", .deadline_ms = 1000},
	{.name = "expired metadata", .release = 1, .expires = 1600000000000, .state = "rejected", .reason = "expired", .deadline_ms = 1000},
	{.name = "expired metadata, clock at 2100", .arrange = clock_at_2100, .release = 1, .expires = 1800000000000, .state = "rejected",
		.reason = "expired", .deadline_ms = 1000},
	{.name = "metadata with an end, clock at 1970", .arrange = clock_at_1970, .release = 1, .expires = 1600000000000, .state = "succeeded"},
	{.name = "metadata with an end to come", .release = 1, .expires = 1800000000000, .state = "succeeded"},
	{.name = "clock at 1970", .arrange = clock_at_1970, .release = 1, .state = "succeeded"},
	{.name = "clock at 2100", .arrange = clock_at_2100, .release = 1, .state = "succeeded"},
	{.name = "not compatible", .arrange = incompatible, .release = 1, .state = "rejected", .reason = "another runtime", .deadline_ms = 1000},
	{.name = "self-test fails", .arrange = failing_self_test, .release = 1, .state = "failed", .reason = "accuracy too low", .deadline_ms = 31000},
	{.name = "self-test hangs", .arrange = hanging_self_test, .release = 1, .state = "failed", .reason = "did not end in time",
		.deadline_ms = 31000},
	{.name = "self-test hangs, the clock jumps", .arrange = hanging_self_test, .during = jumping_clock, .release = 1, .state = "failed",
		.reason = "did not end in time", .deadline_ms = 41000},
	{.name = "activation fails", .arrange = failing_activation, .release = 1, .state = "failed", .reason = "could not be activated",
		.deadline_ms = 31000},
	{.name = "crash loop in the trial", .during = crash_loop, .release = 1, .state = "failed", .reason = "number of starts",
		.deadline_ms = 61000},
	{.name = "server gone for a month in the trial", .arrange = needs_connection, .during = away_in_the_trial, .release = 1, .state = "failed",
		.reason = "no connection to the server", .deadline_ms = 31 * DAY},
	{.name = "server gone for a month in the download", .during = away_in_the_download, .release = 1, .state = "failed",
		.reason = "deadline", .deadline_ms = 31 * DAY},
};

/* --- what holds in every case --- */

static void count_confirmations(const struct ordeal *f, struct world *w)
{
	struct agent_inspection seen;
	struct world *copy = malloc(sizeof(*copy));
	memcpy(copy, w, sizeof(*copy));
	assert_true(agent_init(&copy->agent, &copy->config, &w_ports, copy));
	copy->memory_is_lent = false;
	assert_true(agent_inspect(&copy->agent, &seen));
	bool is_confirmed = w->events[AGENT_EVENT_CONFIRMED] > 1;
	if (seen.floor != (is_confirmed ? 6u : 5u))
		fail_msg("%s: the stored floor is %llu after %d confirmations", f->name, (unsigned long long)seen.floor,
		         w->events[AGENT_EVENT_CONFIRMED]);
	assert_true(seen.is_verified && !seen.is_damaged);
	free(copy);
}

static void suffer(const struct ordeal *f)
{
	struct world *w = w_new(42);
	if (f->arrange == needs_connection)
		f->arrange(w);
	w_power_up(w);
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	w_run(w, HOUR);
	assert_true(w_is_running(w, &w->releases[0]));
	if (f->arrange)
		f->arrange(w);
	struct test_release offered = w->releases[f->release];
	offered.counter = f->counter ? (uint64_t)f->counter : offered.counter;
	offered.expires = f->expires;
	offered.blobs[0].size += f->missing;
	w_offer_mangled(w, "d-2", 1, &offered, f->mangle, 600000);
	int64_t began_ms = w->now_ms;
	w_hint(w);
	if (f->during)
		f->during(w);
	for (int turns = 0; turns < 700 && (w->agent.state != AGENT_IDLE || w->agent.wants_document); turns++) {
		w_run(w, 1000);
		count_confirmations(f, w);
	}
	if (f->reason && w->now_ms - began_ms > f->deadline_ms)
		fail_msg("%s: not over within %lld ms", f->name, (long long)(w->now_ms - began_ms));
	if (w->server_is_down) {
		w->server_is_down = false;
		agent_on_mqtt_connected(&w->agent);
		w_hint(w);
	}
	w_run(w, 10000);
	char want[64];
	snprintf(want, sizeof(want), "\"attempt\":1,\"state\":\"%s\"", f->state);
	if (!strstr(w->last_report, want) || (f->reason && !strstr(w->last_report, f->reason)))
		fail_msg("%s: the report says %s", f->name, w->last_report);
	w_assert_whole(w);
	assert_true(w_is_running(w, &w->releases[f->reason ? 0 : 1]));
	count_confirmations(f, w);
	w->wall_ms = f->arrange == clock_at_1970 ? w->wall_ms : YEAR_2100; /* what runs does not end with its manifest */
	w_reboot_now(w); /* and all that outlives the power */
	w_run(w, HOUR);
	w_assert_whole(w);
	assert_true(w_is_running(w, &w->releases[f->reason ? 0 : 1]));
	assert_non_null(strstr(w->last_report, want));
	count_confirmations(f, w);
	w_free(w);
}

static void recover(const struct ordeal *f)
{
	struct world *w = w_new(43);
	w_power_up(w);
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	w_run(w, HOUR);
	struct test_release good = w->releases[1], bad = good;
	if (f->arrange && f->arrange != needs_connection)
		f->arrange(w);
	bad.counter = f->counter ? (uint64_t)f->counter : bad.counter;
	bad.expires = f->expires;
	bad.blobs[0].size += f->missing;
	w_offer_mangled(w, "d-2", 1, &bad, f->mangle, 600000);
	w_hint(w);
	w_run(w, HOUR);
	w->corrupt_downloads = w->fail_writes_to = 0;
	w->wall_ms = 1700000000000;
	w->self_test_fails_on = w->incompatible = NULL;
	w->self_test_hangs = w->activation_fails = false;
	w_offer(w, "d-2", 2, &good);
	w_hint(w);
	w_run(w, HOUR);
	if (!w_is_running(w, &good) || w->agent.record.floor != 6)
		fail_msg("%s: not recovered: %s", f->name, w->last_report);
	w_assert_whole(w);
	w_free(w);
}

static void test_faults(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		suffer(&faults[i]);
		recover(&faults[i]);
	}
	print_message("%zu faults, devices lost 0\n", sizeof(faults) / sizeof(faults[0]));
}

/* Wherever in the trial the power goes, the counter on the medium is the old one until the confirmation is there. */
static void test_cut_before_the_confirmation_keeps_the_counter(void **unused)
{
	(void)unused;
	int cuts = 0, confirmed = 0;
	for (int k = 1; confirmed < 3; k++, cuts++) {
		struct world *w = w_new((uint64_t)k);
		w_power_up(w);
		w_offer(w, "d-1", 1, &w->releases[0]);
		w_hint(w);
		w_run(w, HOUR);
		w->cut_at = w->writes + k;
		w_offer(w, "d-2", 1, &w->releases[1]);
		w_hint(w);
		w_run(w, HOUR);
		bool was_confirmed = w->events[AGENT_EVENT_CONFIRMED] > 1;
		confirmed += was_confirmed;
		w_power_off(w);
		struct agent_inspection seen;
		assert_true(agent_init(&w->agent, &w->config, &w_ports, w));
		w->is_dead = false;
		w->memory_is_lent ? w_memory_return(w, w->memory) : (void)0;
		assert_true(agent_inspect(&w->agent, &seen));
		bool is_there = strcmp(seen.release.name, "kws-2") == 0 && !seen.is_trial; /* its record may be whole all the same */
		assert_int_equal(seen.floor, is_there ? 6 : 5);
		assert_true(is_there || !was_confirmed);
		w_free(w);
	}
	assert_true(cuts > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_cut_before_the_confirmation_keeps_the_counter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
