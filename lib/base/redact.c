/*
 * See redact.h. One pass: two tables say at which pairs of bytes anything secret can begin, and only there is
 * looked closer.
 */
#include "base/redact.h"

#include <ctype.h>
#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <strings.h>

#include "base/err.h"

#define SECRET_BYTES  512 /* as long as an option can be; of a longer one the beginning is known */
#define KEY_BYTES_MIN 16  /* "sk-…" and its like shorter than this are no keys */
#define OWN_BYTES_MIN 46  /* "cp_…" is ours, and always so long */
#define VALUE_MIN     8   /* and so are other values shorter than this */

/* How a secret can begin, by its first two bytes: a bit for each kind, in the table of the first byte and in
 * that of the second. */
enum beginning {
    PARAMETER = 1,  /* ?key= &api_key= ?token= &password= ?secret= */
    USERINFO = 2,   /* :// */
    CREDENTIAL = 4, /* bearer basic */
    FIELD_A = 8,    /* api_key AIza */
    BEFORE_A = 16,  /* password xai- */
    KEY_S = 32,     /* sk- gsk_ */
    KEY_HC = 64,    /* hf_ cp_ */
    KNOWN = 128     /* one that is remembered, whatever comes second */
};
static uint8_t first_byte[256] = {
    ['?'] = PARAMETER, ['&'] = PARAMETER, [':'] = USERINFO, ['b'] = CREDENTIAL, ['B'] = CREDENTIAL,
    ['a'] = FIELD_A,   ['A'] = FIELD_A,   ['p'] = BEFORE_A, ['P'] = BEFORE_A,   ['x'] = BEFORE_A,
    ['s'] = KEY_S,     ['g'] = KEY_S,     ['h'] = KEY_HC,   ['c'] = KEY_HC};
static const uint8_t second_byte[256] = {['/'] = USERINFO,
                                         ['e'] = CREDENTIAL,
                                         ['E'] = CREDENTIAL,
                                         ['I'] = FIELD_A,
                                         ['k'] = PARAMETER | KEY_S,
                                         ['K'] = PARAMETER,
                                         ['t'] = PARAMETER,
                                         ['T'] = PARAMETER,
                                         ['S'] = PARAMETER,
                                         ['a'] = PARAMETER | CREDENTIAL | BEFORE_A,
                                         ['A'] = PARAMETER | CREDENTIAL | BEFORE_A,
                                         ['p'] = PARAMETER | FIELD_A | KEY_HC,
                                         ['P'] = PARAMETER | FIELD_A,
                                         ['s'] = PARAMETER | KEY_S,
                                         ['f'] = KEY_HC};

static struct {
    pthread_rwlock_t lock; /* of first_byte as well */
    char text[REDACT_SECRETS][SECRET_BYTES];
    size_t n[REDACT_SECRETS];
    unsigned next;        /* the place of the next one */
    unsigned starts[256]; /* how many secrets begin with that byte */
    bool locked;          /* in memory */
} known = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static bool is_known(struct slice secret)
{
    for (unsigned i = 0; i < REDACT_SECRETS; i++)
        if (slice_equal((struct slice){known.text[i], known.n[i]}, secret))
            return true;
    return false;
}

/* What follows the scheme's "://user:", up to the last "@" before the path; the text itself when it is no
 * URL. */
static struct slice password_of(struct slice text)
{
    const char *host = text.n ? memmem(text.p, text.n, "://", 3) : NULL;
    if (!host)
        return text;
    host += 3;
    size_t rest = text.n - (size_t)(host - text.p);
    const char *slash = memchr(host, '/', rest);
    if (slash)
        rest = (size_t)(slash - host);
    const char *sign = memrchr(host, '@', rest);
    const char *colon = sign ? memchr(host, ':', (size_t)(sign - host)) : NULL;
    return colon ? (struct slice){colon + 1, (size_t)(sign - colon - 1)} : (struct slice){0};
}

