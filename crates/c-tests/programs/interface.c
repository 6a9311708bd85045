/* The interface in C, a check at a time. */
#define _GNU_SOURCE
#include "tap.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <iconv.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <strata/strata.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void __libc_free(void *), *__libc_memalign(size_t, size_t), *__libc_valloc(size_t), *__libc_pvalloc(size_t);
struct mallinfo __libc_mallinfo(void);
int __libc_mallopt(int, int);
#pragma weak free_sized
#pragma weak free_aligned_sized
#pragma weak sdallocx
#pragma weak nallocx
#pragma weak mallocx
#pragma weak rallocx
#pragma weak xallocx
#pragma weak sallocx
#pragma weak dallocx
#pragma weak cfree

enum { MEBI = 1 << 20 };

static int is_aligned(const void *pointer, size_t align) { return (uintptr_t)pointer % align == 0; }

static void fill(void *block, unsigned seed, size_t size) {
    for (size_t i = 0; i < size; i++) ((unsigned char *)block)[i] = (unsigned char)(seed + i * 7);
}

static int holds(const void *block, unsigned seed, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (((const unsigned char *)block)[i] != (unsigned char)(seed + i * 7)) return 0;
    return 1;
}

static int is_zero(const void *block, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (((const char *)block)[i] != 0) return 0;
    return 1;
}

