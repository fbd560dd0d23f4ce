/* The choice: each step by itself, random tables against brute force, and the published figures. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/select.h"
#include "published.h"

/* ---- a table of variants ---- */

static struct profile_figures figures[SELECT_VARIANTS];
static struct select_candidate candidates[SELECT_VARIANTS];
static char ids[SELECT_VARIANTS][NAME_BYTES];
static struct select_objective wants;
static struct select_question question;
static struct select_answer answer;

static void begin(void)
{
	select_objective_init(&wants);
	question = (struct select_question){&wants, candidates, 0, 0, SELECT_NONE, 0, SELECT_NONE};
}

static void set_figure(unsigned i, enum profile_figure_kind kind, double value)
{
	figures[i].of[kind].value = value;
	figures[i].of[kind].source = isnan(value) ? PROFILE_NONE : PROFILE_CLASS;
}

static unsigned add(const char *id, double quality, double latency_ms, double energy_uj, double bytes)
{
	unsigned i = question.count++;
	assert_true(i < SELECT_VARIANTS);
	snprintf(ids[i], sizeof ids[i], "%s", id);
	profile_figures_init(&figures[i]);
	set_figure(i, PROFILE_QUALITY, quality);
	set_figure(i, PROFILE_LATENCY_P50, latency_ms);
	set_figure(i, PROFILE_LATENCY_P95, latency_ms);
	set_figure(i, PROFILE_ENERGY, energy_uj);
	candidates[i] = (struct select_candidate){ids[i], bytes, COMPAT_YES, &figures[i]};
	return i;
}

static const char *choose(void)
{
	select_choose(&question, &answer);
	return answer.chosen == SELECT_NONE ? "" : ids[answer.chosen];
}

static const char *why(void)
{
	return select_why_name((enum select_why)answer.why);
}

static const char *explain(unsigned i)
{
	static char text[SELECT_TEXT_BYTES];
	select_explain(&question, &answer, i, text);
	return text;
}

/* ---- step by step ---- */

static void the_filter_names_what_it_takes_away(void **state)
{
	(void)state;
	begin();
	add("no", 0.9, 1, 1, 1), candidates[0].compat = COMPAT_NO;
	add("unknown", 0.9, 1, 1, 1), candidates[1].compat = COMPAT_UNKNOWN;
	add("poor", 0.7, 1, 1, 1);
	add("unrated", NAN, 1, 1, 1);
	add("slow", 0.9, 21, 1, 1);
	add("untimed", 0.9, NAN, 1, 1);
	add("hungry", 0.9, 1, 11, 1);
	add("unmetered", 0.9, 1, NAN, 1);
	add("fine", 0.8, 20, 10, 1);
	wants.quality_min = 0.8, wants.latency_max_ms = 20, wants.energy_max_uj = 10;
	assert_string_equal(choose(), "fine");
	assert_string_equal(why(), "only one that serves");
	assert_int_equal(answer.eligible, 1u << 8);
	assert_string_equal(explain(0), "incompatible");
	assert_string_equal(explain(1), "unknown");
	assert_string_equal(explain(2), "quality_low: quality 0.7 (class) < 0.8");
	assert_string_equal(explain(3), "quality_unknown");
	assert_string_equal(explain(4), "too_slow: latency_p95_ms 21 (class) > 20");
	assert_string_equal(explain(5), "latency_unknown");
	assert_string_equal(explain(6), "too_hungry: energy_uj 11 (class) > 10");
	assert_string_equal(explain(7), "energy_unknown");
	assert_string_equal(explain(8), "chosen: only one that serves");
	assert_string_equal(explain(9), "");
	question.count = 8;
	assert_string_equal(choose(), "");
	assert_string_equal(why(), "nothing serves");
	begin();
	assert_string_equal(choose(), "");
}

