#include "service/commands.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "service/access.h"
#include "service/groups.h"
#include "service/health.h"
#include "service/registry.h"
#include "service/timebox.h"
#include "service/unit.h"
#include "store/command_store.h"

#define ARENA_BYTES (16u << 20)
#define PAGE 500
#define WRITES_MAX 200   /* rows a tick changes of each kind */
#define WALK_MAX 10000   /* errands a tick looks at */
#define SCAN_NS (TIMEBOX_NS / 2)
#define PARAMS_MAX 768   /* with the rest of the message within COMMAND_BYTES */
#define KEEP_MS ((int64_t)7 * 86400000)
#define RETAIN_EVERY_MS 1000
#define RETAIN_ROWS 250

/* One open errand in memory. Numbers of errands are places in `pool`, 0 is none. */
struct errand {
	int64_t command, device; /* device row; 0: a free place */
	int64_t deadline_ms, next_ms;
	uint32_t next;           /* of the same device, or the next free place */
	uint8_t state;           /* as in the row: queued or sent */
	bool is_ready;           /* in the queue to the broker */
	bool is_delivered;       /* the broker has it, and the row does not say so */
};
/* A command whose devices are being found and told. Lost at a restart: it begins anew and passes over the errands that are there. */
struct spreading {
	struct command_row row; /* texts are not kept */
	char *filter;
	struct registry_scan *scan;
	int64_t *devices;
	size_t count, room, at;
	double tokens;
	int64_t last_ms;
	bool is_found;
};
struct commands {
	struct services *s;
	struct command_store *store;
	struct arena *arena;
	struct errand *pool;
	uint32_t pool_used, pool_room, free, walk_at;
	int64_t open;
	uint32_t *heads; /* by device_state.index */
	uint32_t heads_room;
	uint32_t *ready;
	size_t ready_head, ready_tail, ready_room, delivered;
	struct spreading spreading[COMMAND_SPREADING_MAX];
	size_t spreading_count;
	uint64_t touched;  /* the newest unit with our changes since the last commit; 0: none */
	bool is_stale;     /* memory may differ from the rows: read again */
	int64_t retain_at_ms;
};

static void *grown(void *p, size_t count, size_t bytes)
{
	p = reallocarray(p, count, bytes);
	if (p == NULL)
		abort();
	return p;
}

/* ---- errands in memory ---- */

static uint32_t *head_of(struct commands *k, const struct device_state *d)
{
	if (d->index >= k->heads_room) {
		uint32_t room = d->index + d->index / 2 + 64;
		k->heads = grown(k->heads, room, sizeof *k->heads);
		memset(k->heads + k->heads_room, 0, (room - k->heads_room) * sizeof *k->heads);
		k->heads_room = room;
	}
	return &k->heads[d->index];
}

static uint32_t take_place(struct commands *k)
{
	uint32_t at = k->free;
	if (at != 0) {
		k->free = k->pool[at].next;
		return at;
	}
	if (k->pool_used + 1 >= k->pool_room) {
		k->pool_room = k->pool_room > 0 ? k->pool_room * 2 : 64;
		k->pool = grown(k->pool, k->pool_room, sizeof *k->pool);
	}
	return ++k->pool_used;
}

static uint32_t keep(struct commands *k, const struct device_state *d, const struct errand_row *row)
{
	uint32_t at = take_place(k), *head = head_of(k, d);
	k->pool[at] = (struct errand){.command = row->command, .device = row->device, .deadline_ms = row->deadline_at,
	                              .next = *head, .state = (uint8_t)row->state};
	*head = at;
	k->open++;
	return at;
}

static void release(struct commands *k, const struct device_state *d, uint32_t at)
{
	for (uint32_t *link = head_of(k, d); *link != 0; link = &k->pool[*link].next) {
		if (*link != at)
			continue;
		*link = k->pool[at].next;
		break;
	}
	k->delivered -= k->pool[at].is_delivered;
	k->pool[at] = (struct errand){.next = k->free};
	k->free = at;
	k->open--;
}

