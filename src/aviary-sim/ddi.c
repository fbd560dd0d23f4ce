/* Requests and polls of a simulated device that speaks DDI. */
#include "ddi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "ddi_inside.h"

#define TIMEOUT_MS 30000
#define TOKEN_LETTERS 32
#define JITTER 0.1 /* real clocks differ, and so do the moments at which devices were switched on */

/* ---- requests ---- */

const char *ddi_url(const struct ddi *x, const char *path)
{
	static char url[DDI_URL_MAX];
	const struct options *o = &x->device->sim->options;
	snprintf(url, sizeof url, "%s/%s/controller/v1/%s%s", o->http_url, o->tenant, x->device->id, path);
	return url;
}

const char *ddi_authorization(const struct ddi *x)
{
	static char header[200];
	const char *gateway = x->device->sim->options.gateway_token;
	snprintf(header, sizeof header, "Authorization: %s %s", gateway ? "GatewayToken" : "TargetToken", gateway ? gateway : x->token);
	return header;
}

static void on_talked(void *ctx, const struct fetch_result *result)
{
	struct ddi *x = ctx;
	struct json *body = NULL;
	struct fault f;
	x->talk = NULL;
	if (!result->error && result->body_len > 0 && json_parse(result->body, result->body_len, &body, &f))
		body = NULL;
	x->on_reply(x, result->error ? 0 : result->status, body);
	json_free(body);
}

static void ask(struct ddi *x, const char *method, const char *url, const char *authorization, const char *body, ddi_reply *on_reply)
{
	const char *headers[] = {authorization, "Accept: application/hal+json, application/json", body ? "Content-Type: application/json" : NULL, NULL};
	x->on_reply = on_reply;
	x->talk = fetch_start(x->device->sim->talk, &(struct fetch_request){.method = method, .url = url, .headers = headers, .body = body,
		.body_len = body ? strlen(body) : 0, .timeout_ms = TIMEOUT_MS, .on_done = on_talked, .ctx = x});
}

void ddi_ask(struct ddi *x, const char *method, const char *url, const char *body, ddi_reply *on_reply)
{
	ask(x, method, url, ddi_authorization(x), body, on_reply);
}

void ddi_log(const struct ddi *x, const char *event, const char *detail)
{
	if (x->device->sim->log)
		fprintf(x->device->sim->log, "{\"at\":%lld,\"device\":\"%s\",\"event\":\"%s\",\"detail\":\"%s\"}\n", (long long)clock_wall_ms(), x->device->id,
			event, detail ? detail : "");
}

/* ---- becoming known ---- */

static void on_registered(struct ddi *x, int status, const struct json *body)
{
	(void)body;
	x->is_registered = status == 201 || status == 409; /* 409: in an earlier run, with the same token */
	if (!x->is_registered)
		ddi_log(x, "ddi.refused", "the server does not register it");
	loop_timer_start(x->poll, x->is_registered ? 0 : DDI_RETRY_MS, 0);
}

/* By the REST API, as an operator would: without it the device is known already, or a gateway vouches for it. */
static void ask_registration(struct ddi *x)
{
	const struct device *d = x->device;
	char url[DDI_URL_MAX], authorization[300];
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "id", d->id);
	json_str(&b, "hardware", d->hardware);
	json_str(&b, "protocol", "ddi");
	json_str(&b, "token", x->token);
	json_raw(&b, "attributes", d->attributes);
	json_close_object(&b);
	snprintf(url, sizeof url, "%s/api/v1/devices", d->sim->options.http_url);
	snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", d->sim->options.api_token);
	ask(x, "POST", url, authorization, buf_cstr(&b), on_registered);
	buf_done(&b);
}

static void on_config(struct ddi *x, int status, const struct json *body)
{
	(void)body;
	loop_timer_start(x->poll, status == 200 ? 0 : DDI_RETRY_MS, 0);
}

/* Its class, and what it ran before the server knew it. */
static void put_config(struct ddi *x, const char *href)
{
	const struct device *d = x->device;
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "mode", "merge");
	json_key(&b, "data");
	json_open_object(&b);
	json_str(&b, "hardware", d->hardware);
	if (d->region[0])
		json_str(&b, "region", d->region);
	if (d->sim->options.factory_release)
		json_str(&b, "release", d->sim->options.factory_release);
	json_close_object(&b);
	json_close_object(&b);
	ddi_ask(x, "PUT", href, buf_cstr(&b), on_config);
	buf_done(&b);
}

/* DDI has no word for what a device can do: it says so by MQTT, once the server knows it. */
void ddi_on_mqtt(struct ddi *x)
{
	const struct device *d = x->device;
	struct buf b = BUF_INIT;
	if (x->has_told || !x->is_answered || !mqtt_is_connected(d->mqtt) || !d->config.capabilities_json)
		return;
	buf_printf(&b, "{\"boot\":\"%s\",\"seq\":1,\"capabilities\":{%s,\"slot_bytes\":%llu}}", agent_boot_id(&d->agent), d->config.capabilities_json,
		(unsigned long long)d->config.slot_bytes);
	x->has_told = mqtt_publish(d->mqtt, d->topic_report, b.data, b.len, 1, false, NULL) == ERR_OK;
	buf_done(&b);
}

/* ---- polls ---- */

void ddi_poll_soon(struct ddi *x)
{
	loop_timer_start(x->poll, DDI_SOON_MS, 0);
}

