/* What the upstreams*.c share; nobody else includes this. */
#ifndef AVIARY_SERVICE_UPSTREAMS_INSIDE_H
#define AVIARY_SERVICE_UPSTREAMS_INSIDE_H

#include "service/upstreams.h"

struct rollout_planning;
struct rollout_request;

#define UPSTREAM_ALERT_PREFIX "upstream."
#define UPSTREAM_WAITERS_MAX 8

/* A version as a document tells it; heap. */
struct upstream_told {
	char version[NAME_BYTES];
	char digest[SHA256_HEX];
	bool is_withdrawn;
	char *record; /* JSON as in the row; NULL: still to be read */
	char *place;  /* where to read it; NULL: nowhere else */
};
/* One look at an upstream, from its first document to the end. */
struct upstream_poll {
	struct upstream_told *told;
	size_t count, room;
	int64_t published;
	char *etag;
	bool is_partial;   /* the server only tells its newest: what is missing has not vanished */
	bool is_unchanged; /* 304 */
	bool is_asked;     /* the waiter asked for it */
	bool is_dry;
	unsigned pages;
	int at;            /* of the version whose record is on its way; -1: the list is */
	struct sha256 *group; /* of a bucket: digest of the version that the listing is at */
	char group_version[NAME_BYTES];
	bool group_has_record;
};

struct upstream_run { /* one in memory */
	struct upstream_run *next;
	int64_t id;
	struct upstream_poll *poll; /* NULL: none is under way */
	bool is_fetching;           /* a content is */
	bool is_dead;               /* deleted; what is under way ends unheard */
	unsigned out;               /* wants that are handed out */
	struct upstream_waiter waiter;
	bool is_wanted, is_dry;     /* somebody waits for a look */
	struct rollout_planning *planning;
	struct arena *planning_arena;
	struct rollout_request *request;
	int64_t look_at;            /* at its rollout */
};

struct upstream_wanted { /* a want with the memory of its texts */
	struct upstream_want want; /* first */
	struct upstream_wanted *next;
	struct upstream_run *run;
	struct arena *arena;
};

struct upstreams {
	struct services *s;
	struct upstream_store *store;
	struct upstream_options options;
	struct upstream_run *runs;
	struct upstream_wanted *wanted, **last_wanted;
	struct upstream_record *record; /* work memory: 90 KiB */
	int64_t next_ms;                /* nothing is due before; 0: look */
	uint64_t lost;                  /* commits lost, when next_ms was worked out */
};

struct upstream_run *upstreams_run(struct upstreams *u, int64_t id); /* made where there is none */
void upstreams_want(struct upstreams *u, struct upstream_run *run, const struct upstream_row *row, const struct upstream_want *want);
AVIARY_MUST_CHECK enum err upstream_policy_read(const char *json, struct upstream_policy *p, struct arena *a, struct fault *f);
const char *upstreams_resource(struct call *c, const struct upstream_row *row);
/* Row of a version to another status, with event; in a unit. */
AVIARY_MUST_CHECK enum err upstreams_move(struct call *c, const struct upstream_row *row, struct upstream_version_row *v, enum upstream_status status,
	const char *reason);

/* ---- upstreams_poll.c ---- */
void upstreams_begin_poll(struct call *c, struct upstream_run *run, const struct upstream_row *row, bool is_dry);
void upstreams_free_poll(struct upstream_run *run);
struct upstream_told *upstreams_tell(struct upstream_poll *p); /* a new one at the end, zeroed */
/* The list is complete: chooses, asks for a record or takes over. */
void upstreams_list_done(struct call *c, struct upstream_run *run, const struct upstream_row *row);
void upstreams_poll_fault(struct call *c, struct upstream_run *run, const struct upstream_row *row, enum upstream_fault fault, const char *detail,
	int64_t retry_after_ms);
/* A record as the row keeps it: absolute addresses, what is declared. ERR_INVALID: an address is none. In the arena. */
AVIARY_MUST_CHECK enum err upstreams_write_record(struct call *c, const struct upstream_row *row, const struct upstream_record *r, const char *base,
	const char **json);
bool upstreams_is_local(const struct upstream_row *row);
const char *upstreams_ca_file(const struct upstreams *u, const struct upstream_row *row);

/* ---- upstreams_listing.c: kinds whose list comes before their records ---- */
const char *upstreams_list_url(struct call *c, const struct upstream_row *row, const char *token);
/* A page of the list into the poll. *next: where it goes on, NULL: that was all. */
AVIARY_MUST_CHECK enum err upstreams_read_list(struct call *c, const struct upstream_row *row, struct upstream_poll *p, const char *body, size_t len,
	const char **next);
/* What was asked for a version, into u->record; *base for its addresses. */
AVIARY_MUST_CHECK enum err upstreams_read_record(struct call *c, const struct upstream_row *row, const struct upstream_told *t, const char *body,
	size_t len, const char **base);

/* ---- upstreams_local.c ---- */
AVIARY_MUST_CHECK enum err upstreams_local_list(struct upstreams *u, const struct upstream_row *row, struct upstream_poll *p, struct fault *f);
/* At most `max` bytes of a file, NUL-terminated, to be freed. ERR_TOO_LARGE. */
AVIARY_MUST_CHECK enum err upstreams_local_read(struct upstreams *u, const char *path, size_t max, char **out, size_t *len, struct fault *f);
bool upstreams_is_allowed_directory(const struct upstreams *u, const char *path);

/* ---- upstreams_take.c ---- */
/* The chosen version into the catalog, to be fetched; refuses it where that cannot be. In its own units. */
AVIARY_MUST_CHECK enum err upstreams_begin_version(struct call *c, const struct upstream_row *row, const char *version);
AVIARY_MUST_CHECK enum err upstreams_refuse(struct call *c, const struct upstream_row *row, struct upstream_version_row *v, enum upstream_fault fault,
	const char *reason);
/* Whether declared quality holds against what runs. *fault NONE: it does. */
AVIARY_MUST_CHECK enum err upstreams_check_quality(struct call *c, const struct upstream_row *row, const struct upstream_policy *p, const char *record,
	const char **why);
/* Classes of hardware in the fleet, and how many of their devices could run it by what is declared: a JSON array in the arena. */
AVIARY_MUST_CHECK enum err upstreams_preview(struct call *c, const struct upstream_row *row, const char *record, const char **json);
struct upstream_missing { /* what is to be fetched next for a version under way */
	bool is_all_there, is_reading;
	struct artifact_row *artifact;
	const char *url;
};
AVIARY_MUST_CHECK enum err upstreams_missing(struct call *c, const struct upstream_row *row, const struct upstream_version_row *v,
	struct upstream_missing *out);
AVIARY_MUST_CHECK enum err upstreams_ensure(struct call *c, const struct upstream_row *row, const struct upstream_version_row *v);

/* ---- upstreams_step.c ---- */
/* One step of the version that is under way. *next_ms: when to look again. */
AVIARY_MUST_CHECK enum err upstreams_step(struct call *c, struct upstream_run *run, const struct upstream_row *row, struct upstream_version_row *v,
	int64_t *next_ms);
void upstreams_free_planning(struct upstream_run *run);

#endif
