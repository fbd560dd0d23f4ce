/* A world for one agent: storage that can lose power at any write, a server that signs and serves, a virtual clock.
 * Deterministic by seed.
 *
 * Storage keeps two images of every part: what was written and what is durable. A cut at write k keeps an arbitrary
 * mixture of both, block by block, and tears a state copy in the middle.
 */
#ifndef TESTS_UNIT_AGENT_WORLD_H
#define TESTS_UNIT_AGENT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "base/buf.h"
#include "base/crypto.h"

enum { PART_MAX = 65536, BLOCK = 512, PARTS = AGENT_PART_RELEASE + 1, RELEASES = 6, CHUNK = 5000 };

struct image {
	unsigned char bytes[PART_MAX];
	size_t size;
};

struct blob {
	const char *kind, *name, *version, *hardware;
	unsigned char *bytes;
	size_t size;
	char sha256[SHA256_HEX];
};

struct test_release {
	const char *name;
	uint64_t counter;
	int64_t created, expires;
	unsigned count;
	struct blob blobs[3];
};

struct world {
	struct agent agent;
	struct agent_config config;
	struct agent_release factory;
	uint64_t random;

	/* storage */
	struct image written[2][PARTS], durable[2][PARTS];
	unsigned char state[2][AGENT_STATE_BYTES];
	size_t state_len[2];
	bool has_saved; /* a state write returned true */
	int writes, cut_at; /* cut_at 0: never */
	bool is_dead;
	int fail_writes_from, fail_writes_to; /* these writes return false and do nothing */
	char *memory;
	bool memory_is_lent, memory_is_scarce;

	/* another storage in place of the images above: its ports, and what it does at a start; NULL: none */
	const struct agent_ports *ports;
	void (*restart)(struct world *w);
	void *storage;

	/* time, transport */
	int64_t now_ms, wall_ms, until_ms;
	uint32_t request;
	char path[256];
	bool has_etag;
	uint64_t from, sent;
	bool head_sent;
	int requests_for_documents, requests_for_artifacts, cut_download_after, corrupt_downloads, status_instead;
	size_t downloaded_bytes;
	bool ignores_ranges, server_is_down, acks_are_lost;
	char will_ack[64];
	int64_t will_ack_seq;

	/* server */
	uint8_t secret[32], public_key[1][32];
	struct test_release releases[RELEASES];
	int64_t rev;
	char document[AGENT_DOCUMENT_BYTES];
	size_t document_len;
	char etag[17];
	int reports, distinct_reports;
	char last_report[AGENT_REPORT_BYTES];
	char deployment_states[512]; /* distinct ones in order, with blanks */
	bool device_is_enrolled;
	char last_answer[AGENT_ANSWER_BYTES];
	int answers;

	/* hooks */
	char last_check[128];
	int checks, cancelled_checks, telemetry_nows;
	bool has_no_checks;
	int activated_slot;
	bool activated_as_trial;
	int self_tests;
	bool self_test_is_due, self_test_hangs, activation_reboots, activation_fails;
	const char *self_test_fails_on; /* release name */
	const char *incompatible;
	int events[AGENT_EVENT_STORAGE + 1], wrong_hashes;
	char last_config[128];
	bool wants_reboot;
	int shadow_slot; /* -1: none runs */
	int shadow_starts;
	char shadow_release[AGENT_NAME_MAX + 1];
	bool shadow_fails, has_no_shadow;
};

static uint32_t w_random(struct world *w) /* splitmix64 */
{
	uint64_t z = w->random += 0x9E3779B97F4A7C15u;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return (uint32_t)(z >> 32);
}

/* --- storage --- */

/* Counts a write. False: it must not happen (dead, or told to fail). *last: power goes with this one. */
static bool w_write_begins(struct world *w, bool *last)
{
	*last = false;
	if (w->is_dead)
		return false;
	w->writes++;
	if (w->writes >= w->fail_writes_from && w->writes < w->fail_writes_to)
		return false;
	*last = w->writes == w->cut_at;
	w->is_dead = *last;
	return true;
}