void redact_remember(struct slice secret)
{
    secret = password_of(secret);
    if (secret.n < REDACT_BYTES_MIN)
        return;
    if (secret.n > SECRET_BYTES)
        secret.n = SECRET_BYTES;
    pthread_rwlock_wrlock(&known.lock);
    if (!known.locked)
        known.locked = sodium_mlock(known.text, sizeof(known.text)) == 0;
    if (!is_known(secret)) {
        unsigned i = known.next;
        known.next = (i + 1) % REDACT_SECRETS;
        unsigned char old = (unsigned char)known.text[i][0];
        if (known.n[i] && --known.starts[old] == 0)
            first_byte[old] &= (uint8_t)~KNOWN;
        memcpy(known.text[i], secret.p, secret.n);
        known.n[i] = secret.n;
        known.starts[(unsigned char)secret.p[0]]++;
        first_byte[(unsigned char)secret.p[0]] |= KNOWN;
    }
    pthread_rwlock_unlock(&known.lock);
}

void redact_forget(void)
{
    pthread_rwlock_wrlock(&known.lock);
    sodium_memzero(known.text, sizeof(known.text));
    memset(known.n, 0, sizeof(known.n));
    memset(known.starts, 0, sizeof(known.starts));
    for (unsigned c = 0; c < ARRAY_LEN(first_byte); c++)
        first_byte[c] &= (uint8_t)~KNOWN;
    if (known.locked)
        sodium_munlock(known.text, sizeof(known.text));
    known.locked = false;
    known.next = 0;
    pthread_rwlock_unlock(&known.lock);
}

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Where a value ends that nothing else bounds: at white space, quotes, and what URLs and lists put after one.
 */
static bool ends_value(char c)
{
    return (unsigned char)c <= ' ' || strchr("\"'\\<>&,;#{}()", c);
}

/* A span of the text that is secret; n == 0: none. */
struct span {
    size_t from, n;
};

static bool begins_with(struct slice text, size_t at, const char *word)
{
    size_t n = strlen(word);
    return text.n - at >= n && strncasecmp(text.p + at, word, n) == 0;
}

static bool is_alphanumeric(char c)
{
    return is_token(c) && c != '-' && c != '_';
}

/* Whether a key can begin here: not inside a word, but after "\n" and its like, as JSON writes them. */
static bool begins_word(struct slice text, size_t at)
{
    if (at == 0 || !is_alphanumeric(text.p[at - 1]))
        return true;
    if (at >= 2 && text.p[at - 2] == '\\')
        return strchr("nrtbf", text.p[at - 1]);
    return at >= 6 && text.p[at - 6] == '\\' && text.p[at - 5] == 'u';
}

/* sk-…: the keys of providers, and carpool's own. Their own case counts, or words would be taken for keys. */
static struct span key_at(struct slice text, size_t at)
{
    static const char *const prefixes[] = {"sk-", "AIza", "gsk_", "xai-", "hf_", "cp_"};
    size_t end = at, min = text.p[at] == 'c' ? OWN_BYTES_MIN : KEY_BYTES_MIN;
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(prefixes) && !found; i++)
        found =
            text.n - at > strlen(prefixes[i]) && memcmp(text.p + at, prefixes[i], strlen(prefixes[i])) == 0;
    if (!found || !begins_word(text, at))
        return (struct span){0};
    while (end < text.n && is_token(text.p[end]))
        end++;
    return end - at >= min ? (struct span){at, end - at} : (struct span){0};
}

/* From there to the end of the value, if it is one: long enough, and no plain word where words are likely. */
static struct span value_at(struct slice text, size_t at, bool any)
{
    size_t end = at;
    bool good = any;
    for (; end < text.n && !ends_value(text.p[end]); end++)
        good = good || (text.p[end] >= '0' && text.p[end] <= '9') || text.p[end] == '=';
    return good && (any || end - at >= VALUE_MIN) ? (struct span){at, end - at} : (struct span){0};
}

/* Bearer …, Basic … */
static struct span credential_at(struct slice text, size_t at)
{
    size_t n = begins_with(text, at, "bearer ") ? 7 : begins_with(text, at, "basic ") ? 6 : 0;
    while (n && at + n < text.n && text.p[at + n] == ' ')
        n++;
    return n ? value_at(text, at + n, false) : (struct span){0};
}

