#include "api/rollout_replies.h"

#include "service/rollout_spec.h"

#define END                                                                                                            \
	{                                                                                                                  \
		.name = NULL                                                                                                   \
	}
#define STATES "number of deployments by state; states without one are left out"

const struct field stage_reply_fields[] = {
	{.name = "stage", .type = FIELD_INT, .doc = "from 0, the canary"},
	{.name = "name", .type = FIELD_STR, .doc = "for people"},
	{.name = "mode", .type = FIELD_ENUM, .choices = "live shadow",
		.doc = "shadow: its devices run the release beside their own, without acting on it"},
	{.name = "status", .type = FIELD_STR, .doc = "how far it is"},
	{.name = "planned", .type = FIELD_INT, .doc = "devices"},
	{.name = "judged", .type = FIELD_BOOL, .doc = "its devices are compared with controls"},
	{.name = "blocks", .type = FIELD_INT, .doc = "of one canary and its controls; of control self: of one device"},
	{.name = "controls_per_block", .type = FIELD_INT, .doc = "devices of a block that stay on the old release"},
	{.name = "verdict", .type = FIELD_STR, .doc = "of the judge; none where it does not judge"},
	{.name = "looks", .type = FIELD_INT, .doc = "that the judge has taken"},
	{.name = "extensions", .type = FIELD_INT, .doc = "of the bake, as nothing showed either way"},
	{.name = "held", .type = FIELD_BOOL, .doc = "suspicion: new installs wait"},
	{.name = "held_by", .type = FIELD_INT, .doc = "the alert of a canary that holds the stage until it is resolved"},
	{.name = "started_at", .type = FIELD_INT, .doc = "absent: not yet"},
	{.name = "baking_at", .type = FIELD_INT, .doc = "since when its installs are done"},
	{.name = "ended_at", .type = FIELD_INT, .doc = "absent: not yet"},
	{.name = "deployments", .type = FIELD_DOC, .doc = STATES},
	END};

const struct field rollout_reply_fields[] = {
	{.name = "id", .type = FIELD_INT, .doc = "number of the rollout"},
	{.name = "name", .type = FIELD_STR, .doc = "for people"},
	{.name = "release", .type = FIELD_STR, .doc = "what is rolled out"},
	{.name = "status", .type = FIELD_STR,
		.doc = "creating waiting_for_approval ready starting running paused finished stopping stopped reverting or reverted"},
	{.name = "reason", .type = FIELD_STR, .doc = "why it is in this status, in words"},
	{.name = "filter", .type = FIELD_STR, .doc = "RSQL over devices"},
	{.name = "target", .type = FIELD_INT, .doc = "devices when it was made; percentages are of these"},
	{.name = "guarantee", .type = FIELD_STR, .doc = "what its alpha is worth, in words"},
	{.name = "seed_sha256", .type = FIELD_STR, .doc = "commitment to the seed of the draw, made before it"},
	{.name = "seed", .type = FIELD_STR, .doc = "64 hex digits; absent before the draw"},
	{.name = "created_by", .type = FIELD_STR, .doc = "name of a token"},
	{.name = "approved_by", .type = FIELD_STR, .doc = "absent: nobody"},
	{.name = "created_at", .type = FIELD_INT, .doc = "when it was made"},
	{.name = "started_at", .type = FIELD_INT, .doc = "absent: not yet"},
	{.name = "ended_at", .type = FIELD_INT, .doc = "absent: not yet"},
	{.name = "revision", .type = FIELD_INT, .doc = "grows with each change of the rollout itself"},
	{.name = "stages", .type = FIELD_OBJECTS, .fields = stage_reply_fields, .doc = "in order"},
	{.name = "deployments", .type = FIELD_DOC, .doc = STATES},
	{.name = "spec", .type = FIELD_OBJECT, .fields = rollout_request_fields,
		.doc = "the request with every default filled in"},
	END};

