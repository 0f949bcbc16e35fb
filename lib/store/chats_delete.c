/* Deleting chats: by request id, which leaves tombstones, and by age; see chats.h. */
#include <string.h>

#include "store/chats_private.h"
#include "store/requests.h"

static struct slice id_slice(const struct uuid *id)
{
    return table_bytes(id->bytes, sizeof(id->bytes));
}

/* The chat and its place in both indexes. The names in c must not lend from the transaction: deleting moves
 * what lies there. */
static int remove_chat(struct store_write *w, const struct uuid *id, struct slice username,
                       struct slice request_id, struct err *e)
{
    struct chat_index k;
    int rc = table_delete(w, TABLE_CHATS, id_slice(id), e);
    if (!rc && username.p)
        rc = table_delete(w, TABLE_CHATS_BY_USER, chat_index_key(&k, username, id), e);
    if (!rc && request_id.p)
        rc = table_delete(w, TABLE_CHATS_BY_REQUEST, chat_index_key(&k, request_id, id), e);
    return rc;
}

/* Copies a lent name to where deleting does not reach it. */
static struct slice keep_name(char room[CHAT_NAME_MAX], struct slice name)
{
    if (!name.p || name.n > CHAT_NAME_MAX)
        return (struct slice){0};
    memcpy(room, name.p, name.n);
    return (struct slice){room, name.n};
}

static int bury(struct store_write *w, const uint8_t key[REQUEST_KEY_SIZE], uint64_t now_s, struct err *e)
{
    struct request_record old;
    int rc = requests_get(store_write_as_read(w), key, now_s, &old, e);
    if (rc == ERR_NOT_FOUND)
        return 0; /* expired: the id is free again, with or without its chat */
    if (rc)
        return rc;
    struct request_record tombstone = {.state = REQUEST_DELETED, .expires_s = old.expires_s};
    memcpy(tombstone.fingerprint, old.fingerprint, sizeof(tombstone.fingerprint));
    return requests_put(w, key, &tombstone, now_s, e);
}

/* The first index entry of request_id: its chat and its request. */
static int first_of_request(struct store_write *w, struct slice request_id, struct uuid *ret_id,
                            uint8_t ret_key[REQUEST_KEY_SIZE], struct err *e)
{
    static const struct uuid none;
    struct table_cursor c;
    struct chat_index start;
    struct slice key, value;
    bool behind = false;
    int rc = table_cursor_open(store_write_as_read(w), TABLE_CHATS_BY_REQUEST, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, chat_index_key(&start, request_id, &none), &key, &value, e);
    while (!rc && !chat_index_match(key, request_id, &behind))
        rc = behind ? ERR_NOT_FOUND : table_next(&c, &key, &value, e);
    if (!rc && value.n != REQUEST_KEY_SIZE)
        rc = err_set(e, ERR_CORRUPT, "The index of chats by request is damaged.");
    if (!rc) {
        memcpy(ret_id->bytes, key.p + request_id.n + 1, sizeof(ret_id->bytes));
        memcpy(ret_key, value.p, REQUEST_KEY_SIZE);
    }
    table_cursor_close(&c);
    return rc;
}

int chats_request_keys(struct store_read *r, struct slice request_id, uint8_t (*ret_keys)[REQUEST_KEY_SIZE],
                       size_t max, size_t *ret_n, struct err *e)
{
    static const struct uuid none;
    struct table_cursor c;
    struct chat_index start;
    struct slice key, value;
    size_t n = 0;
    bool behind = false;
    if (request_id.n > CHAT_NAME_MAX)
        return err_set(e, ERR_INVAL, "A request id has at most %d bytes.", CHAT_NAME_MAX);
    int rc = table_cursor_open(r, TABLE_CHATS_BY_REQUEST, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, chat_index_key(&start, request_id, &none), &key, &value, e);
    while (!rc && n < max) {
        bool match = chat_index_match(key, request_id, &behind);
        if (behind)
            break;
        if (match && value.n == REQUEST_KEY_SIZE)
            memcpy(ret_keys[n++], value.p, REQUEST_KEY_SIZE);
        rc = table_next(&c, &key, &value, e);
    }
    table_cursor_close(&c);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    *ret_n = n;
    return 0;
}

static int delete_one(struct store_write *w, struct slice request_id, const struct uuid *id,
                      const uint8_t key[REQUEST_KEY_SIZE], uint64_t now_s, struct err *e)
{
    struct slice record, username = {0};
    struct chat chat;
    char room[CHAT_NAME_MAX];
    int rc = table_get(store_write_as_read(w), TABLE_CHATS, id_slice(id), &record, e);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    if (!rc && chat_decode(record, &chat) == 0)
        username = keep_name(room, chat.username);
    rc = remove_chat(w, id, username, request_id, e);
    return rc ? rc : bury(w, key, now_s, e);
}

int chats_delete_request(struct store_write *w, struct slice request_id, uint32_t max_chats, uint64_t now_s,
                         uint32_t *ret_deleted, bool *ret_more, struct err *e)
{
    struct uuid id;
    uint8_t key[REQUEST_KEY_SIZE];
    uint32_t deleted = 0;
    if (request_id.n > CHAT_NAME_MAX)
        return err_set(e, ERR_INVAL, "A request id has at most %d bytes.", CHAT_NAME_MAX);
    for (;;) {
        int rc = first_of_request(w, request_id, &id, key, e);
        if (rc && rc != ERR_NOT_FOUND)
            return rc;
        if (rc || deleted == max_chats) {
            *ret_deleted = deleted;
            *ret_more = !rc;
            return 0;
        }
        rc = delete_one(w, request_id, &id, key, now_s, e);
        if (rc)
            return rc;
        deleted++;
    }
}

/* The oldest chat, if it is older than before_us: its id and names. One that cannot be decoded is taken for
 * old: nobody can read it, and it would stop retention for good. */
static int oldest(struct store_write *w, uint64_t before_us, struct uuid *ret_id, struct slice *ret_username,
                  char username[CHAT_NAME_MAX], struct slice *ret_request_id, char request_id[CHAT_NAME_MAX],
                  struct err *e)
{
    struct table_cursor c;
    struct slice key, record;
    struct chat chat;
    int rc = table_cursor_open(store_write_as_read(w), TABLE_CHATS, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, (struct slice){0}, &key, &record, e);
    table_cursor_close(&c);
    if (rc)
        return rc;
    if (key.n != sizeof(ret_id->bytes))
        return err_set(e, ERR_CORRUPT, "The table of chats has a foreign key.");
    if (chat_decode(record, &chat))
        chat = (struct chat){0};
    if (chat.time_us >= before_us)
        return ERR_NOT_FOUND;
    memcpy(ret_id->bytes, key.p, sizeof(ret_id->bytes));
    *ret_username = keep_name(username, chat.username);
    *ret_request_id = keep_name(request_id, chat.request_id);
    return 0;
}

int chats_drop_older(struct store_write *w, uint64_t before_us, uint32_t max_chats, uint32_t *ret_removed,
                     struct err *e)
{
    struct uuid id;
    struct slice username, request_id;
    char username_room[CHAT_NAME_MAX], request_room[CHAT_NAME_MAX];
    uint32_t removed = 0;
    int rc = 0;
    while (!rc && removed < max_chats) {
        rc = oldest(w, before_us, &id, &username, username_room, &request_id, request_room, e);
        if (!rc)
            rc = remove_chat(w, &id, username, request_id, e);
        if (!rc)
            removed++;
    }
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    *ret_removed = removed;
    return 0;
}
