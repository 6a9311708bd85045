//! The workloads on Strata.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: strata_alloc::Heap = strata_alloc::Heap::new();

fn main() -> ExitCode {
    strata_workloads::main()
}
