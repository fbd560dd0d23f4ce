/* What ddi.c (requests and polls) and ddi_update.c (one update from its document to its end) share. */
#ifndef AVIARY_SIM_DDI_INSIDE_H
#define AVIARY_SIM_DDI_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/json.h"
#include "ddi.h"
#include "sim.h"

#define DDI_URL_MAX 512
#define DDI_FILES_MAX 4
#define DDI_SOON_MS 50    /* until a connection that is busy with another request is tried again */
#define DDI_RETRY_MS 1000 /* after a request that failed */

/* X(NAME, text) */
#define DDI_STEP_TABLE(X)                                                                                                 \
	X(READ, "ddi reading")                                                                                            \
	X(BEGIN, "ddi beginning")                                                                                         \
	X(DOWNLOAD, "ddi downloading")                                                                                    \
	X(DOWNLOADED, "ddi downloaded")                                                                                   \
	X(WAIT, "ddi waiting") /* for its maintenance window */                                                           \
	X(INSTALL, "ddi installing")                                                                                      \
	X(STUCK, "ddi stuck")                                                                                             \
	X(CLOSE, "ddi closing")
enum ddi_step {
#define X(name, text) DDI_STEP_##name,
	DDI_STEP_TABLE(X)
#undef X
	    DDI_STEP_COUNT
};

struct ddi_file {
	char url[DDI_URL_MAX], sha256[SHA256_HEX];
	uint64_t size_bytes;
};
struct ddi_update {
	enum ddi_step step;
	int64_t action;
	char href[DDI_URL_MAX];
	char model[65], version[65];
	struct ddi_file files[DDI_FILES_MAX];
	unsigned count, at, failures; /* downloads that were wrong */
	bool is_skipped;              /* told not to install: for now where there is a window, else at all */
	bool is_complete;             /* everything is there, and the server knows it */
	const char *why;              /* NULL: it went well */
};
/* The file that was written last, whole or not: power cuts leave it. */
struct ddi_part {
	char sha256[SHA256_HEX];
	uint64_t written_bytes;
	struct sha256 *hash; /* of what is written; NULL: nothing, or it is whole */
	bool is_whole;
};
struct ddi;
typedef void ddi_reply(struct ddi *x, int status, const struct json *body); /* status 0: no answer; body NULL: none */
struct ddi {
	struct device *device;
	char token[SHA256_HEX], release[140], model[65], version[65];
	struct loop_timer *poll, *step;
	struct fetch *talk, *download;
	ddi_reply *on_reply;
	int64_t sleep_ms;
	bool is_registered, is_answered;
	bool has_told; /* what it can do, since it started */
	struct ddi_update *update; /* NULL: idle */
	struct ddi_part part;
};

/* ddi.c */
void ddi_ask(struct ddi *x, const char *method, const char *url, const char *body, ddi_reply *on_reply); /* nothing else is asked meanwhile */
void ddi_poll_soon(struct ddi *x);
const char *ddi_url(const struct ddi *x, const char *path); /* of the device's own resources; valid until the next call */
const char *ddi_authorization(const struct ddi *x);         /* a header; valid until the next call */
void ddi_log(const struct ddi *x, const char *event, const char *detail);
/* ddi_update.c */
void ddi_on_step(void *ctx);
void ddi_take_deployment(struct ddi *x, int64_t action, const char *href);
void ddi_take_cancel(struct ddi *x, int64_t action);
void ddi_take_nothing(struct ddi *x); /* nothing is on offer any more */
void ddi_drop_update(struct ddi *x);
void ddi_forget_part(struct ddi *x);

#endif
