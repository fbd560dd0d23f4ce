/* ONNX models: the structure of the outermost message, its graph and the graphs nested in it.
 *
 * Source: the public field numbers of ModelProto and the protobuf wire format. Nothing is copied but short names; weights
 * are counted, not looked at. Neither memory nor time of an inference is estimated.
 */
#ifndef AVIARY_CORE_ONNX_H
#define AVIARY_CORE_ONNX_H

#include "core/model_file.h"

enum {
	ONNX_GRAPH_DEPTH_MAX = 16,  /* graphs within attributes within graphs */
	ONNX_FUNCTIONS_MAX = 4096,
};

/* Outermost fields are those of a model, with its version and a graph. A cut file counts, if that much was to be seen. */
bool onnx_is(const uint8_t *data, size_t size);
AVIARY_MUST_CHECK enum err onnx_read(const uint8_t *data, size_t size, struct model_facts *facts, struct fault *f);

#endif
