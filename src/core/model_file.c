#include "core/model_file.h"

#include <string.h>

#include "core/executorch.h"
#include "core/onnx.h"
#include "core/tflite_arena.h"

/* The notes of the check and the plan are not needed at the same time. */
struct work {
	struct tflite tflite;
	union {
		uint64_t keys[TFLITE_TABLES_MAX];
		struct tflite_arena arena;
	} room;
};

static const char *const formats[] = {
#define X(name, text) text,
	MODEL_FORMAT_TABLE(X)
#undef X
};

static const struct {
	const char *name;
	unsigned bits;
} types[] = {
#define X(name, text, bits) {text, bits},
	MODEL_TYPE_TABLE(X)
#undef X
};

const char *model_format_name(enum model_format format)
{
	return formats[format];
}

const char *model_type_name(enum model_type type)
{
	return types[type].name;
}

unsigned model_type_bits(enum model_type type)
{
	return types[type].bits;
}

size_t model_work_bytes(void)
{
	return sizeof(struct work);
}

enum model_format model_detect(const uint8_t *data, size_t size)
{
	if (size >= 8 && memcmp(data + 4, "TFL3", 4) == 0) return MODEL_FORMAT_TFLITE;
	if (executorch_is(data, size)) return MODEL_FORMAT_EXECUTORCH;
	if (onnx_is(data, size)) return MODEL_FORMAT_ONNX;
	return MODEL_FORMAT_OPAQUE;
}

static enum err read_tflite(const uint8_t *data, size_t size, struct work *work, struct model_facts *facts,
                            struct fault *f)
{
	struct tflite *t = &work->tflite;
	if (tflite_open(t, data, size, work->room.keys) == ERR_OK) tflite_facts(t, facts);
	if (!flatbuf_is_good(&t->fb)) return fault_set(f, t->fb.place.error, "", "%s", t->fb.place.why);
	tflite_arena_facts(t, &work->room.arena, facts);
	return ERR_OK;
}

enum err model_read(const uint8_t *data, size_t size, void *work, struct model_facts *facts, struct fault *f)
{
	memset(facts, 0, offsetof(struct model_facts, inputs)); /* the lists are long, and counted */
	facts->file_bytes = size;
	facts->format = model_detect(data, size);
	if (facts->format == MODEL_FORMAT_TFLITE || facts->format == MODEL_FORMAT_EXECUTORCH)
		memcpy(facts->identifier, data + 4, 4);
	switch (facts->format) {
	case MODEL_FORMAT_TFLITE: return read_tflite(data, size, work, facts, f);
	case MODEL_FORMAT_ONNX: return onnx_read(data, size, facts, f);
	case MODEL_FORMAT_EXECUTORCH: return executorch_read(data, size, facts, f);
	case MODEL_FORMAT_OPAQUE: break;
	}
	memcpy(facts->arena_unknown, "the format is not read", sizeof "the format is not read");
	return ERR_OK;
}

enum err model_check_declared(const char *declared, enum model_format found, struct fault *f)
{
	enum model_format meant = MODEL_FORMAT_OPAQUE;
	for (unsigned i = 0; i < sizeof formats / sizeof formats[0]; i++)
		if (strcmp(declared, formats[i]) == 0) meant = (enum model_format)i;
	if (meant == found) return ERR_OK;
	if (found == MODEL_FORMAT_OPAQUE)
		return fault_set(f, ERR_INVALID, "", "declared %s, but the bytes are not of that format", formats[meant]);
	return fault_set(f, ERR_INVALID, "", "declared %.40s, but the bytes are %s", declared, formats[found]);
}
