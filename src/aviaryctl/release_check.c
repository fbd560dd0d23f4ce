/* aviaryctl release check: which devices could run a release, by hardware class, and why the others cannot. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "release.h"
#include "rest.h"

static const struct column rows[] = {
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"VERDICT", "verdict", CELL_STATUS, false},
	{"DEVICES", "devices", CELL_NUMBER, false},
	{"MODEL", "model", CELL_TEXT, true},
	{"VARIANT", "variant", CELL_TEXT, true},
	{"REASON", "reason", CELL_TEXT, true},
	{"OF THESE", "of", CELL_NUMBER, true},
	{NULL, NULL, CELL_TEXT, false},
};

static const char *text_at(const struct json *j, const char *name)
{
	const char *text = json_text(json_get(j, name));
	return text != NULL ? text : "";
}

static void add_row(struct table *t, const struct json *class, const struct json *reason, bool is_first)
{
	struct buf b = BUF_INIT;
	struct json *row = NULL;
	struct fault f;
	json_open_object(&b);
	json_str(&b, "hardware", is_first ? text_at(class, "hardware") : "");
	json_str(&b, "verdict", is_first ? text_at(class, "verdict") : "");
	if (is_first)
		json_num(&b, "devices", json_number(json_get(class, "devices")));
	if (reason != NULL) {
		json_str(&b, "model", text_at(reason, "model"));
		json_str(&b, "variant", text_at(reason, "variant"));
		json_str(&b, "reason", text_at(reason, "reason"));
		json_num(&b, "of", json_number(json_get(reason, "devices")));
	}
	json_close_object(&b);
	if (json_parse(b.data, b.len, &row, &f) == ERR_OK)
		table_add(t, row);
	json_free(row);
	buf_done(&b);
}

/* A line for each reason; class and verdict stand in the first one. */
static void print_classes(struct ctl *c, const struct json *answer)
{
	struct table *t = table_new(rows);
	for (const struct json *k = json_first(json_get(answer, "classes")); k != NULL; k = json_next(k)) {
		const struct json *reason = json_first(json_get(k, "reasons"));
		add_row(t, k, reason, true);
		while (reason != NULL && (reason = json_next(reason)) != NULL)
			add_row(t, k, reason, false);
	}
	if (table_rows(t) > 0)
		table_print(t, c);
	table_free(t);
	printf("%.0f of %.0f devices can run it; %.0f cannot, of %.0f it is not known.\n", json_number(json_get(answer, "yes")),
		json_number(json_get(answer, "devices")), json_number(json_get(answer, "no")), json_number(json_get(answer, "unknown")));
}

enum result release_check(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	char *path = rest_path(c);
	enum result result = client_get(c, path, &r);
	if (result == RESULT_OK && c->settings.json)
		rest_answer(c, &r);
	else if (result == RESULT_OK && !c->settings.quiet)
		print_classes(c, r.json);
	reply_done(&r);
	free(path);
	return output_flush(result);
}
