/* aviaryctl telemetry */
#include "rest.h"

static const struct column row_columns[] = {
	{"AT", "at", CELL_TIME, false},
	{"MODEL", "model", CELL_TEXT, true},
	{"VERSION", "version", CELL_TEXT, true},
	{"COUNT", "count", CELL_NUMBER, true},
	{"SUM", "sum", CELL_NUMBER, true},
	{"MEAN", "mean", CELL_NUMBER, true},
	{"MIN", "min", CELL_NUMBER, true},
	{"MAX", "max", CELL_NUMBER, true},
	{"P50", "p50", CELL_NUMBER, true},
	{"P95", "p95", CELL_NUMBER, true},
	{"P99", "p99", CELL_NUMBER, true},
	{"REPORTS", "reports", CELL_NUMBER, true},
	{"BOOT", "boot", CELL_TEXT, true},
	{"SEQ", "seq", CELL_NUMBER, true},
	{"KIND", "kind", CELL_TEXT, true},
	{"VALUE", "value", CELL_TEXT, true},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct column metric_columns[] = {
	{"METRIC", "name", CELL_TEXT, false},
	{"KIND", "kind", CELL_TEXT, false},
	{"LAST", "last_at", CELL_AGO, false},
	{NULL, NULL, CELL_TEXT, false},
};
static const struct command_option query_options[] = {
	{.name = "metric", .kind = OPTION_TEXT, .value = "METRIC", .use = USE_QUERY, .help = "which one; required"},
	{.name = "device", .kind = OPTION_TEXT, .value = "DEVICE", .use = USE_QUERY, .help = "of one device"},
	{.name = "filter", .kind = OPTION_TEXT, .value = "RSQL", .use = USE_QUERY, .help = "or of a cohort"},
	{.name = "model", .kind = OPTION_TEXT, .value = "MODEL", .use = USE_QUERY, .help = "only of this model"},
	{.name = "model-version", .kind = OPTION_TEXT, .value = "VERSION", .use = USE_QUERY, .member = "version",
	 .help = "and of this version of it"},
	{.name = "from", .kind = OPTION_TIME, .value = "TIME", .use = USE_QUERY,
	 .help = "an hour before --to when absent; -24h is 24 hours ago"},
	{.name = "to", .kind = OPTION_TIME, .value = "TIME", .use = USE_QUERY, .help = "now when absent"},
	{.name = "step", .kind = OPTION_DURATION, .value = "DURATION", .use = USE_QUERY, .member = "step_ms",
	 .help = "a row for each step; else one row"},
	{.name = "aggregate", .kind = OPTION_TEXT, .value = "LIST", .use = USE_QUERY,
	 .help = "count sum mean min max p50 p95 p99 reports, with commas"},
	{.name = "by", .kind = OPTION_TEXT, .value = "WHAT", .use = USE_QUERY, .help = "version: a row for each version",
	 .choices = "version"},
	{.name = "raw", .kind = OPTION_FLAG, .use = USE_QUERY, .help = "single points of one device, newest first"},
	{.name = "limit", .kind = OPTION_INT, .value = "N", .use = USE_QUERY, .help = "of --raw: 1 to 1000 (100)"},
	{.name = NULL},
};
static const struct command commands[] = {
	{.name = "query", .help = "aggregates of a metric over time", .options = query_options, .run = rest_list,
	 .path = "/telemetry",
	 .columns = row_columns},
	{.name = "metrics", .help = "list the metrics that were ever reported", .run = rest_list,
	 .path = "/telemetry/metrics", .columns = metric_columns},
	{.help = NULL},
};
extern const struct command_group group_telemetry;
const struct command_group group_telemetry = {"telemetry", "what devices measured", commands};
