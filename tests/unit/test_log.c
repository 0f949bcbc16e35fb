/* The programs' log: one JSON line an event, levels, long and hostile messages, errors of opening. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "json/read.h"

static char directory[] = "/tmp/carpool-test-log-XXXXXX", path[64];
static char text[1 << 20];

static void begin(void)
{
    struct err e = {0};
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/log", directory);
    cr_assert_eq(log_open("tester", LOG_LEVEL_INFO, path, &e), 0, "%s", e.text);
}

static void end(void)
{
    log_close();
    unlink(path);
    rmdir(directory);
}

TestSuite(log, .init = begin, .fini = end);

static size_t read_log(void)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    cr_assert_geq(n, 0);
    text[n] = 0;
    return (size_t)n;
}

static cJSON *only_line(void)
{
    cJSON *line = NULL;
    struct err e = {0};
    size_t n = read_log();
    cr_assert_gt(n, 0);
    cr_assert_eq(text[n - 1], '\n');
    cr_assert_eq(json_parse((struct slice){text, n - 1}, &line, &e), 0, "%s: %s", e.text, text);
    return line;
}

static const char *field(const cJSON *line, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(line, key));
}

Test(log, writes_one_json_line)
{
    log_write(LOG_LEVEL_WARNING, "id-1", "It is %s: \"%d\"\n", "so", 5);
    cJSON *line = only_line();
    cr_assert_str_eq(field(line, "level"), "warning");
    cr_assert_str_eq(field(line, "program"), "tester");
    cr_assert_str_eq(field(line, "request_id"), "id-1");
    cr_assert_str_eq(field(line, "message"), "It is so: \"5\"\n");
    cr_assert_eq(strlen(field(line, "time")), 24);
    cr_assert_eq(cJSON_GetObjectItem(line, "pid")->valuedouble, getpid());
    cJSON_Delete(line);
}

Test(log, without_a_request_id)
{
    log_error("x");
    cJSON *line = only_line();
    cr_assert(cJSON_IsNull(cJSON_GetObjectItem(line, "request_id")));
    cr_assert_str_eq(field(line, "level"), "error");
    cJSON_Delete(line);
}

Test(log, leaves_out_what_is_less_important)
{
    log_debug("not this");
    cr_assert_eq(read_log(), 0);
    log_info("this");
    cr_assert_gt(read_log(), 0);
}

Test(log, keeps_errno)
{
    errno = ENOSPC;
    log_info("x");
    cr_assert_eq(errno, ENOSPC);
    log_debug("x");
    cr_assert_eq(errno, ENOSPC);
}

static void expect_cut(const char *character, int times)
{
    char *message = malloc(strlen(character) * (size_t)times + 1);
    message[0] = 0;
    for (int i = 0; i < times; i++)
        strcpy(message + (size_t)i * strlen(character), character);
    log_info("%s", message);
    cJSON *line = only_line();
    size_t n = strlen(text);
    cr_assert(n <= 4096 && n > 4080, "%zu bytes", n);
    const char *got = field(line, "message");
    cr_assert_eq(strlen(got) % strlen(character), 0);
    cr_assert_eq(strncmp(got, message, strlen(got)), 0);
    cJSON_Delete(line);
    free(message);
}

Test(log, cuts_plain_text)
{
    expect_cut("a", 5000);
}

Test(log, cuts_between_characters)
{
    expect_cut("\xe2\x82\xac", 2000);
}

Test(log, cuts_between_escapes)
{
    expect_cut("\x01", 5000);
}

/* Whatever room is left at the end, half an escape never stands there. */
Test(log, cuts_between_escapes_at_every_room)
{
    char message[4000];
    for (size_t lead = 0; lead < 8; lead++) {
        memset(message, '\n', sizeof(message));
        memset(message, 'a', lead);
        message[sizeof(message) - 1] = 0;
        cr_assert_eq(truncate(path, 0), 0);
        log_info("%s", message);
        cJSON_Delete(only_line());
    }
}

Test(log, long_ids_and_bytes_that_are_no_text)
{
    char id[1000];
    memset(id, '"', sizeof(id));
    id[sizeof(id) - 1] = 0;
    log_write(LOG_LEVEL_INFO, id, "%s", "a\xff");
    cJSON *line = only_line();
    cr_assert_eq(strlen(field(line, "request_id")), 128);
    cr_assert_str_eq(field(line, "message"), "a\xef\xbf\xbd");
    cJSON_Delete(line);
}

static void *write_many(void *arg)
{
    for (int i = 0; i < 200; i++)
        log_info("thread %s line %d", (const char *)arg, i);
    return NULL;
}

Test(log, threads_do_not_mix_lines)
{
    pthread_t threads[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_many, (void *)(uintptr_t)names[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    int lines = 0;
    read_log();
    for (char *save = NULL, *at = strtok_r(text, "\n", &save); at;
         at = strtok_r(NULL, "\n", &save), lines++) {
        cJSON *line = NULL;
        cr_assert_eq(json_parse(slice_of(at), &line, NULL), 0, "%s", at);
        cJSON_Delete(line);
    }
    cr_assert_eq(lines, 800);
}

Test(log, the_file_is_private_and_appended_to)
{
    struct stat st;
    struct err e = {0};
    log_info("first");
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(log_open("tester", LOG_LEVEL_INFO, path, &e), 0);
    log_info("second");
    read_log();
    cr_assert_not_null(strstr(text, "first"));
    cr_assert_not_null(strstr(text, "second"));
}

Test(log, says_which_file_cannot_be_opened)
{
    struct err e = {0};
    cr_assert_eq(log_open("tester", LOG_LEVEL_INFO, "/nowhere/at/all", &e), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(e.text, "/nowhere/at/all"));
    /* The old one goes on. */
    log_info("still here");
    read_log();
    cr_assert_not_null(strstr(text, "still here"));
}

Test(log, levels_by_name)
{
    enum log_level level = LOG_LEVEL_ERROR;
    cr_assert_eq(log_level_parse("Debug", &level), 0);
    cr_assert_eq(level, LOG_LEVEL_DEBUG);
    cr_assert_eq(log_level_parse("WARN", &level), 0);
    cr_assert_eq(level, LOG_LEVEL_WARNING);
    cr_assert_eq(log_level_parse("loud", &level), ERR_INVAL);
    cr_assert_eq(level, LOG_LEVEL_WARNING);
}
