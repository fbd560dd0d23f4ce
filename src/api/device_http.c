/* What devices fetch over HTTP (docs/protocol.md, "HTTP for devices"): the desired document, their artifacts, the public key.
 *
 * A device proves itself with its own secret, not with a token, and reaches only what is its own. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "api/route.h"
#include "base/crypto.h"
#include "base/str.h"
#include "net/http.h"
#include "service/catalog.h"
#include "service/offloading.h"
#include "service/registry.h"
#include "service/releases.h"
#include "service/rollouts.h"
#include "service/selection.h"
#include "service/signing.h"
#include "service/unit.h"

#define DEVICE "/device/v1/{device}"
#define DOCUMENT_BYTES_MAX 65536 /* docs/protocol.md: devices keep it in one buffer */
#define DOCUMENT_TAIL_BYTES 64   /* what follows the member offload, its name included */
#define SECRET_BYTES 64          /* hex digits */

/* Authorization: Bearer <device>:<secret>. 401 for whoever does not prove to be a device, 403 for another device's path. */
static enum err authenticate(struct api_request *rq, struct device_state **device)
{
	static const char wanted[] = "a header Authorization: Bearer <device>:<secret> is wanted";
	const char *header = http_header(rq->http, "Authorization");
	if (!header || strncasecmp(header, "Bearer ", 7) != 0)
		return fault_set(rq->call.fault, ERR_UNAUTHORIZED, "", wanted);
	const char *text = header + 7 + strspn(header + 7, " ");
	const char *colon = strrchr(text, ':'); /* ids may have colons, secrets have none */
	size_t id_len = colon ? (size_t)(colon - text) : 0;
	if (id_len < 1 || id_len > DEVICE_ID_MAX || strlen(colon + 1) != SECRET_BYTES)
		return fault_set(rq->call.fault, ERR_UNAUTHORIZED, "", wanted);
	char id[DEVICE_ID_MAX + 1];
	memcpy(id, text, id_len);
	id[id_len] = '\0';
	if (!registry_check_secret(&rq->call, id, colon + 1, SECRET_BYTES))
		return fault_set(rq->call.fault, ERR_UNAUTHORIZED, "", "this device is unknown, or its secret is another one");
	if (strcmp(id, rq->param[0]) != 0)
		return fault_set(rq->call.fault, ERR_FORBIDDEN, "", "a device reaches its own resources only");
	*device = registry_find(rq->call.s->registry, id);
	return *device ? ERR_OK : fault_set(rq->call.fault, ERR_NOT_FOUND, "", "there is no such device");
}

/* ---- the desired document ---- */

static void put_base64(struct api_request *rq, const char *key, const void *data, size_t len)
{
	char *text = arena_alloc(rq->call.arena, base64_encoded_len(len) + 1);
	base64_encode(data, len, text);
	json_str(&rq->out, key, text);
}

static void put_artifact(struct api_request *rq, const struct artifact_row *a)
{
	json_open_object(&rq->out);
	json_str(&rq->out, "sha256", a->sha256);
	json_int(&rq->out, "size_bytes", a->size_bytes);
	json_str(&rq->out, "url", arena_printf(rq->call.arena, "/device/v1/%s/artifacts/%s", rq->param[0], a->sha256));
	json_close_object(&rq->out);
}

/* The variants that were chosen for this device. A component without one is left out: the device refuses the release and says so. */
static enum err put_artifacts(struct api_request *rq, const struct device_state *d, int64_t release, const char *parts)
{
	struct component_row *components = NULL;
	size_t count = 0;
	enum err e = releases_components(&rq->call, release, &components, &count);
	json_key(&rq->out, "artifacts");
	json_open_array(&rq->out);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		struct artifact_row artifact;
		e = selection_artifact(&rq->call, d, parts, release, &components[i], &artifact);
		if (e == ERR_OK)
			put_artifact(rq, &artifact);
		else if (e == ERR_NOT_FOUND)
			e = ERR_OK;
	}
	json_close_array(&rq->out);
	return e;
}

