/* /api/v1/receivers and /api/v1/deliveries */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "api/route.h"
#include "net/mail.h"
#include "service/notify.h"

/* ---- receivers ---- */

struct matcher_body {
	bool none;
	bool negate;
	const char *name, *value;
};
struct receiver_body {
	bool none;
	bool has_type, has_enabled, has_matchers, has_url, has_secret, has_ca, has_user, has_sender, has_recipients, has_title, has_text, has_body, has_wait,
		has_interval, has_repeat, has_timeout, has_rate, enabled, has_any_secret;
	int64_t id, revision, created_at, updated_at, wait_ms, interval_ms, repeat_ms, timeout_ms, per_minute, delayed;
	const char *name, *type, *url, *secret, *ca_file, *user, *sender, *title, *text, *body;
	struct json_objects matchers;
	struct json_strs recipients;
};

#define MATCHER(member) .offset = offsetof(struct matcher_body, member)
static const struct field matcher_fields[] = {
	{.name = "name", .type = FIELD_STR, MATCHER(name), .min = 1, .max = 64, .flags = FIELD_REQUIRED,
	 .doc = "kind, resource, severity, cohort, metric or rule"},
	{.name = "value", .type = FIELD_STR, MATCHER(value), .max = 256, .flags = FIELD_REQUIRED, .doc = "* stands for any run of characters"},
	{.name = "negate", .type = FIELD_BOOL, MATCHER(negate), .doc = "must not match"},
	{.name = NULL},
};

#define AT(member) .offset = offsetof(struct receiver_body, member)
#define SEEN(member) .present_offset = offsetof(struct receiver_body, member)
#define RECEIVER_FIELDS(required)                                                                                                            \
	{.name = "id", .type = FIELD_INT, AT(id), .flags = FIELD_READONLY, .doc = "number of the receiver"},                                       \
	{.name = "name", .type = FIELD_STR, AT(name), .min = 1, .max = 64, .flags = required, .doc = "for people; no two receivers share one"},    \
	{.name = "type", .type = FIELD_ENUM, AT(type), SEEN(has_type), .choices = "webhook alertmanager email", .flags = required,                \
	 .doc = "webhook: signed JSON; alertmanager: Prometheus Alertmanager's v2 API; email: SMTP"},                                             \
	{.name = "enabled", .type = FIELD_BOOL, AT(enabled), SEEN(has_enabled), .doc = "true when absent; else it is told nothing"},               \
	{.name = "matchers", .type = FIELD_OBJECTS, AT(matchers), SEEN(has_matchers), .max = RECEIVER_MATCHERS, .fields = matcher_fields,          \
	 .item_bytes = sizeof(struct matcher_body), .doc = "alerts it is told of: all must match; none: every alert"},                            \
	{.name = "url", .type = FIELD_STR, AT(url), SEEN(has_url), .min = 1, .max = 1024, .flags = required,                                      \
	 .doc = "https:// http://, of email smtps:// smtp://; public addresses, and those of [notify] allow"},                                    \
	{.name = "secret", .type = FIELD_STR, AT(secret), SEEN(has_secret), .max = 256, .flags = FIELD_WRITEONLY,                                  \
	 .doc = "key of X-Aviary-Signature, bearer token of Alertmanager, password of email; never shown"},                                       \
	{.name = "has_secret", .type = FIELD_BOOL, AT(has_any_secret), .flags = FIELD_READONLY, .doc = "whether there is one"},                     \
	{.name = "ca_file", .type = FIELD_STR, AT(ca_file), SEEN(has_ca), .max = 512,                                                             \
	 .doc = "PEM file of the server with the certificates that sign the receiver's; empty: the system's"},                                    \
	{.name = "user", .type = FIELD_STR, AT(user), SEEN(has_user), .max = 128, .doc = "of email: whom the password belongs to"},                \
	{.name = "sender", .type = FIELD_STR, AT(sender), SEEN(has_sender), .max = 254, .doc = "of email: address it comes from"},                 \
	{.name = "recipients", .type = FIELD_STRS, AT(recipients), SEEN(has_recipients), .max = RECEIVER_RECIPIENTS, .doc = "of email: addresses"}, \
	{.name = "title", .type = FIELD_STR, AT(title), SEEN(has_title), .max = 512, .doc = "template of title or subject; empty: the standard one"}, \
	{.name = "text", .type = FIELD_STR, AT(text), SEEN(has_text), .max = 8192, .doc = "template of the text; empty: the standard one"},        \
	{.name = "body", .type = FIELD_STR, AT(body), SEEN(has_body), .max = 16384,                                                               \
	 .doc = "of webhooks: template of the whole JSON body; empty: the standard one"},                                                         \
	{.name = "wait_ms", .type = FIELD_INT, AT(wait_ms), SEEN(has_wait), .max = 3600000,                                                       \
	 .doc = "from a group's first change to its notification; 30000 when absent, 1000 of alertmanager"},                                      \
	{.name = "interval_ms", .type = FIELD_INT, AT(interval_ms), SEEN(has_interval), .min = 100, .max = 86400000,                              \
	 .doc = "least time between two notifications of a group; 300000 when absent, 30000 of alertmanager"},                                    \
	{.name = "repeat_ms", .type = FIELD_INT, AT(repeat_ms), SEEN(has_repeat), .min = 1000, .max = 2592000000,                                 \
	 .doc = "told again while it fires; 14400000 when absent, 60000 of alertmanager"},                                                        \
	{.name = "per_minute", .type = FIELD_INT, AT(per_minute), SEEN(has_rate), .max = 6000,                                                    \
	 .doc = "notifications of all groups together in a minute, others wait; 10 when absent; 0 (alertmanager when absent): no limit"},          \
	{.name = "delayed", .type = FIELD_INT, AT(delayed), .flags = FIELD_READONLY, .doc = "how often a group had to wait for that"},             \
	{.name = "timeout_ms", .type = FIELD_INT, AT(timeout_ms), SEEN(has_timeout), .min = 100, .max = 60000, .doc = "of one attempt; 10000 when absent"}, \
	{.name = "revision", .type = FIELD_INT, AT(revision), .flags = FIELD_READONLY, .doc = "grows with each change; the ETag"},                 \
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .flags = FIELD_READONLY, .doc = "when it was made"},                            \
	{.name = "updated_at", .type = FIELD_INT, AT(updated_at), .flags = FIELD_READONLY, .doc = "when it was changed last"},                    \
	{.name = NULL}
