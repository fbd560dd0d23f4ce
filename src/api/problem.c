#include "api/server.h"

void api_problem(struct buf *out, enum err e, const struct fault *f)
{
	json_open_object(out);
	json_str(out, "type", "about:blank");
	json_str(out, "title", err_title(e));
	json_int(out, "status", err_http_status(e));
	if (f != NULL && f->detail[0] != '\0')
		json_str(out, "detail", f->detail);
	if (f != NULL && f->pointer[0] != '\0')
		json_str(out, "pointer", f->pointer);
	json_close_object(out);
}