static void what_is_dominated_goes_and_says_by_whom(void **state)
{
	(void)state;
	begin();
	add("a", 0.87, 479, NAN, 300);
	add("b", 0.875, 162, NAN, 100);
	add("c", 0.88, 150, NAN, 90);
	add("d", 0.9, 900, NAN, 900);
	assert_string_equal(choose(), "c");
	assert_int_equal(answer.dominated, 3);
	assert_int_equal(answer.variants[0].other, 2); /* who is dominated by nobody */
	assert_string_equal(explain(1),
		"dominated by c: quality 0.875 (class) < 0.88 (class), latency_p95_ms 162 (class) > 150 (class), bytes 100 > 90");
	assert_string_equal(explain(3), "costlier than c by latency: quality 0.9 (class) > 0.88 (class), latency_p95_ms 900 (class) > 150 (class), bytes 900 > 90");
	/* equal ones do not dominate one another; what is known of one alone is not comparable */
	begin();
	add("b", 0.9, 1, 1, 1);
	add("a", 0.9, 1, 1, 1);
	add("c", 0.1, 2, NAN, 2);
	assert_string_equal(choose(), "a");
	assert_int_equal(answer.dominated, 0);
	assert_string_equal(explain(0), "tie with a, which comes first by name");
}

static void costs_in_the_order_of_the_objective(void **state)
{
	(void)state;
	begin();
	add("fast", 0.9, 10, 50, 500);
	add("frugal", 0.9, 50, 10, 300);
	add("small", 0.9, 30, 30, 100);
	assert_string_equal(choose(), "fast");
	wants.order[0] = SELECT_ENERGY;
	assert_string_equal(choose(), "frugal");
	wants.order[0] = SELECT_SIZE;
	assert_string_equal(choose(), "small");
	wants.is_weighted = true;
	wants.weights[SELECT_LATENCY] = 1, wants.weights[SELECT_ENERGY] = 1; /* 500, 500, 900 */
	assert_string_equal(choose(), "fast");
	wants.weights[SELECT_SIZE] = 0.5;
	assert_string_equal(choose(), "frugal");
	wants.weights[SELECT_SIZE] = 2;
	assert_string_equal(choose(), "small");
	assert_string_equal(explain(0), "costlier than small by weights: latency_p95_ms 10 (class) < 30 (class), energy_uj 50 (class) > 30 (class), bytes 500 > 100");
	set_figure(2, PROFILE_ENERGY, NAN); /* what is weighed and not known comes last */
	assert_string_equal(choose(), "frugal");
	for (unsigned c = 0; c < SELECT_COSTS; c++) {
		enum select_cost found;
		const char *name = select_cost_name((enum select_cost)c);
		assert_true(select_cost_from_name((struct slice){name, strlen(name)}, &found) && found == c);
	}
	enum select_cost none;
	assert_false(select_cost_from_name((struct slice){"speed", 5}, &none));
}

static void estimates_rule_out_and_do_not_rank(void **state)
{
	(void)state;
	begin();
	unsigned a = add("a", 0.9, 10, NAN, 9), b = add("b", 0.9, 100, NAN, 8);
	figures[a].of[PROFILE_LATENCY_P95].source = PROFILE_MACS;
	assert_string_equal(choose(), "b"); /* measured goes before estimated, though the estimate is lower */
	figures[b].of[PROFILE_LATENCY_P95].source = PROFILE_MACS;
	wants.order_count = 1; /* latency, of which nothing can be said */
	assert_string_equal(choose(), "b"); /* smaller, so a is dominated */
	candidates[b].size_bytes = 10;
	set_figure(b, PROFILE_QUALITY, 0.95);
	assert_string_equal(choose(), "a"); /* a tie; by name */
	wants.latency_max_ms = 50;
	set_figure(b, PROFILE_LATENCY_P95, 100), figures[b].of[PROFILE_LATENCY_P95].source = PROFILE_MACS;
	assert_string_equal(choose(), "a");
	assert_int_equal(answer.variants[b].fate, SELECT_FATE_TOO_SLOW);
}

