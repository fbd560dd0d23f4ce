/* service/releases and service/signing: what a release may hold, what is signed, when it is signed again, who gets which artifact. */
#include "catalog_world.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/json.h"
#include "service/signing.h"

static struct release_input input(const char *name, const struct component_input *components, size_t count)
{
	return (struct release_input){.name = name, .components = components, .component_count = count};
}

/* kws 1.0.0 for esp32s3 and for any; boot (firmware) 2.0.0 for esp32s3 only. */
static void fill(struct world *w)
{
	struct model_row m;
	struct version_row v = world_version(w, "kws", "model", "1.0.0", &m);
	world_artifact(w, &m, &v, "*", "any");
	world_artifact(w, &m, &v, "esp32s3", "s3");
	v = world_version(w, "boot", "firmware", "2.0.0", &m);
	world_artifact(w, &m, &v, "esp32s3", "firmware");
	v = world_version(w, "boot2", "firmware", "2.0.0", &m);
	world_artifact(w, &m, &v, "*", "firmware2");
	world_version(w, "kws", "model", "1.1.0", &m); /* nothing uploaded */
}

static const struct component_input both[] = {{"kws", "1.0.0"}, {"boot", "2.0.0"}};

static struct release_row make(struct world *w, const char *name, size_t count)
{
	struct release_row r;
	struct release_input in = input(name, both, count);
	world_must(w, UNIT(w, releases_create(&w->c, &in, &r)));
	return r;
}

static void the_manifest_says_what_the_protocol_wants(void **state)
{
	struct world *w = *state;
	struct release_row r;
	struct manifest_row m;
	struct json *root = NULL;
	fill(w);
	struct release_input in = input("kws-1", both, 2);
	in.config = "{\"z\":1,\"a\":{\"threshold\":0.5}}";
	world_must(w, UNIT(w, releases_create(&w->c, &in, &r)));
	world_must(w, releases_newest_manifest(&w->c, r.id, &m));
	assert_int_equal(m.counter, 1);
	char s3[SHA256_HEX], any[SHA256_HEX], firmware[SHA256_HEX];
	crypto_sha256_hex("s3", 2, s3);
	crypto_sha256_hex("any", 3, any);
	crypto_sha256_hex("firmware", 8, firmware);
	const char *want = arena_printf(w->c.arena,
		"{\"format\":\"aviary-manifest-1\",\"release\":\"kws-1\",\"counter\":1,\"created\":1700000000000,\"expires\":0,\"components\":["
		"{\"kind\":\"firmware\",\"name\":\"boot\",\"version\":\"2.0.0\",\"artifacts\":[{\"hardware\":\"esp32s3\",\"sha256\":\"%s\",\"size_bytes\":8,"
		"\"file\":\"m.tflite\"}]},"
		"{\"kind\":\"model\",\"name\":\"kws\",\"version\":\"1.0.0\",\"artifacts\":[{\"hardware\":\"*\",\"sha256\":\"%s\",\"size_bytes\":3,"
		"\"file\":\"m.tflite\"},{\"hardware\":\"esp32s3\",\"sha256\":\"%s\",\"size_bytes\":2,\"file\":\"m.tflite\"}]}],"
		"\"config\":{\"a\":{\"threshold\":0.5},\"z\":1}}", firmware, any, s3);
	assert_int_equal(m.len, strlen(want));
	assert_memory_equal(m.bytes, want, m.len);
	assert_int_equal(json_parse((const char *)m.bytes, m.len, &root, &w->fault), ERR_OK);
	json_free(root);
}

static void signatures_verify_and_nothing_else_does(void **state)
{
	struct world *w = *state;
	struct manifest_row m;
	fill(w);
	struct release_row r = make(w, "r", 1);
	world_must(w, releases_newest_manifest(&w->c, r.id, &m));
	const uint8_t *key = signing_public_key(catalog_signing(w->s.catalog));
	assert_true(ed25519_verify(key, "aviary-manifest-v1", m.bytes, m.len, m.signature));
	assert_false(ed25519_verify(key, "aviary-manifest-v2", m.bytes, m.len, m.signature));
	uint8_t *bytes = malloc(m.len);
	memcpy(bytes, m.bytes, m.len);
	bytes[m.len / 2] ^= 1;
	assert_false(ed25519_verify(key, "aviary-manifest-v1", bytes, m.len, m.signature));
	free(bytes);
	char hex[SHA256_HEX];
	crypto_sha256_hex(key, ED25519_KEY_BYTES, hex);
	assert_int_equal(strlen(m.key_id), 16);
	assert_memory_equal(m.key_id, hex, 16);
}

