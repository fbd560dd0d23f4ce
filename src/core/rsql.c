/* Parsing: text to tree. Evaluation and printing are in rsql_eval.c. */
#include "core/rsql.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpull.h"
#include "base/str.h"

static const char *const op_texts[RSQL_OP_COUNT] = {
#define X(name, text) text,
	RSQL_OP_TABLE(X)
#undef X
};

const char *rsql_op_text(enum rsql_op op)
{
	assert(op < RSQL_OP_COUNT);
	return op_texts[op];
}

/* As written; a longer spelling before its own beginning. */
static const struct {
	const char *text;
	enum rsql_op op;
} spellings[] = {
	{"==", RSQL_EQ},   {"!=", RSQL_NE},   {"=lt=", RSQL_LT}, {"=le=", RSQL_LE}, {"=gt=", RSQL_GT}, {"=ge=", RSQL_GE},
	{"<=", RSQL_LE},   {"<", RSQL_LT},    {">=", RSQL_GE},   {">", RSQL_GT},
	{"=in=", RSQL_IN}, {"=out=", RSQL_OUT},
};

struct parser {
	struct rsql *q;
	const char *text;
	size_t at;
	const struct rsql_field *fields;
	size_t field_count;
	int64_t now_ms;
	unsigned depth;
	struct rsql_error *e;
	enum err error; /* what refuse() was given */
};

enum { NONE = -1 };

/* Says what is wrong at a place; every caller then returns NONE or false. */
static bool refuse_as(struct parser *p, enum err error, size_t at, const char *message, const char *about)
{
	p->error = error;
	if (p->e == NULL) return false;
	p->e->at = at;
	snprintf(p->e->message, sizeof p->e->message, "%s%s%.64s%s", message, about ? " \"" : "", about ? about : "",
	         about ? "\"" : "");
	return false;
}

static bool expected(struct parser *p, const char *what)
{
	char message[128];
	const char *found = p->text + p->at;
	if (*found == '\0') snprintf(message, sizeof message, "expected %s, found the end", what);
	else snprintf(message, sizeof message, "expected %s, found", what);
	return refuse_as(p, ERR_INVALID, p->at, message, *found ? found : NULL);
}

static void skip_spaces(struct parser *p)
{
	while (p->text[p->at] == ' ') p->at++;
}

static bool is_word_char(char c)
{
	return c != '\0' && strchr(" \"'();,=!~<>", c) == NULL;
}

static size_t word_len(const struct parser *p)
{
	size_t n = 0;
	while (is_word_char(p->text[p->at + n])) n++;
	return n;
}

/* The pool holds every decoded text with its NUL. A decoded text is never longer than what was written, and each has an
 * operator, comma or parenthesis beside it to pay for the NUL. */
static void put(struct parser *p, char c)
{
	assert(p->q->pool_used < sizeof p->q->pool);
	p->q->pool[p->q->pool_used++] = c;
}

/* ---- values ---- */

/* 'text' or "text"; false when it does not end. In a pattern, unescaped stars become wildcards. */
static bool read_quoted(struct parser *p, bool pattern, struct rsql_value *v)
{
	char quote = p->text[p->at];
	size_t start = p->at++;
	for (;; p->at++) {
		char c = p->text[p->at];
		if (c == quote) break;
		bool is_escaped = c == '\\' && p->text[p->at + 1] != '\0';
		if (is_escaped) c = p->text[++p->at];
		if (c == '\0') return refuse_as(p, ERR_INVALID, start, "this quote is not closed", NULL);
		bool is_wildcard = pattern && c == '*' && !is_escaped;
		v->is_pattern |= is_wildcard;
		put(p, is_wildcard ? RSQL_WILDCARD : c);
	}
	p->at++;
	return true;
}

static bool read_word(struct parser *p, bool pattern, struct rsql_value *v)
{
	size_t n = word_len(p);
	if (n == 0) return expected(p, "a value");
	for (size_t i = 0; i < n; i++, p->at++) {
		bool is_wildcard = pattern && p->text[p->at] == '*';
		v->is_pattern |= is_wildcard;
		put(p, is_wildcard ? RSQL_WILDCARD : p->text[p->at]);
	}
	return true;
}

/* The whole text is one JSON number. */
static bool parse_number(const struct rsql_value *v, struct jp *p)
{
	struct jp after;
	jp_init(p, v->text, v->len);
	if (jp_next(p) != JP_NUMBER) return false;
	after = *p;
	return jp_next(&after) == JP_END;
}

/* now, now-1h, now+30m */
static bool parse_relative(const char *text, int64_t now_ms, int64_t *time_ms)
{
	int64_t by = 0;
	if (strncmp(text, "now", 3) != 0) return false;
	text += 3;
	bool is_back = *text == '-';
	if (*text != '\0' && *text != '-' && *text != '+') return false;
	if (*text != '\0' && !str_parse_duration_ms(text + 1, &by)) return false;
	return !__builtin_add_overflow(now_ms, is_back ? -by : by, time_ms);
}

