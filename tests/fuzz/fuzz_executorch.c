/* An ExecuTorch file of any bytes behind its identifier. */
#include "model_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_model(data, size, "ET12");
}
