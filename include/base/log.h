/* Structured log lines (logfmt: key=value) to stderr, with journald priority prefixes when stderr is the journal.
 * Only api, net and programs log. */
#ifndef AVIARY_BASE_LOG_H
#define AVIARY_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 };

void log_set_level(enum log_level level);
bool log_parse_level(const char *text, enum log_level *level); /* "error" "warn" "info" "debug" */
/* `event` is a short constant in lower-case words with dots, as "mqtt.connected"; fmt gives key=value pairs. Values
 * that may contain spaces or come from outside go through log_quote. */
void log_event(enum log_level level, const char *event, const char *fmt, ...) AVIARY_PRINTF(3, 4);
/* "text" with quotes, control bytes escaped, cut at 200 bytes; a ring of 8 static buffers, valid until the 8th next
 * call. */
const char *log_quote(const char *text);

#endif
