/* The client's end of a coordinator link, over a socket pair. */
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/link.h"

/* What the other end has been sent. */
static ssize_t sent(int fd, char bytes[64])
{
    return recv(fd, bytes, 64, MSG_DONTWAIT);
}

Test(link, cancels_only_what_was_asked)
{
    struct link l;
    struct wire_frame frame;
    size_t size, mark;
    char bytes[64];
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    link_init(&l, NULL);
    l.fd = pair[0];
    /* A prompt whose time was over before it was handed in has no question: a frame of id 0 would make the
     * coordinator close the connection. */
    link_cancel(&l, 0);
    cr_assert_eq(sent(pair[1], bytes), -1);
    uint64_t id = link_question(&l, WIRE_STATUS_ASK, &mark);
    link_cancel(&l, id);
    ssize_t n = sent(pair[1], bytes);
    cr_assert_eq(n, WIRE_HEADER_SIZE);
    cr_assert_eq(wire_frame_parse((struct slice){bytes, (size_t)n}, &frame, &size), 1);
    cr_assert_eq(frame.type, WIRE_CANCEL);
    cr_assert_eq(frame.id, id);
    link_fini(&l);
    close(pair[1]);
}
