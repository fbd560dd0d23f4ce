/* aviaryctl restore: puts a backup back as a state directory, with the daemon stopped. Nothing is believed that can
 * be checked: the databases' headers and lengths, every artifact's SHA-256, the signing key's size. The old state
 * directory is moved aside, never deleted. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/str.h"
#include "file.h"
#include "rest.h"

static enum result restore(struct ctl *c);

static const struct command_option options[] = {
	{.name = "check", .kind = OPTION_FLAG, .help = "only check the backup; STATE_DIR may be absent"},
	{.name = "replace", .kind = OPTION_FLAG, .help = "where STATE_DIR is not empty: move it aside first"},
	{.name = NULL},
};
static const struct command commands[] = {
	{.args = "BACKUP_DIR [STATE_DIR]", .help = "check a backup and put it back as a state directory, with aviaryd "
	 "stopped", .options = options,
	 .run = restore},
	{.help = NULL},
};
extern const struct command_group group_restore;
const struct command_group group_restore = {"restore", "put a backup back (offline)", commands};

#define PATH_SIZE 2048
#define COPY_BYTES 65536
#define SQLITE_HEADER 100

static enum result fail(const char *path)
{
	return complain(RESULT_LOCAL, "%s: %s", path, strerror(errno));
}

static enum result join(char out[PATH_SIZE], const char *dir, const char *name)
{
	int n = snprintf(out, PATH_SIZE, "%s/%s", dir, name);
	return n > 0 && n < PATH_SIZE ? RESULT_OK : complain(RESULT_LOCAL, "%s: the path is too long", dir);
}

/* Calls fn for each entry but . and .., in no order. */
static enum result each(const char *dir, enum result (*fn)(void *ctx, const char *path, const char *name), void *ctx)
{
	char path[PATH_SIZE];
	enum result r = RESULT_OK;
	DIR *d = opendir(dir);
	if (d == NULL)
		return fail(dir);
	for (struct dirent *e; r == RESULT_OK && (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		r = join(path, dir, e->d_name);
		if (r == RESULT_OK)
			r = fn(ctx, path, e->d_name);
	}
	closedir(d);
	return r;
}

/* ---- checks ---- */

static unsigned long big_endian(const unsigned char *p, int bytes)
{
	unsigned long v = 0;
	for (int i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

/* The database file format (sqlite.org/fileformat2.html): magic, page size at 16, change counter at 24, pages at 28
 * (in force where the number at 92 equals the change counter). */
static enum result check_database(const char *dir, const char *name, bool must_be)
{
	char path[PATH_SIZE];
	unsigned char h[SQLITE_HEADER];
	struct stat st;
	enum result r = join(path, dir, name);
	if (r != RESULT_OK)
		return r;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT && !must_be ? RESULT_OK : fail(path);
	ssize_t n = read(fd, h, sizeof h);
	bool ok = n == SQLITE_HEADER && fstat(fd, &st) == 0 && memcmp(h, "SQLite format 3", 16) == 0;
	close(fd);
	if (!ok)
		return complain(RESULT_LOCAL, "%s is not a database", path);
	unsigned long page = big_endian(h + 16, 2), pages = big_endian(h + 28, 4);
	page = page == 1 ? 65536 : page;
	bool counted = big_endian(h + 24, 4) == big_endian(h + 92, 4);
	if (page < 512 || (unsigned long)st.st_size % page != 0 || (counted && (unsigned long)st.st_size != page * pages))
		return complain(RESULT_LOCAL, "%s is cut: %lld bytes, %lu pages of %lu are told", path, (long long)st.st_size,
			pages, page);
	return RESULT_OK;
}

static enum result check_blob(void *ctx, const char *path, const char *name)
{
	int64_t *count = ctx;
	char hex[SHA256_HEX];
	struct stat st;
	if (lstat(path, &st) != 0)
		return fail(path);
	if (S_ISDIR(st.st_mode))
		return each(path, check_blob, ctx);
	int fd = -1;
	uint64_t size;
	enum result r = file_open(path, &fd, &size);
	if (r == RESULT_OK)
		r = file_hash(fd, path, hex);
	if (fd >= 0)
		close(fd);
	if (r == RESULT_OK && strcmp(hex, name) != 0)
		r = complain(RESULT_LOCAL, "%s: its SHA-256 is %s: the artifact is damaged", path, hex);
	(*count)++;
	return r;
}

static enum result check_note(const char *dir, int64_t *artifacts)
{
	char path[PATH_SIZE];
	struct buf text = BUF_INIT;
	struct json *j = NULL;
	struct fault f;
	enum result r = join(path, dir, "backup.json");
	if (r == RESULT_OK && access(path, F_OK) != 0)
		r = complain(RESULT_LOCAL, "%s has no backup.json: it is no whole backup", dir);
	if (r == RESULT_OK)
		r = file_read(path, 65536, &text);
	if (r == RESULT_OK && (json_parse(buf_cstr(&text), text.len, &j, &f) != ERR_OK
		|| !json_is_integer(json_get(j, "artifacts"), artifacts)))
		r = complain(RESULT_LOCAL, "%s is damaged", path);
	json_free(j);
	buf_done(&text);
	return r;
}

static enum result check_backup(const char *dir, int64_t *found)
{
	char path[PATH_SIZE];
	int64_t told = 0;
	enum result r = check_note(dir, &told);
	if (r == RESULT_OK)
		r = check_database(dir, "fleet.db", true);
	if (r == RESULT_OK)
		r = check_database(dir, "telemetry.db", false);
	if (r == RESULT_OK)
		r = join(path, dir, "keys/release.key");
	if (r == RESULT_OK && access(path, R_OK) != 0)
		r = fail(path);
	if (r == RESULT_OK)
		r = join(path, dir, "blobs");
	if (r == RESULT_OK && access(path, F_OK) == 0)
		r = each(path, check_blob, found);
	if (r == RESULT_OK && *found < told)
		r = complain(RESULT_LOCAL, "%lld artifacts are told, %lld are there", (long long)told, (long long)*found);
	return r;
}

/* ---- copying ---- */

struct copy {
	const char *to;
	uid_t uid;
	gid_t gid;
	bool has_owner;
};

static enum result set_owner(const struct copy *c, int fd, const char *path)
{
	return !c->has_owner || fchown(fd, c->uid, c->gid) == 0 ? RESULT_OK : fail(path);
}

static enum result copy_file(const struct copy *c, const char *from, const char *to, mode_t mode)
{
	char data[COPY_BYTES];
	ssize_t n = 0;
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0700);
	bool ok = in >= 0 && out >= 0;
	while (ok && (n = read(in, data, sizeof data)) > 0)
		ok = write(out, data, (size_t)n) == n;
	enum result r = ok && n == 0 && fchmod(out, mode & 0777) == 0 && fsync(out) == 0 ? set_owner(c, out, to)
		: fail(out < 0 ? to : from);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return r;
}

static enum result copy_tree(const struct copy *c, const char *from);

static enum result copy_entry(void *ctx, const char *path, const char *name)
{
	const struct copy *c = ctx;
	char to[PATH_SIZE];
	struct stat st;
	enum result r = join(to, c->to, name);
	if (r != RESULT_OK)
		return r;
	if (lstat(path, &st) != 0)
		return fail(path);
	if (S_ISREG(st.st_mode))
		return copy_file(c, path, to, st.st_mode);
	if (!S_ISDIR(st.st_mode))
		return complain(RESULT_LOCAL, "%s is neither a file nor a directory", path);
	struct copy inner = *c;
	inner.to = to;
	return copy_tree(&inner, path);
}

static enum result copy_tree(const struct copy *c, const char *from)
{
	if (mkdir(c->to, 0700) != 0)
		return fail(c->to);
	enum result r = each(from, copy_entry, (void *)(uintptr_t)c);
	int fd = open(c->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == RESULT_OK && (fd < 0 || fsync(fd) != 0))
		r = fail(c->to);
	if (r == RESULT_OK)
		r = set_owner(c, fd, c->to);
	if (fd >= 0)
		close(fd);
	return r;
}

/* ---- the state directory ---- */

static enum result note_entry(void *ctx, const char *path, const char *name)
{
	bool *is_empty = ctx;
	(void)path;
	(void)name;
	*is_empty = false;
	return RESULT_OK;
}

/* A daemon that runs holds the lock. The lock is kept until we end, so that none starts meanwhile. */
static enum result lock_state(const char *state, int *fd)
{
	char path[PATH_SIZE];
	enum result r = join(path, state, "lock");
	if (r != RESULT_OK)
		return r;
	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return errno == ENOENT ? RESULT_OK : fail(path);
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
		return complain(RESULT_LOCAL, "%s is in use: stop aviaryd first", state);
	return RESULT_OK;
}

static enum result look_at_state(struct ctl *c, const char *state, struct copy *copy, bool *is_there, int *lock)
{
	struct stat st;
	bool is_empty = true;
	*is_there = lstat(state, &st) == 0;
	if (!*is_there)
		return errno == ENOENT ? RESULT_OK : fail(state);
	if (!S_ISDIR(st.st_mode))
		return complain(RESULT_LOCAL, "%s is not a directory", state);
	copy->has_owner = geteuid() == 0;
	copy->uid = st.st_uid;
	copy->gid = st.st_gid;
	enum result r = each(state, note_entry, &is_empty);
	if (r == RESULT_OK)
		r = lock_state(state, lock);
	if (r == RESULT_OK && !is_empty && !option_given(c, "replace"))
		r = complain(RESULT_LOCAL, "%s is not empty: --replace moves it aside", state);
	return r;
}

/* STATE.before-20260101T120000Z */
static enum result move_aside(const char *state, char aside[PATH_SIZE])
{
	char when[32];
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
	snprintf(aside, PATH_SIZE, "%s.before-%s", state, when);
	return rename(state, aside) == 0 ? RESULT_OK : fail(aside);
}

static enum result put_back(struct ctl *c, const char *backup, const char *state)
{
	char partial[PATH_SIZE], aside[PATH_SIZE] = "", note[PATH_SIZE];
	struct copy copy = {.to = partial};
	bool is_there;
	int lock = -1;
	snprintf(partial, sizeof partial, "%s.restoring", state);
	enum result r = look_at_state(c, state, &copy, &is_there, &lock);
	if (r == RESULT_OK && access(partial, F_OK) == 0)
		r = complain(RESULT_LOCAL, "%s is left of an earlier restore: remove it first", partial);
	if (r == RESULT_OK)
		r = copy_tree(&copy, backup);
	if (r == RESULT_OK && join(note, partial, "backup.json") == RESULT_OK)
		unlink(note); /* it is a state directory now */
	if (r == RESULT_OK && is_there)
		r = move_aside(state, aside);
	if (r == RESULT_OK && rename(partial, state) != 0)
		r = fail(state);
	if (lock >= 0)
		close(lock);
	if (r == RESULT_OK && !c->settings.quiet && !c->settings.json)
		printf("%s is restored%s%s.\nStart aviaryd, then revoke what was revoked since the backup.\n", state,
		       aside[0] ? "; what was there is in " : "", aside);
	return r;
}

static void strip_slashes(char path[PATH_SIZE])
{
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
}

static enum result restore(struct ctl *c)
{
	char state[PATH_SIZE];
	const char *backup = command_word(c, 0);
	int64_t artifacts = 0;
	bool only_check = option_given(c, "check");
	if (!only_check && command_word(c, 1) == NULL)
		return complain(RESULT_USAGE, "STATE_DIR is wanted, or --check");
	enum result r = check_backup(backup, &artifacts);
	if (r == RESULT_OK && !c->settings.quiet && !c->settings.json)
		printf("%s is whole: databases, signing key and %lld artifacts.\n", backup, (long long)artifacts);
	if (r == RESULT_OK && !only_check) {
		if (!str_copy(state, sizeof state - 40, command_word(c, 1)))
			return complain(RESULT_USAGE, "STATE_DIR is too long");
		strip_slashes(state);
		r = put_back(c, backup, state);
	}
	if (r == RESULT_OK && c->settings.json)
		printf("{\"artifacts\":%lld,\"restored\":%s}\n", (long long)artifacts, only_check ? "false" : "true");
	return output_flush(r);
}
