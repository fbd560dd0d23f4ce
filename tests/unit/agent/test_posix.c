/* Power-cut exhaustion on what POSIX promises: the storage of aviary-agent (src/aviary-agent/disk.c itself) on a file system that
 * forgets (simfs.h), through a whole life (plan.h). At every call that changes the medium the power may go: each state that the
 * cut may leave, or a seeded sample where there are too many, is a device that starts again. It must run a whole, verified
 * release, know its floor and its secret, show the application that release, and a share of them live on to the plan's end, with
 * a second cut on the way.
 *
 * AVIARY_POWERCUT=long tries more states a cut point and has all of them live on (`make bench-powercut`); AVIARY_POWERCUT_SEED. */
#include "plan.h"

#include "simfs.h"

#define mkdirat fs_mkdirat
#define mkdir fs_mkdir
#define openat fs_openat
#define open fs_open
#define close fs_close
#define pwrite fs_pwrite
#define pread fs_pread
#define fsync fs_fsync
#define fdatasync fs_fdatasync
#define fallocate fs_fallocate
#define renameat fs_renameat
#define unlinkat fs_unlinkat
#define symlinkat fs_symlinkat
#define readlinkat fs_readlinkat
#define fstatat fs_fstatat
#define faccessat fs_faccessat
#define flock(fd, operation) fs_flock(fd, operation)
#define DIR struct fs_reader
#define fdopendir fs_fdopendir
#define readdir fs_readdir
#define closedir fs_closedir
#include "../../../src/aviary-agent/disk.c"
#undef open
#undef close
#undef mkdir

/* How much is tried. */
static struct {
	unsigned enumerated; /* all states are tried where there are at most this many pending yes-or-noes */
	int drawn;           /* else so many seeded ones beside the four corners */
	int lives_on;        /* one state in so many is lived to the end */
	uint64_t seed;
} effort = {7, 40, 12, 1};

static struct {
	long cut_points, enumerated, states, lives, second_cuts, lost;
} tried;

/* One device: a world whose storage is a disk. */
struct life {
	struct world *w;
	struct plan plan;
	struct fs *fs;
	struct disk disk;
	bool is_open;
	char secret[65];      /* "" until the disk said that it is durable */
	uint64_t floor;       /* in the newest record that was said to be durable */
	int depth, cut_at;    /* cut_at: the one change at which a life of depth 1 is cut again; 0: at every change */
};

static struct life *life_of(void *host)
{
	return ((struct world *)host)->storage;
}

/* --- ports on the disk --- */

static bool p_state_read(void *host, int copy, void *out, size_t size)
{
	return disk_state_read(&life_of(host)->disk, copy, out, size);
}
static bool p_state_write(void *host, int copy, const void *data, size_t size)
{
	struct world *w = host;
	bool ok = disk_state_write(&life_of(host)->disk, copy, data, size);
	if (ok)
		life_of(host)->floor = w->agent.record.floor;
	return ok;
}
static bool p_part_begin(void *host, int slot, int part, uint64_t size_bytes, const uint8_t *sha256)
{
	struct world *w = host;
	(void)sha256;
	assert_int_not_equal(slot, w->agent.record.active);
	assert_int_not_equal(slot, w->shadow_slot);
	return disk_part_begin(&life_of(host)->disk, slot, part, size_bytes);
}
static bool p_part_write(void *host, int slot, int part, uint64_t offset, const void *data, size_t len)
{
	return disk_part_write(&life_of(host)->disk, slot, part, offset, data, len);
}
static bool p_part_read(void *host, int slot, int part, uint64_t offset, void *out, size_t len)
{
	return disk_part_read(&life_of(host)->disk, slot, part, offset, out, len);
}
static bool p_slot_sync(void *host, int slot)
{
	return disk_slot_sync(&life_of(host)->disk, slot);
}
static enum agent_activation p_activate(void *host, int slot, bool trial)
{
	struct world *w = host;
	if (!disk_use_slot(&life_of(host)->disk, slot, agent_running(&w->agent)))
		return AGENT_ACTIVATE_FAILED;
	return w_activate(host, slot, trial);
}
static bool p_shadow_start(void *host, int slot, const struct agent_release *release)
{
	return disk_name_slot(&life_of(host)->disk, slot, release) && w_shadow_start(host, slot, release);
}
static void p_config_changed(void *host, const char *json, size_t len, int64_t rev)
{
	(void)disk_put_config(&life_of(host)->disk, json, len);
	w_config_changed(host, json, len, rev);
}

