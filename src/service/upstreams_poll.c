/* One look at an upstream: what is published, compared with what was, and what follows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "service/access.h"
#include "service/alerts.h"
#include "service/metrics.h"
#include "service/unit.h"
#include "service/upstreams_inside.h"

bool upstreams_is_local(const struct upstream_row *row)
{
	return strcmp(row->kind, "directory") == 0;
}

const char *upstreams_ca_file(const struct upstreams *u, const struct upstream_row *row)
{
	return row->ca_file[0] != '\0' ? row->ca_file : u->options.ca_file[0] != '\0' ? u->options.ca_file : NULL;
}

/* ---- memory ---- */

void upstreams_free_poll(struct upstream_run *run)
{
	struct upstream_poll *p = run->poll;
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->count; i++) {
		free(p->told[i].record);
		free(p->told[i].place);
	}
	if (p->group != NULL)
		sha256_free(p->group);
	free(p->told);
	free(p->etag);
	free(p);
	run->poll = NULL;
}

struct upstream_told *upstreams_tell(struct upstream_poll *p)
{
	if (p->count == p->room) {
		p->room = p->room > 0 ? p->room * 2 : 16;
		p->told = reallocarray(p->told, p->room, sizeof *p->told);
		if (p->told == NULL)
			abort();
	}
	struct upstream_told *t = &p->told[p->count++];
	memset(t, 0, sizeof *t);
	return t;
}

/* ---- records ---- */

static void write_declared(struct buf *b, const struct upstream_record *r, const struct upstream_artifact *a)
{
	const struct slice quality = a->quality.len > 0 ? a->quality : r->quality;
	const struct {
		const char *name;
		struct slice raw;
	} members[] = {{"format", a->format}, {"requires", a->requires}, {"quality", quality}};
	json_key(b, "declared");
	json_open_object(b);
	for (size_t i = 0; i < 3; i++) {
		if (members[i].raw.len == 0)
			continue;
		json_key(b, members[i].name);
		buf_append(b, members[i].raw.data, members[i].raw.len);
	}
	json_close_object(b);
}

enum err upstreams_write_record(struct call *c, const struct upstream_row *row, const struct upstream_record *r, const char *base, const char **json)
{
	struct buf b = BUF_INIT;
	enum err e = ERR_OK;
	json_open_object(&b);
	json_str(&b, "notes", r->notes);
	json_key(&b, "artifacts");
	json_open_array(&b);
	for (unsigned i = 0; i < r->artifact_count && e == ERR_OK; i++) {
		const struct upstream_artifact *a = &r->artifacts[i];
		char url[UPSTREAM_URL_BYTES];
		bool ok = true;
		if (upstreams_is_local(row)) /* beside the record */
			ok = strchr(a->url, '/') == NULL && strcmp(a->url, "..") != 0 && snprintf(url, sizeof url, "%s/%s", base, a->url) < (int)sizeof url;
		else
			ok = upstream_url_join(base, a->url, url);
		if (!ok) {
			e = fault_set(c->fault, ERR_INVALID, "", "version %s: '%.80s' is no address of a file here", r->version, a->url);
			break;
		}
		json_open_object(&b);
		json_str(&b, "hardware", a->hardware);
		json_str(&b, "variant", a->variant);
		json_str(&b, "file", a->file);
		json_str(&b, "url", url);
		json_int(&b, "size_bytes", a->size_bytes);
		json_str(&b, "sha256", a->sha256);
		write_declared(&b, r, a);
		json_close_object(&b);
	}
	json_close_array(&b);
	json_close_object(&b);
	*json = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	return e;
}

/* ---- begin ---- */

void upstreams_begin_poll(struct call *c, struct upstream_run *run, const struct upstream_row *row, bool is_dry)
{
	struct upstreams *u = c->s->upstreams;
	struct upstream_poll *p = calloc(1, sizeof *p);
	if (p == NULL)
		abort();
	p->at = -1;
	p->is_dry = is_dry;
	p->is_asked = run->is_wanted;
	run->is_wanted = false;
	run->poll = p;
	metric_add(METER_UPSTREAM_POLLS, 1);
	if (upstreams_is_local(row)) {
		enum err e = upstreams_local_list(u, row, p, c->fault);
		if (e != ERR_OK)
			upstreams_poll_fault(c, run, row, e == ERR_TOO_LARGE ? UPSTREAM_FAULT_TOO_LARGE : UPSTREAM_FAULT_UNREACHABLE, c->fault->detail, 0);
		else
			upstreams_list_done(c, run, row);
		return;
	}
	bool is_fresh = row->etag[0] != '\0' && !is_dry && row->fault[0] == '\0';
	upstreams_want(u, run, row, &(struct upstream_want){.url = upstreams_list_url(c, row, NULL), .etag = is_fresh ? row->etag : NULL});
}

