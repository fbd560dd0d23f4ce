/* What the files of the DDI surface share: api/ddi*.c.
 *
 *   ddi.c          paths, the life of a request, errors
 *   ddi_auth.c     who asks, and what the server is called by whom
 *   ddi_base.c     the base resource: the poll
 *   ddi_action.c   actions: documents, feedback, cancelling, confirming
 *   ddi_device.c   configData, installedBase
 *   ddi_file.c     artifacts
 */
#ifndef AVIARY_API_DDI_INSIDE_H
#define AVIARY_API_DDI_INSIDE_H

#include "api/ddi.h"
#include "base/buf.h"
#include "base/ipaddr.h"
#include "base/json.h"
#include "service/actions.h"
#include "service/call.h"
#include "service/registry.h"

#define DDI_PARAMS 3
#define DDI_ID_MAX 64
#define DDI_BASE_MAX 320 /* "https://host:port/TENANT/controller/v1/id" */

struct ddi {
	struct api *api;
	char *trusted_text; /* what `trusted` was read from */
	struct ip_networks trusted;
};

struct ddi_request;

/* One row a resource below the device. */
struct ddi_route {
	const char *method;
	const char *path; /* "deploymentBase/{}/feedback"; {} is a parameter */
	enum err (*handle)(struct ddi_request *rq);
	bool takes_body;
};

struct ddi_request {
	struct call call;
	struct fault fault;
	struct principal who;
	struct http_request *http;
	struct ddi *ddi;
	const struct ddi_route *route;
	const char *tenant, *id; /* as they came */
	const char *param[DDI_PARAMS];
	struct device_state *device;
	bool registers;       /* whoever asks vouches for this unknown device */
	struct json *json;    /* the body */
	/* the reply */
	struct buf out;
	int status;           /* 0: 200 */
	const char *type;     /* NULL: as the client likes JSON */
	bool taken;           /* answered already */
};

extern const struct ddi_route ddi_action_routes[], ddi_device_routes[], ddi_file_routes[];

/* ---- ddi.c ---- */
/* A number of a path; ERR_NOT_FOUND when it is none. */
AVIARY_MUST_CHECK enum err ddi_number(struct ddi_request *rq, size_t param, int64_t *out);
void ddi_put_error(struct buf *out, enum err e, const char *message);
/* ---- ddi_auth.c ---- */
/* Who asks for this device. ERR_UNAUTHORIZED; else device, or registers, is set. */
AVIARY_MUST_CHECK enum err ddi_authenticate(struct ddi_request *rq);
/* Only by the device's own token, without SQL; false: ddi_authenticate has to look. */
bool ddi_knows_token(struct ddi *x, struct http_request *http, struct call *c, struct device_state *d);
/* Writes "http://host/TENANT/controller/v1/id" as the client sees the server; false: its headers say nothing usable. */
bool ddi_write_base(struct ddi *x, const struct http_request *http, const char *tenant, const char *id, char out[DDI_BASE_MAX], bool *is_https);
/* ---- ddi_base.c ---- */
/* The poll's answer; its length. `out` has room for DDI_POLL_MAX. */
#define DDI_POLL_MAX (4 * DDI_BASE_MAX + 512)
size_t ddi_write_poll(const struct action_offer *offer, const char *base, char out[DDI_POLL_MAX]);
AVIARY_MUST_CHECK enum err ddi_poll(struct ddi_request *rq);
void ddi_etag(const char *text, size_t len, char out[20]); /* quoted */
/* ---- ddi_file.c ---- */
void ddi_put_file(struct ddi_request *rq, const char *base, bool is_https, int64_t module, const struct action_file *file);

#endif
