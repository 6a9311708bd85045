//! What an allocator is measured with: the same work for every peer.
//!
//! A program picks an allocator by `#[global_allocator]`, or is started under one by `LD_PRELOAD`,
//! and calls [`main`]; the first argument then names the workload. Each run is a process of its
//! own that does one workload once and prints one line of figures.
//!
//! The crate needs libc alone, and must not know which allocator it runs on.
//!
//! ```
//! use strata_workloads::{Pace, Scale, WORKLOADS};
//!
//! let pair = WORKLOADS.iter().find(|workload| workload.name == "pair-64").expect("it exists");
//! let figures = pair.measure(Scale::from_percent(1), Pace::Unwatched);
//! assert!(figures.parts[0].operations > 0);
//! ```

mod batch;
mod big_heap;
mod block;
mod churn;
mod coverage;
mod figures;
mod grow;
mod hand_over;
mod large;
mod memory;
mod neighbours;
mod pair;
mod phases;
mod program;
mod random;
mod scale;
mod sizes;
mod threads;
mod trees;
mod warm;
mod watch;
mod workload;

pub use block::{Block, Untouched};
pub use coverage::Coverage;
pub use figures::{Figures, Part};
pub use memory::Memory;
pub use program::main;
pub use random::Random;
pub use scale::Scale;
pub use warm::warm_up;
pub use watch::Latencies;
pub use workload::{Kind, Pace, STEADY_HEAP, WORKLOADS, Workload};
