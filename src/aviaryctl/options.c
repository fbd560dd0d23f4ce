/* From argv to words and options by the tables, and from options to a query and a body. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "command.h"
#include "file.h"

#define DOCUMENT_MAX (4u << 20)

enum result complain(enum result result, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fputs("aviaryctl: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	return result;
}

/* ---- the tables ---- */

const struct command_group *command_find_group(const char *name)
{
	for (size_t i = 0; command_groups[i] != NULL; i++)
		if (strcmp(command_groups[i]->name, name) == 0)
			return command_groups[i];
	return NULL;
}

const struct command *command_find(const struct command_group *g, const char *name)
{
	for (const struct command *m = g->commands; m->help != NULL; m++)
		if (name == NULL ? m->name == NULL : m->name != NULL && strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

static const struct command_option *find_option(const struct command_option *rows, const char *name, size_t len)
{
	for (; rows != NULL && rows->name != NULL; rows++)
		if (strlen(rows->name) == len && strncmp(rows->name, name, len) == 0)
			return rows;
	return NULL;
}

/* ---- values ---- */

static bool parse_int(const char *text, int64_t *out)
{
	char *end;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	*out = v;
	return errno == 0 && end != text && *end == '\0';
}

static bool parse_num(const char *text, double *out)
{
	char *end;
	*out = strtod(text, &end);
	return end != text && *end == '\0' && isfinite(*out);
}

/* "-1h" is an hour ago. */
static bool parse_time(const char *text, int64_t *out)
{
	int64_t ago_ms;
	if (text[0] == '-' && str_parse_duration_ms(text + 1, &ago_ms)) {
		*out = clock_wall_ms() - ago_ms;
		return true;
	}
	return strcmp(text, "now") == 0 ? (*out = clock_wall_ms(), true) : parse_int(text, out) || clock_parse(text, out);
}

static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);
	for (const char *at = choices; *at != '\0';) {
		size_t n = strcspn(at, " ");
		if (n == len && strncmp(at, text, n) == 0)
			return true;
		at += n + (at[n] == ' ');
	}
	return false;
}

static enum result check_value(const struct command_option *row, const char *text)
{
	int64_t i;
	double d;
	struct fault f = {"", ""};
	struct buf ignored = BUF_INIT;
	bool ok = true;
	const char *wanted = "";
	switch (row->kind) {
	case OPTION_INT: ok = parse_int(text, &i), wanted = "an integer"; break;
	case OPTION_NUM: ok = parse_num(text, &d), wanted = "a number"; break;
	case OPTION_DURATION: ok = str_parse_duration_ms(text, &i), wanted = "a duration, as 250ms, 30s, 15m, 24h or 7d,";
		break;
	case OPTION_TIME: ok = parse_time(text, &i), wanted = "a time, as 2026-01-31T12:00:00Z, -1h or milliseconds since "
		"1970,"; break;
	case OPTION_PAIRS: ok = strchr(text, '=') != NULL && text[0] != '=', wanted = "NAME=VALUE"; break;
	case OPTION_EACH:
		ok = row->put(&ignored, text, &f);
		wanted = f.detail;
		break;
	default: ok = str_is_utf8(text, strlen(text)), wanted = "UTF-8"; break;
	}
	buf_done(&ignored);
	if (!ok && row->kind == OPTION_EACH)
		return complain(RESULT_USAGE, "--%s %s: %s", row->name, text, wanted);
	if (!ok)
		return complain(RESULT_USAGE, "--%s: %s is wanted, not \"%s\"", row->name, wanted, text);
	if (row->choices != NULL && !is_choice(row->choices, text))
		return complain(RESULT_USAGE, "--%s: one of %s is wanted, not \"%s\"", row->name, row->choices, text);
	return RESULT_OK;
}

/* ---- parsing ---- */

static bool may_repeat(const struct command_option *row)
{
	return row->kind == OPTION_TEXTS || row->kind == OPTION_PAIRS || row->kind == OPTION_EACH;
}

