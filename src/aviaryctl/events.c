/* aviaryctl events: what happens, as it happens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rest.h"

static enum result events(struct ctl *c);

static const struct command_option options[] = {
	{.name = "kind", .kind = OPTION_TEXT, .value = "KIND", .use = USE_QUERY,
	 .help = "only this kind; rollout. for all that begin so"},
	{.name = "resource", .kind = OPTION_TEXT, .value = "RESOURCE", .use = USE_QUERY,
	 .help = "only this one, as rollouts/7"},
	{.name = "after", .kind = OPTION_INT, .value = "ID", .help = "begin after this event; only new ones when absent"},
	{.name = "count", .kind = OPTION_INT, .value = "N", .help = "end after so many"},
	{.name = NULL},
};
static const struct command commands[] = {
	{.help = "follow events until interrupted; cuts are bridged", .options = options, .run = events},
	{.help = NULL},
};
extern const struct command_group group_events;
const struct command_group group_events = {"events", "follow what happens", commands};

struct follower {
	struct ctl *c;
	int64_t left; /* below 0: without end */
	bool is_broken;
};

/* "12:30:01Z  rollout.status  rollouts/7  from=running status=finished ..." */
static void print_event(const struct follower *f, const struct event *e)
{
	struct json *j = NULL;
	struct fault fault;
	struct buf b = BUF_INIT;
	if (json_parse(e->data, strlen(e->data), &j, &fault) != ERR_OK)
		return;
	cell_text(json_get(j, "at"), CELL_TIME, &b);
	printf("%s  ", buf_cstr(&b));
	buf_clear(&b);
	cell_text(json_get(j, "kind"), CELL_TEXT, &b);
	for (size_t n = text_width(buf_cstr(&b)); n < 18; n++)
		buf_char(&b, ' ');
	buf_str(&b, "  ");
	cell_text(json_get(j, "resource"), CELL_TEXT, &b);
	buf_str(&b, "  ");
	cell_text(json_get(j, "data"), CELL_TEXT, &b);
	print_clean(b.data, output_width() > 24 ? output_width() - 22 : 0);
	putchar('\n');
	buf_done(&b);
	json_free(j);
	(void)f;
}

static void on_event(void *ctx, const struct event *e)
{
	struct follower *f = ctx;
	if (f->left == 0)
		return;
	if (strcmp(e->kind, "gap") == 0)
		fputs("aviaryctl: some events are too old to be told\n", stderr);
	else if (f->c->settings.json)
		puts(e->data);
	else if (f->c->settings.quiet)
		puts(e->id);
	else
		print_event(f, e);
	if (strcmp(e->kind, "gap") != 0 && f->left > 0)
		f->left--;
	f->is_broken = fflush(stdout) != 0;
}

static bool is_over(void *ctx)
{
	const struct follower *f = ctx;
	return f->left == 0 || f->is_broken || client_stream_refusal(f->c) != NULL;
}

static enum result events(struct ctl *c)
{
	struct follower f = {c, option_int(c, "count", -1), false};
	struct buf query = BUF_INIT;
	struct reply r = REPLY_INIT;
	int64_t end = option_given(c, "timeout") ? clock_mono_ms() + c->settings.timeout_ms : INT64_MAX;
	option_query(c, &query);
	enum result result = client_get(c, "//readyz", &r); /* a server that is not there is told at once */
	reply_done(&r);
	if (result == RESULT_OK) {
		client_listen(c, buf_cstr(&query), option_text(c, "after"), on_event, &f);
		while (!client_wait(c, is_over, &f, end - clock_mono_ms() < 3600000 ? end - clock_mono_ms() : 3600000)
			&& clock_mono_ms() < end)
			;
		if (client_stream_refusal(c) != NULL)
			result = client_judge(c, client_stream_refusal(c));
		else if (f.left != 0 && !f.is_broken)
			result = RESULT_TIMEOUT;
	}
	buf_done(&query);
	return output_flush(result);
}
