/* /api/v1/backup */
#include <stddef.h>
#include <stdlib.h>

#include "api/state.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "net/jobs.h"
#include "service/access.h"
#include "service/backup.h"
#include "service/unit.h"

struct backup_reply {
	const char *path;
	int64_t size_bytes, artifacts, duration_ms;
};

#define AT(member) .offset = offsetof(struct backup_reply, member), .flags = FIELD_READONLY
static const struct field fields[] = {
	{.name = "path", .type = FIELD_STR, AT(path), .doc = "directory on the server; its content is a state directory"},
	{.name = "size_bytes", .type = FIELD_INT, AT(size_bytes), .doc = "of both databases"},
	{.name = "artifacts", .type = FIELD_INT, AT(artifacts), .doc = "artifacts in it, as hard links"},
	{.name = "duration_ms", .type = FIELD_INT, AT(duration_ms), .doc = "how long it took"},
	{.name = NULL},
};

struct running_backup {
	struct backup_job job; /* all that the thread sees */
	struct api_request *rq;
	int64_t started_mono_ms;
};

static void work(void *ctx)
{
	struct running_backup *b = ctx;
	backup_run(&b->job);
}

static enum err finish(struct running_backup *b)
{
	struct api_request *rq = b->rq;
	struct call *c = &rq->call;
	if (b->job.result != ERR_OK) {
		*c->fault = b->job.fault;
		return b->job.result;
	}
	struct backup_reply reply = {arena_printf(c->arena, "%s/backup/%s", b->job.state_dir, b->job.name),
		b->job.size_bytes, b->job.artifacts,
	                             clock_mono_ms() - b->started_mono_ms};
	json_encode(fields, &reply, &rq->out);
	enum err e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, audit_append(c, "backup.create", arena_printf(c->arena, "backup/%s", b->job.name), NULL,
			buf_cstr(&rq->out)), c->fault);
	return e;
}

static void done(void *ctx)
{
	struct running_backup *b = ctx;
	struct api_request *rq = b->rq;
	rq->api->is_backing_up = false;
	enum err e = finish(b);
	log_event(e == ERR_OK ? LOG_INFO : LOG_ERROR, "backup.done", "name=%s result=%s ms=%lld detail=%s", b->job.name,
		err_name(e),
	          (long long)(clock_mono_ms() - b->started_mono_ms), log_quote(rq->call.fault->detail));
	free(b);
	api_finish(rq, e);
}

static enum err make_backup(struct api_request *rq)
{
	if (rq->api->is_backing_up)
		return fault_set(rq->call.fault, ERR_CONFLICT, "", "a backup is running");
	struct running_backup *b = calloc(1, sizeof *b);
	if (b == NULL)
		abort();
	b->rq = rq;
	b->started_mono_ms = clock_mono_ms();
	b->job.now_ms = rq->call.now_ms;
	enum err e = str_copy(b->job.state_dir, sizeof b->job.state_dir, rq->call.s->state_dir) ? ERR_OK : ERR_INTERNAL;
	if (e == ERR_OK)
		e = jobs_submit(api_jobs(rq), work, done, b);
	if (e != ERR_OK) {
		free(b);
		return fault_set(rq->call.fault, e, "", "too many jobs are running");
	}
	rq->api->is_backing_up = true;
	rq->deferred = true;
	return ERR_OK;
}

extern const struct route routes_backup[];
const struct route routes_backup[] = {
	{.method = "POST", .path = "/api/v1/backup", .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_CREATED,
	 .summary = "makes an online backup in the state directory", .tag = "system", .reply = fields,
		.handle = make_backup},
	{.method = NULL},
};
