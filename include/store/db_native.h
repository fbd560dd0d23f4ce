/* The SQLite handle behind a connection, for the store files that register their own SQL functions and tables. Store layer only. */
#ifndef AVIARY_STORE_DB_NATIVE_H
#define AVIARY_STORE_DB_NATIVE_H

struct db;
struct sqlite3;

struct sqlite3 *db_native(struct db *db);

#endif
