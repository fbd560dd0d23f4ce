/* aviaryctl alert, aviaryctl rule */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "file.h"
#include "rest.h"

#define RULE_BYTES 65536
#define SILENCE_MS ((int64_t)2 * 3600000)

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
	{"KIND", "kind", CELL_TEXT, false},
	{"METRIC", "metric", CELL_TEXT, false},
	{"SUBJECT", "subject", CELL_TEXT, true},
	{"IS", "operator", CELL_TEXT, false},
	{"THRESHOLD", "threshold", CELL_NUMBER, false},
	{"FOR", "for_ms", CELL_DURATION, true},
	{"SEVERITY", "severity", CELL_STATUS, false},
	{"FILTER", "filter", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};

static const struct command_option alert_list_options[] = {
	{.name = "status", .kind = OPTION_TEXT, .value = "STATUS", .use = USE_QUERY, .help = "pending, firing or resolved",
	 .choices = "pending firing resolved"},
	{.name = "severity", .kind = OPTION_TEXT, .value = "SEVERITY", .use = USE_QUERY,
	 .help = "info, warning or critical", .choices = "info warning critical"},
	{.name = "kind", .kind = OPTION_TEXT, .value = "KIND", .use = USE_QUERY,
	 .help = "exactly this kind, as device.silent"},
	{.name = "resource", .kind = OPTION_TEXT, .value = "RESOURCE", .use = USE_QUERY,
	 .help = "exactly this one, as devices/dev-1"},
	{.name = "cohort", .kind = OPTION_TEXT, .value = "COHORT", .use = USE_QUERY,
	 .help = "exactly this one, as esp32s3/kws-1.4.2"},
	{.name = "metric", .kind = OPTION_TEXT, .value = "METRIC", .use = USE_QUERY, .help = "exactly this metric"},
	{.name = "silenced", .kind = OPTION_TEXT, .value = "YES", .use = USE_QUERY,
	 .help = "true: only those that are silenced; false: only the others", .choices = "true false"},
	{.name = "inhibited", .kind = OPTION_TEXT, .value = "YES", .use = USE_QUERY,
	 .help = "true: only those that an alert of their cohort speaks for; false: only the others", .choices = "true false"},
	LIST_OPTIONS,
	{.name = NULL},
};

/* ---- silences ---- */

