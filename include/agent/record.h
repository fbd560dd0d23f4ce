/* The persistent state record: two alternating copies, each with a sequence number and a hash over itself.
 *
 * A save goes to the copy that is not the newest good one, so a cut in the middle leaves the other: the record
 * changes from one whole state to the next whole state. It is the one place that decides what boots.
 */
#ifndef AVIARY_AGENT_RECORD_H
#define AVIARY_AGENT_RECORD_H

#include "agent/agent.h"

/* Takes the newest valid copy; without one the record of a factory-fresh device, and has_record is false. */
void agent_record_load(struct agent *a);
/* Durable when true. When false the old record still counts (or, where the medium lied, the new one does: both are
 * consistent). */
bool agent_record_save(struct agent *a);

#endif
