/*
 * home: the copies of record and keyset that lie in an account's mail home, HOME/basalt. What is read is believed by nobody: keyd
 * verifies what is restored.
 *
 *     home_path(ctl, "alice@example.org", "keyset", path, sizeof(path));
 *     err = home_read_file(path, BS_KEYSET_MAX, &bytes, &len);
 */
#ifndef CTL_HOME_H
#define CTL_HOME_H

#include "ctl.h"
#include "keyset.h"

/* The account's mail home, as ctl.mail_home says; what does not fit is cut off. */
void home_folder(const struct ctl *ctl, const char *address, char *out, size_t size);
/* HOME/basalt/NAME. */
void home_path(const struct ctl *ctl, const char *address, const char *name, char *out, size_t size);
/* A whole file of at most max bytes; *out is malloced. BS_ERR_NOENT, BS_ERR_LIMIT, BS_ERR_IO. */
enum bs_err home_read_file(const char *path, size_t max, uint8_t **out, size_t *len) BS_MUST_USE;
/* The record there. BS_ERR_NOENT: none, or none that can be read. */
enum bs_err home_record(const struct ctl *ctl, const char *address, struct bs_record *out) BS_MUST_USE;
/* Its generation, 0 where there is none that can be read. */
uint64_t home_generation(const struct ctl *ctl, const char *address);

#endif
