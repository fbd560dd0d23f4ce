/* What follows from what upstreams say: addresses, times, choices. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/retry.h"
#include "core/semver.h"
#include "core/upstream.h"

#define RETRY_BASE_MS 60000
#define RETRY_CAP_MS 3600000
#define RETRY_AFTER_MAX_MS INT64_C(86400000)
#define JITTER_PERCENT 10

/* ---- tables ---- */

static const char *const fault_texts[] = {
#define X(name, text, final) text,
	UPSTREAM_FAULT_TABLE(X)
#undef X
};
static const char *const status_texts[] = {
#define X(name, text, busy) text,
	UPSTREAM_STATUS_TABLE(X)
#undef X
};

const char *upstream_fault_text(enum upstream_fault f)
{
	return fault_texts[f];
}

bool upstream_fault_parse(const char *text, enum upstream_fault *out)
{
	for (int i = 0; i < UPSTREAM_FAULT_COUNT; i++) {
		if (strcmp(fault_texts[i], text) == 0) {
			*out = (enum upstream_fault)i;
			return true;
		}
	}
	return false;
}

const char *upstream_status_text(enum upstream_status s)
{
	return status_texts[s];
}

bool upstream_status_parse(const char *text, enum upstream_status *out)
{
	for (int i = 0; i < UPSTREAM_STATUS_COUNT; i++) {
		if (strcmp(status_texts[i], text) == 0) {
			*out = (enum upstream_status)i;
			return true;
		}
	}
	return false;
}

bool upstream_status_is_busy(enum upstream_status s)
{
	static const bool busy[] = {
#define X(name, text, b) b,
		UPSTREAM_STATUS_TABLE(X)
#undef X
	};
	return busy[s];
}

/* ---- addresses ---- */

static const char scheme[] = "https://";

/* Length of "https://host:port"; 0: there is none. */
static size_t origin_len(const char *url)
{
	if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
		return 0;
	size_t host = strcspn(url + sizeof scheme - 1, "/?#");
	return host > 0 ? sizeof scheme - 1 + host : 0;
}

bool upstream_url_is_good(const char *url)
{
	size_t origin = origin_len(url), len = strlen(url);
	if (origin == 0 || len >= UPSTREAM_URL_BYTES || url[sizeof scheme - 1] == ':')
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)url[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\\' || c == '#' || (c == '@' && i < origin))
			return false;
	}
	return true;
}

bool upstream_url_join(const char *base, const char *ref, char out[UPSTREAM_URL_BYTES])
{
	size_t origin = origin_len(base), path = strcspn(base, "?#"), colon = strcspn(ref, ":/?#");
	int len;
	if (origin == 0)
		return false;
	if (ref[colon] == ':')
		len = snprintf(out, UPSTREAM_URL_BYTES, "%s", ref);
	else if (ref[0] == '/' && ref[1] == '/')
		len = snprintf(out, UPSTREAM_URL_BYTES, "https:%s", ref);
	else if (ref[0] == '/')
		len = snprintf(out, UPSTREAM_URL_BYTES, "%.*s%s", (int)origin, base, ref);
	else if (ref[0] == '?')
		len = snprintf(out, UPSTREAM_URL_BYTES, "%.*s%s", (int)path, base, ref);
	else {
		while (path > origin && base[path - 1] != '/')
			path--;
		len = snprintf(out, UPSTREAM_URL_BYTES, "%.*s%s%s", (int)path, base, path == origin ? "/" : "", ref);
	}
	return len > 0 && len < UPSTREAM_URL_BYTES && ref[0] != '\0' && upstream_url_is_good(out);
}

bool upstream_url_same_origin(const char *a, const char *b)
{
	size_t n = origin_len(a);
	return n > 0 && n == origin_len(b) && strncasecmp(a, b, n) == 0;
}

/* ---- when ---- */

int64_t upstream_next_ms(int64_t now_ms, int64_t interval_ms, unsigned failures, int64_t retry_after_ms, uint64_t random)
{
	int64_t wait = retry_spread_ms(interval_ms, JITTER_PERCENT, random);
	if (failures > 0) {
		int64_t base = interval_ms < RETRY_BASE_MS ? interval_ms : RETRY_BASE_MS;
		int64_t cap = interval_ms > RETRY_CAP_MS ? interval_ms : RETRY_CAP_MS;
		wait = retry_delay_ms(failures - 1 < 40 ? failures - 1 : 40, base, cap, random);
	}
	if (retry_after_ms > RETRY_AFTER_MAX_MS)
		retry_after_ms = RETRY_AFTER_MAX_MS;
	return now_ms + (wait > retry_after_ms ? wait : retry_after_ms);
}

/* ---- which ---- */

static bool is_prerelease(const char *version)
{
	struct semver v;
	return semver_parse(version, strlen(version), &v) && v.pre.len > 0;
}

static bool is_newer(const char *a, const char *b)
{
	struct semver x, y;
	return semver_parse(a, strlen(a), &x) && (b == NULL || !semver_parse(b, strlen(b), &y) || semver_compare(&x, &y) > 0);
}

