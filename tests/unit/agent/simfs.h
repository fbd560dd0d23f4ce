/* A file system in memory that forgets: what POSIX promises after a power cut, and nothing beyond it.
 *
 *   - what was written to a file is durable after fsync or fdatasync of that file; before, each sector of each write, and each
 *     change of its size, may be there or not, in any combination; the write that was interrupted may end at any byte;
 *   - names (created, renamed, removed, links) are durable after fsync of their directory; before, each change may be there
 *     or not, in any combination; a rename is one change. Syncing a file does not make its name durable;
 *   - so a created file may be missing, empty or full of zeros, and a rename may be undone.
 * The source of src/aviary-agent/disk.c is compiled onto it by macros (see test_posix.c): it is the real code that is tried.
 */
#ifndef TESTS_UNIT_AGENT_SIMFS_H
#define TESTS_UNIT_AGENT_SIMFS_H

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FS_SECTOR = 512, FS_NAMES = 40, FS_PENDING = 256, FS_FDS = 64, FS_FD_BASE = 5000, FS_NAME = 96 };
enum fs_kind { FS_FILE, FS_DIR, FS_LINK };

struct fs_change { /* of a file's content */
	struct fs_change *next;
	bool is_truncation;
	size_t offset, len;
	unsigned char data[];
};
struct fs_content {
	unsigned char *bytes;
	size_t size, room;
};
struct fs_names {
	int count;
	struct {
		char name[FS_NAME];
		struct fs_node *node;
	} items[FS_NAMES];
};
struct fs_naming { /* change of a directory */
	char removed[FS_NAME], added[FS_NAME]; /* "": none */
	struct fs_node *node;
};
struct fs_node {
	struct fs_node *next; /* all nodes of the file system */
	enum fs_kind kind;
	struct fs_content now, durable;
	struct fs_change *changes, **last;
	char target[FS_NAME]; /* of a link */
	struct fs_names *names_now, *names_durable;
	struct fs_naming *namings;
	int naming_count;
};
struct fs {
	struct fs_node *nodes, *root;
	struct {
		struct fs_node *node;
		int position;
	} fds[FS_FDS];
	int changes_made;             /* mutating calls so far: the cut points */
	int full_from, full_to;       /* these fail with ENOSPC; a write gets half of its bytes on the disk before */
	struct fs_change *in_flight;  /* the write that a cut now would tear */
	void (*on_change)(void *ctx); /* at each mutating call, before it is over; may be NULL */
	void *ctx;
};

static struct fs *fs_now; /* what the calls below work on */

/* --- nodes --- */

static struct fs_node *fs_node_new(struct fs *fs, enum fs_kind kind)
{
	struct fs_node *n = calloc(1, sizeof(*n));
	n->kind = kind;
	n->last = &n->changes;
	if (kind == FS_DIR) {
		n->names_now = calloc(1, sizeof(*n->names_now));
		n->names_durable = calloc(1, sizeof(*n->names_durable));
		n->namings = calloc(FS_PENDING, sizeof(*n->namings));
	}
	n->next = fs->nodes;
	fs->nodes = n;
	return n;
}

static void fs_forget_changes(struct fs_node *n)
{
	for (struct fs_change *c = n->changes, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	n->changes = NULL;
	n->last = &n->changes;
}

static struct fs *fs_new(void)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	fs->root = fs_node_new(fs, FS_DIR);
	return fs;
}

static void fs_free(struct fs *fs)
{
	for (struct fs_node *n = fs->nodes, *next; n; n = next) {
		next = n->next;
		fs_forget_changes(n);
		free(n->now.bytes);
		free(n->durable.bytes);
		free(n->names_now);
		free(n->names_durable);
		free(n->namings);
		free(n);
	}
	free(fs);
}

static void fs_resize(struct fs_content *c, size_t size)
{
	if (size > c->room) {
		c->room = size + 16384;
		c->bytes = realloc(c->bytes, c->room);
	}
	if (size > c->size)
		memset(c->bytes + c->size, 0, size - c->size);
	c->size = size;
}

static void fs_copy_content(struct fs_content *to, const struct fs_content *from)
{
	to->size = 0;
	fs_resize(to, from->size);
	if (from->size > 0)
		memcpy(to->bytes, from->bytes, from->size);
}

