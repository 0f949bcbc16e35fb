/*
 * Assertions of a library about what came over a socket. libfcgi 2.4.2 asserts that memory for a variable
 * could be had, whatever length its sender claims: one record of nonsense would end a process and every
 * request in it. Here such an assertion ends what the thread was doing for that connection, and no more. Our
 * own assertions are about bugs and end the process as ever.
 */
#ifndef CARPOOL_WORKER_ASSERTION_H
#define CARPOOL_WORKER_ASSERTION_H

#include <setjmp.h>

/* Where this thread goes on, by longjmp(…, 1), when an assertion fails; NULL: nowhere, the process ends.
 * Whoever sets it is on the stack until he sets it back, and holds no lock and no memory of his own
 * meanwhile. */
extern _Thread_local jmp_buf *assertion_caught;

#endif
