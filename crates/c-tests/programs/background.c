/* The heap's own thread: when there is one, what it is like, and what a program may do beside it. */
#define _GNU_SOURCE
#include "cases.h"
#include <dirent.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, LARGE = 100 };

/* Threads of this process, counted without an allocation that could make one. */
static int threads(void) {
    char line[256];
    int count = 0;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) sscanf(line, "Threads: %d", &count);
    fclose(file);
    return count;
}

/* Has so many MiB at once, in blocks of a MiB, and gives them back. */
static void grow(int mib) {
    static char *blocks[4096];
    for (int i = 0; i < mib; i++) {
        CHECK((blocks[i] = malloc(MIB)) != NULL);
        memset(blocks[i], 1, MIB);
    }
    for (int i = 0; i < mib; i++) free(blocks[i]);
}

static int threads_in_constructor;

/* Before main. */
__attribute__((constructor)) static void grow_early(void) {
    if (getenv("GROW_EARLY") == NULL) return;
    grow(LARGE);
    threads_in_constructor = threads();
}

static void wait_for(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void milliseconds(int count) {
    struct timespec time = {count / 1000, count % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

static long resident_kib(void) {
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* The status of the thread called "strata", or nothing. */
static int strata_status(char *text, size_t size) {
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    struct dirent *entry;
    int found = 0;
    while ((entry = readdir(tasks)) != NULL) {
        char path[300];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL) continue;
        size_t had = fread(text, 1, size - 1, file);
        text[had] = 0;
        fclose(file);
        if (strncmp(text, "Name:\tstrata\n", 13) == 0) {
            found = 1;
            break;
        }
    }
    closedir(tasks);
    return found;
}

static void a_small_program_has_one_thread(void) {
    grow(10);
    CHECK(threads() == 1);
}

static void a_large_one_has_two_and_signals_go_to_its_own(void) {
    static char text[4096];
    grow(LARGE);
    CHECK(threads() == 2);
    /* It gives itself its name. */
    for (int i = 0; i < 30000 && !strata_status(text, sizeof text); i++) milliseconds(10);
    CHECK(strata_status(text, sizeof text));
    unsigned long long blocked = 0;
    CHECK(sscanf(strstr(text, "SigBlk:"), "SigBlk: %llx", &blocked) == 1);
    for (int signal = 1; signal < 32; signal++)
        CHECK(signal == SIGKILL || signal == SIGSTOP || (blocked >> (signal - 1) & 1) != 0);
}

static void threads_in_main(void) {
    CHECK(threads_in_constructor == 1 && threads() == 1);
    grow(LARGE);
    CHECK(threads() == 2);
}

static void none_is_born_before_main(void) {
    pid_t child = fork();
    if (child == 0) {
        setenv("GROW_EARLY", "1", 1);
        execl("/proc/self/exe", "background", "threads_in_main", (char *)NULL);
        _exit(1);
    }
    wait_for(child);
}

/* Freed memory goes back while the program sleeps, in a heap whose last call was a free. */
static void freed_memory_goes_back_while_the_program_sleeps(void) {
    long before = resident_kib();
    grow(400);
    for (int i = 0; i < 3000 && resident_kib() > before + 16 * 1024; i++) milliseconds(100);
    CHECK(resident_kib() <= before + 16 * 1024);
}

/* A child has none until it has grown, and may leave its namespaces. */
static void children_have_one_when_they_have_grown(void) {
    grow(LARGE);
    CHECK(threads() == 2);
    pid_t child = fork();
    if (child == 0) {
        CHECK(threads() == 1);
        grow(20);
        CHECK(threads() == 1);
        /* EPERM where users may not; EINVAL if there were two threads. */
        CHECK(unshare(CLONE_NEWUSER) == 0 || errno != EINVAL);
        exit(0);
    }
    wait_for(child);
    child = fork();
    if (child == 0) {
        grow(4 * LARGE);
        CHECK(threads() == 2);
        grow(4 * LARGE);
        pid_t grandchild = fork();
        if (grandchild == 0) exit(threads() == 1 ? 0 : 1);
        wait_for(grandchild);
        exit(0);
    }
    wait_for(child);
    CHECK(threads() == 2);
}

static void *churn(void *stop) {
    unsigned random = (unsigned)(uintptr_t)&stop;
    while (!atomic_load((atomic_int *)stop)) {
        char *blocks[200];
        for (int i = 0; i < 200; i++) {
            random = random * 1664525u + 1013904223u;
            CHECK((blocks[i] = malloc(random % 20000 + 1)) != NULL);
            blocks[i][0] = 1;
        }
        for (int i = 0; i < 200; i++) free(blocks[i]);
    }
    return NULL;
}

/* Forks from a process whose thread gives memory back all the time. */
static void a_storm_of_forks(void) {
    atomic_int stop = 0;
    pthread_t workers[2];
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&workers[i], NULL, churn, &stop) == 0);
    for (int round = 0; round < 20; round++) {
        grow(40);
        pid_t child = fork();
        if (child == 0) {
            grow(40);
            _exit(threads() <= 2 ? 0 : 1);
        }
        wait_for(child);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) pthread_join(workers[i], NULL);
}

static void free_in_exit_handler(void) { grow(50); }

/* exit() while it works, with handlers that allocate and free. */
static void the_program_may_end_while_it_works(void) {
    atexit(free_in_exit_handler);
    for (int round = 0; round < 8; round++) {
        pid_t child = fork();
        if (child == 0) {
            grow(LARGE);
            milliseconds(round);
            exit(0);
        }
        wait_for(child);
    }
    grow(LARGE);
    exit(0);
}

/* Its storage would not fit into the stack that the heap's thread needs. */
static _Thread_local char much_storage[2 * MIB];
static void threads_may_have_much_storage(void) {
    much_storage[MIB] = 1;
    grow(LARGE);
    CHECK(threads() == 2);
    freed_memory_goes_back_while_the_program_sleeps();
}

/* Whoever is in here has the loader's lock. */
static atomic_int walks;
static int only_count(struct dl_phdr_info *object, size_t size, void *unused) {
    (void)object, (void)size, (void)unused;
    atomic_fetch_add(&walks, 1);
    return 0;
}
static void *walk_objects(void *stop) {
    while (!atomic_load((atomic_int *)stop)) dl_iterate_phdr(only_count, NULL);
    return NULL;
}
/* The child may find that lock held by a thread that did not come along. */
static void children_grow_whatever_the_loader_does(void) {
    atomic_int stop = 0;
    pthread_t walkers[2];
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&walkers[i], NULL, walk_objects, &stop) == 0);
    while (atomic_load(&walks) == 0) sched_yield();
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(600);
            grow(50);
            _exit(0);
        }
        wait_for(child);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) pthread_join(walkers[i], NULL);
}

