/* What a program does wrong, a case each in a process of its own, and whether an attacker would have what he wants. */
#define _GNU_SOURCE
#include "aims.h"

/* Double frees. */

static void double_free_next_call(void) {
    void *p = hidden_pointer(malloc(100));
    free(p);
    free(p);
    look_for_twins(100, 10);
    settle();
}

static void double_free_a_b_a(void) {
    void *a = hidden_pointer(malloc(100)), *b = hidden_pointer(malloc(100));
    free(a);
    free(b);
    free(a);
    look_for_twins(100, 10);
    settle();
}

static void double_free_after_thousands(void) {
    for (int i = 0; i < 5000; i++) many[i] = malloc(100);
    void *p = hidden_pointer(many[100]);
    for (int i = 100; i < 5000; i++) free(many[i]);
    free(p);
    look_for_twins(100, 10000);
    settle();
}

static void double_free_other_thread(void) {
    void *p = hidden_pointer(malloc(100));
    run_in_thread(free_it, p);
    free(p);
    look_for_twins(100, 10000);
    settle();
}

static pthread_barrier_t both;

static void *free_with_the_other(void *pointer) {
    pthread_barrier_wait(&both);
    free(pointer);
    return NULL;
}

static void double_free_two_threads_at_once(void) {
    void *p = hidden_pointer(malloc(100));
    pthread_t threads[2];
    run_on_all_cpus();
    CHECK(pthread_barrier_init(&both, NULL, 2) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, free_with_the_other, p) == 0);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    look_for_twins(100, 10000);
    settle();
}

static void double_free_of_what_realloc_left(void) {
    void *p = hidden_pointer(malloc(100));
    void *guard = malloc(100);
    void *q = hidden_pointer(realloc(p, 9000));
    if (q == p) return;
    free(p);
    look_for_twins(100, 1000);
    free(guard);
    settle();
}

static void double_free_after_neighbours_were_used_again(void) {
    void *blocks[5];
    for (int i = 0; i < 5; i++) blocks[i] = hidden_pointer(malloc(100));
    free(blocks[1]);
    free(blocks[2]);
    free(blocks[3]);
    blocks[3] = malloc(100);
    free(blocks[2]);
    look_for_twins(100, 1000);
    settle();
}

static void double_free_of_an_aligned_block(void) {
    void *p = hidden_pointer(aligned_alloc(64, 256));
    free(p);
    free(p);
    look_for_twins(256, 1000);
    settle();
}

static void double_free_of_the_smallest_block(void) {
    void *p = hidden_pointer(calloc(1, 8));
    free(p);
    free(p);
    look_for_twins(8, 1000);
    settle();
}

static void double_free_after_realloc_to_nothing(void) {
    void *p = hidden_pointer(malloc(100));
    CHECK(realloc(p, 0) == NULL);
    free(p);
    look_for_twins(100, 1000);
    settle();
}

static void double_sized_free(void) {
    void *p = hidden_pointer(malloc(100));
    sized_free(p, 100);
    sized_free(p, 100);
    look_for_twins(100, 1000);
    settle();
}

static void double_free_of_a_large_block(void) {
    void *p = hidden_pointer(malloc(1 << 20));
    free(p);
    free(p);
    look_for_twins(1 << 20, 4);
}

static void double_free_of_an_unmapped_block(void) {
    void *p = hidden_pointer(malloc(64 << 20));
    free(p);
    settle();
    free(p);
    look_for_twins(64 << 20, 2);
}

static void stale_free_of_the_next_owners_block(void) {
    void *p = hidden_pointer(malloc(100));
    free(p);
    void *owner = malloc(100);
    free(p);
    void *second = malloc(100);
    if (owner == second) exploited();
    settle();
}

/* Pointers that were never handed out. */

static void free_of_the_stack(void) {
    char local[512] __attribute__((aligned(64))) = {0};
    free(hidden_pointer(&local[64]));
    look_within(local, sizeof(local), 100, 1000);
    settle();
}

static void free_of_static_data(void) {
    free(hidden_pointer(&target[64]));
    look_within(target, sizeof(target), 100, 1000);
    settle();
}

static void free_of_text(void) { free(hidden_pointer((void *)(uintptr_t)free_of_static_data)); }

static void free_of_a_mapping(void) {
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(hidden_pointer(p + 4096));
    look_within(p, 1 << 20, 100, 1000);
    settle();
}

static void free_of_an_unmapped_address(void) { free(hidden_pointer((void *)0x123456789000)); }
static void free_of_a_low_address(void) { free(hidden_pointer((void *)0x10)); }
static void free_of_an_address_beyond_user_space(void) { free(hidden_pointer((void *)0x8000123456780000)); }

