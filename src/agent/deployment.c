#include "agent/deployment.h"

#include <assert.h>
#include <string.h>

#include "agent/codec.h"
#include "agent/document.h"
#include "agent/inside.h"
#include "agent/offload.h"
#include "agent/record.h"
#include "agent/release.h"
#include "agent/report.h"
#include "agent/request.h"
#include "agent/shadow.h"
#include "agent/trial.h"

enum { PROGRESS_PAUSE_MS = 5000, BAD_DOWNLOADS_MAX = 3 };

static const char storage_failed[] = "storage is full or cannot be written";

static void go(struct agent *a, enum agent_state state)
{
	a->state = state;
	a->work_at_ms = 0;
}

void agent_deployment_finish(struct agent *a, enum agent_deployment state, const char *reason)
{
	static const enum agent_event events[] = {AGENT_EVENT_CONFIRMED, AGENT_EVENT_FAILED, AGENT_EVENT_REJECTED,
	                                          AGENT_EVENT_CANCELLED};
	assert(state >= AGENT_DEPLOYMENT_SUCCEEDED && a->record.trial == AGENT_SLOT_NONE);
	if (a->request == AGENT_REQUEST_ARTIFACT)
		agent_request_drop(a);
	if (a->is_hashing) {
		uint8_t unused[AGENT_SHA256_BYTES];
		a->ports->sha_final(a->host, &a->sha, unused);
		a->is_hashing = false;
	}
	a->record.deployment_state = (uint8_t)state;
	agent_copy(a->record.reason, sizeof(a->record.reason), reason ? reason : "");
	(void)agent_record_save(a); /* where it fails, record_is_dirty has it tried again */
	go(a, AGENT_IDLE);
	agent_tell(a, state == AGENT_DEPLOYMENT_SUCCEEDED && a->record.is_shadow ? AGENT_EVENT_SHADOW
	                                                                         : events[state - AGENT_DEPLOYMENT_SUCCEEDED],
	           reason);
	agent_report_soon(a);
}

/* --- what the document wants --- */

struct checked {
	struct agent_slice manifest;
	uint8_t signature[64];
	int key;
};

/* Decodes the base64 where it lies. */
static bool decode_manifest(const struct agent_offer *o, struct checked *c)
{
	size_t len = 0, signature_len = 0;
	char *text = (char *)(uintptr_t)o->manifest.text; /* points into the borrowed document, which is ours to write */
	bool ok = agent_base64_decode(text, o->manifest.len, (uint8_t *)text, o->manifest.len, &len) &&
	          agent_base64_decode(o->signature.text, o->signature.len, c->signature, sizeof(c->signature), &signature_len);
	c->manifest.text = text;
	c->manifest.len = len;
	return ok && signature_len == sizeof(c->signature) && len <= AGENT_MANIFEST_BYTES;
}

static const char *check_policy(struct agent *a, const struct agent_offer *o, const struct agent_release *r,
                                int64_t created_ms, int64_t expires_ms)
{
	int64_t wall_ms = a->ports->wall_ms(a->host);
	uint64_t total = 0;
	if (strcmp(r->name, o->release) != 0 || r->counter != (uint64_t)o->counter)
		return "the manifest is for another release";
	if (r->counter < a->record.floor)
		return "the manifest's counter is lower than the confirmed one";
	if (expires_ms != 0 && wall_ms > created_ms && wall_ms > expires_ms)
		return "the manifest has expired";
	for (unsigned i = 0; i < a->part_count; i++) {
		if (a->parts[i].size_bytes > a->config->slot_bytes - total)
			return "the release does not fit into a slot";
		total += a->parts[i].size_bytes;
	}
	return NULL;
}

