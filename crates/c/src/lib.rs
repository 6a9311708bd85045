//! `libstrata`: `malloc` and its family for C and C++ programs.
//!
//! Preloaded (`LD_PRELOAD=libstrata.so`) or linked, it takes the place of the C library's allocator and of the
//! C++ runtime's operators `new` and `delete`. `include/strata/strata.h` declares what no standard header
//! does.
//!
//! | what | functions |
//! |---|---|
//! | C and POSIX | `malloc` `calloc` `realloc` `free` `free_sized` `free_aligned_sized` `aligned_alloc` `posix_memalign` |
//! | older | `memalign` `valloc` `pvalloc` `cfree` |
//! | glibc | `malloc_usable_size` `malloc_trim` `mallopt`, and `__libc_malloc` `__libc_calloc` `__libc_realloc` `__libc_free` `__libc_memalign` `__libc_valloc` `__libc_pvalloc` `__libc_mallinfo` `__libc_mallopt`, which some programs still call |
//! | its introspection | `malloc_stats` `malloc_info` `mallinfo` `mallinfo2` |
//! | jemalloc | `mallocx` `rallocx` `xallocx` `sallocx` `dallocx` `sdallocx` `nallocx` |
//! | C++ | the 20 forms of operators `new` and `delete`, and `__size_returning_new` in 4 |
//! | `MallocExtension` | TCMalloc's and gperftools', as `MallocExtension_*`: `include/strata/malloc_extension.h` |
//! | processes | `vfork` and `clone`, so that a child that allocates in its parent's memory does no harm; `fork`, so that no signal comes in its middle, and `__register_atfork`, so that the heap's handlers are the innermost; `popen`, so that no fork waits for it while it waits for the heap; `prctl` and `syscall`, so that the heap knows of filters of system calls; `dlopen`, so that libraries which look for `malloc` in the C library find this one's |
//!
//! `reallocarray`, `strdup` and the like are left to the C library, which builds them on these.
//!
//! This crate must not know how a heap works: it knows the interfaces of C and C++, their rules about sizes,
//! alignments and `errno`, how memory that has run out is told to each, and what to do when a program ends.
//!
//! # How it is built
//!
//! `no_std`, on libc alone, by a cargo invocation of its own (`cargo xtask dist`), because it has the panic handler and
//! must not unwind. The page size is fixed when it is compiled, by `--cfg strata_page_size="4k"` (or `"8k"`,
//! which is the default, `"32k"`, `"256k"`), so that no path asks for it.
//!
//! # What a program gets
//!
//! - Blocks of more than 8 bytes are aligned to 16, others to 8: the most that an object of that size can
//!   need. A request for 0 bytes is a block of its own.
//! - Where memory has run out, or a size is impossible, the C functions answer null with `errno` `ENOMEM`, and
//!   the operators `new` do what C++ says: see `throw`. Requests beyond `PTRDIFF_MAX` bytes always fail.
//! - `free` and its kin leave `errno` as it was; so does every function that succeeds.
//! - `realloc(p, 0)` frees `p` and answers null, as glibc's does.
//! - A pointer that was never handed out ends the program with one line on standard error.
//!
//! # Example
//!
//! ```text
//! LD_PRELOAD=/usr/lib/libstrata.so STRATA_CONF=exit_report:tcmalloc sort big.txt
//! cc -o program program.c -lstrata
//! ```
#![no_std]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the names of the operators new are those of 64-bit systems");

mod aligned;
#[cfg(target_arch = "x86_64")]
mod clone;
#[cfg(target_arch = "x86_64")]
mod dlopen;
mod exhausted;
#[cfg(target_arch = "x86_64")]
mod fork;
#[cfg(target_arch = "x86_64")]
mod fork_handlers;
#[cfg(target_arch = "x86_64")]
mod frame;
mod glibc;
mod gperftools;
mod heap;
mod introspection;
mod jemalloc;
#[cfg(target_arch = "x86_64")]
mod main_begins;
mod malloc;
mod malloc_extension;
mod mallopt;
#[cfg(target_arch = "x86_64")]
mod next;
mod operator_delete;
mod operator_new;
#[cfg(panic = "abort")]
mod panic;
#[cfg(target_arch = "x86_64")]
mod popen;
mod reports;
#[cfg(target_arch = "x86_64")]
mod sandbox;
mod size_returning_new;
mod sized;
mod start;
mod throw;
#[cfg(target_arch = "x86_64")]
mod vfork;
