/*
 * carpoolctl status: what was found out (status.c), and how it is shown (status_show.c).
 */
#ifndef CARPOOL_CTL_STATUS_H
#define CARPOOL_CTL_STATUS_H

#include <cjson/cJSON.h>

#include "ctl/ctl.h"
#include "store/settings.h"

enum status_state {
    STATUS_OK,
    STATUS_IDLE,     /* none runs, the next prompt starts one */
    STATUS_DEGRADED, /* it runs, and something that it needs does not */
    STATUS_DRAINING,
    STATUS_DOWN, /* prompts cannot be served */
};

#define STATUS_WARNINGS     12
#define STATUS_WARNING_SIZE 768

struct status {
    enum status_state state;
    struct err why;         /* state is DOWN: a sentence */
    cJSON *report;          /* the coordinator's; NULL: none answered */
    long holder;            /* pid of who holds the lock of the storage directory; 0: nobody */
    const char *dir;        /* of the store */
    bool has_store;         /* else the members up to disk_free are 0 */
    struct err store_fault; /* it is there and cannot be read */
    struct store_usage usage;
    uint64_t file_bytes, chats, epoch, disk_free;
    struct settings settings; /* in force; version 0: as the configuration says */
    char warnings[STATUS_WARNINGS][STATUS_WARNING_SIZE];
    size_t warnings_n;
};

const char *status_state_name(enum status_state s);

/* ERR_NOMEM is left to buf_failed(out). */
void status_show_table(struct buf *out, const struct status *s);
void status_show_json(struct buf *out, const struct status *s);

#endif
