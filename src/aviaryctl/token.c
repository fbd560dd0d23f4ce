/* aviaryctl token */
#include "rest.h"

static const struct column columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"NAME", "name", CELL_TEXT, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"ROLE", "role", CELL_TEXT, false},
	{"CREATED", "created_at", CELL_AGO, false},
	{"EXPIRES", "expires_at", CELL_TIME, true},
	{"USES LEFT", "uses_left", CELL_NUMBER, true},
	{"REVOKED", "revoked_at", CELL_TIME, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct command_option list_options[] = {LIST_OPTIONS, {.name = NULL}};
static const struct command_option create_options[] = {
	{.name = "kind", .kind = OPTION_TEXT, .value = "KIND", .use = USE_BODY,
	 .help = "api (when absent), or enrolment: devices register themselves with it",
	 .choices = "api enrolment"},
	{.name = "role", .kind = OPTION_TEXT, .value = "ROLE", .use = USE_BODY,
	 .help = "viewer (when absent), operator or admin; enrol for enrolment",
	 .choices = "viewer operator admin enrol"},
	{.name = "expires", .kind = OPTION_TIME, .value = "TIME", .use = USE_BODY, .member = "expires_at",
	 .help = "refused from then on"},
	{.name = "uses", .kind = OPTION_INT, .value = "N", .use = USE_BODY, .member = "uses_left",
	 .help = "of an enrolment token: for so many devices"},
	{.name = NULL},
};

#define TOKEN "/tokens/{}"
static const struct command commands[] = {
	{.name = "list", .help = "list tokens", .options = list_options, .run = rest_list, .path = "/tokens",
	 .columns = columns},
	{.name = "show", .args = "TOKEN", .help = "show a token, without its text", .run = rest_show, .path = TOKEN},
	{.name = "create", .args = "NAME", .help = "make a token; its text is shown once", .options = create_options,
	 .run = rest_send, .method = "POST",
	 .path = "/tokens", .word_member = "name"},
	{.name = "revoke", .args = "TOKEN", .help = "refuse a token from now on", .run = rest_send, .method = "DELETE",
	 .path = TOKEN,
	 .done = "token {} is revoked"},
	{.help = NULL},
};
extern const struct command_group group_token;
const struct command_group group_token = {"token", "access tokens of people, scripts and new devices", commands};
