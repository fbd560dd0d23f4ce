/* Offloading: the device's rule, the policy as a document, the margin fitted on simulated devices, the watch. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/offload_policy.h"

/* ---- the device ---- */

static enum offload_verdict decide(const struct offload_rule *r, struct offload_state *s, uint32_t margin, enum offload_link link, uint32_t battery,
	uint32_t ms)
{
	struct offload_now now = {.link = link, .rssi_dbm = OFFLOAD_ANY_RSSI, .battery_percent = battery, .size_bytes = 1000, .ms = ms};
	return offload_decide(r, s, margin, &now);
}

static void hard_ones_are_sent_where_all_allows(void **state)
{
	(void)state;
	struct offload_rule r = {.rssi_least = OFFLOAD_ANY_RSSI, .margin = 1200, .link_least = OFFLOAD_LINK_METERED, .battery_least = 20, .budget = 100};
	struct offload_state s = {.random = 1};
	assert_int_equal(decide(&r, &s, 1199, OFFLOAD_LINK_GOOD, 50, 0), OFFLOAD_HARD);
	assert_int_equal(decide(&r, &s, 1200, OFFLOAD_LINK_GOOD, 50, 0), OFFLOAD_LOCAL);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_METERED, 20, 0), OFFLOAD_HARD);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_BAD, 50, 0), OFFLOAD_NO_LINK);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_NONE, 50, 0), OFFLOAD_NO_LINK);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 19, 0), OFFLOAD_NO_BATTERY);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 255, 0), OFFLOAD_HARD);
	assert_int_equal(s.tokens, 97);
	r.margin = 0;
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, 0), OFFLOAD_LOCAL);
	assert_true(offload_sends(OFFLOAD_HARD) && offload_sends(OFFLOAD_AUDIT) && !offload_sends(OFFLOAD_NO_BUDGET));
	r.link_least = OFFLOAD_LINK_NONE, r.margin = 5; /* without a link nothing goes, whatever the rule says */
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_NONE, 50, 0), OFFLOAD_NO_LINK);
}

static void the_budget_comes_back_over_the_hour(void **state)
{
	(void)state;
	struct offload_rule r = {.rssi_least = OFFLOAD_ANY_RSSI, .margin = 10000, .budget = 6};
	struct offload_state s = {.random = 1};
	uint32_t now = UINT32_MAX - 1000; /* the clock wraps */
	int sent = 0;
	for (int i = 0; i < 10; i++) sent += offload_sends(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, now));
	assert_int_equal(sent, 6);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, now + 599999), OFFLOAD_NO_BUDGET);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, now + 600000), OFFLOAD_HARD);
	sent = 0;
	for (uint32_t t = 0; t < 10 * 3600u; t++)
		sent += offload_sends(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, now + 600000 + t * 1000));
	assert_in_range(sent, 59, 60); /* ten hours, each second one that is hard */
	r.budget = 0;
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, now), OFFLOAD_NO_BUDGET);
}

static void a_budget_may_be_of_bytes_and_of_a_day(void **state)
{
	(void)state;
	struct offload_rule r = {.rssi_least = OFFLOAD_ANY_RSSI, .margin = 10000, .unit = OFFLOAD_BYTES_PER_DAY, .budget = 24000};
	struct offload_state s = {.random = 1};
	int sent = 0;
	for (int i = 0; i < 100; i++) sent += offload_sends(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, 0));
	assert_int_equal(sent, 24); /* of 1000 bytes */
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, 3599999), OFFLOAD_NO_BUDGET);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, 3600000), OFFLOAD_HARD);
	r = (struct offload_rule){.rssi_least = OFFLOAD_ANY_RSSI, .margin = 10000, .unit = OFFLOAD_PER_DAY, .budget = 24};
	s = (struct offload_state){.random = 1};
	for (sent = 0; sent < 24; sent++) assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, 0), OFFLOAD_HARD);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, 3599999), OFFLOAD_NO_BUDGET);
	assert_int_equal(decide(&r, &s, 0, OFFLOAD_LINK_GOOD, 50, 3600000), OFFLOAD_HARD);
}

