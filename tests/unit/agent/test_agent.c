/* Scenarios of one device against a world at the ports: the words of docs/protocol.md, one test each. */
#include "agent/codec.h"
#include "world.h"

#define HOUR 3600000

static struct world *begin(void)
{
	struct world *w = w_new(42);
	w_power_up(w);
	return w;
}

static void install(struct world *w, const char *id, int attempt, int release)
{
	w_offer(w, id, attempt, &w->releases[release]);
	w_hint(w);
	w_run(w, HOUR);
}

static void assert_ends(struct world *w, const char *states)
{
	size_t len = strlen(w->deployment_states), n = strlen(states);
	if (len < n || strcmp(w->deployment_states + len - n, states) != 0)
		fail_msg("states are:%s, want the end%s", w->deployment_states, states);
}

static void test_happy_path(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_run(w, HOUR);
	assert_int_equal(w->requests_for_documents, 0); /* rev 0: nothing desired yet */
	install(w, "d-1", 1, 0);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_string_equal(w->deployment_states, " accepted downloading installing trial succeeded");
	assert_int_equal(w->agent.record.floor, 5);
	assert_int_equal(w->requests_for_documents, 1);
	assert_int_equal(w->self_tests, 1);
	assert_false(w->activated_as_trial);
	assert_string_equal(w->last_config, "{\"light\":1}");
	assert_int_equal(agent_report_interval_ms(&w->agent), 30000);
	assert_non_null(strstr(w->last_report,
	                       "\"running\":{\"release\":\"kws-1\",\"counter\":5,\"models\":{\"kws\":\"1.0.0\",\"vad\":\"3.0.0+x\"},\"hashes\":{\"kws\":\""));
	assert_non_null(strstr(w->last_report, "\"deployment\":{\"id\":\"d-1\",\"attempt\":1,\"state\":\"succeeded\"}"));
	assert_null(strstr(w->last_report, "enrol")); /* acknowledged by then */
	assert_true(w->device_is_enrolled);
	w_assert_whole(w);
	w_reboot_now(w);
	w_run(w, HOUR);
	assert_true(w_is_running(w, &w->releases[0]));
	w_free(w);
}

static void test_second_release_copies_what_is_there(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	assert_int_equal(w->downloaded_bytes, 44000);
	install(w, "d-2", 1, 1); /* vad is unchanged: copied from the slot in use */
	assert_true(w_is_running(w, &w->releases[1]));
	assert_int_equal(w->downloaded_bytes, 44000 + 43000);
	install(w, "d-3", 1, 2); /* revert: the old slot holds it all */
	assert_true(w_is_running(w, &w->releases[2]));
	assert_int_equal(w->downloaded_bytes, 44000 + 43000);
	assert_int_equal(w->agent.record.floor, 7);
	assert_ends(w, " trial succeeded");
	w_assert_whole(w);
	install(w, "d-4", 1, 3); /* firmware, an empty artifact, and a model that lies in another part now */
	assert_true(w_is_running(w, &w->releases[3]));
	assert_int_equal(w->downloaded_bytes, 44000 + 43000 + 20000);
	assert_non_null(strstr(w->last_report, "\"models\":{\"kws\":\"1.0.0\",\"empty\":\"1\"},\"firmware\":\"4.5.6\",\"hashes\":{"));
	w_assert_whole(w);
	w_free(w);
}

static void test_damaged_copy_is_downloaded(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	install(w, "d-2", 1, 1);
	int old = 1 - agent_running_slot(&w->agent);
	w->written[old][0].bytes[20000] ^= 4; /* rot in the slot that a revert would reuse */
	install(w, "d-3", 1, 2);
	assert_true(w_is_running(w, &w->releases[2]));
	assert_int_equal(w->downloaded_bytes, 44000 + 43000 + 41000);
	w_assert_whole(w);
	w_free(w);
}

static void flip_signature(struct buf *m, uint8_t *signature)
{
	(void)m;
	signature[5] ^= 1;
}
static void flip_manifest(struct buf *m, uint8_t *signature)
{
	(void)signature;
	m->data[m->len / 2] ^= 1;
}

static void assert_rejected(struct world *w, const char *reason)
{
	int writes = w->writes;
	w_hint(w);
	w_run(w, HOUR);
	assert_ends(w, " rejected");
	if (!strstr(w->last_report, reason))
		fail_msg("want '%s' in %s", reason, w->last_report);
	assert_int_equal(w->requests_for_artifacts, 0);
	assert_true(w->writes <= writes + 1); /* its state record only */
	assert_int_equal(agent_running_slot(&w->agent), AGENT_SLOT_FACTORY);
}

static void test_wrong_signature(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_offer_mangled(w, "d-1", 1, &w->releases[0], flip_signature, 0);
	assert_rejected(w, "the signature is wrong");
	w_offer_mangled(w, "d-1", 2, &w->releases[0], flip_manifest, 0);
	assert_rejected(w, "the signature is wrong");
	w_free(w);
}

