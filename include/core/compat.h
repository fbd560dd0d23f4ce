/* Whether a device can run a model: three-valued, with every reason by name.
 *
 * A device's `capabilities` object (docs/protocol.md) is read once for all devices that report the same words: a
 * capability class. What a device did not report is unknown, and unknown is not yes. A match is a walk over sorted
 * numbers, about 100 ns; a million devices ask their class.
 * Not here: what a model needs (core/requirement.h), which of several variants is best (core/select.h).
 */
#ifndef AVIARY_CORE_COMPAT_H
#define AVIARY_CORE_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/requirement.h"

/* What a device may tell. X(NAME, member of `capabilities`, what it is) */
#define CAPABILITY_TABLE(X)                                                                                            \
	X(RUNTIME, "runtime", "text: name of the runtime: tflm, tflite, onnxruntime, executorch or another")               \
	X(RUNTIME_VERSION, "runtime_version", "text: its version, one to four numbers")                                    \
	X(FORMATS, "formats", "array of texts: file formats it runs; absent: by the runtime's name, when that is known")   \
	X(OPS, "ops", "array of texts: operators with their highest version, \"CONV_2D@3\"; ONNX: \"ai.onnx@18\"")          \
	X(ACCELERATORS, "accelerators", "array of texts: accelerators; \"ethos-u55\" provides operator ethos-u too")       \
	X(SLOT_BYTES, "slot_bytes", "integer: bytes of a slot for a release")                                              \
	X(ARENA_BYTES, "arena_bytes", "integer: bytes of working memory for a model")                                      \
	X(FIRMWARE, "firmware", "object: versions of its parts, {\"audio\":\"2.1\"}; or text: the main one")               \
	X(LINK, "link", "text: kind of link, as wifi, lte, lora, ethernet")                                                \
	X(DEVICE_CLASS, "device_class", "text: class of device that models are made for, finer than the hardware class")   \
	X(INPUT, "input", "object: what the pipeline feeds, {\"shape\":[1,49,10,1],\"type\":\"int8\"}; or such by model")
enum capability {
#define X(name, member, doc) CAPABILITY_##name,
	CAPABILITY_TABLE(X)
#undef X
	    CAPABILITY_COUNT
};
const char *capability_name(enum capability c); /* the member */
const char *capability_doc(enum capability c);

enum {
	CAPABILITY_OPS_MAX = 512,
	CAPABILITY_PROVIDES = 64, /* accelerators and the families they belong to */
	CAPABILITY_PARTS = 16,
	CAPABILITY_INPUTS = 16,
};

/* What a capability class can do. Plain memory, about 13 KiB. */
struct capabilities {
	unsigned known;     /* bits by enum capability */
	unsigned malformed; /* reported, but not as the table says: unknown too */
	char runtime[NAME_BYTES];
	struct loose_version runtime_version;
	struct requirement_words formats;
	unsigned op_count; /* sorted by key */
	uint64_t op_key[CAPABILITY_OPS_MAX];
	int32_t op_version[CAPABILITY_OPS_MAX]; /* highest; INT32_MAX when it told none */
	unsigned provides_count;
	uint64_t provides[CAPABILITY_PROVIDES];
	int64_t slot_bytes, arena_bytes;
	unsigned firmware_count;
	struct capability_part {
		char name[NAME_BYTES]; /* "" the main one */
		struct loose_version version;
	} firmware[CAPABILITY_PARTS];
	char link[NAME_BYTES], device_class[NAME_BYTES];
	unsigned input_count;
	struct capability_input {
		char model[NAME_BYTES]; /* "" whatever the model */
		unsigned count;
		struct requirement_input inputs[REQUIREMENT_INPUTS];
	} inputs[CAPABILITY_INPUTS];
};

void capabilities_init(struct capabilities *c); /* nothing is known */
/* A device's capabilities object. Members that Aviary does not know are passed over; what does not read as its row of the
 * table says is unknown (and in `malformed`). ERR_BAD_REQUEST only where it is no JSON object; nothing is known then. */
AVIARY_MUST_CHECK enum err capabilities_parse(struct capabilities *c, const char *text, size_t len, struct fault *f);
/* What is known from elsewhere; what the device reported itself stays.
 * Firmware: `running.firmware` of its report. Input: that of the version of the same model which the device runs well now:
 * its pipeline feeds it. Both then belong to what distinguishes one capability class from another. */
void capabilities_set_firmware(struct capabilities *c, const char *version);
void capabilities_set_input(struct capabilities *c, const char *model, const struct requirement_input *inputs,
                            unsigned count);

enum compat { COMPAT_NO, COMPAT_UNKNOWN, COMPAT_YES };
const char *compat_name(enum compat v); /* "no" "unknown" "yes" */

