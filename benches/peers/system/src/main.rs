//! The workloads on the system's allocator, or on one that is preloaded.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: std::alloc::System = std::alloc::System;

fn main() -> ExitCode {
    strata_workloads::main()
}
