#include "service/rollout_spec.h"

#include <math.h>
#include <string.h>

#include "base/str.h"
#include "core/ddi.h"
#include "core/maintenance.h"

#define DELIVERY_WEIGHT 1000 /* what hawkBit takes where none is given */
#define OFF(type, member) .offset = offsetof(struct type, member)
#define SEEN(type, member) .present_offset = offsetof(struct type, member)
#define END                                                                                                            \
	{                                                                                                                  \
		.name = NULL                                                                                                   \
	}

static const struct field stage_fields[] = {
	{.name = "name", .type = FIELD_STR, OFF(rollout_stage_request, name), .max = 64, .flags = FIELD_NULLABLE,
		.doc = "Shown to people."},
	{.name = "percent", .type = FIELD_NUM, OFF(rollout_stage_request, percent), SEEN(rollout_stage_request, has_percent),
		.min = 0.0001, .max = 100, .flags = FIELD_NULLABLE | FIELD_OMIT_ZERO,
		.doc = "Share of the target that has the release when this stage is done: cumulative over the stages. Of a shadow stage: of the target, by itself."},
	{.name = "count", .type = FIELD_INT, OFF(rollout_stage_request, count), SEEN(rollout_stage_request, has_count), .min = 1,
		.max = 10000000, .flags = FIELD_NULLABLE | FIELD_OMIT_ZERO, .doc = "Devices of this stage, instead of a percentage."},
	{.name = "mode", .type = FIELD_ENUM, OFF(rollout_stage_request, mode), .choices = "live shadow", .flags = FIELD_NULLABLE,
		.doc = "shadow: devices that can (capability shadow) run the new version beside the old one on the same inputs without acting on it; before every live stage, and counted for no later percentage."},
	END};

static const struct field gate_fields[] = {
	{.name = "metric", .type = FIELD_STR, OFF(rollout_gate_request, metric), .min = 1, .max = 48, .flags = FIELD_REQUIRED,
		.doc = "Name of a metric in telemetry, or silence."},
	{.name = "kind", .type = FIELD_ENUM, OFF(rollout_gate_request, kind), .choices = "ratio mean logmean quantile event silence",
		.flags = FIELD_NULLABLE, .doc = "How the metric is compared; by default what its name suggests."},
	{.name = "worse", .type = FIELD_ENUM, OFF(rollout_gate_request, worse), .choices = "up down", .flags = FIELD_NULLABLE,
		.doc = "The direction of harm; ratios named accuracy or agreement are worse when down, all others when up."},
	{.name = "quantile", .type = FIELD_NUM, OFF(rollout_gate_request, quantile), .min = 0.01, .max = 0.999,
		.flags = FIELD_OMIT_ZERO | FIELD_NULLABLE, .doc = "For kind quantile; 0.95 by default."},
	{.name = "margin", .type = FIELD_NUM, OFF(rollout_gate_request, margin), SEEN(rollout_gate_request, has_margin), .min = -1e9,
		.max = 1e9, .flags = FIELD_NULLABLE,
		.doc = "Harm that is tolerated: a difference of shares for ratios, a log ratio for logmean and quantile."},
	{.name = "ni_margin", .type = FIELD_NUM, OFF(rollout_gate_request, ni_margin), SEEN(rollout_gate_request, has_ni_margin),
		.min = -1e9, .max = 1e9, .flags = FIELD_NULLABLE | FIELD_OMIT_ZERO,
		.doc = "Harm that must be ruled out before the next stage; none by default."},
	{.name = "weight", .type = FIELD_NUM, OFF(rollout_gate_request, weight), .min = 0, .max = 1,
		.flags = FIELD_NULLABLE | FIELD_OMIT_ZERO, .doc = "Share of alpha."},
	{.name = "scale", .type = FIELD_NUM, OFF(rollout_gate_request, scale), .min = 0, .max = 1e9, .flags = FIELD_NULLABLE | FIELD_OMIT_ZERO,
		.doc = "With judge.scale baseline: the spread of a device's score in units of the score; by default what the baselines say."},
	{.name = "per_stratum", .type = FIELD_BOOL, OFF(rollout_gate_request, per_stratum),
		.doc = "Half of its share tests each stratum alone: harm to one hardware class is found sooner, harm to all a little later."},
	END};