static long resident_kib(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    CHECK(file != NULL && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

#define FAILS_WITH(error, call)                 \
    do {                                        \
        errno = 0;                              \
        CHECK((call) == NULL && errno == (error)); \
    } while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
static const size_t impossible[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 4096,
                                    SIZE_MAX - (2 << 20), (size_t)1 << 62, (size_t)1 << 48};

/* malloc */

CASE(malloc_of_nothing_is_a_block_of_its_own, BOTH) {
    void *first = malloc(hidden(0)), *second = malloc(hidden(0));
    CHECK(first != NULL && second != NULL && first != second);
    free(first), free(second);
}
CASE(malloc_of_impossible_sizes_fails_with_enomem, BOTH) {
    for (size_t i = 0; i < COUNT(impossible); i++) FAILS_WITH(ENOMEM, malloc(hidden(impossible[i])));
}
CASE(the_largest_size_that_an_object_may_have_fails_with_enomem, BOTH) {
    size_t size = hidden(PTRDIFF_MAX);
    FAILS_WITH(ENOMEM, malloc(size));
    FAILS_WITH(ENOMEM, calloc(size, 1));
    FAILS_WITH(ENOMEM, calloc(size / 8, 8));
    FAILS_WITH(ENOMEM, realloc(hidden_pointer(NULL), size));
    FAILS_WITH(ENOMEM, aligned_alloc(16, size));
    FAILS_WITH(ENOMEM, aligned_alloc(MEBI, size));
    FAILS_WITH(ENOMEM, valloc(size));
    FAILS_WITH(ENOMEM, pvalloc(size));
    FAILS_WITH(ENOMEM, reallocarray(NULL, 1, size));
}
CASE(malloc_goes_on_after_an_impossible_size, BOTH) {
    for (int i = 0; i < 1000; i++) CHECK(malloc(hidden(SIZE_MAX)) == NULL);
    void *block = malloc(100);
    CHECK(block != NULL);
    free(block);
}
CASE(malloc_leaves_errno_where_it_succeeds, BOTH) {
    errno = 77;
    for (size_t size = 0; size < 40 * MEBI; size = size * 3 + 1) {
        CHECK(malloc(size) != NULL);
        CHECK(errno == 77);
    }
}
CASE(malloc_aligns_for_every_type_from_16_bytes_on, BOTH) {
    for (size_t size = 16; size < 20000; size += 7) CHECK(is_aligned(malloc(size), _Alignof(max_align_t)));
}
CASE(malloc_aligns_small_blocks_for_what_fits_into_them, BOTH) {
    for (size_t size = 1; size < 16; size++)
        for (size_t align = 1; align <= size; align *= 2) CHECK(is_aligned(malloc(size), align));
}
CASE(malloc_aligns_large_blocks, BOTH) {
    for (size_t size = 20000; size < 100 * MEBI; size += size / 3) CHECK(is_aligned(malloc(size), 16));
}
CASE(malloc_gives_blocks_that_do_not_overlap, BOTH) {
    static void *blocks[3000];
    for (unsigned i = 0; i < COUNT(blocks); i++) fill(blocks[i] = malloc(i), i, i);
    for (unsigned i = 0; i < COUNT(blocks); i++) CHECK(holds(blocks[i], i, i));
}
CASE(malloc_of_more_than_4_gib_is_usable_at_both_ends, BOTH) {
    size_t size = ((size_t)5 << 30) + 123;
    char *block = malloc(size);
    if (block == NULL) return; /* the kernel was told not to promise that much */
    block[0] = block[size - 1] = 1;
    CHECK(malloc_usable_size(block) >= size);
    free(block);
}

/* free */

CASE(free_of_null_does_nothing, BOTH) {
    errno = 77;
    free(hidden_pointer(NULL));
    CHECK(errno == 77);
}
CASE(free_keeps_errno_with_small_blocks, BOTH) {
    static void *blocks[100000];
    for (size_t i = 0; i < COUNT(blocks); i++) blocks[i] = malloc(i % 1000);
    errno = 77;
    for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
    CHECK(errno == 77);
}
CASE(free_keeps_errno_with_large_blocks, BOTH) {
    for (size_t size = MEBI; size < 512 * (size_t)MEBI; size *= 2) {
        void *block = malloc(size);
        errno = 77;
        free(block);
        CHECK(errno == 77);
    }
}
/* From here on these calls of the process fail. */
static void refuse(const int *calls, size_t count) {
    struct sock_filter filter[40] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned short length = 1;
    for (size_t i = 0; i < count; i++) {
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {length, filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}
static void *refused[3000];
static void free_while_the_kernel_takes_nothing_back(void) {
    const int calls[] = {SYS_munmap, SYS_madvise, SYS_mprotect, SYS_mremap, SYS_brk, SYS_membarrier};
    for (size_t i = 0; i < COUNT(refused); i++) memset(refused[i] = malloc(i * 80), 1, i * 80);
    void *large[8];
    for (size_t i = 0; i < COUNT(large); i++) CHECK((large[i] = malloc((size_t)3 * MEBI << i)) != NULL);
    refuse(calls, COUNT(calls));
    errno = 77;
    for (size_t i = 0; i < COUNT(refused); i++) free(refused[i]);
    CHECK(errno == 77);
    for (size_t i = 0; i < COUNT(large); i++) free(large[i]);
    CHECK(errno == 77);
}
CASE(free_keeps_errno_where_the_kernel_takes_nothing_back, BOTH) { free_while_the_kernel_takes_nothing_back(); }
CASE(calloc_zeroes_where_the_kernel_takes_nothing_back, STRATA) { /* glibc 2.36 crashes */
    free_while_the_kernel_takes_nothing_back();
    malloc_trim(0);
    for (size_t i = 0; i < COUNT(refused); i++) CHECK((refused[i] = calloc(1, i * 80)) != NULL && is_zero(refused[i], i * 80));
}
static void *frees(void *block) { return free(block), NULL; }
CASE(free_in_another_thread, BOTH) {
    for (size_t size = 1; size < 8 * MEBI; size *= 3) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, frees, malloc(size)) == 0 && pthread_join(thread, NULL) == 0);
    }
}
CASE(free_takes_aligned_blocks, BOTH) {
    for (size_t align = 8; align <= MEBI; align *= 2) {
        free(memalign(align, 100));
        free(aligned_alloc(align, align * 2));
        free(valloc(10)), free(pvalloc(10));
    }
}

/* calloc */

CASE(calloc_of_nothing_is_a_block_of_its_own, BOTH) {
    void *first = calloc(hidden(0), 8), *second = calloc(8, hidden(0));
    CHECK(first != NULL && second != NULL && first != second);
}
CASE(calloc_of_no_objects_of_any_size_is_a_block, BOTH) {
    CHECK(calloc(hidden(0), hidden(SIZE_MAX)) != NULL && calloc(hidden(SIZE_MAX), hidden(0)) != NULL);
    CHECK(reallocarray(NULL, hidden(0), hidden(SIZE_MAX)) != NULL);
}
CASE(calloc_refuses_products_that_are_no_size, BOTH) {
    const size_t pairs[][2] = {{SIZE_MAX / 2 + 2, 2}, {2, SIZE_MAX / 2 + 2}, {SIZE_MAX, SIZE_MAX},
                               {(size_t)1 << 32, (size_t)1 << 32}, {((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1}};
    for (size_t i = 0; i < COUNT(pairs); i++) FAILS_WITH(ENOMEM, calloc(hidden(pairs[i][0]), hidden(pairs[i][1])));
}
CASE(calloc_of_impossible_sizes_fails_with_enomem, BOTH) {
    for (size_t i = 0; i < COUNT(impossible); i++) FAILS_WITH(ENOMEM, calloc(1, hidden(impossible[i])));
}
CASE(calloc_zeroes_small_blocks_that_were_used, BOTH) {
    for (int round = 0; round < 30; round++)
        for (size_t size = 1; size < 3000; size += 13) {
            void *block = malloc(size);
            memset(block, 0xa5, size);
            free(block);
            CHECK(is_zero(block = calloc(1, size), size));
            free(block);
        }
}
CASE(calloc_zeroes_large_blocks_that_were_used, BOTH) {
    for (int round = 0; round < 3; round++)
        for (size_t size = 100000; size < 20 * MEBI; size = size * 3 / 2) {
            void *block = malloc(size);
            memset(block, 0xa5, size);
            free(block);
            CHECK(is_zero(block = calloc(size / 10, 10), size / 10 * 10));
            free(block);
        }
}
CASE(calloc_zeroes_after_a_trim, BOTH) {
    static void *blocks[1000];
    for (size_t i = 0; i < COUNT(blocks); i++) memset(blocks[i] = malloc(20000), 0xa5, 20000);
    for (size_t i = 0; i < COUNT(blocks); i += 2) free(blocks[i]);
    malloc_trim(0);
    for (size_t i = 0; i < COUNT(blocks); i += 2) CHECK(is_zero(blocks[i] = calloc(1, 20000), 20000));
}
CASE(calloc_aligns_as_malloc_does, BOTH) {
    for (size_t size = 16; size < 5000; size++) CHECK(is_aligned(calloc(1, size), 16));
}
CASE(calloc_leaves_errno_where_it_succeeds, BOTH) {
    errno = 77;
    for (size_t size = 1; size < 40 * MEBI; size *= 5) CHECK(calloc(size, 1) != NULL && errno == 77);
}

/* realloc */

CASE(realloc_of_null_allocates, BOTH) { CHECK(realloc(hidden_pointer(NULL), 100) != NULL); }
CASE(realloc_of_null_to_nothing_allocates, BOTH) { CHECK(realloc(hidden_pointer(NULL), hidden(0)) != NULL); }
CASE(realloc_to_nothing_frees, BOTH) {
    for (int i = 0; i < 3000; i++) {
        void *block = malloc(MEBI);
        memset(block, 1, 5000);
        errno = 77;
        CHECK(realloc(block, hidden(0)) == NULL && errno == 77);
    }
    CHECK(resident_kib() < 64 << 10);
}
CASE(realloc_that_grows_keeps_the_content, BOTH) {
    for (size_t from = 1; from < 4 * MEBI; from *= 3)
        for (size_t to = from; to < 12 * MEBI; to *= 3) {
            void *block = malloc(from);
            fill(block, 5, from);
            CHECK((block = realloc(block, to)) != NULL && holds(block, 5, from));
            memset(block, 1, to);
            free(block);
        }
}
CASE(realloc_that_shrinks_keeps_the_content, BOTH) {
    for (size_t from = 4 * MEBI; from > 1; from /= 3)
        for (size_t to = from; to > 0; to /= 3) {
            void *block = malloc(from);
            fill(block, 5, from);
            CHECK((block = realloc(block, to)) != NULL && holds(block, 5, to));
            free(block);
        }
}
CASE(realloc_byte_by_byte_keeps_the_content, BOTH) {
    char *block = NULL;
    for (size_t size = 1; size < 60000; size++) {
        CHECK((block = realloc(block, size)) != NULL);
        block[size - 1] = (char)size;
    }
    for (size_t size = 1; size < 60000; size++) CHECK(block[size - 1] == (char)size);
}
CASE(realloc_that_fails_keeps_the_block, BOTH) {
    for (size_t size = 1; size < 8 * MEBI; size *= 9)
        for (size_t i = 0; i < COUNT(impossible); i++) {
            void *block = malloc(size);
            fill(block, 3, size);
            FAILS_WITH(ENOMEM, realloc(block, hidden(impossible[i])));
            CHECK(holds(block, 3, size));
            free(block);
        }
}
CASE(realloc_of_an_aligned_block_keeps_the_content, BOTH) {
    for (size_t align = 16; align <= MEBI; align *= 4) {
        void *block = memalign(align, 1000);
        fill(block, 9, 1000);
        CHECK((block = realloc(block, 3 * MEBI)) != NULL && holds(block, 9, 1000));
        CHECK((block = realloc(block, 17)) != NULL && holds(block, 9, 17) && is_aligned(block, 16));
        free(block);
    }
}
CASE(realloc_leaves_errno_where_it_succeeds, BOTH) {
    void *block = NULL;
    errno = 77;
    for (size_t size = 1; size < 40 * MEBI; size *= 2) CHECK((block = realloc(block, size)) != NULL && errno == 77);
    for (size_t size = 40 * MEBI; size > 0; size /= 2) CHECK((block = realloc(block, size)) != NULL && errno == 77);
}
CASE(realloc_within_the_usable_size_does_not_move, STRATA) { /* glibc: since 2.38 */
    for (size_t size = 1; size < 3 * MEBI; size += 1 + size / 9) {
        void *block = malloc(size);
        size_t usable = malloc_usable_size(block);
        CHECK(realloc(block, usable) == block && malloc_usable_size(block) == usable);
        free(block);
    }
}
CASE(realloc_gives_large_memory_back_when_it_shrinks, BOTH) {
    char *block = malloc(200 * MEBI);
    memset(block, 1, 200 * MEBI);
    CHECK((block = realloc(block, 1000)) != NULL);
    malloc_trim(0);
    CHECK(resident_kib() < 64 << 10);
}
CASE(reallocarray_refuses_products_that_are_no_size, BOTH) {
    void *block = malloc(10);
    fill(block, 1, 10);
    FAILS_WITH(ENOMEM, reallocarray(block, hidden(SIZE_MAX / 2), 4));
    CHECK(holds(block, 1, 10));
}
CASE(reallocarray_grows_blocks_of_malloc, BOTH) {
    void *block = malloc(10);
    fill(block, 1, 10);
    CHECK((block = reallocarray(block, 1000, 1000)) != NULL && holds(block, 1, 10));
    free(block);
}

/* Alignment */

CASE(aligned_alloc_takes_every_power_of_two, BOTH) {
    for (size_t align = 1; align <= 64 * MEBI; align *= 2) {
        void *block = aligned_alloc(hidden(align), 100);
        CHECK(block != NULL && is_aligned(block, align));
        memset(block, 1, 100);
        free(block);
    }
}
CASE(aligned_alloc_takes_sizes_that_are_no_multiple, BOTH) { CHECK(is_aligned(aligned_alloc(256, hidden(257)), 256)); }
CASE(aligned_alloc_of_nothing_is_a_block, BOTH) { CHECK(aligned_alloc(64, hidden(0)) != NULL); }
CASE(aligned_alloc_refuses_alignments_that_are_no_power_of_two, STRATA) { /* glibc: since 2.38 */
    const size_t bad[] = {0, 3, 12, 48, 4097, SIZE_MAX};
    for (size_t i = 0; i < COUNT(bad); i++) FAILS_WITH(EINVAL, aligned_alloc(hidden(bad[i]), 8));
}
CASE(aligned_alloc_of_impossible_sizes_fails_with_enomem, BOTH) {
    for (size_t i = 0; i < COUNT(impossible); i++)
        for (size_t align = 8; align <= MEBI; align *= 16) FAILS_WITH(ENOMEM, aligned_alloc(align, hidden(impossible[i])));
}
CASE(aligned_alloc_with_an_impossible_alignment_fails_with_enomem, BOTH) { FAILS_WITH(ENOMEM, aligned_alloc(hidden((size_t)1 << 62), 8)); }
CASE(posix_memalign_takes_every_power_of_two_from_a_pointer_on, BOTH) {
    for (size_t align = sizeof(void *); align <= 64 * MEBI; align *= 2) {
        void *block = NULL;
        CHECK(posix_memalign(&block, align, 300) == 0 && is_aligned(block, align));
        memset(block, 1, 300);
        free(block);
    }
}
CASE(posix_memalign_refuses_other_alignments, BOTH) {
    const size_t bad[] = {0, 1, 2, 4, 3, 12, 24, 4097, SIZE_MAX};
    for (size_t i = 0; i < COUNT(bad); i++) {
        void *out = &out;
        CHECK(posix_memalign(&out, hidden(bad[i]), 8) == EINVAL && out == &out);
    }
}
CASE(posix_memalign_answers_enomem_and_leaves_the_pointer, BOTH) {
    for (size_t i = 0; i < COUNT(impossible); i++) {
        void *out = &out;
        CHECK(posix_memalign(&out, 64, hidden(impossible[i])) == ENOMEM && out == &out);
    }
}
CASE(posix_memalign_sets_errno_where_memory_has_run_out_alone, BOTH) {
    void *out;
    errno = 77;
    CHECK(posix_memalign(&out, hidden(3), 8) == EINVAL && errno == 77);
    CHECK(posix_memalign(&out, 64, 100) == 0 && errno == 77);
    CHECK(posix_memalign(&out, 64, hidden(SIZE_MAX)) == ENOMEM && errno == ENOMEM);
}
CASE(posix_memalign_of_nothing_can_be_freed, BOTH) {
    void *out = NULL;
    CHECK(posix_memalign(&out, 64, hidden(0)) == 0);
    free(out);
}
CASE(memalign_rounds_alignments_up, BOTH) {
    CHECK(is_aligned(memalign(hidden(48), 100), 64));
    CHECK(is_aligned(memalign(hidden(3000), 100), 4096));
    CHECK(memalign(hidden(0), 100) != NULL && memalign(hidden(1), 100) != NULL);
}
CASE(memalign_refuses_alignments_that_cannot_be_rounded_up, BOTH) { FAILS_WITH(EINVAL, memalign(hidden(SIZE_MAX), 8)); }
CASE(memalign_blocks_do_not_overlap, BOTH) {
    static void *blocks[600];
    for (unsigned i = 0; i < COUNT(blocks); i++) fill(blocks[i] = memalign((size_t)8 << i % 12, i * 9), i, i * 9);
    for (unsigned i = 0; i < COUNT(blocks); i++) CHECK(holds(blocks[i], i, i * 9) && is_aligned(blocks[i], (size_t)8 << i % 12));
}
CASE(alignments_of_up_to_a_gibibyte, BOTH) {
    for (size_t align = 64 * MEBI; align <= 1024 * (size_t)MEBI; align *= 2)
        for (size_t size = 0; size <= 100 * MEBI; size = size * 50 + 3) {
            void *blocks[3] = {aligned_alloc(align, size), memalign(align, size), NULL};
            CHECK(posix_memalign(&blocks[2], align, size) == 0);
            for (int i = 0; i < 3; i++) {
                size_t usable = malloc_usable_size(blocks[i]);
                CHECK(blocks[i] != NULL && is_aligned(blocks[i], align) && usable >= size);
                if (usable > 0) ((char *)blocks[i])[0] = ((char *)blocks[i])[usable - 1] = (char)i;
            }
            CHECK(size == 0 || *(char *)(blocks[0] = realloc(blocks[0], size + 1)) == 0);
            for (int i = 0; i < 3; i++) free(blocks[i]);
        }
}
CASE(valloc_begins_with_a_page, BOTH) {
    for (size_t size = 0; size < 100000; size = size * 3 + 1) CHECK(is_aligned(valloc(size), (size_t)sysconf(_SC_PAGESIZE)));
}
CASE(pvalloc_is_whole_pages, BOTH) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 1; size < 100000; size = size * 3 + 1) {
        size_t pages = (size + page - 1) / page * page;
        void *block = pvalloc(size);
        CHECK(is_aligned(block, page) && malloc_usable_size(block) >= pages);
        memset(block, 1, pages);
    }
    CHECK(pvalloc(hidden(0)) != NULL);
}
CASE(pvalloc_refuses_what_cannot_be_rounded_up, BOTH) { FAILS_WITH(ENOMEM, pvalloc(hidden(SIZE_MAX - 100))); }
CASE(valloc_of_impossible_sizes_fails_with_enomem, BOTH) {
    for (size_t i = 0; i < COUNT(impossible); i++) FAILS_WITH(ENOMEM, valloc(hidden(impossible[i])));
}

/* Sizes */

CASE(usable_size_of_null_is_0, BOTH) { CHECK(malloc_usable_size(hidden_pointer(NULL)) == 0); }
CASE(usable_size_is_no_less_than_what_was_asked_for, BOTH) {
    for (size_t size = 0; size < 30 * MEBI; size += size / 30 + 1) {
        void *block = malloc(size);
        CHECK(malloc_usable_size(block) >= size);
        free(block);
    }
}
CASE(usable_size_of_every_size_to_a_mebibyte_can_be_written, BOTH) {
    enum { AT_A_TIME = 16 };
    unsigned char *blocks[AT_A_TIME] = {0};
    size_t sizes[AT_A_TIME];
    for (size_t size = 0; size <= MEBI; size += size < 70000 ? 1 : 37) {
        size_t i = size % AT_A_TIME;
        if (blocks[i] != NULL && sizes[i] > 0) CHECK(blocks[i][0] == (unsigned char)sizes[i] && blocks[i][sizes[i] - 1] == (unsigned char)sizes[i]);
        free(blocks[i]);
        CHECK((blocks[i] = malloc(size)) != NULL && (sizes[i] = malloc_usable_size(blocks[i])) >= size);
        if (sizes[i] > 0) blocks[i][0] = blocks[i][sizes[i] - 1] = (unsigned char)sizes[i];
    }
}
CASE(usable_size_can_be_written_to_the_end, BOTH) {
    static void *blocks[3000];
    for (unsigned i = 0; i < COUNT(blocks); i++) {
        blocks[i] = i % 3 == 0 ? memalign(128, i * 5) : i % 3 == 1 ? calloc(i, 5) : realloc(malloc(1), i * 5 + 1);
        fill(blocks[i], i, malloc_usable_size(blocks[i]));
    }
    for (unsigned i = 0; i < COUNT(blocks); i++) {
        CHECK(holds(blocks[i], i, malloc_usable_size(blocks[i])));
        free(blocks[i]);
    }
}
CASE(usable_size_of_large_blocks_can_be_written_to_the_end, BOTH) {
    for (size_t size = 200000; size < 20 * MEBI; size = size * 5 / 4) {
        void *block = malloc(size);
        memset(block, 1, malloc_usable_size(block));
        free(block);
    }
}
CASE(free_sized_takes_blocks_of_malloc_calloc_and_realloc, STRATA) {
    for (size_t size = 0; size < 3 * MEBI; size += 1 + size / 20) {
        free_sized(malloc(size), size);
        free_sized(calloc(1, size), size);
        free_sized(realloc(malloc(10), size + 1), size + 1);
    }
}
CASE(free_sized_of_null_does_nothing, STRATA) {
    free_sized(hidden_pointer(NULL), 10);
    free_aligned_sized(hidden_pointer(NULL), 64, 10);
}
CASE(free_aligned_sized_takes_blocks_of_aligned_alloc, STRATA) {
    for (size_t align = 8; align <= MEBI; align *= 2)
        for (size_t size = 1; size < 3 * MEBI; size *= 3) {
            void *block = aligned_alloc(align, size);
            memset(block, 1, size);
            free_aligned_sized(block, align, size);
        }
}
CASE(free_sized_keeps_errno, STRATA) {
    for (size_t size = 1; size < 100 * MEBI; size *= 3) {
        void *block = malloc(size);
        errno = 77;
        free_sized(block, size);
        CHECK(errno == 77);
    }
}
CASE(nallocx_is_the_size_of_the_block, STRATA) {
    for (size_t size = 1; size < 4 * MEBI; size += 1 + size / 10) {
        void *block = malloc(size);
        CHECK(nallocx(size, 0) == malloc_usable_size(block));
        free(block);
    }
}
CASE(nallocx_never_falls, STRATA) {
    for (size_t size = 1, last = 0; size < 4 * MEBI; size += 1 + size / 50) {
        CHECK(nallocx(size, 0) >= last);
        last = nallocx(size, 0);
    }
}
CASE(nallocx_of_what_cannot_be_is_0, STRATA) {
    for (size_t i = 0; i < COUNT(impossible); i++) CHECK(nallocx(hidden(impossible[i]), 0) == 0);
    CHECK(nallocx(8, MALLOCX_LG_ALIGN(62)) == 0);
}
/* jemalloc's MALLOCX_ZERO, MALLOCX_TCACHE_NONE, MALLOCX_TCACHE(3), MALLOCX_ARENA(5). */
static const int flags_without_meaning[] = {0, 0x40, 1 << 8, 5 << 8, 6 << 20, 0x40 | 1 << 8 | 6 << 20};
CASE(nallocx_and_sdallocx_with_every_alignment_and_flag, STRATA) {
    for (int lg_align = 0; lg_align < 25; lg_align++)
        for (size_t size = 1; size < 3 * MEBI; size = size * 5 + 1)
            for (size_t i = 0; i < COUNT(flags_without_meaning); i++) {
                int flags = MALLOCX_LG_ALIGN(lg_align) | flags_without_meaning[i];
                void *block = aligned_alloc((size_t)1 << lg_align, size);
                size_t rounded = nallocx(size, flags);
                CHECK(block != NULL && rounded == malloc_usable_size(block));
                sdallocx(block, i % 2 ? size : rounded, flags);
            }
    for (int lg_align = 48; lg_align < 64; lg_align++)
        for (size_t i = 0; i < COUNT(flags_without_meaning); i++) CHECK(nallocx(8, lg_align | flags_without_meaning[i]) == 0);
}
CASE(sdallocx_takes_any_size_up_to_the_rounded_one, STRATA) {
    for (size_t size = 1; size < 2 * MEBI; size += 1 + size / 10) {
        sdallocx(malloc(size), size, 0);
        sdallocx(malloc(size), nallocx(size, 0), 0);
        sdallocx(aligned_alloc(4096, size), size, MALLOCX_LG_ALIGN(12));
        sdallocx(aligned_alloc(4096, size), nallocx(size, MALLOCX_ALIGN(4096)), MALLOCX_ALIGN(4096));
    }
}
CASE(mallocx_has_every_alignment_and_is_zero_where_it_shall, STRATA) {
    for (int lg_align = 0; lg_align < 22; lg_align++)
        for (size_t size = 1; size < 3 * MEBI; size = size * 5 + 1)
            for (size_t i = 0; i < COUNT(flags_without_meaning); i++) {
                int flags = MALLOCX_LG_ALIGN(lg_align) | flags_without_meaning[i];
                unsigned char *block = mallocx(size, flags);
                CHECK(block != NULL && is_aligned(block, (size_t)1 << lg_align));
                CHECK(sallocx(block, flags) == nallocx(size, flags) && sallocx(block, 0) == malloc_usable_size(block));
                if (flags & MALLOCX_ZERO) CHECK(is_zero(block, sallocx(block, 0)));
                fill(block, 3, sallocx(block, 0));
                i % 2 ? dallocx(block, flags) : sdallocx(block, size, flags);
            }
    for (size_t i = 0; i < COUNT(impossible); i++) {
        errno = 0;
        CHECK(mallocx(hidden(impossible[i]), 0) == NULL && errno == ENOMEM);
        CHECK(mallocx(hidden(impossible[i]), MALLOCX_ZERO) == NULL);
    }
    CHECK(mallocx(8, MALLOCX_LG_ALIGN(62)) == NULL);
}
CASE(rallocx_keeps_what_there_was_and_zeroes_what_comes, STRATA) {
    for (int lg_align = 0; lg_align < 14; lg_align += 3)
        for (size_t size = 1; size < MEBI; size = size * 3 + 5)
            for (size_t other = 1; other < 2 * MEBI; other = other * 7 + 3) {
                int flags = MALLOCX_LG_ALIGN(lg_align);
                void *block = mallocx(size, flags);
                size_t before = sallocx(block, flags), least = before < other ? before : other;
                fill(block, 5, before);
                block = rallocx(block, other, flags | MALLOCX_ZERO);
                CHECK(block != NULL && is_aligned(block, (size_t)1 << lg_align) && sallocx(block, 0) >= other);
                CHECK(holds(block, 5, least));
                if (sallocx(block, 0) > before) CHECK(is_zero((char *)block + before, sallocx(block, 0) - before));
                block = rallocx(block, size, flags);
                CHECK(block != NULL && holds(block, 5, size < least ? size : least));
                dallocx(block, flags);
            }
    for (int lg_align = 5; lg_align < 24; lg_align++)
        for (size_t size = 1; size < 2 * MEBI; size = size * 6 + 7) {
            void *other = malloc(size), *block = malloc(size);
            fill(block, 9, size);
            block = rallocx(block, size, MALLOCX_LG_ALIGN(lg_align));
            CHECK(block != NULL && is_aligned(block, (size_t)1 << lg_align) && holds(block, 9, size));
            dallocx(block, 0), free(other);
            block = mallocx(1, MALLOCX_LG_ALIGN(lg_align % 9) | MALLOCX_ZERO), other = malloc(1);
            fill(other, 3, malloc_usable_size(other)), free(other);
            block = rallocx(block, 1, MALLOCX_LG_ALIGN(lg_align) | MALLOCX_ZERO);
            CHECK(block != NULL && is_zero(block, sallocx(block, 0)));
            dallocx(block, 0);
        }
    void *block = mallocx(100, 0);
    fill(block, 1, 100), errno = 0;
    CHECK(rallocx(block, hidden(SIZE_MAX / 2), 0) == NULL && errno == ENOMEM && holds(block, 1, 100));
    free(block);
}
CASE(xallocx_leaves_the_block_and_says_its_size, STRATA) {
    for (size_t size = 1; size < 2 * MEBI; size = size * 3 + 1) {
        void *block = malloc(size);
        size_t usable = malloc_usable_size(block);
        CHECK(xallocx(block, size, 0, 0) == usable && xallocx(block, 4 * size, MEBI, 0) == usable && xallocx(block, 1, 0, 0) == usable);
        free(block);
    }
}
CASE(blocks_with_flags_and_without_are_of_one_heap, STRATA) {
    free(mallocx(100, 0)), dallocx(malloc(100), 0), free(mallocx(MEBI, MALLOCX_ALIGN(4096))), dallocx(malloc(MEBI), 0);
    dallocx(realloc(mallocx(100, 0), 1000), 0), free(rallocx(malloc(100), 1000, 0));
}
CASE(cfree_is_free, STRATA) { cfree(malloc(100)), cfree(malloc(MEBI)), cfree(hidden_pointer(NULL)); }

/* glibc's second names */

CASE(libc_malloc_and_free_are_the_same_allocator, BOTH) {
    free(__libc_malloc(100)), __libc_free(malloc(100));
    free(__libc_malloc(MEBI)), __libc_free(malloc(MEBI));
}
CASE(libc_calloc_is_calloc, BOTH) {
    void *block = __libc_calloc(10, 100);
    CHECK(is_zero(block, 1000));
    free(block);
}
CASE(libc_realloc_is_realloc, BOTH) {
    void *block = malloc(100);
    fill(block, 1, 100);
    CHECK(holds(block = __libc_realloc(block, 10000), 1, 100) && holds(block = realloc(block, 50), 1, 50));
    free(block);
}
CASE(libc_memalign_valloc_and_pvalloc_are_the_same_allocator, BOTH) {
    void *block = __libc_memalign(256, 100);
    CHECK(is_aligned(block, 256));
    free(block), free(__libc_valloc(100)), free(__libc_pvalloc(100));
}
CASE(libc_mallinfo_and_mallopt_are_the_same_allocators, BOTH) {
    void *block = malloc(64 * MEBI);
    CHECK(block != NULL && __libc_mallinfo().hblkhd == mallinfo().hblkhd && mallinfo().hblkhd >= 64 * MEBI);
    CHECK(__libc_mallopt(M_ARENA_MAX, 1) == 1);
}

/* Introspection */

static char text[1 << 20];

/* What a call writes to descriptor 2. */
static void capture(void (*call)(void)) {
    char name[] = "/tmp/strata-tap-XXXXXX";
    int file = mkstemp(name), saved = dup(2);
    CHECK(file >= 0 && unlink(name) == 0 && dup2(file, 2) == 2);
    call();
    fflush(stderr);
    dup2(saved, 2);
    ssize_t size = pread(file, text, sizeof(text) - 1, 0);
    CHECK(size >= 0);
    text[size] = 0;
}

static void read_info(void) {
    char *memory = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&memory, &size);
    CHECK(stream != NULL && malloc_info(0, stream) == 0 && fclose(stream) == 0 && size < sizeof(text));
    memcpy(text, memory, size + 1);
    free(memory);
}

