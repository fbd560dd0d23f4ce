/* /api/v1/devices */
#include <stddef.h>

#include "api/devices.h"
#include "api/route.h"
#include "service/actions.h"
#include "service/groups.h"
#include "service/registry.h"

/* ---- bodies ---- */

#define AT(member) .offset = offsetof(struct device_body, member)
#define SEEN(member) .present_offset = offsetof(struct device_body, member)
#define HARDWARE_DOC "hardware class: decides which variant of an artifact fits"
#define ATTRIBUTES_DOC "text by name; numbers and booleans become text; at most 32"
#define TAGS_DOC "at most 32"
#define PROTOCOL_DOC "aviary: MQTT; ddi: hawkBit's Direct Device Integration over HTTP (docs/ddi.md)"

const struct field device_create_fields[] = {
	{.name = "id", .type = FIELD_STR, AT(id), .min = 1, .max = DEVICE_ID_MAX, .flags = FIELD_REQUIRED, .doc = "public id"},
	{.name = "name", .type = FIELD_STR, AT(name), .max = 128, .doc = "for people"},
	{.name = "hardware", .type = FIELD_STR, AT(hardware), .min = 1, .max = 64, .flags = FIELD_REQUIRED, .doc = HARDWARE_DOC},
	{.name = "protocol", .type = FIELD_ENUM, AT(protocol), .choices = "aviary ddi", .doc = PROTOCOL_DOC},
	{.name = "token", .type = FIELD_STR, AT(token), .min = 1, .max = 128, .doc = "target token of a ddi device; a random one when absent"},
	{.name = "attributes", .type = FIELD_DOC, AT(attributes), .max = 16384, .doc = ATTRIBUTES_DOC},
	{.name = "tags", .type = FIELD_STRS, AT(tags), SEEN(has_tags), .max = DEVICE_TAGS_MAX, .doc = TAGS_DOC},
	{.name = NULL},
};

static const struct field patch_fields[] = {
	{.name = "name", .type = FIELD_STR, AT(name), .max = 128, .doc = "for people"},
	{.name = "attributes", .type = FIELD_DOC, AT(attributes), .max = 16384, .doc = "merged into the present ones; null removes one"},
	{.name = "tags", .type = FIELD_STRS, AT(tags), SEEN(has_tags), .max = DEVICE_TAGS_MAX, .doc = "replaces all tags"},
	{.name = NULL},
};

/* What registry_encode writes; for the documentation only. */
static const struct field running_fields[] = {
	{.name = "release", .type = FIELD_STR, .doc = "name, as the device said"},
	{.name = "counter", .type = FIELD_INT, .doc = "counter of the manifest that it confirmed"},
	{.name = "firmware", .type = FIELD_STR, .doc = "version, as the device said"},
	{.name = "models", .type = FIELD_DOC, .doc = "version by name of the model"},
	{.name = NULL},
};
const struct field device_reply_fields[] = {
	{.name = "id", .type = FIELD_STR, .doc = "public id"},
	{.name = "name", .type = FIELD_STR, .doc = "for people"},
	{.name = "hardware", .type = FIELD_STR, .doc = HARDWARE_DOC},
	{.name = "protocol", .type = FIELD_STR, .doc = PROTOCOL_DOC},
	{.name = "token", .type = FIELD_STR, .doc = "target token of a ddi device; only in the reply to its registration"},
	{.name = "attributes", .type = FIELD_DOC, .doc = "text by name"},
	{.name = "tags", .type = FIELD_STRS, .doc = "in order"},
	{.name = "online", .type = FIELD_BOOL, .doc = "its status says so"},
	{.name = "last_seen_at", .type = FIELD_INT, .doc = "last sign of life; absent: never"},
	{.name = "running", .type = FIELD_OBJECT, .fields = running_fields, .doc = "what it runs"},
	{.name = "capabilities", .type = FIELD_DOC, .doc = "as the device said"},
	{.name = "deployment", .type = FIELD_STR, .doc = "its active deployment; absent: none"},
	{.name = "desired_revision", .type = FIELD_INT, .doc = "of the desired twin"},
	{.name = "reported_revision", .type = FIELD_INT, .doc = "of the reported twin"},
	{.name = "desired_rev", .type = FIELD_INT, .doc = "number of its desired document"},
	{.name = "sent_rev", .type = FIELD_INT, .doc = "last number that the broker took for it"},
	{.name = "has_credential", .type = FIELD_BOOL, .doc = "false: it may enrol"},
	{.name = "revision", .type = FIELD_INT, .doc = "ETag"},
	{.name = "created_at", .type = FIELD_INT, .doc = "when it was registered"},
	{.name = "updated_at", .type = FIELD_INT, .doc = "last change but presence"},
	{.name = NULL},
};

