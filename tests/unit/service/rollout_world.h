/* Rollouts on real files with a fake clock: a small fleet whose devices do what their desired document says, and whose telemetry is as good
 * as the release that they run.
 *
 * A kill drops the server between two steps: what was not committed is gone. Devices keep their memory.
 */
#ifndef AVIARY_TESTS_ROLLOUT_WORLD_H
#define AVIARY_TESTS_ROLLOUT_WORLD_H

#include "telemetry_world.h"

#include "base/crypto.h"
#include "base/json.h"
#include "core/deployment.h"
#include "service/catalog.h"
#include "service/releases.h"
#include "service/rollout_parts.h"
#include "service/rollout_spec.h"

#define DEVICES_MAX 80
#define STEP_MS 1000
#define OLD "old"
#define GOOD "good"
#define BAD "bad"

enum habit { WORKS, FAILS, IS_AWAY, ONLY_ACCEPTS, TELLS_NOTHING }; /* the last one works, without telemetry */

struct rig {
	struct fleet f; /* first: it is the state of the headers below it, too */
	size_t devices;
	struct agent {
		char id[16];
		const char *runs;
		int64_t counter, deployment, seq, telemetry_seq;
		int attempt;
		enum habit habit;
	} agents[DEVICES_MAX];
	int64_t rollout;
	bool backwards; /* devices take their turn from the last one to the first */
};

static inline struct call *rig_call(struct rig *r)
{
	return &r->f.w.c;
}

static inline void rig_must(struct rig *r, enum err e)
{
	if (e != ERR_OK)
		fail_msg("%s: %s %s", err_name(e), r->f.w.fault.pointer, r->f.w.fault.detail);
}

#define IN_UNIT(r, expression) \
	rig_must(r, unit_end(&(r)->f.w.s, (rig_must(r, unit_begin(&(r)->f.w.s, &(r)->f.w.fault)), (expression)), &(r)->f.w.fault))

static inline void rig_open(struct rig *r)
{
	struct catalog_limits limits = catalog_limits_default;
	limits.reserve_bytes = 0;
	fleet_start(&r->f);
	rig_must(r, catalog_open(r->f.w.s.db, r->f.w.dir, &limits, &r->f.w.s.catalog, &r->f.w.fault));
	registry_release_number(r->f.w.s.registry, OLD);
}

static inline void rig_kill(struct rig *r)
{
	int64_t now_ms = r->f.w.c.now_ms;
	catalog_close(r->f.w.s.catalog);
	fleet_stop(&r->f);
	world_stop(&r->f.w);
	memset(&r->f.w.s, 0, sizeof r->f.w.s);
	world_start(&r->f.w);
	rig_open(r);
	r->f.w.c.now_ms = now_ms;
	for (size_t i = 0; i < r->devices; i++)
		if (r->agents[i].habit != IS_AWAY)
			registry_set_online(r->f.w.s.registry, registry_find(r->f.w.s.registry, r->agents[i].id), true, now_ms);
}

/* A release of one version of one model, with content of its own. */
static inline void rig_release(struct rig *r, const char *name, const char *version)
{
	struct call *c = rig_call(r);
	struct model_row m;
	struct version_row v;
	struct artifact_row a;
	struct upload *u = NULL;
	struct blob_job *job = NULL;
	struct release_row release;
	enum err result = ERR_OK;
	char hex[SHA256_HEX];
	struct model_input model = {.name = "kws"};
	if (catalog_find_model(c, "kws", &m) != ERR_OK)
		IN_UNIT(r, catalog_create_model(c, &model, &m));
	IN_UNIT(r, catalog_create_version(c, &m, version, NULL, &v));
	crypto_sha256_hex(name, strlen(name), hex);
	struct artifact_input in = {.hardware = "*", .file_name = "m", .size_bytes = (int64_t)strlen(name), .sha256 = hex};
	IN_UNIT(r, catalog_declare_artifact(c, &m, &v, &in, &a));
	IN_UNIT(r, catalog_begin_upload(c, a.id, UPLOAD_WHOLE, (int64_t)strlen(name), &u));
	rig_must(r, catalog_write_upload(u, name, strlen(name), &r->f.w.fault));
	rig_must(r, catalog_finish_upload(c, u, &job));
	blob_job_run(job);
	IN_UNIT(r, catalog_end_job(c, job, &a, &result));
	struct component_input component = {"kws", version};
	struct release_input input = {.name = name, .components = &component, .component_count = 1};
	IN_UNIT(r, releases_create(c, &input, &release));
}

static inline void rig_report(struct rig *r, struct agent *a, const char *rest)
{
	char json[512];
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld%s}", (long long)++a->seq, rest);
	rig_must(r, ingest_report(rig_call(r), a->id, json, strlen(json)));
}

static inline void rig_runs(struct rig *r, struct agent *a, const char *release, int64_t counter, const char *rest)
{
	char json[400];
	a->runs = release;
	a->counter = counter;
	snprintf(json, sizeof json, ",\"running\":{\"release\":\"%s\",\"counter\":%lld}%s", release, (long long)counter, rest);
	rig_report(r, a, json);
}

