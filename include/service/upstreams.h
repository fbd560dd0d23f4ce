/* Upstreams: a model follows a place where new versions of it are published (docs/upstreams.md). Loop thread; rows are in fleet.db.
 *
 * upstreams_tick is where time passes. A version goes seen -> fetching -> fetched -> released -> rolling -> done, each step one unit of work
 * that begins from rows, so a kill at any point repeats nothing. What is to be fetched is handed out (upstreams_take); who fetches
 * (api/upstream_in.h) says how it went. Not here: HTTP; what documents mean (core/upstream.h).
 */
#ifndef AVIARY_SERVICE_UPSTREAMS_H
#define AVIARY_SERVICE_UPSTREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "core/upstream.h"
#include "service/call.h"
#include "store/upstream_store.h"

struct upstreams;

#define UPSTREAMS_MAX 200
#define UPSTREAM_COMPONENTS_MAX 31
#define UPSTREAM_FILES_MAX 64

struct upstream_options {
	const char *directories; /* paths, separated by commas: upstreams of kind directory are in one of them; "": there can be none */
	const char *ca_file;     /* PEM for upstreams without one of their own; "": the system's */
};
/* After catalog, compats, registry, alerts, rollouts. The options' texts live as long as it does. */
AVIARY_MUST_CHECK enum err upstreams_open(struct services *s, const struct upstream_options *options, struct upstreams **out, struct fault *f);
void upstreams_close(struct upstreams *u); /* NULL is allowed */

/* ---- policy: what is done with a new version ---- */

struct upstream_component {
	const char *model, *version;
};
struct upstream_file { /* of servers that do not say which hardware a file is for */
	const char *file, *hardware, *variant;
};
struct upstream_policy {
	const char *action;  /* "none": the version comes into the catalog; "release"; "rollout" */
	bool prereleases;
	const char *quality; /* "compare", "ignore" */
	double margin;
	struct json_strs lower_is_better;
	struct json_objects components; /* struct upstream_component: what else is in the release */
	const char *config;             /* JSON object of the release; NULL: {} */
	struct json_objects files;      /* struct upstream_file */
	const char *rollout;            /* JSON: a rollout's request without release and name; NULL: the defaults, started at once */
};
extern const struct field upstream_policy_fields[];
void upstream_policy_init(struct upstream_policy *p);

/* ---- operators ---- */

/* `secret` NULL: as it was, "": none. ERR_INVALID with a pointer, ERR_CONFLICT. row->policy is JSON, checked and made canonical here. */
AVIARY_MUST_CHECK enum err upstreams_create(struct call *c, struct upstream_row *row, const char *secret);
AVIARY_MUST_CHECK enum err upstreams_change(struct call *c, struct upstream_row *row, const char *secret);
AVIARY_MUST_CHECK enum err upstreams_remove(struct call *c, const struct upstream_row *row);
AVIARY_MUST_CHECK enum err upstreams_find(struct call *c, const char *name, struct upstream_row *out); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err upstreams_list(struct call *c, int64_t after, int64_t limit, struct upstream_row **rows, size_t *count);
/* By precedence, newest first. */
AVIARY_MUST_CHECK enum err upstreams_versions(struct call *c, const struct upstream_row *row, struct upstream_version_row **rows, size_t *count);
/* A word about it: "ok", "failing", "stopped", "new", "disabled". */
const char *upstreams_state(const struct upstream_row *row);

/* Looks now. A dry run changes nothing and says what would be done. `told` is called once, with the answer as JSON, or an error (then
 * `fault` says why); never from within. ERR_CONFLICT: somebody is asking already. */
struct upstream_waiter {
	void (*told)(void *ctx, enum err e, const struct fault *fault, const char *json);
	void *ctx;
};
AVIARY_MUST_CHECK enum err upstreams_check(struct call *c, const struct upstream_row *row, bool dry_run, struct upstream_waiter waiter);
void upstreams_end_checks(struct upstreams *u); /* the server ends: who waits is told so */

/* ---- time ---- */
/* In its own units. *more: call again soon. */
AVIARY_MUST_CHECK enum err upstreams_tick(struct call *c, bool *more);

/* ---- for who fetches ---- */
struct upstream_want {
	int64_t upstream;
	bool is_content;    /* else a document */
	const char *url;    /* https://; of a directory: a path */
	bool is_local;
	const char *ca_file, *etag; /* NULL: the system's; none */
	const char *header; /* "Authorization: ..."; NULL: none. To this origin only. */
	int64_t artifact;   /* of contents: its row, which says how much is there already */
	int64_t size_bytes;
};
/* The next one, given out until its end is told. Texts live until then. false: none. */
bool upstreams_take(struct upstreams *u, const struct upstream_want **out);

struct upstream_answer {
	enum upstream_fault fault; /* NONE: a whole answer came */
	const char *detail;        /* of a fault */
	int status;                /* 200 or 304 */
	const char *body, *etag;   /* etag NULL: none */
	size_t body_len;
	int64_t retry_after_ms;
};
/* What came; `want` is gone after. */
void upstreams_on_document(struct call *c, const struct upstream_want *want, const struct upstream_answer *a);
/* How it went with contents; NONE: they are in the catalog. */
void upstreams_on_content(struct call *c, const struct upstream_want *want, enum upstream_fault fault, const char *detail, int64_t retry_after_ms);
void upstreams_drop(const struct upstream_want *want); /* the server ends */
/* Under the configured directories: an open file, without following links below them. ERR_NOT_FOUND, ERR_FORBIDDEN. */
AVIARY_MUST_CHECK enum err upstreams_open_file(struct upstreams *u, const char *path, int *fd, struct fault *f);

#endif
