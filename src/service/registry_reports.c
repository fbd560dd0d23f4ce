/* What devices say about themselves, and how they prove who they are. */
#include <string.h>

#include "base/crypto.h"
#include "base/json.h"
#include "core/report.h"
#include "service/access.h"
#include "service/catalog.h"
#include "service/compats.h"
#include "service/detect.h"
#include "service/outbox.h"
#include "service/registry_internal.h"
#include "service/rollouts.h"
#include "service/signing.h"

#define SECRET_BYTES 32 /* of randomness; its text has twice as many digits */

/* ---- credentials ---- */

enum err registry_make_secret(struct call *c, struct device_state *d, char secret[65])
{
	uint8_t random[SECRET_BYTES], sha256[SHA256_BYTES];
	crypto_random(random, sizeof random);
	hex_encode(random, sizeof random, secret);
	crypto_sha256(secret, strlen(secret), sha256);
	enum err e = device_store_set_secret(c->s->registry->store, d->row, sha256, c->fault);
	return e == ERR_OK ? audit_append(c, "device.credential.create", registry_resource(c, d->id), NULL, NULL) : e;
}

enum err registry_clear_secret(struct call *c, struct device_state *d)
{
	enum err e = device_store_set_secret(c->s->registry->store, d->row, NULL, c->fault);
	return e == ERR_OK ? audit_append(c, "device.credential.delete", registry_resource(c, d->id), NULL, NULL) : e;
}

bool registry_check_secret(struct call *c, const char *device_id, const char *secret, size_t len)
{
	uint8_t given[SHA256_BYTES], kept[SHA256_BYTES] = {0};
	bool found, has;
	crypto_sha256(secret, len, given);
	enum err e = device_store_secret(c->s->registry->store, device_id, &found, &has, kept, c->fault);
	bool equal = crypto_equal(given, kept, sizeof given);
	return e == ERR_OK && has && equal;
}

/* ---- enrolment ---- */

static enum err bind_enrolment(struct call *c, const char *device_id, const struct device_report *report, struct device_spec *spec)
{
	*spec = (struct device_spec){.id = device_id, .name = report->enrol.name, .hardware = report->enrol.hardware, .tag_count = report->enrol.tag_count};
	const char **tags = arena_array(c->arena, spec->tag_count, sizeof *tags);
	for (size_t i = 0; i < spec->tag_count; i++)
		tags[i] = report->enrol.tags[i];
	spec->tags = tags;
	if (report->enrol.attributes.len == 0)
		return ERR_OK;
	struct json *attributes = NULL;
	enum err e = json_parse(report->enrol.attributes.data, report->enrol.attributes.len, &attributes, c->fault);
	if (e == ERR_OK)
		e = registry_bind_attributes(c, attributes, spec);
	json_free(attributes);
	return e;
}

static enum err enrol_new(struct call *c, const struct device_spec *spec, const uint8_t sha256[SHA256_BYTES], struct device_state **out)
{
	const char *after;
	enum err e = registry_insert(c, spec, out);
	if (e == ERR_OK)
		e = device_store_set_secret(c->s->registry->store, (*out)->row, sha256, c->fault);
	if (e == ERR_OK)
		e = registry_snapshot(c, *out, &after);
	if (e == ERR_OK)
		e = audit_append(c, "device.enrol", registry_resource(c, spec->id), NULL, after);
	return e == ERR_OK ? registry_event(c, "device.created", spec->id) : e;
}

/* A device that operators registered, or whose credential they reset, takes a secret. What they said about it stays. */
static enum err enrol_known(struct call *c, struct device_state *d, const struct device_spec *spec, const uint8_t sha256[SHA256_BYTES])
{
	const char *hardware = registry_text(c->s->registry, d->hardware);
	if (strcmp(hardware, spec->hardware) != 0)
		return fault_set(c->fault, ERR_CONFLICT, "/enrol/hardware", "device %s is registered with hardware %s, not %s", d->id, hardware, spec->hardware);
	enum err e = device_store_set_secret(c->s->registry->store, d->row, sha256, c->fault);
	if (e == ERR_OK)
		e = audit_append(c, "device.enrol", registry_resource(c, d->id), NULL, NULL);
	return e == ERR_OK ? registry_event(c, "device.updated", d->id) : e;
}

