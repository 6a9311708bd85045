/* Programs that have much, free most of it, and then do nothing: `idle survivors`, `idle everything`.
 *
 * After each phase a line says which, and a line is awaited: who asks looks at the process meanwhile. Between the last line and
 * the end nothing is allocated or freed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

/* Without stdio, which has buffers. */
static void phase(const char *name) {
    char answer;
    if (write(1, name, strlen(name)) < 0 || read(0, &answer, 1) != 1) _exit(1);
}

static char *had(size_t size) {
    char *block = malloc(size);
    if (block == NULL) abort();
    memset(block, 1, size);
    return block;
}

/* 150 000 blocks of 512 bytes, 100 000 of 1 KiB, 50 000 of 2 KiB, of which one in twenty survives. */
static void survivors(void) {
    static char *blocks[300000];
    static const struct { int count; size_t size; } kinds[] = {{150000, 512}, {100000, 1024}, {50000, 2048}};
    phase("start\n");
    int count = 0;
    for (int kind = 0; kind < 3; kind++)
        for (int i = 0; i < kinds[kind].count; i++) blocks[count++] = had(kinds[kind].size);
    phase("peak\n");
    for (int i = 0; i < count; i++)
        if (next_random() % 20 != 0) free(blocks[i]);
    phase("freed\n");
}

/* 1 GiB in blocks of 64 bytes to 64 KiB, all of which go. */
static void everything(void) {
    static char *blocks[1 << 20];
    phase("start\n");
    size_t count = 0;
    for (size_t bytes = 0; bytes < (size_t)1 << 30 && count < sizeof blocks / sizeof blocks[0];) {
        size_t size = (size_t)64 << next_random() % 11;
        blocks[count++] = had(size);
        bytes += size;
    }
    phase("peak\n");
    for (size_t i = 0; i < count; i++) free(blocks[i]);
    phase("freed\n");
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "survivors") == 0) return survivors(), 0;
    if (argc == 2 && strcmp(argv[1], "everything") == 0) return everything(), 0;
    return 2;
}
