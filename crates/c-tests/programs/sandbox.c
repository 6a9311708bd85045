/* Programs that put themselves behind filters of system calls: any that the filter does not name ends the process. */
#define _GNU_SOURCE
#include "tap.h"
#include "churn.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

enum { MEBI = 1 << 20 };

static void churn(unsigned seed, int steps) { churn_sizes(seed, steps, 1500000, 3000); }

static void milliseconds(int count) {
    struct timespec time = {count / 1000, count % 1000 * 1000000};
    syscall(SYS_nanosleep, &time, NULL);
}

/* All that a heap does late: grow, rest, give back, move large blocks. */
static void live(int rounds) {
    enum { BLOCKS = 1000 };
    static void *blocks[BLOCKS];
    for (int round = 0; round < rounds; round++) {
        churn((unsigned)round, 3000);
        for (int i = 0; i < BLOCKS; i++) memset(blocks[i] = malloc(100000), 1, 100000);
        for (int i = 0; i < BLOCKS; i++)
            if (i % 3 != 0 || round % 2 != 0) free(blocks[i]), blocks[i] = NULL;
        char *block = calloc(1, 5 * MEBI);
        for (size_t size = 5 * MEBI; size < 60 * MEBI; size += 9 * MEBI) {
            free(malloc(size / 2));
            CHECK((block = realloc(block, size)) != NULL);
            memset(block + size - MEBI, 1, MEBI);
        }
        free(block);
        for (int i = 0; i < BLOCKS; i++) free(blocks[i]), blocks[i] = NULL;
        milliseconds(700);
    }
    malloc_trim(0);
    churn(9, 3000);
}

#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE(number, error) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define LOAD_NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))

/* What glibc's malloc calls, and what ends a process and lets it wait and speak. */
#define OF_MEMORY                                                                                                        \
    ALLOW(SYS_mmap), ALLOW(SYS_munmap), ALLOW(SYS_mprotect), ALLOW(SYS_madvise), ALLOW(SYS_mremap), ALLOW(SYS_brk),      \
        ALLOW(SYS_futex), ALLOW(SYS_write), ALLOW(SYS_exit), ALLOW(SYS_exit_group), ALLOW(SYS_nanosleep),                \
        ALLOW(SYS_rt_sigreturn), ALLOW(SYS_getrandom)
/* What glibc's threads need besides. */
#define OF_THREADS                                                                                                       \
    ALLOW(SYS_clone), ALLOW(SYS_clone3), ALLOW(SYS_set_robust_list), ALLOW(SYS_rseq), ALLOW(SYS_rt_sigprocmask),         \
        ALLOW(SYS_sched_yield), ALLOW(SYS_sched_getaffinity)

#define END(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define PROGRAM(...)                             \
    struct sock_filter code[] = {__VA_ARGS__};   \
    struct sock_fprog program = {sizeof(code) / sizeof(*code), code}

static void by_prctl(struct sock_fprog *program) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0);
}
static void by_syscall(struct sock_fprog *program, unsigned flags) {
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program) == 0);
}

CASE(behind_a_killing_filter_by_prctl, BOTH) {
    churn(1, 1000);
    PROGRAM(LOAD_NUMBER, OF_MEMORY, END(SECCOMP_RET_KILL_PROCESS));
    by_prctl(&program);
    live(2);
}
CASE(behind_a_killing_filter_by_syscall, BOTH) {
    churn(1, 1000);
    PROGRAM(LOAD_NUMBER, OF_MEMORY, END(SECCOMP_RET_KILL_PROCESS));
    by_syscall(&program, 0);
    live(1);
}

static void trapped(int signal, siginfo_t *info, void *context) {
    static char line[] = "trapped: 000\n";
    for (int place = 11, number = info->si_syscall; place > 8; place--, number /= 10) line[place] = (char)('0' + number % 10);
    write(2, line, sizeof(line) - 1);
    _exit(1);
}
CASE(no_call_is_trapped, BOTH) {
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSYS, &action, NULL) == 0);
    PROGRAM(LOAD_NUMBER, OF_MEMORY, END(SECCOMP_RET_TRAP));
    by_prctl(&program);
    live(3);
}

