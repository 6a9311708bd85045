//! A process that gets no more memory, and whose reserve is in use. A test binary of its own, since the limit is
//! the process's.

use core::fmt::{self, Write};
use std::{env, fs, process};
use strata_alloc::{Config, Core, Heap, Standard};
use strata_stats::{Extent, report_json, write_snapshot_file};

/// As `RLIMIT_AS`; the kernel maps nothing more below what is mapped.
fn limit_address_space(bytes: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is ours, and lives through the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }, 0);
    let before = limit.rlim_cur;
    limit.rlim_cur = bytes;
    // SAFETY: the limit is ours, and lives through the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    before
}

/// Writes a snapshot to a file in the middle of another report, which has the reserve.
struct WritesAFile<'a> {
    core: &'a Core<Standard>,
    path: &'a [u8],
    outcome: Option<Result<(), i32>>,
}

impl Write for WritesAFile<'_> {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        let write = || write_snapshot_file(self.core, self.path, Extent::Figures);
        self.outcome.get_or_insert_with(write);
        Ok(())
    }
}

#[test]
fn a_snapshot_for_which_there_is_no_memory_leaves_the_last_good_file() {
    let heap: Heap = Heap::with(Config::DEFAULT);
    let block = heap.allocate(48);
    let core = heap.core().expect("it has a block");
    let path = env::temp_dir().join(format!("strata-no-memory-{}.json", process::id()));
    let bytes = path.as_os_str().as_encoded_bytes();
    assert_eq!(write_snapshot_file(core, bytes, Extent::Figures), Ok(()));
    let good = fs::read_to_string(&path).expect("it is written");
    assert!(good.len() > 1000);

    let mut sink = WritesAFile { core, path: bytes, outcome: None };
    // Nothing allocates until the limit is as it was.
    let usual = limit_address_space(0);
    let outer = report_json(core, Extent::Figures, &mut sink);
    limit_address_space(usual);
    assert_eq!(outer, Ok(()), "one report has the reserve");
    assert_eq!(sink.outcome, Some(Err(libc::ENOMEM)));
    assert_eq!(fs::read_to_string(&path).expect("it stayed"), good);

    fs::remove_file(path).expect("it is there");
    // SAFETY: the block is ours.
    unsafe { heap.deallocate(block) };
}
