/*
 * carpoolctl submit: a file of prompts through the coordinator. Options, files and signals are looked after
 * here; lines are submit_line.c's, the way of the prompts submit_run.c's.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/key_list.h"
#include "ctl/submit_run.h"
#include "json/write.h"

#define CONCURRENCY 128
#define ID_PREFIX   "submit"

struct submit_job {
    struct ctl *t;
    struct submit_options options;
    const char *path;
    FILE *file;
    struct submit_reader reader;
    struct submit_out out;
    struct submit_show show;
    struct submit_counts counts;
    struct idset ids;
};

/* ---- signals ---- */

static int wake_fds[2] = {-1, -1};

static void wake(int number)
{
    int saved = errno;
    (void)number;
    (void)!write(wake_fds[1], "", 1);
    errno = saved;
}

/* A second signal ends the program on the spot. */
static int catch_signals(struct ctl *t, struct err *e)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = wake, .sa_flags = SA_RESETHAND};
    if (pipe2(wake_fds, O_CLOEXEC | O_NONBLOCK))
        return err_set_errno(e, "A pipe cannot be made");
    for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
        struct sigaction before;
        /* What was ignored from the start, as by nohup, stays so. */
        if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(ending[i], &action, NULL);
    }
    t->host.leave_fd = wake_fds[0];
    return 0;
}

/* ---- options ---- */

/* The key that --key means, as it stands now. ERR_NOT_FOUND; ERR_PERM: it is not to be used any more. */
static int find_key(struct ctl *t, uint8_t ret_id[TRUST_GROUP_SIZE], struct err *e)
{
    struct key_list l = {0};
    const struct key_entry *k = NULL;
    int rc = key_list_read(t, &l, e);
    if (!rc)
        rc = key_list_find(&l, t->args->key, &k, e);
    if (!rc && key_entry_state(k, l.now_s) != KEY_ACTIVE)
        rc = err_set(e, ERR_PERM, "The key \"%.80s\" is %s.", t->args->key,
                     key_state_name(key_entry_state(k, l.now_s)));
    if (!rc)
        memcpy(ret_id, k->texts->id, TRUST_GROUP_SIZE);
    key_list_fini(&l);
    return rc;
}

/* For submit_options.allowed. A label may have come to mean another key meanwhile. */
static int key_allowed(void *arg, struct err *e)
{
    struct submit_job *j = arg;
    uint8_t id[TRUST_GROUP_SIZE];
    int rc = find_key(j->t, id, e);
    if (!rc && memcmp(id, j->options.trust_group, sizeof(id)) != 0)
        rc = err_set(e, ERR_PERM, "\"%.80s\" is another key now.", j->t->args->key);
    return rc;
}

static enum ctl_exit choose_key(struct submit_job *j)
{
    struct err e = {0};
    int rc = find_key(j->t, j->options.trust_group, &e);
    j->options.allowed = key_allowed;
    j->options.arg = j;
    return rc ? ctl_say(rc == ERR_NOT_FOUND ? CTL_NOT_FOUND : CTL_FAILED, "%s", e.text) : CTL_DONE;
}

/* ---- what is said at the end ---- */

static const char *end_name(enum submit_end end)
{
    static const char *const names[] = {
        [SUBMIT_FINISHED] = "finished", [SUBMIT_INTERRUPTED] = "interrupted", [SUBMIT_STUCK] = "stuck"};
    return names[end];
}

/* On standard output, unless the answers are there. */
static void sum_up_json(const struct submit_job *j, enum submit_end end, uint64_t took_us)
{
    struct json_writer w;
    struct buf out;
    const struct submit_counts *c = &j->counts;
    buf_init(&out, 4096);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_field_cstr(&w, "end", end_name(end));
    json_field_u64(&w, "answered", c->before + c->answered);
    json_field_u64(&w, "answered_before", c->before);
    json_field_u64(&w, "failed", c->failed);
    json_field_u64(&w, "replayed", c->replayed);
    json_field_u64(&w, "cached", c->cached);
    json_field_u64(&w, "calls", c->calls);
    json_field_u64(&w, "calls_saved", show_saved(c));
    json_key(&w, "seconds");
    json_double(&w, (double)took_us / (double)US_PER_S);
    json_object_end(&w);
    fprintf(j->out.lasting ? stdout : stderr, "%.*s\n", (int)out.len, out.data ? out.data : "");
    buf_fini(&out);
}

static void sum_up(const struct submit_job *j, uint64_t took_us)
{
    const struct submit_counts *c = &j->counts;
    char time[32];
    show_format_time(took_us / US_PER_S, time, sizeof(time));
    fprintf(stderr, "%llu answered", (unsigned long long)(c->before + c->answered));
    if (c->before)
        fprintf(stderr, " (%llu of them before)", (unsigned long long)c->before);
    fprintf(stderr, ", %llu failed, %llu calls and %llu saved, in %s\n", (unsigned long long)c->failed,
            (unsigned long long)c->calls, (unsigned long long)show_saved(c), time);
}

