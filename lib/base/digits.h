/* Numbers as decimal digits, where printf would cost more than all the rest of the line. */
#ifndef BASE_DIGITS_H
#define BASE_DIGITS_H

#include <stdint.h>

/* Writes the last `width` digits of the number, with zeros in front, and returns where they end. No
 * terminator. */
static inline char *digits_put(char *at, unsigned width, uint64_t number)
{
    for (unsigned i = width; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + width;
}

#endif
