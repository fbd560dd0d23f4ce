#include "output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "base/clock.h"
#include "base/jpull.h"

#define COLUMNS_MAX 24
#define GAP 2
#define CELL_MIN 8 /* a column is never cut below this */

/* ---- text on a terminal ---- */

/* The character at s: its length in bytes and its columns; what would move the cursor or colour the terminal has code
 * 0xFFFD. */
static size_t next_char(const char *s, size_t len, wchar_t *code, int *width)
{
	size_t n = jp_utf8_len(s, len);
	const unsigned char *p = (const unsigned char *)s;
	static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
	if (n == 0) {
		*code = 0xFFFD;
		*width = 1;
		return 1;
	}
	*code = (wchar_t)(p[0] & masks[n]);
	for (size_t i = 1; i < n; i++)
		*code = *code << 6 | (p[i] & 0x3F);
	bool is_bidi = (*code >= 0x202A && *code <= 0x202E) || (*code >= 0x2066 && *code <= 0x2069);
	if (*code < 0x20 || (*code >= 0x7F && *code < 0xA0) || is_bidi)
		*code = 0xFFFD;
	*width = *code == 0xFFFD ? 1 : wcwidth(*code);
	if (*width < 0)
		*width = 1;
	return n;
}

size_t text_width(const char *text)
{
	size_t len = strlen(text), width = 0;
	for (size_t at = 0; at < len;) {
		wchar_t code;
		int w;
		at += next_char(text + at, len - at, &code, &w);
		width += (size_t)w;
	}
	return width;
}

void clean_text(struct buf *out, const char *text)
{
	size_t len = strlen(text);
	for (size_t at = 0; at < len;) {
		wchar_t code;
		int w;
		size_t n = next_char(text + at, len - at, &code, &w);
		if (code == 0xFFFD)
			buf_str(out, "\xEF\xBF\xBD");
		else
			buf_append(out, text + at, n);
		at += n;
	}
}

void print_clean(const char *text, size_t max_width)
{
	size_t len = strlen(text), width = 0;
	bool cut = max_width > 0 && text_width(text) > max_width;
	for (size_t at = 0; at < len;) {
		wchar_t code;
		int w;
		size_t n = next_char(text + at, len - at, &code, &w);
		if (cut && width + (size_t)w > max_width - 1)
			break;
		if (code == 0xFFFD)
			fputs("\xEF\xBF\xBD", stdout);
		else
			fwrite(text + at, 1, n, stdout);
		width += (size_t)w;
		at += n;
	}
	if (cut)
		fputs("\xE2\x80\xA6", stdout);
}

unsigned output_width(void)
{
	struct winsize size;
	const char *columns = getenv("COLUMNS");
	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return columns != NULL && atoi(columns) > 0 ? (unsigned)atoi(columns) : 80;
}

bool output_has_colour(const struct ctl *c)
{
	const char *no = getenv("NO_COLOR");
	if (c->settings.colour != COLOUR_AUTO)
		return c->settings.colour == COLOUR_ALWAYS;
	return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0');
}

const char *status_colour(const char *status)
{
	static const struct {
		const char *words, *colour;
	} rows[] = {
		{" finished succeeded ready pass resolved ok true online exact ", "\033[32m"},
		{" reverted reverting failed revert firing critical error revert_failed not_revertible stopped harm refused ",
		 "\033[31m"},
		{" paused hold inconclusive warning stopping suspect timed_out waiting_for_approval uploading baking ",
		 "\033[33m"},
		{" running starting downloading installing trial offered continue ", "\033[36m"},
	};
	char word[64];
	if (status[0] == '\0' || strlen(status) > sizeof word - 3)
		return "";
	snprintf(word, sizeof word, " %s ", status);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strstr(rows[i].words, word) != NULL)
			return rows[i].colour;
	return "";
}

/* ---- values ---- */

void duration_text(int64_t ms, struct buf *out)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};
	if (ms < 1000) {
		buf_printf(out, "%lldms", (long long)(ms < 0 ? 0 : ms));
		return;
	}
	for (size_t i = 0; i < 4; i++) {
		if (ms < units[i].ms)
			continue;
		buf_printf(out, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
		int64_t rest = i < 3 ? ms % units[i].ms / units[i + 1].ms : 0;
		if (rest > 0 && ms / units[i].ms < 10)
			buf_printf(out, " %lld%s", (long long)rest, units[i + 1].unit);
		return;
	}
}

void bytes_text(double bytes, struct buf *out)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	int i = 0;
	while (bytes >= 1024 && i < 4) {
		bytes /= 1024;
		i++;
	}
	buf_printf(out, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
}