/* Everything that can be said before a byte is written. NULL or why not; the text may lie in record.reason. */
static const char *check(struct agent *a, const struct agent_offer *o, struct checked *c, struct agent_release *release)
{
	int64_t created_ms, expires_ms;
	const char *reason;
	if (o->is_shadow && !agent_shadow_is_possible(a))
		return "this device runs nothing in shadow";
	if (!o->has_release)
		return "the document has no usable release";
	if ((c->key = agent_release_key(a, o->key_id)) < 0)
		return "the manifest is signed by an unknown key";
	if (!decode_manifest(o, c))
		return "the manifest or its signature is malformed";
	if (!agent_release_is_signed(a, c->key, c->manifest.text, c->manifest.len, c->signature))
		return "the signature is wrong";
	if ((reason = agent_document_read_parts(o->artifacts, a)) != NULL)
		return reason;
	reason = agent_release_check(a, c->manifest, a->parts, a->part_count, release, &created_ms, &expires_ms);
	if (reason || (reason = check_policy(a, o, release, created_ms, expires_ms)) != NULL)
		return reason;
	if (a->ports->is_compatible && !a->ports->is_compatible(a->host, release, a->record.reason, sizeof(a->record.reason)))
		return a->record.reason[0] ? a->record.reason : "not compatible with this device";
	return NULL;
}

/* The slot's sealed record becomes the new release's, if it is not already. One that was sealed for a shadow is not: its
 * parts may serve, once they are hashed again, but what was never to boot must not become bootable by a bit. */
static bool prepare_slot(struct agent *a, int slot, const struct checked *c, const uint8_t hash[AGENT_SHA256_BYTES])
{
	struct agent_slot *s = &a->record.slots[slot];
	bool is_shadow = a->record.is_shadow;
	if (memcmp(s->manifest, hash, AGENT_SHA256_BYTES) == 0 && s->is_shadow == is_shadow)
		return true;
	memset(s->manifest, 0, sizeof(s->manifest));
	s->is_complete = s->is_confirmed = false;
	if (!agent_record_save(a) ||
	    !agent_release_seal(a, slot, is_shadow ? AGENT_SEAL_SHADOW : AGENT_SEAL_INSTALL, c->manifest, c->signature, c->key,
	                        a->parts, a->part_count))
		return false;
	memcpy(s->manifest, hash, sizeof(s->manifest));
	s->is_shadow = is_shadow;
	return agent_record_save(a);
}

static void begin(struct agent *a, const struct agent_offer *o, struct agent_release *room)
{
	struct checked c;
	uint8_t hash[AGENT_SHA256_BYTES];
	const char *reason = check(a, o, &c, room);
	if (reason) {
		agent_deployment_finish(a, AGENT_DEPLOYMENT_REJECTED, reason);
		return;
	}
	agent_sha256(a, c.manifest.text, c.manifest.len, hash);
	int active = a->record.active;
	if (!o->is_shadow && active < AGENT_SLOT_FACTORY && memcmp(a->record.slots[active].manifest, hash, sizeof(hash)) == 0) {
		agent_deployment_finish(a, AGENT_DEPLOYMENT_SUCCEEDED, NULL); /* it runs already */
		return;
	}
	agent_tell(a, AGENT_EVENT_ACCEPTED, a->record.deployment);
	a->part = 0;
	a->offset = 0;
	a->copy_slot = -1;
	a->must_download = 0;
	a->bad_downloads = 0;
	go(a, AGENT_PREPARING);
	agent_report_soon(a);
	if (!prepare_slot(a, agent_trial_target(a), &c, hash))
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, storage_failed);
}

static bool is_same(const struct agent_record *r, const struct agent_offer *o)
{
	return strcmp(r->deployment, o->deployment) == 0 && r->attempt == (uint32_t)o->attempt && r->is_shadow == o->is_shadow;
}

