/* Cases of misuse in circumstances: where caches were emptied between two frees, on two CPUs, in handlers, children and at the
 * exit, with blocks of other sizes and alignments, and with addresses that are nearly right. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "aims.h"

#include <csetjmp>
#include <csignal>
#include <new>
#include <string>
#include <sys/wait.h>

static void *shared;

static void *free_on_another_cpu(void *pointer) {
    run_on_cpu(1);
    free(pointer);
    return NULL;
}

/* The first of `count` zeroed blocks that is `wanted`. */
static char *zeroed_owner_of(void *wanted, size_t size, int count) {
    for (int i = 0; i < count; i++) {
        char *owner = (char *)calloc(1, size);
        if (owner == wanted) return owner;
    }
    return NULL;
}

static void look_for_zeroed_twins(size_t size, int count) {
    for (int i = 0; i < count; i++) many[i] = calloc(1, size);
    qsort(many, (size_t)count, sizeof(many[0]), by_address);
    for (int i = 1; i < count; i++)
        if (many[i] == many[i - 1]) exploited();
}

/* Freed here and on another CPU; here it has an owner again, when the other CPU's cache is emptied. */
static void free_on_two_cpus(size_t size) {
    run_on_cpu(0);
    for (int i = 0; i < 64; i++) many[i] = malloc(size);
    void *p = block(size);
    free(p);
    run_in_thread(free_on_another_cpu, p);
    char *owner = zeroed_owner_of(p, size, 200);
    malloc_trim(0);
    for (size_t i = 0; owner != NULL && i < size; i++)
        if (owner[i] != 0) exploited();
    for (int i = 0; owner != NULL && i < 5000; i++)
        if (malloc(size) == owner) exploited();
    settle();
}

static void free_of_16_bytes_on_two_cpus(void) { free_on_two_cpus(16); }
static void free_of_100_bytes_on_two_cpus(void) { free_on_two_cpus(100); }
static void free_of_9000_bytes_on_two_cpus(void) { free_on_two_cpus(9000); }

/* Freed, freed again once the caches were emptied, and its owners have zeroes. */
static void free_after_the_caches_were_emptied(size_t size) {
    void *a = block(size), *b = block(size);
    free(a);
    malloc_trim(0);
    free(a);
    free(b);
    look_for_zeroed_twins(size, 50);
    malloc_trim(0);
    look_for_zeroed_twins(size, 3000);
    settle();
}

static void free_of_24_bytes_after_the_caches_were_emptied(void) { free_after_the_caches_were_emptied(24); }
static void free_of_400_bytes_after_the_caches_were_emptied(void) { free_after_the_caches_were_emptied(400); }
static void free_of_9000_bytes_after_the_caches_were_emptied(void) { free_after_the_caches_were_emptied(9000); }

static void free_a_b_a_for_zeroed_owners(size_t size) {
    void *a = block(size), *b = block(size);
    free(a);
    free(b);
    free(a);
    look_for_zeroed_twins(size, 50);
    settle();
}

static void double_free_of_24_bytes_for_zeroed_owners(void) { free_a_b_a_for_zeroed_owners(24); }
static void double_free_of_200_bytes_for_zeroed_owners(void) { free_a_b_a_for_zeroed_owners(200); }
static void double_free_of_1000_bytes_for_zeroed_owners(void) { free_a_b_a_for_zeroed_owners(1000); }
static void double_free_of_20000_bytes_for_zeroed_owners(void) { free_a_b_a_for_zeroed_owners(20000); }
static void double_free_of_3_mib_with_another_between(void) {
    void *a = block(3 << 20), *b = block(3 << 20);
    free(a);
    free(b);
    free(a);
    look_for_twins(3 << 20, 8);
}

static void double_free_of_64_blocks_by_four_threads(void) {
    static void *blocks[64];
    for (int i = 0; i < 64; i++) blocks[i] = malloc(64);
    for (int i = 0; i < 4; i++)
        run_in_thread([](void *) -> void * {
            for (int i = 0; i < 64; i++) free(blocks[i]);
            return NULL;
        }, NULL);
    look_for_twins(64, 5000);
    settle();
}

static void double_free_by_two_threads_that_ended(void) {
    void *p = block(100);
    run_in_thread(free_it, p);
    run_in_thread(free_it, p);
    look_for_twins(100, 5000);
    settle();
}

