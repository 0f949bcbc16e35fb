/* ROOMS: fcgi_app/worker/path.c */
/*
 * The small parsers: carpool.conf (0), paths (1) and query strings (2) of URIs, times (3), UUIDs (4), and
 * what the JSON writer makes of any bytes (5). The first byte says which; the rest is the text. What is
 * understood must come out the same when it is written and read again.
 */
#include <math.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/utf8.h"
#include "base/uuid.h"
#include "fuzz.h"
#include "worker/path.h"
#include "json/scan.h"
#include "json/write.h"

#define TEXT_MAX      (1u << 16)
#define YEAR_10000_US (253402300800 * US_PER_S)

static char conf_path[128];

void fuzz_start(void)
{
    snprintf(conf_path, sizeof(conf_path), "%s/carpool.conf", fuzz_dir());
}

static void check_sentence(const struct err *e)
{
    size_t n = strlen(e->text);
    FUZZ_CHECK(n, "refused without a sentence");
    FUZZ_CHECK(utf8_valid_prefix(slice_of(e->text)) == n, "a sentence that is no UTF-8: %s", e->text);
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK((unsigned char)e->text[i] >= 0x20, "a control character in \"%s\"", e->text);
}

static void check_ranges(const struct conf *c)
{
    FUZZ_CHECK(c->provider.max_concurrency >= 1 && c->provider.timeout_ms >= 1, "no calls can be made");
    FUZZ_CHECK(isnan(c->provider.temperature) ||
                   (c->provider.temperature >= 0 && c->provider.temperature <= 2),
               "temperature %g", c->provider.temperature);
    FUZZ_CHECK(c->limits.tenant_share > 0 && c->limits.tenant_share <= 1, "tenant_share %g",
               c->limits.tenant_share);
    FUZZ_CHECK(c->limits.queue_max >= 1 && c->limits.waiting_max >= 1, "nothing may wait");
    for (int p = 0; p < PRIORITIES; p++)
        FUZZ_CHECK(c->priority[p].max_batch >= 1 && c->priority[p].tokens >= 1, "priority %d", p);
    FUZZ_CHECK(c->prices_n <= CONF_PRICES_MAX, "%zu prices", c->prices_n);
    for (size_t i = 0; i < c->prices_n; i++)
        FUZZ_CHECK(c->prices[i].usd_in >= 0 && c->prices[i].usd_out >= 0 &&
                       isfinite(c->prices[i].usd_in + c->prices[i].usd_out),
                   "a price of %g and %g", c->prices[i].usd_in, c->prices[i].usd_out);
}

static void check_conf(struct slice text)
{
    static struct conf conf;
    struct err e = {0};
    FILE *f = fopen(conf_path, "we");
    FUZZ_CHECK(f && (!text.n || fwrite(text.p, text.n, 1, f) == 1) && fclose(f) == 0, "%s cannot be written",
               conf_path);
    if (conf_load(conf_path, &conf, &e) == 0)
        check_ranges(&conf);
    else
        FUZZ_CHECK(e.text[0],
                   "refused without a sentence"); /* it may show what the file says, as it stands */
}

/* Every byte but slashes as %XX. */
static void percent(struct buf *out, struct slice s, bool slashes)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '/' && !slashes)
            buf_append_byte(out, '/');
        else
            buf_printf(out, "%%%02x", (unsigned char)s.p[i]);
    }
}

static void check_path(struct slice uri)
{
    static const char *const bases[] = {"", "/base", "/a/b/"};
    struct arena arena;
    struct slice path, query, again, id;
    struct buf encoded;
    struct err e = {0};
    arena_init(&arena, 1u << 20);
    buf_init(&encoded, 4 * TEXT_MAX);
    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        int rc = path_from_uri(uri, bases[i], &arena, &path, &query, &e);
        FUZZ_CHECK(rc == 0 || rc == ERR_INVAL || rc == ERR_NOT_FOUND, "%d", rc);
        if (rc) {
            check_sentence(&e);
            continue;
        }
        FUZZ_CHECK(!memchr(path.p, 0, path.n) && utf8_valid_prefix(path) == path.n, "a path of other bytes");
        FUZZ_CHECK(!memchr(path.p, '?', path.n) || memchr(uri.p, '%', uri.n), "a query in the path");
        FUZZ_CHECK(!path_match("/v1/chat/{id}", path, &id) || (id.n && !memchr(id.p, '/', id.n)),
                   "a segment of two");
        buf_clear(&encoded);
        percent(&encoded, path, false);
        /* Only what begins with a slash is a path; what does not matches no route. */
        if (path.n && path.p[0] == '/' &&
            path_from_uri(buf_slice(&encoded), "", &arena, &again, &query, &e) == 0)
            FUZZ_CHECK(slice_equal(path, again), "%.*s becomes %.*s", (int)path.n, path.p, (int)again.n,
                       again.p);
    }
    buf_fini(&encoded);
    arena_fini(&arena);
}

