/* strata.h: what libstrata.so and libstrata.a have beyond the standard headers.
 *
 * Declared elsewhere, and defined by the library all the same:
 *   <stdlib.h>  malloc, calloc, realloc, free, aligned_alloc, posix_memalign
 *   <malloc.h>  memalign, valloc, pvalloc, malloc_usable_size, malloc_trim, mallopt, malloc_stats, malloc_info,
 *               mallinfo, mallinfo2
 *   <new>       operators new and delete, in 20 forms
 * docs/compatibility.md has each with its standard and what it does differently.
 *
 * Preload the library (LD_PRELOAD=libstrata.so), or link with it (-lstrata) before the C library.
 * The variable STRATA_CONF configures it: key:value pairs, separated by commas; docs/configuration.md has the keys.
 *
 * All functions may be called by any thread at any time, but not from a signal handler that interrupted one of them.
 */
#ifndef STRATA_STRATA_H
#define STRATA_STRATA_H

#include <stddef.h>
#include <stdint.h>

/* The version of this header. A change of the major number takes something away or changes what it does, one of the minor number
 * adds something. */
#define STRATA_VERSION_MAJOR 0
#define STRATA_VERSION_MINOR 2
#define STRATA_VERSION_PATCH 0

#ifdef __cplusplus
#include <new>
extern "C" {
#if __cplusplus >= 201103L
#define STRATA_NOEXCEPT noexcept
#else
#define STRATA_NOEXCEPT throw()
#endif
#else
#define STRATA_NOEXCEPT
#endif

/* For the flags of the functions whose names end in x: an alignment, or its logarithm, and that the block shall be zero. They are jemalloc's. */
#ifndef MALLOCX_LG_ALIGN
#define MALLOCX_LG_ALIGN(lg_align) ((int)(lg_align))
#endif
#ifndef MALLOCX_ALIGN
#define MALLOCX_ALIGN(align) ((int)__builtin_ctzl(align))
#endif

/* C23 7.24.3.4: free(pointer), of a block of malloc, calloc or realloc, where size is what it was
 * asked for with. Null is no block. Another size than the block's is a misuse, of which it is told. errno stays. */
void free_sized(void *pointer, size_t size) STRATA_NOEXCEPT;

/* C23 7.24.3.5: the same for a block of aligned_alloc. */
void free_aligned_sized(void *pointer, size_t align, size_t size) STRATA_NOEXCEPT;

#ifndef MALLOCX_ZERO
#define MALLOCX_ZERO 0x40
#endif

/* As jemalloc's, which jemalloc(3) describes: a block; null with ENOMEM. If it shall be zero, all of it is that may be used. */
void *mallocx(size_t size, int flags) STRATA_NOEXCEPT;

/* As jemalloc's: the block with another size, moved if need be. If it shall be zero, what may be used of it and could not before is. */
void *rallocx(void *pointer, size_t size, int flags) STRATA_NOEXCEPT;

/* As jemalloc's, how many bytes of a block may be used after it was to grow or shrink at its place. No block does here. */
size_t xallocx(void *pointer, size_t size, size_t extra, int flags) STRATA_NOEXCEPT;

/* As jemalloc's: how many bytes of a block may be used. */
size_t sallocx(void *pointer, int flags) STRATA_NOEXCEPT;

/* As jemalloc's: free, of a block that is not null. */
void dallocx(void *pointer, int flags) STRATA_NOEXCEPT;

/* As jemalloc's: frees a block, not null, whose size is at least what was asked for and at most what nallocx has
 * for that; flags as it was asked for. */
void sdallocx(void *pointer, size_t size, int flags) STRATA_NOEXCEPT;

/* As jemalloc's: the size of the block that such a request gets; 0 if there can be none. Allocates nothing. */
size_t nallocx(size_t size, int flags) STRATA_NOEXCEPT;

/* free, by its name in SunOS. */
void cfree(void *pointer) STRATA_NOEXCEPT;

/* Parameters of mallopt beyond <malloc.h>'s, with Android's numbers: give free memory back now. Their value does not matter. */
#ifndef M_PURGE
#define M_PURGE (-101)
#endif
#ifndef M_PURGE_ALL
#define M_PURGE_ALL (-104)
#endif

#ifdef __cplusplus
/* Operators new that also say how many bytes can be used: all of n may be written, and given to a sized delete. Where there is
 * no memory they call the new-handler and throw, as operator new. (LLVM's and Abseil's; P0901) */
struct __sized_ptr_t {
    void *p;
    size_t n;
};
__sized_ptr_t __size_returning_new(size_t size);
/* hot_cold: 255 for an object that will be used much. It makes no difference here. */
__sized_ptr_t __size_returning_new_hot_cold(size_t size, uint8_t hot_cold);
#ifdef __cpp_aligned_new
__sized_ptr_t __size_returning_new_aligned(size_t size, std::align_val_t align);
__sized_ptr_t __size_returning_new_aligned_hot_cold(size_t size, std::align_val_t align, uint8_t hot_cold);
#endif
#endif

#undef STRATA_NOEXCEPT
#ifdef __cplusplus
}
#endif

#endif
