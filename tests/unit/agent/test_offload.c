/* What goes to an operator's endpoint: the policy from the desired document, the decision (as core/offload_policy_rule.h has it), the figures
 * that the telemetry brings. */
#include "world.h"

#include "agent/offload.h"
#include "core/offload_policy_rule.h"

#define POLICY "{\"margin\":0.1234,\"audit\":0.5,\"link\":\"bad\",\"battery\":20,\"rssi\":-80,\"rate\":500,\"per_day\":9,\"endpoint\":\"https://e/x\",\"rev\":3}"

static struct agent_offload offloads[2];
static struct agent_ports ports;
static char said[400]; /* model=endpoint;... */

static void on_changed(void *host, const char *model, const char *endpoint, size_t len)
{
	size_t at = strlen(said);
	(void)host;
	snprintf(said + at, sizeof said - at, "%s=%.*s;", model, (int)len, endpoint ? endpoint : "");
}

static struct world *begin(void)
{
	struct world *w = w_new(7);
	ports = w_ports;
	ports.offload_changed = on_changed;
	w->ports = &ports;
	memset(offloads, 0, sizeof offloads);
	w->config.offloads = offloads;
	w->config.offload_count = 2;
	said[0] = '\0';
	w_power_up(w);
	return w;
}

/* A document with this member; NULL: without. */
static void bring(struct world *w, const char *offload)
{
	struct buf d = BUF_INIT;
	w_open_document(w, &d);
	if (offload)
		buf_printf(&d, "\"offload\":%s,", offload);
	w_put_release(w, &d, &w->releases[0], NULL);
	w_close_document(w, &d);
	said[0] = '\0';
	w_hint(w);
	w_run(w, 60000);
}

static const struct agent_offload_now good = {.link = AGENT_LINK_GOOD, .battery_percent = 80, .rssi_dbm = -50, .rate_kbps = 9000, .size_bytes = 100};

static void a_policy_comes_and_goes_with_the_document(void **state)
{
	(void)state;
	struct world *w = begin();
	assert_int_equal(agent_offload_decide(&w->agent, "kws", 0, &good), AGENT_OFFLOAD_LOCAL);
	bring(w, "{\"kws\":" POLICY ",\"other\":{\"margin\":1,\"endpoint\":\"https://o\",\"rev\":4,\"new\":[1,{}]}}");
	assert_string_equal(said, "kws=https://e/x;other=https://o;");
	const struct agent_offload *o = &offloads[0];
	assert_true(o->margin == 1234 && o->audit == 5000 && o->link_least == AGENT_LINK_BAD && o->battery_least == 20 && o->rssi_least == -80);
	assert_true(o->rate_least == 500 && o->unit == OFFLOAD_PER_DAY && o->budget == 9 && o->rev == 3);
	o = &offloads[1];
	assert_true(o->margin == 10000 && o->audit == 0 && o->link_least == AGENT_LINK_METERED && o->rssi_least == AGENT_ANY_RSSI);
	assert_true(o->unit == OFFLOAD_PER_HOUR && o->budget == 60);
	assert_int_equal(agent_offload_decide(&w->agent, "other", 9999, &good), AGENT_OFFLOAD_HARD);
	assert_int_equal(agent_offload_decide(&w->agent, "none", 0, &good), AGENT_OFFLOAD_LOCAL);
	/* a third one finds no place; one that is not one of ours is dropped */
	bring(w, "{\"third\":" POLICY ",\"other\":{\"margin\":0.5,\"endpoint\":\"https://o\",\"rev\":5}}");
	assert_string_equal(said, "other=https://o;kws=;");
	assert_true(offloads[0].model[0] == '\0' && offloads[1].budget == 60 && offloads[1].tokens == 59);
	bring(w, NULL);
	assert_string_equal(said, "other=;");
	assert_int_equal(agent_offload_decide(&w->agent, "other", 0, &good), AGENT_OFFLOAD_LOCAL);
	w_free(w);
}

