#include "service/access.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/str.h"
#include "service/metrics.h"
#include "service/outbox.h"
#include "service/unit.h"
#include "store/db.h"

enum {
	LOAD_PAGE = 500,
	DEAD_TOKEN_AGE_DAYS = 30, /* a revoked or expired token stays listed for so long */
	TOKEN_RANDOM_BYTES = 24,
	ADMIN_FILE_MAX = 1024
};
static const int64_t day_ms = 86400000;

/* One usable token. */
struct cached {
	uint8_t sha256[SHA256_BYTES];
	int64_t id, expires_at, uses_left;
	enum role role;
	char name[80];
};

struct access {
	struct services *s;
	struct access_store *store;
	const struct access_limits *limits;
	struct cached *tokens; /* in order of their digests */
	size_t count, cap;
	bool touched; /* since the last commit */
};

/* ---- roles ---- */

static const char *const role_names[] = {
	[ROLE_NONE] = "none", [ROLE_ENROL] = "enrol", [ROLE_VIEWER] = "viewer", [ROLE_OPERATOR] = "operator",
		[ROLE_ADMIN] = "admin"};

const char *access_role_name(enum role role)
{
	return role_names[role];
}

enum role access_role(const char *name)
{
	for (enum role r = ROLE_ENROL; r <= ROLE_ADMIN; r++) {
		if (strcmp(role_names[r], name) == 0)
			return r;
	}
	return ROLE_NONE;
}

/* ---- the tokens in memory ---- */

static int compare_cached(const void *a, const void *b)
{
	return memcmp(((const struct cached *)a)->sha256, ((const struct cached *)b)->sha256, SHA256_BYTES);
}

static void cache_add(struct access *a, const struct token_row *row)
{
	if (row->revoked_at != 0)
		return;
	if (a->count == a->cap) {
		a->cap = a->cap > 0 ? a->cap * 2 : 16;
		a->tokens = reallocarray(a->tokens, a->cap, sizeof *a->tokens);
		if (a->tokens == NULL)
			abort();
	}
	struct cached *t = &a->tokens[a->count++];
	memset(t, 0, sizeof *t);
	memcpy(t->sha256, row->sha256, SHA256_BYTES);
	t->id = row->id;
	t->expires_at = row->expires_at;
	t->uses_left = row->uses_left;
	t->role = access_role(row->role);
	(void)!str_copy(t->name, sizeof t->name, row->name);
}

static enum err cache_load(struct access *a, struct fault *f)
{
	struct arena *arena = arena_new(1 << 20);
	int64_t after = 0;
	size_t count;
	enum err e;
	a->count = 0;
	do {
		struct token_row *rows;
		arena_reset(arena);
		e = token_page(a->store, after, LOAD_PAGE, arena, &rows, &count, f);
		for (size_t i = 0; e == ERR_OK && i < count; i++) {
			cache_add(a, &rows[i]);
			after = rows[i].id;
		}
	} while (e == ERR_OK && count == LOAD_PAGE);
	arena_free(arena);
	if (a->count > 0)
		qsort(a->tokens, a->count, sizeof *a->tokens, compare_cached);
	return e;
}

/* Binary search by digest. An attacker who does not know a token cannot choose its digest, so the time of the search
 * tells nothing; the last comparison is constant-time all the same. */
static struct cached *cache_find(const struct access *a, const char *text, size_t len)
{
	struct cached wanted;
	crypto_sha256(text, len, wanted.sha256);
	struct cached *t = a->count > 0 ? bsearch(&wanted, a->tokens, a->count, sizeof wanted, compare_cached) : NULL;
	return t != NULL && crypto_equal(t->sha256, wanted.sha256, SHA256_BYTES) ? t : NULL;
}

static bool is_usable(const struct cached *t, int64_t now_ms)
{
	return (t->expires_at == 0 || t->expires_at > now_ms) && t->uses_left != 0;
}

static size_t count_admins(const struct access *a, int64_t now_ms, int64_t but_id)
{
	size_t n = 0;
	for (size_t i = 0; i < a->count; i++)
		n += a->tokens[i].role == ROLE_ADMIN && a->tokens[i].id != but_id && is_usable(&a->tokens[i], now_ms);
	return n;
}

/* ---- the first admin token ---- */

static enum err io_fault(struct fault *f, const char *path)
{
	return fault_set(f, errno == ENOSPC ? ERR_FULL : ERR_UNAVAILABLE, "", "%s: %s", path, strerror(errno));
}

