/* hawkBit's Management API: what its resources share. */
#include "api/mgmt.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/state.h"
#include "base/crypto.h"
#include "base/str.h"
#include "net/http.h"
#include "service/access.h"
#include "service/settings.h"

#define CLASS_PREFIX "org.eclipse.hawkbit."
#define BASIC_MAX 512       /* of "user:password" */
#define QUERY_MAX (RSQL_TEXT_BYTES)

struct refusal {
	int status;
	const char *code, *class;
};
static const struct refusal refusals[MGMT_ERRORS] = {
#define X(name, status, code, class) [MGMT_##name] = {status, code, CLASS_PREFIX class},
	MGMT_ERROR_TABLE(X)
#undef X
};

/* ---- who ---- */

bool mgmt_is_path(const char *path)
{
	return str_starts(path, "/rest/") || strcmp(path, "/rest") == 0;
}

/* [mgmt] basic: "user:sha256 of the password in hex". */
static bool is_configured_user(const struct api_options *options, const char *user, size_t user_len, const char *password, struct principal *who)
{
	const char *wanted = options->mgmt_basic, *colon = wanted != NULL ? strrchr(wanted, ':') : NULL;
	uint8_t digest[SHA256_BYTES], configured[SHA256_BYTES];
	if (colon == NULL || !hex_decode(colon + 1, strlen(colon + 1), configured, sizeof configured))
		return false;
	crypto_sha256(password, strlen(password), digest);
	bool is_right = crypto_equal(digest, configured, sizeof digest);
	if (!is_right || user_len != (size_t)(colon - wanted) || memcmp(user, wanted, user_len) != 0)
		return false;
	*who = (struct principal){.role = access_role(options->mgmt_role)};
	snprintf(who->name, sizeof who->name, "%.*s", (int)(user_len < sizeof who->name - 1 ? user_len : sizeof who->name - 1), user);
	return true;
}

static bool check_basic(struct api_request *rq, const char *encoded, struct principal *who)
{
	char text[BASIC_MAX + 1];
	size_t len;
	if (!base64_decode(encoded, strlen(encoded), (uint8_t *)text, BASIC_MAX, &len) || memchr(text, '\0', len) != NULL)
		return false;
	text[len] = '\0';
	char *colon = strchr(text, ':');
	if (colon == NULL)
		return false;
	const char *password = colon + 1;
	return access_authenticate(rq->call.s->access, password, strlen(password), rq->call.now_ms, who) ||
		is_configured_user(rq->api->options, text, (size_t)(colon - text), password, who);
}

enum err mgmt_authenticate(struct api_request *rq, struct principal *who)
{
	const char *header = http_header(rq->http, "Authorization");
	bool ok = false;
	if (header != NULL && strncasecmp(header, "Basic ", 6) == 0)
		ok = check_basic(rq, header + 6 + strspn(header + 6, " "), who);
	else if (header != NULL && strncasecmp(header, "Bearer ", 7) == 0)
		ok = access_authenticate(rq->call.s->access, header + 7, strlen(header + 7), rq->call.now_ms, who);
	if (!ok)
		return fault_set(rq->call.fault, ERR_UNAUTHORIZED, "", "Basic authentication is wanted: any user with a token of the API as the password");
	if (who->role < rq->route->role)
		return fault_set(rq->call.fault, ERR_FORBIDDEN, "", "Insufficient Permission: the role %s is wanted, this user has %s",
			access_role_name(rq->route->role), access_role_name(who->role));
	return ERR_OK;
}

/* ---- refusing ---- */

