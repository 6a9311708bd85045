/* A reference run for injected faults: what was allocated is good, whatever fails. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 300 };

static void *run(void *seed) {
    unsigned random = (unsigned)(size_t)seed;
    unsigned char *blocks[BLOCKS] = {0};
    for (int step = 0; step < 4000; step++) {
        random = random * 1664525 + 1013904223;
        int i = (int)((random >> 8) % BLOCKS);
        free(blocks[i]);
        random = random * 1664525 + 1013904223;
        size_t size = 1 + (random >> 8) % (step % 50 == 0 ? 3000000 : 3000);
        blocks[i] = step % 2 ? calloc(1, size) : malloc(size);
        if (blocks[i] == NULL && errno != ENOMEM) abort();
        if (blocks[i] == NULL) continue;
        for (size_t at = 0; step % 2 && at < size; at += 97)
            if (blocks[i][at] != 0) abort();
        memset(blocks[i], 1, size < 4096 ? size : 4096);
        if (step % 11 != 0) continue;
        /* One that cannot grow stays as it is. */
        unsigned char *grown = realloc(blocks[i], size * 2);
        if (grown == NULL && errno != ENOMEM) abort();
        if (grown != NULL) blocks[i] = grown;
        for (size_t at = 0; at < size && at < 4096; at++)
            if (blocks[i][at] != 1) abort();
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    return NULL;
}

/* A large block that grows, and moves: what is in it moves along, or the block stays as it was. */
static void grow(void) {
    size_t size = 5 << 20;
    unsigned char *block = malloc(size);
    if (block == NULL) return;
    for (size_t at = 0; at < size; at += 4096) block[at] = (unsigned char)(at >> 12);
    for (size_t wanted = 9 << 20; wanted < 40 << 20; wanted += 9 << 20) {
        free(malloc(wanted / 2)); /* what lies behind it changes */
        unsigned char *grown = realloc(block, wanted);
        if (grown != NULL) block = grown;
        for (size_t at = 0; at < size; at += 4096)
            if (block[at] != (unsigned char)(at >> 12)) abort();
    }
    free(block);
}

int main(void) {
    pthread_t threads[3];
    int started[3];
    for (int i = 0; i < 3; i++) started[i] = pthread_create(&threads[i], NULL, run, (void *)(size_t)(i + 1)) == 0;
    run((void *)9);
    for (int i = 0; i < 3; i++)
        if (started[i]) pthread_join(threads[i], NULL);
    malloc_trim(0);
    grow();
    run((void *)10);
    malloc_trim(0);
    puts("ok");
    return 0;
}
