/* Actions as devices see them: documents, feedback, cancelling, confirming. */
#include <string.h>

#include "api/ddi_inside.h"
#include "base/str.h"
#include "net/http.h"

#define HISTORY_MAX 100

/* ---- documents ---- */

static enum err history_limit(struct ddi_request *rq, int64_t *limit)
{
	const char *text = http_query(rq->http, "actionHistory");
	*limit = 0;
	if (text == NULL || text[0] == '\0')
		return ERR_OK;
	bool is_negative = text[0] == '-';
	const char *digits = text + is_negative;
	if (digits[0] == '\0' || strspn(digits, "0123456789") != strlen(digits))
		return fault_set(&rq->fault, ERR_BAD_REQUEST, "", "actionHistory is a number");
	for (; *digits != '\0' && *limit < HISTORY_MAX; digits++)
		*limit = *limit * 10 + *digits - '0';
	if ((is_negative && *limit > 0) || *limit > HISTORY_MAX)
		*limit = HISTORY_MAX;
	return ERR_OK;
}

static void put_upper(struct buf *out, const char *key, const char *text)
{
	char upper[32];
	size_t n = 0;
	for (; text[n] != '\0' && n < sizeof upper - 1; n++)
		upper[n] = text[n] >= 'a' && text[n] <= 'z' ? (char)(text[n] - 32) : text[n];
	upper[n] = '\0';
	json_str(out, key, upper);
}

/* What the device said itself, newest first; what the server wrote is left out. */
static enum err put_history(struct ddi_request *rq, const struct action_view *view)
{
	struct action_note *notes;
	size_t count;
	int64_t limit;
	enum err e = history_limit(rq, &limit);
	if (e != ERR_OK || limit == 0)
		return e;
	e = actions_notes(&rq->call, view->id, 0, limit, true, &notes, &count, NULL);
	if (e != ERR_OK)
		return e;
	json_key(&rq->out, "actionHistory");
	json_open_object(&rq->out);
	put_upper(&rq->out, "status", action_status_text(view->status));
	json_key(&rq->out, "messages");
	json_open_array(&rq->out);
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < notes[i].messages.count; k++)
			if (!str_starts(notes[i].messages.items[k], DDI_SERVER_PREFIX))
				json_put_str(&rq->out, notes[i].messages.items[k]);
	json_close_array(&rq->out);
	json_close_object(&rq->out);
	return ERR_OK;
}

static void put_chunk(struct ddi_request *rq, const struct action_chunk *k, const char *base, bool is_https)
{
	json_open_object(&rq->out);
	json_str(&rq->out, "part", k->part);
	json_str(&rq->out, "version", k->version);
	json_str(&rq->out, "name", k->name);
	json_key(&rq->out, "artifacts");
	json_open_array(&rq->out);
	for (size_t i = 0; i < k->count; i++)
		ddi_put_file(rq, base, is_https, k->module, &k->files[i]);
	json_close_array(&rq->out);
	json_close_object(&rq->out);
}

static enum err show(struct ddi_request *rq, enum action_base which, const char *key)
{
	struct action_document doc;
	char base[DDI_BASE_MAX];
	bool is_https;
	int64_t action;
	enum err e = ddi_number(rq, 0, &action);
	if (e == ERR_OK && !ddi_write_base(rq->ddi, rq->http, rq->tenant, rq->id, base, &is_https))
		e = fault_set(&rq->fault, ERR_BAD_REQUEST, "", "the request says no host that links could name");
	if (e == ERR_OK)
		e = actions_document(&rq->call, rq->device, action, which, &doc);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	json_str(&rq->out, "id", arena_printf(rq->call.arena, "%lld", (long long)action));
	json_key(&rq->out, key);
	json_open_object(&rq->out);
	json_str(&rq->out, "download", doc.download);
	json_str(&rq->out, "update", doc.update);
	if (doc.window != ACTION_WINDOW_NONE)
		json_str(&rq->out, "maintenanceWindow", doc.window == ACTION_WINDOW_OPEN ? "available" : "unavailable");
	json_key(&rq->out, "chunks");
	json_open_array(&rq->out);
	for (size_t i = 0; i < doc.count; i++)
		put_chunk(rq, &doc.chunks[i], base, is_https);
	json_close_array(&rq->out);
	json_close_object(&rq->out);
	e = put_history(rq, &doc.view);
	json_close_object(&rq->out);
	return e;
}

static enum err get_deployment(struct ddi_request *rq)
{
	return show(rq, ACTION_BASE_DEPLOYMENT, "deployment");
}

