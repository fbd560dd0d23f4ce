#include "store/device_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/db.h"

/* The statements, by name. The children of a device (attributes, tags, models) have the same six each: see LIST below. */
enum {
	S_LOAD,
	S_MIRROR,
	S_GET,
	S_INSERT,
	S_UPDATE,
	S_DELETE,
	S_PRESENCE,
	S_SENT,
	S_SET_SECRET,
	S_SECRET,
	S_LAST_REPORT,
	S_SET_REPORT,
	S_SET_RUNNING,
	S_SET_CAPABILITIES,
	S_SET_CLASS,
	S_BUMP,
	S_SETTLE,
	S_DESIRED,
	S_REPORTED,
	S_SET_DESIRED,
	S_SET_DDI,
	S_DDI,
	S_DDI_EACH,
	S_SET_WANTS,
	S_SET_AUTO,
	S_SET_INSTALLED,
	S_LIST, /* three of each, in order of enum device_list */
	S_CLEAR = S_LIST + 3,
	S_PUT = S_CLEAR + 3,
	S_REMOVE = S_PUT + 3,
	S_VALUE = S_REMOVE + 3,
	S_SHARED = S_VALUE + 3,
	S_COUNT
};

#define MIRROR_COLUMNS                                                                                                    \
	"SELECT d.id, d.device_id, d.hardware, d.running_release, d.running_counter, d.desired_rev, d.sent_rev, "         \
	"d.last_seen_at, d.created_at, coalesce(a.deployment, 0), d.online, d.can_shadow, d.protocol = 'ddi', d.capability_class "                                              \
	"FROM device d LEFT JOIN active_deployment a ON a.device = d.id "

#define DDI_COLUMNS "SELECT id, target_token, wants_attributes, auto_confirm, installed_at, installed_action FROM device "

