/* One simulated device: its life from power-up to being bricked. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "core/ddsketch.h"
#include "sim.h"

#define SLOT_BYTES (64u << 20)
#define FLAP_MS 5000
#define FLOOD_REPORTS 100
#define HOT_C 40

/* ---- telemetry ---- */

static int by_key(const void *a, const void *b)
{
	return *(const int16_t *)a - *(const int16_t *)b;
}

static void put_latency(struct agent_telemetry *t, const struct measurement *m)
{
	int16_t raw[PHYSICS_LATENCIES], keys[PHYSICS_LATENCIES];
	uint32_t counts[PHYSICS_LATENCIES];
	size_t count = 0;
	for (int i = 0; i < PHYSICS_LATENCIES; i++)
		raw[i] = (int16_t)ddsketch_key(m->latency_ms[i]);
	qsort(raw, PHYSICS_LATENCIES, sizeof *raw, by_key);
	for (int i = 0; i < PHYSICS_LATENCIES; i++) {
		if (count && keys[count - 1] == raw[i]) {
			counts[count - 1]++;
		} else {
			keys[count] = raw[i];
			counts[count++] = 1;
		}
	}
	agent_telemetry_sketch(t, "latency_ms", keys, counts, count);
}

/* What a model version makes of its inputs: in the same words for the one that runs and the one in shadow. */
static void put_model(struct agent_telemetry *t, const struct measurement *m)
{
	agent_telemetry_ratio(t, "accuracy", PHYSICS_INFERENCES, m->correct);
	put_latency(t, m);
	agent_telemetry_mean(t, "energy_mj", PHYSICS_INFERENCES, m->energy_mj);
	agent_telemetry_mean(t, "confidence", PHYSICS_INFERENCES, m->confidence);
	agent_telemetry_histogram(t, "classes", m->classes, PHYSICS_CLASSES);
	if (m->crashes)
		agent_telemetry_number(t, "crash", m->crashes);
}

/* Of what runs; NULL: not known. */
static const uint8_t *running_hash(const struct device *d)
{
	const struct agent_release *r = agent_running(&d->agent);
	for (unsigned i = 0; !d->ddi && i < r->component_count; i++)
		if (!r->components[i].is_firmware)
			return r->components[i].sha256;
	return NULL;
}

static void send_report(struct device *d)
{
	const char *version, *model = device_model(d, &version);
	const struct faults *f = &d->sim->options.faults;
	struct physics same = d->physics; /* inputs: both versions meet the same draws */
	int64_t wall_ms = clock_wall_ms();
	struct measurement m, shadow;
	struct agent_telemetry t;
	struct model_effect effect = *faults_effect(f, model ? model : "", model ? version : "", running_hash(d));
	if (faults_hit(f, FAULT_HOT, d->seed, model, version)) {
		effect.temperature += HOT_C;
		effect.latency_factor = (effect.latency_factor > 0 ? effect.latency_factor : 1) * 2;
	}
	physics_measure(&d->physics, &effect, wall_ms, &m);
	if (faults_hit(f, FAULT_NAN, d->seed, model, version))
		m.confidence = NAN;
	agent_telemetry_begin(&t, &d->agent, d->sim->telemetry, sizeof d->sim->telemetry, model, version);
	put_model(&t, &m);
	agent_telemetry_number(&t, "temperature_c", m.temperature_c);
	agent_telemetry_number(&t, "battery", m.battery);
	agent_telemetry_number(&t, "link_rssi_dbm", m.rssi_dbm);
	if (model) {
		endpoint_infer(&d->sim->options.endpoint, &d->agent, &d->hard, &d->physics, &m, model, &d->sim->totals.offload);
		agent_telemetry_offload(&t, model);
	}
	if (agent_telemetry_shadow(&t)) {
		physics_measure(&same, faults_effect(f, d->shadow_model, d->shadow_version, NULL), wall_ms, &shadow);
		put_model(&t, &shadow);
	}
	if (!agent_telemetry_send(&t))
		return;
	if (faults_hit(f, FAULT_DUPLICATE, d->seed, NULL, NULL)) {
		enum err e = mqtt_publish(d->mqtt, d->topic_telemetry, t.out, t.len, 1, false, NULL);
		(void)e; /* a duplicate that is not sent is none */
	}
}

static int64_t interval_ms(const struct device *d)
{
	return d->sim->options.interval_ms ? d->sim->options.interval_ms : (int64_t)agent_report_interval_ms(&d->agent);
}

