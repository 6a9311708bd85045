/* Beside another library that stands before the C library's functions. */
#define _GNU_SOURCE
#include "cases.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

/* Small blocks and large ones, beyond what caches hold. */
static void *work(void *unused) {
    enum { COUNT = 2000 };
    static _Thread_local unsigned char *blocks[COUNT];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            size_t size = (size_t)(i % 400) * (size_t)(i % 400) + 1;
            blocks[i] = malloc(size);
            CHECK(blocks[i] != NULL);
            blocks[i][0] = blocks[i][size - 1] = (unsigned char)i;
        }
        for (int i = 0; i < COUNT; i++) {
            CHECK(blocks[i][0] == (unsigned char)i);
            free(blocks[i]);
        }
    }
    return unused;
}

static void threads_and_forks_and_reports_go_on(void) {
    alarm(300);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            work(NULL);
            _Exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    malloc_trim(0);
    malloc_stats();
    CHECK(mallinfo2().uordblks < (size_t)1 << 30);
}

/* The library is there, and its functions are called by the program, not by the allocator. */
static void the_program_sees_the_others_functions(void) {
    int *calls = dlsym(RTLD_DEFAULT, "calls_to_others");
    CHECK(calls != NULL);
    work(NULL);
    int before = *calls;
    work(NULL);
    malloc_trim(0);
    CHECK(*calls == before);
    getpid();
    CHECK(*calls == before + 1);
}

static const struct test_case cases[] = {
    ON_BOTH(threads_and_forks_and_reports_go_on),
    ON_BOTH(the_program_sees_the_others_functions),
};

MAIN(cases)
