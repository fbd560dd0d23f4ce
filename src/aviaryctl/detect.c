/* aviaryctl detect: scores a recorded series by the code that the server scores with. Causal: a row is written before
 * the next is read, and a recording that is cut has the same scores up to the cut.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/novelty.h"
#include "output.h"
#include "rest.h"

static enum result detect(struct ctl *c);

static const struct command_option options[] = {
	{.name = "compact", .kind = OPTION_FLAG, .help = "the form of 56 bytes a series: no seasons"},
	{.name = "age-after", .kind = OPTION_INT, .value = "N", .help = "halve what was learned every N samples (never)"},
	{.name = NULL},
};
static const struct command commands[] = {
	{.help = "read CSV timestamp,value and write timestamp,value,anomaly_score, on standard input and output",
	 .options = options, .run = detect},
	{.help = NULL},
};
extern const struct command_group group_detect;
const struct command_group group_detect = {"detect", "score a recorded series offline", commands};

struct series {
	bool is_compact;
	struct novelty_pace pace;
	struct novelty_compact compact;
	struct novelty_full full;
	unsigned long line, refused;
};

/* "2014-04-01 13:05:00", "2014-04-01T13:05:00Z", or seconds or milliseconds since 1970: the hour of the day. */
static bool hour_of(const char *text, unsigned *hour)
{
	int year, month, day, h;
	char separator;
	if (sscanf(text, "%4d-%2d-%2d%c%2d", &year, &month, &day, &separator, &h) == 5 && (separator == ' ' || separator == 'T')
	    && h >= 0 && h < 24) {
		*hour = (unsigned)h;
		return true;
	}
	char *end;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < 0)
		return false;
	*hour = (unsigned)((n > 100000000000 ? n / 1000 : n) / 3600 % NOVELTY_HOURS);
	return true;
}

static enum result refuse(const struct series *s, const char *why)
{
	char text[160];
	snprintf(text, sizeof text, "line %lu: %s", s->line, why);
	return complain(RESULT_LOCAL, "%s", text);
}

/* One row, without its end of line. What cannot be a value is told and scored 0: a recording is scored to its end. */
static enum result score_row(struct series *s, char *row)
{
	char *comma = strchr(row, ',');
	unsigned hour;
	if (comma == NULL || strchr(comma + 1, ',') != NULL)
		return refuse(s, "two columns are wanted: timestamp,value");
	*comma = '\0';
	if (!hour_of(row, &hour))
		return refuse(s, "not a timestamp: YYYY-MM-DD HH:MM:SS, or seconds or milliseconds since 1970");
	char *end;
	float x = strtof(comma + 1, &end);
	if (end == comma + 1 || *end != '\0')
		return refuse(s, "not a number");
	struct novelty_result r = s->is_compact ? novelty_update_compact(&s->compact, x, s->pace)
	                                        : novelty_update_full(&s->full, x, hour, s->pace);
	s->refused += r.is_refused;
	printf("%s,%s,%.9g\n", row, comma + 1, (double)r.score);
	return RESULT_OK;
}

static enum result detect(struct ctl *c)
{
	struct series s = {.is_compact = option_given(c, "compact"), .pace = {.elapsed = 1}};
	char *row = NULL;
	size_t room = 0;
	enum result r = RESULT_OK;
	s.pace.n_max = (uint32_t)option_int(c, "age-after", 0);
	for (ssize_t len; r == RESULT_OK && (len = getline(&row, &room, stdin)) >= 0;) {
		s.line++;
		while (len > 0 && (row[len - 1] == '\n' || row[len - 1] == '\r'))
			row[--len] = '\0';
		if (s.line == 1 && strcmp(row, "timestamp,value") == 0)
			puts("timestamp,value,anomaly_score");
		else if (len > 0)
			r = score_row(&s, row);
	}
	free(row);
	if (s.refused > 0)
		fprintf(stderr, "aviaryctl: %lu values are not finite and were not learned\n", s.refused);
	return output_flush(r);
}
