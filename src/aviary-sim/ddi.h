/* A simulated device that speaks hawkBit's DDI over HTTP in place of our agent's protocol: it polls, tells its attributes, downloads, installs, restarts
 * and gives feedback as clients in the field do. Its telemetry goes over MQTT, as that of all simulated devices.
 *
 * What it is not: one of the real clients (tests/harness/swupdate.py runs one), nor a checker of the server's replies.
 */
#ifndef AVIARY_SIM_DDI_H
#define AVIARY_SIM_DDI_H

#include <stdbool.h>

struct ddi;
struct device;

struct ddi *ddi_new(struct device *d);
void ddi_free(struct ddi *x); /* NULL is allowed */
void ddi_start(struct ddi *x); /* is registered where that is asked for, then polls */
/* It starts again, on purpose or after a power cut. What it wrote stays; what it was doing is begun anew. */
void ddi_boot(struct ddi *x);
void ddi_stop(struct ddi *x); /* for ever */
void ddi_on_mqtt(struct ddi *x); /* MQTT is connected */
bool ddi_is_answered(const struct ddi *x); /* the server knows it */
const char *ddi_release(const struct ddi *x); /* what runs; devices are not told names of releases, so it is model-version after the first update */
const char *ddi_model(const struct ddi *x, const char **version); /* NULL: none */
const char *ddi_state_name(const struct ddi *x);

#endif
