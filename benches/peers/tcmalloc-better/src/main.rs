//! The workloads on TCMalloc as tcmalloc-better builds it.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tcmalloc_better::TCMalloc = tcmalloc_better::TCMalloc;

fn main() -> ExitCode {
    strata_workloads::main()
}
