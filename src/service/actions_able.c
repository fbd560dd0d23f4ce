/* What a device can do, said by a protocol without words for it: attributes "capability.<member>" are the members of its capabilities
 * (docs/protocol.md). Numbers, true and false, objects and arrays as in JSON; else a text, and where the member is a list of texts, they are
 * parted by commas. A value is short, so a long list goes over several attributes: capability.ops, capability.ops.2, ... */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "service/actions_inside.h"
#include "service/registry.h"
#include "store/device_store.h"

#define PREFIX "capability."

static bool is_list(const char *member, size_t len)
{
	static const char *const lists[] = {"ops", "accelerators", "formats"};
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		if (strlen(lists[i]) == len && memcmp(lists[i], member, len) == 0)
			return true;
	return false;
}

/* The member's name: up to a dot. */
static const char *member_of(const struct device_pair *p, size_t *len)
{
	if (strncmp(p->name, PREFIX, sizeof PREFIX - 1) != 0)
		return NULL;
	const char *member = p->name + sizeof PREFIX - 1;
	*len = strcspn(member, ".");
	return *len > 0 ? member : NULL;
}

static void put_list(struct buf *out, const char *value)
{
	while (*value != '\0') {
		value += strspn(value, ", ");
		size_t len = strcspn(value, ", ");
		if (len > 0) {
			char word[256];
			size_t n = len < sizeof word ? len : sizeof word - 1;
			memcpy(word, value, n);
			word[n] = '\0';
			json_put_str(out, word);
		}
		value += len;
	}
}

static void put_value(struct buf *out, const char *value)
{
	struct json *parsed = NULL;
	struct fault ignored;
	bool is_json = strchr("0123456789-tf{[", value[0]) != NULL && value[0] != '\0' && json_parse(value, strlen(value), &parsed, &ignored) == ERR_OK;
	if (is_json)
		json_print(parsed, out);
	else
		json_put_str(out, value);
	json_free(parsed);
}

/* Whether an attribute before this one was of the same member: they come in order of their names. */
static bool is_more(const struct device_pair *pairs, size_t at, const char *member, size_t len)
{
	for (size_t i = 0; i < at; i++) {
		size_t other_len;
		const char *other = member_of(&pairs[i], &other_len);
		if (other != NULL && other_len == len && memcmp(other, member, len) == 0)
			return true;
	}
	return false;
}

static void put_member(struct buf *out, struct call *c, const struct device_pair *pairs, size_t count, size_t at, const char *member, size_t len)
{
	json_key(out, arena_strndup(c->arena, member, len));
	if (!is_list(member, len)) {
		put_value(out, pairs[at].value);
		return;
	}
	json_open_array(out);
	for (size_t i = at; i < count; i++) {
		size_t other_len;
		const char *other = member_of(&pairs[i], &other_len);
		if (other != NULL && other_len == len && memcmp(other, member, len) == 0)
			put_list(out, pairs[i].value);
	}
	json_close_array(out);
}

enum err ddi_take_capabilities(struct call *c, struct device_state *d, const struct device_pair *pairs, size_t count)
{
	struct buf out = BUF_INIT;
	size_t members = 0;
	json_open_object(&out);
	for (size_t i = 0; i < count; i++) {
		size_t len;
		const char *member = member_of(&pairs[i], &len);
		if (member == NULL || is_more(pairs, i, member, len))
			continue;
		put_member(&out, c, pairs, count, i, member, len);
		members++;
	}
	json_close_object(&out);
	enum err e = members > 0 ? registry_set_capabilities(c, d, (struct slice){out.data, out.len}) : ERR_OK;
	buf_done(&out);
	return e;
}