static void a_link_must_be_known_to_be_good_enough(void **state)
{
	(void)state;
	struct offload_rule r = {.margin = 10000, .budget = 100, .rssi_least = -80, .rate_least = 500};
	struct offload_state s = {.random = 1};
	struct offload_now now = {.link = OFFLOAD_LINK_GOOD, .rssi_dbm = -80, .rate_kbps = 500, .battery_percent = 255};
	assert_int_equal(offload_decide(&r, &s, 0, &now), OFFLOAD_HARD);
	now.rssi_dbm = -81;
	assert_int_equal(offload_decide(&r, &s, 0, &now), OFFLOAD_NO_LINK);
	now.rssi_dbm = OFFLOAD_ANY_RSSI;
	assert_int_equal(offload_decide(&r, &s, 0, &now), OFFLOAD_NO_LINK);
	now.rssi_dbm = -10, now.rate_kbps = 499;
	assert_int_equal(offload_decide(&r, &s, 0, &now), OFFLOAD_NO_LINK);
	now.rate_kbps = 0;
	assert_int_equal(offload_decide(&r, &s, 0, &now), OFFLOAD_NO_LINK);
}

static void some_easy_ones_are_audited(void **state)
{
	(void)state;
	struct offload_rule r = {.rssi_least = OFFLOAD_ANY_RSSI, .margin = 1000, .audit = 200, .budget = 1000000, .battery_least = 20};
	struct offload_state s = {.random = 77};
	int audits = 0;
	for (int i = 0; i < 100000; i++) {
		enum offload_verdict v = decide(&r, &s, 9000, OFFLOAD_LINK_GOOD, 50, 0);
		assert_true(v == OFFLOAD_LOCAL || v == OFFLOAD_AUDIT);
		audits += v == OFFLOAD_AUDIT;
	}
	assert_in_range(audits, 1800, 2200);
	r.audit = OFFLOAD_ONE; /* one that cannot be sent is no failure */
	assert_int_equal(decide(&r, &s, 9000, OFFLOAD_LINK_NONE, 50, 0), OFFLOAD_LOCAL);
	assert_int_equal(decide(&r, &s, 9000, OFFLOAD_LINK_GOOD, 5, 0), OFFLOAD_LOCAL);
	r.budget = 0;
	assert_int_equal(decide(&r, &s, 9000, OFFLOAD_LINK_GOOD, 50, 0), OFFLOAD_LOCAL);
}

/* ---- the document ---- */

#define POLICY "{\"margin\":0.1234,\"audit\":0.01,\"link\":\"good\",\"battery\":20,\"per_hour\":7,\"endpoint\":\"https://e/x\",\"rev\":3}"

static void a_policy_reads_back(void **state)
{
	(void)state;
	struct offload_policy p;
	struct buf out = BUF_INIT;
	assert_int_equal(offload_policy_parse(&p, POLICY, strlen(POLICY), NULL), ERR_OK);
	assert_true(p.rule.margin == 1234 && p.rule.audit == 100 && p.rule.link_least == OFFLOAD_LINK_GOOD && p.rev == 3);
	offload_policy_print(&p, &out);
	assert_string_equal(buf_cstr(&out), POLICY);
	buf_clear(&out);
	static const char linked[] = "{\"margin\":0,\"audit\":0,\"link\":\"bad\",\"battery\":0,\"rssi\":-80,\"rate\":500,\"bytes_per_day\":9,"
		"\"endpoint\":\"https://e/x\",\"rev\":0}";
	assert_int_equal(offload_policy_parse(&p, linked, strlen(linked), NULL), ERR_OK);
	assert_true(p.rule.rssi_least == -80 && p.rule.rate_least == 500 && p.rule.unit == OFFLOAD_BYTES_PER_DAY && p.rule.budget == 9);
	offload_policy_print(&p, &out);
	assert_string_equal(buf_cstr(&out), linked);
	buf_done(&out);
	static const char least[] = "{\"margin\":1,\"endpoint\":\"https://e\"}";
	assert_int_equal(offload_policy_parse(&p, least, strlen(least), NULL), ERR_OK);
	assert_true(p.rule.margin == OFFLOAD_ONE && p.rule.budget == 60 && p.rule.link_least == OFFLOAD_LINK_METERED);
}

