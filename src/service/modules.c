#include "service/modules.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/str.h"
#include "core/hawkbit.h"
#include "service/access.h"
#include "service/releases.h"

#define NUMBERS_MAX 1000 /* texts that give the same name of ours */

static struct module_store *store_of(const struct call *c)
{
	return catalog_modules(c->s->catalog);
}

/* ---- words ---- */

const char *modules_name(const struct module_row *row)
{
	return row->title != NULL ? row->title : row->model_name;
}

const char *modules_version(const struct module_row *row)
{
	return row->label != NULL ? row->label : row->version;
}

const char *modules_type(const struct module_row *row)
{
	return strcmp(row->kind, "firmware") == 0 ? "os" : "application";
}

const char *modules_set_name(const struct set_row *row)
{
	return row->title != NULL ? row->title : row->name;
}

const char *modules_set_version(const struct set_row *row)
{
	return row->label != NULL ? row->label : "";
}

static size_t count_os(const struct module_row *modules, size_t count)
{
	size_t n = 0;
	for (size_t i = 0; i < count; i++)
		n += strcmp(modules[i].kind, "firmware") == 0;
	return n;
}

const char *modules_set_type(const struct set_row *row, const struct module_row *modules, size_t count)
{
	if (row->kind != NULL)
		return row->kind;
	size_t os = count_os(modules, count);
	return os == 0 ? "app" : os == count ? "os" : "os_app";
}

bool modules_set_is_complete(const char *type, const struct module_row *modules, size_t count)
{
	size_t os = count_os(modules, count);
	return strcmp(type, "app") == 0 ? count > 0 : os == 1; /* of os_app the application is optional, as in hawkBit */
}

static enum err check_text(struct call *c, const char *member, const char *text, size_t min, size_t max)
{
	size_t len = text != NULL ? strlen(text) : 0;
	if (len < min || len > max || (text != NULL && !str_is_utf8(text, len)))
		return fault_set(c->fault, ERR_BAD_REQUEST, "", "%s: %zu to %zu bytes of UTF-8 are wanted", member, min, max);
	return ERR_OK;
}

static enum err not_found(struct call *c, enum err e, const char *what, int64_t id)
{
	return e == ERR_NOT_FOUND ? fault_set(c->fault, e, "", "%s with given identifier {%lld} does not exist.", what, (long long)id) : e;
}

/* ---- modules ---- */

/* A free name for the model, and the model. */
static enum err make_model(struct call *c, const struct module_input *in, const char *kind, struct model_row *out)
{
	char name[NAME_BYTES];
	bool is_used = true;
	enum err e = ERR_OK;
	for (unsigned number = 1; e == ERR_OK && is_used && number <= NUMBERS_MAX; number++) {
		hawkbit_name(in->name, number, name);
		e = module_model_name_is_used(store_of(c), name, &is_used, c->fault);
	}
	if (e == ERR_OK && is_used)
		e = fault_set(c->fault, ERR_CONFLICT, "", "%d models have names like %.60s", NUMBERS_MAX, in->name);
	if (e != ERR_OK)
		return e;
	struct model_input m = {.name = arena_strdup(c->arena, name), .kind = kind, .description = ""};
	e = catalog_create_model(c, &m, out);
	return e == ERR_OK && strcmp(name, in->name) != 0 ? module_set_title(store_of(c), out->id, in->name, c->fault) : e;
}

static enum err find_or_make_model(struct call *c, const struct module_input *in, const char *kind, struct model_row *out)
{
	int64_t id = 0;
	enum err e = module_find_model(store_of(c), in->name, kind, &id, c->fault);
	if (e == ERR_NOT_FOUND)
		return make_model(c, in, kind, out);
	return e == ERR_OK ? catalog_get_model(c, id, out) : e;
}

