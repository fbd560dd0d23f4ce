/* Multiply-accumulates by the shapes of operators, and whether their types can go together. */
#include "core/tflite_arena.h"

struct shapes { /* of one operator */
	struct tflite *t;
	unsigned graph;
	const struct tflite_operator *op;
};

static bool input(const struct shapes *s, uint32_t n, struct tflite_tensor *x)
{
	return tflite_tensor_of(s->t, s->graph, s->op->inputs, n, x) && !x->is_open;
}

static bool output(const struct shapes *s, struct tflite_tensor *y)
{
	return tflite_tensor_of(s->t, s->graph, s->op->outputs, 0, y) && !y->is_open;
}

/* a * b * c, false on overflow. */
static bool product(uint64_t a, uint64_t b, uint64_t c, uint64_t *out)
{
	return !__builtin_mul_overflow(a, b, out) && !__builtin_mul_overflow(*out, c, out);
}

/* Elements of the dims from `from` up to `to`. */
static uint64_t area(const struct tflite_tensor *x, unsigned from, unsigned to)
{
	uint64_t n = 1;
	for (unsigned i = from; i < to; i++) n *= (uint64_t)x->dims[i]; /* at most x->elements, or one of them is 0 */
	return n;
}

/* Filter [out, height, width, in]: every output sums height * width * in products. */
static bool conv_2d(const struct shapes *s, uint64_t *macs)
{
	struct tflite_tensor filter, y;
	if (!input(s, 1, &filter) || !output(s, &y) || filter.rank != 4 || filter.elements == 0) return false;
	return product(y.elements, area(&filter, 1, 4), 1, macs);
}

/* Filter [1, height, width, out]. */
static bool depthwise(const struct shapes *s, uint64_t *macs)
{
	struct tflite_tensor filter, y;
	if (!input(s, 1, &filter) || !output(s, &y) || filter.rank != 4 || filter.elements == 0) return false;
	return product(y.elements, area(&filter, 1, 3), 1, macs);
}

/* Filter [units, in]: once for every row of the input. */
static bool fully_connected(const struct shapes *s, uint64_t *macs)
{
	struct tflite_tensor x, filter;
	if (!input(s, 0, &x) || !input(s, 1, &filter) || filter.rank != 2 || filter.dims[1] == 0) return false;
	return product(x.elements / (uint64_t)filter.dims[1], filter.elements, 1, macs);
}

/* Filter [out, height, width, in]: every input is spread over height * width * out. */
static bool transpose_conv(const struct shapes *s, uint64_t *macs)
{
	struct tflite_tensor filter, x;
	if (!input(s, 1, &filter) || !input(s, 2, &x) || filter.rank != 4 || filter.elements == 0) return false;
	return product(x.elements, area(&filter, 0, 3), 1, macs);
}

/* Filter [depth, height, width, in, out]. */
static bool conv_3d(const struct shapes *s, uint64_t *macs)
{
	struct tflite_tensor filter, y;
	if (!input(s, 1, &filter) || !output(s, &y) || filter.rank != 5 || filter.elements == 0) return false;
	return product(y.elements, area(&filter, 0, 4), 1, macs);
}

/* Filter [depth, height, width, out, in], input at place 2. */
static bool conv_3d_transpose(const struct shapes *s, uint64_t *macs)
{
	struct tflite_tensor filter, x;
	if (!input(s, 1, &filter) || !input(s, 2, &x) || filter.rank != 5 || filter.elements == 0) return false;
	return product(x.elements, area(&filter, 0, 4), 1, macs);
}

/* Features [filters, in] on the newest frame, times [filters, memory] over what is remembered. */
static bool svdf(const struct shapes *s, uint64_t *macs)
{
	struct tflite_tensor x, feature, time;
	if (!input(s, 0, &x) || !input(s, 1, &feature) || !input(s, 2, &time) || x.rank < 1) return false;
	return product((uint64_t)x.dims[0], feature.elements + time.elements, 1, macs);
}