static bool check_number(struct parser *p, struct rsql_value *v)
{
	struct jp number;
	(void)p;
	return parse_number(v, &number) && jp_double(&number, &v->number);
}

static bool check_time(struct parser *p, struct rsql_value *v)
{
	struct jp number;
	if (parse_relative(v->text, p->now_ms, &v->time_ms)) return true;
	if (parse_number(v, &number)) return jp_int(&number, &v->time_ms);
	return clock_parse(v->text, &v->time_ms);
}

static bool check_bool(struct parser *p, struct rsql_value *v)
{
	(void)p;
	v->boolean = strcmp(v->text, "true") == 0;
	return v->boolean || strcmp(v->text, "false") == 0;
}

static bool check_text(struct parser *p, struct rsql_value *v)
{
	(void)p;
	(void)v;
	return true;
}

static const struct {
	bool (*check)(struct parser *, struct rsql_value *);
	const char *expected;
} types[] = {
	[RSQL_TEXT] = {check_text, "a text"},
	[RSQL_NUMBER] = {check_number, "a number"},
	[RSQL_TIME] = {check_time, "a time: RFC 3339, milliseconds since 1970, or now-1h"},
	[RSQL_BOOL] = {check_bool, "true or false"},
};

static bool read_value(struct parser *p, struct rsql_node *node)
{
	struct rsql *q = p->q;
	skip_spaces(p);
	if (q->value_count == RSQL_VALUES) return refuse_as(p, ERR_TOO_LARGE, p->at, "too many values", NULL);
	struct rsql_value *v = &q->values[q->value_count];
	bool pattern = node->field->type == RSQL_TEXT && (node->op == RSQL_EQ || node->op == RSQL_NE);
	size_t start = p->at, pool = q->pool_used;
	*v = (struct rsql_value){.text = q->pool + pool};
	bool is_quoted = p->text[p->at] == '"' || p->text[p->at] == '\'';
	if (!(is_quoted ? read_quoted(p, pattern, v) : read_word(p, pattern, v))) return false;
	v->len = q->pool_used - pool;
	put(p, '\0');
	if (!types[node->field->type].check(p, v)) {
		p->at = start;
		return expected(p, types[node->field->type].expected);
	}
	q->value_count++;
	node->value_count++;
	return true;
}

/* One value, or for =in= and =out= a list of them. */
static bool read_values(struct parser *p, struct rsql_node *node)
{
	node->value_first = p->q->value_count;
	skip_spaces(p);
	bool takes_list = node->op == RSQL_IN || node->op == RSQL_OUT;
	if (!takes_list || p->text[p->at] != '(') return read_value(p, node);
	do {
		p->at++; /* the parenthesis or a comma */
		if (!read_value(p, node)) return false;
		skip_spaces(p);
	} while (p->text[p->at] == ',');
	if (p->text[p->at] != ')') return expected(p, "\",\" or \")\"");
	p->at++;
	return true;
}

/* ---- constraints ---- */

static bool find_field(struct parser *p, struct slice selector, struct rsql_node *node)
{
	for (size_t i = 0; i < p->field_count; i++) {
		const struct rsql_field *f = &p->fields[i];
		size_t n = strlen(f->name);
		if (f->is_prefix ? selector.len <= n : selector.len != n) continue;
		if (memcmp(selector.data, f->name, n) != 0) continue;
		struct slice key = {selector.data + n, selector.len - n};
		if (f->is_prefix && !name_is_name(key)) continue;
		node->field = f;
		node->key = (struct slice){p->q->pool + p->q->pool_used, key.len};
		for (size_t k = 0; k < key.len; k++) put(p, key.data[k]);
		put(p, '\0');
		return true;
	}
	return false;
}

static bool read_selector(struct parser *p, struct rsql_node *node)
{
	char name[72];
	struct slice selector = {p->text + p->at, word_len(p)};
	if (selector.len == 0) return expected(p, "a field or \"(\"");
	if (!find_field(p, selector, node)) {
		snprintf(name, sizeof name, "%.*s", selector.len > 64 ? 64 : (int)selector.len, selector.data);
		return refuse_as(p, ERR_INVALID, p->at, "there is no field", name);
	}
	p->at += selector.len;
	return true;
}

static bool read_operator(struct parser *p, struct rsql_node *node)
{
	skip_spaces(p);
	for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
		if (!str_starts(p->text + p->at, spellings[i].text)) continue;
		node->op = spellings[i].op;
		if (node->field->type == RSQL_BOOL && node->op != RSQL_EQ && node->op != RSQL_NE)
			return refuse_as(p, ERR_INVALID, p->at, "only == and != go with true or false", NULL);
		p->at += strlen(spellings[i].text);
		return true;
	}
	return expected(p, "an operator");
}