static void free_it_in_a_handler(int) { free(shared); }

static void double_free_in_a_handler(void) {
    shared = block(100);
    signal(SIGUSR1, free_it_in_a_handler);
    free(shared);
    raise(SIGUSR1);
    look_for_twins(100, 500);
    settle();
}

static void free_it_at_the_exit(void) {
    free(shared);
    look_for_twins(100, 500);
}

static void double_free_at_the_exit(void) {
    shared = block(100);
    free(shared);
    atexit(free_it_at_the_exit);
    exit(0);
}

static void double_free_in_a_child(void) {
    void *p = block(100);
    free(p);
    pid_t child = fork();
    if (child == 0) {
        free(p);
        look_for_twins(100, 500);
        settle();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) raise(WTERMSIG(status));
    _exit(WEXITSTATUS(status));
}

static jmp_buf before_the_free;
static void go_back(int) { longjmp(before_the_free, 1); }

/* Who comes back from abort may go on, and the heap is as it was. */
static void abort_is_left(void) {
    char *p = block(100), *kept = block(100);
    memset(kept, 'a', 100);
    free(p);
    signal(SIGABRT, go_back);
    if (setjmp(before_the_free) == 0) free(p);
    signal(SIGABRT, SIG_DFL);
    look_for_twins(100, 1000);
    for (int i = 0; i < 100; i++)
        if (kept[i] != 'a') exploited();
    settle();
    abort();
}

/* Functions one after the other. */

static void realloc_of_what_realloc_left(void) {
    void *p = block(100);
    void *moved = hidden_pointer(realloc(p, 4000));
    if (moved == p) return;
    void *again = realloc(p, 4000);
    if (again != NULL && again == moved) exploited();
    look_for_twins(100, 500);
    settle();
}

static void realloc_to_nothing_twice(void) {
    void *p = block(100);
    CHECK(realloc(p, 0) == NULL);
    if (realloc(p, 0) != NULL) exploited();
    look_for_twins(100, 500);
    settle();
}

static void free_of_what_shrinking_left(void) {
    void *p = block(5000);
    if (realloc(p, 50) == p) return;
    free(p);
    look_for_twins(5000, 1000);
    settle();
}

static void free_of_a_deleted_object(void) {
    int *p = hide(new int);
    delete p;
    free(p);
    look_for_twins(4, 500);
    settle();
}

static void free_of_a_deleted_arrays_cookie(void) {
    std::string *p = hide(new std::string[5]);
    delete[] p;
    free((char *)p - sizeof(size_t));
    look_for_twins(5 * sizeof(std::string) + sizeof(size_t), 500);
    settle();
}

static void aligned_delete_twice(void) {
    void *p = hide(::operator new(300, std::align_val_t(128)));
    ::operator delete(p, std::align_val_t(128));
    ::operator delete(p, std::align_val_t(128));
    look_for_twins(300, 500);
    settle();
}

static void sized_free_of_no_bytes(void) {
    sized_free(block(1000), 0);
    look_for_twins(8, 3000);
    settle();
}

static void sized_free_of_all_bytes_there_are(void) {
    sized_free(block(100), SIZE_MAX);
    look_for_twins(100, 3000);
    settle();
}

/* Sizes and alignments, and addresses that are nearly right. */

static void free_inside(size_t size, size_t offset) {
    char *blocks[40];
    for (int i = 0; i < 40; i++) memset(blocks[i] = block(size), 'a', size);
    free(hide(blocks[20] + offset));
    for (int i = 0; i < 200; i++) {
        char *other = block(size);
        if (other + size > blocks[20] && other < blocks[20] + size) exploited();
    }
    for (size_t i = 0; i < size; i++)
        if (blocks[20][i] != 'a') exploited();
    settle();
}

static void free_64_bytes_into_700(void) { free_inside(700, 64); }
static void free_128_bytes_into_1200(void) { free_inside(1200, 128); }
static void free_1024_bytes_into_2000(void) { free_inside(2000, 1024); }
static void free_512_bytes_into_1500(void) { free_inside(1500, 512); }
static void free_8192_bytes_into_20000(void) { free_inside(20000, 8192); }
static void free_8192_bytes_into_65536(void) { free_inside(65536, 8192); }

