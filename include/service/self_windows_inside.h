/* One earlier window as it is frozen: shared by self_windows.c and self_past.c only. */
#ifndef AVIARY_SERVICE_SELF_WINDOWS_INSIDE_H
#define AVIARY_SERVICE_SELF_WINDOWS_INSIDE_H

#include "base/buf.h"
#include "core/varint.h"
#include "service/self_windows.h"

#define SELF_PLACE_SHIFT 48 /* row ids stay far below */

struct self_shape {
	int64_t reports[SELF_MARKS]; /* up to each mark */
	bool is_silent[SELF_MARKS];  /* at the mark */
	struct metric_point *points; /* points[mark * gate_count + gate], up to the mark */
};
size_t self_shape_points(uint32_t gate_count);
void self_shape_encode(const struct self_shape *w, uint32_t gate_count, struct buf *out); /* appends */
/* `w->points` has room. false: not what self_shape_encode writes. */
bool self_shape_decode(struct self_shape *w, uint32_t gate_count, const void *data, size_t len);

#endif
