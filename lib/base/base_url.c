/* The address of a provider; see base_url.h. */
#include "base/base_url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/slice.h"

/* Of a URL that is valid; lends from it. */
struct authority {
    bool https;
    struct slice host; /* with the brackets of an IPv6 address */
    unsigned port;     /* 0: none is given */
};

static bool is_socket(const char *url)
{
    return strncmp(url, "unix:/", 6) == 0;
}

static bool is_graphic(const char *text)
{
    for (; *text; text++)
        if (*text <= 0x20 || *text >= 0x7f)
            return false;
    return true;
}

static size_t host_size(const char *p)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    if (*p != '[')
        return strspn(p, name);
    size_t n = strspn(p + 1, "0123456789abcdefABCDEF:.");
    return n && p[1 + n] == ']' ? n + 2 : 0;
}

/* Up to five digits and then the path or the end. */
static bool parse_port(const char *p, unsigned *ret_port)
{
    size_t n = strspn(p, "0123456789");
    unsigned long port = n && n <= 5 ? strtoul(p, NULL, 10) : 0;
    if (port < 1 || port > 65535 || (p[n] && p[n] != '/'))
        return false;
    *ret_port = (unsigned)port;
    return true;
}

/* Lower case only: whoever asks later whether it is plain http need not think of "HTTP". */
static bool parse(const char *url, struct authority *ret)
{
    struct authority a = {.https = strncmp(url, "https://", 8) == 0};
    if ((!a.https && strncmp(url, "http://", 7) != 0) || !is_graphic(url) || strpbrk(url, "?#\"<>\\^`{|}"))
        return false;
    a.host.p = url + (a.https ? 8 : 7);
    a.host.n = host_size(a.host.p);
    const char *rest = a.host.p + a.host.n;
    if (!a.host.n || (*rest == ':' ? !parse_port(rest + 1, &a.port) : *rest && *rest != '/'))
        return false;
    *ret = a;
    return true;
}

bool base_url_valid(const char *url)
{
    struct authority a;
    if (is_socket(url)) /* of a model server on this machine */
        return url[6] && strlen(url + 5) < sizeof(((struct sockaddr_un *)0)->sun_path) && is_graphic(url) &&
               !strpbrk(url, "?#\"<>\\^`{|}");
    return parse(url, &a);
}

void base_url_host(const char *url, char ret_host[CONF_TEXT])
{
    struct authority a;
    char port[12] = "";
    int n = 0;
    ret_host[0] = 0;
    if (is_socket(url)) {
        n = snprintf(ret_host, CONF_TEXT, "%s", base_url_valid(url) ? url : "");
    } else if (parse(url, &a)) {
        if (a.port && a.port != (a.https ? 443u : 80u))
            snprintf(port, sizeof(port), ":%u", a.port);
        n = snprintf(ret_host, CONF_TEXT, "%s://%.*s%s", a.https ? "https" : "http", (int)a.host.n, a.host.p,
                     port);
        for (char *p = ret_host; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
    }
    if (n < 0 || n >= CONF_TEXT)
        ret_host[0] = 0;
}

static bool is_local_v6(const char *text)
{
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
    struct in6_addr address;
    if (inet_pton(AF_INET6, text, &address) != 1)
        return false;
    const uint8_t *bytes = address.s6_addr;
    return IN6_IS_ADDR_LOOPBACK(&address) || (memcmp(bytes, mapped, sizeof(mapped)) == 0 && bytes[12] == 127);
}

bool base_url_is_local(const char *url)
{
    struct authority a;
    struct in_addr v4;
    char text[INET6_ADDRSTRLEN];
    if (is_socket(url))
        return base_url_valid(url);
    if (!parse(url, &a))
        return false;
    bool v6 = a.host.p[0] == '[';
    struct slice host = v6 ? (struct slice){a.host.p + 1, a.host.n - 2} : a.host;
    if (host.n >= sizeof(text))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    if (v6)
        return is_local_v6(text);
    /* inet_pton takes four decimal numbers and nothing else: no 0x7f.1, no 2130706433. */
    return strcasecmp(text, "localhost") == 0 ||
           (inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}
