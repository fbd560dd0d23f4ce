/* How the files of core/requirement.h and core/compat.h share their work; nobody else includes this. */
#ifndef AVIARY_CORE_REQUIREMENT_INSIDE_H
#define AVIARY_CORE_REQUIREMENT_INSIDE_H

#include "base/jpull.h"
#include "core/requirement.h"

/* An operator as text, "CONV_2D@3" or "CONV_2D": its name, and the version (0 without). Names: 1 to 95 printable ASCII
 * characters but for blank, quote, backslash and @. */
bool requirement_op_parse(struct slice text, struct slice *name, int32_t *version);
bool requirement_op_name_is_valid(struct slice name);
/* Adds, or raises the version of the one that is there. ERR_TOO_LARGE. */
AVIARY_MUST_CHECK enum err requirement_add_op(struct requirement *r, struct slice name, int32_t version, bool is_custom,
                                              struct fault *f);
/* false: full, or no name; adding what is there is fine */
bool requirement_add_word(struct requirement_words *w, struct slice word);
bool requirement_has_word(const struct requirement_words *w, const char *word);
/* Accelerators' keys from their words. */
void requirement_key_words(struct requirement *r);
int requirement_find_op(const struct requirement *r, uint64_t key); /* -1: not there */

/* Reads {"shape":[...],"type":"int8"} behind its brace; false: it is not that. */
bool requirement_read_input(struct jp *p, struct requirement_input *out);

#endif
