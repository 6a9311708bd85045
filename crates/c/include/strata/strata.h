/* strata.h: what libstrata.so and libstrata.a have beyond the standard headers.
 *
 * malloc, calloc, realloc, free, aligned_alloc and posix_memalign are declared by <stdlib.h>,
 * memalign, valloc, pvalloc, malloc_usable_size and malloc_trim by glibc's <malloc.h>, operators
 * new and delete by <new>; the library defines all of them.
 *
 * Preload the library (LD_PRELOAD=libstrata.so), or link with it (-lstrata) before the C library.
 * The variable STRATA_CONF configures it: key:value pairs, separated by commas.
 */
#ifndef STRATA_STRATA_H
#define STRATA_STRATA_H

#include <stddef.h>

/* The version of this header. A change of the major number takes something away. */
#define STRATA_VERSION_MAJOR 0
#define STRATA_VERSION_MINOR 1
#define STRATA_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#define STRATA_NOEXCEPT noexcept
#else
#define STRATA_NOEXCEPT
#endif

/* For the flags of sdallocx and nallocx: an alignment, by its logarithm. They are jemalloc's. */
#ifndef MALLOCX_LG_ALIGN
#define MALLOCX_LG_ALIGN(lg_align) ((int)(lg_align))
#endif

/* C23 7.24.3.4: free(pointer), of a block of malloc, calloc or realloc, where size is what it was
 * asked for with. Null is no block. Looks nothing up, and so is faster than free. */
void free_sized(void *pointer, size_t size) STRATA_NOEXCEPT;

/* C23 7.24.3.5: the same for a block of aligned_alloc. */
void free_aligned_sized(void *pointer, size_t align, size_t size) STRATA_NOEXCEPT;

/* As jemalloc's: frees a block, not null, whose size is at least what was asked for and at most what nallocx has
 * for that. */
void sdallocx(void *pointer, size_t size, int flags) STRATA_NOEXCEPT;

/* As jemalloc's: the size of the block that such a request gets; 0 if there can be none. */
size_t nallocx(size_t size, int flags) STRATA_NOEXCEPT;

/* free, by its name in SunOS. */
void cfree(void *pointer) STRATA_NOEXCEPT;

#undef STRATA_NOEXCEPT
#ifdef __cplusplus
}
#endif

#endif
