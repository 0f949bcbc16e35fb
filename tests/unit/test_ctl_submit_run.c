/* LINK: fcgi_app/ctl/rows.c fcgi_app/ctl/idset.c fcgi_app/ctl/submit_line.c fcgi_app/ctl/submit_out.c */
/* LINK: fcgi_app/ctl/submit_fill.c fcgi_app/ctl/submit_run.c fcgi_app/ctl/submit_show.c */
/* LINK: fcgi_app/ctl/submit_word.c */
/* A run of carpoolctl submit against answers that lie ready on a socket, and the file they are kept in. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/submit_run.h"

static char dir[] = "/tmp/carpool-submit-XXXXXX";
static char out_path[64];

static void setup(void)
{
    cr_assert(mkdtemp(dir));
    snprintf(out_path, sizeof(out_path), "%s/out", dir);
}

static void teardown(void)
{
    char path[80];
    unlink(out_path);
    snprintf(path, sizeof(path), "%s.new", out_path);
    unlink(path);
    rmdir(dir);
}

static void write_out(const char *text)
{
    FILE *f = fopen(out_path, "w");
    cr_assert(f && fputs(text, f) >= 0 && !fclose(f));
}

static void expect_out(const char *text)
{
    char found[4096];
    FILE *f = fopen(out_path, "r");
    cr_assert(f);
    found[fread(found, 1, sizeof(found) - 1, f)] = 0;
    fclose(f);
    cr_assert_str_eq(found, text);
}

/* ---- the file ---- */

#define ANSWER_A "{\"line\":1,\"request_id\":\"a\",\"text\":\"x\"}\n"
#define ANSWER_B "{\"line\":2,\"request_id\":\"b\",\"text\":\"\"}\n"
#define ERROR_C  "{\"line\":3,\"request_id\":\"c\",\"error\":{}}\n"

/* A failure must leave the file whole. */
static int open_out(struct submit_out *o, struct idset *done, uint64_t *answers)
{
    struct err e = {0};
    int rc = submit_out_open(o, out_path, done, answers, &e);
    if (rc)
        idset_fini(done);
    if (rc)
        cr_assert(e.text[0]);
    return rc;
}

Test(submit_out, answers_stay_and_errors_go, .init = setup, .fini = teardown)
{
    struct submit_out o, second;
    struct idset done = {0}, others = {0};
    uint8_t key[IDSET_KEY];
    uint64_t answers;
    write_out(ANSWER_A ERROR_C ANSWER_B "{\"line\":4,\"requ");
    chmod(out_path, 0640);
    cr_assert_eq(open_out(&o, &done, &answers), 0);
    cr_assert_eq(answers, 2);
    idset_key_of(slice_of("b"), key);
    cr_assert_eq(idset_get(&done, key), 1);
    idset_key_of(slice_of("c"), key);
    cr_assert_eq(idset_get(&done, key), 0);
    expect_out(ANSWER_A ANSWER_B);
    struct stat st;
    cr_assert(stat(out_path, &st) == 0 && (st.st_mode & 0777) == 0640);
    cr_assert_eq(open_out(&second, &others, &answers), ERR_EXISTS, "also after the file is a new one");
    submit_out_close(&o);
    idset_fini(&done);
}

Test(submit_out, what_is_not_ours_is_left, .init = setup, .fini = teardown)
{
    static const char *const strange[] = {"notes", "notes\n", ANSWER_A "{}\n", ANSWER_A "\n" ANSWER_B,
                                          "{\"line\":1,\"request_id\":\"a\"}\n"};
    for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
        struct submit_out o;
        struct idset done = {0};
        uint64_t answers;
        write_out(strange[i]);
        cr_assert_eq(open_out(&o, &done, &answers), ERR_INVAL, "%s", strange[i]);
        expect_out(strange[i]);
    }
}

/* ---- the run ---- */

static void put_answer(struct buf *b, uint64_t id, const char *text, uint8_t batch, bool cached)
{
    struct chat chat = {.request_id = slice_of("r"),
                        .text = slice_of(text),
                        .prompt = slice_of("p"),
                        .batch_id = {{batch}},
                        .cached = cached,
                        .endpoint = ENDPOINT_V1_QUERY};
    struct buf record;
    buf_init(&record, 4096);
    chat_encode(&record, &chat);
    size_t mark = wire_frame_begin(b, WIRE_ANSWER, id);
    wire_answer_encode(b, &(struct wire_answer){.chat = buf_slice(&record)});
    wire_frame_end(b, mark);
    if (buf_failed(&record))
        b->failed = true;
    buf_fini(&record);
}

