/* libaviary-agent: the device side of docs/protocol.md as a non-blocking state machine (C99, freestanding in spirit).
 *
 * What it is: two slots, signed releases, resumable downloads, trial run with self-test, confirmation or fall-back by
 * itself, numbered reports. One process can run thousands: a `struct agent` has a fixed size, nothing is allocated,
 * nothing blocks. What it is not: it opens no socket or file, owns no thread, knows no credential. All that is behind
 * `struct agent_ports`.
 *
 * Rules for the host:
 *   - after every agent_on_*() call and whenever the deadline it returned has come, call agent_poll();
 *   - ports never call back into the agent: results of http_get and self_test_start are delivered later, from the loop;
 *   - text and tables given to agent_init (config, ports, host) outlive the agent.
 * Times are milliseconds: mono_ms counts from anywhere, wall_ms from 1970 UTC.
 */
#ifndef AVIARY_AGENT_AGENT_H
#define AVIARY_AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_NAME_MAX 64         /* device ids, hardware classes, names, versions, deployment ids: bytes without NUL */
#define AGENT_COMPONENTS_MAX 16   /* components (= artifacts taken) of one release */
#define AGENT_URL_MAX 192         /* path of the document or of an artifact */
#define AGENT_REASON_MAX 120      /* reason text in a report (protocol: 200) */
#define AGENT_ENROL_MAX 1024      /* token, name, attributes and tags of the enrolment together */
#define AGENT_CAPABILITIES_MAX 1536 /* what it can do: some 60 operators */
#define AGENT_REPORT_BYTES 7936   /* a whole report with all of the above */
/* The protocol's limits. A device with little memory may be built with less (both alike in every file that includes this);
 * documents and releases that are larger are then none for it. A document holds its manifest in base64. */
#ifndef AGENT_DOCUMENT_BYTES
#define AGENT_DOCUMENT_BYTES 65536
#endif
#ifndef AGENT_MANIFEST_BYTES
#define AGENT_MANIFEST_BYTES 16384
#endif
#define AGENT_MEMORY_BYTES (AGENT_DOCUMENT_BYTES + 4096) /* most that is ever borrowed at once */
#define AGENT_RECORD_HEAD_BYTES 1024 /* in front of the manifest in AGENT_PART_RELEASE */
#define AGENT_STATE_BYTES 1024    /* one copy of the state record */
#define AGENT_SHA256_BYTES 32
#define AGENT_KEYS_MAX 4          /* pinned public keys */
#define AGENT_TELEMETRY_BYTES 8192
#define AGENT_COMMANDS 4          /* that wait, run, or whose answers are remembered */
#define AGENT_COMMAND_WORD 48     /* kinds and names of checks: bytes without NUL */
#define AGENT_ANSWER_BYTES 256
#define AGENT_OFFLOAD_BINS 64     /* of the margins of what was sent to an endpoint */
#define AGENT_ANY_RSSI INT16_MIN

#define AGENT_SLOT_A 0
#define AGENT_SLOT_B 1
#define AGENT_SLOT_FACTORY 2      /* what the device was shipped with; never written, always there */
#define AGENT_PART_RELEASE AGENT_COMPONENTS_MAX /* parts 0..15 hold artifacts; this one the signed release record */

#define AGENT_WILL "{\"online\":false}" /* last will on AGENT_TOPIC_STATUS: QoS 1, retained */

struct agent;

enum agent_topic { AGENT_TOPIC_TELEMETRY, AGENT_TOPIC_STATUS, AGENT_TOPIC_REPORT, AGENT_TOPIC_DESIRED, AGENT_TOPIC_COMMAND,
                   AGENT_TOPIC_ANSWER };

/* Room for an incremental SHA-256; what is inside belongs to the crypto port. */
union agent_sha {
	uint64_t align;
	unsigned char bytes[128];
};

enum agent_activation {
	AGENT_ACTIVATE_DONE,   /* the slot's release is in use now */
	AGENT_ACTIVATE_REBOOT, /* it will be after a restart: the agent asks for one with hooks.reboot */
	AGENT_ACTIVATE_FAILED
};

