/* Commands as tables: a row says a command's name, words, options, help and what runs it; the parser, the help, the
 * manual page and shell completion all come from these rows.
 *
 * Most commands are one request: such a row names method and path, its options name the query parameter or the
 * member of the body that they fill, and its run function is one of rest.h.
 */
#ifndef AVIARYCTL_COMMAND_H
#define AVIARYCTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

/* X(name, code, meaning) */
#define RESULT_TABLE(X)                                                                                                \
	X(OK, 0, "done")                                                                                                   \
	X(REFUSED, 1, "the server refused the request or could not serve it")                                              \
	X(USAGE, 2, "wrong arguments or a wrong configuration file; nothing was sent")                                     \
	X(CONNECTION, 3, "no connection to the server, or it was cut")                                                     \
	X(NOT_FOUND, 4, "there is no such resource")                                                                       \
	X(UNDONE, 5, "a watched rollout ended reverted or stopped")                                                        \
	X(LOCAL, 6, "a check on this machine failed, or a local file could not be read or written")                        \
	X(TIMEOUT, 7, "what was waited for did not happen within --timeout")

enum result {
#define X(name, code, meaning) RESULT_##name = code,
	RESULT_TABLE(X)
#undef X
};

enum option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_INT,
	OPTION_NUM,
	OPTION_DURATION, /* 30s, 15m, 24h: milliseconds */
	OPTION_TIME,     /* RFC 3339, milliseconds since 1970, or -1h for an hour ago: milliseconds since 1970 */
	OPTION_DOC,      /* JSON: text, @FILE, or - for standard input */
	OPTION_TEXTS,    /* may be repeated: an array of texts */
	OPTION_PAIRS,    /* NAME=VALUE, may be repeated: an object; an empty value is null where the row says so */
	OPTION_EACH      /* may be repeated: an array of what `put` writes */
};
enum option_use { USE_HERE, USE_QUERY, USE_BODY };

struct command_option {
	const char *name;   /* without dashes */
	enum option_kind kind;
	const char *value;  /* placeholder in the help; NULL for flags */
	enum option_use use;
	const char *member; /* query parameter, or path in the body as judge.alpha; NULL: the name with _ for - */
	const char *help;
	const char *choices; /* separated by spaces; NULL: free */
	bool (*put)(struct buf *out, const char *text, struct fault *f); /* OPTION_EACH */
	bool empty_is_null;
};

struct ctl;
struct column;

struct command {
	const char *name;  /* NULL: the group's name alone */
	const char *args;  /* "MODEL VERSION", "[FILE]", "DEVICE..." */
	const char *help;
	const struct command_option *options; /* ends with a row without name; NULL: none */
	enum result (*run)(struct ctl *c);
	const char *method, *path;    /* "/devices/{}": the words in order */
	const char *word_member;      /* member of the body for the word after those of the path; NULL: none */
	const struct column *columns; /* of a list */
	const char *done;             /* said to people after success: "device {} is deleted"; NULL: the answer is shown */
};

struct command_group {
	const char *name;
	const char *help;
	const struct command *commands; /* ends with a row without help */
};
extern const struct command_group *const command_groups[]; /* ends with NULL */
extern const struct command_option global_options[];

#define COMMAND_WORDS_MAX 256
#define COMMAND_OPTIONS_MAX 512

struct given_option {
	const struct command_option *row;
	const char *text; /* NULL for flags */
};

struct settings {
	char *url, *token, *ca_file;
	int64_t timeout_ms;
	bool json, quiet;
	enum { COLOUR_AUTO, COLOUR_ALWAYS, COLOUR_NEVER } colour;
};

struct client;

/* One run of the program. */
struct ctl {
	const struct command_group *group;
	const struct command *command;
	const char *words[COMMAND_WORDS_MAX];
	size_t word_count;
	struct given_option given[COMMAND_OPTIONS_MAX];
	size_t given_count;
	struct settings settings;
	struct client *client; /* made when it is first needed */
};

/* Words and options of argv into c. On RESULT_USAGE it has said why. `--help` and `--version` are found as options. */
enum result command_parse(struct ctl *c, int argc, char **argv);
const struct command_group *command_find_group(const char *name);
const struct command *command_find(const struct command_group *g, const char *name); /* NULL name: the group's own */

/* What was given. Values were checked by command_parse. */
bool option_given(const struct ctl *c, const char *name);
const char *option_text(const struct ctl *c, const char *name); /* NULL when absent */
const char *option_text_at(const struct ctl *c, const char *name, size_t at);
	/* of a repeated one; NULL after the last */
int64_t option_int(const struct ctl *c, const char *name, int64_t otherwise); /* also durations and times */
double option_num(const struct ctl *c, const char *name, double otherwise);
const char *command_word(const struct ctl *c, size_t at); /* NULL when there are fewer */

/* The query of all USE_QUERY options ("?filter=..." or nothing) and the body of all USE_BODY options (an object,
 * over `base`, which may be NULL). RESULT_LOCAL or RESULT_USAGE where a document cannot be read. */
void option_query(const struct ctl *c, struct buf *out);
enum result option_body(const struct ctl *c, const char *base, struct buf *out);
/* Reads @FILE, -, or the text itself. */
enum result option_document(const char *text, struct buf *out);
void percent_encode(struct buf *out, const char *text);
/* RFC 7396 without its nulls: members of `over` replace those of `under`, objects are merged. */
void json_write_merged(struct buf *out, const struct json *under, const struct json *over);

/* "aviaryctl: ..." on standard error; returns `result`, so that a refusal is one statement. */
enum result complain(enum result result, const char *fmt, ...) AVIARY_PRINTF(2, 3);

#endif
