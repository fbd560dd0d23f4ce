/* What a variant of a model costs on a class of hardware, and how well it does: figures with their source and age.
 *
 * Learned from telemetry by context (core/health.h: temperature, battery, link), imported from published tables, or
 * estimated from multiply-accumulates. A profile of (hardware class, model version, variant) is eight cells, one a context,
 * about 17 KiB each; whoever has many keeps them encoded. Old samples weigh less: all counts are halved each half-life.
 * Units: latency ms, energy microjoules an inference, memory bytes of arena in use, quality a number that is larger when
 * better (share of right answers, AUC).
 * Not here: which variant is chosen from the figures (core/select.h).
 */
#ifndef AVIARY_CORE_PROFILE_H
#define AVIARY_CORE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/ddsketch.h"
#include "core/health.h"
#include "core/names.h"

/* X(NAME, name, is smaller better) */
#define PROFILE_FIGURE_TABLE(X)                                                                                        \
	X(LATENCY_P50, "latency_p50_ms", 1)                                                                                \
	X(LATENCY_P95, "latency_p95_ms", 1)                                                                                \
	X(ENERGY, "energy_uj", 1)                                                                                          \
	X(MEMORY, "memory_bytes", 1)                                                                                       \
	X(QUALITY, "quality", 0)
enum profile_figure_kind {
#define X(name, text, smaller) PROFILE_##name,
	PROFILE_FIGURE_TABLE(X)
#undef X
	    PROFILE_FIGURES
};
const char *profile_figure_name(enum profile_figure_kind kind);

/* Where a figure comes from, the worst first. */
enum profile_source { PROFILE_NONE, PROFILE_MACS, PROFILE_PUBLISHED, PROFILE_DECLARED, PROFILE_CLASS, PROFILE_DEVICE };
const char *profile_source_name(enum profile_source s); /* "none" "macs" "published" "declared" "class" "device" */

#define PROFILE_CELL_ANY HEALTH_CELLS /* over all contexts */

struct profile_figure {
	double value;      /* NaN: there is none */
	uint8_t source;    /* enum profile_source */
	uint8_t cell;      /* of which context; PROFILE_CELL_ANY */
	uint32_t devices;  /* that it was learned from; 0 where that is not known */
	uint64_t samples;
	int64_t age_ms;    /* of the newest sample; -1: not known */
};
struct profile_figures {
	struct profile_figure of[PROFILE_FIGURES];
};
void profile_figures_init(struct profile_figures *f); /* none */

/* ---- learning ---- */

enum { PROFILE_REGISTERS = 256 }; /* HyperLogLog: devices are counted within about 7 % */
#define PROFILE_HALF_LIFE_MS (INT64_C(7) * 24 * 3600 * 1000)

/* One context of a profile. Zeroed = new. Counts of devices and the largest memory are kept of this half-life and the one
 * before. */
struct profile_cell {
	struct ddsketch latency;
	double energy_sum_uj, energy_n;
	double right, answers;
	int64_t memory_bytes[2];
	uint8_t devices[2][PROFILE_REGISTERS];
	int64_t newest_ms; /* of what was noted; 0: nothing yet */
	int64_t faded_ms;  /* until when it was faded */
};

/* One report, or several of one device. What it does not say is 0 or NULL. */
struct profile_sample {
	uint64_t device;              /* any number that stands for the device, not 0 */
	const int16_t *latency_keys;  /* of core/ddsketch.h */
	const uint32_t *latency_counts;
	unsigned latency_count;
	double energy_sum_uj;
	uint64_t energy_n;
	int64_t memory_bytes;
	uint64_t right, answers;      /* right <= answers */
};
/* Fades the cell to `now_ms` first. Keys outside the range and energies that are not finite and positive are passed over. */
void profile_note(struct profile_cell *c, const struct profile_sample *s, int64_t now_ms);
/* Halves everything for each half-life that has passed since. `half_life_ms` > 0. Time that runs backwards changes nothing. */
void profile_fade(struct profile_cell *c, int64_t now_ms, int64_t half_life_ms);
/* `from` into `into`; fade both to the same time first. */
void profile_merge(struct profile_cell *into, const struct profile_cell *from);
/* Every figure that the cell has. `source`: PROFILE_CLASS or PROFILE_DEVICE. */
void profile_read(const struct profile_cell *c, unsigned cell, enum profile_source source, int64_t now_ms,
                  struct profile_figures *out);

/* ---- choosing among sources ---- */

#define PROFILE_CLASS_SAMPLES 30 /* of a class; fewer say nothing yet */
#define PROFILE_OWN_SAMPLES 10   /* of one device; fewer have no 95th percentile */

