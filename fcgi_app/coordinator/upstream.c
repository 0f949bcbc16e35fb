/* HTTP to the provider; see upstream.h. The shape is libcurl's documented multi_socket_action loop. */
#include "coordinator/upstream.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/trust.h"
#include "coordinator/upstream_private.h"

/* A socket of libcurl's that the loop watches. */
struct watch {
    uv_poll_t poll;
    struct upstream *upstream;
    curl_socket_t fd;
};

static void handle_closed(struct upstream *u)
{
    if (--u->handles == 0 && u->closing)
        free(u);
}

static void transfer_free(struct transfer *t)
{
    curl_slist_free_all(t->headers);
    curl_easy_cleanup(t->easy);
    buf_fini(&t->answer);
    list_remove(&t->node);
    list_remove(&t->listened_node);
    free(t);
}

static void transfer_rest(struct transfer *t)
{
    curl_multi_remove_handle(t->upstream->multi, t->easy);
    curl_easy_reset(t->easy);
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    t->request = NULL;
    buf_fini(&t->answer);
    list_remove(&t->node);
    list_remove(&t->listened_node);
    list_prepend(&t->upstream->spare, &t->node);
}

/* It is over: its owner hears, and the transfer is free for another. */
static void finish(struct transfer *t, CURLcode code)
{
    struct upstream *u = t->upstream;
    struct provider_response response = transfer_describe(t, code);
    u->done(u->arg, t->owner, &response);
    transfer_rest(t);
}

static void collect(struct upstream *u)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(u->multi, &left))) {
        struct transfer *t;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        finish(t, code);
    }
}

uint64_t upstream_now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void on_silence(uv_timer_t *timer)
{
    struct upstream *u = timer->data;
    struct list *first;
    while ((first = list_first(&u->listened))) {
        struct transfer *t = LIST_ENTRY(first, struct transfer, listened_node);
        uint64_t until_ms = t->heard_ms + u->options.timeout_ms, now_ms = upstream_now_ms();
        if (now_ms < until_ms) {
            uv_update_time(u->loop);
            uv_timer_start(timer, on_silence, until_ms - now_ms, 0);
            return;
        }
        snprintf(t->error, sizeof(t->error), "nothing came for %u ms", u->options.timeout_ms);
        finish(t, CURLE_OPERATION_TIMEDOUT);
    }
}

void upstream_listen(struct transfer *t)
{
    struct upstream *u = t->upstream;
    t->heard_ms = upstream_now_ms();
    list_remove(&t->listened_node);
    list_append(&u->listened, &t->listened_node);
    if (!uv_is_active((uv_handle_t *)&u->silence)) {
        uv_update_time(u->loop);
        uv_timer_start(&u->silence, on_silence, u->options.timeout_ms, 0);
    }
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct upstream *u = w->upstream;
    int running, flags = 0;
    if (status < 0)
        flags = CURL_CSELECT_IN | CURL_CSELECT_OUT; /* libcurl finds the error itself, and its name */
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(u->multi, w->fd, flags, &running);
    collect(u);
}

