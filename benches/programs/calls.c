/* What a cached call of each of the allocator's functions costs: ns for it and the free that follows, the least of many rounds.
 *
 *   cc -O2 -fno-builtin -o calls benches/programs/calls.c -lstdc++
 *   taskset -c 0 ./calls; LD_PRELOAD=libstrata.so taskset -c 0 ./calls
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* operator new and sized operator delete, of the C++ library or of what is preloaded. */
extern void *_Znwm(size_t);
extern void _ZdlPvm(void *, size_t);

enum { CALLS = 20000, ROUNDS = 60 };

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static volatile size_t size, align;
static void *volatile sink;

#define MEASURE(name, call)                                             \
    do {                                                                \
        double least = 0;                                               \
        for (int round = 0; round < ROUNDS; round++) {                  \
            double begun = now();                                       \
            for (int i = 0; i < CALLS; i++) { call; }                   \
            double took = (now() - begun) / CALLS;                      \
            if (round == 0 || took < least) least = took;               \
        }                                                               \
        printf("%-36s %6.2f\n", name, least);                           \
    } while (0)

#define PAIR(expression)                                                \
    char *block = (expression);                                         \
    sink = block;                                                       \
    *block = 1;                                                         \
    free(block)

static void *by_posix(size_t align, size_t size) {
    void *block = NULL;
    return posix_memalign(&block, align, size) == 0 ? block : NULL;
}

int main(void) {
    static const size_t sizes[] = {16, 48, 128, 1024, 4096};
    char name[64];
    for (size_t place = 0; place < sizeof sizes / sizeof *sizes; place++) {
        size = sizes[place];
        snprintf(name, sizeof name, "malloc %zu", size);
        MEASURE(name, PAIR(malloc(size)));
        snprintf(name, sizeof name, "calloc %zu", size);
        MEASURE(name, PAIR(calloc(1, size)));
        snprintf(name, sizeof name, "realloc of null %zu", size);
        MEASURE(name, PAIR(realloc(NULL, size)));
        snprintf(name, sizeof name, "realloc to the same %zu", size);
        char *same = malloc(size);
        MEASURE(name, same = realloc(same, size); sink = same);
        snprintf(name, sizeof name, "malloc_usable_size %zu", size);
        MEASURE(name, sink = (void *)malloc_usable_size(same));
        free(same);
        snprintf(name, sizeof name, "realloc from half %zu", size);
        MEASURE(name, char *block = realloc(malloc(size / 2), size); sink = block; free(block));
        for (align = 16; align <= 4096; align *= align == 16 ? 4 : 64) {
            snprintf(name, sizeof name, "aligned_alloc %zu, %zu", align, size);
            MEASURE(name, PAIR(aligned_alloc(align, size)));
            snprintf(name, sizeof name, "posix_memalign %zu, %zu", align, size);
            MEASURE(name, PAIR(by_posix(align, size)));
        }
        {
            snprintf(name, sizeof name, "operator new, sized delete %zu", size);
            MEASURE(name, char *block = _Znwm(size); sink = block; *block = 1; _ZdlPvm(block, size));
        }
    }
    return 0;
}
