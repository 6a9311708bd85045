/* A library that looks at each name that a program asks the loader for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

int names_looked_for;

void *dlsym(void *library, const char *name) {
    static void *(*next)(void *, const char *);
    if (next == NULL) next = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    void *found = next(library, name);
    names_looked_for++; /* So that the call above is no jump, and who is called sees this library. */
    return found;
}
