/* A mail's text: headers stay what they are, whatever they are made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "net/mail.h"

static const char *const to[] = {"a@example.org", "b@example.org", NULL};

static void write_mail(const char *subject, const char *text, struct buf *out)
{
	struct mail m = {"aviary@example.org", to, subject, "key-1.aviary", text, INT64_C(1763850000000)};
	mail_write(&m, out);
	const char *line = out->data;
	for (const char *end; (end = strstr(line, "\r\n")) != NULL; line = end + 2) {
		assert_true(end - line <= 78);
		assert_null(memchr(line, '\n', (size_t)(end - line)));
	}
	assert_string_equal(line, "");
}

/* The decoded subject: of encoded words, one behind the other. */
static void subject_of(const struct buf *mail, char *out)
{
	const char *p = strstr(mail->data, "\r\nSubject:") + 10, *end = strstr(p, "\r\nDate:");
	size_t len = 0, got;
	while ((p = strstr(p, "=?UTF-8?B?")) != NULL && p < end) {
		p += 10;
		assert_true(base64_decode(p, strcspn(p, "?"), (uint8_t *)out + len, 400 - len, &got));
		len += got;
	}
	out[len] = '\0';
}

static void headers_are_plain(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	write_mail("[firing] critical", "one\ntwo\r\n.\n", &b);
	assert_non_null(strstr(b.data, "From: Aviary <aviary@example.org>\r\nTo: <a@example.org>,\r\n <b@example.org>\r\nSubject: [firing] critical\r\n"
		"Date: Sat, 22 Nov 2025 22:20:00 +0000\r\nMessage-ID: <key-1.aviary@example.org>\r\n"));
	assert_non_null(strstr(b.data, "\r\n\r\nb25lDQp0d28NCi4NCg==\r\n"));
	buf_done(&b);
}

static void subjects_cannot_become_headers(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	char subject[400];
	write_mail("a\r\nBcc: evil@example.org\r\n\r\nbody", "", &b);
	subject_of(&b, subject);
	assert_string_equal(subject, "a  Bcc: evil@example.org    body");
	assert_null(strstr(b.data, "Bcc"));
	buf_clear(&b);
	write_mail("=?UTF-8?B?Zm9yZ2Vk?=", "", &b); /* not taken for an encoded word of ours */
	subject_of(&b, subject);
	assert_string_equal(subject, "=?UTF-8?B?Zm9yZ2Vk?=");
	buf_clear(&b);
	const char *longer = "Größe und Überschuß und noch viele andere Wörter, die länger sind als eine Zeile: äöüäöüäöüäöüäöüäöüäöüäöü";
	write_mail(longer, "", &b);
	subject_of(&b, subject);
	assert_string_equal(subject, longer);
	buf_done(&b);
}

static void addresses_are_checked(void **state)
{
	(void)state;
	static const char *const good[] = {"a@b.c", "first.last+tag@example.org", "a@localhost"};
	static const char *const bad[] = {"", "a", "@b", "a@", "a@.b", "a@b@c", "a b@c", "a@b\r\nBcc: x@y", "<a@b>", "a@b,c@d", "\"a\"@b", "ä@b", "a@b;"};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(mail_is_address(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(mail_is_address(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_plain),
		cmocka_unit_test(subjects_cannot_become_headers),
		cmocka_unit_test(addresses_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
