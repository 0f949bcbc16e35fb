/* The route table; see route.h. */
#include "worker/route.h"

#include <stdio.h>
#include <strings.h>

#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/path.h"
#include "worker/state.h"

struct route {
    const char *pattern;
    enum method method; /* GET serves HEAD too */
    enum role role;
    void (*serve)(struct exchange *x);
    enum error_shape errors;
};

/* Pattern, method, role, endpoint, shape of errors. A path that is there as it is comes before a pattern that
 * it would fit, which then does not count for it. A row that leaves the role out does not compile. The
 * tests hold the list against web/openapi.json. */
#define ROUTE_LIST(X)                                                                                        \
    X("/health", GET, OPEN, api_health_get, NATIVE)                                                          \
    X("/v1/query", POST, CLIENT, api_query_v1_post, NATIVE)                                                  \
    X("/query", POST, CLIENT, api_query_post, NATIVE)                                                        \
    X("/generate", POST, CLIENT, api_generate_post, NATIVE)                                                  \
    X("/invoke", POST, CLIENT, api_invoke_post, NATIVE)                                                      \
    X("/chat", POST, CLIENT, api_chat_post, CHAT)                                                            \
    X("/chat/batched", POST, CLIENT, api_chat_batched_post, CHAT)                                            \
    X("/v1/chat/completions", POST, CLIENT, api_chat_completions_post, OPENAI)                               \
    X("/v1/completions", POST, CLIENT, api_completions_post, OPENAI)                                         \
    X("/v1/models", GET, CLIENT, api_models_get, OPENAI)                                                     \
    X("/v1/models/{name}", GET, CLIENT, api_models_one_get, OPENAI)                                          \
    X("/v1/requests/{id}", GET, CLIENT, api_requests_get, NATIVE)                                            \
    X("/v1/chat", GET, ADMIN, api_chats_get, NATIVE)                                                         \
    X("/v1/chat/{id}", DELETE, ADMIN, api_chats_delete, NATIVE)                                              \
    X("/v1/settings", GET, ADMIN, api_settings_get, NATIVE)                                                  \
    X("/v1/settings", PUT, ADMIN, api_settings_put, NATIVE)                                                  \
    X("/v1/analytics", GET, ADMIN, api_analytics_get, NATIVE)                                                \
    X("/stats", GET, ADMIN, api_stats_get, NATIVE)                                                           \
    X("/metrics", GET, ADMIN, api_metrics_get, NATIVE)                                                       \
    X("/openapi.json", GET, OPEN, api_docs_openapi_get, NATIVE)                                              \
    X("/docs", GET, OPEN, api_docs_get, NATIVE)

#define ROUTE_ROW(pattern, method, role, serve, errors)                                                      \
    {pattern, METHOD_##method, ROLE_##role, serve, ERROR_##errors},
static const struct route routes[] = {ROUTE_LIST(ROUTE_ROW)};
#undef ROUTE_ROW

_Static_assert(ARRAY_LEN(routes) < ROUTES_MAX, "more routes than are counted");

static const char *method_name(enum method m)
{
    return m == METHOD_POST ? "POST" : m == METHOD_PUT ? "PUT" : m == METHOD_DELETE ? "DELETE" : "GET";
}

void route_name(unsigned number, char *ret_name, size_t size)
{
    if (!number || number > ARRAY_LEN(routes))
        snprintf(ret_name, size, "other");
    else
        snprintf(ret_name, size, "%s %s", method_name(routes[number - 1].method), routes[number - 1].pattern);
}

/* The route of path and method. *ret_allowed: the methods that the path has; 0: no such path. */
static const struct route *find(struct exchange *x, unsigned *ret_allowed)
{
    enum method method = x->request.method == METHOD_HEAD ? METHOD_GET : x->request.method;
    const struct route *found = NULL;
    unsigned allowed = 0;
    bool literal = false;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        struct slice id;
        if (!path_match(routes[i].pattern, x->path, &id) || (literal && id.p))
            continue;
        literal = literal || !id.p;
        allowed |= routes[i].method;
        x->shape = routes[i].errors;
        if (routes[i].method == method) {
            found = &routes[i];
            x->route = (unsigned)i + 1;
            x->path_id = id;
        }
    }
    *ret_allowed = allowed;
    return found;
}

static void allow_header(struct exchange *x, unsigned allowed)
{
    response_header(&x->response, "Allow", "%s%s%s%sOPTIONS", allowed & METHOD_GET ? "GET, HEAD, " : "",
                    allowed & METHOD_POST ? "POST, " : "", allowed & METHOD_PUT ? "PUT, " : "",
                    allowed & METHOD_DELETE ? "DELETE, " : "");
}

