/* Against a real broker, which the tests start with a configuration of their own. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "net/jobs.h"
#include "net/mqtt.h"

enum { WAIT_MS = 15000 };

/* ---- the broker ---- */

static char dir[64], config_path[96], cert_path[96], key_path[96];
static uint16_t port, tls_port;
static pid_t broker;

static uint16_t free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static bool broker_answers(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
	close(fd);
	return good;
}

static void start_broker(void)
{
	broker = fork();
	if (broker == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int null = open("/dev/null", O_RDWR);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execl("/usr/sbin/mosquitto", "mosquitto", "-c", config_path, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 500 && !broker_answers(); i++) usleep(10000);
	assert_true(broker_answers());
}

static void stop_broker(int signum)
{
	if (broker <= 0) return;
	kill(broker, signum);
	waitpid(broker, NULL, 0);
	broker = 0;
}

static int setup_group(void **state)
{
	char line[600];
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	snprintf(dir, sizeof dir, "/tmp/aviary-mqtt-XXXXXX");
	assert_non_null(mkdtemp(dir));
	chmod(dir, 0755);
	snprintf(config_path, sizeof config_path, "%s/mosquitto.conf", dir);
	snprintf(cert_path, sizeof cert_path, "%s/cert.pem", dir);
	snprintf(key_path, sizeof key_path, "%s/key.pem", dir);
	snprintf(line, sizeof line,
	         "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
	         "-addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout %s -out %s 2>/dev/null && chmod 644 %s",
	         key_path, cert_path, key_path);
	assert_int_equal(system(line), 0);
	port = free_port();
	tls_port = free_port();
	FILE *f = fopen(config_path, "w");
	fprintf(f, "per_listener_settings false\nallow_anonymous true\nmax_inflight_messages 5000\nmax_queued_messages 0\n"
	           "persistence true\npersistence_location %s/\nuser root\nlistener %u 127.0.0.1\n"
	           "listener %u 127.0.0.1\ncertfile %s\nkeyfile %s\n",
	        dir, port, tls_port, cert_path, key_path);
	fclose(f);
	start_broker();
	return 0;
}

static int teardown_group(void **state)
{
	char line[200];
	(void)state;
	stop_broker(SIGKILL);
	snprintf(line, sizeof line, "rm -rf %s", dir);
	return system(line);
}

/* ---- one client and what it saw ---- */

struct side {
	struct loop *loop;
	struct mqtt *mqtt;
	struct worker *worker;
	int connects, disconnects, messages, published, subscribed, granted, want;
	int seen[20000]; /* by the number that is the payload */
	int last, out_of_order;
	uint64_t last_token, awaited_token;
	bool session_present, pause_each, flush_each_tick;
	bool is_retained;
	char reason[100], last_payload[100];
};

static void on_connect(void *ctx, bool session_present)
{
	struct side *s = ctx;
	s->connects++;
	s->session_present = session_present;
}

static void on_disconnect(void *ctx, const char *reason)
{
	struct side *s = ctx;
	s->disconnects++;
	snprintf(s->reason, sizeof s->reason, "%s", reason);
}

static void on_message(void *ctx, const struct mqtt_message *m)
{
	struct side *s = ctx;
	int n = m->payload ? atoi(m->payload) : -1;
	s->messages++;
	s->is_retained = m->is_retained;
	snprintf(s->last_payload, sizeof s->last_payload, "%s", m->payload ? (const char *)m->payload : "");
	if (n >= 0 && n < 20000) s->seen[n]++;
	if (n < s->last) s->out_of_order++;
	s->last = n;
	if (s->pause_each) mqtt_pause_reading(s->mqtt);
}

static void on_published(void *ctx, uint64_t token)
{
	struct side *s = ctx;
	s->published++;
	s->last_token = token;
}

static void on_subscribed(void *ctx, const char *filter, bool is_granted)
{
	struct side *s = ctx;
	assert_non_null(filter);
	s->subscribed++;
	s->granted += is_granted;
}

static const struct mqtt_handler handler = {on_connect, on_disconnect, on_message, on_published, on_subscribed};

static struct mqtt_config config_of(const char *id, bool hold)
{
	return (struct mqtt_config){.host = "localhost", .port = port, .client_id = id, .hold_acks = hold,
	                            .backoff_min_ms = 20, .backoff_max_ms = 200};
}

static void open_side(struct side *s, struct loop *loop, struct mqtt_config config)
{
	struct fault f = {"", ""};
	memset(s, 0, sizeof *s);
	s->loop = loop;
	if (mqtt_new(loop, &config, &handler, s, &s->mqtt, &f) != ERR_OK) fail_msg("%s", f.detail);
	mqtt_start(s->mqtt);
}

static bool is_connected(void *ctx)
{
	return mqtt_is_connected(((struct side *)ctx)->mqtt);
}

static bool is_disconnected(void *ctx)
{
	return ((struct side *)ctx)->disconnects >= ((struct side *)ctx)->want;
}

static bool is_subscribed(void *ctx)
{
	return ((struct side *)ctx)->subscribed >= ((struct side *)ctx)->want;
}

static bool has_messages(void *ctx)
{
	return ((struct side *)ctx)->messages >= ((struct side *)ctx)->want;
}

static bool has_published(void *ctx)
{
	return ((struct side *)ctx)->published >= ((struct side *)ctx)->want;
}

static void wait_for(struct side *s, bool (*done)(void *ctx), int want)
{
	s->want = want;
	assert_true(loop_run_until(s->loop, done, s, WAIT_MS));
}

static void publish(struct side *s, const char *topic, int first, int count)
{
	char text[20];
	for (int i = first; i < first + count; i++) {
		snprintf(text, sizeof text, "%d", i);
		assert_int_equal(mqtt_publish(s->mqtt, topic, text, strlen(text), 1, false, NULL), ERR_OK);
	}
}

/* Nothing more comes. */
static void settle(struct side *s, int ms)
{
	s->want = 1 << 30;
	loop_run_until(s->loop, has_messages, s, ms);
}

static void messages_and_tokens(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a, b;
	open_side(&a, loop, config_of("unit-a", false));
	open_side(&b, loop, config_of("unit-b", false));
	assert_int_equal(mqtt_publish(a.mqtt, "t", "x", 1, 1, false, NULL), ERR_UNAVAILABLE);
	mqtt_subscribe(b.mqtt, "unit/1/+", 1);
	wait_for(&a, is_connected, 1);
	wait_for(&b, is_subscribed, 1);
	assert_int_equal(b.granted, 1);
	uint64_t token = 0;
	assert_int_equal(mqtt_publish(a.mqtt, "unit/1/x", "hello", 5, 1, true, &token), ERR_OK);
	wait_for(&b, has_messages, 1);
	assert_string_equal(b.last_payload, "hello");
	assert_false(b.is_retained);
	wait_for(&a, has_published, 1);
	assert_true(a.last_token == token);
	mqtt_subscribe(b.mqtt, "unit/1/#", 1); /* the retained message comes now */
	wait_for(&b, has_messages, 2);
	assert_true(b.is_retained);
	assert_int_equal(mqtt_publish(a.mqtt, "unit/1/x", NULL, 0, 1, true, &token), ERR_OK);
	wait_for(&a, has_published, 2);
	assert_int_equal(mqtt_publish(a.mqtt, "unit/#", "x", 1, 1, false, NULL), ERR_INVALID);
	assert_int_equal(mqtt_publish(a.mqtt, "unit/1/x", "q0", 2, 0, false, &token), ERR_OK);
	wait_for(&a, has_published, 3);
	mqtt_free(a.mqtt);
	mqtt_free(b.mqtt);
	mqtt_free(NULL);
	loop_free(loop);
}

static void too_many_in_flight_are_refused(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a;
	struct mqtt_config config = config_of("unit-a", false);
	struct mqtt_stats stats;
	config.max_inflight = 10;
	open_side(&a, loop, config);
	wait_for(&a, is_connected, 1);
	publish(&a, "unit/nobody", 0, 10);
	assert_int_equal(mqtt_publish(a.mqtt, "unit/nobody", "x", 1, 1, false, NULL), ERR_TOO_MANY);
	wait_for(&a, has_published, 10);
	mqtt_stats_read(a.mqtt, &stats);
	assert_int_equal(stats.inflight, 0);
	assert_int_equal(stats.acknowledged, 10);
	publish(&a, "unit/nobody", 0, 1);
	mqtt_free(a.mqtt);
	loop_free(loop);
}

/* Tokens stay distinct when message ids go round (65535 of them). */
static void tokens_outlive_message_ids(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a;
	uint64_t first = 0, token = 0, last = 0;
	open_side(&a, loop, config_of("unit-a", false));
	wait_for(&a, is_connected, 1);
	for (int i = 0; i < 66000; i++) {
		assert_int_equal(mqtt_publish(a.mqtt, "unit/nobody", "x", 1, 1, false, &token), ERR_OK);
		assert_true(token > last);
		last = token;
		if (i == 0) first = token;
		if (i % 500 == 499) {
			wait_for(&a, has_published, i + 1);
			assert_true(a.last_token == token);
		}
	}
	assert_true(token != first);
	mqtt_free(a.mqtt);
	loop_free(loop);
}

static void pausing_stops_after_the_very_message(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a, b;
	struct mqtt_config tls = config_of("unit-b", true);
	tls.port = tls_port;
	tls.ca_file = cert_path;
	open_side(&a, loop, config_of("unit-a", false));
	for (int round = 0; round < 3; round++) {
		struct mqtt_config config = round == 1 ? tls : config_of("unit-b", true);
		config.is_unbuffered = round == 2;
		open_side(&b, loop, config);
		mqtt_subscribe(b.mqtt, "unit/2", 1);
		wait_for(&a, is_connected, 1);
		wait_for(&b, is_subscribed, 1);
		b.pause_each = true;
		a.published = 0;
		publish(&b, "unit/other", 0, 5); /* publications in flight make libmosquitto read more at once */
		publish(&a, "unit/2", 0, 50);
		wait_for(&a, has_published, 50);
		settle(&b, 30);
		for (int i = 1; i <= 50; i++) {
			assert_int_equal(b.messages, i);
			assert_int_equal(mqtt_held_acks(b.mqtt), 1);
			mqtt_flush_acks(b.mqtt);
			mqtt_resume_reading(b.mqtt);
			if (i == 50) break;
			wait_for(&b, has_messages, i + 1);
			if (i % 10 == 0) settle(&b, 5);
		}
		assert_int_equal(b.out_of_order, 0);
		mqtt_free(b.mqtt);
	}
	mqtt_free(a.mqtt);
	loop_free(loop);
}

/* The crash: a child takes messages, flushes some, and is killed. */
static void child_subscriber(int report, int flush_at)
{
	struct loop *loop = loop_new();
	struct side s;
	open_side(&s, loop, config_of("unit-crash", true));
	mqtt_subscribe(s.mqtt, "unit/3", 1);
	s.want = 1;
	loop_run_until(loop, is_subscribed, &s, WAIT_MS);
	if (write(report, "s", 1) != 1) _exit(1);
	s.want = flush_at;
	loop_run_until(loop, has_messages, &s, WAIT_MS);
	mqtt_pause_reading(s.mqtt);
	mqtt_flush_acks(s.mqtt);
	settle(&s, 100);
	mqtt_resume_reading(s.mqtt);
	s.want = 300;
	loop_run_until(loop, has_messages, &s, WAIT_MS);
	if (write(report, &s.messages, sizeof s.messages) != sizeof s.messages) _exit(1);
	settle(&s, WAIT_MS);
	_exit(0);
}

static void what_was_not_flushed_comes_again(void **state)
{
	(void)state;
	int report[2], seen_by_child = 0;
	char byte;
	struct side a, b;
	assert_int_equal(pipe(report), 0);
	pid_t child = fork();
	if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (child == 0) child_subscriber(report[1], 100);
	assert_int_equal(read(report[0], &byte, 1), 1);
	struct loop *loop = loop_new();
	open_side(&a, loop, config_of("unit-a", false));
	wait_for(&a, is_connected, 1);
	publish(&a, "unit/3", 0, 100);
	wait_for(&a, has_published, 100);
	settle(&a, 50);
	publish(&a, "unit/3", 100, 200);
	wait_for(&a, has_published, 300);
	assert_int_equal(read(report[0], &seen_by_child, sizeof seen_by_child), (ssize_t)sizeof seen_by_child);
	assert_int_equal(seen_by_child, 300);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	open_side(&b, loop, config_of("unit-crash", true));
	wait_for(&b, is_connected, 1);
	assert_true(b.session_present);
	wait_for(&b, has_messages, 200);
	settle(&b, 200);
	assert_int_equal(b.messages, 200);
	for (int i = 0; i < 300; i++) assert_int_equal(b.seen[i], i >= 100);
	mqtt_flush_acks(b.mqtt);
	settle(&b, 100);
	mqtt_free(b.mqtt);
	open_side(&b, loop, config_of("unit-crash", true)); /* all was flushed: nothing comes */
	wait_for(&b, is_connected, 1);
	settle(&b, 200);
	assert_int_equal(b.messages, 0);
	mqtt_free(b.mqtt);
	mqtt_free(a.mqtt);
	loop_free(loop);
	close(report[0]);
	close(report[1]);
}

/* A COMMIT that failed: the connection is dropped, everything since the last flush comes again. */
static void dropping_brings_back_what_was_held(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a, b;
	open_side(&a, loop, config_of("unit-a", false));
	open_side(&b, loop, config_of("unit-drop", true));
	mqtt_subscribe(b.mqtt, "unit/4", 1);
	wait_for(&b, is_subscribed, 1);
	wait_for(&a, is_connected, 1);
	publish(&a, "unit/4", 0, 20);
	wait_for(&b, has_messages, 20);
	mqtt_flush_acks(b.mqtt);
	publish(&a, "unit/4", 20, 30);
	wait_for(&b, has_messages, 50);
	assert_int_equal(mqtt_held_acks(b.mqtt), 30);
	mqtt_drop(b.mqtt, "commit failed");
	assert_string_equal(b.reason, "commit failed");
	assert_int_equal(mqtt_held_acks(b.mqtt), 0);
	mqtt_flush_acks(b.mqtt); /* of nothing */
	wait_for(&b, has_messages, 80);
	for (int i = 0; i < 50; i++) assert_int_equal(b.seen[i], i < 20 ? 1 : 2);
	mqtt_flush_acks(b.mqtt);
	settle(&b, 50);
	mqtt_free(b.mqtt);
	mqtt_free(a.mqtt);
	loop_free(loop);
}

static void flush_tick(void *ctx)
{
	struct side *s = ctx;
	if (s->flush_each_tick) mqtt_flush_acks(s->mqtt);
}

static void a_broker_restart_is_survived(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a, b;
	open_side(&a, loop, config_of("unit-a", false));
	open_side(&b, loop, config_of("unit-restart", true));
	loop_on_tick(loop, flush_tick, &b);
	b.flush_each_tick = true;
	mqtt_subscribe(b.mqtt, "unit/5", 1);
	wait_for(&a, is_connected, 1);
	wait_for(&b, is_subscribed, 1);
	publish(&a, "unit/5", 0, 100);
	wait_for(&b, has_messages, 100);
	wait_for(&a, has_published, 100);
	settle(&b, 100); /* the acknowledgements arrive */
	stop_broker(SIGTERM);
	wait_for(&a, is_disconnected, 1);
	wait_for(&b, is_disconnected, 3); /* the loss and failed attempts */
	assert_int_equal(mqtt_publish(a.mqtt, "unit/5", "x", 1, 1, false, NULL), ERR_UNAVAILABLE);
	start_broker();
	wait_for(&a, is_connected, 1);
	wait_for(&b, is_subscribed, 2);
	assert_int_equal(b.connects, 2);
	publish(&a, "unit/5", 100, 100);
	wait_for(&b, has_messages, 200);
	for (int i = 0; i < 200; i++) assert_int_equal(b.seen[i], 1);
	mqtt_free(a.mqtt);
	mqtt_free(b.mqtt);
	loop_free(loop);
}

/* Publications that were on their way when the broker died arrive after it is back. */
static void publications_in_flight_are_sent_again(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a, b;
	open_side(&a, loop, config_of("unit-a", false));
	open_side(&b, loop, config_of("unit-flight", false));
	mqtt_subscribe(b.mqtt, "unit/6", 1);
	wait_for(&a, is_connected, 1);
	wait_for(&b, is_subscribed, 1);
	kill(broker, SIGSTOP);
	publish(&a, "unit/6", 0, 50);
	settle(&a, 20);
	assert_int_equal(a.published, 0);
	stop_broker(SIGKILL);
	wait_for(&b, is_disconnected, 1);
	start_broker();
	wait_for(&b, is_subscribed, 2);
	wait_for(&a, has_published, 50);
	struct mqtt_stats stats;
	mqtt_stats_read(a.mqtt, &stats);
	assert_int_equal(stats.inflight, 0);
	mqtt_free(a.mqtt);
	mqtt_free(b.mqtt);
	loop_free(loop);
}

static void many_messages_flow_over_tcp_and_tls(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a, b;
	struct mqtt_config tls = config_of("unit-many", true);
	tls.port = tls_port;
	tls.ca_file = cert_path;
	open_side(&a, loop, config_of("unit-a", false));
	wait_for(&a, is_connected, 1);
	for (int round = 0; round < 4; round++) {
		struct mqtt_config config = round == 1 ? tls : config_of("unit-many", true);
		config.read_pause_ms = round == 2 ? 5 : 0;
		config.max_messages_per_turn = 100;
		config.is_unbuffered = round == 3;
		open_side(&b, loop, config);
		loop_on_tick(loop, flush_tick, &b);
		b.flush_each_tick = true;
		mqtt_subscribe(b.mqtt, "unit/7", 1);
		wait_for(&b, is_subscribed, 1);
		a.published = 0;
		for (int i = 0; i < 20000; i += 1000) {
			publish(&a, "unit/7", i, 1000);
			wait_for(&a, has_published, i + 1000);
		}
		wait_for(&b, has_messages, 20000);
		settle(&b, 30);
		assert_int_equal(b.messages, 20000);
		assert_int_equal(b.out_of_order, 0);
		assert_int_equal(mqtt_held_acks(b.mqtt), 0);
		mqtt_free(b.mqtt);
	}
	mqtt_free(a.mqtt);
	loop_free(loop);
}

static void a_will_is_said_only_after_a_crash(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side a, b;
	struct mqtt_config config = config_of("unit-will", false);
	config.will_topic = "unit/8";
	config.will_payload = "gone";
	open_side(&a, loop, config);
	open_side(&b, loop, config_of("unit-b", false));
	mqtt_subscribe(b.mqtt, "unit/8", 1);
	wait_for(&a, is_connected, 1);
	wait_for(&b, is_subscribed, 1);
	mqtt_stop(a.mqtt);
	assert_false(mqtt_is_connected(a.mqtt));
	settle(&b, 100);
	assert_int_equal(b.messages, 0);
	mqtt_start(a.mqtt);
	wait_for(&a, is_connected, 1);
	mqtt_drop(a.mqtt, "test");
	wait_for(&b, has_messages, 1);
	assert_string_equal(b.last_payload, "gone");
	mqtt_free(a.mqtt);
	mqtt_free(b.mqtt);
	loop_free(loop);
}

static void failures_are_named_and_retried(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side s;
	struct mqtt_config config = config_of("unit-a", false);
	int64_t start = clock_mono_ms();
	config.port = 1;
	open_side(&s, loop, config);
	wait_for(&s, is_disconnected, 4); /* 20, 40, 80 ms, each at least half */
	assert_true(clock_mono_ms() - start >= 70);
	assert_int_equal(s.connects, 0);
	assert_non_null(strstr(s.reason, "refused"));
	mqtt_free(s.mqtt);
	config = config_of("unit-a", false);
	config.host = "no-such-host.invalid";
	open_side(&s, loop, config);
	wait_for(&s, is_disconnected, 1);
	assert_string_equal(s.reason, "name not found");
	mqtt_free(s.mqtt);
	config = config_of("unit-a", false); /* somebody who says nothing */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 10), 0);
	getsockname(fd, (struct sockaddr *)&address, &len);
	config.host = "127.0.0.1";
	config.port = ntohs(address.sin_port);
	config.connect_timeout_ms = 50;
	open_side(&s, loop, config);
	wait_for(&s, is_disconnected, 2);
	assert_string_equal(s.reason, "no answer in time");
	mqtt_free(s.mqtt);
	close(fd);
	config = config_of("unit-a", false); /* TLS with a CA that does not know the broker */
	config.port = tls_port;
	config.ca_file = "/etc/ssl/certs/ca-certificates.crt";
	if (access(config.ca_file, R_OK) == 0) {
		open_side(&s, loop, config);
		wait_for(&s, is_disconnected, 1);
		assert_int_equal(s.connects, 0);
		assert_non_null(strstr(s.reason, "certificate verify failed"));
		mqtt_free(s.mqtt);
	}
	config.ca_file = cert_path; /* a name that the certificate does not have */
	config.host = "127.0.0.2";
	open_side(&s, loop, config);
	wait_for(&s, is_disconnected, 1);
	assert_int_equal(s.connects, 0);
	mqtt_free(s.mqtt);
	struct fault f = {"", ""};
	config.ca_file = "/nonexistent";
	assert_int_equal(mqtt_new(loop, &config, &handler, &s, &s.mqtt, &f), ERR_INVALID);
	assert_null(s.mqtt);
	loop_free(loop);
}

