/* The ports of libaviary-agent for a simulated device: memory for flash, base/crypto, net/ for the network, and what goes wrong. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/str.h"
#include "sim.h"

#define CUT_PAUSE_MS 400

void device_wake(struct device *d)
{
	if (!d->is_bricked && !d->ddi)
		loop_timer_start(d->wake, 0, 0);
}

/* ---- storage ---- */

/* A power cut happens at a write: nothing after it reaches the flash, and the device starts again a little later. */
bool device_loses_power(struct device *d)
{
	if (d->is_cut)
		return true;
	if (d->cuts_left == 0 || rng_uniform(&d->rng) > 0.2)
		return false;
	d->cuts_left--;
	d->is_cut = true;
	d->sim->totals.cuts++;
	loop_timer_start(d->fault, CUT_PAUSE_MS, 0);
	return true;
}

static bool state_read(void *host, int copy, void *out, size_t size)
{
	return storage_state_read(&((struct device *)host)->storage, copy, out, size);
}

static bool state_write(void *host, int copy, const void *data, size_t size)
{
	struct device *d = host;
	return !device_loses_power(d) && storage_state_write(&d->storage, copy, data, size);
}

static bool part_begin(void *host, int slot, int part, uint64_t size_bytes, const uint8_t *sha256)
{
	struct device *d = host;
	return !device_loses_power(d) && storage_part_begin(&d->storage, slot, part, size_bytes, sha256);
}

static bool part_write(void *host, int slot, int part, uint64_t offset, const void *data, size_t len)
{
	struct device *d = host;
	return !device_loses_power(d) && storage_part_write(&d->storage, slot, part, offset, data, len);
}

static bool part_read(void *host, int slot, int part, uint64_t offset, void *out, size_t len)
{
	struct device *d = host;
	if (!storage_part_read(&d->storage, slot, part, offset, out, len))
		return false;
	/* seen by a check alone: at a start the agent would have left the slot */
	if (d->agent.check_is_hashing && len > 0 && faults_hit(&d->sim->options.faults, FAULT_ROT, d->seed, NULL, NULL))
		((uint8_t *)out)[len / 2] ^= 0x10;
	return true;
}

static bool slot_sync(void *host, int slot)
{
	(void)slot;
	return !((struct device *)host)->is_cut;
}

/* One buffer for the whole fleet. While it is lent for a fetch, others get one of their own for the moment. */
static void *memory_borrow(void *host, size_t size_bytes)
{
	struct device *d = host;
	struct sim *s = d->sim;
	if (!s->is_memory_lent && size_bytes <= sizeof s->memory) {
		s->is_memory_lent = true;
		d->borrowed = s->memory;
	} else {
		d->borrowed = malloc(size_bytes);
	}
	return d->borrowed;
}

static void memory_return(void *host, void *memory)
{
	struct device *d = host;
	if (memory == (void *)d->sim->memory)
		d->sim->is_memory_lent = false;
	else
		free(memory);
	d->borrowed = NULL;
}

void device_return_memory(struct device *d)
{
	if (d->borrowed)
		memory_return(d, d->borrowed);
}

/* ---- clock and crypto ---- */

static int64_t mono_ms(void *host)
{
	(void)host;
	return clock_mono_ms();
}

int64_t device_wall_ms(const struct device *d)
{
	if (faults_hit(&d->sim->options.faults, FAULT_WRONGCLOCK, d->seed, NULL, NULL))
		return d->seed & 1 ? clock_mono_ms() : 4102444800000 + clock_mono_ms(); /* 1970 or 2100 */
	return clock_wall_ms();
}

static int64_t wall_ms(void *host)
{
	return device_wall_ms(host);
}

static void sha_init(void *host, union agent_sha *h)
{
	(void)host;
	struct sha256 *sha = sha256_new();
	memcpy(h->bytes, &sha, sizeof sha);
}

static struct sha256 *sha_of(const union agent_sha *h)
{
	struct sha256 *sha;
	memcpy(&sha, h->bytes, sizeof sha);
	return sha;
}

static void sha_update(void *host, union agent_sha *h, const void *data, size_t len)
{
	(void)host;
	sha256_update(sha_of(h), data, len);
}

static void sha_final(void *host, union agent_sha *h, uint8_t out[AGENT_SHA256_BYTES])
{
	(void)host;
	sha256_final(sha_of(h), out);
	sha256_free(sha_of(h));
}

static bool verify(void *host, const uint8_t public_key[32], const char *domain, const void *data, size_t len, const uint8_t signature[64])
{
	(void)host;
	return ed25519_verify(public_key, domain, data, len, signature);
}

static void random_bytes(void *host, void *out, size_t len)
{
	(void)host;
	crypto_random(out, len);
}

/* ---- network ---- */

