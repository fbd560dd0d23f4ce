/* Binding of small JSON objects by a table of members, on the pull parser: no tree, no allocation.
 *
 * Nested objects and arrays come out as slices of the text and are bound in turn, so no rule is a callback. Unknown
 * members are ignored (newer servers), a member that occurs twice is refused. It is not for documents that must be
 * refused on unknown members.
 */
#ifndef AVIARY_AGENT_JSON_H
#define AVIARY_AGENT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/jpull.h"

/* Part of a text owned by someone else. */
struct agent_slice {
	const char *text; /* NULL: the member was absent */
	size_t len;
};

enum agent_member_kind {
	AGENT_MEMBER_NAME,  /* char[size], NUL-terminated: letters, digits, "._:-", first a letter or digit */
	AGENT_MEMBER_LABEL, /* char[size], NUL-terminated: printable ASCII without blanks, quotes and backslashes; not empty */
	AGENT_MEMBER_TEXT,  /* struct agent_slice: a string, still escaped, without quotes */
	AGENT_MEMBER_COUNT, /* int64_t, 0 or more */
	AGENT_MEMBER_INT,   /* int64_t */
	AGENT_MEMBER_SHARE, /* uint16_t in 1/10000 of a number from 0 to 1; further digits are cut off */
	AGENT_MEMBER_HEX,   /* uint8_t[size] from exactly 2*size lower-case hex digits */
	AGENT_MEMBER_PATH,  /* char[size], NUL-terminated: printable ASCII that starts with '/' */
	AGENT_MEMBER_OBJECT, /* struct agent_slice: the whole value with its brackets */
	AGENT_MEMBER_ARRAY
};

struct agent_member {
	const char *name;
	enum agent_member_kind kind;
	bool is_required;
	size_t offset, size;
};

/* Binds members of the object in `object` into the zeroed struct at `out`. NULL on success; else the name of the
 * member at fault, or a word for what is wrong with the whole. At most 16 rows. */
const char *agent_json_bind(struct agent_slice object, const struct agent_member *members, size_t count, void *out);

/* Walks an array: open, then items until false; `failed` of the walk tells an error from the end. */
struct agent_items {
	struct jp parser;
	bool failed;
};
void agent_items_open(struct agent_items *items, struct agent_slice array);
/* the item's whole text, strings with quotes */
bool agent_items_next(struct agent_items *items, struct agent_slice *item);

/* Walks an object's members, likewise; names come still escaped. */
struct agent_names {
	struct jp parser;
};
void agent_names_open(struct agent_names *names, struct agent_slice object);
bool agent_names_next(struct agent_names *names, struct agent_slice *name, struct agent_slice *value);

/* [A-Za-z0-9][A-Za-z0-9._:-]{0,max-1} */
bool agent_is_name(const char *text, size_t len, size_t max);
bool agent_slice_equals(struct agent_slice s, const char *text);

#endif
