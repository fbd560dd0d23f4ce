/* The server and the client in one loop, on real sockets. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "net/fetch.h"
#include "net/http.h"
#include "net/jobs.h"

enum { FILE_BYTES = 300000, WAIT_MS = 10000 };

struct world {
	struct loop *loop;
	struct http_server *server;
	struct fetch_pool *pool;
	struct jobs *jobs;
	char url[64], url6[64], file[64];
	bool hold, fail; /* what the tick does */
	int ticks_with_held, begun, completed, aborted, finished, stream_closed, prepared;
	uint64_t chunk_bytes, last_reply_bytes;
	struct http_request *waiting;
	struct http_stream *stream;
	struct loop_timer *resume;
	char last_remote[64];
};

static struct world w;

static void tick(void *ctx)
{
	struct http_stats stats;
	(void)ctx;
	http_stats_read(w.server, &stats);
	if (stats.held > 0) w.ticks_with_held++;
	if (w.hold) return;
	if (w.fail) http_fail_held(w.server, 503, "application/problem+json", "{\"status\":503}");
	else http_release_held(w.server);
}

static void reply_text(struct http_request *req, int status, const char *text)
{
	struct buf b = BUF_INIT;
	buf_str(&b, text);
	http_reply(req, status, "text/plain", &b);
	assert_null(b.data);
}

static bool path_is(struct http_request *req, const char *path)
{
	return strcmp(http_path(req), path) == 0;
}

static void begin(struct http_request *req)
{
	w.begun++;
	http_set_user(req, &w);
	snprintf(w.last_remote, sizeof w.last_remote, "%s", http_remote(req));
	if (path_is(req, "/unauthorized")) reply_text(req, 401, "who are you");
	else if (path_is(req, "/stream-in")) http_stream_body(req, 4 << 20);
	else if (path_is(req, "/slow-in")) http_stream_body(req, 64 << 20);
	else if (path_is(req, "/fail-midway")) http_stream_body(req, 64 << 20);
	else if (strcmp(http_method(req), "POST") == 0 && !path_is(req, "/no-body")) http_take_body(req, 1000000);
}

static void resume_body(void *ctx)
{
	http_resume_body(ctx);
}

static void chunk(struct http_request *req, const void *data, size_t len)
{
	(void)data;
	w.chunk_bytes += len;
	assert_true(len <= 65536);
	if (path_is(req, "/slow-in")) {
		http_pause_body(req);
		loop_timer_free(w.resume);
		w.resume = loop_timer_new(w.loop, resume_body, req);
		loop_timer_start(w.resume, 1, 0);
	}
	if (path_is(req, "/fail-midway")) reply_text(req, 422, "not like this");
}

static void no_work(void *ctx)
{
	(void)ctx;
	usleep(2000);
}

static void reply_later(void *ctx)
{
	struct http_request *req = w.waiting;
	(void)ctx;
	w.waiting = NULL;
	if (req) reply_text(req, 200, "later");
}

static void reply_echo(struct http_request *req)
{
	struct buf b = BUF_INIT;
	size_t len;
	const char *body = http_body(req, &len);
	const char *name, *value;
	buf_printf(&b, "%s %s len=%zu", http_method(req), http_path(req), len);
	for (size_t i = 0; http_query_at(req, i, &name, &value); i++) buf_printf(&b, " %s=%s", name, value);
	if (http_header(req, "x-test")) buf_printf(&b, " x=%s", http_header(req, "X-Test"));
	if (len > 0 && len < 20) buf_printf(&b, " body=%s", body);
	http_set_header(req, "X-Echo", "yes");
	http_reply(req, 201, "text/plain", &b);
}

static void stream_closed(void *ctx)
{
	assert_ptr_equal(ctx, &w);
	w.stream_closed++;
	w.stream = NULL;
}

static void complete(struct http_request *req)
{
	w.completed++;
	if (path_is(req, "/job")) {
		w.waiting = req;
		assert_int_equal(jobs_submit(w.jobs, no_work, reply_later, NULL), ERR_OK);
	} else if (path_is(req, "/never")) {
		w.waiting = req;
	} else if (path_is(req, "/now")) {
		struct buf b = BUF_INIT;
		buf_str(&b, "now");
		http_reply_now(req, 200, "text/plain", &b);
	} else if (path_is(req, "/static")) {
		http_reply_static(req, 200, "text/css", "body{}", 6);
	} else if (path_is(req, "/none")) {
		http_reply(req, 204, NULL, NULL);
	} else if (path_is(req, "/file")) {
		http_reply_file(req, open(w.file, O_RDONLY | O_CLOEXEC), FILE_BYTES, "abc", "application/octet-stream");
	} else if (path_is(req, "/empty-file")) {
		http_reply_file(req, open("/dev/null", O_RDONLY | O_CLOEXEC), 0, NULL, "application/octet-stream");
	} else if (path_is(req, "/events")) {
		w.stream = http_reply_stream(req, "text/event-stream", 100000, stream_closed, &w);
		http_stream_send(w.stream, "data: hello\n\n", 13);
	} else {
		reply_echo(req);
	}
}

