#include <assert.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/inside.h"
#include "agent/offload.h"
#include "agent/writer.h"

enum { METRICS_MAX = 32, METRIC_NAME_MAX = 48, SKETCH_KEYS_MAX = 334, SKETCH_KEY_MAX = 1024, HISTOGRAM_MAX = 256 };
#define VALUE_MAX 1e12
static const char shadow_prefix[] = "shadow."; /* the server's, for what runs in shadow */
#define SHADOW_LEN (sizeof(shadow_prefix) - 1)
#define COUNT_MAX 2147483647u

static struct agent_writer writer(struct agent_telemetry *t)
{
	struct agent_writer w = {t->out, t->size, t->len, false};
	return w;
}

/* Takes over what was written, or forgets it: a report stays valid JSON. */
static void finish(struct agent_telemetry *t, struct agent_writer *w, bool ok)
{
	if (ok && !w->failed && t->metrics < METRICS_MAX) {
		t->len = w->len;
		t->metrics++;
		return;
	}
	t->failed = true;
	t->out[t->len] = '\0';
}

static bool is_metric_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

static bool is_metric_name(const struct agent_telemetry *t, const char *name)
{
	size_t len = strlen(name), max = t->is_shadow ? METRIC_NAME_MAX - SHADOW_LEN : METRIC_NAME_MAX;
	if (len >= SHADOW_LEN && memcmp(name, shadow_prefix, SHADOW_LEN) == 0)
		return false;
	if (len == 0 || len > max || (name[0] >= '0' && name[0] <= '9') || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_metric_byte(name[i]))
			return false;
	return true;
}

static bool is_value(double v)
{
	return v >= -VALUE_MAX && v <= VALUE_MAX; /* false for NaN */
}

static bool is_count(uint32_t n)
{
	return n <= COUNT_MAX;
}

/* What a model says that is no number: JSON has none, so it is counted, and told as "nan_outputs". */
static bool is_output_refused(struct agent_telemetry *t, const char *name, uint32_t n, double value)
{
	if (t->is_shadow || (strcmp(name, "confidence") != 0 && strcmp(name, "accuracy") != 0))
		return false;
	bool is_number = value - value == 0; /* neither NaN nor infinite */
	n = n < COUNT_MAX ? n : COUNT_MAX;
	t->outputs = t->outputs < COUNT_MAX - n ? t->outputs + n : COUNT_MAX;
	if (!is_number)
		t->nan_outputs = t->nan_outputs < COUNT_MAX - n ? t->nan_outputs + n : COUNT_MAX;
	return !is_number;
}

static void tell_refused(struct agent_telemetry *t)
{
	if (t->nan_outputs > 0)
		agent_telemetry_ratio(t, "nan_outputs", t->outputs, t->nan_outputs);
	t->nan_outputs = 0;
}

void agent_telemetry_begin(struct agent_telemetry *t, struct agent *a, char *out, size_t size, const char *model,
                           const char *version)
{
	struct agent_writer w;
	assert(!model == !version);
	memset(t, 0, sizeof(*t));
	t->agent = a;
	t->out = out;
	t->size = size;
	agent_writer_init(&w, out, size);
	agent_writer_text(&w, "{");
	int64_t wall_ms = a->ports->wall_ms(a->host);
	if (wall_ms > 0) {
		agent_writer_key(&w, "ts");
		agent_writer_int(&w, wall_ms);
	}
	agent_writer_key(&w, "boot");
	agent_writer_string(&w, a->boot);
	agent_writer_key(&w, "seq");
	agent_writer_int(&w, (int64_t)a->telemetry_seq + 1);
	if (model) {
		agent_writer_key(&w, "model");
		agent_writer_string(&w, model);
		agent_writer_key(&w, "version");
		agent_writer_string(&w, version);
	}
	agent_writer_key(&w, "metrics");
	agent_writer_text(&w, "{");
	t->len = w.len;
	t->failed = w.failed;
}

void agent_telemetry_number(struct agent_telemetry *t, const char *name, double value)
{
	struct agent_writer w = writer(t);
	bool ok = is_metric_name(t, name) && is_value(value);
	if (is_output_refused(t, name, 1, value))
		return;
	agent_writer_key(&w, name);
	agent_writer_number(&w, ok ? value : 0);
	finish(t, &w, ok);
}