static const struct field receiver_fields[] = {RECEIVER_FIELDS(FIELD_REQUIRED)};
static const struct field receiver_changes[] = {RECEIVER_FIELDS(0)};
#undef AT
#undef SEEN

static void encode_receiver(struct api_request *rq, const struct receiver *r)
{
	struct receiver_body b = {.enabled = r->is_enabled, .has_any_secret = r->secret[0] != '\0', .id = r->id, .revision = r->revision,
		.created_at = r->created_at, .updated_at = r->updated_at, .wait_ms = r->timing.wait_ms, .interval_ms = r->timing.interval_ms,
		.repeat_ms = r->timing.repeat_ms, .timeout_ms = r->timeout_ms, .per_minute = r->per_minute, .delayed = r->delayed, .name = r->name, .type = r->type, .url = r->url, .ca_file = r->ca_file,
		.user = r->user, .sender = r->sender, .title = r->title, .text = r->text, .body = r->body};
	struct matcher_body *m = arena_array(rq->call.arena, r->matcher_count, sizeof *m);
	for (size_t i = 0; i < r->matcher_count; i++)
		m[i] = (struct matcher_body){.negate = r->matchers[i].negate, .name = r->matchers[i].name, .value = r->matchers[i].value};
	b.matchers = (struct json_objects){m, r->matcher_count};
	b.recipients = (struct json_strs){(const char **)(uintptr_t)r->recipients, r->recipient_count};
	json_encode(receiver_fields, &b, &rq->out);
}

static void merge_lists(struct arena *a, struct receiver *r, const struct receiver_body *b)
{
	if (b->has_matchers) {
		const struct matcher_body *given = b->matchers.items;
		struct silence_matcher *m = arena_array(a, b->matchers.count, sizeof *m);
		for (size_t i = 0; i < b->matchers.count; i++)
			m[i] = (struct silence_matcher){given[i].name, given[i].value, given[i].negate};
		r->matchers = m;
		r->matcher_count = b->matchers.count;
	}
	if (b->has_recipients) {
		r->recipients = b->recipients.items;
		r->recipient_count = b->recipients.count;
	}
}

