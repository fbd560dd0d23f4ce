#include "service/metrics.h"

#include <stddef.h>
#include <string.h>

static const struct {
	const char *name, *labels, *type, *help;
} meters[METER_COUNT] = {
#define X(id, type, metric, labels, help) [METER_##id] = {metric, labels, type, help},
	METER_TABLE(X)
#undef X
};

static const struct {
	const char *name, *help;
} histograms[HISTOGRAM_COUNT] = {
#define X(id, metric, help) [HISTOGRAM_##id] = {metric, help},
	HISTOGRAM_TABLE(X)
#undef X
};

static const struct {
	uint64_t ns;
	const char *label;
} buckets[] = {
	{100000, "0.0001"}, {250000, "0.00025"}, {500000, "0.0005"}, {1000000, "0.001"}, {2500000, "0.0025"},
		{5000000, "0.005"},
	{10000000, "0.01"}, {20000000, "0.02"}, {25000000, "0.025"}, {50000000, "0.05"}, {100000000, "0.1"}, {250000000, "0.25"},
		{500000000, "0.5"},
	{1000000000, "1"}, {2500000000, "2.5"}, {5000000000, "5"}, {10000000000, "10"}, {UINT64_MAX, "+Inf"},
};
#define BUCKETS (sizeof buckets / sizeof buckets[0])

static int64_t values[METER_COUNT];
static struct {
	int64_t count[BUCKETS];
	int64_t sum_ns;
} observed[HISTOGRAM_COUNT];

void metric_add(enum meter m, int64_t n)
{
	__atomic_fetch_add(&values[m], n, __ATOMIC_RELAXED);
}

void metric_set(enum meter m, int64_t value)
{
	__atomic_store_n(&values[m], value, __ATOMIC_RELAXED);
}

int64_t metric_get(enum meter m)
{
	return __atomic_load_n(&values[m], __ATOMIC_RELAXED);
}

void metric_observe_ns(enum histogram h, uint64_t ns)
{
	size_t at = 0;
	while (ns > buckets[at].ns)
		at++;
	__atomic_fetch_add(&observed[h].count[at], 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&observed[h].sum_ns, (int64_t)ns, __ATOMIC_RELAXED);
}

static void write_head(struct buf *out, const char *name, const char *help, const char *type)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_write(struct buf *out)
{
	for (size_t i = 0; i < METER_COUNT; i++) {
		if (i == 0 || strcmp(meters[i].name, meters[i - 1].name) != 0)
			write_head(out, meters[i].name, meters[i].help, meters[i].type);
		buf_str(out, meters[i].name);
		if (meters[i].labels[0] != '\0')
			buf_printf(out, "{%s}", meters[i].labels);
		buf_printf(out, " %lld\n", (long long)metric_get((enum meter)i));
	}
	for (size_t h = 0; h < HISTOGRAM_COUNT; h++) {
		write_head(out, histograms[h].name, histograms[h].help, "histogram");
		long long total = 0;
		for (size_t i = 0; i < BUCKETS; i++) {
			total += __atomic_load_n(&observed[h].count[i], __ATOMIC_RELAXED);
			buf_printf(out, "%s_bucket{le=\"%s\"} %lld\n", histograms[h].name, buckets[i].label, total);
		}
		buf_printf(out, "%s_sum %.9f\n%s_count %lld\n", histograms[h].name,
		           (double)__atomic_load_n(&observed[h].sum_ns, __ATOMIC_RELAXED) / 1e9, histograms[h].name, total);
	}
}
