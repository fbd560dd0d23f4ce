#include "api/notify_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/ipaddr.h"
#include "base/log.h"
#include "net/fetch.h"
#include "net/mail.h"
#include "service/notify.h"
#include "service/unit.h"

#define TAKE_MAX 16            /* attempts begun in one step */
#define ARENA_BYTES (16u << 20)
#define ANSWER_BYTES 65536     /* of which nothing is kept */

struct attempt {
	struct attempt *prev, *next;
	struct notify_out *out;
	struct fetch *fetch;
	int64_t id;
	bool is_mail;
};
struct notify_out {
	struct services *s;
	struct fetch_pool *pool;
	struct arena *arena; /* of outcomes */
	struct attempt *attempts;
};

/* ---- how it went ---- */

static void remove_attempt(struct attempt *t)
{
	if (t->prev != NULL)
		t->prev->next = t->next;
	else
		t->out->attempts = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	free(t);
}

static void on_done(void *ctx, const struct fetch_result *r)
{
	struct attempt *t = ctx;
	struct notify_out *o = t->out;
	struct fault f = {"", ""};
	struct call c = {.s = o->s, .arena = o->arena, .fault = &f, .who = &principal_server, .now_ms = clock_wall_ms()};
	struct delivery_outcome outcome = {.reply = r->status, .error = r->error, .retry_after_ms = r->retry_after_s * 1000};
	char text[64];
	arena_reset(o->arena);
	crypto_random(&outcome.random, sizeof outcome.random);
	if (t->is_mail) {
		outcome.outcome = notify_judge_smtp(r->error == NULL, r->status);
	} else { /* an answer that is too long or was cut is an answer as soon as its status is there */
		outcome.outcome = notify_judge_http(r->status);
		if (outcome.outcome != NOTIFY_DELIVERED && r->status != 0) {
			snprintf(text, sizeof text, "the receiver answered %d", r->status);
			outcome.error = text;
		} else if (outcome.outcome == NOTIFY_DELIVERED) {
			outcome.error = NULL;
		}
	}
	int64_t id = t->id;
	remove_attempt(t);
	enum err e = delivery_ended(&c, id, &outcome);
	if (e != ERR_OK)
		log_event(LOG_ERROR, "delivery.note", "delivery=%lld error=%s detail=%s", (long long)id, err_name(e), log_quote(f.detail));
	if (outcome.outcome != NOTIFY_DELIVERED)
		log_event(LOG_WARN, "delivery.failed", "delivery=%lld reply=%d again=%s reason=%s", (long long)id, outcome.reply,
			outcome.outcome == NOTIFY_RETRY ? "yes" : "no", log_quote(outcome.error != NULL ? outcome.error : ""));
}

/* ---- one attempt ---- */

static bool may_call(void *ctx, const struct sockaddr *address)
{
	const struct notify_out *o = ctx;
	struct ip_address a;
	if (!ip_from_sockaddr(address, &a))
		return false;
	return ip_is_public(&a) || (o->s->notify_allow != NULL && ip_networks_have(o->s->notify_allow, &a));
}

static struct fetch_request request_of(struct notify_out *o, const struct receiver *r, struct attempt *t)
{
	return (struct fetch_request){.method = "POST", .url = r->url, .ca_file = r->ca_file[0] != '\0' ? r->ca_file : NULL,
		.timeout_ms = (unsigned)r->timeout_ms, .connect_timeout_ms = (unsigned)r->timeout_ms, .max_body_bytes = ANSWER_BYTES, .may_call = may_call,
		.may_call_ctx = o, .on_done = on_done, .ctx = t};
}

static const char *sign(struct arena *a, const struct receiver *r, const char *timestamp, const char *body)
{
	uint8_t mac[SHA256_BYTES];
	char hex[SHA256_HEX];
	const char *text = arena_printf(a, "%s.%s", timestamp, body);
	crypto_hmac_sha256(r->secret, strlen(r->secret), text, strlen(text), mac);
	hex_encode(mac, sizeof mac, hex);
	return arena_strdup(a, hex);
}

