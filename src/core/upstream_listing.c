/* ListObjectsV2 answers: a bounded reader of the little XML that they are written in. */
#include <stdio.h>
#include <string.h>

#include "core/semver.h"
#include "core/upstream.h"

enum { DEPTH_MAX = 8, TAG_BYTES = 64 };

static enum err bad_xml(const struct upstream_listing *l, struct fault *f, const char *what)
{
	return fault_set(f, ERR_INVALID, "", "byte %zu of the listing: %s", l->at, what);
}

void upstream_listing_init(struct upstream_listing *l, const char *text, size_t len)
{
	memset(l, 0, sizeof *l);
	l->text = text;
	l->len = len;
}

enum tag_kind { TAG_OPEN, TAG_CLOSE, TAG_EMPTY, TAG_END };
struct tag {
	enum tag_kind kind;
	char name[TAG_BYTES];
};

static bool starts_with(const struct upstream_listing *l, const char *text)
{
	size_t n = strlen(text);
	return l->len - l->at >= n && memcmp(l->text + l->at, text, n) == 0;
}

static bool skip_past(struct upstream_listing *l, const char *text)
{
	const char *at = memmem(l->text + l->at, l->len - l->at, text, strlen(text));
	if (at == NULL)
		return false;
	l->at = (size_t)(at - l->text) + strlen(text);
	return true;
}

/* The next tag, over text, comments and processing instructions. */
static enum err next_tag(struct upstream_listing *l, struct tag *t, struct fault *f)
{
	for (;;) {
		const char *open = memchr(l->text + l->at, '<', l->len - l->at);
		if (open == NULL) {
			t->kind = TAG_END;
			return ERR_OK;
		}
		l->at = (size_t)(open - l->text);
		bool is_passed = starts_with(l, "<?") ? skip_past(l, "?>") : starts_with(l, "<!--") ? skip_past(l, "-->") : false;
		if (is_passed)
			continue;
		if (starts_with(l, "<!") || starts_with(l, "<?"))
			return bad_xml(l, f, "document types and sections are not taken");
		break;
	}
	size_t at = l->at + 1, n = 0;
	t->kind = TAG_OPEN;
	if (at < l->len && l->text[at] == '/') {
		t->kind = TAG_CLOSE;
		at++;
	}
	while (at < l->len && strchr(" \t\r\n/>", l->text[at]) == NULL) {
		if (n == TAG_BYTES - 1 || (unsigned char)l->text[at] <= ' ' || l->text[at] == '<')
			return bad_xml(l, f, "a name of an element is expected");
		t->name[n++] = l->text[at++];
	}
	t->name[n] = '\0';
	const char *end = memchr(l->text + at, '>', l->len - at);
	if (n == 0 || end == NULL)
		return bad_xml(l, f, "an element is expected");
	if (t->kind == TAG_OPEN && end[-1] == '/')
		t->kind = TAG_EMPTY;
	l->at = (size_t)(end - l->text) + 1;
	return ERR_OK;
}

