/* Libraries that come late, into a program written in C. The second argument is the library. */
#define _GNU_SOURCE
#include "cases.h"
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

static const char *library;

static void *loaded(int flags) {
    void *handle = dlopen(library, flags);
    if (handle == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(handle != NULL);
    return handle;
}

static void a_late_cxx_library_catches_bad_alloc(void) {
    void *handle = loaded(RTLD_NOW | RTLD_LOCAL);
    int (*catches)(size_t) = (int (*)(size_t))dlsym(handle, "catches_bad_alloc");
    int (*nothrow)(size_t) = (int (*)(size_t))dlsym(handle, "nothrow_answers_null");
    CHECK(catches(SIZE_MAX / 2 + 1) == 1);
    CHECK(nothrow(SIZE_MAX / 2 + 1) == 1);
    CHECK(catches(100) == 0);
}

static void libraries_come_and_go(void) {
    for (int i = 0; i < 600; i++) {
        void *handle = loaded(i % 2 ? RTLD_NOW : RTLD_LAZY);
        int (*allocates)(void) = (int (*)(void))dlsym(handle, "allocates");
        CHECK(allocates() == 1);
        dlclose(handle);
    }
}

static void *use(void *handle) {
    void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(handle, "malloc");
    void (*release)(void *) = (void (*)(void *))dlsym(handle, "free");
    size_t (*usable)(void *) = (size_t(*)(void *))dlsym(handle, "malloc_usable_size");
    for (size_t size = 1; size < 3000000; size = size * 3 / 2 + 1) {
        unsigned char *block = allocate(size);
        CHECK(block != NULL && usable(block) >= size);
        memset(block, 1, size);
        release(block);
    }
    return NULL;
}

/* The allocator itself, beside the program's own. */
static void comes_late(int flags) {
    free(malloc(100));
    void *handle = loaded(flags);
    use(handle);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, use, handle) == 0);
    for (int i = 0; i < 8; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    dlclose(handle);
    pid_t child = fork();
    if (child == 0) _exit(0);
    free(malloc(100));
}

static void the_allocator_may_come_late(void) { comes_late(RTLD_NOW | RTLD_LOCAL); }
static void the_allocator_may_come_late_and_keep_to_itself(void) { comes_late(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND); }
static void the_allocator_may_come_late_for_all(void) { comes_late(RTLD_LAZY | RTLD_GLOBAL); }

/* No C++ at all: nobody could catch an exception. */
static void a_program_without_cxx_ends_with_a_line(void) {
    void *(*operator_new)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "_Znwm");
    CHECK(operator_new != NULL);
    free(operator_new(100));
    operator_new(SIZE_MAX / 2 + 1);
}

static const struct test_case cases[] = {
    ON_BOTH(a_late_cxx_library_catches_bad_alloc),
    ON_BOTH(libraries_come_and_go),
    ON_BOTH(the_allocator_may_come_late),
    ON_BOTH(the_allocator_may_come_late_and_keep_to_itself),
    ON_BOTH(the_allocator_may_come_late_for_all),
    ON_STRATA(a_program_without_cxx_ends_with_a_line),
};

int main(int argc, char **argv) {
    library = argc > 2 ? argv[2] : "";
    return perform(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