/* The text in an admin.token that is already there; empty when there is none. */
static enum err read_admin_file(const char *path, char text[ACCESS_TOKEN_TEXT_MAX + 1], struct fault *f)
{
	char data[ADMIN_FILE_MAX];
	struct stat st;
	text[0] = '\0';
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? ERR_OK : io_fault(f, path);
	ssize_t n = fstat(fd, &st) == 0 ? read(fd, data, sizeof data - 1) : -1;
	close(fd);
	if (n < 0)
		return io_fault(f, path);
	if ((st.st_mode & 077) != 0)
		return fault_set(f, ERR_FORBIDDEN, "", "%s can be read by others: chmod 600 it", path);
	data[n] = '\0';
	data[strcspn(data, "\r\n")] = '\0';
	size_t len = strlen(data);
	bool ok = len >= 32 && len <= ACCESS_TOKEN_TEXT_MAX;
	for (size_t i = 0; i < len; i++)
		ok = ok && data[i] > ' ' && data[i] < 0x7f;
	if (!ok)
		return fault_set(f, ERR_INVALID, "", "%s is not a token: 32 to 128 visible ASCII characters are wanted", path);
	memcpy(text, data, len + 1);
	return ERR_OK;
}

static enum err write_admin_file(const char *path, const char *text, struct fault *f)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return io_fault(f, path);
	bool ok = dprintf(fd, "%s\n", text) > 0 && fsync(fd) == 0;
	enum err e = ok ? ERR_OK : io_fault(f, path);
	close(fd);
	if (!ok)
		unlink(path);
	return e;
}

static void make_text(const char *prefix, char text[ACCESS_TOKEN_SIZE])
{
	uint8_t random[TOKEN_RANDOM_BYTES];
	char hex[2 * TOKEN_RANDOM_BYTES + 1];
	crypto_random(random, sizeof random);
	hex_encode(random, sizeof random, hex);
	int n = snprintf(text, ACCESS_TOKEN_SIZE, "%s%s", prefix, hex);
	assert(n < ACCESS_TOKEN_SIZE);
	(void)n;
}

/* File first, row second: a crash in between leaves a file whose text the next start takes in. */
static enum err make_first_admin(struct access *a, struct fault *f)
{
	char path[4096], text[ACCESS_TOKEN_TEXT_MAX + 1];
	snprintf(path, sizeof path, "%s/admin.token", a->s->state_dir);
	enum err e = read_admin_file(path, text, f);
	if (e == ERR_OK && text[0] == '\0') {
		make_text("av1_", text);
		e = write_admin_file(path, text, f);
	}
	if (e != ERR_OK)
		return e;
	struct token_row row = {.name = "admin", .kind = "api", .role = "admin", .created_at = clock_wall_ms(),
		.uses_left = -1};
	crypto_sha256(text, strlen(text), row.sha256);
	struct audit_row note = {.at = row.created_at, .who = principal_server.name, .role = "admin",
		.action = "token.create",
	                         .resource = "tokens", .after = "{\"name\":\"admin\",\"kind\":\"api\",\"role\":\"admin\"}"};
	e = db_begin(a->s->db, f);
	if (e != ERR_OK)
		return e;
	e = token_insert(a->store, &row, f);
	if (e == ERR_CONFLICT)
		fault_set(f, e, "", "%s holds a token that was revoked or has expired: remove the file for a new one", path);
	if (e == ERR_OK)
		e = audit_insert(a->store, &note, f);
	enum err end = db_end(a->s->db, e == ERR_OK, e == ERR_OK ? f : NULL);
	return e != ERR_OK ? e : end != ERR_OK ? end : db_commit(a->s->db, f);
}

/* ---- opening ---- */

static void on_committed(void *ctx)
{
	((struct access *)ctx)->touched = false;
}

/* Aborts when the store cannot be read: the mirror would lie. */
static void on_rolled_back(void *ctx)
{
	struct access *a = ctx;
	struct fault f;
	if (a->touched && cache_load(a, &f) != ERR_OK)
		abort();
}

enum err access_open(struct services *s, const struct access_limits *limits, struct access **out, struct fault *f)
{
	*out = NULL;
	struct access *a = calloc(1, sizeof *a);
	if (a == NULL)
		abort();
	a->s = s;
	a->limits = limits;
	enum err e = access_store_open(s->db, &a->store, f);
	if (e == ERR_OK)
		e = cache_load(a, f);
	if (e == ERR_OK && count_admins(a, clock_wall_ms(), 0) == 0) {
		e = make_first_admin(a, f);
		if (e == ERR_OK)
			e = cache_load(a, f);
	}
	if (e != ERR_OK) {
		access_close(a);
		return e;
	}
	units_listen(s->units, (struct unit_listener){.committed = on_committed, .undone = on_rolled_back,
		.lost = on_rolled_back, .ctx = a});
	*out = a;
	return ERR_OK;
}

