#include "core/flatbuf.h"

#include <assert.h>
#include <string.h>

void flatbuf_init(struct flatbuf *fb, const uint8_t *data, size_t size)
{
	memset(fb, 0, sizeof *fb);
	fb->data = data;
	fb->size = size;
}

bool flatbuf_is_good(const struct flatbuf *fb)
{
	return fb->place.error == ERR_OK;
}

/* Whether `len` bytes at `at` lie in the window; says so when not. */
static bool holds(struct flatbuf *fb, const char *name, size_t at, uint64_t len)
{
	if (at <= fb->size && len <= fb->size - at) return true;
	place_fail(&fb->place, ERR_INVALID, name, at, "%llu bytes are wanted, the file ends at %zu", (unsigned long long)len,
	             fb->size);
	return false;
}

static uint32_t load_32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; /* one instruction */
}

static uint64_t load(const struct flatbuf *fb, size_t at, unsigned width)
{
	const uint8_t *p = fb->data + at;
	switch (width) {
	case 1: return p[0];
	case 2: return p[0] | (uint32_t)p[1] << 8;
	case 4: return load_32(p);
	default: return load_32(p) | (uint64_t)load_32(p + 4) << 32;
	}
}

static int64_t load_signed(const struct flatbuf *fb, size_t at, unsigned width)
{
	uint64_t value = load(fb, at, width), sign = UINT64_C(1) << (8 * width - 1);
	return (int64_t)((value ^ sign) - sign);
}

/* Where the offset at `at` leads to; 0 after a failure. */
static size_t follow(struct flatbuf *fb, const char *name, size_t at)
{
	if (!flatbuf_is_good(fb) || !holds(fb, name, at, 4)) return 0;
	uint64_t offset = load(fb, at, 4);
	if (offset < 4 || offset > fb->size - at) {
		place_fail(&fb->place, ERR_INVALID, name, at, "offset %llu leads out of the file", (unsigned long long)offset);
		return 0;
	}
	return at + (size_t)offset;
}

/* From its first byte to the first byte of its last field. Its vtable says a length too, but real writers say too much
 * there when they share vtables. */
static unsigned extent(const struct flatbuf *fb, struct flatbuf_table t)
{
	unsigned most = 3;
	for (unsigned slot = 4; slot < t.vtable_bytes; slot += 2) {
		unsigned offset = (unsigned)load(fb, t.vtable + slot, 2);
		if (offset > most) most = offset;
	}
	return most < t.bytes ? most + 1 : t.bytes;
}

static void note(struct flatbuf *fb, const char *name, struct flatbuf_table t)
{
	if (fb->spans == NULL) return;
	if (fb->span_count == fb->span_cap)
		place_fail(&fb->place, ERR_TOO_LARGE, name, t.at, "more than %zu tables", fb->span_cap);
	else
		fb->spans[fb->span_count++] = (uint64_t)t.at << 16 | extent(fb, t);
}

static struct flatbuf_table table_at(struct flatbuf *fb, const char *name, size_t at)
{
	struct flatbuf_table t = {0}, none = {0};
	if (!flatbuf_is_good(fb) || at == 0 || !holds(fb, name, at, 4)) return none;
	int64_t vtable = (int64_t)at - load_signed(fb, at, 4);
	if (vtable < 0 || (uint64_t)vtable > fb->size - 4 || fb->size < 4) {
		place_fail(&fb->place, ERR_INVALID, name, at, "its vtable is not in the file");
		return none;
	}
	t = (struct flatbuf_table){at, (size_t)vtable, 0, 0};
	t.vtable_bytes = (uint16_t)load(fb, t.vtable, 2);
	t.bytes = (uint16_t)load(fb, t.vtable + 2, 2);
	if (t.vtable_bytes < 4 || t.vtable_bytes % 2 != 0 || t.bytes < 4) {
		place_fail(&fb->place, ERR_INVALID, name, t.vtable, "a vtable of %u bytes for a table of %u", t.vtable_bytes, t.bytes);
		return none;
	}
	if (!holds(fb, name, t.vtable, t.vtable_bytes) || !holds(fb, name, at, t.bytes)) return none;
	note(fb, name, t);
	return flatbuf_is_good(fb) ? t : none;
}

struct flatbuf_table flatbuf_root(struct flatbuf *fb)
{
	return table_at(fb, NULL, follow(fb, NULL, 0));
}

