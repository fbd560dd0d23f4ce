/* Devices as operators see them: creating, changing, deleting, showing. */
#include <assert.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "core/names.h"
#include "service/access.h"
#include "service/alerts.h"
#include "service/commands.h"
#include "service/outbox.h"
#include "service/registry_internal.h"
#include "service/rollouts.h"

#define NAME_MAX_BYTES 128
#define VALUE_MAX_BYTES 256

/* ---- checking ---- */

static bool is_plain_text(const char *s, size_t max)
{
	size_t len = strlen(s);
	if (len > max || !str_is_utf8(s, len))
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	}
	return true;
}

static enum err check_attributes(struct call *c, const struct device_spec *spec)
{
	if (spec->attribute_count > DEVICE_ATTRIBUTES_MAX)
		return fault_set(c->fault, ERR_INVALID, "/attributes", "at most %d attributes", DEVICE_ATTRIBUTES_MAX);
	for (size_t i = 0; i < spec->attribute_count; i++) {
		const struct device_attribute *a = &spec->attributes[i];
		if (!str_is_name(a->name))
			return fault_set(c->fault, ERR_INVALID, "/attributes", "an attribute's name has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit");
		if (a->value != NULL && !is_plain_text(a->value, VALUE_MAX_BYTES)) {
			char pointer[96] = "/attributes/";
			strncat(pointer, a->name, sizeof pointer - strlen(pointer) - 1);
			return fault_set(c->fault, ERR_INVALID, pointer, "a value has at most %d bytes and no control characters", VALUE_MAX_BYTES);
		}
	}
	return ERR_OK;
}

static enum err check_tags(struct call *c, const struct device_spec *spec)
{
	if (spec->tag_count > DEVICE_TAGS_MAX)
		return fault_set(c->fault, ERR_INVALID, "/tags", "at most %d tags", DEVICE_TAGS_MAX);
	for (size_t i = 0; i < spec->tag_count; i++) {
		if (!str_is_name(spec->tags[i]))
			return fault_set(c->fault, ERR_INVALID, arena_printf(c->arena, "/tags/%zu", i),
			                 "a tag has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit");
	}
	return ERR_OK;
}

enum err registry_check_spec(struct call *c, const struct device_spec *spec, bool is_new)
{
	if (is_new && (spec->id == NULL || !str_is_device_id(spec->id)))
		return fault_set(c->fault, ERR_INVALID, "/id", "a device id has 1 to 64 of A-Z a-z 0-9 . _ : - and begins with a letter or digit");
	if (is_new && spec->hardware == NULL)
		return fault_set(c->fault, ERR_INVALID, "/hardware", "is required");
	if (spec->hardware != NULL && !str_is_name(spec->hardware))
		return fault_set(c->fault, ERR_INVALID, "/hardware", "a hardware class has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit");
	if (spec->name != NULL && !is_plain_text(spec->name, NAME_MAX_BYTES))
		return fault_set(c->fault, ERR_INVALID, "/name", "at most %d bytes and no control characters", NAME_MAX_BYTES);
	if (spec->protocol != NULL && strcmp(spec->protocol, "aviary") != 0 && strcmp(spec->protocol, "ddi") != 0)
		return fault_set(c->fault, ERR_INVALID, "/protocol", "aviary or ddi");
	if (spec->token != NULL && (spec->protocol == NULL || strcmp(spec->protocol, "ddi") != 0))
		return fault_set(c->fault, ERR_INVALID, "/token", "only devices of protocol ddi have a token; others make a secret");
	enum err e = check_attributes(c, spec);
	return e == ERR_OK ? check_tags(c, spec) : e;
}

