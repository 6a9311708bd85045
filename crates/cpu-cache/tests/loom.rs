//! Interleavings of threads on one CPU, and of those with somebody who empties its cache, explored by loom.
//!
//! `RUSTFLAGS="--cfg strata_loom" cargo test -p strata-cpu-cache --test loom --release`
//!
//! Sections are modelled: each runs under its CPU's lock, may be sent back before its commit, and may commit
//! after somebody else has taken the header away (`src/rseq_model.rs`). All around them is the code that programs run.

#![cfg(strata_loom)]

#[path = "loom/drains.rs"]
mod drains;
#[path = "loom/limits.rs"]
mod limits;
#[path = "loom/misses.rs"]
mod misses;
#[path = "loom/model.rs"]
mod model;
#[path = "loom/regions.rs"]
mod regions;
