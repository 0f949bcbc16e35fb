/* FastCGI as a web server speaks it; see fcgi_wire.h. */
#include "fcgi_wire.h"

#include <string.h>

#include "fuzz.h"

enum record {
    BEGIN_REQUEST = 1,
    ABORT_REQUEST = 2,
    END_REQUEST = 3,
    PARAMS = 4,
    STDIN = 5,
    STDOUT = 6,
    STDERR = 7,
    GET_VALUES = 9,
    GET_VALUES_RESULT = 10,
    UNKNOWN_TYPE = 11
};

#define RECORD_MAX    65535
#define VARIABLES_MAX (256u << 10)

static struct slice take_line(struct slice *text)
{
    const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
    struct slice line = {text->p, end ? (size_t)(end - text->p) : text->n};
    size_t used = line.n + (end != NULL);
    *text = (struct slice){text->p + used, text->n - used};
    return line;
}

static bool begins(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

/* The number behind "!name=", at most max. */
static unsigned number_behind(struct slice line, unsigned max)
{
    const char *at = memchr(line.p, '=', line.n);
    unsigned n = 0;
    for (at = at ? at + 1 : line.p + line.n; at < line.p + line.n && *at >= '0' && *at <= '9' && n <= max;
         at++)
        n = n * 10 + (unsigned)(*at - '0');
    return n > max ? max : n;
}

static void direct(struct fcgi_text *r, struct slice line)
{
    static const struct {
        const char *name;
        size_t offset;
        unsigned max;
    } numbers[] = {
        {"!piece=", offsetof(struct fcgi_text, piece), RECORD_MAX},
        {"!params=", offsetof(struct fcgi_text, params), RECORD_MAX},
        {"!role=", offsetof(struct fcgi_text, role), 65535},
        {"!id=", offsetof(struct fcgi_text, id), 65535},
        {"!odd=", offsetof(struct fcgi_text, odd), 255},
        {"!auth=", offsetof(struct fcgi_text, auth), 99},
        {"!reply=", offsetof(struct fcgi_text, reply), 99},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (begins(line, numbers[i].name))
            *(unsigned *)(void *)((char *)r + numbers[i].offset) = number_behind(line, numbers[i].max);
    r->length |= begins(line, "!length");
    r->noend |= begins(line, "!noend");
    r->keep |= begins(line, "!keep");
    r->abort |= begins(line, "!abort");
}

bool fcgi_text_next(struct slice *text, struct fcgi_text *ret_request)
{
    struct fcgi_text r = {.role = 1, .id = 1};
    static const char next[] = "\n!next\n";
    if (!text->n)
        return false;
    const char *end = memmem(text->p, text->n, next, sizeof(next) - 1);
    struct slice own = {text->p, end ? (size_t)(end - text->p) : text->n};
    size_t used = own.n + (end ? sizeof(next) - 1 : 0);
    *text = (struct slice){text->p + used, text->n - used};
    r.variables = own;
    while (own.n) {
        struct slice line = take_line(&own);
        if (!line.n)
            break;
        if (*line.p == '!')
            direct(&r, line);
    }
    r.id += r.id == 0;
    r.variables.n = (size_t)(own.p - r.variables.p);
    r.body = own;
    *ret_request = r;
    return true;
}

bool fcgi_text_variable(const struct fcgi_text *r, size_t *at, struct slice *ret_name,
                        struct slice *ret_value)
{
    while (*at < r->variables.n) {
        struct slice rest = {r->variables.p + *at, r->variables.n - *at};
        struct slice line = take_line(&rest);
        *at = (size_t)(rest.p - r->variables.p);
        line.n = strnlen(line.p, line.n); /* C strings on the other side */
        if (!line.n || *line.p == '!')
            continue;
        const char *equals = memchr(line.p, '=', line.n);
        size_t name = equals ? (size_t)(equals - line.p) : line.n;
        *ret_name = (struct slice){line.p, name};
        *ret_value = equals ? (struct slice){equals + 1, line.n - name - 1} : (struct slice){"", 0};
        return true;
    }
    return false;
}

static void put_record(struct buf *out, unsigned type, unsigned id, const char *content, size_t n)
{
    uint8_t padding = (uint8_t)(n % 8 ? 8 - n % 8 : 0);
    uint8_t header[8] = {
        1, (uint8_t)type, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(n >> 8), (uint8_t)n, padding, 0};
    buf_append(out, header, sizeof(header));
    buf_append(out, content, n);
    buf_append(out, "\0\0\0\0\0\0\0", padding);
}

/* A stream in records of at most `piece` bytes (0: as large as they can be), without its end. */
static void put_stream(struct buf *out, unsigned type, unsigned id, struct slice s, unsigned piece)
{
    size_t step = piece ? piece : RECORD_MAX;
    for (size_t at = 0; at < s.n; at += step)
        put_record(out, type, id, s.p + at, s.n - at < step ? s.n - at : step);
}

static void put_length(struct buf *out, size_t n)
{
    if (n < 128) {
        buf_append_byte(out, (uint8_t)n);
        return;
    }
    uint8_t bytes[4] = {(uint8_t)(0x80 | n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    buf_append(out, bytes, sizeof(bytes));
}

static void put_variable(struct buf *out, struct slice name, struct slice value)
{
    put_length(out, name.n);
    put_length(out, value.n);
    buf_append_slice(out, name);
    buf_append_slice(out, value);
}

void fcgi_write(struct buf *out, const struct fcgi_text *r)
{
    struct buf variables;
    struct slice name, value;
    char length[24];
    uint8_t begin[8] = {(uint8_t)(r->role >> 8), (uint8_t)r->role, r->keep};
    buf_init(&variables, VARIABLES_MAX);
    for (size_t at = 0; fcgi_text_variable(r, &at, &name, &value);)
        put_variable(&variables, name, value);
    snprintf(length, sizeof(length), "%zu", r->body.n);
    if (r->length)
        put_variable(&variables, SLICE_LITERAL("CONTENT_LENGTH"), slice_of(length));
    put_record(out, BEGIN_REQUEST, 1, (const char *)begin, sizeof(begin));
    put_stream(out, PARAMS, 1, buf_slice(&variables), r->params);
    put_record(out, PARAMS, 1, "", 0);
    if (r->abort)
        put_record(out, ABORT_REQUEST, 1, "", 0);
    put_stream(out, STDIN, r->id, r->body, r->piece);
    if (r->odd)
        put_record(out, r->odd, r->odd == GET_VALUES ? 0 : r->id, "\0\0\0\0\0\0\0\0", 8);
    if (!r->noend)
        put_record(out, STDIN, 1, "", 0);
    buf_fini(&variables);
}

bool fcgi_read(struct slice *bytes, struct buf *ret_stdout)
{
    bool ended = false;
    while (bytes->n && !ended) {
        const uint8_t *h = (const uint8_t *)bytes->p;
        FUZZ_CHECK(bytes->n >= 8, "half a record header is sent");
        size_t n = (size_t)h[4] << 8 | h[5], size = 8 + n + h[6];
        FUZZ_CHECK(h[0] == 1 && bytes->n >= size, "a record of version %d, cut at %zu of %zu", h[0], bytes->n,
                   size);
        switch (h[1]) {
        case STDOUT:
            buf_append(ret_stdout, h + 8, n);
            break;
        case END_REQUEST:
            FUZZ_CHECK(n == 8, "an end of %zu bytes", n);
            ended = h[12] == 0; /* else libfcgi refuses a second request beside the one that runs */
            break;
        default:
            FUZZ_CHECK(h[1] == STDERR || h[1] == GET_VALUES_RESULT || h[1] == UNKNOWN_TYPE,
                       "a record of type %d", h[1]);
        }
        *bytes = (struct slice){bytes->p + size, bytes->n - size};
    }
    return ended;
}
