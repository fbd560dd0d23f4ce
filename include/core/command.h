/* What an operator can ask a device to do at once, and what the device answers: kinds, checks, states, and the `/answer` message
 * (docs/protocol.md) into a fixed structure.
 *
 * Every kind may be carried out twice without harm: a device that restarted between doing and answering does it again. Not here:
 * who is asked, when, and what an answer means for the health of a device.
 */
#ifndef AVIARY_CORE_COMMAND_H
#define AVIARY_CORE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/names.h"

#define COMMAND_BYTES 1024 /* a message to a device, as in the topic table */
#define ANSWER_BYTES 1024  /* its answer */
#define ANSWER_DETAIL_BYTES 201

/* X(NAME, text, doc) */
#define COMMAND_KIND_TABLE(X)                                                                                          \
	X(CHECK, "check", "the device runs a check on itself and says how it went")                                    \
	X(REPORT_NOW, "report_now", "the device sends its report and its telemetry now")

enum command_kind {
#define X(name, text, doc) COMMAND_##name,
	COMMAND_KIND_TABLE(X)
#undef X
	    COMMAND_KIND_COUNT
};
const char *command_kind_text(enum command_kind k);
bool command_kind_of(const char *text, enum command_kind *k);

/* What a device can check. X(NAME, text, excusable: heat, an empty battery or a bad link may explain a failure, doc) */
#define COMMAND_CHECK_TABLE(X)                                                                                         \
	X(MODEL_HASH, "model_hash", 0, "SHA-256 of the stored artifacts in use against the signed manifest")           \
	X(INFERENCE, "inference", 1, "a golden input through the model: is the output the expected one")                \
	X(STORAGE, "storage", 1, "value: free bytes")                                                                  \
	X(MEMORY, "memory", 1, "value: available bytes of memory")                                                     \
	X(CONNECTIVITY, "connectivity", 1, "that the answer arrives is the check; value: ms to the server, if measured") \
	X(CUSTOM, "custom", 1, "the device's own program")

enum command_check {
#define X(name, text, excusable, doc) COMMAND_CHECK_##name,
	COMMAND_CHECK_TABLE(X)
#undef X
	    COMMAND_CHECK_COUNT
};
const char *command_check_text(enum command_check k);
bool command_check_of(const char *text, enum command_check *k);
bool command_check_is_excusable(enum command_check k);

/* Of one device's part of a command. X(NAME, text, final) */
#define COMMAND_STATE_TABLE(X)                                                                                         \
	X(QUEUED, "queued", 0)     /* not handed to the broker yet: the device is away, or its turn has not come */    \
	X(SENT, "sent", 0)         /* the broker has it */                                                            \
	X(ANSWERED, "answered", 1) /* the device did it; of a check: passed or not */                                  \
	X(FAILED, "failed", 1)     /* the device could not do it, or does not know it; or it was cancelled */          \
	X(EXPIRED, "expired", 1)   /* no answer before the deadline */

enum command_state {
#define X(name, text, final) COMMAND_##name,
	COMMAND_STATE_TABLE(X)
#undef X
	    COMMAND_STATE_COUNT
};
const char *command_state_text(enum command_state s);
bool command_state_of(const char *text, enum command_state *s);
bool command_state_is_final(enum command_state s);

struct command_answer {
	int64_t id;         /* of the command, from 1 */
	bool is_done;       /* state "done"; else "failed" (also: rejected) */
	bool has_passed, passed;
	bool has_value;
	double value;       /* finite, within 1e15 */
	char detail[ANSWER_DETAIL_BYTES]; /* UTF-8, "" when absent */
};
/* ERR_TOO_LARGE above ANSWER_BYTES; ERR_BAD_REQUEST when it is not JSON; ERR_INVALID with the pointer of the member at fault. */
AVIARY_MUST_CHECK enum err answer_parse(struct command_answer *out, const char *text, size_t len, struct fault *f);

#endif