static void an_installed_one_is_left_for_a_gain_and_not_too_soon(void **state)
{
	(void)state;
	begin();
	unsigned old = add("old", 0.9, 100, 1, 1), new = add("new", 0.9, 90.001, 1, 1);
	question.installed = old;
	question.installed_for_ms = wants.dwell_ms;
	assert_string_equal(choose(), "old");
	assert_string_equal(why(), "kept: the gain is too small");
	assert_int_equal(answer.best, new);
	assert_true(fabs(answer.gain - 0.09999) < 1e-9);
	assert_string_equal(explain(new), "better than old, which stays (kept: the gain is too small): latency_p95_ms 90.001 (class) < 100 (class)");
	set_figure(new, PROFILE_LATENCY_P95, 90); /* exactly 10 % */
	assert_string_equal(choose(), "new");
	question.installed_for_ms = wants.dwell_ms - 1;
	assert_string_equal(choose(), "old");
	assert_string_equal(why(), "kept: installed too recently");
	wants.quality_min = 0.91; /* no hysteresis for what does not serve any more */
	set_figure(new, PROFILE_QUALITY, 0.92);
	assert_string_equal(choose(), "new");
	question.installed = new;
	assert_string_equal(choose(), "new");
	assert_string_equal(why(), "installed and best");
	wants.quality_min = NAN;
	question.installed = old, question.installed_for_ms = INT64_MAX;
	set_figure(old, PROFILE_LATENCY_P95, NAN);
	assert_string_equal(choose(), "old");
	assert_string_equal(why(), "kept: the gain is not measured");
	question.installed = 7; /* of another version */
	assert_string_equal(choose(), "new");
	/* weights: the gain is one of the product */
	begin();
	old = add("old", 0.9, 100, 100, 1), new = add("new", 0.9, 90, 90, 2);
	wants.is_weighted = true, wants.weights[SELECT_LATENCY] = 2, wants.weights[SELECT_ENERGY] = 2;
	question.installed = old, question.installed_for_ms = wants.dwell_ms;
	assert_string_equal(choose(), "new");
	assert_true(fabs(answer.gain - 0.1) < 1e-9);
	set_figure(new, PROFILE_ENERGY, 95);
	assert_string_equal(choose(), "old");
}

static void an_operator_may_override_all_but_compatibility(void **state)
{
	(void)state;
	begin();
	add("best", 0.9, 1, 1, 1);
	unsigned wanted = add("wanted", 0.1, 9, 9, 9);
	wants.quality_min = 0.8;
	question.wanted = wanted, question.installed = 0;
	assert_string_equal(choose(), "wanted");
	assert_string_equal(why(), "asked for by an operator");
	assert_string_equal(explain(0), "not_wanted");
	candidates[wanted].compat = COMPAT_UNKNOWN;
	assert_string_equal(choose(), "");
}

static void a_bad_link_asks_for_the_smaller_and_keeps_what_serves(void **state)
{
	(void)state;
	begin();
	add("large", 0.9, 1, 9, 1000);
	unsigned small = add("small", 0.85, 9, 3, 100);
	question.context = HEALTH_BAD_LINK;
	assert_string_equal(choose(), "large"); /* not asked to follow */
	wants.follows_link = true;
	assert_string_equal(choose(), "small");
	question.installed = 0, question.installed_for_ms = INT64_MAX;
	assert_string_equal(choose(), "large");
	assert_string_equal(why(), "kept: the link is bad");
	question.installed = small, question.context = 0;
	assert_string_equal(choose(), "large"); /* the link is good again */
	wants.follows_battery = true, question.context = HEALTH_LOW_BATTERY, question.installed = SELECT_NONE;
	assert_string_equal(choose(), "small");
	wants.is_weighted = true, wants.weights[SELECT_LATENCY] = 1;
	assert_string_equal(choose(), "small");
	question.context = HEALTH_HOT;
	assert_string_equal(choose(), "large");
	question.context = HEALTH_BAD_LINK, wants.quality_min = 0.86; /* also then the minimum holds */
	assert_string_equal(choose(), "large");
}

static void above_a_wish_is_poor(void **state)
{
	(void)state;
	begin();
	add("a", 0.9, 100, NAN, 1);
	choose();
	assert_false(answer.is_poor);
	wants.latency_wish_ms = 100;
	choose();
	assert_false(answer.is_poor);
	wants.latency_wish_ms = 99;
	choose();
	assert_true(answer.is_poor);
	wants.latency_wish_ms = NAN, wants.energy_wish_uj = 5; /* not known to be below */
	choose();
	assert_true(answer.is_poor);
}

