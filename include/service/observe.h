/* What the judge sees of devices: baselines, windows of a stage, report counts, habits. Loop thread only.
 *
 * Every figure here is a function of the durable log of reports (service/telemetry.h): it changes only when a batch has been committed,
 * and after a kill and a restart it is the same, bit for bit. Devices are row ids, metrics are names.
 * Not here: what a figure means (core/judge.h).
 */
#ifndef AVIARY_SERVICE_OBSERVE_H
#define AVIARY_SERVICE_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/accum.h"
#include "core/ddsketch.h"
#include "core/silence.h"
#include "service/call.h"

/* The device's rolling baseline of a metric: what it reported under the version that it reports now, over between one half and the whole
 * of the baseline window. It starts anew when the version in the device's telemetry changes. `s` may be NULL when no sketch is wanted.
 * false, and empty accumulators, when there is no data. */
bool observe_baseline(struct call *c, int64_t device, const char *metric, struct metric_accum *a, struct ddsketch *s);
/* One half of it, for the spread between two windows of the same device: 0 = the older, complete one, 1 = the one being filled. */
bool observe_baseline_half(struct call *c, int64_t device, const char *metric, int half, struct metric_accum *a, struct ddsketch *s);

/* The same, of reports that named this version, as far as all of them were received at since_ms or later: false where some may be older. */
struct observe_of_version {
	int64_t device;
	const char *model, *version;
	int64_t since_ms; /* 0: any time */
};
bool observe_version_baseline(struct call *c, const struct observe_of_version *of, const char *metric, struct metric_accum *a, struct ddsketch *s);

/* Only how many reports of some metrics the baseline has, which costs next to nothing: no sketch is merged. reports[i] is what accum_point would
 * say for wanted[i]'s kind: 0 when none of its reports gave what the kind needs. At most 64. */
struct observe_wanted {
	int64_t metric; /* by observe_metric, once for many devices */
	enum metric_kind kind;
};
int64_t observe_metric(struct call *c, const char *metric); /* 0: never seen */
void observe_baseline_reports(struct call *c, int64_t device, const struct observe_wanted *wanted, size_t count, int64_t *reports);

/* Follows every metric of a device from `since_ms` (server time of receipt, inclusive) on. since_ms may lie in the past: what the log has since
 * then is counted too. The same call again changes nothing; another since_ms starts the window anew. After a restart call it again
 * for each device of an active stage: windows come back from disk, or from the log. */
void observe_follow(struct call *c, int64_t rollout, int64_t stage, int64_t device, int64_t since_ms);
/* The same for a release in shadow: of a report only those metrics count for which it has both `<m>` and `shadow.<m>` (docs/protocol.md), and a
 * report without such a pair counts nowhere, not in the counts of reports either. observe_window serves `<m>` and `shadow.<m>` of it. A stage's
 * device is followed in one way or the other: the last call decides, and starts the window anew when it changes. */
void observe_follow_pairs(struct call *c, int64_t rollout, int64_t stage, int64_t device, int64_t since_ms);
void observe_unfollow(struct call *c, int64_t rollout); /* all stages and devices of it */
void observe_unfollow_device(struct call *c, int64_t rollout, int64_t stage, int64_t device);
/* The window so far; false, and empty accumulators, when nothing was reported (or the device is not followed). */
bool observe_window(struct call *c, int64_t rollout, int64_t stage, int64_t device, const char *metric, struct metric_accum *a,
	struct ddsketch *s);
/* Reports of any metric in the window: of one device, and of all followed devices of the stage. */
int64_t observe_device_reports(struct call *c, int64_t rollout, int64_t stage, int64_t device);
int64_t observe_report_count(struct call *c, int64_t rollout, int64_t stage);

/* The same for those who read many cells: a metric's number (observe_metric) and a device's window, looked up once. A window is
 * valid until devices are followed, unfollowed or deleted, or a batch is settled; NULL: not followed, and has nothing. */
struct window;
const struct window *observe_find_window(struct call *c, int64_t rollout, int64_t stage, int64_t device);
int64_t observe_window_reports(const struct window *w);
bool observe_window_cell(const struct window *w, int64_t metric, struct metric_accum *a, struct ddsketch *s); /* s may be NULL */
/* Whether the device is followed from since_ms on already, so that observe_follow would do nothing. */
bool observe_is_followed(struct call *c, int64_t rollout, int64_t stage, int64_t device, int64_t since_ms);

/* Times of receipt: the last report and the usual gaps. false when the device never sent telemetry. */
bool observe_habit(struct call *c, int64_t device, struct silence_habit *h);

/* Called on the loop after each durable batch, in order of registration; `ctx` is passed back. At most 8. */
void observe_on_reports(struct telemetry *t, void (*fn)(struct call *c, void *ctx), void *ctx);

/* Called for each value of each durable report, before the functions above: a number, a report's mean or share, the 95th percentile of its sketch;
 * nothing for histograms. One function for each `ctx`, at most four of them; NULL turns that one off. It must not call back into this header. */
void observe_on_values(struct telemetry *t, void (*fn)(void *ctx, int64_t device, const char *metric, double value, int64_t received_ms), void *ctx);
/* Called before the values of each durable report, also of one that has none; likewise. `version`: of the model that the report names, for
 * observe_version; 0: it names none. */
void observe_on_begin(struct telemetry *t, void (*fn)(void *ctx, int64_t device, int64_t version, int64_t received_ms), void *ctx);
/* Model and version of such a number; false, and empty texts, for 0. Both live as long as the telemetry is open. */
bool observe_version(struct call *c, int64_t version, const char **model, const char **text);

#endif