static inline void rig_devices(struct rig *r, size_t count)
{
	static const char *const hardware[] = {"esp32s3", "rk3588"};
	for (size_t i = 0; i < count; i++) {
		struct agent *a = &r->agents[r->devices++];
		*a = (struct agent){.runs = OLD};
		snprintf(a->id, sizeof a->id, "dev-%zu", r->devices);
		struct device_state *d = world_device(&r->f.w, a->id, hardware[i % 2]);
		registry_set_online(r->f.w.s.registry, d, true, r->f.w.c.now_ms);
		rig_runs(r, a, OLD, 1, "");
	}
	world_commit(&r->f.w);
}

static inline int rig_setup(void **state)
{
	struct rig *r = calloc(1, sizeof *r);
	assert_non_null(r);
	strcpy(r->f.w.dir, "/tmp/aviary-rollout-XXXXXX");
	assert_non_null(mkdtemp(r->f.w.dir));
	snprintf(r->f.w.path, sizeof r->f.w.path, "%s/fleet.db", r->f.w.dir);
	snprintf(r->f.telemetry_path, sizeof r->f.telemetry_path, "%s/telemetry.db", r->f.w.dir);
	ingest_limits_init(&r->f.limits);
	r->f.limits.reports_per_second = r->f.limits.commands_per_second = 0;
	world_start(&r->f.w);
	rig_open(r);
	metric_set(METER_MQTT_CONNECTED, 1);
	rig_release(r, OLD, "1.0.0");
	rig_release(r, GOOD, "1.1.0");
	rig_release(r, BAD, "1.2.0");
	*state = r;
	return 0;
}

static inline int rig_teardown(void **state)
{
	struct rig *r = *state;
	char command[160];
	catalog_close(r->f.w.s.catalog);
	fleet_stop(&r->f);
	world_stop(&r->f.w);
	snprintf(command, sizeof command, "rm -rf %s", r->f.w.dir);
	assert_int_equal(system(command), 0);
	free(r);
	return 0;
}

/* ---- time passes ---- */

static inline void rig_commit(struct rig *r)
{
	world_commit(&r->f.w);
	arena_reset(r->f.w.c.arena);
}

static inline struct agent *rig_agent(struct rig *r, size_t turn)
{
	return &r->agents[r->backwards ? r->devices - 1 - turn : turn];
}

/* One report of each device that is there. 50 inferences: of the bad release fewer are right; devices differ, and drift. */
static inline void rig_telemetry(struct rig *r)
{
	for (size_t i = 0; i < r->devices; i++) {
		struct agent *a = rig_agent(r, i);
		char json[256];
		if (a->habit == IS_AWAY || a->habit == TELLS_NOTHING)
			continue;
		int64_t n = ++a->telemetry_seq;
		int64_t right = 44 + (a->id[4] * 7 + a->id[5] * 3 + n * 5) % 5 - (a->runs == (const char *)BAD ? 12 : 0);
		snprintf(json, sizeof json,
			"{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"%s\",\"metrics\":{\"accuracy\":{\"n\":50,\"k\":%lld}}}",
			(long long)n, a->runs, (long long)right);
		fleet_telemetry(&r->f, a->id, json);
	}
	if (telemetry_pending(r->f.w.s.telemetry) > 0)
		fleet_settle(&r->f);
}

/* Each device looks at its desired document and does at once what its habit is. */
static inline void rig_work(struct rig *r)
{
	static const char *const names[] = {OLD, GOOD, BAD};
	for (size_t i = 0; i < r->devices; i++) {
		struct agent *a = rig_agent(r, i);
		struct desired_target t;
		struct release_row release;
		struct device_state *d = registry_find(r->f.w.s.registry, a->id);
		if (a->habit == IS_AWAY || d == NULL)
			continue;
		rig_must(r, rollouts_desired(rig_call(r), d->row, &t));
		if (!t.has_deployment || (t.deployment == a->deployment && t.attempt == a->attempt))
			continue;
		a->deployment = t.deployment;
		a->attempt = t.attempt;
		const char *said = a->habit == FAILS ? "failed" : a->habit == ONLY_ACCEPTS ? "downloading" : "succeeded";
		char rest[200];
		snprintf(rest, sizeof rest, ",\"deployment\":{\"id\":\"d-%lld\",\"attempt\":%d,\"state\":\"%s\",\"progress\":7}",
			(long long)t.deployment, t.attempt, said);
		if (a->habit != WORKS && a->habit != TELLS_NOTHING) {
			rig_report(r, a, rest);
			continue;
		}
		rig_must(r, releases_get(rig_call(r), t.release, &release));
		assert_true(t.counter >= a->counter); /* or the device would refuse the manifest */
		for (size_t k = 0; k < 3; k++)
			if (strcmp(names[k], release.name) == 0)
				rig_runs(r, a, names[k], t.counter, rest);
	}
}

