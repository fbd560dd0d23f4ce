/* aviaryctl model, aviaryctl version */
#include <stdio.h>
#include <stdlib.h>

#include "explain.h"
#include "model.h"
#include "rest.h"

static enum result program_version(struct ctl *c);

static const struct column model_columns[] = {
	{"NAME", "name", CELL_TEXT, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"DESCRIPTION", "description", CELL_TEXT, true},
	{"CHANGED", "updated_at", CELL_AGO, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column version_columns[] = {
	{"VERSION", "version", CELL_TEXT, false},
	{"NOTES", "notes", CELL_TEXT, true},
	{"CREATED", "created_at", CELL_AGO, false},
	{NULL, NULL, CELL_TEXT, false},
};

static const struct command_option model_list_options[] = {
	{.name = "sort", .kind = OPTION_TEXT, .value = "FIELD", .use = USE_QUERY, .help = "name or -name"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option model_create_options[] = {
	{.name = "kind", .kind = OPTION_TEXT, .value = "KIND", .use = USE_BODY, .help = "model (when absent) or firmware",
	 .choices = "model firmware"},
	{.name = "description", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"},
	{.name = NULL},
};
static const struct command_option model_edit_options[] = {
	{.name = "description", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"},
	{.name = NULL},
};

static const struct command_option model_inspect_options[] = {
	{.name = "declared", .kind = OPTION_TEXT, .value = "FORMAT", .use = USE_HERE,
	 .help = "refuse a file of another format: tflite, onnx, executorch, opaque"},
	{.name = NULL},
};

#define MODEL "/models/{}"
static const struct command model_commands[] = {
	{.name = "list", .help = "list models and firmware", .options = model_list_options, .run = rest_list,
	 .path = "/models", .columns = model_columns},
	{.name = "show", .args = "MODEL", .help = "show a model", .run = rest_show, .path = MODEL},
	{.name = "create", .args = "MODEL", .help = "register a model", .options = model_create_options, .run = rest_send,
	 .method = "POST",
	 .path = "/models", .word_member = "name", .done = "model {} is registered"},
	{.name = "edit", .args = "MODEL", .help = "change its description", .options = model_edit_options,
	 .run = rest_edit, .method = "PATCH",
	 .path = MODEL, .done = "model {} is changed"},
	{.name = "delete", .args = "MODEL", .help = "delete a model without versions", .run = rest_send,
	 .method = "DELETE", .path = MODEL,
	 .done = "model {} is deleted"},
	{.name = "inspect", .args = "FILE", .help = "show what a model file needs, from its bytes; asks no server",
	 .options = model_inspect_options, .run = model_inspect},
	{.help = NULL},
};
extern const struct command_group group_model;
const struct command_group group_model = {"model", "models and firmware", model_commands};

static const struct command_option version_list_options[] = {
	{.name = "sort", .kind = OPTION_TEXT, .value = "FIELD", .use = USE_QUERY,
	 .help = "version or -version (highest first; when absent)"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option version_create_options[] = {
	{.name = "notes", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"},
	{.name = NULL},
};

static const struct command_option version_report_options[] = {
	{.name = "release", .kind = OPTION_TEXT, .value = "RELEASE", .use = USE_QUERY, .help = "whose objective counts (the newest one)"},
	{.name = NULL},
};

#define VERSIONS MODEL "/versions"
static const struct command version_commands[] = {
	{.help = "print the version of this program", .run = program_version},
	{.name = "list", .args = "MODEL", .help = "list a model's versions", .options = version_list_options,
	 .run = rest_list, .path = VERSIONS,
	 .columns = version_columns},
	{.name = "show", .args = "MODEL VERSION", .help = "show a version", .run = rest_show, .path = VERSIONS "/{}"},
	{.name = "create", .args = "MODEL VERSION", .help = "register a version (semantic, as 1.4.2)",
	 .options = version_create_options, .run = rest_send,
	 .method = "POST", .path = VERSIONS, .word_member = "version", .done = "version {} {} is registered"},
	{.name = "report", .args = "MODEL VERSION", .help = "which variants serve whom, which could be retired, what to build next",
	 .options = version_report_options, .run = version_report, .path = VERSIONS "/{}/report"},
	{.name = "delete", .args = "MODEL VERSION", .help = "delete a version that no release holds, with its artifacts",
	 .run = rest_send,
	 .method = "DELETE", .path = VERSIONS "/{}", .done = "version {} {} is deleted"},
	{.help = NULL},
};
extern const struct command_group group_version;
const struct command_group group_version = {"version", "versions of a model; alone: of this program", version_commands};

static enum result program_version(struct ctl *c)
{
	if (c->settings.json)
		printf("{\"version\":\"%s\"}\n", AVIARY_VERSION);
	else
		printf("aviaryctl %s\n", AVIARY_VERSION);
	return output_flush(RESULT_OK);
}
