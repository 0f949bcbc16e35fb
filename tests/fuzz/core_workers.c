/* The workers of a core; see core_workers.h. */
#include "core_workers.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "store/chats.h"
#include "json/scan.h"

#define IDS       8
#define FRAME_MAX (1u << 20)

void workers_open(struct core_workers *l)
{
    for (size_t i = 0; i < LINKS_MAX; i++) {
        l->links[i].open = false;
        l->links[i].questions_n = 0;
        l->links[i].last_id = 0;
    }
}

static void shut(struct core_workers *l, struct core_world *w, size_t i)
{
    core_link_fini(&w->core, &l->links[i].core, w->now_us);
    l->links[i].open = false;
    l->links[i].questions_n = 0;
}

/* Hands one frame to the core, as bytes that are parsed; what is not the protocol closes the link. False
 * then. */
static bool feed(struct core_workers *l, struct core_world *w, size_t i, enum wire_type type, uint64_t id,
                 struct slice payload)
{
    struct buf bytes;
    struct wire_frame frame;
    size_t size;
    buf_init(&bytes, FRAME_MAX);
    size_t mark = wire_frame_begin(&bytes, type, id);
    buf_append_slice(&bytes, payload);
    wire_frame_end(&bytes, mark);
    bool good = wire_frame_parse(buf_slice(&bytes), &frame, &size) == 1;
    if (good)
        good = core_receive(&w->core, &l->links[i].core, &frame, w->now_us) == 0;
    buf_fini(&bytes);
    if (!good)
        shut(l, w, i);
    return good;
}

static struct question *note(struct core_workers *l, size_t i, enum wire_type type)
{
    struct question *q = &l->links[i].questions[l->links[i].questions_n++];
    *q = (struct question){.id = ++l->links[i].last_id, .type = type, .deadline_us = UINT64_MAX};
    return q;
}

/* Opens the link when it is not: its worker says hello first. False: no room for a question. */
static bool ready(struct core_workers *l, struct core_world *w, size_t i)
{
    struct buf hello;
    if (l->links[i].open)
        return l->links[i].questions_n < QUESTIONS_MAX;
    core_link_init(&l->links[i].core);
    l->links[i].open = true;
    struct question *q = note(l, i, WIRE_HELLO);
    struct wire_hello m = {.pool = {{(uint8_t)(i / 2)}}, .capacity = (uint32_t)i * 2, .pid = 1};
    buf_init(&hello, 64);
    wire_hello_encode(&hello, &m);
    bool good = feed(l, w, i, WIRE_HELLO, q->id, buf_slice(&hello));
    buf_fini(&hello);
    FUZZ_CHECK(good, "a hello is refused");
    return good;
}

static void ask(struct core_workers *l, struct core_world *w, size_t i, struct question *q,
                struct slice payload)
{
    (void)feed(l, w, i, q->type, q->id, payload);
}

/* Eight ids; two tenants share their names. */
static void id_of(uint8_t who, char ret_id[16], uint8_t ret_group[TRUST_GROUP_SIZE])
{
    snprintf(ret_id, 16, "id-%u", who % IDS);
    memset(ret_group, who / IDS % 2 ? 7 : 0, TRUST_GROUP_SIZE);
}

void workers_submit(struct core_workers *l, struct core_world *w, uint8_t link, uint8_t who, uint8_t what,
                    uint8_t flags, uint16_t wait_ms)
{
    static const char *const extras[] = {NULL, "{\"top_p\":0.5}", "{\"stop\":\"x\"}", "no JSON"};
    static uint64_t fresh;
    struct buf payload;
    char id[40];
    size_t i = link % LINKS_MAX;
    struct wire_submit m = {.family = FAMILY_QUERY,
                            .endpoint = ENDPOINT_V1_QUERY,
                            .priority = (enum priority)(what % PRIORITIES),
                            .flags = flags & 15,
                            .wait_ms = wait_ms,
                            .temperature = NAN};
    if (!ready(l, w, i))
        return;
    struct question *q = note(l, i, WIRE_SUBMIT);
    id_of(who, id, m.trust_group);
    if (m.flags & SUBMIT_FRESH_ID) {
        m.flags |= SUBMIT_OWN_ID;
        snprintf(id, sizeof(id), "fresh-%llu", (unsigned long long)++fresh);
    }
    /* What several ask is given again. */
    snprintf(q->prompt, sizeof(q->prompt), "What is %s to tenant %u, in %u words?", what & 0x40 ? "all" : id,
             m.trust_group[0], what / PRIORITIES % 2 + 1);
    m.request_id = slice_of(id);
    m.prompt = slice_of(q->prompt);
    m.extra = slice_of(extras[flags >> 4 & 3]);
    m.created_at = SLICE_LITERAL("2026-02-01T12:00:00Z");
    if (flags & 0x80)
        m.caller_key = SLICE_LITERAL("sk-caller");
    wire_request_key(m.trust_group, m.family, m.request_id, m.key);
    wire_submit_fingerprint(&m, m.fingerprint);
    memcpy(q->key, m.key, sizeof(q->key));
    q->known = true;
    /* An asynchronous one waits for the disk, however long that takes. */
    q->deadline_us = m.flags & SUBMIT_ASYNC ? UINT64_MAX : w->now_us + wait_ms * US_PER_MS;
    buf_init(&payload, 4096);
    wire_submit_encode(&payload, &m);
    ask(l, w, i, q, buf_slice(&payload));
    buf_fini(&payload);
}

