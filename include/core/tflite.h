/* TensorFlow Lite models: the checked file, its tensors and operators by index.
 *
 * Source of the layout: the public schema of TensorFlow Lite, version 3 (identifier TFL3). tflite_open walks the whole
 * file once; what it accepted can be read by index without a further failure. Tensors are held nowhere: each is decoded
 * from the bytes when it is asked for, so memory does not grow with the model.
 */
#ifndef AVIARY_CORE_TFLITE_H
#define AVIARY_CORE_TFLITE_H

#include "core/flatbuf.h"
#include "core/model_file.h"

enum {
	TFLITE_SUBGRAPHS_MAX = 64,
	TFLITE_CODES_MAX = 1024,      /* operator codes */
	TFLITE_TENSORS_MAX = 8192,    /* of all subgraphs */
	TFLITE_OPERATORS_MAX = 8192,  /* of all subgraphs */
	TFLITE_BUFFERS_MAX = 16384,
	TFLITE_TABLES_MAX = 98304,
	TFLITE_CALLS_MAX = 16,        /* subgraphs calling subgraphs */
	TFLITE_LIST_MAX = 4096,       /* inputs or outputs of one operator */
	TFLITE_SCALES_MAX = 1 << 20,  /* of one tensor */
};
/* Bytes of one tensor; what is larger is no tensor but an attempt to overflow. */
#define TFLITE_TENSOR_BYTES_MAX (UINT64_C(1) << 40)

struct tflite_subgraph {
	struct flatbuf_vector tensors, operators, inputs, outputs;
	uint32_t first_tensor; /* number of this subgraph's first tensor among those of all subgraphs */
};

struct tflite {
	struct flatbuf fb;
	struct flatbuf_table root;
	struct flatbuf_vector codes, subgraphs, buffers, metadata;
	struct tflite_subgraph graphs[TFLITE_SUBGRAPHS_MAX];
	uint32_t graph_count, tensor_count, operator_count;
	uint64_t used_buffers[TFLITE_BUFFERS_MAX / 64]; /* a bit a buffer that a tensor has its constants in */
	bool is_dynamic;      /* a tensor has an open dimension, or one that may be resized */
	bool is_compressed;   /* constants are codes, not values: their size is not that of the shape */
};

struct tflite_tensor {
	enum model_type type;
	unsigned rank;
	int32_t dims[MODEL_RANK_MAX];
	int32_t signature[MODEL_RANK_MAX]; /* with -1 where a dimension is open; the dims when the file has none */
	uint64_t elements;      /* product of the dims; 0 when one is negative */
	bool is_open;           /* a dimension of the shape itself is negative */
	bool has_open_signature;
	bool has_data;          /* constant, and its bytes are in the FlatBuffer */
	bool is_outside;        /* constant, and its bytes are elsewhere */
	bool is_variable, is_sparse;
	uint32_t buffer;
	uint64_t data_bytes, outside_bytes;
	struct model_quantisation quantisation;
	struct slice name;
};

enum { TFLITE_ADD = 0, TFLITE_CUSTOM = 32 };

struct tflite_operator {
	int32_t builtin;      /* BuiltinOperator of the schema */
	bool is_new_code;     /* from the wide member, which is the only one that the memory planner looks at */
	int64_t version;
	struct slice custom;  /* name of a custom operator */
	struct flatbuf_vector inputs, outputs, intermediates;
	struct flatbuf_table options;
	uint8_t options_type; /* BuiltinOptions of the schema; 0: none */
};

/* Checks the whole file. `keys` is room for TFLITE_TABLES_MAX, used only here. The window must outlive `t`. On failure
 * t->fb says what and where. */
AVIARY_MUST_CHECK enum err tflite_open(struct tflite *t, const uint8_t *data, size_t size, uint64_t *keys);

/* Of an opened file; the index must be one of the subgraph's. */
void tflite_tensor(struct tflite *t, unsigned graph, uint32_t index, struct tflite_tensor *out);
/* Without name, quantisation and sparsity: these are most of the work. */
void tflite_tensor_shape(struct tflite *t, unsigned graph, uint32_t index, struct tflite_tensor *out);
void tflite_operator(struct tflite *t, unsigned graph, uint32_t index, struct tflite_operator *out);
/* Shape of the tensor at place `n` of an operator's list; false when the list is shorter or the place is empty. */
bool tflite_tensor_of(struct tflite *t, unsigned graph, struct flatbuf_vector list, uint32_t n,
                      struct tflite_tensor *out);
/* Subgraphs that an operator calls, in order: 0, 1 or 2. */
unsigned tflite_calls(struct tflite *t, const struct tflite_operator *op, uint32_t callee[2]);
/* Bytes of the metadata entry of that name; false: there is none. */
bool tflite_metadata(struct tflite *t, const char *name, struct flatbuf_vector *bytes);
uint64_t tflite_constant_bytes(struct tflite *t);

/* "CONV_2D"; NULL for a number that the schema has no name for. In core/tflite_ops.c. */
const char *tflite_builtin_name(int32_t builtin);
/* "CONV_2D" or the custom name; "BUILTIN_n" where there is none. */
void tflite_operator_name(const struct tflite_operator *op, char *out, size_t out_size);

/* Fills the facts of an opened file, but for arena and MACs. */
void tflite_facts(struct tflite *t, struct model_facts *facts);

#endif