static void freeing_while_connecting(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side s;
	for (int ms = 0; ms < 6; ms++) {
		open_side(&s, loop, config_of("unit-a", false));
		settle(&s, ms);
		mqtt_free(s.mqtt);
	}
	loop_free(loop);
}

static void keepalive_holds_an_idle_connection(void **state)
{
	(void)state;
	struct loop *loop = loop_new();
	struct side s;
	struct mqtt_config config = config_of("unit-idle", false);
	config.keepalive_s = 5; /* the broker cuts after 7.5 s without a ping */
	open_side(&s, loop, config);
	wait_for(&s, is_connected, 1);
	settle(&s, 9500);
	assert_int_equal(s.disconnects, 0);
	mqtt_free(s.mqtt);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages_and_tokens), cmocka_unit_test(too_many_in_flight_are_refused),
	    cmocka_unit_test(tokens_outlive_message_ids), cmocka_unit_test(pausing_stops_after_the_very_message),
	    cmocka_unit_test(what_was_not_flushed_comes_again), cmocka_unit_test(dropping_brings_back_what_was_held),
	    cmocka_unit_test(a_broker_restart_is_survived), cmocka_unit_test(publications_in_flight_are_sent_again),
	    cmocka_unit_test(many_messages_flow_over_tcp_and_tls), cmocka_unit_test(a_will_is_said_only_after_a_crash),
	    cmocka_unit_test(failures_are_named_and_retried), cmocka_unit_test(freeing_while_connecting),
	    cmocka_unit_test(keepalive_holds_an_idle_connection),
	};
	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
