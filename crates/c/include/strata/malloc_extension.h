/* strata/malloc_extension.h: TCMalloc's MallocExtension, as functions of C, and that of gperftools.
 *
 * Figures of the heap, and what may be changed about it while it runs. Any thread may call any of these at any time, but not a
 * signal handler, unless a function says so. Functions that set something answer 1 if that was done, else 0.
 *
 * What MallocExtension has for profiles, for guarded allocations and for a source of address space is not here: the library takes
 * no samples, and asks the kernel alone.
 */
#ifndef STRATA_MALLOC_EXTENSION_H
#define STRATA_MALLOC_EXTENSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#if __cplusplus >= 201103L
#define STRATA_NOEXCEPT noexcept
#else
#define STRATA_NOEXCEPT throw()
#endif
#else
#define STRATA_NOEXCEPT
#endif

/* -- The report ------------------------------------------------------------------------------------------------- */

/* Writes the report into buffer (docs/reading-the-report.md explains it): as many whole lines as there is room for, and a
 * zero byte. Answers how many bytes all of it has, without the zero; give a buffer of at least one more to have it whole. Of
 * size the lower 32 bits count, since gperftools' header, which declares the same function, has an int there.
 * Allocates nothing, and does with the stack of any thread: what it needs is mapped for it. 0 if the kernel has no memory for that,
 * and another thread is using what is kept for then. */
size_t MallocExtension_GetStats(char *buffer, size_t size) STRATA_NOEXCEPT;

/* The same in another form: "tcmalloc", "tcmalloc-today", "pbtxt", "pbtxt-today", "brief", "explain" or "json". 0 if
 * there is no such form. */
size_t MallocExtension_GetStatsAs(const char *form, char *buffer, size_t size) STRATA_NOEXCEPT;

/* The same, handed to write in pieces that end in no zero. write may allocate and free. 1, or 0 if there is no such form. */
int MallocExtension_WriteStats(const char *form, void (*write)(void *context, const char *text, size_t length),
                               void *context) STRATA_NOEXCEPT;

/* -- Single figures --------------------------------------------------------------------------------------------- */

/* The figure of that name, as "generic.current_allocated_bytes": 1, or 0 if there is no such name. In bytes, unless the
 * name says otherwise; no limit is SIZE_MAX. docs/reading-the-report.md lists the names. */
int MallocExtension_GetNumericProperty(const char *name, size_t *value) STRATA_NOEXCEPT;

/* Calls visit with each name and its figure, all of one moment. A name is gone when visit returns; visit may allocate. */
void MallocExtension_GetProperties(void (*visit)(void *context, const char *name, size_t value),
                                   void *context) STRATA_NOEXCEPT;

/* -- Giving memory back ----------------------------------------------------------------------------------------- */

/* Gives free memory back to the kernel, at least so many bytes if so much is free, caches included. Answers how many went. */
size_t MallocExtension_ReleaseMemoryToSystem(size_t bytes) STRATA_NOEXCEPT;

/* Gives what one CPU's cache holds back to the heap; answers how many bytes went. Where caches go by concurrency id, which the
 * report says, cpu is such an id. */
size_t MallocExtension_ReleaseCpuMemory(int cpu) STRATA_NOEXCEPT;

/* This thread will not allocate for a while: its cache is emptied. And: it will again. Where caches are per CPU these do
 * nothing, since a thread holds nothing. */
void MallocExtension_MarkThreadIdle(void) STRATA_NOEXCEPT;
void MallocExtension_MarkThreadBusy(void) STRATA_NOEXCEPT;

/* -- Limits ----------------------------------------------------------------------------------------------------- */

/* Above the soft limit a heap that grows gives back first; above the hard one requests fail. */
#define MALLOC_EXTENSION_SOFT_LIMIT 0
#define MALLOC_EXTENSION_HARD_LIMIT 1

/* A limit on the memory that is backed, in bytes, metadata included; SIZE_MAX is none, and 0 sets none. What is free and above
   a limit goes back to the kernel when it is set. */
size_t MallocExtension_GetMemoryLimit(int kind) STRATA_NOEXCEPT;
int MallocExtension_SetMemoryLimit(size_t bytes, int kind) STRATA_NOEXCEPT;

/* -- Caches ----------------------------------------------------------------------------------------------------- */

/* 1 if caches are per CPU, 0 if they are per thread. */
int MallocExtension_PerCpuCachesActive(void) STRATA_NOEXCEPT;

/* How many bytes of free objects one CPU's cache may hold: it grows with large programs, until it is set. Set lower, CPUs give back what is too much. 0 where caches are per thread:
 * there is nothing to set. */
size_t MallocExtension_GetMaxPerCpuCacheSize(void) STRATA_NOEXCEPT;
int MallocExtension_SetMaxPerCpuCacheSize(size_t bytes) STRATA_NOEXCEPT;

/* How many bytes of free objects all threads' caches may hold together, at least 512 KiB. */
size_t MallocExtension_GetMaxTotalThreadCacheBytes(void) STRATA_NOEXCEPT;
int MallocExtension_SetMaxTotalThreadCacheBytes(size_t bytes) STRATA_NOEXCEPT;

/* -- Background work -------------------------------------------------------------------------------------------- */

/* Whether memory goes back, and caches are kept in shape, without being asked. (Whole hugepages for which there is no use, and
 * the longest block so far, go in any case.) */
int MallocExtension_GetBackgroundProcessActionsEnabled(void) STRATA_NOEXCEPT;
int MallocExtension_SetBackgroundProcessActionsEnabled(int enabled) STRATA_NOEXCEPT;

