/* How libmosquitto 2.0.11 is used, because it decides what is possible:
 * - mosquitto_threaded_set(true) without its thread: nothing is written but by mosquitto_loop_write, which writes all
 *   that is queued. It queues the PUBACK of a message before on_message is called. So acknowledgements wait for
 *   mqtt_flush_acks, and while a flush is not through to the socket nothing more is read, else a later write would
 *   carry newer acknowledgements.
 * - mosquitto_loop_read ignores its max_packets, but ends when errno is EAGAIN after a packet: our callbacks leave that
 *   there, so that each call handles one packet. By the same token EAGAIN does not say that the socket is drained (its
 *   wake-up pipe, full because nobody reads it, leaves EAGAIN too); that no callback came does.
 * - mosquitto_connect_async resolves names in the caller's thread, so it runs in the pool; meanwhile nothing else is
 *   called.
 * - It reads and writes in small pieces, each a system call: sockbuf.h.
 * - It closes the socket by itself on errors; the poll handle is stopped right after such a call, before anybody else
 *   can get the same descriptor.
 */
#include "net/mqtt.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <mosquitto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "sockbuf.h"

enum {
	DEFAULT_PORT = 1883,
	DEFAULT_TLS_PORT = 8883,
	DEFAULT_KEEPALIVE_S = 30,
	DEFAULT_CONNECT_MS = 10000,
	DEFAULT_BACKOFF_MIN_MS = 1000,
	DEFAULT_BACKOFF_MAX_MS = 60000,
	DEFAULT_INFLIGHT = 1000,
	MAX_INFLIGHT = 60000, /* message ids are 16 bits */
	MAX_PAYLOAD = 268435455,
	DEFAULT_TURN = 2000,
	TURN_NS = 3000000, /* of handlers, whatever they do: commands write to the database, and their commit comes on top */
	SILENT_PACKETS = 64, /* PINGRESP and the like handled in a row before the socket's turn ends */
	TLS_READ_AHEAD = 65536
};

/* Idle: not started or stopped. Resolving: a pool thread has the client. Waiting: for the next attempt. */
enum state { IDLE, RESOLVING, CONNECTING, CONNECTED, WAITING };

struct subscription {
	struct subscription *next;
	char *filter;
	int qos, mid;
};

/* Outlives its socket until libuv has closed it. */
struct watch {
	uv_poll_t poll;
	struct mqtt *mqtt; /* NULL when abandoned */
};

struct mqtt {
	struct loop *loop;
	struct mqtt_config config;
	struct mqtt_handler handler;
	void *ctx;
	char *host;
	struct mosquitto *mosq;
	SSL_CTX *tls;
	struct sockbuf *buffer; /* NULL: none */
	enum state state;
	struct watch *watch;
	uv_work_t connect_work;
	int connect_rc, connect_errno;
	struct loop_timer *timer;  /* attempt's deadline, or wait for the next attempt */
	struct loop_timer *misc;   /* keep-alive */
	struct loop_timer *again;  /* reading goes on without an event */
	unsigned backoff_ms;
	bool is_stopping, is_tcp_up, is_flushing, is_resting;
	bool is_in_call, is_in_write; /* libmosquitto is on the stack */
	struct sockbuf *outer;        /* what was active when it was called */
	bool saw_packet;
	unsigned pauses, held;
	struct subscription *subscriptions;
	uint16_t last_mid;
	uint64_t wraps;
	char error[160]; /* what libmosquitto said last; it knows more about TLS than its return codes */
	struct mqtt_stats stats;
};

/* Around every call that may do input or output. */
static void enter(struct mqtt *m)
{
	m->is_in_call = true;
	m->outer = sockbuf_enter(m->buffer);
}

static void leave(struct mqtt *m)
{
	sockbuf_leave(m->outer);
	m->is_in_call = false;
}

static bool wants_write(const struct mqtt *m)
{
	return mosquitto_want_write(m->mosq) || sockbuf_has_output(m->buffer);
}

static void read_more(struct mqtt *m);
static void attempt(void *ctx);

