#include "host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/log.h"
#include "child.h"
#include "ports.h"

enum { ONCE_TIMEOUT_MS = 900000, FIRST_TELEMETRY_MS = 1000 };

/* --- opening --- */

/* Compact text of an option that must be JSON of this type; *out NULL when the option is absent. */
static enum err check_json(const char *name, const char *text, enum json_type type, char **out, struct fault *f)
{
	struct json *root = NULL;
	struct buf b = BUF_INIT;
	*out = NULL;
	if (!text)
		return ERR_OK;
	enum err e = json_parse(text, strlen(text), &root, f);
	if (e == ERR_OK && json_type(root) == type)
		json_print(root, &b);
	else
		e = fault_set(f, ERR_INVALID, "", "--%s must be a JSON %s", name, type == JSON_OBJECT ? "object" : "array");
	json_free(root);
	*out = e == ERR_OK ? buf_take(&b) : NULL;
	return e;
}

static enum err read_texts(struct host *h, const struct options *o, struct fault *f)
{
	enum err e = check_json("attributes", o->attributes, JSON_OBJECT, &h->attributes, f);
	if (e == ERR_OK)
		e = check_json("tags", o->tags, JSON_ARRAY, &h->tags, f);
	if (e == ERR_OK)
		e = check_json("capabilities", o->capabilities, JSON_OBJECT, &h->capabilities, f);
	if (e != ERR_OK)
		return e;
	size_t len = h->capabilities ? strlen(h->capabilities) : 0;
	if (len > 2) { /* the members go into the report's own object */
		memmove(h->capabilities, h->capabilities + 1, len - 2);
		h->capabilities[len - 2] = '\0';
	} else {
		free(h->capabilities);
		h->capabilities = NULL;
	}
	return ERR_OK;
}

static void fill_config(struct host *h, const struct options *o, unsigned key_count)
{
	struct agent_config *c = &h->config;
	c->device = o->device;
	c->hardware = o->hardware;
	c->keys = (const uint8_t(*)[32])h->keys;
	c->key_count = key_count;
	c->factory = &h->factory;
	c->slot_bytes = (uint64_t)o->slot_bytes;
	c->capabilities_json = h->capabilities;
	c->enrol.token = o->enrol_token;
	c->enrol.secret_sha256 = h->secret_sha256;
	c->enrol.name = o->name;
	c->enrol.attributes_json = h->attributes;
	c->enrol.tags_json = h->tags;
	c->limits.trial_timeout_ms = (uint32_t)o->self_test_timeout_ms;
	c->limits.report_interval_ms = (uint32_t)o->report_interval_ms;
	c->limits.retry_min_ms = (uint32_t)o->retry_ms;
	c->limits.progress_step_bytes = o->progress_step_bytes > INT32_MAX ? INT32_MAX : (uint32_t)o->progress_step_bytes;
	c->confirm_needs_connection = o->confirm_connected;
}

enum err host_open(struct host *h, const struct options *o, bool exclusive, struct fault *f)
{
	unsigned key_count = 0;
	memset(h, 0, sizeof(*h));
	h->options = o;
	h->disk.dir = h->disk.lock = h->disk.slots[0] = h->disk.slots[1] = h->disk.reading = -1;
	memset(h->disk.writing, 0xFF, sizeof(h->disk.writing));
	enum err e = options_read_keys(o->key, h->keys, &key_count, f);
	if (e == ERR_OK)
		e = options_read_factory(o, &h->factory, f);
	if (e == ERR_OK)
		e = read_texts(h, o, f);
	if (e == ERR_OK)
		e = disk_open(&h->disk, o->state_dir, exclusive, f);
	if (e == ERR_OK && exclusive)
		e = disk_secret(&h->disk, h->secret, f);
	if (e != ERR_OK)
		return e;
	crypto_sha256_hex(h->secret, strlen(h->secret), h->secret_sha256);
	fill_config(h, o, key_count);
	h->ports = host_ports;
	if (!o->shadow_command) { /* without it the device does not say that it can */
		h->ports.shadow_start = NULL;
		h->ports.shadow_stop = NULL;
	}
	if (!agent_init(&h->agent, &h->config, &h->ports, h))
		return fault_set(f, ERR_INVALID, "", "token, name, attributes, tags or capabilities are too long");
	return ERR_OK;
}

/* --- the loop --- */

void host_kick(struct host *h)
{
	if (h->poll && !h->is_stopping)
		loop_timer_start(h->poll, 0, 0);
}

