/* Upper tails of the chi-square and binomial distributions, down to 1e-300, and the quantile that goes with it.
 *
 * Regularised incomplete gamma and beta functions by their series and continued fractions (Abramowitz and Stegun 6.5.29,
 * 6.5.31, 26.5.8; continued fractions by Lentz 1976), relative error below 1e-9. Real-valued degrees of freedom and
 * counts: scaled statistics have both. Not here: bounds of a rate (core/hardstop.h).
 */
#ifndef AVIARY_CORE_TAILS_H
#define AVIARY_CORE_TAILS_H

/* P(X > x), X chi-square with df > 0 degrees of freedom. x <= 0: 1. */
double tails_chi2(double x, double df);
/* x with P(X > x) = p, 0 < p < 1, 0 < df <= 1e6. */
double tails_chi2_quantile(double p, double df);
/* P(X >= k), X binomial (n, rate), 0 <= rate <= 1. k <= 0: 1; k > n: 0. */
double tails_binomial(double n, double k, double rate);

#endif
