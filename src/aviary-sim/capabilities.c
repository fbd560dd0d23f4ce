#include "capabilities.h"

#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/buf.h"

/* Operators of TensorFlow Lite Micro's resolver that small vision, audio and sensor models use, with the highest version of its parsers. */
#define OPS                                                                                                            \
	"[\"ADD@4\",\"AVERAGE_POOL_2D@3\",\"CONCATENATION@4\",\"CONV_2D@8\",\"DEPTHWISE_CONV_2D@7\",\"DEQUANTIZE@6\","         \
	"\"EXPAND_DIMS@1\",\"FULLY_CONNECTED@12\",\"HARD_SWISH@1\",\"L2_NORMALIZATION@2\",\"LEAKY_RELU@2\",\"LOGISTIC@3\","   \
	"\"MAXIMUM@4\",\"MAX_POOL_2D@3\",\"MEAN@3\",\"MINIMUM@4\",\"MUL@7\",\"PACK@4\",\"PAD@4\",\"QUANTIZE@3\",\"RELU6@3\","  \
	"\"RELU@3\",\"RESHAPE@1\",\"SOFTMAX@3\",\"SPLIT@4\",\"SQUEEZE@2\",\"STRIDED_SLICE@8\",\"SUB@5\",\"SVDF@4\","          \
	"\"TANH@3\",\"TRANSPOSE@6\",\"TRANSPOSE_CONV@5\",\"UNIDIRECTIONAL_SEQUENCE_LSTM@4\",\"UNPACK@4\"]"
#define MICRO(arena, link)                                                                                             \
	"{\"runtime\":\"tflm\",\"runtime_version\":\"2023.1\",\"ops\":" OPS ",\"accelerators\":[],\"arena_bytes\":" #arena     \
	",\"link\":\"" link "\",\"input\":{\"type\":\"any\"}}"

static const struct {
	const char *hardware, *members;
} standard[] = {
	{"esp32s3", MICRO(524288, "wifi")},
	{"nrf52", MICRO(131072, "lora")},
	{"jetson", "{\"runtime\":\"tflite\",\"runtime_version\":\"2.16\",\"ops\":" OPS ",\"accelerators\":[\"cuda\"],"
	           "\"arena_bytes\":1073741824,\"link\":\"ethernet\",\"input\":{\"type\":\"any\"}}"},
	{NULL, MICRO(262144, "wifi")},
};

static void put_members(struct buf *out, const struct json *from, const struct json *not_in)
{
	for (const struct json *m = json_first(from); m != NULL; m = json_next(m)) {
		if (json_type(m) == JSON_NULL || json_get(not_in, json_name(m)) != NULL)
			continue;
		json_key(out, json_name(m));
		json_print(m, out);
	}
}

char *capabilities_of(const char *hardware, const struct json *over)
{
	struct json *ours = NULL;
	struct buf b = BUF_INIT;
	size_t at = 0;
	while (standard[at].hardware != NULL && strcmp(standard[at].hardware, hardware) != 0)
		at++;
	if (json_parse(standard[at].members, strlen(standard[at].members), &ours, NULL) != ERR_OK)
		abort();
	const struct json *mine = json_get(over, hardware) != NULL ? json_get(over, hardware) : json_get(over, "*");
	json_open_object(&b);
	put_members(&b, ours, mine);
	put_members(&b, mine, NULL);
	json_close_object(&b);
	json_free(ours);
	if (b.len - 2 > AGENT_CAPABILITIES_MAX) {
		buf_done(&b);
		return NULL;
	}
	char *text = strndup(b.data + 1, b.len - 2); /* without the braces */
	if (text == NULL)
		abort();
	buf_done(&b);
	return text;
}
