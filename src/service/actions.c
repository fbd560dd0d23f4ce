/* The mirror that polls are answered from: opening, refreshing, upkeep. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "service/access.h"
#include "service/actions_inside.h"
#include "service/alerts.h"
#include "service/catalog.h"
#include "service/metrics.h"
#include "service/offload.h"
#include "service/signing.h"
#include "service/unit.h"
#include "store/db.h"

#define SWEEP_PIECE 20000 /* devices looked at a second, for those that do not poll any more: memory only */
#define PRESENCE_MS 600000 /* signs of life closer together are not written: who is there says so again soon after any restart */
#define STRETCH_MAX 8.0
#define LAG_MS 250       /* a tick that comes later means that the loop is behind */
#define DIGEST_BYTES (1 << 20)

/* ---- states ---- */

static void state_clear(struct ddi_state *st)
{
	free(st->long_token);
	free(st->window);
	*st = (struct ddi_state){.row = 0};
}

/* Of a number; NULL: there was never one. */
static struct ddi_state *state_at(const struct actions *x, uint32_t index)
{
	uint32_t chunk = index / DDI_CHUNK;
	return chunk < x->chunk_count && x->chunks[chunk] ? &x->chunks[chunk][index % DDI_CHUNK] : NULL;
}

struct ddi_state *ddi_state_of(struct actions *x, const struct device_state *d)
{
	if (!d->is_ddi)
		return NULL;
	uint32_t chunk = d->index / DDI_CHUNK;
	if (chunk >= x->chunk_count) {
		uint32_t count = chunk + 1;
		x->chunks = reallocarray(x->chunks, count, sizeof(struct ddi_state *));
		if (!x->chunks)
			abort(); /* state is on disk */
		memset(x->chunks + x->chunk_count, 0, (count - x->chunk_count) * sizeof(struct ddi_state *));
		x->chunk_count = count;
	}
	if (!x->chunks[chunk]) {
		x->chunks[chunk] = calloc(DDI_CHUNK, sizeof *x->chunks[chunk]);
		if (!x->chunks[chunk])
			abort();
	}
	struct ddi_state *st = &x->chunks[chunk][d->index % DDI_CHUNK];
	if (st->row != d->row) { /* the number was another device's */
		state_clear(st);
		st->row = d->row;
	}
	return st;
}

void ddi_changed(struct call *c, struct device_state *d)
{
	registry_touch(c->s->registry, d);
}

struct reading {
	struct actions *x;
	struct ddi_state *st;
};

static void keep_token(struct ddi_state *st, const char *text, size_t len)
{
	char *at = st->token;
	if (len > sizeof st->token) {
		at = st->long_token = malloc(len);
		if (!at)
			abort();
	}
	memcpy(at, text, len);
	st->token_len = (uint8_t)len;
}

const char *ddi_token(const struct ddi_state *st)
{
	return st->long_token ? st->long_token : st->token;
}

static void read_device(void *ctx, const struct device_ddi *in)
{
	struct reading *r = ctx;
	struct ddi_state *st = r->st;
	free(st->long_token);
	st->long_token = NULL;
	st->token_len = 0;
	if (in->token && in->token_len > CRYPTO_SEAL_BYTES && in->token_len <= CRYPTO_SEAL_BYTES + ACTION_TOKEN_MAX) {
		char text[ACTION_TOKEN_MAX];
		size_t len = in->token_len - CRYPTO_SEAL_BYTES;
		/* Sealed with another key: nobody proves to be this device until it gets a new token. */
		if (crypto_open(signing_target_key(catalog_signing(r->x->s->catalog)), in->token, in->token_len, (uint8_t *)text))
			keep_token(st, text, len);
		explicit_bzero(text, sizeof text);
	}
	st->wants_attributes = in->wants_attributes;
	st->installed = in->installed_action;
	st->installed_at = in->installed_at;
}

/* ---- intervals ---- */

