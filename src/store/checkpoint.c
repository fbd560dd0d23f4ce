#include "store/checkpoint.h"

#include <sqlite3.h>
#include <stdlib.h>

#include "store/db.h"
#include "store/db_native.h"

struct checkpoint {
	struct db *db;
};

enum err checkpoint_open(const char *path, struct checkpoint **out, struct fault *f)
{
	*out = NULL;
	struct checkpoint *c = calloc(1, sizeof *c);
	if (c == NULL)
		abort();
	enum err e = db_open(path, NULL, false, &c->db, f);
	if (e != ERR_OK) {
		free(c);
		return e;
	}
	sqlite3_wal_autocheckpoint(db_native(c->db), 0);
	sqlite3_busy_timeout(db_native(c->db), 0);
	*out = c;
	return ERR_OK;
}

void checkpoint_close(struct checkpoint *c)
{
	if (c == NULL)
		return;
	db_close(c->db);
	free(c);
}

static enum err err_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
		return ERR_OK;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_TIMEOUT;
	case SQLITE_FULL:
		return ERR_FULL;
	default:
		return ERR_UNAVAILABLE;
	}
}

enum err checkpoint_run(struct checkpoint *c, enum checkpoint_mode mode, struct checkpoint_pass *pass, struct fault *f)
{
	int pages = 0, moved = 0;
	sqlite3 *sql3 = db_native(c->db);
	*pass = (struct checkpoint_pass){0, 0};
	/* A connection that has not read yet knows of no log, and its checkpoints are silently nothing. */
	int rc = sqlite3_exec(sql3, "SELECT 1 FROM sqlite_schema LIMIT 1", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_wal_checkpoint_v2(sql3, NULL, mode == CHECKPOINT_TRUNCATE ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &pages,
			&moved);
	if (rc == SQLITE_OK && pages >= 0)
		*pass = (struct checkpoint_pass){pages, moved};
	enum err e = err_of(rc);
	if (e == ERR_TIMEOUT && mode == CHECKPOINT_PASSIVE)
		return ERR_OK; /* somebody else is at it: a person with sqlite3 */
	return e == ERR_OK ? e : fault_set(f, e, "", "checkpoint: %s", sqlite3_errmsg(sql3));
}
