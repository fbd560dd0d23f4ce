/* The devices of the fleet: what they are, what they run, what they should know, and whether they are there.
 *
 * Two things live behind this header. The store (table `device` and its children) is the truth. The fleet index is its
 * mirror in memory: one `struct device_state` a device, found by public id or by row, so that a telemetry message costs
 * no SQL. Presence (last seen, online) and acknowledged revisions change in memory and reach the store in bulk
 * (registry_flush); everything else is written through.
 *
 * It is not: rollouts (who gets what), ingest (what messages mean), the API (JSON of requests).
 *
 * Rolled-back work: each change notes the device it touched; the registry listens to service/unit.h and rereads those
 * devices from the store when a unit of work was undone or a commit was lost.
 */
#ifndef AVIARY_SERVICE_REGISTRY_H
#define AVIARY_SERVICE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/names.h"
#include "service/call.h"

#define DEVICE_ID_MAX 64
#define DEVICE_ATTRIBUTES_MAX 32        /* an attribute value is at most 256 bytes, a name 64 */
#define DEVICE_ATTRIBUTES_DDI_MAX 100   /* of devices that tell theirs by configData */
#define DEVICE_TAGS_MAX 32
#define TWIN_MAX 16384                  /* bytes of the JSON text */
#define DESIRED_MESSAGE_MAX 200         /* bytes of an MQTT /desired message */
#define DESIRED_ETAG_SIZE 17            /* 16 hex digits and NUL */

struct json;
struct registry;
struct timebox;      /* service/timebox.h */
struct device_report; /* core/report.h */

/* One device in memory. Its address and `index` are stable for as long as the device exists; indices of deleted devices
 * are used again. Fields are read freely; they are changed by the functions below, except where noted. */
struct device_state {
	int64_t row;             /* device.id; 0 marks a free place (never handed out) */
	const char *id;          /* public id */
	int64_t created_at;
	int64_t last_seen_ms;    /* 0: never */
	int64_t running_counter; /* the manifest counter it confirmed */
	int64_t desired_rev;
	int64_t sent_rev;        /* newest rev that the broker acknowledged */
	int64_t deployment;      /* id of its active deployment, 0: none. Set by rollouts after registry_touch() */
	void *ingest_state;      /* belongs to service/ingest: see registry_on_forget */
	uint32_t index;          /* dense number, < registry_span() */
	uint32_t hardware;       /* interned: registry_text() */
	uint32_t release;        /* interned name it said it runs; 0: unknown */
	uint32_t kind;           /* of its likes: registry_kind() */
	bool online;
	bool is_ddi;             /* speaks hawkBit's DDI over HTTP (service/actions.h): nothing is sent to it */
	bool is_stale;           /* of such a device: something changed since its poll was last worked out */
	bool can_shadow;         /* capability: can run a release beside its own */
	uint8_t dirty;           /* private: what waits for registry_flush */
	bool touched;            /* private: changed since the last commit */
};

/* Opens the store and loads the index. Devices count as offline until their status arrives again. `s->db` and `s->units` must be open;
 * services that refer to devices (rollouts, ingest) are opened after this one. */
AVIARY_MUST_CHECK enum err registry_open(struct services *s, struct registry **out, struct fault *f);
void registry_close(struct registry *r); /* does not write; flush first. NULL is allowed */

/* ---- the index: no SQL ---- */
struct device_state *registry_find(const struct registry *r, const char *device_id);              /* NULL: unknown */
struct device_state *registry_findn(const struct registry *r, const char *device_id, size_t len); /* a slice */
struct device_state *registry_by_row(const struct registry *r, int64_t row);                      /* NULL: unknown */
/* Iterates over all devices: uint32_t at = 0; while ((d = registry_each(r, &at))). Devices may be deleted while iterating. */
struct device_state *registry_each(const struct registry *r, uint32_t *at);
size_t registry_size(const struct registry *r);   /* devices */
uint32_t registry_span(const struct registry *r); /* one above the highest index in use: for side arrays */
size_t registry_online(const struct registry *r); /* devices that are online */
/* Text of an interned `hardware` or `release`; "" for 0. Lives as long as the registry. */
const char *registry_text(const struct registry *r, uint32_t interned);
/* Devices that are the same for questions about models share a kind. `class` 0: nothing is known of what they can do (service/compats.h). */
struct fleet_kind;
const struct fleet_kind *registry_kind(const struct registry *r, const struct device_state *d);
/* Of all kinds that have devices: uint32_t at = 0; while ((k = registry_each_kind(r, &at))). */
const struct fleet_kind *registry_each_kind(const struct registry *r, uint32_t *at);
/* Number of a text, 0 when no device had it since the start. For comparisons without strings. */
uint32_t registry_hardware_number(const struct registry *r, const char *hardware);
uint32_t registry_release_number(const struct registry *r, const char *release);
/* `fn` is called before a device leaves the index (deleted, or its creation rolled back), to free ingest_state. One listener. */
void registry_on_forget(struct registry *r, void (*fn)(void *ctx, struct device_state *d), void *ctx);

