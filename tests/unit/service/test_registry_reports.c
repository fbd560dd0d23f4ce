/* Devices about themselves: credentials, enrolment, reports; and what they are told: desired messages and twins. */
#include "registry_world.h"

#include "base/crypto.h"
#include "base/str.h"
#include "core/report.h"

static struct device_report *report(struct world *w, const char *text)
{
	struct device_report *r = arena_alloc(w->c.arena, sizeof *r);
	if (report_parse(r, text, strlen(text), &w->fault) != ERR_OK)
		fail_msg("%s %s", w->fault.pointer, w->fault.detail);
	return r;
}

static bool apply(struct world *w, struct device_state *d, const char *text)
{
	bool is_new;
	DO(w, registry_apply_report(&w->c, d, report(w, text), &is_new));
	return is_new;
}

static const char *twin(struct world *w, struct device_state *d, enum twin which, int64_t *revision)
{
	const char *json;
	assert_int_equal(registry_twin(&w->c, d, which, &json, revision), ERR_OK);
	return json;
}

/* ---- credentials and enrolment ---- */

static void test_secret(void **state)
{
	struct world *w = *state;
	struct device_state *d = world_device(w, "a", "h");
	char secret[65], other[65];
	assert_false(registry_check_secret(&w->c, "a", "", 0));
	DO(w, registry_make_secret(&w->c, d, secret));
	assert_true(str_is_hex(secret, 64));
	assert_true(registry_check_secret(&w->c, "a", secret, 64));
	assert_false(registry_check_secret(&w->c, "a", secret, 63));
	assert_false(registry_check_secret(&w->c, "b", secret, 64));
	DO(w, registry_make_secret(&w->c, d, other));
	assert_false(registry_check_secret(&w->c, "a", secret, 64));
	assert_true(registry_check_secret(&w->c, "a", other, 64));
	DO(w, registry_clear_secret(&w->c, d));
	assert_false(registry_check_secret(&w->c, "a", other, 64));
	struct audit_row *rows;
	size_t count;
	assert_int_equal(audit_list(&w->c, &(struct audit_filter){.resource = "devices/a"}, 0, 10, &rows, &count), ERR_OK);
	for (size_t i = 0; i < count; i++)
		assert_true(rows[i].after == NULL || strstr(rows[i].after, other) == NULL);
}

static const char *enrolment(struct world *w, const char *token, const char *secret, const char *hardware)
{
	char sha256[SHA256_HEX];
	crypto_sha256_hex(secret, strlen(secret), sha256);
	return arena_printf(w->c.arena,
	                    "{\"boot\":\"b\",\"seq\":1,\"enrol\":{\"token\":\"%s\",\"secret_sha256\":\"%s\",\"name\":\"Door\",\"hardware\":\"%s\","
	                    "\"attributes\":{\"region\":\"eu\",\"floor\":3,\"new\":true},\"tags\":[\"beta\"]}}",
	                    token, sha256, hardware);
}

static void make_token(struct world *w, int64_t uses, char text[ACCESS_TOKEN_SIZE])
{
	struct token_row row = {.name = "line 3", .kind = "enrolment", .role = "enrol", .uses_left = uses};
	DO(w, access_create_token(&w->c, &row, text));
}

static void test_enrolment(void **state)
{
	struct world *w = *state;
	char token[ACCESS_TOKEN_SIZE];
	struct device_state *d = NULL;
	const char *value;
	make_token(w, 1, token);
	REFUSED(w, ERR_UNAUTHORIZED, registry_enrol(&w->c, "new-1", report(w, enrolment(w, "wrong", "s1", "h")), &d));
	assert_null(registry_find(w->s.registry, "new-1"));
	DO(w, registry_enrol(&w->c, "new-1", report(w, enrolment(w, token, "s1", "h")), &d));
	assert_ptr_equal(registry_find(w->s.registry, "new-1"), d);
	assert_true(registry_check_secret(&w->c, "new-1", "s1", 2));
	assert_int_equal(registry_attribute(&w->c, d, "floor", &value), ERR_OK);
	assert_string_equal(value, "3");
	assert_int_equal(registry_attribute(&w->c, d, "new", &value), ERR_OK);
	assert_string_equal(value, "true");
	/* The token is used up: a repeat is fine, a second device is not. */
	struct device_state *again = NULL;
	DO(w, registry_enrol(&w->c, "new-1", report(w, enrolment(w, token, "s1", "h")), &again));
	assert_ptr_equal(again, d);
	REFUSED(w, ERR_UNAUTHORIZED, registry_enrol(&w->c, "new-2", report(w, enrolment(w, token, "s2", "h")), &again));
}