/* ---- what it comes to ---- */

struct outcome {
	enum upstream_fault fault;
	const char *detail;
	const char *version; /* chosen; NULL: none */
	const char *why;     /* of the choice */
	const char *refusal; /* of the chosen one; NULL: none */
	const char *action;
	const char *fleet;   /* JSON array; NULL: not looked at */
};

static void tell_waiter(struct call *c, struct upstream_run *run, const struct upstream_row *row, const struct outcome *o)
{
	struct upstream_waiter w = run->waiter;
	struct buf b = BUF_INIT;
	bool is_asked = run->poll->is_asked, is_dry = run->poll->is_dry;
	if (!is_asked || w.told == NULL)
		return;
	run->waiter = (struct upstream_waiter){0};
	json_open_object(&b);
	json_str(&b, "upstream", row->name);
	json_bool(&b, "dry_run", is_dry);
	json_int(&b, "published", (int64_t)run->poll->count);
	json_str(&b, "would", o->fault != UPSTREAM_FAULT_NONE || o->refusal != NULL ? "refuse" : o->version == NULL ? "nothing" : o->action);
	if (o->version != NULL)
		json_str(&b, "version", o->version);
	if (o->fault != UPSTREAM_FAULT_NONE)
		json_str(&b, "fault", upstream_fault_text(o->fault));
	json_key(&b, "reasons");
	json_open_array(&b);
	if (o->detail != NULL && o->detail[0] != '\0')
		json_put_str(&b, o->detail);
	if (o->why != NULL)
		json_put_str(&b, o->why);
	if (o->refusal != NULL)
		json_put_str(&b, o->refusal);
	json_close_array(&b);
	if (o->fleet != NULL)
		json_raw(&b, "fleet", o->fleet);
	json_close_object(&b);
	const char *json = arena_strdup(c->arena, buf_cstr(&b));
	buf_done(&b);
	w.told(w.ctx, ERR_OK, c->fault, json);
}

static const char *state_of(const struct upstream_row *row, enum upstream_fault fault)
{
	return fault != UPSTREAM_FAULT_NONE ? "failing" : row->stopped_version[0] != '\0' ? "stopped" : "ok";
}

static enum err note_fault(struct call *c, const struct upstream_row *row, enum upstream_fault fault, const char *detail, int64_t retry_after_ms)
{
	struct upstream_row next = *row;
	uint64_t random;
	crypto_random(&random, sizeof random);
	bool is_new = strcmp(row->fault, upstream_fault_text(fault)) != 0;
	next.failures++;
	next.fault = upstream_fault_text(fault);
	next.reason = detail;
	next.state = state_of(row, fault);
	next.checked_at = c->now_ms;
	next.next_at = upstream_next_ms(c->now_ms, row->interval_ms, (unsigned)next.failures, retry_after_ms, random);
	enum err e = upstream_store_note(c->s->upstreams->store, &next, c->fault);
	if (e == ERR_OK && is_new) {
		struct buf b = BUF_INIT;
		json_open_object(&b);
		json_str(&b, "fault", next.fault);
		json_str(&b, "reason", detail);
		json_close_object(&b);
		e = event_append(c, "upstream.fault", upstreams_resource(c, row), b.data);
		buf_done(&b);
	}
	if (e != ERR_OK || (fault == UPSTREAM_FAULT_UNREACHABLE && next.failures < row->alert_after))
		return e;
	return alert_raise(c, arena_printf(c->arena, UPSTREAM_ALERT_PREFIX "%s", next.fault), upstreams_resource(c, row), ALERT_WARNING,
		arena_printf(c->arena, "upstream %s of model %s: %s", row->name, row->model, detail), NULL);
}

