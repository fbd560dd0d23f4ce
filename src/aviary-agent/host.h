/* The Linux host of one agent: its ports on disk.h, base/crypto and net/, and the loop that drives it. */
#ifndef AVIARY_AGENT_PROGRAM_HOST_H
#define AVIARY_AGENT_PROGRAM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/agent.h"
#include "disk.h"
#include "net/fetch.h"
#include "net/loop.h"
#include "net/mqtt.h"
#include "options.h"

struct transfer;

struct host {
	const struct options *options;
	struct disk disk;
	struct agent agent;
	struct agent_ports ports;
	struct agent_config config;
	struct agent_release factory;
	uint8_t keys[AGENT_KEYS_MAX][32];
	char secret[65], secret_sha256[65];
	char *attributes, *tags, *capabilities; /* checked JSON text; owned */

	struct loop *loop;
	struct loop_timer *poll, *telemetry, *child_timer, *shadow_timer, *check_timer;
	struct loop_signal *signals[2];
	struct fetch_pool *fetches;
	struct transfer *transfer; /* the one running, or NULL */
	struct mqtt *mqtt;
	pid_t self_test, shadow, check; /* 0: none */
	double check_value;      /* of a check that needs no command */
	int64_t deadline_ms; /* of --once; 0: none */
	int exit_status;
	bool is_stopping;
};

/* The storage, keys and texts of an agent, agent_init done. `exclusive` false: for looking only. */
AVIARY_MUST_CHECK enum err host_open(struct host *h, const struct options *o, bool exclusive, struct fault *f);
/* Boots, connects, and runs until a signal, a restart, or with --once until all is done. Returns the exit status. */
AVIARY_MUST_CHECK enum err host_run(struct host *h, struct fault *f);
void host_close(struct host *h);

#endif
