/* The file of answers; see submit_out.h. */
#include "ctl/submit_out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "json/read.h"
#include "json/write.h"

#define LINE_MAX_BYTES (96u << 20) /* an answer's text, each byte of it escaped */

/* ---- what an earlier run left ---- */

enum kind { KIND_ANSWER, KIND_ERROR, KIND_STRANGE };

static int classify(struct slice line, enum kind *ret_kind, uint8_t ret_key[IDSET_KEY])
{
    cJSON *root = NULL;
    int rc = json_parse(line, &root, NULL);
    *ret_kind = KIND_STRANGE;
    if (rc)
        return rc == ERR_NOMEM ? rc : 0;
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(root, "request_id");
    bool ours = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(root, "line"));
    if (ours && cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(root, "error")))
        *ret_kind = KIND_ERROR;
    else if (ours && cJSON_IsString(id) && cJSON_GetObjectItemCaseSensitive(root, "text")) {
        *ret_kind = KIND_ANSWER;
        idset_key_of(slice_of(id->valuestring), ret_key);
    }
    cJSON_Delete(root);
    return 0;
}

/* The front of a line that a killed run could not finish. */
static bool is_cut_short(const struct rows *r)
{
    static const char front[] = "{\"line\":";
    struct slice text = buf_slice(&r->text);
    size_t n = text.n < sizeof(front) - 1 ? text.n : sizeof(front) - 1;
    return r->torn && memcmp(text.p, front, n) == 0;
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "There is not enough memory for this.");
}

/* One pass over what is there. copy: answers are written there as well; NULL: not wanted. *ret_dirty: there
 * are lines that are not to stay. */
static int go_through(FILE *file, const char *path, FILE *copy, struct idset *done, bool *ret_dirty,
                      struct err *e)
{
    struct rows rows;
    int rc;
    rows_init(&rows, file, false, LINE_MAX_BYTES);
    while ((rc = rows_next(&rows)) > 0) {
        struct slice text = buf_slice(&rows.text);
        uint8_t key[IDSET_KEY];
        enum kind kind;
        if ((rc = rows.fault ? 0 : classify(text, &kind, key)))
            break;
        if (rows.fault || (kind == KIND_STRANGE && !is_cut_short(&rows))) {
            rc = err_set(e, ERR_INVAL,
                         "%.250s holds other things than answers (line %llu); name another file with "
                         "--output.",
                         path, (unsigned long long)rows.number);
            break;
        }
        if (rows.torn || kind == KIND_ERROR)
            *ret_dirty = true;
        else if ((rc = idset_put(done, key, 1)))
            break;
        else if (copy && (fwrite(text.p, 1, text.n, copy) != text.n || putc('\n', copy) == EOF)) {
            rc = ERR_IO;
            break;
        }
    }
    rows_fini(&rows);
    if (rc == ERR_IO)
        return err_set_errno(e, "The answers in %.250s cannot be gone through", path);
    return rc == ERR_NOMEM ? no_memory(e) : rc;
}

/* Whether path is still the file that fd has: another run may have put a new one there. */
static bool is_at(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int lock(int fd, const char *path, struct err *e)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_at(fd, path))
        return 0;
    return err_set(e, ERR_EXISTS, "Another run writes to %.250s; wait for its end or name another file.",
                   path);
}

static int copy_answers(struct submit_out *o, FILE *file, const char *path, const char *new_path,
                        struct idset *done, struct err *e)
{
    struct stat st;
    bool dirty;
    /* What is there is of a run that was killed, or a trap: it is not followed. */
    (void)!unlink(new_path);
    int fd = open(new_path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    FILE *copy = fd >= 0 ? fdopen(fd, "a") : NULL;
    if (!copy) {
        if (fd >= 0)
            close(fd);
        return err_set_errno(e, "Cannot write %.250s", new_path);
    }
    rewind(file);
    int rc = go_through(file, path, copy, done, &dirty, e);
    int kept = rc ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (!rc && (kept < 0 || fflush(copy) || fstat(o->fd, &st) || fchmod(fd, st.st_mode & 0777) || fsync(fd) ||
                flock(kept, LOCK_EX | LOCK_NB) || rename(new_path, path)))
        rc = err_set_errno(e, "Cannot write %.250s", new_path);
    fclose(copy);
    if (rc) {
        if (kept >= 0)
            close(kept);
        unlink(new_path);
        return rc;
    }
    close(o->fd);
    o->fd = kept;
    return 0;
}

/* A new file takes the place of the old one, so that a kill leaves one of the two. */
static int take_over(struct submit_out *o, const char *path, struct idset *done, struct err *e)
{
    char real[PATH_MAX], new_path[PATH_MAX + 16];
    bool dirty = false;
    int fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!file) {
        if (fd >= 0)
            close(fd);
        return err_set_errno(e, "Cannot read %.250s", path);
    }
    int rc = go_through(file, path, NULL, done, &dirty, e);
    if (!rc && dirty && !realpath(path, real))
        rc = err_set_errno(e, "Cannot find %.250s", path);
    if (!rc && dirty) {
        snprintf(new_path, sizeof(new_path), "%s.carpool-new", real);
        rc = copy_answers(o, file, real, new_path, done, e);
    }
    fclose(file);
    return rc;
}

