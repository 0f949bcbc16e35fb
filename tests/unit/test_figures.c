/* LINK: fcgi_app/worker/api_stats.c fcgi_app/worker/api_metrics.c fcgi_app/worker/report.c */
/* LINK: fcgi_app/worker/live.c fcgi_app/worker/exposition.c */
/*
 * /stats and /metrics over a store of their own, with a coordinator that says what the test wants: every
 * counter has its place, names that callers choose do no harm, and what is read does not grow with the chats.
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>

#include "store/chats.h"
#include "store/counters.h"
#include "store_fixture.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/exposition.h"
#include "worker/state.h"

#define DAY 20260201

static struct exchange x;
static struct worker worker;
static struct conf conf;
static const char *status; /* of the coordinator; NULL: there is none */
static int problems;

/* In place of the worker around them. */
int link_ask(struct link *l, enum link_start start, enum wire_type type, struct slice payload,
             uint64_t deadline_us, struct wire_frame *ret_frame, struct err *e)
{
    (void)l, (void)payload, (void)deadline_us;
    cr_assert_eq(start, LINK_IF_RUNNING, "looking starts nothing");
    cr_assert_eq(type, WIRE_STATUS_ASK);
    if (!status)
        return err_set(e, ERR_NOT_FOUND, "There is no coordinator.");
    *ret_frame = (struct wire_frame){.type = WIRE_STATUS, .id = 1, .payload = slice_of(status)};
    return 0;
}

int worker_read(struct worker *w, struct store_read **ret_read, struct err *e)
{
    (void)w;
    if (store)
        return store_read_begin(store, ret_read, e);
    *ret_read = NULL;
    return 0;
}

void problem_respond(struct exchange *to, enum problem p, const char *field, const char *format, ...)
{
    (void)p, (void)field, (void)format;
    to->response.status = 503;
    problems++;
}

void problem_respond_err(struct exchange *to, const struct err *e)
{
    (void)e;
    to->response.status = 503;
    problems++;
}

static void setup(void)
{
    fixture_make_dir();
    fixture_open(STORE_WRITER, 0, 1 << 30);
    worker.conf = &conf;
    conf.coordinator.autostart = true;
    x.worker = &worker;
    arena_init(&x.arena, 64 << 20);
    buf_init(&x.response.body, 16 << 20);
}

static void teardown(void)
{
    arena_fini(&x.arena);
    buf_fini(&x.response.body);
    fixture_teardown();
}

TestSuite(figures, .init = setup, .fini = teardown);

static const char *ask(void (*endpoint)(struct exchange *to))
{
    arena_reset(&x.arena);
    buf_clear(&x.response.body);
    x.response.status = 200;
    endpoint(&x);
    cr_assert_eq(x.response.status, 200);
    cr_assert(!buf_failed(&x.response.body));
    return x.response.body.data;
}

struct count {
    const char *name;
    uint64_t n;
};

static int add_counts(struct store_write *w, void *arg, struct err *e)
{
    int rc = 0;
    for (const struct count *c = arg; c->name && !rc; c++)
        rc = counters_add(w, slice_of(c->name), DAY, c->n, e);
    return rc;
}

static void has(const char *text, const char *line)
{
    cr_assert_not_null(strstr(text, line), "\"%s\" is not in:\n%s", line, text);
}

static void has_not(const char *text, const char *part)
{
    cr_assert_null(strstr(text, part), "\"%s\" is in:\n%s", part, text);
}

