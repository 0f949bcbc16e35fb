/* LINK: fcgi_app/coordinator/keyfile.c */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/keyfile.h"

static char dir[64], path[128];

static void make_dir(void)
{
    snprintf(dir, sizeof(dir), "/tmp/key-test-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/provider.key", dir);
}

static void remove_dir(void)
{
    unlink(path);
    rmdir(dir);
}

TestSuite(keyfile, .init = make_dir, .fini = remove_dir);

static int put(const struct saved_key *key)
{
    int rc = keyfile_prepare(dir, key, NULL);
    return rc < 0 ? rc : keyfile_keep(dir, key, NULL);
}

static void write_raw(const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
}

Test(keyfile, keeps_a_key_and_its_provider_privately)
{
    struct saved_key key = {.text = "sk-one", .kind = PROVIDER_OPENAI, .host = "https://a.example:8443"}, got;
    struct stat st;
    umask(0);
    cr_assert_eq(put(&key), 0);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(keyfile_read(dir, &got, NULL), 0);
    cr_assert_str_eq(got.text, "sk-one");
    cr_assert_eq(got.kind, PROVIDER_OPENAI);
    cr_assert_str_eq(got.host, "https://a.example:8443");
    cr_assert_not(got.hostless);
    key = (struct saved_key){.text = "AIza-two", .kind = PROVIDER_GEMINI};
    cr_assert_eq(put(&key), 0);
    cr_assert_eq(keyfile_read(dir, &got, NULL), 0);
    cr_assert_str_eq(got.text, "AIza-two");
    cr_assert_eq(got.kind, PROVIDER_GEMINI);
    cr_assert(!got.host[0] && !got.hostless, "the mock provider has none");
}

/* Whoever reads it finds out which host that was, or sends it nowhere. */
Test(keyfile, a_file_of_before_keys_had_a_host)
{
    struct saved_key got = {.host = "https://as.before"};
    write_raw("sk-one\nopenai\n", 0600);
    cr_assert_eq(keyfile_read(dir, &got, NULL), 0);
    cr_assert_str_eq(got.text, "sk-one");
    cr_assert(got.hostless && !got.host[0]);
    write_raw("sk-one\nopenai\nhttps://cut.example", 0600);
    cr_assert_eq(keyfile_read(dir, &got, NULL), 0);
    cr_assert(got.hostless && !got.host[0], "half a line is no host");
}

/* It goes into a header: nothing in it may begin another one. */
Test(keyfile, refuses_what_is_no_key)
{
    static const struct {
        const char *text;
        size_t n;
    } files[] = {
#define FILE_OF(text) {text, sizeof(text) - 1}
        FILE_OF("sk-one\r\nopenai\nhttps://a\n"),       FILE_OF("sk one\nopenai\nhttps://a\n"),
        FILE_OF("sk-one\0\nopenai\nhttps://a\n"),       FILE_OF("sk-\xc3\xa9\nopenai\nhttps://a\n"),
        FILE_OF("sk-one\topenai\nopenai\nhttps://a\n"), FILE_OF("\nopenai\nhttps://a\n"),
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct saved_key got;
        struct err e = {0};
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        cr_assert_eq(write(fd, files[i].text, files[i].n), (ssize_t)files[i].n);
        close(fd);
        cr_assert_eq(keyfile_read(dir, &got, &e), ERR_INVAL, "%zu", i);
        cr_assert_not_null(strstr(e.text, "put the key again"));
        cr_assert_null(strstr(e.text, "sk-"), "%s", e.text);
    }
}

Test(keyfile, an_empty_key_removes_the_file)
{
    struct saved_key key = {.text = "sk-one", .kind = PROVIDER_OPENAI}, none = {0}, got = key;
    cr_assert_eq(put(&key), 0);
    cr_assert_eq(put(&none), 0);
    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_eq(put(&none), 0, "twice is fine");
    cr_assert_eq(keyfile_read(dir, &got, NULL), 0);
    cr_assert_str_empty(got.text);
}

Test(keyfile, refuses_what_others_could_read_or_nobody_wrote)
{
    struct saved_key got = {.text = "as before"};
    struct err e = {0};
    write_raw("sk-one\nopenai\n", 0640);
    cr_assert_eq(keyfile_read(dir, &got, &e), ERR_PERM);
    cr_assert_not_null(strstr(e.text, "chmod 600"));
    for (const char *const *text = (const char *const[]){"sk-one", "sk-one\n", "sk-one\nnobody\n", "", NULL};
         *text; text++) {
        write_raw(*text, 0600);
        cr_assert_eq(keyfile_read(dir, &got, &e), ERR_INVAL, "%s", *text);
    }
    char longest[2 * CONF_TEXT + 60];
    memset(longest, 'k', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    write_raw(longest, 0600);
    cr_assert_eq(keyfile_read(dir, &got, &e), ERR_INVAL);
}

Test(keyfile, a_prepared_key_counts_only_once_it_is_kept)
{
    struct saved_key old = {.text = "sk-old", .kind = PROVIDER_OPENAI},
                     new = {.text = "sk-new", .kind = PROVIDER_OPENAI}, got;
    cr_assert_eq(put(&old), 0);
    cr_assert_eq(keyfile_prepare(dir, &new, NULL), 0);
    cr_assert_eq(keyfile_read(dir, &got, NULL), 0);
    cr_assert_str_eq(got.text, "sk-old");
    keyfile_drop(dir);
    cr_assert_lt(keyfile_keep(dir, &new, NULL), 0, "nothing is prepared any more");
    cr_assert_eq(keyfile_read(dir, &got, NULL), 0);
    cr_assert_str_eq(got.text, "sk-old");
}