/* A heap that has a thread of its own already, and threads that share the filter. (glibc opens a file when it makes an arena.) */
static atomic_int stop, begin;
static void *worker(void *seed) {
    while (!atomic_load(&begin)) milliseconds(1);
    while (!atomic_load(&stop)) churn((unsigned)(uintptr_t)seed, 500);
    return NULL;
}
CASE(threads_behind_one_filter, STRATA) {
    static void *blocks[1000];
    for (int i = 0; i < 1000; i++) memset(blocks[i] = malloc(100000), 1, 100000);
    pthread_t threads[6];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
    PROGRAM(LOAD_NUMBER, OF_MEMORY, OF_THREADS, END(SECCOMP_RET_KILL_PROCESS));
    by_syscall(&program, SECCOMP_FILTER_FLAG_TSYNC);
    atomic_store(&begin, 1); /* their first blocks are had behind the filter */
    for (int i = 4; i < 6; i++) CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 1000; i++) free(blocks[i]);
    live(2);
    atomic_store(&stop, 1);
    for (int i = 0; i < 6; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    mallinfo2();
}
CASE(a_child_behind_a_filter, BOTH) {
    PROGRAM(LOAD_NUMBER, OF_MEMORY, OF_THREADS, ALLOW(SYS_wait4), END(SECCOMP_RET_KILL_PROCESS));
    by_prctl(&program);
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            churn((unsigned)i, 1000);
            void *block = malloc(50 * MEBI);
            memset(block, 1, 50 * MEBI);
            free(block);
            churn((unsigned)i, 1000);
            syscall(SYS_exit_group, 0);
        }
        int status = 1;
        CHECK(syscall(SYS_wait4, child, &status, 0, NULL) == child && status == 0);
    }
}
CASE(figures_behind_a_filter, BOTH) {
    live(1);
    PROGRAM(LOAD_NUMBER, OF_MEMORY, REFUSE(SYS_newfstatat, EBADF), REFUSE(SYS_fstat, EBADF), END(SECCOMP_RET_KILL_PROCESS));
    by_prctl(&program);
    struct mallinfo2 info = mallinfo2();
    CHECK(info.uordblks <= info.arena);
    malloc_info(0, stderr);
    malloc_stats();
}
/* As OpenSSH's server has it for the process that speaks to strangers. */
CASE(behind_the_filter_of_sshd, BOTH) {
    PROGRAM(LOAD_NUMBER, REFUSE(SYS_lstat, EACCES), REFUSE(SYS_fstat, EACCES), REFUSE(SYS_newfstatat, EACCES), REFUSE(SYS_stat, EACCES),
            REFUSE(SYS_open, EACCES), REFUSE(SYS_openat, EACCES), REFUSE(SYS_shmget, EACCES), ALLOW(SYS_brk), ALLOW(SYS_clock_gettime),
            ALLOW(SYS_clock_nanosleep), ALLOW(SYS_close), ALLOW(SYS_exit), ALLOW(SYS_exit_group), ALLOW(SYS_futex), ALLOW(SYS_geteuid),
            ALLOW(SYS_getpgid), ALLOW(SYS_getpid), ALLOW(SYS_getrandom), ALLOW(SYS_gettid), ALLOW(SYS_gettimeofday), ALLOW(SYS_getuid),
            ALLOW(SYS_madvise), ALLOW(SYS_mmap), ALLOW(SYS_mprotect), ALLOW(SYS_mremap), ALLOW(SYS_munmap), ALLOW(SYS_nanosleep),
            ALLOW(SYS_poll), ALLOW(SYS_pselect6), ALLOW(SYS_read), ALLOW(SYS_rt_sigprocmask), ALLOW(SYS_select), ALLOW(SYS_shutdown),
            ALLOW(SYS_time), ALLOW(SYS_write), END(SECCOMP_RET_KILL_PROCESS));
    by_prctl(&program);
    live(2);
}
/* No mapping's access can be changed: what is new is mapped so that it need not be. */
CASE(behind_a_filter_that_refuses_mprotect, BOTH) {
    churn(1, 1000);
    PROGRAM(LOAD_NUMBER, REFUSE(SYS_mprotect, EPERM), END(SECCOMP_RET_ALLOW));
    by_prctl(&program);
    live(2);
    enum { BLOCKS = 400 };
    static unsigned char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) { /* 400 MiB: several steps of the heap's reserve */
        CHECK((blocks[i] = calloc(1, MEBI)) != NULL);
        for (int at = 0; at < MEBI; at += 4096) CHECK(blocks[i][at] == 0);
        memset(blocks[i], i, MEBI);
    }
    for (int i = 0; i < BLOCKS; i++)
        for (int at = 0; at < MEBI; at += 4096) CHECK(blocks[i][at] == (unsigned char)i);
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    malloc_trim(0);
    churn(2, 3000);
}
CASE(questions_about_seccomp_change_nothing, BOTH) {
    /* What libseccomp and systemd ask to learn what the kernel knows: it refuses each. */
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL) == -1 && errno == EINVAL);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) == -1 && errno == EFAULT);
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL) == -1 && errno == EFAULT);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT);
    live(1);
}
CASE(strict_mode_that_the_kernel_refuses_changes_nothing, BOTH) {
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == -1 && errno == EINVAL);
    live(1);
}
CASE(in_strict_mode, BOTH) {
    churn(1, 100);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == 0);
    /* What was freed is had again without a call. */
    for (int i = 0; i < 10000; i++) free(malloc((size_t)(i % 1000)));
    syscall(SYS_exit, 0);
}
