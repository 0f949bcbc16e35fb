/* Callers without a key; see keyless.h. */
#include "worker/keyless.h"

#include <string.h>
#include <strings.h>

static bool all_of(struct slice s, const char *characters)
{
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || !strchr(characters, s.p[i]))
            return false;
    return true;
}

/* Host without ":port". False: what stands there is no port. */
static bool split_port(struct slice host, struct slice *ret_name)
{
    const char *bracket = host.n && host.p[0] == '[' ? memchr(host.p, ']', host.n) : NULL;
    size_t from = bracket ? (size_t)(bracket - host.p) : 0;
    const char *colon = host.n ? memchr(host.p + from, ':', host.n - from) : NULL;
    size_t n = colon ? (size_t)(colon - host.p) : host.n;
    if (colon && !all_of((struct slice){colon + 1, host.n - n - 1}, "0123456789"))
        return false;
    *ret_name = (struct slice){host.p, n};
    return true;
}

static bool loopback_name(struct slice host)
{
    struct slice name;
    if (!split_port(host, &name))
        return false;
    if (name.n == 9 && !strncasecmp(name.p, "localhost", 9))
        return true;
    /* 127.0.0.0/8, and no name such as 127.0.0.1.example.org. */
    return slice_is(name, "[::1]") ||
           (name.n > 4 && !memcmp(name.p, "127.", 4) && all_of(name, "0123456789."));
}

static bool loopback_address(struct slice address)
{
    if (address.n > 7 && !strncasecmp(address.p, "::ffff:", 7))
        address = (struct slice){address.p + 7, address.n - 7};
    return slice_is(address, "::1") ||
           (address.n > 4 && !memcmp(address.p, "127.", 4) && all_of(address, "0123456789."));
}

/* Whether the page that sends this came from this very server. */
static bool own_origin(const struct request *r)
{
    struct slice o = r->origin;
    size_t scheme = o.n > 8 && !memcmp(o.p, "https://", 8)  ? 8
                    : o.n > 7 && !memcmp(o.p, "http://", 7) ? 7
                                                            : 0;
    return scheme && o.n - scheme == r->host.n && !strncasecmp(o.p + scheme, r->host.p, r->host.n);
}

bool keyless_origin_listed(const char *list, struct slice origin)
{
    for (const char *at = list; *at;) {
        at += strspn(at, ", ");
        size_t n = strcspn(at, ", ");
        if (n && n == origin.n && !memcmp(at, origin.p, n) && !slice_is(origin, "*"))
            return true;
        at += n;
    }
    return false;
}

/* Whether no page from elsewhere is behind it. A browser that has no Origin to send (an image, a link) says
 * at least that the site is another one; another port of this machine may be another person's server. */
static bool page_welcome(const struct request *r, const char *listed)
{
    if (r->origin.p && keyless_origin_listed(listed, r->origin))
        return true;
    if (r->fetch_site.p && !slice_is(r->fetch_site, "same-origin") && !slice_is(r->fetch_site, "none"))
        return false;
    return !r->origin.p || own_origin(r);
}

bool keyless_allowed(const struct request *r, const char *listed)
{
    return loopback_address(r->remote_addr) && !r->forwarded.p && loopback_name(r->host) &&
           page_welcome(r, listed);
}