void upstreams_poll_fault(struct call *c, struct upstream_run *run, const struct upstream_row *row, enum upstream_fault fault, const char *detail,
	int64_t retry_after_ms)
{
	detail = arena_strdup(c->arena, detail);
	metric_add(METER_UPSTREAM_POLLS_FAILED, 1);
	log_event(LOG_WARN, "upstream.poll", "upstream=%s fault=%s detail=%s", row->name, upstream_fault_text(fault), log_quote(detail));
	if (!run->poll->is_dry) {
		enum err e = unit_begin(c->s, c->fault);
		if (e == ERR_OK)
			e = unit_end(c->s, note_fault(c, row, fault, detail, retry_after_ms), c->fault);
		if (e != ERR_OK)
			log_event(LOG_ERROR, "upstream.note", "upstream=%s error=%s detail=%s", row->name, err_name(e), log_quote(c->fault->detail));
	}
	tell_waiter(c, run, row, &(struct outcome){.fault = fault, .detail = detail});
	upstreams_free_poll(run);
	c->s->upstreams->next_ms = 0;
}

/* ---- against what was seen before ---- */

static const struct upstream_version_row *find_row(const struct upstream_version_row *rows, size_t count, const char *version)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].version, version) == 0)
			return &rows[i];
	return NULL;
}

/* An upstream that takes back, changes or forgets what it published is not believed in anything else it says. */
static enum upstream_fault compare(struct call *c, const struct upstream_poll *p, const struct upstream_row *row,
	const struct upstream_version_row *rows, size_t count, const char **detail)
{
	if (p->published < row->published) {
		*detail = arena_printf(c->arena, "it was published at %lld, an index of %lld was seen before", (long long)p->published,
			(long long)row->published);
		return UPSTREAM_FAULT_REPLAY;
	}
	for (size_t i = 0; i < count && !p->is_partial; i++) {
		size_t k = 0;
		while (k < p->count && strcmp(p->told[k].version, rows[i].version) != 0)
			k++;
		if (k == p->count) {
			*detail = arena_printf(c->arena, "version %s was published and is not there any more", rows[i].version);
			return UPSTREAM_FAULT_SHRUNK;
		}
	}
	for (size_t k = 0; k < p->count; k++) {
		const struct upstream_version_row *was = find_row(rows, count, p->told[k].version);
		if (was != NULL && !p->told[k].is_withdrawn && was->digest[0] != '\0' && strcmp(was->digest, p->told[k].digest) != 0) {
			*detail = arena_printf(c->arena, "version %s has other contents than when it was published", was->version);
			return UPSTREAM_FAULT_CHANGED;
		}
	}
	return UPSTREAM_FAULT_NONE;
}

/* Old and new versions together; places in *offers are those of `told` where `from_told`. */
struct merged {
	struct upstream_offer *offers;
	const char **records; /* NULL: not read */
	int *told;            /* index, -1: the row's alone */
	size_t count;
};

static enum err merge(struct call *c, const struct upstream_poll *p, const struct upstream_row *row, const struct upstream_version_row *rows,
	size_t count, struct merged *m)
{
	(void)row;
	m->offers = arena_array(c->arena, p->count + count, sizeof *m->offers);
	m->told = arena_array(c->arena, p->count + count, sizeof *m->told);
	m->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct upstream_offer *o = &m->offers[m->count];
		*o = (struct upstream_offer){.version = rows[i].version, .is_withdrawn = rows[i].is_withdrawn};
		if (!upstream_status_parse(rows[i].status, &o->status))
			return fault_set(c->fault, ERR_INTERNAL, "", "a version has status %s", rows[i].status);
		m->told[m->count++] = -1;
	}
	for (size_t k = 0; k < p->count; k++) {
		size_t i = 0;
		while (i < count && strcmp(rows[i].version, p->told[k].version) != 0)
			i++;
		if (i == count)
			m->offers[m->count++] = (struct upstream_offer){.version = p->told[k].version, .status = UPSTREAM_SEEN};
		size_t at = i < count ? i : m->count - 1;
		m->offers[at].is_withdrawn = p->told[k].is_withdrawn;
		m->told[at] = (int)k;
	}
	return ERR_OK;
}

