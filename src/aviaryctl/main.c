/* aviaryctl: the operator's command line. One run is one command; it ends with one of the codes of RESULT_TABLE. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "help.h"
#include "rest.h"
#include "settings.h"

/* One row a file (model.c has two, alert.c too, system.c four). */
#define GROUPS(X)                                                                                                      \
	X(device) X(group) X(model) X(version) X(artifact) X(release) X(rollout) X(profile) X(offload) X(telemetry) X(alert) X(rule) X(receiver) X(upstream) X(check) X(command) X(token)    \
	X(audit) X(events) X(stats) X(health) X(backup) X(restore) X(import) X(judge) X(detect) X(completion) X(help)
#define X(name) extern const struct command_group group_##name;
GROUPS(X)
#undef X
#define X(name) &group_##name,
const struct command_group *const command_groups[] = {GROUPS(X) NULL};
#undef X

int main(int argc, char **argv)
{
	static struct ctl c; /* large, and all zero */
	setlocale(LC_CTYPE, "C.UTF-8"); /* widths of characters; numbers stay as they are */
	enum result result = argc > 1 ? command_parse(&c, argc, argv) : RESULT_USAGE;
	if (argc < 2) {
		help_overview(stderr);
	} else if (result == RESULT_OK && option_given(&c, "version")) {
		puts("aviaryctl " AVIARY_VERSION);
	} else if (result == RESULT_OK && option_given(&c, "help")) {
		help_print(&c);
	} else if (result == RESULT_OK) {
		result = settings_load(&c);
		if (result == RESULT_OK)
			result = c.command->run(&c);
	}
	result = output_flush(result);
	client_free(c.client);
	settings_done(&c.settings);
	return (int)result;
}
