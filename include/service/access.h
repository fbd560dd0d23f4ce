/* Who may do what, and the books about it: tokens, the audit log, events for listeners, kept replies of repeated
 * requests, counters.
 *
 * Tokens are mirrored in memory by the SHA-256 of their text, so that a request costs no SQL. The text is never stored
 * and is shown once. What it is not: credentials of devices (service/registry.h), what a role may do on a route (the
 * route table).
 *
 * Rolled-back work: it listens to service/unit.h and rereads the tokens if they were touched.
 */
#ifndef AVIARY_SERVICE_ACCESS_H
#define AVIARY_SERVICE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/call.h"
#include "store/access_store.h"

#define ACCESS_TOKENS_MAX 10000      /* usable ones; all of them are in memory */
#define ACCESS_TOKEN_TEXT_MAX 128    /* bytes of a token text, as docs/protocol.md says */
#define ACCESS_TOKEN_SIZE 56         /* room for the text of a token made here, with NUL */
#define ACCESS_IDEMPOTENCY_MS 86400000 /* a POST's first answer is kept for a day */

struct access;

struct access_limits {
	int64_t events_max;   /* rows kept for listeners that come back; oldest go */
	int64_t audit_age_ms; /* how long the audit log is kept */
	int64_t audit_max;    /* rows, whatever their age */
};

/* Opens the store and loads the tokens. Where there is no usable admin token, <state>/admin.token (0600) is made and
 * its text taken in; a file that is already there gives the text instead, so that a machine can be prepared
 * (ERR_FORBIDDEN when others may read it). `limits` outlives it. */
AVIARY_MUST_CHECK enum err access_open(struct services *s, const struct access_limits *limits, struct access **out,
	struct fault *f);
void access_close(struct access *a); /* NULL is allowed */

/* ---- tokens ---- */
const char *access_role_name(enum role role);  /* "viewer"... "none" */
enum role access_role(const char *name);       /* ROLE_NONE: no such role */
/* The API token with this text, usable now, into *who. Takes the same time for a text that is close. */
bool access_authenticate(const struct access *a, const char *text, size_t len, int64_t now_ms, struct principal *who);
/* Checks an enrolment token and uses it up by one, in the running unit of work. ERR_UNAUTHORIZED: no such token,
 * expired, used up. */
AVIARY_MUST_CHECK enum err access_take_enrolment(struct call *c, const char *text);
/* Makes a token (row->name, kind, role, expires_at, uses_left are read; the others filled). Audited. ERR_INVALID with a
 * pointer. */
AVIARY_MUST_CHECK enum err access_create_token(struct call *c, struct token_row *row, char text[ACCESS_TOKEN_SIZE]);
AVIARY_MUST_CHECK enum err access_get_token(struct call *c, int64_t id, struct token_row *row);
/* ERR_CONFLICT: it is the last admin token that can be used. Revoking a revoked one is no error. Audited. */
AVIARY_MUST_CHECK enum err access_revoke_token(struct call *c, int64_t id);
/* Rows with id > after in ascending order; *count <= limit. Texts in the arena. */
AVIARY_MUST_CHECK enum err access_list_tokens(struct call *c, int64_t after, int64_t limit, struct token_row **rows,
	size_t *count);

/* ---- audit: one row for each change, in the unit of work of the change ---- */
/* action: "device.create"; resource: "devices/dev-1"; before, after: JSON or NULL. */
AVIARY_MUST_CHECK enum err audit_append(struct call *c, const char *action, const char *resource, const char *before,
	const char *after);
/* Newest first, id < before (0: from the newest); resource, who, action: NULL or exactly that. */
AVIARY_MUST_CHECK enum err audit_list(struct call *c, const struct audit_filter *filter, int64_t before, int64_t limit,
	struct audit_row **rows, size_t *count);

/* ---- events: what happened, for /events and for a resource's history ---- */
/* kind: "rollout.status"; data: a JSON object. Listeners hear of it after the commit. */
AVIARY_MUST_CHECK enum err event_append(struct call *c, const char *kind, const char *resource, const char *data);
/* Rows with id > after, oldest first. resource NULL: of everything. */
AVIARY_MUST_CHECK enum err event_list(struct call *c, const char *resource, int64_t after, int64_t limit,
	struct event_row **rows, size_t *count);
AVIARY_MUST_CHECK enum err event_bounds(struct call *c, int64_t *oldest, int64_t *newest); /* 0, 0: none */

/* ---- number lines ---- */
/* The next number (from 1) of a counter that never goes back. */
AVIARY_MUST_CHECK enum err counter_next(struct call *c, const char *name, int64_t *value);
/* the last one given; 0: none */
AVIARY_MUST_CHECK enum err counter_get(struct call *c, const char *name, int64_t *value);
/* Makes sure that the next number is above `least` (after a restore of an older backup). */
AVIARY_MUST_CHECK enum err counter_raise(struct call *c, const char *name, int64_t least);

/* ---- repeated requests ---- */
/* The kept reply for this caller and key; ERR_CONFLICT when the key was used with another request. */
AVIARY_MUST_CHECK enum err idempotency_find(struct call *c, const char *key, const uint8_t request_sha256[32],
	struct kept_reply *reply, bool *found);
AVIARY_MUST_CHECK enum err idempotency_keep(struct call *c, const char *key, const uint8_t request_sha256[32],
	int status, const void *reply, size_t len);

/* Deletes at most `rows` outdated rows of each kind; *more tells whether there are others. Called now and then. */
AVIARY_MUST_CHECK enum err access_retain(struct call *c, int64_t rows, bool *more);

#endif