enum err registry_enrol(struct call *c, const char *device_id, const struct device_report *report, struct device_state **out)
{
	uint8_t sha256[SHA256_BYTES], kept[SHA256_BYTES];
	bool found, has;
	struct device_spec spec;
	struct device_state *d = registry_find(c->s->registry, device_id);
	if (!hex_decode(report->enrol.secret_sha256, strlen(report->enrol.secret_sha256), sha256, sizeof sha256))
		return fault_set(c->fault, ERR_INVALID, "/enrol/secret_sha256", "must be 64 hex digits");
	enum err e = device_store_secret(c->s->registry->store, device_id, &found, &has, kept, c->fault);
	if (e != ERR_OK)
		return e;
	*out = d;
	if (d != NULL && has && crypto_equal(sha256, kept, sizeof sha256))
		return ERR_OK;
	if (d != NULL && has)
		return fault_set(c->fault, ERR_FORBIDDEN, "/enrol/secret_sha256", "device %s has another credential; an operator must reset it first", device_id);
	e = bind_enrolment(c, device_id, report, &spec);
	if (e == ERR_OK)
		e = registry_check_spec(c, &spec, true);
	if (e != ERR_OK) {
		fault_prefix(c->fault, "/enrol");
		return e;
	}
	e = access_take_enrolment(c, report->enrol.token);
	if (e != ERR_OK)
		return e;
	return d == NULL ? enrol_new(c, &spec, sha256, out) : enrol_known(c, d, &spec, sha256);
}

/* ---- reports ---- */

static enum err write_models(struct call *c, int64_t row, const struct device_report *report)
{
	struct device_store *store = c->s->registry->store;
	struct device_pair *old;
	size_t count, same = 0;
	enum err e = device_store_list(store, DEVICE_MODELS, row, c->arena, &old, &count, c->fault);
	if (e != ERR_OK)
		return e;
	for (size_t i = 0; i < count; i++) {
		for (unsigned k = 0; k < report->running.model_count; k++)
			same += strcmp(old[i].name, report->running.models[k].name) == 0 && strcmp(old[i].value, report->running.models[k].version) == 0;
	}
	if (same == count && count == report->running.model_count)
		return ERR_OK;
	e = device_store_clear(store, DEVICE_MODELS, row, c->fault);
	for (unsigned k = 0; e == ERR_OK && k < report->running.model_count; k++)
		e = device_store_put(store, DEVICE_MODELS, row, report->running.models[k].name, report->running.models[k].version, c->fault);
	return e == ERR_OK ? device_store_settle(store, row, c->fault) : e;
}

/* The member's own text in one form, so that equal statements are equal bytes. */
static enum err canonical(struct call *c, struct slice text, const char **json)
{
	struct json *parsed = NULL;
	struct buf b = BUF_INIT;
	enum err e = json_parse(text.data, text.len, &parsed, c->fault);
	if (e == ERR_OK) {
		json_print_canonical(parsed, &b);
		*json = arena_strdup(c->arena, buf_cstr(&b));
	}
	json_free(parsed);
	buf_done(&b);
	return e;
}

enum err registry_set_class(struct call *c, struct device_state *d, uint32_t class)
{
	struct registry *r = c->s->registry;
	uint32_t before = registry_kind(r, d)->class;
	bool is_same = before == class || (class == 0 && before == FLEET_CLASS_MUTE);
	registry_touch(r, d);
	fleet_set_kind(&r->fleet, d, class);
	enum err e = is_same ? ERR_OK : device_store_set_class(r->store, d->row, class, c->fault);
	return e == ERR_OK && !is_same ? rollouts_recheck_device(c, d->row) : e;
}

/* After its capabilities, its firmware or its release changed. */
static enum err settle_class(struct call *c, struct device_state *d)
{
	struct device_record record;
	uint32_t class = 0;
	enum err e = device_store_get(c->s->registry->store, d->row, c->arena, &record, c->fault);
	bool is_mute = e == ERR_OK && d->is_ddi && strcmp(record.capabilities, "{}") == 0; /* its firmware alone says nothing */
	if (e == ERR_OK && !is_mute)
		e = compats_class(c, record.capabilities, record.firmware, &class);
	return e == ERR_OK ? registry_set_class(c, d, class) : e;
}

static enum err apply_running(struct call *c, struct device_state *d, const struct device_report *report)
{
	struct registry *r = c->s->registry;
	const char *reported, *before;
	int64_t revision;
	const char *release = report->running.release[0] != '\0' ? report->running.release : NULL;
	const char *firmware = report->running.firmware[0] != '\0' ? report->running.firmware : NULL;
	enum err e = canonical(c, report->running.text, &reported);
	if (e == ERR_OK)
		e = device_store_twin(r->store, d->row, true, c->arena, &before, &revision, c->fault);
	if (e != ERR_OK || strcmp(before, reported) == 0)
		return e;
	e = device_store_set_running(r->store, d->row, release, report->running.counter, firmware, reported, c->now_ms, c->fault);
	if (e == ERR_OK)
		e = write_models(c, d->row, report);
	if (e != ERR_OK)
		return e;
	registry_touch(r, d);
	d->release = fleet_intern(&r->fleet, FLEET_RELEASE, release);
	d->running_counter = report->running.counter;
	return settle_class(c, d);
}

