/*
 * Tables as comma-separated values (RFC 4180) that spreadsheets can be trusted with, as the pages write them.
 */
#ifndef CARPOOL_CTL_CSV_H
#define CARPOOL_CTL_CSV_H

#include "base/buf.h"

/* A cell. What a spreadsheet would take for a formula gets an apostrophe in front, since prompts come from
 * anybody: also behind blanks, and in the wide letters of East Asia. Absent is empty. */
void csv_text(struct buf *out, struct slice text);

#endif
