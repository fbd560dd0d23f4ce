#include "service/running_hash.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "core/report.h"
#include "core/signature.h"
#include "service/alerts.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/selection.h"

static const char *cause(void)
{
	return signature_cause_name(SIGNATURE_MODEL_HASH_MISMATCH);
}

static const char *resource_of(struct call *c, const struct device_state *d)
{
	return arena_printf(c->arena, "devices/%s", d->id);
}

enum err running_hash_before(struct call *c, const struct device_state *d, const struct device_report *r, const char **before)
{
	int64_t revision;
	*before = NULL;
	if (r->running.hash_count == 0 || !alert_is_open(c->s->alerts, cause(), resource_of(c, d)))
		return ERR_OK;
	return registry_twin(c, d, TWIN_REPORTED, before, &revision);
}

/* The released artifact of a model for the device; NULL in *sha256: none is known. */
static enum err expected(struct call *c, const struct device_state *d, int64_t release, const char *model, const char **sha256)
{
	struct component_row *rows;
	struct artifact_row artifact;
	const char *parts = NULL;
	size_t count;
	*sha256 = NULL;
	enum err e = releases_components(c, release, &rows, &count);
	if (e == ERR_OK)
		e = selection_parts(c, d->row, release, &parts);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		if (strcmp(rows[i].model, model) != 0)
			continue;
		e = selection_artifact(c, d, parts, release, &rows[i], &artifact);
		*sha256 = e == ERR_OK ? artifact.sha256 : NULL;
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	return e;
}

static enum err raise(struct call *c, const struct device_state *d, const struct device_report *r, const struct report_hash *h, const char *wanted)
{
	struct signature_facts facts;
	struct signature_finding found[SIGNATURE_CAUSES];
	char sentence[SIGNATURE_SENTENCE_BYTES];
	struct buf data = BUF_INIT;
	signature_facts_init(&facts);
	facts.is_hash_mismatch = true;
	(void)signature_judge(&facts, found); /* the first rule of all */
	signature_sentence(&found[0], sentence, sizeof sentence);
	json_open_object(&data);
	json_str(&data, "cause", cause());
	json_str(&data, "release", r->running.release);
	json_str(&data, "model", h->model);
	json_str(&data, "expected", wanted);
	json_str(&data, "got", h->sha256);
	json_close_object(&data);
	enum err e = alert_raise(c, cause(), resource_of(c, d), (enum alert_severity)found[0].severity, sentence, buf_cstr(&data));
	buf_done(&data);
	return e;
}

static bool said_before(const char *before, const struct report_hash *h)
{
	struct fault f;
	struct json *root = NULL;
	bool is_same = before == NULL;
	if (before != NULL && json_parse(before, strlen(before), &root, &f) == ERR_OK) {
		const char *text = json_text(json_get(json_get(json_get(root, "running"), "hashes"), h->model));
		is_same = text == NULL || strcmp(text, h->sha256) == 0;
	}
	json_free(root);
	return is_same;
}

enum err running_hash_check(struct call *c, const struct device_state *d, const struct device_report *r, const char *before)
{
	struct release_row release;
	struct fault *fault = c->fault, quiet;
	bool is_news = false;
	if (r->running.hash_count == 0 || r->running.release[0] == '\0')
		return ERR_OK;
	c->fault = &quiet; /* that something is not known is no fault */
	enum err e = releases_find(c, r->running.release, &release);
	c->fault = fault;
	if (e != ERR_OK)
		return e == ERR_NOT_FOUND ? ERR_OK : fault_set(fault, e, "", "%s", quiet.detail);
	for (unsigned i = 0; i < r->running.hash_count; i++) {
		const struct report_hash *h = &r->running.hashes[i];
		const char *wanted;
		c->fault = &quiet;
		e = expected(c, d, release.id, h->model, &wanted);
		c->fault = fault;
		if (e != ERR_OK)
			return fault_set(fault, e, "", "%s", quiet.detail);
		if (wanted != NULL && strcmp(wanted, h->sha256) != 0)
			return raise(c, d, r, h, wanted);
		is_news = is_news || (wanted != NULL && !said_before(before, h));
	}
	return is_news ? alert_resolve(c, cause(), resource_of(c, d)) : ERR_OK;
}
