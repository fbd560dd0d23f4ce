#include "agent/record.h"

#include <assert.h>
#include <string.h>

#include "agent/codec.h"
#include "agent/inside.h"

/* Little-endian, fixed offsets:
 *   "AVST" version:2 sequence:8 floor:8 active:1 trial:1 trial_boots:1 part:1 part_mark:8 part_offset:8
 *   2 x (manifest:32 marks:16*8 complete:1 confirmed:1)
 *   deployment:65 attempt:4 state:1 spent_ms:4 reason:121 sha256:32
 * `complete` and `state` have SHADOW_BIT beside their value. A program of before shadows refuses such a record and runs
 * the newest release that was sealed for an install. */
enum {
	RECORD_VERSION = 1,
	SHADOW_BIT = 0x80,
	SLOT_BYTES = 32 + AGENT_COMPONENTS_MAX * 8 + 2,
	BODY_BYTES = 4 + 2 + 8 + 8 + 4 + 8 + 8 + 2 * SLOT_BYTES + AGENT_NAME_MAX + 1 + 4 + 1 + 4 + AGENT_REASON_MAX + 1,
	RECORD_BYTES = BODY_BYTES + AGENT_SHA256_BYTES
};

static const char magic[4] = {'A', 'V', 'S', 'T'};

static uint64_t with_shadow(uint8_t value, bool is_shadow)
{
	return is_shadow ? value | SHADOW_BIT : value;
}

static void encode(const struct agent_record *r, uint8_t *out)
{
	struct agent_cursor c = {out, out + BODY_BYTES};
	agent_put_bytes(&c, magic, sizeof(magic));
	agent_put_uint(&c, RECORD_VERSION, 2);
	agent_put_uint(&c, r->sequence, 8);
	agent_put_uint(&c, r->floor, 8);
	agent_put_uint(&c, r->active, 1);
	agent_put_uint(&c, r->trial, 1);
	agent_put_uint(&c, r->trial_boots, 1);
	agent_put_uint(&c, r->part, 1);
	agent_put_bytes(&c, r->part_mark, sizeof(r->part_mark));
	agent_put_uint(&c, r->part_offset, 8);
	for (int i = 0; i < 2; i++) {
		agent_put_bytes(&c, r->slots[i].manifest, sizeof(r->slots[i].manifest));
		agent_put_bytes(&c, r->slots[i].marks, sizeof(r->slots[i].marks));
		agent_put_uint(&c, with_shadow(r->slots[i].is_complete, r->slots[i].is_shadow), 1);
		agent_put_uint(&c, r->slots[i].is_confirmed, 1);
	}
	agent_put_bytes(&c, r->deployment, sizeof(r->deployment));
	agent_put_uint(&c, r->attempt, 4);
	agent_put_uint(&c, with_shadow(r->deployment_state, r->is_shadow), 1);
	agent_put_uint(&c, r->spent_ms, 4);
	agent_put_bytes(&c, r->reason, sizeof(r->reason));
	assert(c.at == c.end);
}

static uint8_t get_with_shadow(struct agent_cursor *c, bool *is_shadow)
{
	uint8_t byte = (uint8_t)agent_get_uint(c, 1);
	*is_shadow = (byte & SHADOW_BIT) != 0;
	return (uint8_t)(byte & ~SHADOW_BIT);
}

