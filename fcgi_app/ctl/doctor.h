/*
 * carpoolctl doctor: what is wrong on a host, and what to do. Each check says one sentence, and none of them
 * changes anything or costs a prompt.
 */
#ifndef CARPOOL_CTL_DOCTOR_H
#define CARPOOL_CTL_DOCTOR_H

#include "ctl/ctl.h"
#include "json/write.h"

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor {
    const struct args *args;
    struct conf *conf;
    bool conf_read; /* else nothing in it is known */
    struct json_writer json;
    struct buf out; /* of --json; the text is printed as it comes */
    unsigned warnings, failures;
};

/* check: a name in one word, such as "storage.dir". The sentence says what is so, and after a colon or in a
 * second one what to do. */
void doctor_tell(struct doctor *d, enum doctor_state s, const char *check, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* doctor_store.c: the storage directory and what is in it, and the coordinator. As root, turns into the
 * directory's owner. */
void doctor_store(struct doctor *d);
/* doctor_host.c: the programs, limits of the system, the kernel. */
void doctor_host(struct doctor *d);
/* doctor_web.c: through the web server. */
void doctor_web(struct doctor *d, const char *url);

#endif
