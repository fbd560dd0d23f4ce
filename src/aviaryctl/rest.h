/* What most commands do: one request built from their row, and its answer shown. */
#ifndef AVIARYCTL_REST_H
#define AVIARYCTL_REST_H

#include "client.h"
#include "command.h"
#include "output.h"

/* Rows of a list; with --all every page. */
#define LIST_OPTIONS                                                                                                   \
	{.name = "limit", .kind = OPTION_INT, .value = "N", .use = USE_QUERY, .help = "items on a page, 1 to 1000 (100)"}, \
	{.name = "all", .kind = OPTION_FLAG, .help = "every page; with --json as one array"}

enum result rest_list(struct ctl *c); /* GET of a list */
enum result rest_show(struct ctl *c); /* GET of one object */
enum result rest_send(struct ctl *c); /* method, query and body by the row */
/* PATCH, PUT or DELETE with the ETag that a GET before it gives. */
enum result rest_edit(struct ctl *c);

/* The same with a path, a body and an ETag of one's own (NULL: none). */
enum result rest_request(struct ctl *c, const char *method, const char *path, const char *body, const char *if_match);
/* Shows an answer as the settings say: raw, as lines, or the row's sentence. */
void rest_answer(struct ctl *c, const struct reply *r);
/* The row's path with its words and query; free() it. */
char *rest_path(const struct ctl *c);
/* Flushes standard output; RESULT_LOCAL when it could not be written. */
enum result output_flush(enum result so_far);

#endif