/* ---- brute force ---- */

static uint64_t seed;

static unsigned draw(unsigned n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)((seed >> 33) % n);
}

/* The four numbers of a variant, smaller is better. */
static void read_row(unsigned i, double row[4])
{
	row[0] = figures[i].of[PROFILE_LATENCY_P95].value;
	row[1] = figures[i].of[PROFILE_ENERGY].value;
	row[2] = candidates[i].size_bytes;
	row[3] = -figures[i].of[PROFILE_QUALITY].value;
}

static bool brute_serves(unsigned i)
{
	double row[4];
	read_row(i, row);
	if (candidates[i].compat != COMPAT_YES) return false;
	if (!isnan(wants.quality_min) && !(-row[3] >= wants.quality_min)) return false;
	return isnan(wants.latency_max_ms) || row[0] <= wants.latency_max_ms;
}

static bool brute_dominates(unsigned a, unsigned b)
{
	double x[4], y[4];
	int worse = 0, better = 0, alone = 0;
	read_row(a, x), read_row(b, y);
	for (int d = 0; d < 4; d++) {
		alone += isnan(x[d]) != isnan(y[d]);
		worse += x[d] > y[d];
		better += x[d] < y[d];
	}
	return alone == 0 && worse == 0 && better > 0;
}

/* Whether a comes before b: sorted out as a list of (missing, value) and the id at the end. */
static bool brute_before(unsigned a, unsigned b)
{
	double x[4], y[4], keys[2][8];
	int n = 0;
	read_row(a, x), read_row(b, y);
	if (wants.is_weighted) {
		double logs[2] = {0, 0}, missing[2] = {0, 0}, weights = 0;
		for (int c = 0; c < 3; c++) {
			if (wants.weights[c] <= 0) continue;
			weights += wants.weights[c];
			for (int w = 0; w < 2; w++) {
				double v = w ? y[c] : x[c];
				if (isnan(v)) missing[w]++;
				else logs[w] += wants.weights[c] * log(v);
			}
		}
		for (int w = 0; w < 2; w++) keys[w][0] = missing[w], keys[w][1] = weights > 0 ? logs[w] / weights : 0;
		n = 2;
	} else {
		for (unsigned i = 0; i < wants.order_count; i++, n += 2) {
			double v = x[wants.order[i]], w = y[wants.order[i]];
			keys[0][n] = isnan(v), keys[0][n + 1] = isnan(v) ? 0 : v;
			keys[1][n] = isnan(w), keys[1][n + 1] = isnan(w) ? 0 : w;
		}
	}
	for (int i = 0; i < n; i++)
		if (keys[0][i] != keys[1][i]) return keys[0][i] < keys[1][i];
	return strcmp(ids[a], ids[b]) < 0;
}

static unsigned brute_choose(void)
{
	for (unsigned i = 0; i < question.count; i++) {
		bool is_best = brute_serves(i);
		for (unsigned k = 0; k < question.count; k++)
			if (k != i && brute_serves(k) && brute_dominates(k, i)) is_best = false;
		for (unsigned k = 0; k < question.count && is_best; k++) {
			bool is_out = k == i || !brute_serves(k);
			for (unsigned d = 0; d < question.count; d++) is_out |= brute_serves(d) && brute_dominates(d, k);
			if (!is_out && brute_before(k, i)) is_best = false;
		}
		if (is_best) return i;
	}
	return SELECT_NONE;
}

static double draw_figure(void)
{
	return draw(6) == 0 ? NAN : 1 + draw(5); /* few values: many ties */
}

static void draw_objective(void)
{
	select_objective_init(&wants);
	wants.quality_min = draw(2) ? NAN : 1 + draw(4);
	wants.latency_max_ms = draw(4) ? NAN : 1 + draw(5);
	wants.is_weighted = draw(2);
	wants.order_count = 1 + draw(3);
	for (unsigned c = 0; c < SELECT_COSTS; c++) wants.order[c] = (enum select_cost)draw(SELECT_COSTS), wants.weights[c] = draw(3);
}

