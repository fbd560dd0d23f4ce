/* Options of aviary-agent: one table, read from the command line (--name value) and from a file (name = value). */
#ifndef AVIARY_AGENT_PROGRAM_OPTIONS_H
#define AVIARY_AGENT_PROGRAM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "agent/agent.h"
#include "base/arena.h"
#include "base/err.h"

/* Texts are those of argv, or of the file and then owned by `texts`. */
struct options {
	struct arena *texts;
	const char *config;
	const char *device, *hardware, *name;
	const char *state_dir;
	const char *key; /* file */
	const char *server, *server_ca;
	const char *broker, *broker_user, *broker_password_file, *broker_ca;
	const char *client_certificate, *client_key; /* both or neither */
	int64_t broker_port;
	const char *enrol_token, *attributes, *tags, *capabilities;
	const char *factory_release, *factory_models, *factory_firmware;
	int64_t factory_counter;
	int64_t slot_bytes;
	const char *self_test, *activate_hook, *reboot_command, *shadow_command, *check_command;
	int64_t self_test_timeout_ms, report_interval_ms, retry_ms, progress_step_bytes;
	const char *metrics, *shadow_metrics;
	bool confirm_connected;
	const char *log_level;
	bool once, status, help, version;
};

/* Defaults, then the file named by --config, then the command line: the later wins. ERR_INVALID with a sentence. */
AVIARY_MUST_CHECK enum err options_read(struct options *o, int argc, char **argv, struct fault *f);
void options_done(struct options *o);
void options_print_help(FILE *out);

/* Pinned keys from a file: 32 raw bytes, or text with keys in base64, one a line, or the answer of GET
 * /device/v1/key. */
AVIARY_MUST_CHECK enum err options_read_keys(const char *path, uint8_t keys[][32], unsigned *count, struct fault *f);
/* The factory release from its options. */
AVIARY_MUST_CHECK enum err options_read_factory(const struct options *o, struct agent_release *out, struct fault *f);
/* First line of a file, without its end. */
AVIARY_MUST_CHECK enum err options_read_line(const char *path, char *out, size_t out_size, struct fault *f);

#endif