/* ---- the socket ---- */

static void on_watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void unwatch(struct mqtt *m)
{
	if (m->watch == NULL) return;
	uv_poll_stop(&m->watch->poll);
	m->watch->mqtt = NULL;
	uv_close((uv_handle_t *)&m->watch->poll, on_watch_closed);
	m->watch = NULL;
}

static void on_event(uv_poll_t *poll, int status, int events);

static bool may_read(const struct mqtt *m)
{
	return m->pauses == 0 && !m->is_flushing && !m->is_resting;
}

/* Whether what is queued may go: acknowledgements that are held do not, and everything else queues behind them. */
static bool may_write(const struct mqtt *m)
{
	return m->held == 0 || m->is_flushing;
}

static void update_poll(struct mqtt *m)
{
	int events = 0;
	if (m->watch == NULL) return;
	if (m->state == CONNECTING) {
		/* Over TLS libmosquitto goes on wanting to write while it waits for the other side. */
		bool wants = !m->is_tcp_up || (m->tls == NULL && wants_write(m));
		events = UV_READABLE | (wants ? UV_WRITABLE : 0);
	} else {
		if (may_read(m)) events |= UV_READABLE;
		if (sockbuf_has_output(m->buffer) || (may_write(m) && wants_write(m))) events |= UV_WRITABLE;
	}
	if (events) uv_poll_start(&m->watch->poll, events, on_event);
	else uv_poll_stop(&m->watch->poll);
}

/* ---- losing and regaining the connection ---- */

/* A random part of the wait, so that a fleet does not return in step. */
static unsigned draw_wait(struct mqtt *m)
{
	uint32_t random;
	unsigned wait = m->backoff_ms;
	crypto_random(&random, sizeof random);
	m->backoff_ms = m->backoff_ms > m->config.backoff_max_ms / 2 ? m->config.backoff_max_ms : 2 * m->backoff_ms;
	return wait / 2 + (unsigned)((uint64_t)random * (wait - wait / 2 + 1) >> 32);
}

/* The socket is gone or is to be given up. What was queued for it is dropped by libmosquitto at the next attempt;
 * publications of QoS 1 stay with it and are sent again. */
static void lose(struct mqtt *m, const char *reason)
{
	unwatch(m);
	sockbuf_reset(m->buffer, -1);
	if (m->state == CONNECTED) m->stats.disconnects++;
	m->held = 0;
	m->is_flushing = m->is_resting = false;
	m->stats.is_connected = false;
	loop_timer_stop(m->misc);
	loop_timer_stop(m->again);
	loop_timer_stop(m->timer);
	if (m->is_stopping) {
		m->state = IDLE;
	} else {
		m->state = WAITING;
		loop_timer_start(m->timer, draw_wait(m), 0);
	}
	loop_request_tick(m->loop);
	if (m->handler.on_disconnect) m->handler.on_disconnect(m->ctx, reason);
}

/* Gives up a socket that is still open: the other side sees it at once, libmosquitto closes it with the next
 * attempt. */
static void cut(struct mqtt *m, const char *reason)
{
	int fd = mosquitto_socket(m->mosq);
	if (fd >= 0) shutdown(fd, SHUT_RDWR);
	lose(m, reason);
}

static bool is_alive(const struct mqtt *m)
{
	return m->state == CONNECTING || m->state == CONNECTED;
}

static const char *reason_of(const struct mqtt *m, int rc, int error)
{
	switch (rc) {
	case MOSQ_ERR_SUCCESS: return "closed";
	case MOSQ_ERR_ERRNO: return strerror(error);
	case MOSQ_ERR_EAI: return "name not found";
	case MOSQ_ERR_TLS: return m->error[0] ? m->error : "TLS error";
	default: return mosquitto_strerror(rc);
	}
}

