/* What is to leave the process after the tick's COMMIT: nothing here sends anything.
 *
 * `desired` entries are wishes "tell this device again": the message is made from the database when drained, so several
 * wishes of a tick become one message. They are also durable (device.desired_rev > device.sent_rev), so a crash between
 * COMMIT and publish loses nothing. Events are rows of table `event`; the outbox only carries the highest id, to wake
 * listeners.
 */
#ifndef AVIARY_SERVICE_OUTBOX_H
#define AVIARY_SERVICE_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbox;

struct outbox *outbox_new(void);
void outbox_free(struct outbox *o);
void outbox_tell_device(struct outbox *o, int64_t device);    /* duplicates within a tick are merged */
void outbox_note_event(struct outbox *o, int64_t event_id);
void outbox_clear_retained(struct outbox *o, const char *device_id); /* device deleted: its retained messages go */
bool outbox_is_empty(const struct outbox *o);
/* Takes the next entry; false when there is none. */
bool outbox_next_device(struct outbox *o, int64_t *device);
bool outbox_next_clear(struct outbox *o, char device_id[65]);
int64_t outbox_last_event(const struct outbox *o); /* 0: none in this tick */
size_t outbox_waiting(const struct outbox *o);   /* devices to tell */
/* COMMIT succeeded: what is inside may leave; the tick's event mark is taken back */
void outbox_committed(struct outbox *o);
/* A unit of work that may be refused: taken before, given back when it was rolled back. Nothing is drained in between.
 */
struct outbox_mark {
	size_t devices, clears;
	int64_t last_event;
};
struct outbox_mark outbox_mark(const struct outbox *o);
void outbox_undo(struct outbox *o, struct outbox_mark mark);
void outbox_drop(struct outbox *o);      /* COMMIT failed: forgets what was added since the last outbox_committed */

#endif
