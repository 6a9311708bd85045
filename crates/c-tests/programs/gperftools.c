/* MallocExtension as gperftools' header declares it: its types, not ours. Linked by name, as a program would be that was compiled for
 * gperftools. */
#define _GNU_SOURCE
#include "cases.h"
#include <pthread.h>
#include <stdint.h>

#define GPERFTOOLS(type, name, parameters) extern type name parameters __attribute__((weak))
typedef enum { UNKNOWN, OWNED, NOT_OWNED } ownership;
GPERFTOOLS(int, MallocExtension_VerifyAllMemory, (void));
GPERFTOOLS(int, MallocExtension_VerifyNewMemory, (const void *));
GPERFTOOLS(int, MallocExtension_VerifyArrayNewMemory, (const void *));
GPERFTOOLS(int, MallocExtension_VerifyMallocMemory, (const void *));
GPERFTOOLS(int, MallocExtension_MallocMemoryStats, (int *, size_t *, int[64]));
GPERFTOOLS(void, MallocExtension_GetStats, (char *, int));
GPERFTOOLS(int, MallocExtension_GetNumericProperty, (const char *, size_t *));
GPERFTOOLS(int, MallocExtension_SetNumericProperty, (const char *, size_t));
GPERFTOOLS(void, MallocExtension_MarkThreadIdle, (void));
GPERFTOOLS(void, MallocExtension_MarkThreadBusy, (void));
GPERFTOOLS(void, MallocExtension_ReleaseToSystem, (size_t));
GPERFTOOLS(void, MallocExtension_ReleaseFreeMemory, (void));
GPERFTOOLS(void, MallocExtension_SetMemoryReleaseRate, (double));
GPERFTOOLS(double, MallocExtension_GetMemoryReleaseRate, (void));
GPERFTOOLS(size_t, MallocExtension_GetEstimatedAllocatedSize, (size_t));
GPERFTOOLS(size_t, MallocExtension_GetAllocatedSize, (const void *));
GPERFTOOLS(size_t, MallocExtension_GetThreadCacheSize, (void));
GPERFTOOLS(void, MallocExtension_MarkThreadTemporarilyIdle, (void));
GPERFTOOLS(ownership, MallocExtension_GetOwnership, (const void *));

static size_t property(const char *name) {
    size_t value = 0;
    if (!MallocExtension_GetNumericProperty(name, &value)) {
        fprintf(stderr, "no property %s\n", name);
        _Exit(1);
    }
    return value;
}

static void the_report_keeps_within_an_int(void) {
    char text[5000];
    memset(text, 'x', sizeof text);
    MallocExtension_GetStats(text, (int)sizeof text);
    CHECK(memchr(text, 0, sizeof text) != NULL);
    CHECK(strstr(text, "Bytes in use by application\n") != NULL);
    /* What stands above an int in a register is nobody's promise. */
    ((void (*)(char *, size_t))(void *)MallocExtension_GetStats)(text, ((size_t)77 << 32) | 100);
    CHECK(strlen(text) < 100);
}

static void blocks_are_counted_by_size(void) {
    int blocks, histogram[64], before, histogram_before[64];
    size_t total, total_before;
    CHECK(MallocExtension_MallocMemoryStats(&before, &total_before, histogram_before) == 1);
    static void *small[1000], *large[10];
    size_t bytes = 0;
    for (int i = 0; i < 1000; i++) bytes += MallocExtension_GetAllocatedSize(small[i] = malloc(100));
    for (int i = 0; i < 10; i++) bytes += MallocExtension_GetAllocatedSize(large[i] = malloc(2 << 20));
    CHECK(MallocExtension_MallocMemoryStats(&blocks, &total, histogram) == 1);
    CHECK(blocks == before + 1010 && total == total_before + bytes);
    /* 112 bytes have 7 digits, and 2 MiB have 22. */
    CHECK(histogram[7] == histogram_before[7] + 1000 && histogram[22] == histogram_before[22] + 10);
    int sum = 0;
    for (int i = 0; i < 64; i++) sum += histogram[i];
    CHECK(sum == blocks && total == property("generic.current_allocated_bytes"));
    for (int i = 0; i < 1000; i++) free(small[i]);
    for (int i = 0; i < 10; i++) free(large[i]);
    CHECK(MallocExtension_MallocMemoryStats(&blocks, &total, histogram) == 1);
    CHECK(blocks == before && total == total_before);
}

static void blocks_are_told_from_other_addresses(void) {
    char *small = malloc(100), *large = malloc(3 << 20), *aligned = aligned_alloc(1 << 20, 1 << 20);
    int local = 0;
    CHECK(MallocExtension_VerifyAllMemory() == 1);
    const char *blocks[] = {small, large, aligned, NULL};
    for (int i = 0; i < 4; i++) {
        CHECK(MallocExtension_VerifyMallocMemory(blocks[i]) == 1);
        CHECK(MallocExtension_VerifyNewMemory(blocks[i]) == 1);
        CHECK(MallocExtension_VerifyArrayNewMemory(blocks[i]) == 1);
    }
    CHECK(MallocExtension_VerifyMallocMemory(&local) == 0 && MallocExtension_VerifyMallocMemory(small + 16) == 0);
    CHECK(MallocExtension_VerifyMallocMemory(large + 8192) == 0);
    CHECK(MallocExtension_GetOwnership(small) == OWNED && MallocExtension_GetOwnership(&local) == NOT_OWNED);
    free(hidden_pointer(large));
    CHECK(MallocExtension_VerifyMallocMemory(large) == 0);
    free(small);
    free(aligned);
}