/* Bytes beyond the size are nobody's. */
static inline void w_copy_image(struct image *to, const struct image *from)
{
	memcpy(to->bytes, from->bytes, from->size);
	to->size = from->size;
}

static inline void w_settle(struct world *w) /* what the cut leaves of what was not synced */
{
	if (w->storage)
		return;
	for (int s = 0; s < 2; s++)
		for (int p = 0; p < PARTS; p++) {
			struct image *durable = &w->durable[s][p], *written = &w->written[s][p];
			size_t end = durable->size > written->size ? durable->size : written->size;
			for (size_t at = 0; at < end; at += BLOCK)
				if (w_random(w) & 1)
					memcpy(durable->bytes + at, written->bytes + at, BLOCK);
			if (w_random(w) & 1)
				durable->size = written->size;
			w_copy_image(written, durable);
		}
}

static bool w_state_read(void *host, int copy, void *out, size_t size)
{
	struct world *w = host;
	if (w->state_len[copy] < size)
		return false;
	memcpy(out, w->state[copy], size);
	return true;
}

static bool w_state_write(void *host, int copy, const void *data, size_t size)
{
	struct world *w = host;
	bool last;
	if (!w_write_begins(w, &last))
		return false;
	assert_true(size <= AGENT_STATE_BYTES);
	size_t n = last ? w_random(w) % (size + 1) : size;
	memcpy(w->state[copy], data, n);
	w->state_len[copy] = size;
	w->has_saved = w->has_saved || !last;
	return !last;
}

static bool w_part_begin(void *host, int slot, int part, uint64_t size_bytes, const uint8_t *sha256)
{
	struct world *w = host;
	bool last;
	assert_true((sha256 == NULL) == (part == AGENT_PART_RELEASE));
	assert_int_not_equal(slot, w->agent.record.active); /* never the slot in use */
	assert_int_not_equal(slot, w->shadow_slot);         /* nor the one that runs in shadow */
	if (!w_write_begins(w, &last) || size_bytes > PART_MAX)
		return false;
	struct image *i = &w->written[slot][part];
	memset(i->bytes, 0xFF, sizeof(i->bytes));
	i->size = 0;
	return !last;
}

static bool w_part_write(void *host, int slot, int part, uint64_t offset, const void *data, size_t len)
{
	struct world *w = host;
	bool last;
	assert_int_not_equal(slot, w->agent.record.active);
	if (!w_write_begins(w, &last))
		return false;
	assert_true(offset + len <= PART_MAX);
	struct image *i = &w->written[slot][part];
	memcpy(i->bytes + offset, data, last ? w_random(w) % (len + 1) : len);
	if (offset + len > i->size)
		i->size = offset + len;
	return !last;
}

static bool w_part_read(void *host, int slot, int part, uint64_t offset, void *out, size_t len)
{
	struct world *w = host;
	const struct image *i = &w->written[slot][part];
	if (offset + len > i->size)
		return false;
	memcpy(out, i->bytes + offset, len);
	return true;
}

static bool w_slot_sync(void *host, int slot)
{
	struct world *w = host;
	bool last;
	if (!w_write_begins(w, &last) || last)
		return false;
	for (int p = 0; p < PARTS; p++)
		w_copy_image(&w->durable[slot][p], &w->written[slot][p]);
	return true;
}

static void *w_memory_borrow(void *host, size_t size)
{
	struct world *w = host;
	assert_true(size <= AGENT_MEMORY_BYTES);
	assert_false(w->memory_is_lent); /* one at a time, so that a static buffer will do */
	if (w->memory_is_scarce && w_random(w) % 2)
		return NULL;
	w->memory_is_lent = true;
	w->memory = malloc(size); /* of exactly this size: the address sanitizer sees every step beyond */
	return w->memory;
}

static void w_memory_return(void *host, void *memory)
{
	struct world *w = host;
	assert_true(w->memory_is_lent && memory == w->memory);
	w->memory_is_lent = false;
	free(memory);
}

/* --- clock, crypto --- */