enum err registry_bind_attributes(struct call *c, const struct json *object, struct device_spec *spec)
{
	size_t count = json_count(object);
	if (json_type(object) != JSON_OBJECT || count > DEVICE_ATTRIBUTES_MAX)
		return fault_set(c->fault, ERR_INVALID, "/attributes", "an object of at most %d members", DEVICE_ATTRIBUTES_MAX);
	struct device_attribute *list = arena_array(c->arena, count, sizeof *list);
	size_t used = 0;
	for (const struct json *m = json_first(object); m != NULL; m = json_next(m)) {
		struct device_attribute *a = &list[used++];
		a->name = arena_strdup(c->arena, json_name(m));
		switch (json_type(m)) {
		case JSON_STRING:
			a->value = arena_strdup(c->arena, json_text(m));
			break;
		case JSON_NULL:
			break;
		case JSON_NUMBER:
		case JSON_BOOL: {
			struct buf text = BUF_INIT;
			json_print(m, &text);
			a->value = arena_strdup(c->arena, buf_cstr(&text));
			buf_done(&text);
			break;
		}
		default:
			return fault_set(c->fault, ERR_INVALID, "/attributes", "a value is a text, a number, true, false, or null to remove it");
		}
	}
	spec->attributes = list;
	spec->attribute_count = used;
	return ERR_OK;
}

/* ---- writing the children ---- */

static enum err put_attributes(struct call *c, int64_t row, const struct device_spec *spec)
{
	struct device_store *store = c->s->registry->store;
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < spec->attribute_count; i++) {
		const struct device_attribute *a = &spec->attributes[i];
		if (a->value == NULL)
			e = device_store_remove(store, DEVICE_ATTRIBUTES, row, a->name, c->fault);
		else
			e = device_store_put(store, DEVICE_ATTRIBUTES, row, a->name, a->value, c->fault);
	}
	return e;
}

static enum err put_tags(struct call *c, int64_t row, const struct device_spec *spec)
{
	struct device_store *store = c->s->registry->store;
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < spec->tag_count; i++)
		e = device_store_put(store, DEVICE_TAGS, row, spec->tags[i], NULL, c->fault);
	return e;
}

/* ---- creating ---- */

static bool is_ddi(const struct device_spec *spec)
{
	return spec->protocol != NULL && strcmp(spec->protocol, "ddi") == 0;
}

enum err registry_insert(struct call *c, const struct device_spec *spec, struct device_state **out)
{
	int64_t row = 0;
	uint32_t hardware;
	if (registry_find(c->s->registry, spec->id) != NULL)
		return fault_set(c->fault, ERR_CONFLICT, "/id", "device %s exists already", spec->id);
	enum err e = registry_hardware(c, spec->hardware, &hardware);
	if (e == ERR_OK)
		e = device_store_insert(c->s->registry->store, spec->id, spec->name != NULL ? spec->name : "", spec->hardware, c->now_ms, &row, c->fault);
	if (e == ERR_OK)
		e = put_attributes(c, row, spec);
	if (e == ERR_OK)
		e = put_tags(c, row, spec);
	if (e == ERR_OK && spec->attribute_count + spec->tag_count > 0)
		e = device_store_settle(c->s->registry->store, row, c->fault);
	if (e != ERR_OK)
		return e;
	*out = registry_mirror_new(c, row, spec->id, hardware);
	return is_ddi(spec) ? registry_set_token(c, *out, spec->token) : ERR_OK;
}

enum err registry_snapshot(struct call *c, const struct device_state *d, const char **json)
{
	struct device_store *store = c->s->registry->store;
	struct device_record record;
	struct device_pair *pairs;
	size_t count;
	struct buf b = BUF_INIT;
	enum err e = device_store_get(store, d->row, c->arena, &record, c->fault);
	if (e == ERR_OK) {
		json_open_object(&b);
		json_str(&b, "name", record.name);
		json_str(&b, "hardware", record.hardware);
		e = device_store_list(store, DEVICE_ATTRIBUTES, d->row, c->arena, &pairs, &count, c->fault);
	}
	if (e == ERR_OK) {
		json_key(&b, "attributes");
		json_open_object(&b);
		for (size_t i = 0; i < count; i++)
			json_str(&b, pairs[i].name, pairs[i].value);
		json_close_object(&b);
		e = device_store_list(store, DEVICE_TAGS, d->row, c->arena, &pairs, &count, c->fault);
	}
	if (e == ERR_OK) {
		json_key(&b, "tags");
		json_open_array(&b);
		for (size_t i = 0; i < count; i++)
			json_put_str(&b, pairs[i].name);
		json_close_array(&b);
		json_close_object(&b);
		*json = arena_strdup(c->arena, buf_cstr(&b));
	}
	buf_done(&b);
	return e;
}

