/* Documents of upstreams, their addresses, times and choices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "core/upstream.h"

#define SHA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHB "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ARTIFACT(hw, variant, sha) "{\"hardware\":\"" hw "\",\"variant\":\"" variant "\",\"url\":\"f/" hw variant ".tflite?x=1\",\"size_bytes\":5,\"sha256\":\"" sha "\"}"

static struct upstream_record record;

static enum err parse(const char *text, struct fault *f)
{
	*f = (struct fault){"", ""};
	return upstream_record_parse(&record, text, strlen(text), f);
}

/* ---- records ---- */

static void test_a_record_is_read(void **state)
{
	(void)state;
	struct fault f;
	static const char text[] = "{\"model\":\"kws\",\"version\":\"1.2.0\",\"notes\":\"a \\u00e9\",\"quality\":{\"top1\":0.9},\"later\":[1,{}],\"artifacts\":["
		ARTIFACT("nrf52", "", SHB) ",{\"url\":\"https://h/x\",\"file\":\"y.tflite\",\"size_bytes\":7,\"sha256\":\"" SHA "\",\"format\":\"tflite\","
		"\"requires\":{\"arena_bytes\":1},\"quality\":{\"top1\":0.8},\"hardware\":\"esp32s3\",\"variant\":\"int8\"}]}";
	assert_int_equal(parse(text, &f), ERR_OK);
	assert_string_equal(record.model, "kws");
	assert_string_equal(record.version, "1.2.0");
	assert_string_equal(record.notes, "a \xc3\xa9");
	assert_int_equal(record.artifact_count, 2);
	const struct upstream_artifact *a = &record.artifacts[0], *b = &record.artifacts[1];
	assert_string_equal(a->hardware, "esp32s3"); /* sorted */
	assert_string_equal(a->file, "y.tflite");
	assert_true(slice_equals(a->format, "\"tflite\""));
	assert_true(slice_equals(a->requires, "{\"arena_bytes\":1}"));
	assert_true(slice_equals(a->quality, "{\"top1\":0.8}"));
	assert_true(slice_equals(record.quality, "{\"top1\":0.9}"));
	assert_string_equal(b->file, "nrf52.tflite"); /* of its address */
	assert_int_equal(b->size_bytes, 5);
}

static void test_records_that_are_none_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "byte 0"},
		{"[]", "object"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[]}", "no artifacts"},
		{"{\"version\":\"1.0\",\"artifacts\":[" ARTIFACT("a", "", SHA) "]}", "Semantic Version"},
		{"{\"version\":\"1.0.0\",\"version\":\"2.0.0\",\"artifacts\":[" ARTIFACT("a", "", SHA) "]}", "twice"},
		{"{\"version\":7}", "version: a text"},
		{"{\"version\":\"1.0.0\",\"withdrawn\":1}", "withdrawn"},
		{"{\"version\":\"1.0.0\",\"model\":\"a/b\",\"artifacts\":[" ARTIFACT("a", "", SHA) "]}", "model"},
		{"{\"version\":\"1.0.0\",\"artifacts\":{}}", "an array"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[7]}", "objects"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[" ARTIFACT("a", "", SHA) "," ARTIFACT("a", "", SHB) "]}", "twice"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[" ARTIFACT("a b", "", SHA) "]}", "hardware"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[" ARTIFACT("a", "x/y", SHA) "]}", "variant"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[" ARTIFACT("a", "", "AA") "]}", "sha256"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":1}]}", "url"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":0,\"url\":\"a\"}]}", "size_bytes"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":-1,\"url\":\"a\"}]}", "size_bytes"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":1e3,\"url\":\"a\"}]}", "size_bytes"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":1,\"url\":\"a/\"}]}", "file"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":1,\"url\":\"a\",\"file\":\"../x\"}]}", "file"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":1,\"url\":\"a\",\"file\":\"..\"}]}", "file"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":1,\"url\":\"a\",\"requires\":[]}]}", "requires"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"sha256\":\"" SHA "\",\"size_bytes\":1,\"url\":\"a\",\"format\":1}]}", "format"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"url\":\"a\",\"url\":\"b\"}]}", "twice"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"url\":", "byte"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[{\"x\":tru}]}", "byte"},
		{"{\"version\":\"1.0.0\",\"x\":{\"y\":}}", "byte"},
		{"{\"version\":\"1.0.0\",\"withdrawn\":true} x", "byte"},
		{"{\"version\":\"1.0.0\",\"artifacts\":[", "byte"},
		{"{\"version\":\"1.0.0\",\"quality\":{\"a\":}}", "byte"},
		{"{\"version\":\"\xff\"}", "byte"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fault f;
		enum err e = parse(cases[i].text, &f);
		if (e == ERR_OK || strstr(f.detail, cases[i].why) == NULL)
			fail_msg("%s: %s %s", cases[i].text, err_name(e), f.detail);
	}
}

