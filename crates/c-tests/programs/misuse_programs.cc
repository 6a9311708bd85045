/* Mistakes as programs make them: with what the C library and C++'s own types hand out, through realloc, in threads, handlers and
 * children, and with pointers that never were any. The aim is in each that the allocator hands out one address twice, or
 * one that is not its own. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "aims.h"

#include <memory>
#include <new>
#include <signal.h>
#include <string>
#include <sys/wait.h>
#include <vector>

static void *address(uintptr_t value) { return hidden_pointer((void *)value); }

/* Other work: blocks of many sizes, of which some stay. */
static void work(int operations) {
    static void *kept[64];
    for (int i = 0; i < operations; i++) {
        free(kept[i % 64]);
        kept[i % 64] = malloc((size_t)(i * 37 % 2000));
    }
}

/* Through realloc. */

static void realloc_moved_and_the_old_one_is_freed(void) {
    char *p = block(40), *q = (char *)hidden_pointer(realloc(p, 4000));
    free(p);
    free(q);
    look_for_twins(40, 1000);
    settle();
}

static void realloc_in_place_and_both_are_freed(void) {
    char *p = block(100), *q = (char *)hidden_pointer(realloc(p, 101));
    free(p);
    free(q);
    look_for_twins(100, 1000);
    settle();
}

static void realloc_of_a_large_block_and_the_old_one_is_freed(void) {
    char *p = block(1 << 20);
    char *wall = block(1 << 20);
    char *q = (char *)hidden_pointer(realloc(p, 64 << 20));
    if (q == p) return;
    free(p);
    look_for_twins(1 << 20, 4);
    free(wall);
    free(q);
}

static void realloc_of_a_large_block_twice(void) {
    char *p = block(1 << 20), *q = (char *)hidden_pointer(realloc(p, 100));
    if (realloc(p, 200) == NULL) return;
    look_for_twins(200, 100);
    free(q);
}

static void realloc_of_a_freed_large_block(void) {
    char *p = block(4 << 20);
    free(p);
    if (realloc(p, 8 << 20) == p) exploited();
}

static void realloc_inside_a_block_of_3000(void) {
    char *p = block(3000);
    if (realloc(hide(p + 64), 100) == NULL) return;
    look_within(p, 3000, 3000, 1000);
    settle();
}

static void realloc_of_letters(void) {
    if (realloc(address(0x4141414141414141), 100) != NULL) exploited();
}

static void reallocarray_of_what_was_freed_long_ago(void) {
    char *p = block(48);
    free(p);
    work(500);
    void *q = reallocarray(p, 3, 16);
    if (q == NULL) return;
    look_for_twins(48, 1000);
    settle();
}

/* Pointers beside blocks. */

static void free_before_an_aligned_block(void) {
    char *p = (char *)hidden_pointer(aligned_alloc(4096, 4096));
    free(hide(p - 16));
    look_for_twins(4096, 100);
    settle();
}

static void free_inside_a_memalign_block(void) {
    char *p = (char *)hidden_pointer(memalign(256, 1000));
    free(hide(p + 256));
    look_within(p, 1000, 1000, 1000);
    settle();
}

static void free_16_into_a_block_of_3000(void) {
    char *p = block(3000);
    free(hide(p + 16));
    look_within(p, 3000, 3000, 1000);
    settle();
}

static void free_64_into_a_block_of_3000(void) {
    char *p = block(3000);
    free(hide(p + 64));
    look_within(p, 3000, 3000, 1000);
    settle();
}

static void free_16_into_a_block_of_32_kib(void) {
    char *p = block(32 << 10);
    free(hide(p + 16));
    look_within(p, 32 << 10, 32 << 10, 100);
    settle();
}

static void free_of_the_end_of_a_block(void) {
    char *p = block(64), *neighbour = block(64);
    free(hide(p + malloc_usable_size(p)));
    look_for_twins(64, MANY);
    if (neighbour == NULL) exploited();
    settle();
}

static void free_of_a_large_blocks_last_page(void) {
    char *p = block(3 << 20);
    free(hide(p + (3 << 20) - 4096));
    look_within(p, 3 << 20, 4096, 100);
}

/* Pointers to nowhere. */

static void free_of_minus_one(void) { free(address(UINTPTR_MAX)); }
static void free_of_the_last_aligned_address(void) { free(address(UINTPTR_MAX - 15)); }
static void free_of_the_first_address_that_cannot_be(void) { free(address((uintptr_t)1 << 47)); }
static void free_of_a_kernel_address(void) { free(address(0xffff800000001000)); }
static void free_of_eight(void) { free(address(8)); }
static void free_of_the_first_page(void) { free(address(4096)); }

