#include "core/tails.h"

#include <assert.h>
#include <math.h>

#define ROUNDS 100000 /* far more than any argument needs: a bound, not a tolerance */
#define ENOUGH 1e-15
#define TINY 1e-300

static double ln_gamma(double x)
{
	int sign;
	return lgamma_r(x, &sign);
}

/* One step of Lentz's method: the fraction times (1 + a/(b + ...)). */
static double lentz(double *c, double *d, double a, double b)
{
	*d = b + a * *d;
	*c = b + a / *c;
	if (fabs(*d) < TINY)
		*d = TINY;
	if (fabs(*c) < TINY)
		*c = TINY;
	*d = 1 / *d;
	return *c * *d;
}

/* P(a, x), the lower one, by its series: for x < a + 1. */
static double gamma_series(double a, double x)
{
	double term = 1 / a, sum = term;
	for (int i = 1; i < ROUNDS && term > sum * ENOUGH; i++) {
		term *= x / (a + i);
		sum += term;
	}
	return sum * exp(a * log(x) - x - ln_gamma(a));
}

/* Q(a, x), the upper one, by its continued fraction: for x >= a + 1. */
static double gamma_fraction(double a, double x)
{
	double b = x + 1 - a, c = 1 / TINY, d = 1 / b, f = d;
	for (int i = 1; i < ROUNDS; i++) {
		b += 2;
		double step = lentz(&c, &d, -i * (i - a), b);
		f *= step;
		if (fabs(step - 1) < ENOUGH)
			break;
	}
	return f * exp(a * log(x) - x - ln_gamma(a));
}

double tails_chi2(double x, double df)
{
	assert(df > 0);
	double a = df / 2;
	if (!(x > 0))
		return 1;
	x /= 2;
	return x < a + 1 ? 1 - gamma_series(a, x) : gamma_fraction(a, x);
}

double tails_chi2_quantile(double p, double df)
{
	assert(p > 0 && p < 1 && df > 0 && df <= 1e6);
	double low = 0, high = df + 10;
	while (tails_chi2(high, df) > p) {
		low = high;
		high *= 2;
	}
	for (int i = 0; i < 200 && high - low > 1e-12 * high; i++) {
		double middle = (low + high) / 2;
		if (tails_chi2(middle, df) > p)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}

/* The continued fraction of I_x(a, b), which converges fast for x < (a + 1)/(a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
	double c = 1, d = 1 - (a + b) * x / (a + 1);
	d = 1 / (fabs(d) < TINY ? TINY : d);
	double f = d;
	for (int m = 1; m < ROUNDS; m++) {
		f *= lentz(&c, &d, m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), 1);
		double step = lentz(&c, &d, -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)), 1);
		f *= step;
		if (fabs(step - 1) < ENOUGH)
			break;
	}
	return f;
}

double tails_binomial(double n, double k, double rate)
{
	assert(rate >= 0 && rate <= 1);
	if (!(k > 0))
		return 1;
	if (!(k <= n) || rate == 0)
		return 0;
	if (rate == 1)
		return 1;
	/* P(X >= k) = I_rate(k, n - k + 1) */
	double a = k, b = n - k + 1;
	double front = exp(ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * log(rate) + b * log1p(-rate));
	if (rate < (a + 1) / (a + b + 2))
		return front * beta_fraction(a, b, rate) / a;
	return 1 - front * beta_fraction(b, a, 1 - rate) / b;
}
