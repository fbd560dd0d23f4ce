#include "agent/agent.h"

#include <assert.h>
#include <string.h>

#include "agent/codec.h"
#include "agent/command.h"
#include "agent/deployment.h"
#include "agent/document.h"
#include "agent/inside.h"
#include "agent/json.h"
#include "agent/record.h"
#include "agent/report.h"
#include "agent/request.h"
#include "agent/shadow.h"
#include "agent/trial.h"

enum { SAVE_RETRY_MS = 1000 };

/* --- names --- */

const char *agent_state_name(enum agent_state state)
{
	static const char *const names[] = {"off", "idle", "preparing", "downloading", "verifying", "installing",
	                                    "trial", "rebooting"};
	assert((size_t)state < sizeof(names) / sizeof(names[0]));
	return names[state];
}

const char *agent_deployment_name(enum agent_deployment state)
{
	static const char *const names[] = {"none", "accepted", "downloading", "installing", "trial",
	                                    "succeeded", "failed", "rejected", "cancelled"};
	assert((size_t)state < sizeof(names) / sizeof(names[0]));
	return names[state];
}

const char *agent_event_name(enum agent_event event)
{
	static const char *const names[] = {"booted", "document", "accepted", "rejected", "resumed", "reused", "trial",
	                                    "confirmed", "fell_back", "cancelled", "failed", "retry", "shadow", "storage"};
	assert((size_t)event < sizeof(names) / sizeof(names[0]));
	return names[event];
}

size_t agent_topic_name(enum agent_topic topic, const char *device, char *out, size_t out_size)
{
	static const char prefix[] = "aviary/v1/";
	static const char *const names[] = {"/telemetry", "/status", "/report", "/desired", "/command", "/answer"};
	size_t device_len = strlen(device), name_len = strlen(names[topic]), prefix_len = sizeof(prefix) - 1;
	if (prefix_len + device_len + name_len >= out_size)
		return 0;
	memcpy(out, prefix, prefix_len);
	memcpy(out + prefix_len, device, device_len);
	memcpy(out + prefix_len + device_len, names[topic], name_len + 1);
	return prefix_len + device_len + name_len;
}

/* --- life --- */

static uint32_t or_default(uint32_t v, uint32_t otherwise)
{
	return v ? v : otherwise;
}

static struct agent_limits with_defaults(const struct agent_limits *l)
{
	struct agent_limits out = {
		or_default(l->report_retry_ms, 10000), or_default(l->retry_min_ms, 1000), or_default(l->retry_max_ms, 300000),
		or_default(l->http_timeout_ms, 60000), or_default(l->trial_timeout_ms, 120000), or_default(l->trial_boots, 3),
		or_default(l->progress_step_bytes, 65536), or_default(l->slice_bytes, 65536),
		or_default(l->report_interval_ms, 60000),
	};
	return out;
}

static size_t text_len(const char *text)
{
	return text ? strlen(text) : 0;
}

static bool has_ports(const struct agent_ports *p)
{
	return p->state_read && p->state_write && p->part_begin && p->part_write && p->part_read && p->slot_sync &&
	       p->memory_borrow && p->memory_return && p->mono_ms && p->wall_ms && p->sha_init && p->sha_update &&
	       p->sha_final && p->verify && p->random && p->publish && p->http_get && p->http_cancel && p->activate &&
	       !p->shadow_start == !p->shadow_stop;
}

/* The bounds keep every report within AGENT_REPORT_BYTES; a name may double by escapes. */
static bool is_sound(const struct agent_config *c)
{
	if (!c->device || !agent_is_name(c->device, strlen(c->device), AGENT_NAME_MAX))
		return false;
	if (!c->hardware || !agent_is_name(c->hardware, strlen(c->hardware), AGENT_NAME_MAX))
		return false;
	if (!c->keys || c->key_count < 1 || c->key_count > AGENT_KEYS_MAX || c->slot_bytes > INT64_MAX)
		return false;
	if (c->factory && c->factory->component_count > AGENT_COMPONENTS_MAX)
		return false;
	size_t enrol = text_len(c->enrol.token) + 2 * text_len(c->enrol.name) + text_len(c->enrol.attributes_json) +
	               text_len(c->enrol.tags_json);
	if (c->enrol.token && (text_len(c->enrol.token) > 128 || text_len(c->enrol.secret_sha256) != 2 * AGENT_SHA256_BYTES))
		return false;
	return enrol <= AGENT_ENROL_MAX && text_len(c->capabilities_json) <= AGENT_CAPABILITIES_MAX &&
	       c->limits.trial_boots <= 255;
}

