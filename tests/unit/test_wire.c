/*
 * lib/wire: frames as they arrive in pieces, the smaller messages there and back, and what decoders refuse.
 * A prompt on its way is in test_wire_submit.c.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "wire/frame.h"
#include "wire/message.h"

static struct buf out;

static void setup(void)
{
    buf_init(&out, 1 << 20);
}

static void teardown(void)
{
    buf_fini(&out);
}

TestSuite(wire, .init = setup, .fini = teardown);

static void append_frame(enum wire_type type, uint64_t id, const char *payload)
{
    size_t mark = wire_frame_begin(&out, type, id);
    buf_append_text(&out, payload);
    wire_frame_end(&out, mark);
}

Test(wire, two_frames_one_after_the_other)
{
    append_frame(WIRE_CHAT_DELETE, 7, "abc");
    append_frame(WIRE_STATUS_ASK, UINT64_MAX, "");
    struct wire_frame f;
    size_t size = 0;
    struct slice in = buf_slice(&out);
    cr_assert_eq(wire_frame_parse(in, &f, &size), 1);
    cr_assert_eq(size, WIRE_HEADER_SIZE + 3);
    cr_assert_eq(f.type, WIRE_CHAT_DELETE);
    cr_assert_eq(f.id, 7);
    cr_assert(slice_is(f.payload, "abc"));
    in.p += size;
    in.n -= size;
    cr_assert_eq(wire_frame_parse(in, &f, &size), 1);
    cr_assert_eq(f.type, WIRE_STATUS_ASK);
    cr_assert_eq(f.id, UINT64_MAX);
    cr_assert_eq(f.payload.n, 0);
    cr_assert_eq(size, in.n);
}

Test(wire, header_is_laid_out_as_the_protocol_says)
{
    append_frame(WIRE_CHAT_DELETE, 0x0102030405060708, "xyz");
    static const unsigned char expected[] = {3, 0, 0, 0, 2, 7, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 'x', 'y', 'z'};
    cr_assert_eq(out.len, sizeof(expected));
    cr_assert(memcmp(out.data, expected, sizeof(expected)) == 0);
}

Test(wire, pieces_say_how_much_is_missing)
{
    append_frame(WIRE_CHAT_DELETE, 1, "hello");
    for (size_t n = 0; n < out.len; n++) {
        struct wire_frame f = {.id = 99};
        size_t size = 0;
        cr_assert_eq(wire_frame_parse((struct slice){out.data, n}, &f, &size), 0);
        cr_assert_eq(size, n < WIRE_HEADER_SIZE ? WIRE_HEADER_SIZE : WIRE_HEADER_SIZE + 5);
        cr_assert_eq(f.id, 99, "untouched until it is whole");
    }
}

static int parse_changed(size_t at, uint8_t value)
{
    char bytes[64];
    memcpy(bytes, out.data, out.len);
    bytes[at] = (char)value;
    struct wire_frame f;
    size_t size;
    return wire_frame_parse((struct slice){bytes, out.len}, &f, &size);
}

Test(wire, frames_of_another_protocol_are_refused)
{
    append_frame(WIRE_CHAT_DELETE, 1, "hello");
    cr_assert_eq(parse_changed(0, 5), 1);
    cr_assert_eq(parse_changed(4, WIRE_VERSION + 1), ERR_INVAL);
    cr_assert_eq(parse_changed(4, 0), ERR_INVAL);
    static const uint8_t unknown[] = {0, 10, 32, 41, 255};
    for (unsigned i = 0; i < sizeof(unknown); i++)
        cr_assert_eq(parse_changed(5, unknown[i]), ERR_INVAL);
    cr_assert_eq(parse_changed(6, 1), ERR_INVAL);
    cr_assert_eq(parse_changed(7, 1), ERR_INVAL);
    cr_assert_eq(parse_changed(8, 0), ERR_INVAL, "id 0");
    cr_assert_eq(parse_changed(0, 0), ERR_INVAL, "no request id");
    cr_assert_eq(parse_changed(1, 1), ERR_INVAL, "261 bytes of request id");
    cr_assert_eq(parse_changed(5, WIRE_CANCEL), ERR_INVAL, "a cancel has no payload");
}

Test(wire, length_limit)
{
    append_frame(WIRE_SUBMIT, 1, "");
    cr_assert_eq(parse_changed(3, 2), 0, "32 MiB exactly: wait for them");
    out.data[0] = 1;
    cr_assert_eq(parse_changed(3, 2), ERR_INVAL, "one more");
    cr_assert_eq(parse_changed(3, 255), ERR_INVAL);
}

Test(wire, a_payload_too_long_fails_the_buffer)
{
    struct buf big;
    buf_init(&big, 40u << 20);
    size_t mark = wire_frame_begin(&big, WIRE_STATUS, 1);
    cr_assert(buf_reserve(&big, WIRE_MAX_PAYLOAD + 1) != NULL);
    buf_advance(&big, WIRE_MAX_PAYLOAD);
    wire_frame_end(&big, mark);
    cr_assert(!buf_failed(&big));
    buf_append_byte(&big, 'x');
    wire_frame_end(&big, mark);
    cr_assert(buf_failed(&big));
    buf_fini(&big);
}

Test(wire, a_buffer_without_room_stays_failed)
{
    struct buf small;
    buf_init(&small, 10);
    wire_frame_end(&small, wire_frame_begin(&small, WIRE_DONE, 1));
    cr_assert(buf_failed(&small));
    buf_fini(&small);
}

Test(wire, hello_and_welcome)
{
    struct wire_hello h = {.pool = {{1, 2, 3, 15}}, .capacity = 640, .pid = 4242}, h2;
    wire_hello_encode(&out, &h);
    cr_assert_eq(wire_hello_decode(buf_slice(&out), &h2), 0);
    cr_assert(memcmp(&h, &h2, sizeof(h)) == 0);
    cr_assert_eq(wire_hello_decode((struct slice){out.data, out.len - 1}, &h2), ERR_INVAL);
    buf_append_byte(&out, 0);
    cr_assert_eq(wire_hello_decode(buf_slice(&out), &h2), ERR_INVAL);
    buf_clear(&out);
    struct wire_welcome w = {.epoch = 1ull << 40, .pid = 7}, w2;
    wire_welcome_encode(&out, &w);
    cr_assert_eq(wire_welcome_decode(buf_slice(&out), &w2), 0);
    cr_assert_eq(w2.epoch, w.epoch);
    cr_assert_eq(w2.pid, 7);
    cr_assert_eq(wire_welcome_decode((struct slice){out.data, 11}, &w2), ERR_INVAL);
}

static void same_text(struct slice a, struct slice b)
{
    cr_assert(slice_equal(a, b));
    cr_assert_eq(a.p == NULL, b.p == NULL);
}

Test(wire, answer)
{
    struct wire_answer a = {.flags = ANSWER_JOINED,
                            .timing = {1, 2, 3, 1ull << 50},
                            .chat = SLICE_LITERAL("record")},
                       got;
    wire_answer_encode(&out, &a);
    cr_assert_eq(wire_answer_decode(buf_slice(&out), &got), 0);
    cr_assert_eq(got.flags, ANSWER_JOINED);
    cr_assert(memcmp(&got.timing, &a.timing, sizeof(a.timing)) == 0);
    same_text(got.chat, a.chat);
    cr_assert_eq(wire_answer_decode((struct slice){out.data, out.len - 1}, &got), ERR_INVAL);
    out.data[0] = 8;
    cr_assert_eq(wire_answer_decode(buf_slice(&out), &got), ERR_INVAL);
    out.data[0] = ANSWER_LIMITS;
    cr_assert_eq(wire_answer_decode(buf_slice(&out), &got), ERR_INVAL, "it has none");
}

static void same_limits(const struct wire_limits *a, const struct wire_limits *b)
{
    cr_assert(memcmp(a, b, sizeof(*a)) == 0);
}

Test(wire, limits_travel_where_there_are_any)
{
    static const struct wire_limits limits[] = {
        {{60, 59, 1000}, {4000000000u, 0, 300000}}, {{1, 1, 0}, {0}}, {{0}, {1000, 0, UINT32_MAX}}};
    struct wire_answer a = {.chat = SLICE_LITERAL("record")}, got;
    struct wire_refusal r = {.status = 429,
                             .error_type = SLICE_LITERAL("rate_limit_error"),
                             .error_code = SLICE_LITERAL("RATE_LIMITED"),
                             .message = SLICE_LITERAL("Later.")},
                        told;
    wire_answer_encode(&out, &a);
    size_t bare = out.len;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        a.limits = r.limits = limits[i];
        buf_clear(&out);
        wire_answer_encode(&out, &a);
        cr_assert_eq(out.len, bare + 24);
        cr_assert_eq(wire_answer_decode(buf_slice(&out), &got), 0);
        cr_assert_eq(got.flags, ANSWER_LIMITS);
        same_limits(&got.limits, &limits[i]);
        for (size_t n = 0; n < out.len; n++)
            cr_assert_eq(wire_answer_decode((struct slice){out.data, n}, &got), ERR_INVAL);
        buf_clear(&out);
        wire_refusal_encode(&out, &r);
        cr_assert_eq(wire_refusal_decode(buf_slice(&out), &told), 0);
        same_limits(&told.limits, &limits[i]);
        for (size_t n = 0; n < out.len; n++)
            cr_assert_eq(wire_refusal_decode((struct slice){out.data, n}, &told),
                         n == out.len - 24 ? 0 : ERR_INVAL);
        buf_append_byte(&out, 0);
        cr_assert_eq(wire_refusal_decode(buf_slice(&out), &told), ERR_INVAL);
    }
}

Test(wire, limits_that_cannot_be)
{
    static const struct wire_limits wrong[] = {
        {{60, 61, 0}, {0}}, {{0, 0, 5}, {1, 0, 0}}, {{0, 1, 0}, {1, 0, 0}}};
    struct wire_answer a = {.chat = SLICE_LITERAL("record")}, got;
    struct wire_refusal r = {.status = 429,
                             .error_type = SLICE_LITERAL("x"),
                             .error_code = SLICE_LITERAL("y"),
                             .message = SLICE_LITERAL("z")},
                        told;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        a.limits = r.limits = wrong[i];
        buf_clear(&out);
        wire_answer_encode(&out, &a);
        cr_assert_eq(wire_answer_decode(buf_slice(&out), &got), ERR_INVAL);
        buf_clear(&out);
        wire_refusal_encode(&out, &r);
        cr_assert_eq(wire_refusal_decode(buf_slice(&out), &told), ERR_INVAL);
    }
    buf_clear(&out);
    r.limits = (struct wire_limits){0};
    wire_refusal_encode(&out, &r);
    for (int i = 0; i < 24; i++)
        buf_append_byte(&out, 0);
    cr_assert_eq(wire_refusal_decode(buf_slice(&out), &told), ERR_INVAL, "limits that say nothing");
}

Test(wire, refusal)
{
    struct wire_refusal m = {.status = 429,
                             .retry_after_ms = 1500,
                             .error_type = SLICE_LITERAL("rate_limit_error"),
                             .error_code = SLICE_LITERAL("QUEUE_FULL"),
                             .message = SLICE_LITERAL("Too many of your prompts wait.")},
                        got;
    wire_refusal_encode(&out, &m);
    cr_assert_eq(wire_refusal_decode(buf_slice(&out), &got), 0);
    cr_assert_eq(got.status, 429);
    cr_assert_eq(got.retry_after_ms, 1500);
    same_text(got.error_type, m.error_type);
    same_text(got.error_code, m.error_code);
    same_text(got.message, m.message);
    same_text(got.field, m.field);
    out.data[0] = 0;
    cr_assert_eq(wire_refusal_decode(buf_slice(&out), &got), ERR_INVAL, "status 256");
}

Test(wire, watch)
{
    struct wire_watch m = {.key = {9, [31] = 8}, .wait_ms = 250}, got;
    wire_watch_encode(&out, &m);
    cr_assert_eq(wire_watch_decode(buf_slice(&out), &got), 0);
    cr_assert(memcmp(&m, &got, sizeof(m)) == 0);
    cr_assert_eq(wire_watch_decode((struct slice){out.data, 35}, &got), ERR_INVAL);
}

struct sum {
    unsigned calls;
    uint64_t total;
    char last[32];
};

static void add(void *arg, struct slice name, uint64_t delta)
{
    struct sum *s = arg;
    s->calls++;
    s->total += delta;
    memcpy(s->last, name.p, name.n);
    s->last[name.n] = 0;
}

Test(wire, counts)
{
    struct sum s = {0};
    cr_assert_eq(wire_count_decode((struct slice){0}, add, &s), 0);
    wire_count_append(&out, SLICE_LITERAL("replays"), 3);
    wire_count_append(&out, SLICE_LITERAL("errors.NOT_FOUND"), 1ull << 40);
    cr_assert_eq(wire_count_decode(buf_slice(&out), add, &s), 0);
    cr_assert_eq(s.calls, 2);
    cr_assert_eq(s.total, (1ull << 40) + 3);
    cr_assert_str_eq(s.last, "errors.NOT_FOUND");
    s.calls = 0;
    cr_assert_eq(wire_count_decode((struct slice){out.data, out.len - 1}, add, &s), ERR_INVAL);
    cr_assert_eq(s.calls, 0, "nothing is added from a payload cut short");
    static const struct slice odd[] = {SLICE_LITERAL(""), SLICE_LITERAL("a\0b"), SLICE_LITERAL("tab\t"),
                                       SLICE_LITERAL("caf\xc3\xa9"), SLICE_LITERAL("\xfd")};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        buf_clear(&out);
        wire_count_append(&out, odd[i], 1);
        cr_assert_eq(wire_count_decode(buf_slice(&out), add, &s), ERR_INVAL, "%zu", i);
    }
    cr_assert_eq(s.calls, 0);
}

Test(wire, endpoint_names)
{
    cr_assert_str_eq(endpoint_path(ENDPOINT_QUERY), "/query");
    cr_assert_str_eq(endpoint_path(ENDPOINT_COMPLETIONS), "/v1/completions");
    cr_assert_str_eq(endpoint_path(0), "?");
    cr_assert_str_eq(endpoint_path(9), "?");
    cr_assert_str_eq(endpoint_path(-1), "?");
}
