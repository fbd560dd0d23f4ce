#include "core/ddi.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- words ---- */

static const char *const statuses[ACTION_STATUS_COUNT] = {
#define X(name, text) text,
	ACTION_STATUS_TABLE(X)
#undef X
};
static const char *const deliveries[DELIVERY_COUNT] = {
#define X(name, text) text,
	DELIVERY_TABLE(X)
#undef X
};
static const char *const executions[DDI_EXECUTION_COUNT] = {
#define X(name, text) text,
	DDI_EXECUTION_TABLE(X)
#undef X
};
static const char *const finishes[] = {"none", "success", "failure"};

static bool find_word(const char *const *table, size_t count, const char *text, unsigned *out)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i], text) == 0) {
			*out = (unsigned)i;
			return true;
		}
	return false;
}

const char *action_status_text(enum action_status s)
{
	assert(s < ACTION_STATUS_COUNT);
	return statuses[s];
}

bool action_status_parse(const char *text, enum action_status *out)
{
	unsigned at = 0;
	bool is_known = find_word(statuses, ACTION_STATUS_COUNT, text, &at);
	*out = (enum action_status)at;
	return is_known;
}

const char *delivery_text(enum delivery_type t)
{
	assert(t < DELIVERY_COUNT);
	return deliveries[t];
}

bool delivery_parse(const char *text, enum delivery_type *out)
{
	unsigned at = 0;
	bool is_known = find_word(deliveries, DELIVERY_COUNT, text, &at);
	*out = (enum delivery_type)at;
	return is_known;
}

bool ddi_execution_parse(const char *text, enum ddi_execution *out)
{
	unsigned at = 0;
	bool is_known = find_word(executions, DDI_EXECUTION_COUNT, text, &at);
	*out = (enum ddi_execution)at;
	return is_known;
}

const char *ddi_execution_text(enum ddi_execution x)
{
	assert(x < DDI_EXECUTION_COUNT);
	return executions[x];
}

bool ddi_finished_parse(const char *text, enum ddi_finished *out)
{
	unsigned at = 0;
	bool is_known = find_word(finishes, sizeof finishes / sizeof finishes[0], text, &at);
	*out = (enum ddi_finished)at;
	return is_known;
}

/* ---- feedback ---- */

#define SAID(text) DDI_SERVER_PREFIX text

void ddi_on_feedback(enum ddi_execution x, enum ddi_finished finished, enum delivery_type type, struct ddi_meaning *out)
{
	static const struct ddi_meaning meanings[DDI_EXECUTION_COUNT] = {
		[DDI_CLOSED] = {ACTION_FINISHED, SAID("Target reported CLOSED with OK!"), REPORT_SUCCEEDED, true},
		[DDI_CANCELED] = {ACTION_CANCELED, SAID("Target confirmed cancellation."), REPORT_CANCELLED, true},
		[DDI_REJECTED] = {ACTION_WARNING, SAID("Target REJECTED update"), REPORT_STATE_COUNT, false},
		[DDI_DOWNLOAD] = {ACTION_DOWNLOAD, SAID("Target confirmed download start"), REPORT_DOWNLOADING, false},
		[DDI_DOWNLOADED] = {ACTION_DOWNLOADED, SAID("Target confirmed download finished"), REPORT_INSTALLING, false},
		[DDI_PROCEEDING] = {ACTION_RUNNING, SAID("Target reported PROCEEDING"), REPORT_INSTALLING, false},
		[DDI_SCHEDULED] = {ACTION_RUNNING, SAID("Target reported SCHEDULED"), REPORT_STATE_COUNT, false},
		[DDI_RESUMED] = {ACTION_RUNNING, SAID("Target reported RESUMED"), REPORT_STATE_COUNT, false},
	};
	assert(x < DDI_EXECUTION_COUNT);
	*out = meanings[x];
	if (x == DDI_CLOSED && finished == DDI_FAILURE)
		*out = (struct ddi_meaning){ACTION_ERROR, SAID("Target reported CLOSED with ERROR!"), REPORT_FAILED, true};
	if (x == DDI_DOWNLOADED && type == DELIVERY_DOWNLOADONLY) { /* all that it was asked for */
		out->report = REPORT_SUCCEEDED;
		out->is_final = true;
	}
}

