#include "core/dedupe.h"

#include <assert.h>
#include <string.h>

/* FNV-1a, 64 bits; 0 is the mark of an unused place, so it is moved away. */
static uint64_t boot_hash(struct slice boot)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < boot.len; i++) h = (h ^ (unsigned char)boot.data[i]) * 0x100000001b3u;
	return h ? h : 1;
}

static int find(const struct dedupe *d, uint64_t boot)
{
	for (int i = 0; i < DEDUPE_BOOTS; i++)
		if (d->boots[i].boot == boot) return i;
	return -1;
}

static enum dedupe_result look(const struct dedupe_boot *b, uint64_t seq)
{
	if (seq > b->highest) return DEDUPE_NEW;
	uint64_t behind = b->highest - seq;
	if (behind >= DEDUPE_WINDOW) return DEDUPE_TOO_OLD;
	return b->mask >> behind & 1 ? DEDUPE_DUPLICATE : DEDUPE_NEW;
}

static void mark(struct dedupe_boot *b, uint64_t seq)
{
	if (seq > b->highest) {
		uint64_t ahead = seq - b->highest;
		b->mask = ahead < DEDUPE_WINDOW ? b->mask << ahead : 0;
		b->mask |= 1;
		b->highest = seq;
	} else {
		b->mask |= (uint64_t)1 << (b->highest - seq);
	}
}

/* A boot not seen before becomes the newest, and the oldest is forgotten. */
static struct dedupe_boot *remember(struct dedupe *d, uint64_t boot)
{
	memmove(&d->boots[1], &d->boots[0], sizeof d->boots - sizeof d->boots[0]);
	d->boots[0] = (struct dedupe_boot){.boot = boot};
	return &d->boots[0];
}

enum dedupe_result dedupe_check(const struct dedupe *d, struct slice boot, int64_t seq)
{
	assert(seq >= 1);
	int at = find(d, boot_hash(boot));
	return at < 0 ? DEDUPE_NEW : look(&d->boots[at], (uint64_t)seq);
}

enum dedupe_result dedupe_check_and_set(struct dedupe *d, struct slice boot, int64_t seq)
{
	assert(seq >= 1);
	uint64_t hash = boot_hash(boot);
	int at = find(d, hash);
	enum dedupe_result r = at < 0 ? DEDUPE_NEW : look(&d->boots[at], (uint64_t)seq);
	if (r == DEDUPE_NEW) mark(at < 0 ? remember(d, hash) : &d->boots[at], (uint64_t)seq);
	return r;
}

enum dedupe_result dedupe_check_and_set_ordered(struct dedupe *d, struct slice boot, int64_t seq)
{
	assert(seq >= 1);
	uint64_t hash = boot_hash(boot);
	int at = find(d, hash);
	if (at > 0) return DEDUPE_TOO_OLD;
	struct dedupe_boot *b = at < 0 ? remember(d, hash) : &d->boots[0];
	if ((uint64_t)seq <= b->highest) return DEDUPE_DUPLICATE;
	mark(b, (uint64_t)seq);
	return DEDUPE_NEW;
}

static void put(uint8_t *out, uint64_t v)
{
	for (int i = 0; i < 8; i++) out[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *in)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++) v |= (uint64_t)in[i] << (8 * i);
	return v;
}

void dedupe_encode(const struct dedupe *d, uint8_t out[DEDUPE_BYTES])
{
	for (int i = 0; i < DEDUPE_BOOTS; i++) {
		put(out + 24 * i, d->boots[i].boot);
		put(out + 24 * i + 8, d->boots[i].highest);
		put(out + 24 * i + 16, d->boots[i].mask);
	}
}

void dedupe_decode(struct dedupe *d, const uint8_t in[DEDUPE_BYTES])
{
	for (int i = 0; i < DEDUPE_BOOTS; i++) {
		d->boots[i].boot = get(in + 24 * i);
		d->boots[i].highest = get(in + 24 * i + 8);
		d->boots[i].mask = get(in + 24 * i + 16);
	}
}
