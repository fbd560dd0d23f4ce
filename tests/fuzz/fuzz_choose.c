/* Documents about models: requirements, capabilities, tables of figures, policies; the first byte says which. What was taken
 * reads back equal, a match has a reason for every answer but yes, and a table comes to its end. */
#include <assert.h>
#include <string.h>

#include "core/compat.h"
#include "core/offload_policy.h"
#include "core/profile.h"
#include "fuzz.h"

static struct requirement needs, again;
static struct capabilities has;

static void check_match(void)
{
	struct compat_result why;
	enum compat v = compat_match(&needs, &has, NULL, &why);
	assert(v == compat_match(&needs, &has, NULL, NULL) && (v == COMPAT_YES) == (why.count == 0));
	for (unsigned i = 0; i < why.count; i++) {
		char text[COMPAT_TEXT_BYTES];
		compat_reason_format(&why.reasons[i], &needs, i % 2 ? &has : NULL, text);
		assert(text[0] != '\0');
	}
}

static void try_requirement(const char *text, size_t len)
{
	struct requirement_conflicts conflicts;
	struct buf first = BUF_INIT, second = BUF_INIT;
	struct fault f = {{0}, {0}};
	if (requirement_parse(&needs, text, len, &f) != ERR_OK) {
		assert(f.detail[0] != '\0');
		return;
	}
	requirement_print(&needs, &first);
	enum err e = requirement_parse(&again, buf_cstr(&first), first.len, NULL);
	assert(e == ERR_OK);
	requirement_print(&again, &second);
	assert(strcmp(buf_cstr(&first), buf_cstr(&second)) == 0);
	check_match();
	e = requirement_join(&needs, &again, &conflicts, NULL);
	assert(e == ERR_OK && conflicts.count == 0); /* with itself */
	buf_done(&first);
	buf_done(&second);
}

static void try_capabilities(const char *text, size_t len)
{
	if (capabilities_parse(&has, text, len, NULL) != ERR_OK) assert(has.known == 0);
	assert((has.known & has.malformed) == 0 && has.op_count <= CAPABILITY_OPS_MAX);
	for (unsigned i = 1; i < has.op_count; i++) assert(has.op_key[i - 1] < has.op_key[i]);
	check_match();
}

static void try_table(const char *text, size_t len)
{
	static struct profile_csv c;
	struct profile_row row;
	struct profile_figures figures;
	bool is_end = false;
	if (profile_csv_begin(&c, text, len, NULL) != ERR_OK) return;
	for (size_t rows = 0; !is_end; rows++) {
		assert(rows <= len);
		if (profile_csv_next(&c, &row, &is_end, NULL) != ERR_OK || is_end) continue;
		assert(name_is_name((struct slice){row.hardware, strlen(row.hardware)}));
		assert(name_is_name((struct slice){row.model, strlen(row.model)}));
		profile_row_figures(&row, NULL, &figures);
	}
}

static void try_policy(const char *text, size_t len)
{
	struct offload_policy p, q;
	struct buf out = BUF_INIT;
	if (offload_policy_parse(&p, text, len, NULL) != ERR_OK) return;
	offload_policy_print(&p, &out);
	enum err e = offload_policy_parse(&q, buf_cstr(&out), out.len, NULL);
	assert(e == ERR_OK && strcmp(p.endpoint, q.endpoint) == 0 && p.rule.margin == q.rule.margin && p.rev == q.rev);
	assert(p.rule.unit == q.rule.unit && p.rule.budget == q.rule.budget && p.rule.rssi_least == q.rule.rssi_least && p.rule.rate_least == q.rule.rate_least);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(const char *text, size_t len) = {try_requirement, try_capabilities, try_table, try_policy};
	if (size > 0) tries[data[0] % 4]((const char *)data + 1, size - 1);
	return 0;
}
