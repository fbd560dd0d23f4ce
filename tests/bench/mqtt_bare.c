/* The reference of bench-ingest: a libmosquitto subscriber on libuv that does nothing with what it gets.
 *
 *   mqtt_bare PORT FILTER
 *
 * QoS 1, reads until the socket is drained at each wake-up, acknowledges at once. Says "ready" when subscribed; on SIGUSR1 prints how many messages came
 * since the start, as a line. Ends by SIGTERM. */
#include <errno.h>
#include <mosquitto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

static struct mosquitto *client;
static uv_poll_t watch;
static unsigned long long messages;
static int came;

static void on_message(struct mosquitto *m, void *ctx, const struct mosquitto_message *message)
{
	(void)m, (void)ctx, (void)message;
	messages++;
	came = 1;
}

static void on_subscribe(struct mosquitto *m, void *ctx, int mid, int count, const int *granted)
{
	(void)m, (void)ctx, (void)mid, (void)count, (void)granted;
	printf("ready\n");
	fflush(stdout);
}

static void on_connect(struct mosquitto *m, void *ctx, int rc)
{
	if (rc == 0) mosquitto_subscribe(m, NULL, ctx, 1);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	(void)status;
	if (events & UV_READABLE) {
		do {
			came = 0;
			errno = 0;
			if (mosquitto_loop_read(client, 1) != MOSQ_ERR_SUCCESS) exit(1);
		} while (came || errno != EAGAIN);
	}
	if (mosquitto_want_write(client)) mosquitto_loop_write(client, 1);
	uv_poll_start(poll, UV_READABLE | (mosquitto_want_write(client) ? UV_WRITABLE : 0), on_event);
}

static void on_ask(uv_signal_t *handle, int signal)
{
	(void)handle, (void)signal;
	printf("%llu\n", messages);
	fflush(stdout);
}

static void on_misc(uv_timer_t *timer)
{
	(void)timer;
	mosquitto_loop_misc(client);
}

int main(int argc, char **argv)
{
	if (argc != 3) return 2;
	uv_loop_t *loop = uv_default_loop();
	uv_signal_t ask;
	uv_timer_t misc;
	char id[40];
	mosquitto_lib_init();
	snprintf(id, sizeof id, "bare-%d", (int)getpid());
	client = mosquitto_new(id, true, argv[2]);
	mosquitto_connect_callback_set(client, on_connect);
	mosquitto_subscribe_callback_set(client, on_subscribe);
	mosquitto_message_callback_set(client, on_message);
	if (mosquitto_connect(client, "127.0.0.1", atoi(argv[1]), 60) != MOSQ_ERR_SUCCESS) return 1;
	uv_poll_init(loop, &watch, mosquitto_socket(client));
	uv_poll_start(&watch, UV_READABLE | UV_WRITABLE, on_event);
	uv_signal_init(loop, &ask);
	uv_signal_start(&ask, on_ask, SIGUSR1);
	uv_timer_init(loop, &misc);
	uv_timer_start(&misc, on_misc, 1000, 1000);
	return uv_run(loop, UV_RUN_DEFAULT);
}
