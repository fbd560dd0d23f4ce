#include "ports.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/str.h"
#include "child.h"

enum { HOOK_TIMEOUT_MS = 20000, CHILD_POLL_MS = 20, HOOK_REBOOTS = 10 };

/* --- storage, clock, crypto: thin --- */

static bool state_read(void *host, int copy, void *out, size_t size)
{
	return disk_state_read(&((struct host *)host)->disk, copy, out, size);
}
static bool state_write(void *host, int copy, const void *data, size_t size)
{
	return disk_state_write(&((struct host *)host)->disk, copy, data, size);
}
static bool part_begin(void *host, int slot, int part, uint64_t size_bytes, const uint8_t *sha256)
{
	(void)sha256;
	return disk_part_begin(&((struct host *)host)->disk, slot, part, size_bytes);
}
static bool part_write(void *host, int slot, int part, uint64_t offset, const void *data, size_t len)
{
	return disk_part_write(&((struct host *)host)->disk, slot, part, offset, data, len);
}
static bool part_read(void *host, int slot, int part, uint64_t offset, void *out, size_t len)
{
	return disk_part_read(&((struct host *)host)->disk, slot, part, offset, out, len);
}
static bool slot_sync(void *host, int slot)
{
	return disk_slot_sync(&((struct host *)host)->disk, slot);
}
static void *memory_borrow(void *host, size_t size_bytes)
{
	(void)host;
	return malloc(size_bytes);
}
static void memory_return(void *host, void *memory)
{
	(void)host;
	free(memory);
}
static int64_t mono_ms(void *host)
{
	(void)host;
	return clock_mono_ms();
}
static int64_t wall_ms(void *host)
{
	(void)host;
	return clock_wall_ms();
}

static void sha_init(void *host, union agent_sha *h)
{
	struct sha256 *inner = sha256_new();
	(void)host;
	memcpy(h->bytes, &inner, sizeof(inner));
}
static struct sha256 *inner_of(const union agent_sha *h)
{
	struct sha256 *inner;
	memcpy(&inner, h->bytes, sizeof(inner));
	return inner;
}
static void sha_update(void *host, union agent_sha *h, const void *data, size_t len)
{
	(void)host;
	sha256_update(inner_of(h), data, len);
}
static void sha_final(void *host, union agent_sha *h, uint8_t out[AGENT_SHA256_BYTES])
{
	(void)host;
	sha256_final(inner_of(h), out);
	sha256_free(inner_of(h));
}
static bool verify(void *host, const uint8_t key[32], const char *domain, const void *data, size_t len,
                   const uint8_t signature[64])
{
	(void)host;
	return ed25519_verify(key, domain, data, len, signature);
}
static void fill_random(void *host, void *out, size_t len)
{
	(void)host;
	crypto_random(out, len);
}

/* --- transport --- */

static bool publish(void *host, enum agent_topic topic, const char *payload, size_t len, bool retained)
{
	struct host *h = host;
	char name[128];
	if (agent_topic_name(topic, h->options->device, name, sizeof(name)) == 0)
		return false;
	return mqtt_publish(h->mqtt, name, payload, len, 1, retained, NULL) == ERR_OK;
}

struct transfer {
	struct host *host;
	uint32_t id;
	struct fetch *fetch;
};

/* First byte of "bytes a-b/c". */
static uint64_t first_byte(const struct fetch *fetch)
{
	const char *range = fetch_header(fetch, "Content-Range");
	return range && str_starts(range, "bytes ") ? strtoull(range + 6, NULL, 10) : 0;
}

static bool on_head(void *ctx, const struct fetch *fetch, int status)
{
	struct transfer *t = ctx;
	char etag[32] = "";
	const char *header = fetch_header(fetch, "ETag");
	if (header)
		(void)sscanf(header, "%*[W/\"]%31[^\"]", etag);
	host_kick(t->host);
	return agent_on_http_response(&t->host->agent, t->id, status, etag[0] ? etag : NULL, first_byte(fetch));
}

static bool on_chunk(void *ctx, const void *data, size_t len)
{
	struct transfer *t = ctx;
	host_kick(t->host);
	return agent_on_http_data(&t->host->agent, t->id, data, len);
}

