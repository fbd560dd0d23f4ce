#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/str.h"

const char *disk_slot_name(int slot)
{
	static const char *const names[] = {"slot-a", "slot-b", "factory"};
	return names[slot];
}

static const char *part_name(int part, char out[16])
{
	if (part == AGENT_PART_RELEASE)
		return "release";
	snprintf(out, 16, "part-%d", part);
	return out;
}

/* --- opening --- */

static int open_dir(int at, const char *name, bool create)
{
	if (create && mkdirat(at, name, 0755) == 0 && fsync(at) != 0)
		return -1;
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

enum err disk_open(struct disk *d, const char *path, bool exclusive, struct fault *f)
{
	memset(d, 0, sizeof(*d));
	memset(d->writing, 0xFF, sizeof(d->writing)); /* -1 everywhere */
	d->lock = d->slots[0] = d->slots[1] = d->reading = -1;
	if (exclusive && mkdir(path, 0700) != 0 && errno != EEXIST)
		return fault_set(f, ERR_UNAVAILABLE, "", "%s: %s", path, strerror(errno));
	d->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dir < 0 && !exclusive && errno == ENOENT)
		return ERR_OK; /* never started: every read finds nothing */
	if (d->dir < 0)
		return fault_set(f, ERR_UNAVAILABLE, "", "%s: %s", path, strerror(errno));
	if (!str_copy(d->path, sizeof(d->path), path))
		return fault_set(f, ERR_INVALID, "", "%s: too long", path);
	if (exclusive) {
		d->lock = openat(d->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (d->lock < 0 || flock(d->lock, LOCK_EX | LOCK_NB) != 0)
			return fault_set(f, ERR_CONFLICT, "", "%s: another aviary-agent is using it", path);
	}
	for (int slot = 0; slot < 2; slot++) {
		d->slots[slot] = open_dir(d->dir, disk_slot_name(slot), exclusive);
		if (d->slots[slot] < 0 && exclusive)
			return fault_set(f, ERR_UNAVAILABLE, "", "%s/%s: %s", path, disk_slot_name(slot), strerror(errno));
	}
	return ERR_OK;
}

void disk_close(struct disk *d)
{
	for (int slot = 0; slot < 2; slot++) {
		for (int part = 0; part < DISK_PARTS; part++)
			if (d->writing[slot][part] >= 0)
				close(d->writing[slot][part]);
		if (d->slots[slot] >= 0)
			close(d->slots[slot]);
	}
	if (d->reading >= 0)
		close(d->reading);
	if (d->lock >= 0)
		close(d->lock);
	if (d->dir >= 0)
		close(d->dir);
}

/* --- whole files --- */

static bool write_all(int fd, const void *data, size_t len, uint64_t offset)
{
	const char *at = data;
	while (len > 0) {
		ssize_t n = pwrite(fd, at, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool read_all(int fd, void *out, size_t len, uint64_t offset)
{
	char *at = out;
	while (len > 0) {
		ssize_t n = pread(fd, at, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

/* Old content or new content, nothing between, durable. */
static bool replace_file(int dir, const char *name, const void *data, size_t len, mode_t mode)
{
	char temporary[64];
	snprintf(temporary, sizeof(temporary), "%s.new", name);
	int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return false;
	bool ok = write_all(fd, data, len, 0) && fsync(fd) == 0;
	ok = close(fd) == 0 && ok;
	return ok && renameat(dir, temporary, dir, name) == 0 && fsync(dir) == 0;
}

static bool read_file(int dir, const char *name, void *out, size_t len)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = read_all(fd, out, len, 0);
	close(fd);
	return ok;
}

enum err disk_secret(struct disk *d, char out[65], struct fault *f)
{
	uint8_t raw[32];
	out[64] = '\0';
	if (read_file(d->dir, "secret", out, 64) && str_is_hex(out, 64))
		return ERR_OK;
	if (faccessat(d->dir, "secret", F_OK, 0) == 0) /* a device must not change who it is by accident */
		return fault_set(f, ERR_INVALID, "", "%s/secret: not 64 hex digits", d->path);
	crypto_random(raw, sizeof(raw));
	hex_encode(raw, sizeof(raw), out);
	if (!replace_file(d->dir, "secret", out, 64, 0600))
		return fault_set(f, ERR_UNAVAILABLE, "", "%s/secret: %s", d->path, strerror(errno));
	return ERR_OK;
}

bool disk_state_read(struct disk *d, int copy, void *out, size_t size)
{
	return read_file(d->dir, copy ? "state-1" : "state-0", out, size);
}

bool disk_state_write(struct disk *d, int copy, const void *data, size_t size)
{
	return replace_file(d->dir, copy ? "state-1" : "state-0", data, size, 0600);
}

/* --- parts --- */

static void forget_reading(struct disk *d)
{
	if (d->reading >= 0)
		close(d->reading);
	d->reading = -1;
}

static int open_part(struct disk *d, int slot, int part, int flags)
{
	char name[16];
	return openat(d->slots[slot], part_name(part, name), flags | O_CLOEXEC, 0644);
}

bool disk_part_begin(struct disk *d, int slot, int part, uint64_t size_bytes)
{
	int *fd = &d->writing[slot][part];
	if (*fd >= 0)
		close(*fd);
	forget_reading(d);
	*fd = open_part(d, slot, part, O_WRONLY | O_CREAT | O_TRUNC);
	if (*fd < 0)
		return false;
	/* A full disk is better known now than after an hour of download. File systems without reservation just go on. */
	if (size_bytes > 0 && fallocate(*fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size_bytes) != 0 && errno != EOPNOTSUPP &&
	    errno != ENOSYS)
		return false;
	return true;
}

bool disk_part_write(struct disk *d, int slot, int part, uint64_t offset, const void *data, size_t len)
{
	int *fd = &d->writing[slot][part];
	if (*fd < 0)
		*fd = open_part(d, slot, part, O_WRONLY); /* a download that continues */
	return *fd >= 0 && write_all(*fd, data, len, offset);
}

bool disk_part_read(struct disk *d, int slot, int part, uint64_t offset, void *out, size_t len)
{
	if (d->slots[slot] < 0)
		return false;
	if (d->reading < 0 || d->read_slot != slot || d->read_part != part) {
		forget_reading(d);
		d->reading = open_part(d, slot, part, O_RDONLY);
		d->read_slot = slot;
		d->read_part = part;
	}
	return d->reading >= 0 && read_all(d->reading, out, len, offset);
}

bool disk_slot_sync(struct disk *d, int slot)
{
	bool ok = true;
	for (int part = 0; part < DISK_PARTS; part++) {
		int *fd = &d->writing[slot][part];
		if (*fd < 0)
			continue;
		ok = fdatasync(*fd) == 0 && ok; /* with the size: it is metadata needed to read the data */
		ok = close(*fd) == 0 && ok;
		*fd = -1;
	}
	return ok && fsync(d->slots[slot]) == 0;
}

/* --- what programs see --- */

static bool link_is(int dir, const char *name, const char *target)
{
	char found[64];
	ssize_t n = readlinkat(dir, name, found, sizeof(found) - 1);
	if (n < 0)
		return false;
	found[n] = '\0';
	return strcmp(found, target) == 0;
}

static bool set_link(int dir, const char *name, const char *target)
{
	if (link_is(dir, name, target))
		return true;
	if (unlinkat(dir, "link.new", 0) != 0 && errno != ENOENT)
		return false;
	return symlinkat(target, dir, "link.new") == 0 && renameat(dir, "link.new", dir, name) == 0 && fsync(dir) == 0;
}

bool disk_put_config(struct disk *d, const char *json, size_t len)
{
	char present[AGENT_DOCUMENT_BYTES];
	struct stat st;
	if (fstatat(d->dir, "desired.json", &st, 0) == 0 && (size_t)st.st_size == len && len <= sizeof(present) &&
	    read_file(d->dir, "desired.json", present, len) && memcmp(json, present, len) == 0)
		return true;
	return replace_file(d->dir, "desired.json", json, len, 0644);
}

/* The exact signed bytes, behind the head of the sealed record. */
static bool write_manifest(struct disk *d, int slot)
{
	char manifest[AGENT_MANIFEST_BYTES], present[AGENT_MANIFEST_BYTES];
	struct stat st;
	if (fstatat(d->slots[slot], "release", &st, 0) != 0 || st.st_size < AGENT_RECORD_HEAD_BYTES)
		return false;
	size_t len = (size_t)st.st_size - AGENT_RECORD_HEAD_BYTES;
	if (len > sizeof(manifest) || !disk_part_read(d, slot, AGENT_PART_RELEASE, AGENT_RECORD_HEAD_BYTES, manifest, len))
		return false;
	if (fstatat(d->slots[slot], "manifest.json", &st, 0) == 0 && (size_t)st.st_size == len &&
	    read_file(d->slots[slot], "manifest.json", present, len) && memcmp(manifest, present, len) == 0)
		return true;
	return replace_file(d->slots[slot], "manifest.json", manifest, len, 0644);
}

static bool name_parts(struct disk *d, int slot, const struct agent_release *release)
{
	for (unsigned i = 0; i < release->component_count; i++) {
		const struct agent_component *c = &release->components[i];
		char link[AGENT_NAME_MAX + 16], part[16];
		snprintf(link, sizeof(link), "%s-%s", c->is_firmware ? "firmware" : "model", c->name);
		if (!set_link(d->slots[slot], link, part_name(c->part, part)))
			return false;
	}
	return true;
}

static bool is_in(const struct agent_release *release, const char *name)
{
	for (unsigned i = 0; i < release->component_count; i++) {
		const struct agent_component *c = &release->components[i];
		const char *kind = c->is_firmware ? "firmware-" : "model-";
		if (str_starts(name, kind) && strcmp(name + strlen(kind), c->name) == 0)
			return true;
	}
	return false;
}

/* Links of the release that was in this slot before. */
static void remove_old_names(struct disk *d, int slot, const struct agent_release *release)
{
	int fd = openat(d->slots[slot], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	while (dir && (e = readdir(dir)) != NULL)
		if ((str_starts(e->d_name, "model-") || str_starts(e->d_name, "firmware-")) && !is_in(release, e->d_name))
			(void)unlinkat(d->slots[slot], e->d_name, 0);
	if (dir)
		closedir(dir);
}

bool disk_name_slot(struct disk *d, int slot, const struct agent_release *release)
{
	remove_old_names(d, slot, release);
	return write_manifest(d, slot) && name_parts(d, slot, release);
}

bool disk_use_slot(struct disk *d, int slot, const struct agent_release *release)
{
	if (slot == AGENT_SLOT_FACTORY)
		return (unlinkat(d->dir, "current", 0) == 0 && fsync(d->dir) == 0) || errno == ENOENT;
	return disk_name_slot(d, slot, release) && set_link(d->dir, "current", disk_slot_name(slot));
}

void disk_current(const struct disk *d, char *out, size_t out_size)
{
	ssize_t n = readlinkat(d->dir, "current", out, out_size - 1);
	out[n > 0 ? n : 0] = '\0';
}