bool agent_init(struct agent *a, const struct agent_config *config, const struct agent_ports *ports, void *host)
{
	memset(a, 0, sizeof(*a));
	if (!has_ports(ports) || !is_sound(config))
		return false;
	a->config = config;
	a->ports = ports;
	a->host = host;
	a->limits = with_defaults(&config->limits);
	a->report_interval_ms = a->limits.report_interval_ms;
	a->running_slot = AGENT_SLOT_FACTORY;
	a->copy_slot = -1;
	a->work_at_ms = INT64_MAX;
	return true;
}

bool agent_boot(struct agent *a)
{
	uint8_t boot[8];
	assert(a->state == AGENT_OFF);
	a->ports->random(a->host, boot, sizeof(boot));
	agent_hex_encode(boot, sizeof(boot), a->boot);
	agent_record_load(a);
	a->started_ms = agent_now_ms(a) - a->record.spent_ms;
	if (!agent_trial_boot(a))
		return false;
	agent_tell(a, AGENT_EVENT_BOOTED, a->running.name);
	agent_shadow_boot(a);
	agent_report_soon(a);
	return true;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void poll_work(struct agent *a)
{
	int64_t now_ms = agent_now_ms(a);
	if (agent_deployment_is_late(a))
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, "the deployment's deadline has passed");
	if (a->state == AGENT_TRIAL) {
		if (now_ms >= a->work_at_ms || now_ms >= a->trial_deadline_ms)
			agent_trial_poll(a);
	} else if (a->state == AGENT_IDLE) {
		a->work_at_ms = agent_shadow_poll(a);
		if (a->record_is_dirty && !agent_record_save(a))
			a->work_at_ms = earlier(a->work_at_ms, now_ms + SAVE_RETRY_MS);
	} else if (now_ms >= a->work_at_ms) {
		agent_deployment_work(a);
	}
}

int64_t agent_poll(struct agent *a)
{
	if (a->state == AGENT_OFF || a->state == AGENT_REBOOTING)
		return INT64_MAX;
	agent_report_poll(a);
	agent_request_poll(a);
	poll_work(a);
	agent_command_poll(a);
	int64_t next_ms = earlier(agent_report_deadline_ms(a), agent_request_deadline_ms(a));
	next_ms = earlier(next_ms, agent_command_deadline_ms(a));
	next_ms = earlier(next_ms, earlier(a->work_at_ms, agent_deployment_deadline_ms(a)));
	return a->state == AGENT_TRIAL ? earlier(next_ms, a->trial_deadline_ms) : next_ms;
}

/* --- inputs --- */

void agent_on_mqtt_connected(struct agent *a)
{
	static const char head[] = "{\"online\":true,\"boot\":\"", tail[] = "\"}";
	char status[sizeof(head) + sizeof(a->boot) + sizeof(tail)];
	size_t boot_len = strlen(a->boot), len = sizeof(head) - 1;
	memcpy(status, head, len);
	memcpy(status + len, a->boot, boot_len);
	memcpy(status + len + boot_len, tail, sizeof(tail));
	len += boot_len + sizeof(tail) - 1;
	a->is_connected = true;
	a->work_at_ms = a->state == AGENT_TRIAL ? 0 : a->work_at_ms;
	(void)a->ports->publish(a->host, AGENT_TOPIC_STATUS, status, len, true);
	a->repeat_at_ms = 0; /* what was in flight may be lost */
	if (a->seq == 0)
		agent_report_soon(a);
}

void agent_on_mqtt_disconnected(struct agent *a)
{
	a->is_connected = false;
}

void agent_on_desired(struct agent *a, const char *message, size_t len)
{
	struct agent_hint hint;
	struct agent_slice text = {message, len};
	if (!agent_hint_read(text, &hint)) {
		agent_tell(a, AGENT_EVENT_RETRY, "malformed hint");
		return;
	}
	if (hint.ack_boot[0])
		agent_report_acknowledge(a, hint.ack_boot, hint.ack_seq);
	if (hint.rev == 0 || !hint.url[0] || !hint.etag[0])
		return;
	if (strcmp(hint.etag, a->desired_etag) != 0) { /* news end the pause after failures */
		a->failures = 0;
		a->retry_at_ms = 0;
	}
	memcpy(a->desired_etag, hint.etag, sizeof(a->desired_etag));
	memcpy(a->document_url, hint.url, sizeof(a->document_url));
	a->wants_document = strcmp(a->desired_etag, a->document_etag) != 0;
}

/* --- outputs --- */

enum agent_state agent_state(const struct agent *a)
{
	return a->state;
}

const struct agent_release *agent_running(const struct agent *a)
{
	return &a->running;
}

int agent_running_slot(const struct agent *a)
{
	return a->running_slot;
}

const char *agent_boot_id(const struct agent *a)
{
	return a->boot;
}

uint32_t agent_report_interval_ms(const struct agent *a)
{
	return a->report_interval_ms;
}
