/* What variants cost on classes of hardware: learned from telemetry, imported from tables (core/profile.h has the arithmetic).
 *
 * Learned: each durable report of a model counts for the artifact that its device runs (service/selection.h), in the context that the device was
 * in. The cells are in memory, at most PROFILE_CELLS_MAX of them; what finds no room is counted. They reach fleet.db in rounds, each row with the
 * number of the last batch of telemetry that it holds; after a kill the log is told again from the last complete round, so a profile is
 * the same with and without one.
 */
#ifndef AVIARY_SERVICE_PROFILES_H
#define AVIARY_SERVICE_PROFILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/profile.h"
#include "service/call.h"

struct device_state; /* service/registry.h */
struct profiles;

#define PROFILE_CELLS_MAX 4096   /* 17 KiB each */
#define PUBLISHED_ROWS_MAX 20000 /* in the database */
#define IMPORT_ROWS_MAX 2000     /* of one import: some ten milliseconds of the loop */
#define IMPORT_BYTES_MAX 262144

/* After telemetry, registry and selection. Reads what is stored, and the end of the log. */
AVIARY_MUST_CHECK enum err profiles_open(struct services *s, struct profiles **out, struct fault *f);
void profiles_close(struct profiles *p); /* does not write; NULL is allowed */
/* Once a second: some of the cells that changed are written. */
AVIARY_MUST_CHECK enum err profiles_tick(struct call *c);
/* Grows when anything was learned; an import makes it another one, too. */
uint64_t profiles_generation(const struct profiles *p);
uint64_t profiles_imports(const struct profiles *p); /* how many there were since the start */

/* The context that the device told of last (bits of core/health.h); 0 where it told nothing. */
unsigned profiles_context(const struct profiles *p, const struct device_state *d);

/* What is known of a variant on a class of hardware. */
struct profiled {
	struct profile_figures cell, any, published; /* learned in the context, over all contexts; of tables */
};
struct profile_question {
	const char *hardware, *model, *version, *variant;
	int64_t artifact;
	unsigned cell;
	const char *quality; /* "accuracy", "top1", "auc", or NULL: any. What is learned is a share of right answers, so nothing of auc */
};
AVIARY_MUST_CHECK enum err profiles_find(struct call *c, const struct profile_question *q, struct profiled *out);
/* Multiply-accumulates a millisecond on the hardware, from variants that were measured there; 0: not known. */
AVIARY_MUST_CHECK enum err profiles_macs_rate(struct call *c, const char *hardware, double *rate);
/* The device's own figures of what it runs of a version, over its last day; all none where it reported nothing. `since_ms`: what was received before
 * is of something else; such figures are not told. */
void profiles_own(struct call *c, const struct device_state *d, const char *model, const char *version, int64_t since_ms, const char *quality,
	struct profile_figures *out);

/* ---- tables ---- */
struct profile_import {
	const char *text; /* CSV, core/profile.h */
	size_t len;
	const char *origin;                   /* name of the table, for people; NULL: "import" */
	const char *hardware, *model, *variant; /* "THEIRS:OURS,..": names that are ours by another one; NULL: none */
	const char *version;                  /* of rows without one; NULL: any */
	bool mapped_only;                     /* rows whose hardware and model are in these lists, no others */
};
/* Takes the rows; those that are refused are told with their line. Writes {"rows","taken","skipped","refused","errors":[..]}. */
AVIARY_MUST_CHECK enum err profiles_import(struct call *c, const struct profile_import *in, struct buf *out);
AVIARY_MUST_CHECK enum err profiles_drop(struct call *c, const char *origin, int64_t *removed);

struct profile_filter { /* NULL: any */
	const char *hardware, *model, *version, *variant;
	bool learned, published; /* which ones */
	bool by_cell;            /* learned: a row for each context, too */
};
/* A page of rows; `cursor` NULL: the first; *next NULL: the last one. */
AVIARY_MUST_CHECK enum err profiles_list(struct call *c, const struct profile_filter *filter, const char *cursor, int64_t limit, struct buf *out,
	const char **next);

#endif
