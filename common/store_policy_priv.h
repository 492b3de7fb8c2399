/* store_policy_priv: what the files of store_policy share. Nobody else includes it. */
#ifndef BS_STORE_POLICY_PRIV_H
#define BS_STORE_POLICY_PRIV_H

#include "sql.h"
#include "store_policy.h"

struct bs_store_policy {
	struct bs_sql *db;
	uint64_t statements;
};

/* One thing that a SELECT brings back. */
struct bs_store_found {
	void *out;
	bool yes;
};

/* bs_sql_run(), counted. */
enum bs_err bs_store_policy_run(struct bs_store_policy *store, const char *sql, const struct bs_sql_arg *args, size_t n,
    bs_sql_row_fn row, void *ctx) BS_MUST_USE;
/* Runs a DELETE or UPDATE. BS_ERR_NOENT when it found nothing. */
enum bs_err bs_store_policy_change(struct bs_store_policy *store, const char *sql, const struct bs_sql_arg *args,
    size_t n) BS_MUST_USE;
/* sql selects by one text. BS_ERR_NOENT. */
enum bs_err bs_store_policy_exists(struct bs_store_policy *store, const char *sql, const char *key) BS_MUST_USE;
/* sql deletes one thing by its name: it goes together with its preferences. */
enum bs_err bs_store_policy_remove(struct bs_store_policy *store, const char *sql, enum bs_scope scope,
    const char *name) BS_MUST_USE;
/* Copies a text column. A row that can't be is BS_ERR_IO: mail waits until somebody has mended it. */
enum bs_err bs_store_policy_text(const struct bs_sql_col *col, char *out, size_t size) BS_MUST_USE;
/* The same of a plan's linger_s. */
enum bs_err bs_store_policy_linger(const struct bs_sql_col *col, int64_t *out) BS_MUST_USE;
/* Sets one preference of a row; one that this program does not understand is counted instead. */
void bs_store_policy_apply(const struct bs_sql_col *item, const struct bs_sql_col *value, struct bs_policy *policy,
    unsigned *ignored);

#endif
