/* Commands for many devices: which devices a group and a filter choose, found in pieces, and whose turn it is, at the command's rate.
 *
 * Lost at a restart: a command that was not through begins anew, and its port passes over the devices that have their part. With spread_ms the
 * order is random and the rate what the time wants. Memory only: what a device's part is, and rows, belong to the port (service/commands.c).
 */
#ifndef AVIARY_SERVICE_COMMAND_SPREAD_H
#define AVIARY_SERVICE_COMMAND_SPREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/commands.h"
#include "store/command_store.h"

struct registry_scan;

struct spreading {
	struct command_row row; /* texts are not kept */
	char *filter;
	struct registry_scan *scan;
	int64_t *devices;       /* rows, in the order in which they are told */
	size_t count, room, at;
	double tokens;
	int64_t last_ms;
	bool is_found;          /* all devices are */
};
struct spreads { /* zeroed = none */
	struct spreading items[COMMAND_SPREADING_MAX];
	size_t count;
};
/* Who carries out. In the unit of work that spreads_tell runs in. */
struct spread_port {
	bool (*has_room)(struct call *c); /* false: it waits */
	/* is_new false: the device had its part; that costs no turn. */
	enum err (*tell)(struct call *c, int64_t command, int64_t timeout_ms, struct device_state *d, bool *is_new);
	enum err (*end)(struct call *c, int64_t command); /* everybody was told */
};

void spreads_begin(struct spreads *s, const struct command_row *row, int64_t now_ms); /* there is room for it */
void spreads_clear(struct spreads *s);
void spreads_stop(struct spreads *s, int64_t command);
bool spreads_have_check(const struct spreads *s, int64_t health_check);
/* A piece of looking for devices, of one command; outside of a unit. *gone: a command whose group or filter is no more, 0: none. */
AVIARY_MUST_CHECK enum err spreads_look(struct call *c, struct spreads *s, int64_t *gone);
/* Those whose turn it is. One that is through leaves the list. */
AVIARY_MUST_CHECK enum err spreads_tell(struct call *c, struct spreads *s, const struct spread_port *port);

#endif
