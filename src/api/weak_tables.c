/* Empty tables of the resources that are not written yet. */
#include "api/route.h"

#define EMPTY(name) __attribute__((weak)) const struct route name[1]; const struct route name[1] = {{.method = NULL}}
#if !__has_include("devices.c")
EMPTY(routes_devices);
#endif
#if !__has_include("groups.c")
EMPTY(routes_groups);
#endif
#if !__has_include("models.c") && !__has_include("catalog.c")
EMPTY(routes_models);
#endif
#if !__has_include("artifacts.c")
EMPTY(routes_artifacts);
#endif
#if !__has_include("releases.c")
EMPTY(routes_releases);
#endif
#if !__has_include("rollouts.c")
EMPTY(routes_rollouts);
#endif
#if !__has_include("telemetry.c")
EMPTY(routes_telemetry);
#endif
#if !__has_include("alerts.c")
EMPTY(routes_alerts);
#endif
#if !__has_include("device_http.c")
EMPTY(routes_device_http);
#endif

#if !__has_include("topics.c")
#include "api/topics.h"
enum err topics_open(struct services *s, struct loop *loop, const struct mqtt_config *config, struct topics **out, struct fault *f)
{
	(void)s, (void)loop, (void)config, (void)f;
	*out = NULL;
	return ERR_OK;
}
void topics_start(struct topics *t) { (void)t; }
void topics_after_commit(struct topics *t) { (void)t; }
void topics_commit_failed(struct topics *t) { (void)t; }
void topics_stop(struct topics *t) { (void)t; }
void topics_close(struct topics *t) { (void)t; }
#endif
#if !__has_include("../service/alerts.c")
#include "service/alerts.h"
struct alerts *alerts_open(struct services *s, struct fault *f) { (void)f; return (struct alerts *)s; }
void alerts_close(struct alerts *a) { (void)a; }
enum err alerts_tick(struct call *c) { (void)c; return ERR_OK; }
int64_t alerts_firing(const struct alerts *a) { (void)a; return 0; }
enum err alert_raise(struct call *c, const char *kind, const char *resource, enum alert_severity severity, const char *summary, const char *data)
{
	(void)c, (void)kind, (void)resource, (void)severity, (void)summary, (void)data;
	return ERR_OK;
}
enum err alert_resolve(struct call *c, const char *kind, const char *resource) { (void)c, (void)kind, (void)resource; return ERR_OK; }
enum err alerts_forget_device(struct call *c, const char *device_id) { (void)c, (void)device_id; return ERR_OK; }
enum err alert_install_failed(struct call *c, const char *device_id, int64_t rollout, const char *reason)
{
	(void)c, (void)device_id, (void)rollout, (void)reason;
	return ERR_OK;
}
#endif
#if !__has_include("../service/ingest.c")
#include "service/ingest.h"
struct ingest *ingest_open(struct services *s, struct fault *f) { (void)f; return (struct ingest *)s; }
void ingest_close(struct ingest *i) { (void)i; }
const struct ingest_counters *ingest_counters(const struct ingest *i) { static const struct ingest_counters none; (void)i; return &none; }
const char *ingest_refusal_name(enum ingest_refusal r) { (void)r; return "none"; }
#endif
