/* The base resource: what a device is to do, and when it comes again. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "api/ddi_inside.h"
#include "net/http.h"
#include "service/metrics.h"

void ddi_etag(const char *text, size_t len, char out[20])
{
	static const char digits[] = "0123456789abcdef";
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a: no secret is in it */
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	out[0] = out[17] = '"';
	for (int i = 16; i > 0; i--, h >>= 4)
		out[i] = digits[h & 15];
	out[18] = '\0';
}

static char *put(char *at, const char *text)
{
	size_t len = strlen(text);
	memcpy(at, text, len);
	return at + len;
}

/* ,"name":{"href":"<base>/<path>"} */
static char *put_link(char *at, bool *is_first, const char *name, const char *base, const char *path)
{
	at = put(at, *is_first ? ",\"_links\":{\"" : ",\"");
	at = put(at, name);
	at = put(at, "\":{\"href\":\"");
	at = put(at, base);
	*at++ = '/';
	at = put(at, path);
	*is_first = false;
	return put(at, "\"}");
}

size_t ddi_write_poll(const struct action_offer *offer, const char *base, char out[DDI_POLL_MAX])
{
	static const char *const names[] = {[OFFER_DEPLOYMENT] = "deploymentBase", [OFFER_CANCEL] = "cancelAction",
		[OFFER_CONFIRMATION] = "confirmationBase"};
	char sleep[9], path[64], *at = out;
	bool is_first = true;
	ddi_format_sleep(offer->sleep_ms, sleep);
	at = put(at, "{\"config\":{\"polling\":{\"sleep\":\"");
	at = put(at, sleep);
	at = put(at, "\"}}");
	if (offer->kind != OFFER_NOTHING) {
		snprintf(path, sizeof path, offer->kind == OFFER_CANCEL ? "%s/%lld" : "%s/%lld?c=%d", names[offer->kind], (long long)offer->action,
			(int)offer->hash);
		at = put_link(at, &is_first, names[offer->kind], base, path);
	}
	if (offer->installed != 0) {
		snprintf(path, sizeof path, "installedBase/%lld", (long long)offer->installed);
		at = put_link(at, &is_first, "installedBase", base, path);
	}
	if (offer->wants_attributes)
		at = put_link(at, &is_first, "configData", base, "configData");
	if (!is_first)
		*at++ = '}';
	*at++ = '}';
	return (size_t)(at - out);
}

enum err ddi_poll(struct ddi_request *rq)
{
	struct action_offer offer;
	char base[DDI_BASE_MAX], text[DDI_POLL_MAX];
	bool is_https;
	enum err e = actions_poll(&rq->call, rq->device, &offer);
	if (e != ERR_OK)
		return e;
	metric_add(METER_DDI_POLLS, 1);
	if (!ddi_write_base(rq->ddi, rq->http, rq->tenant, rq->id, base, &is_https))
		return fault_set(&rq->fault, ERR_BAD_REQUEST, "", "the request says no host that links could name");
	buf_append(&rq->out, text, ddi_write_poll(&offer, base, text));
	return ERR_OK;
}
