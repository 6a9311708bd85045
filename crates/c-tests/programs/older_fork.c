/* The fork of glibc 2.28 to 2.35, where it stands behind a library: the lock of the list of fork handlers is held from before the first of
 * them to after the fork. Newer ones let go of it around each handler. A fork waits until somebody wants the lock to register others. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

typedef void handler(void);

static pthread_mutex_t list = PTHREAD_MUTEX_INITIALIZER;
static atomic_int registering;

const char *gnu_get_libc_version(void) { return "2.35"; }

int __register_atfork(handler *prepare, handler *parent, handler *child, void *object) {
    int (*next)(handler *, handler *, handler *, void *) = dlsym(RTLD_NEXT, "__register_atfork");
    atomic_fetch_add(&registering, 1);
    pthread_mutex_lock(&list);
    atomic_fetch_sub(&registering, 1);
    int error = next(prepare, parent, child, object);
    pthread_mutex_unlock(&list);
    return error;
}
pid_t fork(void) {
    pid_t (*next)(void) = dlsym(RTLD_NEXT, "fork");
    pthread_mutex_lock(&list);
    while (atomic_load(&registering) == 0) usleep(100);
    pid_t child = next();
    pthread_mutex_unlock(&list);
    return child;
}
