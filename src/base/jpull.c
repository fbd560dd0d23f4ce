/* C99 and <string.h> only: this file also runs on microcontrollers, where double arithmetic may be emulated, long
 * double may be double, and strtod may depend on a locale. */
#include "base/jpull.h"

#include <string.h>

enum state { ST_VALUE, ST_VALUE_OR_END, ST_KEY_OR_END, ST_AFTER, ST_END, ST_ERROR };

void jp_init(struct jp *p, const char *text, size_t len)
{
	memset(p, 0, sizeof *p);
	p->text = text;
	p->len = len;
	p->state = ST_VALUE;
}

static enum jp_event fail(struct jp *p, const char *error)
{
	p->state = ST_ERROR;
	p->error = error;
	p->token = NULL;
	p->token_len = 0;
	return JP_ERROR;
}

/* The byte at p->at, or 0 at the end of the text (a NUL in the text is no JSON either, so the two need no telling
 * apart). */
static unsigned char peek(const struct jp *p)
{
	return p->at < p->len ? (unsigned char)p->text[p->at] : 0;
}

static void skip_blanks(struct jp *p)
{
	while (p->at < p->len) {
		char c = p->text[p->at];
		if (c != ' ' && c != '\n' && c != '\r' && c != '\t') break;
		p->at++;
	}
}

static bool is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static int hex_digit(unsigned char c)
{
	if (is_digit(c)) return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

/* Four hex digits at s, or -1. */
static long hex4(const char *s, size_t len)
{
	long v = 0;
	if (len < 4) return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit((unsigned char)s[i]);
		if (digit < 0) return -1;
		v = v * 16 + digit;
	}
	return v;
}

size_t jp_utf8_len(const char *s, size_t len)
{
	if (len == 0) return 0;
	unsigned char c = (unsigned char)s[0];
	if (c < 0x80) return 1;
	size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
	if (c < 0xC2 || c > 0xF4 || len < n) return 0;
	unsigned char second = (unsigned char)s[1];
	unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80; /* overlong forms below */
	unsigned char high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF; /* surrogates, beyond U+10FFFF above */
	if (second < low || second > high) return 0;
	for (size_t i = 2; i < n; i++)
		if (((unsigned char)s[i] & 0xC0) != 0x80) return 0;
	return n;
}

/* The escape at s (after the backslash) as a code point, and how many bytes it has; 0 when it is not one, or is
 * U+0000. */
static unsigned long read_escape(const char *s, size_t len, size_t *used)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (len == 0) return 0;
	if (s[0] != 'u') {
		const char *at = s[0] ? strchr(from, s[0]) : NULL;
		*used = 1;
		return at ? (unsigned char)to[at - from] : 0;
	}
	long unit = hex4(s + 1, len - 1);
	*used = 5;
	if (unit <= 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) return 0;
	if (unit < 0xD800 || unit > 0xDFFF) return (unsigned long)unit;
	if (len < 11 || s[5] != '\\' || s[6] != 'u') return 0;
	long low = hex4(s + 7, len - 7);
	*used = 11;
	if (low < 0xDC00 || low > 0xDFFF) return 0;
	return 0x10000UL + (((unsigned long)unit - 0xD800UL) << 10) + ((unsigned long)low - 0xDC00UL);
}

/* From the opening quote to behind the closing one; the token is what is between. */
static bool read_string(struct jp *p)
{
	size_t start = ++p->at;
	while (p->at < p->len) {
		unsigned char c = (unsigned char)p->text[p->at];
		size_t step = 1;
		if (c == '"') {
			p->token = p->text + start;
			p->token_len = p->at++ - start;
			return true;
		}
		if (c < 0x20) {
			fail(p, "control character in a string");
			return false;
		}
		if (c == '\\') {
			if (read_escape(p->text + p->at + 1, p->len - p->at - 1, &step) == 0) {
				fail(p, "bad escape in a string");
				return false;
			}
			step++;
		} else if (c >= 0x80 && (step = jp_utf8_len(p->text + p->at, p->len - p->at)) == 0) {
			fail(p, "invalid UTF-8");
			return false;
		}
		p->at += step;
	}
	fail(p, "unterminated string");
	return false;
}

static bool skip_digits(struct jp *p)
{
	if (!is_digit(peek(p))) return false;
	while (is_digit(peek(p))) p->at++;
	return true;
}

