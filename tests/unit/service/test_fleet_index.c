/* The index in memory against a plain model, under random additions and removals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/fleet_index.h"

#define DEVICES 20000

static void id_of(char out[DEVICE_ID_MAX + 1], uint32_t n)
{
	int len = snprintf(out, DEVICE_ID_MAX + 1, "dev-%u-", n);
	int want = 4 + (int)(n * 7919u % 61); /* every length up to the longest */
	while (len < want)
		out[len] = (char)('a' + len % 26), len++;
	out[len] = '\0';
}

static void check(const struct fleet_index *x, uint32_t n, const struct device_state *expected)
{
	char id[DEVICE_ID_MAX + 1];
	id_of(id, n);
	assert_ptr_equal(fleet_find(x, id, strlen(id)), expected);
	assert_ptr_equal(fleet_by_row(x, (int64_t)n + 1), expected);
	if (expected != NULL) {
		assert_string_equal(expected->id, id);
		assert_int_equal(expected->row, n + 1);
		assert_ptr_equal(fleet_at(x, expected->index), expected);
	}
}

static void test_add_and_remove_at_random(void **state)
{
	(void)state;
	struct fleet_index x;
	struct device_state **model = calloc(DEVICES, sizeof *model);
	assert_non_null(model);
	uint32_t random = 1, size = 0;
	fleet_init(&x);
	for (int step = 0; step < 200000; step++) {
		random = random * 1664525u + 1013904223u;
		uint32_t n = (random >> 8) % DEVICES;
		if (model[n] == NULL) {
			char id[DEVICE_ID_MAX + 1];
			id_of(id, n);
			model[n] = fleet_add(&x, (int64_t)n + 1, id);
			size++;
		} else {
			fleet_remove(&x, model[n]);
			model[n] = NULL;
			size--;
		}
		assert_int_equal(x.size, size);
	}
	for (uint32_t n = 0; n < DEVICES; n++)
		check(&x, n, model[n]);
	assert_true(x.span <= DEVICES); /* places are used again */
	free(model);
	fleet_done(&x);
}

static void test_an_id_is_found_only_whole(void **state)
{
	(void)state;
	struct fleet_index x;
	fleet_init(&x);
	struct device_state *d = fleet_add(&x, 7, "door-7");
	assert_ptr_equal(fleet_find(&x, "door-7/telemetry", 6), d);
	assert_null(fleet_find(&x, "door-7", 5));
	assert_null(fleet_find(&x, "door-77", 7));
	assert_null(fleet_find(&x, "", 0));
	assert_null(fleet_by_row(&x, 8));
	fleet_remove(&x, d);
	assert_null(fleet_find(&x, "door-7", 6));
	assert_null(fleet_at(&x, 0));
	fleet_done(&x);
}

static void test_names_have_two_ranges_and_an_end(void **state)
{
	(void)state;
	struct fleet_index x;
	char text[32];
	fleet_init(&x);
	assert_int_equal(fleet_intern(&x, FLEET_HARDWARE, ""), 0);
	assert_int_equal(fleet_intern(&x, FLEET_RELEASE, NULL), 0);
	assert_string_equal(fleet_name(&x, 0), "");
	uint32_t hardware = fleet_intern(&x, FLEET_HARDWARE, "same"), release = fleet_intern(&x, FLEET_RELEASE, "same");
	assert_int_not_equal(hardware, release);
	assert_string_equal(fleet_name(&x, hardware), "same");
	assert_string_equal(fleet_name(&x, release), "same");
	for (int i = 0; i < FLEET_RELEASES_MAX + 10; i++) {
		snprintf(text, sizeof text, "r%d", i);
		uint32_t n = fleet_intern(&x, FLEET_RELEASE, text);
		assert_true((n == 0) == (i >= FLEET_RELEASES_MAX - 1));
	}
	assert_int_equal(fleet_interned(&x, FLEET_RELEASE, "same"), release);
	assert_int_not_equal(fleet_intern(&x, FLEET_HARDWARE, "other"), 0); /* devices that invent releases take nothing from hardware */
	fleet_done(&x);
}

static void test_a_million_devices(void **state)
{
	(void)state;
	struct fleet_index x;
	char id[32];
	fleet_init(&x);
	uint64_t start = clock_mono_ns();
	for (int i = 1; i <= 1000000; i++) {
		snprintf(id, sizeof id, "dev-%07d", i);
		fleet_add(&x, i, id);
	}
	uint64_t added = clock_mono_ns();
	for (int i = 1; i <= 1000000; i++) {
		snprintf(id, sizeof id, "dev-%07d", i);
		assert_non_null(fleet_find(&x, id, strlen(id)));
	}
	uint64_t found = clock_mono_ns();
	size_t bytes = x.slab_count * FLEET_SLAB * sizeof **x.slabs + x.chunk_count * 65536 + 2 * ((size_t)x.by_id.mask + 1) * sizeof(struct fleet_slot);
	print_message("a million devices: %.0f bytes each, added in %.0f ms, found in %.0f ns each\n", (double)bytes / 1e6,
	              (double)(added - start) / 1e6, (double)(found - added) / 1e6);
	assert_true(bytes < (size_t)200 << 20);
	fleet_done(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_and_remove_at_random),
		cmocka_unit_test(test_an_id_is_found_only_whole),
		cmocka_unit_test(test_names_have_two_ranges_and_an_end),
		cmocka_unit_test(test_a_million_devices),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