static enum result add_option(struct ctl *c, const struct command_option *row, const char *text)
{
	if (!may_repeat(row) && option_given(c, row->name))
		return complain(RESULT_USAGE, "--%s is given twice", row->name);
	if (c->given_count == COMMAND_OPTIONS_MAX)
		return complain(RESULT_USAGE, "more than %d options", COMMAND_OPTIONS_MAX);
	enum result r = row->kind != OPTION_FLAG ? check_value(row, text) : RESULT_OK;
	c->given[c->given_count++] = (struct given_option){row, text};
	return r;
}

/* argv[*at] is an option; moves *at to its last word. */
static enum result take_option(struct ctl *c, int argc, char **argv, int *at)
{
	const char *word = argv[*at], *name = word + 2;
	if (strcmp(word, "-h") == 0)
		name = "help";
	else if (strcmp(word, "-q") == 0)
		name = "quiet";
	else if (word[1] != '-')
		return complain(RESULT_USAGE, "no such option: %s", word);
	const char *value = strchr(name, '=');
	size_t len = value != NULL ? (size_t)(value - name) : strlen(name);
	const struct command_option *row = c->command != NULL ? find_option(c->command->options, name, len) : NULL;
	if (row == NULL)
		row = find_option(global_options, name, len);
	if (row == NULL)
		return complain(RESULT_USAGE, "%s%s%s has no option --%.*s", c->group ? c->group->name : "aviaryctl",
			c->command && c->command->name ? " " : "",
		                c->command && c->command->name ? c->command->name : "", (int)len, name);
	if (row->kind == OPTION_FLAG)
		return value == NULL ? add_option(c, row, NULL) : complain(RESULT_USAGE, "--%s takes no value", row->name);
	if (value == NULL && *at + 1 == argc)
		return complain(RESULT_USAGE, "--%s wants %s", row->name, row->value);
	return add_option(c, row, value != NULL ? value + 1 : argv[++*at]);
}

/* The first word is a group, the second one its command, where it has one of that name. */
static enum result take_word(struct ctl *c, const char *word)
{
	if (c->group == NULL) {
		c->group = command_find_group(word);
		if (c->group == NULL)
			return complain(RESULT_USAGE, "no such command: %s (see aviaryctl help)", word);
		c->command = command_find(c->group, NULL);
		return RESULT_OK;
	}
	const struct command *m = c->word_count == 0 && (c->command == NULL || c->command->name == NULL)
		? command_find(c->group, word) : NULL;
	if (m != NULL && m->name != NULL) {
		c->command = m;
		return RESULT_OK;
	}
	if (c->command == NULL)
		return complain(RESULT_USAGE, "%s has no command %s (see aviaryctl help %s)", c->group->name, word,
			c->group->name);
	if (c->word_count == COMMAND_WORDS_MAX)
		return complain(RESULT_USAGE, "more than %d words", COMMAND_WORDS_MAX);
	c->words[c->word_count++] = word;
	return RESULT_OK;
}

/* "MODEL VERSION [FILE]", "DEVICE..." */
static enum result check_words(const struct ctl *c)
{
	size_t least = 0, most = 0;
	const char *args = c->command->args ? c->command->args : "";
	for (const char *at = args; *at != '\0';) {
		size_t len = strcspn(at, " ");
		bool many = len > 3 && strstr(at, "...") != NULL && strcspn(at, ".") < len;
		least += at[0] != '[';
		most = many ? COMMAND_WORDS_MAX : most + 1;
		at += len + (at[len] == ' ');
	}
	if (c->word_count >= least && c->word_count <= most)
		return RESULT_OK;
	return complain(RESULT_USAGE, "usage: aviaryctl %s%s%s %s", c->group->name, c->command->name ? " " : "",
		c->command->name ? c->command->name : "", args);
}

enum result command_parse(struct ctl *c, int argc, char **argv)
{
	enum result r = RESULT_OK;
	bool only_words = false;
	for (int i = 1; i < argc && r == RESULT_OK; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0)
			only_words = true;
		else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0')
			r = take_option(c, argc, argv, &i);
		else
			r = take_word(c, argv[i]);
	}
	if (r != RESULT_OK || option_given(c, "help") || option_given(c, "version"))
		return r;
	if (c->group == NULL)
		return complain(RESULT_USAGE, "a command is wanted (see aviaryctl help)");
	if (c->command == NULL)
		return complain(RESULT_USAGE, "%s wants a command (see aviaryctl help %s)", c->group->name, c->group->name);
	return check_words(c);
}

