/* MQTT in: the topics of docs/protocol.md, dispatched from one table to service/ingest.h, and the telemetry writer's
 * worker.
 *
 * Acknowledgements are held: those of telemetry until its batch is durable, those of commands until the tick's commit.
 * The client has a fixed id and a persistent session, so what was not acknowledged comes again after a crash.
 */
#ifndef AVIARY_API_TOPICS_H
#define AVIARY_API_TOPICS_H

#include "base/err.h"
#include "net/mqtt.h"
#include "service/call.h"

struct loop;
struct topics;

/* `config` names broker, client id and credentials; session, held acknowledgements and subscriptions are set here. */
AVIARY_MUST_CHECK enum err topics_open(struct services *s, struct loop *loop, const struct mqtt_config *config,
	struct topics **out, struct fault *f);
void topics_start(struct topics *t);
/* The tick, after COMMIT: seals a batch that is due, settles one that was written, lets acknowledgements go that may
 * go. */
void topics_after_commit(struct topics *t);
/* COMMIT failed: what was received since the last one must come again. */
void topics_commit_failed(struct topics *t);
/* Shutdown: reads nothing more, writes what is open, acknowledges it, disconnects. Runs the loop meanwhile. */
void topics_stop(struct topics *t);
void topics_close(struct topics *t); /* NULL is allowed */

#endif
