#include "service/call.h"

const struct principal principal_server = {"aviary", ROLE_ADMIN, 0};