static void random_tables_against_brute_force(void **state)
{
	(void)state;
	seed = 20240601;
	unsigned served = 0, dominated = 0;
	for (int round = 0; round < 100000; round++) {
		begin();
		unsigned n = draw(9);
		for (unsigned i = 0; i < n; i++) {
			char id[8];
			snprintf(id, sizeof id, "%c%u", 'a' + draw(26), i);
			add(id, draw_figure(), draw_figure(), draw_figure(), 1 + draw(5));
			candidates[i].compat = draw(5) ? COMPAT_YES : (enum compat)draw(2);
		}
		draw_objective();
		choose();
		unsigned best = brute_choose();
		assert_int_equal(answer.chosen, best);
		served += best != SELECT_NONE;
		dominated += answer.dominated != 0;
		for (unsigned i = 0; i < n; i++) {
			bool is_dominated = false;
			for (unsigned k = 0; k < n; k++) is_dominated |= brute_serves(k) && brute_dominates(k, i);
			assert_int_equal(answer.eligible >> i & 1, brute_serves(i));
			assert_int_equal(answer.dominated >> i & 1, brute_serves(i) && is_dominated);
			if (answer.dominated >> i & 1) assert_true(brute_dominates(answer.variants[i].other, i));
			assert_true(strlen(explain(i)) > 0);
		}
	}
	assert_true(served > 50000 && dominated > 20000);
}

/* With one installed: either the best, or the installed one for one of its reasons; never a third. */
static void hysteresis_on_random_tables(void **state)
{
	(void)state;
	seed = 99;
	unsigned kept = 0, moved = 0;
	for (int round = 0; round < 30000; round++) {
		begin();
		for (unsigned i = 0; i < 5; i++) {
			char id[2] = {(char)('a' + i), 0};
			add(id, 1 + draw(3), 80 + draw(40), NAN, 1);
		}
		wants.order_count = 1, wants.quality_min = 2;
		question.installed = draw(5), question.installed_for_ms = draw(2) ? 0 : wants.dwell_ms;
		choose();
		unsigned best = brute_choose(), old = question.installed;
		assert_int_equal(answer.best, best);
		if (best == SELECT_NONE) continue;
		double was = figures[old].of[PROFILE_LATENCY_P95].value, is = figures[best].of[PROFILE_LATENCY_P95].value;
		bool stays = brute_serves(old) && best != old && (question.installed_for_ms == 0 || is > was * 0.9 + 1e-9);
		assert_int_equal(answer.chosen, stays ? old : best);
		kept += stays, moved += best != old && !stays;
	}
	assert_true(kept > 1000 && moved > 1000);
}

/* ---- the published figures ---- */

struct table {
	struct profile_row *rows;
	unsigned count;
};

static struct table read_table(void)
{
	struct table t = {NULL, 0};
	struct profile_csv c;
	bool is_end;
	size_t len = 0;
	char *text = published_read(&len);
	if (text == NULL) return t;
	assert_int_equal(profile_csv_begin(&c, text, len, NULL), ERR_OK);
	t.rows = calloc(400, sizeof *t.rows);
	while (t.count < 400) {
		assert_int_equal(profile_csv_next(&c, &t.rows[t.count], &is_end, NULL), ERR_OK);
		if (is_end) break;
		t.count++;
	}
	free(text);
	return t;
}

/* Boards are spelled in several ways over the years: NUCLEO_H7A3ZI_Q, NUCLEO-H7A3ZI-Q. */
static bool is_board(const char *a, const char *b, bool is_exact)
{
	if (is_exact) return strcmp(a, b) == 0;
	for (; *a != '\0' && *b != '\0'; a++, b++) {
		char x = *a == '_' ? '-' : (char)(*a & ~0x20), y = *b == '_' ? '-' : (char)(*b & ~0x20);
		if (x != y && !(*a == *b)) return false;
	}
	return *a == *b;
}

static void add_row(const struct profile_row *row, const char *quality)
{
	unsigned i = add(row->variant, NAN, NAN, NAN, 1000 + (row->line * 7919) % 50);
	profile_row_figures(row, quality, &figures[i]);
}

