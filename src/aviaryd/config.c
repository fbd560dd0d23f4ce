#include "config.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ipaddr.h"
#include "base/str.h"

#define LINE_MAX_BYTES 198 /* inih cuts longer ones silently, so they are refused */
#define PROBLEMS_MAX 20
#define NEVER INT64_C(3153600000000) /* 100 years */
#define KIB INT64_C(1024)
#define MIB (KIB * KIB)
#define GIB (MIB * KIB)

enum key_type { KEY_TEXT, KEY_SECRET, KEY_INT, KEY_BOOL, KEY_DURATION, KEY_SIZE, KEY_LEVEL, KEY_LISTEN,
	KEY_LISTEN_TLS };

struct key {
	const char *section, *name;
	enum key_type type;
	size_t offset;
	const char *standard; /* the default, as it is written in a file */
	int64_t min, max;
	bool can_reload;
	const char *doc;
};

#define AT(member) offsetof(struct config, member)
static const struct key keys[] = {
	{"http", "listen", KEY_LISTEN, AT(http.plain), "127.0.0.1:8080, [::1]:8080", 0, 0, false,
	 "Addresses for the REST API and devices, separated by commas; numeric host and port, or localhost (both families); port 0 takes a free one."},
	{"http", "listen_tls", KEY_LISTEN_TLS, AT(http.tls), "", 0, 0, false,
		"The same with TLS; needs tls_certificate and tls_key."},
	{"http", "tls_certificate", KEY_TEXT, AT(http.tls_certificate), "", 0, 0, true,
		"PEM file with the certificate and its chain."},
	{"http", "tls_key", KEY_TEXT, AT(http.tls_key), "", 0, 0, true, "PEM file with the private key."},
	{"http", "tls_client_ca", KEY_TEXT, AT(http.tls_client_ca), "", 0, 0, true,
	 "PEM file with the certificates that sign those of DDI devices; empty: clients are asked for none."},
	{"http", "open_metrics", KEY_BOOL, AT(api.open_metrics), "no", 0, 0, true, "Serve /metrics without a token."},
	{"http", "max_connections", KEY_INT, AT(http.max_connections), "4096", 16, 60000, false,
		"Open connections for each address."},
	{"http", "max_connections_per_address", KEY_INT, AT(http.max_connections_per_address), "0", 0, 60000, false,
	 "Open connections of one client address; 0: no limit."},
	{"http", "listeners", KEY_INT, AT(api.listeners_max), "1000", 1, 50000, true, "Open streams of /api/v1/events."},
	{"http", "listener_queue", KEY_SIZE, AT(api.listener_queue_bytes), "256KiB", 4 * KIB, 64 * MIB, true,
	 "What may wait for one of them; a slower one is dropped and comes back with Last-Event-ID."},

	{"mqtt", "host", KEY_TEXT, AT(mqtt.host), "127.0.0.1", 0, 0, false, "The broker. Empty: no broker, only HTTP."},
	{"mqtt", "port", KEY_INT, AT(mqtt.port), "1883", 1, 65535, false, "Its port."},
	{"mqtt", "client_id", KEY_TEXT, AT(mqtt.client_id), "aviaryd", 0, 0, false,
	 "Client ids are this with -in and -out; two daemons on one broker need different ones."},
	{"mqtt", "username", KEY_TEXT, AT(mqtt.username), "", 0, 0, false, "Empty: none."},
	{"mqtt", "password", KEY_SECRET, AT(mqtt.password), "", 0, 0, false, "Never printed."},
	{"mqtt", "tls_ca", KEY_TEXT, AT(mqtt.tls_ca), "", 0, 0, false,
		"PEM file with the certificates that sign the broker's; turns TLS on."},
	{"mqtt", "tls_certificate", KEY_TEXT, AT(mqtt.tls_certificate), "", 0, 0, false,
		"PEM file with a client certificate."},
	{"mqtt", "tls_key", KEY_TEXT, AT(mqtt.tls_key), "", 0, 0, false, "PEM file with its key."},
	{"mqtt", "keepalive", KEY_DURATION, AT(mqtt.keepalive_ms), "30s", 5000, 3600000, false,
		"Sign of life of an idle connection."},
	{"mqtt", "backoff", KEY_DURATION, AT(mqtt.backoff_max_ms), "60s", 1000, 3600000, false,
		"Longest wait before a connection is tried again."},
	{"mqtt", "read_pause", KEY_DURATION, AT(mqtt.read_pause_ms), "5ms", 0, 1000, false,
	 "Rest after the socket was drained, so that messages gather: less CPU, a little more delay."},

	{"storage", "state_dir", KEY_TEXT, AT(state_dir), "/var/lib/aviary", 0, 0, false,
		"Where everything is kept; --state-dir goes first."},
	{"storage", "raw_age", KEY_DURATION, AT(telemetry.raw_keep_ms), "7d", 0, NEVER, false,
		"The log of telemetry, in order of arrival, is dropped at this age; 0s: never."},
	{"storage", "device_age", KEY_DURATION, AT(telemetry.device_keep_ms), "30d", 0, NEVER, false,
		"The same points by device, packed small; what questions about single devices are answered from."},
	{"storage", "minute_age", KEY_DURATION, AT(telemetry.minute_keep_ms), "30d", 0, NEVER, false,
		"The fleet's roll-ups by the minute."},
	{"storage", "hour_age", KEY_DURATION, AT(telemetry.hour_keep_ms), "730d", 0, NEVER, false, "The fleet's roll-ups by the hour."},
	{"storage", "telemetry_size", KEY_SIZE, AT(telemetry.max_bytes), "16GiB", 0, 1024 * 1024 * GIB, false,
	 "Above this size of telemetry.db the oldest raw telemetry goes whatever its age; 0: no bound."},
	{"storage", "baseline", KEY_DURATION, AT(telemetry.baseline_ms), "24h", 60000, 30 * INT64_C(86400000), false,
	 "How far back a device's baseline reaches, about."},
	{"storage", "checkpoint", KEY_DURATION, AT(telemetry.checkpoint_ms), "30s", 1000, 3600000, false,
	 "How often changed device states are written; bounds what is read again at start."},
	{"storage", "events", KEY_INT, AT(access.events_max), "1000000", 1000, INT64_C(1000000000), true,
		"Events kept for listeners that come back."},
	{"storage", "audit_age", KEY_DURATION, AT(access.audit_age_ms), "400d", 86400000, NEVER, true,
		"How long the audit log is kept."},
	{"storage", "audit", KEY_INT, AT(access.audit_max), "10000000", 1000, INT64_C(10000000000), true,
		"Entries of it, whatever their age."},
	{"storage", "artifact_size", KEY_SIZE, AT(catalog.artifact_bytes_max), "2GiB", 1, 1024 * GIB, false,
		"Largest artifact."},
	{"storage", "upload_age", KEY_DURATION, AT(catalog.upload_age_ms), "7d", 60000, NEVER, false,
		"An unfinished upload that got no byte for so long goes."},
	{"storage", "upload_sync", KEY_SIZE, AT(catalog.sync_bytes), "8MiB", 64 * KIB, GIB, false,
		"Progress of an upload is made durable each so many bytes."},
	{"storage", "reserve", KEY_SIZE, AT(catalog.reserve_bytes), "64MiB", 0, 1024 * GIB, false,
		"What uploads leave free on the disk for the databases."},

	{"limits", "reports_per_second", KEY_INT, AT(ingest.reports_per_second), "20", 0, 1000000, true,
		"Telemetry reports of one device, on average; 0: no limit."},
	{"limits", "reports_burst", KEY_INT, AT(ingest.reports_burst), "2000", 1, 1000000, true,
		"How many may come at once."},
	{"limits", "commands_per_second", KEY_INT, AT(ingest.commands_per_second), "5", 0, 1000000, true,
		"Reports of one device on /report; 0: no limit. Its /status is always taken: a lost one would leave it online for ever."},
	{"limits", "commands_burst", KEY_INT, AT(ingest.commands_burst), "50", 1, 1000000, true,
		"How many may come at once."},
	{"limits", "metrics", KEY_INT, AT(ingest.metrics_max), "1000", 1, 60000, true,
		"Metric names known to the server, over all devices."},
	{"limits", "versions", KEY_INT, AT(ingest.versions_max), "10000", 1, 60000, true,
		"Pairs of model and version seen in telemetry."},
	{"limits", "new_names", KEY_INT, AT(ingest.new_names), "64", 0, 60000, true,
		"New ones of both that one device may bring in a day, so that none uses up what is there for all; 0: no limit."},
	{"limits", "batch_reports", KEY_INT, AT(ingest.batch_reports), "2000", 1, 100000, true,
		"A batch of telemetry is written when it has as many reports,"},
	{"limits", "batch_window", KEY_DURATION, AT(ingest.batch_window_ms), "20ms", 0, 10000, true,
		"or when its first one has waited as long."},
	{"limits", "refused_samples", KEY_INT, AT(ingest.samples_per_minute), "10", 0, 10000, true,
		"Refused messages that are shown in the log, a minute."},
	{"limits", "jobs", KEY_INT, AT(jobs), "256", 4, 10000, false,
		"Work off the loop that may wait: queries, uploads, backup."},
	{"limits", "drain", KEY_DURATION, AT(drain_ms), "10s", 0, 600000, true,
		"How long SIGTERM waits for running requests."},

	{"devices", "report_interval", KEY_DURATION, AT(report_interval_ms), "0s", 0, 86400000, true,
		"Time between telemetry reports that devices are asked to keep, told with their next desired document; 0s: their own."},
	{"devices", "manifest_life", KEY_DURATION, AT(catalog.manifest_life_ms), "0s", 0, NEVER, false,
		"Devices that know the time refuse a signed manifest that is older, so an attacker cannot hold them on it for ever; 0s: never. "
		"Longer than devices are away."},

	{"notify", "allow", KEY_TEXT, AT(notify_allow), "", 0, 0, true,
		"Networks that receivers of notifications may be in besides the public internet, as 10.0.0.0/8, ::1."},

	{"upstreams", "allow", KEY_TEXT, AT(upstream_allow), "", 0, 0, true,
		"Networks that upstreams of models may be in besides the public internet, as 10.0.0.0/8, ::1."},
	{"upstreams", "ca_file", KEY_TEXT, AT(upstreams.ca_file), "", 0, 0, false,
		"PEM file with the certificates that sign those of upstreams without a ca_file of their own; empty: the system's."},
	{"upstreams", "directories", KEY_TEXT, AT(upstreams.directories), "", 0, 0, false,
		"Paths that upstreams of kind directory may be in, separated by commas; empty: there can be none."},

	{"models", "unknown", KEY_TEXT, AT(compats.unknown), "refuse", 0, 0, false,
		"Devices that did not tell what a model asks for: refuse, or allow them to get it. What they told and is too little is always refused."},

	{"detect", "state", KEY_TEXT, AT(detect.state), "compact", 0, 0, false,
		"What is kept of each metric of a device for its anomaly score: compact (56 bytes), full (192, knows hours of the day), or off: no detection."},
	{"detect", "budget", KEY_INT, AT(detect.budget), "1000", 10, 100000, false,
		"False alerts in a million device-days that thresholds of cohorts aim at."},
	{"detect", "checkpoint", KEY_DURATION, AT(detect.checkpoint_ms), "60s", 1000, 3600000, false,
		"How often changed states are written; bounds what is read again at start."},
	{"detect", "cohorts", KEY_INT, AT(detect.cohorts_max), "1000", 1, 1000, false,
		"Cohorts (hardware and version of the model) with thresholds of their own; more share those of their hardware."},

	{"ddi", "tenant", KEY_TEXT, AT(api.ddi.tenant), "DEFAULT", 0, 0, true,
	 "First segment of the paths of hawkBit's device API, /<tenant>/controller/v1/<id>; case does not matter."},
	{"ddi", "trusted_proxies", KEY_TEXT, AT(api.ddi.trusted_proxies), "", 0, 0, true,
	 "Networks of proxies whose X-Forwarded-Host, -Proto, -Port and certificate headers count, as 10.0.0.0/8, ::1."},
	{"ddi", "hardware", KEY_TEXT, AT(actions.hardware), "ddi", 0, 0, true, "Hardware class of devices that a gateway or certificate registers."},
	{"ddi", "hardware_attribute", KEY_TEXT, AT(actions.hardware_attribute), "hardware", 0, 0, true,
	 "Attribute of configData that tells the hardware class; empty: none does."},
	{"ddi", "release_attribute", KEY_TEXT, AT(actions.release_attribute), "release", 0, 0, true,
	 "Attribute of configData that tells the release that a device ran before its first update; empty: none does."},
	{"ddi", "closed_window", KEY_TEXT, AT(actions.closed_window), "skip", 0, 0, true,
	 "What a device gets outside of its maintenance window: skip (the update, told to wait) or withhold (nothing); its attribute ddi.closed_window goes first."},
	{"ddi", "downloads_max", KEY_INT, AT(actions.downloads_max), "20", 1, 100000, true,
	 "Downloads of one action without any feedback before an alert says so."},
	{"ddi", "busy_polls", KEY_INT, AT(actions.busy_polls), "5000", 0, 10000000, true,
	 "Polls a second above which devices are told to come less often; 0: never."},

	{"mgmt", "basic", KEY_SECRET, AT(api.mgmt_basic), "", 0, 0, true,
		"A user of hawkBit's Management API (/rest/v1) besides those whose password is a token: name:sha256 of the password in hex. Never printed."},
	{"mgmt", "basic_role", KEY_TEXT, AT(api.mgmt_role), "admin", 0, 0, true, "What that user may do: viewer, operator or admin."},

	{"log", "level", KEY_LEVEL, AT(log_level), "info", 0, 0, true, "error, warn, info or debug."},
	{"log", "requests", KEY_BOOL, AT(api.log_requests), "no", 0, 0, true,
		"Log every HTTP request; else only failures and slow ones."},
};
#define KEYS (sizeof keys / sizeof keys[0])
_Static_assert(KEYS <= sizeof((struct config *)0)->is_set / sizeof(bool), "config.h has too few flags");

