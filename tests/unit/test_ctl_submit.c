/* LINK: fcgi_app/ctl/rows.c fcgi_app/ctl/idset.c fcgi_app/ctl/submit_line.c */
/* LINK: fcgi_app/ctl/submit_show.c fcgi_app/ctl/submit_word.c */
/* What carpoolctl submit reads, and what it says of a run. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/submit_line.h"
#include "ctl/submit_show.h"
#include "ctl/submit_word.h"

static struct submit_reader reader;
static FILE *file;

static int start(const char *text, enum args_format format, struct err *e)
{
    file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    cr_assert(file);
    return submit_reader_open(&reader, file, format, 4096, e);
}

static void stop(void)
{
    submit_reader_close(&reader);
    fclose(file);
}

static void next(struct submit_line *l)
{
    struct err e = {0};
    cr_assert_eq(submit_next(&reader, l, &e), 1, "%s", e.text);
}

static bool is(const struct submit_line *l, enum submit_field f, const char *text)
{
    return text ? slice_is(l->fields[f], text) : !l->fields[f].p;
}

Test(submit_line, an_object_says_it_all)
{
    struct submit_line l;
    struct err e;
    cr_assert_eq(
        start("{\"prompt\":\"Hi\\n\",\"request_id\":\"a.b_c:1-2\",\"username\":\"u\",\"priority\":\"high\","
              "\"metadata\":{\"k\":[1]},\"system_prompt\":\"s\",\"model\":\"m\",\"max_tokens\":7,"
              "\"temperature\":0.5,\"created_at\":\"2026-02-01T12:00:00Z\"}\n\n"
              "{\"prompt\":\"x\",\"system\":\"t\",\"priority\":0,\"username\":null}",
              FORMAT_JSONL, &e),
        0);
    next(&l);
    cr_assert_eq(l.fault.code, 0, "%s", l.fault.text);
    cr_assert(is(&l, FIELD_PROMPT, "Hi\n") && is(&l, FIELD_REQUEST_ID, "a.b_c:1-2"));
    cr_assert(is(&l, FIELD_METADATA, "{\"k\":[1]}") && is(&l, FIELD_SYSTEM_PROMPT, "s"));
    cr_assert(l.has_priority && l.priority == PRIORITY_HIGH && l.max_tokens == 7 && l.temperature == 0.5);
    submit_line_fini(&l);
    next(&l);
    cr_assert_eq(l.number, 3);
    cr_assert_eq(l.fault.code, 0, "%s", l.fault.text);
    cr_assert(is(&l, FIELD_SYSTEM_PROMPT, "t") && is(&l, FIELD_USERNAME, NULL));
    cr_assert(l.has_priority && l.priority == PRIORITY_LOW && isnan(l.temperature) && !l.max_tokens);
    submit_line_fini(&l);
    cr_assert_eq(submit_next(&reader, &l, &e), 0);
    stop();
}

Test(submit_line, what_is_wrong_with_a_line_is_told)
{
    static const char *const lines[][2] = {
        {"{\"prompt\":1}", "prompt must be a text"},
        {"{}", "prompt is missing"},
        {"{\"prompt\":\" \\t\"}", "prompt is empty"},
        {"[]", "must be a JSON object"},
        {"{\"prompt\":\"x\"", "no JSON"},
        {"{\"prompt\":\"x\",\"prompt\":\"y\"}", "no JSON"},
        {"{\"prompt\":\"\xff\"}", "not UTF-8"},
        {"{\"prompt\":\"x\",\"max_token\":1}", "\"max_token\" is not known"},
        {"{\"prompt\":\"x\",\"max_tokens\":1.5}", "max_tokens"},
        {"{\"prompt\":\"x\",\"max_tokens\":\"1\"}", "max_tokens"},
        {"{\"prompt\":\"x\",\"temperature\":2.1}", "temperature"},
        {"{\"prompt\":\"x\",\"priority\":3}", "priority"},
        {"{\"prompt\":\"x\",\"priority\":0.5}", "priority"},
        {"{\"prompt\":\"x\",\"priority\":\"urgent\"}", "priority"},
        {"{\"prompt\":\"x\",\"request_id\":\"a b\"}", "request_id"},
        {"{\"prompt\":\"x\",\"request_id\":\"\"}", "request_id"},
        {"{\"prompt\":\"x\",\"metadata\":[]}", "metadata"},
        {"{\"prompt\":\"x\",\"created_at\":\"2026-02-01\"}", "created_at"},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct submit_line l;
        cr_assert_eq(start(lines[i][0], FORMAT_JSONL, NULL), 0);
        next(&l);
        cr_assert(strstr(l.fault.text, lines[i][1]), "%s: %s", lines[i][0], l.fault.text);
        submit_line_fini(&l);
        stop();
    }
}

Test(submit_line, csv_has_a_header)
{
    struct submit_line l;
    struct err e = {0};
    cr_assert_eq(start("max_tokens, prompt ,temperature,priority,metadata\n"
                       "5,\"a, b\",0.25,2,\"{\"\"a\"\":1}\"\n,only,,,\n1,two\n1e2,x,,,\n,y,,,[]\n",
                       FORMAT_CSV, &e),
                 0, "%s", e.text);
    next(&l);
    cr_assert_eq(l.fault.code, 0, "%s", l.fault.text);
    cr_assert(is(&l, FIELD_PROMPT, "a, b") && l.max_tokens == 5 && l.temperature == 0.25);
    cr_assert(l.priority == PRIORITY_HIGH && is(&l, FIELD_METADATA, "{\"a\":1}"));
    submit_line_fini(&l);
    next(&l);
    cr_assert(!l.fault.code && !l.has_priority && is(&l, FIELD_PROMPT, "only") &&
              is(&l, FIELD_METADATA, NULL));
    submit_line_fini(&l);
    static const char *const faults[] = {"2 fields and the header 5", "max_tokens", "metadata"};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        next(&l);
        cr_assert(strstr(l.fault.text, faults[i]), "%s", l.fault.text);
        submit_line_fini(&l);
    }
    stop();
    static const char *const headers[][2] = {
        {"a,prompt\n", "\"a\""}, {"prompt,prompt\n", "twice"}, {"model\n", "\"prompt\""}, {"", "empty"}};
    for (size_t i = 0; i < ARRAY_LEN(headers) - 1; i++) {
        cr_assert_eq(start(headers[i][0], FORMAT_CSV, &e), ERR_INVAL);
        cr_assert(strstr(e.text, headers[i][1]), "%s", e.text);
        stop();
    }
}

Test(submit_line, text_is_a_prompt_a_line)
{
    struct submit_line l;
    cr_assert_eq(start("one\n \n{two}\r\n", FORMAT_TEXT, NULL), 0);
    next(&l);
    cr_assert(is(&l, FIELD_PROMPT, "one") && l.number == 1);
    submit_line_fini(&l);
    next(&l);
    cr_assert(is(&l, FIELD_PROMPT, "{two}") && l.number == 3);
    submit_line_fini(&l);
    stop();
    cr_assert_eq(submit_format_of("a/b.CSV"), FORMAT_CSV);
    cr_assert_eq(submit_format_of("a.txt"), FORMAT_TEXT);
    cr_assert_eq(submit_format_of("a.csv/b"), FORMAT_JSONL);
}

/* The keys of lines, as bytes of one text. */
static void content_of(const char *line, uint8_t ret_key[IDSET_KEY])
{
    struct submit_line l;
    cr_assert_eq(start(line, FORMAT_JSONL, NULL), 0);
    next(&l);
    cr_assert_eq(l.fault.code, 0, "%s", l.fault.text);
    submit_content_key(&l, ret_key);
    submit_line_fini(&l);
    stop();
}

