/* Whatever a device sends as /report or /status: texts end, slices lie within the message and are JSON objects. */
#include <assert.h>
#include <string.h>

#include "base/jpull.h"
#include "base/str.h"
#include "core/report.h"
#include "fuzz.h"

static void check_object(struct slice s, const char *text, size_t len)
{
	struct jp p;
	if (s.len == 0) return;
	assert(s.data >= text && s.data + s.len <= text + len);
	jp_init(&p, s.data, s.len);
	bool whole = jp_next(&p) == JP_OBJECT && jp_skip(&p, JP_OBJECT) && jp_next(&p) == JP_END;
	assert(whole);
}

#define CHECK_TEXT(member) assert(memchr(member, '\0', sizeof(member)) != NULL && str_is_utf8(member, strlen(member)))

static void check(const struct device_report *r, const char *text, size_t len)
{
	assert(str_is_boot(r->boot) && r->seq >= 1);
	check_object(r->capabilities, text, len);
	if (r->has_enrol) {
		CHECK_TEXT(r->enrol.token);
		CHECK_TEXT(r->enrol.name);
		assert(str_is_hex(r->enrol.secret_sha256, 64) && str_is_name(r->enrol.hardware));
		check_object(r->enrol.attributes, text, len);
		assert(r->enrol.tag_count <= REPORT_TAGS);
		for (unsigned i = 0; i < r->enrol.tag_count; i++) assert(str_is_name(r->enrol.tags[i]));
	}
	if (r->has_running) {
		check_object(r->running.text, text, len);
		assert(r->running.model_count <= REPORT_MODELS);
		for (unsigned i = 0; i < r->running.model_count; i++) {
			assert(str_is_name(r->running.models[i].name));
			CHECK_TEXT(r->running.models[i].version);
		}
	}
	if (r->has_deployment) {
		assert(str_is_name(r->deployment.id) && r->deployment.state < REPORT_STATE_COUNT);
		assert(r->deployment.attempt >= 1 && r->deployment.progress >= -1 && r->deployment.progress <= 100);
		CHECK_TEXT(r->deployment.reason);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct device_report r;
	struct device_status s;
	struct fault f = {{0}, {0}};
	const char *text = (const char *)data;
	enum err e = report_parse(&r, text, size, &f);
	if (e == ERR_OK) check(&r, text, size);
	else assert(f.detail[0] != '\0' && str_is_utf8(f.pointer, strlen(f.pointer)));
	if (status_parse(&s, text, size, NULL) == ERR_OK) assert(s.boot[0] == '\0' || str_is_boot(s.boot));
	return 0;
}
