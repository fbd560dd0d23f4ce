#include "agent/trial.h"

#include <assert.h>
#include <string.h>

#include "agent/deployment.h"
#include "agent/inside.h"
#include "agent/record.h"
#include "agent/release.h"
#include "agent/report.h"

enum { MEMORY_PAUSE_MS = 100, SAVE_PAUSE_MS = 1000 };

int agent_trial_target(const struct agent *a)
{
	return a->record.active == AGENT_SLOT_A ? AGENT_SLOT_B : AGENT_SLOT_A;
}

/* --- what runs when nothing is on trial --- */

struct choice {
	int slot;
	struct agent_release *release;
};

/* The active slot; where it is damaged the other one if it was ever confirmed; else the factory release. */
static bool choose(struct agent *a, bool hashes, struct choice *c)
{
	int active = a->record.active;
	uint8_t hash[AGENT_SHA256_BYTES];
	int order[2] = {active, active == AGENT_SLOT_A ? AGENT_SLOT_B : AGENT_SLOT_A};
	for (int i = 0; i < 2; i++) {
		if (order[i] == AGENT_SLOT_FACTORY)
			break;
		if (i == 1 && !a->record.slots[order[i]].is_confirmed)
			continue;
		enum agent_opened opened = agent_release_open(a, order[i], AGENT_SEAL_INSTALL, hashes, c->release, NULL, hash);
		c->slot = order[i];
		if (opened == AGENT_OPENED)
			return true;
		if (opened == AGENT_OPEN_NO_MEMORY)
			return false;
	}
	c->slot = AGENT_SLOT_FACTORY;
	if (a->config->factory)
		*c->release = *a->config->factory;
	else
		memset(c->release, 0, sizeof(*c->release));
	return true;
}

/* Nothing stored in this slot is to be believed any more. */
static void distrust(struct agent *a, int slot)
{
	memset(&a->record.slots[slot], 0, sizeof(a->record.slots[slot]));
}

/* Both copies of the state record are gone (not by a cut: it tears one at most). The signed slots speak for
 * themselves; the highest counter among them is taken as confirmed, because a lower floor would open the door to old
 * releases. */
static bool adopt_slots(struct agent *a)
{
	struct agent_record *r = &a->record;
	for (int slot = 0; slot < 2; slot++) {
		uint8_t hash[AGENT_SHA256_BYTES];
		enum agent_opened opened = agent_release_open(a, slot, AGENT_SEAL_INSTALL, true, &a->running, NULL, hash);
		if (opened == AGENT_OPEN_NO_MEMORY)
			return false;
		if (opened != AGENT_OPENED || a->running.counter < r->floor)
			continue;
		r->active = (uint8_t)slot;
		r->floor = a->running.counter;
		memcpy(r->slots[slot].manifest, hash, sizeof(hash));
		r->slots[slot].is_complete = r->slots[slot].is_confirmed = true;
		agent_tell(a, AGENT_EVENT_STORAGE, "state record lost; a signed slot was adopted");
	}
	return true;
}

static enum agent_activation activate(struct agent *a, int slot, bool trial)
{
	enum agent_activation result = a->ports->activate(a->host, slot, trial);
	if (result == AGENT_ACTIVATE_FAILED)
		agent_tell(a, AGENT_EVENT_STORAGE, "activation failed");
	if (result == AGENT_ACTIVATE_REBOOT) {
		a->state = AGENT_REBOOTING;
		a->work_at_ms = INT64_MAX;
		if (a->ports->reboot)
			a->ports->reboot(a->host);
	}
	return result;
}

/* Puts the confirmed release into use. The record already says that nothing is on trial, but is not saved yet. */
static bool run_confirmed(struct agent *a, bool hashes, bool must_save)
{
	struct choice c = {AGENT_SLOT_FACTORY, &a->running};
	if (!choose(a, hashes, &c))
		return false;
	if (c.slot != a->record.active) {
		agent_tell(a, AGENT_EVENT_STORAGE, "the active slot is damaged");
		distrust(a, a->record.active);
		a->record.active = (uint8_t)c.slot;
		must_save = true;
	}
	a->running_slot = c.slot;
	a->state = AGENT_IDLE;
	a->work_at_ms = INT64_MAX;
	if (must_save)
		(void)agent_record_save(a); /* dirty: tried again while idle */
	(void)activate(a, c.slot, false);
	return true;
}

/* --- trial --- */

static void fail_trial(struct agent *a, const char *reason)
{
	a->self_test = AGENT_SELF_TEST_FAILED;
	agent_copy(a->record.reason, sizeof(a->record.reason), reason);
	a->work_at_ms = 0;
}

