/* An ONNX file of any bytes, read whether or not it was recognised. */
#include "core/onnx.h"
#include "model_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fault f = {0};
	struct model_facts *facts = fuzz_facts();
	memset(facts, 0, offsetof(struct model_facts, inputs));
	facts->format = MODEL_FORMAT_ONNX;
	enum err error = onnx_read(data, size, facts, &f);
	assert(error == ERR_OK || strstr(f.detail, " at byte ") != NULL);
	if (error == ERR_OK) fuzz_check(facts);
	return fuzz_model(data, size, NULL);
}
