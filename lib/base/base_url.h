/*
 * The address of a provider (provider.base_url): which texts are one, and to whom it leads. Pure; nothing is
 * looked up. A key is bound to the host that base_url_host() gives, and plain http is allowed to what
 * base_url_is_local() holds for, so both read a URL as libcurl does or not at all.
 */
#ifndef CARPOOL_BASE_BASE_URL_H
#define CARPOOL_BASE_BASE_URL_H

#include <stdbool.h>

#include "base/conf.h"

/* http or https in lower case, a host, perhaps a port and a path; no user info, query, fragment, control
 * characters, blanks or anything but ASCII. Or unix:/path of a socket that the kernel can connect to. */
bool base_url_valid(const char *url);

/* Scheme, host and port: "https://api.openai.com", "http://127.0.0.1:8080"; of a socket all of it. The host
 * in lower case, the scheme's own port left out, so that two ways to write one are the same. "" for a text
 * that is none (the mock provider has no address). */
void base_url_host(const char *url, char ret_host[CONF_TEXT]);

/* Whether it cannot leave this machine: a socket, localhost (libcurl resolves that name by itself), an
 * address of 127.0.0.0/8 in four decimal numbers, ::1, or the former mapped into IPv6. No other name,
 * whatever it resolves to: somebody else decides on that. */
bool base_url_is_local(const char *url);

#endif