static void test_a_known_device_keeps_its_secret_until_reset(void **state)
{
	struct world *w = *state;
	char token[ACCESS_TOKEN_SIZE];
	struct device_state *d = world_device(w, "a", "h"), *out;
	const char *value;
	make_token(w, -1, token);
	REFUSED(w, ERR_CONFLICT, registry_enrol(&w->c, "a", report(w, enrolment(w, token, "s1", "other")), &out));
	DO(w, registry_enrol(&w->c, "a", report(w, enrolment(w, token, "s1", "h")), &out));
	assert_ptr_equal(out, d);
	assert_int_equal(registry_attribute(&w->c, d, "region", &value), ERR_OK);
	assert_null(value); /* what operators said stays */
	REFUSED(w, ERR_FORBIDDEN, registry_enrol(&w->c, "a", report(w, enrolment(w, token, "s2", "h")), &out));
	assert_true(registry_check_secret(&w->c, "a", "s1", 2));
	DO(w, registry_clear_secret(&w->c, d));
	REFUSED(w, ERR_UNAUTHORIZED, registry_enrol(&w->c, "a", report(w, enrolment(w, "wrong", "s2", "h")), &out));
	DO(w, registry_enrol(&w->c, "a", report(w, enrolment(w, token, "s2", "h")), &out));
	assert_true(registry_check_secret(&w->c, "a", "s2", 2));
}

/* ---- reports ---- */

static void test_report_is_applied_once(void **state)
{
	struct world *w = *state;
	struct device_state *d = world_device(w, "a", "h");
	const char *value;
	assert_true(apply(w, d, "{\"boot\":\"b1\",\"seq\":5,\"running\":{\"release\":\"kws-1\",\"counter\":6,\"models\":{\"kws\":\"1.0.0\",\"vad\":\"2.0.0\"},"
	                        "\"firmware\":\"2.1.0\"},\"capabilities\":{\"slot_bytes\":1048576}}"));
	assert_string_equal(registry_text(w->s.registry, d->release), "kws-1");
	assert_int_equal(d->running_counter, 6);
	assert_int_equal(registry_model(&w->c, d, "vad", &value), ERR_OK);
	assert_string_equal(value, "2.0.0");
	assert_int_equal(registry_firmware(&w->c, d, &value), ERR_OK);
	assert_string_equal(value, "2.1.0");
	assert_int_equal(registry_capabilities(&w->c, d, &value), ERR_OK);
	assert_string_equal(value, "{\"slot_bytes\":1048576}");
	/* the same again, and an older one: duplicates, acknowledged but not applied */
	assert_false(apply(w, d, "{\"boot\":\"b1\",\"seq\":5,\"running\":{\"release\":\"other\",\"counter\":9}}"));
	assert_false(apply(w, d, "{\"boot\":\"b1\",\"seq\":4,\"running\":{\"release\":\"other\",\"counter\":9}}"));
	assert_string_equal(registry_text(w->s.registry, d->release), "kws-1");
	/* what is absent changes nothing, what is present replaces */
	assert_true(apply(w, d, "{\"boot\":\"b1\",\"seq\":6}"));
	assert_string_equal(registry_text(w->s.registry, d->release), "kws-1");
	assert_true(apply(w, d, "{\"boot\":\"b2\",\"seq\":1,\"running\":{\"release\":\"kws-2\",\"counter\":7,\"models\":{\"kws\":\"2.0.0\"}}}"));
	assert_string_equal(registry_text(w->s.registry, d->release), "kws-2");
	assert_int_equal(registry_model(&w->c, d, "vad", &value), ERR_OK);
	assert_null(value);
	assert_int_equal(registry_firmware(&w->c, d, &value), ERR_OK);
	assert_null(value);
	int64_t row;
	outbox_committed(w->s.outbox);
	assert_true(outbox_next_device(w->s.outbox, &row));
	assert_int_equal(row, d->row);
	assert_false(outbox_next_device(w->s.outbox, &row)); /* six wishes, one message */
}

static void test_reported_twin(void **state)
{
	struct world *w = *state;
	struct device_state *d = world_device(w, "a", "h");
	int64_t first, second;
	assert_string_equal(twin(w, d, TWIN_REPORTED, &first), "{\"running\":{},\"capabilities\":{}}");
	apply(w, d, "{\"boot\":\"b\",\"seq\":1,\"running\":{\"release\":\"r\",\"counter\":1},\"capabilities\":{\"a\":1}}");
	assert_string_equal(twin(w, d, TWIN_REPORTED, &second), "{\"running\":{\"counter\":1,\"release\":\"r\"},\"capabilities\":{\"a\":1}}");
	assert_true(second > first);
	apply(w, d, "{\"boot\":\"b\",\"seq\":2,\"running\":{\"counter\":1, \"release\":\"r\"},\"capabilities\":{\"a\": 1}}");
	twin(w, d, TWIN_REPORTED, &first);
	assert_int_equal(first, second); /* the same said again */
}

/* ---- desired ---- */

