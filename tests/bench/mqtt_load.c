/* Publishers of telemetry for benchmarks: many devices over a few plain MQTT 3.1.1 connections, QoS 1, with a bounded window.
 *
 *   mqtt_load PORT PREFIX DEVICES MESSAGES PER_SECOND CONNECTIONS FIRST_SEQ [SPREAD]
 *
 * Message i goes to PREFIX/dev-<i mod DEVICES>/telemetry (with SPREAD "random": devices in a scattered order), one report of eight metrics, about 215
 * bytes, `seq` growing with each round over the devices from FIRST_SEQ. PER_SECOND 0: as fast as the broker acknowledges. Prints one line of JSON: messages,
 * seconds, acknowledged. Ends with status 1 when acknowledgements do not come for 30 seconds. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, WINDOW = 2000, OUT_BYTES = 1 << 17, PACKET_BYTES = 512, PATIENCE_MS = 30000 };

struct connection {
	int fd;
	unsigned char out[OUT_BYTES];
	size_t out_at, out_len;
	unsigned char in[4096];
	size_t in_len;
	uint16_t last_id;
	unsigned inflight;
};

struct load {
	const char *prefix;
	uint64_t devices, messages, per_second, first_seq, sent, acknowledged;
	uint64_t stride; /* prime to `devices`: visits all of them, neighbours far apart */
	unsigned count;
	struct connection *connections;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "mqtt_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- packets ---- */

static size_t put_length(unsigned char *out, size_t n)
{
	size_t at = 0;
	do {
		out[at++] = (unsigned char)(n % 128 | (n >= 128 ? 128 : 0));
		n /= 128;
	} while (n > 0);
	return at;
}

static void put_publish(struct load *l, struct connection *c)
{
	char topic[160], body[400];
	uint64_t i = l->sent, device = i % l->devices * l->stride % l->devices, seq = l->first_seq + i / l->devices;
	unsigned noise = (unsigned)(i * 2654435761u >> 7) % 100; /* figures that move a little, as figures do */
	int topic_len = snprintf(topic, sizeof topic, "%s/dev-%llu/telemetry", l->prefix, (unsigned long long)device);
	int len = snprintf(body, sizeof body,
		"{\"boot\":\"b0\",\"seq\":%llu,\"model\":\"kws\",\"version\":\"1.0.0\",\"metrics\":{\"accuracy\":{\"n\":50,\"k\":%u},\"latency_ms\":%u.%02u,"
		"\"confidence\":0.%02u,\"temperature_c\":31.%02u,\"battery\":0.83,\"link_rssi_dbm\":-%u,\"energy_mj\":1.%02u,\"memory\":0.%02u}}",
		(unsigned long long)seq, 40 + noise % 8, 20 + noise % 5, noise, 85 + noise % 10, noise, 55 + noise % 9, noise, 40 + noise % 3);
	unsigned char *p = c->out + c->out_len;
	size_t at = 0;
	p[at++] = 0x32; /* PUBLISH, QoS 1 */
	at += put_length(p + at, 2 + (size_t)topic_len + 2 + (size_t)len);
	p[at++] = (unsigned char)(topic_len >> 8);
	p[at++] = (unsigned char)topic_len;
	memcpy(p + at, topic, (size_t)topic_len);
	at += (size_t)topic_len;
	if (++c->last_id == 0) c->last_id = 1;
	p[at++] = (unsigned char)(c->last_id >> 8);
	p[at++] = (unsigned char)c->last_id;
	memcpy(p + at, body, (size_t)len);
	c->out_len += at + (size_t)len;
	c->inflight++;
	l->sent++;
}

static void connect_one(struct connection *c, uint16_t port, unsigned index)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char id[32];
	unsigned char packet[64], answer[4];
	int one = 1;
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	int len = snprintf(id, sizeof id, "load-%d-%u", (int)getpid(), index);
	static const unsigned char head[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0};
	size_t at = 0;
	packet[at++] = 0x10;
	packet[at++] = (unsigned char)(sizeof head + 2 + (size_t)len);
	memcpy(packet + at, head, sizeof head);
	at += sizeof head;
	packet[at++] = 0;
	packet[at++] = (unsigned char)len;
	memcpy(packet + at, id, (size_t)len);
	at += (size_t)len;
	if (write(c->fd, packet, at) != (ssize_t)at) die("CONNECT");
	for (size_t got = 0; got < sizeof answer;) {
		ssize_t n = read(c->fd, answer + got, sizeof answer - got);
		if (n <= 0) die("CONNACK");
		got += (size_t)n;
	}
	if (answer[0] != 0x20 || answer[3] != 0) die("the broker refused");
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

