#include "net/mail.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"

#define WORD_BYTES 39 /* of an encoded word: 52 of base64, and 12 around it */
#define LINE_BYTES 57 /* 76 of base64 */

bool mail_is_address(const char *text)
{
	size_t len = strlen(text);
	const char *at = strrchr(text, '@');
	if (len > 254 || at == NULL || at == text || at[1] == '\0' || at[1] == '.' || strchr(text, '@') != at)
		return false;
	for (const char *p = text; *p; p++) {
		if (*p <= ' ' || *p >= 127 || strchr("<>()[]\\,;:\"", *p) != NULL)
			return false;
	}
	return true;
}

static void put_base64(struct buf *out, const char *data, size_t len)
{
	char text[4 * ((LINE_BYTES + 2) / 3) + 1];
	base64_encode(data, len, text);
	buf_str(out, text);
}

static bool is_plain(const char *s)
{
	for (; *s; s++) {
		if (*s < ' ' || *s >= 127)
			return false;
	}
	return true;
}

/* Short ASCII as it is; all else as encoded words, cut between characters, in which control characters became blanks. */
static void put_subject(struct buf *out, const char *s)
{
	size_t len = strlen(s);
	if (len <= 60 && is_plain(s) && strstr(s, "=?") == NULL) {
		buf_printf(out, "Subject: %s\r\n", s);
		return;
	}
	buf_str(out, "Subject:");
	while (len > 0) {
		char word[WORD_BYTES];
		size_t n = len < WORD_BYTES ? len : WORD_BYTES;
		while (n < len && n > 1 && ((unsigned char)s[n] & 0xc0) == 0x80)
			n--;
		for (size_t i = 0; i < n; i++)
			word[i] = (unsigned char)s[i] < ' ' || s[i] == 127 ? ' ' : s[i];
		buf_str(out, " =?UTF-8?B?");
		put_base64(out, word, n);
		buf_str(out, "?=\r\n");
		s += n;
		len -= n;
	}
}

static void put_date(struct buf *out, int64_t at_ms)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t at = (time_t)(at_ms / 1000);
	struct tm t;
	gmtime_r(&at, &t);
	buf_printf(out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", days[t.tm_wday], t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour,
		t.tm_min, t.tm_sec);
}

static void put_text(struct buf *out, const char *text)
{
	struct buf lines = BUF_INIT;
	for (const char *p = text; *p; p++) {
		if (*p == '\r' && p[1] == '\n')
			continue;
		if (*p == '\n' || *p == '\r')
			buf_str(&lines, "\r\n");
		else
			buf_char(&lines, *p);
	}
	for (size_t at = 0; at < lines.len; at += LINE_BYTES) {
		put_base64(out, lines.data + at, lines.len - at < LINE_BYTES ? lines.len - at : LINE_BYTES);
		buf_str(out, "\r\n");
	}
	buf_done(&lines);
}

void mail_write(const struct mail *m, struct buf *out)
{
	buf_printf(out, "From: Aviary <%s>\r\nTo:", m->from);
	for (size_t i = 0; m->to[i] != NULL; i++)
		buf_printf(out, "%s <%s>", i > 0 ? ",\r\n" : "", m->to[i]);
	buf_str(out, "\r\n");
	put_subject(out, m->subject);
	put_date(out, m->at_ms);
	buf_printf(out, "Message-ID: <%s@%s>\r\n", m->message_id, strrchr(m->from, '@') + 1);
	buf_str(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n");
	put_text(out, m->text);
}
