#include "storage.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

/* Content that is complete and has its hash. A fleet holds a few dozen at most: a list is enough. */
struct blob {
	struct blob *next;
	uint8_t sha256[AGENT_SHA256_BYTES];
	uint64_t size_bytes;
	unsigned users;
	uint8_t *data;
};

static struct blob *blobs;

static void *allocate(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (!p)
		abort();
	return p;
}

static struct blob *blob_find(const uint8_t *sha256)
{
	struct blob *b = blobs;
	while (b && memcmp(b->sha256, sha256, AGENT_SHA256_BYTES) != 0)
		b = b->next;
	return b;
}

static void blob_leave(struct blob *b)
{
	if (--b->users > 0)
		return;
	struct blob **at = &blobs;
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	free(b->data);
	free(b);
}

/* The part is complete: if its bytes are what was announced, they become everybody's. */
static void part_share(struct part *p)
{
	uint8_t sha[AGENT_SHA256_BYTES];
	if (!p->has_sha || !p->data || p->written_bytes != p->size_bytes)
		return;
	crypto_sha256(p->data, p->size_bytes, sha);
	if (memcmp(sha, p->sha256, sizeof sha) != 0)
		return;
	struct blob *b = blob_find(sha);
	if (b) {
		free(p->data);
	} else {
		b = allocate(sizeof *b);
		*b = (struct blob){.next = blobs, .size_bytes = p->size_bytes, .data = p->data};
		memcpy(b->sha256, sha, sizeof sha);
		blobs = b;
	}
	b->users++;
	p->blob = b;
	p->data = NULL;
}

static void part_clear(struct part *p)
{
	if (p->blob)
		blob_leave(p->blob);
	free(p->data);
	memset(p, 0, sizeof *p);
}

void storage_done(struct storage *s)
{
	for (int slot = 0; slot < 2; slot++)
		for (int i = 0; i <= AGENT_COMPONENTS_MAX; i++)
			part_clear(&s->parts[slot][i]);
	free(s->state[0]);
	free(s->state[1]);
	memset(s, 0, sizeof *s);
}

bool storage_state_read(const struct storage *s, int copy, void *out, size_t size)
{
	if (!s->state[copy] || s->state_bytes[copy] < size)
		return false;
	memcpy(out, s->state[copy], size);
	return true;
}

bool storage_state_write(struct storage *s, int copy, const void *data, size_t size)
{
	uint8_t *copied = allocate(size);
	memcpy(copied, data, size);
	free(s->state[copy]);
	s->state[copy] = copied;
	s->state_bytes[copy] = size;
	return true;
}

bool storage_part_begin(struct storage *s, int slot, int part, uint64_t size_bytes, const uint8_t *sha256)
{
	struct part *p = &s->parts[slot][part];
	part_clear(p);
	p->size_bytes = size_bytes;
	if (!sha256)
		return true;
	p->has_sha = true;
	memcpy(p->sha256, sha256, AGENT_SHA256_BYTES);
	p->blob = blob_find(sha256);
	if (p->blob)
		p->blob->users++;
	return true;
}

/* The shared content is not what is written: this device gets a copy of its own of what it has so far. */
static void part_unshare(struct part *p)
{
	p->data = allocate(p->size_bytes);
	memcpy(p->data, p->blob->data, p->written_bytes);
	blob_leave(p->blob);
	p->blob = NULL;
}

bool storage_part_write(struct storage *s, int slot, int part, uint64_t offset, const void *data, size_t len)
{
	struct part *p = &s->parts[slot][part];
	if (offset > p->written_bytes || offset + len > p->size_bytes)
		return false;
	if (p->blob && memcmp(p->blob->data + offset, data, len) != 0)
		part_unshare(p);
	if (!p->blob) {
		if (!p->data)
			p->data = allocate(p->size_bytes);
		memcpy(p->data + offset, data, len);
	}
	if (offset + len > p->written_bytes)
		p->written_bytes = offset + len;
	part_share(p);
	return true;
}

bool storage_part_read(const struct storage *s, int slot, int part, uint64_t offset, void *out, size_t len)
{
	const struct part *p = &s->parts[slot][part];
	const uint8_t *from = p->blob ? p->blob->data : p->data;
	if (!from || offset + len > p->written_bytes)
		return false;
	memcpy(out, from + offset, len);
	return true;
}

size_t storage_shared_bytes(void)
{
	size_t sum = 0;
	for (const struct blob *b = blobs; b; b = b->next)
		sum += b->size_bytes;
	return sum;
}
