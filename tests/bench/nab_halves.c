/* Both forms with other constants: those that were found on one half of the Numenta Anomaly Benchmark's files alone, to be
 * scored on the other (docs/detect.md has the procedure). Reads and writes what `aviaryctl detect` does.
 *
 * usage: nab_halves even|odd full|compact   (the files it learned: every second of the sorted names, from the first or from the second)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOVELTY_TUNABLE
#include "../../src/core/novelty.c"

static const struct {
	const char *name;
	struct constants full, compact;
} halves[] = {
	{"even", {.growth = 0.43011f, .growth_residual = 0.39489f, .pad = 0.0073396f, .growth_free = 146, .neighbour = 0.41777f,
	          .pseudo = 0.033651f, .level_unit = 7.5493f, .residual_unit = 7.758f, .smooth = 0.026244f,
	          .season_rate = 0.09576f, .cry_wolf = 0.01203f, .forgive = 0.00022047f, .hold_share = 0.031083f,
	          .hold_min = 4.2494f, .hold_max = 575.34f},
	         {.growth = 0.37168f, .pad = 0.01461f, .growth_free = 477, .neighbour = 0.37439f, .pseudo = 0.042058f,
	          .level_unit = 7.2778f, .cry_wolf = 0.0073055f, .forgive = 0.00020056f, .hold_share = 0.036027f,
	          .hold_min = 9.0828f, .hold_max = 1391.9f}},
	{"odd", {.growth = 0.28625f, .growth_residual = 0.25608f, .pad = 0.010673f, .growth_free = 204, .neighbour = 0.47838f,
	         .pseudo = 0.02389f, .level_unit = 9.0249f, .residual_unit = 6.6346f, .smooth = 0.025816f,
	         .season_rate = 0.10814f, .cry_wolf = 0.012495f, .forgive = 0.00029357f, .hold_share = 0.043156f,
	         .hold_min = 17.192f, .hold_max = 801.55f},
	        {.growth = 0.35793f, .pad = 0.011442f, .growth_free = 219, .neighbour = 0.31046f, .pseudo = 0.014012f,
	         .level_unit = 7.5396f, .cry_wolf = 0.011765f, .forgive = 0.00021277f, .hold_share = 0.040097f,
	         .hold_min = 15.886f, .hold_max = 1031.7f}},
};

static int score_series(bool is_compact)
{
	struct novelty_full full = {0};
	struct novelty_compact compact = {0};
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
		struct novelty_result r = is_compact ? novelty_update_compact(&compact, x, recording)
		                                     : novelty_update_full(&full, x, hour, recording);
		printf("%s,%.9g\n", row, (double)r.score);
	}
	return 0;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 3 && i < sizeof halves / sizeof *halves; i++) {
		if (strcmp(argv[1], halves[i].name) == 0) {
			full_form = halves[i].full;
			compact_form = halves[i].compact;
			return score_series(strcmp(argv[2], "compact") == 0);
		}
	}
	fprintf(stderr, "usage: nab_halves even|odd full|compact\n");
	return 2;
}