static enum err put_release(struct api_request *rq, const struct device_state *d, int64_t id, int64_t counter, const char *parts)
{
	struct release_row release;
	struct manifest_row manifest;
	enum err e = releases_get(&rq->call, id, &release);
	if (e == ERR_OK)
		e = counter > 0 ? releases_manifest(&rq->call, counter, &manifest) : releases_newest_manifest(&rq->call, id, &manifest);
	if (e != ERR_OK)
		return e;
	json_key(&rq->out, "release");
	json_open_object(&rq->out);
	json_str(&rq->out, "name", release.name);
	json_int(&rq->out, "counter", manifest.counter);
	put_base64(rq, "manifest", manifest.bytes, manifest.len);
	put_base64(rq, "signature", manifest.signature, ED25519_SIGNATURE_BYTES);
	json_str(&rq->out, "key_id", manifest.key_id);
	e = put_artifacts(rq, d, id, parts);
	json_close_object(&rq->out);
	return e;
}

static void put_deployment(struct api_request *rq, const struct desired_target *t)
{
	json_key(&rq->out, "deployment");
	json_open_object(&rq->out);
	json_str(&rq->out, "id", arena_printf(rq->call.arena, "d-%lld", (long long)t->deployment));
	json_int(&rq->out, "attempt", t->attempt);
	json_str(&rq->out, "action", t->action);
	json_int(&rq->out, "timeout_ms", t->timeout_ms);
	json_close_object(&rq->out);
}

static enum err put_shadow(struct api_request *rq, const struct device_state *d, const struct desired_target *t)
{
	json_key(&rq->out, "shadow");
	json_open_object(&rq->out);
	json_str(&rq->out, "id", arena_printf(rq->call.arena, "d-%lld", (long long)t->shadow.deployment));
	json_int(&rq->out, "attempt", t->shadow.attempt);
	json_int(&rq->out, "timeout_ms", t->shadow.timeout_ms);
	enum err e = put_release(rq, d, t->shadow.release, t->shadow.counter, t->shadow.parts);
	json_close_object(&rq->out);
	return e;
}

/* Left out where the document has no room for it: an update is worth more. */
static enum err put_offload(struct api_request *rq, const struct device_state *d, int64_t release)
{
	struct buf b = BUF_INIT;
	enum err e = offloading_put_document(&rq->call, d, release, &b);
	if (e == ERR_OK && b.len > 0 && rq->out.len + b.len + DOCUMENT_TAIL_BYTES <= DOCUMENT_BYTES_MAX)
		json_raw(&rq->out, "offload", buf_cstr(&b));
	buf_done(&b);
	return e;
}

static enum err put_document(struct api_request *rq, const struct device_state *d)
{
	struct desired_target target = {0};
	const char *config = "{}";
	int64_t revision;
	enum err e = rollouts_desired(&rq->call, d->row, &target);
	if (e == ERR_OK)
		e = registry_twin(&rq->call, d, TWIN_DESIRED, &config, &revision);
	if (e != ERR_OK)
		return e;
	json_open_object(&rq->out);
	json_str(&rq->out, "device", d->id);
	json_int(&rq->out, "rev", d->desired_rev);
	if (target.has_deployment)
		put_deployment(rq, &target);
	if (target.release != 0)
		e = put_release(rq, d, target.release, target.counter, target.parts);
	if (e == ERR_OK && target.shadow.release != 0)
		e = put_shadow(rq, d, &target);
	json_raw(&rq->out, "config", config);
	if (e == ERR_OK)
		e = put_offload(rq, d, target.release);
	if (rq->call.s->report_interval_ms > 0)
		json_int(&rq->out, "report_interval_ms", rq->call.s->report_interval_ms);
	json_close_object(&rq->out);
	if (e == ERR_OK && rq->out.len > DOCUMENT_BYTES_MAX)
		e = fault_set(rq->call.fault, ERR_INTERNAL, "", "the document has %zu bytes, devices take %d", rq->out.len, DOCUMENT_BYTES_MAX);
	return e;
}