static void on_timer(uv_timer_t *timer)
{
    struct upstream *u = timer->data;
    int running;
    curl_multi_socket_action(u->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(u);
}

static void watch_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    struct upstream *u = w->upstream;
    free(w);
    handle_closed(u);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct upstream *u = arg;
    struct watch *w = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            uv_poll_stop(&w->poll);
            curl_multi_assign(u->multi, fd, NULL);
            uv_close((uv_handle_t *)&w->poll, watch_closed);
        }
        return 0;
    }
    if (!w) {
        w = calloc(1, sizeof(*w));
        if (!w)
            return -1;
        w->upstream = u;
        w->fd = fd;
        if (uv_poll_init_socket(u->loop, &w->poll, fd) < 0) {
            free(w);
            return -1;
        }
        w->poll.data = w;
        u->handles++;
        curl_multi_assign(u->multi, fd, w);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&w->poll, events, on_socket) < 0 ? -1 : 0;
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct upstream *u = arg;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&u->timer);
    else /* never from inside libcurl: 0 is the next turn of the loop */
        uv_timer_start(&u->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

int upstream_open(uv_loop_t *loop, const struct upstream_options *options,
                  void (*done)(void *arg, void *owner, const struct provider_response *response), void *arg,
                  struct upstream **ret_upstream, struct err *e)
{
    struct upstream *u = calloc(1, sizeof(*u));
    if (!u || curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK || !(u->multi = curl_multi_init())) {
        free(u);
        return err_set(e, ERR_NOMEM, "libcurl cannot be started.");
    }
    u->trust = trust_file(curl_version_info(CURLVERSION_NOW)->cainfo);
    u->loop = loop;
    u->options = *options;
    u->done = done;
    u->arg = arg;
    list_init(&u->transfers);
    list_init(&u->listened);
    list_init(&u->spare);
    uv_timer_init(loop, &u->timer);
    uv_timer_init(loop, &u->silence);
    u->timer.data = u->silence.data = u;
    u->handles = 2;
    curl_multi_setopt(u->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(u->multi, CURLMOPT_SOCKETDATA, u);
    curl_multi_setopt(u->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(u->multi, CURLMOPT_TIMERDATA, u);
    curl_multi_setopt(u->multi, CURLMOPT_MAXCONNECTS, (long)options->connections_max);
    curl_multi_setopt(u->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    *ret_upstream = u;
    return 0;
}

static void timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

void upstream_close(struct upstream *u)
{
    if (!u)
        return;
    u->closing = true;
    list_for_each_safe (it, next, &u->transfers) {
        struct transfer *t = LIST_ENTRY(it, struct transfer, node);
        curl_multi_remove_handle(u->multi, t->easy);
        transfer_free(t);
    }
    list_for_each_safe (it, next, &u->spare)
        transfer_free(LIST_ENTRY(it, struct transfer, node));
    curl_multi_cleanup(u->multi);
    uv_close((uv_handle_t *)&u->timer, timer_closed);
    uv_close((uv_handle_t *)&u->silence, timer_closed);
    curl_global_cleanup();
}

static struct transfer *transfer_get(struct upstream *u)
{
    struct list *spare = list_first(&u->spare);
    struct transfer *t;
    if (spare) {
        t = LIST_ENTRY(spare, struct transfer, node);
        list_remove(spare);
    } else {
        t = calloc(1, sizeof(*t));
        if (!t)
            return NULL;
        list_init(&t->node);
        list_init(&t->listened_node);
        t->easy = curl_easy_init();
        if (!t->easy) {
            free(t);
            return NULL;
        }
    }
    t->upstream = u;
    t->sent = 0;
    t->body = BODY_NONE;
    t->retry_after[0] = t->error[0] = 0;
    buf_init(&t->answer, u->options.answer_max_bytes);
    return t;
}

int upstream_send(struct upstream *u, const struct provider_call *request, void *owner, struct err *e)
{
    struct transfer *t = transfer_get(u);
    if (!t)
        return err_set(e, ERR_NOMEM, "out of memory");
    t->request = request;
    t->owner = owner;
    if (transfer_prepare(t) < 0) {
        transfer_free(t);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    CURLMcode code = curl_multi_add_handle(u->multi, t->easy);
    if (code != CURLM_OK) {
        transfer_free(t);
        return err_set(e, ERR_IO, "%s", curl_multi_strerror(code));
    }
    list_append(&u->transfers, &t->node);
    if (request->streams)
        upstream_listen(t);
    return 0;
}

void upstream_on_piece(struct upstream *u, bool (*piece)(void *arg, void *owner, struct slice bytes))
{
    u->piece = piece;
}

static struct transfer *transfer_of(const struct upstream *u, const void *owner)
{
    list_for_each (it, &u->transfers) {
        struct transfer *t = LIST_ENTRY(it, struct transfer, node);
        if (t->owner == owner)
            return t;
    }
    return NULL;
}

void upstream_resume(struct upstream *u, void *owner)
{
    struct transfer *t = transfer_of(u, owner);
    if (!t)
        return;
    upstream_listen(t);
    curl_easy_pause(t->easy, CURLPAUSE_CONT);
}

void upstream_abort(struct upstream *u, void *owner)
{
    struct transfer *t = transfer_of(u, owner);
    if (t)
        transfer_rest(t);
}
