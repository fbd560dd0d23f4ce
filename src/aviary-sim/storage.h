/* Flash of simulated devices, in memory. Artifacts with the same content are kept once for all of them, so that thousands of devices can hold a
 * large model: a part is private while it is written, and shared when its bytes turn out to be the ones announced. */
#ifndef AVIARY_SIM_STORAGE_H
#define AVIARY_SIM_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/agent.h"

struct blob;

struct part {
	uint8_t sha256[AGENT_SHA256_BYTES];
	bool has_sha;
	uint64_t size_bytes, written_bytes;
	struct blob *blob;   /* shared content, or NULL */
	uint8_t *data;       /* private content, or NULL */
};
struct storage {
	uint8_t *state[2];
	size_t state_bytes[2];
	struct part parts[2][AGENT_COMPONENTS_MAX + 1];
};

void storage_done(struct storage *s);
bool storage_state_read(const struct storage *s, int copy, void *out, size_t size);
bool storage_state_write(struct storage *s, int copy, const void *data, size_t size);
bool storage_part_begin(struct storage *s, int slot, int part, uint64_t size_bytes, const uint8_t *sha256);
bool storage_part_write(struct storage *s, int slot, int part, uint64_t offset, const void *data, size_t len);
bool storage_part_read(const struct storage *s, int slot, int part, uint64_t offset, void *out, size_t len);
size_t storage_shared_bytes(void); /* of all devices */

#endif
