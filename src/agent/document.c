#include "agent/document.h"

#include <string.h>

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

struct hint {
	int64_t rev;
	char url[AGENT_URL_MAX + 1];
	struct agent_slice etag, ack;
};
static const struct agent_member hint_members[] = {
	{"rev", AGENT_MEMBER_COUNT, true, offsetof(struct hint, rev), 0},
	{"etag", AGENT_MEMBER_TEXT, false, offsetof(struct hint, etag), 0}, /* may be empty while nothing is desired */
	{"ack", AGENT_MEMBER_ARRAY, false, offsetof(struct hint, ack), 0},
	{"url", AGENT_MEMBER_PATH, false, offsetof(struct hint, url), AGENT_URL_MAX + 1},
};

/* ["boot", seq] */
static bool read_ack(struct agent_slice ack, struct agent_hint *out)
{
	struct jp p;
	jp_init(&p, ack.text, ack.len);
	if (jp_next(&p) != JP_ARRAY || jp_next(&p) != JP_STRING || p.token_len > AGENT_NAME_MAX)
		return false;
	const char *boot = p.token;
	size_t boot_len = p.token_len;
	if (jp_next(&p) != JP_NUMBER || !jp_int(&p, &out->ack_seq) || out->ack_seq < 0 || jp_next(&p) != JP_ARRAY_END)
		return false;
	memcpy(out->ack_boot, boot, boot_len);
	return true;
}

bool agent_hint_read(struct agent_slice message, struct agent_hint *out)
{
	struct hint h;
	memset(&h, 0, sizeof(h));
	memset(out, 0, sizeof(*out));
	if (agent_json_bind(message, hint_members, ROWS(hint_members), &h))
		return false;
	out->rev = h.rev;
	if (agent_is_name(h.etag.text, h.etag.len, sizeof(out->etag) - 1))
		memcpy(out->etag, h.etag.text, h.etag.len);
	memcpy(out->url, h.url, sizeof(out->url));
	return !h.ack.text || read_ack(h.ack, out);
}

struct document {
	char device[AGENT_NAME_MAX + 1];
	int64_t rev, report_interval_ms;
	struct agent_slice deployment, shadow, release, config, offload;
};
static const struct agent_member document_members[] = {
	{"device", AGENT_MEMBER_NAME, true, offsetof(struct document, device), AGENT_NAME_MAX + 1},
	{"rev", AGENT_MEMBER_COUNT, true, offsetof(struct document, rev), 0},
	{"deployment", AGENT_MEMBER_OBJECT, false, offsetof(struct document, deployment), 0},
	{"shadow", AGENT_MEMBER_OBJECT, false, offsetof(struct document, shadow), 0},
	{"release", AGENT_MEMBER_OBJECT, false, offsetof(struct document, release), 0},
	{"config", AGENT_MEMBER_OBJECT, false, offsetof(struct document, config), 0},
	{"offload", AGENT_MEMBER_OBJECT, false, offsetof(struct document, offload), 0},
	{"report_interval_ms", AGENT_MEMBER_COUNT, false, offsetof(struct document, report_interval_ms), 0},
};
/* `action` is not read: a revert is carried out as an install. */
static const struct agent_member deployment_members[] = {
	{"id", AGENT_MEMBER_NAME, true, offsetof(struct agent_offer, deployment), AGENT_NAME_MAX + 1},
	{"attempt", AGENT_MEMBER_COUNT, true, offsetof(struct agent_offer, attempt), 0},
	{"timeout_ms", AGENT_MEMBER_COUNT, false, offsetof(struct agent_offer, timeout_ms), 0},
};
struct shadow {
	struct agent_slice release;
};
static const struct agent_member shadow_members[] = {
	{"release", AGENT_MEMBER_OBJECT, false, offsetof(struct shadow, release), 0},
};
static const struct agent_member release_members[] = {
	{"name", AGENT_MEMBER_NAME, true, offsetof(struct agent_offer, release), AGENT_NAME_MAX + 1},
	{"counter", AGENT_MEMBER_COUNT, true, offsetof(struct agent_offer, counter), 0},
	{"manifest", AGENT_MEMBER_TEXT, true, offsetof(struct agent_offer, manifest), 0},
	{"signature", AGENT_MEMBER_TEXT, true, offsetof(struct agent_offer, signature), 0},
	{"key_id", AGENT_MEMBER_HEX, true, offsetof(struct agent_offer, key_id), 8},
	{"artifacts", AGENT_MEMBER_ARRAY, true, offsetof(struct agent_offer, artifacts), 0},
};

