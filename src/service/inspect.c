#include "service/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "core/requirement.h"
#include "service/catalog.h"
#include "service/offload.h"
#include "service/unit.h"

#define QUALITY_MAX 32      /* members */
#define FORMAT_NAME_MAX 15  /* of struct requirement */

static void *must(void *p)
{
	if (p == NULL)
		abort(); /* state is on disk */
	return p;
}

const char *facts_state_text(enum facts_state s)
{
	static const char *const texts[] = {
#define X(name, text) text,
		FACTS_STATE_TABLE(X)
#undef X
	};
	return texts[s];
}

/* ---- what a publisher declares ---- */

static enum err check_quality(const struct json *quality, struct fault *f)
{
	if (json_type(quality) != JSON_OBJECT || json_count(quality) > QUALITY_MAX)
		return fault_set(f, ERR_INVALID, "/declared/quality", "an object of at most %d members is expected", QUALITY_MAX);
	for (const struct json *m = json_first(quality); m != NULL; m = json_next(m)) {
		char pointer[96];
		snprintf(pointer, sizeof pointer, "/declared/quality/%.64s", json_name(m));
		bool is_number = json_type(m) == JSON_NUMBER, is_text = json_type(m) == JSON_STRING;
		if (!str_is_metric(json_name(m), strlen(json_name(m))))
			return fault_set(f, ERR_INVALID, pointer, "a name of a metric is expected");
		if (!is_number && (!is_text || strlen(json_text(m)) > 128))
			return fault_set(f, ERR_INVALID, pointer, "a number, or a text of at most 128 bytes, is expected");
	}
	return ERR_OK;
}

static enum err check_requires(const struct json *requires, struct fault *f)
{
	struct requirement *r = must(malloc(sizeof *r));
	struct buf text = BUF_INIT;
	json_print(requires, &text);
	enum err e = requirement_parse(r, text.data, text.len, f);
	if (e != ERR_OK) {
		fault_prefix(f, "/declared/requires");
		e = ERR_INVALID;
	}
	buf_done(&text);
	free(r);
	return e;
}

static enum err check_format(const struct json *format, struct fault *f)
{
	const char *text = json_text(format);
	if (text == NULL || !str_is_name(text) || strlen(text) > FORMAT_NAME_MAX)
		return fault_set(f, ERR_INVALID, "/declared/format", "a name of at most %d characters is expected, as tflite, onnx, executorch", FORMAT_NAME_MAX);
	return ERR_OK;
}

