/*
 * lib/sink: records reach their files whole and in order, modes, rotation, and that neither a full queue nor
 * a broken disk holds a caller up.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "sink/sink.h"

static char root[64], dir[128];
static struct sink_options options;
static struct sink *s;

/* A command of the shell, run in the directory of this test. */
static void shell(const char *command)
{
    char text[512];
    snprintf(text, sizeof(text), "cd %s && %s", root, command);
    cr_assert_eq(system(text), 0);
}

static void setup(void)
{
    snprintf(root, sizeof(root), "/tmp/carpool-sink-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    snprintf(dir, sizeof(dir), "%s/a/logs", root);
    options = (struct sink_options){
        .dir = dir, .rotate_bytes = 1 << 20, .rotate_keep = 3, .queue_max_bytes = 1 << 20};
    s = NULL;
}

static void teardown(void)
{
    shell("rm -rf \"$PWD\"");
}

TestSuite(sink, .init = setup, .fini = teardown);

static void open_sink(void)
{
    struct err e = {0};
    cr_assert_eq(sink_open(&options, &s, &e), 0, "%s", e.text);
}

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

/* The file's text, to be freed; NULL when there is none. */
static char *read_file(const char *name)
{
    FILE *f = fopen(path_of(name), "r");
    if (!f)
        return NULL;
    char *text = calloc(1, 1 << 20);
    cr_assert_not_null(text);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    cr_assert_lt(n, (1 << 20) - 1);
    fclose(f);
    return text;
}

static void expect_file(const char *name, const char *expected)
{
    char *text = read_file(name);
    cr_assert_not_null(text, "%s is there", name);
    cr_assert_str_eq(text, expected);
    free(text);
}

static bool put(enum sink_stream stream, const char *text)
{
    return sink_write(s, stream, slice_of(text));
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* Until the file holds that text; the thread works in its own time. */
static void await_file(const char *name, const char *expected)
{
    for (int i = 0; i < 500; i++, pause_ms(10)) {
        char *text = read_file(name);
        bool same = text && strcmp(text, expected) == 0;
        free(text);
        if (same)
            return;
    }
    expect_file(name, expected);
}

Test(sink, each_stream_has_its_file)
{
    open_sink();
    cr_assert(put(SINK_CALLS, "call 1\n"));
    cr_assert(put(SINK_PAIRS, "pair 1\n"));
    cr_assert(put(SINK_EVENTS, "{\"n\":1}\n"));
    cr_assert(put(SINK_CALLS, "call 2\n"));
    cr_assert(put(SINK_CALLS, ""));
    sink_close(s, 5000);
    expect_file("llm_request_response.log", "call 1\ncall 2\n");
    expect_file("individual_request_response.log", "pair 1\n");
    expect_file("events.jsonl", "{\"n\":1}\n");
    open_sink();
    cr_assert(put(SINK_EVENTS, "{\"n\":2}\n"));
    cr_assert_eq(sink_dropped(s), 0);
    sink_close(s, 5000);
    expect_file("events.jsonl", "{\"n\":1}\n{\"n\":2}\n");
    sink_close(NULL, 0);
}

Test(sink, records_are_written_without_a_close)
{
    open_sink();
    cr_assert(put(SINK_EVENTS, "1\n"));
    await_file("events.jsonl", "1\n");
    pause_ms(20); /* the thread sleeps by now */
    cr_assert(put(SINK_EVENTS, "2\n"));
    await_file("events.jsonl", "1\n2\n");
    sink_close(s, 5000);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

Test(sink, modes_do_not_depend_on_the_umask)
{
    static const mode_t masks[] = {0, 0777};
    for (int i = 0; i < 2; i++) {
        snprintf(dir, sizeof(dir), "%s/umask%d/logs", root, i);
        mode_t before = umask(masks[i]);
        options.rotate_bytes = 10;
        open_sink();
        cr_assert(put(SINK_EVENTS, "12345678\n"));
        cr_assert(put(SINK_EVENTS, "12345678\n"));
        sink_close(s, 5000);
        umask(before);
        cr_assert_eq(mode_of(dir), 0700);
        cr_assert_eq(mode_of(path_of("events.jsonl")), 0600);
        cr_assert_eq(mode_of(path_of("events.jsonl.1")), 0600);
        cr_assert_eq(mode_of(path_of("llm_request_response.log")), 0600);
    }
}

Test(sink, a_file_that_others_could_read_is_closed_to_them)
{
    shell("mkdir -p a/logs");
    FILE *f = fopen(path_of("events.jsonl"), "w");
    cr_assert_not_null(f);
    fclose(f);
    cr_assert_eq(chmod(path_of("events.jsonl"), 0644), 0);
    open_sink();
    sink_close(s, 5000);
    cr_assert_eq(mode_of(path_of("events.jsonl")), 0600);
}

Test(sink, rotates_between_records_and_keeps_so_many)
{
    options.rotate_bytes = 20;
    open_sink();
    char record[32];
    for (int i = 0; i < 11; i++) {
        snprintf(record, sizeof(record), "record %02d\n", i); /* 10 bytes: two a file */
        cr_assert(put(SINK_EVENTS, record));
    }
    sink_close(s, 5000);
    expect_file("events.jsonl", "record 10\n");
    expect_file("events.jsonl.1", "record 08\nrecord 09\n");
    expect_file("events.jsonl.2", "record 06\nrecord 07\n");
    expect_file("events.jsonl.3", "record 04\nrecord 05\n");
    cr_assert_null(read_file("events.jsonl.4"));
    /* What was there at the start counts too, and a record larger than a file has one to itself. */
    open_sink();
    cr_assert(put(SINK_EVENTS, "one record of more than twenty bytes\n"));
    cr_assert(put(SINK_EVENTS, "x\n"));
    sink_close(s, 5000);
    expect_file("events.jsonl", "x\n");
    expect_file("events.jsonl.1", "one record of more than twenty bytes\n");
    expect_file("events.jsonl.2", "record 10\n");
}

Test(sink, keeps_no_rotated_file_when_told_so)
{
    options.rotate_bytes = 4;
    options.rotate_keep = 0;
    open_sink();
    cr_assert(put(SINK_EVENTS, "abc\n"));
    cr_assert(put(SINK_EVENTS, "def\n"));
    sink_close(s, 5000);
    expect_file("events.jsonl", "def\n");
    cr_assert_null(read_file("events.jsonl.1"));
}

Test(sink, goes_on_with_the_file_when_it_cannot_be_renamed)
{
    options.rotate_bytes = 4;
    options.rotate_keep = 1;
    shell("mkdir -p a/logs/events.jsonl.1/in_the_way");
    open_sink();
    cr_assert(put(SINK_EVENTS, "abc\n"));
    cr_assert(put(SINK_EVENTS, "def\n"));
    sink_close(s, 5000);
    expect_file("events.jsonl", "abc\ndef\n");
}

Test(sink, a_file_moved_away_is_made_anew)
{
    open_sink();
    cr_assert(put(SINK_EVENTS, "1\n"));
    await_file("events.jsonl", "1\n");
    shell("mv a/logs/events.jsonl a/logs/moved");
    pause_ms(1100);
    cr_assert(put(SINK_EVENTS, "2\n"));
    sink_close(s, 5000);
    expect_file("moved", "1\n");
    expect_file("events.jsonl", "2\n");
}

Test(sink, a_disk_that_fails_costs_records_and_nothing_else)
{
    shell("mkdir -p a/logs && ln -s /dev/full a/logs/events.jsonl");
    open_sink();
    cr_assert(put(SINK_EVENTS, "lost 1\n"));
    cr_assert(put(SINK_EVENTS, "lost 2\n"));
    cr_assert(put(SINK_PAIRS, "pair\n"));
    await_file("individual_request_response.log", "pair\n");
    for (int i = 0; i < 500 && sink_dropped(s) < 2; i++)
        pause_ms(10);
    cr_assert_eq(sink_dropped(s), 2);
    cr_assert(put(SINK_EVENTS, "lost 3\n"));
    for (int i = 0; i < 500 && sink_dropped(s) < 3; i++)
        pause_ms(10);
    shell("rm a/logs/events.jsonl");
    pause_ms(1100);
    cr_assert(put(SINK_EVENTS, "kept\n"));
    await_file("events.jsonl", "kept\n");
    cr_assert_eq(sink_dropped(s), 3);
    sink_close(s, 5000);
}

Test(sink, a_directory_that_goes_away_comes_back)
{
    open_sink();
    shell("rm -rf a");
    pause_ms(1100);
    cr_assert(put(SINK_EVENTS, "1\n"));
    await_file("events.jsonl", "1\n");
    sink_close(s, 5000);
    cr_assert_eq(mode_of(dir), 0700);
}

Test(sink, open_says_what_is_wrong)
{
    struct err e = {0};
    shell("touch a");
    cr_assert_lt(sink_open(&options, &s, &e), 0);
    cr_assert_null(s);
    cr_assert(strstr(e.text, "llm_request_response.log"), "%s", e.text);
    char *longer = calloc(1, PATH_MAX + 1);
    memset(longer, 'x', PATH_MAX);
    options.dir = longer;
    cr_assert_eq(sink_open(&options, &s, &e), ERR_INVAL);
    free(longer);
}

Test(sink, a_record_too_large_for_the_queue_is_dropped)
{
    options.queue_max_bytes = 100;
    open_sink();
    char text[101];
    memset(text, 'x', 100);
    text[100] = 0;
    cr_assert_not(put(SINK_EVENTS, text));
    text[96] = 0;
    cr_assert(put(SINK_EVENTS, text));
    cr_assert_eq(sink_dropped(s), 1);
    sink_close(s, 5000);
    expect_file("events.jsonl", text);
}

Test(sink, a_disk_that_hangs_does_not_hold_up_callers)
{
    options.queue_max_bytes = 200 << 10;
    shell("mkdir -p a/logs && mkfifo a/logs/events.jsonl");
    int reader = open(path_of("events.jsonl"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(reader, 0);
    open_sink();
    char text[1025];
    memset(text, 'x', 1024);
    text[1024] = 0;
    uint64_t start = clock_mono_us();
    for (int i = 0; i < 1000; i++)
        put(SINK_EVENTS, text);
    cr_assert_lt(clock_mono_us() - start, US_PER_S);
    cr_assert_gt(sink_dropped(s), 400);
    cr_assert_lt(sink_dropped(s), 1000);
    cr_assert_not(put(SINK_PAIRS, text), "the bound is for all streams together");
    start = clock_mono_us();
    sink_close(s, 100);
    cr_assert_geq(clock_mono_us() - start, 90 * US_PER_MS);
    cr_assert_lt(clock_mono_us() - start, 2 * US_PER_S);
    close(reader); /* the thread's write fails now, and it frees what it holds */
    pause_ms(200);
}

#define WRITERS 4
#define RECORDS 3000

static void *write_many(void *arg)
{
    char record[32];
    for (int i = 0; i < RECORDS; i++) {
        int n = snprintf(record, sizeof(record), "%d %d\n", (int)(intptr_t)arg, i);
        cr_assert(sink_write(s, SINK_EVENTS, (struct slice){record, (size_t)n}));
    }
    return NULL;
}

Test(sink, many_threads)
{
    pthread_t threads[WRITERS];
    open_sink();
    for (intptr_t i = 0; i < WRITERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_many, (void *)i), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(sink_dropped(s), 0);
    sink_close(s, 5000);
    char *text = read_file("events.jsonl"), *at = text;
    int next[WRITERS] = {0}, total = 0;
    for (char *end; *at; at = end + 1, total++) {
        int writer = -1, n = -1;
        end = strchr(at, '\n');
        cr_assert_not_null(end);
        cr_assert_eq(sscanf(at, "%d %d", &writer, &n), 2);
        cr_assert(writer >= 0 && writer < WRITERS);
        cr_assert_eq(n, next[writer]++, "each writer's records in its order");
    }
    cr_assert_eq(total, WRITERS * RECORDS);
    free(text);
}
