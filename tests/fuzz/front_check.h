/*
 * The rules that hold for whatever a client sends: what a worker may ask the coordinator, and what an answer
 * looks like (api.md "Rules for every endpoint").
 */
#ifndef FUZZ_FRONT_CHECK_H
#define FUZZ_FRONT_CHECK_H

#include "front.h"

/* questions: all bytes that the worker sent on one connection. */
void front_check_questions(struct slice questions, struct front_asked *ret_asked);

/* headers: whole lines ("Name: value\r\n"). body: absent when there is none to look at. json: it must be. */
void front_check_response(int status, struct slice headers, struct slice body, bool json);

#endif
