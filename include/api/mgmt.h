/* What the files of hawkBit's Management API (/rest/v1, src/api/mgmt*.c) share: who asks, errors in hawkBit's form, bodies that are bound
 * leniently (members nobody knows are ignored), paged lists with q, sort, offset and limit, links. Not for our own API.
 *
 * Which calls there are, and what they become here: docs/hawkbit.md.
 */
#ifndef AVIARY_API_MGMT_H
#define AVIARY_API_MGMT_H

#include "api/route.h"
#include "core/hawkbit.h"
#include "core/rsql.h"

#define MGMT "/rest/v1"
#define MGMT_PAGE 50      /* items of a page where nothing is asked for */
#define MGMT_PAGE_MAX 500
#define MGMT_BODY_MAX ((size_t)4 << 20) /* a list of targets to assign */
#define MGMT_LIST_ARENA ((size_t)64 << 20)

/* X(NAME, HTTP status, error code, class): hawkBit's words (SpServerError, ResponseExceptionHandler). */
#define MGMT_ERROR_TABLE(X)                                                                                                                    \
	X(NOT_READABLE, 400, "hawkbit.server.error.rest.body.notReadable", "rest.exception.MessageNotReadableException")                           \
	X(CONSTRAINT, 400, "hawkbit.server.error.repo.constraintViolation", "repository.exception.ConstraintViolationException")                   \
	X(NOT_FOUND, 404, "hawkbit.server.error.repo.entityNotFound", "repository.exception.EntityNotFoundException")                              \
	X(EXISTS, 409, "hawkbit.server.error.repo.entityAlreadyExists", "repository.exception.EntityAlreadyExistsException")                       \
	X(FORBIDDEN, 403, "hawkbit.server.error.insufficientPermission", "repository.exception.InsufficientPermissionException")                   \
	X(LOCKED, 423, "hawkbit.server.error.locked", "repository.exception.LockedException")                                                      \
	X(QUOTA, 429, "hawkbit.server.error.quota.tooManyEntries", "repository.exception.AssignmentQuotaExceededException")                        \
	X(FILE_SIZE, 429, "hawkbit.server.error.quota.fileSizeExceeded", "repository.exception.FileSizeQuotaExceededException")                    \
	X(NOT_CANCELABLE, 405, "hawkbit.server.error.action.notCancelable", "repository.exception.CancelActionNotAllowedException")                \
	X(NOT_FORCE_QUITABLE, 405, "hawkbit.server.error.action.notForceQuitable", "repository.exception.ForceQuitActionNotAllowedException")      \
	X(METHOD, 405, "hawkbit.server.error.rest.methodNotAllowed", "rest.exception.MethodNotAllowedException")                                   \
	X(INCOMPLETE, 400, "hawkbit.server.error.distributionset.incomplete", "repository.exception.IncompleteDistributionSetException")           \
	X(UNSUPPORTED_MODULE, 400, "hawkbit.server.error.distributionset.modules.unsupported",                                                     \
	  "repository.exception.UnsupportedSoftwareModuleForThisDistributionSetException")                                                         \
	X(ROLLOUT_STATE, 400, "hawkbit.server.error.rollout.illegalState", "repository.exception.RolloutIllegalStateException")                    \
	X(CONFIG_KEY, 400, "hawkbit.server.error.configKeyInvalid", "repository.exception.InvalidTenantConfigurationKeyException")                 \
	X(CONFIG_VALUE, 400, "hawkbit.server.error.configValueInvalid", "repository.exception.TenantConfigurationValidatorException")              \
	X(SCHEDULE, 400, "hawkbit.server.error.maintenanceScheduleInvalid", "repository.exception.InvalidMaintenanceScheduleException")            \
	X(RSQL_SYNTAX, 400, "hawkbit.server.error.rest.param.rsqlParamSyntax", "repository.exception.RSQLParameterSyntaxException")                \
	X(RSQL_FIELD, 400, "hawkbit.server.error.rest.param.rsqlInvalidField", "repository.exception.RSQLParameterUnsupportedFieldException")      \
	X(SORT_SYNTAX, 400, "hawkbit.server.error.rest.param.sortParamSyntax", "rest.exception.SortParameterSyntaxErrorException")                 \
	X(SORT_FIELD, 400, "hawkbit.server.error.rest.param.invalidField", "rest.exception.SortParameterUnsupportedFieldException")                \
	X(SORT_DIRECTION, 400, "hawkbit.server.error.rest.param.invalidDirection", "rest.exception.SortParameterUnsupportedDirectionException")    \
	X(MD5, 400, "hawkbit.server.error.artifact.uploadFailed.checksum.md5.match", "repository.exception.InvalidMD5HashException")               \
	X(SHA1, 400, "hawkbit.server.error.artifact.uploadFailed.checksum.sha1.match", "repository.exception.InvalidSHA1HashException")            \
	X(SHA256, 400, "hawkbit.server.error.artifact.uploadFailed.checksum.sha256.match", "repository.exception.InvalidSHA256HashException")      \
	X(BINARY_DELETED, 410, "hawkbit.server.error.artifact.binaryDeleted", "repository.exception.ArtifactBinaryNoLongerExistsException")        \
	X(AUTO_CONFIRM, 409, "hawkbit.server.error.repo.autoConfAlreadyActive", "repository.exception.AutoConfirmationAlreadyActiveException")     \
	X(MEDIA_TYPE, 415, "hawkbit.server.error.rest.mediaType", "rest.exception.MediaTypeNotSupportedException")                                 \
	X(GENERIC, 500, "hawkbit.server.error.repo.genericError", "repository.exception.GenericSpServerException")

