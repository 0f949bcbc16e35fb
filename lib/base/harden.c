/* See harden.h. */
#include "base/harden.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifdef CARPOOL_UNCONFINED
#define MAY_CLOSE false
#else
#define MAY_CLOSE true
#endif

void harden_early(void)
{
    struct rlimit none = {0, 0};
    umask(077);
    setrlimit(RLIMIT_CORE, &none); /* memory holds prompts and keys */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (MAY_CLOSE)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void harden_settle(bool sandbox)
{
    if (MAY_CLOSE && !sandbox)
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

bool harden_is_closed(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
}