static bool is_settled(const struct host *h)
{
	const struct agent *a = &h->agent;
	return agent_state(a) == AGENT_IDLE && !a->wants_document && !h->transfer && !a->report_is_due && a->seq > 0 &&
	       a->seq == a->acknowledged_seq; /* a hint said so: what is desired is known */
}

static void stop(struct host *h)
{
	h->is_stopping = true;
	mqtt_stop(h->mqtt);
	loop_stop(h->loop);
}

static void on_poll(void *ctx)
{
	struct host *h = ctx;
	int64_t next_ms = agent_poll(&h->agent), now_ms = clock_mono_ms();
	bool is_late = h->deadline_ms > 0 && now_ms >= h->deadline_ms;
	if (is_late)
		h->exit_status = EXIT_FAILURE;
	if (h->is_stopping || is_late || (h->options->once && is_settled(h))) {
		stop(h);
		return;
	}
	if (h->deadline_ms > 0 && next_ms > h->deadline_ms)
		next_ms = h->deadline_ms;
	if (next_ms != INT64_MAX)
		loop_timer_start(h->poll, next_ms > now_ms ? next_ms - now_ms : 0, 0);
}

static void on_child(void *ctx)
{
	struct host *h = ctx;
	int status = 0;
	char reason[64] = "";
	int result = h->self_test > 0 ? child_poll(h->self_test, &status) : 1;
	if (result == 0)
		return;
	h->self_test = 0;
	loop_timer_stop(h->child_timer);
	if (result < 0 || status != 0)
		snprintf(reason, sizeof(reason), "the self-test ended with %d", result < 0 ? -1 : status);
	agent_on_self_test(&h->agent, reason[0] == '\0', reason);
	host_kick(h);
}

static void on_shadow(void *ctx)
{
	struct host *h = ctx;
	int status = 0;
	char reason[64];
	int result = h->shadow > 0 ? child_poll(h->shadow, &status) : 0;
	if (result == 0)
		return;
	child_kill_rest(h->shadow);
	h->shadow = 0;
	snprintf(reason, sizeof(reason), "the command in shadow ended with %d", result < 0 ? -1 : status);
	agent_on_shadow_ended(&h->agent, reason);
	host_kick(h);
}

static void on_check(void *ctx)
{
	struct host *h = ctx;
	int status = 0;
	char detail[64] = "";
	bool is_command = h->check > 0;
	int result = is_command ? child_poll(h->check, &status) : 1;
	if (result == 0)
		return;
	h->check = 0;
	loop_timer_stop(h->check_timer);
	if (result < 0 || status != 0)
		snprintf(detail, sizeof(detail), "the command ended with %d", result < 0 ? -1 : status);
	agent_on_check(&h->agent, detail[0] == '\0', is_command || h->check_value <= 0 ? NULL : &h->check_value, detail);
	host_kick(h);
}

static void add_metrics(struct agent_telemetry *t, const char *path)
{
	char line[160], name[64];
	double value;
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%48s %lf", name, &value) == 2 && value - value == 0)
			agent_telemetry_number(t, name, value);
	if (file)
		fclose(file);
}

static void on_telemetry(void *ctx)
{
	struct host *h = ctx;
	char text[AGENT_TELEMETRY_BYTES];
	struct agent_telemetry t;
	const struct agent_component *model = NULL;
	const struct agent_release *r = agent_running(&h->agent);
	for (unsigned i = 0; i < r->component_count && !model; i++)
		if (!r->components[i].is_firmware)
			model = &r->components[i];
	agent_telemetry_begin(&t, &h->agent, text, sizeof(text), model ? model->name : NULL, model ? model->version : NULL);
	add_metrics(&t, h->options->metrics);
	if (h->options->shadow_metrics && agent_telemetry_shadow(&t))
		add_metrics(&t, h->options->shadow_metrics);
	if (t.metrics > 0 && !agent_telemetry_send(&t))
		log_event(LOG_DEBUG, "telemetry.incomplete", "metrics=%u", t.metrics);
	loop_timer_start(h->telemetry, agent_report_interval_ms(&h->agent), 0);
}

static void on_signal(void *ctx, int signum)
{
	log_event(LOG_INFO, "agent.signal", "signal=%d", signum);
	stop(ctx);
}

/* --- MQTT --- */

static bool is_of_commands(const char *topic)
{
	const char *level = strrchr(topic, '/');
	return level && strcmp(level, "/command") == 0;
}

static void on_subscribed(void *ctx, const char *filter, bool is_granted)
{
	struct host *h = ctx;
	if (!is_granted)
		log_event(LOG_ERROR, "mqtt.refused", "filter=%s", log_quote(filter));
	else if (is_of_commands(filter))
		return; /* the other one follows */
	else
		agent_on_mqtt_connected(&h->agent);
	/* the first report soon: it shows that the device lives */
	if (h->options->metrics && !loop_timer_is_active(h->telemetry))
		loop_timer_start(h->telemetry, FIRST_TELEMETRY_MS, 0);
	host_kick(h);
}

