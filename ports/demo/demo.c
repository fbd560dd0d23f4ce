#include "demo.h"

#include <string.h>

#include "agent/agent.h"

#include "../crypto/ed25519.h"
#include "../crypto/sha2.h"
#include "demo_document.h"

enum { PART_BYTES = 8192, PARTS = 2, TURNS_MAX = 5000, CHUNK = 700 };

/* Part 0 and the release record of two slots, two copies of the state record: on a device, flash. */
struct part {
	unsigned char bytes[PART_BYTES];
	size_t len;
};
static struct part slots[2][PARTS];
static unsigned char state[2][AGENT_STATE_BYTES];
static size_t state_len[2];

static struct agent agent;
static uint64_t memory[AGENT_MEMORY_BYTES / sizeof(uint64_t) + 1];
static bool memory_is_lent, self_test_is_due;
static int64_t now_ms = 1000;
static void (*say_line)(const char *line);

static const unsigned char *served; /* the desired document */
static size_t served_len;
static uint32_t request;
static bool request_is_document, request_is_answered;
static uint64_t request_at;
static char last_report[AGENT_REPORT_BYTES];

/* --- storage --- */

static bool state_read(void *host, int copy, void *out, size_t size)
{
	(void)host;
	if (state_len[copy] < size)
		return false;
	memcpy(out, state[copy], size);
	return true;
}

static bool state_write(void *host, int copy, const void *data, size_t size)
{
	(void)host;
	memcpy(state[copy], data, size);
	state_len[copy] = size;
	return true;
}

static struct part *part_of(int slot, int part)
{
	return part == 0 ? &slots[slot][0] : part == AGENT_PART_RELEASE ? &slots[slot][1] : NULL;
}

static bool part_begin(void *host, int slot, int part, uint64_t size_bytes, const uint8_t *sha256)
{
	struct part *p = part_of(slot, part);
	(void)host;
	(void)sha256;
	if (!p || size_bytes > PART_BYTES)
		return false;
	p->len = 0;
	return true;
}

static bool part_write(void *host, int slot, int part, uint64_t offset, const void *data, size_t len)
{
	struct part *p = part_of(slot, part);
	(void)host;
	if (!p || offset > PART_BYTES || len > PART_BYTES - offset)
		return false;
	memcpy(p->bytes + offset, data, len);
	if (offset + len > p->len)
		p->len = (size_t)offset + len;
	return true;
}

static bool part_read(void *host, int slot, int part, uint64_t offset, void *out, size_t len)
{
	const struct part *p = part_of(slot, part);
	(void)host;
	if (!p || offset > p->len || len > p->len - offset)
		return false;
	memcpy(out, p->bytes + offset, len);
	return true;
}

static bool slot_sync(void *host, int slot)
{
	(void)host;
	(void)slot;
	return true;
}

static void *memory_borrow(void *host, size_t size_bytes)
{
	(void)host;
	if (memory_is_lent || size_bytes > sizeof(memory))
		return NULL;
	memory_is_lent = true;
	return memory;
}

static void memory_return(void *host, void *lent)
{
	(void)host;
	(void)lent;
	memory_is_lent = false;
}

/* --- clock, crypto --- */

static int64_t mono_ms(void *host)
{
	(void)host;
	return now_ms;
}

static int64_t wall_ms(void *host)
{
	(void)host;
	return 0; /* this device does not know the time */
}

typedef char sha_fits[sizeof(struct sha2_256) <= sizeof(union agent_sha) ? 1 : -1];

static void sha_init(void *host, union agent_sha *h)
{
	(void)host;
	sha2_256_init((struct sha2_256 *)h);
}

static void sha_update(void *host, union agent_sha *h, const void *data, size_t len)
{
	(void)host;
	sha2_256_update((struct sha2_256 *)h, data, len);
}

static void sha_final(void *host, union agent_sha *h, uint8_t out[AGENT_SHA256_BYTES])
{
	(void)host;
	sha2_256_final((struct sha2_256 *)h, out);
}

static bool verify(void *host, const uint8_t key[32], const char *domain, const void *data, size_t len, const uint8_t signature[64])
{
	const struct ed25519_part parts[] = {{domain, strlen(domain) + 1}, {data, len}};
	(void)host;
	return ed25519_is_signed(key, parts, 2, signature);
}

static void fill_random(void *host, void *out, size_t len)
{
	static uint32_t seed = 1; /* a device takes its noise source: boot ids must differ from start to start */
	(void)host;
	for (unsigned char *at = out; len-- > 0; at++) {
		seed = seed * 1664525u + 1013904223u;
		*at = (unsigned char)(seed >> 24);
	}
}

/* --- transport: the server is an array --- */

