/* The insides of struct health, shared by health.c and health_*.c only. */
#ifndef AVIARY_SERVICE_HEALTH_INSIDE_H
#define AVIARY_SERVICE_HEALTH_INSIDE_H

#include "core/health.h"
#include "service/alerts.h"
#include "service/blocks.h"
#include "service/health.h"
#include "store/health_store.h"

#define HEALTH_HASH_CAUSE "model_hash_mismatch" /* what alerts of model_hash are called, as core/signature.h names the cause; others: health.<check> */
#define HEALTH_COHORTS_MAX 4096 /* later ones share the first, which is nobody's own */
#define HEALTH_LINKS 256

struct device_state;

/* One device under one check; zeroed: nothing is known. */
struct health_state {
	int64_t device; /* row; another one than the index' owner: left by a device that is gone */
	int64_t at_ms, breach_ms, applies_until_ms;
	float value;
	struct health_count counts[HEALTH_CELLS];
	uint16_t cohort;
	uint8_t cell, suspicious; /* of the newest result; bit of each cell */
	bool has_result, has_value, passed;
	uint8_t level;     /* enum alert_level of the newest result */
	bool wants;        /* an alert should be open: nothing passed since a failure that pages */
	bool is_open;      /* one was, pending or firing, when it was told last */
	bool is_dirty;     /* in the queue */
	bool is_changed;   /* the row is to be written soon */
	bool is_forced;    /* what was written is gone: write again, whatever `fires` says */
	bool is_behind;    /* counts differ from the row; a round brings them */
	bool applies;      /* the check's filter matched, until applies_until_ms */
};
/* One cell of a cohort. */
struct health_cell {
	struct health_sums sums;
	int64_t failing, firing; /* devices: the newest result is a failure here; it is here, and an alert should be open */
	int64_t suspicious;      /* devices that are, in this cell */
};
struct health_check {
	struct health_check_row row; /* texts are our own */
	bool is_limit, is_excusable, is_hash;
	struct health_context context;
	struct blocks states; /* of struct health_state, by device_state.index */
	struct health_cell (*cells)[HEALTH_CELLS]; /* by cohort */
	size_t cells_room;
	int64_t deleted_upto; /* device row */
};
struct cohort_name {
	char *hardware, *model, *version;
};
/* What a device's last report said of its surroundings. */
struct surroundings {
	int64_t device, at_ms, version;
	uint16_t cohort;
	float temperature_c, battery, rssi_dbm;
};
/* What the reports of a batch brought, until the batch is through. */
struct taken_report {
	int64_t device, version, received_ms;
	float context[3];
	size_t first, count; /* of taken_value */
};
struct taken_value {
	uint32_t check;
	double value;
};
/* Which checks a metric concerns. By address: texts of symbols stay where they are. */
struct metric_link {
	const char *text;
	uint32_t checks;
	int context; /* index into taken_report.context, -1: none */
};
struct changed {
	int64_t check, device;
};
struct change_list {
	struct changed *items;
	size_t count, room;
};
struct health {
	struct services *s;
	struct health_store *store;
	struct arena *arena;
	struct health_check *checks[HEALTH_CHECKS_MAX];
	size_t count;
	struct cohort_name *cohorts;
	size_t cohort_count;
	struct blocks around; /* of struct surroundings, by device_state.index */
	struct taken_report *reports;
	size_t report_count, report_room;
	struct taken_value *values;
	size_t value_count, value_room;
	struct metric_link links[HEALTH_LINKS];
	struct change_list queue, uncommitted;
	size_t queue_head; /* before it the queue is through */
	uint64_t touched;
	bool is_stale; /* the list of checks may differ from the rows */
	uint32_t round_check, round_at;
};

struct health_check *health_find(struct health *h, int64_t id); /* NULL; those that are being deleted too */
enum err health_load_checks(struct health *h, struct fault *f);
struct health_state *health_state_of(struct health_check *k, const struct device_state *d); /* made when there is none */
struct health_state *health_state_find(const struct health_check *k, const struct device_state *d); /* NULL: there is none */
const struct cohort_name *health_cohort(const struct health *h, uint16_t cohort);
/* How the device does in a cell among its cohort. */
struct health_judgement health_judge_state(const struct health_check *k, const struct health_state *st, unsigned cell);
/* Row and alert as memory has them, in the running unit of work. detail NULL: made of the value. */
AVIARY_MUST_CHECK enum err health_write(struct call *c, struct health_check *k, struct health_state *st, const char *detail);
/* health_tell.c: the newest result as a signal; detail NULL: none. After it st->is_open is so. */
AVIARY_MUST_CHECK enum err health_tell(struct call *c, const struct health_check *k, struct health_state *st, const struct device_state *d,
	const char *detail);
bool health_has_news(const struct health_state *st); /* for an alert: one that is quiet costs nothing */
bool health_is_untold(struct call *c, const struct health_check *k, const struct health_state *st); /* it should have an alert, and has none */
AVIARY_MUST_CHECK enum err health_tell_end(struct call *c, const struct health_check *k, const struct device_state *d); /* the check is gone */
void health_recall(struct health *h, const struct health_check *k, struct health_state *st, const struct device_state *d); /* after a restart */
const char *health_describe(struct call *c, const struct health_check *k, const struct health_state *st, const char *detail);
AVIARY_MUST_CHECK enum err health_delete_some(struct call *c, struct health_check *k);
AVIARY_MUST_CHECK enum err health_run_due(struct call *c, struct health_check *k);
void health_touch(struct health *h);

#endif
