/* Blocks that come and go, with a look at what is in them. After tap.h. */
#ifndef CHURN_H
#define CHURN_H
#include <stdlib.h>

static unsigned next_random(unsigned *state) { return *state = *state * 1664525u + 1013904223u, *state >> 8; }

/* Replaces a random one of 128 blocks `steps` times: each 50th has up to `large` bytes, the others up to `small`. */
static void churn_sizes(unsigned seed, int steps, unsigned large, unsigned small) {
    enum { BLOCKS = 128 };
    unsigned char *blocks[BLOCKS] = {0};
    unsigned sizes[BLOCKS];
    for (int step = 0; step < steps; step++) {
        unsigned i = next_random(&seed) % BLOCKS;
        if (blocks[i] != NULL) {
            CHECK(blocks[i][0] == (unsigned char)i && blocks[i][sizes[i] - 1] == (unsigned char)i);
            free(blocks[i]);
        }
        sizes[i] = 1 + next_random(&seed) % (step % 50 == 0 ? large : small);
        CHECK((blocks[i] = step % 2 ? malloc(sizes[i]) : calloc(1, sizes[i])) != NULL);
        if (step % 2 == 0)
            for (unsigned at = 0; at < sizes[i]; at += 61) CHECK(blocks[i][at] == 0);
        blocks[i][0] = blocks[i][sizes[i] - 1] = (unsigned char)i;
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
}
#endif