static const struct statement statements[S_COUNT] = {
	[S_LOAD] = {MIRROR_COLUMNS "ORDER BY d.id", true},
	[S_MIRROR] = {MIRROR_COLUMNS "WHERE d.id = ?1", false},
	[S_GET] = {"SELECT device_id, name, hardware, capabilities, running_release, running_firmware, report_boot, running_counter, report_seq, "
	           "desired_revision, reported_revision, desired_rev, sent_rev, revision, last_seen_at, created_at, updated_at, online, "
	           "secret_sha256 IS NOT NULL, attributes, tags, models FROM device WHERE id = ?1", false},
	[S_INSERT] = {"INSERT INTO device (device_id, name, hardware, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)", false},
	[S_UPDATE] = {"UPDATE device SET name = ?2, hardware = ?3, updated_at = ?4, revision = revision + 1 WHERE id = ?1", false},
	[S_DELETE] = {"DELETE FROM device WHERE id = ?1", false},
	[S_PRESENCE] = {"UPDATE device SET last_seen_at = ?2, online = ?3 WHERE id = ?1", false},
	[S_SENT] = {"UPDATE device SET sent_rev = ?2 WHERE id = ?1", false},
	[S_SET_SECRET] = {"UPDATE device SET secret_sha256 = ?2 WHERE id = ?1", false},
	[S_SECRET] = {"SELECT secret_sha256 FROM device WHERE device_id = ?1", false},
	[S_LAST_REPORT] = {"SELECT report_boot, report_seq FROM device WHERE id = ?1", false},
	[S_SET_REPORT] = {"UPDATE device SET report_boot = ?2, report_seq = ?3 WHERE id = ?1", false},
	[S_SET_RUNNING] = {"UPDATE device SET running_release = ?2, running_counter = ?3, running_firmware = ?4, reported = ?5, "
	                   "reported_revision = reported_revision + 1, updated_at = ?6 WHERE id = ?1", false},
	[S_SET_CAPABILITIES] = {"UPDATE device SET capabilities = ?2, reported_revision = reported_revision + 1, updated_at = ?3, can_shadow = ?4 "
	                        "WHERE id = ?1", false},
	[S_SET_CLASS] = {"UPDATE device SET capability_class = ?2 WHERE id = ?1", false},
	[S_BUMP] = {"UPDATE device SET desired_rev = desired_rev + 1 WHERE id = ?1", false},
	/* Its lists' primary keys give the order. */
	[S_SETTLE] = {"UPDATE device SET attributes = (SELECT '{' || ifnull(group_concat('\"' || "
	              "replace(replace(name, '\\', '\\\\'), '\"', '\\\"') || '\":\"' || "
	              "replace(replace(value, '\\', '\\\\'), '\"', '\\\"') || '\"'), '') || '}' "
	              "FROM device_attribute WHERE device = ?1), "
	              "tags = (SELECT '[' || ifnull(group_concat('\"' || tag || '\"'), '') || ']' FROM device_tag WHERE device = ?1), "
	              "models = (SELECT '{' || ifnull(group_concat('\"' || model || '\":\"' || version || '\"'), '') || '}' "
	              "FROM device_model WHERE device = ?1) WHERE id = ?1", false},
	[S_DESIRED] = {"SELECT desired, desired_revision FROM device WHERE id = ?1", false},
	[S_REPORTED] = {"SELECT reported, reported_revision FROM device WHERE id = ?1", false},
	[S_SET_DESIRED] = {"UPDATE device SET desired = ?2, desired_revision = desired_revision + 1, updated_at = ?3 WHERE id = ?1", false},

	[S_SET_DDI] = {"UPDATE device SET protocol = 'ddi', target_token = ?2, wants_attributes = 1 WHERE id = ?1", false},
	[S_DDI] = {DDI_COLUMNS "WHERE id = ?1 AND protocol = 'ddi'", false},
	[S_DDI_EACH] = {DDI_COLUMNS "WHERE protocol = 'ddi'", true},
	[S_SET_WANTS] = {"UPDATE device SET wants_attributes = ?2 WHERE id = ?1", false},
	[S_SET_AUTO] = {"UPDATE device SET auto_confirm = ?2 WHERE id = ?1", false},
	[S_SET_INSTALLED] = {"UPDATE device SET installed_at = ?2, installed_action = ?3 WHERE id = ?1", false},

	[S_LIST + DEVICE_ATTRIBUTES] = {"SELECT name, value FROM device_attribute WHERE device = ?1 ORDER BY name", false},
	[S_LIST + DEVICE_TAGS] = {"SELECT tag, NULL FROM device_tag WHERE device = ?1 ORDER BY tag", false},
	[S_LIST + DEVICE_MODELS] = {"SELECT model, version FROM device_model WHERE device = ?1 ORDER BY model", false},
	[S_CLEAR + DEVICE_ATTRIBUTES] = {"DELETE FROM device_attribute WHERE device = ?1", false},
	[S_CLEAR + DEVICE_TAGS] = {"DELETE FROM device_tag WHERE device = ?1", false},
	[S_CLEAR + DEVICE_MODELS] = {"DELETE FROM device_model WHERE device = ?1", false},
	[S_PUT + DEVICE_ATTRIBUTES] = {"INSERT INTO device_attribute (device, name, value) VALUES (?1, ?2, ?3) "
	                               "ON CONFLICT (device, name) DO UPDATE SET value = excluded.value", false},
	[S_PUT + DEVICE_TAGS] = {"INSERT INTO device_tag (device, tag) VALUES (?1, ?2) ON CONFLICT (device, tag) DO NOTHING", false},
	[S_PUT + DEVICE_MODELS] = {"INSERT INTO device_model (device, model, version) VALUES (?1, ?2, ?3) "
	                           "ON CONFLICT (device, model) DO UPDATE SET version = excluded.version", false},
	[S_REMOVE + DEVICE_ATTRIBUTES] = {"DELETE FROM device_attribute WHERE device = ?1 AND name = ?2", false},
	[S_REMOVE + DEVICE_TAGS] = {"DELETE FROM device_tag WHERE device = ?1 AND tag = ?2", false},
	[S_REMOVE + DEVICE_MODELS] = {"DELETE FROM device_model WHERE device = ?1 AND model = ?2", false},
	[S_VALUE + DEVICE_ATTRIBUTES] = {"SELECT value FROM device_attribute WHERE device = ?1 AND name = ?2", false},
	[S_VALUE + DEVICE_TAGS] = {"SELECT tag FROM device_tag WHERE device = ?1 AND tag = ?2", false},
	[S_SHARED] = {"SELECT 1 FROM device_attribute WHERE name = ?1 AND value = ?2 LIMIT 1 OFFSET 1", false},
	[S_VALUE + DEVICE_MODELS] = {"SELECT version FROM device_model WHERE device = ?1 AND model = ?2", false},
};

