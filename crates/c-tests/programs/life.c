/* Malloc in the life of a process: threads, forks, constructors, destructors, libraries that come late. */
#define _GNU_SOURCE
#include "cases.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern void MallocExtension_SetBackgroundProcessActionsEnabled(int enabled) __attribute__((weak));

/* Counted from the page tables: the counters of statm lag by some hundred pages. Without a block, which would disturb a heap that rests. */
static long resident_kib(void) {
    char text[2000];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t length = read(file, text, sizeof(text) - 1);
    CHECK(length > 0 && close(file) == 0);
    text[length] = 0;
    const char *line = strstr(text, "\nRss:");
    CHECK(line != NULL);
    return atol(line + strlen("\nRss:"));
}

/* The most that was resident where this was called: what is free goes back by the clock, so that one look may find little. */
static void note_resident(long *most) {
    long now = resident_kib();
    if (now > *most) *most = now;
}

static unsigned next_random(unsigned *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }

/* Some allocation, with a look at what is in the blocks. */
static void churn(unsigned seed, int steps) {
    enum { BLOCKS = 64 };
    unsigned char *blocks[BLOCKS] = {0};
    unsigned sizes[BLOCKS];
    for (int step = 0; step < steps; step++) {
        unsigned i = next_random(&seed) % BLOCKS;
        if (blocks[i] != NULL) {
            CHECK(blocks[i][0] == (unsigned char)i && blocks[i][sizes[i] - 1] == (unsigned char)i);
            free(blocks[i]);
        }
        sizes[i] = 1 + next_random(&seed) % (step % 100 == 0 ? 400000 : 1500);
        CHECK((blocks[i] = malloc(sizes[i])) != NULL);
        blocks[i][0] = blocks[i][sizes[i] - 1] = (unsigned char)i;
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
}

enum { AT_ONCE = 16 };

/* While this is so, all threads of a round have their blocks at the same time. */
static int together;
static pthread_barrier_t all_have_theirs;

/* Of threads that live shortly. Small ones alone where it counts how many live at once. */
static unsigned longest_block = 1000;

static void *short_life(void *seed) {
    unsigned char *blocks[200];
    unsigned random = (unsigned)(uintptr_t)seed;
    for (int i = 0; i < 200; i++) {
        CHECK((blocks[i] = malloc(1 + next_random(&random) % longest_block)) != NULL);
        blocks[i][0] = 1;
    }
    if (together) pthread_barrier_wait(&all_have_theirs);
    for (int i = 0; i < 200; i++) free(blocks[i]);
    return malloc(100);
}

static void a_round_of_threads(int round) {
    pthread_t threads[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
        CHECK(pthread_create(&threads[i], NULL, short_life, (void *)(uintptr_t)(round * AT_ONCE + i)) == 0);
    for (int i = 0; i < AT_ONCE; i++) {
        void *block;
        CHECK(pthread_join(threads[i], &block) == 0);
        free(block);
    }
}

/* Rounds that need as much as any may, however the threads fall together: all have their blocks at once, anywhere, and
   on each CPU. */
static void rounds_that_need_the_most(void) {
    CHECK(pthread_barrier_init(&all_have_theirs, NULL, AT_ONCE) == 0);
    together = 1;
    cpu_set_t allowed, one;
    CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
        for (int round = 0; round < 4; round++) a_round_of_threads(round);
    }
    CHECK(sched_setaffinity(0, sizeof(allowed), &allowed) == 0);
    for (int round = 0; round < 16; round++) a_round_of_threads(round);
    together = 0;
}

/* STRATA_THREADS says how many. */
static int rounds_of_threads(void) {
    return (getenv("STRATA_THREADS") != NULL ? atoi(getenv("STRATA_THREADS")) : 2000) / AT_ONCE;
}

/* What caches hold does not grow, whatever went back meanwhile. (glibc grows by more, where CPUs are few.) */
static void threads_by_the_thousand(void) {
    int rounds = rounds_of_threads();
    MallocExtension_SetBackgroundProcessActionsEnabled(0);
    rounds_that_need_the_most();
    long before = 0;
    for (int round = 0; round < rounds / 10; round++) a_round_of_threads(round), note_resident(&before);
    for (int round = rounds / 10; round < rounds; round++) a_round_of_threads(round);
    long grown = resident_kib() - before;
    if (grown > 1024) fprintf(stderr, "grown by %ld KiB\n", grown);
    CHECK(grown <= 1024);
}

/* What the caches of all CPUs hold when the last thread is gone goes back, though nobody allocates any more. */
static void threads_leave_little_behind(void) {
    longest_block = 3000;
    rounds_that_need_the_most();
    malloc_trim(0);
    long before = resident_kib();
    for (int round = 0; round < rounds_of_threads(); round++) a_round_of_threads(round);
    long grown = resident_kib() - before;
    for (int second = 0; second < 60 && grown > 1024; second++) {
        sleep(1);
        grown = resident_kib() - before;
    }
    if (grown > 1024) fprintf(stderr, "grown by %ld KiB\n", grown);
    CHECK(grown <= 1024);
}

static void *detached_life(void *left) {
    churn(7, 20);
    atomic_fetch_sub((atomic_int *)left, 1);
    return NULL;
}

static void detached_threads(void) {
    static atomic_int left;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 2000; i++) {
        pthread_t thread;
        while (atomic_load(&left) > 64) usleep(100);
        atomic_fetch_add(&left, 1);
        CHECK(pthread_create(&thread, &attributes, detached_life, &left) == 0);
    }
    while (atomic_load(&left) > 0) usleep(100);
}

