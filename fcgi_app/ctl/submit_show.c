/* How a run gets on; see submit_show.h. */
#include "ctl/submit_show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

#define DRAW_US   (200 * US_PER_MS)
#define TELL_US   (10 * US_PER_S)
#define RATE_US   (10 * US_PER_S)
#define FIRST_US  US_PER_S /* before that a rate says nothing */
#define BAR_MAX   30u
#define BAR_CHARS "##############################"

uint64_t show_saved(const struct submit_counts *c)
{
    uint64_t free_ones = c->replayed + c->cached, called = c->answered - free_ones;
    return free_ones + (called > c->calls ? called - c->calls : 0);
}

void show_init(struct submit_show *s, bool bar, uint64_t now_us)
{
    struct winsize size = {0};
    *s = (struct submit_show){.terminal = bar, .start_us = now_us, .rate_from_us = now_us, .columns = 80};
    if (s->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
        s->columns = size.ws_col;
    s->next_us = now_us + (s->terminal ? 0 : TELL_US);
}

void show_format_time(uint64_t s, char *ret_text, size_t size)
{
    if (s >= 3600)
        snprintf(ret_text, size, "%" PRIu64 ":%02u:%02u", s / 3600, (unsigned)(s / 60 % 60),
                 (unsigned)(s % 60));
    else
        snprintf(ret_text, size, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
}

static uint64_t done_in_all(const struct submit_counts *c)
{
    return c->before + c->answered + c->failed;
}

void show_measure(struct submit_show *s, const struct submit_counts *c, uint64_t now_us)
{
    uint64_t since_us = now_us - s->rate_from_us, done = c->answered + c->failed;
    if (since_us < FIRST_US)
        return;
    s->rate = (double)(done - s->rate_from) * (double)US_PER_S / (double)since_us;
    if (since_us >= RATE_US) {
        s->rate_from_us = now_us;
        s->rate_from = done;
    }
}

void show_format(const struct submit_show *s, const struct submit_counts *c, char ret_text[SHOW_TEXT])
{
    uint64_t done = done_in_all(c), left = c->total > done ? c->total - done : 0;
    char eta[32];
    int n;
    if (c->total)
        n = snprintf(ret_text, SHOW_TEXT, "%" PRIu64 "/%" PRIu64 " %u%%", done, c->total,
                     (unsigned)(done < c->total ? done * 100 / c->total : 100));
    else
        n = snprintf(ret_text, SHOW_TEXT, "%" PRIu64, done);
    if (s->rate > 0)
        n += snprintf(ret_text + n, (size_t)(SHOW_TEXT - n), " %.*f/s", s->rate < 10 ? 1 : 0, s->rate);
    if (s->rate > 0 && left) {
        show_format_time((uint64_t)((double)left / s->rate + 0.5), eta, sizeof(eta));
        n += snprintf(ret_text + n, (size_t)(SHOW_TEXT - n), " ETA %s", eta);
    }
    if (c->failed)
        n += snprintf(ret_text + n, (size_t)(SHOW_TEXT - n), ", %" PRIu64 " failed", c->failed);
    if (show_saved(c))
        snprintf(ret_text + n, (size_t)(SHOW_TEXT - n), ", %" PRIu64 " calls saved", show_saved(c));
}

/* As much of the bar as fits beside the text, and never a second line. */
static void draw(struct submit_show *s, const struct submit_counts *c, const char *text)
{
    unsigned text_n = (unsigned)strlen(text), room = s->columns > text_n + 4 ? s->columns - text_n - 4 : 0;
    unsigned width = room < BAR_MAX ? room : BAR_MAX;
    uint64_t done = done_in_all(c);
    unsigned full = c->total && done < c->total ? (unsigned)(done * width / c->total) : width;
    fputs("\r\033[K", stderr);
    if (c->total && width >= 5)
        fprintf(stderr, "[%.*s%*s] ", (int)full, BAR_CHARS, (int)(width - full), "");
    fprintf(stderr, "%.*s", (int)s->columns - 1, text);
    fflush(stderr);
    s->drawn = true;
}

void show_tick(struct submit_show *s, const struct submit_counts *c, uint64_t now_us)
{
    char text[SHOW_TEXT];
    if (now_us < s->next_us)
        return;
    s->next_us = now_us + (s->terminal ? DRAW_US : TELL_US);
    show_measure(s, c, now_us);
    show_format(s, c, text);
    if (s->waiting[0]) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "; waiting: %.150s", s->waiting);
    }
    if (s->terminal)
        draw(s, c, text);
    else
        fprintf(stderr, "%s\n", text);
}

void show_end(struct submit_show *s)
{
    if (s->drawn)
        fputs("\r\033[K", stderr);
    s->drawn = false;
}
