/* The insides of struct detect, shared by detect*.c and their tests and bench only. */
#ifndef AVIARY_SERVICE_DETECT_INSIDE_H
#define AVIARY_SERVICE_DETECT_INSIDE_H

#include "core/budget.h"
#include "core/drift.h"
#include "core/leak.h"
#include "core/novelty.h"
#include "core/signature.h"
#include "core/watch.h"
#include "service/detect.h"
#include "service/state_pages.h"
#include "service/symbols.h"
#include "store/report_log.h"
#include "store/telemetry_store.h"

#define DETECT_SERIES 8
#define DETECT_SLAB 2048       /* devices in a slab: two megabytes, a page of the large kind */
#define DETECT_STATISTIC_BITS 20
#define DETECT_LATELY 12       /* reports for which a cause that is over is still told to be over */
#define DETECT_TYPE_RUN 12     /* reports of another type in a row, after which a metric has that type */
#define DETECT_FINDINGS_MAX 100000 /* that wait for detect_tick; what finds no room comes again with the next report */

/* A device: 112 bytes, before its watch. Plain memory, stored as these bytes; zeroed = new. */
struct detect_head {
	uint32_t row;
	uint32_t at_s;        /* receipt of the last report, by a clock that never goes back: its hour and its day, too */
	uint32_t boot;        /* fingerprint of the newest boot */
	uint32_t seq;         /* highest of that boot, low bits */
	uint32_t cohort : 12; /* number + 1; 0: none */
	uint32_t version : 20; /* symbol of the model's version; 0: none named yet */
	uint16_t causes, lately;  /* bits of enum signature_cause: now, and within the last DETECT_LATELY reports */
	uint16_t boot_before; /* of the boot before, low bits */
	uint16_t memory;      /* that the device says it has: DETECT_MEMORY_STEPS an octave; 0: unknown */
	uint16_t gaps_now, gaps_usual; /* share of messages that did not come, 1/65535: of the last dozen, of a thousand */
	uint64_t over : DETECT_STATISTIC_BITS;   /* statistics over their threshold, with hysteresis */
	uint64_t beyond : DETECT_STATISTIC_BITS, present : DETECT_STATISTIC_BITS; /* that were beyond half of it, that there were: this hour */
	uint64_t quiet : 4;   /* reports since there was a cause */
	uint16_t metric[DETECT_SERIES]; /* symbols; 0: free */
	uint8_t type[DETECT_SERIES];    /* enum value_type + 1, and in the upper half reports of another one in a row; 0: none yet */
	uint8_t score[DETECT_SERIES];   /* last, 1/255 */
	uint8_t peak[DETECT_SERIES], peak_before[DETECT_SERIES]; /* highest of this hour, and of the one before */
	uint8_t novel[DETECT_SERIES];   /* what is left of DETECT_NOVEL_STEPS since the last event; 0: none */
	uint8_t missing[DETECT_SERIES]; /* since the last value, in DETECT_MISSING_S */
	uint16_t refused_types, refused_metrics; /* saturating */
	uint8_t hot_c;        /* where the hardware throttles, as the device says; 0: unknown */
	int8_t utc_quarters;  /* local time less UTC, quarters of an hour, as the device said last */
	uint8_t boots_today, boots_before; /* of the day (UTC) and of the one before, saturating */
};
#define DETECT_MEMORY_STEPS 1024.0
#define DETECT_NOVEL_STEPS 255u
#define DETECT_NOVEL_S 4u
#define DETECT_MISSING_S 256u
_Static_assert(WATCH_STATISTICS <= DETECT_STATISTIC_BITS && SIGNATURE_CAUSES <= 16 && DETECT_COHORTS < 4096 && DETECT_LATELY < 16, "bits");
_Static_assert(sizeof(struct detect_head) == 112, "no room is lost");

/* A device's bytes; DETECT_SERIES series follow, of one form or the other. 1,024 with compact ones. */
struct detect_state {
	struct detect_head head;
	struct watch watch;
	struct drift_device drift;
	struct leak leak;
};
_Static_assert(sizeof(struct detect_state) + DETECT_SERIES * sizeof(struct novelty_compact) == 1024, "sixteen cache lines");

/* What reports of a cohort are judged with. Changes only between batches. */
struct detect_view {
	struct watch_peers peers;
	float threshold[WATCH_STATISTICS];
	float common[DRIFT_CLASSES]; /* of the hour that is being closed */
	uint32_t fleet;       /* statistics in which the cohort as a whole drifts */
	float drain;          /* median of what its devices' batteries drain at, share an hour; 0: not known */
	float boots_usual;    /* in a day: more than most of its devices have; 0: not known */
	uint32_t hour;        /* that is being closed */
	uint16_t over;
	uint8_t days, spare;
};