static void *member(const struct config *c, const struct key *k)
{
	return (char *)(uintptr_t)c + k->offset;
}

/* ---- values ---- */

static bool parse_int(const char *text, int64_t *v)
{
	char *end;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	*v = n;
	return end != text && *end == '\0' && errno == 0;
}

static bool parse_bool(const char *text, bool *v)
{
	*v = strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
	return *v || strcmp(text, "no") == 0 || strcmp(text, "false") == 0;
}

/* "127.0.0.1:8080" or "[::1]:8080" */
static bool parse_address(const char *text, size_t len, char host[64], uint16_t *port)
{
	char copy[96];
	if (len >= sizeof copy)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	char *colon = strrchr(copy, ':'), *begin = copy;
	int64_t n;
	if (colon == NULL || colon[1] < '0' || colon[1] > '9' || !parse_int(colon + 1, &n) || n > 65535)
		return false;
	*colon = '\0';
	if (copy[0] == '[' && colon > copy + 1 && colon[-1] == ']') {
		colon[-1] = '\0';
		begin++;
	} else if (strchr(copy, ':') != NULL) {
		return false;
	}
	*port = (uint16_t)n;
	return begin[0] != '\0' && str_copy(host, 64, begin);
}

/* localhost is both of its families, on the same port. */
static bool add_both(struct listen_list *list)
{
	struct http_address *v4 = &list->items[list->count - 1], *v6 = &list->items[list->count];
	if (list->count == LISTEN_MAX)
		return false;
	str_copy(list->hosts[list->count - 1], sizeof list->hosts[0], "127.0.0.1");
	str_copy(list->hosts[list->count], sizeof list->hosts[0], "::1");
	*v6 = *v4;
	list->count++;
	return true;
}