static int new_node(struct parser *p)
{
	struct rsql *q = p->q;
	if (q->node_count == RSQL_NODES) {
		refuse_as(p, ERR_TOO_LARGE, p->at, "too many conditions", NULL);
		return NONE;
	}
	q->nodes[q->node_count] = (struct rsql_node){.first = NONE, .next = NONE};
	return q->node_count++;
}

static int parse_or(struct parser *p);

static int parse_group(struct parser *p)
{
	if (p->depth == RSQL_DEPTH) {
		refuse_as(p, ERR_TOO_LARGE, p->at, "parentheses are nested too deeply", NULL);
		return NONE;
	}
	p->depth++;
	p->at++;
	int node = parse_or(p);
	if (node == NONE) return NONE;
	if (p->text[p->at] != ')') {
		expected(p, "\")\", \";\" or \",\"");
		return NONE;
	}
	p->at++;
	p->depth--;
	return node;
}

static int parse_constraint(struct parser *p)
{
	skip_spaces(p);
	if (p->text[p->at] == '(') return parse_group(p);
	int at = new_node(p);
	if (at == NONE) return NONE;
	struct rsql_node *node = &p->q->nodes[at];
	if (!read_selector(p, node) || !read_operator(p, node) || !read_values(p, node)) return NONE;
	return at;
}

/* ---- connectors ---- */

/* ";" or the word between spaces or before a parenthesis; leaves the parser behind it. */
static bool take_connector(struct parser *p, char sign, const char *word)
{
	skip_spaces(p);
	const char *s = p->text + p->at;
	size_t n = strlen(word);
	if (*s == sign) {
		p->at++;
		return true;
	}
	if (strncmp(s, word, n) != 0 || (s[n] != ' ' && s[n] != '(')) return false;
	p->at += n;
	return true;
}

/* Hangs a child behind `last`; a child of the same kind gives its own children instead. Returns the new last one. */
static int append(struct rsql *q, int parent, int last, int child)
{
	int16_t first = (int16_t)child;
	if (q->nodes[child].op == q->nodes[parent].op) first = q->nodes[child].first;
	if (last == NONE) q->nodes[parent].first = first;
	else q->nodes[last].next = first;
	last = first;
	while (q->nodes[last].next != NONE) last = q->nodes[last].next;
	return last;
}

struct level {
	enum rsql_op op;
	char sign;
	const char *word;
	int (*operand)(struct parser *);
};

static int parse_level(struct parser *p, const struct level *level)
{
	int child = level->operand(p), parent = NONE, last = NONE;
	if (child == NONE) return NONE;
	while (take_connector(p, level->sign, level->word)) {
		if (parent == NONE) {
			parent = new_node(p);
			if (parent == NONE) return NONE;
			p->q->nodes[parent].op = level->op;
			last = append(p->q, parent, NONE, child);
		}
		int next = level->operand(p);
		if (next == NONE) return NONE;
		last = append(p->q, parent, last, next);
	}
	return parent == NONE ? child : parent;
}

static int parse_and(struct parser *p)
{
	static const struct level level = {RSQL_AND, ';', "and", parse_constraint};
	return parse_level(p, &level);
}

static int parse_or(struct parser *p)
{
	static const struct level level = {RSQL_OR, ',', "or", parse_and};
	return parse_level(p, &level);
}

/* UTF-8 without control characters; false with the place of the first byte that is not. */
static bool is_clean(const char *text, size_t len, size_t *at)
{
	for (*at = 0; *at < len;) {
		size_t n = jp_utf8_len(text + *at, len - *at);
		if (n == 0 || (unsigned char)text[*at] < ' ' || text[*at] == 0x7f) return false;
		*at += n;
	}
	return true;
}

enum err rsql_parse(struct rsql *q, const char *text, const struct rsql_field *fields, size_t field_count,
                    int64_t now_ms, struct rsql_error *e)
{
	struct parser p = {.q = q, .text = text, .now_ms = now_ms, .e = e};
	p.fields = fields;
	p.field_count = field_count;
	size_t len = strnlen(text, RSQL_TEXT_BYTES + 1), at;
	q->node_count = q->value_count = 0;
	q->pool_used = 0;
	q->root = NONE;
	if (len > RSQL_TEXT_BYTES) {
		refuse_as(&p, ERR_TOO_LARGE, RSQL_TEXT_BYTES, "the filter is longer than 2048 bytes", NULL);
		return p.error;
	}
	if (!is_clean(text, len, &at)) {
		refuse_as(&p, ERR_INVALID, at, "not a character that a filter may have", NULL);
		return p.error;
	}
	int root = parse_or(&p);
	if (root == NONE) return p.error;
	if (text[p.at] != '\0') {
		expected(&p, "\";\", \",\" or the end");
		return p.error;
	}
	q->root = (int16_t)root;
	return ERR_OK;
}
