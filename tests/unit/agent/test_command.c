/* Commands on the device: who comes first, what is said and what is not, and the hash of what runs where storage, memory and time fail. */
#include <math.h>

#include "world.h"

#define HOUR 3600000
#define HASH(id) "{\"id\":" id ",\"kind\":\"check\",\"timeout_ms\":60000,\"params\":{\"check\":\"model_hash\"}}"
#define CHECK(id, ms) "{\"id\":" id ",\"kind\":\"check\",\"timeout_ms\":" ms ",\"params\":{\"check\":\"custom\",\"name\":\"ears\"}}"

static struct agent_ports ports; /* those of the world, but for what a test takes away */
static int reads, borrows, hashes, /* that were begun and not ended */
	 reads_fail_from, borrows_fail;
static const struct agent_ports *real;

static bool part_read(void *host, int slot, int part, uint64_t offset, void *out, size_t len)
{
	reads++;
	return (reads_fail_from == 0 || reads < reads_fail_from) && real->part_read(host, slot, part, offset, out, len);
}

static void *memory_borrow(void *host, size_t size)
{
	borrows++;
	return borrows <= borrows_fail ? NULL : real->memory_borrow(host, size);
}

static void sha_init(void *host, union agent_sha *h)
{
	hashes++;
	real->sha_init(host, h);
}

static void sha_final(void *host, union agent_sha *h, uint8_t out[32])
{
	hashes--;
	real->sha_final(host, h, out);
}

static struct world *begin(void)
{
	struct world *w = w_new(42);
	real = &w_ports;
	ports = w_ports;
	ports.part_read = part_read;
	ports.memory_borrow = memory_borrow;
	ports.sha_init = sha_init;
	ports.sha_final = sha_final;
	w->ports = &ports;
	w_power_up(w);
	reads = borrows = hashes = reads_fail_from = borrows_fail = 0;
	return w;
}

static void install(struct world *w, const char *id, int attempt, int release)
{
	w_offer(w, id, attempt, &w->releases[release]);
	w_hint(w);
	w_run(w, HOUR);
}

static void say(struct world *w, const char *json)
{
	agent_on_command(&w->agent, json, strlen(json));
}

static void command(struct world *w, const char *json)
{
	say(w, json);
	w_run(w, 2000);
}

static void damage(struct world *w, int part)
{
	int slot = agent_running_slot(&w->agent);
	w->durable[slot][part].bytes[100] ^= 1;
	w->written[slot][part].bytes[100] ^= 1;
}

#define ANSWER_HAS(w, text) assert_non_null(strstr((w)->last_answer, text))

static void test_each_part_of_either_slot_is_hashed_from_its_beginning(void **unused)
{
	(void)unused;
	struct world *w = begin();
	for (int i = 0; i < 2; i++) { /* one slot, then the other */
		install(w, i == 0 ? "d-1" : "d-2", 1, i);
		for (int k = 0; k < 2; k++) {
			char json[128];
			snprintf(json, sizeof(json), HASH("%d"), 10 * i + k + 1);
			command(w, json);
			ANSWER_HAS(w, "\"pass\":true");
		}
	}
	reads = 0;
	reads_fail_from = 15;
	command(w, HASH("31"));
	ANSWER_HAS(w, "\"id\":31,\"state\":\"done\",\"pass\":false,\"detail\":\"stored bytes cannot be read\"");
	reads_fail_from = 0;
	command(w, HASH("32")); /* not from where the last one ended */
	ANSWER_HAS(w, "\"id\":32,\"state\":\"done\",\"pass\":true");
	damage(w, 1);
	command(w, HASH("33"));
	ANSWER_HAS(w, "\"id\":33,\"state\":\"done\",\"pass\":false,\"detail\":\"stored bytes differ from the manifest\"");
	damage(w, 1);
	damage(w, AGENT_PART_RELEASE);
	command(w, HASH("34"));
	ANSWER_HAS(w, "\"id\":34,\"state\":\"done\",\"pass\":false,\"detail\":\"the release record is damaged or not signed\"");
	w_free(w);
}

/* 46,000 bytes: some polls of 16,384, each in pieces as large as the buffer. */
static void test_hashing_comes_in_slices(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 1);
	int polls = 0, answers = w->answers;
	reads = 0;
	say(w, HASH("1"));
	while (w->answers == answers && polls < 100) {
		(void)agent_poll(&w->agent);
		polls++;
	}
	ANSWER_HAS(w, "\"pass\":true");
	assert_in_range(polls, 4, 8);
	assert_in_range(reads, 23, 60);
	w_free(w);
}

static void test_what_changes_under_the_hash(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 1);
	int answers = w->answers;
	say(w, HASH("1"));
	(void)agent_poll(&w->agent);
	(void)agent_poll(&w->agent);
	assert_int_equal(w->answers, answers);
	agent_on_check(&w->agent, true, NULL, NULL); /* of a check that nobody runs */
	assert_int_equal(w->answers, answers);
	w->agent.running_slot ^= 1;
	(void)agent_poll(&w->agent);
	ANSWER_HAS(w, "\"id\":1,\"state\":\"failed\",\"detail\":\"the release changed meanwhile\"");
	w->agent.running_slot ^= 1;
	command(w, HASH("2"));
	ANSWER_HAS(w, "\"id\":2,\"state\":\"done\",\"pass\":true");
	w_free(w);
}

