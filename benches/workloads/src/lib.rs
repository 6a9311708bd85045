//! What an allocator is measured with: the same work for every peer.
//!
//! A program picks an allocator by `#[global_allocator]`, or is started under one by `LD_PRELOAD`,
//! and calls [`main`]; the first argument then names the workload. Each run is a process of its
//! own that does one workload once and prints one line of figures.
//!
//! The crate has no dependencies, and must not know which allocator it runs on.
//!
//! ```
//! use strata_workloads::{Scale, WORKLOADS};
//!
//! let pair = WORKLOADS.iter().find(|workload| workload.name == "pair-64").expect("it exists");
//! let figures = pair.measure(Scale::from_percent(1));
//! assert!(figures.operations > 0);
//! ```

mod batch;
mod block;
mod churn;
mod figures;
mod grow;
mod hand_over;
mod large;
mod memory;
mod pair;
mod random;
mod scale;
mod threads;
mod workload;

pub use block::Block;
pub use figures::Figures;
pub use memory::Memory;
pub use random::Random;
pub use scale::Scale;
pub use workload::{WORKLOADS, Workload, main};
