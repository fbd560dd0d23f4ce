/* The filter language of lists and groups: FIQL/RSQL as hawkBit has it, parsed, type-checked, evaluated and printed. No
 * SQL here: store/ writes it from the tree.
 *
 *   hardware==esp32s3;attribute.region=in=(eu,us);lastSeen=gt=now-1h
 *
 *   or         = and *( ("," / " or ") and )
 *   and        = constraint *( (";" / " and ") constraint )
 *   constraint = "(" or ")" / selector operator value
 *   operator   = "==" "!=" "<" "<=" ">" ">=" "=lt=" "=le=" "=gt=" "=ge=" "=in=" "=out="
 *   value      = word / 'text' / "text" / "(" value *("," value) ")"    (a list only after =in= and =out=)
 *
 * Texts are compared byte by byte (case matters: indexes are used). In == and != of texts an unescaped * stands for any
 * run of bytes; \* in a quoted text is a star. A device that lacks the field, or one of whose several values (tags)
 * matches: == =in= < and so on mean "some value does"; != and =out= mean "no value does", so they are true where there
 * is none. Times: RFC 3339, milliseconds since 1970, or now, now-1h, now+30m.
 */
#ifndef AVIARY_CORE_RSQL_H
#define AVIARY_CORE_RSQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/names.h"

#define RSQL_TEXT_BYTES 2048
#define RSQL_NODES 64
#define RSQL_VALUES 256 /* of the whole filter */
#define RSQL_DEPTH 16   /* of parentheses */
#define RSQL_WILDCARD '\x01' /* stands for an unescaped * in rsql_value.text; cannot come from input */

enum rsql_type { RSQL_TEXT, RSQL_NUMBER, RSQL_TIME, RSQL_BOOL };

/* What may be asked. Ends of tables are given by count. */
struct rsql_field {
	const char *name;    /* "hardware"; with is_prefix: "attribute.", the rest of the selector is the key */
	bool is_prefix;
	enum rsql_type type;
	int column; /* the caller's own number */
};

/* Canonical operators; the aliases are folded: X(NAME, canonical text) */
#define RSQL_OP_TABLE(X)                                                                                               \
	X(EQ, "==")                                                                                                    \
	X(NE, "!=")                                                                                                    \
	X(LT, "=lt=")                                                                                                  \
	X(LE, "=le=")                                                                                                  \
	X(GT, "=gt=")                                                                                                  \
	X(GE, "=ge=")                                                                                                  \
	X(IN, "=in=")                                                                                                  \
	X(OUT, "=out=")                                                                                                \
	X(AND, ";")                                                                                                    \
	X(OR, ",")

enum rsql_op {
#define X(name, text) RSQL_##name,
	RSQL_OP_TABLE(X)
#undef X
	    RSQL_OP_COUNT
};

struct rsql_value {
	const char *text; /* decoded, NUL-terminated, UTF-8, in the tree's own memory; wildcards as RSQL_WILDCARD */
	size_t len;
	bool is_pattern;  /* has at least one wildcard: only for == and != of a text field */
	double number;    /* RSQL_NUMBER */
	int64_t time_ms;  /* RSQL_TIME */
	bool boolean;     /* RSQL_BOOL */
};

struct rsql_node {
	enum rsql_op op;
	/* RSQL_AND, RSQL_OR: at least two children, a list through `next`; never a child of the same op */
	int16_t first; /* index into nodes, -1 = none */
	int16_t next;  /* next sibling, -1 = none */
	/* comparisons */
	const struct rsql_field *field;
	struct slice key;        /* the selector's rest after a prefix, else empty; in the tree's memory, with NUL */
	uint16_t value_first;    /* index into values */
	uint16_t value_count;    /* 1, or 1.. for IN and OUT */
};

/* A parsed filter: fixed memory of the caller (about 20 KiB). Holds pointers into itself: do not copy. */
struct rsql {
	struct rsql_node nodes[RSQL_NODES];
	struct rsql_value values[RSQL_VALUES];
	uint16_t node_count, value_count;
	int16_t root;
	size_t pool_used;
	char pool[2 * RSQL_TEXT_BYTES + 2];
};

struct rsql_error {
	size_t at;         /* byte offset in the text */
	char message[192]; /* what was expected there, and what was found */
};

/* `fields` must outlive the tree. ERR_TOO_LARGE above the limits, else ERR_INVALID; `e` may be NULL. now_ms is for
 * relative times. */
AVIARY_MUST_CHECK enum err rsql_parse(struct rsql *q, const char *text, const struct rsql_field *fields,
                                      size_t field_count, int64_t now_ms, struct rsql_error *e);

/* One value of a field, as the evaluator asks for it. */
struct rsql_operand {
	struct slice text;
	double number;
	int64_t time_ms;
	bool boolean;
};
/* The index-th value (from 0) of a field of the thing at `context`; false when there is none. `key` is empty unless the
 * field is a prefix. */
struct rsql_subject {
	bool (*get)(const void *context, const struct rsql_field *field, struct slice key, unsigned index,
	            struct rsql_operand *out);
	const void *context;
};
bool rsql_matches(const struct rsql *q, const struct rsql_subject *subject);

/* Canonical text: ; and , as connectors, long operators, quotes only where needed, no needless parentheses. Parsing it
 * gives the same tree. Returns its length, or -1 when it does not fit (RSQL_PRINT_BYTES always does). */
#define RSQL_PRINT_BYTES (3 * RSQL_TEXT_BYTES + 1)
int rsql_print(const struct rsql *q, char *out, size_t out_size);
/* The text of a pattern for SQL's LIKE ... ESCAPE '\': % for wildcards, % _ and \ escaped. Returns its length or -1. */
int rsql_like(const struct rsql_value *v, char *out, size_t out_size);
/* Does the text match the pattern (RSQL_WILDCARD = any run of bytes)? Linear time in practice: no recursion, one
 * backtrack point. */
bool rsql_glob(const char *pattern, size_t pattern_len, const char *text, size_t text_len);
const char *rsql_op_text(enum rsql_op op);

#endif