enum mgmt_error {
	MGMT_BY_ERR, /* what the `enum err` says */
#define X(name, status, code, class) MGMT_##name,
	MGMT_ERROR_TABLE(X)
#undef X
	    MGMT_ERRORS
};

/* ---- for the dispatcher ---- */
bool mgmt_is_path(const char *path); /* below /rest: errors are hawkBit's */
/* Basic: a token of ours as the password (the user is any name), or [mgmt] basic. Bearer is taken, too. */
AVIARY_MUST_CHECK enum err mgmt_authenticate(struct api_request *rq, struct principal *who);
/* The reply to a refused request; its status. */
int mgmt_problem(struct api_request *rq, enum err e, struct buf *out);

/* ---- refusing ---- */
/* Sets what hawkBit calls it, and returns `e`. Give NULL for the fault that is there. */
enum err mgmt_refuse(struct api_request *rq, enum mgmt_error which, enum err e, const char *fmt, ...) AVIARY_PRINTF(4, 5);
enum err mgmt_refuse_as(struct api_request *rq, enum mgmt_error which, enum err e);
enum err mgmt_no_such(struct api_request *rq, const char *what, const char *id); /* ERR_NOT_FOUND with hawkBit's sentence */

/* ---- bodies ---- */
/* The body's objects: an array of them, or one alone. *first NULL: none; json_next goes on. */
AVIARY_MUST_CHECK enum err mgmt_items(struct api_request *rq, const struct json **first, size_t *count);
AVIARY_MUST_CHECK enum err mgmt_object(struct api_request *rq, const struct json **object);
/* Members; *out is untouched where the member is absent or null. Numbers and booleans are texts where a text is wanted; texts are numbers where
 * they look like one. */
AVIARY_MUST_CHECK enum err mgmt_text(struct api_request *rq, const struct json *object, const char *name, const char **out);
AVIARY_MUST_CHECK enum err mgmt_number(struct api_request *rq, const struct json *object, const char *name, int64_t *out);
AVIARY_MUST_CHECK enum err mgmt_real(struct api_request *rq, const struct json *object, const char *name, double *out, bool *has);
AVIARY_MUST_CHECK enum err mgmt_flag(struct api_request *rq, const struct json *object, const char *name, bool *out);
/* `id` of each item of the body. */
AVIARY_MUST_CHECK enum err mgmt_ids(struct api_request *rq, int64_t **ids, size_t *count);
/* A number in the path; hawkBit's 400 where it is none. */
AVIARY_MUST_CHECK enum err mgmt_param(struct api_request *rq, size_t at, int64_t *id);

/* ---- replies ---- */
const char *mgmt_href(struct api_request *rq, const char *fmt, ...) AVIARY_PRINTF(2, 3); /* "http://host/rest/v1/..." in the arena */
void mgmt_links_open(struct api_request *rq);
void mgmt_link(struct api_request *rq, const char *rel, const char *href);
void mgmt_links_close(struct api_request *rq);
void mgmt_self(struct api_request *rq, const char *href); /* "_links" with it alone */
/* createdBy, createdAt, lastModifiedBy, lastModifiedAt */
void mgmt_times(struct api_request *rq, int64_t created_at, int64_t updated_at);

/* ---- lists ---- */
struct mgmt_page {
	int64_t offset, limit;
	const char *sort;  /* field as hawkBit names it; NULL: none asked for */
	bool descending;
	const char *query; /* q; NULL: none */
};
AVIARY_MUST_CHECK enum err mgmt_page(struct api_request *rq, struct mgmt_page *page);
void mgmt_list_open(struct api_request *rq);
void mgmt_list_close(struct api_request *rq, size_t size, int64_t total);

/* A list whose rows are all in memory: filtered, sorted and cut by the request. */
struct mgmt_list {
	const struct hawkbit_field *names; /* theirs, in lower case, to the names of `fields` */
	size_t name_count;
	const struct rsql_field *fields;
	size_t field_count;
	bool (*get)(const void *row, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out);
	size_t row_bytes;
	enum err (*put)(struct api_request *rq, const void *row); /* as a JSON object */
};
AVIARY_MUST_CHECK enum err mgmt_put_list(struct api_request *rq, const struct mgmt_list *list, const void *rows, size_t count);
struct rsql_operand mgmt_text_operand(const char *text);   /* NULL: "" */
struct rsql_operand mgmt_number_operand(int64_t n);        /* also as a time */
struct rsql_operand mgmt_bool_operand(bool b);

#define MGMT_OK_TYPE "application/hal+json"

#endif