/* All rows of a board and a task, of `round` and `org` where they are given by a part of the variant's name. */
static void take_board(const struct table *t, const char *board, const char *task, const char *part, const char *quality,
                       bool is_exact)
{
	begin();
	for (unsigned i = 0; i < t->count && question.count < SELECT_VARIANTS; i++) {
		const struct profile_row *row = &t->rows[i];
		if (is_board(row->hardware, board, is_exact) && strcmp(row->model, task) == 0 && strstr(row->variant, part) != NULL)
			add_row(row, quality);
	}
}

static unsigned find(const char *part)
{
	for (unsigned i = 0; i < question.count; i++)
		if (strstr(ids[i], part) != NULL) return i;
	return SELECT_NONE;
}

static void float_is_dominated_on_cy8cproto_062(void **state)
{
	(void)state;
	static const char *const tasks[] = {"ic", "vww"};
	struct table t = read_table();
	if (t.rows == NULL) skip();
	for (unsigned k = 0; k < 2; k++) {
		take_board(&t, "CY8CPROTO_062_4343W", tasks[k], "bosch", "top1", true);
		for (unsigned i = 0; i < question.count; i++) candidates[i].size_bytes = 0; /* not published */
		choose();
		unsigned f = find("float");
		assert_true(f != SELECT_NONE && (answer.dominated >> f & 1));
		assert_non_null(strstr(ids[answer.variants[f].other], "int8"));
		assert_non_null(strstr(ids[answer.chosen], "int8"));
		assert_non_null(strstr(explain(f), "(published)"));
		print_message("%s: %s\n", tasks[k], explain(f));
	}
	/* of anomaly detection float is slower and better: nothing dominates it */
	take_board(&t, "CY8CPROTO_062_4343W", "ad", "bosch", "auc", true);
	choose();
	assert_int_equal(answer.dominated >> find("float") & 1, 0);
	free(t.rows);
}

static void anomaly_detection_on_nucleo_h7a3zi(void **state)
{
	(void)state;
	struct table t = read_table();
	if (t.rows == NULL) skip();
	take_board(&t, "NUCLEO_H7A3ZI", "ad", "bosch-1.2", "auc", true);
	assert_int_equal(question.count, 3);
	wants.quality_min = 0.88;
	assert_string_equal(choose(), "bosch-1.2-float");
	wants.quality_min = 0.85;
	assert_string_equal(choose(), "bosch-1.2-int8_max_performance");
	wants.quality_min = 0.90;
	assert_string_equal(choose(), "");
	/* over all years of that board */
	take_board(&t, "NUCLEO_H7A3ZI", "ad", "", "auc", true);
	wants.quality_min = 0.88;
	assert_non_null(strstr(choose(), "float"));
	free(t.rows);
}

static void set_published_objective(unsigned which)
{
	select_objective_init(&wants);
	if (which == 0) wants.order_count = 1;                                    /* the fastest */
	if (which == 1) wants.quality_min = 0.875, wants.order_count = 1;         /* the fastest that is good */
	if (which == 2) wants.order[0] = SELECT_ENERGY, wants.order[1] = SELECT_LATENCY;
	if (which == 3) wants.is_weighted = true, wants.weights[SELECT_LATENCY] = 1, wants.weights[SELECT_ENERGY] = 2;
	if (which == 4) wants.order[0] = SELECT_SIZE, wants.order[2] = SELECT_LATENCY, wants.latency_max_ms = 100;
}

static void every_published_system_against_brute_force(void **state)
{
	(void)state;
	struct table t = read_table();
	unsigned systems = 0, largest = 0, served = 0;
	if (t.rows == NULL) skip();
	for (unsigned i = 0; i < t.count; i++) {
		const struct profile_row *row = &t.rows[i];
		for (unsigned is_exact = 0; is_exact < 2; is_exact++) {
			take_board(&t, row->hardware, row->model, "", strcmp(row->model, "ad") == 0 ? "auc" : "top1", is_exact);
			systems++;
			if (question.count > largest) largest = question.count;
			for (unsigned which = 0; which < 5; which++) {
				set_published_objective(which);
				choose();
				assert_int_equal(answer.chosen, brute_choose());
				served += answer.chosen != SELECT_NONE;
			}
		}
	}
	assert_true(largest > 3 && largest < SELECT_VARIANTS); /* none was cut */
	print_message("%u groups of up to %u rows, five objectives, %u served\n", systems, largest, served);
	free(t.rows);
}

