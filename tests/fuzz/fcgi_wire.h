/*
 * FastCGI as a web server speaks it (FastCGI Specification 1.0), for fuzz_fastcgi.c: requests written as
 * text become records, and records of an answer become its bytes again.
 *
 * A request is lines, an empty line and the body:
 *   NAME=value     a variable
 *   !piece=N       bytes of the body a record         !params=N   bytes of variables a record
 *   !length        CONTENT_LENGTH as it should be     !noend      no record that ends the body
 *   !role=N        1 responder, 2 authorizer, …       !id=N       request id of the body's records, never 0
 *   !keep          the connection is to be kept       !abort      an abort record behind the variables
 *   !odd=N         a record of type N in the body     !auth=N !reply=N   for front_begin()
 * "\n!next\n" in the body begins another request on the same connection; "\n!cut=N" at the very end of the
 * input ends the connection after N bytes.
 */
#ifndef FUZZ_FCGI_WIRE_H
#define FUZZ_FCGI_WIRE_H

#include <stdbool.h>

#include "base/buf.h"

struct fcgi_text {
    struct slice variables; /* lines of NAME=value and directives */
    struct slice body;
    unsigned piece, params, role, id, odd, auth, reply;
    bool length, noend, keep, abort;
};

/* Takes the next request off the front of text; false when there is none left. */
bool fcgi_text_next(struct slice *text, struct fcgi_text *ret_request);
/* The next variable; begin with *at = 0. False at the end. */
bool fcgi_text_variable(const struct fcgi_text *r, size_t *at, struct slice *ret_name,
                        struct slice *ret_value);
/* Appends the records of the request. Two things that only the web server at the other end of a private
 * socket could send are left out, for they end in libfcgi 2.4.2 itself: a length of 0x7ffffffe among the
 * variables (an assertion) and a management record of unknown type (48 bytes leak). */
void fcgi_write(struct buf *out, const struct fcgi_text *r);

/* Reads one answer off the front of the bytes: what went to stdout, and whether its end came. Records that no
 * application may send break the run. */
bool fcgi_read(struct slice *bytes, struct buf *ret_stdout);

#endif
