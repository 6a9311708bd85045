/* A block that doubles by realloc from 64 bytes to as many as the first argument says (65536), a thousand times over, fifteen times; the
   second argument 1 writes all of it, 0 its last byte. Prints the least time of a chain. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHAINS = 1000, ROUNDS = 15, FIRST = 64 };

static void fill(char *from, size_t bytes, int whole) {
    if (whole) memset(from, 1, bytes);
    else from[bytes - 1] = 1;
}

static void grow(size_t most, int whole) {
    char *block = malloc(FIRST);
    if (block == NULL) abort();
    fill(block, FIRST, whole);
    for (size_t size = FIRST; size < most; size *= 2) {
        block = realloc(block, 2 * size);
        if (block == NULL) abort();
        fill(block + size, size, whole);
    }
    free(block);
}

static double microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

int main(int count, char **arguments) {
    size_t most = count > 1 ? strtoul(arguments[1], NULL, 10) : 65536;
    int whole = count > 2 && strtoul(arguments[2], NULL, 10) != 0;
    double least = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double begin = microseconds();
        for (int chain = 0; chain < CHAINS; chain++) grow(most, whole);
        double took = (microseconds() - begin) / CHAINS;
        if (round == 0 || took < least) least = took;
    }
    printf("%.3f us a chain\n", least);
    return 0;
}
