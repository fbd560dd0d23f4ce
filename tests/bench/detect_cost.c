/* What detection costs a report in the daemon: detect_update over a million devices in random order, read from packed batches with the
 * look-ahead that service/telemetry.c has. Each report has seven metrics and a histogram. CPU time of the thread. Beside it
 * stands the reading alone, which the log's other readers pay as well. Arguments: devices, "compact" or "full". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/telemetry.h"
#include "service/detect_inside.h"

#define BATCH 2000u
#define BATCHES 256u  /* packed beforehand, some 80 MB */
#define AHEAD 6u
#define METRICS 8u

static uint64_t state = 1;

static uint32_t random_next(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33);
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static const char *hardware_of(void *ctx, int64_t row)
{
	(void)ctx;
	return row % 3 == 0 ? "rp2040" : "esp32s3";
}

static double unit(void)
{
	return (double)(random_next() & 0xffff) / 65536;
}

static void put_report(struct buf *out, int64_t base_ms, int64_t device, int64_t received_ms, const int64_t names[METRICS])
{
	const uint64_t classes[4] = {100 + random_next() % 16, 50 + random_next() % 16, 30 + random_next() % 8, 20};
	const double values[METRICS] = {20 + unit(), 80 + unit(), 30 + unit(), 0.9, -60 + 4 * unit(), 1e8 + 1e6 * unit(), 0.8 + 0.02 * unit(), 0};
	struct metric_value m[METRICS];
	for (unsigned i = 0; i < METRICS; i++) {
		bool is_hist = i + 1 == METRICS;
		m[i] = (struct metric_value){.type = is_hist ? VALUE_HIST : VALUE_NUMBER, .n = 1, .value = values[i], .bin_count = is_hist ? 4 : 0,
			.counts = is_hist ? classes : NULL};
	}
	struct telemetry_report r = {.seq = 1, .boot = {"b0", 2}, .metric_count = METRICS, .metrics = m};
	(void)report_log_put(out, base_ms, device, received_ms, 1 + METRICS, names, &r);
}

/* One batch: its reports, or only the reading of them. */
static void tell(struct detect *d, const struct buf *b, int64_t base_ms, bool is_reading)
{
	struct report_log_reader reader, ahead;
	struct log_report r, next;
	static volatile uint64_t sink;
	report_log_open(&reader, b->data, b->len, base_ms);
	ahead = reader;
	for (unsigned i = 0; i < AHEAD && report_log_next(&ahead, 0, &next); i++)
		detect_prefetch(d, is_reading ? 0 : next.device);
	while (report_log_next(&reader, 0, &r)) {
		if (report_log_next(&ahead, 0, &next))
			detect_prefetch(d, is_reading ? 0 : next.device);
		if (!is_reading) {
			detect_update(d, &r);
			continue;
		}
		struct log_metric m;
		while (report_log_metric(&r, &m))
			sink += m.type;
	}
}

int main(int argc, char **argv)
{
	static const char *const metrics[METRICS] = {"latency_ms", "energy_mj", "temperature_c", "battery", "link_rssi_dbm", "memory_bytes",
		"confidence", "classes"};
	const uint32_t devices = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	struct detect_options o;
	struct symbols *symbols = symbols_new();
	int64_t names[METRICS], base_ms = 1700000000000;
	static struct buf batches[BATCHES];
	detect_options_init(&o);
	o.state = argc > 2 ? argv[2] : "compact";
	struct detect *d = detect_new(&o);
	for (unsigned i = 0; i < METRICS; i++)
		names[i] = symbols_metric(symbols, (struct slice){metrics[i], strlen(metrics[i])}, 100)->id;
	(void)symbols_version(symbols, (struct slice){"kws", 3}, (struct slice){"1.4.1", 5}, 100);
	d->symbols = symbols;
	d->hardware_of = hardware_of;
	for (uint32_t at = 0; at < devices; at += BATCH) { /* everybody is known */
		struct buf b = BUF_INIT;
		for (uint32_t i = at; i < at + BATCH && i < devices; i++)
			put_report(&b, base_ms, 1 + i, base_ms, names);
		detect_begin(d, 1 + at / BATCH, base_ms);
		tell(d, &b, base_ms, false);
		buf_done(&b);
	}
	base_ms += 300000;
	for (unsigned n = 0; n < BATCHES; n++) {
		for (unsigned i = 0; i < BATCH; i++)
			put_report(&batches[n], base_ms, 1 + random_next() % devices, base_ms + i / 10, names);
	}
	double begin = now_ns();
	for (unsigned n = 0; n < BATCHES; n++)
		tell(d, &batches[n], base_ms, true);
	double reading = now_ns() - begin;
	begin = now_ns();
	for (unsigned n = 0; n < BATCHES; n++) {
		detect_begin(d, 1000000 + n, base_ms);
		tell(d, &batches[n], base_ms, false);
	}
	double all = now_ns() - begin, reports = (double)BATCH * BATCHES;
	printf("%u devices, %s: %.0f ns a report with its reading, of it reading %.0f; %zu bytes a device, %.2f GB\n", devices, o.state, all / reports,
	       reading / reports, d->stride, (double)detect_device_bytes(d) / 1e9);
	for (unsigned n = 0; n < BATCHES; n++)
		buf_done(&batches[n]);
	detect_close(d);
	symbols_free(symbols);
	return 0;
}
