/* Small models, each for something that a reader can get wrong. `head` is what TensorFlow Lite Micro itself reports after
 * AllocateTensors (reference kernels, 64-bit; measured with the interpreter of August 2026; for softmax, sound and npu, which it runs with other options or on other
 * builds, by its rules); -1: it does not run it. */
#ifndef AVIARY_TESTS_TFLITE_MODELS_H
#define AVIARY_TESTS_TFLITE_MODELS_H

#include "tflite_builder.h"

struct named_model {
	const char *name;
	struct b_model model;
	int head;
	long macs; /* -1: cannot be told */
};

#define LIST(...) {__VA_ARGS__}
#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
#define ONE_GRAPH(t, o, in, out) {t, COUNT(t), o, COUNT(o), {in}, 1, {out}, 1}
#define MODEL(g) {.graphs = g, .graph_count = COUNT(g)}

/* CONV_2D 3x3 over 8x8x2 to 4 channels, then RELU, with a bias left out; filter of `type`. */
#define CONV(prefix, type, bytes)                                                                                      \
	static const struct b_tensor prefix##_tensors[] = {                                                            \
		{"in", I8, 4, {1, 8, 8, 2}, 0, 0, 1, 1},                                                               \
		{"filter", type, 4, {4, 3, 3, 2}, bytes, 0, 4, 0},                                                     \
		{"mid", I8, 4, {1, 8, 8, 4}, 0, 0, 1, 0},                                                              \
		{"out", I8, 4, {1, 8, 8, 4}, 0, 0, 1, 0},                                                              \
	};                                                                                                             \
	static const struct b_op prefix##_ops[] = {                                                                    \
		{3, 5, NULL, {0, 1, -1}, 3, {2}, 1, 1, 4, {0, 1, 1, 0}, 1, {0}, 0},                                     \
		{19, 2, NULL, {2}, 1, {3}, 1, 0, 0, {0}, 0, {0}, 0},                                                   \
	};                                                                                                             \
	static const struct b_graph prefix##_graphs[] = {ONE_GRAPH(prefix##_tensors, prefix##_ops, 0, 3)}
CONV(conv8, I8, 72);
CONV(conv4, I4, 36);

static const struct b_tensor addn_tensors[] = {
	{"a", F32, 2, {1, 10}, 0, 0, 0, 0}, {"b", F32, 2, {1, 10}, 40, 0, 0, 0}, {"c", F32, 2, {1, 10}, 40, 0, 0, 0},
	{"sum", F32, 2, {1, 10}, 0, 0, 0, 0},
};
static const struct b_op addn_ops[] = {{106, 1, NULL, {0, 1, 2}, 3, {3}, 1, 0, 0, {0}, 0, {0}, 0}};
static const struct b_graph addn_graphs[] = {ONE_GRAPH(addn_tensors, addn_ops, 0, 3)};

static const struct b_tensor mean_tensors[] = {
	{"x", I8, 4, {1, 6, 6, 3}, 0, 0, 1, 0}, {"axes", I32, 1, {2}, 8, 0, 0, 0}, {"mean", I8, 2, {1, 3}, 0, 0, 1, 0},
	{"sum", I8, 2, {1, 3}, 0, 0, 1, 0}, {"most", I8, 2, {1, 3}, 0, 0, 1, 0},
};
static const struct b_op mean_ops[] = {
	{40, 2, NULL, {0, 1}, 2, {2}, 1, 27, 1, {0}, 1, {0}, 0},
	{74, 2, NULL, {0, 1}, 2, {3}, 1, 27, 1, {0}, 1, {0}, 0},
	{82, 2, NULL, {0, 1}, 2, {4}, 1, 27, 1, {0}, 1, {0}, 0},
};
static const struct b_graph mean_graphs[] = {{mean_tensors, 5, mean_ops, 3, {0}, 1, {2, 3, 4}, 3}};

static const struct b_tensor pad_tensors[] = {
	{"x", F32, 3, {2, 3, 4}, 0, 0, 0, 0}, {"pads", I32, 2, {3, 2}, 24, 0, 0, 0}, {"y", F32, 3, {4, 5, 6}, 0, 0, 0, 0},
};
static const struct b_op pad_ops[] = {{100, 1, NULL, {0, 1}, 2, {2}, 1, 78, 1, {0}, 1, {0}, 0}};
static const struct b_graph pad_graphs[] = {ONE_GRAPH(pad_tensors, pad_ops, 0, 2)};