static atomic_int stop;

static void *worker(void *seed) {
    while (!atomic_load(&stop)) churn((unsigned)(uintptr_t)seed, 200);
    return NULL;
}

static void *child_thread(void *unused) {
    churn(3, 200);
    return unused;
}

static void wait_for(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fprintf(stderr, "child ended with %#x\n", status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fork_while_others_allocate(void) {
    enum { THREADS = 6, FORKS = 80 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < FORKS; i++) {
        void *from_parent = malloc(200);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(300);
            free(from_parent);
            churn((unsigned)i, 300);
            if (i % 8 == 0) {
                pthread_t thread;
                CHECK(pthread_create(&thread, NULL, child_thread, NULL) == 0);
                CHECK(pthread_join(thread, NULL) == 0);
            }
            if (i % 16 == 0) {
                pid_t grandchild = fork();
                if (grandchild == 0) {
                    churn(1, 100);
                    _Exit(0);
                }
                wait_for(grandchild);
            }
            if (i % 4 == 0) exit(0);
            _Exit(0);
        }
        free(from_parent);
        wait_for(child);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void *forker(void *unused) {
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(300);
            churn((unsigned)i, 100);
            _Exit(0);
        }
        churn((unsigned)i, 50);
        wait_for(child);
    }
    return unused;
}

static void forks_from_several_threads(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, forker, NULL) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void *kept_over_fork;
static void allocate_before(void) { free(kept_over_fork), kept_over_fork = malloc(300); }
static void allocate_after(void) { free(kept_over_fork), kept_over_fork = malloc(500); }

static void atfork_handlers_that_allocate(void) {
    CHECK(pthread_atfork(allocate_before, allocate_after, allocate_after) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, worker, (void *)1) == 0);
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(300);
            churn(1, 100);
            _Exit(0);
        }
        wait_for(child);
    }
    atomic_store(&stop, 1);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void vfork_and_spawn_while_others_allocate(void) {
    extern char **environ;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 40; i++) {
        char *arguments[] = {"true", NULL};
        pid_t child = vfork();
        CHECK(child >= 0);
        if (child == 0) {
            execve("/bin/true", arguments, environ);
            _exit(1);
        }
        wait_for(child);
        CHECK(posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ) == 0);
        wait_for(child);
        churn((unsigned)i, 50);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* POSIX forbids it, and runtimes do it: a child between vfork and exec that allocates. */
