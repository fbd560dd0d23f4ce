/* The device itself: its token, how it is registered, what it tells about itself, whether it confirms by itself. */
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/str.h"
#include "service/access.h"
#include "service/actions_inside.h"
#include "service/catalog.h"
#include "service/releases.h"
#include "service/signing.h"

#define ATTRIBUTES_MAX 100
#define ATTRIBUTE_KEY_MAX 128
#define ATTRIBUTE_VALUE_MAX 256
#define REMARK_MAX 512

static const char *resource_of(struct call *c, const struct device_state *d)
{
	return arena_printf(c->arena, "devices/%s", d->id);
}

/* ---- tokens ---- */

enum err actions_set_token(struct call *c, struct device_state *d, const char *text)
{
	enum err e = d->is_ddi ? registry_set_token(c, d, text) : fault_set(c->fault, ERR_CONFLICT, "", "only devices of protocol ddi have tokens");
	return e ? e : audit_append(c, "device.token", resource_of(c, d), NULL, NULL);
}

enum err actions_token(struct call *c, const struct device_state *d, const char **text)
{
	struct ddi_state *st;
	struct device_state *device = registry_by_row(c->s->registry, d->row);
	*text = NULL;
	if (!d->is_ddi)
		return ERR_OK;
	enum err e = ddi_refresh(c, device, &st);
	if (!e && st->token_len)
		*text = arena_strndup(c->arena, ddi_token(st), st->token_len);
	return e;
}

const char *actions_hardware(const struct call *c)
{
	return c->s->actions->options->hardware;
}

enum err actions_register(struct call *c, const char *id, struct device_state **out)
{
	struct device_spec spec = {.id = id, .name = arena_printf(c->arena, "Plug and Play target: %s", id),
		.hardware = c->s->actions->options->hardware, .protocol = "ddi"};
	return registry_create(c, &spec, out);
}

/* ---- attributes ---- */

enum err actions_request_attributes(struct call *c, struct device_state *d)
{
	ddi_changed(c, d);
	return device_store_set_wants(c->s->actions->devices, d->row, true, c->fault);
}

bool actions_wants_attributes(struct call *c, const struct device_state *d)
{
	struct ddi_state *st;
	struct device_state *device = registry_by_row(c->s->registry, d->row);
	return d->is_ddi && ddi_refresh(c, device, &st) == ERR_OK && st->wants_attributes;
}

