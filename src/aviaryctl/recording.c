#include "recording.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

#define FILE_MAX (64u << 20)
#define FIELDS_MAX 16
#define ROWS_MAX 400000

/* One row a column. */
enum column_type { COLUMN_TEXT, COLUMN_BOOL, COLUMN_NUMBER, COLUMN_COUNT };
static const struct column_row {
	const char *name;
	enum column_type type;
	size_t offset;
	bool required[3], known[3]; /* by form */
} columns[] = {
	{"block", COLUMN_TEXT, offsetof(struct recorded, block), {true, true, true}, {true, true, true}},
	{"device", COLUMN_TEXT, offsetof(struct recorded, device), {true, true, true}, {true, true, true}},
	{"canary", COLUMN_BOOL, offsetof(struct recorded, is_canary), {true, true, true}, {true, true, true}},
	{"metric", COLUMN_TEXT, offsetof(struct recorded, metric), {true, false, false}, {true, true, true}},
	{"baseline_n", COLUMN_COUNT, offsetof(struct recorded, baseline_n), {true, false, false}, {true, false, false}},
	{"baseline_sum", COLUMN_NUMBER, offsetof(struct recorded, baseline_sum), {true, false, false},
	 {true, false, false}},
	{"n", COLUMN_COUNT, offsetof(struct recorded, n), {true, false, false}, {true, false, false}},
	{"sum", COLUMN_NUMBER, offsetof(struct recorded, sum), {true, false, false}, {true, false, false}},
	{"score", COLUMN_NUMBER, offsetof(struct recorded, score), {false, true, true}, {false, true, true}},
	{"reports", COLUMN_COUNT, offsetof(struct recorded, reports), {false, false, false}, {true, true, true}},
};
#define COLUMN_COUNT_ALL (sizeof columns / sizeof columns[0])

static enum result refuse(const char *path, int line, const char *what, const char *text)
{
	return complain(RESULT_LOCAL, "%s:%d: %s%s%s", path, line, what, text ? " " : "", text ? text : "");
}

/* Cuts a line at its commas in place; blanks around fields go. Returns how many. */
static size_t split(char *line, char **fields)
{
	size_t count = 0;
	for (char *at = line; count < FIELDS_MAX; at++) {
		at += strspn(at, " \t");
		fields[count++] = at;
		char *end = at + strcspn(at, ",");
		bool is_last = *end == '\0';
		at = end;
		for (*end = '\0'; end > fields[count - 1] && strchr(" \t\r", end[-1]) != NULL; end--)
			end[-1] = '\0';
		if (is_last)
			break;
	}
	return count;
}

static enum result read_header(const char *path, enum recording_form form, char *line, const struct column_row **map,
	size_t *count)
{
	char *fields[FIELDS_MAX];
	bool seen[COLUMN_COUNT_ALL] = {false};
	*count = split(line, fields);
	for (size_t i = 0; i < *count; i++) {
		size_t k = 0;
		while (k < COLUMN_COUNT_ALL && (strcmp(columns[k].name, fields[i]) != 0 || !columns[k].known[form]))
			k++;
		if (k == COLUMN_COUNT_ALL || seen[k])
			return refuse(path, 1, k == COLUMN_COUNT_ALL ? "no such column:" : "column given twice:", fields[i]);
		seen[k] = true;
		map[i] = &columns[k];
	}
	for (size_t k = 0; k < COLUMN_COUNT_ALL; k++)
		if (columns[k].required[form] && !seen[k])
			return refuse(path, 1, "the first line names the columns; missing:", columns[k].name);
	return RESULT_OK;
}

static bool parse_bool(const char *text, bool *out)
{
	*out = strcmp(text, "1") == 0 || strcmp(text, "true") == 0 || strcmp(text, "yes") == 0;
	return *out || strcmp(text, "0") == 0 || strcmp(text, "false") == 0 || strcmp(text, "no") == 0;
}

static bool set_field(const struct column_row *column, struct recorded *row, const char *text)
{
	void *at = (char *)row + column->offset;
	char *end;
	if (column->type == COLUMN_TEXT) {
		*(const char **)at = text;
		return text[0] != '\0';
	}
	if (column->type == COLUMN_BOOL)
		return parse_bool(text, at);
	double v = strtod(text, &end);
	*(double *)at = v;
	return end != text && *end == '\0' && isfinite(v)
		&& (column->type != COLUMN_COUNT || (v >= 0 && v == floor(v) && v < 1e15));
}