static enum mgmt_error by_err(enum err e)
{
	switch (e) {
	case ERR_BAD_REQUEST:
		return MGMT_NOT_READABLE;
	case ERR_INVALID:
		return MGMT_CONSTRAINT;
	case ERR_NOT_FOUND:
		return MGMT_NOT_FOUND;
	case ERR_CONFLICT:
		return MGMT_EXISTS;
	case ERR_FORBIDDEN:
		return MGMT_FORBIDDEN;
	case ERR_METHOD:
		return MGMT_METHOD;
	case ERR_TOO_MANY:
		return MGMT_QUOTA;
	case ERR_TOO_LARGE:
		return MGMT_FILE_SIZE;
	case ERR_MEDIA_TYPE:
		return MGMT_MEDIA_TYPE;
	case ERR_GONE:
		return MGMT_BINARY_DELETED;
	default:
		return MGMT_GENERIC;
	}
}

int mgmt_problem(struct api_request *rq, enum err e, struct buf *out)
{
	enum mgmt_error which = rq->mgmt_error != MGMT_BY_ERR ? (enum mgmt_error)rq->mgmt_error : by_err(e);
	const struct refusal *r = &refusals[which];
	if (e == ERR_UNAUTHORIZED) {
		http_set_header(rq->http, "WWW-Authenticate", "Basic realm=\"hawkBit\"");
		return 401;
	}
	json_open_object(out);
	json_str(out, "exceptionClass", r->class);
	json_str(out, "errorCode", r->code);
	json_str(out, "message", rq->call.fault->detail[0] != '\0' ? rq->call.fault->detail : err_title(e));
	json_close_object(out);
	return which == MGMT_GENERIC ? err_http_status(e) : r->status;
}

enum err mgmt_refuse(struct api_request *rq, enum mgmt_error which, enum err e, const char *fmt, ...)
{
	char text[sizeof rq->call.fault->detail];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	rq->mgmt_error = which;
	return fault_set(rq->call.fault, e, "", "%s", text);
}

enum err mgmt_refuse_as(struct api_request *rq, enum mgmt_error which, enum err e)
{
	rq->mgmt_error = which;
	return e;
}

enum err mgmt_no_such(struct api_request *rq, const char *what, const char *id)
{
	return mgmt_refuse(rq, MGMT_NOT_FOUND, ERR_NOT_FOUND, "%s with given identifier {%.80s} does not exist.", what, id);
}

/* ---- bodies ---- */

enum err mgmt_items(struct api_request *rq, const struct json **first, size_t *count)
{
	*first = NULL;
	*count = 0;
	bool is_list = rq->json != NULL && json_type(rq->json) == JSON_ARRAY;
	if (!is_list && (rq->json == NULL || json_type(rq->json) != JSON_OBJECT))
		return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "an array of objects is wanted as the body");
	*first = is_list ? json_first(rq->json) : rq->json;
	for (const struct json *j = *first; j != NULL; j = is_list ? json_next(j) : NULL) {
		if (json_type(j) != JSON_OBJECT)
			return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "item %zu of the body is no object", *count);
		++*count;
	}
	return ERR_OK;
}

enum err mgmt_object(struct api_request *rq, const struct json **object)
{
	*object = rq->json;
	if (rq->json != NULL && json_type(rq->json) == JSON_OBJECT)
		return ERR_OK;
	return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "an object is wanted as the body");
}

static const struct json *member(const struct json *object, const char *name)
{
	const struct json *j = json_get(object, name);
	return j == NULL || json_type(j) == JSON_NULL ? NULL : j;
}

static enum err wrong(struct api_request *rq, const char *name, const char *what)
{
	return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "%s: %s is wanted", name, what);
}

enum err mgmt_text(struct api_request *rq, const struct json *object, const char *name, const char **out)
{
	const struct json *j = member(object, name);
	if (j == NULL)
		return ERR_OK;
	if (json_type(j) == JSON_ARRAY || json_type(j) == JSON_OBJECT)
		return wrong(rq, name, "a text");
	if (json_type(j) == JSON_STRING) {
		*out = json_text(j);
		return ERR_OK;
	}
	struct buf b = BUF_INIT;
	json_print(j, &b);
	*out = arena_strdup(rq->call.arena, buf_cstr(&b));
	buf_done(&b);
	return ERR_OK;
}

