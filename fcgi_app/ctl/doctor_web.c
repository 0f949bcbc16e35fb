/*
 * The doctor on what stands between a client and carpool: asks through the web server as a client would, and
 * reads from the answers who gave them. See doctor.h. Nothing it asks reaches a provider.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "base/version.h"
#include "ctl/doctor.h"
#include "ctl/http_ask.h"
#include "json/read.h"

#define FCGID_LIMIT 131072 /* of mod_fcgid's FcgidMaxRequestLen, as it comes */

/* A key that nobody has, and a sign that the caller is no neighbour: without a key even an open carpool then
 * refuses, and says whether it has seen one. */
#define WRONG_KEY "carpool-doctor-asks-with-a-wrong-key"
#define STRANGER  "X-Forwarded-For: 192.0.2.1\r\n"

static const struct slice no_body;

/* The error code of a refusal by carpool; "": it is none. */
static void error_code(const struct http_answer *a, char ret_code[64])
{
    cJSON *root = NULL;
    ret_code[0] = 0;
    if (json_parse(a->body, &root, NULL))
        return;
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(error, "error_code");
    if (cJSON_IsString(code))
        snprintf(ret_code, 64, "%s", code->valuestring);
    cJSON_Delete(root);
}

static bool is_html(const struct http_answer *a)
{
    struct slice type = http_header(a, "Content-Type");
    return type.n >= 9 && strncasecmp(type.p, "text/html", 9) == 0;
}

/* ---- is it carpool that answers ---- */

static bool is_program(const struct http_answer *a)
{
    return a->body.n > 4 && (memcmp(a->body.p, "\177ELF", 4) == 0 || memcmp(a->body.p, "#!", 2) == 0);
}

/* Somebody else than carpool answered. */
static void tell_stranger(struct doctor *d, const struct http_answer *a)
{
    struct slice server = http_header(a, "Server"), place = http_header(a, "Location");
    char code[64];
    error_code(a, code);
    if (is_program(a))
        doctor_tell(
            d, DOCTOR_FAIL, "web.handler",
            "The web server hands the program out instead of running it: it needs mod_fcgid (`a2enmod "
            "fcgid`), and in .htaccess `Options +ExecCGI` and `AddHandler fcgid-script .fcgi`, which "
            "AllowOverride must let it say.");
    else if (code[0])
        doctor_tell(d, DOCTOR_FAIL, "web.base_path",
                    "carpool answers, but %s: set server.base_path to the path that the URL has in front of "
                    "/health.",
                    code);
    else if (a->status >= 300 && a->status < 400)
        doctor_tell(d, DOCTOR_FAIL, "web.handler",
                    "The web server leads elsewhere: ask the doctor about %.*s.",
                    (int)(place.n < 300 ? place.n : 300), place.p ? place.p : "");
    else if (a->status == 403)
        doctor_tell(d, DOCTOR_FAIL, "web.handler",
                    "The web server forbids it (403): `Options +ExecCGI` is missing, or the program or a "
                    "directory above it is not readable and executable for the web server (chmod 755).");
    else if (a->status == 404)
        doctor_tell(
            d, DOCTOR_FAIL, "web.handler",
            "The web server knows no such page (404): the URL lacks the path that carpool is under, or "
            "the rewrite rules of .htaccess do not count (mod_rewrite, AllowOverride).");
    else if (a->status == 500)
        doctor_tell(
            d, DOCTOR_FAIL, "web.handler",
            "The web server could not run the program (500): its error log says why. Often the program "
            "or its directory is writable for a group (suexec; see the lines above), a line in "
            ".htaccess is not allowed, or the configuration is wrong.");
    else if (a->status == 502 || a->status == 503 || a->status == 504)
        doctor_tell(
            d, DOCTOR_FAIL, "web.handler",
            "The web server has nobody to ask (%d): the workers do not run, or at another socket than "
            "it is told.",
            a->status);
    else
        doctor_tell(d, DOCTOR_FAIL, "web.handler", "Something else than carpool answers (%d, %.*s).",
                    a->status, (int)(server.n < 100 ? server.n : 100), server.p ? server.p : "no name");
}

