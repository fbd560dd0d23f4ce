/* Artifacts: lists of files, their contents, their MD5 sums. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "api/ddi_inside.h"
#include "net/http.h"
#include "service/catalog.h"

#define SUM ".MD5SUM"

/* What a URL may not have as it is; '/' cannot be in a name. */
static const char *escape(struct arena *a, const char *name)
{
	static const char digits[] = "0123456789ABCDEF";
	char *out = arena_alloc(a, 3 * strlen(name) + 1);
	size_t n = 0;
	for (; *name != '\0'; name++) {
		unsigned char ch = (unsigned char)*name;
		bool is_plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || strchr("-._~+@,=", ch) != NULL;
		if (is_plain) {
			out[n++] = (char)ch;
		} else {
			out[n++] = '%';
			out[n++] = digits[ch >> 4];
			out[n++] = digits[ch & 15];
		}
	}
	out[n] = '\0';
	return out;
}

void ddi_put_file(struct ddi_request *rq, const char *base, bool is_https, int64_t module, const struct action_file *file)
{
	const char *href = arena_printf(rq->call.arena, "%s/softwaremodules/%lld/artifacts/%s", base, (long long)module,
		escape(rq->call.arena, file->name));
	struct buf *out = &rq->out;
	json_open_object(out);
	json_str(out, "filename", file->name);
	json_key(out, "hashes");
	json_open_object(out);
	if (file->sha1 != NULL)
		json_str(out, "sha1", file->sha1);
	if (file->md5 != NULL)
		json_str(out, "md5", file->md5);
	json_str(out, "sha256", file->sha256);
	json_close_object(out);
	json_int(out, "size", file->size_bytes);
	/* A link of the scheme that the client uses: the other listener may not be there for it. */
	buf_printf(out, ",\"_links\":{\"%s\":{\"href\":\"%s\"},\"%s\":{\"href\":\"%s" SUM "\"}}", is_https ? "download" : "download-http", href,
		is_https ? "md5sum" : "md5sum-http", href);
	json_close_object(out);
}

static enum err find_files(struct ddi_request *rq, int64_t *module, int64_t *action, struct action_file **files, size_t *count)
{
	enum err e = ddi_number(rq, 0, module);
	return e == ERR_OK ? actions_files(&rq->call, rq->device, *module, action, files, count) : e;
}

static enum err list_files(struct ddi_request *rq)
{
	struct action_file *files;
	size_t count;
	int64_t module, action;
	char base[DDI_BASE_MAX];
	bool is_https;
	enum err e = find_files(rq, &module, &action, &files, &count);
	if (e == ERR_OK && !ddi_write_base(rq->ddi, rq->http, rq->tenant, rq->id, base, &is_https))
		e = fault_set(&rq->fault, ERR_BAD_REQUEST, "", "the request says no host that links could name");
	if (e != ERR_OK)
		return e;
	json_open_array(&rq->out);
	for (size_t i = 0; i < count; i++)
		ddi_put_file(rq, base, is_https, module, &files[i]);
	json_close_array(&rq->out);
	return ERR_OK;
}

/* Quotes and backslashes of a name would end the header's text. */
static const char *disposition(struct arena *a, const char *name, const char *suffix)
{
	char *plain = arena_strdup(a, name);
	for (char *ch = plain; *ch != '\0'; ch++)
		if (*ch == '"' || *ch == ';' || (unsigned char)*ch < 0x20 || (unsigned char)*ch >= 0x7f)
			*ch = '_';
	return arena_printf(a, "attachment;filename=%s%s", plain, suffix);
}

static void reply_sum(struct ddi_request *rq, const struct action_file *file)
{
	http_set_header(rq->http, "Content-Disposition", disposition(rq->call.arena, file->name, SUM));
	rq->type = "text/plain";
	buf_printf(&rq->out, "%s  %s", file->md5, file->name);
}

/* Counted as a new beginning: everything, from the first byte, or from behind the end (what a client asks that has everything already). */
static bool is_beginning(const struct ddi_request *rq, int64_t size)
{
	const char *range = http_header(rq->http, "Range");
	if (range == NULL || strncmp(range, "bytes=", 6) != 0)
		return true;
	int64_t first = 0;
	const char *t = range + 6;
	for (; *t >= '0' && *t <= '9' && first < INT64_MAX / 16; t++)
		first = first * 10 + *t - '0';
	return t > range + 6 && (first == 0 || first >= size);
}

static enum err send_file(struct ddi_request *rq, int64_t action, const struct action_file *file)
{
	struct arena *a = rq->call.arena;
	const char *tag = file->sha1 != NULL ? file->sha1 : file->sha256;
	const char *wanted = http_header(rq->http, "If-Match");
	bool is_get = strcmp(http_method(rq->http), "GET") == 0, has_range = http_header(rq->http, "Range") != NULL;
	if (wanted != NULL && strcmp(wanted, "*") != 0 && strstr(wanted, arena_printf(a, "\"%s\"", tag)) == NULL) {
		rq->status = 412;
		return ERR_OK;
	}
	int fd = open(catalog_blob_path(&rq->call, file->sha256), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fault_set(&rq->fault, errno == ENOENT ? ERR_INTERNAL : ERR_UNAVAILABLE, "", "cannot open the content: %s", strerror(errno));
	enum err e = ERR_OK;
	if (is_get && is_beginning(rq, file->size_bytes))
		e = actions_downloading(&rq->call, rq->device, action, has_range ? NULL : http_path(rq->http));
	if (e != ERR_OK) {
		close(fd);
		return e;
	}
	http_set_header(rq->http, "Content-Disposition", disposition(a, file->name, ""));
	const struct http_file how = {.etag = tag, .content_type = "application/octet-stream", .modified_s = file->created_at / 1000, .has_many = true};
	rq->taken = true;
	http_reply_file_as(rq->http, fd, (uint64_t)file->size_bytes, &how);
	return ERR_OK;
}

static enum err get_file(struct ddi_request *rq)
{
	struct action_file *files;
	size_t count;
	int64_t module, action;
	enum err e = find_files(rq, &module, &action, &files, &count);
	if (e != ERR_OK)
		return e;
	const char *name = rq->param[1];
	size_t len = strlen(name), sum = sizeof SUM - 1;
	for (size_t i = 0; i < count; i++)
		if (strcmp(files[i].name, name) == 0)
			return send_file(rq, action, &files[i]);
	for (size_t i = 0; i < count && len > sum; i++)
		if (strlen(files[i].name) == len - sum && memcmp(files[i].name, name, len - sum) == 0 && strcmp(name + len - sum, SUM) == 0 &&
		    files[i].md5 != NULL) {
			reply_sum(rq, &files[i]);
			return ERR_OK;
		}
	return fault_set(&rq->fault, ERR_NOT_FOUND, "", "the module has no such file");
}

const struct ddi_route ddi_file_routes[] = {
	{"GET", "softwaremodules/{}/artifacts", list_files, false},
	{"GET", "softwaremodules/{}/artifacts/{}", get_file, false},
	{NULL, NULL, NULL, false},
};