static uint32_t find(struct commands *k, const struct device_state *d, int64_t command)
{
	uint32_t at = d != NULL ? *head_of(k, d) : 0;
	while (at != 0 && k->pool[at].command != command)
		at = k->pool[at].next;
	return at;
}

static size_t open_of(struct commands *k, const struct device_state *d)
{
	size_t count = 0;
	for (uint32_t at = *head_of(k, d); at != 0; at = k->pool[at].next)
		count++;
	return count;
}

static void make_ready(struct commands *k, uint32_t at)
{
	if (k->pool[at].is_ready)
		return;
	if (k->ready_tail == k->ready_room && k->ready_head > k->ready_room / 2) {
		memmove(k->ready, k->ready + k->ready_head, (k->ready_tail - k->ready_head) * sizeof *k->ready);
		k->ready_tail -= k->ready_head;
		k->ready_head = 0;
	}
	if (k->ready_tail == k->ready_room) {
		k->ready_room = k->ready_room > 0 ? k->ready_room * 2 : 64;
		k->ready = grown(k->ready, k->ready_room, sizeof *k->ready);
	}
	k->pool[at].is_ready = true;
	k->ready[k->ready_tail++] = at;
}

static void touch(struct commands *k)
{
	k->touched = unit_newest(k->s);
}

/* ---- opening ---- */

static void drop_spreading(struct spreading *x)
{
	registry_scan_free(x->scan);
	free(x->devices);
	free(x->filter);
}

static void forget_all(struct commands *k)
{
	for (size_t i = 0; i < k->spreading_count; i++)
		drop_spreading(&k->spreading[i]);
	k->spreading_count = 0;
	k->pool_used = k->free = k->walk_at = 0;
	k->open = 0;
	k->ready_head = k->ready_tail = k->delivered = 0;
	if (k->heads != NULL)
		memset(k->heads, 0, k->heads_room * sizeof *k->heads);
}

static void begin_spreading(struct commands *k, const struct command_row *row, int64_t now_ms)
{
	struct spreading *x = &k->spreading[k->spreading_count++];
	*x = (struct spreading){.row = *row, .filter = strdup(row->filter), .last_ms = now_ms};
	if (x->filter == NULL)
		abort();
	x->row.kind = x->row.params = x->row.filter = x->row.created_by = x->row.device_id = NULL;
}

static enum err load_errands(struct commands *k, struct fault *f)
{
	int64_t command = 0, device = 0;
	for (;;) {
		struct errand_row *rows;
		size_t count;
		arena_reset(k->arena);
		enum err e = errand_open_page(k->store, command, device, PAGE, k->arena, &rows, &count, f);
		if (e != ERR_OK || count == 0)
			return e;
		for (size_t i = 0; i < count; i++) {
			const struct device_state *d = registry_by_row(k->s->registry, rows[i].device);
			if (d != NULL)
				keep(k, d, &rows[i]);
		}
		command = rows[count - 1].command;
		device = rows[count - 1].device;
	}
}

static enum err load(struct commands *k, int64_t now_ms, struct fault *f)
{
	struct command_row *rows;
	size_t count = 0;
	forget_all(k);
	enum err e = load_errands(k, f);
	arena_reset(k->arena);
	if (e == ERR_OK)
		e = command_spreading(k->store, COMMAND_SPREADING_MAX, k->arena, &rows, &count, f);
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		begin_spreading(k, &rows[i], now_ms);
	k->is_stale = e != ERR_OK;
	return e;
}

static void on_committed(void *ctx)
{
	((struct commands *)ctx)->touched = 0;
}

static void on_undone(void *ctx)
{
	struct commands *k = ctx;
	if (k->touched != 0 && unit_undone_from(k->s) <= k->touched)
		k->is_stale = true;
}

static void on_lost(void *ctx)
{
	struct commands *k = ctx;
	k->is_stale = k->is_stale || k->touched != 0;
	k->touched = 0;
}

