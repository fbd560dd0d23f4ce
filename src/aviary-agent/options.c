#include "options.h"

#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

enum kind { TEXT, NUMBER, DURATION, SIZE, FLAG };

struct option {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *otherwise; /* default as text, or NULL */
	const char *argument, *help;
};
#define AT(member) offsetof(struct options, member)

static const struct option table[] = {
	{"config", TEXT, AT(config), NULL, "FILE", "read options from FILE: `name = value` lines, # comments"},
	{"device", TEXT, AT(device), NULL, "ID", "the device's id (required)"},
	{"hardware", TEXT, AT(hardware), NULL, "CLASS", "its hardware class (required)"},
	{"name", TEXT, AT(name), NULL, "TEXT", "a name for people, sent with the enrolment"},
	{"state-dir", TEXT, AT(state_dir), "/var/lib/aviary-agent", "DIR", "slots, state record and secret"},
	{"key", TEXT, AT(key), NULL, "FILE", "pinned public key(s) of the server (required)"},
	{"server", TEXT, AT(server), "http://127.0.0.1:8080", "URL", "HTTP base URL of the server"},
	{"server-ca", TEXT, AT(server_ca), NULL, "FILE", "certificate authority for https, PEM"},
	{"broker", TEXT, AT(broker), "127.0.0.1", "HOST", "MQTT broker"},
	{"broker-port", NUMBER, AT(broker_port), "0", "PORT", "its port; 0: 1883, with --broker-ca 8883"},
	{"broker-user", TEXT, AT(broker_user), NULL, "NAME", "MQTT user"},
	{"broker-password-file", TEXT, AT(broker_password_file), NULL, "FILE", "its first line is the MQTT password"},
	{"broker-ca", TEXT, AT(broker_ca), NULL, "FILE", "certificate authority of the broker, PEM; turns TLS on"},
	{"client-certificate", TEXT, AT(client_certificate), NULL, "FILE", "shown to broker and server over TLS, PEM; with --client-key"},
	{"client-key", TEXT, AT(client_key), NULL, "FILE", "its private key, PEM, without a passphrase"},
	{"enrol-token", TEXT, AT(enrol_token), NULL, "TOKEN", "enrolment token, sent until the server knows the device"},
	{"attributes", TEXT, AT(attributes), NULL, "JSON", "object of attributes for the enrolment"},
	{"tags", TEXT, AT(tags), NULL, "JSON", "array of tags for the enrolment"},
	{"capabilities", TEXT, AT(capabilities), NULL, "JSON", "object of capabilities to report"},
	{"factory-release", TEXT, AT(factory_release), NULL, "NAME", "what the device runs before its first update"},
	{"factory-models", TEXT, AT(factory_models), NULL, "LIST", "its models: name=version, separated by commas"},
	{"factory-firmware", TEXT, AT(factory_firmware), NULL, "VERSION", "its firmware"},
	{"factory-counter", NUMBER, AT(factory_counter), "0", "N", "its counter: nothing older is ever installed"},
	{"slot-bytes", SIZE, AT(slot_bytes), "1GiB", "SIZE", "most bytes of artifacts in a slot"},
	{"self-test", TEXT, AT(self_test), NULL, "COMMAND", "run in a trial, in the slot's directory; exit status 0 passes"},
	{"self-test-timeout", DURATION, AT(self_test_timeout_ms), "2m", "TIME", "a trial must be confirmed within it"},
	{"activate-hook", TEXT, AT(activate_hook), NULL, "COMMAND",
		"run at each switch; exit status 0 done, 10 after a restart"},
	{"reboot-command", TEXT, AT(reboot_command), NULL, "COMMAND",
		"restarts the device; without it the program exits with 10"},
	{"shadow-command", TEXT, AT(shadow_command), NULL, "COMMAND",
		"runs a release in shadow, from its slot's directory, until it is killed"},
	{"check-command", TEXT, AT(check_command), NULL, "COMMAND",
		"run for the checks inference and custom, in the slot's directory; exit status 0 passes"},
	{"report-interval", DURATION, AT(report_interval_ms), "60s", "TIME", "of telemetry, until the server says otherwise"},
	{"metrics", TEXT, AT(metrics), NULL, "FILE", "lines `metric value`, sent as telemetry at each interval"},
	{"shadow-metrics", TEXT, AT(shadow_metrics), NULL, "FILE", "the same lines, of the release in shadow"},
	{"retry", DURATION, AT(retry_ms), "1s", "TIME", "first pause after a failed request; it doubles"},
	{"progress-step", SIZE, AT(progress_step_bytes), "256KiB", "SIZE", "downloads are made durable this often"},
	{"confirm-connected", FLAG, AT(confirm_connected), NULL, NULL, "confirm a release only while the broker is connected"},
	{"log-level", TEXT, AT(log_level), "info", "LEVEL", "error, warn, info or debug"},
	{"once", FLAG, AT(once), NULL, NULL, "do what the server wants, report it, and exit"},
	{"status", FLAG, AT(status), NULL, NULL, "print what would boot, verified, as JSON, and exit"},
	{"help", FLAG, AT(help), NULL, NULL, "this list"},
	{"version", FLAG, AT(version), NULL, NULL, "print the version"},
};
enum { ROWS = sizeof(table) / sizeof(table[0]) };

