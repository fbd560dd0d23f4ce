/* JSON documents: parse (cJSON underneath, seen nowhere else), walk, and bind to C structures by a field table.
 *
 * One field table parses, refuses and documents: the same rows feed json_bind, json_encode and the OpenAPI writer.
 */
#ifndef AVIARY_BASE_JSON_H
#define AVIARY_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct json; /* a node; owned by its document's root */

/* Strict: one value, valid UTF-8 (no embedded NUL), nesting at most 32, no duplicate keys, no trailing text, numbers
 * finite. On failure ERR_BAD_REQUEST with the byte offset in the detail. Free the root with json_free. */
AVIARY_MUST_CHECK enum err json_parse(const char *text, size_t len, struct json **root, struct fault *f);
void json_free(struct json *root);

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
enum json_type json_type(const struct json *j);
const struct json *json_get(const struct json *object, const char *key); /* NULL when absent or not an object */
const struct json *json_first(const struct json *container);             /* first child or NULL */
const struct json *json_next(const struct json *child);
size_t json_count(const struct json *container);
const char *json_name(const struct json *member);  /* key of an object member */
const char *json_text(const struct json *string);  /* NULL when not a string */
double json_number(const struct json *number);     /* 0 when not a number */
bool json_is_true(const struct json *boolean);
bool json_is_integer(const struct json *number, int64_t *value); /* exact integer within +-2^53 */
void json_print(const struct json *j, struct buf *out);          /* compact */
/* keys sorted by byte value: equal documents, equal bytes */
void json_print_canonical(const struct json *j, struct buf *out);

enum field_type {
	FIELD_STR,     /* const char *          min/max: length in bytes */
	FIELD_INT,     /* int64_t               min/max: value */
	FIELD_NUM,     /* double                min/max: value */
	FIELD_BOOL,    /* bool */
	FIELD_ENUM,    /* const char *          one of `choices`, space separated */
	FIELD_STRS,    /* struct json_strs      min/max: count; each at most 256 bytes */
	FIELD_OBJECT,  /* nested struct in place (`fields`) */
	FIELD_OBJECTS, /* struct json_objects   array of nested structs of `item_bytes` */
	FIELD_DOC,     /* const char *          any JSON object, kept as compact text; max: bytes of the text */
	FIELD_ANY      /* const char *          any JSON value, kept as compact text */
};

struct json_strs {
	const char **items;
	size_t count;
};
struct json_objects {
	void *items;
	size_t count;
};

enum {
	FIELD_REQUIRED = 1, /* in a request */
	FIELD_READONLY = 2, /* only in replies: refused in requests */
	FIELD_NULLABLE = 4, /* null is accepted and read as absent; in a reply: it may be null */
	FIELD_WRITEONLY = 8, /* never encoded */
	/* not encoded when 0, false, empty or NULL; strings and documents are always left out when NULL */
	FIELD_OMIT_ZERO = 16
};

struct field {
	const char *name;
	enum field_type type;
	size_t offset;        /* of the member in the bound struct */
	/* of a bool that is set when the member was in the document; 0 = none (so never put it first) */
	size_t present_offset;
	double min, max;      /* both 0: unbounded, but for FIELD_STR then 0..1024 */
	unsigned flags;
	const char *choices;
	const struct field *fields; /* ends with a row without name */
	size_t item_bytes;
	const char *doc; /* one sentence for OpenAPI */
};

/* Binds an object; unknown members are refused with their pointer, as are wrong types, bounds, missing required
 * members. Texts are copied into the arena. `out` must be zeroed by the caller (defaults may be set before). */
AVIARY_MUST_CHECK enum err json_bind(const struct field *fields, const struct json *object, void *out, struct arena *a,
                                     struct fault *f);
/* Encodes a struct as an object by the same table. */
void json_encode(const struct field *fields, const void *in, struct buf *out);
/* JSON Schema (2020-12) of the table, for OpenAPI. `reply`: with read-only members and without required marks of
 * requests. */
void json_schema(const struct field *fields, bool reply, struct buf *out);

#endif