static enum err check_members(const struct json *root, struct fault *f)
{
	static const struct {
		const char *name;
		enum err (*check)(const struct json *value, struct fault *f);
	} members[] = {{"format", check_format}, {"requires", check_requires}, {"quality", check_quality}};
	for (const struct json *m = json_first(root); m != NULL; m = json_next(m)) {
		char pointer[96];
		size_t at = 0;
		while (at < sizeof members / sizeof *members && strcmp(members[at].name, json_name(m)) != 0)
			at++;
		snprintf(pointer, sizeof pointer, "/declared/%.64s", json_name(m));
		if (at == sizeof members / sizeof *members)
			return fault_set(f, ERR_INVALID, pointer, "unknown member: format, requires and quality may be declared");
		enum err e = members[at].check(m, f);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

enum err inspect_check_declared(const char *text, struct arena *a, const char **canonical, struct fault *f)
{
	struct json *root = NULL;
	struct buf b = BUF_INIT;
	*canonical = NULL;
	if (text == NULL)
		return ERR_OK;
	enum err e = json_parse(text, strlen(text), &root, f);
	if (e == ERR_OK && json_type(root) != JSON_OBJECT)
		e = fault_set(f, ERR_INVALID, "/declared", "an object is expected");
	if (e == ERR_OK)
		e = check_members(root, f);
	if (e == ERR_OK && json_count(root) > 0) {
		json_print_canonical(root, &b);
		*canonical = arena_strdup(a, buf_cstr(&b));
	}
	buf_done(&b);
	json_free(root);
	return e;
}

/* ---- reading ---- */

struct inspection *inspection_new(const char *declared, bool is_firmware)
{
	struct inspection *i = must(calloc(1, sizeof *i));
	i->declared = declared != NULL ? must(strdup(declared)) : NULL;
	i->is_firmware = is_firmware;
	i->state = FACTS_READING;
	return i;
}

void inspection_free(struct inspection *i)
{
	if (i == NULL)
		return;
	free(i->declared);
	free(i->facts);
	free(i->summary);
	free(i->requires);
	free(i);
}

static void refuse(struct inspection *i, const char *prefix, const char *detail)
{
	i->state = FACTS_REFUSED;
	snprintf(i->error, sizeof i->error, "%s%s%s", prefix, prefix[0] != '\0' ? ": " : "", detail);
}

static void put_known(struct buf *b, const char *key, bool is_known, uint64_t value)
{
	if (is_known)
		json_int(b, key, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

static void put_inputs(struct buf *b, const struct requirement *derived)
{
	json_key(b, "inputs");
	json_open_array(b);
	for (unsigned k = 0; k < derived->input_count; k++) {
		char text[REQUIREMENT_INPUT_BYTES];
		requirement_input_format(&derived->inputs[k], text);
		json_put_str(b, text);
	}
	json_close_array(b);
}

/* What lists show. `conflicts`: where the file and the publisher disagree. */
static char *summary_of(const struct model_facts *facts, const struct requirement *derived, const struct requirement_conflicts *conflicts)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "format", model_format_name(facts->format));
	if (facts->op_count > 0)
		json_int(&b, "operators", facts->op_count);
	put_known(&b, "head_bytes", facts->has_arena, facts->head_bytes);
	put_known(&b, "arena_bytes", facts->has_arena, facts->arena_bytes);
	put_known(&b, "macs", facts->has_macs, facts->macs);
	if (facts->format == MODEL_FORMAT_TFLITE)
		json_bool(&b, "hybrid", facts->hybrid);
	if (derived->input_count > 0)
		put_inputs(&b, derived);
	if (facts->custom_count > 0) {
		json_key(&b, "custom_operators");
		json_open_array(&b);
		for (unsigned k = 0; k < facts->op_count; k++)
			if (facts->ops[k].custom)
				json_put_str(&b, facts->ops[k].name);
		json_close_array(&b);
	}
	if (conflicts->count > 0) {
		json_key(&b, "conflicts");
		json_open_array(&b);
		for (unsigned k = 0; k < conflicts->count; k++) {
			char text[256];
			snprintf(text, sizeof text, "%s: %s", conflicts->rows[k].member, conflicts->rows[k].text);
			json_put_str(&b, text);
		}
		json_close_array(&b);
	}
	json_close_object(&b);
	return buf_take(&b);
}

/* A file with more inputs than are compared: the pipeline's feeds are not asked for. */
static enum err derive(struct requirement *r, struct model_facts *facts, struct fault *f)
{
	unsigned inputs = facts->input_count;
	if (inputs > REQUIREMENT_INPUTS)
		facts->input_count = 0;
	enum err e = requirement_from_model(r, facts, f);
	facts->input_count = inputs;
	return e;
}

struct sides {
	struct requirement derived, joined, declared;
	struct requirement_conflicts conflicts;
};

static enum err read_declared(const struct inspection *i, struct sides *s, char format[FORMAT_NAME_MAX + 1], bool *has_requires, struct fault *f)
{
	struct json *root = NULL;
	struct buf text = BUF_INIT;
	*has_requires = false;
	format[0] = '\0';
	enum err e = i->declared != NULL ? json_parse(i->declared, strlen(i->declared), &root, f) : ERR_OK;
	const struct json *requires = e == ERR_OK ? json_get(root, "requires") : NULL, *said = e == ERR_OK ? json_get(root, "format") : NULL;
	if (said != NULL)
		snprintf(format, FORMAT_NAME_MAX + 1, "%s", json_text(said));
	if (requires != NULL) {
		json_print(requires, &text);
		e = requirement_parse(&s->declared, text.data, text.len, f);
		*has_requires = e == ERR_OK;
	}
	buf_done(&text);
	json_free(root);
	return e;
}

/* Joins both sides into the requirement. Of firmware, and of what is not read, only what was declared counts. */
static enum err settle(struct inspection *i, struct sides *s, struct model_facts *facts, bool has_requires, struct fault *f)
{
	struct buf text = BUF_INIT;
	bool is_derived = i->state == FACTS_READ || (has_requires && !i->is_firmware); /* of an opaque one: its size */
	enum err e = ERR_OK;
	if (is_derived)
		s->joined = s->derived;
	else if (has_requires)
		s->joined = s->declared;
	if (is_derived && has_requires)
		e = requirement_join(&s->joined, &s->declared, &s->conflicts, f);
	for (unsigned k = 0; e == ERR_OK && k < s->conflicts.count; k++)
		if (s->conflicts.rows[k].is_contradiction)
			e = fault_set(f, ERR_INVALID, "", "declared requirement %s: %s", s->conflicts.rows[k].member, s->conflicts.rows[k].text);
	if (e == ERR_OK && (is_derived || has_requires)) {
		requirement_print(&s->joined, &text);
		i->requires = buf_take(&text);
	}
	if (e == ERR_OK)
		i->summary = summary_of(facts, &s->derived, &s->conflicts);
	return e;
}

static void read_into(struct inspection *i, const uint8_t *data, size_t size, void *work, struct model_facts *facts, struct sides *s)
{
	struct fault f = {"", ""};
	char format[FORMAT_NAME_MAX + 1];
	bool has_requires = false;
	struct buf text = BUF_INIT;
	enum err e = read_declared(i, s, format, &has_requires, &f);
	if (e == ERR_OK && format[0] != '\0')
		e = model_check_declared(format, model_detect(data, size), &f);
	if (e != ERR_OK) {
		refuse(i, "", f.detail);
		return;
	}
	e = model_read(data, size, work, facts, &f);
	if (e != ERR_OK && i->is_firmware && format[0] == '\0') { /* it only begins like a model */
		memset(facts, 0, sizeof *facts);
		facts->format = MODEL_FORMAT_OPAQUE;
		e = ERR_OK;
	}
	if (e == ERR_OK)
		e = derive(&s->derived, facts, &f);
	if (e != ERR_OK) {
		refuse(i, model_format_name(facts->format), f.detail);
		return;
	}
	facts->file_bytes = size;
	i->state = i->is_firmware || facts->format == MODEL_FORMAT_OPAQUE ? FACTS_OPAQUE : FACTS_READ;
	e = settle(i, s, facts, has_requires, &f);
	if (e != ERR_OK) {
		refuse(i, "", f.detail);
		return;
	}
	model_facts_json(facts, &text);
	i->facts = buf_take(&text);
}

void inspection_read(struct inspection *i, const void *data, size_t size)
{
	struct model_facts *facts = must(calloc(1, sizeof *facts));
	void *work = must(malloc(model_work_bytes()));
	struct sides *s = must(calloc(1, sizeof *s));
	requirement_init(&s->derived);
	requirement_init(&s->joined);
	requirement_init(&s->declared);
	read_into(i, data, size, work, facts, s);
	free(s);
	free(work);
	free(facts);
}

void inspection_run(struct inspection *i, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > 0) {
		void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (bytes != MAP_FAILED) {
			inspection_read(i, bytes, (size_t)st.st_size);
			munmap(bytes, (size_t)st.st_size);
		}
	}
	close(fd);
}

/* ---- what was not read at its upload ---- */

#define TURN_ARENA_BYTES (1 << 20)

struct reading {
	struct services *s;
	int64_t artifact, now_ms;
	char *path;
	struct inspection *found;
};

static void reading_run(void *arg)
{
	struct reading *r = arg;
	inspection_run(r->found, r->path);
	if (r->found->state == FACTS_READING) /* its file is gone, or cannot be mapped: nothing is known of it */
		refuse(r->found, "", "its content cannot be read");
}

static enum err note(struct call *c, const struct reading *r)
{
	struct artifact_row row;
	enum err e = catalog_find_artifact(c, r->artifact, &row);
	if (e != ERR_OK || strcmp(row.facts_state, facts_state_text(FACTS_READING)) != 0)
		return e == ERR_NOT_FOUND ? ERR_OK : e; /* deleted meanwhile, or uploaded again */
	return catalog_note_facts(c, &row, r->found);
}

static void reading_done(void *arg)
{
	struct reading *r = arg;
	struct services *s = r->s;
	struct fault f = {"", ""};
	struct call c = {.s = s, .arena = arena_new(TURN_ARENA_BYTES), .fault = &f, .who = &principal_server, .now_ms = r->now_ms};
	catalog_inspect_turn(s->catalog)->is_busy = false;
	enum err e = unit_begin(s, &f);
	if (e == ERR_OK)
		(void)!unit_end(s, note(&c, r), &f); /* what was not written is read again after the next start */
	arena_free(c.arena);
	inspection_free(r->found);
	free(r->path);
	free(r);
}

void inspect_tick(struct call *c)
{
	struct inspect_turn *turn = catalog_inspect_turn(c->s->catalog);
	struct artifact_row row;
	int64_t id = 0;
	if (turn->is_busy || turn->is_over)
		return;
	enum err e = catalog_store_unread(catalog_rows(c->s->catalog), turn->after, &id, c->fault);
	if (e == ERR_OK && id != 0)
		e = catalog_find_artifact(c, id, &row);
	if (e != ERR_OK || id == 0) {
		turn->is_over = e == ERR_OK;
		turn->after = 0;
		return;
	}
	struct reading *r = must(calloc(1, sizeof *r));
	*r = (struct reading){.s = c->s, .artifact = id, .now_ms = c->now_ms, .path = must(strdup(catalog_blob_path(c, row.sha256))),
		.found = inspection_new(row.declared, strcmp(row.model_kind, "firmware") == 0)};
	turn->is_busy = true;
	turn->after = id;
	if (offload_submit(c->s->offload, reading_run, reading_done, r) == ERR_OK)
		return;
	turn->is_busy = false;
	turn->after = id - 1;
	inspection_free(r->found);
	free(r->path);
	free(r);
}
