/*
 * Framing between worker and coordinator; see frame.h. Only the shape of a frame is judged here (version,
 * type, size, id); what the payload says is the business of message.c. Called by the worker's coordinator
 * client and the coordinator's links, once for each frame, so it neither copies nor allocates.
 */
#include "wire/frame.h"

#include <stdbool.h>

#include "base/bytes.h"

/* How long a payload of each type can be. Checked before the payload has come, so that a wrong length costs a
 * connection and not 32 MiB of buffer. A type with max 0 and known false does not exist. */
struct payload_rule {
    bool known;
    uint32_t min, max;
};

static const struct payload_rule rules[] = {
    [WIRE_HELLO] = {true, 24, 24},
    [WIRE_SUBMIT] = {true, 1, WIRE_MAX_PAYLOAD},
    [WIRE_CANCEL] = {true, 0, 0},
    [WIRE_WATCH] = {true, 36, 36},
    [WIRE_COUNT] = {true, 0, WIRE_MAX_PAYLOAD},
    [WIRE_SETTINGS_PUT] = {true, 10, WIRE_MAX_PAYLOAD},
    [WIRE_CHAT_DELETE] = {true, 1, WIRE_REQUEST_ID_MAX},
    [WIRE_STATUS_ASK] = {true, 0, 0},
    [WIRE_KEYS_CHANGE] = {true, 10, WIRE_MAX_PAYLOAD},
    [WIRE_WELCOME] = {true, 12, 12},
    [WIRE_ANSWER] = {true, 1, WIRE_MAX_PAYLOAD},
    [WIRE_REFUSAL] = {true, 1, WIRE_MAX_PAYLOAD},
    [WIRE_QUEUED] = {true, 0, 0},
    [WIRE_PROGRESS] = {true, 1, 1},
    [WIRE_DONE] = {true, 0, 0},
    [WIRE_STATUS] = {true, 2, WIRE_MAX_PAYLOAD},
    [WIRE_DELTA] = {true, 2, WIRE_MAX_PAYLOAD},
};

int wire_frame_parse(struct slice received, struct wire_frame *ret_frame, size_t *ret_size)
{
    if (received.n < WIRE_HEADER_SIZE) {
        *ret_size = WIRE_HEADER_SIZE;
        return 0;
    }
    struct bytes_reader r;
    bytes_reader_init(&r, (struct slice){received.p, WIRE_HEADER_SIZE});
    uint32_t length = bytes_get_u32(&r);
    uint8_t version = bytes_get_u8(&r);
    uint8_t type = bytes_get_u8(&r);
    uint16_t zero = bytes_get_u16(&r);
    uint64_t id = bytes_get_u64(&r);
    if (version != WIRE_VERSION || zero || !id || type >= ARRAY_LEN(rules) || !rules[type].known ||
        length < rules[type].min || length > rules[type].max)
        return ERR_INVAL;
    size_t size = WIRE_HEADER_SIZE + (size_t)length;
    if (received.n >= size)
        *ret_frame = (struct wire_frame){(enum wire_type)type, id, {received.p + WIRE_HEADER_SIZE, length}};
    *ret_size = size;
    return received.n >= size;
}

size_t wire_frame_begin(struct buf *out, enum wire_type type, uint64_t id)
{
    size_t mark = out->len;
    if (buf_reserve(out, WIRE_HEADER_SIZE)) {
        bytes_put_u32(out, 0);
        bytes_put_u8(out, WIRE_VERSION);
        bytes_put_u8(out, (uint8_t)type);
        bytes_put_u16(out, 0);
        bytes_put_u64(out, id);
    }
    return mark;
}

void wire_frame_end(struct buf *out, size_t mark)
{
    if (buf_failed(out))
        return;
    size_t length = out->len - mark - WIRE_HEADER_SIZE;
    if (length > WIRE_MAX_PAYLOAD) {
        out->failed = true;
        return;
    }
    for (unsigned i = 0; i < 4; i++)
        out->data[mark + i] = (char)(length >> (8 * i));
}
