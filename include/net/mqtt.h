/* An MQTT 3.1.1 client on the loop (libmosquitto underneath). It reconnects and resubscribes by itself and never
 * blocks.
 *
 * Acknowledge after commit: with `hold_acks`, the PUBACK of a message that was handed to on_message is not written
 * before mqtt_flush_acks. A message that the broker believes delivered is then one whose commit is done; with a fixed
 * client id and clean_session false, what was not flushed is delivered again after a crash. A flush is all or nothing:
 * it covers every message handed out so far. So a caller that commits elsewhere (a worker) pauses reading before, and
 * flushes and resumes after. Publications of the same client leave with the flush too; the time-critical ones go
 * through a second client.
 */
#ifndef AVIARY_NET_MQTT_H
#define AVIARY_NET_MQTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"

struct mqtt;

struct mqtt_message {
	const char *topic;
	const void *payload; /* valid during on_message; followed by a NUL byte; NULL when len is 0 */
	size_t len;
	int qos;
	bool is_retained;
};

struct mqtt_handler {
	void (*on_connect)(void *ctx, bool session_present);   /* before messages of the new connection; may be NULL */
	void (*on_disconnect)(void *ctx, const char *reason);  /* also for a failed attempt; may be NULL */
	void (*on_message)(void *ctx, const struct mqtt_message *message);
	void (*on_published)(void *ctx, uint64_t token);       /* QoS 1: PUBACK came; QoS 0: written. May be NULL */
	void (*on_subscribed)(void *ctx, const char *filter, bool is_granted); /* may be NULL */
};

/* Texts are copied. 0 takes the default. */
struct mqtt_config {
	const char *host;      /* name or address; required */
	uint16_t port;         /* 1883, with ca_file 8883 */
	const char *client_id; /* required */
	bool clean_session;
	bool hold_acks;
	bool is_unbuffered;    /* with hold_acks input and output are gathered in memory; this turns it off */
	const char *username, *password; /* NULL: none */
	const char *ca_file;             /* PEM; turns TLS on */
	const char *cert_file, *key_file; /* client certificate; NULL: none */
	const char *will_topic;          /* NULL: no last will */
	const char *will_payload;
	bool will_retain; /* QoS 1 */
	unsigned keepalive_s;     /* 30 */
	unsigned connect_timeout_ms; /* from the start of an attempt to CONNACK; 10000 */
	unsigned backoff_min_ms;  /* 1000: the first wait after a failure; doubles, each drawn from 50 to 100 % of it */
	unsigned backoff_max_ms;  /* 60000 */
	unsigned max_inflight;    /* QoS 1 publications without PUBACK; over: ERR_TOO_MANY; 1000 */
	unsigned read_pause_ms;   /* rest after a drained socket, so that messages gather; 0 = none */
	unsigned max_messages_per_turn; /* then other events have their turn, as after 4 ms; 2000 */
};

/* Does not connect yet. */
AVIARY_MUST_CHECK enum err mqtt_new(struct loop *l, const struct mqtt_config *config,
                                    const struct mqtt_handler *handler, void *ctx, struct mqtt **client,
                                        struct fault *f);
void mqtt_start(struct mqtt *m);
/* Says DISCONNECT (so no last will) and stays away. Held acknowledgements are dropped: flush before. */
void mqtt_stop(struct mqtt *m);
/* NULL is allowed; not from within its own callbacks; runs the loop while a connection attempt ends */
void mqtt_free(struct mqtt *m);
bool mqtt_is_connected(const struct mqtt *m);

/* Remembered, and said again after each reconnect. QoS 0 or 1. */
void mqtt_subscribe(struct mqtt *m, const char *filter, int qos);
/* *token (may be NULL) names the message in on_published. ERR_UNAVAILABLE when not connected, ERR_TOO_MANY when too
 * many are in flight: nothing was queued. Messages of QoS 1 in flight at a disconnect are sent again by themselves, and
 * their tokens come then; they are lost with the process. */
AVIARY_MUST_CHECK enum err mqtt_publish(struct mqtt *m, const char *topic, const void *payload, size_t len, int qos,
                                        bool retain, uint64_t *token);

void mqtt_flush_acks(struct mqtt *m);     /* for the tick, after COMMIT; cheap when nothing is held */
unsigned mqtt_held_acks(const struct mqtt *m);
/* counted: resume as often as paused. Effective within on_message: no further one */
void mqtt_pause_reading(struct mqtt *m);
void mqtt_resume_reading(struct mqtt *m);
/* Held acknowledgements are forgotten and the connection is dropped: the broker delivers those messages again. For a
 * COMMIT that failed. */
void mqtt_drop(struct mqtt *m, const char *reason);

struct mqtt_stats {
	uint64_t messages, bytes, published, acknowledged, connects, disconnects;
	unsigned inflight;
	bool is_connected;
};
void mqtt_stats_read(const struct mqtt *m, struct mqtt_stats *stats);

#endif