static bool publish(void *host, enum agent_topic topic, const char *payload, size_t len, bool retained)
{
	(void)host;
	(void)retained;
	if (topic != AGENT_TOPIC_REPORT || len >= sizeof(last_report))
		return true;
	memcpy(last_report, payload, len + 1);
	return true;
}

static bool http_get(void *host, uint32_t id, const char *path, const char *etag, uint64_t from)
{
	(void)host;
	(void)etag;
	request = id;
	request_is_document = strcmp(path, "/device/v1/demo-1/desired") == 0;
	request_is_answered = false;
	request_at = from;
	return true;
}

static void http_cancel(void *host, uint32_t id)
{
	(void)host;
	(void)id;
	request = 0;
}

/* One step of the answer; the agent may drop the request at each. */
static void serve(void)
{
	const unsigned char *body = request_is_document ? served : demo_artifact;
	size_t len = request_is_document ? served_len : sizeof(demo_artifact), at = (size_t)request_at, n = len - at < CHUNK ? len - at : CHUNK;
	uint32_t id = request;
	bool goes_on = true;
	if (!request_is_answered) {
		request_is_answered = true;
		goes_on = agent_on_http_response(&agent, id, at ? 206 : 200, NULL, at);
	} else if (n > 0) {
		request_at += n;
		goes_on = agent_on_http_data(&agent, id, body + at, n);
	} else {
		request = 0;
		agent_on_http_done(&agent, id, true);
	}
	if (!goes_on)
		request = 0;
}

/* --- hooks --- */

static enum agent_activation activate(void *host, int slot, bool trial)
{
	(void)host;
	(void)slot;
	(void)trial;
	return AGENT_ACTIVATE_DONE;
}

static bool self_test_start(void *host, int slot)
{
	(void)host;
	(void)slot;
	self_test_is_due = true;
	return true;
}

static void event(void *host, enum agent_event what, const char *detail)
{
	char line[160];
	const char *name = agent_event_name(what);
	size_t n = strlen(name), d = strlen(detail);
	(void)host;
	if (n + d + 2 > sizeof(line))
		return;
	memcpy(line, name, n);
	line[n] = ' ';
	memcpy(line + n + 1, detail, d + 1);
	line[d ? n + 1 + d : n] = '\0';
	say_line(line);
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
	.random = fill_random,
	.publish = publish,
	.http_get = http_get,
	.http_cancel = http_cancel,
	.activate = activate,
	.self_test_start = self_test_start,
	.event = event,
};

static const struct agent_release factory = {
	.name = "factory", .counter = 1, .component_count = 1, .components = {{.name = "kws", .version = "1.0.0"}}};
static const struct agent_config config = {
	.device = "demo-1", .hardware = "demo", .keys = (const uint8_t(*)[32])demo_key, .key_count = 1, .factory = &factory,
	.slot_bytes = PART_BYTES};

static bool report_says(const char *text)
{
	size_t n = strlen(text);
	for (const char *at = last_report; *at; at++)
		if (memcmp(at, text, n < strlen(at) ? n : strlen(at) + 1) == 0)
			return true;
	return false;
}

static bool start(void)
{
	memory_is_lent = self_test_is_due = false;
	request = 0;
	if (!agent_init(&agent, &config, &ports, NULL) || !agent_boot(&agent))
		return false;
	agent_on_mqtt_connected(&agent);
	return true;
}

/* Has the server want this document, and runs the device until a report says the words. */
static bool run_until(const unsigned char *document, size_t len, const char *hint, const char *words)
{
	served = document;
	served_len = len;
	agent_on_desired(&agent, hint, strlen(hint));
	for (int turn = 0; turn < TURNS_MAX; turn++) {
		int64_t next_ms = agent_poll(&agent);
		if (report_says(words))
			return true;
		if (self_test_is_due) {
			self_test_is_due = false;
			agent_on_self_test(&agent, true, NULL);
		} else if (request) {
			serve();
		} else {
			now_ms = next_ms > now_ms && next_ms < now_ms + 60000 ? next_ms : now_ms + 1;
		}
	}
	return false;
}

bool demo_run(void (*say)(const char *line))
{
	static const char first[] = "{\"rev\":1,\"etag\":\"0000000000000001\",\"url\":\"/device/v1/demo-1/desired\"}";
	static const char second[] = "{\"rev\":2,\"etag\":\"0000000000000002\",\"url\":\"/device/v1/demo-1/desired\"}";
	say_line = say;
	if (!start() || !run_until(demo_forged, sizeof(demo_forged), first, "\"state\":\"rejected\"") || agent_running_slot(&agent) != AGENT_SLOT_FACTORY)
		return false;
	if (!run_until(demo_document, sizeof(demo_document), second, "\"state\":\"succeeded\""))
		return false;
	return start() && strcmp(agent_running(&agent)->name, "kws-2") == 0 && agent_running_slot(&agent) == AGENT_SLOT_A;
}
