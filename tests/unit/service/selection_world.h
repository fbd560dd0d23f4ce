/* The rollouts' world with variants: profiles and choices are open, and releases have several artifacts for a class of hardware. */
#ifndef AVIARY_TESTS_SELECTION_WORLD_H
#define AVIARY_TESTS_SELECTION_WORLD_H

#include "rollout_world.h"

#include "service/profiles.h"
#include "service/selection.h"

struct piece { /* an artifact */
	const char *hardware, *variant, *declared;
	int64_t bytes;
};

static inline void choice_open(struct rig *r)
{
	rig_must(r, selection_open(&r->f.w.s, &r->f.w.s.selection, &r->f.w.fault));
	rig_must(r, profiles_open(&r->f.w.s, &r->f.w.s.profiles, &r->f.w.fault));
}

static inline void choice_close(struct rig *r)
{
	profiles_close(r->f.w.s.profiles);
	selection_close(r->f.w.s.selection);
	r->f.w.s.profiles = NULL;
	r->f.w.s.selection = NULL;
}

/* What was not committed is gone, as is all memory. */
static inline void choice_kill(struct rig *r)
{
	choice_close(r);
	rig_kill(r);
	choice_open(r);
}

static inline int choice_setup(void **state)
{
	int failed = rig_setup(state);
	choice_open(*state);
	return failed;
}

static inline int choice_teardown(void **state)
{
	choice_close(*state);
	return rig_teardown(state);
}

static inline int64_t add_piece(struct rig *r, const struct model_row *m, const struct version_row *v, const char *text, const struct piece *p)
{
	struct call *c = rig_call(r);
	struct artifact_row a;
	struct upload *u = NULL;
	struct blob_job *job = NULL;
	enum err result = ERR_OK;
	char hex[SHA256_HEX], *bytes = calloc(1, (size_t)p->bytes + 1);
	memset(bytes, '.', (size_t)p->bytes);
	snprintf(bytes, (size_t)p->bytes, "%s-%s-%s", text, p->hardware, p->variant);
	crypto_sha256_hex(bytes, (size_t)p->bytes, hex);
	struct artifact_input in = {.hardware = p->hardware, .file_name = "m", .variant = p->variant, .size_bytes = p->bytes, .sha256 = hex,
		.declared = p->declared};
	IN_UNIT(r, catalog_declare_artifact(c, m, v, &in, &a));
	IN_UNIT(r, catalog_begin_upload(c, a.id, UPLOAD_WHOLE, p->bytes, &u));
	rig_must(r, catalog_write_upload(u, bytes, (size_t)p->bytes, &r->f.w.fault));
	rig_must(r, catalog_finish_upload(c, u, &job));
	blob_job_run(job);
	IN_UNIT(r, catalog_end_job(c, job, &a, &result));
	assert_string_equal(err_name(result), "OK");
	free(bytes);
	return a.id;
}

/* A version of kws and a release of it; a second release of the same version when `version` exists already. Row of the release. */
static inline int64_t make_release(struct rig *r, const char *name, const char *version, const struct piece *pieces, size_t count,
	const struct selection_objective *objective)
{
	struct call *c = rig_call(r);
	struct model_row m;
	struct version_row v;
	struct release_row release;
	struct component_input component = {"kws", version};
	struct release_input input = {.name = name, .components = &component, .component_count = 1};
	rig_must(r, catalog_find_model(c, "kws", &m));
	if (catalog_find_version(c, &m, version, &v) != ERR_OK)
		IN_UNIT(r, catalog_create_version(c, &m, version, NULL, &v));
	for (size_t i = 0; i < count; i++)
		add_piece(r, &m, &v, name, &pieces[i]);
	IN_UNIT(r, releases_create(c, &input, &release));
	if (objective != NULL)
		IN_UNIT(r, selection_set_objective(c, release.id, objective));
	rig_commit(r);
	return release.id;
}

static inline struct device_state *device_of(struct rig *r, const char *id)
{
	return registry_find(r->f.w.s.registry, id);
}

/* What it would be handed out of the release; "" when it has to wait or nothing serves: then *d says why. */
static inline const char *offered(struct rig *r, const char *id, int64_t release, struct deployment_row *d, enum selection_outcome *outcome)
{
	static char variant[80];
	struct call *c = rig_call(r);
	struct component_row *components;
	struct artifact_row a;
	size_t count;
	*d = (struct deployment_row){.device = device_of(r, id)->row, .kind = DEPLOYMENT_INSTALL};
	IN_UNIT(r, selection_offer(c, d, release, outcome));
	variant[0] = '\0';
	if (*outcome != SELECTION_GO)
		return variant;
	rig_must(r, releases_components(c, release, &components, &count));
	rig_must(r, selection_artifact(c, device_of(r, id), d->parts, release, &components[0], &a));
	snprintf(variant, sizeof variant, "%s", a.variant);
	return variant;
}

static inline const char *variant_for(struct rig *r, const char *id, int64_t release)
{
	struct deployment_row d;
	enum selection_outcome outcome;
	return offered(r, id, release, &d, &outcome);
}

/* It gets the release as it is offered now, and runs it. */
static inline void install(struct rig *r, const char *id, int64_t release)
{
	struct deployment_row d;
	enum selection_outcome outcome;
	(void)offered(r, id, release, &d, &outcome);
	assert_int_equal(outcome, SELECTION_GO);
	IN_UNIT(r, selection_installed(rig_call(r), d.device, release, d.parts));
	rig_commit(r);
}

static inline void tell(struct rig *r, const char *id, const char *version, const char *metrics)
{
	static int64_t seq;
	char json[400];
	snprintf(json, sizeof json, "{\"boot\":\"b\",\"seq\":%lld,\"model\":\"kws\",\"version\":\"%s\",\"metrics\":{%s}}", (long long)++seq, version, metrics);
	fleet_telemetry(&r->f, id, json);
}

/* 30 inferences of so many milliseconds each, and so many millijoules. */
static inline void measure(struct rig *r, const char *id, const char *version, double latency_ms, double energy_mj)
{
	char metrics[300];
	snprintf(metrics, sizeof metrics, "\"latency_ms\":{\"sketch\":{\"%d\":30}},\"energy_mj\":{\"n\":30,\"sum\":%g},\"accuracy\":{\"n\":30,\"k\":27}",
		ddsketch_key(latency_ms), 30 * energy_mj);
	tell(r, id, version, metrics);
	fleet_settle(&r->f);
}

static inline struct profiled figures_of(struct rig *r, const char *hardware, const char *version, const char *variant, unsigned cell)
{
	struct call *c = rig_call(r);
	struct model_row m;
	struct version_row v;
	struct artifact_row *rows;
	size_t count;
	struct profiled out;
	struct profile_question q = {.hardware = hardware, .model = "kws", .version = version, .variant = variant, .cell = cell};
	rig_must(r, catalog_find_model(c, "kws", &m));
	rig_must(r, catalog_find_version(c, &m, version, &v));
	rig_must(r, catalog_list_artifacts(c, &v, &rows, &count));
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].variant, variant) == 0 && (strcmp(rows[i].hardware, hardware) == 0 || strcmp(rows[i].hardware, "*") == 0))
			q.artifact = rows[i].id;
	rig_must(r, profiles_find(c, &q, &out));
	return out;
}

#endif
