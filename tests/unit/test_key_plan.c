/* LINK: fcgi_app/coordinator/key_plan.c fcgi_app/coordinator/key_document.c fcgi_app/coordinator/key_index.c
 */
/* What changes to API keys lead to, and that the store of them stays bounded. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/key_change.h"

#define NOW 1795184550u

static struct key_index keys;
static struct key_refusal why;

static struct key_record sample(uint32_t n)
{
    struct key_record k = {.role = KEY_CLIENT, .created_s = 5};
    memcpy(k.hash, &n, sizeof(n));
    memcpy(k.id, &n, sizeof(n));
    k.hash[31] = k.id[15] = 0x77;
    snprintf(k.label, sizeof(k.label), "key %u", n);
    return k;
}

static void put(const struct key_record *k)
{
    cr_assert_eq(key_index_reserve(&keys, keys.n + 1), 0);
    key_index_put(&keys, k);
}

static void apply(const struct commit_keys *made)
{
    cr_assert_eq(key_index_reserve(&keys, keys.n + made->n), 0);
    for (size_t i = 0; i < made->gone_n; i++)
        key_index_remove(&keys, made->keys[made->n + i].hash);
    for (size_t i = 0; i < made->n; i++)
        key_index_put(&keys, &made->keys[i]);
}

/* Plans and carries out; 0, or the status of the refusal. */
static int change(const struct key_change *c)
{
    struct commit_keys *made = NULL;
    why = (struct key_refusal){0};
    int rc = key_plan(&keys, c, NOW, &made, &why);
    if (rc) {
        cr_assert_eq(rc, ERR_INVAL);
        cr_assert(why.message[0] && why.code);
        return why.status;
    }
    if (made)
        apply(made);
    free(made);
    return 0;
}

static int create(uint32_t n)
{
    struct key_change c = {.op = KEY_OP_CREATE, .key = sample(n)};
    return change(&c);
}

static int revoke(uint32_t n)
{
    struct key_change c = {.op = KEY_OP_REVOKE, .key = sample(n)};
    return change(&c);
}

Test(key_plan, full_of_usable_keys)
{
    for (uint32_t n = 1; n <= KEY_TEXTS_MAX; n++) {
        struct key_record k = sample(n);
        put(&k);
    }
    cr_assert_eq(create(KEY_TEXTS_MAX + 1), 409);
    cr_assert_str_eq(why.code, "KEYS_FULL");
    cr_assert_eq(keys.n, KEY_TEXTS_MAX);
    cr_assert_eq(revoke(7), 0);
    cr_assert_eq(create(KEY_TEXTS_MAX + 1), 0);
    cr_assert_eq(keys.n, KEY_TEXTS_MAX);
    struct key_record gone = sample(7);
    cr_assert_null(key_index_by_hash(&keys, gone.hash));
    key_index_fini(&keys);
}

/* Of those that have ended the first goes, and never one that the change is about. */
Test(key_plan, room_is_made_by_age)
{
    for (uint32_t n = 1; n <= KEY_TEXTS_MAX; n++) {
        struct key_record k = sample(n);
        k.ends_s = n == 5 ? NOW - 50 : n == 6 ? NOW - 60 : n == 8 ? NOW + 9 : 0;
        k.revoked_s = n == 7 ? NOW - 40 : 0;
        put(&k);
    }
    static const uint32_t order[] = {6, 5, 7};
    for (uint32_t i = 0; i < ARRAY_LEN(order); i++) {
        struct key_record gone = sample(order[i]);
        cr_assert_not_null(key_index_by_hash(&keys, gone.hash));
        cr_assert_eq(create(KEY_TEXTS_MAX + 1 + i), 0);
        cr_assert_null(key_index_by_hash(&keys, gone.hash), "%u", order[i]);
    }
    cr_assert_eq(create(KEY_TEXTS_MAX + 9), 409);
    struct key_change c = {.op = KEY_OP_ROTATE, .key = sample(9)};
    memset(c.key.hash, 0x99, sizeof(c.key.hash));
    cr_assert_eq(change(&c), 409,
                 "its own old text, which ends with it, is needed to tell it from a typing error");
    key_index_fini(&keys);
}

static struct key_change import_of(struct key_record *records, size_t n)
{
    return (struct key_change){.op = KEY_OP_IMPORT, .imported = records, .n = n};
}

static const struct key_record *by_hash(const struct key_record *k)
{
    const struct key_record *found = key_index_by_hash(&keys, k->hash);
    cr_assert_not_null(found);
    return found;
}