/* For logs and simulators; `detail` is a short constant or a reason text. */
enum agent_event {
	AGENT_EVENT_BOOTED,    /* the running release is known */
	AGENT_EVENT_DOCUMENT,  /* a new desired document was taken in */
	AGENT_EVENT_ACCEPTED,  /* a deployment begins */
	AGENT_EVENT_REJECTED,
	AGENT_EVENT_RESUMED,   /* a download continues where it was cut */
	AGENT_EVENT_REUSED,    /* an artifact was taken from a slot instead of the network */
	AGENT_EVENT_TRIAL,     /* the trial run begins */
	AGENT_EVENT_CONFIRMED,
	AGENT_EVENT_FELL_BACK, /* the old release runs again */
	AGENT_EVENT_CANCELLED,
	AGENT_EVENT_FAILED,    /* before any switch; the old release never stopped */
	AGENT_EVENT_RETRY,     /* something will be tried again after a pause */
	AGENT_EVENT_SHADOW,    /* a release runs in shadow now */
	AGENT_EVENT_STORAGE    /* storage failed or did not verify */
};

/* What a release contains, as a compatibility check sees it. */
struct agent_component {
	bool is_firmware; /* else a model */
	uint8_t part;     /* of the slot: where its artifact lies (components with equal artifacts share one) */
	char name[AGENT_NAME_MAX + 1];
	char version[AGENT_NAME_MAX + 1];
	uint8_t sha256[AGENT_SHA256_BYTES]; /* of its artifact; zeros: not known (what the device was shipped with) */
};
struct agent_release {
	char name[AGENT_NAME_MAX + 1];
	uint64_t counter;
	unsigned component_count;
	struct agent_component components[AGENT_COMPONENTS_MAX];
};

/* Every function gets the `host` pointer of agent_init. A false return is a failure, never an assertion. */
struct agent_ports {
	/* --- storage --- */
	/* The state record: copies 0 and 1, at most AGENT_STATE_BYTES each. Reads `size` bytes; false when the copy is
	 * absent or shorter. A write must be durable when it returns true. A power cut may leave that copy torn but may not
	 * touch the other one. */
	bool (*state_read)(void *host, int copy, void *out, size_t size);
	bool (*state_write)(void *host, int copy, const void *data, size_t size);
	/* Makes part `part` of a slot empty and ready for size_bytes (erase, truncate, reserve); false when there is no
	 * room. sha256 is the content to come (NULL for AGENT_PART_RELEASE): storage that shares content between agents may
	 * use it. */
	bool (*part_begin)(void *host, int slot, int part, uint64_t size_bytes, const uint8_t *sha256);
	/* Writes in ascending order; durable only after slot_sync. */
	bool (*part_write)(void *host, int slot, int part, uint64_t offset, const void *data, size_t len);
	/* Reads exactly len bytes. */
	bool (*part_read)(void *host, int slot, int part, uint64_t offset, void *out, size_t len);
	bool (*slot_sync)(void *host, int slot);
	/* One big buffer for moments (while the document is fetched; for the release record at boot and at a switch), at
	 * most AGENT_MEMORY_BYTES, aligned for any type: a static buffer shared by agents, or malloc. NULL: tried again
	 * soon, but agent_boot fails. */
	void *(*memory_borrow)(void *host, size_t size_bytes);
	void (*memory_return)(void *host, void *memory);

	/* --- clock --- */
	int64_t (*mono_ms)(void *host);
	int64_t (*wall_ms)(void *host); /* 0 or less: not known */

	/* --- crypto --- each sha_init is followed by exactly one sha_final. */
	void (*sha_init)(void *host, union agent_sha *h);
	void (*sha_update)(void *host, union agent_sha *h, const void *data, size_t len);
	void (*sha_final)(void *host, union agent_sha *h, uint8_t out[AGENT_SHA256_BYTES]);
	/* Ed25519 over `domain`, one zero byte, data. */
	bool (*verify)(void *host, const uint8_t public_key[32], const char *domain, const void *data, size_t len,
	               const uint8_t signature[64]);
	void (*random)(void *host, void *out, size_t len);