static int fs_index(const struct fs_names *names, const char *name)
{
	for (int i = 0; i < names->count; i++)
		if (strcmp(names->items[i].name, name) == 0)
			return i;
	return -1;
}

static struct fs_node *fs_find(const struct fs_node *dir, const char *name)
{
	int i = fs_index(dir->names_now, name);
	return i < 0 ? NULL : dir->names_now->items[i].node;
}

static void fs_apply_naming(struct fs_names *names, const struct fs_naming *n, struct fs_node *node)
{
	int i;
	if (n->removed[0] && (i = fs_index(names, n->removed)) >= 0)
		names->items[i] = names->items[--names->count];
	if (!n->added[0])
		return;
	if ((i = fs_index(names, n->added)) < 0) {
		assert(names->count < FS_NAMES);
		i = names->count++;
		snprintf(names->items[i].name, FS_NAME, "%s", n->added);
	}
	names->items[i].node = node;
}

/* --- calls --- */

static bool fs_is_full(void)
{
	return fs_now->changes_made >= fs_now->full_from && fs_now->changes_made < fs_now->full_to;
}

static void fs_changed(void)
{
	if (fs_now->on_change)
		fs_now->on_change(fs_now->ctx);
	fs_now->in_flight = NULL;
}

static struct fs_node *fs_of(int fd)
{
	assert(fd >= FS_FD_BASE && fd < FS_FD_BASE + FS_FDS && fs_now->fds[fd - FS_FD_BASE].node);
	return fs_now->fds[fd - FS_FD_BASE].node;
}

static int fs_fd(struct fs_node *n)
{
	int i = 0;
	while (fs_now->fds[i].node)
		assert(++i < FS_FDS);
	fs_now->fds[i].node = n;
	fs_now->fds[i].position = 0;
	return FS_FD_BASE + i;
}

static int fs_error(int error)
{
	errno = error;
	return -1;
}

/* Removes one name and adds another, as one change. */
static void fs_name(struct fs_node *dir, const char *removed, const char *added, struct fs_node *node)
{
	assert(dir->naming_count < FS_PENDING);
	struct fs_naming *n = &dir->namings[dir->naming_count++];
	snprintf(n->removed, FS_NAME, "%s", removed);
	snprintf(n->added, FS_NAME, "%s", added);
	n->node = node;
	fs_apply_naming(dir->names_now, n, node);
}

static void fs_change(struct fs_node *file, bool is_truncation, size_t offset, const void *data, size_t len)
{
	struct fs_change *c = malloc(sizeof(*c) + len);
	*c = (struct fs_change){NULL, is_truncation, offset, len};
	if (len > 0)
		memcpy(c->data, data, len);
	*file->last = c;
	file->last = &c->next;
	if (is_truncation) {
		file->now.size = 0;
	} else {
		fs_resize(&file->now, offset + len > file->now.size ? offset + len : file->now.size);
		memcpy(file->now.bytes + offset, data, len);
		fs_now->in_flight = c;
	}
}

static int fs_openat(int at, const char *name, int flags, ...)
{
	struct fs_node *dir = fs_of(at), *found = strcmp(name, ".") == 0 ? dir : fs_find(dir, name);
	if (found && !(flags & O_TRUNC))
		return fs_fd(found);
	if (!found && !(flags & O_CREAT))
		return fs_error(ENOENT);
	fs_now->changes_made++;
	if (!found && fs_is_full())
		return fs_error(ENOSPC);
	if (!found)
		fs_name(dir, "", name, found = fs_node_new(fs_now, FS_FILE));
	else if (found->now.size > 0)
		fs_change(found, true, 0, NULL, 0);
	fs_changed();
	return fs_fd(found);
}

static int fs_open(const char *path, int flags)
{
	(void)path;
	(void)flags;
	return fs_fd(fs_now->root);
}

static int fs_mkdir(const char *path, mode_t mode)
{
	(void)path;
	(void)mode;
	return fs_error(EEXIST);
}

static int fs_mkdirat(int at, const char *name, mode_t mode)
{
	(void)mode;
	if (fs_find(fs_of(at), name))
		return fs_error(EEXIST);
	fs_now->changes_made++;
	if (fs_is_full())
		return fs_error(ENOSPC);
	fs_name(fs_of(at), "", name, fs_node_new(fs_now, FS_DIR));
	fs_changed();
	return 0;
}

