#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#define CHUNK_BYTES 65536

enum result file_read(const char *path, size_t max_bytes, struct buf *out)
{
	bool is_stdin = strcmp(path, "-") == 0;
	char chunk[CHUNK_BYTES];
	size_t from = out->len;
	ssize_t n = 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return complain(RESULT_LOCAL, "%s: %s", path, strerror(errno));
	while (out->len - from <= max_bytes && (n = read(fd, chunk, sizeof chunk)) > 0)
		buf_append(out, chunk, (size_t)n);
	int why = errno;
	if (!is_stdin)
		close(fd);
	if (n < 0)
		return complain(RESULT_LOCAL, "%s: %s", path, strerror(why));
	if (out->len - from > max_bytes)
		return complain(RESULT_LOCAL, "%s: more than %zu bytes", path, max_bytes);
	if (out->len > from && !str_is_utf8(out->data + from, out->len - from))
		return complain(RESULT_LOCAL, "%s is not UTF-8 text", path);
	return RESULT_OK;
}

enum result file_write(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "we");
	bool ok = f != NULL && fwrite(data, 1, len, f) == len;
	if (f != NULL && fclose(f) != 0)
		ok = false;
	return ok ? RESULT_OK : complain(RESULT_LOCAL, "%s: %s", path, strerror(errno));
}

enum result file_open(const char *path, int *fd, uint64_t *size_bytes)
{
	struct stat st;
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) != 0)
		return complain(RESULT_LOCAL, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return complain(RESULT_LOCAL, "%s is not a regular file", path);
	*size_bytes = (uint64_t)st.st_size;
	return RESULT_OK;
}

enum result file_hash(int fd, const char *path, char hex[SHA256_HEX])
{
	char chunk[CHUNK_BYTES];
	uint8_t digest[SHA256_BYTES];
	struct sha256 *h = sha256_new();
	ssize_t n = lseek(fd, 0, SEEK_SET) == 0 ? 0 : -1;
	while (n >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0)
		sha256_update(h, chunk, (size_t)n);
	sha256_final(h, digest);
	sha256_free(h);
	hex_encode(digest, sizeof digest, hex);
	return n == 0 ? RESULT_OK : complain(RESULT_LOCAL, "%s: %s", path, strerror(errno));
}

enum result file_spool_stdin(int *fd, uint64_t *size_bytes)
{
	char chunk[CHUNK_BYTES];
	ssize_t n = -1;
	FILE *f = tmpfile();
	*fd = f != NULL ? dup(fileno(f)) : -1;
	*size_bytes = 0;
	bool ok = *fd >= 0;
	while (ok && (n = read(STDIN_FILENO, chunk, sizeof chunk)) > 0) {
		ok = write(*fd, chunk, (size_t)n) == n;
		*size_bytes += (uint64_t)n;
	}
	ok = ok && n == 0 && lseek(*fd, 0, SEEK_SET) == 0;
	if (f != NULL)
		fclose(f);
	return ok ? RESULT_OK : complain(RESULT_LOCAL, "standard input: %s", strerror(errno));
}
