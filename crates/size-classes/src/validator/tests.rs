//! Rules of `validator.rs`.
