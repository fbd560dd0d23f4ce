#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/select.h"

struct sentence {
	char *out;
	size_t len;
};

static void add(struct sentence *s, const char *fmt, ...) AVIARY_PRINTF(2, 3);

static void add(struct sentence *s, const char *fmt, ...)
{
	va_list args;
	if (s->len + 1 >= SELECT_TEXT_BYTES) return;
	va_start(args, fmt);
	int n = vsnprintf(s->out + s->len, SELECT_TEXT_BYTES - s->len, fmt, args);
	va_end(args);
	s->len = n < 0 || s->len + (size_t)n >= SELECT_TEXT_BYTES ? SELECT_TEXT_BYTES - 1 : s->len + (size_t)n;
}

static void add_figure(struct sentence *s, const struct profile_figure *f)
{
	if (isnan(f->value)) add(s, "unknown");
	else add(s, "%.6g (%s)", f->value, profile_source_name((enum profile_source)f->source));
}

/* "energy_uj 5 (class) > 3 (device)" for each figure in which the two differ and both are known. */
static void add_differences(struct sentence *s, const struct select_candidate *a, const struct select_candidate *b)
{
	static const enum profile_figure_kind kinds[] = {PROFILE_QUALITY, PROFILE_LATENCY_P95, PROFILE_ENERGY};
	const char *between = ": ";
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		const struct profile_figure *x = &a->figures->of[kinds[i]], *y = &b->figures->of[kinds[i]];
		if (isnan(x->value) || isnan(y->value) || x->value == y->value) continue;
		add(s, "%s%s ", between, profile_figure_name(kinds[i]));
		add_figure(s, x);
		add(s, x->value > y->value ? " > " : " < ");
		add_figure(s, y);
		between = ", ";
	}
	if (a->size_bytes != b->size_bytes)
		add(s, "%sbytes %.0f %c %.0f", between, a->size_bytes, a->size_bytes > b->size_bytes ? '>' : '<', b->size_bytes);
}

static void add_limit(struct sentence *s, const char *name, const struct profile_figure *f, const char *is, double limit)
{
	add(s, ": %s ", name);
	add_figure(s, f);
	add(s, " %s %.6g", is, limit);
}

/* Behind the name of the fate, what it was about. */
static void add_figures(struct sentence *s, const struct select_question *q, const struct select_answer *a, unsigned variant)
{
	const struct select_candidate *c = &q->candidates[variant];
	const struct profile_figure *f = c->figures->of;
	const struct select_explained *v = &a->variants[variant];
	switch ((enum select_fate)v->fate) {
	case SELECT_FATE_CHOSEN: add(s, ": %s", select_why_name((enum select_why)a->why)); break;
	case SELECT_FATE_COSTLIER:
		add(s, " than %s by %s", q->candidates[v->other].id,
			v->cost < SELECT_COSTS ? select_cost_name((enum select_cost)v->cost) : "weights");
		add_differences(s, c, &q->candidates[v->other]);
		break;
	case SELECT_FATE_BETTER:
		add(s, " than %s, which stays (%s)", q->candidates[v->other].id, select_why_name((enum select_why)a->why));
		add_differences(s, c, &q->candidates[v->other]);
		break;
	case SELECT_FATE_TIE: add(s, " with %s, which comes first by name", q->candidates[v->other].id); break;
	case SELECT_FATE_DOMINATED:
		add(s, " by %s", q->candidates[v->other].id);
		add_differences(s, c, &q->candidates[v->other]);
		break;
	case SELECT_FATE_QUALITY_LOW: add_limit(s, "quality", &f[PROFILE_QUALITY], "<", q->objective->quality_min); break;
	case SELECT_FATE_TOO_SLOW: add_limit(s, "latency_p95_ms", &f[PROFILE_LATENCY_P95], ">", q->objective->latency_max_ms); break;
	case SELECT_FATE_TOO_HUNGRY: add_limit(s, "energy_uj", &f[PROFILE_ENERGY], ">", q->objective->energy_max_uj); break;
	default: break; /* the name says it all; reasons of compatibility are core/compat.h's */
	}
}

void select_explain(const struct select_question *q, const struct select_answer *a, unsigned variant,
                    char out[SELECT_TEXT_BYTES])
{
	struct sentence s = {out, 0};
	out[0] = '\0';
	if (variant >= q->count) return;
	add(&s, "%s", select_fate_name((enum select_fate)a->variants[variant].fate));
	add_figures(&s, q, a, variant);
}
