/* The device's words about itself: `/report` and `/status` messages (docs/protocol.md) into fixed structures.
 *
 * Taken whole or refused whole, with the member at fault. Free-form documents (capabilities, attributes) stay slices of
 * the message: valid JSON objects, checked for shape and limits, not interpreted. Not here: whether the device may say
 * it.
 */
#ifndef AVIARY_CORE_REPORT_H
#define AVIARY_CORE_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/names.h"

#define REPORT_BYTES 8192       /* as in the topic table */
#define STATUS_BYTES 512
#define REPORT_TOKEN_BYTES 129  /* with NUL, as all of these */
#define REPORT_DISPLAY_BYTES 129
#define REPORT_SECRET_BYTES 65
#define REPORT_REASON_BYTES 201
#define REPORT_MODELS 16
#define REPORT_TAGS 32
#define REPORT_ATTRIBUTES 32       /* members of an attributes object */
#define REPORT_ATTRIBUTE_BYTES 256 /* of one text value, as written */
#define REPORT_CAPABILITIES 64     /* members of each object in capabilities */

/* What a device says about its deployment. X(NAME, text, final for this attempt) */
#define REPORT_STATE_TABLE(X)                                                                                          \
	X(ACCEPTED, "accepted", 0)                                                                                     \
	X(DOWNLOADING, "downloading", 0)                                                                               \
	X(INSTALLING, "installing", 0)                                                                                 \
	X(TRIAL, "trial", 0)                                                                                           \
	X(SUCCEEDED, "succeeded", 1)                                                                                   \
	X(FAILED, "failed", 1)                                                                                         \
	X(REJECTED, "rejected", 1)                                                                                     \
	X(CANCELLED, "cancelled", 1)

enum report_state {
#define X(name, text, final) REPORT_##name,
	REPORT_STATE_TABLE(X)
#undef X
	    REPORT_STATE_COUNT
};
const char *report_state_text(enum report_state s);
bool report_state_is_final(enum report_state s);

struct report_model {
	char name[NAME_BYTES];
	char version[NAME_BYTES];
};

struct report_hash {
	char model[NAME_BYTES];
	char sha256[REPORT_SECRET_BYTES]; /* 64 lower-case hex digits */
};

struct device_report {
	char boot[NAME_BOOT_BYTES];
	int64_t seq; /* from 1 */
	bool has_ts;
	int64_t ts_ms; /* the device's clock */
	bool has_desired_rev;
	int64_t desired_rev;

	bool has_enrol;
	struct {
		char token[REPORT_TOKEN_BYTES];
		char secret_sha256[REPORT_SECRET_BYTES];
		char name[REPORT_DISPLAY_BYTES]; /* "" when absent; UTF-8 */
		char hardware[NAME_BYTES];
		struct slice attributes; /* JSON object of text, number or boolean members; empty when absent */
		unsigned tag_count;
		char tags[REPORT_TAGS][NAME_BYTES]; /* distinct */
	} enrol;

	bool has_running;
	struct {
		char release[NAME_BYTES]; /* "" when the device runs none that it knows of */
		int64_t counter;          /* 0 when absent */
		unsigned model_count;
		struct report_model models[REPORT_MODELS]; /* distinct names */
		char firmware[NAME_BYTES];                 /* "" when absent */
		unsigned hash_count;
		struct report_hash hashes[REPORT_MODELS];  /* distinct names; of the models' artifacts as they run */
		struct slice text;                         /* the member's own JSON */
	} running;

	struct slice capabilities; /* JSON object; empty when absent */

	bool has_deployment;
	struct {
		char id[NAME_BYTES];
		int64_t attempt; /* from 1; 1 when absent */
		enum report_state state;
		int progress; /* 0..100, -1 when absent */
		char reason[REPORT_REASON_BYTES]; /* "" when absent; UTF-8 */
	} deployment;
};

/* ERR_TOO_LARGE above REPORT_BYTES; ERR_BAD_REQUEST when it is not JSON; ERR_INVALID with the pointer of the member at
 * fault. */
AVIARY_MUST_CHECK enum err report_parse(struct device_report *out, const char *text, size_t len, struct fault *f);

struct device_status {
	bool online;
	char boot[NAME_BOOT_BYTES]; /* "" when absent, as in a last will */
};
AVIARY_MUST_CHECK enum err status_parse(struct device_status *out, const char *text, size_t len, struct fault *f);

#endif