/* IF over two subgraphs of different size, WHILE around an ADD. */
static const struct b_tensor branch_tensors[] = {
	{"cond", BOOL, 1, {1}, 0, 0, 0, 0}, {"x", F32, 2, {1, 20}, 0, 0, 0, 0}, {"y", F32, 2, {1, 20}, 0, 0, 0, 0},
	{"z", F32, 2, {1, 20}, 0, 0, 0, 0},
};
static const struct b_op branch_ops[] = {
	{118, 1, NULL, {0, 1}, 2, {2}, 1, 92, 4, {1, 2}, 2, {0}, 0},
	{0, 1, NULL, {2, 1}, 2, {3}, 1, 11, 1, {0}, 1, {0}, 0},
};
static const struct b_tensor then_tensors[] = {{"a", F32, 2, {1, 20}, 0, 0, 0, 0}, {"b", F32, 2, {1, 20}, 0, 0, 0, 0}};
static const struct b_op then_ops[] = {{0, 1, NULL, {0, 0}, 2, {1}, 1, 11, 1, {0}, 1, {0}, 0}};
static const struct b_tensor else_tensors[] = {
	{"a", F32, 2, {1, 20}, 0, 0, 0, 0}, {"b", F32, 2, {1, 20}, 0, 0, 0, 0}, {"c", F32, 2, {1, 20}, 0, 0, 0, 0},
};
static const struct b_op else_ops[] = {
	{0, 1, NULL, {0, 0}, 2, {1}, 1, 11, 1, {0}, 1, {0}, 0}, {18, 1, NULL, {1, 0}, 2, {2}, 1, 21, 1, {0}, 1, {0}, 0},
};
static const struct b_graph branch_graphs[] = {
	{branch_tensors, 4, branch_ops, 2, {0, 1}, 2, {3}, 1},
	{then_tensors, 2, then_ops, 1, {0}, 1, {1}, 1},
	{else_tensors, 3, else_ops, 2, {0}, 1, {2}, 1},
};
static const struct b_tensor loop_tensors[] = {{"x", F32, 1, {30}, 0, 0, 0, 0}, {"y", F32, 1, {30}, 0, 0, 0, 0}};
static const struct b_op loop_ops[] = {{119, 1, NULL, {0}, 1, {1}, 1, 93, 4, {1, 2}, 2, {0}, 0}};
static const struct b_tensor until_tensors[] = {{"x", F32, 1, {30}, 0, 0, 0, 0}, {"go", BOOL, 1, {1}, 0, 0, 0, 0},
	{"limit", F32, 1, {1}, 4, 0, 0, 0}, {"first", F32, 1, {1}, 0, 0, 0, 0}, {"at", I32, 1, {1}, 4, 0, 0, 0}};
static const struct b_op until_ops[] = {
	{36, 1, NULL, {0, 4}, 2, {3}, 1, 23, 4, {0}, 1, {0}, 0}, {58, 1, NULL, {3, 2}, 2, {1}, 1, 0, 0, {0}, 0, {0}, 0},
};
static const struct b_graph loop_graphs[] = {
	ONE_GRAPH(loop_tensors, loop_ops, 0, 1),
	{until_tensors, 5, until_ops, 2, {0}, 1, {1}, 1},
	{then_tensors, 2, then_ops, 1, {0}, 1, {1}, 1},
};

/* A chain of RELUs whose tensors an offline plan puts apart, but one. */
static const struct b_tensor plan_tensors[] = {
	{"a", I8, 2, {1, 100}, 0, 0, 1, 0}, {"b", I8, 2, {1, 50}, 0, 0, 1, 0}, {"c", I8, 2, {1, 200}, 0, 0, 1, 0},
};
static const struct b_op plan_ops[] = {
	{19, 2, NULL, {0}, 1, {1}, 1, 0, 0, {0}, 0, {0}, 0}, {19, 2, NULL, {1}, 1, {2}, 1, 0, 0, {0}, 0, {0}, 0},
};
static const struct b_graph plan_graphs[] = {ONE_GRAPH(plan_tensors, plan_ops, 0, 2)};
static const int32_t plan_words[] = {1, 0, 3, 512, -1, 0};