static int64_t w_mono_ms(void *host) { return ((struct world *)host)->now_ms; }
static int64_t w_wall_ms(void *host) { return ((struct world *)host)->wall_ms; }

static void w_sha_init(void *host, union agent_sha *h)
{
	(void)host;
	struct sha256 *s = sha256_new();
	memcpy(h->bytes, &s, sizeof(s));
}
static struct sha256 *w_sha(union agent_sha *h)
{
	struct sha256 *s;
	memcpy(&s, h->bytes, sizeof(s));
	return s;
}
static void w_sha_update(void *host, union agent_sha *h, const void *data, size_t len)
{
	(void)host;
	sha256_update(w_sha(h), data, len);
}
static void w_sha_final(void *host, union agent_sha *h, uint8_t out[32])
{
	(void)host;
	sha256_final(w_sha(h), out);
	sha256_free(w_sha(h));
}
static bool w_verify(void *host, const uint8_t key[32], const char *domain, const void *data, size_t len,
                     const uint8_t signature[64])
{
	(void)host;
	return ed25519_verify(key, domain, data, len, signature);
}
static void w_fill_random(void *host, void *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)w_random(host);
}

/* --- transport --- */

static void w_note_deployment(struct world *w)
{
	char state[32] = "";
	const char *d = strstr(w->last_report, "\"deployment\":{");
	const char *s = d ? strstr(d, "\"state\":\"") : NULL;
	if (!s || sscanf(s, "\"state\":\"%20[a-z]", state) != 1)
		return;
	size_t len = strlen(w->deployment_states), n = strlen(state);
	if (len >= n + 1 && strcmp(w->deployment_states + len - n, state) == 0 && w->deployment_states[len - n - 1] == ' ')
		return;
	if (len + n + 2 < sizeof(w->deployment_states))
		snprintf(w->deployment_states + len, sizeof(w->deployment_states) - len, " %s", state);
}

static bool w_publish(void *host, enum agent_topic topic, const char *payload, size_t len, bool retained)
{
	struct world *w = host;
	long long seq;
	char boot[64];
	assert_int_equal(strlen(payload), len);
	assert_int_equal(retained, topic == AGENT_TOPIC_STATUS);
	if (w->is_dead || w->server_is_down)
		return false;
	if (topic == AGENT_TOPIC_ANSWER) {
		w->answers++;
		snprintf(w->last_answer, sizeof(w->last_answer), "%s", payload);
	}
	if (topic != AGENT_TOPIC_REPORT)
		return true;
	w->reports++;
	w->distinct_reports += strcmp(w->last_report, payload) != 0;
	snprintf(w->last_report, sizeof(w->last_report), "%s", payload);
	assert_int_equal(sscanf(payload, "{\"boot\":\"%60[^\"]\",\"seq\":%lld", boot, &seq), 2);
	if (strstr(payload, "\"enrol\":"))
		w->device_is_enrolled = true;
	w_note_deployment(w);
	if (w->acks_are_lost)
		return true;
	snprintf(w->will_ack, sizeof(w->will_ack), "%s", boot);
	w->will_ack_seq = seq;
	return true;
}

static bool w_http_get(void *host, uint32_t id, const char *path, const char *etag, uint64_t from)
{
	struct world *w = host;
	assert_int_equal(w->request, 0); /* one at a time */
	w->request = id;
	w->head_sent = false;
	w->sent = 0;
	w->from = from;
	w->has_etag = etag && strcmp(etag, w->etag) == 0;
	snprintf(w->path, sizeof(w->path), "%s", path);
	if (strstr(path, "/artifacts/"))
		w->requests_for_artifacts++;
	else
		w->requests_for_documents++;
	return true;
}

static void w_http_cancel(void *host, uint32_t id)
{
	struct world *w = host;
	assert_int_equal(w->request, id);
	w->request = 0;
}

/* --- hooks --- */

static bool w_is_compatible(void *host, const struct agent_release *r, char *reason, size_t size)
{
	struct world *w = host;
	if (!w->incompatible || strcmp(r->name, w->incompatible) != 0)
		return true;
	snprintf(reason, size, "needs another runtime");
	return false;
}

