/* aviaryctl profile: what variants cost on classes of hardware */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "rest.h"

static enum result import(struct ctl *c);

static const struct column columns[] = {
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"MODEL", "model", CELL_TEXT, false},
	{"VERSION", "version", CELL_TEXT, true},
	{"VARIANT", "variant", CELL_TEXT, false},
	{"CONTEXT", "context", CELL_TEXT, true},
	{"FROM", "source", CELL_TEXT, false},
	{"P50 MS", "latency_p50_ms", CELL_NUMBER, true},
	{"P95 MS", "latency_p95_ms", CELL_NUMBER, true},
	{"ENERGY UJ", "energy_uj", CELL_NUMBER, true},
	{"MEMORY", "memory_bytes", CELL_BYTES, true},
	{"QUALITY", "quality", CELL_NUMBER, true},
	{"ACCURACY", "accuracy", CELL_NUMBER, true},
	{"TOP1", "top1", CELL_NUMBER, true},
	{"AUC", "auc", CELL_NUMBER, true},
	{"DEVICES", "devices", CELL_NUMBER, false},
	{"SAMPLES", "samples", CELL_NUMBER, false},
	{"AGE", "age_ms", CELL_DURATION, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct command_option list_options[] = {
	{.name = "hardware", .kind = OPTION_TEXT, .value = "CLASS", .use = USE_QUERY, .help = "of one class"},
	{.name = "model", .kind = OPTION_TEXT, .value = "MODEL", .use = USE_QUERY, .help = "of one model"},
	{.name = "model-version", .kind = OPTION_TEXT, .value = "VERSION", .use = USE_QUERY, .member = "version", .help = "of one version"},
	{.name = "variant", .kind = OPTION_TEXT, .value = "NAME", .use = USE_QUERY, .help = "of one variant"},
	{.name = "source", .kind = OPTION_TEXT, .value = "SOURCE", .use = USE_QUERY, .help = "learned or published (both)",
	 .choices = "learned published"},
	{.name = "contexts", .kind = OPTION_FLAG, .use = USE_QUERY, .help = "by temperature, battery and link, too"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option import_options[] = {
	{.name = "origin", .kind = OPTION_TEXT, .value = "NAME", .use = USE_QUERY, .help = "name of the table, to delete it by (import)"},
	{.name = "hardware", .kind = OPTION_TEXT, .value = "THEIRS:OURS,...", .use = USE_QUERY, .help = "names of systems that are hardware classes here"},
	{.name = "model", .kind = OPTION_TEXT, .value = "THEIRS:OURS,...", .use = USE_QUERY, .help = "names of tasks that are models here"},
	{.name = "variant", .kind = OPTION_TEXT, .value = "THEIRS:OURS,...", .use = USE_QUERY, .help = "names of variants"},
	{.name = "model-version", .kind = OPTION_TEXT, .value = "VERSION", .use = USE_QUERY, .member = "version", .help = "of rows that say none (any)"},
	{.name = "mapped-only", .kind = OPTION_FLAG, .use = USE_QUERY, .help = "only rows whose hardware and model are in these lists"},
	{.name = NULL},
};
static const struct command commands[] = {
	{.name = "list", .help = "list profiles, learned and published", .options = list_options, .run = rest_list, .path = "/profiles",
	 .columns = columns},
	{.name = "import", .args = "FILE", .help = "import a published table: CSV with a header; - reads standard input", .options = import_options,
	 .run = import},
	{.name = "delete", .args = "ORIGIN", .help = "delete what was imported under a name", .run = rest_send, .method = "DELETE",
	 .path = "/profiles/published/{}", .done = "table {} is deleted"},
	{.help = NULL},
};
extern const struct command_group group_profile;
const struct command_group group_profile = {"profile", "what variants of models cost on classes of hardware", commands};

static void say_counts(const struct json *j)
{
	static const char *const names[] = {"rows", "taken", "skipped", "refused"};
	for (size_t i = 0; i < 4; i++)
		printf("%s%.0f %s", i ? ", " : "", json_number(json_get(j, names[i])), names[i]);
	putchar('\n');
	for (const struct json *e = json_first(json_get(j, "errors")); e != NULL; e = json_next(e)) {
		const char *detail = json_text(json_get(e, "detail"));
		fprintf(stderr, "%s\n", detail ? detail : "");
	}
}

static enum result import(struct ctl *c)
{
	const char *path = command_word(c, 0);
	struct reply r = REPLY_INIT;
	struct buf to = BUF_INIT;
	int fd = -1;
	uint64_t size;
	enum result result = strcmp(path, "-") == 0 ? file_spool_stdin(&fd, &size) : file_open(path, &fd, &size);
	buf_str(&to, "/profiles/import");
	option_query(c, &to);
	if (result == RESULT_OK) {
		struct request q = {.method = "POST", .path = buf_cstr(&to), .content_type = "text/csv", .has_upload = true, .upload_fd = fd,
			.upload_bytes = size, .no_timeout = true};
		result = client_call(c, &q, &r);
	}
	if (result == RESULT_OK && c->settings.json)
		rest_answer(c, &r);
	else if (result == RESULT_OK && !c->settings.quiet)
		say_counts(r.json);
	if (result == RESULT_OK && json_number(json_get(r.json, "refused")) > 0)
		result = RESULT_REFUSED;
	if (fd >= 0)
		close(fd);
	buf_done(&to);
	reply_done(&r);
	return output_flush(result);
}
