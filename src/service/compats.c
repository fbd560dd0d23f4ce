/* Capability classes, and what one device may be given. The release against kinds: compat_view.c. */
#include "service/compats.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "service/compat_inside.h"
#include "service/fleet_index.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/unit.h"
#include "store/capability_store.h"
#include "store/device_store.h"

#define CLASSES_MAX 65536 /* devices choose their words, so there must be an end; those that nobody uses any more make room */
#define TABLE_START 256u
#define VIEWS 4           /* releases on their way at once; others are compiled again */

struct class {
	char *words; /* NULL: a free number */
	uint32_t hash;
};
struct kept_view {
	int64_t release, created_at;
	char name[NAME_BYTES];
	struct compat_view *view; /* NULL: a free place */
	uint64_t used;
};
struct compats {
	struct services *s;
	struct capability_store *store;
	bool allow_unknown;
	struct class *classes; /* by number; [0] is nobody's */
	uint32_t class_count, class_room, in_use;
	uint32_t *slots;       /* numbers by hash of the words; 0: free */
	uint32_t mask;
	bool is_full;          /* was said */
	struct kept_view kept[VIEWS];
	uint64_t uses;
};

const struct compat_options compat_options_default = {.unknown = "refuse"};

static void *must(void *p)
{
	if (p == NULL)
		abort(); /* state is on disk */
	return p;
}

/* ---- words and numbers ---- */

static uint32_t hash_words(const char *words)
{
	uint64_t h = str_hash(words, strlen(words));
	return (uint32_t)(h ^ (h >> 32));
}

static void slots_put(struct compats *x, uint32_t number)
{
	uint32_t at = x->classes[number].hash & x->mask;
	while (x->slots[at] != 0)
		at = (at + 1) & x->mask;
	x->slots[at] = number;
}

static void slots_make(struct compats *x, uint32_t room)
{
	free(x->slots);
	x->slots = must(calloc(room, sizeof *x->slots));
	x->mask = room - 1;
	for (uint32_t i = 1; i < x->class_count; i++)
		if (x->classes[i].words != NULL)
			slots_put(x, i);
}

static uint32_t find_words(const struct compats *x, const char *words)
{
	uint32_t hash = hash_words(words);
	for (uint32_t at = hash & x->mask; x->slots[at] != 0; at = (at + 1) & x->mask) {
		const struct class *k = &x->classes[x->slots[at]];
		if (k->hash == hash && strcmp(k->words, words) == 0)
			return x->slots[at];
	}
	return 0;
}

static void set_class(struct compats *x, uint32_t number, const char *words)
{
	if (number >= x->class_room) {
		uint32_t room = number * 2 + 64;
		x->classes = must(reallocarray(x->classes, room, sizeof *x->classes));
		memset(x->classes + x->class_room, 0, (room - x->class_room) * sizeof *x->classes);
		x->class_room = room;
	}
	if (number >= x->class_count)
		x->class_count = number + 1;
	x->classes[number] = (struct class){must(strdup(words)), hash_words(words)};
	x->in_use++;
	if ((uint64_t)x->in_use * 2 > x->mask)
		slots_make(x, (x->mask + 1) * 2);
	else
		slots_put(x, number);
}

static uint32_t free_number(const struct compats *x)
{
	uint32_t number = 1;
	while (x->in_use + 1 < x->class_count && number < x->class_count && x->classes[number].words != NULL)
		number++;
	return x->in_use + 1 < x->class_count ? number : x->class_count > 0 ? x->class_count : 1;
}

/* Those that no device has any more leave. Should the unit of work be undone in which the last one left, that device is of no class until
 * the next start. */
static enum err collect(struct call *c, struct compats *x)
{
	bool *has_devices = must(calloc(x->class_count + 1, sizeof *has_devices));
	uint32_t at = 0;
	enum err e = ERR_OK;
	for (const struct fleet_kind *k; (k = registry_each_kind(c->s->registry, &at)) != NULL;)
		has_devices[k->class < x->class_count ? k->class : 0] = true;
	for (uint32_t i = 1; i < x->class_count && e == ERR_OK; i++) {
		if (x->classes[i].words == NULL || has_devices[i])
			continue;
		e = capability_store_delete(x->store, i, c->fault);
		free(x->classes[i].words);
		x->classes[i] = (struct class){NULL, 0};
		x->in_use--;
	}
	free(has_devices);
	slots_make(x, x->mask + 1);
	compats_forget(x); /* numbers are used again */
	return e;
}

