/* What devices tell about themselves: configData, installedBase. */
#include <string.h>

#include "api/ddi_inside.h"

static enum err put_config(struct ddi_request *rq)
{
	static const char *const modes[] = {[ATTRIBUTES_MERGE] = "merge", [ATTRIBUTES_REPLACE] = "replace", [ATTRIBUTES_REMOVE] = "remove"};
	const struct json *data = json_get(rq->json, "data"), *mode = json_get(rq->json, "mode");
	int which = ATTRIBUTES_MERGE;
	if (data == NULL || json_type(data) != JSON_OBJECT)
		return fault_set(&rq->fault, ERR_BAD_REQUEST, "", "data is an object of texts");
	if (mode != NULL && json_type(mode) != JSON_NULL) {
		const char *text = json_text(mode);
		for (which = 0; which <= ATTRIBUTES_REMOVE && (text == NULL || strcmp(modes[which], text) != 0);)
			which++;
		if (which > ATTRIBUTES_REMOVE)
			return fault_set(&rq->fault, ERR_BAD_REQUEST, "", "mode is merge, replace or remove");
	}
	return actions_set_attributes(&rq->call, rq->device, (enum attributes_mode)which, data);
}

static enum err put_installed(struct ddi_request *rq)
{
	const char *name = json_text(json_get(rq->json, "name")), *version = json_text(json_get(rq->json, "version"));
	bool is_new;
	if (name == NULL || version == NULL || name[0] == '\0' || version[0] == '\0')
		return fault_set(&rq->fault, ERR_BAD_REQUEST, "", "name and version are texts");
	enum err e = actions_set_installed(&rq->call, rq->device, name, version, &is_new);
	rq->status = is_new ? 201 : 200;
	return e;
}

const struct ddi_route ddi_device_routes[] = {
	{"PUT", "configData", put_config, true},
	{"PUT", "installedBase", put_installed, true},
	{NULL, NULL, NULL, false},
};
