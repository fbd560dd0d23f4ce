/* Rows of sql/fleet/0001_access.sql: tokens, audit, events, kept replies, counters. Texts and blobs that are returned
 * live in the arena. */
#ifndef AVIARY_STORE_ACCESS_STORE_H
#define AVIARY_STORE_ACCESS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct access_store;
struct db;

struct token_row {
	int64_t id;
	const char *name; /* for people: "dashboard" */
	const char *kind; /* "api" "enrolment" */
	const char *role; /* "viewer" "operator" "admin" "enrol" */
	uint8_t sha256[32];
	int64_t created_at;
	int64_t expires_at; /* 0: never */
	int64_t uses_left;  /* -1: unlimited */
	int64_t revoked_at; /* 0: not revoked */
};

struct audit_row {
	int64_t id, at;
	const char *who, *role, *action, *resource;
	const char *before, *after; /* JSON or NULL */
};
struct audit_filter {
	const char *resource, *who, *action; /* NULL: any */
	int64_t from, to;                    /* times of `at`, both inclusive; 0: open */
};

struct event_row {
	int64_t id, at;
	const char *kind, *resource, *data;
};

struct kept_reply {
	uint8_t request_sha256[32];
	int64_t created_at;
	int status;
	const void *reply;
	size_t len;
};

AVIARY_MUST_CHECK enum err access_store_open(struct db *db, struct access_store **out, struct fault *f);
void access_store_close(struct access_store *s); /* its statements belong to the connection; NULL is allowed */

AVIARY_MUST_CHECK enum err token_insert(struct access_store *s, struct token_row *row, struct fault *f); /* fills id */
/* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err token_get(struct access_store *s, int64_t id, struct arena *a, struct token_row *row,
	struct fault *f);
/* id > after, ascending. */
AVIARY_MUST_CHECK enum err token_page(struct access_store *s, int64_t after, int64_t limit, struct arena *a,
	struct token_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err token_set_revoked(struct access_store *s, int64_t id, int64_t at, struct fault *f);
AVIARY_MUST_CHECK enum err token_set_uses(struct access_store *s, int64_t id, int64_t uses_left, struct fault *f);

AVIARY_MUST_CHECK enum err audit_insert(struct access_store *s, const struct audit_row *row, struct fault *f);
/* id < before (0: no bound), newest first. */
AVIARY_MUST_CHECK enum err audit_page(struct access_store *s, const struct audit_filter *filter, int64_t before,
	int64_t limit, struct arena *a,
	struct audit_row **rows, size_t *count, struct fault *f);

AVIARY_MUST_CHECK enum err event_insert(struct access_store *s, struct event_row *row, struct fault *f); /* fills id */
AVIARY_MUST_CHECK enum err event_page(struct access_store *s, const char *resource, int64_t after, int64_t limit,
	struct arena *a,
	struct event_row **rows, size_t *count, struct fault *f);
AVIARY_MUST_CHECK enum err event_range(struct access_store *s, int64_t *oldest, int64_t *newest, struct fault *f);

AVIARY_MUST_CHECK enum err counter_increment(struct access_store *s, const char *name, int64_t *value, struct fault *f);
AVIARY_MUST_CHECK enum err counter_read(struct access_store *s, const char *name, int64_t *value, struct fault *f);
AVIARY_MUST_CHECK enum err counter_set_least(struct access_store *s, const char *name, int64_t least, struct fault *f);

AVIARY_MUST_CHECK enum err reply_find(struct access_store *s, const char *principal, const char *key, struct arena *a,
	struct kept_reply *r, bool *found, struct fault *f);
AVIARY_MUST_CHECK enum err reply_put(struct access_store *s, const char *principal, const char *key,
	const struct kept_reply *r, struct fault *f);

/* Each deletes at most `rows` and tells how many it did. */
AVIARY_MUST_CHECK enum err reply_retain(struct access_store *s, int64_t older_than, int64_t rows, int64_t *deleted,
	struct fault *f);
AVIARY_MUST_CHECK enum err event_retain(struct access_store *s, int64_t keep, int64_t rows, int64_t *deleted,
	struct fault *f);
AVIARY_MUST_CHECK enum err audit_retain(struct access_store *s, int64_t older_than, int64_t keep, int64_t rows,
	int64_t *deleted, struct fault *f);
AVIARY_MUST_CHECK enum err token_retain(struct access_store *s, int64_t dead_before, int64_t rows, int64_t *deleted,
	struct fault *f);

#endif
