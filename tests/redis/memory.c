/* Memory that fails; see memory.h. Built without sanitizers: it runs before they are ready. */
#include "memory.h"

#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
/* There in a sanitized program. */
void *__interceptor_malloc(size_t n) __attribute__((weak));
void *__interceptor_calloc(size_t n, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *p, size_t n) __attribute__((weak));

static struct {
    uintptr_t from, to;
} ours[2];
static bool armed, paused, ever;
static unsigned asked, fail_at;

static int note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    unsigned *seen = arg, i = (*seen)++ == 0 ? 0 : 1;
    (void)size;
    if (i && !strstr(info->dlpi_name, "/libhiredis"))
        return 0;
    for (int k = 0; k < info->dlpi_phnum; k++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[k];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X)) {
            ours[i].from = info->dlpi_addr + p->p_vaddr;
            ours[i].to = ours[i].from + p->p_memsz;
        }
    }
    return 0;
}

void memory_fail(unsigned nth, bool for_ever)
{
    unsigned seen = 0;
    if (!ours[0].to)
        dl_iterate_phdr(note_object, &seen);
    asked = 0;
    fail_at = nth;
    ever = for_ever;
    armed = true;
}

unsigned memory_recover(void)
{
    armed = false;
    return asked;
}

void memory_pause(void)
{
    paused = true;
}

void memory_resume(void)
{
    paused = false;
}

static bool fails(void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    if (!armed || paused)
        return false;
    if (!(at >= ours[0].from && at < ours[0].to) && !(at >= ours[1].from && at < ours[1].to))
        return false;
    asked++;
    if (asked != fail_at && !(ever && asked > fail_at))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    if (fails(__builtin_return_address(0)))
        return NULL;
    return __interceptor_malloc ? __interceptor_malloc(n) : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    if (fails(__builtin_return_address(0)))
        return NULL;
    return __interceptor_calloc ? __interceptor_calloc(n, size) : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    if (fails(__builtin_return_address(0)))
        return NULL;
    return __interceptor_realloc ? __interceptor_realloc(p, n) : __libc_realloc(p, n);
}
