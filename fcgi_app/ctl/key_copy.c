/*
 * carpoolctl key export and import: the records with their hashes, so that several machines know the same
 * keys. There is no secret in them, but whoever can import may let in whom he likes.
 */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "ctl/key_list.h"
#include "json/read.h"
#include "json/write.h"

#define FORMAT     1 /* of the file */
#define OUTPUT_MAX (64u << 20)
#define INPUT_MAX  (16u << 20)
#define CHUNK      256 /* records in one change (etc/protocol.md) */

static void write_record(struct json_writer *w, const struct key_record *k)
{
    char id[KEY_ID_TEXT], hash[2 * KEY_HASH_SIZE + 1];
    key_id_text(k->id, id);
    json_object_begin(w);
    json_field_cstr(w, "id", id);
    json_field_cstr(w, "hash", sodium_bin2hex(hash, sizeof(hash), k->hash, sizeof(k->hash)));
    json_field_cstr(w, "role", key_role_name(k->role));
    json_field_cstr(w, "label", k->label);
    json_field_u64(w, "requests_per_minute", k->requests_per_minute);
    json_field_u64(w, "tokens_per_minute", k->tokens_per_minute);
    json_key(w, "budget_usd");
    json_double(w, (double)k->budget_microusd / 1e6);
    json_field_u64(w, "created_s", k->created_s);
    json_field_u64(w, "ends_s", k->ends_s);
    json_field_u64(w, "revoked_s", k->revoked_s);
    json_object_end(w);
}

/* One record a line, so that copies can be compared. */
static void write_file(struct buf *out, const struct key_list *l)
{
    buf_printf(out, "{\"carpool_keys\":%d,\"keys\":[", FORMAT);
    for (size_t i = 0; i < l->n; i++) {
        struct json_writer w;
        buf_append_text(out, i ? ",\n" : "\n");
        json_writer_init(&w, out);
        write_record(&w, &l->records[i]);
    }
    buf_append_text(out, "\n]}\n");
}

enum ctl_exit key_export(struct ctl *t)
{
    struct key_list l;
    struct err e = {0};
    struct buf out;
    enum ctl_exit code = CTL_DONE;
    int rc = key_list_read(t, &l, &e);
    if (rc)
        return ctl_say(CTL_FAILED, "%s", e.text);
    buf_init(&out, OUTPUT_MAX);
    write_file(&out, &l);
    if (buf_failed(&out))
        code = ctl_say(CTL_FAILED, "There is not enough memory for the keys.");
    else if (ctl_write(out.data, out.len))
        code = ctl_say(CTL_FAILED, "The keys could not be written to standard output.");
    buf_fini(&out);
    key_list_fini(&l);
    return code;
}

/* ---- import ---- */

static int parse_file(struct slice text, cJSON **ret_root, struct err *e)
{
    struct err why = {0};
    int rc = json_parse(text, ret_root, &why);
    if (rc == ERR_INVAL)
        return err_set(e, rc, "This is no file of `" CTL_PROGRAM " key export`: %.200s", why.text);
    if (rc)
        *e = why;
    return rc;
}

/* The array of records in the file. */
static int find_records(const cJSON *root, const cJSON **ret_keys, struct err *e)
{
    const cJSON *format = cJSON_GetObjectItemCaseSensitive(root, "carpool_keys");
    const cJSON *keys = cJSON_GetObjectItemCaseSensitive(root, "keys");
    if (!cJSON_IsNumber(format) || !cJSON_IsArray(keys))
        return err_set(e, ERR_INVAL, "This is no file of `" CTL_PROGRAM " key export`.");
    if (format->valuedouble != FORMAT)
        return err_set(e, ERR_INVAL,
                       "The file was written by a newer version of this program; install that "
                       "version here, too.");
    *ret_keys = keys;
    return 0;
}

/* The document for the next records from *at on, which moves behind them. */
static void write_chunk(struct buf *out, const cJSON **at)
{
    size_t n = 0;
    buf_append_text(out, "{\"op\":\"import\",\"keys\":[");
    for (; *at && n < CHUNK; *at = (*at)->next) {
        char *record = cJSON_PrintUnformatted(*at);
        buf_append_text(out, n++ ? "," : "");
        if (record)
            buf_append_text(out, record);
        else
            out->failed = true;
        cJSON_free(record);
    }
    buf_append_text(out, "]}");
}

static enum ctl_exit import_all(struct ctl *t, const cJSON *keys, size_t *ret_done)
{
    const cJSON *at = keys->child;
    enum ctl_exit code = CTL_DONE;
    while (at && code == CTL_DONE) {
        struct buf document;
        buf_init(&document, INPUT_MAX);
        write_chunk(&document, &at);
        code = buf_failed(&document) ? ctl_say(CTL_FAILED, "There is not enough memory for the keys.")
                                     : ctl_change(t, WIRE_KEYS_CHANGE, buf_slice(&document), "key list");
        buf_fini(&document);
        if (code == CTL_DONE)
            *ret_done += CHUNK;
    }
    return code;
}

enum ctl_exit key_import(struct ctl *t)
{
    struct buf text;
    struct err e = {0};
    cJSON *root = NULL;
    const cJSON *keys = NULL;
    size_t done = 0;
    buf_init(&text, INPUT_MAX);
    int rc = ctl_read_file(t->args->words[2], &text, &e);
    if (!rc)
        rc = parse_file(buf_slice(&text), &root, &e);
    if (!rc)
        rc = find_records(root, &keys, &e);
    buf_fini(&text);
    enum ctl_exit code = rc ? ctl_say(CTL_FAILED, "%s", e.text) : import_all(t, keys, &done);
    size_t n = keys ? (size_t)cJSON_GetArraySize(keys) : 0;
    cJSON_Delete(root);
    if (code != CTL_DONE && done)
        return ctl_say(code, "The first %zu of %zu records were taken before that; import the file again.",
                       done, n);
    if (code != CTL_DONE)
        return code;
    if (t->args->json)
        printf("{\"records\":%zu}\n", n);
    else
        ctl_say(code, "%zu records are taken over, from the next request on.", n);
    return code;
}