static enum agent_activation w_activate(void *host, int slot, bool trial)
{
	struct world *w = host;
	bool is_new = slot != w->activated_slot;
	w->activated_slot = slot;
	w->activated_as_trial = trial;
	if (trial && w->activation_fails)
		return AGENT_ACTIVATE_FAILED;
	return is_new && w->activation_reboots ? AGENT_ACTIVATE_REBOOT : AGENT_ACTIVATE_DONE;
}

static void w_reboot(void *host) { ((struct world *)host)->wants_reboot = true; }

static bool w_self_test_start(void *host, int slot)
{
	struct world *w = host;
	assert_int_equal(slot, w->activated_slot);
	w->self_tests++;
	w->self_test_is_due = !w->self_test_hangs;
	return true;
}

static bool w_shadow_start(void *host, int slot, const struct agent_release *release)
{
	struct world *w = host;
	assert_int_equal(w->shadow_slot, -1);
	assert_int_not_equal(slot, w->activated_slot);
	if (w->shadow_fails)
		return false;
	w->shadow_slot = slot;
	w->shadow_starts++;
	snprintf(w->shadow_release, sizeof(w->shadow_release), "%s", release->name);
	return true;
}

static void w_shadow_stop(void *host)
{
	struct world *w = host;
	assert_int_not_equal(w->shadow_slot, -1);
	w->shadow_slot = -1;
}

static void w_config_changed(void *host, const char *json, size_t len, int64_t rev)
{
	struct world *w = host;
	(void)rev;
	snprintf(w->last_config, sizeof(w->last_config), "%.*s", (int)len, json);
}

static void w_event(void *host, enum agent_event event, const char *detail)
{
	struct world *w = host;
	w->events[event]++;
	w->wrong_hashes += strstr(detail, "stored bytes have the wrong hash") != NULL;
	if (getenv("WORLD_TRACE"))
		fprintf(stderr, "%8lld %s %s\n", (long long)w->now_ms, agent_event_name(event), detail);
}

static bool w_check_start(void *host, const char *check, const char *name)
{
	struct world *w = host;
	w->checks++;
	snprintf(w->last_check, sizeof(w->last_check), "%s %s", check, name);
	return !w->has_no_checks;
}
static void w_check_cancel(void *host)
{
	((struct world *)host)->cancelled_checks++;
}
static void w_telemetry_now(void *host)
{
	((struct world *)host)->telemetry_nows++;
}

static const struct agent_ports w_ports = {
	w_state_read, w_state_write, w_part_begin, w_part_write, w_part_read, w_slot_sync, w_memory_borrow,
	w_memory_return, w_mono_ms, w_wall_ms, w_sha_init, w_sha_update, w_sha_final, w_verify, w_fill_random,
	w_publish, w_http_get, w_http_cancel, w_is_compatible, w_activate, w_reboot, w_self_test_start, NULL,
	w_config_changed, w_event, w_shadow_start, w_shadow_stop, w_check_start, w_check_cancel, w_telemetry_now, NULL, NULL,
};
static const struct agent_ports w_ports_without_shadow = {
	w_state_read, w_state_write, w_part_begin, w_part_write, w_part_read, w_slot_sync, w_memory_borrow,
	w_memory_return, w_mono_ms, w_wall_ms, w_sha_init, w_sha_update, w_sha_final, w_verify, w_fill_random,
	w_publish, w_http_get, w_http_cancel, w_is_compatible, w_activate, w_reboot, w_self_test_start, NULL,
	w_config_changed, w_event, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
};

/* --- server --- */

static void w_blob(struct world *w, struct blob *b, const char *kind, const char *name, const char *version,
                   const char *hardware, size_t size,
                   uint64_t seed)
{
	struct blob made = {kind, name, version, hardware, malloc(size + 1), size, ""};
	uint64_t kept = w->random;
	w->random = seed;
	for (size_t i = 0; i < size; i++)
		made.bytes[i] = (unsigned char)w_random(w);
	w->random = kept;
	crypto_sha256_hex(made.bytes, size, made.sha256);
	*b = made;
}