static void test_refusals(void **unused)
{
	(void)unused;
	struct world *w = begin();
	struct test_release bad = w->releases[0];
	uint8_t other[1][32] = {{9}};
	bad.counter = 0;
	w_offer(w, "d-1", 1, &bad);
	assert_rejected(w, "counter is lower");
	w_offer(w, "d-2", 1, &w->releases[4]);
	assert_rejected(w, "does not fit");
	w->incompatible = "kws-1";
	w_offer(w, "d-3", 1, &w->releases[0]);
	assert_rejected(w, "needs another runtime");
	w->incompatible = NULL;
	w_offer(w, "d-4", 1, &w->releases[5]);
	assert_rejected(w, "has expired");
	bad = w->releases[0];
	bad.blobs[0].hardware = "esp32p4";
	w_offer(w, "d-5", 1, &bad);
	assert_rejected(w, "no artifact for this hardware");
	w->config.keys = (const uint8_t(*)[32])other;
	w_offer(w, "d-6", 1, &w->releases[0]);
	assert_rejected(w, "unknown key");
	w_free(w);
}

static void test_clock_that_is_wrong(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->wall_ms = 500; /* before `created`: not trusted, so `expires` says nothing */
	install(w, "d-1", 1, 5);
	assert_true(w_is_running(w, &w->releases[5]));
	w->wall_ms = 4102444800000; /* 2100: a release without an end is still good */
	struct test_release again = w->releases[0];
	again.counter = 11;
	w_offer(w, "d-2", 1, &again);
	w_hint(w);
	w_run(w, HOUR);
	assert_true(w_is_running(w, &again));
	w_free(w);
}

static void test_replay_after_confirmation(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 1);
	assert_int_equal(w->agent.record.floor, 6);
	install(w, "d-2", 1, 0); /* recorded earlier: counter 5 */
	assert_ends(w, " rejected");
	assert_true(w_is_running(w, &w->releases[1]));
	install(w, "d-3", 1, 2); /* the same content signed anew */
	assert_true(w_is_running(w, &w->releases[2]));
	w_free(w);
}

static void test_failed_trial_keeps_the_floor(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	w->self_test_fails_on = "kws-2";
	install(w, "d-2", 1, 1);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_ends(w, " trial failed");
	assert_non_null(strstr(w->last_report, "accuracy too low"));
	assert_non_null(strstr(w->last_report, "\"running\":{\"release\":\"kws-1\",\"counter\":5"));
	assert_int_equal(w->agent.record.floor, 5);
	assert_int_equal(w->activated_slot, agent_running_slot(&w->agent));
	size_t downloaded = w->downloaded_bytes;
	w->self_test_fails_on = NULL;
	w_hint(w); /* the same attempt again: nothing but a report */
	w_run(w, HOUR);
	assert_int_equal(w->self_tests, 2);
	w_reboot_now(w); /* and it is over after a restart too */
	w_run(w, HOUR);
	assert_int_equal(w->self_tests, 2);
	assert_true(w_is_running(w, &w->releases[0]));
	install(w, "d-2", 2, 1); /* retry: nothing needs downloading */
	assert_true(w_is_running(w, &w->releases[1]));
	assert_int_equal(w->downloaded_bytes, downloaded);
	assert_int_equal(w->agent.record.floor, 6);
	w_free(w);
}

static void test_silent_self_test_falls_back_in_time(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	w->self_test_hangs = true;
	int64_t before_ms = w->now_ms;
	install(w, "d-2", 1, 1);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_true(w->now_ms - before_ms <= 31000);
	assert_non_null(strstr(w->last_report, "did not end in time"));
	w_free(w);
}

static void test_activation_that_fails(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->activation_fails = true;
	install(w, "d-1", 1, 0);
	assert_ends(w, " failed");
	assert_non_null(strstr(w->last_report, "could not be activated"));
	assert_int_equal(agent_running_slot(&w->agent), AGENT_SLOT_FACTORY);
	assert_int_equal(w->activated_slot, AGENT_SLOT_FACTORY);
	w_free(w);
}

static void test_reboot_into_the_trial(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->activation_reboots = true;
	install(w, "d-1", 1, 0);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_ends(w, " trial succeeded");
	w->self_test_fails_on = "kws-2";
	install(w, "d-2", 1, 1);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_ends(w, " failed");
	w_free(w);
}

static void test_crash_loop_in_the_trial(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	w->self_test_hangs = true;
	w_offer(w, "d-2", 1, &w->releases[1]);
	w_hint(w);
	int crashes = 0;
	while (w->events[AGENT_EVENT_FELL_BACK] == 0) {
		w_run(w, 10000);
		if (w->agent.state == AGENT_TRIAL) {
			w_reboot_now(w); /* the new release crashes after ten seconds */
			assert_true(++crashes <= 4);
		}
	}
	w_run(w, HOUR);
	assert_int_equal(crashes, 4); /* the first run and three restarts */
	assert_true(w_is_running(w, &w->releases[0]));
	assert_ends(w, " failed");
	assert_non_null(strstr(w->last_report, "number of starts"));
	w_free(w);
}

static void test_confirmation_needs_connection(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->config.confirm_needs_connection = true;
	w_power_up(w);
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	while (w->agent.state != AGENT_INSTALLING)
		w_turn(w);
	agent_on_mqtt_disconnected(&w->agent);
	w_run(w, 20000);
	assert_int_equal(w->agent.state, AGENT_TRIAL);
	agent_on_mqtt_connected(&w->agent);
	w_run(w, HOUR);
	assert_true(w_is_running(w, &w->releases[0]));
	w_offer(w, "d-2", 1, &w->releases[1]);
	w_hint(w);
	while (w->agent.state != AGENT_INSTALLING)
		w_turn(w);
	agent_on_mqtt_disconnected(&w->agent);
	w_run(w, HOUR);
	assert_true(w_is_running(w, &w->releases[0]));
	agent_on_mqtt_connected(&w->agent);
	w_run(w, HOUR);
	assert_non_null(strstr(w->last_report, "no connection to the server"));
	w_free(w);
}