const struct field deployment_reply_fields[] = {
	{.name = "id", .type = FIELD_INT, .doc = "number of the deployment; devices know it as d-<number>"},
	{.name = "device", .type = FIELD_STR, .doc = "its id"},
	{.name = "stage", .type = FIELD_INT, .doc = "from 0"},
	{.name = "kind", .type = FIELD_ENUM, .choices = "install shadow sham",
		.doc = "shadow: run beside the device's own release; sham: a control installs what it runs, and is not counted"},
	{.name = "role", .type = FIELD_ENUM, .choices = "canary wave control", .doc = "canaries are judged"},
	{.name = "state", .type = FIELD_STR, .doc = "how far it is"},
	{.name = "attempt", .type = FIELD_INT, .doc = "from 1"},
	{.name = "progress", .type = FIELD_INT, .doc = "percent, as the device says"},
	{.name = "reason", .type = FIELD_STR, .doc = "of the last change, in words"},
	{.name = "previous_release", .type = FIELD_STR, .doc = "what a revert brings back; absent: nothing can be"},
	{.name = "offered_at", .type = FIELD_INT, .doc = "absent: not yet"},
	{.name = "deadline_at", .type = FIELD_INT, .doc = "of this attempt"},
	{.name = "ended_at", .type = FIELD_INT, .doc = "absent: not yet"},
	{.name = "updated_at", .type = FIELD_INT, .doc = "last change"},
	END};

static const struct field evidence_fields[] = {
	{.name = "metric", .type = FIELD_STR, .doc = "of the gate"},
	{.name = "opinion", .type = FIELD_STR, .doc = "of this gate"},
	{.name = "effect", .type = FIELD_NUM, .flags = FIELD_NULLABLE,
		.doc = "change of the canaries against that of their controls; null: not known"},
	{.name = "canary", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "value of the canaries; null: not known"},
	{.name = "control", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "value of the controls"},
	{.name = "canary_before", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "baseline of the canaries"},
	{.name = "control_before", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "baseline of the controls"},
	{.name = "canaries", .type = FIELD_INT, .doc = "devices with data"},
	{.name = "controls", .type = FIELD_INT, .doc = "devices with data"},
	{.name = "blocks", .type = FIELD_INT, .doc = "that were compared"},
	{.name = "without_data", .type = FIELD_INT, .doc = "devices"},
	{.name = "scale", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "unit of the scores"},
	{.name = "exact", .type = FIELD_BOOL, .doc = "p is a fraction of all draws, not a bound"},
	{.name = "p_fraction", .type = FIELD_STR, .doc = "p as draws of all draws"},
	{.name = "margin", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "harm that is tolerated"},
	{.name = "reason", .type = FIELD_STR, .doc = "of the verdict"},
	{.name = "alpha_wave", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "of this stage"},
	{.name = "alpha_bound", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "of the rollout, with hard stops"},
	{.name = "beta_level", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "of this look"},
	{.name = "guarantee", .type = FIELD_STR, .doc = "what alpha is worth"},
	{.name = "next_look_reports", .type = FIELD_INT, .doc = "when the judge looks again"},
	END};

const struct field look_reply_fields[] = {
	{.name = "stage", .type = FIELD_INT, .doc = "from 0"},
	{.name = "look", .type = FIELD_INT, .doc = "number of the look"},
	{.name = "gate", .type = FIELD_INT, .doc = "place in the rollout's gates"},
	{.name = "at", .type = FIELD_INT, .doc = "when"},
	{.name = "reports", .type = FIELD_INT, .doc = "of a device, that it is based on"},
	{.name = "blocks", .type = FIELD_INT, .doc = "that have begun"},
	{.name = "devices", .type = FIELD_INT, .doc = "canaries and controls"},
	{.name = "statistic", .type = FIELD_INT, .doc = "sum of scores"},
	{.name = "p", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "probability of this by chance alone"},
	{.name = "p_ni", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "against harm of ni_margin; null: not asked"},
	{.name = "alpha_look", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "budget of this look"},
	{.name = "alpha_spent", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "of this gate, so far"},
	{.name = "verdict", .type = FIELD_STR, .doc = "of all gates together"},
	{.name = "data", .type = FIELD_OBJECT, .fields = evidence_fields, .doc = "the figures behind it"},
	END};

const struct field block_reply_fields[] = {
	{.name = "block", .type = FIELD_INT, .doc = "number of the block"},
	{.name = "device", .type = FIELD_STR, .doc = "its id"},
	{.name = "canary", .type = FIELD_BOOL, .doc = "else a control"},
	{.name = "t0", .type = FIELD_INT, .doc = "begin of its window; absent: not yet"},
	END};

