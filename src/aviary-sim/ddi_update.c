/* One update of a simulated device that speaks DDI: document, download, installation, restart, feedback, and what goes wrong with them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "ddi_inside.h"

#define WRONG_MAX 3 /* downloads of a file with another hash before the device gives up */

static void go_to(struct ddi *x, enum ddi_step step, int64_t delay_ms)
{
	x->update->step = step;
	loop_timer_start(x->step, delay_ms, 0);
}

static bool has_fault(const struct ddi *x, enum fault_kind kind)
{
	const struct ddi_update *u = x->update;
	return faults_hit(&x->device->sim->options.faults, kind, x->device->seed, u ? u->model : NULL, u ? u->version : NULL) != NULL;
}

void ddi_drop_update(struct ddi *x)
{
	if (x->download)
		fetch_cancel(x->download);
	x->download = NULL;
	loop_timer_stop(x->step);
	free(x->update);
	x->update = NULL;
}

void ddi_forget_part(struct ddi *x)
{
	sha256_free(x->part.hash);
	x->part = (struct ddi_part){.hash = NULL};
}

/* ---- the document ---- */

static bool take_file(struct ddi_update *u, const struct json *artifact)
{
	struct ddi_file *f = &u->files[u->count];
	const struct json *links = json_get(artifact, "_links");
	const char *url = json_text(json_get(json_get(links, "download-http"), "href")), *sha = json_text(json_get(json_get(artifact, "hashes"), "sha256"));
	int64_t size;
	if (!url)
		url = json_text(json_get(json_get(links, "download"), "href"));
	if (u->count == DDI_FILES_MAX || !url || !sha || !json_is_integer(json_get(artifact, "size"), &size) || size < 0)
		return false;
	f->size_bytes = (uint64_t)size;
	u->count++;
	return str_copy(f->url, sizeof f->url, url) && str_copy(f->sha256, sizeof f->sha256, sha);
}

/* What the device says that it runs is the model's version where there is a model. */
static bool take_chunk(struct ddi_update *u, const struct json *chunk)
{
	const char *name = json_text(json_get(chunk, "name")), *version = json_text(json_get(chunk, "version")), *part = json_text(json_get(chunk, "part"));
	bool ok = name && version && part;
	if (ok && (!u->model[0] || strcmp(part, "os") != 0))
		ok = str_copy(u->model, sizeof u->model, name) && str_copy(u->version, sizeof u->version, version);
	for (const struct json *a = json_first(json_get(chunk, "artifacts")); a && ok; a = json_next(a))
		ok = take_file(u, a);
	return ok;
}

static bool take_document(struct ddi_update *u, const struct json *body)
{
	const struct json *deployment = json_get(body, "deployment"), *chunks = json_get(deployment, "chunks");
	const char *update = json_text(json_get(deployment, "update"));
	bool ok = update && chunks;
	u->count = u->at = 0;
	u->model[0] = '\0';
	for (const struct json *c = json_first(chunks); c && ok; c = json_next(c))
		ok = take_chunk(u, c);
	u->is_skipped = ok && strcmp(update, "skip") == 0;
	return ok && u->count > 0;
}

/* Everything is there: installed now, or in its maintenance window, or never where only the download was wanted. */
static void go_on(struct ddi *x)
{
	x->update->is_complete = true;
	if (x->update->is_skipped)
		x->update->step = DDI_STEP_WAIT;
	else
		go_to(x, DDI_STEP_INSTALL, x->device->sim->options.self_test_ms);
}

static void on_document(struct ddi *x, int status, const struct json *body)
{
	struct ddi_update *u = x->update;
	if (!u)
		return;
	if (status == 404 || status == 410) {
		ddi_drop_update(x);
	} else if (status != 200) {
		go_to(x, DDI_STEP_READ, DDI_RETRY_MS);
	} else if (!take_document(u, body)) {
		u->why = "the document is not understood";
		go_to(x, DDI_STEP_CLOSE, 0);
	} else if (u->is_complete) {
		go_on(x);
	} else {
		bool says_nothing = has_fault(x, FAULT_REDOWNLOAD);
		go_to(x, says_nothing ? DDI_STEP_DOWNLOAD : DDI_STEP_BEGIN, 0);
	}
}

void ddi_take_deployment(struct ddi *x, int64_t action, const char *href)
{
	struct ddi_update *u = x->update;
	if (u && u->action == action) {
		if (u->step == DDI_STEP_WAIT)
			go_to(x, DDI_STEP_READ, 0); /* whether its window is open */
		return;
	}
	if (u && u->step == DDI_STEP_CLOSE)
		return; /* says first how the former one went */
	ddi_drop_update(x);
	u = x->update = calloc(1, sizeof *u);
	if (!u)
		abort();
	u->action = action;
	str_copy(u->href, sizeof u->href, href);
	go_to(x, DDI_STEP_READ, 0);
}

