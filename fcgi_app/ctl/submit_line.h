/*
 * A file of prompts, line by line: JSON objects (JSONL), CSV with a header, or plain text. What a line says
 * is checked here, so that what is handed to the coordinator is as good as what a worker lets in.
 */
#ifndef CARPOOL_CTL_SUBMIT_LINE_H
#define CARPOOL_CTL_SUBMIT_LINE_H

#include "base/arena.h"
#include "ctl/args.h"
#include "ctl/idset.h"
#include "ctl/rows.h"
#include "wire/message.h"

/* What a line may say, in all formats but text. */
enum submit_field {
    FIELD_PROMPT,
    FIELD_REQUEST_ID,
    FIELD_USERNAME,
    FIELD_PRIORITY,
    FIELD_METADATA,
    FIELD_SYSTEM_PROMPT,
    FIELD_MODEL,
    FIELD_MAX_TOKENS,
    FIELD_TEMPERATURE,
    FIELD_CREATED_AT,
    SUBMIT_FIELDS
};

/* One prompt. Slices live in arena; absent ones were not given. Of a faulty line only number is sure, and the
 * id if the line gave a good one. */
struct submit_line {
    uint64_t number; /* of the line in the file */
    struct arena arena;
    struct slice fields[SUBMIT_FIELDS]; /* texts; the numbers and the priority are in the members below */
    bool has_priority;
    enum priority priority;
    uint32_t max_tokens; /* 0: the default */
    double temperature;  /* NaN: the default */
    struct err fault;    /* code 0: none */
};

struct submit_reader {
    struct rows rows;
    enum args_format format;
    enum submit_field columns[ROWS_FIELDS_MAX]; /* of a CSV file */
    size_t columns_n;
};

/* By the name of the file: .csv, .txt and .text, else JSONL. */
enum args_format submit_format_of(const char *path);

/* Reads a CSV file's header. file is lent. max_bytes: of a line. ERR_INVAL: the header names no prompt, or a
 * column that is not known; ERR_IO, ERR_NOMEM. */
MUST_CHECK
int submit_reader_open(struct submit_reader *r, FILE *file, enum args_format format, size_t max_bytes,
                       struct err *e);
void submit_reader_close(struct submit_reader *r);
/* The next line that is not blank: 1, and the caller ends *ret_line with submit_line_fini(); 0 at the end of
 * the file; ERR_IO; ERR_NOMEM. What is wrong with the line itself is in its fault. */
MUST_CHECK
int submit_next(struct submit_reader *r, struct submit_line *ret_line, struct err *e);
void submit_line_fini(struct submit_line *l);

/* What the line asks, without its priority and id: lines of the same content have the same key. */
void submit_content_key(const struct submit_line *l, uint8_t ret_key[IDSET_KEY]);

#endif