/* A state that is variable, a tensor of no size, an SVDF. */
static const struct b_tensor svdf_tensors[] = {
	{"x", F32, 2, {2, 16}, 0, 0, 0, 0}, {"feature", F32, 2, {8, 16}, 512, 0, 0, 0}, {"time", F32, 2, {8, 5}, 160, 0, 0, 0},
	{"bias", F32, 1, {4}, 16, 0, 0, 0}, {"state", F32, 2, {2, 40}, 0, 1, 0, 0}, {"y", F32, 2, {2, 4}, 0, 0, 0, 0},
	{"none", F32, 2, {0, 4}, 0, 0, 0, 0},
};
static const struct b_op svdf_ops[] = {{27, 2, NULL, {0, 1, 2, 3, 4}, 5, {5}, 1, 6, 4, {2}, 1, {0}, 0}};
static const struct b_graph svdf_graphs[] = {ONE_GRAPH(svdf_tensors, svdf_ops, 0, 5)};

static const struct b_tensor matmul_tensors[] = {
	{"a", F32, 3, {2, 3, 5}, 0, 0, 0, 0}, {"b", F32, 3, {2, 5, 7}, 280, 0, 0, 0}, {"y", F32, 3, {2, 3, 7}, 0, 0, 0, 0},
};
static const struct b_op matmul_ops[] = {{126, 2, NULL, {0, 1}, 2, {2}, 1, 101, 1, {0, 0, 0}, 3, {0}, 0}};
static const struct b_graph matmul_graphs[] = {ONE_GRAPH(matmul_tensors, matmul_ops, 0, 2)};

static const struct b_tensor custom_tensors[] = {{"x", I8, 1, {4}, 0, 0, 1, 0}, {"y", I8, 1, {4}, 0, 0, 1, 0}};
static const struct b_op custom_ops[] = {
	{32, 1, "my-accelerator", {0}, 1, {1}, 1, 0, 0, {0}, 0, {0}, 0},
	{32, 2, "my-accelerator", {0}, 1, {1}, 1, 0, 0, {0}, 0, {0}, 0},
	{32, 1, "my-accelerator", {0}, 1, {1}, 1, 0, 0, {0}, 0, {0}, 0},
};
static const struct b_graph custom_graphs[] = {ONE_GRAPH(custom_tensors, custom_ops, 0, 1)};

/* Float activations, 8-bit weights. */
static const struct b_tensor hybrid_tensors[] = {
	{"x", F32, 2, {3, 10}, 0, 0, 0, 0}, {"w", I8, 2, {6, 10}, 60, 0, 1, 0}, {"y", F32, 2, {3, 6}, 0, 0, 0, 0},
};
static const struct b_op hybrid_ops[] = {{9, 3, NULL, {0, 1, -1}, 3, {2}, 1, 8, 1, {0}, 1, {0}, 0}};
static const struct b_graph hybrid_graphs[] = {ONE_GRAPH(hybrid_tensors, hybrid_ops, 0, 2)};

static const struct b_tensor text_tensors[] = {{"x", STRING, 1, {4}, 0, 0, 0, 0}, {"y", STRING, 1, {4}, 0, 0, 0, 0}};
static const struct b_op text_ops[] = {{22, 1, NULL, {0}, 1, {1}, 1, 0, 0, {0}, 0, {0}, 0}};
static const struct b_graph text_graphs[] = {ONE_GRAPH(text_tensors, text_ops, 0, 1)};

/* TRANSPOSE_CONV with its own scratch, and with a 16-bit bias that is widened; a SOFTMAX of 16 bits behind it. */
static const struct b_tensor tconv_tensors[] = {
	{"shape", I32, 1, {4}, 16, 0, 0, 0}, {"filter", I8, 4, {3, 2, 2, 2}, 24, 0, 3, 0}, {"x", I16, 4, {1, 4, 4, 2}, 0, 0, 1, 0},
	{"bias", I16, 1, {3}, 6, 0, 1, 0}, {"y", I16, 4, {1, 8, 8, 3}, 0, 0, 1, 0}, {"z", I16, 4, {1, 8, 8, 3}, 0, 0, 1, 0},
};
static const struct b_op tconv_ops[] = {
	{67, 3, NULL, {0, 1, 2, 3}, 4, {4}, 1, 49, 4, {0, 2, 2}, 3, {0}, 0},
	{19, 1, NULL, {4}, 1, {5}, 1, 0, 0, {0}, 0, {0}, 0},
};
static const struct b_graph tconv_graphs[] = {ONE_GRAPH(tconv_tensors, tconv_ops, 2, 4)};
static const struct b_op soft_ops[] = {{25, 1, NULL, {4}, 1, {5}, 1, 9, 4, {0x3f800000}, 1, {0}, 0}};
static const struct b_graph soft_graphs[] = {{tconv_tensors, 6, soft_ops, 1, {4}, 1, {5}, 1}};

