/* The reference of bench-http's list: SQLite reading the rows of a page and nothing else, from the daemon's own database.
 *
 *   list_bare FLEET_DB PAGES IDS
 *
 * Each page is 101 whole rows of devices by the index of their ids, from a scattered "dev-N" on. Prints microseconds of processor time a page. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static double cpu_us(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void die(sqlite3 *db)
{
	fprintf(stderr, "list_bare: %s\n", sqlite3_errmsg(db));
	exit(1);
}

/* What registry_encode shows of a device. */
static const char page_sql[] =
	"SELECT id, device_id, name, hardware, capabilities, running_release, running_firmware, running_counter, desired_revision, reported_revision, "
	"desired_rev, sent_rev, revision, last_seen_at, created_at, updated_at, online, secret_sha256 IS NOT NULL, attributes, tags, models "
	"FROM device WHERE device_id >= ?1 ORDER BY device_id LIMIT 101";

static uint64_t read_page(sqlite3 *db, sqlite3_stmt *q, uint64_t id)
{
	char text[32];
	uint64_t sum = 0;
	int rc, count = sqlite3_column_count(q);
	snprintf(text, sizeof text, "dev-%" PRIu64, id);
	sqlite3_bind_text(q, 1, text, -1, SQLITE_STATIC);
	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		for (int i = 0; i < count; i++) {
			const unsigned char *t = sqlite3_column_type(q, i) == SQLITE_TEXT ? sqlite3_column_text(q, i) : NULL;
			sum += t ? t[0] : (uint64_t)sqlite3_column_int64(q, i);
		}
	}
	if (rc != SQLITE_DONE) die(db);
	sqlite3_reset(q);
	return sum;
}

int main(int argc, char **argv)
{
	sqlite3 *db;
	sqlite3_stmt *q;
	if (argc != 4) return 2;
	uint64_t pages = strtoull(argv[2], NULL, 10), ids = strtoull(argv[3], NULL, 10), sum = 0;
	if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK || sqlite3_exec(db, "PRAGMA cache_size = -65536", NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, page_sql, -1, &q, NULL) != SQLITE_OK)
		die(db);
	for (uint64_t i = 0; i < pages / 4; i++) sum += read_page(db, q, (i + pages) * 2654435761u % ids); /* warms */
	double before = cpu_us();
	for (uint64_t i = 0; i < pages; i++) sum += read_page(db, q, i * 2654435761u % ids);
	printf("%.3f %d\n", (cpu_us() - before) / (double)pages, (int)(sum & 1));
	sqlite3_finalize(q);
	return sqlite3_close(db);
}
