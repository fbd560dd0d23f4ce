#include "core/window.h"

#include <assert.h>

enum { MINUTE_MS = 60000, DAY_MS = 86400000, WEEK_DAYS = 7, DAY_MINUTES = 1440 };

bool window_is_valid(const struct window *w)
{
	return w->days > 0 && w->days <= WINDOW_EVERY_DAY && w->start_minute < DAY_MINUTES &&
	       w->duration_minutes >= 1 && w->duration_minutes <= WEEK_DAYS * DAY_MINUTES &&
	       w->utc_offset_minutes >= -840 && w->utc_offset_minutes <= 840;
}

/* Number of the day at the window's own offset, since 1970-01-01; rounds down before 1970 too. */
static int64_t local_day(const struct window *w, int64_t now_ms)
{
	int64_t local = now_ms + (int64_t)w->utc_offset_minutes * MINUTE_MS;
	return local >= 0 ? local / DAY_MS : -((-local + DAY_MS - 1) / DAY_MS);
}

/* 1970-01-01 was a Thursday, bit 3. */
static bool begins_on(const struct window *w, int64_t day)
{
	int64_t weekday = ((day + 3) % WEEK_DAYS + WEEK_DAYS) % WEEK_DAYS;
	return w->days >> weekday & 1;
}

static int64_t start_ms(const struct window *w, int64_t day)
{
	return day * DAY_MS + ((int64_t)w->start_minute - w->utc_offset_minutes) * MINUTE_MS;
}

static int64_t end_ms(const struct window *w, int64_t day)
{
	return start_ms(w, day) + (int64_t)w->duration_minutes * MINUTE_MS;
}

static bool covers(const struct window *w, int64_t now_ms)
{
	int64_t today = local_day(w, now_ms);
	for (int64_t day = today - WEEK_DAYS; day <= today; day++)
		if (begins_on(w, day) && start_ms(w, day) <= now_ms && now_ms < end_ms(w, day)) return true;
	return false;
}

bool window_is_open(const struct window *list, size_t count, int64_t now_ms)
{
	assert(count <= WINDOW_MAX);
	if (count == 0) return true;
	for (size_t i = 0; i < count; i++)
		if (covers(&list[i], now_ms)) return true;
	return false;
}

/* Takes t as the change when it is one and comes before the best so far. */
static void consider(const struct window *list, size_t count, int64_t now_ms, bool now_open, int64_t t, int64_t *best)
{
	if (t <= now_ms || t >= *best) return;
	if (window_is_open(list, count, t) != now_open) *best = t;
}

/* Only where some window begins or ends can the answer change, and all repeats after a week. */
bool window_next_change(const struct window *list, size_t count, int64_t now_ms, int64_t *change_ms)
{
	bool now_open = window_is_open(list, count, now_ms);
	int64_t best = INT64_MAX;
	for (size_t i = 0; i < count; i++) {
		int64_t today = local_day(&list[i], now_ms);
		for (int64_t day = today - WEEK_DAYS; day <= today + WEEK_DAYS; day++) {
			if (!begins_on(&list[i], day)) continue;
			int64_t edge = now_open ? end_ms(&list[i], day) : start_ms(&list[i], day);
			consider(list, count, now_ms, now_open, edge, &best);
		}
	}
	if (best == INT64_MAX) return false;
	*change_ms = best;
	return true;
}
