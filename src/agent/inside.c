#include "agent/inside.h"

#include <string.h>

int64_t agent_now_ms(const struct agent *a)
{
	return a->ports->mono_ms(a->host);
}

void agent_tell(struct agent *a, enum agent_event event, const char *detail)
{
	if (a->ports->event)
		a->ports->event(a->host, event, detail ? detail : "");
}

void agent_sha256(struct agent *a, const void *data, size_t len, uint8_t out[AGENT_SHA256_BYTES])
{
	union agent_sha h;
	a->ports->sha_init(a->host, &h);
	a->ports->sha_update(a->host, &h, data, len);
	a->ports->sha_final(a->host, &h, out);
}

int64_t agent_backoff_ms(struct agent *a, unsigned failures)
{
	uint64_t pause = a->limits.retry_min_ms;
	uint32_t random;
	for (unsigned i = 1; i < failures && pause < a->limits.retry_max_ms; i++)
		pause *= 2;
	if (pause > a->limits.retry_max_ms)
		pause = a->limits.retry_max_ms;
	a->ports->random(a->host, &random, sizeof(random));
	return (int64_t)(pause - (pause / 2) * random / UINT32_MAX);
}

void agent_copy(char *out, size_t out_size, const char *text)
{
	size_t len = strlen(text);
	if (len >= out_size) {
		len = out_size - 1;
		while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
			len--;
	}
	memmove(out, text, len);
	out[len] = '\0';
}
