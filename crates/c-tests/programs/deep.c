/* Libraries that look for malloc in the C library: those that are loaded with RTLD_DEEPBIND, and who asks for the C library itself. The
 * library's path is the second argument. */
#define _GNU_SOURCE
#include "cases.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

static const char *path = "";

/* In a program at a fixed address (-no-pie) this is an entry of its own, and what dlsym(3) finds first. */
static void *(*volatile const address_of_malloc)(size_t) = malloc;

/* The library has one, too; this one is in the program's own table (-rdynamic). */
int whose(void);
int whose(void) { return 1; }

static void *deep(void) {
    void *library = dlopen(path, RTLD_NOW | RTLD_DEEPBIND);
    if (library == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(library != NULL);
    return library;
}

static void exchange(void *library) {
    void *(*deep_malloc)(size_t) = (void *(*)(size_t))dlsym(library, "deep_malloc");
    void *(*deep_calloc)(size_t, size_t) = (void *(*)(size_t, size_t))dlsym(library, "deep_calloc");
    void *(*deep_realloc)(void *, size_t) = (void *(*)(void *, size_t))dlsym(library, "deep_realloc");
    void *(*deep_aligned_alloc)(size_t, size_t) = (void *(*)(size_t, size_t))dlsym(library, "deep_aligned_alloc");
    char *(*deep_strdup)(const char *) = (char *(*)(const char *))dlsym(library, "deep_strdup");
    size_t (*deep_usable_size)(void *) = (size_t (*)(void *))dlsym(library, "deep_usable_size");
    void (*deep_free)(void *) = (void (*)(void *))dlsym(library, "deep_free");
    for (size_t size = 1; size < 4 << 20; size = size * 3 + 1) {
        deep_free(malloc(size)), free(deep_malloc(size)), free(deep_calloc(1, size)), free(deep_aligned_alloc(64, size));
        void *block = deep_realloc(malloc(size), 2 * size);
        CHECK(deep_usable_size(block) == malloc_usable_size(block));
        free(realloc(block, size));
    }
    char *text = deep_strdup("text");
    CHECK(strcmp(text, "text") == 0);
    free(text), deep_free(strdup("text"));
}

static void blocks_are_exchanged_with_a_deeply_bound_library(void) {
    void *before = address_of_malloc(100);
    void *library = deep();
    exchange(library);
    free(before);
    CHECK(dlclose(library) == 0);
    exchange(deep());
}

static void what_else_such_a_library_looks_up_it_finds_as_ever(void) {
    void *library = deep();
    CHECK(((int (*)(void))dlsym(library, "deep_whose"))() == 2 && whose() == 1);
    CHECK(((int (*)(void))dlsym(library, "deep_vfork_of_the_program"))());
    CHECK(dlsym(library, "getpid") == dlsym(RTLD_DEFAULT, "getpid"));
}

static void the_c_library_itself_answers_with_the_programs_allocator(void) {
    void *library = dlopen("libc.so.6", RTLD_LAZY | RTLD_LOCAL);
    CHECK(library != NULL);
    const char *names[] = {"malloc", "free", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc", "malloc_usable_size", "malloc_trim", "mallopt", "mallinfo", "mallinfo2", "malloc_stats", "malloc_info", "__libc_malloc", "__libc_free", "__libc_calloc", "__libc_realloc", "__libc_memalign", "__libc_valloc", "__libc_pvalloc", "__libc_mallopt", "__libc_mallinfo"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(dlsym(library, names[i]) != NULL);
        if (dlsym(library, names[i]) != dlsym(RTLD_NEXT, names[i])) fprintf(stderr, "%s\n", names[i]);
        CHECK(dlsym(library, names[i]) == dlsym(RTLD_NEXT, names[i]));
    }
    ((void (*)(void *))dlsym(library, "free"))(malloc(100));
    free(((void *(*)(size_t))dlsym(library, "malloc"))(100));
    exchange(deep());
}

/* The loader expands $ORIGIN to where the caller of dlopen is. */
static void the_loader_is_told_who_asks(void) {
    char name[4096];
    const char *file = strrchr(path, '/');
    CHECK(file != NULL);
    snprintf(name, sizeof name, "$ORIGIN%s", file);
    void *library = dlopen(name, RTLD_NOW | RTLD_DEEPBIND);
    if (library == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(library != NULL);
    exchange(library);
    CHECK(dlopen("libstrata-is-not-there.so", RTLD_NOW | RTLD_DEEPBIND) == NULL && strstr(dlerror(), "is-not-there") != NULL);
}

static void *loads(void *unused) {
    for (int i = 0; i < 50; i++) {
        void *library = deep();
        exchange(library);
        CHECK(dlclose(library) == 0);
    }
    return unused;
}
static void several_threads_load_at_once(void) {
    pthread_t threads[4];
    alarm(300);
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, loads, NULL) == 0);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    pid_t child = fork();
    int status = 1;
    if (child == 0) {
        exchange(deep());
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static const struct test_case cases[] = {
    ON_BOTH(blocks_are_exchanged_with_a_deeply_bound_library),
    ON_BOTH(what_else_such_a_library_looks_up_it_finds_as_ever),
    ON_BOTH(the_c_library_itself_answers_with_the_programs_allocator),
    ON_BOTH(the_loader_is_told_who_asks),
    ON_BOTH(several_threads_load_at_once),
};

int main(int argc, char **argv) {
    path = argc > 2 ? argv[2] : "";
    return perform(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