void agent_telemetry_mean(struct agent_telemetry *t, const char *name, uint32_t n, double sum)
{
	struct agent_writer w = writer(t);
	bool ok = is_metric_name(t, name) && n > 0 && is_count(n) && is_value(sum);
	if (is_output_refused(t, name, n, sum))
		return;
	agent_writer_key(&w, name);
	agent_writer_text(&w, "{\"n\":");
	agent_writer_int(&w, n);
	agent_writer_text(&w, ",\"sum\":");
	agent_writer_number(&w, ok ? sum : 0);
	agent_writer_text(&w, "}");
	finish(t, &w, ok);
}

void agent_telemetry_ratio(struct agent_telemetry *t, const char *name, uint32_t n, uint32_t k)
{
	struct agent_writer w = writer(t);
	agent_writer_key(&w, name);
	agent_writer_text(&w, "{\"n\":");
	agent_writer_int(&w, n);
	agent_writer_text(&w, ",\"k\":");
	agent_writer_int(&w, k);
	agent_writer_text(&w, "}");
	finish(t, &w, is_metric_name(t, name) && n > 0 && is_count(n) && k <= n);
}

void agent_telemetry_sketch(struct agent_telemetry *t, const char *name, const int16_t *keys, const uint32_t *counts,
                            size_t count)
{
	struct agent_writer w = writer(t);
	bool ok = is_metric_name(t, name);
	size_t written = 0;
	agent_writer_key(&w, name);
	agent_writer_text(&w, "{\"sketch\":{");
	for (size_t i = 0; i < count; i++) {
		if (counts[i] == 0)
			continue;
		ok = ok && keys[i] >= -SKETCH_KEY_MAX && keys[i] <= SKETCH_KEY_MAX && is_count(counts[i]) &&
		     ++written <= SKETCH_KEYS_MAX;
		agent_writer_text(&w, written > 1 ? ",\"" : "\"");
		agent_writer_int(&w, keys[i]);
		agent_writer_text(&w, "\":");
		agent_writer_int(&w, counts[i]);
	}
	agent_writer_text(&w, "}}");
	finish(t, &w, ok && written > 0);
}

void agent_telemetry_histogram(struct agent_telemetry *t, const char *name, const uint32_t *counts, size_t count)
{
	struct agent_writer w = writer(t);
	bool ok = is_metric_name(t, name) && count >= 1 && count <= HISTOGRAM_MAX;
	agent_writer_key(&w, name);
	agent_writer_text(&w, "{\"hist\":[");
	for (size_t i = 0; i < count; i++) {
		ok = ok && is_count(counts[i]);
		agent_writer_text(&w, i ? "," : "");
		agent_writer_int(&w, counts[i]);
	}
	agent_writer_text(&w, "]}");
	finish(t, &w, ok);
}

bool agent_telemetry_shadow(struct agent_telemetry *t)
{
	struct agent_writer w = writer(t);
	const char *id = agent_shadow(t->agent);
	if (!id || t->is_shadow)
		return false;
	tell_refused(t);
	w = writer(t);
	agent_writer_text(&w, "},\"shadow\":{\"id\":");
	agent_writer_string(&w, id);
	agent_writer_text(&w, ",\"metrics\":{");
	if (w.failed) {
		t->failed = true;
		t->out[t->len] = '\0';
		return false;
	}
	t->len = w.len;
	t->is_shadow = true;
	return true;
}

bool agent_telemetry_send(struct agent_telemetry *t)
{
	if (!t->is_shadow)
		tell_refused(t);
	struct agent_writer w = writer(t);
	struct agent *a = t->agent;
	agent_writer_text(&w, t->is_shadow ? "}}}" : "}}");
	if (w.failed || t->metrics == 0 || w.len > AGENT_TELEMETRY_BYTES)
		return false;
	t->len = w.len;
	if (!a->is_connected || !a->ports->publish(a->host, AGENT_TOPIC_TELEMETRY, t->out, t->len, false))
		return false;
	a->telemetry_seq++;
	if (t->offload)
		agent_offload_told(t->offload);
	return !t->failed;
}
