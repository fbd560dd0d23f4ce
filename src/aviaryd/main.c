/* aviaryd: reads its arguments and its configuration, builds the rooms of the house in order, runs, and takes them
 * down. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "daemon.h"

struct arguments {
	const char *config, *state_dir, *port_file;
	bool check, print;
};

static const char usage[] =
	"usage: aviaryd [--config FILE] [--state-dir DIR] [--port-file FILE]\n"
	"       aviaryd [--config FILE] --check-config | --print-config\n"
	"       aviaryd --help | --version\n"
	"Without --config the built-in defaults hold. aviaryd(8), aviaryd.conf(5).\n";

/* Returns the exit code, or -1 to go on. */
static int read_arguments(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"state-dir", required_argument, NULL, 's'},
			{"port-file", required_argument, NULL, 'p'},
		{"check-config", no_argument, NULL, 'C'}, {"print-config", no_argument, NULL, 'P'},
		{"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'V'},         {NULL, 0, NULL, 0},
	};
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (option) {
		case 'c':
			a->config = optarg;
			break;
		case 's':
			a->state_dir = optarg;
			break;
		case 'p':
			a->port_file = optarg;
			break;
		case 'C':
			a->check = true;
			break;
		case 'P':
			a->print = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts("aviaryd " AVIARY_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "aviaryd: what is \"%s\"?\n%s", argv[optind], usage);
	return 2;
}

static int read_config(const struct arguments *a, struct config *config)
{
	struct buf problems = BUF_INIT;
	enum err e = ERR_OK;
	if (a->config != NULL)
		e = config_read(config, a->config, &problems);
	else
		config_init(config);
	fputs(buf_cstr(&problems), stderr);
	buf_done(&problems);
	return e == ERR_OK ? 0 : 2;
}

static int print_config(const struct config *config)
{
	struct buf text = BUF_INIT;
	config_print(config, &text);
	bool ok = fputs(buf_cstr(&text), stdout) >= 0 && fflush(stdout) == 0;
	buf_done(&text);
	return ok ? 0 : 1;
}

static int serve(struct daemon *d)
{
	struct fault f = {"", ""};
	enum err e = daemon_open(d, &f);
	if (e == ERR_OK)
		daemon_run(d);
	else
		log_event(LOG_ERROR, "start.failed", "error=%s detail=%s", err_name(e), log_quote(f.detail));
	daemon_close(d);
	return e == ERR_OK && !d->has_failed ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct arguments a = {0};
	struct config config;
	int code = read_arguments(argc, argv, &a);
	if (code >= 0)
		return code;
	umask(077); /* everything in the state directory is the daemon's alone */
	code = read_config(&a, &config);
	if (code == 0 && a.print)
		code = print_config(&config);
	else if (code == 0 && !a.check) {
		struct daemon d = {.config = &config, .config_path = a.config, .port_file = a.port_file, .lock_fd = -1};
		d.s.state_dir = a.state_dir != NULL ? a.state_dir : config.state_dir;
		code = serve(&d);
	}
	config_done(&config);
	return code;
}
