/* A library as those are that are preloaded to show a program another time, another user or other files: it stands before functions of the C
 * library's, looks for theirs when they are first called, and allocates in its own. The loader runs its constructor before that of a library
 * that stands before it, and that one registers fork handlers. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Calls from outside the C library; what it calls itself does not come here. */
int calls_to_others;

/* Blocks of many sizes, so that no cache has them all, and a lock around them: who comes back in here waits for himself. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *blocks[64];
static void use_blocks(void) {
    int error = errno;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 64; i++) {
        free(blocks[i]);
        blocks[i] = malloc((size_t)(i * i * 7 + 1));
        if (blocks[i]) memset(blocks[i], 1, (size_t)(i * i * 7 + 1));
    }
    calls_to_others++;
    pthread_mutex_unlock(&lock);
    errno = error;
}

#define NEXT(type, name, ...)                                  \
    static type (*next)(__VA_ARGS__);                          \
    if (next == NULL) {                                        \
        dlsym(RTLD_NEXT, name "_that_nobody_has");             \
        next = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);   \
    }                                                          \
    use_blocks()

pid_t getpid(void) {
    NEXT(pid_t, "getpid", void);
    return next();
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(int, "clock_gettime", clockid_t, struct timespec *);
    int result = next(clock, now);
    now->tv_sec -= 86400;
    return result;
}
void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) {
    NEXT(void *, "mmap", void *, size_t, int, int, int, off_t);
    return next(at, size, protection, flags, file, offset);
}
int munmap(void *at, size_t size) {
    NEXT(int, "munmap", void *, size_t);
    return next(at, size);
}
int mprotect(void *at, size_t size, int protection) {
    NEXT(int, "mprotect", void *, size_t, int);
    return next(at, size, protection);
}
int madvise(void *at, size_t size, int advice) {
    NEXT(int, "madvise", void *, size_t, int);
    return next(at, size, advice);
}
int getrlimit(__rlimit_resource_t what, struct rlimit *limit) {
    NEXT(int, "getrlimit", __rlimit_resource_t, struct rlimit *);
    return next(what, limit);
}
int fstat(int file, struct stat *status) {
    NEXT(int, "fstat", int, struct stat *);
    return next(file, status);
}
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before) {
    NEXT(int, "pthread_sigmask", int, const sigset_t *, sigset_t *);
    return next(how, set, before);
}
long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
    long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    NEXT(long, "syscall", long, long, long, long, long, long, long);
    return next(number, a, b, c, d, e, f);
}

__attribute__((constructor)) static void begin(void) { pthread_atfork(use_blocks, use_blocks, use_blocks); }