void ddi_take_nothing(struct ddi *x)
{
	if (x->update && x->update->step != DDI_STEP_CLOSE && x->update->step != DDI_STEP_INSTALL)
		ddi_drop_update(x);
}

/* ---- feedback ---- */

static void say(struct ddi *x, const char *base, int64_t action, const char *execution, const char *finished, const char *detail, ddi_reply *on_reply)
{
	struct buf b = BUF_INIT;
	char path[64];
	json_open_object(&b);
	json_int(&b, "timestamp", device_wall_ms(x->device));
	json_key(&b, "status");
	json_open_object(&b);
	json_str(&b, "execution", execution);
	json_key(&b, "result");
	json_open_object(&b);
	json_str(&b, "finished", finished);
	json_close_object(&b);
	json_key(&b, "details");
	json_open_array(&b);
	json_put_str(&b, detail);
	json_close_array(&b);
	json_close_object(&b);
	json_close_object(&b);
	snprintf(path, sizeof path, "/%s/%lld/feedback", base, (long long)action);
	ddi_ask(x, "POST", ddi_url(x, path), buf_cstr(&b), on_reply);
	buf_done(&b);
}

static void finish(struct ddi *x)
{
	ddi_drop_update(x);
	ddi_poll_soon(x);
}

/* A step whose feedback was taken is followed by the next one. */
static void on_said(struct ddi *x, int status, const struct json *body)
{
	struct ddi_update *u = x->update;
	(void)body;
	if (!u)
		return;
	if (status == 404 || status == 410) {
		finish(x);
	} else if (status != 200) {
		loop_timer_start(x->step, DDI_RETRY_MS, 0);
	} else if (u->step == DDI_STEP_BEGIN) {
		go_to(x, DDI_STEP_DOWNLOAD, 0);
	} else if (u->step == DDI_STEP_DOWNLOADED) {
		go_on(x);
	} else if (u->step == DDI_STEP_CLOSE) {
		finish(x);
	}
}

static void on_cancel_said(struct ddi *x, int status, const struct json *body)
{
	(void)status; /* what was not heard is asked for again */
	(void)body;
	ddi_poll_soon(x);
}

/* A new release that is on its way in cannot be held up any more. */
void ddi_take_cancel(struct ddi *x, int64_t action)
{
	const struct ddi_update *u = x->update;
	if (u && u->action == action && (u->step == DDI_STEP_INSTALL || u->step == DDI_STEP_CLOSE)) {
		say(x, "cancelAction", action, "rejected", "none", "it is being installed", on_cancel_said);
		return;
	}
	if (u && u->action == action)
		ddi_drop_update(x);
	x->device->sim->totals.cancelled++;
	ddi_log(x, "ddi.cancelled", NULL);
	say(x, "cancelAction", action, "closed", "success", "cancelled", on_cancel_said);
}

/* ---- downloads ---- */

static bool on_head(void *ctx, const struct fetch *fetch, int status)
{
	struct ddi *x = ctx;
	(void)fetch;
	if (status == 200 && x->part.written_bytes > 0) { /* everything, though less was asked for */
		char sha256[SHA256_HEX];
		memcpy(sha256, x->part.sha256, sizeof sha256);
		ddi_forget_part(x);
		memcpy(x->part.sha256, sha256, sizeof sha256);
		x->part.hash = sha256_new();
	}
	x->device->sim->totals.resumed += status == 206;
	return status == 200 || status == 206;
}

static bool on_chunk(void *ctx, const void *data, size_t len)
{
	struct ddi *x = ctx;
	struct device *d = x->device;
	struct ddi_part *p = &x->part;
	bool is_cut = device_loses_power(d);
	if (is_cut)
		len /= 2;
	if (d->is_corrupt_fetch && len > 0) {
		sha256_update(p->hash, "wrong", 5);
		d->is_corrupt_fetch = false;
	} else {
		sha256_update(p->hash, data, len);
	}
	p->written_bytes += len;
	d->sim->totals.bytes_downloaded += len;
	return !is_cut;
}