void workers_watch(struct core_workers *l, struct core_world *w, uint8_t link, uint8_t who, uint16_t wait_ms)
{
    struct buf payload;
    char id[16];
    uint8_t group[TRUST_GROUP_SIZE];
    struct wire_watch m = {.wait_ms = wait_ms};
    size_t i = link % LINKS_MAX;
    if (!ready(l, w, i))
        return;
    id_of(who, id, group);
    wire_request_key(group, FAMILY_QUERY, slice_of(id), m.key);
    struct question *q = note(l, i, WIRE_WATCH);
    q->deadline_us = w->now_us + wait_ms * US_PER_MS;
    buf_init(&payload, 64);
    wire_watch_encode(&payload, &m);
    ask(l, w, i, q, buf_slice(&payload));
    buf_fini(&payload);
}

void workers_cancel(struct core_workers *l, struct core_world *w, uint8_t link, uint8_t question)
{
    size_t i = link % LINKS_MAX;
    if (!l->links[i].open || !l->links[i].questions_n)
        return;
    struct question *q = &l->links[i].questions[question % l->links[i].questions_n];
    q->cancelled = true;
    (void)feed(l, w, i, WIRE_CANCEL, q->id, (struct slice){"", 0});
}

void workers_delete(struct core_workers *l, struct core_world *w, uint8_t link, uint8_t who)
{
    char id[16];
    uint8_t group[TRUST_GROUP_SIZE];
    id_of(who, id, group);
    workers_send(l, w, link, WIRE_CHAT_DELETE, slice_of(id));
}

void workers_count(struct core_workers *l, struct core_world *w, uint8_t link, struct slice name)
{
    struct buf payload;
    buf_init(&payload, 4096);
    wire_count_append(&payload, name, 1);
    workers_send(l, w, link, WIRE_COUNT, buf_slice(&payload));
    buf_fini(&payload);
}

/* Frames that are answered; a HELLO that comes again, and what only a coordinator sends, close the link. */
static bool is_question(enum wire_type type)
{
    return type == WIRE_SUBMIT || type == WIRE_WATCH || type == WIRE_SETTINGS_PUT ||
           type == WIRE_KEYS_CHANGE || type == WIRE_CHAT_DELETE || type == WIRE_STATUS_ASK;
}

void workers_send(struct core_workers *l, struct core_world *w, uint8_t link, enum wire_type type,
                  struct slice payload)
{
    size_t i = link % LINKS_MAX;
    if (!ready(l, w, i))
        return;
    if (is_question(type))
        ask(l, w, i, note(l, i, type), payload);
    else
        (void)feed(l, w, i, type, ++l->links[i].last_id, payload);
}

void workers_close(struct core_workers *l, struct core_world *w, uint8_t link)
{
    if (l->links[link % LINKS_MAX].open)
        shut(l, w, link % LINKS_MAX);
}

static struct question *find(struct core_workers *l, size_t i, uint64_t id)
{
    for (size_t k = 0; k < l->links[i].questions_n; k++)
        if (l->links[i].questions[k].id == id)
            return &l->links[i].questions[k];
    return NULL;
}

/* An answer is on the disk before it is told, byte for byte, and is that of the prompt. */
static void check_answer(struct core_world *w, const struct question *q, struct slice payload)
{
    struct wire_answer answer;
    struct chat chat;
    FUZZ_CHECK(wire_answer_decode(payload, &answer) == 0 && chat_decode(answer.chat, &chat) == 0,
               "an answer that cannot be read");
    if (!q->known)
        return;
    const struct core_record *r = core_record_of(w, q->key);
    FUZZ_CHECK(slice_is(chat.prompt, q->prompt), "%s is told what %.*s was answered", q->prompt,
               (int)chat.prompt.n, chat.prompt.p);
    size_t before = chat.text.n - chat.prompt.n;
    FUZZ_CHECK(chat.text.n > chat.prompt.n &&
                   slice_equal((struct slice){chat.text.p + before, chat.prompt.n}, chat.prompt),
               "%s is told %.*s", q->prompt, (int)chat.text.n, chat.text.p);
    FUZZ_CHECK(
        !r || (r->there && r->record.state == REQUEST_DONE && slice_equal(buf_slice(&r->chat), answer.chat)),
        "%s is told what is not on the disk", q->prompt);
}

