/* What the files of service/actions share. Not for other rooms.
 *
 *   actions.c          opening, upkeep, the mirror that polls are answered from
 *   actions_view.c     actions and their entries, for people; documents for devices
 *   actions_said.c     what devices and operators say about an action; offers and withdrawals
 *   actions_device.c   the device itself: token, registration, attributes, what is installed, confirming by itself
 */
#ifndef AVIARY_SERVICE_ACTIONS_INSIDE_H
#define AVIARY_SERVICE_ACTIONS_INSIDE_H

#include "service/actions.h"
#include "service/registry.h"
#include "service/rollout_parts.h"
#include "service/settings.h"
#include "store/action_store.h"
#include "store/deployment_store.h"
#include "store/device_store.h"

/* One device, as its polls need it: what each poll reads comes first, so that it costs one line of cache or two. */
#define DDI_CHUNK 1024
#define TOKEN_HERE 40 /* longer ones are kept elsewhere */
struct ddi_state {
	int64_t row;               /* whose it is; another one's: worked out anew */
	struct maintenance *window; /* NULL: none */
	uint32_t settings;         /* generation that interval is of */
	uint8_t token_len;         /* 0: none */
	uint8_t kind;              /* of struct action_offer */
	bool wants_attributes, withholds /* a closed window means that nothing is offered */, has_alert;
	char token[TOKEN_HERE];
	char *long_token;
	struct ddi_interval interval;
	int64_t action, installed, noted_at, online_until;
	int64_t forced_at;         /* of timeforced that is not yet; 0: forced or soft all along */
	int64_t window_begin, window_end; /* the present or next one */
	int64_t installed_at;
	int64_t downloads, downloads_of; /* since its last word, of that action */
};

struct actions {
	struct services *s;
	const struct action_options *options;
	struct action_store *store;
	struct device_store *devices;
	struct ddi_state **chunks; /* by the registry's dense number; addresses are stable */
	uint32_t chunk_count;
	uint32_t settings; /* generation; grows with each change */
	struct ddi_polling polling;
	char *polling_text;
	uint32_t sweep;        /* where the walk for overdue devices goes on */
	int64_t polls, tick_ms, tick_due_ms; /* since the last tick */
	double stretch;
	bool is_digesting;
};

/* ---- actions.c ---- */
struct ddi_state *ddi_state_of(struct actions *x, const struct device_state *d); /* made when new; NULL for other protocols */
/* Works it out anew where something has changed. */
AVIARY_MUST_CHECK enum err ddi_refresh(struct call *c, struct device_state *d, struct ddi_state **out);
const char *ddi_token(const struct ddi_state *st); /* token_len bytes */
void ddi_changed(struct call *c, struct device_state *d);
/* actions_able.c: the capabilities that its attributes tell; those of a device without such attributes stay as they are. */
struct device_pair; /* store/device_store.h */
AVIARY_MUST_CHECK enum err ddi_take_capabilities(struct call *c, struct device_state *d, const struct device_pair *pairs, size_t count);
/* The window at now_ms; false: there is none any more. */
bool ddi_window(struct ddi_state *st, int64_t now_ms, bool *is_open);

/* ---- actions_view.c ---- */
/* An action of this device with the deployment that it belongs to. ERR_NOT_FOUND. */
struct action_here {
	struct action_row row;
	struct deployment_row d;
	const struct rollout_request *spec;
	bool is_present;    /* the attempt that is on offer */
	bool is_cancelling; /* to be cancelled first */
	bool is_refused;    /* was, and the device goes on */
	bool is_waiting;    /* for a confirmation */
	bool is_active;     /* any of them */
};
AVIARY_MUST_CHECK enum err action_load(struct call *c, const struct device_state *d, int64_t action, struct action_here *out);
enum delivery_type action_type(const struct action_here *h);
AVIARY_MUST_CHECK enum err action_has_status(struct call *c, int64_t action, enum action_status status, bool *has);

/* ---- actions_said.c ---- */
/* One entry; `before` and `after` are the server's own messages, NULL: none; fb may be NULL. */
AVIARY_MUST_CHECK enum err action_note(struct call *c, int64_t deployment, int64_t action, enum action_status status, const char *before,
	const struct action_feedback *fb, const char *after);

/* ---- actions_device.c ---- */
/* It runs this release now, by this action (0: it said so itself). */
AVIARY_MUST_CHECK enum err ddi_installed(struct call *c, struct device_state *d, int64_t release, int64_t action, int64_t at);

#endif
