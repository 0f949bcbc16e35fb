/* See reach.h. */
#include "reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const points[] = {
    /* what is asked */
    "a prompt",
    "a prompt again",
    "a prompt again at once",
    "a duplicate with another body",
    "an asynchronous prompt",
    "a fresh id",
    "what may have been asked before, under an id of its own",
    "a prompt that is not to be answered from the cache",
    "a prompt alone",
    "a text to be continued",
    "a caller's key",
    "a prompt of /invoke",
    "a plain prompt of OpenAI's",
    "a request to go through as it is",
    "a stream",
    "a stream of much",
    "a prompt longer than the context",
    "a flood of LOW under HIGH",
    "prompts of 256 MiB",
    "a caller leaves",
    "a caller stops reading",
    "a link dies",
    "a pool goes",
    "a watch",
    "a deletion",
    "new settings",
    "settings that cannot be",
    "a new key",
    "another provider",
    "another host",
    "a call without a key",
    "other limits for a key",
    "a key pays",
    /* what is told */
    "told an answer",
    "told a piece",
    "told a replay",
    "told an answer from the cache",
    "told what another asked for",
    "told that it is kept",
    "settings are changed",
    "a deletion is done",
    "a watch sees unknown",
    "a watch sees queued",
    "a watch sees running",
    "a watch sees finished",
    "refused SHUTTING_DOWN",
    "refused QUEUE_FULL",
    "refused for 256 MiB of prompts",
    "refused TENANT_QUEUE_FULL",
    "refused RATE_LIMITED",
    "refused BUDGET_SPENT",
    "refused PRICE_UNKNOWN",
    "refused REQUEST_ID_REUSED",
    "refused OUTCOME_UNKNOWN",
    "refused REQUEST_RUNNING",
    "refused REQUEST_DELETED",
    "refused DEADLINE_PASSED",
    "refused NOT_READ",
    "refused STORE_UNAVAILABLE",
    "refused ASYNC_WITH_KEY",
    "refused API_KEY_NOT_ACCEPTED",
    "refused BAD_UPSTREAM_ANSWER",
    "refused CONTENT_FILTERED",
    "refused PROVIDER_REJECTED",
    "refused PROVIDER_AUTH",
    "refused PROVIDER_RATE_LIMITED",
    "refused PROVIDER_UNAVAILABLE",
    "refused PROVIDER_TIMEOUT",
    "an administrator is refused REQUEST_RUNNING",
    "an administrator is refused CHAT_NOT_FOUND",
    "an administrator is refused INVALID_SETTING",
    "an administrator is refused STORE_UNAVAILABLE",
    /* batches and calls */
    "a batch leaves as window",
    "a batch leaves as full",
    "a batch leaves as all_wait",
    "a batch leaves as idle",
    "a batch leaves as alone",
    "a batch leaves aged",
    "a call in mode of one",
    "a call in mode combined",
    "a call in mode array",
    "a batch of several in mode concurrent",
    "a call of the mock",
    "a call of a model service",
    "there is no call of several",
    "a call is sent again",
    "a prompt ends because nobody waits for it",
    "the state is published",
    "a part is asked for again",
    "an id runs again after a failure",
    "an id runs again after its time",
    "an id runs again though it may have been paid for",
    "every slot is taken",
    /* the provider */
    "the provider answers",
    "the provider answers with an error",
    "the provider is cut off",
    "the provider times out",
    "the provider is not there",
    "the provider is not sent to",
    "the provider misses a part",
    "the provider doubles a part",
    "the provider adds a part",
    "the provider shifts its parts",
    "the provider is cut short",
    "the provider answers with a page",
    "the provider filters",
    "the provider loads its model",
    "the provider refuses log-probabilities",
    "the provider speaks",
    "the provider breaks off",
    "the provider spoils its stream",
    "the provider answers a stream in one",
    "a stream waits for who hears it",
    "a stream is ended since its client left",
    "a stream is ended that goes on after its end",
    "status 400",
    "status 401",
    "status 404",
    "status 405",
    "status 408",
    "status 413",
    "status 429",
    "status 500",
    "status 501",
    "status 502",
    "status 503",
    "status 504",
    "status 529",
    "retry-after",
    /* the disk */
    "a commit meets a full disk",
    "a commit fails",
    "a commit fails that reached the disk",
    "commits take seconds",
    "a start fails on its disk",
    "record none to queued",
    "record none to dispatched",
    "record none to done",
    "record queued to dispatched",
    "record queued to queued",
    "record dispatched to dispatched",
    "record dispatched to done",
    "record dispatched to failed",
    "record dispatched to unknown",
    "record dispatched to none",
    "record failed to dispatched",
    "record failed to queued",
    "record unknown to dispatched",
    "record unknown to done",
    "record queued to none",
    /* processes */
    "killed",
    "killed with its commit on the disk",
    "killed with all its commits on the disk",
    "killed within a turn",
    "killed during recovery",
    "killed with the workers",
    "killed several times in a row",
    "drained to the end",
    "the time to drain is over",
    "another takes over",
    "another takes over from one that is stopped",
    "the elder sends a call",
    "a commit of the elder is fenced off",
    "the elder finds out",
    "the elder is killed",
    "asked of the elder",
    /* several machines */
    "a life of two machines",
    "the server is lost",
    "the server is lost with the answers",
    "the server is lost with the questions",
    "the server is back",
    "the server fences a machine's earlier life off",
    "a claim takes what may have been paid for",
    "a claim is lost to another machine",
    "what was told of an id holds again",
    "a machine hears of a deletion",
    "a machine hears of figures",
    "a machine hears of settings",
    "another machine has put settings before",
    "a watch sees answer",
    "a watch sees refusal",
    "refused SHARED_DOWN",
    "a claim takes what a machine that is gone has kept",
    "told what another machine has",
    "told that another machine keeps it",
    "an id is paid for by two machines in an outage",
    /* the clock */
    "the clock goes forward",
    "the clock goes back",
    "hours pass",
    "an answer expires",
    "chats go by retention",
};
_Static_assert(sizeof(points) / sizeof(points[0]) <= REACH_MAX, "more points than there is room for");

