/* aviaryctl receiver */
#include "rest.h"

static const struct column receiver_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"NAME", "name", CELL_TEXT, false},
	{"TYPE", "type", CELL_TEXT, false},
	{"ENABLED", "enabled", CELL_TEXT, false},
	{"URL", "url", CELL_TEXT, false},
	{"WAIT", "wait_ms", CELL_DURATION, true},
	{"INTERVAL", "interval_ms", CELL_DURATION, true},
	{"REPEAT", "repeat_ms", CELL_DURATION, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column delivery_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"RECEIVER", "receiver", CELL_NUMBER, false},
	{"STATUS", "status", CELL_STATUS, false},
	{"TRIES", "attempts", CELL_NUMBER, false},
	{"REPLY", "reply", CELL_NUMBER, true},
	{"WRITTEN", "created_at", CELL_AGO, false},
	{"DONE", "done_at", CELL_AGO, true},
	{"SUBJECT", "subject", CELL_TEXT, false},
	{"ERROR", "error", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};

static const struct command_option list_options[] = {LIST_OPTIONS, {.name = NULL}};
#define RECEIVER_OPTIONS                                                                                               \
	{.name = "url", .kind = OPTION_TEXT, .value = "URL", .use = USE_BODY,                                              \
	 .help = "https:// http://, of email smtps:// smtp://"},                                                           \
	{.name = "secret", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY,                                          \
	 .help = "key of the signature, bearer token, or password; never shown"},                                          \
	{.name = "matchers", .kind = OPTION_DOC, .value = "JSON", .use = USE_BODY,                                         \
	 .help = "alerts it is told of: [{\"name\":\"severity\",\"value\":\"critical\"}]"},                                \
	{.name = "ca-file", .kind = OPTION_TEXT, .value = "FILE", .use = USE_BODY,                                         \
	 .help = "PEM file on the server; the system's certificates when absent"},                                         \
	{.name = "user", .kind = OPTION_TEXT, .value = "NAME", .use = USE_BODY, .help = "of email: who logs in"},          \
	{.name = "sender", .kind = OPTION_TEXT, .value = "ADDRESS", .use = USE_BODY, .help = "of email: From"},            \
	{.name = "recipient", .kind = OPTION_TEXTS, .value = "ADDRESS", .use = USE_BODY, .member = "recipients",           \
	 .help = "of email: To; may be repeated"},                                                                         \
	{.name = "title", .kind = OPTION_TEXT, .value = "TEMPLATE", .use = USE_BODY, .help = "title or subject"},          \
	{.name = "text", .kind = OPTION_TEXT, .value = "TEMPLATE", .use = USE_BODY, .help = "text"},                       \
	{.name = "body", .kind = OPTION_TEXT, .value = "TEMPLATE", .use = USE_BODY, .help = "of webhooks: the JSON body"}, \
	{.name = "wait", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "wait_ms",               \
	 .help = "from a group's first change to its notification"},                                                       \
	{.name = "interval", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "interval_ms",       \
	 .help = "least time between two of a group"},                                                                     \
	{.name = "repeat", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "repeat_ms",           \
	 .help = "again while it fires"},                                                                                  \
	{.name = "per-minute", .kind = OPTION_INT, .value = "N", .use = USE_BODY,                                          \
	 .help = "notifications of all groups together, 0: no limit"},                                                     \
	{.name = "timeout", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "timeout_ms",         \
	 .help = "of one attempt"}
static const struct command_option create_options[] = {
	{.name = "type", .kind = OPTION_TEXT, .value = "TYPE", .use = USE_BODY, .help = "webhook, alertmanager or email",
	 .choices = "webhook alertmanager email"},
	RECEIVER_OPTIONS,
	{.name = NULL},
};
static const struct command_option edit_options[] = {
	{.name = "name", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"},
	{.name = "enabled", .kind = OPTION_DOC, .value = "BOOL", .use = USE_BODY, .help = "true, or false: it is told nothing"},
	RECEIVER_OPTIONS,
	{.name = NULL},
};
static const struct command_option deliveries_options[] = {
	{.name = "receiver", .kind = OPTION_INT, .value = "RECEIVER", .use = USE_QUERY, .help = "only to this one"},
	{.name = "status", .kind = OPTION_TEXT, .value = "STATUS", .use = USE_QUERY, .help = "pending, sent or dead",
	 .choices = "pending sent dead"},
	LIST_OPTIONS,
	{.name = NULL},
};

#define RECEIVER "/receivers/{}"
#define DELIVERY "/deliveries/{}"
static const struct command commands[] = {
	{.name = "list", .help = "list who is told of alerts", .options = list_options, .run = rest_list, .path = "/receivers",
	 .columns = receiver_columns},
	{.name = "show", .args = "RECEIVER", .help = "show a receiver, without its secret", .run = rest_show, .path = RECEIVER},
	{.name = "create", .args = "NAME", .help = "make a receiver: a webhook, an Alertmanager, or mail",
	 .options = create_options, .run = rest_send, .method = "POST", .path = "/receivers", .word_member = "name"},
	{.name = "edit", .args = "RECEIVER", .help = "change a receiver", .options = edit_options, .run = rest_edit,
	 .method = "PATCH", .path = RECEIVER, .done = "receiver {} is changed"},
	{.name = "delete", .args = "RECEIVER", .help = "delete a receiver, and what is on its way to it", .run = rest_send,
	 .method = "DELETE", .path = RECEIVER, .done = "receiver {} is deleted"},
	{.name = "test", .args = "RECEIVER", .help = "send it a notification that says it is a test", .run = rest_send,
	 .method = "POST", .path = RECEIVER "/test"},
	{.name = "deliveries", .help = "list notifications, newest first; --status dead: those that were given up",
	 .options = deliveries_options, .run = rest_list, .path = "/deliveries", .columns = delivery_columns},
	{.name = "delivery", .args = "DELIVERY", .help = "show a notification with its body", .run = rest_show,
	 .path = DELIVERY},
	{.name = "resend", .args = "DELIVERY", .help = "try one that was given up again", .run = rest_send, .method = "POST",
	 .path = DELIVERY "/resend", .done = "delivery {} is tried again"},
	{.help = NULL},
};
extern const struct command_group group_receiver;
const struct command_group group_receiver = {"receiver", "who is told of alerts, and what is on its way to them", commands};