static const struct field window_fields[] = {
	{.name = "days", .type = FIELD_STRS, OFF(rollout_window_request, days), .max = 7,
		.doc = "mon tue wed thu fri sat sun; none means every day."},
	{.name = "start", .type = FIELD_STR, OFF(rollout_window_request, start), .min = 5, .max = 5, .flags = FIELD_REQUIRED,
		.doc = "HH:MM local to utc_offset_min."},
	{.name = "duration_ms", .type = FIELD_INT, OFF(rollout_window_request, duration_ms), .min = 60000, .max = 604800000,
		.flags = FIELD_REQUIRED, .doc = "How long it is open."},
	{.name = "utc_offset_min", .type = FIELD_INT, OFF(rollout_window_request, utc_offset_min), .min = -840, .max = 840,
		.doc = "Minutes east of UTC."},
	END};

static const struct field success_fields[] = {
	{.name = "percent", .type = FIELD_NUM, .offset = 0, .min = 0, .max = 100,
		.doc = "A stage has succeeded when at least this share of its devices has."},
	{.name = "min_count", .type = FIELD_INT, .offset = sizeof(double), .min = 0, .max = 10000000,
		.doc = "And at least so many devices."},
	END};

static const struct field error_fields[] = {
	{.name = "percent", .type = FIELD_NUM, .offset = offsetof(struct rollout_request, error.percent) - offsetof(struct rollout_request, error),
		.min = 0, .max = 100, .doc = "A stage has failed when more than this share of its devices has."},
	{.name = "min_count", .type = FIELD_INT,
		.offset = offsetof(struct rollout_request, error.min_count) - offsetof(struct rollout_request, error), .min = 1,
		.max = 10000000, .doc = "And at least so many devices."},
	{.name = "action", .type = FIELD_ENUM,
		.offset = offsetof(struct rollout_request, error.action) - offsetof(struct rollout_request, error), .choices = "revert pause promote",
		.doc = "What happens then; promote: nothing, whatever fails."},
	END};

#define IN_EXP(member) .offset = offsetof(struct rollout_request, rate.exponential.member) - offsetof(struct rollout_request, rate.exponential)
static const struct field exponential_fields[] = {
	{.name = "base_per_minute", .type = FIELD_INT, IN_EXP(base_per_minute), .min = 0, .max = 1000000,
		.doc = "Rate at the start; 0 switches the exponential form off."},
	{.name = "factor", .type = FIELD_NUM, IN_EXP(factor), .min = 1, .max = 10, .doc = "What the rate is multiplied with."},
	{.name = "max_per_minute", .type = FIELD_INT, IN_EXP(max_per_minute), .min = 1, .max = 1000000, .doc = "Where it ends."},
	{.name = "increase_after_succeeded", .type = FIELD_INT, IN_EXP(increase_after_succeeded), .min = 1, .max = 1000000,
		.doc = "Successes after which the rate is raised once."},
	END};

#define IN_RATE(member) .offset = offsetof(struct rollout_request, rate.member) - offsetof(struct rollout_request, rate)
static const struct field rate_fields[] = {
	{.name = "per_minute", .type = FIELD_INT, IN_RATE(per_minute), .min = 0, .max = 10000000,
		.doc = "Offers a minute, at most; 0 means no limit."},
	{.name = "exponential", .type = FIELD_OBJECT, IN_RATE(exponential), .fields = exponential_fields, .flags = FIELD_NULLABLE,
		.doc = "Starts slowly and speeds up with successes."},
	END};

static const struct field hard_stop_fields[] = {
	{.name = "silent", .type = FIELD_INT, .offset = 0, .min = -1, .max = 100000,
		.doc = "Reverts at once when so many canaries are silent; 0 = never, -1 = the fewest that its price allows. Its price is added to the bound."},
	{.name = "price", .type = FIELD_NUM, .offset = offsetof(struct rollout_request, judge.hard_stop.price) - offsetof(struct rollout_request, judge.hard_stop),
		.min = 0, .max = 0.1, .doc = "Of silent -1: the chance of a false stop that it may add over the whole rollout, split over stages as alpha is."},
	END};

