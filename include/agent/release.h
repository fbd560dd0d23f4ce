/* Signed releases: what a manifest must say before this device takes it, and the sealed record of it in a slot.
 *
 * AGENT_PART_RELEASE of a slot holds a head of AGENT_RECORD_HEAD_BYTES (signature, which artifacts lie in which part)
 * and the exact manifest bytes. Nothing in it is believed without the signature. No policy about counters here.
 */
#ifndef AVIARY_AGENT_RELEASE_H
#define AVIARY_AGENT_RELEASE_H

#include "agent/agent.h"
#include "agent/json.h"

#define AGENT_MANIFEST_DOMAIN "aviary-manifest-v1"

struct agent_parts {
	unsigned count;
	struct agent_part items[AGENT_COMPONENTS_MAX];
};

/* Index of the pinned key with this id (first 8 bytes of its SHA-256), or -1. */
int agent_release_key(struct agent *a, const uint8_t key_id[8]);
bool agent_release_is_signed(struct agent *a, int key, const void *manifest, size_t len, const uint8_t signature[64]);

/* Reads a manifest, and checks that `parts` covers every component with an artifact for this hardware (exact class
 * before "*"; same hash and size) and that each part is used. NULL and *release filled, or the reason. expires_ms: 0
 * = never. */
const char *agent_release_check(struct agent *a, struct agent_slice manifest, const struct agent_part *parts,
                                unsigned count, struct agent_release *release, int64_t *created_ms,
                                int64_t *expires_ms);

/* What a slot's release is there for: a number in its sealed record. What is sealed for a shadow was never allowed to run,
 * so nothing that looks for a release to boot finds it, even when the state record is lost. */
enum agent_seal { AGENT_SEAL_INSTALL = 1, AGENT_SEAL_SHADOW = 2 };

/* Writes the sealed record into a slot and syncs it. */
bool agent_release_seal(struct agent *a, int slot, enum agent_seal seal, struct agent_slice manifest,
                        const uint8_t signature[64], int key, const struct agent_part *parts, unsigned count);

enum agent_opened { AGENT_OPENED, AGENT_OPEN_DAMAGED, AGENT_OPEN_NO_MEMORY };
/* Reads and checks the sealed record of a slot (purpose, signature by a pinned key, coverage); with `hashes` also every part's
 * stored bytes, however long that takes. release and parts may be NULL. */
enum agent_opened agent_release_open(struct agent *a, int slot, enum agent_seal seal, bool hashes,
                                     struct agent_release *release, struct agent_parts *parts,
                                     uint8_t manifest_hash[AGENT_SHA256_BYTES]);

#endif
