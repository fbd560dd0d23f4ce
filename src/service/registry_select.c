/* Which devices: filters, groups, pages. */
#include <stdlib.h>
#include <string.h>

#include "core/rsql.h"
#include "service/groups.h"
#include "service/registry_internal.h"
#include "store/filter_sql.h"

#define ROW_ARENA_BYTES 65536

/* ---- filters ---- */

/* *out is NULL for an empty filter. */
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

/* Presence is newest in memory: what waits is written before it is asked for. */
static enum err prepare_select(struct call *c, const char *filter, int64_t group, struct device_select *s)
{
	struct group_row row;
	enum err e = parse_filter(c, filter, &s->filters[0]);
	if (e == ERR_OK && group != 0) {
		e = groups_get(c, group, &row);
		if (e == ERR_OK && row.filter != NULL)
			e = parse_filter(c, row.filter, &s->filters[1]);
		else
			s->group = group;
	}
	bool asks_presence = s->sort != NULL && strcmp(s->sort, "lastSeen") == 0;
	for (int i = 0; i < 2; i++)
		asks_presence = asks_presence || (s->filters[i] != NULL && filter_sql_asks_presence(s->filters[i]));
	return e == ERR_OK && asks_presence ? registry_flush(c, 0) : e;
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
	enum err e = registry_encode(&one, registry_by_row(p->c->s->registry, row), p->out);
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