/* ---- for many ---- */

static void a_memo_gives_what_choosing_gives(void **state)
{
	(void)state;
	static struct select_slot slots[64];
	struct select_memo m;
	unsigned filled = 0, refused = 0;
	select_memo_init(&m, slots, 64);
	begin();
	add("a", 0.9, 1, 9, 9), add("b", 0.8, 9, 1, 1);
	choose();
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 60; i++) {
			struct select_key key = {i / 8, i / 4 % 2, (uint8_t)(i % 2), (uint8_t)(i % 4), SELECT_NONE, i % 3 == 0};
			bool is_new;
			struct select_slot *slot = select_memo_find(&m, &key, &is_new);
			if (slot == NULL) {
				refused++;
				continue;
			}
			if (is_new) select_memo_fill(slot, &answer), slot->why = (uint8_t)i, filled++;
			assert_int_equal(slot->why, i);
			assert_int_equal(slot->chosen, answer.chosen);
			assert_int_equal(slot->devices, round + 1);
		}
	}
	assert_int_equal(filled, 48);
	assert_int_equal(refused, 24);
	for (uint32_t i = 0; i < 200; i++) { /* small, so that places are shared: each member is part of the key */
		struct select_key base = {i, 1, 1, 1, 1, false}, other[6] = {base, base, base, base, base, base};
		bool is_new;
		other[0].capability_class++, other[1].figures++, other[2].context++, other[3].installed++, other[4].wanted++;
		other[5].is_dwelling = true;
		for (int k = 0; k < 6; k++) {
			select_memo_init(&m, slots, 4);
			assert_non_null(select_memo_find(&m, &base, &is_new));
			assert_non_null(select_memo_find(&m, &other[k], &is_new));
			assert_true(is_new);
		}
	}
}

static void what_to_retire_and_what_to_build(void **state)
{
	(void)state;
	struct select_survey *s = malloc(sizeof *s);
	begin();
	unsigned a = add("a", 0.9, 10, 1, 10), b = add("b", 0.8, 20, 1, 20), c = add("c", 0.95, 30, 1, 30);
	select_survey_init(s, 3);
	choose(); /* b is dominated */
	select_survey_add(s, 100, &answer, 500);
	wants.latency_wish_ms = 5;
	choose();
	select_survey_add(s, 100, &answer, 50); /* poorly */
	candidates[a].compat = candidates[c].compat = COMPAT_NO, candidates[b].compat = COMPAT_UNKNOWN;
	choose();
	select_survey_add(s, 200, &answer, 7); /* nothing runs there */
	candidates[c].compat = COMPAT_YES, wants.quality_min = 0.99;
	choose();
	select_survey_add(s, 200, &answer, 5);
	assert_true(select_survey_retires(s, b) && !select_survey_retires(s, a) && !select_survey_retires(s, c));
	assert_int_equal(s->variants[b].dominated_by, 1u << a);
	assert_true(s->variants[a].chosen_devices == 550 && s->variants[b].eligible_devices == 550);
	struct select_gap gap = select_survey_gap(s, 0);
	assert_true(gap.is_gap && gap.unserved_devices == 0 && gap.poor_devices == 50);
	assert_true(gap.nearest == a && gap.fate == SELECT_FATE_CHOSEN);
	gap = select_survey_gap(s, 1);
	assert_true(gap.is_gap && gap.unserved_devices == 12);
	assert_int_equal(gap.nearest, a); /* all fail all 12; a for one kind of reason */
	assert_int_equal(gap.fate, SELECT_FATE_INCOMPATIBLE);
	/* chosen somewhere: stays */
	select_objective_init(&wants);
	candidates[b].compat = COMPAT_YES, candidates[c].compat = COMPAT_NO;
	choose();
	assert_int_equal(answer.chosen, b);
	select_survey_add(s, 300, &answer, 1);
	assert_false(select_survey_retires(s, b));
	gap = select_survey_gap(s, 2);
	assert_false(gap.is_gap);
	for (uint32_t i = 0; i < SELECT_CLASSES; i++) select_survey_add(s, 1000 + i, &answer, 1);
	assert_true(s->more && s->class_count == SELECT_CLASSES);
	free(s);
}

