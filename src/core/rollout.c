/* The tables of rollouts. The decision is in rollout_decide.c. */
#include "core/rollout.h"

#include <assert.h>
#include <string.h>

static const struct {
	const char *text;
	bool is_final;
} statuses[ROLLOUT_STATUS_COUNT] = {
#define X(name, text, final) {text, final},
	ROLLOUT_STATUS_TABLE(X)
#undef X
};

static const char *const stage_texts[STAGE_STATUS_COUNT] = {
#define X(name, text) text,
	STAGE_STATUS_TABLE(X)
#undef X
};

static const char *const command_texts[ROLLOUT_COMMAND_COUNT] = {
#define X(name, text) text,
	ROLLOUT_COMMAND_TABLE(X)
#undef X
};

static const char *const policy_texts[ROLLOUT_POLICY_COUNT] = {
#define X(name, text) text,
	ROLLOUT_POLICY_TABLE(X)
#undef X
};

#define TO(name) (1u << ROLLOUT_##name)
#define STAGE_TO(name) (1u << STAGE_##name)

static const uint16_t moves[ROLLOUT_STATUS_COUNT] = {
	[ROLLOUT_CREATING] = TO(WAITING_FOR_APPROVAL) | TO(READY) | TO(STOPPED),
	[ROLLOUT_WAITING_FOR_APPROVAL] = TO(READY) | TO(STOPPED),
	[ROLLOUT_READY] = TO(WAITING_FOR_APPROVAL) | TO(STARTING) | TO(STOPPED),
	[ROLLOUT_STARTING] = TO(RUNNING) | TO(PAUSED) | TO(STOPPING) | TO(REVERTING),
	[ROLLOUT_RUNNING] = TO(PAUSED) | TO(FINISHED) | TO(STOPPING) | TO(REVERTING),
	[ROLLOUT_PAUSED] = TO(RUNNING) | TO(STOPPING) | TO(REVERTING),
	[ROLLOUT_FINISHED] = TO(RUNNING) | TO(REVERTING), /* a retry, a harm seen late */
	[ROLLOUT_STOPPING] = TO(STOPPED) | TO(REVERTING),
	[ROLLOUT_STOPPED] = TO(REVERTING),
	[ROLLOUT_REVERTING] = TO(REVERTED),
	[ROLLOUT_REVERTED] = TO(REVERTING), /* a retry of failed reverts */
};

static const uint8_t stage_moves[STAGE_STATUS_COUNT] = {
	[STAGE_SCHEDULED] = STAGE_TO(RUNNING) | STAGE_TO(CANCELLED),
	[STAGE_RUNNING] = STAGE_TO(BAKING) | STAGE_TO(ERROR) | STAGE_TO(CANCELLED) | STAGE_TO(REVERTED),
	[STAGE_BAKING] = STAGE_TO(FINISHED) | STAGE_TO(ERROR) | STAGE_TO(CANCELLED) | STAGE_TO(REVERTED),
	[STAGE_FINISHED] = STAGE_TO(ERROR) | STAGE_TO(REVERTED), /* stragglers may fail */
	[STAGE_ERROR] = STAGE_TO(RUNNING) | STAGE_TO(CANCELLED) | STAGE_TO(REVERTED),
	[STAGE_CANCELLED] = STAGE_TO(REVERTED), /* stopped first, reverted later */
	[STAGE_REVERTED] = 0,
};

