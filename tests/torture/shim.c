/* The allocator that fails on demand; see shim.h. Built without sanitizers: it runs before they are ready. */
#include "shim.h"

#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <sanitizer/common_interface_defs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unwind.h>

#define FRAMES_MAX 48
#define SEEN_MAX   65536 /* call stacks; a power of two */

/* AddressSanitizer's own. */
void *__interceptor_malloc(size_t n);
void *__interceptor_calloc(size_t n, size_t size);
void *__interceptor_realloc(void *p, size_t n);
void *__interceptor_memalign(size_t alignment, size_t n);
void *__interceptor_aligned_alloc(size_t alignment, size_t n);
int __interceptor_posix_memalign(void **ret, size_t alignment, size_t n);

/* The linker marks the ends of a section whose name is an identifier. */
extern const char __start_carpool_text[], __stop_carpool_text[];

struct range {
    uintptr_t from, to;
};

/* Libraries that abort without memory, or never give back what they had by then. */
static const char *const spared_names[] = {"/libfcgi.so", "/libuv.so", "/libcrypto.so", "/libssl.so"};
#define SPARED_N (sizeof(spared_names) / sizeof(spared_names[0]))

static struct range program, loader, librdkafka, spared[SPARED_N];
static struct shim_plan *plan;
static enum shim_mode mode;
static uint64_t fail_at;
static bool armed, tracing;
static atomic_bool running, recovered;
static atomic_int paused;
static atomic_ullong count, refused;
static uint64_t seen[SEEN_MAX];

/* A stack from the caller of malloc outwards. */
struct walk {
    uintptr_t from;
    uintptr_t frames[FRAMES_MAX];
    size_t n;
    bool to_program; /* only to the innermost frame of the program */
};

static bool within(const struct range *r, uintptr_t at)
{
    return at >= r->from && at < r->to;
}

static struct range *range_of(const struct dl_phdr_info *info, bool first)
{
    if (first)
        return &program;
    if (info->dlpi_addr == getauxval(AT_BASE))
        return &loader;
    for (size_t i = 0; i < SPARED_N; i++)
        if (strstr(info->dlpi_name, spared_names[i]))
            return &spared[i];
    return strstr(info->dlpi_name, "/librdkafka.") ? &librdkafka : NULL;
}

static int note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    bool *first = arg;
    struct range *r = range_of(info, *first);
    (void)size;
    *first = false;
    for (int i = 0; r && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X))
            *r = (struct range){info->dlpi_addr + p->p_vaddr, info->dlpi_addr + p->p_vaddr + p->p_memsz};
    }
    return 0;
}

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *arg)
{
    struct walk *w = arg;
    uintptr_t at = _Unwind_GetIP(context);
    if (!w->n && at != w->from)
        return _URC_NO_REASON; /* still inside the allocator */
    w->frames[w->n++] = at;
    if (w->n == FRAMES_MAX || (w->to_program && (within(&program, at) || within(&librdkafka, at))))
        return _URC_END_OF_STACK;
    return _URC_NO_REASON;
}

void shim_init(void)
{
    struct walk warm = {.to_program = false};
    bool first = true;
    dl_iterate_phdr(note_object, &first);
    _Unwind_Backtrace(step, &warm); /* what it prepares once must not count */
}

void shim_arm(enum shim_mode m, uint64_t at, bool trace, struct shim_plan *p)
{
    mode = m;
    fail_at = at;
    tracing = trace;
    plan = p;
    armed = true;
}

void shim_begin(void)
{
    atomic_store(&running, armed);
}

void shim_end(void)
{
    atomic_store(&running, false);
}

bool shim_traced(void)
{
    return tracing;
}

uint64_t shim_refused(void)
{
    return atomic_load(&refused);
}

bool shim_stays_short(void)
{
    return armed && mode == SHIM_FOREVER && fail_at % 4 == 0;
}

void torture_pause(void)
{
    atomic_fetch_add(&paused, 1);
}

