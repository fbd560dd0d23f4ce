/* Upstreams: where new versions of a model come from. What their documents say, when they are asked again, which version is taken.
 *
 * Documents are hostile until shown otherwise: every text is bounded, nothing is allocated, a version is read at a time. Formats:
 * docs/upstreams.md. Not here: HTTP, rows, alerts (service/upstreams.h, api/upstream_in.h).
 */
#ifndef AVIARY_CORE_UPSTREAM_H
#define AVIARY_CORE_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/err.h"
#include "base/jpull.h"
#include "core/names.h"

#define UPSTREAM_VERSIONS_MAX 1000  /* of one upstream */
#define UPSTREAM_ARTIFACTS_MAX 64   /* of one version, as in a manifest */
#define UPSTREAM_DOCUMENT_BYTES (4 << 20)
#define UPSTREAM_URL_BYTES 1025     /* with NUL */
#define UPSTREAM_FILE_BYTES 129
#define UPSTREAM_NOTES_BYTES 1025
#define UPSTREAM_REDIRECTS_MAX 5
#define UPSTREAM_WHY_BYTES 256

/* Why an upstream, or one of its versions, is not followed. X(NAME, text, whether a version is refused by it for good) */
#define UPSTREAM_FAULT_TABLE(X)                                                                                        \
	X(NONE, "", 0)                                                                                                     \
	X(UNREACHABLE, "unreachable", 0)   /* no answer, or not the expected status */                                     \
	X(DOCUMENT, "document", 0)         /* is not what its format says */                                               \
	X(TOO_LARGE, "too_large", 0)       /* a document, or more bytes than declared */                                   \
	X(SIGNATURE, "signature", 0)                                                                                       \
	X(REPLAY, "replay", 0)             /* an older index than one that was seen */                                     \
	X(SHRUNK, "shrunk", 0)             /* a published version is not there any more */                                 \
	X(CHANGED, "changed", 0)           /* a published version has other contents */                                    \
	X(REDIRECT, "redirect", 0)         /* too many, or to what is no https:// address */                               \
	X(ADDRESS, "address", 0)           /* that may not be called */                                                    \
	X(CONTENT, "content", 1)           /* other bytes came than the hash says */                                       \
	X(FILE, "file", 1)                 /* its content is refused by inspection */                                      \
	X(CONFLICT, "conflict", 1)         /* the catalog has this version with other contents */                          \
	X(QUALITY, "quality", 1)           /* declared worse than what runs */                                             \
	X(INCOMPATIBLE, "incompatible", 1) /* no device can run it */                                                      \
	X(POLICY, "policy", 1)             /* release or rollout cannot be made as the policy says */                      \
	X(REVERTED, "reverted", 1)         /* its rollout was taken back */
enum upstream_fault {
#define X(name, text, final) UPSTREAM_FAULT_##name,
	UPSTREAM_FAULT_TABLE(X)
#undef X
	    UPSTREAM_FAULT_COUNT
};
const char *upstream_fault_text(enum upstream_fault f);
bool upstream_fault_parse(const char *text, enum upstream_fault *out);

/* How far a version is. X(NAME, text, whether it is under way) */
#define UPSTREAM_STATUS_TABLE(X)                                                                                       \
	X(SEEN, "seen", 0)           /* published; not taken */                                                            \
	X(FETCHING, "fetching", 1)   /* is in the catalog, contents are on their way */                                    \
	X(FETCHED, "fetched", 1)     /* contents are there; to be checked */                                               \
	X(RELEASED, "released", 1)   /* a release is made; the rollout is to be */                                         \
	X(ROLLING, "rolling", 1)     /* its rollout goes on */                                                             \
	X(DONE, "done", 0)                                                                                                 \
	X(REFUSED, "refused", 0)                                                                                           \
	X(REVERTED, "reverted", 0)
enum upstream_status {
#define X(name, text, busy) UPSTREAM_##name,
	UPSTREAM_STATUS_TABLE(X)
#undef X
	    UPSTREAM_STATUS_COUNT
};
const char *upstream_status_text(enum upstream_status s);
bool upstream_status_parse(const char *text, enum upstream_status *out);
bool upstream_status_is_busy(enum upstream_status s);

/* ---- documents ---- */

struct upstream_artifact {
	char hardware[NAME_BYTES], variant[NAME_BYTES]; /* variant "" */
	char file[UPSTREAM_FILE_BYTES]; /* last part of the address where it is not told */
	char url[UPSTREAM_URL_BYTES];   /* as in the document: absolute or relative */
	char sha256[SHA256_HEX];
	int64_t size_bytes;
	struct slice format, requires, quality; /* raw JSON in the document; len 0: absent */
};
struct upstream_record { /* about 90 KiB: keep it on the heap */
	char model[NAME_BYTES];         /* "" where the record does not say */
	char version[NAME_BYTES];
	char notes[UPSTREAM_NOTES_BYTES];
	struct slice quality;           /* of the whole version, for artifacts that have none of their own */
	bool is_withdrawn;              /* still listed, and not to be taken */
	unsigned artifact_count;
	struct upstream_artifact artifacts[UPSTREAM_ARTIFACTS_MAX]; /* by hardware and variant */
};
/* One version: {"version","artifacts":[...],"notes","quality","withdrawn","model"}. Members that are not known are passed over, so that
 * formats can grow. ERR_INVALID or ERR_BAD_REQUEST with the reason. */
