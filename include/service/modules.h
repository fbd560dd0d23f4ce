/* Software modules and distribution sets: versions of models, and releases, as hawkBit's Management API names them. There is no table
 * of either: a module is a row of `version` (os: of a firmware, application: of a model), a set one of `release`; names and versions that are
 * none of ours are kept beside the ones that stand for them (core/hawkbit.h).
 *
 * A set that was made here is a draft: it has modules, and takes their artifacts, and a manifest, when it is first sent out
 * (modules_lock). Deleting what something still refers to hides it (deleted_at).
 *
 * Ids are row numbers; texts live in the call's arena. ERR_NOT_FOUND for what is not there.
 */
#ifndef AVIARY_SERVICE_MODULES_H
#define AVIARY_SERVICE_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "service/call.h"
#include "service/catalog.h"
#include "store/module_store.h"

#define MODULE_NAME_MAX 128  /* bytes, as in hawkBit */
#define MODULE_VERSION_MAX 64
#define MODULE_TEXT_MAX 512

struct module_input {
	const char *name, *version, *type; /* type: "os", "application" */
	const char *vendor, *description;  /* NULL: "" */
};
struct set_input {
	const char *name, *version, *description;
	const char *type;                  /* "os", "app", "os_app"; NULL: by its modules */
	const int64_t *modules;
	size_t module_count;
};

/* ERR_BAD_REQUEST: a text that is too long or empty, or another type. ERR_CONFLICT: there is one of this name, version and type. */
AVIARY_MUST_CHECK enum err modules_create(struct call *c, const struct module_input *in, struct module_row *out);
AVIARY_MUST_CHECK enum err modules_get(struct call *c, int64_t id, struct module_row *out); /* deleted ones, too */
AVIARY_MUST_CHECK enum err modules_list(struct call *c, struct module_row **rows, size_t *count);
AVIARY_MUST_CHECK enum err modules_update(struct call *c, struct module_row *row, const char *description, const char *vendor); /* NULL: as it is */
/* Its artifacts go with it, unless a release has them. Deleting a deleted one is no error. */
AVIARY_MUST_CHECK enum err modules_delete(struct call *c, const struct module_row *row);
const char *modules_name(const struct module_row *row);    /* as hawkBit shows it */
const char *modules_version(const struct module_row *row);
const char *modules_type(const struct module_row *row);    /* "os", "application" */

AVIARY_MUST_CHECK enum err modules_artifacts(struct call *c, const struct module_row *row, struct artifact_row **rows, size_t *count);
/* Makes an artifact whose content was received into `path`, a file in the uploads directory that is then no longer the caller's: declares
 * it for all hardware, and gives the job that checks and publishes it (service/catalog.h: catalog_end_job). ERR_CONFLICT: the module has a file
 * of that name; ERR_NOT_FOUND: the module is deleted. */
AVIARY_MUST_CHECK enum err modules_take_file(struct call *c, const struct module_row *row, const char *file_name, const char *path, int64_t size_bytes,
	const char *sha256, struct artifact_row *out, struct blob_job **job);
/* A new name in the uploads directory; what a crash leaves of it goes at the next start. */
const char *modules_spool_path(struct call *c);

/* ERR_NOT_FOUND: a module that is not there. ERR_CONFLICT: name and version exist. ERR_BAD_REQUEST: modules that do not fit the type, or two of
 * one name (a release has one version of a model). */
AVIARY_MUST_CHECK enum err modules_create_set(struct call *c, const struct set_input *in, struct set_row *out);
AVIARY_MUST_CHECK enum err modules_get_set(struct call *c, int64_t id, struct set_row *out); /* deleted ones, too */
AVIARY_MUST_CHECK enum err modules_list_sets(struct call *c, struct set_row **rows, size_t *count);
AVIARY_MUST_CHECK enum err modules_of_set(struct call *c, const struct set_row *row, struct module_row **rows, size_t *count);
AVIARY_MUST_CHECK enum err modules_update_set(struct call *c, struct set_row *row, const char *name, const char *version, const char *description);
/* Of a draft; else ERR_FORBIDDEN (hawkBit: locked). */
AVIARY_MUST_CHECK enum err modules_add_to_set(struct call *c, const struct set_row *row, const int64_t *modules, size_t count);
AVIARY_MUST_CHECK enum err modules_remove_from_set(struct call *c, const struct set_row *row, int64_t module);
/* One that was sent out, or that a device runs, is hidden; deleting it again is no error. */
AVIARY_MUST_CHECK enum err modules_delete_set(struct call *c, const struct set_row *row);
/* A draft becomes a release that can be rolled out; others are. ERR_BAD_REQUEST: no modules, or one without a file. */
AVIARY_MUST_CHECK enum err modules_lock(struct call *c, int64_t release);
const char *modules_set_name(const struct set_row *row);
const char *modules_set_version(const struct set_row *row); /* "" for a release that has none */
/* "os", "app", "os_app", by its modules where nothing else was said. */
const char *modules_set_type(const struct set_row *row, const struct module_row *modules, size_t count);
/* Whether all modules that its type demands are there. */
bool modules_set_is_complete(const char *type, const struct module_row *modules, size_t count);

#endif
