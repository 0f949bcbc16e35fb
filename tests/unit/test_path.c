/* Paths and query parameters of request URIs. */
/* LINK: fcgi_app/worker/path.c */
#include <criterion/criterion.h>

#include "worker/path.h"

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, 1 << 20);
}

static void teardown(void)
{
    arena_fini(&arena);
}

TestSuite(path, .init = setup, .fini = teardown);

static int split(const char *uri, const char *base, struct slice *ret_path, struct slice *ret_query)
{
    struct err e;
    return path_from_uri(slice_of(uri), base, &arena, ret_path, ret_query, &e);
}

static void expect(const char *uri, const char *base, const char *path, const char *query)
{
    struct slice p = {0}, q = {0};
    cr_assert_eq(split(uri, base, &p, &q), 0, "%s", uri);
    cr_assert(slice_is(p, path), "%s: %.*s", uri, (int)p.n, p.p);
    cr_assert(query ? slice_is(q, query) : q.p == NULL, "%s: query", uri);
}

Test(path, splits_and_decodes_once)
{
    expect("/v1/query", "", "/v1/query", NULL);
    expect("/v1/query?", "", "/v1/query", "");
    expect("/a?b=%2F&c?d", "", "/a", "b=%2F&c?d");
    expect("/%76%31/x", "", "/v1/x", NULL);
    expect("/%2561", "", "/%61", NULL);
    expect("/a+b", "", "/a+b", NULL);
    expect("/%c3%bc", "", "/\xc3\xbc", NULL);
    expect("http://host:80/p?q", "", "/p", "q");
    expect("HTTPS://host", "", "/", NULL);
    expect("http://host?/v1/query", "", "/", "/v1/query");
}

Test(path, takes_the_base_path_off)
{
    struct slice p, q;
    expect("/llm/health", "/llm", "/health", NULL);
    expect("/llm/health", "/llm/", "/health", NULL);
    expect("/llm", "/llm", "/", NULL);
    expect("/llm?x", "/llm", "/", "x");
    cr_assert_eq(split("/llmx/health", "/llm", &p, &q), ERR_NOT_FOUND);
    cr_assert_eq(split("/health", "/llm", &p, &q), ERR_NOT_FOUND);
    cr_assert_eq(split("", "/llm", &p, &q), ERR_NOT_FOUND);
}

Test(path, refuses_what_means_two_things)
{
    static const char *const bad[] = {"/a%2Fb", "/a%2fb", "/a%00", "/%",     "/%4",
                                      "/%4g",   "/%g4",   "/%e4",  "/%c0%80"};
    struct slice p = {"kept", 4}, q = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(split(bad[i], "", &p, &q), ERR_INVAL, "%s", bad[i]);
    cr_assert(slice_is(p, "kept"));
}

/* A path means what it says, once: nothing is resolved, so no spelling of a route is another path's. */
Test(path, resolves_nothing)
{
    static const struct {
        const char *uri, *path;
    } cases[] = {
        {"//v1/query", "//v1/query"},
        {"/v1//query", "/v1//query"},
        {"/./v1/query", "/./v1/query"},
        {"/x/../v1/query", "/x/../v1/query"},
        {"/%2e%2e/v1/query", "/../v1/query"},
        {"/%252e%252e/v1", "/%2e%2e/v1"},
        {"/%252fv1", "/%2fv1"},
        {"/v1/query;x=1", "/v1/query;x=1"},
        {"/v1/query%3Fx", "/v1/query?x"},
        {"/v1/query%23x", "/v1/query#x"},
        {"/v1/query#x", "/v1/query#x"},
        {"/v1\\query", "/v1\\query"},
        {"/v1%5cquery", "/v1\\query"},
        {"/V1/query", "/V1/query"},
        {"/v1/query%0d%0aX: y", "/v1/query\r\nX: y"},
        {"/v1/query%20", "/v1/query "},
        {"/v1/query.", "/v1/query."},
        {"/\xef\xbc\x8fv1", "/\xef\xbc\x8fv1"}, /* a wide slash is no slash */
        {"http://a@b:1/v1/query", "/v1/query"},
        {"http:///v1/query", "/v1/query"},
        {"HtTpS://[::1]:8000//x", "//x"},
    };
    struct slice id;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect(cases[i].uri, "", cases[i].path, NULL);
        if (strcmp(cases[i].path, "/v1/query") != 0)
            cr_assert(!path_match("/v1/query", slice_of(cases[i].path), &id), "%s", cases[i].uri);
    }
}

Test(path, what_is_no_path_is_nothing)
{
    static const char *const none[] = {"*", "v1/query",           "health", "file:///etc/passwd", "..",
                                       "#", "http://h#/v1/query", "%2e",    "localhost:80"};
    struct slice p = {"kept", 4}, q = {0};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        cr_assert_eq(split(none[i], "", &p, &q), ERR_NOT_FOUND, "%s", none[i]);
    cr_assert(slice_is(p, "kept"));
}

Test(path, bytes_that_are_no_text)
{
    static const char *const bad[] = {"/\xff",
                                      "/%ff%fe",
                                      "/%c0%af", /* a slash, too long */
                                      "/%c0%ae%c0%ae",
                                      "/%e0%80%af",
                                      "/%f0%80%80%af",
                                      "/%ed%a0%80",
                                      /* half a pair */ "/%f4%90%80%80",
                                      "/%c3",
                                      "/%80",
                                      "/a%c3%28",
                                      "/v1/query%00",
                                      "/%00",
                                      "/..%2f..%2fvar/carpool.conf",
                                      "/assets%2F..",
                                      "/%2F/v1"};
    struct slice p = {0}, q = {0};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(split(bad[i], "", &p, &q), ERR_INVAL, "%s", bad[i]);
}