AVIARY_MUST_CHECK enum err upstream_record_parse(struct upstream_record *r, const char *text, size_t len, struct fault *f);
/* Hex SHA-256 over what devices would get: hardware, variant, hash and size of each artifact. Equal in any order of the document. */
void upstream_record_digest(const struct upstream_record *r, char out[SHA256_HEX]);

/* An index: {"format":"aviary-index-1","model","published","versions":[...]}. */
#define UPSTREAM_INDEX_FORMAT "aviary-index-1"
struct upstream_index {
	char model[NAME_BYTES];
	int64_t published;   /* grows with each publication; 0: not told */
	unsigned version_count;
	const char *text;
	struct slice versions; /* the array */
};
AVIARY_MUST_CHECK enum err upstream_index_parse(struct upstream_index *x, const char *text, size_t len, struct fault *f);
/* Calls back with each element of "versions", raw, in order; false stops. ERR_TOO_LARGE: more than UPSTREAM_VERSIONS_MAX. */
AVIARY_MUST_CHECK enum err upstream_index_each(const struct upstream_index *x, bool (*fn)(void *ctx, struct slice record), void *ctx, struct fault *f);

/* A signed document: {"format":"aviary-signed-1","payload":"<base64>","signature":"<base64>"}; Ed25519 over the domain, one zero byte, the
 * payload's bytes. The domain is the payload's kind, so that a record cannot stand for an index. */
#define UPSTREAM_SIGNED_FORMAT "aviary-signed-1"
#define UPSTREAM_INDEX_DOMAIN "aviary-index-1"
#define UPSTREAM_RECORD_DOMAIN "aviary-version-1"
bool upstream_is_signed(struct slice document); /* it has that format; whether rightly is another question */
/* The payload into `out` (at least document.len bytes), *out_len without a NUL. false with the reason in *why: no envelope, no
 * base64, or the signature is not the key's. key NULL: nobody's signature is asked for, and none is looked at. */
bool upstream_open_signed(struct slice document, const uint8_t key[ED25519_KEY_BYTES], const char *domain, char *out, size_t *out_len,
	const char **why);
/* A public key as operators give it: base64 of 32 bytes, or the PEM that `openssl pkey -pubout` prints (RFC 8410). */
bool upstream_key_parse(const char *text, uint8_t key[ED25519_KEY_BYTES]);

/* A bucket's listing, ListObjectsV2 of S3: the subset of XML that such answers use. No document type, no entities but XML's own five and
 * numbers, elements at most 8 deep. */
struct upstream_listing {
	const char *text;
	size_t len, at;
	bool is_truncated;
	char token[UPSTREAM_URL_BYTES]; /* NextContinuationToken */
	unsigned count;
	bool is_ended;
};
struct upstream_object {
	char key[UPSTREAM_URL_BYTES];
	char etag[160];
	int64_t size_bytes;
};
void upstream_listing_init(struct upstream_listing *l, const char *text, size_t len);
/* The next object; *found false: that was all, and is_truncated and token are valid. */
AVIARY_MUST_CHECK enum err upstream_listing_next(struct upstream_listing *l, struct upstream_object *o, bool *found, struct fault *f);
/* "<prefix><version>/<file>" into its parts; false for other keys. `version` is SemVer. */
bool upstream_split_key(const char *prefix, const char *key, char version[NAME_BYTES], char file[UPSTREAM_FILE_BYTES]);

/* ---- addresses ---- */

/* https://host[:port][/...] without user, blanks and control characters. */
bool upstream_url_is_good(const char *url);
/* A reference against a base, both of the above kind: absolute, //host, /path, or relative. false: no good URL comes out. */
bool upstream_url_join(const char *base, const char *ref, char out[UPSTREAM_URL_BYTES]);
bool upstream_url_same_origin(const char *a, const char *b); /* what was sent to one may be sent to the other */

/* ---- when ---- */

#define UPSTREAM_INTERVAL_MIN_MS 1000
/* When it is asked again: interval and a tenth of it either way; after `failures` in a row from a minute (or the interval, where
 * that is shorter) doubling to an hour (or the interval, where that is longer); no earlier than the answer's Retry-After, of which a
 * day counts. */
int64_t upstream_next_ms(int64_t now_ms, int64_t interval_ms, unsigned failures, int64_t retry_after_ms, uint64_t random);

/* ---- which ---- */

struct upstream_offer {
	const char *version;
	enum upstream_status status;
	bool is_withdrawn;
};
struct upstream_rules {
	bool takes_prereleases;
	const char *running; /* newest version that devices run; NULL: none known */
};
/* The newest version that may be taken: SemVer, not withdrawn, newer than every version that was taken before and than what runs; none while one is
 * under way. -1: none; `why` says what became of the newest. */
int upstream_choose(const struct upstream_offer *offers, size_t count, const struct upstream_rules *rules, char why[UPSTREAM_WHY_BYTES]);

/* Declared quality of a version against that of what runs: JSON objects of numbers, larger is better but for names in `lower_is_better` (and
 * those that begin with loss, error, latency, energy, or end with _ms, _uj, _bytes). Worse by more than the margin, or silent about
 * what the other one tells: false with the reason. Figures from different evaluations ("evaluated_on") are not compared: false,
 * too. Nothing known of what runs: true. */
struct upstream_quality_rule {
	double margin; /* of the figure itself: 0.005 lets 0.902 follow 0.905 */
	const char *const *lower_is_better;
	size_t lower_count;
};
bool upstream_quality_holds(struct slice fresh, struct slice running, const struct upstream_quality_rule *rule, char why[UPSTREAM_WHY_BYTES]);

#endif