static bool parse_listen(const char *text, bool is_tls, struct listen_list *list)
{
	list->count = 0;
	while (*(text += strspn(text, " \t,")) != '\0') {
		size_t len = strcspn(text, " \t,");
		struct http_address *a = &list->items[list->count];
		if (list->count == LISTEN_MAX || !parse_address(text, len, list->hosts[list->count], &a->port))
			return false;
		a->is_tls = is_tls;
		list->count++;
		text += len;
		if (strcmp(list->hosts[list->count - 1], "localhost") == 0 && !add_both(list))
			return false;
	}
	for (size_t i = 0; i < list->count; i++)
		list->items[i].host = list->hosts[i];
	return true;
}

/* A copy that takes the place of the one before. */
static const char *keep_text(struct config *c, const char *before, const char *text)
{
	char *copy = strdup(text);
	if (copy == NULL)
		abort();
	size_t at = 0;
	while (at < c->text_count && c->texts[at] != before)
		at++;
	assert(at < sizeof c->texts / sizeof c->texts[0]);
	if (at < c->text_count)
		free(c->texts[at]);
	else
		c->text_count++;
	c->texts[at] = copy;
	return copy;
}

static const char *wanted(const struct key *k, char *out, size_t size)
{
	switch (k->type) {
	case KEY_INT:
		snprintf(out, size, "a number from %lld to %lld is wanted", (long long)k->min, (long long)k->max);
		return out;
	case KEY_BOOL:
		return "yes or no is wanted";
	case KEY_DURATION:
		snprintf(out, size, "a duration as 250ms 30s 15m 24h 7d is wanted, from %lldms to %lldms", (long long)k->min,
			(long long)k->max);
		return out;
	case KEY_SIZE:
		snprintf(out, size, "a size as 512 64KiB 8MiB 2GiB is wanted, from %lld to %lld bytes", (long long)k->min,
			(long long)k->max);
		return out;
	case KEY_LEVEL:
		return "error, warn, info or debug is wanted";
	case KEY_LISTEN:
	case KEY_LISTEN_TLS:
		return "addresses as 127.0.0.1:8080, [::1]:8080 are wanted, at most 8";
	default:
		return "a text is wanted";
	}
}

