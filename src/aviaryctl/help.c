/* aviaryctl help: from the tables; also the manual page's list of commands. */
#include "help.h"

#include <string.h>

#include "rest.h"

static enum result help(struct ctl *c);

static const struct command_option options[] = {
	{.name = "man", .kind = OPTION_FLAG, .help = "the commands as text of the manual page (for the build)"},
	{.name = NULL},
};
static const struct command commands[] = {
	{.args = "[COMMAND...]", .help = "explain a command", .options = options, .run = help},
	{.help = NULL},
};
extern const struct command_group group_help;
const struct command_group group_help = {"help", "explain a command", commands};

/* ---- for people ---- */

static void print_option(FILE *out, const struct command_option *o)
{
	char head[80];
	snprintf(head, sizeof head, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
	fprintf(out, "  %-28s %s\n", head, o->help);
}

static void print_options(FILE *out, const struct command_option *rows)
{
	for (; rows != NULL && rows->name != NULL; rows++)
		print_option(out, rows);
}

static void print_usage(FILE *out, const struct command_group *g, const struct command *m)
{
	char head[120];
	snprintf(head, sizeof head, "%s%s%s%s%s", g->name, m->name ? " " : "", m->name ? m->name : "", m->args ? " " : "",
		m->args ? m->args : "");
	fprintf(out, "  %-40s %s\n", head, m->help);
}

void help_overview(FILE *out)
{
	fputs("usage: aviaryctl [OPTION...] COMMAND [WORD...]\n\n", out);
	for (size_t i = 0; command_groups[i] != NULL; i++)
		fprintf(out, "  %-12s %s\n", command_groups[i]->name, command_groups[i]->help);
	fputs("\nOptions of all commands:\n", out);
	print_options(out, global_options);
	fputs("\nMore: aviaryctl help COMMAND, aviaryctl(1). Ends with:\n", out);
#define X(name, code, meaning) fprintf(out, "  %d  %s\n", code, meaning);
	RESULT_TABLE(X)
#undef X
}

static void print_group(FILE *out, const struct command_group *g)
{
	fprintf(out, "%s: %s\n\n", g->name, g->help);
	for (const struct command *m = g->commands; m->help != NULL; m++)
		print_usage(out, g, m);
	if (g->commands[1].help == NULL && g->commands[0].options != NULL) {
		fputs("\nOptions:\n", out);
		print_options(out, g->commands[0].options);
	}
}

static void print_command(FILE *out, const struct command_group *g, const struct command *m)
{
	fprintf(out, "usage: aviaryctl %s%s%s%s%s [OPTION...]\n\n%s\n", g->name, m->name ? " " : "",
		m->name ? m->name : "", m->args ? " " : "",
	        m->args ? m->args : "", m->help);
	if (m->options != NULL) {
		fputs("\nOptions:\n", out);
		print_options(out, m->options);
	}
}

static void print_named(FILE *out, const struct command_group *g, const struct command *m)
{
	if (g == NULL)
		help_overview(out);
	else if (m == NULL || (m->name == NULL && g->commands[1].help != NULL))
		print_group(out, g);
	else
		print_command(out, g, m);
}

void help_print(const struct ctl *c)
{
	print_named(stdout, c->group, c->command);
}

/* ---- the manual page ---- */

/* roff: hyphens of options are minus signs, backslashes and leading dots are text. */
static void man_text(const char *text)
{
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '-')
			fputs("\\-", stdout);
		else if (*p == '\\')
			fputs("\\e", stdout);
		else if (p == text && (*p == '.' || *p == '\''))
			printf("\\&%c", *p);
		else
			putchar(*p);
	}
}

static void man_option(const struct command_option *o)
{
	printf(".TP\n.B ");
	man_text("--");
	man_text(o->name);
	if (o->value != NULL) {
		fputs("\\fR \\fI", stdout);
		man_text(o->value);
		fputs("\\fR", stdout);
	}
	putchar('\n');
	man_text(o->help);
	putchar('\n');
}

static void man_command(const struct command_group *g, const struct command *m)
{
	printf(".TP\n.B %s%s%s", g->name, m->name ? " " : "", m->name ? m->name : "");
	if (m->args != NULL) {
		fputs("\\fR \\fI", stdout);
		man_text(m->args);
		fputs("\\fR", stdout);
	}
	putchar('\n');
	man_text(m->help);
	putchar('\n');
	if (m->options == NULL)
		return;
	puts(".RS");
	for (const struct command_option *o = m->options; o->name != NULL; o++)
		man_option(o);
	puts(".RE");
}

static void print_man(void)
{
	puts(".SH OPTIONS\nBefore or after the command.");
	for (const struct command_option *o = global_options; o->name != NULL; o++)
		man_option(o);
	puts(".SH COMMANDS");
	for (size_t i = 0; command_groups[i] != NULL; i++) {
		printf(".SS %s\n", command_groups[i]->name);
		man_text(command_groups[i]->help);
		putchar('\n');
		for (const struct command *m = command_groups[i]->commands; m->help != NULL; m++)
			man_command(command_groups[i], m);
	}
	puts(".SH EXIT STATUS");
#define X(name, code, meaning) printf(".TP\n.B %d\n%s\n", code, meaning);
	RESULT_TABLE(X)
#undef X
}

static enum result help(struct ctl *c)
{
	const char *first = command_word(c, 0), *second = command_word(c, 1);
	if (option_given(c, "man")) {
		print_man();
		return RESULT_OK;
	}
	const struct command_group *g = first ? command_find_group(first) : NULL;
	if (first != NULL && g == NULL)
		return complain(RESULT_USAGE, "no such command: %s", first);
	const struct command *m = g != NULL ? command_find(g, second) : NULL;
	if (second != NULL && m == NULL)
		return complain(RESULT_USAGE, "%s has no command %s", first, second);
	print_named(stdout, g, m);
	return RESULT_OK;
}