/* What was freed and went back to the kernel reads as zero, says the allocator; somebody wrote to it. */
static void write_after_a_large_free_went_back_then_calloc(void) {
    char *p = hide((char *)malloc(1 << 20));
    memset(p, 'a', 1 << 20);
    free(p);
    settle();
    p[100] = 'X';
    for (int i = 0; i < 4; i++) {
        char *block = (char *)calloc(1, 1 << 20);
        for (int at = 0; at < 1 << 20; at++)
            if (block[at] != 0) exploited();
    }
}

static void free_of_the_second_page_of_an_aligned_block(void) {
    char *p = hide((char *)aligned_alloc(4096, 8192));
    free(p + 4096);
    look_within(p, 8192, 4096, 500);
    settle();
}

static void double_free_of_an_aligned_large_block(void) {
    void *p = hide(aligned_alloc(2 << 20, 3 << 20));
    free(p);
    free(p);
    look_for_twins(3 << 20, 8);
}

static void realloc_of_a_freed_large_block(void) {
    void *p = block(3 << 20);
    free(p);
    if (realloc(p, 4 << 20) != NULL) exploited();
}

static void realloc_inside_a_large_block(void) {
    if (realloc(block(3 << 20) + 8192, 4 << 20) != NULL) exploited();
}

static void free_with_a_tag_in_the_top_byte(void) {
    free(hide((char *)((uintptr_t)block(100) | (uintptr_t)0x42 << 56)));
    settle();
}

static void free_of_half_an_address(void) {
    free(hide((char *)((uintptr_t)block(100) & UINT32_MAX)));
    settle();
}

/* Writes after free that programs make. */

template <class Write> static void write_after_free(size_t size, Write write) {
    char *blocks[30];
    for (int i = 0; i < 30; i++) memset(blocks[i] = block(size), 0, size);
    for (int i = 0; i < 30; i++) *(int *)blocks[i] = 1;
    for (int i = 0; i < 30; i++) free(blocks[i]);
    for (int i = 0; i < 30; i++) write(blocks[i]);
    look_for_twins(size, 500);
    settle();
}

static void count_of_references_goes_down_after_free(void) {
    write_after_free(64, [](char *freed) { --*(int *)freed; });
}
static void flag_is_set_after_free(void) {
    write_after_free(64, [](char *freed) { *freed ^= 1; });
}
static void zeroes_after_free(void) {
    write_after_free(100, [](char *freed) { memset(freed, 0, 100); });
}

/* Nobody takes them again: they go from the caches to their spans. */
static void write_after_free_before_the_caches_are_emptied(void) {
    char *blocks[30];
    for (int i = 0; i < 30; i++) blocks[i] = block(100);
    for (int i = 0; i < 30; i++) free(blocks[i]);
    for (int i = 0; i < 30; i++) memset(blocks[i], 'X', 100);
    malloc_trim(0);
}

/* Owners whose first word is 0, and the next one is not, as of a list's last element. */
static void free_a_b_a_for_owners_that_begin_with_a_zero(size_t size) {
    void *a = block(size), *b = block(size);
    free(a);
    free(b);
    free(a);
    for (int i = 0; i < 50; i++) {
        many[i] = malloc(size);
        memset(many[i], 0, 8);
        memset((char *)many[i] + 8, 'a', 8);
    }
    qsort(many, 50, sizeof(many[0]), by_address);
    for (int i = 1; i < 50; i++)
        if (many[i] == many[i - 1]) exploited();
    settle();
}

static void double_free_of_600_bytes_for_owners_that_begin_with_a_zero(void) {
    free_a_b_a_for_owners_that_begin_with_a_zero(600);
}
static void double_free_of_5000_bytes_for_owners_that_begin_with_a_zero(void) {
    free_a_b_a_for_owners_that_begin_with_a_zero(5000);
}

/* Freed once more, it waits in a cache for as long as its owner has it, and leaves that when the caches are emptied. */
static void free_of_an_owners_block_that_begins_with_a_zero(void) {
    void *a = block(700), *b = block(700);
    free(a);
    malloc_trim(0);
    free(b);
    char *owner = NULL;
    for (int i = 0; i < 5000 && owner != a; i++) {
        owner = (char *)malloc(700);
        memset(owner, 0, 8);
        memset(owner + 8, 'a', 8);
    }
    free(a);
    for (int i = 0; i < 8; i++) owner[i] = 0;
    malloc_trim(0);
    settle();
}