static void take_settings(struct actions *x)
{
	const char *text = settings_text(x->s->settings, SETTING_POLLING_TIME);
	if (x->polling_text && strcmp(x->polling_text, text) == 0)
		return;
	free(x->polling_text);
	x->polling_text = strdup(text);
	if (!x->polling_text)
		abort();
	if (!ddi_polling_parse(x->polling_text, &x->polling))
		x->polling = (struct ddi_polling){.standard = {300000, 0}};
	x->settings++;
}

static void on_setting(void *ctx, enum setting which)
{
	if (which == SETTING_POLLING_TIME || which == SETTINGS)
		take_settings(ctx);
}

/* The first override whose filter matches. A filter that is none matches nobody: who set it was told. */
static enum err choose_interval(struct call *c, const struct device_state *d, struct ddi_state *st)
{
	const struct actions *x = c->s->actions;
	const struct ddi_polling *p = &x->polling;
	st->interval = p->standard;
	st->settings = x->settings;
	for (size_t i = 0; i < p->count; i++) {
		bool matches = false;
		enum err e = registry_matches(c, d, arena_strndup(c->arena, p->overrides[i].filter, p->overrides[i].filter_len), 0, &matches);
		if (e && e != ERR_BAD_REQUEST)
			return e;
		if (!e && matches) {
			st->interval = p->overrides[i].interval;
			break;
		}
	}
	return ERR_OK;
}

/* ---- what a device is to do ---- */

/* hawkBit's `skip` asks the device to wait; one that would take it for success (SWUpdate) is not asked at all. */
static enum err choose_withhold(struct call *c, const struct device_state *d, struct ddi_state *st)
{
	const char *value = NULL;
	enum err e = registry_attribute(c, d, "ddi.closed_window", &value);
	st->withholds = strcmp(value ? value : c->s->actions->options->closed_window, "withhold") == 0;
	return e;
}

static enum err take_delivery(struct call *c, const struct device_state *d, const struct deployment_row *row, bool is_revert, struct ddi_state *st)
{
	struct rollout_rows x;
	const char *what;
	if (is_revert)
		return ERR_OK;
	enum err e = rollout_load(c, row->rollout, &x);
	if (e)
		return e;
	const struct rollout_request *q = &x.live->spec;
	if (strcmp(q->delivery.type, delivery_text(DELIVERY_TIMEFORCED)) == 0)
		st->forced_at = q->delivery.forced_at;
	if (!q->delivery.maintenance.schedule)
		return ERR_OK;
	st->window = malloc(sizeof *st->window);
	if (!st->window)
		abort();
	if (!maintenance_parse(q->delivery.maintenance.schedule, q->delivery.maintenance.duration, q->delivery.maintenance.timezone, st->window,
		    &what)) {
		free(st->window);
		st->window = NULL;
		return ERR_OK; /* was checked */
	}
	return choose_withhold(c, d, st);
}

static bool is_revert_state(enum deployment_status s)
{
	return s == DEPLOYMENT_REVERTING || s == DEPLOYMENT_REVERT_FAILED;
}

static enum err take_action(struct call *c, struct device_state *d, struct ddi_state *st)
{
	struct actions *x = c->s->actions;
	struct deployment_store *store = c->s->rollouts->deployments;
	struct deployment_row row;
	int64_t first = 0;
	enum err e = action_cancelling(x->store, d->row, &first, c->fault);
	if (e)
		return e;
	int64_t id = first ? first : d->deployment;
	if (!id)
		return ERR_OK;
	e = deployment_get(store, id, &row, c->arena, c->fault);
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	if (row.cancelling > 0) {
		st->kind = OFFER_CANCEL;
		st->action = row.cancelling;
		return ERR_OK;
	}
	bool is_refused = row.cancelling < 0;
	if (!is_refused && (!row.action || !deployment_is_on_offer(row.state)))
		return ERR_OK;
	st->action = is_refused ? -row.cancelling : row.action;
	st->kind = !is_refused && row.confirm == 1 ? OFFER_CONFIRMATION : OFFER_DEPLOYMENT;
	return take_delivery(c, d, &row, !is_refused && is_revert_state(row.state), st);
}