static void what_is_no_policy_is_refused_by_name(void **state)
{
	(void)state;
#define E ",\"endpoint\":\"https://e\"}"
	static const struct {
		const char *text, *pointer;
		enum err e;
	} rows[] = {
		{"[]", "", ERR_INVALID}, {"{\"margin\":0.1}", "", ERR_INVALID}, {"{\"endpoint\":\"https://e\"}", "", ERR_INVALID},
		{"{\"margin\":1.1" E, "/margin", ERR_INVALID}, {"{\"margin\":-0.1" E, "/margin", ERR_INVALID},
		{"{\"margin\":\"1\"" E, "/margin", ERR_INVALID}, {"{\"margin\":1,\"margin\":1" E, "/margin", ERR_INVALID},
		{"{\"margin\":1,\"audit\":2" E, "/audit", ERR_INVALID}, {"{\"margin\":1,\"link\":\"none\"" E, "/link", ERR_INVALID},
		{"{\"margin\":1,\"link\":3" E, "/link", ERR_INVALID}, {"{\"margin\":1,\"battery\":101" E, "/battery", ERR_INVALID},
		{"{\"margin\":1,\"per_hour\":-1" E, "/per_hour", ERR_INVALID}, {"{\"margin\":1,\"rev\":0.5" E, "/rev", ERR_INVALID},
		{"{\"margin\":1,\"x\":1" E, "", ERR_INVALID},
		{"{\"margin\":1,\"per_day\":1,\"per_hour\":1" E, "", ERR_INVALID}, {"{\"margin\":1,\"rssi\":1" E, "/rssi", ERR_INVALID},
		{"{\"margin\":1,\"rate\":-1" E, "/rate", ERR_INVALID}, {"{\"margin\":1,\"endpoint\":\"http://e\"}", "/endpoint", ERR_INVALID},
		{"{\"margin\":1,\"endpoint\":\"https://\"}", "/endpoint", ERR_INVALID},
		{"{\"margin\":1,\"endpoint\":\"https://a b\"}", "/endpoint", ERR_INVALID},
		{"{\"margin\":1,\"endpoint\":7}", "/endpoint", ERR_INVALID}, {"{\"margin\":1,", "", ERR_BAD_REQUEST},
		{"{\"margin\":1" E "{", "", ERR_BAD_REQUEST},
	};
	struct offload_policy p;
	static const char large[OFFLOAD_POLICY_BYTES + 1];
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct fault f = {{0}, {0}};
		assert_int_equal(offload_policy_parse(&p, rows[i].text, strlen(rows[i].text), &f), rows[i].e);
		assert_string_equal(f.pointer, rows[i].pointer);
	}
	assert_int_equal(offload_policy_parse(&p, large, sizeof large, NULL), ERR_TOO_LARGE);
	assert_string_equal(offload_link_name(OFFLOAD_LINK_METERED), "metered");
}

/* ---- simulated devices: a law of margins, and answers that are right the more often the surer ---- */

static uint64_t seed;
static struct offload_stats stats;

static double uniform(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (double)(seed >> 11) / 9007199254740992.0;
}

/* Margin u^(1/2): P(margin < m) = m^2. Right with probability 0.5 + m/2. */
static void run(uint16_t margin, uint16_t audit, double blocked, unsigned inferences)
{
	memset(&stats, 0, sizeof stats);
	for (unsigned i = 0; i < inferences; i++) {
		double m = sqrt(uniform());
		uint32_t in = (uint32_t)(m * OFFLOAD_ONE);
		bool is_hard = in < margin, is_audit = !is_hard && uniform() * OFFLOAD_ONE < audit;
		bool is_blocked = is_hard && uniform() < blocked;
		offload_count(&stats, 1, is_blocked);
		if ((is_hard && !is_blocked) || is_audit)
			assert_int_equal(offload_note(&stats, in, is_audit, uniform() < 0.5 + m / 2, 2), ERR_OK);
	}
}

