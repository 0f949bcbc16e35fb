/* Where distributions keep the certificate authorities; see trust.h. */
#include "coordinator/trust.h"

#include <stddef.h>
#include <unistd.h>

#include "base/err.h"

const char *trust_file(const char *built_in)
{
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt", /* Debian, Ubuntu, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL, AlmaLinux, CloudLinux */
        "/etc/ssl/ca-bundle.pem",             /* SUSE */
        "/etc/ssl/cert.pem",                  /* Alpine, FreeBSD */
    };
    if (built_in && access(built_in, R_OK) == 0)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}
