/* MallocExtension: found by the dynamic linker, as a program would that runs on other allocators too. */
#define _GNU_SOURCE
#include "cases.h"
#include <strata/malloc_extension.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* A function of the library, by its name; the type is that of the header. */
#define FIND(name) ((__typeof__(&name))found(#name))

static void *found(const char *name) {
    void *address = dlsym(RTLD_DEFAULT, name);
    if (address == NULL) {
        fprintf(stderr, "%s is not there\n", name);
        _Exit(1);
    }
    return address;
}

static size_t property(const char *name) {
    size_t value = 0;
    if (!FIND(MallocExtension_GetNumericProperty)(name, &value)) {
        fprintf(stderr, "no property %s\n", name);
        _Exit(1);
    }
    return value;
}

static void the_report_fits_into_a_buffer_of_the_length_it_asks_for(void) {
    __typeof__(&MallocExtension_GetStats) stats = FIND(MallocExtension_GetStats);
    size_t needed = stats(NULL, 0);
    CHECK(needed > 5000);
    char *buffer = malloc(needed + 4096);
    size_t length = stats(buffer, needed + 4096);
    CHECK(strlen(buffer) == length && buffer[length - 1] == '\n');
    CHECK(strstr(buffer, "Bytes in use by application\n") != NULL);
    CHECK(strstr(buffer, "MmapSysAllocator: ") != NULL);
    char small[300];
    CHECK(stats(small, sizeof small) > 5000);
    CHECK(strlen(small) < sizeof small && small[strlen(small) - 1] == '\n');
    CHECK(strncmp(small, buffer, 60) == 0);
    CHECK(stats(small, 1) > 5000 && small[0] == 0);
    free(buffer);
}

struct written {
    size_t bytes, pieces;
    void *block;
};

static void take_and_allocate(void *context, const char *text, size_t length) {
    struct written *written = context;
    CHECK(text != NULL);
    written->bytes += length;
    written->pieces++;
    free(written->block);
    written->block = malloc(written->pieces * 331 % 500000);
}

static void every_form_is_written_by_a_callback_that_allocates(void) {
    const char *forms[] = {"tcmalloc", "tcmalloc-today", "pbtxt", "pbtxt-today", "brief", "explain", "json"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct written written = {0, 0, NULL};
        CHECK(FIND(MallocExtension_WriteStats)(forms[i], take_and_allocate, &written) == 1);
        CHECK(written.bytes > 50);
        free(written.block);
        size_t needed = FIND(MallocExtension_GetStatsAs)(forms[i], NULL, 0);
        CHECK(needed > 50);
    }
    struct written none = {0, 0, NULL};
    CHECK(FIND(MallocExtension_WriteStats)("sonnet", take_and_allocate, &none) == 0 && none.bytes == 0);
    CHECK(FIND(MallocExtension_GetStatsAs)("sonnet", NULL, 0) == 0);
}

/* All names of TCMalloc's, apart from its experiments'. */
static const char *const names[] = {
    "generic.current_allocated_bytes", "generic.bytes_in_use_by_app", "generic.heap_size",
    "generic.peak_memory_usage", "generic.physical_memory_used", "generic.realized_fragmentation",
    "generic.virtual_memory_used", "tcmalloc.central_cache_free", "tcmalloc.cpu_free",
    "tcmalloc.current_total_thread_cache_bytes", "tcmalloc.desired_usage_limit_bytes",
    "tcmalloc.external_fragmentation_bytes", "tcmalloc.hard_limit_hits", "tcmalloc.hard_usage_limit_bytes",
    "tcmalloc.local_bytes", "tcmalloc.max_total_thread_cache_bytes", "tcmalloc.metadata_bytes",
    "tcmalloc.num_released_total_bytes", "tcmalloc.num_released_release_memory_to_system_bytes",
    "tcmalloc.num_released_process_background_actions_bytes", "tcmalloc.num_released_soft_limit_exceeded_bytes",
    "tcmalloc.num_released_hard_limit_exceeded_bytes", "tcmalloc.page_heap_free", "tcmalloc.pageheap_free_bytes",
    "tcmalloc.page_heap_unmapped", "tcmalloc.pageheap_unmapped_bytes", "tcmalloc.per_cpu_caches_active",
    "tcmalloc.required_bytes", "tcmalloc.sampled_internal_fragmentation", "tcmalloc.security_partitioning_active",
    "tcmalloc.sharded_transfer_cache_free", "tcmalloc.slack_bytes", "tcmalloc.soft_limit_hits",
    "tcmalloc.successful_shrinks_after_soft_limit_hit", "tcmalloc.successful_shrinks_after_hard_limit_hit",
    "tcmalloc.thread_cache_count", "tcmalloc.thread_cache_free", "tcmalloc.transfer_cache_free",
};

