/* aviaryctl rollout watch: one picture that is drawn anew on a terminal, one line a change elsewhere. The stream of
 * events says when to look; where it cannot be had, polling does. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "rest.h"
#include "rollout.h"

#define POLL_MS 2000       /* at the latest */
#define QUIET_MS 150       /* events that come together make one picture */
#define GIVE_UP_MS 60000   /* so long without an answer from the server */
#define BAR 24

struct watch {
	struct ctl *c;
	const char *id;
	bool is_tty, is_dirty;
	int lines;         /* of the last picture */
	struct buf last;   /* what the last line or picture said */
	struct buf news;   /* sentences of events that came since */
};

/* ---- events ---- */

static void on_event(void *ctx, const struct event *e)
{
	struct watch *w = ctx;
	struct json *j = NULL;
	struct fault f;
	w->is_dirty = true;
	if (strcmp(e->kind, "verdict") != 0 || json_parse(e->data, strlen(e->data), &j, &f) != ERR_OK)
		return;
	const struct json *d = json_get(j, "data");
	const char *verdict = json_text(json_get(d, "verdict")), *text = json_text(json_get(d, "text"));
	buf_printf(&w->news, "judge: %s: ", verdict ? verdict : "?");
	clean_text(&w->news, text ? text : "");
	buf_char(&w->news, '\n');
	json_free(j);
}