static void test_cut_download_resumes(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->cut_download_after = 4;
	install(w, "d-1", 1, 0);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_int_equal(w->requests_for_artifacts, 3);
	assert_int_equal(w->downloaded_bytes, 44000); /* not a byte twice */
	w_free(w);
}

static void test_resume_after_power_cut(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	while (w->downloaded_bytes < 30000)
		w_turn(w);
	w_reboot_now(w);
	w_run(w, HOUR);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_int_equal(w->events[AGENT_EVENT_RESUMED], 1);
	assert_in_range(w->downloaded_bytes, 44000, 44000 + 8192 + CHUNK);
	w_free(w);
}

static void test_server_without_ranges(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->cut_download_after = 4;
	w->ignores_ranges = true;
	install(w, "d-1", 1, 0);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_int_equal(w->downloaded_bytes, 44000 + 3 * CHUNK);
	w_assert_whole(w);
	w_free(w);
}

static void test_corrupt_downloads(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->corrupt_downloads = 2;
	install(w, "d-1", 1, 0);
	assert_true(w_is_running(w, &w->releases[0]));
	w->corrupt_downloads = 3;
	install(w, "d-2", 1, 1);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_ends(w, " failed");
	assert_non_null(strstr(w->last_report, "wrong hash"));
	w_free(w);
}

static void test_too_long_and_too_short_artifacts(void **unused)
{
	(void)unused;
	struct world *w = begin();
	struct test_release lie = w->releases[0]; /* the manifest says less than the server sends */
	lie.blobs[0].size -= 100;
	w_offer(w, "d-1", 1, &lie);
	w_hint(w);
	w_run(w, HOUR);
	assert_ends(w, " failed");
	lie.blobs[0].size += 200; /* and more: truncated for ever, until the deadline */
	w_offer(w, "d-2", 1, &lie);
	w_hint(w);
	w_run(w, HOUR);
	assert_ends(w, " failed");
	assert_non_null(strstr(w->last_report, "deadline"));
	assert_int_equal(agent_running_slot(&w->agent), AGENT_SLOT_FACTORY);
	w_free(w);
}

static void test_artifact_gone(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	while (w->downloaded_bytes == 0)
		w_turn(w);
	w->cut_download_after = 1;
	w_turn(w);
	w->status_instead = 404;
	int documents = w->requests_for_documents;
	w_run(w, 20000);
	assert_true(w->requests_for_documents > documents); /* asks what is wanted now */
	w->status_instead = 0;
	w_run(w, HOUR);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_int_equal(w->downloaded_bytes, 44000); /* the text of the error was not taken for bytes of the artifact */
	w_free(w);
}

static void test_record_forgets_what_is_overwritten(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	install(w, "d-2", 1, 1);
	w_offer(w, "d-3", 1, &w->releases[3]); /* overwrites kws-1 in the old slot */
	w_hint(w);
	size_t before = w->downloaded_bytes;
	while (w->downloaded_bytes == before)
		w_turn(w);
	w_power_off(w);
	w_offer(w, "d-4", 1, &w->releases[2]); /* and now kws-1 is wanted back */
	w_power_up(w);
	w_run(w, HOUR);
	assert_true(w_is_running(w, &w->releases[2]));
	assert_int_equal(w->wrong_hashes, 0);
	w_free(w);
}

static void test_cut_while_a_release_is_sealed(void **unused)
{
	(void)unused;
	for (int k = 1; k <= 6; k++) {
		struct world *w = begin();
		install(w, "d-1", 1, 0);
		w->self_test_fails_on = "kws-2";
		install(w, "d-2", 1, 1); /* stays in the other slot, whole but not wanted */
		w->self_test_fails_on = NULL;
		w->cut_at = w->writes + k;
		install(w, "d-3", 1, 3);
		assert_true(w->is_dead);
		w_power_off(w);
		w_offer(w, "d-2", 2, &w->releases[1]);
		w->events[AGENT_EVENT_FAILED] = 0; /* of the agent that met the cut */
		w_power_up(w);
		w_run(w, HOUR);
		assert_true(w_is_running(w, &w->releases[1]));
		assert_int_equal(w->events[AGENT_EVENT_FAILED], 0);
		w_free(w);
	}
}

static void test_cancel(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	while (w->downloaded_bytes < 20000)
		w_turn(w);
	w_offer(w, NULL, 0, &w->releases[0]);
	w_hint(w);
	w_run(w, HOUR);
	assert_ends(w, " cancelled");
	assert_int_equal(agent_running_slot(&w->agent), AGENT_SLOT_FACTORY);
	assert_int_equal(w->self_tests, 0);
	install(w, "d-2", 1, 0); /* continues with the bytes that are there */
	assert_true(w_is_running(w, &w->releases[0]));
	assert_int_equal(w->events[AGENT_EVENT_RESUMED], 1);
	w_free(w);
}