#define IN_JUDGE(member) .offset = offsetof(struct rollout_request, judge.member) - offsetof(struct rollout_request, judge)
static const struct field judge_fields[] = {
	{.name = "alpha", .type = FIELD_NUM, IN_JUDGE(alpha), .doc = "Probability that a harmless rollout is ever reverted."},
	{.name = "beta", .type = FIELD_NUM, IN_JUDGE(beta), .doc = "Probability that a stage promotes harm of ni_margin."},
	{.name = "hold_p", .type = FIELD_NUM, IN_JUDGE(hold_p), .min = 0, .max = 0.5, .doc = "Suspicion: new installs wait."},
	{.name = "warmup_ms", .type = FIELD_INT, IN_JUDGE(warmup_ms), .min = 0, .max = 86400000,
		.doc = "Left out of every member's window after the start of its block."},
	{.name = "min_bake_ms", .type = FIELD_INT, IN_JUDGE(min_bake_ms), .min = 0, .max = 2592000000,
		.doc = "A stage is judged at least so long; 0: until soak_ms is over."},
	{.name = "max_bake_ms", .type = FIELD_INT, IN_JUDGE(max_bake_ms), .min = 1000, .max = 2592000000,
		.doc = "After this the judge must decide or say that it cannot."},
	{.name = "reports_planned", .type = FIELD_INT, IN_JUDGE(reports_planned), .min = 2, .max = 1000000,
		.doc = "Reports of one device that are expected in a bake: plans the looks."},
	{.name = "on_inconclusive", .type = FIELD_ENUM, IN_JUDGE(on_inconclusive), .choices = "hold promote revert",
		.doc = "What happens when the bake shows nothing either way."},
	{.name = "hold", .type = FIELD_ENUM, IN_JUDGE(hold), .choices = "rest all",
		.doc = "What waits under suspicion: rest = all but the canaries that were drawn, which keeps the bound exact; all = these too."},
	{.name = "scale", .type = FIELD_ENUM, IN_JUDGE(scale), .choices = "look baseline",
		.doc = "Where the spread of scores comes from; baseline makes the bound hold for any harm up to the margin."},
	{.name = "control", .type = FIELD_ENUM, IN_JUDGE(control), .choices = "cohort self",
		.doc = "self: each device against its own past, up to controls_max earlier windows as long as the bake, for fleets too small for controls or stages of everybody; conditional on a world that stays the same."},
	{.name = "sham", .type = FIELD_BOOL, IN_JUDGE(sham), .doc = "Controls re-install the release that they run, so that installing as such is no harm."},
	{.name = "interference", .type = FIELD_BOOL, IN_JUDGE(interference),
		.doc = "Canaries may affect controls (a shared gateway) and no unit_attribute tells how: the guarantee says so."},
	{.name = "controls", .type = FIELD_BOOL, IN_JUDGE(controls), .doc = "Draw a control cohort that stays on the old release."},
	{.name = "controls_max", .type = FIELD_INT, IN_JUDGE(controls_max), .min = 1, .max = 99, .doc = "Controls for each canary, at most."},
	{.name = "hard_stop", .type = FIELD_OBJECT, IN_JUDGE(hard_stop), .fields = hard_stop_fields, .doc = "The operator's right to stop early."},
	END};

#define IN_DELIVERY(member) .offset = offsetof(struct rollout_request, delivery.member) - offsetof(struct rollout_request, delivery)
#define IN_MAINTENANCE(member) .offset = offsetof(struct rollout_request, delivery.maintenance.member) - offsetof(struct rollout_request, delivery.maintenance)
static const struct field maintenance_fields[] = {
	{.name = "schedule", .type = FIELD_STR, IN_MAINTENANCE(schedule), .max = 256, .flags = FIELD_NULLABLE | FIELD_OMIT_ZERO,
		.doc = "When a window opens, as Quartz cron: seconds minutes hours days months weekdays [years]."},
	{.name = "duration", .type = FIELD_STR, IN_MAINTENANCE(duration), .max = 8, .flags = FIELD_NULLABLE | FIELD_OMIT_ZERO,
		.doc = "How long it is open, HH:mm:ss."},
	{.name = "timezone", .type = FIELD_STR, IN_MAINTENANCE(timezone), .max = 6, .flags = FIELD_NULLABLE | FIELD_OMIT_ZERO,
		.doc = "Offset from UTC as +02:00, or Z."},
	END};

