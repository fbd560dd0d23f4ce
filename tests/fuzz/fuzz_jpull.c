/* The pull parser against the tree parser: what one takes the other takes, but for what only one of them limits; one
 * string or number alone has the same value in both. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpull.h"
#include "base/json.h"
#include "fuzz.h"

/* Walks the whole text. True when it is JSON. */
static bool walk(struct jp *p, const char *text, size_t len)
{
	char decoded[256];
	int64_t i;
	double d;
	int open = 0;
	jp_init(p, text, len);
	for (;;) {
		enum jp_event e = jp_next(p);
		assert(p->at <= len && p->depth <= JP_MAX_DEPTH);
		if (p->token != NULL) assert(p->token >= text && p->token + p->token_len <= text + len);
		open += (e == JP_OBJECT || e == JP_ARRAY) - (e == JP_OBJECT_END || e == JP_ARRAY_END);
		assert(e == JP_ERROR || open == p->depth);
		if (e == JP_STRING || e == JP_KEY) {
			int n = jp_unescape(p, decoded, sizeof decoded);
			assert(n < (int)sizeof decoded && (n < 0 || strlen(decoded) == (size_t)n));
		}
		if (e == JP_NUMBER && jp_double(p, &d)) assert(isfinite(d));
		if (e == JP_NUMBER && jp_int(p, &i) && jp_double(p, &d)) assert(fabs(d - (double)i) <= fabs(d) * 1e-15);
		if (e == JP_ERROR || e == JP_END) return e == JP_END;
	}
}

/* Both took it: a lone string or number reads the same. */
static void compare_scalar(const char *text, size_t len, const struct json *root)
{
	struct jp p;
	char decoded[4096];
	double d;
	jp_init(&p, text, len);
	enum jp_event e = jp_next(&p);
	if (e == JP_STRING && jp_unescape(&p, decoded, sizeof decoded) >= 0)
		assert(strcmp(decoded, json_text(root)) == 0);
	if (e == JP_NUMBER && jp_double(&p, &d)) assert(fabs(d - json_number(root)) <= fabs(d) * 4.5e-16 + 5e-324);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct jp p;
	struct json *root = NULL;
	bool pulled = walk(&p, text, size);
	struct fault f = {{0}, {0}};
	bool parsed = json_parse(text, size, &root, &f) == ERR_OK;
	/* Only the pull parser refuses depths from 17, only the tree duplicate keys and numbers beyond a double. */
	if (parsed && !pulled) assert(strcmp(p.error, "nested too deeply") == 0);
	if (parsed && pulled) compare_scalar(text, size, root);
	if (parsed) json_free(root);
	return 0;
}
