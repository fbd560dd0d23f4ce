#include "core/multipart.h"

#include <string.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool starts(const char *text, const char *prefix)
{
	while (*prefix != '\0' && lower(*text) == *prefix) {
		text++;
		prefix++;
	}
	return *prefix == '\0';
}

/* The value of a parameter (`; name=value`, `; name="value"`) of a header field into out; false where it is absent or does not fit. */
static bool parameter(const char *text, const char *name, char *out, size_t out_size)
{
	bool is_quoted = false;
	for (; *text != '\0'; text++) {
		if (*text == '"')
			is_quoted = !is_quoted;
		if (is_quoted && *text == '\\' && text[1] != '\0')
			text++;
		if (is_quoted || *text != ';')
			continue;
		const char *at = text + 1 + strspn(text + 1, " \t");
		size_t len = strlen(name), n = 0;
		if (!starts(at, name) || at[len] != '=')
			continue;
		at += len + 1;
		char quote = *at == '"' ? *at++ : '\0';
		for (; *at != '\0' && (quote ? *at != quote : strchr("; \t", *at) == NULL); at++) {
			if (quote && *at == '\\' && (at[1] == '"' || at[1] == '\\'))
				at++;
			if (n + 1 >= out_size)
				return false;
			out[n++] = *at;
		}
		out[n] = '\0';
		return true;
	}
	return false;
}

bool multipart_init(struct multipart *m, const char *content_type)
{
	char boundary[MULTIPART_DELIMITER_MAX - 4 + 1];
	memset(m, 0, sizeof *m);
	if (content_type == NULL || !starts(content_type, "multipart/form-data") || !parameter(content_type, "boundary", boundary, sizeof boundary) ||
		boundary[0] == '\0')
		return false;
	strcpy(m->delimiter, "\r\n--");
	strcat(m->delimiter, boundary);
	m->delimiter_len = strlen(m->delimiter);
	for (size_t i = 1, k = 0; i < m->delimiter_len; i++) {
		while (k > 0 && m->delimiter[i] != m->delimiter[k])
			k = m->fallback[k];
		k += m->delimiter[i] == m->delimiter[k];
		m->fallback[i + 1] = (uint8_t)k;
	}
	m->matched = 2; /* the text begins as if a line had ended before it */
	return true;
}

bool multipart_is_complete(const struct multipart *m)
{
	return m->state == MULTIPART_EPILOGUE;
}

static bool broken(struct multipart *m, const char *why)
{
	m->state = MULTIPART_BROKEN;
	m->error = why;
	return false;
}

/* RFC 8187: UTF-8''percent-encoded; what some clients send for names beyond ASCII. */
static bool decode_extended(const char *text, char *out, size_t out_size)
{
	size_t n = 0;
	if (!starts(text, "utf-8'"))
		return false;
	text = strchr(text + 6, '\'');
	if (text == NULL)
		return false;
	for (text++; *text != '\0'; text++) {
		static const char digits[] = "0123456789abcdef";
		const char *high = *text == '%' && text[1] != '\0' ? strchr(digits, lower(text[1])) : NULL;
		const char *low = high != NULL && text[2] != '\0' ? strchr(digits, lower(text[2])) : NULL;
		if (n + 1 >= out_size || (*text == '%' && low == NULL))
			return false;
		out[n++] = low != NULL ? (char)((high - digits) * 16 + (low - digits)) : *text;
		text += low != NULL ? 2 : 0;
	}
	out[n] = '\0';
	return true;
}

static bool read_part(struct multipart *m, struct multipart_part *part)
{
	char extended[3 * MULTIPART_NAME_MAX];
	memset(part, 0, sizeof *part);
	for (char *line = m->headers; *line != '\0';) {
		char *end = strstr(line, "\r\n");
		if (end == NULL)
			return false;
		*end = '\0';
		if (starts(line, "content-disposition:")) {
			if (!parameter(line, "name", part->name, sizeof part->name))
				return false;
			if (strstr(line, "filename=") != NULL && !parameter(line, "filename", part->file_name, sizeof part->file_name))
				return false;
			if (parameter(line, "filename*", extended, sizeof extended) &&
				!decode_extended(extended, part->file_name, sizeof part->file_name))
				return false;
		}
		line = end + 2;
	}
	return part->name[0] != '\0';
}

