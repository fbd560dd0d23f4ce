/* aviaryctl artifact: uploads go on where a cut left them, downloads too; both are checked against SHA-256. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "file.h"
#include "rest.h"

static enum result upload(struct ctl *c);
static enum result download(struct ctl *c);

static const struct column columns[] = {
	{"ID", "id", CELL_NUMBER, false},
	{"HARDWARE", "hardware", CELL_TEXT, false},
	{"VARIANT", "variant", CELL_TEXT, true},
	{"STATE", "state", CELL_STATUS, false},
	{"FACTS", "facts_state", CELL_STATUS, false},
	{"FILE", "file_name", CELL_TEXT, false},
	{"SIZE", "size_bytes", CELL_BYTES, false},
	{"SHA-256", "sha256", CELL_TEXT, false},
	{NULL, NULL, CELL_TEXT, false},
};

static const struct command_option list_options[] = {LIST_OPTIONS, {.name = NULL}};
static const struct command_option upload_options[] = {
	{.name = "hardware", .kind = OPTION_TEXT, .value = "CLASS",
	 .help = "hardware class that it is for; * (any) when absent"},
	{.name = "variant", .kind = OPTION_TEXT, .value = "NAME",
	 .help = "one of several files for a class that do the same job, as int8; a device gets one of them"},
	{.name = "declared", .kind = OPTION_DOC, .value = "JSON",
	 .help = "what is said of it: format, requires, quality; @FILE and - are read"},
	{.name = "name", .kind = OPTION_TEXT, .value = "FILE_NAME", .help = "instead of the file's own name"},
	{.name = "attempts", .kind = OPTION_INT, .value = "N", .help = "how often a cut upload goes on (5)"},
	{.name = NULL},
};
static const struct command_option download_options[] = {
	{.name = "attempts", .kind = OPTION_INT, .value = "N", .help = "how often a cut download goes on (5)"},
	{.name = NULL},
};

#define OF_VERSION "/models/{}/versions/{}/artifacts"
#define ARTIFACT "/artifacts/{}"
static const struct command commands[] = {
	{.name = "list", .args = "MODEL VERSION", .help = "list a version's artifacts", .options = list_options,
	 .run = rest_list, .path = OF_VERSION,
	 .columns = columns},
	{.name = "show", .args = "ARTIFACT", .help = "show an artifact", .run = rest_show, .path = ARTIFACT},
	{.name = "upload", .args = "MODEL VERSION FILE",
	 .help = "declare a file and upload it; once more goes on where it was cut",
	 .options = upload_options, .run = upload},
	{.name = "download", .args = "ARTIFACT FILE", .help = "download the content; once more goes on where it was cut",
	 .options = download_options,
	 .run = download},
	{.name = "delete", .args = "ARTIFACT", .help = "delete an artifact that no release holds", .run = rest_send,
	 .method = "DELETE", .path = ARTIFACT,
	 .done = "artifact {} is deleted"},
	{.help = NULL},
};
extern const struct command_group group_artifact;
const struct command_group group_artifact = {"artifact", "files of a version, one for each kind of hardware", commands};

#define ATTEMPTS 5
#define PAUSE_MS 500

/* ---- progress ---- */

struct progress {
	bool shown;
	uint64_t from, total; /* bytes that were there before; of the whole */
	int64_t started_ms, drawn_ms;
};

static void progress_start(struct progress *p, const struct ctl *c, uint64_t from, uint64_t total)
{
	*p = (struct progress){!c->settings.quiet && !c->settings.json && isatty(STDERR_FILENO), from, total,
		clock_mono_ms(), 0};
}

