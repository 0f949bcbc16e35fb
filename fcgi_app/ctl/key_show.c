/* The list of keys, for people and as JSON; see key_list.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/cost.h"
#include "ctl/key_list.h"
#include "json/write.h"

#define COLUMNS   9
#define CELL_SIZE 128
#define ID_SHOWN  12 /* digits; all of them are in the JSON */
#define GAP       2

struct row {
    char cells[COLUMNS][CELL_SIZE];
};

/* Of a text for a terminal: its characters, as far as one takes one column. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* "2026-11-20", or with the minute: "2026-11-20 13:56". */
static void format_time(uint64_t s, bool minute, char ret_text[CLOCK_RFC3339_SIZE])
{
    clock_format_rfc3339(s * US_PER_S, ret_text);
    ret_text[10] = ' ';
    ret_text[minute ? 16 : 10] = 0;
}

static void write_limit(char cell[CELL_SIZE], uint32_t limit)
{
    if (limit)
        snprintf(cell, CELL_SIZE, "%" PRIu32, limit);
    else
        snprintf(cell, CELL_SIZE, "-");
}

static void fill(struct row *row, const struct key_list *l, const struct key_entry *k)
{
    const struct key_record *r = k->texts;
    char id[KEY_ID_TEXT], time[CLOCK_RFC3339_SIZE];
    uint64_t old_until_s = key_entry_old_until_s(k, l->now_s);
    enum key_state state = key_entry_state(k, l->now_s);
    key_id_text(r->id, id);
    snprintf(row->cells[0], CELL_SIZE, "%.*s", ID_SHOWN, id);
    snprintf(row->cells[1], CELL_SIZE, "%s", r->label[0] ? r->label : "-");
    snprintf(row->cells[2], CELL_SIZE, "%s", key_role_name(r->role));
    snprintf(row->cells[3], CELL_SIZE, "%s", key_state_name(state));
    if (state == KEY_ACTIVE && old_until_s) {
        format_time(old_until_s, true, time);
        snprintf(row->cells[3], CELL_SIZE, "active, old text until %s", time);
    }
    format_time(k->created_s, false, time);
    snprintf(row->cells[4], CELL_SIZE, "%s", time);
    write_limit(row->cells[5], r->requests_per_minute);
    write_limit(row->cells[6], r->tokens_per_minute);
    if (r->budget_microusd)
        cost_format(cost_of_microusd(r->budget_microusd), row->cells[7]);
    else
        snprintf(row->cells[7], CELL_SIZE, "-");
    cost_format(k->spent_picousd, row->cells[8]);
}

static const struct row heading = {
    {"ID", "LABEL", "ROLE", "STATE", "CREATED", "REQUESTS/MIN", "TOKENS/MIN", "BUDGET USD", "SPENT USD"}};

static void write_row(struct buf *out, const struct row *row, const size_t widths[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++) {
        bool number = i >= 5; /* to the right */
        int pad = (int)(widths[i] - width_of(row->cells[i]));
        buf_printf(out, "%*s%s", number ? pad : 0, "", row->cells[i]);
        if (i + 1 < COLUMNS)
            buf_printf(out, "%*s", (number ? 0 : pad) + GAP, "");
    }
    buf_append_text(out, "\n");
}

static void widen(size_t widths[COLUMNS], const struct row *row)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        size_t n = width_of(row->cells[i]);
        if (n > widths[i])
            widths[i] = n;
    }
}

int key_show_table(struct buf *out, const struct key_list *l)
{
    size_t widths[COLUMNS] = {0};
    struct row row;
    widen(widths, &heading);
    for (size_t i = 0; i < l->entries_n; i++) {
        fill(&row, l, &l->entries[i]);
        widen(widths, &row);
    }
    write_row(out, &heading, widths);
    for (size_t i = 0; i < l->entries_n; i++) {
        fill(&row, l, &l->entries[i]);
        write_row(out, &row, widths);
    }
    return buf_failed(out) ? ERR_NOMEM : 0;
}

/* ---- JSON ---- */

static void json_time(struct json_writer *w, const char *key, uint64_t s)
{
    char text[CLOCK_RFC3339_SIZE];
    json_key(w, key);
    if (!s) {
        json_null(w);
        return;
    }
    clock_format_rfc3339(s * US_PER_S, text);
    json_text(w, slice_of(text));
}

static void write_entry(struct json_writer *w, const struct key_list *l, const struct key_entry *k)
{
    const struct key_record *r = k->texts;
    char id[KEY_ID_TEXT];
    key_id_text(r->id, id);
    json_object_begin(w);
    json_field_cstr(w, "id", id);
    json_field_cstr(w, "label", r->label);
    json_field_cstr(w, "role", key_role_name(r->role));
    json_field_cstr(w, "state", key_state_name(key_entry_state(k, l->now_s)));
    json_time(w, "created", k->created_s);
    json_time(w, "revoked", r->revoked_s);
    json_time(w, "old_text_until", key_entry_old_until_s(k, l->now_s));
    json_field_u64(w, "requests_per_minute", r->requests_per_minute);
    json_field_u64(w, "tokens_per_minute", r->tokens_per_minute);
    json_key(w, "budget_usd");
    json_double(w, (double)r->budget_microusd / 1e6);
    json_key(w, "spent_usd");
    json_double(w, (double)k->spent_picousd / 1e12);
    json_object_end(w);
}

int key_show_json(struct buf *out, const struct key_list *l)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object_begin(&w);
    json_key(&w, "keys");
    json_array_begin(&w);
    for (size_t i = 0; i < l->entries_n; i++)
        write_entry(&w, l, &l->entries[i]);
    json_array_end(&w);
    json_object_end(&w);
    buf_append_text(out, "\n");
    return buf_failed(out) ? ERR_NOMEM : 0;
}
