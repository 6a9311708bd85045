/* Cases of misuse after those of other allocators' test suites and of collections of attacks, expressed anew: hardened_malloc's
 * and isoalloc's tests, OpenBSD's malloc_errs, snmalloc's corruption_detection, how2heap's techniques, what glibc and scudo have
 * messages for, and the kinds of NIST's Juliet. An attack that rests on glibc's layout is tried as its author would, and its
 * aim is what counts: the same block twice, blocks over one another, a block at a chosen address, a write to one. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "aims.h"

#include <alloca.h>
#include <new>

static char words[256] __attribute__((aligned(64)));

static bool is_in(const void *p, const void *start, size_t bytes) {
    return (const char *)p >= (const char *)start && (const char *)p < (const char *)start + bytes;
}

/* The aim is reached if somebody wrote where only the attacker points to. */
static void target_is_untouched(void) {
    for (size_t i = 0; i < sizeof(target); i++)
        if (target[i] != 0) exploited();
}

/* hardened_malloc */

struct four_words {
    uint64_t a, b, c, d;
};

static void delete_of_another_type(void) {
    void *blocks[32];
    for (int i = 0; i < 32; i++) memset(blocks[i] = new char, 'a', 1);
    four_words *wrong = hide((four_words *)blocks[7]);
    blocks[7] = NULL;
    delete wrong;
    void *sizes[2] = {new four_words, new four_words};
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 2; j++)
            if (blocks[i] != NULL && is_in(blocks[i], sizes[j], sizeof(four_words))) exploited();
    settle();
}

static void sized_delete_of_a_large_block(void) {
    void *p = hidden_pointer(::operator new(1 << 20));
    ::operator delete(p, (size_t)(1 << 18));
    void *q = ::operator new(1 << 18), *r = ::operator new(1 << 20);
    if (is_in(q, r, 1 << 20) || is_in(r, q, 1 << 18)) exploited();
    settle();
}

static void aligned_sized_delete_of_a_small_block(void) {
    void *p = hidden_pointer(::operator new(48, std::align_val_t(16)));
    void *neighbours[16];
    for (int i = 0; i < 16; i++) neighbours[i] = ::operator new(48, std::align_val_t(16));
    ::operator delete(p, (size_t)256, std::align_val_t(64));
    look_for_overlap(neighbours, 16, 48, 256, 100);
    settle();
}

static void double_free_of_128_kib(void) {
    void *p = block(128 << 10);
    free(p);
    free(p);
    look_for_twins(128 << 10, 50);
    settle();
}

static void double_free_of_128_kib_later(void) {
    void *p = block(128 << 10), *q = block(128 << 10);
    free(p);
    free(q);
    free(p);
    look_for_twins(128 << 10, 50);
    settle();
}

static void double_free_of_16_bytes_later(void) {
    void *p = block(16), *q = block(16);
    free(p);
    free(q);
    free(p);
    look_for_twins(16, 100);
    settle();
}

static void overflow_of_128_kib_by_eight(void) {
    char *blocks[4];
    for (int i = 0; i < 4; i++) memset(blocks[i] = block(128 << 10), 'a', 128 << 10);
    memset(hide(blocks[1] + malloc_usable_size(blocks[1])), 'X', 8);
    free(blocks[1]);
    for (int i = 0; i < 4; i++)
        for (size_t at = 0; i != 1 && at < 128 << 10; at++)
            if (blocks[i][at] != 'a') exploited();
    settle();
}