const struct field happening_reply_fields[] = {
	{.name = "id", .type = FIELD_INT, .doc = "as in /events"},
	{.name = "at", .type = FIELD_INT, .doc = "when"},
	{.name = "kind", .type = FIELD_STR, .doc = "as rollout.status"},
	{.name = "data", .type = FIELD_DOC, .doc = "of its kind"},
	END};

/* ---- dryRun ---- */

static const struct field gap_fields[] = {
	{.name = "hardware", .type = FIELD_STR, .doc = "class"},
	{.name = "missing", .type = FIELD_STR, .doc = "component without an artifact for it"},
	{.name = "devices", .type = FIELD_INT, .doc = "of this class"},
	END};
static const struct field compat_reason_fields[] = {
	{.name = "model", .type = FIELD_STR, .doc = "component"},
	{.name = "variant", .type = FIELD_STR, .doc = "of it; empty: there is one"},
	{.name = "reason", .type = FIELD_STR, .doc = "what it needs that the devices do not have, or did not tell"},
	{.name = "devices", .type = FIELD_INT, .doc = "for which it is so"},
	END};
const struct field compat_row_fields[] = {
	{.name = "hardware", .type = FIELD_STR, .doc = "class"},
	{.name = "verdict", .type = FIELD_ENUM, .choices = "no unknown yes", .doc = "unknown: the devices did not tell enough"},
	{.name = "devices", .type = FIELD_INT, .doc = "of this class with this verdict"},
	{.name = "reasons", .type = FIELD_OBJECTS, .fields = compat_reason_fields, .doc = "most devices first; a device may have several"},
	{.name = "other", .type = FIELD_INT, .doc = "devices times reasons that found no room"},
	END};
static const struct field target_fields[] = {
	{.name = "matched", .type = FIELD_INT, .doc = "devices of filter and group"},
	{.name = "devices", .type = FIELD_INT, .doc = "that would get it"},
	{.name = "already", .type = FIELD_INT, .doc = "that run it"},
	{.name = "busy", .type = FIELD_INT, .doc = "that take part in another rollout"},
	{.name = "online", .type = FIELD_INT, .doc = "of those that would get it"},
	{.name = "without_baseline", .type = FIELD_INT, .doc = "of those: they cannot be judged"},
	{.name = "can_shadow", .type = FIELD_INT, .doc = "of those: they say that they can run a release in shadow"},
	{.name = "shadow_ready", .type = FIELD_INT, .doc = "of these: they are online"},
	{.name = "unknown_release", .type = FIELD_INT,
		.doc = "of those: what they run is unknown here; as controls they re-install nothing, and no revert brings it back"},
	{.name = "incompatible", .type = FIELD_OBJECTS, .fields = gap_fields,
		.doc = "hardware that the release has nothing for"},
	{.name = "excluded", .type = FIELD_INT, .doc = "devices that cannot run what the release has for their hardware"},
	{.name = "excluded_by", .type = FIELD_OBJECTS, .fields = compat_row_fields, .doc = "the same by hardware and verdict, with reasons"},
	END};
static const struct field planned_fields[] = {
	{.name = "name", .type = FIELD_STR, .doc = "for people"},
	{.name = "mode", .type = FIELD_ENUM, .choices = "live shadow", .doc = "shadow: beside what runs, without acting on it"},
	{.name = "devices", .type = FIELD_INT, .doc = "of this stage alone"},
	{.name = "judged", .type = FIELD_BOOL, .doc = "compared with controls"},
	{.name = "blocks", .type = FIELD_INT, .doc = "of one canary and its controls; of control self: of one device"},
	{.name = "controls_per_block", .type = FIELD_INT, .doc = "devices; of control self: its earlier windows"},
	{.name = "blocks_needed", .type = FIELD_INT, .doc = "of a shadow stage: fewer could never revert"},
	{.name = "guarantee", .type = FIELD_STR, .doc = "of a shadow stage: what alpha is worth there"},
	{.name = "guarantee_text", .type = FIELD_STR, .doc = "the same in words"},
	END};
