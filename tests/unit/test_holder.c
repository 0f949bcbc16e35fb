/* The lock of a storage directory, and waiting for its holder. */
/* LINK: fcgi_app/coordinator/holder.c */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/socket_path.h"
#include "coordinator/holder.h"
#include "coordinator/loop.h"

static struct conf conf; /* large */
static char lock_path[PATH_MAX], socket_file[PATH_MAX];

void loop_socket_path(const struct conf *c, char *ret_path)
{
    snprintf(ret_path, PATH_MAX, "%.4000s/coordinator.sock", c->storage.dir);
}

static void set_up(void)
{
    strcpy(conf.storage.dir, "/tmp/carpool-XXXXXX");
    cr_assert(mkdtemp(conf.storage.dir));
    snprintf(lock_path, sizeof(lock_path), "%.4000s/coordinator.lock", conf.storage.dir);
    loop_socket_path(&conf, socket_file);
}

static void tear_down(void)
{
    unlink(lock_path);
    unlink(socket_file);
    rmdir(conf.storage.dir);
}

TestSuite(holder, .init = set_up, .fini = tear_down);

static int listen_here(void)
{
    struct sockaddr_un address;
    int dirfd, fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(socket_address(socket_file, &address, &dirfd, NULL), 0);
    cr_assert(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 8) == 0);
    return fd;
}

Test(holder, one_at_a_time)
{
    int first, second;
    struct err e;
    cr_assert_eq(lock_holder(conf.storage.dir), 0);
    cr_assert_eq(lock_take(conf.storage.dir, &first, NULL), 0);
    cr_assert_eq(lock_holder(conf.storage.dir), getpid());
    cr_assert_eq(lock_take(conf.storage.dir, &second, &e), ERR_EXISTS);
    cr_assert(lock_holds(conf.storage.dir, first));
    close(first);
    cr_assert_eq(lock_take(conf.storage.dir, &second, &e), 0);
    unlink(lock_path);
    cr_assert_not(lock_holds(conf.storage.dir, second));
    cr_assert_eq(lock_take(conf.storage.dir, &first, &e), 0, "the file that is there counts");
    close(first);
    close(second);
}

Test(holder, nobody_holds_it)
{
    int fd;
    cr_assert_eq(holder_await(&conf, 1000, &fd, NULL), 0);
    cr_assert(lock_holds(conf.storage.dir, fd));
    close(fd);
}

Test(holder, runs_already)
{
    int held, fd;
    cr_assert_eq(lock_take(conf.storage.dir, &held, NULL), 0);
    int listening = listen_here();
    cr_assert_eq(holder_await(&conf, 5000, &fd, NULL), ERR_EXISTS);
    close(listening);
    close(held);
}

Test(holder, hangs)
{
    int held, fd;
    struct err e;
    cr_assert_eq(lock_take(conf.storage.dir, &held, NULL), 0);
    cr_assert_eq(holder_await(&conf, 60, &fd, &e), ERR_TIMEOUT);
    cr_assert(strstr(e.text, lock_path) && strstr(e.text, socket_file), "%s", e.text);
    close(held);
}

Test(holder, another_program_listens)
{
    int held, fd;
    struct err e;
    cr_assert_eq(lock_take(conf.storage.dir, &held, NULL), 0);
    int listening = listen_here();
    cr_assert_eq(pwrite(held, "1\n", 2, 0), 2); /* as if process 1 held the lock; this one listens */
    cr_assert_eq(ftruncate(held, 2), 0);
    cr_assert_eq(holder_await(&conf, 60, &fd, &e), ERR_TIMEOUT);
    close(listening);
    close(held);
}

static void *let_go(void *arg)
{
    usleep(80 * 1000);
    close(*(int *)arg);
    return NULL;
}

Test(holder, leaves)
{
    int held, fd;
    pthread_t thread;
    uint64_t start_us = clock_mono_us();
    cr_assert_eq(lock_take(conf.storage.dir, &held, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, let_go, &held), 0);
    cr_assert_eq(holder_await(&conf, 20000, &fd, NULL), 0);
    cr_assert_geq(clock_mono_us() - start_us, 75 * US_PER_MS);
    pthread_join(thread, NULL);
    close(fd);
}

Test(lock, is_seen_without_being_touched)
{
    char dir[] = "/tmp/carpool-test-XXXXXX";
    int fd = -1;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(lock_held_by(dir), 0, "there is no file");
    cr_assert_eq(lock_take(dir, &fd, NULL), 0);
    cr_assert_eq(lock_held_by(dir), getpid());
    int other;
    cr_assert_eq(lock_take(dir, &other, NULL), ERR_EXISTS);
    close(fd);
    cr_assert_eq(lock_held_by(dir), 0, "the pid in it is that of a process that lives, and holds it no more");
    cr_assert_eq(lock_take(dir, &fd, NULL), 0);
    close(fd);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/coordinator.lock", dir);
    unlink(path);
    rmdir(dir);
}
