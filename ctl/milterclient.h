/*
 * milterclient: questions to basalt-milter, or basalt-lmtp, on its control socket: one JSON object there, one back
 * (milter/control.h, lmtp/proxyctl.h).
 *
 *     err = milterclient_open(path, timeout_ms, &client);
 *     err = milterclient_ask(client, json_pack("{s:s}", "op", "status"), &answer);
 *     milterclient_close(client);
 */
#ifndef CTL_MILTERCLIENT_H
#define CTL_MILTERCLIENT_H

#include "ctl.h"

struct milterclient;

/* timeout_ms: for everything up to the close. Errors are those of common/sock.h. */
enum bs_err milterclient_open(const char *path, int timeout_ms, struct milterclient **out) BS_MUST_USE;
/* NULL is legal. */
void milterclient_close(struct milterclient *client);
/* Sends a question (taken), and what belongs to it. */
enum bs_err milterclient_say(struct milterclient *client, json_t *take) BS_MUST_USE;
enum bs_err milterclient_send(struct milterclient *client, const void *data, size_t len) BS_MUST_USE;
/* The next answer. BS_ERR_FORMAT: it is no JSON object; else an object with "ok". */
enum bs_err milterclient_hear(struct milterclient *client, json_t **out) BS_MUST_USE;
/* say and hear. */
enum bs_err milterclient_ask(struct milterclient *client, json_t *take, json_t **out) BS_MUST_USE;

/* What a daemon said, as an object with "ok" in it; one that says so where it is none. */
json_t *milterclient_parse(const char *text, size_t len);
/* What to tell a person of a daemon that could not be asked: a JSON string. name: "milter" of basalt-milter, milter.control
 * and ctl.milter_control. */
json_t *milterclient_trouble(const struct ctl *ctl, const char *name, const char *path, enum bs_err err);

#endif
