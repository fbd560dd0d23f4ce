#include "service/blobs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/str.h"
#include "service/inspect.h"

#define READ_BYTES (1 << 20) /* of a job that hashes a file */
#define PATH_BYTES 1024
#define TAIL_BYTES 96        /* what is put behind the state directory at most */

/* What memory knows of one unfinished upload. */
struct part {
	struct part *next;
	int64_t artifact, size_bytes;
	int64_t received; /* in the file */
	int64_t synced;   /* durable */
	int64_t syncing;  /* a progress job is under way up to here; 0: none */
	uint64_t generation;
	uint64_t used;    /* for choosing whom to forget */
	char wanted[SHA256_HEX];
	int fd;
	struct file_digest *hash; /* over [0, received); NULL when the file was begun before a restart */
	bool is_publishing;
	struct upload *holder; /* the request that writes; NULL: it was cut */
};

struct upload {
	struct blobs *b;
	struct part *part; /* NULL: a newer upload took over, or the artifact is gone */
	int64_t end;       /* offset that this request may reach */
};

struct blobs {
	char *uploads, *store; /* directories */
	int64_t sync_bytes, reserve_bytes;
	struct part *parts;
	size_t count;
	uint64_t clock, generations;
};

static char *print(const char *fmt, ...) AVIARY_PRINTF(1, 2);
static char *print(const char *fmt, ...)
{
	va_list args;
	char *out = NULL;
	va_start(args, fmt);
	if (vasprintf(&out, fmt, args) < 0)
		abort();
	va_end(args);
	return out;
}

static enum err failed(struct fault *f, const char *what)
{
	enum err e = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_UNAVAILABLE;
	return fault_set(f, e, "", "%s: %s", what, strerror(errno));
}

static enum err sync_dir(const char *path, struct fault *f)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;
	enum err e = good ? ERR_OK : failed(f, "cannot sync a directory");
	if (fd >= 0)
		close(fd);
	return e;
}

enum err blobs_open(const char *state_dir, int64_t sync_bytes, int64_t reserve_bytes, struct blobs **out, struct fault *f)
{
	assert(sync_bytes > 0 && reserve_bytes >= 0);
	if (strlen(state_dir) > PATH_BYTES - TAIL_BYTES)
		return fault_set(f, ERR_INVALID, "", "the state directory's path is too long");
	struct blobs *b = calloc(1, sizeof *b);
	if (!b)
		abort();
	b->uploads = print("%s/uploads", state_dir);
	b->store = print("%s/blobs", state_dir);
	b->sync_bytes = sync_bytes;
	b->reserve_bytes = reserve_bytes;
	const char *dirs[] = {b->uploads, b->store};
	for (size_t i = 0; i < 2; i++) {
		if (mkdir(dirs[i], 0700) != 0 && errno != EEXIST) {
			enum err e = fault_set(f, ERR_UNAVAILABLE, "", "cannot create %s: %s", dirs[i], strerror(errno));
			blobs_close(b);
			return e;
		}
	}
	enum err e = sync_dir(state_dir, f);
	if (e != ERR_OK) {
		blobs_close(b);
		return e;
	}
	*out = b;
	return ERR_OK;
}

static void part_free(struct part *p)
{
	if (p->holder)
		p->holder->part = NULL;
	if (p->fd >= 0)
		close(p->fd);
	file_digest_free(p->hash);
	free(p);
}

void blobs_close(struct blobs *b)
{
	if (!b)
		return;
	while (b->parts) {
		struct part *p = b->parts;
		b->parts = p->next;
		part_free(p);
	}
	free(b->uploads);
	free(b->store);
	free(b);
}

/* ---- what memory knows ---- */

static struct part **part_place(const struct blobs *b, int64_t artifact)
{
	struct part **at = (struct part **)&b->parts;
	while (*at && (*at)->artifact != artifact)
		at = &(*at)->next;
	return at;
}

static void part_drop(struct blobs *b, struct part **at)
{
	struct part *p = *at;
	*at = p->next;
	b->count--;
	part_free(p);
}