static void check_query(struct slice query)
{
    struct arena arena;
    struct slice value, again;
    struct buf encoded;
    struct err e = {0};
    arena_init(&arena, 1u << 20);
    buf_init(&encoded, 4 * TEXT_MAX);
    int rc = query_get(query, "limit", &arena, &value, &e);
    FUZZ_CHECK(rc == 0 || rc == ERR_INVAL, "%d", rc);
    if (rc)
        check_sentence(&e);
    else if (value.p) {
        FUZZ_CHECK(value.p[value.n] == 0 && strlen(value.p) == value.n, "a value that is no C string");
        FUZZ_CHECK(utf8_valid_prefix(value) == value.n, "a value that is no UTF-8");
        buf_append_text(&encoded, "limits=1&&limit=");
        percent(&encoded, value, true);
        FUZZ_CHECK(query_get(buf_slice(&encoded), "limit", &arena, &again, &e) == 0 &&
                       slice_equal(value, again),
                   "%s becomes another", value.p);
    }
    buf_fini(&encoded);
    arena_fini(&arena);
}

/* The plainest form of RFC 3339 by the C library: "2026-02-01T12:00:00.5Z". */
static void check_plain_time(const char *text, uint64_t us)
{
    struct tm tm = {0};
    char fraction[7] = "000000";
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end || end - text != 19 || tm.tm_sec == 60)
        return;
    size_t digits = *end == '.' ? strspn(end + 1, "0123456789") : 0;
    memcpy(fraction, end + 1, digits < 6 ? digits : 6);
    end += digits ? digits + 1 : 0;
    if (strcmp(end, "Z") != 0)
        return;
    uint64_t expected = (uint64_t)timegm(&tm) * US_PER_S + strtoul(fraction, NULL, 10);
    FUZZ_CHECK(us == expected, "%s is read as %llu and means %llu", text, (unsigned long long)us,
               (unsigned long long)expected);
}

static void check_time(struct slice text)
{
    uint64_t us = UINT64_MAX, again;
    char formatted[CLOCK_RFC3339_SIZE];
    if (!clock_parse_rfc3339(text, &us)) {
        FUZZ_CHECK(us == UINT64_MAX, "refused and yet written");
        return;
    }
    char *plain = strndup(text.p, text.n);
    FUZZ_CHECK(plain, "no memory");
    check_plain_time(plain, us);
    free(plain);
    if (us >= YEAR_10000_US)
        return; /* of an offset; it is written as the last day there is */
    clock_format_rfc3339(us, formatted);
    FUZZ_CHECK(clock_parse_rfc3339(slice_of(formatted), &again), "%s cannot be read again", formatted);
    FUZZ_CHECK(again == us / US_PER_MS * US_PER_MS, "%.*s is %llu, then %llu", (int)text.n, text.p,
               (unsigned long long)us, (unsigned long long)again);
    uint32_t day = clock_day(us);
    FUZZ_CHECK(day >= 19700101 && day <= 99991231 &&
                   day == (uint32_t)strtoul(formatted, NULL, 10) * 10000 +
                              (uint32_t)strtoul(formatted + 5, NULL, 10) * 100 +
                              (uint32_t)strtoul(formatted + 8, NULL, 10),
               "%s is day %u", formatted, day);
}

static void check_uuid(struct slice text)
{
    struct uuid id, again;
    char formatted[UUID_TEXT_SIZE];
    if (!uuid_parse(text, &id))
        return;
    uuid_format(&id, formatted);
    FUZZ_CHECK(uuid_parse(slice_of(formatted), &again) && memcmp(&id, &again, sizeof(id)) == 0, "%s",
               formatted);
    FUZZ_CHECK(text.n == 36 && strncasecmp(formatted, text.p, 36) == 0, "%.*s becomes %s", (int)text.n,
               text.p, formatted);
}

static void check_written(struct slice bytes)
{
    struct json_writer w;
    struct json_fault fault;
    struct buf out;
    double number = 0, again;
    buf_init(&out, 8 * TEXT_MAX);
    json_writer_init(&w, &out);
    json_array_begin(&w);
    /* A zero byte would be written as it should be, but no text of ours holds one: nothing lets it in. */
    json_text(&w, (struct slice){bytes.p, strnlen(bytes.p, bytes.n)});
    size_t mark = out.len + 1;
    memcpy(&number, bytes.n ? bytes.p : "", bytes.n < sizeof(number) ? bytes.n : sizeof(number));
    json_double(&w, number);
    again = strtod(out.data + mark, NULL);
    json_array_end(&w);
    FUZZ_CHECK(json_scan(buf_slice(&out), &fault) == 0, "byte %zu: %s in %s", fault.offset, fault.reason,
               out.data);
    FUZZ_CHECK(!isfinite(number) || number == again, "%a is written as %s", number, out.data + mark);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(struct slice text) = {check_conf, check_path, check_query,
                                                        check_time, check_uuid, check_written};
    struct fuzz_reader in = fuzz_reader_of((struct slice){(const char *)data, size});
    unsigned which = fuzz_choice(fuzz_u8(&in), ARRAY_LEN(checks));
    /* A copy, so that whoever reads behind the end is seen. */
    struct slice text = fuzz_bytes(&in, TEXT_MAX);
    if (text.n && (which == 1 || which == 2))
        text.n = strnlen(text.p, text.n); /* variables of FastCGI are C strings */
    char *copy = malloc(text.n + !text.n);
    FUZZ_CHECK(copy, "no memory");
    if (text.n)
        memcpy(copy, text.p, text.n);
    checks[which]((struct slice){copy, text.n});
    free(copy);
    return 0;
}
