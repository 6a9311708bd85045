/* Each case ends the program: the pointer is on standard output before. */
#define _GNU_SOURCE
#include "cases.h"
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include <sys/mman.h>

static int global[100];

static void *told(void *pointer) {
    printf("%p\n", pointer);
    fflush(stdout);
    return hidden_pointer(pointer);
}

static void stack(void) {
    int local[100] = {0};
    free(told(&local[4]));
}

static void static_data(void) { free(told(&global[8])); }
static void text(void) { free(told((void *)(uintptr_t)stack)); }
static void own_mapping(void) { free(told(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))); }
static void unmapped(void) { free(told((void *)0x123456789000)); }
static void low(void) { free(told((void *)0x10)); }
static void beyond_user_space(void) { free(told((void *)0x8000123456780000)); }
static void all_ones(void) { free(told((void *)UINTPTR_MAX)); }

static void before_the_first_block(void) { free(told(&global[0])); }

static void realloc_of_static_data(void) {
    free(malloc(10));
    CHECK(realloc(told(&global[8]), 100) != NULL);
}

static void inside_a_large_block(void) { free(told((char *)malloc(1 << 20) + (64 << 10))); }

static void large_block_twice(void) {
    void *block = told(malloc(1 << 20));
    free(block);
    free(block);
}

/* Among others of its size; what is wrong is found when the block leaves the caches, at the latest. */
static void *among_others(size_t offset, int times) {
    static void *blocks[5000];
    for (int i = 0; i < 5000; i++) blocks[i] = malloc(100);
    void *pointer = told((char *)blocks[2500] + offset);
    for (int i = 0; i < times; i++) free(pointer);
    for (int i = 0; i < 5000; i++)
        if (i != 2500) free(blocks[i]);
    malloc_trim(0);
    return NULL;
}

static void small_block_twice(void) { among_others(0, 2); }
static void inside_a_small_block(void) { among_others(16, 1); }

static void *in_a_thread(void *unused) { return among_others(0, 2); }

static void small_block_twice_in_a_thread_that_ends(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, in_a_thread, NULL) == 0);
    pthread_join(thread, NULL);
    malloc_trim(0);
}

/* While the program does other things, for at most a minute. */
static void written_after_free_and_left_alone(void) {
    char *block = told(malloc(100));
    free(block);
    block[60] = 'X';
    for (time_t end = time(NULL) + 60; time(NULL) < end;) {
        void *blocks[50];
        for (int i = 0; i < 50; i++) blocks[i] = malloc(3000);
        for (int i = 0; i < 50; i++) free(blocks[i]);
    }
}

/* Three misuses a round, between calls that are right. Says on standard output what was wrong. */
static void *wrong_often(void *unused) {
    (void)unused;
    for (int round = 0; round < 100; round++) {
        int local[100] = {0};
        char *block = hidden_pointer(malloc((size_t)(round % 50 * 8 + 8)));
        free(hidden_pointer(&local[round % 64]));
        CHECK(realloc(hidden_pointer(&local[4]), 100) == NULL);
        free(hidden_pointer(block + 1));
        printf("%p %p %p\n", (void *)&local[round % 64], (void *)&local[4], (void *)(block + 1));
        free(block);
    }
    return NULL;
}

static void many_at_once_in_eight_threads(void) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, wrong_often, NULL) == 0);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
}

static const struct test_case cases[] = {
    ON_STRATA(stack), ON_STRATA(static_data), ON_STRATA(text), ON_STRATA(own_mapping), ON_STRATA(unmapped),
    ON_STRATA(low), ON_STRATA(beyond_user_space), ON_STRATA(all_ones), ON_STRATA(before_the_first_block),
    ON_STRATA(realloc_of_static_data), ON_STRATA(inside_a_large_block), ON_STRATA(large_block_twice),
    ON_STRATA(small_block_twice), ON_STRATA(inside_a_small_block),
    ON_STRATA(small_block_twice_in_a_thread_that_ends), ON_STRATA(written_after_free_and_left_alone),
    ON_STRATA(many_at_once_in_eight_threads),
};

MAIN(cases)
