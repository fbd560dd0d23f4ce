/* aviaryctl import hawkbit: moves what a hawkBit server has into Aviary, by hawkBit's own Management API on both sides, and by our bulk
 * registration. Page by page; what was done is noted in a state file, so that a run that was cut goes on; and whatever is there already is
 * found again by its name, so that a run may be repeated without one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "file.h"
#include "import.h"
#include "rest.h"

static enum result hawkbit(struct ctl *c);

static const struct command_option options[] = {
	{.name = "user", .kind = OPTION_TEXT, .value = "NAME", .help = "of the hawkBit server, as DEFAULT\\admin or admin (admin)"},
	{.name = "password-file", .kind = OPTION_TEXT, .value = "FILE", .help = "with its password; else AVIARY_IMPORT_PASSWORD"},
	{.name = "what", .kind = OPTION_TEXT, .value = "LIST",
	 .help = "which kinds, separated by commas: tags, modules, sets, filters, targets (all of them)"},
	{.name = "state", .kind = OPTION_TEXT, .value = "FILE", .help = "where it is noted what was done; a run that was cut goes on there"},
	{.name = "page", .kind = OPTION_INT, .value = "N", .help = "items asked for at once, 1 to 500 (200)"},
	{.name = "attempts", .kind = OPTION_INT, .value = "N", .help = "how often a request that failed is made (5)"},
	{.name = "dry-run", .kind = OPTION_FLAG, .help = "only read and count; nothing is written anywhere"},
	{.name = "hardware", .kind = OPTION_TEXT, .value = "CLASS", .help = "hardware class of the targets; by default attribute hardware, or ddi"},
	{.name = NULL},
};
static const struct command commands[] = {
	{.name = "hawkbit", .args = "URL", .help = "move targets, modules, sets, filters and tags of a hawkBit server here, resumably",
	 .options = options, .run = hawkbit},
	{.help = NULL},
};
extern const struct command_group group_import;
const struct command_group group_import = {"import", "take over the fleet of another server", commands};

#define PAGE 200
#define ATTEMPTS 5
#define PAUSE_MS 300
#define PASSWORD_MAX 4096
#define STATE_MAGIC "aviary-import-1"

static const struct import_kind kinds[] = {
	{"tags", "targettags", "id", import_tag, NULL}, {"modules", "softwaremodules", "id", import_module, NULL},
	{"sets", "distributionsets", "id", import_set, NULL}, {"filters", "targetfilters", "id", import_filter, NULL},
	{"targets", "targets", "controllerId", import_target, import_targets_end},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* ---- what was done ---- */

static void remember(struct import *m, const char *kind, const char *from, const char *to)
{
	if (m->done_count == m->done_room) {
		m->done_room = m->done_room > 0 ? 2 * m->done_room : 256;
		m->done = reallocarray(m->done, m->done_room, sizeof *m->done);
		if (m->done == NULL)
			abort();
	}
	struct import_done *d = &m->done[m->done_count++];
	snprintf(d->kind, sizeof d->kind, "%s", kind);
	snprintf(d->from, sizeof d->from, "%s", from);
	snprintf(d->to, sizeof d->to, "%s", to);
}

const char *import_find_done(const struct import *m, const char *kind, const char *from)
{
	for (size_t i = m->done_count; i > 0; i--) {
		const struct import_done *d = &m->done[i - 1];
		if (strcmp(d->kind, kind) == 0 && strcmp(d->from, from) == 0)
			return d->to;
	}
	return NULL;
}

enum result import_note(struct import *m, const char *kind, const char *from, const char *to)
{
	remember(m, kind, from, to);
	if (m->state == NULL)
		return RESULT_OK;
	if (fprintf(m->state, "%s\t%s\t%s\n", kind, from, to) < 0 || fflush(m->state) != 0)
		return complain(RESULT_LOCAL, "%s: %s", m->state_path, strerror(errno));
	return RESULT_OK;
}

/* Its last line may have been cut: it is as if it was not there, and the next one begins on a new line. */
static enum result read_state(struct import *m)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len = 0;
	enum result r = RESULT_OK;
	FILE *f = fopen(m->state_path, "re");
	if (f == NULL)
		return errno == ENOENT ? RESULT_OK : complain(RESULT_LOCAL, "%s: %s", m->state_path, strerror(errno));
	for (size_t n = 0; r == RESULT_OK && (len = getline(&line, &room, f)) > 0; n++) {
		char *first = strchr(line, '\t'), *second = first != NULL ? strchr(first + 1, '\t') : NULL;
		bool is_whole = line[len - 1] == '\n';
		line[len - (is_whole ? 1 : 0)] = '\0';
		if (n == 0 && (first == NULL || strncmp(line, STATE_MAGIC "\t", sizeof STATE_MAGIC) != 0))
			r = complain(RESULT_LOCAL, "%s: this is no state of an import", m->state_path);
		else if (n == 0 && strcmp(first + 1, m->source) != 0)
			r = complain(RESULT_LOCAL, "%s: it is of an import from %s", m->state_path, first + 1);
		else if (n > 0 && is_whole && second != NULL) {
			*first = *second = '\0';
			remember(m, line, first + 1, second + 1);
		}
	}
	free(line);
	fclose(f);
	return r;
}