void torture_resume(void)
{
    atomic_fetch_sub(&paused, 1);
}

bool torture_active(void)
{
    return armed && mode != SHIM_COUNT;
}

void torture_recover(void)
{
    atomic_store(&recovered, true);
}

/* True the first time. A full table takes everything for new. */
static bool is_new(const struct walk *w)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a, by words */
    for (size_t i = 0; i < w->n; i++)
        hash = (hash ^ w->frames[i]) * 1099511628211u;
    hash |= !hash;
    for (size_t i = 0, at = hash >> 32; i < SEEN_MAX; i++, at++) {
        if (seen[at % SEEN_MAX] == hash)
            return false;
        if (!seen[at % SEEN_MAX]) {
            seen[at % SEEN_MAX] = hash;
            return true;
        }
    }
    return true;
}

static void note(uint64_t n, struct walk *w)
{
    static atomic_flag lock = ATOMIC_FLAG_INIT;
    w->n = 0;
    w->to_program = false;
    _Unwind_Backtrace(step, w);
    while (atomic_flag_test_and_set(&lock)) {
    }
    bool fresh = is_new(w);
    plan->count = n;
    plan->stacks += fresh;
    if ((fresh || n <= plan->every) && plan->n < plan->max)
        plan->at[plan->n++] = (uint32_t)n;
    atomic_flag_clear(&lock);
}

static bool is_ours(struct walk *w)
{
    uintptr_t at = w->from;
    if (within(&loader, at) || within(&librdkafka, at))
        return false;
    for (size_t i = 0; i < SPARED_N; i++)
        if (within(&spared[i], at))
            return false;
    if (!within(&program, at)) {
        w->to_program = true;
        _Unwind_Backtrace(step, w);
        at = w->n ? w->frames[w->n - 1] : 0;
    }
    return at >= (uintptr_t)__start_carpool_text && at < (uintptr_t)__stop_carpool_text;
}

/* Whether the allocation that was called from there fails. */
static bool fails(const void *caller)
{
    if (!atomic_load_explicit(&running, memory_order_relaxed) || atomic_load(&paused))
        return false;
    struct walk w = {.from = (uintptr_t)caller};
    if (!is_ours(&w))
        return false;
    uint64_t n = atomic_fetch_add(&count, 1) + 1;
    if (mode == SHIM_COUNT) {
        note(n, &w);
        return false;
    }
    if (atomic_load(&recovered) || (mode == SHIM_ONCE ? n != fail_at : n < fail_at))
        return false;
    if (atomic_fetch_add(&refused, 1) == 0 && tracing) {
        torture_pause();
        __sanitizer_print_stack_trace();
        torture_resume();
    }
    errno = ENOMEM;
    return true;
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

void *malloc(size_t n)
{
    return fails(CALLER) ? NULL : __interceptor_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails(CALLER) ? NULL : __interceptor_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return fails(CALLER) ? NULL : __interceptor_realloc(p, n);
}

void *reallocarray(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || fails(CALLER)) {
        errno = ENOMEM;
        return NULL;
    }
    return __interceptor_realloc(p, bytes);
}

void *memalign(size_t alignment, size_t n)
{
    return fails(CALLER) ? NULL : __interceptor_memalign(alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    return fails(CALLER) ? NULL : __interceptor_aligned_alloc(alignment, n);
}

int posix_memalign(void **ret, size_t alignment, size_t n)
{
    return fails(CALLER) ? ENOMEM : __interceptor_posix_memalign(ret, alignment, n);
}

/* AddressSanitizer's versions of these do not come through malloc. */
static char *copy(const char *text, size_t n)
{
    char *p = __interceptor_malloc(n + 1);
    if (!p)
        return NULL;
    memcpy(p, text, n);
    p[n] = 0;
    return p;
}

char *strdup(const char *text)
{
    return fails(CALLER) ? NULL : copy(text, strlen(text));
}

char *strndup(const char *text, size_t n)
{
    return fails(CALLER) ? NULL : copy(text, strnlen(text, n));
}