static int fs_close(int fd)
{
	(void)fs_of(fd);
	fs_now->fds[fd - FS_FD_BASE].node = NULL;
	return 0;
}

static ssize_t fs_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	struct fs_node *n = fs_of(fd);
	fs_now->changes_made++;
	bool is_full = fs_is_full();
	if (is_full && len < 2)
		return fs_error(ENOSPC);
	if (is_full)
		len /= 2; /* a short write; the rest finds no room */
	fs_change(n, false, (size_t)offset, data, len);
	fs_changed();
	return is_full && fs_now->full_to == fs_now->changes_made + 1 ? fs_error(ENOSPC) : (ssize_t)len;
}

static ssize_t fs_pread(int fd, void *out, size_t len, off_t offset)
{
	const struct fs_content *c = &fs_of(fd)->now;
	if ((size_t)offset >= c->size)
		return 0;
	size_t n = c->size - (size_t)offset < len ? c->size - (size_t)offset : len;
	memcpy(out, c->bytes + offset, n);
	return (ssize_t)n;
}

static int fs_fsync(int fd)
{
	struct fs_node *n = fs_of(fd);
	fs_now->changes_made++;
	fs_changed(); /* the cut comes before it is over */
	if (fs_is_full()) /* delayed allocation: the disk turns out to be full now */
		return fs_error(ENOSPC);
	if (n->kind == FS_DIR) {
		*n->names_durable = *n->names_now;
		n->naming_count = 0;
	} else {
		fs_copy_content(&n->durable, &n->now);
		fs_forget_changes(n);
	}
	return 0;
}

static int fs_fdatasync(int fd)
{
	return fs_fsync(fd);
}

static int fs_fallocate(int fd, int mode, off_t offset, off_t len)
{
	(void)fd;
	(void)mode;
	(void)offset;
	(void)len;
	fs_now->changes_made++;
	return fs_is_full() ? fs_error(ENOSPC) : 0;
}

static int fs_renameat(int at, const char *old, int to, const char *new)
{
	struct fs_node *n = fs_find(fs_of(at), old);
	assert(at == to);
	if (!n)
		return fs_error(ENOENT);
	fs_now->changes_made++;
	if (fs_is_full())
		return fs_error(ENOSPC);
	fs_name(fs_of(at), old, new, n);
	fs_changed();
	return 0;
}

static int fs_unlinkat(int at, const char *name, int flags)
{
	(void)flags;
	if (!fs_find(fs_of(at), name))
		return fs_error(ENOENT);
	fs_now->changes_made++;
	fs_name(fs_of(at), name, "", NULL);
	fs_changed();
	return 0;
}

static int fs_symlinkat(const char *target, int at, const char *name)
{
	if (fs_find(fs_of(at), name))
		return fs_error(EEXIST);
	fs_now->changes_made++;
	if (fs_is_full())
		return fs_error(ENOSPC);
	struct fs_node *n = fs_node_new(fs_now, FS_LINK);
	snprintf(n->target, FS_NAME, "%s", target);
	fs_name(fs_of(at), "", name, n);
	fs_changed();
	return 0;
}

static ssize_t fs_readlinkat(int at, const char *name, char *out, size_t size)
{
	const struct fs_node *n = fs_find(fs_of(at), name);
	if (!n || n->kind != FS_LINK)
		return fs_error(n ? EINVAL : ENOENT);
	size_t len = strlen(n->target) < size ? strlen(n->target) : size;
	memcpy(out, n->target, len);
	return (ssize_t)len;
}

static int fs_fstatat(int at, const char *name, struct stat *out, int flags)
{
	const struct fs_node *n = fs_find(fs_of(at), name);
	(void)flags;
	if (!n)
		return fs_error(ENOENT);
	memset(out, 0, sizeof(*out));
	out->st_size = (off_t)n->now.size;
	return 0;
}

static int fs_faccessat(int at, const char *name, int mode, int flags)
{
	(void)mode;
	(void)flags;
	return fs_find(fs_of(at), name) ? 0 : fs_error(ENOENT);
}

static int fs_flock(int fd, int operation)
{
	(void)fs_of(fd);
	(void)operation;
	return 0;
}

struct fs_reader {
	int fd;
	struct dirent entry;
};