static bool is_plain(const char *text, size_t min, size_t max)
{
	size_t len = strlen(text);
	bool ok = len >= min && len <= max;
	for (size_t i = 0; i < len && ok; i++)
		ok = (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
	return ok;
}

/* Text of a value; NULL for null. Numbers and booleans are taken as their text, as hawkBit's parser does. */
static enum err value_of(struct call *c, const struct json *m, const char **out)
{
	struct buf b = BUF_INIT;
	*out = NULL;
	if (json_type(m) == JSON_NULL)
		return ERR_OK;
	if (json_type(m) == JSON_STRING)
		*out = arena_strdup(c->arena, json_text(m));
	else if (json_type(m) == JSON_NUMBER || json_type(m) == JSON_BOOL)
		json_print(m, &b);
	else
		return fault_set(c->fault, ERR_BAD_REQUEST, "", "an attribute is a text");
	if (!*out)
		*out = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return is_plain(*out, 0, ATTRIBUTE_VALUE_MAX) ? ERR_OK
		: fault_set(c->fault, ERR_BAD_REQUEST, "", "an attribute's value has at most %d bytes and no control characters", ATTRIBUTE_VALUE_MAX);
}

static enum err put_attributes(struct call *c, struct device_state *d, enum attributes_mode mode, const struct json *data)
{
	struct device_store *store = c->s->actions->devices;
	enum err e = mode == ATTRIBUTES_REPLACE ? device_store_clear(store, DEVICE_ATTRIBUTES, d->row, c->fault) : ERR_OK;
	for (const struct json *m = json_first(data); m && !e; m = json_next(m)) {
		const char *value;
		if (!is_plain(json_name(m), 1, ATTRIBUTE_KEY_MAX))
			return fault_set(c->fault, ERR_BAD_REQUEST, "", "an attribute's key has 1 to %d bytes and no control characters",
				ATTRIBUTE_KEY_MAX);
		e = value_of(c, m, &value);
		if (!e && (!value || mode == ATTRIBUTES_REMOVE))
			e = device_store_remove(store, DEVICE_ATTRIBUTES, d->row, json_name(m), c->fault);
		else if (!e)
			e = device_store_put(store, DEVICE_ATTRIBUTES, d->row, json_name(m), value, c->fault);
	}
	return e ? e : device_store_settle(store, d->row, c->fault);
}

static enum err take_hardware(struct call *c, struct device_state *d)
{
	const char *value = NULL, *name = c->s->actions->options->hardware_attribute;
	enum err e = name[0] ? registry_attribute(c, d, name, &value) : ERR_OK;
	if (e || !value || !str_is_name(value) || strcmp(value, registry_text(c->s->registry, d->hardware)) == 0)
		return e;
	return registry_set_hardware(c, d, value);
}

/* What it ran before it was ours: so that its first update can be taken back. */
static enum err take_release(struct call *c, struct device_state *d)
{
	const char *value = NULL, *name = c->s->actions->options->release_attribute;
	struct release_row row;
	if (d->release != 0 || !name[0])
		return ERR_OK;
	enum err e = registry_attribute(c, d, name, &value);
	if (!e && value)
		e = releases_find(c, value, &row);
	if (e || !value)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	return ddi_installed(c, d, row.id, 0, 0);
}

enum err actions_set_attributes(struct call *c, struct device_state *d, enum attributes_mode mode, const struct json *data)
{
	struct device_store *store = c->s->actions->devices;
	struct device_pair *pairs;
	size_t count = 0;
	enum err e = put_attributes(c, d, mode, data);
	if (!e)
		e = device_store_list(store, DEVICE_ATTRIBUTES, d->row, c->arena, &pairs, &count, c->fault);
	if (!e && count > ATTRIBUTES_MAX)
		e = fault_set(c->fault, ERR_TOO_MANY, "", "a device has at most %d attributes", ATTRIBUTES_MAX);
	if (!e)
		e = device_store_set_wants(store, d->row, false, c->fault);
	if (e)
		return e;
	ddi_changed(c, d);
	e = take_hardware(c, d);
	if (!e)
		e = take_release(c, d);
	if (!e)
		e = ddi_take_capabilities(c, d, pairs, count);
	return e ? e : event_append(c, "device.updated", resource_of(c, d), arena_printf(c->arena, "{\"id\":\"%s\"}", d->id));
}

/* ---- what it runs ---- */

static enum err running_of(struct call *c, const struct release_row *release, struct registry_running *out)
{
	struct component_row *rows = NULL;
	size_t count = 0;
	enum err e = releases_components(c, release->id, &rows, &count);
	if (e)
		return e;
	struct device_attribute *models = arena_array(c->arena, count, sizeof *models);
	*out = (struct registry_running){.release = release->name, .models = models};
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].kind, "firmware") == 0)
			out->firmware = rows[i].version_text;
		else
			models[out->model_count++] = (struct device_attribute){rows[i].model, rows[i].version_text};
	}
	return ERR_OK;
}

enum err ddi_installed(struct call *c, struct device_state *d, int64_t release, int64_t action, int64_t at)
{
	struct actions *x = c->s->actions;
	struct release_row row;
	struct registry_running running;
	struct ddi_state *st;
	enum err e = ddi_refresh(c, d, &st);
	if (!e && action && at < st->installed_at)
		return ERR_OK; /* older news than what is known (c.4) */
	if (!e)
		e = releases_get(c, release, &row);
	if (!e)
		e = running_of(c, &row, &running);
	if (!e)
		e = registry_set_running(c, d, &running);
	ddi_changed(c, d);
	return e ? e : device_store_set_installed(x->devices, d->row, at ? at : st->installed_at, action, c->fault);
}

