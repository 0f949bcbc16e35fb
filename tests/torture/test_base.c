/* lib/base without memory: buffers, arenas, heaps, the configuration, the log. */
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/dir.h"
#include "base/heap.h"
#include "base/log.h"
#include "short.h"

Test(torture_buf, a_failure_sticks_and_nothing_moves)
{
    struct buf b;
    char *data = NULL, expected[8192] = "";
    size_t n = 0;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 200; i++) {
        buf_append_text(&b, "some words, ");
        buf_printf(&b, "%d; ", i);
        sprintf(expected + strlen(expected), "some words, %d; ", i);
    }
    bool failed = buf_failed(&b);
    cr_assert_eq(SHORT(buf_take(&b, &data, &n)), failed);
    cr_assert(failed ? !data : n == strlen(expected) && strcmp(data, expected) == 0);
    free(data);
    buf_clear(&b);
    buf_append_text(&b, "again");
    cr_assert(buf_failed(&b) || slice_is(buf_slice(&b), "again"));
    buf_fini(&b);
}

Test(torture_arena, what_it_gives_is_zeroed_and_whole)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    for (int round = 0; round < 2; round++) {
        for (size_t n = 1; n < 20000; n *= 3) {
            char *p = arena_alloc(&a, n);
            for (size_t i = 0; p && i < n; i++)
                cr_assert_eq(p[i], 0);
            if (p)
                memset(p, 1, n);
        }
        char *text = arena_printf(&a, "%05000d", 7), *copy = arena_copy(&a, slice_of("copied"));
        cr_assert(!text || (strlen(text) == 5000 && text[4999] == '7'));
        cr_assert(!copy || strcmp(copy, "copied") == 0);
        arena_reset(&a);
    }
    arena_fini(&a);
}

Test(torture_heap, holds_what_it_took)
{
    struct heap h;
    struct heap_node nodes[100], *top;
    unsigned in = 0, out = 0;
    uint64_t last = 0;
    heap_init(&h);
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        nodes[i] = (struct heap_node){.at_us = i * 7919 % 100};
        if (!SHORT(heap_push(&h, &nodes[i])))
            in++;
        else
            cr_assert_eq(nodes[i].index, 0);
    }
    for (; (top = heap_peek(&h)); out++) {
        cr_assert_geq(top->at_us, last);
        last = top->at_us;
        heap_remove(&h, top);
    }
    cr_assert_eq(in, out);
    heap_fini(&h);
}

static struct conf c, before;

static void load(const char *path)
{
    struct err e;
    memset(&before, 0x5a, sizeof(before));
    c = before;
    if (SHORT_E(conf_load(path, &c, &e), &e))
        cr_assert_eq(memcmp(&c, &before, sizeof(c)), 0, "touched");
    else {
        cr_assert_eq(c.provider.kind, PROVIDER_OPENAI);
        cr_assert_str_eq(c.provider.api_key, "sk-one");
        cr_assert_eq(c.prices_n, 2);
        cr_assert_eq(c.priority[PRIORITY_LOW].window_ms, 77);
    }
}

static void begin(char ret_path[128])
{
    const char *dir = short_dir();
    clearenv();
    snprintf(ret_path, 128, "%s/carpool.conf", dir);
    cr_assert_eq(chdir(dir), 0);
    short_write(ret_path, "[provider]\nkind = openai\nmodel = test\n[batch_low]\nwindow_ms = 77\n"
                          "[prices]\nm1 = 1 2\nm2 = 3 4\n[storage]\ndir = state\n");
}

Test(torture_conf, a_file_and_the_environment)
{
    char path[128];
    begin(path);
    torture_pause();
    setenv("OPENAI_API_KEY", "sk-one", 1);
    torture_resume();
    load(path);
}

Test(torture_conf, found_by_itself_with_a_key_in_a_file)
{
    char path[128];
    begin(path);
    short_write("key", "sk-one\n");
    torture_pause();
    setenv("CARPOOL_CONF", path, 1);
    setenv("OPENAI_API_KEY_FILE", "key", 1);
    torture_resume();
    load(NULL);
}

Test(torture_conf, what_is_wrong_is_said_or_there_is_no_memory)
{
    char path[128];
    struct err e = {0};
    begin(path);
    short_write(path, "[provider]\nkind = nobody\n");
    int rc = conf_load(path, &c, &e);
    cr_assert(rc == ERR_INVAL || rc == ERR_NOMEM, "%d %s", rc, e.text);
    cr_assert(e.text[0]);
}

Test(torture_log, a_line_is_whole_or_not_there)
{
    char path[128], text[8192];
    struct err e;
    snprintf(path, sizeof(path), "%s/log", short_dir());
    if (SHORT_E(log_open("test", LOG_LEVEL_INFO, path, &e), &e))
        return;
    for (int i = 0; i < 5; i++)
        log_write(LOG_LEVEL_INFO, "an id", "line %d of \"five\"", i);
    log_close();
    size_t n = short_read(path, text, sizeof(text));
    cr_assert(!n || text[n - 1] == '\n');
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        cr_assert(line[0] == '{' && line[strlen(line) - 1] == '}', "%s", line);
}
