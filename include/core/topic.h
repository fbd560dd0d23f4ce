/* The MQTT topics of the device protocol: one row a topic; the parser, the subscriptions and the limits come from it.
 * */
#ifndef AVIARY_CORE_TOPIC_H
#define AVIARY_CORE_TOPIC_H

#include <stdbool.h>
#include <stddef.h>

#include "core/names.h"

#define TOPIC_PREFIX "aviary/v1/"
#define TOPIC_BYTES 96        /* the longest topic with NUL fits */
#define TOPIC_CLIENT_BYTES 80 /* "aviary-<device>" with NUL fits */

enum topic_direction { TOPIC_TO_SERVER, TOPIC_TO_DEVICE };

/* X(NAME, last level, direction, QoS, retained, limit in bytes, content) */
#define TOPIC_TABLE(X)                                                                                                 \
	X(TELEMETRY, "telemetry", TOPIC_TO_SERVER, 1, 0, 65536, "one report or an array of at most 64")                \
	X(STATUS, "status", TOPIC_TO_SERVER, 1, 1, 512, "online or not; also the last will")                           \
	X(REPORT, "report", TOPIC_TO_SERVER, 1, 0, 8192, "what runs, what it can, how the deployment goes")            \
	X(DESIRED, "desired", TOPIC_TO_DEVICE, 1, 1, 200, "where to look, and what was received")                      \
	X(COMMAND, "command", TOPIC_TO_DEVICE, 1, 0, 1024, "what to do at once, before a deadline")                    \
	X(ANSWER, "answer", TOPIC_TO_SERVER, 1, 0, 1024, "how a command went")

enum topic_kind {
#define X(name, level, direction, qos, retained, limit, doc) TOPIC_##name,
	TOPIC_TABLE(X)
#undef X
	    TOPIC_COUNT
};

struct topic {
	const char *level;
	enum topic_direction direction;
	int qos;
	bool retained;
	size_t limit_bytes;
	const char *doc;
};
const struct topic *topic_get(enum topic_kind kind);

/* False when it is not one of ours or the device id is none; else kind and the id (a slice of `topic`). */
bool topic_parse(const char *topic, enum topic_kind *kind, struct slice *device);
/* Both return the length written (with NUL it always fits in TOPIC_BYTES). `device` must be a valid device id. */
size_t topic_build(enum topic_kind kind, const char *device, char out[TOPIC_BYTES]);
size_t topic_filter(enum topic_kind kind, char out[TOPIC_BYTES]); /* "aviary/v1/+/telemetry" */
size_t topic_client_id(const char *device, char out[TOPIC_CLIENT_BYTES]);

#endif
