//! A heap as a value, and as Rust's global allocator.
//!
//! [`Heap`] composes the layers below: caches per CPU or per thread, transfer caches and central free lists, and a page
//! heap. What is chosen when it is compiled is a type ([`HeapConfig`]), what is chosen at start is a [`Config`], given
//! by the program or by the variable `STRATA_CONF`.
//!
//! This crate must not know how figures are printed or programs are preloaded: `strata-stats` and `strata-c` do.
//!
//! # A program's allocator
//!
//! ```standalone_crate
//! #[global_allocator]
//! static HEAP: strata_alloc::Heap = strata_alloc::Heap::new();
//!
//! let words: Vec<String> = "blocks of this heap".split(' ').map(String::from).collect();
//! assert_eq!(words.len(), 4);
//! let core = HEAP.core().expect("the first block set it up");
//! assert!(core.figures().in_use_bytes() > 0);
//! ```
//!
//! The same two lines do in a `no_std` program or shared object, with `panic = "abort"` and with link-time
//! optimisation. Nothing of the heap is set up before its first block.
//!
//! # A heap beside it
//!
//! ```
//! use strata_alloc::{Config, Heap};
//!
//! // Its blocks are its own.
//! let heap: Heap = Heap::with(Config::DEFAULT);
//! let block = heap.allocate(100);
//! assert!(!block.is_null());
//! let core = heap.core().expect("the first block set it up");
//! assert_eq!(core.figures().in_use_bytes(), 112);
//! // SAFETY: the block is ours, and this is the size it was asked for with.
//! unsafe { heap.deallocate_sized(block, 100, 1) };
//! assert_eq!(core.figures().in_use_bytes(), 0);
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod background;
mod config;
mod environment;
mod figures;
mod fork;
mod front_end;
mod global_alloc;
mod hardened;
mod heap;
mod heap_config;
mod heap_core;
mod idle;
mod large;
mod large_stats;
mod last_resort;
mod mark;
mod memory_limit;
mod misuse;
mod observer;
mod own_cache;
mod ownership;
mod path_text;
mod reallocate;
mod recorder;
mod release;
mod room_to_grow;
mod selected_page_heap;
mod set_up_lock;
mod slots;
mod small;
mod system_calls;
mod threads;
mod tuning;

pub use background::{BackgroundFigures, threads_may_start, wait_with_threads};
pub use config::{
    BackgroundThread, Complaint, Config, CpuIdChoice, ExitReport, FrontEndChoice, MallocStatsForm,
    MemoryLimit, MisuseChoice, PageHeapChoice, Problem, SnapshotDetail, SystemCalls,
};
pub use figures::HeapFigures;
pub use fork::{ForkWatcher, ForksHeldOff, hold_off_forks, watch_forks};
pub use front_end::{FrontEnd, WhyPerThread};
pub use heap::Heap;
pub use heap_config::{HeapConfig, Standard};
pub use heap_core::Core;
pub use large_stats::LargeStats;
pub use observer::Observer;
pub use ownership::Ownership;
pub use path_text::PathText;
pub use selected_page_heap::{SelectedFigures, SelectedPageHeap};
pub use threads::ThreadStats;
pub use tuning::LimitKind;
