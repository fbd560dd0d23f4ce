/* aviaryctl completion: shell completion from the tables. config/completion/ holds what this prints. */
#include <stdio.h>
#include <string.h>

#include "rest.h"

static enum result completion(struct ctl *c);

static const struct command commands[] = {
	{.args = "SHELL", .help = "print completion for bash or zsh", .run = completion},
	{.help = NULL},
};
extern const struct command_group group_completion;
const struct command_group group_completion = {"completion", "completion for your shell", commands};

/* Which list knows the values of a word or a placeholder. */
static const struct {
	const char *word, *command;
} lists[] = {
	{"DEVICE", "device list"}, {"GROUP", "group list"},     {"MODEL", "model list"}, {"RELEASE", "release list"},
	{"ROLLOUT", "rollout list"}, {"ALERT", "alert list"}, {"RULE", "rule list"},   {"TOKEN", "token list"},
	{"SILENCE", "alert silences"}, {"RECEIVER", "receiver list"}, {"DELIVERY", "receiver deliveries"},
};

static void put_groups(void)
{
	for (size_t i = 0; command_groups[i] != NULL; i++)
		printf("%s%s", i ? " " : "", command_groups[i]->name);
}

static void put_names(const struct command_group *g)
{
	bool first = true;
	for (const struct command *m = g->commands; m->help != NULL; m++) {
		if (m->name == NULL)
			continue;
		printf("%s%s", first ? "" : " ", m->name);
		first = false;
	}
}

static void put_options(const struct command_option *rows, const char *before)
{
	for (; rows != NULL && rows->name != NULL; rows++) {
		printf("%s--%s", before, rows->name);
		before = " ";
	}
}

/* ---- bash ---- */

static void bash_commands(void)
{
	puts("\tcase $group in");
	for (size_t i = 0; command_groups[i] != NULL; i++) {
		printf("\t%s) commands=\"", command_groups[i]->name);
		put_names(command_groups[i]);
		puts("\" ;;");
	}
	puts("\tesac");
}

static void bash_options(void)
{
	puts("\tcase \"$group $command\" in");
	for (size_t i = 0; command_groups[i] != NULL; i++) {
		const struct command_group *g = command_groups[i];
		for (const struct command *m = g->commands; m->help != NULL; m++) {
			printf("\t\"%s %s\") options=\"", g->name, m->name ? m->name : "");
			put_options(m->options, "");
			printf("\" args=\"%s\" ;;\n", m->args ? m->args : "");
		}
	}
	puts("\tesac");
}

static void bash_values(void)
{
	puts("\tcase \"$group $command $previous\" in");
	for (size_t i = 0; command_groups[i] != NULL; i++) {
		const struct command_group *g = command_groups[i];
		for (const struct command *m = g->commands; m->help != NULL; m++)
			for (const struct command_option *o = m->options; o != NULL && o->name != NULL; o++)
				if (o->kind != OPTION_FLAG)
					printf("\t\"%s %s --%s\") wants=\"%s\" choices=\"%s\" ;;\n", g->name, m->name ? m->name : "",
						o->name, o->value,
					       o->choices ? o->choices : "");
	}
	puts("\tesac\n\tcase $previous in");
	for (const struct command_option *o = global_options; o->name != NULL; o++)
		if (o->kind != OPTION_FLAG)
			printf("\t--%s) wants=\"%s\" choices=\"%s\" ;;\n", o->name, o->value, o->choices ? o->choices : "");
	puts("\tesac");
}

static void bash_lists(void)
{
	puts("_aviaryctl_values() {\n\tcase $1 in");
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		printf("\t%s) timeout 2 aviaryctl %s --quiet --limit 1000 2>/dev/null ;;\n", lists[i].word, lists[i].command);
	puts("\tSHELL) echo bash zsh ;;\n\t'COMMAND...') _aviaryctl_groups ;;\n\tesac\n}\n");
}

static const char bash_head[] =
	"_aviaryctl() {\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
	"\tlocal group=\"\" command=\"\" commands=\"\" options=\"\" args=\"\" wants=\"\" choices=\"\" word skip=0 at=0 i\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif ((skip)); then skip=0; continue; fi\n"
	"\t\tcase $word in\n"
	"\t\t-*) _aviaryctl_takes_value \"$group\" \"$command\" \"$word\" && skip=1 ;;\n"
	"\t\t*)\n"
	"\t\t\tif [ -z \"$group\" ]; then group=$word; _aviaryctl_commands\n"
	"\t\t\telif [ -z \"$command\" ] && ((at == 0)) && [[ \" $commands \" == *\" $word \"* ]]; then command=$word\n"
	"\t\t\telse at=$((at + 1)); fi ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t_aviaryctl_of_command\n"
	"\tif ((skip)) || [ -n \"$wants\" ]; then\n"
	"\t\tcase $wants in\n"
	"\t\tFILE|JSON|'') mapfile -t COMPREPLY < <(compgen -f -- \"$current\") ;;\n"
	"\t\t*) mapfile -t COMPREPLY < <(compgen -W \"${choices:-$(_aviaryctl_values \"$wants\")}\" -- \"$current\") ;;\n"
	"\t\tesac\n"
	"\telif [[ $current == -* ]]; then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W \"$options $(_aviaryctl_global)\" -- \"$current\")\n"
	"\telif [ -z \"$group\" ]; then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W \"$(_aviaryctl_groups)\" -- \"$current\")\n"
	"\telif [ -z \"$command\" ] && [ -n \"$commands\" ] && ((at == 0)); then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$current\")\n"
	"\telse\n"
	"\t\tlocal names; read -ra names <<< \"$args\"\n"
	"\t\tword=${names[at]:-${names[${#names[@]}-1]:-}}\n"
	"\t\tword=${word#[}; word=${word%]}\n"
	"\t\tif [ \"$word\" = FILE ]; then mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	"\t\telse mapfile -t COMPREPLY < <(compgen -W \"$(_aviaryctl_values \"$word\")\" -- \"$current\"); fi\n"
	"\tfi\n"
	"}\n\n";

static void print_bash(void)
{
	puts("# Completion of aviaryctl for bash; written by `aviaryctl completion bash`.\n");
	printf("_aviaryctl_groups() { echo \"");
	put_groups();
	printf("\"; }\n_aviaryctl_global() { echo \"");
	put_options(global_options, "");
	puts("\"; }\n");
	bash_lists();
	puts("# These fill the variables of _aviaryctl, which calls them.\n_aviaryctl_commands() {");
	bash_commands();
	puts("}\n\n_aviaryctl_of_command() {");
	bash_options();
	bash_values();
	puts("}\n");
	puts("_aviaryctl_takes_value() {\n\tlocal group=$1 command=$2 previous=$3 wants=\"\" options=\"\" args=\"\" "
		"choices=\"\"\n\t_aviaryctl_of_command\n"
	     "\t[ -n \"$wants\" ]\n}\n");
	fputs(bash_head, stdout);
	puts("complete -F _aviaryctl aviaryctl");
}

/* ---- zsh ---- */

/* In single quotes, with what _describe and _arguments would read made plain. */
static void zsh_text(const char *text)
{
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '\'')
			fputs("'\\''", stdout);
		else if (strchr("[]:", *p) != NULL)
			printf("\\%c", *p);
		else
			putchar(*p);
	}
}