static struct offload_fit fit(uint16_t margin, double rate, double cost_max)
{
	struct offload_target target = {rate, cost_max};
	struct offload_fit out;
	offload_fit(&stats, margin, &target, &out);
	return out;
}

static void a_margin_that_sends_too_much_comes_down_at_once(void **state)
{
	(void)state;
	seed = 1;
	run(6000, 0, 0, 50000); /* 36 % */
	struct offload_fit f = fit(6000, 0.09, NAN);
	assert_int_equal(f.why, OFFLOAD_FIT_QUANTILE);
	assert_in_range(f.margin, 2900, 3100); /* 0.3^2 = 0.09 */
	assert_true(fabs(f.rate - 0.09) < 0.001);
	/* the right ones of the hard: mean of 0.5 + m/2 below 0.6 = 0.7 */
	assert_true(fabs(f.agreement - 0.7) < 0.02 && isnan(f.audit_agreement));
	assert_true(fabs(f.cost - 0.18) < 0.005);
	run(6000, 0, 0.5, 50000); /* half of it blocked: the same law, the same margin */
	f = fit(6000, 0.09, NAN);
	assert_in_range(f.margin, 2850, 3150);
}

static void a_margin_that_sends_too_little_goes_up_in_steps(void **state)
{
	(void)state;
	uint16_t margin = 500;
	unsigned steps = 0;
	seed = 2;
	for (; steps < 20; steps++) {
		run(margin, 0, 0, 20000);
		struct offload_fit f = fit(margin, 0.16, NAN);
		if (f.margin == margin) break;
		if (f.margin > margin) assert_true(f.why == OFFLOAD_FIT_STEP && isnan(f.rate) && f.margin <= margin * 3 / 2);
		margin = f.margin;
	}
	assert_in_range(steps, 4, 9);
	assert_in_range(margin, 3800, 4200); /* 0.4^2 */
	/* with an audit what lies above is known: no step beyond the target */
	run(3500, 500, 0, 100000);
	struct offload_fit f = fit(3500, 0.16, NAN);
	assert_int_equal(f.why, OFFLOAD_FIT_QUANTILE);
	assert_in_range(f.margin, 3850, 4150);
	assert_true(fabs(f.rate - 0.16) < 0.005 && f.audit_agreement > 0.8);
	run(1000, 500, 0, 100000);
	f = fit(1000, 0.16, NAN);
	assert_true(f.why == OFFLOAD_FIT_STEP && f.margin == 1500); /* still a step at a time */
	f = fit(10, 0.9, NAN);
	assert_true(f.margin == 50); /* a bin's width at least */
}

static void nothing_moves_without_a_reason(void **state)
{
	(void)state;
	seed = 3;
	run(3000, 0, 0, OFFLOAD_FIT_LEAST - 1);
	struct offload_fit f = fit(3000, 0.9, NAN);
	assert_true(f.why == OFFLOAD_FIT_WAIT && f.margin == 3000);
	unsigned moved = 0;
	for (int i = 0; i < 300; i++) { /* 9 % is the target: only chance differs */
		run(3000, 0, 0, 1000);
		f = fit(3000, 0.09, NAN);
		moved += f.margin != 3000;
	}
	assert_true(moved <= 3);
	memset(&stats, 0, sizeof stats);
	f = fit(3000, 0.09, NAN);
	assert_true(f.margin == 3000 && isnan(f.rate) && isnan(f.cost));
	assert_string_equal(offload_fit_why_name(OFFLOAD_FIT_STEP), "step");
}

