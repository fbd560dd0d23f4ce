/* Objects of hawkBit's Management API that more than one of its resources shows. */
#ifndef AVIARY_API_MGMT_ROWS_H
#define AVIARY_API_MGMT_ROWS_H

#include "api/mgmt.h"
#include "service/modules.h"
#include "service/registry.h"

struct action_view;

enum err mgmt_put_module(struct api_request *rq, const void *module_row);
extern const struct mgmt_list mgmt_module_list;
AVIARY_MUST_CHECK enum err mgmt_find_module(struct api_request *rq, size_t param, struct module_row *row);
void mgmt_put_artifact(struct api_request *rq, int64_t module, const struct artifact_row *row);

enum err mgmt_put_set(struct api_request *rq, const void *set_row);
AVIARY_MUST_CHECK enum err mgmt_find_set(struct api_request *rq, size_t param, struct set_row *row);

/* By the id in the path; hawkBit's 404. */
AVIARY_MUST_CHECK enum err mgmt_find_target(struct api_request *rq, size_t param, struct device_state **d);
AVIARY_MUST_CHECK enum err mgmt_put_target(struct api_request *rq, struct device_state *d);
/* A page of the targets that match `filter` (ours) in a group (0: of all), and q, by the request's sort, offset and limit. */
AVIARY_MUST_CHECK enum err mgmt_put_targets(struct api_request *rq, const char *filter, int64_t group);
/* hawkBit's RSQL over targets as ours; ERR_BAD_REQUEST. */
AVIARY_MUST_CHECK enum err mgmt_target_filter(struct api_request *rq, const char *theirs, const char **ours);

/* How a device is told, from the body of an assignment or a rollout: type, forcetime, weight, confirmationRequired, maintenanceWindow. */
struct delivery_input; /* service/assignments.h */
AVIARY_MUST_CHECK enum err mgmt_delivery(struct api_request *rq, const struct json *how, struct delivery_input *out);

#endif