/* What registry_snapshot would read back of a new device. */
static const char *spec_text(struct call *c, const struct device_spec *spec)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", spec->name != NULL ? spec->name : "");
	json_str(&b, "hardware", spec->hardware);
	json_key(&b, "attributes");
	json_open_object(&b);
	for (size_t i = 0; i < spec->attribute_count; i++) {
		if (spec->attributes[i].value != NULL)
			json_str(&b, spec->attributes[i].name, spec->attributes[i].value);
	}
	json_close_object(&b);
	json_key(&b, "tags");
	json_open_array(&b);
	for (size_t i = 0; i < spec->tag_count; i++)
		json_put_str(&b, spec->tags[i]);
	json_close_array(&b);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

enum err registry_create(struct call *c, const struct device_spec *spec, struct device_state **out)
{
	enum err e = registry_check_spec(c, spec, true);
	if (e == ERR_OK)
		e = registry_insert(c, spec, out);
	if (e == ERR_OK)
		e = audit_append(c, "device.create", registry_resource(c, spec->id), NULL, spec_text(c, spec));
	return e == ERR_OK ? registry_event(c, "device.created", spec->id) : e;
}

/* ---- changing ---- */

static enum err check_revision(struct call *c, const struct device_record *record, int64_t if_revision)
{
	if (if_revision > 0 && if_revision != record->revision)
		return fault_set(c->fault, ERR_PRECONDITION, "", "the device has revision %lld, not %lld", (long long)record->revision, (long long)if_revision);
	return ERR_OK;
}

static bool is_ddi_row(struct call *c, int64_t row)
{
	const struct device_state *d = registry_by_row(c->s->registry, row);
	return d != NULL && d->is_ddi;
}

static enum err count_attributes(struct call *c, int64_t row)
{
	struct device_pair *pairs;
	size_t count;
	enum err e = device_store_list(c->s->registry->store, DEVICE_ATTRIBUTES, row, c->arena, &pairs, &count, c->fault);
	if (e == ERR_OK && count > (is_ddi_row(c, row) ? DEVICE_ATTRIBUTES_DDI_MAX : DEVICE_ATTRIBUTES_MAX))
		e = fault_set(c->fault, ERR_INVALID, "/attributes", "the device would have more than %d attributes", DEVICE_ATTRIBUTES_MAX);
	return e;
}

/* Writes what the change says; attributes are merged, or replaced. */
static enum err write_change(struct call *c, struct device_state *d, const struct device_record *old, const struct device_spec *change, bool replace)
{
	struct device_store *store = c->s->registry->store;
	const char *hardware = change->hardware != NULL ? change->hardware : old->hardware;
	uint32_t number;
	enum err e = registry_hardware(c, hardware, &number);
	if (e == ERR_OK)
		e = device_store_update(store, d->row, change->name != NULL ? change->name : old->name, hardware, c->now_ms, c->fault);
	if (e == ERR_OK && replace && change->attributes != NULL)
		e = device_store_clear(store, DEVICE_ATTRIBUTES, d->row, c->fault);
	if (e == ERR_OK)
		e = put_attributes(c, d->row, change);
	if (e == ERR_OK && change->tags != NULL)
		e = device_store_clear(store, DEVICE_TAGS, d->row, c->fault);
	if (e == ERR_OK)
		e = put_tags(c, d->row, change);
	if (e == ERR_OK)
		e = device_store_settle(store, d->row, c->fault);
	if (e == ERR_OK && d->is_ddi)
		registry_touch(c->s->registry, d); /* its interval may depend on what was changed */
	if (e != ERR_OK || number == d->hardware)
		return e;
	registry_touch(c->s->registry, d);
	d->hardware = number;
	fleet_set_kind(&c->s->registry->fleet, d, registry_kind(c->s->registry, d)->class);
	return registry_bump_desired(c, d); /* another variant may be the right one */
}