static void free_of_a_size(void) {
    char *p = block(1000);
    free(address(malloc_usable_size(p)));
}

static void size_of_garbage(void) {
    static const uintptr_t garbage[] = {1, 8, 4096, 0x4141414141414141, (uintptr_t)1 << 47, 0xffff800000001000, UINTPTR_MAX - 7};
    for (size_t i = 0; i < sizeof(garbage) / sizeof(*garbage); i++)
        if (malloc_usable_size(address(garbage[i])) != 0) exploited();
}

/* Behind the heap's blocks, where it has reserved more than there ever was, or nothing is. */
static void free_far_behind_the_heaps_blocks(void) {
    char *p = block(1 << 20);
    char *behind = (char *)(((uintptr_t)p & ~((uintptr_t)4095)) + ((uintptr_t)100 << 20));
    free(hide(behind));
    look_within(behind, 4096, 4096, 100);
}

/* Where blocks are, the allocator keeps notes on them: in mappings without a name, as these are. */
static void free_in_every_mapping_without_a_name(void) {
    enum { MOST = 256 };
    static uintptr_t starts[MOST];
    int count = 0;
    free(block(100));
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned long start = 0, end = 0;
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        int name = 0;
        sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &start, &end, &name);
        int is_ours = strstr(line, "strata") != NULL || name > 0 && line[name] == 0;
        if (is_ours && count < MOST) starts[count++] = start;
    }
    if (maps != NULL) fclose(maps);
    for (int i = 0; i < count; i++) free(address(starts[i] + 1032));
    for (int i = 0; i < count; i++) look_within((char *)starts[i] + 1032, 8, 8, 1000);
}

static void free_of_a_page_that_was_mapped_with_a_file(void) {
    char *p = (char *)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fileno(fopen("/proc/self/exe", "r")), 0);
    CHECK(p != MAP_FAILED);
    free(hide(p));
    look_within(p, 4096, 64, 1000);
}

static void free_of_an_argument(void) {
    extern char **environ;
    free(hide(environ[0]));
    look_within(environ[0], 1, 16, 1000);
    settle();
}

static void free_of_a_literal(void) {
    free(hide((char *)"a string that nobody allocated"));
    settle();
}

/* Twice, with other work between. */

static void twice_with_work_between(int operations) {
    char *p = block(72);
    free(p);
    work(operations);
    free(p);
    look_for_twins(72, 1000);
    settle();
}

static void double_free_with_one_operation_between(void) { twice_with_work_between(1); }
static void double_free_with_ten_operations_between(void) { twice_with_work_between(10); }
static void double_free_with_a_thousand_operations_between(void) { twice_with_work_between(1000); }

static void double_free_in_a_list(void) {
    struct node {
        node *next;
        char text[40];
    } *nodes[3];
    for (int i = 0; i < 3; i++) nodes[i] = block<node>(sizeof(node));
    for (int i = 0; i < 3; i++) nodes[i]->next = nodes[(i + 1) % 3];
    /* The list is a ring, and whoever frees it looks for null. */
    node *next = nodes[0];
    for (int i = 0; i < 5; i++) {
        node *gone = next;
        next = nodes[(i + 1) % 3];
        free(gone);
    }
    look_for_twins(sizeof(node), 1000);
    settle();
}

static void double_free_with_a_write_between(void) {
    char *p = (char *)hidden_pointer(calloc(1, 96));
    free(p);
    memset(p, 0, 96);
    free(p);
    look_for_twins(96, 1000);
    settle();
}

static void double_free_of_a_large_block_with_others_between(void) {
    char *p = block(2 << 20);
    free(p);
    char *q = block(3 << 20);
    free(p);
    look_for_twins(2 << 20, 4);
    free(q);
}

/* In threads, handlers and children. */

static void first_here_and_then_there(void) {
    char *p = block(100);
    free(p);
    run_in_thread(free_it, p);
    look_for_twins(100, 10000);
    settle();
}

static pthread_barrier_t all;

static void *free_when_all_do(void *pointer) {
    pthread_barrier_wait(&all);
    free(pointer);
    return NULL;
}

static void eight_threads_free_an_aligned_block(void) {
    void *p = hidden_pointer(aligned_alloc(64, 192));
    pthread_t threads[8];
    run_on_all_cpus();
    CHECK(pthread_barrier_init(&all, NULL, 8) == 0);
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, free_when_all_do, p) == 0);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    look_for_twins(192, 10000);
    settle();
}

static void *caught;

static void free_what_was_caught(int) { free(caught); }

static void double_free_in_a_handler(void) {
    caught = block(100);
    signal(SIGUSR1, free_what_was_caught);
    free(caught);
    raise(SIGUSR1);
    look_for_twins(100, 1000);
    settle();
}