/* Appends a code point as UTF-8. */
static bool put_code(unsigned long c, char *out, size_t size, size_t *n)
{
	unsigned char b[4];
	size_t k = 0;
	if (c < ' ' || c == 0x7f || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return false;
	if (c < 0x80) {
		b[k++] = (unsigned char)c;
	} else if (c < 0x800) {
		b[k++] = (unsigned char)(0xc0 | c >> 6);
		b[k++] = (unsigned char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		b[k++] = (unsigned char)(0xe0 | c >> 12);
		b[k++] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
		b[k++] = (unsigned char)(0x80 | (c & 0x3f));
	} else {
		b[k++] = (unsigned char)(0xf0 | c >> 18);
		b[k++] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
		b[k++] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
		b[k++] = (unsigned char)(0x80 | (c & 0x3f));
	}
	if (*n + k >= size)
		return false;
	memcpy(out + *n, b, k);
	*n += k;
	return true;
}

/* "&...;" at s: its code point, 0 when it is none that is known. */
static unsigned long entity_at(const char *s, size_t len, size_t *used)
{
	static const struct {
		const char *text;
		unsigned char c;
	} known[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
	unsigned long c = 0;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		*used = strlen(known[i].text);
		if (len >= *used && memcmp(s, known[i].text, *used) == 0)
			return known[i].c;
	}
	bool is_hex = len > 2 && s[1] == '#' && s[2] == 'x';
	size_t at = is_hex ? 3 : 2, digits = 0;
	if (len < 3 || s[1] != '#')
		return 0;
	for (; at < len && s[at] != ';' && digits < 7; at++, digits++) {
		int d = s[at] >= '0' && s[at] <= '9' ? s[at] - '0' : is_hex && s[at] >= 'a' && s[at] <= 'f' ? s[at] - 'a' + 10
			: is_hex && s[at] >= 'A' && s[at] <= 'F' ? s[at] - 'A' + 10 : -1;
		if (d < 0)
			return 0;
		c = c * (is_hex ? 16 : 10) + (unsigned)d;
	}
	*used = at + 1;
	return digits > 0 && at < len && s[at] == ';' ? c : 0;
}

/* The text of the element whose opening tag was just read, and its closing tag. */
static enum err read_text(struct upstream_listing *l, const char *name, char *out, size_t size, struct fault *f)
{
	size_t n = 0;
	struct tag close;
	while (l->at < l->len && l->text[l->at] != '<') {
		size_t used = 1;
		unsigned char c = (unsigned char)l->text[l->at];
		if (c == '&') {
			unsigned long code = entity_at(l->text + l->at, l->len - l->at, &used);
			if (code == 0 || !put_code(code, out, size, &n))
				return bad_xml(l, f, "a text is too long, or has what is no character");
		} else if (n + 1 >= size || c < ' ' || c == 0x7f) {
			return bad_xml(l, f, "a text is too long, or has what is no character");
		} else {
			out[n++] = (char)c;
		}
		l->at += used;
	}
	out[n] = '\0';
	for (size_t at = 0; at < n;) {
		size_t step = jp_utf8_len(out + at, n - at);
		if (step == 0)
			return bad_xml(l, f, "a text is no UTF-8");
		at += step;
	}
	enum err e = next_tag(l, &close, f);
	if (e == ERR_OK && (close.kind != TAG_CLOSE || strcmp(close.name, name) != 0))
		e = bad_xml(l, f, "an element does not end where it should");
	return e;
}

static enum err skip_element(struct upstream_listing *l, const char *name, struct fault *f)
{
	char open[DEPTH_MAX][TAG_BYTES];
	int depth = 0;
	snprintf(open[0], TAG_BYTES, "%s", name);
	for (;;) {
		struct tag t;
		enum err e = next_tag(l, &t, f);
		if (e != ERR_OK)
			return e;
		if (t.kind == TAG_END)
			return bad_xml(l, f, "ended too early");
		if (t.kind == TAG_OPEN) {
			if (++depth == DEPTH_MAX)
				return bad_xml(l, f, "nested too deeply");
			snprintf(open[depth], TAG_BYTES, "%s", t.name);
		} else if (t.kind == TAG_CLOSE) {
			if (strcmp(t.name, open[depth]) != 0)
				return bad_xml(l, f, "an element does not end where it should");
			if (depth-- == 0)
				return ERR_OK;
		}
	}
}

static bool parse_size(const char *text, int64_t *out)
{
	*out = 0;
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9' || *out > INT64_MAX / 10 - 1)
			return false;
		*out = *out * 10 + (*text - '0');
	}
	return true;
}

static enum err read_object(struct upstream_listing *l, struct upstream_object *o, struct fault *f)
{
	char size[32] = "";
	memset(o, 0, sizeof *o);
	for (;;) {
		struct tag t;
		enum err e = next_tag(l, &t, f);
		if (e == ERR_OK && t.kind == TAG_CLOSE && strcmp(t.name, "Contents") == 0)
			break;
		if (e == ERR_OK && t.kind == TAG_EMPTY)
			continue;
		if (e == ERR_OK && t.kind != TAG_OPEN)
			e = bad_xml(l, f, "an element does not end where it should");
		if (e != ERR_OK)
			return e;
		if (strcmp(t.name, "Key") == 0)
			e = read_text(l, t.name, o->key, sizeof o->key, f);
		else if (strcmp(t.name, "ETag") == 0)
			e = read_text(l, t.name, o->etag, sizeof o->etag, f);
		else if (strcmp(t.name, "Size") == 0)
			e = read_text(l, t.name, size, sizeof size, f);
		else
			e = skip_element(l, t.name, f);
		if (e != ERR_OK)
			return e;
	}
	if (o->key[0] == '\0' || !parse_size(size, &o->size_bytes))
		return bad_xml(l, f, "an object without key or size");
	return ERR_OK;
}

enum err upstream_listing_next(struct upstream_listing *l, struct upstream_object *o, bool *found, struct fault *f)
{
	*found = false;
	while (!l->is_ended) {
		struct tag t;
		char text[16];
		enum err e = next_tag(l, &t, f);
		if (e != ERR_OK)
			return e;
		if (t.kind == TAG_END)
			return bad_xml(l, f, l->count == 0 ? "it is no ListBucketResult" : "ended too early");
		bool is_root = strcmp(t.name, "ListBucketResult") == 0;
		if (l->count == 0) {
			if (!is_root || t.kind == TAG_CLOSE)
				return bad_xml(l, f, "it is no ListBucketResult");
			l->count = 1;
			l->is_ended = t.kind == TAG_EMPTY;
		} else if (t.kind == TAG_CLOSE) {
			if (!is_root)
				return bad_xml(l, f, "an element does not end where it should");
			l->is_ended = true;
		} else if (t.kind == TAG_OPEN && strcmp(t.name, "Contents") == 0) {
			*found = true;
			l->count++;
			return read_object(l, o, f);
		} else if (t.kind == TAG_OPEN && strcmp(t.name, "IsTruncated") == 0) {
			e = read_text(l, t.name, text, sizeof text, f);
			l->is_truncated = strcmp(text, "true") == 0;
		} else if (t.kind == TAG_OPEN && strcmp(t.name, "NextContinuationToken") == 0) {
			e = read_text(l, t.name, l->token, sizeof l->token, f);
		} else if (t.kind == TAG_OPEN) {
			e = skip_element(l, t.name, f);
		}
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

bool upstream_split_key(const char *prefix, const char *key, char version[NAME_BYTES], char file[UPSTREAM_FILE_BYTES])
{
	struct semver v;
	size_t skip = strlen(prefix);
	if (strncmp(key, prefix, skip) != 0)
		return false;
	key += skip;
	const char *slash = strchr(key, '/');
	if (slash == NULL || (size_t)(slash - key) >= NAME_BYTES || strchr(slash + 1, '/') != NULL)
		return false;
	size_t len = strlen(slash + 1);
	if (len == 0 || len >= UPSTREAM_FILE_BYTES)
		return false;
	memcpy(version, key, (size_t)(slash - key));
	version[slash - key] = '\0';
	memcpy(file, slash + 1, len + 1);
	return semver_parse(version, strlen(version), &v);
}