static void all_of_a_busy_heap_is_sound(void) {
    static void *blocks[20000];
    for (int i = 0; i < 20000; i++) blocks[i] = malloc((size_t)i * 37 % 9000);
    for (int i = 0; i < 20000; i += 3) free(blocks[i]);
    CHECK(MallocExtension_VerifyAllMemory() == 1);
    for (int i = 0; i < 20000; i++)
        if (i % 3 != 0) free(blocks[i]);
    CHECK(MallocExtension_VerifyAllMemory() == 1);
}

static void gperftools_names_of_figures_are_answered(void) {
    void *block = malloc(5 << 20);
    CHECK(property("generic.current_allocated_bytes") >= 5 << 20);
    CHECK(property("generic.heap_size") >= property("generic.current_allocated_bytes"));
    CHECK(property("generic.total_physical_bytes") >= property("generic.current_allocated_bytes"));
    CHECK(property("tcmalloc.pageheap_committed_bytes") == property("generic.heap_size"));
    CHECK(property("tcmalloc.pageheap_total_reserve_bytes") >= property("generic.heap_size"));
    const char *names[] = {"tcmalloc.pageheap_free_bytes", "tcmalloc.pageheap_unmapped_bytes",
        "tcmalloc.max_total_thread_cache_bytes", "tcmalloc.current_total_thread_cache_bytes",
        "tcmalloc.central_cache_free_bytes", "tcmalloc.transfer_cache_free_bytes", "tcmalloc.thread_cache_free_bytes",
        "tcmalloc.pageheap_total_decommit_bytes", "tcmalloc.slack_bytes", "tcmalloc.sampling_period_bytes",
        "tcmalloc.impl.thread_cache_count", "tcmalloc.min_per_thread_cache_size"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) property(names[i]);
    size_t value;
    CHECK(MallocExtension_GetNumericProperty("tcmalloc.pageheap_scavenge_count", &value) == 0);
    free(block);
}

static void what_can_be_set_is_set_and_the_rest_refused(void) {
    CHECK(MallocExtension_SetNumericProperty("tcmalloc.max_total_thread_cache_bytes", 4 << 20) == 1);
    CHECK(property("tcmalloc.max_total_thread_cache_bytes") == 4 << 20);
    CHECK(MallocExtension_SetNumericProperty("tcmalloc.heap_limit_mb", 100) == 1);
    CHECK(property("tcmalloc.heap_limit_mb") == 100 && malloc(hidden(200 << 20)) == NULL);
    CHECK(MallocExtension_SetNumericProperty("tcmalloc.heap_limit_mb", 0) == 1);
    void *block = malloc(hidden(200 << 20));
    CHECK(block != NULL && property("tcmalloc.heap_limit_mb") == 0);
    free(block);
    CHECK(MallocExtension_SetNumericProperty("generic.heap_size", 1) == 0);
    CHECK(MallocExtension_SetNumericProperty(NULL, 1) == 0);
}

static void memory_goes_back_when_it_is_asked_for(void) {
    MallocExtension_SetMemoryReleaseRate(0);
    CHECK(MallocExtension_GetMemoryReleaseRate() == 0);
    void *block = malloc(64 << 20);
    memset(block, 1, 64 << 20);
    free(hidden_pointer(block));
    CHECK(property("tcmalloc.pageheap_free_bytes") >= 16 << 20);
    size_t unmapped = property("tcmalloc.pageheap_unmapped_bytes");
    MallocExtension_ReleaseToSystem(16 << 20);
    CHECK(property("tcmalloc.pageheap_unmapped_bytes") >= unmapped + (16 << 20));
    MallocExtension_ReleaseFreeMemory();
    CHECK(property("tcmalloc.pageheap_free_bytes") < 4 << 20);
    MallocExtension_SetMemoryReleaseRate(2.5);
    CHECK(MallocExtension_GetMemoryReleaseRate() == 2.5);
}

static void *use_and_say(void *unused) {
    for (int i = 0; i < 2000; i++) free(malloc((size_t)i));
    MallocExtension_MarkThreadTemporarilyIdle();
    CHECK(MallocExtension_GetThreadCacheSize() == 0);
    MallocExtension_MarkThreadBusy();
    for (int i = 0; i < 2000; i++) free(malloc((size_t)i));
    size_t per_cpu = property("tcmalloc.per_cpu_caches_active");
    CHECK((MallocExtension_GetThreadCacheSize() != 0) == (per_cpu == 0));
    CHECK(MallocExtension_GetEstimatedAllocatedSize(100) == 112);
    MallocExtension_MarkThreadIdle();
    return unused;
}

static void a_thread_knows_what_its_cache_holds(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, use_and_say, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static const struct test_case cases[] = {
    ON_STRATA(the_report_keeps_within_an_int),
    ON_STRATA(blocks_are_counted_by_size),
    ON_STRATA(blocks_are_told_from_other_addresses),
    ON_STRATA(all_of_a_busy_heap_is_sound),
    ON_STRATA(gperftools_names_of_figures_are_answered),
    ON_STRATA(what_can_be_set_is_set_and_the_rest_refused),
    ON_STRATA(memory_goes_back_when_it_is_asked_for),
    ON_STRATA(a_thread_knows_what_its_cache_holds),
};

MAIN(cases)