static enum result open_state(struct import *m)
{
	enum result r = m->state_path != NULL ? read_state(m) : RESULT_OK;
	if (r != RESULT_OK || m->state_path == NULL || m->is_dry)
		return r;
	bool is_new = access(m->state_path, F_OK) != 0;
	m->state = fopen(m->state_path, "ae");
	if (m->state == NULL)
		return complain(RESULT_LOCAL, "%s: %s", m->state_path, strerror(errno));
	if (is_new)
		fprintf(m->state, STATE_MAGIC "\t%s\n", m->source);
	else
		fputc('\n', m->state); /* behind a line that was cut */
	return fflush(m->state) == 0 ? RESULT_OK : complain(RESULT_LOCAL, "%s: %s", m->state_path, strerror(errno));
}

/* ---- one kind, page by page ---- */

static void text_of_key(const struct json *item, const char *key, char out[IMPORT_KEY_MAX])
{
	const struct json *j = json_get(item, key);
	const char *text = j != NULL ? json_text(j) : NULL;
	int64_t n = 0;
	out[0] = '\0';
	if (text != NULL)
		snprintf(out, IMPORT_KEY_MAX, "%s", text);
	else if (j != NULL && json_is_integer(j, &n))
		snprintf(out, IMPORT_KEY_MAX, "%lld", (long long)n);
}

static enum result take(struct import *m, const struct import_kind *k, struct import_count *count, const struct json *item)
{
	char key[IMPORT_KEY_MAX];
	text_of_key(item, k->key, key);
	if (key[0] == '\0' || strchr(key, '\t') != NULL || strchr(key, '\n') != NULL) {
		count->odd++;
		return RESULT_OK; /* no item of this kind */
	}
	if (import_find_done(m, k->name, key) != NULL) {
		count->before++;
		return RESULT_OK;
	}
	if (m->is_dry) {
		count->moved++;
		return RESULT_OK;
	}
	bool is_new = false;
	m->count = count;
	enum result r = k->take(m, key, item, &is_new);
	if (r == RESULT_REFUSED) { /* one that cannot be moved is told and left out; the others are */
		count->refused++;
		return RESULT_OK;
	}
	if (r == RESULT_OK && k->end == NULL) /* else it counts by itself */
		*(is_new ? &count->moved : &count->there) += 1;
	return r;
}

/* hawkBit pages by offset: in order of creation, so that what is added meanwhile comes at the end. */
static enum result take_kind(struct import *m, const struct import_kind *k, struct import_count *count)
{
	enum result r = RESULT_OK;
	int64_t total = 1, offset = 0;
	while (r == RESULT_OK && offset < total) {
		struct json *page = NULL;
		char path[256];
		snprintf(path, sizeof path, "%s?offset=%lld&limit=%lld&sort=%s:ASC", k->path, (long long)offset, (long long)m->page, "id");
		r = import_get(m, path, &page);
		const struct json *content = json_get(page, "content");
		if (r == RESULT_OK && (content == NULL || json_type(content) != JSON_ARRAY || !json_is_integer(json_get(page, "total"), &total)))
			r = complain(RESULT_REFUSED, "%s: this is no page of hawkBit's", k->path);
		int64_t size = r == RESULT_OK ? (int64_t)json_count(content) : 0;
		for (const struct json *j = r == RESULT_OK ? json_first(content) : NULL; j != NULL && r == RESULT_OK; j = json_next(j))
			r = take(m, k, count, j);
		if (r == RESULT_OK && size == 0 && offset < total)
			r = complain(RESULT_REFUSED, "%s: the page from %lld of %lld is empty", k->path, (long long)offset, (long long)total);
		offset += size;
		json_free(page);
		if (r == RESULT_OK && !m->c->settings.quiet)
			fprintf(stderr, "%s: %lld of %lld\n", k->name, (long long)offset, (long long)total);
	}
	return r == RESULT_OK && k->end != NULL && !m->is_dry ? k->end(m) : r;
}