Test(figures, names_that_callers_choose)
{
    static struct count counts[] = {{"tokens.in.a\"b\\c\nd", 3},
                                    {"tokens.out.a\"b\\c\nd", 4},
                                    {"tokens.in.cut \xe2\x82", 5},
                                    {"tokens.in.gpt.4.1", 6},
                                    {NULL, 0}};
    WRITE(add_counts, counts);
    const char *text = ask(api_metrics_get);
    cr_assert_str_eq(x.response.content_type, EXPOSITION_TYPE);
    has(text, "\ncarpool_tokens_total{model=\"a\\\"b\\\\c\\nd\",kind=\"prompt\"} 3\n");
    has(text, "\ncarpool_tokens_total{model=\"a\\\"b\\\\c\\nd\",kind=\"completion\"} 4\n");
    has(text, "\ncarpool_tokens_total{model=\"cut \xef\xbf\xbd\xef\xbf\xbd\",kind=\"prompt\"} 5\n");
    has(text, "\ncarpool_tokens_total{model=\"gpt.4.1\",kind=\"prompt\"} 6\n");
    has_not(text, "carpool_cost_usd_total{");
    cJSON *root = cJSON_Parse(ask(api_stats_get));
    cr_assert_not_null(root);
    const cJSON *unpriced = cJSON_GetObjectItem(root, "unpriced_models");
    cr_assert_eq(cJSON_GetArraySize(unpriced), 3);
    cr_assert(cJSON_IsNull(cJSON_GetObjectItem(root, "cost_usd")), "none of them has a price");
    cJSON_Delete(root);
}

Test(figures, models_with_and_without_a_price)
{
    static struct count counts[] = {
        {"tokens.in.dear", 1000000}, {"tokens.out.dear", 500000}, {"tokens.in.new", 7}, {NULL, 0}};
    conf.prices[conf.prices_n++] = (struct conf_price){.model = "dear", .usd_in = 2.5, .usd_out = 10};
    WRITE(add_counts, counts);
    const char *text = ask(api_metrics_get);
    has(text, "\ncarpool_cost_usd_total{model=\"dear\"} 7.5\n");
    has_not(text, "carpool_cost_usd_total{model=\"new\"}");
    text = ask(api_stats_get);
    has(text,
        "\"model\":\"dear\",\"prompt\":1000000,\"completion\":500000,\"total\":1500000,\"cost_usd\":7.5}");
    has(text, "\"model\":\"new\",\"prompt\":7,\"completion\":0,\"total\":7,\"cost_usd\":null}");
    has(text, "\"cost_usd\":7.5,\"unpriced_models\":[\"new\"]");
}

Test(figures, more_models_than_are_told_apart)
{
    enum { MODELS = 400 };
    char names[MODELS][32];
    struct count counts[MODELS + 1] = {{NULL, 0}};
    for (int i = 0; i < MODELS; i++) {
        snprintf(names[i], sizeof(names[i]), "tokens.in.m%03d", i);
        counts[i] = (struct count){names[i], 10};
    }
    WRITE(add_counts, counts);
    const char *text = ask(api_stats_get);
    has(text, "\"tokens\":{\"prompt\":4000,");
    has(text, "\"model\":\"m254\",\"prompt\":10,");
    has(text, "\"model\":\"others\",\"prompt\":1450,");
    has_not(text, "\"m255\"");
}

Test(figures, retries_errors_and_responses_by_their_parts)
{
    static struct count counts[] = {{"retries.A.1", 5},
                                    {"retries.A.2", 2},
                                    {"retries.B.1", 3},
                                    {"errors.validation_error.X", 4},
                                    {"errors.rate_limit_error.Y", 6},
                                    {"errors.provider_error.X", 1},
                                    {"http.200.POST /v1/query", 70},
                                    {"http.200.GET /openapi.json", 20},
                                    {"http.404.other", 8},
                                    {"http.499.POST /v1/query", 1},
                                    {"http.503.POST /v1/query", 1},
                                    {NULL, 0}};
    WRITE(add_counts, counts);
    const char *text = ask(api_stats_get);
    has(text, "\"retries\":{\"total\":10,\"by_reason\":{\"A\":7,\"B\":3},\"by_attempt\":{\"1\":8,\"2\":2},");
    has(text, "\"errors\":{\"total\":11,\"by_type\":{\"provider_error\":1,\"rate_limit_error\":6,"
              "\"validation_error\":4},\"by_code\":{\"X\":5,\"Y\":6}}");
    has(text, "\"responses\":{\"total\":100,\"by_status_class\":{\"2xx\":90,\"3xx\":0,\"4xx\":9,\"5xx\":1},");
    has(text,
        "\"by_route\":{\"GET /openapi.json\":20,\"POST /v1/query\":72,\"other\":8},\"error_ratio\":0.1}");
    text = ask(api_metrics_get);
    has(text, "\ncarpool_retries_total{reason=\"A\",attempt=\"2\"} 2\n");
    has(text, "\ncarpool_errors_total{type=\"provider_error\",code=\"X\"} 1\n");
    has(text, "\ncarpool_http_responses_total{status=\"200\",method=\"GET\",route=\"/openapi.json\"} 20\n");
    has(text, "\ncarpool_http_responses_total{status=\"404\",method=\"\",route=\"other\"} 8\n");
}