static void w_manifest(const struct test_release *r, struct buf *out)
{
	buf_printf(out, "{\"format\":\"aviary-manifest-1\",\"release\":\"%s\",\"counter\":%llu,\"created\":%lld,\"expires\":%lld,\"components\":[",
	           r->name, (unsigned long long)r->counter, (long long)r->created, (long long)r->expires);
	for (unsigned i = 0; i < r->count; i++) {
		const struct blob *b = &r->blobs[i];
		buf_printf(out, "%s{\"kind\":\"%s\",\"name\":\"%s\",\"version\":\"%s\",\"artifacts\":[", i ? "," : "", b->kind,
		           b->name, b->version);
		buf_printf(out, "{\"hardware\":\"other\",\"sha256\":\"%064d\",\"size_bytes\":7,\"file\":\"o\"},", 0);
		buf_printf(out, "{\"hardware\":\"%s\",\"sha256\":\"%s\",\"size_bytes\":%zu,\"file\":\"f.tflite\"}]}", b->hardware,
		           b->sha256, b->size);
	}
	buf_str(out, "],\"config\":{}}");
}

/* The signed release as an object of the document; `mangle` may change manifest bytes or signature after signing. */
static void w_put_release(struct world *w, struct buf *d, const struct test_release *r,
                          void (*mangle)(struct buf *manifest, uint8_t *signature))
{
	struct buf m = BUF_INIT;
	uint8_t signature[64], hash[32];
	char key_id[65], text[128];
	w_manifest(r, &m);
	ed25519_sign(w->secret, "aviary-manifest-v1", m.data, m.len, signature);
	if (mangle)
		mangle(&m, signature);
	crypto_sha256(w->public_key[0], 32, hash);
	hex_encode(hash, 8, key_id);
	char *base64 = malloc(base64_encoded_len(m.len) + 1);
	base64_encode(m.data, m.len, base64);
	base64_encode(signature, 64, text);
	buf_printf(d, "\"release\":{\"name\":\"%s\",\"counter\":%llu,\"manifest\":\"%s\",\"signature\":\"%s\",\"key_id\":\"%s\",\"artifacts\":[", r->name,
	           (unsigned long long)r->counter, base64, text, key_id);
	for (unsigned i = 0; i < r->count; i++)
		buf_printf(d, "%s{\"sha256\":\"%s\",\"size_bytes\":%zu,\"url\":\"/device/v1/dev-1/artifacts/%s\"}", i ? "," : "",
		           r->blobs[i].sha256,
		           r->blobs[i].size, r->blobs[i].sha256);
	buf_str(d, "]}");
	free(base64);
	buf_done(&m);
}

static void w_open_document(struct world *w, struct buf *d)
{
	w->rev++;
	buf_printf(d, "{\"device\":\"dev-1\",\"rev\":%lld,", (long long)w->rev);
}

static void w_close_document(struct world *w, struct buf *d)
{
	uint8_t hash[32];
	buf_printf(d, ",\"config\":{\"light\":%lld},\"report_interval_ms\":30000}", (long long)w->rev);
	assert_true(d->len < sizeof(w->document));
	memcpy(w->document, d->data, d->len);
	w->document_len = d->len;
	crypto_sha256(d->data, d->len, hash);
	hex_encode(hash, 8, w->etag);
	buf_done(d);
}

/* Sets the desired document. deployment NULL: none. */
static inline void w_offer_mangled(struct world *w, const char *deployment, int attempt, const struct test_release *r,
                            void (*mangle)(struct buf *manifest, uint8_t *signature), uint64_t timeout_ms)
{
	struct buf d = BUF_INIT;
	w_open_document(w, &d);
	if (deployment)
		buf_printf(&d, "\"deployment\":{\"id\":\"%s\",\"attempt\":%d,\"action\":\"install\",\"timeout_ms\":%llu},",
		           deployment, attempt,
		           (unsigned long long)timeout_ms);
	w_put_release(w, &d, r, mangle);
	w_close_document(w, &d);
}

