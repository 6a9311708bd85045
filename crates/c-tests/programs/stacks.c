/* How much stack a call takes. Each runs in a thread whose stack is painted before; what lost its paint was used. */
#define _GNU_SOURCE
#include "tap.h"
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

enum { STACK = 256 << 10, PAINT = 0xa5, KIBI = 1 << 10 };

static unsigned char *stack;
static size_t used;

static void *runs_on_paint(void *call) {
    unsigned char *here = __builtin_frame_address(0);
    unsigned char *top = here - 512; /* this function's own frame, and a little */
    for (unsigned char *at = stack + 4096; at < top; at++) *(volatile unsigned char *)at = PAINT;
    ((void (*)(void))call)();
    unsigned char *lowest = stack + 4096;
    while (lowest < top && *lowest == PAINT) lowest++;
    used = (size_t)(top - lowest);
    return NULL;
}
static size_t stack_of(void (*call)(void)) {
    pthread_attr_t attributes;
    pthread_t thread;
    stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(stack != MAP_FAILED && pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, runs_on_paint, (void *)call) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    munmap(stack, STACK);
    return used;
}
static void at_most(const char *name, void (*call)(void), size_t bytes) {
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        size_t now = stack_of(call);
        if (now > most) most = now;
    }
    printf("%s: %zu bytes of stack\n", name, most);
    if (most > bytes) fprintf(stderr, "%s: %zu bytes of stack\n", name, most);
    CHECK(most <= bytes);
}

static void first_block(void) { free(hidden_pointer(malloc(100))); }
static void blocks_of_each_class(void) {
    static void *blocks[400];
    for (size_t round = 0; round < 40; round++) {
        for (size_t i = 0; i < 400; i++) blocks[i] = malloc(i * i * 2);
        for (size_t i = 0; i < 400; i++) free(blocks[i]);
    }
}
static void large_blocks(void) {
    char *block = malloc(300 * KIBI);
    for (size_t size = 300 * KIBI; size < 100u << 20; size = size * 3 / 2) block = realloc(block, size);
    free(block);
    free(calloc(3 << 20, 5));
    free(aligned_alloc(4 << 20, 100));
    free(aligned_alloc(64, 3 << 20));
}
/* Steps of the background work fall to the thread that misses, where the heap has none of its own. */
static void misses_for_seconds(void) {
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        blocks_of_each_class();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begin.tv_sec < 7);
}
static void trims(void) { malloc_trim(0); }
static void figures(void) { mallinfo2(); }

CASE(a_first_block, STRATA) { at_most("first block", first_block, 4 * KIBI); }
CASE(blocks_of_classes, STRATA) { at_most("blocks of classes", blocks_of_each_class, 8 * KIBI); }
CASE(large, STRATA) { at_most("large blocks", large_blocks, 8 * KIBI); }
CASE(background_work, STRATA) { printf("background work: %zu bytes\n", stack_of(misses_for_seconds)); CHECK(used <= 8 * KIBI); }
CASE(giving_memory_back, STRATA) { at_most("malloc_trim", trims, 8 * KIBI); }
CASE(asking_for_figures, STRATA) { at_most("mallinfo2", figures, 64 * KIBI); }

static void *allocates(void *unused) {
    for (size_t i = 0; i < 3000; i++) free(hidden_pointer(malloc(i * 7)));
    return unused;
}
CASE(the_least_stack_that_a_thread_can_have, BOTH) {
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, allocates, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}