static struct agent_ports p_ports;

static void make_ports(void)
{
	p_ports = w_ports;
	p_ports.state_read = p_state_read;
	p_ports.state_write = p_state_write;
	p_ports.part_begin = p_part_begin;
	p_ports.part_write = p_part_write;
	p_ports.part_read = p_part_read;
	p_ports.slot_sync = p_slot_sync;
	p_ports.activate = p_activate;
	p_ports.shadow_start = p_shadow_start;
	p_ports.config_changed = p_config_changed;
}

/* --- power --- */

/* A start: the directory is opened anew, as the program does it. */
static void restart(struct world *w)
{
	struct life *l = w->storage;
	struct fault f;
	char secret[65];
	if (l->is_open)
		disk_close(&l->disk);
	l->is_open = true;
	if (disk_open(&l->disk, "/device", true, &f) == ERR_OK && disk_secret(&l->disk, secret, &f) == ERR_OK) {
		assert_true(!l->secret[0] || strcmp(l->secret, secret) == 0); /* it stays who it is */
		memcpy(l->secret, secret, sizeof(secret));
		return;
	}
	assert_true(l->fs->full_to > 0); /* only a full disk explains it */
}

static void close_life(struct life *l)
{
	uint8_t unused[32];
	if (l->w->agent.is_hashing)
		w_sha_final(l->w, &l->w->agent.sha, unused);
	l->w->agent.is_hashing = false;
	if (l->w->memory_is_lent)
		w_memory_return(l->w, l->w->memory);
	if (l->is_open)
		disk_close(&l->disk);
	fs_free(l->fs);
}

static void on_change(void *ctx);

/* A device with what is left of another one's medium; the server, the clock and the plan are the same. */
static struct life *life_after(const struct life *from, struct fs *fs)
{
	struct life *l = malloc(sizeof(*l));
	struct world *w = calloc(1, sizeof(*w)); /* its images stay unused: pages that are never touched */
	size_t tail = offsetof(struct world, state);
	memcpy(w, from->w, offsetof(struct world, written));
	memcpy((char *)w + tail, (const char *)from->w + tail, sizeof(*w) - tail);
	w->memory_is_lent = false;
	w->memory = NULL;
	w->agent.is_hashing = false;
	w->storage = l;
	w->until_ms = INT64_MAX;
	memset(w->events, 0, sizeof(w->events));
	*l = (struct life){.w = w, .plan = from->plan, .fs = fs, .floor = from->floor, .depth = from->depth + 1};
	memcpy(l->secret, from->secret, sizeof(l->secret));
	fs->on_change = on_change;
	fs->ctx = l;
	fs_now = fs;
	return l;
}

static bool file_is(struct fs_node *dir, const char *name, const struct blob *b)
{
	const struct fs_node *link = fs_find(dir, name), *file = link ? fs_find(dir, link->target) : NULL;
	return file && file->now.size >= b->size && (b->size == 0 || memcmp(file->now.bytes, b->bytes, b->size) == 0);
}

/* What an application finds behind `current` is the release that runs, byte by byte. */
static bool application_is_whole(const struct life *l)
{
	const struct agent_release *running = agent_running(&l->w->agent);
	struct fs_node *current = fs_find(l->fs->root, "current");
	if (agent_running_slot(&l->w->agent) == AGENT_SLOT_FACTORY)
		return !current && strcmp(running->name, "factory") == 0;
	struct fs_node *slot = current ? fs_find(l->fs->root, current->target) : NULL;
	for (int r = 0; slot && r < RELEASES; r++) {
		const struct test_release *t = &l->w->releases[r];
		bool is_it = strcmp(t->name, running->name) == 0 && t->counter == running->counter;
		for (unsigned i = 0; is_it && i < t->count; i++) {
			char name[AGENT_NAME_MAX + 16];
			snprintf(name, sizeof(name), "%s-%s", t->blobs[i].kind, t->blobs[i].name);
			is_it = file_is(slot, name, &t->blobs[i]);
		}
		if (is_it)
			return true;
	}
	return false;
}

