/* Whatever an operator types as a filter: what is taken has a canonical text that is taken again, means the same, and
 * stays the same. */
#include <assert.h>
#include <string.h>

#include "core/rsql.h"
#include "fuzz.h"

static const struct rsql_field fields[] = {
	{"a", false, RSQL_TEXT, 0},   {"x.", true, RSQL_TEXT, 1}, {"n", false, RSQL_NUMBER, 2},
	{"t", false, RSQL_TIME, 3},   {"b", false, RSQL_BOOL, 4}, {"tag", false, RSQL_TEXT, 5},
};
enum { FIELDS = sizeof fields / sizeof fields[0] };
#define NOW INT64_C(1700000000000)

static bool get(const void *context, const struct rsql_field *field, struct slice key, unsigned index,
                struct rsql_operand *out)
{
	static const char *const texts[] = {"", "a", "aab*b", "\xc3\xa9", "(a,b)", "100%"};
	unsigned seed = *(const unsigned *)context + index * 7 + (unsigned)key.len;
	const char *text = texts[seed % 6];
	*out = (struct rsql_operand){{text, strlen(text)}, (double)seed - 2, NOW - 5 + (int64_t)seed, seed % 2};
	return index < (field->column == 5 ? seed % 3 : 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rsql q, again;
	static char text[RSQL_TEXT_BYTES + 8], printed[RSQL_PRINT_BYTES], twice[RSQL_PRINT_BYTES];
	static char like[2 * RSQL_TEXT_BYTES + 1];
	struct rsql_error e = {0};
	size_t len = size < sizeof text - 1 ? size : sizeof text - 1;
	memcpy(text, data, len);
	text[len] = '\0';
	enum err error = rsql_parse(&q, text, fields, FIELDS, NOW, &e);
	assert(error == ERR_OK || (e.at <= strlen(text) && e.message[0] != '\0'));
	if (error) return 0;
	assert(rsql_print(&q, printed, sizeof printed) >= 0);
	for (unsigned i = 0; i < q.value_count; i++) assert(rsql_like(&q.values[i], like, sizeof like) >= 0);
	if (strlen(printed) > RSQL_TEXT_BYTES) return 0; /* longer spellings; as text it is over the limit */
	error = rsql_parse(&again, printed, fields, FIELDS, NOW, NULL);
	assert(error == ERR_OK);
	assert(rsql_print(&again, twice, sizeof twice) >= 0 && strcmp(printed, twice) == 0);
	for (unsigned seed = 0; seed < 6; seed++) {
		struct rsql_subject s = {get, &seed};
		assert(rsql_matches(&q, &s) == rsql_matches(&again, &s));
	}
	return 0;
}