static const char *topic_of(const struct device *d, enum agent_topic topic)
{
	switch (topic) {
	case AGENT_TOPIC_TELEMETRY: return d->topic_telemetry;
	case AGENT_TOPIC_STATUS: return d->topic_status;
	case AGENT_TOPIC_REPORT: return d->topic_report;
	case AGENT_TOPIC_COMMAND: return d->topic_command;
	case AGENT_TOPIC_ANSWER: return d->topic_answer;
	case AGENT_TOPIC_DESIRED: break;
	}
	return d->topic_desired;
}

static bool publish(void *host, enum agent_topic topic, const char *payload, size_t len, bool retained)
{
	struct device *d = host;
	uint64_t token = 0;
	if (!d->mqtt || mqtt_publish(d->mqtt, topic_of(d, topic), payload, len, 1, retained, &token))
		return false;
	d->sim->totals.answers_sent += topic == AGENT_TOPIC_ANSWER;
	d->sim->totals.reports_sent += topic == AGENT_TOPIC_REPORT;
	if (topic != AGENT_TOPIC_TELEMETRY)
		return true;
	d->telemetry_seq++;
	d->sim->totals.telemetry_sent++;
	size_t place = token % SIM_ACKS;
	d->acks[place].token = token;
	d->acks[place].seq = d->telemetry_seq;
	snprintf(d->acks[place].boot, sizeof d->acks[place].boot, "%s", agent_boot_id(&d->agent));
	return true;
}

static uint64_t first_byte_of(const struct fetch *f)
{
	const char *range = fetch_header(f, "Content-Range");
	return range && strncmp(range, "bytes ", 6) == 0 ? strtoull(range + 6, NULL, 10) : 0;
}

static bool on_head(void *ctx, const struct fetch *fetch, int status)
{
	struct device *d = ctx;
	char text[17] = "";
	const char *etag = fetch_header(fetch, "ETag");
	if (etag && strlen(etag) == 18)
		memcpy(text, etag + 1, 16);
	bool goes_on = agent_on_http_response(&d->agent, d->fetch_id, status, text[0] ? text : NULL, first_byte_of(fetch));
	device_wake(d);
	return goes_on;
}

static bool on_chunk(void *ctx, const void *data, size_t len)
{
	struct device *d = ctx;
	d->sim->totals.bytes_downloaded += len;
	bool goes_on;
	if (d->is_corrupt_fetch && len > 8) {
		uint8_t *copy = malloc(len);
		if (!copy)
			abort();
		memcpy(copy, data, len);
		copy[len / 2] ^= 0x40;
		d->is_corrupt_fetch = false;
		goes_on = agent_on_http_data(&d->agent, d->fetch_id, copy, len);
		free(copy);
	} else {
		goes_on = agent_on_http_data(&d->agent, d->fetch_id, data, len);
	}
	device_wake(d);
	return goes_on;
}

static void on_done(void *ctx, const struct fetch_result *result)
{
	struct device *d = ctx;
	uint32_t id = d->fetch_id;
	d->fetch = NULL;
	agent_on_http_done(&d->agent, id, result->error == NULL);
	device_wake(d);
}

static bool http_get(void *host, uint32_t id, const char *path, const char *etag, uint64_t from)
{
	struct device *d = host;
	char url[512], authorization[160], match[40];
	snprintf(url, sizeof url, "%s%s", d->sim->options.http_url, path);
	snprintf(authorization, sizeof authorization, "Authorization: Bearer %s:%s", d->id, d->secret);
	snprintf(match, sizeof match, "If-None-Match: \"%s\"", etag ? etag : "");
	const char *headers[] = {authorization, etag ? match : NULL, NULL};
	bool is_artifact = strstr(path, "/artifacts/") != NULL;
	d->fetch_id = id;
	d->sim->totals.downloads += is_artifact;
	d->is_corrupt_fetch = is_artifact && faults_hit(&d->sim->options.faults, FAULT_CORRUPT, d->seed, NULL, NULL) && rng_uniform(&d->rng) < 0.5;
	d->fetch = fetch_start(d->sim->fetch, &(struct fetch_request){.url = url, .headers = headers, .has_range = from > 0, .range_from = from,
		.on_head = on_head, .on_chunk = on_chunk, .on_done = on_done, .ctx = d});
	return true;
}

static void http_cancel(void *host, uint32_t id)
{
	struct device *d = host;
	if (!d->fetch || d->fetch_id != id)
		return;
	fetch_cancel(d->fetch);
	d->fetch = NULL;
}

/* ---- application ---- */

const char *device_model(const struct device *d, const char **version)
{
	const struct agent_release *r = agent_running(&d->agent);
	if (d->ddi)
		return ddi_model(d->ddi, version);
	for (unsigned i = 0; i < r->component_count; i++)
		if (!r->components[i].is_firmware) {
			*version = r->components[i].version;
			return r->components[i].name;
		}
	*version = NULL;
	return NULL;
}