static void send_http(struct notify_out *o, struct arena *a, const struct delivery *d, const struct receiver *r, struct attempt *t)
{
	const char *headers[8], **h = headers, *timestamp = arena_printf(a, "%lld", (long long)(clock_wall_ms() / 1000));
	struct fetch_request q = request_of(o, r, t);
	bool is_manager = r->type[0] == 'a';
	*h++ = "Content-Type: application/json";
	*h++ = "User-Agent: aviaryd/" AVIARY_VERSION;
	*h++ = "Expect:";
	*h++ = arena_printf(a, "Idempotency-Key: %s:%lld", d->key, (long long)d->seq);
	*h++ = arena_printf(a, "X-Aviary-Timestamp: %s", timestamp);
	if (r->secret[0] != '\0')
		*h++ = is_manager ? arena_printf(a, "Authorization: Bearer %s", r->secret) : arena_printf(a, "X-Aviary-Signature: %s", sign(a, r, timestamp, d->body));
	*h = NULL;
	q.headers = headers;
	q.body = d->body;
	q.body_len = strlen(d->body);
	if (is_manager) { /* its address, with or without the path */
		size_t len = strlen(r->url);
		while (len > 0 && r->url[len - 1] == '/')
			len--;
		static const char path[] = "/api/v2/alerts";
		bool has_path = len >= sizeof path - 1 && memcmp(r->url + len - (sizeof path - 1), path, sizeof path - 1) == 0;
		q.url = arena_printf(a, "%.*s%s", (int)len, r->url, has_path ? "" : path);
	}
	t->fetch = fetch_start(o->pool, &q);
}

static void send_mail(struct notify_out *o, struct arena *a, const struct delivery *d, const struct receiver *r, struct attempt *t)
{
	const char **to = arena_array(a, r->recipient_count + 1, sizeof *to);
	for (size_t i = 0; i < r->recipient_count; i++)
		to[i] = r->recipients[i];
	struct mail m = {.from = r->sender, .to = to, .subject = d->subject, .text = d->body, .at_ms = d->created_at,
		.message_id = arena_printf(a, "%s-%lld.aviary", d->key, (long long)d->seq)};
	struct fetch_mail envelope = {.from = r->sender, .to = to, .user = r->user[0] != '\0' ? r->user : NULL, .password = r->secret,
		.is_tls_needed = strncmp(r->url, "smtp:", 5) == 0 && (r->user[0] != '\0' || r->ca_file[0] != '\0')};
	struct fetch_request q = request_of(o, r, t);
	struct buf text = BUF_INIT;
	mail_write(&m, &text);
	q.mail = &envelope;
	q.body = text.data;
	q.body_len = text.len;
	t->is_mail = true;
	t->fetch = fetch_start(o->pool, &q);
	buf_done(&text);
}

static void begin(struct notify_out *o, struct arena *a, const struct delivery *d, const struct receiver *r)
{
	struct attempt *t = calloc(1, sizeof *t);
	if (t == NULL)
		abort();
	t->out = o;
	t->id = d->id;
	t->next = o->attempts;
	if (t->next != NULL)
		t->next->prev = t;
	o->attempts = t;
	if (r->type[0] == 'e')
		send_mail(o, a, d, r, t);
	else
		send_http(o, a, d, r, t);
}

enum err notify_out_step(struct notify_out *o, struct call *c, bool *more)
{
	struct delivery *items;
	struct receiver *receivers;
	size_t count = 0;
	enum err e = ERR_OK;
	bool is_committed = !unit_has_changes(o->s); /* else something might be sent that is not to be */
	if (is_committed)
		e = deliveries_take(c, TAKE_MAX, &items, &receivers, &count);
	for (size_t i = 0; i < count; i++)
		begin(o, c->arena, &items[i], &receivers[i]);
	*more = false;
	e = e == ERR_OK ? notify_tick(c, more) : e;
	*more = *more || !is_committed;
	return e;
}

struct notify_out *notify_out_open(struct services *s, struct loop *loop)
{
	struct notify_out *o = calloc(1, sizeof *o);
	if (o == NULL)
		abort();
	o->s = s;
	o->arena = arena_new(ARENA_BYTES);
	o->pool = fetch_pool_new(loop, RECEIVERS_MAX * NOTIFY_CIRCUIT_PARALLEL);
	return o;
}

void notify_out_close(struct notify_out *o)
{
	if (o == NULL)
		return;
	fetch_pool_free(o->pool);
	while (o->attempts != NULL)
		remove_attempt(o->attempts);
	arena_free(o->arena);
	free(o);
}
