/* The insides of service/selection, shared by selection*.c only.
 *
 *   selection.c           what devices run: the mirror; overrides
 *   selection_objective.c what a release wants, as JSON
 *   selection_group.c     the variants of a release for a class of hardware in a context, with their figures; one device's question
 *   selection_offer.c     what a deployment hands out, and when
 *   selection_explain.c   why
 *   selection_survey.c    the whole fleet
 */
#ifndef AVIARY_SERVICE_SELECTION_INSIDE_H
#define AVIARY_SERVICE_SELECTION_INSIDE_H

#include "core/select.h"
#include "service/profiles.h"
#include "service/selection.h"
#include "store/choice_store.h"

/* What a device runs of a model. */
struct running {
	int64_t model, artifact, version, since_ms;
	int64_t prev_artifact, prev_version;
};
struct held { /* of one device */
	int64_t device; /* row: places are used again */
	uint16_t count;
	bool is_overridden;
	struct running list[];
};
/* What a class of hardware with a release has of a version, where a device was not installed from here. */
struct guess {
	uint32_t hardware, release; /* numbers of the registry; 0: free */
	int64_t version, artifact;  /* 0: none, or several */
};
#define GUESSES 4096 /* a power of two; forgotten when three quarters are used */

struct variant {
	int64_t artifact;
	char id[NAME_BYTES]; /* name of the variant; "default" when it has none */
	char hardware[NAME_BYTES];
	double bytes;        /* of all its files */
	struct profiled learned;
	struct profile_figures declared, figures; /* figures: picked for the class */
	double macs_latency_ms;
};
/* The variants of one component for a class of hardware in a context. */
struct group {
	int64_t release, version;
	uint32_t hardware; /* number of the registry */
	unsigned cell;
	uint64_t generation, imports; /* of the profiles when it was made */
	int64_t made_ms;
	struct select_objective objective;
	const char *quality; /* a literal, or NULL */
	bool has_objective;
	unsigned count, omitted; /* omitted: variants beyond SELECT_VARIANTS */
	struct variant variants[SELECT_VARIANTS];
};
#define GROUPS 64 /* kept for offers */

struct selection {
	struct services *s;
	struct choice_store *store;
	struct held **held; /* by index of the device */
	size_t held_count;
	int64_t *touched; /* devices that were changed since the last commit */
	size_t touched_count, touched_room;
	struct guess *guesses;
	size_t guess_count;
	struct group *groups[GROUPS];
	unsigned next_group;
};

struct catalog_store;
/* ---- selection.c ---- */
const struct running *selection_running(const struct selection *x, const struct device_state *d, int64_t model); /* NULL: not known */
bool selection_is_overridden(const struct selection *x, const struct device_state *d);
/* The model's row. ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err selection_model(struct call *c, const char *model, int64_t *row);

/* ---- selection_objective.c ---- */
/* What is stored, or the defaults. `transfer` may be NULL; texts in the call's arena. */
AVIARY_MUST_CHECK enum err selection_read_objective(struct call *c, int64_t release, struct select_objective *out, const char **quality,
	struct selection_transfer *transfer, bool *has_one);

/* ---- selection_group.c ---- */
AVIARY_MUST_CHECK enum err selection_group_make(struct call *c, int64_t release, const struct component_row *component, uint32_t hardware,
	unsigned cell, struct group *out);
/* Kept for a second at least; valid until the next call. */
AVIARY_MUST_CHECK enum err selection_group(struct call *c, int64_t release, const struct component_row *component, uint32_t hardware, unsigned cell,
	const struct group **out);
/* One device's question to a group. */
struct asked {
	struct select_question q;
	struct select_candidate candidates[SELECT_VARIANTS];
	struct profile_figures own; /* of what is installed, with the device's own */
	bool has_override;
	struct override_row override;
	const char *reasons[SELECT_VARIANTS]; /* why it is incompatible; NULL: it is not */
};
AVIARY_MUST_CHECK enum err selection_ask(struct call *c, const struct device_state *d, const struct group *g, const struct component_row *component,
	bool with_reasons, struct asked *out);
/* Whether the device can run a variant; *why (may be NULL) in words. */
AVIARY_MUST_CHECK enum err selection_compat(struct call *c, const struct device_state *d, const struct group *g, unsigned variant,
	const struct component_row *component, enum compat *verdict, const char **why);

/* ---- parts: "version:artifact,version:artifact" ---- */
int64_t selection_part(const char *parts, int64_t version); /* 0: not named */

#endif
