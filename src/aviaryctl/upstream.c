/* aviaryctl upstream */
#include "rest.h"

static const struct column upstream_columns[] = {
	{"NAME", "name", CELL_TEXT, false},
	{"MODEL", "model", CELL_TEXT, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"STATE", "state", CELL_STATUS, false},
	{"ACTION", "policy.action", CELL_TEXT, false},
	{"EVERY", "interval_ms", CELL_DURATION, false},
	{"CHECKED", "checked_at", CELL_AGO, false},
	{"URL", "url", CELL_TEXT, false},
	{"REASON", "reason", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column version_columns[] = {
	{"VERSION", "version", CELL_TEXT, false},
	{"STATUS", "status", CELL_STATUS, false},
	{"ROLLOUT", "rollout", CELL_NUMBER, false},
	{"SEEN", "seen_at", CELL_AGO, false},
	{"CHANGED", "updated_at", CELL_AGO, false},
	{"FAULT", "fault", CELL_TEXT, false},
	{"REASON", "reason", CELL_TEXT, false},
	{NULL, NULL, CELL_TEXT, false},
};

static const struct command_option list_options[] = {LIST_OPTIONS, {.name = NULL}};
#define UPSTREAM_OPTIONS                                                                                               \
	{.name = "from", .kind = OPTION_TEXT, .value = "URL", .use = USE_BODY, .member = "url",                            \
	 .help = "https://..., of a directory its path"},                                                                  \
	{.name = "prefix", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY,                                          \
	 .help = "of a bucket: what keys begin with; of others: name of the model there"},                                 \
	{.name = "public-key", .kind = OPTION_TEXT, .value = "KEY", .use = USE_BODY,                                       \
	 .help = "Ed25519 key that its documents are signed with: base64 or PEM, as \"$(cat key.pub)\""},                  \
	{.name = "auth", .kind = OPTION_TEXT, .value = "HOW", .use = USE_BODY, .help = "none, basic, bearer or header",     \
	 .choices = "none basic bearer header"},                                                                           \
	{.name = "user", .kind = OPTION_TEXT, .value = "NAME", .use = USE_BODY, .help = "of basic; of header: its name"},  \
	{.name = "secret", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "password, token or value; never shown"}, \
	{.name = "ca-file", .kind = OPTION_TEXT, .value = "FILE", .use = USE_BODY,                                         \
	 .help = "PEM file on the server; that of [upstreams] when absent"},                                               \
	{.name = "interval", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "interval_ms",       \
	 .help = "between two looks (1h)"},                                                                                \
	{.name = "alert-after", .kind = OPTION_INT, .value = "N", .use = USE_BODY,                                         \
	 .help = "looks in a row without an answer before there is an alert (3)"},                                         \
	{.name = "action", .kind = OPTION_TEXT, .value = "WHAT", .use = USE_BODY, .member = "policy.action",               \
	 .help = "of a new version: none, release or rollout", .choices = "none release rollout"},                         \
	{.name = "margin", .kind = OPTION_NUM, .value = "X", .use = USE_BODY, .member = "policy.margin",                   \
	 .help = "how much worse a declared figure may be (0)"},                                                           \
	{.name = "quality", .kind = OPTION_TEXT, .value = "HOW", .use = USE_BODY, .member = "policy.quality",              \
	 .help = "compare with what runs, or ignore", .choices = "compare ignore"},                                        \
	{.name = "rollout", .kind = OPTION_DOC, .value = "JSON", .use = USE_BODY, .member = "policy.rollout",              \
	 .help = "its rollouts, as POST /rollouts takes them, without release"},                                           \
	{.name = "policy", .kind = OPTION_DOC, .value = "JSON", .use = USE_BODY,                                           \
	 .help = "the whole policy; the three options above go first"}
static const struct command_option add_options[] = {
	{.name = "model", .kind = OPTION_TEXT, .value = "MODEL", .use = USE_BODY, .help = "that follows it"},
	{.name = "kind", .kind = OPTION_TEXT, .value = "KIND", .use = USE_BODY, .help = "index, directory, s3, hawkbit or aviary",
	 .choices = "index directory s3 hawkbit aviary"},
	UPSTREAM_OPTIONS,
	{.name = NULL},
};
static const struct command_option edit_options[] = {
	{.name = "enabled", .kind = OPTION_DOC, .value = "BOOL", .use = USE_BODY, .help = "true, or false: nothing is looked at or gone on with"},
	UPSTREAM_OPTIONS,
	{.name = NULL},
};
static const struct command_option check_options[] = {
	{.name = "now", .kind = OPTION_FLAG, .use = USE_QUERY, .help = "and do it"},
	{.name = NULL},
};

#define UPSTREAM "/upstreams/{}"
static const struct command commands[] = {
	{.name = "list", .help = "list where new versions of models come from", .options = list_options, .run = rest_list, .path = "/upstreams",
	 .columns = upstream_columns},
	{.name = "show", .args = "UPSTREAM", .help = "show an upstream, without its secret", .run = rest_show, .path = UPSTREAM},
	{.name = "add", .args = "NAME", .help = "let a model follow an upstream", .options = add_options, .run = rest_send, .method = "POST",
	 .path = "/upstreams", .word_member = "name"},
	{.name = "edit", .args = "UPSTREAM", .help = "change an upstream", .options = edit_options, .run = rest_edit, .method = "PATCH", .path = UPSTREAM,
	 .done = "upstream {} is changed"},
	{.name = "remove", .args = "UPSTREAM", .help = "forget an upstream; what came from it stays", .run = rest_send, .method = "DELETE",
	 .path = UPSTREAM, .done = "upstream {} is removed"},
	{.name = "check", .args = "UPSTREAM", .help = "look at it, and say what would be done", .options = check_options, .run = rest_send,
	 .method = "POST", .path = UPSTREAM "/check"},
	{.name = "versions", .args = "UPSTREAM", .help = "list what it publishes, and what became of it", .options = list_options, .run = rest_list,
	 .path = UPSTREAM "/versions", .columns = version_columns},
	{.help = NULL},
};
extern const struct command_group group_upstream;
const struct command_group group_upstream = {"upstream", "where new versions of models come from", commands};
