/* The full form with other constants: those that were found on one half of the Numenta Anomaly Benchmark's files alone, to be
 * scored on the other (docs/detect.md has the procedure). Reads and writes what `aviaryctl detect` does.
 *
 * usage: nab_halves even|odd   (the files it learned: every second of the sorted names, from the first or from the second)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOVELTY_TUNABLE
#include "../../src/core/novelty.c"

static const struct {
	const char *name;
	struct constants constants;
} halves[] = {
	{"even", {.growth = 0.43011f, .growth_residual = 0.39489f, .pad = 0.0073396f, .growth_free = 146, .neighbour = 0.41777f,
	          .pseudo = 0.033651f, .level_unit = 7.5493f, .residual_unit = 7.758f, .smooth = 0.026244f,
	          .season_rate = 0.09576f, .cry_wolf = 0.01203f, .forgive = 0.00022047f, .hold_share = 0.031083f,
	          .hold_min = 4.2494f, .hold_max = 575.34f}},
	{"odd", {.growth = 0.28625f, .growth_residual = 0.25608f, .pad = 0.010673f, .growth_free = 204, .neighbour = 0.47838f,
	         .pseudo = 0.02389f, .level_unit = 9.0249f, .residual_unit = 6.6346f, .smooth = 0.025816f,
	         .season_rate = 0.10814f, .cry_wolf = 0.012495f, .forgive = 0.00029357f, .hold_share = 0.043156f,
	         .hold_min = 17.192f, .hold_max = 801.55f}},
};

static int score_series(void)
{
	struct novelty_full s = {0};
	char row[256], stamp[64];
	unsigned hour;
	float x;
	puts("timestamp,value,anomaly_score");
	for (int line = 1; fgets(row, sizeof row, stdin) != NULL; line++) {
		row[strcspn(row, "\r\n")] = '\0';
		if (line == 1)
			continue;
		if (sscanf(row, "%63[^,],%f", stamp, &x) != 2 || sscanf(stamp, "%*d-%*d-%*d %2u", &hour) != 1 || hour >= NOVELTY_HOURS)
			return 2;
		struct novelty_pace recording = {.elapsed = 1};
		printf("%s,%.9g\n", row, (double)novelty_update_full(&s, x, hour, recording).score);
	}
	return 0;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof halves / sizeof *halves; i++) {
		if (strcmp(argv[1], halves[i].name) == 0) {
			full_form = halves[i].constants;
			return score_series();
		}
	}
	fprintf(stderr, "usage: nab_halves even|odd\n");
	return 2;
}