/* One byte of a part's header fields; the empty line ends them. */
static bool take_header(struct multipart *m, char c, const struct multipart_handler *h)
{
	if (c == '\0' || m->headers_len + 1 >= sizeof m->headers)
		return broken(m, "the header fields of a part are too long, or no text");
	m->headers[m->headers_len++] = c;
	m->headers[m->headers_len] = '\0';
	bool is_end = m->headers_len >= 2 && memcmp(m->headers + m->headers_len - 2, "\r\n", 2) == 0 &&
		(m->headers_len == 2 || (m->headers_len >= 4 && memcmp(m->headers + m->headers_len - 4, "\r\n", 2) == 0));
	if (!is_end)
		return true;
	struct multipart_part part;
	m->headers[m->headers_len - 2] = '\0';
	if (!read_part(m, &part))
		return broken(m, "a part has no Content-Disposition with a name");
	if (++m->parts > MULTIPART_PARTS_MAX)
		return broken(m, "there are too many parts");
	m->state = MULTIPART_DATA;
	m->matched = 0;
	return h->begin(h->ctx, &part);
}

/* Behind a delimiter: two dashes end it all, a line's end begins a part; blanks between are allowed. */
static bool take_after(struct multipart *m, char c)
{
	char before = m->headers_len > 0 ? m->headers[m->headers_len - 1] : '\0';
	if (c == '-' && (before == '\0' || before == '-')) {
		m->headers[m->headers_len++] = c;
		if (m->headers_len == 2)
			m->state = MULTIPART_EPILOGUE;
		return true;
	}
	if (before != '-' && (c == ' ' || c == '\t') && before != '\r')
		return true;
	if (before == '\0' && c == '\r') {
		m->headers[m->headers_len++] = c;
		return true;
	}
	if (before != '\r' || c != '\n')
		return broken(m, "a boundary is not at the end of its line");
	m->headers_len = 0;
	m->headers[0] = '\0';
	m->state = MULTIPART_HEADERS;
	return true;
}

/* Bytes up to the next delimiter. What looked like one and is none is the delimiter's own beginning, and is given out from there. */
static bool take_data(struct multipart *m, const char *data, size_t len, size_t *used, const struct multipart_handler *h)
{
	bool is_part = m->state == MULTIPART_DATA;
	size_t plain = 0; /* bytes of `data` that are known to be content: from here to i - what is matched of them */
	size_t held = m->matched; /* matched before `data` began */
	for (size_t i = 0; i < len; i++) {
		size_t before = m->matched;
		while (m->matched > 0 && data[i] != m->delimiter[m->matched])
			m->matched = m->fallback[m->matched];
		m->matched += data[i] == m->delimiter[m->matched];
		size_t freed = before + 1 - m->matched; /* bytes that are no part of a match any more */
		size_t from_held = freed < held ? freed : held;
		if (is_part && from_held > 0 && !h->data(h->ctx, m->delimiter, from_held))
			return false;
		held -= from_held;
		plain += freed - from_held;
		if (m->matched < m->delimiter_len)
			continue;
		*used = i + 1;
		if (is_part && plain > 0 && !h->data(h->ctx, data, plain))
			return false;
		m->state = MULTIPART_AFTER;
		m->headers_len = m->matched = 0;
		return !is_part || h->end(h->ctx);
	}
	*used = len;
	return !is_part || plain == 0 || h->data(h->ctx, data, plain);
}

bool multipart_feed(struct multipart *m, const void *data, size_t len, const struct multipart_handler *h)
{
	const char *at = data;
	for (size_t used = 1; len > 0; at += used, len -= used) {
		bool ok = true;
		used = 1;
		switch (m->state) {
		case MULTIPART_PREAMBLE:
		case MULTIPART_DATA:
			ok = take_data(m, at, len, &used, h);
			break;
		case MULTIPART_AFTER:
			ok = take_after(m, *at);
			break;
		case MULTIPART_HEADERS:
			ok = take_header(m, *at, h);
			break;
		case MULTIPART_EPILOGUE:
			return true;
		case MULTIPART_BROKEN:
			return false;
		}
		if (!ok)
			return false;
	}
	return true;
}
