#include "agent/command.h"

#include <assert.h>
#include <string.h>

#include "agent/inside.h"
#include "agent/json.h"
#include "agent/release.h"
#include "agent/report.h"
#include "agent/writer.h"

enum { MEMORY_PAUSE_MS = 50 };
enum { FREE, WAITING, RUNNING, ANSWERED }; /* agent_command.state */

/* --- answering --- */

static void send(struct agent *a, const struct agent_command *c)
{
	if (a->is_connected) /* else it comes again, and is answered then */
		(void)a->ports->publish(a->host, AGENT_TOPIC_ANSWER, c->answer, c->answer_len, false);
}

static void begin_answer(struct agent_writer *w, struct agent_command *c, const char *state)
{
	agent_writer_init(w, c->answer, sizeof(c->answer));
	agent_writer_text(w, "{");
	agent_writer_key(w, "id");
	agent_writer_int(w, c->id);
	agent_writer_key(w, "state");
	agent_writer_string(w, state);
}

static void end_answer(struct agent *a, struct agent_writer *w, struct agent_command *c, const char *detail)
{
	char cut[AGENT_REASON_MAX / 2 + 1]; /* its escapes fit, too */
	if (detail && detail[0]) {
		agent_copy(cut, sizeof(cut), detail);
		agent_writer_key(w, "detail");
		agent_writer_string(w, cut);
	}
	agent_writer_text(w, "}");
	assert(!w->failed); /* agent_command.answer is as large as the longest */
	c->answer_len = w->len;
	c->state = ANSWERED;
	send(a, c);
}

static void answer(struct agent *a, struct agent_command *c, const char *state, const char *detail)
{
	struct agent_writer w;
	begin_answer(&w, c, state);
	end_answer(a, &w, c, detail);
}

static void answer_check(struct agent *a, struct agent_command *c, bool passed, const double *value, const char *detail)
{
	struct agent_writer w;
	begin_answer(&w, c, "done");
	agent_writer_key(&w, "pass");
	agent_writer_text(&w, passed ? "true" : "false");
	if (value && *value - *value == 0) {
		agent_writer_key(&w, "value");
		agent_writer_number(&w, *value);
	}
	end_answer(a, &w, c, detail);
}

/* --- the hash of what runs --- */

static void end_hashing(struct agent *a)
{
	uint8_t hash[AGENT_SHA256_BYTES];
	if (a->check_is_hashing)
		a->ports->sha_final(a->host, &a->check_sha, hash);
	a->check_is_hashing = false;
}

/* The signed record says what must be stored; then the stored bytes are read in slices of polls. */
static void start_hash(struct agent *a, struct agent_command *c)
{
	struct agent_parts parts;
	uint8_t manifest[AGENT_SHA256_BYTES];
	if (a->running_slot == AGENT_SLOT_FACTORY) {
		answer_check(a, c, true, NULL, "the factory release, which cannot change");
		return;
	}
	enum agent_opened opened = agent_release_open(a, a->running_slot, AGENT_SEAL_INSTALL, false, NULL, &parts, manifest);
	if (opened == AGENT_OPEN_NO_MEMORY) {
		c->state = WAITING;
		a->check_at_ms = agent_now_ms(a) + MEMORY_PAUSE_MS;
		return;
	}
	if (opened == AGENT_OPEN_DAMAGED) {
		answer_check(a, c, false, NULL, "the release record is damaged or not signed");
		return;
	}
	if (parts.count == 0) {
		answer_check(a, c, true, NULL, "a release without artifacts");
		return;
	}
	a->check_slot = a->running_slot;
	a->check_part_count = parts.count;
	memcpy(a->check_parts, parts.items, sizeof(a->check_parts));
	a->check_part = 0;
	a->check_offset = 0;
	a->check_at_ms = 0;
}

static void part_is_hashed(struct agent *a, struct agent_command *c)
{
	uint8_t hash[AGENT_SHA256_BYTES];
	a->ports->sha_final(a->host, &a->check_sha, hash);
	a->check_is_hashing = false;
	if (memcmp(hash, a->check_parts[a->check_part].sha256, sizeof(hash)) != 0) {
		answer_check(a, c, false, NULL, "stored bytes differ from the manifest");
		return;
	}
	a->check_offset = 0;
	if (++a->check_part == a->check_part_count)
		answer_check(a, c, true, NULL, NULL);
}

static void hash_slice(struct agent *a, struct agent_command *c)
{
	const struct agent_part *p = &a->check_parts[a->check_part];
	if (a->running_slot != a->check_slot) {
		end_hashing(a);
		answer(a, c, "failed", "the release changed meanwhile");
		return;
	}
	if (!a->check_is_hashing)
		a->ports->sha_init(a->host, &a->check_sha);
	a->check_is_hashing = true;
	for (uint32_t done = 0; done < a->limits.slice_bytes && a->check_offset < p->size_bytes;) {
		uint64_t left = p->size_bytes - a->check_offset;
		size_t n = left < sizeof(a->scratch) ? (size_t)left : sizeof(a->scratch);
		if (!a->ports->part_read(a->host, a->check_slot, (int)a->check_part, a->check_offset, a->scratch, n)) {
			end_hashing(a);
			answer_check(a, c, false, NULL, "stored bytes cannot be read");
			return;
		}
		a->ports->sha_update(a->host, &a->check_sha, a->scratch, n);
		a->check_offset += n;
		done += (uint32_t)n;
	}
	if (a->check_offset == p->size_bytes)
		part_is_hashed(a, c);
}

/* --- carrying out --- */