/* ---- keeping the mirror true ---- */
void registry_touch(struct registry *r, struct device_state *d); /* before changing `deployment` *//* How many commits were lost since the start: work that goes over several ticks compares, since what it did before may be gone. */
uint64_t registry_lost_commits(const struct registry *r);
/* Only for those who roll back by db_end: rereads what was touched since the last commit. Presence is kept and will be written
 * again. Aborts when the store cannot be read: the mirror would lie. */
void registry_resync(struct registry *r);

/* ---- presence ---- */
void registry_seen(struct registry *r, struct device_state *d, int64_t now_ms); /* any sign of life; memory only */
void registry_set_online(struct registry *r, struct device_state *d, bool online, int64_t now_ms); /* memory only; also "seen" when true */
/* A sign of life that is not worth a row: the store learns of it with the next one that is. Memory only. */
void registry_seen_quietly(struct device_state *d, int64_t now_ms);
/* Writes at most `max` waiting presences and acknowledged revisions (0: all), in one unit of work. Call every few seconds
 * with a maximum that keeps the loop short (2000), and with 0 at shutdown. */
AVIARY_MUST_CHECK enum err registry_flush(struct call *c, size_t max);
size_t registry_waiting(const struct registry *r); /* how many wait */

/* ---- devices ---- */
struct device_attribute {
	const char *name, *value;
};
/* What an operator or an enrolment says about a device. For create: id and hardware are required, NULL elsewhere means empty.
 * For update: NULL means "leave as it is", also for `attributes` and `tags`; an attribute with value NULL is removed. */
struct device_spec {
	const char *id;
	const char *name;
	const char *hardware;                      /* never changes after creation, except by upsert */
	const struct device_attribute *attributes; /* update: merged; upsert: replaced */
	size_t attribute_count;
	const char *const *tags;                   /* replaced as a whole */
	size_t tag_count;
	const char *protocol;                      /* "aviary" or "ddi"; only of a new device, NULL: aviary */
	const char *token;                         /* of a new ddi device; NULL: a random one (service/actions.h shows it) */
};
/* Fills the attributes of a spec from a JSON object; numbers and booleans become their text, null means removal. */
AVIARY_MUST_CHECK enum err registry_bind_attributes(struct call *c, const struct json *object, struct device_spec *spec);
/* ERR_INVALID with a pointer for a broken value, ERR_CONFLICT when the id exists. Audited, event device.created. */
AVIARY_MUST_CHECK enum err registry_create(struct call *c, const struct device_spec *spec, struct device_state **out);
/* Audited, event device.updated; the revision grows by one. `if_revision` > 0 must be the current one (ERR_PRECONDITION). */
AVIARY_MUST_CHECK enum err registry_update(struct call *c, struct device_state *d, const struct device_spec *change, int64_t if_revision);
/* What bulk registration does with a line: creates, or makes the device what the line says (members that are absent are left). Audited;
 * the caller notes the whole request at its end (registry_note_bulk: one more audit entry, and the only event). A refused line has
 * written nothing, so that the unit of work can go on. */
enum upsert { UPSERT_CREATED, UPSERT_UPDATED, UPSERT_UNCHANGED };
AVIARY_MUST_CHECK enum err registry_upsert(struct call *c, const struct device_spec *spec, enum upsert *did);
AVIARY_MUST_CHECK enum err registry_note_bulk(struct call *c, int64_t created, int64_t updated, int64_t unchanged, int64_t refused);
/* Deletes a device and what only it owns. In an active deployment: ERR_CONFLICT unless `force`; `what` (may be NULL) gets JSON
 * members that say what was done. `d` is gone afterwards. Its retained MQTT messages are cleared after the commit. */
