//! Traces of programs, replayed through Strata's layers over address space that does not exist.
//!
//! [`replay`] runs the events of a [trace](strata_trace) through the layers that a program's heap has: caches of
//! CPUs, middle tier, page heap, and the [upkeep](strata_upkeep) that gives memory back. Pages are
//! [simulated](strata_os::SimulatedPages) and time is a [clock](strata_os::ManualClock) that is told; so a trace of
//! minutes takes seconds and no memory but for the heap's own books, and the same trace comes out the same whenever
//! and wherever it is replayed.
//!
//! [`patterns`](patterns::PATTERNS) are traces that this crate makes itself, after programs of a dozen kinds;
//! [`page`](page::render) draws what came of a replay.
//!
//! [`simulation`] is about heaps of a tebibyte, and about days and nights on hundreds of CPUs.
//!
//! This crate must not know how programs are recorded, nor anything of `Heap`: what it composes, it composes itself.
//!
//! ```
//! use strata_replay::{Settings, patterns, replay};
//!
//! let trace = patterns::PATTERNS[0].trace();
//! let replayed = replay(&trace, Settings::default())?;
//! assert!(replayed.is_complete);
//! let last = replayed.moments.last().expect("there is always one at the end");
//! assert!(last.backed_bytes >= last.live_bytes);
//! # Ok::<(), strata_replay::ReplayError>(())
//! ```

mod moment;
pub mod page;
pub mod patterns;
mod recent_peak;
mod replayed;
mod settings;
mod simulated_cpus;
mod simulated_heap;
mod simulated_layers;
pub mod simulation;
mod touching;
mod trace_file;

pub use moment::{Averages, Layer, Moment};
pub use replayed::{ReplayError, Replayed, replay};
pub use settings::{PageHeapKind, PageSizeKind, Settings, ThpKind, ThreadKind};
pub use simulated_cpus::{SimulatedCpus, Unsupported};
pub use simulated_heap::{SimulatedHeap, Upkeep};
pub use strata_upkeep::ReleasePolicy;
pub use touching::Touching;
pub use trace_file::read_trace;
