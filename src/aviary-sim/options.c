/* The command line: one table. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "capabilities.h"
#include "sim.h"

static void fail(const char *fmt, ...) AVIARY_PRINTF(1, 2) __attribute__((noreturn));
static void fail(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fputs("aviary-sim: ", stderr);
	vfprintf(stderr, fmt, args);
	fputs(" (see --help)\n", stderr);
	va_end(args);
	exit(2);
}

/* X(name, short letter for the switch, argument, text) */
#define OPTION_TABLE(X)                                                                                                \
	X("broker", 'b', "HOST:PORT", "MQTT broker [127.0.0.1:1883]")                                                     \
	X("username", 'U', "NAME", "of the broker")                                                                       \
	X("password", 'P', "TEXT", "of the broker")                                                                       \
	X("http", 'u', "URL", "HTTP base of the server [http://127.0.0.1:8080]")                                          \
	X("devices", 'n', "N", "how many, 1 to 20000 [10]")                                                               \
	X("prefix", 'p', "TEXT", "ids are this and five digits [sim-]")                                                   \
	X("seed", 's', "N", "the same seed gives the same fleet [1]")                                                     \
	X("classes", 'c', "LIST", "hardware classes with weights [esp32s3:60,nrf52:30,jetson:10]")                        \
	X("regions", 'r', "LIST", "values of attribute region, with commas")                                              \
	X("shadow", 'w', "LIST", "classes that run releases in shadow; all, none [all but nrf52]")                        \
	X("capabilities", 'G', "FILE", "JSON by class, * for the others: members that replace what they report, null for none")     \
	X("enrol", 'e', "TOKEN", "enrolment token")                                                                       \
	X("key", 'k', "FILE", "pinned public key, 64 hex digits [asked from the server]")                                 \
	X("ddi", 'D', "N|P%", "so many devices, or a share of them, speak hawkBit's DDI [0]")                             \
	X("tenant", 'T', "NAME", "in the paths of DDI [DEFAULT]")                                                         \
	X("api-token", 'o', "TOKEN", "registers DDI devices by the REST API")                                             \
	X("gateway", 'g', "TOKEN", "gateway token with which DDI devices register themselves")                            \
	X("factory-release", 'f', "NAME", "what devices run before their first update")                                   \
	X("factory-model", 'm', "NAME=VERSION", "the model in it")                                                        \
	X("factory-counter", 'C', "N", "its manifest counter [0]")                                                        \
	X("interval", 'i', "DURATION", "between telemetry reports [what the server says]")                                \
	X("report-retry", 'R', "DURATION", "until a report is repeated [10s]")                                            \
	X("self-test", 't', "DURATION", "of a trial [300ms]")                                                             \
	X("connect-rate", 'a', "N", "new connections a second [500]")                                                     \
	X("duration", 'd', "DURATION", "ends by itself [never]")                                                          \
	X("effect", 'E', "RULE", "what a model version (#hex: one artifact) does: kws=1.2.0:accuracy-0.05,latency*1.3")                        \
	X("endpoint", 'O', "SHARE[/COST[/BYTES]]", "right answers of the operator's endpoint, their mean cost, bytes sent [0.97/0.002/1960]") \
	X("fault", 'F', "RULE", "what goes wrong: brick=0.1@kws=1.2.0 (docs/simulator.md)")                               \
	X("status", 'S', "FILE", "JSON, replaced every second")                                                           \
	X("log", 'l', "FILE", "events of devices as JSON lines")                                                           \
	X("ack-log", 'A', "FILE", "a line for each acknowledged report: device boot seq")                                 \
	X("quiet", 'q', NULL, "say nothing")                                                                              \
	X("help", 'h', NULL, "this text")

static void help(void)
{
	puts("usage: aviary-sim [options]\nSimulated devices: real agents over real MQTT and HTTP connections.\n");
#define X(name, letter, argument, text) printf("  --%-15s %-12s %s\n", name, (argument) ? (const char *)(argument) : "", text);
	OPTION_TABLE(X)
#undef X
	puts("\nFaults, each a share of devices:");
	for (int i = 0; i < FAULT_COUNT; i++)
		printf("  %-12s %s\n", fault_word((enum fault_kind)i), fault_text((enum fault_kind)i));
}

static int64_t duration(const char *name, const char *text)
{
	int64_t ms;
	if (!str_parse_duration_ms(text, &ms) || ms < 1)
		fail("--%s: not a duration: %s", name, text);
	return ms;
}

static uint64_t number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t v = strtoull(text, &end, 10);
	if (end == text || *end || *text == '-' || v < min || v > max)
		fail("--%s: a number from %llu to %llu is wanted, not %s", name, (unsigned long long)min, (unsigned long long)max, text);
	return v;
}

static void broker(struct options *o, char *text)
{
	char *colon = strrchr(text, ':');
	if (!colon)
		fail("--broker: HOST:PORT is wanted, not %s", text);
	*colon = '\0';
	o->broker_host = text;
	o->broker_port = (uint16_t)number("broker", colon + 1, 1, 65535);
}

static void classes(struct options *o, char *text)
{
	o->class_count = 0;
	for (char *at = strtok(text, ","); at; at = strtok(NULL, ",")) {
		char *colon = strchr(at, ':');
		if (o->class_count == SIM_CLASSES_MAX)
			fail("--classes: at most %d", SIM_CLASSES_MAX);
		if (colon)
			*colon = '\0';
		if (!str_is_name(at))
			fail("--classes: not a name: %s", at);
		str_copy(o->classes[o->class_count].name, 65, at);
		o->classes[o->class_count++].weight = colon ? (unsigned)number("classes", colon + 1, 1, 1000000) : 1;
	}
	if (o->class_count == 0)
		fail("--classes: none given");
}

