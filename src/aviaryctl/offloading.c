/* aviaryctl offload */
#include <stdio.h>
#include <stdlib.h>

#include "rest.h"

static enum result show(struct ctl *c);

static const struct column class_columns[] = {
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"VERSION", "version", CELL_TEXT, false},
	{"MARGIN", "margin", CELL_NUMBER, false},
	{"SINCE", "since", CELL_AGO, false},
	{"FITS", "fits", CELL_NUMBER, false},
	{"WHY", "why", CELL_TEXT, false},
	{"INFERENCES", "inferences", CELL_NUMBER, false},
	{"RATE", "rate", CELL_NUMBER, true},
	{"KEPT", "kept_rate", CELL_NUMBER, true},
	{"AGREES", "agreement", CELL_NUMBER, true},
	{"SURE", "sure_agreement", CELL_NUMBER, true},
	{"COST", "cost_per_inference", CELL_NUMBER, true},
	{"ALERTS", "alerts", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct command_option set_options[] = {
	{.name = "endpoint", .kind = OPTION_TEXT, .value = "URL", .use = USE_BODY, .help = "of the operator, https (required)"},
	{.name = "target", .kind = OPTION_NUM, .value = "SHARE", .use = USE_BODY, .member = "target_rate",
	 .help = "of inferences to send, 0 to 1 (required)"},
	{.name = "margin", .kind = OPTION_NUM, .value = "M", .use = USE_BODY, .help = "where a class begins (0.1)"},
	{.name = "audit", .kind = OPTION_NUM, .value = "SHARE", .use = USE_BODY, .help = "of sure inferences that is sent all the same (0.01)"},
	{.name = "link", .kind = OPTION_TEXT, .value = "LINK", .use = USE_BODY, .choices = "bad metered good", .help = "the least that will do (metered)"},
	{.name = "rssi", .kind = OPTION_INT, .value = "DBM", .use = USE_BODY, .member = "rssi_dbm", .help = "least signal strength"},
	{.name = "rate", .kind = OPTION_INT, .value = "KBPS", .use = USE_BODY, .member = "rate_kbps", .help = "least rate of the link"},
	{.name = "battery", .kind = OPTION_INT, .value = "PERCENT", .use = USE_BODY, .member = "battery_percent", .help = "least charge"},
	{.name = "budget", .kind = OPTION_INT, .value = "N", .use = USE_BODY, .help = "of each device, in --per (60)"},
	{.name = "per", .kind = OPTION_TEXT, .value = "UNIT", .use = USE_BODY, .member = "budget_unit",
	 .choices = "per_hour per_day bytes_per_hour bytes_per_day", .help = "of the budget (per_hour)"},
	{.name = "fit-every", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "fit_every_ms",
	 .help = "a margin changes at most so often (10m)"},
	{.name = "rate-max", .kind = OPTION_NUM, .value = "SHARE", .use = USE_BODY, .help = "alert when more is sent"},
	{.name = "agreement-min", .kind = OPTION_NUM, .value = "SHARE", .use = USE_BODY, .help = "alert when the endpoint agrees less with sure ones"},
	{.name = "agreement-max", .kind = OPTION_NUM, .value = "SHARE", .use = USE_BODY, .help = "alert when it agrees more with hard ones"},
	{.name = "cost-max", .kind = OPTION_NUM, .value = "COST", .use = USE_BODY, .help = "mean of an inference: lowers the target, alerts"},
	{.name = NULL},
};

#define PATH "/models/{}/offload"
static const struct command commands[] = {
	{.name = "show", .args = "MODEL", .help = "show a model's policy, and what comes of it by class", .run = show, .path = PATH},
	{.name = "set", .args = "MODEL", .help = "set a model's policy: what devices may send to an endpoint of yours", .options = set_options,
	 .run = rest_send, .method = "PUT", .path = PATH, .done = "offloading of {} is set"},
	{.name = "remove", .args = "MODEL", .help = "remove it: nothing of the model is sent any more", .run = rest_send, .method = "DELETE", .path = PATH,
	 .done = "nothing of {} is offloaded any more"},
	{.help = NULL},
};
extern const struct command_group group_offload;
const struct command_group group_offload = {"offload", "which inferences devices send to an endpoint of yours", commands};

/* The policy as lines, its classes as a table. */
static void print(struct ctl *c, const struct json *policy)
{
	struct buf own = BUF_INIT;
	struct json *lines = NULL;
	struct table *table = table_new(class_columns);
	json_open_object(&own);
	for (const struct json *m = json_first(policy); m != NULL; m = json_next(m)) {
		if (json_type(m) == JSON_ARRAY)
			continue;
		json_key(&own, json_name(m));
		json_print(m, &own);
	}
	json_close_object(&own);
	if (json_parse(buf_cstr(&own), own.len, &lines, NULL) == ERR_OK)
		print_object(c, lines);
	for (const struct json *k = json_first(json_get(policy, "classes")); k != NULL; k = json_next(k))
		table_add(table, k);
	if (table_rows(table) > 0) {
		puts("");
		table_print(table, c);
	}
	json_free(lines);
	table_free(table);
	buf_done(&own);
}

static enum result show(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	char *path = rest_path(c);
	enum result result = client_get(c, path, &r);
	if (result == RESULT_OK && (c->settings.json || r.json == NULL))
		rest_answer(c, &r);
	else if (result == RESULT_OK)
		print(c, r.json);
	free(path);
	reply_done(&r);
	return result;
}