static void end_file(struct ddi *x)
{
	struct ddi_update *u = x->update;
	struct ddi_part *p = &x->part;
	if (!p->is_whole) {
		uint8_t digest[SHA256_BYTES];
		char hex[SHA256_HEX];
		sha256_final(p->hash, digest);
		hex_encode(digest, sizeof digest, hex);
		sha256_free(p->hash);
		p->hash = NULL;
		p->is_whole = strcmp(hex, p->sha256) == 0;
	}
	if (!p->is_whole) {
		ddi_forget_part(x);
		u->why = ++u->failures < WRONG_MAX ? NULL : "the download has another hash";
		go_to(x, u->why ? DDI_STEP_CLOSE : DDI_STEP_DOWNLOAD, u->why ? 0 : DDI_SOON_MS);
	} else if (++u->at < u->count) {
		go_to(x, DDI_STEP_DOWNLOAD, 0);
	} else if (has_fault(x, FAULT_REDOWNLOAD)) { /* it forgets, and begins again without a word */
		ddi_forget_part(x);
		ddi_drop_update(x);
		loop_timer_start(x->poll, DDI_RETRY_MS, 0);
	} else {
		go_to(x, DDI_STEP_DOWNLOADED, 0);
	}
}

static void on_downloaded(void *ctx, const struct fetch_result *result)
{
	struct ddi *x = ctx;
	struct ddi_update *u = x->update;
	x->download = NULL;
	if (x->device->is_cut)
		return;
	if (result->status == 404 || result->status == 410)
		finish(x);
	else if (result->error || (result->status != 200 && result->status != 206) || x->part.written_bytes < u->files[u->at].size_bytes)
		go_to(x, DDI_STEP_DOWNLOAD, DDI_RETRY_MS);
	else
		end_file(x);
}

static void begin_download(struct ddi *x)
{
	struct device *d = x->device;
	const struct ddi_file *f = &x->update->files[x->update->at];
	if (strcmp(x->part.sha256, f->sha256) != 0) {
		ddi_forget_part(x);
		memcpy(x->part.sha256, f->sha256, sizeof x->part.sha256);
		x->part.hash = sha256_new();
	}
	uint64_t from = x->part.written_bytes;
	if (from >= f->size_bytes) {
		end_file(x);
		return;
	}
	const char *headers[] = {ddi_authorization(x), "Accept: application/octet-stream", NULL};
	d->sim->totals.downloads++;
	d->is_corrupt_fetch = has_fault(x, FAULT_CORRUPT) && rng_uniform(&d->rng) < 0.5;
	x->download = fetch_start(d->sim->fetch, &(struct fetch_request){.url = f->url, .headers = headers, .has_range = from > 0, .range_from = from,
		.on_head = on_head, .on_chunk = on_chunk, .on_done = on_downloaded, .ctx = x});
}

/* ---- installing ---- */

static void install(struct ddi *x)
{
	struct ddi_update *u = x->update;
	struct device *d = x->device;
	if (has_fault(x, FAULT_BRICK)) {
		device_brick(d);
		return;
	}
	if (has_fault(x, FAULT_STUCK)) {
		u->step = DDI_STEP_STUCK;
		return;
	}
	if (has_fault(x, FAULT_CRASHLOOP)) {
		u->why = "the new release crashed in its self-test";
		d->sim->totals.fell_back++;
	} else {
		str_copy(x->model, sizeof x->model, u->model);
		str_copy(x->version, sizeof x->version, u->version);
		snprintf(x->release, sizeof x->release, "%s-%s", u->model, u->version);
		d->sim->totals.confirmed++;
	}
	ddi_log(x, u->why ? "ddi.failed" : "ddi.installed", u->version);
	u->step = DDI_STEP_CLOSE;
	device_reboot(d); /* to the new release, or back to the old one */
}

void ddi_on_step(void *ctx)
{
	struct ddi *x = ctx;
	struct ddi_update *u = x->update;
	bool waits = x->device->is_away || x->talk != NULL;
	if (!u || x->device->is_bricked || x->device->is_cut)
		return;
	if (waits && u->step != DDI_STEP_INSTALL) {
		loop_timer_start(x->step, x->device->is_away ? DDI_RETRY_MS : DDI_SOON_MS, 0);
		return;
	}
	switch (u->step) {
	case DDI_STEP_READ: ddi_ask(x, "GET", u->href, NULL, on_document); break;
	case DDI_STEP_BEGIN: say(x, "deploymentBase", u->action, "proceeding", "none", "the update begins", on_said); break;
	case DDI_STEP_DOWNLOAD: begin_download(x); break;
	case DDI_STEP_DOWNLOADED: say(x, "deploymentBase", u->action, "downloaded", "none", "downloaded", on_said); break;
	case DDI_STEP_INSTALL: install(x); break;
	case DDI_STEP_CLOSE:
		say(x, "deploymentBase", u->action, "closed", u->why ? "failure" : "success", u->why ? u->why : "installed", on_said);
		break;
	case DDI_STEP_WAIT:
	case DDI_STEP_STUCK:
	case DDI_STEP_COUNT: break;
	}
}