static const struct field secret_fields[] = {
	{.name = "device", .type = FIELD_STR, .doc = "public id"},
	{.name = "secret", .type = FIELD_STR, .doc = "64 hex digits, shown once"},
	{.name = NULL},
};

static const struct field delete_fields[] = {
	{.name = "deleted", .type = FIELD_STR, .doc = "public id"},
	{.name = "rollout", .type = FIELD_INT, .doc = "the rollout that it took part in; absent: none that had not ended"},
	{.name = "did", .type = FIELD_STR, .doc = "what was done about rollouts, in words"},
	{.name = NULL},
};

const struct route_query device_list_query[] = {
	{"filter", "RSQL, as hardware==esp32s3;attribute.region=in=(eu,us)"},
	{"group", "name of a group: only its devices"},
	{"sort", "id name hardware lastSeen createdAt, with - before it for descending; order of registration when absent"},
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{"total", "true: count all matches, too"},
	{NULL, NULL},
};

/* ---- handlers ---- */

enum err api_bind_device(struct call *c, const struct device_body *b, const struct json *document, struct device_spec *spec)
{
	const struct json *attributes = json_get(document, "attributes");
	*spec = (struct device_spec){.id = b->id, .name = b->name, .hardware = b->hardware, .protocol = b->protocol, .token = b->token};
	if (b->has_tags) {
		static const char *const none[1];
		spec->tags = b->tags.count > 0 ? b->tags.items : none;
		spec->tag_count = b->tags.count;
	}
	return attributes != NULL ? registry_bind_attributes(c, attributes, spec) : ERR_OK;
}

static enum err find_device(struct api_request *rq, struct device_state **d)
{
	*d = registry_find(rq->call.s->registry, rq->param[0]);
	return *d != NULL ? ERR_OK : fault_set(rq->call.fault, ERR_NOT_FOUND, "", "no device has this id");
}

/* The device in the path, and If-Match against its revision where the header is there. */
static enum err find_matching(struct api_request *rq, struct device_state **d)
{
	int64_t revision;
	enum err e = find_device(rq, d);
	if (e == ERR_OK)
		e = registry_revision(&rq->call, *d, &revision);
	return e == ERR_OK ? api_if_match(rq, revision) : e;
}

static enum err show(struct api_request *rq, struct device_state *d)
{
	return registry_encode(&rq->call, d, &rq->out, &rq->etag_revision);
}

enum err api_list_devices(struct api_request *rq, int64_t group)
{
	struct device_query q = {.filter = api_query(rq, "filter"), .group = group, .sort = api_query(rq, "sort"), .limit = 100};
	bool wants_total = false;
	int64_t total = -1;
	const char *next;
	enum err e = api_query_int(rq, "limit", 1, 1000, &q.limit);
	if (e == ERR_OK)
		e = api_query_bool(rq, "total", &wants_total);
	if (e == ERR_OK)
		e = api_query_cursor(rq, &q.cursor);
	if (e != ERR_OK)
		return e;
	api_list_open(rq);
	e = registry_list(&rq->call, &q, &rq->out, &next, wants_total ? &total : NULL);
	if (e == ERR_OK)
		api_list_close(rq, api_cursor_of_text(rq, next), total);
	return e;
}

