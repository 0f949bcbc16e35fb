/*
 * Which certificate authorities are trusted where the library was built for another distribution than the one
 * it runs on, as in the tarball of make dist-bin.
 */
#ifndef CARPOOL_COORDINATOR_TRUST_H
#define CARPOOL_COORDINATOR_TRUST_H

/*
 * The file of this system's authorities, to be used instead of the one that libcurl was built with; NULL:
 * that one is there, or none is known. built_in: libcurl's own, or NULL. A constant. Blocks on files only.
 */
const char *trust_file(const char *built_in);

#endif