static void time_text(int64_t ms, struct buf *out)
{
	char text[32];
	clock_format(ms, text, sizeof text);
	buf_printf(out, "%.10s %.8sZ", text, text + 11);
}

static void ago_text(int64_t ms, struct buf *out)
{
	int64_t age = clock_wall_ms() - ms;
	if (age < 0) {
		buf_str(out, "in ");
		age = -age;
	}
	duration_text(age < 1000 ? 1000 : age, out);
}

/* An object in a list: what it says without the names, which are the same for each. */
static void values_text(const struct json *object, struct buf *out)
{
	for (const struct json *i = json_first(object); i != NULL; i = json_next(i)) {
		cell_text(i, CELL_TEXT, out);
		if (json_next(i) != NULL)
			buf_char(out, ' ');
	}
}

static void list_text(const struct json *value, struct buf *out)
{
	for (const struct json *i = json_first(value); i != NULL; i = json_next(i)) {
		if (json_name(i) != NULL)
			buf_printf(out, "%s=", json_name(i));
		if (json_type(i) == JSON_OBJECT && json_name(i) == NULL)
			values_text(i, out);
		else
			cell_text(i, CELL_TEXT, out);
		if (json_next(i) != NULL)
			buf_str(out, json_name(i) != NULL ? " " : ", ");
	}
}

void cell_text(const struct json *value, enum cell cell, struct buf *out)
{
	int64_t i;
	if (value == NULL || json_type(value) == JSON_NULL)
		return;
	switch (json_type(value)) {
	case JSON_STRING: buf_str(out, json_text(value)); return;
	case JSON_BOOL: buf_str(out, json_is_true(value) ? "yes" : cell == CELL_YES ? "" : "no"); return;
	case JSON_ARRAY:
	case JSON_OBJECT: list_text(value, out); return;
	default: break;
	}
	if (!json_is_integer(value, &i)) {
		buf_printf(out, cell == CELL_BYTES ? "%.0f" : "%.6g", json_number(value));
		return;
	}
	switch (cell) {
	case CELL_TIME: time_text(i, out); break;
	case CELL_AGO: ago_text(i, out); break;
	case CELL_DURATION: duration_text(i, out); break;
	case CELL_BYTES: bytes_text((double)i, out); break;
	default: buf_printf(out, "%lld", (long long)i); break;
	}
}

const struct json *json_at(const struct json *object, const char *path)
{
	while (object != NULL) {
		char name[64];
		size_t len = strcspn(path, ".");
		snprintf(name, sizeof name, "%.*s", (int)len, path);
		object = json_get(object, name);
		if (path[len] == '\0')
			return object;
		path += len + 1;
	}
	return NULL;
}

/* ---- tables ---- */

struct table {
	const struct column *columns;
	size_t column_count;
	char **cells; /* row after row */
	size_t rows, room;
	size_t width[COLUMNS_MAX];
	bool is_used[COLUMNS_MAX];
};