Test(figures, histograms)
{
    static struct count counts[] = {
        {"latency.high.0000000399", 1}, /* no bucket begins there; it is below 400 */
        {"latency.high.0000000400", 2},
        {"latency.high.0009999999", 3},
        {"latency.high.0104857600", 4},
        {"latency.high.sum", 450031197},
        {"fill.low.1", 3},
        {"fill.low.5", 2},
        {"fill.low.256", 1},
        {NULL, 0}};
    WRITE(add_counts, counts);
    const char *text = ask(api_metrics_get);
    has(text, "\ncarpool_latency_seconds_bucket{priority=\"high\",le=\"0.0004\"} 1\n");
    has(text, "\ncarpool_latency_seconds_bucket{priority=\"high\",le=\"0.0008\"} 3\n");
    has(text, "\ncarpool_latency_seconds_bucket{priority=\"high\",le=\"6.5536\"} 3\n");
    has(text, "\ncarpool_latency_seconds_bucket{priority=\"high\",le=\"13.1072\"} 6\n");
    has(text, "\ncarpool_latency_seconds_bucket{priority=\"high\",le=\"104.8576\"} 6\n");
    has(text, "\ncarpool_latency_seconds_bucket{priority=\"high\",le=\"+Inf\"} 10\n");
    has(text, "\ncarpool_latency_seconds_sum{priority=\"high\"} 450.031197\n");
    has(text, "\ncarpool_latency_seconds_count{priority=\"high\"} 10\n");
    has(text, "\ncarpool_batch_members_bucket{priority=\"low\",le=\"4\"} 3\n");
    has(text, "\ncarpool_batch_members_bucket{priority=\"low\",le=\"6\"} 5\n");
    has(text, "\ncarpool_batch_members_bucket{priority=\"low\",le=\"128\"} 5\n");
    has(text, "\ncarpool_batch_members_bucket{priority=\"low\",le=\"256\"} 6\n");
    has(text, "\ncarpool_batch_members_sum{priority=\"low\"} 269\n");
}

Test(figures, a_coordinator_that_says_much_or_little)
{
    status = "{\"started_ms\":1769947200123,\"uptime_s\":7,\"prompts_per_second\":0.25,\"prompts\":9,"
             "\"running\":2,\"queue\":{\"high\":{\"waiting\":3,\"oldest_ms\":1500}},"
             "\"breaker\":{\"state\":\"half_open\",\"failures\":6}}";
    const char *text = ask(api_stats_get);
    has(text, "\"uptime_s\":7,\"started_at\":\"2026-02-01T12:00:00.123Z\"");
    has(text, "\"per_second\":0.25");
    has(text,
        "\"queue\":{\"high\":{\"depth\":3,\"oldest_ms\":1500},\"medium\":{\"depth\":0,\"oldest_ms\":0}");
    has(text, "\"breaker\":{\"state\":\"half_open\",\"failures_in_a_row\":6,\"opened\":0}");
    text = ask(api_metrics_get);
    has(text, "\nprocess_start_time_seconds 1769947200.123\n");
    has(text, "\ncarpool_queue_oldest_age_seconds{priority=\"high\"} 1.5\n");
    has(text, "\ncarpool_breaker_state{state=\"half_open\"} 1\n");
    status = "{}";
    has(ask(api_stats_get), "\"coordinator\":{\"status\":\"ok\"},\"uptime_s\":0,");
    has(ask(api_metrics_get), "\ncarpool_coordinator_up 1\n");
    status = "nonsense";
    has(ask(api_stats_get), "\"coordinator\":{\"status\":\"down\",\"reason\":");
    status = NULL;
    has(ask(api_stats_get), "\"coordinator\":{\"status\":\"idle\",\"reason\":");
    conf.coordinator.autostart = false;
    has(ask(api_stats_get), "\"coordinator\":{\"status\":\"down\",\"reason\":\"There is no coordinator.\"}");
    has_not(ask(api_metrics_get), "process_start_time_seconds");
}