/* The number in the last line that begins so. */
static size_t number_behind(const char *begin) {
    size_t number = 0;
    int found = 0;
    for (char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, begin, strlen(begin)) == 0) found = sscanf(line + strlen(begin), "%zu", &number);
    }
    CHECK(found == 1);
    return number;
}

static void *kept[4000];
static size_t kept_bytes;
static void keep_some(void) {
    for (size_t i = 0; i < COUNT(kept); i++) {
        kept[i] = malloc(i % 3000 + 1);
        kept_bytes += malloc_usable_size(kept[i]);
    }
    for (size_t i = 0; i < COUNT(kept); i += 3) {
        kept_bytes -= malloc_usable_size(kept[i]);
        free(kept[i]);
    }
}

CASE(malloc_stats_has_glibcs_lines_on_stderr, BOTH) {
    keep_some();
    capture(malloc_stats);
    const char *last = text;
    const char *lines[] = {"Arena 0:\nsystem bytes     = ", "\nin use bytes     = ", "\nTotal (incl. mmap):\nsystem bytes     = ",
                           "\nin use bytes     = ", "\nmax mmap regions = ", "\nmax mmap bytes   = "};
    for (size_t i = 0; i < COUNT(lines); i++) CHECK((last = strstr(last, lines[i])) != NULL && (last += strlen(lines[i])));
    CHECK(strchr(last, '\n') == text + strlen(text) - 1);
    CHECK(number_behind("system bytes     = ") >= number_behind("in use bytes     = "));
}
CASE(malloc_stats_counts_what_is_in_use, BOTH) {
    keep_some();
    capture(malloc_stats);
    size_t used = number_behind("in use bytes     = ");
    CHECK(used >= kept_bytes && used <= kept_bytes + kept_bytes / 2);
}
CASE(malloc_stats_counts_blocks_beyond_4_gib, STRATA) { /* glibc: 32 bits */
    CHECK(malloc((size_t)6 << 30) != NULL);
    capture(malloc_stats);
    CHECK(number_behind("system bytes     = ") >= (size_t)6 << 30);
    CHECK(number_behind("in use bytes     = ") >= (size_t)6 << 30);
    CHECK(number_behind("max mmap bytes   = ") >= (size_t)6 << 30);
}
CASE(malloc_stats_bears_that_stderr_is_closed, BOTH) {
    free(malloc(10));
    close(2);
    malloc_stats();
    free(malloc(10));
}
CASE(malloc_stats_goes_where_the_stream_goes, BOTH) {
    char *memory = NULL;
    size_t size = 0;
    FILE *saved = stderr;
    stderr = open_memstream(&memory, &size);
    malloc_stats();
    fclose(stderr);
    stderr = saved;
    CHECK(strncmp(memory, "Arena 0:\n", 9) == 0);
}
static atomic_int went_on;
static void *is_cancelled_after(void *call) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cancel(pthread_self());
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    ((void (*)(void))call)();
    went_on = 1;
    pthread_testcancel();
    return NULL;
}
static void cancel_a_thread_before(void (*call)(void)) {
    pthread_t thread;
    void *result = NULL;
    CHECK(pthread_create(&thread, NULL, is_cancelled_after, call) == 0 && pthread_join(thread, &result) == 0);
    CHECK(went_on && result == PTHREAD_CANCELED);
}
static void malloc_stats_in_a_thread(void) { cancel_a_thread_before(malloc_stats); }
CASE(malloc_stats_is_no_cancellation_point, BOTH) {
    capture(malloc_stats_in_a_thread);
    CHECK(strstr(text, "\nmax mmap bytes   = ") != NULL);
}
static void malloc_info_to_stderr(void) { malloc_info(0, stderr); }
static void malloc_info_in_a_thread(void) { cancel_a_thread_before(malloc_info_to_stderr); }
CASE(malloc_info_is_no_cancellation_point, STRATA) { /* glibc's writes a part of it, and keeps a lock */
    capture(malloc_info_in_a_thread);
    CHECK(strcmp(text + strlen(text) - 10, "</malloc>\n") == 0);
}
CASE(malloc_stats_before_the_first_block, BOTH) { malloc_stats(); }
CASE(malloc_info_is_well_formed, BOTH) {
    keep_some();
    read_info();
    CHECK(strncmp(text, "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n", 43) == 0);
    CHECK(strcmp(text + strlen(text) - 10, "</malloc>\n") == 0);
    char *open[20];
    int depth = 0;
    for (char *at = text; (at = strchr(at, '<')) != NULL;) {
        char *end = strchr(at, '>');
        CHECK(end != NULL && end[1] == '\n');
        if (at[1] == '/') CHECK(depth > 0 && strncmp(open[--depth] + 1, at + 2, (size_t)(end - at - 2)) == 0);
        else if (end[-1] != '/') CHECK((open[depth++] = at) != NULL && depth < 20);
        at = end;
    }
    CHECK(depth == 0);
}
CASE(malloc_info_refuses_options_and_leaves_errno_alone, BOTH) {
    errno = 77;
    CHECK(malloc_info(1, stdout) == EINVAL && errno == 77);
}
CASE(malloc_info_leaves_errors_to_the_stream, BOTH) {
    FILE *full = fopen("/dev/full", "w");
    setvbuf(full, NULL, _IONBF, 0);
    CHECK(malloc_info(0, full) == 0 && ferror(full));
}
CASE(malloc_info_leaves_fclose_something_to_fail_with, BOTH) {
    FILE *full = fopen("/dev/full", "w");
    CHECK(malloc_info(0, full) == 0 && fclose(full) == EOF && errno == ENOSPC);
}
CASE(malloc_info_leaves_fclose_something_to_fail_with_whatever_the_buffer, STRATA) { /* glibc: unless the last word fills it */
    for (size_t bytes = 64; bytes <= 1 << 15; bytes = bytes * 5 / 4) {
        FILE *full = fopen("/dev/full", "w");
        char *buffer = malloc(bytes);
        CHECK(setvbuf(full, buffer, _IOFBF, bytes) == 0);
        CHECK(malloc_info(0, full) == 0 && fclose(full) == EOF);
        free(buffer);
    }
}
CASE(malloc_info_to_streams_of_all_kinds, BOTH) {
    char small[100];
    FILE *streams[] = {fmemopen(small, sizeof(small), "w"), popen("cat >/dev/null", "w"), tmpfile(), fopen("/dev/null", "r")};
    for (size_t i = 0; i < COUNT(streams); i++) {
        flockfile(streams[i]);
        CHECK(malloc_info(0, streams[i]) == 0);
        funlockfile(streams[i]);
        if (i == 1) CHECK(pclose(streams[i]) == 0);
        else fclose(streams[i]);
    }
}
/* A hardened heap's blocks are as large as was asked for, and stand in slots with canaries, which are in use. */
static size_t slack_of_slots(void) {
    const char *conf = getenv("STRATA_CONF");
    return conf != NULL && strstr(conf, "hardened:true") != NULL ? kept_bytes / 5 : 0;
}
CASE(malloc_info_current_less_free_is_in_use, STRATA) { /* glibc: but for a byte a chunk */
    keep_some();
    read_info();
    size_t current = number_behind("<system type=\"current\" size=\"");
    char *fast = strstr(text, "<total type=\"fast\""), *rest = strstr(text, "<total type=\"rest\"");
    size_t count, fast_bytes, rest_bytes;
    CHECK(sscanf(fast, "<total type=\"fast\" count=\"%zu\" size=\"%zu\"", &count, &fast_bytes) == 2);
    CHECK(sscanf(rest, "<total type=\"rest\" count=\"%zu\" size=\"%zu\"", &count, &rest_bytes) == 2);
    size_t used = current - (fast_bytes + rest_bytes);
    CHECK(used >= kept_bytes && used < kept_bytes + 40000 + slack_of_slots()); /* the stream's buffers */
}
CASE(malloc_info_sums_its_heaps, BOTH) {
    keep_some();
    read_info();
    size_t sum = 0, root = 0;
    for (char *at = text; (at = strstr(at, "<system type=\"current\" size=\"")) != NULL; at++) sum += root, root = strtoul(at + 29, NULL, 10);
    CHECK(sum == root && root > 0);
}
CASE(malloc_info_agrees_with_mallinfo2, BOTH) {
    keep_some();
    free(malloc(100 * MEBI));
    CHECK(malloc(20 * MEBI) != NULL);
    read_info();
    struct mallinfo2 info = mallinfo2();
    size_t current = number_behind("<system type=\"current\" size=\"");
    CHECK(current <= info.arena + 100000 && info.arena <= current + 100000);
    char *mapped = strstr(text, "<total type=\"mmap\"");
    size_t count = 0, bytes = 0;
    CHECK(sscanf(mapped, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"", &count, &bytes) == 2);
    CHECK(count == info.hblks && bytes == info.hblkhd);
}
CASE(malloc_info_peak_is_no_less_than_current, BOTH) {
    keep_some();
    read_info();
    CHECK(number_behind("<system type=\"max\" size=\"") >= number_behind("<system type=\"current\" size=\""));
    CHECK(number_behind("<aspace type=\"total\" size=\"") >= number_behind("<aspace type=\"mprotect\" size=\""));
}
CASE(mallinfo2_follows_small_blocks, BOTH) {
    struct mallinfo2 before = mallinfo2();
    keep_some();
    struct mallinfo2 after = mallinfo2();
    size_t grown = after.uordblks - before.uordblks;
    CHECK(grown >= kept_bytes && grown < kept_bytes + kept_bytes / 5);
    CHECK(after.arena == after.uordblks + after.fordblks && after.fsmblks <= after.fordblks);
}
CASE(mallinfo2_counts_large_blocks_apart, BOTH) {
    struct mallinfo2 before = mallinfo2();
    void *blocks[3];
    for (int i = 0; i < 3; i++) blocks[i] = malloc(64 * MEBI);
    struct mallinfo2 during = mallinfo2();
    CHECK(during.hblks == before.hblks + 3);
    CHECK(during.hblkhd - before.hblkhd >= 192 * MEBI && during.hblkhd - before.hblkhd < 193 * MEBI);
    for (int i = 0; i < 3; i++) free(blocks[i]);
    struct mallinfo2 after = mallinfo2();
    CHECK(after.hblks == before.hblks && after.hblkhd == before.hblkhd);
}
CASE(mallinfo2_counts_blocks_beyond_4_gib, BOTH) {
    void *block = malloc((size_t)6 << 30);
    CHECK(block == NULL || mallinfo2().hblkhd >= (size_t)6 << 30);
}
CASE(mallinfo_stops_at_int_max, STRATA) { /* glibc's wraps */
    void *block = malloc((size_t)6 << 30);
    CHECK(block == NULL || mallinfo().hblkhd == INT_MAX);
}
CASE(mallinfo_is_mallinfo2_where_it_fits, BOTH) {
    keep_some();
    struct mallinfo2 large = mallinfo2();
    struct mallinfo small = mallinfo();
    CHECK((size_t)small.arena == large.arena && (size_t)small.uordblks == large.uordblks);
    CHECK((size_t)small.fordblks == large.fordblks && (size_t)small.hblkhd == large.hblkhd);
}
CASE(mallinfo2_before_the_first_block, BOTH) {
    struct mallinfo2 info = mallinfo2();
    CHECK(info.uordblks <= info.arena);
}
static atomic_int stop;
static void *churns(void *seed) {
    unsigned random = (unsigned)(uintptr_t)seed;
    while (!stop) {
        void *blocks[100];
        for (int i = 0; i < 100; i++) random = random * 1664525 + 1013904223, blocks[i] = malloc(random >> 8 & (i % 20 ? 0xfff : 0xfffff));
        for (int i = 0; i < 100; i++) free(blocks[i]);
    }
    return NULL;
}
CASE(figures_can_be_read_while_threads_allocate, BOTH) {
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, churns, (void *)(i + 1)) == 0);
    for (int i = 0; i < 200; i++) {
        read_info();
        CHECK(strcmp(text + strlen(text) - 10, "</malloc>\n") == 0);
        struct mallinfo2 info = mallinfo2();
        CHECK(info.arena < (size_t)1 << 33 && info.uordblks <= info.arena);
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

/* mallopt and malloc_trim */

CASE(mallopt_knows_that_there_are_no_more_arenas_than_one, BOTH) {
    CHECK(mallopt(M_ARENA_MAX, 1) == 1 && mallopt(M_ARENA_TEST, 1) == 1);
    free(malloc(100));
}
CASE(mallopt_says_what_it_does_not_do, STRATA) {
    const int none[] = {M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_PERTURB, 2, 3, 4, 99, -99, INT_MIN};
    for (size_t i = 0; i < COUNT(none); i++) CHECK(mallopt(none[i], 100) == 0);
}
CASE(mallopt_purges, STRATA) {
    char *block = malloc(100 * MEBI);
    memset(block, 1, 100 * MEBI);
    free(block);
    CHECK(mallopt(-101, 0) == 1 && resident_kib() < 32 << 10);
}
static void free_a_static(void) { free(text); }
CASE(mallopt_chooses_what_follows_a_misuse, STRATA) {
    CHECK(mallopt(M_CHECK_ACTION, 1) == 1 && mallopt(M_CHECK_ACTION, 0) == 0);
    free(malloc(10));
    capture(free_a_static);
    CHECK(strncmp(text, "strata: ", 8) == 0);
    CHECK(mallopt(M_CHECK_ACTION, 3) == 1);
    pid_t child = fork();
    if (child == 0) close(2), free_a_static(), _exit(0);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == 6);
}
CASE(malloc_trim_gives_memory_back, BOTH) {
    static char *blocks[20000];
    for (size_t i = 0; i < COUNT(blocks); i++) memset(blocks[i] = malloc(5000), 1, 5000);
    long full = resident_kib();
    for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
    CHECK(malloc_trim(0) == 1 && resident_kib() < full / 4);
}
CASE(the_longest_block_so_far_is_given_back_when_it_is_freed, BOTH) {
    char *block = hidden_pointer(malloc(64 * MEBI));
    memset(block, 1, 64 * MEBI);
    long full = resident_kib();
    free(block);
    CHECK(resident_kib() < full / 4);
}
CASE(a_block_that_was_given_back_when_it_was_freed_is_not_said_to_be_there, STRATA) {
    const char *conf = getenv("STRATA_CONF");
    if (conf != NULL && strstr(conf, "hardened:true") != NULL) return; /* there it waits */
    malloc_trim(0);
    struct mallinfo2 before = mallinfo2();
    char *block = hidden_pointer(malloc(16 * MEBI));
    memset(block, 1, 16 * MEBI);
    free(block);
    struct mallinfo2 after = mallinfo2();
    CHECK(after.arena + after.hblkhd < before.arena + before.hblkhd + MEBI && after.fordblks < before.fordblks + MEBI);
    CHECK(malloc_trim(0) == 0 || malloc_trim(0) == 0);
}
CASE(what_a_stale_pointer_left_in_the_longest_block_is_not_in_a_zeroed_one, STRATA) {
    const char *conf = getenv("STRATA_CONF");
    if (conf != NULL && strstr(conf, "hardened:true") != NULL) return; /* there it cannot be written */
    char *block = hidden_pointer(malloc(8 * MEBI));
    memset(block, 1, 8 * MEBI);
    free(block);
    block[5 * MEBI] = 1;
    char *zeroed = calloc(1, 8 * MEBI);
    for (size_t i = 0; i < 8 * MEBI; i++) CHECK(zeroed[i] == 0);
    free(zeroed);
}
CASE(what_a_stale_pointer_left_in_the_longest_block_is_in_no_part_of_it, STRATA) {
    const char *conf = getenv("STRATA_CONF");
    if (conf != NULL && strstr(conf, "hardened:true") != NULL) return;
    char *block = hidden_pointer(malloc(8 * MEBI)), *parts[12];
    memset(block, 1, 8 * MEBI);
    free(block);
    for (size_t at = 4096; at < 8 * MEBI; at += MEBI / 4) block[at] = 1;
    for (size_t i = 0; i < COUNT(parts); i++) CHECK(is_zero(parts[i] = calloc(1, 600 << 10), 600 << 10));
    for (size_t i = 0; i < COUNT(parts); i++) free(parts[i]);
}
CASE(malloc_trim_of_nothing_answers_0, BOTH) {
    malloc_trim(0);
    CHECK(malloc_trim(0) == 0 || malloc_trim(0) == 0);
}
CASE(malloc_trim_keeps_what_it_is_told_to, STRATA) { /* glibc: at the top of the heap alone */
    char *block = malloc(MEBI);
    memset(block, 1, MEBI);
    free(block);
    CHECK(malloc_trim(hidden(SIZE_MAX)) == 0 && malloc_trim(0) == 1);
}
CASE(malloc_trim_leaves_errno_alone, BOTH) {
    free(malloc(10 * MEBI));
    errno = 77;
    malloc_trim(0);
    CHECK(errno == 77);
}

