/* hawkBit's Direct Device Integration (docs/ddi.md) as a surface of its own: other paths, other proofs, other errors than our API. Between
 * requests and service/actions.h; it keeps nothing of what it translates.
 *
 * A poll of a device of which nothing changed is answered with the head, from memory: no unit of work, no SQL, no held reply.
 */
#ifndef AVIARY_API_DDI_H
#define AVIARY_API_DDI_H

#include <stdbool.h>

struct api;
struct ddi;
struct http_request;

/* What the configuration says ([ddi]); read at each use. */
struct ddi_options {
	const char *tenant;          /* first segment of paths, in any case */
	const char *trusted_proxies; /* networks whose X-Forwarded-* and certificate headers count */
};

struct ddi *ddi_new(struct api *api);
void ddi_free(struct ddi *x); /* NULL is allowed */

/* Whether the path is of this surface: /{any}/controller/v1/... */
bool ddi_is_path(const char *path);
/* The life of a request, as net/http.h has it. */
void ddi_on_begin(struct http_request *http);
void ddi_on_complete(struct http_request *http);
void ddi_on_finish(struct http_request *http);

#endif