static const struct field delivery_fields[] = {
	{.name = "type", .type = FIELD_ENUM, IN_DELIVERY(type), .choices = "forced soft timeforced downloadonly",
		.doc = "What the device is told: install at once, when it likes, when it likes until forced_at, or only download."},
	{.name = "forced_at", .type = FIELD_INT, IN_DELIVERY(forced_at), .min = 0, .max = 4102444800000, .flags = FIELD_OMIT_ZERO,
		.doc = "Of timeforced: from when on it is forced."},
	{.name = "confirm", .type = FIELD_BOOL, IN_DELIVERY(confirm), .flags = FIELD_OMIT_ZERO,
		.doc = "The device or its user has to confirm first; until then no deadline runs."},
	{.name = "weight", .type = FIELD_INT, IN_DELIVERY(weight), .min = 0, .max = 1000, .doc = "As hawkBit shows it."},
	{.name = "supersede", .type = FIELD_BOOL, IN_DELIVERY(supersede), .flags = FIELD_OMIT_ZERO,
		.doc = "Devices that are busy in another rollout are cancelled there and taken, but for those that are being reverted; of any protocol."},
	{.name = "maintenance", .type = FIELD_OBJECT, IN_DELIVERY(maintenance), .fields = maintenance_fields, .flags = FIELD_NULLABLE,
		.doc = "Windows outside of which the device may download and not install."},
	END};

#define TOP(member) .offset = offsetof(struct rollout_request, member)
const struct field rollout_request_fields[] = {
	{.name = "name", .type = FIELD_STR, TOP(name), .min = 1, .max = 128, .flags = FIELD_REQUIRED, .doc = "For people."},
	{.name = "release", .type = FIELD_STR, TOP(release), .min = 1, .max = 64, .flags = FIELD_REQUIRED, .doc = "What is rolled out."},
	{.name = "filter", .type = FIELD_STR, TOP(filter), .max = 2048, .doc = "RSQL over devices; empty means all."},
	{.name = "group", .type = FIELD_STR, TOP(group), .max = 64, .flags = FIELD_NULLABLE, .doc = "Only devices of this group."},
	{.name = "start", .type = FIELD_BOOL, TOP(start), .doc = "Start at once; else it waits in ready."},
	{.name = "approval", .type = FIELD_BOOL, TOP(approval), .doc = "Somebody else than its author has to approve it first."},
	{.name = "stages", .type = FIELD_OBJECTS, TOP(stages), .max = ROLLOUT_STAGES_MAX, .fields = stage_fields,
		.item_bytes = sizeof(struct rollout_stage_request), .doc = "In order; by default 5, 30 and 100 percent."},
	{.name = "success", .type = FIELD_OBJECT, TOP(success), .fields = success_fields, .doc = "When a stage is installed."},
	{.name = "error", .type = FIELD_OBJECT, TOP(error), .fields = error_fields, .doc = "When a stage has failed to install."},
	{.name = "soak_ms", .type = FIELD_INT, TOP(soak_ms), .min = 0, .max = 2592000000, .doc = "Wait after a stage is installed."},
	{.name = "timeout_ms", .type = FIELD_INT, TOP(timeout_ms), .min = 100, .max = 2592000000, .doc = "For one attempt of one device."},
	{.name = "retries", .type = FIELD_INT, TOP(retries), .min = 0, .max = 20, .doc = "Further attempts of a device."},
	{.name = "rate", .type = FIELD_OBJECT, TOP(rate), .fields = rate_fields, .doc = "How fast devices are told."},
	{.name = "windows", .type = FIELD_OBJECTS, TOP(windows), .max = ROLLOUT_WINDOWS_MAX, .fields = window_fields,
		.item_bytes = sizeof(struct rollout_window_request), .doc = "Maintenance windows: installs are offered only while one is open. Reverts never wait."},
	{.name = "strata", .type = FIELD_STRS, TOP(strata), .max = 4, .doc = "hardware and attribute.<name>: blocks never mix these."},
	{.name = "unit_attribute", .type = FIELD_STR, TOP(unit_attribute), .max = 64, .flags = FIELD_NULLABLE,
		.doc = "Devices with the same value of this attribute share fate (one gateway, one site) and are drawn together."},
	{.name = "priority_metric", .type = FIELD_STR, TOP(priority_metric), .max = 48, .flags = FIELD_NULLABLE,
		.doc = "Blocks are cut along its baseline; by default the first gate's."},
	{.name = "judge", .type = FIELD_OBJECT, TOP(judge), .fields = judge_fields, .doc = "The statistics of the automatic revert."},
	{.name = "gates", .type = FIELD_OBJECTS, TOP(gates), .max = ROLLOUT_GATES_MAX, .fields = gate_fields,
		.item_bytes = sizeof(struct rollout_gate_request), .doc = "What must not get worse; none means that only install failures count."},
	{.name = "devices", .type = FIELD_STRS, TOP(devices), .max = ROLLOUT_NAMED_MAX, .flags = FIELD_OMIT_ZERO,
		.doc = "Canaries by hand. Then no guarantee can be given, and the rollout says so."},
	{.name = "delivery", .type = FIELD_OBJECT, TOP(delivery), .fields = delivery_fields,
		.doc = "How devices that speak hawkBit's DDI are told; reverts are always forced, and at once."},
	END};

