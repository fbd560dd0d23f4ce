/* Keep-alive HTTP clients for benchmarks: one request in flight on each connection, so that the server's cost and not a queue is measured.
 *
 *   http_load PORT PATH REQUESTS CONNECTIONS IDS PER_SECOND [HEADER...]
 *
 * GETs PATH, in which "%d" becomes a number below IDS, scattered. PER_SECOND 0: as fast as answers come. Prints one line of JSON: requests, seconds, bytes
 * of bodies, answers by status class, and the latencies' median and p99 in microseconds. A connection that the server closes is opened
 * again. Ends with status 1 when nothing comes for 30 seconds. With POST=body in the environment it POSTs that; "%d" in it becomes a number that
 * counts up. With LOOK_US=n it sleeps for so long between two looks at its connections instead of waiting in epoll: then no answer wakes it, which
 * costs the one who sends it several microseconds, unless the client happens to be awake. So servers of different speed are compared at equal terms. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, IN_BYTES = 1 << 17, OUT_BYTES = 8192, PATIENCE_MS = 30000, HEADERS_BYTES = 2048 };

struct connection {
	int fd;
	size_t out_len, out_at, in_len, body_left, head_len;
	uint64_t asked_ns;
	int waiting;
	char out[OUT_BYTES], in[IN_BYTES];
};

struct load {
	uint16_t port;
	const char *path, *method, *body;
	char headers[HEADERS_BYTES];
	uint64_t requests, ids, per_second, asked, answered, bytes, status[6];
	unsigned count, look_us;
	struct connection *connections;
	uint32_t *latency_us;
	int epoll;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void connect_one(struct load *l, struct connection *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(l->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	c->in_len = c->out_len = c->out_at = c->body_left = c->head_len = 0;
	c->waiting = 0;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0) die("epoll");
}

static void flush(struct connection *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
		if (n < 0) return; /* EAGAIN does not happen to requests this small; anything else shows when reading */
		c->out_at += (size_t)n;
	}
}

/* `text` with its "%d" replaced; its length. */
static int number_into(char *out, size_t size, const char *text, uint64_t number)
{
	const char *place = strstr(text, "%d");
	if (place == NULL) return snprintf(out, size, "%s", text);
	return snprintf(out, size, "%.*s%llu%s", (int)(place - text), text, (unsigned long long)number, place + 2);
}

