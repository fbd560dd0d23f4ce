#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/server.h"
#include "base/clock.h"
#include "daemon.h"
#include "net/loop.h"

#define PEM_MAX (1u << 20)
#define BEFORE_MS 60000 /* how long requests of the server before may last: long downloads begin again with Range */

static enum err read_pem(const char *path, struct buf *out, struct fault *f)
{
	char data[4096];
	buf_clear(out);
	if (path[0] == '\0')
		return ERR_OK;
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return fault_set(f, ERR_INVALID, "", "%s: %s", path, strerror(errno));
	for (size_t n; (n = fread(data, 1, sizeof data, file)) > 0 && out->len < PEM_MAX;)
		buf_append(out, data, n);
	fclose(file);
	return ERR_OK;
}

static size_t all_addresses(const struct config *c, struct http_address out[2 * LISTEN_MAX])
{
	size_t n = 0;
	for (size_t i = 0; i < c->http.plain.count; i++)
		out[n++] = c->http.plain.items[i];
	for (size_t i = 0; i < c->http.tls.count; i++)
		out[n++] = c->http.tls.items[i];
	return n;
}

static struct http_config http_config_of(const struct daemon *d, const struct http_address *addresses, size_t count)
{
	return (struct http_config){.addresses = addresses, .address_count = count,
		.tls_cert_pem = buf_cstr(&d->tls_certificate),
	                            .tls_key_pem = buf_cstr(&d->tls_key),
		.tls_client_ca_pem = buf_cstr(&d->tls_client_ca),
		.max_connections = (unsigned)d->config->http.max_connections,
	                            .max_connections_per_ip = (unsigned)d->config->http.max_connections_per_address};
}

enum err listen_open(struct daemon *d, struct fault *f)
{
	const struct config *c = d->config;
	struct http_address addresses[2 * LISTEN_MAX];
	enum err e = read_pem(c->http.tls_certificate, &d->tls_certificate, f);
	if (e == ERR_OK)
		e = read_pem(c->http.tls_key, &d->tls_key, f);
	if (e == ERR_OK)
		e = read_pem(c->http.tls_client_ca, &d->tls_client_ca, f);
	if (e != ERR_OK)
		return e;
	d->bound_count = all_addresses(c, addresses);
	struct http_config h = http_config_of(d, addresses, d->bound_count);
	e = http_server_open(d->loop, &h, api_handler(), d->api, &d->http, f);
	if (e == ERR_UNAVAILABLE && !config_is_set(c, "http", "listen") && c->http.tls.count == 0) {
		/* The defaults on a machine without IPv6. Where 127.0.0.1 is taken, this fails too. */
		log_event(LOG_WARN, "http.listen", "detail=%s only=127.0.0.1", log_quote(f->detail));
		h.address_count = d->bound_count = 1;
		e = http_server_open(d->loop, &h, api_handler(), d->api, &d->http, f);
	}
	return e;
}

static enum err write_port_file(const char *path, const char *text, struct fault *f)
{
	char temporary[1100];
	snprintf(temporary, sizeof temporary, "%s.new", path);
	FILE *file = fopen(temporary, "we");
	bool ok = file != NULL && fputs(text, file) >= 0;
	ok = file != NULL && fclose(file) == 0 && ok;
	if (!ok || rename(temporary, path) != 0) /* whoever waits for the file finds it whole */
		return fault_set(f, ERR_UNAVAILABLE, "", "%s: %s", path, strerror(errno));
	return ERR_OK;
}

enum err listen_tell(struct daemon *d, struct fault *f)
{
	struct http_address addresses[2 * LISTEN_MAX];
	struct buf text = BUF_INIT;
	all_addresses(d->config, addresses);
	for (size_t i = 0; i < d->bound_count; i++) {
		const struct http_address *a = &addresses[i];
		unsigned port = http_port(d->http, i);
		buf_printf(&text, strchr(a->host, ':') != NULL ? "[%s]:%u\n" : "%s:%u\n", a->host, port);
		log_event(LOG_INFO, "http.listening", "address=%s port=%u tls=%s", a->host, port, a->is_tls ? "yes" : "no");
	}
	enum err e = d->port_file != NULL ? write_port_file(d->port_file, text.data, f) : ERR_OK;
	buf_done(&text);
	return e;
}

/* ---- a new certificate ---- */

