#include "api/mqtt_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/topic.h"
#include "net/loop.h"
#include "service/metrics.h"
#include "service/commands.h"
#include "service/outbox.h"
#include "service/registry.h"
#include "service/timebox.h"

#define IN_FLIGHT_MAX 1000
#define DRAIN_NS (TIMEBOX_NS / 2) /* of one tick, beside its work and its commit; the next tick goes on */
#define ARENA_BYTES (1u << 20)
#define TOPIC_MAX 96

/* A publication that the broker has not acknowledged. */
struct flight {
	uint64_t token;
	int64_t row, rev; /* row 0: a message without a device */
	int64_t command;  /* above 0: this one, not what is desired */
};

struct mqtt_out {
	struct services *s;
	struct loop *loop;
	struct mqtt *client;
	struct arena *arena;
	struct buf message;
	struct flight flights[IN_FLIGHT_MAX];
	size_t in_flight;
	bool is_new; /* connected, and the devices that wait have not been looked up yet */
};

static struct flight *find_flight(struct mqtt_out *m, uint64_t token)
{
	for (size_t i = 0; i < m->in_flight; i++) {
		if (m->flights[i].token == token)
			return &m->flights[i];
	}
	return NULL;
}

static void on_connect(void *ctx, bool session_present)
{
	(void)session_present;
	struct mqtt_out *m = ctx;
	log_event(LOG_INFO, "mqtt.out.connected", "session=clean");
	m->is_new = true;
	loop_request_tick(m->loop);
}

static void on_disconnect(void *ctx, const char *reason)
{
	struct mqtt_out *m = ctx;
	if (m->in_flight > 0 || mqtt_is_connected(m->client))
		log_event(LOG_WARN, "mqtt.out.disconnected", "reason=%s in_flight=%zu", log_quote(reason), m->in_flight);
	m->in_flight = 0; /* their revs stay above what is noted as sent */
}

/* PUBACKs come in the order of publication, so the first place is nearly always the one. */
static void on_published(void *ctx, uint64_t token)
{
	struct mqtt_out *m = ctx;
	struct flight *fl = find_flight(m, token);
	if (fl == NULL)
		return;
	struct device_state *d = fl->row != 0 ? registry_by_row(m->s->registry, fl->row) : NULL;
	if (d != NULL && fl->command != 0)
		commands_delivered(m->s->commands, fl->command, fl->row);
	else if (d != NULL)
		registry_mark_sent(m->s->registry, d, fl->rev);
	size_t at = (size_t)(fl - m->flights);
	memmove(fl, fl + 1, (m->in_flight - at - 1) * sizeof *fl);
	m->in_flight--;
	metric_add(METER_MQTT_OUT, 1);
}

static void on_message(void *ctx, const struct mqtt_message *message)
{
	(void)ctx;
	(void)message; /* it subscribes to nothing */
}

enum err mqtt_out_open(struct services *s, struct loop *loop, const struct mqtt_config *config, struct mqtt_out **out,
	struct fault *f)
{
	static const struct mqtt_handler handler = {
		.on_connect = on_connect, .on_disconnect = on_disconnect, .on_message = on_message,
			.on_published = on_published};
	*out = NULL;
	struct mqtt_out *m = calloc(1, sizeof *m);
	if (m == NULL)
		abort();
	m->s = s;
	m->loop = loop;
	m->arena = arena_new(ARENA_BYTES);
	struct mqtt_config own = *config;
	own.clean_session = true;
	own.hold_acks = false;
	own.max_inflight = IN_FLIGHT_MAX;
	enum err e = mqtt_new(loop, &own, &handler, m, &m->client, f);
	if (e != ERR_OK) {
		mqtt_out_close(m);
		return e;
	}
	*out = m;
	return ERR_OK;
}

void mqtt_out_close(struct mqtt_out *m)
{
	if (m == NULL)
		return;
	mqtt_free(m->client);
	arena_free(m->arena);
	buf_done(&m->message);
	free(m);
}

void mqtt_out_start(struct mqtt_out *m)
{
	mqtt_start(m->client);
}

/* ---- draining ---- */

static void call_init(struct mqtt_out *m, struct call *c, struct fault *f)
{
	arena_reset(m->arena);
	*f = (struct fault){"", ""};
	*c = (struct call){.s = m->s, .arena = m->arena, .fault = f, .who = &principal_server, .now_ms = clock_wall_ms()};
}

