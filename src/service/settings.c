#include "service/settings.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "service/access.h"
#include "service/unit.h"
#include "store/setting_store.h"

#define COUNT_MAX 100
#define TARGET_INTERVALS 16 /* overrides of a polling time */

struct row {
	const char *key;
	enum setting_type type;
	const char *standard, *doc;
};
static const struct row rows[SETTINGS] = {
#define X(name, key, type, standard, doc) [SETTING_##name] = {key, SETTING_IS_##type, standard, doc},
	SETTINGS_TABLE(X)
#undef X
};

struct listener {
	void (*fn)(void *ctx, enum setting which);
	void *ctx;
};

struct settings {
	struct setting_store *store;
	char *standard[SETTINGS]; /* NULL: the table's */
	char *value[SETTINGS];    /* NULL: not set */
	struct listener listeners[SETTING_LISTENERS_MAX];
	size_t listener_count;
	bool touched; /* since the last commit */
};

/* ---- values ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool parse_clock(const char *t, size_t len, int64_t *ms)
{
	if (len != 8)
		return false;
	for (size_t i = 0; i < 8; i++) {
		if (i % 3 == 2 ? t[i] != ':' : !is_digit(t[i]))
			return false;
	}
	int h = (t[0] - '0') * 10 + t[1] - '0', m = (t[3] - '0') * 10 + t[4] - '0', s = (t[6] - '0') * 10 + t[7] - '0';
	*ms = ((int64_t)h * 3600 + m * 60 + s) * 1000;
	return h < 24 && m < 60 && s < 60;
}

bool settings_parse_duration(const char *text, int64_t *ms)
{
	return parse_clock(text, strlen(text), ms);
}

bool settings_parse_interval(const char *text, size_t len, int64_t *ms, int *jitter_percent)
{
	*jitter_percent = 0;
	if (len == 8)
		return parse_clock(text, len, ms);
	if (len < 11 || len > 12 || text[8] != '~' || text[len - 1] != '%' || !is_digit(text[9]) || (len == 12 && !is_digit(text[10])))
		return false;
	*jitter_percent = len == 12 ? (text[9] - '0') * 10 + text[10] - '0' : text[9] - '0';
	return parse_clock(text, 8, ms);
}

static enum err check_interval(const struct settings *st, const char *text, size_t len, struct fault *f)
{
	int64_t ms;
	int jitter;
	while (len > 0 && text[len - 1] == ' ')
		len--;
	if (!settings_parse_interval(text, len, &ms, &jitter))
		return fault_set(f, ERR_BAD_REQUEST, "/value", "an interval HH:mm:ss, with ~NN%% behind it or not, is wanted");
	if (ms < settings_ms(st, SETTING_POLLING_MIN) || ms > settings_ms(st, SETTING_POLLING_MAX))
		return fault_set(f, ERR_BAD_REQUEST, "/value", "the interval is not between %s and %s", settings_text(st, SETTING_POLLING_MIN),
			settings_text(st, SETTING_POLLING_MAX));
	return ERR_OK;
}

/* Where the override that begins here ends: at the first comma behind its "->", as an RSQL may have commas of its own. */
static const char *end_of_override(const char *text, const char **arrow)
{
	*arrow = strstr(text, "->");
	const char *comma = *arrow != NULL ? strchr(*arrow, ',') : NULL;
	return comma != NULL ? comma : text + strlen(text);
}

static enum err check_polling(const struct settings *st, const char *text, struct fault *f)
{
	size_t len = strcspn(text, ",");
	enum err e = check_interval(st, text, len, f);
	size_t count = 0;
	for (text += len; e == ERR_OK && *text == ',';) {
		const char *arrow;
		text += 1 + strspn(text + 1, " ");
		const char *end = end_of_override(text, &arrow);
		if (arrow == NULL || arrow == text || ++count > TARGET_INTERVALS)
			return fault_set(f, ERR_BAD_REQUEST, "/value", "at most %d overrides as <RSQL> -> HH:mm:ss are wanted behind the interval",
				TARGET_INTERVALS);
		arrow += 2 + strspn(arrow + 2, " ");
		e = check_interval(st, arrow, (size_t)(end - arrow), f);
		text = end;
	}
	return e;
}

static enum err check_value(const struct settings *st, enum setting which, const char *value, struct fault *f)
{
	int64_t n;
	char *end;
	if (strlen(value) > SETTING_VALUE_MAX || !str_is_utf8(value, strlen(value)))
		return fault_set(f, ERR_BAD_REQUEST, "/value", "at most %d bytes of UTF-8 are wanted", SETTING_VALUE_MAX);
	switch (rows[which].type) {
	case SETTING_IS_POLLING:
		return check_polling(st, value, f);
	case SETTING_IS_DURATION:
		return settings_parse_duration(value, &n) ? ERR_OK : fault_set(f, ERR_BAD_REQUEST, "/value", "a duration HH:mm:ss is wanted");
	case SETTING_IS_COUNT:
		n = strtol(value, &end, 10);
		if (is_digit(value[0]) && *end == '\0' && n >= 1 && n <= COUNT_MAX)
			return ERR_OK;
		return fault_set(f, ERR_BAD_REQUEST, "/value", "a number from 1 to %d is wanted", COUNT_MAX);
	case SETTING_IS_FLAG:
		if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
			return ERR_OK;
		return fault_set(f, ERR_BAD_REQUEST, "/value", "true or false is wanted");
	case SETTING_IS_TEXT:
	case SETTING_IS_SECRET:
		break;
	}
	return ERR_OK;
}

/* ---- opening ---- */

static char *copy(const char *text)
{
	char *out = strdup(text);
	if (out == NULL)
		abort();
	return out;
}

