/* Snapshots of many small states as a log of pages: what is written together lies together, at the end; the newest state of a device counts.
 *
 * Here is only the book of it: which page has the newest state of which device, and which pages have none any more. Bytes go to the
 * database with the batches (store/telemetry_store.h). Two books, one of tracks and one of detection. Loop thread.
 */
#ifndef AVIARY_SERVICE_STATE_PAGES_H
#define AVIARY_SERVICE_STATE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/telemetry_store.h"

struct state_pages;

struct state_pages *state_pages_new(enum stored_page_kind kind);
void state_pages_free(struct state_pages *p); /* NULL is allowed */

/* Puts a state into the page that is being gathered; at most one a device and page. device > 0. */
void state_pages_put(struct state_pages *p, int64_t device, const void *bytes, size_t len);
bool state_pages_has_dead(const struct state_pages *p); /* a page waits for the next seal to be deleted */
/* Closes it: *out is the page (no data: nothing was gathered), and which pages are to be deleted with it. All of it is valid until the next call. */
void state_pages_seal(struct state_pages *p, int64_t batch, struct stored_pages *out);
/* A device is gone: its state counts no more. */
void state_pages_forget(struct state_pages *p, int64_t device);
/* Where more than half of what is stored is out of date: the devices whose states keep the oldest pages alive, to be written again. */
void state_pages_outdated(const struct state_pages *p, void (*fn)(void *ctx, int64_t device), void *ctx);

/* How many bytes of states may go with a batch now: STATE_BYTES_PER_S on average, so that snapshots of a very large fleet do not cost more than its
 * reports. A round over it takes longer then, and so does a start after a kill, which reads the log from the round's begin on. */
#define STATE_BYTES_PER_S (4 << 20)
#define STATE_BYTES_PIECE (128 << 10) /* it does not begin for less */
#define STATE_BYTES_BURST (512 << 10)
struct state_pace { /* zeroed at first */
	int64_t left, at_ms;
};
int64_t state_pace_left(const struct state_pace *p, int64_t now_ms);
static inline bool state_pace_is_due(const struct state_pace *p, int64_t now_ms)
{
	return state_pace_left(p, now_ms) >= STATE_BYTES_PIECE;
}
void state_pace_spend(struct state_pace *p, size_t bytes, int64_t now_ms);

/* At start, pages in order of id: `fn` gets every state, older ones of a device before newer ones. A page that cannot be read to its end is
 * read as far as it goes. */
void state_pages_load(struct state_pages *p, const struct stored_page *page, void (*fn)(void *ctx, int64_t device, int64_t batch, const void *bytes, size_t len),
	void *ctx);

#endif
