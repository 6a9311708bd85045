/* A program that has handlers for forks before it has a block of its own. */
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

static const struct test_case cases[] = {ON_BOTH(fork_handlers_before_the_first_block)};

MAIN(cases)
