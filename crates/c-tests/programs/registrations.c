/* A thread registers fork handlers while another forks: safe where the C library holds the list of them all the while (older_fork.c). */
#include "cases.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int has_ended;

static void *registers(void *unused) {
    while (!atomic_load(&has_ended)) {
        CHECK(pthread_atfork(NULL, NULL, NULL) == 0);
        usleep(100);
    }
    return unused;
}
static void registrations_and_forks_go_on(void) {
    pthread_t registrar;
    alarm(300);
    CHECK(pthread_create(&registrar, NULL, registers, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) _exit(0);
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    atomic_store(&has_ended, 1);
    CHECK(pthread_join(registrar, NULL) == 0);
}

static const struct test_case cases[] = {ON_BOTH(registrations_and_forks_go_on)};
MAIN(cases)