static void on_disconnect(void *ctx, const char *reason)
{
	struct host *h = ctx;
	log_event(LOG_INFO, "mqtt.disconnected", "reason=%s", log_quote(reason));
	agent_on_mqtt_disconnected(&h->agent);
	host_kick(h);
}

static void on_message(void *ctx, const struct mqtt_message *message)
{
	struct host *h = ctx;
	if (message->payload && is_of_commands(message->topic))
		agent_on_command(&h->agent, message->payload, message->len);
	else if (message->payload)
		agent_on_desired(&h->agent, message->payload, message->len);
	host_kick(h);
}

static enum err connect_broker(struct host *h, struct fault *f)
{
	static const struct mqtt_handler handler = {
		.on_disconnect = on_disconnect, .on_message = on_message, .on_subscribed = on_subscribed};
	const struct options *o = h->options;
	char client[AGENT_NAME_MAX + 16], status[128], desired[128], command[128], password[256] = "";
	snprintf(client, sizeof(client), "aviary-%s", o->device);
	agent_topic_name(AGENT_TOPIC_STATUS, o->device, status, sizeof(status));
	agent_topic_name(AGENT_TOPIC_DESIRED, o->device, desired, sizeof(desired));
	agent_topic_name(AGENT_TOPIC_COMMAND, o->device, command, sizeof(command));
	if (o->broker_password_file) {
		enum err e = options_read_line(o->broker_password_file, password, sizeof(password), f);
		if (e != ERR_OK)
			return e;
	}
	const struct mqtt_config config = {
		.host = o->broker,
		.port = (uint16_t)o->broker_port,
		.client_id = client,
		.clean_session = true,
		.username = o->broker_user,
		.password = password[0] ? password : NULL,
		.ca_file = o->broker_ca,
		.cert_file = o->broker_ca ? o->client_certificate : NULL,
		.key_file = o->broker_ca ? o->client_key : NULL,
		.will_topic = status,
		.will_payload = AGENT_WILL,
		.will_retain = true,
		.backoff_min_ms = (unsigned)o->retry_ms,
	};
	enum err e = mqtt_new(h->loop, &config, &handler, h, &h->mqtt, f);
	if (e != ERR_OK)
		return e;
	mqtt_subscribe(h->mqtt, command, 1); /* before it says that it is online: then they come */
	mqtt_subscribe(h->mqtt, desired, 1);
	return ERR_OK;
}

static enum err set_up(struct host *h, struct fault *f)
{
	h->loop = loop_new();
	h->poll = loop_timer_new(h->loop, on_poll, h);
	h->child_timer = loop_timer_new(h->loop, on_child, h);
	h->shadow_timer = loop_timer_new(h->loop, on_shadow, h);
	h->check_timer = loop_timer_new(h->loop, on_check, h);
	h->telemetry = loop_timer_new(h->loop, on_telemetry, h);
	h->signals[0] = loop_signal_new(h->loop, SIGTERM, on_signal, h);
	h->signals[1] = loop_signal_new(h->loop, SIGINT, on_signal, h);
	h->fetches = fetch_pool_new(h->loop, 2);
	return connect_broker(h, f);
}

enum err host_run(struct host *h, struct fault *f)
{
	enum err e = set_up(h, f);
	if (e != ERR_OK)
		return e;
	if (!agent_boot(&h->agent)) /* malloc failed */
		return fault_set(f, ERR_UNAVAILABLE, "", "out of memory");
	h->deadline_ms = h->options->once ? clock_mono_ms() + ONCE_TIMEOUT_MS : 0;
	mqtt_start(h->mqtt);
	loop_timer_start(h->poll, 0, 0);
	loop_run(h->loop);
	return ERR_OK;
}

void host_close(struct host *h)
{
	if (h->loop) {
		host_drop_work(h);
		mqtt_free(h->mqtt);
		fetch_pool_free(h->fetches);
		loop_signal_free(h->signals[0]);
		loop_signal_free(h->signals[1]);
		loop_timer_free(h->telemetry);
		loop_timer_free(h->child_timer);
		loop_timer_free(h->shadow_timer);
		loop_timer_free(h->check_timer);
		loop_timer_free(h->poll);
		loop_free(h->loop);
	}
	disk_close(&h->disk);
	free(h->attributes);
	free(h->tags);
	free(h->capabilities);
}