static void on_abort(struct http_request *req)
{
	w.aborted++;
	if (w.waiting == req) w.waiting = NULL;
}

static void on_finish(struct http_request *req)
{
	if (http_user(req)) w.finished++; /* else refused before begin */
	w.last_reply_bytes = http_reply_bytes(req);
}

static void prepare(struct http_request *req, int status)
{
	(void)status;
	w.prepared++;
	http_set_header(req, "X-Content-Type-Options", "nosniff");
}

static const char *refusal(int status, const char **content_type)
{
	*content_type = "application/problem+json";
	return status == 413 ? "{\"status\":413}" : "{}";
}

static void make_certificate(const char *key, const char *cert)
{
	char line[600];
	snprintf(line, sizeof line,
	         "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
	         "-addext subjectAltName=IP:127.0.0.1,IP:::1 -keyout %s -out %s 2>/dev/null", key, cert);
	assert_int_equal(system(line), 0);
}

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 20000);
	assert_non_null(file);
	assert_true(fread(text, 1, 19999, file) > 0);
	fclose(file);
	return text;
}

static void open_world(bool is_tls)
{
	static const struct http_handler handler = {.begin = begin, .chunk = chunk, .complete = complete, .abort = on_abort,
	                                            .finish = on_finish, .prepare = prepare,
	                                            .refusal = refusal};
	struct http_address addresses[] = {{"127.0.0.1", 0, is_tls}, {"::1", 0, is_tls}};
	struct http_config config = {.addresses = addresses, .address_count = 2, .max_target_bytes = 600,
	                             .max_header_bytes = 4000};
	struct fault f = {"", ""};
	char key[80], cert[80], *key_text = NULL, *cert_text = NULL;
	memset(&w, 0, sizeof w);
	snprintf(w.file, sizeof w.file, "/tmp/aviary-http-%d.bin", (int)getpid());
	int fd = open(w.file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	static uint32_t words[FILE_BYTES / 4];
	for (uint32_t i = 0; i < FILE_BYTES / 4; i++) words[i] = i;
	assert_int_equal(write(fd, words, sizeof words), FILE_BYTES);
	close(fd);
	if (is_tls) {
		snprintf(key, sizeof key, "%s.key", w.file);
		snprintf(cert, sizeof cert, "%s.cert", w.file);
		make_certificate(key, cert);
		key_text = read_text(key);
		cert_text = read_text(cert);
		config.tls_key_pem = key_text;
		config.tls_cert_pem = cert_text;
	}
	w.loop = loop_new();
	if (http_server_open(w.loop, &config, &handler, &w, &w.server, &f) != ERR_OK) fail_msg("%s", f.detail);
	free(key_text);
	free(cert_text);
	snprintf(w.url, sizeof w.url, "%s://127.0.0.1:%u", is_tls ? "https" : "http", http_port(w.server, 0));
	snprintf(w.url6, sizeof w.url6, "%s://[::1]:%u", is_tls ? "https" : "http", http_port(w.server, 1));
	w.pool = fetch_pool_new(w.loop, 0);
	w.jobs = jobs_new(w.loop, 10);
	loop_on_tick(w.loop, tick, NULL);
}

static void close_world(void)
{
	fetch_pool_free(w.pool);
	http_server_close(w.server);
	jobs_free(w.jobs);
	loop_timer_free(w.resume);
	loop_on_tick(w.loop, NULL, NULL);
	loop_free(w.loop);
	unlink(w.file);
	char pem[80];
	snprintf(pem, sizeof pem, "%s.key", w.file);
	unlink(pem);
	snprintf(pem, sizeof pem, "%s.cert", w.file);
	unlink(pem);
	assert_int_equal(w.begun, w.finished);
	assert_null(w.waiting);
	assert_null(w.stream);
}

static int setup(void **state)
{
	(void)state;
	open_world(false);
	return 0;
}

static int setup_tls(void **state)
{
	(void)state;
	open_world(true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_world();
	return 0;
}

/* One answer, waited for. */
struct answer {
	bool is_done;
	int status;
	char error[200], etag[40], range[60], type[60], sniff[20], echo[10];
	char *body;
	size_t body_len;
};

static void copy_header(const struct fetch *f, const char *name, char *out, size_t size)
{
	const char *value = fetch_header(f, name);
	snprintf(out, size, "%s", value ? value : "");
}

static void on_done(void *ctx, const struct fetch_result *r)
{
	struct answer *a = ctx;
	assert_false(a->is_done);
	a->is_done = true;
	a->status = r->status;
	snprintf(a->error, sizeof a->error, "%s", r->error ? r->error : "");
	a->body = malloc(r->body_len + 1);
	memcpy(a->body, r->body, r->body_len + 1);
	a->body_len = r->body_len;
	copy_header(r->fetch, "ETag", a->etag, sizeof a->etag);
	copy_header(r->fetch, "Content-Range", a->range, sizeof a->range);
	copy_header(r->fetch, "Content-Type", a->type, sizeof a->type);
	copy_header(r->fetch, "X-Content-Type-Options", a->sniff, sizeof a->sniff);
	copy_header(r->fetch, "X-Echo", a->echo, sizeof a->echo);
}

static bool is_done(void *ctx)
{
	return ((struct answer *)ctx)->is_done;
}

static void start(struct answer *a, struct fetch_request *r, const char *path)
{
	char url[2000];
	memset(a, 0, sizeof *a);
	snprintf(url, sizeof url, "%s%s", w.url, path);
	r->url = url;
	r->on_done = on_done;
	r->ctx = a;
	if (strncmp(w.url, "https", 5) == 0) {
		static char ca[80];
		snprintf(ca, sizeof ca, "%s.cert", w.file);
		r->ca_file = ca;
	}
	fetch_start(w.pool, r);
}

static void ask(struct answer *a, struct fetch_request r, const char *path)
{
	start(a, &r, path);
	assert_true(loop_run_until(w.loop, is_done, a, WAIT_MS));
}

static void get(struct answer *a, const char *path)
{
	ask(a, (struct fetch_request){0}, path);
}

static void expect(const char *path, int status, const char *body)
{
	struct answer a;
	get(&a, path);
	assert_string_equal(a.error, "");
	assert_int_equal(a.status, status);
	if (body) assert_string_equal(a.body, body);
	free(a.body);
}

static void paths_and_queries_are_decoded(void **state)
{
	(void)state;
	expect("/a%20b/%C3%A9?x=1&y=a+b%26c&z&=e", 201, "GET /a b/\xC3\xA9 len=0 x=1 y=a b&c z= =e");
	expect("/a?", 201, "GET /a len=0");
	expect("/a?x=1&&y=2", 201, "GET /a len=0 x=1 y=2");
	static const char *const bad[] = {"/a%2Fb", "/a%00b", "/a%2", "/a%", "/a%zz", "/a%FF", "/a?x=%FF", "/a?x=%00",
	                                  "/a?x=%1"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) expect(bad[i], 400, NULL);
	char target[1000] = "/";
	memset(target + 1, 'a', 599);
	expect(target, 201, NULL);
	memset(target + 1, 'a', 600);
	expect(target, 414, NULL);
	strcpy(target, "/a?");
	for (int i = 0; i < 65; i++) strcat(target, "a&");
	expect(target, 400, NULL);
}

static void both_addresses_answer(void **state)
{
	(void)state;
	expect("/v4", 201, "GET /v4 len=0");
	assert_string_equal(w.last_remote, "127.0.0.1");
	strcpy(w.url, w.url6);
	expect("/v6", 201, "GET /v6 len=0");
	assert_string_equal(w.last_remote, "::1");
}

static void bodies_and_headers(void **state)
{
	(void)state;
	struct answer a;
	const char *const headers[] = {"X-Test: ja", NULL};
	ask(&a, (struct fetch_request){.method = "POST", .body = "hello", .body_len = 5, .headers = headers}, "/p");
	assert_int_equal(a.status, 201);
	assert_string_equal(a.body, "POST /p len=5 x=ja body=hello");
	assert_string_equal(a.type, "text/plain");
	assert_string_equal(a.echo, "yes");
	assert_string_equal(a.sniff, "nosniff");
	free(a.body);
	char *big = malloc(1000001);
	memset(big, 'x', 1000001);
	ask(&a, (struct fetch_request){.method = "POST", .body = big, .body_len = 1000000}, "/p");
	assert_string_equal(a.body, "POST /p len=1000000");
	free(a.body);
	ask(&a, (struct fetch_request){.method = "POST", .body = big, .body_len = 1000001}, "/p");
	assert_int_equal(a.status, 413);
	free(a.body);
	ask(&a, (struct fetch_request){.method = "POST", .body = "1", .body_len = 1}, "/no-body");
	assert_int_equal(a.status, 413);
	assert_string_equal(a.body, "{\"status\":413}");
	assert_string_equal(a.type, "application/problem+json");
	assert_string_equal(a.sniff, "nosniff");
	free(a.body);
	const char *const chunked[] = {"Transfer-Encoding: chunked", "Expect:", NULL};
	ask(&a, (struct fetch_request){.method = "POST", .body = "hello", .body_len = 5, .headers = chunked}, "/p");
	assert_string_equal(a.body, "POST /p len=5 body=hello");
	free(a.body);
	ask(&a, (struct fetch_request){.method = "POST", .body = big, .body_len = 1000001, .headers = chunked}, "/p");
	assert_int_equal(a.status, 413);
	free(a.body);
	free(big);
	struct http_stats stats;
	http_stats_read(w.server, &stats);
	assert_int_equal(stats.buffered_bytes, 0);
	char many[4800];
	memset(many, 'x', sizeof many);
	memcpy(many, "X-Many: ", 8);
	many[sizeof many - 1] = '\0';
	const char *const long_headers[] = {many, NULL};
	ask(&a, (struct fetch_request){.headers = long_headers}, "/p");
	assert_int_equal(a.status, 431);
	free(a.body);
}

static void refusals_before_the_body(void **state)
{
	(void)state;
	struct answer a;
	char *big = calloc(1, 8000000);
	ask(&a, (struct fetch_request){.method = "POST", .body = "1", .body_len = 1}, "/unauthorized");
	assert_int_equal(a.status, 401);
	assert_string_equal(a.body, "who are you");
	free(a.body);
	int completed = w.completed;
	ask(&a, (struct fetch_request){.method = "POST", .body = big, .body_len = 8000000}, "/unauthorized");
	assert_int_equal(a.status, 401);
	free(a.body);
	expect("/unauthorized", 401, "who are you");
	assert_int_equal(w.completed, completed);
	free(big);
}

static void replies_are_held_for_the_tick(void **state)
{
	(void)state;
	struct answer a, b;
	struct fetch_request r = {0};
	w.hold = true;
	start(&a, &r, "/held");
	start(&b, &r, "/now");
	assert_true(loop_run_until(w.loop, is_done, &b, WAIT_MS));
	assert_false(loop_run_until(w.loop, is_done, &a, 100));
	struct http_stats stats;
	http_stats_read(w.server, &stats);
	assert_int_equal(stats.held, 1);
	assert_true(w.ticks_with_held < 40); /* no busy loop while it waits */
	w.hold = false;
	loop_request_tick(w.loop);
	assert_true(loop_run_until(w.loop, is_done, &a, WAIT_MS));
	assert_int_equal(a.status, 201);
	free(a.body);
	free(b.body);
}

static void a_failed_commit_fails_what_is_held(void **state)
{
	(void)state;
	struct answer a;
	w.fail = true;
	get(&a, "/held");
	assert_int_equal(a.status, 503);
	assert_string_equal(a.body, "{\"status\":503}");
	assert_string_equal(a.type, "application/problem+json");
	assert_string_equal(a.echo, ""); /* nothing of the first answer leaks */
	assert_string_equal(a.sniff, "nosniff");
	free(a.body);
	expect("/now", 200, "now");
	w.fail = false;
	expect("/x", 201, "GET /x len=0");
}

static void many_at_once_share_ticks(void **state)
{
	(void)state;
	struct answer answers[50];
	struct fetch_request r = {0};
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 50; i++) start(&answers[i], &r, i % 5 == 0 ? "/job-less" : "/x");
		for (int i = 0; i < 50; i++) {
			assert_true(loop_run_until(w.loop, is_done, &answers[i], WAIT_MS));
			assert_int_equal(answers[i].status, 201);
			free(answers[i].body);
		}
	}
}

