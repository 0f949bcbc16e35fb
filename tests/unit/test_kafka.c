/*
 * lib/sink's topics: what Kafka does not take is in the files, all of it, whatever is wrong with Kafka; what
 * it takes is not. The brokers are librdkafka's mock, inside the producer. A Kafka that goes and comes is in
 * tests/kafka.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "sink/properties.h"
#include "sink/sink.h"

static char root[64], options_file[128];
static struct sink_kafka_options kafka;
static struct sink_options options;
static struct sink *s;

static void write_options(const char *text)
{
    FILE *f = fopen(options_file, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static void setup(void)
{
    snprintf(root, sizeof(root), "/tmp/carpool-kafka-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    snprintf(options_file, sizeof(options_file), "%s/options", root);
    write_options("");
    kafka = (struct sink_kafka_options){.servers = "127.0.0.1:1", /* nobody listens there */
                                        .options_file = options_file,
                                        .topics = {"requests", "metrics", "errors"}};
    options = (struct sink_options){
        .dir = root, .rotate_bytes = 1 << 20, .rotate_keep = 3, .queue_max_bytes = 1 << 20, .kafka = &kafka};
    s = NULL;
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(kafka, .init = setup, .fini = teardown);

static void open_sink(void)
{
    struct err e = {0};
    cr_assert_eq(sink_open(&options, &s, &e), 0, "%s", e.text);
}

static bool publish(enum sink_topic topic, const char *record)
{
    return sink_publish(s, topic, slice_of("key"), slice_of(record));
}

static void expect_file(const char *name, const char *expected)
{
    char path[256], text[4096];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s is there", name);
    text[fread(text, 1, sizeof(text) - 1, f)] = 0;
    fclose(f);
    cr_assert_str_eq(text, expected);
}