/* The trial is over without confirmation: the old release runs again. */
static void fall_back(struct agent *a)
{
	struct agent_record *r = &a->record;
	uint8_t trial = r->trial;
	if (a->self_test == AGENT_SELF_TEST_RUNNING && a->ports->self_test_cancel)
		a->ports->self_test_cancel(a->host);
	r->trial = AGENT_SLOT_NONE;
	r->deployment_state = AGENT_DEPLOYMENT_FAILED;
	if (!run_confirmed(a, false, true)) {
		r->trial = trial;
		r->deployment_state = AGENT_DEPLOYMENT_TRIAL;
		a->work_at_ms = agent_now_ms(a) + MEMORY_PAUSE_MS;
		return;
	}
	a->self_test = AGENT_SELF_TEST_NONE;
	agent_tell(a, AGENT_EVENT_FELL_BACK, r->reason);
	agent_report_soon(a);
}

static void start_self_test(struct agent *a)
{
	a->self_test = AGENT_SELF_TEST_RUNNING;
	if (!a->ports->self_test_start)
		a->self_test = AGENT_SELF_TEST_PASSED;
	else if (!a->ports->self_test_start(a->host, a->running_slot))
		fail_trial(a, "the self-test could not be started");
}

/* The trial slot's release is known and recorded: use it. */
static void start_trial(struct agent *a)
{
	int64_t now_ms = agent_now_ms(a);
	a->state = AGENT_TRIAL;
	a->work_at_ms = 0;
	a->trial_deadline_ms = now_ms + a->limits.trial_timeout_ms;
	if (a->timeout_ms > 0 && a->started_ms + a->timeout_ms < a->trial_deadline_ms)
		a->trial_deadline_ms = a->started_ms + a->timeout_ms;
	agent_tell(a, AGENT_EVENT_TRIAL, a->running.name);
	agent_report_soon(a);
	switch (activate(a, a->running_slot, true)) {
	case AGENT_ACTIVATE_DONE:
		start_self_test(a);
		break;
	case AGENT_ACTIVATE_FAILED:
		fail_trial(a, "the release could not be activated");
		break;
	case AGENT_ACTIVATE_REBOOT:
		break;
	}
}

void agent_trial_begin(struct agent *a)
{
	struct agent_record *r = &a->record;
	int slot = agent_trial_target(a);
	uint8_t hash[AGENT_SHA256_BYTES];
	struct agent_release old = a->running;
	enum agent_opened opened = agent_release_open(a, slot, AGENT_SEAL_INSTALL, false, &a->running, NULL, hash);
	if (opened == AGENT_OPEN_NO_MEMORY) {
		a->work_at_ms = agent_now_ms(a) + MEMORY_PAUSE_MS;
		return;
	}
	if (opened != AGENT_OPENED || memcmp(hash, r->slots[slot].manifest, sizeof(hash)) != 0) {
		distrust(a, slot);
		a->running = old;
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, "the stored release is damaged");
		return;
	}
	r->slots[slot].is_complete = true;
	r->trial = (uint8_t)slot;
	r->trial_boots = 0;
	/* a resumable offset belongs to this slot, which stops being the target */
	memset(r->part_mark, 0, sizeof(r->part_mark));
	r->part_offset = 0;
	r->deployment_state = AGENT_DEPLOYMENT_TRIAL;
	if (!agent_record_save(a)) {
		r->trial = AGENT_SLOT_NONE;
		a->running = old;
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, "the state record cannot be written");
		return;
	}
	a->running_slot = slot;
	start_trial(a);
}

static void confirm(struct agent *a)
{
	struct agent_record *r = &a->record;
	struct agent_record before = *r;
	r->active = r->trial;
	r->trial = AGENT_SLOT_NONE;
	if (a->running.counter > r->floor)
		r->floor = a->running.counter;
	r->slots[r->active].is_confirmed = true;
	r->deployment_state = AGENT_DEPLOYMENT_SUCCEEDED;
	r->reason[0] = '\0';
	if (!agent_record_save(a)) { /* again until the trial's deadline */
		before.sequence = r->sequence;
		*r = before;
		a->work_at_ms = agent_now_ms(a) + SAVE_PAUSE_MS;
		return;
	}
	a->self_test = AGENT_SELF_TEST_NONE;
	a->state = AGENT_IDLE;
	a->work_at_ms = INT64_MAX;
	agent_tell(a, AGENT_EVENT_CONFIRMED, a->running.name);
	agent_report_soon(a);
	(void)activate(a, a->running_slot, false);
}