/* What it can do may have changed since it was offered something. */
static enum err recheck(struct api_request *rq, const struct device_state *d)
{
	if (d->deployment == 0)
		return ERR_OK;
	enum err e = unit_begin(rq->call.s, rq->call.fault);
	return e == ERR_OK ? unit_end(rq->call.s, rollouts_recheck_device(&rq->call, d->row), rq->call.fault) : e;
}

static enum err get_desired(struct api_request *rq)
{
	struct device_state *d = NULL;
	enum err e = authenticate(rq, &d);
	if (e != ERR_OK)
		return e;
	char etag[DESIRED_ETAG_SIZE];
	e = recheck(rq, d);
	if (e != ERR_OK)
		return e;
	registry_desired_etag(d, etag);
	const char *quoted = arena_printf(rq->call.arena, "\"%s\"", etag);
	const char *known = http_header(rq->http, "If-None-Match");
	http_set_header(rq->http, "ETag", quoted);
	if (known && strstr(known, quoted)) { /* quotes on both sides: a part of a tag never matches */
		rq->status = 304;
		return ERR_OK;
	}
	return put_document(rq, d);
}

/* ---- artifacts ---- */

/* Whether it is one of the variants of a release that are chosen for the device. */
static enum err find_in_release(struct api_request *rq, const struct device_state *d, int64_t release, const char *parts, const char *sha256,
	struct artifact_row *out, bool *is_found)
{
	struct component_row *components = NULL;
	size_t count = 0;
	enum err e = release != 0 ? releases_components(&rq->call, release, &components, &count) : ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < count && !*is_found; i++) {
		e = selection_artifact(&rq->call, d, parts, release, &components[i], out);
		*is_found = e == ERR_OK && strcmp(out->sha256, sha256) == 0;
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	return e;
}

/* Whether the device is to take this content: of the release it should run, or of the one beside that. */
static enum err find_artifact(struct api_request *rq, const struct device_state *d, const char *sha256, struct artifact_row *out)
{
	struct desired_target target = {0};
	bool is_found = false;
	enum err e = rollouts_desired(&rq->call, d->row, &target);
	if (e == ERR_OK)
		e = find_in_release(rq, d, target.release, target.parts, sha256, out, &is_found);
	if (e == ERR_OK && !is_found)
		e = find_in_release(rq, d, target.shadow.release, target.shadow.parts, sha256, out, &is_found);
	return e != ERR_OK || is_found ? e : fault_set(rq->call.fault, ERR_NOT_FOUND, "", "this artifact is not part of what the device should run");
}