/* The same with a release in shadow beside the one that is to run. */
static inline void w_offer_shadow(struct world *w, const char *id, int attempt, const struct test_release *runs,
                                  const struct test_release *shadow)
{
	struct buf d = BUF_INIT;
	w_open_document(w, &d);
	w_put_release(w, &d, runs, NULL);
	buf_printf(&d, ",\"shadow\":{\"id\":\"%s\",\"attempt\":%d,\"timeout_ms\":600000,", id, attempt);
	w_put_release(w, &d, shadow, NULL);
	buf_str(&d, "}");
	w_close_document(w, &d);
}

static inline void w_offer(struct world *w, const char *deployment, int attempt, const struct test_release *r)
{
	w_offer_mangled(w, deployment, attempt, r, NULL, 600000);
}

static inline void w_hint(struct world *w)
{
	char text[256];
	int n;
	if (w->server_is_down || !w->agent.is_connected)
		return;
	if (w->will_ack[0])
		n = snprintf(text, sizeof(text),
		             "{\"rev\":%lld,\"etag\":\"%s\",\"ack\":[\"%s\",%lld],\"url\":\"/device/v1/dev-1/desired\"}",
		             	(long long)w->rev,
		             w->etag, w->will_ack, (long long)w->will_ack_seq);
	else
		n = snprintf(text, sizeof(text), "{\"rev\":%lld,\"etag\":\"%s\",\"url\":\"/device/v1/dev-1/desired\"}",
		             (long long)w->rev, w->etag);
	assert_true(n < 200);
	w->will_ack[0] = '\0';
	agent_on_desired(&w->agent, text, (size_t)n);
}

static const struct blob *w_find_blob(struct world *w)
{
	for (int r = 0; r < RELEASES; r++)
		for (unsigned i = 0; i < w->releases[r].count; i++)
			if (strstr(w->path, w->releases[r].blobs[i].sha256))
				return &w->releases[r].blobs[i];
	return NULL;
}

static void w_end(struct world *w, bool complete)
{
	uint32_t id = w->request;
	w->request = 0;
	agent_on_http_done(&w->agent, id, complete);
}

/* One step of the answer: the head, a chunk, or the end. */
static void w_serve(struct world *w)
{
	const struct blob *b = strstr(w->path, "/artifacts/") ? w_find_blob(w) : NULL;
	const void *body = b ? (const void *)b->bytes : w->document;
	size_t size = b ? b->size : w->document_len;
	uint64_t from = w->ignores_ranges ? 0 : w->from;
	if (!b && strcmp(w->path, "/device/v1/dev-1/desired") != 0)
		size = 0;
	if (w->server_is_down) {
		w_end(w, false);
		return;
	}
	if (!w->head_sent) {
		int good = !b && w->has_etag ? 304 : size == 0 && !b ? 404 : from ? 206 : 200;
		int status = w->status_instead ? w->status_instead : good;
		w->head_sent = true;
		if (!agent_on_http_response(&w->agent, w->request, status, b ? NULL : w->etag, from))
			w->request = 0;
		else if (status >= 300) { /* errors have a text */
			if (status == 304 || agent_on_http_data(&w->agent, w->request, "{\"status\":404}", 14))
				w_end(w, true);
			else
				w->request = 0;
		}
		return;
	}
	size_t at = (size_t)(from + w->sent), n = size - at < CHUNK ? size - at : CHUNK;
	if (n == 0) {
		w_end(w, true);
		return;
	}
	if (b && w->cut_download_after > 0 && --w->cut_download_after == 0) {
		w_end(w, false);
		return;
	}
	unsigned char chunk[CHUNK];
	memcpy(chunk, (const char *)body + at, n);
	if (b && w->corrupt_downloads > 0) {
		chunk[n / 2] ^= 1;
		w->corrupt_downloads -= at + n == size;
	}
	w->sent += n;
	w->downloaded_bytes += b ? n : 0;
	if (!agent_on_http_data(&w->agent, w->request, chunk, n))
		w->request = 0;
}

/* --- driving --- */