/* The least time between two steps of it, in nanoseconds; 0, as at first: steps are done when they are due. */
uint64_t MallocExtension_GetBackgroundProcessSleepInterval(void) STRATA_NOEXCEPT;
int MallocExtension_SetBackgroundProcessSleepInterval(uint64_t nanoseconds) STRATA_NOEXCEPT;

/* Bytes of free pages that go back each second, wanted of late or not. */
size_t MallocExtension_GetBackgroundReleaseRate(void) STRATA_NOEXCEPT;
int MallocExtension_SetBackgroundReleaseRate(size_t bytes_per_second) STRATA_NOEXCEPT;

/* How far back demand is looked at before hugepages are broken: its fluctuations, and its floor. In nanoseconds; setting one
 * answers 0, and it is 0, where the legacy page heap runs. */
uint64_t MallocExtension_GetSkipSubreleaseShortInterval(void) STRATA_NOEXCEPT;
int MallocExtension_SetSkipSubreleaseShortInterval(uint64_t nanoseconds) STRATA_NOEXCEPT;
uint64_t MallocExtension_GetSkipSubreleaseLongInterval(void) STRATA_NOEXCEPT;
int MallocExtension_SetSkipSubreleaseLongInterval(uint64_t nanoseconds) STRATA_NOEXCEPT;

/* Does background work in this thread, and never comes back. Of use where the heap has no thread of its own, which the second
 * function says: a small heap has none, and one under STRATA_CONF=background_thread:false. */
void MallocExtension_ProcessBackgroundActions(void) STRATA_NOEXCEPT;
int MallocExtension_NeedsProcessBackgroundActions(void) STRATA_NOEXCEPT;

/* -- Blocks ----------------------------------------------------------------------------------------------------- */

/* The size of the block that malloc(size) would answer with; 0 if there can be none. */
size_t MallocExtension_GetEstimatedAllocatedSize(size_t size) STRATA_NOEXCEPT;

/* The size of a block in use; 0 for null. All of it may be written. */
size_t MallocExtension_GetAllocatedSize(const void *pointer) STRATA_NOEXCEPT;

/* Whose memory an address is, whatever the address. "Unknown" never is the answer. */
#define MALLOC_EXTENSION_OWNERSHIP_UNKNOWN 0
#define MALLOC_EXTENSION_OWNED 1
#define MALLOC_EXTENSION_NOT_OWNED 2
int MallocExtension_GetOwnership(const void *pointer) STRATA_NOEXCEPT;

/* Calls visit with each span that is in use, in order of addresses: where it begins, its bytes, and the size of its objects,
 * which for a large block is its own. visit may allocate and free; spans that come or go meanwhile may be seen or not. */
void MallocExtension_GetAllocatedAddressRanges(void (*visit)(void *context, const void *start, size_t bytes,
                                                             size_t object_bytes),
                                               void *context) STRATA_NOEXCEPT;

/* -- As gperftools has it --------------------------------------------------------------------------------------- */

/* A program that was compiled with gperftools' malloc_extension_c.h finds these, and of the above those that it has: GetStats,
 * GetNumericProperty, MarkThreadIdle, MarkThreadBusy, GetEstimatedAllocatedSize, GetAllocatedSize, GetOwnership. */

/* 1 if what is noted of every span in use adds up, 0 if somebody wrote over it. What blocks hold is not looked at. A lock for
 * each span: for tests. */
int MallocExtension_VerifyAllMemory(void) STRATA_NOEXCEPT;

/* 1 if a block of the program's begins there, or pointer is null. The three do the same. */
int MallocExtension_VerifyMallocMemory(const void *pointer) STRATA_NOEXCEPT;
int MallocExtension_VerifyNewMemory(const void *pointer) STRATA_NOEXCEPT;
int MallocExtension_VerifyArrayNewMemory(const void *pointer) STRATA_NOEXCEPT;

/* How many blocks the program has, their bytes (as GetAllocatedSize says them), and how many blocks there are of each size:
 * entry n of histogram, which has 64, counts those of 2^(n-1) bytes and less than 2^n. INT_MAX stands for more. Answers 1. Costs a
 * look at each page. */
int MallocExtension_MallocMemoryStats(int *blocks, size_t *total, int histogram[64]) STRATA_NOEXCEPT;

/* Sets what a name stands for: tcmalloc.max_total_thread_cache_bytes, tcmalloc.heap_limit_mb (the hard limit in MiB, 0 for none),
 * tcmalloc.desired_usage_limit_bytes (the soft limit, 0 or SIZE_MAX for none). 1, or 0 for any other name. */
int MallocExtension_SetNumericProperty(const char *name, size_t value) STRATA_NOEXCEPT;

/* ReleaseMemoryToSystem without an answer, and the same of all that is free. */
void MallocExtension_ReleaseToSystem(size_t bytes) STRATA_NOEXCEPT;
void MallocExtension_ReleaseFreeMemory(void) STRATA_NOEXCEPT;

/* How eager background work is: 0 switches it off, any other number switches it on and gives back so many times 32 MiB a second
 * (SetBackgroundReleaseRate says it in bytes). */
void MallocExtension_SetMemoryReleaseRate(double rate) STRATA_NOEXCEPT;
double MallocExtension_GetMemoryReleaseRate(void) STRATA_NOEXCEPT;

/* Bytes of free objects in this thread's cache; 0 where caches are per CPU. */
size_t MallocExtension_GetThreadCacheSize(void) STRATA_NOEXCEPT;

/* MarkThreadIdle, for a moment. */
void MallocExtension_MarkThreadTemporarilyIdle(void) STRATA_NOEXCEPT;

#undef STRATA_NOEXCEPT
#ifdef __cplusplus
}
#endif

#endif
