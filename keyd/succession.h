/*
 * succession: how the supervisor becomes the program and the configuration of today, in the same process, while its roles go on.
 *
 * What the next image must know lies in a sealed memory file: the descriptors that stay open and who our children are; no secret. First the
 * program is asked, in a child with a deadline, whether it would (--check-config --heir FD): it may be broken, of another
 * version of these bytes or of handover.h, or configured for another folder. Then it is executed in our place: pid, children,
 * and listening sockets stay.
 *
 *   "BSKL" | u16 HANDOVER_VERSION | str16 run_dir | 4 u32 listening | 5 u32 ctl | u32 policy (0: none) | u8 n | n: u32 pid (0: to be started again), u8 role, u8 index
 *
 *     succession_start(&program, &set, run_dir, errbuf, sizeof(errbuf));       // comes back only with a reason why not
 *     err = succession_read(fd, &set, run_dir, sizeof(run_dir));               // the next image
 */
#ifndef KEYD_SUCCESSION_H
#define KEYD_SUCCESSION_H

#include "roleset.h"

/* As we were started, and are to be again. */
struct program {
	const char *path, *conf_path;
	int heir_fd; /* the memory file of the image before; -1: there is none */
};

#define SUCCESSION_LEN_MAX 4300
#define RUN_DIR_MAX 4096

/* BS_ERR_FORMAT, BS_ERR_VERSION, BS_ERR_IO. Of set only what is in the bytes is set, the rest as roleset_init() does. */
enum bs_err succession_read(int fd, struct roleset *set, char *run_dir, size_t size) BS_MUST_USE;
/* For the fuzzer, and the two above. *len: SUCCESSION_LEN_MAX at most. */
enum bs_err succession_parse(const void *data, size_t len, struct roleset *set, char *run_dir, size_t size) BS_MUST_USE;
enum bs_err succession_bytes(const struct roleset *set, const char *run_dir, uint8_t *out, size_t *len) BS_MUST_USE;
/* May a program with this configuration take over? Otherwise errbuf has a sentence. */
enum bs_err succession_check(int fd, const struct keydconf *conf, char *errbuf, size_t size) BS_MUST_USE;
void succession_start(const struct program *program, const struct roleset *set, const char *run_dir, char *errbuf, size_t size);

#endif