static void cost_bounds_the_rate(void **state)
{
	(void)state;
	seed = 4;
	run(6000, 0, 0, 50000); /* two units a piece: 0.72 an inference */
	struct offload_fit f = fit(6000, 0.36, 0.18);
	assert_int_equal(f.why, OFFLOAD_FIT_COST);
	assert_in_range(f.margin, 2900, 3100);
	assert_true(f.cost <= 0.18 + 1e-9);
	f = fit(6000, 0.36, 10);
	assert_int_equal(f.why, OFFLOAD_FIT_STAYS);
}

static void counts_merge_and_fade(void **state)
{
	(void)state;
	seed = 5;
	run(5000, 1000, 0.1, 1000);
	struct offload_stats sum = stats, once = stats;
	offload_merge(&sum, &once);
	for (unsigned i = 0; i < OFFLOAD_BINS; i++) assert_int_equal(sum.sent[i] + sum.audited[i], 2 * (once.sent[i] + once.audited[i]));
	assert_true(sum.inferences == 2000 && sum.cost == 2 * once.cost && sum.blocked == 2 * once.blocked);
	offload_halve(&sum);
	assert_memory_equal(&sum, &once, sizeof sum);
	assert_int_equal(offload_note(&sum, OFFLOAD_ONE + 1, false, true, 0), ERR_INVALID);
	assert_int_equal(offload_note(&sum, 1, false, true, NAN), ERR_INVALID);
	assert_int_equal(offload_note(&sum, 1, false, true, -1), ERR_INVALID);
	assert_int_equal(offload_note(&sum, OFFLOAD_ONE, true, true, 0), ERR_OK);
	assert_int_equal(sum.audited[OFFLOAD_BINS - 1], once.audited[OFFLOAD_BINS - 1] + 1);
}

static uint64_t sum_of(const uint64_t bins[OFFLOAD_BINS], unsigned from, unsigned to)
{
	uint64_t n = 0;
	for (unsigned i = from; i < to; i++) n += bins[i];
	return n;
}

static void a_report_is_taken_whole_or_refused(void **state)
{
	(void)state;
	const uint64_t margins[4] = {10, 20, 0, 0}, sure[2] = {1, 6};
	struct offload_report r = {.inferences = 1000, .sent = 60, .blocked = 20, .answered = 30, .agreed = 15, .audited = 7, .audit_agreed = 6,
		.cost = 3.5, .margins = margins, .margin_bins = 4, .sure = sure, .sure_bins = 2};
	memset(&stats, 0, sizeof stats);
	assert_int_equal(offload_take(&stats, &r, 3750), ERR_OK); /* in the middle of the second of four bins */
	assert_int_equal(sum_of(stats.sent, 0, 64), 20);
	assert_int_equal(sum_of(stats.sent, 64, 97), 40);
	assert_int_equal(sum_of(stats.sent, 0, OFFLOAD_BINS), 60);
	assert_int_equal(sum_of(stats.agreed, 0, OFFLOAD_BINS), 30); /* half of all that were sent */
	assert_int_equal(sum_of(stats.audited, 96, 128), 1);
	assert_int_equal(sum_of(stats.audited, 128, OFFLOAD_BINS), 6);
	assert_int_equal(sum_of(stats.audit_agreed, 0, OFFLOAD_BINS), 6);
	assert_true(stats.inferences == 1000 && stats.blocked == 20 && stats.cost == 3.5);
	r.margins = r.sure = NULL;
	assert_int_equal(offload_take(&stats, &r, 3750), ERR_OK); /* without histograms: evenly on their sides of the margin */
	assert_int_equal(sum_of(stats.sent, 97, OFFLOAD_BINS), 0);
	assert_int_equal(sum_of(stats.audited, 0, 96), 0);
	struct offload_stats before = stats;
	static const struct { size_t at; uint64_t v; } lies[] = {
		{offsetof(struct offload_report, sent), 1001}, {offsetof(struct offload_report, blocked), 941}, {offsetof(struct offload_report, audited), 930},
		{offsetof(struct offload_report, answered), 61}, {offsetof(struct offload_report, agreed), 31}, {offsetof(struct offload_report, audit_agreed), 8},
	};
	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		struct offload_report bad = r;
		memcpy((char *)&bad + lies[i].at, &lies[i].v, sizeof lies[i].v);
		assert_int_equal(offload_take(&stats, &bad, 3750), ERR_INVALID);
	}
	r.cost = -1;
	assert_int_equal(offload_take(&stats, &r, 3750), ERR_INVALID);
	r.cost = 0, r.margins = margins, r.margin_bins = 3;
	assert_int_equal(offload_take(&stats, &r, 3750), ERR_INVALID);
	assert_memory_equal(&stats, &before, sizeof stats);
}