static struct agent_command *in_state(struct agent *a, int state)
{
	struct agent_command *found = NULL;
	for (int i = 0; i < AGENT_COMMANDS; i++)
		if (a->commands[i].state == state && (!found || a->commands[i].id < found->id))
			found = &a->commands[i];
	return found;
}

static void start_check(struct agent *a, struct agent_command *c)
{
	if (strcmp(c->check, "model_hash") == 0)
		start_hash(a, c);
	else if (strcmp(c->check, "connectivity") == 0 && !a->ports->check_start)
		answer_check(a, c, true, NULL, NULL);
	else if (!a->ports->check_start || !a->ports->check_start(a->host, c->check, c->name))
		answer(a, c, "rejected", "this device has no such check");
}

static void start(struct agent *a, struct agent_command *c)
{
	c->state = RUNNING;
	if (strcmp(c->kind, "check") == 0) {
		start_check(a, c);
	} else if (strcmp(c->kind, "report_now") == 0) {
		agent_report_soon(a);
		if (a->ports->telemetry_now)
			a->ports->telemetry_now(a->host);
		answer(a, c, "done", NULL);
	} else {
		answer(a, c, "rejected", "this device has no such command");
	}
}

static bool is_hash(const struct agent_command *c)
{
	return strcmp(c->kind, "check") == 0 && strcmp(c->check, "model_hash") == 0;
}

/* Nobody waits for it any more. */
static void drop_late(struct agent *a, struct agent_command *c)
{
	if (c->state == RUNNING && is_hash(c))
		end_hashing(a);
	else if (c->state == RUNNING && a->ports->check_cancel)
		a->ports->check_cancel(a->host);
	c->state = FREE;
}

void agent_command_poll(struct agent *a)
{
	int64_t now_ms = agent_now_ms(a);
	for (int i = 0; i < AGENT_COMMANDS; i++) {
		struct agent_command *c = &a->commands[i];
		if ((c->state == WAITING || c->state == RUNNING) && now_ms >= c->deadline_ms)
			drop_late(a, c);
	}
	struct agent_command *c = in_state(a, RUNNING);
	if (!c && now_ms >= a->check_at_ms && (c = in_state(a, WAITING)) != NULL) {
		start(a, c);
		return;
	}
	if (c && is_hash(c))
		hash_slice(a, c);
}

int64_t agent_command_deadline_ms(const struct agent *a)
{
	int64_t deadline_ms = INT64_MAX;
	bool is_running = false, is_waiting = false;
	for (int i = 0; i < AGENT_COMMANDS; i++) {
		const struct agent_command *c = &a->commands[i];
		if (c->state == RUNNING && is_hash(c))
			return 0;
		is_running = is_running || c->state == RUNNING;
		is_waiting = is_waiting || c->state == WAITING;
		if ((c->state == RUNNING || c->state == WAITING) && c->deadline_ms < deadline_ms)
			deadline_ms = c->deadline_ms;
	}
	return is_waiting && !is_running && a->check_at_ms < deadline_ms ? a->check_at_ms : deadline_ms;
}

/* --- inputs --- */

struct message {
	int64_t id, timeout_ms;
	char kind[AGENT_COMMAND_WORD + 1];
	struct agent_slice params;
};
static const struct agent_member message_members[] = {
	{"id", AGENT_MEMBER_COUNT, true, offsetof(struct message, id), 0},
	{"kind", AGENT_MEMBER_NAME, true, offsetof(struct message, kind), AGENT_COMMAND_WORD + 1},
	{"timeout_ms", AGENT_MEMBER_COUNT, true, offsetof(struct message, timeout_ms), 0},
	{"params", AGENT_MEMBER_OBJECT, false, offsetof(struct message, params), 0},
};
static const struct agent_member param_members[] = {
	{"check", AGENT_MEMBER_NAME, false, offsetof(struct agent_command, check), AGENT_COMMAND_WORD + 1},
	{"name", AGENT_MEMBER_NAME, false, offsetof(struct agent_command, name), AGENT_COMMAND_WORD + 1},
};

static struct agent_command *by_id(struct agent *a, int64_t id)
{
	for (int i = 0; i < AGENT_COMMANDS; i++)
		if (a->commands[i].state != FREE && a->commands[i].id == id)
			return &a->commands[i];
	return NULL;
}

void agent_on_command(struct agent *a, const char *message, size_t len)
{
	struct agent_slice text = {message, len};
	struct message m;
	memset(&m, 0, sizeof(m));
	if (a->state == AGENT_OFF || agent_json_bind(text, message_members, sizeof(message_members) / sizeof(message_members[0]), &m) || m.id == 0)
		return;
	struct agent_command *c = by_id(a, m.id);
	if (c && c->state == ANSWERED)
		send(a, c);
	if (c)
		return;
	c = in_state(a, FREE);
	if (!c)
		c = in_state(a, ANSWERED);
	if (!c)
		return; /* full of work: it comes again */
	memset(c, 0, sizeof(*c));
	c->id = m.id;
	memcpy(c->kind, m.kind, sizeof(c->kind));
	c->state = WAITING;
	c->deadline_ms = m.timeout_ms < INT64_MAX / 2 ? agent_now_ms(a) + m.timeout_ms : INT64_MAX / 2;
	if (m.params.text && agent_json_bind(m.params, param_members, sizeof(param_members) / sizeof(param_members[0]), c))
		answer(a, c, "rejected", "malformed parameters");
}

void agent_on_check(struct agent *a, bool passed, const double *value, const char *detail)
{
	struct agent_command *c = in_state(a, RUNNING);
	if (c && !is_hash(c))
		answer_check(a, c, passed, value, detail);
}