/* What of a report matters, always in the same order: equal statements are equal words. */
static enum err words_of(struct call *c, const char *capabilities, const char *firmware, struct buf *out)
{
	struct json *root = NULL;
	enum err e = json_parse(capabilities, strlen(capabilities), &root, c->fault);
	if (e != ERR_OK)
		return e;
	json_open_object(out);
	for (int i = 0; i < CAPABILITY_COUNT; i++) {
		const struct json *m = json_get(root, capability_name((enum capability)i));
		if (m == NULL)
			continue;
		json_key(out, capability_name((enum capability)i));
		json_print_canonical(m, out);
	}
	if (firmware != NULL && firmware[0] != '\0')
		json_str(out, "running_firmware", firmware);
	json_close_object(out);
	json_free(root);
	return ERR_OK;
}

enum err compats_class(struct call *c, const char *capabilities, const char *firmware, uint32_t *class)
{
	struct compats *x = c->s->compats;
	struct buf words = BUF_INIT;
	*class = 0;
	if (x == NULL)
		return ERR_OK;
	enum err e = words_of(c, capabilities, firmware, &words);
	bool says_nothing = e == ERR_OK && strcmp(buf_cstr(&words), "{}") == 0;
	if (e == ERR_OK && !says_nothing)
		*class = find_words(x, buf_cstr(&words));
	if (e == ERR_OK && !says_nothing && *class == 0) {
		if (x->in_use >= CLASSES_MAX)
			e = collect(c, x);
		if (x->in_use < CLASSES_MAX) {
			*class = free_number(x);
			set_class(x, *class, buf_cstr(&words));
		} else if (!x->is_full) {
			log_event(LOG_WARN, "compat.classes", "detail=%s max=%d", log_quote("devices report too many different capabilities"), CLASSES_MAX);
			x->is_full = true;
		}
	}
	if (e == ERR_OK && *class != 0) /* also one that is known: its row may have been rolled back */
		e = capability_store_put(x->store, *class, buf_cstr(&words), c->fault);
	buf_done(&words);
	return e;
}

uint32_t compats_known_class(const struct compats *x, int64_t class)
{
	return x != NULL && class > 0 && class < x->class_count && x->classes[class].words != NULL ? (uint32_t)class : 0;
}

const char *compats_words(const struct compats *x, uint32_t class)
{
	return class > 0 && class < x->class_count && x->classes[class].words != NULL ? x->classes[class].words : "{}";
}

bool compats_allow_unknown(const struct compats *x)
{
	return x->allow_unknown;
}

/* ---- opening ---- */

static void load_class(void *ctx, int64_t id, const char *words)
{
	struct compats *x = ctx;
	if (id > 0 && id <= CLASSES_MAX)
		set_class(x, (uint32_t)id, words);
}

static void on_undone(void *ctx)
{
	compats_forget(ctx); /* a release may have been undone, and its number be used again */
}

enum err compats_open(struct services *s, const struct compat_options *options, struct compats **out, struct fault *f)
{
	struct compats *x = must(calloc(1, sizeof *x));
	x->s = s;
	x->allow_unknown = strcmp((options != NULL ? options : &compat_options_default)->unknown, "allow") == 0;
	x->class_count = 1;
	x->class_room = TABLE_START;
	x->classes = must(calloc(x->class_room, sizeof *x->classes));
	slots_make(x, TABLE_START);
	enum err e = capability_store_open(s->db, &x->store, f);
	if (e == ERR_OK)
		e = capability_store_load(x->store, load_class, x, f);
	if (e != ERR_OK) {
		compats_close(x);
		return e;
	}
	units_listen(s->units, (struct unit_listener){NULL, on_undone, on_undone, x});
	*out = x;
	return ERR_OK;
}

void compats_close(struct compats *x)
{
	if (x == NULL)
		return;
	compats_forget(x);
	for (uint32_t i = 0; i < x->class_count; i++)
		free(x->classes[i].words);
	capability_store_close(x->store);
	free(x->classes);
	free(x->slots);
	free(x);
}

struct unclassed {
	struct call *c;
	int64_t device;
	const char *capabilities, *firmware;
};