static void offer(struct agent *a, const struct agent_offer *o, struct agent_release *room)
{
	struct agent_record *r = &a->record;
	bool is_known = is_same(r, o);
	bool is_working = a->state > AGENT_IDLE;
	if (is_known && (is_working || r->deployment_state >= AGENT_DEPLOYMENT_SUCCEEDED)) {
		agent_report_soon(a); /* perhaps the server missed how it ended */
		return;
	}
	if (is_working)
		agent_deployment_finish(a, AGENT_DEPLOYMENT_CANCELLED, "replaced by another deployment");
	if (!is_known)
		r->spent_ms = 0;
	memcpy(r->deployment, o->deployment, sizeof(r->deployment));
	r->attempt = (uint32_t)o->attempt;
	r->deployment_state = AGENT_DEPLOYMENT_ACCEPTED;
	r->is_shadow = o->is_shadow;
	r->reason[0] = '\0';
	a->timeout_ms = o->timeout_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)o->timeout_ms;
	a->started_ms = agent_now_ms(a) - r->spent_ms;
	begin(a, o, room);
}

void agent_deployment_take(struct agent *a, struct agent_slice text, struct agent_release *room)
{
	struct agent_offer o;
	const char *fault = agent_document_read(text, a->config->device, &o);
	if (fault) { /* not taken in, and not fetched again before it changes */
		agent_tell(a, AGENT_EVENT_RETRY, fault);
		return;
	}
	a->document_rev = o.rev;
	if (o.report_interval_ms > 0 && o.report_interval_ms <= UINT32_MAX)
		a->report_interval_ms = (uint32_t)o.report_interval_ms;
	agent_tell(a, AGENT_EVENT_DOCUMENT, a->document_etag);
	if (o.config.text && a->ports->config_changed)
		a->ports->config_changed(a->host, o.config.text, o.config.len, o.rev);
	agent_offload_take(a, o.offload);
	if (!is_same(&a->record, &o))
		agent_shadow_let_go(a); /* before anything touches its slot */
	if (o.deployment[0])
		offer(a, &o, room);
	else if (a->record.deployment_state != AGENT_DEPLOYMENT_NONE &&
	         a->record.deployment_state < AGENT_DEPLOYMENT_SUCCEEDED)
		agent_deployment_finish(a, AGENT_DEPLOYMENT_CANCELLED, "withdrawn by the server");
	else
		agent_report_soon(a); /* with the new desired_rev */
}

/* --- one part after the other --- */

static bool is_marked(const uint8_t mark[8], const struct agent_part *p)
{
	return memcmp(mark, p->sha256, 8) == 0;
}

/* Announces in the record that the part's old content is going away, then makes room. */
static bool empty_part(struct agent *a)
{
	struct agent_record *r = &a->record;
	int slot = agent_trial_target(a);
	const struct agent_part *p = &a->parts[a->part];
	memset(r->slots[slot].marks[a->part], 0, 8);
	r->part = (uint8_t)a->part;
	memcpy(r->part_mark, p->sha256, 8);
	r->part_offset = a->offset = a->durable_offset = 0;
	if (agent_record_save(a) && a->ports->part_begin(a->host, slot, (int)a->part, p->size_bytes, p->sha256))
		return true;
	agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, storage_failed);
	return false;
}

/* A slot's part with the wanted content, other than the wanted place itself. */
static bool find_copy(struct agent *a)
{
	for (int slot = 0; slot < 2; slot++)
		for (unsigned part = 0; part < AGENT_COMPONENTS_MAX; part++) {
			bool is_itself = slot == agent_trial_target(a) && part == a->part;
			if (is_itself || !is_marked(a->record.slots[slot].marks[part], &a->parts[a->part]))
				continue;
			a->copy_slot = slot;
			a->copy_part = part;
			return true;
		}
	return false;
}

static void download(struct agent *a)
{
	if (a->record.deployment_state != AGENT_DEPLOYMENT_DOWNLOADING) {
		a->record.deployment_state = AGENT_DEPLOYMENT_DOWNLOADING;
		agent_report_soon(a);
	}
	if (a->offset < a->parts[a->part].size_bytes)
		go(a, AGENT_DOWNLOADING);
	else if (a->ports->slot_sync(a->host, agent_trial_target(a))) /* an empty file has no bytes, but it must be there after a cut */
		go(a, AGENT_VERIFYING);
	else
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, storage_failed);
}