static void ask(struct load *l, struct connection *c)
{
	char path[1024];
	uint64_t id = l->ids > 0 ? l->asked * 2654435761u % l->ids : 0;
	number_into(path, sizeof path, l->path, id);
	char body[OUT_BYTES / 2];
	int len = snprintf(c->out, sizeof c->out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s", l->method, path, l->port, l->headers);
	if (l->body)
		len += snprintf(c->out + len, sizeof c->out - (size_t)len, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		                number_into(body, sizeof body, l->body, l->asked), body);
	else
		len += snprintf(c->out + len, sizeof c->out - (size_t)len, "\r\n");
	c->out_len = (size_t)len;
	c->out_at = 0;
	c->waiting = 1;
	c->asked_ns = now_ns();
	l->asked++;
	flush(c);
}

/* The head is complete: its status and the length of the body. */
static void read_head(struct load *l, struct connection *c)
{
	unsigned class = (unsigned)(c->in[9] - '0');
	char *length = strcasestr(c->in, "\r\ncontent-length:");
	l->status[class < 6 ? class : 0]++;
	c->body_left = length && length < c->in + c->head_len ? strtoull(length + 17, NULL, 10) : 0;
	l->bytes += c->body_left;
}

static int take(struct load *l, struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
	if (n <= 0) { /* closed: the request is asked again */
		close(c->fd);
		if (c->waiting) l->asked--;
		connect_one(l, c);
		return 0;
	}
	c->in_len += (size_t)n;
	c->in[c->in_len] = '\0';
	if (c->head_len == 0) {
		char *end = strstr(c->in, "\r\n\r\n");
		if (end == NULL) return 0;
		c->head_len = (size_t)(end - c->in) + 4;
		read_head(l, c);
		size_t have = c->in_len - c->head_len;
		c->body_left -= have < c->body_left ? have : c->body_left;
	} else {
		c->body_left -= (size_t)n < c->body_left ? (size_t)n : c->body_left;
	}
	if (c->body_left > 0) {
		c->in_len = 0;
		return 0;
	}
	l->latency_us[l->answered++] = (uint32_t)((now_ns() - c->asked_ns) / 1000);
	c->in_len = c->head_len = 0;
	c->waiting = 0;
	return 1;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static uint64_t allowed_by_now(const struct load *l, uint64_t began_ns)
{
	if (l->per_second == 0) return l->requests;
	double by_now = (double)(now_ns() - began_ns) * 1e-9 * (double)l->per_second + 1;
	return by_now < (double)l->requests ? (uint64_t)by_now : l->requests;
}

static void run(struct load *l)
{
	struct epoll_event events[CONNECTIONS_MAX];
	uint64_t began_ns = now_ns(), heard_ns = began_ns;
	while (l->answered < l->requests) {
		uint64_t allowed = allowed_by_now(l, began_ns);
		for (unsigned i = 0; i < l->count && l->asked < allowed; i++)
			if (!l->connections[i].waiting) ask(l, &l->connections[i]);
		if (l->look_us > 0) usleep(l->look_us);
		int n = epoll_wait(l->epoll, events, CONNECTIONS_MAX, l->look_us > 0 ? 0 : l->per_second ? 1 : 100);
		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;
			if (!take(l, c)) continue;
			heard_ns = now_ns();
			if (l->asked < allowed) ask(l, c);
		}
		if (now_ns() - heard_ns > (uint64_t)PATIENCE_MS * 1000000u && l->asked > l->answered) {
			fprintf(stderr, "http_load: no answer for 30 s\n");
			exit(1);
		}
	}
	qsort(l->latency_us, l->answered, sizeof *l->latency_us, compare);
	printf("{\"requests\":%llu,\"seconds\":%.6f,\"bytes\":%llu,\"ok\":%llu,\"other\":%llu,\"p50_us\":%u,\"p99_us\":%u}\n", (unsigned long long)l->answered,
		(double)(now_ns() - began_ns) * 1e-9, (unsigned long long)l->bytes, (unsigned long long)l->status[2],
		(unsigned long long)(l->answered - l->status[2]), l->latency_us[l->answered / 2], l->latency_us[l->answered * 99 / 100]);
}

int main(int argc, char **argv)
{
	if (argc < 7) {
		fprintf(stderr, "usage: http_load PORT PATH REQUESTS CONNECTIONS IDS PER_SECOND [HEADER...]\n");
		return 2;
	}
	struct load l = {.port = (uint16_t)strtoul(argv[1], NULL, 10),
	                 .path = argv[2],
	                 .requests = strtoull(argv[3], NULL, 10),
	                 .count = (unsigned)strtoul(argv[4], NULL, 10),
	                 .ids = strtoull(argv[5], NULL, 10),
	                 .per_second = strtoull(argv[6], NULL, 10),
	                 .body = getenv("POST"),
	                 .look_us = getenv("LOOK_US") ? (unsigned)strtoul(getenv("LOOK_US"), NULL, 10) : 0,
	                 .epoll = epoll_create1(0)};
	l.method = l.body ? "POST" : "GET";
	if (l.requests == 0 || l.count == 0 || l.count > CONNECTIONS_MAX) {
		fprintf(stderr, "http_load: requests from 1, connections 1 to %d\n", CONNECTIONS_MAX);
		return 2;
	}
	for (int i = 7; i < argc; i++) {
		size_t used = strlen(l.headers);
		snprintf(l.headers + used, sizeof l.headers - used, "%s\r\n", argv[i]);
	}
	l.connections = calloc(l.count, sizeof *l.connections);
	l.latency_us = calloc(l.requests, sizeof *l.latency_us);
	if (l.connections == NULL || l.latency_us == NULL || l.epoll < 0) die("memory");
	for (unsigned i = 0; i < l.count; i++) connect_one(&l, &l.connections[i]);
	run(&l);
	return 0;
}