enum err commands_open(struct services *s, struct commands **out, struct fault *f)
{
	struct commands *k = calloc(1, sizeof *k);
	if (k == NULL)
		abort();
	k->s = s;
	k->arena = arena_new(ARENA_BYTES);
	enum err e = command_store_open(s->db, &k->store, f);
	if (e == ERR_OK)
		e = load(k, 0, f);
	if (e != ERR_OK) {
		commands_close(k);
		k = NULL;
	} else {
		units_listen(s->units, (struct unit_listener){on_committed, on_undone, on_lost, k});
	}
	*out = k;
	return e;
}

void commands_close(struct commands *k)
{
	if (k == NULL)
		return;
	forget_all(k);
	command_store_close(k->store);
	arena_free(k->arena);
	free(k->pool);
	free(k->heads);
	free(k->ready);
	free(k);
}

int64_t commands_open_count(const struct commands *k)
{
	return k->open;
}

bool commands_is_spreading(const struct commands *k, int64_t health_check)
{
	for (size_t i = 0; i < k->spreading_count; i++) {
		if (k->spreading[i].row.health_check == health_check)
			return true;
	}
	return false;
}

/* ---- one errand's life ---- */

static const char *detail_json(struct call *c, const char *detail)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "detail", detail);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

/* A new errand, in its row and in memory. One too many of a device fails at once. */
static enum err add(struct call *c, struct commands *k, int64_t command, int64_t timeout_ms, struct device_state *d, bool *is_new)
{
	struct errand_row row = {.command = command, .device = d->row, .state = COMMAND_QUEUED, .created_at = c->now_ms,
	                         .deadline_at = c->now_ms + timeout_ms};
	if (open_of(k, d) >= COMMAND_DEVICE_MAX) {
		row.state = COMMAND_FAILED;
		row.ended_at = c->now_ms;
		row.answer = detail_json(c, "too many commands wait for this device");
	}
	enum err e = errand_insert(k->store, &row, is_new, c->fault);
	if (e != ERR_OK || !*is_new)
		return e;
	touch(k);
	e = command_move(k->store, command, COMMAND_STATE_COUNT, row.state, c->fault);
	if (e != ERR_OK || row.state != COMMAND_QUEUED)
		return e;
	uint32_t at = keep(k, d, &row);
	k->pool[at].next_ms = c->now_ms + COMMAND_RETRY_MS;
	if (d->online)
		make_ready(k, at);
	return ERR_OK;
}

/* The row's next state; a final one leaves memory. */
static enum err move(struct call *c, struct commands *k, struct device_state *d, uint32_t at, enum command_state to, const char *answer)
{
	const struct errand *x = &k->pool[at];
	struct errand_row row;
	bool found;
	enum err e = errand_get(k->store, x->command, x->device, c->arena, &row, &found, c->fault);
	if (e != ERR_OK)
		return e;
	enum command_state from = (enum command_state)x->state;
	row.state = to;
	row.sent_at = row.sent_at == 0 && (to == COMMAND_SENT || x->is_delivered) ? c->now_ms : row.sent_at;
	row.ended_at = command_state_is_final(to) ? c->now_ms : 0;
	row.answer = answer;
	touch(k);
	if (found)
		e = errand_update(k->store, &row, c->fault);
	if (e == ERR_OK && found)
		e = command_move(k->store, x->command, from, to, c->fault);
	if (e != ERR_OK)
		return e;
	if (command_state_is_final(to))
		release(k, d, at);
	else
		k->pool[at].state = (uint8_t)to;
	return ERR_OK;
}

/* ---- operators: making ---- */

static enum err check_params(struct call *c, const struct command_spec *spec, enum command_kind kind)
{
	struct json *root = NULL;
	enum command_check check;
	if (spec->params == NULL)
		return kind == COMMAND_CHECK ? fault_set(c->fault, ERR_INVALID, "/params/check", "a check is wanted") : ERR_OK;
	if (strlen(spec->params) > PARAMS_MAX)
		return fault_set(c->fault, ERR_INVALID, "/params", "at most %d bytes", PARAMS_MAX);
	enum err e = json_parse(spec->params, strlen(spec->params), &root, c->fault);
	const char *name = e == ERR_OK ? json_text(json_get(root, "check")) : NULL;
	if (e == ERR_OK && kind == COMMAND_CHECK && (name == NULL || !command_check_of(name, &check)))
		e = fault_set(c->fault, ERR_INVALID, "/params/check", "one of model_hash inference storage memory connectivity custom is wanted");
	json_free(root);
	return e;
}