static void on_done(void *ctx, const struct fetch_result *result)
{
	struct transfer *t = ctx;
	struct host *h = t->host;
	if (result->error)
		log_event(LOG_DEBUG, "http.failed", "status=%d error=%s", result->status, log_quote(result->error));
	h->transfer = NULL;
	agent_on_http_done(&h->agent, t->id, result->error == NULL);
	free(t);
	host_kick(h);
}

static void drop_transfer(struct host *h)
{
	if (!h->transfer)
		return;
	fetch_cancel(h->transfer->fetch);
	free(h->transfer);
	h->transfer = NULL;
}

static bool http_get(void *host, uint32_t id, const char *path, const char *etag, uint64_t from)
{
	struct host *h = host;
	char url[512], authorization[160], match[48];
	const char *headers[3] = {authorization, etag ? match : NULL, NULL};
	size_t base_len = strlen(h->options->server);
	while (base_len > 0 && h->options->server[base_len - 1] == '/')
		base_len--;
	drop_transfer(h); /* one that the agent gave up by answering false is still ending */
	if (snprintf(url, sizeof(url), "%.*s%s", (int)base_len, h->options->server, path) >= (int)sizeof(url))
		return false;
	snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s:%s", h->options->device, h->secret);
	snprintf(match, sizeof(match), "If-None-Match: \"%s\"", etag ? etag : "");
	struct transfer *t = calloc(1, sizeof(*t));
	if (!t)
		return false;
	t->host = h;
	t->id = id;
	h->transfer = t;
	const struct fetch_request request = {.url = url, .headers = headers, .has_range = from > 0, .range_from = from,
		.ca_file = h->options->server_ca, .certificate_file = h->options->client_certificate, .key_file = h->options->client_key,
		.on_head = on_head, .on_chunk = on_chunk, .on_done = on_done, .ctx = t};
	t->fetch = fetch_start(h->fetches, &request);
	return true;
}

static void http_cancel(void *host, uint32_t id)
{
	(void)id;
	drop_transfer(host);
}

/* --- hooks --- */

static void slot_dir(const struct host *h, int slot, char *out, size_t out_size)
{
	if (slot == AGENT_SLOT_FACTORY)
		snprintf(out, out_size, "%s", h->disk.path);
	else
		snprintf(out, out_size, "%s/%s", h->disk.path, disk_slot_name(slot));
}

static enum agent_activation activate(void *host, int slot, bool trial)
{
	struct host *h = host;
	const struct agent_release *running = agent_running(&h->agent);
	char dir[4200];
	if (!disk_use_slot(&h->disk, slot, running))
		return AGENT_ACTIVATE_FAILED;
	if (!h->options->activate_hook)
		return AGENT_ACTIVATE_DONE;
	slot_dir(h, slot, dir, sizeof(dir));
	struct child_context context = {disk_slot_name(slot), dir, running->name, trial, false, NULL, NULL};
	int status = child_run(h->options->activate_hook, &context, HOOK_TIMEOUT_MS);
	log_event(status == 0 ? LOG_INFO : LOG_WARN, "hook.activate", "slot=%s trial=%d status=%d", context.slot, trial,
	          status);
	return status == 0 ? AGENT_ACTIVATE_DONE : status == HOOK_REBOOTS ? AGENT_ACTIVATE_REBOOT : AGENT_ACTIVATE_FAILED;
}

static void reboot_device(void *host)
{
	struct host *h = host;
	struct child_context context = {"", h->disk.path, agent_running(&h->agent)->name, true, false, NULL, NULL};
	log_event(LOG_INFO, "agent.reboot", "release=%s", agent_running(&h->agent)->name);
	if (h->options->reboot_command)
		(void)child_run(h->options->reboot_command, &context, HOOK_TIMEOUT_MS);
	h->exit_status = EXIT_REBOOT;
	h->is_stopping = true;
}

/* The stored hashes were verified just before the switch or at this boot; what is left is the operator's command. */
static bool self_test_start(void *host, int slot)
{
	struct host *h = host;
	char dir[4200];
	if (h->options->self_test) {
		slot_dir(h, slot, dir, sizeof(dir));
		struct child_context context = {disk_slot_name(slot), dir, agent_running(&h->agent)->name, true, false, NULL, NULL};
		h->self_test = child_start(h->options->self_test, &context);
		if (h->self_test < 0) {
			h->self_test = 0;
			return false;
		}
	}
	loop_timer_start(h->child_timer, 0, CHILD_POLL_MS);
	return true;
}