static void answers_from_jobs(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) expect("/job", 200, "later");
	w.fail = true;
	expect("/job", 503, NULL);
}

static void static_and_empty(void **state)
{
	(void)state;
	struct answer a;
	expect("/static", 200, "body{}");
	expect("/none", 204, "");
	expect("/empty-file", 200, "");
	ask(&a, (struct fetch_request){.method = "HEAD"}, "/static");
	assert_int_equal(a.status, 200);
	assert_int_equal(a.body_len, 0);
	free(a.body);
}

static void check_part(struct answer *a, size_t first, size_t len)
{
	assert_string_equal(a->error, "");
	assert_int_equal(a->body_len, len);
	for (size_t i = 0; i < len; i++) {
		uint32_t word = (uint32_t)((first + i) / 4);
		assert_int_equal((unsigned char)a->body[i], ((unsigned char *)&word)[(first + i) % 4]);
	}
	free(a->body);
}

static void ask_range(struct answer *a, const char *range, const char *condition)
{
	char first[100], second[100];
	const char *headers[] = {first, condition ? second : NULL, NULL};
	snprintf(first, sizeof first, "%s", range);
	if (condition) snprintf(second, sizeof second, "%s", condition);
	ask(a, (struct fetch_request){.headers = headers}, "/file");
}

