/* What a change to the keys says; see key_change.h and etc/protocol.md, "Management". */
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "coordinator/key_change.h"
#include "json/read.h"

#define TIME_MAX 253402300799u /* the year 9999 */

/* One object of a document on its way into a record. */
struct reading {
    const cJSON *object;
    unsigned given;
    struct key_record key;
    uint64_t grace_s;
    const char *at; /* the member being read */
    struct err *e;
};

static int get_hex(struct reading *r, uint8_t *ret_bytes, size_t n)
{
    struct slice text;
    size_t got = 0;
    int rc = json_get_text(r->object, r->at, 2 * n, &text, NULL, r->e);
    if (rc)
        return rc;
    for (size_t i = 0; i < text.n; i++)
        got += (text.p[i] >= '0' && text.p[i] <= '9') || (text.p[i] >= 'a' && text.p[i] <= 'f');
    if (got != 2 * n || text.n != got || sodium_hex2bin(ret_bytes, n, text.p, text.n, NULL, &got, NULL) ||
        sodium_is_zero(ret_bytes, n))
        return err_set(r->e, ERR_INVAL,
                       "%s must be %zu hexadecimal digits, in small letters and not all zero.", r->at, 2 * n);
    return 0;
}

static int get_role(struct reading *r)
{
    struct slice text;
    int rc = json_get_text(r->object, r->at, 16, &text, NULL, r->e);
    if (rc)
        return rc;
    if (slice_is(text, "client"))
        r->key.role = KEY_CLIENT;
    else if (slice_is(text, "admin"))
        r->key.role = KEY_ADMIN;
    else
        return err_set(r->e, ERR_INVAL, "role must be client or admin.");
    return 0;
}

/* A label is written to terminals and logs: no control characters, those of Latin-1 neither. */
static bool is_plain(struct slice text)
{
    while (text.n) {
        uint8_t first = (uint8_t)text.p[0], second = text.n > 1 ? (uint8_t)text.p[1] : 0;
        size_t n = utf8_char_size(text);
        if (!n || first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0))
            return false;
        text = (struct slice){text.p + n, text.n - n};
    }
    return true;
}

static int get_label(struct reading *r)
{
    struct slice text;
    int rc = json_get_text(r->object, r->at, KEY_LABEL_MAX, &text, NULL, r->e);
    if (rc)
        return rc;
    if (!is_plain(text) || slice_trim(text).n != text.n)
        return err_set(r->e, ERR_INVAL,
                       "label must be at most %d bytes without control characters and without spaces at its "
                       "ends.",
                       KEY_LABEL_MAX);
    memcpy(r->key.label, text.p, text.n);
    r->key.label[text.n] = 0;
    return 0;
}

static int get_number(struct reading *r, uint64_t max, uint64_t *ret_number)
{
    return json_get_u64(r->object, r->at, 0, max, ret_number, NULL, r->e);
}

static int get_limit(struct reading *r, uint32_t *ret_limit)
{
    uint64_t v = 0;
    int rc = get_number(r, KEY_LIMIT_MAX, &v);
    if (!rc)
        *ret_limit = (uint32_t)v;
    return rc;
}

static int get_budget(struct reading *r)
{
    double usd = 0;
    int rc = json_get_double(r->object, r->at, 0, KEY_BUDGET_MAX, &usd, NULL, r->e);
    if (rc)
        return rc;
    r->key.budget_microusd = (uint64_t)llround(usd * 1e6);
    if (usd > 0 && !r->key.budget_microusd)
        return err_set(r->e, ERR_INVAL, "budget_usd must be 0 (any) or at least a millionth.");
    return 0;
}

static int get_member(struct reading *r, enum key_member m)
{
    switch (m) {
    case KEY_HAS_ID:
        return get_hex(r, r->key.id, sizeof(r->key.id));
    case KEY_HAS_HASH:
        return get_hex(r, r->key.hash, sizeof(r->key.hash));
    case KEY_HAS_ROLE:
        return get_role(r);
    case KEY_HAS_LABEL:
        return get_label(r);
    case KEY_HAS_REQUESTS:
        return get_limit(r, &r->key.requests_per_minute);
    case KEY_HAS_TOKENS:
        return get_limit(r, &r->key.tokens_per_minute);
    case KEY_HAS_BUDGET:
        return get_budget(r);
    case KEY_HAS_GRACE:
        return get_number(r, KEY_GRACE_MAX_S, &r->grace_s);
    case KEY_HAS_CREATED:
        return get_number(r, TIME_MAX, &r->key.created_s);
    case KEY_HAS_ENDS:
        return get_number(r, TIME_MAX, &r->key.ends_s);
    case KEY_HAS_REVOKED:
        return get_number(r, TIME_MAX, &r->key.revoked_s);
    default:
        return 0; /* the document's own */
    }
}

static const struct {
    const char *name;
    enum key_member bit;
} members[] = {{"op", KEY_HAS_OP},
               {"id", KEY_HAS_ID},
               {"hash", KEY_HAS_HASH},
               {"role", KEY_HAS_ROLE},
               {"label", KEY_HAS_LABEL},
               {"requests_per_minute", KEY_HAS_REQUESTS},
               {"tokens_per_minute", KEY_HAS_TOKENS},
               {"budget_usd", KEY_HAS_BUDGET},
               {"grace_s", KEY_HAS_GRACE},
               {"keys", KEY_HAS_KEYS},
               {"created_s", KEY_HAS_CREATED},
               {"ends_s", KEY_HAS_ENDS},
               {"revoked_s", KEY_HAS_REVOKED}};

static enum key_member member_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return members[i].bit;
    return 0;
}