/* NULL, or what is lost. floor_then: the floor in memory when the power went (a confirmation may have been on its way). */
static const char *start_again(struct life *l, uint64_t floor_then)
{
	struct agent_inspection seen;
	struct world *w = l->w;
	bool had_saved = l->floor > 0;
	restart(w);
	assert_true(agent_init(&w->agent, &w->config, &p_ports, w));
	if (!agent_inspect(&w->agent, &seen) || !seen.is_verified || seen.is_damaged)
		return "no whole release";
	if (had_saved && !seen.has_state)
		return "no state record";
	if (seen.floor != (had_saved ? l->floor : 1) && seen.floor != floor_then)
		return "the floor moved without a confirmation, or back";
	if (seen.is_trial && seen.floor >= seen.release.counter)
		return "the floor moved before the confirmation";
	w_power_up(w);
	if (!application_is_whole(l))
		return "the application finds another release";
	if (l->plan.step == SHADOW_STEP && (w->agent.record.floor != 7 || strcmp(agent_running(&w->agent)->name, "kws-1") != 0))
		return "a shadow runs";
	return NULL;
}

static void live_on(struct life *l)
{
	assert_true(follow(l->w, &l->plan));
	assert_int_equal(l->w->wrong_hashes, 0); /* the record never said more than was stored */
	assert_true(w_is_running(l->w, &l->w->releases[3]));
	assert_true(application_is_whole(l));
	tried.lives++;
}

static void try_state(const struct life *from, struct fs_fate *fate, bool lives_on)
{
	struct fs *outer = fs_now;
	uint64_t floor_then = from->w->agent.record.floor;
	struct life *l = life_after(from, fs_crash(from->fs, fate));
	if (lives_on && from->depth == 0)
		l->cut_at = 1 + (int)(fs_draw(fate) % 400);
	else
		l->fs->on_change = NULL;
	tried.states++;
	const char *lost = start_again(l, floor_then);
	if (lost) {
		tried.lost++;
		print_message("lost at change %d, step %d: %s\n", from->fs->changes_made, from->plan.step, lost);
	} else if (lives_on) {
		live_on(l);
	}
	close_life(l);
	free(l->w);
	free(l);
	fs_now = outer;
}

static void try_cut(const struct life *l)
{
	static const unsigned percents[] = {50, 20, 80, 95, 5};
	uint64_t seed = effort.seed * 1000003 + (uint64_t)tried.cut_points;
	struct fs_fate fate = {.how = FS_NOTHING, .random = seed};
	tried.cut_points++;
	long share = tried.states;
	for (int how = FS_NOTHING; how <= FS_DATA_ONLY; how++) {
		fate.how = how;
		fate.random = seed + (uint64_t)how;
		try_state(l, &fate, ++share % effort.lives_on == 0);
	}
	fate.how = FS_NOTHING;
	fs_free(fs_crash(l->fs, &fate)); /* asks how much is pending when nothing of it survives */
	if (fate.asked <= effort.enumerated) {
		tried.enumerated++;
		for (uint64_t bits = 1, last = (UINT64_C(1) << fate.asked) - 1; bits < last; bits++) {
			fate = (struct fs_fate){.how = FS_COUNTED, .bits = bits, .random = seed + bits};
			try_state(l, &fate, ++share % effort.lives_on == 0);
		}
		return;
	}
	for (int i = 0; i < effort.drawn; i++) {
		fate = (struct fs_fate){.how = FS_DRAWN, .random = seed * 131 + (uint64_t)i, .percent = percents[i % 5]};
		try_state(l, &fate, ++share % effort.lives_on == 0);
	}
}

/* Every change of the first life is a cut point; of a life after a cut, one is. */
static void on_change(void *ctx)
{
	struct life *l = ctx;
	if (l->depth == 0) {
		try_cut(l);
	} else if (l->depth == 1 && l->cut_at > 0 && l->fs->changes_made >= l->cut_at) {
		struct fs_fate fate = {.how = FS_DRAWN, .random = effort.seed + (uint64_t)tried.states, .percent = 50};
		l->cut_at = 0;
		tried.second_cuts++;
		try_state(l, &fate, true);
	}
}

static void begin_life(struct life *l, uint64_t seed)
{
	memset(l, 0, sizeof(*l));
	l->w = w_new(seed);
	l->fs = fs_new();
	l->plan = (struct plan){0, 1};
	l->w->ports = &p_ports;
	l->w->restart = restart;
	l->w->storage = l;
	fs_now = l->fs;
}