/* ---- what was given ---- */

static const struct given_option *find_given(const struct ctl *c, const char *name, size_t at)
{
	for (size_t i = 0; i < c->given_count; i++)
		if (strcmp(c->given[i].row->name, name) == 0 && at-- == 0)
			return &c->given[i];
	return NULL;
}

bool option_given(const struct ctl *c, const char *name)
{
	return find_given(c, name, 0) != NULL;
}

const char *option_text_at(const struct ctl *c, const char *name, size_t at)
{
	const struct given_option *g = find_given(c, name, at);
	return g != NULL ? g->text : NULL;
}

const char *option_text(const struct ctl *c, const char *name)
{
	return option_text_at(c, name, 0);
}

static bool integer_of(const struct given_option *g, int64_t *v)
{
	switch (g->row->kind) {
	case OPTION_INT: return parse_int(g->text, v);
	case OPTION_DURATION: return str_parse_duration_ms(g->text, v);
	case OPTION_TIME: return parse_time(g->text, v);
	default: return false;
	}
}

int64_t option_int(const struct ctl *c, const char *name, int64_t otherwise)
{
	const struct given_option *g = find_given(c, name, 0);
	int64_t v;
	return g != NULL && integer_of(g, &v) ? v : otherwise;
}

double option_num(const struct ctl *c, const char *name, double otherwise)
{
	const struct given_option *g = find_given(c, name, 0);
	double v;
	return g != NULL && parse_num(g->text, &v) ? v : otherwise;
}

const char *command_word(const struct ctl *c, size_t at)
{
	return at < c->word_count ? c->words[at] : NULL;
}

/* ---- query ---- */

void percent_encode(struct buf *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')
			|| strchr("-._~", *p) != NULL;
		buf_printf(out, plain ? "%c" : "%%%02X", *p);
	}
}

static void write_member(const struct command_option *row, struct buf *out)
{
	if (row->member != NULL) {
		buf_str(out, row->member);
		return;
	}
	for (const char *p = row->name; *p != '\0'; p++)
		buf_char(out, *p == '-' ? '_' : *p);
}

void option_query(const struct ctl *c, struct buf *out)
{
	char mark = '?';
	for (size_t i = 0; i < c->given_count; i++) {
		const struct given_option *g = &c->given[i];
		int64_t v;
		if (g->row->use != USE_QUERY)
			continue;
		buf_char(out, mark);
		write_member(g->row, out);
		buf_char(out, '=');
		if (g->row->kind == OPTION_FLAG)
			buf_str(out, "true");
		else if (integer_of(g, &v))
			buf_printf(out, "%lld", (long long)v);
		else
			percent_encode(out, g->text);
		mark = '&';
	}
}

/* ---- body ---- */

enum result option_document(const char *text, struct buf *out)
{
	if (text[0] != '@' && strcmp(text, "-") != 0) {
		buf_str(out, text);
		return RESULT_OK;
	}
	return file_read(text[0] == '@' ? text + 1 : text, DOCUMENT_MAX, out);
}

static enum result write_value(const struct ctl *c, const struct given_option *g, struct buf *out)
{
	int64_t i;
	double d;
	struct fault f;
	if (g->row->kind == OPTION_FLAG) {
		json_put_bool(out, true);
	} else if (integer_of(g, &i)) {
		json_put_int(out, i);
	} else if (g->row->kind == OPTION_NUM && parse_num(g->text, &d)) {
		json_put_num(out, d);
	} else if (g->row->kind == OPTION_DOC) {
		return option_document(g->text, out);
	} else if (g->row->kind == OPTION_TEXTS || g->row->kind == OPTION_EACH) {
		json_open_array(out);
		for (size_t at = 0; (g = find_given(c, g->row->name, at)) != NULL; at++) {
			if (g->row->kind == OPTION_TEXTS)
				json_put_str(out, g->text);
			else if (!g->row->put(out, g->text, &f))
				abort(); /* it was checked */
			if (find_given(c, g->row->name, at + 1) == NULL)
				break;
		}
		json_close_array(out);
	} else {
		json_put_str(out, g->text);
	}
	return RESULT_OK;
}