static void children_of_vfork_that_allocate(void) {
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 60; i++) {
        pid_t child = vfork();
        CHECK(child >= 0);
        if (child == 0) {
            for (volatile int j = 0; j < 5000; j++) {
                void *volatile block = malloc(50 + j % 200);
                *(char *)block = 1;
                free(block);
            }
            _exit(0);
        }
        wait_for(child);
        churn((unsigned)i, 50);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 6; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* The thread's first block is had by the child. */
static void *vforks_at_once(void *unused) {
    pid_t child = vfork();
    if (child == 0) {
        free(malloc(100));
        _exit(0);
    }
    wait_for(child);
    churn(1, 100);
    return unused;
}

static void threads_that_vfork_before_they_allocate(void) {
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, vforks_at_once, NULL) == 0);
        churn((unsigned)i, 50);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

static void a_vfork_that_fails_says_why(void) {
    struct rlimit none = {0, 0};
    if (getuid() == 0 || setrlimit(RLIMIT_NPROC, &none) != 0) return; /* root has no such limit */
    errno = 0;
    pid_t child = vfork();
    if (child == 0) _exit(0);
    CHECK(child == -1 && errno == EAGAIN);
}

static pthread_key_t key;

static void destructor(void *value) {
    uintptr_t round = (uintptr_t)value;
    churn((unsigned)round, 30);
    if (round < PTHREAD_DESTRUCTOR_ITERATIONS) pthread_setspecific(key, (void *)(round + 1));
}

static void *sets_key_only(void *unused) {
    pthread_setspecific(key, (void *)1);
    return unused;
}

static void *sets_key_and_allocates(void *unused) {
    churn(5, 30);
    pthread_setspecific(key, (void *)1);
    return unused;
}

static void destructors_of_threads_allocate(void) {
    CHECK(pthread_key_create(&key, destructor) == 0);
    long before = 0;
    for (int i = 0; i < 1000; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, i % 2 ? sets_key_only : sets_key_and_allocates, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        if (i <= 200) note_resident(&before);
    }
    long grown = resident_kib() - before;
    if (grown > 1024) fprintf(stderr, "grown by %ld KiB\n", grown);
    CHECK(grown <= 1024);
}

static void *early;
__attribute__((constructor(101))) static void at_start(void) {
    early = malloc(1000);
    churn(1, 10);
}

static void blocks_of_constructors_are_good(void) {
    CHECK(early != NULL);
    memset(early, 1, 1000);
    free(early);
}

static void at_the_end(void) { churn(9, 20); }

static void exit_handlers_allocate(void) {
    for (int i = 0; i < 200; i++) CHECK(atexit(at_the_end) == 0);
}

static void exit_while_others_allocate(void) {
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
    }
    usleep(20000);
    exit(0);
}

static void *outlives_main(void *unused) {
    usleep(50000);
    churn(1, 1000);
    exit(0);
    return unused;
}

static void main_leaves_by_pthread_exit(void) {
    pthread_t thread;
    churn(2, 100);
    CHECK(pthread_create(&thread, NULL, outlives_main, NULL) == 0);
    pthread_exit(NULL);
}

static void *returns_after_main(void *unused) {
    usleep(50000);
    // More than a heap has before it gets a thread of its own.
    enum { BLOCKS = 100 };
    static char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(1 << 20);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, 1 << 20);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    return unused;
}

/* The process ends with its last thread, of which the heap's is none. */
static void the_last_thread_ends_the_process(void) {
    pthread_t thread;
    returns_after_main(NULL);
    CHECK(pthread_create(&thread, NULL, returns_after_main, NULL) == 0);
    pthread_exit(NULL);
}