static enum err check_spec(struct call *c, const struct command_spec *spec)
{
	enum command_kind kind;
	if (spec->kind == NULL || !command_kind_of(spec->kind, &kind))
		return fault_set(c->fault, ERR_INVALID, "/kind", "check or report_now is wanted");
	if (spec->timeout_ms < 0 || spec->timeout_ms > COMMAND_TIMEOUT_MAX_MS)
		return fault_set(c->fault, ERR_INVALID, "/timeout_ms", "1 ms to 30 days are wanted");
	if (!(spec->rate >= 0 && spec->rate <= COMMAND_RATE_MAX))
		return fault_set(c->fault, ERR_INVALID, "/rate", "up to %g a second", COMMAND_RATE_MAX);
	if (spec->device != NULL ? spec->group != NULL || spec->filter != NULL : spec->group == NULL && spec->filter == NULL)
		return fault_set(c->fault, ERR_INVALID, "/device", "a device, or a group or a filter (\"\" is the whole fleet)");
	enum err e = check_params(c, spec, kind);
	if (e != ERR_OK || spec->filter == NULL)
		return e;
	e = registry_check_filter(c, spec->filter);
	if (e != ERR_OK)
		fault_prefix(c->fault, "/filter");
	return e == ERR_BAD_REQUEST ? ERR_INVALID : e;
}

static enum err make_row(struct call *c, const struct command_spec *spec, struct command_row *row)
{
	struct group_row group = {.id = 0};
	enum err e = spec->group != NULL ? groups_look_up(c, 0, spec->group, &group) : ERR_OK;
	*row = (struct command_row){
		.kind = spec->kind, .params = spec->params != NULL ? spec->params : "{}", .filter = spec->filter != NULL ? spec->filter : "",
		.created_by = c->who->name, .device_id = spec->device, .group = group.id, .health_check = spec->health_check,
		.timeout_ms = spec->timeout_ms > 0 ? spec->timeout_ms : COMMAND_TIMEOUT_MS, .spread_ms = spec->spread_ms, .created_at = c->now_ms,
		.rate = spec->rate > 0 ? spec->rate : COMMAND_RATE, .is_spreading = spec->device == NULL,
	};
	return e;
}

static enum err tell_one(struct call *c, const struct command_row *row)
{
	struct commands *k = c->s->commands;
	struct device_state *d = registry_find(c->s->registry, row->device_id);
	bool is_new;
	if (d == NULL)
		return fault_set(c->fault, ERR_NOT_FOUND, "/device", "no device has this id");
	if (open_of(k, d) >= COMMAND_DEVICE_MAX)
		return fault_set(c->fault, ERR_TOO_MANY, "", "%d commands wait for this device", COMMAND_DEVICE_MAX);
	if (k->open >= COMMAND_OPEN_MAX)
		return fault_set(c->fault, ERR_TOO_MANY, "", "%d commands wait for devices", COMMAND_OPEN_MAX);
	return add(c, k, row->id, row->timeout_ms, d, &is_new);
}

enum err commands_create(struct call *c, const struct command_spec *spec, int64_t *id)
{
	struct commands *k = c->s->commands;
	struct command_row row;
	enum err e = check_spec(c, spec);
	if (e == ERR_OK)
		e = make_row(c, spec, &row);
	if (e == ERR_OK && row.is_spreading && k->spreading_count == COMMAND_SPREADING_MAX)
		e = fault_set(c->fault, ERR_TOO_MANY, "", "%d commands are being spread over their devices: try again", COMMAND_SPREADING_MAX);
	if (e == ERR_OK)
		e = command_insert(k->store, &row, c->fault);
	if (e != ERR_OK)
		return e;
	touch(k);
	*id = row.id;
	if (row.is_spreading)
		begin_spreading(k, &row, c->now_ms);
	else
		e = tell_one(c, &row);
	return e == ERR_OK ? audit_append(c, "command.create", arena_printf(c->arena, "commands/%lld", (long long)row.id), NULL, row.params) : e;
}

