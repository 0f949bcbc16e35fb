/* The stored provider key; see keyfile.h. */
#include "coordinator/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"

#define FRESH      "provider.key.new"
#define FILE_BYTES (2 * CONF_TEXT + 64)

static int key_path(const char *dir, const char *name, char ret_path[PATH_MAX], struct err *e)
{
    if (snprintf(ret_path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return err_set(e, ERR_INVAL, "The storage directory's name is too long: %s.", dir);
    return 0;
}

/* It goes into a header of HTTP. */
static bool is_key(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f)
            return false;
    return n > 0 && n < CONF_TEXT;
}

/* Takes the lines apart. Those that an earlier version wrote are two. */
static int parse(char *text, size_t n, const char *path, struct saved_key *ret_key, struct err *e)
{
    bool cut = strlen(text) != n;
    char *rest = text, *key = strsep(&rest, "\n"), *kind = strsep(&rest, "\n");
    char *host = rest ? strsep(&rest, "\n") : NULL;
    struct saved_key k = {.hostless = !host || !rest};
    if (cut || !is_key(key) || !kind || conf_provider_parse(kind, &k.kind) < 0 ||
        (!k.hostless && strlen(host) >= sizeof(k.host)))
        return err_set(e, ERR_INVAL,
                       "%s is not what PUT /v1/settings writes: a line with the key, a line with the "
                       "provider's name, a line with its host. Remove it and put the key again.",
                       path);
    strcpy(k.text, key);
    if (!k.hostless)
        strcpy(k.host, host);
    *ret_key = k;
    sodium_memzero(&k, sizeof(k));
    return 0;
}

int keyfile_read(const char *dir, struct saved_key *ret_key, struct err *e)
{
    char path[PATH_MAX], text[FILE_BYTES];
    struct stat st;
    int rc = key_path(dir, "provider.key", path, e);
    if (rc < 0)
        return rc;
    *ret_key = (struct saved_key){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set_errno(e, "Cannot open %s", path);
    ssize_t n = -1;
    if (fstat(fd, &st) < 0)
        rc = err_set_errno(e, "Cannot look at %s", path);
    else if (st.st_mode & 077)
        rc = err_set(e, ERR_PERM, "%s can be read by others; run: chmod 600 %s", path, path);
    else if ((n = read(fd, text, sizeof(text) - 1)) < 0)
        rc = err_set_errno(e, "Cannot read %s", path);
    close(fd);
    if (rc == 0) {
        text[n] = 0;
        rc = parse(text, (size_t)n, path, ret_key, e);
    }
    sodium_memzero(text, sizeof(text));
    return rc;
}

int keyfile_prepare(const char *dir, const struct saved_key *key, struct err *e)
{
    char fresh[PATH_MAX], text[FILE_BYTES];
    int rc = key_path(dir, FRESH, fresh, e);
    if (rc < 0 || !key->text[0])
        return rc;
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(e, "Cannot create %s", fresh);
    int n = snprintf(text, sizeof(text), "%s\n%s\n%s\n", key->text, conf_provider_name(key->kind), key->host);
    if (fchmod(fd, 0600) < 0 || write(fd, text, (size_t)n) != n || fsync(fd) < 0)
        rc = err_set_errno(e, "Cannot write %s", fresh);
    close(fd);
    sodium_memzero(text, sizeof(text));
    if (rc < 0)
        unlink(fresh);
    return rc;
}

int keyfile_keep(const char *dir, const struct saved_key *key, struct err *e)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    int rc = key_path(dir, "provider.key", path, e);
    if (rc == 0)
        rc = key_path(dir, FRESH, fresh, e);
    if (rc < 0)
        return rc;
    if (key->text[0] ? rename(fresh, path) < 0 : unlink(path) < 0 && errno != ENOENT)
        return err_set_errno(e, "Cannot replace %s", path);
    return dir_sync(dir, e);
}

void keyfile_drop(const char *dir)
{
    char fresh[PATH_MAX];
    if (key_path(dir, FRESH, fresh, NULL) == 0)
        unlink(fresh);
}