/* What changes with each batch, stored apart from budget and drift. */
struct detect_hot {
	char hardware[72], model[72], text[72];
	uint32_t version;     /* symbol; 0: the parent of its hardware */
	uint32_t parent;      /* number + 1; 0: none */
	uint32_t day;         /* of the last roll of the budget; 0: none */
	uint32_t view_slot;   /* common_slot at the last view */
	uint8_t is_view_due, is_rolled, spare[2];
	uint32_t drifting;    /* bit m: metric m drifts, bit WATCH_METRICS: classes */
	int64_t reports, events, findings;
	float drain;          /* median, followed step by step */
	uint32_t drains;      /* steps, saturating */
	float boots, boots_square; /* in a day of a device: means */
	uint32_t boot_days, spare_too;
	struct drift_hour closing, late; /* the second: what came when the hour had been judged; goes into the next one */
	struct drift_result last;
	/* struct budget's own quarter of an hour */
	float common[WATCH_METRICS], common_sum[WATCH_METRICS];
	uint32_t common_count[WATCH_METRICS], common_slot;
};
struct detect_cohort {
	char name[224];       /* hardware/model-version */
	uint32_t number;
	bool is_hot_dirty, is_cold_dirty;
	struct detect_hot hot;
	struct detect_view view;
	struct budget budget;
	struct drift drift;
};

struct detect_finding {
	int64_t row;          /* 0: of the cohort */
	uint32_t cohort;      /* number */
	bool is_over;
	int64_t at_ms;
	struct signature_finding f; /* of one that is not over: cause, and kind and statistics of cohorts */
};
struct view_row {
	uint32_t cohort;
	int64_t batch;
	struct detect_view view;
};

struct detect {
	struct services *s;   /* NULL in benches */
	struct detect_options o;
	bool is_full;
	bool is_live;         /* the start is over: rules are told of scores */
	size_t stride;        /* of a device */
	float per_device_day;
	const struct symbols *symbols;
	const char *(*hardware_of)(void *ctx, int64_t row); /* NULL: unknown device */
	void *hardware_ctx;
	/* devices */
	uint8_t **slabs;
	uint64_t *dirty;       /* a bit for each place of the slabs */
	int64_t *loaded_of;    /* by place, at start only: batch of the stored state */
	uint32_t loaded_room;
	uint32_t slab_count, used; /* places ever used */
	uint32_t *free_places;
	uint32_t free_count, free_room;
	uint32_t *place_of;   /* by row: place + 1 */
	int64_t place_room;
	size_t dirty_count, device_count;
	/* cohorts */
	struct detect_cohort **cohorts;
	uint32_t cohort_count;
	int64_t loaded;       /* at start: all that is stored of cohorts holds every report up to this batch */
	/* the batch that is being told */
	int64_t batch;
	uint8_t *roles;       /* by symbol: enum watch_role + 1 */
	size_t role_count;
	struct drift lens;    /* what a device's drift sees of its cohort: from the view */
	struct drift_hour scrap;
	/* what waits */
	struct detect_finding *findings;
	size_t finding_first, finding_count, finding_room;
	struct stored_detect *events;
	size_t event_count, event_room;
	struct view_row *views; /* to be written */
	size_t view_count, view_room;
	struct view_row *past;  /* at start: as they were written, in order of batch */
	size_t past_count, past_room, past_at;
	/* what was sealed, until the next seal */
	struct stored_detect *rows;
	size_t row_room;
	struct buf bytes;
	struct buf state;     /* of one device, on its way into a page */
	struct state_pages *pages;
	struct state_pace pace;
	int64_t round_at_ms, round_batch;
	uint32_t round_place, round_end; /* a round writes what has changed of these places; equal: there is none */
	/* counters since the start */
	int64_t reports, series_events, lost_findings, lost_events;
	int64_t refused_types, refused_metrics, refused_values, refused_clocks, refused_devices;
};

/* detect_state.c: devices and reports. */
struct detect_state *detect_find(const struct detect *d, int64_t row); /* NULL: never heard of */
struct detect_state *detect_get(struct detect *d, int64_t row);        /* NULL: no such row can be */
void detect_drop(struct detect *d, int64_t row);
struct detect_state *detect_at(const struct detect *d, uint32_t place);
struct novelty_level *detect_series(const struct detect *d, struct detect_state *k, unsigned at);
void detect_prefetch(void *d, int64_t device);
void detect_drop_loaded(struct detect *d); /* the start is over */
void detect_update(struct detect *d, const struct log_report *r);
void detect_dirty(struct detect *d, uint32_t place);
void detect_note(struct detect *d, const struct detect_finding *f);
int64_t detect_device_bytes(const struct detect *d); /* of all slabs and tables */

/* detect_cohort.c */
struct detect_cohort *detect_cohort_of(struct detect *d, const char *hardware, int64_t version); /* NULL: none */
struct detect_cohort *detect_cohort_at(const struct detect *d, uint32_t number_plus_one);       /* NULL for 0 */
void detect_cohort_begin(struct detect *d, struct detect_cohort *c, int64_t first_ms); /* a batch begins */
void detect_cohort_name(struct detect_cohort *c);

/* detect_store.c: what telemetry calls */
void detect_begin(void *d, int64_t batch, int64_t first_ms);
void detect_report(void *d, const struct log_report *r);
void detect_forget(void *d, int64_t device);
void detect_start(struct detect *d, struct telemetry *t); /* takes its seat */
AVIARY_MUST_CHECK enum err detect_read(struct detect *d, struct telemetry *t, struct fault *f); /* states, then the log's end */
/* A detect without services: for detect_open and for benches. */
struct detect *detect_new(const struct detect_options *o);
void detect_seal(void *d, int64_t settled, int64_t now_ms, struct stored_batch *b);
void detect_load_row(void *d, const struct stored_detect *row);
void detect_load_page(void *d, const struct stored_page *page);

#endif