static void end_life(struct life *l)
{
	close_life(l);
	l->w->storage = l;
	w_free(l->w);
}

static void test_power_cut_exhaustion(void **unused)
{
	(void)unused;
	struct life l;
	begin_life(&l, 7);
	l.fs->on_change = on_change;
	l.fs->ctx = &l;
	offer(l.w, &l.plan);
	w_power_up(l.w);
	assert_true(follow(l.w, &l.plan));
	try_cut(&l); /* the last change is over now */
	print_message("power-cut exhaustion: %ld cut points, %ld crash states tried, devices lost %ld\n", tried.cut_points, tried.states, tried.lost);
	print_message("  at %ld cut points all states, at the others a sample; %ld devices lived on to the end of the plan, %ld were cut a second time\n",
	              tried.enumerated, tried.lives, tried.second_cuts);
	assert_int_equal(tried.lost, 0);
	assert_true(tried.cut_points > 300 && tried.states > 5 * tried.cut_points && tried.second_cuts > 10);
	end_life(&l);
}

/* The disk is full at the k-th change of the plan and at the len - 1 after it: whatever is refused, the device keeps running a
 * whole release and says why it could not; once there is room again the server's next attempt succeeds. */
static int live_with_full_disk(int k, int len)
{
	struct life l;
	begin_life(&l, 9);
	w_power_up(l.w); /* its directory is there: it ran before the disk was full */
	int before = l.fs->changes_made;
	l.fs->full_from = before + k;
	l.fs->full_to = k ? before + k + len : 0;
	offer(l.w, &l.plan);
	w_run(l.w, HOUR);
	w_assert_whole(l.w);
	if (last_report_says(l.w, "d-0", 1, "failed"))
		assert_non_null(strstr(l.w->last_report, "\"reason\":\""));
	assert_true(follow(l.w, &l.plan));
	l.fs->full_to = 0;
	w_reboot_now(l.w);
	assert_true(application_is_whole(&l));
	assert_true(w_is_running(l.w, &l.w->releases[3]));
	int changes = l.fs->changes_made - before;
	end_life(&l);
	return changes;
}

/* It stays full: no update is possible, and none is half there. */
static int live_on_a_full_disk(int k)
{
	struct life l;
	begin_life(&l, 9);
	w_power_up(l.w);
	int before = l.fs->changes_made;
	l.fs->full_from = before + k;
	l.fs->full_to = k ? 1000000000 : 0;
	offer(l.w, &l.plan);
	w_run(l.w, HOUR);
	int changes = l.fs->changes_made - before;
	w_assert_whole(l.w);
	bool is_new = agent_running_slot(&l.w->agent) != AGENT_SLOT_FACTORY;
	assert_int_equal(is_new, last_report_says(l.w, "d-0", 1, "succeeded"));
	if (!is_new) {
		assert_true(last_report_says(l.w, "d-0", 1, "failed"));
		assert_true(strstr(l.w->last_report, "storage is full") || strstr(l.w->last_report, "record") ||
		            strstr(l.w->last_report, "could not be activated"));
	}
	l.fs->full_to = 0;
	w_reboot_now(l.w);
	assert_true(application_is_whole(&l));
	assert_true(follow(l.w, &l.plan));
	end_life(&l);
	return changes;
}

static void test_full_disk_at_every_change(void **unused)
{
	(void)unused;
	int changes = live_with_full_disk(0, 0), update = live_on_a_full_disk(0), lives = 0;
	for (int k = 1; k <= changes; k++, lives += 2) {
		live_with_full_disk(k, 1);
		live_with_full_disk(k, 25);
	}
	for (int k = 1; k <= update; k++, lives++)
		live_on_a_full_disk(k);
	print_message("full disk: at each of %d changes, %d lives, devices lost 0\n", changes, lives);
	assert_true(changes > 300 && update > 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_cut_exhaustion),
		cmocka_unit_test(test_full_disk_at_every_change),
	};
	const char *how = getenv("AVIARY_POWERCUT"), *seed = getenv("AVIARY_POWERCUT_SEED");
	make_ports();
	if (how && strcmp(how, "long") == 0) {
		effort.enumerated = 11;
		effort.drawn = 600;
		effort.lives_on = 16;
	}
	effort.seed = seed ? strtoull(seed, NULL, 10) : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
