/* Forks in odd places: signal handlers, constructors, children of vfork, daemons, many threads that run commands. */
#define _GNU_SOURCE
#include "tap.h"
#include "churn.h"
#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>

static void churn(unsigned seed, int steps) { churn_sizes(seed, steps, 600000, 9000); }

static void wait_for(pid_t child) {
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(child, &status, 0)) == -1 && errno == EINTR) continue;
    CHECK(ended == child);
    if (status != 0) fprintf(stderr, "child ended with %#x\n", status);
    CHECK(status == 0);
}

static atomic_int forked;
/* Once, that much after the last handler is through: the program goes on in between. */
static void interrupted_after(int microseconds) {
    struct itimerval once = {{0, 0}, {0, microseconds}};
    CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
}
static void forks_and_leaves(int signal) {
    int kept = errno;
    pid_t child = fork();
    if (child == 0) _exit(0);
    CHECK(child > 0);
    wait_for(child);
    interrupted_after(100 + atomic_fetch_add(&forked, 1) % 200);
    errno = kept;
}
static void forks_and_goes_on(int signal) {
    int kept = errno;
    pid_t child = fork();
    if (child != 0) {
        CHECK(child > 0);
        wait_for(child);
        interrupted_after(100 + atomic_fetch_add(&forked, 1) % 200);
    } else {
        atomic_store(&forked, -1);
    }
    errno = kept;
}
static void interrupted_by(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    interrupted_after(100);
}

/* As programs with one thread do that were written for glibc, and all that print a backtrace by another program. */
CASE(handlers_that_interrupt_malloc_fork, BOTH) {
    interrupted_by(forks_and_leaves);
    for (unsigned round = 0; atomic_load(&forked) < 300; round++) churn(round, 200), malloc_trim(0);
    interrupted_after(0);
    churn(1, 1000);
}
CASE(a_child_returns_from_the_handler_and_allocates, BOTH) {
    interrupted_by(forks_and_goes_on);
    for (unsigned round = 0; atomic_load(&forked) < 100; round++) {
        churn(round, 100);
        malloc_trim(0);
        if (atomic_load(&forked) < 0) {
            alarm(300);
            churn(round, 300);
            malloc_trim(0);
            pid_t grandchild = fork();
            if (grandchild == 0) churn(round, 100), _exit(0);
            wait_for(grandchild);
            _exit(0);
        }
    }
    interrupted_after(0);
}

static int status_of_early_child = -1;
__attribute__((constructor)) static void forks_before_main(void) {
    void *block = malloc(1000);
    pid_t child = fork();
    if (child == 0) {
        free(block);
        churn(5, 200);
        _exit(0);
    }
    free(block);
    waitpid(child, &status_of_early_child, 0);
}
CASE(a_constructor_forked, BOTH) { CHECK(status_of_early_child == 0); }

static void vforks(int depth) {
    volatile int left = depth;
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        for (volatile int i = 0; i < 50; i++) free(hidden_pointer(malloc(100 + (size_t)i)));
        if (left > 0) vforks(left - 1);
        _exit(0);
    }
    wait_for(child);
}
static atomic_int stop;
static void *worker(void *seed) {
    while (!atomic_load(&stop)) churn((unsigned)(uintptr_t)seed, 200);
    return NULL;
}
CASE(children_of_vfork_vfork, BOTH) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 15; i++) vforks(3), churn((unsigned)i, 50);
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void *runs_commands(void *unused) {
    for (int i = 0; i < 2; i++) {
        FILE *pipe = popen("echo text", "re");
        char line[20];
        CHECK(pipe != NULL && fgets(line, sizeof(line), pipe) != NULL && strcmp(line, "text\n") == 0);
        CHECK(pclose(pipe) == 0);
        churn((unsigned)i, 100);
        CHECK(system("exit 3") == 3 << 8);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) churn(1, 50), _exit(0);
        wait_for(child);
    }
    return unused;
}
CASE(commands_from_32_threads, BOTH) {
    pthread_t threads[32];
    for (int i = 0; i < 32; i++) CHECK(pthread_create(&threads[i], NULL, runs_commands, NULL) == 0);
    for (int i = 0; i < 32; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Newer C libraries hold a lock over what popen allocates, for which their fork waits behind the heap's handlers. */
static void *opens_pipes(void *unused) {
    FILE *pipes[6];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 6; i++) CHECK((pipes[i] = popen("read line", "w")) != NULL);
        for (int i = 0; i < 6; i++) CHECK(fputs("text\n", pipes[i]) >= 0 && pclose(pipes[i]) == 0);
    }
    return unused;
}
static void *forks_and_churns(void *unused) {
    while (!atomic_load(&stop)) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) churn(2, 50), _exit(0);
        wait_for(child);
        churn(1, 200);
    }
    return unused;
}
CASE(pipes_are_opened_while_others_fork, BOTH) {
    pthread_t openers[6], forkers[4];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&forkers[i], NULL, forks_and_churns, NULL) == 0);
    for (int i = 0; i < 6; i++) CHECK(pthread_create(&openers[i], NULL, opens_pipes, NULL) == 0);
    for (int i = 0; i < 6; i++) CHECK(pthread_join(openers[i], NULL) == 0);
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(forkers[i], NULL) == 0);
}

static int threads_of_this_process(void) {
    DIR *directory = opendir("/proc/self/task");
    int count = -2;
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}
static void grow(int mebi) {
    static void *blocks[200];
    for (int i = 0; i < mebi; i++) memset(blocks[i] = malloc(1 << 20), 1, 1 << 20);
    for (int i = 0; i < mebi; i++) free(blocks[i]);
    for (int i = 0; i < 200; i++) memset(blocks[i] = malloc(100000), 1, 100000);
    for (int i = 0; i < 200; i++) free(blocks[i]);
}
/* daemon(3) by hand, after the heap has got its thread: it gets another one in the daemon. */
CASE(a_daemon, STRATA) {
    grow(100);
    CHECK(threads_of_this_process() == 2);
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(setsid() > 0);
        if (fork() != 0) _exit(0);
        chdir("/");
        close(0), close(1);
        CHECK(open("/dev/null", O_RDWR) == 0 && dup(0) == 1);
        CHECK(threads_of_this_process() == 1);
        churn(1, 3000);
        grow(190);
        CHECK(threads_of_this_process() == 2);
        churn(2, 3000);
        CHECK(write(ends[1], "good", 4) == 4);
        exit(0);
    }
    wait_for(child);
    close(ends[1]);
    char said[4];
    CHECK(read(ends[0], said, 4) == 4 && memcmp(said, "good", 4) == 0);
}

/* Descriptors are the program's: its next one has the number that it expects, and nobody else closes it. */
CASE(descriptors_are_the_programs_own, STRATA) {
    static void *blocks[1500];
    grow(100);
    CHECK(threads_of_this_process() == 2);
    int lowest = dup(0);
    close(lowest);
    struct timeval begin, now;
    gettimeofday(&begin, NULL);
    for (unsigned round = 0;; round++) {
        for (int i = 0; i < 1500; i++)
            if (next_random(&round) % 3 == 0) free(blocks[i]), memset(blocks[i] = malloc(70000), 1, 70000);
        for (int i = 0; i < 2000; i++) {
            int file = open("/dev/null", O_RDONLY);
            CHECK(file == lowest);
            CHECK(close(file) == 0);
        }
        gettimeofday(&now, NULL);
        if (now.tv_sec - begin.tv_sec > 2) break;
    }
}
