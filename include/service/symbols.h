/* Names in telemetry as small numbers: metrics, and versions of models. Loop thread only; texts live as long as the table.
 *
 * A new name gets its number at once and reaches the database with the batch that uses it first (symbols_unsaved).
 */
#ifndef AVIARY_SERVICE_SYMBOLS_H
#define AVIARY_SERVICE_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/names.h"
#include "store/telemetry_store.h"

struct symbols;

struct symbol {
	int64_t id;           /* from 1 */
	bool is_metric;       /* else a version */
	const char *model;    /* of a version; "" for a metric */
	const char *text;
	int64_t model_number; /* versions of one model share it; 0 for a metric */
	int64_t last_ms;      /* of a metric: the last report with it, as far as known; 0 = none */
	int type;             /* enum value_type of it, -1 = not known */
};

struct symbols *symbols_new(void);
void symbols_free(struct symbols *s); /* NULL is allowed */
void symbols_load(struct symbols *s, const struct stored_symbol *row); /* from the database */
/* The symbol, made when it is new and fewer than `max` of its kind exist; else NULL. */
const struct symbol *symbols_metric(struct symbols *s, struct slice name, int64_t max);
const struct symbol *symbols_version(struct symbols *s, struct slice model, struct slice version, int64_t max);
const struct symbol *symbols_find_metric(const struct symbols *s, const char *name); /* NULL: never seen */
const struct symbol *symbols_get(const struct symbols *s, int64_t id);               /* NULL: no such number */
void symbols_note(struct symbols *s, int64_t metric, int64_t last_ms, int type);
size_t symbols_count(const struct symbols *s); /* ids are 1..count */
int64_t symbols_count_of(const struct symbols *s, bool is_metric); /* metrics, or versions */
/* The names that were made since symbols_saved: ids above the returned one. */
int64_t symbols_saved_upto(const struct symbols *s);
void symbols_saved(struct symbols *s, int64_t upto);

#endif
