#include "conf.h"

#include <confuse.h>
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_LEN 1048576
/* Put after the text: libconfuse forgives a section or comment that never ends, this section then is not where it should be. */
#define SENTINEL "__end"
#define SENTINEL_TEXT "\n" SENTINEL " {}\n"

/* One load under way. */
struct load {
	const char *path;
	const struct bs_conf_item *items;
	size_t n;
	int *lines;    /* where each item was given; 0: not yet */
	int last_line; /* of the file */
	char *errbuf;
	size_t errbuf_size;
	bool failed;   /* errbuf says why; the first error stays */
};

/*
 * libconfuse's callbacks carry no pointer of ours, and its lexer is one for the whole process anyway, so configuration
 * is loaded by one thread at a time. Set only inside bs_conf_load().
 */
static struct load *current;

static void fail(struct load *load, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
vfail(struct load *load, int line, const char *fmt, va_list ap)
{
	int n;

	if (load->failed)
		return;
	load->failed = true;
	if (line > load->last_line)
		line = load->last_line;
	if (line > 0)
		n = snprintf(load->errbuf, load->errbuf_size, "%s:%d: ", load->path, line);
	else
		n = snprintf(load->errbuf, load->errbuf_size, "%s: ", load->path);
	if (n > 0 && (size_t)n < load->errbuf_size)
		(void)vsnprintf(load->errbuf + n, load->errbuf_size - (size_t)n, fmt, ap);
}

static void
fail(struct load *load, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(load, line, fmt, ap);
	va_end(ap);
}

/* --- values --- */

static bool
parse_int(const char *text, int64_t *out)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || (*text != '-' && (*text < '0' || *text > '9')))
		return false;
	*out = v;
	return true;
}

static bool
parse_bool(const char *text, bool *out)
{
	static const char *const words[][2] = { { "no", "yes" }, { "false", "true" }, { "off", "on" } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (int v = 0; v < 2; v++)
			if (strcmp(text, words[i][v]) == 0) {
				*out = v == 1;
				return true;
			}
	return false;
}

static void
check_value(struct load *load, int line, const struct bs_conf_item *item, const char *text)
{
	int64_t number;
	bool flag;

	switch (item->type) {
	case BS_CONF_STRING:
		break;
	case BS_CONF_INT:
		if (!parse_int(text, &number))
			fail(load, line, "%s.%s: \"%s\" is not a whole number; give one from %lld to %lld", item->section,
			    item->key, text, (long long)item->min, (long long)item->max);
		else if (number < item->min || number > item->max)
			fail(load, line, "%s.%s: %lld is out of range; give a number from %lld to %lld", item->section, item->key,
			    (long long)number, (long long)item->min, (long long)item->max);
		break;
	case BS_CONF_BOOL:
		if (!parse_bool(text, &flag))
			fail(load, line, "%s.%s: \"%s\" is neither yes nor no; write one of the two", item->section, item->key, text);
		break;
	}
}

/* --- what libconfuse calls --- */

/* libconfuse calls it after each value, while the line is still known. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct load *load = current;

	for (size_t i = 0; i < load->n; i++) {
		const struct bs_conf_item *item = &load->items[i];

		if (strcmp(item->section, cfg->name) != 0 || strcmp(item->key, opt->name) != 0)
			continue;
		if (load->lines[i] != 0)
			fail(load, cfg->line, "%s.%s was given at line %d already; keep one of the two", item->section, item->key,
			    load->lines[i]);
		load->lines[i] = cfg->line;
		check_value(load, cfg->line, item, cfg_opt_getnstr(opt, 0));
	}
	return load->failed ? -1 : 0;
}

/* True for the first item of its section. */
static bool
opens_section(const struct bs_conf_item *items, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(items[k].section, items[i].section) == 0)
			return false;
	return true;
}

/* ", "-separated names of all sections (section NULL) or of a section's keys. */
static void
list_names(const struct load *load, const char *section, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < load->n; i++) {
		const struct bs_conf_item *item = &load->items[i];
		int n;

		if (section == NULL ? !opens_section(load->items, i) : strcmp(section, item->section) != 0)
			continue;
		n = snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", section == NULL ? item->section : item->key);
		if (n < 0 || (size_t)n >= size - used)
			return;
		used += (size_t)n;
	}
}

