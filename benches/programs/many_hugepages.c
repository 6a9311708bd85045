/* A heap of nearly ten thousand hugepages, of which some are touched, some given back, and many spans are partly free: for a
 * look at its map. Needs 1.5 GiB of memory and 20 GiB of address space.
 *
 *   cc -O1 -fno-builtin -o many_hugepages benches/programs/many_hugepages.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE = 9000, SMALL = 400000 };

int main(void) {
    static char *large[LARGE], *small[SMALL];
    unsigned long state = 88172645463325252;
    for (int i = 0; i < LARGE; i++) {
        large[i] = malloc(2 << 20);
        if (i % 3 == 0) memset(large[i], 1, (size_t)(i % 7) * 40960 + 1);
    }
    for (int i = 0; i < SMALL; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        small[i] = malloc(16 + state % 3000);
        small[i][0] = 1;
    }
    for (int i = 0; i < SMALL; i++)
        if (((unsigned)i * 2654435761u >> 8) % 10 < 7) free(small[i]);
    for (int i = 0; i < LARGE; i++)
        if (i % 11 == 0 || (i > 4000 && i < 4600)) free(large[i]);
    puts("done");
    return 0;
}