static bool set_value(struct config *c, const struct key *k, const char *text)
{
	void *m = member(c, k);
	int64_t n = 0;
	bool ok;
	switch (k->type) {
	case KEY_INT:
		ok = parse_int(text, &n);
		break;
	case KEY_DURATION:
		ok = str_parse_duration_ms(text, &n);
		break;
	case KEY_SIZE:
		ok = str_parse_size(text, &n);
		break;
	case KEY_BOOL:
		return parse_bool(text, m);
	case KEY_LEVEL:
		return log_parse_level(text, m);
	case KEY_LISTEN:
	case KEY_LISTEN_TLS:
		return parse_listen(text, k->type == KEY_LISTEN_TLS, m);
	default:
		*(const char **)m = keep_text(c, *(const char **)m, text);
		return true;
	}
	if (ok && n >= k->min && n <= k->max)
		*(int64_t *)m = n;
	else
		ok = false;
	return ok;
}

/* ---- reading ---- */

void config_init(struct config *c)
{
	memset(c, 0, sizeof *c);
	for (size_t i = 0; i < KEYS; i++) {
		bool ok = set_value(c, &keys[i], keys[i].standard);
		assert(ok);
		(void)ok;
	}
}

void config_done(struct config *c)
{
	for (size_t i = 0; i < c->text_count; i++)
		free(c->texts[i]);
	memset(c, 0, sizeof *c);
}

