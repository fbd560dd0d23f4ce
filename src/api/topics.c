#include "api/topics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/topic.h"
#include "net/jobs.h"
#include "net/loop.h"
#include "service/ingest.h"
#include "service/metrics.h"
#include "service/telemetry.h"

#define ARENA_BYTES (1u << 20)
#define RETRY_MS 1000          /* between two attempts to write a batch: a full disk is not asked more often */
#define MAINTAIN_EVERY_MS 1000
#define STOP_MS 10000          /* to write what is open at shutdown */
#define CLIENT_ID_MAX 128

/* Telemetry waits for the writer's commit, commands for the tick's. Acknowledgements leave all or nothing, so each has its own client. */
enum line { LINE_TELEMETRY, LINE_COMMANDS, LINE_COUNT };

enum writer { WRITER_IDLE, WRITER_BUSY, WRITER_WAITING /* for another attempt */, WRITER_MAINTAINING };

struct topics {
	struct services *s;
	struct loop *loop;
	struct mqtt *lines[LINE_COUNT];
	struct worker *worker;
	struct arena *arena;
	struct loop_timer *timer;      /* a batch's window, or the next attempt */
	struct loop_timer *maintenance;
	enum writer writer;
	struct telemetry_batch *batch; /* being written, or waiting */
	enum err result;               /* of the worker's job */
	struct fault fault;
	bool more;                     /* maintenance has more to do */
	int64_t maintain_at_ms;
	bool is_failing;               /* said in the log already */
	bool commands_failed;          /* a command could not be stored: drop the line so that it comes again */
	bool is_stopping;
};

static void call_init(struct topics *t, struct call *c, struct fault *f)
{
	arena_reset(t->arena);
	*f = (struct fault){"", ""};
	*c = (struct call){.s = t->s, .arena = t->arena, .fault = f, .who = &principal_server, .now_ms = clock_wall_ms()};
}

/* ---- the topic table ---- */

static enum err take_telemetry(struct call *c, const char *device_id, const char *payload, size_t len)
{
	ingest_telemetry(c, device_id, payload, len);
	return ERR_OK;
}

static const struct subscription {
	enum line line;
	enum err (*take)(struct call *c, const char *device_id, const char *payload, size_t len);
} subscriptions[TOPIC_COUNT] = {
	[TOPIC_TELEMETRY] = {LINE_TELEMETRY, take_telemetry},
	[TOPIC_STATUS] = {LINE_COMMANDS, ingest_status},
	[TOPIC_REPORT] = {LINE_COMMANDS, ingest_report},
	[TOPIC_DESIRED] = {LINE_COUNT, NULL}, /* ours */
	[TOPIC_COMMAND] = {LINE_COUNT, NULL},
	[TOPIC_ANSWER] = {LINE_COMMANDS, ingest_answer},
};

static void on_message(void *ctx, const struct mqtt_message *m)
{
	struct topics *t = ctx;
	struct call c;
	struct fault f;
	enum topic_kind kind;
	struct slice device;
	char id[NAME_DEVICE_BYTES];
	if (!topic_parse(m->topic, &kind, &device) || subscriptions[kind].take == NULL || !slice_copy(device, id, sizeof id))
		return; /* nobody subscribed to it: a foreign subscription in our session, or a name that is no device id */
	loop_mark(t->loop, subscriptions[kind].line == LINE_TELEMETRY ? "mqtt.telemetry" : "mqtt.commands");
	call_init(t, &c, &f);
	enum err e = subscriptions[kind].take(&c, id, m->len > 0 ? m->payload : "", m->len);
	if (e != ERR_OK && !t->commands_failed) {
		t->commands_failed = true;
		mqtt_pause_reading(t->lines[LINE_COMMANDS]); /* until the tick drops the line */
	}
}

/* ---- connections ---- */

static void on_connect(void *ctx, bool session_present)
{
	struct topics *t = ctx;
	log_event(LOG_INFO, "mqtt.in.connected", "session=%s", session_present ? "present" : "new");
	metric_set(METER_MQTT_CONNECTED, mqtt_is_connected(t->lines[LINE_TELEMETRY]) && mqtt_is_connected(t->lines[LINE_COMMANDS]));
}

static void on_disconnect(void *ctx, const char *reason)
{
	(void)ctx;
	log_event(LOG_WARN, "mqtt.in.disconnected", "reason=%s", log_quote(reason));
	metric_set(METER_MQTT_CONNECTED, 0);
}

