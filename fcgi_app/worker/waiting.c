/* The pool's count of waiting prompts; see waiting.h. */
#include "worker/waiting.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

struct waiting_shared {
    struct {
        alignas(64) _Atomic uint32_t waiting; /* a cache line each: children write all the time */
    } child[WAITING_CHILDREN_MAX];
};

int waiting_new(struct waiting_shared **ret_shared, struct err *e)
{
    void *p =
        mmap(NULL, sizeof(struct waiting_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_set_errno(e, "There is no shared memory for the pool");
    *ret_shared = p;
    return 0;
}

void waiting_forget(struct waiting_shared *s, unsigned child)
{
    atomic_store(&s->child[child].waiting, 0);
}

static uint64_t sum_of(const struct waiting *w)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < w->children; i++)
        sum += atomic_load(&w->shared->child[i].waiting);
    return sum;
}

/* Adds itself and looks: of two that arrive together at least one sees the other, so never more than max get
 * in. Those who step back look again: the last of them sees no other's step, so no place stays empty. */
bool waiting_enter(struct waiting *w)
{
    do {
        atomic_fetch_add(&w->shared->child[w->child].waiting, 1);
        if (sum_of(w) <= w->max)
            return true;
        waiting_leave(w);
    } while (sum_of(w) < w->max);
    return false;
}

void waiting_leave(struct waiting *w)
{
    atomic_fetch_sub(&w->shared->child[w->child].waiting, 1);
}