static void note_unclassed(void *ctx, int64_t device, const char *capabilities, const char *firmware)
{
	struct unclassed *u = ctx;
	*u = (struct unclassed){u->c, device, arena_strdup(u->c->arena, capabilities), arena_strdup(u->c->arena, firmware)};
}

enum err compats_settle(struct call *c)
{
	struct compats *x = c->s->compats;
	struct arena *scratch = arena_new(1 << 20);
	struct call own = *c;
	struct unclassed u = {.c = &own};
	enum err e = ERR_OK;
	own.arena = scratch;
	for (int64_t before = -1; e == ERR_OK && u.device != before;) {
		uint32_t class = 0;
		before = u.device;
		arena_reset(scratch);
		e = capability_store_unclassed(x->store, before, note_unclassed, &u, c->fault);
		if (e == ERR_OK && u.device != before)
			e = compats_class(&own, u.capabilities, u.firmware, &class);
		struct device_state *d = class != 0 ? registry_by_row(c->s->registry, u.device) : NULL;
		bool is_mute = d != NULL && d->is_ddi && strcmp(u.capabilities, "{}") == 0;
		if (e == ERR_OK && d != NULL && !is_mute)
			e = registry_set_class(c, d, class);
	}
	arena_free(scratch);
	return e == ERR_OK ? collect(c, x) : e;
}

/* ---- one device ---- */

void compats_forget(struct compats *x)
{
	for (size_t i = 0; x != NULL && i < VIEWS; i++) {
		compat_view_free(x->kept[i].view);
		x->kept[i] = (struct kept_view){0};
	}
}

/* The release compiled, from the few that are at hand. */
static enum err view_of(struct call *c, int64_t release, struct compat_view **out)
{
	struct compats *x = c->s->compats;
	struct release_row row;
	struct kept_view *oldest = &x->kept[0];
	enum err e = releases_get(c, release, &row);
	if (e != ERR_OK)
		return e;
	for (size_t i = 0; i < VIEWS; i++) {
		struct kept_view *k = &x->kept[i];
		if (k->view != NULL && k->release == release && k->created_at == row.created_at && strcmp(k->name, row.name) == 0) {
			k->used = ++x->uses;
			*out = k->view;
			return ERR_OK;
		}
		oldest = k->used < oldest->used ? k : oldest;
	}
	compat_view_free(oldest->view);
	*oldest = (struct kept_view){.release = release, .created_at = row.created_at, .used = row.is_draft ? 0 : ++x->uses};
	(void)!str_copy(oldest->name, sizeof oldest->name, row.name);
	if (row.is_draft)
		oldest->release = 0; /* its files are taken when it is first sent out */
	e = compat_view_new(c, release, &oldest->view);
	*out = oldest->view;
	return e;
}

enum err compats_may_run(struct call *c, int64_t release, const struct device_state *d, bool *may, const char **why)
{
	struct compat_view *v;
	struct compat_fit *fit;
	*may = true;
	*why = "";
	if (c->s->compats == NULL)
		return ERR_OK;
	enum err e = view_of(c, release, &v);
	if (e == ERR_OK)
		e = compat_view_fit(c, v, d, &fit);
	if (e != ERR_OK || fit->is_eligible)
		return e;
	*may = false;
	return compat_view_why(c, v, d, why);
}

enum err compats_variant(struct call *c, int64_t release, const struct device_state *d, int64_t artifact, enum compat *verdict, const char **why)
{
	struct compat_view *v;
	*verdict = COMPAT_YES;
	if (why != NULL)
		*why = "";
	if (c->s->compats == NULL)
		return ERR_OK;
	enum err e = view_of(c, release, &v);
	return e == ERR_OK ? compat_view_variant(c, v, d, artifact, verdict, why) : e;
}

enum err compats_pick(struct call *c, int64_t release, const struct component_row *component, const struct device_state *d, struct artifact_row *out)
{
	struct compat_view *v;
	int64_t artifact = 0;
	enum err e = ERR_OK;
	if (c->s->compats != NULL)
		e = view_of(c, release, &v);
	if (c->s->compats != NULL && e == ERR_OK)
		e = compat_view_pick(c, v, d, component->version, &artifact);
	if (e == ERR_OK && artifact != 0)
		return catalog_find_artifact(c, artifact, out);
	return e == ERR_OK ? releases_pick_artifact(c, release, component->version, registry_text(c->s->registry, d->hardware), out) : e;
}
