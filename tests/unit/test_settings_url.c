/* Settings: which texts are a base_url. Permission for plain http is the coordinator's business. */
#include <criterion/criterion.h>

#include "store/settings.h"

Test(settings_url, good)
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
        cr_assert(settings_is_base_url(urls[i]), "%s", urls[i]);
}

Test(settings_url, bad)
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
        cr_assert_not(settings_is_base_url(urls[i]), "%s", urls[i]);
}

/* The kernel takes 107 bytes of a path and no more. */
Test(settings_url, socket_paths_are_short)
{
    char url[5 + 108 + 1] = "unix:/";
    memset(url + 6, 'x', 106);
    cr_assert(settings_is_base_url(url));
    url[5 + 107] = 'x';
    cr_assert_not(settings_is_base_url(url));
}
