/* Figures: learned, faded, merged, read; which source is believed; published tables, a real one too. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/profile.h"
#include "published.h"

#define DAY (INT64_C(24) * 3600 * 1000)
#define NOW (20000 * DAY)

static struct profile_cell cell, cell2;

static void empty(void)
{
	memset(&cell, 0, sizeof cell);
	memset(&cell2, 0, sizeof cell2);
}

/* A device's report: `n` inferences of about `ms`. */
static void note(struct profile_cell *c, uint64_t device, double ms, uint32_t n, int64_t now_ms)
{
	int16_t key = (int16_t)ddsketch_key(ms);
	struct profile_sample s = {.device = device, .latency_keys = &key, .latency_counts = &n, .latency_count = 1,
		.energy_sum_uj = 10.0 * n, .energy_n = n, .memory_bytes = 1000 + (int64_t)device, .right = n / 2, .answers = n};
	profile_note(c, &s, now_ms);
}

static bool is_near(double a, double b, double share)
{
	return fabs(a - b) <= share * fabs(b);
}

static void figures_are_what_was_noted(void **state)
{
	(void)state;
	struct profile_figures f;
	empty();
	profile_read(&cell, 3, PROFILE_CLASS, NOW, &f);
	for (unsigned k = 0; k < PROFILE_FIGURES; k++) assert_true(isnan(f.of[k].value) && f.of[k].source == PROFILE_NONE);
	for (uint64_t d = 1; d <= 100; d++) note(&cell, d, d <= 90 ? 20 : 100, 4, NOW);
	profile_read(&cell, 3, PROFILE_CLASS, NOW + 5, &f);
	assert_true(is_near(f.of[PROFILE_LATENCY_P50].value, 20, 0.02));
	assert_true(is_near(f.of[PROFILE_LATENCY_P95].value, 100, 0.02));
	assert_true(is_near(f.of[PROFILE_ENERGY].value, 10, 1e-9));
	assert_true(is_near(f.of[PROFILE_QUALITY].value, 0.5, 1e-9));
	assert_true(f.of[PROFILE_MEMORY].value == 1100);
	assert_true(f.of[PROFILE_LATENCY_P50].samples == 400 && f.of[PROFILE_LATENCY_P50].cell == 3);
	assert_true(f.of[PROFILE_LATENCY_P50].age_ms == 5 && f.of[PROFILE_LATENCY_P50].source == PROFILE_CLASS);
	assert_true(is_near(f.of[PROFILE_LATENCY_P50].devices, 100, 0.15));
	note(&cell, 1, 20, 4, NOW); /* the same device again */
	uint32_t before = f.of[PROFILE_ENERGY].devices;
	profile_read(&cell, 3, PROFILE_CLASS, NOW, &f);
	assert_int_equal(f.of[PROFILE_ENERGY].devices, before);
}

static void devices_are_counted_within_a_few_percent(void **state)
{
	(void)state;
	struct profile_figures f;
	for (uint32_t n = 10; n <= 100000; n *= 10) {
		empty();
		for (uint64_t d = 1; d <= n; d++) note(&cell, d * 977, 20, 1, NOW);
		profile_read(&cell, 0, PROFILE_CLASS, NOW, &f);
		assert_true(is_near(f.of[PROFILE_ENERGY].devices, n, 0.2));
	}
}

static void the_old_weighs_half_each_half_life(void **state)
{
	(void)state;
	struct profile_figures f;
	empty();
	for (uint64_t d = 1; d <= 50; d++) note(&cell, d, 100, 20, NOW);
	for (uint64_t d = 1; d <= 50; d++) note(&cell, d, 10, 20, NOW + 2 * PROFILE_HALF_LIFE_MS);
	profile_read(&cell, 0, PROFILE_CLASS, NOW + 2 * PROFILE_HALF_LIFE_MS, &f);
	/* 250 old ones, 1000 new ones */
	assert_int_equal(cell.latency.n, 1250);
	assert_true(is_near(f.of[PROFILE_LATENCY_P50].value, 10, 0.02));
	assert_true(is_near(f.of[PROFILE_LATENCY_P95].value, 100, 0.02));
	assert_int_equal(f.of[PROFILE_ENERGY].samples, 1250);
	profile_fade(&cell, NOW, PROFILE_HALF_LIFE_MS); /* backwards */
	assert_int_equal(cell.latency.n, 1250);
	profile_fade(&cell, NOW + 100 * PROFILE_HALF_LIFE_MS, PROFILE_HALF_LIFE_MS);
	assert_int_equal(cell.newest_ms, 0);
}

