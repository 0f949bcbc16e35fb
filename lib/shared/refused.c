/*
 * What an error that the server answers means: each ends the connection, with a sentence that says what to
 * do. Of the server's words no more is quoted than their printable beginning, and never what may hold a
 * password.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/shared_private.h"

#define REDIRECTS_MAX 5

static void refuse_fenced(struct shared *s, const char *there)
{
    if (strcmp(there, "none") == 0 || strcmp(there, s->fence) < 0) {
        session_fail(s, ERR_CLOSED, "does not know this machine any more: it has lost data.");
        return;
    }
    s->fenced = true;
    session_fail(s, ERR_FENCED,
                 "knows a later coordinator of this machine (%s, here %s): one more runs with this data "
                 "directory or a "
                 "copy of it, or the directory is an older copy.",
                 there, s->fence);
}

/* "MOVED slot host:port"; without a host it is the one that says so. */
static void refuse_moved(struct shared *s, const char *text)
{
    const char *address = strrchr(text, ' '), *colon = strrchr(text, ':');
    long port = colon ? strtol(colon + 1, NULL, 10) : 0;
    size_t n = address && colon > address ? (size_t)(colon - address - 1) : sizeof(s->there.host);
    if (port < 1 || port > 65535 || n >= sizeof(s->there.host) || ++s->redirects > REDIRECTS_MAX) {
        session_fail(s, ERR_CLOSED, "is a cluster that sends us from node to node; it needs a proxy.");
        return;
    }
    session_fail(s, ERR_CLOSED, "is a cluster whose data of ours are on another node.");
    if (n) {
        memcpy(s->there.host, address + 1, n);
        s->there.host[n] = 0;
        s->there.path[0] = 0;
    }
    s->there.port = (unsigned)port;
    s->moved = true;
}

/* What is said of an error the server answers; the first words that occur in it decide. */
static const struct {
    const char *words, *sentence;
} refusals[] = {
    {"NOSCRIPT", "has lost the scripts it was given."},
    {"READONLY", "is a replica, which can only be read: name the primary, or a proxy that finds it."},
    {"MASTERDOWN", "is a replica without a primary."},
    {"LOADING", "is still loading its data."},
    {"OOM ", "has no memory left for more (maxmemory)."},
    {"MISCONF", "accepts no writes: it cannot write to its disk."},
    {"NOREPLICAS", "accepts no writes: too few replicas follow it."},
    {"NOAUTH", "wants a password, and the URL has none."},
    {"ASK ", "is a cluster that is moving the slot of {carpool} to another node just now."},
    {"TRYAGAIN", "is a cluster that is moving the slot of {carpool} to another node just now."},
    {"CLUSTERDOWN", "is a cluster in which nobody serves the slot of {carpool}."},
    {"CROSSSLOT", "is a cluster, or a proxy, that does not keep the keys of {carpool} together."},
};

void session_refused(struct shared *s, const struct shared_op *op, const char *text)
{
    char start[160];
    size_t n = 0;
    for (; text[n] && n < sizeof(start) - 1; n++)
        start[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    start[n] = 0;
    if (op == &s->steps[STEP_AUTH] && !strstr(text, "max number of clients") &&
        strncmp(text, "DENIED ", 7) != 0) {
        /* Not quoted: the server may repeat what it was given. */
        session_fail(s, ERR_PERM, "refuses the user or the password of the URL.");
        return;
    }
    if (strncmp(text, "FENCED ", 7) == 0) {
        refuse_fenced(s, start + 7);
        return;
    }
    if (strncmp(text, "MOVED ", 6) == 0) {
        refuse_moved(s, start);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (strstr(text, refusals[i].words)) {
            session_fail(s, ERR_CLOSED, "%s", refusals[i].sentence);
            return;
        }
    session_fail(s, ERR_CLOSED, "refuses: %s", start);
}