/* "[#########.....]  61 %  12.3 MiB of 20.0 MiB  4.1 MiB/s" */
static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct progress *p = ctx;
	int64_t now = clock_mono_ms();
	uint64_t at = p->from + done;
	(void)total;
	if (!p->shown || (now - p->drawn_ms < 100 && at < p->total))
		return;
	p->drawn_ms = now;
	struct buf b = BUF_INIT;
	int filled = p->total > 0 ? (int)(at * 30 / p->total) : 30;
	buf_str(&b, "\r[");
	for (int i = 0; i < 30; i++)
		buf_char(&b, i < filled ? '#' : '.');
	buf_printf(&b, "] %3.0f %%  ", p->total > 0 ? 100.0 * (double)at / (double)p->total : 100.0);
	bytes_text((double)at, &b);
	buf_str(&b, " of ");
	bytes_text((double)p->total, &b);
	buf_str(&b, "  ");
	bytes_text((double)done * 1000 / (double)(now - p->started_ms + 1), &b);
	buf_str(&b, "/s\033[K");
	fputs(b.data, stderr);
	buf_done(&b);
}

static void progress_end(const struct progress *p)
{
	if (p->shown)
		fputc('\n', stderr);
}

/* ---- upload ---- */

struct local {
	const char *path, *file_name, *hardware, *variant;
	struct buf declared; /* empty: nothing */
	int fd;
	uint64_t size;
	char sha256[SHA256_HEX];
};

static enum result open_local(struct ctl *c, struct local *l)
{
	const char *slash;
	l->path = command_word(c, 2);
	slash = strrchr(l->path, '/');
	l->file_name = option_text(c, "name") ? option_text(c, "name") : slash != NULL ? slash + 1 : l->path;
	l->hardware = option_text(c, "hardware") ? option_text(c, "hardware") : "*";
	l->variant = option_text(c, "variant") ? option_text(c, "variant") : "";
	enum result r = option_text(c, "declared") ? option_document(option_text(c, "declared"), &l->declared) : RESULT_OK;
	if (r == RESULT_OK)
		r = file_open(l->path, &l->fd, &l->size);
	return r == RESULT_OK ? file_hash(l->fd, l->path, l->sha256) : r;
}

struct found {
	const struct local *local;
	int64_t id;
	bool is_other; /* the variant is there with other content */
};

static bool find_variant(void *ctx, const struct json *item)
{
	struct found *f = ctx;
	const char *hardware = json_text(json_get(item, "hardware")), *sha = json_text(json_get(item, "sha256"));
	const char *variant = json_text(json_get(item, "variant"));
	if (hardware == NULL || sha == NULL || strcmp(hardware, f->local->hardware) != 0 || strcmp(variant ? variant : "", f->local->variant) != 0)
		return true;
	f->id = (int64_t)json_number(json_get(item, "id"));
	f->is_other = strcmp(sha, f->local->sha256) != 0;
	return false;
}

static void write_declaration(const struct local *l, struct buf *b)
{
	json_open_object(b);
	json_str(b, "hardware", l->hardware);
	json_str(b, "file_name", l->file_name);
	json_int(b, "size_bytes", (int64_t)l->size);
	json_str(b, "sha256", l->sha256);
	if (l->variant[0] != '\0')
		json_str(b, "variant", l->variant);
	if (l->declared.len > 0)
		json_raw(b, "declared", buf_cstr(&l->declared));
	json_close_object(b);
}

/* Declares it; one that is declared already with this content is taken up again. */
static enum result declare(struct ctl *c, const struct local *l, int64_t *id)
{
	struct buf body = BUF_INIT;
	struct reply r = REPLY_INIT;
	struct found f = {l, 0, false};
	char *path = path_format(OF_VERSION, c->words, 2);
	write_declaration(l, &body);
	struct request q = {.method = "POST", .path = path, .body = body.data};
	client_send(c, &q, &r);
	enum result result = r.status == 409 ? client_each(c, path, true, 0, find_variant, &f, NULL) : client_judge(c, &r);
	if (result == RESULT_OK && r.status != 409)
		*id = (int64_t)json_number(json_get(r.json, "id"));
	else if (result == RESULT_OK && (f.id == 0 || f.is_other))
		result = client_judge(c, &r);
	else if (result == RESULT_OK)
		*id = f.id;
	reply_done(&r);
	buf_done(&body);
	free(path);
	return result;
}

