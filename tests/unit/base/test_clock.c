#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"

static void formats(void **state)
{
	(void)state;
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {{0, "1970-01-01T00:00:00.000Z"},
	             {-1, "1969-12-31T23:59:59.999Z"},
	             {1700000000123, "2023-11-14T22:13:20.123Z"},
	             {951782400000, "2000-02-29T00:00:00.000Z"},
	             {INT64_MAX, "9999-12-31T23:59:59.999Z"},
	             {INT64_MIN, "0000-01-01T00:00:00.000Z"}};
	char out[25];
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t back;
		assert_ptr_equal(clock_format(cases[i].ms, out, sizeof out), out);
		assert_string_equal(out, cases[i].text);
		assert_true(clock_parse(out, &back));
		if (cases[i].ms > INT64_MIN && cases[i].ms < INT64_MAX) assert_true(back == cases[i].ms);
	}
	for (int64_t ms = -62167219200000 + 12345; ms < 253402300799999; ms += 86400000LL * 97 + 3599999) {
		int64_t back = 0;
		assert_true(clock_parse(clock_format(ms, out, sizeof out), &back));
		assert_true(back == ms);
	}
}

static void parses(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		int64_t ms;
	} cases[] = {{"1970-01-01T00:00:00Z", true, 0},
	             {"1970-01-01t01:00:00z", true, 3600000},
	             {"1970-01-01 00:00:00.5Z", true, 500},
	             {"1970-01-01T00:00:00.1239999Z", true, 123},
	             {"1970-01-01T02:00:00+02:00", true, 0},
	             {"1969-12-31T18:30:00-05:30", true, 0},
	             {"2016-12-31T23:59:60Z", true, 1483228800000},
	             {"2000-02-29T00:00:00Z", true, 951782400000},
	             {"1900-02-29T00:00:00Z", false, 0},
	             {"2001-02-29T00:00:00Z", false, 0},
	             {"2001-13-01T00:00:00Z", false, 0},
	             {"2001-00-01T00:00:00Z", false, 0},
	             {"2001-01-32T00:00:00Z", false, 0},
	             {"2001-01-01T24:00:00Z", false, 0},
	             {"2001-01-01T00:60:00Z", false, 0},
	             {"2001-01-01T00:00:61Z", false, 0},
	             {"2001-01-01T00:00:00", false, 0},
	             {"2001-01-01T00:00:00.Z", false, 0},
	             {"2001-01-01T00:00:00+2:00", false, 0},
	             {"2001-01-01T00:00:00+24:00", false, 0},
	             {"2001-01-01T00:00:00Zx", false, 0},
	             {"2001-01-01", false, 0},
	             {"01-01-01T00:00:00Z", false, 0},
	             {"", false, 0}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t v = 0;
		assert_int_equal(clock_parse(cases[i].text, &v), cases[i].good);
		assert_true(v == cases[i].ms);
	}
}

static void moves_forward(void **state)
{
	(void)state;
	uint64_t ns = clock_mono_ns();
	int64_t ms = clock_mono_ms();
	assert_true(clock_mono_ns() >= ns && clock_mono_ms() >= ms);
	assert_true((uint64_t)ms * 1000000 <= clock_mono_ns());
	assert_true(clock_wall_ms() > 1700000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(formats), cmocka_unit_test(parses), cmocka_unit_test(moves_forward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
