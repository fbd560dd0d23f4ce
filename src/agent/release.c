#include "agent/release.h"

#include <assert.h>
#include <string.h>

#include "agent/codec.h"
#include "agent/inside.h"

int agent_release_key(struct agent *a, const uint8_t key_id[8])
{
	uint8_t hash[AGENT_SHA256_BYTES];
	for (unsigned i = 0; i < a->config->key_count; i++) {
		agent_sha256(a, a->config->keys[i], 32, hash);
		if (memcmp(hash, key_id, 8) == 0)
			return (int)i;
	}
	return -1;
}

bool agent_release_is_signed(struct agent *a, int key, const void *manifest, size_t len, const uint8_t signature[64])
{
	assert(key >= 0 && (unsigned)key < a->config->key_count);
	return a->ports->verify(a->host, a->config->keys[key], AGENT_MANIFEST_DOMAIN, manifest, len, signature);
}

/* --- manifest --- */

struct manifest {
	struct agent_slice format, components;
	char release[AGENT_NAME_MAX + 1];
	int64_t counter, created, expires;
};
static const struct agent_member manifest_members[] = {
	{"format", AGENT_MEMBER_TEXT, true, offsetof(struct manifest, format), 0},
	{"release", AGENT_MEMBER_NAME, true, offsetof(struct manifest, release), AGENT_NAME_MAX + 1},
	{"counter", AGENT_MEMBER_COUNT, true, offsetof(struct manifest, counter), 0},
	{"created", AGENT_MEMBER_COUNT, true, offsetof(struct manifest, created), 0},
	{"expires", AGENT_MEMBER_COUNT, false, offsetof(struct manifest, expires), 0},
	{"components", AGENT_MEMBER_ARRAY, true, offsetof(struct manifest, components), 0},
};

struct component {
	struct agent_slice kind, artifacts;
	char name[AGENT_NAME_MAX + 1], version[AGENT_NAME_MAX + 1];
};
static const struct agent_member component_members[] = {
	{"kind", AGENT_MEMBER_TEXT, true, offsetof(struct component, kind), 0},
	{"name", AGENT_MEMBER_NAME, true, offsetof(struct component, name), AGENT_NAME_MAX + 1},
	{"version", AGENT_MEMBER_LABEL, true, offsetof(struct component, version), AGENT_NAME_MAX + 1},
	{"artifacts", AGENT_MEMBER_ARRAY, true, offsetof(struct component, artifacts), 0},
};

struct variant {
	char hardware[AGENT_NAME_MAX + 1];
	uint8_t sha256[AGENT_SHA256_BYTES];
	int64_t size_bytes;
};
static const struct agent_member variant_members[] = {
	{"hardware", AGENT_MEMBER_LABEL, true, offsetof(struct variant, hardware), AGENT_NAME_MAX + 1},
	{"sha256", AGENT_MEMBER_HEX, true, offsetof(struct variant, sha256), AGENT_SHA256_BYTES},
	{"size_bytes", AGENT_MEMBER_COUNT, true, offsetof(struct variant, size_bytes), 0},
};
#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static int find_part(const struct agent_part *parts, unsigned count, const struct variant *v)
{
	for (unsigned i = 0; i < count; i++)
		if (parts[i].size_bytes == (uint64_t)v->size_bytes && memcmp(parts[i].sha256, v->sha256, sizeof(v->sha256)) == 0)
			return (int)i;
	return -1;
}

/* 2: made for this hardware, 1: for any, 0: not for this one */
static int closeness(const struct agent *a, const char *hardware)
{
	return strcmp(hardware, a->config->hardware) == 0 ? 2 : strcmp(hardware, "*") == 0 ? 1 : 0;
}

