#include "core/command.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/jpull.h"
#include "base/str.h"

#define VALUE_MAX 1e15
#define ID_MAX 9007199254740992 /* 2^53 */

/* ---- tables ---- */

static const char *const kinds[COMMAND_KIND_COUNT] = {
#define X(name, text, doc) text,
	COMMAND_KIND_TABLE(X)
#undef X
};
static const struct {
	const char *text;
	bool is_excusable;
} checks[COMMAND_CHECK_COUNT] = {
#define X(name, text, excusable, doc) {text, excusable},
	COMMAND_CHECK_TABLE(X)
#undef X
};
static const struct {
	const char *text;
	bool is_final;
} states[COMMAND_STATE_COUNT] = {
#define X(name, text, final) {text, final},
	COMMAND_STATE_TABLE(X)
#undef X
};

const char *command_kind_text(enum command_kind k)
{
	assert(k < COMMAND_KIND_COUNT);
	return kinds[k];
}

bool command_kind_of(const char *text, enum command_kind *k)
{
	for (int i = 0; i < COMMAND_KIND_COUNT; i++) {
		*k = (enum command_kind)i;
		if (strcmp(kinds[i], text) == 0) return true;
	}
	return false;
}

const char *command_check_text(enum command_check k)
{
	assert(k < COMMAND_CHECK_COUNT);
	return checks[k].text;
}

bool command_check_of(const char *text, enum command_check *k)
{
	for (int i = 0; i < COMMAND_CHECK_COUNT; i++) {
		*k = (enum command_check)i;
		if (strcmp(checks[i].text, text) == 0) return true;
	}
	return false;
}

bool command_check_is_excusable(enum command_check k)
{
	assert(k < COMMAND_CHECK_COUNT);
	return checks[k].is_excusable;
}

const char *command_state_text(enum command_state s)
{
	assert(s < COMMAND_STATE_COUNT);
	return states[s].text;
}

bool command_state_of(const char *text, enum command_state *s)
{
	for (int i = 0; i < COMMAND_STATE_COUNT; i++) {
		*s = (enum command_state)i;
		if (strcmp(states[i].text, text) == 0) return true;
	}
	return false;
}

bool command_state_is_final(enum command_state s)
{
	assert(s < COMMAND_STATE_COUNT);
	return states[s].is_final;
}

/* ---- answers ---- */

struct reading {
	struct command_answer *out;
	bool has_state;
};

static bool read_id(struct jp *p, struct reading *r)
{
	return jp_next(p) == JP_NUMBER && jp_int(p, &r->out->id) && r->out->id >= 1 && r->out->id <= ID_MAX;
}

static bool read_state(struct jp *p, struct reading *r)
{
	if (jp_next(p) != JP_STRING) return false;
	r->has_state = true;
	r->out->is_done = jp_is(p, "done");
	return r->out->is_done || jp_is(p, "failed") || jp_is(p, "rejected");
}

static bool read_pass(struct jp *p, struct reading *r)
{
	enum jp_event e = jp_next(p);
	r->out->has_passed = true;
	r->out->passed = e == JP_TRUE;
	return e == JP_TRUE || e == JP_FALSE;
}

static bool read_value(struct jp *p, struct reading *r)
{
	r->out->has_value = true;
	return jp_next(p) == JP_NUMBER && jp_double(p, &r->out->value) && isfinite(r->out->value) && fabs(r->out->value) <= VALUE_MAX;
}

static bool read_detail(struct jp *p, struct reading *r)
{
	if (jp_next(p) == JP_STRING && jp_unescape(p, r->out->detail, sizeof r->out->detail) >= 0) return true;
	r->out->detail[0] = '\0';
	return false;
}

static const struct {
	const char *name;
	bool (*read)(struct jp *p, struct reading *r);
	const char *pointer, *expected;
} members[] = {
	{"id", read_id, "/id", "an integer from 1"},
	{"state", read_state, "/state", "done, failed or rejected"},
	{"pass", read_pass, "/pass", "true or false"},
	{"value", read_value, "/value", "a number within 1e15"},
	{"detail", read_detail, "/detail", "a text of at most 200 bytes"},
};
#define MEMBERS (sizeof members / sizeof members[0])

static enum err not_json(const struct jp *p, struct fault *f)
{
	return fault_set(f, ERR_BAD_REQUEST, "", "not JSON: %s at byte %zu", p->error != NULL ? p->error : "an object is wanted", p->at);
}

/* Unknown members are passed over: a newer device may say more. */
static enum err read_member(struct jp *p, struct reading *r, unsigned *seen, struct fault *f)
{
	size_t i = 0;
	while (i < MEMBERS && !jp_is(p, members[i].name)) i++;
	if (i == MEMBERS) return jp_skip(p, jp_next(p)) ? ERR_OK : not_json(p, f);
	if (*seen >> i & 1) return fault_set(f, ERR_INVALID, members[i].pointer, "the member occurs twice");
	*seen |= 1u << i;
	if (members[i].read(p, r)) return ERR_OK;
	return p->error != NULL ? not_json(p, f) : fault_set(f, ERR_INVALID, members[i].pointer, "expected %s", members[i].expected);
}

enum err answer_parse(struct command_answer *out, const char *text, size_t len, struct fault *f)
{
	struct reading r = {.out = out};
	struct jp p;
	unsigned seen = 0;
	enum jp_event event;
	memset(out, 0, sizeof *out);
	if (len > ANSWER_BYTES) return fault_set(f, ERR_TOO_LARGE, "", "an answer is at most %d bytes", ANSWER_BYTES);
	jp_init(&p, text, len);
	if (jp_next(&p) != JP_OBJECT) return not_json(&p, f);
	while ((event = jp_next(&p)) == JP_KEY) {
		enum err e = read_member(&p, &r, &seen, f);
		if (e != ERR_OK) return e;
	}
	if (event != JP_OBJECT_END || jp_next(&p) != JP_END) return not_json(&p, f);
	if (out->id == 0) return fault_set(f, ERR_INVALID, "", "id is required");
	if (!r.has_state) return fault_set(f, ERR_INVALID, "", "state is required");
	return ERR_OK;
}
