//! Per-CPU caches of free objects on restartable sequences.
//!
//! Each CPU has a region of slots, a stack of free objects for every size class. A thread pops from and pushes
//! to the stacks of the CPU that it runs on, in a *restartable sequence*: a handful of instructions that the
//! kernel restarts if the thread is interrupted in them. So neither lock nor atomic read-modify-write is
//! needed, and as many caches are warm as CPUs, not as threads.
//!
//! This crate must not know who makes objects: it refills and flushes through
//! [`ObjectSource`](strata_size_classes::ObjectSource). Nor does it know threads: whether one is registered is
//! its caller's to establish.
//!
//! It needs Linux on x86-64. On other machines [`CpuCache::set_up`] answers an error, and it does so too where this
//! crate is compiled with `--cfg strata_no_rseq`. Where the kernel or the C library has no rseq area, it must not
//! be called.
//!
//! ```
//! use strata_cpu_cache::{CpuCache, IdKind, Setup};
//! use strata_os::{SystemPages, possible_cpus, rseq};
//! use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
//!
//! /// Objects from the system's allocator.
//! struct Boxes;
//! // SAFETY: each pointer is to memory of the class's size that nobody else has; nothing unwinds.
//! unsafe impl ObjectSource for Boxes {
//!     fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
//!         let size = Pages8K::TABLE.size(class);
//!         for slot in &mut *out {
//!             *slot = vec![0u8; size].leak().as_mut_ptr();
//!         }
//!         out.len()
//!     }
//!     unsafe fn give(&self, _: SizeClass, _: &mut [*mut u8]) {} // an example may leak
//! }
//!
//! let Some(area) = rseq::glibc_area().filter(|_| CpuCache::IS_SUPPORTED) else { return };
//! let cache = CpuCache::new();
//! let setup = Setup {
//!     table: Pages8K::TABLE,
//!     ids: possible_cpus(),
//!     id_kind: IdKind::Cpu,
//!     area: area.offset,
//!     limit_bytes: CpuCache::DEFAULT_LIMIT_BYTES,
//! };
//! // SAFETY: glibc registered an area for every thread, CPU numbers are below the possible ones.
//! unsafe { cache.set_up(&SystemPages::new(), setup) }.expect("address space");
//!
//! let class = Pages8K::TABLE.entry(48).expect("a class").class();
//! // SAFETY: set up, and this thread is registered.
//! let object = unsafe { cache.pop(class) };
//! assert!(object.is_null(), "nothing is cached yet");
//! // SAFETY: set up, and this thread is registered.
//! let object = unsafe { cache.refill(&Boxes, class) };
//! // SAFETY: set up and registered; and the object is ours.
//! if !unsafe { cache.push(class, object) } {
//!     // SAFETY: set up and registered; no cache took the object.
//!     unsafe { cache.overflow(&Boxes, class, object) };
//! }
//! ```
#![no_std]

#[cfg(any(test, strata_loom))]
extern crate std;

mod allowance;
mod cpu_cache;
mod cpu_state;
mod cpu_words;
mod drain;
mod fences;
mod figures;
mod following;
mod header;
mod layout;
mod loans;
mod miss;
mod region;
#[cfg_attr(strata_loom, path = "rseq_model.rs")]
#[cfg_attr(
    all(
        not(strata_loom),
        any(strata_no_rseq, not(all(target_arch = "x86_64", target_os = "linux")))
    ),
    path = "rseq_absent.rs"
)]
mod rseq;
mod shares;
mod stopped;

pub use cpu_cache::{CpuCache, IdKind, Setup};
pub use cpu_words::{CpuWords, Pushed};
pub use fences::Fences;
pub use figures::{ClassMisses, CpuStats};
pub use header::Header;
pub use layout::{REGION_BYTES, REGION_SLOTS, RegionSize};
pub use region::RegionStats;
#[cfg(strata_loom)]
pub use rseq::Seat;
pub use stopped::StopRefusal;
