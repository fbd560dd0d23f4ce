#include "core/verdict.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

enum {
	WAS_REVERTED = 1,
	HARD_STOP = 2,
	HARM = 4,
	SUSPICION = 8, /* now */
	HELD = 16,     /* now or before, and not cleared */
	BAKE_OVER = 32,
	EXPOSURE = 64,
	NOT_WORSE = 128
};

/* Read from the top: the first row whose bits are all set (`needs`) and all clear (`lacks`) is the verdict. */
static const struct rule {
	unsigned needs, lacks;
	enum verdict verdict;
	enum verdict_reason reason;
} rules[] = {
	{WAS_REVERTED, 0, VERDICT_REVERT, REASON_REVERTED},
	{HARD_STOP, 0, VERDICT_REVERT, REASON_HARD_STOP},
	{HARM, 0, VERDICT_REVERT, REASON_HARM},
	{SUSPICION, BAKE_OVER, VERDICT_HOLD, REASON_SUSPICION},
	{HELD, BAKE_OVER, VERDICT_HOLD, REASON_SUSPICION_LASTS},
	{0, BAKE_OVER, VERDICT_CONTINUE, REASON_BAKING},
	{SUSPICION, 0, VERDICT_INCONCLUSIVE, REASON_SUSPICION},
	{HELD, 0, VERDICT_INCONCLUSIVE, REASON_SUSPICION_LASTS},
	{0, EXPOSURE, VERDICT_INCONCLUSIVE, REASON_EXPOSURE},
	{0, NOT_WORSE, VERDICT_INCONCLUSIVE, REASON_NOT_SHOWN},
	{0, 0, VERDICT_PASS, REASON_NOT_WORSE},
};

struct verdict_step verdict_next(enum verdict before, bool held, const struct verdict_facts *f) {
	bool still_held = f->suspicion || (held && !f->cleared);
	unsigned facts = (before == VERDICT_REVERT ? WAS_REVERTED : 0) | (f->hard_stop ? HARD_STOP : 0) | (f->harm ? HARM
		: 0) |
		(f->suspicion ? SUSPICION : 0) | (still_held ? HELD : 0) | (f->bake_over ? BAKE_OVER : 0) |
		(f->exposure ? EXPOSURE : 0) | (f->not_worse ? NOT_WORSE : 0);
	const struct rule *rule = rules;
	while ((facts & rule->needs) != rule->needs || (facts & rule->lacks) != 0)
		rule++; /* the last row fits everything */
	return (struct verdict_step){
		.verdict = rule->verdict,
		.reason = rule->reason,
		.held = still_held,
		.extend = rule->verdict == VERDICT_INCONCLUSIVE && f->can_extend,
	};
}

static const char *const names[VERDICT_COUNT] = {
	[VERDICT_CONTINUE] = "continue",         [VERDICT_HOLD] = "hold",     [VERDICT_PASS] = "pass",
	[VERDICT_INCONCLUSIVE] = "inconclusive", [VERDICT_REVERT] = "revert",
};

const char *verdict_name(enum verdict v) {
	assert(v < VERDICT_COUNT);
	return names[v];
}

bool verdict_parse(const char *text, enum verdict *v) {
	for (size_t i = 0; i < VERDICT_COUNT; i++) {
		if (strcmp(text, names[i]) == 0) {
			*v = (enum verdict)i;
			return true;
		}
	}
	return false;
}

const char *verdict_reason_name(enum verdict_reason r) {
	static const char *const reasons[REASON_COUNT] = {
		[REASON_BAKING] = "baking",
		[REASON_HARM] = "harm",
		[REASON_HARD_STOP] = "hard_stop",
		[REASON_SUSPICION] = "suspicion",
		[REASON_SUSPICION_LASTS] = "suspicion_lasts",
		[REASON_NOT_WORSE] = "not_worse",
		[REASON_NOT_SHOWN] = "not_shown",
		[REASON_EXPOSURE] = "exposure",
		[REASON_REVERTED] = "reverted",
	};
	assert(r < REASON_COUNT);
	return reasons[r];
}

const char *verdict_reason_text(enum verdict_reason r) {
	static const char *const texts[REASON_COUNT] = {
#define X(name, text) text,
		VERDICT_REASON_TABLE(X)
#undef X
	};
	assert(r < REASON_COUNT);
	return texts[r];
}
