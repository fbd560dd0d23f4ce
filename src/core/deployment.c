#include "core/deployment.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static const struct {
	const char *text;
	enum deployment_class class;
} statuses[DEPLOYMENT_STATUS_COUNT] = {
#define X(name, text, class) {text, class},
	DEPLOYMENT_STATUS_TABLE(X)
#undef X
};

static const char *const kinds[DEPLOYMENT_KIND_COUNT] = {
#define X(name, text) text,
	DEPLOYMENT_KIND_TABLE(X)
#undef X
};

#define TO(name) (1u << DEPLOYMENT_##name)

/* From each status: where it may go. Devices skip steps (a report may be lost) and take one again (a power cut), so the
 * steps of an installation lead to each other; what a device says late still counts where it can only be true. */
#define GIVEN_UP (TO(FAILED) | TO(TIMED_OUT) | TO(CANCELLED) | TO(WAITING))
#define SENT_BACK (TO(REVERTING) | TO(NOT_REVERTIBLE))
static const uint16_t moves[DEPLOYMENT_STATUS_COUNT] = {
	[DEPLOYMENT_WAITING] = TO(OFFERED) | TO(CANCELLED),
	[DEPLOYMENT_OFFERED] =
		TO(DOWNLOADING) | TO(INSTALLING) | TO(TRIAL) | TO(SUCCEEDED) | GIVEN_UP | SENT_BACK,
	[DEPLOYMENT_DOWNLOADING] = TO(INSTALLING) | TO(TRIAL) | TO(SUCCEEDED) | GIVEN_UP | SENT_BACK,
	[DEPLOYMENT_INSTALLING] = TO(DOWNLOADING) | TO(TRIAL) | TO(SUCCEEDED) | GIVEN_UP | SENT_BACK,
	[DEPLOYMENT_TRIAL] = TO(SUCCEEDED) | GIVEN_UP | SENT_BACK,
	[DEPLOYMENT_SUCCEEDED] = TO(FAILED) | SENT_BACK, /* failed: only a shadow, by its own report */
	[DEPLOYMENT_FAILED] = TO(WAITING),
	[DEPLOYMENT_TIMED_OUT] = TO(WAITING) | TO(SUCCEEDED) | TO(FAILED) | TO(CANCELLED) | SENT_BACK,
	[DEPLOYMENT_CANCELLED] = TO(SUCCEEDED) | SENT_BACK,
	[DEPLOYMENT_REVERTING] = TO(REVERTED) | TO(REVERT_FAILED) | TO(NOT_REVERTIBLE),
	[DEPLOYMENT_REVERTED] = 0,
	[DEPLOYMENT_REVERT_FAILED] = TO(REVERTING) | TO(REVERTED),
	[DEPLOYMENT_NOT_REVERTIBLE] = 0,
};

const char *deployment_kind_text(enum deployment_kind k)
{
	assert(k < DEPLOYMENT_KIND_COUNT);
	return kinds[k];
}

bool deployment_kind_parse(const char *text, enum deployment_kind *out)
{
	for (int k = 0; k < DEPLOYMENT_KIND_COUNT; k++) {
		if (strcmp(text, kinds[k]) != 0) continue;
		*out = (enum deployment_kind)k;
		return true;
	}
	return false;
}

const char *deployment_status_text(enum deployment_status s)
{
	assert(s < DEPLOYMENT_STATUS_COUNT);
	return statuses[s].text;
}

bool deployment_status_parse(const char *text, enum deployment_status *out)
{
	for (int s = 0; s < DEPLOYMENT_STATUS_COUNT; s++) {
		if (strcmp(text, statuses[s].text) != 0) continue;
		*out = (enum deployment_status)s;
		return true;
	}
	return false;
}

enum deployment_class deployment_status_class(enum deployment_status s)
{
	assert(s < DEPLOYMENT_STATUS_COUNT);
	return statuses[s].class;
}

bool deployment_can_move(enum deployment_status from, enum deployment_status to)
{
	assert(from < DEPLOYMENT_STATUS_COUNT && to < DEPLOYMENT_STATUS_COUNT);
	return moves[from] >> to & 1;
}

void deployment_move(enum deployment_status *status, enum deployment_status to)
{
	assert(deployment_can_move(*status, to));
	*status = to;
}

/* Of a device that is told to go back, the same words are about the way back; only the end of it counts. */
static bool on_report_reverting(enum deployment_status from, enum report_state said, enum deployment_status *to)
{
	switch (said) {
	case REPORT_SUCCEEDED: *to = DEPLOYMENT_REVERTED; break;
	case REPORT_FAILED:
	case REPORT_REJECTED: *to = DEPLOYMENT_REVERT_FAILED; break;
	default: return false;
	}
	return deployment_can_move(from, *to);
}

bool deployment_on_report(enum deployment_status from, enum report_state said, enum deployment_status *to)
{
	/* What was accepted has not begun: the deployment stays offered. */
	static const enum deployment_status means[REPORT_STATE_COUNT] = {
		[REPORT_ACCEPTED] = DEPLOYMENT_OFFERED,       [REPORT_DOWNLOADING] = DEPLOYMENT_DOWNLOADING,
		[REPORT_INSTALLING] = DEPLOYMENT_INSTALLING,  [REPORT_TRIAL] = DEPLOYMENT_TRIAL,
		[REPORT_SUCCEEDED] = DEPLOYMENT_SUCCEEDED,    [REPORT_FAILED] = DEPLOYMENT_FAILED,
		[REPORT_REJECTED] = DEPLOYMENT_FAILED,        [REPORT_CANCELLED] = DEPLOYMENT_CANCELLED,
	};
	assert(said < REPORT_STATE_COUNT);
	if (from == DEPLOYMENT_REVERTING || from == DEPLOYMENT_REVERT_FAILED)
		return on_report_reverting(from, said, to);
	/* Nothing was offered yet, so these words are about another attempt. */
	if (from == DEPLOYMENT_WAITING) return false;
	/* What was confirmed runs, whatever comes late or twice. */
	if (from == DEPLOYMENT_SUCCEEDED) return false;
	*to = means[said];
	return deployment_can_move(from, *to);
}

bool deployment_on_shadow_report(enum deployment_status from, enum report_state said, enum deployment_status *to)
{
	if (from == DEPLOYMENT_SUCCEEDED && (said == REPORT_FAILED || said == REPORT_REJECTED)) {
		*to = DEPLOYMENT_FAILED;
		return true;
	}
	return deployment_on_report(from, said, to);
}

bool deployment_on_revert(enum deployment_status from, bool has_previous, enum deployment_status *to)
{
	switch (from) {
	case DEPLOYMENT_WAITING: *to = DEPLOYMENT_CANCELLED; return true;
	case DEPLOYMENT_OFFERED:
	case DEPLOYMENT_DOWNLOADING:
	case DEPLOYMENT_INSTALLING:
	case DEPLOYMENT_TRIAL:
	case DEPLOYMENT_SUCCEEDED:
	case DEPLOYMENT_TIMED_OUT: *to = has_previous ? DEPLOYMENT_REVERTING : DEPLOYMENT_NOT_REVERTIBLE; return true;
	default: return false;
	}
}