void agent_trial_poll(struct agent *a)
{
	int64_t now_ms = agent_now_ms(a);
	bool is_reachable = a->is_connected || !a->config->confirm_needs_connection;
	if (a->self_test == AGENT_SELF_TEST_FAILED) {
		fall_back(a);
	} else if (now_ms >= a->trial_deadline_ms) {
		agent_copy(a->record.reason, sizeof(a->record.reason),
		           a->self_test == AGENT_SELF_TEST_RUNNING ? "the self-test did not end in time"
		           : is_reachable                          ? "the confirmation could not be recorded in time"
		                                                   : "no connection to the server in time");
		fall_back(a);
	} else if (a->self_test == AGENT_SELF_TEST_PASSED && is_reachable) {
		confirm(a);
	} else {
		a->work_at_ms = a->trial_deadline_ms;
	}
}

void agent_on_self_test(struct agent *a, bool passed, const char *reason)
{
	if (a->state != AGENT_TRIAL || a->self_test != AGENT_SELF_TEST_RUNNING)
		return;
	a->self_test = AGENT_SELF_TEST_PASSED;
	a->work_at_ms = 0;
	if (!passed)
		fail_trial(a, reason && reason[0] ? reason : "the self-test failed");
}

/* --- power-up --- */

/* A trial that was not confirmed before the power went: another try, or the end of it. NULL, or why it ends. */
static const char *resume_trial(struct agent *a, bool *no_memory)
{
	struct agent_record *r = &a->record;
	uint8_t hash[AGENT_SHA256_BYTES];
	if (r->trial_boots >= a->limits.trial_boots)
		return "not confirmed within the allowed number of starts";
	enum agent_opened opened = agent_release_open(a, r->trial, AGENT_SEAL_INSTALL, true, &a->running, NULL, hash);
	*no_memory = opened == AGENT_OPEN_NO_MEMORY;
	if (opened != AGENT_OPENED) {
		if (!*no_memory)
			distrust(a, r->trial);
		return "the stored release is damaged";
	}
	r->trial_boots++;
	if (!agent_record_save(a)) /* uncounted starts would never end */
		return "the state record cannot be written";
	a->running_slot = r->trial;
	return NULL;
}

bool agent_trial_boot(struct agent *a)
{
	struct agent_record *r = &a->record;
	bool no_memory = false, is_lost = !a->has_record;
	if (is_lost && !adopt_slots(a))
		return false;
	if (r->trial == AGENT_SLOT_NONE) {
		bool adopted = is_lost && r->active != AGENT_SLOT_FACTORY;
		return run_confirmed(a, true, adopted);
	}
	const char *reason = resume_trial(a, &no_memory);
	if (no_memory)
		return false;
	if (!reason) {
		start_trial(a);
		return true;
	}
	agent_copy(r->reason, sizeof(r->reason), reason);
	r->trial = AGENT_SLOT_NONE;
	r->deployment_state = AGENT_DEPLOYMENT_FAILED;
	if (!run_confirmed(a, true, true))
		return false;
	agent_tell(a, AGENT_EVENT_FELL_BACK, r->reason);
	return true;
}

bool agent_inspect(struct agent *a, struct agent_inspection *out)
{
	uint8_t hash[AGENT_SHA256_BYTES];
	struct choice c = {AGENT_SLOT_FACTORY, &out->release};
	memset(out, 0, sizeof(*out));
	agent_record_load(a);
	const struct agent_record *r = &a->record;
	out->has_state = a->has_record;
	if (!a->has_record && !adopt_slots(a))
		return false;
	out->floor = r->floor;
	memcpy(out->deployment, r->deployment, sizeof(out->deployment));
	out->attempt = r->attempt;
	out->deployment_state = (enum agent_deployment)r->deployment_state;
	out->is_shadow = r->is_shadow;
	if (r->trial != AGENT_SLOT_NONE && r->trial_boots < a->limits.trial_boots) {
		enum agent_opened opened = agent_release_open(a, r->trial, AGENT_SEAL_INSTALL, true, &out->release, NULL, hash);
		if (opened == AGENT_OPEN_NO_MEMORY)
			return false;
		out->slot = r->trial;
		out->is_trial = out->is_verified = opened == AGENT_OPENED;
		out->is_damaged = opened != AGENT_OPENED;
	}
	if (out->is_trial)
		return true;
	if (!choose(a, true, &c))
		return false;
	out->slot = c.slot;
	out->is_verified = true;
	out->is_damaged = out->is_damaged || c.slot != r->active;
	return true;
}
