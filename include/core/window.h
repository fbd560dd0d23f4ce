/* Maintenance windows: weekly spans of time in which something may be done. No cron, no time zones: a fixed offset from
 * UTC. */
#ifndef AVIARY_CORE_WINDOW_H
#define AVIARY_CORE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WINDOW_MAX 16 /* in one list */
#define WINDOW_EVERY_DAY 0x7f

struct window {
	uint8_t days;              /* on which it begins, at its own offset: bit 0 Monday ... bit 6 Sunday; not none */
	uint16_t start_minute;     /* of the day, 0..1439 */
	uint16_t duration_minutes; /* 1..10080 (a week); may reach into the following days */
	int16_t utc_offset_minutes; /* east is positive, -840..840 */
};

bool window_is_valid(const struct window *w);
/* An empty list is always open. Ends are exclusive. */
bool window_is_open(const struct window *list, size_t count, int64_t now_ms);
/* When window_is_open next gives the other answer, strictly after now_ms. False: never. */
bool window_next_change(const struct window *list, size_t count, int64_t now_ms, int64_t *change_ms);

#endif