static void test_too_many_artifacts_are_refused(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct fault f;
	buf_str(&b, "{\"version\":\"1.0.0\",\"artifacts\":[");
	for (int i = 0; i <= UPSTREAM_ARTIFACTS_MAX; i++)
		buf_printf(&b, "%s{\"hardware\":\"h%d\",\"url\":\"f\",\"size_bytes\":1,\"sha256\":\"" SHA "\"}", i ? "," : "", i);
	buf_str(&b, "]}");
	assert_int_equal(parse(b.data, &f), ERR_TOO_LARGE);
	buf_done(&b);
}

static void digest_of(const char *text, char out[SHA256_HEX])
{
	struct fault f;
	assert_int_equal(parse(text, &f), ERR_OK);
	upstream_record_digest(&record, out);
}

static void test_a_digest_is_of_what_devices_get(void **state)
{
	(void)state;
	char a[SHA256_HEX], b[SHA256_HEX];
	digest_of("{\"version\":\"1.0.0\",\"artifacts\":[" ARTIFACT("a", "", SHA) "," ARTIFACT("b", "", SHB) "]}", a);
	digest_of("{\"notes\":\"x\",\"artifacts\":[" ARTIFACT("b", "", SHB) "," ARTIFACT("a", "", SHA) "],\"version\":\"1.0.0\"}", b);
	assert_string_equal(a, b);
	digest_of("{\"version\":\"1.0.0\",\"artifacts\":[" ARTIFACT("a", "", SHA) "," ARTIFACT("b", "", SHA) "]}", b);
	assert_string_not_equal(a, b);
	digest_of("{\"version\":\"1.0.0\",\"artifacts\":[" ARTIFACT("a", "v", SHA) "," ARTIFACT("b", "", SHB) "]}", b);
	assert_string_not_equal(a, b);
}

/* ---- index ---- */

struct seen {
	unsigned count, stop_after;
	size_t bytes;
};

static bool on_version(void *ctx, struct slice raw)
{
	struct seen *s = ctx;
	s->count++;
	s->bytes += raw.len;
	return s->count != s->stop_after;
}

static void test_an_index_is_walked(void **state)
{
	(void)state;
	static const char text[] = " {\"format\":\"aviary-index-1\",\"model\":\"kws\",\"published\":12,\"more\":null,\"versions\":[{\"a\":1}, {\"b\":[2]}]}\n";
	struct upstream_index x;
	struct fault f = {"", ""};
	struct seen s = {0};
	assert_int_equal(upstream_index_parse(&x, text, strlen(text), &f), ERR_OK);
	assert_string_equal(x.model, "kws");
	assert_int_equal(x.published, 12);
	assert_int_equal(upstream_index_each(&x, on_version, &s, &f), ERR_OK);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.bytes, 7 + 9);
	s = (struct seen){.stop_after = 1};
	assert_int_equal(upstream_index_each(&x, on_version, &s, &f), ERR_OK);
	assert_int_equal(s.count, 1);
}

