#include "agent/report.h"

#include <assert.h>
#include <string.h>

#include "agent/codec.h"
#include "agent/inside.h"
#include "agent/shadow.h"
#include "agent/writer.h"

void agent_report_soon(struct agent *a)
{
	a->report_is_due = true;
	a->report_at_ms = 0;
}

void agent_report_later(struct agent *a, int64_t pause_ms)
{
	if (a->report_is_due)
		return;
	a->report_is_due = true;
	a->report_at_ms = agent_now_ms(a) + pause_ms;
}

void agent_report_acknowledge(struct agent *a, const char *boot, int64_t seq)
{
	if (strcmp(boot, a->boot) != 0 || seq > (int64_t)a->seq)
		return;
	if (seq > (int64_t)a->acknowledged_seq)
		a->acknowledged_seq = (uint32_t)seq;
	if (a->identity_seq && a->acknowledged_seq >= a->identity_seq)
		a->identity_is_acknowledged = true;
}

unsigned agent_report_progress(const struct agent *a)
{
	uint64_t total = 0, done = 0;
	if (a->state >= AGENT_INSTALLING)
		return 100;
	for (unsigned i = 0; i < a->part_count; i++) {
		total += a->parts[i].size_bytes;
		if (i < a->part)
			done += a->parts[i].size_bytes;
	}
	if (a->part < a->part_count)
		done += a->offset;
	return total ? (unsigned)(done * 100 / total) : 0;
}

static void put_raw(struct agent_writer *w, const char *key, const char *json)
{
	if (!json)
		return;
	agent_writer_key(w, key);
	agent_writer_text(w, json);
}

static void put_string(struct agent_writer *w, const char *key, const char *text)
{
	if (!text)
		return;
	agent_writer_key(w, key);
	agent_writer_string(w, text);
}

static void put_int(struct agent_writer *w, const char *key, int64_t v)
{
	agent_writer_key(w, key);
	agent_writer_int(w, v);
}

static void put_identity(struct agent *a, struct agent_writer *w)
{
	const struct agent_config *c = a->config;
	if (c->enrol.token) {
		put_raw(w, "enrol", "{");
		put_string(w, "token", c->enrol.token);
		put_string(w, "secret_sha256", c->enrol.secret_sha256);
		put_string(w, "name", c->enrol.name);
		put_string(w, "hardware", c->hardware);
		put_raw(w, "attributes", c->enrol.attributes_json);
		put_raw(w, "tags", c->enrol.tags_json);
		agent_writer_text(w, "}");
	}
	put_raw(w, "capabilities", "{");
	put_int(w, "slot_bytes", (int64_t)c->slot_bytes);
	if (agent_shadow_is_possible(a))
		put_raw(w, "shadow", "true");
	if (c->capabilities_json) {
		agent_writer_text(w, ",");
		agent_writer_text(w, c->capabilities_json);
	}
	agent_writer_text(w, "}");
}

/* What runs, by its bytes: the server compares it with the manifest. */
static void put_hashes(struct agent *a, struct agent_writer *w)
{
	static const uint8_t unknown[AGENT_SHA256_BYTES];
	const struct agent_release *r = &a->running;
	put_raw(w, "hashes", "{");
	for (unsigned i = 0; i < r->component_count; i++) {
		const struct agent_component *c = &r->components[i];
		uint8_t sha256[AGENT_SHA256_BYTES];
		char text[2 * AGENT_SHA256_BYTES + 1];
		memcpy(sha256, c->sha256, sizeof(sha256));
		if (c->is_firmware)
			continue;
		if (a->ports->loaded_hash && !a->ports->loaded_hash(a->host, c, sha256))
			memcpy(sha256, c->sha256, sizeof(sha256));
		if (memcmp(sha256, unknown, sizeof(unknown)) == 0)
			continue;
		agent_hex_encode(sha256, sizeof(sha256), text);
		put_string(w, c->name, text);
	}
	agent_writer_text(w, "}");
}

static void put_running(struct agent *a, struct agent_writer *w)
{
	const struct agent_release *r = &a->running;
	if (!r->name[0])
		return;
	put_raw(w, "running", "{");
	put_string(w, "release", r->name);
	put_int(w, "counter", (int64_t)r->counter);
	put_raw(w, "models", "{");
	for (unsigned i = 0; i < r->component_count; i++)
		if (!r->components[i].is_firmware)
			put_string(w, r->components[i].name, r->components[i].version);
	agent_writer_text(w, "}");
	for (unsigned i = 0; i < r->component_count; i++)
		if (r->components[i].is_firmware) {
			put_string(w, "firmware", r->components[i].version);
			break;
		}
	put_hashes(a, w);
	agent_writer_text(w, "}");
}

static void put_deployment(struct agent *a, struct agent_writer *w)
{
	const struct agent_record *r = &a->record;
	if (!r->deployment[0] || r->deployment_state == AGENT_DEPLOYMENT_NONE)
		return;
	put_raw(w, "deployment", "{");
	put_string(w, "id", r->deployment);
	put_int(w, "attempt", r->attempt);
	put_string(w, "state", agent_deployment_name((enum agent_deployment)r->deployment_state));
	if (r->deployment_state < AGENT_DEPLOYMENT_SUCCEEDED)
		put_int(w, "progress", agent_report_progress(a));
	if (r->reason[0])
		put_string(w, "reason", r->reason);
	agent_writer_text(w, "}");
}

static bool write_report(struct agent *a, bool with_identity)
{
	struct agent_writer w;
	agent_writer_init(&w, a->report, sizeof(a->report));
	agent_writer_text(&w, "{");
	put_string(&w, "boot", a->boot);
	put_int(&w, "seq", a->seq);
	int64_t wall_ms = a->ports->wall_ms(a->host);
	if (wall_ms > 0)
		put_int(&w, "ts", wall_ms);
	put_int(&w, "desired_rev", a->document_rev);
	if (with_identity)
		put_identity(a, &w);
	put_running(a, &w);
	put_deployment(a, &w);
	agent_writer_text(&w, "}");
	a->report_len = w.len;
	return !w.failed;
}

static void compose(struct agent *a)
{
	bool with_identity = !a->identity_is_acknowledged;
	a->seq++;
	if (with_identity && a->identity_seq == 0)
		a->identity_seq = a->seq;
	bool fits = write_report(a, with_identity);
	assert(fits); /* agent_init bounds every text */
	(void)fits;
}

void agent_report_poll(struct agent *a)
{
	int64_t now_ms = agent_now_ms(a);
	if (!a->is_connected)
		return;
	if (a->report_is_due && now_ms >= a->report_at_ms) {
		a->report_is_due = false;
		compose(a);
	} else if (a->seq == a->acknowledged_seq || now_ms < a->repeat_at_ms) {
		return;
	}
	a->ports->publish(a->host, AGENT_TOPIC_REPORT, a->report, a->report_len, false);
	a->repeat_at_ms = now_ms + a->limits.report_retry_ms;
}

int64_t agent_report_deadline_ms(const struct agent *a)
{
	int64_t deadline_ms = INT64_MAX;
	if (!a->is_connected)
		return deadline_ms;
	if (a->report_is_due)
		deadline_ms = a->report_at_ms;
	if (a->seq != a->acknowledged_seq && a->repeat_at_ms < deadline_ms)
		deadline_ms = a->repeat_at_ms;
	return deadline_ms;
}
