/* A filter over devices as SQL: the tree of core/rsql becomes a WHERE clause with bound parameters, and a page an ORDER BY.
 *
 * The clause speaks of the row `d` of table device. Lists (attributes, tags, models) become `d.id IN (SELECT device ...)`,
 * which the planner can drive the query by. Nothing of the filter's text gets into the SQL, only its shape.
 *
 * With a range of rows nothing but the range drives it: the cost is that of the rows in it, be the filter rare or common.
 */
#ifndef AVIARY_STORE_FILTER_SQL_H
#define AVIARY_STORE_FILTER_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "core/rsql.h"

struct db;

/* The fields that may be asked of a device, for rsql_parse. */
extern const struct rsql_field device_fields[];
extern const size_t device_field_count;
/* Does the tree ask for what is known in memory first (lastSeen, online)? */
bool filter_sql_asks_presence(const struct rsql *q);

struct device_page_key { /* where the last page ended */
	bool is_set;
	const char *text; /* of a text column */
	int64_t number;   /* of a number column */
	int64_t row;
};

struct device_select {
	const struct rsql *filters[2]; /* both must match; NULL: everything. The second is a dynamic group's */
	int64_t group;                 /* members of a static group; 0: none */
	int64_t row;                   /* this device only; 0: all */
	int64_t rows_after, rows_to;   /* devices of these rows only: above the first, up to the second; rows_to 0: all. In order of row */
	const char *sort;              /* NULL: order of row; or a name of filter_sql_is_sort */
	bool descending;
	struct device_page_key after;
	int64_t limit;                 /* 0: none */
};
bool filter_sql_is_sort(const char *sort, bool *is_text); /* id name hardware lastSeen createdAt */

/* Calls `fn` with the row and the sort key of each match, in order, until it returns an error, which is passed on. */
AVIARY_MUST_CHECK enum err filter_sql_each(struct db *db, const struct device_select *s, struct arena *a,
                                           enum err (*fn)(void *ctx, int64_t row, const char *text, int64_t number), void *ctx, struct fault *f);
AVIARY_MUST_CHECK enum err filter_sql_count(struct db *db, const struct device_select *s, struct arena *a, int64_t *count, struct fault *f);

#endif