struct device_store {
	struct db *db;
	struct stmt *s[S_COUNT];
};

enum err device_store_open(struct db *db, struct device_store **out, struct fault *f)
{
	struct device_store *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	s->db = db;
	enum err e = db_prepare(db, statements, S_COUNT, s->s, f);
	if (e != ERR_OK) {
		device_store_close(s);
		s = NULL;
	}
	*out = s;
	return e;
}

void device_store_close(struct device_store *s)
{
	free(s); /* the statements belong to the connection */
}

/* ---- the mirror ---- */

static void read_mirror(struct stmt *q, struct device_mirror *m)
{
	*m = (struct device_mirror){
		.row = stmt_int(q, 0), .device_id = stmt_text(q, 1), .hardware = stmt_text(q, 2), .release = stmt_text(q, 3),
		.running_counter = stmt_int(q, 4), .desired_rev = stmt_int(q, 5), .sent_rev = stmt_int(q, 6),
		.last_seen_at = stmt_int(q, 7), .created_at = stmt_int(q, 8), .deployment = stmt_int(q, 9), .online = stmt_int(q, 10) != 0,
		.can_shadow = stmt_int(q, 11) != 0, .is_ddi = stmt_int(q, 12) != 0,
		.capability_class = stmt_int(q, 13),
	};
}

enum err device_store_load(struct device_store *s, void (*fn)(void *ctx, const struct device_mirror *m), void *ctx, struct fault *f)
{
	struct stmt *q = s->s[S_LOAD];
	bool row;
	enum err e;
	while ((e = stmt_step(q, &row, f)) == ERR_OK && row) {
		struct device_mirror m;
		read_mirror(q, &m);
		fn(ctx, &m);
	}
	return e;
}

enum err device_store_mirror(struct device_store *s, int64_t row, void (*fn)(void *ctx, const struct device_mirror *m), void *ctx, bool *found,
                             struct fault *f)
{
	struct stmt *q = s->s[S_MIRROR];
	stmt_bind_int(q, 1, row);
	enum err e = stmt_step(q, found, f);
	if (e == ERR_OK && *found) {
		struct device_mirror m;
		read_mirror(q, &m);
		fn(ctx, &m);
		stmt_reset(q);
	}
	return e;
}

/* ---- whole rows ---- */

/* Texts stay SQLite's: until the statement's next step. */
static void read_record(struct stmt *q, int64_t row, struct device_record *out)
{
	*out = (struct device_record){
		.row = row, .device_id = stmt_text(q, 0), .name = stmt_text(q, 1), .hardware = stmt_text(q, 2), .capabilities = stmt_text(q, 3),
		.release = stmt_text(q, 4), .firmware = stmt_text(q, 5), .report_boot = stmt_text(q, 6),
		.running_counter = stmt_int(q, 7), .report_seq = stmt_int(q, 8),
		.desired_revision = stmt_int(q, 9), .reported_revision = stmt_int(q, 10),
		.desired_rev = stmt_int(q, 11), .sent_rev = stmt_int(q, 12), .revision = stmt_int(q, 13),
		.last_seen_at = stmt_int(q, 14), .created_at = stmt_int(q, 15), .updated_at = stmt_int(q, 16),
		.online = stmt_int(q, 17) != 0, .has_secret = stmt_int(q, 18) != 0,
		.attributes = stmt_text(q, 19), .tags = stmt_text(q, 20), .models = stmt_text(q, 21),
	};
}

enum err device_store_visit(struct device_store *s, int64_t row, void (*fn)(void *ctx, const struct device_record *record), void *ctx, struct fault *f)
{
	struct stmt *q = s->s[S_GET];
	bool found;
	stmt_bind_int(q, 1, row);
	enum err e = stmt_step(q, &found, f);
	if (e != ERR_OK)
		return e;
	if (!found)
		return fault_set(f, ERR_NOT_FOUND, "", "no such device");
	struct device_record record;
	read_record(q, row, &record);
	fn(ctx, &record);
	stmt_reset(q);
	return ERR_OK;
}

struct record_copy {
	struct arena *a;
	struct device_record *out;
};

static void copy_record(void *ctx, const struct device_record *record)
{
	const struct record_copy *copy = ctx;
	struct device_record *out = copy->out;
	const char **texts[] = {&out->device_id, &out->name, &out->hardware, &out->capabilities, &out->release, &out->firmware, &out->report_boot,
		&out->attributes, &out->tags, &out->models};
	*out = *record;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		*texts[i] = arena_strdup(copy->a, *texts[i]);
}