static enum err store_told(struct call *c, const struct upstream_poll *p, const struct upstream_row *row, const struct upstream_version_row *rows,
	size_t count)
{
	struct upstream_store *store = c->s->upstreams->store;
	enum err e = ERR_OK;
	for (size_t k = 0; k < p->count && e == ERR_OK; k++) {
		const struct upstream_told *t = &p->told[k];
		const struct upstream_version_row *was = find_row(rows, count, t->version);
		if (was == NULL) {
			struct upstream_version_row v = {.upstream = row->id, .version = t->version, .digest = t->digest, .record = t->record,
				.is_withdrawn = t->is_withdrawn, .status = upstream_status_text(UPSTREAM_SEEN), .seen_at = c->now_ms, .updated_at = c->now_ms};
			e = upstream_store_insert_version(store, &v, c->fault);
		} else if (was->is_withdrawn != t->is_withdrawn || strcmp(was->digest, t->digest) != 0 || t->record != NULL) {
			struct upstream_version_row v = *was;
			bool is_open = strcmp(was->status, upstream_status_text(UPSTREAM_SEEN)) == 0 ||
				strcmp(was->status, upstream_status_text(UPSTREAM_FETCHING)) == 0; /* addresses may change, contents did not */
			v.is_withdrawn = t->is_withdrawn;
			v.digest = t->is_withdrawn ? was->digest : t->digest; /* it may come back, with the same contents */
			v.record = is_open ? t->record : NULL;
			e = upstream_store_set_version(store, &v, c->fault);
		}
	}
	return e;
}

static enum err note_good(struct call *c, const struct upstream_poll *p, const struct upstream_row *row)
{
	struct upstream_row next = *row;
	uint64_t random;
	crypto_random(&random, sizeof random);
	next.failures = 0;
	next.fault = next.reason = "";
	next.state = state_of(row, UPSTREAM_FAULT_NONE);
	next.checked_at = next.succeeded_at = c->now_ms;
	next.next_at = upstream_next_ms(c->now_ms, row->interval_ms, 0, 0, random);
	if (!p->is_unchanged) {
		/* others tell records apart from the list, and one that is still to be read would stay so */
		bool is_whole = strcmp(row->kind, "index") == 0;
		next.etag = is_whole && p->etag != NULL && strlen(p->etag) <= 256 ? p->etag : "";
		next.published = p->published > row->published ? p->published : row->published;
	}
	enum err e = upstream_store_note(c->s->upstreams->store, &next, c->fault);
	for (int f = 1; f < UPSTREAM_FAULT_CONTENT && e == ERR_OK && row->fault[0] != '\0'; f++)
		e = alert_resolve(c, arena_printf(c->arena, UPSTREAM_ALERT_PREFIX "%s", upstream_fault_text((enum upstream_fault)f)),
			upstreams_resource(c, row));
	return e;
}

static enum err take_over(struct call *c, const struct upstream_poll *p, const struct upstream_row *row, const struct upstream_version_row *rows,
	size_t count)
{
	enum err e = unit_begin(c->s, c->fault);
	if (e != ERR_OK)
		return e;
	e = store_told(c, p, row, rows, count);
	if (e == ERR_OK)
		e = note_good(c, p, row);
	return unit_end(c->s, e, c->fault);
}

