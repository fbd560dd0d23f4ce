/* Devices, dynamic groups and tags as hawkBit's Management API names them: targets, target filters, target tags.
 *
 * There is no table of targets: a target is a device (service/registry.h), of protocol ddi where it was made through that API. A filter is a
 * dynamic group whose query is kept in hawkBit's words beside our own; a tag is what devices carry, with a number, a colour and a text.
 */
#ifndef AVIARY_SERVICE_TARGETS_H
#define AVIARY_SERVICE_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/call.h"
#include "service/registry.h"
#include "store/device_store.h"
#include "store/target_store.h"

struct targets;

AVIARY_MUST_CHECK enum err targets_open(struct services *s, struct targets **out, struct fault *f);
void targets_close(struct targets *t); /* NULL is allowed */

struct target_view {
	struct device_record device;
	const char *description;
	const char *status;          /* "unknown", "registered", "pending", "in_sync", "error" */
	int64_t installed_at;        /* 0: not known */
	int64_t assigned, installed; /* release rows; 0: none */
};
AVIARY_MUST_CHECK enum err targets_get(struct call *c, const struct device_state *d, struct target_view *out);
AVIARY_MUST_CHECK enum err targets_describe(struct call *c, const struct device_state *d, const char *description);
/* Attributes or tags in the arena, by name. */
AVIARY_MUST_CHECK enum err targets_pairs(struct call *c, const struct device_state *d, enum device_list which, struct device_pair **out, size_t *count);

/* A page by offset: of those that match `filter` (NULL: all) in `group` (0: any), in order of `sort` (filter_sql_is_sort; NULL: of row). */
AVIARY_MUST_CHECK enum err targets_page(struct call *c, const char *filter, int64_t group, const char *sort, bool descending, int64_t offset,
	int64_t limit, struct device_state ***out, size_t *count, int64_t *total);
/* Devices to which a release is assigned (its newest install did not fail), or of a rollout's stage. Arrays in the arena. */
AVIARY_MUST_CHECK enum err targets_assigned(struct call *c, int64_t release, struct device_state ***out, size_t *count);
AVIARY_MUST_CHECK enum err targets_of_stage(struct call *c, int64_t rollout, int64_t stage, struct device_state ***out, size_t *count);

/* ---- filters ---- */
AVIARY_MUST_CHECK enum err targets_filters(struct call *c, struct filter_row **rows, size_t *count);
AVIARY_MUST_CHECK enum err targets_filter(struct call *c, int64_t id, struct filter_row *out); /* ERR_NOT_FOUND */
/* `filter` is ours, `query` hawkBit's. ERR_CONFLICT: the name is taken. ERR_INVALID. */
AVIARY_MUST_CHECK enum err targets_make_filter(struct call *c, const char *name, const char *query, const char *filter, struct filter_row *out);
AVIARY_MUST_CHECK enum err targets_edit_filter(struct call *c, struct filter_row *row, const char *name, const char *query, const char *filter);
AVIARY_MUST_CHECK enum err targets_delete_filter(struct call *c, const struct filter_row *row);

/* ---- tags ---- */
AVIARY_MUST_CHECK enum err targets_tags(struct call *c, struct tag_row **rows, size_t *count); /* writes: tags that devices carry get a number */
AVIARY_MUST_CHECK enum err targets_tag(struct call *c, int64_t id, struct tag_row *out);       /* ERR_NOT_FOUND */
AVIARY_MUST_CHECK enum err targets_make_tag(struct call *c, const char *name, const char *description, const char *colour, struct tag_row *out);
AVIARY_MUST_CHECK enum err targets_edit_tag(struct call *c, struct tag_row *row, const char *name, const char *description, const char *colour);
/* Devices lose it. */
AVIARY_MUST_CHECK enum err targets_delete_tag(struct call *c, const struct tag_row *row);
/* Gives it to a device, or takes it away. */
AVIARY_MUST_CHECK enum err targets_set_tag(struct call *c, struct device_state *d, const struct tag_row *row, bool has);

#endif
