/* What a rule says of its alerts: templates of summary and description, filled with what the alert is. Not here: what receivers make of it
 * (service/notify.h). */
#ifndef AVIARY_SERVICE_ALERT_TEXTS_H
#define AVIARY_SERVICE_ALERT_TEXTS_H

#include "base/arena.h"
#include "base/err.h"

struct alert_row;      /* store/alert_store.h */
struct alert_rule_row;

#define ALERT_SUMMARY_TEMPLATE 512      /* bytes */
#define ALERT_DESCRIPTION_TEMPLATE 2048
#define ALERT_SUMMARY_BYTES 1024        /* when filled; what is longer is cut */
#define ALERT_DESCRIPTION_BYTES 4096

/* ERR_INVALID at /summary or /description. */
AVIARY_MUST_CHECK enum err alert_texts_check(const char *summary, const char *description, struct fault *f);
/* row->summary is the kind's own words before, and {{summary}}. A rule without templates changes nothing. */
void alert_texts_fill(struct arena *a, const struct alert_rule_row *r, struct alert_row *row);

#endif