/* The hash is right already, so a value out of range means another program's record, not damage. */
static bool decode(struct agent_record *r, uint8_t *in)
{
	char found[4];
	struct agent_cursor c = {in, in + BODY_BYTES};
	agent_get_bytes(&c, found, sizeof(found));
	if (memcmp(found, magic, sizeof(magic)) != 0 || agent_get_uint(&c, 2) != RECORD_VERSION)
		return false;
	r->sequence = agent_get_uint(&c, 8);
	r->floor = agent_get_uint(&c, 8);
	r->active = (uint8_t)agent_get_uint(&c, 1);
	r->trial = (uint8_t)agent_get_uint(&c, 1);
	r->trial_boots = (uint8_t)agent_get_uint(&c, 1);
	r->part = (uint8_t)agent_get_uint(&c, 1);
	agent_get_bytes(&c, r->part_mark, sizeof(r->part_mark));
	r->part_offset = agent_get_uint(&c, 8);
	for (int i = 0; i < 2; i++) {
		agent_get_bytes(&c, r->slots[i].manifest, sizeof(r->slots[i].manifest));
		agent_get_bytes(&c, r->slots[i].marks, sizeof(r->slots[i].marks));
		r->slots[i].is_complete = get_with_shadow(&c, &r->slots[i].is_shadow) != 0;
		r->slots[i].is_confirmed = agent_get_uint(&c, 1) != 0;
	}
	agent_get_bytes(&c, r->deployment, sizeof(r->deployment));
	r->attempt = (uint32_t)agent_get_uint(&c, 4);
	r->deployment_state = get_with_shadow(&c, &r->is_shadow);
	r->spent_ms = (uint32_t)agent_get_uint(&c, 4);
	agent_get_bytes(&c, r->reason, sizeof(r->reason));
	r->deployment[AGENT_NAME_MAX] = r->reason[AGENT_REASON_MAX] = '\0';
	return r->active <= AGENT_SLOT_FACTORY && r->trial <= AGENT_SLOT_FACTORY && r->part < AGENT_COMPONENTS_MAX &&
	       r->deployment_state <= AGENT_DEPLOYMENT_CANCELLED && (r->trial == AGENT_SLOT_NONE || r->trial != r->active);
}

static bool read_copy(struct agent *a, int copy, struct agent_record *r)
{
	uint8_t hash[AGENT_SHA256_BYTES];
	if (!a->ports->state_read(a->host, copy, a->scratch, RECORD_BYTES))
		return false;
	agent_sha256(a, a->scratch, BODY_BYTES, hash);
	return memcmp(hash, a->scratch + BODY_BYTES, sizeof(hash)) == 0 && decode(r, a->scratch);
}

void agent_record_load(struct agent *a)
{
	struct agent_record other;
	assert(sizeof(a->scratch) >= RECORD_BYTES && RECORD_BYTES <= AGENT_STATE_BYTES);
	memset(&a->record, 0, sizeof(a->record));
	memset(&other, 0, sizeof(other));
	bool first = read_copy(a, 0, &a->record), second = read_copy(a, 1, &other);
	a->has_record = first || second;
	a->record_copy = 0;
	if (second && (!first || other.sequence > a->record.sequence)) {
		a->record = other;
		a->record_copy = 1;
	}
	if (a->has_record)
		return;
	memset(&a->record, 0, sizeof(a->record));
	a->record.active = a->record.trial = AGENT_SLOT_FACTORY;
	a->record.floor = a->config->factory ? a->config->factory->counter : 0;
}

bool agent_record_save(struct agent *a)
{
	int copy = 1 - a->record_copy;
	bool has_deadline = a->state > AGENT_IDLE && a->state <= AGENT_TRIAL;
	int64_t spent_ms = has_deadline ? agent_now_ms(a) - a->started_ms : a->record.spent_ms;
	a->record.spent_ms = spent_ms < 0 ? 0 : spent_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)spent_ms;
	a->record.sequence++; /* also after a failure: what that one left behind must be older than the next */
	encode(&a->record, a->scratch);
	agent_sha256(a, a->scratch, BODY_BYTES, a->scratch + BODY_BYTES);
	a->record_is_dirty = !a->ports->state_write(a->host, copy, a->scratch, RECORD_BYTES);
	if (a->record_is_dirty) {
		agent_tell(a, AGENT_EVENT_STORAGE, "state record could not be written");
		return false;
	}
	a->record_copy = copy;
	a->has_record = true;
	return true;
}
