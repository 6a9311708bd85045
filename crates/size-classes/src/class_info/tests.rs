//! Rules of `class_info.rs`.
