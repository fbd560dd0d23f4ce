/* The configuration: one table, one row a key, with its default, bounds and text. It parses, refuses, prints and
 * documents. */
#ifndef AVIARYD_CONFIG_H
#define AVIARYD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/server.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "net/http.h"
#include "service/access.h"
#include "service/actions.h"
#include "service/catalog.h"
#include "service/compats.h"
#include "service/upstreams.h"
#include "service/detect.h"
#include "service/ingest.h"
#include "service/telemetry.h"

#define LISTEN_MAX 8

struct listen_list {
	struct http_address items[LISTEN_MAX];
	char hosts[LISTEN_MAX][64];
	size_t count;
};

/* Texts are owned by the configuration; "" is a key without a value. */
struct config {
	struct {
		struct listen_list plain, tls;
		const char *tls_certificate, *tls_key, *tls_client_ca;
		int64_t max_connections, max_connections_per_address;
	} http;
	struct api_options api;
	struct {
		const char *host, *client_id, *username, *password, *tls_ca, *tls_certificate, *tls_key;
		int64_t port, keepalive_ms, read_pause_ms, backoff_max_ms;
	} mqtt;
	const char *state_dir;
	struct access_limits access;
	struct catalog_limits catalog;
	struct telemetry_options telemetry;
	struct ingest_limits ingest;
	struct detect_options detect;
	struct compat_options compats;
	struct action_options actions;
	const char *notify_allow, *upstream_allow; /* networks, checked */
	struct upstream_options upstreams;
	int64_t report_interval_ms; /* 0: devices' own */
	int64_t jobs;
	int64_t drain_ms;
	enum log_level log_level;
	char *texts[96]; /* what the texts above point to */
	size_t text_count;
	bool is_set[96]; /* by row of the table: the file has given it */
};

/* Defaults only. */
void config_init(struct config *c);
/* Defaults, then the file. All mistakes of a file are found; the first few are in `problems`, one a line with file,
 * line and key. */
AVIARY_MUST_CHECK enum err config_read(struct config *c, const char *path, struct buf *problems);
void config_done(struct config *c);
/* The whole configuration as a file, with the table's texts as comments. That of config_init is config/aviaryd.conf. */
void config_print(const struct config *c, struct buf *out);
/* Takes over the keys that can change while the daemon runs; names those that differ and cannot, separated by blanks,
 * in `kept`. */
void config_reload(struct config *running, const struct config *fresh, struct buf *kept);
bool config_is_set(const struct config *c, const char *section, const char *key); /* given by the file */

#endif
