/* Lines of a file of prompts; see submit_line.h. */
#include "ctl/submit_line.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "wire/frame.h"
#include "json/read.h"

#define ARENA_ROOM     (64 * 1024) /* beyond the line itself */
#define USERNAME_MAX   128
#define METADATA_MAX   (8 * 1024)
#define CREATED_AT_MAX 64
#define MODEL_MAX      128
#define TOKENS_MAX     1000000

static const char *const names[SUBMIT_FIELDS] = {
    [FIELD_PROMPT] = "prompt",
    [FIELD_REQUEST_ID] = "request_id",
    [FIELD_USERNAME] = "username",
    [FIELD_PRIORITY] = "priority",
    [FIELD_METADATA] = "metadata",
    [FIELD_SYSTEM_PROMPT] = "system_prompt",
    [FIELD_MODEL] = "model",
    [FIELD_MAX_TOKENS] = "max_tokens",
    [FIELD_TEMPERATURE] = "temperature",
    [FIELD_CREATED_AT] = "created_at",
};
#define KNOWN                                                                                                \
    "prompt, request_id, username, priority, metadata, system_prompt, model, max_tokens, temperature and "   \
    "created_at"

enum args_format submit_format_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (dot && !strcasecmp(dot, ".csv"))
        return FORMAT_CSV;
    return dot && (!strcasecmp(dot, ".txt") || !strcasecmp(dot, ".text")) ? FORMAT_TEXT : FORMAT_JSONL;
}

static enum submit_field field_of(struct slice name)
{
    size_t i = 0;
    while (i < SUBMIT_FIELDS && !slice_is(name, names[i]))
        i++;
    return (enum submit_field)(slice_is(name, "system") ? FIELD_SYSTEM_PROMPT : i);
}

static void blame(struct submit_line *l, const char *reason)
{
    if (!l->fault.code)
        err_set(&l->fault, ERR_INVAL, "%s", reason);
}

/* ---- what a field may be ---- */

/* 1 to 128 of [A-Za-z0-9._:-], as the worker has it. */
static bool is_request_id(struct slice id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
    for (size_t i = 0; i < id.n; i++)
        if (!id.p[i] || !strchr(letters, id.p[i]))
            return false;
    return id.n > 0 && id.n <= WIRE_REQUEST_ID_MAX;
}

static void check_texts(struct submit_line *l)
{
    const struct slice *f = l->fields;
    uint64_t us;
    if (f[FIELD_REQUEST_ID].p && !is_request_id(f[FIELD_REQUEST_ID])) {
        blame(l, "request_id must be 1 to 128 characters of A-Z, a-z, 0-9 and . _ : -");
        l->fields[FIELD_REQUEST_ID] = (struct slice){0};
    }
    if (!f[FIELD_PROMPT].p || !slice_trim(f[FIELD_PROMPT]).n)
        blame(l, f[FIELD_PROMPT].p ? "prompt is empty: it must hold more than white space."
                                   : "prompt is missing: it must be a text.");
    if (f[FIELD_USERNAME].n > USERNAME_MAX)
        blame(l, "username is longer than 128 bytes.");
    if (f[FIELD_MODEL].n > MODEL_MAX)
        blame(l, "model is longer than 128 bytes.");
    if (f[FIELD_METADATA].n > METADATA_MAX)
        blame(l, "metadata is larger than 8192 bytes.");
    if (f[FIELD_CREATED_AT].p && (f[FIELD_CREATED_AT].n <= 10 || f[FIELD_CREATED_AT].n > CREATED_AT_MAX ||
                                  !clock_parse_rfc3339(f[FIELD_CREATED_AT], &us)))
        blame(l, "created_at must be a date-time of RFC 3339, such as 2026-02-01T12:00:00Z.");
}

static void take_priority(struct submit_line *l, const char *text)
{
    static const char *const digits[] = {"0", "1", "2"};
    l->has_priority = true;
    for (size_t i = 0; i < ARRAY_LEN(digits); i++)
        if (strcmp(text, digits[i]) == 0) {
            l->priority = (enum priority)i;
            return;
        }
    if (conf_priority_parse(text, &l->priority))
        blame(l, "priority must be HIGH, MEDIUM or LOW, or 2, 1 or 0.");
}

static void take_number(struct submit_line *l, enum submit_field f, double number)
{
    if (f == FIELD_TEMPERATURE) {
        l->temperature = number;
        if (!(number >= 0 && number <= 2))
            blame(l, "temperature must be a number from 0 to 2.");
    } else if (!(number >= 1 && number <= TOKENS_MAX) || number != floor(number))
        blame(l, "max_tokens must be a whole number from 1 to 1000000.");
    else
        l->max_tokens = (uint32_t)number;
}

