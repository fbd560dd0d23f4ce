#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const struct {
	const char *word, *text;
} kinds[FAULT_COUNT] = {
#define X(name, word, text) {word, text},
	FAULT_TABLE(X)
#undef X
};

const char *fault_word(enum fault_kind k)
{
	return kinds[k].word;
}

const char *fault_text(enum fault_kind k)
{
	return kinds[k].text;
}

static bool refuse(char *reason, size_t size, const char *what, const char *text)
{
	snprintf(reason, size, "%s: \"%s\"", what, text);
	return false;
}

/* "kws=1.2.0" up to `end`. */
static bool parse_version(const char *text, const char *end, char model[65], char version[65])
{
	const char *equals = memchr(text, '=', (size_t)(end - text));
	if (!equals || equals == text || equals + 1 == end || equals - text > 64 || end - equals - 1 > 64)
		return false;
	snprintf(model, 65, "%.*s", (int)(equals - text), text);
	snprintf(version, 65, "%.*s", (int)(end - equals - 1), equals + 1);
	return true;
}

static bool parse_kind(const char *word, size_t len, enum fault_kind *kind)
{
	for (int i = 0; i < FAULT_COUNT; i++)
		if (strlen(kinds[i].word) == len && strncmp(kinds[i].word, word, len) == 0) {
			*kind = (enum fault_kind)i;
			return true;
		}
	return false;
}

bool faults_add(struct faults *f, const char *text, char *reason, size_t reason_size)
{
	struct fault_rule rule = {.duration_ms = 30000};
	const char *equals = strchr(text, '='), *at = strchr(text, '@');
	char *end;
	if (f->rule_count == FAULTS_MAX)
		return refuse(reason, reason_size, "too many faults", text);
	if (!equals || !parse_kind(text, (size_t)(equals - text), &rule.kind))
		return refuse(reason, reason_size, "no such fault", text);
	rule.share = strtod(equals + 1, &end);
	if (end == equals + 1 || rule.share < 0 || rule.share > 1)
		return refuse(reason, reason_size, "the share of devices must be 0 to 1", text);
	if (*end == '/') {
		char duration[32];
		size_t len = at ? (size_t)(at - end - 1) : strlen(end + 1);
		if (len >= sizeof duration)
			return refuse(reason, reason_size, "not a duration", text);
		snprintf(duration, sizeof duration, "%.*s", (int)len, end + 1);
		if (!str_parse_duration_ms(duration, &rule.duration_ms))
			return refuse(reason, reason_size, "not a duration", text);
		end += 1 + len;
	}
	if (at && (end != at || !parse_version(at + 1, at + 1 + strlen(at + 1), rule.model, rule.version)))
		return refuse(reason, reason_size, "after @ comes model=version", text);
	if (!at && *end)
		return refuse(reason, reason_size, "not a fault", text);
	f->rules[f->rule_count++] = rule;
	return true;
}

struct knob {
	const char *name;
	char operator;
	size_t offset;
};
static const struct knob knobs[] = {
	{"accuracy", '+', offsetof(struct model_effect, accuracy)},       {"latency", '*', offsetof(struct model_effect, latency_factor)},
	{"energy", '*', offsetof(struct model_effect, energy_factor)},    {"temperature", '+', offsetof(struct model_effect, temperature)},
	{"crash", '=', offsetof(struct model_effect, crash)},
};

/* One of "accuracy-0.05", "latency*1.3"; moves *text behind it. */
static bool parse_knob(const char **text, struct model_effect *effect)
{
	for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
		size_t len = strlen(knobs[i].name);
		if (strncmp(*text, knobs[i].name, len) != 0)
			continue;
		char op = (*text)[len], *end;
		bool is_sum = knobs[i].operator == '+' && (op == '+' || op == '-');
		if (!is_sum && op != knobs[i].operator)
			return false;
		double value = strtod(*text + len + 1, &end);
		if (end == *text + len + 1)
			return false;
		*(double *)((char *)effect + knobs[i].offset) = op == '-' ? -value : value;
		*text = end;
		return true;
	}
	return false;
}

/* Takes "#9f86d0" off the version. */
static bool split_hash(struct effect_rule *rule)
{
	char *hash = strchr(rule->version, '#');
	if (!hash)
		return true;
	*hash++ = '\0';
	return *hash && strspn(hash, "0123456789abcdef") == strlen(hash) && str_copy(rule->sha256, sizeof rule->sha256, hash);
}

static bool has_hash(const struct effect_rule *rule, const uint8_t *sha256)
{
	char hex[65] = "";
	for (size_t i = 0; sha256 && i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
	return str_starts(hex, rule->sha256);
}

bool faults_add_effect(struct faults *f, const char *text, char *reason, size_t reason_size)
{
	struct effect_rule rule = {.effect = {0}};
	const char *colon = strchr(text, ':'), *at;
	if (f->effect_count == EFFECTS_MAX)
		return refuse(reason, reason_size, "too many effects", text);
	if (!colon || !parse_version(text, colon, rule.model, rule.version) || !split_hash(&rule))
		return refuse(reason, reason_size, "an effect begins with model=version: or model=version#hex:", text);
	for (at = colon + 1; *at;) {
		if (!parse_knob(&at, &rule.effect) || (*at && *at != ','))
			return refuse(reason, reason_size, "one of accuracy-0.05 latency*1.3 energy*1.2 temperature+4 crash=0.1, with commas", text);
		at += *at == ',';
	}
	f->effects[f->effect_count++] = rule;
	return true;
}

const struct model_effect *faults_effect(const struct faults *f, const char *model, const char *version, const uint8_t *sha256)
{
	static const struct model_effect none;
	for (size_t i = 0; i < f->effect_count; i++)
		if (strcmp(f->effects[i].model, model) == 0 && strcmp(f->effects[i].version, version) == 0 &&
		    has_hash(&f->effects[i], sha256))
			return &f->effects[i].effect;
	return &none;
}

const struct fault_rule *faults_hit(const struct faults *f, enum fault_kind kind, uint64_t device_seed, const char *model, const char *version)
{
	for (size_t i = 0; i < f->rule_count; i++) {
		const struct fault_rule *r = &f->rules[i];
		if (r->kind != kind)
			continue;
		if (r->model[0] && (!model || strcmp(r->model, model) != 0 || strcmp(r->version, version) != 0))
			continue;
		char stream[32];
		snprintf(stream, sizeof stream, "rule%zu", i);
		struct rng rng = {seed_mix(device_seed, stream)};
		if (rng_uniform(&rng) < r->share)
			return r;
	}
	return NULL;
}
