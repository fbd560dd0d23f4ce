/* What the harnesses of the model readers share. */
#ifndef AVIARY_TESTS_MODEL_FUZZ_H
#define AVIARY_TESTS_MODEL_FUZZ_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/model_file.h"
#include "fuzz.h"

static inline struct model_facts *fuzz_facts(void)
{
	static struct model_facts *facts;
	if (facts == NULL && (facts = malloc(sizeof *facts)) == NULL) abort();
	return facts;
}

static inline void fuzz_check(const struct model_facts *facts)
{
	static struct buf json;
	uint64_t uses = 0, macs = 0;
	assert(facts->input_count <= MODEL_IO_MAX && facts->output_count <= MODEL_IO_MAX && facts->op_count <= MODEL_OPS_MAX);
	for (unsigned i = 0; i < facts->op_count; i++) {
		uses += facts->ops[i].count;
		macs += facts->ops[i].macs;
		assert(facts->ops[i].name[0] != '\0' && facts->ops[i].count > 0);
	}
	assert(uses == facts->op_uses && (!facts->has_macs || macs == facts->macs));
	assert(facts->has_arena == (facts->arena_unknown[0] == '\0'));
	assert(!facts->has_arena || (facts->head_bytes % 16 == 0 || facts->head_bytes > 0));
	buf_clear(&json);
	model_facts_json(facts, &json);
	assert(json.len > 2 && json.data[0] == '{' && json.data[json.len - 1] == '}');
}

/* `identifier`: 4 bytes to put at byte 4; NULL: none. */
static inline int fuzz_model(const uint8_t *data, size_t size, const char *identifier)
{
	static void *work;
	struct fault f = {0};
	struct model_facts *facts = fuzz_facts();
	if (work == NULL && (work = malloc(model_work_bytes())) == NULL) abort();
	uint8_t *copy = malloc(size > 0 ? size : 1);
	if (copy == NULL) abort();
	if (size > 0) memcpy(copy, data, size);
	if (identifier != NULL && size >= 8) memcpy(copy + 4, identifier, 4);
	enum err error = model_read(copy, size, work, facts, &f);
	assert(error == ERR_OK || ((error == ERR_INVALID || error == ERR_TOO_LARGE) && strstr(f.detail, " at byte ") != NULL));
	if (error == ERR_OK) fuzz_check(facts);
	free(copy);
	return 0;
}

#endif