#define POINTS_N (sizeof(points) / sizeof(points[0]))
#define SLOTS    1024

static uint32_t *into;
static uint16_t slots[SLOTS]; /* place + 1, by hash */

void reach_into(uint32_t *counts)
{
    into = counts;
}

bool reach_wanted(void)
{
    return into;
}

static size_t slot_of(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    return h % SLOTS;
}

static void fill_slots(void)
{
    if (slots[slot_of(points[0])])
        return;
    for (size_t i = 0; i < POINTS_N; i++) {
        size_t s = slot_of(points[i]);
        while (slots[s])
            s = (s + 1) % SLOTS;
        slots[s] = (uint16_t)(i + 1);
    }
}

/* SIZE_MAX: not in the list. */
static size_t look_up(const char *name)
{
    fill_slots();
    for (size_t s = slot_of(name); slots[s]; s = (s + 1) % SLOTS)
        if (strcmp(points[slots[s] - 1], name) == 0)
            return slots[s] - 1u;
    return SIZE_MAX;
}

size_t reach_find(const char *name)
{
    size_t place = look_up(name);
    if (place == SIZE_MAX) {
        fprintf(stderr, "scenario: reach.c does not list \"%s\"\n", name);
        exit(2);
    }
    return place;
}

void reach_at(size_t place)
{
    if (into)
        into[place]++;
}

void reach_word(const char *what, const char *word)
{
    char name[96];
    if (!into)
        return;
    snprintf(name, sizeof(name), "%s %s", what, word);
    size_t place = look_up(name);
    if (place != SIZE_MAX)
        into[place]++;
}

unsigned reach_report(const uint64_t *counts)
{
    unsigned never = 0;
    for (size_t i = 0; i < POINTS_N; i++) {
        printf("%12llu  %s%s\n", (unsigned long long)counts[i], points[i], counts[i] ? "" : "  <- NEVER");
        never += !counts[i];
    }
    return never;
}
