/* /releases: what is deployed together, and its signed manifest. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/rollout_replies.h"
#include "api/route.h"
#include "base/crypto.h"
#include "service/compats.h"
#include "service/groups.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/selection.h"
#include "service/timebox.h"

#define RELEASES "/api/v1/releases"
#define RELEASE RELEASES "/{release}"

struct release_body {
	const char *name, *description, *config;
	struct json_objects components; /* struct component_input */
	bool has_objective;
	struct selection_objective objective;
};
static const struct field component_body[] = {
	{"model", FIELD_STR, offsetof(struct component_input, model), .min = 1, .max = 64, .flags = FIELD_REQUIRED, .doc = "Name of a model."},
	{"version", FIELD_STR, offsetof(struct component_input, version), .min = 5, .max = 64, .flags = FIELD_REQUIRED,
	 .doc = "One of its versions; it must have an artifact that is ready."},
	{0},
};
static const struct field release_body[] = {
	{"name", FIELD_STR, offsetof(struct release_body, name), .min = 1, .max = 64, .flags = FIELD_REQUIRED, .doc = "Unique name."},
	{"description", FIELD_STR, offsetof(struct release_body, description), .max = 1024, .doc = "For people."},
	{"components", FIELD_OBJECTS, offsetof(struct release_body, components), .min = 1, .max = RELEASE_COMPONENTS_MAX, .flags = FIELD_REQUIRED,
	 .fields = component_body, .item_bytes = sizeof(struct component_input), .doc = "Models, at most one of kind firmware, each once."},
	{"config", FIELD_DOC, offsetof(struct release_body, config), .max = RELEASE_CONFIG_BYTES_MAX,
	 .doc = "Configuration that devices activate with the release."},
	{"objective", FIELD_OBJECT, offsetof(struct release_body, objective), .present_offset = offsetof(struct release_body, has_objective),
	 .fields = selection_objective_fields, .doc = "Which of several variants a device gets; absent: the fastest, then the least energy, then the smallest."},
	{0},
};

struct release_view {
	struct release_row row;
	const char *left_out; /* JSON; NULL in lists */
	struct json_objects components; /* struct component_row */
	const char *objective;
	int64_t counter;
};
static const struct field component_reply[] = {
	{"kind", FIELD_ENUM, offsetof(struct component_row, kind), .choices = "model firmware", .doc = "What it is."},
	{"model", FIELD_STR, offsetof(struct component_row, model), .doc = "Name of the model."},
	{"version", FIELD_STR, offsetof(struct component_row, version_text), .doc = "Its version."},
	{0},
};
static const struct field release_reply[] = {
	{"name", FIELD_STR, offsetof(struct release_view, row.name), .doc = "Unique name."},
	{"description", FIELD_STR, offsetof(struct release_view, row.description), .doc = "For people."},
	{"components", FIELD_OBJECTS, offsetof(struct release_view, components), .max = RELEASE_COMPONENTS_MAX, .fields = component_reply,
	 .item_bytes = sizeof(struct component_row), .doc = "What it is made of, by model name."},
	{"config", FIELD_DOC, offsetof(struct release_view, row.config), .doc = "Configuration that devices activate with it."},
	{"counter", FIELD_INT, offsetof(struct release_view, counter), .flags = FIELD_OMIT_ZERO, .doc = "Counter of its newest manifest."},
	{"created_at", FIELD_INT, offsetof(struct release_view, row.created_at), .doc = "When it was made."},
	{"left_out", FIELD_ANY, offsetof(struct release_view, left_out),
	 .doc = "Of a single one: devices of the fleet as it is now that cannot run it, by hardware and verdict, with reasons; as in /check."},
	{"objective", FIELD_DOC, offsetof(struct release_view, objective), .doc = "Which of several variants a device gets; absent: the default."},
	{0},
};

struct manifest_view {
	const char *release, *key_id, *manifest, *signature;
	int64_t counter, created_at;
};
static const struct field manifest_reply[] = {
	{"release", FIELD_STR, offsetof(struct manifest_view, release), .doc = "Name of the release."},
	{"counter", FIELD_INT, offsetof(struct manifest_view, counter), .doc = "Grows with each signing, over all releases."},
	{"key_id", FIELD_STR, offsetof(struct manifest_view, key_id), .doc = "First 16 hex digits of SHA-256 of the public key."},
	{"manifest", FIELD_STR, offsetof(struct manifest_view, manifest), .doc = "The exact bytes that were signed, in base64."},
	{"signature", FIELD_STR, offsetof(struct manifest_view, signature), .doc = "Ed25519 signature, in base64."},
	{"created_at", FIELD_INT, offsetof(struct manifest_view, created_at), .doc = "When it was signed."},
	{0},
};

static const struct route_query releases_query[] = {
	{"limit", "Items on a page, 1 to 1000 (100)."},
	{"cursor", "`next` of the page before."},
	{"sort", "created_at, -created_at (newest first; when absent), name or -name."},
	{"total", "true: count them all."},
	{0},
};