/* An old copy brings nothing back; what ended or was revoked elsewhere does so here. */
Test(key_plan, import_merges_the_stricter)
{
    struct key_record here = sample(1), there[2] = {sample(1), sample(2)};
    here.ends_s = NOW - 5;
    put(&here);
    there[1].revoked_s = 9;
    there[0].tokens_per_minute = 7;
    there[0].created_s = 1;
    struct key_change c = import_of(there, 2);
    cr_assert_eq(change(&c), 0);
    cr_assert_eq(by_hash(&here)->ends_s, NOW - 5);
    cr_assert_eq(by_hash(&here)->tokens_per_minute, 7);
    cr_assert_eq(by_hash(&here)->created_s, 5, "when it came here");
    cr_assert_eq(by_hash(&there[1])->revoked_s, 9);
    there[1].revoked_s = 0;
    there[0].ends_s = NOW - 9;
    there[0].revoked_s = NOW;
    cr_assert_eq(change(&c), 0);
    cr_assert_eq(by_hash(&here)->ends_s, NOW - 9);
    cr_assert_eq(by_hash(&here)->revoked_s, NOW);
    cr_assert_eq(by_hash(&there[1])->revoked_s, 9);
    key_index_fini(&keys);
}

/* Other texts of a key that comes in follow it. */
Test(key_plan, import_reaches_all_texts_of_a_key)
{
    struct key_record old = sample(1), fresh = sample(1), other = sample(3);
    memset(fresh.hash, 0x55, sizeof(fresh.hash));
    put(&old);
    put(&other);
    strcpy(fresh.label, "renamed");
    fresh.revoked_s = 77;
    struct key_change c = import_of(&fresh, 1);
    cr_assert_eq(change(&c), 0);
    cr_assert_eq(by_hash(&old)->revoked_s, 77);
    cr_assert_str_eq(by_hash(&old)->label, "renamed");
    cr_assert_eq(by_hash(&other)->revoked_s, 0);
    key_index_fini(&keys);
}

Test(key_plan, import_refuses_what_does_not_go_together)
{
    struct key_record two[2] = {sample(1), sample(2)};
    struct key_change c = import_of(two, 2);
    two[1] = two[0];
    cr_assert_eq(change(&c), 400, "twice the same hash");
    memset(two[1].hash, 0x44, sizeof(two[1].hash));
    two[1].role = KEY_ADMIN;
    cr_assert_eq(change(&c), 400, "one id, two roles");
    two[1] = sample(2);
    strcpy(two[1].label, two[0].label);
    cr_assert_eq(change(&c), 400, "one label, two keys");
    two[1].revoked_s = 5;
    cr_assert_eq(change(&c), 0);
    struct key_record third = sample(3);
    memcpy(third.hash, two[0].hash, sizeof(third.hash));
    c = import_of(&third, 1);
    cr_assert_eq(change(&c), 409, "another's hash");
    third = sample(1);
    memset(third.hash, 0x44, sizeof(third.hash));
    third.role = KEY_ADMIN;
    cr_assert_eq(change(&c), 409, "a client key becomes no admin key");
    third = sample(3);
    strcpy(third.label, two[0].label);
    cr_assert_eq(change(&c), 409, "a label that is taken");
    cr_assert_eq(keys.n, 2);
    key_index_fini(&keys);
}

/* A text that has ended names the key whose other text can be used, too. */
Test(key_plan, import_leaves_no_label_to_two_keys)
{
    struct key_record here[2] = {sample(1), sample(2)}, old[2] = {sample(1), sample(2)};
    put(&here[0]);
    put(&here[1]);
    for (uint32_t i = 0; i < ARRAY_LEN(old); i++) {
        memset(old[i].hash, 0x50 + (int)i, sizeof(old[i].hash));
        old[i].ends_s = NOW - 5;
    }
    struct key_change c = import_of(old, 1);
    strcpy(old[0].label, here[1].label);
    cr_assert_eq(change(&c), 409, "that of a key that is here");
    cr_assert_str_eq(why.code, "LABEL_TAKEN");
    c = import_of(old, 2);
    strcpy(old[0].label, "both");
    strcpy(old[1].label, "both");
    cr_assert_eq(change(&c), 409, "that of a key that comes in");
    cr_assert_eq(keys.n, 2);
    strcpy(old[1].label, "the other");
    cr_assert_eq(change(&c), 0);
    cr_assert_str_eq(by_hash(&here[0])->label, "both");
    key_index_fini(&keys);
}

/* ---- documents ---- */

#define ID    "\"id\":\"11111111111111111111111111111111\""
#define HASH  "\"hash\":\"2222222222222222222222222222222222222222222222222222222222222222\""
#define FIRST "{\"op\":\"create\"," ID "," HASH ",\"role\":\"admin\""

static int parse(const char *text, struct key_change *c)
{
    why = (struct key_refusal){0};
    return key_document_parse(slice_of(text), c, &why);
}