static enum result read_row(const char *path, const struct column_row *const *map, size_t count, char *line,
	struct recorded *row)
{
	char *fields[FIELDS_MAX];
	if (split(line, fields) != count)
		return refuse(path, row->line, "another number of fields than the first line has", NULL);
	for (size_t i = 0; i < count; i++)
		if (!set_field(map[i], row, fields[i]))
			return refuse(path, row->line, map[i]->name, fields[i][0] ? fields[i] : "is empty");
	return RESULT_OK;
}

/* Numbers by size, other texts by bytes. */
static int compare_natural(const char *a, const char *b)
{
	char *end_a, *end_b;
	double x = strtod(a, &end_a), y = strtod(b, &end_b);
	if (*end_a == '\0' && *end_b == '\0' && x != y)
		return x < y ? -1 : 1;
	return strcmp(a, b);
}

static int compare_rows(const void *a, const void *b)
{
	const struct recorded *x = a, *y = b;
	int c = strcmp(x->metric, y->metric);
	if (c == 0)
		c = compare_natural(x->block, y->block);
	if (c == 0)
		c = (int)y->is_canary - (int)x->is_canary;
	return c != 0 ? c : compare_natural(x->device, y->device);
}

static bool same_block(const struct recorded *a, const struct recorded *b)
{
	return strcmp(a->metric, b->metric) == 0 && strcmp(a->block, b->block) == 0;
}

static enum result check_blocks(const char *path, const struct recording *r, bool paired)
{
	for (size_t i = 0, n; i < r->count; i += n) {
		size_t canaries = 0;
		for (n = 0; i + n < r->count && same_block(&r->rows[i], &r->rows[i + n]); n++) {
			const struct recorded *row = &r->rows[i + n];
			canaries += row->is_canary;
			if (n > 0 && row->is_canary == row[-1].is_canary && strcmp(row->device, row[-1].device) == 0)
				return refuse(path, row->line, "twice in its block: device", row->device);
		}
		if (paired && n != 1)
			return refuse(path, r->rows[i].line, "with --paired a block has one row: block", r->rows[i].block);
		if (!paired && canaries != 1)
			return refuse(path, r->rows[i].line, "exactly one canary is wanted in block", r->rows[i].block);
	}
	return RESULT_OK;
}

static char *next_line(char **rest)
{
	char *line = *rest;
	size_t n = strcspn(line, "\n");
	*rest = line + n + (line[n] == '\n');
	line[n] = '\0';
	return line;
}

static struct recorded *add_row(struct recording *r, size_t *room)
{
	if (r->count == *room) {
		*room = *room ? *room * 2 : 256;
		r->rows = realloc(r->rows, *room * sizeof *r->rows);
		if (r->rows == NULL)
			abort();
	}
	r->rows[r->count] = (struct recorded){.metric = "score", .reports = 1};
	return &r->rows[r->count++];
}

enum result recording_read(const char *path, enum recording_form form, bool paired, struct recording *out)
{
	const struct column_row *map[FIELDS_MAX];
	size_t fields = 0, room = 0;
	*out = (struct recording){BUF_INIT, NULL, 0};
	enum result result = file_read(path, FILE_MAX, &out->text);
	if (result != RESULT_OK)
		return result;
	buf_str(&out->text, "");
	if (out->text.len == 0)
		return refuse(path, 1, "the file is empty", NULL);
	char *rest = out->text.data;
	result = read_header(path, form, next_line(&rest), map, &fields);
	for (int line = 2; result == RESULT_OK && *rest != '\0'; line++) {
		char *text = next_line(&rest);
		if (text[strspn(text, " \t\r")] == '\0')
			continue;
		if (out->count == ROWS_MAX)
			return refuse(path, line, "too many rows", NULL);
		struct recorded *row = add_row(out, &room);
		row->line = line;
		result = read_row(path, map, fields, text, row);
	}
	if (result == RESULT_OK && out->count == 0)
		result = refuse(path, 1, "no rows follow", NULL);
	if (result != RESULT_OK)
		return result;
	qsort(out->rows, out->count, sizeof *out->rows, compare_rows);
	return check_blocks(path, out, paired);
}

void recording_done(struct recording *r)
{
	free(r->rows);
	buf_done(&r->text);
}
