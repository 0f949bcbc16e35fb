/*
 * Time; see clock.h. Dates are computed here and not by gmtime, which takes a lock in every thread. The day
 * arithmetic is Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
 */
#include "base/clock.h"

#include <string.h>
#include <time.h>

#include "base/digits.h"

#define DAY_S          86400ull
#define LAST_REAL_US   (253402300800ull * US_PER_S - 1) /* 9999-12-31T23:59:59.999999Z */
#define MAX_TEXT_BYTES 64

struct date {
    unsigned year, month, day;
};

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * US_PER_S + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_boot_us(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

uint64_t clock_real_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

static struct date date_of_day(uint64_t days_since_1970)
{
    uint64_t z = days_since_1970 + 719468; /* days since 0000-03-01 */
    uint64_t era = z / 146097;
    unsigned doe = (unsigned)(z % 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153; /* 0: March */
    struct date d = {.day = doy - (153 * mp + 2) / 5 + 1, .month = mp < 10 ? mp + 3 : mp - 9};
    d.year = (unsigned)(yoe + era * 400) + (d.month <= 2);
    return d;
}

static int64_t day_of_date(struct date d)
{
    int64_t y = (int64_t)d.year - (d.month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (d.month > 2 ? d.month - 3 : d.month + 9) + 2) / 5 + d.day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

void clock_format_rfc3339(uint64_t real_us, char ret_text[CLOCK_RFC3339_SIZE])
{
    if (real_us > LAST_REAL_US)
        real_us = LAST_REAL_US;
    struct date d = date_of_day(real_us / US_PER_S / DAY_S);
    unsigned s = (unsigned)(real_us / US_PER_S % DAY_S);
    memcpy(ret_text, "0000-00-00T00:00:00.000Z", CLOCK_RFC3339_SIZE);
    digits_put(ret_text, 4, d.year);
    digits_put(ret_text + 5, 2, d.month);
    digits_put(ret_text + 8, 2, d.day);
    digits_put(ret_text + 11, 2, s / 3600);
    digits_put(ret_text + 14, 2, s / 60 % 60);
    digits_put(ret_text + 17, 2, s % 60);
    digits_put(ret_text + 20, 3, real_us % US_PER_S / US_PER_MS);
}

uint32_t clock_day(uint64_t real_us)
{
    if (real_us > LAST_REAL_US)
        real_us = LAST_REAL_US;
    struct date d = date_of_day(real_us / US_PER_S / DAY_S);
    return d.year * 10000 + d.month * 100 + d.day;
}

uint32_t clock_month(uint64_t real_us)
{
    return clock_day(real_us) / 100;
}

uint64_t clock_month_end_us(uint32_t month)
{
    bool last = month % 100 == 12;
    struct date next = {.year = month / 100 + last, .month = last ? 1 : month % 100 + 1, .day = 1};
    return (uint64_t)day_of_date(next) * DAY_S * US_PER_S;
}

/* What is left to read; every take_… moves the front only when it succeeds. */
struct text {
    const char *at, *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take_number(struct text *t, unsigned digits, unsigned *ret_number)
{
    unsigned n = 0;
    if ((size_t)(t->end - t->at) < digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        if (!is_digit(t->at[i]))
            return false;
        n = n * 10 + (unsigned)(t->at[i] - '0');
    }
    t->at += digits;
    *ret_number = n;
    return true;
}

static bool take_char(struct text *t, const char *any_of)
{
    if (t->at == t->end || !*t->at || !strchr(any_of, *t->at))
        return false;
    t->at++;
    return true;
}

/* One to any number of digits after the point; what is finer than a microsecond is dropped. */
static bool take_fraction(struct text *t, unsigned *ret_us)
{
    unsigned us = 0, weight = 100000;
    if (t->at == t->end || !is_digit(*t->at))
        return false;
    for (; t->at < t->end && is_digit(*t->at); t->at++, weight /= 10)
        us += weight * (unsigned)(*t->at - '0');
    *ret_us = us;
    return true;
}

/* "Z" or "+hh:mm"; *ret_s is what has to be taken away to get UTC. */
static bool take_offset(struct text *t, int64_t *ret_s)
{
    unsigned hours, minutes;
    if (take_char(t, "Zz")) {
        *ret_s = 0;
        return true;
    }
    if (t->at == t->end)
        return false;
    bool west = *t->at == '-';
    if (!take_char(t, "+-") || !take_number(t, 2, &hours) || !take_char(t, ":") ||
        !take_number(t, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    int64_t s = (int64_t)hours * 3600 + minutes * 60;
    *ret_s = west ? -s : s;
    return true;
}

static bool take_date(struct text *t, struct date *ret_date)
{
    return take_number(t, 4, &ret_date->year) && take_char(t, "-") && take_number(t, 2, &ret_date->month) &&
           take_char(t, "-") && take_number(t, 2, &ret_date->day) && ret_date->month >= 1 &&
           ret_date->month <= 12 && ret_date->day >= 1 &&
           ret_date->day <= days_in_month(ret_date->year, ret_date->month);
}

/* Second 60 is a leap second; it counts as the first of the next minute. */
static bool take_time(struct text *t, int64_t *ret_s, unsigned *ret_us)
{
    unsigned hour, minute, second;
    if (!take_number(t, 2, &hour) || !take_char(t, ":") || !take_number(t, 2, &minute) ||
        !take_char(t, ":") || !take_number(t, 2, &second) || hour > 23 || minute > 59 || second > 60)
        return false;
    *ret_us = 0;
    if (take_char(t, ".") && !take_fraction(t, ret_us))
        return false;
    *ret_s = (int64_t)hour * 3600 + minute * 60 + second;
    return true;
}

bool clock_parse_rfc3339(struct slice text, uint64_t *ret_us)
{
    struct text t = {text.p, text.p + text.n};
    struct date date;
    int64_t s = 0, offset_s = 0;
    unsigned us = 0;

    if (!text.p || text.n > MAX_TEXT_BYTES || !take_date(&t, &date))
        return false;
    if (t.at < t.end && (!take_char(&t, "Tt ") || !take_time(&t, &s, &us) || !take_offset(&t, &offset_s)))
        return false;
    int64_t total = day_of_date(date) * (int64_t)DAY_S + s - offset_s;
    if (t.at != t.end || total < 0)
        return false;
    *ret_us = (uint64_t)total * US_PER_S + us;
    return true;
}