struct listed {
    size_t count, known;
};

static void list(void *context, const char *name, size_t value) {
    struct listed *listed = context;
    size_t single;
    CHECK(FIND(MallocExtension_GetNumericProperty)(name, &single) == 1);
    (void)value;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) listed->known += strcmp(name, names[i]) == 0;
    listed->count++;
}

static void every_property_is_answered_singly_and_with_the_others(void) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) property(names[i]);
    struct listed listed = {0, 0};
    FIND(MallocExtension_GetProperties)(list, &listed);
    CHECK(listed.known == sizeof names / sizeof names[0] && listed.count > listed.known);
    size_t value = 77;
    CHECK(FIND(MallocExtension_GetNumericProperty)("tcmalloc.none_such", &value) == 0 && value == 77);
}

static void allocate_and_free(int is_measured) {
    enum { COUNT = 2000 };
    static void *blocks[COUNT];
    size_t before = property("generic.current_allocated_bytes"), asked = 0;
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i * 487 % 1000000;
        blocks[i] = malloc(size);
        asked += FIND(MallocExtension_GetEstimatedAllocatedSize)(size);
    }
    if (is_measured) CHECK(property("generic.current_allocated_bytes") == before + asked);
    for (size_t i = 0; i < COUNT; i++) free(blocks[i]);
    if (is_measured) CHECK(property("generic.current_allocated_bytes") == before);
}

static void current_bytes_come_back_to_where_they_were(void) {
    /* The first time, the heap gets a thread, for which the C library needs some blocks. */
    allocate_and_free(0);
    CHECK(FIND(MallocExtension_NeedsProcessBackgroundActions)() == 0);
    allocate_and_free(1);
}

static void what_is_free_goes_back(void) {
    void *block = malloc(64 << 20);
    memset(block, 1, 64 << 20);
    free(block);
    size_t unmapped = property("tcmalloc.pageheap_unmapped_bytes");
    size_t by_call = property("tcmalloc.num_released_release_memory_to_system_bytes");
    size_t went = FIND(MallocExtension_ReleaseMemoryToSystem)(32 << 20);
    /* What was idle may have gone by itself meanwhile. */
    if (went >= (32 << 20))
        CHECK(property("tcmalloc.num_released_release_memory_to_system_bytes") >= by_call + went);
    CHECK(property("tcmalloc.pageheap_unmapped_bytes") >= unmapped);
}

static void limits_are_kept_to(void) {
    __typeof__(&MallocExtension_SetMemoryLimit) set = FIND(MallocExtension_SetMemoryLimit);
    __typeof__(&MallocExtension_GetMemoryLimit) get = FIND(MallocExtension_GetMemoryLimit);
    CHECK(get(MALLOC_EXTENSION_SOFT_LIMIT) == SIZE_MAX && get(MALLOC_EXTENSION_HARD_LIMIT) == SIZE_MAX);
    CHECK(set(200 << 20, MALLOC_EXTENSION_HARD_LIMIT) == 1 && get(MALLOC_EXTENSION_HARD_LIMIT) == 200 << 20);
    CHECK(set(100 << 20, MALLOC_EXTENSION_SOFT_LIMIT) == 1 && get(MALLOC_EXTENSION_SOFT_LIMIT) == 100 << 20);
    CHECK(property("tcmalloc.hard_usage_limit_bytes") == 200 << 20);
    void *fits = malloc(150 << 20);
    CHECK(fits != NULL && property("tcmalloc.soft_limit_hits") > 0);
    CHECK(malloc(hidden(150 << 20)) == NULL && property("tcmalloc.hard_limit_hits") > 0);
    CHECK(set(SIZE_MAX, MALLOC_EXTENSION_HARD_LIMIT) == 1 && get(MALLOC_EXTENSION_HARD_LIMIT) == SIZE_MAX);
    void *more = malloc(150 << 20);
    CHECK(more != NULL);
    CHECK(set(1, 7) == 0 && get(7) == SIZE_MAX);
    /* 0 is no limit, as TCMalloc has it. */
    for (int kind = MALLOC_EXTENSION_SOFT_LIMIT; kind <= MALLOC_EXTENSION_HARD_LIMIT; kind++)
        CHECK(set(0, kind) == 1 && get(kind) == SIZE_MAX);
    void *without = malloc(hidden(150 << 20));
    CHECK(without != NULL);
    free(without);
    free(fits);
    free(more);
}