AVIARY_MUST_CHECK enum err registry_delete(struct call *c, struct device_state *d, bool force, int64_t if_revision, struct buf *what);
/* Writes the device as the JSON object that the API shows, and says its revision. */
AVIARY_MUST_CHECK enum err registry_encode(struct call *c, const struct device_state *d, struct buf *out, int64_t *revision);
AVIARY_MUST_CHECK enum err registry_revision(struct call *c, const struct device_state *d, int64_t *revision);
/* The attribute's value in the call's arena, NULL when it has none. */
AVIARY_MUST_CHECK enum err registry_attribute(struct call *c, const struct device_state *d, const char *name, const char **value);
/* Whether two devices or more carry this value of the attribute. */
AVIARY_MUST_CHECK enum err registry_attribute_is_shared(struct call *c, const char *name, const char *value, bool *is_shared);
/* The version of `model` that it said it runs, NULL when it did not say. */
AVIARY_MUST_CHECK enum err registry_model(struct call *c, const struct device_state *d, const char *model, const char **version);
/* Its capabilities as JSON text in the arena ("{}" when it told none), and the firmware version it said it runs (NULL: not said). */
AVIARY_MUST_CHECK enum err registry_capabilities(struct call *c, const struct device_state *d, const char **json);
/* It tells other ones: a JSON object. */
AVIARY_MUST_CHECK enum err registry_set_capabilities(struct call *c, struct device_state *d, struct slice text);
AVIARY_MUST_CHECK enum err registry_firmware(struct call *c, const struct device_state *d, const char **firmware);

/* What it can do, as a class of service/compats.h. */
AVIARY_MUST_CHECK enum err registry_set_class(struct call *c, struct device_state *d, uint32_t class);

/* ---- credentials ---- */
/* A new secret: 64 hex digits, shown once; the store keeps SHA-256 of the text. Audited without it. */
AVIARY_MUST_CHECK enum err registry_make_secret(struct call *c, struct device_state *d, char secret[65]);
AVIARY_MUST_CHECK enum err registry_clear_secret(struct call *c, struct device_state *d); /* lets the device enrol again */
/* True when `secret` (text, any length) is the device's; takes the same time for a wrong one. `len` bytes, no NUL needed. */
bool registry_check_secret(struct call *c, const char *device_id, const char *secret, size_t len);

/* Enrols a device by the `enrol` member of its report: unknown -> created (uses the token up by one); known without a secret
 * -> gets this one (likewise), what operators said about it stays; known with the same secret -> ERR_OK and nothing changes,
 * whatever the token; with another secret -> ERR_FORBIDDEN. A bad token -> ERR_UNAUTHORIZED; another hardware class than
 * registered -> ERR_CONFLICT. */
AVIARY_MUST_CHECK enum err registry_enrol(struct call *c, const char *device_id, const struct device_report *report, struct device_state **out);

/* ---- reports ---- */
/* Applies what a report says about the device (`running`, `capabilities`; not `enrol`, not `deployment`) in the running unit of
 * work and asks the outbox to acknowledge it, also a duplicate. *is_new is false for a duplicate (same boot, seq not above the
 * last): then nothing else may be done with the report's content either. */
AVIARY_MUST_CHECK enum err registry_apply_report(struct call *c, struct device_state *d, const struct device_report *report, bool *is_new);

/* What a device runs that does not say so itself: worked out from what it was given. */
struct registry_running {
	const char *release;
	const char *firmware; /* NULL: unknown */
	const struct device_attribute *models; /* name and version */
	size_t model_count;
};
AVIARY_MUST_CHECK enum err registry_set_running(struct call *c, struct device_state *d, const struct registry_running *running);
/* Another class: only of devices that tell it themselves. */
AVIARY_MUST_CHECK enum err registry_set_hardware(struct call *c, struct device_state *d, const char *hardware);
/* The token of a ddi device, sealed; text NULL: 32 random characters. ERR_INVALID: not 1 to 128 visible characters. */
AVIARY_MUST_CHECK enum err registry_set_token(struct call *c, struct device_state *d, const char *text);

