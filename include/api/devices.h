/* What the files of the device resource share: api/devices.c, api/bulk.c, api/groups.c. Not for others. */
#ifndef AVIARY_API_DEVICES_H
#define AVIARY_API_DEVICES_H

#include "api/route.h"
#include "service/registry.h"

#define BULK_BYTES_MAX ((size_t)512 << 20) /* of a whole request: a million lines of 512 bytes */
#define BULK_LINES_MAX 1000000
#define BULK_LINE_MAX 32768                /* bytes; more than any valid device takes without blanks */
#define BULK_ERRORS_MAX 100                /* refused lines that are shown */

struct device_body { /* bound by device_create_fields and the patch table */
	bool none;           /* offset 0 means "no present flag" */
	bool has_tags;
	const char *id, *name, *hardware, *attributes, *protocol, *token;
	struct json_strs tags;
};

extern const struct field device_create_fields[], device_reply_fields[], bulk_reply_fields[];
extern const struct route_query device_list_query[];
extern const struct route_stream bulk_stream;

/* The bound body, and the attributes from its document, as the registry takes them. */
AVIARY_MUST_CHECK enum err api_bind_device(struct call *c, const struct device_body *b, const struct json *document, struct device_spec *spec);
/* Answers with a page of devices by the query's filter, sort, limit, cursor, total. `group` 0: of the whole fleet. */
AVIARY_MUST_CHECK enum err api_list_devices(struct api_request *rq, int64_t group);

#endif
