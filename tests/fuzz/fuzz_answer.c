/* Whatever a device sends as /answer: taken within its bounds, or refused with words. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/str.h"
#include "core/command.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct command_answer a;
	struct fault f = {{0}, {0}};
	if (answer_parse(&a, (const char *)data, size, &f) != ERR_OK) {
		assert(f.detail[0] != '\0');
		return 0;
	}
	assert(a.id >= 1 && size <= ANSWER_BYTES);
	assert(memchr(a.detail, '\0', sizeof a.detail) != NULL && str_is_utf8(a.detail, strlen(a.detail)));
	assert(!a.has_value || fabs(a.value) <= 1e15);
	return 0;
}
