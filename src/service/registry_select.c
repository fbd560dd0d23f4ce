/* Which devices: filters, groups, pages. */
#include <stdlib.h>
#include <string.h>

#include "core/rsql.h"
#include "service/groups.h"
#include "service/registry_internal.h"
#include "service/timebox.h"
#include "store/filter_sql.h"

#define ROW_ARENA_BYTES 65536

/* ---- filters ---- */

/* *out is NULL for an empty filter. */
#define PRESENCE_ON_DEMAND 1000 /* written at once when somebody asks: some milliseconds */

static enum err parse_filter(struct call *c, const char *text, const struct rsql **out)
{
	*out = NULL;
	if (text == NULL || text[0] == '\0')
		return ERR_OK;
	struct rsql *q = arena_alloc(c->arena, sizeof *q);
	struct rsql_error why;
	enum err e = rsql_parse(q, text, device_fields, device_field_count, c->now_ms, &why);
	if (e != ERR_OK)
		return fault_set(c->fault, ERR_BAD_REQUEST, "", "filter, at byte %zu: %s", why.at, why.message);
	*out = q;
	return ERR_OK;
}

enum err registry_check_filter(struct call *c, const char *filter)
{
	const struct rsql *q;
	return parse_filter(c, filter, &q);
}

static enum err parse_select(struct call *c, const char *filter, int64_t group, struct device_select *s, bool *asks_presence)
{
	struct group_row row;
	enum err e = parse_filter(c, filter, &s->filters[0]);
	if (e == ERR_OK && group != 0) {
		e = groups_look_up(c, group, NULL, &row);
		if (e == ERR_OK && row.filter != NULL)
			e = parse_filter(c, row.filter, &s->filters[1]);
		else
			s->group = group;
	}
	*asks_presence = s->sort != NULL && strcmp(s->sort, "lastSeen") == 0;
	for (int i = 0; i < 2; i++)
		*asks_presence = *asks_presence || (s->filters[i] != NULL && filter_sql_asks_presence(s->filters[i]));
	return e;
}

/* Presence is newest in memory: what waits is written before it is asked for. Of a large fleet much waits at any time, and writing it takes
 * seconds: then the answer is as old as what is still unwritten. Nobody decides by it: rollouts look at the device itself. */
static enum err prepare_select(struct call *c, const char *filter, int64_t group, struct device_select *s)
{
	bool asks_presence;
	enum err e = parse_select(c, filter, group, s, &asks_presence);
	return e == ERR_OK && asks_presence ? registry_flush(c, PRESENCE_ON_DEMAND) : e;
}

enum err registry_count(struct call *c, const char *filter, int64_t group, int64_t *count)
{
	struct device_select s = {.limit = 0};
	enum err e = prepare_select(c, filter, group, &s);
	if (e != ERR_OK)
		return e;
	if (s.filters[0] == NULL && s.filters[1] == NULL && s.group == 0) {
		*count = (int64_t)registry_size(c->s->registry);
		return ERR_OK;
	}
	return filter_sql_count(c->s->db, &s, c->arena, count, c->fault);
}

struct visit {
	struct registry *r;
	enum err (*fn)(void *ctx, struct device_state *d);
	void *ctx;
};

static enum err visit_row(void *ctx, int64_t row, const char *text, int64_t number)
{
	struct visit *v = ctx;
	struct device_state *d = registry_by_row(v->r, row);
	(void)text;
	(void)number;
	return d != NULL ? v->fn(v->ctx, d) : ERR_OK; /* deleted by fn meanwhile */
}

enum err registry_select(struct call *c, const char *filter, int64_t group, enum err (*fn)(void *ctx, struct device_state *d), void *ctx)
{
	struct device_select s = {.limit = 0};
	struct visit v = {c->s->registry, fn, ctx};
	enum err e = prepare_select(c, filter, group, &s);
	return e == ERR_OK ? filter_sql_each(c->s->db, &s, c->arena, visit_row, &v, c->fault) : e;
}

enum err registry_each_sorted(struct call *c, const char *filter, int64_t group, const char *sort, bool descending, int64_t limit,
	enum err (*fn)(void *ctx, int64_t row, const char *text, int64_t number), void *ctx)
{
	struct device_select s = {.sort = sort, .descending = descending, .limit = limit};
	enum err e = prepare_select(c, filter, group, &s);
	return e == ERR_OK ? filter_sql_each(c->s->db, &s, c->arena, fn, ctx, c->fault) : e;
}

