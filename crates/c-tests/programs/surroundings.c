/* What a process does to itself and its surroundings, and malloc goes on. */
#define _GNU_SOURCE
#include "tap.h"
#include "churn.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { KIBI = 1 << 10, MEBI = 1 << 20 };

static long resident_kib(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    CHECK(file != NULL && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void churn(unsigned seed, int steps) { churn_sizes(seed, steps, 1500000, 3000); }

static atomic_int stop;
static void *worker(void *seed) {
    while (!atomic_load(&stop)) churn((unsigned)(uintptr_t)seed, 500);
    return NULL;
}
static pthread_t threads[32];
static void start_workers(int count) {
    for (int i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
}
static void end_workers(int count) {
    atomic_store(&stop, 1);
    for (int i = 0; i < count; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void wait_for(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, __WALL) == child);
    if (status != 0) fprintf(stderr, "child ended with %#x\n", status);
    CHECK(status == 0);
}

/* Children */

static int child_churns(void *steps) {
    churn(7, (int)(intptr_t)steps);
    _exit(0);
}
static char child_stack[8][256 * KIBI] __attribute__((aligned(16)));

/* glibc's caches belong to a thread, and are not locked. */
CASE(a_clone_with_our_memory_and_words_runs_beside_us, STRATA) {
    start_workers(3);
    for (int round = 0; round < 5; round++) {
        pid_t child = clone(child_churns, child_stack[0] + sizeof(child_stack[0]), CLONE_VM | SIGCHLD, (void *)3000);
        CHECK(child > 0);
        churn(9, 3000);
        wait_for(child);
    }
    end_workers(3);
    churn(1, 1000);
}
CASE(several_clones_share_one_threads_words, STRATA) {
    pid_t children[8];
    churn(1, 100);
    for (int i = 0; i < 8; i++)
        CHECK((children[i] = clone(child_churns, child_stack[i] + sizeof(child_stack[i]), CLONE_VM | SIGCHLD, (void *)3000)) > 0);
    churn(9, 3000);
    for (int i = 0; i < 8; i++) wait_for(children[i]);
}
/* One of the two makes the heap, the other waits for it. */
static atomic_int at_the_start;
static int takes_first_blocks(void *unused) {
    atomic_fetch_add(&at_the_start, 1);
    while (atomic_load(&at_the_start) < 2) sched_yield();
    for (size_t i = 0; i < 200; i++) {
        char *block = malloc(100 + 37 * i);
        if (block == NULL) _exit(3);
        memset(block, 1, 100);
        free(block);
    }
    if (unused == NULL) _exit(0);
    return 0;
}
CASE(a_clone_and_its_parent_ask_for_the_first_block_at_once, STRATA) {
    pid_t child = clone(takes_first_blocks, child_stack[0] + sizeof(child_stack[0]), CLONE_VM | SIGCHLD, NULL);
    CHECK(child > 0);
    takes_first_blocks(&child);
    wait_for(child);
}
CASE(a_clone_that_is_waited_for_leaves_us_as_we_were, BOTH) {
    start_workers(3);
    for (int round = 0; round < 40; round++) {
        int parent = 0;
        pid_t child = clone(child_churns, child_stack[0] + sizeof(child_stack[0]), CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD,
                            (void *)100, &parent, NULL, NULL);
        CHECK(child > 0 && parent == child);
        wait_for(child);
        churn(3, 300);
    }
    end_workers(3);
}
static int child_of_its_own_memory(void *unused) {
    churn(5, 500);
    return unused != NULL;
}
CASE(a_clone_with_memory_of_its_own, BOTH) {
    churn(1, 500);
    for (int i = 0; i < 20; i++) {
        pid_t child = clone(child_of_its_own_memory, child_stack[0] + sizeof(child_stack[0]), SIGCHLD, NULL);
        CHECK(child > 0);
        wait_for(child);
    }
}
CASE(a_clone_that_fails_says_why, BOTH) {
    errno = 0;
    CHECK(clone(child_churns, NULL, CLONE_VM | SIGCHLD, NULL) == -1 && errno == EINVAL);
    churn(1, 500);
}
/* STRATA_FORKS says how many. (glibc takes a second for each where CPUs are few.) The threads have a lower priority than who forks, and
 * than children: else nearly all of the time goes by in waiting for a turn on a CPU. */
static void *modest_worker(void *seed) {
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 10);
    return worker(seed);
}
CASE(forks_from_a_process_with_32_threads, STRATA) {
    int forks = getenv("STRATA_FORKS") != NULL ? atoi(getenv("STRATA_FORKS")) : 10;
    for (int i = 0; i < 32; i++) CHECK(pthread_create(&threads[i], NULL, modest_worker, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < forks; i++) {
        void *block = malloc(100 + (size_t)i % 5000);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(300);
            free(block);
            churn((unsigned)i, 100);
            struct mallinfo2 info = mallinfo2();
            CHECK(info.uordblks <= info.arena);
            _exit(0);
        }
        free(block);
        wait_for(child);
    }
    end_workers(32);
}
static void *short_life(void *seed) {
    void *blocks[100];
    unsigned random = (unsigned)(uintptr_t)seed;
    for (int i = 0; i < 100; i++) *(char *)(blocks[i] = malloc(1 + next_random(&random) % 1000)) = 1;
    for (int i = 0; i < 100; i++) free(blocks[i]);
    return NULL;
}
CASE(posix_spawn_popen_and_system_beside_threads, BOTH) {
    start_workers(4);
    for (int i = 0; i < 10; i++) {
        FILE *pipe = popen("echo text", "r");
        char line[20];
        CHECK(pipe != NULL && fgets(line, sizeof(line), pipe) != NULL && strcmp(line, "text\n") == 0 && pclose(pipe) == 0);
        CHECK(system("true") == 0);
    }
    end_workers(4);
}

/* Descriptors and files */

CASE(all_descriptors_closed, BOTH) {
    churn(1, 1000);
    for (int file = 0; file < 1024; file++) close(file);
    churn(2, 5000);
    malloc_trim(0);
    churn(3, 5000);
    CHECK(open("/dev/null", O_RDONLY) == 0); /* nothing was opened in between */
}
CASE(no_descriptor_to_be_had, BOTH) {
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    churn(1, 5000);
    start_workers(2), end_workers(2);
    malloc_trim(0);
    churn(2, 2000);
}
CASE(an_empty_root_directory, BOTH) {
    char directory[] = "/tmp/strata-root-XXXXXX";
    CHECK(mkdtemp(directory) != NULL);
    int had = chroot(directory) == 0 && chdir("/") == 0;
    if (!had) CHECK(errno == EPERM); /* not root */
    churn(1, 5000);
    start_workers(4), end_workers(4);
    malloc_trim(0);
    churn(2, 2000);
    if (!had) rmdir(directory);
}
CASE(privileges_dropped, BOTH) {
    churn(1, 1000);
    start_workers(4);
    if (getuid() == 0) CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    churn(2, 5000);
    end_workers(4);
    malloc_trim(0);
    churn(3, 1000);
}
CASE(not_dumpable, BOTH) {
    CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
    churn(1, 2000);
    mallinfo2();
    malloc_trim(0);
}

/* Filters of system calls */

#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE(number, error) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define LOAD_NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))

static int filter(struct sock_filter *code, size_t count) {
    struct sock_fprog program = {(unsigned short)count, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}
#define FILTER(...)                                       \
    do {                                                  \
        struct sock_filter code[] = {__VA_ARGS__};        \
        if (!filter(code, sizeof(code) / sizeof(*code))) return; \
    } while (0)

static void after_a_filter(void) {
    churn(1, 3000);
    start_workers(4);
    churn(2, 2000);
    end_workers(4);
    malloc_trim(0);
    churn(3, 1000);
}

/* glibc itself makes no thread where its rseq is refused. */
CASE(rseq_and_membarrier_refused, BOTH) {
    FILTER(LOAD_NUMBER, REFUSE(SYS_rseq, ENOSYS), REFUSE(SYS_membarrier, EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    churn(1, 3000);
    malloc_trim(0);
    churn(2, 1000);
}
CASE(membarrier_refused, BOTH) {
    FILTER(LOAD_NUMBER, REFUSE(SYS_membarrier, EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    after_a_filter();
}
CASE(madvise_refused, BOTH) {
    FILTER(LOAD_NUMBER, REFUSE(SYS_madvise, EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    after_a_filter();
}
CASE(files_and_prctl_refused, BOTH) {
    FILTER(LOAD_NUMBER, REFUSE(SYS_openat, EACCES), REFUSE(SYS_open, EACCES), REFUSE(SYS_prctl, EPERM), REFUSE(SYS_getrandom, ENOSYS),
           REFUSE(SYS_sched_getaffinity, EPERM), REFUSE(SYS_getcpu, EPERM), REFUSE(SYS_process_vm_readv, EPERM),
           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    after_a_filter();
    mallinfo2();
}
CASE(mremap_refused, BOTH) {
    FILTER(LOAD_NUMBER, REFUSE(SYS_mremap, ENOMEM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    after_a_filter();
    void *block = malloc(MEBI);
    for (size_t size = MEBI; size < 40 * MEBI; size += MEBI) CHECK((block = realloc(block, size)) != NULL);
}

/* Memory */

CASE(without_hugepages, BOTH) {
    CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
    churn(1, 5000);
    char *block = malloc(100 * MEBI);
    memset(block, 1, 100 * MEBI);
    free(block);
    malloc_trim(0);
    CHECK(resident_kib() < 48 * KIBI);
}
CASE(all_memory_locked, BOTH) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return; /* not root, and a small limit */
    churn(1, 10000);
    char *block = malloc(64 * MEBI);
    CHECK(block != NULL);
    memset(block, 1, 64 * MEBI);
    free(block);
    malloc_trim(0);
    CHECK(resident_kib() < 110 * KIBI);
    char *again = calloc(1, 64 * MEBI);
    for (size_t at = 0; at < 64 * MEBI; at += 4096) CHECK(again[at] == 0);
    free(again);
    churn(2, 5000);
}
CASE(locking_memory_forbidden, BOTH) {
    struct rlimit little = {64 * KIBI, 64 * KIBI};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &little) == 0);
    if (getuid() == 0) CHECK(setuid(65534) == 0);
    mlockall(MCL_FUTURE);
    void *block = malloc(10 * MEBI);
    CHECK(block != NULL || errno == ENOMEM || errno == EAGAIN);
    free(block);
    for (int i = 0; i < 1000; i++) free(malloc(100));
}

struct block {
    struct block *next;
};
static size_t exhaust(size_t size, struct block **list) {
    size_t count = 0;
    struct block *block;
    errno = 0;
    while ((block = malloc(size)) != NULL) block->next = *list, *list = block, count++;
    CHECK(errno == ENOMEM);
    return count;
}
static void free_all(struct block **list) {
    for (struct block *next; *list != NULL; *list = next) next = (*list)->next, free(*list);
}
static void exhaust_each_size(void) {
    const size_t sizes[] = {200, 30000, 500000};
    for (size_t i = 0; i < 3; i++) {
        struct block *list = NULL;
        size_t first = exhaust(sizes[i], &list);
        free_all(&list);
        size_t second = exhaust(sizes[i], &list);
        free_all(&list);
        if (second < first / 5 * 4) fprintf(stderr, "%zu bytes: %zu, then %zu\n", sizes[i], first, second);
        CHECK(first * sizes[i] > 100 * MEBI && second >= first / 5 * 4);
    }
    churn(1, 1000);
}
CASE(a_limit_on_data, BOTH) {
    struct rlimit limit = {300 * MEBI, 300 * MEBI};
    CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
    exhaust_each_size();
}
CASE(a_limit_on_address_space, BOTH) {
    struct rlimit limit = {400 * MEBI, 400 * MEBI};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    exhaust_each_size();
}
CASE(a_limit_that_is_reached_already, BOTH) {
    churn(1, 100);
    struct rlimit limit = {MEBI, MEBI};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    errno = 0;
    CHECK(malloc(100 * MEBI) == NULL && errno == ENOMEM);
    for (int i = 0; i < 1000; i++) free(malloc(100));
}
CASE(no_mapping_more, BOTH) {
    churn(1, 3000);
    /* One page in two has other rights: each is a mapping. */
    enum { PAGES = 140000 };
    char *pages = mmap(NULL, (size_t)PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    int page = 0;
    while (page < PAGES && mprotect(pages + (size_t)page * 4096, 4096, PROT_READ) == 0) page += 2;
    void *blocks[300];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 300; i++) blocks[i] = malloc((size_t)(i * 997 % 200000));
        for (int i = 0; i < 300; i++) free(blocks[i]);
        malloc_trim(0);
    }
    munmap(pages, (size_t)PAGES * 4096);
    churn(2, 3000);
}
/* Two mappings are left: what was had once, freed and given back, can be had again. */
CASE(few_mappings_more, BOTH) {
    enum { PAGES = 140000, BLOCKS = 100 };
    static void *blocks[BLOCKS];
    free(malloc(100));
    char *pages = mmap(NULL, (size_t)PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    int page = 0;
    while (page < PAGES && mprotect(pages + (size_t)page * 4096, 4096, PROT_READ) == 0) page += 2;
    for (int i = 0; i < 2; i++) CHECK(mprotect(pages + (size_t)(page -= 2) * 4096, 4096, PROT_NONE) == 0);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = malloc(MEBI);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], round, 5000);
        }
        for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
        malloc_trim(0);
    }
}
CASE(many_live_blocks_are_few_mappings, BOTH) {
    static void *blocks[20000];
    for (size_t i = 0; i < 20000; i++) memset(blocks[i] = malloc(1 + i * 31 % 20000), 1, 1);
    for (size_t i = 0; i < 20000; i += 2) free(blocks[i]);
    malloc_trim(0);
    int lines = 0, letter;
    FILE *file = fopen("/proc/self/maps", "r");
    while ((letter = getc(file)) != EOF) lines += letter == '\n';
    CHECK(lines < 2000);
}

/* Signals and CPUs */

static void ignore(int signal) { (void)signal; }
CASE(signals_at_threads_interrupt_nothing, BOTH) {
    struct sigaction action = {.sa_handler = ignore};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    start_workers(4);
    for (int i = 0; i < 3000; i++) {
        pthread_kill(threads[i % 4], SIGUSR1);
        if (i % 10 == 0) usleep(10);
    }
    end_workers(4);
    CHECK(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == ignore);
}
CASE(allocation_on_an_alternate_stack, BOTH) {
    stack_t stack = {.ss_sp = malloc(128 * KIBI), .ss_size = 128 * KIBI};
    CHECK(sigaltstack(&stack, NULL) == 0);
    struct sigaction action = {.sa_handler = (void (*)(int))(void *)short_life, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < 100; i++) CHECK(raise(SIGUSR1) == 0); /* interrupts no allocation */
}
CASE(threads_sent_from_cpu_to_cpu, BOTH) {
    cpu_set_t allowed;
    CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
    start_workers(6);
    for (int i = 0; i < 500; i++) {
        cpu_set_t one;
        int cpu = (int)(i * 7u % CPU_SETSIZE);
        while (!CPU_ISSET(cpu, &allowed)) cpu = (cpu + 1) % CPU_SETSIZE;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(threads[i % 6], sizeof(one), &one);
        if (i % 20 == 0) usleep(100);
    }
    end_workers(6);
}
static void *waits_to_be_cancelled(void *unused) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    churn(3, 100);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pause();
    return unused;
}
CASE(threads_are_cancelled, BOTH) {
    for (int i = 0; i < 200; i++) {
        CHECK(pthread_create(&threads[0], NULL, waits_to_be_cancelled, NULL) == 0);
        CHECK(pthread_cancel(threads[0]) == 0 && pthread_join(threads[0], NULL) == 0);
        churn((unsigned)i, 50);
    }
}
