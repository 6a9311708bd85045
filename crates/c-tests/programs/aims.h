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

#ifdef __cplusplus
/* A block, and a pointer, of which the compiler knows nothing. */
template <class T = char> static T *block(size_t size) { return (T *)hidden_pointer(malloc(size)); }
template <class T> static T *hide(T *pointer) { return (T *)hidden_pointer((void *)pointer); }
#endif

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

/* Where the process may run. */
static cpu_set_t allowed_cpus;

/* All threads of a case run on one CPU, so that what caches of several would make of it is not chance; unless it is about
 * threads that run at once. Where that is refused it is chance. */
__attribute__((constructor)) static void run_on_one_cpu(void) {
    int cpu = sched_getcpu();
    if (sched_getaffinity(0, sizeof(allowed_cpus), &allowed_cpus) != 0 || cpu < 0 || cpu >= CPU_SETSIZE) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

static inline void run_on_all_cpus(void) { sched_setaffinity(0, sizeof(allowed_cpus), &allowed_cpus); }

/* On the first or second of the CPUs where the process may run; where there is one, on that. */
static inline void run_on_cpu(int number) {
    cpu_set_t one;
    int count = CPU_COUNT(&allowed_cpus);
    CPU_ZERO(&one);
    for (int cpu = 0, nth = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed_cpus) && nth++ == number % count) CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

/* Caches are emptied and free blocks looked through by the clock, if anybody has the time: how a case ends does not hang on that. */
#ifdef __cplusplus
extern "C" int MallocExtension_SetBackgroundProcessActionsEnabled(int enabled) noexcept __attribute__((weak));
#else
extern int MallocExtension_SetBackgroundProcessActionsEnabled(int enabled) __attribute__((weak));
#endif

__attribute__((constructor)) static void time_does_nothing(void) {
    if (MallocExtension_SetBackgroundProcessActionsEnabled != NULL) MallocExtension_SetBackgroundProcessActionsEnabled(0);
}

/* A program has had blocks before it does something wrong. */
__attribute__((constructor)) static void has_had_blocks(void) {
    for (int i = 0; i < 50; i++) many[i] = malloc((size_t)i * 40);
    for (int i = 0; i < 50; i += 2) free(many[i]);
}

#endif