static inline void rig_tick(struct rig *r)
{
	bool more = true;
	r->f.w.c.now_ms += STEP_MS;
	for (int i = 0; more && i < 10000; i++) { /* a slow machine needs several pieces */
		enum err e = rollouts_tick(rig_call(r), &more);
		rig_must(r, e);
	}
	assert_false(more);
}

/* One second: the server decides, devices work and report. */
static inline void rig_step(struct rig *r)
{
	rig_tick(r);
	rig_commit(r);
	rig_work(r);
	rig_commit(r);
	rig_telemetry(r);
	arena_reset(r->f.w.c.arena);
}

static inline void rig_steps(struct rig *r, int count)
{
	while (count-- > 0)
		rig_step(r);
}

static inline struct rollout_rows rig_rows(struct rig *r)
{
	struct rollout_rows x;
	rig_must(r, rollout_load(rig_call(r), r->rollout, &x));
	return x;
}

static inline const char *rig_status(struct rig *r)
{
	return rollout_status_text(rig_rows(r).status);
}

static inline void rig_until(struct rig *r, const char *status, int steps)
{
	while (strcmp(rig_status(r), status) != 0) {
		if (steps-- == 0)
			fail_msg("is %s (%s), not %s", rig_status(r), rig_rows(r).row.reason, status);
		rig_step(r);
	}
}

/* ---- what an operator does ---- */

/* A request that fits a few dozen devices and a few seconds; `rest`: more members, with a comma before them. */
static inline enum err rig_try_create(struct rig *r, const char *release, const char *rest)
{
	char text[1000];
	struct json *root = NULL;
	struct rollout_request q;
	struct buf out = BUF_INIT;
	snprintf(text, sizeof text,
		"{\"name\":\"r\",\"release\":\"%s\"%s}", release, rest);
	rig_must(r, json_parse(text, strlen(text), &root, &r->f.w.fault));
	rollout_request_init(&q);
	q.start = true;
	q.soak_ms = 10000;
	q.timeout_ms = 20000;
	rig_must(r, json_bind(rollout_request_fields, root, &q, r->f.w.c.arena, &r->f.w.fault));
	json_free(root);
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	enum err e = rollouts_create(rig_call(r), &q, false, &out, &r->rollout);
	e = unit_end(&r->f.w.s, e, &r->f.w.fault);
	buf_done(&out);
	rig_commit(r);
	return e;
}

static inline void rig_create(struct rig *r, const char *release, const char *rest)
{
	rig_must(r, rig_try_create(r, release, rest));
}

static inline enum err rig_act(struct rig *r, enum rollout_command command)
{
	struct buf out = BUF_INIT;
	rig_must(r, unit_begin(&r->f.w.s, &r->f.w.fault));
	enum err e = unit_end(&r->f.w.s, rollouts_act(rig_call(r), r->rollout, command, &out), &r->f.w.fault);
	buf_done(&out);
	rig_commit(r);
	return e;
}

/* ---- what is there ---- */

static inline int64_t rig_count(struct rig *r, enum deployment_status state)
{
	int64_t sum = 0;
	struct rollout_rows x = rig_rows(r);
	for (size_t i = 0; i < x.stage_count; i++) {
		uint32_t counts[DEPLOYMENT_STATUS_COUNT];
		rig_must(r, deployment_counts(r->f.w.s.rollouts->deployments, r->rollout, (int64_t)i, counts, &r->f.w.fault));
		sum += counts[state];
	}
	return sum;
}

static inline int64_t rig_running(struct rig *r, const char *release)
{
	int64_t count = 0;
	for (size_t i = 0; i < r->devices; i++)
		count += strcmp(r->agents[i].runs, release) == 0;
	return count;
}

/* Everything that looks wrote, as text. */
static inline char *rig_looks(struct rig *r)
{
	struct buf out = BUF_INIT;
	json_open_array(&out);
	rig_must(r, rollouts_verdicts(rig_call(r), r->rollout, &out));
	json_close_array(&out);
	char *text = strdup(buf_cstr(&out));
	buf_done(&out);
	return text;
}

static inline bool rig_fires(struct rig *r, const char *kind)
{
	struct buf out = BUF_INIT;
	int64_t next;
	struct alert_filter q = {.status = "firing", .kind = kind, .limit = 10};
	json_open_array(&out);
	rig_must(r, alerts_list(rig_call(r), &q, &out, &next));
	json_close_array(&out);
	bool fires = strstr(buf_cstr(&out), kind) != NULL;
	buf_done(&out);
	return fires;
}

static inline struct deployment_row rig_deployment(struct rig *r, const char *device)
{
	struct deployment_row d;
	struct device_state *s = registry_find(r->f.w.s.registry, device);
	rig_must(r, deployment_newest(r->f.w.s.rollouts->deployments, s->row, &d, r->f.w.c.arena, &r->f.w.fault));
	return d;
}

#define GATE ",\"gates\":[{\"metric\":\"accuracy\"}],\"judge\":{\"alpha\":0.2,\"reports_planned\":16,\"controls_max\":3}," \
	"\"stages\":[{\"percent\":20},{\"percent\":100}]"

#endif