void rollout_request_init(struct rollout_request *q)
{
	static const char *strata[] = {"hardware"};
	*q = (struct rollout_request){
		.filter = "",
		.start = false,
		.success = {.percent = 95, .min_count = 1},
		.error = {.percent = 20, .min_count = 3, .action = "revert"},
		.soak_ms = 60000,
		.timeout_ms = 1800000,
		.retries = 2,
		.strata = {strata, 1},
	};
	q->rate.exponential.factor = 2;
	q->rate.exponential.max_per_minute = 1000;
	q->rate.exponential.increase_after_succeeded = 10;
	q->judge.alpha = 0.01;
	q->judge.beta = 0.05;
	q->judge.hold_p = 0.001;
	q->judge.max_bake_ms = 86400000;
	q->judge.reports_planned = 128;
	q->judge.on_inconclusive = "hold";
	q->judge.hold = "rest";
	q->judge.scale = "look";
	q->judge.control = "cohort";
	q->judge.hard_stop.silent = -1;
	q->judge.hard_stop.price = HARDSTOP_PRICE;
	q->delivery.type = delivery_text(DELIVERY_FORCED);
	q->delivery.weight = DELIVERY_WEIGHT;
	q->judge.controls = true;
	q->judge.controls_max = 9;
}

static void stages_default(struct rollout_request *q, struct arena *a)
{
	static const double percents[] = {5, 30, 100};
	struct rollout_stage_request *stages = arena_array(a, 3, sizeof *stages);
	for (size_t i = 0; i < 3; i++)
		stages[i] = (struct rollout_stage_request){.percent = percents[i], .has_percent = true};
	q->stages = (struct json_objects){stages, 3};
}