static enum ctl_exit finish(struct submit_job *j, enum submit_end end, const struct err *e)
{
    uint64_t took_us = clock_mono_us() - j->show.start_us;
    show_end(&j->show);
    if (j->t->args->json)
        sum_up_json(j, end, took_us);
    else
        sum_up(j, took_us);
    if (end == SUBMIT_INTERRUPTED)
        return ctl_say(CTL_INTERRUPTED, "Interrupted. To go on, run the same command again: what is answered "
                                        "is not asked again, and nothing is paid for twice.");
    if (end == SUBMIT_STUCK)
        return ctl_say(CTL_FAILED, "%s", e->text);
    if (j->counts.failed)
        return ctl_say(CTL_FAILED,
                       "%llu lines have an error instead of an answer; what to do is said in each.",
                       (unsigned long long)j->counts.failed);
    return CTL_DONE;
}

/* ---- files ---- */

/* How many lines there are, for the bar. Not known of what can be read only once. */
static int count_lines(struct submit_job *j)
{
    struct rows rows;
    struct stat st;
    int rc = 0;
    if (fstat(fileno(j->file), &st) || !S_ISREG(st.st_mode))
        return 0;
    rows_init(&rows, j->file, j->reader.format == FORMAT_CSV, j->t->conf->server.max_body_bytes);
    while ((rc = rows_next(&rows)) > 0)
        if (rows.fault || rows.fields_n > 1 || slice_trim(buf_slice(&rows.text)).n)
            j->counts.total++;
    if (!rc && j->reader.format == FORMAT_CSV && j->counts.total)
        j->counts.total--;
    rows_fini(&rows);
    rewind(j->file);
    return rc;
}

static int open_files(struct submit_job *j, struct err *e)
{
    const struct args *a = j->t->args;
    bool standard = strcmp(j->path, "-") == 0;
    const char *output = a->given & ARG_OUTPUT ? a->output : "-";
    uint64_t answers;
    j->file = standard ? stdin : fopen(j->path, "re");
    if (!j->file && errno == EACCES)
        return err_set(e, ERR_IO,
                       "User %u may not read %.250s; give -, with --format, and let the shell read it.",
                       (unsigned)geteuid(), j->path);
    if (!j->file)
        return err_set_errno(e, "Cannot read %.250s as user %u", j->path, (unsigned)geteuid());
    j->reader.format = a->given & ARG_FORMAT ? a->format : submit_format_of(j->path);
    int rc = count_lines(j);
    if (rc)
        return rc == ERR_NOMEM ? err_set(e, rc, "There is not enough memory for this.")
                               : err_set_errno(e, "Cannot read %.250s", j->path);
    rc = submit_reader_open(&j->reader, j->file, j->reader.format, j->t->conf->server.max_body_bytes, e);
    if (!rc)
        rc = submit_out_open(&j->out, output, &j->ids, &answers, e);
    show_init(&j->show, isatty(STDERR_FILENO) && !isatty(j->out.fd), clock_mono_us());
    return rc;
}

static enum ctl_exit run(struct submit_job *j)
{
    struct submit_run r = {.options = &j->options,
                           .link = &j->t->link,
                           .reader = &j->reader,
                           .out = &j->out,
                           .show = &j->show,
                           .counts = &j->counts,
                           .ids = &j->ids};
    struct err e = {0};
    /* Until then nothing is under way, and a signal simply ends the program. */
    int rc = open_files(j, &e);
    if (!rc)
        rc = catch_signals(j->t, &e);
    return rc ? ctl_say(CTL_FAILED, "%s", e.text) : finish(j, submit_run(&r, &e), &e);
}

enum ctl_exit submit_file(struct ctl *t)
{
    const struct args *a = t->args;
    struct submit_job j = {
        .t = t,
        .path = a->words[1],
        .out = {.fd = -1},
        .options = {.priority = a->given & ARG_PRIORITY ? a->priority : PRIORITY_LOW,
                    .username = a->username,
                    .id_prefix = a->id_prefix ? a->id_prefix : ID_PREFIX,
                    .concurrency = a->given & ARG_CONCURRENCY ? a->concurrency : CONCURRENCY}};
    enum ctl_exit code = a->given & ARG_KEY ? choose_key(&j) : CTL_DONE;
    if (code == CTL_DONE)
        code = run(&j);
    submit_reader_close(&j.reader);
    submit_out_close(&j.out);
    if (j.file && j.file != stdin)
        fclose(j.file);
    idset_fini(&j.ids);
    return code;
}