/* After each call into libmosquitto. */
static bool survived(struct mqtt *m, int rc, int error)
{
	if (!is_alive(m)) return false; /* a callback has cut it */
	if (rc == MOSQ_ERR_SUCCESS && mosquitto_socket(m->mosq) >= 0) return true;
	if (mosquitto_socket(m->mosq) >= 0) cut(m, reason_of(m, rc, error));
	else lose(m, reason_of(m, rc, error));
	return false;
}

/* Input that gives no event, because it has left the socket already. */
static void read_what_is_buffered(struct mqtt *m)
{
	if (m->tls || sockbuf_has_input(m->buffer)) loop_timer_start(m->again, 0, 0);
}

/* To the socket what may go. False when the connection is lost. */
static bool write_out(struct mqtt *m)
{
	if (!is_alive(m) || m->is_in_call) return is_alive(m);
	if (may_write(m)) {
		m->is_in_write = true;
		enter(m);
		int rc = mosquitto_loop_write(m->mosq, 1), error = errno;
		leave(m);
		m->is_in_write = false;
		if (!survived(m, rc, error)) return false;
	}
	int error = sockbuf_flush(m->buffer);
	if (error != 0) {
		cut(m, strerror(error));
		return false;
	}
	if (m->is_flushing && !mosquitto_want_write(m->mosq)) {
		m->is_flushing = false;
		read_what_is_buffered(m);
	}
	update_poll(m);
	return true;
}

/* ---- reading ---- */

static void on_again(void *ctx)
{
	struct mqtt *m = ctx;
	m->is_resting = false;
	read_more(m);
}

/* Messages gather while we rest: libmosquitto makes several system calls for each, the wake-up is shared. */
static void rest(struct mqtt *m)
{
	m->is_resting = true;
	loop_timer_start(m->again, (int64_t)m->config.read_pause_ms, 0);
}

static bool read_packet(struct mqtt *m, bool *is_drained)
{
	m->saw_packet = false;
	enter(m);
	errno = 0;
	int rc = mosquitto_loop_read(m->mosq, 1), error = errno;
	leave(m);
	*is_drained = !m->saw_packet && error == EAGAIN;
	return survived(m, rc, error);
}

static void read_more(struct mqtt *m)
{
	unsigned messages = 0, silent = 0;
	bool is_drained = false;
	uint64_t end_ns = clock_mono_ns() + TURN_NS;
	sockbuf_look_again(m->buffer);
	while (is_alive(m) && (m->state == CONNECTING || may_read(m))) {
		uint64_t before = m->stats.messages;
		if (!read_packet(m, &is_drained)) return;
		if (is_drained || m->state == CONNECTING) break;
		messages += m->stats.messages > before;
		if ((!m->saw_packet && ++silent > SILENT_PACKETS) || messages >= m->config.max_messages_per_turn || clock_mono_ns() > end_ns) {
			m->is_resting = true; /* else its socket has a turn in the same iteration */
			loop_timer_start(m->again, 0, 0);
			break;
		}
	}
	if (!write_out(m)) return;
	if (is_drained && messages > 0 && m->config.read_pause_ms > 0) rest(m);
	update_poll(m);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct mqtt *m = ((struct watch *)poll->data)->mqtt;
	if (m == NULL) return;
	if (events & UV_WRITABLE) m->is_tcp_up = true;
	if (status < 0 || (events & UV_READABLE) || m->state == CONNECTING) read_more(m);
	if (events & UV_WRITABLE) write_out(m);
}

/* ---- libmosquitto's callbacks ---- */

static void on_connect(struct mosquitto *mosq, void *ctx, int rc, int flags)
{
	struct mqtt *m = ctx;
	m->saw_packet = true;
	if (rc != 0) return; /* mosquitto_loop_read says so too */
	loop_timer_stop(m->timer);
	m->state = CONNECTED;
	m->backoff_ms = m->config.backoff_min_ms;
	m->stats.connects++;
	m->stats.is_connected = true;
	loop_timer_start(m->misc, 500, m->config.keepalive_s >= 20 ? 5000 : (int64_t)m->config.keepalive_s * 250);
	for (struct subscription *s = m->subscriptions; s; s = s->next)
		mosquitto_subscribe(mosq, &s->mid, s->filter, s->qos);
	struct sockbuf *active = sockbuf_enter(NULL);
	if (m->handler.on_connect) m->handler.on_connect(m->ctx, flags & 1);
	sockbuf_leave(active);
	errno = EAGAIN;
}

