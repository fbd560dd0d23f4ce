/* The newest state of a device counts; pages without one go; what is out of date is written again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "service/state_pages.h"

#define DEVICES 5000
#define PAGES_MAX 4000

/* A database in memory. */
struct disk {
	struct stored_page pages[PAGES_MAX];
	size_t count;
};

static void keep(struct disk *d, const struct stored_pages *p)
{
	if (p->page.data != NULL) {
		assert_true(d->count < PAGES_MAX && (d->count == 0 || p->page.id > d->pages[d->count - 1].id));
		void *copy = malloc(p->page.len);
		memcpy(copy, p->page.data, p->page.len);
		d->pages[d->count++] = (struct stored_page){p->page.id, p->page.batch, copy, p->page.len};
	}
	for (size_t i = 0; i < p->dead_count; i++) {
		size_t at = 0;
		while (at < d->count && d->pages[at].id != p->dead[i])
			at++;
		assert_true(at < d->count); /* each once */
		free((void *)(uintptr_t)d->pages[at].data);
		memmove(&d->pages[at], &d->pages[at + 1], (--d->count - at) * sizeof d->pages[0]);
	}
}

static void clear(struct disk *d)
{
	for (size_t i = 0; i < d->count; i++)
		free((void *)(uintptr_t)d->pages[i].data);
	d->count = 0;
}

struct seen {
	int values[DEVICES + 1];
};

static void see(void *ctx, int64_t device, int64_t batch, const void *bytes, size_t len)
{
	int value;
	assert_int_equal(len, sizeof value);
	memcpy(&value, bytes, sizeof value);
	assert_true(batch > 0);
	((struct seen *)ctx)->values[device] = value;
}

static struct state_pages *read_back(const struct disk *d, struct seen *seen)
{
	struct state_pages *p = state_pages_new(PAGE_DETECT);
	memset(seen, 0, sizeof *seen);
	for (size_t i = 0; i < d->count; i++)
		state_pages_load(p, &d->pages[i], see, seen);
	return p;
}

struct marks {
	int64_t devices[DEVICES];
	size_t count;
};

static void mark(void *ctx, int64_t device)
{
	struct marks *m = ctx;
	m->devices[m->count++] = device;
}

static void the_newest_state_comes_back(void **state)
{
	(void)state;
	static struct disk disk;
	static struct seen seen;
	static struct marks marks;
	int wanted[DEVICES + 1] = {0};
	struct state_pages *p = state_pages_new(PAGE_DETECT);
	unsigned seed = 7;
	for (int round = 1; round <= 1500; round++) {
		struct stored_pages out;
		bool in_page[DEVICES + 1] = {false};
		marks.count = 0;
		state_pages_outdated(p, mark, &marks);
		for (size_t i = 0; i < marks.count; i++) { /* written again as they are */
			if (!in_page[marks.devices[i]])
				state_pages_put(p, marks.devices[i], &wanted[marks.devices[i]], sizeof wanted[0]);
			in_page[marks.devices[i]] = true;
		}
		for (int i = 0; i < 20; i++) {
			seed = seed * 1664525u + 1013904223u;
			int64_t device = 1 + (seed >> 8) % (round % 3 ? 50 : DEVICES); /* some change often, others hardly ever */
			if (in_page[device])
				continue;
			in_page[device] = true;
			wanted[device] = round;
			state_pages_put(p, device, &wanted[device], sizeof wanted[0]);
		}
		if (round % 7 == 0) {
			state_pages_forget(p, 1 + round % DEVICES);
			if (!in_page[1 + round % DEVICES])
				wanted[1 + round % DEVICES] = 0;
		}
		state_pages_seal(p, round, &out);
		keep(&disk, &out);
		if (round % 100 == 0) { /* a start */
			state_pages_free(p);
			p = read_back(&disk, &seen);
		}
	}
	size_t stored = 0, live = 0;
	for (size_t i = 0; i < disk.count; i++)
		stored += disk.pages[i].len;
	for (int i = 1; i <= DEVICES; i++) {
		live += wanted[i] != 0;
		assert_true(wanted[i] == 0 || seen.values[i] == wanted[i]);
	}
	assert_true(stored < 8 * (2 * live + 5000)); /* of 30,000 states that were written */
	state_pages_free(p);
	clear(&disk);
}

static void pages_go_when_all_is_newer(void **state)
{
	(void)state;
	struct disk disk = {.count = 0};
	struct stored_pages out;
	struct state_pages *p = state_pages_new(PAGE_TRACKS);
	for (int round = 1; round <= 200; round++) {
		for (int64_t device = 1; device <= 10; device++)
			state_pages_put(p, device, &round, sizeof round);
		state_pages_seal(p, round, &out);
		keep(&disk, &out);
		assert_int_equal(disk.count, 1);
	}
	for (int64_t device = 1; device <= 10; device++)
		state_pages_forget(p, device);
	assert_true(state_pages_has_dead(p));
	state_pages_seal(p, 300, &out);
	assert_null(out.page.data);
	keep(&disk, &out);
	assert_int_equal(disk.count, 0);
	state_pages_free(p);
}

static void damaged_pages_end(void **state)
{
	(void)state;
	struct stored_pages out;
	struct state_pages *p = state_pages_new(PAGE_DETECT);
	int value = 5;
	for (int64_t device = 1; device <= 20; device++)
		state_pages_put(p, device, &value, sizeof value);
	state_pages_seal(p, 1, &out);
	for (size_t len = 0; len <= out.page.len; len++) {
		static struct seen seen;
		struct stored_page cut = {out.page.id, 1, out.page.data, len};
		struct state_pages *q = state_pages_new(PAGE_DETECT);
		state_pages_load(q, &cut, see, &seen);
		state_pages_free(q);
	}
	state_pages_free(p);
}

static void pace_is_kept(void **state)
{
	(void)state;
	struct state_pace pace = {0, 0};
	int64_t spent = 0;
	for (int64_t now = 100000; now < 110000; now += 20) {
		if (!state_pace_is_due(&pace, now))
			continue;
		for (; state_pace_left(&pace, now) > 0; spent += 1000)
			state_pace_spend(&pace, 1000, now);
	}
	assert_true(spent > 9 * STATE_BYTES_PER_S && spent < 10 * STATE_BYTES_PER_S + 2 * STATE_BYTES_BURST);
	assert_true(state_pace_is_due(&pace, 5000)); /* the clock went back */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_state_comes_back),
		cmocka_unit_test(pages_go_when_all_is_newer),
		cmocka_unit_test(damaged_pages_end),
		cmocka_unit_test(pace_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
