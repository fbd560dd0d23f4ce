#include "store/filter_sql.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "store/db.h"

/* What a field is in the store. A column that may be absent (NULL, or 0 for times) matches no comparison but != and =out=. */
struct column {
	const char *sql;                 /* of a column of d */
	const char *present;             /* condition that it is there; NULL: it always is */
	const char *table, *key, *value; /* of a list: its table, the column of the field's key (NULL: none), and of the value */
};

enum {
	F_ID, F_NAME, F_HARDWARE, F_CREATED, F_UPDATED, F_SEEN, F_ONLINE, F_RELEASE, F_FIRMWARE, F_ATTRIBUTE, F_TAG, F_MODEL, F_COUNT
};

const struct rsql_field device_fields[F_COUNT] = {
	{"id", false, RSQL_TEXT, F_ID},
	{"name", false, RSQL_TEXT, F_NAME},
	{"hardware", false, RSQL_TEXT, F_HARDWARE},
	{"createdAt", false, RSQL_TIME, F_CREATED},
	{"updatedAt", false, RSQL_TIME, F_UPDATED},
	{"lastSeen", false, RSQL_TIME, F_SEEN},
	{"online", false, RSQL_BOOL, F_ONLINE},
	{"release", false, RSQL_TEXT, F_RELEASE},
	{"firmware", false, RSQL_TEXT, F_FIRMWARE},
	{"attribute.", true, RSQL_TEXT, F_ATTRIBUTE},
	{"tag", false, RSQL_TEXT, F_TAG},
	{"model.", true, RSQL_TEXT, F_MODEL},
};
const size_t device_field_count = F_COUNT;

static const struct column columns[F_COUNT] = {
	[F_ID] = {.sql = "d.device_id"},
	[F_NAME] = {.sql = "d.name"},
	[F_HARDWARE] = {.sql = "d.hardware"},
	[F_CREATED] = {.sql = "d.created_at"},
	[F_UPDATED] = {.sql = "d.updated_at"},
	[F_SEEN] = {.sql = "d.last_seen_at", .present = "d.last_seen_at > 0"},
	[F_ONLINE] = {.sql = "d.online"},
	[F_RELEASE] = {.sql = "d.running_release", .present = "d.running_release IS NOT NULL"},
	[F_FIRMWARE] = {.sql = "d.running_firmware", .present = "d.running_firmware IS NOT NULL"},
	[F_ATTRIBUTE] = {.table = "device_attribute", .key = "name", .value = "value"},
	[F_TAG] = {.table = "device_tag", .value = "tag"},
	[F_MODEL] = {.table = "device_model", .key = "model", .value = "version"},
};

static const struct {
	const char *name, *sql;
	bool is_text;
} sorts[] = {
	{"id", "d.device_id", true},
	{"name", "d.name", true},
	{"hardware", "d.hardware", true},
	{"lastSeen", "d.last_seen_at", false},
	{"createdAt", "d.created_at", false},
};
#define SORT_COUNT (sizeof sorts / sizeof sorts[0])

/* ---- the text and its parameters ---- */

struct parameter { /* of the statement, in order of its question marks */
	const char *text; /* NULL: number */
	size_t len;
	int64_t number;
};

struct writer {
	struct buf sql;
	struct arena *arena;
	struct parameter *parameters;
	size_t count, room;
	bool is_ranged; /* each device is asked by itself: no subquery over the whole table */
};

static void bind(struct writer *w, struct parameter p)
{
	if (w->count == w->room) {
		size_t room = w->room == 0 ? 16 : 2 * w->room;
		struct parameter *grown = arena_array(w->arena, room, sizeof *grown);
		if (w->count > 0)
			memcpy(grown, w->parameters, w->count * sizeof *grown);
		w->parameters = grown;
		w->room = room;
	}
	w->parameters[w->count++] = p;
	buf_char(&w->sql, '?');
}

static void bind_number(struct writer *w, int64_t v)
{
	bind(w, (struct parameter){.number = v});
}

static void bind_text(struct writer *w, const char *text, size_t len)
{
	bind(w, (struct parameter){.text = text, .len = len});
}

static void bind_value(struct writer *w, enum rsql_type type, const struct rsql_value *v)
{
	switch (type) {
	case RSQL_TIME:
		bind_number(w, v->time_ms);
		break;
	case RSQL_BOOL:
		bind_number(w, v->boolean);
		break;
	default:
		bind_text(w, v->text, v->len);
		break;
	}
}

/* ---- comparisons ---- */

