//! The caches as their users have them, on this machine's restartable sequences.
//!
//! `STRATA_SEED` sets the seed of what is random, `STRATA_MODEL_STEPS` the length of the walks against the model,
//! `STRATA_STRESS_SECONDS` how long each storm lasts.

#![cfg(all(target_arch = "x86_64", target_os = "linux", not(any(strata_loom, strata_no_rseq))))]
#![allow(clippy::panic, reason = "a test may fail, in what it calls too")]

#[path = "caches/ground.rs"]
mod ground;
#[path = "caches/limits.rs"]
mod limits;
#[path = "caches/loans.rs"]
mod loans;
#[path = "caches/misses.rs"]
mod misses;
#[path = "caches/model.rs"]
mod model;
#[path = "caches/sections.rs"]
mod sections;
#[path = "caches/source.rs"]
mod source;
#[path = "caches/stress.rs"]
mod stress;
#[path = "caches/upkeep.rs"]
mod upkeep;