static void what_is_no_policy_offloads_nothing(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"{\"kws\":{}}", "{\"kws\":7}", "{\"kws\":{\"margin\":1.5,\"endpoint\":\"https://e\",\"rev\":1}}",
		"{\"kws\":{\"margin\":-0.1,\"endpoint\":\"https://e\",\"rev\":1}}", "{\"kws\":{\"margin\":1e-1,\"endpoint\":\"https://e\",\"rev\":1}}",
		"{\"kws\":{\"margin\":0.1,\"endpoint\":\"https:\\/\\/e\",\"rev\":1}}", "{\"kws\":{\"margin\":0.1,\"endpoint\":\"https://e\"}}",
		"{\"kws\":{\"margin\":0.1,\"endpoint\":\"https://e\",\"rev\":1,\"battery\":101}}",
		"{\"kws\":{\"margin\":0.1,\"endpoint\":\"https://e\",\"rev\":1,\"rssi\":1}}",
		"{\"k w s\":{\"margin\":0.1,\"endpoint\":\"https://e\",\"rev\":1}}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct world *w = begin();
		bring(w, bad[i]);
		assert_string_equal(said, "");
		assert_int_equal(agent_offload_decide(&w->agent, "kws", 0, &good), AGENT_OFFLOAD_LOCAL);
		w_free(w);
	}
	struct world *w = begin(); /* a link that is none of ours holds everything back */
	bring(w, "{\"kws\":{\"margin\":1,\"endpoint\":\"https://e\",\"rev\":1,\"link\":\"perfect\"}}");
	assert_int_equal(agent_offload_decide(&w->agent, "kws", 0, &good), AGENT_OFFLOAD_NO_LINK);
	w_free(w);
}

static uint32_t draw(uint64_t *seed, uint32_t below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33) % below;
}

/* The same as core's, which the server counts on. */
static void decisions_are_those_of_the_rule(void **state)
{
	(void)state;
	struct world *w = begin();
	uint64_t seed = 99;
	unsigned seen[6] = {0};
	bring(w, "{\"kws\":" POLICY "}");
	for (int life = 0; life < 300; life++) {
		struct agent_offload *o = &offloads[0];
		struct offload_rule rule = {.margin = (uint16_t)draw(&seed, 10001), .audit = (uint16_t)draw(&seed, 3000), .link_least = (uint8_t)(1 + draw(&seed, 3)),
			.battery_least = (uint8_t)draw(&seed, 40), .rssi_least = draw(&seed, 2) ? OFFLOAD_ANY_RSSI : (int16_t)(-60 - (int)draw(&seed, 40)),
			.rate_least = draw(&seed, 2) ? 0 : draw(&seed, 2000), .unit = (uint8_t)draw(&seed, 4), .budget = draw(&seed, 20000)};
		struct offload_state s = {.random = 1 + draw(&seed, 1000000)};
		o->margin = rule.margin, o->audit = rule.audit, o->link_least = rule.link_least, o->battery_least = rule.battery_least;
		o->rssi_least = rule.rssi_least, o->rate_least = rule.rate_least, o->unit = rule.unit, o->budget = rule.budget;
		o->random = s.random, o->is_started = false, o->parts = o->tokens = 0;
		for (int i = 0; i < 200; i++) {
			struct offload_now now = {.link = (enum offload_link)draw(&seed, 4), .rssi_dbm = draw(&seed, 9) ? (int16_t)(-40 - (int)draw(&seed, 60)) : OFFLOAD_ANY_RSSI,
				.rate_kbps = draw(&seed, 4000), .battery_percent = draw(&seed, 256), .size_bytes = draw(&seed, 3000), .ms = (uint32_t)w->now_ms};
			struct agent_offload_now ours = {.link = (uint8_t)now.link, .rssi_dbm = now.rssi_dbm, .rate_kbps = now.rate_kbps,
				.battery_percent = (uint8_t)now.battery_percent, .size_bytes = now.size_bytes};
			uint32_t margin = draw(&seed, 10001);
			enum offload_verdict wanted = offload_decide(&rule, &s, margin, &now);
			assert_int_equal(agent_offload_decide(&w->agent, "kws", margin, &ours), (int)wanted);
			seen[wanted]++;
			w->now_ms += draw(&seed, 3) == 0 ? draw(&seed, 100000) : 0;
		}
	}
	for (int v = 0; v < 6; v++)
		assert_true(seen[v] > 100);
	w_free(w);
}