enum err ddi_refresh(struct call *c, struct device_state *d, struct ddi_state **out)
{
	struct actions *x = c->s->actions;
	struct ddi_state *st = *out = ddi_state_of(x, d);
	enum err e = ERR_OK;
	if (d->is_stale) {
		bool found;
		struct reading reading = {x, st};
		metric_add(METER_DDI_REFRESHED, 1);
		free(st->window);
		st->window = NULL;
		st->window_begin = st->window_end = st->forced_at = 0;
		st->kind = OFFER_NOTHING;
		st->action = 0;
		e = device_store_ddi(x->devices, d->row, read_device, &reading, &found, c->fault);
		if (!e)
			e = take_action(c, d, st);
		if (!e)
			e = choose_interval(c, d, st);
		d->is_stale = e != ERR_OK;
	} else if (st->settings != x->settings) {
		if (x->polling.count > 0)
			metric_add(METER_DDI_REFRESHED, 1);
		e = choose_interval(c, d, st);
	}
	return e;
}

bool ddi_window(struct ddi_state *st, int64_t now_ms, bool *is_open)
{
	*is_open = true;
	if (!st->window)
		return true;
	if (now_ms >= st->window_end && !maintenance_next(st->window, now_ms, &st->window_begin, &st->window_end))
		return false;
	*is_open = now_ms >= st->window_begin && now_ms < st->window_end;
	return true;
}

/* ---- polls ---- */

bool actions_is_ready(struct call *c, const struct device_state *d)
{
	const struct actions *x = c->s->actions;
	const struct ddi_state *st = d->is_ddi ? state_at(x, d->index) : NULL;
	return st && !d->is_stale && st->row == d->row && st->settings == x->settings && (!st->window || c->now_ms < st->window_end);
}

/* Different for each device and each poll, without a generator's state. */
static uint64_t scatter(const struct device_state *d, int64_t now_ms)
{
	uint64_t z = ((uint64_t)d->row * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uint64_t)now_ms * UINT64_C(0xd1b54a32d192ed03));
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Its last window is over: the device is told to forget it. */
static enum err lapse(struct call *c, struct device_state *d, struct ddi_state **st)
{
	int64_t action = (*st)->action;
	enum err e = unit_begin(c->s, c->fault);
	if (e)
		return e;
	e = unit_end(c->s, actions_cancel(c, d, action, false), c->fault);
	return e ? e : ddi_refresh(c, d, st);
}

static int64_t sleep_of(const struct actions *x, const struct device_state *d, const struct ddi_state *st, int64_t now_ms)
{
	struct ddi_sleep s = {.interval = st->interval, .min_ms = settings_ms(x->s->settings, SETTING_POLLING_MIN),
		.max_ms = settings_ms(x->s->settings, SETTING_POLLING_MAX), .stretch = x->stretch, .random = scatter(d, now_ms)};
	if (st->window && now_ms < st->window_begin) {
		s.window_in_ms = st->window_begin - now_ms;
		s.window_polls = settings_int(x->s->settings, SETTING_MAINTENANCE_POLLS);
	}
	return ddi_sleep_ms(&s);
}

/* Who polls each second need not be written each second. */
static void note_presence(struct call *c, struct device_state *d, struct ddi_state *st)
{
	if (d->online && c->now_ms - st->noted_at < PRESENCE_MS) {
		registry_seen_quietly(d, c->now_ms);
		return;
	}
	st->noted_at = c->now_ms;
	registry_set_online(c->s->registry, d, true, c->now_ms);
}