/* Where does the current part come from? */
static void pick_source(struct agent *a)
{
	struct agent_record *r = &a->record;
	if (a->part == a->part_count) {
		r->deployment_state = AGENT_DEPLOYMENT_INSTALLING;
		agent_report_soon(a);
		go(a, AGENT_INSTALLING);
		return;
	}
	const struct agent_part *p = &a->parts[a->part];
	bool may_reuse = !(a->must_download >> a->part & 1);
	a->offset = a->durable_offset = 0;
	a->is_downloaded = false;
	a->copy_slot = -1;
	if (may_reuse && is_marked(r->slots[agent_trial_target(a)].marks[a->part], p)) {
		agent_tell(a, AGENT_EVENT_REUSED, "in place");
		go(a, AGENT_VERIFYING);
	} else if (may_reuse && r->part == a->part && is_marked(r->part_mark, p) && r->part_offset > 0 &&
	           r->part_offset <= p->size_bytes) {
		a->offset = a->durable_offset = r->part_offset;
		agent_tell(a, AGENT_EVENT_RESUMED, "download");
		download(a);
	} else if (may_reuse && find_copy(a)) {
		agent_tell(a, AGENT_EVENT_REUSED, "copied");
		if (!empty_part(a))
			return;
		go(a, AGENT_PREPARING);
	} else if (empty_part(a)) {
		download(a);
	}
}

static size_t slice(const struct agent *a, uint64_t left)
{
	return left < sizeof(a->scratch) ? (size_t)left : sizeof(a->scratch);
}

static void copy_slice(struct agent *a)
{
	const struct agent_part *p = &a->parts[a->part];
	assert(a->part < a->part_count);
	for (uint32_t done = 0; done < a->limits.slice_bytes && a->offset < p->size_bytes;) {
		size_t n = slice(a, p->size_bytes - a->offset);
		if (!a->ports->part_read(a->host, a->copy_slot, (int)a->copy_part, a->offset, a->scratch, n)) {
			a->must_download |= (uint16_t)(1u << a->part);
			a->copy_slot = -1;
			return;
		}
		if (!a->ports->part_write(a->host, agent_trial_target(a), (int)a->part, a->offset, a->scratch, n)) {
			agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, storage_failed);
			return;
		}
		a->offset += n;
		done += (uint32_t)n;
	}
	if (a->offset < p->size_bytes)
		return;
	a->copy_slot = -1;
	if (!a->ports->slot_sync(a->host, agent_trial_target(a)))
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, storage_failed);
	else
		go(a, AGENT_VERIFYING);
}

static void part_is_right(struct agent *a)
{
	struct agent_record *r = &a->record;
	uint8_t *mark = r->slots[agent_trial_target(a)].marks[a->part];
	if (!is_marked(mark, &a->parts[a->part])) {
		memcpy(mark, a->parts[a->part].sha256, 8);
		memset(r->part_mark, 0, sizeof(r->part_mark));
		r->part_offset = 0;
		if (!agent_record_save(a)) {
			agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, storage_failed);
			return;
		}
	}
	a->part++;
	go(a, AGENT_PREPARING);
}

static void part_is_wrong(struct agent *a)
{
	a->must_download |= (uint16_t)(1u << a->part);
	a->offset = 0;
	a->copy_slot = -1;
	a->record.part_offset = 0;
	if (a->is_downloaded && ++a->bad_downloads >= BAD_DOWNLOADS_MAX) {
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, "a downloaded artifact has the wrong hash or size");
		return;
	}
	if (a->is_downloaded)
		agent_request_failed(a, "a downloaded artifact has the wrong hash or size");
	else
		agent_tell(a, AGENT_EVENT_STORAGE, "stored bytes have the wrong hash");
	go(a, AGENT_PREPARING);
}