/* ---- watching ---- */

static struct offload_seen watch(double rate_max, double agreement_min, double agreement_max, double cost_max)
{
	struct offload_bounds b = {rate_max, agreement_min, agreement_max, cost_max};
	struct offload_seen seen;
	offload_watch(&stats, &b, &seen);
	return seen;
}

static void beyond_a_bound_is_a_breach_when_chance_is_not(void **state)
{
	(void)state;
	seed = 6;
	run(5000, 2000, 0, 20000); /* 25 % hard, of the others a fifth: 40 % sent, 0.8 units */
	struct offload_seen s = watch(0.38, 0.92, 0.6, 0.7);
	assert_true(s.rate == OFFLOAD_BREACH && s.cost == OFFLOAD_BREACH);
	assert_true(s.agreement == OFFLOAD_BREACH && s.needless == OFFLOAD_BREACH); /* 0.889 and 0.667 */
	assert_true(fabs(s.rate_is - 0.4) < 0.01 && fabs(s.cost_is - 0.8) < 0.02);
	assert_true(fabs(s.agreement_is - 8.0 / 9) < 0.02 && fabs(s.needless_is - 2.0 / 3) < 0.02);
	s = watch(0.42, 0.86, 0.7, 0.85);
	assert_true(s.rate == OFFLOAD_FINE && s.cost == OFFLOAD_FINE && s.agreement == OFFLOAD_FINE && s.needless == OFFLOAD_FINE);
	s = watch(NAN, NAN, NAN, NAN);
	assert_true(s.rate == OFFLOAD_FINE && s.cost == OFFLOAD_FINE && s.agreement == OFFLOAD_FINE && s.needless == OFFLOAD_FINE);
	run(5000, 2000, 0, 30);
	s = watch(0.38, 0.87, 0.65, 0.1);
	assert_true(s.rate == OFFLOAD_FEW && s.agreement == OFFLOAD_FEW && s.needless == OFFLOAD_FEW && s.cost == OFFLOAD_FEW);
	memset(&stats, 0, sizeof stats);
	s = watch(0.38, 0.87, 0.65, 0.1);
	assert_true(s.rate == OFFLOAD_FEW && isnan(s.rate_is) && isnan(s.cost_is));
	unsigned breaches = 0;
	for (int i = 0; i < 300; i++) { /* exactly at the bound */
		run(5000, 0, 0, 1000);
		breaches += watch(0.25, NAN, NAN, NAN).rate == OFFLOAD_BREACH;
	}
	assert_true(breaches <= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hard_ones_are_sent_where_all_allows),
		cmocka_unit_test(the_budget_comes_back_over_the_hour),
		cmocka_unit_test(a_budget_may_be_of_bytes_and_of_a_day),
		cmocka_unit_test(a_link_must_be_known_to_be_good_enough),
		cmocka_unit_test(some_easy_ones_are_audited),
		cmocka_unit_test(a_policy_reads_back),
		cmocka_unit_test(what_is_no_policy_is_refused_by_name),
		cmocka_unit_test(a_margin_that_sends_too_much_comes_down_at_once),
		cmocka_unit_test(a_margin_that_sends_too_little_goes_up_in_steps),
		cmocka_unit_test(nothing_moves_without_a_reason),
		cmocka_unit_test(cost_bounds_the_rate),
		cmocka_unit_test(a_report_is_taken_whole_or_refused),
		cmocka_unit_test(counts_merge_and_fade),
		cmocka_unit_test(beyond_a_bound_is_a_breach_when_chance_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