enum err actions_poll(struct call *c, struct device_state *d, struct action_offer *out)
{
	struct actions *x = c->s->actions;
	struct ddi_state *st;
	bool is_open, is_ready = actions_is_ready(c, d);
	uint64_t steps = db_steps(c->s->db);
	x->polls++;
	enum err e = ddi_refresh(c, d, &st);
	if (!e && st->kind != OFFER_NOTHING && st->kind != OFFER_CANCEL && !ddi_window(st, c->now_ms, &is_open))
		e = lapse(c, d, &st);
	if (e)
		return e;
	ddi_window(st, c->now_ms, &is_open);
	*out = (struct action_offer){.kind = st->kind, .action = st->action, .installed = st->installed, .wants_attributes = st->wants_attributes,
		.sleep_ms = sleep_of(x, d, st, c->now_ms)};
	if (st->kind == OFFER_DEPLOYMENT && st->withholds && !is_open)
		out->kind = OFFER_NOTHING;
	if (out->installed == out->action)
		out->installed = 0; /* only of an action that is over */
	out->hash = ddi_link_hash(st->action, st->forced_at > 0 && c->now_ms >= st->forced_at, is_open);
	note_presence(c, d, st);
	assert(!is_ready || steps == db_steps(c->s->db)); /* memory only */
	st->online_until = c->now_ms + 2 * out->sleep_ms + settings_ms(c->s->settings, SETTING_POLLING_OVERDUE);
	return ERR_OK;
}

bool actions_check_token(struct call *c, struct device_state *d, const char *text, size_t len)
{
	struct ddi_state *st;
	if (!d->is_ddi || ddi_refresh(c, d, &st) != ERR_OK || !st->token_len || len != st->token_len)
		return false;
	return crypto_equal(ddi_token(st), text, len);
}

/* ---- upkeep ---- */

static void sweep(struct call *c)
{
	struct actions *x = c->s->actions;
	uint32_t span = registry_span(c->s->registry);
	for (uint32_t n = 0; n < SWEEP_PIECE; n++) {
		uint32_t at = x->sweep++;
		if (at >= span || at / DDI_CHUNK >= x->chunk_count) {
			x->sweep = 0;
			break;
		}
		const struct ddi_state *st = state_at(x, at);
		struct device_state *d = st && st->row ? registry_by_row(c->s->registry, st->row) : NULL;
		if (d && d->online && d->is_ddi && c->now_ms > st->online_until)
			registry_set_online(c->s->registry, d, false, c->now_ms);
	}
}

/* Load shedding: many polls, or a loop that is behind, and everybody comes less often. */
static void weigh(struct actions *x)
{
	int64_t now = clock_mono_ms(), lag = x->tick_due_ms ? now - x->tick_due_ms : 0;
	double seconds = x->tick_ms && now > x->tick_ms ? (double)(now - x->tick_ms) / 1000 : 1;
	double rate = (double)x->polls / seconds, limit = (double)x->options->busy_polls;
	double wanted = limit > 0 && rate > limit ? rate / limit : 1;
	if (lag > LAG_MS)
		wanted += (double)lag / 1000;
	x->stretch = wanted > x->stretch ? wanted : 0.8 * x->stretch + 0.2 * wanted;
	if (x->stretch > STRETCH_MAX)
		x->stretch = STRETCH_MAX;
	if (x->stretch < 1.01)
		x->stretch = 1;
	metric_set(METER_DDI_STRETCH, (int64_t)(x->stretch * 100));
	x->polls = 0;
	x->tick_ms = now;
	x->tick_due_ms = now + 1000;
}

/* ---- digests of contents that have none: uploaded before there were any, or found in the store ---- */

struct digest_job {
	struct services *s;
	char *path;
	char sha256[SHA256_HEX];
	struct file_digests out;
	bool is_good;
};

