/* What the audit trail says of a change to the keys; see key_change.h. */
#include <sodium.h>

#include "coordinator/key_change.h"
#include "json/write.h"

#define DETAILS_MAX 16384
#define SHOWN_MAX   20 /* keys of an import; the rest is counted */

static void write_limits(struct json_writer *w, const struct key_record *k)
{
    json_field_cstr(w, "label", k->label);
    json_field_u64(w, "requests_per_minute", k->requests_per_minute);
    json_field_u64(w, "tokens_per_minute", k->tokens_per_minute);
    json_key(w, "budget_usd");
    json_double(w, (double)k->budget_microusd / 1e6);
}

static void write_key(struct json_writer *w, const struct key_record *k)
{
    char id[2 * TRUST_GROUP_SIZE + 1];
    json_field_cstr(w, "id", sodium_bin2hex(id, sizeof(id), k->id, sizeof(k->id)));
    json_field_cstr(w, "role", k->role == KEY_ADMIN ? "admin" : "client");
    write_limits(w, k);
}

static void write_imported(struct json_writer *w, const struct commit_keys *keys)
{
    json_field_u64(w, "count", keys->n);
    json_key(w, "keys");
    json_array_begin(w);
    for (size_t i = 0; i < keys->n && i < SHOWN_MAX; i++) {
        json_object_begin(w);
        write_key(w, &keys->keys[i]);
        json_field_bool(w, "revoked", keys->keys[i].revoked_s != 0);
        json_object_end(w);
    }
    json_array_end(w);
}

static void write_details(struct buf *out, const struct key_index *x, const struct key_change *change,
                          const struct commit_keys *keys)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object_begin(&w);
    if (change->op == KEY_OP_IMPORT)
        write_imported(&w, keys);
    else
        write_key(&w, &keys->keys[keys->n - 1]);
    if (change->op == KEY_OP_ROTATE)
        json_field_u64(&w, "grace_s", change->grace_s);
    if (change->op == KEY_OP_SET) {
        json_key(&w, "before");
        json_object_begin(&w);
        write_limits(&w, key_index_by_id(x, change->key.id));
        json_object_end(&w);
    }
    json_object_end(&w);
}

struct commit_audit *key_audit(const struct key_index *x, const struct key_change *change,
                               const struct commit_keys *keys, uint64_t real_us, struct slice actor)
{
    static const char *const actions[] = {[KEY_OP_CREATE] = "key.create",
                                          [KEY_OP_ROTATE] = "key.rotate",
                                          [KEY_OP_REVOKE] = "key.revoke",
                                          [KEY_OP_SET] = "key.set",
                                          [KEY_OP_IMPORT] = "key.import"};
    struct buf details;
    struct commit_audit *a = NULL;
    buf_init(&details, DETAILS_MAX);
    write_details(&details, x, change, keys);
    if (!buf_failed(&details))
        a = commit_audit_new(real_us, actor, actions[change->op], buf_slice(&details));
    buf_fini(&details);
    return a;
}