static void signing_again_takes_the_next_counter_and_the_same_content(void **state)
{
	struct world *w = *state;
	struct manifest_row before, after;
	struct model_row m;
	int64_t counter;
	fill(w);
	struct release_row old = make(w, "old", 1);
	make(w, "new", 2);
	world_must(w, UNIT(w, releases_manifest_for(&w->c, old.id, 0, &counter)));
	assert_int_equal(counter, 1);
	world_must(w, UNIT(w, releases_manifest_for(&w->c, old.id, 1, &counter)));
	assert_int_equal(counter, 1);
	world_must(w, releases_newest_manifest(&w->c, old.id, &before));
	/* A variant that comes later is not part of the release. */
	world_must(w, catalog_find_model(&w->c, "kws", &m));
	struct version_row v;
	world_must(w, catalog_find_version(&w->c, &m, "1.0.0", &v));
	world_artifact(w, &m, &v, "nrf52", "late");
	world_must(w, UNIT(w, releases_manifest_for(&w->c, old.id, 2, &counter)));
	assert_int_equal(counter, 3);
	world_must(w, releases_newest_manifest(&w->c, old.id, &after));
	assert_int_equal(after.counter, 3);
	const char *a = strstr((const char *)before.bytes, "\"components\""), *b = strstr((const char *)after.bytes, "\"components\"");
	assert_int_equal(before.len, after.len);
	assert_memory_equal(a, b, before.len - (size_t)(a - (const char *)before.bytes));
	world_must(w, UNIT(w, releases_manifest_for(&w->c, old.id, 3, &counter)));
	assert_int_equal(counter, 3); /* devices share it */
}

static void a_manifest_is_signed_anew_in_the_second_half_of_its_life(void **state)
{
	struct world *w = *state;
	struct manifest_row m;
	int64_t counter, day = 86400000;
	fill(w);
	struct release_row r = make(w, "r", 1); /* without an end */
	world_commit(w);
	world_close(w);
	w->limits.manifest_life_ms = 30 * day;
	world_open(w);
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, 0, &counter)));
	assert_int_equal(counter, 1); /* not older than half of the new life */
	w->c.now_ms += 16 * day;
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, 0, &counter)));
	assert_int_equal(counter, 2);
	world_must(w, releases_newest_manifest(&w->c, r.id, &m));
	assert_non_null(strstr((const char *)m.bytes, arena_printf(w->c.arena, "\"expires\":%lld,", (long long)(w->c.now_ms + 30 * day))));
	w->c.now_ms += 14 * day;
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, 2, &counter)));
	assert_int_equal(counter, 2);
	w->c.now_ms += 2 * day;
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, 2, &counter)));
	assert_int_equal(counter, 3);
	int64_t now_ms = w->c.now_ms;
	world_commit(w);
	world_close(w);
	w->limits.manifest_life_ms = 0; /* an old end still ends it */
	world_open(w);
	w->c.now_ms = now_ms + 20 * day;
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, 3, &counter)));
	assert_int_equal(counter, 4);
	w->c.now_ms += 4000 * day;
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, 4, &counter)));
	assert_int_equal(counter, 4);
}

static void a_device_lifts_the_counter_a_little_and_never_far(void **state)
{
	struct world *w = *state;
	int64_t counter;
	fill(w);
	struct release_row r = make(w, "r", 1);
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, 500, &counter))); /* confirmed before a restore of an older backup */
	assert_int_equal(counter, 500);
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, INT64_MAX, &counter)));
	assert_int_equal(counter, 500);
	world_must(w, UNIT(w, releases_manifest_for(&w->c, r.id, 501, &counter)));
	assert_int_equal(counter, 501);
}

