#include "core/report.h"

#include <assert.h>
#include <string.h>

#include "base/jpull.h"
#include "base/str.h"

static const struct {
	const char *text;
	bool is_final;
} states[REPORT_STATE_COUNT] = {
#define X(name, text, final) {text, final},
	REPORT_STATE_TABLE(X)
#undef X
};

const char *report_state_text(enum report_state s)
{
	assert(s < REPORT_STATE_COUNT);
	return states[s].text;
}

bool report_state_is_final(enum report_state s)
{
	assert(s < REPORT_STATE_COUNT);
	return states[s].is_final;
}

struct reader {
	struct jp p;
	struct fault *f;
};

/* A member of an object: its reader takes the value that comes next. */
struct member {
	const char *name;
	enum err (*read)(struct reader *r, void *target);
	bool is_required;
};

static struct slice token(const struct reader *r)
{
	return (struct slice){r->p.token, r->p.token_len};
}

/* The value was not what the member wants; where the text itself is broken, that is said instead. */
static enum err refuse(struct reader *r, const char *expected)
{
	if (r->p.error != NULL)
		return fault_set(r->f, ERR_BAD_REQUEST, "", "not JSON: %s at byte %zu", r->p.error, r->p.at);
	return fault_set(r->f, ERR_INVALID, "", "expected %s", expected);
}

/* Puts the member's name, as a token of a JSON pointer (RFC 6901), before the pointer of the fault inside it. Names
 * come from a device: long ones are cut. */
static enum err inside(struct reader *r, struct slice name, enum err e)
{
	char prefix[72] = "/";
	size_t n = 1;
	if (e != ERR_INVALID) return e;
	for (size_t i = 0; i < name.len && n + 2 < sizeof prefix; i++) {
		bool is_special = name.data[i] == '~' || name.data[i] == '/';
		prefix[n++] = is_special ? '~' : name.data[i];
		if (is_special) prefix[n++] = name.data[i] == '~' ? '0' : '1';
	}
	prefix[n] = '\0';
	if (str_is_utf8(prefix, n)) fault_prefix(r->f, prefix); /* a cut may have left half a character */
	return e;
}

static enum err check_required(struct reader *r, const struct member *members, size_t count, unsigned seen)
{
	for (size_t i = 0; i < count; i++)
		if (members[i].is_required && !(seen >> i & 1))
			return fault_set(r->f, ERR_INVALID, "", "%s is required", members[i].name);
	return ERR_OK;
}

/* Reads the members of an object whose opening brace was read. */
static enum err read_members(struct reader *r, const struct member *members, size_t count, void *target)
{
	unsigned seen = 0;
	enum jp_event event;
	while ((event = jp_next(&r->p)) == JP_KEY) {
		struct slice name = token(r);
		size_t i = 0;
		while (i < count && !jp_is(&r->p, members[i].name)) i++;
		enum err e = ERR_OK;
		if (i == count) e = fault_set(r->f, ERR_INVALID, "", "unknown member");
		else if (seen >> i & 1) e = fault_set(r->f, ERR_INVALID, "", "the member occurs twice");
		else e = members[i].read(r, target);
		if (e) return inside(r, name, e);
		seen |= 1u << i;
	}
	if (event != JP_OBJECT_END) return refuse(r, "a member");
	return check_required(r, members, count, seen);
}
#define READ_MEMBERS(r, members, target) read_members(r, members, sizeof(members) / sizeof(members)[0], target)

static enum err read_int(struct reader *r, int64_t min, int64_t max, int64_t *out, const char *expected)
{
	enum jp_event e = jp_next(&r->p);
	if (e != JP_NUMBER || !jp_int(&r->p, out) || *out < min || *out > max) return refuse(r, expected);
	return ERR_OK;
}

/* A text that one of the name rules accepts; they know no backslash, so it needs no unescaping. */
static enum err read_named(struct reader *r, bool (*rule)(struct slice), char *out, size_t out_size,
                           const char *expected)
{
	if (jp_next(&r->p) != JP_STRING || !rule(token(r)) || !slice_copy(token(r), out, out_size))
		return refuse(r, expected);
	return ERR_OK;
}

static enum err read_text(struct reader *r, char *out, size_t out_size, const char *expected)
{
	if (jp_next(&r->p) != JP_STRING || jp_unescape(&r->p, out, out_size) < 0) {
		out[0] = '\0';
		return refuse(r, expected);
	}
	return ERR_OK;
}

/* ---- free-form documents ---- */