	/* --- transport --- */
	/* QoS 1 publish; the payload is copied before it returns. False when it cannot be queued (the agent repeats
	 * reports). */
	bool (*publish)(void *host, enum agent_topic topic, const char *payload, size_t len, bool retained);
	/* Starts GET of a path on the server's HTTP base (with the device's Authorization). etag: 16 hex digits for
	 * If-None-Match, or NULL. from: first byte wanted; > 0 means `Range: bytes=<from>-`. Answers come as
	 * agent_on_http_*() with this id. One at a time. */
	bool (*http_get)(void *host, uint32_t id, const char *path, const char *etag, uint64_t from);
	/* no agent_on_http_*() with this id afterwards (later ones are ignored anyway) */
	void (*http_cancel)(void *host, uint32_t id);

	/* --- application hooks --- */
	/* May this release run here (runtime version, operators...)? On false fills reason. NULL hook: yes. Nothing was
	 * written yet. */
	bool (*is_compatible)(void *host, const struct agent_release *release, char *reason, size_t reason_size);
	/* Makes `slot` the one in use; called at every boot and switch, idempotent. trial: not confirmed yet. */
	enum agent_activation (*activate)(void *host, int slot, bool trial);
	void (*reboot)(void *host); /* NULL when activate never answers AGENT_ACTIVATE_REBOOT */
	/* Starts the self-test of the release in use; the result comes with agent_on_self_test. False = failed at once. NULL
	 * hook: passes. */
	bool (*self_test_start)(void *host, int slot);
	void (*self_test_cancel)(void *host); /* may be NULL */
	/* The twin's desired document (`config`), compact JSON text, valid during the call. May be NULL. */
	void (*config_changed)(void *host, const char *json, size_t len, int64_t rev);
	void (*event)(void *host, enum agent_event event, const char *detail); /* may be NULL */

	/* --- a release in shadow --- both or neither; with both the device reports the capability "shadow". */
	/* Runs the verified release in `slot` beside the one in use: on the same inputs, acting on nothing, telling what it
	 * measures by agent_telemetry_shadow. Called again after each restart, while none runs. False: it cannot be
	 * started. What happens to it later comes with agent_on_shadow_ended. `release` is valid during the call. */
	bool (*shadow_start)(void *host, int slot, const struct agent_release *release);
	/* Ends it: nothing may use the slot afterwards. Only after a shadow_start that said yes. */
	void (*shadow_stop)(void *host);

	/* --- commands --- any may be NULL */
	/* Starts a check that the agent cannot do by itself (all but model_hash): "inference", "storage", "memory", "connectivity",
	 * "custom"; `name` is the check's own name, "" when it has none. The result comes with agent_on_check. False: there is no
	 * such check here. NULL: only connectivity is answered. One at a time; texts are valid during the call. */
	bool (*check_start)(void *host, const char *check, const char *name);
	void (*check_cancel)(void *host);  /* its deadline has passed; no agent_on_check afterwards */
	void (*telemetry_now)(void *host); /* send telemetry soon, not at the end of the interval */

	/* The hash of what the runtime has loaded for a model of the running release, for hosts that can tell; false, or a NULL hook: it
	 * is taken for what was verified at the start. Asked with each report: remember it. */
	bool (*loaded_hash)(void *host, const struct agent_component *component, uint8_t sha256[AGENT_SHA256_BYTES]);

	/* Where hard inferences of a model may be sent (agent_offload_decide): a URL of the operator, valid during the call; NULL: nowhere any
	 * more. Called with each document. May be NULL. */
	void (*offload_changed)(void *host, const char *model, const char *endpoint, size_t len);
};

