/* What the reference kernels of TensorFlow Lite Micro ask for when they are prepared: a row an operator. */
#include "core/tflite_arena.h"

#include <string.h>

struct ask { /* one operator on its way through the table */
	struct tflite *t;
	unsigned graph;
	const struct tflite_operator *op;
	struct tflite_kernel *out;
};

static void scratch(struct ask *a, uint64_t bytes)
{
	a->out->scratch[a->out->scratch_count++] = bytes;
}

static bool input(struct ask *a, uint32_t n, struct tflite_tensor *x)
{
	return tflite_tensor_of(a->t, a->graph, a->op->inputs, n, x);
}

static bool output(struct ask *a, uint32_t n, struct tflite_tensor *x)
{
	return tflite_tensor_of(a->t, a->graph, a->op->outputs, n, x);
}

/* Shapes are checked: elements are below 2^37, so that a few bytes each cannot overflow. */
static uint64_t dim(const struct tflite_tensor *x, unsigned n)
{
	return n < x->rank && x->dims[n] > 0 ? (uint64_t)x->dims[n] : 0;
}

static bool ask_nothing(struct ask *a)
{
	(void)a;
	return true;
}

/* A filter of 4-bit values is unpacked into scratch; multipliers and shifts are kept for each output channel. */
static bool ask_filter(struct ask *a, unsigned channel_axis)
{
	struct tflite_tensor filter;
	if (!input(a, 1, &filter)) return false;
	if (filter.type == MODEL_TYPE_INT4) scratch(a, filter.elements);
	a->out->tail_bytes += 2 * (4 * dim(&filter, channel_axis) + ARENA_ALIGNMENT);
	return true;
}

static bool ask_conv(struct ask *a)
{
	return ask_filter(a, 0);
}

static bool ask_depthwise(struct ask *a)
{
	return ask_filter(a, 3);
}

static bool ask_fully_connected(struct ask *a)
{
	struct tflite_tensor filter;
	if (!input(a, 1, &filter)) return false;
	tflite_tensor(a->t, a->graph, (uint32_t)flatbuf_item_i32(&a->t->fb, a->op->inputs, 1), &filter);
	if (filter.type == MODEL_TYPE_INT4) scratch(a, filter.elements);
	if (filter.quantisation.count > 1) a->out->tail_bytes += 2 * (4 * (uint64_t)filter.quantisation.count + ARENA_ALIGNMENT);
	return true;
}

static bool ask_transpose_conv(struct ask *a)
{
	struct tflite_tensor x, filter, bias, y;
	if (!input(a, 2, &x) || !input(a, 1, &filter) || !output(a, 0, &y)) return false;
	if (x.type == MODEL_TYPE_INT8) scratch(a, 4 * y.elements);
	if (x.type == MODEL_TYPE_INT16) scratch(a, 8 * y.elements);
	if (x.type == MODEL_TYPE_INT16 && input(a, 3, &bias) && bias.type == MODEL_TYPE_INT16) scratch(a, 8 * bias.elements);
	a->out->tail_bytes += 2 * (4 * dim(&filter, 0) + ARENA_ALIGNMENT);
	return true;
}

static bool ask_svdf(struct ask *a)
{
	static const struct flatbuf_field rank_field = {0, "rank"};
	struct tflite_tensor x, feature;
	if (!input(a, 0, &x) || !input(a, 1, &feature)) return false;
	int64_t rank = flatbuf_int(&a->t->fb, a->op->options, rank_field, 4, 0);
	uint64_t batches = dim(&x, 0), filters = dim(&feature, 0);
	if (rank <= 0 || batches > UINT32_MAX || filters > UINT32_MAX >> 3) return false;
	scratch(a, 4 * batches * filters);
	if (x.type == MODEL_TYPE_INT8) scratch(a, 4 * batches * (filters / (uint64_t)rank));
	return true;
}

