/* Open errands in memory: one device's part of a command, from when it is queued until it is over. Places by device and in the queue to the broker.
 *
 * A mirror of rows, so that deadlines, repetitions and devices that come back cost no SQL. Memory only: rows, states that are final and who is told
 * when belong to service/commands.h, the devices of a command to service/command_spread.h. Loop thread.
 */
#ifndef AVIARY_SERVICE_ERRANDS_H
#define AVIARY_SERVICE_ERRANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_state; /* service/registry.h */
struct errand_row;   /* store/command_store.h */

/* Its number is its place in the pool; 0 is none. */
struct errand {
	int64_t command, device; /* device row; 0: a free place */
	int64_t deadline_ms;     /* 0: cancelled */
	int64_t next_ms;         /* when it is said again */
	uint32_t next;           /* of the same device, or the next free place */
	uint8_t state;           /* enum command_state as in the row: queued or sent */
	bool is_ready;           /* in the queue to the broker */
	bool is_delivered;       /* the broker has it, and the row does not say so */
};
struct errands { /* zeroed = none */
	struct errand *pool;
	uint32_t pool_used, pool_room, free;
	int64_t open;
	uint32_t *heads; /* by device_state.index */
	uint32_t heads_room;
	uint32_t *ready;
	size_t ready_head, ready_tail, ready_room;
};

void errands_done(struct errands *e);
void errands_clear(struct errands *e); /* none is open; the memory stays */

/* The one at a place: 1 to pool_used; `device` is 0 where there is none. Valid until the next errands_keep. */
struct errand *errands_at(struct errands *e, uint32_t at);
uint32_t errands_keep(struct errands *e, const struct device_state *d, const struct errand_row *row);
void errands_release(struct errands *e, const struct device_state *d, uint32_t at);
uint32_t errands_find(struct errands *e, const struct device_state *d, int64_t command); /* 0: not open; d may be NULL */
uint32_t errands_first(struct errands *e, const struct device_state *d); /* of a device; the others by `next` */
size_t errands_count(struct errands *e, const struct device_state *d);
void errands_cancel(struct errands *e, int64_t command); /* their time is up now */

/* First in, first out; one that waits already keeps its place. */
void errands_make_ready(struct errands *e, uint32_t at);
uint32_t errands_next_ready(struct errands *e); /* 0: none; those that are over meanwhile are passed over */

#endif
