//! What the tests of `libstrata.so` and `libstrata.a` share: where the libraries are, how a C or C++ program is
//! compiled, and how its cases are run, each in a process of its own.
//!
//! The programs stand in `programs/`. One without an argument lists its cases, a line each; with a case's name it runs that
//! one. A case of which `glibc` follows the name runs on glibc's allocator as well, so that the test itself is known to
//! be right.
//!
//! The libraries come from `cargo xtask dist`, which leaves them in `target/dist/lib`; the variable `STRATA_LIB`
//! names another `libstrata.so`, with `libstrata.a` beside it. `STRATA_LIBC` names a directory with another glibc
//! (`libc.so.6` and `ld-linux-x86-64.so.2`, newer than the machine's own) for programs that are not linked
//! statically to run on.

mod audit;
mod case;
mod library;
mod program;

pub use case::{Allocator, Case, Failures, output_within_limit};
pub use library::{shared_library, static_library};
pub use program::{Linking, Program, complaints_about_header, has_cxx, has_musl};
