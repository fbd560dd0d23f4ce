/* The insides of struct telemetry, shared by telemetry.c, observe.c and self_windows.c only. */
#ifndef AVIARY_SERVICE_TELEMETRY_INSIDE_H
#define AVIARY_SERVICE_TELEMETRY_INSIDE_H

#include <stdatomic.h>

#include "service/state_pages.h"
#include "service/symbols.h"
#include "service/telemetry.h"
#include "service/tracks.h"
#include "store/telemetry_store.h"

#define TELEMETRY_HOOKS_MAX 8
#define TELEMETRY_LISTENERS_MAX 4

struct telemetry_hook {
	void (*fn)(struct call *c, void *ctx);
	void *ctx;
};
struct value_listener { /* of observe_on_values and observe_on_begin */
	void (*on_begin)(void *ctx, int64_t device, int64_t version, int64_t received_ms);
	void (*on_value)(void *ctx, int64_t device, const char *metric, double value, int64_t received_ms);
	void *ctx;
};
struct log_listener { /* of telemetry_listen */
	void (*fn)(void *ctx, int64_t batch, const struct log_report *r);
	void *ctx;
};
struct pending_window { /* its past is still to be read from the log */
	int64_t device, rollout, stage;
};
struct telemetry {
	struct telemetry_options o;
	char *path;
	struct telemetry_store *store; /* belongs to the writer thread while it works */
	struct symbols *symbols;
	struct tracks *tracks;
	/* the open batch */
	struct buf open;
	int64_t first_ms, last_ms, reports;
	int64_t settled;   /* last batch that is durable and applied */
	bool is_in_flight; /* batch settled + 1 */
	/* the round of device states that is being written */
	int64_t round_at_ms; /* when the next one begins */
	int64_t round_batch; /* every state is at least as new as this batch when it ends */
	size_t round_left;
	struct state_pages *pages;
	struct state_pace pace;
	struct pending_window *pending;
	size_t pending_count;
	int64_t newest_ms; /* last_ms of the newest settled batch */
	struct telemetry_hook hooks[TELEMETRY_HOOKS_MAX];
	size_t hook_count;
	struct value_listener listeners[TELEMETRY_LISTENERS_MAX];
	size_t listener_count;
	struct log_listener log_listeners[TELEMETRY_LISTENERS_MAX];
	size_t log_listener_count;
	struct telemetry_companion companion; /* report NULL: none */
	struct telemetry_counters counters;
	_Atomic int64_t log_bytes, failures; /* counted by the writer thread */
};

/* Reads the past of pending windows from the log. On failure they stay pending. */
void telemetry_catch_up(struct telemetry *t);
int64_t telemetry_model_of(void *symbols, int64_t version);

/* What observe_on_values tells of a metric of a report; false: nothing. Any thread. */
struct log_metric; /* store/report_log.h */
bool telemetry_value_of(const struct log_metric *m, double *value);

#endif