void access_close(struct access *a)
{
	if (a == NULL)
		return;
	access_store_close(a->store);
	free(a->tokens);
	free(a);
}

/* ---- tokens ---- */

bool access_authenticate(const struct access *a, const char *text, size_t len, int64_t now_ms, struct principal *who)
{
	if (len == 0 || len > ACCESS_TOKEN_TEXT_MAX)
		return false;
	const struct cached *t = cache_find(a, text, len);
	if (t == NULL || t->role < ROLE_VIEWER || !is_usable(t, now_ms))
		return false;
	memcpy(who->name, t->name, sizeof who->name);
	who->role = t->role;
	who->token_id = t->id;
	return true;
}

enum err access_take_enrolment(struct call *c, const char *text)
{
	struct access *a = c->s->access;
	size_t len = strlen(text);
	struct cached *t = len <= ACCESS_TOKEN_TEXT_MAX ? cache_find(a, text, len) : NULL;
	if (t == NULL || t->role != ROLE_ENROL || !is_usable(t, c->now_ms))
		return fault_set(c->fault, ERR_UNAUTHORIZED, "/enrol/token",
			"no such enrolment token, or it has expired or is used up");
	if (t->uses_left < 0)
		return ERR_OK;
	enum err e = token_set_uses(a->store, t->id, t->uses_left - 1, c->fault);
	if (e == ERR_OK) {
		t->uses_left--;
		a->touched = true;
	}
	return e;
}

static enum err check_token(struct call *c, const struct token_row *row)
{
	bool is_enrolment = strcmp(row->kind, "enrolment") == 0;
	if (row->name == NULL || row->name[0] == '\0' || strlen(row->name) > 64)
		return fault_set(c->fault, ERR_INVALID, "/name", "a name of 1 to 64 bytes is wanted");
	if (is_enrolment != (access_role(row->role) == ROLE_ENROL))
		return fault_set(c->fault, ERR_INVALID, "/role",
			"an enrolment token has the role enrol, an api token viewer, operator or admin");
	if (row->uses_left >= 0 && !is_enrolment)
		return fault_set(c->fault, ERR_INVALID, "/uses_left", "only enrolment tokens are counted");
	if (row->uses_left == 0)
		return fault_set(c->fault, ERR_INVALID, "/uses_left", "at least 1");
	if (row->expires_at != 0 && row->expires_at <= c->now_ms)
		return fault_set(c->fault, ERR_INVALID, "/expires_at", "it is in the past");
	if (c->s->access->count >= ACCESS_TOKENS_MAX)
		return fault_set(c->fault, ERR_CONFLICT, "", "there are %d tokens already: revoke some", ACCESS_TOKENS_MAX);
	return ERR_OK;
}

static enum err audit_token(struct call *c, const char *action, const struct token_row *row)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", row->name);
	json_str(&b, "kind", row->kind);
	json_str(&b, "role", row->role);
	json_close_object(&b);
	bool is_new = strcmp(action, "token.create") == 0;
	const char *resource = arena_printf(c->arena, "tokens/%lld", (long long)row->id);
	enum err e = audit_append(c, action, resource, is_new ? NULL : buf_cstr(&b), is_new ? buf_cstr(&b) : NULL);
	buf_done(&b);
	return e;
}

enum err access_create_token(struct call *c, struct token_row *row, char text[ACCESS_TOKEN_SIZE])
{
	struct access *a = c->s->access;
	enum err e = check_token(c, row);
	if (e != ERR_OK)
		return e;
	make_text(strcmp(row->kind, "enrolment") == 0 ? "ave_" : "av1_", text);
	crypto_sha256(text, strlen(text), row->sha256);
	row->created_at = c->now_ms;
	row->revoked_at = 0;
	e = token_insert(a->store, row, c->fault);
	if (e == ERR_OK)
		e = audit_token(c, "token.create", row);
	if (e != ERR_OK)
		return e;
	a->touched = true;
	cache_add(a, row);
	qsort(a->tokens, a->count, sizeof *a->tokens, compare_cached);
	return ERR_OK;
}

enum err access_get_token(struct call *c, int64_t id, struct token_row *row)
{
	return token_get(c->s->access->store, id, c->arena, row, c->fault);
}

enum err access_revoke_token(struct call *c, int64_t id)
{
	struct access *a = c->s->access;
	struct token_row row;
	enum err e = token_get(a->store, id, c->arena, &row, c->fault);
	if (e != ERR_OK || row.revoked_at != 0)
		return e;
	if (strcmp(row.role, "admin") == 0 && count_admins(a, c->now_ms, id) == 0)
		return fault_set(c->fault, ERR_CONFLICT, "", "it is the last admin token that can be used");
	e = token_set_revoked(a->store, id, c->now_ms, c->fault);
	if (e == ERR_OK)
		e = audit_token(c, "token.revoke", &row);
	if (e != ERR_OK)
		return e;
	a->touched = true;
	for (size_t i = 0; i < a->count; i++) {
		if (a->tokens[i].id == id) {
			memmove(&a->tokens[i], &a->tokens[i + 1], (--a->count - i) * sizeof *a->tokens);
			break;
		}
	}
	return ERR_OK;
}

