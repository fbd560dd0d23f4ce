#include "agent/json.h"

#include <assert.h>
#include <string.h>

#include "agent/codec.h"

static bool is_name_byte(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return !first && (c == '.' || c == '_' || c == ':' || c == '-');
}

bool agent_is_name(const char *text, size_t len, size_t max)
{
	if (len == 0 || len > max)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_name_byte(text[i], i == 0))
			return false;
	return true;
}

bool agent_slice_equals(struct agent_slice s, const char *text)
{
	return s.text && s.len == strlen(text) && memcmp(s.text, text, s.len) == 0;
}

static bool is_label(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '\\' || text[i] == '"')
			return false;
	return len > 0;
}

static void copy_text(void *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	((char *)out)[len] = '\0';
}

static bool is_between(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ':' || c == ',';
}

/* Whole text of the value that comes next; the parser is behind it afterwards. */
static bool take_value(struct jp *p, enum jp_event *event, struct agent_slice *value)
{
	size_t start = p->at;
	*event = jp_next(p);
	if (*event == JP_ERROR || *event == JP_END || *event == JP_ARRAY_END || *event == JP_OBJECT_END)
		return false;
	struct jp token = *p; /* skipping moves the token away */
	if (!jp_skip(p, *event))
		return false;
	size_t end = p->at;
	while (start < end && is_between(p->text[start]))
		start++;
	while (end > start && is_between(p->text[end - 1]))
		end--;
	value->text = p->text + start;
	value->len = end - start;
	p->token = token.token;
	p->token_len = token.token_len;
	return true;
}

static bool read_share(struct agent_slice number, uint16_t *out)
{
	unsigned v, scale = 1000;
	if (number.len == 0 || (number.text[0] != '0' && number.text[0] != '1'))
		return false;
	v = number.text[0] == '1' ? 10000 : 0;
	if (number.len > 1 && number.text[1] != '.')
		return false;
	for (size_t i = 2; i < number.len; i++, scale /= 10) {
		if (number.text[i] < '0' || number.text[i] > '9')
			return false;
		v += (unsigned)(number.text[i] - '0') * scale;
	}
	*out = (uint16_t)v;
	return v <= 10000;
}

static bool bind_value(const struct agent_member *m, const struct jp *p, enum jp_event event, struct agent_slice value,
                       char *out)
{
	struct agent_slice string = {p->token, p->token_len};
	switch (m->kind) {
	case AGENT_MEMBER_NAME:
		if (event != JP_STRING || !agent_is_name(string.text, string.len, m->size - 1))
			return false;
		copy_text(out, string.text, string.len);
		return true;
	case AGENT_MEMBER_PATH:
	case AGENT_MEMBER_LABEL:
		if (event != JP_STRING || string.len >= m->size || !is_label(string.text, string.len))
			return false;
		if (m->kind == AGENT_MEMBER_PATH && string.text[0] != '/')
			return false;
		copy_text(out, string.text, string.len);
		return true;
	case AGENT_MEMBER_TEXT:
		memcpy(out, &string, sizeof(string));
		return event == JP_STRING;
	case AGENT_MEMBER_HEX:
		return event == JP_STRING && agent_hex_decode(string.text, string.len, (uint8_t *)out, m->size);
	case AGENT_MEMBER_SHARE:
		return event == JP_NUMBER && read_share(string, (uint16_t *)(void *)out);
	case AGENT_MEMBER_INT:
	case AGENT_MEMBER_COUNT: {
		int64_t v;
		if (event != JP_NUMBER || !jp_int(p, &v) || (v < 0 && m->kind == AGENT_MEMBER_COUNT))
			return false;
		memcpy(out, &v, sizeof(v));
		return true;
	}
	case AGENT_MEMBER_OBJECT:
	case AGENT_MEMBER_ARRAY:
		memcpy(out, &value, sizeof(value));
		return event == (m->kind == AGENT_MEMBER_OBJECT ? JP_OBJECT : JP_ARRAY);
	}
	return false;
}

const char *agent_json_bind(struct agent_slice object, const struct agent_member *members, size_t count, void *out)
{
	assert(count <= 16);
	struct jp p;
	unsigned seen = 0;
	enum jp_event event;
	jp_init(&p, object.text ? object.text : "", object.len);
	if (jp_next(&p) != JP_OBJECT)
		return "not an object";
	while ((event = jp_next(&p)) == JP_KEY) {
		size_t i = 0;
		while (i < count && !jp_is(&p, members[i].name))
			i++;
		struct agent_slice value;
		if (!take_value(&p, &event, &value))
			return "malformed JSON";
		if (i == count)
			continue;
		if (seen & 1u << i || !bind_value(&members[i], &p, event, value, (char *)out + members[i].offset))
			return members[i].name;
		seen |= 1u << i;
	}
	if (event != JP_OBJECT_END || jp_next(&p) != JP_END)
		return "malformed JSON";
	for (size_t i = 0; i < count; i++)
		if (members[i].is_required && !(seen & 1u << i))
			return members[i].name;
	return NULL;
}

void agent_items_open(struct agent_items *items, struct agent_slice array)
{
	jp_init(&items->parser, array.text ? array.text : "", array.len);
	items->failed = jp_next(&items->parser) != JP_ARRAY;
}

bool agent_items_next(struct agent_items *items, struct agent_slice *item)
{
	enum jp_event event;
	if (items->failed)
		return false;
	if (take_value(&items->parser, &event, item))
		return true;
	items->failed = event != JP_ARRAY_END;
	return false;
}

void agent_names_open(struct agent_names *names, struct agent_slice object)
{
	jp_init(&names->parser, object.text ? object.text : "", object.len);
	(void)jp_next(&names->parser);
}

bool agent_names_next(struct agent_names *names, struct agent_slice *name, struct agent_slice *value)
{
	enum jp_event event;
	if (jp_next(&names->parser) != JP_KEY)
		return false;
	name->text = names->parser.token;
	name->len = names->parser.token_len;
	return take_value(&names->parser, &event, value);
}