static void tell_dependencies(struct doctor *d, const cJSON *root)
{
    const cJSON *part, *warning;
    cJSON_ArrayForEach (part, cJSON_GetObjectItemCaseSensitive(root, "dependencies")) {
        const cJSON *status = cJSON_GetObjectItemCaseSensitive(part, "status");
        const cJSON *reason = cJSON_GetObjectItemCaseSensitive(part, "reason");
        if (cJSON_IsString(status) && strcmp(status->valuestring, "down") == 0)
            doctor_tell(d, DOCTOR_FAIL, "web.health", "The %.40s is down: %.400s", part->string,
                        cJSON_IsString(reason) ? reason->valuestring : "no reason is given.");
    }
    cJSON_ArrayForEach (warning, cJSON_GetObjectItemCaseSensitive(root, "warnings")) {
        if (cJSON_IsString(warning))
            doctor_tell(d, DOCTOR_WARN, "web.health", "%.400s", warning->valuestring);
    }
}

/* False: it is not carpool, and there is nothing more to ask. */
static bool check_health(struct doctor *d, const struct http_url *u)
{
    struct http_answer a;
    struct err e = {0};
    cJSON *root = NULL;
    /* HTTP_PROXY in a program's environment (httpoxy): carpool must not care. */
    if (http_ask(u, "GET", "/health", "Proxy: http://192.0.2.1:9\r\n", no_body, &a, &e)) {
        doctor_tell(d, DOCTOR_FAIL, "web.server", "%s", e.text);
        return false;
    }
    const cJSON *version = NULL;
    if (!json_parse(a.body, &root, NULL) && cJSON_GetObjectItemCaseSensitive(root, "dependencies"))
        version = cJSON_GetObjectItemCaseSensitive(root, "version");
    bool ours = cJSON_IsString(version);
    if (!ours)
        tell_stranger(d, &a);
    else {
        doctor_tell(d, DOCTOR_OK, "web.handler", "carpool %.40s answers under %s/.", version->valuestring,
                    u->path);
        if (strcmp(version->valuestring, CARPOOL_VERSION) != 0)
            doctor_tell(d, DOCTOR_WARN, "web.version",
                        "This carpoolctl is of version " CARPOOL_VERSION
                        ": install programs of one version.");
        tell_dependencies(d, root);
        if (!http_header(&a, "X-Request-Id").p)
            doctor_tell(d, DOCTOR_WARN, "web.headers",
                        "Headers of answers are taken away on their way (X-Request-Id is missing): look for "
                        "`Header unset` or a proxy.");
    }
    cJSON_Delete(root);
    http_answer_fini(&a);
    return ours;
}

/* ---- keys ---- */

static void check_key(struct doctor *d, const struct http_url *u, const char *check, const char *header,
                      const char *advice)
{
    struct http_answer a;
    struct err e = {0};
    char code[64], headers[256];
    snprintf(headers, sizeof(headers), STRANGER "%s" WRONG_KEY "\r\n", header);
    if (http_ask(u, "GET", "/v1/settings", headers, no_body, &a, &e)) {
        doctor_tell(d, DOCTOR_FAIL, check, "%s", e.text);
        return;
    }
    error_code(&a, code);
    if (strcmp(code, "KEY_UNKNOWN") == 0)
        doctor_tell(d, DOCTOR_OK, check, "A key sent so reaches carpool.");
    else if (strcmp(code, "KEY_MISSING") == 0 || strcmp(code, "KEY_NEEDED") == 0)
        doctor_tell(d, DOCTOR_FAIL, check, "A key sent so does not reach carpool: %s", advice);
    else if (a.status == 200)
        doctor_tell(d, DOCTOR_FAIL, check,
                    "A stranger with a wrong key is let in, even as an administrator: make an admin key "
                    "(carpoolctl key create --role admin), and look at who adds or takes away headers.");
    else
        doctor_tell(d, DOCTOR_WARN, check, "Whether a key sent so arrives could not be seen (%d %s).",
                    a.status, code);
    http_answer_fini(&a);
}