static void
fail_unknown(struct load *load, cfg_t *cfg, const char *name)
{
	bool is_root = strcmp(cfg->name, "root") == 0;
	char known[1024];

	for (size_t i = 0; is_root && i < load->n; i++)
		if (strcmp(load->items[i].key, name) == 0)
			fail(load, cfg->line, "\"%s\" stands outside a section; put it inside %s { }", name, load->items[i].section);
	list_names(load, is_root ? NULL : cfg->name, known, sizeof(known));
	if (strcmp(name, SENTINEL) == 0)
		fail(load, cfg->line - 1, "section %s is not closed; add a }", cfg->name);
	else if (is_root)
		fail(load, cfg->line, "unknown section \"%s\"; there are: %s", name, known);
	else
		fail(load, cfg->line, "unknown key \"%s\" in section %s; there are: %s", name, cfg->name, known);
}

static void
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	va_list copy;

	/* The texts are English: bs_conf_load() holds the locale. */
	if (strcmp(fmt, "no such option '%s'") != 0) {
		vfail(current, cfg->line, fmt, ap);
		return;
	}
	va_copy(copy, ap);
	fail_unknown(current, cfg, va_arg(copy, const char *));
	va_end(copy);
}

/* --- the table, as libconfuse wants it --- */

/* All values are strings to libconfuse, whose own numbers would be octal with a leading zero. */
static void
fill_keys(const struct bs_conf_item *items, size_t n, const char *section, cfg_opt_t *keys)
{
	static const cfg_opt_t end = CFG_END();

	for (size_t i = 0; i < n; i++) {
		cfg_opt_t key = CFG_STR(items[i].key, NULL, CFGF_NODEFAULT);

		if (strcmp(items[i].section, section) != 0)
			continue;
		key.validcb = on_value;
		*keys++ = key;
	}
	*keys = end;
}

/* A parser for the table; NULL when out of memory. */
static cfg_t *
make_parser(const struct bs_conf_item *items, size_t n)
{
	static const cfg_opt_t end = CFG_END();
	cfg_opt_t *sections = calloc(n + 2, sizeof(*sections));
	cfg_opt_t *keys = calloc(2 * n + 1, sizeof(*keys)), *next = keys;
	size_t used = 0;
	cfg_t *cfg = NULL;

	if (sections == NULL || keys == NULL)
		goto out;
	for (size_t i = 0; i < n; i++) {
		if (!opens_section(items, i))
			continue;
		fill_keys(items, n, items[i].section, next);
		sections[used++] = (cfg_opt_t)CFG_SEC(items[i].section, next, CFGF_NONE);
		while (next->name != NULL)
			next++;
		next++;
	}
	*next = end;
	sections[used++] = (cfg_opt_t)CFG_SEC(SENTINEL, next, CFGF_MULTI);
	sections[used] = end;
	cfg = cfg_init(sections, CFGF_NONE); /* copies both arrays */
	if (cfg != NULL)
		(void)cfg_set_error_function(cfg, on_error);
out:
	free(keys);
	free(sections);
	return cfg;
}

/* --- reading --- */

/* The whole file as a C string, malloced; NULL after fail(). */
static char *
read_file(struct load *load)
{
	char *text = NULL;
	size_t len = 0;
	FILE *fp = fopen(load->path, "re");

	if (fp == NULL) {
		fail(load, 0, "can't be opened: %s%s", strerror(errno),
		    errno == ENOENT ? "; -c FILE names another, and --defaults prints one to start from" : "");
		return NULL;
	}
	text = malloc(FILE_MAX_LEN + sizeof(SENTINEL_TEXT));
	if (text != NULL)
		len = fread(text, 1, FILE_MAX_LEN + 1, fp);
	if (text == NULL || ferror(fp))
		fail(load, 0, "can't be read: %s", strerror(errno));
	else if (len > FILE_MAX_LEN)
		fail(load, 0, "is larger than %d bytes: this is no configuration", FILE_MAX_LEN);
	else if (memchr(text, '\0', len) != NULL)
		fail(load, 0, "holds a zero byte: this is no configuration");
	(void)fclose(fp);
	if (load->failed || text == NULL) {
		free(text);
		return NULL;
	}
	load->last_line = 1;
	for (size_t i = 0; i + 1 < len; i++)
		load->last_line += text[i] == '\n';
	memcpy(text + len, SENTINEL_TEXT, sizeof(SENTINEL_TEXT));
	return text;
}