static enum err make_version(struct call *c, const struct model_row *model, const struct module_input *in, struct version_row *out)
{
	char version[NAME_BYTES];
	bool is_used = true;
	int64_t there = 0;
	enum err e = module_find_label(store_of(c), model->id, in->version, &there, c->fault);
	if (e == ERR_OK)
		return fault_set(c->fault, ERR_CONFLICT, "", "there is a %s module %.60s of version %.60s already", in->type, in->name, in->version);
	e = e == ERR_NOT_FOUND ? ERR_OK : e;
	for (unsigned number = 1; e == ERR_OK && is_used && number <= NUMBERS_MAX; number++) {
		hawkbit_version(in->version, number, version);
		e = module_version_is_used(store_of(c), model->id, version, &is_used, c->fault);
	}
	if (e == ERR_OK && is_used)
		e = fault_set(c->fault, ERR_CONFLICT, "", "%d versions are like %.60s", NUMBERS_MAX, in->version);
	if (e == ERR_OK)
		e = catalog_create_version(c, model, arena_strdup(c->arena, version), in->description, out);
	const char *label = strcmp(version, in->version) != 0 ? in->version : NULL;
	return e == ERR_OK ? module_set_label(store_of(c), out->id, label, in->vendor != NULL ? in->vendor : "", c->fault) : e;
}

enum err modules_create(struct call *c, const struct module_input *in, struct module_row *out)
{
	struct model_row model;
	struct version_row version;
	bool is_os = in->type != NULL && strcmp(in->type, "os") == 0;
	enum err e = check_text(c, "name", in->name, 1, MODULE_NAME_MAX);
	if (e == ERR_OK)
		e = check_text(c, "version", in->version, 1, MODULE_VERSION_MAX);
	if (e == ERR_OK)
		e = check_text(c, "vendor", in->vendor, 0, 256);
	if (e == ERR_OK)
		e = check_text(c, "description", in->description, 0, MODULE_TEXT_MAX);
	if (e == ERR_OK && !is_os && (in->type == NULL || strcmp(in->type, "application") != 0))
		e = fault_set(c->fault, ERR_NOT_FOUND, "", "SoftwareModuleType with given identifier {%.40s} does not exist.", in->type != NULL ? in->type : "null");
	if (e == ERR_OK)
		e = find_or_make_model(c, in, is_os ? "firmware" : "model", &model);
	if (e == ERR_OK)
		e = make_version(c, &model, in, &version);
	return e == ERR_OK ? modules_get(c, version.id, out) : e;
}

enum err modules_get(struct call *c, int64_t id, struct module_row *out)
{
	return not_found(c, module_get(store_of(c), id, c->arena, out, c->fault), "SoftwareModule", id);
}

enum err modules_list(struct call *c, struct module_row **rows, size_t *count)
{
	return module_list(store_of(c), 0, c->arena, rows, count, c->fault);
}

static const char *resource_of(struct call *c, const struct module_row *row)
{
	return arena_printf(c->arena, "models/%s/versions/%s", row->model_name, row->version);
}

enum err modules_update(struct call *c, struct module_row *row, const char *description, const char *vendor)
{
	struct buf before = BUF_INIT, after = BUF_INIT;
	enum err e = check_text(c, "description", description, 0, MODULE_TEXT_MAX);
	if (e == ERR_OK)
		e = check_text(c, "vendor", vendor, 0, 256);
	if (e != ERR_OK)
		return e;
	json_open_object(&before);
	json_str(&before, "notes", row->description);
	json_str(&before, "vendor", row->vendor);
	json_close_object(&before);
	row->description = description != NULL ? description : row->description;
	row->vendor = vendor != NULL ? vendor : row->vendor;
	json_open_object(&after);
	json_str(&after, "notes", row->description);
	json_str(&after, "vendor", row->vendor);
	json_close_object(&after);
	e = module_set_texts(store_of(c), row->id, row->description, row->vendor, c->fault);
	if (e == ERR_OK)
		e = audit_append(c, "version.update", resource_of(c, row), buf_cstr(&before), buf_cstr(&after));
	buf_done(&before);
	buf_done(&after);
	return e;
}

static struct version_row version_of(const struct module_row *row)
{
	return (struct version_row){.id = row->id, .model = row->model, .version = row->version, .precedence = "", .notes = row->description,
		.created_at = row->created_at};
}