static void test_cancel_in_the_trial_finishes_it(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->self_test_hangs = true;
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	while (w->agent.state != AGENT_TRIAL)
		w_turn(w);
	w_offer(w, NULL, 0, &w->releases[0]);
	w_hint(w);
	w_turn(w);
	assert_int_equal(w->agent.state, AGENT_TRIAL);
	agent_on_self_test(&w->agent, true, NULL);
	w_run(w, HOUR);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_ends(w, " succeeded");
	w_free(w);
}

static void test_replaced_by_another_deployment(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	while (w->downloaded_bytes < 20000)
		w_turn(w);
	install(w, "d-2", 1, 1);
	assert_true(w_is_running(w, &w->releases[1]));
	assert_int_equal(w->events[AGENT_EVENT_CANCELLED], 1);
	w_assert_whole(w);
	w_free(w);
}

static void test_same_release_again(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	int self_tests = w->self_tests;
	install(w, "d-2", 1, 0); /* another deployment of the very same manifest */
	assert_ends(w, " succeeded");
	assert_non_null(strstr(w->last_report, "\"id\":\"d-2\""));
	assert_int_equal(w->self_tests, self_tests);
	w_free(w);
}

/* What a control of a sham rollout is asked: the files that it runs, signed anew. */
static void test_same_files_signed_anew(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	size_t downloaded = w->downloaded_bytes;
	int self_tests = w->self_tests, slot = agent_running_slot(&w->agent);
	install(w, "d-2", 1, 2); /* same name, same files, a higher counter */
	assert_ends(w, " succeeded accepted installing trial succeeded");
	assert_true(w_is_running(w, &w->releases[2]));
	assert_int_equal(agent_running_slot(&w->agent), 1 - slot);
	assert_int_equal(w->downloaded_bytes, downloaded); /* copied from the slot in use */
	assert_int_equal(w->self_tests, self_tests + 1);
	assert_int_equal(w->agent.record.floor, 7);
	assert_non_null(strstr(w->last_report, "\"running\":{\"release\":\"kws-1\",\"counter\":7,"));
	char sha256[2 * AGENT_SHA256_BYTES + 1], said[160];
	agent_hex_encode(w->agent.running.components[0].sha256, AGENT_SHA256_BYTES, sha256);
	snprintf(said, sizeof(said), "\"hashes\":{\"%s\":\"%s\"", w->agent.running.components[0].name, sha256);
	assert_true(w->agent.running.components[0].is_firmware || strstr(w->last_report, said) != NULL);
	w_assert_whole(w);
	w_free(w);
}

/* --- a release in shadow --- */

static void run_in_shadow(struct world *w, const char *id, int attempt, int runs, int shadow)
{
	w_offer_shadow(w, id, attempt, &w->releases[runs], &w->releases[shadow]);
	w_hint(w);
	w_run(w, HOUR);
}

static void assert_shadow(struct world *w, int runs, const char *shadow)
{
	w_assert_whole(w);
	assert_true(w_is_running(w, &w->releases[runs]));
	assert_int_equal(w->agent.record.floor, w->releases[runs].counter);
	assert_int_equal(agent_running_slot(&w->agent), w->activated_slot);
	assert_int_equal(w->shadow_slot >= 0, shadow != NULL);
	assert_int_equal(agent_shadow(&w->agent) != NULL, shadow != NULL);
	if (shadow) {
		assert_int_equal(w->shadow_slot, 1 - w->activated_slot);
		assert_string_equal(w->shadow_release, shadow);
	}
}

static void test_shadow_runs_beside(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_run(w, 1000);
	assert_non_null(strstr(w->last_report, "\"capabilities\":{\"slot_bytes\":64000,\"shadow\":true,\"runtime\":"));
	install(w, "d-1", 1, 0);
	int self_tests = w->self_tests;
	run_in_shadow(w, "d-2", 1, 0, 1);
	assert_ends(w, " succeeded accepted downloading installing succeeded");
	assert_shadow(w, 0, "kws-2");
	assert_string_equal(agent_shadow(&w->agent), "d-2");
	assert_int_equal(w->self_tests, self_tests);
	assert_non_null(strstr(w->last_report, "\"running\":{\"release\":\"kws-1\",\"counter\":5,"));
	size_t downloaded = w->downloaded_bytes;
	w_reboot_now(w);
	w_run(w, HOUR);
	assert_shadow(w, 0, "kws-2");
	w->server_is_down = true; /* what ran goes on without the server, too */
	w_reboot_now(w);
	w_run(w, HOUR);
	assert_shadow(w, 0, "kws-2");
	assert_int_equal(w->shadow_starts, 3);
	w->server_is_down = false;
	agent_on_mqtt_connected(&w->agent);
	w_offer(w, NULL, 0, &w->releases[0]); /* vanishes */
	w_hint(w);
	w_run(w, HOUR);
	assert_ends(w, " succeeded cancelled");
	assert_shadow(w, 0, NULL);
	w_reboot_now(w);
	w_run(w, HOUR);
	assert_shadow(w, 0, NULL);
	install(w, "d-3", 1, 1); /* the bytes are there */
	assert_true(w_is_running(w, &w->releases[1]));
	assert_int_equal(w->downloaded_bytes, downloaded);
	w_assert_whole(w);
	w_free(w);
}