static void free_of_a_protected_mapping(void) {
    char *p = (char *)mmap(NULL, 16 << 10, PROT_NONE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    free(hide(p + 4096));
    look_within(p, 16 << 10, 100, 100);
    settle();
}

static void free_of_a_mapping_of_the_programs(void) {
    char *p = (char *)mmap(NULL, 16 << 10, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    free(hide(p + 4096));
    look_within(p, 16 << 10, 100, 100);
    settle();
}

static void free_four_pages_behind_a_block(void) {
    char *p = block(16);
    free(hide(p + 4 * 4096));
    look_for_twins(16, 1000);
    settle();
}

static void free_a_gibibyte_behind_a_block(void) {
    char *p = block(16);
    free(hide(p + (1 << 30)));
    look_for_twins(16, 1000);
    settle();
}

static void size_of_a_block_that_nobody_has(void) {
    char *p = block(16);
    size_t size = malloc_usable_size(hide(p + 4 * 4096));
    if (size > 1 << 20) exploited();
}

static void size_inside_a_block(void) {
    char *p = block(16);
    if (malloc_usable_size(hide(p + 1)) != 0) exploited();
}

static void read_of_a_freed_block_of_16(void) {
    char *p = block(16);
    memset(p, 'a', 16);
    free(p);
    int same = 0;
    for (int i = 0; i < 16; i++) same += p[i] == 'a';
    if (same == 16) exploited();
}

static void read_of_a_freed_block_of_256_kib(void) {
    char *p = block(256 << 10);
    memset(p, 'a', 256 << 10);
    free(p);
    if (p[100000] == 'a') exploited();
}

static void uninitialized_read_of_256_kib(void) {
    char *p = block(256 << 10);
    memset(p, 'a', 256 << 10);
    free(p);
    p = block(256 << 10);
    if (p[100000] == 'a') exploited();
}

static void write_to_a_block_of_no_size(void) {
    char *p = block(0), *q = block(8);
    memset(q, 'a', 8);
    *p = 'X';
    for (int i = 0; i < 8; i++)
        if (q[i] != 'a') exploited();
    free(p);
    settle();
}

static void string_behind_a_block_is_read(void) {
    char *blocks[64];
    for (int i = 0; i < 64; i++) {
        blocks[i] = block(16);
        memset(blocks[i], 'a', malloc_usable_size(blocks[i]));
    }
    size_t longest = 0;
    for (int i = 0; i < 64; i++) longest = longest < strlen(blocks[i]) ? strlen(blocks[i]) : longest;
    if (longest > 64) exploited();
}

static void free_of_a_large_blocks_first_byte(void) {
    char *p = block(256 << 10);
    free(hide(p + 1));
    look_within(p, 256 << 10, 256 << 10, 10);
    settle();
}

static void free_of_one(void) { free(hide((char *)1)); }

static void realloc_of_one(void) {
    if (realloc(hide((char *)1), 16) != NULL) exploited();
}

static void size_of_one(void) {
    if (malloc_usable_size(hide((char *)1)) != 0) exploited();
}

static void write_after_free_of_128_kib(void) {
    char *p = block(128 << 10);
    free(p);
    p[64 << 10] = 'X';
    for (int i = 0; i < 20; i++) {
        char *q = (char *)calloc(1, 128 << 10);
        if (q[64 << 10] != 0) exploited();
    }
    settle();
}

static void write_after_free_and_reuse(void) {
    char *p = block(128);
    free(p);
    char *q = block(128);
    memset(q, 0, 128);
    p[65] = 'X';
    if (q[65] == 'X') exploited();
    for (int i = 0; i < 100000; i++) free(malloc(128));
    settle();
}

static void free_after_realloc_to_zero(void) {
    void *p = block(16);
    if (realloc(p, 0) != NULL) return;
    free(p);
    look_for_twins(16, 1000);
    settle();
}

static void read_after_realloc_shrunk(void) {
    char *p = block(1 << 20);
    memset(p, 'a', 1 << 20);
    char *q = (char *)realloc(p, 300 << 10);
    if (q == p ? 0 : p[200 << 10] == 'a') exploited();
}

/* isoalloc */

static void free_at_a_wrong_multiple(void) {
    int64_t *p = block<int64_t>(128);
    free(hide(p + 8));
    look_within((char *)p, 128, 128, 1000);
    settle();
}

static void free_one_byte_on(void) {
    char *p = block(1024);
    free(hide(p + 1));
    look_within(p, 1024, 1024, 1000);
    settle();
}

static void free_of_the_last_user_address(void) { free(hide((char *)0x7fffffffffff)); }

static void sized_free_of_another_size(void) {
    void *blocks[16];
    for (int i = 0; i < 16; i++) memset(blocks[i] = malloc(1024), 'a', 1024);
    sized_free(hidden_pointer(blocks[5]), 2048);
    blocks[5] = NULL;
    look_for_overlap(blocks, 16, 1024, 2048, 100);
    settle();
}

static void overflow_of_a_big_block(void) {
    const size_t size = 5 << 20;
    char *p = block(size), *q = block(size);
    memset(p, 'a', size);
    memset(q, 'a', size);
    memset(hide(p + malloc_usable_size(p)), 'X', 65535);
    free(p);
    exploited();
}

static void double_free_of_a_big_block(void) {
    void *p = block(10 << 20);
    free(p);
    free(p);
    look_for_twins(10 << 20, 4);
}

/* OpenBSD */

static void double_free_of_10000_bytes(void) {
    void *p = block(10000);
    free(p);
    free(p);
    look_for_twins(10000, 100);
    settle();
}

static void double_free_after_400_others(void) {
    void *p = block(100);
    free(p);
    void *q = p;
    for (int i = 0; i < 400; i++) {
        void *r = malloc(100);
        free(r);
    }
    free(q);
    look_for_twins(100, 1000);
    settle();
}

static void write_after_free_of_the_first_byte(void) {
    char *p = block(32);
    free(p);
    p[0] = ~p[0];
    for (int i = 0; i < 400; i++) free(malloc(100));
    look_for_twins(32, 1000);
    settle();
}

static void write_after_free_of_10000_bytes(void) {
    char *p = block(10000);
    free(p);
    p[0] = ~p[0];
    for (int i = 0; i < 100; i++) free(malloc(10000));
    look_for_twins(10000, 100);
    settle();
}

static void free_of_the_next_slot(void) {
    char *p = block(16);
    free(hide(p + 16));
    look_for_twins(16, MANY);
    settle();
}

static void write_before_a_block(void) {
    unsigned char *blocks[16];
    for (int i = 0; i < 16; i++) memset(blocks[i] = block<unsigned char>(32), 'a', 32);
    blocks[8][-1] = 0;
    free(blocks[8]);
    for (int i = 0; i < 16; i++)
        for (int at = 0; i != 8 && at < 32; at++)
            if (blocks[i][at] != 'a') exploited();
    settle();
}

/* snmalloc: what is found of these is found while lists are used. */

enum { ROUNDS = 64, OBJECTS = 64 };

static void double_free_among_many(void) {
    for (int round = 0; round < ROUNDS; round++) {
        void *p[OBJECTS];
        for (int i = 0; i < OBJECTS; i++) p[i] = block(32);
        free(p[32]);
        free(p[32]);
        look_for_twins(32, OBJECTS);
        for (int i = 0; i < OBJECTS; i++) free(many[i]);
    }
    settle();
}

static void write_to_free_blocks(void) {
    for (int round = 0; round < ROUNDS; round++) {
        uintptr_t *p[OBJECTS];
        for (int i = 0; i < OBJECTS; i++) p[i] = block<uintptr_t>(32);
        for (int i = 0; i < OBJECTS; i++) free(p[i]);
        p[32][0] = (uintptr_t)&target[64];
        p[32][1] = (uintptr_t)&target[64];
        look_within(target, sizeof(target), 32, OBJECTS);
    }
    settle();
}

static void write_to_blocks_freed_elsewhere(void) {
    for (int round = 0; round < 16; round++) {
        uintptr_t *p[16];
        for (int i = 0; i < 16; i++) p[i] = block<uintptr_t>(32);
        for (int i = 0; i < 16; i++) run_in_thread(free_it, p[i]);
        p[8][0] = (uintptr_t)&target[64];
        p[8][1] = (uintptr_t)&target[64];
        look_within(target, sizeof(target), 32, OBJECTS);
    }
    settle();
}

static void double_free_there_and_here(void) {
    void *p[OBJECTS];
    for (int i = 0; i < OBJECTS; i++) p[i] = block(32);
    free(p[32]);
    run_in_thread(free_it, p[32]);
    look_for_twins(32, 1000);
    settle();
}

static void overflow_into_free_neighbours(void) {
    for (int round = 0; round < ROUNDS; round++) {
        char *p[OBJECTS];
        for (int i = 0; i < OBJECTS; i++) p[i] = block(16);
        for (int i = 0; i < OBJECTS; i += 2) free(p[i]);
        /* The neighbours are free where blocks lie in a row; where they do not, nobody is hurt by so little. */
        if (p[2] == p[1] + 16) ((uintptr_t *)p[1])[2] = (uintptr_t)&target[64];
        look_within(target, sizeof(target), 16, OBJECTS);
        for (int i = 1; i < OBJECTS; i += 2) free(p[i]);
    }
    settle();
}

/* how2heap */

static void fastbin_dup(void) {
    void *first[8];
    for (int i = 0; i < 8; i++) first[i] = block(8);
    for (int i = 0; i < 7; i++) free(first[i]);
    void *a = calloc(1, 8), *b = calloc(1, 8);
    free(a);
    free(b);
    free(a);
    void *x = calloc(1, 8), *y = calloc(1, 8), *z = calloc(1, 8);
    if (x == y || y == z || x == z) exploited();
    settle();
}

static void fastbin_dup_into_the_stack(void) {
    unsigned long stack[4] __attribute__((aligned(16))) = {0, 0x20, 0, 0};
    void *first[7];
    for (int i = 0; i < 7; i++) first[i] = block(8);
    for (int i = 0; i < 7; i++) free(first[i]);
    int *a = (int *)calloc(1, 8), *b = (int *)calloc(1, 8);
    free(hide(a));
    free(hide(b));
    *(unsigned long *)a = (unsigned long)a >> 12 ^ (unsigned long)stack;
    for (int i = 0; i < 100; i++)
        if (is_in(calloc(1, 8), stack, sizeof(stack))) exploited();
    settle();
}

static void fastbin_dup_consolidate(void) {
    void *first[7];
    for (int i = 0; i < 7; i++) first[i] = calloc(1, 0x40);
    for (int i = 0; i < 7; i++) free(first[i]);
    void *p = hidden_pointer(calloc(1, 0x40));
    free(p);
    void *large = malloc(0x400);
    free(p);
    void *again = malloc(0x400);
    if (large == again) exploited();
    look_for_twins(0x40, 1000);
    settle();
}

static void unsafe_unlink(void) {
    static uint64_t *global;
    global = block<uint64_t>(0x420);
    uint64_t *second = block<uint64_t>(0x420);
    global[1] = 0x420;
    global[2] = (uint64_t)&global - 24;
    global[3] = (uint64_t)&global - 16;
    second[-2] = 0x420;
    second[-1] &= ~1ULL;
    uint64_t *before = global;
    free(hide(second));
    if (global != before) exploited();
    settle();
}

static void house_of_spirit(void) {
    long chunks[10] __attribute__((aligned(16))) = {0};
    void *first[7];
    for (int i = 0; i < 7; i++) first[i] = block(0x30);
    for (int i = 0; i < 7; i++) free(first[i]);
    chunks[1] = 0x40;
    chunks[9] = 0x1234;
    free(hide(&chunks[2]));
    for (int i = 0; i < 100; i++)
        if (is_in(calloc(1, 0x30), chunks, sizeof(chunks))) exploited();
    settle();
}

static void poison_null_byte(void) {
    uint8_t *a = block<uint8_t>(0x100), *b = block<uint8_t>(0x200), *c = block<uint8_t>(0x100), *bar = block<uint8_t>(0x100);
    *(size_t *)(b + 0x1f0) = 0x200;
    free(b);
    a[malloc_usable_size(a)] = 0;
    uint8_t *b1 = block<uint8_t>(0x100), *b2 = block<uint8_t>(0x80);
    memset(b2, 'B', 0x80);
    free(b1);
    free(c);
    uint8_t *d = block<uint8_t>(0x300);
    if (is_in(b2, d, 0x300)) exploited();
    free(bar);
    settle();
}

static void house_of_lore(void) {
    intptr_t stack[8] __attribute__((aligned(16))) = {0}, more[8] __attribute__((aligned(16))) = {0};
    intptr_t *victim = block<intptr_t>(0x100);
    stack[2] = (intptr_t)(victim - 2);
    stack[3] = (intptr_t)more;
    more[2] = (intptr_t)stack;
    void *guard = malloc(1000);
    free(hide(victim));
    void *p = malloc(1200);
    victim[1] = (intptr_t)stack;
    for (int i = 0; i < 100; i++) {
        void *q = malloc(0x100);
        if (is_in(q, stack, sizeof(stack)) || is_in(q, more, sizeof(more))) exploited();
    }
    free(guard);
    free(p);
    settle();
}

static void overlapping_chunks(void) {
    long *p1 = block<long>(0x508), *p2 = block<long>(0x508), *p3 = block<long>(0x88);
    memset(p1, '1', 0x508);
    memset(p2, '2', 0x508);
    memset(p3, '3', 0x88);
    free(hide(p2));
    p2[-1] = 0x581;
    long *p4 = block<long>(0x578);
    if (is_in(p3, p4, 0x578)) exploited();
    settle();
}

static void overlapping_chunks_while_in_use(void) {
    long *p[5];
    for (int i = 0; i < 5; i++) p[i] = block<long>(1000);
    p[1][-1] = 0x3f1 + 0x3f0;
    free(hide(p[3]));
    free(hide(p[1]));
    void *q = malloc(2000);
    if (is_in(p[2], q, 2000)) exploited();
    settle();
}

static void overlapping_chunks_of_mappings(void) {
    long long *top = block<long long>(0x100000), *two = block<long long>(0x100000), *three = block<long long>(0x100000);
    three[-1] = (0xFFFFFFFFFD & three[-1]) + (0xFFFFFFFFFD & two[-1]) | 2;
    free(hide(three));
    long long *over = block<long long>(0x300000);
    if (is_in(two, over, 0x300000) || is_in(top, over, 0x300000)) exploited();
    settle();
}

static void house_of_force(void) {
    char *p = block(256);
    *(intptr_t *)(p + malloc_usable_size(p)) = -1;
    void *big = malloc((size_t)((intptr_t)words - (intptr_t)p - 0x120));
    void *q = malloc(100);
    if (is_in(q, words, sizeof(words))) exploited();
    free(big);
    settle();
}

static void unsorted_bin_into_the_stack(void) {
    intptr_t stack[4] __attribute__((aligned(16))) = {0};
    intptr_t *victim = block<intptr_t>(0x100);
    void *guard = malloc(0x100);
    free(hide(victim));
    stack[1] = 0x110;
    stack[3] = (intptr_t)stack;
    victim[-1] = 32;
    victim[1] = (intptr_t)stack;
    for (int i = 0; i < 100; i++)
        if (is_in(malloc(0x100), stack, sizeof(stack))) exploited();
    free(guard);
    settle();
}

static void unsorted_bin_attack(void) {
    unsigned long *p = block<unsigned long>(0x410);
    void *guard = malloc(500);
    free(hide(p));
    p[1] = (unsigned long)target;
    for (int i = 0; i < 10; i++) malloc(0x410);
    target_is_untouched();
    free(guard);
    settle();
}

static void large_bin_attack(void) {
    size_t *p1 = block<size_t>(0x428);
    void *g1 = malloc(0x18);
    size_t *p2 = block<size_t>(0x418);
    void *g2 = malloc(0x18);
    free(hide(p1));
    void *g3 = malloc(0x438);
    free(hide(p2));
    p1[3] = (size_t)target;
    void *g4 = malloc(0x438);
    target_is_untouched();
    free(g1), free(g2), free(g3), free(g4);
    settle();
}

static void house_of_einherjar(void) {
    intptr_t *a = block<intptr_t>(0x38);
    a[0] = 0, a[1] = 0x60, a[2] = (intptr_t)a, a[3] = (intptr_t)a;
    uint8_t *b = block<uint8_t>(0x28), *c = block<uint8_t>(0xf8);
    *(size_t *)(b + malloc_usable_size(b) - 8) = 0x60;
    b[malloc_usable_size(b)] = 0;
    free(hide(c));
    intptr_t *d = block<intptr_t>(0x158);
    if (is_in(b, d, 0x158) || is_in(a, d, 0x158)) exploited();
    settle();
}

static void house_of_orange(void) {
    char *p = block(0x400 - 16);
    *(size_t *)(p + malloc_usable_size(p)) = 0xc01;
    void *q = malloc(0x1000);
    look_for_twins(0x400, 100);
    target_is_untouched();
    free(q);
    settle();
}

static void tcache_poisoning(void) {
    intptr_t *a = block<intptr_t>(128), *b = block<intptr_t>(128);
    free(hide(a));
    free(hide(b));
    b[0] = (intptr_t)words ^ (intptr_t)b >> 12;
    for (int i = 0; i < 100; i++)
        if (is_in(malloc(128), words, sizeof(words))) exploited();
    settle();
}

static void tcache_house_of_spirit(void) {
    unsigned long long chunks[10] __attribute__((aligned(16))) = {0};
    chunks[1] = 0x40;
    free(hide(&chunks[2]));
    for (int i = 0; i < 100; i++)
        if (is_in(malloc(0x30), chunks, sizeof(chunks))) exploited();
    settle();
}

static void house_of_botcake(void) {
    intptr_t *x[7];
    for (int i = 0; i < 7; i++) x[i] = block<intptr_t>(0x100);
    intptr_t *previous = block<intptr_t>(0x100), *a = block<intptr_t>(0x100);
    void *guard = malloc(0x10);
    for (int i = 0; i < 7; i++) free(x[i]);
    free(hide(a));
    free(hide(previous));
    void *taken = malloc(0x100);
    free(hide(a));
    look_for_twins(0x100, 100);
    intptr_t *b = block<intptr_t>(0x120);
    if (b == previous) exploited();
    free(guard), free(taken);
    settle();
}

static void double_free_with_the_key_overwritten(void) {
    uintptr_t *p = block<uintptr_t>(64);
    free(hide(p));
    p[1] = 0; /* Where glibc has what it knows a freed block by. */
    free(hide(p));
    look_for_twins(64, 100);
    settle();
}

static void double_free_of_what_was_overwritten(void) {
    char *p = block(64);
    free(hide(p));
    memset(p, 'X', 64);
    free(hide(p));
    look_for_twins(64, 100);
    settle();
}

static void tcache_stashing_unlink(void) {
    unsigned long stack[10] __attribute__((aligned(16))) = {0};
    void *p[9];
    for (int i = 0; i < 9; i++) p[i] = block(0x90);
    stack[3] = (unsigned long)&stack[2];
    for (int i = 3; i < 9; i++) free(p[i]);
    free(p[1]), free(p[0]), free(p[2]);
    void *g1 = malloc(0xa0), *g2 = malloc(0x90), *g3 = malloc(0x90);
    ((unsigned long *)p[2])[1] = (unsigned long)stack;
    void *q = calloc(1, 0x90);
    for (int i = 0; i < 100; i++)
        if (is_in(malloc(0x90), stack, sizeof(stack))) exploited();
    free(g1), free(g2), free(g3), free(q);
    settle();
}

static void fastbin_reverse_into_tcache(void) {
    size_t stack[6] __attribute__((aligned(16)));
    memset(stack, 0xcd, sizeof(stack));
    char *p[14];
    for (int i = 0; i < 14; i++) p[i] = block(0x40);
    for (int i = 0; i < 14; i++) free(p[i]);
    *(size_t *)p[7] = (size_t)stack ^ (size_t)p[7] >> 12;
    for (int i = 0; i < 100; i++)
        if (is_in(malloc(0x40), stack, sizeof(stack))) exploited();
    settle();
}

static void house_of_roman(void) {
    char *p = block(0x60);
    void *main_arena = malloc(0x80);
    free(hide(main_arena));
    free(hide(p));
    /* What is left of a libc pointer, its low bytes changed. */
    ((uint16_t *)p)[0] = (uint16_t)(uintptr_t)words;
    for (int i = 0; i < 100; i++)
        if (is_in(malloc(0x60), words, sizeof(words))) exploited();
    settle();
}

static void house_of_mind(void) {
    /* A block whose header says that it is of an arena that the attacker wrote. */
    size_t *p = block<size_t>(0x60);
    memset(target, 0, sizeof(target));
    p[-1] |= 4;
    free(hide(p));
    target_is_untouched();
    look_for_twins(0x60, 100);
    settle();
}

static void house_of_tangerine(void) {
    char *p = block(0x600);
    *(size_t *)(p + malloc_usable_size(p)) = 0x0a01;
    void *q = malloc(0x1000);
    for (int i = 0; i < 100; i++)
        if (is_in(malloc(0x9e0), target, sizeof(target))) exploited();
    look_for_twins(0x9e0, 100);
    free(q);
    settle();
}

static void relative_write_by_freeing_a_forged_size(void) {
    long *p = block<long>(24);
    p[-1] = 0x10000 | 1;
    free(hide(p));
    target_is_untouched();
    look_for_twins(24, 1000);
    settle();
}

static void counts_before_the_heap(void) {
    /* Metadata that lies in reach of a block: 64 KiB before the lowest one. */
    char *lowest = block(64);
    for (int i = 0; i < 100; i++) {
        char *p = block(64);
        if (p < lowest) lowest = p;
    }
    uintptr_t page = (uintptr_t)lowest & ~(uintptr_t)4095;
    int changed = 0;
    for (uintptr_t at = page - 4096; at < page; at += 8)
        if (*(volatile uintptr_t *)at == (uintptr_t)lowest) changed++;
    if (changed != 0) exploited();
}

/* glibc's and scudo's messages */

static void free_of_an_aligned_blocks_inside(void) {
    char *p = (char *)hidden_pointer(memalign(4096, 8192));
    free(hide(p + 4096));
    look_within(p, 8192, 4096, 100);
    settle();
}

static void realloc_of_a_pointer_inside(void) {
    char *p = block(200);
    char *q = (char *)realloc(hide(p + 16), 50);
    if (q != NULL && is_in(q, p, 200)) exploited();
    settle();
}

static void realloc_twice_of_the_same(void) {
    void *p = block(100);
    void *q = realloc(p, 5000), *r = realloc(p, 5000);
    if (q == r) exploited();
    look_for_twins(100, 1000);
    settle();
}

static void free_of_a_misaligned_large_pointer(void) {
    char *p = block(1 << 16);
    free(hide((char *)((uintptr_t)p | 1)));
    look_within(p, 1 << 16, 1 << 16, 100);
    settle();
}

static void header_before_a_block_flipped(void) {
    char *p = block(16), *q = block(16);
    p[-9] ^= 1;
    free(hide(p));
    look_for_twins(16, 100);
    free(q);
    settle();
}

static void reallocarray_of_a_freed_block(void) {
    void *p = block(100), *guard = block(100);
    free(p);
    void *q = reallocarray(p, 10, 12);
    if (q == NULL) return;
    look_for(q, 120, 100, 0);
    free(guard);
    settle();
}

static void pointer_into_the_library(void) { free(hide((char *)dlsym(RTLD_DEFAULT, "malloc"))); }

static void pointer_into_thread_local_storage(void) {
    static thread_local char local[256] __attribute__((aligned(64)));
    free(hide(&local[64]));
    look_within(local, sizeof(local), 100, 1000);
    settle();
}

static void pointer_into_another_threads_stack(void) {
    struct stack {
        static void *run(void *) {
            char local[512] __attribute__((aligned(64))) = {0};
            run_in_thread(free_it, hide(&local[64]));
            look_within(local, sizeof(local), 100, 1000);
            return NULL;
        }
    };
    run_in_thread(stack::run, NULL);
    settle();
}

/* Juliet: kinds of weakness by their numbers there */

static void juliet_415_new_delete_twice(void) {
    int *p = hide(new int[100]);
    delete[] p;
    delete[] p;
    look_for_twins(400, 1000);
    settle();
}

static void juliet_415_struct_deleted_twice(void) {
    four_words *p = hide(new four_words);
    delete p;
    delete p;
    look_for_twins(32, 1000);
    settle();
}

static void juliet_416_returned_after_free(void) {
    char *p = block(100);
    memset(p, 'A', 99);
    p[99] = 0;
    free(p);
    if (strlen(p) >= 99) exploited();
}

static void juliet_590_free_of_alloca(void) {
    char *p = (char *)alloca(400);
    memset(p, 'A', 400);
    free(hide(p + 16));
    look_within(p, 400, 100, 1000);
    settle();
}

static void juliet_590_delete_of_a_static(void) {
    static long array[100];
    delete[] hide(array);
    look_within((char *)array, sizeof(array), 800, 1000);
    settle();
}

static void juliet_590_sized_delete_of_a_local(void) {
    four_words local = {1, 2, 3, 4};
    delete hide(&local);
    for (int i = 0; i < 100; i++)
        if (is_in(new four_words, &local, sizeof(local))) exploited();
    settle();
}

static void juliet_590_delete_of_placement_new(void) {
    char buffer[256] __attribute__((aligned(64)));
    int *p = new (hide(buffer)) int[10];
    delete[] hide(p);
    look_within(buffer, sizeof(buffer), 40, 1000);
    settle();
}

static void juliet_761_free_at_a_found_character(void) {
    char *p = block(100);
    strcpy(p, "Fixed String of some length");
    char *found = p;
    while (*found != 'S') found++;
    free(hide(found));
    look_within(p, 100, 100, 1000);
    settle();
}

static void juliet_762_new_and_free(void) {
    free(hide(new long));
    look_for_twins(8, 1000);
    settle();
}

static void juliet_762_new_array_and_delete(void) {
    long *p = hide(new long[100]);
    void *neighbours[16];
    for (int i = 0; i < 16; i++) neighbours[i] = new long[100];
    delete p;
    look_for_overlap(neighbours, 16, 800, 8, 1000);
    settle();
}

static void juliet_762_malloc_and_delete(void) {
    long *p = block<long>(800);
    delete p;
    look_for_twins(8, 1000);
    look_for_twins(800, 1000);
    settle();
}

static void juliet_122_copy_of_too_much(void) {
    char *p[8];
    for (int i = 0; i < 8; i++) memset(p[i] = block(64), 'a', 64);
    memcpy(hide(p[3]), words, 100);
    free(p[3]);
    for (int i = 0; i < 8; i++)
        for (int at = 0; i != 3 && at < 64; at++)
            if (p[i][at] != 'a') exploited();
    settle();
}

static void juliet_122_off_by_one_in_the_slack(void) {
    /* Nobody is hurt where a block is longer than what was asked for. */
    char *p = block(10), *q = block(10);
    memset(q, 'a', 10);
    strcpy(hide(p), "AAAAAAAAAA");
    for (int at = 0; at < 10; at++)
        if (q[at] != 'a') exploited();
    free(p);
    settle();
}

static void juliet_124_write_before_the_buffer(void) {
    char *p[8];
    for (int i = 0; i < 8; i++) memset(p[i] = block(100), 'a', 100);
    char *data = hide(p[4] - 8);
    memset(data, 'C', 100);
    free(p[4]);
    for (int i = 0; i < 8; i++)
        for (int at = 0; i != 4 && at < 100; at++)
            if (p[i][at] != 'a') exploited();
    settle();
}

static const struct test_case cases[] = {
    ON_BOTH(delete_of_another_type), ON_BOTH(sized_delete_of_a_large_block), ON_BOTH(aligned_sized_delete_of_a_small_block),
    ON_BOTH(double_free_of_128_kib), ON_BOTH(double_free_of_128_kib_later), ON_BOTH(double_free_of_16_bytes_later),
    ON_BOTH(overflow_of_128_kib_by_eight), ON_BOTH(free_of_a_protected_mapping),
    ON_BOTH(free_of_a_mapping_of_the_programs), ON_BOTH(free_four_pages_behind_a_block),
    ON_BOTH(free_a_gibibyte_behind_a_block), ON_BOTH(size_of_a_block_that_nobody_has), ON_BOTH(size_inside_a_block),
    ON_BOTH(read_of_a_freed_block_of_16), ON_BOTH(read_of_a_freed_block_of_256_kib),
    ON_BOTH(uninitialized_read_of_256_kib), ON_BOTH(write_to_a_block_of_no_size), ON_BOTH(string_behind_a_block_is_read),
    ON_BOTH(free_of_a_large_blocks_first_byte), ON_BOTH(free_of_one), ON_BOTH(realloc_of_one), ON_BOTH(size_of_one),
    ON_BOTH(write_after_free_of_128_kib), ON_BOTH(write_after_free_and_reuse), ON_BOTH(free_after_realloc_to_zero),
    ON_BOTH(read_after_realloc_shrunk), ON_BOTH(free_at_a_wrong_multiple), ON_BOTH(free_one_byte_on),
    ON_BOTH(free_of_the_last_user_address), ON_BOTH(sized_free_of_another_size), ON_BOTH(overflow_of_a_big_block),
    ON_BOTH(double_free_of_a_big_block), ON_BOTH(double_free_of_10000_bytes), ON_BOTH(double_free_after_400_others),
    ON_BOTH(write_after_free_of_the_first_byte), ON_BOTH(write_after_free_of_10000_bytes),
    ON_BOTH(free_of_the_next_slot), ON_BOTH(write_before_a_block), ON_BOTH(double_free_among_many),
    ON_BOTH(write_to_free_blocks), ON_BOTH(write_to_blocks_freed_elsewhere), ON_BOTH(double_free_there_and_here),
    ON_BOTH(overflow_into_free_neighbours), ON_BOTH(fastbin_dup), ON_BOTH(fastbin_dup_into_the_stack),
    ON_BOTH(fastbin_dup_consolidate), ON_BOTH(unsafe_unlink), ON_BOTH(house_of_spirit), ON_BOTH(poison_null_byte),
    ON_BOTH(house_of_lore), ON_BOTH(overlapping_chunks), ON_BOTH(overlapping_chunks_while_in_use),
    ON_BOTH(overlapping_chunks_of_mappings), ON_BOTH(house_of_force), ON_BOTH(unsorted_bin_into_the_stack),
    ON_BOTH(unsorted_bin_attack), ON_BOTH(large_bin_attack), ON_BOTH(house_of_einherjar), ON_BOTH(house_of_orange),
    ON_BOTH(tcache_poisoning), ON_BOTH(tcache_house_of_spirit), ON_BOTH(house_of_botcake),
    ON_BOTH(double_free_with_the_key_overwritten), ON_BOTH(double_free_of_what_was_overwritten),
    ON_BOTH(tcache_stashing_unlink), ON_BOTH(fastbin_reverse_into_tcache), ON_BOTH(house_of_roman), ON_BOTH(house_of_mind),
    ON_BOTH(house_of_tangerine), ON_BOTH(relative_write_by_freeing_a_forged_size), ON_BOTH(counts_before_the_heap),
    ON_BOTH(free_of_an_aligned_blocks_inside), ON_BOTH(realloc_of_a_pointer_inside), ON_BOTH(realloc_twice_of_the_same),
    ON_BOTH(free_of_a_misaligned_large_pointer), ON_BOTH(header_before_a_block_flipped),
    ON_BOTH(reallocarray_of_a_freed_block), ON_BOTH(pointer_into_the_library),
    ON_BOTH(pointer_into_thread_local_storage), ON_BOTH(pointer_into_another_threads_stack),
    ON_BOTH(juliet_415_new_delete_twice), ON_BOTH(juliet_415_struct_deleted_twice), ON_BOTH(juliet_416_returned_after_free),
    ON_BOTH(juliet_590_free_of_alloca), ON_BOTH(juliet_590_delete_of_a_static),
    ON_BOTH(juliet_590_sized_delete_of_a_local), ON_BOTH(juliet_590_delete_of_placement_new),
    ON_BOTH(juliet_761_free_at_a_found_character), ON_BOTH(juliet_762_new_and_free),
    ON_BOTH(juliet_762_new_array_and_delete), ON_BOTH(juliet_762_malloc_and_delete), ON_BOTH(juliet_122_copy_of_too_much),
    ON_BOTH(juliet_122_off_by_one_in_the_slack), ON_BOTH(juliet_124_write_before_the_buffer),
};

MAIN(cases)