static void merge(struct arena *a, struct receiver *r, const struct receiver_body *b)
{
	r->name = b->name != NULL ? b->name : r->name;
	r->type = b->has_type ? b->type : r->type;
	r->is_enabled = b->has_enabled ? b->enabled : r->is_enabled;
	r->url = b->has_url ? b->url : r->url;
	r->secret = b->has_secret ? b->secret : r->secret;
	r->ca_file = b->has_ca ? b->ca_file : r->ca_file;
	r->user = b->has_user ? b->user : r->user;
	r->sender = b->has_sender ? b->sender : r->sender;
	r->title = b->has_title ? b->title : r->title;
	r->text = b->has_text ? b->text : r->text;
	r->body = b->has_body ? b->body : r->body;
	r->timing.wait_ms = b->has_wait ? b->wait_ms : r->timing.wait_ms;
	r->timing.interval_ms = b->has_interval ? b->interval_ms : r->timing.interval_ms;
	r->timing.repeat_ms = b->has_repeat ? b->repeat_ms : r->timing.repeat_ms;
	r->timeout_ms = b->has_timeout ? b->timeout_ms : r->timeout_ms;
	r->per_minute = b->has_rate ? b->per_minute : r->per_minute;
	merge_lists(a, r, b);
}

static enum err check_addresses(struct api_request *rq, const struct receiver *r)
{
	char pointer[40];
	if (r->sender[0] != '\0' && !mail_is_address(r->sender))
		return fault_set(rq->call.fault, ERR_INVALID, "/sender", "is no mail address");
	for (size_t i = 0; i < r->recipient_count; i++) {
		snprintf(pointer, sizeof pointer, "/recipients/%zu", i);
		if (!mail_is_address(r->recipients[i]))
			return fault_set(rq->call.fault, ERR_INVALID, pointer, "is no mail address");
	}
	return ERR_OK;
}

static enum err answer_receiver(struct api_request *rq, int64_t id)
{
	struct receiver r;
	enum err e = receiver_show(&rq->call, id, &r);
	if (e != ERR_OK)
		return e;
	encode_receiver(rq, &r);
	rq->etag_revision = r.revision;
	return ERR_OK;
}

static enum err create_receiver(struct api_request *rq)
{
	const struct receiver_body *b = rq->body;
	bool is_manager = strcmp(b->type, "alertmanager") == 0;
	struct receiver r = {.is_enabled = true, .secret = "", .ca_file = "", .user = "", .sender = "", .title = "", .text = "", .body = "",
		.timeout_ms = 10000, .per_minute = is_manager ? 0 : RECEIVER_PER_MINUTE, .timing = {is_manager ? 1000 : NOTIFY_WAIT_MS, is_manager ? 30000 : NOTIFY_INTERVAL_MS, is_manager ? 60000 : NOTIFY_REPEAT_MS}};
	int64_t id;
	merge(rq->call.arena, &r, b);
	enum err e = check_addresses(rq, &r);
	if (e == ERR_OK)
		e = receiver_create(&rq->call, &r, &id);
	if (e != ERR_OK)
		return e;
	rq->location = arena_printf(rq->call.arena, "/api/v1/receivers/%lld", (long long)id);
	return answer_receiver(rq, id);
}

static enum err show_receiver(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? answer_receiver(rq, id) : e;
}

static enum err find_matching(struct api_request *rq, struct receiver *r)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = receiver_show(&rq->call, id, r);
	return e == ERR_OK ? api_if_match(rq, r->revision) : e;
}

static enum err update_receiver(struct api_request *rq)
{
	struct receiver r;
	enum err e = find_matching(rq, &r);
	if (e != ERR_OK)
		return e;
	merge(rq->call.arena, &r, rq->body);
	e = check_addresses(rq, &r);
	if (e == ERR_OK)
		e = receiver_change(&rq->call, &r);
	return e == ERR_OK ? answer_receiver(rq, r.id) : e;
}