static const struct field gate_plan_fields[] = {
	{.name = "metric", .type = FIELD_STR, .doc = "of the gate"},
	{.name = "kind", .type = FIELD_STR, .doc = "how it is compared"},
	{.name = "weight", .type = FIELD_NUM, .doc = "share of alpha"},
	{.name = "alpha_look", .type = FIELD_NUM, .doc = "budget of one look"},
	{.name = "n_min", .type = FIELD_INT, .doc = "blocks that are needed to revert at all"},
	{.name = "can_revert", .type = FIELD_BOOL, .doc = "there are so many"},
	{.name = "detectable", .type = FIELD_NUM, .flags = FIELD_NULLABLE,
		.doc = "smallest effect that is likely seen; null: not known"},
	{.name = "detectable_percent", .type = FIELD_NUM, .flags = FIELD_NULLABLE, .doc = "the same, where it is a ratio"},
	{.name = "detectable_from", .type = FIELD_STR, .doc = "where the spread comes from"},
	{.name = "scale", .type = FIELD_NUM, .doc = "spread that is fixed in advance; absent: found at each look"},
	{.name = "blocks_for_margin", .type = FIELD_INT,
		.doc = "blocks that would see an effect of ni_margin; absent: not known"},
	{.name = "devices_reporting", .type = FIELD_INT, .doc = "of the target, this metric"},
	END};
static const struct field judge_plan_fields[] = {
	{.name = "guarantee", .type = FIELD_STR, .doc = "what alpha is worth"},
	{.name = "guarantee_text", .type = FIELD_STR, .doc = "the same in words"},
	{.name = "alpha", .type = FIELD_NUM, .doc = "probability that a harmless rollout is ever reverted"},
	{.name = "bound_for", .type = FIELD_STR, .doc = "what alpha bounds the reverts of: harm of exactly the margins, or any harm up to them"},
	{.name = "hold", .type = FIELD_STR, .doc = "what waits under suspicion: rest, all"},
	{.name = "scale", .type = FIELD_STR, .doc = "where the spread of scores comes from: look, baseline"},
	{.name = "alpha_hard_stop", .type = FIELD_NUM, .doc = "price of the hard stop in the first stage"},
	{.name = "alpha_bound", .type = FIELD_NUM, .doc = "both together"},
	{.name = "beta", .type = FIELD_NUM, .doc = "probability that harm of ni_margin is promoted"},
	{.name = "looks", .type = FIELD_INT, .doc = "planned"},
	{.name = "first_look_reports", .type = FIELD_INT, .doc = "of a device"},
	{.name = "last_look_reports", .type = FIELD_INT, .doc = "of a device"},
	{.name = "hard_stop_suggested", .type = FIELD_INT, .doc = "silent canaries that would be priced fairly"},
	{.name = "silence_rate", .type = FIELD_NUM, .doc = "How many devices fall silent by themselves in a day, at most; prices the hard stop."},
	{.name = "silence_rate_from", .type = FIELD_STR, .doc = "\"30 days of history\" of this fleet, or \"default\""},
	{.name = "gates", .type = FIELD_OBJECTS, .fields = gate_plan_fields, .doc = "in order"},
	END};

static const struct field past_fields[] = {
	{.name = "window_ms", .type = FIELD_INT, .doc = "length of an earlier window: the bake less its warm-up"},
	{.name = "windows", .type = FIELD_INT, .doc = "that a device typically has in the log of reports, of controls_max"},
	{.name = "devices", .type = FIELD_INT, .doc = "of the target that were asked, 512 at most"},
	{.name = "without_windows", .type = FIELD_INT, .doc = "of these: they get the release and are not judged"},
	END};

const struct field plan_reply_fields[] = {
	{.name = "target", .type = FIELD_OBJECT, .fields = target_fields, .doc = "who would get it"},
	{.name = "stages", .type = FIELD_OBJECTS, .fields = planned_fields, .doc = "in order"},
	{.name = "self", .type = FIELD_OBJECT, .fields = past_fields, .doc = "of control self: the past of the target's devices"},
	{.name = "judge", .type = FIELD_OBJECT, .fields = judge_plan_fields, .doc = "what could be seen"},
	END};
