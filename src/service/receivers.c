/* Who is told: rows of receivers, their checks, whom of the alerts they want to hear of. */
#include <stdio.h>
#include <string.h>

#include "base/ipaddr.h"
#include "base/json.h"
#include "base/str.h"
#include "service/access.h"
#include "service/alerts_inside.h"
#include "service/notify_inside.h"

/* ---- matchers and settings as JSON ---- */

static const char *print_matchers(struct arena *a, const struct receiver *r)
{
	struct buf b = BUF_INIT;
	json_open_array(&b);
	for (size_t i = 0; i < r->matcher_count; i++) {
		json_open_object(&b);
		json_str(&b, "name", r->matchers[i].name);
		json_str(&b, "value", r->matchers[i].value);
		json_bool(&b, "negate", r->matchers[i].negate);
		json_close_object(&b);
	}
	json_close_array(&b);
	const char *text = arena_strdup(a, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static const char *print_settings(struct arena *a, const struct receiver *r)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "ca_file", r->ca_file);
	json_str(&b, "user", r->user);
	json_str(&b, "sender", r->sender);
	json_str(&b, "title", r->title);
	json_str(&b, "text", r->text);
	json_str(&b, "body", r->body);
	json_key(&b, "recipients");
	json_open_array(&b);
	for (size_t i = 0; i < r->recipient_count; i++)
		json_put_str(&b, r->recipients[i]);
	json_close_array(&b);
	json_close_object(&b);
	const char *text = arena_strdup(a, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static const char *member(struct arena *a, const struct json *j, const char *name)
{
	const char *text = json_text(json_get(j, name));
	return text != NULL ? arena_strdup(a, text) : "";
}

static void parse_settings(struct arena *a, const struct json *j, struct receiver *out)
{
	out->ca_file = member(a, j, "ca_file");
	out->user = member(a, j, "user");
	out->sender = member(a, j, "sender");
	out->title = member(a, j, "title");
	out->text = member(a, j, "text");
	out->body = member(a, j, "body");
	const struct json *list = json_get(j, "recipients");
	const char **recipients = arena_array(a, list != NULL ? json_count(list) : 0, sizeof *recipients);
	for (const struct json *item = list != NULL ? json_first(list) : NULL; item != NULL; item = json_next(item))
		recipients[out->recipient_count++] = arena_strdup(a, json_text(item));
	out->recipients = recipients;
}

static void parse_matchers(struct arena *a, const struct json *list, struct receiver *out)
{
	struct silence_matcher *m = arena_array(a, json_count(list), sizeof *m);
	for (const struct json *j = json_first(list); j != NULL; j = json_next(j))
		m[out->matcher_count++] = (struct silence_matcher){member(a, j, "name"), member(a, j, "value"), json_is_true(json_get(j, "negate"))};
	out->matchers = m;
}

static enum err parse(struct arena *a, const struct receiver_row *row, struct receiver *out, struct fault *f)
{
	struct json *matchers = NULL, *settings = NULL;
	*out = (struct receiver){.id = row->id, .revision = row->revision, .created_at = row->created_at, .updated_at = row->updated_at,
		.timeout_ms = row->timeout_ms, .name = row->name, .type = row->type, .is_enabled = row->is_enabled, .url = row->url, .secret = row->secret,
		.timing = row->timing, .per_minute = row->per_minute, .delayed = row->delayed};
	enum err e = json_parse(row->matchers, strlen(row->matchers), &matchers, f);
	if (e == ERR_OK)
		e = json_parse(row->settings, strlen(row->settings), &settings, f);
	if (e == ERR_OK) {
		parse_matchers(a, matchers, out);
		parse_settings(a, settings, out);
	}
	json_free(matchers);
	json_free(settings);
	return e == ERR_OK ? ERR_OK : ERR_INTERNAL;
}

/* ---- checks ---- */

static bool has_scheme(const char *url, const char *const *schemes)
{
	for (; *schemes != NULL; schemes++) {
		if (str_starts(url, *schemes) && url[strlen(*schemes)] != '\0' && url[strlen(*schemes)] != '/')
			return true;
	}
	return false;
}

/* A number for a host is looked at now; what a name resolves to is looked at whenever it is called. */
static enum err check_host(const struct call *c, const char *host)
{
	struct ip_address a;
	char text[64];
	size_t len = host[0] == '[' ? strcspn(host, "]/?#") + 1 : strcspn(host, ":/?#");
	if (len >= sizeof text)
		return ERR_OK;
	memcpy(text, host, len);
	text[len] = '\0';
	if (!ip_parse(text, &a) || ip_is_public(&a) || (c->s->notify_allow != NULL && ip_networks_have(c->s->notify_allow, &a)))
		return ERR_OK;
	return fault_set(c->fault, ERR_INVALID, "/url", "%s is no public address, and [notify] allow does not name it", text);
}

static enum err check_url(const struct call *c, const struct receiver *r)
{
	struct fault *f = c->fault;
	static const char *const web[] = {"https://", "http://", NULL}, *const mail[] = {"smtps://", "smtp://", NULL};
	bool is_mail = r->type[0] == 'e';
	if (!has_scheme(r->url, is_mail ? mail : web))
		return fault_set(f, ERR_INVALID, "/url", is_mail ? "smtp:// or smtps:// and a host are wanted" : "https:// or http:// and a host are wanted");
	for (const char *p = r->url; *p; p++) {
		if (*p <= ' ' || *p >= 127)
			return fault_set(f, ERR_INVALID, "/url", "blanks and characters beyond ASCII are to be percent-encoded");
	}
	const char *host = strstr(r->url, "://") + 3;
	if (memchr(host, '@', strcspn(host, "/?#")) != NULL)
		return fault_set(f, ERR_INVALID, "/url", "credentials belong into user and secret");
	return check_host(c, host);
}

static enum err check_matchers(const struct receiver *r, struct fault *f)
{
	static const char *const names[] = {"kind", "resource", "severity", "cohort", "metric", "rule", NULL};
	char pointer[48];
	if (r->matcher_count > RECEIVER_MATCHERS)
		return fault_set(f, ERR_INVALID, "/matchers", "more than %d", RECEIVER_MATCHERS);
	for (size_t i = 0; i < r->matcher_count; i++) {
		const char *const *name = names;
		while (*name != NULL && strcmp(*name, r->matchers[i].name) != 0)
			name++;
		snprintf(pointer, sizeof pointer, "/matchers/%zu/name", i);
		if (*name == NULL)
			return fault_set(f, ERR_INVALID, pointer, "kind, resource, severity, cohort, metric or rule is wanted");
	}
	return ERR_OK;
}

static enum err check_texts(struct call *c, const struct receiver *r)
{
	static const char forbidden[] = "\r\n";
	enum err e = notify_check_template(r->title, false, "/title", c->fault);
	if (e == ERR_OK)
		e = notify_check_template(r->text, false, "/text", c->fault);
	if (e == ERR_OK && r->body[0] != '\0' && r->type[0] != 'w')
		return fault_set(c->fault, ERR_INVALID, "/body", "only webhooks have one");
	if (e == ERR_OK)
		e = notify_check_template(r->body, true, "/body", c->fault);
	if (e == ERR_OK && (strpbrk(r->secret, forbidden) != NULL || strpbrk(r->user, forbidden) != NULL))
		return fault_set(c->fault, ERR_INVALID, strpbrk(r->user, forbidden) != NULL ? "/user" : "/secret", "line ends are not allowed");
	if (e == ERR_OK && r->ca_file[0] != '\0' && r->ca_file[0] != '/')
		return fault_set(c->fault, ERR_INVALID, "/ca_file", "an absolute path is wanted");
	return e;
}

static enum err check(struct call *c, const struct receiver *r)
{
	bool is_mail = r->type[0] == 'e';
	enum err e = check_url(c, r);
	if (e == ERR_OK)
		e = check_matchers(r, c->fault);
	if (e == ERR_OK)
		e = check_texts(c, r);
	if (e != ERR_OK)
		return e;
	if (is_mail != (r->sender[0] != '\0'))
		return fault_set(c->fault, ERR_INVALID, "/sender", is_mail ? "mail needs an address that sends it" : "only mail has one");
	if (is_mail != (r->recipient_count > 0))
		return fault_set(c->fault, ERR_INVALID, "/recipients", is_mail ? "mail needs somebody who gets it" : "only mail has them");
	if (r->timing.repeat_ms < r->timing.interval_ms)
		return fault_set(c->fault, ERR_INVALID, "/repeat_ms", "is less than interval_ms");
	return ERR_OK;
}

/* ---- rows ---- */

static struct receiver_row row_of(struct call *c, const struct receiver *r)
{
	return (struct receiver_row){.id = r->id, .created_at = c->now_ms, .updated_at = c->now_ms, .timeout_ms = r->timeout_ms, .name = r->name, .type = r->type,
		.matchers = print_matchers(c->arena, r), .url = r->url, .secret = r->secret, .settings = print_settings(c->arena, r),
		.is_enabled = r->is_enabled, .timing = r->timing, .per_minute = r->per_minute};
}

/* For the audit log: what is no secret. */
static const char *shown(struct call *c, const struct receiver *r)
{
	struct buf b = BUF_INIT;
	json_open_object(&b);
	json_str(&b, "name", r->name);
	json_str(&b, "type", r->type);
	json_str(&b, "url", r->url);
	json_bool(&b, "enabled", r->is_enabled);
	json_raw(&b, "matchers", print_matchers(c->arena, r));
	json_close_object(&b);
	const char *text = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return text;
}

static enum err list_all(struct call *c, int64_t after, int64_t limit, struct receiver **items, size_t *count)
{
	struct receiver_row *rows;
	enum err e = receiver_page(c->s->notify->store, after, limit, c->arena, &rows, count, c->fault);
	*items = e == ERR_OK ? arena_array(c->arena, *count, sizeof **items) : NULL;
	for (size_t i = 0; e == ERR_OK && i < *count; i++)
		e = parse(c->arena, &rows[i], &(*items)[i], c->fault);
	return e;
}

enum err receivers_list(struct call *c, int64_t after, int64_t limit, struct receiver **items, size_t *count)
{
	return list_all(c, after, limit, items, count);
}

enum err receivers_all(struct call *c, struct receiver **items, size_t *count)
{
	return list_all(c, 0, RECEIVERS_MAX, items, count);
}

enum err receiver_show(struct call *c, int64_t id, struct receiver *out)
{
	struct receiver_row row;
	enum err e = receiver_get(c->s->notify->store, id, c->arena, &row, c->fault);
	return e == ERR_OK ? parse(c->arena, &row, out, c->fault) : e;
}

enum err receiver_create(struct call *c, const struct receiver *r, int64_t *id)
{
	struct receiver *all;
	size_t count;
	enum err e = check(c, r);
	if (e == ERR_OK)
		e = receivers_all(c, &all, &count);
	if (e == ERR_OK && count >= RECEIVERS_MAX)
		e = fault_set(c->fault, ERR_CONFLICT, "", "there are %d receivers already", RECEIVERS_MAX);
	if (e != ERR_OK)
		return e;
	struct receiver_row row = row_of(c, r);
	e = receiver_insert(c->s->notify->store, &row, c->fault);
	*id = row.id;
	return e == ERR_OK ? audit_append(c, "receiver.create", arena_printf(c->arena, "receivers/%lld", (long long)row.id), NULL, shown(c, r)) : e;
}

enum err receiver_change(struct call *c, const struct receiver *r)
{
	struct receiver before;
	enum err e = receiver_show(c, r->id, &before);
	if (e != ERR_OK)
		return e;
	struct receiver after = *r;
	after.secret = r->secret != NULL ? r->secret : before.secret;
	e = check(c, &after);
	if (e != ERR_OK)
		return e;
	struct receiver_row row = row_of(c, &after);
	e = receiver_update(c->s->notify->store, &row, c->fault);
	return e == ERR_OK ? audit_append(c, "receiver.update", arena_printf(c->arena, "receivers/%lld", (long long)r->id), shown(c, &before), shown(c, &after)) : e;
}

enum err receiver_remove(struct call *c, int64_t id)
{
	struct receiver before;
	enum err e = receiver_show(c, id, &before);
	if (e == ERR_OK)
		e = receiver_delete(c->s->notify->store, id, c->fault);
	return e == ERR_OK ? audit_append(c, "receiver.delete", arena_printf(c->arena, "receivers/%lld", (long long)id), shown(c, &before), NULL) : e;
}

bool receiver_wants(struct call *c, const struct receiver *r, const struct alert_row *row)
{
	const struct {
		const char *name, *text;
	} fields[] = {
		{"kind", row->kind}, {"resource", row->resource}, {"severity", row->severity}, {"cohort", row->cohort}, {"metric", row->metric},
		{"rule", arena_printf(c->arena, "%lld", (long long)row->rule)},
	};
	for (size_t i = 0; i < r->matcher_count; i++) {
		const struct silence_matcher *m = &r->matchers[i];
		for (size_t k = 0; k < sizeof fields / sizeof fields[0]; k++) {
			if (strcmp(fields[k].name, m->name) == 0 && alerts_glob(m->value, fields[k].text) == m->negate)
				return false;
		}
	}
	return true;
}
