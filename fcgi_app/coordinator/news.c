/* Figures and deletions among several machines; see news.h. */
#include "coordinator/news.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/budget.h"

#define KEYS_MAX    256 /* requests of one id */
#define WAITING_MAX 16  /* pieces of news that wait for the disk; then figures are lost, deletions never */

/* ---- what is told ---- */

void news_counted(struct core *c, const struct commit_op *op)
{
    struct counter *n, *tmp;
    uint32_t day = clock_day(op->real_us);
    if (c->shared.reach == SHARED_OFF || (!op->counters && !op->requests_n))
        return;
    if (day != c->shared.untold_day)
        news_tell(c);
    if (day != c->shared.untold_day)
        counters_free(&c->shared.untold); /* of a day on which nobody could be told: figures */
    c->shared.untold_day = day;
    HASH_ITER (hh, op->counters, n, tmp)
        counter_add(&c->shared.untold, n->name, n->delta);
    for (size_t i = 0; i < op->requests_n; i++) {
        char name[SPEND_NAME_SIZE];
        const struct spend *s = &op->requests[i].spend;
        if (!s->picousd)
            continue;
        spend_name(s, name);
        counter_add(&c->shared.untold, name, s->picousd);
    }
}

void news_tell(struct core *c)
{
    struct counter *n, *tmp;
    size_t count = HASH_COUNT(c->shared.untold), at = 0;
    if (c->shared.reach != SHARED_THERE || !count)
        return;
    struct shared_difference *differences = malloc(count * sizeof(*differences));
    if (!differences)
        return; /* the next time */
    HASH_ITER (hh, c->shared.untold, n, tmp)
        differences[at++] = (struct shared_difference){.name = slice_of(n->name), .delta = n->delta};
    c->ports.tell_counters(c->ports.arg, c->shared.untold_day, differences, count);
    free(differences);
    counters_free(&c->shared.untold);
}

void news_fini(struct core *c)
{
    counters_free(&c->shared.untold);
    free(c->shared.lost);
    list_for_each_safe (it, next, &c->shared.news)
        commit_op_free(LIST_ENTRY(it, struct commit_op, node));
}

/* ---- what is heard ---- */

static size_t texts_size(const struct shared_news *news)
{
    size_t n = 0;
    for (size_t i = 0; i < news->differences_n; i++)
        n += news->differences[i].name.n;
    for (size_t i = 0; i < news->deletions_n; i++)
        n += news->deletions[i].n;
    return n;
}

static struct slice copy_text(char **at, struct slice text)
{
    struct slice copy = {*at, text.n};
    memcpy(*at, text.p, text.n);
    *at += text.n;
    return copy;
}

static struct commit_news *copy_news(const struct shared_news *all, bool figures)
{
    struct shared_news of_it = *all;
    const struct shared_news *news = &of_it;
    if (!figures)
        of_it.differences_n = 0;
    struct commit_news *n = calloc(1, sizeof(*n) + news->differences_n * sizeof(n->differences[0]) +
                                          news->deletions_n * sizeof(n->deletions[0]) + texts_size(news));
    if (!n)
        return NULL;
    memcpy(n->position, news->position, sizeof(n->position));
    n->differences_n = news->differences_n;
    n->deletions_n = news->deletions_n;
    n->differences = (struct commit_difference *)(n + 1);
    n->deletions = (struct slice *)(n->differences + n->differences_n);
    char *texts = (char *)(n->deletions + n->deletions_n);
    for (size_t i = 0; i < n->differences_n; i++)
        n->differences[i] = (struct commit_difference){.day = news->differences[i].day,
                                                       .name = copy_text(&texts, news->differences[i].name),
                                                       .delta = news->differences[i].delta};
    for (size_t i = 0; i < n->deletions_n; i++)
        n->deletions[i] = copy_text(&texts, news->deletions[i]);
    return n;
}

/* Other machines may know an id under keys that only this one can tell. */
static void bury(struct core *c, struct slice request_id)
{
    static const uint8_t no_fingerprint[SHARED_KEY_SIZE];
    uint8_t(*keys)[REQUEST_KEY_SIZE] = malloc(KEYS_MAX * sizeof(*keys));
    size_t n = 0;
    if (!keys || c->ports.chat_keys(c->ports.arg, request_id, keys, KEYS_MAX, &n) < 0)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        struct shared_ending ending = {
            .key = keys[i], .fingerprint = no_fingerprint, .state = SHARED_DELETED};
        c->ports.settle(c->ports.arg, &ending, 1);
    }
    free(keys);
}

static void go_on(struct core *c)
{
    struct list *first = list_first(&c->shared.news);
    if (!first || c->shared.news_going)
        return;
    list_remove(first);
    c->shared.news_going = true;
    core_commit(c, LIST_ENTRY(first, struct commit_op, node));
}

/* One after the other: a position that is stored stands for all before it. */
static void taken_in(struct core *c, struct commit_op *op, uint64_t now_us)
{
    (void)now_us;
    if (op->rc < 0 && !op->refused) {
        op->kept = true;
        list_append(&c->stuck_ops, &op->node);
        return;
    }
    c->shared.news_going = false;
    go_on(c);
}

/* The last piece that waits, if so many do that the disk must be in trouble; NULL: not so many. */
static struct commit_news *last_of_many(const struct core *c)
{
    size_t n = 0;
    list_for_each (it, &c->shared.news)
        if (++n == WAITING_MAX)
            return LIST_ENTRY(c->shared.news.prev, struct commit_op, node)->news;
    return NULL;
}

/* What keys have spent there counts here from now on, whether the disk takes it or not. */
static void note_spending(struct core *c, const struct shared_news *news)
{
    for (size_t i = 0; i < news->differences_n; i++) {
        struct spend s = {.picousd = news->differences[i].delta};
        if (spend_parse_name(news->differences[i].name, &s))
            budget_spend(c, &s);
    }
}

void core_shared_news(struct core *c, const struct shared_news *news)
{
    struct commit_news *last = last_of_many(c);
    note_spending(c, news);
    for (size_t i = 0; i < news->deletions_n; i++)
        bury(c, news->deletions[i]);
    if (last && !news->deletions_n) {
        memcpy(last->position, news->position, sizeof(last->position));
        return;
    }
    struct commit_op *op = commit_op_new(0, 0, taken_in);
    if (op)
        op->news = copy_news(news, !last);
    if (!op || !op->news) {
        commit_op_free(op);
        return; /* told to nobody here; what is deleted stays so where all machines look */
    }
    list_append(&c->shared.news, &op->node);
    go_on(c);
}
