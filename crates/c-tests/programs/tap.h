/* The frame of a test program in TAP form. CASE(name, where) { … } defines a check, which passes if it returns.
 *
 * Without an argument the program lists its checks; with a name it runs that one; with --tap it runs each in a process of its own,
 * started anew through the dynamic linker, and writes the Test Anything Protocol. What is right on Strata alone is skipped where
 * another allocator runs. */
#ifndef TAP_H
#define TAP_H

#include "cases.h"
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOTH 1   /* right on glibc's allocator too */
#define STRATA 0 /* glibc has no such function, or does it otherwise */

#define CASE(name, where)                                                                     \
    static void name(void);                                                                   \
    static const struct test_case case_##name = {#name, name, where};                         \
    __attribute__((section("test_cases"), used)) static const struct test_case *place_##name = \
        &case_##name;                                                                         \
    static void name(void)

extern const struct test_case *__start_test_cases[], *__stop_test_cases[];

static int is_strata(void) {
    const char *preload = getenv("LD_PRELOAD");
    return getenv("TAP_IS_STRATA") != NULL || (preload != NULL && strstr(preload, "strata") != NULL);
}

static int passes(char *program, const char *name) {
    pid_t child = fork();
    if (child == 0) {
        char *arguments[] = {program, (char *)name, NULL};
        execv("/proc/self/exe", arguments);
        _exit(126);
    }
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static int all_as_tap(char *program) {
    int count = (int)(__stop_test_cases - __start_test_cases), failed = 0;
    printf("TAP version 13\n1..%d\n", count);
    for (int i = 0; i < count; i++) {
        const struct test_case *test = __start_test_cases[i];
        fflush(stdout);
        if (!test->on_glibc && !is_strata()) {
            printf("ok %d - %s # SKIP not on this allocator\n", i + 1, test->name);
            continue;
        }
        int passed = passes(program, test->name);
        failed += !passed;
        printf("%s %d - %s\n", passed ? "ok" : "not ok", i + 1, test->name);
    }
    return failed != 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--tap") == 0) return all_as_tap(argv[0]);
    for (const struct test_case **test = __start_test_cases; test < __stop_test_cases; test++) {
        if (argc < 2) printf((*test)->on_glibc ? "%s glibc\n" : "%s\n", (*test)->name);
        else if (strcmp(argv[1], (*test)->name) == 0) {
            (*test)->run();
            return 0;
        }
    }
    return argc < 2 ? 0 : 2;
}

#endif