/* Lowers the soft limit below what is free: it goes at once, before anybody asks for memory. */
static void a_limit_is_kept_from_when_it_is_set(void) {
    __typeof__(&MallocExtension_SetMemoryLimit) set = FIND(MallocExtension_SetMemoryLimit);
    CHECK(FIND(MallocExtension_SetBackgroundProcessActionsEnabled)(0) == 1);
    size_t before = property("generic.heap_size");
    char *blocks[128];
    for (int i = 0; i < 128; i++) {
        CHECK((blocks[i] = malloc(1 << 20)) != NULL);
        memset(blocks[i], 1, 1 << 20);
    }
    for (int i = 0; i < 128; i++) free(blocks[i]);
    size_t had = property("tcmalloc.pageheap_free_bytes");
    size_t went = property("tcmalloc.num_released_soft_limit_exceeded_bytes");
    CHECK(set(before + (16 << 20), MALLOC_EXTENSION_SOFT_LIMIT) == 1);
    CHECK(property("tcmalloc.pageheap_free_bytes") <= 16 << 20);
    if (had > 16 << 20) CHECK(property("tcmalloc.num_released_soft_limit_exceeded_bytes") > went);
    CHECK(set(0, MALLOC_EXTENSION_SOFT_LIMIT) == 1);
    CHECK(FIND(MallocExtension_SetBackgroundProcessActionsEnabled)(1) == 1);
}

static void caches_keep_to_their_limits(void) {
    __typeof__(&MallocExtension_GetMaxTotalThreadCacheBytes) threads = FIND(MallocExtension_GetMaxTotalThreadCacheBytes);
    CHECK(threads() == 32 << 20);
    CHECK(FIND(MallocExtension_SetMaxTotalThreadCacheBytes)(8 << 20) == 1 && threads() == 8 << 20);
    CHECK(property("tcmalloc.max_total_thread_cache_bytes") == 8 << 20);
    int per_cpu = FIND(MallocExtension_PerCpuCachesActive)();
    CHECK(property("tcmalloc.per_cpu_caches_active") == (size_t)per_cpu);
    if (!per_cpu) return;
    CHECK(FIND(MallocExtension_GetMaxPerCpuCacheSize)() == 3 << 19);
    for (int i = 0; i < 20000; i++) free(malloc((size_t)i % 3000));
    CHECK(FIND(MallocExtension_SetMaxPerCpuCacheSize)(64 << 10) == 1);
    CHECK(FIND(MallocExtension_GetMaxPerCpuCacheSize)() == 64 << 10);
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    CHECK(property("tcmalloc.cpu_free") <= (size_t)cpus * (64 << 10));
    size_t went = 0, held = property("tcmalloc.cpu_free");
    for (int cpu = 0; cpu < cpus; cpu++) went += FIND(MallocExtension_ReleaseCpuMemory)(cpu);
    CHECK(held == 0 || went > 0);
    CHECK(FIND(MallocExtension_ReleaseCpuMemory)(-1) == 0 && FIND(MallocExtension_ReleaseCpuMemory)(1 << 30) == 0);
}

static void threads_may_be_idle_and_busy(void) {
    for (int i = 0; i < 1000; i++) free(malloc(100));
    FIND(MallocExtension_MarkThreadIdle)();
    CHECK(property("tcmalloc.thread_cache_free") == 0);
    FIND(MallocExtension_MarkThreadBusy)();
    free(malloc(100));
}

static void *work(void *unused) {
    FIND(MallocExtension_ProcessBackgroundActions)();
    return unused;
}

