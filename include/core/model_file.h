/* What a model file says about itself: one entry that tells the format from the bytes, reads it, and fills one result.
 *
 * A reader sees a window of bytes and nothing else: no I/O, no allocation, memory that does not grow with the file. It
 * trusts no byte of it. It does not judge: whether a device can run the model is decided elsewhere, from these facts.
 */
#ifndef AVIARY_CORE_MODEL_FILE_H
#define AVIARY_CORE_MODEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* X(name, text) */
#define MODEL_FORMAT_TABLE(X)                                                                                          \
	X(OPAQUE, "opaque")         /* none of the others: only what the publisher declares is known */                    \
	X(TFLITE, "tflite")         /* FlatBuffer, identifier TFL3, schema version 3 */                                    \
	X(ONNX, "onnx")             /* protobuf ModelProto */                                                              \
	X(EXECUTORCH, "executorch") /* FlatBuffer, identifier ET??; recognised, its root checked, no more */
enum model_format {
#define X(name, text) MODEL_FORMAT_##name,
	MODEL_FORMAT_TABLE(X)
#undef X
};

/* Element types of both formats. X(name, text, bits of an element; 0: no fixed size) */
#define MODEL_TYPE_TABLE(X)                                                                                            \
	X(UNKNOWN, "unknown", 0)                                                                                           \
	X(FLOAT32, "float32", 32)                                                                                          \
	X(FLOAT16, "float16", 16)                                                                                          \
	X(BFLOAT16, "bfloat16", 16)                                                                                        \
	X(FLOAT64, "float64", 64)                                                                                          \
	X(INT2, "int2", 2)                                                                                                 \
	X(INT4, "int4", 4)                                                                                                 \
	X(INT8, "int8", 8)                                                                                                 \
	X(INT16, "int16", 16)                                                                                              \
	X(INT32, "int32", 32)                                                                                              \
	X(INT64, "int64", 64)                                                                                              \
	X(UINT2, "uint2", 2)                                                                                               \
	X(UINT4, "uint4", 4)                                                                                               \
	X(UINT8, "uint8", 8)                                                                                               \
	X(UINT16, "uint16", 16)                                                                                            \
	X(UINT32, "uint32", 32)                                                                                            \
	X(UINT64, "uint64", 64)                                                                                            \
	X(BOOL, "bool", 8)                                                                                                 \
	X(COMPLEX64, "complex64", 64)                                                                                      \
	X(COMPLEX128, "complex128", 128)                                                                                   \
	X(FLOAT8, "float8", 8)                                                                                             \
	X(FLOAT4, "float4", 4)                                                                                             \
	X(STRING, "string", 0)                                                                                             \
	X(RESOURCE, "resource", 0)                                                                                         \
	X(VARIANT, "variant", 0)
enum model_type {
#define X(name, text, bits) MODEL_TYPE_##name,
	MODEL_TYPE_TABLE(X)
#undef X
};

/* A model with more than these is refused by name (ERR_TOO_LARGE). */
enum {
	MODEL_IO_MAX = 128,     /* inputs, and outputs */
	MODEL_OPS_MAX = 256,    /* different (name, version) */
	MODEL_RANK_MAX = 8,
	MODEL_NAME_BYTES = 96,  /* with the NUL: names of operators and domains; those of tensors are cut */
	MODEL_SYMBOL_BYTES = 24, /* a symbolic dimension, cut */
	MODEL_OPSETS_MAX = 16,
};

#define MODEL_DIM_OPEN INT64_C(-1) /* a dimension that is only known at run time */

struct model_quantisation {
	unsigned count;  /* of scales: 0 none, 1 the whole tensor, more: one a slice along `axis` */
	int axis;
	double scale;    /* the first */
	int64_t zero;    /* the first */
};

/* An input or output of the model. */
struct model_io {
	char name[MODEL_NAME_BYTES]; /* "" when it has none; may be cut, always NUL-terminated */
	enum model_type type;
	unsigned rank;
	bool has_shape; /* ONNX may leave it out altogether */
	int64_t dims[MODEL_RANK_MAX];                       /* MODEL_DIM_OPEN where it is open */
	/* TensorFlow Lite: what may be resized, MODEL_DIM_OPEN there; a runtime that plans ahead takes the dims */
	int64_t signature[MODEL_RANK_MAX];
	char symbols[MODEL_RANK_MAX][MODEL_SYMBOL_BYTES];   /* ONNX's name of an open dimension; else "" */
	struct model_quantisation quantisation;
};

