/* The reference of bench-store: SQLite writing the rows of `POST /api/v1/devices`, and nothing else.
 *
 *   store_bare FLEET_DB WRITES BATCH
 *
 * FLEET_DB is a database of the daemon's (nobody else has it open). A write is a device with one attribute and one tag, its audit entry and its event;
 * BATCH of them make a commit with synchronous=FULL. Prints writes a second. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *const sql[] = {
	"INSERT INTO device (device_id, name, hardware, created_at, updated_at, attributes, tags) VALUES (?1, '', 'esp32', 1, 1, '{\"region\":\"eu\"}', '[\"bench\"]')",
	"INSERT INTO device_attribute (device, name, value) VALUES ((SELECT id FROM device WHERE device_id = ?1), 'region', 'eu')",
	"INSERT INTO device_tag (device, tag) VALUES ((SELECT id FROM device WHERE device_id = ?1), 'bench')",
	"INSERT INTO audit (at, who, role, action, resource, after) VALUES (1, 'admin', 'admin', 'device.create', 'devices/' || ?1, "
	"'{\"name\":\"\",\"hardware\":\"esp32\",\"attributes\":{\"region\":\"eu\"},\"tags\":[\"bench\"]}')",
	"INSERT INTO event (at, kind, resource, data) VALUES (1, 'device.created', 'devices/' || ?1, '{\"id\":\"' || ?1 || '\"}')",
};
enum { STATEMENTS = sizeof sql / sizeof sql[0] };

static void must(sqlite3 *db, int ok)
{
	if (ok) return;
	fprintf(stderr, "store_bare: %s\n", sqlite3_errmsg(db));
	exit(1);
}

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	sqlite3 *db;
	sqlite3_stmt *q[STATEMENTS];
	char id[64];
	if (argc != 4) return 2;
	uint64_t writes = strtoull(argv[2], NULL, 10), batch = strtoull(argv[3], NULL, 10);
	must(db, sqlite3_open(argv[1], &db) == SQLITE_OK && batch > 0);
	must(db, sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-65536", NULL, NULL, NULL) == SQLITE_OK);
	for (int k = 0; k < STATEMENTS; k++) must(db, sqlite3_prepare_v2(db, sql[k], -1, &q[k], NULL) == SQLITE_OK);
	double began = now_s();
	for (uint64_t i = 0; i < writes; i++) {
		if (i % batch == 0) must(db, sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
		snprintf(id, sizeof id, "bare-%.6f-%" PRIu64, began, i);
		for (int k = 0; k < STATEMENTS; k++) {
			sqlite3_bind_text(q[k], 1, id, -1, SQLITE_STATIC);
			must(db, sqlite3_step(q[k]) == SQLITE_DONE);
			sqlite3_reset(q[k]);
		}
		if ((i + 1) % batch == 0 || i + 1 == writes) must(db, sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	}
	printf("%.1f\n", (double)writes / (now_s() - began));
	for (int k = 0; k < STATEMENTS; k++) sqlite3_finalize(q[k]);
	return sqlite3_close(db);
}