static enum jp_event read_number(struct jp *p)
{
	size_t start = p->at;
	if (peek(p) == '-') p->at++;
	if (peek(p) == '0') p->at++;
	else if (!skip_digits(p)) return fail(p, "malformed number");
	if (peek(p) == '.') {
		p->at++;
		if (!skip_digits(p)) return fail(p, "malformed number");
	}
	if (peek(p) == 'e' || peek(p) == 'E') {
		p->at++;
		if (peek(p) == '+' || peek(p) == '-') p->at++;
		if (!skip_digits(p)) return fail(p, "malformed number");
	}
	p->token = p->text + start;
	p->token_len = p->at - start;
	return JP_NUMBER;
}

static enum jp_event read_word(struct jp *p, const char *word, enum jp_event event)
{
	size_t n = strlen(word);
	if (p->len - p->at < n || memcmp(p->text + p->at, word, n) != 0) return fail(p, "unknown word");
	p->token = p->text + p->at;
	p->token_len = n;
	p->at += n;
	return event;
}

static enum jp_event open_container(struct jp *p, bool is_object)
{
	if (p->depth >= JP_MAX_DEPTH) return fail(p, "nested too deeply");
	uint32_t bit = (uint32_t)1 << p->depth;
	p->objects = is_object ? p->objects | bit : p->objects & ~bit;
	p->depth++;
	p->at++;
	p->state = is_object ? ST_KEY_OR_END : ST_VALUE_OR_END;
	return is_object ? JP_OBJECT : JP_ARRAY;
}

static enum jp_event close_container(struct jp *p, bool is_object)
{
	p->depth--;
	p->at++;
	p->state = ST_AFTER;
	return is_object ? JP_OBJECT_END : JP_ARRAY_END;
}

static enum jp_event read_value(struct jp *p)
{
	unsigned char c = peek(p);
	p->state = ST_AFTER;
	switch (c) {
	case '{': return open_container(p, true);
	case '[': return open_container(p, false);
	case '"': return read_string(p) ? JP_STRING : JP_ERROR;
	case 't': return read_word(p, "true", JP_TRUE);
	case 'f': return read_word(p, "false", JP_FALSE);
	case 'n': return read_word(p, "null", JP_NULL);
	default: break;
	}
	if (c == '-' || is_digit(c)) return read_number(p);
	return fail(p, p->at >= p->len ? "unexpected end" : "expected a value");
}

static enum jp_event read_key(struct jp *p)
{
	if (peek(p) != '"') return fail(p, "expected a member name");
	if (!read_string(p)) return JP_ERROR;
	skip_blanks(p);
	if (peek(p) != ':') return fail(p, "expected a colon");
	p->at++;
	p->state = ST_VALUE;
	return JP_KEY;
}

/* After a value: the end of the text, a comma and what follows it, or the end of the container. */
static enum jp_event read_after(struct jp *p)
{
	if (p->depth == 0) {
		if (p->at < p->len) return fail(p, "trailing text");
		p->state = ST_END;
		return JP_END;
	}
	bool in_object = p->objects >> (p->depth - 1) & 1;
	if (peek(p) == (in_object ? '}' : ']')) return close_container(p, in_object);
	if (p->at >= p->len) return fail(p, "unexpected end");
	if (peek(p) != ',') return fail(p, "expected a comma or the end of the container");
	p->at++;
	skip_blanks(p);
	return in_object ? read_key(p) : read_value(p);
}

enum jp_event jp_next(struct jp *p)
{
	if (p->state == ST_ERROR) return JP_ERROR;
	if (p->state == ST_END) return JP_END;
	p->token = NULL;
	p->token_len = 0;
	skip_blanks(p);
	switch ((enum state)p->state) {
	case ST_KEY_OR_END: return peek(p) == '}' ? close_container(p, true) : read_key(p);
	case ST_VALUE_OR_END: return peek(p) == ']' ? close_container(p, false) : read_value(p);
	case ST_VALUE: return read_value(p);
	case ST_AFTER: return read_after(p);
	case ST_END:
	case ST_ERROR: break;
	}
	return JP_ERROR;
}

bool jp_skip(struct jp *p, enum jp_event event)
{
	if (event == JP_KEY) event = jp_next(p);
	if (event == JP_ERROR || event == JP_END) return false;
	if (event != JP_OBJECT && event != JP_ARRAY) return true;
	uint8_t outside = (uint8_t)(p->depth - 1);
	while (p->depth > outside)
		if (jp_next(p) == JP_ERROR) return false;
	return true;
}

