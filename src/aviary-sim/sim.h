/* The simulator's fleet: options, totals, and one struct a device. */
#ifndef AVIARY_SIM_SIM_H
#define AVIARY_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "agent/agent.h"
#include "ddi.h"
#include "endpoint.h"
#include "faults.h"
#include "net/fetch.h"
#include "net/loop.h"
#include "net/mqtt.h"
#include "physics.h"
#include "storage.h"

#define SIM_CLASSES_MAX 16
#define SIM_REGIONS_MAX 16
#define SIM_RELEASES_MAX 64
#define SIM_ACKS 64 /* telemetry in flight of one device, for the log of acknowledgements */

struct options {
	const char *broker_host;
	uint16_t broker_port;
	const char *username, *password; /* of the broker; NULL: none */
	const char *http_url;
	uint32_t devices;
	const char *prefix;
	uint64_t seed;
	struct {
		char name[65];
		unsigned weight;
		char *capabilities; /* members for a report; NULL: none are said */
	} classes[SIM_CLASSES_MAX];
	unsigned class_count;
	char regions[SIM_REGIONS_MAX][65];
	unsigned region_count;
	const char *shadow; /* classes that run releases in shadow: all, none or a list; NULL: as their profiles say */
	const char *capabilities; /* file; NULL: as the classes are */
	const char *enrol_token;
	const char *key_file; /* NULL: asked from the server */
	const char *factory_release, *factory_model;
	uint64_t factory_counter;
	int64_t interval_ms;     /* 0: what the server says */
	int64_t report_retry_ms;
	int64_t self_test_ms;
	int64_t duration_ms;     /* 0: until a signal */
	int64_t connects_per_second;
	const char *status_file, *log_file, *ack_log_file;
	bool is_quiet;
	uint32_t ddi;            /* so many of the devices, spread evenly, speak DDI */
	const char *ddi_text;
	const char *tenant;      /* in their paths */
	const char *api_token;   /* they are registered with it; NULL: they are known, or a gateway vouches for them */
	const char *gateway_token;
	struct faults faults;
	struct endpoint endpoint; /* of the operator, for hard inferences */
};
/* Exits with a message on standard error when the command line is wrong. */
void options_parse(struct options *o, int argc, char **argv);

struct totals {
	uint64_t telemetry_sent, telemetry_acknowledged, reports_sent, downloads, bytes_downloaded, answers_sent, confirmed, fell_back, rejected, bricked, boots, cuts, shadows;
	uint64_t polls, resumed, cancelled; /* of DDI devices */
	struct endpoint_tally offload;
};

struct sim {
	struct options options;
	struct loop *loop;
	struct fetch_pool *fetch, *talk; /* downloads, and requests that must not wait for them */
	struct device *devices;
	uint8_t key[32];
	struct agent_release factory;
	struct totals totals;
	bool is_memory_lent;
	uint64_t memory[(AGENT_MEMORY_BYTES + 7) / 8];
	char telemetry[AGENT_TELEMETRY_BYTES];
	FILE *log, *ack_log;
	int64_t started_ms;
};

struct device {
	struct sim *sim;
	uint64_t seed;
	struct rng rng, hard; /* hard: of the inferences that may be sent to an endpoint */
	struct agent_offload offload;
	char id[65], hardware[65], region[65];
	char secret[65], secret_sha256[65], attributes[160];
	char topic_desired[96], topic_status[96], topic_report[96], topic_telemetry[96], topic_command[96], topic_answer[96];
	struct agent agent;
	struct agent_config config;
	struct storage storage;
	struct physics physics;
	struct mqtt *mqtt;
	struct ddi *ddi; /* speaks DDI: of its agent only the boot id and the writer of telemetry are used. NULL: an agent */
	struct loop_timer *wake, *telemetry, *test, *fault, *check;
	bool check_passes; /* what the check that runs will say */
	struct fetch *fetch;
	uint32_t fetch_id;
	bool is_corrupt_fetch, is_bricked, is_cut, is_away, has_shadow;
	/* what runs in shadow; empty: nothing */
	char shadow_release[AGENT_NAME_MAX + 1], shadow_model[AGENT_NAME_MAX + 1], shadow_version[AGENT_NAME_MAX + 1];
	uint32_t cuts_left;
	int64_t telemetry_seq;
	void *borrowed; /* by the agent, at this moment */
	struct {
		uint64_t token;
		int64_t seq;
		char boot[17];
	} acks[SIM_ACKS];
};

/* device.c */
void device_init(struct device *d, struct sim *s, uint32_t number);
void device_start(struct device *d); /* connects and boots */
void device_done(struct device *d);
bool device_is_connected(const struct device *d);
void device_brick(struct device *d);
void device_reboot(struct device *d);
/* ports.c */
const struct agent_ports *device_ports(const struct device *d); /* some can run a release in shadow, some cannot */
void device_wake(struct device *d);
void device_forget_shadow(struct device *d); /* it ended, or went with the power */
void device_return_memory(struct device *d); /* power was cut while the agent held some */
bool device_loses_power(struct device *d);   /* at this write, or before: it starts again a little later */
int64_t device_wall_ms(const struct device *d); /* as its clock says */
const char *device_model(const struct device *d, const char **version); /* first model of the running release, or NULL */
/* status.c */
void status_write(struct sim *s);
void status_print(struct sim *s);

#endif