/* What may be sent to an endpoint of one model, and what became of it: the host places some of these (agent_config.offloads). Private. */
struct agent_offload {
	char model[AGENT_NAME_MAX + 1]; /* "": free */
	uint8_t unit, link_least, battery_least;
	bool is_named, is_started;
	uint16_t margin, audit;
	int16_t rssi_least;
	uint32_t rate_least, budget, tokens, parts, last_ms, random;
	int64_t rev;
	struct {
		double cost;
		uint32_t inferences, sent, blocked, answered, agreed, audited, audit_agreed;
		uint16_t margins[AGENT_OFFLOAD_BINS], sure[AGENT_OFFLOAD_BINS];
	} counts;
};

/* Pauses and sizes; 0 = the default in brackets. */
struct agent_limits {
	uint32_t report_retry_ms;     /* until acknowledged [10000] */
	uint32_t retry_min_ms;        /* after a failed fetch, doubling with jitter [1000] */
	uint32_t retry_max_ms;        /* [300000] */
	uint32_t http_timeout_ms;     /* without any byte [60000] */
	uint32_t trial_timeout_ms;    /* one boot's self-test and confirmation [120000] */
	uint32_t trial_boots;         /* restarts into an unconfirmed release, or with one in shadow that was up for less
	                               * than trial_timeout_ms, before it is given up [3] */
	uint32_t progress_step_bytes; /* progress is made durable this often [65536] */
	uint32_t slice_bytes;         /* most bytes hashed or copied in one agent_poll [65536] */
	uint32_t report_interval_ms;  /* until a document says otherwise [60000] */
};

struct agent_config {
	const char *device;   /* id */
	const char *hardware; /* class */
	const uint8_t (*keys)[32]; /* pinned public keys */
	unsigned key_count;        /* 1..AGENT_KEYS_MAX */
	/* what AGENT_SLOT_FACTORY runs; its counter is the first floor. NULL: nothing known */
	const struct agent_release *factory;
	uint64_t slot_bytes;       /* most bytes of artifacts a slot holds */
	const char *capabilities_json; /* members after slot_bytes, without braces: "\"runtime\":\"tflm\"", or NULL */
	/* Enrolment; token NULL: none. attributes/tags are JSON text (object, array) or NULL. */
	struct {
		const char *token;
		const char *secret_sha256; /* hex64 */
		const char *name;          /* UTF-8 text or NULL */
		const char *attributes_json;
		const char *tags_json;
	} enrol;
	struct agent_limits limits;
	bool confirm_needs_connection; /* a trial is confirmed only while MQTT is connected */
	/* zeroed memory, one for each model whose inferences may be sent to an endpoint; NULL: none may */
	struct agent_offload *offloads;
	unsigned offload_count;
};

enum agent_state {
	AGENT_OFF,         /* before agent_boot */
	AGENT_IDLE,
	AGENT_PREPARING,   /* deployment accepted, record being written, parts being looked at */
	AGENT_DOWNLOADING,
	AGENT_VERIFYING,   /* hash over a part's stored bytes */
	AGENT_INSTALLING,  /* complete and verified; about to switch */
	AGENT_TRIAL,       /* new release in use, not confirmed */
	AGENT_REBOOTING    /* waiting for the host to restart */
};

/* The deployment's state in reports; final from AGENT_DEPLOYMENT_SUCCEEDED on. */
enum agent_deployment {
	AGENT_DEPLOYMENT_NONE,
	AGENT_DEPLOYMENT_ACCEPTED,
	AGENT_DEPLOYMENT_DOWNLOADING,
	AGENT_DEPLOYMENT_INSTALLING,
	AGENT_DEPLOYMENT_TRIAL,
	AGENT_DEPLOYMENT_SUCCEEDED,
	AGENT_DEPLOYMENT_FAILED,
	AGENT_DEPLOYMENT_REJECTED,
	AGENT_DEPLOYMENT_CANCELLED
};

/* --- life --- */

/* False when the configuration is refused: missing port, bad id, key count, texts too long. Touches no port. */
bool agent_init(struct agent *a, const struct agent_config *config, const struct agent_ports *ports, void *host);
/* Power-up: reads the state record, ends or continues a trial, verifies what will run (signature and hashes),
 * activates it and starts a new boot id. Call it again after each simulated or real restart (agent_init first). False
 * when memory could not be borrowed. */
