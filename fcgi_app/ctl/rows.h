/*
 * Rows of a text file, one after the other in bounded memory: lines, or records of CSV (RFC 4180: fields in
 * quotes may hold commas, line ends and doubled quotes). Rows end with LF or CR LF; a byte order mark at the
 * start is passed over.
 */
#ifndef CARPOOL_CTL_ROWS_H
#define CARPOOL_CTL_ROWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"

#define ROWS_FIELDS_MAX 64

/* Invariant: text holds the row read last, of a CSV record its fields, each with a zero byte behind it. */
struct rows {
    FILE *file; /* lent */
    bool csv;
    uint64_t number; /* of the line the row began in, from 1 */
    uint64_t lines;  /* that were begun */
    struct buf text;
    size_t starts[ROWS_FIELDS_MAX];
    size_t fields_n;   /* 1 for a line */
    bool torn;         /* the file ended inside this row: no line end behind it */
    const char *fault; /* what is wrong with this row; NULL: nothing */
};

void rows_init(struct rows *r, FILE *file, bool csv, size_t max_bytes);
void rows_fini(struct rows *r);
/* 1: a row is there (with fault: it was passed over, such as one longer than max_bytes); 0: the end. ERR_IO;
 * ERR_NOMEM. Blocks on the file. */
MUST_CHECK
int rows_next(struct rows *r);
/* A field of the row; lends until the next row. */
struct slice rows_field(const struct rows *r, size_t i);

#endif