static void free_inside_a_block(void) {
    char *p = malloc(100);
    free(hidden_pointer(p + 16));
    look_within(p, 100, 100, 1000);
    settle();
}

static void free_inside_a_block_at_an_odd_address(void) {
    char *p = malloc(100);
    free(hidden_pointer(p + 1));
    look_within(p, 100, 100, 1000);
    settle();
}

static void free_inside_a_block_of_a_power_of_two(void) {
    char *p = malloc(256);
    free(hidden_pointer(p + 16));
    look_within(p, 256, 256, 1000);
    settle();
}

static void free_eight_bytes_into_a_block(void) {
    char *p = malloc(100);
    free(hidden_pointer(p + 8));
    look_within(p, 100, 100, 1000);
    settle();
}

static void free_of_a_forged_block(void) {
    size_t *p = malloc(1000);
    memset(p, 0, 1000);
    p[3] = 0x71; /* What glibc has before a block. */
    p[17] = 0x71;
    free(hidden_pointer(&p[4]));
    look_within((char *)p, 1000, 100, 1000);
    settle();
}

static void free_of_a_large_blocks_second_page(void) {
    char *p = malloc(1 << 20);
    free(hidden_pointer(p + 4096));
    look_within(p, 1 << 20, 4096, 100);
}

static void free_inside_a_large_block(void) {
    char *p = malloc(1 << 20);
    free(hidden_pointer(p + 64));
    look_within(p, 1 << 20, 1000, 100);
}

static void free_of_a_block_that_nobody_has(void) {
    char *first = malloc(100), *second = malloc(100);
    ptrdiff_t stride = second > first ? second - first : first - second;
    if (stride > 128) stride = 112;
    char *p = first + 30 * stride;
    if (((uintptr_t)p ^ (uintptr_t)first) >> 13) p = first - 30 * stride;
    if (p == second) p += p < first ? stride : -stride; /* Somebody has that one. */
    free(hidden_pointer(p));
    look_for_twins(100, MANY);
    settle();
}

/* Functions that are given what is no block. */

static void realloc_of_the_stack(void) {
    char local[512] __attribute__((aligned(64))) = {0};
    if (realloc(hidden_pointer(&local[64]), 200) != NULL) exploited();
}

static void realloc_of_a_freed_block(void) {
    void *p = hidden_pointer(malloc(100));
    void *guard = malloc(100);
    free(p);
    void *q = realloc(p, 104);
    if (q == NULL) return;
    if (malloc(100) == q || q == p) exploited();
    free(guard);
    settle();
}

static void realloc_inside_a_block(void) {
    char *p = malloc(100);
    if (realloc(hidden_pointer(p + 16), 1000) == NULL) return;
    look_within(p, 100, 100, 1000);
    settle();
}

static void size_of_the_stack(void) {
    char local[512] __attribute__((aligned(64))) = {0};
    if (malloc_usable_size(hidden_pointer(&local[64])) != 0) exploited();
}

static void size_of_a_freed_block(void) {
    void *p = hidden_pointer(malloc(100));
    free(p);
    if (malloc_usable_size(p) != 0) exploited();
}

/* Sizes that are wrong. */

static void sized_free_of_the_stack(void) {
    char local[512] __attribute__((aligned(64))) = {0};
    sized_free(hidden_pointer(&local[64]), 100);
    look_within(local, sizeof(local), 100, 1000);
    settle();
}

static void sized_free_with_less(void) {
    char *p = malloc(1000);
    char *guard = malloc(1000);
    sized_free(hidden_pointer(p), 100);
    look_for_twins(100, 1000);
    look_for_twins(1000, 1000);
    free(guard);
    settle();
}

static void sized_free_with_more(void) {
    void *blocks[16];
    for (int i = 0; i < 16; i++) memset(blocks[i] = malloc(100), 'a', 100);
    sized_free(hidden_pointer(blocks[5]), 1000);
    blocks[5] = NULL; /* Nobody's any more; the others have owners. */
    look_for_overlap(blocks, 16, 100, 1000, 100);
    settle();
}

static void sized_free_of_a_large_block_with_little(void) {
    char *p = malloc(1 << 20);
    sized_free(hidden_pointer(p), 100);
    void *q = malloc(1 << 20);
    look_for(q, 100, 1000, 0);
    settle();
}

/* Links of free lists, where there are any. */

static void plant(void *value, int in_thread) {
    void *blocks[8];
    for (int i = 0; i < 8; i++) blocks[i] = hidden_pointer(malloc(100));
    for (int i = 0; i < 8; i++) in_thread ? run_in_thread(free_it, blocks[i]) : free(blocks[i]);
    for (int i = 0; i < 8; i++) {
        void **block = blocks[i];
        block[0] = block[1] = value;
    }
    for (int i = 0; i < 1000; i++) {
        char *block = malloc(100);
        if (block == value || (block >= target && block < target + sizeof(target))) exploited();
    }
    settle();
}