static void regions(struct options *o, char *text)
{
	o->region_count = 0;
	for (char *at = strtok(text, ","); at && o->region_count < SIM_REGIONS_MAX; at = strtok(NULL, ","))
		str_copy(o->regions[o->region_count++], 65, at);
}

static void take(struct options *o, int letter, char *arg)
{
	char reason[300];
	switch (letter) {
	case 'b': broker(o, arg); break;
	case 'U': o->username = arg; break;
	case 'P': o->password = arg; break;
	case 'u': o->http_url = arg; break;
	case 'n': o->devices = (uint32_t)number("devices", arg, 1, 20000); break;
	case 'p': o->prefix = arg; break;
	case 's': o->seed = number("seed", arg, 0, UINT64_MAX); break;
	case 'c': classes(o, arg); break;
	case 'r': regions(o, arg); break;
	case 'w': o->shadow = arg; break;
	case 'G': o->capabilities = arg; break;
	case 'e': o->enrol_token = arg; break;
	case 'k': o->key_file = arg; break;
	case 'D': o->ddi_text = arg; break;
	case 'T': o->tenant = arg; break;
	case 'o': o->api_token = arg; break;
	case 'g': o->gateway_token = arg; break;
	case 'f': o->factory_release = arg; break;
	case 'm': o->factory_model = arg; break;
	case 'C': o->factory_counter = number("factory-counter", arg, 0, INT64_MAX); break;
	case 'i': o->interval_ms = duration("interval", arg); break;
	case 'R': o->report_retry_ms = duration("report-retry", arg); break;
	case 't': o->self_test_ms = duration("self-test", arg); break;
	case 'a': o->connects_per_second = (int64_t)number("connect-rate", arg, 1, 100000); break;
	case 'd': o->duration_ms = duration("duration", arg); break;
	case 'E':
		if (!faults_add_effect(&o->faults, arg, reason, sizeof reason))
			fail("--effect: %s", reason);
		break;
	case 'O':
		if (!endpoint_parse(&o->endpoint, arg))
			fail("--endpoint: SHARE[/COST[/BYTES]] is wanted, not %s", arg);
		break;
	case 'F':
		if (!faults_add(&o->faults, arg, reason, sizeof reason))
			fail("--fault: %s", reason);
		break;
	case 'S': o->status_file = arg; break;
	case 'l': o->log_file = arg; break;
	case 'A': o->ack_log_file = arg; break;
	case 'q': o->is_quiet = true; break;
	case 'h': help(); exit(0);
	default: fail("wrong option");
	}
}

static void capabilities(struct options *o)
{
	char text[65536];
	struct json *over = NULL;
	struct fault f = {"", ""};
	FILE *file = o->capabilities ? fopen(o->capabilities, "r") : NULL;
	size_t len = file ? fread(text, 1, sizeof text, file) : 0;
	if (file)
		fclose(file);
	if (o->capabilities && (len == 0 || len == sizeof text))
		fail("--capabilities: %s cannot be read, or is too long", o->capabilities);
	if (o->capabilities && json_parse(text, len, &over, &f))
		fail("--capabilities: %s: %s", o->capabilities, f.detail);
	for (const struct json *m = json_first(over); m; m = json_next(m))
		if (json_type(m) != JSON_OBJECT)
			fail("--capabilities: an object is wanted for class %s", json_name(m));
	for (unsigned i = 0; i < o->class_count; i++)
		if (!(o->classes[i].capabilities = capabilities_of(o->classes[i].name, over)))
			fail("--capabilities: more than a report has room for");
	json_free(over);
}

/* "120" or "30%". */
static void ddi(struct options *o)
{
	char *end;
	double share = strtod(o->ddi_text, &end);
	if (end != o->ddi_text && strcmp(end, "%") == 0 && share >= 0 && share <= 100)
		o->ddi = (uint32_t)(share / 100 * o->devices + 0.5);
	else if (end != o->ddi_text && *end == '\0' && share >= 0 && share <= o->devices && share == (uint32_t)share)
		o->ddi = (uint32_t)share;
	else
		fail("--ddi: a number of the %u devices or a share as 30%% is wanted, not %s", o->devices, o->ddi_text);
	if (o->api_token && o->gateway_token)
		fail("--api-token and --gateway: one of them");
}

void options_parse(struct options *o, int argc, char **argv)
{
	static const struct option table[] = {
#define X(name, letter, argument, text) {name, (argument) ? required_argument : no_argument, NULL, letter},
		OPTION_TABLE(X)
#undef X
		{NULL, 0, NULL, 0}};
	static char default_classes[] = "esp32s3:60,nrf52:30,jetson:10";
	*o = (struct options){.broker_host = "127.0.0.1", .broker_port = 1883, .http_url = "http://127.0.0.1:8080", .tenant = "DEFAULT", .devices = 10, .prefix = "sim-",
		.seed = 1, .report_retry_ms = 10000, .self_test_ms = 300, .connects_per_second = 500, .endpoint = ENDPOINT_STANDARD};
	classes(o, default_classes);
	int letter;
	while ((letter = getopt_long(argc, argv, "", table, NULL)) != -1)
		take(o, letter, optarg);
	if (optind < argc)
		fail("not an option: %s", argv[optind]);
	if (o->factory_model && !strchr(o->factory_model, '='))
		fail("--factory-model: NAME=VERSION is wanted");
	if (o->ddi_text)
		ddi(o);
	capabilities(o);
}