static void digest_run(void *arg)
{
	struct digest_job *job = arg;
	int fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char *block = malloc(DIGEST_BYTES), hex[SHA256_HEX];
	if (!block)
		abort();
	struct file_digest *h = file_digest_new();
	ssize_t n = -1;
	while (fd >= 0 && (n = read(fd, block, DIGEST_BYTES)) > 0)
		file_digest_update(h, block, (size_t)n);
	file_digest_final(h, &job->out);
	file_digest_free(h);
	free(block);
	if (fd >= 0)
		close(fd);
	hex_encode(job->out.sha256, sizeof job->out.sha256, hex);
	job->is_good = n == 0 && strcmp(hex, job->sha256) == 0;
}

static void digest_done(void *arg)
{
	struct digest_job *job = arg;
	struct services *s = job->s;
	struct fault f = {"", ""};
	s->actions->is_digesting = false;
	enum err e = unit_begin(s, &f);
	if (e == ERR_OK) /* "" where the file is not what it should be: it is not asked again */
		(void)!unit_end(s, catalog_store_set_digests(catalog_rows(s->catalog), job->sha256, job->is_good ? job->out.sha1 : "",
			job->is_good ? job->out.md5 : "", &f), &f);
	free(job->path);
	free(job);
}

static enum err digest_some(struct call *c)
{
	struct actions *x = c->s->actions;
	bool found = false;
	char sha256[SHA256_HEX];
	if (x->is_digesting)
		return ERR_OK;
	enum err e = catalog_store_undigested(catalog_rows(c->s->catalog), sha256, &found, c->fault);
	if (e || !found)
		return e;
	struct digest_job *job = calloc(1, sizeof *job);
	if (!job)
		abort();
	job->s = c->s;
	job->path = strdup(catalog_blob_path(c, sha256));
	memcpy(job->sha256, sha256, sizeof sha256);
	x->is_digesting = true;
	e = offload_submit(c->s->offload, digest_run, digest_done, job);
	if (e) {
		x->is_digesting = false;
		free(job->path);
		free(job);
	}
	return e == ERR_UNAVAILABLE ? ERR_OK : e;
}

enum err actions_tick(struct call *c)
{
	struct actions *x = c->s->actions;
	if (!x)
		return ERR_OK;
	take_settings(x);
	weigh(x);
	sweep(c);
	return digest_some(c);
}

/* ---- opening ---- */

static void load_device(void *ctx, const struct device_ddi *in)
{
	struct actions *x = ctx;
	struct device_state *d = registry_by_row(x->s->registry, in->row);
	if (!d)
		return;
	struct reading reading = {x, ddi_state_of(x, d)};
	read_device(&reading, in);
	reading.st->interval = x->polling.standard;
	reading.st->settings = x->settings - (x->polling.count > 0); /* overrides are looked at with the first poll */
	d->is_stale = false;
}

static void load_busy(void *ctx, int64_t device)
{
	struct actions *x = ctx;
	struct device_state *d = registry_by_row(x->s->registry, device);
	if (d)
		d->is_stale = true;
}

enum err actions_open(struct services *s, const struct action_options *options, struct actions **out, struct fault *f)
{
	struct actions *x = calloc(1, sizeof *x);
	if (!x)
		abort();
	x->s = s;
	x->options = options;
	x->stretch = 1;
	take_settings(x);
	enum err e = action_store_open(s->db, &x->store, f);
	if (!e)
		e = device_store_open(s->db, &x->devices, f);
	if (!e)
		e = device_store_each_ddi(x->devices, load_device, x, f);
	if (!e)
		e = action_each_busy(x->store, load_busy, x, f);
	if (e) {
		actions_close(x);
		x = NULL;
	} else if (s->settings) {
		settings_listen(s->settings, on_setting, x);
	}
	*out = x;
	return e;
}

void actions_close(struct actions *x)
{
	if (!x)
		return;
	for (uint32_t i = 0; i < x->chunk_count; i++) {
		for (uint32_t k = 0; x->chunks[i] && k < DDI_CHUNK; k++)
			state_clear(&x->chunks[i][k]);
		free(x->chunks[i]);
	}
	free(x->chunks);
	free(x->polling_text);
	action_store_close(x->store);
	device_store_close(x->devices);
	free(x);
}
