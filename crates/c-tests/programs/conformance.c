/* What C, POSIX and glibc's manual promise of malloc and its family. */
#define _GNU_SOURCE
#include "cases.h"
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <strata/strata.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);
void *__libc_memalign(size_t, size_t);
void *__libc_valloc(size_t);
void *__libc_pvalloc(size_t);
#pragma weak free_sized
#pragma weak free_aligned_sized
#pragma weak sdallocx
#pragma weak nallocx
#pragma weak cfree
#pragma weak __libc_malloc
#pragma weak __libc_calloc
#pragma weak __libc_realloc
#pragma weak __libc_free
#pragma weak __libc_memalign
#pragma weak __libc_valloc
#pragma weak __libc_pvalloc

static const size_t impossible[] = {
    (size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 4096,
    SIZE_MAX - (1 << 21), SIZE_MAX / 2 + 1, (size_t)1 << 62, (size_t)1 << 56, (size_t)1 << 48,
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int is_aligned(void *pointer, size_t align) { return (uintptr_t)pointer % align == 0; }

static void fill(void *pointer, unsigned char seed, size_t size) {
    for (size_t i = 0; i < size; i++) ((unsigned char *)pointer)[i] = (unsigned char)(seed + i);
}

static int is_filled(void *pointer, unsigned char seed, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (((unsigned char *)pointer)[i] != (unsigned char)(seed + i)) return 0;
    return 1;
}

static void zero_bytes_are_a_block_of_their_own(void) {
    void *blocks[100];
    for (int i = 0; i < 100; i++) {
        CHECK((blocks[i] = malloc(hidden(0))) != NULL);
        for (int j = 0; j < i; j++) CHECK(blocks[i] != blocks[j]);
    }
    for (int i = 0; i < 100; i++) free(blocks[i]);
    void *zeroed = calloc(hidden(0), 8);
    CHECK(zeroed != NULL);
    free(zeroed);
    void *aligned = NULL;
    CHECK(posix_memalign(&aligned, 64, hidden(0)) == 0 && aligned != NULL);
    free(aligned);
}

static void impossible_sizes_fail_with_enomem(void) {
    for (size_t i = 0; i < COUNT(impossible); i++) {
        size_t size = hidden(impossible[i]);
        errno = 0;
        CHECK(malloc(size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(calloc(1, size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(calloc(size, 1) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(realloc(NULL, size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(aligned_alloc(64, size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(memalign(4096, size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(valloc(size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(pvalloc(size) == NULL && errno == ENOMEM);
        void *out = &size;
        CHECK(posix_memalign(&out, 64, size) == ENOMEM && out == &size);
    }
}

static void impossible_alignments_fail(void) {
    errno = 0;
    CHECK(aligned_alloc(hidden((size_t)1 << 62), 8) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(memalign(hidden((size_t)1 << 62), 8) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(memalign(hidden(SIZE_MAX), 8) == NULL && errno == EINVAL);
    void *out = &out;
    CHECK(posix_memalign(&out, hidden((size_t)1 << 62), 8) == ENOMEM && out == &out);
}

static void calloc_refuses_products_that_wrap(void) {
    const size_t pairs[][2] = {{SIZE_MAX / 2 + 2, 2}, {2, SIZE_MAX / 2 + 2},
                               {SIZE_MAX, SIZE_MAX}, {(size_t)1 << 32, (size_t)1 << 32},
                               {((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1}};
    for (size_t i = 0; i < COUNT(pairs); i++) {
        errno = 0;
        CHECK(calloc(hidden(pairs[i][0]), hidden(pairs[i][1])) == NULL && errno == ENOMEM);
    }
}

static void calloc_is_zero_where_blocks_were_used_before(void) {
    for (int round = 0; round < 20; round++)
        for (size_t size = 1; size < 4 << 20; size = size * 5 / 4 + 1) {
            unsigned char *dirty = malloc(size);
            CHECK(dirty != NULL);
            memset(dirty, 0xa5, size);
            free(dirty);
            unsigned char *block = calloc(1, size);
            CHECK(block != NULL);
            for (size_t i = 0; i < size; i++) CHECK(block[i] == 0);
            memset(block, 0x5a, size);
            free(block);
        }
}

static void blocks_are_aligned_for_any_object_of_their_size(void) {
    for (size_t size = 0; size < 5000; size++) {
        size_t align = size > 8 ? 16 : 8;
        void *block = malloc(size), *zeroed = calloc(1, size), *grown = realloc(malloc(1), size + 1);
        CHECK(is_aligned(block, align) && is_aligned(zeroed, align));
        CHECK(is_aligned(grown, size + 1 > 8 ? 16 : 8));
        free(block);
        free(zeroed);
        free(grown);
    }
    for (size_t size = 5000; size < 8 << 20; size = size * 9 / 8) {
        void *block = malloc(size);
        CHECK(block != NULL && is_aligned(block, 16));
        free(block);
    }
}

static void aligned_blocks_are_aligned_and_writable(void) {
    for (size_t align = sizeof(void *); align <= (size_t)8 << 20; align *= 2)
        for (size_t size = 1; size < (size_t)3 << 20; size = size * 3 + 1) {
            void *block = NULL;
            CHECK(posix_memalign(&block, align, size) == 0 && is_aligned(block, align));
            memset(block, 1, size);
            CHECK(malloc_usable_size(block) >= size);
            free(block);
            CHECK((block = aligned_alloc(align, size)) != NULL && is_aligned(block, align));
            memset(block, 2, size);
            free(block);
            CHECK((block = memalign(align, size)) != NULL && is_aligned(block, align));
            memset(block, 3, size);
            free(block);
        }
}

static void aligned_blocks_do_not_overlap(void) {
    enum { BLOCKS = 600 };
    static unsigned char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        sizes[i] = 1 + (size_t)i * 37 % 5000;
        blocks[i] = memalign((size_t)8 << i % 12, sizes[i]);
        CHECK(blocks[i] != NULL && is_aligned(blocks[i], (size_t)8 << i % 12));
        fill(blocks[i], (unsigned char)i, sizes[i]);
    }
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(is_filled(blocks[i], (unsigned char)i, sizes[i]));
        free(blocks[i]);
    }
}

static void posix_memalign_refuses_bad_alignments(void) {
    const size_t bad[] = {0, 1, 2, 4, 3, 12, 24, 48, 4097, SIZE_MAX};
    for (size_t i = 0; i < COUNT(bad); i++) {
        void *out = &out;
        CHECK(posix_memalign(&out, hidden(bad[i]), 8) == EINVAL && out == &out);
    }
}

static void aligned_alloc_refuses_bad_alignments(void) {
    const size_t bad[] = {0, 3, 12, 24, 48, 4097, SIZE_MAX};
    for (size_t i = 0; i < COUNT(bad); i++) {
        errno = 0;
        CHECK(aligned_alloc(hidden(bad[i]), 8) == NULL && errno == EINVAL);
    }
}

static void aligned_alloc_takes_any_size(void) {
    void *block = aligned_alloc(64, hidden(65));
    CHECK(block != NULL && is_aligned(block, 64));
    free(block);
    CHECK((block = aligned_alloc(4096, hidden(1))) != NULL && is_aligned(block, 4096));
    free(block);
}

static void memalign_rounds_alignments_up(void) {
    void *block = memalign(hidden(48), 100);
    CHECK(block != NULL && is_aligned(block, 64));
    free(block);
    CHECK((block = memalign(hidden(0), 100)) != NULL);
    free(block);
    CHECK((block = memalign(hidden(3000), 100)) != NULL && is_aligned(block, 4096));
    free(block);
}

static void valloc_and_pvalloc_begin_with_a_page(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size < 50000; size = size * 2 + 1) {
        void *block = valloc(size), *whole = pvalloc(size);
        CHECK(block != NULL && is_aligned(block, page));
        CHECK(whole != NULL && is_aligned(whole, page));
        size_t pages = (size + page - 1) / page * page;
        memset(whole, 1, pages);
        CHECK(malloc_usable_size(whole) >= pages);
        free(block);
        free(whole);
    }
    errno = 0;
    CHECK(pvalloc(hidden(SIZE_MAX - 100)) == NULL && errno == ENOMEM);
}

static void usable_size_is_usable_to_its_end(void) {
    CHECK(malloc_usable_size(NULL) == 0);
    static unsigned char *blocks[1500];
    static size_t sizes[1500];
    int count = 0;
    for (size_t size = 0; size < 400000 && count < 1500; size += size / 64 + 1) {
        unsigned char *block = malloc(size);
        CHECK(block != NULL);
        blocks[count] = block;
        sizes[count] = malloc_usable_size(block);
        CHECK(sizes[count] >= size);
        fill(block, (unsigned char)count, sizes[count]);
        count++;
    }
    for (int i = 0; i < count; i++) {
        CHECK(malloc_usable_size(blocks[i]) == sizes[i]);
        CHECK(is_filled(blocks[i], (unsigned char)i, sizes[i]));
        free(blocks[i]);
    }
}

static void realloc_of_null_allocates(void) {
    void *block = realloc(hidden_pointer(NULL), 100);
    CHECK(block != NULL);
    free(block);
    CHECK((block = realloc(hidden_pointer(NULL), hidden(0))) != NULL);
    free(block);
}

static void realloc_to_zero_frees(void) {
    for (int i = 0; i < 100000; i++) {
        void *block = malloc(1 << 20);
        CHECK(block != NULL);
        errno = 77;
        CHECK(realloc(block, hidden(0)) == NULL && errno == 77);
    }
}

static void realloc_keeps_the_content(void) {
    const size_t sizes[] = {1, 7, 8, 9, 16, 100, 1000, 1024, 1025, 5000, 40000, 262144, 262145, 300000,
                            1 << 20, 5 << 20, 40 << 20};
    for (size_t from = 0; from < COUNT(sizes); from++)
        for (size_t to = 0; to < COUNT(sizes); to++) {
            size_t least = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
            unsigned char *block = malloc(sizes[from]);
            CHECK(block != NULL);
            fill(block, (unsigned char)from, sizes[from]);
            CHECK((block = realloc(block, sizes[to])) != NULL);
            CHECK(is_filled(block, (unsigned char)from, least));
            CHECK(malloc_usable_size(block) >= sizes[to]);
            fill(block, 3, sizes[to]);
            free(block);
        }
    unsigned char *grown = NULL;
    for (size_t size = 1; size < 3 << 20; size += 1 + size / 50) {
        CHECK((grown = realloc(grown, size)) != NULL);
        grown[size - 1] = (unsigned char)size;
    }
    for (size_t size = 1; size < 3 << 20; size += 1 + size / 50) CHECK(grown[size - 1] == (unsigned char)size);
    free(grown);
}

static void realloc_that_fails_keeps_the_block(void) {
    const size_t sizes[] = {10, 1000, 100000, 1 << 20};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        unsigned char *block = malloc(sizes[i]);
        CHECK(block != NULL);
        fill(block, 9, sizes[i]);
        for (size_t j = 0; j < COUNT(impossible); j++) {
            errno = 0;
            CHECK(realloc(block, hidden(impossible[j])) == NULL && errno == ENOMEM);
        }
        CHECK(is_filled(block, 9, sizes[i]));
        free(block);
    }
}

static void realloc_of_aligned_blocks_keeps_the_content(void) {
    for (size_t align = 16; align <= 1 << 20; align *= 4) {
        unsigned char *block = memalign(align, 1000);
        CHECK(block != NULL);
        fill(block, 5, 1000);
        CHECK((block = realloc(block, 100000)) != NULL && is_filled(block, 5, 1000));
        CHECK((block = realloc(block, 10)) != NULL && is_filled(block, 5, 10));
        free(block);
    }
}

static void errno_stays_where_nothing_failed(void) {
    for (size_t size = 1; size < 64 << 20; size *= 3) {
        errno = 77;
        void *block = malloc(size), *zeroed = calloc(size, 1), *aligned = memalign(256, size);
        CHECK(block != NULL && zeroed != NULL && aligned != NULL && errno == 77);
        block = realloc(block, size * 2);
        CHECK(block != NULL && errno == 77);
        free(block);
        free(zeroed);
        free(aligned);
        free(NULL);
        CHECK(errno == 77);
    }
    malloc_trim(0);
}

static void free_of_much_memory_keeps_errno(void) {
    static void *blocks[200000];
    for (size_t i = 0; i < COUNT(blocks); i++) CHECK((blocks[i] = malloc(i % 900 + 1)) != NULL);
    errno = 77;
    for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
    CHECK(errno == 77);
}

static void sized_frees_take_blocks_back(void) {
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 600000; size += 1 + size / 20) {
            void *block = malloc(size);
            CHECK(block != NULL);
            memset(block, 1, size);
            free_sized(block, size);
            CHECK((block = calloc(1, size)) != NULL);
            free_sized(block, size);
            CHECK((block = realloc(malloc(10), size + 1)) != NULL);
            free_sized(block, size + 1);
            for (size_t align = 8; align <= 1 << 16; align *= 2) {
                CHECK((block = aligned_alloc(align, size)) != NULL);
                free_aligned_sized(block, align, size);
            }
        }
    }
    free_sized(NULL, 10);
    free_aligned_sized(NULL, 64, 10);
}

static void nallocx_is_the_size_of_the_block(void) {
    for (size_t size = 1; size < 2 << 20; size += 1 + size / 10) {
        size_t rounded = nallocx(size, 0);
        void *block = malloc(size);
        CHECK(rounded >= size && rounded == malloc_usable_size(block));
        sdallocx(block, rounded, 0);
        block = aligned_alloc(4096, size);
        rounded = nallocx(size, MALLOCX_LG_ALIGN(12));
        CHECK(rounded >= size && rounded == malloc_usable_size(block));
        sdallocx(block, size, MALLOCX_LG_ALIGN(12));
    }
    CHECK(nallocx(hidden(SIZE_MAX), 0) == 0);
    CHECK(nallocx(hidden((size_t)PTRDIFF_MAX + 1), 0) == 0);
    CHECK(nallocx(8, MALLOCX_LG_ALIGN(62)) == 0);
}

static void glibcs_second_names_are_the_same_allocator(void) {
    if (__libc_malloc == NULL) return; /* a C library without them */
    void *block = __libc_malloc(100);
    CHECK(block != NULL);
    free(block);
    CHECK((block = malloc(100)) != NULL);
    __libc_free(block);
    CHECK((block = __libc_calloc(10, 10)) != NULL);
    CHECK((block = realloc(block, 1000)) != NULL);
    CHECK((block = __libc_realloc(block, 100)) != NULL);
    free(block);
    CHECK((block = __libc_memalign(256, 100)) != NULL && is_aligned(block, 256));
    free(block);
    CHECK((block = __libc_valloc(100)) != NULL);
    free(block);
    CHECK((block = __libc_pvalloc(100)) != NULL);
    free(block);
    if (cfree != NULL) cfree(malloc(10));
}

static void what_libc_allocates_can_be_freed(void) {
    char *text = strdup("text"), *printed = NULL, *line = NULL;
    CHECK(text != NULL && strcmp(text, "text") == 0);
    free(text);
    CHECK(asprintf(&printed, "%0500d", 7) == 500);
    free(printed);
    size_t room = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    if (file != NULL) {
        while (getline(&line, &room, file) > 0) continue;
        fclose(file);
    }
    free(line);
    char *directory = getcwd(NULL, 0);
    CHECK(directory != NULL);
    free(directory);
    char *path = realpath("/", NULL);
    CHECK(path != NULL);
    free(path);
    char *memory = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&memory, &size);
    for (int i = 0; i < 100000; i++) fprintf(stream, "%d ", i);
    fclose(stream);
    free(memory);
}

static void reallocarray_is_left_to_libc_and_works(void) {
    int *numbers = reallocarray(NULL, 100, sizeof(int));
    CHECK(numbers != NULL);
    numbers[99] = 7;
    CHECK((numbers = reallocarray(numbers, 100000, sizeof(int))) != NULL && numbers[99] == 7);
    errno = 0;
    CHECK(reallocarray(numbers, hidden(SIZE_MAX / 2), 4) == NULL && errno == ENOMEM);
    free(numbers);
}

static void trim_gives_memory_back(void) {
    static void *blocks[20000];
    for (size_t i = 0; i < COUNT(blocks); i++) {
        CHECK((blocks[i] = malloc(8000)) != NULL);
        memset(blocks[i], 1, 8000);
    }
    for (size_t i = 0; i < COUNT(blocks); i++) free(blocks[i]);
    CHECK(malloc_trim(0) == 1);
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2) return;
    fclose(file);
    CHECK(resident * sysconf(_SC_PAGESIZE) < 16 << 20); /* of 156 MiB */
}

static void random_blocks_do_not_overlap(void) {
    enum { BLOCKS = 3000, STEPS = 600000 };
    static unsigned char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    unsigned long random = 88172645463325252ul;
    for (int step = 0; step < STEPS; step++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        size_t i = random % BLOCKS;
        if (blocks[i] != NULL) {
            CHECK(blocks[i][0] == (unsigned char)i && blocks[i][sizes[i] - 1] == (unsigned char)i);
            if (random >> 20 & 1) {
                free(blocks[i]);
                blocks[i] = NULL;
                continue;
            }
        }
        size_t limit = (random >> 24) % 100 < 97 ? 2000 : (random >> 24) % 100 < 99 ? 60000 : 2000000;
        sizes[i] = 1 + (random >> 32) % limit;
        CHECK((blocks[i] = realloc(blocks[i], sizes[i])) != NULL);
        blocks[i][0] = blocks[i][sizes[i] - 1] = (unsigned char)i;
    }
}

static void a_block_larger_than_memory_is_address_space(void) {
    size_t size = (size_t)64 << 30;
    unsigned char *block = malloc(size);
    if (block == NULL) return; /* the kernel was told not to promise that much */
    block[0] = block[size - 1] = 1;
    free(block);
}

static const struct test_case cases[] = {
    ON_BOTH(zero_bytes_are_a_block_of_their_own),
    ON_BOTH(impossible_sizes_fail_with_enomem),
    ON_BOTH(impossible_alignments_fail),
    ON_BOTH(calloc_refuses_products_that_wrap),
    ON_BOTH(calloc_is_zero_where_blocks_were_used_before),
    ON_BOTH(blocks_are_aligned_for_any_object_of_their_size),
    ON_BOTH(aligned_blocks_are_aligned_and_writable),
    ON_BOTH(aligned_blocks_do_not_overlap),
    ON_BOTH(posix_memalign_refuses_bad_alignments),
    ON_STRATA(aligned_alloc_refuses_bad_alignments), /* glibc: since 2.38 */
    ON_BOTH(aligned_alloc_takes_any_size),
    ON_BOTH(memalign_rounds_alignments_up),
    ON_BOTH(valloc_and_pvalloc_begin_with_a_page),
    ON_BOTH(usable_size_is_usable_to_its_end),
    ON_BOTH(realloc_of_null_allocates),
    ON_BOTH(realloc_to_zero_frees),
    ON_BOTH(realloc_keeps_the_content),
    ON_BOTH(realloc_that_fails_keeps_the_block),
    ON_BOTH(realloc_of_aligned_blocks_keeps_the_content),
    ON_BOTH(errno_stays_where_nothing_failed),
    ON_BOTH(free_of_much_memory_keeps_errno),
    ON_STRATA(sized_frees_take_blocks_back),
    ON_STRATA(nallocx_is_the_size_of_the_block),
    ON_BOTH(glibcs_second_names_are_the_same_allocator),
    ON_BOTH(what_libc_allocates_can_be_freed),
    ON_BOTH(reallocarray_is_left_to_libc_and_works),
    ON_BOTH(trim_gives_memory_back),
    ON_BOTH(random_blocks_do_not_overlap),
    ON_BOTH(a_block_larger_than_memory_is_address_space),
};

MAIN(cases)