static void part_path(const struct blobs *b, int64_t artifact, char out[PATH_BYTES])
{
	int len = snprintf(out, PATH_BYTES, "%s/%lld.part", b->uploads, (long long)artifact);
	assert(len < PATH_BYTES);
}

/* The one whose client has been away longest; what it received stays in its file. */
static bool forget_idlest(struct blobs *b)
{
	struct part **idlest = NULL;
	for (struct part **at = &b->parts; *at; at = &(*at)->next) {
		bool is_idle = !(*at)->holder && !(*at)->is_publishing;
		if (is_idle && (!idlest || (*at)->used < (*idlest)->used))
			idlest = at;
	}
	if (idlest)
		part_drop(b, idlest);
	return idlest != NULL;
}

/* Memory of the upload, from its file where memory has none. */
static enum err part_get(struct blobs *b, const struct blob_target *t, struct part **out, struct fault *f)
{
	struct part **at = part_place(b, t->artifact);
	if (*at) {
		*out = *at;
		return ERR_OK;
	}
	if (b->count >= BLOBS_PARTS_MAX && !forget_idlest(b))
		return fault_set(f, ERR_TOO_MANY, "", "%d uploads are running, which is as many as are taken at once", BLOBS_PARTS_MAX);
	char path[PATH_BYTES];
	struct stat st;
	part_path(b, t->artifact, path);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return failed(f, "cannot open the upload");
	int64_t received = fstat(fd, &st) == 0 && st.st_size < t->received_bytes ? st.st_size : t->received_bytes;
	if (ftruncate(fd, received) != 0) { /* bytes that came after the last note in the row may have holes */
		enum err e = failed(f, "cannot cut the upload");
		close(fd);
		return e;
	}
	struct part *p = calloc(1, sizeof *p);
	if (!p)
		abort();
	*p = (struct part){.next = b->parts, .artifact = t->artifact, .size_bytes = t->size_bytes, .received = received, .synced = received,
		.generation = ++b->generations, .fd = fd, .hash = received == 0 ? file_digest_new() : NULL};
	str_copy(p->wanted, sizeof p->wanted, t->sha256);
	b->parts = p;
	b->count++;
	*out = p;
	return ERR_OK;
}

int64_t blobs_received(const struct blobs *b, const struct blob_target *t)
{
	const struct part *p = *part_place(b, t->artifact);
	if (p)
		return p->received;
	char path[PATH_BYTES];
	struct stat st;
	part_path(b, t->artifact, path);
	int64_t in_file = stat(path, &st) == 0 ? st.st_size : 0;
	return in_file < t->received_bytes ? in_file : t->received_bytes;
}

void blobs_forget(struct blobs *b, int64_t artifact)
{
	char path[PATH_BYTES];
	struct part **at = part_place(b, artifact);
	if (*at)
		part_drop(b, at);
	part_path(b, artifact, path);
	unlink(path);
}

bool blobs_is_busy(const struct blobs *b, int64_t artifact)
{
	const struct part *p = *part_place(b, artifact);
	return p && (p->holder || p->is_publishing);
}

/* ---- one request ---- */

static enum err check_range(const struct part *p, int64_t first, int64_t len, struct fault *f)
{
	if (first >= 0 && first != p->received)
		return fault_set(f, ERR_RANGE, "", "received_bytes is %lld: go on from there", (long long)p->received);
	int64_t from = first == UPLOAD_WHOLE ? 0 : p->received;
	if (len > p->size_bytes - from || (first == UPLOAD_WHOLE && len >= 0 && len != p->size_bytes))
		return fault_set(f, ERR_INVALID, "", "%lld bytes from %lld do not fit: the artifact was declared with %lld bytes", (long long)len,
		                 (long long)from, (long long)p->size_bytes);
	return ERR_OK;
}

