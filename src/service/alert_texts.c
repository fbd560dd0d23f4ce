#include "service/alert_texts.h"

#include <math.h>
#include <string.h>

#include "service/alerts_inside.h"
#include "service/template.h"

/* X(name): documented in docs/alerts.md */
#define VARIABLES(X) X(name) X(kind) X(device) X(resource) X(cohort) X(metric) X(value) X(threshold) X(score) X(severity) X(summary)
enum variable {
#define X(name) VARIABLE_##name,
	VARIABLES(X)
#undef X
	VARIABLE_COUNT
};
static const char *const names[] = {
#define X(name) #name,
	VARIABLES(X)
#undef X
};
static const struct template_names table = {names, VARIABLE_COUNT};

enum err alert_texts_check(const char *summary, const char *description, struct fault *f)
{
	enum err e = template_check(&table, summary, ALERT_SUMMARY_TEMPLATE, "/summary", f);
	return e == ERR_OK ? template_check(&table, description, ALERT_DESCRIPTION_TEMPLATE, "/description", f) : e;
}

static const char *number(struct arena *a, double v)
{
	return isfinite(v) ? arena_printf(a, "%.6g", v) : "";
}

/* Cut where a character ends. */
static const char *filled(struct arena *a, const char *text, const char *const *values, size_t most)
{
	struct buf b = BUF_INIT;
	template_fill(&table, text, values, false, &b);
	size_t len = b.len < most ? b.len : most;
	while (len < b.len && len > 0 && ((unsigned char)b.data[len] & 0xc0) == 0x80)
		len--;
	const char *copy = arena_strndup(a, buf_cstr(&b), len);
	buf_done(&b);
	return copy;
}

void alert_texts_fill(struct arena *a, const struct alert_rule_row *r, struct alert_row *row)
{
	size_t prefix = strlen(ALERT_DEVICE_PREFIX);
	bool is_device = strncmp(row->resource, ALERT_DEVICE_PREFIX, prefix) == 0;
	const char *const values[VARIABLE_COUNT] = {
		[VARIABLE_name] = r->name, [VARIABLE_kind] = row->kind, [VARIABLE_device] = is_device ? row->resource + prefix : row->resource,
		[VARIABLE_resource] = row->resource, [VARIABLE_cohort] = row->cohort, [VARIABLE_metric] = row->metric, [VARIABLE_value] = number(a, row->value),
		[VARIABLE_threshold] = number(a, row->expected), [VARIABLE_score] = number(a, row->score), [VARIABLE_severity] = row->severity,
		[VARIABLE_summary] = row->summary};
	if (r->description[0] != '\0')
		row->description = filled(a, r->description, values, ALERT_DESCRIPTION_BYTES);
	if (r->summary[0] != '\0')
		row->summary = filled(a, r->summary, values, ALERT_SUMMARY_BYTES);
}
