/* Local files: whole small ones, and SHA-256 of large ones in constant memory. Each says on standard error what went
 * wrong. */
#ifndef AVIARYCTL_FILE_H
#define AVIARYCTL_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "command.h"

enum result file_read(const char *path, size_t max_bytes, struct buf *out); /* "-": standard input. Must be UTF-8 */
enum result file_write(const char *path, const void *data, size_t len);     /* a new file, or replaced */
enum result file_open(const char *path, int *fd, uint64_t *size_bytes);     /* a regular file */
enum result file_hash(int fd, const char *path, char hex[SHA256_HEX]);      /* from its beginning; the offset moves */
enum result file_spool_stdin(int *fd, uint64_t *size_bytes);                /* into an unnamed temporary file */

#endif
