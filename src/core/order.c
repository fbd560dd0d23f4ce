#include "core/order.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Bottom-up merge sort: stable, so that equal elements keep the order they came in. */
void order_sort(uint32_t *index, uint32_t *scratch, size_t count, order_before *before, const void *ctx) {
	bool sorted = true;
	for (size_t i = 1; i < count && sorted; i++)
		sorted = !before(ctx, index[i], index[i - 1]);
	if (sorted)
		return;
	uint32_t *from = index, *to = scratch;
	for (size_t width = 1; width < count; width *= 2) {
		for (size_t lo = 0; lo < count; lo += 2 * width) {
			size_t mid = lo + width < count ? lo + width : count;
			size_t hi = lo + 2 * width < count ? lo + 2 * width : count;
			size_t a = lo, b = mid;
			for (size_t at = lo; at < hi; at++)
				to[at] = b == hi || (a < mid && !before(ctx, from[b], from[a])) ? from[a++] : from[b++];
		}
		uint32_t *swap = from;
		from = to;
		to = swap;
	}
	if (from != index)
		memcpy(index, from, count * sizeof *index);
}

/* Hoare's Find (1961). Afterwards nothing left of k is larger and nothing right of it is smaller. */
double order_select(double *values, size_t count, size_t k) {
	assert(k < count);
	ptrdiff_t lo = 0, hi = (ptrdiff_t)count - 1, at = (ptrdiff_t)k;
	while (lo < hi) {
		double pivot = values[at];
		ptrdiff_t i = lo, j = hi;
		do {
			while (values[i] < pivot)
				i++;
			while (values[j] > pivot)
				j--;
			if (i <= j) {
				double swap = values[i];
				values[i++] = values[j];
				values[j--] = swap;
			}
		} while (i <= j);
		if (j < at)
			lo = i;
		if (at < i)
			hi = j;
	}
	return values[k];
}

double order_median(double *values, size_t count) {
	if (count == 0)
		return NAN;
	double upper = order_select(values, count, count / 2);
	if (count % 2 == 1)
		return upper;
	/* selection left everything below the middle on its left: the lower middle is the largest there */
	double lower = values[0];
	for (size_t i = 1; i < count / 2; i++)
		if (values[i] > lower)
			lower = values[i];
	return lower + (upper - lower) / 2;
}