static bool parse_number(const char *text, int64_t *out)
{
	char *end;
	size_t sign = text[0] == '-';
	if (text[sign] < '0' || text[sign] > '9')
		return false;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	*out = n;
	return *end == '\0' && errno == 0;
}

enum err mgmt_number(struct api_request *rq, const struct json *object, const char *name, int64_t *out)
{
	const struct json *j = member(object, name);
	if (j == NULL)
		return ERR_OK;
	bool ok = json_type(j) == JSON_STRING ? parse_number(json_text(j), out) : json_is_integer(j, out);
	return ok ? ERR_OK : wrong(rq, name, "an integer");
}

enum err mgmt_real(struct api_request *rq, const struct json *object, const char *name, double *out, bool *has)
{
	const struct json *j = member(object, name);
	*has = false;
	if (j == NULL)
		return ERR_OK;
	char *end = NULL;
	double value = json_type(j) == JSON_STRING ? strtod(json_text(j), &end) : json_number(j);
	if (json_type(j) == JSON_STRING ? end == json_text(j) || *end != '\0' : json_type(j) != JSON_NUMBER)
		return wrong(rq, name, "a number");
	*out = value;
	*has = true;
	return ERR_OK;
}

enum err mgmt_flag(struct api_request *rq, const struct json *object, const char *name, bool *out)
{
	const struct json *j = member(object, name);
	if (j == NULL)
		return ERR_OK;
	bool is_text = json_type(j) == JSON_STRING && (strcmp(json_text(j), "true") == 0 || strcmp(json_text(j), "false") == 0);
	if (json_type(j) != JSON_BOOL && !is_text)
		return wrong(rq, name, "true or false");
	*out = is_text ? strcmp(json_text(j), "true") == 0 : json_is_true(j);
	return ERR_OK;
}

enum err mgmt_ids(struct api_request *rq, int64_t **ids, size_t *count)
{
	const struct json *item;
	enum err e = mgmt_items(rq, &item, count);
	*ids = arena_array(rq->call.arena, *count + 1, sizeof **ids);
	for (size_t i = 0; e == ERR_OK && i < *count; i++) {
		(*ids)[i] = 0;
		e = mgmt_number(rq, item, "id", &(*ids)[i]);
		if (e == ERR_OK && (*ids)[i] < 1)
			e = wrong(rq, "id", "a number of a resource");
		item = i + 1 < *count ? json_next(item) : NULL;
	}
	return e;
}

enum err mgmt_param(struct api_request *rq, size_t at, int64_t *id)
{
	assert(at < ROUTE_MAX_PARAMS && rq->param[at] != NULL);
	if (parse_number(rq->param[at], id))
		return ERR_OK;
	return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "a number is wanted in the path, not %.60s", rq->param[at]);
}

/* ---- replies ---- */

/* Names of hosts only: it comes back inside of links. */
static const char *host_of(const struct api_request *rq)
{
	const char *host = rq->http != NULL ? http_header(rq->http, "Host") : NULL; /* a deferred request may have lost its client */
	if (host == NULL || host[0] == '\0')
		return "localhost";
	for (const char *p = host; *p != '\0'; p++) {
		bool ok = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || strchr(".-_:[]", *p) != NULL;
		if (!ok)
			return "localhost";
	}
	return host;
}

const char *mgmt_href(struct api_request *rq, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	bool is_tls = rq->http != NULL && http_is_tls(rq->http);
	return arena_printf(rq->call.arena, "%s://%s" MGMT "/%s", is_tls ? "https" : "http", host_of(rq), text);
}

void mgmt_links_open(struct api_request *rq)
{
	json_key(&rq->out, "_links");
	json_open_object(&rq->out);
}

void mgmt_link(struct api_request *rq, const char *rel, const char *href)
{
	json_key(&rq->out, rel);
	json_open_object(&rq->out);
	json_str(&rq->out, "href", href);
	json_close_object(&rq->out);
}

void mgmt_links_close(struct api_request *rq)
{
	json_close_object(&rq->out);
}

