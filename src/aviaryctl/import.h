/* What import.c (the course of an import) and import_items.c (how one thing of each kind is moved) share. */
#ifndef AVIARYCTL_IMPORT_H
#define AVIARYCTL_IMPORT_H

#include <stdio.h>

#include "client.h"
#include "command.h"

#define IMPORT_KEY_MAX 160

struct import_done {
	char kind[12];
	char from[IMPORT_KEY_MAX], to[24]; /* the source's key, and our number */
};

struct import_count {
	int64_t moved, there, before, refused, odd; /* odd: items without a key */
};

struct fetch_pool;
struct loop;

struct import {
	struct ctl *c;
	const char *source, *user, *password, *hardware; /* hardware NULL: by attribute */
	const char *state_path;
	int64_t page, attempts;
	bool is_dry;
	FILE *state; /* NULL: nothing is noted */
	struct import_done *done;
	size_t done_count, done_room;
	struct import_count *count; /* of the kind that is moved */
	int64_t artifacts;
	struct loop *loop;       /* of the source */
	struct fetch_pool *pool;
	struct buf lines;        /* devices that wait for their bulk request */
	struct import_done *waiting; /* and what is noted once they are registered */
	size_t waiting_count, waiting_room;
};

struct import_kind {
	const char *name, *path, *key;
	/* *is_new: it was made; else it was there. RESULT_REFUSED: it cannot be moved, and it was said why. */
	enum result (*take)(struct import *m, const char *key, const struct json *item, bool *is_new);
	enum result (*end)(struct import *m);
};

enum result import_tag(struct import *m, const char *key, const struct json *item, bool *is_new);
enum result import_module(struct import *m, const char *key, const struct json *item, bool *is_new);
enum result import_set(struct import *m, const char *key, const struct json *item, bool *is_new);
enum result import_filter(struct import *m, const char *key, const struct json *item, bool *is_new);
enum result import_target(struct import *m, const char *key, const struct json *item, bool *is_new);
enum result import_targets_end(struct import *m); /* those that wait */

/* Our number of a thing that was moved, as text; NULL: it was not. */
const char *import_find_done(const struct import *m, const char *kind, const char *from);
enum result import_note(struct import *m, const char *kind, const char *from, const char *to);

/* GET below /rest/v1 of the source, several times where it fails; *out is the caller's. */
enum result import_get(struct import *m, const char *path, struct json **out);
/* The same into a file, from where it ends already, until it has `size` bytes. */
enum result import_download(struct import *m, const char *path, int fd, uint64_t offset, uint64_t size);
void import_done(struct import *m);

#endif