static enum err get_artifact(struct api_request *rq)
{
	struct device_state *d = NULL;
	struct artifact_row artifact;
	enum err e = authenticate(rq, &d);
	if (e == ERR_OK)
		e = find_artifact(rq, d, rq->param[1], &artifact);
	if (e != ERR_OK)
		return e;
	int fd = open(catalog_blob_path(&rq->call, artifact.sha256), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fault_set(rq->call.fault, errno == ENOENT ? ERR_INTERNAL : ERR_UNAVAILABLE, "", "cannot open the content: %s", strerror(errno));
	http_reply_file(rq->http, fd, (uint64_t)artifact.size_bytes, artifact.sha256, "application/octet-stream");
	rq->taken = true;
	return ERR_OK;
}

/* ---- the key ---- */

static enum err get_key(struct api_request *rq)
{
	const struct signing *signing = catalog_signing(rq->call.s->catalog);
	json_open_object(&rq->out);
	json_str(&rq->out, "alg", "ed25519");
	json_str(&rq->out, "key_id", signing_key_id(signing));
	put_base64(rq, "public_key", signing_public_key(signing), ED25519_KEY_BYTES);
	json_close_object(&rq->out);
	return ERR_OK;
}

/* ---- what openapi.json says of the replies ---- */

static const struct field deployment_fields[] = {
	{.name = "id", .type = FIELD_STR, .doc = "d-<number>"},
	{.name = "attempt", .type = FIELD_INT, .doc = "from 1; another attempt is other work"},
	{.name = "action", .type = FIELD_ENUM, .choices = "install revert", .doc = "carried out in the same way"},
	{.name = "timeout_ms", .type = FIELD_INT, .doc = "of this attempt"},
	{.name = NULL},
};
static const struct field file_fields[] = {
	{.name = "sha256", .type = FIELD_STR, .doc = "64 hex digits"},
	{.name = "size_bytes", .type = FIELD_INT, .doc = "of the content"},
	{.name = "url", .type = FIELD_STR, .doc = "path on this server"},
	{.name = NULL},
};
static const struct field release_fields[] = {
	{.name = "name", .type = FIELD_STR, .doc = "of the release"},
	{.name = "counter", .type = FIELD_INT, .doc = "of the manifest; devices refuse one below what they confirmed"},
	{.name = "manifest", .type = FIELD_STR, .doc = "base64 of the exact bytes that are signed"},
	{.name = "signature", .type = FIELD_STR, .doc = "base64 of 64 bytes, Ed25519"},
	{.name = "key_id", .type = FIELD_STR, .doc = "16 hex digits"},
	{.name = "artifacts", .type = FIELD_OBJECTS, .fields = file_fields, .doc = "the variants for this device's hardware"},
	{.name = NULL},
};
static const struct field shadow_fields[] = {
	{.name = "id", .type = FIELD_STR, .doc = "d-<number>"},
	{.name = "attempt", .type = FIELD_INT, .doc = "from 1"},
	{.name = "timeout_ms", .type = FIELD_INT, .doc = "until it runs"},
	{.name = "release", .type = FIELD_OBJECT, .fields = release_fields, .doc = "what is run beside the device's own release, without acting on it"},
	{.name = NULL},
};
static const struct field document_fields[] = {
	{.name = "device", .type = FIELD_STR, .doc = "its id"},
	{.name = "rev", .type = FIELD_INT, .doc = "grows with each change"},
	{.name = "deployment", .type = FIELD_OBJECT, .fields = deployment_fields, .doc = "absent: nothing is to be done"},
	{.name = "release", .type = FIELD_OBJECT, .fields = release_fields, .doc = "what the device should be running; absent: unknown"},
	{.name = "shadow", .type = FIELD_OBJECT, .fields = shadow_fields, .doc = "absent: nothing is run in shadow; never together with deployment"},
	{.name = "config", .type = FIELD_DOC, .doc = "the desired twin"},
	{.name = "offload", .type = FIELD_DOC, .doc = "by model: which inferences may go to the operator's endpoint (docs/models.md); absent: none"},
	{.name = "report_interval_ms", .type = FIELD_INT, .doc = "between telemetry reports; absent: the device's own"},
	{.name = NULL},
};
static const struct field key_fields[] = {
	{.name = "alg", .type = FIELD_STR, .doc = "ed25519"},
	{.name = "key_id", .type = FIELD_STR, .doc = "16 hex digits"},
	{.name = "public_key", .type = FIELD_STR, .doc = "base64 of 32 bytes"},
	{.name = NULL},
};

const struct route routes_device_http[] = {
	{.method = "GET", .path = DEVICE "/desired", .role = ROLE_NONE, .tag = "device",
	 .summary = "For devices: what this device should do (Authorization: Bearer <device>:<secret>)", .reply = document_fields,
	 .handle = get_desired},
	{.method = "GET", .path = DEVICE "/artifacts/{sha256}", .role = ROLE_NONE, .tag = "device",
	 .summary = "For devices: a file of the release it should run (Range)", .reply_type = "application/octet-stream", .handle = get_artifact},
	{.method = "GET", .path = "/device/v1/key", .role = ROLE_NONE, .tag = "device",
	 .summary = "The public key of release manifests, for provisioning", .reply = key_fields, .handle = get_key},
	{.method = NULL},
};