bool agent_boot(struct agent *a);
/* Does what is due; returns the mono_ms when to call again at the latest (INT64_MAX: only after an input). */
int64_t agent_poll(struct agent *a);

/* --- inputs --- */

void agent_on_mqtt_connected(struct agent *a); /* subscribed to AGENT_TOPIC_DESIRED */
void agent_on_mqtt_disconnected(struct agent *a);
void agent_on_desired(struct agent *a, const char *message, size_t len);
/* Head of the answer. etag without quotes or NULL. first_byte: where a 206's Content-Range begins, else 0. False:
 * stop the transfer (the agent has dropped the request; no http_cancel follows). */
bool agent_on_http_response(struct agent *a, uint32_t id, int status, const char *etag, uint64_t first_byte);
bool agent_on_http_data(struct agent *a, uint32_t id, const void *data, size_t len); /* false: stop the transfer */
/* complete false: connection failed or was cut */
void agent_on_http_done(struct agent *a, uint32_t id, bool complete);
/* reason: UTF-8 or NULL; ignored outside a trial */
void agent_on_self_test(struct agent *a, bool passed, const char *reason);

/* The release in shadow crashed or cannot go on. The agent calls shadow_stop, reports it failed, and does not start it
 * again within this attempt. reason: UTF-8 or NULL; ignored while none runs */
void agent_on_shadow_ended(struct agent *a, const char *reason);

/* A message on AGENT_TOPIC_COMMAND. A number that was answered before is answered again with the same words. */
void agent_on_command(struct agent *a, const char *message, size_t len);
/* The result of check_start; value and detail (UTF-8) may be NULL. Ignored while no such check runs. */
void agent_on_check(struct agent *a, bool passed, const double *value, const char *detail);

/* --- outputs --- */

/* "aviary/v1/<device>/<topic>"; returns length or 0 when it does not fit (needs 96 bytes). */
size_t agent_topic_name(enum agent_topic topic, const char *device, char *out, size_t out_size);
enum agent_state agent_state(const struct agent *a);
const char *agent_state_name(enum agent_state state);
const char *agent_deployment_name(enum agent_deployment state); /* as in reports */
const char *agent_event_name(enum agent_event event);
const struct agent_release *agent_running(const struct agent *a); /* in use now, trial included */
int agent_running_slot(const struct agent *a);
const char *agent_boot_id(const struct agent *a);
uint32_t agent_report_interval_ms(const struct agent *a);
const char *agent_shadow(const struct agent *a); /* deployment id of the release that runs in shadow; NULL: none does */

/* What a boot would choose, looked at without writing anything (agent_init before; memory is borrowed). */
struct agent_inspection {
	int slot;            /* that would run */
	bool is_trial;       /* it is not confirmed yet */
	bool is_verified;    /* record signed by a pinned key and every artifact's hash right (factory: always) */
	bool is_damaged;     /* what the state record names did not verify; `slot` is what runs instead */
	bool has_state;      /* a state record was found */
	uint64_t floor;      /* anti-rollback counter */
	struct agent_release release;
	char deployment[AGENT_NAME_MAX + 1]; /* newest deployment worked on */
	uint32_t attempt;
	enum agent_deployment deployment_state;
	bool is_shadow; /* that deployment is one in shadow */
};
bool agent_inspect(struct agent *a, struct agent_inspection *out);

/* --- offloading --- what of a model goes to the operator's endpoint, as the desired document has it (docs/models.md) */

