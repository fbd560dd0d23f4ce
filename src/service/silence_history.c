#include "service/silence_history.h"

#include <math.h>
#include <stdlib.h>

#include "core/hardstop.h"
#include "core/silence.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/observe.h"
#include "service/registry.h"
#include "service/unit.h"
#include "store/silence_store.h"

#define HOUR_MS 3600000
#define DAY_HOURS 24
#define DAY_MS (DAY_HOURS * (int64_t)HOUR_MS)
#define DEFAULT_INTERVAL_MS 60000
#define VISITS_A_LOOK 64 /* devices between two looks at the clock */

struct silence_history {
	struct silence_store *store;
	int64_t hour;      /* the last one that was begun; 0: none since the start */
	bool is_counting;
	uint32_t at;       /* in the registry */
	int64_t trials, hits;
};

enum err silence_history_open(struct services *s, struct silence_history **out, struct fault *f)
{
	struct silence_history *h = calloc(1, sizeof *h);
	if (h == NULL)
		abort();
	enum err e = silence_store_open(s->db, &h->store, f);
	if (e != ERR_OK) {
		free(h);
		return e;
	}
	*out = h;
	return ERR_OK;
}

void silence_history_close(struct silence_history *h)
{
	if (h == NULL)
		return;
	silence_store_close(h->store);
	free(h);
}

struct silence_store *silence_history_store(struct silence_history *h)
{
	return h->store;
}

static void count_device(struct call *c, struct silence_history *h, const struct device_state *d)
{
	struct silence_habit habit;
	if (d->deployment != 0 || !observe_habit(c, d->row, &habit))
		return;
	int64_t interval = habit.gap8_ms / 8, quiet_ms = c->now_ms - habit.last_ms;
	int64_t limit_ms = silence_limit_ms(&habit, interval > 0 ? interval : DEFAULT_INTERVAL_MS);
	if (quiet_ms - HOUR_MS > limit_ms)
		return; /* it was silent when the hour began */
	h->trials++;
	h->hits += quiet_ms > limit_ms;
}

static enum err write_hour(struct call *c, struct silence_history *h)
{
	int64_t day = c->now_ms / DAY_MS;
	enum err e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	e = silence_add_hour(h->store, day, h->trials, h->hits, c->fault);
	if (e == ERR_OK)
		e = silence_forget_before(h->store, day - SILENCE_DAYS, c->fault);
	return unit_end(c->s, e, c->fault);
}

/* The server heard all the time for an hour. */
static bool could_hear(const struct call *c)
{
	return metric_get(METER_MQTT_CONNECTED) != 0 && alerts_listening_since(c) <= c->now_ms - HOUR_MS;
}

enum err silence_history_tick(struct call *c, struct silence_history *h, const struct timebox *box, bool *more)
{
	int64_t hour = c->now_ms / HOUR_MS;
	*more = false;
	if (h->hour == 0)
		h->hour = hour; /* the hour of the start was counted before it, or is not a whole one */
	if (!h->is_counting && hour != h->hour) {
		h->hour = hour;
		h->is_counting = could_hear(c);
		h->at = 0;
		h->trials = h->hits = 0;
	}
	if (!h->is_counting)
		return ERR_OK;
	if (!could_hear(c)) { /* the connection went while it was counted: everybody would be silent */
		h->is_counting = false;
		return ERR_OK;
	}
	for (unsigned visits = 1;; visits++) {
		const struct device_state *d = registry_each(c->s->registry, &h->at);
		if (d == NULL)
			break;
		count_device(c, h, d);
		if (visits % VISITS_A_LOOK == 0 && timebox_is_over(box)) {
			*more = true;
			return ERR_OK;
		}
	}
	h->is_counting = false;
	return h->trials > 0 ? write_hour(c, h) : ERR_OK;
}

/* Hours of one day hang together: a device that falls silent often does so again, and one outage falls into several hours. So the device-day is
 * what is counted as one trial, not the hour: the chance that a device is silent at some hour's end of a day is at most the number of such hours
 * to be expected, however they depend on each other, which is hits over device-days. It is also about the time that a canary is watched. */
enum err silence_history_rate(struct call *c, struct silence_history *h, struct silence_rate *out)
{
	struct silence_sum sum;
	*out = (struct silence_rate){SILENCE_RATE_DEFAULT, 0};
	enum err e = silence_sum_since(h->store, c->now_ms / DAY_MS - SILENCE_DAYS, &sum, c->fault);
	int64_t device_days = sum.trials / DAY_HOURS;
	if (e != ERR_OK || sum.hours < DAY_HOURS || device_days == 0)
		return e;
	int64_t hits = sum.hits < device_days ? sum.hits : device_days;
	out->rate = hardstop_rate_upper((uint64_t)hits, (uint64_t)device_days, 0.95);
	out->days = sum.days < SILENCE_DAYS ? sum.days : SILENCE_DAYS;
	return ERR_OK;
}