static void hash_slice(struct agent *a)
{
	const struct agent_part *p = &a->parts[a->part];
	uint8_t hash[AGENT_SHA256_BYTES];
	bool is_readable = true;
	assert(a->part < a->part_count);
	if (!a->is_hashing) {
		a->ports->sha_init(a->host, &a->sha);
		a->is_hashing = true;
		a->offset = 0;
	}
	for (uint32_t done = 0; is_readable && done < a->limits.slice_bytes && a->offset < p->size_bytes;) {
		size_t n = slice(a, p->size_bytes - a->offset);
		is_readable = a->ports->part_read(a->host, agent_trial_target(a), (int)a->part, a->offset, a->scratch, n);
		if (is_readable)
			a->ports->sha_update(a->host, &a->sha, a->scratch, n);
		a->offset += n;
		done += (uint32_t)n;
	}
	if (is_readable && a->offset < p->size_bytes)
		return;
	a->ports->sha_final(a->host, &a->sha, hash);
	a->is_hashing = false;
	if (is_readable && memcmp(hash, p->sha256, sizeof(hash)) == 0)
		part_is_right(a);
	else
		part_is_wrong(a);
}

void agent_deployment_work(struct agent *a)
{
	switch (a->state) {
	case AGENT_PREPARING:
		if (a->copy_slot >= 0)
			copy_slice(a);
		else
			pick_source(a);
		break;
	case AGENT_DOWNLOADING:
		a->work_at_ms = INT64_MAX; /* the request goes on by itself */
		break;
	case AGENT_VERIFYING:
		hash_slice(a);
		break;
	case AGENT_INSTALLING:
		if (a->record.is_shadow)
			agent_shadow_begin(a);
		else
			agent_trial_begin(a);
		break;
	default:
		break;
	}
}

/* --- bytes from the server --- */

bool agent_deployment_answer(struct agent *a, uint64_t first_byte)
{
	if (a->state != AGENT_DOWNLOADING)
		return false;
	if (first_byte == a->offset)
		return true;
	if (first_byte != 0) {
		agent_request_failed(a, "the server answers with another range");
		return false;
	}
	a->request = AGENT_REQUEST_NONE; /* so that a failure cancels nothing: the answer false does */
	if (!empty_part(a))              /* a server without ranges */
		return false;
	a->request = AGENT_REQUEST_ARTIFACT;
	return true;
}

bool agent_deployment_data(struct agent *a, const void *data, size_t len)
{
	const struct agent_part *p = &a->parts[a->part];
	int slot = agent_trial_target(a);
	assert(a->state == AGENT_DOWNLOADING);
	a->is_downloaded = true;
	if (len > p->size_bytes - a->offset) {
		part_is_wrong(a);
		return false;
	}
	bool ok = a->ports->part_write(a->host, slot, (int)a->part, a->offset, data, len);
	if (ok) {
		a->offset += len;
		a->failures = 0;
		agent_report_later(a, PROGRESS_PAUSE_MS);
	}
	if (ok && a->offset - a->durable_offset >= a->limits.progress_step_bytes && a->offset < p->size_bytes) {
		a->durable_offset = a->record.part_offset = a->offset;
		ok = a->ports->slot_sync(a->host, slot) && agent_record_save(a);
	}
	if (!ok)
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, storage_failed);
	return ok;
}

void agent_deployment_end_of_data(struct agent *a, bool complete)
{
	if (a->state != AGENT_DOWNLOADING)
		return;
	if (a->offset < a->parts[a->part].size_bytes || !complete) {
		agent_request_failed(a, "the download was cut");
		return;
	}
	if (!a->ports->slot_sync(a->host, agent_trial_target(a)))
		agent_deployment_finish(a, AGENT_DEPLOYMENT_FAILED, storage_failed);
	else
		go(a, AGENT_VERIFYING);
}

/* --- time --- */

int64_t agent_deployment_deadline_ms(const struct agent *a)
{
	bool is_working = a->state > AGENT_IDLE && a->state < AGENT_TRIAL;
	return is_working && a->timeout_ms > 0 ? a->started_ms + a->timeout_ms : INT64_MAX;
}

bool agent_deployment_is_late(const struct agent *a)
{
	return agent_now_ms(a) >= agent_deployment_deadline_ms(a);
}