Test(path, a_very_long_one)
{
    size_t n = 300000;
    char *uri = malloc(n + 1);
    struct slice p, q, id;
    memset(uri, '/', n);
    uri[n] = 0;
    cr_assert_eq(split(uri, "", &p, &q), 0);
    cr_assert_eq(p.n, n);
    cr_assert(!path_match("/v1/chat/{id}", p, &id));
    for (size_t i = 0; i + 3 <= n; i += 3)
        memcpy(uri + i, "/%2", 3);
    cr_assert_eq(split(uri, "", &p, &q), ERR_INVAL);
    for (size_t i = 0; i + 3 <= n; i += 3)
        memcpy(uri + i, "%41", 3);
    uri[0] = '/';
    cr_assert_eq(split(uri, "", &p, &q), 0);
    free(uri);
}

Test(path, a_base_path_is_no_way_round)
{
    struct slice p, q;
    expect("/llm/../health", "/llm", "/../health", NULL);
    expect("/llm//health", "/llm", "//health", NULL);
    cr_assert_eq(split("/%6clm/health", "/llm", &p, &q), ERR_NOT_FOUND);
    cr_assert_eq(split("/x/../llm/health", "/llm", &p, &q), ERR_NOT_FOUND);
    cr_assert_eq(split("/llm%2fhealth", "/llm", &p, &q), ERR_NOT_FOUND);
    cr_assert_eq(split("//llm/health", "/llm", &p, &q), ERR_NOT_FOUND);
}

Test(path, an_exhausted_arena_is_told)
{
    struct arena small;
    struct slice p, q;
    arena_init(&small, 4);
    cr_assert_eq(path_from_uri(SLICE_LITERAL("/longer"), "", &small, &p, &q, NULL), ERR_NOMEM);
    arena_fini(&small);
}

Test(path, patterns)
{
    struct slice id;
    cr_assert(path_match("/v1/chat", SLICE_LITERAL("/v1/chat"), &id));
    cr_assert_null(id.p);
    cr_assert(!path_match("/v1/chat", SLICE_LITERAL("/v1/chat/"), &id));
    cr_assert(!path_match("/v1/chat", SLICE_LITERAL("/v1/cha"), &id));
    cr_assert(path_match("/v1/chat/{id}", SLICE_LITERAL("/v1/chat/a:b"), &id));
    cr_assert(slice_is(id, "a:b"));
    cr_assert(!path_match("/v1/chat/{id}", SLICE_LITERAL("/v1/chat/"), &id));
    cr_assert(!path_match("/v1/chat/{id}", SLICE_LITERAL("/v1/chat"), &id));
    cr_assert(!path_match("/v1/chat/{id}", SLICE_LITERAL("/v1/chat/a/b"), &id));
    cr_assert(path_match("/v1/models/{name}", SLICE_LITERAL("/v1/models/a/b"), &id));
    cr_assert(slice_is(id, "a/b"));
    cr_assert(!path_match("/v1/models/{name}", SLICE_LITERAL("/v1/models/"), &id));
}

Test(path, names_of_models_have_slashes)
{
    struct slice p, q;
    expect("/v1/models/a%2Fb/c", "", "/v1/models/a/b/c", NULL);
    expect("/llm/v1/models/a%2fb", "/llm", "/v1/models/a/b", NULL);
    cr_assert_eq(split("/v1/models%2Fa%2Fb", "", &p, &q), ERR_INVAL);
    cr_assert_eq(split("/v1/%6dodels/a%2Fb", "", &p, &q), ERR_INVAL);
    cr_assert_eq(split("/v1/models/a%00", "", &p, &q), ERR_INVAL);
}

Test(path, query_parameters)
{
    struct slice q = SLICE_LITERAL("limit=5&user=a%2Fb+c&flag&empty=&limits=9&&x=%zz"), v;
    struct err e;
    cr_assert_eq(query_get(q, "limit", &arena, &v, &e), 0);
    cr_assert(slice_is(v, "5"));
    cr_assert_eq(query_get(q, "user", &arena, &v, &e), 0);
    cr_assert(slice_is(v, "a/b c"));
    cr_assert_eq(query_get(q, "flag", &arena, &v, &e), 0);
    cr_assert(v.p && v.n == 0);
    cr_assert_eq(query_get(q, "empty", &arena, &v, &e), 0);
    cr_assert(v.p && v.n == 0);
    cr_assert_eq(query_get(q, "lim", &arena, &v, &e), 0);
    cr_assert_null(v.p);
    cr_assert_eq(query_get(q, "x", &arena, &v, &e), ERR_INVAL);
    cr_assert_eq(query_get(SLICE_LITERAL("a=1&a=1"), "a", &arena, &v, &e), ERR_INVAL);
    cr_assert_eq(query_get((struct slice){0}, "a", &arena, &v, &e), 0);
    cr_assert_null(v.p);
}

Test(path, request_ids)
{
    char text[130];
    cr_assert(request_id_valid(SLICE_LITERAL("A-z_0.9:x")));
    cr_assert(!request_id_valid((struct slice){0}));
    cr_assert(!request_id_valid(SLICE_LITERAL("")));
    cr_assert(!request_id_valid(SLICE_LITERAL("a b")));
    cr_assert(!request_id_valid(SLICE_LITERAL("a\r\n")));
    cr_assert(!request_id_valid(SLICE_LITERAL("\xc3\xa4")));
    memset(text, 'x', sizeof(text));
    cr_assert(request_id_valid((struct slice){text, 128}));
    cr_assert(!request_id_valid((struct slice){text, 129}));
}