/* What the C library allocates */

CASE(strdup_and_strndup, BOTH) { free(strdup("text")), free(strndup("text", 2)); }
CASE(asprintf_of_long_text, BOTH) {
    char *out = NULL;
    CHECK(asprintf(&out, "%0100000d", 7) == 100000);
    free(out);
}
CASE(getline_and_getdelim, BOTH) {
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    while (getline(&line, &room, file) > 0) continue;
    free(line);
    fclose(file);
}
CASE(open_memstream_grows, BOTH) {
    char *memory = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&memory, &size);
    for (int i = 0; i < 200000; i++) fprintf(stream, "%d ", i);
    fclose(stream);
    CHECK(size > 1000000);
    free(memory);
}
CASE(getcwd_and_realpath, BOTH) { free(getcwd(NULL, 0)), free(realpath("/", NULL)), free(get_current_dir_name()); }
static atomic_int is_over;
static void *reads_long_lines(void *name) {
    FILE *file = fopen(name, "r");
    while (!is_over) {
        char *line = NULL;
        size_t room = 0;
        rewind(file);
        CHECK(getline(&line, &room, file) > 0);
        free(line);
    }
    return fclose(file), NULL;
}
static void *flushes_all(void *unused) {
    while (!is_over) fflush(NULL), usleep(20);
    return NULL;
}
static void *forks(void *unused) {
    struct timespec now, start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        pid_t child = fork();
        if (child == 0) fflush(NULL), free(malloc(100000)), _exit(17);
        int status = 0;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 17);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - start.tv_sec < 2);
    return NULL;
}
CASE(fork_while_others_read_and_flush_streams, BOTH) { /* who holds the list of streams waits for one, who holds that for malloc */
    char name[] = "/tmp/strata-tap-XXXXXX";
    FILE *file = fdopen(mkstemp(name), "w");
    for (int i = 0; i < 50000; i++) fputc('x', file);
    fclose(file);
    alarm(300);
    pthread_t busy[4], forking[2];
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&busy[i], NULL, i == 0 ? flushes_all : reads_long_lines, name) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&forking[i], NULL, forks, NULL) == 0);
    for (int i = 0; i < 2; i++) pthread_join(forking[i], NULL);
    is_over = 1;
    for (int i = 0; i < 4; i++) pthread_join(busy[i], NULL);
    unlink(name);
}
CASE(scandir_hands_out_blocks, BOTH) {
    struct dirent **names = NULL;
    int count = scandir("/", &names, NULL, alphasort);
    CHECK(count > 0);
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
}
CASE(regcomp_and_regfree, BOTH) {
    regex_t regex;
    CHECK(regcomp(&regex, "(a|b)*c{1,20}", REG_EXTENDED) == 0 && regexec(&regex, "ababc", 0, NULL, 0) == 0);
    regfree(&regex);
}
CASE(qsort_of_much, BOTH) {
    static int numbers[500000];
    qsort(numbers, COUNT(numbers), sizeof(int), (int (*)(const void *, const void *))strcmp);
}
CASE(iconv_loads_and_goes, BOTH) {
    iconv_t converter = iconv_open("UTF-16", "UTF-8");
    if (converter != (iconv_t)-1) iconv_close(converter);
}
CASE(environment_grows, BOTH) {
    char name[20];
    for (int i = 0; i < 1000; i++) sprintf(name, "NAME%d", i), CHECK(setenv(name, "value", 1) == 0);
}