static inline void w_power_up(struct world *w)
{
	w->request = 0;
	w->is_dead = false;
	w->wants_reboot = false;
	w->self_test_is_due = false;
	w->shadow_slot = -1; /* nothing outlives the power */
	w->will_ack[0] = '\0';
	if (w->memory_is_lent)
		w_memory_return(w, w->memory);
	const struct agent_ports *ports = w->ports ? w->ports : w->has_no_shadow ? &w_ports_without_shadow : &w_ports;
	if (w->restart)
		w->restart(w);
	assert_true(agent_init(&w->agent, &w->config, ports, w));
	while (!agent_boot(&w->agent)) {
		assert_true(w->memory_is_scarce);
		assert_true(agent_init(&w->agent, &w->config, ports, w));
	}
	if (!w->server_is_down) {
		agent_on_mqtt_connected(&w->agent);
		w_hint(w);
	}
}

/* Frees what a dead agent still holds in the crypto port, as a real power cut would. */
static inline void w_power_off(struct world *w)
{
	uint8_t unused[32];
	if (w->agent.is_hashing)
		w_sha_final(w, &w->agent.sha, unused);
	w->agent.is_hashing = false;
	w_settle(w);
}

static inline void w_reboot_now(struct world *w)
{
	w_power_off(w);
	w_power_up(w);
}

/* One turn: poll, then let the world answer or time pass. False when nothing will happen any more. */
static inline bool w_turn(struct world *w)
{
	int64_t next_ms = agent_poll(&w->agent);
	if (w->is_dead)
		return true;
	if (w->wants_reboot) {
		w_reboot_now(w);
		return true;
	}
	if (w->will_ack[0]) {
		w_hint(w);
		return true;
	}
	if (w->self_test_is_due) {
		bool fails = w->self_test_fails_on && strcmp(w->self_test_fails_on, agent_running(&w->agent)->name) == 0;
		w->self_test_is_due = false;
		agent_on_self_test(&w->agent, !fails, fails ? "accuracy too low" : NULL);
		return true;
	}
	if (w->request) {
		w_serve(w);
		return true;
	}
	if (next_ms == INT64_MAX)
		return false;
	if (next_ms > w->until_ms)
		next_ms = w->until_ms;
	if (next_ms > w->now_ms) {
		w->wall_ms += w->wall_ms > 0 ? next_ms - w->now_ms : 0;
		w->now_ms = next_ms;
	}
	return true;
}

/* Until everything is settled, dead, or for_ms have passed. */
static inline void w_run(struct world *w, int64_t for_ms)
{
	int turns = 0;
	w->until_ms = w->now_ms + for_ms;
	while (!w->is_dead && w->now_ms < w->until_ms && w_turn(w))
		assert_true(++turns < 20000); /* no busy loop */
	w->until_ms = INT64_MAX;
}

static inline bool w_is_running(struct world *w, const struct test_release *r)
{
	const struct agent_release *running = agent_running(&w->agent);
	return strcmp(running->name, r->name) == 0 && running->counter == r->counter && w->agent.state == AGENT_IDLE;
}

/* The device runs a whole release: the slot in use holds exactly the bytes of what it says it runs. */
static inline void w_assert_whole(struct world *w)
{
	const struct agent_release *running = agent_running(&w->agent);
	int slot = agent_running_slot(&w->agent);
	if (slot == AGENT_SLOT_FACTORY) {
		assert_string_equal(running->name, "factory");
		return;
	}
	for (int r = 0; r < RELEASES; r++) {
		const struct test_release *t = &w->releases[r];
		if (strcmp(t->name, running->name) != 0 || t->counter != running->counter)
			continue;
		assert_int_equal(running->component_count, t->count);
		for (unsigned i = 0; i < t->count; i++) {
			const struct image *image = &w->durable[slot][running->components[i].part];
			assert_string_equal(running->components[i].version, t->blobs[i].version);
			if (w->ports) {
				unsigned char bytes[PART_MAX];
				assert_true(w->ports->part_read(w, slot, running->components[i].part, 0, bytes, t->blobs[i].size));
				assert_memory_equal(bytes, t->blobs[i].bytes, t->blobs[i].size);
				continue;
			}
			assert_true(image->size >= t->blobs[i].size);
			assert_memory_equal(image->bytes, t->blobs[i].bytes, t->blobs[i].size);
		}
		return;
	}
	fail_msg("runs %s, which nobody made", running->name);
}