static void check_refusal(const struct question *q, struct slice payload)
{
    struct wire_refusal refusal;
    FUZZ_CHECK(wire_refusal_decode(payload, &refusal) == 0, "a refusal that cannot be read");
    FUZZ_CHECK(refusal.message.n && refusal.error_code.n, "a refusal without a reason");
    FUZZ_CHECK(q->type != WIRE_WATCH && q->type != WIRE_STATUS_ASK, "a question of type %d is refused",
               q->type);
}

static bool answers(enum wire_type question, enum wire_type answer)
{
    switch (answer) {
    case WIRE_WELCOME:
        return question == WIRE_HELLO;
    case WIRE_ANSWER:
    case WIRE_QUEUED:
        return question == WIRE_SUBMIT;
    case WIRE_REFUSAL:
        return question == WIRE_SUBMIT || question == WIRE_SETTINGS_PUT || question == WIRE_KEYS_CHANGE ||
               question == WIRE_CHAT_DELETE;
    case WIRE_PROGRESS:
        return question == WIRE_WATCH;
    case WIRE_DONE:
        return question == WIRE_SETTINGS_PUT || question == WIRE_KEYS_CHANGE || question == WIRE_CHAT_DELETE;
    case WIRE_STATUS:
        return question == WIRE_STATUS_ASK;
    default:
        return false;
    }
}

static void take(struct core_workers *l, struct core_world *w, size_t i, const struct wire_frame *f)
{
    struct json_fault fault;
    struct question *q = find(l, i, f->id);
    FUZZ_CHECK(q, "question %llu is answered (%d), which was not asked or answered before",
               (unsigned long long)f->id, f->type);
    FUZZ_CHECK(answers(q->type, f->type), "a question of type %d is answered with %d", q->type, f->type);
    if (f->type == WIRE_ANSWER)
        check_answer(w, q, f->payload);
    else if (f->type == WIRE_REFUSAL)
        check_refusal(q, f->payload);
    else if (f->type == WIRE_STATUS)
        FUZZ_CHECK(json_scan(f->payload, &fault) == 0, "a status that is no JSON: %s", fault.reason);
    *q = l->links[i].questions[--l->links[i].questions_n];
}

/* A deadline is kept: whoever waits for an answer hears something by then, once the core has had its turn. */
static void check_deadlines(struct core_workers *l, const struct core_world *w, size_t i)
{
    for (size_t k = 0; k < l->links[i].questions_n; k++) {
        const struct question *q = &l->links[i].questions[k];
        FUZZ_CHECK(q->cancelled || q->deadline_us > w->now_us,
                   "question %llu of type %d waits past its deadline", (unsigned long long)q->id, q->type);
    }
}

void workers_read(struct core_workers *l, struct core_world *w)
{
    struct list *dirty;
    while ((dirty = list_first(&w->core.dirty_links)))
        list_remove(dirty);
    for (size_t i = 0; i < LINKS_MAX; i++) {
        if (!l->links[i].open)
            continue;
        struct buf *out = &l->links[i].core.out;
        struct slice rest = buf_slice(out);
        FUZZ_CHECK(!buf_failed(out), "output without memory");
        while (rest.n) {
            struct wire_frame f;
            size_t size;
            FUZZ_CHECK(wire_frame_parse(rest, &f, &size) == 1, "half a frame is told");
            take(l, w, i, &f);
            rest = (struct slice){rest.p + size, rest.n - size};
        }
        buf_clear(out);
        check_deadlines(l, w, i);
    }
}

bool workers_wait(const struct core_workers *l)
{
    for (size_t i = 0; i < LINKS_MAX; i++)
        for (size_t k = 0; k < l->links[i].questions_n; k++)
            if (!l->links[i].questions[k].cancelled)
                return true;
    return false;
}

uint64_t workers_deadline_us(const struct core_workers *l)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < LINKS_MAX; i++)
        for (size_t k = 0; k < l->links[i].questions_n; k++) {
            const struct question *q = &l->links[i].questions[k];
            if (!q->cancelled && q->deadline_us < first)
                first = q->deadline_us;
        }
    return first;
}

void workers_end(struct core_workers *l, struct core_world *w)
{
    for (size_t i = 0; i < LINKS_MAX; i++) {
        for (size_t k = 0; k < l->links[i].questions_n; k++)
            FUZZ_CHECK(l->links[i].questions[k].cancelled, "question %llu of type %d is never answered",
                       (unsigned long long)l->links[i].questions[k].id, l->links[i].questions[k].type);
        workers_close(l, w, (uint8_t)i);
    }
}
