/*
 * The limit of this front: a bare libfcgi program in the worker's process model (children on one socket,
 * threads in each) that reads a request to its end and answers a fixed kilobyte-sized JSON. bench.js runs it
 * behind the same lighttpd as carpool; what carpool costs is the difference.
 *
 *   fcgi_echo PROCESSES THREADS
 */
#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char answer[] =
    "Content-Type: application/json\r\n\r\n"
    "{\"result\":\"the same for everybody\",\"id\":\"0123456789abcdef\",\"ok\":true}";

static void *serve(void *arg)
{
    FCGX_Request request;
    char body[8192];
    (void)arg;
    if (FCGX_InitRequest(&request, 0, 0) != 0)
        return NULL;
    while (FCGX_Accept_r(&request) >= 0) {
        while (FCGX_GetStr(body, sizeof(body), request.in) == (int)sizeof(body))
            ;
        FCGX_PutStr(answer, sizeof(answer) - 1, request.out);
        FCGX_Finish_r(&request);
    }
    return NULL;
}

static void child(int threads)
{
    pthread_attr_t attributes;
    pthread_t id;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 << 10);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (int i = 1; i < threads; i++)
        if (pthread_create(&id, &attributes, serve, NULL) != 0)
            exit(1);
    serve(NULL);
    exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("Usage: fcgi_echo PROCESSES THREADS\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    FCGX_Init();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (int i = 0; i < atoi(argv[1]); i++)
        if (fork() == 0)
            child(atoi(argv[2]));
    while (wait(NULL) > 0)
        ;
    return 0;
}