/*
 * libconfuse would put environment variables in place of ${NAME}. A daemon's settings stand in its file alone, so that
 * is refused (not silently kept: a person who writes it expects it to work).
 */
static void
refuse_variables(struct load *load, const char *text)
{
	bool blank = true, comment = false;
	int line = 1;

	for (; *text != '\0'; text++) {
		if (*text == '\n') {
			line++;
			blank = true;
			comment = false;
		} else if (*text == '#' && blank) {
			comment = true;
		} else if (*text != ' ' && *text != '\t') {
			blank = false;
		}
		if (text[0] == '$' && text[1] == '{' && !comment)
			fail(load, line, "${...} is not replaced in this file; write the value itself");
	}
}

/* Behind a comment of C's kinds, which libconfuse knows, too; else at. */
static char *
skip_c_comment(char *at)
{
	char *end;

	if (at[0] != '/' || (at[1] != '/' && at[1] != '*'))
		return at;
	end = at[1] == '/' ? strchr(at, '\n') : strstr(at + 2, "*/");
	return end == NULL ? at + strlen(at) - 1 : end;
}

/* Comments become blanks: libconfuse counts the line of each twice. */
static void
blank_comments(char *text)
{
	char quote = '\0';
	bool comment = false, starts = true; /* a word */

	for (; *text != '\0'; text++) {
		if (*text == '\n')
			comment = false;
		else if (comment)
			*text = ' ';
		else if (quote != '\0' && *text == '\\' && text[1] != '\0')
			text++;
		else if (quote != '\0' && *text == quote)
			quote = '\0';
		else if (quote != '\0')
			continue;
		else if (starts && skip_c_comment(text) != text)
			text = skip_c_comment(text);
		else if (*text == '"' || *text == '\'')
			quote = *text;
		else if (*text == '#') {
			*text = ' ';
			comment = true;
		}
		starts = strchr(" \t\n/", *text) != NULL;
	}
}

/* The text of item i as given, or its default. */
static const char *
text_of(cfg_t *cfg, const struct bs_conf_item *item)
{
	cfg_t *section = cfg_getsec(cfg, item->section);
	const char *text = section == NULL ? NULL : cfg_getstr(section, item->key);

	return text != NULL ? text : item->def;
}

static void
check_defaults(struct load *load, cfg_t *cfg)
{
	for (size_t i = 0; i < load->n; i++) {
		const struct bs_conf_item *item = &load->items[i];
		cfg_t *section = cfg_getsec(cfg, item->section);
		int line = section != NULL && section->line > 0 ? section->line : load->last_line;

		if (load->lines[i] != 0)
			continue;
		if (item->def == NULL)
			fail(load, line, "%s.%s is missing; add %s = ... to section %s { } (%s)", item->section, item->key, item->key,
			    item->section, item->help);
		else
			check_value(load, line, item, item->def);
	}
}

/* Fills out; on running out of memory nothing of it is left allocated, nor changed. */
static enum bs_err
store(const struct load *load, cfg_t *cfg, void *out)
{
	char **copies = calloc(load->n + 1, sizeof(*copies));
	enum bs_err err = copies == NULL ? BS_ERR_NOMEM : BS_OK;

	for (size_t i = 0; err == BS_OK && i < load->n; i++)
		if (load->items[i].type == BS_CONF_STRING && (copies[i] = strdup(text_of(cfg, &load->items[i]))) == NULL)
			err = BS_ERR_NOMEM;
	for (size_t i = 0; i < load->n && copies != NULL; i++) {
		const struct bs_conf_item *item = &load->items[i];
		void *place = (char *)out + item->offset;

		if (err != BS_OK)
			free(copies[i]);
		else if (item->type == BS_CONF_STRING)
			*(char **)place = copies[i];
		else if (item->type == BS_CONF_INT)
			(void)parse_int(text_of(cfg, item), place);
		else
			(void)parse_bool(text_of(cfg, item), place);
	}
	free(copies);
	return err;
}

