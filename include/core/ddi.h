/* What hawkBit's Direct Device Integration (DDI) means in our words: statuses of actions, the tables of feedback, polling intervals.
 *
 * Pure: times and random numbers are arguments. Texts are hawkBit's, as its clients and its Management API have them.
 */
#ifndef AVIARY_CORE_DDI_H
#define AVIARY_CORE_DDI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/report.h"

#define DDI_ACTION_FIRST 11        /* ids are never a multiple of ten, either: Zephyr #89530 cannot cancel those */
#define DDI_NOTES_MAX 1000         /* entries of one action; more are refused with 429 */
#define DDI_MESSAGES_MAX 50        /* of one entry */
#define DDI_MESSAGE_BYTES 512      /* of one message; longer ones are cut */
#define DDI_SERVER_PREFIX "Update Server: "

/* Statuses of an action and of what was said about it. X(NAME, text) */
#define ACTION_STATUS_TABLE(X)                                                                                                          \
	X(WAIT_FOR_CONFIRMATION, "wait_for_confirmation")                                                                              \
	X(RUNNING, "running")                                                                                                          \
	X(RETRIEVED, "retrieved")                                                                                                      \
	X(DOWNLOAD, "download")                                                                                                        \
	X(DOWNLOADED, "downloaded")                                                                                                    \
	X(WARNING, "warning")                                                                                                          \
	X(CANCELING, "canceling")                                                                                                      \
	X(CANCEL_REJECTED, "cancel_rejected")                                                                                          \
	X(CANCELED, "canceled")                                                                                                        \
	X(ERROR, "error")                                                                                                              \
	X(FINISHED, "finished")
enum action_status {
#define X(name, text) ACTION_##name,
	ACTION_STATUS_TABLE(X)
#undef X
	    ACTION_STATUS_COUNT
};
const char *action_status_text(enum action_status s);
bool action_status_parse(const char *text, enum action_status *out);

/* How an action is offered. X(NAME, text in our API and in hawkBit's) */
#define DELIVERY_TABLE(X)                                                                                                               \
	X(FORCED, "forced")             /* at once */                                                                                  \
	X(SOFT, "soft")                 /* when the device or its user likes */                                                        \
	X(TIMEFORCED, "timeforced")     /* soft until a time */                                                                        \
	X(DOWNLOADONLY, "downloadonly") /* to be kept, not installed */
enum delivery_type {
#define X(name, text) DELIVERY_##name,
	DELIVERY_TABLE(X)
#undef X
	    DELIVERY_COUNT
};
const char *delivery_text(enum delivery_type t);
bool delivery_parse(const char *text, enum delivery_type *out);

/* Words of a device: X(NAME, text) */
#define DDI_EXECUTION_TABLE(X)                                                                                                          \
	X(CLOSED, "closed")                                                                                                            \
	X(CANCELED, "canceled")                                                                                                        \
	X(REJECTED, "rejected")                                                                                                        \
	X(DOWNLOAD, "download")                                                                                                        \
	X(DOWNLOADED, "downloaded")                                                                                                    \
	X(PROCEEDING, "proceeding")                                                                                                    \
	X(SCHEDULED, "scheduled")                                                                                                      \
	X(RESUMED, "resumed")
enum ddi_execution {
#define X(name, text) DDI_##name,
	DDI_EXECUTION_TABLE(X)
#undef X
	    DDI_EXECUTION_COUNT
};
bool ddi_execution_parse(const char *text, enum ddi_execution *out);
const char *ddi_execution_text(enum ddi_execution x);

enum ddi_finished { DDI_NONE, DDI_SUCCESS, DDI_FAILURE };
bool ddi_finished_parse(const char *text, enum ddi_finished *out);

/* What feedback on a deployment means (c.4): the entry's status, its message where the device gave none, and what it says of our deployment. */
struct ddi_meaning {
	enum action_status status;
	const char *message;      /* with the prefix */
	enum report_state report; /* REPORT_STATE_COUNT: changes nothing of the deployment */
	bool is_final;            /* the action is over */
};
void ddi_on_feedback(enum ddi_execution x, enum ddi_finished finished, enum delivery_type type, struct ddi_meaning *out);

/* What feedback on a cancellation means (c.5). */
enum ddi_cancel { DDI_CANCEL_WAITS, DDI_CANCEL_DONE, DDI_CANCEL_REFUSED /* the action runs on */ };
struct ddi_cancel_meaning {
	enum action_status status;
	enum ddi_cancel effect;
	const char *before, *after; /* the server's own messages around the device's; NULL: none */
};
void ddi_on_cancel_feedback(enum ddi_execution x, enum ddi_finished finished, struct ddi_cancel_meaning *out);

/* ---- polling ---- */

#define DDI_OVERRIDES_MAX 16
struct ddi_interval {
	int64_t ms;
	int jitter_percent; /* 0 to 100 */
};
/* "interval[~NN%][, <RSQL> -> interval[~NN%] ...]". Texts of filters point into the text that was parsed. */
struct ddi_polling {
	struct ddi_interval standard;
	struct {
		const char *filter;
		size_t filter_len;
		struct ddi_interval interval;
	} overrides[DDI_OVERRIDES_MAX];
	size_t count;
};
/* false when the text is none; filters are not looked into. */
bool ddi_polling_parse(const char *text, struct ddi_polling *out);
/* `random` is any number, the same one gives the same interval: ms x (1 +- jitter), times stretch (>= 1), within [min_ms, max_ms]. Where a
 * window opens in window_in_ms (> 0), a third of that, but at least min_ms, when it is less. */
struct ddi_sleep {
	struct ddi_interval interval;
	int64_t min_ms, max_ms;
	int64_t window_in_ms; /* 0: none is waited for */
	int64_t window_polls; /* before it opens; 3 */
	double stretch;
	uint64_t random;
};
int64_t ddi_sleep_ms(const struct ddi_sleep *s);
/* "HH:mm:ss", from 00:00:01 to 23:59:59: always 8 characters. */
void ddi_format_sleep(int64_t ms, char out[9]);
/* Whether clients can deal with an action of this number. */
bool ddi_is_action(int64_t id);
/* The cache-buster of links: changes with the action, with being forced, and with the window. */
int32_t ddi_link_hash(int64_t action, bool is_forced, bool is_open);

#endif
