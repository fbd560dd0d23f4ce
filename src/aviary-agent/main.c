/* aviary-agent: the device side of Aviary on Linux. One device, two slots in a directory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "host.h"
#include "ports.h"

enum { EXIT_USAGE = 2 };

static void put_models(struct buf *out, const struct agent_release *r)
{
	json_key(out, "models");
	json_open_object(out);
	for (unsigned i = 0; i < r->component_count; i++)
		if (!r->components[i].is_firmware)
			json_str(out, r->components[i].name, r->components[i].version);
	json_close_object(out);
	for (unsigned i = 0; i < r->component_count; i++)
		if (r->components[i].is_firmware) {
			json_str(out, "firmware", r->components[i].version);
			break;
		}
}

/* What would run after a start now, all hashes looked at. Nothing is written. */
static int print_status(struct host *h)
{
	struct agent_inspection seen;
	struct buf out = BUF_INIT;
	char current[64];
	if (!agent_inspect(&h->agent, &seen))
		return EXIT_FAILURE;
	disk_current(&h->disk, current, sizeof(current));
	json_open_object(&out);
	json_str(&out, "device", h->options->device);
	json_str(&out, "slot", disk_slot_name(seen.slot));
	json_str(&out, "release", seen.release.name);
	json_int(&out, "counter", (int64_t)seen.release.counter);
	put_models(&out, &seen.release);
	json_bool(&out, "trial", seen.is_trial);
	json_bool(&out, "verified", seen.is_verified);
	json_bool(&out, "damaged", seen.is_damaged);
	json_bool(&out, "state_record", seen.has_state);
	json_int(&out, "floor", (int64_t)seen.floor);
	json_str(&out, "current", current);
	if (seen.deployment[0]) {
		json_key(&out, "deployment");
		json_open_object(&out);
		json_str(&out, "id", seen.deployment);
		json_int(&out, "attempt", seen.attempt);
		json_str(&out, "state", agent_deployment_name(seen.deployment_state));
		if (seen.is_shadow)
			json_bool(&out, "shadow", true);
		json_close_object(&out);
	}
	json_close_object(&out);
	puts(buf_cstr(&out));
	buf_done(&out);
	return seen.is_verified && !seen.is_damaged ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int refuse(const struct fault *f)
{
	fprintf(stderr, "aviary-agent: %s\n", f->detail);
	return EXIT_USAGE;
}

static int run(struct host *h, const struct options *o)
{
	struct fault fault = {"", ""};
	int status = EXIT_SUCCESS;
	enum err e = host_open(h, o, !o->status, &fault);
	if (e == ERR_OK && o->status)
		status = print_status(h);
	else if (e == ERR_OK && (e = host_run(h, &fault)) == ERR_OK)
		status = h->exit_status;
	host_close(h);
	return e == ERR_OK ? status : refuse(&fault);
}

int main(int argc, char **argv)
{
	static struct options options;
	static struct host host;
	struct fault fault = {"", ""};
	enum log_level level = LOG_INFO;
	int status = EXIT_SUCCESS;
	if (options_read(&options, argc, argv, &fault) != ERR_OK) {
		status = refuse(&fault);
	} else if (options.help) {
		options_print_help(stdout);
	} else if (options.version) {
		puts("aviary-agent " AVIARY_VERSION);
	} else {
		if (log_parse_level(options.log_level, &level))
			log_set_level(level);
		status = run(&host, &options);
	}
	options_done(&options);
	return status;
}
