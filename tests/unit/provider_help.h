/* What the provider tests share: members, a seeded random source, calls and responses in one line. */
#ifndef CARPOOL_TESTS_PROVIDER_HELP_H
#define CARPOOL_TESTS_PROVIDER_HELP_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "provider/combined.h"
#include "provider/provider.h"
#include "json/read.h"

#define TEST_BODY_MAX (1 << 20)

/* xorshift64*: any seed but 0. */
static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ull;
}

static inline void test_random_bytes(void *arg, void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)(test_random(arg) >> 33);
}

static inline struct provider_member test_member(const char *prompt)
{
    return (struct provider_member){
        .prompt = slice_of(prompt), .temperature = NAN, .max_tokens = 100, .priority = PRIORITY_MEDIUM};
}

static inline struct provider_call test_encode(const struct provider *p, enum provider_mode mode,
                                               const struct provider_member *members, size_t n)
{
    struct provider_call call;
    struct err e = {0};
    uint64_t seed = 42;
    int rc = provider_encode(p, mode, members, n, TEST_BODY_MAX, test_random_bytes, &seed, &call, &e);
    cr_assert_eq(rc, 0, "encode: %d %s", rc, e.text);
    return call;
}

static inline cJSON *test_parse(struct slice text)
{
    cJSON *root = NULL;
    struct err e = {0};
    cr_assert_eq(json_parse(text, &root, &e), 0, "%s in %.*s", e.text, (int)text.n, text.p);
    return root;
}

/* Compares JSON as JSON, the order of members aside. */
static inline void test_same_json(struct slice got, const char *expected)
{
    cJSON *a = test_parse(got), *b = test_parse(slice_of(expected));
    cr_assert(cJSON_Compare(a, b, true), "got      %.*s\nexpected %s", (int)got.n, got.p, expected);
    cJSON_Delete(a);
    cJSON_Delete(b);
}

static inline struct provider_response test_response(int status, const char *body)
{
    return (struct provider_response){
        .transport = TRANSPORT_COMPLETE, .status = status, .body = slice_of(body)};
}

static inline struct provider_outcome test_decode(const struct provider *p, const struct provider_call *call,
                                                  const struct provider_member *members,
                                                  struct provider_response response, struct arena *arena)
{
    struct provider_outcome out;
    memset(&out, 0xee, sizeof(out));
    cr_assert_eq(provider_decode(p, call, members, &response, arena, &out), 0);
    uint64_t prompt = 0, completion = 0;
    for (size_t i = 0; i < call->members; i++) {
        prompt += out.parts[i].prompt_tokens;
        completion += out.parts[i].completion_tokens;
    }
    cr_assert_eq(prompt, out.prompt_tokens);
    cr_assert_eq(completion, out.completion_tokens);
    return out;
}

#define assert_slice(got, expected)                                                                          \
    cr_assert(slice_is((got), (expected)), "got \"%.*s\", expected \"%s\"", (int)(got).n,                    \
              (got).p ? (got).p : "", (expected))
#define assert_holds(text, part)                                                                             \
    cr_assert(memmem((text).p, (text).n, (part), strlen(part)), "no \"%s\" in \"%.*s\"", (part),             \
              (int)(text).n, (text).p)
#define assert_holds_not(text, part)                                                                         \
    cr_assert_not(memmem((text).p, (text).n, (part), strlen(part)), "\"%s\" in \"%.*s\"", (part),            \
                  (int)(text).n, (text).p)

#endif
