/* What a manifest must say: each rule with a case on both of its sides. */
#include "world.h"

#include "agent/json.h"
#include "agent/release.h"

static const char sha_1[] = "1111111111111111111111111111111111111111111111111111111111111111";
static const char sha_2[] = "2222222222222222222222222222222222222222222222222222222222222222";

static struct agent_part part(int digit, uint64_t size_bytes)
{
	struct agent_part p;
	memset(p.sha256, digit * 17, sizeof(p.sha256));
	p.size_bytes = size_bytes;
	return p;
}

static const char *check(const char *components, const struct agent_part *parts, unsigned count,
                         struct agent_release *out)
{
	static struct world *w;
	char text[4096];
	int64_t created_ms, expires_ms;
	if (!w) {
		w = w_new(1);
		w_power_up(w);
	}
	int n = snprintf(text, sizeof(text),
	                 "{\"format\":\"aviary-manifest-1\",\"release\":\"r-1\",\"counter\":7,\"created\":5,\"expires\":9,"
	                                     "\"components\":%s,\"config\":{}}", components);
	struct agent_slice manifest = {text, (size_t)n};
	const char *reason = agent_release_check(&w->agent, manifest, parts, count, out, &created_ms, &expires_ms);
	if (!reason) {
		assert_int_equal(created_ms, 5);
		assert_int_equal(expires_ms, 9);
		assert_string_equal(out->name, "r-1");
	}
	return reason;
}

/* {"kind":..,"artifacts":[{"hardware":..,"sha256":..,"size_bytes":..}, second]} */
static char *component(const char *name, const char *hardware, const char *sha, int size, const char *second)
{
	static char text[4][1024];
	static int at;
	char *out = text[at++ % 4];
	snprintf(out, sizeof(text[0]), "{\"kind\":\"model\",\"name\":\"%s\",\"version\":\"1.0.0\",\"artifacts\":["
	         "{\"hardware\":\"%s\",\"sha256\":\"%s\",\"size_bytes\":%d,\"file\":\"f\"}%s]}", name, hardware, sha, size,
	         	second);
	return out;
}

static void expect(const char *first, const char *second, const struct agent_part *parts, unsigned count,
                   const char *want)
{
	char list[3000];
	struct agent_release r;
	snprintf(list, sizeof(list), "[%s%s%s]", first, second ? "," : "", second ? second : "");
	const char *reason = check(list, parts, count, &r);
	if (!want && reason)
		fail_msg("refused: %s", reason);
	if (want && (!reason || !strstr(reason, want)))
		fail_msg("want '%s', got '%s'", want, reason ? reason : "accepted");
}

static void test_coverage(void **unused)
{
	(void)unused;
	const struct agent_part one = part(1, 10), longer = part(1, 11), other = part(2, 10), both[2] = {one, other};
	char *a = component("a", "esp32s3", sha_1, 10, "");
	expect(a, NULL, &one, 1, NULL);
	expect(a, NULL, &longer, 1, "no artifact is offered");
	expect(a, NULL, &other, 1, "no artifact is offered");
	expect(a, NULL, NULL, 0, "no artifact is offered");
	expect(a, NULL, both, 2, "does not name");
	expect(a, component("b", "*", sha_2, 10, ""), both, 2, NULL);
	expect(a, component("b", "*", sha_2, 10, ""), both, 1, "no artifact is offered");
	expect(a, component("b", "*", sha_1, 10, ""), &one, 1, NULL); /* the same file for both */
}

static void test_hardware(void **unused)
{
	(void)unused;
	const struct agent_part one = part(1, 10), two = part(2, 10);
	char any[256], exact[256];
	snprintf(any, sizeof(any), ",{\"hardware\":\"*\",\"sha256\":\"%s\",\"size_bytes\":10,\"file\":\"g\"}", sha_2);
	snprintf(exact, sizeof(exact), ",{\"hardware\":\"esp32s3\",\"sha256\":\"%s\",\"size_bytes\":10,\"file\":\"g\"}",
	         sha_2);
	expect(component("a", "esp32", sha_1, 10, ""), NULL, &one, 1, "for this hardware");
	expect(component("a", "esp32s3", sha_1, 10, any), NULL, &one, 1, NULL);
	expect(component("a", "esp32s3", sha_1, 10, any), NULL, &two, 1, "closer to this hardware");
	expect(component("a", "esp32s3", sha_1, 10, exact), NULL, &two, 1, NULL); /* two of its own: the server chooses */
	expect(component("a", "esp32", sha_1, 10, exact), NULL, &one, 1, "no artifact is offered");
}

static void test_malformed(void **unused)
{
	(void)unused;
	const struct agent_part one = part(1, 10);
	struct agent_release r;
	expect("{}", NULL, &one, 1, "malformed component");
	expect(component("a b", "esp32s3", sha_1, 10, ""), NULL, &one, 1, "malformed component");
	expect(component("a", "esp32s3", "12", 10, ""), NULL, &one, 1, "malformed artifact");
	expect(component("a", "esp32s3", sha_1, -1, ""), NULL, &one, 1, "malformed artifact");
	expect("{\"kind\":\"rootkit\",\"name\":\"a\",\"version\":\"1\",\"artifacts\":[]}", NULL, &one, 1, "unknown kind");
	assert_non_null(check("[]", &one, 1, &r));
	assert_non_null(check("{}", &one, 1, &r));
	assert_non_null(check("[1", &one, 1, &r));
	char many[4000] = "[";
	for (int i = 0; i < AGENT_COMPONENTS_MAX + 1; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "%s%s", i ? "," : "", component("a", "*", sha_1, 10, ""));
	snprintf(many + strlen(many), sizeof(many) - strlen(many), "]");
	assert_string_equal(check(many, &one, 1, &r), "manifest: too many components");
}

/* Several variants for one class of hardware: the server says which; the most specific class still has to be it. */
static void test_variants(void **unused)
{
	(void)unused;
	const struct agent_part one = part(1, 10), two = part(2, 20), both[2] = {one, two};
	char second[300], mixed[300];
	snprintf(second, sizeof(second), ",{\"hardware\":\"esp32s3\",\"variant\":\"float\",\"sha256\":\"%s\",\"size_bytes\":20,\"file\":\"f\"}", sha_2);
	snprintf(mixed, sizeof(mixed), ",{\"hardware\":\"*\",\"variant\":\"float\",\"sha256\":\"%s\",\"size_bytes\":20,\"file\":\"f\"}", sha_2);
	char *a = component("a", "esp32s3", sha_1, 10, second);
	expect(a, NULL, &one, 1, NULL);
	expect(a, NULL, &two, 1, NULL);
	expect(a, NULL, both, 2, "does not name"); /* one of them, not both */
	expect(a, NULL, NULL, 0, "no artifact is offered");
	expect(component("a", "esp32s3", sha_1, 10, mixed), NULL, &two, 1, "closer to this hardware");
	expect(component("a", "*", sha_1, 10, mixed), NULL, &two, 1, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_hardware),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_variants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
