/* The way to the store and to the coordinator; see ctl.h. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/failed_start.h"
#include "ctl/ctl.h"

#define ASK_LIMIT_US  (30 * US_PER_S)
#define ASK_TRIES     3
#define READ_SIZE     ((size_t)64 << 10)
#define READERS_SPARE 64 /* as the workers have it */

/* ---- who ---- */

/* Letters of a user's name; anything else would be a forgery in the trail. */
static bool is_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(text);
    return n > 0 && n <= 32 && strspn(text, letters) == n;
}

static void name_actor(char ret_actor[AUDIT_ACTOR_MAX + 1])
{
    const struct passwd *user = getpwuid(getuid());
    const char *sudo = getuid() == 0 ? getenv("SUDO_USER") : NULL;
    int n = user && is_name(user->pw_name)
                ? snprintf(ret_actor, AUDIT_ACTOR_MAX + 1, CTL_PROGRAM ", user %s", user->pw_name)
                : snprintf(ret_actor, AUDIT_ACTOR_MAX + 1, CTL_PROGRAM ", user %u", (unsigned)getuid());
    if (sudo && is_name(sudo))
        snprintf(ret_actor + n, AUDIT_ACTOR_MAX + 1 - (size_t)n, " (sudo by %s)", sudo);
}

/* A store, or a place for one: a key made in a directory of other things is missed where the service is. */
static int check_place(const char *dir, struct err *e)
{
    static const char *const before_the_first[] = {FAILED_START_FILE,
                                                   "coordinator.lock",
                                                   "coordinator.sock",
                                                   "health.json",
                                                   "lock.mdb",
                                                   "logs",
                                                   "lost+found",
                                                   "provider.key",
                                                   "restore.new",
                                                   "restored",
                                                   "run",
                                                   "run.lock",
                                                   NULL};
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    int failure = stat(path, &st) ? errno : 0;
    if (!failure || (failure == ENOENT && dir_holds_only(dir, before_the_first)))
        return 0;
    if (failure == EACCES)
        return err_set(e, ERR_PERM,
                       "The storage directory %.250s is another user's: run this as that user, or as root.",
                       dir);
    errno = failure;
    if (failure != ENOENT)
        return err_set_errno(e, "Cannot look into the storage directory %s", dir);
    return err_set(e, ERR_NOT_FOUND,
                   "%.250s holds other things and no keys: name carpool's storage directory with "
                   "CARPOOL_STORAGE_DIR or in carpool.conf, or start carpool once if this is the one.",
                   dir);
}

int ctl_become_owner(const struct conf *conf, struct err *e)
{
    struct stat st;
    const char *dir = conf->storage.dir;
    /* A key made in a directory that this very call made would be missed where the service is. */
    if (stat(dir, &st))
        return errno != ENOENT
                   ? err_set_errno(e, "Cannot look at the storage directory %s", dir)
                   : err_set(
                         e, ERR_NOT_FOUND,
                         "There is no storage directory %.250s: start carpool once, or name the one it uses "
                         "with CARPOOL_STORAGE_DIR or in carpool.conf.",
                         dir);
    int rc = check_place(dir, e);
    if (rc || geteuid() != 0 || st.st_uid == 0)
        return rc;
    const struct passwd *user = getpwuid(st.st_uid);
    gid_t group = user ? user->pw_gid : st.st_gid;
    if ((user ? initgroups(user->pw_name, group) : setgroups(0, NULL)) || setresgid(group, group, group) ||
        setresuid(st.st_uid, st.st_uid, st.st_uid))
        return err_set_errno(e, "Cannot turn into the owner of %s", dir);
    if (user)
        setenv("HOME", user->pw_dir, 1);
    return 0;
}

/* ---- the store ---- */

int ctl_init(struct ctl *t, const struct conf *conf, const struct args *args, struct err *e)
{
    *t = (struct ctl){.args = args, .conf = conf};
    name_actor(t->actor);
    int rc = ctl_become_owner(conf, e);
    if (!rc)
        rc = link_host_init(&t->host, conf, NULL, e);
    link_init(&t->link, &t->host);
    return rc;
}

bool ctl_started_it(const struct ctl *t)
{
    const struct autostart *a = &t->host.autostart;
    return a->finished && !a->rc && !a->by_other;
}

/* Its environment is that of this program, and maybe not that of the service: a provider's key could be
 * missing in it. The next prompt starts another one. */
static void end_coordinator(struct ctl *t)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    if (ctl_started_it(t) && !t->keep_coordinator && t->link.fd >= 0 &&
        getsockopt(t->link.fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && peer.pid > 1)
        kill(peer.pid, SIGTERM);
}

void ctl_fini(struct ctl *t)
{
    end_coordinator(t);
    link_fini(&t->link);
    link_host_fini(&t->host);
    ctl_close_store(t);
}

