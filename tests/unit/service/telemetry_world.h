/* The registry's world with telemetry, alerts and ingest in it. */
#ifndef AVIARY_TESTS_TELEMETRY_WORLD_H
#define AVIARY_TESTS_TELEMETRY_WORLD_H

#include "registry_world.h"

#include "service/alerts.h"
#include "service/ingest.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/telemetry.h"

struct fleet {
	struct world w; /* first: it is the state of registry_world.h, too */
	struct ingest_limits limits;
	char telemetry_path[96];
};

static inline void fleet_start(struct fleet *t)
{
	struct telemetry_options options;
	struct world *w = &t->w;
	telemetry_options_init(&options);
	options.path = t->telemetry_path;
	w->s.limits = &t->limits;
	w->s.telemetry = telemetry_open(&options, NOW, &w->fault);
	if (w->s.telemetry == NULL)
		fail_msg("%s", w->fault.detail);
	w->s.alerts = alerts_open(&w->s, &w->fault);
	if (w->s.alerts == NULL)
		fail_msg("%s", w->fault.detail);
	w->s.ingest = ingest_open(&w->s, &w->fault);
	assert_non_null(w->s.ingest);
}

static inline void fleet_stop(struct fleet *t)
{
	ingest_close(t->w.s.ingest);
	alerts_close(t->w.s.alerts);
	telemetry_close(t->w.s.telemetry);
	t->w.s.ingest = NULL;
	t->w.s.alerts = NULL;
	t->w.s.telemetry = NULL;
}

static inline int fleet_setup(void **state)
{
	struct fleet *t = calloc(1, sizeof *t);
	assert_non_null(t);
	strcpy(t->w.dir, "/tmp/aviary-telemetry-XXXXXX");
	assert_non_null(mkdtemp(t->w.dir));
	snprintf(t->w.path, sizeof t->w.path, "%s/fleet.db", t->w.dir);
	snprintf(t->telemetry_path, sizeof t->telemetry_path, "%s/telemetry.db", t->w.dir);
	ingest_limits_init(&t->limits);
	world_start(&t->w);
	fleet_start(t);
	metric_set(METER_MQTT_CONNECTED, 1);
	*state = t;
	return 0;
}

static inline int fleet_teardown(void **state)
{
	struct fleet *t = *state;
	static const char *const files[] = {"telemetry.db", "telemetry.db-wal", "telemetry.db-shm"};
	fleet_stop(t);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		char path[160];
		snprintf(path, sizeof path, "%s/%s", t->w.dir, files[i]);
		unlink(path);
	}
	return world_teardown(state);
}

/* A kill and a start: what was not committed is gone. */
static inline void fleet_restart(struct fleet *t)
{
	int64_t now_ms = t->w.c.now_ms;
	fleet_stop(t);
	world_stop(&t->w);
	memset(&t->w.s, 0, sizeof t->w.s);
	world_start(&t->w);
	fleet_start(t);
	t->w.c.now_ms = now_ms;
}

static inline void fleet_telemetry(struct fleet *t, const char *device, const char *json)
{
	ingest_telemetry(&t->w.c, device, json, strlen(json));
}

/* The open batch becomes durable. */
static inline void fleet_settle(struct fleet *t)
{
	struct telemetry_batch *b = telemetry_seal(t->w.s.telemetry, t->w.c.now_ms);
	assert_non_null(b);
	if (telemetry_write(b, &t->w.fault) != ERR_OK)
		fail_msg("%s", t->w.fault.detail);
	telemetry_settle(&t->w.c, b);
}

static inline void fleet_value(struct fleet *t, const char *device, int64_t seq, const char *metric, double value)
{
	char json[256];
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"metrics\":{\"%s\":%.17g}}", (long long)seq, metric, value);
	fleet_telemetry(t, device, json);
	fleet_settle(t);
}

static inline int64_t fleet_refused(struct fleet *t, enum ingest_refusal reason)
{
	return ingest_counters(t->w.s.ingest)->refused[reason];
}

#endif
