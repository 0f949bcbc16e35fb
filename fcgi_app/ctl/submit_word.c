/* What refusals mean to a file of prompts; see submit_word.h. */
#include "ctl/submit_word.h"

#include <stddef.h>

#include "base/clock.h"

#define BUSY_TRIES_MAX 200 /* of 429 and 503: the run as a whole gives up before */
#define LATE_TRIES_MAX 5   /* of 504: its call ran on, and its answer may be there by now */
#define FIRST_US       US_PER_S

bool submit_word_again(const struct wire_refusal *r, unsigned tries, uint64_t *ret_delay_us)
{
    bool busy = r->status == 429 || r->status == 503, late = r->status == 504;
    if (!(busy && tries < BUSY_TRIES_MAX) && !(late && tries < LATE_TRIES_MAX))
        return false;
    *ret_delay_us = r->retry_after_ms ? r->retry_after_ms * US_PER_MS : FIRST_US;
    return true;
}

const char *submit_word_hint(const struct wire_refusal *r)
{
    if (r->status == 424)
        return "It may have been charged, so it is never sent again by itself. To ask it anew and perhaps "
               "pay "
               "twice, give this line another request_id, or put these lines into a file of their own and "
               "run "
               "it with another --id-prefix.";
    if (slice_is(r->error_code, "REQUEST_ID_REUSED"))
        return "This line was asked before with another priority or under other words: run it with the "
               "--priority of that time to have that answer, or give it another request_id.";
    if (r->status == 410)
        return "Give this line another request_id, or run the file with another --id-prefix.";
    if (r->status == 400)
        return "Correct the line; the others need not be asked again.";
    return "Run the same command again to ask this line once more.";
}
