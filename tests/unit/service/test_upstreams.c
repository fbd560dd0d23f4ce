/* Upstreams on real files with a fake clock: documents and contents are handed over by the test, the server is killed between any two steps. */
#include "rollout_world.h"

#include "base/log.h"
#include "core/rollout.h"
#include "service/upstreams.h"

#define FILES 16

struct scene {
	struct rig *r;
	char document[16384];
	struct {
		char url[64], text[64];
	} files[FILES];
	size_t file_count;
	enum upstream_fault fault; /* of documents */
	enum upstream_fault content_fault;
	unsigned served;           /* contents */
	enum err told_error;       /* of a check */
	char told[2048];
	uint64_t random;
};

static const struct upstream_options options = {.directories = "", .ca_file = ""};

static struct services *services_of(struct scene *s)
{
	return &s->r->f.w.s;
}

static struct upstreams *upstreams_of(struct scene *s)
{
	return services_of(s)->upstreams;
}

static void open_upstreams(struct scene *s)
{
	rig_must(s->r, upstreams_open(services_of(s), &options, &services_of(s)->upstreams, &s->r->f.w.fault));
}

static void kill_server(struct scene *s)
{
	upstreams_close(upstreams_of(s));
	rig_kill(s->r);
	open_upstreams(s);
}

static int setup(void **state)
{
	void *rig;
	struct scene *s = calloc(1, sizeof *s);
	assert_non_null(s);
	if (rig_setup(&rig) != 0)
		return -1;
	s->r = rig;
	open_upstreams(s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	void *rig = s->r;
	upstreams_close(upstreams_of(s));
	free(s);
	return rig_teardown(&rig);
}

/* ---- what is published ---- */

static void add_file(struct scene *s, const char *url, const char *text)
{
	assert_true(s->file_count < FILES);
	snprintf(s->files[s->file_count].url, sizeof s->files[0].url, "%s", url);
	snprintf(s->files[s->file_count++].text, sizeof s->files[0].text, "%s", text);
}

/* `versions`: "2.0.0:text 2.1.0:text", one file for any hardware each. `rest`: members of each record, with a comma before them. */
static void publish(struct scene *s, int64_t published, const char *versions, const char *rest)
{
	struct buf b = BUF_INIT;
	buf_printf(&b, "{\"format\":\"aviary-index-1\",\"model\":\"kws\",\"published\":%lld,\"versions\":[", (long long)published);
	for (const char *at = versions, *sep = ""; *at != '\0'; sep = ",") {
		char version[32], text[40], url[64], hex[SHA256_HEX];
		int used = 0;
		assert_int_equal(sscanf(at, "%31[^:]:%39s%n", version, text, &used), 2);
		at += used;
		at += *at == ' ';
		snprintf(url, sizeof url, "https://up/%s.bin", text);
		crypto_sha256_hex(text, strlen(text), hex);
		add_file(s, url, text);
		buf_printf(&b, "%s{\"version\":\"%s\",\"artifacts\":[{\"url\":\"%s.bin\",\"size_bytes\":%zu,\"sha256\":\"%s\"%s}]}", sep, version, text,
			strlen(text), hex, rest);
	}
	buf_str(&b, "]}");
	assert_true(b.len < sizeof s->document);
	memcpy(s->document, b.data, b.len + 1);
	buf_done(&b);
}

static void follow(struct scene *s, const char *policy)
{
	struct upstream_row row = {.name = "up", .model = "kws", .kind = "index", .url = "https://up/index.json", .prefix = "", .public_key = "",
		.auth = "none", .user = "", .ca_file = "", .policy = policy, .interval_ms = 10000, .alert_after = 3, .is_enabled = true};
	IN_UNIT(s->r, upstreams_create(rig_call(s->r), &row, NULL));
	rig_commit(s->r);
}

/* ---- one who fetches ---- */

static const char *text_of(const struct scene *s, const char *url)
{
	for (size_t i = s->file_count; i-- > 0;)
		if (strcmp(s->files[i].url, url) == 0)
			return s->files[i].text;
	return NULL;
}

/* Half of it first, as if it were cut, then the rest. */
static void serve_content(struct scene *s, const struct upstream_want *w)
{
	struct call *c = rig_call(s->r);
	struct upload *u = NULL;
	struct blob_job *job = NULL;
	struct artifact_row row = {0};
	enum err result = ERR_OK;
	const char *text = text_of(s, w->url);
	if (s->content_fault != UPSTREAM_FAULT_NONE || text == NULL) {
		upstreams_on_content(c, w, text == NULL ? UPSTREAM_FAULT_UNREACHABLE : s->content_fault, "it was so", 0);
		return;
	}
	s->served++;
	IN_UNIT(s->r, catalog_begin_upload(c, w->artifact, UPLOAD_REST, -1, &u));
	rig_must(s->r, catalog_find_artifact(c, w->artifact, &row));
	rig_must(s->r, catalog_write_upload(u, text + row.received_bytes, strlen(text) - (size_t)row.received_bytes, c->fault));
	rig_must(s->r, catalog_finish_upload(c, u, &job));
	blob_job_run(job);
	IN_UNIT(s->r, catalog_end_job(c, job, &row, &result));
	upstreams_on_content(c, w, result == ERR_OK ? UPSTREAM_FAULT_NONE : UPSTREAM_FAULT_CONTENT, c->fault->detail, 0);
}

static void serve(struct scene *s)
{
	const struct upstream_want *w;
	while (upstreams_take(upstreams_of(s), &w)) {
		struct upstream_answer a = {.fault = s->fault, .detail = "it was so", .status = 200, .body = s->document, .body_len = strlen(s->document)};
		if (w->is_content)
			serve_content(s, w);
		else
			upstreams_on_document(rig_call(s->r), w, &a);
	}
}

static void step(struct scene *s)
{
	bool more;
	s->r->f.w.c.now_ms += 500;
	rig_must(s->r, upstreams_tick(rig_call(s->r), &more));
	serve(s);
}

static void steps(struct scene *s, int count)
{
	while (count-- > 0) {
		step(s);
		rig_commit(s->r);
	}
}

/* ---- what came of it ---- */

static struct upstream_row row_of(struct scene *s)
{
	struct upstream_row row;
	rig_must(s->r, upstreams_find(rig_call(s->r), "up", &row));
	return row;
}

static struct upstream_version_row version_of(struct scene *s, const char *version)
{
	struct upstream_row row = row_of(s);
	struct upstream_version_row *rows;
	size_t count;
	rig_must(s->r, upstreams_versions(rig_call(s->r), &row, &rows, &count));
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].version, version) == 0)
			return rows[i];
	return (struct upstream_version_row){.status = "none", .fault = "", .reason = ""};
}

