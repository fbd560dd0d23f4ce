#include "store/offload_store.h"

#include <math.h>
#include <stdlib.h>

#include "store/db.h"

#define POLICY                                                                                                         \
	"endpoint, target, margin, audit, link, rssi, rate, battery, unit, budget, fit_every, rate_max, agreement_min, agreement_max, cost_max," \
	" rev, revision, created_at, updated_at"
#define CLASS "model, hardware, version, margin, rev, rev_at, fitted_at, why, fits, faded_at, batch, stats"

enum { POLICIES, PUT_POLICY, REMOVE_POLICY, CLASSES, PUT_CLASS, REMOVE_CLASS, WATERMARK, SET_WATERMARK, STATEMENTS };

static const struct statement table[STATEMENTS] = {
	/* At most OFFLOADING_POLICIES_MAX, and OFFLOADING_CLASSES_MAX (service/offloading.h). */
	[POLICIES] = {"SELECT model, (SELECT name FROM model WHERE id = p.model), " POLICY " FROM offload_policy p ORDER BY model", true},
	[PUT_POLICY] = {"INSERT INTO offload_policy (model, " POLICY ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
		" ?15, ?16, ?17, ?18, ?19, ?20) ON CONFLICT (model) DO UPDATE SET"
		" endpoint = ?2, target = ?3, margin = ?4, audit = ?5, link = ?6, rssi = ?7, rate = ?8, battery = ?9, unit ="
		" ?10, budget = ?11, fit_every = ?12, rate_max = ?13, agreement_min = ?14, agreement_max = ?15, cost_max = ?16,"
		" rev = ?17, revision = ?18, updated_at = ?20", false},
	[REMOVE_POLICY] = {"DELETE FROM offload_policy WHERE model = ?1", false},
	[CLASSES] = {"SELECT " CLASS " FROM offload_class", true},
	[PUT_CLASS] = {"INSERT INTO offload_class (" CLASS ") SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM offload_policy WHERE model = ?1"
		" ON CONFLICT (model, hardware, version) DO UPDATE SET margin = ?4, rev = ?5, rev_at = ?6, fitted_at = ?7, why = ?8, fits = ?9,"
		" faded_at = ?10, batch = ?11, stats = ?12", false},
	[REMOVE_CLASS] = {"DELETE FROM offload_class WHERE model = ?1 AND hardware = ?2 AND version = ?3", false},
	[WATERMARK] = {"SELECT batch FROM offload_watermark WHERE id = 1", false},
	[SET_WATERMARK] = {"INSERT INTO offload_watermark (id, batch) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET batch = ?1", false},
};

struct offload_store {
	struct db *db;
	struct stmt *st[STATEMENTS];
};

enum err offload_store_open(struct db *db, struct offload_store **out, struct fault *f)
{
	struct offload_store *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->db = db;
	enum err e = db_prepare(db, table, STATEMENTS, s->st, f);
	if (e != ERR_OK) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void offload_store_close(struct offload_store *s)
{
	free(s); /* the connection owns the statements */
}

/* ---- policies ---- */

static double number(struct stmt *q, int col)
{
	return stmt_is_null(q, col) ? NAN : stmt_real(q, col);
}

static void bind_number(struct stmt *q, int at, double v)
{
	if (isnan(v))
		stmt_bind_null(q, at);
	else
		stmt_bind_real(q, at, v);
}

enum err offload_each_policy(struct offload_store *s, void (*fn)(void *, const struct offload_policy_row *), void *ctx, struct fault *f)
{
	struct stmt *q = s->st[POLICIES];
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct offload_policy_row r = {.model = stmt_int(q, 0), .name = stmt_text(q, 1), .endpoint = stmt_text(q, 2), .target = stmt_real(q, 3),
			.margin = stmt_int(q, 4), .audit = stmt_int(q, 5), .link = stmt_text(q, 6), .rssi = stmt_int(q, 7), .rate = stmt_int(q, 8),
			.battery = stmt_int(q, 9), .unit = stmt_int(q, 10), .budget = stmt_int(q, 11), .fit_every_ms = stmt_int(q, 12),
			.has_rssi = !stmt_is_null(q, 7), .rate_max = number(q, 13), .agreement_min = number(q, 14), .agreement_max = number(q, 15),
			.cost_max = number(q, 16), .rev = stmt_int(q, 17), .revision = stmt_int(q, 18), .created_at = stmt_int(q, 19),
			.updated_at = stmt_int(q, 20)};
		fn(ctx, &r);
	}
}