static enum err add_key(struct reader *r, struct slice *keys, size_t max, size_t *count)
{
	struct slice key = token(r);
	if (*count == max) return fault_set(r->f, ERR_INVALID, "", "too many members");
	if (memchr(key.data, '\\', key.len) != NULL)
		return fault_set(r->f, ERR_INVALID, "", "escapes in a member's name are not taken here");
	for (size_t i = 0; i < *count; i++)
		if (slice_same(keys[i], key))
			return inside(r, key, fault_set(r->f, ERR_INVALID, "", "the member occurs twice"));
	keys[(*count)++] = key;
	return ERR_OK;
}

static enum err walk(struct reader *r, enum jp_event event);

static enum err walk_object(struct reader *r)
{
	struct slice keys[REPORT_CAPABILITIES];
	size_t count = 0;
	enum jp_event event;
	while ((event = jp_next(&r->p)) == JP_KEY) {
		struct slice key = token(r);
		enum err e = add_key(r, keys, REPORT_CAPABILITIES, &count);
		if (e) return e;
		e = walk(r, jp_next(&r->p));
		if (e) return inside(r, key, e);
	}
	return event == JP_OBJECT_END ? ERR_OK : refuse(r, "a member");
}

/* Any value: no member twice in one object. Recursion is as deep as JP_MAX_DEPTH allows. */
static enum err walk(struct reader *r, enum jp_event event)
{
	if (event == JP_ERROR) return refuse(r, "a value");
	if (event == JP_OBJECT) return walk_object(r);
	if (event != JP_ARRAY) return ERR_OK;
	while ((event = jp_next(&r->p)) != JP_ARRAY_END) {
		enum err e = walk(r, event);
		if (e) return e;
	}
	return ERR_OK;
}

static enum err read_capabilities(struct reader *r, void *target)
{
	struct device_report *out = target;
	if (jp_next(&r->p) != JP_OBJECT) return refuse(r, "an object");
	size_t start = r->p.at - 1;
	enum err e = walk_object(r);
	out->capabilities = (struct slice){r->p.text + start, r->p.at - start};
	return e;
}

static enum err read_attribute(struct reader *r)
{
	switch (jp_next(&r->p)) {
	case JP_STRING:
		if (r->p.token_len <= REPORT_ATTRIBUTE_BYTES) return ERR_OK;
		return refuse(r, "a text of at most 256 bytes");
	case JP_NUMBER:
	case JP_TRUE:
	case JP_FALSE: return ERR_OK;
	default: return refuse(r, "a text, a number or a boolean");
	}
}

static enum err read_attributes(struct reader *r, void *target)
{
	struct device_report *out = target;
	struct slice keys[REPORT_ATTRIBUTES];
	size_t count = 0;
	enum jp_event event;
	if (jp_next(&r->p) != JP_OBJECT) return refuse(r, "an object");
	size_t start = r->p.at - 1;
	while ((event = jp_next(&r->p)) == JP_KEY) {
		struct slice key = token(r);
		if (!name_is_name(key)) return inside(r, key, refuse(r, "a name of an attribute"));
		enum err e = add_key(r, keys, REPORT_ATTRIBUTES, &count);
		if (e) return e;
		e = read_attribute(r);
		if (e) return inside(r, key, e);
	}
	if (event != JP_OBJECT_END) return refuse(r, "a member");
	out->enrol.attributes = (struct slice){r->p.text + start, r->p.at - start};
	return ERR_OK;
}

/* ---- enrol ---- */

static enum err read_token(struct reader *r, void *target)
{
	struct device_report *out = target;
	enum err e = read_text(r, out->enrol.token, sizeof out->enrol.token, "a text of at most 128 bytes");
	if (e == ERR_OK && out->enrol.token[0] == '\0') return refuse(r, "an enrolment token");
	return e;
}

static bool is_sha256(struct slice s)
{
	char text[REPORT_SECRET_BYTES];
	return slice_copy(s, text, sizeof text) && str_is_hex(text, 64);
}

static enum err read_secret(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_named(r, is_sha256, out->enrol.secret_sha256, sizeof out->enrol.secret_sha256,
	                  "64 lower-case hex digits");
}

static enum err read_display(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_text(r, out->enrol.name, sizeof out->enrol.name, "a text of at most 128 bytes");
}

static enum err read_hardware(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_named(r, name_is_name, out->enrol.hardware, sizeof out->enrol.hardware,
	                  "a name of a hardware class");
}

static bool has_tag(const struct device_report *out, const char *tag)
{
	for (unsigned i = 0; i < out->enrol.tag_count; i++)
		if (strcmp(out->enrol.tags[i], tag) == 0) return true;
	return false;
}