/* What leads where: 0 = not allowed, else the status after, plus one. */
#define GO(name) (ROLLOUT_##name + 1)
static const uint8_t commands[ROLLOUT_COMMAND_COUNT][ROLLOUT_STATUS_COUNT] = {
	[ROLLOUT_DO_PLAN] = {
		[ROLLOUT_CREATING] = GO(READY),
		[ROLLOUT_WAITING_FOR_APPROVAL] = GO(READY),
		[ROLLOUT_READY] = GO(READY),
	},
	[ROLLOUT_DO_APPROVE] = {
		[ROLLOUT_WAITING_FOR_APPROVAL] = GO(READY),
		[ROLLOUT_RUNNING] = GO(RUNNING), /* of the next stage */
		[ROLLOUT_PAUSED] = GO(PAUSED),
	},
	[ROLLOUT_DO_START] = {[ROLLOUT_READY] = GO(STARTING)},
	[ROLLOUT_DO_PAUSE] = {
		[ROLLOUT_STARTING] = GO(PAUSED),
		[ROLLOUT_RUNNING] = GO(PAUSED),
	},
	[ROLLOUT_DO_RESUME] = {[ROLLOUT_PAUSED] = GO(RUNNING)},
	[ROLLOUT_DO_ABORT] = {
		[ROLLOUT_CREATING] = GO(STOPPED),
		[ROLLOUT_WAITING_FOR_APPROVAL] = GO(STOPPED),
		[ROLLOUT_READY] = GO(STOPPED),
		[ROLLOUT_STARTING] = GO(STOPPING),
		[ROLLOUT_RUNNING] = GO(STOPPING),
		[ROLLOUT_PAUSED] = GO(STOPPING),
	},
	[ROLLOUT_DO_REVERT] = {
		[ROLLOUT_STARTING] = GO(REVERTING),
		[ROLLOUT_RUNNING] = GO(REVERTING),
		[ROLLOUT_PAUSED] = GO(REVERTING),
		[ROLLOUT_FINISHED] = GO(REVERTING),
		[ROLLOUT_STOPPING] = GO(REVERTING),
		[ROLLOUT_STOPPED] = GO(REVERTING),
	},
	[ROLLOUT_DO_RETRY] = {
		[ROLLOUT_RUNNING] = GO(RUNNING),
		[ROLLOUT_PAUSED] = GO(PAUSED),
		[ROLLOUT_FINISHED] = GO(RUNNING),
		[ROLLOUT_REVERTING] = GO(REVERTING), /* of failed reverts */
		[ROLLOUT_REVERTED] = GO(REVERTING),
	},
	[ROLLOUT_DO_PROMOTE] = {
		[ROLLOUT_RUNNING] = GO(RUNNING),
		[ROLLOUT_PAUSED] = GO(RUNNING),
	},
};

static int find_text(const char *text, const char *const *texts, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(text, texts[i]) == 0) return i;
	return -1;
}

const char *rollout_status_text(enum rollout_status s)
{
	assert(s < ROLLOUT_STATUS_COUNT);
	return statuses[s].text;
}

bool rollout_status_parse(const char *text, enum rollout_status *out)
{
	for (int s = 0; s < ROLLOUT_STATUS_COUNT; s++) {
		if (strcmp(text, statuses[s].text) != 0) continue;
		*out = (enum rollout_status)s;
		return true;
	}
	return false;
}

bool rollout_status_is_final(enum rollout_status s)
{
	assert(s < ROLLOUT_STATUS_COUNT);
	return statuses[s].is_final;
}

bool rollout_can_move(enum rollout_status from, enum rollout_status to)
{
	assert(from < ROLLOUT_STATUS_COUNT && to < ROLLOUT_STATUS_COUNT);
	return moves[from] >> to & 1;
}

void rollout_move(enum rollout_status *status, enum rollout_status to)
{
	assert(rollout_can_move(*status, to));
	*status = to;
}

const char *stage_status_text(enum stage_status s)
{
	assert(s < STAGE_STATUS_COUNT);
	return stage_texts[s];
}

bool stage_status_parse(const char *text, enum stage_status *out)
{
	int at = find_text(text, stage_texts, STAGE_STATUS_COUNT);
	if (at >= 0) *out = (enum stage_status)at;
	return at >= 0;
}

bool stage_can_move(enum stage_status from, enum stage_status to)
{
	assert(from < STAGE_STATUS_COUNT && to < STAGE_STATUS_COUNT);
	return stage_moves[from] >> to & 1;
}

void stage_move(enum stage_status *status, enum stage_status to)
{
	assert(stage_can_move(*status, to));
	*status = to;
}

const char *rollout_command_text(enum rollout_command c)
{
	assert(c < ROLLOUT_COMMAND_COUNT);
	return command_texts[c];
}

bool rollout_command_parse(const char *text, enum rollout_command *out)
{
	int at = find_text(text, command_texts, ROLLOUT_COMMAND_COUNT);
	if (at >= 0) *out = (enum rollout_command)at;
	return at >= 0;
}

bool rollout_command_allowed(enum rollout_command c, enum rollout_status from, bool needs_approval,
                             enum rollout_status *to)
{
	assert(c < ROLLOUT_COMMAND_COUNT && from < ROLLOUT_STATUS_COUNT);
	uint8_t go = commands[c][from];
	if (go == 0) return false;
	*to = (enum rollout_status)(go - 1);
	if (c == ROLLOUT_DO_PLAN && needs_approval) *to = ROLLOUT_WAITING_FOR_APPROVAL;
	return true;
}

const char *rollout_policy_text(enum rollout_policy p)
{
	assert(p < ROLLOUT_POLICY_COUNT);
	return policy_texts[p];
}

bool rollout_policy_parse(const char *text, enum rollout_policy *out)
{
	int at = find_text(text, policy_texts, ROLLOUT_POLICY_COUNT);
	if (at >= 0) *out = (enum rollout_policy)at;
	return at >= 0;
}
