/* Scheduling; see sched.h. */
#include "base/sched.h"

#include <sched.h>

void sched_be_patient(void)
{
    struct sched_param none = {0};
    sched_setscheduler(0, SCHED_BATCH, &none);
}