/* A tag that comes twice is the same tag. */
static enum err read_tags(struct reader *r, void *target)
{
	struct device_report *out = target;
	enum jp_event event;
	if (jp_next(&r->p) != JP_ARRAY) return refuse(r, "an array of tags");
	while ((event = jp_next(&r->p)) != JP_ARRAY_END) {
		char tag[NAME_BYTES];
		if (event != JP_STRING || !name_is_name(token(r)) || !slice_copy(token(r), tag, sizeof tag))
			return refuse(r, "names as tags");
		if (has_tag(out, tag)) continue;
		if (out->enrol.tag_count == REPORT_TAGS) return refuse(r, "at most 32 tags");
		memcpy(out->enrol.tags[out->enrol.tag_count++], tag, sizeof tag);
	}
	return ERR_OK;
}

static enum err read_enrol(struct reader *r, void *target)
{
	static const struct member members[] = {
		{"token", read_token, true},       {"secret_sha256", read_secret, true}, {"name", read_display, false},
		{"hardware", read_hardware, true}, {"attributes", read_attributes, false}, {"tags", read_tags, false},
	};
	struct device_report *out = target;
	if (jp_next(&r->p) != JP_OBJECT) return refuse(r, "an object");
	out->has_enrol = true;
	return READ_MEMBERS(r, members, target);
}

/* ---- running ---- */

static enum err read_release(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_named(r, name_is_name, out->running.release, sizeof out->running.release, "a name of a release");
}

static enum err read_counter(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_int(r, 0, INT64_MAX, &out->running.counter, "an integer from 0");
}

static bool has_model(const struct device_report *out, struct slice name)
{
	for (unsigned i = 0; i < out->running.model_count; i++)
		if (slice_equals(name, out->running.models[i].name)) return true;
	return false;
}

static enum err read_models(struct reader *r, void *target)
{
	struct device_report *out = target;
	enum jp_event event;
	if (jp_next(&r->p) != JP_OBJECT) return refuse(r, "an object of model names and versions");
	while ((event = jp_next(&r->p)) == JP_KEY) {
		struct slice name = token(r);
		if (!name_is_name(name)) return inside(r, name, refuse(r, "a name of a model"));
		if (has_model(out, name)) return inside(r, name, refuse(r, "each model once"));
		if (out->running.model_count == REPORT_MODELS) return refuse(r, "at most 16 models");
		struct report_model *m = &out->running.models[out->running.model_count++];
		bool fits = slice_copy(name, m->name, sizeof m->name);
		assert(fits);
		enum err e = read_named(r, name_is_version, m->version, sizeof m->version, "a version");
		if (e) return inside(r, name, e);
	}
	return event == JP_OBJECT_END ? ERR_OK : refuse(r, "a member");
}

static bool has_hash(const struct device_report *out, struct slice name)
{
	for (unsigned i = 0; i < out->running.hash_count; i++)
		if (slice_equals(name, out->running.hashes[i].model)) return true;
	return false;
}

static enum err read_hashes(struct reader *r, void *target)
{
	struct device_report *out = target;
	enum jp_event event;
	if (jp_next(&r->p) != JP_OBJECT) return refuse(r, "an object of model names and hashes");
	while ((event = jp_next(&r->p)) == JP_KEY) {
		struct slice name = token(r);
		if (!name_is_name(name)) return inside(r, name, refuse(r, "a name of a model"));
		if (has_hash(out, name)) return inside(r, name, refuse(r, "each model once"));
		if (out->running.hash_count == REPORT_MODELS) return refuse(r, "at most 16 models");
		struct report_hash *h = &out->running.hashes[out->running.hash_count++];
		bool fits = slice_copy(name, h->model, sizeof h->model);
		assert(fits);
		enum err e = read_named(r, is_sha256, h->sha256, sizeof h->sha256, "64 lower-case hex digits");
		if (e) return inside(r, name, e);
	}
	return event == JP_OBJECT_END ? ERR_OK : refuse(r, "a member");
}

static enum err read_firmware(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_named(r, name_is_version, out->running.firmware, sizeof out->running.firmware, "a version");
}

static enum err read_running(struct reader *r, void *target)
{
	static const struct member members[] = {
		{"release", read_release, false},
		{"counter", read_counter, false},
		{"models", read_models, false},
		{"firmware", read_firmware, false},
		{"hashes", read_hashes, false},
	};
	struct device_report *out = target;
	if (jp_next(&r->p) != JP_OBJECT) return refuse(r, "an object");
	out->has_running = true;
	size_t start = r->p.at - 1;
	enum err e = READ_MEMBERS(r, members, target);
	out->running.text = (struct slice){r->p.text + start, r->p.at - start};
	return e;
}

/* ---- deployment ---- */