static struct model_row model_of(const struct module_row *row)
{
	return (struct model_row){.id = row->model, .name = row->model_name, .kind = row->kind, .description = ""};
}

enum err modules_delete(struct call *c, const struct module_row *row)
{
	bool is_held = false;
	enum err e = row->deleted_at != 0 ? ERR_OK : module_is_in_release(store_of(c), row->id, &is_held, c->fault);
	if (e != ERR_OK || row->deleted_at != 0)
		return e;
	if (!is_held) {
		struct version_row version = version_of(row);
		struct model_row model = model_of(row);
		return catalog_delete_version(c, &model, &version);
	}
	e = module_set_deleted(store_of(c), row->id, c->now_ms, c->fault);
	return e == ERR_OK ? audit_append(c, "version.hide", resource_of(c, row), NULL, NULL) : e;
}

/* ---- files ---- */

enum err modules_artifacts(struct call *c, const struct module_row *row, struct artifact_row **rows, size_t *count)
{
	struct version_row version = version_of(row);
	return catalog_list_artifacts(c, &version, rows, count);
}

const char *modules_spool_path(struct call *c)
{
	uint32_t random[2];
	crypto_random(random, sizeof random);
	/* The sweep at start drops parts of artifacts that are not there: no artifact has a negative number. */
	return arena_printf(c->arena, "%s/uploads/-%u%09u.part", c->s->state_dir, random[0] >> 2, random[1] % 1000000000u);
}

enum err modules_take_file(struct call *c, const struct module_row *row, const char *file_name, const char *path, int64_t size_bytes,
	const char *sha256, struct artifact_row *out, struct blob_job **job)
{
	struct version_row version = version_of(row);
	struct model_row model = model_of(row);
	struct artifact_input in = {.hardware = "*", .file_name = file_name, .size_bytes = size_bytes, .sha256 = sha256, .is_one_of_several = true};
	*job = NULL;
	if (row->deleted_at != 0)
		return not_found(c, ERR_NOT_FOUND, "SoftwareModule", row->id);
	enum err e = catalog_declare_artifact(c, &model, &version, &in, out);
	return e == ERR_OK ? catalog_take_file(c, out, path, job) : e;
}

/* ---- sets ---- */

static enum err set_not_found(struct call *c, enum err e, int64_t id)
{
	return not_found(c, e, "DistributionSet", id);
}

enum err modules_get_set(struct call *c, int64_t id, struct set_row *out)
{
	return set_not_found(c, set_get(store_of(c), id, c->arena, out, c->fault), id);
}

enum err modules_list_sets(struct call *c, struct set_row **rows, size_t *count)
{
	return set_list(store_of(c), c->arena, rows, count, c->fault);
}

enum err modules_of_set(struct call *c, const struct set_row *row, struct module_row **rows, size_t *count)
{
	return module_list(store_of(c), row->id, c->arena, rows, count, c->fault);
}

/* All modules of the set, after a change: what a release may be, and what the type allows. */
static enum err check_modules(struct call *c, const struct set_row *row)
{
	struct module_row *m;
	size_t count;
	enum err e = modules_of_set(c, row, &m, &count);
	if (e != ERR_OK)
		return e;
	size_t os = count_os(m, count);
	const char *type = modules_set_type(row, m, count);
	if (count > RELEASE_COMPONENTS_MAX)
		return fault_set(c->fault, ERR_TOO_MANY, "", "a distribution set has at most %d modules", RELEASE_COMPONENTS_MAX);
	if (os > 1 || (os > 0 && strcmp(type, "app") == 0) || (os < count && strcmp(type, "os") == 0))
		return fault_set(c->fault, ERR_BAD_REQUEST, "/modules", "a distribution set of type %s does not take these modules", type);
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (m[i].model == m[j].model)
				return fault_set(c->fault, ERR_BAD_REQUEST, "/modules", "two versions of module %.60s in one distribution set", modules_name(&m[i]));
		}
	}
	return ERR_OK;
}