enum err device_store_get(struct device_store *s, int64_t row, struct arena *a, struct device_record *out, struct fault *f)
{
	struct record_copy copy = {a, out};
	return device_store_visit(s, row, copy_record, &copy, f);
}

enum err device_store_insert(struct device_store *s, const char *device_id, const char *name, const char *hardware, int64_t now_ms,
                             int64_t *row, struct fault *f)
{
	struct stmt *q = s->s[S_INSERT];
	stmt_bind_text(q, 1, device_id);
	stmt_bind_text(q, 2, name);
	stmt_bind_text(q, 3, hardware);
	stmt_bind_int(q, 4, now_ms);
	enum err e = stmt_run(q, f);
	if (e == ERR_OK)
		*row = db_last_id(s->db);
	return e;
}

enum err device_store_update(struct device_store *s, int64_t row, const char *name, const char *hardware, int64_t now_ms, struct fault *f)
{
	struct stmt *q = s->s[S_UPDATE];
	stmt_bind_int(q, 1, row);
	stmt_bind_text(q, 2, name);
	stmt_bind_text(q, 3, hardware);
	stmt_bind_int(q, 4, now_ms);
	return stmt_run(q, f);
}

enum err device_store_delete(struct device_store *s, int64_t row, struct fault *f)
{
	stmt_bind_int(s->s[S_DELETE], 1, row);
	return stmt_run(s->s[S_DELETE], f);
}

enum err device_store_set_class(struct device_store *s, int64_t row, int64_t class, struct fault *f)
{
	struct stmt *q = s->s[S_SET_CLASS];
	stmt_bind_int(q, 1, row);
	stmt_bind_int(q, 2, class);
	return stmt_run(q, f);
}

/* ---- attributes, tags, models ---- */

enum err device_store_list(struct device_store *s, enum device_list which, int64_t row, struct arena *a, struct device_pair **out, size_t *count,
                           struct fault *f)
{
	struct stmt *q = s->s[S_LIST + which];
	struct device_pair *pairs = NULL;
	size_t used = 0, room = 0;
	bool more;
	enum err e;
	stmt_bind_int(q, 1, row);
	while ((e = stmt_step(q, &more, f)) == ERR_OK && more) {
		if (used == room) { /* the arena takes the old ones back at its end; a device has few */
			room = room == 0 ? 8 : 2 * room;
			struct device_pair *grown = arena_array(a, room, sizeof *grown);
			if (used > 0)
				memcpy(grown, pairs, used * sizeof *grown);
			pairs = grown;
		}
		pairs[used].name = arena_strdup(a, stmt_text(q, 0));
		pairs[used++].value = arena_strdup(a, stmt_text(q, 1));
	}
	*out = pairs;
	*count = used;
	return e;
}

enum err device_store_clear(struct device_store *s, enum device_list which, int64_t row, struct fault *f)
{
	stmt_bind_int(s->s[S_CLEAR + which], 1, row);
	return stmt_run(s->s[S_CLEAR + which], f);
}

enum err device_store_put(struct device_store *s, enum device_list which, int64_t row, const char *name, const char *value, struct fault *f)
{
	struct stmt *q = s->s[S_PUT + which];
	stmt_bind_int(q, 1, row);
	stmt_bind_text(q, 2, name);
	if (which != DEVICE_TAGS)
		stmt_bind_text(q, 3, value);
	return stmt_run(q, f);
}

enum err device_store_remove(struct device_store *s, enum device_list which, int64_t row, const char *name, struct fault *f)
{
	struct stmt *q = s->s[S_REMOVE + which];
	stmt_bind_int(q, 1, row);
	stmt_bind_text(q, 2, name);
	return stmt_run(q, f);
}

enum err device_store_settle(struct device_store *s, int64_t row, struct fault *f)
{
	stmt_bind_int(s->s[S_SETTLE], 1, row);
	return stmt_run(s->s[S_SETTLE], f);
}

enum err device_store_is_shared(struct device_store *s, const char *name, const char *value, bool *is_shared, struct fault *f)
{
	struct stmt *q = s->s[S_SHARED];
	bool found;
	stmt_bind_text(q, 1, name);
	stmt_bind_text(q, 2, value);
	enum err e = stmt_step(q, &found, f);
	*is_shared = !e && found;
	stmt_reset(q);
	return e;
}