static const char *check_component(struct agent *a, struct agent_slice text, const struct agent_part *parts,
                                   unsigned count, struct agent_component *out)
{
	struct component c;
	struct agent_items items;
	struct agent_slice item;
	int best = 0, offered = 0, part = 0;
	memset(&c, 0, sizeof(c));
	if (agent_json_bind(text, component_members, ROWS(component_members), &c))
		return "manifest: malformed component";
	out->is_firmware = agent_slice_equals(c.kind, "firmware");
	if (!out->is_firmware && !agent_slice_equals(c.kind, "model"))
		return "manifest: unknown kind of component";
	agent_items_open(&items, c.artifacts);
	while (agent_items_next(&items, &item)) {
		struct variant v;
		memset(&v, 0, sizeof(v));
		if (agent_json_bind(item, variant_members, ROWS(variant_members), &v))
			return "manifest: malformed artifact";
		int close = closeness(a, v.hardware), found = find_part(parts, count, &v);
		best = close > best ? close : best;
		if (found >= 0 && close > offered) {
			offered = close;
			part = found;
		}
	}
	if (items.failed)
		return "manifest: malformed artifacts";
	if (best == 0)
		return "manifest: a component has no artifact for this hardware";
	if (offered == 0)
		return "no artifact is offered for a component";
	if (offered < best)
		return "an artifact closer to this hardware exists";
	out->part = (uint8_t)part;
	memcpy(out->sha256, parts[part].sha256, sizeof(out->sha256));
	memcpy(out->name, c.name, sizeof(out->name));
	memcpy(out->version, c.version, sizeof(out->version));
	return NULL;
}

const char *agent_release_check(struct agent *a, struct agent_slice manifest, const struct agent_part *parts,
                                unsigned count, struct agent_release *release, int64_t *created_ms,
                                int64_t *expires_ms)
{
	struct manifest m;
	struct agent_items items;
	struct agent_slice item;
	unsigned used = 0;
	memset(&m, 0, sizeof(m));
	memset(release, 0, sizeof(*release));
	if (manifest.len > AGENT_MANIFEST_BYTES)
		return "manifest: too large";
	if (agent_json_bind(manifest, manifest_members, ROWS(manifest_members), &m))
		return "manifest: malformed";
	if (!agent_slice_equals(m.format, "aviary-manifest-1"))
		return "manifest: unknown format";
	agent_items_open(&items, m.components);
	while (agent_items_next(&items, &item)) {
		if (release->component_count == AGENT_COMPONENTS_MAX)
			return "manifest: too many components";
		struct agent_component *c = &release->components[release->component_count++];
		const char *reason = check_component(a, item, parts, count, c);
		if (reason)
			return reason;
		used |= 1u << c->part;
	}
	if (items.failed || release->component_count == 0)
		return "manifest: malformed components";
	if (used != (1u << count) - 1)
		return "an artifact is offered that the manifest does not name";
	memcpy(release->name, m.release, sizeof(release->name));
	release->counter = (uint64_t)m.counter;
	*created_ms = m.created;
	*expires_ms = m.expires;
	return NULL;
}

/* --- sealed record --- */

/* "AVRL" seal:2 parts:2 manifest_len:4 key_id:8 signature:64 then parts x (sha256:32 size:8) */
static const char magic[4] = {'A', 'V', 'R', 'L'};

/* Borrowed while a sealed record is read. */
struct opened {
	uint8_t head[AGENT_RECORD_HEAD_BYTES];
	char manifest[AGENT_MANIFEST_BYTES];
	uint8_t signature[64], key_id[8];
	struct agent_parts parts;
	struct agent_release release;
};
/* Whoever shrinks the buffers: both uses of memory_borrow must fit (a negative size does not compile). */
typedef char opened_fits[sizeof(struct opened) <= AGENT_MEMORY_BYTES ? 1 : -1];
typedef char document_fits[sizeof(struct agent_release) <= AGENT_MEMORY_BYTES - AGENT_DOCUMENT_BYTES ? 1 : -1];

bool agent_release_seal(struct agent *a, int slot, enum agent_seal seal, struct agent_slice manifest,
                        const uint8_t signature[64], int key, const struct agent_part *parts, unsigned count)
{
	uint8_t hash[AGENT_SHA256_BYTES];
	struct agent_cursor c = {a->scratch, a->scratch + AGENT_RECORD_HEAD_BYTES};
	assert(sizeof(a->scratch) >= AGENT_RECORD_HEAD_BYTES && count <= AGENT_COMPONENTS_MAX);
	agent_sha256(a, a->config->keys[key], 32, hash);
	memset(a->scratch, 0, AGENT_RECORD_HEAD_BYTES);
	agent_put_bytes(&c, magic, sizeof(magic));
	agent_put_uint(&c, (uint64_t)seal, 2);
	agent_put_uint(&c, count, 2);
	agent_put_uint(&c, manifest.len, 4);
	agent_put_bytes(&c, hash, 8);
	agent_put_bytes(&c, signature, 64);
	for (unsigned i = 0; i < count; i++) {
		agent_put_bytes(&c, parts[i].sha256, AGENT_SHA256_BYTES);
		agent_put_uint(&c, parts[i].size_bytes, 8);
	}
	return a->ports->part_begin(a->host, slot, AGENT_PART_RELEASE, AGENT_RECORD_HEAD_BYTES + manifest.len, NULL) &&
	       a->ports->part_write(a->host, slot, AGENT_PART_RELEASE, 0, a->scratch, AGENT_RECORD_HEAD_BYTES) &&
	       a->ports->part_write(a->host, slot, AGENT_PART_RELEASE, AGENT_RECORD_HEAD_BYTES, manifest.text, manifest.len) &&
	       a->ports->slot_sync(a->host, slot);
}

