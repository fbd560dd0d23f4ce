/* Where the server is and who we are: options, then environment, then ~/.config/aviary/ctl.conf, then defaults. */
#ifndef AVIARYCTL_SETTINGS_H
#define AVIARYCTL_SETTINGS_H

#include "command.h"

enum result settings_load(struct ctl *c);
void settings_done(struct settings *s);

#endif
