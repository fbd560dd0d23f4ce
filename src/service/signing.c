#include "service/signing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_HEX (2 * ED25519_KEY_BYTES)
#define PATH_BYTES 1024
#define DIR_BYTES (PATH_BYTES - 32) /* room for a file name behind it */

struct signing {
	uint8_t secret[ED25519_KEY_BYTES];
	uint8_t public_key[ED25519_KEY_BYTES];
	char key_id[SIGNING_KEY_ID];
	uint8_t target_key[CRYPTO_SEAL_KEY_BYTES];
};
_Static_assert(CRYPTO_SEAL_KEY_BYTES == ED25519_KEY_BYTES, "both kinds of keys are written in the same way");

static enum err failed(struct fault *f, const char *what, const char *path)
{
	enum err e = errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_UNAVAILABLE;
	return fault_set(f, e, "", "%s %s: %s", what, path, strerror(errno));
}

/* Writes a small file so that a crash leaves the old one, the new one, or none, but never half of one. */
static enum err write_file(const char *dir, const char *name, const char *text, mode_t mode, struct fault *f)
{
	char path[PATH_BYTES], tmp[PATH_BYTES];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	snprintf(tmp, sizeof tmp, "%s/.%s.tmp", dir, name);
	unlink(tmp);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return failed(f, "cannot create", tmp);
	size_t len = strlen(text);
	bool good = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
	if (close(fd) != 0 || !good || rename(tmp, path) != 0) {
		enum err e = failed(f, "cannot write", path);
		unlink(tmp);
		return e;
	}
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	good = dir_fd >= 0 && fsync(dir_fd) == 0;
	if (dir_fd >= 0)
		close(dir_fd);
	return good ? ERR_OK : failed(f, "cannot sync", dir);
}

static enum err make_key(uint8_t key[ED25519_KEY_BYTES], const char *dir, const char *name, struct fault *f)
{
	char text[KEY_HEX + 2];
	crypto_random(key, ED25519_KEY_BYTES);
	hex_encode(key, ED25519_KEY_BYTES, text);
	memcpy(text + KEY_HEX, "\n", 2);
	enum err e = write_file(dir, name, text, 0600, f);
	explicit_bzero(text, sizeof text);
	return e;
}

static enum err read_key(uint8_t key[ED25519_KEY_BYTES], int fd, const char *path, struct fault *f)
{
	struct stat st;
	char text[KEY_HEX + 2] = "";
	if (fstat(fd, &st) != 0)
		return failed(f, "cannot read", path);
	if (st.st_mode & 077)
		return fault_set(f, ERR_FORBIDDEN, "", "%s can be read or written by others: chmod 600", path);
	ssize_t len = read(fd, text, sizeof text - 1);
	if (len < 0)
		return failed(f, "cannot read", path);
	bool good = S_ISREG(st.st_mode) && len >= KEY_HEX && st.st_size <= KEY_HEX + 1 && (len == KEY_HEX || text[KEY_HEX] == '\n') &&
	            hex_decode(text, KEY_HEX, key, ED25519_KEY_BYTES);
	explicit_bzero(text, sizeof text);
	return good ? ERR_OK : fault_set(f, ERR_INVALID, "", "%s is not a key: 64 hex digits are expected", path);
}

static enum err load_key(uint8_t key[ED25519_KEY_BYTES], const char *dir, const char *name, struct fault *f)
{
	char path[PATH_BYTES];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? make_key(key, dir, name, f) : failed(f, "cannot open", path);
	enum err e = read_key(key, fd, path, f);
	close(fd);
	return e;
}

enum err signing_open(const char *state_dir, struct signing **out, struct fault *f)
{
	char dir[DIR_BYTES];
	if ((size_t)snprintf(dir, sizeof dir, "%s/keys", state_dir) >= sizeof dir)
		return fault_set(f, ERR_INVALID, "", "the state directory's path is too long");
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return failed(f, "cannot create", dir);
	struct signing *s = calloc(1, sizeof *s);
	if (!s)
		abort();
	enum err e = load_key(s->secret, dir, "release.key", f);
	if (e == ERR_OK)
		e = load_key(s->target_key, dir, "target.key", f);
	if (e == ERR_OK) {
		char hex[SHA256_HEX], text[64];
		ed25519_public(s->secret, s->public_key);
		crypto_sha256_hex(s->public_key, sizeof s->public_key, hex);
		memcpy(s->key_id, hex, SIGNING_KEY_ID - 1);
		base64_encode(s->public_key, sizeof s->public_key, text);
		memcpy(text + strlen(text), "\n", 2);
		e = write_file(dir, "release.pub", text, 0644, f);
	}
	if (e != ERR_OK) {
		signing_close(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void signing_close(struct signing *s)
{
	if (!s)
		return;
	explicit_bzero(s, sizeof *s);
	free(s);
}

const uint8_t *signing_public_key(const struct signing *s)
{
	return s->public_key;
}

const uint8_t *signing_target_key(const struct signing *s)
{
	return s->target_key;
}

const char *signing_key_id(const struct signing *s)
{
	return s->key_id;
}

void signing_sign(const struct signing *s, const void *data, size_t len, uint8_t signature[ED25519_SIGNATURE_BYTES])
{
	ed25519_sign(s->secret, SIGNING_DOMAIN, data, len, signature);
}