static void files_and_ranges(void **state)
{
	(void)state;
	struct answer a;
	get(&a, "/file");
	assert_int_equal(a.status, 200);
	assert_string_equal(a.etag, "\"abc\"");
	check_part(&a, 0, FILE_BYTES);
	ask(&a, (struct fetch_request){.has_range = true, .range_from = 299990}, "/file");
	assert_int_equal(a.status, 206);
	assert_string_equal(a.range, "bytes 299990-299999/300000");
	check_part(&a, 299990, 10);
	static const struct {
		const char *range, *condition;
		int status;
		size_t first, len;
	} cases[] = {
	    {"Range: bytes=100000-200000", NULL, 206, 100000, 100001},
	    {"Range: bytes=-5", NULL, 206, 299995, 5},
	    {"Range: bytes=-999999", NULL, 206, 0, 300000},
	    {"Range: bytes=5-999999999999999999999999", NULL, 206, 5, 299995},
	    {"Range: bytes=300000-", NULL, 416, 0, 0},
	    {"Range: bytes=-0", NULL, 416, 0, 0},
	    {"Range: bytes=5-4", NULL, 200, 0, 300000},
	    {"Range: bytes=a-b", NULL, 200, 0, 300000},
	    {"Range: bytes=0-1,5-6", NULL, 200, 0, 300000},
	    {"Range: lines=0-1", NULL, 200, 0, 300000},
	    {"Range: bytes=0-1", "If-Range: \"abc\"", 206, 0, 2},
	    {"Range: bytes=0-1", "If-Range: \"abd\"", 200, 0, 300000},
	    {"Range: bytes=0-1", "If-Range: W/\"abc\"", 200, 0, 300000},
	    {"Range: bytes=0-1", "If-None-Match: \"x\", W/\"abc\"", 304, 0, 0},
	    {"Range: bytes=0-1", "If-None-Match: *", 304, 0, 0},
	    {"Range: bytes=0-1", "If-None-Match: \"ab\", \"abcd\"", 206, 0, 2},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ask_range(&a, cases[i].range, cases[i].condition);
		if (a.status != cases[i].status) fail_msg("%s: %d", cases[i].range, a.status);
		check_part(&a, cases[i].first, cases[i].len);
	}
}