static void test_shadow_gives_way(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	run_in_shadow(w, "d-2", 1, 0, 1);
	run_in_shadow(w, "d-3", 1, 0, 3); /* another one: the first ends before its slot is written (world.h asserts it) */
	assert_shadow(w, 0, "full-1");
	run_in_shadow(w, "d-3", 2, 0, 3); /* another attempt: anew, from the stored bytes */
	assert_shadow(w, 0, "full-1");
	assert_int_equal(w->shadow_starts, 3);
	install(w, "d-4", 1, 1);
	assert_shadow(w, 1, NULL);
	w_offer_shadow(w, "d-5", 1, &w->releases[1], &w->releases[3]);
	w->cut_download_after = 2;
	w_hint(w);
	for (int i = 0; i < 9; i++)
		w_turn(w);
	install(w, "d-6", 1, 3); /* before it has come into its slot */
	assert_shadow(w, 3, NULL);
	w_free(w);
}

static void assert_refused(struct world *w, const char *reason)
{
	assert_ends(w, " rejected");
	assert_non_null(strstr(w->last_report, reason));
	assert_shadow(w, 1, NULL);
}

static void test_shadow_is_refused(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 1);
	run_in_shadow(w, "d-2", 1, 1, 0); /* older than what was confirmed */
	assert_refused(w, "the manifest's counter is lower than the confirmed one");
	run_in_shadow(w, "d-3", 1, 1, 4);
	assert_refused(w, "the release does not fit into a slot");
	w->has_no_shadow = true;
	w_reboot_now(w);
	w_run(w, 1000);
	assert_null(strstr(w->last_report, "\"shadow\""));
	run_in_shadow(w, "d-4", 1, 1, 3);
	assert_refused(w, "this device runs nothing in shadow");
	w_free(w);
}

static void test_shadow_that_crashes(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	agent_on_shadow_ended(&w->agent, "not even there");
	run_in_shadow(w, "d-2", 1, 0, 1);
	agent_on_shadow_ended(&w->agent, "signal 11");
	w_run(w, HOUR);
	assert_ends(w, " succeeded failed");
	assert_non_null(strstr(w->last_report, "\"reason\":\"signal 11\""));
	assert_shadow(w, 0, NULL);
	w_reboot_now(w);
	w_run(w, HOUR);
	assert_shadow(w, 0, NULL); /* not again within this attempt */
	size_t downloaded = w->downloaded_bytes;
	run_in_shadow(w, "d-2", 2, 0, 1);
	assert_shadow(w, 0, "kws-2");
	assert_int_equal(w->downloaded_bytes, downloaded);
	w->shadow_fails = true;
	run_in_shadow(w, "d-2", 3, 0, 1);
	assert_ends(w, " failed");
	assert_shadow(w, 0, NULL);
	w_free(w);
}

static void test_shadow_that_takes_the_device_down(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	run_in_shadow(w, "d-2", 1, 0, 1);
	for (int i = 0; i < 6; i++) { /* each time up long enough: never given up */
		w_reboot_now(w);
		w_run(w, 60000);
		assert_shadow(w, 0, "kws-2");
	}
	for (int i = 0; i < 3; i++) {
		w_reboot_now(w);
		w_run(w, 2000);
		assert_shadow(w, 0, "kws-2");
	}
	w_reboot_now(w);
	w_run(w, HOUR);
	assert_ends(w, " succeeded failed");
	assert_shadow(w, 0, NULL);
	assert_non_null(strstr(w->last_report, "restarted too often"));
	w_free(w);
}

static void test_rot_in_the_shadow(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	run_in_shadow(w, "d-2", 1, 0, 1);
	size_t downloaded = w->downloaded_bytes;
	int slot = w->shadow_slot;
	w->durable[slot][0].bytes[100] ^= 1;
	w->written[slot][0].bytes[100] ^= 1;
	w_reboot_now(w);
	w_run(w, HOUR);
	assert_shadow(w, 0, "kws-2");
	assert_int_equal(w->downloaded_bytes, downloaded + 43000); /* that part only */
	w_free(w);
}

/* --- commands --- */

static void command(struct world *w, const char *json)
{
	agent_on_command(&w->agent, json, strlen(json));
	w_run(w, 2000);
}
#define HASH(id) "{\"id\":" id ",\"kind\":\"check\",\"timeout_ms\":60000,\"params\":{\"check\":\"model_hash\"}}"
#define CHECK(id) "{\"id\":" id ",\"kind\":\"check\",\"timeout_ms\":10000,\"params\":{\"check\":\"custom\",\"name\":\"ears\"}}"

static void test_hash_of_what_runs(void **unused)
{
	(void)unused;
	struct world *w = begin();
	command(w, HASH("1"));
	assert_string_equal(w->last_answer, "{\"id\":1,\"state\":\"done\",\"pass\":true,\"detail\":\"the factory release, which cannot change\"}");
	install(w, "d-1", 1, 0);
	command(w, HASH("2"));
	assert_string_equal(w->last_answer, "{\"id\":2,\"state\":\"done\",\"pass\":true}");
	int slot = agent_running_slot(&w->agent);
	w->durable[slot][0].bytes[100] ^= 1;
	w->written[slot][0].bytes[100] ^= 1;
	command(w, HASH("2")); /* known: the same words, nothing is read again */
	assert_string_equal(w->last_answer, "{\"id\":2,\"state\":\"done\",\"pass\":true}");
	command(w, HASH("3"));
	assert_string_equal(w->last_answer, "{\"id\":3,\"state\":\"done\",\"pass\":false,\"detail\":\"stored bytes differ from the manifest\"}");
	assert_int_equal(w->answers, 4);
	w_free(w);
}

