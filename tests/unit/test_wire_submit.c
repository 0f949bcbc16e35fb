/*
 * lib/wire: the message that hands in a prompt, there, back and damaged, and the two hashes over it, which
 * must tell apart what differs and nothing else.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

TestSuite(wire_submit, .init = setup, .fini = teardown);

static struct wire_submit sample(void)
{
    return (struct wire_submit){
        .key = {1, [31] = 2},
        .fingerprint = {3, [31] = 4},
        .trust_group = {5, [15] = 6},
        .family = FAMILY_QUERY,
        .endpoint = ENDPOINT_V1_QUERY,
        .priority = PRIORITY_HIGH,
        .flags = SUBMIT_ASYNC | SUBMIT_NO_CACHE,
        .wait_ms = 30500,
        .request_id = SLICE_LITERAL("r-1"),
        .username = SLICE_LITERAL("ann"),
        .created_at = SLICE_LITERAL("2026-02-01T12:00:00Z"),
        .metadata = SLICE_LITERAL("{\"a\":1}"),
        .prompt = SLICE_LITERAL("What is \0 AI?"),
        .system_prompt = SLICE_LITERAL(""),
        .model = SLICE_LITERAL("m"),
        .temperature = 0.25,
        .max_tokens = 77,
        .caller_key = SLICE_LITERAL("sk-x"),
    };
}

static void same_text(struct slice a, struct slice b)
{
    cr_assert(slice_equal(a, b));
    cr_assert_eq(a.p == NULL, b.p == NULL);
}

Test(wire_submit, there_and_back)
{
    struct wire_submit m = sample(), got;
    wire_submit_encode(&out, &m);
    cr_assert_eq(wire_submit_decode(buf_slice(&out), &got), 0);
    cr_assert(memcmp(m.key, got.key, sizeof(m.key)) == 0);
    cr_assert(memcmp(m.fingerprint, got.fingerprint, sizeof(m.fingerprint)) == 0);
    cr_assert(memcmp(m.trust_group, got.trust_group, sizeof(m.trust_group)) == 0);
    cr_assert_eq(got.family, m.family);
    cr_assert_eq(got.endpoint, m.endpoint);
    cr_assert_eq(got.priority, m.priority);
    cr_assert_eq(got.flags, m.flags);
    cr_assert_eq(got.wait_ms, m.wait_ms);
    cr_assert_eq(got.temperature, m.temperature);
    cr_assert_eq(got.max_tokens, m.max_tokens);
    same_text(m.request_id, got.request_id);
    same_text(m.username, got.username);
    same_text(m.created_at, got.created_at);
    same_text(m.metadata, got.metadata);
    same_text(m.prompt, got.prompt);
    same_text(m.system_prompt, got.system_prompt);
    same_text(m.messages, got.messages);
    same_text(m.model, got.model);
    same_text(m.extra, got.extra);
    same_text(m.caller_key, got.caller_key);
    cr_assert(got.prompt.p >= out.data && got.prompt.p < out.data + out.len, "lent, not copied");
}

Test(wire_submit, cut_or_lengthened_is_refused)
{
    struct wire_submit m = sample(), got = {.wait_ms = 1};
    m.temperature = NAN;
    wire_submit_encode(&out, &m);
    for (size_t n = 0; n < out.len; n++) {
        /* A block of its own, so that a read past the end is seen by valgrind and ASan. */
        char *cut = malloc(n ? n : 1);
        memcpy(cut, out.data, n);
        cr_assert_eq(wire_submit_decode((struct slice){cut, n}, &got), ERR_INVAL);
        free(cut);
    }
    cr_assert_eq(got.wait_ms, 1, "untouched");
    cr_assert_eq(wire_submit_decode(buf_slice(&out), &got), 0);
    cr_assert(isnan(got.temperature));
    buf_append_byte(&out, 0);
    cr_assert_eq(wire_submit_decode(buf_slice(&out), &got), ERR_INVAL);
}

static int submit_round(const struct wire_submit *m)
{
    struct wire_submit got;
    buf_clear(&out);
    wire_submit_encode(&out, m);
    return wire_submit_decode(buf_slice(&out), &got);
}

