/* POST /api/v1/devices:bulk: one JSON object a line, taken as the bytes arrive, in constant memory.
 *
 * A line is taken whole or refused whole; refused lines never stop the others. What has arrived in a turn of the loop becomes durable with
 * that turn's commit, so a request that is cut leaves its first lines behind: sending it again changes nothing for those. */
#include <stdlib.h>
#include <string.h>

#include "api/devices.h"

#define LINE_ARENA_BYTES (4 * BULK_LINE_MAX)

const struct field bulk_reply_fields[] = {
	{.name = "lines", .type = FIELD_INT, .doc = "lines that were not blank"},
	{.name = "created", .type = FIELD_INT, .doc = "new devices"},
	{.name = "updated", .type = FIELD_INT, .doc = "known devices that were changed"},
	{.name = "unchanged", .type = FIELD_INT, .doc = "known devices that were so already"},
	{.name = "refused", .type = FIELD_INT, .doc = "lines that were refused"},
	{.name = "errors", .type = FIELD_ANY, .doc = "the first 100 refused lines: line, pointer, detail"},
	{.name = NULL},
};

struct bulk {
	struct arena *arena; /* of one line */
	struct buf partial;  /* of a line whose end has not arrived */
	bool is_skipping;    /* the line is too long: what is left of it is dropped */
	int64_t line;        /* number of the current line, from 1 */
	int64_t taken, did[3], refused;
	struct buf errors;
	uint64_t lost_commits; /* when it began */
};

static enum err begin(struct api_request *rq, void **state)
{
	struct bulk *b = calloc(1, sizeof *b);
	if (b == NULL)
		abort();
	b->arena = arena_new(LINE_ARENA_BYTES);
	b->line = 1;
	b->lost_commits = registry_lost_commits(rq->call.s->registry);
	*state = b;
	return ERR_OK;
}

static void refuse(struct bulk *b, const struct fault *f)
{
	b->refused++;
	if (b->refused > BULK_ERRORS_MAX)
		return;
	json_open_object(&b->errors);
	json_int(&b->errors, "line", b->line);
	if (f->pointer[0] != '\0')
		json_str(&b->errors, "pointer", f->pointer);
	json_str(&b->errors, "detail", f->detail);
	json_close_object(&b->errors);
}

static enum err take_device(struct call *c, const char *text, size_t len, enum upsert *did)
{
	struct device_body body = {.none = false};
	struct device_spec spec;
	struct json *document = NULL;
	enum err e = json_parse(text, len, &document, c->fault);
	if (e == ERR_OK && json_type(document) != JSON_OBJECT)
		e = fault_set(c->fault, ERR_INVALID, "", "a line is a JSON object");
	if (e == ERR_OK)
		e = json_bind(device_create_fields, document, &body, c->arena, c->fault);
	if (e == ERR_OK)
		e = api_bind_device(c, &body, document, &spec);
	if (e == ERR_OK)
		e = registry_upsert(c, &spec, did);
	json_free(document);
	return e;
}

/* Errors of the line are the client's and are noted; errors of the store end the request. */
static enum err take_line(struct api_request *rq, struct bulk *b, const char *text, size_t len)
{
	while (len > 0 && (text[len - 1] == '\r' || text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	if (len == 0)
		return ERR_OK;
	if (++b->taken > BULK_LINES_MAX)
		return fault_set(rq->call.fault, ERR_TOO_LARGE, "", "at most %d lines; the ones before this were taken", BULK_LINES_MAX);
	struct fault f = {"", ""};
	struct call one = rq->call;
	enum upsert did = UPSERT_UNCHANGED;
	one.arena = b->arena;
	one.fault = &f;
	enum err e = take_device(&one, text, len, &did);
	arena_reset(b->arena);
	if (e == ERR_OK) {
		b->did[did]++;
	} else if (err_http_status(e) < 500) {
		refuse(b, &f);
		e = ERR_OK;
	} else {
		*rq->call.fault = f;
	}
	return e;
}

static void too_long(struct bulk *b)
{
	struct fault f = {"", ""};
	enum err e = fault_set(&f, ERR_TOO_LARGE, "", "a line has at most %d bytes", BULK_LINE_MAX);
	(void)e;
	b->taken++;
	refuse(b, &f);
	b->is_skipping = true;
	buf_clear(&b->partial);
}

/* The end of a line has arrived: `text` is what the last chunk has of it. */
static enum err end_line(struct api_request *rq, struct bulk *b, const char *text, size_t len)
{
	enum err e = ERR_OK;
	if (!b->is_skipping && b->partial.len + len > BULK_LINE_MAX)
		too_long(b);
	if (!b->is_skipping && b->partial.len == 0) {
		e = take_line(rq, b, text, len);
	} else if (!b->is_skipping) {
		buf_append(&b->partial, text, len);
		e = take_line(rq, b, b->partial.data, b->partial.len);
		buf_clear(&b->partial);
	}
	b->is_skipping = false;
	b->line++;
	return e;
}

/* A commit on the way may have failed (a full disk): the counts so far would be a lie. */
static enum err check_commits(struct api_request *rq, const struct bulk *b)
{
	if (b->lost_commits == registry_lost_commits(rq->call.s->registry))
		return ERR_OK;
	return fault_set(rq->call.fault, ERR_UNAVAILABLE, "", "lines before number %lld may not have been stored: send the request again",
	                 (long long)b->line);
}

static enum err chunk(struct api_request *rq, void *state, const void *data, size_t len)
{
	struct bulk *b = state;
	const char *at = data, *end = at + len;
	enum err e = check_commits(rq, b);
	if (e != ERR_OK)
		return e;
	for (const char *newline; at < end && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL; at = newline + 1) {
		e = end_line(rq, b, at, (size_t)(newline - at));
		if (e != ERR_OK)
			return e;
	}
	if (b->is_skipping || at == end)
		return ERR_OK;
	if (b->partial.len + (size_t)(end - at) > BULK_LINE_MAX)
		too_long(b);
	else
		buf_append(&b->partial, at, (size_t)(end - at));
	return ERR_OK;
}

static void bulk_free(struct bulk *b)
{
	arena_free(b->arena);
	buf_done(&b->partial);
	buf_done(&b->errors);
	free(b);
}

static enum err finish(struct api_request *rq, void *state)
{
	struct bulk *b = state;
	struct buf *out = &rq->out;
	enum err e = check_commits(rq, b);
	if (e == ERR_OK && b->partial.len > 0)
		e = end_line(rq, b, "", 0);
	if (e == ERR_OK)
		e = registry_note_bulk(&rq->call, b->did[UPSERT_CREATED], b->did[UPSERT_UPDATED], b->did[UPSERT_UNCHANGED], b->refused);
	if (e == ERR_OK) {
		json_open_object(out);
		json_int(out, "lines", b->taken);
		json_int(out, "created", b->did[UPSERT_CREATED]);
		json_int(out, "updated", b->did[UPSERT_UPDATED]);
		json_int(out, "unchanged", b->did[UPSERT_UNCHANGED]);
		json_int(out, "refused", b->refused);
		json_key(out, "errors");
		buf_printf(out, "[%s]", buf_cstr(&b->errors));
		json_close_object(out);
	}
	bulk_free(b);
	return e;
}

static void drop(struct api_request *rq, void *state)
{
	(void)rq;
	bulk_free(state);
}

const struct route_stream bulk_stream = {begin, chunk, finish, drop};