struct reading {
	struct config *c;
	FILE *file;
	const char *path;
	struct buf *problems;
	int line, problem_count;
};

static void AVIARY_PRINTF(2, 3) problem(struct reading *r, const char *fmt, ...)
{
	char text[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (r->problem_count++ < PROBLEMS_MAX)
		buf_printf(r->problems, "%s:%d: %s\n", r->path, r->line, text);
}

/* For inih: one line at a time, counted. */
static char *read_line(char *out, int size, void *ctx)
{
	struct reading *r = ctx;
	char *line = fgets(out, size, r->file);
	if (line == NULL)
		return NULL;
	r->line++;
	size_t len = strlen(line);
	if (len > LINE_MAX_BYTES && line[len - 1] != '\n') {
		problem(r, "longer than %d bytes", LINE_MAX_BYTES);
		for (int ch = 0; ch != EOF && ch != '\n';)
			ch = fgetc(r->file);
		line[0] = '\0';
	} else if (len > 0 && (line[0] == ' ' || line[0] == '\t') && line[strspn(line, " \t\r\n")] != '\0') {
		/* indented, not a continuation */
		memmove(line, line + strspn(line, " \t"), strlen(line + strspn(line, " \t")) + 1);
	}
	return line;
}

static int on_key(void *ctx, const char *section, const char *name, const char *value)
{
	struct reading *r = ctx;
	char text[128];
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].name, name) != 0)
			continue;
		if (r->c->is_set[i]) {
			problem(r, "%s in [%s] is given twice", name, section);
			return 1;
		}
		r->c->is_set[i] = true;
		if (!set_value(r->c, &keys[i], value))
			problem(r, "%s in [%s]: %s", name, section, wanted(&keys[i], text, sizeof text));
		return 1;
	}
	problem(r, "there is no key %.60s in [%.60s]", name, section);
	return 1;
}