static enum err read_id(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_named(r, name_is_name, out->deployment.id, sizeof out->deployment.id, "an id of a deployment");
}

static enum err read_attempt(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_int(r, 1, INT32_MAX, &out->deployment.attempt, "an integer from 1");
}

static enum err read_state(struct reader *r, void *target)
{
	struct device_report *out = target;
	if (jp_next(&r->p) != JP_STRING) return refuse(r, "a state");
	for (int s = 0; s < REPORT_STATE_COUNT; s++) {
		if (!jp_is(&r->p, states[s].text)) continue;
		out->deployment.state = (enum report_state)s;
		return ERR_OK;
	}
	return refuse(r, "accepted, downloading, installing, trial, succeeded, failed, rejected or cancelled");
}

static enum err read_progress(struct reader *r, void *target)
{
	struct device_report *out = target;
	int64_t v;
	enum err e = read_int(r, 0, 100, &v, "an integer from 0 to 100");
	if (e == ERR_OK) out->deployment.progress = (int)v;
	return e;
}

static enum err read_reason(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_text(r, out->deployment.reason, sizeof out->deployment.reason, "a text of at most 200 bytes");
}

static enum err read_deployment(struct reader *r, void *target)
{
	static const struct member members[] = {
		{"id", read_id, true},
		{"attempt", read_attempt, false},
		{"state", read_state, true},
		{"progress", read_progress, false},
		{"reason", read_reason, false},
	};
	struct device_report *out = target;
	if (jp_next(&r->p) != JP_OBJECT) return refuse(r, "an object");
	out->has_deployment = true;
	return READ_MEMBERS(r, members, target);
}

/* ---- the message ---- */

static enum err read_boot(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_named(r, name_is_boot, out->boot, sizeof out->boot, "a boot id");
}

static enum err read_seq(struct reader *r, void *target)
{
	struct device_report *out = target;
	return read_int(r, 1, INT64_C(1) << 53, &out->seq, "an integer from 1 to 2^53");
}

static enum err read_ts(struct reader *r, void *target)
{
	struct device_report *out = target;
	out->has_ts = true;
	return read_int(r, INT64_MIN, INT64_MAX, &out->ts_ms, "an integer");
}

static enum err read_desired_rev(struct reader *r, void *target)
{
	struct device_report *out = target;
	out->has_desired_rev = true;
	return read_int(r, 0, INT64_MAX, &out->desired_rev, "an integer from 0");
}

/* One object and nothing behind it. */
static enum err read_message(struct reader *r, const struct member *members, size_t count, void *target)
{
	if (jp_next(&r->p) != JP_OBJECT) return refuse(r, "an object");
	enum err e = read_members(r, members, count, target);
	if (e == ERR_OK && jp_next(&r->p) != JP_END) return refuse(r, "the end");
	return e;
}

enum err report_parse(struct device_report *out, const char *text, size_t len, struct fault *f)
{
	static const struct member members[] = {
		{"boot", read_boot, true},
		{"seq", read_seq, true},
		{"ts", read_ts, false},
		{"desired_rev", read_desired_rev, false},
		{"enrol", read_enrol, false},
		{"running", read_running, false},
		{"capabilities", read_capabilities, false},
		{"deployment", read_deployment, false},
	};
	struct reader r = {.f = f};
	memset(out, 0, sizeof *out);
	out->deployment.attempt = 1;
	out->deployment.progress = -1;
	if (len > REPORT_BYTES) return fault_set(f, ERR_TOO_LARGE, "", "a report is at most %d bytes", REPORT_BYTES);
	jp_init(&r.p, text, len);
	return read_message(&r, members, sizeof members / sizeof members[0], out);
}

static enum err read_online(struct reader *r, void *target)
{
	struct device_status *out = target;
	enum jp_event e = jp_next(&r->p);
	out->online = e == JP_TRUE;
	return e == JP_TRUE || e == JP_FALSE ? ERR_OK : refuse(r, "true or false");
}

static enum err read_status_boot(struct reader *r, void *target)
{
	struct device_status *out = target;
	return read_named(r, name_is_boot, out->boot, sizeof out->boot, "a boot id");
}

enum err status_parse(struct device_status *out, const char *text, size_t len, struct fault *f)
{
	static const struct member members[] = {{"online", read_online, true}, {"boot", read_status_boot, false}};
	struct reader r = {.f = f};
	memset(out, 0, sizeof *out);
	if (len > STATUS_BYTES) return fault_set(f, ERR_TOO_LARGE, "", "a status is at most %d bytes", STATUS_BYTES);
	jp_init(&r.p, text, len);
	return read_message(&r, members, sizeof members / sizeof members[0], out);
}
