/* A TensorFlow Lite file of any bytes: it is refused with a place, or its facts hold together and can be written. The
 * identifier is put in, so that the search does not spend itself on finding it. */
#include "model_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_model(data, size, "TFL3");
}