static void on_message(struct mosquitto *mosq, void *ctx, const struct mosquitto_message *message)
{
	struct mqtt *m = ctx;
	(void)mosq;
	m->saw_packet = true;
	if (m->state != CONNECTED) return; /* cut by the message before */
	m->stats.messages++;
	m->stats.bytes += (uint64_t)message->payloadlen;
	if (m->config.hold_acks && message->qos > 0) m->held++;
	struct mqtt_message mine = {.topic = message->topic,
	                            .payload = message->payload,
	                            .len = (size_t)message->payloadlen,
	                            .qos = message->qos,
	                            .is_retained = message->retain};
	struct sockbuf *active = sockbuf_enter(NULL); /* the handler's own input and output are not libmosquitto's */
	m->handler.on_message(m->ctx, &mine);
	sockbuf_leave(active);
	errno = EAGAIN; /* ends mosquitto_loop_read */
}

/* Message ids have 16 bits and go round; far fewer are in flight, so an id above the last one given is from the round
 * before. */
static uint64_t token_of(const struct mqtt *m, int mid)
{
	uint64_t round = (uint16_t)mid <= m->last_mid ? m->wraps : m->wraps - 1;
	return round << 16 | (uint16_t)mid;
}

static void on_publish(struct mosquitto *mosq, void *ctx, int mid)
{
	struct mqtt *m = ctx;
	(void)mosq;
	m->saw_packet = true;
	if (!m->is_in_write) { /* PUBACK; else a message of QoS 0 was written */
		m->stats.acknowledged++;
		if (m->stats.inflight > 0) m->stats.inflight--;
	}
	struct sockbuf *active = sockbuf_enter(NULL);
	if (m->handler.on_published) m->handler.on_published(m->ctx, token_of(m, mid));
	sockbuf_leave(active);
	errno = EAGAIN;
}

static void on_subscribe(struct mosquitto *mosq, void *ctx, int mid, int count, const int *granted)
{
	struct mqtt *m = ctx;
	(void)mosq;
	m->saw_packet = true;
	struct sockbuf *active = sockbuf_enter(NULL);
	for (struct subscription *s = m->subscriptions; s; s = s->next)
		if (s->mid == mid && m->handler.on_subscribed)
			m->handler.on_subscribed(m->ctx, s->filter, count == 1 && granted[0] < 128);
	sockbuf_leave(active);
	errno = EAGAIN;
}

/* Also from the pool, while it has the client. */
static void on_log(struct mosquitto *mosq, void *ctx, int level, const char *text)
{
	struct mqtt *m = ctx;
	(void)mosq;
	if (level == MOSQ_LOG_ERR && m->error[0] == '\0') snprintf(m->error, sizeof m->error, "%s", text);
}

/* ---- connecting ---- */

static void connect_in_pool(uv_work_t *work)
{
	struct mqtt *m = work->data;
	m->error[0] = '\0';
	m->connect_rc = mosquitto_connect_async(m->mosq, m->host, m->config.port, (int)m->config.keepalive_s);
	m->connect_errno = errno;
}

static void on_deadline(void *ctx)
{
	struct mqtt *m = ctx;
	if (m->state == WAITING) attempt(m);
	else if (m->state == CONNECTING) cut(m, "no answer in time");
}

