/* A registry on a real file, with what it stands on: for the tests of the registry and of groups. */
#ifndef AVIARY_TESTS_REGISTRY_WORLD_H
#define AVIARY_TESTS_REGISTRY_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/access.h"
#include "service/groups.h"
#include "service/outbox.h"
#include "service/registry.h"
#include "service/rollouts.h"
#include "service/unit.h"
#include "store/db.h"

#define NOW INT64_C(1700000000000)

struct world {
	char dir[64], path[96];
	struct services s;
	struct call c;
	struct fault fault;
};

static inline void world_start(struct world *w)
{
	static const struct access_limits limits = {1000000, 1000000000, 1000000};
	if (db_open(w->path, migrations_fleet, false, &w->s.db, &w->fault) != ERR_OK)
		fail_msg("%s", w->fault.detail);
	w->s.state_dir = w->dir;
	w->s.outbox = outbox_new();
	w->s.units = units_new();
	if (access_open(&w->s, &limits, &w->s.access, &w->fault) != ERR_OK || registry_open(&w->s, &w->s.registry, &w->fault) != ERR_OK
	    || groups_open(&w->s, &w->s.groups, &w->fault) != ERR_OK)
		fail_msg("%s", w->fault.detail);
	w->s.rollouts = rollouts_open(&w->s, &w->fault);
	assert_non_null(w->s.rollouts);
	w->c = (struct call){.s = &w->s, .arena = arena_new(1 << 20), .fault = &w->fault, .who = &principal_server, .now_ms = NOW};
}

static inline void world_stop(struct world *w)
{
	rollouts_close(w->s.rollouts);
	groups_close(w->s.groups);
	registry_close(w->s.registry);
	access_close(w->s.access);
	units_free(w->s.units);
	outbox_free(w->s.outbox);
	db_close(w->s.db);
	arena_free(w->c.arena);
}

static inline int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	assert_non_null(w);
	strcpy(w->dir, "/tmp/aviary-registry-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/fleet.db", w->dir);
	world_start(w);
	*state = w;
	return 0;
}

static inline int world_teardown(void **state)
{
	static const char *const files[] = {"fleet.db", "fleet.db-wal", "fleet.db-shm", "admin.token"};
	struct world *w = *state;
	world_stop(w);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		char path[160];
		snprintf(path, sizeof path, "%s/%s", w->dir, files[i]);
		unlink(path);
	}
	rmdir(w->dir);
	free(w);
	return 0;
}

/* The work of one request: its unit is kept or undone by its result. */
#define DO(w, expression)                                                                                                 \
	do {                                                                                                              \
		assert_int_equal(unit_begin(&(w)->s, &(w)->fault), ERR_OK);                                               \
		enum err did_ = unit_end(&(w)->s, (expression), &(w)->fault);                                             \
		if (did_ != ERR_OK)                                                                                       \
			fail_msg("%s: %s %s", err_name(did_), (w)->fault.pointer, (w)->fault.detail);                     \
	} while (0)
#define REFUSED(w, error, expression)                                                                                     \
	do {                                                                                                              \
		assert_int_equal(unit_begin(&(w)->s, &(w)->fault), ERR_OK);                                               \
		assert_string_equal(err_name(unit_end(&(w)->s, (expression), &(w)->fault)), err_name(error));             \
	} while (0)

static inline void world_commit(struct world *w)
{
	assert_int_equal(units_commit(&w->s, &w->fault), ERR_OK);
	outbox_committed(w->s.outbox);
}

static inline struct device_state *world_device(struct world *w, const char *id, const char *hardware)
{
	struct device_spec spec = {.id = id, .hardware = hardware};
	struct device_state *d = NULL;
	DO(w, registry_create(&w->c, &spec, &d));
	return d;
}

static inline int64_t world_count(struct world *w, const char *filter)
{
	int64_t count = -1;
	enum err e = registry_count(&w->c, filter, 0, &count);
	if (e != ERR_OK)
		fail_msg("%s: %s", filter, w->fault.detail);
	return count;
}

#endif
