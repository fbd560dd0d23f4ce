/* ExecuTorch programs (.pte): recognised by their identifier, the root table and the extended header's bounds checked.
 * What is in them is not read. */
#ifndef AVIARY_CORE_EXECUTORCH_H
#define AVIARY_CORE_EXECUTORCH_H

#include "core/model_file.h"

bool executorch_is(const uint8_t *data, size_t size);
AVIARY_MUST_CHECK enum err executorch_read(const uint8_t *data, size_t size, struct model_facts *facts, struct fault *f);

#endif
