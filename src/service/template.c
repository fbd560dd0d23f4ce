#include "service/template.h"

#include <string.h>

#include "base/json.h"

static size_t find(const struct template_names *n, const char *name, size_t len)
{
	size_t i = 0;
	while (i < n->count && (strlen(n->names[i]) != len || memcmp(n->names[i], name, len) != 0))
		i++;
	return i;
}

enum err template_check(const struct template_names *n, const char *text, size_t most, const char *pointer, struct fault *f)
{
	if (strlen(text) > most)
		return fault_set(f, ERR_INVALID, pointer, "at most %zu bytes", most);
	for (const char *p = strstr(text, "{{"), *close; p != NULL; p = strstr(close, "{{")) {
		close = strstr(p, "}}");
		if (close == NULL || find(n, p + 2, (size_t)(close - p - 2)) == n->count)
			return fault_set(f, ERR_INVALID, pointer, "there is no variable %.40s", p);
	}
	return ERR_OK;
}

/* Inside of a JSON string: the writer's text without its quotes. */
static void put_escaped(struct buf *out, const char *text)
{
	struct buf b = BUF_INIT;
	json_put_str(&b, text);
	buf_append(out, b.data + 1, b.len - 2);
	buf_done(&b);
}

void template_fill(const struct template_names *n, const char *text, const char *const *values, bool is_json, struct buf *out)
{
	for (const char *p = text, *open; *p != '\0';) {
		open = strstr(p, "{{");
		const char *close = open != NULL ? strstr(open, "}}") : NULL;
		size_t at = close != NULL ? find(n, open + 2, (size_t)(close - open - 2)) : n->count;
		if (at == n->count) { /* checked before: none left */
			buf_str(out, p);
			return;
		}
		buf_append(out, p, (size_t)(open - p));
		if (is_json)
			put_escaped(out, values[at]);
		else
			buf_str(out, values[at]);
		p = close + 2;
	}
}
