/*
 * What runs at the server: each operation is one Lua script, so that it happens whole or not at all and
 * between no others. They are loaded with each connection and called by the name the server gives them.
 *
 * KEYS[1] and ARGV[1] are the fence's key and this connection's number: a script (but TAKE) that does not
 * find the number there answers FENCED and changes nothing.
 */
#ifndef CARPOOL_SHARED_SCRIPTS_H
#define CARPOOL_SHARED_SCRIPTS_H

enum script {
    SCRIPT_TAKE,   /* the fence, for this connection */
    SCRIPT_TICK,   /* we are alive; settings and news since */
    SCRIPT_ARRIVE, /* see shared.h for these */
    SCRIPT_CLAIM,
    SCRIPT_SETTLE,
    SCRIPT_LOOK,
    SCRIPT_CHARGE,
    SCRIPT_PUT,
    SCRIPT_TELL,
    SCRIPT_N
};

/* Their texts, with KEYS and ARGV explained in scripts.c. */
extern const char *const script_texts[SCRIPT_N];

#endif
