/* aviaryctl check, aviaryctl command (the server's own health is `aviaryctl health`) */
#include "rest.h"

static const struct column command_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"PROGRESS", "progress", CELL_STATUS, false},
	{"QUEUED", "queued", CELL_NUMBER, false},
	{"SENT", "sent", CELL_NUMBER, false},
	{"ANSWERED", "answered", CELL_NUMBER, false},
	{"FAILED", "failed", CELL_NUMBER, false},
	{"EXPIRED", "expired", CELL_NUMBER, false},
	{"MADE", "created_at", CELL_AGO, false},
	{"BY", "created_by", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column errand_columns[] = {
	{"COMMAND", "command", CELL_NUMBER, false},
	{"DEVICE", "device", CELL_TEXT, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"STATE", "state", CELL_STATUS, false},
	{"PASS", "answer.pass", CELL_TEXT, true},
	{"VALUE", "answer.value", CELL_NUMBER, true},
	{"ENDED", "ended_at", CELL_AGO, true},
	{"DETAIL", "answer.detail", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column check_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"NAME", "name", CELL_TEXT, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"HARDWARE", "hardware", CELL_TEXT, true},
	{"MODEL", "model", CELL_TEXT, true},
	{"METRIC", "metric", CELL_TEXT, true},
	{"BAD", "operator", CELL_TEXT, true},
	{"THRESHOLD", "threshold", CELL_NUMBER, true},
	{"EVERY", "every_ms", CELL_DURATION, true},
	{"SEVERITY", "severity", CELL_STATUS, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column matrix_columns[] = {
	{"CHECK", "check", CELL_TEXT, false},
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"MODEL", "model", CELL_TEXT, false},
	{"VERSION", "version", CELL_TEXT, false},
	{"CELL", "cell", CELL_TEXT, false},
	{"DEVICES", "devices", CELL_NUMBER, false},
	{"PASS", "pass", CELL_NUMBER, false},
	{"FAIL", "fail", CELL_NUMBER, false},
	{"RATE", "rate", CELL_NUMBER, false},
	{"FAILING", "failing", CELL_NUMBER, false},
	{"SUSPICIOUS", "suspicious", CELL_NUMBER, false},
	{"FIRING", "firing", CELL_NUMBER, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column result_columns[] = {
	{"CHECK", "check", CELL_TEXT, false},
	{"PASS", "pass", CELL_TEXT, false},
	{"CELL", "cell", CELL_TEXT, false},
	{"TAGGED", "tagged", CELL_TEXT, false},
	{"SUSPICIOUS", "suspicious", CELL_TEXT, false},
	{"FIRING", "firing", CELL_TEXT, false},
	{"VALUE", "value", CELL_NUMBER, true},
	{"AT", "at", CELL_AGO, false},
	{"DETAIL", "detail", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};

#define TARGET_OPTIONS                                                                                                 \
	{.name = "device", .kind = OPTION_TEXT, .value = "DEVICE", .use = USE_BODY, .help = "one device"},                 \
	{.name = "group", .kind = OPTION_TEXT, .value = "GROUP", .use = USE_BODY, .help = "the devices of a group"},       \
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_BODY, .help = "these devices"}
static const struct command_option page_options[] = {LIST_OPTIONS, {.name = NULL}};
static const struct command_option errand_options[] = {
	{.name = "state", .kind = OPTION_TEXT, .value = "STATE", .use = USE_QUERY, .help = "only these",
	 .choices = "queued sent answered failed expired"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option send_options[] = {
	TARGET_OPTIONS,
	{.name = "params", .kind = OPTION_DOC, .value = "JSON", .use = USE_BODY, .help = "as {\"check\":\"model_hash\"}"},
	{.name = "timeout-ms", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "timeout_ms",
	 .help = "for a device's answer"},
	{.name = "rate", .kind = OPTION_NUM, .value = "N", .use = USE_BODY, .help = "devices a second"},
	{.name = NULL},
};

#define COMMAND "/commands/{}"
static const struct command command_commands[] = {
	{.name = "list", .help = "list commands to devices, newest first", .options = page_options, .run = rest_list,
	 .path = "/commands", .columns = command_columns},
	{.name = "show", .args = "COMMAND", .help = "show a command", .run = rest_show, .path = COMMAND},
	{.name = "send", .args = "KIND", .help = "ask devices to do something at once: check, report_now",
	 .options = send_options, .run = rest_send, .method = "POST", .path = "/commands", .word_member = "kind"},
	{.name = "devices", .args = "COMMAND", .help = "list what its devices did", .options = errand_options,
	 .run = rest_list, .path = COMMAND "/devices", .columns = errand_columns},
	{.name = "cancel", .args = "COMMAND", .help = "tell no more devices", .run = rest_send, .method = "POST",
	 .path = COMMAND "/cancel", .done = "command {} is cancelled"},
	{.help = NULL},
};
extern const struct command_group group_command;
const struct command_group group_command = {"command", "commands to devices, and their answers", command_commands};

#define CHECK_OPTIONS                                                                                                  \
	{.name = "operator", .kind = OPTION_TEXT, .value = "OP", .use = USE_BODY, .help = "the bad side of the threshold",  \
	 .choices = "gt lt"},                                                                                              \
	{.name = "threshold", .kind = OPTION_NUM, .value = "X", .use = USE_BODY, .help = "of the metric or the answer"},   \
	{.name = "window", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "window_ms",           \
	 .help = "how long a limit must be broken"},                                                                       \
	{.name = "every", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "every_ms",             \
	 .help = "the schedule"},                                                                                          \
	{.name = "answer-within", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "timeout_ms",   \
	 .help = "for a device's answer"},                                                                                 \
	{.name = "contexts", .kind = OPTION_DOC, .value = "JSON", .use = USE_BODY,                                         \
	 .help = "where failures are excused: temperature_c, battery, link_rssi_dbm"},                                     \
	{.name = "severity", .kind = OPTION_TEXT, .value = "SEVERITY", .use = USE_BODY, .help = "warning when absent",     \
	 .choices = "info warning critical"}
static const struct command_option create_options[] = {
	{.name = "kind", .kind = OPTION_TEXT, .value = "KIND", .use = USE_BODY, .help = "what is checked",
	 .choices = "limit model_hash inference storage memory connectivity custom"},
	{.name = "hardware", .kind = OPTION_TEXT, .value = "CLASS", .use = USE_BODY, .help = "only this class"},
	{.name = "model", .kind = OPTION_TEXT, .value = "MODEL", .use = USE_BODY, .help = "only devices that run it"},
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_BODY, .help = "only these devices"},
	{.name = "metric", .kind = OPTION_TEXT, .value = "METRIC", .use = USE_BODY, .help = "of a limit"},
	CHECK_OPTIONS,
	{.name = NULL},
};
static const struct command_option edit_options[] = {CHECK_OPTIONS, {.name = NULL}};
static const struct command_option run_options[] = {TARGET_OPTIONS, {.name = NULL}};
static const struct command_option matrix_options[] = {
	{.name = "check", .kind = OPTION_TEXT, .value = "NAME", .use = USE_QUERY, .help = "only this check"},
	{.name = "hardware", .kind = OPTION_TEXT, .value = "CLASS", .use = USE_QUERY, .help = "only this class"},
	{.name = "cell", .kind = OPTION_TEXT, .value = "CELL", .use = USE_QUERY, .help = "only this context, as hot"},
	{.name = NULL},
};

#define CHECK "/health/checks/{}"
static const struct command check_commands[] = {
	{.name = "list", .help = "list health checks", .run = rest_list, .path = "/health/checks", .columns = check_columns},
	{.name = "show", .args = "CHECK", .help = "show a health check", .run = rest_show, .path = CHECK},
	{.name = "create", .args = "NAME", .help = "declare a health check", .options = create_options, .run = rest_send,
	 .method = "POST", .path = "/health/checks", .word_member = "name"},
	{.name = "edit", .args = "CHECK", .help = "change limits, contexts or schedule", .options = edit_options,
	 .run = rest_edit, .method = "PATCH", .path = CHECK, .done = "check {} is changed"},
	{.name = "delete", .args = "CHECK", .help = "delete a health check and what it found", .run = rest_send,
	 .method = "DELETE", .path = CHECK, .done = "check {} is deleted"},
	{.name = "run", .args = "CHECK", .help = "run it now; shows the command that does", .options = run_options,
	 .run = rest_send, .method = "POST", .path = CHECK "/run"},
	{.name = "matrix", .help = "results by check, cohort and context", .options = matrix_options, .run = rest_list,
	 .path = "/health/matrix", .columns = matrix_columns},
	{.name = "results", .args = "DEVICE", .help = "a device's newest results", .run = rest_list,
	 .path = "/devices/{}/health", .columns = result_columns},
	{.help = NULL},
};
extern const struct command_group group_check;
const struct command_group group_check = {"check", "health checks of devices, in context", check_commands};