Test(wire_submit, values_out_of_range_are_refused)
{
    struct wire_submit m = sample();
    cr_assert_eq(submit_round(&m), 0);
    m.family = 4;
    cr_assert_eq(submit_round(&m), ERR_INVAL);
    m = sample(), m.family = 0;
    cr_assert_eq(submit_round(&m), ERR_INVAL);
    m = sample(), m.endpoint = 9;
    cr_assert_eq(submit_round(&m), ERR_INVAL);
    m = sample(), m.priority = 3;
    cr_assert_eq(submit_round(&m), ERR_INVAL);
    /* As an earlier version's requests stand in the store. */
    m = sample(), m.flags = SUBMIT_ASYNC | SUBMIT_FRESH_ID;
    cr_assert_eq(submit_round(&m), 0);
    m = sample(), m.temperature = INFINITY;
    cr_assert_eq(submit_round(&m), ERR_INVAL);
    m = sample(), m.prompt = (struct slice){0};
    cr_assert_eq(submit_round(&m), ERR_INVAL);
    m = sample(), m.request_id.n = 0;
    cr_assert_eq(submit_round(&m), ERR_INVAL);
}

Test(wire_submit, what_streams_is_verbatim_alone_and_awaited)
{
    static const struct {
        unsigned flags;
        int rc;
    } cases[] = {{SUBMIT_ALONE | SUBMIT_VERBATIM, 0},
                 {SUBMIT_ALONE | SUBMIT_VERBATIM | SUBMIT_ASYNC, 0},
                 {SUBMIT_ALONE | SUBMIT_VERBATIM | SUBMIT_STREAM | SUBMIT_FRESH_ID | SUBMIT_OWN_ID, 0},
                 {SUBMIT_VERBATIM, ERR_INVAL},
                 {SUBMIT_STREAM, ERR_INVAL},
                 {SUBMIT_ALONE | SUBMIT_STREAM, ERR_INVAL},
                 {SUBMIT_VERBATIM | SUBMIT_STREAM, ERR_INVAL},
                 {SUBMIT_ALONE | SUBMIT_VERBATIM | SUBMIT_STREAM | SUBMIT_ASYNC, ERR_INVAL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct wire_submit m = sample();
        m.flags = cases[i].flags;
        cr_assert_eq(submit_round(&m), cases[i].rc, "flags %u", cases[i].flags);
    }
}

Test(wire_submit, that_does_not_fit_fails_the_buffer)
{
    struct buf small;
    buf_init(&small, 100);
    struct wire_submit m = sample();
    wire_submit_encode(&small, &m);
    cr_assert(buf_failed(&small));
    buf_fini(&small);
}

static uint64_t rng_state = 20261120;
static uint32_t rng(void)
{
    rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng_state >> 33);
}

/* Whatever decodes is encoded to the same bytes again: decode accepts nothing else. */
Test(wire_submit, damaged_submits_decode_exactly_or_not_at_all)
{
    struct wire_submit m = sample(), got;
    wire_submit_encode(&out, &m);
    size_t n = out.len;
    struct buf again;
    buf_init(&again, 1 << 20);
    unsigned accepted = 0;
    for (unsigned round = 0; round < 20000; round++) {
        char *bytes = malloc(n);
        memcpy(bytes, out.data, n);
        for (unsigned hits = 1 + rng() % 3; hits; hits--)
            bytes[rng() % n] = (char)rng();
        if (wire_submit_decode((struct slice){bytes, n}, &got) == 0) {
            accepted++;
            buf_clear(&again);
            wire_submit_encode(&again, &got);
            cr_assert(again.len == n && memcmp(again.data, bytes, n) == 0);
        }
        free(bytes);
    }
    buf_fini(&again);
    cr_assert_gt(accepted, 1000);
}

static void expect_changed(const uint8_t base[REQUEST_KEY_SIZE], const struct wire_submit *m, bool changed)
{
    uint8_t h[REQUEST_KEY_SIZE];
    wire_submit_fingerprint(m, h);
    cr_assert_eq(memcmp(base, h, sizeof(h)) != 0, changed);
}

#define CHANGE(assignment, changed)                                                                          \
    do {                                                                                                     \
        struct wire_submit m = sample();                                                                     \
        assignment;                                                                                          \
        expect_changed(base, &m, changed);                                                                   \
    } while (0)

