/* What the fleet is doing, for people (standard error) and for tests (a JSON file, replaced whole). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/clock.h"
#include "sim.h"

struct tally {
	const char *name;
	unsigned count;
};

static void tally_add(struct tally *t, size_t *count, const char *name)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp(t[i].name, name) == 0) {
			t[i].count++;
			return;
		}
	if (*count < SIM_RELEASES_MAX)
		t[(*count)++] = (struct tally){name, 1};
}

static void put_tally(struct buf *b, const char *key, const struct tally *t, size_t count)
{
	json_key(b, key);
	json_open_object(b);
	for (size_t i = 0; i < count; i++)
		json_int(b, t[i].name, t[i].count);
	json_close_object(b);
}

static void put_totals(struct buf *b, const struct sim *s)
{
	const struct totals *t = &s->totals;
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	json_int(b, "telemetry_sent", (int64_t)t->telemetry_sent);
	json_int(b, "telemetry_acknowledged", (int64_t)t->telemetry_acknowledged);
	json_int(b, "reports_sent", (int64_t)t->reports_sent);
	json_int(b, "answers_sent", (int64_t)t->answers_sent);
	json_int(b, "downloads", (int64_t)t->downloads);
	json_int(b, "bytes_downloaded", (int64_t)t->bytes_downloaded);
	json_int(b, "confirmed", (int64_t)t->confirmed);
	json_int(b, "fell_back", (int64_t)t->fell_back);
	json_int(b, "rejected", (int64_t)t->rejected);
	json_int(b, "bricked", (int64_t)t->bricked);
	json_int(b, "shadows", (int64_t)t->shadows);
	json_int(b, "boots", (int64_t)t->boots);
	json_int(b, "power_cuts", (int64_t)t->cuts);
	json_int(b, "ddi_polls", (int64_t)t->polls);
	json_int(b, "ddi_resumed", (int64_t)t->resumed);
	json_int(b, "ddi_cancelled", (int64_t)t->cancelled);
	json_int(b, "offload_sent", (int64_t)t->offload.sent);
	json_int(b, "offload_kept", (int64_t)t->offload.kept);
	json_int(b, "rss_kib", usage.ru_maxrss);
	json_int(b, "cpu_ms", usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000 + usage.ru_stime.tv_sec * 1000 + usage.ru_stime.tv_usec / 1000);
	json_int(b, "shared_bytes", (int64_t)storage_shared_bytes());
}

static unsigned put_fleet(struct buf *b, const struct sim *s)
{
	struct tally releases[SIM_RELEASES_MAX], states[SIM_RELEASES_MAX], shadows[SIM_RELEASES_MAX];
	size_t release_count = 0, state_count = 0, shadow_count = 0;
	unsigned connected = 0;
	for (uint32_t i = 0; i < s->options.devices; i++) {
		const struct device *d = &s->devices[i];
		if (d->is_bricked)
			continue;
		connected += device_is_connected(d);
		tally_add(releases, &release_count, d->ddi ? ddi_release(d->ddi) : agent_running(&d->agent)->name);
		if (d->shadow_release[0])
			tally_add(shadows, &shadow_count, d->shadow_release);
		tally_add(states, &state_count, d->ddi ? ddi_state_name(d->ddi) : agent_state_name(agent_state(&d->agent)));
	}
	json_int(b, "devices", s->options.devices);
	json_int(b, "connected", connected);
	put_tally(b, "running", releases, release_count);
	put_tally(b, "states", states, state_count);
	put_tally(b, "shadow", shadows, shadow_count);
	return connected;
}

void status_write(struct sim *s)
{
	if (s->log)
		fflush(s->log);
	if (s->ack_log)
		fflush(s->ack_log);
	if (!s->options.status_file)
		return;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	put_fleet(&b, s);
	put_totals(&b, s);
	json_close_object(&b);
	char next[4096];
	snprintf(next, sizeof next, "%s.next", s->options.status_file);
	FILE *f = fopen(next, "w");
	if (!f) {
		perror(next);
		exit(1);
	}
	fputs(buf_cstr(&b), f);
	fclose(f);
	if (rename(next, s->options.status_file))
		perror(s->options.status_file);
	buf_done(&b);
}

void status_print(struct sim *s)
{
	struct buf b = BUF_INIT;
	unsigned connected = put_fleet(&b, s);
	buf_done(&b);
	fprintf(stderr, "aviary-sim: %u of %u connected, %llu reports sent, %llu acknowledged, %llu confirmed, %llu fell back, %llu bricked\n", connected,
		s->options.devices, (unsigned long long)s->totals.telemetry_sent, (unsigned long long)s->totals.telemetry_acknowledged,
		(unsigned long long)s->totals.confirmed, (unsigned long long)s->totals.fell_back, (unsigned long long)s->totals.bricked);
}