static enum err delete_receiver(struct api_request *rq)
{
	struct receiver r;
	enum err e = find_matching(rq, &r);
	return e == ERR_OK ? receiver_remove(&rq->call, r.id) : e;
}

static enum err list_receivers(struct api_request *rq)
{
	int64_t limit, after;
	struct receiver *items;
	size_t count;
	enum err e = api_query_page(rq, &limit, &after);
	if (e == ERR_OK)
		e = receivers_list(&rq->call, after, limit + 1, &items, &count);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		encode_receiver(rq, &items[i]);
	api_list_close(rq, more ? api_cursor_of(rq, items[count - 1].id) : NULL, -1);
	return ERR_OK;
}

/* ---- deliveries ---- */

struct delivery_body {
	bool none;
	int64_t id, receiver, seq, created_at, expires_at, next_at, attempts, reply, done_at;
	const char *key, *group, *status, *subject, *body, *error;
};
#define AT(member) .offset = offsetof(struct delivery_body, member)
static const struct field delivery_fields[] = {
	{.name = "id", .type = FIELD_INT, AT(id), .doc = "number of the delivery"},
	{.name = "receiver", .type = FIELD_INT, AT(receiver), .doc = "who gets it"},
	{.name = "key", .type = FIELD_STR, AT(key), .doc = "Idempotency-Key: the same in each attempt"},
	{.name = "seq", .type = FIELD_INT, AT(seq), .doc = "of its group and receiver, from 1, in order"},
	{.name = "group", .type = FIELD_STR, AT(group), .doc = "cohort or resource, and rule or kind"},
	{.name = "status", .type = FIELD_ENUM, AT(status), .choices = "pending sent dead", .doc = "dead: refused, or tried for a day"},
	{.name = "subject", .type = FIELD_STR, AT(subject), .doc = "its title"},
	{.name = "body", .type = FIELD_STR, AT(body), .doc = "what is sent; only where one delivery is shown"},
	{.name = "attempts", .type = FIELD_INT, AT(attempts), .doc = "how often it was tried"},
	{.name = "reply", .type = FIELD_INT, AT(reply), .flags = FIELD_OMIT_ZERO, .doc = "status of the last answer"},
	{.name = "error", .type = FIELD_STR, AT(error), .doc = "why the last attempt failed"},
	{.name = "created_at", .type = FIELD_INT, AT(created_at), .doc = "when it was written"},
	{.name = "next_at", .type = FIELD_INT, AT(next_at), .flags = FIELD_OMIT_ZERO, .doc = "of a pending one: not tried before"},
	{.name = "expires_at", .type = FIELD_INT, AT(expires_at), .doc = "an attempt that fails after it was the last one"},
	{.name = "done_at", .type = FIELD_INT, AT(done_at), .flags = FIELD_OMIT_ZERO, .doc = "when it was sent or given up"},
	{.name = NULL},
};

static void encode_delivery(struct api_request *rq, const struct delivery *d)
{
	struct delivery_body b = {.id = d->id, .receiver = d->receiver, .seq = d->seq, .created_at = d->created_at, .expires_at = d->expires_at,
		.next_at = d->done_at == 0 ? d->next_at : 0, .attempts = d->attempts, .reply = d->reply, .done_at = d->done_at, .group = d->group,
		.status = d->status, .subject = d->subject, .body = d->body, .error = d->error};
	b.key = arena_printf(rq->call.arena, "%s:%lld", d->key, (long long)d->seq);
	json_encode(delivery_fields, &b, &rq->out);
}

static enum err answer_delivery(struct api_request *rq, int64_t id)
{
	struct delivery d;
	enum err e = delivery_show(&rq->call, id, &d);
	if (e == ERR_OK)
		encode_delivery(rq, &d);
	return e;
}

static enum err show_delivery(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	return e == ERR_OK ? answer_delivery(rq, id) : e;
}

static enum err resend_delivery(struct api_request *rq)
{
	int64_t id;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = delivery_resend(&rq->call, id);
	return e == ERR_OK ? answer_delivery(rq, id) : e;
}

static enum err test_receiver(struct api_request *rq)
{
	int64_t id, delivery;
	enum err e = api_param_id(rq, 0, &id);
	if (e == ERR_OK)
		e = receiver_test(&rq->call, id, &delivery);
	return e == ERR_OK ? answer_delivery(rq, delivery) : e;
}

