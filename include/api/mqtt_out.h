/* What leaves for devices over MQTT: the outbox, drained after each commit through a client of its own, so that nothing
 * here waits for the held acknowledgements of the ingest client.
 *
 * A device's message is made from the database when it is sent. What the broker did not acknowledge is sent again after
 * a reconnect, as its rev is above the one that is noted as sent.
 */
#ifndef AVIARY_API_MQTT_OUT_H
#define AVIARY_API_MQTT_OUT_H

#include "base/err.h"
#include "net/mqtt.h"
#include "service/call.h"

struct mqtt_out;
struct loop;

/* `config` names broker and credentials; client id, session and limits are set here. Does not connect before
 * mqtt_out_start. */
AVIARY_MUST_CHECK enum err mqtt_out_open(struct services *s, struct loop *loop, const struct mqtt_config *config,
	struct mqtt_out **out, struct fault *f);
void mqtt_out_close(struct mqtt_out *m); /* NULL is allowed */
void mqtt_out_start(struct mqtt_out *m);
void mqtt_out_drain(struct mqtt_out *m); /* after a commit: as much as may be in flight */
bool mqtt_out_is_idle(const struct mqtt_out *m); /* nothing in flight, nothing waiting that could be sent now */

#endif