static void on_telemetry(void *ctx)
{
	struct device *d = ctx;
	loop_timer_start(d->telemetry, interval_ms(d), 0);
	if (d->is_away || d->is_cut || !device_is_connected(d))
		return;
	int count = faults_hit(&d->sim->options.faults, FAULT_FLOOD, d->seed, NULL, NULL) ? FLOOD_REPORTS : 1;
	for (int i = 0; i < count; i++)
		send_report(d);
	device_wake(d);
}

/* ---- MQTT ---- */

bool device_is_connected(const struct device *d)
{
	return d->mqtt && mqtt_is_connected(d->mqtt) && (!d->ddi || ddi_is_answered(d->ddi));
}

static void on_subscribed(void *ctx, const char *filter, bool is_granted)
{
	struct device *d = ctx;
	if (!is_granted || strcmp(filter, d->topic_desired) != 0)
		return; /* the last of the two */
	agent_on_mqtt_connected(&d->agent);
	device_wake(d);
}

/* Of a DDI device: it sends telemetry, and is told nothing here. */
static void on_connect(void *ctx, bool session_present)
{
	struct device *d = ctx;
	(void)session_present;
	agent_on_mqtt_connected(&d->agent);
	ddi_on_mqtt(d->ddi);
}

static void on_disconnect(void *ctx, const char *reason)
{
	struct device *d = ctx;
	(void)reason;
	agent_on_mqtt_disconnected(&d->agent);
	device_wake(d);
}

static void on_message(void *ctx, const struct mqtt_message *message)
{
	struct device *d = ctx;
	const char *text = message->payload ? message->payload : "";
	if (strcmp(message->topic, d->topic_command) == 0)
		agent_on_command(&d->agent, text, message->len);
	else
		agent_on_desired(&d->agent, text, message->len);
	device_wake(d);
}

static void on_published(void *ctx, uint64_t token)
{
	struct device *d = ctx;
	size_t place = token % SIM_ACKS;
	if (d->acks[place].token != token || d->acks[place].seq == 0)
		return;
	d->sim->totals.telemetry_acknowledged++;
	if (d->sim->ack_log)
		fprintf(d->sim->ack_log, "%s %s %lld\n", d->id, d->acks[place].boot, (long long)d->acks[place].seq);
	d->acks[place].seq = 0;
}

static void make_mqtt(struct device *d)
{
	static const struct mqtt_handler of_agent = {
		.on_subscribed = on_subscribed, .on_disconnect = on_disconnect, .on_message = on_message, .on_published = on_published};
	static const struct mqtt_handler of_ddi = {
		.on_connect = on_connect, .on_disconnect = on_disconnect, .on_message = on_message, .on_published = on_published};
	char client_id[80];
	snprintf(client_id, sizeof client_id, "aviary-%s", d->id);
	struct mqtt_config config = {.host = d->sim->options.broker_host,
		.port = d->sim->options.broker_port,
		.client_id = client_id,
		.clean_session = true,
		.username = d->sim->options.username,
		.password = d->sim->options.password,
		.will_topic = d->ddi ? NULL : d->topic_status, /* DDI devices are there while they poll */
		.will_payload = AGENT_WILL,
		.will_retain = true,
		.backoff_min_ms = 500,
		.backoff_max_ms = 5000};
	struct fault f = {{0}, {0}};
	if (mqtt_new(d->sim->loop, &config, d->ddi ? &of_ddi : &of_agent, d, &d->mqtt, &f)) {
		fprintf(stderr, "aviary-sim: %s\n", f.detail);
		exit(1);
	}
	if (d->ddi)
		return;
	mqtt_subscribe(d->mqtt, d->topic_command, 1); /* before it says that it is online: then they come */
	mqtt_subscribe(d->mqtt, d->topic_desired, 1);
}

/* ---- power ---- */

static void boot(struct device *d)
{
	d->is_cut = false;
	d->telemetry_seq = 0;
	device_return_memory(d);
	device_forget_shadow(d);
	memset(&d->offload, 0, sizeof d->offload);
	if (!agent_init(&d->agent, &d->config, device_ports(d), d) || !agent_boot(&d->agent)) {
		fprintf(stderr, "aviary-sim: %s does not boot\n", d->id);
		exit(1);
	}
	if (d->mqtt && mqtt_is_connected(d->mqtt))
		agent_on_mqtt_connected(&d->agent);
	device_wake(d);
	if (d->ddi)
		ddi_boot(d->ddi);
}

void device_reboot(struct device *d)
{
	d->sim->totals.boots++;
	boot(d);
}