static void put_refusal(struct buf *b, uint64_t id, uint16_t status)
{
    struct wire_refusal r = {.status = status,
                             .error_type = slice_of("t"),
                             .error_code = slice_of("CODE"),
                             .message = slice_of("A sentence.")};
    size_t mark = wire_frame_begin(b, WIRE_REFUSAL, id);
    wire_refusal_encode(b, &r);
    wire_frame_end(b, mark);
}

/* Two answers of one call, one from the cache, one refusal; the first line of the file is answered before. */
static bool lay_ready(int fd)
{
    struct buf b;
    buf_init(&b, 65536);
    put_answer(&b, 2, "two", 7, false);
    put_answer(&b, 99, "nobody's", 9, false);
    put_refusal(&b, 3, 424);
    put_answer(&b, 1, "one", 7, false);
    put_answer(&b, 4, "four", 8, true);
    bool good = !buf_failed(&b) && write(fd, b.data, b.len) == (ssize_t)b.len;
    buf_fini(&b);
    return good;
}

struct world {
    int fds[2], leave[2];
    struct link_host host;
    struct link link;
    struct submit_reader reader;
    struct submit_out out;
    struct submit_show show;
    struct submit_counts counts;
    struct idset ids;
    struct submit_options options;
    struct submit_run run;
    FILE *file;
};

static const char prompts[] =
    "{\"prompt\":\"zero\",\"request_id\":\"a\"}\n{\"prompt\":\"x\"}\n{\"prompt\":\"y\"}\n"
    "nonsense\n{\"prompt\":\"x\"}\n{\"prompt\":\"z\",\"request_id\":\"a\"}\n{\"prompt\":\"v\"}\n";

static void open_world(struct world *w)
{
    uint64_t answers;
    *w = (struct world){.out = {.fd = -1}, .options = {.id_prefix = "t", .concurrency = 4}};
    write_out(ANSWER_A);
    cr_assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, w->fds) && !pipe(w->leave));
    w->file = fmemopen((void *)(uintptr_t)prompts, sizeof(prompts) - 1, "r");
    cr_assert(w->file);
    w->host = (struct link_host){.leave_fd = w->leave[0], .socket_path = (char *)(uintptr_t) "/nowhere/s"};
    link_init(&w->link, &w->host);
    w->link.fd = w->fds[0];
    show_init(&w->show, false, clock_mono_us());
    cr_assert_eq(submit_reader_open(&w->reader, w->file, FORMAT_JSONL, 4096, NULL), 0);
    w->run = (struct submit_run){.options = &w->options,
                                 .link = &w->link,
                                 .reader = &w->reader,
                                 .out = &w->out,
                                 .show = &w->show,
                                 .counts = &w->counts,
                                 .ids = &w->ids};
    if (open_out(&w->out, &w->ids, &answers))
        w->out.fd = -1;
}

static void close_world(struct world *w)
{
    link_fini(&w->link);
    submit_reader_close(&w->reader);
    submit_out_close(&w->out);
    idset_fini(&w->ids);
    fclose(w->file);
    close(w->fds[1]);
    close(w->leave[0]);
    close(w->leave[1]);
}

Test(submit_run, each_line_has_an_answer_or_an_error, .init = setup, .fini = teardown)
{
    struct world w;
    struct err e = {0};
    open_world(&w);
    enum submit_end end = SUBMIT_STUCK;
    bool ready = w.out.fd >= 0 && lay_ready(w.fds[1]);
    if (ready)
        end = submit_run(&w.run, &e);
    struct submit_counts c = w.counts;
    close_world(&w);
    cr_assert_eq(end, SUBMIT_FINISHED, "%s", e.text);
    cr_assert_eq(c.before, 1);
    cr_assert_eq(c.answered, 3);
    cr_assert_eq(c.cached, 1);
    cr_assert_eq(c.calls, 1);
    cr_assert_eq(c.failed, 3, "the refusal, the nonsense, the id given twice");
    cr_assert_eq(show_saved(&c), 2);
}

Test(submit_run, leaves_at_once_when_told_to, .init = setup, .fini = teardown)
{
    struct world w;
    struct err e = {0};
    open_world(&w);
    cr_assert_eq(write(w.leave[1], "", 1), 1);
    enum submit_end end = w.out.fd >= 0 ? submit_run(&w.run, &e) : SUBMIT_STUCK;
    close_world(&w);
    cr_assert_eq(end, SUBMIT_INTERRUPTED);
    expect_out(ANSWER_A);
}