enum err registry_set_hardware(struct call *c, struct device_state *d, const char *hardware)
{
	struct device_record old;
	const struct device_spec change = {.hardware = hardware};
	enum err e = device_store_get(c->s->registry->store, d->row, c->arena, &old, c->fault);
	return e == ERR_OK ? write_change(c, d, &old, &change, false) : e;
}

enum err registry_update(struct call *c, struct device_state *d, const struct device_spec *change, int64_t if_revision)
{
	struct device_record old;
	const char *before, *after;
	assert(change->hardware == NULL); /* the API has no such member */
	enum err e = registry_check_spec(c, change, false);
	if (e == ERR_OK)
		e = device_store_get(c->s->registry->store, d->row, c->arena, &old, c->fault);
	if (e == ERR_OK)
		e = check_revision(c, &old, if_revision);
	if (e == ERR_OK)
		e = registry_snapshot(c, d, &before);
	if (e == ERR_OK)
		e = write_change(c, d, &old, change, false);
	if (e == ERR_OK)
		e = count_attributes(c, d->row);
	if (e == ERR_OK)
		e = registry_snapshot(c, d, &after);
	if (e == ERR_OK)
		e = audit_append(c, "device.update", registry_resource(c, d->id), before, after);
	return e == ERR_OK ? registry_event(c, "device.updated", d->id) : e;
}

/* ---- bulk ---- */

static bool has_pair(const struct device_pair *pairs, size_t count, const char *name, const char *value)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(pairs[i].name, name) == 0)
			return value == NULL || strcmp(pairs[i].value, value) == 0;
	}
	return false;
}

/* Is the device already what the line says? Names in a line are distinct where it matters: JSON refuses a doubled key, and doubled tags only make
 * this say no. */
static enum err is_same(struct call *c, const struct device_record *old, const struct device_spec *spec, bool *same)
{
	struct device_store *store = c->s->registry->store;
	struct device_pair *pairs;
	size_t count;
	enum err e = ERR_OK;
	*same = strcmp(old->hardware, spec->hardware) == 0 && (spec->name == NULL || strcmp(old->name, spec->name) == 0);
	if (*same && spec->attributes != NULL) {
		e = device_store_list(store, DEVICE_ATTRIBUTES, old->row, c->arena, &pairs, &count, c->fault);
		*same = e == ERR_OK && count == spec->attribute_count;
		for (size_t i = 0; *same && i < count; i++)
			*same = spec->attributes[i].value != NULL && has_pair(pairs, count, spec->attributes[i].name, spec->attributes[i].value);
	}
	if (*same && spec->tags != NULL) {
		e = device_store_list(store, DEVICE_TAGS, old->row, c->arena, &pairs, &count, c->fault);
		*same = e == ERR_OK && count == spec->tag_count;
		for (size_t i = 0; *same && i < count; i++)
			*same = has_pair(pairs, count, spec->tags[i], NULL);
	}
	return e;
}

/* Events are left to the request's one (registry_note_bulk): listeners have no use for a million of them. */
static enum err upsert_new(struct call *c, const struct device_spec *spec)
{
	struct device_state *d;
	enum err e = registry_insert(c, spec, &d);
	return e == ERR_OK ? audit_append(c, "device.create", registry_resource(c, spec->id), NULL, spec_text(c, spec)) : e;
}

static enum err upsert_known(struct call *c, struct device_state *d, const struct device_record *old, const struct device_spec *spec)
{
	const char *before, *after;
	enum err e = registry_snapshot(c, d, &before);
	if (e == ERR_OK)
		e = write_change(c, d, old, spec, true);
	if (e == ERR_OK)
		e = registry_snapshot(c, d, &after);
	return e == ERR_OK ? audit_append(c, "device.update", registry_resource(c, d->id), before, after) : e;
}

