/*
 * GET /openapi.json and GET /docs: web/openapi.json and web/docs.html as they were when the program was
 * built, carried inside it, so that they are the contract of this very version wherever the program is put.
 * The page shows the document with what it loads from vendor/ and assets/ beside it, which the web server
 * serves.
 */
#include <string.h>

#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/state.h"
#include "json/write.h"

#define EMBED(name, file)                                                                                    \
    __asm__(".section .rodata\n"                                                                             \
            ".global carpool_" name "_begin\n"                                                               \
            ".global carpool_" name "_end\n"                                                                 \
            "carpool_" name "_begin:\n"                                                                      \
            ".incbin \"" file "\"\n"                                                                         \
            "carpool_" name "_end:\n"                                                                        \
            ".byte 0\n"                                                                                      \
            ".previous\n")

EMBED("openapi", "web/openapi.json");
EMBED("docs", "web/docs.html");
extern const char carpool_openapi_begin[], carpool_openapi_end[];
extern const char carpool_docs_begin[], carpool_docs_end[];

/* The one server that the document names, which is the whole of this one: "/". */
#define SERVER "\"url\": \"/\""

#define KEEP_S 300

/* What lighttpd.conf says for the other pages. */
#define PAGE_POLICY                                                                                          \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "    \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

void api_docs_openapi_get(struct exchange *x)
{
    x->response.keep_s = KEEP_S;
    /* auth_cors() says so only to those that have an origin; whoever keeps it for all must know. */
    if (!x->request.origin.p)
        response_header(&x->response, "Vary", "Origin");
    const char *begin = carpool_openapi_begin, *end = carpool_openapi_end;
    const char *base = x->worker->conf->server.base_path;
    const char *server = base[0] ? strstr(begin, SERVER) : NULL;
    if (server) {
        server += sizeof("\"url\": \"") - 1;
        buf_append(&x->response.body, begin, (size_t)(server - begin));
        json_escape(&x->response.body, slice_of(base));
        begin = server + 1;
    }
    buf_append(&x->response.body, begin, (size_t)(end - begin));
}

void api_docs_get(struct exchange *x)
{
    x->response.content_type = "text/html; charset=utf-8";
    x->response.policy = PAGE_POLICY;
    response_header(&x->response, "Cross-Origin-Opener-Policy", "same-origin");
    buf_append(&x->response.body, carpool_docs_begin, (size_t)(carpool_docs_end - carpool_docs_begin));
}