/* The child ends as the case would have. */
static void double_free_in_a_child(void) {
    char *p = block(100);
    free(p);
    pid_t child = fork();
    if (child != 0) {
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child);
        if (WIFSIGNALED(status)) {
            signal(WTERMSIG(status), SIG_DFL);
            raise(WTERMSIG(status));
        }
        _exit(WEXITSTATUS(status));
    }
    free(p);
    look_for_twins(100, 1000);
    settle();
    _exit(0);
}

/* With what the C library hands out. */

static void stream_freed_and_closed(void) {
    FILE *stream = hide(fopen("/dev/null", "w"));
    CHECK(stream != NULL);
    free(stream);
    look_for_twins(malloc_usable_size(block(552)), 4);
    fclose(stream);
    look_for_twins(552, 1000);
    settle();
}

static void line_freed_twice(void) {
    char *line = NULL;
    size_t bytes = 0;
    FILE *stream = fopen("/proc/self/status", "r");
    CHECK(stream != NULL && getline(&line, &bytes, stream) > 0);
    fclose(stream);
    free(hide(line));
    free(hide(line));
    look_for_twins(bytes, 1000);
    settle();
}

static void copy_of_a_string_freed_twice(void) {
    char *p = hide(strdup("a string")), *q = hide(strdup("another string"));
    free(p);
    free(q);
    free(p);
    look_for_twins(9, 1000);
    settle();
}

/* With what C++ has. */

struct with_destructor {
    int number = 1;
    ~with_destructor() { hidden((size_t)number); }
};

static void array_with_a_cookie_deleted_as_one(void) {
    with_destructor *p = hide(new with_destructor[10]);
    delete p;
    look_within((char *)p - 8, 48, 48, 1000);
    settle();
}

struct first_base {
    virtual ~first_base() = default;
    long a = 1;
};
struct second_base {
    long b = 2;
};
struct of_two : first_base, second_base {
    char more[200];
};

static void deleted_by_way_of_its_second_base(void) {
    second_base *p = hide(static_cast<second_base *>(new of_two));
    delete p;
    look_within((char *)p, 200, sizeof(of_two), 1000);
    settle();
}

struct plain_base {
    long a;
};
struct plain_derived : plain_base {
    char more[200];
};

static void deleted_with_the_size_of_its_base(void) {
    void *blocks[8];
    for (int i = 0; i < 8; i++) memset(blocks[i] = new plain_derived, 'a', sizeof(plain_derived));
    delete hide((plain_base *)blocks[3]);
    blocks[3] = NULL;
    look_for_overlap(blocks, 8, sizeof(plain_derived), sizeof(plain_base), 1000);
    look_for_twins(sizeof(plain_base), 1000);
    settle();
}

static void deleted_with_a_larger_size(void) {
    void *blocks[16];
    for (int i = 0; i < 16; i++) memset(blocks[i] = ::operator new(64), 'a', 64);
    ::operator delete(hide(blocks[5]), (size_t)256);
    blocks[5] = NULL;
    look_for_overlap(blocks, 16, 64, 256, 1000);
    settle();
}

static void deleted_with_another_alignment(void) {
    void *blocks[16];
    for (int i = 0; i < 16; i++) memset(blocks[i] = ::operator new(96, std::align_val_t(32)), 'a', 96);
    ::operator delete(hide(blocks[5]), (size_t)96, std::align_val_t(256));
    blocks[5] = NULL;
    look_for_overlap(blocks, 16, 96, 256, 1000);
    settle();
}

static void contents_of_a_vector_freed(void) {
    {
        std::vector<int> numbers(30, 7);
        free(hide(numbers.data()));
    }
    look_for_twins(120, 1000);
    settle();
}

static void contents_of_a_short_string_freed(void) {
    std::string text("short");
    free(hide((char *)text.c_str()));
    look_within((char *)&text, sizeof(text), 16, 1000);
    settle();
}

static void two_owners_that_share(void) {
    {
        long *p = new long(5);
        std::shared_ptr<long> first(hide(p)), second(hide(p));
    }
    look_for_twins(sizeof(long), 1000);
    settle();
}

static void two_owners_that_do_not(void) {
    {
        std::unique_ptr<char[]> first(new char[200]);
        std::unique_ptr<char[]> second(hide(first.get()));
    }
    look_for_twins(200, 1000);
    settle();
}

static void new_deleted_and_freed(void) {
    char *p = hide(new char[100]);
    delete[] p;
    free(hide(p));
    look_for_twins(100, 1000);
    settle();
}

/* Links and marks that are written over. */

