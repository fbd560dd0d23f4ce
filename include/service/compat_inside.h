/* What compats.c and compat_view.c share; nobody else includes this. */
#ifndef AVIARY_SERVICE_COMPAT_INSIDE_H
#define AVIARY_SERVICE_COMPAT_INSIDE_H

#include "service/catalog.h"
#include "service/compats.h"

/* All reasons that leave the device out, with what it has. */
AVIARY_MUST_CHECK enum err compat_view_why(struct call *c, struct compat_view *v, const struct device_state *d, const char **why);
bool compats_allow_unknown(const struct compats *x);
/* The first artifact of the version for the device that it can run; 0: there is none. */
AVIARY_MUST_CHECK enum err compat_view_pick(struct call *c, struct compat_view *v, const struct device_state *d, int64_t version, int64_t *artifact);
/* As compats_variant. */
AVIARY_MUST_CHECK enum err compat_view_variant(struct call *c, struct compat_view *v, const struct device_state *d, int64_t artifact,
	enum compat *verdict, const char **why);

#endif
