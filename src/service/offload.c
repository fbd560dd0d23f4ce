#include "service/offload.h"

#include <stddef.h>

enum err offload_submit(const struct offload *o, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	if (o != NULL && o->submit != NULL)
		return o->submit(o->ctx, work, done, arg);
	work(arg);
	done(arg);
	return ERR_OK;
}
