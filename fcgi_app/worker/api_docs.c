/*
 * GET /openapi.json: web/openapi.json as it was when the program was built, carried inside it, so that it is
 * the contract of this very version wherever the program is put.
 */
#include "worker/api.h"
#include "worker/exchange.h"

__asm__(".section .rodata\n"
        ".global carpool_openapi_begin\n"
        ".global carpool_openapi_end\n"
        "carpool_openapi_begin:\n"
        ".incbin \"web/openapi.json\"\n"
        "carpool_openapi_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const char carpool_openapi_begin[], carpool_openapi_end[];

void api_docs_openapi_get(struct exchange *x)
{
    buf_append(&x->response.body, carpool_openapi_begin,
               (size_t)(carpool_openapi_end - carpool_openapi_begin));
}