Test(figures, no_store_yet)
{
    store_close(store);
    store = NULL;
    has(ask(api_stats_get),
        "\"tokens\":{\"prompt\":0,\"completion\":0,\"total\":0,\"by_model\":[]},\"cost_usd\":0,");
    has(ask(api_metrics_get), "\ncarpool_prompts_total{priority=\"high\"} 0\n");
}

static int append_chats(struct store_write *w, void *arg, struct err *e)
{
    const uint32_t *from = arg;
    struct buf record;
    int rc = 0;
    buf_init(&record, 1 << 20);
    for (uint32_t i = from[0]; i < from[1] && !rc; i++) {
        char id[32];
        uint64_t us = 1780000000000000ull + i * 1000000ull;
        snprintf(id, sizeof(id), "request-%u", i);
        struct chat c = {.id = fixture_id(us, i),
                         .endpoint = ENDPOINT_V1_QUERY,
                         .time_us = us,
                         .confidence = NAN,
                         .request_id = slice_of(id),
                         .username = SLICE_LITERAL("somebody"),
                         .prompt = SLICE_LITERAL("Why is the sky blue, and not green?"),
                         .model = SLICE_LITERAL("gpt-4o-mini"),
                         .text = SLICE_LITERAL("Because shorter waves are scattered more.")};
        memcpy(c.key, &i, sizeof(i));
        buf_clear(&record);
        chat_encode(&record, &c);
        rc = chats_append(w, &c, buf_slice(&record), e);
    }
    buf_fini(&record);
    return rc;
}

/* How much of data.mdb a process has looked at so far, in KiB. */
static long looked_at(void)
{
    char line[512];
    bool ours = false;
    long sum = 0, kib;
    FILE *maps = fopen("/proc/self/smaps", "r");
    cr_assert_not_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        if (strchr(line, '-') && strchr(line, '/'))
            ours = strstr(line, store_dir) && strstr(line, "data.mdb");
        else if (ours && sscanf(line, "Rss: %ld kB", &kib) == 1)
            sum += kib;
    }
    fclose(maps);
    return sum;
}

static long cost_of(void (*endpoint)(struct exchange *to))
{
    store_close(store);
    fixture_open(STORE_READER, 0, 1 << 30);
    long before = looked_at();
    ask(endpoint);
    return looked_at() - before;
}

void torture_pause(void) __attribute__((weak));
void torture_resume(void) __attribute__((weak));

Test(figures, cost_the_same_at_any_number_of_chats, .timeout = 120)
{
    static struct count counts[] = {{"requests.high", 5},           {"answered.high", 5},
                                    {"latency.high.0000000400", 5}, {"tokens.in.gpt-4o-mini", 5},
                                    {"http.200.GET /stats", 5},     {NULL, 0}};
    uint32_t few[] = {0, 10}, many[] = {10, torture_pause ? 2000 : 100000};
    struct stat st;
    char path[128];
    if (torture_pause)
        torture_pause();
    WRITE(append_chats, few);
    WRITE(add_counts, counts);
    if (torture_resume)
        torture_resume();
    long stats_few = cost_of(api_stats_get), metrics_few = cost_of(api_metrics_get);
    if (torture_pause)
        torture_pause();
    store_close(store);
    fixture_open(STORE_WRITER, 0, 1 << 30);
    WRITE(append_chats, many);
    if (torture_resume)
        torture_resume();
    snprintf(path, sizeof(path), "%s/data.mdb", store_dir);
    cr_assert_eq(stat(path, &st), 0);
    long size = st.st_size / 1024, stats_many = cost_of(api_stats_get),
         metrics_many = cost_of(api_metrics_get);
    /* The kernel maps 64 KiB around each page that is looked at; some pages lie farther apart than before. */
    cr_assert_leq(stats_many, stats_few + 512, "%ld KiB, then %ld of %ld", stats_few, stats_many, size);
    cr_assert_leq(metrics_many, metrics_few + 512, "%ld KiB, then %ld of %ld", metrics_few, metrics_many,
                  size);
    if (!torture_pause)
        cr_assert_gt(size, 20000, "the store is too small to show anything: %ld KiB", size);
}