/* Every member must be allowed, and those needed must be there. */
static int read_object(struct reading *r, unsigned allowed, unsigned needed)
{
    const cJSON *item;
    cJSON_ArrayForEach (item, r->object) {
        enum key_member m = member_of(item->string);
        r->at = item->string;
        if (!(m & allowed))
            return err_set(r->e, ERR_INVAL, "%.40s has no place here.", item->string);
        if (cJSON_IsNull(item))
            return err_set(r->e, ERR_INVAL, "%s must not be null.", item->string);
        int rc = get_member(r, m);
        if (rc)
            return rc;
        r->given |= m;
    }
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (members[i].bit & needed & ~r->given) {
            r->at = members[i].name;
            return err_set(r->e, ERR_INVAL, "%s is missing.", r->at);
        }
    return 0;
}

static const struct {
    const char *name;
    unsigned allowed, needed;
} ops[] = {
    [KEY_OP_CREATE] = {"create", KEY_HAS_ID | KEY_HAS_HASH | KEY_HAS_ROLE | KEY_HAS_ATTRIBUTES,
                       KEY_HAS_ID | KEY_HAS_HASH | KEY_HAS_ROLE},
    [KEY_OP_ROTATE] = {"rotate", KEY_HAS_ID | KEY_HAS_HASH | KEY_HAS_GRACE,
                       KEY_HAS_ID | KEY_HAS_HASH | KEY_HAS_GRACE},
    [KEY_OP_REVOKE] = {"revoke", KEY_HAS_ID, KEY_HAS_ID},
    [KEY_OP_SET] = {"set", KEY_HAS_ID | KEY_HAS_ATTRIBUTES, KEY_HAS_ID},
    [KEY_OP_IMPORT] = {"import", KEY_HAS_KEYS, KEY_HAS_KEYS},
};

static int find_op(const cJSON *root, enum key_op *ret_op, struct err *e)
{
    const cJSON *op = cJSON_GetObjectItemCaseSensitive(root, "op");
    for (size_t i = 0; cJSON_IsString(op) && i < ARRAY_LEN(ops); i++)
        if (strcmp(ops[i].name, op->valuestring) == 0) {
            *ret_op = (enum key_op)i;
            return 0;
        }
    return err_set(e, ERR_INVAL, "op must be create, rotate, revoke, set or import.");
}

#define RECORD_NEEDED  (KEY_HAS_ID | KEY_HAS_HASH | KEY_HAS_ROLE | KEY_HAS_CREATED)
#define RECORD_ALLOWED (RECORD_NEEDED | KEY_HAS_ATTRIBUTES | KEY_HAS_ENDS | KEY_HAS_REVOKED)

static int read_records(const cJSON *keys, struct key_change *change, struct reading *r)
{
    int n = cJSON_IsArray(keys) ? cJSON_GetArraySize(keys) : 0;
    r->at = "keys";
    if (n < 1 || n > KEY_IMPORT_MAX)
        return err_set(r->e, ERR_INVAL, "keys must be an array of 1 to %d records.", KEY_IMPORT_MAX);
    change->imported = calloc((size_t)n, sizeof(*change->imported));
    if (!change->imported)
        return ERR_NOMEM;
    const cJSON *item;
    cJSON_ArrayForEach (item, keys) {
        r->at = "keys";
        r->object = item;
        r->given = 0;
        r->key = (struct key_record){0};
        if (!cJSON_IsObject(item))
            return err_set(r->e, ERR_INVAL, "keys must hold objects.");
        int rc = read_object(r, RECORD_ALLOWED, RECORD_NEEDED);
        if (rc)
            return rc;
        change->imported[change->n++] = r->key;
    }
    return 0;
}

static int read_document(const cJSON *root, struct key_change *change, struct reading *r)
{
    r->at = "op";
    if (!cJSON_IsObject(root))
        return err_set(r->e, ERR_INVAL, "A change to the keys must be a JSON object.");
    int rc = find_op(root, &change->op, r->e);
    if (!rc)
        rc = read_object(r, ops[change->op].allowed | KEY_HAS_OP, ops[change->op].needed);
    if (rc)
        return rc;
    change->given = r->given;
    change->key = r->key;
    change->grace_s = r->grace_s;
    if (change->op == KEY_OP_SET && !(r->given & KEY_HAS_ATTRIBUTES)) {
        r->at = "label";
        return err_set(r->e, ERR_INVAL, "Nothing is given that set could change.");
    }
    if (change->op == KEY_OP_IMPORT)
        return read_records(cJSON_GetObjectItemCaseSensitive(root, "keys"), change, r);
    return 0;
}

int key_document_parse(struct slice document, struct key_change *ret_change, struct key_refusal *ret_refusal)
{
    cJSON *root = NULL;
    struct err e = {0};
    struct key_change change = {0};
    struct reading r = {.at = "", .e = &e};
    int rc = json_parse(document, &root, &e);
    if (!rc) {
        r.object = root;
        rc = read_document(root, &change, &r);
    }
    if (rc == ERR_INVAL) {
        *ret_refusal = (struct key_refusal){.status = 400, .code = "INVALID_KEY_CHANGE"};
        struct slice field = utf8_truncate(slice_of(r.at), sizeof(ret_refusal->field) - 1);
        memcpy(ret_refusal->field, field.p, field.n);
        struct slice message = utf8_truncate(slice_of(e.text), sizeof(ret_refusal->message) - 1);
        memcpy(ret_refusal->message, message.p, message.n);
    }
    if (root)
        cJSON_Delete(root);
    if (rc)
        key_change_fini(&change);
    else
        *ret_change = change;
    return rc;
}

void key_change_fini(struct key_change *change)
{
    free(change->imported);
    change->imported = NULL;
    change->n = 0;
}