static void until(struct scene *s, const char *version, const char *status)
{
	for (int i = 0; i < 3000; i++) {
		if (strcmp(version_of(s, version).status, status) == 0)
			return;
		steps(s, 1);
	}
	struct upstream_version_row v = version_of(s, version);
	fail_msg("%s is %s (%s %s), not %s; the upstream: %s", version, v.status, v.fault, v.reason, status, row_of(s).reason);
}

static void until_fault(struct scene *s, enum upstream_fault fault)
{
	for (int i = 0; i < 2000 && strcmp(row_of(s).fault, upstream_fault_text(fault)) != 0; i++)
		steps(s, 1);
	assert_string_equal(row_of(s).fault, upstream_fault_text(fault));
}

static bool fires(struct scene *s, enum upstream_fault fault)
{
	char kind[64];
	snprintf(kind, sizeof kind, "upstream.%s", upstream_fault_text(fault));
	return alert_is_open(services_of(s)->alerts, kind, "upstreams/up");
}

static size_t count_list(struct scene *s, bool of_releases)
{
	size_t count = 0;
	if (of_releases) {
		struct release_row *rows;
		bool more;
		rig_must(s->r, releases_list(rig_call(s->r), &(struct page_request){.limit = 100}, false, &rows, &count, &more, NULL));
		return count;
	}
	struct buf b = BUF_INIT;
	struct json *root = NULL;
	int64_t next = 0;
	json_open_array(&b);
	rig_must(s->r, rollouts_list(rig_call(s->r), NULL, 0, 100, &b, &next));
	json_close_array(&b);
	rig_must(s->r, json_parse(b.data, b.len, &root, &s->r->f.w.fault));
	count = json_count(root);
	json_free(root);
	buf_done(&b);
	return count;
}

/* ---- tests ---- */