Test(submit_line, content_is_what_is_asked)
{
    static const char *const same[] = {"{\"prompt\":\"x\"}",
                                       "{ \"request_id\":\"1\", \"prompt\":\"\\u0078\"}",
                                       "{\"prompt\":\"x\",\"priority\":2}"};
    static const char *const others[] = {"{\"prompt\":\"y\"}",
                                         "{\"prompt\":\"x\",\"model\":\"\"}",
                                         "{\"prompt\":\"x\",\"username\":\"x\"}",
                                         "{\"prompt\":\"x\",\"temperature\":0}",
                                         "{\"prompt\":\"x\",\"max_tokens\":1}",
                                         "{\"prompt\":\"x\",\"metadata\":{}}"};
    uint8_t first[IDSET_KEY], key[IDSET_KEY];
    content_of(same[0], first);
    for (size_t i = 1; i < ARRAY_LEN(same); i++) {
        content_of(same[i], key);
        cr_assert_eq(memcmp(first, key, sizeof(key)), 0, "%s", same[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        content_of(others[i], key);
        cr_assert_neq(memcmp(first, key, sizeof(key)), 0, "%s", others[i]);
    }
}

Test(idset, holds_what_was_put)
{
    struct idset s = {0};
    uint8_t key[IDSET_KEY];
    for (uint32_t i = 1; i <= 5000; i++) {
        idset_key_of((struct slice){(const char *)&i, sizeof(i)}, key);
        cr_assert_eq(idset_get(&s, key), 0);
        cr_assert_eq(idset_put(&s, key, i), 0);
    }
    cr_assert_eq(s.n, 5000);
    for (uint32_t i = 1; i <= 5000; i++) {
        idset_key_of((struct slice){(const char *)&i, sizeof(i)}, key);
        cr_assert_eq(idset_get(&s, key), i);
        cr_assert_eq(idset_put(&s, key, i + 1), 0);
        cr_assert_eq(idset_get(&s, key), i + 1);
    }
    cr_assert_eq(s.n, 5000);
    idset_fini(&s);
}

Test(show, says_how_far_it_is)
{
    struct submit_show s = {.rate_from_us = 1};
    struct submit_counts c = {.total = 1000,
                              .before = 100,
                              .answered = 300,
                              .replayed = 20,
                              .cached = 30,
                              .calls = 50,
                              .failed = 2};
    char text[SHOW_TEXT];
    show_format(&s, &c, text);
    cr_assert_str_eq(text, "402/1000 40%, 2 failed, 250 calls saved");
    show_measure(&s, &c, US_PER_S / 2);
    cr_assert_eq(s.rate, 0, "too early to say");
    show_measure(&s, &c, 10 * US_PER_S + 1);
    show_format(&s, &c, text);
    cr_assert_str_eq(text, "402/1000 40% 30/s ETA 0:20, 2 failed, 250 calls saved");
    c.answered += 5;
    show_measure(&s, &c, 20 * US_PER_S + 1);
    cr_assert_float_eq(s.rate, 0.5, 1e-9, "of the last ten seconds");
    c = (struct submit_counts){.answered = 5, .calls = 5};
    s.rate = 0;
    show_format(&s, &c, text);
    cr_assert_str_eq(text, "5");
    show_format_time(3723, text, sizeof(text));
    cr_assert_str_eq(text, "1:02:03");
}

Test(word, what_may_be_asked_again)
{
    uint64_t us;
    struct wire_refusal r = {.status = 429, .retry_after_ms = 1500};
    cr_assert(submit_word_again(&r, 0, &us) && us == 1500000);
    r = (struct wire_refusal){.status = 503};
    cr_assert(submit_word_again(&r, 100, &us) && us == US_PER_S);
    cr_assert(!submit_word_again(&r, 100000, &us));
    r.status = 504;
    cr_assert(submit_word_again(&r, 0, &us) && !submit_word_again(&r, 5, &us));
    static const uint16_t last_words[] = {400, 403, 409, 410, 424, 500, 502};
    for (size_t i = 0; i < ARRAY_LEN(last_words); i++) {
        r.status = last_words[i];
        cr_assert(!submit_word_again(&r, 0, &us), "%u", r.status);
    }
    r.status = 424;
    cr_assert(strstr(submit_word_hint(&r), "request_id"));
}
