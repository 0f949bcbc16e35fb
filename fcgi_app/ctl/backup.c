/*
 * carpoolctl backup: a copy of the store in one file, while everything runs. The file has no name until it is
 * whole, so a backup that was interrupted leaves nothing behind, and never half of one under the name.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dir.h"
#include "ctl/ctl.h"
#include "ctl/seal.h"
#include "store/chats.h"
#include "store/copy.h"
#include "json/write.h"

#define PIECE      (64u << 10)
#define OUTPUT_MAX 4096

struct backup {
    struct ctl *t;
    const char *file; /* "-": standard output */
    char dir[PATH_MAX], fresh[PATH_MAX];
    int fd;
    bool named; /* under `fresh`, where the file system knows no files without a name */
    struct seal seal;
    uint64_t chats, bytes;
};

static bool to_stdout(const struct backup *b)
{
    return !strcmp(b->file, "-");
}

/* What is there may be an older backup, or empty: never the store itself, or whatever else a slip of the
 * command line names. */
static int check_target(const struct backup *b, struct err *e)
{
    struct stat st;
    if (stat(b->file, &st))
        return 0; /* what is wrong with the name is found out in its turn */
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVAL, "%.250s is no file; to write into a pipe, give - and redirect.",
                       b->file);
    int fd = st.st_size ? open(b->file, O_RDONLY | O_CLOEXEC) : -1;
    bool backup = fd >= 0 && seal_is_there(fd);
    if (fd >= 0)
        close(fd);
    return backup || !st.st_size
               ? 0
               : err_set(e, ERR_EXISTS, "%.250s is no backup, so it is not overwritten.", b->file);
}