static bool ask_lstm(struct ask *a)
{
	enum { INPUT = 0, HIDDEN_STATE = 18, CELL_STATE = 19, BUFFERS = 4 };
	static const struct flatbuf_field time_major = {3, "time_major"};
	struct tflite_tensor x, hidden, cell;
	if (!input(a, INPUT, &x) || !input(a, HIDDEN_STATE, &hidden) || !input(a, CELL_STATE, &cell)) return false;
	bool is_time_major = flatbuf_uint(&a->t->fb, a->op->options, time_major, 1, 0) != 0;
	uint64_t batches = dim(&x, is_time_major ? 1 : 0), states = dim(&hidden, 1);
	if (batches >= UINT64_C(1) << 31 || states >= UINT64_C(1) << 28) return false;
	for (int i = 0; i < BUFFERS; i++) scratch(a, batches * states * (model_type_bits(cell.type) / 8));
	return true;
}

static bool ask_add_n(struct ask *a)
{
	enum { POINTER_BYTES = 8 };
	scratch(a, (uint64_t)POINTER_BYTES * a->op->inputs.count);
	return true;
}

/* An accumulator for quantised means and sums, and two small arrays of indices. */
static bool ask_reduce(struct ask *a, bool has_accumulator)
{
	struct tflite_tensor x, axis, y;
	if (!input(a, 0, &x) || !input(a, 1, &axis) || !output(a, 0, &y)) return false;
	bool is_quantised = x.type == MODEL_TYPE_INT8 || x.type == MODEL_TYPE_INT16;
	if (has_accumulator && is_quantised) scratch(a, 4 * y.elements);
	scratch(a, 4 * (uint64_t)x.rank);
	scratch(a, 4 * axis.elements);
	return true;
}

static bool ask_mean(struct ask *a)
{
	return ask_reduce(a, true);
}

static bool ask_extreme(struct ask *a)
{
	return ask_reduce(a, false);
}

static bool ask_mirror_pad(struct ask *a)
{
	struct tflite_tensor x;
	if (!input(a, 0, &x)) return false;
	for (int i = 0; i < 2; i++) scratch(a, 4 * (uint64_t)x.rank);
	return true;
}

/* Two tables of 513 16-bit values for the exponential. */
static bool ask_softmax(struct ask *a)
{
	struct tflite_tensor x;
	if (!input(a, 0, &x)) return false;
	if (x.type == MODEL_TYPE_INT16) a->out->tail_bytes += 2 * (2 * 513 + ARENA_ALIGNMENT);
	return true;
}

/* Constant right-hand sides are kept transposed. */
static bool ask_batch_matmul(struct ask *a)
{
	struct tflite_tensor x, y;
	if (!input(a, 0, &x) || !input(a, 1, &y)) return false;
	uint64_t bits = model_type_bits(x.type) / 8;
	a->out->tail_bytes += (x.elements + y.elements) * bits + 2 * (TFLITE_LIST_MAX / 64);
	return true;
}

/* The transform works on a copy padded to the transform's length, which is 2 below the length of its output: pairs for
 * half of the frequencies and one. */
static bool ask_rfft(struct ask *a)
{
	struct tflite_tensor x, y;
	if (!input(a, 0, &x) || !output(a, 0, &y) || y.rank == 0 || dim(&y, y.rank - 1) < 4) return false;
	uint64_t length = dim(&y, y.rank - 1) - 2;
	scratch(a, length * (model_type_bits(x.type) / 8));
	a->out->tail_bytes += length * (model_type_bits(x.type) / 8) * 3 + 512;
	return true;
}

/* Base addresses and sizes of what the command stream works on. */
static bool ask_ethos_u(struct ask *a)
{
	uint64_t count = (uint64_t)a->op->inputs.count + a->op->outputs.count;
	for (int i = 0; i < 2; i++) scratch(a, 8 * count);
	return true;
}

/* What keeps samples between inferences keeps about as much as it is given. */
static bool ask_history(struct ask *a)
{
	struct tflite_tensor x, y;
	if (!input(a, 0, &x) || !output(a, 0, &y)) return false;
	a->out->tail_bytes += 4 * (x.elements + y.elements);
	return true;
}

