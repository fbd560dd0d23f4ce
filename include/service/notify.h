/* Who is told of alerts: receivers, what they are told and when, and what is on its way to them. Loop thread; rows are in fleet.db.
 *
 * Alerts write a row `notice` with each transition. notify_tick takes notices into groups (a cohort or resource, and a rule or kind), and where a
 * group is due for a receiver (core/notify_plan.h) writes one `delivery` with the text as it will be sent. Silenced and inhibited alerts are
 * left out and counted. Whoever sends (api/notify_out.h) takes due deliveries, one at a time of a key, and says how it went; a row goes only
 * when that is written, so a kill at any point repeats a delivery (same Idempotency-Key) and loses none.
 */
#ifndef AVIARY_SERVICE_NOTIFY_H
#define AVIARY_SERVICE_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/notify_plan.h"
#include "service/alerts.h"
#include "service/call.h"

struct notify;

AVIARY_MUST_CHECK struct notify *notify_open(struct services *s, struct fault *f); /* NULL on failure; after alerts */
void notify_close(struct notify *n);                                              /* NULL is allowed */

/* ---- receivers ---- */
#define RECEIVERS_MAX 50
#define RECEIVER_MATCHERS 16
#define RECEIVER_RECIPIENTS 20
#define RECEIVER_PER_MINUTE 10 /* when the operator names none; Alertmanager takes as many as there are */
#define RECEIVER_ALERTS 200 /* listed in one notification; more are counted */

struct receiver {
	int64_t id, revision, created_at, updated_at, timeout_ms;
	const char *name, *type; /* "webhook" "alertmanager" "email" */
	bool is_enabled;
	const struct silence_matcher *matchers; /* as of silences, all must match; none: everything */
	size_t matcher_count;
	const char *url;
	const char *secret;                 /* HMAC key, bearer token or password; "": none */
	const char *ca_file;                /* PEM; "": the system's */
	const char *user, *sender;          /* of mail */
	const char *const *recipients;      /* of mail */
	size_t recipient_count;
	const char *title, *text, *body;    /* templates; "": the standard ones; body: of webhooks, JSON */
	struct notify_timing timing;
	int64_t per_minute;                 /* notifications of all groups together; 0: as many as there are */
	int64_t delayed;                    /* how often one had to wait for that */
};
/* ERR_INVALID with a pointer, ERR_CONFLICT. Addresses are not looked at here: who sends does that. The secret stays where it is NULL. */
AVIARY_MUST_CHECK enum err receiver_create(struct call *c, const struct receiver *r, int64_t *id);
AVIARY_MUST_CHECK enum err receiver_show(struct call *c, int64_t id, struct receiver *out); /* texts in the arena */
AVIARY_MUST_CHECK enum err receiver_change(struct call *c, const struct receiver *r);
AVIARY_MUST_CHECK enum err receiver_remove(struct call *c, int64_t id); /* with everything that is on its way to it */
AVIARY_MUST_CHECK enum err receivers_list(struct call *c, int64_t after, int64_t limit, struct receiver **items, size_t *count);
/* One delivery that says it is a test. */
AVIARY_MUST_CHECK enum err receiver_test(struct call *c, int64_t id, int64_t *delivery);

/* ---- time ---- */
/* Notices into groups, groups into deliveries; in its own units, in pieces. *more: call again soon. */
AVIARY_MUST_CHECK enum err notify_tick(struct call *c, bool *more);

/* ---- for who sends ---- */
struct delivery {
	int64_t id, receiver, seq, created_at, expires_at, next_at, attempts, done_at;
	int64_t reply;         /* status of the last answer */
	const char *key;       /* key:seq is the Idempotency-Key */
	const char *group, *status, *subject, *body, *error;
};
/* What may be sent now, over all receivers; the receiver of each in the same place. Only what was committed may be sent: call it where
 * nothing is pending. Those that were given are under way until delivery_ended. */
AVIARY_MUST_CHECK enum err deliveries_take(struct call *c, size_t limit, struct delivery **items, struct receiver **receivers, size_t *count);
struct delivery_outcome {
	enum notify_outcome outcome;
	int reply;
	const char *error;      /* NULL: none */
	int64_t retry_after_ms; /* 0: none */
	uint64_t random;
};
AVIARY_MUST_CHECK enum err delivery_ended(struct call *c, int64_t id, const struct delivery_outcome *o); /* its own unit */

/* ---- operators ---- */
/* Newest first, without bodies; receiver 0, status NULL: any. */
AVIARY_MUST_CHECK enum err deliveries_list(struct call *c, int64_t receiver, const char *status, int64_t before, int64_t limit, struct delivery **items,
	size_t *count);
AVIARY_MUST_CHECK enum err delivery_show(struct call *c, int64_t id, struct delivery *out);
AVIARY_MUST_CHECK enum err delivery_resend(struct call *c, int64_t id); /* a dead one is tried again, for a day; ERR_CONFLICT: it is not dead */

#endif
