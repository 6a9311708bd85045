/* Writes what malloc_info says of a heap in which some blocks are free, and behind that what mallinfo2 says is in use. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    static void *blocks[5000];
    static char buffer[1 << 16]; /* so that the stream allocates nothing in between */
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    for (int i = 0; i < 5000; i++) blocks[i] = malloc((size_t)(i * 7 % 4000 + 1));
    for (int i = 0; i < 5000; i += 3) free(blocks[i]);
    if (malloc(3 << 20) == NULL) return 1;
    malloc_info(0, stdout);
    printf("<!-- %zu -->\n", mallinfo2().uordblks);
    return 0;
}
