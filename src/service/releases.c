#include "service/releases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"
#include "service/access.h"
#include "service/catalog.h"
#include "service/inspect.h"
#include "service/signing.h"

#define DESCRIPTION_MAX 1024
#define MANIFEST_COUNTER "manifest"
/* How far a device's word may lift the counter in one step: enough after an old backup was restored, too little for a lying device
 * to ever use the number line up. */
#define COUNTER_STEP_MAX 1000000

static struct release_store *store_of(const struct call *c)
{
	return catalog_releases(c->s->catalog);
}

/* ---- manifests ---- */

static enum err put_component(struct call *c, int64_t release, const struct component_row *component, struct buf *b)
{
	struct artifact_row *artifacts = NULL;
	size_t count = 0;
	enum err e = release_store_artifacts(store_of(c), release, component->version, c->arena, &artifacts, &count, c->fault);
	if (e != ERR_OK)
		return e;
	json_open_object(b);
	json_str(b, "kind", component->kind);
	json_str(b, "name", component->model);
	json_str(b, "version", component->version_text);
	json_key(b, "artifacts");
	json_open_array(b);
	for (size_t i = 0; i < count; i++) {
		json_open_object(b);
		json_str(b, "hardware", artifacts[i].hardware);
		if (artifacts[i].variant[0] != '\0')
			json_str(b, "variant", artifacts[i].variant);
		json_str(b, "sha256", artifacts[i].sha256);
		json_int(b, "size_bytes", artifacts[i].size_bytes);
		json_str(b, "file", artifacts[i].file_name);
		json_close_object(b);
	}
	json_close_array(b);
	json_close_object(b);
	return ERR_OK;
}

/* The bytes that are signed (docs/protocol.md): everything but counter and time is a function of the release's rows. */
static enum err write_manifest(struct call *c, const struct release_row *release, int64_t counter, struct buf *b)
{
	struct component_row *components = NULL;
	size_t count = 0;
	int64_t life_ms = catalog_manifest_life_ms(c->s->catalog);
	enum err e = release_store_components(store_of(c), release->id, c->arena, &components, &count, c->fault);
	json_open_object(b);
	json_str(b, "format", "aviary-manifest-1");
	json_str(b, "release", release->name);
	json_int(b, "counter", counter);
	json_int(b, "created", c->now_ms);
	json_int(b, "expires", life_ms > 0 ? c->now_ms + life_ms : 0);
	json_key(b, "components");
	json_open_array(b);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = put_component(c, release->id, &components[i], b);
	json_close_array(b);
	json_raw(b, "config", release->config);
	json_close_object(b);
	if (e == ERR_OK && b->len > RELEASE_MANIFEST_BYTES_MAX)
		e = fault_set(c->fault, ERR_TOO_LARGE, "", "the manifest would have %zu bytes, devices take %d: fewer components, variants or configuration",
		              b->len, RELEASE_MANIFEST_BYTES_MAX);
	return e;
}

static enum err sign_manifest(struct call *c, const struct release_row *release, int64_t *counter)
{
	const struct signing *signing = catalog_signing(c->s->catalog);
	struct buf b = BUF_INIT;
	enum err e = counter_next(c, MANIFEST_COUNTER, counter);
	if (e == ERR_OK)
		e = write_manifest(c, release, *counter, &b);
	if (e == ERR_OK) {
		uint8_t signature[ED25519_SIGNATURE_BYTES];
		signing_sign(signing, b.data, b.len, signature);
		struct manifest_row row = {.counter = *counter, .release = release->id, .bytes = (const uint8_t *)b.data, .len = b.len,
			.signature = signature, .key_id = signing_key_id(signing), .created_at = c->now_ms};
		e = release_store_insert_manifest(store_of(c), &row, c->fault);
	}
	buf_done(&b);
	return e;
}

/* Makes the next counter at least `least`, unless that is absurd: then the device's word is not believed. */
static enum err lift_counter(struct call *c, int64_t least, bool *believed)
{
	int64_t last = 0;
	enum err e = counter_get(c, MANIFEST_COUNTER, &last);
	*believed = e == ERR_OK && least - 1 <= last + COUNTER_STEP_MAX;
	return *believed && least - 1 > last ? counter_raise(c, MANIFEST_COUNTER, least - 1) : e;
}