static enum err stages_check(struct rollout_request *q, struct arena *a, struct fault *f)
{
	if (q->stages.count == 0)
		stages_default(q, a);
	struct rollout_stage_request *stages = q->stages.items;
	double reached = 0;
	size_t live = 0;
	for (size_t i = 0; i < q->stages.count; i++) {
		struct rollout_stage_request *s = &stages[i];
		if (!s->mode)
			s->mode = "live";
		bool is_shadow = strcmp(s->mode, "shadow") == 0;
		live += !is_shadow;
		s->has_percent = s->has_percent && s->percent > 0;
		s->has_count = s->has_count && s->count > 0;
		const char *at = arena_printf(a, "/stages/%zu", i);
		if (s->has_percent == s->has_count)
			return fault_set(f, ERR_INVALID, at, "give either percent or count");
		if (is_shadow && live)
			return fault_set(f, ERR_INVALID, arena_printf(a, "%s/mode", at),
				"shadow stages come before the first live one: after it devices run the release anyway");
		if (s->has_percent && !is_shadow && s->percent <= reached)
			return fault_set(f, ERR_INVALID, arena_printf(a, "%s/percent", at),
				"percentages are cumulative: must be above %g", reached);
		if (s->has_percent && !is_shadow)
			reached = s->percent;
		if (!s->name || !s->name[0])
			s->name = is_shadow ? i == 0 ? "shadow" : arena_printf(a, "shadow %zu", i + 1)
				: live == 1 ? "canary" : arena_printf(a, "wave %zu", live);
	}
	return live ? ERR_OK : fault_set(f, ERR_INVALID, "/stages", "every stage is in shadow: one must be live, or the release reaches nobody");
}

/* What a metric's name says about it, for requests that give only the name. */
struct convention {
	const char *metric, *kind, *worse;
	double margin;
};
static const struct convention conventions[] = {
	{"accuracy", "ratio", "down", 0.005},    {"agreement", "ratio", "down", 0.005}, {"latency_ms", "quantile", "up", 0.0487902},
	{"energy_mj", "logmean", "up", 0.0487902}, {"confidence", "mean", "down", 0.005}, {"crash", "event", "up", 0},
	{"reboot", "event", "up", 0},            {"oom", "event", "up", 0},             {"silence", "silence", "up", 0},
	{"error", "ratio", "up", 0.002},
};

static const struct convention *convention_find(const char *metric)
{
	for (size_t i = 0; i < sizeof conventions / sizeof *conventions; i++)
		if (strcmp(conventions[i].metric, metric) == 0)
			return &conventions[i];
	return NULL;
}

static enum err gate_check(struct rollout_gate_request *g, const char *at, struct arena *a, struct fault *f)
{
	if (!str_is_metric(g->metric, strlen(g->metric)))
		return fault_set(f, ERR_INVALID, arena_printf(a, "%s/metric", at), "not a metric name");
	const struct convention *known = convention_find(g->metric);
	if (!g->kind && !known)
		return fault_set(f, ERR_INVALID, arena_printf(a, "%s/kind", at), "required: the name %s does not suggest one", g->metric);
	if (!g->kind)
		g->kind = known->kind;
	bool same_kind = known && strcmp(known->kind, g->kind) == 0;
	if (!g->worse)
		g->worse = known ? known->worse : "up";
	if (!g->has_margin)
		g->margin = same_kind ? known->margin : 0;
	if (g->quantile <= 0)
		g->quantile = 0.95;
	g->has_margin = true;
	if (g->margin < 0)
		return fault_set(f, ERR_INVALID, arena_printf(a, "%s/margin", at),
			"margins are sizes of harm and not negative; worse tells the direction");
	if (g->has_ni_margin && g->ni_margin < 0)
		return fault_set(f, ERR_INVALID, arena_printf(a, "%s/ni_margin", at), "must not be negative");
	return ERR_OK;
}

static enum err gates_check(struct rollout_request *q, struct arena *a, struct fault *f)
{
	struct rollout_gate_request *gates = q->gates.items;
	for (size_t i = 0; i < q->gates.count; i++) {
		enum err e = gate_check(&gates[i], arena_printf(a, "/gates/%zu", i), a, f);
		if (e)
			return e;
	}
	if (q->gates.count && !q->priority_metric)
		for (size_t i = 0; i < q->gates.count && !q->priority_metric; i++)
			if (strcmp(gates[i].kind, "event") != 0 && strcmp(gates[i].kind, "silence") != 0)
				q->priority_metric = gates[i].metric;
	return ERR_OK;
}

