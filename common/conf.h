/*
 * conf: one configuration file a program, read by libconfuse against a typed table in the code.
 *
 *   keyd {                      # sections and keys of the table, nothing else
 *       run_dir = "/run/basalt"
 *   }
 *
 * Values are bare words or stand in quotes; "#" begins a comment. A section may stand twice, a key may not.
 * Environment variables are not put in: "${" outside a comment is an error. There is no include.
 * An unknown section or key, a value of the wrong type or out of range, and a missing required key are errors with file
 * and line. The result is a struct of the caller's, filled by offset; strings are owned by it: bs_conf_clear() frees.
 * One thread at a time (libconfuse's lexer is global); sets the locale's LC_MESSAGES and LC_CTYPE to "C".
 *
 *     static const struct bs_conf_item items[] = {
 *         { "keyd", "run_dir", BS_CONF_STRING, offsetof(struct settings, run_dir), "/run/basalt", 0, 0, "folder of the sockets" },
 *     };
 *     err = bs_conf_load(path, items, N_ITEMS, &settings, errbuf, sizeof(errbuf));
 */
#ifndef BS_CONF_H
#define BS_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

enum bs_conf_type {
	BS_CONF_STRING, /* char *, never NULL */
	BS_CONF_INT,    /* int64_t, within min..max */
	BS_CONF_BOOL,   /* bool */
};

struct bs_conf_item {
	const char *section;
	const char *key;
	enum bs_conf_type type;
	size_t offset;
	const char *def;  /* as it would stand in the file; NULL: required */
	int64_t min, max; /* BS_CONF_INT only */
	const char *help; /* one line, for --help-config and the manual */
};

#define BS_CONF_ERRBUF 2048 /* holds the keys of a long section */

/* BS_ERR_CONF: errbuf says "FILE:LINE: what is wrong, and what would be right". out is untouched then. */
enum bs_err bs_conf_load(const char *path, const struct bs_conf_item *items, size_t n, void *out, char *errbuf,
    size_t errbuf_size) BS_MUST_USE;
void bs_conf_clear(const struct bs_conf_item *items, size_t n, void *out);
/* Prints the table as a commented file of defaults. */
void bs_conf_print_defaults(const struct bs_conf_item *items, size_t n, FILE *fp);

#endif
