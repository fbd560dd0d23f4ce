/* Which variant of a model a device gets, and why (core/select.h decides).
 *
 * A release may hold several artifacts of one version for one class of hardware; a device gets one of them. The choice is made when a
 * deployment is offered and is kept with it, so that an attempt does not change; what a device runs changes by rollouts alone. Where figures have
 * moved since, the report of a version says so, and the next rollout chooses anew.
 * Without this room (s->selection NULL, in tests) an artifact is found by hardware.
 *
 * What devices run is mirrored in memory, as each report of telemetry asks for it (service/profiles.h): some 70 bytes a device and model.
 */
#ifndef AVIARY_SERVICE_SELECTION_H
#define AVIARY_SERVICE_SELECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "service/call.h"

struct artifact_row;   /* store/catalog_store.h */
struct component_row;  /* store/release_store.h */
struct deployment_row; /* store/deployment_store.h */
struct device_state;   /* service/registry.h */
struct selection;
struct timebox;        /* service/timebox.h */

/* After catalog and registry. */
AVIARY_MUST_CHECK enum err selection_open(struct services *s, struct selection **out, struct fault *f);
void selection_close(struct selection *x); /* NULL is allowed */

/* ---- what a release wants ---- */
/* As POST /releases has it; documented by the table. */
struct selection_objective {
	bool none; /* so that no member has offset 0 */
	double min_quality, max_latency_ms, max_energy_uj, wish_latency_ms, wish_energy_uj, gain; /* 0: none, but for gain */
	const char *quality; /* NULL: any */
	struct json_strs order;
	struct {
		double latency, energy, size;
	} weights; /* all 0: by order */
	int64_t dwell_ms;
	bool follows_link, follows_battery;
	struct selection_transfer {
		int64_t small_bytes, budget_bytes;
		struct json_strs metered_links;
		const char *window_from, *window_until;
		bool waits_for_link, waits_for_battery;
	} transfer;
};
extern const struct field selection_objective_fields[];
void selection_objective_init(struct selection_objective *o); /* the defaults */
/* ERR_INVALID with the pointer from /objective on. */
AVIARY_MUST_CHECK enum err selection_set_objective(struct call *c, int64_t release, const struct selection_objective *o);
AVIARY_MUST_CHECK enum err selection_get_objective(struct call *c, int64_t release, const char **json); /* NULL: nothing particular */

/* ---- rollouts ---- */
enum selection_outcome {
	SELECTION_GO,      /* d->parts and d->prev_parts are set */
	SELECTION_WAIT,    /* d->not_before and d->reason are: the bytes are withheld for now */
	SELECTION_NOTHING  /* no variant serves; d->reason says why */
};
/* Chooses for a deployment that is about to be offered; writes nothing of it. */
AVIARY_MUST_CHECK enum err selection_offer(struct call *c, struct deployment_row *d, int64_t release, enum selection_outcome *outcome);
/* The device runs these artifacts of the release from now on. parts NULL: those that its hardware has. */
AVIARY_MUST_CHECK enum err selection_installed(struct call *c, int64_t device, int64_t release, const char *parts);
/* The artifact of a component: of `parts`, else as the device runs it, else by hardware. ERR_NOT_FOUND. */
AVIARY_MUST_CHECK enum err selection_artifact(struct call *c, const struct device_state *d, const char *parts, int64_t release,
	const struct component_row *component, struct artifact_row *out);
/* The parts of the release that a deployment of the device hands out or handed out; NULL: none known. */
AVIARY_MUST_CHECK enum err selection_parts(struct call *c, int64_t device, int64_t release, const char **parts);
/* Whether a file belongs to the variant that `parts` names of its version; also true where they name none. */
AVIARY_MUST_CHECK enum err selection_has_file(struct call *c, const char *parts, int64_t version, int64_t artifact, bool *has);
/* The artifact that the device ran of a version at that time; 0: not known. No SQL but for the first of its kind. */
int64_t selection_runs(struct selection *x, const struct device_state *d, int64_t model, int64_t version, int64_t at_ms);

/* ---- operators ---- */
AVIARY_MUST_CHECK enum err selection_override(struct call *c, struct device_state *d, const char *model, const char *variant, const char *reason,
	struct buf *out);
AVIARY_MUST_CHECK enum err selection_end_override(struct call *c, struct device_state *d, const char *model); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err selection_overrides(struct call *c, const struct device_state *d, struct buf *out); /* objects into an open array */
/* Why the device would get what of the release; NULL: of the one that it is to run. Writes a JSON object. */
AVIARY_MUST_CHECK enum err selection_explain(struct call *c, const struct device_state *d, const char *release, struct buf *out);

/* What the fleet says about the variants of a version, in pieces: devices are counted as they are when they are passed by. */
struct selection_survey;
AVIARY_MUST_CHECK enum err selection_survey_new(struct call *c, const char *model, const char *version, const char *release,
	struct selection_survey **out);
AVIARY_MUST_CHECK enum err selection_survey_step(struct call *c, struct selection_survey *s, const struct timebox *box, bool *is_done);
AVIARY_MUST_CHECK enum err selection_survey_write(struct call *c, struct selection_survey *s, struct buf *out);
void selection_survey_free(struct selection_survey *s); /* NULL is allowed */

#endif