static void test_a_version_becomes_a_release(void **state)
{
	struct scene *s = *state;
	publish(s, 1, "2.0.0:two 2.1.0:twoone", "");
	follow(s, "{\"action\":\"release\"}");
	until(s, "2.1.0", "done");
	assert_string_equal(version_of(s, "2.0.0").status, "seen");
	assert_int_equal(count_list(s, true), 3 + 1);
	assert_int_equal(count_list(s, false), 0);
	assert_int_equal(s->served, 1);
	publish(s, 2, "2.0.0:two 2.1.0:twoone 2.2.0:twotwo", "");
	until(s, "2.2.0", "done");
	assert_int_equal(count_list(s, true), 3 + 2);
}

static void test_a_version_alone(void **state)
{
	struct scene *s = *state;
	publish(s, 1, "2.0.0:two", "");
	follow(s, "{\"action\":\"none\"}");
	until(s, "2.0.0", "done");
	assert_int_equal(count_list(s, true), 3);
}

static void test_documents_are_refused_by_kind(void **state)
{
	struct scene *s = *state;
	publish(s, 5, "2.0.0:two", "");
	follow(s, "{}");
	until(s, "2.0.0", "done");
	publish(s, 4, "2.0.0:two 2.1.0:new", "");
	until_fault(s, UPSTREAM_FAULT_REPLAY);
	assert_true(fires(s, UPSTREAM_FAULT_REPLAY));
	publish(s, 6, "2.1.0:new", "");
	until_fault(s, UPSTREAM_FAULT_SHRUNK);
	assert_true(fires(s, UPSTREAM_FAULT_SHRUNK));
	publish(s, 7, "2.0.0:other 2.1.0:new", "");
	until_fault(s, UPSTREAM_FAULT_CHANGED);
	assert_true(fires(s, UPSTREAM_FAULT_CHANGED));
	publish(s, 7, "2.0.0:two 2.0.0:two", "");
	until_fault(s, UPSTREAM_FAULT_DOCUMENT);
	assert_true(fires(s, UPSTREAM_FAULT_DOCUMENT));
	for (enum upstream_fault f = UPSTREAM_FAULT_REDIRECT; f <= UPSTREAM_FAULT_ADDRESS; f++) {
		s->fault = f;
		until_fault(s, f);
		assert_true(fires(s, f));
	}
	assert_string_equal(version_of(s, "2.1.0").status, "none");
	assert_int_equal(row_of(s).published, 5);
	s->fault = UPSTREAM_FAULT_NONE;
	publish(s, 8, "2.0.0:two 2.1.0:new", "");
	until_fault(s, UPSTREAM_FAULT_NONE);
	for (int f = 1; f < UPSTREAM_FAULT_CONTENT; f++)
		assert_false(fires(s, (enum upstream_fault)f));
	until(s, "2.1.0", "done");
}

static void test_a_silent_upstream_is_told_after_three_times(void **state)
{
	struct scene *s = *state;
	publish(s, 1, "2.0.0:two", "");
	s->fault = UPSTREAM_FAULT_UNREACHABLE;
	follow(s, "{}");
	while (row_of(s).failures < 2)
		steps(s, 1);
	assert_false(fires(s, UPSTREAM_FAULT_UNREACHABLE));
	while (row_of(s).failures < 3)
		steps(s, 1);
	assert_true(fires(s, UPSTREAM_FAULT_UNREACHABLE));
	s->fault = UPSTREAM_FAULT_NONE;
	until(s, "2.0.0", "done");
	assert_false(fires(s, UPSTREAM_FAULT_UNREACHABLE));
}

static void test_other_bytes_are_refused_the_second_time(void **state)
{
	struct scene *s = *state;
	publish(s, 1, "2.0.0:two", "");
	add_file(s, "https://up/two.bin", "owt");
	follow(s, "{}");
	until(s, "2.0.0", "refused");
	assert_string_equal(version_of(s, "2.0.0").fault, "content");
	assert_int_equal(s->served, 2);
	assert_true(fires(s, UPSTREAM_FAULT_CONTENT));
	publish(s, 2, "2.0.0:two 2.0.1:fine", "");
	until(s, "2.0.1", "done");
	assert_false(fires(s, UPSTREAM_FAULT_CONTENT));
	assert_string_equal(version_of(s, "2.0.0").status, "refused");
}

