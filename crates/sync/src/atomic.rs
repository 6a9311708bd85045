//! The atomic types: `core`'s in a program, loom's under `--cfg strata_loom`.
//!
//! A constructor that holds one of them is written with [`const_fn!`](crate::const_fn!), because
//! loom's have no `const` constructor.

#[cfg(not(strata_loom))]
pub use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    Ordering, fence,
};

#[cfg(strata_loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    Ordering, fence,
};
