/* What every service call gets: who asks, when, where memory comes from, where the reason of a refusal goes.
 *
 * struct services is the list of rooms, built by the program in a visible order; a service reaches its neighbours through it.
 */
#ifndef AVIARY_SERVICE_CALL_H
#define AVIARY_SERVICE_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct ip_networks;
struct offload;
struct offloading;
struct outbox;
struct units;
struct access;
struct registry;
struct groups;
struct catalog;
struct compats;
struct rollouts;
struct ingest;
struct alerts;
struct notify;
struct telemetry;
struct commands;
struct health;
struct detect;
struct actions;
struct profiles;
struct selection;
struct settings;
struct targets;
struct upstreams;

enum role { ROLE_NONE, ROLE_ENROL, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

struct principal {
	char name[80]; /* token name, "device:<id>", "aviary" */
	enum role role;
	int64_t token_id; /* 0: none */
};
extern const struct principal principal_server; /* what the server does by itself */

struct services {
	struct db *db; /* fleet.db; loop thread only */
	struct outbox *outbox;
	struct units *units;         /* units of work, and who hears how they end */
	struct access *access;       /* tokens, audit, idempotency, counters */
	struct registry *registry;   /* devices, twins */
	struct groups *groups;
	struct catalog *catalog;     /* models, versions, artifacts, releases, manifests */
	struct compats *compats;     /* which devices can run which release; NULL in tests without it */
	struct rollouts *rollouts;
	struct telemetry *telemetry; /* telemetry.db: writer, queries, retention */
	struct ingest *ingest;       /* what arrives from devices */
	struct alerts *alerts;
	struct notify *notify;       /* receivers, and what they are told; NULL in tests without it */
	struct commands *commands;   /* what devices are asked to do at once; NULL in tests without it */
	struct health *health;       /* health checks and their results; likewise */
	struct detect *detect;       /* anomalies and their causes; NULL: off */
	struct actions *actions;     /* attempts of deployments as DDI devices know them; NULL in tests without it */
	struct targets *targets;     /* devices as hawkBit's Management API shows them; NULL in tests without it */
	struct selection *selection; /* which variant a device gets; NULL in tests without it: by hardware alone */
	struct profiles *profiles;   /* what variants cost on classes of hardware; likewise */
	struct upstreams *upstreams; /* where new versions of models come from; NULL in tests without it */
	struct offloading *offloading; /* policies of offloading, and their margins; likewise */
	struct settings *settings;   /* what operators change while the server runs; NULL in tests without it */
	const struct offload *offload; /* work off the loop; NULL: at once (pure tests) */
	const struct ip_networks *upstream_allow; /* the same of upstreams */
	const struct ip_networks *notify_allow; /* which addresses besides public ones receivers may have; NULL: none */
	const char *state_dir;
	struct ingest_limits *limits;
	int64_t report_interval_ms;  /* what devices are asked to keep; 0: their own */
};

struct call {
	struct services *s;
	struct arena *arena;
	struct fault *fault; /* never NULL */
	const struct principal *who;
	int64_t now_ms; /* wall clock, one value for the whole call */
};

#endif
