#include "sha2.h"

#include <string.h>

/* Fractions of the cube roots of the first 80 primes; the upper halves of the first 64 are the constants of SHA-256. */
static const uint64_t roots[80] = {
	0x428a2f98d728ae22u, 0x7137449123ef65cdu, 0xb5c0fbcfec4d3b2fu, 0xe9b5dba58189dbbcu,
	0x3956c25bf348b538u, 0x59f111f1b605d019u, 0x923f82a4af194f9bu, 0xab1c5ed5da6d8118u,
	0xd807aa98a3030242u, 0x12835b0145706fbeu, 0x243185be4ee4b28cu, 0x550c7dc3d5ffb4e2u,
	0x72be5d74f27b896fu, 0x80deb1fe3b1696b1u, 0x9bdc06a725c71235u, 0xc19bf174cf692694u,
	0xe49b69c19ef14ad2u, 0xefbe4786384f25e3u, 0x0fc19dc68b8cd5b5u, 0x240ca1cc77ac9c65u,
	0x2de92c6f592b0275u, 0x4a7484aa6ea6e483u, 0x5cb0a9dcbd41fbd4u, 0x76f988da831153b5u,
	0x983e5152ee66dfabu, 0xa831c66d2db43210u, 0xb00327c898fb213fu, 0xbf597fc7beef0ee4u,
	0xc6e00bf33da88fc2u, 0xd5a79147930aa725u, 0x06ca6351e003826fu, 0x142929670a0e6e70u,
	0x27b70a8546d22ffcu, 0x2e1b21385c26c926u, 0x4d2c6dfc5ac42aedu, 0x53380d139d95b3dfu,
	0x650a73548baf63deu, 0x766a0abb3c77b2a8u, 0x81c2c92e47edaee6u, 0x92722c851482353bu,
	0xa2bfe8a14cf10364u, 0xa81a664bbc423001u, 0xc24b8b70d0f89791u, 0xc76c51a30654be30u,
	0xd192e819d6ef5218u, 0xd69906245565a910u, 0xf40e35855771202au, 0x106aa07032bbd1b8u,
	0x19a4c116b8d2d0c8u, 0x1e376c085141ab53u, 0x2748774cdf8eeb99u, 0x34b0bcb5e19b48a8u,
	0x391c0cb3c5c95a63u, 0x4ed8aa4ae3418acbu, 0x5b9cca4f7763e373u, 0x682e6ff3d6b2b8a3u,
	0x748f82ee5defb2fcu, 0x78a5636f43172f60u, 0x84c87814a1f0ab72u, 0x8cc702081a6439ecu,
	0x90befffa23631e28u, 0xa4506cebde82bde9u, 0xbef9a3f7b2c67915u, 0xc67178f2e372532bu,
	0xca273eceea26619cu, 0xd186b8c721c0c207u, 0xeada7dd6cde0eb1eu, 0xf57d4f7fee6ed178u,
	0x06f067aa72176fbau, 0x0a637dc5a2c898a6u, 0x113f9804bef90daeu, 0x1b710b35131c471bu,
	0x28db77f523047d84u, 0x32caab7b40c72493u, 0x3c9ebe0a15c9bebcu, 0x431d67c49c100d4cu,
	0x4cc5d4becb3e42b6u, 0x597f299cfc657e2au, 0x5fcb6fab3ad6faecu, 0x6c44198c4a475817u,
};
/* Fractions of the square roots of the first 8 primes; upper halves for SHA-256. */
static const uint64_t start[8] = {
	0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
	0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u,
};

/* --- SHA-256 --- */