enum err registry_matches(struct call *c, const struct device_state *d, const char *filter, int64_t group, bool *matches)
{
	struct device_select s = {.row = d->row};
	int64_t count = 1;
	enum err e = prepare_select(c, filter, group, &s);
	if (e == ERR_OK && (s.filters[0] != NULL || s.filters[1] != NULL || s.group != 0))
		e = filter_sql_count(c->s->db, &s, c->arena, &count, c->fault);
	*matches = e == ERR_OK && count > 0;
	return e;
}

/* ---- in pieces ---- */

#define SCAN_ARENA_BYTES (256u << 10) /* a parsed filter */
#define FLUSH_PIECE 256               /* presences written at once: each may move in an index */
#define ROWS_LEAST 64                 /* rows of one statement: grows and shrinks with what they cost */
#define ROWS_MOST (1 << 20)
#define PIECE_NS 1000000              /* what one should cost */
#define VISITS_A_LOOK 16              /* visits between two looks at the clock */

struct registry_scan {
	struct arena *arena;
	struct device_select select;
	size_t flush_left;    /* presences that still are to be written first */
	int64_t after, last;  /* rows: where it is, and where it ends */
	int64_t rows;         /* of the next statement */
	bool is_plain;        /* everybody: no SQL is needed */
};

enum err registry_scan_new(struct call *c, const char *filter, int64_t group, struct registry_scan **out)
{
	struct registry_scan *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->arena = arena_new(SCAN_ARENA_BYTES);
	struct call own = *c;
	own.arena = s->arena;
	bool asks_presence;
	enum err e = parse_select(&own, arena_strdup(s->arena, filter), group, &s->select, &asks_presence);
	if (e != ERR_OK) {
		registry_scan_free(s);
		*out = NULL;
		return e;
	}
	s->flush_left = asks_presence ? registry_waiting(c->s->registry) : 0;
	s->last = c->s->registry->fleet.last_row;
	s->rows = 4 * ROWS_LEAST;
	s->is_plain = s->select.filters[0] == NULL && s->select.filters[1] == NULL && s->select.group == 0;
	*out = s;
	return ERR_OK;
}

void registry_scan_free(struct registry_scan *s)
{
	if (s != NULL)
		arena_free(s->arena);
	free(s);
}

struct scan_visit {
	struct visit visit;
	const struct timebox *box;
	int64_t row; /* the last one visited */
	unsigned visits;
	bool is_over;
};

static enum err scan_row(void *ctx, int64_t row, const char *text, int64_t number)
{
	struct scan_visit *v = ctx;
	enum err e = visit_row(&v->visit, row, text, number);
	v->row = row;
	if (e == ERR_OK && ++v->visits % VISITS_A_LOOK == 0 && timebox_is_over(v->box)) {
		v->is_over = true;
		e = ERR_TIMEOUT; /* leaves the statement; not an error */
	}
	return e;
}

static enum err scan_plain(struct registry_scan *s, struct scan_visit *v)
{
	while (s->after < s->last && !v->is_over) {
		enum err e = scan_row(v, s->after + 1, NULL, 0);
		if (e != ERR_OK && !v->is_over)
			return e;
		s->after = v->row;
	}
	return ERR_OK;
}

static enum err scan_piece(struct call *c, struct registry_scan *s, struct scan_visit *v, struct arena *scratch)
{
	uint64_t begin_ns = clock_mono_ns();
	int64_t to = s->last - s->after > s->rows ? s->after + s->rows : s->last;
	s->select.rows_after = s->after;
	s->select.rows_to = to;
	arena_reset(scratch);
	enum err e = filter_sql_each(c->s->db, &s->select, scratch, scan_row, v, c->fault);
	if (e != ERR_OK && !v->is_over)
		return e;
	s->after = v->is_over ? v->row : to;
	uint64_t cost_ns = clock_mono_ns() - begin_ns;
	if (cost_ns > 2 * PIECE_NS && s->rows > ROWS_LEAST)
		s->rows /= 2;
	else if (cost_ns < PIECE_NS / 2 && s->rows < ROWS_MOST)
		s->rows *= 2;
	return ERR_OK;
}

