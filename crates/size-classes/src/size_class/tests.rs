//! Rules of `size_class.rs`.
