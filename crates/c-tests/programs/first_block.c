/* The C library asks for the first block of a program or of a thread, in the middle of work of its own. */
#include "cases.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 3000 };
static void *blocks[BLOCKS];

/* Enough that no cache has it all. */
static void change_all(void) {
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
        blocks[i] = malloc((size_t)(i % 700 + 1) * 10);
    }
}

static void *no_more(void *unused) { return unused; }

static void fork_handlers_before_the_first_block(void) {
    alarm(300);
    CHECK(pthread_atfork(change_all, change_all, change_all) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, no_more, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            change_all();
            _Exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

/* The list of what is to be done at exit grows by calloc, under its lock. */
static int left_to_do = 500;
static void one_less_to_do(void) {
    free(hidden_pointer(malloc(300)));
    if (--left_to_do == 0) puts("done");
}
static void exit_handlers_before_the_first_block(void) {
    for (int i = 0; i < 500; i++) CHECK(atexit(one_less_to_do) == 0);
    for (int i = 0; i < 500; i++) CHECK(at_quick_exit(one_less_to_do) == 0);
    change_all();
}

/* Keys beyond the first 32 have their values in a block, which the thread asks for first and gives back when all else of it is gone. */
enum { KEYS = 200 };
static pthread_key_t keys[KEYS];
static void free_and_take(void *block) { free(block), free(hidden_pointer(malloc(500))); }
static void *has_values(void *first) {
    for (int i = (int)(size_t)first; i < KEYS; i += 40) CHECK(pthread_setspecific(keys[i], hidden_pointer(malloc(40))) == 0);
    return NULL;
}
static void *has_one_value(void *key) {
    CHECK(pthread_setspecific(keys[(size_t)key], NULL) == 0);
    return NULL;
}
static void values_of_threads_before_their_first_block(void) {
    for (int i = 0; i < KEYS; i++) CHECK(pthread_key_create(&keys[i], free_and_take) == 0);
    for (size_t round = 0; round < 20; round++) {
        pthread_t threads[8];
        for (size_t i = 0; i < 8; i++)
            CHECK(pthread_create(&threads[i], NULL, i % 2 ? has_values : has_one_value, (void *)(round * 2 + i + 33)) == 0);
        for (size_t i = 0; i < 8; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    }
    has_one_value((void *)199);
    change_all();
}

static const struct test_case cases[] = {
    ON_BOTH(fork_handlers_before_the_first_block),
    ON_BOTH(exit_handlers_before_the_first_block),
    ON_BOTH(values_of_threads_before_their_first_block),
};

MAIN(cases)