/* Kind by kind over the whole fleet: no device is looked at. */
static enum err find_left_out(struct api_request *rq, int64_t release, const char **json)
{
	struct compat_view *v;
	struct compat_table table;
	struct buf b = BUF_INIT;
	enum err e = compat_view_new(&rq->call, release, &v);
	if (e == ERR_OK)
		e = compat_view_count_fleet(&rq->call, v);
	if (e == ERR_OK) {
		compat_view_table(&rq->call, v, &table);
		compat_table_write(&table, true, &b);
		*json = arena_strdup(rq->call.arena, buf_cstr(&b));
	}
	buf_done(&b);
	compat_view_free(v);
	return e;
}

static enum err put_release(struct api_request *rq, const struct release_row *row, bool is_single)
{
	struct release_view view = {.row = *row};
	struct component_row *components = NULL;
	struct manifest_row manifest;
	enum err e = releases_components(&rq->call, row->id, &components, &view.components.count);
	if (e == ERR_OK)
		e = releases_newest_manifest(&rq->call, row->id, &manifest);
	if (e == ERR_OK)
		view.counter = manifest.counter;
	else if (e != ERR_NOT_FOUND) /* the key was changed since: signed again when it is needed */
		return e;
	e = selection_get_objective(&rq->call, row->id, &view.objective);
	if (e != ERR_OK)
		return e;
	view.components.items = components;
	e = is_single ? find_left_out(rq, row->id, &view.left_out) : ERR_OK;
	if (e != ERR_OK)
		return e;
	json_encode(release_reply, &view, &rq->out);
	return ERR_OK;
}

static enum err read_order(struct api_request *rq, struct page_request *page, bool *by_name)
{
	const char *sort = api_query(rq, "sort");
	const char *field = sort ? sort + (sort[0] == '-') : "created_at";
	page->descending = !sort || sort[0] == '-';
	*by_name = strcmp(field, "name") == 0;
	if (!*by_name && strcmp(field, "created_at") != 0)
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter sort: created_at or name is wanted, with - for descending");
	return ERR_OK;
}

static enum err list_releases(struct api_request *rq)
{
	struct page_request page = {.limit = 100};
	struct release_row *rows = NULL;
	size_t count = 0;
	bool more = false, wants_total = false, by_name = false;
	int64_t total = -1;
	enum err e = read_order(rq, &page, &by_name);
	if (e == ERR_OK)
		e = api_query_int(rq, "limit", 1, 1000, &page.limit);
	if (e == ERR_OK)
		e = api_query_cursor(rq, &page.after);
	if (e == ERR_OK)
		e = api_query_bool(rq, "total", &wants_total);
	if (e == ERR_OK)
		e = releases_list(&rq->call, &page, by_name, &rows, &count, &more, wants_total ? &total : NULL);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = put_release(rq, &rows[i], false);
	const char *last = count == 0 ? NULL : by_name ? rows[count - 1].name : arena_printf(rq->call.arena, "%lld", (long long)rows[count - 1].id);
	api_list_close(rq, more ? api_cursor_of_text(rq, last) : NULL, total);
	return e;
}

static void release_body_init(void *body)
{
	selection_objective_init(&((struct release_body *)body)->objective);
}

static enum err create_release(struct api_request *rq)
{
	const struct release_body *body = rq->body;
	struct release_input in = {.name = body->name, .description = body->description, .config = body->config,
	                           .components = body->components.items, .component_count = body->components.count};
	struct release_row row;
	enum err e = releases_create(&rq->call, &in, &row);
	if (e == ERR_OK && body->has_objective)
		e = selection_set_objective(&rq->call, row.id, &body->objective);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, RELEASES "/%s", row.name);
	return put_release(rq, &row, true);
}

static enum err get_release(struct api_request *rq)
{
	struct release_row row;
	enum err e = releases_find(&rq->call, rq->param[0], &row);
	return e == ERR_OK ? put_release(rq, &row, true) : e;
}

static enum err delete_release(struct api_request *rq)
{
	struct release_row row;
	enum err e = releases_find(&rq->call, rq->param[0], &row);
	return e == ERR_OK ? releases_delete(&rq->call, &row) : e;
}

static const char *base64_of(struct arena *a, const void *data, size_t len)
{
	char *text = arena_alloc(a, base64_encoded_len(len) + 1);
	base64_encode(data, len, text);
	return text;
}

static enum err get_manifest(struct api_request *rq)
{
	struct release_row row;
	struct manifest_row m;
	enum err e = releases_find(&rq->call, rq->param[0], &row);
	if (e == ERR_OK)
		e = releases_newest_manifest(&rq->call, row.id, &m);
	if (e != ERR_OK)
		return e;
	struct manifest_view view = {.release = row.name, .key_id = m.key_id, .manifest = base64_of(rq->call.arena, m.bytes, m.len),
		.signature = base64_of(rq->call.arena, m.signature, ED25519_SIGNATURE_BYTES), .counter = m.counter, .created_at = m.created_at};
	json_encode(manifest_reply, &view, &rq->out);
	return ERR_OK;
}