static void background_work_is_steered(void) {
    CHECK(FIND(MallocExtension_GetBackgroundProcessActionsEnabled)() == 1);
    CHECK(FIND(MallocExtension_SetBackgroundProcessActionsEnabled)(0) == 1);
    CHECK(FIND(MallocExtension_GetBackgroundProcessActionsEnabled)() == 0);
    CHECK(FIND(MallocExtension_SetBackgroundProcessActionsEnabled)(1) == 1);
    CHECK(FIND(MallocExtension_SetBackgroundReleaseRate)(1 << 30) == 1);
    CHECK(FIND(MallocExtension_GetBackgroundReleaseRate)() == 1 << 30);
    CHECK(FIND(MallocExtension_SetBackgroundProcessSleepInterval)(2000000) == 1);
    CHECK(FIND(MallocExtension_GetBackgroundProcessSleepInterval)() == 2000000);
    uint64_t minute = 60000000000;
    CHECK(FIND(MallocExtension_GetSkipSubreleaseShortInterval)() == minute);
    CHECK(FIND(MallocExtension_GetSkipSubreleaseLongInterval)() == 5 * minute);
    CHECK(FIND(MallocExtension_SetSkipSubreleaseShortInterval)(0) == 1);
    CHECK(FIND(MallocExtension_SetSkipSubreleaseLongInterval)(0) == 1);
    CHECK(FIND(MallocExtension_GetSkipSubreleaseLongInterval)() == 0);
    CHECK(FIND(MallocExtension_NeedsProcessBackgroundActions)() == 1);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
    /* Each time more is freed, until some of it went back because of the thread. */
    for (int i = 0; property("tcmalloc.num_released_process_background_actions_bytes") == 0; i++) {
        void *block = malloc(16 << 20);
        memset(block, 1, 16 << 20);
        free(block);
        usleep(20000);
        CHECK(i < 3000);
    }
}

static void addresses_have_owners(void) {
    __typeof__(&MallocExtension_GetOwnership) owner = FIND(MallocExtension_GetOwnership);
    void *small = malloc(100), *large = malloc(3 << 20);
    int local = 0;
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(owner(small) == MALLOC_EXTENSION_OWNED && owner(large) == MALLOC_EXTENSION_OWNED);
    CHECK(owner(&local) == MALLOC_EXTENSION_NOT_OWNED && owner(mapped) == MALLOC_EXTENSION_NOT_OWNED);
    CHECK(owner(NULL) == MALLOC_EXTENSION_NOT_OWNED && owner((void *)-1) == MALLOC_EXTENSION_NOT_OWNED);
    CHECK(FIND(MallocExtension_GetAllocatedSize)(small) == 112 && FIND(MallocExtension_GetAllocatedSize)(NULL) == 0);
    CHECK(FIND(MallocExtension_GetEstimatedAllocatedSize)(100) == 112);
    CHECK(FIND(MallocExtension_GetEstimatedAllocatedSize)(SIZE_MAX) == 0);
    free(small);
    free(large);
    CHECK(owner(large) == MALLOC_EXTENSION_NOT_OWNED);
}

struct search {
    const char *small, *large;
    size_t found_small, found_large, bytes;
};

static void look(void *context, const void *start, size_t bytes, size_t object_bytes) {
    struct search *search = context;
    const char *begin = start;
    search->bytes += bytes;
    if (search->small >= begin && search->small < begin + bytes && object_bytes == 112) search->found_small++;
    if (search->large == begin && bytes >= 5 << 20 && object_bytes == bytes) search->found_large++;
    free(malloc(64));
}

static void live_spans_are_those_of_blocks(void) {
    struct search search = {malloc(100), malloc(5 << 20), 0, 0, 0};
    FIND(MallocExtension_GetAllocatedAddressRanges)(look, &search);
    CHECK(search.found_small == 1 && search.found_large == 1);
    CHECK(search.bytes >= property("generic.current_allocated_bytes"));
}

static const struct test_case cases[] = {
    ON_STRATA(the_report_fits_into_a_buffer_of_the_length_it_asks_for),
    ON_STRATA(every_form_is_written_by_a_callback_that_allocates),
    ON_STRATA(every_property_is_answered_singly_and_with_the_others),
    ON_STRATA(current_bytes_come_back_to_where_they_were),
    ON_STRATA(what_is_free_goes_back),
    ON_STRATA(limits_are_kept_to),
    ON_STRATA(a_limit_is_kept_from_when_it_is_set),
    ON_STRATA(caches_keep_to_their_limits),
    ON_STRATA(threads_may_be_idle_and_busy),
    ON_STRATA(background_work_is_steered),
    ON_STRATA(addresses_have_owners),
    ON_STRATA(live_spans_are_those_of_blocks),
};

MAIN(cases)
