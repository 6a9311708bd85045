/* What cases of misuse share: an aim that was reached, and how to look for one.
 *
 * A case ends with 42 where the aim was reached, with 0 where it was not. Where a block was written beyond its bounds, it is
 * freed before the aim is looked at: that is when an allocator can tell. Where the allocator ends the program, the parent
 * tells by the signal, and by what stands on standard error, whether the misuse was reported. Frees that the allocator
 * has not looked at by then are looked at by malloc_trim, after the aim. */
#ifndef AIMS_H
#define AIMS_H

#include "cases.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXPLOITED = 42, MANY = 20000 };

static void *many[MANY];
static char target[4096] __attribute__((aligned(4096)));

static inline void exploited(void) { _exit(EXPLOITED); }

/* Nobody may have been told so far: what waits in caches goes to where it is looked at. */
static inline void settle(void) { malloc_trim(0); }

/* Allocates `count` blocks of `size` bytes; the aim is reached if one of them is `wanted` more than `often` times, or any
 * of them twice. */
static inline void look_for(void *wanted, size_t size, int count, int often) {
    for (int i = 0; i < count; i++) {
        many[i] = malloc(size);
        if (many[i] == wanted && --often < 0) exploited();
    }
}

/* The aim is reached if a new block of `size` bytes lies in `bytes` bytes from `start`. */
static inline void look_within(const char *start, size_t bytes, size_t size, int count) {
    for (int i = 0; i < count; i++) {
        char *block = (char *)malloc(size);
        if (block + size > start && block < start + bytes) exploited();
    }
}

/* The aim is reached if one of `count` new blocks of `size` bytes lies over a part of one of `blocks`, which are `bytes` long, and
 * whose owners have them still. */
static inline void look_for_overlap(void *const *blocks, int number, size_t bytes, size_t size, int count) {
    for (int i = 0; i < count; i++) {
        char *block = (char *)malloc(size);
        for (int j = 0; j < number; j++) {
            const char *start = (const char *)blocks[j];
            if (start != NULL && block + size > start && block < start + bytes) exploited();
        }
    }
}

static inline int by_address(const void *a, const void *b) {
    uintptr_t left = *(const uintptr_t *)a, right = *(const uintptr_t *)b;
    return left < right ? -1 : left > right;
}

/* The aim is reached if two of the first `count` new blocks are one. */
static inline void look_for_twins(size_t size, int count) {
    for (int i = 0; i < count; i++) many[i] = malloc(size);
    qsort(many, (size_t)count, sizeof(many[0]), by_address);
    for (int i = 1; i < count; i++)
        if (many[i] == many[i - 1]) exploited();
}

static inline void sized_free(void *pointer, size_t size) {
    static void (*function)(void *, size_t);
    if (function == NULL) *(void **)&function = dlsym(RTLD_DEFAULT, "free_sized");
    if (function != NULL)
        function(pointer, size);
    else
        free(pointer); /* What a C library without it would do. */
}

static inline void run_in_thread(void *(*start)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, start, argument) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static inline void *free_it(void *pointer) {
    free(pointer);
    return NULL;
}

/* All threads of a case run on one CPU, so that what caches of several would make of it is not chance; unless it is about
 * threads that run at once. */
static inline void run_on(int one_cpu) {
    cpu_set_t cpus;
    int cpu = sched_getcpu();
    CPU_ZERO(&cpus);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (!one_cpu || i == cpu) CPU_SET(i, &cpus);
    sched_setaffinity(0, sizeof(cpus), &cpus); /* Where that is refused it is chance. */
}

__attribute__((constructor)) static void run_on_one_cpu(void) { run_on(1); }

/* A program has had blocks before it does something wrong. */
__attribute__((constructor)) static void has_had_blocks(void) {
    for (int i = 0; i < 50; i++) many[i] = malloc((size_t)i * 40);
    for (int i = 0; i < 50; i += 2) free(many[i]);
}

#endif