/* ---- check ---- */

struct checking {
	struct release_row release;
	struct compat_view *view;
	struct registry_scan *scan;
	struct call *c; /* of the step that is running */
	int64_t devices;
};

static enum err check_one(void *ctx, struct device_state *d)
{
	struct checking *k = ctx;
	k->devices++;
	return compat_view_count(k->c, k->view, d);
}

static enum err check_step(struct api_request *rq, void *state, const struct timebox *box, bool *is_done)
{
	struct checking *k = state;
	k->c = &rq->call;
	return registry_scan_step(&rq->call, k->scan, box, check_one, k, is_done);
}

static enum err check_finish(struct api_request *rq, void *state)
{
	struct checking *k = state;
	struct compat_table table;
	compat_view_table(&rq->call, k->view, &table);
	json_open_object(&rq->out);
	json_str(&rq->out, "release", rq->param[0]);
	json_int(&rq->out, "devices", k->devices);
	json_int(&rq->out, "yes", table.devices[COMPAT_YES]);
	json_int(&rq->out, "no", table.devices[COMPAT_NO]);
	json_int(&rq->out, "unknown", table.devices[COMPAT_UNKNOWN]);
	json_int(&rq->out, "excluded", table.excluded);
	json_key(&rq->out, "classes");
	compat_table_write(&table, false, &rq->out);
	json_close_object(&rq->out);
	return ERR_OK;
}

static void check_free(void *state)
{
	struct checking *k = state;
	compat_view_free(k->view);
	registry_scan_free(k->scan);
	free(k);
}

static const struct field check_reply[] = {
	{.name = "release", .type = FIELD_STR, .doc = "name"},
	{.name = "devices", .type = FIELD_INT, .doc = "that were looked at"},
	{.name = "yes", .type = FIELD_INT, .doc = "devices that can run it"},
	{.name = "no", .type = FIELD_INT, .doc = "devices that cannot"},
	{.name = "unknown", .type = FIELD_INT, .doc = "devices that did not tell enough"},
	{.name = "excluded", .type = FIELD_INT, .doc = "devices that no rollout gives it to: no, and unknown but where [models] unknown = allow"},
	{.name = "classes", .type = FIELD_OBJECTS, .fields = compat_row_fields, .doc = "by hardware class and verdict, most devices first"},
	{0},
};
static const struct route_query check_query[] = {
	{"filter", "Devices that are asked about, in RSQL (docs/filters.md); absent: all."},
	{"group", "Name of a group, instead or besides."},
	{0},
};

static enum err check_release(struct api_request *rq)
{
	static const struct api_steps steps = {check_step, check_finish, check_free};
	struct group_row group = {0};
	struct release_row row;
	enum err e = releases_find(&rq->call, rq->param[0], &row);
	const char *name = api_query(rq, "group");
	if (e == ERR_OK && name != NULL)
		e = groups_find(&rq->call, name, &group);
	if (e != ERR_OK)
		return e;
	struct checking *k = calloc(1, sizeof *k);
	if (k == NULL)
		abort();
	e = compat_view_new(&rq->call, row.id, &k->view);
	if (e == ERR_OK)
		e = registry_scan_new(&rq->call, api_query(rq, "filter"), group.id, &k->scan);
	if (e == ERR_OK)
		return api_in_steps(rq, &steps, k);
	check_free(k);
	return e;
}

const struct route routes_releases[] = {
	{.method = "GET", .path = RELEASES, .role = ROLE_VIEWER, .tag = "releases", .summary = "List releases", .reply = release_reply,
	 .reply_is_list = true, .query = releases_query, .handle = list_releases},
	{.method = "POST", .path = RELEASES, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .tag = "releases",
	 .summary = "Make a release of model versions, which never changes, and sign its manifest", .body = release_body,
	 .body_bytes = sizeof(struct release_body), .body_init = release_body_init, .reply = release_reply, .handle = create_release},
	{.method = "GET", .path = RELEASE, .role = ROLE_VIEWER, .tag = "releases", .summary = "Show a release", .reply = release_reply,
	 .handle = get_release},
	{.method = "DELETE", .path = RELEASE, .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "releases",
	 .summary = "Delete a release that no rollout names and no device runs", .handle = delete_release},
	{.method = "GET", .path = RELEASE "/check", .role = ROLE_VIEWER, .tag = "releases",
	 .summary = "Which devices could run it, by hardware class, with reasons (docs/models.md)", .reply = check_reply, .query = check_query,
	 .handle = check_release},
	{.method = "GET", .path = RELEASE "/manifest", .role = ROLE_VIEWER, .tag = "releases", .summary = "The newest signed manifest",
	 .reply = manifest_reply, .handle = get_manifest},
	{.method = NULL},
};