static void on_subscribed(void *ctx, const char *filter, bool is_granted)
{
	(void)ctx;
	if (!is_granted)
		log_event(LOG_ERROR, "mqtt.in.refused", "subscription=%s", log_quote(filter));
}

static enum err open_line(struct topics *t, const struct mqtt_config *config, enum line line, struct fault *f)
{
	static const struct mqtt_handler handler = {
		.on_connect = on_connect, .on_disconnect = on_disconnect, .on_message = on_message, .on_subscribed = on_subscribed};
	char id[CLIENT_ID_MAX], filter[TOPIC_BYTES];
	struct mqtt_config own = *config;
	snprintf(id, sizeof id, "%s%s", config->client_id, line == LINE_COMMANDS ? "-commands" : "");
	own.client_id = id;
	own.clean_session = false;
	own.hold_acks = true;
	if (line == LINE_COMMANDS)
		own.read_pause_ms = 0; /* few, and devices wait for their answers */
	enum err e = mqtt_new(t->loop, &own, &handler, t, &t->lines[line], f);
	for (int kind = 0; e == ERR_OK && kind < TOPIC_COUNT; kind++) {
		if (subscriptions[kind].line != line || subscriptions[kind].take == NULL)
			continue;
		topic_filter((enum topic_kind)kind, filter);
		mqtt_subscribe(t->lines[line], filter, topic_get((enum topic_kind)kind)->qos);
	}
	return e;
}

/* ---- the writer ---- */

static void wake(void *ctx)
{
	struct topics *t = ctx;
	if (t->writer == WRITER_WAITING)
		t->writer = WRITER_IDLE;
	/* the tick follows and looks */
}

static void work_write(void *ctx)
{
	struct topics *t = ctx;
	t->result = telemetry_write(t->batch, &t->fault);
}

static void write_failed(struct topics *t)
{
	if (!t->is_failing)
		log_event(LOG_ERROR, "telemetry.write", "error=%s detail=%s", err_name(t->result), log_quote(t->fault.detail));
	t->is_failing = true;
	t->writer = WRITER_WAITING;
	loop_timer_start(t->timer, RETRY_MS, 0);
}

static void done_write(void *ctx)
{
	struct topics *t = ctx;
	struct call c;
	struct fault f;
	if (t->result != ERR_OK) {
		write_failed(t);
		return;
	}
	if (t->is_failing)
		log_event(LOG_INFO, "telemetry.recovered", "detail=%s", log_quote("batches are written again"));
	t->is_failing = false;
	t->writer = WRITER_IDLE;
	loop_mark(t->loop, "telemetry.settle");
	call_init(t, &c, &f);
	telemetry_settle(&c, t->batch);
	t->batch = NULL;
	mqtt_flush_acks(t->lines[LINE_TELEMETRY]);
	mqtt_resume_reading(t->lines[LINE_TELEMETRY]);
}

static void submit(struct topics *t, enum writer what, void (*work)(void *), void (*done)(void *))
{
	enum err e = worker_submit(t->worker, work, done, t);
	assert(e == ERR_OK); /* t->writer says that it is free */
	t->writer = what;
}

static void work_maintain(void *ctx)
{
	struct topics *t = ctx;
	t->result = telemetry_maintain(t->s->telemetry, clock_wall_ms(), &t->more, &t->fault);
}

static void done_maintain(void *ctx)
{
	struct topics *t = ctx;
	t->writer = WRITER_IDLE;
	t->maintain_at_ms = clock_mono_ms() + (t->result == ERR_OK && t->more ? 0 : MAINTAIN_EVERY_MS);
	if (t->result != ERR_OK && !t->is_failing)
		log_event(LOG_ERROR, "telemetry.maintain", "error=%s detail=%s", err_name(t->result), log_quote(t->fault.detail));
	loop_request_tick(t->loop); /* a batch may have become due, or there is more to do */
}

/* A batch that failed goes first: its messages came first, and everything behind them waits at the broker. */
static bool write_due(struct topics *t, bool now)
{
	int64_t now_ms = clock_wall_ms();
	if (t->batch == NULL && (now || telemetry_is_due(t->s->telemetry, t->s->limits, now_ms))) {
		t->batch = telemetry_seal(t->s->telemetry, now_ms);
		if (t->batch != NULL)
			mqtt_pause_reading(t->lines[LINE_TELEMETRY]);
	}
	if (t->batch == NULL)
		return false;
	submit(t, WRITER_BUSY, work_write, done_write);
	return true;
}

