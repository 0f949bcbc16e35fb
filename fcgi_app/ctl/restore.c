/*
 * carpoolctl restore: a backup takes the place of the store. It is copied beside the store, checked and read
 * to its end before anything is exchanged, and what was there is kept. The lock of the storage directory is
 * held all the time, so that no coordinator starts in between; workers notice that their files are gone and
 * make way for new ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/lock.h"
#include "ctl/restore.h"
#include "ctl/running.h"
#include "ctl/seal.h"
#include "json/write.h"

#define PIECE      (64u << 10)
#define PAGE       4096 /* bytes; data.mdb consists of the pages of a machine, and no machine has smaller ones */
#define FRESH      "restore.new"
#define KEPT       "restored"
#define OUTPUT_MAX 8192
#define KEPT_TRIES 100 /* of one second */
#define NAME_SIZE  (PATH_MAX + 64)

struct restore {
    struct ctl *t;
    const char *dir;
    char fresh[NAME_SIZE]; /* directory of the store to be */
    char kept[NAME_SIZE];  /* directory of what was there; empty: nothing was */
    struct buf key;        /* provider.key of the backup */
    bool sealed;
    struct seal seal;
    struct restored result;
};

static void path_in(const char *dir, const char *name, char ret_path[NAME_SIZE])
{
    snprintf(ret_path, NAME_SIZE, "%.4000s/%s", dir, name);
}

static void remove_in(const char *dir, const char *name)
{
    char path[NAME_SIZE];
    path_in(dir, name, path);
    (void)!unlink(path);
}

/* Also what a restore that was killed has left. */
static void remove_fresh(const struct restore *v)
{
    remove_in(v->fresh, "data.mdb");
    remove_in(v->fresh, "lock.mdb");
    (void)!rmdir(v->fresh);
}

/* ---- the backup comes in ---- */