/* ---- the command ---- */

static bool is_wanted(const char *list, const char *name)
{
	size_t len = strlen(name);
	for (const char *p = list; p != NULL && *p != '\0'; p += strcspn(p, ",")) {
		p += *p == ',';
		if (strcspn(p, ",") == len && strncmp(p, name, len) == 0)
			return true;
	}
	return list == NULL;
}

static enum result check_what(const char *list)
{
	for (const char *p = list; p != NULL && *p != '\0';) {
		bool is_known = false;
		size_t len = strcspn(p, ",");
		for (size_t i = 0; i < KINDS; i++)
			is_known = is_known || (strlen(kinds[i].name) == len && strncmp(kinds[i].name, p, len) == 0);
		if (!is_known)
			return complain(RESULT_USAGE, "--what: there is no kind %.*s: tags, modules, sets, filters or targets", (int)len, p);
		p += len + (p[len] == ',');
	}
	return RESULT_OK;
}

static enum result read_password(struct ctl *c, struct buf *out)
{
	const char *path = option_text(c, "password-file"), *text = getenv("AVIARY_IMPORT_PASSWORD");
	enum result r = RESULT_OK;
	if (path != NULL)
		r = file_read(path, PASSWORD_MAX, out);
	else if (text != NULL)
		buf_str(out, text);
	else
		return complain(RESULT_USAGE, "the password is wanted: --password-file FILE, or AVIARY_IMPORT_PASSWORD");
	if (r == RESULT_OK)
		out->len = strcspn(buf_cstr(out), "\r\n");
	if (r == RESULT_OK && out->data != NULL)
		out->data[out->len] = '\0';
	return r;
}

static void sum_up(const struct import *m, const struct import_count counts[KINDS])
{
	if (m->c->settings.json) {
		struct buf b = BUF_INIT;
		json_open_object(&b);
		for (size_t i = 0; i < KINDS; i++) {
			json_key(&b, kinds[i].name);
			json_open_object(&b);
			json_int(&b, "moved", counts[i].moved);
			json_int(&b, "there", counts[i].there);
			json_int(&b, "before", counts[i].before);
			json_int(&b, "refused", counts[i].refused + counts[i].odd);
			json_close_object(&b);
		}
		json_int(&b, "artifacts", m->artifacts);
		json_close_object(&b);
		puts(b.data);
		buf_done(&b);
		return;
	}
	for (size_t i = 0; i < KINDS; i++)
		printf("%-8s %lld %s, %lld there already, %lld in an earlier run, %lld refused\n", kinds[i].name, (long long)counts[i].moved,
			m->is_dry ? "would be moved" : "moved", (long long)counts[i].there, (long long)counts[i].before,
			(long long)(counts[i].refused + counts[i].odd));
	printf("files    %lld moved\n", (long long)m->artifacts);
}

static enum result hawkbit(struct ctl *c)
{
	struct import_count counts[KINDS] = {{0}};
	struct buf password = BUF_INIT;
	const char *what = option_text(c, "what");
	struct import m = {.c = c, .source = command_word(c, 0), .state_path = option_text(c, "state"), .page = option_int(c, "page", PAGE),
		.attempts = option_int(c, "attempts", ATTEMPTS), .is_dry = option_given(c, "dry-run"), .hardware = option_text(c, "hardware"),
		.user = option_text(c, "user") != NULL ? option_text(c, "user") : "admin"};
	enum result r = check_what(what);
	if (r == RESULT_OK && (m.page < 1 || m.page > 500))
		r = complain(RESULT_USAGE, "--page: 1 to 500");
	if (r == RESULT_OK && !str_starts(m.source, "http://") && !str_starts(m.source, "https://"))
		r = complain(RESULT_USAGE, "%s: http:// or https:// is wanted", m.source);
	if (r == RESULT_OK)
		r = read_password(c, &password);
	m.password = buf_cstr(&password);
	if (r == RESULT_OK)
		r = open_state(&m);
	for (size_t i = 0; i < KINDS && r == RESULT_OK; i++) {
		if (is_wanted(what, kinds[i].name))
			r = take_kind(&m, &kinds[i], &counts[i]);
	}
	if (r == RESULT_OK || m.done_count > 0)
		sum_up(&m, counts);
	int64_t refused = 0;
	for (size_t i = 0; i < KINDS; i++)
		refused += counts[i].refused + counts[i].odd;
	if (r == RESULT_OK && refused > 0)
		r = complain(RESULT_REFUSED, "%lld could not be moved", (long long)refused);
	import_done(&m);
	buf_done(&password);
	return output_flush(r);
}
