/* A redis-server of our own; see server.h. */
#include "server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drive.h"

static char root[] = "/tmp/carpool-redis-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

bool directories_init(void)
{
    return mkdtemp(root) != NULL;
}

void directories_fini(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void new_directory(char ret_path[64])
{
    snprintf(ret_path, 64, "%s/XXXXXX", root);
    if (!mkdtemp(ret_path))
        give_up("no directory");
}

unsigned free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 || getsockname(fd, (struct sockaddr *)&at, &n) < 0)
        give_up("no free port");
    close(fd);
    return ntohs(at.sin_port);
}

static void run_server(const struct server *s)
{
    char port[16];
    const char *argv[SERVER_ARGS_MAX + 24] = {
        "redis-server", "--bind", "127.0.0.1", "--port",       port,  "--unixsocket",
        s->socket,      "--dir",  s->dir,      "--appendonly", "yes", "--appendfsync",
        "always",       "--save", "",          "--daemonize",  "no"};
    size_t n = 0;
    snprintf(port, sizeof(port), "%u", s->port);
    while (argv[n])
        n++;
    for (size_t i = 0; s->args[i]; i++)
        argv[n++] = s->args[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open("redis.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

static bool answers(struct server *s)
{
    redisContext *c = redisConnectUnix(s->socket);
    redisReply *reply = c && !c->err ? redisCommand(c, "PING") : NULL;
    /* LOADING is none; to want a password is one. */
    bool ok = reply && !(reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "LOADING", 7) == 0);
    if (reply)
        freeReplyObject(reply);
    if (ok)
        s->admin = c;
    else if (c)
        redisFree(c);
    return ok;
}

void server_spawn(struct server *s)
{
    s->pid = fork();
    if (s->pid == 0) {
        if (chdir(s->dir) == 0)
            run_server(s);
        _exit(127);
    }
}

void server_again(struct server *s)
{
    if (!s->pid)
        server_spawn(s);
    for (int i = 0; i < 100 * STRETCH; i++) {
        if (answers(s))
            return;
        usleep(50000);
    }
    give_up("redis-server does not start");
}

static void begin(struct server *s, bool tcp, va_list args)
{
    size_t n = 0;
    *s = (struct server){.pid = 0};
    while (n < SERVER_ARGS_MAX - 1 && (s->args[n] = va_arg(args, const char *)))
        n++;
    new_directory(s->dir);
    snprintf(s->socket, sizeof(s->socket), "%s/s", s->dir);
    snprintf(s->url, sizeof(s->url), "unix://%s", s->socket);
    if (tcp) {
        s->port = free_port();
        snprintf(s->url, sizeof(s->url), "redis://127.0.0.1:%u", s->port);
    }
    server_again(s);
}

void server_start(struct server *s, ...)
{
    va_list args;
    va_start(args, s);
    begin(s, false, args);
    va_end(args);
}

void server_start_tcp(struct server *s, ...)
{
    va_list args;
    va_start(args, s);
    begin(s, true, args);
    va_end(args);
}

void server_kill(struct server *s)
{
    if (!s->pid)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
    redisFree(s->admin);
    s->admin = NULL;
}

void server_freeze(struct server *s)
{
    kill(s->pid, SIGSTOP);
    waitpid(s->pid, NULL, WUNTRACED);
}

void server_thaw(struct server *s)
{
    kill(s->pid, SIGCONT);
}

void server_fini(struct server *s)
{
    server_kill(s);
    nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static redisReply *ask(struct server *s, const char *format, va_list args)
{
    redisReply *reply = redisvCommand(s->admin, format, args);
    if (!reply)
        give_up("redis-server does not answer the test");
    return reply;
}

redisReply *server_ask(struct server *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = ask(s, format, args);
    va_end(args);
    return reply;
}

long long server_number(struct server *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = ask(s, format, args);
    va_end(args);
    long long n = reply->type == REDIS_REPLY_INTEGER ? reply->integer : reply->str ? atoll(reply->str) : -1;
    freeReplyObject(reply);
    return n;
}
