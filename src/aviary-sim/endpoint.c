#include "endpoint.h"

#include <math.h>
#include <stdlib.h>

#define GOOD_DBM (-80)
#define METERED_DBM (-88)
#define WRONG_ANSWERS (PHYSICS_CLASSES - 1)

bool endpoint_parse(struct endpoint *e, const char *text)
{
	char *end;
	double size = e->size_bytes;
	e->right = strtod(text, &end);
	if (end == text || !(e->right >= 0 && e->right <= 1))
		return false;
	if (*end == '/') {
		text = end + 1;
		e->cost = strtod(text, &end);
		if (end == text || !(e->cost >= 0 && e->cost <= 1e6))
			return false;
	}
	if (*end == '/') {
		text = end + 1;
		size = strtod(text, &end);
	}
	e->size_bytes = size >= 0 && size <= 1e9 ? (uint32_t)size : 0;
	return end != text && *end == '\0' && size >= 0 && size <= 1e9;
}

static struct agent_offload_now now_of(const struct endpoint *e, const struct measurement *m)
{
	double rate = 1000 * exp2((m->rssi_dbm + 90) / 6);
	return (struct agent_offload_now){.link = m->rssi_dbm >= GOOD_DBM ? AGENT_LINK_GOOD : m->rssi_dbm >= METERED_DBM ? AGENT_LINK_METERED : AGENT_LINK_BAD,
		.battery_percent = (uint8_t)(100 * m->battery), .rssi_dbm = (int16_t)lround(m->rssi_dbm), .rate_kbps = (uint32_t)fmin(rate, 54000),
		.size_bytes = e->size_bytes};
}

/* P(margin < x) = x^hardness of the class; who is sure is seldom wrong. */
void endpoint_infer(const struct endpoint *e, struct agent *a, struct rng *rng, const struct physics *p, const struct measurement *m, const char *model,
	struct endpoint_tally *tally)
{
	const struct agent_offload_now now = now_of(e, m);
	for (int i = 0; i < PHYSICS_INFERENCES; i++) {
		double sure = pow(rng_uniform(rng), 1 / p->hardware->hardness);
		bool is_right = rng_uniform(rng) >= 0.45 * pow(1 - sure, 4), answer_is_right = rng_uniform(rng) < e->right;
		bool is_same = rng_uniform(rng) < 1.0 / WRONG_ANSWERS; /* two wrong ones */
		double cost = e->cost * (0.5 + rng_uniform(rng));
		uint32_t margin = (uint32_t)(sure * 10000);
		enum agent_offload_verdict v = agent_offload_decide(a, model, margin, &now);
		tally->kept += v > AGENT_OFFLOAD_AUDIT;
		if (v != AGENT_OFFLOAD_HARD && v != AGENT_OFFLOAD_AUDIT)
			continue;
		tally->sent++;
		agent_offload_answered(a, model, v, margin, is_right && answer_is_right ? true : !is_right && !answer_is_right && is_same, cost);
	}
}