static int copy_bytes(int from, int to, struct err *e)
{
    char *piece = malloc(PIECE);
    ssize_t n = 0;
    int rc = piece ? 0 : err_set(e, ERR_NOMEM, "There is not enough memory.");
    while (!rc && ((n = read(from, piece, PIECE)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0)
            rc = seal_write(to, piece, (size_t)n, e);
    if (!rc && n < 0)
        rc = err_set_errno(e, "The backup cannot be read");
    free(piece);
    return rc;
}

/* Takes seal and key off, so that a bare data.mdb is left. */
static int unseal(struct restore *v, int fd, struct err *e)
{
    struct stat st;
    int rc = seal_check(fd, &v->seal, e);
    if (rc == ERR_NOT_FOUND && !fstat(fd, &st) && st.st_size % PAGE)
        return err_set(e, ERR_CORRUPT, "There is no store in this file, or it was cut short.");
    if (rc == ERR_NOT_FOUND) {
        ctl_say(CTL_DONE,
                "This file has no seal, so it is a bare data.mdb or was cut short: that all of it is as "
                "it was cannot be known.");
        return 0;
    }
    if (rc)
        return rc;
    v->sealed = true;
    if (v->seal.schema > STORE_SCHEMA_VERSION)
        return err_set(e, ERR_INVAL,
                       "The backup was made by a newer version of this program (format %u, this one reads up "
                       "to %d); install that version.",
                       v->seal.schema, STORE_SCHEMA_VERSION);
    rc = seal_read_key(fd, &v->seal, &v->key, e);
    if (!rc && ftruncate(fd, (off_t)v->seal.data_bytes))
        rc = err_set_errno(e, "The backup cannot be unpacked");
    return rc;
}

static int bring_in(struct restore *v, const char *file, struct err *e)
{
    char path[NAME_SIZE];
    bool standard = !strcmp(file, "-");
    int from = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC), to = -1, rc = 0;
    if (from < 0)
        return err_set_errno(e, "Cannot open %s", file);
    remove_fresh(v);
    path_in(v->fresh, "data.mdb", path);
    if (mkdir(v->fresh, 0700) || (to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        rc = err_set_errno(e, "The backup cannot be unpacked at %s", v->fresh);
    if (!rc)
        rc = copy_bytes(from, to, e);
    if (!rc)
        rc = unseal(v, to, e);
    if (!rc && fsync(to))
        rc = err_set_errno(e, "The backup cannot be written");
    if (to >= 0)
        close(to);
    if (!standard)
        close(from);
    return rc;
}

/* ---- the exchange ---- */

/* Not the provider's key: a copy of it would lie around for longer than anybody knows of it. */
static int keep_old(struct restore *v, struct err *e)
{
    char path[NAME_SIZE], to[NAME_SIZE], stamp[48];
    size_t n;
    time_t now = (time_t)(clock_real_us() / US_PER_S);
    struct tm utc;
    path_in(v->dir, "data.mdb", path);
    if (access(path, F_OK) && errno == ENOENT) {
        v->kept[0] = 0;
        return 0;
    }
    path_in(v->dir, KEPT, v->kept);
    if (mkdir(v->kept, 0700) && errno != EEXIST)
        return err_set_errno(e, "What is there cannot be kept at %s", v->kept);
    gmtime_r(&now, &utc);
    n = strftime(stamp, sizeof(stamp), KEPT "/%Y%m%dT%H%M%SZ", &utc);
    int made = -1;
    for (int i = 2; made && i < KEPT_TRIES; i++) {
        path_in(v->dir, stamp, v->kept);
        made = mkdir(v->kept, 0700);
        if (made && errno != EEXIST)
            break;
        snprintf(stamp + n, sizeof(stamp) - n, ".%d", i);
    }
    if (made)
        return err_set_errno(e, "What is there cannot be kept at %s", v->kept);
    path_in(v->kept, "data.mdb", to);
    if (link(path, to)) /* a second name: the first one is never missing */
        return err_set_errno(e, "What is there cannot be kept as %s", to);
    return dir_sync(v->kept, e);
}

static int put_key(const struct restore *v, struct err *e)
{
    char fresh[NAME_SIZE], path[NAME_SIZE];
    path_in(v->dir, "provider.key.new", fresh);
    path_in(v->dir, "provider.key", path);
    (void)!unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(e, "The provider's key cannot be written");
    int rc = seal_write(fd, v->key.data, v->key.len, e);
    if (!rc && fsync(fd))
        rc = err_set_errno(e, "The provider's key cannot be written");
    close(fd);
    return !rc && rename(fresh, path) ? err_set_errno(e, "The provider's key cannot be written") : rc;
}

/* A lock file belongs to one data.mdb: with another one LMDB would take old pages for new ones. So the old
 * one goes first, and with it one that somebody has made before the exchange was over; who has that open is
 * found out by store_is_there(). */
static int exchange(struct restore *v, struct err *e)
{
    char from[NAME_SIZE], to[NAME_SIZE];
    int rc = keep_old(v, e);
    if (!rc && v->key.len)
        rc = put_key(v, e);
    if (rc)
        return rc;
    path_in(v->fresh, "data.mdb", from);
    path_in(v->dir, "data.mdb", to);
    remove_in(v->dir, "lock.mdb");
    if (rename(from, to))
        return err_set_errno(e, "The store cannot be put at %s", to);
    remove_in(v->dir, "lock.mdb");
    return dir_sync(v->dir, e);
}

/* ---- what is said of it ---- */

static enum ctl_exit tell_json(const struct restore *v)
{
    char made[CLOCK_RFC3339_SIZE];
    struct json_writer w;
    struct buf out;
    enum ctl_exit code = CTL_DONE;
    clock_format_rfc3339(v->seal.made_us, made);
    buf_init(&out, OUTPUT_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_field_cstr(&w, "made", v->sealed ? made : NULL);
    json_field_bool(&w, "sealed", v->sealed);
    json_field_cstr(&w, "kept", v->kept[0] ? v->kept : NULL);
    json_field_u64(&w, "records", v->result.records);
    json_field_u64(&w, "chats", v->result.chats);
    json_field_u64(&w, "epoch", v->result.epoch);
    json_field_u64(&w, "requests_queued", v->result.still_queued);
    json_field_u64(&w, "requests_unknown", v->result.unknown);
    json_field_u64(&w, "requests_carried", v->result.carried);
    json_field_u64(&w, "keys_carried", v->result.keys);
    json_field_bool(&w, "provider_key", v->key.len);
    json_object_end(&w);
    buf_append_text(&out, "\n");
    if (buf_failed(&out) || ctl_write(out.data, out.len))
        code =
            ctl_say(CTL_FAILED, "The store is restored, but this could not be written to standard output.");
    buf_fini(&out);
    return code;
}

static enum ctl_exit tell(const struct restore *v)
{
    char made[CLOCK_RFC3339_SIZE] = "an unknown time";
    if (v->t->args->json)
        return tell_json(v);
    if (v->sealed)
        clock_format_rfc3339(v->seal.made_us, made);
    ctl_say(CTL_DONE, "The store is that of %s: %llu chats, %llu records, epoch %llu.", made,
            (unsigned long long)v->result.chats, (unsigned long long)v->result.records,
            (unsigned long long)v->result.epoch);
    if (v->kept[0])
        ctl_say(CTL_DONE, "What was there is in %.300s; remove it when it is not needed any more.", v->kept);
    ctl_say(
        CTL_DONE,
        "Request ids: %llu that were under way are answered by 424 OUTCOME_UNKNOWN, since they may have been "
        "paid for; %llu that still wait will run.",
        (unsigned long long)v->result.unknown, (unsigned long long)v->result.still_queued);
    if (v->result.has_old)
        ctl_say(
            CTL_DONE,
            "%llu others that were sent, answered or deleted after the backup are answered by 424 or 410, "
            "and not paid again.",
            (unsigned long long)v->result.carried);
    else
        ctl_say(CTL_DONE,
                "What was answered after the backup is forgotten: such an id, sent again, runs and is paid "
                "again.");
    if (v->result.keys)
        ctl_say(CTL_DONE,
                "API keys: %llu are as they are now and not as in the backup, which brings none back.",
                (unsigned long long)v->result.keys);
    if (v->key.len)
        ctl_say(CTL_DONE, "The provider's key was in the backup and is in force.");
    if (v->t->conf->redis.enabled)
        ctl_say(CTL_DONE,
                "Other machines know what they knew: what they alone answered meanwhile is taken over from "
                "Redis as far as it is still there.");
    return CTL_DONE;
}

static int held(const struct restore *v, struct err *e)
{
    long pid = lock_held_by(v->dir);
    if (running_is_restore(pid))
        return err_set(e, ERR_EXISTS, "A restore runs (process %ld); wait for its end.", pid);
    return err_set(
        e, ERR_EXISTS,
        "A coordinator runs (process %ld). Under systemd: `systemctl stop carpoold`. Elsewhere stop the web "
        "server, so that no prompt starts another one, then `" CTL_PROGRAM " drain`. Then restore.",
        pid);
}

enum ctl_exit restore_run(struct ctl *t)
{
    struct restore v = {.t = t, .dir = t->conf->storage.dir};
    struct err e = {0};
    int lock_fd = -1;
    buf_init(&v.key, SEAL_KEY_MAX);
    path_in(v.dir, FRESH, v.fresh);
    int rc = lock_take(v.dir, &lock_fd, &e);
    if (rc == ERR_EXISTS)
        rc = held(&v, &e);
    if (rc)
        return ctl_say(CTL_FAILED, "%s", e.text);
    rc = bring_in(&v, t->args->words[1], &e);
    if (!rc)
        rc = restore_succeed(t, v.fresh, v.sealed, &v.result, &e);
    ctl_close_store(t);
    if (!rc)
        rc = exchange(&v, &e);
    remove_fresh(&v);
    if (rc)
        ctl_say(CTL_FAILED, "%s", e.text);
    else if (tell(&v) != CTL_DONE)
        rc = ERR_IO;
    ctl_wipe(&v.key);
    close(lock_fd);
    return rc ? CTL_FAILED : CTL_DONE;
}