static enum err list_devices(struct api_request *rq)
{
	struct group_row group = {.id = 0};
	const char *name = api_query(rq, "group");
	enum err e = name != NULL ? groups_look_up(&rq->call, 0, name, &group) : ERR_OK;
	return e == ERR_OK ? api_list_devices(rq, group.id) : e;
}

/* Of a device that was just registered: shown here, and by hawkBit's Management API to operators. */
static enum err show_token(struct api_request *rq, struct device_state *d)
{
	const char *token;
	enum err e = actions_token(&rq->call, d, &token);
	if (e != ERR_OK || token == NULL)
		return e;
	rq->is_secret = true;
	rq->out.data[--rq->out.len] = '\0'; /* the brace comes again */
	json_str(&rq->out, "token", token);
	json_close_object(&rq->out);
	return ERR_OK;
}

static enum err create_device(struct api_request *rq)
{
	struct device_spec spec;
	struct device_state *d;
	enum err e = api_bind_device(&rq->call, rq->body, rq->json, &spec);
	if (e == ERR_OK)
		e = registry_create(&rq->call, &spec, &d);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/devices/%s", d->id);
	e = show(rq, d);
	return e == ERR_OK && d->is_ddi ? show_token(rq, d) : e;
}

static enum err get_device(struct api_request *rq)
{
	struct device_state *d;
	enum err e = find_device(rq, &d);
	return e == ERR_OK ? show(rq, d) : e;
}

static enum err patch_device(struct api_request *rq)
{
	struct device_spec change;
	struct device_state *d;
	enum err e = find_matching(rq, &d);
	if (e == ERR_OK)
		e = api_bind_device(&rq->call, rq->body, rq->json, &change);
	if (e == ERR_OK)
		e = registry_update(&rq->call, d, &change, 0);
	return e == ERR_OK ? show(rq, d) : e;
}

static enum err delete_device(struct api_request *rq)
{
	struct device_state *d;
	bool force = false;
	enum err e = api_query_bool(rq, "force", &force);
	if (e == ERR_OK)
		e = find_matching(rq, &d);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	json_str(&rq->out, "deleted", d->id);
	e = registry_delete(&rq->call, d, force, 0, &rq->out);
	json_close_object(&rq->out);
	return e;
}

/* ---- twins ---- */

static enum err show_twin(struct api_request *rq, enum twin which)
{
	struct device_state *d;
	const char *json;
	enum err e = find_device(rq, &d);
	if (e == ERR_OK)
		e = registry_twin(&rq->call, d, which, &json, &rq->etag_revision);
	if (e == ERR_OK)
		buf_str(&rq->out, json);
	return e;
}

static enum err get_desired(struct api_request *rq)
{
	return show_twin(rq, TWIN_DESIRED);
}

static enum err get_reported(struct api_request *rq)
{
	return show_twin(rq, TWIN_REPORTED);
}

static enum err change_twin(struct api_request *rq, bool merge)
{
	struct device_state *d;
	const char *json;
	int64_t revision;
	if (rq->json == NULL)
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "a JSON object is wanted as the body");
	enum err e = find_device(rq, &d);
	if (e == ERR_OK)
		e = registry_twin(&rq->call, d, TWIN_DESIRED, &json, &revision);
	if (e == ERR_OK)
		e = api_if_match(rq, revision);
	if (e == ERR_OK)
		e = registry_set_twin(&rq->call, d, arena_strndup(rq->call.arena, rq->raw, rq->raw_len), merge, 0, &revision);
	return e == ERR_OK ? show_twin(rq, TWIN_DESIRED) : e;
}

static enum err put_desired(struct api_request *rq)
{
	return change_twin(rq, false);
}

static enum err patch_desired(struct api_request *rq)
{
	return change_twin(rq, true);
}