static enum err check_space(const struct blobs *b, int64_t wanted_bytes, struct fault *f)
{
	struct statvfs fs;
	if (statvfs(b->uploads, &fs) != 0)
		return failed(f, "cannot ask for free space");
	uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes < (uint64_t)wanted_bytes + (uint64_t)b->reserve_bytes)
		return fault_set(f, ERR_FULL, "", "%lld bytes are to come and %llu are free (%lld of them kept for the database)",
		                 (long long)wanted_bytes, (unsigned long long)free_bytes, (long long)b->reserve_bytes);
	return ERR_OK;
}

static enum err part_restart(struct blobs *b, struct part *p, struct fault *f)
{
	if (p->received == 0)
		return ERR_OK;
	if (ftruncate(p->fd, 0) != 0)
		return failed(f, "cannot begin the upload anew");
	p->received = p->synced = p->syncing = 0;
	p->generation = ++b->generations;
	file_digest_free(p->hash);
	p->hash = file_digest_new();
	return ERR_OK;
}

enum err blobs_begin(struct blobs *b, const struct blob_target *t, int64_t first, int64_t len, struct upload **out, struct fault *f)
{
	struct part *p = *part_place(b, t->artifact);
	if (p && (p->size_bytes != t->size_bytes || strcmp(p->wanted, t->sha256) != 0))
		blobs_forget(b, t->artifact); /* of a row that never became durable */
	enum err e = part_get(b, t, &p, f);
	if (e == ERR_OK && p->is_publishing)
		e = fault_set(f, ERR_CONFLICT, "", "the content came completely and is being verified");
	if (e == ERR_OK)
		e = check_range(p, first, len, f);
	if (e == ERR_OK)
		e = check_space(b, p->size_bytes - p->received, f);
	if (e == ERR_OK && first == UPLOAD_WHOLE)
		e = part_restart(b, p, f);
	if (e != ERR_OK)
		return e;
	struct upload *u = calloc(1, sizeof *u);
	if (!u)
		abort();
	if (p->holder)
		p->holder->part = NULL; /* its client may long be gone without a sign */
	p->holder = u;
	p->used = ++b->clock;
	*u = (struct upload){.b = b, .part = p, .end = len >= 0 ? p->received + len : p->size_bytes};
	*out = u;
	return ERR_OK;
}

static enum err taken_over(struct fault *f)
{
	return fault_set(f, ERR_CONFLICT, "", "another upload of this artifact has taken over, or it was deleted");
}

enum err blobs_write(struct upload *u, const void *data, size_t len, struct fault *f)
{
	struct part *p = u->part;
	if (!p)
		return taken_over(f);
	if ((uint64_t)len > (uint64_t)(u->end - p->received))
		return fault_set(f, ERR_TOO_LARGE, "", "more bytes came than were announced");
	size_t done = 0;
	while (done < len) {
		ssize_t n = pwrite(p->fd, (const char *)data + done, len - done, p->received + (int64_t)done);
		if (n > 0) {
			done += (size_t)n;
		} else if (n < 0 && errno != EINTR) {
			enum err e = failed(f, "cannot write the upload");
			if (ftruncate(p->fd, p->received) != 0)
				return e; /* the surplus stays until it is written over */
			return e;
		}
	}
	p->received += (int64_t)len;
	if (p->hash)
		file_digest_update(p->hash, data, len);
	return ERR_OK;
}

/* ---- jobs ---- */

static struct blob_job *job_new(const struct blobs *b, const struct part *p, enum blob_job_kind kind)
{
	struct blob_job *job = calloc(1, sizeof *job);
	if (!job)
		abort();
	char path[PATH_BYTES];
	job->kind = kind;
	job->artifact = p->artifact;
	job->received_bytes = p->received;
	job->generation = p->generation;
	job->fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	memcpy(job->sha256, p->wanted, sizeof job->sha256);
	part_path(b, p->artifact, path);
	job->part = print("%s", path);
	blobs_path(b, p->wanted, path, sizeof path);
	job->blob = print("%s", path);
	job->uploads = print("%s", b->uploads);
	job->blobs = print("%s", b->store);
	return job;
}