/* One PUT of what is missing. RESULT_CONNECTION: it may go on. */
static enum result send_rest(struct ctl *c, const struct local *l, const char *content, uint64_t from, struct reply *r)
{
	char range[80];
	struct progress p;
	if (lseek(l->fd, (off_t)from, SEEK_SET) < 0)
		return complain(RESULT_LOCAL, "%s: %s", l->path, strerror(errno));
	if (from < l->size)
		snprintf(range, sizeof range, "bytes %llu-%llu/%llu", (unsigned long long)from,
			(unsigned long long)l->size - 1, (unsigned long long)l->size);
	else
		snprintf(range, sizeof range, "bytes */%llu", (unsigned long long)l->size); /* nothing more: finish */
	progress_start(&p, c, from, l->size);
	struct request q = {.method = "PUT", .path = content, .content_type = "application/octet-stream",
		.content_range = from > 0 ? range : NULL,
		.has_upload = true, .upload_fd = l->fd, .upload_bytes = l->size - from, .no_timeout = true,
			.on_progress = on_progress, .ctx = &p};
	client_send(c, &q, r);
	progress_end(&p);
	return r->status == 0 || r->status >= 500 ? RESULT_CONNECTION : client_judge(c, r);
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

/* Until the server has all of it, or the attempts are over. `r` is the artifact then. */
static enum result transfer(struct ctl *c, const struct local *l, int64_t id, struct reply *r)
{
	char path[64], content[80];
	int64_t attempts = option_int(c, "attempts", ATTEMPTS);
	snprintf(path, sizeof path, "/artifacts/%lld", (long long)id);
	snprintf(content, sizeof content, "%s/content", path);
	for (int64_t i = 0;; i++) {
		enum result result = client_get(c, path, r);
		const char *state = json_text(json_get(r->json, "state"));
		if (result != RESULT_OK || (state != NULL && strcmp(state, "ready") == 0))
			return result;
		uint64_t from = (uint64_t)json_number(json_get(r->json, "received_bytes"));
		if (state != NULL && strcmp(state, "failed") == 0)
			from = 0;
		result = send_rest(c, l, content, from <= l->size ? from : 0, r);
		if (result == RESULT_OK)
			continue; /* once more: what does the server say it is now */
		if (result != RESULT_CONNECTION || i + 1 >= attempts)
			return result == RESULT_CONNECTION ? client_judge(c, r) : result;
		fprintf(stderr, "aviaryctl: the upload was cut (%s): it goes on\n", r->status ? "server error" : r->error);
		client_wait(c, never, NULL, PAUSE_MS << (i < 5 ? i : 5));
	}
}

static enum result upload(struct ctl *c)
{
	struct local l = {.fd = -1};
	struct reply r = REPLY_INIT;
	int64_t id = 0;
	enum result result = open_local(c, &l);
	if (result == RESULT_OK)
		result = declare(c, &l, &id);
	if (result == RESULT_OK)
		result = transfer(c, &l, id, &r);
	const char *sha = json_text(json_get(r.json, "sha256"));
	if (result == RESULT_OK && (sha == NULL || strcmp(sha, l.sha256) != 0))
		result = complain(RESULT_LOCAL, "the server has another SHA-256 than %s", l.path);
	if (result == RESULT_OK)
		rest_answer(c, &r);
	reply_done(&r);
	buf_done(&l.declared);
	if (l.fd >= 0)
		close(l.fd);
	return output_flush(result);
}

/* ---- download ---- */

struct sink {
	struct progress progress;
	int fd;
	uint64_t got;
	int failed; /* errno */
};

static bool on_chunk(void *ctx, const void *data, size_t len)
{
	struct sink *s = ctx;
	if (write(s->fd, data, len) != (ssize_t)len) {
		s->failed = errno != 0 ? errno : EIO;
		return false;
	}
	s->got += len;
	on_progress(&s->progress, s->got, 0);
	return true;
}

static enum result fetch_rest(struct ctl *c, const char *content, struct sink *s, uint64_t size, struct reply *r)
{
	off_t from = lseek(s->fd, 0, SEEK_END);
	if (from < 0)
		return RESULT_LOCAL;
	s->got = 0;
	if ((uint64_t)from >= size)
		return RESULT_OK;
	progress_start(&s->progress, c, (uint64_t)from, size);
	struct request q = {.path = content, .on_chunk = on_chunk, .has_range = from > 0, .range_from = (uint64_t)from,
		.no_timeout = true, .ctx = s};
	client_send(c, &q, r);
	progress_end(&s->progress);
	if (s->failed != 0)
		return RESULT_LOCAL;
	return r->status == 0 || r->status >= 500 ? RESULT_CONNECTION : client_judge(c, r);
}

static enum result receive(struct ctl *c, const char *content, struct sink *s, uint64_t size)
{
	struct reply r = REPLY_INIT;
	int64_t attempts = option_int(c, "attempts", ATTEMPTS);
	enum result result = RESULT_CONNECTION;
	for (int64_t i = 0; result == RESULT_CONNECTION && i < attempts; i++) {
		if (i > 0) {
			fputs("aviaryctl: the download was cut: it goes on\n", stderr);
			client_wait(c, never, NULL, PAUSE_MS << (i < 5 ? i : 5));
		}
		result = fetch_rest(c, content, s, size, &r);
	}
	if (result == RESULT_CONNECTION)
		result = client_judge(c, &r);
	reply_done(&r);
	return result;
}

/* What came stands under FILE.part until its hash is right. */
static enum result check_download(const char *part, const char *path, int fd, const char *sha256)
{
	char hex[SHA256_HEX];
	enum result result = file_hash(fd, part, hex);
	if (result == RESULT_OK && strcmp(hex, sha256) != 0) {
		unlink(part);
		result = complain(RESULT_LOCAL, "%s: other bytes came than the server declared; they are thrown away", path);
	}
	if (result == RESULT_OK && (fsync(fd) != 0 || rename(part, path) != 0))
		result = complain(RESULT_LOCAL, "%s: %s", path, strerror(errno));
	return result;
}

static enum result download(struct ctl *c)
{
	struct reply r = REPLY_INIT;
	struct sink s = {.fd = -1};
	struct buf part = BUF_INIT;
	const char *path = command_word(c, 1);
	char *url = path_format(ARTIFACT, c->words, 1), *content = path_format(ARTIFACT "/content", c->words, 1);
	enum result result = client_get(c, url, &r);
	const char *sha = json_text(json_get(r.json, "sha256"));
	uint64_t size = (uint64_t)json_number(json_get(r.json, "size_bytes"));
	buf_printf(&part, "%s.part", path);
	if (result == RESULT_OK && (s.fd = open(part.data, O_RDWR | O_CREAT | O_CLOEXEC, 0644)) < 0)
		result = complain(RESULT_LOCAL, "%s: %s", part.data, strerror(errno));
	if (result == RESULT_OK)
		result = receive(c, content, &s, size);
	if (result == RESULT_LOCAL)
		(void)!complain(RESULT_LOCAL, "%s: %s", part.data, strerror(s.failed));
	if (result == RESULT_OK)
		result = check_download(part.data, path, s.fd, sha != NULL ? sha : "");
	if (result == RESULT_OK && !c->settings.quiet && !c->settings.json)
		printf("%s: %llu bytes, sha256 %s\n", path, (unsigned long long)size, sha);
	if (s.fd >= 0)
		close(s.fd);
	reply_done(&r);
	buf_done(&part);
	free(url);
	free(content);
	return output_flush(result);
}
