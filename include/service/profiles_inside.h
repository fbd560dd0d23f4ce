/* The insides of service/profiles, shared by profiles.c, profiles_figures.c and profiles_tables.c only. */
#ifndef AVIARY_SERVICE_PROFILES_INSIDE_H
#define AVIARY_SERVICE_PROFILES_INSIDE_H

#include "service/profiles.h"
#include "store/profile_store.h"

/* A variant on a class of hardware. */
struct learned {
	int64_t artifact;
	uint32_t hardware;                        /* place in profiles.hardware */
	struct profile_cell *cells[HEALTH_CELLS]; /* NULL: nothing yet */
	int64_t batch[HEALTH_CELLS];              /* reports up to this one were in the row when it was read */
	uint8_t dirty;                            /* bits by cell */
};
/* A version that reports name, in the catalog. */
struct version_seen {
	int64_t model, version; /* rows; 0: there is none */
	int64_t looked_ms;      /* when, by the reports' time */
	bool is_looked;
};

struct profiles {
	struct services *s;
	struct profile_store *store;
	struct learned **all;
	size_t count, room;
	uint32_t *index; /* open addressing: place in `all` + 1 */
	size_t index_size;
	char **hardware; /* names */
	size_t hardware_count;
	uint32_t *hardware_of; /* by number of the registry: place + 1 */
	size_t hardware_of_count;
	size_t cells;
	uint8_t *contexts; /* by index of the device */
	size_t context_count;
	struct version_seen *versions; /* by symbol */
	size_t version_count;
	int64_t metrics[8]; /* symbols, see profiles.c; 0: not seen yet */
	uint64_t generation, imports;
	/* the round of writing */
	bool is_round;
	size_t round_at;     /* place in `all` */
	int64_t round_batch; /* every row is at least as new when it ends */
	int64_t round_due_ms;
	bool is_lost;        /* a commit was lost: everything is written again */
};

/* NULL: nothing was learned. */
const struct learned *profiles_learned(const struct profiles *p, const char *hardware, int64_t artifact);
/* All contexts as one; on the heap. NULL: nothing was learned. */
struct profile_cell *profiles_merge_cells(const struct learned *l, int64_t now_ms);

#endif
