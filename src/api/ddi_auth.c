/* Who asks, and what the server is called by whom. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/ddi_inside.h"
#include "api/state.h"
#include "base/crypto.h"
#include "net/http.h"
#include "service/settings.h"

#define AUTHORITIES_MAX 16 /* X-Authority-1, -2, ... */

/* ---- proxies ---- */

static bool is_trusted(struct ddi *x, const struct http_request *http)
{
	const char *text = x->api->options->ddi.trusted_proxies;
	struct ip_address a;
	if (text[0] == '\0')
		return false;
	if (x->trusted_text == NULL || strcmp(x->trusted_text, text) != 0) {
		free(x->trusted_text);
		x->trusted_text = strdup(text);
		if (x->trusted_text == NULL)
			abort();
		if (!ip_networks_parse(text, &x->trusted)) /* the configuration has looked at it */
			x->trusted.count = 0;
	}
	return ip_parse(http_remote(http), &a) && ip_networks_have(&x->trusted, &a);
}

/* ---- tokens ---- */

/* The text behind the scheme, without blanks around it; NULL: another scheme, or none. */
static const char *token_of(const struct http_request *http, const char *scheme, size_t *len)
{
	const char *header = http_header(http, "Authorization");
	size_t n = strlen(scheme);
	if (header == NULL || strncasecmp(header, scheme, n) != 0 || header[n] != ' ')
		return NULL;
	header += n + strspn(header + n, " \t");
	for (*len = strlen(header); *len > 0 && (header[*len - 1] == ' ' || header[*len - 1] == '\t'); (*len)--)
		;
	return *len > 0 ? header : NULL;
}

bool ddi_knows_token(struct ddi *x, struct http_request *http, struct call *c, struct device_state *d)
{
	size_t len;
	const char *token = token_of(http, "TargetToken", &len);
	(void)x;
	return token != NULL && settings_flag(c->s->settings, SETTING_TARGET_TOKEN) && actions_check_token(c, d, token, len);
}

/* Digests of both are compared, so that neither content nor length shows in time. */
static bool is_same(const char *a, size_t a_len, const char *b)
{
	uint8_t x[SHA256_BYTES], y[SHA256_BYTES];
	crypto_sha256(a, a_len, x);
	crypto_sha256(b, strlen(b), y);
	return crypto_equal(x, y, sizeof x);
}

static bool is_gateway(struct ddi_request *rq)
{
	const struct settings *st = rq->call.s->settings;
	const char *key = settings_text(st, SETTING_GATEWAY_KEY);
	size_t len;
	const char *token = token_of(rq->http, "GatewayToken", &len);
	return token != NULL && settings_flag(st, SETTING_GATEWAY_TOKEN) && key[0] != '\0' && is_same(token, len, key);
}

/* ---- certificates ---- */

/* Whether one of a list of hashes is one that is configured; case does not matter. */
static bool has_authority(const struct settings *st, const char *list)
{
	bool found = false;
	while (list != NULL && *(list += strspn(list, " \t,")) != '\0') {
		size_t len = strcspn(list, " \t,");
		for (const char *known = settings_text(st, SETTING_HEADER_AUTHORITY); *(known += strspn(known, " \t,")) != '\0';) {
			size_t n = strcspn(known, " \t,");
			found = found || (n == len && strncasecmp(known, list, n) == 0);
			known += n;
		}
		list += len;
	}
	return found;
}

/* A proxy that we trust has looked at the certificate. */
static bool is_vouched_by_proxy(struct ddi_request *rq)
{
	const struct settings *st = rq->call.s->settings;
	const char *id = http_header(rq->http, "X-Controller-Id");
	if (id == NULL || !settings_flag(st, SETTING_HEADER) || strcmp(id, rq->id) != 0 || !is_trusted(rq->ddi, rq->http))
		return false;
	bool found = has_authority(st, http_header(rq->http, "X-Authority")) || has_authority(st, http_header(rq->http, "X-Ssl-Issuer-Hash"));
	for (int i = 1; i <= AUTHORITIES_MAX && !found; i++) {
		char name[32];
		snprintf(name, sizeof name, "X-Authority-%d", i);
		found = has_authority(st, http_header(rq->http, name));
		snprintf(name, sizeof name, "X-Ssl-Issuer-Hash-%d", i);
		found = found || has_authority(st, http_header(rq->http, name));
	}
	return found;
}

