#include "service/commands.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "service/access.h"
#include "service/command_spread.h"
#include "service/errands.h"
#include "service/groups.h"
#include "service/health.h"
#include "service/registry.h"
#include "service/unit.h"

#define ARENA_BYTES (16u << 20)
#define PAGE 500
#define WRITES_MAX 200   /* rows a tick changes of each kind */
#define WALK_MAX 10000   /* errands a tick looks at */
#define PARAMS_MAX 768   /* with the rest of the message within COMMAND_BYTES */
#define KEEP_MS ((int64_t)7 * 86400000)
#define RETAIN_EVERY_MS 1000
#define RETAIN_ROWS 250

struct commands {
	struct services *s;
	struct command_store *store;
	struct arena *arena;
	struct errands errands;
	uint32_t walk_at;
	struct spreads spreads;
	uint64_t touched;  /* the newest unit with our changes since the last commit; 0: none */
	bool is_stale;     /* memory may differ from the rows: read again */
	int64_t retain_at_ms;
};

static void touch(struct commands *k)
{
	k->touched = unit_newest(k->s);
}

/* ---- opening ---- */

static void forget_all(struct commands *k)
{
	spreads_clear(&k->spreads);
	errands_clear(&k->errands);
	k->walk_at = 0;
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
				errands_keep(&k->errands, d, &rows[i]);
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
		spreads_begin(&k->spreads, &rows[i], now_ms);
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
	errands_done(&k->errands);
	free(k);
}

int64_t commands_open_count(const struct commands *k)
{
	return k->errands.open;
}

bool commands_is_spreading(const struct commands *k, int64_t health_check)
{
	return spreads_have_check(&k->spreads, health_check);
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
	if (errands_count(&k->errands, d) >= COMMAND_DEVICE_MAX) {
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
	uint32_t at = errands_keep(&k->errands, d, &row);
	errands_at(&k->errands, at)->next_ms = c->now_ms + COMMAND_RETRY_MS;
	if (d->online)
		errands_make_ready(&k->errands, at);
	return ERR_OK;
}

/* The row's next state; a final one leaves memory. */
static enum err move(struct call *c, struct commands *k, struct device_state *d, uint32_t at, enum command_state to, const char *answer)
{
	struct errand *x = errands_at(&k->errands, at);
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
		errands_release(&k->errands, d, at);
	else
		x->state = (uint8_t)to;
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
	if (errands_count(&k->errands, d) >= COMMAND_DEVICE_MAX)
		return fault_set(c->fault, ERR_TOO_MANY, "", "%d commands wait for this device", COMMAND_DEVICE_MAX);
	if (k->errands.open >= COMMAND_OPEN_MAX)
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
	if (e == ERR_OK && row.is_spreading && k->spreads.count == COMMAND_SPREADING_MAX)
		e = fault_set(c->fault, ERR_TOO_MANY, "", "%d commands are being spread over their devices: try again", COMMAND_SPREADING_MAX);
	if (e == ERR_OK)
		e = command_insert(k->store, &row, c->fault);
	if (e != ERR_OK)
		return e;
	touch(k);
	*id = row.id;
	if (row.is_spreading)
		spreads_begin(&k->spreads, &row, c->now_ms);
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
	spreads_stop(&k->spreads, id);
	errands_cancel(&k->errands, id);
	return audit_append(c, "command.cancel", arena_printf(c->arena, "commands/%lld", (long long)id), NULL, NULL);
}

/* ---- devices ---- */

void commands_tell(struct commands *k, struct device_state *d)
{
	for (uint32_t at = k->is_stale ? 0 : errands_first(&k->errands, d); at != 0; at = errands_at(&k->errands, at)->next)
		errands_make_ready(&k->errands, at);
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
	uint32_t at = errands_find(&k->errands, d, a->id);
	if (at == 0 || errands_at(&k->errands, at)->deadline_ms <= c->now_ms)
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
	for (uint32_t at; e == ERR_OK && (at = errands_first(&k->errands, d)) != 0;)
		e = move(c, k, d, at, COMMAND_FAILED, detail_json(c, "the device was deleted"));
	return e;
}

void commands_forget(struct commands *k, struct device_state *d)
{
	for (uint32_t at; (at = errands_first(&k->errands, d)) != 0;)
		errands_release(&k->errands, d, at);
}

/* ---- time ---- */

static bool has_room(struct call *c)
{
	return c->s->commands->errands.open < COMMAND_OPEN_MAX;
}

static enum err tell(struct call *c, int64_t command, int64_t timeout_ms, struct device_state *d, bool *is_new)
{
	return add(c, c->s->commands, command, timeout_ms, d, is_new);
}

static enum err end(struct call *c, int64_t command)
{
	touch(c->s->commands);
	return command_set_spread(c->s->commands->store, command, c->fault);
}

static const struct spread_port port = {has_room, tell, end};

/* What the broker took, what is too late, what is to be said again: some of the errands in each tick. */
static enum err walk(struct call *c, struct commands *k)
{
	enum err e = ERR_OK;
	int writes = 0;
	uint32_t used = k->errands.pool_used;
	for (uint32_t looked = 0; e == ERR_OK && looked < WALK_MAX && looked < used && writes < WRITES_MAX; looked++) {
		uint32_t at = k->walk_at = k->walk_at < used ? k->walk_at + 1 : 1;
		struct errand *x = errands_at(&k->errands, at);
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
			x->is_delivered = false;
		} else if ((x->next_ms <= c->now_ms || x->next_ms - c->now_ms > COMMAND_RETRY_MS) && d->online) { /* or the clock went back */
			x->next_ms = c->now_ms + COMMAND_RETRY_MS;
			errands_make_ready(&k->errands, at);
		}
	}
	return e;
}

