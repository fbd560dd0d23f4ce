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
