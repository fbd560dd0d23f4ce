#include "core/executorch.h"

#include <stdio.h>
#include <string.h>

#include "core/flatbuf.h"

/* The extended header behind the identifier: magic, its own length, then where program and segments lie. */
enum { HEADER_AT = 8, HEADER_BYTES_MIN = 24 };

static uint64_t load(const uint8_t *p, unsigned width)
{
	uint64_t value = 0;
	for (unsigned i = width; i-- > 0;) value = value << 8 | p[i];
	return value;
}

bool executorch_is(const uint8_t *data, size_t size)
{
	return size >= 8 && data[4] == 'E' && data[5] == 'T' && data[6] >= '0' && data[6] <= '9' && data[7] >= '0' &&
	       data[7] <= '9';
}

static void check_header(struct place *place, const uint8_t *data, size_t size)
{
	if (size < HEADER_AT + 8 || memcmp(data + HEADER_AT, "eh00", 4) != 0) return;
	uint64_t length = load(data + HEADER_AT + 4, 4);
	if (length < HEADER_BYTES_MIN || length > size - HEADER_AT) {
		place_fail(place, ERR_INVALID, "extended_header", HEADER_AT, "a header of %llu bytes", (unsigned long long)length);
		return;
	}
	uint64_t program = load(data + HEADER_AT + 8, 8), segments = load(data + HEADER_AT + 16, 8);
	if (program > size || segments > size)
		place_fail(place, ERR_INVALID, "extended_header", HEADER_AT + 8,
		           "program of %llu bytes, segments at %llu in a file of %zu", (unsigned long long)program,
		           (unsigned long long)segments, size);
}

enum err executorch_read(const uint8_t *data, size_t size, struct model_facts *facts, struct fault *f)
{
	static const struct flatbuf_field version = {0, "version"};
	struct flatbuf fb;
	flatbuf_init(&fb, data, size);
	if (!executorch_is(data, size)) place_fail(&fb.place, ERR_INVALID, "identifier", 4, "not ET and two digits");
	struct flatbuf_table root = flatbuf_root(&fb);
	facts->schema_version = (int64_t)flatbuf_uint(&fb, root, version, 4, 0);
	check_header(&fb.place, data, size);
	snprintf(facts->arena_unknown, sizeof facts->arena_unknown, "ExecuTorch plans its own memory");
	return flatbuf_is_good(&fb) ? ERR_OK : fault_set(f, fb.place.error, "", "%s", fb.place.why);
}