/* By its name, or by name and version as hawkBit writes them. */
static enum err find_set(struct call *c, const char *name, const char *version, struct release_row *row)
{
	int64_t id;
	enum err e = action_find_set(c->s->actions->store, name, version, &id, c->fault);
	if (e || id)
		return e ? e : releases_get(c, id, row);
	e = releases_find(c, name, row);
	return e == ERR_NOT_FOUND ? releases_find(c, arena_printf(c->arena, "%.64s-%.64s", name, version), row) : e;
}

enum err actions_set_installed(struct call *c, struct device_state *d, const char *name, const char *version, bool *is_new)
{
	struct release_row row;
	const char *before = arena_strdup(c->arena, registry_text(c->s->registry, d->release));
	enum err e = find_set(c, name, version, &row);
	if (e == ERR_NOT_FOUND) { /* nothing of ours: what it was is not known, and it cannot be sent back there */
		const struct registry_running other = {.release = arena_printf(c->arena, "%.128s:%.64s", name, version)};
		*is_new = strcmp(before, other.release) != 0;
		if (!*is_new)
			return ERR_OK;
		e = registry_set_running(c, d, &other);
		ddi_changed(c, d);
		return e ? e : device_store_set_installed(c->s->actions->devices, d->row, c->now_ms, 0, c->fault);
	}
	*is_new = !e && strcmp(before, row.name) != 0;
	return e || !*is_new ? e : ddi_installed(c, d, row.id, 0, c->now_ms);
}

/* ---- confirming by itself ---- */

struct auto_reading {
	struct call *c;
	const char *json;
};

static void read_auto(void *ctx, const struct device_ddi *in)
{
	struct auto_reading *r = ctx;
	r->json = arena_strdup(r->c->arena, in->auto_confirm);
}

static const char *text_of(struct call *c, const struct json *j, const char *name)
{
	return arena_strdup(c->arena, json_text(json_get(j, name)));
}

enum err actions_auto_confirm(struct call *c, const struct device_state *d, struct auto_confirm *out)
{
	struct auto_reading r = {c, NULL};
	struct json *j = NULL;
	bool found;
	*out = (struct auto_confirm){.is_active = false};
	enum err e = device_store_ddi(c->s->actions->devices, d->row, read_auto, &r, &found, c->fault);
	if (e || !r.json)
		return e;
	e = json_parse(r.json, strlen(r.json), &j, c->fault);
	if (e)
		return e;
	*out = (struct auto_confirm){true, text_of(c, j, "initiator"), text_of(c, j, "remark"), (int64_t)json_number(json_get(j, "activated_at"))};
	json_free(j);
	return ERR_OK;
}

static enum err confirm_waiting(struct call *c, struct device_state *d)
{
	struct ddi_state *st;
	const struct action_feedback fb = {.details = {.count = 0}};
	enum err e = ddi_refresh(c, d, &st);
	if (e || st->kind != OFFER_CONFIRMATION)
		return e;
	return actions_confirm(c, d, st->action, true, &fb);
}

enum err actions_auto_confirm_on(struct call *c, struct device_state *d, const char *initiator, const char *remark)
{
	struct auto_confirm now;
	struct buf b = BUF_INIT;
	if ((initiator && !is_plain(initiator, 0, REMARK_MAX)) || (remark && !is_plain(remark, 0, REMARK_MAX)))
		return fault_set(c->fault, ERR_BAD_REQUEST, "", "initiator and remark have at most %d bytes and no control characters", REMARK_MAX);
	enum err e = actions_auto_confirm(c, d, &now);
	if (!e && now.is_active)
		e = fault_set(c->fault, ERR_CONFLICT, "", "the device confirms by itself already");
	if (e)
		return e;
	json_open_object(&b);
	if (initiator)
		json_str(&b, "initiator", initiator);
	if (remark)
		json_str(&b, "remark", remark);
	json_int(&b, "activated_at", c->now_ms);
	json_close_object(&b);
	e = device_store_set_auto_confirm(c->s->actions->devices, d->row, buf_cstr(&b), c->fault);
	buf_done(&b);
	ddi_changed(c, d);
	return e ? e : confirm_waiting(c, d);
}

enum err actions_auto_confirm_off(struct call *c, struct device_state *d)
{
	ddi_changed(c, d);
	return device_store_set_auto_confirm(c->s->actions->devices, d->row, NULL, c->fault);
}
