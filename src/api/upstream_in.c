#include "api/upstream_in.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ipaddr.h"
#include "base/log.h"
#include "net/fetch.h"
#include "net/jobs.h"
#include "service/catalog.h"
#include "service/metrics.h"
#include "service/timebox.h"
#include "service/unit.h"
#include "service/upstreams.h"

#define CONNECTIONS 16
#define ARENA_BYTES (32u << 20)
#define CONNECT_TIMEOUT_MS 10000
#define STALL_TIMEOUT_MS 60000
#define DOCUMENT_TIMEOUT_MS 120000
#define LOCAL_BYTES 262144 /* of a file, at once */

struct pull { /* one want */
	struct pull *prev, *next;
	struct upstream_in *in;
	const struct upstream_want *want;
	struct fetch *fetch;
	char url[UPSTREAM_URL_BYTES];
	unsigned redirects;
	char location[UPSTREAM_URL_BYTES]; /* of a redirect that was just answered */
	char *etag;
	/* of contents */
	struct upload *upload;
	int64_t from;        /* offset that was asked for */
	bool is_whole_asked; /* the server does not do ranges */
	int fd;              /* of a local file; -1 */
	enum upstream_fault fault; /* found in a callback */
	char detail[256];
	bool is_passed_over; /* the body of an answer that is no content */
	bool is_writing;     /* its last job is under way */
};

struct upstream_in {
	struct services *s;
	struct jobs *jobs;
	struct fetch_pool *pool;
	struct arena *arena; /* of what callbacks do */
	struct pull *pulls;
	bool is_stopped;
};

struct write_job {
	struct upstream_in *in;
	struct blob_job *job;
	struct pull *pull; /* waits for it; NULL: nobody */
};

static struct call call_of(struct upstream_in *x, struct fault *f)
{
	arena_reset(x->arena);
	*f = (struct fault){"", ""};
	return (struct call){.s = x->s, .arena = x->arena, .fault = f, .who = &principal_server, .now_ms = clock_wall_ms()};
}

static void free_pull(struct pull *p)
{
	if (p->prev != NULL)
		p->prev->next = p->next;
	else
		p->in->pulls = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	if (p->fd >= 0)
		close(p->fd);
	free(p->etag);
	free(p);
}

static void note(struct pull *p, enum upstream_fault fault, const char *detail)
{
	if (p->fault != UPSTREAM_FAULT_NONE)
		return;
	p->fault = fault;
	snprintf(p->detail, sizeof p->detail, "%s", detail);
}

static void start(struct pull *p);

/* ---- uploads ---- */

static void run_job(void *ctx)
{
	struct write_job *w = ctx;
	blob_job_run(w->job);
}

static void content_over(struct pull *p, int64_t retry_after_ms)
{
	struct fault f;
	struct call c = call_of(p->in, &f);
	upstreams_on_content(&c, p->want, p->fault, p->detail, retry_after_ms);
	free_pull(p);
}

static void job_done(void *ctx)
{
	struct write_job *w = ctx;
	struct upstream_in *x = w->in;
	struct pull *p = w->pull;
	struct artifact_row row = {0};
	struct fault f;
	struct call c = call_of(x, &f);
	enum err result = ERR_OK, e = unit_begin(x->s, &f);
	if (e == ERR_OK)
		e = unit_end(x->s, catalog_end_job(&c, w->job, &row, &result), &f);
	else
		catalog_drop_job(&c, w->job, false);
	free(w);
	if (p == NULL)
		return;
	result = e == ERR_OK ? result : e;
	if (result == ERR_INVALID)
		note(p, row.facts_state != NULL && strcmp(row.facts_state, "refused") == 0 ? UPSTREAM_FAULT_FILE : UPSTREAM_FAULT_CONTENT, f.detail);
	else if (result != ERR_OK && result != ERR_NOT_FOUND) /* deleted meanwhile: the next step sees it */
		note(p, UPSTREAM_FAULT_UNREACHABLE, f.detail);
	content_over(p, 0);
}

static bool submit(struct upstream_in *x, struct blob_job *job, struct pull *p)
{
	struct write_job *w = calloc(1, sizeof *w);
	if (w == NULL)
		abort();
	*w = (struct write_job){x, job, p};
	if (jobs_submit(x->jobs, run_job, job_done, w) == ERR_OK)
		return true;
	struct fault f;
	struct call c = call_of(x, &f);
	free(w);
	catalog_drop_job(&c, job, true);
	return false;
}

