/* aviaryctl model inspect: what a model file says about itself, without a server. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/model_file.h"
#include "file.h"
#include "model.h"
#include "output.h"
#include "rest.h"

struct window {
	int fd;
	uint64_t size;
	void *bytes; /* NULL of an empty file */
};

static enum result window_open(struct window *w, const char *path)
{
	w->fd = -1;
	w->bytes = NULL;
	enum result result = strcmp(path, "-") == 0 ? file_spool_stdin(&w->fd, &w->size) : file_open(path, &w->fd, &w->size);
	if (result != RESULT_OK || w->size == 0) return result;
	void *bytes = mmap(NULL, w->size, PROT_READ, MAP_PRIVATE, w->fd, 0);
	if (bytes == MAP_FAILED) return complain(RESULT_LOCAL, "%s: %s", path, strerror(errno));
	w->bytes = bytes;
	return RESULT_OK;
}

static void window_close(struct window *w)
{
	if (w->bytes != NULL) munmap(w->bytes, w->size);
	if (w->fd >= 0) close(w->fd);
}

static void print_label(const char *label)
{
	printf("%-13s ", label);
}

static void print_number(const char *label, bool is_known, uint64_t value, const char *unit, const char *otherwise)
{
	print_label(label);
	if (is_known)
		printf("%" PRIu64 "%s\n", value, unit);
	else
		printf("unknown%s%s\n", otherwise[0] != '\0' ? ": " : "", otherwise);
}

static void print_shape(const struct model_io *io)
{
	printf("[");
	for (unsigned d = 0; d < io->rank; d++) {
		printf("%s", d > 0 ? ", " : "");
		if (io->dims[d] != MODEL_DIM_OPEN)
			printf("%" PRId64, io->dims[d]);
		else
			print_clean(io->symbols[d][0] != '\0' ? io->symbols[d] : "?", 0);
	}
	printf("]");
}

static void print_ios(const char *label, const struct model_io *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct model_io *io = &list[i];
		print_label(i == 0 ? label : "");
		print_clean(io->name[0] != '\0' ? io->name : "(no name)", 0);
		printf("  %s ", model_type_name(io->type));
		if (io->has_shape)
			print_shape(io);
		else
			printf("of any shape");
		if (io->quantisation.count == 1)
			printf("  scale %g zero %" PRId64, io->quantisation.scale, io->quantisation.zero);
		if (io->quantisation.count > 1)
			printf("  %u scales along axis %d", io->quantisation.count, io->quantisation.axis);
		printf("\n");
	}
}

static void print_ops(const struct model_facts *facts)
{
	for (unsigned i = 0; i < facts->op_count; i++) {
		const struct model_op *op = &facts->ops[i];
		print_label(i == 0 ? "operators" : "");
		printf("%u x ", op->count);
		if (op->domain[0] != '\0') {
			print_clean(op->domain, 0);
			printf(".");
		}
		print_clean(op->name, 0);
		printf("@%" PRId64, op->version);
		if (op->custom) printf("  custom");
		if (op->has_macs) printf("  %" PRIu64 " MACs", op->macs);
		printf("\n");
	}
}

static void print_facts(const char *path, const struct model_facts *facts)
{
	print_label("file");
	print_clean(path, 0);
	printf("\n");
	print_label("format");
	printf("%s\n", model_format_name(facts->format));
	print_number("size", true, facts->file_bytes, " bytes", "");
	if (facts->format == MODEL_FORMAT_OPAQUE || facts->format == MODEL_FORMAT_EXECUTORCH) {
		print_label("");
		printf("its contents are not read: what it needs must be declared\n");
		return;
	}
	print_ios("inputs", facts->inputs, facts->input_count);
	print_ios("outputs", facts->outputs, facts->output_count);
	print_ops(facts);
	print_number("constants", true, facts->constant_bytes, " bytes", "");
	if (facts->format != MODEL_FORMAT_TFLITE) return;
	print_number("arena head", facts->has_arena, facts->head_bytes, " bytes", facts->arena_unknown);
	print_number("arena", facts->has_arena, facts->arena_bytes, " bytes at most (estimated)", "");
	print_number("MACs", facts->has_macs, facts->macs, "", "an operator's cannot be told");
	if (facts->hybrid) {
		print_label("hybrid");
		printf("float activations with integer filters, at %s\n", facts->hybrid_at);
	}
}

static enum result inspect(struct ctl *c, const char *path, const struct window *w, struct model_facts *facts, void *work)
{
	static const uint8_t nothing[1];
	struct fault f = {0};
	const char *declared = option_text(c, "declared");
	const uint8_t *bytes = w->bytes != NULL ? w->bytes : nothing;
	enum model_format format = model_detect(bytes, w->size);
	if (declared != NULL && model_check_declared(declared, format, &f) != ERR_OK)
		return complain(RESULT_LOCAL, "%s: %s", path, f.detail);
	if (model_read(bytes, w->size, work, facts, &f) != ERR_OK)
		return complain(RESULT_LOCAL, "%s: %s: %s", path, model_format_name(facts->format), f.detail);
	if (c->settings.json) {
		struct buf out = BUF_INIT;
		model_facts_json(facts, &out);
		printf("%s\n", buf_cstr(&out));
		buf_done(&out);
	} else {
		print_facts(path, facts);
	}
	return output_flush(RESULT_OK);
}

enum result model_inspect(struct ctl *c)
{
	struct window w;
	struct model_facts *facts = malloc(sizeof *facts);
	void *work = malloc(model_work_bytes());
	if (facts == NULL || work == NULL) abort();
	enum result result = window_open(&w, c->words[0]);
	if (result == RESULT_OK) result = inspect(c, c->words[0], &w, facts, work);
	window_close(&w);
	free(work);
	free(facts);
	return result;
}
