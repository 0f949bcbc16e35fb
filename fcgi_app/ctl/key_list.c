/* The keys of the store, key by key; see key_list.h. */
#include "ctl/key_list.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/spend.h"

int key_list_add(struct key_list *l, const struct key_record *k)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct key_record *records = realloc(l->records, cap * sizeof(*records));
        if (!records)
            return ERR_NOMEM;
        l->records = records;
        l->cap = cap;
    }
    l->records[l->n++] = *k;
    return 0;
}

/* By key; within one, what is handed out first, then the newest. */
static int compare_records(const void *left, const void *right)
{
    const struct key_record *a = left, *b = right;
    int by_id = memcmp(a->id, b->id, sizeof(a->id));
    if (by_id)
        return by_id;
    if (!a->ends_s != !b->ends_s)
        return a->ends_s ? 1 : -1;
    if (a->created_s != b->created_s)
        return a->created_s < b->created_s ? 1 : -1;
    return memcmp(a->hash, b->hash, sizeof(a->hash));
}

static int compare_entries(const void *left, const void *right)
{
    const struct key_entry *a = left, *b = right;
    if (a->created_s != b->created_s)
        return a->created_s < b->created_s ? -1 : 1;
    return memcmp(a->texts->id, b->texts->id, sizeof(a->texts->id));
}

int key_list_sort(struct key_list *l)
{
    struct key_entry *entries = calloc(l->n + 1, sizeof(*entries));
    struct key_entry *at = NULL;
    if (!entries)
        return ERR_NOMEM;
    if (l->n)
        qsort(l->records, l->n, sizeof(l->records[0]), compare_records);
    l->entries_n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct key_record *k = &l->records[i];
        if (!at || memcmp(at->texts->id, k->id, sizeof(k->id)) != 0) {
            at = &entries[l->entries_n++];
            *at = (struct key_entry){.texts = k, .created_s = k->created_s};
        }
        at->n++;
        if (k->created_s < at->created_s)
            at->created_s = k->created_s;
    }
    qsort(entries, l->entries_n, sizeof(*entries), compare_entries);
    free(l->entries);
    l->entries = entries;
    return 0;
}

static int add(void *arg, const struct key_record *k)
{
    return key_list_add(arg, k);
}

/* What each has spent in this month. */
static int add_spent(struct store_read *r, struct key_list *l, struct err *e)
{
    uint32_t month = clock_month(l->now_s * US_PER_S);
    int rc = 0;
    for (size_t i = 0; !rc && r && i < l->entries_n; i++)
        rc = keys_spent(r, l->entries[i].texts->id, month, &l->entries[i].spent_picousd, e);
    return rc;
}

int key_list_read(struct ctl *t, struct key_list *ret_list, struct err *e)
{
    struct key_list l = {.now_s = clock_real_us() / US_PER_S};
    struct store_read *r;
    int rc = ctl_read(t, &r, e);
    if (rc)
        return rc;
    if (r)
        rc = keys_each(r, add, &l, e);
    if (!rc)
        rc = key_list_sort(&l);
    if (!rc)
        rc = add_spent(r, &l, e);
    store_read_end(r);
    if (rc) {
        key_list_fini(&l);
        return rc == ERR_NOMEM ? err_set(e, rc, "There is not enough memory for the list of keys.") : rc;
    }
    *ret_list = l;
    return 0;
}

void key_list_fini(struct key_list *l)
{
    free(l->records);
    free(l->entries);
    *l = (struct key_list){0};
}

/* ---- what a person means ---- */

static bool matches_id(const struct key_entry *k, const char *name)
{
    char id[KEY_ID_TEXT];
    size_t n = strlen(name);
    key_id_text(k->texts->id, id);
    return n >= KEY_PREFIX_MIN && n < KEY_ID_TEXT && strncasecmp(id, name, n) == 0;
}

enum manner { BY_LABEL_USABLE, BY_ID, BY_LABEL_ANY, MANNERS };

static bool matches(const struct key_list *l, const struct key_entry *k, const char *name, enum manner m)
{
    if (m == BY_ID)
        return matches_id(k, name);
    return (m == BY_LABEL_ANY || key_entry_state(k, l->now_s) == KEY_ACTIVE) &&
           strcmp(k->texts->label, name) == 0;
}

int key_list_find(const struct key_list *l, const char *name, const struct key_entry **ret_entry,
                  struct err *e)
{
    bool whole = strlen(name) == KEY_ID_TEXT - 1; /* an id that nobody can have chosen */
    for (enum manner m = whole ? BY_ID : BY_LABEL_USABLE; name[0] && m < MANNERS; m++) {
        const struct key_entry *found = NULL;
        for (size_t i = 0; i < l->entries_n; i++) {
            if (!matches(l, &l->entries[i], name, m))
                continue;
            if (found)
                return err_set(e, ERR_INVAL,
                               "Several keys could be meant by \"%.80s\": give more digits of the id that "
                               "`key list --json` shows.",
                               name);
            found = &l->entries[i];
        }
        if (found) {
            *ret_entry = found;
            return 0;
        }
    }
    return err_set(e, ERR_NOT_FOUND,
                   "There is no key \"%.80s\": `key list` shows those there are, and of an id at least %d "
                   "digits are needed.",
                   name, KEY_PREFIX_MIN);
}

/* ---- what is said of one ---- */

enum key_state key_entry_state(const struct key_entry *k, uint64_t now_s)
{
    if (k->texts->revoked_s)
        return KEY_REVOKED;
    for (size_t i = 0; i < k->n; i++)
        if (key_usable(&k->texts[i], now_s))
            return KEY_ACTIVE;
    return KEY_ENDED;
}

const char *key_state_name(enum key_state s)
{
    static const char *const names[] = {
        [KEY_ACTIVE] = "active", [KEY_ENDED] = "ended", [KEY_REVOKED] = "revoked"};
    return names[s];
}

uint64_t key_entry_old_until_s(const struct key_entry *k, uint64_t now_s)
{
    uint64_t until_s = 0;
    for (size_t i = 0; i < k->n; i++)
        if (k->texts[i].ends_s && key_usable(&k->texts[i], now_s) && k->texts[i].ends_s > until_s)
            until_s = k->texts[i].ends_s;
    return until_s;
}

const char *key_role_name(enum key_role r)
{
    return r == KEY_ADMIN ? "admin" : "client";
}

void key_id_text(const uint8_t id[TRUST_GROUP_SIZE], char ret_text[KEY_ID_TEXT])
{
    sodium_bin2hex(ret_text, KEY_ID_TEXT, id, TRUST_GROUP_SIZE);
}
