#include "service/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "service/catalog.h"
#include "service/modules.h"

#define LOOK_BYTES (4 << 20) /* so often is the disk asked how much is free */

struct spool {
	char *path;
	int fd;
	struct sha256 *hash;
	int64_t size, max, reserve, looked;
};

static enum err failed(struct fault *f, const char *what)
{
	return fault_set(f, errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_UNAVAILABLE, "", "%s: %s", what, strerror(errno));
}

enum err spool_open(struct call *c, struct spool **out)
{
	const struct catalog_limits *limits = catalog_limits_of(c->s->catalog);
	struct spool *s = calloc(1, sizeof *s);
	if (s == NULL)
		abort();
	*out = NULL;
	s->path = strdup(modules_spool_path(c));
	if (s->path == NULL)
		abort();
	s->max = limits->artifact_bytes_max;
	s->reserve = limits->reserve_bytes;
	s->fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->fd < 0) {
		enum err e = failed(c->fault, "cannot open the upload");
		free(s->path);
		free(s);
		return e;
	}
	s->hash = sha256_new();
	*out = s;
	return ERR_OK;
}

static enum err check_room(struct spool *s, size_t len, struct fault *f)
{
	struct statvfs fs;
	if ((uint64_t)len > (uint64_t)(s->max - s->size))
		return fault_set(f, ERR_TOO_LARGE, "", "a file has at most %lld bytes", (long long)s->max);
	if (s->size < s->looked)
		return ERR_OK;
	if (fstatvfs(s->fd, &fs) != 0)
		return failed(f, "cannot ask for free space");
	s->looked = s->size + LOOK_BYTES;
	if ((uint64_t)fs.f_bavail * fs.f_frsize < (uint64_t)s->reserve + LOOK_BYTES)
		return fault_set(f, ERR_FULL, "", "the disk is full but for what is kept for the database");
	return ERR_OK;
}

enum err spool_write(struct spool *s, const void *data, size_t len, struct fault *f)
{
	enum err e = check_room(s, len, f);
	for (size_t done = 0; e == ERR_OK && done < len;) {
		ssize_t n = write(s->fd, (const char *)data + done, len - done);
		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno != EINTR)
			e = failed(f, "cannot write the upload");
	}
	if (e != ERR_OK)
		return e;
	s->size += (int64_t)len;
	sha256_update(s->hash, data, len);
	return ERR_OK;
}

int64_t spool_size(const struct spool *s)
{
	return s->size;
}

void spool_digest(struct spool *s, char sha256[SHA256_HEX])
{
	uint8_t digest[SHA256_BYTES];
	sha256_final(s->hash, digest);
	hex_encode(digest, sizeof digest, sha256);
}

const char *spool_path(const struct spool *s)
{
	return s->path;
}

void spool_close(struct spool *s, bool is_taken)
{
	if (s == NULL)
		return;
	close(s->fd);
	if (!is_taken)
		unlink(s->path);
	sha256_free(s->hash);
	free(s->path);
	free(s);
}
