/* Provider's words made fit for a client: short, one line, and without keys, which some providers repeat in
 * their error messages. */
#include "provider/redact.h"

#include "base/utf8.h"
#include "provider/outcome.h"

#define TOKEN_BYTES_MIN 16 /* "sk-…" and "AIza…" shorter than this are no keys */

static void star(char *p, size_t n)
{
    memset(p, '*', n);
}

void redact_secret(char *p, size_t n, struct slice secret)
{
    char *at = p, *end = p + n;
    while (secret.n && (at = memmem(at, (size_t)(end - at), secret.p, secret.n))) {
        star(at, secret.n);
        at += secret.n;
    }
}

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Words that look like a provider's key: callers' keys are not known here by themselves. */
static void redact_tokens(char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && is_token(p[end]))
            end++;
        bool key =
            end - i >= TOKEN_BYTES_MIN && (memcmp(p + i, "sk-", 3) == 0 || memcmp(p + i, "AIza", 4) == 0);
        if (key)
            star(p + i, end - i);
        i = end + 1;
    }
}

int outcome_clean(struct arena *arena, struct slice words, const char *key, size_t max_bytes,
                  struct slice *ret_words)
{
    struct slice secret = slice_of(key);
    if (!words.p) {
        *ret_words = words;
        return 0;
    }
    /* Cut with a margin first: a key that the final cut goes through must still be seen whole. */
    size_t margin = secret.n + 512;
    if (words.n > max_bytes + margin)
        words = utf8_truncate(words, max_bytes + margin);
    char *p = arena_copy(arena, words);
    if (!p)
        return ERR_NOMEM;
    redact_secret(p, words.n, secret);
    redact_tokens(p, words.n);
    for (size_t i = 0; i < words.n; i++)
        if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
            p[i] = ' ';
    struct slice cut = words.n > max_bytes ? utf8_truncate((struct slice){p, words.n}, max_bytes)
                                           : (struct slice){p, words.n};
    p[cut.n] = 0;
    *ret_words = cut;
    return 0;
}