void mgmt_self(struct api_request *rq, const char *href)
{
	mgmt_links_open(rq);
	mgmt_link(rq, "self", href);
	mgmt_links_close(rq);
}

/* Who it was is in the audit log, not in the rows: hawkBit's clients want the members, not their content. */
void mgmt_times(struct api_request *rq, int64_t created_at, int64_t updated_at)
{
	json_str(&rq->out, "createdBy", rq->call.who->name);
	json_int(&rq->out, "createdAt", created_at);
	json_str(&rq->out, "lastModifiedBy", rq->call.who->name);
	json_int(&rq->out, "lastModifiedAt", updated_at);
}

/* ---- lists ---- */

static enum err read_sort(struct api_request *rq, struct mgmt_page *page)
{
	const char *text = api_query(rq, "sort");
	page->sort = NULL;
	page->descending = false;
	if (text == NULL || text[0] == '\0')
		return ERR_OK;
	size_t len = strcspn(text, ":,");
	if (len == 0 || text[len] != ':')
		return mgmt_refuse(rq, MGMT_SORT_SYNTAX, ERR_BAD_REQUEST, "sort: field:ASC or field:DESC is wanted");
	const char *direction = text + len + 1;
	size_t direction_len = strcspn(direction, ",");
	page->sort = arena_strndup(rq->call.arena, text, len);
	page->descending = direction_len == 4 && strncasecmp(direction, "DESC", 4) == 0;
	if (!page->descending && !(direction_len == 3 && strncasecmp(direction, "ASC", 3) == 0))
		return mgmt_refuse(rq, MGMT_SORT_DIRECTION, ERR_BAD_REQUEST, "sort: the direction is ASC or DESC");
	return ERR_OK;
}

/* hawkBit is lenient here: what is too large is cut, what is no number is an error. */
enum err mgmt_page(struct api_request *rq, struct mgmt_page *page)
{
	const char *offset = api_query(rq, "offset"), *limit = api_query(rq, "limit");
	*page = (struct mgmt_page){.limit = MGMT_PAGE, .query = api_query(rq, "q")};
	if ((offset != NULL && !parse_number(offset, &page->offset)) || (limit != NULL && !parse_number(limit, &page->limit)))
		return mgmt_refuse(rq, MGMT_NOT_READABLE, ERR_BAD_REQUEST, "offset and limit are numbers");
	page->offset = page->offset < 0 ? 0 : page->offset;
	page->limit = page->limit < 1 ? MGMT_PAGE : page->limit > MGMT_PAGE_MAX ? MGMT_PAGE_MAX : page->limit;
	if (page->query != NULL && page->query[0] == '\0')
		page->query = NULL;
	return read_sort(rq, page);
}

void mgmt_list_open(struct api_request *rq)
{
	json_open_object(&rq->out);
	json_key(&rq->out, "content");
	json_open_array(&rq->out);
}

void mgmt_list_close(struct api_request *rq, size_t size, int64_t total)
{
	json_close_array(&rq->out);
	json_int(&rq->out, "total", total);
	json_int(&rq->out, "size", (int64_t)size);
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
}

struct rsql_operand mgmt_text_operand(const char *text)
{
	return (struct rsql_operand){.text = {text != NULL ? text : "", text != NULL ? strlen(text) : 0}};
}

struct rsql_operand mgmt_number_operand(int64_t n)
{
	return (struct rsql_operand){.number = (double)n, .time_ms = n};
}

struct rsql_operand mgmt_bool_operand(bool b)
{
	return (struct rsql_operand){.boolean = b};
}

