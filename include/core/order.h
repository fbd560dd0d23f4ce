/* Sorting and medians without allocation (qsort may allocate), the same on every machine. */
#ifndef AVIARY_CORE_ORDER_H
#define AVIARY_CORE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sorts an array of indices 0..count-1 (any content that `before` understands) so that before(ctx, a, b) holds for
 * neighbours. `before` is a strict order; equal elements come out in any, but reproducible order. `scratch` has
 * `count` elements. */
typedef bool order_before(const void *ctx, uint32_t a, uint32_t b);
void order_sort(uint32_t *index, uint32_t *scratch, size_t count, order_before *before, const void *ctx);

/* The k-th smallest (from 0) of finite values; reorders them. count > k. */
double order_select(double *values, size_t count, size_t k);
/* Middle value, or the mean of the two middle ones; reorders them. NAN when empty. */
double order_median(double *values, size_t count);

#endif