/* What is known, best first; any may be NULL. */
struct profile_known {
	const struct profile_figures *device;     /* this device's own, in this context */
	const struct profile_figures *device_any; /* and over all */
	const struct profile_figures *cell;       /* its class in this context */
	const struct profile_figures *any;        /* its class over all */
	const struct profile_figures *declared;   /* by the publisher: quality */
	const struct profile_figures *published;
	double macs_latency_ms;                   /* profile_macs_latency_ms; 0: not known */
};
/* Each figure from the best source that has it with samples enough. */
void profile_pick(const struct profile_known *known, struct profile_figures *out);

/* Twice what the class's rate says: MACs predict latency within a factor of two, so this is a bound, which may rule a variant
 * out and never ranks one. 0 where `macs` or `macs_per_ms` is not positive. */
double profile_macs_latency_ms(double macs, double macs_per_ms);
/* The class's rate from models that were measured there: median of macs[i] / latency_ms[i]; 0 without any. At most 64 are
 * looked at. */
double profile_macs_rate(const double *macs, const double *latency_ms, unsigned count);

/* ---- published tables ---- */

/* A column of a table, found by its name in the first line. X(NAME, names, separated by blanks) */
#define PROFILE_COLUMN_TABLE(X)                                                                                        \
	X(HARDWARE, "hardware system device board")                                                                        \
	X(MODEL, "model bench task benchmark")                                                                             \
	X(VERSION, "version")                                                                                              \
	X(VARIANT, "variant")                                                                                              \
	X(ORG, "org organization submitter")                                                                               \
	X(ROUND, "round")                                                                                                  \
	X(LATENCY, "latency_ms latency_p50_ms")                                                                            \
	X(LATENCY_P95, "latency_p95_ms")                                                                                   \
	X(ENERGY, "energy_uJ energy_uj")                                                                                   \
	X(MEMORY, "memory_bytes arena_bytes arena_used_bytes")                                                             \
	X(ACCURACY, "accuracy quality")                                                                                    \
	X(TOP1, "top1")                                                                                                    \
	X(AUC, "auc")                                                                                                      \
	X(DEVICES, "devices")                                                                                              \
	X(SAMPLES, "samples")
enum profile_column {
#define X(name, names) PROFILE_COLUMN_##name,
	PROFILE_COLUMN_TABLE(X)
#undef X
	    PROFILE_COLUMNS
};
enum { PROFILE_CSV_COLUMNS = 32, PROFILE_FIELD_BYTES = 128 };

/* A row as Aviary names things. NaN: not said. */
struct profile_row {
	unsigned line;             /* from 1, the header */
	char hardware[NAME_BYTES]; /* what is no name character becomes a minus */
	char model[NAME_BYTES];
	char version[NAME_BYTES];  /* "" when not said */
	char variant[NAME_BYTES];  /* the column; else <org>-<round>-<rest of system behind _float or _int8>; "" when nothing is said */
	double latency_ms, latency_p95_ms, energy_uj, memory_bytes;
	double accuracy, top1, auc; /* shares from 0 to 1: top1 is divided by 100 */
	uint64_t devices, samples;
};
/* Over a window of bytes that outlives it: RFC 4180, also with line feeds alone, at most 32 columns. */
struct profile_csv {
	const char *text;
	size_t len, at;
	unsigned line;
	unsigned columns;                  /* of the header */
	int column_of[PROFILE_COLUMNS];    /* -1: the table has none */
	char fields[PROFILE_CSV_COLUMNS][PROFILE_FIELD_BYTES];
};
/* Reads the header. ERR_INVALID: it has no column for hardware, model or any figure; ERR_TOO_LARGE: too many columns. */
AVIARY_MUST_CHECK enum err profile_csv_begin(struct profile_csv *c, const char *text, size_t len, struct fault *f);
/* The next row; *is_end instead of one behind the last. ERR_INVALID with the line in the detail: another number of fields, a
 * number that is none, negative or not finite, a share above 1, no hardware or model. The reader is behind that row then, and
 * may go on. Rows without any figure are given too. */
AVIARY_MUST_CHECK enum err profile_csv_next(struct profile_csv *c, struct profile_row *row, bool *is_end, struct fault *f);
/* The row as figures of PROFILE_PUBLISHED. A single latency stands for the median and the 95th percentile. `quality`: "auc",
 * "top1", "accuracy", or NULL: the first of accuracy, top1, auc that the row has. */
void profile_row_figures(const struct profile_row *row, const char *quality, struct profile_figures *out);

#endif
