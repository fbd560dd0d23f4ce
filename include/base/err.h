/* Error codes: one table, one row an error.
 *
 * Every function that can fail returns `enum err` (0 is success) and is marked AVIARY_MUST_CHECK. Where a person will
 * read why, it also fills a `struct fault`: the JSON pointer of the member at fault and a sentence. Lower layers never
 * log; they return.
 */
#ifndef AVIARY_BASE_ERR_H
#define AVIARY_BASE_ERR_H

#define AVIARY_MUST_CHECK __attribute__((warn_unused_result))
#define AVIARY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* X(name, HTTP status, title as RFC 9457 has it: same text for every occurrence) */
#define ERR_TABLE(X)                                                                                                   \
	X(OK, 200, "ok")                                                                                               \
	X(BAD_REQUEST, 400, "malformed request")                                                                       \
	X(UNAUTHORIZED, 401, "authentication required")                                                                \
	X(FORBIDDEN, 403, "not allowed")                                                                               \
	X(NOT_FOUND, 404, "not found")                                                                                 \
	X(METHOD, 405, "method not allowed")                                                                           \
	X(CONFLICT, 409, "conflict with the current state")                                                            \
	X(GONE, 410, "gone")                                                                                           \
	X(PRECONDITION, 412, "precondition failed")                                                                    \
	X(TOO_LARGE, 413, "too large")                                                                                 \
	X(MEDIA_TYPE, 415, "unsupported media type")                                                                   \
	X(RANGE, 416, "range not satisfiable")                                                                         \
	X(INVALID, 422, "invalid value")                                                                               \
	X(PRECONDITION_REQUIRED, 428, "precondition required")                                                         \
	X(TOO_MANY, 429, "too many requests")                                                                          \
	X(INTERNAL, 500, "internal error")                                                                             \
	X(UNAVAILABLE, 503, "temporarily unavailable")                                                                 \
	X(FULL, 503, "storage is full")                                                                                \
	X(TIMEOUT, 504, "deadline passed")

enum err {
#define X(name, status, title) ERR_##name,
	ERR_TABLE(X)
#undef X
	    ERR_COUNT
};

/* Why a call failed. Both texts are NUL-terminated and cut, never overflowed; empty pointer = no single member. */
struct fault {
	char pointer[128];
	char detail[256];
};

int err_http_status(enum err e);
const char *err_title(enum err e);
const char *err_name(enum err e); /* "NOT_FOUND" */

/* Fills `f` (may be NULL) and returns `e`, so that a refusal is one statement: return fault_set(f, ERR_INVALID,
 * "/name", ...). */
enum err fault_set(struct fault *f, enum err e, const char *pointer, const char *fmt, ...) AVIARY_PRINTF(4, 5);
/* Puts `prefix` before the pointer already in `f`: a nested value's fault seen from its parent. */
void fault_prefix(struct fault *f, const char *prefix);

#endif
