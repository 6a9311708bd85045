//! Rules of `generator.rs`.
