#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/jpull.h"
#include "core/profile.h"

static const char *const column_names[PROFILE_COLUMNS] = {
#define X(name, names) names,
	PROFILE_COLUMN_TABLE(X)
#undef X
};

static bool is_at_end_of_line(const struct profile_csv *c)
{
	return c->at >= c->len || c->text[c->at] == '\n' || c->text[c->at] == '\r';
}

static void skip_line_end(struct profile_csv *c)
{
	if (c->at < c->len && c->text[c->at] == '\r') c->at++;
	if (c->at < c->len && c->text[c->at] == '\n') c->at++;
}

static void skip_line(struct profile_csv *c)
{
	while (!is_at_end_of_line(c)) c->at++;
	skip_line_end(c);
}

/* One field, with its quotes taken off. NULL or what is wrong with it. */
static const char *read_field(struct profile_csv *c, char out[PROFILE_FIELD_BYTES])
{
	size_t n = 0;
	bool is_quoted = !is_at_end_of_line(c) && c->text[c->at] == '"';
	c->at += is_quoted;
	out[0] = '\0';
	for (; is_quoted ? c->at < c->len : !is_at_end_of_line(c) && c->text[c->at] != ','; c->at++) {
		char ch = c->text[c->at];
		if (is_quoted && ch == '"') {
			if (c->at + 1 >= c->len || c->text[c->at + 1] != '"') break;
			c->at++;
		}
		if ((unsigned char)ch < ' ') return "a control character in a field";
		if (n + 1 == PROFILE_FIELD_BYTES) return "a field is at most 127 bytes";
		out[n++] = ch;
	}
	out[n] = '\0';
	if (!is_quoted) return NULL;
	if (c->at >= c->len) return "a quote is not closed";
	c->at++;
	return is_at_end_of_line(c) || c->text[c->at] == ',' ? NULL : "text behind a closing quote";
}

/* A line into fields; the number of them, or what is wrong. The reader is behind the line in any case. */
static const char *read_line(struct profile_csv *c, unsigned *count)
{
	const char *wrong = NULL;
	c->line++;
	for (*count = 0;;) {
		if (*count == PROFILE_CSV_COLUMNS) wrong = "at most 32 columns";
		else wrong = read_field(c, c->fields[(*count)++]);
		if (wrong != NULL) {
			skip_line(c);
			return wrong;
		}
		if (c->at >= c->len || c->text[c->at] != ',') break;
		c->at++;
	}
	skip_line_end(c);
	return NULL;
}

static bool is_one_of(const char *names, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = names; len > 0 && (at = strstr(at, word)) != NULL; at += len)
		if ((at == names || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) return true;
	return false;
}

enum err profile_csv_begin(struct profile_csv *c, const char *text, size_t len, struct fault *f)
{
	bool has_figure = false;
	*c = (struct profile_csv){.text = text, .len = len};
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) c->at = 3;
	const char *wrong = read_line(c, &c->columns);
	if (wrong != NULL) return fault_set(f, ERR_INVALID, "", "line 1: %s", wrong);
	for (unsigned k = 0; k < PROFILE_COLUMNS; k++) {
		c->column_of[k] = -1;
		for (unsigned i = c->columns; i-- > 0;)
			if (is_one_of(column_names[k], c->fields[i])) c->column_of[k] = (int)i;
		has_figure |= k >= PROFILE_COLUMN_LATENCY && k <= PROFILE_COLUMN_AUC && c->column_of[k] >= 0;
	}
	if (c->column_of[PROFILE_COLUMN_HARDWARE] < 0 || c->column_of[PROFILE_COLUMN_MODEL] < 0)
		return fault_set(f, ERR_INVALID, "", "line 1: no column for hardware (or system) and model (or bench)");
	return has_figure ? ERR_OK : fault_set(f, ERR_INVALID, "", "line 1: no column with a figure");
}

static const char *field(const struct profile_csv *c, enum profile_column column)
{
	return c->column_of[column] >= 0 ? c->fields[c->column_of[column]] : "";
}

/* A text as a name: other characters become minuses, at most 64, begins with a letter or digit. */
static void take_name(const char *text, size_t len, char out[NAME_BYTES])
{
	size_t n = 0;
	for (size_t i = 0; i < len && n + 1 < NAME_BYTES; i++) {
		char ch = text[i];
		bool is_word = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
		bool is_fine = is_word || ch == '.' || ch == '_' || ch == '-';
		if (!is_word && (n == 0 || (!is_fine && out[n - 1] == '-'))) continue;
		out[n++] = is_fine ? ch : '-';
	}
	while (n > 0 && out[n - 1] == '-') n--;
	out[n] = '\0';
}

/* Where a system's name goes on with how the model was made for it. */
static size_t system_length(const char *system)
{
	static const char *const markers[] = {"_float", "_int8", "_int16", "_fp16", "_fp32"};
	size_t len = strlen(system);
	for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++) {
		const char *at = strstr(system, markers[i]);
		if (at != NULL && at > system && (size_t)(at - system) < len) len = (size_t)(at - system);
	}
	return len;
}

