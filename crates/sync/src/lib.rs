//! Locks that count, atomics that a model checker can take over, and the words that every
//! thread has to itself.
//!
//! Every lock, atomic, spin hint and thread-local of Strata comes from here. In a program they
//! are `core`'s atomics and the kernel's futex; under `--cfg strata_loom` they are
//! [loom](https://docs.rs/loom)'s, so that the code above is explored interleaving by
//! interleaving as it stands. (Not plain `--cfg loom`: who sets that for tests of their own must
//! still be able to write `static HEAP: Heap = Heap::new();`, and loom's atomics have no `const`
//! constructor. [`const_fn!`] bridges that difference.)
//!
//! | what | where |
//! |---|---|
//! | atomics and fences | [`atomic`] |
//! | a lock with jemalloc's seven counters | [`Mutex`], [`LockStats`] |
//! | something done once | [`Once`] |
//! | a lock that costs its owner nothing while nobody else comes | [`owned`] |
//! | figures under a lock, read without it | [`SeqWord`] |
//! | two fences, of which one costs nothing | [`asymmetric`] |
//! | the words of a thread, without a call | [`thread_block`] |
//! | memory asked for before it is waited for | [`prefetch_for_write`], [`prefetch_whole_for_write`] |
//!
//! # What it must not know
//!
//! Pages, spans, size classes, heaps: anything about memory being allocated. It allocates
//! nothing, panics nowhere and keeps `errno`, so that `malloc` can stand on it.
//!
//! # Example
//!
//! ```
//! use strata_sync::Mutex;
//!
//! static FREE_PAGES: Mutex<usize> = Mutex::new(0);
//!
//! *FREE_PAGES.lock() += 3;
//! assert_eq!(*FREE_PAGES.lock(), 3);
//! let stats = FREE_PAGES.stats();
//! assert_eq!((stats.operations, stats.waits, stats.owner_switches), (2, 0, 1));
//! ```

#![no_std]

#[cfg(any(test, strata_loom))]
extern crate std;

pub mod asymmetric;
pub mod atomic;
mod const_fn;
mod lock_stats;
#[cfg(strata_lock_times)]
mod lock_times;
mod mutex;
mod once;
pub mod owned;
mod parking;
mod prefetch;
mod raw_lock;
mod seq_word;
mod spin;
pub mod thread_block;
mod thread_token;
#[cfg(not(strata_loom))]
mod vain_wait;

pub use lock_stats::LockStats;
#[cfg(strata_lock_times)]
pub use lock_times::{LockTimes, forget_lock_times, lock_times};
pub use mutex::{FIGURES_PATIENCE_NS, Mutex, MutexGuard};
pub use once::Once;
pub use prefetch::{prefetch_for_write, prefetch_whole_for_write};
pub use raw_lock::locks_kept_over_forks;
pub use seq_word::SeqWord;
pub use spin::spin_hint;
/// Ends the process with one line, for layers that see the system only by way of this crate.
pub use strata_os::crash;