enum err access_list_tokens(struct call *c, int64_t after, int64_t limit, struct token_row **rows, size_t *count)
{
	return token_page(c->s->access->store, after, limit, c->arena, rows, count, c->fault);
}

/* ---- audit, events, counters, kept replies ---- */

enum err audit_append(struct call *c, const char *action, const char *resource, const char *before, const char *after)
{
	struct audit_row row = {.at = c->now_ms, .who = c->who->name, .role = access_role_name(c->who->role),
		.action = action,
	                        .resource = resource, .before = before, .after = after};
	return audit_insert(c->s->access->store, &row, c->fault);
}

enum err audit_list(struct call *c, const struct audit_filter *filter, int64_t before, int64_t limit,
	struct audit_row **rows, size_t *count)
{
	return audit_page(c->s->access->store, filter, before, limit, c->arena, rows, count, c->fault);
}

enum err event_append(struct call *c, const char *kind, const char *resource, const char *data)
{
	struct event_row row = {.at = c->now_ms, .kind = kind, .resource = resource, .data = data};
	enum err e = event_insert(c->s->access->store, &row, c->fault);
	if (e == ERR_OK) {
		outbox_note_event(c->s->outbox, row.id);
		metric_add(METER_EVENTS, 1);
	}
	return e;
}

enum err event_list(struct call *c, const char *resource, int64_t after, int64_t limit, struct event_row **rows,
	size_t *count)
{
	return event_page(c->s->access->store, resource, after, limit, c->arena, rows, count, c->fault);
}

enum err event_bounds(struct call *c, int64_t *oldest, int64_t *newest)
{
	return event_range(c->s->access->store, oldest, newest, c->fault);
}

enum err counter_next(struct call *c, const char *name, int64_t *value)
{
	return counter_increment(c->s->access->store, name, value, c->fault);
}

enum err counter_get(struct call *c, const char *name, int64_t *value)
{
	return counter_read(c->s->access->store, name, value, c->fault);
}

enum err counter_raise(struct call *c, const char *name, int64_t least)
{
	return counter_set_least(c->s->access->store, name, least, c->fault);
}

/* Callers with one name may be different tokens: the id keeps their keys apart. */
static const char *reply_owner(struct call *c)
{
	return arena_printf(c->arena, "%lld:%s", (long long)c->who->token_id, c->who->name);
}

enum err idempotency_find(struct call *c, const char *key, const uint8_t request_sha256[32], struct kept_reply *reply,
	bool *found)
{
	enum err e = reply_find(c->s->access->store, reply_owner(c), key, c->arena, reply, found, c->fault);
	if (e != ERR_OK || !*found)
		return e;
	if (c->now_ms - reply->created_at >= ACCESS_IDEMPOTENCY_MS) { /* outdated, not yet swept */
		*found = false;
		return ERR_OK;
	}
	if (!crypto_equal(reply->request_sha256, request_sha256, 32))
		return fault_set(c->fault, ERR_CONFLICT, "", "this Idempotency-Key was used with another request");
	return ERR_OK;
}

enum err idempotency_keep(struct call *c, const char *key, const uint8_t request_sha256[32], int status,
	const void *reply, size_t len)
{
	struct kept_reply r = {.created_at = c->now_ms, .status = status, .reply = reply, .len = len};
	memcpy(r.request_sha256, request_sha256, 32);
	return reply_put(c->s->access->store, reply_owner(c), key, &r, c->fault);
}

enum err access_retain(struct call *c, int64_t rows, bool *more)
{
	struct access *a = c->s->access;
	int64_t replies = 0, events = 0, audits = 0, tokens = 0;
	enum err e = reply_retain(a->store, c->now_ms - ACCESS_IDEMPOTENCY_MS, rows, &replies, c->fault);
	if (e == ERR_OK)
		e = event_retain(a->store, a->limits->events_max, rows, &events, c->fault);
	if (e == ERR_OK)
		e = audit_retain(a->store, c->now_ms - a->limits->audit_age_ms, a->limits->audit_max, rows, &audits, c->fault);
	if (e == ERR_OK)
		e = token_retain(a->store, c->now_ms - DEAD_TOKEN_AGE_DAYS * day_ms, rows, &tokens, c->fault);
	*more = replies >= rows || events >= rows || audits >= rows || tokens >= rows;
	return e;
}
