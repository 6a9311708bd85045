//! One question a bench: Strata's answer beside the system allocator's.
//!
//! The benches call both through `GlobalAlloc`, in one process; the program itself, criterion
//! included, runs on the system's. Whole workloads over many allocators, a process each, are
//! `cargo xtask bench --peers`.
//!
//! ```
//! use strata_benches::{Block, STRATA};
//!
//! let block = Block::new(&STRATA, 100);
//! assert_eq!(block.bytes(), 100);
//! ```

mod block;

pub use block::Block;

use std::alloc::System;

use strata_alloc::Heap;

/// The heap that the benches ask.
pub static STRATA: Heap = Heap::new();

/// What it is compared to.
pub static SYSTEM: System = System;
