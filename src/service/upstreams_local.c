/* Upstreams that are directories of this machine: <path>/<version>/version.json and the files that it names. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/semver.h"
#include "service/upstreams_inside.h"

#define ENTRIES_MAX 10000
#define RECORD_BYTES 262144

/* Whether a resolved path is one of the allowed directories, or below one. */
static bool is_below(const struct upstreams *u, const char *resolved)
{
	for (const char *at = u->options.directories; *(at += strspn(at, " \t,")) != '\0';) {
		char one[PATH_MAX], root[PATH_MAX];
		size_t len = strcspn(at, ",");
		const char *begin = at;
		at += len;
		while (len > 0 && (begin[len - 1] == ' ' || begin[len - 1] == '\t'))
			len--;
		if (len == 0 || len >= sizeof one)
			continue;
		memcpy(one, begin, len);
		one[len] = '\0';
		if (realpath(one, root) == NULL)
			continue;
		size_t n = strlen(root);
		if (strncmp(resolved, root, n) == 0 && (resolved[n] == '\0' || resolved[n] == '/'))
			return true;
	}
	return false;
}

bool upstreams_is_allowed_directory(const struct upstreams *u, const char *path)
{
	char resolved[PATH_MAX];
	return path[0] == '/' && realpath(path, resolved) != NULL && is_below(u, resolved);
}

enum err upstreams_open_file(struct upstreams *u, const char *path, int *fd, struct fault *f)
{
	char resolved[PATH_MAX];
	struct stat st;
	if (realpath(path, resolved) == NULL)
		return fault_set(f, ERR_NOT_FOUND, "", "cannot open %.100s: %s", path, strerror(errno));
	if (!is_below(u, resolved))
		return fault_set(f, ERR_FORBIDDEN, "", "%.100s leads out of the allowed directories", path);
	*fd = open(resolved, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd >= 0 && (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		close(*fd);
		return fault_set(f, ERR_FORBIDDEN, "", "%.100s is no file", path);
	}
	return *fd >= 0 ? ERR_OK : fault_set(f, ERR_NOT_FOUND, "", "cannot open %.100s: %s", path, strerror(errno));
}

enum err upstreams_local_read(struct upstreams *u, const char *path, size_t max, char **out, size_t *len, struct fault *f)
{
	int fd;
	*out = NULL;
	enum err e = upstreams_open_file(u, path, &fd, f);
	if (e != ERR_OK)
		return e;
	char *text = malloc(max + 1);
	if (text == NULL)
		abort();
	size_t n = 0;
	ssize_t got = 1;
	while (n <= max && got > 0) {
		got = read(fd, text + n, max + 1 - n);
		n += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	if (got < 0 || n > max) {
		free(text);
		return got < 0 ? fault_set(f, ERR_NOT_FOUND, "", "cannot read %.100s", path)
			: fault_set(f, ERR_TOO_LARGE, "", "%.100s is longer than %zu bytes", path, max);
	}
	text[n] = '\0';
	*out = text;
	*len = n;
	return ERR_OK;
}

/* What is published is a version with its record; the record counts as its contents, which it names by hash. */
static enum err add_version(struct upstreams *u, const char *root, const char *version, struct upstream_poll *p, struct fault *f)
{
	char path[PATH_MAX];
	char *text = NULL;
	size_t len = 0;
	if (snprintf(path, sizeof path, "%s/%s/version.json", root, version) >= (int)sizeof path)
		return ERR_OK;
	enum err e = upstreams_local_read(u, path, RECORD_BYTES, &text, &len, f);
	if (e == ERR_NOT_FOUND)
		return ERR_OK; /* it is still being put there */
	if (e != ERR_OK)
		return e;
	struct upstream_told *t = upstreams_tell(p);
	snprintf(t->version, sizeof t->version, "%s", version);
	crypto_sha256_hex(text, len, t->digest);
	t->place = strdup(path);
	free(text);
	return ERR_OK;
}

enum err upstreams_local_list(struct upstreams *u, const struct upstream_row *row, struct upstream_poll *p, struct fault *f)
{
	char resolved[PATH_MAX];
	unsigned seen = 0;
	enum err e = ERR_OK;
	if (!upstreams_is_allowed_directory(u, row->url) || realpath(row->url, resolved) == NULL)
		return fault_set(f, ERR_FORBIDDEN, "", "%.100s is in none of the directories that [upstreams] directories allows", row->url);
	DIR *dir = opendir(resolved);
	if (dir == NULL)
		return fault_set(f, ERR_NOT_FOUND, "", "cannot open %.100s: %s", row->url, strerror(errno));
	for (struct dirent *d; e == ERR_OK && (d = readdir(dir)) != NULL;) {
		struct semver v;
		if (++seen > ENTRIES_MAX || p->count >= UPSTREAM_VERSIONS_MAX)
			e = fault_set(f, ERR_TOO_LARGE, "", "%.100s has too many entries", row->url);
		else if (strlen(d->d_name) < NAME_BYTES && semver_parse(d->d_name, strlen(d->d_name), &v))
			e = add_version(u, resolved, d->d_name, p, f);
	}
	closedir(dir);
	return e;
}
