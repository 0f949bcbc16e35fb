/*
 * A change to the API keys, for keys.c only: what its document says (key_document.c), and what it leads to
 * with the keys there are (key_plan.c). Neither does any I/O.
 */
#ifndef CARPOOL_COORDINATOR_KEY_CHANGE_H
#define CARPOOL_COORDINATOR_KEY_CHANGE_H

#include "coordinator/commit.h"
#include "coordinator/key_index.h"

#define KEY_IMPORT_MAX  256         /* records in one document: the loop does nothing else meanwhile */
#define KEY_GRACE_MAX_S 31622400u   /* 366 days */
#define KEY_LIMIT_MAX   4000000000u /* as limits.requests_per_minute */
#define KEY_BUDGET_MAX  1e9         /* USD */

enum key_op { KEY_OP_CREATE, KEY_OP_ROTATE, KEY_OP_REVOKE, KEY_OP_SET, KEY_OP_IMPORT };

/* What a document may give. */
enum key_member {
    KEY_HAS_ID = 1,
    KEY_HAS_HASH = 2,
    KEY_HAS_ROLE = 4,
    KEY_HAS_LABEL = 8,
    KEY_HAS_REQUESTS = 16,
    KEY_HAS_TOKENS = 32,
    KEY_HAS_BUDGET = 64,
    KEY_HAS_GRACE = 128,
    KEY_HAS_KEYS = 256,
    KEY_HAS_CREATED = 512,
    KEY_HAS_ENDS = 1024,
    KEY_HAS_REVOKED = 2048,
    KEY_HAS_OP = 4096,
    KEY_HAS_ATTRIBUTES = KEY_HAS_LABEL | KEY_HAS_REQUESTS | KEY_HAS_TOKENS | KEY_HAS_BUDGET
};

struct key_change {
    enum key_op op;
    unsigned given;        /* enum key_member */
    struct key_record key; /* what is given of it */
    uint64_t grace_s;      /* rotate */
    size_t n;              /* import */
    struct key_record *imported;
};

/* Why a change is not made. code is static. */
struct key_refusal {
    uint16_t status;
    const char *code;
    char field[64];
    char message[384];
};

/* ERR_INVAL with *ret_refusal filled, or ERR_NOMEM. Nothing that is not allowed in the document passes. */
MUST_CHECK
int key_document_parse(struct slice document, struct key_change *ret_change, struct key_refusal *ret_refusal);
void key_change_fini(struct key_change *change);

/* The records to put so that the change is made; *ret_keys is NULL when all is so already. The caller frees
 * it. Every text of a key has the same role, label, limits and revocation. ERR_INVAL with *ret_refusal
 * filled, or ERR_NOMEM. now_s: real time. */
MUST_CHECK
int key_plan(const struct key_index *x, const struct key_change *change, uint64_t now_s,
             struct commit_keys **ret_keys, struct key_refusal *ret_refusal);

/* Its entry for the audit trail: what key_plan gave, and who asked when. Names no hash. NULL: no memory. */
struct commit_audit *key_audit(const struct key_index *x, const struct key_change *change,
                               const struct commit_keys *keys, uint64_t real_us, struct slice actor);

#endif