/* X(NAME, word to count by) */
#define COMPAT_REASON_TABLE(X)                                                                                         \
	X(UNKNOWN, "unknown")              /* index: enum capability */                                                     \
	X(FORMAT, "format")                                                                                                \
	X(RUNTIME, "runtime")              /* another one */                                                               \
	X(RUNTIME_VERSION, "runtime_version") /* index: of runtimes[] */                                                   \
	X(HYBRID, "hybrid")                                                                                                \
	X(OP_MISSING, "op_missing")        /* index: of op_name[]; needs */                                                \
	X(OP_VERSION, "op_version")        /* the same, and has */                                                         \
	X(CUSTOM_OP, "custom_op")          /* index: of op_name[] */                                                       \
	X(ACCELERATOR, "accelerator")      /* index: of accelerators */                                                    \
	X(SLOT, "flash_slot_bytes")        /* needs, has */                                                                \
	X(ARENA, "arena_bytes")            /* needs, has */                                                                \
	X(FIRMWARE, "firmware")            /* index: of firmware[] */                                                      \
	X(LINK, "link")                                                                                                    \
	X(DEVICE_CLASS, "device_class")                                                                                    \
	X(INPUT, "input")                  /* index: of inputs[] */
enum compat_reason_kind {
#define X(name, word) COMPAT_REASON_##name,
	COMPAT_REASON_TABLE(X)
#undef X
	    COMPAT_REASON_COUNT
};
const char *compat_reason_word(enum compat_reason_kind kind);

struct compat_reason {
	uint16_t kind, index;
	int64_t needs, has;
};

#define COMPAT_REASONS 24
struct compat_result {
	enum compat verdict;
	unsigned count;   /* of reasons[] */
	unsigned omitted; /* that did not fit */
	struct compat_reason reasons[COMPAT_REASONS];
};

/* What a match may take into account besides. NULL or zeroed: nothing. */
struct compat_asked {
	const char *model;          /* whose input the pipeline feeds; NULL: whatever it is */
	int64_t arena_used_bytes;   /* measured on this hardware: in place of an estimate; 0: not measured */
};
/* `why` may be NULL: then it stops at the first no. Does not depend on the order of anything. */
enum compat compat_match(const struct requirement *r, const struct capabilities *c, const struct compat_asked *asked,
                         struct compat_result *why);

#define COMPAT_TEXT_BYTES 256
/* "arena_bytes: needs 23412, has 16384". `c` NULL: without what the device has, so that equal reasons of many devices
 * are equal texts: "arena_bytes: needs 23412". */
void compat_reason_format(const struct compat_reason *reason, const struct requirement *r, const struct capabilities *c,
                          char out[COMPAT_TEXT_BYTES]);

/* ---- counting reasons over many devices ---- */

#define COMPAT_TALLY 64
struct compat_tally {
	int64_t devices[3];  /* by enum compat */
	unsigned count;
	int64_t other;       /* reasons that found no row, by devices */
	struct compat_tally_row {
		struct compat_reason reason; /* `has`: the largest that was not enough */
		int64_t devices;
	} rows[COMPAT_TALLY];
};
/* Of one requirement: indexes of reasons mean something only with it. Zeroed = new. `devices` with the same result. */
void compat_tally_add(struct compat_tally *t, const struct compat_result *result, int64_t devices);
/* Most devices first; ties by kind and index. */
void compat_tally_sort(struct compat_tally *t);

/* ---- capability classes: devices whose capabilities are the same words share a number ---- */

#define CAPABILITY_CLASS_KEY_BYTES 16
#define CAPABILITY_CLASS_NONE UINT32_MAX
struct capability_class_slot {
	uint8_t key[CAPABILITY_CLASS_KEY_BYTES];
	uint32_t id; /* CAPABILITY_CLASS_NONE: free */
};
/* A hash table over the caller's memory. Numbers are given from 0 without gaps, so that arrays can be indexed by them. */
struct capability_classes {
	struct capability_class_slot *slots;
	uint32_t slot_count; /* a power of two */
	uint32_t count;
};
void capability_classes_init(struct capability_classes *t, struct capability_class_slot *slots, uint32_t slot_count);
/* `key`: the first 16 bytes of a cryptographic hash over the words (canonical text of the capabilities, and what
 * capabilities_set_* adds), so that no device can make itself one of another's class. Sets *is_new where the class was not there.
 * CAPABILITY_CLASS_NONE: full (at three quarters); move to a larger one. */
uint32_t capability_classes_intern(struct capability_classes *t, const uint8_t key[CAPABILITY_CLASS_KEY_BYTES], bool *is_new);
/* Everything into another, initialised, larger table; numbers stay. */
void capability_classes_move(const struct capability_classes *from, struct capability_classes *to);

#endif
