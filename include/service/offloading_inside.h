/* The insides of service/offloading, shared by offloading.c, offloading_fit.c and offloading_policy.c only. */
#ifndef AVIARY_SERVICE_OFFLOADING_INSIDE_H
#define AVIARY_SERVICE_OFFLOADING_INSIDE_H

#include "core/offload_policy.h"
#include "service/offloading.h"
#include "store/offload_store.h"

struct offload_class {
	int64_t model;
	char *hardware, *version;
	uint16_t margin;
	int64_t rev, rev_at, fitted_at;
	enum offload_fit_why why;
	int64_t fits, faded_at, batch;
	struct offload_stats stats;
	uint32_t changed; /* generation of its last change */
	bool dirty;
};
struct policy {
	struct offload_policy_row row; /* its texts are its own */
	uint32_t changed;
	bool is_seen; /* by the refresh that is going on */
};
struct told {
	uint32_t generation;
	uint32_t row; /* of the device, its lower half: an index is used again */
};
struct offloading {
	struct services *s;
	struct offload_store *store;
	struct policy policies[OFFLOADING_POLICIES_MAX];
	size_t policy_count;
	struct offload_class *classes[OFFLOADING_CLASSES_MAX];
	size_t class_count;
	/* Who was told: each change of what devices should do is a generation. */
	uint32_t generation, removed; /* the last one, and the last removal of a policy */
	struct told *told;            /* by index of the device */
	size_t told_count;
	int64_t *queue; /* devices that are to be told */
	size_t queue_at, queue_count, queue_room;
	int64_t metrics[8]; /* symbols, see offloading.c; 0: not seen yet */
	bool is_replaying;
	bool is_lost;       /* a commit was lost: everything is written again */
	int64_t round_due_ms, marked_ms;
};

/* Writes every class that has news, and how far the log is in them. Inside a unit. */
AVIARY_MUST_CHECK enum err offloading_write_all(struct call *c);
/* Reads the policies again where they changed. */
AVIARY_MUST_CHECK enum err offloading_refresh(struct offloading *o, struct fault *f);
struct policy *offloading_policy(struct offloading *o, const char *model); /* NULL: none */
struct policy *offloading_policy_of(struct offloading *o, int64_t model);
struct offload_class *offloading_class(struct offloading *o, int64_t model, const char *hardware, const char *version); /* NULL: none */
AVIARY_MUST_CHECK enum err offloading_write(struct call *c, struct offload_class *k); /* its row, as of now */
/* "models/kws/offload/esp32s3/1.2.0", in the arena. */
const char *offloading_resource(struct call *c, const struct policy *p, const struct offload_class *k);
struct offload_bounds offloading_bounds(const struct policy *p);

/* offloading_fit.c: margins whose time has come, and the alerts of what is beyond its bounds. */
AVIARY_MUST_CHECK enum err offloading_fit(struct call *c, struct policy *p, struct offload_class *k);
AVIARY_MUST_CHECK enum err offloading_watch(struct call *c, const struct policy *p, const struct offload_class *k);
AVIARY_MUST_CHECK enum err offloading_unwatch(struct call *c, const struct policy *p, const struct offload_class *k); /* its alerts end */

#endif
