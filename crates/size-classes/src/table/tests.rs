//! Rules of `table.rs`.