static void zsh_option(const struct command_option *o)
{
	bool repeats = o->kind == OPTION_TEXTS || o->kind == OPTION_PAIRS || o->kind == OPTION_EACH;
	printf("\t\t\t'%s--%s[", repeats ? "*" : "", o->name);
	zsh_text(o->help);
	putchar(']');
	if (o->kind != OPTION_FLAG) {
		putchar(':');
		zsh_text(o->value);
		if (o->choices != NULL)
			printf(":(%s)", o->choices);
		else
			printf(":%s", strcmp(o->value, "FILE") == 0 ? "_files" : "");
	}
	puts("' \\");
}

static void zsh_command(const struct command_group *g, const struct command *m)
{
	printf("\t\t'%s %s') _arguments \\\n", g->name, m->name ? m->name : "");
	for (const struct command_option *o = m->options; o != NULL && o->name != NULL; o++)
		zsh_option(o);
	puts("\t\t\t\"${global[@]}\" '*:word:_aviaryctl_word' ;;");
}

static void zsh_names(const struct command_group *g)
{
	printf("\t%s) names=(", g->name);
	for (const struct command *m = g->commands; m->help != NULL; m++) {
		if (m->name == NULL)
			continue;
		printf(" '%s:", m->name);
		zsh_text(m->help);
		putchar('\'');
	}
	puts(" ) ;;");
}

static void zsh_words(void)
{
	puts("_aviaryctl_word() {\n\tcase $group in");
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		char name[16];
		size_t n = strcspn(lists[i].command, " ");
		snprintf(name, sizeof name, "%.*s", (int)n, lists[i].command);
		printf("\t%s) compadd -- ${(f)\"$(timeout 2 aviaryctl %s --quiet --limit 1000 2>/dev/null)\"} ;;\n", name,
			lists[i].command);
	}
	puts("\tversion|artifact) compadd -- ${(f)\"$(timeout 2 aviaryctl model list --quiet 2>/dev/null)\"}; _files ;;\n"
	     "\tcompletion) compadd bash zsh ;;\n\t*) _files ;;\n\tesac\n}\n");
}

static void print_zsh(void)
{
	puts("#compdef aviaryctl\n# Completion of aviaryctl for zsh; written by `aviaryctl completion zsh`.\n");
	zsh_words();
	puts("_aviaryctl() {\n\tlocal group=${words[2]} command=\"\"\n\tlocal -a groups names global\n\tglobal=( \\");
	for (const struct command_option *o = global_options; o->name != NULL; o++)
		zsh_option(o);
	puts("\t)\n\tgroups=(");
	for (size_t i = 0; command_groups[i] != NULL; i++) {
		printf("\t\t'%s:", command_groups[i]->name);
		zsh_text(command_groups[i]->help);
		puts("'");
	}
	puts("\t)\n\tif (( CURRENT == 2 )); then _describe command groups; return; fi\n\tcase $group in");
	for (size_t i = 0; command_groups[i] != NULL; i++)
		zsh_names(command_groups[i]);
	puts("\tesac\n\tif (( CURRENT == 3 && ${#names} )) && [[ ${words[3]} != -* ]]; then _describe command names; "
		"return; fi\n"
	     "\t(( ${#names} )) && command=${words[3]}\n\tcase \"$group $command\" in");
	for (size_t i = 0; command_groups[i] != NULL; i++)
		for (const struct command *m = command_groups[i]->commands; m->help != NULL; m++)
			zsh_command(command_groups[i], m);
	puts("\tesac\n}\n\n_aviaryctl \"$@\"");
}

static enum result completion(struct ctl *c)
{
	static const struct {
		const char *shell;
		void (*print)(void);
	} rows[] = {{"bash", print_bash}, {"zsh", print_zsh}};
	for (size_t i = 0; i < 2; i++) {
		if (strcmp(rows[i].shell, command_word(c, 0)) != 0)
			continue;
		rows[i].print();
		return RESULT_OK;
	}
	return complain(RESULT_USAGE, "bash or zsh is wanted, not \"%s\"", command_word(c, 0));
}
