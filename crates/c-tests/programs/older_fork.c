/* The fork of glibc 2.28 to 2.35, where it stands behind a library: the lock of the list of fork handlers is held from before the first of
 * them to after the fork. Newer ones let go of it around each handler. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sys/types.h>

typedef void handler(void);

static pthread_mutex_t list = PTHREAD_MUTEX_INITIALIZER;

const char *gnu_get_libc_version(void) { return "2.35"; }

int __register_atfork(handler *prepare, handler *parent, handler *child, void *object) {
    int (*next)(handler *, handler *, handler *, void *) = dlsym(RTLD_NEXT, "__register_atfork");
    pthread_mutex_lock(&list);
    int error = next(prepare, parent, child, object);
    pthread_mutex_unlock(&list);
    return error;
}
pid_t fork(void) {
    pid_t (*next)(void) = dlsym(RTLD_NEXT, "fork");
    pthread_mutex_lock(&list);
    pid_t child = next();
    pthread_mutex_unlock(&list);
    return child;
}
