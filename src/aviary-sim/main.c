/* aviary-sim: thousands of simulated devices in one process. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "sim.h"

#define START_EVERY_MS 20

static struct sim *the_sim; /* 70 KB of buffers: not on the stack */

/* Each device needs three descriptors: the broker's socket and the client library's own pair. */
static void raise_limits(uint32_t devices)
{
	struct rlimit limit;
	rlim_t need = (rlim_t)devices * 4 + 512;
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= need)
		return;
	limit.rlim_cur = need;
	if (limit.rlim_max < need)
		limit.rlim_max = need;
	if (setrlimit(RLIMIT_NOFILE, &limit)) {
		perror("aviary-sim: raising the limit of open files");
		exit(1);
	}
}

/* ---- the pinned key ---- */

struct key_wait {
	bool is_done, is_good;
	uint8_t *key;
};

static void on_key(void *ctx, const struct fetch_result *result)
{
	struct key_wait *w = ctx;
	struct json *root = NULL;
	size_t len = 0;
	w->is_done = true;
	if (result->error || result->status != 200 || json_parse(result->body, result->body_len, &root, NULL))
		return;
	const char *text = json_text(json_get(root, "public_key"));
	w->is_good = text && base64_decode(text, strlen(text), w->key, 32, &len) && len == 32;
	json_free(root);
}

static bool key_is_done(void *ctx)
{
	return ((struct key_wait *)ctx)->is_done;
}

static bool ask_key(struct sim *s)
{
	char url[512];
	struct key_wait wait = {.key = s->key};
	snprintf(url, sizeof url, "%s/device/v1/key", s->options.http_url);
	fetch_start(s->fetch, &(struct fetch_request){.url = url, .timeout_ms = 10000, .on_done = on_key, .ctx = &wait});
	return loop_run_until(s->loop, key_is_done, &wait, 12000) && wait.is_good;
}

static bool read_key(struct sim *s)
{
	char text[65] = "";
	FILE *f = fopen(s->options.key_file, "r");
	bool ok = f && fread(text, 1, 64, f) == 64 && hex_decode(text, 64, s->key, 32);
	if (f)
		fclose(f);
	return ok;
}

/* ---- the fleet ---- */

static void make_factory(struct sim *s)
{
	const struct options *o = &s->options;
	if (!o->factory_release)
		return;
	snprintf(s->factory.name, sizeof s->factory.name, "%s", o->factory_release);
	s->factory.counter = o->factory_counter;
	if (!o->factory_model)
		return;
	const char *equals = strchr(o->factory_model, '=');
	struct agent_component *c = &s->factory.components[0];
	snprintf(c->name, sizeof c->name, "%.*s", (int)(equals - o->factory_model), o->factory_model);
	snprintf(c->version, sizeof c->version, "%s", equals + 1);
	s->factory.component_count = 1;
}

struct ramp {
	struct sim *sim;
	struct loop_timer *timer;
	uint32_t next;
};

static void on_ramp(void *ctx)
{
	struct ramp *r = ctx;
	uint32_t count = (uint32_t)(r->sim->options.connects_per_second * START_EVERY_MS / 1000);
	for (uint32_t i = 0; i < (count ? count : 1) && r->next < r->sim->options.devices; i++)
		device_start(&r->sim->devices[r->next++]);
	if (r->next == r->sim->options.devices)
		loop_timer_stop(r->timer);
}

static void on_second(void *ctx)
{
	status_write(ctx);
}

static void on_said(void *ctx)
{
	status_print(ctx);
}

static void on_end(void *ctx)
{
	loop_stop(((struct sim *)ctx)->loop);
}

static void on_signal(void *ctx, int signum)
{
	(void)signum;
	on_end(ctx);
}

static FILE *open_log(const char *path)
{
	FILE *f = path ? fopen(path, "w") : NULL;
	if (path && !f) {
		perror(path);
		exit(1);
	}
	return f;
}

static void run(struct sim *s)
{
	struct ramp ramp = {.sim = s};
	struct loop_timer *second = loop_timer_new(s->loop, on_second, s), *said = loop_timer_new(s->loop, on_said, s),
	                  *end = loop_timer_new(s->loop, on_end, s);
	struct loop_signal *term = loop_signal_new(s->loop, SIGTERM, on_signal, s), *interrupt = loop_signal_new(s->loop, SIGINT, on_signal, s);
	ramp.timer = loop_timer_new(s->loop, on_ramp, &ramp);
	loop_timer_start(ramp.timer, 0, START_EVERY_MS);
	loop_timer_start(second, 500, 500);
	if (!s->options.is_quiet)
		loop_timer_start(said, 10000, 10000);
	if (s->options.duration_ms)
		loop_timer_start(end, s->options.duration_ms, 0);
	loop_run(s->loop);
	status_write(s);
	loop_timer_free(ramp.timer);
	loop_timer_free(second);
	loop_timer_free(said);
	loop_timer_free(end);
	loop_signal_free(term);
	loop_signal_free(interrupt);
}

int main(int argc, char **argv)
{
	struct sim *s = the_sim = calloc(1, sizeof *s);
	if (!s)
		abort();
	options_parse(&s->options, argc, argv);
	raise_limits(s->options.devices);
	s->loop = loop_new();
	s->fetch = fetch_pool_new(s->loop, 64);
	s->talk = fetch_pool_new(s->loop, 256);
	s->log = open_log(s->options.log_file);
	s->ack_log = open_log(s->options.ack_log_file);
	if (!(s->options.key_file ? read_key(s) : ask_key(s))) {
		fprintf(stderr, "aviary-sim: no public key from %s\n", s->options.key_file ? s->options.key_file : s->options.http_url);
		return 1;
	}
	make_factory(s);
	s->started_ms = clock_mono_ms();
	s->devices = calloc(s->options.devices, sizeof *s->devices);
	if (!s->devices)
		abort();
	for (uint32_t i = 0; i < s->options.devices; i++)
		device_init(&s->devices[i], s, i + 1);
	run(s);
	if (!s->options.is_quiet)
		status_print(s);
	for (uint32_t i = 0; i < s->options.devices; i++)
		device_done(&s->devices[i]);
	fetch_pool_free(s->fetch);
	fetch_pool_free(s->talk);
	loop_free(s->loop);
	if (s->log)
		fclose(s->log);
	if (s->ack_log)
		fclose(s->ack_log);
	free(s->devices);
	free(s);
	return 0;
}