enum err offload_put_policy(struct offload_store *s, const struct offload_policy_row *row, struct fault *f)
{
	struct stmt *q = s->st[PUT_POLICY];
	stmt_bind_int(q, 1, row->model);
	stmt_bind_text(q, 2, row->endpoint);
	stmt_bind_real(q, 3, row->target);
	stmt_bind_int(q, 4, row->margin);
	stmt_bind_int(q, 5, row->audit);
	stmt_bind_text(q, 6, row->link);
	if (row->has_rssi)
		stmt_bind_int(q, 7, row->rssi);
	else
		stmt_bind_null(q, 7);
	stmt_bind_int(q, 8, row->rate);
	stmt_bind_int(q, 9, row->battery);
	stmt_bind_int(q, 10, row->unit);
	stmt_bind_int(q, 11, row->budget);
	stmt_bind_int(q, 12, row->fit_every_ms);
	bind_number(q, 13, row->rate_max);
	bind_number(q, 14, row->agreement_min);
	bind_number(q, 15, row->agreement_max);
	bind_number(q, 16, row->cost_max);
	stmt_bind_int(q, 17, row->rev);
	stmt_bind_int(q, 18, row->revision);
	stmt_bind_int(q, 19, row->created_at);
	stmt_bind_int(q, 20, row->updated_at);
	return stmt_run(q, f);
}

enum err offload_remove_policy(struct offload_store *s, int64_t model, struct fault *f)
{
	stmt_bind_int(s->st[REMOVE_POLICY], 1, model);
	return stmt_run(s->st[REMOVE_POLICY], f);
}

/* ---- classes ---- */

enum err offload_each_class(struct offload_store *s, void (*fn)(void *, const struct offload_class_row *), void *ctx, struct fault *f)
{
	struct stmt *q = s->st[CLASSES];
	for (;;) {
		bool row = false;
		enum err e = stmt_step(q, &row, f);
		if (e != ERR_OK || !row)
			return e;
		struct offload_class_row r = {.model = stmt_int(q, 0), .hardware = stmt_text(q, 1), .version = stmt_text(q, 2), .margin = stmt_int(q, 3),
			.rev = stmt_int(q, 4), .rev_at = stmt_int(q, 5), .fitted_at = stmt_int(q, 6), .why = stmt_text(q, 7), .fits = stmt_int(q, 8),
			.faded_at = stmt_int(q, 9), .batch = stmt_int(q, 10)};
		r.stats = stmt_blob(q, 11, &r.len);
		fn(ctx, &r);
	}
}

enum err offload_put_class(struct offload_store *s, const struct offload_class_row *row, struct fault *f)
{
	struct stmt *q = s->st[PUT_CLASS];
	stmt_bind_int(q, 1, row->model);
	stmt_bind_text(q, 2, row->hardware);
	stmt_bind_text(q, 3, row->version);
	stmt_bind_int(q, 4, row->margin);
	stmt_bind_int(q, 5, row->rev);
	stmt_bind_int(q, 6, row->rev_at);
	stmt_bind_int(q, 7, row->fitted_at);
	stmt_bind_text(q, 8, row->why);
	stmt_bind_int(q, 9, row->fits);
	stmt_bind_int(q, 10, row->faded_at);
	stmt_bind_int(q, 11, row->batch);
	stmt_bind_blob(q, 12, row->stats, row->len);
	return stmt_run(q, f);
}

enum err offload_remove_class(struct offload_store *s, int64_t model, const char *hardware, const char *version, struct fault *f)
{
	struct stmt *q = s->st[REMOVE_CLASS];
	stmt_bind_int(q, 1, model);
	stmt_bind_text(q, 2, hardware);
	stmt_bind_text(q, 3, version);
	return stmt_run(q, f);
}

enum err offload_watermark(struct offload_store *s, int64_t *batch, struct fault *f)
{
	return stmt_read_int(s->st[WATERMARK], batch, f);
}

enum err offload_set_watermark(struct offload_store *s, int64_t batch, struct fault *f)
{
	stmt_bind_int(s->st[SET_WATERMARK], 1, batch);
	return stmt_run(s->st[SET_WATERMARK], f);
}