/* The version that may be taken and its record; asks for that where it is not there yet (*is_asked). */
static enum err choose(struct call *c, struct upstream_run *run, const struct upstream_row *row, const struct upstream_policy *policy,
	const struct merged *m, struct outcome *o, bool *is_asked)
{
	struct upstreams *u = c->s->upstreams;
	struct upstream_poll *p = run->poll;
	struct upstream_rules rules = {.takes_prereleases = policy->prereleases};
	char *why = arena_alloc(c->arena, UPSTREAM_WHY_BYTES);
	const char *record = NULL;
	enum err e = upstream_store_running(u->store, row->id, row->model, c->arena, &rules.running, c->fault);
	if (e != ERR_OK)
		return e;
	int at = upstream_choose(m->offers, m->count, &rules, why);
	o->why = why;
	o->action = strcmp(policy->action, "none") == 0 ? "import" : policy->action;
	if (at < 0)
		return ERR_OK;
	o->version = m->offers[at].version;
	int told = m->told[at];
	if (told >= 0)
		record = p->told[told].record;
	if (record == NULL) {
		struct upstream_version_row v;
		e = upstream_store_version(u->store, row->id, o->version, c->arena, &v, c->fault);
		record = e == ERR_OK ? v.record : NULL;
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	if (e == ERR_OK && record == NULL && told >= 0 && p->told[told].place != NULL && p->at != told) {
		p->at = told;
		*is_asked = true;
		if (!upstreams_is_local(row)) {
			upstreams_want(u, run, row, &(struct upstream_want){.url = p->told[told].place});
			return ERR_OK;
		}
		char *text = NULL;
		size_t len = 0;
		const char *base = NULL, *json = NULL;
		e = upstreams_local_read(u, p->told[told].place, UPSTREAM_DOCUMENT_BYTES, &text, &len, c->fault);
		if (e == ERR_OK)
			e = upstreams_read_record(c, row, &p->told[told], text, len, &base);
		if (e == ERR_OK)
			e = upstreams_write_record(c, row, u->record, base, &json);
		if (e == ERR_OK)
			p->told[told].record = strdup(json);
		free(text);
		return e;
	}
	if (e == ERR_OK && record == NULL) {
		o->refusal = "nothing is known of its contents";
		return ERR_OK;
	}
	if (e == ERR_OK && p->is_asked)
		e = upstreams_preview(c, row, record, &o->fleet);
	return e == ERR_OK ? upstreams_check_quality(c, row, policy, record, &o->refusal) : e;
}

static enum err conclude(struct call *c, struct upstream_run *run, const struct upstream_row *row, struct outcome *o, bool *is_asked)
{
	struct upstream_poll *p = run->poll;
	struct upstream_policy policy;
	struct upstream_version_row *rows;
	struct merged m = {0};
	size_t count = 0;
	enum err e = upstream_policy_read(row->policy, &policy, c->arena, c->fault);
	if (e == ERR_OK)
		e = upstream_store_versions(c->s->upstreams->store, row->id, c->arena, &rows, &count, c->fault);
	if (e != ERR_OK)
		return e;
	if (!p->is_unchanged)
		o->fault = compare(c, p, row, rows, count, &o->detail);
	if (o->fault != UPSTREAM_FAULT_NONE)
		return ERR_OK;
	if (!p->is_unchanged && count + p->count > UPSTREAM_VERSIONS_MAX * 2) {
		o->fault = UPSTREAM_FAULT_TOO_LARGE;
		o->detail = "too many versions";
		return ERR_OK;
	}
	e = merge(c, p, row, rows, count, &m);
	if (e == ERR_OK)
		e = choose(c, run, row, &policy, &m, o, is_asked);
	if (e != ERR_OK || *is_asked || p->is_dry)
		return e;
	return take_over(c, p, row, rows, count);
}

void upstreams_list_done(struct call *c, struct upstream_run *run, const struct upstream_row *row)
{
	struct outcome o = {0};
	bool is_asked;
	enum err e;
	do { /* the record of a local one is there at once */
		o = (struct outcome){0};
		is_asked = false;
		e = conclude(c, run, row, &o, &is_asked);
	} while (e == ERR_OK && is_asked && upstreams_is_local(row));
	if (e == ERR_OK && is_asked)
		return;
	if (e != ERR_OK) { /* of a record that was read just now, or of our own disk */
		upstreams_poll_fault(c, run, row, e == ERR_FORBIDDEN ? UPSTREAM_FAULT_SIGNATURE : e == ERR_INVALID || e == ERR_BAD_REQUEST
			? UPSTREAM_FAULT_DOCUMENT : e == ERR_TOO_LARGE ? UPSTREAM_FAULT_TOO_LARGE : UPSTREAM_FAULT_UNREACHABLE, c->fault->detail, 0);
		return;
	}
	if (o.fault != UPSTREAM_FAULT_NONE) {
		upstreams_poll_fault(c, run, row, o.fault, o.detail, 0);
		return;
	}
	bool is_dry = run->poll->is_dry;
	const char *version = arena_strdup(c->arena, o.version);
	o.version = version;
	tell_waiter(c, run, row, &o);
	upstreams_free_poll(run);
	c->s->upstreams->next_ms = 0;
	if (version == NULL || is_dry)
		return;
	e = upstreams_begin_version(c, row, version);
	if (e != ERR_OK)
		log_event(LOG_ERROR, "upstream.take", "upstream=%s version=%s error=%s detail=%s", row->name, version, err_name(e),
			log_quote(c->fault->detail));
}