static void test_an_index_that_is_none_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"x", "byte"}, {"7", "object"}, {"{\"format\":\"aviary-index-2\",\"model\":\"m\",\"versions\":[]}", "format"},
		{"{\"format\":\"aviary-index-1\",\"versions\":[]}", "model"}, {"{\"format\":\"aviary-index-1\",\"model\":\"m\"}", "versions"},
		{"{\"format\":\"aviary-index-1\",\"model\":\"m\",\"versions\":{}}", "array"}, {"{\"model\":\"m\",\"model\":\"m\"}", "twice"},
		{"{\"format\":\"aviary-index-1\",\"model\":\"m\",\"versions\":[}", "byte"}, {"{\"published\":-1}", "published"}, {"{\"a\":}", "byte"},
		{"{\"format\":\"aviary-index-1\",\"model\":\"m\",\"versions\":[]}{}", "byte"}, {"{\"a\":[}", "byte"}, {"{\"model\":5}", "text"}, {"{", "byte"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct upstream_index x;
		struct fault f = {"", ""};
		enum err e = upstream_index_parse(&x, cases[i].text, strlen(cases[i].text), &f);
		if (e == ERR_OK || strstr(f.detail, cases[i].why) == NULL)
			fail_msg("%s: %s %s", cases[i].text, err_name(e), f.detail);
	}
}

static void test_too_many_versions_are_refused(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct upstream_index x;
	struct fault f = {"", ""};
	struct seen s = {0};
	buf_str(&b, "{\"format\":\"aviary-index-1\",\"model\":\"m\",\"versions\":[0");
	for (int i = 0; i < UPSTREAM_VERSIONS_MAX; i++)
		buf_str(&b, ",0");
	buf_str(&b, "]}");
	assert_int_equal(upstream_index_parse(&x, b.data, b.len, &f), ERR_OK);
	assert_int_equal(upstream_index_each(&x, on_version, &s, &f), ERR_TOO_LARGE);
	buf_done(&b);
}

/* ---- signatures ---- */

static const uint8_t secret[ED25519_KEY_BYTES] = {1, 2, 3};

static char *sign(const char *domain, const char *payload, bool spoil)
{
	uint8_t signature[ED25519_SIGNATURE_BYTES];
	char base[400], mark[120];
	struct buf b = BUF_INIT;
	ed25519_sign(secret, domain, payload, strlen(payload), signature);
	if (spoil)
		signature[5] ^= 1;
	base64_encode(payload, strlen(payload), base);
	base64_encode(signature, sizeof signature, mark);
	buf_printf(&b, "{\"format\":\"aviary-signed-1\",\"x\":{},\"payload\":\"%s\",\"signature\":\"%s\"}", base, mark);
	return buf_take(&b);
}

static bool opens(const char *text, const uint8_t *key, const char *domain, char out[400], const char **why)
{
	size_t len = 0;
	bool ok = upstream_open_signed((struct slice){text, strlen(text)}, key, domain, out, &len, why);
	if (ok)
		out[len] = '\0';
	return ok;
}

static void test_signatures_are_pinned(void **state)
{
	(void)state;
	uint8_t key[ED25519_KEY_BYTES], other[ED25519_KEY_BYTES], wrong[ED25519_KEY_BYTES] = {9};
	char out[1000];
	const char *why;
	ed25519_public(secret, key);
	ed25519_public(wrong, other);
	char *good = sign(UPSTREAM_INDEX_DOMAIN, "{\"a\":1}", false), *bad = sign(UPSTREAM_INDEX_DOMAIN, "{\"a\":1}", true);
	assert_true(upstream_is_signed((struct slice){good, strlen(good)}));
	assert_true(opens(good, key, UPSTREAM_INDEX_DOMAIN, out, &why));
	assert_string_equal(out, "{\"a\":1}");
	assert_false(opens(good, key, UPSTREAM_RECORD_DOMAIN, out, &why)); /* an index is no record */
	assert_false(opens(good, other, UPSTREAM_INDEX_DOMAIN, out, &why));
	assert_non_null(strstr(why, "not by the key"));
	assert_false(opens(bad, key, UPSTREAM_INDEX_DOMAIN, out, &why));
	assert_true(opens(bad, NULL, UPSTREAM_INDEX_DOMAIN, out, &why));
	free(good);
	free(bad);
}

