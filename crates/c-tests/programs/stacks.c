/* How much stack a call takes. Each runs in a thread whose stack is painted before; what lost its paint was used. */
#define _GNU_SOURCE
#include "tap.h"
#include <strata/malloc_extension.h>

/* Only the library has them: a program that is linked without it finds them when it runs. */
#pragma weak MallocExtension_GetStats
#pragma weak MallocExtension_WriteStats
#pragma weak MallocExtension_GetNumericProperty
#pragma weak MallocExtension_GetProperties
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <time.h>

enum { STACK = 256 << 10, PAINT = 0xa5, KIBI = 1 << 10 };

static unsigned char *stack;
static size_t used;

static void *runs_on_paint(void *call) {
    unsigned char *here = __builtin_frame_address(0);
    unsigned char *top = here - 512; /* this function's own frame, and a little */
    for (unsigned char *at = stack + 4096; at < top; at++) *(volatile unsigned char *)at = PAINT;
    ((void (*)(void))call)();
    unsigned char *lowest = stack + 4096;
    while (lowest < top && *lowest == PAINT) lowest++;
    used = (size_t)(top - lowest);
    return NULL;
}
static size_t stack_of(void (*call)(void)) {
    pthread_attr_t attributes;
    pthread_t thread;
    stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    CHECK(stack != MAP_FAILED && pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, runs_on_paint, (void *)call) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    munmap(stack, STACK);
    return used;
}
static void at_most(const char *name, void (*call)(void), size_t bytes) {
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        size_t now = stack_of(call);
        if (now > most) most = now;
    }
    printf("%s: %zu bytes of stack\n", name, most);
    if (most > bytes) fprintf(stderr, "%s: %zu bytes of stack\n", name, most);
    CHECK(most <= bytes);
}

static void first_block(void) { free(hidden_pointer(malloc(100))); }
static void blocks_of_each_class(void) {
    static void *blocks[400];
    for (size_t round = 0; round < 40; round++) {
        for (size_t i = 0; i < 400; i++) blocks[i] = malloc(i * i * 2);
        for (size_t i = 0; i < 400; i++) free(blocks[i]);
    }
}
static void large_blocks(void) {
    char *block = malloc(300 * KIBI);
    for (size_t size = 300 * KIBI; size < 100u << 20; size = size * 3 / 2) block = realloc(block, size);
    free(block);
    free(calloc(3 << 20, 5));
    free(aligned_alloc(4 << 20, 100));
    free(aligned_alloc(64, 3 << 20));
}
/* Steps of the background work fall to the thread that misses, where the heap has none of its own. */
static void misses_for_seconds(void) {
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        blocks_of_each_class();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begin.tv_sec < 7);
}
/* Caches are given back before the answer is null, and so is what the page heap has ahead. */
static void all_memory(void) {
    static void *blocks[1 << 20];
    for (size_t size = 24; size <= 16 << 20; size *= 7) {
        size_t count = 0;
        while (count < 1 << 20 && (blocks[count] = malloc(size)) != NULL) count++;
        for (size_t i = 0; i < count; i++) free(blocks[i]);
    }
}
/* A CPU's region grows by that, and its limit. */
static void burst_of_one_class(void) {
    static void *blocks[200000];
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < 200000; i++) blocks[i] = malloc(64);
        for (size_t i = 0; i < 200000; i++) free(blocks[i]);
    }
}
/* Hugepages that are free in pieces. */
static void leave_holes(void) {
    static void *blocks[20000];
    for (size_t i = 0; i < 20000; i++) blocks[i] = malloc(i % 3 == 0 ? 3000 : 9000);
    for (size_t i = 0; i < 20000; i++)
        if (i % 5 != 0) free(blocks[i]);
}
static void trims(void) { malloc_trim(0); }
static void figures(void) { mallinfo2(); }
static void allocates_a_little(void *context, const char *text, size_t length) {
    (void)text;
    free(hidden_pointer(malloc(length)));
    *(size_t *)context += length;
}
static const char *form;
static void reports(void) {
    size_t written = 0;
    CHECK(MallocExtension_WriteStats(form, allocates_a_little, &written) == 1);
    CHECK(written > 50);
}
static void numeric_property(void) {
    size_t value;
    CHECK(MallocExtension_GetNumericProperty("generic.heap_size", &value) == 1);
}
static void visits(void *context, const char *name, size_t value) { (void)context, (void)name, (void)value; }
static void all_properties(void) { MallocExtension_GetProperties(visits, NULL); }
static void glibcs_report(void) { malloc_stats(); }
static void glibcs_xml(void) {
    FILE *nowhere = fopen("/dev/null", "w");
    CHECK(nowhere != NULL && malloc_info(0, nowhere) == 0);
    fclose(nowhere);
}
static const char *const forms[] = {"tcmalloc", "tcmalloc-today", "pbtxt", "pbtxt-today", "brief", "explain", "json"};
enum { FORMS = sizeof forms / sizeof *forms };

