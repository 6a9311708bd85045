/* Threads that register fork handlers while another forks: safe where the C library holds the list of them all the while (older_fork.c). */
#include "cases.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int has_ended;

static void *forks(void *unused) {
    while (!atomic_load(&has_ended)) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) _exit(0);
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    return unused;
}
static void *registers(void *unused) {
    for (int i = 0; i < 500; i++) {
        CHECK(pthread_atfork(NULL, NULL, NULL) == 0);
        usleep(100);
    }
    return unused;
}
static void registrations_and_forks_go_on(void) {
    pthread_t forker, registrars[2];
    alarm(60);
    CHECK(pthread_create(&forker, NULL, forks, NULL) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&registrars[i], NULL, registers, NULL) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(registrars[i], NULL) == 0);
    atomic_store(&has_ended, 1);
    CHECK(pthread_join(forker, NULL) == 0);
}

static const struct test_case cases[] = {ON_BOTH(registrations_and_forks_go_on)};
MAIN(cases)
