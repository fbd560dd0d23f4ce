#include "core/topic.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct topic topics[TOPIC_COUNT] = {
#define X(name, level, direction, qos, retained, limit, doc) {level, direction, qos, retained, limit, doc},
	TOPIC_TABLE(X)
#undef X
};

const struct topic *topic_get(enum topic_kind kind)
{
	assert(kind < TOPIC_COUNT);
	return &topics[kind];
}

bool topic_parse(const char *topic, enum topic_kind *kind, struct slice *device)
{
	const size_t prefix = sizeof TOPIC_PREFIX - 1;
	if (strncmp(topic, TOPIC_PREFIX, prefix) != 0) return false;
	const char *id = topic + prefix, *slash = strchr(id, '/');
	if (slash == NULL) return false;
	struct slice name = {id, (size_t)(slash - id)};
	if (!name_is_device_id(name)) return false;
	for (int k = 0; k < TOPIC_COUNT; k++) {
		if (strcmp(slash + 1, topics[k].level) != 0) continue;
		*kind = (enum topic_kind)k;
		*device = name;
		return true;
	}
	return false;
}

static size_t build(enum topic_kind kind, const char *who, char out[TOPIC_BYTES])
{
	int n = snprintf(out, TOPIC_BYTES, TOPIC_PREFIX "%s/%s", who, topic_get(kind)->level);
	assert(n > 0 && n < TOPIC_BYTES);
	return (size_t)n;
}

static void assert_device(const char *device)
{
	struct slice id = {device, strlen(device)};
	assert(name_is_device_id(id));
	(void)id;
}

size_t topic_build(enum topic_kind kind, const char *device, char out[TOPIC_BYTES])
{
	assert_device(device);
	return build(kind, device, out);
}

size_t topic_filter(enum topic_kind kind, char out[TOPIC_BYTES])
{
	return build(kind, "+", out);
}

size_t topic_client_id(const char *device, char out[TOPIC_CLIENT_BYTES])
{
	assert_device(device);
	int n = snprintf(out, TOPIC_CLIENT_BYTES, "aviary-%s", device);
	assert(n > 0 && n < TOPIC_CLIENT_BYTES);
	return (size_t)n;
}
