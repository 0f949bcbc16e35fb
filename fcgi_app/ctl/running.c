/* The coordinator that runs now; see running.h. */
#include "ctl/running.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "json/read.h"

#define LEAVING_US (500 * US_PER_MS) /* in which a coordinator that closes connections is gone */
#define PAUSE_US   (10 * US_PER_MS)
#define NAME_SIZE  32

int running_ask(struct ctl *t, enum link_start start, uint64_t limit_us, cJSON **ret_report, struct err *e)
{
    struct wire_frame frame;
    uint64_t begun_us = clock_mono_us();
    int rc;
    while ((rc = link_ask(&t->link, start, WIRE_STATUS_ASK, SLICE_LITERAL(""), begun_us + limit_us, &frame,
                          e)) == ERR_CLOSED &&
           clock_mono_us() - begun_us < LEAVING_US)
        usleep(PAUSE_US);
    if (rc)
        return rc;
    if (frame.type == WIRE_STATUS)
        return json_parse(frame.payload, ret_report, e);
    link_close(&t->link);
    return err_set(e, ERR_INVAL,
                   "The coordinator does not answer with its status; install programs of one "
                   "version.");
}

/* What the kernel calls a process. False: nobody knows. */
static bool name_of(long pid, char ret_name[NAME_SIZE])
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, ret_name, NAME_SIZE - 1) : -1;
    if (fd >= 0)
        close(fd);
    ret_name[n > 0 ? n : 0] = 0;
    return n > 0;
}

bool running_is_restore(long pid)
{
    char theirs[NAME_SIZE], ours[NAME_SIZE];
    return name_of(pid, theirs) && name_of(getpid(), ours) && !strcmp(theirs, ours);
}

static const cJSON *member(const cJSON *report, const char *of, const char *key)
{
    const cJSON *object = of ? cJSON_GetObjectItemCaseSensitive(report, of) : report;
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

uint64_t running_number(const cJSON *report, const char *of, const char *key)
{
    const cJSON *n = member(report, of, key);
    return cJSON_IsNumber(n) && n->valuedouble > 0 && n->valuedouble < 9e15 ? (uint64_t)n->valuedouble : 0;
}

const char *running_text(const cJSON *report, const char *of, const char *key)
{
    const char *text = cJSON_GetStringValue(member(report, of, key));
    return text ? text : "";
}