static void threads_with_the_smallest_stack(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    size_t bytes = (size_t)sysconf(_SC_THREAD_STACK_MIN) + 8192;
    CHECK(pthread_attr_setstacksize(&attributes, (bytes + 4095) / 4096 * 4096) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, child_thread, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

enum { PASSED = 100000 };
static void *_Atomic slots[1024];

static void *producer(void *unused) {
    for (size_t i = 0; i < PASSED; i++) {
        size_t *block = malloc(8 + i % 2000);
        CHECK(block != NULL);
        *block = i;
        void *expected = NULL;
        while (!atomic_compare_exchange_weak(&slots[i % 1024], &expected, block)) expected = NULL;
    }
    return unused;
}

static void blocks_are_freed_by_another_thread(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, producer, NULL) == 0);
    for (size_t i = 0; i < PASSED; i++) {
        size_t *block;
        while ((block = atomic_exchange(&slots[i % 1024], NULL)) == NULL) continue;
        CHECK(*block == i);
        free(block);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(resident_kib() < 64 << 10);
}

static void *holder(void *blocks) {
    for (int i = 0; i < 1000; i++) CHECK((((void **)blocks)[i] = malloc(64)) != NULL);
    return NULL;
}

static void blocks_outlive_their_thread(void) {
    static void *blocks[1000];
    for (int round = 0; round < 200; round++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, holder, blocks) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        for (int i = 0; i < 1000; i++) free(blocks[i]);
    }
    CHECK(resident_kib() < 64 << 10);
}

static void ignore(int signal) { (void)signal; }

static void signals_interrupt_allocation(void) {
    struct sigaction action = {.sa_handler = ignore};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval often = {{0, 200}, {0, 200}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 400; i++) churn((unsigned)i, 2000);
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void cancelled_threads_do_not_stop_in_malloc(void) {
    /* malloc and free are no cancellation points: a thread that calls nothing else runs on. */
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_cancel(pthread_self());
    churn(4, 3000);
    _Exit(0);
}

static void standard_files_may_be_closed(void) {
    close(0), close(1), close(2);
    churn(1, 5000);
    int file = dup(open("/dev/null", 0));
    if (file > 2) _Exit(3); /* something was opened and stayed open */
}

/* Under a limit on address space. */
static void starts_and_runs_in_little_address_space(void) {
    churn(1, 20000);
    pthread_t thread;
    if (pthread_create(&thread, NULL, child_thread, NULL) == 0) CHECK(pthread_join(thread, NULL) == 0);
}

struct block {
    struct block *next;
};

static size_t exhaust(size_t size, struct block **list) {
    size_t count = 0;
    struct block *block;
    errno = 0;
    while ((block = malloc(size)) != NULL) {
        block->next = *list;
        *list = block;
        count++;
    }
    CHECK(errno == ENOMEM);
    return count;
}

/* Of 64 MiB the C library and the program take a few, and what an allocator reserves for itself is lost to the program. */
static void most_of_little_address_space_is_the_programs(void) {
    struct block *list = NULL;
    CHECK(exhaust(64 << 10, &list) >= 40 * 16);
}

static void free_all(struct block **list) {
    while (*list != NULL) {
        struct block *next = (*list)->next;
        free(*list);
        *list = next;
    }
}

/* Also in another size: what one size had the next one has, though it needs other metadata for it. What is refused to a small
 * block is refused to a large one. */
static void memory_that_ran_out_comes_back(void) {
    const size_t sizes[] = {16, 100, 1000, 5000, 40000, 300000, 2000000, 100, 16};
    size_t most = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct block *list = NULL;
        size_t first = exhaust(sizes[i], &list);
        CHECK(calloc(1, 2000001) == NULL && errno == ENOMEM);
        size_t bytes = first * malloc_usable_size(list);
        if (bytes > most) most = bytes;
        /* glibc's smallest block takes a third more than can be used of it. */
        if (sizes[i] >= 100 && bytes < most / 5 * 4)
            fprintf(stderr, "%zu bytes: %zu, of which there are %zu\n", sizes[i], first, most / sizes[i]);
        CHECK(sizes[i] < 100 || bytes >= most / 5 * 4);
        free_all(&list);
        size_t second = exhaust(sizes[i], &list);
        free_all(&list);
        if (second < first / 5 * 4) fprintf(stderr, "%zu bytes: %zu, then %zu\n", sizes[i], first, second);
        CHECK(second >= first / 5 * 4);
    }
}