/* Where a field's bytes are; 0 when it is absent or not to be trusted. */
static size_t locate(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field, unsigned width)
{
	size_t slot = 4 + (size_t)field.id * 2;
	if (!flatbuf_is_good(fb) || t.at == 0 || slot + 2 > t.vtable_bytes) return 0;
	unsigned offset = (unsigned)load(fb, t.vtable + slot, 2);
	if (offset == 0) return 0;
	if (offset < 4 || offset + width > t.bytes) {
		place_fail(&fb->place, ERR_INVALID, field.name, t.vtable + slot, "field at %u of a table of %u bytes", offset, t.bytes);
		return 0;
	}
	return t.at + offset;
}

uint64_t flatbuf_uint(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field, unsigned width,
                      uint64_t absent)
{
	size_t at = locate(fb, t, field, width);
	return at == 0 ? absent : load(fb, at, width);
}

int64_t flatbuf_int(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field, unsigned width, int64_t absent)
{
	size_t at = locate(fb, t, field, width);
	return at == 0 ? absent : load_signed(fb, at, width);
}

struct flatbuf_table flatbuf_child(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field)
{
	size_t at = locate(fb, t, field, 4);
	return table_at(fb, field.name, at == 0 ? 0 : follow(fb, field.name, at));
}

struct flatbuf_vector flatbuf_vector(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field, unsigned width)
{
	struct flatbuf_vector none = {0};
	size_t at = locate(fb, t, field, 4);
	if (at == 0 || (at = follow(fb, field.name, at)) == 0 || !holds(fb, field.name, at, 4)) return none;
	uint32_t count = (uint32_t)load(fb, at, 4);
	if (!holds(fb, field.name, at + 4, (uint64_t)count * width)) return none;
	return (struct flatbuf_vector){at + 4, count};
}

struct slice flatbuf_text(struct flatbuf *fb, struct flatbuf_table t, struct flatbuf_field field)
{
	struct flatbuf_vector v = flatbuf_vector(fb, t, field, 1);
	if (v.at == 0) return (struct slice){NULL, 0};
	if (!holds(fb, field.name, v.at + v.count, 1)) return (struct slice){NULL, 0};
	if (fb->data[v.at + v.count] != 0) {
		place_fail(&fb->place, ERR_INVALID, field.name, v.at + v.count, "a text without its final NUL");
		return (struct slice){NULL, 0};
	}
	return (struct slice){(const char *)fb->data + v.at, v.count};
}

struct flatbuf_table flatbuf_item(struct flatbuf *fb, struct flatbuf_vector v, uint32_t i)
{
	assert(i < v.count);
	return table_at(fb, NULL, follow(fb, NULL, v.at + (size_t)i * 4));
}

int32_t flatbuf_item_i32(const struct flatbuf *fb, struct flatbuf_vector v, uint32_t i)
{
	assert(i < v.count);
	return (int32_t)load_signed(fb, v.at + (size_t)i * 4, 4);
}

int64_t flatbuf_item_i64(const struct flatbuf *fb, struct flatbuf_vector v, uint32_t i)
{
	assert(i < v.count);
	return load_signed(fb, v.at + (size_t)i * 8, 8);
}

float flatbuf_item_f32(const struct flatbuf *fb, struct flatbuf_vector v, uint32_t i)
{
	uint32_t bits = (uint32_t)flatbuf_item_i32(fb, v, i);
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

void flatbuf_check_overlap(struct flatbuf *fb)
{
	if (!flatbuf_is_good(fb) || fb->spans == NULL) return;
	sort_keys(fb->spans, fb->span_count);
	for (size_t i = 1; i < fb->span_count; i++) {
		uint64_t before = fb->spans[i - 1], here = fb->spans[i];
		if (before != here && (here >> 16) < (before >> 16) + (before & 0xffff)) {
			place_fail(&fb->place, ERR_INVALID, NULL, (size_t)(here >> 16), "this table overlaps the one at byte %llu",
			             (unsigned long long)(before >> 16));
			return;
		}
	}
}

static void sift(uint64_t *keys, size_t root, size_t count)
{
	uint64_t key = keys[root];
	for (size_t child; (child = 2 * root + 1) < count; root = child) {
		if (child + 1 < count && keys[child + 1] > keys[child]) child++;
		if (keys[child] <= key) break;
		keys[root] = keys[child];
	}
	keys[root] = key;
}

/* Heap sort: no recursion, no memory, no bad case that a file could be built for. */
void sort_keys(uint64_t *keys, size_t count)
{
	for (size_t i = count / 2; i-- > 0;) sift(keys, i, count);
	for (size_t end = count; end-- > 1;) {
		uint64_t largest = keys[0];
		keys[0] = keys[end];
		keys[end] = largest;
		sift(keys, 0, end);
	}
}
