/* The embedded SQL migrations (sql/<set>/NNNN_name.sql), forward-only, one transaction each. */
#ifndef AVIARY_STORE_MIGRATION_H
#define AVIARY_STORE_MIGRATION_H

struct migration {
	int number; /* becomes PRAGMA user_version; 0 ends the list */
	const char *name;
	const char *sql;
};

extern const struct migration migrations_fleet[];
extern const struct migration migrations_telemetry[];

#endif