static void the_end_of_a_block_runs_into_a_free_one(size_t bytes) {
    char *blocks[32];
    for (int i = 0; i < 32; i++) blocks[i] = block(32);
    for (int i = 1; i < 32; i += 2) free(blocks[i]);
    for (int i = 0; i < 32; i += 2) memset(blocks[i] + malloc_usable_size(blocks[i]), 'X', bytes);
    look_for_twins(32, 1000);
    for (int i = 0; i < 32; i += 2) free(blocks[i]);
    settle();
}

static void one_byte_into_a_free_block(void) { the_end_of_a_block_runs_into_a_free_one(1); }
static void eight_bytes_into_a_free_block(void) { the_end_of_a_block_runs_into_a_free_one(8); }
static void sixteen_bytes_into_a_free_block(void) { the_end_of_a_block_runs_into_a_free_one(16); }

static void write_before_a_block_into_a_free_one(void) {
    char *blocks[32];
    for (int i = 0; i < 32; i++) blocks[i] = block(8);
    for (int i = 0; i < 32; i += 2) free(blocks[i]);
    for (int i = 1; i < 32; i += 2) memset(blocks[i] - 8, 'X', 8);
    look_for_twins(8, 1000);
    for (int i = 1; i < 32; i += 2) free(blocks[i]);
    settle();
}

static void free_block_filled_with_its_own_address(void) {
    void **blocks[16];
    for (int i = 0; i < 16; i++) blocks[i] = block<void *>(64);
    for (int i = 0; i < 16; i++) free(blocks[i]);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) blocks[i][j] = blocks[i];
    look_for_twins(64, 1000);
    settle();
}

static const struct test_case cases[] = {
    ON_BOTH(realloc_moved_and_the_old_one_is_freed), ON_BOTH(realloc_in_place_and_both_are_freed),
    ON_BOTH(realloc_of_a_large_block_and_the_old_one_is_freed), ON_BOTH(realloc_of_a_large_block_twice),
    ON_BOTH(realloc_of_a_freed_large_block), ON_BOTH(realloc_inside_a_block_of_3000), ON_BOTH(realloc_of_letters),
    ON_BOTH(reallocarray_of_what_was_freed_long_ago), ON_BOTH(free_before_an_aligned_block),
    ON_BOTH(free_inside_a_memalign_block), ON_BOTH(free_16_into_a_block_of_3000), ON_BOTH(free_64_into_a_block_of_3000),
    ON_BOTH(free_16_into_a_block_of_32_kib), ON_BOTH(free_of_the_end_of_a_block), ON_BOTH(free_of_a_large_blocks_last_page),
    ON_BOTH(free_of_minus_one), ON_BOTH(free_of_the_last_aligned_address), ON_BOTH(free_of_the_first_address_that_cannot_be),
    ON_BOTH(free_of_a_kernel_address), ON_BOTH(free_of_eight), ON_BOTH(free_of_the_first_page), ON_BOTH(free_of_a_size),
    ON_BOTH(size_of_garbage), ON_BOTH(free_far_behind_the_heaps_blocks), ON_BOTH(free_in_every_mapping_without_a_name),
    ON_BOTH(free_of_a_page_that_was_mapped_with_a_file), ON_BOTH(free_of_an_argument), ON_BOTH(free_of_a_literal),
    ON_BOTH(double_free_with_one_operation_between), ON_BOTH(double_free_with_ten_operations_between),
    ON_BOTH(double_free_with_a_thousand_operations_between), ON_BOTH(double_free_in_a_list),
    ON_BOTH(double_free_with_a_write_between), ON_BOTH(double_free_of_a_large_block_with_others_between),
    ON_BOTH(first_here_and_then_there), ON_BOTH(eight_threads_free_an_aligned_block), ON_BOTH(double_free_in_a_handler),
    ON_BOTH(double_free_in_a_child), ON_BOTH(stream_freed_and_closed), ON_BOTH(line_freed_twice),
    ON_BOTH(copy_of_a_string_freed_twice), ON_BOTH(array_with_a_cookie_deleted_as_one),
    ON_BOTH(deleted_by_way_of_its_second_base), ON_BOTH(deleted_with_the_size_of_its_base),
    ON_BOTH(deleted_with_a_larger_size), ON_BOTH(deleted_with_another_alignment), ON_BOTH(contents_of_a_vector_freed),
    ON_BOTH(contents_of_a_short_string_freed), ON_BOTH(two_owners_that_share), ON_BOTH(two_owners_that_do_not),
    ON_BOTH(new_deleted_and_freed), ON_BOTH(one_byte_into_a_free_block), ON_BOTH(eight_bytes_into_a_free_block),
    ON_BOTH(sixteen_bytes_into_a_free_block), ON_BOTH(write_before_a_block_into_a_free_one),
    ON_BOTH(free_block_filled_with_its_own_address),
};

MAIN(cases)
