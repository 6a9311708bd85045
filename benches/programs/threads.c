/* Threads that allocate, resize and free blocks, and free each other's.
 *
 * Usage: threads THREADS STEPS. Every block carries its size and a pattern made from a number of
 * its own; whoever frees it checks both. What is printed depends on the arguments alone, not on
 * how the threads were scheduled.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIVE = 256, MAILBOXES = 1024, SHORT_THREADS_PER_THREAD = 32 };

struct block {
    size_t size;
    uint64_t pattern;
    unsigned char bytes[];
};

static _Atomic(struct block *) mailboxes[MAILBOXES];
static atomic_ulong created, checked, damaged;
static unsigned long steps;

static uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Mostly small, sometimes some hundred KiB. */
static size_t random_size(uint64_t *state) {
    uint64_t r = next(state);
    unsigned shift = r % 64 == 0 ? 18 : r % 8 == 0 ? 13 : 9;
    return (r >> 8) % ((size_t)1 << shift);
}

static unsigned char byte_at(const struct block *block, size_t i) {
    return (unsigned char)(block->pattern >> (i % 8 * 8));
}

/* The first and last bytes are enough to see an overlap, and leave time for more blocks. */
static void fill(struct block *block) {
    for (size_t i = 0; i < block->size; i += i < 64 ? 1 : 509)
        block->bytes[i] = byte_at(block, i);
    if (block->size)
        block->bytes[block->size - 1] = byte_at(block, block->size - 1);
}

static int intact(const struct block *block, size_t size) {
    for (size_t i = 0; i < size; i += i < 64 ? 1 : 509)
        if (block->bytes[i] != byte_at(block, i))
            return 0;
    return 1;
}

static struct block *create(uint64_t *state) {
    size_t size = random_size(state);
    size_t bytes = sizeof(struct block) + size;
    struct block *block = NULL;
    switch (next(state) % 4) {
    case 0:
        block = calloc(1, bytes);
        for (size_t i = 0; block && i < bytes; i += 61)
            if (((unsigned char *)block)[i])
                atomic_fetch_add(&damaged, 1);
        break;
    case 1: {
        size_t alignment = (size_t)16 << next(state) % 9;
        void *aligned = NULL;
        if (posix_memalign(&aligned, alignment, bytes) == 0)
            block = aligned;
        if ((uintptr_t)aligned % alignment)
            atomic_fetch_add(&damaged, 1);
        break;
    }
    default:
        block = malloc(bytes);
    }
    if (!block) {
        perror("allocation");
        exit(1);
    }
    block->size = size;
    block->pattern = next(state);
    fill(block);
    atomic_fetch_add(&created, 1);
    return block;
}

static struct block *resize(struct block *block, uint64_t *state) {
    size_t size = random_size(state), kept = size < block->size ? size : block->size;
    block = realloc(block, sizeof(struct block) + size);
    if (!block) {
        perror("realloc");
        exit(1);
    }
    if (!intact(block, kept))
        atomic_fetch_add(&damaged, 1);
    block->size = size;
    fill(block);
    return block;
}

static void destroy(struct block *block) {
    if (!block)
        return;
    atomic_fetch_add(intact(block, block->size) ? &checked : &damaged, 1);
    free(block);
}

static void *short_life(void *argument) {
    uint64_t state = (uintptr_t)argument * 2654435761u | 1;
    struct block *blocks[16];
    for (int i = 0; i < 16; i++)
        blocks[i] = create(&state);
    for (int i = 0; i < 15; i++)
        destroy(blocks[i]);
    return blocks[15]; /* freed by the thread that waits for this one */
}

static void *work(void *argument) {
    uint64_t state = ((uintptr_t)argument + 1) * 0x9E3779B97F4A7C15u;
    struct block *live[LIVE] = {0};
    for (unsigned long step = 0; step < steps; step++) {
        struct block **slot = &live[next(&state) % LIVE];
        if (*slot && next(&state) % 8 == 0) {
            *slot = resize(*slot, &state);
            continue;
        }
        struct block *created_here = create(&state);
        /* A quarter is freed by whichever thread comes by next. */
        if (next(&state) % 4 == 0) {
            destroy(atomic_exchange(&mailboxes[next(&state) % MAILBOXES], created_here));
        } else {
            destroy(*slot);
            *slot = created_here;
        }
    }
    for (int i = 0; i < LIVE; i++)
        destroy(live[i]);
    for (uintptr_t i = 0; i < SHORT_THREADS_PER_THREAD; i++) {
        pthread_t thread;
        void *left;
        if (pthread_create(&thread, NULL, short_life, (void *)(next(&state) | 1)) != 0) {
            perror("pthread_create");
            exit(1);
        }
        pthread_join(thread, &left);
        destroy(left);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: threads THREADS STEPS\n");
        return 2;
    }
    unsigned long threads = strtoul(arguments[1], NULL, 10);
    steps = strtoul(arguments[2], NULL, 10);
    pthread_t *ids = calloc(threads, sizeof *ids);
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)i) != 0) {
            perror("pthread_create");
            return 1;
        }
    for (unsigned long i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    for (int i = 0; i < MAILBOXES; i++)
        destroy(atomic_load(&mailboxes[i]));
    free(ids);
    printf("%lu threads, %lu steps each, %lu blocks created, %lu freed intact, %lu damaged\n",
           threads, steps, atomic_load(&created), atomic_load(&checked), atomic_load(&damaged));
    return atomic_load(&damaged) != 0 || atomic_load(&checked) != atomic_load(&created);
}