/* The end that the signed bytes say; they are ours: compact, `expires` before any text that a person chose but the name. */
static int64_t expiry_of(const struct manifest_row *m)
{
	static const char key[] = ",\"expires\":";
	const char *at = memmem(m->bytes, m->len, key, sizeof key - 1);
	return at ? strtoll(at + sizeof key - 1, NULL, 10) : 0; /* a comma follows */
}

/* Devices that are away for a while still want it when they are back: one that is over half of its life is signed anew. */
static enum err is_young(struct call *c, int64_t counter, bool *young)
{
	struct manifest_times *t = catalog_manifest_times(c->s->catalog);
	int64_t life_ms = catalog_manifest_life_ms(c->s->catalog);
	if (t->counter != counter) {
		struct manifest_row row;
		enum err e = release_store_manifest(store_of(c), counter, c->arena, &row, c->fault);
		if (e != ERR_OK)
			return e;
		*t = (struct manifest_times){counter, row.created_at, expiry_of(&row)};
	}
	if (t->expires_at == 0)
		*young = life_ms == 0 || c->now_ms < t->created_at + life_ms / 2;
	else
		*young = c->now_ms < t->created_at + (t->expires_at - t->created_at) / 2;
	return ERR_OK;
}

enum err releases_manifest_for(struct call *c, int64_t release, int64_t min_counter, int64_t *counter)
{
	const char *key_id = signing_key_id(catalog_signing(c->s->catalog));
	enum err found = release_store_newest_manifest(store_of(c), release, key_id, counter, c->fault);
	bool young = false, believed = false;
	if (found == ERR_OK && *counter >= min_counter)
		found = is_young(c, *counter, &young);
	if (young || (found != ERR_OK && found != ERR_NOT_FOUND))
		return found;
	enum err e = lift_counter(c, min_counter, &believed);
	if (e != ERR_OK || (!believed && found == ERR_OK))
		return e; /* the newest there is; the device will say why it refuses it */
	struct release_row row;
	e = releases_get(c, release, &row);
	return e == ERR_OK ? sign_manifest(c, &row, counter) : e;
}

enum err releases_manifest(struct call *c, int64_t counter, struct manifest_row *out)
{
	enum err e = release_store_manifest(store_of(c), counter, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "there is no manifest %lld", (long long)counter) : e;
}

enum err releases_newest_manifest(struct call *c, int64_t release, struct manifest_row *out)
{
	int64_t counter = 0;
	const char *key_id = signing_key_id(catalog_signing(c->s->catalog));
	enum err e = release_store_newest_manifest(store_of(c), release, key_id, &counter, c->fault);
	if (e == ERR_NOT_FOUND)
		return fault_set(c->fault, e, "", "the release has no manifest that was signed with the present key");
	return e == ERR_OK ? releases_manifest(c, counter, out) : e;
}

/* ---- making one ---- */

struct chosen { /* a component that was found */
	struct model_row model;
	struct version_row version;
};

static enum err component_fault(struct call *c, enum err e, size_t at, const char *member)
{
	char pointer[64], detail[sizeof c->fault->detail];
	snprintf(pointer, sizeof pointer, "/components/%zu/%s", at, member);
	str_copy(detail, sizeof detail, c->fault->detail);
	return fault_set(c->fault, e, pointer, "%s", detail);
}

/* Nobody should learn from bricked canaries what the server knows. */
static enum err check_facts(struct call *c, const struct artifact_row *row)
{
	if (strcmp(row->facts_state, facts_state_text(FACTS_REFUSED)) == 0)
		return fault_set(c->fault, ERR_CONFLICT, "", "artifact %lld (%s) is refused: %s", (long long)row->id, row->file_name, row->facts_error);
	if (strcmp(row->facts_state, facts_state_text(FACTS_READING)) == 0)
		return fault_set(c->fault, ERR_CONFLICT, "", "artifact %lld (%s) is still being read: try again", (long long)row->id, row->file_name);
	return ERR_OK;
}