enum { FILE_BYTES_MAX = 65536 };

/* A text is not copied. */
static bool set(struct options *o, const struct option *row, const char *text)
{
	char *at = (char *)o + row->offset;
	int64_t number = 0;
	bool ok = true, flag = true;
	switch (row->kind) {
	case TEXT:
		memcpy(at, &text, sizeof(text));
		return true;
	case FLAG:
		flag = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0;
		memcpy(at, &flag, sizeof(flag));
		return flag || strcmp(text, "false") == 0 || strcmp(text, "no") == 0;
	case NUMBER: {
		char *end;
		errno = 0;
		number = strtoll(text, &end, 10);
		ok = *text && !*end && errno == 0 && number >= 0;
		break;
	}
	case DURATION:
		ok = str_parse_duration_ms(text, &number) && number > 0 && number <= INT32_MAX;
		break;
	case SIZE:
		ok = str_parse_size(text, &number) && number > 0;
		break;
	}
	memcpy(at, &number, sizeof(number));
	return ok;
}

static const struct option *find(const char *name, size_t len)
{
	for (int i = 0; i < ROWS; i++)
		if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
			return &table[i];
	return NULL;
}

/* --- the file --- */

struct reading {
	struct options *o;
	struct fault *f;
	const char *path;
	enum err err;
};

static int on_line(void *ctx, const char *section, const char *name, const char *value)
{
	struct reading *r = ctx;
	const struct option *row = find(name, strlen(name));
	if (section[0] || !row || row->offset == AT(config))
		r->err = fault_set(r->f, ERR_INVALID, "", "%s: unknown option '%s'", r->path, name);
	else if (!set(r->o, row, arena_strdup(r->o->texts, value)))
		r->err = fault_set(r->f, ERR_INVALID, "", "%s: '%s' cannot be '%s'", r->path, name, value);
	return r->err == ERR_OK;
}

static enum err read_file(struct options *o, const char *path, struct fault *f)
{
	struct reading r = {o, f, path, ERR_OK};
	int result = ini_parse(path, on_line, &r);
	if (r.err != ERR_OK || result == 0)
		return r.err;
	if (result < 0)
		return fault_set(f, ERR_INVALID, "", "%s: %s", path, strerror(errno));
	return fault_set(f, ERR_INVALID, "", "%s: line %d is malformed", path, result);
}

/* --- the command line --- */

/* Reads argv[*i]; `only_config`: everything but --config is passed over. */
static enum err read_argument(struct options *o, int argc, char **argv, int *i, bool only_config, struct fault *f)
{
	const char *word = argv[*i], *value = NULL;
	if (!str_starts(word, "--"))
		return fault_set(f, ERR_INVALID, "", "unexpected argument '%s'", word);
	const char *equals = strchr(word, '=');
	const struct option *row = find(word + 2, equals ? (size_t)(equals - word - 2) : strlen(word) - 2);
	if (!row)
		return fault_set(f, ERR_INVALID, "", "unknown option '%s'", word);
	if (equals)
		value = equals + 1;
	else if (row->kind == FLAG)
		value = "true";
	else if (*i + 1 < argc)
		value = argv[++*i];
	else
		return fault_set(f, ERR_INVALID, "", "option '%s' needs a value", word);
	if ((row->offset == AT(config)) == only_config && !set(o, row, value))
		return fault_set(f, ERR_INVALID, "", "option '--%s' cannot be '%s'", row->name, value);
	return ERR_OK;
}

static enum err check(const struct options *o, struct fault *f)
{
	enum log_level level;
	if (!o->device || !str_is_device_id(o->device))
		return fault_set(f, ERR_INVALID, "", "--device is required: letters, digits and ._:-, at most 64");
	if (!o->hardware || !str_is_name(o->hardware))
		return fault_set(f, ERR_INVALID, "", "--hardware is required: letters, digits and ._-, at most 64");
	if (!o->key)
		return fault_set(f, ERR_INVALID, "", "--key is required: the server's public key must be pinned");
	if (!str_starts(o->server, "http://") && !str_starts(o->server, "https://"))
		return fault_set(f, ERR_INVALID, "", "--server must be an http or https URL");
	if (!o->shadow_command != !o->shadow_metrics || (o->shadow_command && !o->metrics))
		return fault_set(f, ERR_INVALID, "", "--shadow-command, --shadow-metrics and --metrics go together: pairs are compared");
	if (!o->client_certificate != !o->client_key)
		return fault_set(f, ERR_INVALID, "", "--client-certificate and --client-key go together");
	if (o->broker_port > 65535)
		return fault_set(f, ERR_INVALID, "", "--broker-port must be at most 65535");
	if (!log_parse_level(o->log_level, &level))
		return fault_set(f, ERR_INVALID, "", "--log-level must be error, warn, info or debug");
	return ERR_OK;
}