static bool is_json_type(struct slice type)
{
    const char *semicolon = type.n ? memchr(type.p, ';', type.n) : NULL;
    size_t n = semicolon ? (size_t)(semicolon - type.p) : type.n;
    while (n && (type.p[n - 1] == ' ' || type.p[n - 1] == '\t'))
        n--;
    return (n == 16 && !strncasecmp(type.p, "application/json", 16)) ||
           (n > 17 && !strncasecmp(type.p, "application/", 12) && !strncasecmp(type.p + n - 5, "+json", 5));
}

/* JSON is UTF-8 (RFC 8259, 8.1); whoever says otherwise sends something else. */
static bool is_utf8_charset(struct slice type)
{
    const char *charset = type.n ? strcasestr(type.p, "charset=") : NULL;
    if (!charset)
        return true;
    charset += strlen("charset=");
    charset += *charset == '"';
    return !strncasecmp(charset, "utf-8", 5) || !strncasecmp(charset, "utf8", 4);
}

static bool body_acceptable(struct exchange *x)
{
    const struct request *r = &x->request;
    if (r->body_too_large)
        problem_respond(x, PROBLEM_BODY_TOO_LARGE, NULL, "The body is larger than the %llu bytes allowed.",
                        (unsigned long long)x->worker->conf->server.max_body_bytes);
    else if (buf_failed(&r->body))
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this body now.");
    else if (r->body_cut)
        problem_respond(x, PROBLEM_INCOMPLETE_BODY, NULL, "The body is not as long as Content-Length says.");
    else if (r->content_encoding.n && !slice_is(r->content_encoding, "identity"))
        problem_respond(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE, NULL,
                        "Content-Encoding \"%.64s\" is not understood; send the body as it is.",
                        r->content_encoding.p);
    else if (r->content_type.n && (!is_json_type(r->content_type) || !is_utf8_charset(r->content_type)))
        problem_respond(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE, NULL,
                        "The body must be JSON in UTF-8: send Content-Type: application/json, not \"%.64s\".",
                        r->content_type.p);
    else
        return true;
    return false;
}

/* "HTTP_X_API_KEY" came twice: said in the words of HTTP, "X-API-KEY". */
static void refuse_doubled(struct exchange *x)
{
    char name[64];
    const char *variable = x->request.doubled;
    snprintf(name, sizeof(name), "%s", strncmp(variable, "HTTP_", 5) ? variable : variable + 5);
    for (char *c = name; *c; c++)
        if (*c == '_')
            *c = '-';
    problem_respond(x, PROBLEM_DOUBLED_HEADER, name, "%s came twice, which could mean two things.", name);
}

static bool path_acceptable(struct exchange *x)
{
    struct err e = {0};
    int rc =
        path_from_uri(x->request.uri, x->worker->conf->server.base_path, &x->arena, &x->path, &x->query, &e);
    if (x->request.doubled)
        refuse_doubled(x);
    else if (rc == ERR_NOT_FOUND)
        problem_respond(x, PROBLEM_NOT_FOUND, NULL, "There is nothing at this path.");
    else if (rc == ERR_INVAL)
        problem_respond(x, PROBLEM_INVALID_PATH, NULL, "The path is not acceptable: %s", e.text);
    else if (rc)
        problem_respond_err(x, &e);
    else
        return true;
    return false;
}

void route_run(struct exchange *x)
{
    unsigned allowed;
    if (!path_acceptable(x))
        return;
    const struct route *route = find(x, &allowed);
    /* What comes before auth_admit() tells strangers no more than /openapi.json, which is open. */
    if (!allowed)
        problem_respond(x, PROBLEM_NOT_FOUND, NULL, "There is nothing at this path.");
    else if (x->request.method == METHOD_OPTIONS) {
        allow_header(x, allowed);
        x->response.status = 204;
        x->response.content_type = NULL;
    } else if (!route) {
        allow_header(x, allowed);
        problem_respond(x, PROBLEM_METHOD_NOT_ALLOWED, NULL, "This path does not take %.16s.",
                        x->request.method_text.p ? x->request.method_text.p : "a request without method");
    } else if (auth_admit(x, route->role)) {
        if (!(route->method & (METHOD_POST | METHOD_PUT)) || body_acceptable(x))
            route->serve(x);
    }
}