Test(wire_submit, fingerprint_covers_what_determines_the_answer_and_nothing_else)
{
    struct wire_submit s = sample();
    uint8_t base[REQUEST_KEY_SIZE];
    wire_submit_fingerprint(&s, base);
    CHANGE(m.prompt = SLICE_LITERAL("other"), true);
    CHANGE(m.system_prompt = (struct slice){0}, true);
    CHANGE((m.messages = SLICE_LITERAL("[]")), true);
    CHANGE(m.model = SLICE_LITERAL("n"), true);
    CHANGE(m.extra = SLICE_LITERAL("{}"), true);
    CHANGE(m.temperature = 0.5, true);
    CHANGE(m.temperature = NAN, true);
    CHANGE(m.max_tokens = 78, true);
    CHANGE(m.priority = PRIORITY_LOW, true);
    CHANGE(m.family = FAMILY_INVOKE, true);
    /* A byte moved from one text to its neighbour. */
    CHANGE((m.model = SLICE_LITERAL(""), m.extra = SLICE_LITERAL("m")), true);

    CHANGE(m.created_at = SLICE_LITERAL("2027"), false);
    CHANGE(m.metadata = SLICE_LITERAL("{}"), false);
    CHANGE(m.username = SLICE_LITERAL("bob"), false);
    CHANGE(m.caller_key = SLICE_LITERAL("sk-y"), false);
    CHANGE(m.request_id = SLICE_LITERAL("r-2"), false);
    CHANGE(m.trust_group[0]++, false);
    CHANGE((m.wait_ms = 1, m.flags = 0), false);

    /* A text to be continued has another answer than the same words as a question. */
    CHANGE(m.flags |= SUBMIT_COMPLETION, true);
    CHANGE(m.flags |= SUBMIT_FRESH_ID | SUBMIT_ALONE, false);
    /* How it is told changes nothing. */
    CHANGE(m.flags |= SUBMIT_STREAM, false);
}

Test(wire_submit, equal_temperatures_have_equal_fingerprints)
{
    struct wire_submit m = sample();
    uint8_t base[REQUEST_KEY_SIZE];
    m.temperature = 0.0;
    wire_submit_fingerprint(&m, base);
    m.temperature = -0.0;
    expect_changed(base, &m, false);
    m.temperature = NAN;
    wire_submit_fingerprint(&m, base);
    m.temperature = -NAN;
    expect_changed(base, &m, false);
}

Test(wire_submit, request_keys_differ_by_each_part)
{
    uint8_t group[TRUST_GROUP_SIZE] = {1}, other[TRUST_GROUP_SIZE] = {2};
    uint8_t k[5][REQUEST_KEY_SIZE];
    wire_request_key(group, FAMILY_QUERY, SLICE_LITERAL("r"), k[0]);
    wire_request_key(other, FAMILY_QUERY, SLICE_LITERAL("r"), k[1]);
    wire_request_key(group, FAMILY_OPENAI, SLICE_LITERAL("r"), k[2]);
    wire_request_key(group, FAMILY_QUERY, SLICE_LITERAL("s"), k[3]);
    wire_request_key(group, FAMILY_QUERY, SLICE_LITERAL("r"), k[4]);
    for (int i = 1; i < 4; i++)
        for (int j = 0; j < i; j++)
            cr_assert(memcmp(k[i], k[j], REQUEST_KEY_SIZE) != 0);
    cr_assert(memcmp(k[0], k[4], REQUEST_KEY_SIZE) == 0);
}

/* Stored keys must be found by the next version of the program: these bytes are part of the store's format.
 * Computed apart from this code with Python's hashlib.blake2b(digest_size=32). */
Test(wire_submit, request_key_is_what_it_always_was)
{
    static const uint8_t group[TRUST_GROUP_SIZE] = {1};
    static const uint8_t expected[] = {0xe9, 0x51, 0x36, 0x8c, 0xa4, 0xa5, 0xe3, 0x1f, 0xe9, 0xd1, 0x89,
                                       0xe0, 0xb1, 0x61, 0x3d, 0x52, 0x61, 0x60, 0x84, 0x2d, 0xd0, 0x2e,
                                       0xd4, 0xd4, 0xc4, 0xc1, 0x66, 0x45, 0x88, 0x41, 0xec, 0x22};
    uint8_t key[REQUEST_KEY_SIZE];
    wire_request_key(group, FAMILY_QUERY, SLICE_LITERAL("r"), key);
    cr_assert(memcmp(key, expected, sizeof(key)) == 0);
}
