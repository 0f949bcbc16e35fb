/* Where a Redis server is; see url.h. */
#include "shared/url.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/slice.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes s into a terminated text. False: no such encoding, a zero byte, or too long. */
static bool decode(struct slice s, char *ret_text, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            if (s.n - i < 3)
                return false;
            int high = hex_digit(s.p[i + 1]), low = hex_digit(s.p[i + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (!c || n + 1 >= size)
            return false;
        ret_text[n++] = c;
    }
    ret_text[n] = 0;
    return true;
}

/* A decimal number of 0 .. max, all of s. */
static bool number(struct slice s, unsigned max, unsigned *ret_number)
{
    unsigned value = 0;
    if (s.n == 0 || s.n > 9)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        value = value * 10 + (unsigned)(s.p[i] - '0');
    }
    if (value > max)
        return false;
    *ret_number = value;
    return true;
}

/* Cuts what stands before the first (or last) c off the front of *s, and c itself. */
static bool cut(struct slice *s, char c, bool last, struct slice *ret_before)
{
    const char *at = last ? memrchr(s->p, c, s->n) : memchr(s->p, c, s->n);
    if (!at)
        return false;
    *ret_before = (struct slice){s->p, (size_t)(at - s->p)};
    *s = (struct slice){at + 1, s->n - ret_before->n - 1};
    return true;
}

/* The part before the @. A password may hold an unencoded @, since people paste them: the last one ends it.
 */
static int take_login(struct slice *rest, struct shared_url *u, struct err *e)
{
    struct slice login, user;
    if (!cut(rest, '@', true, &login))
        return 0;
    if (!cut(&login, ':', false, &user))
        return err_set(e, ERR_INVAL, "The Redis URL has a user without a password before the @.");
    if (!decode(user, u->user, sizeof(u->user)) || !decode(login, u->password, sizeof(u->password)))
        return err_set(e, ERR_INVAL, "User or password in the Redis URL are too long or badly encoded.");
    return 0;
}

static int take_address(struct slice rest, struct shared_url *u, struct err *e)
{
    struct slice host = rest, path = {"", 0}, port = {NULL, 0};
    if (cut(&rest, '/', false, &host))
        path = rest;
    if (host.n && host.p[0] == '[') {
        struct slice inner = {host.p + 1, host.n - 1};
        if (!cut(&inner, ']', false, &host) || (inner.n && inner.p[0] != ':'))
            return err_set(e, ERR_INVAL, "The Redis URL has a [ without its ].");
        if (inner.n)
            port = (struct slice){inner.p + 1, inner.n - 1};
    } else {
        struct slice before;
        port = host;
        if (cut(&port, ':', false, &before))
            host = before;
        else
            port = (struct slice){NULL, 0};
    }
    if (!host.n || !decode(host, u->host, sizeof(u->host)))
        return err_set(e, ERR_INVAL, "The Redis URL names no host, or one that is too long.");
    if (port.p && (!number(port, 65535, &u->port) || !u->port))
        return err_set(e, ERR_INVAL, "The port in the Redis URL is no number of 1 to 65535.");
    if (path.n && !number(path, 65535, &u->db))
        return err_set(e, ERR_INVAL, "The database in the Redis URL (after the /) is no number.");
    return 0;
}

static int take_path(struct slice rest, struct shared_url *u, struct err *e)
{
    struct slice path = rest;
    if (cut(&rest, '?', false, &path)) {
        if (rest.n < 3 || memcmp(rest.p, "db=", 3) != 0 ||
            !number((struct slice){rest.p + 3, rest.n - 3}, 65535, &u->db))
            return err_set(e, ERR_INVAL, "After the ? of a unix:// URL only db=NUMBER may follow.");
    }
    if (!path.n || path.p[0] != '/' || !decode(path, u->path, sizeof(u->path)))
        return err_set(e, ERR_INVAL, "The path in the unix:// URL is not absolute, or longer than %zu bytes.",
                       sizeof(u->path) - 1);
    return 0;
}

static bool begins(struct slice *rest, const char *scheme)
{
    size_t n = strlen(scheme);
    if (rest->n < n || strncasecmp(rest->p, scheme, n) != 0)
        return false;
    *rest = (struct slice){rest->p + n, rest->n - n};
    return true;
}

int shared_url_parse(const char *text, struct shared_url *ret_url, struct err *e)
{
    struct slice rest = slice_of(text);
    struct shared_url u = {.port = SHARED_URL_PORT};
    if (!rest.p)
        return err_set(e, ERR_INVAL, "There is no Redis URL.");
    if (begins(&rest, "rediss://"))
        return err_set(e, ERR_INVAL,
                       "This build speaks no TLS to Redis: let stunnel or a proxy on this machine do it, and "
                       "name that with redis:// or unix://.");
    bool local = begins(&rest, "unix://");
    if (!local && !begins(&rest, "redis://"))
        return err_set(e, ERR_INVAL, "A Redis URL begins with redis:// or unix://.");
    int rc = take_login(&rest, &u, e);
    if (rc == 0)
        rc = local ? take_path(rest, &u, e) : take_address(rest, &u, e);
    if (rc == 0)
        *ret_url = u;
    explicit_bzero(&u, sizeof(u));
    return rc;
}

void shared_url_name(const struct shared_url *url, char ret_name[SHARED_URL_NAME_SIZE])
{
    if (url->path[0])
        snprintf(ret_name, SHARED_URL_NAME_SIZE, "%s", url->path);
    else
        snprintf(ret_name, SHARED_URL_NAME_SIZE, strchr(url->host, ':') ? "[%s]:%u" : "%s:%u", url->host,
                 url->port);
}