static enum err strata_check(const struct rollout_request *q, struct arena *a, struct fault *f)
{
	for (size_t i = 0; i < q->strata.count; i++) {
		const char *s = q->strata.items[i];
		if (strcmp(s, "hardware") != 0 && !(str_starts(s, "attribute.") && s[10]))
			return fault_set(f, ERR_INVALID, arena_printf(a, "/strata/%zu", i), "must be hardware or attribute.<name>");
	}
	return ERR_OK;
}

bool rollout_scale_is_fixed(const struct rollout_request *q)
{
	return strcmp(q->judge.scale, "baseline") == 0;
}

static bool has_silence_gate(const struct rollout_request *q)
{
	const struct rollout_gate_request *gates = q->gates.items;
	for (size_t i = 0; i < q->gates.count; i++)
		if (strcmp(gates[i].kind, "silence") == 0)
			return true;
	return false;
}

/* A shadow stage without a gate that can tell the versions apart would pass whatever comes. */
static enum err shadow_check(const struct rollout_request *q, struct arena *a, struct fault *f)
{
	const struct rollout_stage_request *stages = q->stages.items;
	const struct rollout_gate_request *gates = q->gates.items;
	bool has_pairs = false;
	for (size_t i = 0; i < q->gates.count; i++)
		has_pairs = has_pairs || strcmp(gates[i].kind, "silence") != 0;
	for (size_t i = 0; i < q->stages.count; i++)
		if (strcmp(stages[i].mode, "shadow") == 0 && !has_pairs)
			return fault_set(f, ERR_INVALID, arena_printf(a, "/stages/%zu/mode", i),
				"a shadow stage compares both versions by gates: add one (silence is none: one device falls silent with both)");
	return ERR_OK;
}

static enum err sham_check(const struct rollout_request *q, struct fault *f)
{
	if (!q->judge.sham)
		return ERR_OK;
	if (q->gates.count == 0 || !q->judge.controls)
		return fault_set(f, ERR_INVALID, "/judge/sham", "there are no controls: they need gates, and judge.controls");
	if (strcmp(q->judge.control, "self") == 0)
		return fault_set(f, ERR_INVALID, "/judge/sham", "with control self each canary is its own control: nobody is left to re-install");
	return ERR_OK;
}

/* What is about other devices makes no sense where a device is compared with itself. Named devices and shadow stages do: the former chooses who, the
 * latter has pairs of its own. */
static enum err self_check(const struct rollout_request *q, struct fault *f)
{
	int64_t bake_ms = q->soak_ms > q->judge.min_bake_ms ? q->soak_ms : q->judge.min_bake_ms;
	if (strcmp(q->judge.control, "self") != 0)
		return ERR_OK;
	if (q->gates.count == 0)
		return fault_set(f, ERR_INVALID, "/judge/control", "self compares a device with its own past by gates: add one");
	if (q->judge.interference)
		return fault_set(f, ERR_INVALID, "/judge/interference", "with control self no device is compared with another one");
	if (q->unit_attribute)
		return fault_set(f, ERR_INVALID, "/unit_attribute", "with control self each device is a block of its own: devices that share fate cannot be one");
	if (bake_ms <= q->judge.warmup_ms)
		return fault_set(f, ERR_INVALID, "/soak_ms",
			"control self compares windows as long as the bake (soak_ms, min_bake_ms) less warmup_ms: nothing is left");
	return ERR_OK;
}

