#include "core/guarantee.h"

#include <assert.h>

const char *guarantee_name(enum guarantee g) {
	static const char *const names[GUARANTEE_COUNT] = {
#define X(name, wire, text) wire,
		GUARANTEE_TABLE(X)
#undef X
	};
	assert(g < GUARANTEE_COUNT);
	return names[g];
}

const char *guarantee_text(enum guarantee g) {
	static const char *const texts[GUARANTEE_COUNT] = {
#define X(name, wire, text) text,
		GUARANTEE_TABLE(X)
#undef X
	};
	assert(g < GUARANTEE_COUNT);
	return texts[g];
}

bool guarantee_is_exact(enum guarantee g) {
	return g == GUARANTEE_EXACT || g == GUARANTEE_SHAM;
}