static void check_whole(struct reading *r)
{
	const struct config *c = r->c;
	struct ip_networks allow;
	r->line = 0;
	if (!ip_networks_parse(c->notify_allow, &allow))
		problem(r, "allow in [notify]: networks as 10.0.0.0/8, 192.168.1.7, fd00::/8 are wanted, at most %d", IP_NETWORKS_MAX);
	if (!ip_networks_parse(c->upstream_allow, &allow))
		problem(r, "allow in [upstreams]: networks as 10.0.0.0/8, 192.168.1.7, fd00::/8 are wanted, at most %d", IP_NETWORKS_MAX);
	if (c->http.tls.count > 0 && (c->http.tls_certificate[0] == '\0' || c->http.tls_key[0] == '\0'))
		problem(r, "listen_tls in [http] needs tls_certificate and tls_key");
	if (c->http.plain.count + c->http.tls.count == 0)
		problem(r, "listen and listen_tls in [http] are both empty");
	if (c->http.plain.count + c->http.tls.count > LISTEN_MAX)
		problem(r, "listen and listen_tls in [http]: more than %d addresses", LISTEN_MAX);
	if (c->state_dir[0] == '\0')
		problem(r, "state_dir in [storage] is empty");
	if (strlen(c->mqtt.client_id) == 0 || strlen(c->mqtt.client_id) > 32)
		problem(r, "client_id in [mqtt]: 1 to 32 bytes are wanted");
	if ((c->mqtt.tls_certificate[0] != '\0') != (c->mqtt.tls_key[0] != '\0'))
		problem(r, "tls_certificate and tls_key in [mqtt] go together");
	if (!ip_networks_parse(c->api.ddi.trusted_proxies, &allow))
		problem(r, "trusted_proxies in [ddi]: networks as 10.0.0.0/8, 192.168.1.7, fd00::/8 are wanted, at most %d", IP_NETWORKS_MAX);
	if (!str_is_name(c->api.ddi.tenant) || !str_is_name(c->actions.hardware))
		problem(r, "tenant and hardware in [ddi]: 1 to 64 of A-Z a-z 0-9 . _ - are wanted");
	if (strcmp(c->actions.closed_window, "skip") != 0 && strcmp(c->actions.closed_window, "withhold") != 0)
		problem(r, "closed_window in [ddi]: skip or withhold is wanted");
	if (strcmp(c->compats.unknown, "refuse") != 0 && strcmp(c->compats.unknown, "allow") != 0)
		problem(r, "unknown in [models]: refuse or allow is wanted");
	if (!detect_is_state(c->detect.state))
		problem(r, "state in [detect]: compact, full or off is wanted");
}

enum err config_read(struct config *c, const char *path, struct buf *problems)
{
	struct reading r = {.c = c, .path = path, .problems = problems};
	config_init(c);
	r.file = fopen(path, "re");
	if (r.file == NULL) {
		buf_printf(problems, "%s: %s\n", path, strerror(errno));
		return ERR_NOT_FOUND;
	}
	int rc = ini_parse_stream(read_line, &r, on_key, &r);
	if (rc != 0) {
		r.line = rc > 0 ? rc : r.line;
		problem(&r, "neither a [section] nor a key = value");
	}
	fclose(r.file);
	if (r.problem_count == 0)
		check_whole(&r);
	if (r.problem_count > PROBLEMS_MAX)
		buf_printf(problems, "%s: %d more\n", path, r.problem_count - PROBLEMS_MAX);
	return r.problem_count == 0 ? ERR_OK : ERR_INVALID;
}

bool config_is_set(const struct config *c, const char *section, const char *key)
{
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].section, section) == 0 && strcmp(keys[i].name, key) == 0)
			return c->is_set[i];
	}
	assert(false);
	return false;
}

/* ---- printing: a value that is the default is written as the table has it ---- */

static void print_listen(const struct listen_list *list, struct buf *out)
{
	for (size_t i = 0; i < list->count; i++) {
		bool is_v6 = strchr(list->hosts[i], ':') != NULL;
		buf_printf(out, is_v6 ? "%s[%s]:%u" : "%s%s:%u", i > 0 ? ", " : "", list->hosts[i], list->items[i].port);
	}
}

