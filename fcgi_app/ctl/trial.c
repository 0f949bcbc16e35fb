/* A child goes first; see trial.h. */
#include "ctl/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/copy.h"

static void read_all(const char *dir, const struct store_options *reader, struct err *e)
{
    struct store *s = NULL;
    struct store_read *r = NULL;
    uint64_t records;
    int rc = store_open(dir, reader, &s, e);
    if (!rc)
        rc = store_read_begin(s, &r, e);
    if (!rc)
        rc = store_look_through(r, &records, e);
    store_read_end(r);
    store_close(s);
}

/* What the child has said is in *e. False: it ended without a word. */
static bool hear(pid_t child, int fd, struct err *e)
{
    struct err said;
    ssize_t n;
    while ((n = read(fd, &said, sizeof(said))) < 0 && errno == EINTR)
        ;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    if (n == sizeof(said))
        *e = said;
    return n == sizeof(said);
}

int trial_read(const char *dir, const struct store_options *reader, struct err *e)
{
    struct err said = {0};
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return err_set_errno(e, "A pipe cannot be made");
    pid_t child = fork();
    if (child == 0) {
        read_all(dir, reader, &said);
        _exit(write(fds[1], &said, sizeof(said)) != sizeof(said));
    }
    if (child < 0)
        err_set_errno(&said, "A process to look through %s cannot be started", dir);
    close(fds[1]);
    if (child > 0 && !hear(child, fds[0], &said))
        err_set(&said, ERR_CORRUPT, "%.250s/data.mdb is damaged, or was cut short: nobody can read it.", dir);
    close(fds[0]);
    return said.code ? err_set(e, said.code, "%s", said.text) : 0;
}