/* Every step multiplies the input and the last state with the weights of up to four gates; a projection if there is one. */
static bool lstm(const struct shapes *s, uint64_t *macs)
{
	enum { FIRST_WEIGHTS = 1, LAST_WEIGHTS = 8, PROJECTION = 16 };
	struct tflite_tensor x, w;
	uint64_t weights = 0;
	if (!input(s, 0, &x) || x.rank != 3) return false;
	for (uint32_t n = FIRST_WEIGHTS; n <= LAST_WEIGHTS; n++)
		if (input(s, n, &w)) weights += w.elements;
	if (input(s, PROJECTION, &w)) weights += w.elements;
	return weights > 0 && product((uint64_t)x.dims[0], (uint64_t)x.dims[1], weights, macs);
}

/* [..., m, k] times [..., k, n]: the output's elements, k products each. */
static bool batch_matmul(const struct shapes *s, uint64_t *macs)
{
	static const struct flatbuf_field adjoint_x = {0, "adj_x"};
	struct tflite_tensor x, y;
	if (!input(s, 0, &x) || !output(s, &y) || x.rank < 2) return false;
	bool is_adjoint = flatbuf_uint(&s->t->fb, s->op->options, adjoint_x, 1, 0) != 0;
	return product(y.elements, (uint64_t)x.dims[x.rank - (is_adjoint ? 2 : 1)], 1, macs);
}

static bool cannot_tell(const struct shapes *s, uint64_t *macs)
{
	(void)s;
	(void)macs;
	return false;
}

/* Operators that sum products; `filter` is the place of what is called their filter, 0: none. */
static const struct mac_row {
	int16_t builtin;
	uint8_t activations, filter;
	bool (*count)(const struct shapes *s, uint64_t *macs);
} rows[] = {
	{3, 0, 1, conv_2d},
	{4, 0, 1, depthwise},
	{9, 0, 1, fully_connected},
	{16, 0, 2, cannot_tell}, /* LSTM */
	{24, 0, 1, cannot_tell}, /* RNN */
	{27, 0, 1, svdf},
	{35, 0, 1, cannot_tell}, /* UNIDIRECTIONAL_SEQUENCE_RNN */
	{44, 0, 2, lstm},        /* at 1 the optional input gate's */
	{46, 0, 1, cannot_tell}, /* BIDIRECTIONAL_SEQUENCE_RNN */
	{52, 0, 2, cannot_tell}, /* BIDIRECTIONAL_SEQUENCE_LSTM */
	{67, 2, 1, transpose_conv},
	{126, 0, 1, batch_matmul},
	{132, 0, 1, conv_3d},
	{141, 2, 1, conv_3d_transpose},
	{171, 0, 1, cannot_tell}, /* STABLEHLO_CONVOLUTION */
	{197, 0, 1, cannot_tell}, /* STABLEHLO_DOT_GENERAL */
};

static const struct mac_row *find(int32_t builtin)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].builtin == builtin) return &rows[i];
	return NULL;
}

bool tflite_has_macs(int32_t builtin)
{
	return find(builtin) != NULL;
}

bool tflite_macs(struct tflite *t, unsigned graph, const struct tflite_operator *op, uint64_t *macs)
{
	const struct shapes s = {t, graph, op};
	const struct mac_row *row = find(op->builtin);
	*macs = 0;
	if (op->builtin == TFLITE_CUSTOM) return false;
	return row == NULL || row->count(&s, macs);
}

static bool is_integer(enum model_type type)
{
	return type == MODEL_TYPE_INT8 || type == MODEL_TYPE_UINT8 || type == MODEL_TYPE_INT4 || type == MODEL_TYPE_INT2 ||
	       type == MODEL_TYPE_UINT4 || type == MODEL_TYPE_INT16;
}

bool tflite_is_hybrid(struct tflite *t, unsigned graph, const struct tflite_operator *op)
{
	const struct mac_row *row = find(op->builtin);
	struct tflite_tensor x, filter;
	if (row == NULL || !tflite_tensor_of(t, graph, op->inputs, row->activations, &x) ||
	    !tflite_tensor_of(t, graph, op->inputs, row->filter, &filter))
		return false;
	return x.type == MODEL_TYPE_FLOAT32 && is_integer(filter.type);
}
