/* lib/wire and lib/batch without memory. */
#include <math.h>

#include "batch/batcher.h"
#include "short.h"
#include "wire/frame.h"
#include "wire/message.h"

/* One frame in the buffer, or none that anybody may read. */
static bool framed(const struct buf *b, enum wire_type type, struct wire_frame *ret_frame)
{
    size_t size;
    if (buf_failed(b))
        return false;
    cr_assert_eq(wire_frame_parse(buf_slice(b), ret_frame, &size), 1);
    cr_assert_eq(size, b->len);
    cr_assert_eq(ret_frame->type, type);
    return true;
}

Test(torture_wire, messages_are_whole_or_marked)
{
    struct buf b;
    struct wire_frame frame;
    static char prompt[3000];
    memset(prompt, 'p', sizeof(prompt));
    struct wire_submit m = {.family = FAMILY_QUERY,
                            .endpoint = ENDPOINT_V1_QUERY,
                            .temperature = NAN,
                            .request_id = SLICE_LITERAL("id"),
                            .prompt = {prompt, sizeof(prompt)},
                            .username = SLICE_LITERAL("user")},
                       got;
    buf_init(&b, WIRE_MAX_PAYLOAD);
    size_t mark = wire_frame_begin(&b, WIRE_SUBMIT, 7);
    wire_submit_encode(&b, &m);
    wire_frame_end(&b, mark);
    if (framed(&b, WIRE_SUBMIT, &frame)) {
        cr_assert_eq(wire_submit_decode(frame.payload, &got), 0);
        cr_assert(slice_equal(got.prompt, m.prompt) && slice_equal(got.username, m.username));
    }
    buf_fini(&b);
    struct wire_refusal why = {.status = 503,
                               .error_type = SLICE_LITERAL("type"),
                               .error_code = SLICE_LITERAL("CODE"),
                               .message = {prompt, 1000}},
                        told;
    mark = wire_frame_begin(&b, WIRE_REFUSAL, 8);
    wire_refusal_encode(&b, &why);
    wire_frame_end(&b, mark);
    if (framed(&b, WIRE_REFUSAL, &frame)) {
        cr_assert_eq(wire_refusal_decode(frame.payload, &told), 0);
        cr_assert(slice_equal(told.message, why.message));
    }
    buf_fini(&b);
}

#define MEMBERS 120

static struct batch_member members[MEMBERS];

static unsigned take_all(struct batcher *b, uint64_t now_us)
{
    uint32_t running[PRIORITIES] = {0};
    struct batch_taken taken;
    unsigned n = 0;
    while (batcher_take(b, now_us, running, false, &taken)) {
        list_for_each (it, &taken.members)
            cr_assert_null(LIST_ENTRY(it, struct batch_member, node)->group);
        n += taken.n;
    }
    return n;
}

Test(torture_batcher, a_member_is_in_or_nothing_has_changed)
{
    struct batcher_config config = {.slots = 4, .queue_max = 1000, .tenant_share = 1};
    struct batcher *b = NULL;
    unsigned in = 0, out = 0;
    for (int p = 0; p < PRIORITIES; p++)
        config.priority[p] = (struct batch_policy_config){.window_us = 1000, .max_batch = 4};
    if (SHORT(batcher_new(&config, &b)))
        return;
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MEMBERS; i++) {
            bool full = true;
            struct batch_member *m = &members[i];
            if (m->group)
                continue;
            *m = (struct batch_member){
                .priority = (enum priority)(i % PRIORITIES), .arrived_us = i, .tokens = 1};
            m->tenant[0] = (uint8_t)(i % 7);
            m->key[0] = (uint8_t)(i % 5);
            m->alone = i % 11 == 0;
            if (SHORT(batcher_add(b, m, i, &full)))
                cr_assert_null(m->group);
            else
                in++;
        }
        for (unsigned i = round; i < MEMBERS; i += 9) {
            in -= members[i].group != NULL;
            batcher_remove(b, &members[i]);
        }
        out += take_all(b, 1000000);
    }
    cr_assert_eq(in, out);
    batcher_free(b);
}