static enum err get_installed(struct ddi_request *rq)
{
	return show(rq, ACTION_BASE_INSTALLED, "deployment");
}

static enum err get_confirmation(struct ddi_request *rq)
{
	return show(rq, ACTION_BASE_CONFIRMATION, "confirmation");
}

/* ---- feedback ---- */

static enum err bad(struct ddi_request *rq, const char *what)
{
	return fault_set(&rq->fault, ERR_BAD_REQUEST, "", "%s", what);
}

/* A list of texts; a scalar stands for a list of one. */
static enum err read_details(struct ddi_request *rq, const struct json *j, struct json_strs *out)
{
	*out = (struct json_strs){.count = 0};
	if (j == NULL || json_type(j) == JSON_NULL)
		return ERR_OK;
	if (json_type(j) == JSON_OBJECT)
		return bad(rq, "details is a list of texts");
	bool is_list = json_type(j) == JSON_ARRAY;
	out->items = arena_array(rq->call.arena, is_list ? json_count(j) : 1, sizeof *out->items);
	for (const struct json *m = is_list ? json_first(j) : j; m != NULL; m = is_list ? json_next(m) : NULL) {
		struct buf b = BUF_INIT;
		if (json_type(m) == JSON_OBJECT || json_type(m) == JSON_ARRAY)
			return bad(rq, "details is a list of texts");
		if (json_type(m) == JSON_NULL)
			continue;
		if (json_type(m) != JSON_STRING)
			json_print(m, &b);
		out->items[out->count++] = arena_strdup(rq->call.arena, json_type(m) == JSON_STRING ? json_text(m) : buf_cstr(&b));
		buf_done(&b);
	}
	return ERR_OK;
}

static enum err read_int(struct ddi_request *rq, const struct json *j, const char *what, bool *has, int64_t *out)
{
	*has = false;
	if (j == NULL || json_type(j) == JSON_NULL)
		return ERR_OK;
	if (!json_is_integer(j, out))
		return fault_set(&rq->fault, ERR_BAD_REQUEST, "", "%s is a whole number", what);
	*has = true;
	return ERR_OK;
}

static enum err read_result(struct ddi_request *rq, const struct json *result, struct action_feedback *fb)
{
	bool has;
	if (result == NULL || json_type(result) == JSON_NULL)
		return ERR_OK; /* none */
	const char *finished = json_text(json_get(result, "finished"));
	const struct json *progress = json_get(result, "progress");
	if (json_type(result) != JSON_OBJECT || (json_get(result, "finished") != NULL && finished == NULL))
		return bad(rq, "status.result is an object with finished: success, failure or none");
	if (finished != NULL && !ddi_finished_parse(finished, &fb->finished))
		return bad(rq, "status.result.finished is success, failure or none");
	if (progress == NULL || json_type(progress) != JSON_OBJECT)
		return ERR_OK;
	enum err e = read_int(rq, json_get(progress, "cnt"), "progress.cnt", &has, &fb->done);
	return e == ERR_OK ? read_int(rq, json_get(progress, "of"), "progress.of", &has, &fb->of) : e;
}

static enum err read_feedback(struct ddi_request *rq, struct action_feedback *fb)
{
	bool has;
	*fb = (struct action_feedback){.finished = DDI_NONE};
	const struct json *status = json_get(rq->json, "status");
	if (status == NULL || json_type(status) != JSON_OBJECT)
		return bad(rq, "a JSON object with status is wanted");
	const char *execution = json_text(json_get(status, "execution"));
	if (execution == NULL || !ddi_execution_parse(execution, &fb->execution))
		return bad(rq, "status.execution is closed, proceeding, canceled, scheduled, rejected, resumed, downloaded or download");
	enum err e = read_result(rq, json_get(status, "result"), fb);
	if (e == ERR_OK)
		e = read_int(rq, json_get(status, "code"), "status.code", &fb->has_code, &fb->code);
	if (e == ERR_OK)
		e = read_int(rq, json_get(rq->json, "timestamp"), "timestamp", &has, &fb->at);
	return e == ERR_OK ? read_details(rq, json_get(status, "details"), &fb->details) : e;
}

static enum err post_feedback(struct ddi_request *rq)
{
	struct action_feedback fb;
	int64_t action;
	enum err e = ddi_number(rq, 0, &action);
	if (e == ERR_OK)
		e = read_feedback(rq, &fb);
	return e == ERR_OK ? actions_feedback(&rq->call, rq->device, action, &fb) : e;
}

/* ---- cancelling ---- */