void device_brick(struct device *d)
{
	d->is_bricked = true;
	d->sim->totals.bricked++;
	loop_timer_stop(d->wake);
	loop_timer_stop(d->telemetry);
	loop_timer_stop(d->fault);
	loop_timer_stop(d->check);
	if (d->fetch)
		fetch_cancel(d->fetch);
	d->fetch = NULL;
	if (d->ddi)
		ddi_stop(d->ddi);
	mqtt_stop(d->mqtt);
}

static void on_wake(void *ctx)
{
	struct device *d = ctx;
	if (d->is_cut || d->is_bricked)
		return;
	int64_t next = agent_poll(&d->agent);
	if (next == INT64_MAX || loop_timer_is_active(d->wake))
		return;
	int64_t delay = next - clock_mono_ms();
	loop_timer_start(d->wake, delay > 0 ? delay : 0, 0);
}

static void on_test(void *ctx)
{
	struct device *d = ctx;
	const char *version, *model = device_model(d, &version);
	const struct faults *f = &d->sim->options.faults;
	if (agent_shadow(&d->agent)) {
		agent_on_shadow_ended(&d->agent, "the release in shadow crashed");
		device_wake(d);
		return;
	}
	if (faults_hit(f, FAULT_BRICK, d->seed, model, version)) {
		device_brick(d);
		return;
	}
	bool fails = faults_hit(f, FAULT_CRASHLOOP, d->seed, model, version) != NULL;
	agent_on_self_test(&d->agent, !fails, fails ? "the new release crashed in its self-test" : NULL);
	device_wake(d);
}

static void on_check(void *ctx)
{
	struct device *d = ctx;
	static const double room = 1 << 20;
	agent_on_check(&d->agent, d->check_passes, &room, d->check_passes ? NULL : "the output is not the expected one");
	device_wake(d);
}

/* The end of a power cut, of an absence, or the next loss of the connection. */
static void on_fault(void *ctx)
{
	struct device *d = ctx;
	const struct faults *f = &d->sim->options.faults;
	if (d->is_cut) {
		if (d->fetch)
			fetch_cancel(d->fetch);
		d->fetch = NULL;
		boot(d);
		return;
	}
	const struct fault_rule *offline = faults_hit(f, FAULT_OFFLINE, d->seed, NULL, NULL);
	if (offline && !d->is_away) {
		d->is_away = true;
		mqtt_stop(d->mqtt);
		loop_timer_start(d->fault, offline->duration_ms, 0);
	} else if (offline) {
		d->is_away = false;
		mqtt_start(d->mqtt);
		loop_timer_start(d->fault, offline->duration_ms * 4, 0);
	} else if (faults_hit(f, FAULT_FLAPPING, d->seed, NULL, NULL)) {
		mqtt_drop(d->mqtt, "flapping");
		loop_timer_start(d->fault, FLAP_MS, 0);
	}
}

/* ---- making ---- */

static const char *pick_class(const struct options *o, uint64_t seed)
{
	unsigned sum = 0;
	for (unsigned i = 0; i < o->class_count; i++)
		sum += o->classes[i].weight;
	uint64_t at = seed % sum;
	for (unsigned i = 0; i < o->class_count; i++) {
		if (at < o->classes[i].weight)
			return o->classes[i].name;
		at -= o->classes[i].weight;
	}
	return o->classes[0].name;
}

static const char *class_capabilities(const struct options *o, const char *hardware)
{
	for (unsigned i = 0; i < o->class_count; i++)
		if (strcmp(o->classes[i].name, hardware) == 0)
			return o->classes[i].capabilities[0] ? o->classes[i].capabilities : NULL;
	return NULL;
}

/* As --shadow says, else as the class can. */
static bool can_shadow(const struct options *o, const char *hardware)
{
	size_t len = strlen(hardware);
	if (!o->shadow)
		return hardware_profile(hardware)->has_shadow;
	if (strcmp(o->shadow, "all") == 0)
		return true;
	for (const char *at = o->shadow; (at = strstr(at, hardware)) != NULL; at += len)
		if ((at == o->shadow || at[-1] == ',') && (at[len] == '\0' || at[len] == ','))
			return true;
	return false;
}

