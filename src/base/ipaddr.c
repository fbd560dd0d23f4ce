#include "base/ipaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const struct ip_address *a)
{
	return memcmp(a->bytes, mapped, sizeof mapped) == 0;
}

static void set_v4(struct ip_address *out, const void *four)
{
	memcpy(out->bytes, mapped, sizeof mapped);
	memcpy(out->bytes + 12, four, 4);
}

bool ip_parse(const char *text, struct ip_address *out)
{
	char copy[64];
	size_t len = strlen(text);
	struct in_addr four;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof copy)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET, copy, &four) == 1) {
		set_v4(out, &four);
		return true;
	}
	return inet_pton(AF_INET6, copy, out->bytes) == 1;
}

bool ip_from_sockaddr(const struct sockaddr *sa, struct ip_address *out)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, sa, sizeof in);
		set_v4(out, &in.sin_addr);
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	struct sockaddr_in6 in6;
	memcpy(&in6, sa, sizeof in6);
	memcpy(out->bytes, &in6.sin6_addr, 16);
	return true;
}

static bool has_prefix(const uint8_t *bytes, const uint8_t *base, unsigned prefix)
{
	unsigned whole = prefix / 8, rest = prefix % 8;
	uint8_t mask = (uint8_t)(0xff00u >> rest);
	return memcmp(bytes, base, whole) == 0 && (rest == 0 || (bytes[whole] & mask) == (base[whole] & mask));
}

static bool is_public_v4(const uint8_t *four)
{
	static const struct {
		uint8_t base[4], prefix;
	} special[] = {
		{{0, 0, 0, 0}, 8}, {{10, 0, 0, 0}, 8}, {{100, 64, 0, 0}, 10}, {{127, 0, 0, 0}, 8}, {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12},
		{{192, 0, 0, 0}, 24}, {{192, 0, 2, 0}, 24}, {{192, 88, 99, 0}, 24}, {{192, 168, 0, 0}, 16}, {{198, 18, 0, 0}, 15},
		{{198, 51, 100, 0}, 24}, {{203, 0, 113, 0}, 24}, {{224, 0, 0, 0}, 4}, {{240, 0, 0, 0}, 4},
	};
	for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
		if (has_prefix(four, special[i].base, special[i].prefix))
			return false;
	}
	return true;
}

bool ip_is_public(const struct ip_address *a)
{
	/* Only 2000::/3 is given out; of it these carry others' addresses or are for documentation. */
	static const struct {
		uint8_t base[6], prefix;
	} special[] = {
		{{0x20, 0x01, 0, 0}, 23},       /* protocol assignments, Teredo among them */
		{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
		{{0x20, 0x02}, 16},             /* 6to4 */
		{{0x3f, 0xff, 0x00}, 20},       /* documentation */
	};
	if (is_v4(a))
		return is_public_v4(a->bytes + 12);
	if ((a->bytes[0] & 0xe0) != 0x20)
		return false;
	for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
		if (has_prefix(a->bytes, special[i].base, special[i].prefix))
			return false;
	}
	return true;
}

static bool parse_network(const char *text, size_t len, struct ip_network *out)
{
	char copy[64], *slash, *end;
	if (len >= sizeof copy)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	slash = strchr(copy, '/');
	if (slash != NULL)
		*slash++ = '\0';
	if (!ip_parse(copy, &out->base))
		return false;
	bool v4 = strchr(copy, ':') == NULL;
	unsigned long bits = v4 ? 32 : 128;
	if (slash != NULL) {
		if (*slash < '0' || *slash > '9')
			return false;
		unsigned long n = strtoul(slash, &end, 10);
		if (*end != '\0' || n > bits)
			return false;
		bits = n;
	}
	out->prefix = (unsigned)bits + (v4 ? 96 : 0);
	for (unsigned at = out->prefix; at < 128; at++) {
		if (out->base.bytes[at / 8] & (0x80u >> at % 8))
			return false;
	}
	return true;
}

bool ip_networks_parse(const char *text, struct ip_networks *out)
{
	out->count = 0;
	while (*(text += strspn(text, " \t,")) != '\0') {
		size_t len = strcspn(text, " \t,");
		if (out->count == IP_NETWORKS_MAX || !parse_network(text, len, &out->items[out->count]))
			return false;
		out->count++;
		text += len;
	}
	return true;
}

bool ip_networks_have(const struct ip_networks *list, const struct ip_address *a)
{
	for (size_t i = 0; i < list->count; i++) {
		if (has_prefix(a->bytes, list->items[i].base.bytes, list->items[i].prefix))
			return true;
	}
	return false;
}
