/* /rest/v1/system/configs, /rest/v1/userinfo, and what is at the root. */
#include <string.h>

#include "api/mgmt.h"
#include "service/access.h"
#include "service/settings.h"

/* A liveness probe of hawkBit's users: HEAD / with any answer below 400. */
static enum err root(struct api_request *rq)
{
	json_open_object(&rq->out);
	json_str(&rq->out, "name", "aviary");
	json_str(&rq->out, "version", AVIARY_VERSION);
	json_str(&rq->out, "api", "/api/v1");
	json_close_object(&rq->out);
	return ERR_OK;
}

static enum err user_info(struct api_request *rq)
{
	json_open_object(&rq->out);
	json_str(&rq->out, "tenant", "DEFAULT");
	json_str(&rq->out, "username", rq->call.who->name);
	json_close_object(&rq->out);
	return ERR_OK;
}

/* A secret is for those who may set it. */
static void put_value(struct api_request *rq, enum setting which)
{
	const struct settings *st = rq->call.s->settings;
	switch (settings_type(which)) {
	case SETTING_IS_FLAG:
		json_bool(&rq->out, "value", settings_flag(st, which));
		break;
	case SETTING_IS_COUNT:
		json_int(&rq->out, "value", settings_int(st, which));
		break;
	case SETTING_IS_SECRET:
		json_str(&rq->out, "value", rq->call.who->role == ROLE_ADMIN ? settings_text(st, which) : "");
		break;
	default:
		json_str(&rq->out, "value", settings_text(st, which));
		break;
	}
}

static void put_setting(struct api_request *rq, enum setting which)
{
	json_open_object(&rq->out);
	put_value(rq, which);
	json_bool(&rq->out, "global", !settings_is_set(rq->call.s->settings, which));
	mgmt_self(rq, mgmt_href(rq, "system/configs/%s", settings_key(which)));
	json_close_object(&rq->out);
	rq->content_type = MGMT_OK_TYPE;
}

static enum err list_configs(struct api_request *rq)
{
	json_open_object(&rq->out);
	for (size_t i = 0; i < SETTINGS; i++) {
		json_key(&rq->out, settings_key((enum setting)i));
		put_setting(rq, (enum setting)i);
	}
	json_close_object(&rq->out);
	return ERR_OK;
}

static enum err find(struct api_request *rq, const char *key, enum setting *which)
{
	if (settings_find(key, which))
		return ERR_OK;
	return mgmt_refuse(rq, MGMT_CONFIG_KEY, ERR_BAD_REQUEST, "The given configuration key {%.80s} does not exist.", key);
}

static enum err get_config(struct api_request *rq)
{
	enum setting which;
	enum err e = find(rq, rq->param[0], &which);
	if (e == ERR_OK)
		put_setting(rq, which);
	return e;
}

static enum err set(struct api_request *rq, const char *key, const struct json *holder, const char *member)
{
	enum setting which;
	const char *value = NULL;
	enum err e = find(rq, key, &which);
	if (e == ERR_OK)
		e = mgmt_text(rq, holder, member, &value);
	if (e == ERR_OK && value == NULL)
		return mgmt_refuse(rq, MGMT_CONFIG_VALUE, ERR_BAD_REQUEST, "%.80s: a value is wanted", key);
	if (e == ERR_OK)
		e = settings_set(&rq->call, which, value);
	return e == ERR_BAD_REQUEST && rq->mgmt_error == MGMT_BY_ERR ? mgmt_refuse_as(rq, MGMT_CONFIG_VALUE, e) : e;
}

static enum err put_config(struct api_request *rq)
{
	const struct json *body;
	enum err e = mgmt_object(rq, &body);
	return e == ERR_OK ? set(rq, rq->param[0], body, "value") : e;
}

static enum err put_configs(struct api_request *rq)
{
	const struct json *body;
	enum err e = mgmt_object(rq, &body);
	for (const struct json *j = e == ERR_OK ? json_first(body) : NULL; j != NULL && e == ERR_OK; j = json_next(j))
		e = set(rq, json_name(j), body, json_name(j));
	return e;
}

static enum err delete_config(struct api_request *rq)
{
	enum setting which;
	enum err e = find(rq, rq->param[0], &which);
	return e == ERR_OK ? settings_set(&rq->call, which, NULL) : e;
}

#define CONFIG MGMT "/system/configs/{key}"
extern const struct route routes_mgmt_system[];
const struct route routes_mgmt_system[] = {
	{.method = "GET", .path = "/", .role = ROLE_NONE, .tag = "system", .summary = "What this is", .handle = root},
	{.method = "GET", .path = MGMT "/userinfo", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "who asks", .handle = user_info},
	{.method = "GET", .path = MGMT "/system/configs", .role = ROLE_VIEWER, .tag = "mgmt", .summary = "all settings", .handle = list_configs},
	{.method = "PUT", .path = MGMT "/system/configs", .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "mgmt",
	 .summary = "changes several", .body_limit = 65536, .handle = put_configs},
	{.method = "GET", .path = CONFIG, .role = ROLE_VIEWER, .tag = "mgmt", .summary = "one setting", .handle = get_config},
	{.method = "PUT", .path = CONFIG, .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "mgmt", .summary = "changes it",
	 .body_limit = 65536, .handle = put_config},
	{.method = "DELETE", .path = CONFIG, .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT, .tag = "mgmt",
	 .summary = "back to the default", .handle = delete_config},
	{.method = NULL},
};