int upstream_choose(const struct upstream_offer *offers, size_t count, const struct upstream_rules *rules, char why[UPSTREAM_WHY_BYTES])
{
	const char *taken = NULL;
	int best = -1;
	snprintf(why, UPSTREAM_WHY_BYTES, "no version is published");
	for (size_t i = 0; i < count; i++) {
		if (upstream_status_is_busy(offers[i].status)) {
			snprintf(why, UPSTREAM_WHY_BYTES, "version %s is under way: %s", offers[i].version, upstream_status_text(offers[i].status));
			return -1;
		}
		if (offers[i].status != UPSTREAM_SEEN && is_newer(offers[i].version, taken))
			taken = offers[i].version;
	}
	for (size_t i = 0; i < count; i++) {
		bool may = !offers[i].is_withdrawn && (rules->takes_prereleases || !is_prerelease(offers[i].version));
		if (may && (best < 0 || is_newer(offers[i].version, offers[best].version)))
			best = (int)i;
	}
	if (best < 0) {
		if (count > 0)
			snprintf(why, UPSTREAM_WHY_BYTES, "all versions are withdrawn or pre-releases");
		return -1;
	}
	const struct upstream_offer *o = &offers[best];
	if (o->status == UPSTREAM_REVERTED)
		snprintf(why, UPSTREAM_WHY_BYTES, "version %s was reverted: a newer one is waited for", o->version);
	else if (o->status != UPSTREAM_SEEN)
		snprintf(why, UPSTREAM_WHY_BYTES, "version %s, the newest, is %s", o->version, upstream_status_text(o->status));
	else if (!is_newer(o->version, taken))
		snprintf(why, UPSTREAM_WHY_BYTES, "version %s is not newer than %s, which was taken before", o->version, taken);
	else if (!is_newer(o->version, rules->running))
		snprintf(why, UPSTREAM_WHY_BYTES, "version %s is not newer than %s, which devices run", o->version, rules->running);
	else {
		snprintf(why, UPSTREAM_WHY_BYTES, "version %s is new", o->version);
		return best;
	}
	return -1;
}

/* ---- quality ---- */

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);
	return n >= k && strcmp(s + n - k, tail) == 0;
}

static bool is_lower_better(const char *name, const struct upstream_quality_rule *rule)
{
	static const char *const heads[] = {"loss", "error", "latency", "energy"}, *const tails[] = {"_ms", "_uj", "_bytes", "_loss", "_error"};
	for (size_t i = 0; i < rule->lower_count; i++)
		if (strcmp(rule->lower_is_better[i], name) == 0)
			return true;
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		if (strncmp(name, heads[i], strlen(heads[i])) == 0)
			return true;
	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
		if (ends_with(name, tails[i]))
			return true;
	return false;
}

struct figure {
	char name[64];
	bool is_number;
	double value;
	struct slice text;
};

static bool next_figure(struct jp *p, struct figure *out)
{
	for (;;) {
		if (jp_next(p) != JP_KEY)
			return false;
		bool has_name = jp_unescape(p, out->name, sizeof out->name) >= 0;
		enum jp_event v = jp_next(p);
		out->is_number = v == JP_NUMBER && jp_double(p, &out->value);
		out->text = (struct slice){p->token, p->token_len};
		bool is_text = v == JP_STRING;
		if (!jp_skip(p, v))
			return false;
		if (has_name && (out->is_number || is_text))
			return true;
	}
}

static bool find_figure(struct slice object, const char *name, struct figure *out)
{
	struct jp p;
	jp_init(&p, object.data, object.len);
	if (object.len == 0 || jp_next(&p) != JP_OBJECT)
		return false;
	while (next_figure(&p, out))
		if (strcmp(out->name, name) == 0)
			return true;
	return false;
}

bool upstream_quality_holds(struct slice fresh, struct slice running, const struct upstream_quality_rule *rule, char why[UPSTREAM_WHY_BYTES])
{
	struct jp p;
	struct figure old, new;
	why[0] = '\0';
	jp_init(&p, running.data, running.len);
	if (running.len == 0 || jp_next(&p) != JP_OBJECT)
		return true;
	bool is_same_evaluation = !find_figure(running, "evaluated_on", &old) || !find_figure(fresh, "evaluated_on", &new) ||
		slice_same(old.text, new.text);
	while (next_figure(&p, &old)) {
		if (!old.is_number)
			continue;
		if (!is_same_evaluation) {
			snprintf(why, UPSTREAM_WHY_BYTES, "%s cannot be compared: it was evaluated on something else", old.name);
			return false;
		}
		if (!find_figure(fresh, old.name, &new) || !new.is_number) {
			snprintf(why, UPSTREAM_WHY_BYTES, "%s is not told, what runs has %g", old.name, old.value);
			return false;
		}
		double loss = is_lower_better(old.name, rule) ? new.value - old.value : old.value - new.value;
		if (loss > rule->margin + 1e-12 * fabs(old.value)) { /* 0.905 - 0.9 is not 0.005 */
			snprintf(why, UPSTREAM_WHY_BYTES, "%s: %g is worse than %g, which runs, by more than %g", old.name, new.value, old.value, rule->margin);
			return false;
		}
	}
	return true;
}
