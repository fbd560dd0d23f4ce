/* aviaryctl group */
#include "rest.h"

static const struct column columns[] = {
	{"NAME", "name", CELL_TEXT, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"MEMBERS", "members", CELL_NUMBER, false},
	{"FILTER", "filter", CELL_TEXT, true},
	{"DESCRIPTION", "description", CELL_TEXT, true},
	{"CHANGED", "updated_at", CELL_AGO, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column member_columns[] = {
	{"ID", "id", CELL_TEXT, false},
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"ONLINE", "online", CELL_YES, false},
	{"RELEASE", "running.release", CELL_TEXT, false},
	{NULL, NULL, CELL_TEXT, false},
};

static const struct command_option list_options[] = {LIST_OPTIONS, {.name = NULL}};
static const struct command_option member_options[] = {
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_QUERY, .help = "only these of the members"},
	{.name = "sort", .kind = OPTION_TEXT, .value = "FIELD", .use = USE_QUERY, .help = "as of device list"},
	LIST_OPTIONS,
	{.name = NULL},
};
#define DESCRIPTION {.name = "description", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"}
static const struct command_option create_options[] = {
	DESCRIPTION,
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_BODY,
	 .help = "a dynamic group: whoever matches; without it a static one"},
	{.name = NULL},
};
static const struct command_option edit_options[] = {
	DESCRIPTION,
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_BODY, .help = "of a dynamic group"},
	{.name = NULL},
};
static const struct command_option change_options[] = {
	{.name = "add", .kind = OPTION_TEXTS, .value = "DEVICE", .use = USE_BODY, .help = "may be repeated"},
	{.name = "remove", .kind = OPTION_TEXTS, .value = "DEVICE", .use = USE_BODY, .help = "may be repeated"},
	{.name = NULL},
};

#define GROUP "/groups/{}"
static const struct command commands[] = {
	{.name = "list", .help = "list groups", .options = list_options, .run = rest_list, .path = "/groups",
	 .columns = columns},
	{.name = "show", .args = "GROUP", .help = "show a group", .run = rest_show, .path = GROUP},
	{.name = "create", .args = "GROUP", .help = "make a group", .options = create_options, .run = rest_send,
	 .method = "POST", .path = "/groups",
	 .word_member = "name", .done = "group {} is made"},
	{.name = "edit", .args = "GROUP", .help = "change a group", .options = edit_options, .run = rest_edit,
	 .method = "PATCH", .path = GROUP,
	 .done = "group {} is changed"},
	{.name = "delete", .args = "GROUP", .help = "delete a group; its devices stay", .run = rest_send,
	 .method = "DELETE", .path = GROUP,
	 .done = "group {} is deleted"},
	{.name = "members", .args = "GROUP", .help = "list the devices of a group", .options = member_options,
	 .run = rest_list, .path = GROUP "/members",
	 .columns = member_columns},
	{.name = "change", .args = "GROUP", .help = "add and remove members of a static group, all or none",
	 .options = change_options, .run = rest_send,
	 .method = "POST", .path = GROUP "/members"},
	{.help = NULL},
};
extern const struct command_group group_group;
const struct command_group group_group = {"group", "groups of devices: static, or by a filter", commands};
