#include "service/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "store/db.h"

#define PATH_MAX_BYTES 1024
#define COPY_BYTES 65536

static enum err io_fault(struct fault *f, const char *path)
{
	return fault_set(f, errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_UNAVAILABLE, "", "%s: %s", path,
		strerror(errno));
}

static enum err make_directory(const char *path, struct fault *f)
{
	return mkdir(path, 0700) == 0 || errno == EEXIST ? ERR_OK : io_fault(f, path);
}

static enum err sync_directory(const char *path, struct fault *f)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum err e = fd >= 0 && fsync(fd) == 0 ? ERR_OK : io_fault(f, path);
	if (fd >= 0)
		close(fd);
	return e;
}

static enum err write_file(const char *path, const char *data, size_t len, struct fault *f)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return io_fault(f, path);
	bool ok = write(fd, data, len) == (ssize_t)len && fsync(fd) == 0;
	enum err e = ok ? ERR_OK : io_fault(f, path);
	close(fd);
	return e;
}

/* A small file (keys). One that is not there is no error. */
static enum err copy_file(const char *from, const char *to, struct fault *f)
{
	char data[COPY_BYTES];
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? ERR_OK : io_fault(f, from);
	ssize_t n = read(fd, data, sizeof data);
	enum err e = n >= 0 ? ERR_OK : io_fault(f, from);
	close(fd);
	return e == ERR_OK ? write_file(to, data, (size_t)n, f) : e;
}

/* Calls `fn` for each entry of <from>/<name> but . and .., with the same names below `to`. */
static enum err each_entry(const char *from, const char *to, struct backup_job *job,
	enum err (*fn)(const char *from, const char *to, struct backup_job *job))
{
	DIR *d = opendir(from);
	if (d == NULL)
		return errno == ENOENT ? ERR_OK : io_fault(&job->fault, from);
	enum err e = make_directory(to, &job->fault);
	for (struct dirent *entry; e == ERR_OK && (entry = readdir(d)) != NULL;) {
		char a[PATH_MAX_BYTES + 300], b[PATH_MAX_BYTES + 300];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(a, sizeof a, "%s/%s", from, entry->d_name);
		snprintf(b, sizeof b, "%s/%s", to, entry->d_name);
		e = fn(a, b, job);
	}
	closedir(d);
	return e == ERR_OK ? sync_directory(to, &job->fault) : e;
}

static enum err link_blob(const char *from, const char *to, struct backup_job *job)
{
	if (link(from, to) != 0)
		/* linked before; deleted meanwhile */
		return errno == EEXIST || errno == ENOENT ? ERR_OK : io_fault(&job->fault, to);
	job->artifacts++;
	return ERR_OK;
}

static enum err link_blobs(const char *from, const char *to, struct backup_job *job)
{
	return each_entry(from, to, job, link_blob);
}

static enum err copy_key(const char *from, const char *to, struct backup_job *job)
{
	return copy_file(from, to, &job->fault);
}

static enum err copy_database(const char *from, const char *to, struct backup_job *job)
{
	struct db *db;
	struct stat st;
	enum err e = db_open(from, NULL, true, &db, &job->fault);
	if (e != ERR_OK)
		return e;
	e = db_backup(db, to, &job->fault);
	db_close(db);
	if (e == ERR_OK && stat(to, &st) == 0)
		job->size_bytes += st.st_size;
	return e;
}

/* Artifacts are linked before and after the copy of fleet.db: before, so that what the copy names cannot be deleted
 * under it; after, for those that were published meanwhile. */
static enum err fill(struct backup_job *job, const char *to)
{
	char a[PATH_MAX_BYTES], b[PATH_MAX_BYTES];
#define PATHS(name) (snprintf(a, sizeof a, "%s/%s", job->state_dir, name), snprintf(b, sizeof b, "%s/%s", to, name))
	PATHS("blobs");
	enum err e = each_entry(a, b, job, link_blobs);
	PATHS("fleet.db");
	if (e == ERR_OK)
		e = copy_database(a, b, job);
	PATHS("blobs");
	if (e == ERR_OK)
		e = each_entry(a, b, job, link_blobs);
	PATHS("telemetry.db");
	if (e == ERR_OK && access(a, F_OK) == 0)
		e = copy_database(a, b, job);
	PATHS("keys");
	if (e == ERR_OK)
		e = each_entry(a, b, job, copy_key);
	PATHS("admin.token");
	if (e == ERR_OK)
		e = copy_file(a, b, &job->fault);
#undef PATHS
	return e;
}

static enum err describe(const struct backup_job *job, const char *to, struct fault *f)
{
	char path[PATH_MAX_BYTES];
	struct buf b = BUF_INIT;
	snprintf(path, sizeof path, "%s/backup.json", to);
	json_open_object(&b);
	json_int(&b, "created_at", job->now_ms);
	json_str(&b, "version", AVIARY_VERSION);
	json_int(&b, "size_bytes", job->size_bytes);
	json_int(&b, "artifacts", job->artifacts);
	json_close_object(&b);
	buf_char(&b, '\n');
	enum err e = write_file(path, b.data, b.len, f);
	buf_done(&b);
	return e == ERR_OK ? sync_directory(to, f) : e;
}

/* Removes a directory that was given up, three levels deep as we make them. Best effort: the next backup has another
 * name. */
static void remove_tree(const char *path, int depth)
{
	DIR *d = depth > 0 ? opendir(path) : NULL;
	for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
		char child[PATH_MAX_BYTES + 300];
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
		if (unlink(child) != 0)
			remove_tree(child, depth - 1);
	}
	if (d != NULL)
		closedir(d);
	rmdir(path);
}

void backup_run(struct backup_job *job)
{
	char root[600], partial[700], final[700];
	time_t seconds = (time_t)(job->now_ms / 1000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	strftime(job->name, sizeof job->name, "%Y%m%dT%H%M%SZ", &tm);
	snprintf(root, sizeof root, "%s/backup", job->state_dir);
	snprintf(partial, sizeof partial, "%s/.%s.partial", root, job->name);
	snprintf(final, sizeof final, "%s/%s", root, job->name);
	struct fault *f = &job->fault;
	enum err e = make_directory(root, f);
	if (e == ERR_OK && (access(final, F_OK) == 0 || mkdir(partial, 0700) != 0)) {
		job->result = fault_set(f, ERR_CONFLICT, "", "there is a backup of this second already");
		return;
	}
	if (e == ERR_OK)
		e = fill(job, partial);
	if (e == ERR_OK)
		e = describe(job, partial, f);
	if (e == ERR_OK && rename(partial, final) != 0)
		e = io_fault(f, final);
	if (e == ERR_OK)
		e = sync_directory(root, f);
	if (e != ERR_OK)
		remove_tree(partial, 4);
	job->result = e;
}
