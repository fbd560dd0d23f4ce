/* aviaryctl device */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "explain.h"
#include "file.h"
#include "rest.h"

static enum result import(struct ctl *c);
static enum result tag(struct ctl *c);
static enum result desired(struct ctl *c);
static enum result credential(struct ctl *c);

static const struct column columns[] = {
	{"ID", "id", CELL_TEXT, false},
	{"NAME", "name", CELL_TEXT, true},
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"ONLINE", "online", CELL_YES, false},
	{"SEEN", "last_seen_at", CELL_AGO, false},
	{"RELEASE", "running.release", CELL_TEXT, false},
	{"DEPLOYMENT", "deployment", CELL_TEXT, true},
	{"TAGS", "tags", CELL_TEXT, true},
	{"ATTRIBUTES", "attributes", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};

static const struct command_option list_options[] = {
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_QUERY,
	 .help = "as 'hardware==esp32s3;attribute.region=in=(eu,us)'"},
	{.name = "group", .kind = OPTION_TEXT, .value = "GROUP", .use = USE_QUERY, .help = "only devices of this group"},
	{.name = "sort", .kind = OPTION_TEXT, .value = "FIELD", .use = USE_QUERY,
	 .help = "id name hardware lastSeen createdAt, with - before it for descending"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option add_options[] = {
	{.name = "hardware", .kind = OPTION_TEXT, .value = "CLASS", .use = USE_BODY,
	 .help = "hardware class: decides which variant of an artifact fits"},
	{.name = "name", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"},
	{.name = "attribute", .kind = OPTION_PAIRS, .value = "NAME=VALUE", .use = USE_BODY, .member = "attributes",
	 .help = "may be repeated"},
	{.name = "tag", .kind = OPTION_TEXTS, .value = "TAG", .use = USE_BODY, .member = "tags", .help = "may be repeated"},
	{.name = NULL},
};
static const struct command_option edit_options[] = {
	{.name = "name", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY, .help = "for people"},
	{.name = "attribute", .kind = OPTION_PAIRS, .value = "NAME=VALUE", .use = USE_BODY, .member = "attributes",
	 .empty_is_null = true,
	 .help = "sets one; NAME= removes it; may be repeated"},
	{.name = "tag", .kind = OPTION_TEXTS, .value = "TAG", .use = USE_BODY, .member = "tags",
	 .help = "replaces all tags; may be repeated"},
	{.name = NULL},
};
static const struct command_option tag_options[] = {
	{.name = "add", .kind = OPTION_TEXTS, .value = "TAG", .help = "may be repeated"},
	{.name = "remove", .kind = OPTION_TEXTS, .value = "TAG", .help = "may be repeated"},
	{.name = NULL},
};
static const struct command_option explain_options[] = {
	{.name = "release", .kind = OPTION_TEXT, .value = "RELEASE", .use = USE_QUERY, .help = "which one (the one that it is to run)"},
	{.name = NULL},
};
static const struct command_option override_options[] = {
	{.name = "reason", .kind = OPTION_TEXT, .value = "TEXT", .help = "for people"},
	{.name = NULL},
};
static const struct column override_columns[] = {
	{"MODEL", "model", CELL_TEXT, false},
	{"VARIANT", "variant", CELL_TEXT, false},
	{"BY", "made_by", CELL_TEXT, false},
	{"AT", "made_at", CELL_AGO, false},
	{"REASON", "reason", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct command_option delete_options[] = {
	{.name = "force", .kind = OPTION_FLAG, .use = USE_QUERY,
	 .help = "also when it takes part in a rollout; its deployment is cancelled"},
	{.name = NULL},
};
static const struct command_option desired_options[] = {
	{.name = "put", .kind = OPTION_DOC, .value = "JSON", .help = "replaces the document; @FILE and - are read"},
	{.name = "merge", .kind = OPTION_DOC, .value = "JSON",
	 .help = "changes it by a JSON merge patch (RFC 7396): null removes a member"},
	{.name = NULL},
};
static const struct command_option credential_options[] = {
	{.name = "forget", .kind = OPTION_FLAG, .help = "instead of making a new secret, let the device enrol again"},
	{.name = NULL},
};

#define DEVICE "/devices/{}"
static const struct command commands[] = {
	{.name = "list", .help = "list devices", .options = list_options, .run = rest_list, .path = "/devices",
	 .columns = columns},
	{.name = "show", .args = "DEVICE", .help = "show a device", .run = rest_show, .path = DEVICE},
	{.name = "add", .args = "DEVICE", .help = "register a device", .options = add_options, .run = rest_send,
	 .method = "POST", .path = "/devices",
	 .word_member = "id", .done = "device {} is registered"},
	{.name = "import", .args = "FILE", .help = "register or change many: NDJSON, one device a line; - reads standard "
	 "input", .run = import},
	{.name = "edit", .args = "DEVICE", .help = "change name, attributes or tags", .options = edit_options,
	 .run = rest_edit, .method = "PATCH",
	 .path = DEVICE, .done = "device {} is changed"},
	{.name = "tag", .args = "DEVICE", .help = "add and remove tags", .options = tag_options, .run = tag,
	 .done = "device {} is changed"},
	{.name = "delete", .args = "DEVICE", .help = "delete a device", .options = delete_options, .run = rest_send,
	 .method = "DELETE", .path = DEVICE},
	{.name = "desired", .args = "DEVICE", .help = "show or change the desired twin", .options = desired_options,
	 .run = desired},
	{.name = "reported", .args = "DEVICE", .help = "show the reported twin", .run = rest_show,
	 .path = DEVICE "/reported"},
	{.name = "explain", .args = "DEVICE", .help = "why it gets which variant of a release", .options = explain_options,
	 .run = device_explain, .path = DEVICE "/explain"},
	{.name = "override", .args = "DEVICE MODEL VARIANT", .help = "ask for one variant of a model, from its next deployment on",
	 .options = override_options, .run = device_override, .done = "device {}: of {} it gets {}"},
	{.name = "overrides", .args = "DEVICE", .help = "list such wishes", .run = rest_list, .path = DEVICE "/override",
	 .columns = override_columns},
	{.name = "override-end", .args = "DEVICE MODEL", .help = "end such a wish", .run = device_end_override,
	 .done = "device {}: of {} it gets what serves it best"},
	{.name = "credential", .args = "DEVICE", .help = "make a new secret, shown once", .options = credential_options,
	 .run = credential},
	{.help = NULL},
};
extern const struct command_group group_device;
const struct command_group group_device = {"device", "devices: registration, twins, credentials", commands};

/* ---- import ---- */

static void say_counts(const struct json *j)
{
	static const char *const names[] = {"lines", "created", "updated", "unchanged", "refused"};
	for (size_t i = 0; i < 5; i++)
		printf("%s%.0f %s", i ? ", " : "", json_number(json_get(j, names[i])), names[i]);
	putchar('\n');
	for (const struct json *e = json_first(json_get(j, "errors")); e != NULL; e = json_next(e)) {
		const char *pointer = json_text(json_get(e, "pointer")), *detail = json_text(json_get(e, "detail"));
		fprintf(stderr, "line %.0f%s%s: %s\n", json_number(json_get(e, "line")), pointer ? " at " : "",
			pointer ? pointer : "", detail ? detail : "");
	}
}

static enum result import(struct ctl *c)
{
	const char *path = command_word(c, 0);
	struct reply r = REPLY_INIT;
	int fd = -1;
	uint64_t size;
	enum result result = strcmp(path, "-") == 0 ? file_spool_stdin(&fd, &size) : file_open(path, &fd, &size);
	if (result == RESULT_OK) {
		struct request q = {.method = "POST", .path = "/devices:bulk", .content_type = "application/x-ndjson",
			.has_upload = true, .upload_fd = fd,
			.upload_bytes = size, .no_timeout = true};
		result = client_call(c, &q, &r);
	}
	if (result == RESULT_OK && c->settings.json)
		rest_answer(c, &r);
	else if (result == RESULT_OK && !c->settings.quiet)
		say_counts(r.json);
	if (result == RESULT_OK && json_number(json_get(r.json, "refused")) > 0)
		result = RESULT_REFUSED;
	reply_done(&r);
	if (fd >= 0)
		close(fd);
	return output_flush(result);
}

/* ---- tags ---- */

static bool names(const struct ctl *c, const char *option, const char *tag_text)
{
	const char *text;
	for (size_t i = 0; (text = option_text_at(c, option, i)) != NULL; i++)
		if (strcmp(text, tag_text) == 0)
			return true;
	return false;
}

static void write_tags(const struct ctl *c, const struct json *device, struct buf *body)
{
	const char *text;
	json_open_object(body);
	json_key(body, "tags");
	json_open_array(body);
	for (const struct json *t = json_first(json_get(device, "tags")); t != NULL; t = json_next(t))
		if (!names(c, "remove", json_text(t)) && !names(c, "add", json_text(t)))
			json_put_str(body, json_text(t));
	for (size_t i = 0; (text = option_text_at(c, "add", i)) != NULL; i++)
		json_put_str(body, text);
	json_close_array(body);
	json_close_object(body);
}

/* Reads, changes, writes with the ETag; again when somebody else was faster. */
static enum result tag(struct ctl *c)
{
	struct reply r = REPLY_INIT, answer = REPLY_INIT;
	char *path = path_format(DEVICE, c->words, 1);
	enum result result;
	int tries = 5;
	do {
		struct buf body = BUF_INIT;
		result = client_get(c, path, &r);
		if (result == RESULT_OK) {
			write_tags(c, r.json, &body);
			struct request q = {.method = "PATCH", .path = path, .body = body.data, .if_match = r.etag};
			client_send(c, &q, &answer);
		}
		buf_done(&body);
	} while (result == RESULT_OK && answer.status == 412 && --tries > 0);
	if (result == RESULT_OK)
		result = client_judge(c, &answer);
	if (result == RESULT_OK)
		rest_answer(c, &answer);
	reply_done(&r);
	reply_done(&answer);
	free(path);
	return output_flush(result);
}

/* ---- twin and credential ---- */

static enum result desired(struct ctl *c)
{
	const char *put = option_text(c, "put"), *merge = option_text(c, "merge");
	struct reply r = REPLY_INIT;
	struct buf body = BUF_INIT;
	if (put != NULL && merge != NULL)
		return complain(RESULT_USAGE, "either --put or --merge");
	char *path = path_format(DEVICE "/desired", c->words, 1);
	enum result result = put == NULL && merge == NULL ? rest_request(c, "GET", path, NULL, NULL)
		: option_document(put ? put : merge, &body);
	if (result == RESULT_OK && body.len > 0)
		result = client_get(c, path, &r);
	if (result == RESULT_OK && body.len > 0)
		result = rest_request(c, put != NULL ? "PUT" : "PATCH", path, body.data, r.etag);
	reply_done(&r);
	buf_done(&body);
	free(path);
	return result;
}

static enum result credential(struct ctl *c)
{
	char *path = path_format(DEVICE "/credential", c->words, 1);
	enum result result = rest_request(c, option_given(c, "forget") ? "DELETE" : "POST", path, NULL, NULL);
	free(path);
	return result;
}
