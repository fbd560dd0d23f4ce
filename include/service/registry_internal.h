/* What the files of the registry share; nobody else includes this. */
#ifndef AVIARY_SERVICE_REGISTRY_INTERNAL_H
#define AVIARY_SERVICE_REGISTRY_INTERNAL_H

#include "service/fleet_index.h"
#include "service/registry.h"
#include "store/device_store.h"

enum { REGISTRY_DIRTY_PRESENCE = 1, REGISTRY_DIRTY_SENT = 2 };

struct registry {
	struct services *s;
	struct device_store *store;
	struct fleet_index fleet;
	size_t online;
	uint64_t lost_commits;
	/* indices that wait for a flush, in order; entries of devices that are gone or were flushed meanwhile are skipped */
	uint32_t *waiting;
	size_t waiting_count, waiting_room;
	/* rows touched, and rows whose presence was flushed, since the last commit */
	int64_t *touched, *flushed;
	size_t touched_count, touched_room, flushed_count, flushed_room;
	void (*forget)(void *ctx, struct device_state *d);
	void *forget_ctx;
};

void registry_committed(struct registry *r);
/* The number of a hardware class; ERR_TOO_MANY when it is one too many. Asked before anything is written. */
AVIARY_MUST_CHECK enum err registry_hardware(struct call *c, const char *hardware, uint32_t *number);
/* Makes the mirror of a row just written. */
struct device_state *registry_mirror_new(struct call *c, int64_t row, const char *id, uint32_t hardware);
void registry_mirror_gone(struct registry *r, struct device_state *d);
void registry_mark_dirty(struct registry *r, struct device_state *d, uint8_t what);
/* "devices/<id>" in the arena. */
const char *registry_resource(struct call *c, const char *device_id);
/* Event device.created, .updated, .deleted. */
AVIARY_MUST_CHECK enum err registry_event(struct call *c, const char *kind, const char *device_id);
/* Hook of the enrolment: inserts a checked spec without audit. */
AVIARY_MUST_CHECK enum err registry_insert(struct call *c, const struct device_spec *spec, struct device_state **out);
AVIARY_MUST_CHECK enum err registry_check_spec(struct call *c, const struct device_spec *spec, bool is_new);
/* The editable part as JSON in the arena, for the audit log. */
AVIARY_MUST_CHECK enum err registry_snapshot(struct call *c, const struct device_state *d, const char **json);

#endif
