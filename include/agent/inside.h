/* Short cuts that the modules of libaviary-agent share. Not for hosts. */
#ifndef AVIARY_AGENT_INSIDE_H
#define AVIARY_AGENT_INSIDE_H

#include "agent/agent.h"

#define AGENT_SLOT_NONE AGENT_SLOT_FACTORY /* in agent_record.trial: the factory release is never on trial */

int64_t agent_now_ms(const struct agent *a); /* monotonic */
void agent_tell(struct agent *a, enum agent_event event, const char *detail);
void agent_sha256(struct agent *a, const void *data, size_t len, uint8_t out[AGENT_SHA256_BYTES]);
/* A pause that doubles with `failures` from retry_min_ms to retry_max_ms, then drawn uniformly from its upper half. */
int64_t agent_backoff_ms(struct agent *a, unsigned failures);
/* Copies with a cut at a character's border; out is NUL-terminated. */
void agent_copy(char *out, size_t out_size, const char *text);

#endif