static enum err get_cancel(struct ddi_request *rq)
{
	int64_t action;
	enum err e = ddi_number(rq, 0, &action);
	if (e == ERR_OK)
		e = actions_cancel_read(&rq->call, rq->device, action);
	if (e != ERR_OK)
		return e;
	buf_printf(&rq->out, "{\"id\":\"%lld\",\"cancelAction\":{\"stopId\":\"%lld\"}}", (long long)action, (long long)action);
	return ERR_OK;
}

static enum err post_cancel(struct ddi_request *rq)
{
	struct action_feedback fb;
	int64_t action;
	enum err e = ddi_number(rq, 0, &action);
	if (e == ERR_OK)
		e = read_feedback(rq, &fb);
	return e == ERR_OK ? actions_cancel_feedback(&rq->call, rq->device, action, &fb) : e;
}

/* ---- confirming ---- */

static enum err get_confirmations(struct ddi_request *rq)
{
	struct auto_confirm now;
	struct action_offer offer;
	char base[DDI_BASE_MAX];
	bool is_https;
	enum err e = actions_auto_confirm(&rq->call, rq->device, &now);
	if (e == ERR_OK)
		e = actions_poll(&rq->call, rq->device, &offer);
	if (e == ERR_OK && !ddi_write_base(rq->ddi, rq->http, rq->tenant, rq->id, base, &is_https))
		e = fault_set(&rq->fault, ERR_BAD_REQUEST, "", "the request says no host that links could name");
	if (e != ERR_OK)
		return e;
	struct buf *out = &rq->out;
	json_open_object(out);
	json_key(out, "autoConfirm");
	json_open_object(out);
	json_bool(out, "active", now.is_active);
	if (now.initiator != NULL)
		json_str(out, "initiator", now.initiator);
	if (now.remark != NULL)
		json_str(out, "remark", now.remark);
	if (now.is_active)
		json_int(out, "activatedAt", now.activated_at);
	json_close_object(out);
	const char *toggle = now.is_active ? "deactivateAutoConfirm" : "activateAutoConfirm";
	buf_printf(out, ",\"_links\":{\"%s\":{\"href\":\"%s/confirmationBase/%s\"}", toggle, base, toggle);
	if (offer.kind == OFFER_CONFIRMATION)
		buf_printf(out, ",\"confirmationBase\":{\"href\":\"%s/confirmationBase/%lld?c=%d\"}", base, (long long)offer.action, (int)offer.hash);
	buf_str(out, "}}");
	return ERR_OK;
}

static enum err post_confirmation(struct ddi_request *rq)
{
	struct action_feedback fb = {.finished = DDI_NONE};
	int64_t action;
	enum err e = ddi_number(rq, 0, &action);
	const char *word = json_text(json_get(rq->json, "confirmation"));
	bool is_confirmed = word != NULL && strcmp(word, "confirmed") == 0;
	if (e == ERR_OK && !is_confirmed && (word == NULL || strcmp(word, "denied") != 0))
		e = bad(rq, "confirmation is confirmed or denied");
	if (e == ERR_OK)
		e = read_int(rq, json_get(rq->json, "code"), "code", &fb.has_code, &fb.code);
	if (e == ERR_OK)
		e = read_details(rq, json_get(rq->json, "details"), &fb.details);
	return e == ERR_OK ? actions_confirm(&rq->call, rq->device, action, is_confirmed, &fb) : e;
}

static enum err post_auto_on(struct ddi_request *rq)
{
	return actions_auto_confirm_on(&rq->call, rq->device, json_text(json_get(rq->json, "initiator")), json_text(json_get(rq->json, "remark")));
}

static enum err post_auto_off(struct ddi_request *rq)
{
	return actions_auto_confirm_off(&rq->call, rq->device);
}

const struct ddi_route ddi_action_routes[] = {
	{"GET", "deploymentBase/{}", get_deployment, false},
	{"POST", "deploymentBase/{}/feedback", post_feedback, true},
	{"GET", "cancelAction/{}", get_cancel, false},
	{"POST", "cancelAction/{}/feedback", post_cancel, true},
	{"GET", "installedBase/{}", get_installed, false},
	{"GET", "confirmationBase", get_confirmations, false},
	{"POST", "confirmationBase/activateAutoConfirm", post_auto_on, true},
	{"POST", "confirmationBase/deactivateAutoConfirm", post_auto_off, true},
	{"GET", "confirmationBase/{}", get_confirmation, false},
	{"POST", "confirmationBase/{}/feedback", post_confirmation, true},
	{NULL, NULL, NULL, false},
};