static void test_envelopes_that_are_none_are_refused(void **state)
{
	(void)state;
	uint8_t key[ED25519_KEY_BYTES];
	char out[1000];
	const char *why;
	ed25519_public(secret, key);
	static const char *const cases[] = {
		"", "[]", "{}", "{\"format\":\"aviary-signed-1\"}", "{\"format\":\"aviary-signed-1\",\"payload\":\"!\"}", "{\"format\":\"aviary-signed-1\",\"payload\":7}",
		"{\"format\":\"aviary-signed-1\",\"payload\":\"YQ==\"}", "{\"format\":\"aviary-signed-1\",\"payload\":\"YQ==\",\"signature\":\"YQ==\"}",
		"{\"format\":\"aviary-signed-1\",\"payload\":\"YQ==\",\"payload\":\"Yg==\",\"signature\":\"YQ==\"}", "{\"format\":\"aviary-signed-1\",\"payload\"",
		"{\"payload\":\"YQ==\",\"x\":[}",
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_false(opens(cases[i], key, UPSTREAM_INDEX_DOMAIN, out, &why));
	assert_false(upstream_is_signed((struct slice){"{\"format\":\"aviary-index-1\"}", 27}));
}

static void test_keys_are_read_in_both_forms(void **state)
{
	(void)state;
	uint8_t key[ED25519_KEY_BYTES], want[ED25519_KEY_BYTES];
	char text[64], pem[300], packed[100];
	uint8_t der[44] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
	ed25519_public(secret, want);
	base64_encode(want, sizeof want, text);
	assert_true(upstream_key_parse(text, key));
	assert_memory_equal(key, want, sizeof want);
	memcpy(der + 12, want, sizeof want);
	base64_encode(der, sizeof der, packed);
	snprintf(pem, sizeof pem, "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", packed);
	memset(key, 0, sizeof key);
	assert_true(upstream_key_parse(pem, key));
	assert_memory_equal(key, want, sizeof want);
	snprintf(pem, sizeof pem, "-----BEGIN PUBLIC KEY-----\n%s\n", packed);
	assert_false(upstream_key_parse(pem, key));
	der[8] = 0x71; /* Ed448 */
	base64_encode(der, sizeof der, packed);
	assert_false(upstream_key_parse(packed, key));
	assert_false(upstream_key_parse("", key));
	assert_false(upstream_key_parse("AAAA!", key));
	memset(pem, 'A', sizeof pem - 1);
	pem[sizeof pem - 1] = '\0';
	assert_false(upstream_key_parse(pem, key));
}

/* ---- listings ---- */

static enum err walk(const char *text, struct upstream_listing *l, struct upstream_object *o, unsigned *count, struct fault *f)
{
	*count = 0;
	*f = (struct fault){"", ""};
	upstream_listing_init(l, text, strlen(text));
	for (;;) {
		bool found;
		enum err e = upstream_listing_next(l, o, &found, f);
		if (e != ERR_OK || !found)
			return e;
		(*count)++;
	}
}

static void test_a_listing_is_read(void **state)
{
	(void)state;
	struct upstream_listing l;
	struct upstream_object o;
	struct fault f;
	unsigned count;
	static const char text[] = "<?xml version=\"1.0\"?><!-- c --><ListBucketResult xmlns=\"x\"><Name>b</Name><Empty/><CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>"
		"<IsTruncated>true</IsTruncated><Contents><Key>kws/1.0.0/a&amp;&#233;&#x20AC;&#x1F600;.tflite</Key><Owner><ID>1</ID></Owner><ETag>&quot;ab&quot;</ETag>"
		"<Size>12</Size><Storage/></Contents><NextContinuationToken>t&lt;&gt;&apos;</NextContinuationToken></ListBucketResult>";
	assert_int_equal(walk(text, &l, &o, &count, &f), ERR_OK);
	assert_int_equal(count, 1);
	assert_string_equal(o.key, "kws/1.0.0/a&\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80.tflite");
	assert_string_equal(o.etag, "\"ab\"");
	assert_int_equal(o.size_bytes, 12);
	assert_true(l.is_truncated);
	assert_string_equal(l.token, "t<>'");
	assert_int_equal(walk("<ListBucketResult/>", &l, &o, &count, &f), ERR_OK);
	assert_int_equal(count, 0);
}

static void test_a_hostile_listing_is_refused(void **state)
{
	(void)state;
#define IN(text) "<ListBucketResult>" text "</ListBucketResult>"
#define OBJECT(text) IN("<Contents>" text "</Contents>")
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "no ListBucketResult"}, {"<html></html>", "no ListBucketResult"}, {"</ListBucketResult>", "no ListBucketResult"},
		{"<!DOCTYPE x [<!ENTITY a \"b\">]>" IN(""), "document types"}, {"<ListBucketResult>", "too early"}, {"<ListBucketResult><Contents>", "does not end"},
		{"<ListBucketResult><a>", "too early"}, {"<ListBucketResult></x>", "where it should"}, {IN("<a></b>"), "where it should"}, {"<?x", "document types"},
		{OBJECT("<Key>a</Key>"), "without key or size"}, {OBJECT("<Size>1</Size>"), "without key or size"}, {OBJECT("<Key>a</Key><Size>-1</Size>"), "without key"},
		{OBJECT("<Key>a</Key><Size>99999999999999999999</Size>"), "without key or size"}, {OBJECT("<Key>&evil;</Key>"), "no character"},
		{OBJECT("<Key>&#0;</Key>"), "no character"}, {OBJECT("<Key>&#xD800;</Key>"), "no character"}, {OBJECT("<Key>&#x110000;</Key>"), "no character"},
		{OBJECT("<Key>&#;</Key>"), "no character"}, {OBJECT("<Key>&#12</Key>"), "no character"}, {OBJECT("<Key>&#99999999;</Key>"), "no character"},
		{OBJECT("<Key>\xff</Key>"), "no UTF-8"}, {OBJECT("<Key>a<b></b></Key>"), "where it should"}, {OBJECT("</x>"), "where it should"},
		{OBJECT("<Key>a</Key><x><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></x>"), "too deeply"}, {"<a", "an element is expected"}, {"<>", "an element"},
		{IN("<a<b>"), "name of an element"}, {IN("<IsTruncated>a text that is too long</IsTruncated>"), "too long"}, {OBJECT("<Key>a\n</Key>"), "no character"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct upstream_listing l;
		struct upstream_object o;
		struct fault f;
		unsigned count;
		enum err e = walk(cases[i].text, &l, &o, &count, &f);
		if (e != ERR_INVALID || strstr(f.detail, cases[i].why) == NULL)
			fail_msg("%s: %s %s", cases[i].text, err_name(e), f.detail);
	}
	char name[400];
	memset(name, 'a', sizeof name);
	memcpy(name, "<", 1);
	memcpy(name + 390, ">", 2);
	struct upstream_listing l;
	struct upstream_object o;
	struct fault f;
	unsigned count;
	assert_int_equal(walk(name, &l, &o, &count, &f), ERR_INVALID);
}