/* The library */

CASE(malloc_is_the_librarys_own, STRATA) {
    const char *names[] = {"malloc", "free", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign", "valloc", "pvalloc",
                           "malloc_usable_size", "malloc_trim", "malloc_stats", "malloc_info", "mallinfo", "mallinfo2", "mallopt",
                           "__libc_malloc", "__libc_free", "_Znwm", "_ZdlPv", "_ZdlPvm"};
    for (size_t i = 0; i < COUNT(names); i++) {
        Dl_info info;
        void *address = dlsym(RTLD_DEFAULT, names[i]);
        /* Linked, it is the program's, if that uses it. */
        if (address == NULL && getenv("LD_PRELOAD") == NULL) continue;
        CHECK(address != NULL && dladdr(address, &info) != 0);
        CHECK(strstr(info.dli_fname, "libc.so") == NULL && strstr(info.dli_fname, "libstdc++") == NULL);
    }
}
CASE(reallocarray_and_strdup_are_the_c_librarys, BOTH) {
    const char *names[] = {"reallocarray", "strdup", "getline", "asprintf"};
    for (size_t i = 0; i < COUNT(names); i++) {
        Dl_info info;
        void *address = dlsym(RTLD_DEFAULT, names[i]);
        CHECK(address != NULL && dladdr(address, &info) != 0 && strstr(info.dli_fname, "libc") != NULL);
    }
}
CASE(the_header_has_a_version, BOTH) { CHECK(STRATA_VERSION_MAJOR >= 0 && STRATA_VERSION_MINOR >= 0 && STRATA_VERSION_PATCH >= 0); }