static void on_connecting(uv_work_t *work, int status)
{
	struct mqtt *m = work->data;
	int fd = mosquitto_socket(m->mosq);
	assert(status == 0 && m->state == RESOLVING);
	m->state = CONNECTING;
	m->is_tcp_up = false;
	if (m->is_stopping || m->connect_rc > MOSQ_ERR_SUCCESS || fd < 0) {
		cut(m, m->is_stopping ? "stopped" : reason_of(m, m->connect_rc, m->connect_errno));
		return;
	}
	m->watch = calloc(1, sizeof *m->watch);
	if (m->watch == NULL) abort();
	m->watch->mqtt = m;
	m->watch->poll.data = m->watch;
	if (uv_poll_init(loop_uv(m->loop), &m->watch->poll, fd) != 0) abort();
	sockbuf_reset(m->buffer, fd);
	loop_timer_start(m->timer, (int64_t)m->config.connect_timeout_ms, 0);
	update_poll(m);
}

static void attempt(void *ctx)
{
	struct mqtt *m = ctx;
	m->state = RESOLVING;
	m->connect_work.data = m;
	if (uv_queue_work(loop_uv(m->loop), &m->connect_work, connect_in_pool, on_connecting) != 0) abort();
}

static void on_misc(void *ctx)
{
	struct mqtt *m = ctx;
	if (m->state != CONNECTED || m->pauses > 0 || m->is_in_call) return; /* a PINGRESP could not be read */
	enter(m);
	int rc = mosquitto_loop_misc(m->mosq), error = errno;
	leave(m);
	if (survived(m, rc, error)) write_out(m);
}

/* ---- the public side ---- */

static void set_defaults(struct mqtt_config *c)
{
	if (c->port == 0) c->port = c->ca_file ? DEFAULT_TLS_PORT : DEFAULT_PORT;
	if (c->keepalive_s == 0) c->keepalive_s = DEFAULT_KEEPALIVE_S;
	if (c->keepalive_s < 5) c->keepalive_s = 5; /* libmosquitto's least */
	if (c->connect_timeout_ms == 0) c->connect_timeout_ms = DEFAULT_CONNECT_MS;
	if (c->backoff_min_ms == 0) c->backoff_min_ms = DEFAULT_BACKOFF_MIN_MS;
	if (c->backoff_max_ms == 0) c->backoff_max_ms = DEFAULT_BACKOFF_MAX_MS;
	if (c->backoff_max_ms < c->backoff_min_ms) c->backoff_max_ms = c->backoff_min_ms;
	if (c->max_inflight == 0) c->max_inflight = DEFAULT_INFLIGHT;
	if (c->max_inflight > MAX_INFLIGHT) c->max_inflight = MAX_INFLIGHT;
	if (c->max_messages_per_turn == 0) c->max_messages_per_turn = DEFAULT_TURN;
}

