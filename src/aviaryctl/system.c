/* aviaryctl audit, stats, health, backup: what the server says of itself. */
#include <stdio.h>
#include <stdlib.h>

#include "rest.h"

static enum result health(struct ctl *c);

static const struct column audit_columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"AT", "at", CELL_TIME, false},
	{"WHO", "who", CELL_TEXT, false},
	{"ROLE", "role", CELL_TEXT, false},
	{"ACTION", "action", CELL_TEXT, false},
	{"RESOURCE", "resource", CELL_TEXT, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct command_option audit_options[] = {
	{.name = "resource", .kind = OPTION_TEXT, .value = "RESOURCE", .use = USE_QUERY,
	 .help = "exactly this one, as devices/dev-1"},
	{.name = "who", .kind = OPTION_TEXT, .value = "NAME", .use = USE_QUERY, .help = "exactly this name"},
	{.name = "action", .kind = OPTION_TEXT, .value = "ACTION", .use = USE_QUERY,
	 .help = "exactly this one, as device.create"},
	{.name = "from", .kind = OPTION_TIME, .value = "TIME", .use = USE_QUERY, .help = "at this time or later"},
	{.name = "to", .kind = OPTION_TIME, .value = "TIME", .use = USE_QUERY, .help = "at this time or earlier"},
	LIST_OPTIONS,
	{.name = NULL},
};
static const struct command audit_commands[] = {
	{.help = "list who changed what, newest first (before and after: --json)", .options = audit_options,
	 .run = rest_list, .path = "/audit",
	 .columns = audit_columns},
	{.help = NULL},
};
extern const struct command_group group_audit;
const struct command_group group_audit = {"audit", "who changed what", audit_commands};

static const struct command stats_commands[] = {
	{.help = "show counts of devices, rollouts, alerts and telemetry", .run = rest_show, .path = "/stats"},
	{.help = NULL},
};
extern const struct command_group group_stats;
const struct command_group group_stats = {"stats", "counts at a glance", stats_commands};

static const struct command backup_commands[] = {
	{.help = "make an online backup in the server's state directory", .run = rest_send, .method = "POST",
	 .path = "/backup"},
	{.help = NULL},
};
extern const struct command_group group_backup;
const struct command_group group_backup = {"backup", "make a backup while the server works", backup_commands};

static const struct command health_commands[] = {
	{.help = "ask whether the server serves requests; 0 only when it does", .run = health},
	{.help = NULL},
};
extern const struct command_group group_health;
const struct command_group group_health = {"health", "is the server well", health_commands};

static enum result health(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	struct request q = {.path = "//readyz"};
	client_send(c, &q, &r);
	enum result result = r.status == 0 || json_get(r.json, "status") == NULL ? client_judge(c, &r) : r.status == 200
		? RESULT_OK : RESULT_REFUSED;
	if (r.json != NULL && json_get(r.json, "status") != NULL)
		rest_answer(c, &r);
	reply_done(&r);
	return output_flush(result);
}
