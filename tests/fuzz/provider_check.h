/* What must hold of every call and every outcome, whatever a provider sends; for fuzz_provider.c. */
#ifndef FUZZ_PROVIDER_CHECK_H
#define FUZZ_PROVIDER_CHECK_H

#include "provider_case.h"

/* The request is strict JSON, holds every prompt as it was given, under distinct ids where it has ids. */
void check_call(const struct provider_case *c, const struct provider_call *call);
/* No part is another member's; verdicts, reasons and figures fit together and the table of api.md. */
void check_outcome(const struct provider_case *c, const struct provider_call *call,
                   const struct provider_response *response, const struct provider_outcome *o);

#endif