/* Halving keeps the quantiles, whatever the bins: also where each holds one. */
static void halving_keeps_the_shape(void **state)
{
	(void)state;
	empty();
	for (int i = 1; i <= 1000; i++) note(&cell, 1, i, 1, NOW);
	double p50 = ddsketch_quantile(&cell.latency, 0.5), p95 = ddsketch_quantile(&cell.latency, 0.95);
	profile_fade(&cell, NOW + 4 * PROFILE_HALF_LIFE_MS, PROFILE_HALF_LIFE_MS);
	assert_true(cell.latency.n >= 62 && cell.latency.n <= 63);
	assert_true(is_near(ddsketch_quantile(&cell.latency, 0.5), p50, 0.06));
	assert_true(is_near(ddsketch_quantile(&cell.latency, 0.95), p95, 0.06));
	empty();
	note(&cell, 1, 10, 1, NOW);
	profile_fade(&cell, NOW + 4 * PROFILE_HALF_LIFE_MS, PROFILE_HALF_LIFE_MS);
	assert_int_equal(cell.latency.n, 1); /* what is alone stays, and still says less than it did: energy is counted in shares */
	assert_true(cell.energy_n == 1 / 16.0);
}

static void memory_and_devices_of_two_half_lives_ago_are_forgotten(void **state)
{
	(void)state;
	struct profile_figures f;
	empty();
	note(&cell, 5000, 10, 1, NOW);
	note(&cell, 1, 10, 1, NOW + PROFILE_HALF_LIFE_MS);
	profile_read(&cell, 0, PROFILE_CLASS, NOW, &f);
	assert_true(f.of[PROFILE_MEMORY].value == 6000 && f.of[PROFILE_MEMORY].devices == 2);
	note(&cell, 1, 10, 1, NOW + 2 * PROFILE_HALF_LIFE_MS);
	profile_read(&cell, 0, PROFILE_CLASS, NOW, &f);
	assert_true(f.of[PROFILE_MEMORY].value == 1001 && f.of[PROFILE_MEMORY].devices == 1);
}

static void merging_is_noting_together(void **state)
{
	(void)state;
	static struct profile_cell both;
	struct profile_figures a, b;
	empty();
	memset(&both, 0, sizeof both);
	for (uint64_t d = 1; d <= 60; d++) {
		note(d % 3 ? &cell : &cell2, d, (double)d, 7, NOW + (int64_t)d);
		note(&both, d, (double)d, 7, NOW + (int64_t)d);
	}
	profile_merge(&cell, &cell2);
	profile_read(&cell, 0, PROFILE_CLASS, NOW + DAY, &a);
	profile_read(&both, 0, PROFILE_CLASS, NOW + DAY, &b);
	assert_memory_equal(&cell.latency, &both.latency, sizeof both.latency);
	for (unsigned k = 0; k < PROFILE_FIGURES; k++) {
		assert_true(a.of[k].value == b.of[k].value && a.of[k].samples == b.of[k].samples);
		assert_true(a.of[k].devices == b.of[k].devices && a.of[k].age_ms == b.of[k].age_ms);
	}
	memset(&both, 0, sizeof both);
	profile_merge(&cell, &both); /* nothing */
	assert_int_equal(cell.latency.n, 420);
}