/* What came is kept where it is not all. */
static void cut_upload(struct pull *p)
{
	struct blob_job *job = NULL;
	struct fault f;
	struct call c = call_of(p->in, &f);
	if (p->upload == NULL)
		return;
	catalog_abort_upload(&c, p->upload, &job);
	p->upload = NULL;
	if (job != NULL)
		(void)!submit(p->in, job, NULL);
}

static bool open_upload(struct pull *p, int64_t first)
{
	struct fault f;
	struct call c = call_of(p->in, &f);
	struct artifact_row row;
	enum err e = unit_begin(p->in->s, &f);
	if (e == ERR_OK)
		e = unit_end(p->in->s, catalog_begin_upload(&c, p->want->artifact, first, -1, &p->upload), &f);
	if (e == ERR_OK)
		e = catalog_find_artifact(&c, p->want->artifact, &row);
	if (e != ERR_OK) {
		note(p, UPSTREAM_FAULT_UNREACHABLE, f.detail);
		return false;
	}
	p->from = row.received_bytes;
	return true;
}

static bool write_upload(struct pull *p, const void *data, size_t len)
{
	struct fault f = {"", ""};
	enum err e = catalog_write_upload(p->upload, data, len, &f);
	if (e != ERR_OK) {
		note(p, e == ERR_TOO_LARGE ? UPSTREAM_FAULT_TOO_LARGE : UPSTREAM_FAULT_UNREACHABLE, f.detail);
		return false;
	}
	metric_add(METER_UPSTREAM_BYTES, (int64_t)len);
	struct blob_job *job = catalog_progress_job(p->upload);
	if (job != NULL)
		(void)!submit(p->in, job, NULL); /* only progress is not noted; the next one may be */
	return true;
}

/* The bytes came; whole or not, that is what the catalog finds out. */
static void finish_upload(struct pull *p)
{
	struct blob_job *job = NULL;
	struct fault f;
	struct call c = call_of(p->in, &f);
	enum err e = catalog_finish_upload(&c, p->upload, &job);
	p->upload = NULL;
	if (e != ERR_OK || job == NULL) {
		note(p, UPSTREAM_FAULT_UNREACHABLE, e != ERR_OK ? f.detail : "fewer bytes came than were told");
	} else if (job->kind != BLOB_PUBLISH) {
		note(p, UPSTREAM_FAULT_UNREACHABLE, "fewer bytes came than were told");
		(void)!submit(p->in, job, NULL);
	} else {
		p->is_writing = true;
		if (submit(p->in, job, p))
			return;
		note(p, UPSTREAM_FAULT_UNREACHABLE, "too much work is waiting for the disk");
	}
	content_over(p, 0);
}

/* ---- over HTTPS ---- */

