/*
 * Framing on the stream socket between a worker and the coordinator; etc/protocol.md is the specification.
 *
 * A frame is a 16-byte header and a payload:
 *   u32 length of the payload | u8 version | u8 type | u16 zero | u64 id
 * The id pairs an answer with its question; the side that asks chooses it, never 0, never twice on one
 * connection.
 */
#ifndef CARPOOL_WIRE_FRAME_H
#define CARPOOL_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define WIRE_VERSION     2
#define WIRE_HEADER_SIZE 16
#define WIRE_MAX_PAYLOAD (32u << 20)

#define WIRE_REQUEST_ID_MAX 128 /* bytes; api.md "Rules for every endpoint" */

enum wire_type {
    /* worker to coordinator */
    WIRE_HELLO = 1,        /* struct wire_hello, first frame of a connection */
    WIRE_SUBMIT = 2,       /* struct wire_submit: a prompt */
    WIRE_CANCEL = 3,       /* no payload; id of the submit that nobody waits for any more */
    WIRE_WATCH = 4,        /* struct wire_watch: tell me when this request id is finished */
    WIRE_COUNT = 5,        /* counter differences; not answered */
    WIRE_SETTINGS_PUT = 6, /* a change; its document: a checked partial settings document */
    WIRE_CHAT_DELETE = 7,  /* the request id as text */
    WIRE_STATUS_ASK = 8,   /* no payload */
    WIRE_KEYS_CHANGE = 9,  /* struct wire_change: a key to create, rotate, revoke */
    /* coordinator to worker */
    WIRE_WELCOME = 33,  /* struct wire_welcome, answers HELLO */
    WIRE_ANSWER = 34,   /* struct wire_answer: the prompt's answer */
    WIRE_REFUSAL = 35,  /* struct wire_refusal: it has none, and why */
    WIRE_QUEUED = 36,   /* no payload; an async submit is durable */
    WIRE_PROGRESS = 37, /* u8 enum wire_progress, answers WATCH */
    WIRE_DONE = 38,     /* no payload; the change asked for is in force */
    WIRE_STATUS = 39,   /* JSON text: the coordinator's part of /health and queue depths */
    WIRE_DELTA = 40,    /* JSON text: a piece of an answer that streams, one of OpenAI's chunk objects; any
                           number    before the ANSWER or REFUSAL that ends it */
};

/* One frame taken from the front of a receive buffer. payload lends from it. */
struct wire_frame {
    enum wire_type type;
    uint64_t id;
    struct slice payload;
};

/*
 * Looks at the bytes received so far. 1: a frame is there and *ret_frame is filled, *ret_size bytes belong to
 * it. 0: more bytes are needed; *ret_size is how many in all, as far as is known. ERR_INVAL: not our protocol
 * (version, unknown type, reserved bits, id 0, a length that this type cannot have); the connection is
 * closed.
 */
MUST_CHECK
int wire_frame_parse(struct slice received, struct wire_frame *ret_frame, size_t *ret_size);

/* Appends a header whose length is not known yet; wire_frame_end() fills it in. Between them the payload is
 * appended. A payload above WIRE_MAX_PAYLOAD marks out as failed, as any failed append does. */
size_t wire_frame_begin(struct buf *out, enum wire_type type, uint64_t id); /* returns the mark for …_end */
void wire_frame_end(struct buf *out, size_t mark);

#endif
