/* Records and keys as they stand at the server; see record.h. */
#include "shared/record.h"

#include <string.h>

#define PREFIX "{carpool}:"

void record_encode_head(uint8_t ret_head[RECORD_HEAD], enum shared_state state, const struct uuid *machine,
                        const uint8_t *fingerprint)
{
    ret_head[0] = RECORD_VERSION;
    ret_head[1] = (uint8_t)state;
    memcpy(ret_head + 2, machine->bytes, sizeof(machine->bytes));
    if (fingerprint)
        memcpy(ret_head + 18, fingerprint, SHARED_KEY_SIZE);
    else
        memset(ret_head + 18, 0, SHARED_KEY_SIZE);
}

int record_decode(struct slice raw, bool owner_alive, const struct uuid *me, struct shared_record *ret_record)
{
    struct shared_record r = {.state = SHARED_FREE};
    if (raw.p) {
        const uint8_t *head = (const uint8_t *)raw.p;
        if (raw.n < RECORD_HEAD || head[0] != RECORD_VERSION || head[1] == SHARED_FREE ||
            head[1] > SHARED_REFUSED)
            return ERR_CORRUPT;
        r.state = (enum shared_state)head[1];
        r.mine = memcmp(head + 2, me->bytes, sizeof(me->bytes)) == 0;
        r.owner_alive = r.mine || owner_alive;
        memcpy(r.fingerprint, head + 18, SHARED_KEY_SIZE);
        r.value = (struct slice){raw.p + RECORD_HEAD, raw.n - RECORD_HEAD};
    }
    *ret_record = r;
    return 0;
}

void record_key(struct record_key *ret_key, const char *kind, const void *rest, size_t n)
{
    size_t kind_n = strlen(kind), at = sizeof(PREFIX) - 1;
    memcpy(ret_key->bytes, PREFIX, at);
    memcpy(ret_key->bytes + at, kind, kind_n);
    at += kind_n;
    if (n > sizeof(ret_key->bytes) - at)
        n = sizeof(ret_key->bytes) - at;
    if (n)
        memcpy(ret_key->bytes + at, rest, n);
    ret_key->n = at + n;
}
