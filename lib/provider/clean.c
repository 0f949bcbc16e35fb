/* Provider's words made fit for a client: short, one line, and without keys, which some providers repeat in
 * their error messages. */
#include "base/redact.h"
#include "base/utf8.h"
#include "provider/outcome.h"

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
    redact(p, words.n);
    for (size_t i = 0; i < words.n; i++)
        if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
            p[i] = ' ';
    struct slice cut = words.n > max_bytes ? utf8_truncate((struct slice){p, words.n}, max_bytes)
                                           : (struct slice){p, words.n};
    p[cut.n] = 0;
    *ret_words = cut;
    return 0;
}
