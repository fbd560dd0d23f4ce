/* aviaryctl alert, aviaryctl rule */
#include "rest.h"

static const struct column alert_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"STATUS", "status", CELL_STATUS, false},
	{"SEVERITY", "severity", CELL_STATUS, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"RESOURCE", "resource", CELL_TEXT, false},
	{"FIRED", "fired_at", CELL_AGO, false},
	{"TAKEN BY", "acknowledged_by", CELL_TEXT, true},
	{"SUMMARY", "summary", CELL_TEXT, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column rule_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"NAME", "name", CELL_TEXT, false},
	{"METRIC", "metric", CELL_TEXT, false},
	{"IS", "operator", CELL_TEXT, false},
	{"THRESHOLD", "threshold", CELL_NUMBER, false},
	{"FOR", "for_ms", CELL_DURATION, true},
	{"SEVERITY", "severity", CELL_STATUS, false},
	{"FILTER", "filter", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};

static const struct command_option alert_list_options[] = {
	{.name = "status", .kind = OPTION_TEXT, .value = "STATUS", .use = USE_QUERY, .help = "firing or resolved",
	 .choices = "firing resolved"},
	{.name = "severity", .kind = OPTION_TEXT, .value = "SEVERITY", .use = USE_QUERY,
	 .help = "info, warning or critical", .choices = "info warning critical"},
	{.name = "kind", .kind = OPTION_TEXT, .value = "KIND", .use = USE_QUERY,
	 .help = "exactly this kind, as device.silent"},
	{.name = "resource", .kind = OPTION_TEXT, .value = "RESOURCE", .use = USE_QUERY,
	 .help = "exactly this one, as devices/dev-1"},
	LIST_OPTIONS,
	{.name = NULL},
};

#define ALERT "/alerts/{}"
static const struct command alert_commands[] = {
	{.name = "list", .help = "list alerts, newest first", .options = alert_list_options, .run = rest_list,
	 .path = "/alerts", .columns = alert_columns},
	{.name = "show", .args = "ALERT", .help = "show an alert", .run = rest_show, .path = ALERT},
	{.name = "ack", .args = "ALERT", .help = "say that you take care of it", .run = rest_send, .method = "POST",
	 .path = ALERT "/acknowledge",
	 .done = "alert {} is acknowledged"},
	{.help = NULL},
};
extern const struct command_group group_alert;
const struct command_group group_alert = {"alert", "alerts: what fires, and who takes care of it", alert_commands};

static const struct command_option rule_list_options[] = {LIST_OPTIONS, {.name = NULL}};
#define RULE_OPTIONS                                                                                                   \
	{.name = "metric", .kind = OPTION_TEXT, .value = "METRIC", .use = USE_BODY, .help = "compared report by report"},  \
	{.name = "operator", .kind = OPTION_TEXT, .value = "OP", .use = USE_BODY,                                          \
	 .help = "gt (when absent): above is bad; lt: below", .choices = "gt lt"},                                         \
	{.name = "threshold", .kind = OPTION_NUM, .value = "X", .use = USE_BODY, .help = "in the metric's unit"},          \
	{.name = "for", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "for_ms",                 \
	 .help = "how long it must hold"},                                                                                 \
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_BODY, .help = "only these devices"},           \
	{.name = "severity", .kind = OPTION_TEXT, .value = "SEVERITY", .use = USE_BODY, .help = "warning when absent",     \
	 .choices = "info warning critical"}
static const struct command_option rule_create_options[] = {RULE_OPTIONS, {.name = NULL}};
static const struct command_option rule_edit_options[] = {
	{.name = "name", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"},
	RULE_OPTIONS,
	{.name = NULL},
};

#define RULE "/alert-rules/{}"
static const struct command rule_commands[] = {
	{.name = "list", .help = "list rules", .options = rule_list_options, .run = rest_list, .path = "/alert-rules",
	 .columns = rule_columns},
	{.name = "show", .args = "RULE", .help = "show a rule", .run = rest_show, .path = RULE},
	{.name = "create", .args = "NAME", .help = "an alert for each device whose metric passes a threshold",
	 .options = rule_create_options,
	 .run = rest_send, .method = "POST", .path = "/alert-rules", .word_member = "name"},
	{.name = "edit", .args = "RULE", .help = "change a rule; its alerts are resolved and raised anew",
	 .options = rule_edit_options, .run = rest_edit,
	 .method = "PATCH", .path = RULE, .done = "rule {} is changed"},
	{.name = "delete", .args = "RULE", .help = "delete a rule and resolve its alerts", .run = rest_send,
	 .method = "DELETE", .path = RULE,
	 .done = "rule {} is deleted"},
	{.help = NULL},
};
extern const struct command_group group_rule;
const struct command_group group_rule = {"rule", "alert rules: thresholds on metrics", rule_commands};