static int keep(struct submit_line *l, enum submit_field f, struct slice text)
{
    char *copy = arena_copy(&l->arena, text);
    l->fields[f] = (struct slice){copy, copy ? text.n : 0};
    return copy ? 0 : ERR_NOMEM;
}

/* ---- JSON ---- */

static int take_metadata(struct submit_line *l, const cJSON *item)
{
    if (!cJSON_IsObject(item)) {
        blame(l, "metadata must be an object.");
        return 0;
    }
    char *printed = cJSON_PrintUnformatted(item);
    int rc = printed ? keep(l, FIELD_METADATA, slice_of(printed)) : ERR_NOMEM;
    cJSON_free(printed);
    return rc;
}

static int take_item(struct submit_line *l, const cJSON *item)
{
    enum submit_field f = field_of(slice_of(item->string));
    bool is_text = cJSON_IsString(item);
    if (f == SUBMIT_FIELDS) {
        if (!l->fault.code)
            err_set(&l->fault, ERR_INVAL,
                    "\"%.40s\" is not known here; known are " KNOWN ". What is yours can stand in metadata.",
                    item->string);
        return 0;
    }
    if (cJSON_IsNull(item))
        return 0;
    if (f == FIELD_METADATA)
        return take_metadata(l, item);
    if (f == FIELD_TEMPERATURE || f == FIELD_MAX_TOKENS) {
        take_number(l, f, cJSON_IsNumber(item) ? item->valuedouble : NAN);
        return 0;
    }
    if (f == FIELD_PRIORITY) {
        char digit[2] = {(char)('0' + (cJSON_IsNumber(item) ? item->valueint % 10 : 9)), 0};
        bool small = cJSON_IsNumber(item) &&
                     (item->valuedouble == 0 || item->valuedouble == 1 || item->valuedouble == 2);
        take_priority(l, is_text ? item->valuestring : small ? digit : "");
        return 0;
    }
    if (is_text)
        return keep(l, f, slice_of(item->valuestring));
    if (!l->fault.code)
        err_set(&l->fault, ERR_INVAL, "%s must be a text.", names[f]);
    return 0;
}

static int parse_object(struct submit_line *l, struct slice text)
{
    cJSON *root = NULL;
    struct err e = {0};
    int rc = json_parse(text, &root, &e);
    if (rc == ERR_INVAL) {
        if (!l->fault.code)
            err_set(&l->fault, ERR_INVAL, "The line is no JSON: %.400s", e.text);
        return 0;
    }
    if (!rc && !cJSON_IsObject(root))
        blame(l, "The line must be a JSON object such as {\"prompt\":\"…\"}.");
    const cJSON *item = rc ? NULL : root->child;
    for (; !rc && item && cJSON_IsObject(root); item = item->next)
        rc = take_item(l, item);
    cJSON_Delete(root);
    return rc;
}

/* ---- CSV ---- */

static int take_cell(struct submit_line *l, enum submit_field f, struct slice cell)
{
    if (!cell.n)
        return 0;
    if (f == FIELD_TEMPERATURE || f == FIELD_MAX_TOKENS) {
        char *end;
        double number = strtod(cell.p, &end); /* a zero byte is behind each cell */
        take_number(l, f, *end || strspn(cell.p, "0123456789.") != cell.n ? NAN : number);
        return 0;
    }
    if (f == FIELD_PRIORITY)
        take_priority(l, cell.p);
    else if (f == FIELD_METADATA) {
        cJSON *root = NULL;
        int rc = json_parse(cell, &root, NULL);
        if (rc == ERR_INVAL)
            blame(l, "metadata must be a JSON object.");
        else if (!rc)
            rc = take_metadata(l, root);
        cJSON_Delete(root);
        return rc == ERR_NOMEM ? rc : 0;
    } else
        return keep(l, f, cell);
    return 0;
}

static int parse_record(const struct submit_reader *r, struct submit_line *l)
{
    int rc = 0;
    if (r->rows.fields_n != r->columns_n) {
        if (!l->fault.code)
            err_set(&l->fault, ERR_INVAL, "The line has %zu fields and the header %zu.", r->rows.fields_n,
                    r->columns_n);
        return 0;
    }
    for (size_t i = 0; !rc && i < r->columns_n; i++)
        rc = take_cell(l, r->columns[i], rows_field(&r->rows, i));
    return rc;
}

