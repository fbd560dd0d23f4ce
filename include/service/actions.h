/* Actions: attempts of deployments as devices know them that speak hawkBit's DDI, and hawkBit's Management API.
 *
 * There is no table of actions. An action is a number of an attempt of a deployment (deployment.action), or of one that is to be cancelled
 * before anything else (deployment.cancelling), and what was said about it (deployment_note). Offers, timeouts, retries and reverts are the
 * rollouts' own; this room gives them numbers, and hears what devices say about them. Only devices of protocol `ddi` have actions.
 *
 * What a poll shows is mirrored in memory, one small state a device, and read from the store again only after something of it has changed
 * (the registry's device_state.is_stale). A poll of a device of which nothing changed costs no SQL at all.
 */
#ifndef AVIARY_SERVICE_ACTIONS_H
#define AVIARY_SERVICE_ACTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "core/ddi.h"
#include "core/maintenance.h"
#include "service/call.h"

struct actions;
struct device_state;   /* service/registry.h */
struct deployment_row; /* store/deployment_store.h */
struct rollout_live;   /* service/rollout_parts.h */

#define ACTION_TOKEN_MAX 128 /* bytes of a target token */

/* What the configuration says ([ddi]); read at each use. Texts are never NULL. */
struct action_options {
	const char *hardware;           /* class of devices that register themselves */
	const char *hardware_attribute; /* of configData: their class */
	const char *release_attribute;  /* of configData: what a device ran before it was ours */
	const char *closed_window;      /* "skip" or "withhold" */
	int64_t downloads_max;          /* without feedback; then an alert */
	int64_t busy_polls;             /* a second; above it intervals are stretched. 0: never */
};

/* `options` outlives it. Loads every ddi device. After rollouts, registry, alerts, settings. */
AVIARY_MUST_CHECK enum err actions_open(struct services *s, const struct action_options *options, struct actions **out, struct fault *f);
void actions_close(struct actions *x); /* NULL is allowed */
/* Once a second: devices that have not polled go offline; artifacts without sha1 and md5 get them (a job). */
AVIARY_MUST_CHECK enum err actions_tick(struct call *c);

/* ---- views, for the Management API ---- */

struct action_view {
	int64_t id, deployment, device; /* device: row */
	const char *device_id;
	int64_t rollout;
	int64_t release;
	const char *release_name;
	enum action_status status;
	bool is_active;     /* the device may still work on it */
	bool is_cancelling; /* and has been told to stop */
	bool is_revert;
	enum delivery_type type;
	int64_t forced_at;  /* of timeforced */
	int64_t weight;
	const char *schedule, *duration, *timezone; /* maintenance; NULL: none */
	int64_t created_at, updated_at;             /* first and last entry */
	bool has_code;
	int64_t code;       /* of the last feedback that had one */
};
/* `device` NULL: of any. ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err actions_get(struct call *c, const struct device_state *device, int64_t action, struct action_view *out);
/* By id, those above `after` (or, with is_descending, below it where it is > 0). `device` NULL: of all. Arrays in the arena. */
AVIARY_MUST_CHECK enum err actions_page(struct call *c, const struct device_state *device, int64_t after, bool is_descending, int64_t limit,
	struct action_view **out, size_t *count);
AVIARY_MUST_CHECK enum err actions_count(struct call *c, const struct device_state *device, int64_t *total);
/* The number of a deployment's present attempt; 0: none yet (it has not been offered, or its device speaks MQTT). */
AVIARY_MUST_CHECK enum err actions_of_deployment(struct call *c, int64_t deployment, int64_t *action);

struct action_note {
	int64_t id, at;
	enum action_status status;
	bool has_code;
	int64_t code;
	struct json_strs messages;
};
/* Entries of one action. */
AVIARY_MUST_CHECK enum err actions_notes(struct call *c, int64_t action, int64_t offset, int64_t limit, bool newest_first,
	struct action_note **out, size_t *count, int64_t *total); /* total may be NULL */

/* ---- operators ---- */
/* The device is told to stop at its next poll; what it does before that counts. ERR_METHOD where the action is over, or is being cancelled
 * already (without force). `force`: it is over at once, whatever the device does. */
AVIARY_MUST_CHECK enum err actions_cancel(struct call *c, struct device_state *d, int64_t action, bool force);
/* A soft or timeforced one becomes forced. ERR_METHOD where it is over. */
AVIARY_MUST_CHECK enum err actions_force(struct call *c, struct device_state *d, int64_t action);
/* configData is asked for again. */
AVIARY_MUST_CHECK enum err actions_request_attributes(struct call *c, struct device_state *d);
bool actions_wants_attributes(struct call *c, const struct device_state *d);

/* ---- tokens ---- */
/* A new one; text NULL: 32 random characters. ERR_INVALID: not 1 to ACTION_TOKEN_MAX visible characters. Audited without it. */
AVIARY_MUST_CHECK enum err actions_set_token(struct call *c, struct device_state *d, const char *text);
/* In the arena; NULL when the device has none. */
AVIARY_MUST_CHECK enum err actions_token(struct call *c, const struct device_state *d, const char **text);

/* ---- devices ---- */