/* What the runtime for microcontrollers lacks: its products are counted all the same. */
static const struct b_tensor volume_tensors[] = {
	{"x", F32, 5, {1, 4, 4, 4, 2}, 0, 0, 0, 0}, {"w", F32, 5, {2, 2, 2, 2, 3}, 192, 0, 0, 0},
	{"y", F32, 5, {1, 4, 4, 4, 3}, 0, 0, 0, 0}, {"v", F32, 5, {2, 2, 2, 2, 3}, 192, 0, 0, 0},
	{"shape", I32, 1, {5}, 20, 0, 0, 0}, {"z", F32, 5, {1, 4, 4, 4, 2}, 0, 0, 0, 0},
};
static const struct b_op volume_ops[] = {
	{132, 1, NULL, {0, 1}, 2, {2}, 1, 0, 0, {0}, 0, {0}, 0}, {141, 1, NULL, {4, 3, 2}, 3, {5}, 1, 0, 0, {0}, 0, {0}, 0},
};
static const struct b_graph volume_graphs[] = {ONE_GRAPH(volume_tensors, volume_ops, 0, 5)};
static const struct b_op rnn_ops[] = {{24, 1, NULL, {0, 1}, 2, {2}, 1, 0, 0, {0}, 0, {0}, 0}};
static const struct b_graph rnn_graphs[] = {ONE_GRAPH(volume_tensors, rnn_ops, 0, 2)};

/* The runtime's own custom operators: the transform's padded copy is scratch. */
static const struct b_tensor sound_tensors[] = {
	{"x", I16, 2, {1, 512}, 0, 0, 0, 0}, {"framed", I16, 2, {1, 512}, 0, 0, 0, 0}, {"bins", I16, 2, {1, 514}, 0, 0, 0, 0},
};
static const struct b_op sound_ops[] = {
	{32, 1, "SignalFramer", {0}, 1, {1}, 1, 0, 0, {0}, 0, {0}, 0}, {32, 1, "SignalRfft", {1}, 1, {2}, 1, 0, 0, {0}, 0, {0}, 0},
};
static const struct b_graph sound_graphs[] = {ONE_GRAPH(sound_tensors, sound_ops, 0, 2)};
static const struct b_tensor npu_tensors[] = {
	{"commands", U8, 1, {64}, 64, 0, 0, 0}, {"x", I8, 1, {100}, 0, 0, 1, 0}, {"y", I8, 1, {10}, 0, 0, 1, 0},
};
static const struct b_op npu_ops[] = {{32, 1, "ethos-u", {0, 1}, 2, {2}, 1, 0, 0, {0}, 0, {0}, 0}};
static const struct b_graph npu_graphs[] = {ONE_GRAPH(npu_tensors, npu_ops, 1, 2)};

static const struct named_model models[] = {
	{"tconv", MODEL(tconv_graphs), 2016, 384},
	{"softmax", MODEL(soft_graphs), 768, 0},
	{"volume", MODEL(volume_graphs), -1, 6144},
	{"rnn", MODEL(rnn_graphs), -1, -1},
	{"sound", MODEL(sound_graphs), 3088, -1},
	{"npu", MODEL(npu_graphs), 192, -1},
	{"conv8", {conv8_graphs, 1, NULL, 0, 1}, 512, 4608},
	{"conv4", MODEL(conv4_graphs), 512, 4608},
	{"addn", MODEL(addn_graphs), 128, 0},
	{"mean", MODEL(mean_graphs), 192, 0},
	{"mirror", MODEL(pad_graphs), 608, 0},
	{"branch", MODEL(branch_graphs), 416, 0},
	{"loop", MODEL(loop_graphs), 464, 0},
	{"plan", {plan_graphs, 1, plan_words, COUNT(plan_words), 0}, 624, 0},
	{"svdf", MODEL(svdf_graphs), 224, 336},
	{"matmul", MODEL(matmul_graphs), 304, 210},
	{"custom", MODEL(custom_graphs), -1, -1},
	{"hybrid", MODEL(hybrid_graphs), -1, 180},
	{"text", MODEL(text_graphs), -1, 0},
};

#endif
