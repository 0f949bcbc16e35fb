/*
 * An answer on its way to the web server: status, headers and body, sent at once; or headers first and the
 * body in pieces. libfcgi's buffer puts both into one write where they fit.
 */
#ifndef CARPOOL_WORKER_RESPONSE_H
#define CARPOOL_WORKER_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct FCGX_Request;

struct response {
    struct FCGX_Request *fcgi; /* lent by the request */
    const char *id;            /* X-Request-Id; not empty by the time headers go out */
    int status;
    const char *content_type; /* NULL: no body */
    const char *policy;       /* Content-Security-Policy */
    struct buf headers;       /* "Name: value\r\n" lines */
    struct buf body;
    uint32_t keep_s; /* how long it may be kept: it is the same for everybody; 0: nobody may */
    bool head_only;  /* HEAD: the headers are those of GET */
    bool begun;      /* headers are out */
    bool gone;       /* nobody is there to read it */
};

void response_init(struct response *r);
void response_fini(struct response *r);
void response_reset(struct response *r, struct FCGX_Request *fcgi, const char *id, bool head_only);

/* name and format are the program's own. A header whose value has a control character (CR and LF among them)
 * is left out and logged: checks of what comes from outside are elsewhere, and one of them is missing then.
 */
void response_header(struct response *r, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);

/* Sends it whole. When memory for it was missing, says that instead. Does nothing once begun or gone. */
void response_send(struct response *r);
/* Sends the headers, if they are not out yet, and what is in body, and empties it. May block on the reader.
 * False when there is no use in going on. */
bool response_stream(struct response *r);

#endif