/* Sized deletes of what is no such object. */

static void sized_delete_of_half_of_it(void) {
    char *p = hide((char *)::operator new(4000));
    ::operator delete(p, (size_t)2000);
    look_for_twins(2000, 500);
    settle();
}

static void sized_delete_of_a_mapping(void) {
    char *p = (char *)mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ::operator delete(hide(p), (size_t)64);
    look_within(p, 1 << 16, 64, 1000);
    settle();
}

static void sized_delete_of_an_unmapped_address(void) {
    ::operator delete(hide((char *)0x123456780000), (size_t)64);
    look_within((char *)0x123456780000, 64, 64, 1000);
    settle();
}

static void sized_delete_of_a_large_size(void) {
    void *p = hide((char *)::operator new(100));
    ::operator delete(p, (size_t)3 << 20);
    look_for_twins(100, 1000);
    settle();
}

static void sized_delete_of_null(void) {
    ::operator delete((void *)hide((char *)NULL), (size_t)64);
    ::operator delete((void *)hide((char *)NULL), (size_t)5000);
    ::operator delete((void *)hide((char *)NULL), (size_t)4 << 20);
    ::operator delete((void *)hide((char *)NULL), (size_t)64, std::align_val_t(64));
    settle();
}

/* With an alignment that the other one did not have: nobody is hurt, and nothing is said. */
static void alignments_are_mixed_up(void) {
    for (size_t align = 16; align <= 64; align *= 2) {
        for (size_t size = 1; size < 3000; size += 7) {
            void *p = ::operator new(size, std::align_val_t(align));
            void *q = ::operator new(size);
            ::operator delete(p, size);
            ::operator delete(q, size, std::align_val_t(align));
        }
    }
    look_for_twins(100, 1000);
    settle();
}

/* A pointer that the C library found in a block. */

static void free_of_a_word_in_a_string(void) {
    char *p = hide(strdup("a few words here"));
    strtok(p, " ");
    free(hide(strtok(NULL, " ")));
    look_within(p, 16, 16, 2000);
    settle();
}

/* A pointer that was never set, in an object that had another owner. */
static void free_of_what_was_never_written(void) {
    struct with_pointer {
        char *pointer;
        char more[300];
    };
    with_pointer *p = block<with_pointer>(sizeof(with_pointer));
    memset(p, 'A', sizeof(*p));
    free(p);
    p = block<with_pointer>(sizeof(with_pointer));
    free(hide(p->pointer));
    settle();
}

static void double_free_in_a_threads_destructor(void) {
    static pthread_key_t key;
    CHECK(pthread_key_create(&key, free) == 0);
    run_in_thread([](void *) -> void * {
        void *p = block(100);
        free(p);
        pthread_setspecific(key, p);
        return NULL;
    }, NULL);
    look_for_twins(100, 5000);
    settle();
}

/* Blocks that leave eight bytes of 112, with which a slot of a hardened heap ends. */
enum { SHORT_OF_112 = 104 };

static void write_beyond_a_block_whose_neighbour_goes_first(void) {
    enum { COUNT = 400 };
    for (int i = 0; i < COUNT; i++) many[i] = malloc(SHORT_OF_112);
    qsort(many, COUNT, sizeof(many[0]), by_address);
    for (int i = 1; i < COUNT; i++) {
        char *before = (char *)many[i - 1], *behind = (char *)many[i];
        if (behind - before != 112) continue;
        hide(before)[SHORT_OF_112] ^= 2;
        free(behind);
        free(before);
        break;
    }
    settle();
}

static void write_before_one_of_few_blocks(void) {
    for (int i = 0; i < 50; i++) {
        char *p = block(SHORT_OF_112);
        /* Not where a page of the heap's begins, before which another one ends. */
        if (((uintptr_t)p & 4095) < 2048) continue;
        hide(p)[-1] ^= 2;
        free(p);
        break;
    }
    settle();
}

static void write_beyond_a_block_that_moves(void) {
    char *p = block(SHORT_OF_112);
    hide(p)[SHORT_OF_112] ^= 2;
    free(hide(realloc(p, 5000)));
    settle();
}