struct blob_job *blobs_progress_job(struct upload *u)
{
	struct part *p = u->part;
	if (!p || p->syncing != 0 || p->received - p->synced < u->b->sync_bytes)
		return NULL;
	p->syncing = p->received;
	return job_new(u->b, p, BLOB_SYNC);
}

static enum err other_bytes(struct fault *f, const char *hex)
{
	return fault_set(f, ERR_INVALID, "", "the content has SHA-256 %s, not the one that was declared; it was dropped", hex);
}

static enum err compare(struct blob_job *job, struct file_digest *h, struct fault *f)
{
	struct file_digests d;
	char hex[SHA256_HEX];
	file_digest_final(h, &d);
	file_digest_free(h);
	hex_encode(d.sha256, sizeof d.sha256, hex);
	if (strcmp(hex, job->sha256) != 0)
		return other_bytes(f, hex);
	memcpy(job->sha1, d.sha1, sizeof job->sha1);
	memcpy(job->md5, d.md5, sizeof job->md5);
	return ERR_OK;
}

/* Complete: compares what was hashed while it came. Wrong bytes make a job, too, so that there is one way to note it. */
static struct blob_job *publish(const struct blobs *b, struct part *p)
{
	struct blob_job *job = job_new(b, p, BLOB_PUBLISH);
	p->is_publishing = true;
	job->is_hashed = p->hash != NULL;
	if (p->hash)
		job->result = compare(job, p->hash, &job->fault);
	p->hash = NULL;
	return job;
}

/* The request lets go of the part. */
static struct part *let_go(struct upload *u)
{
	struct part *p = u->part;
	if (p)
		p->holder = NULL;
	free(u);
	return p;
}

enum err blobs_finish(struct upload *u, struct blob_job **job, struct fault *f)
{
	const struct blobs *b = u->b;
	struct part *p = let_go(u);
	*job = NULL;
	if (!p)
		return taken_over(f);
	if (p->received == p->size_bytes)
		*job = publish(b, p);
	else if (p->received > p->synced)
		*job = job_new(b, p, BLOB_SYNC);
	return ERR_OK;
}

void blobs_abort(struct upload *u, struct blob_job **job)
{
	const struct blobs *b = u->b;
	struct part *p = let_go(u);
	*job = p && p->received > p->synced ? job_new(b, p, BLOB_SYNC) : NULL;
}

static enum err hash_file(struct blob_job *job, struct fault *f)
{
	char *block = malloc(READ_BYTES);
	if (!block)
		abort();
	struct file_digest *h = file_digest_new();
	int64_t at = 0;
	enum err e = ERR_OK;
	while (e == ERR_OK && at < job->received_bytes) {
		ssize_t n = pread(job->fd, block, READ_BYTES, at);
		if (n > 0) {
			file_digest_update(h, block, (size_t)n);
			at += n;
		} else if (n == 0) {
			e = fault_set(f, ERR_UNAVAILABLE, "", "the upload's file became shorter");
		} else if (errno != EINTR) {
			e = failed(f, "cannot read the upload back");
		}
	}
	free(block);
	if (e == ERR_OK)
		return compare(job, h, f);
	file_digest_free(h);
	return e;
}

/* Bytes first, then the name, then the directories that hold it: whoever sees the name after a crash sees the bytes. */
static enum err rename_durably(const struct blob_job *job, struct fault *f)
{
	struct stat st;
	if (fstat(job->fd, &st) != 0 || st.st_size != job->received_bytes)
		return fault_set(f, ERR_UNAVAILABLE, "", "the upload's file has another length than what was written");
	if (fchmod(job->fd, 0400) != 0 || fsync(job->fd) != 0)
		return failed(f, "cannot make the content durable");
	char *dir = print("%.*s", (int)(strrchr(job->blob, '/') - job->blob), job->blob);
	enum err e = ERR_OK;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		e = failed(f, "cannot create a directory of the store");
	if (e == ERR_OK && rename(job->part, job->blob) != 0)
		e = failed(f, "cannot move the content into the store");
	if (e == ERR_OK)
		e = sync_dir(dir, f);
	if (e == ERR_OK)
		e = sync_dir(job->blobs, f);
	free(dir);
	return e;
}