static enum err list_deliveries(struct api_request *rq)
{
	static const char *const statuses[] = {"pending", "sent", "dead", NULL};
	int64_t limit, before, receiver = 0;
	const char *status = api_query(rq, "status");
	struct delivery *items;
	size_t count, known = 0;
	while (status != NULL && statuses[known] != NULL && strcmp(statuses[known], status) != 0)
		known++;
	if (statuses[known] == NULL)
		return fault_set(rq->call.fault, ERR_BAD_REQUEST, "", "query parameter status: pending, sent or dead is wanted");
	enum err e = api_query_int(rq, "receiver", 1, INT64_C(9000000000000000), &receiver);
	if (e == ERR_OK)
		e = api_query_page(rq, &limit, &before);
	if (e == ERR_OK)
		e = deliveries_list(&rq->call, receiver, status, before, limit + 1, &items, &count);
	if (e != ERR_OK)
		return e;
	bool more = count > (size_t)limit;
	count -= more;
	api_list_open(rq);
	for (size_t i = 0; i < count; i++)
		encode_delivery(rq, &items[i]);
	api_list_close(rq, more ? api_cursor_of(rq, items[count - 1].id) : NULL, -1);
	return ERR_OK;
}

static const struct route_query page_query[] = {
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};
static const struct route_query delivery_query[] = {
	{"receiver", "only to this receiver"},
	{"status", "pending, sent or dead"},
	{"limit", "1 to 1000, 100 when absent"},
	{"cursor", "of the page before"},
	{NULL, NULL},
};

extern const struct route routes_receivers[];
const struct route routes_receivers[] = {
	{.method = "GET", .path = "/api/v1/receivers", .role = ROLE_VIEWER, .summary = "lists who is told of alerts", .tag = "receivers",
	 .reply = receiver_fields, .reply_is_list = true, .query = page_query, .handle = list_receivers},
	{.method = "POST", .path = "/api/v1/receivers", .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_CREATED,
	 .summary = "makes a receiver: a webhook, an Alertmanager, or mail", .tag = "receivers", .body = receiver_fields,
	 .body_bytes = sizeof(struct receiver_body), .reply = receiver_fields, .handle = create_receiver},
	{.method = "GET", .path = "/api/v1/receivers/{id}", .role = ROLE_VIEWER, .summary = "shows a receiver, without its secret", .tag = "receivers",
	 .reply = receiver_fields, .handle = show_receiver},
	{.method = "PATCH", .path = "/api/v1/receivers/{id}", .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_IF_MATCH, .summary = "changes a receiver",
	 .tag = "receivers", .body = receiver_changes, .body_bytes = sizeof(struct receiver_body), .reply = receiver_fields, .handle = update_receiver},
	{.method = "DELETE", .path = "/api/v1/receivers/{id}", .role = ROLE_ADMIN, .flags = ROUTE_WRITE | ROUTE_NO_CONTENT,
	 .summary = "deletes a receiver, and what is on its way to it", .tag = "receivers", .handle = delete_receiver},
	{.method = "POST", .path = "/api/v1/receivers/{id}/test", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE,
	 .summary = "sends it a notification that says it is a test", .tag = "receivers", .reply = delivery_fields, .handle = test_receiver},
	{.method = "GET", .path = "/api/v1/deliveries", .role = ROLE_VIEWER, .summary = "lists notifications on their way, sent and given up, newest first",
	 .tag = "receivers", .reply = delivery_fields, .reply_is_list = true, .query = delivery_query, .handle = list_deliveries},
	{.method = "GET", .path = "/api/v1/deliveries/{id}", .role = ROLE_OPERATOR, .summary = "shows a notification with its body", .tag = "receivers",
	 .reply = delivery_fields, .handle = show_delivery},
	{.method = "POST", .path = "/api/v1/deliveries/{id}/resend", .role = ROLE_OPERATOR, .flags = ROUTE_WRITE,
	 .summary = "tries one that was given up again, for another day", .tag = "receivers", .reply = delivery_fields, .handle = resend_delivery},
	{.method = NULL},
};