void ctl_close_store(struct ctl *t)
{
    store_close(t->store);
    t->store = NULL;
}

struct store_options ctl_reader_options(const struct conf *c)
{
    return (struct store_options){
        .access = STORE_READER,
        .map_max_bytes = c->storage.map_max_mib << 20,
        .readers_max = c->worker.processes * c->worker.threads + c->worker.manage_threads + READERS_SPARE,
    };
}

int ctl_read(struct ctl *t, struct store_read **ret_read, struct err *e)
{
    struct store_options options = ctl_reader_options(t->conf);
    int rc = t->store ? 0 : store_open(t->conf->storage.dir, &options, &t->store, e);
    if (rc == ERR_NOT_FOUND) {
        *ret_read = NULL;
        return 0;
    }
    return rc ? rc : store_read_begin(t->store, ret_read, e);
}

/* ---- the coordinator ---- */

static enum ctl_exit tell_refusal(const struct wire_refusal *r)
{
    enum ctl_exit code = r->status == 404 ? CTL_NOT_FOUND : CTL_FAILED;
    return ctl_say(code, "%.*s", (int)r->message.n, r->message.p);
}

/* again: an earlier try may have been carried out, so that what it made is there already. */
static enum ctl_exit take_answer(const struct wire_frame *frame, bool again, const char *look)
{
    struct wire_refusal r;
    if (frame->type == WIRE_DONE)
        return CTL_DONE;
    if (frame->type != WIRE_REFUSAL || wire_refusal_decode(frame->payload, &r))
        return ctl_say(
            CTL_UNCERTAIN,
            "The coordinator gave an answer that this version does not understand; install programs "
            "of one version and look at `" CTL_PROGRAM " %s`.",
            look);
    if (again && slice_is(r.error_code, "KEY_EXISTS"))
        return CTL_DONE;
    return tell_refusal(&r);
}

void ctl_wipe(struct buf *b)
{
    if (b->data)
        sodium_memzero(b->data, b->cap);
    buf_fini(b);
}

/* Sends the payload, several times if need be. */
static enum ctl_exit ask_for_change(struct ctl *t, enum wire_type type, struct slice payload,
                                    const char *look)
{
    struct wire_frame frame;
    struct err e = {0};
    uint64_t until_us = clock_mono_us() + ASK_LIMIT_US;
    bool asked = false;
    int rc = ERR_CLOSED;
    for (int i = 0; i < ASK_TRIES && rc == ERR_CLOSED; i++) {
        rc = link_connect(&t->link, LINK_AUTOSTART, until_us, &e);
        if (rc)
            break; /* not asked: also when it was before, nobody answers now */
        bool again = asked;
        asked = true;
        rc = link_ask(&t->link, LINK_AUTOSTART, type, payload, until_us, &frame, &e);
        if (!rc)
            return take_answer(&frame, again, look);
    }
    if (asked)
        return ctl_say(CTL_UNCERTAIN,
                       "%s It is not known whether the change was made: look at `" CTL_PROGRAM " %s`.",
                       e.text, look);
    if (rc == ERR_NOT_FOUND)
        return ctl_say(CTL_FAILED, "%s Start carpool, or set coordinator.autostart = on.", e.text);
    return ctl_say(CTL_FAILED, "%s", e.text);
}

enum ctl_exit ctl_change(struct ctl *t, enum wire_type type, struct slice document, const char *look)
{
    struct wire_change m = {.actor = slice_of(t->actor), .document = document};
    struct buf payload;
    enum ctl_exit code;
    buf_init(&payload, WIRE_MAX_PAYLOAD);
    wire_change_encode(&payload, &m);
    if (buf_failed(&payload))
        code = ctl_say(CTL_FAILED, "There is not enough memory for this.");
    else
        code = ask_for_change(t, type, buf_slice(&payload), look);
    ctl_wipe(&payload);
    if (t->link.out.data) /* it went through here, and may be a provider's key */
        sodium_memzero(t->link.out.data, t->link.out.cap);
    return code;
}

int ctl_read_file(const char *path, struct buf *out, struct err *e)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0)
        return err_set_errno(e, "Cannot open %s", path);
    for (;;) {
        char beyond;
        size_t room = out->max - out->len, step = room < READ_SIZE ? room : READ_SIZE;
        char *at = step ? buf_reserve(out, step) : &beyond;
        ssize_t n = at ? read(fd, at, step ? step : 1) : 0;
        if (!at)
            rc = err_set(e, ERR_NOMEM, "There is not enough memory for %s.", path);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0)
            rc = err_set_errno(e, "Cannot read %s", path);
        else if (n > 0 && !step)
            rc = err_set(e, ERR_LIMIT, "%s is larger than what belongs here (%zu bytes).", path, out->max);
        if (rc || n <= 0)
            break;
        buf_advance(out, (size_t)n);
    }
    if (!standard)
        close(fd);
    return rc;
}
