/* What TensorFlow Lite Micro will ask of its tensor arena for a model, without running it.
 *
 * The head is exact for the reference kernels on a 64-bit build: tensors live from the operator that makes them to the
 * last that reads them, kernels ask for scratch buffers beside them, and a greedy planner lays all of them out (offline
 * planned ones first; then the largest first, of equal ones the one added last; each at the lowest offset that is free
 * over its whole life; sizes rounded up to 16). The tail (structures that stay) depends on the build: an estimate from
 * above, by a table by operator. Source: behaviour of tensorflow/tflite-micro, August 2026.
 */
#ifndef AVIARY_CORE_TFLITE_ARENA_H
#define AVIARY_CORE_TFLITE_ARENA_H

#include "core/tflite.h"

enum {
	ARENA_BUFFERS_MAX = 4096,  /* that are planned at once: the planner's time grows with their square */
	ARENA_SCRATCH_MAX = 4096,
	ARENA_VISITS_MAX = 65536,  /* operators, one that is called from two places counted twice */
	ARENA_ALIGNMENT = 16,
	ARENA_ONLINE = -1,
};

struct arena_life {
	uint64_t bytes;
	int32_t first, last; /* operator scopes; -1: never */
	int32_t fixed;       /* offset that an offline plan gives, or ARENA_ONLINE */
	bool is_planned;
};

struct arena_buffer {
	uint64_t bytes; /* a multiple of 16 */
	int32_t first, last, fixed;
};

struct arena_entry { /* one placed buffer in the list that is sorted by offset */
	uint64_t offset;
	uint32_t buffer;
	int32_t next;
};

struct arena_plan {
	struct arena_buffer buffers[ARENA_BUFFERS_MAX];
	struct arena_entry entries[ARENA_BUFFERS_MAX];
	uint64_t keys[ARENA_BUFFERS_MAX];
	unsigned count;
};

/* Lays out plan->buffers[0..count) in the order of their being added; returns the bytes of the head. */
uint64_t arena_plan(struct arena_plan *plan);

struct arena_scratch {
	uint64_t bytes;
	uint32_t graph, node;
	int32_t first, last;
};

struct tflite_arena {
	struct arena_life lives[TFLITE_TENSORS_MAX];
	struct arena_scratch scratch[ARENA_SCRATCH_MAX];
	struct arena_plan plan;
	unsigned scratch_count, visits;
	int32_t scope;
	uint64_t tail_bytes;
};

/* Fills has_arena, arena_unknown, head_bytes, tail_bytes, arena_bytes of the facts; t is an opened file. */
void tflite_arena_facts(struct tflite *t, struct tflite_arena *work, struct model_facts *facts);

/* What one operator's reference kernel asks for. In core/tflite_kernels.c. */
enum { KERNEL_SCRATCH_MAX = 12 };
struct tflite_kernel {
	unsigned scratch_count;
	uint64_t scratch[KERNEL_SCRATCH_MAX]; /* bytes, in the order of asking */
	uint64_t tail_bytes;                  /* structures that stay, on a 64-bit build */
};
/* false: TensorFlow Lite Micro has no such kernel, or what it asks for cannot be told from the file. */
bool tflite_kernel(struct tflite *t, unsigned graph, const struct tflite_operator *op, struct tflite_kernel *out);

/* Multiply-accumulates of one use of an operator in one inference; false: it multiplies, but how often cannot be told.
 * 0 for operators without a sum of products. In core/tflite_macs.c. */
bool tflite_macs(struct tflite *t, unsigned graph, const struct tflite_operator *op, uint64_t *macs);
/* Whether that operator is of those that tflite_macs counts. */
bool tflite_has_macs(int32_t builtin);
/* Float activations met by integer filters. */
bool tflite_is_hybrid(struct tflite *t, unsigned graph, const struct tflite_operator *op);

#endif