static void watch_before(void *ctx)
{
	struct daemon *d = ctx;
	struct http_stats h;
	http_stats_read(d->http_before, &h);
	if (h.connections > 0 && clock_mono_ms() < d->before_until_ms)
		return;
	http_server_close(d->http_before);
	d->http_before = NULL;
	loop_timer_free(d->before_timer);
	d->before_timer = NULL;
}

/* A server with the new pair on a port that nobody knows: what is wrong with the pair shows here, before anything was
 * given up. */
static enum err try_pair(struct daemon *d, struct fault *f)
{
	const struct http_address somewhere = {"127.0.0.1", 0, true};
	struct http_config h = http_config_of(d, &somewhere, 1);
	struct http_server *trial;
	enum err e = http_server_open(d->loop, &h, api_handler(), d->api, &trial, f);
	if (e == ERR_OK)
		http_server_close(trial);
	return e;
}

static void take_over(struct daemon *d)
{
	struct fault f = {"", ""};
	struct http_address addresses[2 * LISTEN_MAX];
	all_addresses(d->config, addresses);
	for (size_t i = 0; i < d->bound_count; i++)
		addresses[i].port = http_port(d->http, i);
	if (d->http_before != NULL) {
		d->before_until_ms = 0;
		watch_before(d);
	}
	http_server_quiesce(d->http);
	d->http_before = d->http;
	struct http_config h = http_config_of(d, addresses, d->bound_count);
	if (http_server_open(d->loop, &h, api_handler(), d->api, &d->http, &f) != ERR_OK) {
		log_event(LOG_ERROR, "reload.listen", "detail=%s", log_quote(f.detail));
		d->http = d->http_before; /* somebody took the port in this moment: nothing listens any more, so start anew */
		d->http_before = NULL;
		d->is_stopping = d->has_failed = true;
		loop_stop(d->loop);
		return;
	}
	d->before_until_ms = clock_mono_ms() + BEFORE_MS;
	d->before_timer = loop_timer_new(d->loop, watch_before, d);
	loop_timer_start(d->before_timer, 100, 100);
	log_event(LOG_INFO, "reload.certificate", "file=%s", log_quote(d->config->http.tls_certificate));
}

void listen_reload(struct daemon *d)
{
	struct fault f = {"", ""};
	struct buf old_certificate = d->tls_certificate, old_key = d->tls_key, old_ca = d->tls_client_ca;
	if (d->config->http.tls.count == 0)
		return;
	d->tls_certificate = d->tls_key = d->tls_client_ca = (struct buf)BUF_INIT;
	enum err e = read_pem(d->config->http.tls_certificate, &d->tls_certificate, &f);
	if (e == ERR_OK)
		e = read_pem(d->config->http.tls_key, &d->tls_key, &f);
	if (e == ERR_OK)
		e = read_pem(d->config->http.tls_client_ca, &d->tls_client_ca, &f);
	bool same = e == ERR_OK && strcmp(buf_cstr(&d->tls_certificate), buf_cstr(&old_certificate)) == 0 &&
	            strcmp(buf_cstr(&d->tls_key), buf_cstr(&old_key)) == 0 && strcmp(buf_cstr(&d->tls_client_ca), buf_cstr(&old_ca)) == 0;
	if (e == ERR_OK && !same)
		e = try_pair(d, &f);
	if (e != ERR_OK || same) {
		if (e != ERR_OK)
			log_event(LOG_ERROR, "reload.certificate", "kept=yes detail=%s", log_quote(f.detail));
		buf_done(&d->tls_certificate);
		buf_done(&d->tls_key);
		buf_done(&d->tls_client_ca);
		d->tls_certificate = old_certificate;
		d->tls_key = old_key;
		d->tls_client_ca = old_ca;
		return;
	}
	buf_done(&old_certificate);
	buf_done(&old_key);
	buf_done(&old_ca);
	take_over(d);
}

void listen_close(struct daemon *d)
{
	loop_timer_free(d->before_timer);
	http_server_close(d->http_before);
	http_server_close(d->http);
	if (d->port_file != NULL && d->http != NULL)
		unlink(d->port_file);
	d->http = d->http_before = NULL; /* ticks go on while jobs end */
	buf_done(&d->tls_certificate);
	buf_done(&d->tls_key);
	buf_done(&d->tls_client_ca);
}