static void one_that_is_kept_is_not_retired(void **state)
{
	(void)state;
	struct select_survey *s = malloc(sizeof *s);
	begin();
	add("a", 0.9, 95, 1, 10);
	question.installed = add("b", 0.8, 100, 1, 20);
	question.installed_for_ms = wants.dwell_ms;
	select_survey_init(s, 2);
	assert_string_equal(choose(), "b");
	assert_int_equal(answer.dominated, 2);
	select_survey_add(s, 1, &answer, 3);
	assert_false(select_survey_retires(s, 1));
	free(s);
}

static void transfers_wait_for_their_time(void **state)
{
	(void)state;
	int64_t until;
	struct select_transfer t = {.size_bytes = 1000, .rate_bytes_per_s = 100, .budget_left_bytes = NAN};
	assert_int_equal(select_transfer_when(&t, 0, &until), SELECT_NOW);
	t.window_from_ms = 100, t.window_until_ms = 200;
	assert_int_equal(select_transfer_when(&t, 99, &until), SELECT_WAIT_WINDOW);
	assert_int_equal(until, 100);
	assert_int_equal(select_transfer_when(&t, 100, &until), SELECT_NOW);
	assert_int_equal(select_transfer_when(&t, 200, &until), SELECT_WAIT_WINDOW);
	assert_int_equal(until, 0);
	t.longest_ms = 9999;
	assert_int_equal(select_transfer_when(&t, 150, &until), SELECT_TOO_LONG);
	t.is_link_bad = true;
	assert_int_equal(select_transfer_when(&t, 150, &until), SELECT_WAIT_LINK);
	t.is_battery_low = true;
	assert_int_equal(select_transfer_when(&t, 150, &until), SELECT_WAIT_BATTERY);
	t.small_bytes = 1000;
	assert_int_equal(select_transfer_when(&t, 150, &until), SELECT_NOW);
	t.budget_left_bytes = 999, t.budget_renews_ms = 777;
	assert_int_equal(select_transfer_when(&t, 150, &until), SELECT_NOW); /* not metered */
	t.is_metered = true;
	assert_int_equal(select_transfer_when(&t, 150, &until), SELECT_WAIT_BUDGET);
	assert_int_equal(until, 777);
	t.budget_left_bytes = 1000;
	assert_int_equal(select_transfer_when(&t, 150, &until), SELECT_NOW);
	assert_string_equal(select_when_name(SELECT_WAIT_BUDGET), "wait_budget");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_filter_names_what_it_takes_away),
		cmocka_unit_test(what_is_dominated_goes_and_says_by_whom),
		cmocka_unit_test(costs_in_the_order_of_the_objective),
		cmocka_unit_test(estimates_rule_out_and_do_not_rank),
		cmocka_unit_test(an_installed_one_is_left_for_a_gain_and_not_too_soon),
		cmocka_unit_test(an_operator_may_override_all_but_compatibility),
		cmocka_unit_test(a_bad_link_asks_for_the_smaller_and_keeps_what_serves),
		cmocka_unit_test(above_a_wish_is_poor),
		cmocka_unit_test(random_tables_against_brute_force),
		cmocka_unit_test(hysteresis_on_random_tables),
		cmocka_unit_test(float_is_dominated_on_cy8cproto_062),
		cmocka_unit_test(anomaly_detection_on_nucleo_h7a3zi),
		cmocka_unit_test(every_published_system_against_brute_force),
		cmocka_unit_test(a_memo_gives_what_choosing_gives),
		cmocka_unit_test(what_to_retire_and_what_to_build),
		cmocka_unit_test(one_that_is_kept_is_not_retired),
		cmocka_unit_test(transfers_wait_for_their_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
