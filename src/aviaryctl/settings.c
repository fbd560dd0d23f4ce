#include "settings.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "file.h"

#define URL_DEFAULT "http://127.0.0.1:8080"
#define TIMEOUT_DEFAULT_MS 60000
#define TOKEN_FILE_MAX 4096

const struct command_option global_options[] = {
	{.name = "url", .kind = OPTION_TEXT, .value = "URL",
	 .help = "of the server; AVIARY_URL; " URL_DEFAULT " when nothing says another"},
	{.name = "token-file", .kind = OPTION_TEXT, .value = "FILE",
	 .help = "file that holds the token; else AVIARY_TOKEN, else the configuration"},
	{.name = "ca", .kind = OPTION_TEXT, .value = "FILE",
	 .help = "certificates (PEM) to trust instead of the system's; AVIARY_CA"},
	{.name = "config", .kind = OPTION_TEXT, .value = "FILE", .help = "instead of ~/.config/aviary/ctl.conf"},
	{.name = "timeout", .kind = OPTION_DURATION, .value = "DURATION",
	 .help = "for one request (60s); for watch and events: for the whole"},
	{.name = "idempotency-key", .kind = OPTION_TEXT, .value = "TEXT",
	 .help = "sent with a POST: repeating it is safe for a day"},
	{.name = "json", .kind = OPTION_FLAG, .help = "print the server's JSON"},
	{.name = "quiet", .kind = OPTION_FLAG, .help = "lists print ids only, changes print nothing (-q)"},
	{.name = "colour", .kind = OPTION_TEXT, .value = "WHEN",
	 .help = "auto (on a terminal, unless NO_COLOR is set), always or never",
	 .choices = "auto always never"},
	{.name = "help", .kind = OPTION_FLAG, .help = "explain the command (-h)"},
	{.name = "version", .kind = OPTION_FLAG, .help = "print the version"},
	{.name = NULL},
};

struct file_settings {
	char *url, *token, *token_file, *ca;
	char unknown[64];
};

/* One row a key. */
static const struct {
	const char *name;
	size_t offset;
} keys[] = {
	{"url", offsetof(struct file_settings, url)},
	{"token", offsetof(struct file_settings, token)},
	{"token_file", offsetof(struct file_settings, token_file)},
	{"ca", offsetof(struct file_settings, ca)},
};

static char *copy(const char *text)
{
	char *s = strdup(text);
	if (s == NULL)
		abort();
	return s;
}

static int on_key(void *ctx, const char *section, const char *name, const char *value)
{
	struct file_settings *s = ctx;
	for (size_t i = 0; section[0] == '\0' && i < sizeof keys / sizeof keys[0]; i++) {
		if (strcmp(keys[i].name, name) != 0)
			continue;
		char **slot = (char **)(void *)((char *)s + keys[i].offset);
		free(*slot);
		*slot = copy(value);
		return 1;
	}
	if (s->unknown[0] == '\0')
		(void)!str_copy(s->unknown, sizeof s->unknown, name);
	return 0;
}

static enum result read_file(const char *path, bool must_exist, struct file_settings *s)
{
	struct stat st;
	int line = ini_parse(path, on_key, s);
	if (line == -1 && (must_exist || errno != ENOENT))
		return complain(RESULT_USAGE, "%s: %s", path, strerror(errno));
	if (line > 0 && s->unknown[0] != '\0')
		return complain(RESULT_USAGE, "%s:%d: no such key: %s (url, token, token_file and ca are known)", path, line,
			s->unknown);
	if (line > 0)
		return complain(RESULT_USAGE, "%s:%d: key = value is wanted", path, line);
	if (line == 0 && s->token != NULL && stat(path, &st) == 0 && (st.st_mode & 077) != 0)
		fprintf(stderr, "aviaryctl: warning: %s holds a token and others may read it (chmod 600)\n", path);
	return RESULT_OK;
}

static enum result find_file(const struct ctl *c, struct file_settings *s)
{
	const char *given = option_text(c, "config"), *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char path[1024];
	if (given != NULL)
		return read_file(given, true, s);
	if (xdg != NULL && xdg[0] == '/')
		snprintf(path, sizeof path, "%s/aviary/ctl.conf", xdg);
	else if (home != NULL && home[0] != '\0')
		snprintf(path, sizeof path, "%s/.config/aviary/ctl.conf", home);
	else
		return RESULT_OK;
	return read_file(path, false, s);
}

static const char *first_of(const char *a, const char *b, const char *d)
{
	return a != NULL && a[0] != '\0' ? a : b != NULL && b[0] != '\0' ? b : d;
}

/* A token goes into a header: what cannot stand there never leaves. */
static enum result set_token(struct settings *s, const char *text, const char *from)
{
	size_t len = strcspn(text, "\r\n");
	for (size_t i = 0; text[i] != '\0'; i++)
		if (i < len ? text[i] < '!' || text[i] > '~' : strchr("\r\n", text[i]) == NULL)
			return complain(RESULT_USAGE, "%s: a token is one line of visible ASCII characters", from);
	free(s->token);
	s->token = strndup(text, len);
	if (s->token == NULL)
		abort();
	return RESULT_OK;
}

static enum result load_token(struct ctl *c, const struct file_settings *f)
{
	const char *path = option_text(c, "token-file"), *env = getenv("AVIARY_TOKEN");
	struct buf text = BUF_INIT;
	enum result r = RESULT_OK;
	if (path == NULL && env != NULL && env[0] != '\0')
		return set_token(&c->settings, env, "AVIARY_TOKEN");
	if (path == NULL && f->token != NULL)
		return set_token(&c->settings, f->token, "token");
	path = path != NULL ? path : f->token_file;
	if (path == NULL)
		return RESULT_OK;
	r = file_read(path, TOKEN_FILE_MAX, &text);
	if (r == RESULT_OK)
		r = set_token(&c->settings, buf_cstr(&text), path);
	buf_done(&text);
	return r;
}

static enum result take(struct ctl *c, const struct file_settings *f)
{
	struct settings *s = &c->settings;
	const char *ca = first_of(option_text(c, "ca"), getenv("AVIARY_CA"), f->ca);
	s->url = copy(first_of(option_text(c, "url"), getenv("AVIARY_URL"), first_of(f->url, NULL, URL_DEFAULT)));
	s->ca_file = ca != NULL ? copy(ca) : NULL;
	for (size_t len = strlen(s->url); len > 0 && s->url[len - 1] == '/'; len--)
		s->url[len - 1] = '\0';
	if (!str_starts(s->url, "http://") && !str_starts(s->url, "https://"))
		return complain(RESULT_USAGE, "%s: an http or https URL is wanted", s->url);
	return load_token(c, f);
}

enum result settings_load(struct ctl *c)
{
	struct settings *s = &c->settings;
	struct file_settings f = {NULL, NULL, NULL, NULL, ""};
	const char *colour = option_text(c, "colour");
	s->json = option_given(c, "json");
	s->quiet = option_given(c, "quiet");
	s->timeout_ms = option_int(c, "timeout", TIMEOUT_DEFAULT_MS);
	s->colour = colour == NULL || strcmp(colour, "auto") == 0 ? COLOUR_AUTO : strcmp(colour, "always") == 0
		? COLOUR_ALWAYS : COLOUR_NEVER;
	enum result r = find_file(c, &f);
	if (r == RESULT_OK)
		r = take(c, &f);
	free(f.url);
	free(f.token);
	free(f.token_file);
	free(f.ca);
	return r;
}

void settings_done(struct settings *s)
{
	free(s->url);
	free(s->token);
	free(s->ca_file);
}
