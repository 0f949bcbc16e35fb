/* In place of the rest of lib/shared where there was no hiredis to build with: nothing can be opened. */
#include "shared/shared.h"

int shared_open(struct uv_loop_s *loop, const struct shared_options *options, struct shared **ret_shared,
                struct err *e)
{
    (void)loop, (void)options, (void)ret_shared;
    return err_set(
        e, ERR_INVAL,
        "This build cannot speak to Redis: install libhiredis-dev, build again, or leave redis.url empty.");
}

void shared_close(struct shared *s)
{
    (void)s;
}

void shared_arrive(struct shared *s, struct shared_arrival *a)
{
    (void)s, (void)a;
}

void shared_claim(struct shared *s, struct shared_claim *c)
{
    (void)s, (void)c;
}

void shared_look(struct shared *s, struct shared_look *l)
{
    (void)s, (void)l;
}

void shared_settings_put(struct shared *s, struct shared_settings_put *p)
{
    (void)s, (void)p;
}

void shared_settle(struct shared *s, const struct shared_ending *endings, size_t n)
{
    (void)s, (void)endings, (void)n;
}

void shared_charge(struct shared *s, const struct shared_bucket *buckets, size_t n)
{
    (void)s, (void)buckets, (void)n;
}

void shared_tell_counters(struct shared *s, uint32_t day, const struct shared_difference *differences,
                          size_t n)
{
    (void)s, (void)day, (void)differences, (void)n;
}

void shared_tell_deletion(struct shared *s, struct slice request_id)
{
    (void)s, (void)request_id;
}