enum agent_link { AGENT_LINK_NONE, AGENT_LINK_BAD, AGENT_LINK_METERED, AGENT_LINK_GOOD };
/* The device, at this moment. What it does not know it does not have: a rule about it holds the inference back. */
struct agent_offload_now {
	uint8_t link;            /* enum agent_link */
	uint8_t battery_percent; /* 0..100; above: not known, or mains */
	int16_t rssi_dbm;        /* AGENT_ANY_RSSI: not known */
	uint32_t rate_kbps;      /* 0: not known */
	uint32_t size_bytes;     /* of what would be sent */
};
enum agent_offload_verdict {
	AGENT_OFFLOAD_LOCAL, /* the device is sure, or nothing is offloaded */
	AGENT_OFFLOAD_HARD,  /* send it */
	AGENT_OFFLOAD_AUDIT, /* sure, and drawn to be sent all the same */
	AGENT_OFFLOAD_NO_LINK, AGENT_OFFLOAD_NO_BATTERY, AGENT_OFFLOAD_NO_BUDGET /* hard, but these keep it here */
};
/* Once for each inference. margin: confidence of the first answer less that of the second, in 1/10000. What is to be sent is paid for. */
enum agent_offload_verdict agent_offload_decide(struct agent *a, const char *model, uint32_t margin,
                                                const struct agent_offload_now *now);
/* The endpoint answered what was sent with `verdict`; agreed: as the device itself. cost: 0..1e9, in the operator's unit. */
void agent_offload_answered(struct agent *a, const char *model, enum agent_offload_verdict verdict, uint32_t margin,
                            bool agreed, double cost);

/* --- telemetry --- */

/* One report, written into the caller's buffer (may be shared by all agents of a process; AGENT_TELEMETRY_BYTES is
 * the protocol's limit). A metric that does not fit or is outside the protocol's ranges is left out and makes
 * agent_telemetry_send return false. */
struct agent_telemetry {
	struct agent *agent;
	char *out;
	size_t size, len;
	unsigned metrics;
	bool failed, is_shadow;
	uint32_t outputs, nan_outputs;
	struct agent_offload *offload; /* whose figures are in it */
};
/* model and version: both or NULL. A confidence or an accuracy that is no number is left out and counted: the report says so as
 * "nan_outputs". */
void agent_telemetry_begin(struct agent_telemetry *t, struct agent *a, char *out, size_t size, const char *model,
                           const char *version);
void agent_telemetry_number(struct agent_telemetry *t, const char *name, double value);
void agent_telemetry_mean(struct agent_telemetry *t, const char *name, uint32_t n, double sum);
void agent_telemetry_ratio(struct agent_telemetry *t, const char *name, uint32_t n, uint32_t k);
/* DDSketch, relative accuracy 0.02: keys -1024..1024 with counts; zero counts are left out. */
void agent_telemetry_sketch(struct agent_telemetry *t, const char *name, const int16_t *keys, const uint32_t *counts,
                            size_t count);
void agent_telemetry_histogram(struct agent_telemetry *t, const char *name, const uint32_t *counts, size_t count);
/* What was offloaded of the report's model since the last report that was sent: at most eight metrics; before agent_telemetry_shadow. */
void agent_telemetry_offload(struct agent_telemetry *t, const char *model);
/* The metrics that follow are those of the release in shadow, over the same inputs and interval as those before it; once
 * in a report. False: none runs in shadow, and nothing more may be added. */
bool agent_telemetry_shadow(struct agent_telemetry *t);
/* Closes the report, takes the next telemetry seq and publishes it. Returns false when nothing was sent (not
 * connected, overflow, no metric). After true, out[0..len) is the report. */
bool agent_telemetry_send(struct agent_telemetry *t);

/* --- private: here so that the host can place it --- */

/* What one part of a slot is to hold. */
struct agent_part {
	uint8_t sha256[AGENT_SHA256_BYTES];
	uint64_t size_bytes;
};

/* One slot as the state record knows it. A mark is the first 8 bytes of the hash of a completely stored part, or
 * zeros. */
struct agent_slot {
	uint8_t manifest[AGENT_SHA256_BYTES]; /* hash of the manifest in its record */
	uint8_t marks[AGENT_COMPONENTS_MAX][8];
	bool is_complete;  /* all parts were verified */
	bool is_confirmed; /* ran and was confirmed; may be booted when the other one is damaged */
	bool is_shadow;    /* sealed for a run in shadow: can never boot */
};