static void what_is_no_figure_is_passed_over(void **state)
{
	(void)state;
	struct profile_figures f;
	int16_t key = 3000;
	uint32_t n = 5;
	struct profile_sample s = {.device = 1, .latency_keys = &key, .latency_counts = &n, .latency_count = 1,
		.energy_sum_uj = NAN, .energy_n = 4, .right = 5, .answers = 4};
	empty();
	profile_note(&cell, &s, NOW);
	s.energy_sum_uj = -1;
	profile_note(&cell, &s, NOW);
	profile_read(&cell, 0, PROFILE_CLASS, NOW, &f);
	for (unsigned k = 0; k < PROFILE_FIGURES; k++) assert_true(isnan(f.of[k].value));
}

static struct profile_figures all(double value, enum profile_source source, uint64_t samples)
{
	struct profile_figures f;
	profile_figures_init(&f);
	for (unsigned k = 0; k < PROFILE_FIGURES; k++)
		f.of[k].value = value, f.of[k].source = (uint8_t)source, f.of[k].samples = samples;
	return f;
}

static double picked(const struct profile_known *known, enum profile_source source)
{
	struct profile_figures out;
	profile_pick(known, &out);
	assert_int_equal(out.of[PROFILE_LATENCY_P95].source, source);
	return out.of[PROFILE_LATENCY_P95].value;
}

static void the_best_source_that_knows_enough(void **state)
{
	(void)state;
	struct profile_figures own = all(1, PROFILE_DEVICE, PROFILE_OWN_SAMPLES), own_any = all(2, PROFILE_DEVICE, 10);
	struct profile_figures class = all(3, PROFILE_CLASS, PROFILE_CLASS_SAMPLES), any = all(4, PROFILE_CLASS, 99);
	struct profile_figures published = all(5, PROFILE_PUBLISHED, 0);
	struct profile_known k = {&own, &own_any, &class, &any, NULL, &published, 6};
	assert_true(picked(&k, PROFILE_DEVICE) == 1);
	own = all(1, PROFILE_DEVICE, PROFILE_OWN_SAMPLES - 1);
	assert_true(picked(&k, PROFILE_DEVICE) == 2);
	k.device_any = NULL;
	assert_true(picked(&k, PROFILE_CLASS) == 3);
	class = all(3, PROFILE_CLASS, PROFILE_CLASS_SAMPLES - 1);
	assert_true(picked(&k, PROFILE_CLASS) == 4);
	any = all(4, PROFILE_CLASS, 29);
	assert_true(picked(&k, PROFILE_PUBLISHED) == 5);
	k.published = NULL;
	assert_true(picked(&k, PROFILE_MACS) == 6);
	k.macs_latency_ms = 0;
	assert_true(isnan(picked(&k, PROFILE_NONE)));
	/* each figure by itself */
	struct profile_figures out;
	class = all(3, PROFILE_CLASS, 100);
	class.of[PROFILE_ENERGY].value = NAN;
	k.published = &published;
	profile_pick(&k, &out);
	assert_true(out.of[PROFILE_ENERGY].value == 5 && out.of[PROFILE_LATENCY_P50].value == 3);
}

static void macs_bound_latency(void **state)
{
	(void)state;
	static const double macs[] = {1000, 4000, 9000, 1}, ms[] = {1, 2, 3, 0};
	assert_true(profile_macs_rate(macs, ms, 4) == 2000);
	assert_true(profile_macs_rate(macs, ms, 2) == 1500);
	assert_true(profile_macs_rate(macs, ms, 0) == 0);
	assert_true(profile_macs_latency_ms(3000, 2000) == 3); /* doubled */
	assert_true(profile_macs_latency_ms(0, 2000) == 0 && profile_macs_latency_ms(1, 0) == 0);
}

static void names_of_figures_and_sources(void **state)
{
	(void)state;
	assert_string_equal(profile_figure_name(PROFILE_LATENCY_P95), "latency_p95_ms");
	assert_string_equal(profile_source_name(PROFILE_DEVICE), "device");
}