void ddi_on_cancel_feedback(enum ddi_execution x, enum ddi_finished finished, struct ddi_cancel_meaning *out)
{
	*out = (struct ddi_cancel_meaning){ACTION_RUNNING, DDI_CANCEL_WAITS, NULL, NULL};
	switch (x) {
	case DDI_CLOSED:
		if (finished == DDI_FAILURE)
			*out = (struct ddi_cancel_meaning){ACTION_ERROR, DDI_CANCEL_REFUSED,
				SAID("Target was not able to complete cancellation."), NULL};
		else
			*out = (struct ddi_cancel_meaning){ACTION_CANCELED, DDI_CANCEL_DONE, SAID("Cancellation confirmed."),
				SAID("Cancellation completion is finished successfully.")};
		break;
	case DDI_REJECTED:
		*out = (struct ddi_cancel_meaning){ACTION_CANCEL_REJECTED, DDI_CANCEL_REFUSED,
			SAID("Target rejected the cancellation request."), NULL};
		break;
	case DDI_CANCELED:
		*out = (struct ddi_cancel_meaning){ACTION_WARNING, DDI_CANCEL_WAITS,
			SAID("Target reported cancel for a cancel which is not supported by the server."), NULL};
		break;
	default:
		break;
	}
}

/* ---- polling ---- */

static bool two_digits(const char *t, int below, int64_t *v)
{
	if (t[0] < '0' || t[0] > '9' || t[1] < '0' || t[1] > '9')
		return false;
	*v = (t[0] - '0') * 10 + t[1] - '0';
	return *v < below;
}

static const char *skip_blanks(const char *t)
{
	return t + strspn(t, " \t\r\n");
}

/* "HH:mm:ss[~NN%]"; *text behind it. */
static bool take_interval(const char **text, struct ddi_interval *out)
{
	const char *t = skip_blanks(*text);
	int64_t h, m, s;
	if (strlen(t) < 8 || t[2] != ':' || t[5] != ':' || !two_digits(t, 24, &h) || !two_digits(t + 3, 60, &m) || !two_digits(t + 6, 60, &s))
		return false;
	*out = (struct ddi_interval){((h * 60 + m) * 60 + s) * 1000, 0};
	t += 8;
	if (*t == '~') {
		int digits = 0;
		for (t++; *t >= '0' && *t <= '9' && digits < 3; t++, digits++)
			out->jitter_percent = out->jitter_percent * 10 + *t - '0';
		if (digits == 0 || *t != '%' || out->jitter_percent > 100)
			return false;
		t++;
	}
	*text = skip_blanks(t);
	return out->ms > 0;
}

bool ddi_polling_parse(const char *text, struct ddi_polling *out)
{
	*out = (struct ddi_polling){.count = 0};
	if (!take_interval(&text, &out->standard))
		return false;
	while (*text == ',') {
		const char *filter = skip_blanks(text + 1), *arrow = strstr(filter, "->");
		if (out->count == DDI_OVERRIDES_MAX || arrow == NULL)
			return false;
		size_t len = (size_t)(arrow - filter);
		while (len > 0 && (filter[len - 1] == ' ' || filter[len - 1] == '\t'))
			len--;
		text = arrow + 2;
		if (len == 0 || !take_interval(&text, &out->overrides[out->count].interval))
			return false;
		out->overrides[out->count].filter = filter;
		out->overrides[out->count++].filter_len = len;
	}
	return *text == '\0';
}

static int64_t clamp(int64_t v, int64_t min, int64_t max)
{
	return v < min ? min : v > max ? max : v;
}

int64_t ddi_sleep_ms(const struct ddi_sleep *s)
{
	double part = (double)(s->random >> 11) / 9007199254740992.0; /* [0, 1) */
	double jitter = 1 + (2 * part - 1) * s->interval.jitter_percent / 100.0;
	double ms = (double)s->interval.ms * jitter * (s->stretch > 1 ? s->stretch : 1);
	/* What is set below the limits is what was wanted: they bound jitter, stretch and windows. */
	int64_t min = s->interval.ms < s->min_ms ? s->interval.ms : s->min_ms, max = s->interval.ms > s->max_ms ? s->interval.ms : s->max_ms;
	int64_t sleep = clamp((int64_t)ms, min, max);
	if (s->window_in_ms > 0) {
		int64_t near = s->window_in_ms / (s->window_polls > 0 ? s->window_polls : 3);
		if (near < min)
			near = min;
		if (near < sleep)
			sleep = near;
	}
	return sleep;
}

void ddi_format_sleep(int64_t ms, char out[9])
{
	int s = (int)clamp((ms + 500) / 1000, 1, 86399);
	snprintf(out, 9, "%02u:%02u:%02u", (unsigned)s / 3600 % 24, (unsigned)s / 60 % 60, (unsigned)s % 60);
}

bool ddi_is_action(int64_t id)
{
	return id >= DDI_ACTION_FIRST && id <= INT32_MAX && id % 10 != 0;
}

int32_t ddi_link_hash(int64_t action, bool is_forced, bool is_open)
{
	uint64_t x = (uint64_t)action * 4 + (is_forced ? 2 : 0) + (is_open ? 1 : 0) + UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	uint32_t low = (uint32_t)(x ^ x >> 31);
	return low <= INT32_MAX ? (int32_t)low : (int32_t)((int64_t)low - 4294967296);
}