static enum err parse_query(struct api_request *rq, const struct mgmt_list *list, const char *text, struct rsql *q)
{
	char ours[QUERY_MAX + 1], bad[HAWKBIT_SELECTOR_MAX];
	struct rsql_error why;
	if (!hawkbit_filter(list->names, list->name_count, text, "now", ours, sizeof ours, bad))
		return mgmt_refuse(rq, bad[0] != '\0' ? MGMT_RSQL_FIELD : MGMT_RSQL_SYNTAX, ERR_BAD_REQUEST,
			bad[0] != '\0' ? "The given search parameter field {%s} does not exist" : "The given search parameter is too long%s", bad);
	if (rsql_parse(q, ours, list->fields, list->field_count, rq->call.now_ms, &why) != ERR_OK)
		return mgmt_refuse(rq, MGMT_RSQL_SYNTAX, ERR_BAD_REQUEST, "q: %.180s", why.message);
	return ERR_OK;
}

struct sorting {
	const struct mgmt_list *list;
	const struct rsql_field *field;
	bool descending;
};

static int compare(const void *a, const void *b, void *ctx)
{
	const struct sorting *s = ctx;
	const void *const *x = a, *const *y = b;
	struct rsql_operand p = {0}, q = {0};
	const struct slice none = {NULL, 0};
	(void)s->list->get(*x, s->field, none, 0, &p);
	(void)s->list->get(*y, s->field, none, 0, &q);
	int order = 0;
	if (s->field->type == RSQL_TEXT) {
		size_t len = p.text.len < q.text.len ? p.text.len : q.text.len;
		order = len > 0 ? memcmp(p.text.data, q.text.data, len) : 0;
		order = order != 0 ? order : (p.text.len > q.text.len) - (p.text.len < q.text.len);
	} else if (s->field->type == RSQL_NUMBER) {
		order = (p.number > q.number) - (p.number < q.number);
	} else if (s->field->type == RSQL_TIME) {
		order = (p.time_ms > q.time_ms) - (p.time_ms < q.time_ms);
	} else {
		order = p.boolean - q.boolean;
	}
	if (order == 0)
		order = (*x > *y) - (*x < *y); /* in order of the rows: a stable sort */
	return s->descending ? -order : order;
}

static enum err sort_rows(struct api_request *rq, const struct mgmt_list *list, const struct mgmt_page *page, const void **rows, size_t count)
{
	if (page->sort == NULL)
		return ERR_OK;
	const char *ours = NULL;
	for (size_t i = 0; i < list->name_count && ours == NULL; i++)
		ours = strcasecmp(list->names[i].theirs, page->sort) == 0 ? list->names[i].ours : NULL;
	for (size_t i = 0; ours != NULL && i < list->field_count; i++) {
		struct sorting s = {list, &list->fields[i], page->descending};
		if (!s.field->is_prefix && strcmp(s.field->name, ours) == 0) {
			qsort_r(rows, count, sizeof *rows, compare, &s);
			return ERR_OK;
		}
	}
	return mgmt_refuse(rq, MGMT_SORT_FIELD, ERR_BAD_REQUEST, "The given sort parameter field {%.60s} does not exist", page->sort);
}

enum err mgmt_put_list(struct api_request *rq, const struct mgmt_list *list, const void *rows, size_t count)
{
	struct mgmt_page page;
	struct rsql *q = NULL;
	enum err e = mgmt_page(rq, &page);
	if (e == ERR_OK && page.query != NULL) {
		q = malloc(sizeof *q);
		if (q == NULL)
			abort();
		e = parse_query(rq, list, page.query, q);
	}
	const void **kept = malloc((count + 1) * sizeof *kept);
	if (kept == NULL)
		abort();
	size_t total = 0, size = 0;
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		const void *row = (const char *)rows + i * list->row_bytes;
		struct rsql_subject subject = {list->get, row};
		if (q == NULL || rsql_matches(q, &subject))
			kept[total++] = row;
	}
	if (e == ERR_OK)
		e = sort_rows(rq, list, &page, kept, total);
	mgmt_list_open(rq);
	for (size_t i = (size_t)page.offset; e == ERR_OK && i < total && size < (size_t)page.limit; i++, size++)
		e = list->put(rq, kept[i]);
	mgmt_list_close(rq, size, (int64_t)total);
	free(kept);
	free(q);
	return e;
}