static void test_contents_that_never_come_do_not_keep_newer_ones_waiting(void **state)
{
	struct scene *s = *state;
	publish(s, 1, "2.0.0:two", "");
	s->content_fault = UPSTREAM_FAULT_ADDRESS;
	follow(s, "{}");
	while (version_of(s, "2.0.0").attempts == 0)
		steps(s, 1);
	assert_true(fires(s, UPSTREAM_FAULT_ADDRESS));
	for (int i = 0; i < 20000 && strcmp(version_of(s, "2.0.0").status, "refused") != 0; i++)
		steps(s, 1);
	assert_string_equal(version_of(s, "2.0.0").fault, "address");
	s->content_fault = UPSTREAM_FAULT_NONE;
	publish(s, 2, "2.0.0:two 2.0.1:fine", "");
	until(s, "2.0.1", "done");
}

static void test_what_the_catalog_has_otherwise_is_left_alone(void **state)
{
	struct scene *s = *state;
	publish(s, 1, "1.2.0:" BAD, ""); /* as it is there: rig_release's content is its name */
	follow(s, "{\"action\":\"none\"}");
	until(s, "1.2.0", "done");
	assert_int_equal(s->served, 0); /* it was there */
	rig_release(s->r, "by-hand", "1.3.0");
	publish(s, 2, "1.2.0:" BAD " 1.3.0:upstream", "");
	until(s, "1.3.0", "refused");
	assert_string_equal(version_of(s, "1.3.0").fault, "conflict");
}

static void test_a_withdrawn_version_is_not_gone_on_with(void **state)
{
	struct scene *s = *state;
	char *at;
	publish(s, 1, "2.0.0:two", "");
	s->content_fault = UPSTREAM_FAULT_UNREACHABLE;
	follow(s, "{}");
	until(s, "2.0.0", "fetching");
	publish(s, 2, "2.0.0:two", "");
	at = strstr(s->document, "\"version\":\"2.0.0\"");
	assert_non_null(at);
	memmove(at + 17, at, strlen(at) + 1);
	memcpy(at, "\"withdrawn\":true,", 17);
	until(s, "2.0.0", "refused");
	assert_non_null(strstr(version_of(s, "2.0.0").reason, "withdrawn"));
}

static const char rolls[] = "{\"action\":\"rollout\",\"rollout\":{\"stages\":[{\"percent\":100}],\"soak_ms\":1000,\"timeout_ms\":20000}}";

static void test_a_rollout_that_is_taken_back_stops_it(void **state)
{
	struct scene *s = *state;
	struct buf out = BUF_INIT;
	rig_devices(s->r, 4);
	publish(s, 1, "2.0.0:two", "");
	follow(s, rolls);
	until(s, "2.0.0", "rolling");
	s->r->rollout = version_of(s, "2.0.0").rollout;
	IN_UNIT(s->r, rollouts_act(rig_call(s->r), s->r->rollout, ROLLOUT_DO_REVERT, &out));
	buf_done(&out);
	for (int i = 0; i < 60 && strcmp(version_of(s, "2.0.0").status, "reverted") != 0; i++) {
		rig_step(s->r);
		steps(s, 1);
	}
	assert_string_equal(version_of(s, "2.0.0").status, "reverted");
	assert_string_equal(row_of(s).state, "stopped");
	assert_string_equal(row_of(s).stopped_version, "2.0.0");
	assert_true(fires(s, UPSTREAM_FAULT_REVERTED));
	kill_server(s);
	steps(s, 60);
	assert_int_equal(count_list(s, false), 1);
	publish(s, 2, "2.0.0:two 2.0.1:fine", "");
	until(s, "2.0.1", "rolling");
	assert_string_equal(row_of(s).state, "ok");
	assert_false(fires(s, UPSTREAM_FAULT_REVERTED));
	assert_int_equal(count_list(s, false), 2);
}

static unsigned draw(struct scene *s, unsigned bound)
{
	s->random = s->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(s->random >> 33) % bound;
}

