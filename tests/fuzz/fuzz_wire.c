/* ROOMS: */
/*
 * What goes between worker and coordinator: frames out of arbitrary bytes, whole and in pieces, and every
 * message in them. A decoder takes nothing that its encoder would not have written, so what it takes comes
 * out of the encoder as the same bytes; what it refuses leaves its output alone. The first byte says
 * whether the rest is a stream of frames as it stands (0), frames of a type, a length of two bytes and a
 * payload each (1), or a chat record (2).
 */
#include <string.h>

#include "fuzz.h"
#include "store/chats.h"
#include "wire/frame.h"
#include "wire/message.h"

#define FRAMES_MAX 512
#define STREAM_MAX (1u << 20)
#define UNTOUCHED  0xa5

void fuzz_start(void)
{
}

union message {
    struct wire_hello hello;
    struct wire_welcome welcome;
    struct wire_submit submit;
    struct wire_answer answer;
    struct wire_refusal refusal;
    struct wire_watch watch;
    struct chat chat;
};

struct pairs {
    struct buf out;
    size_t n;
};

static void add_pair(void *arg, struct slice name, uint64_t delta)
{
    struct pairs *p = arg;
    wire_count_append(&p->out, name, delta);
    p->n++;
}

/* Counts are told one by one, and none of a payload that is cut short. */
static void check_count(struct slice payload)
{
    struct pairs p = {0};
    buf_init(&p.out, STREAM_MAX);
    int rc = wire_count_decode(payload, add_pair, &p);
    FUZZ_CHECK(rc == 0 || rc == ERR_INVAL, "%d", rc);
    FUZZ_CHECK(rc == 0 || !p.n, "%zu pairs of a payload that is refused", p.n);
    FUZZ_CHECK(rc || slice_equal(buf_slice(&p.out), payload), "counts come out as others");
    buf_fini(&p.out);
}

#define ROUND_TRIP(name)                                                                                     \
    do {                                                                                                     \
        rc = wire_##name##_decode(payload, &m.name);                                                         \
        if (rc == 0)                                                                                         \
            wire_##name##_encode(&out, &m.name);                                                             \
    } while (0)

static void check_message(int type, struct slice payload)
{
    union message m, untouched;
    struct buf out;
    int rc;
    memset(&m, UNTOUCHED, sizeof(m));
    memset(&untouched, UNTOUCHED, sizeof(untouched));
    buf_init(&out, STREAM_MAX);
    switch (type) {
    case WIRE_HELLO:
        ROUND_TRIP(hello);
        break;
    case WIRE_WELCOME:
        ROUND_TRIP(welcome);
        break;
    case WIRE_SUBMIT:
        ROUND_TRIP(submit);
        break;
    case WIRE_ANSWER:
        ROUND_TRIP(answer);
        break;
    case WIRE_REFUSAL:
        ROUND_TRIP(refusal);
        break;
    case WIRE_WATCH:
        ROUND_TRIP(watch);
        break;
    case WIRE_COUNT:
        check_count(payload);
        return;
    default:
        return;
    }
    FUZZ_CHECK(rc == 0 || rc == ERR_INVAL, "type %d: %d", type, rc);
    FUZZ_CHECK(rc == 0 || memcmp(&m, &untouched, sizeof(m)) == 0, "type %d is refused and yet written", type);
    FUZZ_CHECK(rc || slice_equal(buf_slice(&out), payload), "type %d comes out as other bytes", type);
    buf_fini(&out);
}

/* The record that an answer carries and the store keeps. */
static void check_chat(struct slice record)
{
    union message m, untouched;
    struct buf out;
    memset(&m, UNTOUCHED, sizeof(m));
    memset(&untouched, UNTOUCHED, sizeof(untouched));
    buf_init(&out, STREAM_MAX);
    int rc = chat_decode(record, &m.chat);
    FUZZ_CHECK(rc == 0 || rc == ERR_CORRUPT, "a chat: %d", rc);
    FUZZ_CHECK(rc == 0 || memcmp(&m, &untouched, sizeof(m)) == 0, "a chat is refused and yet written");
    if (rc == 0)
        chat_encode(&out, &m.chat);
    /* Bits of flags that are none yet are passed over. */
    if (rc == 0 && out.len == record.n)
        out.data[3] |= (char)(record.p[3] & ~3);
    FUZZ_CHECK(rc || slice_equal(buf_slice(&out), record), "a chat comes out as other bytes");
    buf_fini(&out);
}

struct seen {
    struct {
        size_t at, size;
        struct wire_frame frame;
    } frames[FRAMES_MAX];
    size_t n;
    bool broken;
};

