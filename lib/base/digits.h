/* Numbers as decimal digits, where printf would cost more than all the rest of the line. */
#ifndef BASE_DIGITS_H
#define BASE_DIGITS_H

#include <stdint.h>
#include <string.h>

#define DIGITS_SIZE    20 /* of any number */
#define DIGITS_MS_SIZE 24 /* of any number of milliseconds, with its three decimals */

/* Writes the last `width` digits of the number, with zeros in front, and returns where they end. No
 * terminator. */
static inline char *digits_put(char *at, unsigned width, uint64_t number)
{
    for (unsigned i = width; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + width;
}

/* Writes the number as it is, and returns where its digits end. At most DIGITS_SIZE. No terminator. */
static inline char *digits_of(char *at, uint64_t number)
{
    char digits[DIGITS_SIZE], *first = digits + DIGITS_SIZE;
    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    size_t n = (size_t)(digits + DIGITS_SIZE - first);
    memcpy(at, first, n);
    return at + n;
}

/* Microseconds as milliseconds: "12.345". At most DIGITS_MS_SIZE. No terminator. */
static inline char *digits_ms(char *at, uint64_t us)
{
    at = digits_of(at, us / 1000);
    *at++ = '.';
    return digits_put(at, 3, us % 1000);
}

#endif