static enum err work(struct call *c)
{
	struct commands *k = c->s->commands;
	enum err e = walk(c, k);
	if (e == ERR_OK)
		e = spreads_tell(c, &k->spreads, &port);
	if (e == ERR_OK && c->now_ms >= k->retain_at_ms) {
		k->retain_at_ms = c->now_ms + RETAIN_EVERY_MS;
		e = command_retain(k->store, c->now_ms - KEEP_MS, RETAIN_ROWS, c->fault);
	}
	return e;
}

static enum err look_for_devices(struct call *c, struct commands *k)
{
	int64_t gone;
	enum err e = spreads_look(c, &k->spreads, &gone);
	if (e != ERR_OK || gone == 0)
		return e;
	e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, command_set_cancelled(k->store, gone, c->fault), c->fault);
	if (e == ERR_OK)
		spreads_stop(&k->spreads, gone);
	return e;
}

enum err commands_tick(struct call *c)
{
	struct commands *k = c->s->commands;
	enum err e = k->is_stale ? load(k, c->now_ms, c->fault) : ERR_OK;
	if (e == ERR_OK)
		e = look_for_devices(c, k);
	if (e != ERR_OK || (k->errands.open == 0 && k->spreads.count == 0 && c->now_ms < k->retain_at_ms))
		return e;
	e = unit_begin(c->s, c->fault);
	return e == ERR_OK ? unit_end(c->s, work(c), c->fault) : e;
}

/* ---- the broker ---- */

bool commands_next(struct commands *k, int64_t *command, int64_t *device)
{
	uint32_t at = k->is_stale ? 0 : errands_next_ready(&k->errands);
	if (at == 0)
		return false;
	*command = errands_at(&k->errands, at)->command;
	*device = errands_at(&k->errands, at)->device;
	return true;
}

void commands_again(struct commands *k, int64_t command, int64_t device)
{
	uint32_t at = errands_find(&k->errands, registry_by_row(k->s->registry, device), command);
	if (at != 0)
		errands_make_ready(&k->errands, at);
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
	uint32_t at = errands_find(&k->errands, registry_by_row(k->s->registry, device), command);
	struct errand *x = at != 0 ? errands_at(&k->errands, at) : NULL;
	if (x != NULL && x->state == COMMAND_QUEUED)
		x->is_delivered = true;
}
