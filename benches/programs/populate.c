/* What the first touch of a small page costs: one by one, and by MADV_POPULATE_WRITE of so many at a time.
 *
 *   cc -O1 -o populate benches/programs/populate.c && taskset -c 0 ./populate
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, PAGES = 4096, ROUNDS = 5 };

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

/* ns a page, where 0 at a time means touched alone; negative where the kernel cannot. */
static double touch_all(int at_a_time) {
    size_t length = (size_t)PAGES * PAGE;
    char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return -1;
    madvise(memory, length, MADV_NOHUGEPAGE);
    double begun = now();
    for (int page = 0; page < PAGES; page++) {
        if (at_a_time && page % at_a_time == 0 &&
            madvise(memory + (size_t)page * PAGE, (size_t)at_a_time * PAGE, 23 /* MADV_POPULATE_WRITE */) != 0)
            return -1;
        memory[(size_t)page * PAGE] = 1;
    }
    double took = now() - begun;
    munmap(memory, length);
    return took / PAGES;
}

int main(void) {
    for (int at_a_time = 0; at_a_time <= 256; at_a_time = at_a_time ? at_a_time * 2 : 1) {
        double least = 0;
        for (int round = 0; round < ROUNDS; round++) {
            double took = touch_all(at_a_time);
            if (round == 0 || took < least) least = took;
        }
        printf("%3d at a time: %5.0f ns a page\n", at_a_time, least);
    }
    return 0;
}