static void test_commands_wait_for_each_other(void **unused)
{
	(void)unused;
	struct world *w = begin();
	static const double value = 12.5;
	command(w, CHECK("7"));
	command(w, CHECK("7"));
	command(w, CHECK("8"));
	assert_string_equal(w->last_check, "custom ears");
	assert_int_equal(w->checks, 1);
	assert_int_equal(w->answers, 0);
	agent_on_check(&w->agent, false, &value, "\"deaf\"");
	assert_string_equal(w->last_answer, "{\"id\":7,\"state\":\"done\",\"pass\":false,\"value\":12.5,\"detail\":\"\\\"deaf\\\"\"}");
	w_run(w, 2000);
	assert_int_equal(w->checks, 2);
	w_run(w, 20000); /* its deadline has passed: nobody is told */
	assert_int_equal(w->cancelled_checks, 1);
	agent_on_check(&w->agent, true, NULL, NULL);
	assert_int_equal(w->answers, 1);
	command(w, CHECK("8"));
	assert_int_equal(w->checks, 3);
	w_free(w);
}

static void test_other_commands(void **unused)
{
	(void)unused;
	struct world *w = begin();
	int reports;
	w_run(w, HOUR);
	reports = w->reports;
	command(w, "{\"id\":1,\"kind\":\"report_now\",\"timeout_ms\":1000}");
	assert_string_equal(w->last_answer, "{\"id\":1,\"state\":\"done\"}");
	assert_true(w->telemetry_nows == 1 && w->reports > reports);
	command(w, "{\"id\":2,\"kind\":\"dance\",\"timeout_ms\":1000,\"new\":[]}");
	assert_non_null(strstr(w->last_answer, "\"id\":2,\"state\":\"rejected\""));
	w->has_no_checks = true;
	command(w, CHECK("3"));
	assert_non_null(strstr(w->last_answer, "\"id\":3,\"state\":\"rejected\""));
	command(w, "{\"id\":4,\"kind\":\"check\",\"timeout_ms\":1000,\"params\":{\"check\":\"a b\"}}");
	assert_non_null(strstr(w->last_answer, "\"id\":4,\"state\":\"rejected\""));
	int answers = w->answers;
	command(w, "{\"id\":0,\"kind\":\"report_now\",\"timeout_ms\":1000}");
	command(w, "{\"id\":5,\"kind\":\"report_now\"}");
	command(w, "{\"id\":5");
	command(w, "");
	assert_int_equal(w->answers, answers);
	w_free(w);
}

/* Nothing but the state record says what is confirmed; a shadow has the higher counter, and a good signature. */
static void test_state_record_lost_with_a_shadow(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	run_in_shadow(w, "d-2", 1, 0, 1);
	w->state_len[0] = w->state_len[1] = 0;
	w_reboot_now(w);
	assert_true(w_is_running(w, &w->releases[0]));
	assert_int_equal(w->agent.record.floor, 5);
	w_run(w, HOUR); /* the document still wants it */
	assert_shadow(w, 0, "kws-2");
	w_free(w);
}

static void test_storage_fails_at_every_write_of_a_shadow(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	int before = w->writes;
	run_in_shadow(w, "d-2", 1, 0, 1);
	int writes = w->writes - before;
	w_free(w);
	assert_true(writes > 15);
	for (int k = 1; k <= writes; k++) {
		w = begin();
		install(w, "d-1", 1, 0);
		w->fail_writes_from = before + k;
		w->fail_writes_to = before + k + 1;
		run_in_shadow(w, "d-2", 1, 0, 1);
		assert_true(w_is_running(w, &w->releases[0]));
		run_in_shadow(w, "d-2", 2, 0, 1);
		assert_shadow(w, 0, "kws-2");
		w_free(w);
	}
}

static void test_what_a_shadow_measures(void **unused)
{
	(void)unused;
	struct agent_telemetry t;
	char out[AGENT_TELEMETRY_BYTES];
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	agent_telemetry_begin(&t, &w->agent, out, sizeof(out), "kws", "1.0.0");
	agent_telemetry_ratio(&t, "accuracy", 50, 46);
	assert_false(agent_telemetry_shadow(&t)); /* none runs */
	assert_true(agent_telemetry_send(&t));
	assert_null(strstr(out, "shadow"));
	run_in_shadow(w, "d-2", 1, 0, 1);
	agent_telemetry_begin(&t, &w->agent, out, sizeof(out), "kws", "1.0.0");
	agent_telemetry_ratio(&t, "accuracy", 50, 46);
	assert_true(agent_telemetry_shadow(&t));
	assert_false(agent_telemetry_shadow(&t)); /* once */
	agent_telemetry_ratio(&t, "accuracy", 50, 40);
	agent_telemetry_number(&t, "a2345678901234567890123456789012345678901", 1);
	assert_true(agent_telemetry_send(&t));
	assert_non_null(strstr(out, "\"metrics\":{\"accuracy\":{\"n\":50,\"k\":46}},\"shadow\":{\"id\":\"d-2\",\"metrics\":{"
	                            "\"accuracy\":{\"n\":50,\"k\":40},\"a2345678901234567890123456789012345678901\":1}}}"));
	agent_telemetry_begin(&t, &w->agent, out, sizeof(out), NULL, NULL);
	agent_telemetry_number(&t, "shadow.x", 1); /* reserved */
	agent_telemetry_number(&t, "x", 1);
	assert_true(agent_telemetry_shadow(&t));
	agent_telemetry_number(&t, "a23456789012345678901234567890123456789012", 1); /* too long with the server's prefix */
	agent_telemetry_number(&t, "x", 2);
	assert_false(agent_telemetry_send(&t));
	assert_non_null(strstr(out, "\"metrics\":{\"x\":1},\"shadow\":{\"id\":\"d-2\",\"metrics\":{\"x\":2}}}"));
	w_free(w);
}