enum err device_store_value(struct device_store *s, enum device_list which, int64_t row, const char *name, struct arena *a, const char **value,
                            struct fault *f)
{
	struct stmt *q = s->s[S_VALUE + which];
	bool found;
	*value = NULL;
	stmt_bind_int(q, 1, row);
	stmt_bind_text(q, 2, name);
	enum err e = stmt_step(q, &found, f);
	if (e == ERR_OK && found) {
		*value = arena_strdup(a, stmt_text(q, 0));
		stmt_reset(q);
	}
	return e;
}

/* ---- single facts ---- */

enum err device_store_presence(struct device_store *s, int64_t row, int64_t last_seen_at, bool online, struct fault *f)
{
	struct stmt *q = s->s[S_PRESENCE];
	stmt_bind_int(q, 1, row);
	stmt_bind_int(q, 2, last_seen_at);
	stmt_bind_int(q, 3, online);
	return stmt_run(q, f);
}

enum err device_store_sent(struct device_store *s, int64_t row, int64_t rev, struct fault *f)
{
	stmt_bind_int(s->s[S_SENT], 1, row);
	stmt_bind_int(s->s[S_SENT], 2, rev);
	return stmt_run(s->s[S_SENT], f);
}

enum err device_store_set_secret(struct device_store *s, int64_t row, const uint8_t *sha256, struct fault *f)
{
	struct stmt *q = s->s[S_SET_SECRET];
	stmt_bind_int(q, 1, row);
	if (sha256 == NULL)
		stmt_bind_null(q, 2);
	else
		stmt_bind_blob(q, 2, sha256, 32);
	return stmt_run(q, f);
}

enum err device_store_secret(struct device_store *s, const char *device_id, bool *found, bool *has, uint8_t sha256[32], struct fault *f)
{
	struct stmt *q = s->s[S_SECRET];
	*has = false;
	stmt_bind_text(q, 1, device_id);
	enum err e = stmt_step(q, found, f);
	if (e != ERR_OK || !*found)
		return e;
	size_t len;
	const void *blob = stmt_blob(q, 0, &len);
	*has = len == 32;
	if (*has)
		memcpy(sha256, blob, 32);
	stmt_reset(q);
	return ERR_OK;
}

enum err device_store_last_report(struct device_store *s, int64_t row, char boot[33], int64_t *seq, struct fault *f)
{
	struct stmt *q = s->s[S_LAST_REPORT];
	bool found;
	boot[0] = '\0';
	*seq = 0;
	stmt_bind_int(q, 1, row);
	enum err e = stmt_step(q, &found, f);
	if (e != ERR_OK || !found)
		return e;
	const char *text = stmt_text(q, 0);
	if (text != NULL) {
		size_t len = strlen(text);
		assert(len < 33); /* checked before it was stored */
		memcpy(boot, text, len + 1);
	}
	*seq = stmt_int(q, 1);
	stmt_reset(q);
	return ERR_OK;
}

enum err device_store_set_report(struct device_store *s, int64_t row, const char *boot, int64_t seq, struct fault *f)
{
	struct stmt *q = s->s[S_SET_REPORT];
	stmt_bind_int(q, 1, row);
	stmt_bind_text(q, 2, boot);
	stmt_bind_int(q, 3, seq);
	return stmt_run(q, f);
}

enum err device_store_set_running(struct device_store *s, int64_t row, const char *release, int64_t counter, const char *firmware,
                                  const char *reported, int64_t now_ms, struct fault *f)
{
	struct stmt *q = s->s[S_SET_RUNNING];
	stmt_bind_int(q, 1, row);
	stmt_bind_text(q, 2, release);
	stmt_bind_int(q, 3, counter);
	stmt_bind_text(q, 4, firmware);
	stmt_bind_text(q, 5, reported);
	stmt_bind_int(q, 6, now_ms);
	return stmt_run(q, f);
}

enum err device_store_set_capabilities(struct device_store *s, int64_t row, const char *json, bool can_shadow, int64_t now_ms, struct fault *f)
{
	struct stmt *q = s->s[S_SET_CAPABILITIES];
	stmt_bind_int(q, 1, row);
	stmt_bind_text(q, 2, json);
	stmt_bind_int(q, 3, now_ms);
	stmt_bind_int(q, 4, can_shadow);
	return stmt_run(q, f);
}

