/*
 * scrub_state: what a scrub has found so far, and the file in which that outlives it: a JSON object, written whole (temporary
 * name, fsync, rename), at most some seconds behind. A killed scrub goes on from there and counts nothing twice.
 *
 *     rc = scrub_state_load(&state, file, paths, n);     // nothing there: an empty state
 *     ...
 *     rc = scrub_state_save(&state, file);
 */
#ifndef CTL_SCRUB_STATE_H
#define CTL_SCRUB_STATE_H

#include <jansson.h>
#include <stdbool.h>

#define SCRUB_LIST_MAX 10000 /* rows of each list that are kept; all are counted, and printed as they are found */

struct scrub_counts {
	json_int_t files;     /* that were read */
	json_int_t bytes;
	json_int_t sealed;    /* messages, suite 1 */
	json_int_t suite0;    /* messages with a digest, not encrypted */
	json_int_t plaintext; /* messages and other files without our format: not checked */
	json_int_t damaged;
	json_int_t in_use;    /* files whose end is being written */
	json_int_t errors;    /* files and folders that could not be read */
};

struct scrub_state {
	char **paths; /* what is scrubbed; the caller's */
	size_t n;
	size_t root;  /* the place: the path, and the last file below it that was done */
	char *after;  /* NULL: none */
	double seconds;
	struct scrub_counts counts;
	json_t *damaged; /* arrays for the report */
	json_t *in_use;
	json_t *errors;
};

/* Both say themselves what is wrong, and return an exit status. A state of other paths or of another version is refused. */
int scrub_state_load(struct scrub_state *state, const char *file, char **paths, size_t n);
int scrub_state_save(const struct scrub_state *state, const char *file);
/* file NULL: an empty state that is kept nowhere. */
void scrub_state_init(struct scrub_state *state, char **paths, size_t n);
void scrub_state_clear(struct scrub_state *state);

/* This file is done. False: no memory. */
bool scrub_state_at(struct scrub_state *state, size_t root, const char *path);
/* Takes row; drops it when the list is full. */
void scrub_state_list(json_t *list, json_t *row);
/* {"files": ..., ...}: for the file, and for the report, where some have other names. */
json_t *scrub_counts_json(const struct scrub_counts *counts);

#endif
