/* ROOMS: fcgi_app/ctl/rows.c fcgi_app/ctl/idset.c fcgi_app/ctl/submit_line.c fcgi_app/ctl/http_ask.c */
/*
 * What carpoolctl reads that others wrote: rows of CSV (0), files of prompts as JSONL (1), CSV (2) and text
 * (3), answers of web servers, whole (4) and cut off (5). The first byte says which; the rest is the text.
 * Rows come out the same when they are written and read again; a prompt without a fault is one that a worker
 * would let in.
 */
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "ctl/http_ask.h"
#include "ctl/submit_line.h"
#include "fuzz.h"
#include "json/scan.h"

#define TEXT_MAX (1u << 16)
#define ROW_MAX  4096

void fuzz_start(void)
{
}

static FILE *open_text(struct slice text)
{
    FILE *f = text.n ? fmemopen((void *)(uintptr_t)text.p, text.n, "r") : fopen("/dev/null", "re");
    FUZZ_CHECK(f, "no file of %zu bytes", text.n);
    return f;
}

static void write_row(struct buf *out, const struct rows *r)
{
    for (size_t i = 0; i < r->fields_n; i++) {
        struct slice f = rows_field(r, i);
        buf_append_text(out, i ? ",\"" : "\"");
        for (size_t at = 0; at < f.n; at++) {
            if (f.p[at] == '"')
                buf_append_byte(out, '"');
            buf_append_byte(out, (uint8_t)f.p[at]);
        }
        buf_append_byte(out, '"');
    }
    buf_append_byte(out, '\n');
}

/* Reads the rows of text and writes those without a fault; counts them. */
static size_t rewrite(struct slice text, struct buf *out)
{
    struct rows r;
    FILE *f = open_text(text);
    size_t n = 0;
    int rc;
    rows_init(&r, f, true, ROW_MAX);
    while ((rc = rows_next(&r)) > 0) {
        FUZZ_CHECK(r.number && r.number <= r.lines && r.fields_n, "row %llu of %llu",
                   (unsigned long long)r.number, (unsigned long long)r.lines);
        if (r.fault)
            continue;
        n++;
        write_row(out, &r);
    }
    FUZZ_CHECK(rc == 0, "rows end with %d", rc);
    rows_fini(&r);
    fclose(f);
    return n;
}

static void check_rows(struct slice text)
{
    struct buf once, twice;
    buf_init(&once, 8 * TEXT_MAX);
    buf_init(&twice, 8 * TEXT_MAX);
    size_t n = rewrite(text, &once), again = rewrite(buf_slice(&once), &twice);
    FUZZ_CHECK(n == again && slice_equal(buf_slice(&once), buf_slice(&twice)), "%zu rows become %zu", n,
               again);
    buf_fini(&once);
    buf_fini(&twice);
}

static void check_line(const struct submit_line *l)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
    const struct slice *f = l->fields;
    struct json_fault fault;
    if (l->fault.code) {
        FUZZ_CHECK(l->fault.text[0], "a fault without a sentence");
        return;
    }
    FUZZ_CHECK(f[FIELD_PROMPT].p && slice_trim(f[FIELD_PROMPT]).n, "a blank prompt");
    FUZZ_CHECK(!f[FIELD_REQUEST_ID].p || (f[FIELD_REQUEST_ID].n && f[FIELD_REQUEST_ID].n <= 128 &&
                                          strspn(f[FIELD_REQUEST_ID].p, letters) == f[FIELD_REQUEST_ID].n),
               "request id %s", f[FIELD_REQUEST_ID].p);
    FUZZ_CHECK(!f[FIELD_METADATA].p || (f[FIELD_METADATA].p[0] == '{' && f[FIELD_METADATA].n <= 8192 &&
                                        !json_scan(f[FIELD_METADATA], &fault)),
               "metadata %s", f[FIELD_METADATA].p);
    FUZZ_CHECK(isnan(l->temperature) || (l->temperature >= 0 && l->temperature <= 2), "%g", l->temperature);
    FUZZ_CHECK(l->max_tokens <= 1000000 && l->priority <= PRIORITY_HIGH, "%u tokens", l->max_tokens);
    FUZZ_CHECK(f[FIELD_USERNAME].n <= 128 && f[FIELD_MODEL].n <= 128 && f[FIELD_CREATED_AT].n <= 64,
               "too long");
    for (size_t i = 0; i < SUBMIT_FIELDS; i++)
        FUZZ_CHECK(utf8_valid_prefix(f[i]) == f[i].n && (!f[i].n || !memchr(f[i].p, 0, f[i].n)),
                   "other bytes in field %zu", i);
}

static void check_lines(struct slice text, enum args_format format)
{
    struct submit_reader r;
    struct submit_line l;
    struct err e = {0};
    FILE *f = open_text(text);
    uint64_t before = 0;
    int rc = submit_reader_open(&r, f, format, ROW_MAX, &e);
    FUZZ_CHECK(rc == 0 || (rc == ERR_INVAL && e.text[0]), "opened with %d", rc);
    while (!rc && (rc = submit_next(&r, &l, &e)) > 0) {
        FUZZ_CHECK(l.number > before, "line %llu after %llu", (unsigned long long)l.number,
                   (unsigned long long)before);
        before = l.number;
        check_line(&l);
        submit_line_fini(&l);
        rc = 0;
    }
    FUZZ_CHECK(rc == 0 || rc == ERR_INVAL, "lines end with %d: %s", rc, e.text);
    submit_reader_close(&r);
    fclose(f);
}

static bool is_inside(const struct buf *b, struct slice s)
{
    return !s.p || (s.p >= b->data && s.p + s.n <= b->data + b->len);
}

static void check_answer(struct slice text, bool cut)
{
    static const char *const names[] = {"Content-Type", "server", "X", ""};
    struct http_answer a = {.cut = cut};
    buf_init(&a.raw, TEXT_MAX);
    buf_append_slice(&a.raw, text);
    int rc = http_answer_parse(&a);
    FUZZ_CHECK(rc == 0 || rc == ERR_INVAL || rc == ERR_CLOSED, "%d", rc);
    if (!rc) {
        FUZZ_CHECK(a.status >= 0 && is_inside(&a.raw, a.headers) && is_inside(&a.raw, a.body), "outside");
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            FUZZ_CHECK(is_inside(&a.raw, http_header(&a, names[i])), "%s is outside", names[i]);
    }
    http_answer_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size || size > TEXT_MAX)
        return 0;
    struct slice text = {(const char *)data + 1, size - 1};
    switch (fuzz_choice(data[0], 6)) {
    case 0:
        check_rows(text);
        break;
    case 1:
        check_lines(text, FORMAT_JSONL);
        break;
    case 2:
        check_lines(text, FORMAT_CSV);
        break;
    case 3:
        check_lines(text, FORMAT_TEXT);
        break;
    case 4:
        check_answer(text, false);
        break;
    default:
        check_answer(text, true);
    }
    return 0;
}