static bool is_dirty(void *ctx)
{
	const struct watch *w = ctx;
	return w->is_dirty || client_stream_refusal(w->c) != NULL;
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

/* ---- one stage as text ---- */

struct counts {
	int64_t total, succeeded, failed, active, back;
};

static int64_t count_of(const struct json *deployments, const char *state)
{
	return (int64_t)json_number(json_get(deployments, state));
}

static struct counts counts_of(const struct json *stage)
{
	const struct json *d = json_get(stage, "deployments");
	struct counts n = {.total = (int64_t)json_number(json_get(stage, "planned"))};
	n.succeeded = count_of(d, "succeeded");
	n.failed = count_of(d, "failed") + count_of(d, "timed_out") + count_of(d, "revert_failed") + count_of(d,
		"not_revertible");
	n.active = count_of(d, "offered") + count_of(d, "downloading") + count_of(d, "installing") + count_of(d,
		"trial") + count_of(d, "reverting");
	n.back = count_of(d, "reverted");
	return n;
}

static const char *text_of(const struct json *j, const char *name)
{
	const char *text = json_text(json_get(j, name));
	return text != NULL ? text : "";
}

static void write_bar(const struct counts *n, struct buf *out)
{
	int64_t total = n->total > 0 ? n->total : 1;
	int done = (int)(n->succeeded * BAR / total),
		failed = n->failed > 0 ? (int)((n->failed * BAR + total - 1) / total) : 0;
	int active = n->active > 0 ? (int)((n->active * BAR + total - 1) / total) : 0;
	buf_char(out, '[');
	for (int i = 0; i < BAR; i++)
		buf_char(out, i < done ? '#' : i < done + failed ? '!' : i < done + failed + active ? '>' : '.');
	buf_char(out, ']');
}

static void write_stage(const struct watch *w, const struct json *s, struct buf *out)
{
	struct counts n = counts_of(s);
	const char *status = text_of(s, "status"), *verdict = text_of(s, "verdict");
	bool colour = w->is_tty && output_has_colour(w->c);
	size_t from = out->len;
	buf_str(out, "  ");
	clean_text(out, text_of(s, "name"));
	for (size_t width = text_width(out->data + from); width < 13; width++)
		buf_char(out, ' ');
	write_bar(&n, out);
	bool is_shadow = strcmp(text_of(s, "mode"), "shadow") == 0;
	buf_printf(out, " %s%-9s%s %lld of %lld %s", colour ? status_colour(status) : "", status,
		colour && status_colour(status)[0] ? COLOUR_END : "",
	           (long long)n.succeeded, (long long)n.total, is_shadow ? "run it in shadow" : "have it");
	if (n.active > 0)
		buf_printf(out, ", %lld under way", (long long)n.active);
	if (n.failed > 0)
		buf_printf(out, ", %lld failed", (long long)n.failed);
	if (n.back > 0)
		buf_printf(out, is_shadow ? ", %lld have dropped it" : ", %lld back", (long long)n.back);
	if (json_is_true(json_get(s, "judged")) && json_get(s, "started_at") != NULL)
		buf_printf(out, "; judge: %s%s%s after %.0f looks", colour ? status_colour(verdict) : "", verdict,
		           colour && status_colour(verdict)[0] ? COLOUR_END : "", json_number(json_get(s, "looks")));
	buf_char(out, '\n');
}

/* ---- drawing ---- */

static void write_head(const struct watch *w, const struct json *r, struct buf *out)
{
	const char *status = text_of(r, "status");
	bool colour = w->is_tty && output_has_colour(w->c);
	buf_printf(out, "rollout %s \"", w->id);
	clean_text(out, text_of(r, "name"));
	buf_printf(out, "\" of %s to %.0f devices: %s%s%s", text_of(r, "release"), json_number(json_get(r, "target")),
		colour ? status_colour(status) : "", status, colour && status_colour(status)[0] ? COLOUR_END : "");
	buf_str(out, text_of(r, "reason")[0] != '\0' ? " (" : "");
	clean_text(out, text_of(r, "reason"));
	buf_str(out, text_of(r, "reason")[0] != '\0' ? ")\n" : "\n");
}

static int count_lines(const char *text, unsigned width)
{
	int lines = 0;
	for (const char *at = text; *at != '\0';) {
		size_t n = strcspn(at, "\n"), shown = 0;
		for (size_t i = 0; i < n; i++) {
			if (at[i] == '\033')
				i += strcspn(at + i, "m");
			else
				shown += ((unsigned char)at[i] & 0xC0) != 0x80;
		}
		lines += 1 + (width > 0 && shown > width ? (int)((shown - 1) / width) : 0);
		at += n + (at[n] == '\n');
	}
	return lines;
}

static void draw(struct watch *w, const char *picture)
{
	if (w->lines > 0)
		printf("\033[%dA\r\033[J", w->lines);
	fputs(buf_cstr(&w->news), stdout);
	fputs(picture, stdout);
	w->lines = count_lines(picture, output_width());
}

/* Without a terminal: what changed, one line each. */
static void tell(struct watch *w, const struct json *r, const char *picture)
{
	char at[32];
	clock_format(clock_wall_ms(), at, sizeof at);
	fputs(buf_cstr(&w->news), stdout);
	for (const char *line = picture; *line != '\0';) {
		size_t n = strcspn(line, "\n");
		const char *before = buf_cstr(&w->last);
		char *text = strndup(line, n + 1);
		if (text == NULL)
			abort();
		if (strstr(before, text) == NULL)
			printf("%.8sZ %s", at + 11, text);
		free(text);
		line += n + (line[n] == '\n');
	}
	(void)r;
}

static void show(struct watch *w, const struct json *r)
{
	struct buf b = BUF_INIT;
	if (w->c->settings.quiet) {
		buf_clear(&w->news);
		return;
	}
	write_head(w, r, &b);
	for (const struct json *s = json_first(json_get(r, "stages")); s != NULL; s = json_next(s))
		write_stage(w, s, &b);
	bool changed = strcmp(buf_cstr(&w->last), b.data) != 0 || w->news.len > 0;
	if (changed && w->c->settings.json)
		print_json(r);
	else if (changed && w->is_tty)
		draw(w, b.data);
	else if (changed)
		tell(w, r, b.data);
	fflush(stdout);
	buf_done(&w->last);
	w->last = b;
	buf_clear(&w->news);
}

/* ---- following ---- */

static bool is_ended(const char *status, enum result *result)
{
	if (strcmp(status, "finished") == 0)
		*result = RESULT_OK;
	else if (strcmp(status, "reverted") == 0 || strcmp(status, "stopped") == 0)
		*result = RESULT_UNDONE;
	else
		return false;
	return true;
}

/* A server that restarts is waited for. */
static enum result look(struct watch *w, const char *path, int64_t *answered_ms, struct reply *r)
{
	struct request q = {.path = path};
	client_send(w->c, &q, r);
	if ((r->status == 0 || r->status >= 500) && *answered_ms != 0 && clock_mono_ms() - *answered_ms < GIVE_UP_MS)
		return RESULT_CONNECTION;
	enum result result = client_judge(w->c, r);
	if (result == RESULT_OK)
		*answered_ms = clock_mono_ms();
	else
		*answered_ms = -1;
	return result;
}

static void listen(struct watch *w)
{
	struct buf query = BUF_INIT;
	buf_str(&query, "?resource=rollouts%2F");
	percent_encode(&query, w->id);
	client_listen(w->c, query.data, NULL, on_event, w);
	buf_done(&query);
}

enum result rollout_follow(struct ctl *c, const char *id)
{
	struct watch w = {.c = c, .id = id, .is_tty = isatty(STDOUT_FILENO) && !c->settings.json};
	struct reply r = REPLY_INIT;
	int64_t answered_ms = 0, end = option_given(c, "timeout") ? clock_mono_ms() + c->settings.timeout_ms : INT64_MAX;
	char *path = path_format("/rollouts/{}", &id, 1);
	bool is_listening = false;
	enum result result;
	for (;;) {
		w.is_dirty = false;
		result = look(&w, path, &answered_ms, &r);
		if (answered_ms == -1)
			break;
		if (result == RESULT_OK) {
			show(&w, r.json);
			if (is_ended(text_of(r.json, "status"), &result))
				break;
			if (!is_listening)
				listen(&w);
			is_listening = true;
		}
		int64_t left = end - clock_mono_ms();
		if (left <= 0) {
			result = complain(RESULT_TIMEOUT, "rollout %s has not ended within --timeout: it is %s", id,
				text_of(r.json, "status"));
			break;
		}
		if (client_wait(c, is_dirty, &w, left < POLL_MS ? left : POLL_MS) && client_stream_refusal(c) == NULL)
			client_wait(c, never, NULL, QUIET_MS);
		else if (client_stream_refusal(c) != NULL)
			client_wait(c, never, NULL, left < POLL_MS ? left : POLL_MS);
	}
	free(path);
	reply_done(&r);
	buf_done(&w.last);
	buf_done(&w.news);
	return output_flush(result);
}

enum result rollout_watch(struct ctl *c)
{
	return rollout_follow(c, command_word(c, 0));
}
