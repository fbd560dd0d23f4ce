/* The telemetry world with commands and health checks in it. */
#ifndef AVIARY_TESTS_HEALTH_WORLD_H
#define AVIARY_TESTS_HEALTH_WORLD_H

#include "telemetry_world.h"

#include "base/json.h"
#include "service/commands.h"
#include "service/health.h"

static inline void start(struct fleet *t)
{
	if (commands_open(&t->w.s, &t->w.s.commands, &t->w.fault) != ERR_OK || health_open(&t->w.s, &t->w.s.health, &t->w.fault) != ERR_OK)
		fail_msg("%s", t->w.fault.detail);
}

static inline void stop(struct fleet *t)
{
	health_close(t->w.s.health);
	commands_close(t->w.s.commands);
	t->w.s.health = NULL;
	t->w.s.commands = NULL;
}

static inline int setup(void **state)
{
	fleet_setup(state);
	start(*state);
	return 0;
}

static inline int teardown(void **state)
{
	stop(*state);
	return fleet_teardown(state);
}

static inline void restart(struct fleet *t)
{
	stop(t);
	fleet_restart(t);
	start(t);
}

static inline void tick(struct fleet *t, int64_t passed_ms)
{
	t->w.c.now_ms += passed_ms;
	if (commands_tick(&t->w.c) != ERR_OK || health_tick(&t->w.c) != ERR_OK)
		fail_msg("%s", t->w.fault.detail);
	world_commit(&t->w);
}

static inline struct device_state *device(struct fleet *t, const char *id, bool is_online)
{
	struct device_state *d = world_device(&t->w, id, "h");
	registry_set_online(t->w.s.registry, d, is_online, t->w.c.now_ms);
	return d;
}

/* What the broker would be given now, as it acknowledges it; the number of messages. */
static inline int deliver(struct fleet *t)
{
	int64_t id, row;
	int messages = 0;
	while (commands_next(t->w.s.commands, &id, &row)) {
		struct buf b = BUF_INIT;
		bool is_open;
		assert_int_equal(commands_message(&t->w.c, id, row, &b, &is_open), ERR_OK);
		if (is_open)
			assert_non_null(strstr(b.data, "\"params\":{\"check\":"));
		messages += is_open;
		commands_delivered(t->w.s.commands, id, row);
		buf_done(&b);
	}
	return messages;
}

static inline void answer(struct fleet *t, const char *id, int64_t number, const char *rest)
{
	char json[200];
	snprintf(json, sizeof json, "{\"id\":%lld,%s}", (long long)number, rest);
	assert_int_equal(ingest_answer(&t->w.c, id, json, strlen(json)), ERR_OK);
	world_commit(&t->w);
}

static inline int64_t firing(struct fleet *t)
{
	return alerts_firing(t->w.s.alerts);
}

/* Names are "check", severity is warning, contexts are the standard ones. */
static inline int64_t check(struct fleet *t, struct health_spec s)
{
	int64_t id;
	s.name = s.name != NULL ? s.name : "check";
	s.hardware = s.hardware != NULL ? s.hardware : "";
	s.model = s.filter = "";
	s.metric = s.metric != NULL ? s.metric : "";
	s.op = s.op != NULL ? s.op : "";
	s.severity = "warning";
	s.hot_c = 60, s.battery_low = 0.2, s.rssi_bad = -85, s.timeout_ms = 60000;
	DO(&t->w, health_create(&t->w.c, &s, &id));
	world_commit(&t->w);
	return id;
}

static inline void report(struct fleet *t, const char *id, int seq, double latency, double temperature)
{
	char json[256];
	t->w.c.now_ms += 1000;
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%d,\"model\":\"m\",\"version\":\"1.0.0\",\"metrics\":{\"latency_ms\":%g,\"temperature_c\":%g}}", seq,
	         latency, temperature);
	fleet_telemetry(t, id, json);
	fleet_settle(t);
}

static inline bool shows(struct fleet *t, const char *id, const char *text)
{
	struct buf b = BUF_INIT;
	json_open_array(&b);
	assert_int_equal(health_of_device(&t->w.c, registry_find(t->w.s.registry, id), &b), ERR_OK);
	bool found = strstr(b.data, text) != NULL;
	buf_done(&b);
	return found;
}

#endif
