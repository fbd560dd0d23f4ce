/* What systemd is told: readiness, status, the watchdog's sign of life (sd_notify(3)). Without systemd all of it does
 * nothing. */
#ifndef AVIARY_NET_NOTIFY_H
#define AVIARY_NET_NOTIFY_H

#include <stdint.h>

#include "base/err.h"

void notify_ready(void);
void notify_reloading(void); /* followed by notify_ready */
void notify_stopping(void);
void notify_status(const char *fmt, ...) AVIARY_PRINTF(1, 2);
void notify_watchdog(void);
/* How often notify_watchdog should be called: half of WatchdogSec; 0 when there is no watchdog. */
int64_t notify_watchdog_interval_ms(void);

#endif