static void upload_streams_in_constant_memory(void **state)
{
	(void)state;
	struct answer a;
	struct http_stats stats;
	int fd = open(w.file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(open(w.file, O_WRONLY | O_CLOEXEC), 4 << 20), 0);
	ask(&a, (struct fetch_request){.method = "PUT", .has_upload = true, .upload_fd = fd, .upload_bytes = 4 << 20},
	    "/stream-in");
	assert_int_equal(a.status, 201);
	assert_int_equal(w.chunk_bytes, 4 << 20);
	assert_string_equal(a.body, "PUT /stream-in len=0");
	free(a.body);
	http_stats_read(w.server, &stats);
	assert_int_equal(stats.buffered_bytes, 0);
	lseek(fd, 0, SEEK_SET);
	const char *const plain[] = {"Expect:", NULL};
	assert_int_equal(ftruncate(open(w.file, O_WRONLY | O_CLOEXEC), (4 << 20) + 1), 0);
	ask(&a, (struct fetch_request){.method = "PUT", .has_upload = true, .upload_fd = fd, .upload_bytes = (4 << 20) + 1},
	    "/stream-in");
	assert_int_equal(a.status, 413);
	free(a.body);
	lseek(fd, 0, SEEK_SET);
	w.chunk_bytes = 0;
	ask(&a, (struct fetch_request){.method = "PUT", .has_upload = true, .upload_fd = fd, .upload_bytes = 1 << 20,
	                               .headers = plain}, "/fail-midway");
	assert_int_equal(a.status, 422);
	assert_string_equal(a.body, "not like this");
	free(a.body);
	assert_true(w.chunk_bytes < 1 << 20);
	close(fd);
}

static void a_paused_body_waits(void **state)
{
	(void)state;
	struct answer a;
	char *big = calloc(1, 300000);
	ask(&a, (struct fetch_request){.method = "PUT", .body = big, .body_len = 300000}, "/slow-in");
	assert_int_equal(a.status, 201);
	assert_int_equal(w.chunk_bytes, 300000);
	free(a.body);
	const char *const chunked[] = {"Transfer-Encoding: chunked", NULL};
	w.chunk_bytes = 0;
	ask(&a, (struct fetch_request){.method = "PUT", .body = big, .body_len = 300000, .headers = chunked}, "/slow-in");
	assert_int_equal(a.status, 201);
	assert_int_equal(w.chunk_bytes, 300000);
	free(a.body);
	free(big);
}

/* ---- raw sockets, for what a well-behaved client does not do ---- */

static int connect_raw(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(http_port(w.server, 0))};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

struct raw {
	int fd;
	const char *until;
	char text[20000];
	size_t len;
	bool is_closed;
};