static uint32_t turn32(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

static void mix_256(struct sha2_256 *s)
{
	uint32_t w[16], v[8];
	memcpy(v, s->h, sizeof(v));
	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)s->block[4 * i] << 24 | (uint32_t)s->block[4 * i + 1] << 16 | (uint32_t)s->block[4 * i + 2] << 8 |
		       s->block[4 * i + 3];
	for (unsigned i = 0; i < 64; i++) {
		if (i >= 16) {
			uint32_t a = w[(i + 1) % 16], b = w[(i + 14) % 16];
			w[i % 16] += (turn32(a, 7) ^ turn32(a, 18) ^ a >> 3) + w[(i + 9) % 16] + (turn32(b, 17) ^ turn32(b, 19) ^ b >> 10);
		}
		uint32_t t = v[7] + (turn32(v[4], 6) ^ turn32(v[4], 11) ^ turn32(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
		             (uint32_t)(roots[i] >> 32) + w[i % 16];
		uint32_t u = (turn32(v[0], 2) ^ turn32(v[0], 13) ^ turn32(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t;
		v[0] = t + u;
	}
	for (unsigned i = 0; i < 8; i++)
		s->h[i] += v[i];
}

void sha2_256_init(struct sha2_256 *s)
{
	s->len = 0;
	for (unsigned i = 0; i < 8; i++)
		s->h[i] = (uint32_t)(start[i] >> 32);
}

void sha2_256_update(struct sha2_256 *s, const void *data, size_t len)
{
	const uint8_t *at = data;
	while (len > 0) {
		size_t used = (size_t)(s->len % sizeof(s->block)), n = sizeof(s->block) - used < len ? sizeof(s->block) - used : len;
		memcpy(s->block + used, at, n);
		s->len += n;
		at += n;
		len -= n;
		if (used + n == sizeof(s->block))
			mix_256(s);
	}
}

void sha2_256_final(struct sha2_256 *s, uint8_t out[32])
{
	static const uint8_t mark = 0x80, padding = 0;
	uint64_t bits = s->len * 8;
	uint8_t end[8];
	sha2_256_update(s, &mark, 1);
	while (s->len % sizeof(s->block) != sizeof(s->block) - sizeof(end))
		sha2_256_update(s, &padding, 1);
	for (unsigned i = 0; i < 8; i++)
		end[i] = (uint8_t)(bits >> (56 - 8 * i));
	sha2_256_update(s, end, sizeof(end));
	for (unsigned i = 0; i < 32; i++)
		out[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* --- SHA-512 --- */

static uint64_t turn64(uint64_t v, unsigned n)
{
	return v >> n | v << (64 - n);
}

static void mix_512(struct sha2_512 *s)
{
	uint64_t w[16], v[8];
	memcpy(v, s->h, sizeof(v));
	for (unsigned i = 0; i < 16; i++) {
		w[i] = 0;
		for (unsigned b = 0; b < 8; b++)
			w[i] = w[i] << 8 | s->block[8 * i + b];
	}
	for (unsigned i = 0; i < 80; i++) {
		if (i >= 16) {
			uint64_t a = w[(i + 1) % 16], b = w[(i + 14) % 16];
			w[i % 16] += (turn64(a, 1) ^ turn64(a, 8) ^ a >> 7) + w[(i + 9) % 16] + (turn64(b, 19) ^ turn64(b, 61) ^ b >> 6);
		}
		uint64_t t = v[7] + (turn64(v[4], 14) ^ turn64(v[4], 18) ^ turn64(v[4], 41)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + roots[i] +
		             w[i % 16];
		uint64_t u = (turn64(v[0], 28) ^ turn64(v[0], 34) ^ turn64(v[0], 39)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t;
		v[0] = t + u;
	}
	for (unsigned i = 0; i < 8; i++)
		s->h[i] += v[i];
}

void sha2_512_init(struct sha2_512 *s)
{
	s->len = 0;
	memcpy(s->h, start, sizeof(s->h));
}

void sha2_512_update(struct sha2_512 *s, const void *data, size_t len)
{
	const uint8_t *at = data;
	while (len > 0) {
		size_t used = (size_t)(s->len % sizeof(s->block)), n = sizeof(s->block) - used < len ? sizeof(s->block) - used : len;
		memcpy(s->block + used, at, n);
		s->len += n;
		at += n;
		len -= n;
		if (used + n == sizeof(s->block))
			mix_512(s);
	}
}

void sha2_512_final(struct sha2_512 *s, uint8_t out[64])
{
	static const uint8_t mark = 0x80, padding = 0;
	uint64_t bits = s->len * 8;
	uint8_t end[16] = {0}; /* the length; its upper half is zero */
	sha2_512_update(s, &mark, 1);
	while (s->len % sizeof(s->block) != sizeof(s->block) - sizeof(end))
		sha2_512_update(s, &padding, 1);
	for (unsigned i = 0; i < 8; i++)
		end[8 + i] = (uint8_t)(bits >> (56 - 8 * i));
	sha2_512_update(s, end, sizeof(end));
	for (unsigned i = 0; i < 64; i++)
		out[i] = (uint8_t)(s->h[i / 8] >> (56 - 8 * (i % 8)));
}