static void link_to_an_address(void) { plant(&target[64], 0); }
static void link_to_an_address_in_a_remote_block(void) { plant(&target[64], 1); }
static void link_of_garbage(void) { plant((void *)0x4141414141414140, 0); }

static void link_by_a_public_rule(void) {
    uintptr_t *blocks[8];
    for (int i = 0; i < 8; i++) blocks[i] = hidden_pointer(malloc(100));
    for (int i = 0; i < 8; i++) free(blocks[i]);
    for (int i = 0; i < 8; i++) blocks[i][0] = (uintptr_t)blocks[i] >> 12 ^ (uintptr_t)&target[64];
    look_within(target, sizeof(target), 100, 1000);
    settle();
}

static void link_copied_from_another_block(void) {
    void *blocks[8];
    for (int i = 0; i < 8; i++) blocks[i] = hidden_pointer(malloc(100));
    for (int i = 0; i < 8; i++) free(blocks[i]);
    memcpy(blocks[2], blocks[7], 16);
    memcpy(blocks[5], blocks[7], 16);
    look_for_twins(100, 1000);
    settle();
}

/* Writes beyond a block. The aim is another block's content, and that nobody says so when the block is freed. */

static void write_around(ptrdiff_t offset, size_t bytes) {
    unsigned char *blocks[64];
    size_t usable = 0;
    for (int i = 0; i < 64; i++) {
        blocks[i] = hidden_pointer(malloc(104));
        usable = malloc_usable_size(blocks[i]);
        memset(blocks[i], 'a', usable);
    }
    /* One that has a neighbour on the side that is written. */
    int chosen = 20;
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 64; j++) {
            ptrdiff_t distance = offset < 0 ? blocks[i] - blocks[j] : blocks[j] - blocks[i];
            if (distance > 0 && distance < 144 && ((uintptr_t)blocks[i] ^ (uintptr_t)blocks[j]) >> 12 == 0)
                chosen = i; /* Of the same span, too. */
        }
    unsigned char *start = offset < 0 ? blocks[chosen] + offset : blocks[chosen] + usable;
    memset(start, 'X', bytes);
    free(blocks[chosen]);
    for (int i = 0; i < 64; i++)
        for (size_t at = 0; i != chosen && at < usable; at++)
            if (blocks[i][at] != 'a') exploited();
    for (int i = 0; i < 64; i++)
        if (i != chosen) free(blocks[i]);
    settle();
}

static void overflow_by_1(void) { write_around(0, 1); }
static void overflow_by_8(void) { write_around(0, 8); }
static void overflow_by_32(void) { write_around(0, 32); }
static void underflow_by_8(void) { write_around(-8, 8); }

static void overflow_by_a_page_behind_a_large_block(void) {
    char *blocks[3];
    for (int i = 0; i < 3; i++) memset(blocks[i] = malloc(1 << 20), 'a', 1 << 20);
    memset(hidden_pointer(blocks[1] + malloc_usable_size(blocks[1])), 'X', 4096 + 64);
    free(blocks[1]);
    exploited();
}

static void underflow_before_a_large_block(void) {
    char *blocks[3];
    for (int i = 0; i < 3; i++) memset(blocks[i] = malloc(1 << 20), 'a', 1 << 20);
    memset(hidden_pointer(blocks[1] - 8), 'X', 8);
    free(blocks[1]);
    exploited();
}

static void write_to_a_block_of_no_bytes(void) {
    char *blocks[64];
    for (int i = 0; i < 64; i++) blocks[i] = hidden_pointer(malloc(i == 20 ? 0 : 8));
    for (int i = 0; i < 64; i++)
        if (i != 20) memset(blocks[i], 'a', 8);
    blocks[20][0] = 'X';
    free(blocks[20]);
    for (int i = 0; i < 64; i++)
        if (i != 20 && memcmp(blocks[i], "aaaaaaaa", 8) != 0) exploited();
}

/* Blocks that are used after they were freed. */

static void write_after_free_then_calloc(void) {
    char *p = hidden_pointer(malloc(100));
    free(p);
    memset(p, 'X', 100);
    for (int i = 0; i < 1000; i++) {
        char *block = calloc(1, 100);
        for (int at = 0; at < 100; at++)
            if (block[at] != 0) exploited();
    }
}

static void write_after_free_into_the_next_owners_block(void) {
    char *p = hidden_pointer(malloc(100));
    free(p);
    char *owner = malloc(100);
    memset(owner, 'a', 100);
    memset(p, 'X', 100);
    if (owner[50] == 'X') exploited();
    for (int i = 0; i < 2000; i++) free(malloc(100));
    settle();
}

