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

Test(link, says_what_comes_next_without_waiting)
{
    struct link l;
    struct wire_frame frame;
    struct link_host host = {.leave_fd = -1};
    struct buf both;
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    link_init(&l, &host);
    l.fd = pair[0];
    cr_assert_eq(link_next(&l), 0);
    buf_init(&both, 1024);
    size_t mark = wire_frame_begin(&both, WIRE_DELTA, 1);
    buf_append_text(&both, "{}");
    wire_frame_end(&both, mark);
    mark = wire_frame_begin(&both, WIRE_QUEUED, 1);
    wire_frame_end(&both, mark);
    /* A whole frame and half of another. */
    cr_assert_eq(send(pair[1], both.data, both.len - 3, 0), (ssize_t)(both.len - 3));
    cr_assert_eq(link_receive(&l, 1, -1, UINT64_MAX, &frame), LINK_OK);
    cr_assert_eq(frame.type, WIRE_DELTA);
    cr_assert_eq(link_next(&l), 0);
    cr_assert_eq(send(pair[1], both.data + both.len - 3, 3, 0), 3);
    cr_assert_eq(link_receive(&l, 1, -1, UINT64_MAX, &frame), LINK_OK);
    cr_assert_eq(frame.type, WIRE_QUEUED);
    cr_assert_eq(link_next(&l), 0);
    cr_assert_eq(send(pair[1], both.data, both.len, 0), (ssize_t)both.len);
    cr_assert_eq(link_receive(&l, 1, -1, UINT64_MAX, &frame), LINK_OK);
    cr_assert_eq(link_next(&l), WIRE_QUEUED);
    cr_assert_eq(frame.type, WIRE_DELTA, "it is only looked at");
    buf_fini(&both);
    link_fini(&l);
    close(pair[1]);
}
