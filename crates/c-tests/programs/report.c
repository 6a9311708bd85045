/* Programs that ask for a report at their end. */
#define _GNU_SOURCE
#include "cases.h"
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static void plain(void) { free(malloc(100)); }

static void close_stderr(void) { fclose(stderr); }

/* As the GNU core utilities do. */
static void closes_standard_error(void) { atexit(close_stderr); }

/* A file gets the number that was standard error's kept copy: nothing of ours may go there. */
static void reuses_all_descriptors(void) {
    for (int i = 2; i < 1024; i++) close(i);
    char name[] = "/tmp/strata-report-XXXXXX";
    int file = mkstemp(name);
    unlink(name);
    for (int i = 100; i < 110; i++) dup2(file, i);
    close(file);
    atexit(close_stderr);
}

static void forks(void) {
    pid_t child = fork();
    if (child == 0) exit(0);
    waitpid(child, NULL, 0);
}

static void ends_without_handlers(void) { _exit(0); }

static const struct test_case cases[] = {
    ON_STRATA(plain), ON_STRATA(closes_standard_error), ON_STRATA(reuses_all_descriptors), ON_STRATA(forks),
    ON_STRATA(ends_without_handlers),
};

MAIN(cases)
