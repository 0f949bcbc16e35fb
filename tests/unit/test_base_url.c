/* Which texts are a base_url, to whom they lead, and which cannot leave this machine. */
#include <criterion/criterion.h>

#include "base/base_url.h"
#include "base/slice.h"

Test(base_url, good)
{
    static const char *const urls[] = {
        "https://api.openai.com/v1",
        "http://127.0.0.1:8080",
        "http://localhost/",
        "https://h",
        "https://h:1",
        "https://h:65535/v1/",
        "https://A-b_c.example.COM/path/to%20it",
        "https://[::1]",
        "https://[2001:db8::1]:443/v1",
        "https://[::ffff:1.2.3.4]/v1",
        "https://h/a:b@c", /* behind the host it is a path */
        "https://h//",
        "unix:/run/model.sock",
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        cr_assert(base_url_valid(urls[i]), "%s", urls[i]);
}

Test(base_url, bad)
{
    static const char *const urls[] = {
        "",
        "h",
        "/v1",
        "//h/v1",
        "https:",
        "https:/h",
        "https://",
        "https:///v1",
        "HTTPS://h",
        "Http://h",
        " https://h",
        "ftp://h",
        "unix:",
        "unix:/",
        "unix:run/model.sock",
        "unix:/run/mo del.sock",
        "unix:/run/model.sock?x",
        "file:///etc/passwd",
        "httpss://h",
        "https://user@h/v1",
        "https://user:word@h/v1",
        "https://@h",
        "https://h@",
        "https://127.0.0.1@evil.example/",
        "https://h?x=1",
        "https://h/v1?x=1",
        "https://h#top",
        "https://h:",
        "https://h:/v1",
        "https://h:0",
        "https://h:65536",
        "https://h:000080",
        "https://h:8o",
        "https://h:80:80",
        "https://h:-1",
        "https://:80",
        "https://[::1",
        "https://[]",
        "https://[h]",
        "https://[::1]80",
        "https://[::1]]",
        "https://::1",
        "https://h h",
        "https://h/a b",
        "https://h\t",
        "https://h\n",
        "https://h\r\nX: y",
        "https://h/\x7f",
        "https://h\\evil.example",
        "https://h/\"",
        "https://h/<",
        "https://h/>",
        "https://h/^",
        "https://h/`",
        "https://h/{x}",
        "https://h/|",
        "https://h%2eevil/",
        "https://b\xc3\xbc"
        "cher.example",
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        cr_assert_not(base_url_valid(urls[i]), "%s", urls[i]);
}

/* The kernel takes 107 bytes of a path and no more. */
Test(base_url, socket_paths_are_short)
{
    char url[5 + 108 + 1] = "unix:/";
    memset(url + 6, 'x', 106);
    cr_assert(base_url_valid(url));
    url[5 + 107] = 'x';
    cr_assert_not(base_url_valid(url));
}

Test(base_url, two_ways_to_write_a_host_are_the_same_host)
{
    static const char *const same[][2] = {
        {"https://api.openai.com/v1", "https://api.openai.com"},
        {"https://API.OpenAI.com:443", "https://api.openai.com"},
        {"https://api.openai.com:00443/", "https://api.openai.com"},
        {"https://h:80/x", "https://h:80"},
        {"http://h:80/x", "http://h"},
        {"http://h:443", "http://h:443"},
        {"http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"},
        {"https://[2001:DB8::1]:8443/v1", "https://[2001:db8::1]:8443"},
        {"unix:/run/Model.sock", "unix:/run/Model.sock"},
        {"", ""},
        {"https://user@h/", ""},
        {"nonsense", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        char host[CONF_TEXT] = "as before";
        base_url_host(same[i][0], host);
        cr_assert_str_eq(host, same[i][1], "%s: %s", same[i][0], host);
    }
}

/* What would not fit is nobody's host, so no key is bound to its beginning. */
Test(base_url, a_host_of_any_length)
{
    char url[CONF_TEXT + 8] = "http://", host[CONF_TEXT];
    memset(url + 7, 'h', sizeof(url) - 8);
    base_url_host(url, host);
    cr_assert_str_eq(host, "");
    url[CONF_TEXT - 1] = 0;
    base_url_host(url, host);
    cr_assert_str_eq(host, url);
}

Test(base_url, local)
{
    static const char *const urls[] = {
        "http://127.0.0.1",     "http://127.0.0.1:8080/v1", "http://127.255.255.254/",
        "http://localhost",     "http://LocalHost:80/v1",   "http://[::1]",
        "http://[::1]:8080/v1", "http://[0:0:0:0:0:0:0:1]", "http://[::ffff:127.0.0.1]",
        "https://localhost",    "unix:/run/model.sock"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        cr_assert(base_url_is_local(urls[i]), "%s", urls[i]);
}

Test(base_url, not_local)
{
    static const char *const urls[] = {"http://localhost.evil.example",
                                       "http://localhost.",
                                       "http://a.localhost",
                                       "http://localhosts",
                                       "http://127.0.0.1.evil.example",
                                       "http://127.0.0.1@evil.example",
                                       "http://evil.example/127.0.0.1",
                                       "http://evil.example/@localhost",
                                       "http://2130706433",
                                       "http://0x7f000001",
                                       "http://0x7f.0.0.1",
                                       "http://0177.0.0.1",
                                       "http://127.1",
                                       "http://127.0.0.01",
                                       "http://127.0.0.256",
                                       "http://128.0.0.1",
                                       "http://0.0.0.0",
                                       "http://0",
                                       "http://[::]",
                                       "http://[::2]",
                                       "http://[fe80::1]",
                                       "http://[::127.0.0.1]",
                                       "http://[::ffff:10.0.0.1]",
                                       "http://[::ffff:7f00:1]x",
                                       "http://169.254.169.254",
                                       "http://[fd00:ec2::254]",
                                       "http://10.0.0.1",
                                       "http://example.org",
                                       "HTTP://127.0.0.1",
                                       "unix:",
                                       "unix:run/model.sock",
                                       "",
                                       "localhost"};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        cr_assert_not(base_url_is_local(urls[i]), "%s", urls[i]);
}