static bool raw_has(void *ctx)
{
	struct raw *r = ctx;
	ssize_t n;
	loop_request_tick(w.loop); /* the socket is not in the loop: look again */
	while (r->len < sizeof r->text - 1 && (n = recv(r->fd, r->text + r->len, sizeof r->text - 1 - r->len,
	                                                MSG_DONTWAIT)) >= 0) {
		if (n == 0) r->is_closed = true;
		if (n == 0) break;
		r->len += (size_t)n;
	}
	r->text[r->len] = '\0';
	return r->until && strstr(r->text, r->until) ? true : r->is_closed;
}

static void send_raw(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void pipelined_requests_keep_the_connection(void **state)
{
	(void)state;
	struct raw r = {.fd = connect_raw(), .until = "GET /c len=0"};
	send_raw(r.fd,
	         "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /unauthorized HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
	               "GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	assert_non_null(strstr(r.text, "who are you"));
	assert_false(r.is_closed);
	assert_non_null(strstr(r.text, "GET /c len=0"));
	close(r.fd);
}

static void expect_continue(void **state)
{
	(void)state;
	struct raw r = {.fd = connect_raw(), .until = "100 Continue"};
	send_raw(r.fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	send_raw(r.fd, "abc");
	r.until = "body=abc";
	assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	close(r.fd);
	r = (struct raw){.fd = connect_raw(), .until = NULL};
	send_raw(r.fd, "POST /unauthorized HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	assert_null(strstr(r.text, "100 Continue"));
	assert_non_null(strstr(r.text, "401"));
	close(r.fd);
}

static bool has_aborted(void *ctx)
{
	(void)ctx;
	return w.aborted > 0;
}

static void a_client_that_leaves_midway_aborts(void **state)
{
	(void)state;
	int fd = connect_raw();
	send_raw(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nabc");
	assert_false(loop_run_until(w.loop, has_aborted, NULL, 30));
	close(fd);
	assert_true(loop_run_until(w.loop, has_aborted, NULL, WAIT_MS));
	assert_int_equal(w.completed, 0);
}

static void garbage_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {"GARBAGE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
	                                    "GET relative HTTP/1.1\r\nHost: x\r\n\r\n",
	                                    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	                                    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct raw r = {.fd = connect_raw(), .until = "HTTP/1.1 "};
		send_raw(r.fd, texts[i]);
		assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
		assert_null(strstr(r.text, "HTTP/1.1 2"));
		close(r.fd);
	}
	expect("/still", 201, NULL);
}

static bool stream_is_closed(void *ctx)
{
	(void)ctx;
	return w.stream_closed > 0;
}

static void events_flow(void **state)
{
	(void)state;
	struct raw r = {.fd = connect_raw(), .until = "data: hello"};
	send_raw(r.fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	assert_non_null(strstr(r.text, "text/event-stream"));
	assert_false(loop_run_until(w.loop, stream_is_closed, NULL, 20));
	for (int i = 0; i < 10; i++) {
		char event[40], want[40];
		snprintf(event, sizeof event, "data: %d\n\n", i);
		snprintf(want, sizeof want, "data: %d\n", i);
		assert_true(http_stream_send(w.stream, event, strlen(event)));
		r.until = want;
		assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	}
	http_stream_send(w.stream, "data: bye\n\n", 11);
	http_stream_close(w.stream);
	assert_true(loop_run_until(w.loop, stream_is_closed, NULL, WAIT_MS));
	r.until = "data: bye\n\n";
	assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	close(r.fd);
}

static void a_slow_reader_is_dropped(void **state)
{
	(void)state;
	struct raw r = {.fd = connect_raw(), .until = "data: hello"};
	char event[1000];
	struct http_stats stats;
	send_raw(r.fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	memset(event, 'x', sizeof event);
	int sent = 0;
	while (w.stream && sent < 1000000 && http_stream_send(w.stream, event, sizeof event)) {
		if (++sent % 50 == 0) loop_run_until(w.loop, stream_is_closed, NULL, 1);
	}
	assert_true(loop_run_until(w.loop, stream_is_closed, NULL, WAIT_MS));
	assert_true(sent > 100);
	assert_int_equal(w.stream_closed, 1);
	http_stats_read(w.server, &stats);
	assert_int_equal(stats.streams_dropped, 1);
	assert_int_equal(stats.streams, 0);
	close(r.fd);
}

static void a_reader_that_left_is_noticed_by_sending(void **state)
{
	(void)state;
	struct raw r = {.fd = connect_raw(), .until = "data: hello"};
	send_raw(r.fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(loop_run_until(w.loop, raw_has, &r, WAIT_MS));
	close(r.fd);
	for (int i = 0; i < 20 && w.stream; i++) {
		http_stream_send(w.stream, ":\n\n", 3);
		loop_run_until(w.loop, stream_is_closed, NULL, 5);
	}
	assert_int_equal(w.stream_closed, 1);
}

static void closing_ends_everything(void **state)
{
	(void)state;
	struct answer waiting, held;
	struct fetch_request r = {0};
	struct raw events = {.fd = connect_raw(), .until = "data: hello"};
	int half = connect_raw(), idle = connect_raw();
	send_raw(events.fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
	send_raw(half, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nabc");
	assert_true(loop_run_until(w.loop, raw_has, &events, WAIT_MS));
	w.hold = true;
	start(&held, &r, "/held");
	start(&waiting, &r, "/never");
	loop_run_until(w.loop, is_done, &waiting, 50);
	assert_non_null(w.waiting);
	http_server_close(w.server);
	w.server = NULL;
	loop_on_tick(w.loop, NULL, NULL);
	assert_int_equal(w.aborted, 2); /* the waiting one and the half one; the held one had its answer */
	assert_int_equal(w.stream_closed, 1);
	assert_true(loop_run_until(w.loop, is_done, &waiting, WAIT_MS));
	assert_true(loop_run_until(w.loop, is_done, &held, WAIT_MS));
	assert_int_equal(waiting.status, 503);
	assert_int_equal(held.status, 503);
	free(waiting.body);
	free(held.body);
	close(events.fd);
	close(half);
	close(idle);
}

static void quiet_servers_take_no_more(void **state)
{
	(void)state;
	struct answer a;
	struct fetch_request r = {0};
	uint16_t port = http_port(w.server, 0);
	start(&a, &r, "/job");
	loop_run_until(w.loop, is_done, &a, 1);
	http_server_quiesce(w.server);
	assert_true(loop_run_until(w.loop, is_done, &a, WAIT_MS));
	assert_int_equal(a.status, 200);
	free(a.body);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
	close(fd);
}

static void bad_addresses_are_named(void **state)
{
	(void)state;
	static const struct http_handler handler = {.begin = begin, .chunk = chunk, .complete = complete, .abort = on_abort,
	                                            .finish = on_finish, .prepare = prepare,
	                                            .refusal = refusal};
	struct http_address taken[] = {{"127.0.0.1", http_port(w.server, 0), false}};
	struct http_address name[] = {{"localhost", 0, false}};
	struct http_address tls[] = {{"127.0.0.1", 0, true}};
	struct http_server *s;
	struct fault f = {"", ""};
	assert_int_equal(http_server_open(w.loop, &(struct http_config){.addresses = taken, .address_count = 1}, &handler,
	                                  NULL, &s, &f), ERR_UNAVAILABLE);
	assert_non_null(strstr(f.detail, "in use"));
	assert_null(s);
	assert_int_equal(http_server_open(w.loop, &(struct http_config){.addresses = name, .address_count = 1}, &handler,
	                                  NULL, &s, &f), ERR_INVALID);
	assert_int_equal(http_server_open(w.loop, &(struct http_config){.addresses = tls, .address_count = 1,
	                                                                .tls_key_pem = "x", .tls_cert_pem = "y"},
	                                  &handler, NULL, &s, &f), ERR_INVALID);
	assert_non_null(strstr(f.detail, "certificate"));
}

/* ---- the client ---- */

static bool stop_at_once(void *ctx, const void *data, size_t len)
{
	(void)ctx;
	(void)data;
	(void)len;
	return false;
}

static void client_errors(void **state)
{
	(void)state;
	struct answer a = {0};
	fetch_start(w.pool, &(struct fetch_request){.url = "http://127.0.0.1:1/", .on_done = on_done, .ctx = &a});
	assert_true(loop_run_until(w.loop, is_done, &a, WAIT_MS));
	assert_int_equal(a.status, 0);
	assert_true(a.error[0] != '\0');
	free(a.body);
	a = (struct answer){0};
	fetch_start(w.pool, &(struct fetch_request){.url = "ftp://127.0.0.1/", .on_done = on_done, .ctx = &a});
	assert_false(a.is_done);
	assert_true(loop_run_until(w.loop, is_done, &a, WAIT_MS));
	assert_true(a.error[0] != '\0');
	free(a.body);
	ask(&a, (struct fetch_request){.max_body_bytes = 100000}, "/file");
	assert_string_equal(a.error, "the answer is too long");
	free(a.body);
	ask(&a, (struct fetch_request){.on_chunk = stop_at_once}, "/file");
	assert_string_equal(a.error, "stopped by the receiver");
	free(a.body);
	ask(&a, (struct fetch_request){.timeout_ms = 30}, "/never");
	assert_true(a.error[0] != '\0');
	free(a.body);
	assert_int_equal(fetch_pool_running(w.pool), 0);
	http_reply_now(w.waiting, 200, NULL, NULL);
	w.waiting = NULL;
	loop_run_until(w.loop, has_aborted, NULL, 20);
}

struct chain {
	struct answer a, b;
	struct fetch *other;
	bool started;
};

static bool cancel_and_start(void *ctx, const void *data, size_t len)
{
	struct chain *c = ctx;
	struct fetch_request r = {0};
	(void)data;
	(void)len;
	if (c->started) return true;
	c->started = true;
	fetch_cancel(c->other);
	start(&c->b, &r, "/second");
	return true;
}

static void chain_done(void *ctx, const struct fetch_result *r)
{
	struct chain *c = ctx;
	assert_null(r->error);
	assert_int_equal(r->received_bytes, FILE_BYTES);
	c->a.is_done = true;
}

static void cancelling_and_starting_within_a_callback(void **state)
{
	(void)state;
	struct chain c = {0};
	char url[200];
	snprintf(url, sizeof url, "%s/file", w.url);
	struct answer never = {0};
	char other[200];
	snprintf(other, sizeof other, "%s/never", w.url);
	c.other = fetch_start(w.pool, &(struct fetch_request){.url = other, .on_done = on_done, .ctx = &never});
	loop_run_until(w.loop, is_done, &never, 20);
	fetch_start(w.pool, &(struct fetch_request){.url = url, .on_chunk = cancel_and_start, .on_done = chain_done,
	                                            .ctx = &c});
	assert_true(loop_run_until(w.loop, is_done, &c.a, WAIT_MS));
	assert_true(loop_run_until(w.loop, is_done, &c.b, WAIT_MS));
	assert_int_equal(c.b.status, 201);
	free(c.b.body);
	assert_false(never.is_done);
	fetch_cancel(fetch_start(w.pool, &(struct fetch_request){.url = other, .on_done = on_done, .ctx = &never}));
	loop_run_until(w.loop, is_done, &never, 20);
	assert_false(never.is_done);
	assert_int_equal(fetch_pool_running(w.pool), 0);
	if (w.waiting) http_reply_now(w.waiting, 200, NULL, NULL);
	w.waiting = NULL;
	loop_run_until(w.loop, has_aborted, NULL, 20);
}

static void over_tls(void **state)
{
	(void)state;
	struct answer a = {0};
	expect("/x", 201, "GET /x len=0");
	get(&a, "/file");
	assert_int_equal(a.status, 200);
	check_part(&a, 0, FILE_BYTES);
	ask(&a, (struct fetch_request){.has_range = true, .range_from = 1001}, "/file");
	assert_int_equal(a.status, 206);
	check_part(&a, 1001, FILE_BYTES - 1001);
	char url[200];
	snprintf(url, sizeof url, "%s/x", w.url);
	a = (struct answer){0};
	fetch_start(w.pool, &(struct fetch_request){.url = url, .on_done = on_done, .ctx = &a}); /* not with our CA */
	assert_true(loop_run_until(w.loop, is_done, &a, WAIT_MS));
	assert_int_equal(a.status, 0);
	free(a.body);
	char *big = calloc(1, 900000);
	ask(&a, (struct fetch_request){.method = "POST", .body = big, .body_len = 900000}, "/p");
	assert_string_equal(a.body, "POST /p len=900000");
	free(a.body);
	free(big);
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

/* libmicrohttpd asks to be run again at once for as long as a handshake stands still. */
static void a_silent_handshake_is_no_busy_loop(void **state)
{
	(void)state;
	struct loop_lag lag;
	int fd = connect_raw();
	assert_int_equal(send(fd, "\x16\x03\x01\x02\x00", 5, 0), 5);
	loop_run_until(w.loop, never, NULL, 50);
	loop_lag_reset(w.loop);
	loop_run_until(w.loop, never, NULL, 300);
	loop_lag_read(w.loop, &lag);
	assert_true(lag.iterations < 120);
	expect("/x", 201, NULL);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(paths_and_queries_are_decoded), TEST(both_addresses_answer), TEST(bodies_and_headers),
	    TEST(refusals_before_the_body), TEST(replies_are_held_for_the_tick),
	    TEST(a_failed_commit_fails_what_is_held), TEST(many_at_once_share_ticks), TEST(answers_from_jobs),
	    TEST(static_and_empty), TEST(files_and_ranges), TEST(upload_streams_in_constant_memory),
	    TEST(a_paused_body_waits), TEST(pipelined_requests_keep_the_connection), TEST(expect_continue),
	    TEST(a_client_that_leaves_midway_aborts), TEST(garbage_is_refused), TEST(events_flow),
	    TEST(a_slow_reader_is_dropped), TEST(a_reader_that_left_is_noticed_by_sending),
	    TEST(closing_ends_everything), TEST(quiet_servers_take_no_more), TEST(bad_addresses_are_named),
	    TEST(client_errors), TEST(cancelling_and_starting_within_a_callback),
	    cmocka_unit_test_setup_teardown(over_tls, setup_tls, teardown),
	    cmocka_unit_test_setup_teardown(a_silent_handshake_is_no_busy_loop, setup_tls, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
