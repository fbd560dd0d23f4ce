/* Which addresses a server may be made to call. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/ipaddr.h"

static bool is_public(const char *text)
{
	struct ip_address a;
	if (!ip_parse(text, &a))
		fail_msg("%s is no address", text);
	return ip_is_public(&a);
}

static void only_the_internet_is_public(void **state)
{
	(void)state;
	static const char *const yes[] = {"8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
		"128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
		"198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "2001:200::1", "2003::1"};
	static const char *const no[] = {"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
		"127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "192.0.0.1", "192.0.2.1",
		"198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"192.88.99.1", "::", "::1", "[::1]", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "fe80::1",
		"febf::1", "fec0::1", "fc00::1", "fdff::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1",
		"2002:7f00:1::1", "3fff::1", "4000::1"};
	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
		if (!is_public(yes[i]))
			fail_msg("%s is public", yes[i]);
	}
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		if (is_public(no[i]))
			fail_msg("%s is not public", no[i]);
	}
}

static void other_spellings_are_no_addresses(void **state)
{
	(void)state;
	static const char *const no[] = {"", "localhost", "2130706433", "0x7f.0.0.1", "127.1", "127.0.0.1.", "1.2.3.256", "[::1", "::g", "[]"};
	struct ip_address a;
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		if (ip_parse(no[i], &a))
			fail_msg("%s was taken", no[i]);
	}
}

static bool has(const char *list, const char *text)
{
	struct ip_networks n;
	struct ip_address a;
	assert_true(ip_networks_parse(list, &n));
	assert_true(ip_parse(text, &a));
	return ip_networks_have(&n, &a);
}

static void networks_have_what_is_in_them(void **state)
{
	(void)state;
	assert_true(has("127.0.0.0/8", "127.3.2.1"));
	assert_false(has("127.0.0.0/8", "128.0.0.1"));
	assert_true(has("127.0.0.0/8", "::ffff:127.0.0.1"));
	assert_true(has("10.0.0.0/9, ::1", "::1"));
	assert_true(has("10.0.0.0/9 ::1", "10.127.0.1"));
	assert_false(has("10.0.0.0/9", "10.128.0.1"));
	assert_true(has("192.168.1.7", "192.168.1.7"));
	assert_false(has("192.168.1.7", "192.168.1.6"));
	assert_true(has("fd00::/8", "fd12::1"));
	assert_false(has("fd00::/8", "fe80::1"));
	assert_true(has("0.0.0.0/0", "10.1.1.1"));
	assert_false(has("0.0.0.0/0", "::1"));
	assert_false(has("", "::1"));
}

static void networks_with_mistakes_are_refused(void **state)
{
	(void)state;
	static const char *const no[] = {"10.0.0.0/33", "10.0.0.1/8", "::/129", "::1/64", "10.0.0.0/", "10.0.0.0/8x", "10.0.0.0/-1", "x", "10.0.0.0/8;",
		"10.0.0.0/ 8"};
	struct ip_networks n;
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		if (ip_networks_parse(no[i], &n))
			fail_msg("%s was taken", no[i]);
	}
	char many[IP_NETWORKS_MAX * 4 + 8] = "";
	for (int i = 0; i < IP_NETWORKS_MAX; i++)
		strcat(many, "::1,");
	assert_true(ip_networks_parse(many, &n));
	assert_int_equal(n.count, IP_NETWORKS_MAX);
	strcat(many, "::1");
	assert_false(ip_networks_parse(many, &n));
}

static void socket_addresses_are_read(void **state)
{
	(void)state;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x08080808)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct ip_address a;
	assert_true(ip_from_sockaddr((struct sockaddr *)&in, &a));
	assert_true(ip_is_public(&a));
	assert_true(ip_from_sockaddr((struct sockaddr *)&in6, &a));
	assert_false(ip_is_public(&a));
	assert_false(ip_from_sockaddr((struct sockaddr *)&un, &a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_internet_is_public),
		cmocka_unit_test(other_spellings_are_no_addresses),
		cmocka_unit_test(networks_have_what_is_in_them),
		cmocka_unit_test(networks_with_mistakes_are_refused),
		cmocka_unit_test(socket_addresses_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