struct table *table_new(const struct column *columns)
{
	struct table *t = calloc(1, sizeof *t);
	if (t == NULL)
		abort();
	t->columns = columns;
	while (columns[t->column_count].title != NULL && t->column_count < COLUMNS_MAX)
		t->column_count++;
	for (size_t i = 0; i < t->column_count; i++)
		t->width[i] = text_width(columns[i].title);
	return t;
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->rows * t->column_count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void table_add(struct table *t, const struct json *item)
{
	if (t->rows == t->room) {
		t->room = t->room ? t->room * 2 : 64;
		t->cells = realloc(t->cells, t->room * t->column_count * sizeof *t->cells);
		if (t->cells == NULL)
			abort();
	}
	for (size_t i = 0; i < t->column_count; i++) {
		struct buf b = BUF_INIT;
		cell_text(json_at(item, t->columns[i].path), t->columns[i].cell, &b);
		size_t width = text_width(buf_cstr(&b));
		t->is_used[i] = t->is_used[i] || width > 0;
		t->width[i] = width > t->width[i] ? width : t->width[i];
		buf_str(&b, "");
		t->cells[t->rows * t->column_count + i] = b.data != NULL ? buf_take(&b) : strdup("");
	}
	t->rows++;
}

size_t table_rows(const struct table *t)
{
	return t->rows;
}

static bool is_shown(const struct table *t, size_t i)
{
	return t->is_used[i] || !t->columns[i].hide_empty;
}

/* Takes columns off the widest until the line fits. */
static void fit(struct table *t, size_t room)
{
	for (;;) {
		size_t sum = 0, widest = 0;
		for (size_t i = 0; i < t->column_count; i++) {
			if (!is_shown(t, i))
				continue;
			sum += t->width[i] + GAP;
			if (!is_shown(t, widest) || t->width[i] > t->width[widest])
				widest = i;
		}
		if (room == 0 || sum <= room + GAP || t->width[widest] <= CELL_MIN)
			return;
		size_t excess = sum - room - GAP;
		t->width[widest] -= excess < t->width[widest] - CELL_MIN ? (excess + 1) / 2 : 1;
	}
}

static bool is_right(enum cell cell)
{
	return cell == CELL_NUMBER || cell == CELL_BYTES || cell == CELL_DURATION || cell == CELL_AGO;
}

static void pad(size_t n)
{
	for (; n > 0; n--)
		putchar(' ');
}

static size_t last_shown(const struct table *t)
{
	size_t last = 0;
	for (size_t i = 0; i < t->column_count; i++)
		if (is_shown(t, i))
			last = i;
	return last;
}

static void print_cell(const struct table *t, size_t i, const char *text, const char *colour, bool is_last)
{
	size_t width = text_width(text), shown = width > t->width[i] ? t->width[i] : width;
	if (is_right(t->columns[i].cell))
		pad(t->width[i] - shown);
	fputs(colour, stdout);
	print_clean(text, t->width[i]);
	if (colour[0] != '\0')
		fputs(COLOUR_END, stdout);
	if (is_last)
		return;
	pad(GAP + (is_right(t->columns[i].cell) ? 0 : t->width[i] - shown));
}

void table_print(struct table *t, const struct ctl *c)
{
	bool colour = output_has_colour(c);
	fit(t, output_width());
	size_t last = last_shown(t);
	for (size_t i = 0; i < t->column_count && t->rows > 0; i++)
		if (is_shown(t, i))
			print_cell(t, i, t->columns[i].title, colour ? "\033[1m" : "", i == last);
	if (t->rows > 0)
		putchar('\n');
	for (size_t row = 0; row < t->rows; row++) {
		for (size_t i = 0; i < t->column_count; i++) {
			const char *text = t->cells[row * t->column_count + i];
			if (is_shown(t, i))
				print_cell(t, i, text, colour && t->columns[i].cell == CELL_STATUS ? status_colour(text) : "",
					i == last);
		}
		putchar('\n');
	}
}

/* ---- single objects ---- */

static bool ends(const char *s, const char *end)
{
	size_t a = strlen(s), b = strlen(end);
	return a >= b && strcmp(s + a - b, end) == 0;
}

static enum cell cell_of(const char *name)
{
	return ends(name, "_at") || strcmp(name, "at") == 0 || strcmp(name, "t0") == 0 || strcmp(name, "ts") == 0
		? CELL_TIME
	       : ends(name, "_bytes") ? CELL_BYTES : ends(name, "_ms") ? CELL_DURATION
	       	: strcmp(name, "status") == 0 || strcmp(name, "state") == 0 ? CELL_STATUS : CELL_TEXT;
}

static bool is_list_of_objects(const struct json *j)
{
	return json_type(j) == JSON_ARRAY && json_first(j) != NULL && json_type(json_first(j)) == JSON_OBJECT;
}

/* With print false only measures the longest name. */
static size_t walk(const struct ctl *c, const struct json *object, const char *prefix, size_t width, bool print)
{
	size_t longest = 0, at = 0;
	for (const struct json *m = json_first(object); m != NULL; m = json_next(m)) {
		struct buf name = BUF_INIT, text = BUF_INIT;
		if (json_name(m) != NULL)
			buf_printf(&name, "%s%s%s", prefix, prefix[0] ? "." : "", json_name(m));
		else
			buf_printf(&name, "%s.%zu", prefix, at++);
		size_t n = text_width(buf_cstr(&name));
		if ((json_type(m) == JSON_OBJECT && json_count(m) > 0) || is_list_of_objects(m)) {
			n = walk(c, m, name.data, width, print);
		} else {
			enum cell cell = cell_of(json_name(m) ? json_name(m) : "");
			cell_text(m, cell, &text);
			const char *colour = print && output_has_colour(c) && cell == CELL_STATUS ? status_colour(buf_cstr(&text))
				: "";
			if (print) {
				print_clean(name.data, 0);
				pad(width - n + GAP);
				fputs(colour, stdout);
				print_clean(buf_cstr(&text), 0);
				fputs(colour[0] != '\0' ? COLOUR_END "\n" : "\n", stdout);
			}
		}
		longest = n > longest ? n : longest;
		buf_done(&name);
		buf_done(&text);
	}
	return longest;
}

void print_object(const struct ctl *c, const struct json *object)
{
	walk(c, object, "", walk(c, object, "", 0, false), true);
}

void print_json(const struct json *j)
{
	struct buf b = BUF_INIT;
	json_print(j, &b);
	buf_char(&b, '\n');
	fwrite(b.data, 1, b.len, stdout);
	buf_done(&b);
}