static void w_make_releases(struct world *w)
{
	struct test_release *r = w->releases;
	r[0] = (struct test_release){.name = "kws-1", .counter = 5, .created = 1000, .count = 2};
	w_blob(w, &r[0].blobs[0], "model", "kws", "1.0.0", "esp32s3", 41000, 11);
	w_blob(w, &r[0].blobs[1], "model", "vad", "3.0.0+x", "*", 3000, 12);
	r[1] = (struct test_release){.name = "kws-2", .counter = 6, .created = 1000, .count = 2};
	w_blob(w, &r[1].blobs[0], "model", "kws", "2.0.0", "esp32s3", 43000, 13);
	w_blob(w, &r[1].blobs[1], "model", "vad", "3.0.0+x", "*", 3000, 12);
	/* the first one, signed anew */
	r[2] = (struct test_release){.name = "kws-1", .counter = 7, .created = 1000, .count = 2};
	w_blob(w, &r[2].blobs[0], "model", "kws", "1.0.0", "esp32s3", 41000, 11);
	w_blob(w, &r[2].blobs[1], "model", "vad", "3.0.0+x", "*", 3000, 12);
	r[3] = (struct test_release){.name = "full-1", .counter = 8, .created = 1000, .count = 3};
	w_blob(w, &r[3].blobs[0], "firmware", "app", "4.5.6", "esp32s3", 20000, 14);
	w_blob(w, &r[3].blobs[1], "model", "kws", "1.0.0", "esp32s3", 41000, 11);
	w_blob(w, &r[3].blobs[2], "model", "empty", "1", "*", 0, 1);
	r[4] = (struct test_release){.name = "huge", .counter = 9, .created = 1000, .count = 1};
	w_blob(w, &r[4].blobs[0], "model", "kws", "9.0.0", "esp32s3", 65000, 15);
	r[5] = (struct test_release){.name = "brief", .counter = 10, .created = 1000, .expires = 5000, .count = 1};
	w_blob(w, &r[5].blobs[0], "model", "kws", "1.0.0", "esp32s3", 41000, 11);
}

static inline struct world *w_new(uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	static const uint8_t secret[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	memcpy(w->secret, secret, 32);
	ed25519_public(w->secret, w->public_key[0]);
	w->random = seed;
	w->activated_slot = w->shadow_slot = -1;
	w->now_ms = 1000000;
	w->until_ms = INT64_MAX;
	w->wall_ms = 1700000000000;
	strcpy(w->factory.name, "factory");
	w->factory.counter = 1;
	w->factory.component_count = 1;
	strcpy(w->factory.components[0].name, "kws");
	strcpy(w->factory.components[0].version, "0.9.0");
	w->config = (struct agent_config){.device = "dev-1", .hardware = "esp32s3",
		.keys = (const uint8_t(*)[32])w->public_key, .key_count = 1,
		.factory = &w->factory, .slot_bytes = 64000, .capabilities_json = "\"runtime\":\"tflm\""};
	w->config.enrol.token = "token-1";
	w->config.enrol.secret_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	w->config.enrol.name = "Door \"7\"";
	w->config.enrol.attributes_json = "{\"region\":\"eu\"}";
	w->config.limits.progress_step_bytes = 8192;
	w->config.limits.slice_bytes = 16384;
	w->config.limits.trial_timeout_ms = 30000;
	w_make_releases(w);
	return w;
}

static inline void w_free(struct world *w)
{
	w_power_off(w);
	if (w->memory_is_lent)
		w_memory_return(w, w->memory);
	for (int r = 0; r < RELEASES; r++)
		for (unsigned i = 0; i < w->releases[r].count; i++)
			free(w->releases[r].blobs[i].bytes);
	free(w);
}

#endif
