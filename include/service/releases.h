/* Releases: what is deployed together (model versions, at most one firmware version, a configuration), and their signed manifests.
 *
 * A release never changes. Each signing takes the next number of one counter for the whole server, so that a device can refuse
 * everything older than what it confirmed; a revert is the old release signed again (docs/protocol.md, "The manifest").
 * Texts that are returned live in the call's arena. `release` arguments are row ids.
 */
#ifndef AVIARY_SERVICE_RELEASES_H
#define AVIARY_SERVICE_RELEASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/call.h"
#include "store/release_store.h"

#define RELEASE_COMPONENTS_MAX 32        /* a device loads them all; the manifest has to hold them */
#define RELEASE_CONFIG_BYTES_MAX 8192
#define RELEASE_MANIFEST_BYTES_MAX 16384 /* docs/protocol.md: devices keep it in one buffer */

struct component_input {
	const char *model, *version;
};
struct release_input {
	const char *name, *description; /* description NULL: "" */
	const struct component_input *components;
	size_t component_count;
	const char *config; /* JSON object as text; NULL: {} */
};

/* Checks that every version exists and has a ready artifact, that no model comes twice and at most one is firmware, that the manifest fits;
 * signs the first manifest. ERR_CONFLICT: the name exists, or a version has nothing ready. */
AVIARY_MUST_CHECK enum err releases_create(struct call *c, const struct release_input *in, struct release_row *out);
AVIARY_MUST_CHECK enum err releases_find(struct call *c, const char *name, struct release_row *out); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err releases_get(struct call *c, int64_t release, struct release_row *out);   /* ERR_NOT_FOUND */
/* ERR_CONFLICT: a rollout names it, or a device runs it. */
AVIARY_MUST_CHECK enum err releases_delete(struct call *c, const struct release_row *row);
AVIARY_MUST_CHECK enum err releases_list(struct call *c, const struct page_request *page, bool by_name, struct release_row **rows, size_t *count,
	bool *more, int64_t *total); /* total NULL: not counted */
AVIARY_MUST_CHECK enum err releases_components(struct call *c, int64_t release, struct component_row **rows, size_t *count); /* by model name */
AVIARY_MUST_CHECK enum err releases_artifacts(struct call *c, int64_t release, int64_t version, struct artifact_row **rows, size_t *count);

/* The artifact of a component for a hardware class: the exact class wins over '*'. ERR_NOT_FOUND: the release has none for it. */
AVIARY_MUST_CHECK enum err releases_pick_artifact(struct call *c, int64_t release, int64_t version, const char *hardware, struct artifact_row *out);
/* Whether every component has an artifact for the class; else the first missing component's model name in *missing. */
AVIARY_MUST_CHECK enum err releases_covers(struct call *c, int64_t release, const char *hardware, bool *covered, const char **missing);

/* The newest manifest of the release whose counter is at least min_counter; where there is none, one is signed with the next counter.
 * Give the device's confirmed counter (its floor) as min_counter; one more to force a counter above it. */
AVIARY_MUST_CHECK enum err releases_manifest_for(struct call *c, int64_t release, int64_t min_counter, int64_t *counter);
AVIARY_MUST_CHECK enum err releases_manifest(struct call *c, int64_t counter, struct manifest_row *out); /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err releases_newest_manifest(struct call *c, int64_t release, struct manifest_row *out);

#endif
