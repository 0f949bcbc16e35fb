/* What the rules know of a request key, for rules.c, rules_told.c and rules_end.c only. */
#ifndef SCENARIO_RULES_H
#define SCENARIO_RULES_H

#include "world.h"

#define DIGEST_SIZE 16

/* Invariants: paid is what the provider made of the newest call that may have been charged, UNKNOWN when
 * nobody heard, and says something only when bought; digest only when told. */
struct ledger {
    UT_hash_handle hh;
    uint8_t key[REQUEST_KEY_SIZE];
    /* what was sent */
    bool bought, failed;
    enum verdict paid;
    bool fresh; /* a worker had just made the id */
    const struct world *sender;
    uint64_t epoch;     /* of the coordinator that sent the newest */
    uint64_t expires_s; /* of the record it was sent with */
    unsigned repairs;
    /* what was told */
    bool told, going, gone; /* an answer; a deletion was asked for; it was told done */
    uint8_t digest[DIGEST_SIZE];
    uint64_t told_us;            /* when that answer was told first */
    uint64_t told_until_s;       /* as long the answer (or the tombstone) stands */
    const struct world *deleter; /* gone: where that was told; others hear of it in a moment */
    struct world *keeper;        /* whose store has the answer; NULL: a machine that no script can see */
    const struct world *home;    /* the machine of who was told */
    size_t client;               /* in its clients: who that was */
};

/* One for all machines. */
struct ledger **rules_ledgers(struct world *w);
struct ledger *rules_ledger(struct world *w, const uint8_t key[REQUEST_KEY_SIZE], bool make);
/* Machines that go on without their server promise nothing together; nor does one that with on_loss = local
 * does not wait for the server before it sends or tells what a fresh id asks for; nor on_unknown = retry when
 * a machine is not heard of. known may be NULL. */
bool rules_without_promise(const struct world *w, const struct ledger *known);
/* Whether the wall clock has ever shown that time. */
bool rules_is_past(const struct world *w, uint64_t expires_s);
/* Whether hours have passed since: what was recorded then may have had its time. */
bool rules_slept_since(const struct world *w, uint64_t mono_us);

#endif
