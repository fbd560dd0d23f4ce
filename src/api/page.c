/* What handlers ask of a request beyond its bound body: query parameters, ids, If-Match, pages and their cursors. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/state.h"
#include "base/crypto.h"
#include "base/str.h"
#include "net/http.h"

#define LIMIT_MAX 1000
#define LIMIT_DEFAULT 100
#define CURSOR_MAX 1024 /* characters; a sort key may be inside */

static const char *query_of(const struct api_request *rq, const char *name)
{
	return rq->http != NULL ? http_query(rq->http, name) : NULL;
}

const char *api_query(const struct api_request *rq, const char *name)
{
	return query_of(rq, name);
}

static bool parse_int(const char *text, int64_t *value)
{
	char *end;
	size_t digits = text[0] == '-';
	if (text[digits] < '0' || text[digits] > '9') /* strtoll would take blanks and '+' */
		return false;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	if (*end != '\0' || errno != 0)
		return false;
	*value = v;
	return true;
}

enum err api_query_int(struct api_request *rq, const char *name, int64_t min, int64_t max, int64_t *value)
{
	const char *text = query_of(rq, name);
	int64_t v;
	if (text == NULL)
		return ERR_OK;
	if (!parse_int(text, &v) || v < min || v > max)
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "",
			"query parameter %s: an integer from %lld to %lld is wanted", name, (long long)min,
		                 (long long)max);
	*value = v;
	return ERR_OK;
}

enum err api_query_bool(struct api_request *rq, const char *name, bool *value)
{
	const char *text = query_of(rq, name);
	if (text == NULL)
		return ERR_OK;
	*value = strcmp(text, "true") == 0;
	if (!*value && strcmp(text, "false") != 0)
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter %s: true or false is wanted", name);
	return ERR_OK;
}

enum err api_param_id(struct api_request *rq, size_t at, int64_t *id)
{
	assert(at < ROUTE_MAX_PARAMS && rq->param[at] != NULL);
	if (!parse_int(rq->param[at], id) || *id < 1)
		return fault_set(rq->call.fault, ERR_NOT_FOUND, "", "no such id");
	return ERR_OK;
}

/* One entity tag of a list: "*", or "<revision>". Weak ones never match (RFC 9110, 13.1.1). */
static bool tag_matches(const char *tag, size_t len, const char *wanted)
{
	return (len == 1 && tag[0] == '*') || (len == strlen(wanted) && memcmp(tag, wanted, len) == 0);
}

static bool tags_match(const char *list, const char *wanted)
{
	while (*list != '\0') {
		list += strspn(list, " \t,");
		size_t len = strcspn(list, " \t,");
		if (len > 0 && tag_matches(list, len, wanted))
			return true;
		list += len;
	}
	return false;
}

enum err api_if_match(struct api_request *rq, int64_t revision)
{
	const char *list = rq->http != NULL ? http_header(rq->http, "If-Match") : NULL;
	if (list == NULL || tags_match(list, arena_printf(rq->call.arena, "\"%lld\"", (long long)revision)))
		return ERR_OK;
	return fault_set(rq->call.fault, ERR_PRECONDITION, "", "it was changed meanwhile: the revision is \"%lld\"",
		(long long)revision);
}

/* ---- cursors: base64url of the list's path, a blank, the service's text ---- */

static void to_url_alphabet(char *text)
{
	for (; *text != '\0' && *text != '='; text++)
		*text = *text == '+' ? '-' : *text == '/' ? '_' : *text;
	*text = '\0';
}

const char *api_cursor_of_text(struct api_request *rq, const char *text)
{
	if (text == NULL)
		return NULL;
	const char *plain = arena_printf(rq->call.arena, "%s %s", rq->route->path, text);
	size_t len = strlen(plain);
	char *out = arena_alloc(rq->call.arena, base64_encoded_len(len) + 1);
	base64_encode(plain, len, out);
	to_url_alphabet(out);
	return out;
}

static const char *decode_cursor(struct api_request *rq, const char *text)
{
	size_t len = strlen(text), plain_len;
	if (len == 0 || len > CURSOR_MAX)
		return NULL;
	char *padded = arena_alloc(rq->call.arena, len + 4);
	memcpy(padded, text, len);
	for (size_t i = 0; i < len; i++) {
		if (padded[i] == '+' || padded[i] == '/' || padded[i] == '=')
			return NULL;
		padded[i] = padded[i] == '-' ? '+' : padded[i] == '_' ? '/' : padded[i];
	}
	while (len % 4 != 0)
		padded[len++] = '=';
	uint8_t *plain = arena_alloc(rq->call.arena, len + 1);
	if (!base64_decode(padded, len, plain, len, &plain_len) || !str_is_utf8((char *)plain, plain_len))
		return NULL;
	plain[plain_len] = '\0';
	size_t path_len = strlen(rq->route->path);
	if (!str_starts((char *)plain, rq->route->path) || plain[path_len] != ' ')
		return NULL;
	return (char *)plain + path_len + 1;
}

enum err api_query_cursor(struct api_request *rq, const char **text)
{
	const char *cursor = query_of(rq, "cursor");
	*text = cursor != NULL ? decode_cursor(rq, cursor) : NULL;
	if (cursor != NULL && *text == NULL)
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "",
			"query parameter cursor: it was not given out by this list");
	return ERR_OK;
}

const char *api_cursor_of(struct api_request *rq, int64_t last_id)
{
	return last_id > 0 ? api_cursor_of_text(rq, arena_printf(rq->call.arena, "%lld", (long long)last_id)) : NULL;
}

enum err api_query_page(struct api_request *rq, int64_t *limit, int64_t *after)
{
	const char *text;
	*limit = LIMIT_DEFAULT;
	*after = 0;
	enum err e = api_query_int(rq, "limit", 1, LIMIT_MAX, limit);
	if (e == ERR_OK)
		e = api_query_cursor(rq, &text);
	if (e != ERR_OK || text == NULL)
		return e;
	if (!parse_int(text, after) || *after < 1)
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "",
			"query parameter cursor: it was not given out by this list");
	return ERR_OK;
}

/* ---- pages ---- */

void api_list_open(struct api_request *rq)
{
	json_open_object(&rq->out);
	json_key(&rq->out, "items");
	json_open_array(&rq->out);
}

void api_list_close(struct api_request *rq, const char *next_cursor, int64_t total)
{
	json_close_array(&rq->out);
	if (next_cursor != NULL)
		json_str(&rq->out, "next", next_cursor);
	if (total >= 0)
		json_int(&rq->out, "total", total);
	json_close_object(&rq->out);
}