enum err registry_upsert(struct call *c, const struct device_spec *spec, enum upsert *did)
{
	struct device_record old;
	bool same;
	enum err e = registry_check_spec(c, spec, true);
	if (e != ERR_OK)
		return e;
	struct device_state *d = registry_find(c->s->registry, spec->id);
	*did = UPSERT_CREATED;
	if (d == NULL)
		return upsert_new(c, spec);
	if (spec->protocol != NULL && is_ddi(spec) != d->is_ddi)
		return fault_set(c->fault, ERR_CONFLICT, "/protocol", "the device is registered with the other protocol: delete it first");
	if (spec->token != NULL) {
		e = registry_set_token(c, d, spec->token);
		if (e != ERR_OK)
			return e;
	}
	e = device_store_get(c->s->registry->store, d->row, c->arena, &old, c->fault);
	if (e == ERR_OK)
		e = is_same(c, &old, spec, &same);
	if (e != ERR_OK)
		return e;
	*did = same ? UPSERT_UNCHANGED : UPSERT_UPDATED;
	return same ? ERR_OK : upsert_known(c, d, &old, spec);
}

enum err registry_note_bulk(struct call *c, int64_t created, int64_t updated, int64_t unchanged, int64_t refused)
{
	const char *counts = arena_printf(c->arena, "{\"created\":%lld,\"updated\":%lld,\"unchanged\":%lld,\"refused\":%lld}", (long long)created,
	                                  (long long)updated, (long long)unchanged, (long long)refused);
	enum err e = audit_append(c, "device.bulk", "devices", NULL, counts);
	return e == ERR_OK && created + updated > 0 ? event_append(c, "device.bulk", "devices", counts) : e;
}

/* ---- deleting ---- */

/* Cancels the device's part in rollouts and says so; refuses that without `force`. */
static enum err leave_rollouts(struct call *c, struct device_state *d, bool force, struct buf *what)
{
	int64_t rollout = 0;
	struct buf text = BUF_INIT;
	enum err e = rollouts_of_device(c, d->row, &rollout);
	if (e == ERR_OK && rollout != 0 && !force)
		return fault_set(c->fault, ERR_CONFLICT, "", "device %s takes part in rollout %lld, which has not ended; force=true cancels its deployment", d->id,
		                 (long long)rollout);
	if (e == ERR_OK)
		e = rollouts_forget_device(c, d->row, &text);
	if (e == ERR_OK && what != NULL) {
		if (rollout != 0)
			json_int(what, "rollout", rollout);
		json_str(what, "did", text.len > 0 ? buf_cstr(&text) : "took part in no rollout");
	}
	buf_done(&text);
	return e;
}

enum err registry_delete(struct call *c, struct device_state *d, bool force, int64_t if_revision, struct buf *what)
{
	struct registry *r = c->s->registry;
	struct device_record old;
	const char *before;
	enum err e = device_store_get(r->store, d->row, c->arena, &old, c->fault);
	if (e == ERR_OK)
		e = check_revision(c, &old, if_revision);
	if (e == ERR_OK)
		e = registry_snapshot(c, d, &before);
	if (e == ERR_OK)
		e = leave_rollouts(c, d, force, what);
	if (e == ERR_OK && c->s->alerts != NULL) /* opened after the registry */
		e = alerts_forget_device(c, d->id);
	if (e == ERR_OK && c->s->commands != NULL)
		e = commands_leave(c, d);
	if (e == ERR_OK)
		e = device_store_delete(r->store, d->row, c->fault);
	if (e == ERR_OK)
		e = audit_append(c, "device.delete", registry_resource(c, old.device_id), before, NULL);
	if (e == ERR_OK)
		e = registry_event(c, "device.deleted", old.device_id);
	if (e != ERR_OK)
		return e;
	outbox_clear_retained(c->s->outbox, old.device_id);
	registry_mirror_gone(r, d);
	return ERR_OK;
}

