/* Which devices can run which release, before the first byte leaves: core/compat.h over the fleet.
 *
 * Devices with the same words about what they can do are one capability class: a row, a number in each device's state, and words in memory.
 * Devices that also agree in hardware and running release are one kind (service/fleet_index.h), and a kind is judged once for a release: a
 * look at a device is then a look into an array.
 *
 * A device is eligible when each component of the release has an artifact for its hardware that it can run: of the variants for its class,
 * or, where there are none, of those for any. Nothing is asked where an artifact has no requirements (firmware, contents that are not read and
 * were declared without any). A release that brings a firmware is judged with that firmware's version.
 *
 * Not here: what a file needs (service/inspect.h), which variant is best (core/select.h).
 */
#ifndef AVIARY_SERVICE_COMPATS_H
#define AVIARY_SERVICE_COMPATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/compat.h"
#include "service/call.h"
#include "store/release_store.h"

struct compats;
struct device_state; /* service/registry.h */

struct compat_options {
	/* "refuse"; "allow": what a device did not tell does not leave it out. A device that speaks DDI and told nothing is allowed in any case: its
	 * protocol has no words for it. */
	const char *unknown;
};
extern const struct compat_options compat_options_default;

/* Before the registry: reads the classes. */
AVIARY_MUST_CHECK enum err compats_open(struct services *s, const struct compat_options *options, struct compats **out, struct fault *f);
void compats_close(struct compats *x); /* NULL is allowed */
/* After the registry: devices from before there were classes get theirs, classes without devices go. In the running unit of work. */
AVIARY_MUST_CHECK enum err compats_settle(struct call *c);

/* Nothing compiled is kept: what a release is made of, or what is known of its files, has changed. NULL is allowed. */
void compats_forget(struct compats *x);

/* ---- for the registry ---- */
/* The class of a device that says this; made when it is new. `capabilities`: its JSON object; firmware NULL: not known. *class 0: nothing of it
 * matters for models, or there are too many classes. NULL compats (tests without): 0. */
AVIARY_MUST_CHECK enum err compats_class(struct call *c, const char *capabilities, const char *firmware, uint32_t *class);
/* A class as a row names it: 0 where it is not known any more. */
uint32_t compats_known_class(const struct compats *x, int64_t class);
const char *compats_words(const struct compats *x, uint32_t class); /* "{}" of 0 */

/* ---- a release against kinds ---- */

#define COMPATS_FIT_REASONS 12
/* What became of a kind. */
struct compat_fit {
	uint64_t serial;     /* of the kind */
	enum compat verdict;
	bool is_eligible;    /* yes; or unknown, where that is allowed */
	uint8_t reason_count;
	int64_t devices;     /* counted by compat_view_count */
	uint32_t hardware;   /* its number in the registry */
	struct compat_why {
		uint8_t component, variant;
		bool is_missing; /* there is no artifact for its hardware */
		struct compat_reason reason;
	} *reasons;
};
/* A release with its requirements, compiled. Valid over several iterations of the loop: devices come and go meanwhile. Each user has one of
 * its own. Stays true: what a release is made of never changes. */
struct compat_view;
AVIARY_MUST_CHECK enum err compat_view_new(struct call *c, int64_t release, struct compat_view **out);
void compat_view_free(struct compat_view *v); /* NULL is allowed */
/* Valid until the next call. */
AVIARY_MUST_CHECK enum err compat_view_fit(struct call *c, struct compat_view *v, const struct device_state *d, struct compat_fit **out);
/* Counts the device. */
AVIARY_MUST_CHECK enum err compat_view_count(struct call *c, struct compat_view *v, const struct device_state *d);
/* Counts all devices of the fleet, kind by kind. */
AVIARY_MUST_CHECK enum err compat_view_count_fleet(struct call *c, struct compat_view *v);

/* What was counted, by hardware class and verdict, most devices first. */
struct compat_row {
	const char *hardware;
	enum compat verdict;
	bool is_eligible;
	int64_t devices;
	struct compat_row_reason {
		const char *model, *variant, *reason;
		int64_t devices;
	} *reasons; /* most devices first */
	size_t reason_count;
	int64_t other; /* devices x reasons that found no room */
};
struct compat_table {
	int64_t devices[3]; /* by enum compat */
	int64_t excluded;   /* not eligible */
	struct compat_row *rows;
	size_t count;
};
/* In the call's arena. */
void compat_view_table(struct call *c, const struct compat_view *v, struct compat_table *out);
/* "rows" as a JSON array of {hardware, verdict, devices, reasons}; `excluded_only` leaves out who is eligible. */
void compat_table_write(const struct compat_table *t, bool excluded_only, struct buf *out);
/* The most frequent reasons of those who are left out, as words: "arena_bytes: needs 23412 (310)". "" when there are none. */
const char *compat_table_words(struct call *c, const struct compat_table *t);

/* ---- one device ---- */
/* Whether the device may be given the release now; else *why says all reasons with what it has. */
AVIARY_MUST_CHECK enum err compats_may_run(struct call *c, int64_t release, const struct device_state *d, bool *may, const char **why);
/* The artifact of a component for this device: the first variant for its hardware that it can run, else the first one (releases_pick_artifact). */
AVIARY_MUST_CHECK enum err compats_pick(struct call *c, int64_t release, const struct component_row *component, const struct device_state *d,
	struct artifact_row *out);

/* Whether the device can run the variant of this release that an artifact belongs to: the worst of its files; an unknown that is allowed is a yes.
 * *why: all reasons with what it has, "" where there are none; `why` may be NULL. An artifact that the release does not have: no. */
AVIARY_MUST_CHECK enum err compats_variant(struct call *c, int64_t release, const struct device_state *d, int64_t artifact, enum compat *verdict,
	const char **why);

#endif
