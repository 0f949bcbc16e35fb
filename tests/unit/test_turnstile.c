/* LINK: fcgi_app/worker/turnstile.c */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/err.h"
#include "worker/turnstile.h"

#define THREADS (TURNSTILE_MAX + 8)

static struct turnstile turnstile;
static atomic_int through;

struct walker {
    pthread_t id;
    struct turnstile_place place;
    atomic_bool in;
};
static struct walker walkers[THREADS];

static void *walk(void *arg)
{
    struct walker *w = arg;
    turnstile_enter(&turnstile, &w->place);
    atomic_store(&w->in, true);
    atomic_fetch_add(&through, 1);
    return NULL;
}

/* Until that many are through, or a while has passed; then a little longer, for those who must not follow. */
static int settle(int expected)
{
    for (int i = 0; i < 2000 && atomic_load(&through) < expected; i++)
        usleep(1000);
    usleep(20000);
    return atomic_load(&through);
}

static int parked(void)
{
    int n = 0;
    pthread_mutex_lock(&turnstile.lock);
    list_for_each (it, &turnstile.parked)
        n++;
    pthread_mutex_unlock(&turnstile.lock);
    return n;
}

/* One after the other, so that they park in this order. */
static void start(void)
{
    for (int i = 0; i < THREADS; i++) {
        turnstile_place_init(&walkers[i].place);
        cr_assert_eq(pthread_create(&walkers[i].id, NULL, walk, &walkers[i]), 0);
        for (int ms = 0; ms < 10000 && atomic_load(&through) + parked() <= i; ms++)
            usleep(1000);
    }
}

static void join_all(void)
{
    for (int i = 0; i < THREADS; i++) {
        pthread_join(walkers[i].id, NULL);
        turnstile_place_fini(&walkers[i].place);
    }
    turnstile_fini(&turnstile);
}

Test(turnstile, parks_all_but_a_few_and_calls_the_last_parked_first)
{
    turnstile_init(&turnstile);
    start();
    cr_assert_eq(settle(TURNSTILE_MAX), TURNSTILE_MAX);
    for (int i = 0; i < TURNSTILE_MAX - TURNSTILE_MIN; i++)
        turnstile_leave(&turnstile);
    cr_assert_eq(settle(TURNSTILE_MAX), TURNSTILE_MAX, "enough still wait: nobody is called");
    turnstile_leave(&turnstile);
    cr_assert_eq(settle(TURNSTILE_MAX + 1), TURNSTILE_MAX + 1);
    cr_assert(atomic_load(&walkers[THREADS - 1].in), "the one that was parked last has the warmest caches");
    turnstile_open(&turnstile);
    cr_assert_eq(settle(THREADS), THREADS);
    join_all();
}

Test(turnstile, an_open_one_holds_nobody)
{
    turnstile_init(&turnstile);
    turnstile_open(&turnstile);
    start();
    cr_assert_eq(settle(THREADS), THREADS);
    join_all();
}
