#include "ed25519.h"

#include <string.h>

#include "sha2.h"

/* Numbers of 256 bits, lowest word first. As field elements they stand for their value modulo p = 2^255 - 19 and need not be
 * below it: 2^256 is 38. */
struct number {
	uint32_t w[8];
};

static const struct number zero = {{0}}, one = {{1}};
static const struct number prime = {{0xffffffed, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x7fffffff}};
static const struct number order = {{0x5cf5d3ed, 0x5812631a, 0xa2f79cd6, 0x14def9de, 0, 0, 0, 0x10000000}};
static const struct number curve_d = {
	{0x135978a3, 0x75eb4dca, 0x4141d8ab, 0x00700a4d, 0x7779e898, 0x8cc74079, 0x2b6ffe73, 0x52036cee}};
static const struct number root_of_minus_one = {
	{0x4a0ea0b0, 0xc4ee1b27, 0xad2fe478, 0x2f431806, 0x3dfbd7a7, 0x2b4d0099, 0x4fc1df0b, 0x2b832480}};
static const struct number base_x = {
	{0x8f25d51a, 0xc9562d60, 0x9525a7b2, 0x692cc760, 0xfdd6dc5c, 0xc0a4e231, 0xcd6e53fe, 0x216936d3}};
static const struct number base_y = {
	{0x66666658, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666}};

static struct number load(const uint8_t in[32])
{
	struct number n;
	for (unsigned i = 0; i < 8; i++)
		n.w[i] = (uint32_t)in[4 * i] | (uint32_t)in[4 * i + 1] << 8 | (uint32_t)in[4 * i + 2] << 16 | (uint32_t)in[4 * i + 3] << 24;
	return n;
}

static bool is_below(const struct number *a, const struct number *b)
{
	for (unsigned i = 8; i-- > 0;)
		if (a->w[i] != b->w[i])
			return a->w[i] < b->w[i];
	return false;
}

/* *r = a - b modulo 2^256; true when it wrapped. */
static bool take(struct number *r, const struct number *a, const struct number *b)
{
	uint32_t borrow = 0;
	for (unsigned i = 0; i < 8; i++) {
		uint64_t d = (uint64_t)a->w[i] - b->w[i] - borrow;
		r->w[i] = (uint32_t)d;
		borrow = (uint32_t)(d >> 63);
	}
	return borrow != 0;
}

/* --- the field --- */

/* Adds a small number; what runs over comes back as 38 times it. */
static void fold(struct number *r, uint64_t carry)
{
	while (carry > 0) {
		carry *= 38;
		for (unsigned i = 0; i < 8; i++) {
			carry += r->w[i];
			r->w[i] = (uint32_t)carry;
			carry >>= 32;
		}
	}
}

static struct number add(const struct number *a, const struct number *b)
{
	struct number r;
	uint64_t carry = 0;
	for (unsigned i = 0; i < 8; i++) {
		carry += (uint64_t)a->w[i] + b->w[i];
		r.w[i] = (uint32_t)carry;
		carry >>= 32;
	}
	fold(&r, carry);
	return r;
}

static struct number subtract(const struct number *a, const struct number *b)
{
	static const struct number wrapped = {{38}};
	struct number r;
	bool is_negative = take(&r, a, b);
	while (is_negative) /* it has 2^256 too much, which is 38 */
		is_negative = take(&r, &r, &wrapped);
	return r;
}

static struct number multiply(const struct number *a, const struct number *b)
{
	uint32_t product[16] = {0};
	struct number r;
	uint64_t carry = 0;
	for (unsigned i = 0; i < 8; i++) {
		uint64_t c = 0;
		for (unsigned k = 0; k < 8; k++) {
			c += (uint64_t)a->w[i] * b->w[k] + product[i + k];
			product[i + k] = (uint32_t)c;
			c >>= 32;
		}
		product[i + 8] = (uint32_t)c;
	}
	for (unsigned i = 0; i < 8; i++) {
		carry += (uint64_t)product[i + 8] * 38 + product[i];
		r.w[i] = (uint32_t)carry;
		carry >>= 32;
	}
	fold(&r, carry);
	return r;
}

/* The one form below p. */
static struct number canonical(const struct number *a)
{
	struct number r = *a, less;
	while (!take(&less, &r, &prime))
		r = less;
	return r;
}

static bool is_equal(const struct number *a, const struct number *b)
{
	struct number x = canonical(a), y = canonical(b);
	return memcmp(&x, &y, sizeof(x)) == 0;
}

/* Square and multiply, highest bit first. */
static struct number power(const struct number *a, const struct number *exponent)
{
	struct number r = one;
	for (unsigned bit = 256; bit-- > 0;) {
		r = multiply(&r, &r);
		if (exponent->w[bit / 32] >> (bit % 32) & 1)
			r = multiply(&r, a);
	}
	return r;
}

/* --- points of the curve, extended coordinates: x = X/Z, y = Y/Z, T = XY/Z --- */

struct point {
	struct number x, y, z, t;
};