static void self_test_cancel(void *host)
{
	struct host *h = host;
	loop_timer_stop(h->child_timer);
	if (h->self_test > 0)
		child_kill(h->self_test);
	h->self_test = 0;
}

/* --shadow-command, for as long as it is wanted. Its end, however it comes, is a crash: nobody else could say why it measures no more. */
static bool shadow_start(void *host, int slot, const struct agent_release *release)
{
	struct host *h = host;
	char dir[4200];
	if (!disk_name_slot(&h->disk, slot, release))
		return false;
	slot_dir(h, slot, dir, sizeof(dir));
	struct child_context context = {disk_slot_name(slot), dir, release->name, false, true, NULL, NULL};
	pid_t pid = child_start(h->options->shadow_command, &context);
	h->shadow = pid > 0 ? pid : 0;
	if (h->shadow > 0)
		loop_timer_start(h->shadow_timer, CHILD_POLL_MS, CHILD_POLL_MS);
	return h->shadow > 0;
}

static void shadow_stop(void *host)
{
	struct host *h = host;
	loop_timer_stop(h->shadow_timer);
	if (h->shadow > 0)
		child_kill(h->shadow);
	h->shadow = 0;
}

/* Free bytes of the file system with the slots, or of memory; the operator's command does the rest. */
static bool check_start(void *host, const char *check, const char *name)
{
	struct host *h = host;
	struct statvfs disk;
	char dir[4200];
	int slot = agent_running_slot(&h->agent);
	h->check_value = 0;
	if (strcmp(check, "storage") == 0 && statvfs(h->disk.path, &disk) == 0) {
		h->check_value = (double)disk.f_bavail * (double)disk.f_frsize;
	} else if (strcmp(check, "memory") == 0) {
		h->check_value = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
	} else if (strcmp(check, "connectivity") != 0) {
		if (!h->options->check_command)
			return false;
		slot_dir(h, slot, dir, sizeof(dir));
		struct child_context context = {disk_slot_name(slot), dir, agent_running(&h->agent)->name, false, false, check, name};
		pid_t pid = child_start(h->options->check_command, &context);
		h->check = pid > 0 ? pid : 0;
		if (!h->check)
			return false;
	}
	loop_timer_start(h->check_timer, 0, CHILD_POLL_MS);
	return true;
}

static void check_cancel(void *host)
{
	struct host *h = host;
	loop_timer_stop(h->check_timer);
	if (h->check > 0)
		child_kill(h->check);
	h->check = 0;
}

static void telemetry_now(void *host)
{
	struct host *h = host;
	if (h->options->metrics)
		loop_timer_start(h->telemetry, 0, 0);
}

static void event(void *host, enum agent_event what, const char *detail)
{
	(void)host;
	char name[32];
	bool is_loud = what != AGENT_EVENT_RETRY && what != AGENT_EVENT_DOCUMENT && what != AGENT_EVENT_REUSED &&
	               what != AGENT_EVENT_RESUMED;
	snprintf(name, sizeof(name), "agent.%s", agent_event_name(what));
	log_event(what == AGENT_EVENT_STORAGE ? LOG_ERROR : is_loud ? LOG_INFO : LOG_DEBUG, name, "detail=%s",
	          log_quote(detail));
}

static void config_changed(void *host, const char *json, size_t len, int64_t rev)
{
	(void)rev;
	if (!disk_put_config(&((struct host *)host)->disk, json, len))
		log_event(LOG_ERROR, "agent.config", "detail=\"desired.json could not be written\"");
}

void host_drop_work(struct host *h)
{
	drop_transfer(h);
	self_test_cancel(h);
	shadow_stop(h);
	check_cancel(h);
}

const struct agent_ports host_ports = {
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
	.random = fill_random,
	.publish = publish,
	.http_get = http_get,
	.http_cancel = http_cancel,
	.activate = activate,
	.reboot = reboot_device,
	.self_test_start = self_test_start,
	.self_test_cancel = self_test_cancel,
	.config_changed = config_changed,
	.event = event,
	.shadow_start = shadow_start,
	.shadow_stop = shadow_stop,
	.check_start = check_start,
	.check_cancel = check_cancel,
	.telemetry_now = telemetry_now,
};