bool jp_is(const struct jp *p, const char *name)
{
	size_t n = strlen(name);
	return p->token != NULL && n == p->token_len && memcmp(p->token, name, n) == 0 && memchr(name, '\\', n) == NULL;
}

bool jp_int(const struct jp *p, int64_t *value)
{
	const char *s = p->token, *end;
	if (s == NULL || p->token_len == 0) return false;
	end = s + p->token_len;
	bool negative = *s == '-';
	if (negative) s++;
	uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0), v = 0;
	if (s == end) return false;
	for (; s < end; s++) {
		if (!is_digit((unsigned char)*s)) return false;
		uint64_t digit = (uint64_t)(*s - '0');
		if (v > (limit - digit) / 10) return false;
		v = v * 10 + digit;
	}
	*value = negative ? (v > (uint64_t)INT64_MAX ? INT64_MIN : -(int64_t)v) : (int64_t)v;
	return true;
}

/* Numbers: significant digits and a power of ten. */
struct decimal {
	uint64_t digits; /* the first 19 */
	long exponent;   /* value = digits * 10^exponent */
	bool negative;
};

/* Exponents beyond this are zero or overflow whatever the digits are; cut, so that sums of them stay small. */
enum { EXPONENT_CUT = 100000000 };

static bool scan_decimal(const char *s, const char *end, struct decimal *d)
{
	bool fraction = false;
	int kept = 0;
	memset(d, 0, sizeof *d);
	if (s < end && *s == '-') {
		d->negative = true;
		s++;
	}
	if (s == end || !is_digit((unsigned char)*s)) return false;
	for (; s < end && (is_digit((unsigned char)*s) || *s == '.'); s++) {
		if (*s == '.') {
			fraction = true;
			continue;
		}
		if (kept < 19) {
			d->digits = d->digits * 10 + (uint64_t)(*s - '0');
			if (d->digits > 0) kept++;
			if (fraction) d->exponent--;
		} else if (!fraction && d->exponent < EXPONENT_CUT) {
			d->exponent++;
		}
	}
	if (s == end) return true;
	if (*s != 'e' && *s != 'E') return false;
	s++;
	bool minus = s < end && *s == '-';
	if (s < end && (*s == '-' || *s == '+')) s++;
	long e = 0;
	for (; s < end && is_digit((unsigned char)*s); s++)
		if (e < EXPONENT_CUT) e = e * 10 + (*s - '0');
	d->exponent += minus ? -e : e;
	return s == end;
}

static uint64_t multiply_high(uint64_t a, uint64_t b, uint64_t *low)
{
	uint64_t a1 = a >> 32, a0 = a & 0xFFFFFFFF, b1 = b >> 32, b0 = b & 0xFFFFFFFF;
	uint64_t mid = a1 * b0 + (a0 * b0 >> 32), mid2 = a0 * b1 + (mid & 0xFFFFFFFF);
	*low = a * b;
	return a1 * b1 + (mid >> 32) + (mid2 >> 32);
}

/* A positive number m * 2^e with the top bit of m set. */
struct wide {
	uint64_t m;
	int e;
};

static struct wide wide_multiply(struct wide a, struct wide b)
{
	struct wide r;
	uint64_t low;
	r.m = multiply_high(a.m, b.m, &low);
	r.e = a.e + b.e + 64;
	if (!(r.m >> 63)) {
		r.m = r.m << 1 | low >> 63;
		low <<= 1;
		r.e--;
	}
	if (low >> 63 && ++r.m == 0) { /* round to nearest; the carry may run out of the top */
		r.m = (uint64_t)1 << 63;
		r.e++;
	}
	return r;
}