static enum err choose(struct call *c, const struct release_input *in, size_t at, struct chosen *all)
{
	const struct component_input *want = &in->components[at];
	struct chosen *mine = &all[at];
	enum err e = catalog_find_model(c, want->model, &mine->model);
	if (e != ERR_OK)
		return e == ERR_NOT_FOUND ? component_fault(c, ERR_INVALID, at, "model") : e;
	e = catalog_find_version(c, &mine->model, want->version, &mine->version);
	if (e != ERR_OK)
		return e == ERR_NOT_FOUND ? component_fault(c, ERR_INVALID, at, "version") : e;
	for (size_t i = 0; i < at; i++) {
		bool both_firmware = strcmp(all[i].model.kind, "firmware") == 0 && strcmp(mine->model.kind, "firmware") == 0;
		if (all[i].model.id != mine->model.id && !both_firmware)
			continue;
		fault_set(c->fault, ERR_INVALID, "", both_firmware ? "%s would be the second firmware of the release" : "model %s comes twice",
		          mine->model.name);
		return component_fault(c, ERR_INVALID, at, "model");
	}
	struct artifact_row *artifacts = NULL;
	size_t count = 0, ready = 0;
	e = catalog_list_artifacts(c, &mine->version, &artifacts, &count);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		ready += strcmp(artifacts[i].state, "ready") == 0;
		e = check_facts(c, &artifacts[i]);
	}
	if (e == ERR_CONFLICT)
		return component_fault(c, e, at, "version");
	if (e == ERR_OK && ready == 0) {
		fault_set(c->fault, ERR_CONFLICT, "", "version %s of model %s has no artifact that is ready", want->version, want->model);
		return component_fault(c, ERR_CONFLICT, at, "version");
	}
	return e;
}

static enum err check_config(struct call *c, const char *text, const char **canonical)
{
	struct json *root = NULL;
	enum err e = json_parse(text, strlen(text), &root, c->fault);
	if (e == ERR_OK && json_type(root) != JSON_OBJECT)
		e = fault_set(c->fault, ERR_INVALID, "/config", "an object is expected");
	if (e == ERR_OK) {
		struct buf b = BUF_INIT;
		json_print_canonical(root, &b);
		if (b.len > RELEASE_CONFIG_BYTES_MAX)
			e = fault_set(c->fault, ERR_INVALID, "/config", "longer than %d bytes", RELEASE_CONFIG_BYTES_MAX);
		else
			*canonical = arena_strdup(c->arena, buf_cstr(&b));
		buf_done(&b);
	}
	json_free(root);
	return e;
}

static enum err check_input(struct call *c, const struct release_input *in, struct release_row *out)
{
	*out = (struct release_row){.name = in->name, .description = in->description ? in->description : "", .config = "{}", .created_at = c->now_ms};
	if (!str_is_name(out->name))
		return fault_set(c->fault, ERR_INVALID, "/name", "a name has 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter or digit");
	if (strlen(out->description) > DESCRIPTION_MAX || !str_is_utf8(out->description, strlen(out->description)))
		return fault_set(c->fault, ERR_INVALID, "/description", "at most %d bytes of UTF-8 are expected", DESCRIPTION_MAX);
	if (in->component_count < 1 || in->component_count > RELEASE_COMPONENTS_MAX)
		return fault_set(c->fault, ERR_INVALID, "/components", "1 to %d components are expected", RELEASE_COMPONENTS_MAX);
	return in->config ? check_config(c, in->config, &out->config) : ERR_OK;
}

static const char *release_json(struct call *c, const struct release_row *r, const struct component_row *components, size_t count)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", r->name);
	json_str(&b, "description", r->description);
	json_key(&b, "components");
	json_open_array(&b);
	for (size_t i = 0; i < count; i++) {
		json_open_object(&b);
		json_str(&b, "model", components[i].model);
		json_str(&b, "version", components[i].version_text);
		json_close_object(&b);
	}
	json_close_array(&b);
	json_raw(&b, "config", r->config);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static enum err note_created(struct call *c, const struct release_row *r)
{
	struct component_row *components = NULL;
	size_t count = 0;
	const char *resource = arena_printf(c->arena, "releases/%s", r->name);
	enum err e = releases_components(c, r->id, &components, &count);
	if (e == ERR_OK)
		e = audit_append(c, "release.create", resource, NULL, release_json(c, r, components, count));
	if (e == ERR_OK)
		e = event_append(c, "release.created", resource, arena_printf(c->arena, "{\"name\":\"%s\"}", r->name));
	return e;
}