enum err options_read(struct options *o, int argc, char **argv, struct fault *f)
{
	memset(o, 0, sizeof(*o));
	o->texts = arena_new(FILE_BYTES_MAX);
	for (int i = 0; i < ROWS; i++)
		if (table[i].otherwise && !set(o, &table[i], table[i].otherwise))
			return fault_set(f, ERR_INTERNAL, "", "bad default of --%s", table[i].name);
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 1; i < argc; i++) {
			enum err e = read_argument(o, argc, argv, &i, pass == 0, f);
			if (e != ERR_OK)
				return e;
		}
		enum err e = pass == 0 && o->config ? read_file(o, o->config, f) : ERR_OK;
		if (e != ERR_OK)
			return e;
	}
	return o->help || o->version ? ERR_OK : check(o, f);
}

void options_done(struct options *o)
{
	arena_free(o->texts);
}

void options_print_help(FILE *out)
{
	fprintf(out, "usage: aviary-agent --device ID --hardware CLASS --key FILE [options]\n\n");
	for (int i = 0; i < ROWS; i++) {
		char left[40];
		const char *argument = table[i].argument;
		snprintf(left, sizeof(left), "--%s%s%s", table[i].name, argument ? " " : "", argument ? argument : "");
		fprintf(out, "  %-28s %s", left, table[i].help);
		if (table[i].otherwise && strcmp(table[i].otherwise, "0") != 0)
			fprintf(out, " [%s]", table[i].otherwise);
		fputc('\n', out);
	}
}

/* --- what options name --- */

static enum err slurp(const char *path, char *out, size_t out_size, size_t *len, struct fault *f)
{
	FILE *file = fopen(path, "rbe");
	if (!file)
		return fault_set(f, ERR_INVALID, "", "%s: %s", path, strerror(errno));
	*len = fread(out, 1, out_size - 1, file);
	out[*len] = '\0';
	fclose(file);
	return ERR_OK;
}

enum err options_read_line(const char *path, char *out, size_t out_size, struct fault *f)
{
	size_t len;
	enum err e = slurp(path, out, out_size, &len, f);
	if (e == ERR_OK)
		out[strcspn(out, "\r\n")] = '\0';
	return e;
}

static bool decode_key(const char *text, size_t text_len, uint8_t key[32])
{
	size_t len = 0;
	return base64_decode(text, text_len, key, 32, &len) && len == 32;
}

static bool read_json_key(const char *text, size_t len, uint8_t key[32])
{
	struct json *root = NULL;
	struct fault ignored;
	if (json_parse(text, len, &root, &ignored) != ERR_OK)
		return false;
	const char *value = json_text(json_get(root, "public_key"));
	bool ok = value && decode_key(value, strlen(value), key);
	json_free(root);
	return ok;
}

enum err options_read_keys(const char *path, uint8_t keys[][32], unsigned *count, struct fault *f)
{
	char text[2048];
	size_t len = 0;
	enum err e = slurp(path, text, sizeof(text), &len, f);
	*count = 0;
	if (e != ERR_OK)
		return e;
	if (len == 32) {
		memcpy(keys[(*count)++], text, 32);
		return ERR_OK;
	}
	if (text[0] == '{') {
		*count = read_json_key(text, len, keys[0]);
	} else {
		for (char *save = NULL, *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
			if (line[0] == '#')
				continue;
			if (*count == AGENT_KEYS_MAX || !decode_key(line, strlen(line), keys[*count]))
				return fault_set(f, ERR_INVALID, "", "%s: not a list of at most %d Ed25519 public keys in base64", path,
				                 AGENT_KEYS_MAX);
			++*count;
		}
	}
	return *count ? ERR_OK : fault_set(f, ERR_INVALID, "", "%s: no Ed25519 public key in it", path);
}

static bool add_component(struct agent_release *r, bool is_firmware, const char *name, const char *version)
{
	if (r->component_count == AGENT_COMPONENTS_MAX || !*version)
		return false;
	struct agent_component *c = &r->components[r->component_count++];
	c->is_firmware = is_firmware;
	return str_is_name(name) && str_copy(c->name, sizeof(c->name), name) &&
	       str_copy(c->version, sizeof(c->version), version);
}

enum err options_read_factory(const struct options *o, struct agent_release *out, struct fault *f)
{
	char list[2048];
	memset(out, 0, sizeof(*out));
	out->counter = (uint64_t)o->factory_counter;
	const char *name = o->factory_release;
	if (name && !(str_is_name(name) && str_copy(out->name, sizeof(out->name), name)))
		return fault_set(f, ERR_INVALID, "", "--factory-release is not a name");
	if (!str_copy(list, sizeof(list), o->factory_models ? o->factory_models : ""))
		return fault_set(f, ERR_INVALID, "", "--factory-models is too long");
	for (char *save = NULL, *item = strtok_r(list, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		char *equals = strchr(item, '=');
		if (equals)
			*equals = '\0';
		if (!equals || !add_component(out, false, item, equals + 1))
			return fault_set(f, ERR_INVALID, "", "--factory-models must be name=version, separated by commas");
	}
	if (o->factory_firmware && !add_component(out, true, "firmware", o->factory_firmware))
		return fault_set(f, ERR_INVALID, "", "--factory-firmware is not a version");
	return ERR_OK;
}