/* Our own listener has verified it against its CA. */
static bool is_vouched_by_certificate(struct ddi_request *rq)
{
	struct http_peer peer;
	const struct settings *st = rq->call.s->settings;
	if (!settings_flag(st, SETTING_HEADER) || !http_peer(rq->http, &peer) || strcmp(peer.name, rq->id) != 0)
		return false;
	const char *known = settings_text(st, SETTING_HEADER_AUTHORITY);
	return known[0] == '\0' || has_authority(st, peer.issuer_hash) || has_authority(st, peer.issuer_sha256);
}

enum err ddi_authenticate(struct ddi_request *rq)
{
	struct call *c = &rq->call;
	struct device_state *d = registry_find(c->s->registry, rq->id);
	if (d != NULL && !d->is_ddi)
		d = NULL;
	bool is_taken = d == NULL && registry_find(c->s->registry, rq->id) != NULL; /* by a device of the other protocol */
	rq->device = d;
	if (d != NULL && ddi_knows_token(rq->ddi, rq->http, c, d))
		return ERR_OK;
	if (!is_taken && (is_gateway(rq) || is_vouched_by_proxy(rq) || is_vouched_by_certificate(rq))) {
		rq->registers = d == NULL;
		return ERR_OK;
	}
	return fault_set(&rq->fault, ERR_UNAUTHORIZED, "", "nothing proves that this is the device");
}

/* ---- what links begin with ---- */

/* A host with or without a port, and nothing that could end a JSON text or a URL. */
static bool is_host(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char ch = text[i];
		bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || strchr(".-_:[]", ch) != NULL;
		if (!ok || ch == '\0')
			return false;
	}
	return len > 0 && len <= 160;
}

/* The first of a list: the client's side of the outermost proxy. */
static const char *first_of(const struct http_request *http, const char *name, size_t *len)
{
	const char *text = http_header(http, name);
	if (text == NULL)
		return NULL;
	text += strspn(text, " \t");
	*len = strcspn(text, ", \t");
	return *len > 0 ? text : NULL;
}

static bool has_port(const char *host, size_t len)
{
	const char *colon = memrchr(host, ':', len);
	return colon != NULL && memchr(colon, ']', len - (size_t)(colon - host)) == NULL;
}

bool ddi_write_base(struct ddi *x, const struct http_request *http, const char *tenant, const char *id, char out[DDI_BASE_MAX], bool *is_https)
{
	bool trusts = is_trusted(x, http);
	size_t len = 0, n = 0, port_len = 0;
	const char *forwarded = trusts ? first_of(http, "X-Forwarded-Host", &len) : NULL;
	const char *proto = trusts ? first_of(http, "X-Forwarded-Proto", &n) : NULL;
	const char *port = trusts ? first_of(http, "X-Forwarded-Port", &port_len) : NULL;
	const char *host = forwarded != NULL ? forwarded : first_of(http, "Host", &len);
	*is_https = http_is_tls(http);
	if (proto != NULL)
		*is_https = n == 5 && strncasecmp(proto, "https", 5) == 0;
	if (host == NULL || !is_host(host, len))
		return false;
	if (port != NULL && strspn(port, "0123456789") == port_len && port_len <= 5) { /* it is what the client sees, whatever Host says */
		bool is_standard = strtol(port, NULL, 10) == (*is_https ? 443 : 80);
		if (has_port(host, len))
			len = (size_t)((const char *)memrchr(host, ':', len) - host);
		n = (size_t)snprintf(out, DDI_BASE_MAX, "%s://%.*s%s%.*s/%s/controller/v1/%s", *is_https ? "https" : "http", (int)len, host,
			is_standard ? "" : ":", is_standard ? 0 : (int)port_len, port, tenant, id);
	} else {
		n = (size_t)snprintf(out, DDI_BASE_MAX, "%s://%.*s/%s/controller/v1/%s", *is_https ? "https" : "http", (int)len, host, tenant, id);
	}
	return n < DDI_BASE_MAX;
}