/* Also where nothing will be judged: a request is right or wrong whatever the fleet looks like. */
static enum err judge_fields_check(const struct rollout_request *q, struct fault *f)
{
	if (!(q->judge.alpha > 0 && q->judge.alpha < 0.5))
		return fault_set(f, ERR_INVALID, "/judge/alpha", "must lie between 0 and 0.5");
	if (!(q->judge.beta > 0 && q->judge.beta < 0.5))
		return fault_set(f, ERR_INVALID, "/judge/beta", "must lie between 0 and 0.5");
	if (!q->judge.controls && q->gates.count > 0 && q->devices.count == 0 && strcmp(q->judge.control, "self") != 0)
		return fault_set(f, ERR_INVALID, "/judge/controls", "gates compare a canary with controls: without them remove the gates");
	const struct rollout_gate_request *gates = q->gates.items;
	for (size_t i = 0; i < q->gates.count; i++)
		if (gates[i].scale > 0 && !rollout_scale_is_fixed(q))
			return fault_set(f, ERR_INVALID, "/judge/scale", "a gate's scale is used with baseline; look finds it at each look");
	if (q->judge.hard_stop.silent > 0 && !has_silence_gate(q))
		return fault_set(f, ERR_INVALID, "/judge/hard_stop/silent", "needs a gate on silence: without it nobody is known to be silent");
	if (q->judge.max_bake_ms < q->judge.min_bake_ms)
		return fault_set(f, ERR_INVALID, "/judge/max_bake_ms", "must not be below min_bake_ms");
	return ERR_OK;
}

static enum err delivery_check(struct rollout_request *q, struct fault *f)
{
	struct maintenance m;
	const char *schedule = q->delivery.maintenance.schedule, *what = NULL;
	if (strcmp(q->delivery.type, delivery_text(DELIVERY_TIMEFORCED)) == 0 && q->delivery.forced_at == 0)
		return fault_set(f, ERR_INVALID, "/delivery/forced_at", "is required: timeforced is soft until then");
	if (!schedule || !schedule[0]) {
		q->delivery.maintenance.schedule = NULL;
		return ERR_OK;
	}
	if (!q->delivery.maintenance.timezone)
		q->delivery.maintenance.timezone = "Z";
	if (!q->delivery.maintenance.duration)
		return fault_set(f, ERR_INVALID, "/delivery/maintenance/duration", "is required: how long the window is open");
	return maintenance_parse(schedule, q->delivery.maintenance.duration, q->delivery.maintenance.timezone, &m, &what) ? ERR_OK
		: fault_set(f, ERR_INVALID, "/delivery/maintenance", "%s", what);
}

enum err rollout_request_check(struct rollout_request *q, struct arena *a, struct fault *f)
{
	enum err e = stages_check(q, a, f);
	if (!e)
		e = gates_check(q, a, f);
	if (!e)
		e = strata_check(q, a, f);
	if (!e)
		e = shadow_check(q, a, f);
	if (!e)
		e = sham_check(q, f);
	if (!e)
		e = self_check(q, f);
	if (!e)
		e = judge_fields_check(q, f);
	return e ? e : delivery_check(q, f);
}

void rollout_request_write(const struct rollout_request *q, struct buf *out)
{
	json_encode(rollout_request_fields, q, out);
}

enum err rollout_request_read(const char *text, struct rollout_request *q, struct arena *a, struct fault *f)
{
	struct json *root = NULL;
	enum err e = json_parse(text, strlen(text), &root, f);
	if (e)
		return e;
	rollout_request_init(q);
	e = json_bind(rollout_request_fields, root, q, a, f);
	json_free(root);
	return e ? e : rollout_request_check(q, a, f);
}

uint32_t rollout_request_gates(const struct rollout_request *q, struct judge_gate gates[JUDGE_GATES_MAX])
{
	const struct rollout_gate_request *in = q->gates.items;
	uint32_t count = (uint32_t)q->gates.count;
	for (uint32_t i = 0; i < count; i++) {
		enum metric_kind kind = METRIC_MEAN;
		double quantile = in[i].quantile;
		(void)metric_kind_parse(in[i].kind, &kind, &quantile);
		judge_gate_init(&gates[i], in[i].metric, kind);
		gates[i].worse = strcmp(in[i].worse, "down") == 0 ? JUDGE_WORSE_DOWN : JUDGE_WORSE_UP;
		gates[i].quantile = quantile;
		gates[i].margin = in[i].margin;
		gates[i].ni_margin = in[i].has_ni_margin ? in[i].ni_margin : 0;
		gates[i].weight = in[i].weight;
		gates[i].fixed_scale = rollout_scale_is_fixed(q) ? in[i].scale : 0;
		gates[i].per_stratum = in[i].per_stratum;
	}
	judge_gates_normalise(gates, count);
	return count;
}