static enum err put_modules(struct call *c, const struct set_row *row, const int64_t *modules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct module_row m;
		enum err e = modules_get(c, modules[i], &m);
		if (e == ERR_OK && m.deleted_at != 0)
			e = not_found(c, ERR_NOT_FOUND, "SoftwareModule", modules[i]);
		if (e == ERR_OK)
			e = set_add_module(store_of(c), row->id, modules[i], c->fault);
		if (e != ERR_OK)
			return e;
	}
	return check_modules(c, row);
}

static enum err note_set(struct call *c, const char *action, const struct set_row *row)
{
	struct module_row *m;
	size_t count;
	enum err e = modules_of_set(c, row, &m, &count);
	if (e != ERR_OK)
		return e;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", row->name);
	json_str(&b, "title", modules_set_name(row));
	json_str(&b, "label", modules_set_version(row));
	json_bool(&b, "is_draft", row->is_draft);
	json_key(&b, "components");
	json_open_array(&b);
	for (size_t i = 0; i < count; i++) {
		json_open_object(&b);
		json_str(&b, "model", m[i].model_name);
		json_str(&b, "version", m[i].version);
		json_close_object(&b);
	}
	json_close_array(&b);
	json_close_object(&b);
	e = audit_append(c, action, arena_printf(c->arena, "releases/%s", row->name), NULL, buf_cstr(&b));
	buf_done(&b);
	return e;
}

