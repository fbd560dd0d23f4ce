#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"

static const struct {
	enum log_level level;
	const char *name;
} levels[] = {{LOG_ERROR, "error"}, {LOG_WARN, "warn"}, {LOG_INFO, "info"}, {LOG_DEBUG, "debug"}};
enum { LEVELS = sizeof levels / sizeof levels[0] };

static _Atomic int threshold = LOG_INFO;
static bool to_journal;
static pthread_once_t looked = PTHREAD_ONCE_INIT;

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

bool log_parse_level(const char *text, enum log_level *level)
{
	for (int i = 0; i < LEVELS; i++) {
		if (strcmp(levels[i].name, text) != 0) continue;
		*level = levels[i].level;
		return true;
	}
	return false;
}

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream that goes to the journal; it may have been redirected
 * since. */
static void look_for_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat st;
	to_journal = stream && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
	             fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static const char *level_name(enum log_level level)
{
	for (int i = 0; i < LEVELS; i++)
		if (levels[i].level == level) return levels[i].name;
	return "info";
}

/* One line, one write(2): lines of several threads do not mix. */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	char line[2048], when[32];
	const size_t room = sizeof line - 1; /* for the line feed */
	if ((int)level > atomic_load(&threshold)) return;
	pthread_once(&looked, look_for_journal);
	int n;
	if (to_journal) n = snprintf(line, room, "<%d>event=%s", (int)level, event);
	else
		n = snprintf(line, room, "time=%s level=%s event=%s", clock_format(clock_wall_ms(), when, sizeof when),
		             level_name(level), event);
	size_t len = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
	if (fmt[0] != '\0' && len + 1 < room) {
		va_list args;
		line[len++] = ' ';
		va_start(args, fmt);
		n = vsnprintf(line + len, room - len, fmt, args);
		va_end(args);
		if (n > 0) len = (size_t)n < room - len ? len + (size_t)n : room - 1;
	}
	/* What came from outside should have gone through log_quote; one that did not still cannot forge a line. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7F) line[i] = ' ';
	line[len++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, len);
	(void)written; /* there is nobody to tell */
}

/* "text" with quotes; a byte takes at most four. */
const char *log_quote(const char *text)
{
	enum { CUT = 200, RING = 8 };
	static _Thread_local char ring[RING][4 * CUT + 8];
	static _Thread_local unsigned turn;
	char *out = ring[turn++ % RING], *at = out;
	if (text == NULL) text = "";
	*at++ = '"';
	for (size_t i = 0; i < CUT && text[i]; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\') {
			*at++ = '\\';
			*at++ = (char)c;
		} else if (c < 0x20 || c == 0x7F) {
			at += sprintf(at, "\\x%02x", c);
		} else {
			*at++ = (char)c;
		}
	}
	*at++ = '"';
	*at = '\0';
	return out;
}
