#include "agent/shadow.h"

#include <assert.h>
#include <string.h>

#include "agent/deployment.h"
#include "agent/inside.h"
#include "agent/record.h"
#include "agent/release.h"
#include "agent/report.h"
#include "agent/trial.h"

enum { MEMORY_PAUSE_MS = 100 };

bool agent_shadow_is_possible(const struct agent *a)
{
	return a->ports->shadow_start != NULL;
}

const char *agent_shadow(const struct agent *a)
{
	return a->shadow_is_running ? a->record.deployment : NULL;
}

static void stop(struct agent *a)
{
	if (a->shadow_is_running)
		a->ports->shadow_stop(a->host);
	a->shadow_is_running = false;
}

static bool is_over(const struct agent_record *r)
{
	return !r->is_shadow || r->deployment_state != AGENT_DEPLOYMENT_SUCCEEDED;
}

void agent_shadow_boot(struct agent *a)
{
	if (a->state != AGENT_IDLE || is_over(&a->record))
		return;
	a->shadow_is_resumed = true;
	a->state = AGENT_INSTALLING;
	a->work_at_ms = 0;
}

/* What is stored is not what was verified: fetched again with the next document, which this boot has not read yet. */
static void fetch_again(struct agent *a, int slot)
{
	struct agent_record *r = &a->record;
	agent_tell(a, AGENT_EVENT_STORAGE, "the release in shadow is damaged");
	memset(r->slots[slot].manifest, 0, sizeof(r->slots[slot].manifest));
	r->slots[slot].is_complete = false;
	r->deployment_state = AGENT_DEPLOYMENT_ACCEPTED;
	a->shadow_is_resumed = false;
	a->state = AGENT_IDLE;
	a->work_at_ms = INT64_MAX;
	(void)agent_record_save(a); /* dirty: tried again while idle */
	agent_report_soon(a);
}

/* NULL, or why it does not start. A shadow that takes the device down with it must not do so for ever: starts are
 * counted before they happen. */
static const char *start(struct agent *a, int slot, const struct agent_release *release)
{
	struct agent_record *r = &a->record;
	if (!agent_shadow_is_possible(a))
		return "this device runs nothing in shadow";
	if (a->shadow_is_resumed && r->trial_boots >= a->limits.trial_boots)
		return "the device restarted too often while it ran in shadow";
	r->trial_boots = a->shadow_is_resumed ? (uint8_t)(r->trial_boots + 1) : 0;
	r->slots[slot].is_complete = true;
	memset(r->part_mark, 0, sizeof(r->part_mark)); /* the download is behind us */
	r->part_offset = 0;
	if (!agent_record_save(a))
		return "the state record cannot be written";
	if (!a->ports->shadow_start(a->host, slot, release))
		return "the release could not be started in shadow";
	return NULL;
}

void agent_shadow_begin(struct agent *a)
{
	struct agent_record *r = &a->record;
	struct agent_release release;
	int slot = agent_trial_target(a);
	uint8_t hash[AGENT_SHA256_BYTES];
	assert(a->state == AGENT_INSTALLING && r->is_shadow && !a->shadow_is_running);
	enum agent_opened opened =
		agent_release_open(a, slot, AGENT_SEAL_SHADOW, a->shadow_is_resumed, &release, NULL, hash);
	if (opened == AGENT_OPEN_NO_MEMORY) {
		a->work_at_ms = agent_now_ms(a) + MEMORY_PAUSE_MS;
		return;
	}
	if (opened != AGENT_OPENED || memcmp(hash, r->slots[slot].manifest, sizeof(hash)) != 0) {
		if (a->shadow_is_resumed) {
			fetch_again(a, slot);
			return;
		}
		memset(&r->slots[slot], 0, sizeof(r->slots[slot]));
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, "the stored release is damaged");
		return;
	}
	const char *reason = start(a, slot, &release);
	a->shadow_is_running = reason == NULL;
	a->shadow_is_resumed = false;
	a->shadow_settles_ms = agent_now_ms(a) + a->limits.trial_timeout_ms;
	agent_deployment_finish(a, reason ? AGENT_DEPLOYMENT_FAILED : AGENT_DEPLOYMENT_SUCCEEDED, reason);
}

void agent_shadow_let_go(struct agent *a)
{
	stop(a);
	if (!is_over(&a->record))
		agent_deployment_finish(a, AGENT_DEPLOYMENT_CANCELLED, "withdrawn by the server");
}

void agent_on_shadow_ended(struct agent *a, const char *reason)
{
	if (!a->shadow_is_running)
		return;
	stop(a);
	agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, reason && reason[0] ? reason : "it ended by itself");
}

int64_t agent_shadow_poll(struct agent *a)
{
	if (!a->shadow_is_running || a->record.trial_boots == 0)
		return INT64_MAX;
	if (agent_now_ms(a) < a->shadow_settles_ms)
		return a->shadow_settles_ms;
	a->record.trial_boots = 0;
	(void)agent_record_save(a); /* dirty: tried again while idle */
	return INT64_MAX;
}