/* ---- desired ---- */

enum err device_store_bump(struct device_store *s, int64_t row, struct fault *f)
{
	stmt_bind_int(s->s[S_BUMP], 1, row);
	return stmt_run(s->s[S_BUMP], f);
}

enum err device_store_twin(struct device_store *s, int64_t row, bool reported, struct arena *a, const char **json, int64_t *revision, struct fault *f)
{
	struct stmt *q = s->s[reported ? S_REPORTED : S_DESIRED];
	bool found;
	stmt_bind_int(q, 1, row);
	enum err e = stmt_step(q, &found, f);
	if (e != ERR_OK)
		return e;
	if (!found)
		return fault_set(f, ERR_NOT_FOUND, "", "no such device");
	*json = arena_strdup(a, stmt_text(q, 0));
	*revision = stmt_int(q, 1);
	stmt_reset(q);
	return ERR_OK;
}

enum err device_store_set_desired(struct device_store *s, int64_t row, const char *json, int64_t now_ms, struct fault *f)
{
	struct stmt *q = s->s[S_SET_DESIRED];
	stmt_bind_int(q, 1, row);
	stmt_bind_text(q, 2, json);
	stmt_bind_int(q, 3, now_ms);
	return stmt_run(q, f);
}

/* ---- devices that speak DDI ---- */

enum err device_store_set_ddi(struct device_store *s, int64_t row, const void *token, size_t len, struct fault *f)
{
	struct stmt *q = s->s[S_SET_DDI];
	stmt_bind_int(q, 1, row);
	if (token == NULL)
		stmt_bind_null(q, 2);
	else
		stmt_bind_blob(q, 2, token, len);
	return stmt_run(q, f);
}

static void read_ddi(struct stmt *q, struct device_ddi *out)
{
	*out = (struct device_ddi){.row = stmt_int(q, 0), .wants_attributes = stmt_int(q, 2) != 0, .auto_confirm = stmt_text(q, 3),
		.installed_at = stmt_int(q, 4), .installed_action = stmt_int(q, 5)};
	out->token = stmt_blob(q, 1, &out->token_len);
}

enum err device_store_ddi(struct device_store *s, int64_t row, void (*fn)(void *ctx, const struct device_ddi *d), void *ctx, bool *found,
	struct fault *f)
{
	struct stmt *q = s->s[S_DDI];
	stmt_bind_int(q, 1, row);
	enum err e = stmt_step(q, found, f);
	if (e == ERR_OK && *found) {
		struct device_ddi d;
		read_ddi(q, &d);
		fn(ctx, &d);
		stmt_reset(q);
	}
	return e;
}

enum err device_store_each_ddi(struct device_store *s, void (*fn)(void *ctx, const struct device_ddi *d), void *ctx, struct fault *f)
{
	struct stmt *q = s->s[S_DDI_EACH];
	bool row;
	enum err e;
	while ((e = stmt_step(q, &row, f)) == ERR_OK && row) {
		struct device_ddi d;
		read_ddi(q, &d);
		fn(ctx, &d);
	}
	return e;
}

enum err device_store_set_wants(struct device_store *s, int64_t row, bool wants_attributes, struct fault *f)
{
	stmt_bind_int(s->s[S_SET_WANTS], 1, row);
	stmt_bind_int(s->s[S_SET_WANTS], 2, wants_attributes);
	return stmt_run(s->s[S_SET_WANTS], f);
}

enum err device_store_set_auto_confirm(struct device_store *s, int64_t row, const char *json, struct fault *f)
{
	stmt_bind_int(s->s[S_SET_AUTO], 1, row);
	stmt_bind_text(s->s[S_SET_AUTO], 2, json);
	return stmt_run(s->s[S_SET_AUTO], f);
}

enum err device_store_set_installed(struct device_store *s, int64_t row, int64_t at, int64_t action, struct fault *f)
{
	struct stmt *q = s->s[S_SET_INSTALLED];
	stmt_bind_int(q, 1, row);
	stmt_bind_int(q, 2, at);
	if (action == 0)
		stmt_bind_null(q, 3);
	else
		stmt_bind_int(q, 3, action);
	return stmt_run(q, f);
}
