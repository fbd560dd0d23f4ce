/* Commands: what operators and health checks ask devices to do at once, from the request to the answer or the deadline. Loop thread only.
 *
 * A command goes to one device, or to all that a group and a filter choose; each device's part is an errand with a state of its own. Rows are
 * the truth; errands that are open are mirrored in memory, so that deadlines, repetitions and devices that come back cost no SQL. A large
 * target is looked up in pieces and told at a rate. An errand is sent when its device is online, again whenever it comes back, and again
 * after COMMAND_RETRY_MS without an answer; the device knows a number that it has carried out and answers again (docs/protocol.md).
 * Not here: what an answer says of a device's health (service/health.h).
 */
#ifndef AVIARY_SERVICE_COMMANDS_H
#define AVIARY_SERVICE_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/command.h"
#include "service/call.h"

#define COMMAND_OPEN_MAX 100000       /* errands of the fleet that are open at once: spreading waits, a single command is refused */
#define COMMAND_DEVICE_MAX 16         /* of one device: one more fails at once */
#define COMMAND_SPREADING_MAX 8       /* commands whose devices are still to be told */
#define COMMAND_RETRY_MS 15000
#define COMMAND_TIMEOUT_MS 60000      /* when the operator names none */
#define COMMAND_TIMEOUT_MAX_MS ((int64_t)30 * 86400000)
#define COMMAND_RATE 100.0            /* devices a second */
#define COMMAND_RATE_MAX 5000.0

struct commands;
struct device_state;

/* After registry and groups. */
AVIARY_MUST_CHECK enum err commands_open(struct services *s, struct commands **out, struct fault *f);
void commands_close(struct commands *k); /* NULL is allowed */

/* ---- operators ---- */
struct command_spec {
	const char *kind;
	const char *params;   /* JSON object, NULL: {} */
	const char *device;   /* public id; else group and filter */
	const char *group;    /* name or NULL */
	const char *filter;   /* RSQL or NULL; without device and group: "" is the whole fleet, NULL is refused */
	int64_t timeout_ms;   /* 0: COMMAND_TIMEOUT_MS */
	double rate;          /* 0: COMMAND_RATE */
	int64_t spread_ms;    /* above 0: told in random order over this time (at least as fast as one a second), whatever the rate */
	int64_t health_check; /* 0: none */
};
/* In the running unit of work. Audited. ERR_TOO_MANY at a limit; ERR_INVALID with a pointer. */
AVIARY_MUST_CHECK enum err commands_create(struct call *c, const struct command_spec *spec, int64_t *id);
AVIARY_MUST_CHECK enum err commands_show(struct call *c, int64_t id, struct buf *out);
/* Items newest first as JSON objects; *next = 0 at the end. */
AVIARY_MUST_CHECK enum err commands_list(struct call *c, int64_t before, int64_t limit, struct buf *out, int64_t *next);
/* Devices of a command; state COMMAND_STATE_COUNT: all. */
AVIARY_MUST_CHECK enum err commands_devices(struct call *c, int64_t id, enum command_state state, int64_t after, int64_t limit, struct buf *out, int64_t *next);
/* Commands of a device, newest first. */
AVIARY_MUST_CHECK enum err commands_of_device(struct call *c, const struct device_state *d, int64_t before, int64_t limit, struct buf *out, int64_t *next);
/* No more devices are told; what is open fails. Again: no change. */
AVIARY_MUST_CHECK enum err commands_cancel(struct call *c, int64_t id);
bool commands_is_spreading(const struct commands *k, int64_t health_check); /* a command of this check still has devices to tell */

/* ---- devices ---- */
void commands_tell(struct commands *k, struct device_state *d); /* it came online: what is open for it goes out (again) */
/* One answer, in the running unit of work. ERR_NOT_FOUND: nothing of this number is open for the device. */
AVIARY_MUST_CHECK enum err commands_answered(struct call *c, struct device_state *d, const struct command_answer *a);
AVIARY_MUST_CHECK enum err commands_leave(struct call *c, struct device_state *d); /* before it is deleted: its errands fail */
void commands_forget(struct commands *k, struct device_state *d); /* it leaves the index */

/* ---- time and the broker ---- */
/* Ten times a second: finds and tells devices at their rate, repeats, expires. Units of its own. */
AVIARY_MUST_CHECK enum err commands_tick(struct call *c);
/* What is to be published now (after a commit); false when nothing is. */
bool commands_next(struct commands *k, int64_t *command, int64_t *device);
void commands_again(struct commands *k, int64_t command, int64_t device); /* it could not be published: next time */
/* Appends the message for the device; *is_open false: it is over by now. */
AVIARY_MUST_CHECK enum err commands_message(struct call *c, int64_t command, int64_t device, struct buf *out, bool *is_open);
void commands_delivered(struct commands *k, int64_t command, int64_t device); /* the broker has it */
int64_t commands_open_count(const struct commands *k); /* errands that are open */

#endif