/* A pattern is GLOB, because LIKE ignores case in SQLite; and the range of what stands before its first wildcard, so that an index serves. */
static void write_pattern(struct writer *w, const char *column, const struct rsql_value *v)
{
	size_t prefix = 0;
	struct buf glob = BUF_INIT;
	while (prefix < v->len && v->text[prefix] != RSQL_WILDCARD)
		prefix++;
	for (size_t i = 0; i < v->len; i++) {
		char c = v->text[i];
		if (c == RSQL_WILDCARD)
			buf_char(&glob, '*');
		else if (c == '*' || c == '?' || c == '[')
			buf_printf(&glob, "[%c]", c);
		else
			buf_char(&glob, c);
	}
	buf_str(&w->sql, "(");
	if (prefix > 0) {
		char *end = arena_strndup(w->arena, v->text, prefix);
		end[prefix - 1]++; /* bytes of UTF-8 are below 0xff: the least text above all that begin so */
		buf_printf(&w->sql, "%s >= ", column);
		bind_text(w, arena_strndup(w->arena, v->text, prefix), prefix);
		buf_printf(&w->sql, " AND %s < ", column);
		bind_text(w, end, prefix);
		buf_str(&w->sql, " AND ");
	}
	buf_printf(&w->sql, "%s GLOB ", column);
	bind_text(w, arena_strndup(w->arena, buf_cstr(&glob), glob.len), glob.len);
	buf_str(&w->sql, ")");
	buf_done(&glob);
}

static void write_values(struct writer *w, const struct rsql *q, const struct rsql_node *n)
{
	for (unsigned i = 0; i < n->value_count; i++) {
		if (i > 0)
			buf_str(&w->sql, ", ");
		bind_value(w, n->field->type, &q->values[n->value_first + i]);
	}
}

/* "column op value" for the positive operators; != and =out= are written by their callers as the negation of == and =in=. */
static void write_positive(struct writer *w, const struct rsql *q, const struct rsql_node *n, const char *column)
{
	static const char *const signs[RSQL_OP_COUNT] = {
		[RSQL_EQ] = "=", [RSQL_NE] = "=", [RSQL_LT] = "<", [RSQL_LE] = "<=", [RSQL_GT] = ">", [RSQL_GE] = ">=",
	};
	const struct rsql_value *first = &q->values[n->value_first];
	if (n->op == RSQL_IN || n->op == RSQL_OUT) {
		buf_printf(&w->sql, "%s IN (", column);
		write_values(w, q, n);
		buf_str(&w->sql, ")");
	} else if (first->is_pattern) {
		write_pattern(w, column, first);
	} else {
		assert(signs[n->op] != NULL);
		buf_printf(&w->sql, "%s %s ", column, signs[n->op]);
		bind_value(w, n->field->type, first);
	}
}

static void write_comparison(struct writer *w, const struct rsql *q, const struct rsql_node *n)
{
	const struct column *col = &columns[n->field->column];
	bool is_negative = n->op == RSQL_NE || n->op == RSQL_OUT;
	if (col->table != NULL) {
		if (w->is_ranged)
			buf_printf(&w->sql, "%sEXISTS (SELECT 1 FROM %s WHERE device = d.id AND ", is_negative ? "NOT " : "", col->table);
		else
			buf_printf(&w->sql, "d.id %sIN (SELECT device FROM %s WHERE ", is_negative ? "NOT " : "", col->table);
		if (col->key != NULL) {
			buf_printf(&w->sql, "%s = ", col->key);
			bind_text(w, n->key.data, n->key.len);
			buf_str(&w->sql, " AND ");
		}
		write_positive(w, q, n, col->value);
		buf_str(&w->sql, ")");
		return;
	}
	buf_str(&w->sql, is_negative ? "NOT (" : "(");
	if (col->present != NULL)
		buf_printf(&w->sql, "%s AND ", col->present);
	write_positive(w, q, n, col->sql);
	buf_str(&w->sql, ")");
}

/* Depth is bounded by RSQL_DEPTH. */
static void write_node(struct writer *w, const struct rsql *q, int16_t at)
{
	const struct rsql_node *n = &q->nodes[at];
	if (n->op != RSQL_AND && n->op != RSQL_OR) {
		write_comparison(w, q, n);
		return;
	}
	buf_str(&w->sql, "(");
	for (int16_t child = n->first; child >= 0; child = q->nodes[child].next) {
		if (child != n->first)
			buf_str(&w->sql, n->op == RSQL_AND ? " AND " : " OR ");
		write_node(w, q, child);
	}
	buf_str(&w->sql, ")");
}

bool filter_sql_asks_presence(const struct rsql *q)
{
	for (uint16_t i = 0; i < q->node_count; i++) {
		const struct rsql_node *n = &q->nodes[i];
		if (n->op != RSQL_AND && n->op != RSQL_OR && (n->field->column == F_SEEN || n->field->column == F_ONLINE))
			return true;
	}
	return false;
}

/* ---- whole statements ---- */

static size_t find_sort(const char *sort)
{
	size_t i = 0;
	while (i < SORT_COUNT && strcmp(sorts[i].name, sort) != 0)
		i++;
	return i;
}

bool filter_sql_is_sort(const char *sort, bool *is_text)
{
	size_t i = find_sort(sort);
	if (i == SORT_COUNT)
		return false;
	*is_text = sorts[i].is_text;
	return true;
}

