/* aviaryctl rollout: planning, acting, and what the server knows about one. Watching and explaining: rollout_watch.c,
 * rollout_explain.c. */
#include "rollout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "file.h"
#include "rest.h"

static enum result show(struct ctl *c);
static enum result create(struct ctl *c);
static enum result act(struct ctl *c);

static const struct column columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"NAME", "name", CELL_TEXT, false},
	{"RELEASE", "release", CELL_TEXT, false},
	{"STATUS", "status", CELL_STATUS, false},
	{"DEVICES", "target", CELL_NUMBER, false},
	{"DEPLOYMENTS", "deployments", CELL_TEXT, true},
	{"CREATED", "created_at", CELL_AGO, false},
	{"REASON", "reason", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column stage_columns[] = {
	{"STAGE", "stage", CELL_NUMBER, false},
	{"NAME", "name", CELL_TEXT, false},
	{"MODE", "mode", CELL_TEXT, false},
	{"STATUS", "status", CELL_STATUS, false},
	{"DEVICES", "planned", CELL_NUMBER, false},
	{"DEPLOYMENTS", "deployments", CELL_TEXT, false},
	{"BLOCKS", "blocks", CELL_NUMBER, false},
	{"CONTROLS", "controls_per_block", CELL_NUMBER, false},
	{"LOOKS", "looks", CELL_NUMBER, false},
	{"VERDICT", "verdict", CELL_STATUS, false},
	{"STARTED", "started_at", CELL_AGO, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column deployment_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"DEVICE", "device", CELL_TEXT, false},
	{"STAGE", "stage", CELL_NUMBER, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"ROLE", "role", CELL_TEXT, false},
	{"STATE", "state", CELL_STATUS, false},
	{"TRY", "attempt", CELL_NUMBER, false},
	{"%", "progress", CELL_NUMBER, false},
	{"BEFORE", "previous_release", CELL_TEXT, true},
	{"CHANGED", "updated_at", CELL_AGO, false},
	{"REASON", "reason", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column verdict_columns[] = {
	{"STAGE", "stage", CELL_NUMBER, false},
	{"LOOK", "look", CELL_NUMBER, false},
	{"METRIC", "data.metric", CELL_TEXT, false},
	{"VERDICT", "verdict", CELL_STATUS, false},
	{"CANARY", "data.canary", CELL_NUMBER, false},
	{"CONTROL", "data.control", CELL_NUMBER, false},
	{"EFFECT", "data.effect", CELL_NUMBER, false},
	{"S", "statistic", CELL_NUMBER, false},
	{"P", "p", CELL_NUMBER, false},
	{"BUDGET", "alpha_look", CELL_NUMBER, false},
	{"SPENT", "alpha_spent", CELL_NUMBER, false},
	{"P NI", "p_ni", CELL_NUMBER, true},
	{"DEVICES", "devices", CELL_NUMBER, false},
	{"REPORTS", "reports", CELL_NUMBER, false},
	{"AT", "at", CELL_TIME, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column block_columns[] = {
	{"BLOCK", "block", CELL_NUMBER, false},
	{"DEVICE", "device", CELL_TEXT, false},
	{"CANARY", "canary", CELL_YES, false},
	{"COUNTED FROM", "t0", CELL_TIME, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column event_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"AT", "at", CELL_TIME, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"DATA", "data", CELL_TEXT, false},
	{NULL, NULL, CELL_TEXT, false},
};

/* ---- options that stand for objects ---- */

static const char *const default_stages[] = {"5%", "30%", "100%"}; /* the server's */

static bool is_number(const char *text, size_t len, double *out)
{
	char *end;
	*out = strtod(text, &end);
	return len > 0 && end == text + len && isfinite(*out);
}

/* "5%" of the target when the stage is done, "200" devices; "canary=5%" with a name. */
static bool put_stage_of(struct buf *out, const char *text, bool is_shadow, struct fault *f)
{
	const char *eq = strchr(text, '='), *value = eq ? eq + 1 : text;
	size_t len = strlen(value);
	bool is_percent = len > 0 && value[len - 1] == '%';
	double v;
	if (!is_number(value, len - is_percent, &v) || (!is_percent && v != floor(v)))
		return fault_set(f, ERR_INVALID, "", "[NAME=]PERCENT%% or [NAME=]COUNT is wanted, as canary=5%%") == ERR_OK;
	json_open_object(out);
	if (eq != NULL) {
		json_key(out, "name");
		json_put_strn(out, text, (size_t)(eq - text));
	}
	json_num(out, is_percent ? "percent" : "count", v);
	if (is_shadow)
		json_str(out, "mode", "shadow");
	json_close_object(out);
	return true;
}

static bool put_stage(struct buf *out, const char *text, struct fault *f)
{
	return put_stage_of(out, text, false, f);
}

/* One row a member of a gate. */
static const struct gate_key {
	const char *key, *member;
	bool is_text;
} gate_keys[] = {
	{"kind", "kind", true},       {"worse", "worse", true},          {"quantile", "quantile", false},
	{"margin", "margin", false},  {"ni", "ni_margin", false},        {"weight", "weight", false},
};

static bool put_gate_value(struct buf *out, const char *text, size_t len, struct fault *f)
{
	char value[64];
	for (size_t i = 0; i < sizeof gate_keys / sizeof gate_keys[0]; i++) {
		size_t n = strlen(gate_keys[i].key);
		double v;
		if (len <= n || strncmp(text, gate_keys[i].key, n) != 0 || text[n] != '=' || len - n > sizeof value)
			continue;
		snprintf(value, sizeof value, "%.*s", (int)(len - n - 1), text + n + 1);
		if (gate_keys[i].is_text) {
			json_str(out, gate_keys[i].member, value);
			return true;
		}
		if (is_number(value, strlen(value), &v)) {
			json_num(out, gate_keys[i].member, v);
			return true;
		}
		break;
	}
	return fault_set(f, ERR_INVALID, "", "%.*s: METRIC:KEY=VALUE,... with kind, worse, quantile, margin, ni, weight",
		(int)len, text) == ERR_OK;
}

/* accuracy, or accuracy:margin=0.01,ni=0.02 */
static bool put_gate(struct buf *out, const char *text, struct fault *f)
{
	size_t len = strcspn(text, ":");
	if (len == 0)
		return fault_set(f, ERR_INVALID, "", "METRIC or METRIC:KEY=VALUE,... is wanted") == ERR_OK;
	json_open_object(out);
	json_key(out, "metric");
	json_put_strn(out, text, len);
	for (const char *at = text + len; *at != '\0';) {
		size_t n = strcspn(++at, ",");
		if (!put_gate_value(out, at, n, f))
			return false;
		at += n;
	}
	json_close_object(out);
	return true;
}

/* mon,tue@02:00+2h (UTC) */
static bool put_window(struct buf *out, const char *text, struct fault *f)
{
	const char *at = strchr(text, '@'), *plus = at ? strchr(at, '+') : NULL;
	char duration[32];
	int64_t ms;
	if (plus == NULL || plus - at != 6 || strlen(plus + 1) >= sizeof duration)
		return fault_set(f, ERR_INVALID, "", "DAYS@HH:MM+DURATION is wanted, as sat,sun@02:00+4h or @02:00+4h "
			"(UTC)") == ERR_OK;
	memcpy(duration, plus + 1, strlen(plus));
	if (!str_parse_duration_ms(duration, &ms))
		return fault_set(f, ERR_INVALID, "", "%s is not a duration", duration) == ERR_OK;
	json_open_object(out);
	json_key(out, "days");
	json_open_array(out);
	for (const char *day = text; day < at;) {
		size_t n = strcspn(day, ",@");
		json_put_strn(out, day, n);
		day += n + 1;
	}
	json_close_array(out);
	json_key(out, "start");
	json_put_strn(out, at + 1, 5);
	json_int(out, "duration_ms", ms);
	json_close_object(out);
	return true;
}

/* ---- tables ---- */

static const struct command_option list_options[] = {
	{.name = "status", .kind = OPTION_TEXT, .value = "STATUS", .use = USE_QUERY,
	 .help = "only rollouts in this status"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option create_options[] = {
	{.name = "name", .kind = OPTION_TEXT, .value = "TEXT", .use = USE_BODY,
	 .help = "for people; the release when absent"},
	{.name = "release", .kind = OPTION_TEXT, .value = "RELEASE", .use = USE_BODY, .help = "what is rolled out"},
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_BODY,
	 .help = "to which devices; all when absent"},
	{.name = "group", .kind = OPTION_TEXT, .value = "GROUP", .use = USE_BODY, .help = "only to devices of this group"},
	{.name = "stage", .kind = OPTION_EACH, .value = "[NAME=]SIZE", .use = USE_BODY, .member = "stages",
	 .put = put_stage,
	 .help = "5% of the target (cumulative) or 200 devices; repeated, in order; 5%, 30%, 100% when absent"},
	{.name = "shadow", .kind = OPTION_TEXT, .value = "SIZE",
	 .help = "before all stages: so many devices run it beside their own release, without acting on it (40, or 5%)"},
	{.name = "gate", .kind = OPTION_EACH, .value = "METRIC[:KEY=VALUE,...]", .use = USE_BODY, .member = "gates",
	 .put = put_gate,
	 .help = "what must not get worse; keys: kind worse quantile margin ni weight; may be repeated"},
	{.name = "start", .kind = OPTION_FLAG, .use = USE_BODY, .help = "start at once"},
	{.name = "approval", .kind = OPTION_FLAG, .use = USE_BODY, .help = "somebody else has to approve it first"},
	{.name = "soak", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "soak_ms",
	 .help = "wait after a stage is installed"},
	{.name = "install-timeout", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "timeout_ms",
	 .help = "for one attempt of one device"},
	{.name = "retries", .kind = OPTION_INT, .value = "N", .use = USE_BODY, .help = "further attempts of a device"},
	{.name = "rate", .kind = OPTION_INT, .value = "N", .use = USE_BODY, .member = "rate.per_minute",
	 .help = "devices a minute, at most"},
	{.name = "window", .kind = OPTION_EACH, .value = "DAYS@HH:MM+DURATION", .use = USE_BODY, .member = "windows",
	 .put = put_window,
	 .help = "install only then, as sat,sun@02:00+4h (UTC); may be repeated"},
	{.name = "success", .kind = OPTION_NUM, .value = "PERCENT", .use = USE_BODY, .member = "success.percent",
	 .help = "of a stage must succeed (95)"},
	{.name = "error", .kind = OPTION_NUM, .value = "PERCENT", .use = USE_BODY, .member = "error.percent",
	 .help = "of a stage may fail (20)"},
	{.name = "on-error", .kind = OPTION_TEXT, .value = "WHAT", .use = USE_BODY, .member = "error.action",
	 .help = "revert (when absent) or pause",
	 .choices = "revert pause"},
	{.name = "alpha", .kind = OPTION_NUM, .value = "P", .use = USE_BODY, .member = "judge.alpha",
	 .help = "probability that a harmless rollout is ever reverted (0.01)"},
	{.name = "beta", .kind = OPTION_NUM, .value = "P", .use = USE_BODY, .member = "judge.beta",
	 .help = "probability that a stage promotes harm of a gate's ni margin (0.05)"},
	{.name = "reports-planned", .kind = OPTION_INT, .value = "N", .use = USE_BODY, .member = "judge.reports_planned",
	 .help = "reports of one device expected in a bake: plans the looks (128)"},
	{.name = "max-bake", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_BODY, .member = "judge.max_bake_ms",
	 .help = "then the judge must decide (24h)"},
	{.name = "on-inconclusive", .kind = OPTION_TEXT, .value = "WHAT", .use = USE_BODY,
	 .member = "judge.on_inconclusive", .help = "hold (when absent), promote or revert",
	 .choices = "hold promote revert"},
	{.name = "hard-stop", .kind = OPTION_INT, .value = "N", .use = USE_BODY, .member = "judge.hard_stop.silent",
	 .help = "revert at once when so many canaries are silent"},
	{.name = "control", .kind = OPTION_TEXT, .value = "WHAT", .use = USE_BODY, .member = "judge.control",
	 .help = "cohort (when absent), or self: each device against its own past, when nobody can stay behind",
	 .choices = "cohort self"},
	{.name = "sham", .kind = OPTION_FLAG, .use = USE_BODY, .member = "judge.sham",
	 .help = "controls install what they run already, so that installing as such is no difference"},
	{.name = "stratum", .kind = OPTION_TEXTS, .value = "FIELD", .use = USE_BODY, .member = "strata",
	 .help = "hardware or attribute.NAME: blocks never mix these; may be repeated"},
	{.name = "device", .kind = OPTION_TEXTS, .value = "DEVICE", .use = USE_BODY, .member = "devices",
	 .help = "a canary by name (then there is no guarantee); may be repeated"},
	{.name = "dry-run", .kind = OPTION_FLAG, .help = "show the plan and what it can find; store nothing"},
	{.name = "watch", .kind = OPTION_FLAG, .help = "follow it to its end"},
	{.name = NULL},
};
static const struct command_option act_options[] = {
	{.name = "watch", .kind = OPTION_FLAG, .help = "follow it to its end"},
	{.name = NULL},
};
static const struct command_option deployment_options[] = {
	{.name = "state", .kind = OPTION_TEXT, .value = "STATE", .use = USE_QUERY, .help = "only these, as failed"},
	{.name = "stage", .kind = OPTION_INT, .value = "N", .use = USE_QUERY, .help = "only of this stage, from 0"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option block_options[] = {
	{.name = "stage", .kind = OPTION_INT, .value = "N", .use = USE_QUERY, .help = "from 0, the canary"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command_option event_options[] = {LIST_OPTIONS, {.name = NULL}};

#define ROLLOUT "/rollouts/{}"
#define ACTION(verb, text)                                                                                             \
	{.name = verb, .args = "ROLLOUT", .help = text, .options = act_options, .run = act, .path = ROLLOUT "/" verb,      \
	 .done = "rollout {}: " verb}
static const struct command commands[] = {
	{.name = "list", .help = "list rollouts, newest first", .options = list_options, .run = rest_list,
	 .path = "/rollouts", .columns = columns},
	{.name = "show", .args = "ROLLOUT", .help = "show a rollout and its stages (all of it: --json)", .run = show,
	 .path = ROLLOUT},
	{.name = "create", .args = "[FILE]", .help = "plan a rollout from a JSON file (- reads standard input), options, "
	 "or both", .options = create_options,
	 .run = create, .path = "/rollouts"},
	{.name = "watch", .args = "ROLLOUT", .help = "follow it to its end", .run = rollout_watch, .path = ROLLOUT},
	{.name = "explain", .args = "ROLLOUT", .help = "say in sentences what was compared, what it shows, and what "
	 "happens next", .run = rollout_explain,
	 .path = ROLLOUT},
	{.name = "stages", .args = "ROLLOUT", .help = "list its stages", .run = rest_list, .path = ROLLOUT "/stages",
	 .columns = stage_columns},
	{.name = "deployments", .args = "ROLLOUT", .help = "list its devices and how far they are",
	 .options = deployment_options, .run = rest_list,
	 .path = ROLLOUT "/deployments", .columns = deployment_columns},
	{.name = "verdicts", .args = "ROLLOUT", .help = "list the judge's looks: the evidence over time",
	 .run = rest_list, .path = ROLLOUT "/verdicts",
	 .columns = verdict_columns},
	{.name = "blocks", .args = "ROLLOUT", .help = "list canaries and controls as they were drawn",
	 .options = block_options, .run = rest_list,
	 .path = ROLLOUT "/blocks", .columns = block_columns},
	{.name = "events", .args = "ROLLOUT", .help = "list what happened", .options = event_options, .run = rest_list,
	 .path = ROLLOUT "/events",
	 .columns = event_columns},
	ACTION("start", "start it"),
	ACTION("pause", "offer nothing more until it is resumed"),
	ACTION("resume", "go on after a pause, or past failures"),
	ACTION("approve", "approve it, as somebody else than its author"),
	ACTION("promote", "take the running stage as judged: its verdict becomes pass"),
	ACTION("retry", "let failed and timed-out devices try again"),
	ACTION("abort", "stop; what was installed stays"),
	ACTION("revert", "stop; what was installed goes back"),
	{.name = "delete", .args = "ROLLOUT", .help = "delete a rollout that has ended or never started",
	 .run = rest_send, .method = "DELETE",
	 .path = ROLLOUT, .done = "rollout {} is deleted"},
	{.help = NULL},
};
extern const struct command_group group_rollout;
const struct command_group group_rollout = {"rollout",
	"staged deployments of a release, judged and taken back by themselves", commands};

/* ---- what they do ---- */

/* Stages as a table; the specification is for --json. */
static void print_rollout(const struct ctl *c, const struct json *rollout)
{
	struct buf head = BUF_INIT;
	struct json *j = NULL;
	struct fault f;
	struct table *t = table_new(stage_columns);
	json_open_object(&head);
	for (const struct json *m = json_first(rollout); m != NULL; m = json_next(m)) {
		struct buf text = BUF_INIT;
		if (strcmp(json_name(m), "stages") != 0 && strcmp(json_name(m), "spec") != 0) {
			json_print(m, &text);
			json_raw(&head, json_name(m), buf_cstr(&text));
		}
		buf_done(&text);
	}
	json_close_object(&head);
	if (json_parse(head.data, head.len, &j, &f) != ERR_OK)
		abort(); /* written by ourselves */
	print_object(c, j);
	putchar('\n');
	for (const struct json *s = json_first(json_get(rollout, "stages")); s != NULL; s = json_next(s))
		table_add(t, s);
	table_print(t, c);
	table_free(t);
	json_free(j);
	buf_done(&head);
}

static enum result show(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	char *path = rest_path(c);
	enum result result = client_get(c, path, &r);
	if (result == RESULT_OK && (c->settings.json || c->settings.quiet))
		rest_answer(c, &r);
	else if (result == RESULT_OK)
		print_rollout(c, r.json);
	reply_done(&r);
	free(path);
	return output_flush(result);
}

/* The stages that were given, or the server's own, after one in shadow. */
static enum result put_shadow_first(const struct json *stages, const char *size, struct buf *out)
{
	struct fault f = {"", ""};
	json_key(out, "stages");
	json_open_array(out);
	if (!put_stage_of(out, size, true, &f))
		return complain(RESULT_USAGE, "--shadow %s: %s", size, f.detail);
	for (const struct json *s = json_first(stages); s != NULL; s = json_next(s)) {
		struct buf one = BUF_INIT;
		json_print(s, &one);
		json_put_raw(out, buf_cstr(&one));
		buf_done(&one);
	}
	for (size_t i = 0; json_first(stages) == NULL && i < sizeof default_stages / sizeof default_stages[0]; i++)
		put_stage(out, default_stages[i], &f);
	json_close_array(out);
	return RESULT_OK;
}

/* A body without a name gets its release's: everything but name and release has a default. And the stage of --shadow. */
static enum result complete(const char *body, const char *shadow, struct buf *out)
{
	struct json *j = NULL;
	struct fault f;
	struct buf name = BUF_INIT;
	enum result result = RESULT_OK;
	if (json_parse(body, strlen(body), &j, &f) != ERR_OK)
		abort(); /* written by ourselves */
	const char *release = json_text(json_get(j, "release"));
	json_open_object(&name);
	if (json_get(j, "name") == NULL && release != NULL)
		json_str(&name, "name", release);
	if (shadow != NULL)
		result = put_shadow_first(json_get(j, "stages"), shadow, &name);
	json_close_object(&name);
	struct json *over = NULL;
	if (result == RESULT_OK && json_parse(name.data, name.len, &over, &f) != ERR_OK)
		abort();
	if (result == RESULT_OK)
		json_write_merged(out, j, over);
	json_free(over);
	json_free(j);
	buf_done(&name);
	return result;
}

static void show_created(struct ctl *c, const struct reply *r, bool is_dry)
{
	int64_t id = (int64_t)json_number(json_get(r->json, "id"));
	const char *status = json_text(json_get(r->json, "status"));
	if (c->settings.json)
		rest_answer(c, r);
	else if (is_dry && !c->settings.quiet)
		plan_print(c, r->json);
	else if (c->settings.quiet && !is_dry)
		printf("%lld\n", (long long)id);
	else if (!is_dry)
		printf("rollout %lld is %s\n", (long long)id, status ? status : "made");
}

static enum result create(struct ctl *c)
{
	const char *file = command_word(c, 0);
	bool is_dry = option_given(c, "dry-run");
	struct buf base = BUF_INIT, body = BUF_INIT, whole = BUF_INIT;
	struct reply r = REPLY_INIT;
	char id[32] = "";
	enum result result = RESULT_OK;
	if (file != NULL)
		result = file_read(file, 1u << 20, &base);
	if (result == RESULT_OK)
		result = option_body(c, base.data, &body);
	if (result == RESULT_OK)
		result = complete(body.data, option_text(c, "shadow"), &whole);
	if (result == RESULT_OK) {
		struct request q = {.method = "POST", .path = is_dry ? "/rollouts?dryRun=true" : "/rollouts",
			.body = whole.data};
		result = client_call(c, &q, &r);
	}
	if (result == RESULT_OK) {
		show_created(c, &r, is_dry);
		snprintf(id, sizeof id, "%.0f", json_number(json_get(r.json, "id")));
	}
	reply_done(&r);
	buf_done(&base);
	buf_done(&body);
	buf_done(&whole);
	if (result == RESULT_OK && option_given(c, "watch") && !is_dry)
		return rollout_follow(c, id);
	return output_flush(result);
}

static enum result act(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	char *path = path_format(c->command->path, c->words, 1);
	struct request q = {.method = "POST", .path = path};
	enum result result = client_call(c, &q, &r);
	if (result == RESULT_OK && c->settings.json && !option_given(c, "watch"))
		rest_answer(c, &r);
	else if (result == RESULT_OK && !c->settings.quiet && !c->settings.json) {
		const char *status = json_text(json_get(r.json, "status"));
		printf("rollout %s is %s\n", command_word(c, 0), status ? status : "changed");
	}
	reply_done(&r);
	free(path);
	if (result == RESULT_OK && option_given(c, "watch"))
		return rollout_follow(c, command_word(c, 0));
	return output_flush(result);
}