Test(key_document, all_that_create_takes)
{
    struct key_change c;
    cr_assert_eq(
        parse(FIRST
              ",\"label\":\"a \xe2\x82\xac\",\"requests_per_minute\":1,\"tokens_per_minute\":4000000000,"
              "\"budget_usd\":0.000001}",
              &c),
        0, "%s", why.message);
    cr_assert_eq(c.op, KEY_OP_CREATE);
    cr_assert_eq(c.key.role, KEY_ADMIN);
    cr_assert_eq(c.key.id[15], 0x11);
    cr_assert_eq(c.key.hash[31], 0x22);
    cr_assert_str_eq(c.key.label, "a \xe2\x82\xac");
    cr_assert_eq(c.key.requests_per_minute, 1);
    cr_assert_eq(c.key.tokens_per_minute, 4000000000u);
    cr_assert_eq(c.key.budget_microusd, 1);
    key_change_fini(&c);
}

Test(key_document, refusals_name_the_member)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"", ""},
        {"[]", "op"},
        {"{}", "op"},
        {"{\"op\":5}", "op"},
        {FIRST ",\"label\":\"a\\u001bb\"}", "label"},
        {FIRST ",\"label\":\"a\\u0085b\"}", "label"},
        {FIRST ",\"label\":\"a\\u007fb\"}", "label"},
        {FIRST ",\"label\":\" a\"}", "label"},
        {FIRST ",\"label\":\"12345678901234567890123456789012345678901234567890123456789012345\"}", "label"},
        {FIRST ",\"label\":null}", "label"},
        {FIRST ",\"label\":5}", "label"},
        {FIRST ",\"budget_usd\":1e-7}", "budget_usd"},
        {FIRST ",\"budget_usd\":1e10}", "budget_usd"},
        {FIRST ",\"budget_usd\":\"5\"}", "budget_usd"},
        {FIRST ",\"requests_per_minute\":1.5}", "requests_per_minute"},
        {FIRST ",\"grace_s\":1}", "grace_s"},
        {FIRST ",\"created_s\":1}", "created_s"},
        {FIRST ",\"text\":\"cp_x\"}", "text"},
        {"{\"op\":\"create\"," HASH ",\"role\":\"client\"}", "id"},
        {"{\"op\":\"create\"," ID ",\"role\":\"client\"}", "hash"},
        {"{\"op\":\"create\"," ID "," HASH "}", "role"},
        {"{\"op\":\"create\"," ID "," HASH ",\"role\":\"Admin\"}", "role"},
        {"{\"op\":\"revoke\",\"id\":\"1111111111111111111111111111111A\"}", "id"},
        {"{\"op\":\"revoke\",\"id\":\"111111111111111111111111111111\"}", "id"},
        {"{\"op\":\"revoke\",\"id\":\"00000000000000000000000000000000\"}", "id"},
        {"{\"op\":\"rotate\"," ID "," HASH ",\"grace_s\":31622401}", "grace_s"},
        {"{\"op\":\"rotate\"," ID "," HASH "}", "grace_s"},
        {"{\"op\":\"set\"," ID "}", "label"},
        {"{\"op\":\"set\"," ID ",\"role\":\"admin\"}", "role"},
        {"{\"op\":\"import\"}", "keys"},
        {"{\"op\":\"import\",\"keys\":{}}", "keys"},
        {"{\"op\":\"import\",\"keys\":[5]}", "keys"},
        {"{\"op\":\"import\",\"keys\":[{" ID "," HASH ",\"role\":\"client\"}]}", "created_s"},
        {"{\"op\":\"import\",\"keys\":[{" ID "," HASH ",\"role\":\"client\",\"created_s\":1,\"op\":\"x\"}]}",
         "op"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct key_change c;
        cr_assert_eq(parse(cases[i].text, &c), ERR_INVAL, "%s", cases[i].text);
        cr_assert_str_eq(why.field, cases[i].field, "%s: %s", cases[i].text, why.message);
        cr_assert(why.message[0] && why.status == 400, "%s", cases[i].text);
    }
}

Test(key_document, an_import_is_bounded)
{
    static char text[64 << 10];
    for (int n = KEY_IMPORT_MAX; n <= KEY_IMPORT_MAX + 1; n++) {
        struct key_change c;
        char *at = text + sprintf(text, "{\"op\":\"import\",\"keys\":[");
        for (int i = 0; i < n; i++)
            at += sprintf(at, "%s{" ID ",\"hash\":\"%064x\",\"role\":\"client\",\"created_s\":1}",
                          i ? "," : "", i + 1);
        strcpy(at, "]}");
        cr_assert_eq(parse(text, &c), n > KEY_IMPORT_MAX ? ERR_INVAL : 0, "%s", why.message);
        if (n == KEY_IMPORT_MAX) {
            cr_assert_eq(c.n, KEY_IMPORT_MAX);
            cr_assert_eq(c.imported[1].hash[31], 2);
            key_change_fini(&c);
        }
    }
}