static void test_a_hash_that_is_too_late_leaves_nothing_behind(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 1);
	int answers = w->answers;
	say(w, HASH("1"));
	(void)agent_poll(&w->agent);
	(void)agent_poll(&w->agent);
	w->now_ms += 60000;
	(void)agent_poll(&w->agent);
	assert_int_equal(w->answers, answers);
	assert_int_equal(hashes, 0);
	command(w, HASH("2"));
	ANSWER_HAS(w, "\"id\":2,\"state\":\"done\",\"pass\":true");
	w_free(w);
}

static void test_without_memory_it_waits_and_does_not_spin(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 1);
	int answers = w->answers;
	borrows = 0;
	borrows_fail = 4;
	say(w, HASH("1"));
	for (int i = 0; i < 10; i++)
		(void)agent_poll(&w->agent);
	assert_int_equal(borrows, 1); /* however often it is asked */
	w_run(w, 120);
	assert_int_equal(w->answers, answers);
	assert_in_range(borrows, 2, 3);
	w_run(w, 2000);
	ANSWER_HAS(w, "\"pass\":true");
	w_free(w);
}

static void test_the_oldest_number_first_and_the_nearest_deadline(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_run(w, HOUR);
	command(w, CHECK("7", "20000"));
	say(w, CHECK("9", "100000"));
	say(w, CHECK("8", "90000"));
	int64_t begun = w->now_ms;
	assert_true(agent_poll(&w->agent) <= begun + 18000); /* that of 7, which came first and not last */
	agent_on_check(&w->agent, true, NULL, "");
	assert_string_equal(w->last_answer, "{\"id\":7,\"state\":\"done\",\"pass\":true}"); /* no detail is none */
	static const double nothing = (double)INFINITY;
	w_run(w, 10);
	agent_on_check(&w->agent, false, &nothing, NULL);
	assert_string_equal(w->last_answer, "{\"id\":8,\"state\":\"done\",\"pass\":false}"); /* nor is infinity a value */
	w_free(w);
}

static void test_what_waits_too_long_is_not_begun(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_run(w, HOUR);
	command(w, CHECK("1", "60000"));
	command(w, CHECK("2", "5000"));
	w_run(w, 10000);
	agent_on_check(&w->agent, true, NULL, NULL);
	w_run(w, 5000);
	assert_int_equal(w->checks, 1);
	w_free(w);
}

static void test_connectivity_needs_no_port(void **unused)
{
	(void)unused;
	static const char text[] = "{\"id\":%d,\"kind\":\"check\",\"timeout_ms\":9000,\"params\":{\"check\":\"connectivity\"}}";
	char json[128];
	struct world *w = begin();
	snprintf(json, sizeof(json), text, 1);
	command(w, json);
	assert_string_equal(w->last_check, "connectivity "); /* where there is one, it decides */
	agent_on_check(&w->agent, false, NULL, NULL);
	ANSWER_HAS(w, "\"id\":1,\"state\":\"done\",\"pass\":false");
	ports.check_start = NULL;
	snprintf(json, sizeof(json), text, 2);
	command(w, json);
	ANSWER_HAS(w, "\"id\":2,\"state\":\"done\",\"pass\":true");
	command(w, CHECK("3", "9000"));
	ANSWER_HAS(w, "\"id\":3,\"state\":\"rejected\"");
	w_free(w);
}

static void test_answers_make_room_and_are_said_again_when_it_is_back(void **unused)
{
	(void)unused;
	struct world *w = begin();
	char json[128];
	for (int i = 1; i <= AGENT_COMMANDS + 2; i++) {
		snprintf(json, sizeof(json), "{\"id\":%d,\"kind\":\"report_now\",\"timeout_ms\":1000}", i);
		command(w, json);
		assert_int_equal(w->answers, i);
	}
	int answers = w->answers;
	agent_on_mqtt_disconnected(&w->agent);
	command(w, "{\"id\":50,\"kind\":\"report_now\",\"timeout_ms\":1000}");
	assert_int_equal(w->answers, answers); /* nobody would hear it */
	agent_on_mqtt_connected(&w->agent);
	command(w, "{\"id\":50,\"kind\":\"report_now\",\"timeout_ms\":1000}");
	assert_int_equal(w->answers, answers + 1);
	command(w, "{\"id\":51,\"kind\":\"check\",\"timeout_ms\":1000,\"params\":{\"check\":\"a b\"}}");
	ANSWER_HAS(w, "\"id\":51,\"state\":\"rejected\",\"detail\":\"malformed parameters\"");
	w_free(w);
}

static void test_before_it_is_on_it_hears_nothing(void **unused)
{
	(void)unused;
	struct world *w = w_new(1);
	assert_true(agent_init(&w->agent, &w->config, &w_ports, w));
	say(w, "{\"id\":1,\"kind\":\"report_now\",\"timeout_ms\":1000}");
	for (int i = 0; i < AGENT_COMMANDS; i++)
		assert_true(w->agent.commands[i].id == 0);
	w_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_part_of_either_slot_is_hashed_from_its_beginning),
		cmocka_unit_test(test_hashing_comes_in_slices),
		cmocka_unit_test(test_what_changes_under_the_hash),
		cmocka_unit_test(test_a_hash_that_is_too_late_leaves_nothing_behind),
		cmocka_unit_test(test_without_memory_it_waits_and_does_not_spin),
		cmocka_unit_test(test_the_oldest_number_first_and_the_nearest_deadline),
		cmocka_unit_test(test_what_waits_too_long_is_not_begun),
		cmocka_unit_test(test_connectivity_needs_no_port),
		cmocka_unit_test(test_answers_make_room_and_are_said_again_when_it_is_back),
		cmocka_unit_test(test_before_it_is_on_it_hears_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
