#include "rest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum result output_flush(enum result so_far)
{
	if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EPIPE) /* whoever reads has seen enough */
		return so_far;
	return so_far != RESULT_OK ? so_far : complain(RESULT_LOCAL, "standard output: %s", strerror(errno));
}

char *rest_path(const struct ctl *c)
{
	struct buf b = BUF_INIT;
	char *path = path_format(c->command->path, c->words, c->word_count);
	buf_str(&b, path);
	option_query(c, &b);
	free(path);
	return buf_take(&b);
}

/* "device {} is deleted" */
static void say_done(const struct ctl *c)
{
	size_t at = 0;
	for (const char *p = c->command->done; *p != '\0'; p++) {
		if (p[0] == '{' && p[1] == '}') {
			print_clean(command_word(c, at) ? command_word(c, at) : "", 0);
			at++;
			p++;
		} else {
			putchar(*p);
		}
	}
	putchar('\n');
}

void rest_answer(struct ctl *c, const struct reply *r)
{
	if (c->settings.json) {
		if (r->text.len > 0) {
			fwrite(r->text.data, 1, r->text.len, stdout);
			if (r->text.data[r->text.len - 1] != '\n')
				putchar('\n');
		}
	} else if (c->settings.quiet) {
		return;
	} else if (c->command->done != NULL) {
		say_done(c);
	} else if (r->json != NULL && json_type(r->json) == JSON_OBJECT) {
		print_object(c, r->json);
	} else if (r->text.len > 0) {
		print_clean(r->text.data, 0);
		putchar('\n');
	}
}

enum result rest_request(struct ctl *c, const char *method, const char *path, const char *body, const char *if_match)
{
	struct reply r = REPLY_INIT;
	struct request q = {.method = method, .path = path, .body = body, .if_match = if_match};
	enum result result = client_call(c, &q, &r);
	if (result == RESULT_OK)
		rest_answer(c, &r);
	reply_done(&r);
	return output_flush(result);
}

enum result rest_show(struct ctl *c)
{
	char *path = rest_path(c);
	enum result result = rest_request(c, "GET", path, NULL, NULL);
	free(path);
	return result;
}

static bool has_body(const struct command *m)
{
	for (const struct command_option *o = m->options; o != NULL && o->name != NULL; o++)
		if (o->use == USE_BODY)
			return true;
	return m->word_member != NULL;
}

enum result rest_send(struct ctl *c)
{
	struct buf body = BUF_INIT;
	char *path = rest_path(c);
	enum result result = has_body(c->command) ? option_body(c, NULL, &body) : RESULT_OK;
	if (result == RESULT_OK)
		result = rest_request(c, c->command->method, path, body.data, NULL);
	buf_done(&body);
	free(path);
	return result;
}

enum result rest_edit(struct ctl *c)
{
	struct buf body = BUF_INIT;
	struct reply r = REPLY_INIT;
	char *path = rest_path(c), *bare = path_format(c->command->path, c->words, c->word_count);
	enum result result = has_body(c->command) ? option_body(c, NULL, &body) : RESULT_OK;
	if (result == RESULT_OK)
		result = client_get(c, bare, &r);
	if (result == RESULT_OK)
		result = rest_request(c, c->command->method, path, body.data, r.etag[0] ? r.etag : NULL);
	reply_done(&r);
	buf_done(&body);
	free(path);
	free(bare);
	return result;
}

/* ---- lists ---- */

struct listing {
	struct ctl *c;
	struct table *table; /* NULL: JSON */
	size_t count;
};

static bool on_item(void *ctx, const struct json *item)
{
	struct listing *l = ctx;
	if (l->c->settings.quiet && !l->c->settings.json) {
		struct buf b = BUF_INIT;
		cell_text(json_at(item, l->c->command->columns[0].path), CELL_TEXT, &b);
		puts(buf_cstr(&b));
		buf_done(&b);
	} else if (l->table != NULL) {
		table_add(l->table, item);
	} else {
		struct buf b = BUF_INIT;
		buf_str(&b, l->count > 0 ? ",\n" : "[");
		json_print(item, &b);
		fwrite(b.data, 1, b.len, stdout);
		buf_done(&b);
	}
	l->count++;
	return true;
}

static enum result list_items(struct ctl *c, const char *path)
{
	bool all = option_given(c, "all"), more = false;
	struct listing l = {.c = c, .table = c->settings.json ? NULL : table_new(c->command->columns)};
	enum result result = client_each(c, path, all, 0, on_item, &l, &more);
	if (result == RESULT_OK && l.table != NULL)
		table_print(l.table, c);
	else if (result == RESULT_OK)
		puts(l.count > 0 ? "]" : "[]");
	if (result == RESULT_OK && !c->settings.quiet && !c->settings.json && l.count == 0)
		fputs("nothing\n", stderr);
	fflush(stdout);
	if (result == RESULT_OK && more && !c->settings.quiet && l.table != NULL)
		fprintf(stderr, "there is more: --all shows everything, --limit N more of it\n");
	if (l.table != NULL)
		table_free(l.table);
	return output_flush(result);
}

enum result rest_list(struct ctl *c)
{
	struct buf path = BUF_INIT;
	char *query = rest_path(c);
	buf_str(&path, query);
	if (option_given(c, "all") && !option_given(c, "limit"))
		buf_str(&path, strchr(query, '?') != NULL ? "&limit=1000" : "?limit=1000");
	enum result result = c->settings.json && !option_given(c, "all") ? rest_request(c, "GET", path.data, NULL, NULL)
		: list_items(c, path.data);
	buf_done(&path);
	free(query);
	return result;
}