/* All uses of one operator in one version. */
struct model_op {
	char name[MODEL_NAME_BYTES];   /* CONV_2D; of a custom operator its own name; ONNX: the operator type */
	char domain[MODEL_NAME_BYTES]; /* ONNX, "" for its own; TensorFlow Lite: "" */
	int64_t version;               /* ONNX: of the opset imported for the domain */
	uint32_t count;
	bool custom;
	bool has_macs;  /* what it multiplies is known; false for those without multiplications to count, and ONNX */
	uint64_t macs;  /* of all its uses, one inference */
};

struct model_opset {
	char domain[MODEL_NAME_BYTES]; /* "" for ONNX's own */
	int64_t version;
};

/* Large: keep it on the heap. Self-contained: it does not point into the file. */
struct model_facts {
	enum model_format format;
	uint64_t file_bytes;
	char identifier[5];      /* of a FlatBuffer: "TFL3", "ET12"; else "" */
	int64_t schema_version;  /* TensorFlow Lite: 3; ONNX: ir_version */
	char producer[MODEL_NAME_BYTES]; /* ONNX: producer_name; TensorFlow Lite: description; cut */

	/* How many of the lists at the end are set; what is behind them is not. */
	unsigned input_count, output_count, op_count, opset_count;
	uint64_t op_uses;        /* sum of their counts */
	unsigned signature_count; /* TensorFlow Lite: named entry points */
	unsigned subgraph_count; /* ONNX: graphs nested in attributes too */

	uint64_t constant_bytes;   /* weights in the file, or in its appended buffers */
	unsigned external_count;   /* ONNX: initializers whose bytes are in another file */
	uint64_t external_bytes;   /* as far as they say how long */

	/* Of TensorFlow Lite Micro; see core/tflite_arena.h. When not known, arena_unknown says why. */
	bool has_arena;
	char arena_unknown[96];
	uint64_t head_bytes;  /* planned tensors and scratch buffers, exactly */
	uint64_t tail_bytes;  /* what stays allocated beside it: an estimate from above */
	uint64_t arena_bytes; /* head and tail */

	bool has_macs;  /* every operator that multiplies could be counted */
	uint64_t macs;  /* one inference */

	unsigned custom_count; /* how many of ops[] are custom */
	bool hybrid;           /* float activations with integer filters somewhere */
	bool dynamic;          /* some shape is only known at run time */
	char hybrid_at[MODEL_NAME_BYTES]; /* "subgraphs[0].operators[0]" */

	struct model_io inputs[MODEL_IO_MAX], outputs[MODEL_IO_MAX];
	struct model_op ops[MODEL_OPS_MAX]; /* in the order of first use */
	struct model_opset opsets[MODEL_OPSETS_MAX];
};

/* What the reader needs beside the facts: this many bytes, aligned as malloc does, contents of no matter. The same for
 * every file (below 1 MiB). */
size_t model_work_bytes(void);

/* By the first bytes (ONNX has none of its own: by the fields of its outermost message). Never fails. */
enum model_format model_detect(const uint8_t *data, size_t size);

/* Reads the window. ERR_INVALID with "<path> at byte <n>: <why>" in the detail when the bytes are not what their format
 * asks for, ERR_TOO_LARGE when they are but pass one of the limits above. An opaque file is read without an error.
 * `work` has model_work_bytes() bytes. On failure the facts hold the format and what was read before. */
AVIARY_MUST_CHECK enum err model_read(const uint8_t *data, size_t size, void *work, struct model_facts *facts,
                                      struct fault *f);

/* Whether the bytes are of the format that their publisher declared ("tflite", "onnx", "executorch"; every other word is
 * a format that Aviary does not read, and must not be used for those that it does). ERR_INVALID, saying both. */
AVIARY_MUST_CHECK enum err model_check_declared(const char *declared, enum model_format found, struct fault *f);

const char *model_format_name(enum model_format format);
const char *model_type_name(enum model_type type);
unsigned model_type_bits(enum model_type type); /* 0: no fixed size */

/* The facts as a JSON object: format, inputs, outputs, operators, head_bytes, arena_bytes, macs, custom_operators,
 * hybrid and the rest; what is not known is null. Written by core/model_json.c. */
void model_facts_json(const struct model_facts *facts, struct buf *out);

#endif
