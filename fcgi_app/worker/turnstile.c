/* Who waits for a connection; see turnstile.h. */
#include "worker/turnstile.h"

void turnstile_init(struct turnstile *t)
{
    *t = (struct turnstile){0};
    pthread_mutex_init(&t->lock, NULL);
    list_init(&t->parked);
}

void turnstile_fini(struct turnstile *t)
{
    pthread_mutex_destroy(&t->lock);
}

void turnstile_place_init(struct turnstile_place *p)
{
    list_init(&p->node);
    pthread_cond_init(&p->turn, NULL);
    p->called = false;
}

void turnstile_place_fini(struct turnstile_place *p)
{
    pthread_cond_destroy(&p->turn);
}

static void call_one(struct turnstile *t)
{
    struct list *first = list_first(&t->parked);
    if (!first)
        return;
    struct turnstile_place *p = LIST_ENTRY(first, struct turnstile_place, node);
    list_remove(first);
    p->called = true;
    t->waiting++;
    pthread_cond_signal(&p->turn);
}

void turnstile_enter(struct turnstile *t, struct turnstile_place *p)
{
    pthread_mutex_lock(&t->lock);
    if (t->waiting < TURNSTILE_MAX || t->open)
        t->waiting++;
    else {
        p->called = false;
        list_prepend(&t->parked, &p->node);
        while (!p->called)
            pthread_cond_wait(&p->turn, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
}

void turnstile_leave(struct turnstile *t)
{
    pthread_mutex_lock(&t->lock);
    t->waiting--;
    if (t->waiting < TURNSTILE_MIN)
        call_one(t);
    pthread_mutex_unlock(&t->lock);
}

void turnstile_open(struct turnstile *t)
{
    pthread_mutex_lock(&t->lock);
    t->open = true;
    while (!list_empty(&t->parked))
        call_one(t);
    pthread_mutex_unlock(&t->lock);
}