static void test_desired_message(void **state)
{
	struct world *w = *state;
	char id[DEVICE_ID_MAX + 1];
	memset(id, 'x', DEVICE_ID_MAX);
	id[DEVICE_ID_MAX] = '\0';
	struct device_state *d = world_device(w, id, "h");
	struct buf b = BUF_INIT;
	char etag[DESIRED_ETAG_SIZE];
	registry_desired_etag(d, etag);
	assert_int_equal(registry_desired_message(&w->c, d, &b), ERR_OK);
	assert_string_equal(buf_cstr(&b), arena_printf(w->c.arena, "{\"rev\":0,\"etag\":\"%s\",\"url\":\"/device/v1/%s/desired\"}", etag, id));
	apply(w, d, "{\"boot\":\"0123456789abcdef0123456789abcdef\",\"seq\":9007199254740992}");
	d->desired_rev = INT64_C(99999999999999);
	buf_clear(&b);
	assert_int_equal(registry_desired_message(&w->c, d, &b), ERR_OK);
	assert_true(b.len <= DESIRED_MESSAGE_MAX);
	assert_non_null(strstr(buf_cstr(&b), "\"ack\":[\"0123456789abcdef0123456789abcdef\",9007199254740992]"));
	buf_done(&b);
}

static void test_etag_changes_with_each_rev_and_each_life(void **state)
{
	struct world *w = *state;
	struct device_state *d = world_device(w, "a", "h");
	char first[DESIRED_ETAG_SIZE], second[DESIRED_ETAG_SIZE];
	registry_desired_etag(d, first);
	DO(w, registry_bump_desired(&w->c, d));
	registry_desired_etag(d, second);
	assert_string_not_equal(first, second);
	DO(w, registry_delete(&w->c, d, false, 0, NULL));
	w->c.now_ms++;
	d = world_device(w, "a", "h");
	DO(w, registry_bump_desired(&w->c, d));
	registry_desired_etag(d, first);
	assert_string_not_equal(first, second);
}

static void test_desired_twin(void **state)
{
	struct world *w = *state;
	struct device_state *d = world_device(w, "a", "h");
	int64_t revision, shown;
	assert_string_equal(twin(w, d, TWIN_DESIRED, &revision), "{}");
	assert_int_equal(revision, 1);
	DO(w, registry_set_twin(&w->c, d, "{\"b\":{\"c\":1,\"d\":[1,2]},\"a\":\"x\"}", false, 1, &revision));
	assert_string_equal(twin(w, d, TWIN_DESIRED, &shown), "{\"a\":\"x\",\"b\":{\"c\":1,\"d\":[1,2]}}");
	assert_int_equal(revision, 2);
	assert_int_equal(shown, 2);
	assert_int_equal(d->desired_rev, 1);
	DO(w, registry_set_twin(&w->c, d, "{ \"a\":\"x\", \"b\":{\"d\":[1,2],\"c\":1}}", false, 0, &revision)); /* says the same */
	assert_int_equal(d->desired_rev, 1);
	assert_int_equal(revision, 2);
	REFUSED(w, ERR_PRECONDITION, registry_set_twin(&w->c, d, "{}", false, 1, &revision));
	REFUSED(w, ERR_INVALID, registry_set_twin(&w->c, d, "[]", false, 0, &revision));
	REFUSED(w, ERR_BAD_REQUEST, registry_set_twin(&w->c, d, "{", false, 0, &revision));
}

/* The examples of RFC 7396, appendix A, as members of an object. */
static void test_merge_patch(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *target, *patch, *result;
	} cases[] = {
		{"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
		{"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
		{"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
		{"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
		{"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
		{"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
		{"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
		{"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
		{"{\"a\":\"foo\"}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
		{"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};
	struct device_state *d = world_device(w, "a", "h");
	int64_t revision;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		DO(w, registry_set_twin(&w->c, d, cases[i].target, false, 0, &revision));
		DO(w, registry_set_twin(&w->c, d, cases[i].patch, true, 0, &revision));
		assert_string_equal(twin(w, d, TWIN_DESIRED, &revision), cases[i].result);
	}
}

static void test_twin_has_a_limit(void **state)
{
	struct world *w = *state;
	struct device_state *d = world_device(w, "a", "h");
	struct buf b = BUF_INIT;
	int64_t revision;
	buf_str(&b, "{\"a\":\"");
	for (size_t i = 0; i < TWIN_MAX - 8; i++)
		buf_char(&b, 'x');
	buf_str(&b, "\"}");
	assert_int_equal(b.len, TWIN_MAX);
	DO(w, registry_set_twin(&w->c, d, buf_cstr(&b), false, 0, &revision));
	REFUSED(w, ERR_TOO_LARGE, registry_set_twin(&w->c, d, "{\"b\":1}", true, 0, &revision));
	buf_done(&b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_secret),
		T(test_enrolment),
		T(test_a_known_device_keeps_its_secret_until_reset),
		T(test_report_is_applied_once),
		T(test_reported_twin),
		T(test_desired_message),
		T(test_etag_changes_with_each_rev_and_each_life),
		T(test_desired_twin),
		T(test_merge_patch),
		T(test_twin_has_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