static atomic_int all_are_made, ran_out;

static void *exhauster(void *size) {
    struct block *list = NULL;
    while (!atomic_load(&all_are_made)) sched_yield(); /* stacks, too, are address space */
    exhaust((size_t)size, &list);
    /* The others run out as well before anybody frees. */
    atomic_fetch_add(&ran_out, 1);
    while (atomic_load(&ran_out) < 8) sched_yield();
    free_all(&list);
    return NULL;
}

static void memory_runs_out_for_many_threads_at_once(void) {
    pthread_t threads[8];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], &attributes, exhauster, (void *)(size_t)(50 + i * 1000)) == 0);
    atomic_store(&all_are_made, 1);
    for (int i = 0; i < 8; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    churn(1, 1000);
}

/* The C library tells each thread by a signal, and waits for all: also for one of the heap's own, which a heap of that size has. */
static void threads_follow_a_change_of_user(void) {
    enum { COUNT = 3000, SIZE = 20000 };
    alarm(300);
    char **blocks = malloc(COUNT * sizeof(char *));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) memset(blocks[i] = malloc(SIZE), 1, SIZE);
        /* A user namespace in which nobody is mapped knows no such user. */
        CHECK((setgid(getgid()) == 0 && setuid(getuid()) == 0) || errno == EINVAL);
        for (int i = 0; i < COUNT; i++) free(blocks[i]);
    }
    free(blocks);
}

static const struct test_case cases[] = {
    ON_STRATA(threads_by_the_thousand),
    ON_STRATA(threads_leave_little_behind),
    ON_BOTH(detached_threads),
    ON_BOTH(threads_follow_a_change_of_user),
    ON_BOTH(fork_while_others_allocate),
    ON_BOTH(forks_from_several_threads),
    ON_BOTH(atfork_handlers_that_allocate),
    ON_BOTH(vfork_and_spawn_while_others_allocate),
    ON_BOTH(children_of_vfork_that_allocate),
    ON_BOTH(threads_that_vfork_before_they_allocate),
    ON_BOTH(a_vfork_that_fails_says_why),
    ON_BOTH(destructors_of_threads_allocate),
    ON_BOTH(blocks_of_constructors_are_good),
    ON_BOTH(exit_handlers_allocate),
    ON_BOTH(exit_while_others_allocate),
    ON_BOTH(main_leaves_by_pthread_exit),
    ON_BOTH(the_last_thread_ends_the_process),
    ON_BOTH(threads_with_the_smallest_stack),
    ON_BOTH(blocks_are_freed_by_another_thread),
    ON_BOTH(blocks_outlive_their_thread),
    ON_BOTH(signals_interrupt_allocation),
    ON_BOTH(cancelled_threads_do_not_stop_in_malloc),
    ON_BOTH(standard_files_may_be_closed),
    ON_BOTH(starts_and_runs_in_little_address_space),
};

/* These run under a limit alone: the test that sets it names them. */
static const struct test_case limited[] = {
    ON_BOTH(starts_and_runs_in_little_address_space),
    ON_BOTH(most_of_little_address_space_is_the_programs),
    ON_BOTH(memory_that_ran_out_comes_back),
    ON_BOTH(memory_runs_out_for_many_threads_at_once),
};

int main(int argc, char **argv) {
    if (argc == 2 && perform(limited, sizeof(limited) / sizeof(limited[0]), argc, argv) == 0) return 0;
    return perform(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