int submit_out_open(struct submit_out *o, const char *path, struct idset *done, uint64_t *ret_answers,
                    struct err *e)
{
    struct stat st;
    bool standard = path[0] == '-' && !path[1];
    *o = (struct submit_out){.fd = -1};
    buf_init(&o->line, LINE_MAX_BYTES);
    *ret_answers = 0;
    o->fd = standard ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                     : open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (o->fd < 0)
        return err_set_errno(e, "Cannot write %.250s as user %u", path, (unsigned)geteuid());
    o->lasting = !standard && fstat(o->fd, &st) == 0 && S_ISREG(st.st_mode);
    int rc = o->lasting ? lock(o->fd, path, e) : 0;
    if (!rc && o->lasting)
        rc = take_over(o, path, done, e);
    if (rc)
        submit_out_close(o);
    else
        *ret_answers = done->n;
    return rc;
}

void submit_out_close(struct submit_out *o)
{
    if (o->fd >= 0) {
        if (o->lasting)
            (void)!fsync(o->fd);
        close(o->fd);
    }
    o->fd = -1;
    buf_fini(&o->line);
}

/* ---- new lines ---- */

static int write_line(struct submit_out *o, struct err *e)
{
    buf_append_byte(&o->line, '\n');
    if (buf_failed(&o->line))
        return no_memory(e);
    for (size_t at = 0; at < o->line.len;) {
        ssize_t n = write(o->fd, o->line.data + at, o->line.len - at);
        /* EINTR, too: only a signal that ends the run is caught, and nobody may read from a pipe. */
        if (n < 0)
            return err_set_errno(e, "The answers cannot be written");
        at += (size_t)n;
    }
    return 0;
}

static void begin(struct submit_out *o, struct json_writer *w, const struct submit_line *l)
{
    buf_clear(&o->line);
    json_writer_init(w, &o->line);
    json_object_begin(w);
    json_field_u64(w, "line", l->number);
    json_field_text(w, "request_id", l->fields[FIELD_REQUEST_ID]);
}

/* The names are those of POST /v1/query. */
int submit_out_answer(struct submit_out *o, const struct submit_line *l, const struct chat *c, bool replayed,
                      struct err *e)
{
    struct json_writer w;
    char completed[CLOCK_RFC3339_SIZE], batch[UUID_TEXT_SIZE];
    clock_format_rfc3339(c->time_us, completed);
    uuid_format(&c->batch_id, batch);
    begin(o, &w, l);
    json_field_text(&w, "username", c->username);
    json_field_text(&w, "text", c->text);
    json_field_u64(&w, "tokens_used", c->prompt_tokens + c->completion_tokens);
    json_field_text(&w, "finish_reason", c->finish_reason);
    json_key(&w, "latency_ms");
    json_us_as_ms(&w, c->latency_us);
    json_field_text(&w, "created_at", c->created_at);
    json_field_cstr(&w, "completed_at", completed);
    json_field_text(&w, "model", c->model);
    json_field_bool(&w, "cached", c->cached);
    json_field_bool(&w, "replayed", replayed);
    json_field_cstr(&w, "batch_id", batch);
    json_field_cstr(&w, "priority", conf_priority_name(c->priority));
    if (c->metadata.p) {
        json_key(&w, "metadata");
        json_raw(&w, c->metadata);
    }
    json_object_end(&w);
    return write_line(o, e);
}

int submit_out_refusal(struct submit_out *o, const struct submit_line *l, const struct wire_refusal *r,
                       const char *hint, struct err *e)
{
    struct json_writer w;
    begin(o, &w, l);
    json_key(&w, "error");
    json_object_begin(&w);
    json_field_u64(&w, "status", r->status);
    json_field_text(&w, "error_type", r->error_type);
    json_field_text(&w, "error_code", r->error_code);
    json_field_text(&w, "message", r->message);
    if (hint)
        json_field_cstr(&w, "hint", hint);
    json_object_end(&w);
    json_object_end(&w);
    return write_line(o, e);
}