static void check_frame(const struct wire_frame *f, struct slice bytes)
{
    struct buf out;
    buf_init(&out, STREAM_MAX);
    size_t mark = wire_frame_begin(&out, f->type, f->id);
    buf_append_slice(&out, f->payload);
    wire_frame_end(&out, mark);
    FUZZ_CHECK(slice_equal(buf_slice(&out), bytes), "a frame of type %d comes out as other bytes", f->type);
    buf_fini(&out);
    check_message(f->type, f->payload);
    struct wire_answer answer;
    if (f->type == WIRE_ANSWER && wire_answer_decode(f->payload, &answer) == 0)
        check_chat(answer.chat);
}

/* All frames of bytes that are there at once. */
static void read_whole(struct slice stream, struct seen *ret)
{
    size_t at = 0, size = 0;
    int rc = 1;
    ret->n = 0;
    while (rc > 0 && ret->n < FRAMES_MAX) {
        struct slice rest = {stream.p + at, stream.n - at};
        struct wire_frame f;
        rc = wire_frame_parse(rest, &f, &size);
        FUZZ_CHECK(rc == 0 || rc == 1 || rc == ERR_INVAL, "%d", rc);
        FUZZ_CHECK(rc != 0 || size > rest.n, "more is needed than %zu bytes, but not more than %zu", rest.n,
                   size);
        if (rc <= 0)
            break;
        FUZZ_CHECK(size <= rest.n && f.payload.n + WIRE_HEADER_SIZE == size, "a frame of %zu bytes", size);
        check_frame(&f, (struct slice){rest.p, size});
        ret->frames[ret->n].at = at;
        ret->frames[ret->n].size = size;
        ret->frames[ret->n++].frame = f;
        at += size;
    }
    ret->broken = rc < 0;
}

/* The same bytes as a socket brings them, piece by piece: the same frames must come of them. */
static void read_pieces(struct slice stream, uint64_t random, const struct seen *whole)
{
    struct buf in;
    size_t fed = 0, n = 0;
    int rc = 0;
    buf_init(&in, STREAM_MAX);
    while (fed < stream.n && rc >= 0 && n < whole->n) {
        uint8_t draw;
        fuzz_random(&random, &draw, 1);
        size_t piece = draw % 32 ? draw % 32 : (size_t)draw * 40 + 1;
        piece = piece < stream.n - fed ? piece : stream.n - fed;
        buf_append(&in, stream.p + fed, piece);
        fed += piece;
        struct wire_frame f;
        size_t size;
        while ((rc = wire_frame_parse(buf_slice(&in), &f, &size)) > 0) {
            FUZZ_CHECK(n < whole->n || whole->n == FRAMES_MAX, "a frame more in pieces");
            if (n == whole->n)
                break;
            const struct wire_frame *w = &whole->frames[n].frame;
            FUZZ_CHECK(f.type == w->type && f.id == w->id && slice_equal(f.payload, w->payload) &&
                           size == whole->frames[n].size,
                       "another frame in pieces");
            n++;
            buf_consume(&in, size);
        }
    }
    FUZZ_CHECK(n == whole->n, "%zu frames whole and %zu in pieces", whole->n, n);
    /* What follows the last frame that was counted was not looked at. */
    FUZZ_CHECK(rc >= 0 || whole->broken || whole->n == FRAMES_MAX, "broken in pieces only");
    buf_fini(&in);
}

/* Frames that are in order but for what is in them. */
static void assemble(struct fuzz_reader *in, struct buf *out)
{
    for (uint64_t id = 1; in->at < in->end; id++) {
        uint8_t type = fuzz_u8(in);
        size_t n = fuzz_u16(in);
        size_t mark = wire_frame_begin(out, (enum wire_type)type, id);
        buf_append_slice(out, fuzz_bytes(in, n));
        wire_frame_end(out, mark);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen seen;
    struct fuzz_reader in = fuzz_reader_of((struct slice){(const char *)data, size});
    struct buf stream;
    unsigned what = fuzz_choice(fuzz_u8(&in), 3);
    buf_init(&stream, STREAM_MAX);
    if (what == 1)
        assemble(&in, &stream);
    else
        buf_append_slice(&stream, fuzz_bytes(&in, SIZE_MAX));
    if (what == 2)
        check_chat(buf_slice(&stream));
    else {
        read_whole(buf_slice(&stream), &seen);
        read_pieces(buf_slice(&stream), fuzz_hash(data, size, 0), &seen);
    }
    buf_fini(&stream);
    return 0;
}