/* ---- showing ---- */

static void encode_running(const struct device_record *record, struct buf *out)
{
	json_key(out, "running");
	json_open_object(out);
	if (record->release != NULL)
		json_str(out, "release", record->release);
	json_int(out, "counter", record->running_counter);
	if (record->firmware != NULL)
		json_str(out, "firmware", record->firmware);
	json_raw(out, "models", record->models);
	json_close_object(out);
}

#define ENCODED_BYTES 1024 /* of most devices */

struct encoding {
	struct call *c;
	const struct device_state *d;
	struct buf *out;
	int64_t revision;
};

static void encode(void *ctx, const struct device_record *record)
{
	struct encoding *x = ctx;
	const struct device_state *d = x->d;
	struct buf *out = x->out;
	x->revision = record->revision;
	buf_reserve(out, ENCODED_BYTES);
	json_open_object(out);
	json_str(out, "id", record->device_id);
	json_str(out, "name", record->name);
	json_str(out, "hardware", record->hardware);
	json_str(out, "protocol", d->is_ddi ? "ddi" : "aviary");
	json_raw(out, "attributes", record->attributes);
	json_raw(out, "tags", record->tags);
	json_bool(out, "online", d->online);
	if (d->last_seen_ms > 0)
		json_int(out, "last_seen_at", d->last_seen_ms);
	encode_running(record, out);
	json_raw(out, "capabilities", record->capabilities);
	if (d->deployment != 0)
		json_str(out, "deployment", arena_printf(x->c->arena, "d-%lld", (long long)d->deployment));
	json_int(out, "desired_revision", record->desired_revision);
	json_int(out, "reported_revision", record->reported_revision);
	json_int(out, "desired_rev", d->desired_rev);
	json_int(out, "sent_rev", d->sent_rev);
	json_bool(out, "has_credential", record->has_secret);
	json_int(out, "revision", record->revision);
	json_int(out, "created_at", record->created_at);
	json_int(out, "updated_at", record->updated_at);
	json_close_object(out);
}

enum err registry_encode(struct call *c, const struct device_state *d, struct buf *out, int64_t *revision)
{
	struct encoding x = {.c = c, .d = d, .out = out};
	enum err e = device_store_visit(c->s->registry->store, d->row, encode, &x, c->fault);
	*revision = x.revision;
	return e;
}

enum err registry_revision(struct call *c, const struct device_state *d, int64_t *revision)
{
	struct device_record record;
	enum err e = device_store_get(c->s->registry->store, d->row, c->arena, &record, c->fault);
	if (e == ERR_OK)
		*revision = record.revision;
	return e;
}

enum err registry_attribute(struct call *c, const struct device_state *d, const char *name, const char **value)
{
	return device_store_value(c->s->registry->store, DEVICE_ATTRIBUTES, d->row, name, c->arena, value, c->fault);
}

enum err registry_attribute_is_shared(struct call *c, const char *name, const char *value, bool *is_shared)
{
	return device_store_is_shared(c->s->registry->store, name, value, is_shared, c->fault);
}

enum err registry_model(struct call *c, const struct device_state *d, const char *model, const char **version)
{
	return device_store_value(c->s->registry->store, DEVICE_MODELS, d->row, model, c->arena, version, c->fault);
}

enum err registry_capabilities(struct call *c, const struct device_state *d, const char **json)
{
	struct device_record record;
	enum err e = device_store_get(c->s->registry->store, d->row, c->arena, &record, c->fault);
	if (e == ERR_OK)
		*json = record.capabilities;
	return e;
}

enum err registry_firmware(struct call *c, const struct device_state *d, const char **firmware)
{
	struct device_record record;
	enum err e = device_store_get(c->s->registry->store, d->row, c->arena, &record, c->fault);
	if (e == ERR_OK)
		*firmware = record.firmware;
	return e;
}