/* ---- operators: showing ---- */

static const char *progress_of(const struct command_row *row)
{
	bool is_open = row->counts[COMMAND_QUEUED] + row->counts[COMMAND_SENT] > 0;
	return row->is_cancelled ? "cancelled" : row->is_spreading ? "spreading" : is_open ? "waiting" : "done";
}

static enum err encode(struct call *c, const struct command_row *row, struct buf *out)
{
	struct group_row group = {.name = NULL};
	enum err e = row->group != 0 ? groups_look_up(c, row->group, NULL, &group) : ERR_OK;
	if (e != ERR_OK && e != ERR_NOT_FOUND)
		return e;
	json_open_object(out);
	json_int(out, "id", row->id);
	json_str(out, "kind", row->kind);
	json_raw(out, "params", row->params);
	json_str(out, "progress", progress_of(row));
	if (row->device_id != NULL)
		json_str(out, "device", row->device_id);
	if (row->group != 0)
		json_str(out, "group", e == ERR_OK ? group.name : "");
	if (row->device_id == NULL)
		json_str(out, "filter", row->filter);
	if (row->health_check != 0)
		json_int(out, "health_check", row->health_check);
	json_int(out, "timeout_ms", row->timeout_ms);
	json_num(out, "rate", row->rate);
	for (int i = 0; i < COMMAND_STATE_COUNT; i++)
		json_int(out, command_state_text((enum command_state)i), row->counts[i]);
	json_int(out, "created_at", row->created_at);
	json_str(out, "created_by", row->created_by);
	json_close_object(out);
	return ERR_OK;
}

enum err commands_show(struct call *c, int64_t id, struct buf *out)
{
	struct command_row row;
	enum err e = command_get(c->s->commands->store, id, c->arena, &row, c->fault);
	return e == ERR_OK ? encode(c, &row, out) : e;
}

enum err commands_list(struct call *c, int64_t before, int64_t limit, struct buf *out, int64_t *next)
{
	struct command_row *rows;
	size_t count = 0;
	enum err e = command_page(c->s->commands->store, before, limit + 1, c->arena, &rows, &count, c->fault);
	bool more = count > (size_t)limit;
	count -= more;
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = encode(c, &rows[i], out);
	*next = more ? rows[count - 1].id : 0;
	return e;
}

static void encode_errand(const struct errand_row *row, struct buf *out)
{
	json_open_object(out);
	json_int(out, "command", row->command);
	json_str(out, "device", row->device_id);
	json_str(out, "kind", row->kind);
	json_raw(out, "params", row->params);
	json_str(out, "state", command_state_text(row->state));
	if (row->answer != NULL)
		json_raw(out, "answer", row->answer);
	json_int(out, "created_at", row->created_at);
	json_int(out, "deadline_at", row->deadline_at);
	if (row->sent_at != 0)
		json_int(out, "sent_at", row->sent_at);
	if (row->ended_at != 0)
		json_int(out, "ended_at", row->ended_at);
	json_close_object(out);
}

enum err commands_devices(struct call *c, int64_t id, enum command_state state, int64_t after, int64_t limit, struct buf *out, int64_t *next)
{
	struct command_row command;
	struct errand_row *rows;
	size_t count = 0;
	enum err e = command_get(c->s->commands->store, id, c->arena, &command, c->fault);
	if (e == ERR_OK)
		e = errand_page(c->s->commands->store, id, 0, state, after, limit + 1, c->arena, &rows, &count, c->fault);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	for (size_t i = 0; i < count; i++)
		encode_errand(&rows[i], out);
	*next = more ? rows[count - 1].device : 0;
	return ERR_OK;
}