static void write_pair(const struct given_option *g, struct buf *out)
{
	const char *eq = strchr(g->text, '=');
	char *name = strndup(g->text, (size_t)(eq - g->text));
	if (name == NULL)
		abort();
	json_open_object(out);
	json_str(out, name, eq[1] != '\0' || !g->row->empty_is_null ? eq + 1 : NULL);
	json_close_object(out);
	free(name);
}

/* {"judge":{"alpha":0.05}} for --alpha 0.05 */
static enum result write_nested(const struct ctl *c, const struct given_option *g, struct buf *out)
{
	struct buf path = BUF_INIT;
	int depth = 0;
	write_member(g->row, &path);
	for (char *at = path.data; at != NULL; depth++) {
		char *dot = strchr(at, '.');
		if (dot != NULL)
			*dot = '\0';
		json_open_object(out);
		json_key(out, at);
		at = dot != NULL ? dot + 1 : NULL;
	}
	enum result r = RESULT_OK;
	if (g->row->kind == OPTION_PAIRS)
		write_pair(g, out);
	else
		r = write_value(c, g, out);
	while (depth-- > 0)
		json_close_object(out);
	buf_done(&path);
	return r;
}

static void write_node(struct buf *out, const struct json *j)
{
	struct buf text = BUF_INIT;
	json_print(j, &text);
	json_put_raw(out, buf_cstr(&text));
	buf_done(&text);
}

void json_write_merged(struct buf *out, const struct json *under, const struct json *over)
{
	if (over == NULL || json_type(over) != JSON_OBJECT || under == NULL || json_type(under) != JSON_OBJECT) {
		write_node(out, over != NULL ? over : under);
		return;
	}
	json_open_object(out);
	for (const struct json *m = json_first(under); m != NULL; m = json_next(m)) {
		json_key(out, json_name(m));
		json_write_merged(out, m, json_get(over, json_name(m)));
	}
	for (const struct json *m = json_first(over); m != NULL; m = json_next(m)) {
		if (json_get(under, json_name(m)) != NULL)
			continue;
		json_key(out, json_name(m));
		write_node(out, m);
	}
	json_close_object(out);
}

static enum result merge_into(struct buf *body, const char *text, const char *what)
{
	struct fault f = {"", ""};
	struct json *under = NULL, *over = NULL;
	struct buf merged = BUF_INIT;
	enum result r = RESULT_OK;
	if (json_parse(text, strlen(text), &over, &f) != ERR_OK)
		r = complain(RESULT_USAGE, "%s: %s", what, f.detail);
	else if (json_parse(body->data, body->len, &under, &f) != ERR_OK)
		abort(); /* written by ourselves */
	if (r == RESULT_OK && json_type(over) != JSON_OBJECT)
		r = complain(RESULT_USAGE, "%s: a JSON object is wanted", what);
	if (r == RESULT_OK) {
		json_write_merged(&merged, under, over);
		buf_clear(body);
		buf_append(body, merged.data, merged.len);
	}
	buf_done(&merged);
	json_free(under);
	json_free(over);
	return r;
}

/* The word that names what is made: "device add DEVICE" has it as the member id. */
static void write_word(const struct ctl *c, struct buf *out)
{
	size_t at = 0;
	for (const char *p = c->command->path; (p = strstr(p, "{}")) != NULL; p += 2)
		at++;
	json_open_object(out);
	json_str(out, c->command->word_member, command_word(c, at));
	json_close_object(out);
}

enum result option_body(const struct ctl *c, const char *base, struct buf *out)
{
	if (c->command->word_member != NULL)
		write_word(c, out);
	else
		buf_str(out, "{}");
	enum result r = base != NULL ? merge_into(out, base, "the document") : RESULT_OK;
	for (size_t i = 0; r == RESULT_OK && i < c->given_count; i++) {
		const struct given_option *g = &c->given[i];
		struct buf one = BUF_INIT;
		bool again = g->row->kind != OPTION_PAIRS && find_given(c, g->row->name, 0) != g; /* an array is written once */
		if (g->row->use == USE_BODY && !again) {
			r = write_nested(c, g, &one);
			if (r == RESULT_OK)
				r = merge_into(out, buf_cstr(&one), g->row->name);
		}
		buf_done(&one);
	}
	return r;
}
