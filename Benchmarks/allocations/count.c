// Counts allocations in a process that runs with it in LD_PRELOAD, in the file that ALLOCATIONS_FILE names: the number of
// allocations so far, then how many blocks of each size (rounded up to 16 bytes, the last one for all larger) are live.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZES = 1024 };

struct table {
    atomic_uint_fast64_t allocations;
    atomic_int_fast64_t live[SIZES];
};

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static struct table before_start, *table = &before_start;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("ALLOCATIONS_FILE");
    int fd = path ? open(path, O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
    if (fd < 0 || ftruncate(fd, sizeof *table) != 0) return;
    void *memory = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED) table = memory;
    close(fd);
}

static void *counted(void *block) {
    if (block) {
        size_t size = malloc_usable_size(block) / 16;
        atomic_fetch_add(&table->allocations, 1);
        atomic_fetch_add(&table->live[size < SIZES ? size : SIZES - 1], 1);
    }
    return block;
}

static void forget(void *block) {
    if (!block) return;
    size_t size = malloc_usable_size(block) / 16;
    atomic_fetch_sub(&table->live[size < SIZES ? size : SIZES - 1], 1);
}

void *malloc(size_t size) { return counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return counted(__libc_calloc(count, size)); }
void free(void *block) { forget(block); __libc_free(block); }
void *memalign(size_t align, size_t size) { return counted(__libc_memalign(align, size)); }
void *aligned_alloc(size_t align, size_t size) { return counted(__libc_memalign(align, size)); }

int posix_memalign(void **out, size_t align, size_t size) {
    *out = counted(__libc_memalign(align, size));
    return *out ? 0 : ENOMEM;
}

void *realloc(void *block, size_t size) {
    forget(block);
    return counted(__libc_realloc(block, size));
}