static enum err check_set(struct call *c, const struct set_input *in)
{
	int64_t there;
	enum err e = check_text(c, "name", in->name, 1, MODULE_NAME_MAX);
	if (e == ERR_OK)
		e = check_text(c, "version", in->version, 1, MODULE_VERSION_MAX);
	if (e == ERR_OK)
		e = check_text(c, "description", in->description, 0, MODULE_TEXT_MAX);
	if (e == ERR_OK && in->type != NULL && strcmp(in->type, "os") != 0 && strcmp(in->type, "app") != 0 && strcmp(in->type, "os_app") != 0)
		e = fault_set(c->fault, ERR_NOT_FOUND, "", "DistributionSetType with given identifier {%.40s} does not exist.", in->type);
	if (e != ERR_OK)
		return e;
	e = set_find(store_of(c), in->name, in->version, &there, c->fault);
	if (e == ERR_OK)
		return fault_set(c->fault, ERR_CONFLICT, "", "there is a distribution set %.60s of version %.60s already", in->name, in->version);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err free_set_name(struct call *c, const struct set_input *in, char name[NAME_BYTES])
{
	bool is_used = true;
	const char *text = arena_printf(c->arena, "%s-%s", in->name, in->version);
	enum err e = ERR_OK;
	for (unsigned number = 1; e == ERR_OK && is_used && number <= NUMBERS_MAX; number++) {
		hawkbit_name(text, number, name);
		e = set_name_is_used(store_of(c), name, &is_used, c->fault);
	}
	return e == ERR_OK && is_used ? fault_set(c->fault, ERR_CONFLICT, "", "%d releases have names like %.60s", NUMBERS_MAX, text) : e;
}

enum err modules_create_set(struct call *c, const struct set_input *in, struct set_row *out)
{
	char name[NAME_BYTES];
	enum err e = check_set(c, in);
	if (e == ERR_OK)
		e = free_set_name(c, in, name);
	if (e != ERR_OK)
		return e;
	const char *description = in->description != NULL ? in->description : "";
	struct release_row release = {.name = arena_strdup(c->arena, name), .description = description, .config = "{}", .created_at = c->now_ms};
	e = release_store_insert(catalog_releases(c->s->catalog), &release, c->fault);
	if (e != ERR_OK)
		return e;
	*out = (struct set_row){.id = release.id, .name = release.name, .title = in->name, .label = in->version, .description = description,
		.kind = in->type, .created_at = c->now_ms, .is_draft = true};
	e = set_write(store_of(c), out, c->fault);
	if (e == ERR_OK)
		e = put_modules(c, out, in->modules, in->module_count);
	return e == ERR_OK ? note_set(c, "release.draft", out) : e;
}

enum err modules_update_set(struct call *c, struct set_row *row, const char *name, const char *version, const char *description)
{
	int64_t there;
	struct set_row next = *row;
	next.title = name != NULL ? name : modules_set_name(row);
	next.label = version != NULL ? version : modules_set_version(row);
	next.description = description != NULL ? description : row->description;
	enum err e = check_text(c, "name", next.title, 1, MODULE_NAME_MAX);
	if (e == ERR_OK)
		e = check_text(c, "version", next.label, 0, MODULE_VERSION_MAX);
	if (e == ERR_OK)
		e = check_text(c, "description", next.description, 0, MODULE_TEXT_MAX);
	if (e == ERR_OK) {
		e = set_find(store_of(c), next.title, next.label, &there, c->fault);
		if (e == ERR_OK && there != row->id)
			return fault_set(c->fault, ERR_CONFLICT, "", "there is a distribution set %.60s of version %.60s already", next.title, next.label);
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	if (e == ERR_OK)
		e = set_write(store_of(c), &next, c->fault);
	*row = next;
	return e == ERR_OK ? note_set(c, "release.update", row) : e;
}

static enum err check_draft(struct call *c, const struct set_row *row)
{
	if (row->is_draft)
		return ERR_OK;
	return fault_set(c->fault, ERR_FORBIDDEN, "", "distribution set %.60s was sent out: its modules do not change any more", modules_set_name(row));
}

enum err modules_add_to_set(struct call *c, const struct set_row *row, const int64_t *modules, size_t count)
{
	enum err e = check_draft(c, row);
	if (e == ERR_OK)
		e = put_modules(c, row, modules, count);
	return e == ERR_OK ? note_set(c, "release.update", row) : e;
}

enum err modules_remove_from_set(struct call *c, const struct set_row *row, int64_t module)
{
	bool was = false;
	enum err e = check_draft(c, row);
	if (e == ERR_OK)
		e = set_remove_module(store_of(c), row->id, module, &was, c->fault);
	if (e == ERR_OK && !was)
		e = not_found(c, ERR_NOT_FOUND, "SoftwareModule", module);
	return e == ERR_OK ? note_set(c, "release.update", row) : e;
}

enum err modules_delete_set(struct call *c, const struct set_row *row)
{
	bool is_used = false;
	struct set_row next = *row;
	enum err e = row->deleted_at != 0 ? ERR_OK : set_is_used(store_of(c), row->id, row->name, &is_used, c->fault);
	if (e != ERR_OK || row->deleted_at != 0)
		return e;
	if (!is_used) {
		struct release_row release;
		e = releases_get(c, row->id, &release);
		e = e == ERR_OK ? releases_delete(c, &release) : e;
		if (e != ERR_CONFLICT)
			return e; /* what else may name it (a device's release before the last) keeps it, hidden */
	}
	next.deleted_at = c->now_ms;
	e = set_write(store_of(c), &next, c->fault);
	return e == ERR_OK ? note_set(c, "release.hide", &next) : e;
}

enum err modules_lock(struct call *c, int64_t release)
{
	struct set_row row;
	struct module_row *m;
	size_t count;
	int64_t bare = 0, counter;
	enum err e = modules_get_set(c, release, &row);
	if (e != ERR_OK || !row.is_draft)
		return e;
	e = modules_of_set(c, &row, &m, &count);
	if (e == ERR_OK && !modules_set_is_complete(modules_set_type(&row, m, count), m, count))
		e = fault_set(c->fault, ERR_BAD_REQUEST, "", "distribution set %.60s is incomplete: it lacks modules of its type", modules_set_name(&row));
	if (e == ERR_OK)
		e = set_take_artifacts(store_of(c), release, &bare, c->fault);
	if (e == ERR_OK && bare > 0)
		e = fault_set(c->fault, ERR_BAD_REQUEST, "", "distribution set %.60s is incomplete: %lld of its modules have no file", modules_set_name(&row),
			(long long)bare);
	if (e == ERR_OK)
		e = releases_manifest_for(c, release, 0, &counter);
	row.is_draft = false;
	return e == ERR_OK ? note_set(c, "release.create", &row) : e;
}
