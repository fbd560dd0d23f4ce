/* aviaryctl device explain, device override, version report */
#include "explain.h"

#include <stdio.h>
#include <stdlib.h>

#include "rest.h"

static const char *text_of(const struct json *j, const char *name)
{
	const char *text = json_text(json_get(j, name));
	return text != NULL ? text : "";
}

static double number_of(const struct json *j, const char *name)
{
	return json_number(json_get(j, name));
}

/* ---- explain ---- */

static void say_figures(const struct json *figures)
{
	const char *between = "                  ";
	for (const struct json *f = json_first(figures); f != NULL; f = json_next(f)) {
		printf("%s%s %.6g (", between, json_name(f), number_of(f, "value"));
		print_clean(text_of(f, "source"), 0);
		if (json_get(f, "devices") != NULL)
			printf(", %.0f devices", number_of(f, "devices"));
		if (json_get(f, "samples") != NULL)
			printf(", %.0f samples", number_of(f, "samples"));
		putchar(')');
		between = ", ";
	}
	if (json_first(figures) != NULL)
		putchar('\n');
}

static void say_variant(const struct json *v)
{
	printf("  %-14s  ", text_of(v, "variant"));
	print_clean(text_of(v, "why"), 0);
	if (json_get(v, "incompatible") != NULL) {
		fputs(": ", stdout);
		print_clean(text_of(v, "incompatible"), 0);
	}
	if (json_is_true(json_get(v, "installed")))
		fputs(" [installed]", stdout);
	putchar('\n');
	say_figures(json_get(v, "figures"));
}

static void say_component(const struct json *p)
{
	const char *chosen = json_text(json_get(p, "chosen"));
	printf("%s %s: ", text_of(p, "model"), text_of(p, "version"));
	printf("%s (%s)", chosen != NULL ? chosen : "no variant", text_of(p, "why"));
	if (json_get(p, "best") != NULL && json_get(p, "gain") != NULL)
		printf(", %s would save %.1f %%", text_of(p, "best"), 100 * number_of(p, "gain"));
	if (json_get(p, "handed_out") != NULL)
		printf("; its deployment hands out %s", text_of(p, "handed_out"));
	putchar('\n');
	const struct json *o = json_get(p, "override");
	if (o != NULL) {
		printf("  override: %s, by ", text_of(o, "variant"));
		print_clean(text_of(o, "made_by"), 0);
		fputs(text_of(o, "reason")[0] != '\0' ? ": " : "", stdout);
		print_clean(text_of(o, "reason"), 0);
		puts(json_is_true(json_get(o, "there_is_such")) ? "" : " (the version has no such variant)");
	}
	for (const struct json *v = json_first(json_get(p, "variants")); v != NULL; v = json_next(v))
		say_variant(v);
	if (json_first(json_get(p, "variants")) == NULL)
		puts("  nothing for this hardware");
}

enum result device_explain(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	char *path = rest_path(c);
	enum result result = client_get(c, path, &r);
	free(path);
	if (result == RESULT_OK && c->settings.json) {
		rest_answer(c, &r);
	} else if (result == RESULT_OK) {
		printf("%s (%s), release %s, context %s\n", text_of(r.json, "device"), text_of(r.json, "hardware"), text_of(r.json, "release"),
			text_of(r.json, "context"));
		for (const struct json *p = json_first(json_get(r.json, "components")); p != NULL; p = json_next(p))
			say_component(p);
	}
	reply_done(&r);
	return output_flush(result);
}

/* ---- overrides ---- */

enum result device_override(struct ctl *c)
{
	const char *words[] = {command_word(c, 0)};
	struct buf body = BUF_INIT;
	char *path = path_format("/devices/{}/override", words, 1);
	json_open_object(&body);
	json_str(&body, "model", command_word(c, 1));
	json_str(&body, "variant", command_word(c, 2));
	if (option_text(c, "reason") != NULL)
		json_str(&body, "reason", option_text(c, "reason"));
	json_close_object(&body);
	enum result result = rest_request(c, "PUT", path, buf_cstr(&body), NULL);
	buf_done(&body);
	free(path);
	return result;
}

enum result device_end_override(struct ctl *c)
{
	const char *words[] = {command_word(c, 0), command_word(c, 1)};
	char *path = path_format("/devices/{}/override?model={}", words, 2);
	enum result result = rest_request(c, "DELETE", path, NULL, NULL);
	free(path);
	return result;
}

/* ---- the report of a version ---- */

static const struct column variant_columns[] = {
	{"VARIANT", "variant", CELL_TEXT, false},
	{"ELIGIBLE", "eligible_devices", CELL_NUMBER, false},
	{"CHOSEN", "chosen_devices", CELL_NUMBER, false},
	{"DOMINATED", "dominated_devices", CELL_NUMBER, false},
	{"BY", "dominated_by", CELL_TEXT, true},
	{"RETIRE", "retire", CELL_YES, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column class_columns[] = {
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"DEVICES", "devices", CELL_NUMBER, false},
	{"SERVED", "served_devices", CELL_NUMBER, false},
	{"POORLY", "poor_devices", CELL_NUMBER, false},
	{"BUILD NEXT", "build", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column move_columns[] = {
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"RUNS", "from", CELL_TEXT, false},
	{"WOULD GET", "to", CELL_TEXT, false},
	{"DEVICES", "devices", CELL_NUMBER, false},
	{NULL, NULL, CELL_TEXT, false},
};

static void say_table(const struct ctl *c, const struct column *columns, const struct json *items)
{
	if (json_first(items) == NULL)
		return;
	struct table *t = table_new(columns);
	for (const struct json *i = json_first(items); i != NULL; i = json_next(i))
		table_add(t, i);
	putchar('\n');
	table_print(t, c);
	table_free(t);
}

enum result version_report(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	char *path = rest_path(c);
	enum result result = client_get(c, path, &r);
	free(path);
	if (result == RESULT_OK && c->settings.json) {
		rest_answer(c, &r);
	} else if (result == RESULT_OK) {
		printf("%s %s, release %s: %.0f devices\n", text_of(r.json, "model"), text_of(r.json, "version"), text_of(r.json, "release"),
			number_of(r.json, "devices"));
		say_table(c, variant_columns, json_get(r.json, "variants"));
		say_table(c, class_columns, json_get(r.json, "classes"));
		say_table(c, move_columns, json_get(r.json, "moves"));
	}
	reply_done(&r);
	return output_flush(result);
}
