#include "scrub_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

#define STATE_VERSION 1
#define STATE_LEN_MAX (64u * 1024 * 1024)

void
scrub_state_init(struct scrub_state *state, char **paths, size_t n)
{
	*state = (struct scrub_state){
		.paths = paths, .n = n, .damaged = json_array(), .in_use = json_array(), .errors = json_array(),
	};
}

void
scrub_state_clear(struct scrub_state *state)
{
	free(state->after);
	json_decref(state->damaged);
	json_decref(state->in_use);
	json_decref(state->errors);
}

bool
scrub_state_at(struct scrub_state *state, size_t root, const char *path)
{
	char *copy = strdup(path);

	if (copy == NULL)
		return false;
	free(state->after);
	state->after = copy;
	state->root = root;
	return true;
}

void
scrub_state_list(json_t *list, json_t *row)
{
	if (json_array_size(list) < SCRUB_LIST_MAX)
		json_array_append_new(list, row);
	else
		json_decref(row);
}

json_t *
scrub_counts_json(const struct scrub_counts *c)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "files", c->files, "bytes", c->bytes, "sealed", c->sealed,
	    "not_encrypted", c->suite0, "skipped_plaintext", c->plaintext, "damaged_count", c->damaged, "in_use_count", c->in_use,
	    "error_count", c->errors);
}

/* --- bytes of a path: any but NUL, so hex --- */

static json_t *
hex_of(const char *text)
{
	size_t len = strlen(text);
	char *hex = malloc(2 * len + 1);
	json_t *json;

	if (hex == NULL)
		return NULL;
	ctl_hex((const uint8_t *)text, len, hex);
	json = json_string(hex);
	free(hex);
	return json;
}

static char *
text_of(const char *hex)
{
	size_t len = strlen(hex) / 2;
	char *text = malloc(len + 1);

	for (size_t i = 0; text != NULL && i < len; i++) {
		char digits[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		text[i] = (char)strtoul(digits, NULL, 16);
	}
	if (text != NULL)
		text[len] = '\0';
	return text;
}

static json_t *
paths_json(const struct scrub_state *state)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < state->n; i++)
		json_array_append_new(paths, hex_of(state->paths[i]));
	return paths;
}

/* --- the file --- */

static int
replace_file(const char *file, const char *text)
{
	char *fresh = NULL;
	int fd, rc = CTL_OK;

	if (asprintf(&fresh, "%s.new", file) < 0)
		return ctl_fail(BS_ERR_NOMEM, "%s: %s", file, bs_err_text(BS_ERR_NOMEM));
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || !ctl_write_all(fd, text, strlen(text)) || fsync(fd) < 0 || rename(fresh, file) < 0)
		rc = ctl_fail(errno == ENOSPC || errno == EDQUOT ? BS_ERR_IO : BS_ERR_ARG, "writing the state to %s: %s", fresh, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(fresh);
	return rc;
}

int
scrub_state_save(const struct scrub_state *state, const char *file)
{
	json_t *json = json_pack("{s:i, s:o, s:I, s:f, s:o, s:O, s:O, s:O}", "version", STATE_VERSION, "paths", paths_json(state),
	    "root", (json_int_t)state->root, "seconds", state->seconds, "counts", scrub_counts_json(&state->counts), "damaged",
	    state->damaged, "in_use", state->in_use, "errors", state->errors);
	char *text = NULL;
	int rc;

	if (json != NULL && state->after != NULL)
		json_object_set_new(json, "after", hex_of(state->after));
	if (json != NULL)
		text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12));
	rc = text == NULL ? ctl_fail(BS_ERR_NOMEM, "%s: %s", file, bs_err_text(BS_ERR_NOMEM)) : replace_file(file, text);
	free(text);
	json_decref(json);
	return rc;
}

static bool
take_counts(json_t *json, struct scrub_counts *c)
{
	return json_unpack(json, "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "files", &c->files, "bytes", &c->bytes, "sealed",
	           &c->sealed, "not_encrypted", &c->suite0, "skipped_plaintext", &c->plaintext, "damaged_count", &c->damaged,
	           "in_use_count", &c->in_use, "error_count", &c->errors) == 0;
}

static bool
take_state(json_t *json, struct scrub_state *state)
{
	json_t *counts, *damaged, *in_use, *errors;
	const char *after = NULL;
	json_int_t root;

	if (json_unpack(json, "{s:I, s:F, s:o, s:o, s:o, s:o, s?s}", "root", &root, "seconds", &state->seconds, "counts", &counts,
	        "damaged", &damaged, "in_use", &in_use, "errors", &errors, "after", &after) != 0 ||
	    root < 0 || (size_t)root >= state->n || !take_counts(counts, &state->counts) || !json_is_array(damaged) ||
	    !json_is_array(in_use) || !json_is_array(errors))
		return false;
	state->root = (size_t)root;
	json_array_extend(state->damaged, damaged);
	json_array_extend(state->in_use, in_use);
	json_array_extend(state->errors, errors);
	state->after = after == NULL ? NULL : text_of(after);
	return after == NULL || state->after != NULL;
}

int
scrub_state_load(struct scrub_state *state, const char *file, char **paths, size_t n)
{
	json_t *json, *mine;
	json_error_t error;
	int rc = CTL_OK;

	scrub_state_init(state, paths, n);
	if (access(file, F_OK) < 0 && errno == ENOENT)
		return CTL_OK;
	json = json_load_file(file, 0, &error);
	mine = paths_json(state);
	if (!json_is_object(json) || json_object_get(json, "version") == NULL)
		rc = ctl_fail(BS_ERR_FORMAT, "%s is no state of a scrub: name another file", file);
	else if (json_integer_value(json_object_get(json, "version")) != STATE_VERSION)
		rc = ctl_fail(BS_ERR_VERSION, "%s is no state of a scrub that this version knows; remove it to begin anew", file);
	else if (!json_equal(json_object_get(json, "paths"), mine))
		rc = ctl_fail(BS_ERR_ARG, "%s is the state of a scrub of other paths; finish that one, or remove it", file);
	else if (!take_state(json, state))
		rc = ctl_fail(BS_ERR_FORMAT, "%s is damaged; remove it to begin anew", file);
	json_decref(mine);
	json_decref(json);
	return rc;
}
