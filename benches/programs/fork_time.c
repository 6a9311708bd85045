/* What a fork of a process costs whose threads allocate, and what its child's end.
 *
 *   cc -O1 -pthread -o fork_time fork_time.c && LD_PRELOAD=libstrata.so ./fork_time FORKS THREADS NICE
 *
 * NICE lowers the priority of the threads: at 0, most of the time goes by in waiting for a turn on a CPU. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 128, MOST_THREADS = 64 };

static int niceness;

static unsigned next_random(unsigned *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }

static void churn(unsigned seed, int steps) {
    unsigned char *blocks[BLOCKS] = {0};
    for (int step = 0; step < steps; step++) {
        unsigned i = next_random(&seed) % BLOCKS;
        unsigned size = 1 + next_random(&seed) % (step % 50 == 0 ? 1500000 : 3000);
        free(blocks[i]);
        blocks[i] = step % 2 ? malloc(size) : calloc(1, size);
        if (blocks[i] == NULL) abort();
        blocks[i][0] = blocks[i][size - 1] = 1;
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
}

static void *worker(void *seed) {
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), niceness);
    for (;;) churn((unsigned)(size_t)seed, 500);
    return NULL;
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int forks = atoi(argv[1]), count = atoi(argv[2]);
    niceness = atoi(argv[3]);
    for (int i = 0; i < count && i < MOST_THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker, (void *)(size_t)(i + 1)) != 0) return 1;
    }
    double forking = 0, waiting = 0;
    for (int i = 0; i < forks; i++) {
        double begin = milliseconds();
        pid_t child = fork();
        if (child == 0) {
            churn((unsigned)i, 100);
            _exit(0);
        }
        double forked = milliseconds();
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
        forking += forked - begin;
        waiting += milliseconds() - forked;
    }
    printf("fork %.1f ms, child's life %.1f ms\n", forking / forks, waiting / forks);
    fflush(stdout);
    _exit(0);
}