static void test_repeats_until_acknowledged(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_run(w, HOUR);
	int reports = w->reports, distinct = w->distinct_reports;
	w_run(w, HOUR);
	assert_int_equal(w->reports, reports); /* acknowledged: silence */
	w->acks_are_lost = true;
	w_offer(w, NULL, 0, &w->releases[0]);
	w_hint(w);
	w_run(w, 100000);
	assert_in_range(w->reports - reports, 9, 11); /* every ten seconds */
	assert_int_equal(w->distinct_reports, distinct + 1); /* the same bytes */
	w->acks_are_lost = false;
	reports = w->reports;
	w_run(w, HOUR);
	assert_int_equal(w->reports, reports + 1);
	w_free(w);
}

static void test_foreign_acknowledgement(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->acks_are_lost = true;
	w_run(w, 1000);
	static const char *const hints[] = {"{\"rev\":0,\"ack\":[\"other\",9]}", "{\"rev\":0,\"ack\":[7]}",
		"{\"rev\":0,\"ack\":\"x\"}",
	                                    "{\"rev\":-1}", "", "[]", "{\"rev\":0,\"ack\":[\"other\",9],\"ack\":[\"a\",1]}"};
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		agent_on_desired(&w->agent, hints[i], strlen(hints[i]));
	char future[96];
	snprintf(future, sizeof(future), "{\"rev\":0,\"ack\":[\"%s\",1000]}", agent_boot_id(&w->agent));
	agent_on_desired(&w->agent, future, strlen(future));
	assert_int_equal(w->agent.acknowledged_seq, 0);
	w_free(w);
}

static void test_server_gone_for_a_month(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_offer(w, "d-1", 1, &w->releases[0]);
	w_hint(w);
	while (w->downloaded_bytes < 20000)
		w_turn(w);
	w->server_is_down = true;
	agent_on_mqtt_disconnected(&w->agent);
	w_run(w, 30 * 24 * (int64_t)HOUR); /* 20000 turns at most: no flood of attempts */
	assert_int_equal(w->agent.state, AGENT_IDLE); /* given up at the deadline */
	w->server_is_down = false;
	agent_on_mqtt_connected(&w->agent);
	w_hint(w);
	w_run(w, HOUR);
	assert_ends(w, " failed");
	install(w, "d-1", 2, 0);
	assert_true(w_is_running(w, &w->releases[0]));
	w_free(w);
}

static void test_full_disk(void **unused)
{
	(void)unused;
	for (int first = 1; first <= 14; first++) {
		struct world *w = begin();
		install(w, "d-1", 1, 0);
		w->fail_writes_from = w->writes + first;
		w->fail_writes_to = w->fail_writes_from + 1000;
		install(w, "d-2", 1, 1);
		w->fail_writes_to = 0;
		w_run(w, HOUR);
		assert_true(w_is_running(w, &w->releases[0]) || w_is_running(w, &w->releases[1]));
		w_assert_whole(w);
		w_reboot_now(w);
		install(w, "d-2", 2, 1);
		assert_true(w_is_running(w, &w->releases[1]));
		w_assert_whole(w);
		w_free(w);
	}
}

static void test_storage_fails_at_every_single_write(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	int before = w->writes;
	install(w, "d-2", 1, 1);
	int writes = w->writes - before;
	w_free(w);
	for (int k = 1; k <= writes; k++) {
		w = begin();
		install(w, "d-1", 1, 0);
		w->fail_writes_from = before + k;
		w->fail_writes_to = before + k + 1;
		install(w, "d-2", 1, 1);
		w_assert_whole(w);
		install(w, "d-2", 2, 1);
		assert_true(w_is_running(w, &w->releases[1]));
		w_assert_whole(w);
		w_free(w);
	}
}

static void test_rot_in_the_active_slot(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	install(w, "d-2", 1, 1);
	int active = agent_running_slot(&w->agent);
	w->durable[active][0].bytes[100] ^= 1;
	w->written[active][0].bytes[100] ^= 1;
	struct agent_inspection seen;
	assert_true(agent_init(&w->agent, &w->config, &w_ports, w));
	assert_true(agent_inspect(&w->agent, &seen));
	assert_true(seen.is_damaged && seen.is_verified);
	assert_int_equal(seen.slot, 1 - active);
	w_reboot_now(w);
	assert_string_equal(agent_running(&w->agent)->name, "kws-1"); /* the other confirmed one */
	w_assert_whole(w);
	install(w, "d-3", 1, 1);
	assert_true(w_is_running(w, &w->releases[1]));
	w_assert_whole(w);
	w_free(w);
}

static void test_state_record_lost(void **unused)
{
	(void)unused;
	struct world *w = begin();
	install(w, "d-1", 1, 0);
	install(w, "d-2", 1, 1);
	w->state_len[0] = w->state_len[1] = 0;
	w_reboot_now(w);
	assert_true(w_is_running(w, &w->releases[1]));
	assert_int_equal(w->agent.record.floor, 6);
	w_free(w);
}