/* ---- sending and receiving ---- */

static void fill(struct load *l, struct connection *c, uint64_t allowed)
{
	while (l->sent < allowed && c->inflight < WINDOW && c->out_len + PACKET_BYTES < OUT_BYTES) put_publish(l, c);
}

static void flush(struct connection *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n = write(c->fd, c->out + c->out_at, c->out_len - c->out_at);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
		if (n <= 0) die("write");
		c->out_at += (size_t)n;
	}
	c->out_at = c->out_len = 0;
}

/* All that comes are PUBACKs of four bytes. */
static void receive(struct load *l, struct connection *c)
{
	ssize_t n = read(c->fd, c->in + c->in_len, sizeof c->in - c->in_len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n <= 0) die("the broker closed the connection");
	c->in_len += (size_t)n;
	size_t packets = c->in_len / 4;
	for (size_t i = 0; i < packets; i++)
		if (c->in[4 * i] != 0x40) die("something else than PUBACK came");
	c->in_len -= 4 * packets;
	memmove(c->in, c->in + 4 * packets, c->in_len);
	c->inflight -= (unsigned)packets;
	l->acknowledged += packets;
}

static uint64_t allowed_by_now(const struct load *l, uint64_t began_ns)
{
	if (l->per_second == 0) return l->messages;
	double by_now = (double)(now_ns() - began_ns) * 1e-9 * (double)l->per_second + 1;
	return by_now < (double)l->messages ? (uint64_t)by_now : l->messages;
}

static void run(struct load *l)
{
	struct pollfd polls[CONNECTIONS_MAX];
	uint64_t began_ns = now_ns(), heard_ns = began_ns;
	while (l->acknowledged < l->messages) {
		uint64_t allowed = allowed_by_now(l, began_ns), before = l->acknowledged;
		for (unsigned i = 0; i < l->count; i++) {
			struct connection *c = &l->connections[i];
			if (c->out_at == 0) fill(l, c, allowed);
			flush(c);
			polls[i] = (struct pollfd){.fd = c->fd, .events = (short)(POLLIN | (c->out_len > 0 ? POLLOUT : 0))};
		}
		if (poll(polls, l->count, l->per_second ? 2 : 100) < 0 && errno != EINTR) die("poll");
		for (unsigned i = 0; i < l->count; i++)
			if (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) receive(l, &l->connections[i]);
		if (l->acknowledged > before || l->acknowledged == l->sent) heard_ns = now_ns();
		if (now_ns() - heard_ns > (uint64_t)PATIENCE_MS * 1000000u) {
			fprintf(stderr, "mqtt_load: no acknowledgement for 30 s (%llu of %llu)\n", (unsigned long long)l->acknowledged, (unsigned long long)l->sent);
			exit(1);
		}
	}
	printf("{\"messages\":%llu,\"seconds\":%.6f,\"acknowledged\":%llu}\n", (unsigned long long)l->sent, (double)(now_ns() - began_ns) * 1e-9,
		(unsigned long long)l->acknowledged);
}

static uint64_t stride_of(uint64_t devices)
{
	uint64_t stride = devices * 5 / 8 | 1;
	for (;; stride += 2) {
		uint64_t a = stride, b = devices;
		while (b != 0) {
			uint64_t rest = a % b;
			a = b;
			b = rest;
		}
		if (a == 1) return stride;
	}
}

int main(int argc, char **argv)
{
	if (argc < 8) {
		fprintf(stderr, "usage: mqtt_load PORT PREFIX DEVICES MESSAGES PER_SECOND CONNECTIONS FIRST_SEQ [random]\n");
		return 2;
	}
	struct load l = {.prefix = argv[2],
	                 .devices = strtoull(argv[3], NULL, 10),
	                 .messages = strtoull(argv[4], NULL, 10),
	                 .per_second = strtoull(argv[5], NULL, 10),
	                 .count = (unsigned)strtoul(argv[6], NULL, 10),
	                 .first_seq = strtoull(argv[7], NULL, 10)};
	if (l.devices == 0 || l.count == 0 || l.count > CONNECTIONS_MAX || strlen(l.prefix) > 100) {
		fprintf(stderr, "mqtt_load: devices from 1, connections 1 to %d\n", CONNECTIONS_MAX);
		return 2;
	}
	l.stride = argc > 8 && strcmp(argv[8], "random") == 0 ? stride_of(l.devices) : 1;
	l.connections = calloc(l.count, sizeof *l.connections);
	if (l.connections == NULL) die("memory");
	for (unsigned i = 0; i < l.count; i++) connect_one(&l.connections[i], (uint16_t)strtoul(argv[1], NULL, 10), i);
	run(&l);
	return 0;
}