static struct fs_reader *fs_fdopendir(int fd)
{
	struct fs_reader *r = calloc(1, sizeof(*r));
	r->fd = fd;
	return r;
}

static struct dirent *fs_readdir(struct fs_reader *r)
{
	const struct fs_names *names = fs_of(r->fd)->names_now;
	int *position = &fs_now->fds[r->fd - FS_FD_BASE].position;
	if (*position >= names->count)
		return NULL;
	snprintf(r->entry.d_name, sizeof(r->entry.d_name), "%s", names->items[(*position)++].name);
	return &r->entry;
}

static int fs_closedir(struct fs_reader *r)
{
	int result = fs_close(r->fd);
	free(r);
	return result;
}

/* --- the cut --- */

/* Decides, one yes or no after the other, what of the pending changes is on the medium. */
struct fs_fate {
	enum { FS_NOTHING, FS_EVERYTHING, FS_NAMES_ONLY, FS_DATA_ONLY, FS_COUNTED, FS_DRAWN } how;
	uint64_t bits;    /* FS_COUNTED: the answers, lowest first */
	uint64_t random;  /* FS_DRAWN: state of the generator */
	unsigned percent; /* FS_DRAWN: of yes */
	unsigned asked;
};

static uint32_t fs_draw(struct fs_fate *f) /* splitmix64 */
{
	uint64_t z = f->random += 0x9E3779B97F4A7C15u;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return (uint32_t)(z >> 32);
}

static bool fs_survives(struct fs_fate *f, bool is_data)
{
	unsigned n = f->asked++;
	switch (f->how) {
	case FS_NOTHING: return false;
	case FS_EVERYTHING: return true;
	case FS_NAMES_ONLY: return !is_data;
	case FS_DATA_ONLY: return is_data;
	case FS_COUNTED: return n < 64 && (f->bits >> n & 1);
	case FS_DRAWN: break;
	}
	return fs_draw(f) % 100 < f->percent;
}

static void fs_apply_change(struct fs_content *c, const struct fs_change *change, struct fs_fate *f, bool is_torn)
{
	if (change->is_truncation) {
		if (fs_survives(f, false))
			c->size = 0;
		return;
	}
	size_t end = change->offset + change->len;
	if (end > c->size && fs_survives(f, false))
		fs_resize(c, end);
	for (size_t at = change->offset; at < end;) {
		size_t stop = (at / FS_SECTOR + 1) * FS_SECTOR < end ? (at / FS_SECTOR + 1) * FS_SECTOR : end, n = stop - at;
		bool is_there = fs_survives(f, true);
		if (!is_there && is_torn && f->how == FS_DRAWN)
			n = fs_draw(f) % n; /* within a sector, at any byte */
		else if (!is_there)
			n = 0;
		if (at + n > c->size) /* bytes beyond the size are nobody's */
			n = c->size > at ? c->size - at : 0;
		if (n > 0)
			memcpy(c->bytes + at, change->data + (at - change->offset), n);
		at = stop;
	}
}

static struct fs_node *fs_crash_node(struct fs *to, const struct fs *from, const struct fs_node *n, struct fs_fate *f)
{
	struct fs_node *copy = fs_node_new(to, n->kind);
	memcpy(copy->target, n->target, sizeof(copy->target));
	if (n->kind == FS_FILE) {
		fs_copy_content(&copy->durable, &n->durable);
		for (const struct fs_change *c = n->changes; c; c = c->next)
			fs_apply_change(&copy->durable, c, f, c == from->in_flight);
		fs_copy_content(&copy->now, &copy->durable);
	} else if (n->kind == FS_DIR) {
		struct fs_names *names = copy->names_durable;
		*names = *n->names_durable;
		for (int i = 0; i < n->naming_count; i++)
			if (fs_survives(f, false))
				fs_apply_naming(names, &n->namings[i], n->namings[i].node);
		for (int i = 0; i < names->count; i++)
			names->items[i].node = fs_crash_node(to, from, names->items[i].node, f);
		*copy->names_now = *names;
	}
	return copy;
}

/* The file system as one power cut now may leave it. */
static struct fs *fs_crash(const struct fs *from, struct fs_fate *f)
{
	struct fs *to = calloc(1, sizeof(*to));
	f->asked = 0;
	to->root = fs_crash_node(to, from, from->root, f);
	return to;
}

#endif
