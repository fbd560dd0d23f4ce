/* IP addresses as numbers: which ones a server may be made to call, and lists of networks that are allowed all the same. Pure: nothing is
 * resolved and no socket is opened here. */
#ifndef AVIARY_BASE_IPADDR_H
#define AVIARY_BASE_IPADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

struct ip_address {
	uint8_t bytes[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
};
struct ip_network {
	struct ip_address base;
	unsigned prefix; /* bits of the 16 bytes: IPv4's 8 is 104 */
};
#define IP_NETWORKS_MAX 64
struct ip_networks {
	struct ip_network items[IP_NETWORKS_MAX];
	size_t count;
};

/* Numeric text: "10.0.0.1", "::1", "[::1]". false when it is none. Other spellings of IPv4 (decimal, octal, short) are no addresses here: they
 * are seen when a socket is opened for them. */
bool ip_parse(const char *text, struct ip_address *out);
/* Of AF_INET and AF_INET6; false for other families. */
bool ip_from_sockaddr(const struct sockaddr *sa, struct ip_address *out);
/* Addresses of the public internet (IANA's special-purpose registries, RFC 6890 and after): not loopback, private, shared (RFC 6598),
 * link-local, unique local, multicast, broadcast, unspecified, documentation, benchmarking or reserved ones, nor IPv6 forms that carry such an
 * IPv4 address (mapped, compatible, NAT64, 6to4, Teredo). */
bool ip_is_public(const struct ip_address *a);
/* "10.0.0.0/8, ::1, 192.168.1.7": networks or single addresses, separated by commas or blanks. false when one is none, has bits behind its
 * prefix, or there are too many. */
bool ip_networks_parse(const char *text, struct ip_networks *out);
bool ip_networks_have(const struct ip_networks *list, const struct ip_address *a);

#endif