static bool read_sealed(struct agent *a, int slot, enum agent_seal seal, struct opened *o, size_t *manifest_len)
{
	char found[4];
	struct agent_cursor c = {o->head, o->head + sizeof(o->head)};
	if (!a->ports->part_read(a->host, slot, AGENT_PART_RELEASE, 0, o->head, sizeof(o->head)))
		return false;
	agent_get_bytes(&c, found, sizeof(found));
	if (memcmp(found, magic, sizeof(magic)) != 0 || agent_get_uint(&c, 2) != (uint64_t)seal)
		return false;
	o->parts.count = (unsigned)agent_get_uint(&c, 2);
	*manifest_len = (size_t)agent_get_uint(&c, 4);
	agent_get_bytes(&c, o->key_id, sizeof(o->key_id));
	agent_get_bytes(&c, o->signature, sizeof(o->signature));
	if (o->parts.count > AGENT_COMPONENTS_MAX || *manifest_len > sizeof(o->manifest))
		return false;
	for (unsigned i = 0; i < o->parts.count; i++) {
		agent_get_bytes(&c, o->parts.items[i].sha256, AGENT_SHA256_BYTES);
		o->parts.items[i].size_bytes = agent_get_uint(&c, 8);
	}
	return a->ports->part_read(a->host, slot, AGENT_PART_RELEASE, AGENT_RECORD_HEAD_BYTES, o->manifest, *manifest_len);
}

static bool part_is_right(struct agent *a, int slot, unsigned part, const struct agent_part *p)
{
	union agent_sha h;
	uint8_t hash[AGENT_SHA256_BYTES];
	bool ok = true;
	a->ports->sha_init(a->host, &h);
	for (uint64_t at = 0; ok && at < p->size_bytes; at += sizeof(a->scratch)) {
		size_t n = p->size_bytes - at < sizeof(a->scratch) ? (size_t)(p->size_bytes - at) : sizeof(a->scratch);
		ok = a->ports->part_read(a->host, slot, (int)part, at, a->scratch, n);
		if (ok)
			a->ports->sha_update(a->host, &h, a->scratch, n);
	}
	a->ports->sha_final(a->host, &h, hash);
	return ok && memcmp(hash, p->sha256, sizeof(hash)) == 0;
}

static bool check_opened(struct agent *a, int slot, bool hashes, struct opened *o, size_t manifest_len)
{
	int64_t created_ms, expires_ms;
	struct agent_slice manifest = {o->manifest, manifest_len};
	int key = agent_release_key(a, o->key_id);
	if (key < 0 || !agent_release_is_signed(a, key, o->manifest, manifest_len, o->signature))
		return false;
	if (agent_release_check(a, manifest, o->parts.items, o->parts.count, &o->release, &created_ms, &expires_ms))
		return false;
	for (unsigned i = 0; hashes && i < o->parts.count; i++)
		if (!part_is_right(a, slot, i, &o->parts.items[i]))
			return false;
	return true;
}

enum agent_opened agent_release_open(struct agent *a, int slot, enum agent_seal seal, bool hashes,
                                     struct agent_release *release, struct agent_parts *parts,
                                     uint8_t manifest_hash[AGENT_SHA256_BYTES])
{
	size_t manifest_len = 0;
	struct opened *o = a->ports->memory_borrow(a->host, sizeof(*o));
	if (!o)
		return AGENT_OPEN_NO_MEMORY;
	memset(o, 0, sizeof(*o));
	bool ok = read_sealed(a, slot, seal, o, &manifest_len) && check_opened(a, slot, hashes, o, manifest_len);
	if (ok && release)
		*release = o->release;
	if (ok && parts)
		*parts = o->parts;
	if (ok)
		agent_sha256(a, o->manifest, manifest_len, manifest_hash);
	a->ports->memory_return(a->host, o);
	return ok ? AGENT_OPENED : AGENT_OPEN_DAMAGED;
}
