/* The insides of struct notify, shared by notify*.c, receivers.c and deliveries.c only. */
#ifndef AVIARY_SERVICE_NOTIFY_INSIDE_H
#define AVIARY_SERVICE_NOTIFY_INSIDE_H

#include "service/notify.h"
#include "store/alert_store.h"
#include "store/notify_store.h"

struct seat { /* of a receiver that was sent something */
	int64_t receiver;
	struct notify_circuit circuit;
	int64_t slot_ms; /* the last turn that was given to a group which had to wait */
};
struct flight {
	int64_t delivery, receiver;
	char key[40];
};
#define FLIGHTS_MAX (RECEIVERS_MAX * NOTIFY_CIRCUIT_PARALLEL)
struct notify {
	struct services *s;
	struct notify_store *store;
	struct alert_store *alerts;
	struct seat seats[RECEIVERS_MAX];
	size_t seat_count;
	struct flight flights[FLIGHTS_MAX];
	size_t flight_count;
	int64_t retain_at_ms, figures_at_ms;
	/* the clock: of the tick before (0: there was none); what waits for a later one is being brought back, of all receivers after this one */
	int64_t clock_ms, behind_after;
	bool is_behind, is_set_back;
};

/* receivers.c */
AVIARY_MUST_CHECK enum err receivers_all(struct call *c, struct receiver **items, size_t *count);
bool receiver_wants(struct call *c, const struct receiver *r, const struct alert_row *row);

/* deliveries.c: NULL: none is free. */
struct seat *notify_seat(struct notify *n, int64_t receiver);

/* notify_text.c: what a receiver is told, in words. */
struct telling {
	const struct receiver *receiver;
	const char *group, *key;
	int64_t seq, at_ms;
	bool fires, is_test;
	const struct alert_row *alerts; /* those that changed, then those that fire still; RECEIVER_ALERTS at most */
	size_t count;
	size_t firing, resolved, silenced, inhibited;
	bool has_more;                  /* there are more than were looked at */
};
void notify_write(struct arena *a, const struct telling *t, const char **subject, const char **body);
/* A template: whether its variables are known, and of a body, whether it is JSON when filled. */
AVIARY_MUST_CHECK enum err notify_check_template(const char *text, bool is_json, const char *pointer, struct fault *f);

#endif
