/* Records as they stand at the server, names of keys, and that every script is fenced. */
#include <criterion/criterion.h>
#include <string.h>

#include "shared/record.h"
#include "shared/scripts.h"

static const struct uuid me = {{1, [15] = 2}}, other = {{1, [15] = 3}};

Test(shared_record, round_trip)
{
    uint8_t fingerprint[SHARED_KEY_SIZE], raw[RECORD_HEAD + 5];
    memset(fingerprint, 0xab, sizeof(fingerprint));
    for (enum shared_state state = SHARED_QUEUED; state <= SHARED_REFUSED; state++) {
        struct shared_record r;
        record_encode_head(raw, state, &other, fingerprint);
        memcpy(raw + RECORD_HEAD, "value", 5);
        cr_assert_eq(record_decode((struct slice){(char *)raw, sizeof(raw)}, true, &me, &r), 0);
        cr_assert(r.state == state && !r.mine && r.owner_alive && slice_is(r.value, "value"));
        cr_assert_arr_eq(r.fingerprint, fingerprint, SHARED_KEY_SIZE);
        cr_assert_eq(record_decode((struct slice){(char *)raw, RECORD_HEAD}, false, &other, &r), 0);
        cr_assert(r.mine && r.owner_alive && r.value.p && r.value.n == 0);
        cr_assert_eq(record_decode((struct slice){(char *)raw, RECORD_HEAD}, false, &me, &r), 0);
        cr_assert(!r.owner_alive);
    }
    /* The scripts read these by their places. */
    record_encode_head(raw, SHARED_DONE, &other, NULL);
    cr_assert(raw[0] == 1 && raw[1] == SHARED_DONE && memcmp(raw + 2, other.bytes, 16) == 0 && raw[18] == 0);
}

Test(shared_record, absent_is_free)
{
    struct shared_record r = {.state = SHARED_DONE};
    cr_assert_eq(record_decode((struct slice){NULL, 0}, false, &me, &r), 0);
    cr_assert(r.state == SHARED_FREE && !r.value.p);
}

Test(shared_record, foreign_bytes)
{
    uint8_t raw[RECORD_HEAD];
    struct shared_record r = {.state = SHARED_FAILED};
    record_encode_head(raw, SHARED_DONE, &me, NULL);
    cr_assert_eq(record_decode((struct slice){(char *)raw, RECORD_HEAD - 1}, true, &me, &r), ERR_CORRUPT);
    cr_assert_eq(record_decode((struct slice){"", 0}, true, &me, &r), ERR_CORRUPT);
    raw[0] = RECORD_VERSION + 1;
    cr_assert_eq(record_decode((struct slice){(char *)raw, RECORD_HEAD}, true, &me, &r), ERR_CORRUPT);
    raw[0] = RECORD_VERSION;
    static const uint8_t states[] = {SHARED_FREE, SHARED_REFUSED + 1, 255};
    for (size_t i = 0; i < sizeof(states); i++) {
        raw[1] = states[i];
        cr_assert_eq(record_decode((struct slice){(char *)raw, RECORD_HEAD}, true, &me, &r), ERR_CORRUPT);
    }
    cr_assert_eq(r.state, SHARED_FAILED);
}

Test(shared_record, keys)
{
    struct record_key k;
    char rest[300];
    record_key(&k, KEY_SETTINGS, NULL, 0);
    cr_assert(k.n == 18 && memcmp(k.bytes, "{carpool}:settings", 18) == 0);
    record_key(&k, KEY_RECORD, "\0\r\n}", 4);
    cr_assert(k.n == 16 && memcmp(k.bytes, "{carpool}:r:\0\r\n}", 16) == 0);
    memset(rest, 'x', sizeof(rest));
    record_key(&k, KEY_BUCKET, rest, 100);
    cr_assert_eq(k.n, 112);
    record_key(&k, KEY_BUCKET, rest, sizeof(rest));
    cr_assert_eq(k.n, RECORD_KEY_MAX);
}

/* Each script but the one that takes the fence looks at it before anything else. */
Test(shared_record, scripts_are_fenced)
{
    static const char guard[] = "local seen = redis.call('GET', KEYS[1])\nif seen ~= ARGV[1] then return "
                                "redis.error_reply('FENCED ";
    for (size_t i = 0; i < SCRIPT_N; i++) {
        cr_assert_not_null(script_texts[i]);
        bool fenced = strncmp(script_texts[i], guard, strlen(guard)) == 0;
        cr_assert_eq(fenced, i != SCRIPT_TAKE, "script %zu", i);
    }
}