const char *agent_document_read(struct agent_slice text, const char *device, struct agent_offer *out)
{
	struct document d;
	memset(&d, 0, sizeof(d));
	memset(out, 0, sizeof(*out));
	const char *fault = agent_json_bind(text, document_members, ROWS(document_members), &d);
	if (fault)
		return fault;
	if (strcmp(d.device, device) != 0)
		return "device";
	out->rev = d.rev;
	out->report_interval_ms = d.report_interval_ms;
	out->config = d.config;
	out->offload = d.offload;
	out->is_shadow = !d.deployment.text && d.shadow.text;
	if (out->is_shadow) {
		struct shadow shadow = {{NULL, 0}};
		if ((fault = agent_json_bind(d.shadow, shadow_members, ROWS(shadow_members), &shadow)))
			return fault;
		d.release = shadow.release;
		d.deployment = d.shadow;
	}
	if (d.deployment.text && (fault = agent_json_bind(d.deployment, deployment_members, ROWS(deployment_members), out)))
		return fault;
	if (out->attempt > UINT32_MAX)
		return "attempt";
	/* A release without a deployment is for information; what is wrong with it is then no fault. */
	if (!d.release.text || !d.deployment.text)
		return NULL;
	out->has_release = agent_json_bind(d.release, release_members, ROWS(release_members), out) == NULL;
	return NULL;
}

struct artifact {
	struct agent_part part;
	int64_t size_bytes;
	char url[AGENT_URL_MAX + 1];
};
static const struct agent_member artifact_members[] = {
	{"sha256", AGENT_MEMBER_HEX, true, offsetof(struct artifact, part.sha256), AGENT_SHA256_BYTES},
	{"size_bytes", AGENT_MEMBER_COUNT, true, offsetof(struct artifact, size_bytes), 0},
	{"url", AGENT_MEMBER_PATH, true, offsetof(struct artifact, url), AGENT_URL_MAX + 1},
};

static bool is_known(const struct agent *a, const struct agent_part *p)
{
	for (unsigned i = 0; i < a->part_count; i++)
		if (memcmp(a->parts[i].sha256, p->sha256, sizeof(p->sha256)) == 0 && a->parts[i].size_bytes == p->size_bytes)
			return true;
	return false;
}

const char *agent_document_read_parts(struct agent_slice artifacts, struct agent *a)
{
	struct agent_items items;
	struct agent_slice item;
	a->part_count = 0;
	agent_items_open(&items, artifacts);
	while (agent_items_next(&items, &item)) {
		struct artifact f;
		if (a->part_count == AGENT_COMPONENTS_MAX)
			return "more artifacts are offered than this device can hold";
		memset(&f, 0, sizeof(f));
		if (agent_json_bind(item, artifact_members, ROWS(artifact_members), &f))
			return "malformed artifact in the document";
		f.part.size_bytes = (uint64_t)f.size_bytes;
		if (is_known(a, &f.part)) /* two components with the same file share a part */
			continue;
		a->parts[a->part_count] = f.part;
		memcpy(a->urls[a->part_count], f.url, sizeof(f.url));
		a->part_count++;
	}
	return items.failed ? "malformed artifacts in the document" : NULL;
}