static int read_header(struct submit_reader *r, struct err *e)
{
    bool seen[SUBMIT_FIELDS] = {0};
    int rc = rows_next(&r->rows);
    if (rc < 0)
        return rc == ERR_NOMEM ? err_set(e, rc, "There is not enough memory for this.")
                               : err_set_errno(e, "The file cannot be read");
    if (!rc || r->rows.fault)
        return err_set(e, ERR_INVAL, "The CSV header in line 1 cannot be read: %s",
                       rc ? r->rows.fault : "the file is empty.");
    for (size_t i = 0; i < r->rows.fields_n; i++) {
        struct slice name = slice_trim(rows_field(&r->rows, i));
        enum submit_field f = field_of(name);
        if (f == SUBMIT_FIELDS || seen[f])
            return err_set(e, ERR_INVAL, "The CSV header %s \"%.*s\"; known columns are " KNOWN ".",
                           f == SUBMIT_FIELDS ? "has the unknown column" : "has twice the column",
                           (int)(name.n < 40 ? name.n : 40), name.p);
        seen[f] = true;
        r->columns[i] = f;
    }
    r->columns_n = r->rows.fields_n;
    return seen[FIELD_PROMPT] ? 0
                              : err_set(e, ERR_INVAL,
                                        "The first line of a CSV file must be a header with a column "
                                        "\"prompt\".");
}

/* ---- lines ---- */

int submit_reader_open(struct submit_reader *r, FILE *file, enum args_format format, size_t max_bytes,
                       struct err *e)
{
    *r = (struct submit_reader){.format = format};
    rows_init(&r->rows, file, format == FORMAT_CSV, max_bytes);
    return format == FORMAT_CSV ? read_header(r, e) : 0;
}

void submit_reader_close(struct submit_reader *r)
{
    rows_fini(&r->rows);
}

static int parse(const struct submit_reader *r, struct submit_line *l)
{
    struct slice text = buf_slice(&r->rows.text);
    int rc = 0;
    if (r->rows.fault)
        blame(l, r->rows.fault);
    else if (utf8_valid_prefix(text) != text.n)
        blame(l, "The line is not UTF-8.");
    else if (r->format == FORMAT_JSONL)
        rc = parse_object(l, text);
    else
        rc = r->format == FORMAT_CSV ? parse_record(r, l) : keep(l, FIELD_PROMPT, text);
    if (!rc && !l->fault.code)
        check_texts(l);
    return rc;
}

int submit_next(struct submit_reader *r, struct submit_line *ret_line, struct err *e)
{
    struct submit_line l = {.temperature = NAN};
    int rc;
    do
        rc = rows_next(&r->rows);
    while (rc > 0 && !r->rows.fault && r->rows.fields_n == 1 && !slice_trim(buf_slice(&r->rows.text)).n);
    if (rc > 0) {
        l.number = r->rows.number;
        arena_init(&l.arena, 2 * r->rows.text.len + ARENA_ROOM);
        rc = parse(r, &l) ? ERR_NOMEM : 1;
    }
    if (rc > 0)
        *ret_line = l;
    else
        arena_fini(&l.arena);
    if (rc == ERR_NOMEM)
        return err_set(e, rc, "There is not enough memory for line %llu.",
                       (unsigned long long)r->rows.number);
    return rc == ERR_IO ? err_set_errno(e, "The file of prompts cannot be read") : rc;
}

void submit_line_fini(struct submit_line *l)
{
    arena_fini(&l->arena);
}

void submit_content_key(const struct submit_line *l, uint8_t ret_key[IDSET_KEY])
{
    crypto_generichash_state h;
    uint64_t numbers[2] = {l->max_tokens, 0};
    if (!isnan(l->temperature))
        memcpy(&numbers[1], &l->temperature, sizeof(numbers[1]));
    numbers[1] += isnan(l->temperature) ? UINT64_MAX : 0;
    crypto_generichash_init(&h, NULL, 0, IDSET_KEY);
    crypto_generichash_update(&h, (const unsigned char *)numbers, sizeof(numbers));
    for (size_t i = 0; i < SUBMIT_FIELDS; i++) {
        uint64_t n = l->fields[i].p ? l->fields[i].n : UINT64_MAX;
        if (i == FIELD_REQUEST_ID)
            continue;
        crypto_generichash_update(&h, (const unsigned char *)&n, sizeof(n));
        if (l->fields[i].n)
            crypto_generichash_update(&h, (const unsigned char *)l->fields[i].p, l->fields[i].n);
    }
    crypto_generichash_final(&h, ret_key, IDSET_KEY);
}