/* ---- bodies ---- */

/* One byte more than mod_fcgid lets through, and no JSON, so that carpool refuses it at once. */
static void check_body(struct doctor *d, const struct http_url *u)
{
    struct http_answer a;
    struct err e = {0};
    char code[64], *body = malloc(FCGID_LIMIT + 1);
    if (!body) {
        doctor_tell(d, DOCTOR_WARN, "web.body", "There is not enough memory to try a large body.");
        return;
    }
    memset(body, 'x', FCGID_LIMIT + 1);
    int rc = http_ask(u, "POST", "/v1/query", "Content-Type: application/json\r\n",
                      (struct slice){body, FCGID_LIMIT + 1}, &a, &e);
    free(body);
    if (rc) {
        doctor_tell(d, DOCTOR_FAIL, "web.body", "A body of %d bytes: %s", FCGID_LIMIT + 1, e.text);
        return;
    }
    error_code(&a, code);
    if (strcmp(code, "BODY_TOO_LARGE") == 0)
        doctor_tell(d, DOCTOR_WARN, "web.body",
                    "carpool itself refuses bodies of %d bytes: set server.max_body_bytes higher.",
                    FCGID_LIMIT + 1);
    else if (code[0])
        doctor_tell(d, DOCTOR_OK, "web.body", "Bodies of more than %d bytes arrive.", FCGID_LIMIT);
    else if (a.status == 500 && is_html(&a))
        doctor_tell(
            d, DOCTOR_WARN, "web.body",
            "Bodies over %d bytes end in a 500 of Apache: mod_fcgid's FcgidMaxRequestLen. Set it to "
            "server.max_body_bytes in the server's configuration (not in .htaccess), ask the host to, or "
            "keep prompts shorter.",
            FCGID_LIMIT);
    else if (a.status == 413)
        doctor_tell(d, DOCTOR_WARN, "web.body",
                    "The web server refuses bodies of %d bytes (413): raise LimitRequestBody of Apache, "
                    "client_max_body_size of nginx or server.max-request-size of lighttpd.",
                    FCGID_LIMIT + 1);
    else
        doctor_tell(d, DOCTOR_WARN, "web.body",
                    "A body of %d bytes is answered by another than carpool (%d).", FCGID_LIMIT + 1,
                    a.status);
    http_answer_fini(&a);
}

/* ---- what nobody may read ---- */

static void check_private(struct doctor *d, const struct http_url *u)
{
    static const char *const targets[] = {"/carpool.conf", "/.htaccess", "/.env", "/data/provider.key"};
    bool good = true;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct http_answer a;
        if (http_ask(u, "GET", targets[i], "", no_body, &a, NULL))
            continue;
        if (a.status == 200 && !is_html(&a) && a.body.n) {
            good = false;
            doctor_tell(d, DOCTOR_FAIL, "web.private",
                        "Everybody can read %s%s: move it out of the document root, or deny it (`Require all "
                        "denied`), and replace the keys that stood in it.",
                        u->path, targets[i]);
        }
        http_answer_fini(&a);
    }
    if (good)
        doctor_tell(d, DOCTOR_OK, "web.private", "Neither configuration nor keys are handed out.");
}

void doctor_web(struct doctor *d, const char *url)
{
    struct http_url u;
    struct err e = {0};
    if (http_url_parse(url, &u, &e)) {
        doctor_tell(d, DOCTOR_FAIL, "web.server", "%s", e.text);
        return;
    }
    if (!check_health(d, &u))
        return;
    check_key(d, &u, "web.authorization", "Authorization: Bearer ",
              "Apache takes the Authorization header away. Put `SetEnvIf Authorization \"(.*)\" "
              "HTTP_AUTHORIZATION=$1` into .htaccess (or `CGIPassAuth On`), or send the key as X-API-Key.");
    check_key(
        d, &u, "web.x_api_key", "X-API-Key: ",
        "something between takes it away; look at proxies and at `RequestHeader unset`, or send the key "
        "as Authorization: Bearer.");
    check_body(d, &u);
    check_private(d, &u);
}