/* Killed after each few steps, the last of which is lost: each thing is made once. */
static void test_kills_repeat_nothing(void **state)
{
	struct scene *s = *state;
	struct model_row model;
	struct version_row version;
	struct artifact_row *rows;
	size_t count;
	int kills = 0;
	rig_devices(s->r, 4);
	follow(s, rolls);
	for (int n = 0; n < 6; n++) {
		char versions[256] = "", name[32];
		for (int k = 0; k <= n; k++)
			snprintf(versions + strlen(versions), sizeof versions - strlen(versions), "%s2.%d.0:text%d", k ? " " : "", k, k);
		publish(s, n + 1, versions, "");
		snprintf(name, sizeof name, "2.%d.0", n);
		s->random = (uint64_t)n + 1;
		s->file_count = (size_t)n + 1; /* publish adds them again */
		for (int k = 0; k <= n; k++) {
			snprintf(s->files[k].url, sizeof s->files[k].url, "https://up/text%d.bin", k);
			snprintf(s->files[k].text, sizeof s->files[k].text, "text%d", k);
		}
		for (int i = 0; i < 300 && strcmp(version_of(s, name).status, "rolling") != 0; i++, kills++) {
			steps(s, (int)draw(s, 4));
			step(s); /* lost */
			kill_server(s);
		}
		assert_string_equal(version_of(s, name).status, "rolling");
		assert_int_equal(count_list(s, false), n + 1);
		assert_int_equal(count_list(s, true), 3 + n + 1);
		rig_must(s->r, catalog_find_model(rig_call(s->r), "kws", &model));
		rig_must(s->r, catalog_find_version(rig_call(s->r), &model, name, &version));
		rig_must(s->r, catalog_list_artifacts(rig_call(s->r), &version, &rows, &count));
		assert_int_equal(count, 1);
		s->r->rollout = version_of(s, name).rollout;
		rig_act(s->r, ROLLOUT_DO_ABORT);
		for (int i = 0; i < 60 && strcmp(version_of(s, name).status, "reverted") != 0; i++) {
			rig_step(s->r);
			steps(s, 1);
		}
	}
	assert_true(kills > 12);
}

/* Nothing is asked of anybody for what may never have been. */
static void test_only_what_is_committed_leads_to_anything(void **state)
{
	struct scene *s = *state;
	const struct upstream_want *w;
	bool more = false;
	publish(s, 1, "2.0.0:two", "");
	follow(s, "{}");
	struct upstream_row row = row_of(s);
	row.interval_ms = 20000;
	IN_UNIT(s->r, upstreams_change(rig_call(s->r), &row, NULL));
	s->r->f.w.c.now_ms += 60000;
	rig_must(s->r, upstreams_tick(rig_call(s->r), &more));
	assert_true(more);
	assert_false(upstreams_take(upstreams_of(s), &w));
	rig_commit(s->r);
	rig_must(s->r, upstreams_tick(rig_call(s->r), &more));
	serve(s);
	rig_commit(s->r);
	until(s, "2.0.0", "done");
}

static void told(void *ctx, enum err e, const struct fault *f, const char *json)
{
	struct scene *s = ctx;
	s->told_error = e;
	snprintf(s->told, sizeof s->told, "%s", e == ERR_OK ? json : f->detail);
}

static void test_a_dry_run_changes_nothing(void **state)
{
	struct scene *s = *state;
	publish(s, 1, "2.0.0:two", "");
	follow(s, rolls);
	struct upstream_row row = row_of(s);
	row.is_enabled = false;
	IN_UNIT(s->r, upstreams_change(rig_call(s->r), &row, NULL));
	rig_commit(s->r);
	row = row_of(s);
	struct upstream_waiter waiter = {told, s};
	rig_must(s->r, upstreams_check(rig_call(s->r), &row, true, waiter));
	assert_int_equal(upstreams_check(rig_call(s->r), &row, true, waiter), ERR_CONFLICT);
	steps(s, 3);
	assert_non_null(strstr(s->told, "\"would\":\"rollout\""));
	assert_non_null(strstr(s->told, "\"version\":\"2.0.0\""));
	assert_string_equal(version_of(s, "2.0.0").status, "none");
	s->fault = UPSTREAM_FAULT_ADDRESS;
	rig_must(s->r, upstreams_check(rig_call(s->r), &row, true, waiter));
	steps(s, 3);
	assert_non_null(strstr(s->told, "\"fault\":\"address\""));
	assert_int_equal(row_of(s).failures, 0);
	rig_must(s->r, upstreams_check(rig_call(s->r), &row, true, waiter));
	IN_UNIT(s->r, upstreams_remove(rig_call(s->r), &row));
	rig_commit(s->r);
	steps(s, 2);
	assert_int_equal(s->told_error, ERR_NOT_FOUND);
}

