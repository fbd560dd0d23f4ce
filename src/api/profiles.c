/* /profiles: what variants cost on classes of hardware, learned and published. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "service/profiles.h"

#define PROFILES "/api/v1/profiles"
#define PAGE_MAX 200 /* each row is the sum of eight contexts */

static const struct field profile_reply[] = {
	{.name = "source", .type = FIELD_ENUM, .choices = "learned published", .doc = "learned: from telemetry"},
	{.name = "hardware", .type = FIELD_STR, .doc = "class of the devices"},
	{.name = "model", .type = FIELD_STR, .doc = "its name"},
	{.name = "version", .type = FIELD_STR, .doc = "of the model; published: empty for any"},
	{.name = "variant", .type = FIELD_STR, .doc = "default: it has no name"},
	{.name = "artifact", .type = FIELD_INT, .doc = "learned: its number"},
	{.name = "context", .type = FIELD_STR, .doc = "learned: any, normal, or hot, low_battery, bad_link joined by +"},
	{.name = "origin", .type = FIELD_STR, .doc = "published: name of the table"},
	{.name = "latency_p50_ms", .type = FIELD_NUM, .doc = "median"},
	{.name = "latency_p95_ms", .type = FIELD_NUM, .doc = "95th percentile"},
	{.name = "energy_uj", .type = FIELD_NUM, .doc = "of an inference"},
	{.name = "memory_bytes", .type = FIELD_NUM, .doc = "of arena in use, the largest"},
	{.name = "quality", .type = FIELD_NUM, .doc = "learned: share of right answers"},
	{.name = "accuracy", .type = FIELD_NUM, .doc = "published"},
	{.name = "top1", .type = FIELD_NUM, .doc = "published, a share"},
	{.name = "auc", .type = FIELD_NUM, .doc = "published"},
	{.name = "devices", .type = FIELD_INT, .doc = "within about 7 %"},
	{.name = "samples", .type = FIELD_INT, .doc = "halved each week"},
	{.name = "age_ms", .type = FIELD_INT, .doc = "of the newest sample, or of the import"},
	{.name = NULL},
};
static const struct field import_reply[] = {
	{.name = "rows", .type = FIELD_INT, .doc = "of the table"},
	{.name = "taken", .type = FIELD_INT, .doc = "stored, or stored again"},
	{.name = "skipped", .type = FIELD_INT, .doc = "without any figure, or not in the lists with mapped_only"},
	{.name = "refused", .type = FIELD_INT, .doc = "broken ones; the others were taken"},
	{.name = "errors", .type = FIELD_ANY, .doc = "the first 100 refused rows: detail, which names the line"},
	{.name = NULL},
};

static const struct route_query list_query[] = {
	{"hardware", "Of one class."},
	{"model", "Of one model."},
	{"version", "Of one version."},
	{"variant", "Of one variant."},
	{"source", "learned or published; both when absent."},
	{"contexts", "true: learned profiles by context, too."},
	{"limit", "Items on a page, 1 to 1000 (100); of more than 200 there come 200."},
	{"cursor", "`next` of the page before."},
	{0},
};
static const struct route_query import_query[] = {
	{"origin", "Name of the table, to delete it by; import when absent."},
	{"hardware", "THEIRS:OURS with commas: names of systems that are hardware classes here."},
	{"model", "THEIRS:OURS with commas: names of tasks that are models here."},
	{"variant", "THEIRS:OURS with commas: names of variants."},
	{"version", "Of rows that say none; any version when absent."},
	{"mapped_only", "true: only rows whose hardware and model are in these lists."},
	{0},
};

static enum err read_source(struct api_request *rq, struct profile_filter *f)
{
	const char *source = api_query(rq, "source");
	f->learned = source == NULL || strcmp(source, "learned") == 0;
	f->published = source == NULL || strcmp(source, "published") == 0;
	return f->learned || f->published ? ERR_OK
	                                  : fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter source: learned or published is expected");
}

static enum err list(struct api_request *rq)
{
	struct profile_filter f = {.hardware = api_query(rq, "hardware"), .model = api_query(rq, "model"), .version = api_query(rq, "version"),
		.variant = api_query(rq, "variant")};
	const char *cursor = NULL, *next = NULL;
	int64_t limit = 100;
	enum err e = read_source(rq, &f);
	if (e == ERR_OK)
		e = api_query_bool(rq, "contexts", &f.by_cell);
	if (e == ERR_OK)
		e = api_query_int(rq, "limit", 1, 1000, &limit);
	limit = limit < PAGE_MAX ? limit : PAGE_MAX;
	if (e == ERR_OK)
		e = api_query_cursor(rq, &cursor);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	e = profiles_list(&rq->call, &f, cursor, limit, &rq->out, &next);
	api_list_close(rq, next != NULL ? api_cursor_of_text(rq, next) : NULL, -1);
	return e;
}

/* ---- a table comes ---- */

static enum err begin(struct api_request *rq, void **state)
{
	(void)rq;
	struct buf *b = calloc(1, sizeof *b);
	if (b == NULL)
		abort();
	*state = b;
	return ERR_OK;
}

static enum err chunk(struct api_request *rq, void *state, const void *data, size_t len)
{
	struct buf *b = state;
	if (b->len + len > IMPORT_BYTES_MAX)
		return fault_set(rq->call.fault, ERR_TOO_LARGE, "", "at most %d bytes at once: split the table", IMPORT_BYTES_MAX);
	buf_append(b, data, len);
	return ERR_OK;
}

static void drop(struct api_request *rq, void *state)
{
	(void)rq;
	buf_done(state);
	free(state);
}

static enum err finish(struct api_request *rq, void *state)
{
	struct buf *b = state;
	struct profile_import in = {.text = buf_cstr(b), .len = b->len, .origin = api_query(rq, "origin"), .hardware = api_query(rq, "hardware"),
		.model = api_query(rq, "model"), .variant = api_query(rq, "variant"), .version = api_query(rq, "version")};
	enum err e = api_query_bool(rq, "mapped_only", &in.mapped_only);
	if (e == ERR_OK)
		e = profiles_import(&rq->call, &in, &rq->out);
	drop(rq, state);
	return e;
}

static const struct route_stream import_stream = {begin, chunk, finish, drop};

static enum err delete_table(struct api_request *rq)
{
	int64_t removed;
	return profiles_drop(&rq->call, rq->param[0], &removed);
}

const struct route routes_profiles[] = {
	{.method = "GET", .path = PROFILES, .role = ROLE_VIEWER, .tag = "profiles",
	 .summary = "What variants cost on classes of hardware, and how well they do", .reply = profile_reply, .reply_is_list = true,
	 .query = list_query, .handle = list},
	{.method = "POST", .path = PROFILES "/import", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_STREAM, .tag = "profiles",
	 .summary = "Import a published table (text/csv with a header; docs/models.md)", .reply = import_reply, .query = import_query,
	 .stream = &import_stream},
	{.method = "DELETE", .path = PROFILES "/published/{origin}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "profiles",
	 .summary = "Delete what was imported under a name", .handle = delete_table},
	{.method = NULL},
};
