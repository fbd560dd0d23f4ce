/* What people see: tables whose columns come from JSON, single objects as lines, and colours only where they can be
 * seen. Text from the server is shown with its control characters made harmless. */
#ifndef AVIARYCTL_OUTPUT_H
#define AVIARYCTL_OUTPUT_H

#include "base/buf.h"
#include "base/json.h"
#include "command.h"

enum cell { CELL_TEXT, CELL_NUMBER, CELL_TIME, CELL_AGO, CELL_DURATION, CELL_BYTES, CELL_YES, CELL_STATUS };

struct column {
	const char *title; /* NULL ends the row */
	const char *path;  /* running.release */
	enum cell cell;
	bool hide_empty;   /* the whole column, when no row has a value */
};

struct table;
struct table *table_new(const struct column *columns);
void table_add(struct table *t, const struct json *item);
size_t table_rows(const struct table *t);
void table_print(struct table *t, const struct ctl *c); /* to standard output */
void table_free(struct table *t);

/* Every member as "name  value", nested ones as a.b, times and sizes by the ending of their names. */
void print_object(const struct ctl *c, const struct json *object);
void print_json(const struct json *j); /* a line */

/* A value as text, as a cell shows it; "" when it is absent. */
void cell_text(const struct json *value, enum cell cell, struct buf *out);
const struct json *json_at(const struct json *object, const char *path);
void duration_text(int64_t ms, struct buf *out); /* "3m 20s" */
void bytes_text(double bytes, struct buf *out);

bool output_has_colour(const struct ctl *c);
unsigned output_width(void); /* of the terminal; 0: no terminal */
/* Columns that text takes on a terminal (UTF-8). */
size_t text_width(const char *text);
void clean_text(struct buf *out, const char *text); /* appends it with what would control a terminal made harmless */
void print_clean(const char *text, size_t max_width); /* 0: whole; cut with an ellipsis */
const char *status_colour(const char *status);        /* escape sequence or "" */
#define COLOUR_END "\033[0m"

#endif