/* NOT INDEXED leaves the row's own number to go by. CROSS JOIN: the members come first. */
static void write_range(struct writer *w, const struct device_select *s)
{
	const char *row = s->group != 0 ? "m.device" : "d.id";
	if (s->group != 0) {
		buf_str(&w->sql, " FROM group_member m CROSS JOIN device d NOT INDEXED ON d.id = m.device WHERE m.device_group = ");
		bind_number(w, s->group);
	} else {
		buf_str(&w->sql, " FROM device d NOT INDEXED WHERE 1");
	}
	buf_printf(&w->sql, " AND %s > ", row);
	bind_number(w, s->rows_after);
	buf_printf(&w->sql, " AND %s <= ", row);
	bind_number(w, s->rows_to);
}

static void write_where(struct writer *w, const struct device_select *s)
{
	w->is_ranged = s->rows_to != 0;
	if (w->is_ranged)
		write_range(w, s);
	else
		buf_str(&w->sql, " FROM device d WHERE 1");
	if (s->row != 0) {
		buf_str(&w->sql, " AND d.id = ");
		bind_number(w, s->row);
	}
	if (s->group != 0 && !w->is_ranged) {
		buf_str(&w->sql, " AND d.id IN (SELECT device FROM group_member WHERE device_group = ");
		bind_number(w, s->group);
		buf_str(&w->sql, ")");
	}
	for (int i = 0; i < 2; i++) {
		if (s->filters[i] != NULL) {
			buf_str(&w->sql, " AND ");
			write_node(w, s->filters[i], s->filters[i]->root);
		}
	}
}

/* Keyset: what follows (column, row) of the last page's end; the row makes the order total. */
static void write_page(struct writer *w, const struct device_select *s)
{
	const char *direction = s->descending ? " DESC" : "", *sign = s->descending ? "<" : ">";
	size_t sort = s->sort != NULL ? find_sort(s->sort) : SORT_COUNT;
	if (s->after.is_set && sort == SORT_COUNT) {
		buf_printf(&w->sql, " AND d.id %s ", sign);
		bind_number(w, s->after.row);
	} else if (s->after.is_set) {
		buf_printf(&w->sql, " AND (%s, d.id) %s (", sorts[sort].sql, sign);
		if (sorts[sort].is_text)
			bind_text(w, s->after.text, strlen(s->after.text));
		else
			bind_number(w, s->after.number);
		buf_str(&w->sql, ", ");
		bind_number(w, s->after.row);
		buf_str(&w->sql, ")");
	}
	buf_str(&w->sql, " ORDER BY ");
	if (w->is_ranged && s->group != 0) {
		buf_str(&w->sql, "m.device");
		return;
	}
	if (sort != SORT_COUNT)
		buf_printf(&w->sql, "%s%s, ", sorts[sort].sql, direction);
	buf_printf(&w->sql, "d.id%s", direction);
	if (s->limit > 0) {
		buf_str(&w->sql, " LIMIT ");
		bind_number(w, s->limit);
	}
}

/* Prepares and binds; w's texts live in the arena, its SQL only here. */
static enum err prepare(struct db *db, struct writer *w, struct stmt **q, struct fault *f)
{
	enum err e = db_prepare_text(db, buf_cstr(&w->sql), q, f);
	buf_done(&w->sql);
	for (size_t i = 0; e == ERR_OK && i < w->count; i++) {
		const struct parameter *p = &w->parameters[i];
		if (p->text != NULL)
			stmt_bind_textn(*q, (int)i + 1, p->text, p->len);
		else
			stmt_bind_int(*q, (int)i + 1, p->number);
	}
	return e;
}

enum err filter_sql_each(struct db *db, const struct device_select *s, struct arena *a,
                         enum err (*fn)(void *ctx, int64_t row, const char *text, int64_t number), void *ctx, struct fault *f)
{
	struct writer w = {.sql = BUF_INIT, .arena = a};
	struct stmt *q;
	size_t sort = s->sort != NULL ? find_sort(s->sort) : SORT_COUNT;
	assert(s->rows_to == 0 || (s->sort == NULL && !s->descending && !s->after.is_set && s->limit == 0));
	buf_printf(&w.sql, "SELECT d.id, %s", sort != SORT_COUNT ? sorts[sort].sql : "NULL");
	write_where(&w, s);
	write_page(&w, s);
	enum err e = prepare(db, &w, &q, f);
	if (e != ERR_OK)
		return e;
	bool row, is_text = sort != SORT_COUNT && sorts[sort].is_text;
	while ((e = stmt_step(q, &row, f)) == ERR_OK && row) {
		e = fn(ctx, stmt_int(q, 0), is_text ? stmt_text(q, 1) : NULL, is_text ? 0 : stmt_int(q, 1));
		if (e != ERR_OK) {
			stmt_reset(q);
			return e;
		}
	}
	return e;
}

enum err filter_sql_count(struct db *db, const struct device_select *s, struct arena *a, int64_t *count, struct fault *f)
{
	struct writer w = {.sql = BUF_INIT, .arena = a};
	struct stmt *q;
	bool row;
	buf_str(&w.sql, "SELECT count(*)");
	write_where(&w, s);
	enum err e = prepare(db, &w, &q, f);
	if (e == ERR_OK)
		e = stmt_step(q, &row, f);
	if (e != ERR_OK)
		return e;
	*count = stmt_int(q, 0);
	stmt_reset(q);
	return ERR_OK;
}