/* Complete: also for equal points and for the neutral one (Hisil and others, "Twisted Edwards curves revisited", 3.1). */
static struct point join(const struct point *p, const struct point *q)
{
	struct number p_less = subtract(&p->y, &p->x), q_less = subtract(&q->y, &q->x);
	struct number p_more = add(&p->y, &p->x), q_more = add(&q->y, &q->x);
	struct number a = multiply(&p_less, &q_less), b = multiply(&p_more, &q_more);
	struct number c = multiply(&p->t, &q->t), d = multiply(&p->z, &q->z);
	c = multiply(&c, &curve_d);
	c = add(&c, &c);
	d = add(&d, &d);
	struct number e = subtract(&b, &a), f = subtract(&d, &c), g = add(&d, &c), h = add(&b, &a);
	struct point r = {multiply(&e, &f), multiply(&g, &h), multiply(&f, &g), multiply(&e, &h)};
	return r;
}

/* Minus the point that a key names; false when it names none (RFC 8032, 5.1.3). */
static bool negative_of(const uint8_t key[32], struct point *out)
{
	static const struct number root = {{0xfffffffd, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x0fffffff}}; /* (p - 5) / 8 */
	struct number y = load(key), u, v, x, check;
	bool is_odd = y.w[7] >> 31;
	y.w[7] &= 0x7fffffff;
	if (!is_below(&y, &prime))
		return false;
	check = multiply(&y, &y);
	u = subtract(&check, &one);
	v = multiply(&check, &curve_d);
	v = add(&v, &one);
	/* x = u v^3 (u v^7)^((p-5)/8) */
	struct number v2 = multiply(&v, &v), v3 = multiply(&v2, &v), v4 = multiply(&v2, &v2), v7 = multiply(&v4, &v3);
	x = multiply(&u, &v7);
	x = power(&x, &root);
	x = multiply(&x, &v3);
	x = multiply(&x, &u);
	check = multiply(&x, &x);
	check = multiply(&check, &v);
	if (!is_equal(&check, &u)) {
		x = multiply(&x, &root_of_minus_one);
		check = multiply(&x, &x);
		check = multiply(&check, &v);
		if (!is_equal(&check, &u))
			return false;
	}
	x = canonical(&x);
	if (is_equal(&x, &zero) && is_odd)
		return false;
	if ((x.w[0] & 1) == (is_odd ? 1u : 0u))
		x = subtract(&zero, &x);
	out->x = x;
	out->y = y;
	out->z = one;
	out->t = multiply(&x, &y);
	return true;
}

static void encode(const struct point *p, uint8_t out[32])
{
	static const struct number inverse = {{0xffffffeb, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x7fffffff}}; /* p - 2 */
	struct number z = power(&p->z, &inverse), x = multiply(&p->x, &z), y = multiply(&p->y, &z);
	x = canonical(&x);
	y = canonical(&y);
	y.w[7] |= (x.w[0] & 1) << 31;
	for (unsigned i = 0; i < 32; i++)
		out[i] = (uint8_t)(y.w[i / 4] >> (8 * (i % 4)));
}

/* 64 bytes, lowest first, modulo the order of the base point: bit by bit. */
static struct number reduce(const uint8_t in[64])
{
	struct number r = zero, less;
	for (unsigned bit = 512; bit-- > 0;) {
		for (unsigned i = 8; i-- > 1;)
			r.w[i] = r.w[i] << 1 | r.w[i - 1] >> 31;
		r.w[0] = r.w[0] << 1 | (in[bit / 8] >> (bit % 8) & 1u);
		if (!take(&less, &r, &order))
			r = less;
	}
	return r;
}

bool ed25519_is_signed(const uint8_t public_key[32], const struct ed25519_part *parts, size_t count, const uint8_t signature[64])
{
	struct point minus_a, base = {base_x, base_y, one, multiply(&base_x, &base_y)}, both, sum = {zero, one, one, zero};
	struct number s = load(signature + 32), h;
	struct sha2_512 hash;
	uint8_t digest[64], encoded[32];
	if (!is_below(&s, &order) || !negative_of(public_key, &minus_a))
		return false;
	sha2_512_init(&hash);
	sha2_512_update(&hash, signature, 32);
	sha2_512_update(&hash, public_key, 32);
	for (size_t i = 0; i < count; i++)
		sha2_512_update(&hash, parts[i].data, parts[i].len);
	sha2_512_final(&hash, digest);
	h = reduce(digest);
	both = join(&base, &minus_a);
	for (unsigned bit = 256; bit-- > 0;) { /* s B - h A in one walk */
		bool in_s = s.w[bit / 32] >> (bit % 32) & 1, in_h = h.w[bit / 32] >> (bit % 32) & 1;
		sum = join(&sum, &sum);
		if (in_s || in_h)
			sum = join(&sum, in_s && in_h ? &both : in_s ? &base : &minus_a);
	}
	encode(&sum, encoded);
	return memcmp(encoded, signature, 32) == 0;
}