void blob_job_run(struct blob_job *job)
{
	struct fault *f = &job->fault;
	if (job->result != ERR_OK)
		return; /* known to be wrong already */
	if (job->fd < 0) {
		job->result = fault_set(f, ERR_UNAVAILABLE, "", "no file descriptor is free");
	} else if (job->kind == BLOB_SYNC) {
		job->result = fdatasync(job->fd) == 0 ? sync_dir(job->uploads, f) : failed(f, "cannot make the upload durable");
	} else {
		job->result = job->is_hashed ? ERR_OK : hash_file(job, f);
		if (job->result == ERR_OK)
			job->result = rename_durably(job, f);
		if (job->result == ERR_OK && job->inspection != NULL)
			inspection_run(job->inspection, job->blob);
	}
}

bool blobs_job_done(struct blobs *b, const struct blob_job *job)
{
	struct part **at = part_place(b, job->artifact);
	struct part *p = *at;
	if (!p || p->generation != job->generation)
		return false;
	if (job->kind == BLOB_SYNC) {
		p->syncing = 0;
		if (job->result == ERR_OK && job->received_bytes > p->synced)
			p->synced = job->received_bytes;
		return true;
	}
	p->is_publishing = false;
	if (job->result == ERR_OK)
		part_drop(b, at);
	else if (job->result == ERR_INVALID)
		blobs_forget(b, job->artifact);
	return true;
}

void blob_job_free(struct blob_job *job)
{
	if (!job)
		return;
	if (job->fd >= 0)
		close(job->fd);
	free(job->part);
	free(job->blob);
	free(job->uploads);
	free(job->blobs);
	inspection_free(job->inspection);
	free(job);
}

/* ---- the store ---- */

void blobs_path(const struct blobs *b, const char *sha256, char *out, size_t out_size)
{
	assert(str_is_hex(sha256, SHA256_HEX - 1));
	int len = snprintf(out, out_size, "%s/%.2s/%s", b->store, sha256, sha256);
	assert(len > 0 && (size_t)len < out_size);
}

bool blobs_has(const struct blobs *b, const char *sha256, int64_t size_bytes)
{
	char path[PATH_BYTES];
	struct stat st;
	blobs_path(b, sha256, path, sizeof path);
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == size_bytes;
}

void blobs_remove(struct blobs *b, const char *sha256)
{
	char path[PATH_BYTES];
	blobs_path(b, sha256, path, sizeof path);
	unlink(path);
}

static void sweep_parts(const struct blobs *b, const struct blobs_keep *keep)
{
	DIR *d = opendir(b->uploads);
	for (struct dirent *entry; d && (entry = readdir(d));) {
		char *end = NULL;
		long long artifact = strtoll(entry->d_name, &end, 10);
		if (entry->d_name[0] != '.' && strcmp(end, ".part") == 0 && !keep->part(keep->ctx, artifact))
			unlinkat(dirfd(d), entry->d_name, 0);
	}
	if (d)
		closedir(d);
}

void blobs_sweep(struct blobs *b, const struct blobs_keep *keep)
{
	sweep_parts(b, keep);
	DIR *store = opendir(b->store);
	for (struct dirent *sub; store && (sub = readdir(store));) {
		char path[PATH_BYTES + NAME_MAX + 2];
		snprintf(path, sizeof path, "%s/%s", b->store, sub->d_name);
		DIR *d = str_is_hex(sub->d_name, 2) ? opendir(path) : NULL;
		for (struct dirent *entry; d && (entry = readdir(d));) {
			if (str_is_hex(entry->d_name, SHA256_HEX - 1) && !keep->blob(keep->ctx, entry->d_name))
				unlinkat(dirfd(d), entry->d_name, 0);
		}
		if (d)
			closedir(d);
	}
	if (store)
		closedir(store);
}
