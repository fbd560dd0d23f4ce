/* The daemon's parts in the order in which they are built, and its life: open, run, close. */
#ifndef AVIARYD_DAEMON_H
#define AVIARYD_DAEMON_H

#include "base/ipaddr.h"
#include "config.h"
#include "net/loop.h"
#include "service/call.h"
#include "service/offload.h"

struct checkpointing;
struct loop_timer;
struct loop_signal;

struct daemon {
	struct config *config;
	const char *config_path; /* NULL: none */
	const char *port_file;   /* NULL: none */
	int lock_fd;
	struct loop *loop;
	struct jobs *jobs;
	struct offload offload; /* the services' way to jobs */
	struct services s;
	struct checkpointing *checkpointing; /* of fleet.db */
	struct api *api;
	struct http_server *http;
	struct http_server *http_before; /* after a new certificate: finishes its requests; else NULL */
	struct notify_out *notify_out;
	struct upstream_in *upstream_in;
	struct ip_networks notify_allow, upstream_allow;
	struct mqtt_out *out;    /* NULL without a broker */
	struct topics *topics;
	struct arena *arena;     /* of calls by timers */
	struct loop_timer *rollouts_timer, *second_timer, *alerts_timer, *notify_timer, *upstreams_timer, *presence_timer, *retain_timer, *minute_timer, *watchdog_timer;
	struct loop_signal *signals[3];
	struct buf tls_certificate, tls_key, tls_client_ca; /* PEM, as read */
	size_t bound_count;      /* addresses of the configuration that were bound, from the first */
	struct loop_timer *before_timer;
	int64_t before_until_ms;
	enum err commit;         /* how the last one ended */
	int64_t commit_logged_ms;
	struct loop_hold worst_hold; /* of those that were not logged yet */
	unsigned holds;
	int64_t hold_logged_ms;  /* 0: never */
	bool is_stopping, is_hurried;
	bool has_failed;         /* it stops because it cannot go on */
};

/* Builds everything and listens. On failure what was built stays for daemon_close. */
AVIARY_MUST_CHECK enum err daemon_open(struct daemon *d, struct fault *f);
/* Until SIGTERM or SIGINT, and then until running requests are done, [limits] drain at most. */
void daemon_run(struct daemon *d);
/* Writes what waits and takes everything down in reverse order. */
void daemon_close(struct daemon *d);

/* tick.c: the end of each iteration, and what time brings. */
void daemon_tick(void *ctx);
AVIARY_MUST_CHECK enum err daemon_start_timers(struct daemon *d);
void daemon_stop_timers(struct daemon *d);
/* Presence and telemetry that wait are written, and committed. */
void daemon_flush(struct daemon *d);

/* checkpoint.c: checkpoints of fleet.db by jobs. Started before anybody may wait, once nothing is open on the database;
 * stopped after the last job and before the database is closed. */
AVIARY_MUST_CHECK enum err checkpoint_start(struct daemon *d, struct fault *f);
void checkpoint_tick(struct daemon *d); /* after each commit */
void checkpoint_idle(struct daemon *d); /* each second */
bool checkpoint_wants_pause(struct daemon *d); /* asked by who writes much and can wait, before each piece */
void checkpoint_stop(struct daemon *d);

/* listen.c: the HTTP server on the configured addresses. */
AVIARY_MUST_CHECK enum err listen_open(struct daemon *d, struct fault *f);
AVIARY_MUST_CHECK enum err listen_tell(struct daemon *d, struct fault *f); /* the log and the port file */
/* Certificate or key changed on disk: a new server takes over the addresses, the one before finishes its requests. A
 * pair that is not usable leaves everything as it is. */
void listen_reload(struct daemon *d);
void listen_close(struct daemon *d);

/* state_dir.c: the directory, its layout, its lock. */
AVIARY_MUST_CHECK enum err state_dir_open(const char *path, int *lock_fd, struct fault *f);
void state_dir_close(int lock_fd);

#endif