static bool set_expected_name(const struct mqtt *m)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(m->tls);
	unsigned char address[16];
	if (inet_pton(AF_INET, m->host, address) == 1 || inet_pton(AF_INET6, m->host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(param, m->host) == 1;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_host(param, m->host, 0) == 1;
}

/* A context of our own, with read-ahead: one system call for a record instead of two, and many small records at once.
 * It is set up completely, because libmosquitto's set-up of a context that was handed in forgets to initialise what its
 * check of the server's certificate needs. */
static enum err set_tls(struct mqtt *m, struct fault *f)
{
	const struct mqtt_config *c = &m->config;
	if (c->ca_file == NULL) return ERR_OK;
	m->tls = SSL_CTX_new(TLS_client_method());
	if (m->tls == NULL) abort();
	SSL_CTX_set_min_proto_version(m->tls, TLS1_2_VERSION);
	SSL_CTX_set_verify(m->tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(m->tls, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(m->tls, 1);
	SSL_CTX_set_default_read_buffer_len(m->tls, TLS_READ_AHEAD);
	const char *wrong = NULL;
	if (!set_expected_name(m)) wrong = "host name";
	else if (SSL_CTX_load_verify_file(m->tls, c->ca_file) != 1) wrong = "CA file";
	else if (c->cert_file && SSL_CTX_use_certificate_chain_file(m->tls, c->cert_file) != 1) wrong = "certificate file";
	else if (c->key_file && SSL_CTX_use_PrivateKey_file(m->tls, c->key_file, SSL_FILETYPE_PEM) != 1) wrong = "key file";
	ERR_clear_error();
	if (wrong) return fault_set(f, ERR_INVALID, "", "TLS: unusable %s", wrong);
	if (mosquitto_void_option(m->mosq, MOSQ_OPT_SSL_CTX, m->tls) != MOSQ_ERR_SUCCESS ||
	    mosquitto_int_option(m->mosq, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0) != MOSQ_ERR_SUCCESS)
		return fault_set(f, ERR_INTERNAL, "", "TLS context");
	return ERR_OK;
}

static enum err set_identity(struct mqtt *m, struct fault *f)
{
	const struct mqtt_config *c = &m->config;
	if (c->username && mosquitto_username_pw_set(m->mosq, c->username, c->password) != MOSQ_ERR_SUCCESS)
		return fault_set(f, ERR_INVALID, "", "user name or password is not UTF-8");
	if (c->will_topic == NULL) return ERR_OK;
	const char *payload = c->will_payload ? c->will_payload : "";
	int rc = mosquitto_will_set(m->mosq, c->will_topic, (int)strlen(payload), payload, 1, c->will_retain);
	if (rc != MOSQ_ERR_SUCCESS)
		return fault_set(f, ERR_INVALID, "", "the last will's topic is none");
	return ERR_OK;
}

static void forget_texts(struct mqtt_config *c)
{
	c->host = c->client_id = c->username = c->password = c->ca_file = c->cert_file = c->key_file = NULL;
	c->will_topic = c->will_payload = NULL;
}

enum err mqtt_new(struct loop *l, const struct mqtt_config *config, const struct mqtt_handler *handler, void *ctx,
                  struct mqtt **client, struct fault *f)
{
	static bool is_ready;
	if (!is_ready) mosquitto_lib_init();
	is_ready = true;
	struct mqtt *m = calloc(1, sizeof *m);
	assert(config->host && config->client_id && handler->on_message);
	if (m == NULL || (m->host = strdup(config->host)) == NULL) abort();
	m->loop = l;
	m->config = *config;
	m->handler = *handler;
	m->ctx = ctx;
	set_defaults(&m->config);
	m->backoff_ms = m->config.backoff_min_ms;
	if (config->hold_acks && !config->is_unbuffered) m->buffer = sockbuf_new();
	m->timer = loop_timer_new(l, on_deadline, m);
	m->misc = loop_timer_new(l, on_misc, m);
	m->again = loop_timer_new(l, on_again, m);
	m->mosq = mosquitto_new(config->client_id, config->clean_session, m);
	if (m->mosq == NULL && errno == ENOMEM) abort();
	enum err e = m->mosq ? ERR_OK : fault_set(f, ERR_INVALID, "", "the client id is not UTF-8");
	if (e == ERR_OK) {
		mosquitto_threaded_set(m->mosq, true);
		mosquitto_max_inflight_messages_set(m->mosq, m->config.max_inflight);
		mosquitto_int_option(m->mosq, MOSQ_OPT_TCP_NODELAY, 1);
		mosquitto_connect_with_flags_callback_set(m->mosq, on_connect);
		mosquitto_message_callback_set(m->mosq, on_message);
		mosquitto_publish_callback_set(m->mosq, on_publish);
		mosquitto_subscribe_callback_set(m->mosq, on_subscribe);
		mosquitto_log_callback_set(m->mosq, on_log);
		e = set_tls(m, f);
	}
	if (e == ERR_OK) e = set_identity(m, f);
	forget_texts(&m->config); /* were copied by the library, belong to the caller */
	if (e != ERR_OK) {
		mqtt_free(m);
		m = NULL;
	}
	*client = m;
	return e;
}

void mqtt_start(struct mqtt *m)
{
	m->is_stopping = false;
	if (m->state == IDLE) attempt(m);
}

void mqtt_stop(struct mqtt *m)
{
	assert(!m->is_in_call);
	m->is_stopping = true;
	if (m->state == RESOLVING) return; /* on_connecting ends it */
	if (m->state == WAITING) {
		loop_timer_stop(m->timer);
		m->state = IDLE;
	}
	if (m->state == CONNECTED && m->held == 0 && sockbuf_flush(m->buffer) == 0 && !sockbuf_has_output(m->buffer)) {
		mosquitto_disconnect(m->mosq);
		m->is_in_call = m->is_in_write = true; /* unbuffered: it closes the socket behind its DISCONNECT */
		mosquitto_loop_write(m->mosq, 1);
		m->is_in_call = m->is_in_write = false;
	}
	if (is_alive(m)) cut(m, "stopped");
}

static bool has_settled(void *ctx)
{
	return ((struct mqtt *)ctx)->state != RESOLVING;
}

void mqtt_free(struct mqtt *m)
{
	if (m == NULL) return;
	m->handler.on_disconnect = NULL;
	mqtt_stop(m);
	while (m->state == RESOLVING) loop_run_until(m->loop, has_settled, m, 1000);
	if (m->mosq) mosquitto_destroy(m->mosq);
	SSL_CTX_free(m->tls);
	sockbuf_free(m->buffer);
	loop_timer_free(m->timer);
	loop_timer_free(m->misc);
	loop_timer_free(m->again);
	for (struct subscription *s = m->subscriptions, *next; s; s = next) {
		next = s->next;
		free(s->filter);
		free(s);
	}
	free(m->host);
	free(m);
}

bool mqtt_is_connected(const struct mqtt *m)
{
	return m->state == CONNECTED;
}

void mqtt_subscribe(struct mqtt *m, const char *filter, int qos)
{
	struct subscription *s = calloc(1, sizeof *s), **last = &m->subscriptions;
	assert(qos == 0 || qos == 1);
	if (s == NULL || (s->filter = strdup(filter)) == NULL) abort();
	s->qos = qos;
	while (*last) last = &(*last)->next;
	*last = s;
	if (m->state != CONNECTED) return;
	mosquitto_subscribe(m->mosq, &s->mid, s->filter, s->qos);
	write_out(m);
}

enum err mqtt_publish(struct mqtt *m, const char *topic, const void *payload, size_t len, int qos, bool retain,
                      uint64_t *token)
{
	int mid = 0;
	assert(qos == 0 || qos == 1);
	if (m->state != CONNECTED) return ERR_UNAVAILABLE;
	if (qos > 0 && m->stats.inflight >= m->config.max_inflight) return ERR_TOO_MANY;
	if (len > MAX_PAYLOAD) return ERR_TOO_LARGE;
	int rc = mosquitto_publish(m->mosq, &mid, topic, (int)len, payload, qos, retain);
	if (rc == MOSQ_ERR_NOMEM) abort();
	if (rc != MOSQ_ERR_SUCCESS) return rc == MOSQ_ERR_NO_CONN ? ERR_UNAVAILABLE : ERR_INVALID;
	if ((uint16_t)mid < m->last_mid) m->wraps++;
	m->last_mid = (uint16_t)mid;
	if (token) *token = token_of(m, mid);
	m->stats.published++;
	if (qos > 0) m->stats.inflight++;
	write_out(m);
	return ERR_OK;
}

void mqtt_flush_acks(struct mqtt *m)
{
	assert(!m->is_in_call);
	if (m->held == 0 || m->state != CONNECTED) return;
	m->held = 0;
	m->is_flushing = true;
	write_out(m);
}

unsigned mqtt_held_acks(const struct mqtt *m)
{
	return m->held;
}

void mqtt_pause_reading(struct mqtt *m)
{
	m->pauses++;
	if (!m->is_in_call) update_poll(m);
}

void mqtt_resume_reading(struct mqtt *m)
{
	assert(m->pauses > 0);
	if (--m->pauses > 0) return;
	read_what_is_buffered(m);
	if (!m->is_in_call) update_poll(m);
}

void mqtt_drop(struct mqtt *m, const char *reason)
{
	if (is_alive(m)) cut(m, reason);
}

void mqtt_stats_read(const struct mqtt *m, struct mqtt_stats *stats)
{
	*stats = m->stats;
}
