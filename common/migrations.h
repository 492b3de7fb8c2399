/*
 * migrations: the schemas of sql/keys and sql/policy, compiled in by tools/embed-sql.
 *
 *     err = bs_sql_migrate(db, bs_sql_migrations_keys, bs_sql_migrations_keys_count);
 */
#ifndef BS_MIGRATIONS_H
#define BS_MIGRATIONS_H

#include "sql.h"

extern const struct bs_sql_migration bs_sql_migrations_keys[];
extern const size_t bs_sql_migrations_keys_count;
extern const struct bs_sql_migration bs_sql_migrations_policy[];
extern const size_t bs_sql_migrations_policy_count;

#endif
