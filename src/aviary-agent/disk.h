/* The storage port on directories of a Linux file system.
 *
 *   <dir>/state-0, state-1   the two copies of the state record, each replaced by rename
 *   <dir>/slot-a, slot-b     part-0.. and `release` (sealed record); for programs manifest.json and the links
 *                            model-<name>, firmware-<name>
 *   <dir>/current            link to the slot in use; absent while the factory release runs
 *   <dir>/desired.json       the twin's desired document
 *   <dir>/secret             of this device, 0600
 */
#ifndef AVIARY_AGENT_PROGRAM_DISK_H
#define AVIARY_AGENT_PROGRAM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/agent.h"
#include "base/err.h"

#define DISK_PARTS (AGENT_PART_RELEASE + 1)

struct disk {
	int dir, lock;
	int slots[2];
	int writing[2][DISK_PARTS]; /* open and not synced yet, or -1 */
	int read_slot, read_part, reading; /* the part last read from, or -1 */
	char path[4096];
};

/* Creates what is missing. Without `exclusive` nothing is created or locked: for looking only. */
AVIARY_MUST_CHECK enum err disk_open(struct disk *d, const char *path, bool exclusive, struct fault *f);
void disk_close(struct disk *d);
/* The device's secret, 64 hex digits; made when there is none. */
AVIARY_MUST_CHECK enum err disk_secret(struct disk *d, char out[65], struct fault *f);

bool disk_state_read(struct disk *d, int copy, void *out, size_t size);
bool disk_state_write(struct disk *d, int copy, const void *data, size_t size);
bool disk_part_begin(struct disk *d, int slot, int part, uint64_t size_bytes);
bool disk_part_write(struct disk *d, int slot, int part, uint64_t offset, const void *data, size_t len);
bool disk_part_read(struct disk *d, int slot, int part, uint64_t offset, void *out, size_t len);
bool disk_slot_sync(struct disk *d, int slot);

/* The twin's desired document as <dir>/desired.json, for programs; no write when it is there already. */
bool disk_put_config(struct disk *d, const char *json, size_t len);
/* Makes `current` point to the slot (AGENT_SLOT_FACTORY: nowhere) and its links name what is in it. Atomic, durable,
 * and without a write when all is as it should be. */
bool disk_use_slot(struct disk *d, int slot, const struct agent_release *release);
/* The links of a slot that is not in use: what runs in shadow finds its parts by them. */
bool disk_name_slot(struct disk *d, int slot, const struct agent_release *release);
/* Where `current` points to: "slot-a", or "" */
void disk_current(const struct disk *d, char *out, size_t out_size);
const char *disk_slot_name(int slot); /* "slot-a", "slot-b", "factory" */

#endif
