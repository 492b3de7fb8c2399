/*
 * milter_conn: one connection of the milter protocol without its socket: packets go in, events are called, answers come out.
 *
 * The caller reads bytes, cuts packets (milter_wire) and hands each over; it sends what is in the output when the
 * call returns. Every error ends the connection: BS_ERR_FORMAT (not this protocol, or a command out of its
 * place), BS_ERR_VERSION (the server lacks what is needed), BS_ERR_LIMIT, BS_ERR_NOMEM. One thread at a time; the events and
 * their app outlive it.
 *
 *     err = milter_conn_new(&events, app, &hooks, ctx, &conn);
 *     err = milter_conn_packet(conn, &packet);
 *     send(fd, bs_buf_data(milter_conn_output(conn)), ...);
 *     milter_conn_free(conn);          // tells the application that the session is closed
 */
#ifndef MILTER_MILTER_CONN_H
#define MILTER_MILTER_CONN_H

#include <stdbool.h>

#include "buf.h"
#include "milter_wire.h"
#include "transport.h"

struct milter_conn;

/* What a connection asks of who serves it; each gets the ctx of milter_conn_new(). */
struct milter_conn_hooks {
	/* A message begins. False: none may, the connection is to end. */
	bool (*begin)(void *ctx);
	/* It is over, in any way, and its answer stands in the output. */
	void (*done)(void *ctx);
	/* The end of the message is being thought about (true), or was. */
	void (*ending)(void *ctx, bool now);
	/* Sends a sign of life, if it is time. */
	enum bs_err (*progress)(void *ctx);
};

enum bs_err milter_conn_new(const struct transport_events *events, void *app, const struct milter_conn_hooks *hooks,
    void *ctx, struct milter_conn **out) BS_MUST_USE;
/* NULL is legal. */
void milter_conn_free(struct milter_conn *conn);
enum bs_err milter_conn_packet(struct milter_conn *conn, const struct milter_packet *packet) BS_MUST_USE;
/* True once the server has said goodbye. */
bool milter_conn_is_over(const struct milter_conn *conn);
/* What is to be sent; the caller consumes it. */
struct bs_buf *milter_conn_output(struct milter_conn *conn);

#endif
