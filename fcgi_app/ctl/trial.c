/* A child goes first; see trial.h. */
#include "ctl/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/copy.h"

static int read_all(const char *dir, const struct store_options *reader, struct err *e)
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
    return rc;
}

/* What the child has said, or what it means that it ended without a word. */
static int hear(pid_t child, int fd, const char *dir, struct err *e)
{
    struct err said;
    ssize_t n;
    int status = 0;
    while ((n = read(fd, &said, sizeof(said))) < 0 && errno == EINTR)
        ;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (n == sizeof(said))
        return said.code ? err_set(e, said.code, "%s", said.text) : 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return err_set(e, ERR_AGAIN, "The process that looked through %.250s was killed.", dir);
    return err_set(e, ERR_CORRUPT, "%.250s/data.mdb is damaged, or was cut short: nobody can read it.", dir);
}

static int no_process(const char *dir, struct err *e)
{
    return err_set(e, ERR_AGAIN, "A process that looks through %.250s cannot be started: %s.", dir,
                   strerror(errno));
}

int trial_read(const char *dir, const struct store_options *reader, struct err *e)
{
    struct err said = {0};
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return no_process(dir, e);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGBUS, SIG_DFL); /* it is an answer here, and nobody's to report */
        signal(SIGSEGV, SIG_DFL);
        said.code = (enum err_code)read_all(dir, reader, &said);
        _exit(write(fds[1], &said, sizeof(said)) != sizeof(said));
    }
    int rc = child < 0 ? no_process(dir, e) : 0;
    close(fds[1]);
    if (!rc)
        rc = hear(child, fds[0], dir, e);
    close(fds[0]);
    return rc;
}
