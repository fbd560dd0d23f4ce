/* Does a device run the model that was released? What it says of its models' bytes (running.hashes in docs/protocol.md) against the artifacts
 * of the release that it says it runs. No health check has to be declared for it, and detection may be off.
 *
 * Not here: whether the release is the one that the device should run (rollouts), whether stored bytes have rotted (health checks).
 */
#ifndef AVIARY_SERVICE_RUNNING_HASH_H
#define AVIARY_SERVICE_RUNNING_HASH_H

#include "base/err.h"
#include "service/call.h"

struct device_report; /* core/report.h */
struct device_state;

/* What the device said before a report is applied, in the arena; NULL when nobody will ask. */
AVIARY_MUST_CHECK enum err running_hash_before(struct call *c, const struct device_state *d, const struct device_report *r, const char **before);
/* A new report was applied: another hash than the manifest's is an alert at once, model_hash_mismatch of devices/<id>, critical; the right one
 * after another resolves it. In the running unit of work. Releases and models that the server does not know are nobody's business. */
AVIARY_MUST_CHECK enum err running_hash_check(struct call *c, const struct device_state *d, const struct device_report *r, const char *before);

#endif