enum err commands_of_device(struct call *c, const struct device_state *d, int64_t before, int64_t limit, struct buf *out, int64_t *next)
{
	struct errand_row *rows;
	size_t count = 0;
	enum err e = errand_page(c->s->commands->store, 0, d->row, COMMAND_STATE_COUNT, before, limit + 1, c->arena, &rows, &count, c->fault);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	for (size_t i = 0; i < count; i++)
		encode_errand(&rows[i], out);
	*next = more ? rows[count - 1].command : 0;
	return ERR_OK;
}

static void stop_spreading(struct commands *k, size_t i)
{
	drop_spreading(&k->spreading[i]);
	k->spreading[i] = k->spreading[--k->spreading_count];
}

/* Open errands of a cancelled command expire with the next ticks, as their deadline is now. */
enum err commands_cancel(struct call *c, int64_t id)
{
	struct commands *k = c->s->commands;
	struct command_row row;
	enum err e = command_get(k->store, id, c->arena, &row, c->fault);
	if (e != ERR_OK || row.is_cancelled)
		return e;
	touch(k);
	e = command_set_cancelled(k->store, id, c->fault);
	if (e != ERR_OK)
		return e;
	for (size_t i = k->spreading_count; i-- > 0;) {
		if (k->spreading[i].row.id == id)
			stop_spreading(k, i);
	}
	for (uint32_t at = 1; at <= k->pool_used; at++) {
		if (k->pool[at].device != 0 && k->pool[at].command == id)
			k->pool[at].deadline_ms = 0;
	}
	return audit_append(c, "command.cancel", arena_printf(c->arena, "commands/%lld", (long long)id), NULL, NULL);
}

/* ---- devices ---- */

void commands_tell(struct commands *k, struct device_state *d)
{
	for (uint32_t at = k->is_stale ? 0 : *head_of(k, d); at != 0; at = k->pool[at].next)
		make_ready(k, at);
}

static const char *answer_json(struct call *c, const struct command_answer *a)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	if (a->has_passed)
		json_bool(&b, "pass", a->passed);
	if (a->has_value)
		json_num(&b, "value", a->value);
	if (a->detail[0] != '\0')
		json_str(&b, "detail", a->detail);
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

enum err commands_answered(struct call *c, struct device_state *d, const struct command_answer *a)
{
	struct commands *k = c->s->commands;
	struct command_row command;
	enum err e = k->is_stale ? load(k, c->now_ms, c->fault) : ERR_OK;
	if (e != ERR_OK)
		return e;
	uint32_t at = find(k, d, a->id);
	if (at == 0 || k->pool[at].deadline_ms <= c->now_ms)
		return fault_set(c->fault, ERR_NOT_FOUND, "/id", "no command %lld is open for this device", (long long)a->id);
	e = command_get(k->store, a->id, c->arena, &command, c->fault);
	if (e == ERR_OK)
		e = move(c, k, d, at, a->is_done ? COMMAND_ANSWERED : COMMAND_FAILED, answer_json(c, a));
	if (e == ERR_OK && command.health_check != 0 && c->s->health != NULL)
		e = health_answered(c, d, command.health_check, a);
	return e;
}

enum err commands_leave(struct call *c, struct device_state *d)
{
	struct commands *k = c->s->commands;
	enum err e = ERR_OK;
	for (uint32_t at; e == ERR_OK && (at = *head_of(k, d)) != 0;)
		e = move(c, k, d, at, COMMAND_FAILED, detail_json(c, "the device was deleted"));
	return e;
}

void commands_forget(struct commands *k, struct device_state *d)
{
	for (uint32_t at; (at = *head_of(k, d)) != 0;)
		release(k, d, at);
}

/* ---- time ---- */