static void figures_come_with_the_telemetry_and_go_when_it_is_sent(void **state)
{
	(void)state;
	static char room[AGENT_TELEMETRY_BYTES];
	struct world *w = begin();
	struct agent_telemetry t;
	bring(w, "{\"kws\":{\"margin\":0.5,\"audit\":1,\"per_hour\":4,\"endpoint\":\"https://e\",\"rev\":12}}");
	enum agent_offload_verdict v = agent_offload_decide(&w->agent, "kws", 100, &good);
	agent_offload_answered(&w->agent, "kws", v, 100, true, 0.25);
	v = agent_offload_decide(&w->agent, "kws", 4999, &good);
	agent_offload_answered(&w->agent, "kws", v, 4999, false, 0.5);
	v = agent_offload_decide(&w->agent, "kws", 10000, &good);
	assert_int_equal(v, AGENT_OFFLOAD_AUDIT);
	agent_offload_answered(&w->agent, "kws", v, 10000, true, 1);
	(void)agent_offload_decide(&w->agent, "kws", 0, &good);       /* sent, and never answered */
	(void)agent_offload_decide(&w->agent, "kws", 0, &good);       /* the budget is spent */
	agent_offload_answered(&w->agent, "kws", AGENT_OFFLOAD_NO_BUDGET, 0, true, 1); /* none of these counts */
	agent_offload_answered(&w->agent, "kws", AGENT_OFFLOAD_HARD, 0, true, -1);
	agent_offload_answered(&w->agent, "kws", AGENT_OFFLOAD_AUDIT, 0, true, 1);
	for (int round = 0; round < 2; round++) {
		agent_telemetry_begin(&t, &w->agent, room, sizeof room, "kws", "1.0.0");
		agent_telemetry_offload(&t, "kws");
		w->agent.is_connected = round == 1; /* the first cannot be sent: nothing is forgotten */
		assert_int_equal(agent_telemetry_send(&t), round == 1);
	}
	assert_non_null(strstr(room, "\"offload_rev\":12,\"offload_rate\":{\"n\":5,\"k\":3},\"offload_kept\":{\"n\":5,\"k\":1},"
		"\"offload_agree\":{\"n\":2,\"k\":1},\"offload_margin\":{\"hist\":[1,0,"));
	assert_non_null(strstr(room, "\"offload_audit\":{\"n\":1,\"k\":1},\"offload_sure\":{\"hist\":[0,"));
	assert_non_null(strstr(room, ",1]},\"offload_cost\":{\"n\":3,\"sum\":1.75}"));
	agent_telemetry_begin(&t, &w->agent, room, sizeof room, "kws", "1.0.0");
	agent_telemetry_offload(&t, "kws");
	assert_true(agent_telemetry_send(&t));
	assert_non_null(strstr(room, "\"metrics\":{\"offload_rev\":12}}")); /* the server hears which margin it has */
	/* under another policy old answers are none of its own; the budget stays spent */
	assert_int_equal(agent_offload_decide(&w->agent, "kws", 0, &good), AGENT_OFFLOAD_NO_BUDGET);
	bring(w, "{\"kws\":{\"margin\":0.4,\"audit\":1,\"per_hour\":4,\"endpoint\":\"https://e\",\"rev\":13}}");
	agent_offload_answered(&w->agent, "kws", AGENT_OFFLOAD_HARD, 0, true, 1);
	assert_int_equal(agent_offload_decide(&w->agent, "kws", 0, &good), AGENT_OFFLOAD_NO_BUDGET);
	agent_telemetry_begin(&t, &w->agent, room, sizeof room, NULL, NULL);
	agent_telemetry_offload(&t, "kws");
	assert_true(agent_telemetry_send(&t));
	assert_non_null(strstr(room, "{\"offload_rev\":13,\"offload_rate\":{\"n\":1,\"k\":0},\"offload_kept\":{\"n\":1,\"k\":1}}"));
	w_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_policy_comes_and_goes_with_the_document),
		cmocka_unit_test(what_is_no_policy_offloads_nothing),
		cmocka_unit_test(decisions_are_those_of_the_rule),
		cmocka_unit_test(figures_come_with_the_telemetry_and_go_when_it_is_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