/* Bytes of a node's own structures: its parameters and the kernel's data, 64-bit. */
static const struct builtin_row {
	int16_t builtin;
	uint16_t bytes;
	bool (*ask)(struct ask *a);
} builtins[] = {
	{0, 128, ask_nothing}, /* ADD */
	{1, 96, ask_nothing}, /* AVERAGE_POOL_2D */
	{2, 144, ask_nothing}, /* CONCATENATION */
	{3, 144, ask_conv}, /* CONV_2D */
	{4, 144, ask_depthwise}, /* DEPTHWISE_CONV_2D */
	{5, 96, ask_nothing}, /* DEPTH_TO_SPACE */
	{6, 96, ask_nothing}, /* DEQUANTIZE */
	{7, 64, ask_nothing}, /* EMBEDDING_LOOKUP */
	{8, 96, ask_nothing}, /* FLOOR */
	{9, 96, ask_fully_connected}, /* FULLY_CONNECTED */
	{11, 96, ask_nothing}, /* L2_NORMALIZATION */
	{12, 96, ask_nothing}, /* L2_POOL_2D */
	{14, 96, ask_nothing}, /* LOGISTIC */
	{17, 96, ask_nothing}, /* MAX_POOL_2D */
	{18, 96, ask_nothing}, /* MUL */
	{19, 96, ask_nothing}, /* RELU */
	{21, 96, ask_nothing}, /* RELU6 */
	{22, 48, ask_nothing}, /* RESHAPE */
	{23, 96, ask_nothing}, /* RESIZE_BILINEAR */
	{25, 112, ask_softmax}, /* SOFTMAX */
	{26, 96, ask_nothing}, /* SPACE_TO_DEPTH */
	{27, 112, ask_svdf}, /* SVDF */
	{28, 96, ask_nothing}, /* TANH */
	{34, 112, ask_nothing}, /* PAD */
	{36, 96, ask_nothing}, /* GATHER */
	{37, 96, ask_nothing}, /* BATCH_TO_SPACE_ND */
	{38, 96, ask_nothing}, /* SPACE_TO_BATCH_ND */
	{39, 96, ask_nothing}, /* TRANSPOSE */
	{40, 128, ask_mean}, /* MEAN */
	{41, 128, ask_nothing}, /* SUB */
	{42, 96, ask_nothing}, /* DIV */
	{43, 96, ask_nothing}, /* SQUEEZE */
	{44, 736, ask_lstm}, /* UNIDIRECTIONAL_SEQUENCE_LSTM */
	{45, 144, ask_nothing}, /* STRIDED_SLICE */
	{47, 96, ask_nothing}, /* EXP */
	{49, 32, ask_nothing}, /* SPLIT */
	{50, 320, ask_nothing}, /* LOG_SOFTMAX */
	{53, 96, ask_nothing}, /* CAST */
	{54, 96, ask_nothing}, /* PRELU */
	{55, 96, ask_nothing}, /* MAXIMUM */
	{56, 96, ask_nothing}, /* ARG_MAX */
	{57, 96, ask_nothing}, /* MINIMUM */
	{58, 96, ask_nothing}, /* LESS */
	{59, 96, ask_nothing}, /* NEG */
	{60, 112, ask_nothing}, /* PADV2 */
	{61, 96, ask_nothing}, /* GREATER */
	{62, 96, ask_nothing}, /* GREATER_EQUAL */
	{63, 96, ask_nothing}, /* LESS_EQUAL */
	{65, 96, ask_nothing}, /* SLICE */
	{66, 96, ask_nothing}, /* SIN */
	{67, 176, ask_transpose_conv}, /* TRANSPOSE_CONV */
	{70, 96, ask_nothing}, /* EXPAND_DIMS */
	{71, 96, ask_nothing}, /* EQUAL */
	{72, 96, ask_nothing}, /* NOT_EQUAL */
	{73, 96, ask_nothing}, /* LOG */
	{74, 128, ask_mean}, /* SUM */
	{75, 96, ask_nothing}, /* SQRT */
	{76, 96, ask_nothing}, /* RSQRT */
	{77, 96, ask_nothing}, /* SHAPE */
	{79, 96, ask_nothing}, /* ARG_MIN */
	{82, 128, ask_extreme}, /* REDUCE_MAX */
	{83, 96, ask_nothing}, /* PACK */
	{84, 96, ask_nothing}, /* LOGICAL_OR */
	{86, 96, ask_nothing}, /* LOGICAL_AND */
	{87, 96, ask_nothing}, /* LOGICAL_NOT */
	{88, 96, ask_nothing}, /* UNPACK */
	{89, 128, ask_extreme}, /* REDUCE_MIN */
	{90, 96, ask_nothing}, /* FLOOR_DIV */
	{92, 96, ask_nothing}, /* SQUARE */
	{93, 96, ask_nothing}, /* ZEROS_LIKE */
	{94, 96, ask_nothing}, /* FILL */
	{95, 96, ask_nothing}, /* FLOOR_MOD */
	{97, 96, ask_nothing}, /* RESIZE_NEAREST_NEIGHBOR */
	{98, 80, ask_nothing}, /* LEAKY_RELU */
	{99, 96, ask_nothing}, /* SQUARED_DIFFERENCE */
	{100, 96, ask_mirror_pad}, /* MIRROR_PAD */
	{101, 96, ask_nothing}, /* ABS */
	{102, 96, ask_nothing}, /* SPLIT_V */
	{104, 96, ask_nothing}, /* CEIL */
	{105, 96, ask_nothing}, /* REVERSE_V2 */
	{106, 96, ask_add_n}, /* ADD_N */
	{107, 96, ask_nothing}, /* GATHER_ND */
	{108, 96, ask_nothing}, /* COS */
	{111, 320, ask_nothing}, /* ELU */
	{114, 96, ask_nothing}, /* QUANTIZE */
	{116, 96, ask_nothing}, /* ROUND */
	{117, 96, ask_nothing}, /* HARD_SWISH */
	{118, 96, ask_nothing}, /* IF */
	{119, 96, ask_nothing}, /* WHILE */
	{123, 96, ask_nothing}, /* SELECT_V2 */
	{126, 256, ask_batch_matmul}, /* BATCH_MATMUL */
	{128, 96, ask_nothing}, /* CUMSUM */
	{129, 96, ask_nothing}, /* CALL_ONCE */
	{130, 96, ask_nothing}, /* BROADCAST_TO */
	{140, 128, ask_extreme}, /* REDUCE_ALL */
	{142, 96, ask_nothing}, /* VAR_HANDLE */
	{143, 96, ask_nothing}, /* READ_VARIABLE */
	{144, 96, ask_nothing}, /* ASSIGN_VARIABLE */
	{145, 96, ask_nothing}, /* BROADCAST_ARGS */
	{151, 96, ask_nothing}, /* DYNAMIC_UPDATE_SLICE */
};

