#include "agent/request.h"

#include <assert.h>
#include <string.h>

#include "agent/deployment.h"
#include "agent/document.h"
#include "agent/inside.h"

enum { MEMORY_PAUSE_MS = 50, IGNORED_BYTES_MAX = 65536 };

void agent_request_failed(struct agent *a, const char *why)
{
	if (a->failures < 30)
		a->failures++;
	a->retry_at_ms = agent_now_ms(a) + agent_backoff_ms(a, a->failures);
	agent_tell(a, AGENT_EVENT_RETRY, why);
}

/* Forgets the request without telling the transport. */
static void forget(struct agent *a)
{
	if (a->document)
		a->ports->memory_return(a->host, a->document);
	a->document = NULL;
	a->request = AGENT_REQUEST_NONE;
}

void agent_request_drop(struct agent *a)
{
	if (a->request == AGENT_REQUEST_NONE)
		return;
	a->wants_document = a->wants_document || a->request == AGENT_REQUEST_DOCUMENT;
	a->ports->http_cancel(a->host, a->request_id);
	forget(a);
}

static void start(struct agent *a, enum agent_request kind, const char *path, const char *etag, uint64_t from)
{
	a->request = (uint8_t)kind;
	a->request_id++;
	a->request_status = 0;
	a->request_ignored_bytes = 0;
	a->request_deadline_ms = agent_now_ms(a) + a->limits.http_timeout_ms;
	if (a->ports->http_get(a->host, a->request_id, path, etag, from))
		return;
	a->wants_document = a->wants_document || kind == AGENT_REQUEST_DOCUMENT;
	forget(a);
	agent_request_failed(a, "request could not be started");
}

static void start_document(struct agent *a)
{
	a->document = a->ports->memory_borrow(a->host, AGENT_DOCUMENT_BYTES + sizeof(struct agent_release));
	a->document_len = 0;
	if (!a->document) {
		a->retry_at_ms = agent_now_ms(a) + MEMORY_PAUSE_MS;
		return;
	}
	a->wants_document = false;
	memcpy(a->request_etag, a->desired_etag, sizeof(a->request_etag));
	start(a, AGENT_REQUEST_DOCUMENT, a->document_url, a->document_etag[0] ? a->document_etag : NULL, 0);
}

static bool takes_documents(const struct agent *a)
{
	return a->state >= AGENT_IDLE && a->state <= AGENT_VERIFYING;
}

void agent_request_poll(struct agent *a)
{
	int64_t now_ms = agent_now_ms(a);
	if (a->request != AGENT_REQUEST_NONE && now_ms >= a->request_deadline_ms) {
		agent_request_drop(a);
		agent_request_failed(a, "the server does not answer");
	}
	if (now_ms < a->retry_at_ms)
		return;
	if (a->wants_document && takes_documents(a)) {
		if (a->request == AGENT_REQUEST_ARTIFACT) /* what it fetches may be wanted no more; a range continues it if it is */
			agent_request_drop(a);
		if (a->request == AGENT_REQUEST_NONE)
			start_document(a);
	} else if (a->state == AGENT_DOWNLOADING && a->request == AGENT_REQUEST_NONE) {
		start(a, AGENT_REQUEST_ARTIFACT, a->urls[a->part], NULL, a->offset);
	}
}

int64_t agent_request_deadline_ms(const struct agent *a)
{
	if (a->request != AGENT_REQUEST_NONE && !(a->wants_document && a->request == AGENT_REQUEST_ARTIFACT))
		return a->request_deadline_ms;
	if ((a->wants_document && takes_documents(a)) || a->state == AGENT_DOWNLOADING)
		return a->retry_at_ms;
	return INT64_MAX;
}

bool agent_on_http_response(struct agent *a, uint32_t id, int status, const char *etag, uint64_t first_byte)
{
	if (a->request == AGENT_REQUEST_NONE || id != a->request_id)
		return false;
	a->request_status = status;
	a->request_deadline_ms = agent_now_ms(a) + a->limits.http_timeout_ms;
	if (etag && strcmp(etag, a->desired_etag) == 0) /* a newer hint came meanwhile, and this is the document it meant */
		memcpy(a->request_etag, a->desired_etag, sizeof(a->request_etag));
	if (a->request != AGENT_REQUEST_ARTIFACT || (status != 200 && status != 206))
		return true;
	if (agent_deployment_answer(a, status == 206 ? first_byte : 0))
		return true;
	forget(a);
	return false;
}

static bool take_document_bytes(struct agent *a, const void *data, size_t len)
{
	if (len > AGENT_DOCUMENT_BYTES - a->document_len)
		return false;
	memcpy(a->document + a->document_len, data, len);
	a->document_len += len;
	return true;
}

bool agent_on_http_data(struct agent *a, uint32_t id, const void *data, size_t len)
{
	if (a->request == AGENT_REQUEST_NONE || id != a->request_id)
		return false;
	bool is_wanted = a->request_status == 200 || a->request_status == 206;
	a->request_deadline_ms = agent_now_ms(a) + a->limits.http_timeout_ms;
	if (!is_wanted) { /* the text of an error */
		a->request_ignored_bytes += len;
		if (a->request_ignored_bytes <= IGNORED_BYTES_MAX)
			return true;
	} else if (a->request == AGENT_REQUEST_DOCUMENT) {
		if (take_document_bytes(a, data, len))
			return true;
	} else {
		a->request = AGENT_REQUEST_NONE; /* so that a failure in there cancels nothing: this answer does */
		if (agent_deployment_data(a, data, len)) {
			a->request = AGENT_REQUEST_ARTIFACT;
			return true;
		}
		return false;
	}
	a->wants_document = a->wants_document || a->request == AGENT_REQUEST_DOCUMENT;
	forget(a);
	agent_request_failed(a, "the answer is too long");
	return false;
}

static void document_is_done(struct agent *a, bool complete)
{
	bool is_news = complete && a->request_status == 200;
	if (!is_news && !(complete && a->request_status == 304)) {
		a->wants_document = true;
		forget(a);
		agent_request_failed(a, a->request_status ? "the document is refused" : "no connection to the server");
		return;
	}
	a->failures = 0;
	a->retry_at_ms = 0;
	/* as the hint named it, or hints would be news for ever */
	memcpy(a->document_etag, a->request_etag, sizeof(a->document_etag));
	if (strcmp(a->document_etag, a->desired_etag) == 0)
		a->wants_document = false;
	if (is_news) {
		struct agent_slice text = {a->document, a->document_len};
		agent_deployment_take(a, text, (struct agent_release *)(void *)(a->document + AGENT_DOCUMENT_BYTES));
	}
	forget(a);
}

void agent_on_http_done(struct agent *a, uint32_t id, bool complete)
{
	if (a->request == AGENT_REQUEST_NONE || id != a->request_id)
		return;
	if (a->request == AGENT_REQUEST_DOCUMENT) {
		document_is_done(a, complete);
		return;
	}
	forget(a);
	if (complete && (a->request_status == 401 || a->request_status == 403 || a->request_status == 404 ||
	                 a->request_status == 410)) {
		a->document_etag[0] = '\0'; /* not ours any more: what is wanted now? */
		a->wants_document = true;
	}
	agent_deployment_end_of_data(a, complete && a->request_status < 300);
}