static void bad_releases_are_refused(void **state)
{
	struct world *w = *state;
	struct release_row r;
	fill(w);
	make(w, "there", 1);
	static const struct component_input twice[] = {{"kws", "1.0.0"}, {"kws", "1.0.0"}}, two_firmwares[] = {{"boot", "2.0.0"}, {"boot2", "2.0.0"}},
		unknown[] = {{"nope", "1.0.0"}}, no_version[] = {{"kws", "1.0.0"}, {"boot", "9.0.0"}}, empty[] = {{"kws", "1.1.0"}};
	static struct component_input many[RELEASE_COMPONENTS_MAX + 1];
	const struct {
		struct release_input in;
		enum err e;
		const char *pointer;
	} cases[] = {
		{input("there", both, 1), ERR_CONFLICT, "/name"},
		{input("a b", both, 1), ERR_INVALID, "/name"},
		{input("x", both, 0), ERR_INVALID, "/components"},
		{input("x", many, RELEASE_COMPONENTS_MAX + 1), ERR_INVALID, "/components"},
		{input("x", twice, 2), ERR_INVALID, "/components/1/model"},
		{input("x", two_firmwares, 2), ERR_INVALID, "/components/1/model"},
		{input("x", unknown, 1), ERR_INVALID, "/components/0/model"},
		{input("x", no_version, 2), ERR_INVALID, "/components/1/version"},
		{input("x", empty, 1), ERR_CONFLICT, "/components/0/version"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(UNIT(w, releases_create(&w->c, &cases[i].in, &r)), cases[i].e);
		assert_string_equal(w->fault.pointer, cases[i].pointer);
	}
	struct release_input in = input("x", both, 1);
	in.config = "[]";
	assert_int_equal(UNIT(w, releases_create(&w->c, &in, &r)), ERR_INVALID);
	assert_int_equal(releases_find(&w->c, "x", &r), ERR_NOT_FOUND); /* refusals leave nothing */
}

/* 40 variants with long names in each of two models: more than devices take. */
static void a_manifest_that_is_too_long_is_refused(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct release_row r;
	for (int i = 0; i < 2; i++) {
		struct version_row v = world_version(w, i ? "one" : "two", "model", "1.0.0", &m);
		for (int k = 0; k < 60; k++)
			world_artifact(w, &m, &v, arena_printf(w->c.arena, "hardware-class-with-a-long-name-%d", k), "x");
	}
	static const struct component_input components[] = {{"one", "1.0.0"}, {"two", "1.0.0"}};
	struct release_input in = input("big", components, 2);
	assert_int_equal(UNIT(w, releases_create(&w->c, &in, &r)), ERR_TOO_LARGE);
	assert_int_equal(releases_find(&w->c, "big", &r), ERR_NOT_FOUND);
}

static void the_exact_class_wins_over_any(void **state)
{
	struct world *w = *state;
	struct component_row *components;
	struct artifact_row a;
	size_t count;
	bool covered;
	const char *missing;
	fill(w);
	struct release_row r = make(w, "r", 2);
	world_must(w, releases_components(&w->c, r.id, &components, &count));
	assert_int_equal(count, 2);
	assert_string_equal(components[0].model, "boot");
	assert_string_equal(components[1].model, "kws");
	world_must(w, releases_pick_artifact(&w->c, r.id, components[1].version, "esp32s3", &a));
	assert_string_equal(a.hardware, "esp32s3");
	world_must(w, releases_pick_artifact(&w->c, r.id, components[1].version, "nrf52", &a));
	assert_string_equal(a.hardware, "*");
	assert_int_equal(releases_pick_artifact(&w->c, r.id, components[0].version, "nrf52", &a), ERR_NOT_FOUND);
	world_must(w, releases_covers(&w->c, r.id, "esp32s3", &covered, &missing));
	assert_true(covered);
	world_must(w, releases_covers(&w->c, r.id, "nrf52", &covered, &missing));
	assert_false(covered);
	assert_string_equal(missing, "boot");
}

static void what_is_released_stays(void **state)
{
	struct world *w = *state;
	struct model_row m;
	struct version_row v;
	struct artifact_row *rows;
	size_t count;
	fill(w);
	struct release_row r = make(w, "r", 1);
	world_must(w, catalog_find_model(&w->c, "kws", &m));
	world_must(w, catalog_find_version(&w->c, &m, "1.0.0", &v));
	world_must(w, catalog_list_artifacts(&w->c, &v, &rows, &count));
	assert_int_equal(UNIT(w, catalog_delete_artifact(&w->c, &rows[0])), ERR_CONFLICT);
	assert_int_equal(UNIT(w, catalog_delete_version(&w->c, &m, &v)), ERR_CONFLICT);
	struct stmt *q;
	world_must(w, UNIT(w, db_prepare_text(w->s.db, "INSERT INTO device (device_id, hardware, running_release, created_at, updated_at) "
		"VALUES ('d', 'x', 'r', 0, 0)", &q, &w->fault)));
	world_must(w, UNIT(w, stmt_run(q, &w->fault)));
	assert_int_equal(UNIT(w, releases_delete(&w->c, &r)), ERR_CONFLICT);
	world_must(w, db_prepare_text(w->s.db, "DELETE FROM device", &q, &w->fault));
	world_must(w, UNIT(w, stmt_run(q, &w->fault)));
	world_must(w, UNIT(w, releases_delete(&w->c, &r)));
	world_must(w, UNIT(w, catalog_delete_artifact(&w->c, &rows[0])));
}

static void a_rollout_keeps_its_release(void **state)
{
	struct world *w = *state;
	struct stmt *q;
	fill(w);
	struct release_row r = make(w, "r", 1);
	world_must(w, db_prepare_text(w->s.db, "INSERT INTO rollout (name, release, target_filter, status, spec, seed_sha256, seed, created_by, created_at) "
		"SELECT 'x', id, '', 'ready', '{}', randomblob(32), randomblob(32), 'test', 0 FROM release", &q, &w->fault));
	world_must(w, UNIT(w, stmt_run(q, &w->fault)));
	assert_int_equal(UNIT(w, releases_delete(&w->c, &r)), ERR_CONFLICT);
	struct manifest_row m;
	world_must(w, releases_newest_manifest(&w->c, r.id, &m)); /* the refusal took nothing away */
}

static void pages_of_releases(void **state)
{
	struct world *w = *state;
	struct release_row *rows;
	size_t count;
	bool more;
	int64_t total;
	fill(w);
	make(w, "b", 1);
	make(w, "c", 1);
	make(w, "a", 1);
	struct page_request page = {.limit = 2, .descending = true};
	world_must(w, releases_list(&w->c, &page, false, &rows, &count, &more, &total));
	assert_int_equal(count, 2);
	assert_true(more);
	assert_int_equal(total, 3);
	assert_string_equal(rows[0].name, "a");
	assert_string_equal(rows[1].name, "c");
	page.after = arena_printf(w->c.arena, "%lld", (long long)rows[1].id);
	world_must(w, releases_list(&w->c, &page, false, &rows, &count, &more, NULL));
	assert_int_equal(count, 1);
	assert_false(more);
	assert_string_equal(rows[0].name, "b");
	page = (struct page_request){.limit = 2};
	world_must(w, releases_list(&w->c, &page, true, &rows, &count, &more, NULL));
	assert_string_equal(rows[0].name, "a");
	assert_string_equal(rows[1].name, "b");
}

/* ---- the key ---- */

static void the_key_is_made_once_and_private(void **state)
{
	struct world *w = *state;
	struct stat st;
	char path[128], id[SIGNING_KEY_ID];
	strcpy(id, signing_key_id(catalog_signing(w->s.catalog)));
	snprintf(path, sizeof path, "%s/keys/release.key", w->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 65);
	snprintf(path, sizeof path, "%s/keys/release.pub", w->dir);
	assert_int_equal(stat(path, &st), 0);
	world_close(w);
	world_open(w);
	assert_string_equal(id, signing_key_id(catalog_signing(w->s.catalog)));
}

static void a_bad_key_file_is_never_replaced(void **state)
{
	struct world *w = *state;
	struct signing *s = NULL;
	char path[128], text[8] = "";
	snprintf(path, sizeof path, "%s/keys/release.key", w->dir);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(signing_open(w->dir, &s, &w->fault), ERR_FORBIDDEN);
	assert_int_equal(chmod(path, 0600), 0);
	FILE *file = fopen(path, "w");
	fputs("hello", file);
	fclose(file);
	assert_int_equal(signing_open(w->dir, &s, &w->fault), ERR_INVALID);
	file = fopen(path, "r");
	assert_non_null(fgets(text, sizeof text, file));
	fclose(file);
	assert_string_equal(text, "hello");
	assert_null(s);
}

/* Manifests of another key are not handed out: devices pin the present one. */
static void a_new_key_signs_again(void **state)
{
	struct world *w = *state;
	struct manifest_row m;
	char path[128];
	int64_t counter;
	fill(w);
	struct release_row r = make(w, "r", 1);
	world_commit(w);
	int64_t id = r.id;
	world_close(w);
	snprintf(path, sizeof path, "%s/keys/release.key", w->dir);
	assert_int_equal(unlink(path), 0);
	world_open(w);
	assert_int_equal(releases_newest_manifest(&w->c, id, &m), ERR_NOT_FOUND);
	world_must(w, UNIT(w, releases_manifest_for(&w->c, id, 0, &counter)));
	assert_int_equal(counter, 2);
	world_must(w, releases_newest_manifest(&w->c, id, &m));
	assert_true(ed25519_verify(signing_public_key(catalog_signing(w->s.catalog)), SIGNING_DOMAIN, m.bytes, m.len, m.signature));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_manifest_says_what_the_protocol_wants, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(signatures_verify_and_nothing_else_does, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(signing_again_takes_the_next_counter_and_the_same_content, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_manifest_is_signed_anew_in_the_second_half_of_its_life, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_device_lifts_the_counter_a_little_and_never_far, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(bad_releases_are_refused, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_manifest_that_is_too_long_is_refused, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(the_exact_class_wins_over_any, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(what_is_released_stays, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_rollout_keeps_its_release, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(pages_of_releases, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(the_key_is_made_once_and_private, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_bad_key_file_is_never_replaced, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(a_new_key_signs_again, world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