/* ---- desired ---- */
/* What this device should do has changed: the next rev, and the outbox tells it. */
AVIARY_MUST_CHECK enum err registry_bump_desired(struct call *c, struct device_state *d);
/* Identity of the desired document at the current rev. */
void registry_desired_etag(const struct device_state *d, char etag[DESIRED_ETAG_SIZE]);
/* The /desired MQTT message, appended; at most DESIRED_MESSAGE_MAX bytes. */
AVIARY_MUST_CHECK enum err registry_desired_message(struct call *c, const struct device_state *d, struct buf *out);
void registry_mark_sent(struct registry *r, struct device_state *d, int64_t rev); /* after PUBACK; written by registry_flush */
void registry_tell_unsent(struct call *c); /* at start and after a reconnect: every device with rev > sent_rev goes to the outbox */

/* ---- twins: JSON objects of at most TWIN_MAX bytes ---- */
enum twin { TWIN_DESIRED, TWIN_REPORTED };
AVIARY_MUST_CHECK enum err registry_twin(struct call *c, const struct device_state *d, enum twin which, const char **json, int64_t *revision);
/* Replaces the desired twin; `merge` applies an RFC 7396 merge patch instead. Audited; bumps desired when the content changes. */
AVIARY_MUST_CHECK enum err registry_set_twin(struct call *c, struct device_state *d, const char *json, bool merge, int64_t if_revision, int64_t *revision);

/* ---- selection (RSQL: docs/filters.md) ---- */
/* `filter` NULL or "": every device. `group`: row of a group, 0: none. ERR_BAD_REQUEST with the offset for a broken filter. */
AVIARY_MUST_CHECK enum err registry_check_filter(struct call *c, const char *filter);
AVIARY_MUST_CHECK enum err registry_count(struct call *c, const char *filter, int64_t group, int64_t *count);
/* Calls `fn` for every match in order of device row, until it returns an error, which is passed on. `fn` may write (also to the matched
 * device), but must not select with the same filter again. */
AVIARY_MUST_CHECK enum err registry_select(struct call *c, const char *filter, int64_t group,
                                           enum err (*fn)(void *ctx, struct device_state *d), void *ctx);
/* The first `limit` matches in order of `sort` (as of struct device_query without its sign; NULL: of row), with the value sorted by. */
AVIARY_MUST_CHECK enum err registry_each_sorted(struct call *c, const char *filter, int64_t group, const char *sort, bool descending, int64_t limit,
	enum err (*fn)(void *ctx, int64_t row, const char *text, int64_t number), void *ctx);
/* The same in pieces, for selections of any size on the loop: a step visits devices until the timebox is over, at least a few. Whoever is
 * registered or changed meanwhile is seen as it is when the scan passes by, those registered after its beginning not at all; each
 * device at most once. `fn` must not write what the filter asks for. A filter on presence first writes what waits, in pieces too. */
struct registry_scan;
AVIARY_MUST_CHECK enum err registry_scan_new(struct call *c, const char *filter, int64_t group, struct registry_scan **out);
AVIARY_MUST_CHECK enum err registry_scan_step(struct call *c, struct registry_scan *s, const struct timebox *box,
                                              enum err (*fn)(void *ctx, struct device_state *d), void *ctx, bool *is_done);
void registry_scan_free(struct registry_scan *s); /* NULL is allowed */
AVIARY_MUST_CHECK enum err registry_matches(struct call *c, const struct device_state *d, const char *filter, int64_t group, bool *matches);

/* A page of devices as JSON objects: `sort` NULL, or one of id name hardware lastSeen createdAt with '-' before it for
 * descending. *next is the cursor of the next page in the arena, NULL on the last. *total is counted when not NULL. */
struct device_query {
	const char *filter;
	int64_t group;
	const char *sort;
	const char *cursor;
	int64_t limit; /* 1 .. 1000 */
};
/* Each row is written by json_* into `out`, which must have an open array. */
AVIARY_MUST_CHECK enum err registry_list(struct call *c, const struct device_query *q, struct buf *out, const char **next, int64_t *total);

#endif