static double assemble(uint64_t fraction, int exponent_bits, bool negative)
{
	uint64_t bits = ((uint64_t)(negative ? 1 : 0) << 63) | ((uint64_t)exponent_bits << 52) | fraction;
	double value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

/* Rounds to binary64, half to even; false on overflow. */
static bool wide_to_double(struct wide w, bool negative, double *value)
{
	int exponent_bits = w.e + 63 + 1023, shift = 11;
	if (exponent_bits >= 2047) return false;
	if (exponent_bits < 1) { /* subnormal: fewer bits are kept */
		shift += 1 - exponent_bits;
		exponent_bits = 0;
	}
	if (shift > 64) {
		*value = assemble(0, 0, negative);
		return true;
	}
	uint64_t kept = shift == 64 ? 0 : w.m >> shift, rest = w.m << (64 - shift), half = (uint64_t)1 << 63;
	if (rest > half || (rest == half && (kept & 1))) kept++;
	/* A carry out of the 53 bits (or of the subnormals) goes into the exponent by itself when the hidden bit is added
	 * there. */
	uint64_t bits = exponent_bits == 0 ? kept : ((uint64_t)(exponent_bits - 1) << 52) + kept;
	if (bits >> 52 >= 2047) return false;
	*value = assemble(bits & (((uint64_t)1 << 52) - 1), (int)(bits >> 52), negative);
	return true;
}

/* Nine factors 10^(2^i), each rounded to 64 bits: at most ten roundings of 2^-64 each and 1e-18 from digits past the
 * 19th are below 0.02 units in the last place of a double, on top of the final rounding. */
static bool decimal_to_double(const struct decimal *d, double *value)
{
	static const struct wide tens[2][9] = {
	    {{UINT64_C(0xa000000000000000), -60},
	     {UINT64_C(0xc800000000000000), -57},
	     {UINT64_C(0x9c40000000000000), -50},
	     {UINT64_C(0xbebc200000000000), -37},
	     {UINT64_C(0x8e1bc9bf04000000), -10},
	     {UINT64_C(0x9dc5ada82b70b59e), 43},
	     {UINT64_C(0xc2781f49ffcfa6d5), 149},
	     {UINT64_C(0x93ba47c980e98ce0), 362},
	     {UINT64_C(0xaa7eebfb9df9de8e), 787}},
	    {{UINT64_C(0xcccccccccccccccd), -67},
	     {UINT64_C(0xa3d70a3d70a3d70a), -70},
	     {UINT64_C(0xd1b71758e219652c), -77},
	     {UINT64_C(0xabcc77118461cefd), -90},
	     {UINT64_C(0xe69594bec44de15b), -117},
	     {UINT64_C(0xcfb11ead453994ba), -170},
	     {UINT64_C(0xa87fea27a539e9a5), -276},
	     {UINT64_C(0xddd0467c64bce4a1), -489},
	     {UINT64_C(0xc0314325637a193a), -914}}};
	struct wide w = {d->digits, 0};
	if (d->exponent > 310) return false;
	if (d->exponent < -400) { /* 19 digits times 10^-400 are below the least subnormal */
		*value = assemble(0, 0, d->negative);
		return true;
	}
	while (!(w.m >> 63)) {
		w.m <<= 1;
		w.e--;
	}
	unsigned long power = (unsigned long)(d->exponent < 0 ? -d->exponent : d->exponent);
	for (int i = 0; i < 9; i++)
		if (power >> i & 1) w = wide_multiply(w, tens[d->exponent < 0][i]);
	return wide_to_double(w, d->negative, value);
}

bool jp_double(const struct jp *p, double *value)
{
	static const double exact_tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
	                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	struct decimal d;
	if (p->token == NULL || !scan_decimal(p->token, p->token + p->token_len, &d)) return false;
	if (d.digits == 0) {
		*value = assemble(0, 0, d.negative);
		return true;
	}
	/* Both factors exact, so one rounding (Clinger, "How to read floating point numbers accurately", 1990). */
	if (d.digits <= (uint64_t)1 << 53 && d.exponent >= -22 && d.exponent <= 22) {
		double v = (double)d.digits;
		v = d.exponent < 0 ? v / exact_tens[-d.exponent] : v * exact_tens[d.exponent];
		*value = d.negative ? -v : v;
		return true;
	}
	return decimal_to_double(&d, value);
}

static size_t put_utf8(char out[4], unsigned long c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (c & 0x3F));
		c >>= 6;
	}
	out[0] = (char)((0xF00 >> n & 0xFF) | c);
	return n;
}

int jp_unescape(const struct jp *p, char *out, size_t out_size)
{
	size_t used = 0, step, n;
	if (p->token == NULL || out_size == 0) return -1;
	for (size_t i = 0; i < p->token_len; i += step) {
		char utf8[4] = {p->token[i]};
		step = n = 1;
		if (utf8[0] == '\\') {
			unsigned long c = read_escape(p->token + i + 1, p->token_len - i - 1, &step);
			if (c == 0) return -1;
			step++;
			n = put_utf8(utf8, c);
		}
		if (n >= out_size - used) return -1;
		memcpy(out + used, utf8, n);
		used += n;
	}
	out[used] = '\0';
	return used > 0x7FFFFFFF ? -1 : (int)used;
}