static void test_scarce_memory(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w->memory_is_scarce = true;
	w->self_test_fails_on = "kws-2";
	install(w, "d-1", 1, 0);
	install(w, "d-2", 1, 1);
	assert_true(w_is_running(w, &w->releases[0]));
	w_reboot_now(w);
	w_free(w);
}

static void test_hostile_documents(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_offer(w, "d-1", 1, &w->releases[0]);
	size_t len = w->document_len;
	for (size_t i = 0; i < len; i += 3) { /* every third byte changed: nothing but refusals, or no change at all */
		char kept = w->document[i];
		w->document[i] = (char)(kept ^ (1 + w_random(w) % 127));
		snprintf(w->etag, sizeof(w->etag), "%016zx", i);
		w->rev++;
		w_hint(w);
		w_run(w, 1000);
		w->document[i] = kept;
		w_assert_whole(w);
	}
	w_free(w);
}

static void test_document_too_long(void **unused)
{
	(void)unused;
	struct world *w = begin();
	w_offer(w, "d-1", 1, &w->releases[0]);
	w->document_len = AGENT_DOCUMENT_BYTES;
	memset(w->document + 10, ' ', 10);
	w_hint(w);
	w_run(w, 10000);
	assert_int_equal(w->requests_for_artifacts, 0);
	w_free(w);
}

static void test_footprint(void **unused)
{
	(void)unused;
	print_message("struct agent: %zu bytes\n", sizeof(struct agent));
	assert_true(sizeof(struct agent) < 24 * 1024);
}

static void test_init_refuses(void **unused)
{
	(void)unused;
	struct world *w = w_new(1);
	struct agent_ports ports = w_ports;
	char long_text[1100];
	memset(long_text, 'x', sizeof(long_text));
	long_text[sizeof(long_text) - 1] = '\0';
	ports.verify = NULL;
	assert_false(agent_init(&w->agent, &w->config, &ports, w));
	w->config.device = "no/slash";
	assert_false(agent_init(&w->agent, &w->config, &w_ports, w));
	w->config.device = "dev-1";
	w->config.key_count = 0;
	assert_false(agent_init(&w->agent, &w->config, &w_ports, w));
	w->config.key_count = 1;
	w->config.enrol.tags_json = long_text;
	assert_false(agent_init(&w->agent, &w->config, &w_ports, w));
	w->config.enrol.tags_json = NULL;
	assert_true(agent_init(&w->agent, &w->config, &w_ports, w));
	w_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_happy_path),
		cmocka_unit_test(test_second_release_copies_what_is_there),
		cmocka_unit_test(test_damaged_copy_is_downloaded),
		cmocka_unit_test(test_wrong_signature),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_clock_that_is_wrong),
		cmocka_unit_test(test_replay_after_confirmation),
		cmocka_unit_test(test_failed_trial_keeps_the_floor),
		cmocka_unit_test(test_silent_self_test_falls_back_in_time),
		cmocka_unit_test(test_activation_that_fails),
		cmocka_unit_test(test_reboot_into_the_trial),
		cmocka_unit_test(test_crash_loop_in_the_trial),
		cmocka_unit_test(test_confirmation_needs_connection),
		cmocka_unit_test(test_cut_download_resumes),
		cmocka_unit_test(test_resume_after_power_cut),
		cmocka_unit_test(test_server_without_ranges),
		cmocka_unit_test(test_corrupt_downloads),
		cmocka_unit_test(test_too_long_and_too_short_artifacts),
		cmocka_unit_test(test_artifact_gone),
		cmocka_unit_test(test_record_forgets_what_is_overwritten),
		cmocka_unit_test(test_cut_while_a_release_is_sealed),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cancel_in_the_trial_finishes_it),
		cmocka_unit_test(test_replaced_by_another_deployment),
		cmocka_unit_test(test_same_release_again),
		cmocka_unit_test(test_same_files_signed_anew),
		cmocka_unit_test(test_shadow_runs_beside),
		cmocka_unit_test(test_shadow_gives_way),
		cmocka_unit_test(test_shadow_is_refused),
		cmocka_unit_test(test_shadow_that_crashes),
		cmocka_unit_test(test_shadow_that_takes_the_device_down),
		cmocka_unit_test(test_rot_in_the_shadow),
		cmocka_unit_test(test_hash_of_what_runs),
		cmocka_unit_test(test_commands_wait_for_each_other),
		cmocka_unit_test(test_other_commands),
		cmocka_unit_test(test_state_record_lost_with_a_shadow),
		cmocka_unit_test(test_storage_fails_at_every_write_of_a_shadow),
		cmocka_unit_test(test_what_a_shadow_measures),
		cmocka_unit_test(test_repeats_until_acknowledged),
		cmocka_unit_test(test_foreign_acknowledgement),
		cmocka_unit_test(test_server_gone_for_a_month),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_storage_fails_at_every_single_write),
		cmocka_unit_test(test_rot_in_the_active_slot),
		cmocka_unit_test(test_state_record_lost),
		cmocka_unit_test(test_scarce_memory),
		cmocka_unit_test(test_hostile_documents),
		cmocka_unit_test(test_document_too_long),
		cmocka_unit_test(test_footprint),
		cmocka_unit_test(test_init_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