static void a_table_is_read(void **state)
{
	(void)state;
	static const char text[] = "\xef\xbb\xbfround,org,system,bench,latency_ms,energy_uJ,top1,auc\r\n"
		"1.2,bosch,\"Board \"\"X\"\", rev 2_int8_fast\",ic,45.5,,87.5,0.98\r\n"
		"\n"
		"1.2,bosch,B_float,ad,,7,,0.9";
	struct profile_csv c;
	struct profile_row row;
	struct profile_figures f;
	bool is_end;
	assert_int_equal(profile_csv_begin(&c, text, sizeof text - 1, NULL), ERR_OK);
	assert_int_equal(profile_csv_next(&c, &row, &is_end, NULL), ERR_OK);
	assert_false(is_end);
	assert_string_equal(row.hardware, "Board-X-rev-2");
	assert_string_equal(row.variant, "bosch-1.2-int8_fast");
	assert_string_equal(row.model, "ic");
	assert_true(row.latency_ms == 45.5 && isnan(row.energy_uj) && row.top1 == 0.875 && row.auc == 0.98);
	profile_row_figures(&row, NULL, &f);
	assert_true(f.of[PROFILE_QUALITY].value == 0.875 && f.of[PROFILE_LATENCY_P95].value == 45.5);
	assert_true(f.of[PROFILE_LATENCY_P95].source == PROFILE_PUBLISHED && f.of[PROFILE_ENERGY].source == PROFILE_NONE);
	profile_row_figures(&row, "auc", &f);
	assert_true(f.of[PROFILE_QUALITY].value == 0.98);
	assert_int_equal(profile_csv_next(&c, &row, &is_end, NULL), ERR_OK);
	assert_string_equal(row.hardware, "B");
	assert_string_equal(row.variant, "bosch-1.2-float");
	assert_true(row.line == 4 && isnan(row.latency_ms) && row.energy_uj == 7);
	assert_int_equal(profile_csv_next(&c, &row, &is_end, NULL), ERR_OK);
	assert_true(is_end);
}

static void a_table_with_columns_of_our_own(void **state)
{
	(void)state;
	static const char text[] = "hardware,model,version,variant,latency_p50_ms,latency_p95_ms,memory_bytes,accuracy,devices,samples\n"
		"esp32s3_float,kws,1.4.2,int8,3,4,16000,0.9,12,3400\n";
	struct profile_csv c;
	struct profile_row row;
	struct profile_figures f;
	bool is_end;
	assert_int_equal(profile_csv_begin(&c, text, sizeof text - 1, NULL), ERR_OK);
	assert_int_equal(profile_csv_next(&c, &row, &is_end, NULL), ERR_OK);
	assert_string_equal(row.hardware, "esp32s3_float"); /* the variant is said: nothing is cut */
	assert_string_equal(row.version, "1.4.2");
	assert_string_equal(row.variant, "int8");
	profile_row_figures(&row, "accuracy", &f);
	assert_true(f.of[PROFILE_LATENCY_P50].value == 3 && f.of[PROFILE_LATENCY_P95].value == 4);
	assert_true(f.of[PROFILE_MEMORY].value == 16000 && f.of[PROFILE_QUALITY].value == 0.9);
	assert_true(f.of[PROFILE_MEMORY].devices == 12 && f.of[PROFILE_MEMORY].samples == 3400);
}

static void bad_rows_are_refused_by_line_and_the_rest_is_read(void **state)
{
	(void)state;
	static const char head[] = "system,bench,latency_ms,top1\n", tail[] = "\nb,kws,1,90\n";
	static const char *const bad[] = {"a,ic,1", "a,ic,1,2,3", "a,ic,x,80", "a,ic,-1,80", "a,ic,1,101", "a,ic,nan,80", "a,ic,1e400,80",
		"a,ic,1 2,80", ",ic,1,80", "a,!,1,80", "\"a,ic,1,80", "\"a\"b,ic,1,80", "a\tb,ic,1,80"};
	char text[512];
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct profile_csv c;
		struct profile_row row;
		struct fault f = {{0}, {0}};
		bool is_end, is_open = strcmp(bad[i], "\"a,ic,1,80") == 0;
		snprintf(text, sizeof text, "%s%s%s", head, bad[i], tail);
		assert_int_equal(profile_csv_begin(&c, text, strlen(text), NULL), ERR_OK);
		assert_int_equal(profile_csv_next(&c, &row, &is_end, &f), ERR_INVALID);
		assert_memory_equal(f.detail, "line 2: ", 8);
		if (is_open) continue;
		assert_int_equal(profile_csv_next(&c, &row, &is_end, &f), ERR_OK);
		assert_true(!is_end && row.latency_ms == 1 && strcmp(row.hardware, "b") == 0);
	}
	static const char *const heads[] = {"", "system,latency_ms", "bench,latency_ms", "system,bench", "system,bench,\"latency_ms"};
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		struct profile_csv c;
		assert_int_equal(profile_csv_begin(&c, heads[i], strlen(heads[i]), NULL), ERR_INVALID);
	}
}