static enum agent_activation activate(void *host, int slot, bool trial)
{
	(void)host;
	(void)slot;
	(void)trial;
	return AGENT_ACTIVATE_DONE;
}

/* The result comes a little later, as a real self-test's does. */
static bool self_test_start(void *host, int slot)
{
	struct device *d = host;
	const char *version, *model = device_model(d, &version);
	(void)slot;
	if (!faults_hit(&d->sim->options.faults, FAULT_STUCK, d->seed, model, version))
		loop_timer_start(d->test, d->sim->options.self_test_ms, 0);
	return true;
}

static void self_test_cancel(void *host)
{
	loop_timer_stop(((struct device *)host)->test);
}

static void event(void *host, enum agent_event what, const char *detail)
{
	struct device *d = host;
	struct totals *t = &d->sim->totals;
	t->confirmed += what == AGENT_EVENT_CONFIRMED;
	t->fell_back += what == AGENT_EVENT_FELL_BACK;
	t->rejected += what == AGENT_EVENT_REJECTED;
	t->boots += what == AGENT_EVENT_BOOTED;
	t->shadows += what == AGENT_EVENT_SHADOW;
	if (d->sim->log)
		fprintf(d->sim->log, "{\"at\":%lld,\"device\":\"%s\",\"event\":\"%s\",\"detail\":\"%s\"}\n", (long long)clock_wall_ms(), d->id,
			agent_event_name(what), detail ? detail : "");
}

static bool shadow_start(void *host, int slot, const struct agent_release *release)
{
	struct device *d = host;
	(void)slot;
	str_copy(d->shadow_release, sizeof d->shadow_release, release->name);
	for (unsigned i = 0; i < release->component_count && !d->shadow_model[0]; i++) {
		if (release->components[i].is_firmware)
			continue;
		str_copy(d->shadow_model, sizeof d->shadow_model, release->components[i].name);
		str_copy(d->shadow_version, sizeof d->shadow_version, release->components[i].version);
	}
	if (faults_hit(&d->sim->options.faults, FAULT_SHADOWCRASH, d->seed, d->shadow_model, d->shadow_version))
		loop_timer_start(d->test, d->sim->options.self_test_ms, 0);
	return true;
}

void device_forget_shadow(struct device *d)
{
	d->shadow_release[0] = d->shadow_model[0] = d->shadow_version[0] = '\0';
	loop_timer_stop(d->test);
}

static void shadow_stop(void *host)
{
	device_forget_shadow(host);
}

/* The result comes a little later, as that of a real check. */
static bool check_start(void *host, const char *check, const char *name)
{
	struct device *d = host;
	(void)name;
	d->check_passes = strcmp(check, "inference") != 0 || !faults_hit(&d->sim->options.faults, FAULT_HOT, d->seed, NULL, NULL);
	loop_timer_start(d->check, 50, 0);
	return true;
}

static void check_cancel(void *host)
{
	loop_timer_stop(((struct device *)host)->check);
}

static void telemetry_now(void *host)
{
	loop_timer_start(((struct device *)host)->telemetry, 0, 0);
}

/* What runs is what was installed, but for devices whose model somebody has replaced. */
static bool loaded_hash(void *host, const struct agent_component *component, uint8_t sha256[AGENT_SHA256_BYTES])
{
	struct device *d = host;
	if (!faults_hit(&d->sim->options.faults, FAULT_SWAPPED, d->seed, component->name, component->version))
		return false;
	memcpy(sha256, component->sha256, AGENT_SHA256_BYTES);
	sha256[0] ^= 0x01;
	return true;
}

static const struct agent_ports ports = {
	.state_read = state_read,
	.state_write = state_write,
	.part_begin = part_begin,
	.part_write = part_write,
	.part_read = part_read,
	.slot_sync = slot_sync,
	.memory_borrow = memory_borrow,
	.memory_return = memory_return,
	.mono_ms = mono_ms,
	.wall_ms = wall_ms,
	.sha_init = sha_init,
	.sha_update = sha_update,
	.sha_final = sha_final,
	.verify = verify,
	.random = random_bytes,
	.publish = publish,
	.http_get = http_get,
	.http_cancel = http_cancel,
	.activate = activate,
	.self_test_start = self_test_start,
	.self_test_cancel = self_test_cancel,
	.event = event,
	.shadow_start = shadow_start,
	.shadow_stop = shadow_stop,
	.loaded_hash = loaded_hash,
	.check_start = check_start,
	.check_cancel = check_cancel,
	.telemetry_now = telemetry_now,
};

const struct agent_ports *device_ports(const struct device *d)
{
	static struct agent_ports without_shadow;
	if (d->has_shadow)
		return &ports;
	without_shadow = ports;
	without_shadow.shadow_start = NULL;
	without_shadow.shadow_stop = NULL;
	return &without_shadow;
}
