/* The script of what goes wrong, and of what model versions do: parsed from command-line texts (docs/simulator.md has the grammar). */
#ifndef AVIARY_SIM_FAULTS_H
#define AVIARY_SIM_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "physics.h"

#define FAULTS_MAX 32
#define EFFECTS_MAX 32

/* X(NAME, word, what it does) */
#define FAULT_TABLE(X)                                                                                                 \
	X(BRICK, "brick", "installs the release and is never heard of again")                                              \
	X(CRASHLOOP, "crashloop", "the self-test fails in the trial")                                                      \
	X(SHADOWCRASH, "shadowcrash", "crashes soon after its start in shadow")                                            \
	X(OFFLINE, "offline", "goes away now and then; after / how long, 30s by default")                                  \
	X(WRONGCLOCK, "wrongclock", "its clock says 1970 or 2100")                                                         \
	X(FLAPPING, "flapping", "loses its connection every few seconds")                                                  \
	X(CORRUPT, "corrupt", "a byte of a download is wrong")                                                             \
	X(DUPLICATE, "duplicate", "sends each report twice")                                                               \
	X(FLOOD, "flood", "sends a hundred reports at once")                                                               \
	X(CUT, "cut", "power is cut at a write of an update")                                                              \
	X(ROT, "rot", "a stored byte of the model reads wrong: the model_hash check fails")                                \
	X(SWAPPED, "swapped", "runs other bytes than the released model's, and says their hash")                           \
	X(NAN, "nan", "its model's confidence is no number")                                                               \
	X(HOT, "hot", "40 degrees hotter, half as fast; the inference check fails")                                        \
	X(POORLINK, "poorlink", "hears its access point at -95 dBm")                                                       \
	X(STUCK, "stuck", "begins an installation and never says how it went")                                             \
	X(REDOWNLOAD, "redownload", "a DDI device downloads again and again and says nothing")

enum fault_kind {
#define X(name, word, text) FAULT_##name,
	FAULT_TABLE(X)
#undef X
	    FAULT_COUNT
};

struct fault_rule {
	enum fault_kind kind;
	double share;        /* of devices */
	int64_t duration_ms; /* offline */
	char model[65], version[65]; /* only while installing or running this; "" = always */
};
struct effect_rule {
	char model[65], version[65];
	char sha256[65]; /* first hex digits of the artifact's; "" any */
	struct model_effect effect;
};
struct faults {
	struct fault_rule rules[FAULTS_MAX];
	size_t rule_count;
	struct effect_rule effects[EFFECTS_MAX];
	size_t effect_count;
};

/* "brick=0.1@kws=1.2.0" "offline=0.02/60s" "duplicate=1". False with a reason. */
bool faults_add(struct faults *f, const char *text, char *reason, size_t reason_size);
/* "kws=1.2.0:accuracy-0.05,latency*1.3,energy*1.2,crash=0.1,temperature+4"; of one variant by the first hex digits of its SHA-256:
 * "kws=1.2.0#9f86d0:latency*3". */
bool faults_add_effect(struct faults *f, const char *text, char *reason, size_t reason_size);
/* The first rule that fits. sha256 (32 bytes) of what runs; NULL: not known. */
const struct model_effect *faults_effect(const struct faults *f, const char *model, const char *version, const uint8_t *sha256);
/* Whether the device (by its seed) has the fault under this model version; NULL model: only rules without one. The rule, or NULL. */
const struct fault_rule *faults_hit(const struct faults *f, enum fault_kind kind, uint64_t device_seed, const char *model, const char *version);
const char *fault_word(enum fault_kind k);
const char *fault_text(enum fault_kind k);

#endif