static void take_row(void *ctx, const char *key, const char *value)
{
	struct settings *st = ctx;
	enum setting which;
	if (!settings_find(key, &which))
		return; /* of another version of the program */
	free(st->value[which]);
	st->value[which] = copy(value);
}

static enum err load(struct settings *st, struct fault *f)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		free(st->value[i]);
		st->value[i] = NULL;
	}
	return setting_store_each(st->store, take_row, st, f);
}

static void tell(const struct settings *st, enum setting which)
{
	for (size_t i = 0; i < st->listener_count; i++)
		st->listeners[i].fn(st->listeners[i].ctx, which);
}

static void on_committed(void *ctx)
{
	((struct settings *)ctx)->touched = false;
}

/* Aborts when the store cannot be read: the mirror would lie. */
static void on_rolled_back(void *ctx)
{
	struct settings *st = ctx;
	struct fault f;
	if (!st->touched)
		return;
	if (load(st, &f) != ERR_OK)
		abort();
	tell(st, SETTINGS);
}

static enum err take_standards(struct settings *st, const char *const standard[SETTINGS], struct fault *f)
{
	/* The bounds first: they are what the others are checked by. */
	static const enum setting first[] = {SETTING_POLLING_MIN, SETTING_POLLING_MAX};
	for (size_t i = 0; standard != NULL && i < 2 + SETTINGS; i++) {
		enum setting which = i < 2 ? first[i] : (enum setting)(i - 2);
		if (standard[which] == NULL)
			continue;
		enum err e = check_value(st, which, standard[which], f);
		if (e != ERR_OK)
			return fault_set(f, ERR_INVALID, "", "the default of %s cannot be \"%.80s\"", rows[which].key, standard[which]);
		free(st->standard[which]);
		st->standard[which] = copy(standard[which]);
	}
	return ERR_OK;
}

enum err settings_open(struct services *s, const char *const standard[SETTINGS], struct settings **out, struct fault *f)
{
	struct settings *st = calloc(1, sizeof *st);
	if (st == NULL)
		abort();
	*out = NULL;
	enum err e = setting_store_open(s->db, &st->store, f);
	if (e == ERR_OK)
		e = take_standards(st, standard, f);
	if (e == ERR_OK)
		e = load(st, f);
	if (e != ERR_OK) {
		settings_close(st);
		return e;
	}
	units_listen(s->units, (struct unit_listener){.committed = on_committed, .undone = on_rolled_back, .lost = on_rolled_back, .ctx = st});
	*out = st;
	return ERR_OK;
}

void settings_close(struct settings *st)
{
	if (st == NULL)
		return;
	for (size_t i = 0; i < SETTINGS; i++) {
		free(st->standard[i]);
		free(st->value[i]);
	}
	setting_store_close(st->store);
	free(st);
}

void settings_listen(struct settings *st, void (*fn)(void *ctx, enum setting which), void *ctx)
{
	assert(st->listener_count < SETTING_LISTENERS_MAX);
	st->listeners[st->listener_count++] = (struct listener){fn, ctx};
}

/* ---- reading ---- */

const char *settings_text(const struct settings *st, enum setting which)
{
	assert(which < SETTINGS);
	if (st != NULL && st->value[which] != NULL)
		return st->value[which];
	return st != NULL && st->standard[which] != NULL ? st->standard[which] : rows[which].standard;
}

bool settings_flag(const struct settings *st, enum setting which)
{
	assert(rows[which].type == SETTING_IS_FLAG);
	return strcmp(settings_text(st, which), "true") == 0;
}

int64_t settings_int(const struct settings *st, enum setting which)
{
	assert(rows[which].type == SETTING_IS_COUNT);
	return strtol(settings_text(st, which), NULL, 10);
}

int64_t settings_ms(const struct settings *st, enum setting which)
{
	int64_t ms = 0;
	bool ok = settings_parse_duration(settings_text(st, which), &ms);
	assert(rows[which].type == SETTING_IS_DURATION && ok);
	(void)ok;
	return ms;
}

bool settings_is_set(const struct settings *st, enum setting which)
{
	return st != NULL && st->value[which] != NULL;
}

const char *settings_key(enum setting which)
{
	return rows[which].key;
}

enum setting_type settings_type(enum setting which)
{
	return rows[which].type;
}

const char *settings_doc(enum setting which)
{
	return rows[which].doc;
}

bool settings_find(const char *key, enum setting *which)
{
	for (size_t i = 0; i < SETTINGS; i++) {
		if (strcmp(rows[i].key, key) == 0) {
			*which = (enum setting)i;
			return true;
		}
	}
	return false;
}

/* ---- writing ---- */

static const char *audit_json(struct call *c, enum setting which, const char *value)
{
	if (value == NULL)
		return NULL;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	if (rows[which].type == SETTING_IS_SECRET)
		json_bool(&b, "is_set", value[0] != '\0');
	else
		json_str(&b, "value", value);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

enum err settings_set(struct call *c, enum setting which, const char *value)
{
	struct settings *st = c->s->settings;
	const char *before = st->value[which], *key = rows[which].key;
	enum err e = value != NULL ? check_value(st, which, value, c->fault) : ERR_OK;
	if (e == ERR_OK)
		e = value != NULL ? setting_store_put(st->store, key, value, c->now_ms, c->fault) : setting_store_delete(st->store, key, c->fault);
	if (e == ERR_OK)
		e = audit_append(c, "setting.set", arena_printf(c->arena, "settings/%s", key), audit_json(c, which, before),
			audit_json(c, which, value));
	if (e != ERR_OK)
		return e;
	st->touched = true;
	free(st->value[which]);
	st->value[which] = value != NULL ? copy(value) : NULL;
	tell(st, which);
	return ERR_OK;
}
