/* Lines and CSV records; see rows.h. */
#include "ctl/rows.h"

static const char too_long[] = "The line is longer than server.max_body_bytes allows.";
static const char too_many[] = "There are more than 64 fields in this line.";
static const char odd_quote[] =
    "A quotation mark stands where CSV allows none: a field is quoted as a whole, and "
    "quotation marks in it are doubled.";
static const char zero_byte[] = "There is a zero byte in the line.";
static const char open_quote[] = "The file ends inside a quoted field.";

void rows_init(struct rows *r, FILE *file, bool csv, size_t max_bytes)
{
    *r = (struct rows){.file = file, .csv = csv};
    buf_init(&r->text, max_bytes);
}

void rows_fini(struct rows *r)
{
    buf_fini(&r->text);
}

struct slice rows_field(const struct rows *r, size_t i)
{
    size_t end = i + 1 < r->fields_n ? r->starts[i + 1] - 1 : r->text.len;
    const char *text = r->text.data ? r->text.data : "";
    return (struct slice){text + r->starts[i], end - r->starts[i]};
}

/* Memory apart from the ceiling: a row that is merely too long is passed over. */
static int add(struct rows *r, int c)
{
    if (r->fault)
        return 0;
    if (r->text.len >= r->text.max) {
        r->fault = too_long;
        return 0;
    }
    buf_append_byte(&r->text, (uint8_t)c);
    return buf_failed(&r->text) ? ERR_NOMEM : 0;
}

/* One from the file. Zero bytes are no text, and end fields here. */
static int add_char(struct rows *r, int c)
{
    if (!c && !r->fault)
        r->fault = zero_byte;
    return add(r, c);
}

static int end_field(struct rows *r)
{
    int rc = add(r, 0);
    if (r->fields_n == ROWS_FIELDS_MAX) {
        r->fault = too_many;
        return rc;
    }
    r->starts[r->fields_n++] = r->text.len;
    return rc;
}

/* A line end is LF; the CR before it belongs to it. */
static int next_char(struct rows *r)
{
    int c = getc_unlocked(r->file);
    if (c != '\r')
        return c;
    int after = getc_unlocked(r->file);
    if (after == '\n')
        return after;
    if (after != EOF)
        ungetc(after, r->file);
    return c;
}

/* Text may begin as the mark does, such as with the wide letters of East Asia: that is the row's then. */
static int pass_mark(struct rows *r)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    for (size_t i = 0; i < ARRAY_LEN(mark); i++) {
        int c = getc_unlocked(r->file), rc = 0;
        if (c == mark[i])
            continue;
        if (c != EOF)
            ungetc(c, r->file);
        for (size_t k = 0; !rc && k < i; k++)
            rc = add(r, mark[k]);
        return rc;
    }
    return 0;
}

/* The rest of a quoted field, behind its first quotation mark: as it stands, also its line ends. */
static int read_quoted(struct rows *r, int *ret_next)
{
    int c, rc = 0;
    while (!rc && (c = getc_unlocked(r->file)) != EOF) {
        if (c == '\n')
            r->lines++;
        if (c == '"') {
            c = next_char(r);
            if (c != '"') {
                *ret_next = c;
                return 0;
            }
        }
        rc = add_char(r, c);
    }
    if (!rc)
        r->fault = open_quote;
    *ret_next = EOF;
    return rc;
}

static int read_row(struct rows *r, int c)
{
    int rc = 0;
    bool at_start = !r->text.len, quoted = false;
    while (!rc && c != EOF && c != '\n') {
        if (r->csv && c == '"' && at_start) {
            at_start = false;
            quoted = true;
            rc = read_quoted(r, &c);
            continue;
        }
        if (r->csv && c == ',') {
            rc = end_field(r);
            at_start = true;
            quoted = false;
        } else {
            if (r->csv && (c == '"' || quoted) && !r->fault)
                r->fault = odd_quote;
            rc = add_char(r, c);
            at_start = false;
        }
        c = next_char(r);
    }
    r->torn = c == EOF;
    return rc;
}

int rows_next(struct rows *r)
{
    buf_clear(&r->text);
    r->fault = NULL;
    r->torn = false;
    r->starts[0] = 0;
    r->fields_n = 1;
    int rc = r->lines ? 0 : pass_mark(r);
    if (rc)
        return rc;
    int c = next_char(r);
    if (c == EOF && !r->text.len)
        return ferror(r->file) ? ERR_IO : 0;
    r->number = ++r->lines;
    rc = read_row(r, c);
    return rc ? rc : ferror(r->file) ? ERR_IO : 1;
}
