/* A small program with a thread, which then prints which pieces of 64 KiB of the library's code the kernel has mapped for it. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 300 };

static void *work(void *unused) {
    static _Thread_local char *blocks[BLOCKS];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            size_t bytes = (size_t)(i * 37 % 3000 + 1);
            blocks[i] = i % 5 == 0 ? calloc(1, bytes) : malloc(bytes);
            memset(blocks[i], round, bytes);
            if (i % 7 == 0) blocks[i] = realloc(blocks[i], bytes * 2);
        }
        for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    }
    return unused;
}

/* Where the library's code lies; false if it is not there. */
static int find_code(uintptr_t *begin, uintptr_t *end) {
    char line[1024];
    FILE *maps = fopen("/proc/self/maps", "r");
    int found = 0;
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL)
        found = strstr(line, " r-xp ") != NULL && strstr(line, "libstrata") != NULL && sscanf(line, "%lx-%lx", begin, end) == 2;
    if (maps != NULL) fclose(maps);
    return found;
}

int main(void) {
    pthread_t thread;
    work(NULL);
    if (pthread_create(&thread, NULL, work, NULL) != 0 || pthread_join(thread, NULL) != 0) return 1;
    uintptr_t begin, end;
    FILE *pages = fopen("/proc/self/pagemap", "rb");
    if (pages == NULL || !find_code(&begin, &end)) return 2;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    long last = -1;
    for (uintptr_t place = begin; place < end; place += page) {
        uint64_t entry;
        long piece = (long)((place - begin) >> 16);
        if (fseek(pages, (long)(place / page * sizeof entry), SEEK_SET) != 0) return 3;
        if (fread(&entry, sizeof entry, 1, pages) != 1) return 3;
        if (entry >> 63 != 0 && piece != last) printf("%ld\n", last = piece);
    }
    return 0;
}
