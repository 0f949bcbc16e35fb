/* LINK: fcgi_app/coordinator/key_index.c */
/* The index of API keys, against a plain list of them. */
#include "coordinator/key_index.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS 300
#define IDS   40

static struct key_record text(unsigned n, unsigned id)
{
    struct key_record k = {.role = KEY_CLIENT, .created_s = n};
    memset(k.hash, 0x55, sizeof(k.hash));
    memcpy(k.hash, &n, sizeof(n));
    memcpy(k.id, &id, sizeof(id));
    return k;
}

Test(key_index, empty)
{
    struct key_index x = {0};
    struct key_record k = text(1, 1);
    cr_assert_null(key_index_by_hash(&x, k.hash));
    cr_assert_null(key_index_by_id(&x, k.id));
    key_index_remove(&x, k.hash);
    cr_assert_eq(key_index_reserve(&x, 1), 0);
    cr_assert_null(key_index_by_hash(&x, k.hash));
    key_index_remove(&x, k.hash);
    key_index_fini(&x);
    key_index_fini(&x);
}

/* The one of rotation comes out, whatever came in first; without it the next one does. */
Test(key_index, the_text_that_is_handed_out_now)
{
    struct key_record old = text(1, 7), fresh = text(2, 7), late = text(3, 7);
    old.ends_s = 100;
    late.ends_s = 50;
    for (int turn = 0; turn < 2; turn++) {
        struct key_index x = {0};
        cr_assert_eq(key_index_reserve(&x, 3), 0);
        key_index_put(&x, turn ? &fresh : &old);
        key_index_put(&x, turn ? &old : &fresh);
        key_index_put(&x, &late);
        cr_assert_eq(key_index_by_id(&x, old.id)->created_s, 2);
        key_index_remove(&x, fresh.hash);
        cr_assert_eq(key_index_by_id(&x, old.id)->created_s, 3, "of those that end the latest");
        struct key_record endless = old;
        endless.ends_s = 0;
        key_index_put(&x, &endless);
        cr_assert_eq(key_index_by_id(&x, old.id)->created_s, 1);
        key_index_fini(&x);
    }
}

static const struct key_record *expected(const struct key_record *texts, const bool *there, unsigned id)
{
    const struct key_record *best = NULL;
    for (unsigned n = 0; n < TEXTS; n++)
        if (there[n] && memcmp(texts[n].id, &id, sizeof(id)) == 0 &&
            (!best || texts[n].created_s > best->created_s))
            best = &texts[n];
    return best;
}

Test(key_index, a_thousand_changes)
{
    struct key_index x = {0};
    static struct key_record texts[TEXTS];
    static bool there[TEXTS];
    size_t n = 0;
    srand(5);
    for (int turn = 0; turn < 3000; turn++) {
        unsigned i = (unsigned)rand() % TEXTS;
        if (rand() % 3) {
            if (!there[i])
                texts[i] = text(i, (unsigned)rand() % IDS);
            texts[i].tokens_per_minute = (uint32_t)turn;
            n += !there[i];
            there[i] = true;
            cr_assert_eq(key_index_reserve(&x, n), 0);
            key_index_put(&x, &texts[i]);
        } else {
            n -= there[i];
            there[i] = false;
            key_index_remove(&x, text(i, 0).hash);
        }
        cr_assert_eq(x.n, n);
        i = (unsigned)rand() % TEXTS;
        const struct key_record *found = key_index_by_hash(&x, text(i, 0).hash);
        cr_assert_eq(found != NULL, there[i]);
        cr_assert(!found || found->tokens_per_minute == texts[i].tokens_per_minute);
        unsigned id = (unsigned)rand() % IDS;
        const struct key_record *best = expected(texts, there, id);
        found = key_index_by_id(&x, text(0, id).id);
        cr_assert_eq(found != NULL, best != NULL);
        cr_assert(!found || found->created_s == best->created_s);
    }
    key_index_fini(&x);
}
