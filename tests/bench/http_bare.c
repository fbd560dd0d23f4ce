/* The reference of bench-http and bench-poll: libmicrohttpd with its external epoll on libuv, and one constant answer.
 *
 *   http_bare BODY_BYTES [HEADER VALUE]...
 *
 * Prints the port, serves until SIGTERM. The answer is 200 with a JSON text of so many bytes and the given headers. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static struct MHD_Daemon *server;
static struct MHD_Response *answer;
static uv_timer_t timer;

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data,
	size_t *len, void **state)
{
	static int seen;
	(void)ctx, (void)url, (void)method, (void)version, (void)data;
	if (*state == NULL) { /* the head; libmicrohttpd calls once more when the body is there */
		*state = &seen;
		return MHD_YES;
	}
	if (*len > 0) {
		*len = 0;
		return MHD_YES;
	}
	return MHD_queue_response(c, MHD_HTTP_OK, answer);
}

static void on_timer(uv_timer_t *handle);

static void run(void)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;
	MHD_run(server);
	if (MHD_get_timeout(server, &wait_ms) == MHD_YES) uv_timer_start(&timer, on_timer, wait_ms, 0);
}

static void on_timer(uv_timer_t *handle)
{
	(void)handle;
	run();
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	(void)poll, (void)status, (void)events;
	run();
}

int main(int argc, char **argv)
{
	if (argc < 2) return 2;
	size_t bytes = strtoul(argv[1], NULL, 10);
	char *body = malloc(bytes + 3);
	if (body == NULL) return 1;
	memset(body, 'x', bytes + 2);
	memcpy(body, "{\"a\":\"", 6);
	if (bytes > 8) memcpy(body + bytes - 2, "\"}", 2);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	server = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_CONNECTION_LIMIT, 4096u,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)24576, MHD_OPTION_END);
	if (server == NULL) return 1;
	answer = MHD_create_response_from_buffer(bytes, body, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(answer, "Content-Type", "application/json");
	for (int i = 2; i + 1 < argc; i += 2) MHD_add_response_header(answer, argv[i], argv[i + 1]);
	uv_loop_t *loop = uv_default_loop();
	uv_poll_t poll;
	uv_timer_init(loop, &timer);
	uv_poll_init(loop, &poll, MHD_get_daemon_info(server, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
	uv_poll_start(&poll, UV_READABLE, on_event);
	printf("%u\n", MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	return uv_run(loop, UV_RUN_DEFAULT);
}