/* ---- credentials ---- */

static enum err make_credential(struct api_request *rq)
{
	struct device_state *d;
	char secret[65];
	enum err e = find_device(rq, &d);
	if (e == ERR_OK)
		e = registry_make_secret(&rq->call, d, secret);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	json_str(&rq->out, "device", d->id);
	json_str(&rq->out, "secret", secret);
	json_close_object(&rq->out);
	return ERR_OK;
}

static enum err clear_credential(struct api_request *rq)
{
	struct device_state *d;
	enum err e = find_device(rq, &d);
	return e == ERR_OK ? registry_clear_secret(&rq->call, d) : e;
}

/* ---- routes ---- */

static const struct route_query delete_query[] = {
	{"force", "true: also when it takes part in a rollout; its deployment is cancelled"},
	{NULL, NULL},
};

#define TWIN_LIMIT (4 * TWIN_MAX) /* of the body: blanks and escapes count here, not in the document */

extern const struct route routes_devices[];
const struct route routes_devices[] = {
	{.method = "GET", .path = "/api/v1/devices", .role = ROLE_VIEWER, .summary = "lists devices", .tag = "devices", .reply = device_reply_fields,
	 .reply_is_list = true, .query = device_list_query, .handle = list_devices},
	{.method = "POST", .path = "/api/v1/devices", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED, .summary = "registers a device",
	 .tag = "devices", .body = device_create_fields, .body_bytes = sizeof(struct device_body), .reply = device_reply_fields, .handle = create_device},
	{.method = "POST", .path = "/api/v1/devices:bulk", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_STREAM,
	 .summary = "registers or changes many devices: NDJSON, one device a line, taken as they arrive", .tag = "devices", .body_limit = BULK_BYTES_MAX,
	 .reply = bulk_reply_fields, .stream = &bulk_stream},
	{.method = "GET", .path = "/api/v1/devices/{device}", .role = ROLE_VIEWER, .flags = ROUTE_LIVE, .summary = "shows a device", .tag = "devices",
	 .reply = device_reply_fields, .handle = get_device},
	{.method = "PATCH", .path = "/api/v1/devices/{device}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_IF_MATCH, .summary = "changes a device",
	 .tag = "devices", .body = patch_fields, .body_bytes = sizeof(struct device_body), .reply = device_reply_fields, .handle = patch_device},
	{.method = "DELETE", .path = "/api/v1/devices/{device}", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE, .summary = "deletes a device",
	 .tag = "devices", .reply = delete_fields, .query = delete_query, .handle = delete_device},
	{.method = "GET", .path = "/api/v1/devices/{device}/desired", .role = ROLE_VIEWER, .summary = "the desired twin: a JSON object", .tag = "devices",
	 .handle = get_desired},
	{.method = "PUT", .path = "/api/v1/devices/{device}/desired", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_IF_MATCH,
	 .summary = "replaces the desired twin", .tag = "devices", .body_limit = TWIN_LIMIT, .handle = put_desired},
	{.method = "PATCH", .path = "/api/v1/devices/{device}/desired", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_IF_MATCH,
	 .summary = "changes the desired twin by a JSON merge patch (RFC 7396)", .tag = "devices", .body_limit = TWIN_LIMIT, .handle = patch_desired},
	{.method = "GET", .path = "/api/v1/devices/{device}/reported", .role = ROLE_VIEWER, .summary = "the reported twin: running and capabilities",
	 .tag = "devices", .handle = get_reported},
	{.method = "POST", .path = "/api/v1/devices/{device}/credential", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_CREATED | ROUTE_SECRET,
	 .summary = "makes a new secret for the device, shown once", .tag = "devices", .reply = secret_fields, .handle = make_credential},
	{.method = "DELETE", .path = "/api/v1/devices/{device}/credential", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT,
	 .summary = "forgets the device's secret: it may enrol again", .tag = "devices", .handle = clear_credential},
	{.method = NULL},
};