static bool may_call(void *ctx, const struct sockaddr *address)
{
	const struct upstream_in *x = ctx;
	struct ip_address a;
	if (!ip_from_sockaddr(address, &a))
		return false;
	return ip_is_public(&a) || (x->s->upstream_allow != NULL && ip_networks_have(x->s->upstream_allow, &a));
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool on_head(void *ctx, const struct fetch *fetch, int status)
{
	struct pull *p = ctx;
	const char *location = fetch_header(fetch, "Location"), *etag = fetch_header(fetch, "ETag");
	p->location[0] = '\0';
	p->is_passed_over = status != 200 && status != 206;
	if (is_redirect(status)) {
		if (location == NULL || !upstream_url_join(p->url, location, p->location))
			note(p, UPSTREAM_FAULT_REDIRECT, "it leads to what is no https:// address");
		return p->fault == UPSTREAM_FAULT_NONE;
	}
	if (!p->want->is_content && status == 200 && etag != NULL) {
		free(p->etag);
		p->etag = strdup(etag);
	}
	if (!p->want->is_content || status == 200 || status == 206) {
		long long first = -1;
		const char *range = fetch_header(fetch, "Content-Range");
		if (p->want->is_content && status == 206 && (range == NULL || sscanf(range, "bytes %lld-", &first) != 1 || first != p->from))
			note(p, UPSTREAM_FAULT_UNREACHABLE, "it sent another range than was asked for");
		if (p->want->is_content && status == 200 && p->from > 0) { /* no ranges here: from the beginning */
			cut_upload(p);
			(void)!open_upload(p, UPLOAD_WHOLE);
		}
	}
	return p->fault == UPSTREAM_FAULT_NONE;
}

static bool on_content(void *ctx, const void *data, size_t len)
{
	struct pull *p = ctx;
	if (p->is_passed_over)
		return true;
	return p->upload != NULL && write_upload(p, data, len);
}

static void document_over(struct pull *p, const struct fetch_result *r)
{
	struct fault f;
	struct call c = call_of(p->in, &f);
	struct upstream_answer a = {.fault = p->fault, .detail = p->detail, .status = r->status, .body = r->body, .body_len = r->body_len,
		.etag = p->etag, .retry_after_ms = r->retry_after_s * 1000};
	upstreams_on_document(&c, p->want, &a);
	free_pull(p);
}

/* Goes on where a redirect leads; true: it does. */
static bool follow(struct pull *p)
{
	if (p->location[0] == '\0' || p->fault != UPSTREAM_FAULT_NONE)
		return false;
	if (p->redirects >= UPSTREAM_REDIRECTS_MAX) {
		note(p, UPSTREAM_FAULT_REDIRECT, "there are too many redirects");
		return false;
	}
	p->redirects++;
	memcpy(p->url, p->location, sizeof p->url);
	start(p);
	return true;
}

static void judge(struct pull *p, const struct fetch_result *r)
{
	char text[200];
	bool is_good = r->status == 200 || (!p->want->is_content && r->status == 304) || (p->want->is_content && r->status == 206);
	if (r->is_forbidden)
		note(p, UPSTREAM_FAULT_ADDRESS, "the address may not be called: it is not public, and not in [upstreams] allow");
	else if (r->is_too_long)
		note(p, UPSTREAM_FAULT_TOO_LARGE, "the document is too long");
	else if (r->error != NULL)
		note(p, UPSTREAM_FAULT_UNREACHABLE, r->error);
	else if (!is_good && p->location[0] == '\0') {
		snprintf(text, sizeof text, "the upstream answered %d", r->status);
		note(p, UPSTREAM_FAULT_UNREACHABLE, text);
	}
}

static void on_done(void *ctx, const struct fetch_result *r)
{
	struct pull *p = ctx;
	p->fetch = NULL;
	judge(p, r);
	if (follow(p))
		return;
	if (!p->want->is_content) {
		document_over(p, r);
		return;
	}
	if (r->status == 416 && p->from > 0 && !p->is_whole_asked) { /* it has become shorter, or does not know */
		p->fault = UPSTREAM_FAULT_NONE;
		p->is_whole_asked = true;
		cut_upload(p);
		if (open_upload(p, UPLOAD_WHOLE)) {
			start(p);
			return;
		}
	}
	if (p->fault == UPSTREAM_FAULT_NONE && p->upload != NULL) {
		finish_upload(p);
		return;
	}
	cut_upload(p);
	content_over(p, r->retry_after_s * 1000);
}

static void start(struct pull *p)
{
	const char *headers[6], **h = headers;
	char etag[300];
	const struct upstream_want *w = p->want;
	*h++ = "User-Agent: aviaryd/" AVIARY_VERSION;
	*h++ = w->is_content ? "Accept: application/octet-stream, */*" : "Accept: application/json, application/xml, */*";
	*h++ = "Accept-Encoding: identity";
	if (w->header != NULL && upstream_url_same_origin(w->url, p->url))
		*h++ = w->header;
	if (w->etag != NULL && snprintf(etag, sizeof etag, "If-None-Match: %s", w->etag) < (int)sizeof etag)
		*h++ = etag;
	*h = NULL;
	struct fetch_request q = {.url = p->url, .headers = headers, .ca_file = w->ca_file, .may_call = may_call, .may_call_ctx = p->in,
		.connect_timeout_ms = CONNECT_TIMEOUT_MS, .stall_timeout_ms = STALL_TIMEOUT_MS, .on_head = on_head, .on_done = on_done, .ctx = p};
	if (w->is_content) {
		q.on_chunk = on_content;
		q.has_range = p->from > 0;
		q.range_from = (uint64_t)p->from;
	} else {
		q.timeout_ms = DOCUMENT_TIMEOUT_MS;
		q.max_body_bytes = UPSTREAM_DOCUMENT_BYTES;
	}
	p->location[0] = '\0';
	p->fetch = fetch_start(p->in->pool, &q);
}

/* ---- from a directory ---- */

static void open_local(struct pull *p)
{
	struct fault f = {"", ""};
	enum err e = upstreams_open_file(p->in->s->upstreams, p->want->url, &p->fd, &f);
	if (e != ERR_OK)
		note(p, e == ERR_FORBIDDEN ? UPSTREAM_FAULT_ADDRESS : UPSTREAM_FAULT_UNREACHABLE, f.detail);
	else if (lseek(p->fd, p->from, SEEK_SET) < 0)
		note(p, UPSTREAM_FAULT_UNREACHABLE, strerror(errno));
}

/* A piece of a file; true: there is more. */
static bool pump(struct pull *p, char *block)
{
	ssize_t n = p->fault == UPSTREAM_FAULT_NONE ? read(p->fd, block, LOCAL_BYTES) : -1;
	if (n > 0 && write_upload(p, block, (size_t)n))
		return true;
	if (n < 0)
		note(p, UPSTREAM_FAULT_UNREACHABLE, "the file cannot be read");
	if (p->fault == UPSTREAM_FAULT_NONE) {
		close(p->fd);
		p->fd = -1;
		finish_upload(p);
		return false;
	}
	cut_upload(p);
	content_over(p, 0);
	return false;
}

/* ---- time ---- */

static void begin(struct upstream_in *x, const struct upstream_want *want)
{
	struct pull *p = calloc(1, sizeof *p);
	if (p == NULL)
		abort();
	*p = (struct pull){.next = x->pulls, .in = x, .want = want, .fd = -1};
	if (p->next != NULL)
		p->next->prev = p;
	x->pulls = p;
	snprintf(p->url, sizeof p->url, "%s", want->is_local ? "" : want->url);
	if (!want->is_content) {
		start(p);
		return;
	}
	if (!open_upload(p, UPLOAD_REST)) {
		content_over(p, 0);
	} else if (p->from == want->size_bytes) {
		finish_upload(p); /* all of it had come before a kill */
	} else if (want->is_local) {
		open_local(p);
	} else {
		start(p);
	}
}

static bool pump_all(struct upstream_in *x)
{
	static char block[LOCAL_BYTES];
	struct timebox box = timebox_begin(TIMEBOX_NS);
	bool more = false;
	for (struct pull *p = x->pulls, *next; p != NULL; p = next) {
		next = p->next;
		bool is_local = p->want->is_local && p->want->is_content && !p->is_writing;
		while (is_local && pump(p, block)) {
			more = true;
			if (timebox_is_over(&box))
				return true;
		}
	}
	return more;
}

enum err upstream_in_step(struct upstream_in *x, struct call *c, bool *more)
{
	const struct upstream_want *want;
	if (x->is_stopped)
		return ERR_OK;
	enum err e = upstreams_tick(c, more);
	while (upstreams_take(x->s->upstreams, &want)) {
		begin(x, want);
		*more = true;
	}
	if (pump_all(x))
		*more = true;
	return e;
}

struct upstream_in *upstream_in_open(struct services *s, struct loop *loop, struct jobs *jobs)
{
	struct upstream_in *x = calloc(1, sizeof *x);
	if (x == NULL)
		abort();
	x->s = s;
	x->jobs = jobs;
	x->arena = arena_new(ARENA_BYTES);
	x->pool = fetch_pool_new(loop, CONNECTIONS);
	return x;
}

void upstream_in_stop(struct upstream_in *x)
{
	if (x == NULL || x->is_stopped)
		return;
	x->is_stopped = true;
	upstreams_end_checks(x->s->upstreams);
	for (struct pull *p = x->pulls; p != NULL; p = p->next) {
		if (p->fetch != NULL)
			fetch_cancel(p->fetch);
		p->fetch = NULL;
		cut_upload(p);
	}
}

void upstream_in_close(struct upstream_in *x)
{
	if (x == NULL)
		return;
	fetch_pool_free(x->pool);
	while (x->pulls != NULL) {
		upstreams_drop(x->pulls->want);
		free_pull(x->pulls);
	}
	arena_free(x->arena);
	free(x);
}
