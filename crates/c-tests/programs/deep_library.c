/* A library that is loaded with RTLD_DEEPBIND: what the C library defines, it finds there and not in the program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The program has one, too. */
int whose(void) { return 2; }
int deep_whose(void) { return whose(); }

void *deep_malloc(size_t size) { return malloc(size); }
void *deep_calloc(size_t count, size_t size) { return calloc(count, size); }
void *deep_realloc(void *block, size_t size) { return realloc(block, size); }
void *deep_aligned_alloc(size_t align, size_t size) { return aligned_alloc(align, size); }
char *deep_strdup(const char *text) { return strdup(text); }
size_t deep_usable_size(void *block) { return malloc_usable_size(block); }
void deep_free(void *block) { free(block); }

/* A child that allocates in its parent's memory: only where the function is the one that allows it. */
int deep_vfork_of_the_program(void) { return dlsym(RTLD_DEFAULT, "vfork") == (void *)vfork; }