static enum err find_one(void *ctx, struct device_state *d)
{
	struct spreading *x = ctx;
	if (x->count == x->room) {
		x->room = x->room > 0 ? x->room * 2 : 256;
		x->devices = grown(x->devices, x->room, sizeof *x->devices);
	}
	x->devices[x->count++] = d->row;
	return ERR_OK;
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Random order, so that a rack or a region is not asked in one go, and no device at the same time after the beginning each time. */
static void begin_pace(struct spreading *x, int64_t now_ms)
{
	x->is_found = true;
	x->last_ms = now_ms;
	x->tokens = 1;
	if (x->row.spread_ms <= 0)
		return;
	x->row.rate = fmin(fmax((double)x->count * 1000 / (double)x->row.spread_ms, 1), COMMAND_RATE_MAX);
	for (size_t i = x->count; i-- > 1;) {
		size_t j = (size_t)(mix((uint64_t)x->row.id * 0x9e3779b97f4a7c15u + i) % (i + 1));
		int64_t other = x->devices[j];
		x->devices[j] = x->devices[i];
		x->devices[i] = other;
	}
}

/* Looks for the devices of one command, for a timebox. *is_gone: its group or filter is no more. */
static enum err look_for(struct call *c, struct spreading *x, bool *is_gone)
{
	const struct timebox box = timebox_begin(SCAN_NS);
	bool is_done = false;
	enum err e = ERR_OK;
	if (x->scan == NULL)
		e = registry_scan_new(c, x->filter, x->row.group, &x->scan);
	if (e == ERR_OK)
		e = registry_scan_step(c, x->scan, &box, find_one, x, &is_done);
	*is_gone = e == ERR_NOT_FOUND || e == ERR_INVALID || e == ERR_BAD_REQUEST;
	if (e == ERR_OK && is_done) {
		registry_scan_free(x->scan);
		x->scan = NULL;
		begin_pace(x, c->now_ms);
	}
	return *is_gone ? ERR_OK : e;
}

static enum err tell_some(struct call *c, struct commands *k, struct spreading *x)
{
	double passed_ms = (double)(c->now_ms > x->last_ms ? c->now_ms - x->last_ms : 0);
	enum err e = ERR_OK;
	x->tokens = fmin(x->tokens + x->row.rate * passed_ms / 1000, fmax(x->row.rate, 1));
	x->last_ms = c->now_ms;
	for (int writes = 0; e == ERR_OK && writes < WRITES_MAX && x->at < x->count && x->tokens >= 1 && k->open < COMMAND_OPEN_MAX; writes++) {
		struct device_state *d = registry_by_row(c->s->registry, x->devices[x->at]);
		bool is_new = false;
		if (d != NULL)
			e = add(c, k, x->row.id, x->row.timeout_ms, d, &is_new);
		x->tokens -= is_new;
		x->at++;
	}
	return e;
}

static enum err spread(struct call *c, struct commands *k)
{
	enum err e = ERR_OK;
	for (size_t i = k->spreading_count; e == ERR_OK && i-- > 0;) {
		struct spreading *x = &k->spreading[i];
		int64_t id = x->row.id;
		if (x->is_found)
			e = tell_some(c, k, x);
		if (e != ERR_OK || !x->is_found || x->at < x->count)
			continue;
		touch(k);
		e = command_set_spread(k->store, id, c->fault);
		if (e == ERR_OK)
			stop_spreading(k, i);
	}
	return e;
}

/* What the broker took, what is too late, what is to be said again: some of the errands in each tick. */
static enum err walk(struct call *c, struct commands *k)
{
	enum err e = ERR_OK;
	int writes = 0;
	for (uint32_t looked = 0; e == ERR_OK && looked < WALK_MAX && looked < k->pool_used && writes < WRITES_MAX; looked++) {
		uint32_t at = k->walk_at = k->walk_at < k->pool_used ? k->walk_at + 1 : 1;
		struct errand *x = &k->pool[at];
		struct device_state *d = x->device != 0 ? registry_by_row(c->s->registry, x->device) : NULL;
		if (d == NULL)
			continue;
		if (x->deadline_ms <= c->now_ms) {
			e = move(c, k, d, at, x->deadline_ms == 0 ? COMMAND_FAILED : COMMAND_EXPIRED,
			         x->deadline_ms == 0 ? detail_json(c, "cancelled") : NULL);
			writes++;
		} else if (x->is_delivered) {
			e = x->state == COMMAND_QUEUED ? move(c, k, d, at, COMMAND_SENT, NULL) : ERR_OK;
			writes++;
			k->pool[at].is_delivered = false;
			k->delivered--;
		} else if (x->next_ms <= c->now_ms && d->online) {
			x->next_ms = c->now_ms + COMMAND_RETRY_MS;
			make_ready(k, at);
		}
	}
	return e;
}

static enum err work(struct call *c)
{
	struct commands *k = c->s->commands;
	enum err e = walk(c, k);
	if (e == ERR_OK)
		e = spread(c, k);
	if (e == ERR_OK && c->now_ms >= k->retain_at_ms) {
		k->retain_at_ms = c->now_ms + RETAIN_EVERY_MS;
		e = command_retain(k->store, c->now_ms - KEEP_MS, RETAIN_ROWS, c->fault);
	}
	return e;
}

static enum err look_for_devices(struct call *c, struct commands *k)
{
	enum err e = ERR_OK;
	for (size_t i = k->spreading_count; e == ERR_OK && i-- > 0;) {
		bool is_gone = false;
		if (k->spreading[i].is_found)
			continue;
		e = look_for(c, &k->spreading[i], &is_gone);
		if (!is_gone)
			return e; /* one timebox a tick */
		e = unit_begin(c->s, c->fault);
		if (e == ERR_OK)
			e = unit_end(c->s, command_set_cancelled(k->store, k->spreading[i].row.id, c->fault), c->fault);
		if (e == ERR_OK)
			stop_spreading(k, i);
	}
	return e;
}

enum err commands_tick(struct call *c)
{
	struct commands *k = c->s->commands;
	enum err e = k->is_stale ? load(k, c->now_ms, c->fault) : ERR_OK;
	if (e == ERR_OK)
		e = look_for_devices(c, k);
	if (e != ERR_OK || (k->open == 0 && k->spreading_count == 0 && c->now_ms < k->retain_at_ms))
		return e;
	e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, work(c), c->fault) : e;
}