static void limits_of_a_table(void **state)
{
	(void)state;
	char text[600] = "system,bench,latency_ms";
	struct profile_csv c;
	struct profile_row row;
	bool is_end;
	for (int i = 3; i < PROFILE_CSV_COLUMNS; i++) strcat(text, ",x");
	assert_int_equal(profile_csv_begin(&c, text, strlen(text), NULL), ERR_OK);
	strcat(text, ",x");
	assert_int_equal(profile_csv_begin(&c, text, strlen(text), NULL), ERR_INVALID);
	strcpy(text, "system,bench,latency_ms\n");
	memset(text + strlen(text), 'a', PROFILE_FIELD_BYTES);
	strcpy(text + 24 + PROFILE_FIELD_BYTES, ",ic,1\n");
	assert_int_equal(profile_csv_begin(&c, text, strlen(text), NULL), ERR_OK);
	assert_int_equal(profile_csv_next(&c, &row, &is_end, NULL), ERR_INVALID);
}

static void the_published_table_maps_to_rows(void **state)
{
	(void)state;
	struct profile_csv c;
	struct profile_row row;
	bool is_end;
	size_t len = 0;
	unsigned rows = 0, latencies = 0, energies = 0;
	char *text = published_read(&len);
	if (text == NULL) skip();
	assert_int_equal(profile_csv_begin(&c, text, len, NULL), ERR_OK);
	for (;; rows++) {
		struct fault f = {{0}, {0}};
		enum err e = profile_csv_next(&c, &row, &is_end, &f);
		if (e) print_message("%s\n", f.detail);
		assert_int_equal(e, ERR_OK);
		if (is_end) break;
		assert_true(name_is_name((struct slice){row.hardware, strlen(row.hardware)}));
		assert_true(name_is_name((struct slice){row.variant, strlen(row.variant)}));
		latencies += !isnan(row.latency_ms);
		energies += !isnan(row.energy_uj);
		if (row.line == 246) {
			assert_string_equal(row.hardware, "CY8CPROTO_062_4343W");
			assert_string_equal(row.variant, "bosch-1.2-float");
			assert_true(row.latency_ms == 479.8464 && row.top1 == 0.87 && row.auc == 0.98);
		}
	}
	assert_int_equal(rows, 331);
	print_message("%u rows, %u latencies, %u energies\n", rows, latencies, energies);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_what_was_noted),
		cmocka_unit_test(devices_are_counted_within_a_few_percent),
		cmocka_unit_test(the_old_weighs_half_each_half_life),
		cmocka_unit_test(halving_keeps_the_shape),
		cmocka_unit_test(memory_and_devices_of_two_half_lives_ago_are_forgotten),
		cmocka_unit_test(merging_is_noting_together),
		cmocka_unit_test(what_is_no_figure_is_passed_over),
		cmocka_unit_test(the_best_source_that_knows_enough),
		cmocka_unit_test(macs_bound_latency),
		cmocka_unit_test(names_of_figures_and_sources),
		cmocka_unit_test(a_table_is_read),
		cmocka_unit_test(a_table_with_columns_of_our_own),
		cmocka_unit_test(bad_rows_are_refused_by_line_and_the_rest_is_read),
		cmocka_unit_test(limits_of_a_table),
		cmocka_unit_test(the_published_table_maps_to_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