static const char *link_of(const struct json *body, const char *name, int64_t *action)
{
	const char *href = json_text(json_get(json_get(json_get(body, "_links"), name), "href"));
	const char *at = href ? strstr(href, name) : NULL;
	*action = at && at[strlen(name)] == '/' ? strtoll(at + strlen(name) + 1, NULL, 10) : 0;
	return href && strlen(href) < DDI_URL_MAX ? href : NULL;
}

static int64_t sleep_of(const struct ddi *x, const struct json *body)
{
	const char *text = json_text(json_get(json_get(json_get(body, "config"), "polling"), "sleep"));
	int h, m, s;
	if (!text || sscanf(text, "%2d:%2d:%2d", &h, &m, &s) != 3 || h < 0 || m < 0 || s < 0)
		return DDI_RETRY_MS * 10;
	int64_t ms = ((h * 60 + m) * 60 + s) * INT64_C(1000);
	return (int64_t)((double)ms * (1 - JITTER * rng_uniform(&x->device->rng)));
}

static void on_confirmed(struct ddi *x, int status, const struct json *body)
{
	(void)status;
	(void)body;
	ddi_poll_soon(x);
}

/* The user of a simulated device agrees to everything. */
static void confirm(struct ddi *x, int64_t action)
{
	char path[64];
	snprintf(path, sizeof path, "/confirmationBase/%lld/feedback", (long long)action);
	ddi_ask(x, "POST", ddi_url(x, path), "{\"confirmation\":\"confirmed\"}", on_confirmed);
}

static void on_polled(struct ddi *x, int status, const struct json *body)
{
	int64_t cancel, confirmation, deployment, none;
	const char *href;
	x->is_answered = status == 200;
	loop_timer_start(x->poll, x->is_answered ? sleep_of(x, body) : DDI_RETRY_MS, 0);
	if (!x->is_answered)
		return;
	ddi_on_mqtt(x);
	if (link_of(body, "cancelAction", &cancel))
		ddi_take_cancel(x, cancel);
	else if ((href = link_of(body, "configData", &none)) != NULL)
		put_config(x, href);
	else if (link_of(body, "confirmationBase", &confirmation))
		confirm(x, confirmation);
	else if ((href = link_of(body, "deploymentBase", &deployment)) != NULL)
		ddi_take_deployment(x, deployment, href);
	else
		ddi_take_nothing(x);
}

static void on_poll(void *ctx)
{
	struct ddi *x = ctx;
	const struct device *d = x->device;
	if (d->is_bricked || d->is_cut)
		return;
	if (d->is_away || x->talk) {
		loop_timer_start(x->poll, d->is_away ? DDI_RETRY_MS : DDI_SOON_MS, 0);
		return;
	}
	if (!x->is_registered) {
		ask_registration(x);
		return;
	}
	x->device->sim->totals.polls++;
	ddi_ask(x, "GET", ddi_url(x, ""), NULL, on_polled);
}

/* ---- life ---- */

struct ddi *ddi_new(struct device *d)
{
	struct ddi *x = calloc(1, sizeof *x);
	const struct options *o = &d->sim->options;
	if (!x)
		abort();
	x->device = d;
	snprintf(x->token, sizeof x->token, "%.*s", TOKEN_LETTERS, d->secret);
	str_copy(x->release, sizeof x->release, d->sim->factory.name);
	if (d->sim->factory.component_count) {
		str_copy(x->model, sizeof x->model, d->sim->factory.components[0].name);
		str_copy(x->version, sizeof x->version, d->sim->factory.components[0].version);
	}
	x->is_registered = !o->api_token;
	x->poll = loop_timer_new(d->sim->loop, on_poll, x);
	x->step = loop_timer_new(d->sim->loop, ddi_on_step, x);
	return x;
}

static void hang_up(struct ddi *x)
{
	if (x->talk)
		fetch_cancel(x->talk);
	if (x->download)
		fetch_cancel(x->download);
	x->talk = x->download = NULL;
	loop_timer_stop(x->poll);
	loop_timer_stop(x->step);
}

void ddi_free(struct ddi *x)
{
	if (!x)
		return;
	hang_up(x);
	loop_timer_free(x->poll);
	loop_timer_free(x->step);
	ddi_drop_update(x);
	ddi_forget_part(x);
	free(x);
}

void ddi_start(struct ddi *x)
{
	loop_timer_start(x->poll, 0, 0);
}

void ddi_boot(struct ddi *x)
{
	hang_up(x);
	x->has_told = false;
	if (x->update && x->update->step != DDI_STEP_CLOSE)
		ddi_drop_update(x); /* is offered again */
	else if (x->update)
		loop_timer_start(x->step, 0, 0);
	ddi_poll_soon(x);
}

void ddi_stop(struct ddi *x)
{
	hang_up(x);
	x->is_answered = false;
}

bool ddi_is_answered(const struct ddi *x)
{
	return x->is_answered;
}

const char *ddi_release(const struct ddi *x)
{
	return x->release;
}

const char *ddi_model(const struct ddi *x, const char **version)
{
	*version = x->model[0] ? x->version : NULL;
	return x->model[0] ? x->model : NULL;
}

const char *ddi_state_name(const struct ddi *x)
{
	static const char *const names[] = {
#define X(name, text) text,
		DDI_STEP_TABLE(X)
#undef X
	};
	return x->update ? names[x->update->step] : "ddi idle";
}
