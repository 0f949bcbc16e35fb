/* Lines of the file into free slots; see submit_fill.h. */
#include "ctl/submit_fill.h"

#include <sodium.h>
#include <string.h>

#include "base/clock.h"

#define WAIT_MS   600000 /* a prompt waits this long in the coordinator; it may have to for a slot */
#define ID_DIGITS 32

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "There is not enough memory for this.");
}

/* prefix-<hash of the content and how often it came before>: the same for the same line of the same file, and
 * for a line that others were put in front of. */
static int make_id(struct submit_run *r, struct submit_line *l, struct err *e)
{
    uint8_t key[IDSET_KEY], hash[ID_DIGITS / 2];
    char digits[ID_DIGITS + 1];
    submit_content_key(l, key);
    uint32_t before = idset_get(&r->contents, key);
    if (idset_put(&r->contents, key, before + 1))
        return no_memory(e);
    crypto_generichash(hash, sizeof(hash), (const unsigned char *)&before, sizeof(before), key, sizeof(key));
    sodium_bin2hex(digits, sizeof(digits), hash, sizeof(hash));
    const char *id = arena_printf(&l->arena, "%s-%s", r->options->id_prefix, digits);
    l->fields[FIELD_REQUEST_ID] = slice_of(id);
    return id ? 0 : no_memory(e);
}

static int fill_submit(struct submit_run *r, struct submit_slot *s, struct err *e)
{
    const struct submit_options *o = r->options;
    struct submit_line *l = &s->line;
    struct slice *f = l->fields;
    if (!f[FIELD_CREATED_AT].p) {
        char *now = arena_alloc(&l->arena, CLOCK_RFC3339_SIZE);
        if (!now)
            return no_memory(e);
        clock_format_rfc3339(clock_real_us(), now);
        f[FIELD_CREATED_AT] = slice_of(now);
    }
    s->submit = (struct wire_submit){
        .family = FAMILY_QUERY,
        .endpoint = ENDPOINT_V1_QUERY,
        .priority = l->has_priority ? l->priority : o->priority,
        .wait_ms = WAIT_MS,
        .request_id = f[FIELD_REQUEST_ID],
        .username = f[FIELD_USERNAME].p ? f[FIELD_USERNAME] : slice_of(o->username),
        .created_at = f[FIELD_CREATED_AT],
        .metadata = f[FIELD_METADATA],
        .prompt = f[FIELD_PROMPT],
        .system_prompt = f[FIELD_SYSTEM_PROMPT],
        .model = f[FIELD_MODEL],
        .temperature = l->temperature,
        .max_tokens = l->max_tokens,
    };
    /* Never SUBMIT_FRESH_ID: an earlier run may have asked under this id. */
    memcpy(s->submit.trust_group, o->trust_group, TRUST_GROUP_SIZE);
    wire_request_key(s->submit.trust_group, FAMILY_QUERY, s->submit.request_id, s->submit.key);
    wire_submit_fingerprint(&s->submit, s->submit.fingerprint);
    return 0;
}

static int tell_fault(struct submit_run *r, struct submit_line *l, const char *sentence, struct err *e)
{
    struct wire_refusal refusal = {.status = 400,
                                   .error_type = SLICE_LITERAL("validation_error"),
                                   .error_code = SLICE_LITERAL("INVALID_LINE"),
                                   .message = slice_of(sentence)};
    r->counts->failed++;
    r->moved_us = clock_mono_us();
    return submit_out_refusal(r->out, l, &refusal, NULL, e);
}

/* Whether the line is to be asked; 0: it is dealt with. Takes l into s when it is. */
static int take_line(struct submit_run *r, struct submit_slot *s, struct submit_line *l, struct err *e)
{
    uint8_t key[IDSET_KEY];
    int rc = 0;
    if (l->fault.code)
        return tell_fault(r, l, l->fault.text, e);
    if (!l->fields[FIELD_REQUEST_ID].p && (rc = make_id(r, l, e)))
        return rc;
    idset_key_of(l->fields[FIELD_REQUEST_ID], key);
    uint32_t known = idset_get(r->ids, key);
    if (known & ID_SEEN)
        return tell_fault(r, l, "Another line of this file has the same request_id.", e);
    if (idset_put(r->ids, key, known | ID_SEEN))
        return no_memory(e);
    if (known & ID_DONE) {
        r->counts->before++;
        return 0;
    }
    s->line = *l;
    rc = fill_submit(r, s, e);
    if (rc)
        *l = s->line; /* its arena may have grown */
    return rc ? rc : 1;
}

int submit_fill(struct submit_run *r, struct err *e)
{
    struct submit_slot *s = r->slots;
    while (!r->at_end && r->open < r->window && !link_host_leaving(r->link->host)) {
        struct submit_line line;
        int rc = submit_next(r->reader, &line, e);
        if (rc < 0)
            return rc;
        if (!rc) {
            r->at_end = true;
            break;
        }
        while (s->state != SLOT_FREE)
            s = s == &r->slots[r->options->concurrency - 1] ? r->slots : s + 1;
        rc = take_line(r, s, &line, e);
        if (rc > 0) {
            s->state = SLOT_WAITS;
            s->due_us = 0;
            s->tries = 0;
            r->open++;
        } else
            submit_line_fini(&line);
        if (rc < 0)
            return rc;
        show_tick(r->show, r->counts, clock_mono_us());
    }
    return 0;
}