/* ---- the broker ---- */

bool commands_next(struct commands *k, int64_t *command, int64_t *device)
{
	while (!k->is_stale && k->ready_head < k->ready_tail) {
		struct errand *x = &k->pool[k->ready[k->ready_head++]];
		if (k->ready_head == k->ready_tail)
			k->ready_head = k->ready_tail = 0;
		if (x->device == 0 || !x->is_ready)
			continue; /* over meanwhile */
		x->is_ready = false;
		*command = x->command;
		*device = x->device;
		return true;
	}
	return false;
}

void commands_again(struct commands *k, int64_t command, int64_t device)
{
	uint32_t at = find(k, registry_by_row(k->s->registry, device), command);
	if (at != 0)
		make_ready(k, at);
}

enum err commands_message(struct call *c, int64_t command, int64_t device, struct buf *out, bool *is_open)
{
	struct errand_row row;
	enum err e = errand_get(c->s->commands->store, command, device, c->arena, &row, is_open, c->fault);
	if (e != ERR_OK)
		return e;
	*is_open = *is_open && !command_state_is_final(row.state) && row.deadline_at > c->now_ms;
	if (!*is_open)
		return ERR_OK;
	json_open_object(out);
	json_int(out, "id", command);
	json_str(out, "kind", row.kind);
	json_int(out, "timeout_ms", row.deadline_at - c->now_ms);
	json_raw(out, "params", row.params);
	json_close_object(out);
	assert(out->len <= COMMAND_BYTES);
	return ERR_OK;
}

void commands_delivered(struct commands *k, int64_t command, int64_t device)
{
	uint32_t at = find(k, registry_by_row(k->s->registry, device), command);
	if (at == 0 || k->pool[at].is_delivered || k->pool[at].state != COMMAND_QUEUED)
		return;
	k->pool[at].is_delivered = true;
	k->delivered++;
}
