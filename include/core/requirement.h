/* What a model needs of a device: derived from its bytes, declared by its publisher, and both joined.
 *
 * JSON form, all members optional (docs/models.md, "Compatibility"):
 *   {"format":"tflite","runtime":"tflm>=2023.1","ops":["CONV_2D@3"],"custom_ops":["ethos-u"],"hybrid":true,
 *    "flash_slot_bytes":53936,"arena_bytes":23412,"accelerators":["ethos-u55"],"firmware":"audio>=2.1",
 *    "link":["wifi"],"device_class":["m4-64k"],"input":{"shape":[1,49,10,1],"type":"int8"}}
 * `runtime` may be an array: one of them is enough. `firmware` may be an array: all of them. `input` may be an array:
 * the inputs in their order. What is here is also the compiled form: operators are sorted by key, versions are numbers.
 * Not here: whether a device has it (core/compat.h). About 40 KiB: keep it on the heap.
 */
#ifndef AVIARY_CORE_REQUIREMENT_H
#define AVIARY_CORE_REQUIREMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/model_file.h"
#include "core/requirement_version.h"

enum {
	REQUIREMENT_OPS = 256,          /* as many as a model file may have */
	REQUIREMENT_NAME_BYTES = MODEL_NAME_BYTES,
	REQUIREMENT_TERMS = 8,          /* runtimes, firmware parts */
	REQUIREMENT_WORDS = 16,         /* accelerators, links, device classes */
	REQUIREMENT_INPUTS = 8,
	REQUIREMENT_CONFLICTS = 16,
	REQUIREMENT_BYTES = 65536,      /* of the JSON form */
	REQUIREMENT_TYPE_BYTES = 16,
};

/* 64 bits that stand for a name of an operator or accelerator (FNV-1a with a final mix; 0 never). Who makes two names
 * collide in a report lies about one device, as it could without. */
uint64_t requirement_key(struct slice name);

/* A part with a name and a range of versions: "tflm>=2023.1". Name "" is the device's main firmware. */
struct requirement_term {
	char name[NAME_BYTES];
	struct version_range range;
};
/* "audio>=2.1,<3", "tflm", ">=2.1" */
bool requirement_term_parse(struct slice text, struct requirement_term *out);
#define REQUIREMENT_TERM_BYTES (NAME_BYTES + VERSION_RANGE_BYTES)
void requirement_term_format(const struct requirement_term *t, char out[REQUIREMENT_TERM_BYTES]);

struct requirement_words {
	unsigned count;
	char word[REQUIREMENT_WORDS][NAME_BYTES];
};

/* What an input looks like; a dimension below 1 fits any. */
struct requirement_input {
	char type[REQUIREMENT_TYPE_BYTES]; /* as model_type_name() writes it; "" fits any */
	bool has_shape;
	unsigned rank;
	int64_t dims[MODEL_RANK_MAX];
};
/* The two can stand for one another. */
bool requirement_input_fits(const struct requirement_input *a, const struct requirement_input *b);
#define REQUIREMENT_INPUT_BYTES 224
void requirement_input_format(const struct requirement_input *in, char out[REQUIREMENT_INPUT_BYTES]); /* int8 [1,49,10,1] */

struct requirement {
	char format[16];           /* of the file, as model_format_name(); "": nothing is asked of the runtime */
	bool is_hybrid;            /* float activations with integer filters */
	bool arena_is_estimate;    /* derived for TensorFlow Lite Micro and not declared: other runtimes do not plan so, and what
	                            * is measured overrides it */
	int64_t flash_slot_bytes;  /* 0: nothing asked */
	int64_t arena_bytes;       /* 0: nothing asked */

	unsigned op_count;         /* sorted by key; keys differ */
	uint64_t op_key[REQUIREMENT_OPS];
	int32_t op_version[REQUIREMENT_OPS]; /* at least; 0 any */
	bool op_is_custom[REQUIREMENT_OPS];  /* an accelerator may provide it too */
	char op_name[REQUIREMENT_OPS][REQUIREMENT_NAME_BYTES];

	unsigned runtime_count;    /* 0: any; else one of them */
	struct requirement_term runtimes[REQUIREMENT_TERMS];
	unsigned firmware_count;   /* all of them */
	struct requirement_term firmware[REQUIREMENT_TERMS];
	struct requirement_words accelerators; /* all of them */
	uint64_t accelerator_key[REQUIREMENT_WORDS];
	struct requirement_words links, classes; /* empty: any; else the device's is in it */

	unsigned input_count;      /* 0: nothing asked */
	struct requirement_input inputs[REQUIREMENT_INPUTS];
};

void requirement_init(struct requirement *r); /* nothing is asked */
bool requirement_is_empty(const struct requirement *r);

/* From the facts of a file (core/model_file.h): format, bytes, arena, operators with versions, custom ones, hybrid, inputs.
 * Of ONNX the operator sets stand for the operators ("ai.onnx@13"). ERR_TOO_LARGE: more inputs than fit. */
AVIARY_MUST_CHECK enum err requirement_from_model(struct requirement *r, const struct model_facts *facts, struct fault *f);

/* From what the publisher declared. Strict: unknown members, wrong types, limits are refused with their JSON pointer
 * (ERR_INVALID), text that is not JSON with its place (ERR_BAD_REQUEST). */
AVIARY_MUST_CHECK enum err requirement_parse(struct requirement *r, const char *text, size_t len, struct fault *f);
/* The JSON form; requirement_parse reads it back to the same requirement. */
void requirement_print(const struct requirement *r, struct buf *out);

/* Where derived and declared disagree. */
struct requirement_conflict {
	const char *member;    /* "arena_bytes" */
	bool is_contradiction; /* no device can satisfy both: the declaration is to be refused */
	char text[192];        /* "declared 16384, the file needs 23412: 23412 is asked" */
};
struct requirement_conflicts {
	unsigned count;
	bool more; /* than fit */
	bool has_contradiction;
	struct requirement_conflict rows[REQUIREMENT_CONFLICTS];
};
/* Both hold: of each member the stricter. `into` is the derived one. Declared above derived is no conflict (a publisher may
 * know more than the file says); declared below is, and the derived one stays. ERR_TOO_LARGE: more than fits; `into`
 * is of no use then. */
AVIARY_MUST_CHECK enum err requirement_join(struct requirement *into, const struct requirement *declared,
                                            struct requirement_conflicts *conflicts, struct fault *f);

#endif