/* ?key=… and &key=… of a URL. */
static struct span parameter_at(struct slice text, size_t at)
{
    static const char *const names[] = {
        "key=", "api_key=", "apikey=", "api-key=", "access_token=", "token=", "password=", "secret="};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (begins_with(text, at + 1, names[i]))
            return value_at(text, at + 1 + strlen(names[i]), true);
    return (struct span){0};
}

/* ://user:password@ */
static struct span userinfo_at(struct slice text, size_t at)
{
    size_t colon = 0, sign = 0;
    if (!begins_with(text, at, "://"))
        return (struct span){0};
    for (size_t i = at + 3; i < text.n && !ends_value(text.p[i]) && !strchr("/?", text.p[i]); i++) {
        if (text.p[i] == '@')
            sign = i;
        else if (text.p[i] == ':' && !colon && !sign)
            colon = i;
    }
    return colon && sign > colon ? (struct span){colon + 1, sign - colon - 1} : (struct span){0};
}

/* api_key: …, "password":"…", also inside a JSON text, where quotes are escaped. */
static struct span field_at(struct slice text, size_t at)
{
    static const char *const names[] = {"api_key", "apikey", "api-key", "password"};
    size_t i = at;
    for (size_t k = 0; k < ARRAY_LEN(names) && i == at; k++)
        if (begins_with(text, at, names[k]))
            i += strlen(names[k]);
    if (i == at)
        return (struct span){0};
    while (i < text.n && strchr("\\\"' ", text.p[i]) && text.p[i])
        i++;
    if (i == text.n || (text.p[i] != ':' && text.p[i] != '='))
        return (struct span){0};
    i++;
    while (i < text.n && strchr("\\\"' ", text.p[i]) && text.p[i])
        i++;
    return value_at(text, i, false);
}

static struct span known_at(struct slice text, size_t at)
{
    struct span found = {at, 0};
    for (unsigned i = 0; i < REDACT_SECRETS && known.n[i]; i++) /* they fill up from the first on */
        if (known.n[i] > found.n && text.n - at >= known.n[i] &&
            memcmp(text.p + at, known.text[i], known.n[i]) == 0)
            found.n = known.n[i];
    return found;
}

/* What looks like a secret, by the byte it begins with. */
static struct span shape_at(struct slice text, size_t at)
{
    struct span found = {0};
    switch (text.p[at]) {
    case '?':
    case '&':
        return parameter_at(text, at);
    case ':':
        return userinfo_at(text, at);
    case 'b':
    case 'B':
        return credential_at(text, at);
    case 'A':
    case 'a':
        found = key_at(text, at);
        return found.n ? found : field_at(text, at);
    case 'p':
    case 'P':
        return field_at(text, at);
    case 's':
    case 'c':
    case 'g':
    case 'x':
    case 'h':
        return key_at(text, at);
    default:
        return found;
    }
}

void redact(char *bytes, size_t n)
{
    struct slice text = {bytes, n};
    pthread_rwlock_rdlock(&known.lock);
    for (size_t i = 0; i + 1 < n; i++) { /* no secret is of one byte */
        unsigned char first = (unsigned char)bytes[i], second = (unsigned char)bytes[i + 1];
        unsigned can = first_byte[first] & (second_byte[second] | (unsigned)KNOWN);
        if (!can)
            continue;
        struct span found = can & KNOWN ? known_at(text, i) : (struct span){0};
        if (!found.n && can & ~(unsigned)KNOWN)
            found = shape_at(text, i);
        if (!found.n)
            continue;
        memset(bytes + found.from, '*', found.n);
        i = found.from + found.n - 1;
    }
    pthread_rwlock_unlock(&known.lock);
}

void redact_secret(char *bytes, size_t n, struct slice secret)
{
    char *at = bytes, *end = bytes + n;
    while (secret.n && (at = memmem(at, (size_t)(end - at), secret.p, secret.n))) {
        memset(at, '*', secret.n);
        at += secret.n;
    }
}