/* What the base resource shows: from memory, but after a change. */
struct action_offer {
	enum { OFFER_NOTHING, OFFER_DEPLOYMENT, OFFER_CANCEL, OFFER_CONFIRMATION } kind;
	int64_t action;
	int32_t hash;              /* `c` of the link */
	int64_t installed;         /* action; 0: none */
	bool wants_attributes;
	int64_t sleep_ms;
};
/* Whether the next poll needs no SQL. */
bool actions_is_ready(struct call *c, const struct device_state *d);
/* Says that the device is there, and what it is to do. */
AVIARY_MUST_CHECK enum err actions_poll(struct call *c, struct device_state *d, struct action_offer *out);
/* Whether it is the device's token; constant time. */
bool actions_check_token(struct call *c, struct device_state *d, const char *text, size_t len);
/* Registers a device that a gateway or a certificate vouches for: hawkBit's plug and play. */
AVIARY_MUST_CHECK enum err actions_register(struct call *c, const char *id, struct device_state **out);
const char *actions_hardware(const struct call *c); /* class of devices of which nobody says another one */

/* One action's document. */
enum action_window { ACTION_WINDOW_NONE, ACTION_WINDOW_OPEN, ACTION_WINDOW_CLOSED };
struct action_file {
	int64_t id;
	const char *name, *sha256, *sha1, *md5; /* the last two NULL: not known yet */
	int64_t size_bytes, created_at;
};
struct action_chunk {
	const char *part, *name, *version;
	int64_t module; /* version row */
	struct action_file *files;
	size_t count;
};
struct action_document {
	struct action_view view;
	const char *download, *update; /* "forced", "attempt", "skip" */
	enum action_window window;
	struct action_chunk *chunks;
	size_t count;
};
enum action_base { ACTION_BASE_DEPLOYMENT, ACTION_BASE_CONFIRMATION, ACTION_BASE_INSTALLED };
/* ERR_NOT_FOUND where the action is not in that state. A deployment that is read is retrieved. */
AVIARY_MUST_CHECK enum err actions_document(struct call *c, struct device_state *d, int64_t action, enum action_base base, struct action_document *out);
/* The action that is to be cancelled is read; ERR_NOT_FOUND where it is not. */
AVIARY_MUST_CHECK enum err actions_cancel_read(struct call *c, struct device_state *d, int64_t action);

struct action_feedback {
	enum ddi_execution execution;
	enum ddi_finished finished;
	int64_t at;        /* the device's clock; 0: not told */
	bool has_code;
	int64_t code;
	int64_t of, done;  /* progress; of 0: not told */
	struct json_strs details;
};
/* ERR_NOT_FOUND, ERR_GONE (over), ERR_TOO_MANY (entries). */
AVIARY_MUST_CHECK enum err actions_feedback(struct call *c, struct device_state *d, int64_t action, const struct action_feedback *fb);
/* ERR_METHOD: it is not to be cancelled. */
AVIARY_MUST_CHECK enum err actions_cancel_feedback(struct call *c, struct device_state *d, int64_t action, const struct action_feedback *fb);
AVIARY_MUST_CHECK enum err actions_confirm(struct call *c, struct device_state *d, int64_t action, bool is_confirmed, const struct action_feedback *fb);

enum attributes_mode { ATTRIBUTES_MERGE, ATTRIBUTES_REPLACE, ATTRIBUTES_REMOVE };
/* ERR_TOO_MANY: more than 100; ERR_BAD_REQUEST: a name or value that is too long. `data` is an object of texts; null removes. */
AVIARY_MUST_CHECK enum err actions_set_attributes(struct call *c, struct device_state *d, enum attributes_mode mode, const struct json *data);
/* What the device says that it runs. *is_new: it was something else. */
AVIARY_MUST_CHECK enum err actions_set_installed(struct call *c, struct device_state *d, const char *name, const char *version, bool *is_new);

/* The files of a module that an action of the device offers; ERR_NOT_FOUND where none does. */
AVIARY_MUST_CHECK enum err actions_files(struct call *c, struct device_state *d, int64_t module, int64_t *action, struct action_file **out, size_t *count);
/* A file is fetched from its beginning: counted until the device says something, and noted where `uri` is not NULL. */
AVIARY_MUST_CHECK enum err actions_downloading(struct call *c, struct device_state *d, int64_t action, const char *uri);

struct auto_confirm {
	bool is_active;
	const char *initiator, *remark; /* NULL: none */
	int64_t activated_at;
};
AVIARY_MUST_CHECK enum err actions_auto_confirm(struct call *c, const struct device_state *d, struct auto_confirm *out);
/* ERR_CONFLICT: it is on already. What waits is confirmed. */
AVIARY_MUST_CHECK enum err actions_auto_confirm_on(struct call *c, struct device_state *d, const char *initiator, const char *remark);
AVIARY_MUST_CHECK enum err actions_auto_confirm_off(struct call *c, struct device_state *d);

/* ---- for rollouts ---- each does nothing for devices of another protocol ---- */
/* An attempt is about to be offered: a number, and its first entry. Before the row is written. `release`: what is offered. */
AVIARY_MUST_CHECK enum err actions_offered(struct call *c, const struct rollout_live *live, struct deployment_row *d, int64_t release, bool is_revert);
/* The server ends the present attempt: the device is asked to stop, or was never told. Before the row is written. */
AVIARY_MUST_CHECK enum err actions_withdrawn(struct call *c, struct deployment_row *d, const char *why);

#endif