CASE(a_first_block, STRATA) { at_most("first block", first_block, 4 * KIBI); }
/* 4 KiB, and an eighth for what comes together by chance: who has 8 KiB has nearly a page left for a signal's frame. Where
   the heap has no thread of its own, who misses does what that would do. */
static size_t little(void) {
    const char *conf = getenv("STRATA_CONF");
    int is_alone = conf != NULL && (strstr(conf, "background_thread:false") || strstr(conf, "system_calls:memory"));
    return is_alone ? 11 * KIBI / 2 : 9 * KIBI / 2;
}
CASE(blocks_of_classes, STRATA) { at_most("blocks of classes", blocks_of_each_class, little()); }
CASE(large, STRATA) { at_most("large blocks", large_blocks, little()); }
CASE(background_work, STRATA) { printf("background work: %zu bytes\n", stack_of(misses_for_seconds)); CHECK(used <= little()); }
CASE(until_there_is_no_memory, STRATA) {
    struct rlimit limit = {300 << 20, RLIM_INFINITY};
    free(hidden_pointer(malloc(100)));
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    at_most("until there is no memory", all_memory, little());
}
CASE(many_blocks_of_one_class, STRATA) { at_most("many blocks of one class", burst_of_one_class, little()); }
CASE(giving_memory_back, STRATA) {
    leave_holes();
    at_most("malloc_trim", trims, 4 * KIBI);
}
CASE(asking_for_figures, STRATA) {
    at_most("mallinfo2", figures, 8 * KIBI);
    at_most("one property", numeric_property, 8 * KIBI);
    at_most("all properties", all_properties, 8 * KIBI);
    at_most("malloc_stats", glibcs_report, 8 * KIBI);
    at_most("malloc_info", glibcs_xml, 8 * KIBI);
}
CASE(reports_of_each_form, STRATA) {
    blocks_of_each_class();
    for (int i = 0; i < FORMS; i++) {
        form = forms[i];
        at_most(form, reports, 8 * KIBI);
    }
}
static void *reports_of_all_forms(void *unused) {
    for (int i = 0; i < FORMS; i++) {
        size_t written = 0;
        CHECK(MallocExtension_WriteStats(forms[i], allocates_a_little, &written) == 1);
    }
    figures();
    all_properties();
    return unused;
}

static void *allocates(void *unused) {
    for (size_t i = 0; i < 3000; i++) free(hidden_pointer(malloc(i * 7)));
    return unused;
}
CASE(the_least_stack_that_a_thread_can_have, BOTH) {
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)) == 0);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, allocates, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}
CASE(reports_on_the_least_stack_that_a_thread_can_have, STRATA) {
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)) == 0);
    CHECK(pthread_create(&thread, &attributes, reports_of_all_forms, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* In the middle of one report another is asked for. */
static void asks_again(void *context, const char *text, size_t length) {
    size_t *asked = context;
    (void)text, (void)length;
    if ((*asked)++ == 0) CHECK(MallocExtension_GetStats(NULL, 0) > 5000);
}
CASE(a_report_in_the_middle_of_a_report, STRATA) {
    for (int i = 0; i < FORMS; i++) {
        size_t asked = 0;
        CHECK(MallocExtension_WriteStats(forms[i], asks_again, &asked) == 1 && asked > 0);
    }
}
CASE(reports_where_the_kernel_maps_nothing_more, STRATA) {
    struct rlimit none = {0, RLIM_INFINITY};
    free(hidden_pointer(malloc(100)));
    CHECK(setrlimit(RLIMIT_AS, &none) == 0);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    for (int round = 0; round < 2; round++) reports_of_all_forms(NULL);
    CHECK(mallinfo2().arena > 0);
}
