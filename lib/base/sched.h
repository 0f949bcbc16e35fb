/* How the kernel shares the processors between the programs of carpool. */
#ifndef CARPOOL_BASE_SCHED_H
#define CARPOOL_BASE_SCHED_H

/*
 * Makes the calling thread, and those it starts, one that does not interrupt others when it is woken
 * (SCHED_BATCH, sched(7)). A worker thread woken by its answer would otherwise take the processor from the
 * coordinator after every single answer, and the coordinator from the worker after every prompt; so each
 * finishes what it has in hand first. With a processor idle nothing changes. Needs no privilege; where the
 * kernel refuses, nothing is lost but speed.
 */
void sched_be_patient(void);

#endif