static void print_duration(int64_t ms, struct buf *out)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
	size_t i = 0;
	while (ms % units[i].ms != 0)
		i++;
	buf_printf(out, "%lld%s", (long long)(ms / units[i].ms), ms == 0 ? "s" : units[i].unit);
}

static void print_size(int64_t bytes, struct buf *out)
{
	static const struct {
		int64_t bytes;
		const char *unit;
	} units[] = {{GIB, "GiB"}, {MIB, "MiB"}, {KIB, "KiB"}, {1, ""}};
	size_t i = 0;
	while (bytes == 0 ? i < 3 : bytes % units[i].bytes != 0)
		i++;
	buf_printf(out, "%lld%s", (long long)(bytes / units[i].bytes), units[i].unit);
}

static void print_value(const struct config *c, const struct key *k, struct buf *out)
{
	const void *m = member(c, k);
	switch (k->type) {
	case KEY_INT:
		buf_printf(out, "%lld", (long long)*(const int64_t *)m);
		break;
	case KEY_DURATION:
		print_duration(*(const int64_t *)m, out);
		break;
	case KEY_SIZE:
		print_size(*(const int64_t *)m, out);
		break;
	case KEY_BOOL:
		buf_str(out, *(const bool *)m ? "yes" : "no");
		break;
	case KEY_LEVEL: {
		enum log_level level = *(const enum log_level *)m;
		buf_str(out, level == LOG_ERROR ? "error" : level == LOG_WARN ? "warn" : level == LOG_INFO ? "info" : "debug");
		break;
	}
	case KEY_LISTEN:
	case KEY_LISTEN_TLS:
		print_listen(m, out);
		break;
	case KEY_SECRET:
		buf_str(out, (*(const char *const *)m)[0] != '\0' ? "(hidden)" : "");
		break;
	default:
		buf_str(out, *(const char *const *)m);
		break;
	}
}

/* Whether the value is what the default's text says: then that text is printed (24h stays 24h). */
static bool is_standard(const struct config *c, const struct config *standard, const struct key *k)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	print_value(c, k, &a);
	print_value(standard, k, &b);
	bool same = strcmp(buf_cstr(&a), buf_cstr(&b)) == 0;
	buf_done(&a);
	buf_done(&b);
	return same;
}

void config_print(const struct config *c, struct buf *out)
{
	struct config standard;
	config_init(&standard);
	buf_str(out,
		"# Configuration of aviaryd with every key at its default; aviaryd.conf(5). "
		"A key that is left out has its default.\n"
		"# Durations: 250ms 30s 15m 24h 7d. Sizes: 512 64KiB 8MiB 2GiB. "
		"SIGHUP takes over keys marked with (reload).\n");
	for (size_t i = 0; i < KEYS; i++) {
		if (i == 0 || strcmp(keys[i].section, keys[i - 1].section) != 0)
			buf_printf(out, "\n[%s]\n", keys[i].section);
		buf_printf(out, "# %s%s\n%s =", keys[i].doc, keys[i].can_reload ? " (reload)" : "", keys[i].name);
		struct buf value = BUF_INIT;
		if (is_standard(c, &standard, &keys[i]))
			buf_str(&value, keys[i].standard);
		else
			print_value(c, &keys[i], &value);
		if (value.len > 0)
			buf_printf(out, " %s", value.data);
		buf_char(out, '\n');
		buf_done(&value);
	}
	config_done(&standard);
}

/* ---- reloading ---- */

void config_reload(struct config *running, const struct config *fresh, struct buf *kept)
{
	for (size_t i = 0; i < KEYS; i++) {
		const struct key *k = &keys[i];
		struct buf value = BUF_INIT;
		print_value(fresh, k, &value);
		bool differs = !is_standard(running, fresh, k);
		if (k->type == KEY_SECRET)
			differs = strcmp(*(const char **)member(running, k), *(const char **)member(fresh, k)) != 0;
		if (differs && !k->can_reload)
			buf_printf(kept, "%s%s.%s", kept->len > 0 ? " " : "", k->section, k->name);
		else if (differs) {
			bool ok = set_value(running, k, buf_cstr(&value));
			assert(ok);
			(void)ok;
		}
		buf_done(&value);
	}
}