/* One command: it waits, runs, or is remembered with its answer. */
struct agent_command {
	int64_t id, deadline_ms;
	uint8_t state; /* private to command.c */
	char kind[AGENT_COMMAND_WORD + 1], check[AGENT_COMMAND_WORD + 1], name[AGENT_COMMAND_WORD + 1];
	size_t answer_len;
	char answer[AGENT_ANSWER_BYTES];
};

/* The persistent state record in memory (src/agent/record.c writes and reads it). */
struct agent_record {
	uint64_t sequence;
	uint64_t floor;
	uint8_t active; /* AGENT_SLOT_* */
	uint8_t trial;  /* slot in trial, or AGENT_SLOT_FACTORY for none */
	uint8_t trial_boots;   /* into the trial, or with the shadow */
	uint8_t part;          /* being downloaded into the inactive slot */
	uint8_t part_mark[8];  /* of what it will hold */
	uint64_t part_offset;  /* its bytes that are durable */
	struct agent_slot slots[2];
	char deployment[AGENT_NAME_MAX + 1];
	uint32_t attempt;
	uint8_t deployment_state; /* enum agent_deployment */
	bool is_shadow;           /* it runs in shadow; SUCCEEDED: it should be running */
	uint32_t spent_ms;        /* of the deployment's timeout */
	char reason[AGENT_REASON_MAX + 1];
};

struct agent {
	const struct agent_config *config;
	const struct agent_ports *ports;
	void *host;
	struct agent_limits limits; /* with defaults filled in */
	struct agent_record record;
	int record_copy;            /* where the last good one is */
	bool has_record;
	bool record_is_dirty;       /* a save failed and must be tried again */

	enum agent_state state;
	struct agent_release running;
	int running_slot;
	char boot[17];
	int64_t work_at_ms;         /* when the current state wants to go on; INT64_MAX: it waits for an input */

	/* desired */
	bool is_connected;
	bool wants_document;
	int64_t document_rev;
	char desired_etag[17], document_etag[17];
	char document_url[AGENT_URL_MAX + 1];
	uint32_t report_interval_ms;

	/* the one HTTP request */
	uint32_t request_id;
	uint8_t request; /* enum agent_request */
	int request_status;
	char request_etag[17];
	size_t request_ignored_bytes;
	int64_t request_deadline_ms;
	char *document; /* borrowed while it is fetched */
	size_t document_len;
	unsigned failures;
	int64_t retry_at_ms;

	/* the deployment being carried out */
	uint32_t timeout_ms;
	int64_t started_ms; /* mono, minus what earlier boots spent */
	unsigned part_count;
	struct agent_part parts[AGENT_COMPONENTS_MAX];
	char urls[AGENT_COMPONENTS_MAX][AGENT_URL_MAX + 1];
	unsigned part; /* being worked on */
	uint64_t offset, durable_offset;
	int copy_slot; /* source of a local copy, or -1 */
	unsigned copy_part;
	uint16_t must_download; /* bit p: local copies of part p turned out wrong */
	bool is_downloaded;     /* the current part came over the network in this boot */
	unsigned bad_downloads;
	bool is_hashing;
	union agent_sha sha;

	/* trial */
	int64_t trial_deadline_ms;
	uint8_t self_test; /* enum agent_self_test */

	/* shadow */
	bool shadow_is_running, shadow_is_resumed;
	int64_t shadow_settles_ms; /* when it has run long enough for its restarts to be forgotten */

	/* commands */
	struct agent_command commands[AGENT_COMMANDS];
	struct agent_part check_parts[AGENT_COMPONENTS_MAX]; /* of the slot that is being hashed */
	int check_slot;
	unsigned check_part, check_part_count;
	uint64_t check_offset;
	int64_t check_at_ms; /* no earlier attempt */
	bool check_is_hashing;
	union agent_sha check_sha;

	/* reports */
	uint32_t seq, acknowledged_seq, identity_seq, telemetry_seq;
	bool report_is_due;
	bool identity_is_acknowledged; /* a report of this boot with enrol and capabilities was */
	int64_t report_at_ms, repeat_at_ms;
	size_t report_len;
	char report[AGENT_REPORT_BYTES];
	unsigned char scratch[2048];
};

#endif
