/* Groups of devices: static ones have members, dynamic ones have a filter and with it whoever matches now. */
#ifndef AVIARY_SERVICE_GROUPS_H
#define AVIARY_SERVICE_GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "service/call.h"
#include "service/registry.h"
#include "store/group_store.h"

#define GROUP_MEMBERS_MAX 10000 /* in one request; a group itself may be as large as the fleet */

struct groups;

AVIARY_MUST_CHECK enum err groups_open(struct services *s, struct groups **out, struct fault *f);
void groups_close(struct groups *g); /* NULL is allowed */

/* By name. ERR_NOT_FOUND. Texts in the arena. */
AVIARY_MUST_CHECK enum err groups_find(struct call *c, const char *name, struct group_row *row);
/* The same by name, or by id where `name` is NULL, without counting the members (-1), which takes its time in a large group. */
AVIARY_MUST_CHECK enum err groups_look_up(struct call *c, int64_t id, const char *name, struct group_row *row);
/* `row->name`, `description`, `filter` (NULL: static) are read, the rest is filled. Audited. */
AVIARY_MUST_CHECK enum err groups_create(struct call *c, struct group_row *row);
/* NULL leaves a member as it is. A static group stays static, a dynamic one dynamic: ERR_CONFLICT for a filter on a static group. */
AVIARY_MUST_CHECK enum err groups_update(struct call *c, struct group_row *row, const char *description, const char *filter);
/* ERR_CONFLICT while a rollout refers to it. */
AVIARY_MUST_CHECK enum err groups_delete(struct call *c, const struct group_row *row);
/* Adds and removes members of a static group by device id, all or none; ERR_INVALID with a pointer for an unknown device, ERR_CONFLICT for a
 * dynamic group. Counts what changed. */
AVIARY_MUST_CHECK enum err groups_change_members(struct call *c, const struct group_row *row, const char *const *add, size_t add_count,
                                                 const char *const *remove, size_t remove_count, int64_t *added, int64_t *removed);
/* Rows with id > after in ascending order. */
AVIARY_MUST_CHECK enum err groups_list(struct call *c, int64_t after, int64_t limit, struct group_row **rows, size_t *count);
void groups_encode(const struct group_row *row, struct buf *out);

#endif