static struct sink_kafka state(void)
{
    struct sink_kafka k;
    sink_kafka(s, &k);
    return k;
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

Test(kafka, what_nobody_took_is_in_the_files)
{
    open_sink();
    cr_assert(publish(SINK_REQUESTS, "{\"n\":1}"));
    cr_assert(publish(SINK_ERRORS, "{\"n\":2}"));
    cr_assert(publish(SINK_REQUESTS, "{\"n\":3}"));
    cr_assert(sink_write(s, SINK_EVENTS, SLICE_LITERAL("event\n")));
    uint64_t start = clock_mono_us();
    sink_close(s, 5000);
    cr_assert_lt(clock_mono_us() - start, 4 * US_PER_S);
    expect_file("requests.jsonl", "{\"n\":1}\n{\"n\":3}\n");
    expect_file("errors.jsonl", "{\"n\":2}\n");
    expect_file("metrics.jsonl", "");
    expect_file("events.jsonl", "event\n");
}

Test(kafka, what_is_wrong_with_the_options_is_a_fault_and_not_an_error)
{
    write_options("# mine\n\nlinger.ms=5\nno.such.thing = a secret\n");
    open_sink();
    struct sink_kafka k = state();
    cr_assert(k.enabled);
    cr_assert_neq(k.fault.code, 0);
    cr_assert_null(strstr(k.fault.text, "a secret"), "%s", k.fault.text);
#ifdef HAVE_RDKAFKA
    cr_assert_not_null(strstr(k.fault.text, "options line 4"), "%s", k.fault.text);
    cr_assert_not_null(strstr(k.fault.text, "no.such.thing"), "%s", k.fault.text);
#endif
    cr_assert(publish(SINK_METRICS, "{}"));
    for (int i = 0; i < 500 && state().filed < 1; i++)
        pause_ms(10);
    cr_assert_eq(state().filed, 1);
    sink_close(s, 5000);
    expect_file("metrics.jsonl", "{}\n");
}

Test(kafka, topics_of_one_name_share_a_file_and_names_stay_inside_the_directory)
{
    kafka.topics[SINK_REQUESTS] = kafka.topics[SINK_ERRORS] = "../all/of it";
    kafka.topics[SINK_METRICS] = "events";
    open_sink();
    cr_assert(publish(SINK_REQUESTS, "1"));
    cr_assert(publish(SINK_ERRORS, "2"));
    cr_assert(publish(SINK_METRICS, "3"));
    sink_close(s, 5000);
    expect_file(".._all_of it.jsonl", "1\n2\n");
    expect_file("events.kafka.jsonl", "3\n");
    expect_file("events.jsonl", "");
}

Test(kafka, a_disk_that_fails_as_well_costs_records_which_are_counted)
{
    char command[256];
    snprintf(command, sizeof(command), "ln -s /dev/full %s/errors.jsonl", root);
    cr_assert_eq(system(command), 0);
    write_options("no.such.thing = 1\n");
    open_sink();
    for (int i = 0; i < 3; i++)
        cr_assert(publish(SINK_ERRORS, "lost"));
    cr_assert(publish(SINK_REQUESTS, "kept"));
    for (int i = 0; i < 500 && sink_dropped(s) < 3; i++)
        pause_ms(10);
    cr_assert_eq(sink_dropped(s), 3);
    sink_close(s, 5000);
    expect_file("requests.jsonl", "kept\n");
}

Test(kafka, the_queue_has_its_bound_and_keys_too)
{
    char text[600];
    memset(text, 'x', sizeof(text));
    options.queue_max_bytes = 1000;
    write_options("no.such.thing = 1\n");
    open_sink();
    cr_assert_not(sink_publish(s, SINK_ERRORS, SLICE_LITERAL("k"), (struct slice){text, 1000}));
    cr_assert_eq(sink_dropped(s), 1);
    cr_assert(sink_publish(s, SINK_ERRORS, (struct slice){text, sizeof(text)}, SLICE_LITERAL("short")));
    sink_close(s, 5000);
    expect_file("errors.jsonl", "short\n");
}

Test(kafka, what_the_brokers_took_is_not_in_the_files)
{
#ifdef HAVE_RDKAFKA
    write_options("test.mock.num.brokers = 1\n");
    open_sink();
    for (int i = 0; i < 20; i++)
        cr_assert(publish(i % 2 ? SINK_REQUESTS : SINK_ERRORS, "{}"));
    for (int i = 0; i < 1000 && state().delivered < 20; i++)
        pause_ms(10);
    struct sink_kafka k = state();
    cr_assert_eq(k.delivered, 20);
    cr_assert_eq(k.filed, 0);
    cr_assert_eq(k.fault.code, 0, "%s", k.fault.text);
    cr_assert(publish(SINK_METRICS, "the last one"));
    sink_close(s, 5000);
    expect_file("requests.jsonl", "");
    expect_file("errors.jsonl", "");
    expect_file("metrics.jsonl", "");
#endif
}

static int note(void *arg, const char *name, const char *value, struct err *e)
{
    char *seen = arg;
    if (strcmp(name, "bad") == 0)
        return err_set(e, ERR_INVAL, "bad is bad");
    sprintf(seen + strlen(seen), "[%s|%s]", name, value);
    return 0;
}

Test(kafka, properties)
{
    static const struct {
        const char *text, *seen, *said;
    } cases[] = {
        {"", "", NULL},
        {"a=b\n c.d =  e f \n#x=y\n\n\tlast=", "[a|b][c.d|e f][last|]", NULL},
        {"a=b=c", "[a|b=c]", NULL},
        {"a=b\nsecret\n", "[a|b]", "line 2: is not of the form"},
        {"=secret\n", "", "line 1: is not of the form"},
        {"a=b\n\nbad=secret\nc=d", "[a|b]", "line 3: bad is bad"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char seen[256] = "";
        struct err e = {0};
        write_options(cases[i].text);
        int rc = properties_read(options_file, note, seen, &e);
        cr_assert_eq(rc, cases[i].said ? ERR_INVAL : 0, "case %zu", i);
        cr_assert_str_eq(seen, cases[i].seen);
        cr_assert(!cases[i].said || strstr(e.text, cases[i].said), "%s", e.text);
        cr_assert_null(strstr(e.text, "secret"), "%s", e.text);
    }
    struct err e = {0};
    unlink(options_file);
    cr_assert_lt(properties_read(options_file, note, NULL, &e), 0);
    char *line = calloc(1, 20000);
    memset(line, 'a', 19999);
    write_options(line);
    cr_assert_eq(properties_read(options_file, note, NULL, &e), ERR_INVAL);
    cr_assert_not_null(strstr(e.text, "too long"), "%s", e.text);
    free(line);
}
