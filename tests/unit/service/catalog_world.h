/* A catalog on a real state directory and a real database, for its tests. */
#ifndef AVIARY_TESTS_CATALOG_WORLD_H
#define AVIARY_TESTS_CATALOG_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "service/access.h"
#include "service/catalog.h"
#include "service/outbox.h"
#include "service/releases.h"
#include "service/unit.h"
#include "store/db.h"

struct world {
	char dir[64];
	struct services s;
	struct call c;
	struct fault fault;
	struct catalog_limits limits;
};

static const struct access_limits world_access_limits = {.events_max = 1000, .audit_age_ms = 1000000, .audit_max = 1000};

static inline void world_must(struct world *w, enum err e)
{
	if (e != ERR_OK)
		fail_msg("%s: %s %s", err_name(e), w->fault.pointer, w->fault.detail);
}

static inline void world_open(struct world *w)
{
	char path[96];
	snprintf(path, sizeof path, "%s/fleet.db", w->dir);
	world_must(w, db_open(path, migrations_fleet, false, &w->s.db, &w->fault));
	w->s.state_dir = w->dir;
	w->s.outbox = outbox_new();
	w->s.units = units_new();
	world_must(w, access_open(&w->s, &world_access_limits, &w->s.access, &w->fault));
	world_must(w, catalog_open(w->s.db, w->dir, &w->limits, &w->s.catalog, &w->fault));
	w->c = (struct call){.s = &w->s, .arena = arena_new(1 << 20), .fault = &w->fault, .who = &principal_server, .now_ms = 1700000000000};
}

static inline void world_close(struct world *w)
{
	arena_free(w->c.arena);
	catalog_close(w->s.catalog);
	access_close(w->s.access);
	units_free(w->s.units);
	outbox_free(w->s.outbox);
	db_close(w->s.db);
}

static inline void world_commit(struct world *w)
{
	world_must(w, units_commit(&w->s, &w->fault));
}

static inline int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	strcpy(w->dir, "/tmp/aviary-cat-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->limits = catalog_limits_default;
	w->limits.reserve_bytes = 0;
	world_open(w);
	*state = w;
	return 0;
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;
	char command[128];
	world_close(w);
	snprintf(command, sizeof command, "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static inline void world_begin(struct world *w)
{
	world_must(w, unit_begin(&w->s, &w->fault));
}

static inline enum err world_end(struct world *w, enum err e)
{
	return unit_end(&w->s, e, &w->fault);
}

/* One unit of work around a call. */
#define UNIT(w, call) world_end(w, (world_begin(w), (call)))

static inline struct version_row world_version(struct world *w, const char *model, const char *kind, const char *version, struct model_row *m)
{
	struct version_row v;
	struct model_input in = {.name = model, .kind = kind};
	if (catalog_find_model(&w->c, model, m) != ERR_OK)
		world_must(w, UNIT(w, catalog_create_model(&w->c, &in, m)));
	world_must(w, UNIT(w, catalog_create_version(&w->c, m, version, NULL, &v)));
	return v;
}

/* The end of an upload's job, run at once. */
static inline enum err world_end_job(struct world *w, struct blob_job *job, struct artifact_row *row)
{
	enum err result = ERR_OK;
	if (!job)
		return ERR_OK;
	blob_job_run(job);
	world_must(w, UNIT(w, catalog_end_job(&w->c, job, row, &result)));
	return result;
}

/* Uploads len bytes from `first` in chunks and ends the request. */
static inline enum err world_put(struct world *w, int64_t artifact, const void *data, size_t len, int64_t first, struct artifact_row *row)
{
	struct upload *u = NULL;
	struct blob_job *job = NULL;
	enum err e = UNIT(w, catalog_begin_upload(&w->c, artifact, first, (int64_t)len, &u));
	if (e != ERR_OK)
		return e;
	for (size_t at = 0; e == ERR_OK && at < len; at += 1000) {
		e = catalog_write_upload(u, (const char *)data + at, len - at < 1000 ? len - at : 1000, &w->fault);
		struct blob_job *progress = e == ERR_OK ? catalog_progress_job(u) : NULL;
		world_must(w, world_end_job(w, progress, NULL));
	}
	if (e == ERR_OK)
		e = catalog_finish_upload(&w->c, u, &job);
	else
		catalog_abort_upload(&w->c, u, &job);
	enum err ended = world_end_job(w, job, row);
	return e == ERR_OK ? ended : e;
}

static inline struct artifact_row world_declare(struct world *w, const struct model_row *m, const struct version_row *v, const char *hardware,
	const void *data, size_t len)
{
	char hex[SHA256_HEX];
	struct artifact_row row;
	crypto_sha256_hex(data, len, hex);
	struct artifact_input in = {.hardware = hardware, .file_name = "m.tflite", .size_bytes = (int64_t)len, .sha256 = arena_strdup(w->c.arena, hex)};
	world_must(w, UNIT(w, catalog_declare_artifact(&w->c, m, v, &in, &row)));
	return row;
}

static inline struct artifact_row world_artifact(struct world *w, const struct model_row *m, const struct version_row *v, const char *hardware,
	const char *content)
{
	struct artifact_row row = world_declare(w, m, v, hardware, content, strlen(content));
	world_must(w, world_put(w, row.id, content, strlen(content), UPLOAD_WHOLE, &row));
	assert_string_equal(row.state, "ready");
	return row;
}

#endif