static void pump(struct topics *t)
{
	if (t->writer != WRITER_IDLE || write_due(t, false))
		return;
	bool is_pending = telemetry_pending(t->s->telemetry) > 0;
	if (!is_pending)
		mqtt_flush_acks(t->lines[LINE_TELEMETRY]); /* of messages that brought nothing to store */
	if (clock_mono_ms() >= t->maintain_at_ms) /* also while a batch gathers: under steady load there is always one, and the log is to be regrouped */
		submit(t, WRITER_MAINTAINING, work_maintain, done_maintain);
	else if (is_pending && !loop_timer_is_active(t->timer))
		loop_timer_start(t->timer, t->s->limits->batch_window_ms, 0);
}

/* ---- the tick ---- */

static void log_samples(struct topics *t)
{
	struct ingest_sample sample;
	while (ingest_next_sample(t->s->ingest, &sample))
		log_event(LOG_WARN, "ingest.refused", "reason=%s device=%s detail=%s", ingest_refusal_name(sample.reason), log_quote(sample.device),
		          log_quote(sample.detail));
}

void topics_after_commit(struct topics *t)
{
	if (t->commands_failed)
		topics_commit_failed(t);
	else
		mqtt_flush_acks(t->lines[LINE_COMMANDS]);
	if (!t->is_stopping)
		pump(t);
	log_samples(t);
}

void topics_commit_failed(struct topics *t)
{
	if (t->commands_failed)
		mqtt_resume_reading(t->lines[LINE_COMMANDS]);
	t->commands_failed = false;
	if (mqtt_held_acks(t->lines[LINE_COMMANDS]) > 0)
		mqtt_drop(t->lines[LINE_COMMANDS], "what it brought could not be stored");
}

static void look_after(void *ctx)
{
	(void)ctx; /* a tick a second, for maintenance */
}

/* ---- life ---- */

enum err topics_open(struct services *s, struct loop *loop, const struct mqtt_config *config, struct topics **out, struct fault *f)
{
	*out = NULL;
	struct topics *t = calloc(1, sizeof *t);
	if (t == NULL)
		abort();
	t->s = s;
	t->loop = loop;
	t->arena = arena_new(ARENA_BYTES);
	t->worker = worker_new(loop, "telemetry");
	t->timer = loop_timer_new(loop, wake, t);
	t->maintenance = loop_timer_new(loop, look_after, t);
	enum err e = open_line(t, config, LINE_TELEMETRY, f);
	if (e == ERR_OK)
		e = open_line(t, config, LINE_COMMANDS, f);
	if (e != ERR_OK) {
		topics_close(t);
		return e;
	}
	*out = t;
	return ERR_OK;
}

void topics_start(struct topics *t)
{
	for (int line = 0; line < LINE_COUNT; line++)
		mqtt_start(t->lines[line]);
	loop_timer_start(t->maintenance, MAINTAIN_EVERY_MS, MAINTAIN_EVERY_MS);
}

static bool is_written(void *ctx)
{
	const struct topics *t = ctx;
	return t->writer == WRITER_IDLE || t->writer == WRITER_WAITING;
}

void topics_stop(struct topics *t)
{
	t->is_stopping = true;
	for (int line = 0; line < LINE_COUNT; line++)
		mqtt_pause_reading(t->lines[line]);
	loop_timer_stop(t->maintenance);
	bool done = loop_run_until(t->loop, is_written, t, STOP_MS);
	if (done && t->writer == WRITER_IDLE && write_due(t, true))
		done = loop_run_until(t->loop, is_written, t, STOP_MS);
	if (!done || t->batch != NULL)
		log_event(LOG_WARN, "telemetry.unwritten", "detail=%s", log_quote("the broker delivers it again after the start"));
	else
		mqtt_flush_acks(t->lines[LINE_TELEMETRY]);
	for (int line = 0; line < LINE_COUNT; line++)
		mqtt_stop(t->lines[line]);
}

void topics_close(struct topics *t)
{
	if (t == NULL)
		return;
	worker_free(t->worker);
	if (t->batch != NULL)
		telemetry_abandon(t->s->telemetry, t->batch);
	for (int line = 0; line < LINE_COUNT; line++)
		mqtt_free(t->lines[line]);
	loop_timer_free(t->timer);
	loop_timer_free(t->maintenance);
	arena_free(t->arena);
	free(t);
}
