#include "api/routes.h"

extern const struct route routes_system[], routes_tokens[], routes_audit[], routes_events[], routes_backup[];
extern const struct route routes_devices[], routes_groups[], routes_models[], routes_artifacts[], routes_releases[],
	routes_rollouts[];
extern const struct route routes_telemetry[], routes_alerts[], routes_receivers[], routes_upstreams[], routes_health[], routes_device_http[], routes_detect[], routes_profiles[],
	routes_selection[], routes_offloading[];
extern const struct route routes_mgmt_system[], routes_mgmt_types[], routes_mgmt_modules[], routes_mgmt_sets[], routes_mgmt_assign[],
	routes_mgmt_targets[], routes_mgmt_actions[], routes_mgmt_filters[], routes_mgmt_rollouts[];

const struct route *const route_tables[] = {
	routes_devices, routes_groups, routes_models, routes_artifacts, routes_releases, routes_rollouts, routes_telemetry,
		routes_alerts, routes_receivers, routes_upstreams, routes_health,
	routes_tokens, routes_audit, routes_events, routes_backup, routes_system, routes_device_http, routes_detect, routes_profiles, routes_selection,
	routes_offloading,
	routes_mgmt_system, routes_mgmt_types, routes_mgmt_modules, routes_mgmt_sets, routes_mgmt_assign, routes_mgmt_targets, routes_mgmt_actions,
	routes_mgmt_filters, routes_mgmt_rollouts,
	NULL,
};