static const struct custom_row {
	const char *name;
	uint16_t bytes;
	bool (*ask)(struct ask *a);
} customs[] = {
	{"CIRCULAR_BUFFER", 64, ask_nothing},
	{"SignalDelay", 128, ask_history},
	{"SignalEnergy", 64, ask_nothing},
	{"SignalFftAutoScale", 64, ask_nothing},
	{"SignalFilterBank", 192, ask_history},
	{"SignalFilterBankLog", 64, ask_nothing},
	{"SignalFilterBankSpectralSubtraction", 256, ask_history},
	{"SignalFilterBankSquareRoot", 64, ask_nothing},
	{"SignalFramer", 160, ask_history},
	{"SignalOverlapAdd", 128, ask_history},
	{"SignalPCAN", 128, ask_nothing},
	{"SignalRfft", 96, ask_rfft},
	{"SignalStacker", 160, ask_history},
	{"SignalWindow", 64, ask_nothing},
	{"ethos-u", 64, ask_ethos_u},
};

bool tflite_kernel(struct tflite *t, unsigned graph, const struct tflite_operator *op, struct tflite_kernel *out)
{
	struct ask a = {t, graph, op, out};
	memset(out, 0, sizeof *out);
	if (op->builtin == TFLITE_CUSTOM) {
		for (size_t i = 0; i < sizeof customs / sizeof customs[0]; i++) {
			if (!slice_equals(op->custom, customs[i].name)) continue;
			out->tail_bytes = customs[i].bytes;
			return customs[i].ask(&a);
		}
		return false;
	}
	for (size_t i = 0; i < sizeof builtins / sizeof builtins[0]; i++) {
		if (builtins[i].builtin != op->builtin) continue;
		out->tail_bytes = builtins[i].bytes;
		return builtins[i].ask(&a);
	}
	return false;
}
