/* The state directory:
 *
 *   fleet.db telemetry.db       databases (and their -wal, -shm)
 *   admin.token                 text of the first admin token, 0600
 *   keys/release.key .pub       signing key, 0600, and its public half
 *   blobs/ uploads/             artifacts, and halves of them
 *   backup/<time>/              online backups
 *   lock                        held by the daemon that runs
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"

static enum err io_fault(struct fault *f, const char *path)
{
	return fault_set(f, ERR_UNAVAILABLE, "", "%s: %s", path, strerror(errno));
}

static enum err make_directories(const char *path, struct fault *f)
{
	char part[1024];
	size_t len = strlen(path);
	if (len >= sizeof part - 16)
		return fault_set(f, ERR_INVALID, "", "the path of the state directory is too long");
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return io_fault(f, part);
	}
	return ERR_OK;
}

enum err state_dir_open(const char *path, int *lock_fd, struct fault *f)
{
	static const char *const inside[] = {"keys", "blobs", "uploads", "backup"};
	char name[1024 + 16];
	*lock_fd = -1;
	enum err e = make_directories(path, f);
	for (size_t i = 0; e == ERR_OK && i < sizeof inside / sizeof inside[0]; i++) {
		snprintf(name, sizeof name, "%s/%s", path, inside[i]);
		if (mkdir(name, 0700) != 0 && errno != EEXIST)
			e = io_fault(f, name);
	}
	if (e != ERR_OK)
		return e;
	snprintf(name, sizeof name, "%s/lock", path);
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return io_fault(f, name);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		e = errno == EWOULDBLOCK ? fault_set(f, ERR_CONFLICT, "", "%s is in use by another aviaryd", path)
			: io_fault(f, name);
		close(fd);
		return e;
	}
	*lock_fd = fd;
	return ERR_OK;
}

void state_dir_close(int lock_fd)
{
	if (lock_fd >= 0)
		close(lock_fd); /* and with it the lock; the file stays, so that no two daemons can lock different ones */
}