/* A file beside the one to be; for standard output, in the storage directory. */
static int open_fresh(struct backup *b, struct err *e)
{
    const char *slash = strrchr(b->file, '/');
    int rc = to_stdout(b) ? 0 : check_target(b, e);
    if (rc)
        return rc;
    if (to_stdout(b))
        snprintf(b->dir, sizeof(b->dir), "%s", b->t->conf->storage.dir);
    else
        snprintf(b->dir, sizeof(b->dir), "%.*s", slash ? (int)(slash - b->file) + (slash == b->file) : 1,
                 slash ? b->file : ".");
    if (snprintf(b->fresh, sizeof(b->fresh), "%s/.carpool-backup.%ld", b->dir, (long)getpid()) >=
        (int)sizeof(b->fresh))
        return err_set(e, ERR_INVAL, "The name of the file is too long.");
    b->fd = open(b->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (b->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT)) {
        b->fd = open(b->fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        b->named = b->fd >= 0;
    }
    if (b->fd >= 0)
        return 0;
    if (errno == EACCES && !to_stdout(b))
        return err_set(
            e, ERR_PERM,
            "The owner of the storage directory, as whom this runs, may not write into %.250s; give - "
            "and let the shell write the file.",
            b->dir);
    return err_set_errno(e, "The backup cannot be begun in %s", b->dir);
}

/* The provider's key as its file has it; none is no failure. */
static int append_key(struct backup *b, struct err *e)
{
    char path[PATH_MAX];
    struct buf text;
    snprintf(path, sizeof(path), "%.4000s/provider.key", b->t->conf->storage.dir);
    if (!b->t->args->with_provider_key || (access(path, F_OK) && errno == ENOENT))
        return 0;
    buf_init(&text, SEAL_KEY_MAX);
    int rc = ctl_read_file(path, &text, e);
    if (!rc)
        rc = seal_write(b->fd, buf_slice(&text).p, text.len, e);
    b->seal.key_bytes = (uint32_t)text.len;
    ctl_wipe(&text);
    return rc;
}

static int fill(struct backup *b, struct err *e)
{
    struct store_read *r = NULL;
    struct stat st;
    int rc = ctl_read(b->t, &r, e);
    if (!rc && !r)
        return err_set(e, ERR_NOT_FOUND, "There is no store in %.250s yet.", b->t->conf->storage.dir);
    if (!rc)
        rc = chats_count(r, &b->chats, e);
    store_read_end(r);
    if (!rc)
        rc = store_copy(b->t->store, b->fd, e);
    if (!rc && fstat(b->fd, &st))
        rc = err_set_errno(e, "The backup cannot be looked at");
    if (rc)
        return rc;
    b->seal.schema = STORE_SCHEMA_VERSION;
    b->seal.made_us = clock_real_us();
    b->seal.data_bytes = (uint64_t)st.st_size;
    rc = append_key(b, e);
    if (!rc)
        rc = seal_append(b->fd, &b->seal, e);
    b->bytes = b->seal.data_bytes + b->seal.key_bytes + SEAL_SIZE;
    return rc;
}

/* Durable first, then under its name: whoever finds it there finds all of it. */
static int name_it(struct backup *b, struct err *e)
{
    char nameless[64];
    snprintf(nameless, sizeof(nameless), "/proc/self/fd/%d", b->fd);
    if (fsync(b->fd))
        return err_set_errno(e, "The backup cannot be written");
    if (!b->named) {
        (void)!unlink(b->fresh); /* of a process that had this pid once */
        if (linkat(AT_FDCWD, nameless, AT_FDCWD, b->fresh, AT_SYMLINK_FOLLOW))
            return err_set_errno(e, "The backup cannot be put into %s", b->dir);
        b->named = true;
    }
    if (rename(b->fresh, b->file))
        return err_set_errno(e, "The backup cannot be put at %s", b->file);
    b->named = false;
    return dir_sync(b->dir, e);
}

static int pour_out(struct backup *b, struct err *e)
{
    char *piece = malloc(PIECE);
    ssize_t n = 0;
    int rc = !piece                          ? err_set(e, ERR_NOMEM, "There is not enough memory.")
             : lseek(b->fd, 0, SEEK_SET) < 0 ? err_set_errno(e, "The backup cannot be read")
                                             : 0;
    while (!rc && ((n = read(b->fd, piece, PIECE)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0 && ctl_write(piece, (size_t)n))
            rc = err_set(e, ERR_IO, "The backup could not be written to standard output.");
    if (!rc && n < 0)
        rc = err_set_errno(e, "The backup cannot be read");
    free(piece);
    return rc;
}

static enum ctl_exit tell(const struct backup *b)
{
    struct json_writer w;
    struct buf out;
    enum ctl_exit code = CTL_DONE;
    if (!b->t->args->json)
        return ctl_say(code, "%llu chats, %llu KiB. %s", (unsigned long long)b->chats,
                       (unsigned long long)(b->bytes >> 10),
                       b->seal.key_bytes ? "The provider's key is in the backup: whoever has it has the key."
                       : b->t->args->with_provider_key
                           ? "There is no provider key in the storage directory, so none is in the backup."
                           : "The provider's key is not in it (--with-provider-key).");
    buf_init(&out, OUTPUT_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_field_cstr(&w, "file", to_stdout(b) ? NULL : b->file);
    json_field_u64(&w, "bytes", b->bytes);
    json_field_u64(&w, "chats", b->chats);
    json_field_bool(&w, "provider_key", b->seal.key_bytes);
    json_object_end(&w);
    buf_append_text(&out, "\n");
    /* Standard output may be the backup. */
    if (buf_failed(&out) || (to_stdout(b) ? fputs(out.data, stderr) < 0 : ctl_write(out.data, out.len)))
        code = ctl_say(CTL_FAILED, "What was done could not be written.");
    buf_fini(&out);
    return code;
}

enum ctl_exit backup_make(struct ctl *t)
{
    struct backup b = {.t = t, .file = t->args->words[1], .fd = -1};
    struct err e = {0};
    if (to_stdout(&b) && isatty(STDOUT_FILENO))
        return ctl_say(CTL_USAGE,
                       "A backup is no text for a terminal: redirect standard output, or name a file");
    int rc = open_fresh(&b, &e);
    if (!rc)
        rc = fill(&b, &e);
    if (!rc)
        rc = to_stdout(&b) ? pour_out(&b, &e) : name_it(&b, &e);
    if (b.named)
        (void)!unlink(b.fresh);
    if (b.fd >= 0)
        close(b.fd);
    return rc ? ctl_say(CTL_FAILED, "%s", e.text) : tell(&b);
}
