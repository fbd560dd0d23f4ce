/* What a device should know: the number of its desired document, the message that says so, and the twins. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "base/json.h"
#include "service/access.h"
#include "service/outbox.h"
#include "service/registry_internal.h"

/* ---- the revision and its message ---- */

enum err registry_bump_desired(struct call *c, struct device_state *d)
{
	enum err e = device_store_bump(c->s->registry->store, d->row, c->fault);
	if (e != ERR_OK)
		return e;
	registry_touch(c->s->registry, d);
	d->desired_rev++;
	if (!d->is_ddi)
		outbox_tell_device(c->s->outbox, d->row);
	return ERR_OK;
}

/* The time of creation is in it, so that a device that is deleted and registered anew never meets an etag of its former life. */
void registry_desired_etag(const struct device_state *d, char etag[DESIRED_ETAG_SIZE])
{
	char text[DEVICE_ID_MAX + 48];
	uint8_t sha256[SHA256_BYTES];
	int len = snprintf(text, sizeof text, "%s|%lld|%lld", d->id, (long long)d->created_at, (long long)d->desired_rev);
	assert(len > 0 && (size_t)len < sizeof text);
	crypto_sha256(text, (size_t)len, sha256);
	hex_encode(sha256, (DESIRED_ETAG_SIZE - 1) / 2, etag);
}

enum err registry_desired_message(struct call *c, const struct device_state *d, struct buf *out)
{
	char boot[33], etag[DESIRED_ETAG_SIZE];
	int64_t seq;
	size_t start = out->len;
	enum err e = device_store_last_report(c->s->registry->store, d->row, boot, &seq, c->fault);
	if (e != ERR_OK)
		return e;
	registry_desired_etag(d, etag);
	buf_printf(out, "{\"rev\":%lld,\"etag\":\"%s\"", (long long)d->desired_rev, etag);
	if (boot[0] != '\0')
		buf_printf(out, ",\"ack\":[\"%s\",%lld]", boot, (long long)seq);
	buf_printf(out, ",\"url\":\"/device/v1/%s/desired\"}", d->id);
	assert(out->len - start <= DESIRED_MESSAGE_MAX); /* with the longest names and a number of 14 digits; nobody counts that far */
	return ERR_OK;
}

void registry_mark_sent(struct registry *r, struct device_state *d, int64_t rev)
{
	if (rev <= d->sent_rev)
		return;
	d->sent_rev = rev;
	registry_mark_dirty(r, d, REGISTRY_DIRTY_SENT);
}

void registry_tell_unsent(struct call *c)
{
	uint32_t at = 0;
	for (struct device_state *d; (d = registry_each(c->s->registry, &at)) != NULL;) {
		if (d->desired_rev > d->sent_rev && !d->is_ddi)
			outbox_tell_device(c->s->outbox, d->row);
	}
}

/* ---- twins ---- */

enum err registry_twin(struct call *c, const struct device_state *d, enum twin which, const char **json, int64_t *revision)
{
	struct device_store *store = c->s->registry->store;
	struct device_record record;
	enum err e = device_store_twin(store, d->row, which == TWIN_REPORTED, c->arena, json, revision, c->fault);
	if (e != ERR_OK || which == TWIN_DESIRED)
		return e;
	e = device_store_get(store, d->row, c->arena, &record, c->fault);
	if (e == ERR_OK)
		*json = arena_printf(c->arena, "{\"running\":%s,\"capabilities\":%s}", *json, record.capabilities);
	return e;
}

/* RFC 7396: what `target` becomes under `patch`. Depth is bounded by the parser. */
static void merge(const struct json *target, const struct json *patch, struct buf *out)
{
	if (json_type(patch) != JSON_OBJECT) {
		json_print(patch, out);
		return;
	}
	json_open_object(out);
	for (const struct json *m = json_first(target); m != NULL; m = json_next(m)) {
		if (json_get(patch, json_name(m)) == NULL) {
			json_key(out, json_name(m));
			json_print(m, out);
		}
	}
	for (const struct json *m = json_first(patch); m != NULL; m = json_next(m)) {
		if (json_type(m) == JSON_NULL)
			continue;
		const struct json *old = json_get(target, json_name(m));
		json_key(out, json_name(m));
		merge(old != NULL && json_type(old) == JSON_OBJECT ? old : NULL, m, out);
	}
	json_close_object(out);
}

static enum err merge_texts(const char *target, const char *patch, struct buf *out, struct fault *f)
{
	struct json *t = NULL, *p = NULL;
	enum err e = json_parse(target, strlen(target), &t, f);
	if (e == ERR_OK)
		e = json_parse(patch, strlen(patch), &p, f);
	if (e == ERR_OK)
		merge(t, p, out);
	json_free(t);
	json_free(p);
	return e;
}

/* The document in canonical form: an object within the limit. */
static enum err settle(struct call *c, const char *json, const char **canonical)
{
	struct json *root = NULL;
	struct buf b = BUF_INIT;
	enum err e = json_parse(json, strlen(json), &root, c->fault);
	if (e == ERR_OK && json_type(root) != JSON_OBJECT)
		e = fault_set(c->fault, ERR_INVALID, "", "a twin is a JSON object");
	if (e == ERR_OK) {
		json_print_canonical(root, &b);
		*canonical = arena_strdup(c->arena, buf_cstr(&b));
		if (b.len > TWIN_MAX)
			e = fault_set(c->fault, ERR_TOO_LARGE, "", "the document would have %zu bytes, %d are allowed", b.len, TWIN_MAX);
	}
	json_free(root);
	buf_done(&b);
	return e;
}

enum err registry_set_twin(struct call *c, struct device_state *d, const char *json, bool is_patch, int64_t if_revision, int64_t *revision)
{
	struct device_store *store = c->s->registry->store;
	const char *before, *after;
	struct buf merged = BUF_INIT;
	enum err e = device_store_twin(store, d->row, false, c->arena, &before, revision, c->fault);
	if (e == ERR_OK && if_revision > 0 && if_revision != *revision)
		e = fault_set(c->fault, ERR_PRECONDITION, "", "the twin has revision %lld, not %lld", (long long)*revision, (long long)if_revision);
	if (e == ERR_OK && is_patch)
		e = merge_texts(before, json, &merged, c->fault);
	if (e == ERR_OK)
		e = settle(c, is_patch ? buf_cstr(&merged) : json, &after);
	buf_done(&merged);
	if (e != ERR_OK || strcmp(before, after) == 0)
		return e;
	e = device_store_set_desired(store, d->row, after, c->now_ms, c->fault);
	if (e == ERR_OK)
		e = registry_bump_desired(c, d);
	if (e == ERR_OK)
		e = audit_append(c, "device.desired", registry_resource(c, d->id), before, after);
	(*revision)++;
	return e == ERR_OK ? registry_event(c, "device.updated", d->id) : e;
}