static enum bs_err
parse_text(struct load *load, char *text, void *out)
{
	enum bs_err err = BS_ERR_CONF;
	cfg_t *cfg;

	refuse_variables(load, text);
	if (load->failed)
		return BS_ERR_CONF;
	blank_comments(text);
	cfg = make_parser(load->items, load->n);
	if (cfg == NULL)
		return BS_ERR_NOMEM;
	/* cfg_init() took the environment's locale; errors are told apart by their text. */
	(void)setlocale(LC_MESSAGES, "C");
	(void)setlocale(LC_CTYPE, "C");
	current = load;
	if (cfg_parse_buf(cfg, text) != CFG_SUCCESS || cfg_size(cfg, SENTINEL) != 1)
		fail(load, load->last_line, "a string or a comment is not closed before the end of the file");
	else
		check_defaults(load, cfg);
	current = NULL;
	if (!load->failed)
		err = store(load, cfg, out);
	(void)cfg_free(cfg);
	return err;
}

enum bs_err
bs_conf_load(const char *path, const struct bs_conf_item *items, size_t n, void *out, char *errbuf, size_t errbuf_size)
{
	struct load load = { .path = path, .items = items, .n = n, .errbuf = errbuf, .errbuf_size = errbuf_size };
	enum bs_err err = BS_ERR_NOMEM;
	char *text = NULL;

	if (errbuf_size > 0)
		errbuf[0] = '\0';
	load.lines = calloc(n + 1, sizeof(*load.lines));
	if (load.lines == NULL)
		goto out;
	text = read_file(&load);
	err = text == NULL ? BS_ERR_CONF : parse_text(&load, text, out);
out:
	if (err == BS_ERR_NOMEM)
		fail(&load, 0, "out of memory");
	free(text);
	free(load.lines);
	return err;
}

void
bs_conf_clear(const struct bs_conf_item *items, size_t n, void *out)
{
	for (size_t i = 0; i < n; i++) {
		char **place = (char **)((char *)out + items[i].offset);

		if (items[i].type != BS_CONF_STRING)
			continue;
		free(*place);
		*place = NULL;
	}
}

/* --- defaults --- */

static void
print_string(FILE *fp, const char *text)
{
	(void)fputc('"', fp);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			(void)fputc('\\', fp);
		(void)fputc(*text, fp);
	}
	(void)fputc('"', fp);
}

static void
print_item(const struct bs_conf_item *item, FILE *fp)
{
	(void)fprintf(fp, "    # %s", item->help);
	if (item->type == BS_CONF_INT)
		(void)fprintf(fp, " (%lld to %lld)", (long long)item->min, (long long)item->max);
	if (item->type == BS_CONF_BOOL)
		(void)fputs(" (yes or no)", fp);
	if (item->def == NULL)
		(void)fprintf(fp, "; required\n    # %s = ", item->key);
	else
		(void)fprintf(fp, "\n    %s = ", item->key);
	if (item->def != NULL && item->type != BS_CONF_STRING)
		(void)fputs(item->def, fp);
	else
		print_string(fp, item->def != NULL ? item->def : "");
	(void)fputc('\n', fp);
}

void
bs_conf_print_defaults(const struct bs_conf_item *items, size_t n, FILE *fp)
{
	for (size_t i = 0; i < n; i++) {
		if (!opens_section(items, i))
			continue;
		(void)fprintf(fp, "%s {\n", items[i].section);
		for (size_t k = i; k < n; k++)
			if (strcmp(items[k].section, items[i].section) == 0)
				print_item(&items[k], fp);
		(void)fputs("}\n", fp);
	}
}