static void name_device(struct device *d, uint32_t number)
{
	const struct options *o = &d->sim->options;
	char text[128];
	uint8_t digest[SHA256_BYTES];
	snprintf(d->id, sizeof d->id, "%.48s%05u", o->prefix, number);
	d->seed = seed_mix(o->seed, d->id);
	snprintf(d->hardware, sizeof d->hardware, "%s", pick_class(o, seed_mix(d->seed, "class")));
	snprintf(d->region, sizeof d->region, "%s", o->region_count ? o->regions[seed_mix(d->seed, "region") % o->region_count] : "");
	snprintf(text, sizeof text, "%llu:%s:secret", (unsigned long long)o->seed, d->id);
	crypto_sha256(text, strlen(text), digest);
	hex_encode(digest, sizeof digest, d->secret);
	crypto_sha256_hex(d->secret, 64, d->secret_sha256);
	snprintf(d->attributes, sizeof d->attributes, d->region[0] ? "{\"region\":\"%s\"}" : "{}", d->region);
	agent_topic_name(AGENT_TOPIC_DESIRED, d->id, d->topic_desired, sizeof d->topic_desired);
	agent_topic_name(AGENT_TOPIC_COMMAND, d->id, d->topic_command, sizeof d->topic_command);
	agent_topic_name(AGENT_TOPIC_ANSWER, d->id, d->topic_answer, sizeof d->topic_answer);
	agent_topic_name(AGENT_TOPIC_STATUS, d->id, d->topic_status, sizeof d->topic_status);
	agent_topic_name(AGENT_TOPIC_REPORT, d->id, d->topic_report, sizeof d->topic_report);
	agent_topic_name(AGENT_TOPIC_TELEMETRY, d->id, d->topic_telemetry, sizeof d->topic_telemetry);
}

/* Spread evenly, so that any first part of the fleet has its share. */
static bool speaks_ddi(const struct options *o, uint32_t number)
{
	uint64_t before = (uint64_t)(number - 1) * o->ddi / o->devices, now = (uint64_t)number * o->ddi / o->devices;
	return now > before;
}

void device_init(struct device *d, struct sim *s, uint32_t number)
{
	d->sim = s;
	name_device(d, number);
	d->rng.state = seed_mix(d->seed, "life");
	d->has_shadow = can_shadow(&s->options, d->hardware);
	physics_init(&d->physics, seed_mix(d->seed, "physics"), hardware_profile(d->hardware));
	d->hard.state = seed_mix(d->seed, "offload");
	if (faults_hit(&s->options.faults, FAULT_POORLINK, d->seed, NULL, NULL))
		d->physics.rssi = -95;
	d->cuts_left = faults_hit(&s->options.faults, FAULT_CUT, d->seed, NULL, NULL) ? 3 : 0;
	d->config = (struct agent_config){.device = d->id,
		.hardware = d->hardware,
		.keys = (const uint8_t(*)[32])&s->key,
		.key_count = 1,
		.factory = s->factory.name[0] ? &s->factory : NULL,
		.slot_bytes = SLOT_BYTES,
		.capabilities_json = class_capabilities(&s->options, d->hardware),
		.enrol = {.token = s->options.enrol_token,
			.secret_sha256 = d->secret_sha256,
			.attributes_json = d->attributes},
		.limits = {.report_retry_ms = (uint32_t)s->options.report_retry_ms, .retry_min_ms = 500, .retry_max_ms = 10000},
		.confirm_needs_connection = true,
		.offloads = &d->offload,
		.offload_count = 1};
	d->wake = loop_timer_new(s->loop, on_wake, d);
	d->telemetry = loop_timer_new(s->loop, on_telemetry, d);
	d->test = loop_timer_new(s->loop, on_test, d);
	d->fault = loop_timer_new(s->loop, on_fault, d);
	d->check = loop_timer_new(s->loop, on_check, d);
	if (speaks_ddi(&s->options, number))
		d->ddi = ddi_new(d);
	make_mqtt(d);
}

void device_start(struct device *d)
{
	const struct faults *f = &d->sim->options.faults;
	boot(d);
	if (d->ddi)
		ddi_start(d->ddi);
	mqtt_start(d->mqtt);
	loop_timer_start(d->telemetry, (int64_t)(rng_uniform(&d->rng) * (double)interval_ms(d)), 0);
	if (faults_hit(f, FAULT_OFFLINE, d->seed, NULL, NULL) || faults_hit(f, FAULT_FLAPPING, d->seed, NULL, NULL))
		loop_timer_start(d->fault, (int64_t)(rng_uniform(&d->rng) * 4 * FLAP_MS), 0);
}

void device_done(struct device *d)
{
	loop_timer_free(d->wake);
	loop_timer_free(d->telemetry);
	loop_timer_free(d->test);
	loop_timer_free(d->fault);
	loop_timer_free(d->check);
	if (d->fetch)
		fetch_cancel(d->fetch);
	ddi_free(d->ddi);
	mqtt_free(d->mqtt);
	device_return_memory(d);
	storage_done(&d->storage);
}
