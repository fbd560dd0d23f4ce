/* The two things the server says: the /desired hint and the desired document. Reading only; deployment.h acts on it. */
#ifndef AVIARY_AGENT_DOCUMENT_H
#define AVIARY_AGENT_DOCUMENT_H

#include "agent/agent.h"
#include "agent/json.h"

struct agent_hint {
	int64_t rev;
	char etag[17]; /* empty: none that could be one */
	char url[AGENT_URL_MAX + 1];
	char ack_boot[AGENT_NAME_MAX + 1]; /* empty: no acknowledgement */
	int64_t ack_seq;
};
bool agent_hint_read(struct agent_slice message, struct agent_hint *out);

/* What a desired document offers. Slices point into the document. */
struct agent_offer {
	int64_t rev, report_interval_ms;
	struct agent_slice config, offload;
	char deployment[AGENT_NAME_MAX + 1]; /* empty: nothing is to be done */
	bool is_shadow; /* the release is to run in shadow */
	int64_t attempt, timeout_ms;
	bool has_release;
	char release[AGENT_NAME_MAX + 1];
	int64_t counter;
	struct agent_slice manifest, signature, artifacts; /* base64, base64, array */
	uint8_t key_id[8];
};
/* NULL, or the member at fault. `device` is who it must be for. */
const char *agent_document_read(struct agent_slice text, const char *device, struct agent_offer *out);
/* Reads the offered artifacts into parts and urls of the agent; NULL or the reason. */
const char *agent_document_read_parts(struct agent_slice artifacts, struct agent *a);

#endif
