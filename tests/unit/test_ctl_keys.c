/* LINK: fcgi_app/ctl/key_list.c fcgi_app/ctl/key_show.c */
/* The list of keys that carpoolctl shows, and whom a person means by a name. */
#include <criterion/criterion.h>
#include <string.h>

#include "ctl/key_list.h"

#define NOW 1795184550u /* 2026-11-20T14:22:30Z */

static struct key_list list;
static struct err e;

int ctl_read(struct ctl *t, struct store_read **ret_read, struct err *e_)
{
    (void)t, (void)e_;
    *ret_read = NULL;
    return 0;
}

static void add(uint8_t id, uint8_t hash, const char *label, uint64_t created_s, uint64_t ends_s,
                uint64_t revoked_s)
{
    struct key_record k = {
        .role = KEY_CLIENT, .created_s = created_s, .ends_s = ends_s, .revoked_s = revoked_s};
    memset(k.id, id, sizeof(k.id));
    memset(k.hash, hash, sizeof(k.hash));
    strcpy(k.label, label);
    cr_assert_eq(key_list_add(&list, &k), 0);
}

static void sort(void)
{
    list.now_s = NOW;
    cr_assert_eq(key_list_sort(&list), 0);
}

static void expect_found(const char *name, uint8_t id)
{
    const struct key_entry *k = NULL;
    cr_assert_eq(key_list_find(&list, name, &k, &e), 0, "%s: %s", name, e.text);
    cr_assert_eq(k->texts->id[0], id, "%s", name);
}

static void expect_none(const char *name, int rc)
{
    const struct key_entry *k = NULL;
    cr_assert_eq(key_list_find(&list, name, &k, &e), rc, "%s", name);
    cr_assert(e.text[0]);
}

Test(ctl_keys, texts_become_keys)
{
    add(0x22, 1, "second", NOW - 10, 0, 0);
    add(0x11, 2, "first", NOW - 100, NOW - 50, 0);
    add(0x11, 3, "first", NOW - 50, NOW + 60, 0);
    add(0x11, 4, "first", NOW - 5, 0, 0);
    add(0x33, 5, "third", NOW - 4, NOW - 1, 0);
    add(0x44, 6, "fourth", NOW - 3, 0, NOW - 1);
    sort();
    cr_assert_eq(list.entries_n, 4);
    const struct key_entry *k = list.entries;
    cr_assert_eq(k[0].texts->hash[0], 4, "the text that is handed out now");
    cr_assert_eq(k[0].n, 3);
    cr_assert_eq(k[0].created_s, NOW - 100);
    cr_assert_eq(key_entry_old_until_s(&k[0], NOW), NOW + 60);
    cr_assert_eq(key_entry_old_until_s(&k[0], NOW + 60), 0);
    cr_assert_eq(key_entry_state(&k[0], NOW), KEY_ACTIVE);
    cr_assert_eq(k[1].texts->id[0], 0x22);
    cr_assert_eq(key_entry_state(&k[2], NOW), KEY_ENDED);
    cr_assert_eq(key_entry_state(&k[3], NOW), KEY_REVOKED);
    key_list_fini(&list);
}

Test(ctl_keys, whom_a_name_means)
{
    add(0xab, 1, "shop", NOW, 0, 0);
    add(0xac, 2, "abab", NOW, 0, 0);
    add(0xad, 3, "shop", NOW, 0, NOW);
    add(0xae, 4, "gone", NOW, 0, NOW);
    add(0xaf, 5, "twice", NOW, 0, NOW);
    add(0xba, 6, "twice", NOW, 0, NOW);
    add(0xbb, 7, "", NOW, 0, 0);
    sort();
    expect_found("shop", 0xab); /* not the one that was revoked */
    expect_found("abab", 0xac); /* a label, though it is the beginning of an id, too */
    expect_found("ababa", 0xab);
    expect_found("ABABAB", 0xab);
    expect_found("abababababababababababababababab", 0xab);
    expect_found("gone", 0xae);
    expect_found("bbbb", 0xbb);
    expect_none("twice", ERR_INVAL);
    expect_none("bab", ERR_NOT_FOUND);
    expect_none("", ERR_NOT_FOUND);
    expect_none("ababababababababababababababababab", ERR_NOT_FOUND);
    key_list_fini(&list);
}

Test(ctl_keys, a_whole_id_means_the_key_though_another_is_labelled_so)
{
    add(0xab, 1, "shop", NOW, 0, 0);
    add(0xcd, 2, "abababababababababababababababab", NOW, 0, 0);
    sort();
    expect_found("abababababababababababababababab", 0xab);
    key_list_fini(&list);
}

Test(ctl_keys, the_table_is_straight)
{
    struct buf out;
    add(0x11, 1, "b\xc3\xbcro", NOW, 0, 0);
    add(0x22, 2, "", NOW + 1, NOW + 3600, 0);
    add(0x22, 3, "", NOW + 1, 0, 0);
    sort();
    list.records[0].requests_per_minute = 60;
    list.records[0].budget_microusd = 2500000;
    list.entries[0].spent_picousd = 125000000000; /* 0.125 */
    buf_init(&out, 1 << 20);
    cr_assert_eq(key_show_table(&out, &list), 0);
    cr_assert_str_eq(
        out.data,
        "ID            LABEL  ROLE    STATE                                    CREATED     REQUESTS/MIN  "
        "TOKENS/MIN  BUDGET USD  SPENT USD\n"
        "111111111111  b\xc3\xbcro   client  active                                   2026-11-20            "
        "60  "
        "         -        2.50      0.125\n"
        "222222222222  -      client  active, old text until 2026-11-20 15:22  2026-11-20             -  "
        "         -           -       0.00\n");
    buf_clear(&out);
    cr_assert_eq(key_show_json(&out, &list), 0);
    cr_assert(strstr(out.data, "\"budget_usd\":2.5,\"spent_usd\":0.125}"), "%s", out.data);
    cr_assert(strstr(out.data, "\"old_text_until\":\"2026-11-20T15:22:30.000Z\""), "%s", out.data);
    cr_assert_null(strstr(out.data, "hash"));
    buf_fini(&out);
    key_list_fini(&list);
}