/* Whether a release can run beside the device's own (docs/protocol.md): true and nothing else. */
static enum err can_shadow(struct call *c, const struct device_state *d, const char *capabilities, bool *can)
{
	struct json *root = NULL;
	enum err e = json_parse(capabilities, strlen(capabilities), &root, c->fault);
	*can = e == ERR_OK && json_is_true(json_get(root, "shadow"));
	if (e == ERR_OK)
		detect_on_capabilities(c->s->detect, d->row, root);
	json_free(root);
	return e;
}

enum err registry_set_capabilities(struct call *c, struct device_state *d, struct slice text)
{
	const char *json, *before;
	enum err e = canonical(c, text, &json);
	if (e == ERR_OK)
		e = registry_capabilities(c, d, &before);
	if (e != ERR_OK || strcmp(before, json) == 0)
		return e;
	bool can = false;
	e = can_shadow(c, d, json, &can);
	if (e == ERR_OK)
		e = device_store_set_capabilities(c->s->registry->store, d->row, json, can, c->now_ms, c->fault);
	if (e != ERR_OK)
		return e;
	registry_touch(c->s->registry, d);
	d->can_shadow = can;
	return settle_class(c, d);
}

enum err registry_apply_report(struct call *c, struct device_state *d, const struct device_report *report, bool *is_new)
{
	struct device_store *store = c->s->registry->store;
	char boot[NAME_BOOT_BYTES];
	int64_t seq;
	enum err e = device_store_last_report(store, d->row, boot, &seq, c->fault);
	if (e != ERR_OK)
		return e;
	if (!d->is_ddi)
		outbox_tell_device(c->s->outbox, d->row); /* acknowledges; a duplicate too, as the device has not heard it */
	*is_new = strcmp(boot, report->boot) != 0 || report->seq > seq;
	if (!*is_new)
		return ERR_OK;
	e = device_store_set_report(store, d->row, report->boot, report->seq, c->fault);
	if (e == ERR_OK && report->has_running)
		e = apply_running(c, d, report);
	if (e == ERR_OK && report->capabilities.len > 0)
		e = registry_set_capabilities(c, d, report->capabilities);
	return e;
}

/* ---- said by others ---- */

static const char *running_text(struct call *c, const struct registry_running *running)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	if (running->firmware != NULL)
		json_str(&b, "firmware", running->firmware);
	json_key(&b, "models");
	json_open_object(&b);
	for (size_t i = 0; i < running->model_count; i++)
		json_str(&b, running->models[i].name, running->models[i].value);
	json_close_object(&b);
	json_str(&b, "release", running->release);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

enum err registry_set_running(struct call *c, struct device_state *d, const struct registry_running *running)
{
	struct registry *r = c->s->registry;
	enum err e = device_store_set_running(r->store, d->row, running->release, 0, running->firmware, running_text(c, running), c->now_ms, c->fault);
	if (e == ERR_OK)
		e = device_store_clear(r->store, DEVICE_MODELS, d->row, c->fault);
	for (size_t i = 0; e == ERR_OK && i < running->model_count; i++)
		e = device_store_put(r->store, DEVICE_MODELS, d->row, running->models[i].name, running->models[i].value, c->fault);
	if (e == ERR_OK)
		e = device_store_settle(r->store, d->row, c->fault);
	if (e != ERR_OK)
		return e;
	registry_touch(r, d);
	d->release = fleet_intern(&r->fleet, FLEET_RELEASE, running->release);
	d->running_counter = 0;
	return settle_class(c, d);
}

/* ---- tokens of ddi devices ---- */

#define TOKEN_MAX 128

static void random_token(char out[33])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t random[32];
	crypto_random(random, sizeof random);
	for (size_t i = 0; i < sizeof random; i++)
		out[i] = letters[random[i] % 64];
	out[32] = '\0';
}

enum err registry_set_token(struct call *c, struct device_state *d, const char *text)
{
	char fresh[33];
	uint8_t sealed[TOKEN_MAX + CRYPTO_SEAL_BYTES];
	if (text == NULL) {
		random_token(fresh);
		text = fresh;
	}
	size_t len = strlen(text);
	bool ok = len >= 1 && len <= TOKEN_MAX;
	for (size_t i = 0; i < len; i++)
		ok = ok && text[i] > ' ' && text[i] < 0x7f;
	if (!ok)
		return fault_set(c->fault, ERR_INVALID, "/token", "a token has 1 to %d visible ASCII characters", TOKEN_MAX);
	crypto_seal(signing_target_key(catalog_signing(c->s->catalog)), text, len, sealed);
	registry_touch(c->s->registry, d);
	d->is_ddi = true;
	fleet_set_kind(&c->s->registry->fleet, d, registry_kind(c->s->registry, d)->class);
	return device_store_set_ddi(c->s->registry->store, d->row, sealed, len + CRYPTO_SEAL_BYTES, c->fault);
}