static void test_settings_that_cannot_work_are_refused(void **state)
{
	struct scene *s = *state;
	static const struct {
		struct upstream_row row;
		const char *secret, *pointer;
	} cases[] = {
		{{.name = "a/b", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{}"}, NULL, "/name"},
		{{.name = "up", .model = "k s", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{}"}, NULL, "/model"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "http://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{}"}, NULL, "/url"},
		{{.name = "up", .model = "kws", .kind = "directory", .url = "/tmp", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{}"}, NULL, "/url"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "AAAA", .auth = "none", .user = "", .ca_file = "",
			.policy = "{}"}, NULL, "/public_key"},
		{{.name = "up", .model = "kws", .kind = "hawkbit", .url = "https://up/i", .prefix = "", .auth = "none", .user = "", .ca_file = "",
			.public_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", .policy = "{}"}, NULL, "/public_key"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{}"}, "x", "/auth"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "bearer", .user = "", .ca_file = "",
			.policy = "{}"}, NULL, "/secret"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "bearer", .user = "", .ca_file = "",
			.policy = "{}"}, "x\ny", "/secret"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "header", .user = "X: y", .ca_file = "",
			.policy = "{}"}, "x", "/user"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "basic", .user = "", .ca_file = "",
			.policy = "{}"}, "x", "/user"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "x.pem",
			.policy = "{}"}, NULL, "/ca_file"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{\"action\":\"x\"}"}, NULL, "/policy/action"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{\"rollout\":{\"release\":\"x\"}}"}, NULL, "/policy/rollout"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{\"rollout\":{\"soak_ms\":-1}}"}, NULL, "/policy/rollout/soak_ms"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{\"components\":[{\"model\":\"kws\",\"version\":\"1.0.0\"}]}"}, NULL, "/policy/components"},
		{{.name = "up", .model = "kws", .kind = "index", .url = "https://up/i", .prefix = "", .public_key = "", .auth = "none", .user = "", .ca_file = "",
			.policy = "{\"files\":[{\"file\":\"a\",\"hardware\":\"x y\"}]}"}, NULL, "/policy/files"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct upstream_row row = cases[i].row;
		struct fault *f = &s->r->f.w.fault;
		row.interval_ms = 10000;
		*f = (struct fault){"", ""};
		rig_must(s->r, unit_begin(services_of(s), f));
		enum err e = unit_end(services_of(s), upstreams_create(rig_call(s->r), &row, cases[i].secret), f);
		if (e != ERR_INVALID || strcmp(f->pointer, cases[i].pointer) != 0)
			fail_msg("case %zu: %s %s %s, not %s", i, err_name(e), f->pointer, f->detail, cases[i].pointer);
	}
}

static void check_plan(void *ctx, const struct statement *statement, const char *line)
{
	unsigned *seen = ctx;
	if (strstr(statement->sql, "upstream") == NULL)
		return;
	(*seen)++;
	if (strstr(line, "SCAN") != NULL && strstr(line, "USING INDEX") == NULL && strstr(line, "CONSTANT") == NULL && !statement->scans)
		fail_msg("%s: %s", statement->sql, line);
}

static void test_no_statement_scans(void **state)
{
	struct scene *s = *state;
	unsigned seen = 0;
	db_each_plan(services_of(s)->db, check_plan, &seen);
	assert_true(seen > 10);
}

#define SCENE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(test_a_version_becomes_a_release),
		SCENE(test_a_version_alone),
		SCENE(test_documents_are_refused_by_kind),
		SCENE(test_a_silent_upstream_is_told_after_three_times),
		SCENE(test_other_bytes_are_refused_the_second_time),
		SCENE(test_contents_that_never_come_do_not_keep_newer_ones_waiting),
		SCENE(test_what_the_catalog_has_otherwise_is_left_alone),
		SCENE(test_a_withdrawn_version_is_not_gone_on_with),
		SCENE(test_a_rollout_that_is_taken_back_stops_it),
		SCENE(test_kills_repeat_nothing),
		SCENE(test_only_what_is_committed_leads_to_anything),
		SCENE(test_a_dry_run_changes_nothing),
		SCENE(test_settings_that_cannot_work_are_refused),
		SCENE(test_no_statement_scans),
	};
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