/* What stood behind a block before it became longer: who knows it may write it elsewhere. */
static void read_of_what_a_block_gains(void) {
    char *p = block(SHORT_OF_112 - 7);
    memset(p, 'A', SHORT_OF_112 - 7);
    char *longer = (char *)hidden_pointer(realloc(p, SHORT_OF_112));
    int written = 0;
    for (int i = SHORT_OF_112 - 7; i < SHORT_OF_112; i++) written += longer[i] != 0;
    if (written > 3) exploited();
    settle();
}

static const struct test_case cases[] = {
    ON_BOTH(free_of_16_bytes_on_two_cpus),
    ON_BOTH(free_of_100_bytes_on_two_cpus),
    ON_BOTH(free_of_9000_bytes_on_two_cpus),
    ON_BOTH(free_of_24_bytes_after_the_caches_were_emptied),
    ON_BOTH(free_of_400_bytes_after_the_caches_were_emptied),
    ON_BOTH(free_of_9000_bytes_after_the_caches_were_emptied),
    ON_BOTH(double_free_of_24_bytes_for_zeroed_owners),
    ON_BOTH(double_free_of_200_bytes_for_zeroed_owners),
    ON_BOTH(double_free_of_1000_bytes_for_zeroed_owners),
    ON_BOTH(double_free_of_20000_bytes_for_zeroed_owners),
    ON_BOTH(double_free_of_3_mib_with_another_between),
    ON_BOTH(double_free_of_64_blocks_by_four_threads),
    ON_BOTH(double_free_by_two_threads_that_ended),
    ON_BOTH(double_free_in_a_handler),
    ON_BOTH(double_free_at_the_exit),
    ON_BOTH(double_free_in_a_child),
    ON_BOTH(abort_is_left),
    ON_BOTH(realloc_of_what_realloc_left),
    ON_BOTH(realloc_to_nothing_twice),
    ON_BOTH(free_of_what_shrinking_left),
    ON_BOTH(free_of_a_deleted_object),
    ON_BOTH(free_of_a_deleted_arrays_cookie),
    ON_BOTH(aligned_delete_twice),
    ON_BOTH(sized_free_of_no_bytes),
    ON_BOTH(sized_free_of_all_bytes_there_are),
    ON_BOTH(free_64_bytes_into_700),
    ON_BOTH(free_128_bytes_into_1200),
    ON_BOTH(free_1024_bytes_into_2000),
    ON_BOTH(free_512_bytes_into_1500),
    ON_BOTH(free_8192_bytes_into_20000),
    ON_BOTH(free_8192_bytes_into_65536),
    ON_BOTH(write_after_a_large_free_went_back_then_calloc),
    ON_BOTH(free_of_the_second_page_of_an_aligned_block),
    ON_BOTH(double_free_of_an_aligned_large_block),
    ON_BOTH(realloc_of_a_freed_large_block),
    ON_BOTH(realloc_inside_a_large_block),
    ON_BOTH(free_with_a_tag_in_the_top_byte),
    ON_BOTH(free_of_half_an_address),
    ON_BOTH(count_of_references_goes_down_after_free),
    ON_BOTH(flag_is_set_after_free),
    ON_BOTH(zeroes_after_free),
    ON_BOTH(write_after_free_before_the_caches_are_emptied),
    ON_BOTH(double_free_of_600_bytes_for_owners_that_begin_with_a_zero),
    ON_BOTH(double_free_of_5000_bytes_for_owners_that_begin_with_a_zero),
    ON_BOTH(free_of_an_owners_block_that_begins_with_a_zero),
    ON_BOTH(sized_delete_of_half_of_it),
    ON_BOTH(sized_delete_of_a_mapping),
    ON_BOTH(sized_delete_of_an_unmapped_address),
    ON_BOTH(sized_delete_of_a_large_size),
    ON_BOTH(sized_delete_of_null),
    ON_BOTH(alignments_are_mixed_up),
    ON_BOTH(free_of_a_word_in_a_string),
    ON_BOTH(free_of_what_was_never_written),
    ON_BOTH(double_free_in_a_threads_destructor),
    ON_BOTH(write_beyond_a_block_whose_neighbour_goes_first),
    ON_BOTH(write_before_one_of_few_blocks),
    ON_BOTH(write_beyond_a_block_that_moves),
    ON_BOTH(read_of_what_a_block_gains),
};

MAIN(cases)
