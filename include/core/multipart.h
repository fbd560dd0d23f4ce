/* multipart/form-data (RFC 7578, RFC 2046) as it comes, in constant memory: parts are told by callbacks, their bytes in slices of what was
 * fed. No allocation; a file of any size passes through. */
#ifndef AVIARY_CORE_MULTIPART_H
#define AVIARY_CORE_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MULTIPART_DELIMITER_MAX 76 /* CRLF, two dashes, a boundary of at most 70 characters */
#define MULTIPART_HEADERS_MAX 2048 /* bytes of one part's header fields */
#define MULTIPART_NAME_MAX 256
#define MULTIPART_PARTS_MAX 32

struct multipart_part {
	char name[MULTIPART_NAME_MAX];      /* of the form's field; UTF-8 is not checked */
	char file_name[MULTIPART_NAME_MAX]; /* "" where none is given */
};

/* Each returns false to stop: multipart_feed returns false then, too. */
struct multipart_handler {
	bool (*begin)(void *ctx, const struct multipart_part *part);
	bool (*data)(void *ctx, const void *data, size_t len);
	bool (*end)(void *ctx);
	void *ctx;
};

struct multipart {
	char delimiter[MULTIPART_DELIMITER_MAX + 1];
	uint8_t fallback[MULTIPART_DELIMITER_MAX + 1]; /* of Knuth, Morris and Pratt: how much of the delimiter is matched still */
	size_t delimiter_len, matched;
	enum { MULTIPART_PREAMBLE, MULTIPART_AFTER, MULTIPART_HEADERS, MULTIPART_DATA, MULTIPART_EPILOGUE, MULTIPART_BROKEN } state;
	char headers[MULTIPART_HEADERS_MAX];
	size_t headers_len, parts;
	const char *error; /* a sentence, where the text is no multipart; NULL: a callback stopped it, or nothing is wrong */
};

/* From the Content-Type of the request; false where that has no usable boundary. */
bool multipart_init(struct multipart *m, const char *content_type);
bool multipart_feed(struct multipart *m, const void *data, size_t len, const struct multipart_handler *h);
/* Whether the closing delimiter has come. */
bool multipart_is_complete(const struct multipart *m);

#endif
