/*
 * The keys of the store as people think of them: one entry a key, whatever texts it has. Read at once, so
 * that nothing waits inside a transaction.
 */
#ifndef CARPOOL_CTL_KEY_LIST_H
#define CARPOOL_CTL_KEY_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/ctl.h"
#include "store/keys.h"

#define KEY_PREFIX_MIN 4 /* digits of an id that may stand for it */
#define KEY_ID_TEXT    (2 * TRUST_GROUP_SIZE + 1)

/* texts[0 .. n) of one key, the one that is handed out now first. */
struct key_entry {
    const struct key_record *texts;
    size_t n;
    uint64_t created_s;     /* of the first text */
    uint64_t spent_picousd; /* in this month */
};

/* Invariant: records are sorted by key; entries, by creation, lend from them. */
struct key_list {
    struct key_record *records;
    size_t n, cap;
    struct key_entry *entries;
    size_t entries_n;
    uint64_t now_s;
};

/* Sorts the records that are in the list into entries. ERR_NOMEM. */
MUST_CHECK
int key_list_sort(struct key_list *l);
MUST_CHECK
int key_list_add(struct key_list *l, const struct key_record *k);
/* All of the store; an empty list while there is none. */
MUST_CHECK
int key_list_read(struct ctl *t, struct key_list *ret_list, struct err *e);
void key_list_fini(struct key_list *l);

/* The key that a person means: a whole id, the label of one that can be used, the first digits of an id, the
 * label of one that cannot. ERR_NOT_FOUND; ERR_INVAL: several could be meant. */
MUST_CHECK
int key_list_find(const struct key_list *l, const char *name, const struct key_entry **ret_entry,
                  struct err *e);

enum key_state { KEY_ACTIVE, KEY_ENDED, KEY_REVOKED };
enum key_state key_entry_state(const struct key_entry *k, uint64_t now_s);
/* "active", "ended", "revoked". */
const char *key_state_name(enum key_state s);
/* When the last of the old texts that still work ends; 0: there is none. */
uint64_t key_entry_old_until_s(const struct key_entry *k, uint64_t now_s);
const char *key_role_name(enum key_role r);
void key_id_text(const uint8_t id[TRUST_GROUP_SIZE], char ret_text[KEY_ID_TEXT]);

/* key_show.c: the list for people, and as JSON. ERR_NOMEM. */
MUST_CHECK
int key_show_table(struct buf *out, const struct key_list *l);
MUST_CHECK
int key_show_json(struct buf *out, const struct key_list *l);

#endif