enum err registry_scan_step(struct call *c, struct registry_scan *s, const struct timebox *box,
                            enum err (*fn)(void *ctx, struct device_state *d), void *ctx, bool *is_done)
{
	enum err e = ERR_OK;
	struct scan_visit v = {.visit = {c->s->registry, fn, ctx}, .box = box};
	*is_done = false;
	while (s->flush_left > 0) {
		size_t piece = s->flush_left < FLUSH_PIECE ? s->flush_left : FLUSH_PIECE;
		e = registry_flush(c, piece);
		if (e != ERR_OK)
			return e;
		s->flush_left -= piece;
		if (timebox_is_over(box))
			return ERR_OK;
	}
	if (s->is_plain) {
		e = scan_plain(s, &v);
	} else {
		struct arena *scratch = arena_new(SCAN_ARENA_BYTES);
		do
			e = scan_piece(c, s, &v, scratch);
		while (e == ERR_OK && s->after < s->last && !v.is_over && !timebox_is_over(box));
		arena_free(scratch);
	}
	*is_done = e == ERR_OK && s->after >= s->last;
	return e;
}

/* ---- pages ---- */

/* A cursor is "<sort>;<row>;<key>": the order it belongs to, and where its page ended. */
static enum err read_cursor(struct call *c, const char *cursor, const char *sort, bool is_text, struct device_page_key *key)
{
	size_t len = strlen(sort);
	char *end;
	if (strncmp(cursor, sort, len) != 0 || cursor[len] != ';')
		return fault_set(c->fault, ERR_BAD_REQUEST, "", "the cursor belongs to another order");
	key->row = strtoll(cursor + len + 1, &end, 10);
	if (*end != ';' || key->row <= 0)
		return fault_set(c->fault, ERR_BAD_REQUEST, "", "the cursor is broken");
	key->text = end + 1;
	key->number = is_text ? 0 : strtoll(end + 1, NULL, 10);
	key->is_set = true;
	return ERR_OK;
}

struct page {
	struct call *c;
	struct buf *out;
	const char *sort;
	int64_t left;
	bool is_text;
	const char **next;
	struct device_page_key last;
	struct arena *row_arena;
};

/* One row more than the page has is asked for: it tells whether there is a next page. */
static enum err page_row(void *ctx, int64_t row, const char *text, int64_t number)
{
	struct page *p = ctx;
	if (p->left == 0) {
		*p->next = p->is_text ? arena_printf(p->c->arena, "%s;%lld;%s", p->sort, (long long)p->last.row, p->last.text)
		                      : arena_printf(p->c->arena, "%s;%lld;%lld", p->sort, (long long)p->last.row, (long long)p->last.number);
		return ERR_OK;
	}
	p->left--;
	if (p->left == 0)
		p->last = (struct device_page_key){true, p->is_text ? arena_strdup(p->c->arena, text) : NULL, number, row};
	struct call one = *p->c; /* a page of a thousand devices needs the memory of one */
	one.arena = p->row_arena;
	int64_t revision;
	enum err e = registry_encode(&one, registry_by_row(p->c->s->registry, row), p->out, &revision);
	arena_reset(p->row_arena);
	return e;
}

enum err registry_list(struct call *c, const struct device_query *q, struct buf *out, const char **next, int64_t *total)
{
	const char *sort = q->sort != NULL ? q->sort : "";
	struct device_select s = {.descending = sort[0] == '-', .limit = q->limit + 1};
	bool is_text = false;
	*next = NULL;
	s.sort = sort[0] == '-' ? sort + 1 : sort;
	if (s.sort[0] == '\0')
		s.sort = NULL;
	else if (!filter_sql_is_sort(s.sort, &is_text))
		return fault_set(c->fault, ERR_BAD_REQUEST, "", "sort: one of id name hardware lastSeen createdAt, with - before it for descending");
	enum err e = prepare_select(c, q->filter, q->group, &s);
	if (e == ERR_OK && total != NULL)
		e = registry_count(c, q->filter, q->group, total);
	if (e == ERR_OK && q->cursor != NULL)
		e = read_cursor(c, q->cursor, sort, is_text, &s.after);
	if (e != ERR_OK)
		return e;
	struct page p = {.c = c, .out = out, .sort = sort, .left = q->limit, .is_text = is_text, .next = next, .row_arena = arena_new(ROW_ARENA_BYTES)};
	e = filter_sql_each(c->s->db, &s, c->arena, page_row, &p, c->fault);
	arena_free(p.row_arena);
	return e;
}
