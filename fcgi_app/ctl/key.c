/*
 * carpoolctl key create, list, set, rotate, revoke. The text of a key is made here and shown once; only its
 * hash leaves this process otherwise, and it is wiped.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/key_list.h"
#include "json/write.h"

#define TEXT_PREFIX  "cp_" /* by which scanners for lost secrets know it */
#define TEXT_BYTES   32
#define TEXT_SIZE    (sizeof(TEXT_PREFIX) + 43) /* base64url of 32 bytes, and a terminator */
#define DOCUMENT_MAX 4096
#define OUTPUT_MAX   (64u << 20)

/* Secret. */
struct fresh_text {
    char text[TEXT_SIZE];
    char hash[2 * KEY_HASH_SIZE + 1];
};

static void make_text(struct fresh_text *f)
{
    uint8_t bytes[TEXT_BYTES], hash[KEY_HASH_SIZE];
    randombytes_buf(bytes, sizeof(bytes));
    strcpy(f->text, TEXT_PREFIX);
    sodium_bin2base64(f->text + strlen(TEXT_PREFIX), TEXT_SIZE - strlen(TEXT_PREFIX), bytes, sizeof(bytes),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_generichash(hash, sizeof(hash), (const unsigned char *)f->text, strlen(f->text), NULL, 0);
    sodium_bin2hex(f->hash, sizeof(f->hash), hash, sizeof(hash));
    sodium_memzero(bytes, sizeof(bytes));
}

/* On standard output nothing but the text, or the JSON. The rest of the sentence tells what it is. */
static enum ctl_exit show_text(const struct ctl *t, const char *id, const struct fresh_text *f)
{
    char line[3 * TEXT_SIZE + KEY_ID_TEXT];
    int n = t->args->json ? snprintf(line, sizeof(line), "{\"id\":\"%s\",\"key\":\"%s\"}\n", id, f->text)
                          : snprintf(line, sizeof(line), "%s\n", f->text);
    int rc = ctl_write(line, (size_t)n);
    sodium_memzero(line, sizeof(line));
    if (rc)
        return ctl_say(CTL_FAILED,
                       "The key %s was made, but its text could not be written to standard output and is "
                       "lost: rotate or revoke it.",
                       id);
    return CTL_DONE;
}

/* ---- documents ---- */

static void begin(struct json_writer *w, struct buf *out, const char *op, const char *id)
{
    buf_init(out, DOCUMENT_MAX);
    json_writer_init(w, out);
    json_object_begin(w);
    json_field_cstr(w, "op", op);
    json_field_cstr(w, "id", id);
}

static void write_attributes(struct json_writer *w, const struct args *a)
{
    if (a->given & ARG_LABEL)
        json_field_cstr(w, "label", a->label);
    if (a->given & ARG_REQUESTS)
        json_field_u64(w, "requests_per_minute", a->requests_per_minute);
    if (a->given & ARG_TOKENS)
        json_field_u64(w, "tokens_per_minute", a->tokens_per_minute);
    if (a->given & ARG_BUDGET) {
        json_key(w, "budget_usd");
        json_double(w, a->budget_usd);
    }
}

/* Ends the document, asks for it, and frees it. */
static enum ctl_exit ask(struct ctl *t, struct json_writer *w, struct buf *document)
{
    json_object_end(w);
    enum ctl_exit code = buf_failed(document)
                             ? ctl_say(CTL_FAILED, "The change is too long, or there is no memory for it.")
                             : ctl_change(t, WIRE_KEYS_CHANGE, buf_slice(document), "key list");
    buf_fini(document);
    return code;
}

/* The key that the first word behind the command names, copied. */
static enum ctl_exit find(struct ctl *t, struct key_record *ret_key, char ret_id[KEY_ID_TEXT])
{
    struct key_list l;
    struct err e = {0};
    const struct key_entry *k;
    int rc = key_list_read(t, &l, &e);
    if (rc)
        return ctl_say(CTL_FAILED, "%s", e.text);
    rc = key_list_find(&l, t->args->words[2], &k, &e);
    if (!rc) {
        *ret_key = *k->texts;
        key_id_text(ret_key->id, ret_id);
    }
    key_list_fini(&l);
    if (rc)
        return ctl_say(rc == ERR_NOT_FOUND ? CTL_NOT_FOUND : CTL_FAILED, "%s", e.text);
    return CTL_DONE;
}

/* What was done, for people on standard error; as JSON it is the id on standard output. */
static enum ctl_exit report(const struct ctl *t, const char *id, const char *what)
{
    if (t->args->json)
        printf("{\"id\":\"%s\"}\n", id);
    else
        ctl_say(CTL_DONE, "%s", what);
    return CTL_DONE;
}

/* ---- commands ---- */

enum ctl_exit key_create(struct ctl *t)
{
    struct fresh_text f;
    uint8_t id_bytes[TRUST_GROUP_SIZE];
    char id[KEY_ID_TEXT];
    struct json_writer w;
    struct buf document;
    const char *role = t->args->role ? t->args->role : "client";
    randombytes_buf(id_bytes, sizeof(id_bytes));
    key_id_text(id_bytes, id);
    make_text(&f);
    begin(&w, &document, "create", id);
    json_field_cstr(&w, "hash", f.hash);
    json_field_cstr(&w, "role", role);
    write_attributes(&w, t->args);
    enum ctl_exit code = ask(t, &w, &document);
    if (code == CTL_DONE)
        code = show_text(t, id, &f);
    sodium_memzero(&f, sizeof(f));
    if (code == CTL_DONE && !t->args->json)
        ctl_say(code,
                "This %s key of the carpool in %.250s has the id %.12s. Its text is shown this once: keep it "
                "now.",
                role, t->conf->storage.dir, id);
    return code;
}

enum ctl_exit key_rotate(struct ctl *t)
{
    struct fresh_text f;
    struct key_record k;
    char id[KEY_ID_TEXT], until[CLOCK_RFC3339_SIZE];
    struct json_writer w;
    struct buf document;
    enum ctl_exit code = find(t, &k, id);
    if (code != CTL_DONE)
        return code;
    make_text(&f);
    begin(&w, &document, "rotate", id);
    json_field_cstr(&w, "hash", f.hash);
    json_field_u64(&w, "grace_s", t->args->grace_s);
    code = ask(t, &w, &document);
    if (code == CTL_DONE)
        code = show_text(t, id, &f);
    sodium_memzero(&f, sizeof(f));
    if (code != CTL_DONE || t->args->json)
        return code;
    clock_format_rfc3339(clock_real_us() + t->args->grace_s * US_PER_S, until);
    return t->args->grace_s
               ? ctl_say(code, "The new text is shown this once: keep it now. The old one works until %s.",
                         until)
               : ctl_say(code, "The new text is shown this once: keep it now. The old one has ended.");
}

enum ctl_exit key_set(struct ctl *t)
{
    struct key_record k;
    char id[KEY_ID_TEXT];
    struct json_writer w;
    struct buf document;
    if (!t->args->given)
        return ctl_say(CTL_USAGE, "Nothing to change is given: --label, --requests-per-minute, "
                                  "--tokens-per-minute or --budget.");
    enum ctl_exit code = find(t, &k, id);
    if (code != CTL_DONE)
        return code;
    begin(&w, &document, "set", id);
    write_attributes(&w, t->args);
    code = ask(t, &w, &document);
    return code == CTL_DONE ? report(t, id, "The key is changed, from the next request on.") : code;
}

enum ctl_exit key_revoke(struct ctl *t)
{
    struct key_record k;
    char id[KEY_ID_TEXT];
    struct json_writer w;
    struct buf document;
    enum ctl_exit code = find(t, &k, id);
    if (code != CTL_DONE)
        return code;
    begin(&w, &document, "revoke", id);
    code = ask(t, &w, &document);
    return code == CTL_DONE ? report(t, id, "The key is revoked, from the next request on.") : code;
}

enum ctl_exit key_list(struct ctl *t)
{
    struct key_list l;
    struct err e = {0};
    struct buf out;
    int rc = key_list_read(t, &l, &e);
    if (rc)
        return ctl_say(CTL_FAILED, "%s", e.text);
    buf_init(&out, OUTPUT_MAX);
    enum ctl_exit code = CTL_DONE;
    if (!l.entries_n && !t->args->json)
        ctl_say(code, "There are no keys yet in %.250s: `" CTL_PROGRAM " key create` makes one.",
                t->conf->storage.dir);
    else if (t->args->json ? key_show_json(&out, &l) : key_show_table(&out, &l))
        code = ctl_say(CTL_FAILED, "There is not enough memory for the list of keys.");
    else if (ctl_write(out.data, out.len))
        code = ctl_say(CTL_FAILED, "The list could not be written to standard output.");
    buf_fini(&out);
    key_list_fini(&l);
    return code;
}
