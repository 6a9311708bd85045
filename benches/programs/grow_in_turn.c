/* Three vectors that grow in turn by half, from 1 to 256 MiB, three times over: each has to move. Prints the time and the peak. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { VECTORS = 3, ROUNDS = 3 };

int main(void) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int round = 0; round < ROUNDS; round++) {
        char *vectors[VECTORS] = {0};
        size_t had = 0;
        for (size_t size = 1 << 20; size <= 256 << 20; had = size, size += size / 2)
            for (int i = 0; i < VECTORS; i++) {
                vectors[i] = realloc(vectors[i], size);
                if (!vectors[i]) return 1;
                memset(vectors[i] + had, i + 1, size - had);
            }
        for (int i = 0; i < VECTORS; i++) {
            for (size_t at = 0; at < had; at += 4096)
                if (vectors[i][at] != i + 1) return 2;
            free(vectors[i]);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%.2f s, %ld MiB at the peak\n",
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9, usage.ru_maxrss >> 10);
    return 0;
}