static void take_names(const struct profile_csv *c, struct profile_row *row)
{
	const char *system = field(c, PROFILE_COLUMN_HARDWARE), *model = field(c, PROFILE_COLUMN_MODEL);
	const char *variant = field(c, PROFILE_COLUMN_VARIANT), *version = field(c, PROFILE_COLUMN_VERSION);
	bool is_said = c->column_of[PROFILE_COLUMN_VARIANT] >= 0;
	size_t len = is_said ? strlen(system) : system_length(system);
	char made[3 * PROFILE_FIELD_BYTES];
	take_name(system, len, row->hardware);
	take_name(model, strlen(model), row->model);
	take_name(version, strlen(version), row->version);
	if (is_said) {
		take_name(variant, strlen(variant), row->variant);
		return;
	}
	const char *org = field(c, PROFILE_COLUMN_ORG), *round = field(c, PROFILE_COLUMN_ROUND);
	const char *rest = system[len] == '\0' ? "" : system + len + 1;
	snprintf(made, sizeof made, "%s%s%s%s%s", org, org[0] && round[0] ? "-" : "", round,
		(org[0] || round[0]) && rest[0] ? "-" : "", rest);
	take_name(made, strlen(made), row->variant);
}

/* "" is NaN. Numbers as JSON has them: no locale, no infinities. */
static bool take_number(const struct profile_csv *c, enum profile_column column, double most, double *out)
{
	struct jp p;
	const char *text = field(c, column);
	*out = NAN;
	if (text[0] == '\0') return true;
	jp_init(&p, text, strlen(text));
	bool is_fine = jp_next(&p) == JP_NUMBER && jp_double(&p, out) && *out >= 0 && *out <= most;
	return is_fine && jp_next(&p) == JP_END;
}

static const char *take_figures(const struct profile_csv *c, struct profile_row *row)
{
	double devices, samples;
	const struct {
		enum profile_column column;
		double most;
		double *out;
		const char *wrong;
	} rows[] = {
		{PROFILE_COLUMN_LATENCY, 1e12, &row->latency_ms, "latency is no number from 0"},
		{PROFILE_COLUMN_LATENCY_P95, 1e12, &row->latency_p95_ms, "latency_p95_ms is no number from 0"},
		{PROFILE_COLUMN_ENERGY, 1e15, &row->energy_uj, "energy is no number from 0"},
		{PROFILE_COLUMN_MEMORY, 1e15, &row->memory_bytes, "memory is no number from 0"},
		{PROFILE_COLUMN_ACCURACY, 1, &row->accuracy, "accuracy is no number from 0 to 1"},
		{PROFILE_COLUMN_TOP1, 100, &row->top1, "top1 is no number from 0 to 100"},
		{PROFILE_COLUMN_AUC, 1, &row->auc, "auc is no number from 0 to 1"},
		{PROFILE_COLUMN_DEVICES, 1e9, &devices, "devices is no number from 0"},
		{PROFILE_COLUMN_SAMPLES, 1e15, &samples, "samples is no number from 0"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (!take_number(c, rows[i].column, rows[i].most, rows[i].out)) return rows[i].wrong;
	row->top1 /= 100;
	row->devices = isnan(devices) ? 0 : (uint64_t)devices;
	row->samples = isnan(samples) ? 0 : (uint64_t)samples;
	return NULL;
}

enum err profile_csv_next(struct profile_csv *c, struct profile_row *row, bool *is_end, struct fault *f)
{
	unsigned count;
	while (c->at < c->len && is_at_end_of_line(c)) {
		c->line++;
		skip_line_end(c);
	}
	*is_end = c->at >= c->len;
	if (*is_end) return ERR_OK;
	const char *wrong = read_line(c, &count);
	*row = (struct profile_row){.line = c->line};
	if (wrong == NULL && count != c->columns) wrong = "another number of fields than the first line";
	if (wrong == NULL) wrong = take_figures(c, row);
	if (wrong == NULL) take_names(c, row);
	if (wrong == NULL && (row->hardware[0] == '\0' || row->model[0] == '\0')) wrong = "no hardware or no model";
	return wrong == NULL ? ERR_OK : fault_set(f, ERR_INVALID, "", "line %u: %s", c->line, wrong);
}

static void put(struct profile_figures *out, enum profile_figure_kind kind, double value, const struct profile_row *row)
{
	out->of[kind].value = value;
	if (isnan(value)) return;
	out->of[kind].source = PROFILE_PUBLISHED;
	out->of[kind].devices = row->devices > UINT32_MAX ? UINT32_MAX : (uint32_t)row->devices;
	out->of[kind].samples = row->samples;
}

void profile_row_figures(const struct profile_row *row, const char *quality, struct profile_figures *out)
{
	double q = !isnan(row->accuracy) ? row->accuracy : !isnan(row->top1) ? row->top1 : row->auc;
	if (quality != NULL)
		q = strcmp(quality, "auc") == 0 ? row->auc : strcmp(quality, "top1") == 0 ? row->top1 : row->accuracy;
	profile_figures_init(out);
	put(out, PROFILE_LATENCY_P50, row->latency_ms, row);
	put(out, PROFILE_LATENCY_P95, isnan(row->latency_p95_ms) ? row->latency_ms : row->latency_p95_ms, row);
	put(out, PROFILE_ENERGY, row->energy_uj, row);
	put(out, PROFILE_MEMORY, row->memory_bytes, row);
	put(out, PROFILE_QUALITY, q, row);
}