enum err releases_create(struct call *c, const struct release_input *in, struct release_row *out)
{
	enum err e = check_input(c, in, out);
	if (e != ERR_OK)
		return e;
	struct chosen *chosen = arena_array(c->arena, in->component_count, sizeof *chosen);
	for (size_t i = 0; e == ERR_OK && i < in->component_count; i++)
		e = choose(c, in, i, chosen);
	if (e != ERR_OK)
		return e;
	e = release_store_insert(store_of(c), out, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "/name", "there is a release %s already", out->name);
	for (size_t i = 0; e == ERR_OK && i < in->component_count; i++)
		e = release_store_add_component(store_of(c), out->id, chosen[i].version.id, c->fault);
	int64_t counter = 0;
	if (e == ERR_OK)
		e = sign_manifest(c, out, &counter);
	return e == ERR_OK ? note_created(c, out) : e;
}

/* ---- reading and deleting ---- */

enum err releases_find(struct call *c, const char *name, struct release_row *out)
{
	enum err e = release_store_find(store_of(c), name, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "there is no release %s", name) : e;
}

enum err releases_get(struct call *c, int64_t release, struct release_row *out)
{
	enum err e = release_store_get(store_of(c), release, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "there is no release with row %lld", (long long)release) : e;
}

enum err releases_delete(struct call *c, const struct release_row *row)
{
	struct component_row *components = NULL;
	size_t count = 0;
	bool running = false;
	enum err e = release_store_is_running(store_of(c), row->name, &running, c->fault);
	if (e == ERR_OK && running)
		return fault_set(c->fault, ERR_CONFLICT, "", "a device runs release %s", row->name);
	if (e == ERR_OK)
		e = releases_components(c, row->id, &components, &count);
	if (e == ERR_OK)
		e = release_store_delete(store_of(c), row->id, c->fault);
	if (e == ERR_CONFLICT)
		return fault_set(c->fault, e, "", "a rollout names release %s", row->name);
	const char *resource = arena_printf(c->arena, "releases/%s", row->name);
	return e == ERR_OK ? audit_append(c, "release.delete", resource, release_json(c, row, components, count), NULL) : e;
}

enum err releases_list(struct call *c, const struct page_request *page, bool by_name, struct release_row **rows, size_t *count, bool *more,
	int64_t *total)
{
	struct page_request q = *page;
	q.limit++; /* one more tells whether there is a next page */
	enum err e = release_store_list(store_of(c), &q, by_name, c->arena, rows, count, c->fault);
	if (e == ERR_OK && total)
		e = release_store_count(store_of(c), total, c->fault);
	*more = e == ERR_OK && *count > (size_t)page->limit;
	if (*more)
		*count = (size_t)page->limit;
	return e;
}

enum err releases_components(struct call *c, int64_t release, struct component_row **rows, size_t *count)
{
	return release_store_components(store_of(c), release, c->arena, rows, count, c->fault);
}

enum err releases_artifacts(struct call *c, int64_t release, int64_t version, struct artifact_row **rows, size_t *count)
{
	return release_store_artifacts(store_of(c), release, version, c->arena, rows, count, c->fault);
}

enum err releases_pick_artifact(struct call *c, int64_t release, int64_t version, const char *hardware, struct artifact_row *out)
{
	enum err e = release_store_pick(store_of(c), release, version, hardware, c->arena, out, c->fault);
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "the release has no artifact for hardware %s", hardware) : e;
}

enum err releases_covers(struct call *c, int64_t release, const char *hardware, bool *covered, const char **missing)
{
	struct component_row *components = NULL;
	size_t count = 0;
	*covered = false;
	*missing = NULL;
	enum err e = releases_components(c, release, &components, &count);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		struct artifact_row artifact;
		e = release_store_pick(store_of(c), release, components[i].version, hardware, c->arena, &artifact, c->fault);
		if (e == ERR_NOT_FOUND) {
			*missing = components[i].model;
			return ERR_OK;
		}
	}
	*covered = e == ERR_OK;
	return e;
}