static const char secret[] = "a secret of thirty-two bytes ...";

static void read_of_a_freed_secret(void) {
    char *p = hidden_pointer(malloc(100));
    memcpy(p + 40, secret, sizeof(secret));
    free(p);
    if (memcmp(p + 40, secret, sizeof(secret)) == 0) exploited();
}

static void read_of_the_previous_owners_secret(void) {
    char *p = hidden_pointer(malloc(100));
    memcpy(p + 40, secret, sizeof(secret));
    free(p);
    for (int i = 0; i < 1000; i++) {
        char *block = malloc(100);
        if (memcmp(block + 40, secret, sizeof(secret)) == 0) exploited();
    }
}

static void read_of_a_freed_large_block(void) {
    char *p = hidden_pointer(malloc(8 << 20));
    memcpy(p + (1 << 20), secret, sizeof(secret));
    free(p);
    if (memcmp(p + (1 << 20), secret, sizeof(secret)) == 0) exploited();
}

/* Addresses that can be guessed. */

static void next_address_is_known(void) {
    char *blocks[8];
    for (int i = 0; i < 8; i++) blocks[i] = malloc(1000);
    int guessed = 0;
    for (int i = 2; i < 8; i++) guessed += blocks[i] - blocks[i - 1] == blocks[i - 1] - blocks[i - 2];
    if (guessed >= 4) exploited();
}

static void last_freed_is_next(void) {
    int guessed = 0;
    for (int i = 0; i < 8; i++) {
        void *p = hidden_pointer(malloc(100));
        free(p);
        void *q = malloc(100);
        guessed += p == q;
    }
    if (guessed >= 4) exploited();
}

static const struct test_case cases[] = {
    ON_BOTH(double_free_next_call), ON_BOTH(double_free_a_b_a), ON_BOTH(double_free_after_thousands),
    ON_BOTH(double_free_other_thread), ON_BOTH(double_free_two_threads_at_once),
    ON_BOTH(double_free_of_what_realloc_left), ON_BOTH(double_free_after_neighbours_were_used_again),
    ON_BOTH(double_free_of_an_aligned_block), ON_BOTH(double_free_of_the_smallest_block),
    ON_BOTH(double_free_after_realloc_to_nothing), ON_BOTH(double_sized_free), ON_BOTH(double_free_of_a_large_block),
    ON_BOTH(double_free_of_an_unmapped_block), ON_BOTH(stale_free_of_the_next_owners_block),
    ON_BOTH(free_of_the_stack), ON_BOTH(free_of_static_data), ON_BOTH(free_of_text), ON_BOTH(free_of_a_mapping),
    ON_BOTH(free_of_an_unmapped_address), ON_BOTH(free_of_a_low_address), ON_BOTH(free_of_an_address_beyond_user_space),
    ON_BOTH(free_inside_a_block), ON_BOTH(free_inside_a_block_at_an_odd_address),
    ON_BOTH(free_inside_a_block_of_a_power_of_two), ON_BOTH(free_eight_bytes_into_a_block),
    ON_BOTH(free_of_a_forged_block), ON_BOTH(free_of_a_large_blocks_second_page), ON_BOTH(free_inside_a_large_block),
    ON_BOTH(free_of_a_block_that_nobody_has), ON_BOTH(realloc_of_the_stack), ON_BOTH(realloc_of_a_freed_block),
    ON_BOTH(realloc_inside_a_block), ON_BOTH(size_of_the_stack), ON_BOTH(size_of_a_freed_block),
    ON_BOTH(sized_free_of_the_stack), ON_BOTH(sized_free_with_less), ON_BOTH(sized_free_with_more),
    ON_BOTH(sized_free_of_a_large_block_with_little), ON_BOTH(link_to_an_address),
    ON_BOTH(link_to_an_address_in_a_remote_block), ON_BOTH(link_of_garbage), ON_BOTH(link_by_a_public_rule),
    ON_BOTH(link_copied_from_another_block), ON_BOTH(overflow_by_1), ON_BOTH(overflow_by_8), ON_BOTH(overflow_by_32),
    ON_BOTH(underflow_by_8), ON_BOTH(overflow_by_a_page_behind_a_large_block), ON_BOTH(underflow_before_a_large_block),
    ON_BOTH(write_to_a_block_of_no_bytes), ON_BOTH(write_after_free_then_calloc),
    ON_BOTH(write_after_free_into_the_next_owners_block), ON_BOTH(read_of_a_freed_secret),
    ON_BOTH(read_of_the_previous_owners_secret), ON_BOTH(read_of_a_freed_large_block), ON_BOTH(next_address_is_known),
    ON_BOTH(last_freed_is_next),
};

MAIN(cases)