/* False: not now, and the message is to be kept. */
static bool publish(struct mqtt_out *m, const char *topic, const void *payload, size_t len, int64_t row, int64_t rev)
{
	uint64_t token;
	if (m->in_flight == IN_FLIGHT_MAX || mqtt_publish(m->client, topic, payload, len, 1, true, &token) != ERR_OK)
		return false;
	m->flights[m->in_flight++] = (struct flight){.token = token, .row = row, .rev = rev};
	return true;
}

static bool tell_device(struct mqtt_out *m, int64_t row)
{
	struct call c;
	struct fault f;
	char topic[TOPIC_MAX];
	struct device_state *d = registry_by_row(m->s->registry, row);
	if (d == NULL)
		return true; /* deleted meanwhile */
	call_init(m, &c, &f);
	buf_clear(&m->message);
	if (registry_desired_message(&c, d, &m->message) != ERR_OK) {
		log_event(LOG_ERROR, "mqtt.out.message", "device=%s detail=%s", d->id, log_quote(f.detail));
		return true; /* it stays unsent in the database: told again after a reconnect */
	}
	snprintf(topic, sizeof topic, "aviary/v1/%s/desired", d->id);
	return publish(m, topic, m->message.data, m->message.len, d->row, d->desired_rev);
}

/* Not retained: a device that is away gets it when it says that it is online. False: not now. */
static bool send_command(struct mqtt_out *m, int64_t command, int64_t row)
{
	struct call c;
	struct fault f;
	char topic[TOPIC_BYTES];
	uint64_t token;
	bool is_open = false;
	const struct device_state *d = registry_by_row(m->s->registry, row);
	if (d == NULL)
		return true; /* deleted meanwhile */
	call_init(m, &c, &f);
	buf_clear(&m->message);
	if (commands_message(&c, command, row, &m->message, &is_open) != ERR_OK)
		log_event(LOG_ERROR, "mqtt.out.command", "device=%s detail=%s", d->id, log_quote(f.detail));
	if (!is_open)
		return true;
	topic_build(TOPIC_COMMAND, d->id, topic);
	if (mqtt_publish(m->client, topic, m->message.data, m->message.len, 1, false, &token) != ERR_OK)
		return false;
	m->flights[m->in_flight++] = (struct flight){.token = token, .row = row, .command = command};
	return true;
}

/* Empty retained messages erase what the broker keeps of a deleted device. */
static bool clear_device(struct mqtt_out *m, const char *device_id)
{
	char topic[TOPIC_MAX];
	snprintf(topic, sizeof topic, "aviary/v1/%s/status", device_id);
	if (!publish(m, topic, "", 0, 0, 0))
		return false;
	snprintf(topic, sizeof topic, "aviary/v1/%s/desired", device_id);
	return publish(m, topic, "", 0, 0, 0);
}

void mqtt_out_drain(struct mqtt_out *m)
{
	struct outbox *o = m->s->outbox;
	char device_id[65];
	int64_t row;
	if (!mqtt_is_connected(m->client))
		return;
	if (m->is_new) {
		struct call c;
		struct fault f;
		m->is_new = false;
		call_init(m, &c, &f);
		registry_tell_unsent(&c);
	}
	const struct timebox box = timebox_begin(DRAIN_NS);
	bool is_over = false;
	for (; !is_over && m->in_flight < IN_FLIGHT_MAX && outbox_next_clear(o, device_id); is_over = timebox_is_over(&box)) {
		if (!clear_device(m, device_id)) {
			outbox_clear_retained(o, device_id);
			break;
		}
	}
	for (; !is_over && m->in_flight < IN_FLIGHT_MAX && outbox_next_device(o, &row); is_over = timebox_is_over(&box)) {
		if (!tell_device(m, row)) {
			outbox_tell_device(o, row);
			break;
		}
	}
	int64_t command;
	for (; !is_over && m->in_flight < IN_FLIGHT_MAX && commands_next(m->s->commands, &command, &row); is_over = timebox_is_over(&box)) {
		if (!send_command(m, command, row)) {
			commands_again(m->s->commands, command, row);
			break;
		}
	}
	outbox_committed(o); /* what was put back is as committed as it was */
	if (is_over && m->in_flight < IN_FLIGHT_MAX)
		loop_request_tick(m->loop);
}

bool mqtt_out_is_idle(const struct mqtt_out *m)
{
	return m->in_flight == 0 && (!mqtt_is_connected(m->client) || outbox_is_empty(m->s->outbox));
}
