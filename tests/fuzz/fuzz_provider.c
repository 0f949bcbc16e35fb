/* ROOMS: tests/fuzz/provider_case.c tests/fuzz/provider_check.c tests/fuzz/reference.c */
/*
 * Calls to providers and what comes back: provider_encode() of members made from the input, then
 * provider_decode() of a response made from the input. Every right answer carries a canary that follows from
 * the whole input, so no mutation guesses it, and stands beside its own echo or index only: a canary that
 * reaches another member was handed over by the splitter. provider_case.h says how an input is written.
 */
#include "provider_case.h"
#include "provider_check.h"

#define BODY_MAX (1u << 20)

void fuzz_start(void)
{
}

static void run_mock(const struct provider_case *c, struct arena *arena)
{
    struct provider_outcome o;
    FUZZ_CHECK(mock_answer(c->members, c->n, arena, &o) == 0, "the mock has no memory");
    for (size_t i = 0; i < c->n; i++) {
        struct slice prompt = c->members[i].prompt, text = o.parts[i].text;
        FUZZ_CHECK(o.parts[i].verdict == VERDICT_ANSWERED && text.n == 11 + prompt.n &&
                       slice_equal((struct slice){text.p + 11, prompt.n}, prompt),
                   "the mock answers with something else");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct provider_case c;
    struct provider_call call;
    struct provider_outcome outcome;
    struct arena arena;
    struct err e = {0};
    arena_init(&arena, 64u << 20);
    case_read((struct slice){(const char *)data, size}, &arena, &c);
    if (c.provider.kind == PROVIDER_MOCK) {
        run_mock(&c, &arena);
        goto out;
    }
    uint64_t random = c.seed;
    int rc = provider_encode(&c.provider, c.mode, c.members, c.n, BODY_MAX, fuzz_random, &random, &call, &e);
    if (rc) {
        FUZZ_CHECK((rc == ERR_INVAL || rc == ERR_NOT_FOUND || rc == ERR_LIMIT) && e.text[0],
                   "encode: %d \"%s\"", rc, e.text);
        goto out;
    }
    check_call(&c, &call);
    struct provider_response response = case_response(&c, &call, &arena);
    FUZZ_CHECK(provider_decode(&c.provider, &call, c.members, &response, &arena, &outcome) == 0,
               "decode has no memory");
    check_outcome(&c, &call, &response, &outcome);
    provider_call_fini(&call);
out:
    arena_fini(&arena);
    return 0;
}
