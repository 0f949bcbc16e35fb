/*
 * LMDB's file format as far as whole.h needs it: the two meta pages, and the B+ tree of free pages, all in
 * the machine's own byte order and word size (LMDB 0.9, mdb.c: MDB_meta, MDB_page, MDB_node, MDB_db).
 */
#include "store/whole.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC     0xbeefc0deu
#define VERSION   1u
#define IS_BRANCH 0x01
#define IS_LEAF   0x02
#define IS_META   0x08
#define ELSEWHERE 0x01 /* of a node: its value is on pages of its own */
#define NONE      SIZE_MAX
#define PAGE_MAX  65536u
#define DEPTH_MAX 32
#define NUMBERS   512
#define TRIES     16

struct page_head {
    size_t number;
    uint16_t pad, flags, lower, upper; /* the offsets of nodes follow, up to lower */
};
struct node {
#if __BYTE_ORDER == __LITTLE_ENDIAN
    uint16_t low, high;
#else
    uint16_t high, low;
#endif
    uint16_t flags, key_bytes; /* the key follows, and in a leaf the value */
};
struct tree {
    uint32_t page_bytes; /* of the tree of free pages only */
    uint16_t flags, depth;
    size_t branches, leaves, others, entries, root;
};
struct meta {
    uint32_t magic, version;
    void *address;
    size_t map_bytes;
    struct tree free, main;
    size_t last_page, transaction;
};

struct file {
    int fd;
    size_t page_bytes, pages; /* that are there */
    size_t last_page;
    size_t spare;            /* free pages that are not there */
    size_t visited, numbers; /* pages and free pages looked at: a damaged tree may run in circles */
};

/* False: not all of it is there. */
static bool read_at(int fd, void *bytes, size_t n, uint64_t at)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)bytes + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool read_meta(int fd, uint64_t at, struct meta *ret_meta)
{
    struct {
        struct page_head head;
        struct meta meta;
    } page;
    if (!read_at(fd, &page, sizeof(page), at) || !(page.head.flags & IS_META) || page.meta.magic != MAGIC ||
        page.meta.version != VERSION || page.meta.free.page_bytes < 512 ||
        page.meta.free.page_bytes > PAGE_MAX)
        return false;
    *ret_meta = page.meta;
    return true;
}

/* The newer one, as LMDB takes it. */
static bool read_newest(int fd, struct meta *ret_meta)
{
    struct meta first, second;
    if (!read_meta(fd, 0, &first))
        return false;
    bool newer = read_meta(fd, first.free.page_bytes, &second) && second.transaction > first.transaction;
    *ret_meta = newer ? second : first;
    return true;
}

/* Adds those numbers of free pages that are beyond the end: how many there are, and then which. */
static bool count_spare(struct file *f, uint64_t at)
{
    size_t numbers[NUMBERS], n, now;
    if (!read_at(f->fd, &n, sizeof(n), at) || n > f->last_page - f->numbers)
        return false;
    f->numbers += n;
    for (at += sizeof(n); n; n -= now, at += now * sizeof(*numbers)) {
        now = n < NUMBERS ? n : NUMBERS;
        if (!read_at(f->fd, numbers, now * sizeof(*numbers), at))
            return false;
        for (size_t i = 0; i < now; i++)
            f->spare += numbers[i] >= f->pages && numbers[i] <= f->last_page;
    }
    return true;
}

static bool walk(struct file *f, size_t number, unsigned depth);

static bool visit(struct file *f, uint64_t page_at, uint16_t node_at, bool leaf, unsigned depth)
{
    struct node n;
    size_t elsewhere;
    uint64_t value_at = page_at + node_at + sizeof(n);
    if (!read_at(f->fd, &n, sizeof(n), page_at + node_at))
        return false;
    if (!leaf)
        return walk(f, n.low | (size_t)n.high << 16 | (sizeof(size_t) > 4 ? (size_t)n.flags << 32 : 0),
                    depth + 1);
    value_at += n.key_bytes;
    if (!(n.flags & ELSEWHERE))
        return count_spare(f, value_at);
    return read_at(f->fd, &elsewhere, sizeof(elsewhere), value_at) && elsewhere < f->pages &&
           count_spare(f, (uint64_t)elsewhere * f->page_bytes + sizeof(struct page_head));
}

/* False: the tree needs a page that is not there, or it is none. */
static bool walk(struct file *f, size_t number, unsigned depth)
{
    struct page_head head;
    uint64_t page_at = (uint64_t)number * f->page_bytes;
    uint16_t node_at;
    if (depth > DEPTH_MAX || number >= f->pages || f->visited++ > f->pages ||
        !read_at(f->fd, &head, sizeof(head), page_at) || head.number != number ||
        !(head.flags & (IS_BRANCH | IS_LEAF)) || head.lower > f->page_bytes)
        return false;
    for (size_t at = sizeof(head); at < head.lower; at += sizeof(node_at))
        if (!read_at(f->fd, &node_at, sizeof(node_at), page_at + at) ||
            !visit(f, page_at, node_at, head.flags & IS_LEAF, depth))
            return false;
    return true;
}

static int check(int fd, const char *dir, struct err *e)
{
    struct meta before, after;
    struct stat st;
    for (int i = 0; i < TRIES; i++) {
        if (!read_newest(fd, &before))
            return 0;
        if (fstat(fd, &st))
            return err_set_errno(e, "Cannot look at %s/data.mdb", dir);
        struct file f = {.fd = fd, .page_bytes = before.free.page_bytes, .last_page = before.last_page};
        f.pages = (uint64_t)st.st_size / f.page_bytes;
        if (f.pages > f.last_page)
            return 0;
        bool known = before.free.root == NONE || walk(&f, before.free.root, 0);
        if (known && f.spare == f.last_page + 1 - f.pages)
            return 0;
        /* Pages of a commit are used again after the next one. */
        if (read_newest(fd, &after) && after.transaction == before.transaction)
            return err_set(e, ERR_CORRUPT,
                           "%.250s/data.mdb is damaged: it was cut short, and has %zu of %zu pages.", dir,
                           f.pages, f.last_page + 1);
    }
    return 0; /* somebody writes it all the time */
}

int whole_check(const char *dir, struct err *e)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/data.mdb", dir) >= (int)sizeof(path))
        return err_set(e, ERR_INVAL, "The path of the storage directory is too long.");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set_errno(e, "Cannot open %s", path);
    int rc = check(fd, dir, e);
    close(fd);
    return rc;
}