static pthread_mutex_t of_the_program = PTHREAD_MUTEX_INITIALIZER;
static atomic_int is_walking;
static int wait_for_the_program(struct dl_phdr_info *object, size_t size, void *unused) {
    (void)object, (void)size, (void)unused;
    atomic_store(&is_walking, 1);
    pthread_mutex_lock(&of_the_program);
    pthread_mutex_unlock(&of_the_program);
    return 1;
}
static void *walk_once(void *unused) {
    dl_iterate_phdr(wait_for_the_program, unused);
    return NULL;
}
static void a_heap_grows_while_the_loader_waits_for_it(void) {
    pthread_t walker;
    alarm(600);
    pthread_mutex_lock(&of_the_program);
    CHECK(pthread_create(&walker, NULL, walk_once, NULL) == 0);
    while (!atomic_load(&is_walking)) sched_yield();
    grow(LARGE);
    CHECK(threads() == 3);
    pthread_mutex_unlock(&of_the_program);
    pthread_join(walker, NULL);
    alarm(0);
}

static atomic_int handled;
static void fork_and_come_again(int signal) {
    int kept = errno;
    pid_t child = fork();
    if (child == 0) _exit(0);
    wait_for(child);
    struct itimerval once = {{0, 0}, {0, 50 + atomic_fetch_add(&handled, 1) % 100 * 10}};
    CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
    errno = kept;
}
/* The process has a second thread, the heap's: the C library takes its locks for a fork. */
static void handlers_that_interrupt_forks_fork(void) {
    grow(LARGE);
    CHECK(threads() == 2);
    struct sigaction action = {.sa_handler = fork_and_come_again, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval soon = {{0, 0}, {0, 100}}, never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    while (atomic_load(&handled) < 200) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            sigset_t blocked;
            CHECK(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 && sigismember(&blocked, SIGUSR1) == 0);
            _exit(0);
        }
        wait_for(child);
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

/* Everybody has a first block past the threshold at once: one thread is made. */
static void *grow_a_little(void *unused) {
    (void)unused;
    for (int i = 0; i < 200; i++) {
        char *block = malloc(MIB);
        CHECK(block != NULL);
        block[0] = 1;
        free(block);
    }
    char *blocks[20];
    for (int i = 0; i < 20; i++) CHECK((blocks[i] = malloc(MIB)) != NULL);
    for (int i = 0; i < 20; i++) free(blocks[i]);
    return NULL;
}

static void threads_that_grow_together_make_one(void) {
    pthread_t workers[8];
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&workers[i], NULL, grow_a_little, NULL) == 0);
    for (int i = 0; i < 8; i++) pthread_join(workers[i], NULL);
    /* The kernel counts a thread for a moment after it was joined. */
    for (int i = 0; i < 30000 && threads() > 2; i++) milliseconds(10);
    CHECK(threads() <= 2);
    grow(LARGE);
    CHECK(threads() == 2);
}

static void none_where_it_is_switched_off(void) {
    grow(LARGE);
    CHECK(threads() == 1);
}

static const struct test_case cases[] = {
    ON_STRATA(a_small_program_has_one_thread),
    ON_STRATA(a_large_one_has_two_and_signals_go_to_its_own),
    ON_STRATA(none_is_born_before_main),
    ON_STRATA(freed_memory_goes_back_while_the_program_sleeps),
    ON_STRATA(children_have_one_when_they_have_grown),
    ON_BOTH(a_storm_of_forks),
    ON_BOTH(the_program_may_end_while_it_works),
    ON_STRATA(threads_may_have_much_storage),
    ON_BOTH(children_grow_whatever_the_loader_does),
    ON_STRATA(a_heap_grows_while_the_loader_waits_for_it),
    ON_STRATA(handlers_that_interrupt_forks_fork),
    ON_STRATA(threads_that_grow_together_make_one),
};

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "threads_in_main") == 0) return threads_in_main(), 0;
    if (argc > 1 && strcmp(argv[1], "none_where_it_is_switched_off") == 0)
        return none_where_it_is_switched_off(), 0;
    return perform(cases, sizeof cases / sizeof cases[0], argc, argv);
}
