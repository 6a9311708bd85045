/* The frame of a test program: without an argument it lists its cases, with a name it runs that one. */
#ifndef CASES_H
#define CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct test_case {
    const char *name;
    void (*run)(void);
    int on_glibc; /* whether glibc's allocator passes it too */
};

#define ON_BOTH(name) {#name, name, 1}
#define ON_STRATA(name) {#name, name, 0}

static inline void not_true(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
    _Exit(1);
}

#define CHECK(what) ((what) ? (void)0 : not_true(__FILE__, __LINE__, #what))

/* Under Strata the ledger adds up at the end of every case, once whatever still runs has come to rest. */
#ifdef __cplusplus
extern "C" int MallocExtension_GetNumericProperty(const char *name, size_t *value) noexcept __attribute__((weak));
#else
extern int MallocExtension_GetNumericProperty(const char *name, size_t *value) __attribute__((weak));
#endif

static inline void the_ledger_adds_up(void) {
    if (MallocExtension_GetNumericProperty == NULL) return;
    size_t unexplained = 0, layers = 0, threads = 0;
    for (int i = 0; i < 20000; i++) {
        MallocExtension_GetNumericProperty("strata.unexplained_bytes", &unexplained);
        MallocExtension_GetNumericProperty("generic.bytes_in_use_by_app", &layers);
        MallocExtension_GetNumericProperty("strata.in_use_by_threads_bytes", &threads);
        if (unexplained == 0 && layers == threads) return;
        usleep(5000);
    }
    fprintf(stderr, "unexplained: %zu bytes; in use: %zu bytes, as threads count it %zu\n", unexplained, layers, threads);
    _Exit(1);
}

static int perform(const struct test_case *cases, size_t count, int argc, char **argv) {
    for (size_t i = 0; i < count; i++) {
        if (argc < 2)
            printf(cases[i].on_glibc ? "%s glibc\n" : "%s\n", cases[i].name);
        else if (strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            the_ledger_adds_up();
            return 0;
        }
    }
    return argc < 2 ? 0 : 2;
}

#define MAIN(cases)                                                          \
    int main(int argc, char **argv) {                                        \
        return perform(cases, sizeof(cases) / sizeof(cases[0]), argc, argv); \
    }

/* Keeps the compiler from knowing a value. */
static inline size_t hidden(size_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}

static inline void *hidden_pointer(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

#endif
