/* The store of a backup becomes the successor of the one that is there; see restore.h. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/restore.h"
#include "ctl/trial.h"
#include "store/chats.h"
#include "store/copy.h"
#include "store/meta.h"
#include "store/requests.h"

/* Of a store that cannot be asked how far it came: more starts of coordinators than any machine sees. */
#define EPOCHS_UNSEEN (1u << 20)

static const struct store_options reader = {.access = STORE_READER};

struct merge {
    struct store_read *old; /* NULL: none */
    struct restored *result;
    uint64_t now_s;
    uint8_t (*doubtful)[REQUEST_KEY_SIZE]; /* queued in the backup, and maybe sent since */
    size_t n, cap;
    int rc;
};

static bool still_queued(struct merge *m, const uint8_t key[REQUEST_KEY_SIZE],
                         const struct request_record *record)
{
    struct request_record now;
    return m->old && !requests_get(m->old, key, m->now_s, &now, NULL) && now.state == REQUEST_QUEUED &&
           !memcmp(now.fingerprint, record->fingerprint, sizeof(now.fingerprint));
}

static bool sort_out(void *arg, const uint8_t key[REQUEST_KEY_SIZE], const struct request_record *record)
{
    struct merge *m = arg;
    if (record->state == REQUEST_QUEUED && still_queued(m, key, record)) {
        m->result->still_queued++;
        return true;
    }
    m->result->unknown++;
    if (record->state != REQUEST_QUEUED)
        return true;
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        void *grown = realloc(m->doubtful, cap * sizeof(*m->doubtful));
        if (!grown) {
            m->rc = ERR_NOMEM;
            return false;
        }
        m->doubtful = grown;
        m->cap = cap;
    }
    memcpy(m->doubtful[m->n++], key, REQUEST_KEY_SIZE);
    return true;
}

/* As if an earlier coordinator had sent them: the next one closes them as unknown. */
static int mark_sent(struct store_write *w, void *arg, struct err *e)
{
    struct merge *m = arg;
    int rc = 0;
    for (size_t i = 0; !rc && i < m->n; i++) {
        struct request_record record;
        rc = requests_get(store_write_as_read(w), m->doubtful[i], 0, &record, e);
        if (rc)
            break;
        record.state = REQUEST_DISPATCHED;
        record.epoch = 0;
        rc = requests_put(w, m->doubtful[i], &record, 0, e);
    }
    return rc;
}

static int look_at_backup(struct store *s, struct merge *m, struct err *e)
{
    struct store_read *r;
    int rc = store_read_begin(s, &r, e);
    if (rc)
        return rc;
    rc = store_look_through(r, &m->result->records, e);
    if (!rc)
        rc = meta_epoch(r, &m->result->backup_epoch, e);
    if (!rc)
        rc = chats_count(r, &m->result->chats, e);
    if (!rc)
        rc = requests_unfinished(r, 0, sort_out, m, e);
    if (!rc && m->rc)
        rc = err_set(e, ERR_NOMEM, "There is not enough memory for the unfinished requests.");
    store_read_end(r);
    return rc;
}

/* What the store that is there says of itself. One that is damaged is no reason to keep it: that may be why
 * there is a restore. Whatever else is wrong ends it, since a store that is only not read now would be
 * forgotten. */
static int look_at_old(struct ctl *t, struct merge *m, bool *ret_unreadable, struct uuid *ret_machine,
                       const struct uuid **ret_which, struct err *e)
{
    struct err why = {0};
    int rc = trial_read(t->conf->storage.dir, &reader, &why);
    if (!rc || rc == ERR_NOT_FOUND)
        rc = ctl_read(t, &m->old, &why);
    if (!rc && m->old)
        rc = meta_epoch(m->old, &m->result->old_epoch, &why);
    if (!rc && m->old && !meta_machine_get(m->old, ret_machine, NULL))
        *ret_which = ret_machine;
    *ret_unreadable = rc == ERR_CORRUPT || rc == ERR_INVAL || rc == ERR_IO;
    if (rc) {
        store_read_end(m->old);
        m->old = NULL;
    }
    if (*ret_unreadable)
        ctl_say(
            CTL_DONE,
            "The store that is there cannot be read, so nothing of it is looked at, and API keys are those "
            "of the backup, also what was revoked since. %s",
            why.text);
    m->result->has_old = m->old != NULL;
    return rc && !*ret_unreadable ? err_set(e, (enum err_code)rc, "%s", why.text) : 0;
}

/* Reading only: a writer would make a store of nothing. */
static int check_form(const char *fresh, bool sealed, struct err *e)
{
    struct store *s = NULL;
    int rc = sealed ? 0 : trial_read(fresh, &reader, e);
    if (!rc)
        rc = store_open(fresh, &reader, &s, e);
    store_close(s);
    return rc == ERR_NOT_FOUND ? err_set(e, ERR_CORRUPT, "There is no store in this file.") : rc;
}

int restore_succeed(struct ctl *t, const char *fresh, bool sealed, struct restored *ret_restored,
                    struct err *e)
{
    struct store_options options = {.access = STORE_WRITER,
                                    .map_max_bytes = t->conf->storage.map_max_mib << 20};
    struct restored result = {0};
    struct merge m = {.result = &result, .now_s = clock_real_us() / US_PER_S};
    struct store *s = NULL;
    struct uuid machine;
    const struct uuid *which = NULL;
    bool unreadable = false;
    int rc = check_form(fresh, sealed, e);
    if (!rc)
        rc = store_open(fresh, &options, &s, e);
    if (rc)
        return rc;
    rc = look_at_old(t, &m, &unreadable, &machine, &which, e);
    if (!rc)
        rc = look_at_backup(s, &m, e);
    if (!rc && m.old)
        rc = restore_keys(s, m.old, m.now_s, &result.keys, e);
    result.epoch = result.old_epoch > result.backup_epoch ? result.old_epoch : result.backup_epoch;
    if (unreadable || !result.has_old)
        result.epoch += EPOCHS_UNSEEN;
    if (!rc && m.n)
        rc = store_write(s, 0, mark_sent, &m, e);
    if (!rc && m.old)
        rc = restore_requests(s, m.old, m.now_s, &result.carried, e);
    store_read_end(m.old);
    if (!rc)
        rc = meta_succeed(s, ++result.epoch, which, e);
    free(m.doubtful);
    store_close(s);
    if (!rc)
        *ret_restored = result;
    return rc;
}
