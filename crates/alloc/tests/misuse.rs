//! What comes of giving back what one does not have: lines that stop the program, each compared whole, and counts.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "misuse/counts.rs"]
mod counts;
#[path = "misuse/lines.rs"]
mod lines;
#[path = "misuse/marks.rs"]
mod marks;