static const struct column silence_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"STATUS", "status", CELL_STATUS, false},
	{"AUTHOR", "author", CELL_TEXT, false},
	{"BEGINS", "begins_at", CELL_TIME, true},
	{"EXPIRES", "expires_at", CELL_TIME, false},
	{"COMMENT", "comment", CELL_TEXT, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct command_option silence_options[] = {
	{.name = "for", .kind = OPTION_DURATION, .value = "DURATION", .help = "how long, 2h when absent"},
	{.name = "until", .kind = OPTION_TIME, .value = "TIME", .help = "instead of --for"},
	{.name = "from", .kind = OPTION_TIME, .value = "TIME", .help = "when it begins, now when absent"},
	{.name = "comment", .kind = OPTION_TEXT, .value = "TEXT", .help = "why"},
	{.name = NULL},
};
static const struct command_option silences_options[] = {
	{.name = "active", .kind = OPTION_TEXT, .value = "YES", .use = USE_QUERY, .help = "true: only those that have not expired",
	 .choices = "true false"},
	LIST_OPTIONS,
	{.name = NULL},
};

/* NAME=VALUE or NAME!=VALUE; a number alone is an alert's: what is like it is silenced. */
static bool put_matcher(struct buf *b, const char *text)
{
	const char *equals = strchr(text, '=');
	if (equals == NULL || equals == text)
		return false;
	bool negate = equals[-1] == '!';
	json_open_object(b);
	json_key(b, "name");
	json_put_strn(b, text, (size_t)(equals - text) - negate);
	json_str(b, "value", equals + 1);
	json_bool(b, "negate", negate);
	json_close_object(b);
	return true;
}

static enum result silence(struct ctl *c)
{
	int64_t now_ms = clock_wall_ms(), from_ms = option_int(c, "from", now_ms);
	int64_t until_ms = option_int(c, "until", from_ms + option_int(c, "for", SILENCE_MS));
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_key(&b, "matchers");
	json_open_array(&b);
	for (size_t i = 0; i < c->word_count; i++) {
		if (put_matcher(&b, c->words[i]))
			continue;
		buf_done(&b);
		return complain(RESULT_USAGE, "%s is no matcher: kind=device.*, severity!=critical, label.team=a", c->words[i]);
	}
	json_close_array(&b);
	if (option_given(c, "from"))
		json_int(&b, "begins_at", from_ms);
	json_int(&b, "expires_at", until_ms);
	json_str(&b, "comment", option_given(c, "comment") ? option_text(c, "comment") : "");
	json_close_object(&b);
	enum result r = rest_request(c, "POST", "/silences", buf_cstr(&b), NULL);
	buf_done(&b);
	return r;
}

#define ALERT "/alerts/{}"
static const struct command alert_commands[] = {
	{.name = "list", .help = "list alerts, newest first", .options = alert_list_options, .run = rest_list,
	 .path = "/alerts", .columns = alert_columns},
	{.name = "show", .args = "ALERT", .help = "show an alert", .run = rest_show, .path = ALERT},
	{.name = "ack", .args = "ALERT", .help = "say that you take care of it", .run = rest_send, .method = "POST",
	 .path = ALERT "/acknowledge",
	 .done = "alert {} is acknowledged"},
	{.name = "silence", .args = "MATCHER...", .help = "tell nobody of alerts that match all of kind=device.*, severity!=critical ...",
	 .options = silence_options, .run = silence},
	{.name = "silences", .help = "list silences, newest first", .options = silences_options, .run = rest_list, .path = "/silences",
	 .columns = silence_columns},
	{.name = "expire", .args = "SILENCE", .help = "end a silence now", .run = rest_send, .method = "POST",
	 .path = "/silences/{}/expire", .done = "silence {} is over"},
	{.help = NULL},
};
extern const struct command_group group_alert;
const struct command_group group_alert = {"alert", "alerts: what fires, and who takes care of it", alert_commands};

static const struct command_option rule_list_options[] = {LIST_OPTIONS, {.name = NULL}};
#define RULE_OPTIONS                                                                                                   \
	{.name = "kind", .kind = OPTION_TEXT, .value = "KIND", .use = USE_BODY,                                            \
	 .help = "threshold when absent", .choices = "threshold rate absence anomaly signature health gate"},              \
	{.name = "subject", .kind = OPTION_TEXT, .value = "GLOB", .use = USE_BODY,                                         \
	 .help = "of signature, health, gate: which cause, check, rollout"},                                               \
	{.name = "clear", .kind = OPTION_NUM, .value = "X", .use = USE_BODY, .help = "it is over only beyond this"},       \
	{.name = "keep-firing-for", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY,                         \
	 .member = "keep_firing_for_ms", .help = "how long it must be over"},                                              \
	{.name = "stale", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "stale_ms",             \
	 .help = "without data for so long it is resolved"},                                                               \
	{.name = "samples-over", .kind = OPTION_INT, .value = "K", .use = USE_BODY, .help = "instead of --for: K ..."},    \
	{.name = "samples-of", .kind = OPTION_INT, .value = "N", .use = USE_BODY, .help = "... of the last N reports"},    \
	{.name = "hold", .kind = OPTION_FLAG, .use = USE_BODY, .help = "an alert of it on a canary holds the stage"},       \
	{.name = "damped", .kind = OPTION_FLAG, .use = USE_BODY, .help = "it stays longer each time it fires again soon"},  \
	{.name = "summary", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY,                                         \
	 .help = "template: {{device}} shows {{value}}"},                                                                  \
	{.name = "description", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY,                                     \
	 .help = "template of more words"},                                                                                \
	{.name = "label", .kind = OPTION_PAIRS, .value = "NAME=VALUE", .use = USE_BODY, .member = "labels",                \
	 .help = "for silences and receivers; may be repeated"},                                                           \
	{.name = "annotation", .kind = OPTION_PAIRS, .value = "NAME=VALUE", .use = USE_BODY, .member = "annotations",      \
	 .help = "for who is told; may be repeated"},                                                                      \
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

/* ---- a rule against history ---- */

static const struct command_option rule_test_options[] = {
	{.name = "from", .kind = OPTION_TIME, .value = "TIME", .help = "beginning, -24h when absent"},
	{.name = "to", .kind = OPTION_TIME, .value = "TIME", .help = "end, now when absent"},
	{.name = NULL},
};

static enum result rule_test(struct ctl *c)
{
	int64_t now_ms = clock_wall_ms();
	struct buf file = BUF_INIT, body = BUF_INIT;
	struct json *rule = NULL;
	struct fault f;
	enum result r = file_read(c->words[0], RULE_BYTES, &file);
	if (r == RESULT_OK && json_parse(file.data, file.len, &rule, &f) != ERR_OK)
		r = complain(RESULT_LOCAL, "%s: %s", c->words[0], f.detail);
	if (r == RESULT_OK) {
		json_open_object(&body);
		json_raw(&body, "rule", file.data);
		json_int(&body, "from", option_int(c, "from", now_ms - 86400000));
		json_int(&body, "to", option_int(c, "to", now_ms));
		json_close_object(&body);
		r = rest_request(c, "POST", "/alert-rules/test", buf_cstr(&body), NULL);
	}
	json_free(rule);
	buf_done(&file);
	buf_done(&body);
	return r;
}

#define RULE "/alert-rules/{}"
static const struct command rule_commands[] = {
	{.name = "list", .help = "list rules", .options = rule_list_options, .run = rest_list, .path = "/alert-rules",
	 .columns = rule_columns},
	{.name = "show", .args = "RULE", .help = "show a rule", .run = rest_show, .path = RULE},
	{.name = "create", .args = "NAME", .help = "when somebody is to be told of a device: a threshold, a rate, absence ...",
	 .options = rule_create_options,
	 .run = rest_send, .method = "POST", .path = "/alert-rules", .word_member = "name"},
	{.name = "edit", .args = "RULE", .help = "change a rule; its alerts are resolved and raised anew",
	 .options = rule_edit_options, .run = rest_edit,
	 .method = "PATCH", .path = RULE, .done = "rule {} is changed"},
	{.name = "delete", .args = "RULE", .help = "delete a rule and resolve its alerts", .run = rest_send,
	 .method = "DELETE", .path = RULE,
	 .done = "rule {} is deleted"},
	{.name = "test", .args = "FILE", .help = "when, and for which devices, the rule in the file would have fired",
	 .options = rule_test_options, .run = rule_test},
	{.help = NULL},
};
extern const struct command_group group_rule;
const struct command_group group_rule = {"rule", "alert rules: what somebody is to be told of", rule_commands};
