/* Echoes and what tells prompts apart; see echo.h. */
#include "provider/echo.h"

#include "base/utf8.h"

#define WORD_BYTES 8    /* allowed a word on average, white space included */
#define LEAD_MAX   1024 /* white space skipped before the first word */
#define HEAD_MAX   4096 /* of a prompt, looked at to tell it from another; bounds the cost of hostile pairs */

/* Tried in this order until no two prompts can be taken for each other. */
static const struct echo_plan plans[] = {{8, false}, {8, true}, {32, false}, {32, true}};

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Reads a text normalised, byte by byte. */
struct reader {
    const unsigned char *at, *end;
    bool strict;
};

static struct reader reader_of(struct slice s, bool strict)
{
    const unsigned char *p = (const unsigned char *)s.p;
    return (struct reader){p, s.n ? p + s.n : p, strict};
}

/* Bytes of the punctuation character that begins at p (U+00A0, U+2000-U+206F), 0 when it is none. */
static size_t wide_punctuation(const unsigned char *p, const unsigned char *end)
{
    if (end - p >= 2 && p[0] == 0xc2 && p[1] == 0xa0)
        return 2;
    if (end - p >= 3 && p[0] == 0xe2 && (p[1] == 0x80 || (p[1] == 0x81 && p[2] <= 0xaf)))
        return 3;
    return 0;
}

/* The next byte that counts, or -1 at the end. */
static int reader_next(struct reader *r)
{
    while (r->at < r->end) {
        unsigned char c = *r->at;
        if (r->strict) {
            r->at++;
            if (!is_space(c))
                return c;
            continue;
        }
        size_t skip = wide_punctuation(r->at, r->end);
        r->at += skip ? skip : 1;
        if (skip)
            continue;
        if (c >= 'A' && c <= 'Z')
            return c - 'A' + 'a';
        if (c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            return c;
    }
    return -1;
}

static size_t normal_length(struct slice s, bool strict)
{
    struct reader r = reader_of(s, strict);
    size_t n = 0;
    while (reader_next(&r) >= 0)
        n++;
    return n;
}

struct slice echo_required(struct slice prompt, struct echo_plan plan)
{
    const size_t max = (size_t)plan.words * WORD_BYTES;
    size_t from = 0, words = 0;
    while (from < prompt.n && from < LEAD_MAX && is_space((unsigned char)prompt.p[from]))
        from++;
    if (prompt.n == from)
        return (struct slice){prompt.p, 0};
    size_t end = prompt.n - from > max ? from + max : prompt.n, to = from;
    for (; to < end; to++)
        if (to > from && is_space((unsigned char)prompt.p[to]) &&
            !is_space((unsigned char)prompt.p[to - 1]) && ++words == plan.words)
            break;
    return utf8_truncate((struct slice){prompt.p + from, prompt.n - from}, to - from);
}

bool echo_matches(struct slice echo, struct slice prompt, struct echo_plan plan)
{
    struct reader e = reader_of(echo, plan.strict), p = reader_of(prompt, plan.strict);
    size_t n = 0;
    for (int c; (c = reader_next(&e)) >= 0; n++)
        if (c != reader_next(&p))
            return false;
    return n >= normal_length(echo_required(prompt, plan), plan.strict);
}

static struct slice head(struct slice prompt)
{
    return (struct slice){prompt.p, prompt.n > HEAD_MAX ? HEAD_MAX : prompt.n};
}

/* Pairs of different prompts of which one echo could serve both. */
static size_t ambiguous_pairs(const struct provider_member *m, size_t n, struct echo_plan plan)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (!slice_equal(m[i].prompt, m[j].prompt) &&
                (echo_matches(echo_required(m[i].prompt, plan), head(m[j].prompt), plan) ||
                 echo_matches(echo_required(m[j].prompt, plan), head(m[i].prompt), plan)))
                count++;
    return count;
}

struct echo_plan echo_plan_for(const struct provider_member *members, size_t n)
{
    size_t best = 0, fewest = ambiguous_pairs(members, n, plans[0]);
    for (size_t i = 1; fewest > 0 && i < ARRAY_LEN(plans); i++) {
        size_t pairs = ambiguous_pairs(members, n, plans[i]);
        if (pairs < fewest) {
            fewest = pairs;
            best = i;
        }
    }
    return plans[best];
}