static void test_keys_are_split(void **state)
{
	(void)state;
	char version[NAME_BYTES], file[UPSTREAM_FILE_BYTES], longest[400];
	assert_true(upstream_split_key("kws/", "kws/1.0.0/version.json", version, file));
	assert_string_equal(version, "1.0.0");
	assert_string_equal(file, "version.json");
	static const char *const none[] = {"x/1.0.0/a", "kws/1.0.0", "kws/1.0.0/", "kws/1.0.0/a/b", "kws/latest/a", "kws//a"};
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		assert_false(upstream_split_key("kws/", none[i], version, file));
	snprintf(longest, sizeof longest, "1.0.0/%0200d", 0);
	assert_false(upstream_split_key("", longest, version, file));
	snprintf(longest, sizeof longest, "1.0.0-%0100d/a", 1);
	assert_false(upstream_split_key("", longest, version, file));
}

/* ---- addresses ---- */

static void test_addresses_are_joined(void **state)
{
	(void)state;
	static const struct {
		const char *base, *ref, *out; /* NULL: none */
	} cases[] = {
		{"https://h:1/a/b.json?x=1", "c.bin", "https://h:1/a/c.bin"}, {"https://h/a/b", "/c", "https://h/c"}, {"https://h", "c", "https://h/c"},
		{"https://h/a", "//g/c", "https://g/c"}, {"https://h/a/b", "?y", "https://h/a/b?y"}, {"https://h/a", "https://g/c", "https://g/c"},
		{"https://h/a", "http://g/c", NULL}, {"https://h/a", "file:///etc/passwd", NULL}, {"https://h/a", "", NULL}, {"https://h/a", "b c", NULL},
		{"https://h/a", "https://u:p@g/", NULL}, {"https://h/a", "//", NULL}, {"http://h/a", "b", NULL}, {"https://h/a", "javascript:x", NULL},
		{"https://h/a", "HTTPS://g/c", "HTTPS://g/c"}, {"https://h?q/r", "c", "https://h/c"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char out[UPSTREAM_URL_BYTES];
		bool ok = upstream_url_join(cases[i].base, cases[i].ref, out);
		if (ok != (cases[i].out != NULL) || (ok && strcmp(out, cases[i].out) != 0))
			fail_msg("%s + %s = %s", cases[i].base, cases[i].ref, ok ? out : "none");
	}
	char longest[UPSTREAM_URL_BYTES + 8], out[UPSTREAM_URL_BYTES];
	memset(longest, 'a', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_false(upstream_url_join("https://h/", longest, out));
	memcpy(longest, "https://", 8);
	assert_false(upstream_url_is_good(longest));
	assert_false(upstream_url_is_good("https://:1/"));
	assert_false(upstream_url_is_good("https://h/\"x"));
	assert_true(upstream_url_is_good("https://h/@x"));
	assert_true(upstream_url_same_origin("https://h:1/a", "https://H:1/b"));
	assert_false(upstream_url_same_origin("https://h:1/a", "https://h:12/b"));
	assert_false(upstream_url_same_origin("https://h/a", "https://h.evil/b"));
	assert_false(upstream_url_same_origin("x", "x"));
}

/* ---- when ---- */

static void test_the_schedule_is_spread_and_backs_off(void **state)
{
	(void)state;
	int64_t least = INT64_MAX, most = 0, hour = 3600000;
	for (uint64_t r = 0; r < 2000; r++) {
		int64_t wait = upstream_next_ms(1000, hour, 0, 0, r * UINT64_C(0x9e3779b97f4a7c15)) - 1000;
		least = wait < least ? wait : least;
		most = wait > most ? wait : most;
	}
	assert_in_range(least, hour * 9 / 10, hour * 91 / 100);
	assert_in_range(most, hour * 109 / 100, hour * 11 / 10);
	int64_t before = 0;
	for (unsigned n = 1; n < 60; n++) {
		int64_t wait = upstream_next_ms(0, 4 * hour, n, 0, UINT64_MAX);
		assert_true(wait >= before / 2 && wait <= 4 * hour);
		before = wait;
	}
	assert_in_range(upstream_next_ms(0, 4 * hour, 1, 0, 1), 30000, 60000);
	assert_in_range(upstream_next_ms(0, 4 * hour, 60, 0, 1), 2 * hour, 4 * hour);
	assert_in_range(upstream_next_ms(0, 1000, 1, 0, 1), 500, 1000); /* sooner than a minute where it is asked more often */
	assert_in_range(upstream_next_ms(0, 1000, 40, 0, 1), hour / 2, hour);
	assert_int_equal(upstream_next_ms(5, 1000, 1, 50000, 1), 50005);
	assert_int_equal(upstream_next_ms(0, 1000, 1, INT64_MAX, 1), 86400000);
}

/* ---- which ---- */

static int choose(const struct upstream_offer *offers, size_t count, const char *running, bool pre, char *why)
{
	return upstream_choose(offers, count, &(struct upstream_rules){.takes_prereleases = pre, .running = running}, why);
}

static void test_the_newest_version_is_chosen(void **state)
{
	(void)state;
	char why[UPSTREAM_WHY_BYTES];
	struct upstream_offer o[] = {{"1.2.0", UPSTREAM_DONE, false}, {"1.10.0", UPSTREAM_SEEN, false}, {"1.9.0", UPSTREAM_SEEN, false},
		{"2.0.0-rc.1", UPSTREAM_SEEN, false}};
	assert_int_equal(choose(o, 4, NULL, false, why), 1);
	assert_int_equal(choose(o, 4, NULL, true, why), 3);
	assert_int_equal(choose(o, 4, "1.9.9", false, why), 1);
	assert_int_equal(choose(o, 4, "1.10.0", false, why), -1);
	assert_non_null(strstr(why, "devices run"));
	assert_int_equal(choose(o, 4, "1.11.0", true, why), 3);
	o[1].is_withdrawn = true;
	assert_int_equal(choose(o, 4, NULL, false, why), 2);
	o[2].status = UPSTREAM_ROLLING;
	assert_int_equal(choose(o, 4, NULL, true, why), -1);
	assert_non_null(strstr(why, "under way"));
	assert_int_equal(choose(o, 0, NULL, false, why), -1);
	assert_non_null(strstr(why, "no version"));
}

static void test_what_was_taken_back_is_not_taken_again(void **state)
{
	(void)state;
	char why[UPSTREAM_WHY_BYTES];
	struct upstream_offer o[] = {{"1.0.0", UPSTREAM_SEEN, false}, {"1.1.0", UPSTREAM_REVERTED, false}, {"1.2.0", UPSTREAM_SEEN, true}};
	assert_int_equal(choose(o, 3, NULL, false, why), -1);
	assert_non_null(strstr(why, "1.1.0 was reverted"));
	o[1].status = UPSTREAM_REFUSED;
	assert_int_equal(choose(o, 3, NULL, false, why), -1);
	assert_non_null(strstr(why, "1.1.0, the newest, is refused"));
	o[1].is_withdrawn = true; /* going back to what is older is not for a machine to decide */
	assert_int_equal(choose(o, 3, NULL, false, why), -1);
	assert_non_null(strstr(why, "not newer than 1.1.0"));
	o[0].is_withdrawn = true;
	assert_int_equal(choose(o, 3, NULL, false, why), -1);
	assert_non_null(strstr(why, "withdrawn"));
	o[2].is_withdrawn = false;
	assert_int_equal(choose(o, 3, NULL, false, why), 2);
}

/* ---- quality ---- */

static bool holds(const char *fresh, const char *running, double margin, char *why)
{
	static const char *const lower[] = {"eer"};
	struct upstream_quality_rule rule = {.margin = margin, .lower_is_better = lower, .lower_count = 1};
	struct slice a = {fresh, fresh ? strlen(fresh) : 0}, b = {running, running ? strlen(running) : 0};
	return upstream_quality_holds(a, b, &rule, why);
}

static void test_declared_quality_may_not_fall(void **state)
{
	(void)state;
	char why[UPSTREAM_WHY_BYTES];
	assert_true(holds("{\"top1\":0.91}", "{\"top1\":0.9}", 0, why));
	assert_true(holds("{\"top1\":0.9}", "{\"top1\":0.9}", 0, why));
	assert_false(holds("{\"top1\":0.89}", "{\"top1\":0.9}", 0, why));
	assert_string_equal(why, "top1: 0.89 is worse than 0.9, which runs, by more than 0");
	assert_true(holds("{\"top1\":0.9}", "{\"top1\":0.905}", 0.005, why));
	assert_false(holds("{\"top1\":0.899}", "{\"top1\":0.905}", 0.005, why));
	assert_false(holds("{\"latency_ms\":12}", "{\"latency_ms\":10}", 1, why));
	assert_true(holds("{\"latency_ms\":8,\"eer\":0.1,\"val_loss\":1}", "{\"latency_ms\":10,\"eer\":0.2,\"val_loss\":2}", 0, why));
	assert_false(holds("{\"eer\":0.3}", "{\"eer\":0.2}", 0, why));
	assert_false(holds("{\"error\":0.3}", "{\"error\":0.2}", 0, why));
	assert_false(holds("{\"auc\":0.9}", "{\"top1\":0.9}", 0, why));
	assert_non_null(strstr(why, "not told"));
	assert_false(holds(NULL, "{\"top1\":0.9}", 0, why));
	assert_false(holds("{\"top1\":\"high\"}", "{\"top1\":0.9}", 0, why));
	assert_true(holds(NULL, NULL, 0, why));
	assert_true(holds("{\"top1\":0.1}", "{\"evaluated_on\":\"x\"}", 0, why));
	assert_true(holds("{\"top1\":0.1}", "{\"x\":[],\"top1\":0.1}", 0, why));
	assert_true(holds("{\"top1\":0.1}", "[]", 0, why));
	assert_false(holds("{\"top1\":0.95,\"evaluated_on\":\"sha256:2\"}", "{\"top1\":0.9,\"evaluated_on\":\"sha256:1\"}", 0, why));
	assert_non_null(strstr(why, "something else"));
	assert_true(holds("{\"top1\":0.95,\"evaluated_on\":\"sha256:1\"}", "{\"top1\":0.9,\"evaluated_on\":\"sha256:1\"}", 0, why));
}

static void test_names_go_both_ways(void **state)
{
	(void)state;
	for (int i = 0; i < UPSTREAM_FAULT_COUNT; i++) {
		enum upstream_fault f;
		assert_true(upstream_fault_parse(upstream_fault_text((enum upstream_fault)i), &f));
		assert_int_equal(f, i);
	}
	for (int i = 0; i < UPSTREAM_STATUS_COUNT; i++) {
		enum upstream_status s;
		assert_true(upstream_status_parse(upstream_status_text((enum upstream_status)i), &s));
		assert_int_equal(s, i);
		assert_int_equal(upstream_status_is_busy(s), i >= UPSTREAM_FETCHING && i <= UPSTREAM_ROLLING);
	}
	enum upstream_fault f;
	enum upstream_status s;
	assert_false(upstream_fault_parse("x", &f));
	assert_false(upstream_status_parse("x", &s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_record_is_read),
		cmocka_unit_test(test_records_that_are_none_are_refused),
		cmocka_unit_test(test_too_many_artifacts_are_refused),
		cmocka_unit_test(test_a_digest_is_of_what_devices_get),
		cmocka_unit_test(test_an_index_is_walked),
		cmocka_unit_test(test_an_index_that_is_none_is_refused),
		cmocka_unit_test(test_too_many_versions_are_refused),
		cmocka_unit_test(test_signatures_are_pinned),
		cmocka_unit_test(test_envelopes_that_are_none_are_refused),
		cmocka_unit_test(test_keys_are_read_in_both_forms),
		cmocka_unit_test(test_a_listing_is_read),
		cmocka_unit_test(test_a_hostile_listing_is_refused),
		cmocka_unit_test(test_keys_are_split),
		cmocka_unit_test(test_addresses_are_joined),
		cmocka_unit_test(test_the_schedule_is_spread_and_backs_off),
		cmocka_unit_test(test_the_newest_version_is_chosen),
		cmocka_unit_test(test_what_was_taken_back_is_not_taken_again),
		cmocka_unit_test(test_declared_quality_may_not_fall),
		cmocka_unit_test(test_names_go_both_ways),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
