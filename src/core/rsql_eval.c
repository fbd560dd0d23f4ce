/* What a parsed filter says of one thing, and its text again. */
#include "core/rsql.h"

#include <assert.h>
#include <string.h>

/* ---- patterns ---- */

bool rsql_glob(const char *pattern, size_t pattern_len, const char *text, size_t text_len)
{
	size_t p = 0, t = 0, star = pattern_len, star_text = 0; /* star == pattern_len: none yet */
	while (t < text_len) {
		if (p < pattern_len && pattern[p] == RSQL_WILDCARD) {
			star = p++;
			star_text = t;
		} else if (p < pattern_len && pattern[p] == text[t]) {
			p++;
			t++;
		} else if (star < pattern_len) { /* the last wildcard takes one byte more */
			p = star + 1;
			t = ++star_text;
		} else {
			return false;
		}
	}
	while (p < pattern_len && pattern[p] == RSQL_WILDCARD) p++;
	return p == pattern_len;
}

/* ---- evaluation ---- */

static int sign_of(bool above, bool below)
{
	return above - below;
}

static int compare_text(struct slice a, const struct rsql_value *v)
{
	size_t n = a.len < v->len ? a.len : v->len;
	int c = n > 0 ? memcmp(a.data, v->text, n) : 0;
	return c != 0 ? c : sign_of(a.len > v->len, a.len < v->len);
}

static int compare(enum rsql_type type, const struct rsql_operand *a, const struct rsql_value *v)
{
	switch (type) {
	case RSQL_NUMBER: return sign_of(a->number > v->number, a->number < v->number);
	case RSQL_TIME: return sign_of(a->time_ms > v->time_ms, a->time_ms < v->time_ms);
	case RSQL_BOOL: return sign_of(a->boolean && !v->boolean, !a->boolean && v->boolean);
	case RSQL_TEXT: break;
	}
	return compare_text(a->text, v);
}

static bool equals(enum rsql_type type, const struct rsql_operand *a, const struct rsql_value *v)
{
	if (v->is_pattern) return rsql_glob(v->text, v->len, a->text.data, a->text.len);
	return compare(type, a, v) == 0;
}

/* One value of the thing against the node, whose negations are read as what they negate. */
static bool value_matches(const struct rsql *q, const struct rsql_node *node, const struct rsql_operand *a)
{
	const struct rsql_value *v = &q->values[node->value_first];
	enum rsql_type type = node->field->type;
	switch (node->op) {
	case RSQL_LT: return compare(type, a, v) < 0;
	case RSQL_LE: return compare(type, a, v) <= 0;
	case RSQL_GT: return compare(type, a, v) > 0;
	case RSQL_GE: return compare(type, a, v) >= 0;
	default: break;
	}
	for (unsigned i = 0; i < node->value_count; i++)
		if (equals(type, a, &v[i])) return true;
	return false;
}

static bool comparison_matches(const struct rsql *q, const struct rsql_node *node, const struct rsql_subject *subject)
{
	bool is_negation = node->op == RSQL_NE || node->op == RSQL_OUT;
	struct rsql_operand a;
	for (unsigned i = 0; subject->get(subject->context, node->field, node->key, i, &a); i++)
		if (value_matches(q, node, &a)) return !is_negation;
	return is_negation;
}

/* As deep as the tree: twice RSQL_DEPTH and the two outermost at most. */
static bool node_matches(const struct rsql *q, int at, const struct rsql_subject *subject)
{
	const struct rsql_node *node = &q->nodes[at];
	if (node->op != RSQL_AND && node->op != RSQL_OR) return comparison_matches(q, node, subject);
	bool decides = node->op == RSQL_OR; /* the answer of one child that settles it */
	for (int child = node->first; child >= 0; child = q->nodes[child].next)
		if (node_matches(q, child, subject) == decides) return decides;
	return !decides;
}

bool rsql_matches(const struct rsql *q, const struct rsql_subject *subject)
{
	assert(q->root >= 0);
	return node_matches(q, q->root, subject);
}

/* ---- text ---- */

struct writer {
	char *out;
	size_t size, len; /* len goes on counting when it is full */
};

static void put(struct writer *w, char c)
{
	if (w->len < w->size) w->out[w->len] = c;
	w->len++;
}

static void put_text(struct writer *w, const char *text)
{
	while (*text != '\0') put(w, *text++);
}

/* Ends the text; its length, or -1 when it did not fit. */
static int finish(struct writer *w)
{
	size_t len = w->len;
	if (w->size == 0) return -1;
	put(w, '\0');
	if (w->len <= w->size) return (int)len;
	w->out[0] = '\0';
	return -1;
}

/* A word as it is would be read as something else. */
static bool needs_quotes(const struct rsql_node *node, const struct rsql_value *v)
{
	bool pattern = node->field->type == RSQL_TEXT && (node->op == RSQL_EQ || node->op == RSQL_NE);
	for (size_t i = 0; i < v->len; i++)
		if (strchr(" \"'();,=!~<>", v->text[i]) != NULL || (pattern && v->text[i] == '*')) return true;
	return v->len == 0;
}

static void put_value(struct writer *w, const struct rsql_node *node, const struct rsql_value *v)
{
	bool quotes = needs_quotes(node, v);
	if (quotes) put(w, '"');
	for (size_t i = 0; i < v->len; i++) {
		char c = v->text[i];
		if (quotes && (c == '"' || c == '\\' || c == '*')) put(w, '\\');
		put(w, c == RSQL_WILDCARD ? '*' : c);
	}
	if (quotes) put(w, '"');
}

static void put_comparison(struct writer *w, const struct rsql *q, const struct rsql_node *node)
{
	bool list = node->op == RSQL_IN || node->op == RSQL_OUT;
	put_text(w, node->field->name);
	put_text(w, node->key.data);
	put_text(w, rsql_op_text(node->op));
	if (list) put(w, '(');
	for (unsigned i = 0; i < node->value_count; i++) {
		if (i > 0) put(w, ',');
		put_value(w, node, &q->values[node->value_first + i]);
	}
	if (list) put(w, ')');
}

static void put_node(struct writer *w, const struct rsql *q, int at, enum rsql_op parent)
{
	const struct rsql_node *node = &q->nodes[at];
	if (node->op != RSQL_AND && node->op != RSQL_OR) {
		put_comparison(w, q, node);
		return;
	}
	bool parentheses = parent == RSQL_AND && node->op == RSQL_OR;
	if (parentheses) put(w, '(');
	for (int child = node->first; child >= 0; child = q->nodes[child].next) {
		if (child != node->first) put_text(w, rsql_op_text(node->op));
		put_node(w, q, child, node->op);
	}
	if (parentheses) put(w, ')');
}

int rsql_print(const struct rsql *q, char *out, size_t out_size)
{
	struct writer w = {out, out_size, 0};
	assert(q->root >= 0);
	put_node(&w, q, q->root, RSQL_OR);
	return finish(&w);
}

int rsql_like(const struct rsql_value *v, char *out, size_t out_size)
{
	struct writer w = {out, out_size, 0};
	for (size_t i = 0; i < v->len; i++) {
		char c = v->text[i];
		if (c == '%' || c == '_' || c == '\\') put(&w, '\\');
		put(&w, c == RSQL_WILDCARD ? '%' : c);
	}
	return finish(&w);
}
